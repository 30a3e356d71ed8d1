"""The real build, from notebooks to pages: what runs, what does not run again, and what is refused."""

import http.server
import json
import os
import queue
import re
import runpy
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from bs4 import BeautifulSoup
from filelock import FileLock
from jupyter_client.asynchronous import AsyncKernelClient
from toy_book import write_small_book

from galaxy_utils import pretrained
from galaxy_utils.errors import DownloadError
from galaxy_utils.files import write_json
from galaxy_utils.report import read_report

REPOSITORY = Path(__file__).resolve().parents[2]
MOBILENET = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def _write_notebook(folder, name, *cells, parameters='dataset_source = "simulated"\nprofile_name = "demo"\nseed = 1'):
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    notebook.cells = [nbformat.v4.new_markdown_cell(f"# {name}")]
    notebook.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    notebook.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


@pytest.fixture(scope="session")
def smoke_book(first_build):
    """The whole book in the smoke profile: (checkout, options)."""
    return first_build["checkout"], first_build["options"]


def test_book_is_built_and_says_where_it_is(first_build):
    checkout, output = first_build["checkout"], first_build["output"]
    assert first_build["status"] == 0, output
    assert str(checkout / "_build" / "html" / "index.html") in output
    for notebook in (checkout / "notebooks").glob("*.ipynb"):
        assert re.search(rf"{notebook.stem} +[0-9.]+ s", output)
        assert (checkout / "_build" / "html" / "notebooks" / f"{notebook.stem}.html").exists()


def test_every_figure_says_what_it_shows(smoke_book):
    checkout, _ = smoke_book
    alternatives = []
    for page in (checkout / "_build" / "html" / "notebooks").glob("*.html"):
        article = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").find("article")
        alternatives += [image["alt"] for image in article.find_all("img")]
        assert article.select_one(".admonition.error, .output.traceback, .stderr") is None
    assert len(alternatives) >= 10
    # An alt text that tells what is shown has words and, nearly always, the numbers.
    assert all(len(text.split()) >= 6 for text in alternatives)
    assert sum(bool(re.search(r"\d", text)) for text in alternatives) >= 0.8 * len(alternatives)


def test_answers_to_quick_questions_are_folded_with_their_explanations(smoke_book):
    checkout, _ = smoke_book
    page = (checkout / "_build" / "html" / "notebooks" / "01_meet_the_galaxies.html").read_text(encoding="utf-8")
    article = BeautifulSoup(page, "html.parser").find("article")
    answers = [folded for folded in article.find_all("details") if folded.summary and folded.find("p", recursive=False)]
    assert len(answers) == 9
    assert all(folded.p.get_text().startswith(("Right.", "No.")) for folded in answers)
    assert "galaxy_utils.set_up" not in article.get_text()  # for those who run the notebook, not for readers


def test_reports_are_written(smoke_book):
    checkout, _ = smoke_book
    reports = [read_report(path) for path in (checkout / "_build" / "artifacts").rglob("report.json")]
    assert len(reports) >= 3
    assert all(report["data"]["is_simulated"] and report["profile"]["name"] == "smoke" for report in reports)


# In a process of its own: the checkout's modules bear the names of this one's.
KEYS = """
import json, pathlib, runpy, sys
build = runpy.run_path(sys.argv[1])
settings = build["Settings"]("simulated", "smoke", 1, pathlib.Path(sys.argv[2]))
print(json.dumps(build["chapter_keys"](build["find_chapters"](), settings, {})))
"""


