"""The page *Use it with plain Keras* runs from top to bottom, as its readers will run it."""

import dataclasses
import re
from pathlib import Path

import galaxy_utils as gu

PAGE = Path(__file__).resolve().parents[2] / "book" / "plain_keras.md"


def test_the_code_of_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 9
    assert max(len(line) for block in blocks for line in block.splitlines()) <= 100
    # The page's survey, but smaller: rendering it would take longer than everything else.
    names = {"few": dataclasses.replace(gu.get_profile("smoke"), simulated_galaxies=100)}
    for number, block in enumerate(blocks):
        block = block.replace('profile="smoke"', "profile=few")
        exec(compile(block, f"block {number} of {PAGE.name}", "exec"), names)
    assert (names["images"].dtype, names["images"].shape[1:]) == ("uint8", (32, 32, 3))
    assert names["checkpoint"].complete and "not as the recipe says: Adam" in str(names["run"])
    assert "(5, 10)" in capsys.readouterr().out
    assert {"my_cnn.keras", "galaxies.keras", "training.npz"} <= {path.name for path in tmp_path.iterdir()}
