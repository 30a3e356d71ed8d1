import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_notebook import watched_run

REPOSITORY = Path(__file__).resolve().parents[1]
PROGRAM = """
import time
from galaxy_utils.progress import progress_bar
with progress_bar(2000, "Counting stars", unit="stars") as bar:
    for step in range(4):
        time.sleep(0.35)
        bar.update(500)
        bar.set_postfix_str(f"loss {step}")
"""


def test_a_notebook_keeps_one_clean_line():
    (output,), shown = watched_run(PROGRAM, REPOSITORY)
    assert output.output_type == "display_data" and list(output.data) == ["text/plain"]
    line = output.data["text/plain"]
    assert line.startswith("Counting stars: 2,000 stars in 1.") and line.endswith("s, loss 3")
    assert "\n" not in line and "\r" not in line
    # While it works, the line is drawn again and again under one display id.
    assert any("25%" in line for line in shown) and any("75%" in line for line in shown)


def test_training_says_which_epoch_it_is_in():
    code = """
import sys
sys.path.insert(0, "tests")
from toy_galaxies import toy_galaxies, toy_split
import galaxy_utils as gu
gu.fit(gu.models.three_block_cnn(16, 4), toy_galaxies(), toy_split(), gu.recipes.THREE_BLOCK_CNN.replace(epochs=2));
"""
    outputs, shown = watched_run(code, REPOSITORY)
    (line,) = (output.data["text/plain"] for output in outputs if output.get("name") != "stderr")
    assert line.startswith("Training three_block_cnn, epoch 2/2: 6 batches in ")
    assert ", validation accuracy 0." in line
    for text in ("epoch 1/2:   0%|", "epoch 2/2:  50%|"):
        assert any(text in live for live in shown), shown


def test_a_failing_notebook_closes_its_line():
    code = PROGRAM.replace("time.sleep(0.35)", "assert step < 2, 'stopped on purpose'")
    (line, error), _ = watched_run(code, REPOSITORY, allow_errors=True)
    assert line.data["text/plain"].startswith("Counting stars: 1,000 stars")
    assert error.output_type == "error"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_shows_a_live_bar():
    import pty
    import termios

    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=slave, stderr=slave, cwd=REPOSITORY) as process:
        os.close(slave)
        shown = b""
        try:
            while part := os.read(master, 4096):
                shown += part
        except OSError:
            pass  # Linux ends a pseudo-terminal with an error.
    os.close(master)
    assert process.returncode == 0
    text = shown.decode()
    assert "Counting stars:  25%" in text and "100%" in text and "2000/2000" in text and text.count("\r") > 3


def test_a_pipe_stays_silent():
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert finished.stdout == finished.stderr == ""