def test_nothing_is_run_twice_but_an_edited_notebook_with_what_depends_on_it(tmp_path, run_build):
    checkout, output = tmp_path / "checkout", tmp_path / "out"
    write_small_book(checkout)

    def edit(name):
        notebook = json.loads((checkout / "notebooks" / name).read_text(encoding="utf-8"))
        notebook["cells"].append(nbformat.v4.new_markdown_cell("One more sentence."))
        (checkout / "notebooks" / name).write_text(json.dumps(notebook), encoding="utf-8")

    def build_again():
        result = run_build(checkout, "--profile", "smoke", "--output", output)
        assert result.returncode == 0, result.stdout + result.stderr
        return re.findall(r"^Running (\d\d)_", result.stdout, re.MULTILINE), result.stdout

    def keys():
        program = [sys.executable, "-c", KEYS, checkout / "book" / "tools" / "build.py", output]
        return json.loads(subprocess.run(program, capture_output=True, text=True, check=True).stdout)

    assert build_again()[0] == ["01", "02"]
    executed, told = build_again()
    assert not executed and "Rendering" not in told and told.count("unchanged") == 2
    edit("02_second.ipynb")
    # As a picture of other galaxies, or a page that has another name now, would lie there.
    left = output / "jupyter-book" / "_build" / "html" / "of_an_earlier_book.html"
    left.write_text("<html></html>", encoding="utf-8")
    assert build_again()[0] == ["02"]
    assert not left.exists() and not (output / "html" / left.name).exists()
    assert "One more sentence." in (output / "html" / "notebooks" / "02_second.html").read_text(encoding="utf-8")
    before = keys()
    edit("01_first.ipynb")
    assert [name for name, key in keys().items() if key != before[name]] == ["01_first", "02_second"]


@pytest.fixture
def look(tmp_path, monkeypatch, capsys):
    """A function that lets the build look for pretrained weights as at its start; returns its keys and what it says."""
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    chapters = build["find_chapters"]()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def looked(variable="", profile="smoke"):
        monkeypatch.setenv("GALAXY_UTILS_WEIGHTS", variable)
        settings = build["Settings"]("simulated", profile, 1, tmp_path)
        return build["chapter_keys"](chapters, settings, build["find_weights"](chapters, settings)), (
            capsys.readouterr().out
        )

    return looked


def test_only_chapters_on_pretrained_weights_run_again_when_those_change(look, tmp_path):
    keys, told = look()
    assert "none on this machine" in told and "Random weights are measured instead, in chapters 7 and 11" in told
    assert os.environ["GALAXY_UTILS_WEIGHTS"] == "none", "no chapter looks again"
    weights = tmp_path / "models" / f"{MOBILENET}_160_no_top.h5"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    with_keras_own, told = look()
    assert told.startswith(f"Pretrained weights: MobileNetV2 from {weights.name} (SHA-256 ") and "ImageNet" in told
    assert os.environ["GALAXY_UTILS_WEIGHTS"] == "imagenet"
    (tmp_path / "own.h5").write_bytes(b"other weights")
    with_own, told = look(os.path.relpath(tmp_path / "own.h5"))
    assert "from own.h5 (SHA-256 " in told and "whoever named it" in told
    assert os.environ["GALAXY_UTILS_WEIGHTS"] == str(tmp_path / "own.h5"), "chapters run in another folder"
    without, told = look("none")
    assert "none (GALAXY_UTILS_WEIGHTS says so)" in told and without == keys
    for before, after in ((keys, with_keras_own), (with_keras_own, with_own), (with_own, without)):
        assert {name[:2] for name in before if before[name] != after[name]} == {"07", "11"}
    with pytest.raises(Exception, match="no such file of weights"):
        look(str(tmp_path / "missing.h5"))


def test_all_chapters_run_again_with_another_backend(look, monkeypatch):
    keys, _ = look("none")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    others, _ = look("none")
    assert all(keys[name] != others[name] for name in keys)


def test_the_network_is_asked_once_for_all_chapters_and_not_in_the_smoke_profile(look, monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _SomeAnswer) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(pretrained, "WEIGHTS_FOLDER", f"http://127.0.0.1:{server.server_port}/gone/")
        look(), look("none", "demo")
        assert not server.asked
        _, told = look("", "demo")
        assert server.asked == [f"/gone/mobilenet_v2/{MOBILENET}_96_no_top.h5"]
        assert f"none (127.0.0.1:{server.server_port}, where Keras keeps them: the server answered 404" in told
        with pytest.raises(DownloadError):
            look("imagenet", "demo")
        server.shutdown()


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        (("--profile", "dmo"), ("smoke", "demo", "gpu", "full", "Did you mean 'demo'")),
        (("--dataset", __file__), (".h5", "folder")),
        (("--dataset", "galaxy11"), ("simulated", "galaxy10", "folder")),
        (("--jobs", "two"), ("jobs", "a whole number from 1 to")),
    ],
)
def test_an_unknown_value_stops_at_once_with_the_valid_ones(options, listed):
    """Also where nothing is installed: this runs Python without any site package."""
    result = subprocess.run(
        [sys.executable, "-S", REPOSITORY / "book" / "tools" / "build.py", "--check", *options],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert all(name in result.stderr for name in listed)


def test_a_failing_cell_fails_the_build_and_says_where(tmp_path, run_build, copy_checkout):
    checkout = copy_checkout(tmp_path, notebooks=False)
    _write_notebook(checkout, "01_broken", "radius = 0", "1 / radius")
    result = run_build(checkout, "--profile", "smoke", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "01_broken" in result.stderr and "ZeroDivisionError" in result.stderr
    assert "cell 4 of the notebook, which begins: 1 / radius" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "out").rglob("01_broken.json"))


def test_a_kernel_that_the_system_ends_fails_the_build_and_says_where(tmp_path, run_build, copy_checkout):
    checkout = copy_checkout(tmp_path, notebooks=False)
    _write_notebook(checkout, "01_greedy", "much = 1", "import os\nos.kill(os.getpid(), 9)")
    result = run_build(checkout, "--profile", "smoke", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "cell 4 of the notebook, which begins: import os" in result.stderr
    assert "memory" in result.stderr and "JOBS=1" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_kernel_that_does_not_answer_at_first_is_started_again(tmp_path, monkeypatch):
    """As when another program took one of its ports while it started. Reports of an earlier run are gone."""
    answers, asked = AsyncKernelClient.wait_for_ready, []

    async def first_one_is_dead(client, timeout=None):
        asked.append(timeout)
        if len(asked) == 1:
            raise RuntimeError("Kernel didn't respond in 60 seconds")
        return await answers(client, timeout)

    monkeypatch.setattr(AsyncKernelClient, "wait_for_ready", first_one_is_dead)
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    (tmp_path / "notebooks").mkdir()
    _write_notebook(tmp_path, "01_twice", "print(6 * 7)")
    (chapter,) = build["find_chapters"](tmp_path / "notebooks")
    settings, ended = build["Settings"]("simulated", "smoke", 1, tmp_path / "out"), queue.Queue()
    report = settings.artifacts / "3f2a" / chapter.name / "a network that is gone" / "report.json"
    write_json(report, {})
    build["_run_chapter"](chapter, {chapter.name: "key"}, settings, ended)
    assert ended.get() == (chapter, None)
    notebook = json.loads((settings.run_folder / "01_twice.ipynb").read_text(encoding="utf-8"))
    assert len(asked) == 2 and notebook["cells"][-1]["outputs"][0]["text"] == ["42\n"]
    assert not report.exists()


def test_a_warning_fails_the_build(tmp_path, run_build, copy_checkout):
    checkout = copy_checkout(tmp_path, notebooks=False)
    _write_notebook(checkout, "01_loud", "quiet = 1", "import warnings\nwarnings.warn('look here')")
    result = run_build(checkout, "--profile", "smoke", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "look here" in result.stderr and "01_loud" in result.stderr
    assert "cell 4 of the notebook, which begins: import warnings" in result.stderr


MEET = """
import pathlib, time
pathlib.Path("here_{own}").touch()
for _ in range(600):
    if pathlib.Path("here_{other}").exists():
        break
    time.sleep(0.1)
else:
    raise TimeoutError("alone")
"""


def test_chapters_run_side_by_side_and_a_failure_costs_none_of_the_others(tmp_path, run_build, copy_checkout):
    """Two chapters that each wait for the other; then one fails while its neighbour is still at work."""
    checkout = copy_checkout(tmp_path, notebooks=False)
    _write_notebook(checkout, "01_first", MEET.format(own=1, other=2), "import time; time.sleep(3)")
    _write_notebook(checkout, "02_second", MEET.format(own=2, other=1), "1 / 0")
    _write_notebook(checkout, "03_third")
    out = tmp_path / "out"
    result = run_build(checkout, "--profile", "smoke", "--jobs", "2", "--output", out)
    assert result.returncode == 1 and "ZeroDivisionError" in result.stderr
    assert "02_second failed. Still running: 01_first" in result.stdout
    assert len(list(out.rglob("01_first.json"))) == 1 and not list(out.rglob("02_second.json"))
    assert "Running 03_third" not in result.stdout, "nothing is begun after a failure"


def test_each_chapter_waits_for_what_it_needs_and_what_others_wait_for_comes_first():
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    chapters = {chapter.name[:2]: chapter for chapter in build["find_chapters"]()}
    for jobs in (1, 2, 3):
        waiting, running, order, most = list(chapters.values()), [], [], 0
        while waiting or running:
            for chapter in build["next_chapters"](waiting, running, jobs):
                assert {need[:2] for need in chapter.needs} <= set(order) - {one.name[:2] for one in running}
                waiting.remove(chapter)
                running.append(chapter)
                order.append(chapter.name[:2])
            most = max(most, len(running))
            running.pop(0)
        assert sorted(order) == sorted(chapters) and most == jobs
        assert order[0] == "02"  # nearly all others need it
        assert order.index("08") < order.index("03")  # 9 and 10 need it
        needed = {need[:2] for one in chapters.values() for need in one.needs}
        free = [name for name in order if name not in needed and [*chapters[name].needs] == [chapters["02"].name]]
        free = [len(chapters[name].notebook["cells"]) for name in free]
        assert free == sorted(free, reverse=True)  # with more cells a chapter takes longer


OWN = """
import matplotlib, os
assert (matplotlib.rcParams["image.origin"], matplotlib.rcParams["text.usetex"]) == ("upper", False)
assert "users" not in matplotlib.get_cachedir()  # where a list of fonts may stand that are gone
assert "begun_by_the_user" not in globals()
import wave
"""


def test_the_seed_reaches_the_notebooks_and_no_setting_of_another_program(
    tmp_path, run_build, copy_checkout, monkeypatch, write_galaxy10
):
    """A user's matplotlibrc, kernels, start-up files, packages on PYTHONPATH, and Python without assertions."""
    for name, content in {
        "matplotlibrc": "image.origin: lower\ntext.usetex: True",
        "kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "", "language": "python"}',
        "profile_default/startup/first.py": "begun_by_the_user = True",
        "startup.py": "begun_by_the_user = True",
        "path/wave.py": "raise ImportError('of another program')",
    }.items():
        (tmp_path / "users" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "users" / name).write_text(content)
    for name in ("JUPYTER_PATH", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / "users"))
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path / "users" / "matplotlibrc"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "users" / "startup.py"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "users" / "path"))
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    checkout = copy_checkout(tmp_path, notebooks=False)
    _write_notebook(checkout, "01_seeded", OWN, "assert seed == 1, f'the seed is {seed}'")
    options = ("--profile", "smoke", "--seed", "7", "--dataset", write_galaxy10())
    result = run_build(checkout, *options, "--output", tmp_path / "out")
    assert "the seed is 7" in result.stderr, result.stderr


def test_a_build_that_waits_for_another_says_so(tmp_path):
    with FileLock(tmp_path / ".build.lock"):
        build = REPOSITORY / "book" / "tools" / "build.py"
        command = [sys.executable, build, "--profile", "smoke", "--output", tmp_path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == f"Waiting for another build that writes to {tmp_path}\n"
            process.kill()


def test_the_page_about_this_copy_names_the_device_of_the_reports(smoke_book, tmp_path):
    checkout, _ = smoke_book
    page = (checkout / "_build" / "html" / "this_copy.html").read_text(encoding="utf-8")
    paths = sorted((checkout / "_build" / "artifacts").rglob("report.json"))
    report = read_report(paths[0])
    assert report["device"]["accelerator"] or "and no GPU" in page
    # The same text, where a chapter ran on a GPU.
    report["device"] |= {"cores": 1, "accelerator": "Imagined GPU"}
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    settings = build["Settings"]("simulated", "smoke", 1, tmp_path)
    write_json(settings.artifacts / paths[0].relative_to(paths[0].parents[3]), report)
    chapters = build["find_chapters"]()
    assert build["_devices"](chapters, settings).endswith("a machine with 1 CPU core and Imagined GPU.")


@pytest.mark.parametrize(
    ("profile", "side", "told"),
    [
        ("smoke", 63, ["too small for chapters 02 (64 px)", "no profile takes them"]),
        ("demo", 128, ["too small for chapters 07 (192 px) in the profile demo", "PROFILE=smoke takes them"]),
        ("full", 200, ["256 px or more", "PROFILE=demo takes them"]),
    ],
)
def test_images_too_small_for_a_chapter_are_refused_before_it_runs(profile, side, told):
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    galaxies = SimpleNamespace(image_size=side, provenance="own", class_names=("a", "b"), class_counts=(50, 50))
    with pytest.raises(build["BuildError"]) as refused:
        build["check_galaxies"](galaxies, build["find_chapters"](), profile)
    assert all(text in str(refused.value) for text in told)


def test_a_class_too_small_to_be_split_is_refused_before_anything_runs():
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    galaxies = SimpleNamespace(image_size=256, provenance="own", class_names=("a", "b"), class_counts=(50, 2))
    with pytest.raises(build["BuildError"], match=r"b \(2\)"):
        build["check_galaxies"](galaxies, build["find_chapters"](), "demo")
    galaxies.class_counts = (50, 3)
    build["check_galaxies"](galaxies, build["find_chapters"](), "demo")


@pytest.mark.parametrize("parameters", ['dataset_source = "simulated"\nprofile = "demo"\nseed = 1', "x = 1"])
def test_a_mistyped_parameter_is_refused(tmp_path, parameters, run_build, copy_checkout):
    """papermill alone would run such a notebook with its own values and exit with 0."""
    checkout = copy_checkout(tmp_path, notebooks=False)
    _write_notebook(checkout, "01_typo", parameters=parameters)
    result = run_build(checkout, "--profile", "smoke", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert "profile_name" in result.stderr


class _SomeAnswer(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        getattr(self.server, "asked", []).append(self.path)
        self.send_response(404 if self.path.startswith("/gone") else 403 if self.path == "/for-people" else 200)
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *arguments):
        """Say nothing: the test's own output is enough."""


def test_addresses_that_do_not_answer_are_named(tmp_path):
    """Jupyter Book's own link checker, asked about a server that runs here."""
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    settings = build["Settings"]("simulated", "smoke", 1, tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (tmp_path / "source" / "references.bib").touch()
    page = tmp_path / "source" / "index.md"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _SomeAnswer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        page.write_text(f"# Links\n\n[one]({here}/there) [two]({here}/for-people)\n")
        assert build["check_links"](tmp_path / "source", settings) == 2
        page.write_text(f"# Links\n\n[one]({here}/there) [two]({here}/gone)\n")
        with pytest.raises(Exception, match="/gone") as error:
            build["check_links"](tmp_path / "source", settings)
        assert "/there" not in str(error.value)
        server.shutdown()


def test_a_progress_bar_is_printed_text_so_that_the_picture_gets_the_caption(tmp_path):
    """Jupyter Book gives a cell's caption to its first output that is not printed."""
    build = runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))
    settings = build["Settings"]("simulated", "smoke", 1, tmp_path)
    bar = {"output_type": "display_data", "data": {"text/plain": "Training: 3 epochs"}, "metadata": {}}
    texts = {"alt": "Two curves that fall.", "caption": "The loss."}
    picture = {"output_type": "display_data", "data": {"image/png": "…", "text/plain": "A figure."}}
    picture["metadata"] = {"image/png": texts}
    cells = [
        {"cell_type": "code", "source": "fit()", "metadata": {}, "outputs": [bar, picture]},
        {"cell_type": "markdown", "source": "Read it.", "metadata": {}},
    ]
    code, text = build["clean"]({"cells": cells, "metadata": {}}, settings)["cells"]
    assert code["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "Training: 3 epochs\n"}, picture]
    assert code["metadata"]["mystnb"]["figure"] == {"caption": "The loss."}
    assert "outputs" not in text
