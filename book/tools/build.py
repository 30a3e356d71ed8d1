"""Build the book: run what is stale with papermill, stage it, render it, check it.

Everything made here lies under one output folder (`_build`): executed notebooks, artifacts, staged source, HTML.
A chapter is run again only when its key changes: its own cells, the package, the lock file, the data source, the
profile, the seed, or the key of a chapter that it needs.
"""

import contextlib
import importlib.metadata
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
sys.path[:0] = [str(TOOLS), str(TOOLS.parent / "play")]

from settings import REPOSITORY, Settings, digest, leave_users_settings, read_settings  # noqa: E402, F401

from galaxy_utils.data.sources import NAMED_SOURCES, find_images  # noqa: E402
from galaxy_utils.errors import ConfigurationError, GalaxyUtilsError  # noqa: E402
from galaxy_utils.profiles import PROFILES, get_profile  # noqa: E402

PARAMETER_NAMES = ("dataset_source", "profile_name", "seed")
# A chapter's own sizes in pixels, one for each profile, as its first cell gives them to `profile.choose`.
OWN_SIZES = re.compile(r"image_size=\(([^)]*)\)")
# Its backbone, likewise.
OWN_BACKBONES = re.compile(r"backbone=\(([^)]*)\)")
# Each class needs a galaxy in each part of the split.
FEWEST_OF_A_CLASS = 3


class BuildError(GalaxyUtilsError):
    """The book could not be built."""


@dataclass(frozen=True)
class Chapter:
    """A notebook of the book and what has to be run before it."""

    path: Path
    notebook: dict
    needs: tuple

    @property
    def name(self):
        return self.path.stem

    @property
    def code(self):
        """All of its code, cell after cell."""
        return "\n".join("".join(cell["source"]) for cell in self.notebook["cells"] if cell["cell_type"] == "code")


def find_chapters(folder=REPOSITORY / "notebooks"):
    """Read the numbered notebooks in order and refuse those that papermill would silently run with other values."""
    chapters = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        tagged = [cell for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
        source = "".join(tagged[0]["source"]) if tagged else ""
        missing = [name for name in PARAMETER_NAMES if f"{name} =" not in source]
        if len(tagged) != 1 or missing:
            raise BuildError(
                "A notebook must have one cell tagged 'parameters' that sets every parameter: papermill runs it with "
                "the notebook's own values otherwise, and says nothing.",
                where=path,
                expected=f"one tagged cell that sets {', '.join(PARAMETER_NAMES)}",
                found=f"{len(tagged)} tagged cells; missing: {', '.join(missing) or 'none'}",
            )
        needs = tuple(notebook["metadata"].get("galaxy_book", {}).get("needs", ()))
        unknown = set(needs) - {chapter.name for chapter in chapters}
        if unknown:
            raise BuildError(
                "A notebook needs chapters that do not come before it.", where=path, found=", ".join(sorted(unknown))
            )
        chapters.append(Chapter(path, notebook, needs))
    if not chapters:
        raise BuildError(
            "There is no notebook to build.", where=folder, expected="files named 01_….ipynb, 02_….ipynb, …"
        )
    return chapters


def find_weights(chapters, settings):
    """Look for the pretrained weights that chapters read: once, before any of them starts, and say what was found.

    All chapters get the answer through the environment, so none of them asks the network again.

    Returns:
        `{name: line}` for each chapter that reads weights: which file it will read, or `None`.

    Raises:
        BuildError: There is no such file.
        DownloadError: `GALAXY_UTILS_WEIGHTS=imagenet` asks for a file that cannot be had.
    """
    from galaxy_utils.pretrained import BACKBONES, WEIGHTS_VARIABLE, describe_weights, look_for_weights

    profile, column = get_profile(settings.profile), list(PROFILES).index(settings.profile)
    paths, reason, titles = {}, "", set()
    for chapter in chapters:
        if not chapter.notebook["metadata"].get("galaxy_book", {}).get("reads_weights"):
            continue
        own = [found.findall(chapter.code) for found in (OWN_BACKBONES, OWN_SIZES)]
        if not all(own):
            expected = "backbone=(…) and image_size=(…) in its first cell, one of each for a profile"
            raise BuildError("A notebook does not say which weights it reads.", where=chapter.path, expected=expected)
        backbone, size = (found[0].split(",")[column].strip(" \n\"'") for found in own)
        titles.add(BACKBONES[backbone].title)
        # Where one chapter has none, no other waits for the network.
        missing = None in paths.values()
        path, why = (None, reason) if missing else look_for_weights(backbone, int(size), profile.fetches_weights)
        paths[chapter.name], reason = path, why or reason
    if None in paths.values():
        where = "chapter" + "s" * (len(paths) > 1) + " " + " and ".join(str(int(name[:2])) for name in paths)
        print(f"Pretrained weights: none ({reason or f'{WEIGHTS_VARIABLE} says so'})", flush=True)
        print(f"  Random weights are measured instead, in {where}. {WEIGHTS_VARIABLE} can name a file", flush=True)
        os.environ[WEIGHTS_VARIABLE] = "none"
        return dict.fromkeys(paths)
    for path in paths.values():
        if not path.is_file():
            expected = "the path of a file, 'imagenet' or 'none'"
            raise BuildError("There is no such file of weights.", where=WEIGHTS_VARIABLE, expected=expected, found=path)
    told = {name: describe_weights(path) for name, path in paths.items()}
    for line in sorted(set(told.values())):
        print(f"Pretrained weights: {' and '.join(sorted(titles))} from {line}", flush=True)
    if paths and os.environ.get(WEIGHTS_VARIABLE, "").strip().lower() in ("", "imagenet"):
        os.environ[WEIGHTS_VARIABLE] = "imagenet"
    elif paths:  # Chapters run in a folder of their own.
        os.environ[WEIGHTS_VARIABLE] = os.path.abspath(path)
    return told


def chapter_keys(chapters, settings, weights):
    """Return the key of every chapter: a digest of all that its outputs depend on.

    Args:
        chapters: All of the book's.
        settings: The build's.
        weights: What `find_weights` returned.
    """
    code = (REPOSITORY / "galaxy_utils").rglob
    package = [path.read_bytes() for path in sorted([*code("*.py"), *code("*.mplstyle"), *code("*.keras")])]
    lock = (REPOSITORY / "requirements.lock").read_bytes()
    # Results that were measured beforehand and are shown by a chapter.
    results = (REPOSITORY / "book" / "measured").glob
    measured = [path.read_bytes() for path in sorted([*results("*.json"), *results("*.npz")])]
    # What computes: the lock is not followed where `make` was given another TensorFlow, or Keras another backend.
    computed_with = [f"{name} {importlib.metadata.version(name)}" for name in ("tensorflow", "keras", "numpy")]
    computed_with += [sys.version, os.environ.get("KERAS_BACKEND", "")]
    source = _source_state(settings.dataset)
    common = digest(*package, *measured, lock, *computed_with, settings.parameters, source)
    keys = {}
    for chapter in chapters:
        cells = [(cell["cell_type"], "".join(cell["source"]), cell["metadata"]) for cell in chapter.notebook["cells"]]
        keys[chapter.name] = digest(common, cells, weights.get(chapter.name), *(keys[name] for name in chapter.needs))
    return keys


def run_chapters(chapters, settings):
    """Execute the stale chapters, several at once. Return {name: (seconds, whether it ran now)}.

    Raises:
        BuildError: Of the first chapter that failed. Those that ran beside it were finished before, and are kept.
    """
    keys = chapter_keys(chapters, settings, find_weights(chapters, settings))
    stale = [chapter for chapter in chapters if _record(chapter, settings).get("key") != keys[chapter.name]]
    if stale:
        os.environ["GALAXY_UTILS_ARTIFACTS"] = str(settings.artifacts)
        settings.run_folder.mkdir(parents=True, exist_ok=True)
        check_galaxies(fetch_data(settings), stale, settings.profile)
        # Chapters that run side by side share the cores: threads of one would mostly wait for the other's.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS") * (settings.jobs > 1):
            os.environ.setdefault(name, str(max(1, cores // settings.jobs)))
        log = settings.run_folder / "kernels.log"
        # Both belong to the whole process, so they are set for all chapters at once.
        with contextlib.chdir(chapters[0].path.parent), _native_messages_to(log):
            _run_in_turn(stale, keys, settings)
        log.unlink()
    return {chapter.name: (_record(chapter, settings)["seconds"], chapter in stale) for chapter in chapters}


def _run_in_turn(stale, keys, settings):
    """Run chapters, each after those that it needs."""
    waiting, running, failures, ended = list(stale), [], [], queue.Queue()
    while waiting or running:
        for chapter in next_chapters(waiting, running, settings.jobs):
            print(f"Running {chapter.name}", flush=True)
            waiting.remove(chapter)
            running.append(chapter)
            # A daemon: an interrupted build does not wait for it, and papermill ends its kernel on the way out.
            threading.Thread(target=_run_chapter, args=(chapter, keys, settings, ended), daemon=True).start()
        chapter, error = ended.get()
        running.remove(chapter)
        if error:
            failures.append(error)
            waiting.clear()  # nothing is begun after a failure
        if error and running:
            print(f"{chapter.name} failed. Still running: {', '.join(one.name for one in running)}", flush=True)
    if failures:
        raise failures[0]


def next_chapters(waiting, running, jobs):
    """Return those of the waiting chapters that may start now: first those that most others wait for, then long ones.

    Args:
        waiting: Chapters that have not been started, in reading order.
        running: Chapters that have not ended.
        jobs: How many may run at once.
    """
    pending = {chapter.name for chapter in [*waiting, *running]}
    ready = [chapter for chapter in waiting if not pending.intersection(chapter.needs)]
    # The last two end together where long chapters, which have many cells, begin before short ones.
    ready.sort(key=lambda one: (-sum(one.name in other.needs for other in waiting), -len(one.notebook["cells"])))
    return ready[: jobs - len(running)]


def _run_chapter(chapter, keys, settings, ended):
    """Execute one chapter, keep it, and say how it ended: `(chapter, error or None)`."""
    started = time.perf_counter()
    try:
        # Those of networks that the chapter no longer has would count among its results.
        for report in settings.artifacts.glob(f"*/{chapter.name}/**/report.json"):
            report.unlink()
        notebook = execute(chapter, settings)
        record = {"key": keys[chapter.name], "seconds": round(time.perf_counter() - started, 1)}
        _write_json(settings.run_folder / f"{chapter.name}.ipynb", notebook)
        # Written last: a chapter counts as done only when its notebook is there.
        _write_json(settings.run_folder / f"{chapter.name}.json", record)
        ended.put((chapter, None))
    except Exception as error:
        ended.put((chapter, error))


def fetch_data(settings):
    """Render or download the galaxies now, where the terminal shows a progress bar, not inside the first notebook."""
    import galaxy_utils

    print(f"Opening {settings.dataset}", flush=True)
    galaxies = galaxy_utils.load(settings.dataset, profile=settings.profile, seed=settings.seed)
    print(f"  {len(galaxies):,} galaxies: {galaxies.provenance}", flush=True)
    return galaxies


def smallest_images(chapters, profile):
    """Return how many pixels a side the images must have, for each chapter, by its number, in one profile."""
    column, profile, needed = list(PROFILES).index(profile), get_profile(profile), {}
    for chapter in chapters:
        sizes = [int(found.split(",")[column]) for found in OWN_SIZES.findall(chapter.code)]
        named = [name for name in ("image_size", "joint_image_size") if f"profile.{name}" in chapter.code]
        sizes += [getattr(profile, name) for name in named]
        needed[chapter.name[:2]] = round(max(sizes, default=0) / profile.crop_fraction)
    return needed


def check_galaxies(galaxies, chapters, profile):
    """Say before anything runs which chapters cannot run on these galaxies, and why.

    Raises:
        BuildError: Images that are smaller than what a chapter cuts out of them, or classes with too few galaxies.
    """
    side, needed = galaxies.image_size, smallest_images(chapters, profile)
    small = [f"{number} ({pixels} px)" for number, pixels in needed.items() if pixels > side]
    if small:
        others = [name for name in PROFILES if max(smallest_images(chapters, name).values()) <= side]
        raise BuildError(
            f"Images of {side} px are too small for chapters {', '.join(small)} in the profile {profile}.",
            where=galaxies.provenance,
            expected=f"images of {max(needed.values())} px or more",
            remedy=f"PROFILE={others[-1]} takes them" if others else "enlarge them; below that no profile takes them",
        )
    counts = zip(galaxies.class_names, galaxies.class_counts, strict=True)
    rare = [f"{name} ({count})" for name, count in counts if 0 < count < FEWEST_OF_A_CLASS]
    if rare:
        raise BuildError(
            "A class is too small to be split: from chapter 2 on, no chapter can run.",
            where=galaxies.provenance,
            expected=f"{FEWEST_OF_A_CLASS} galaxies of each class, some for each part of the split",
            found=", ".join(rare),
            remedy="add galaxies, or leave the class out",
        )


def execute(chapter, settings):
    """Run one chapter with papermill and return it, cleaned, as a dictionary.

    Raises:
        BuildError: A cell raised, or wrote to stderr (a warning in a book is an error that nobody read), or its Python
            was ended by the system.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    attempt = settings.run_folder / f"{chapter.name}.partial.ipynb"
    attempt.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Not with papermill's own `cwd`, which moves the whole process back and forth.
        _run_notebook(
            chapter.path,
            attempt,
            settings.parameters,
            kernel_name="python3",
            progress_bar=settings.jobs == 1 and sys.stderr.isatty(),
            # Kernels warn of unencrypted local sockets when they start, and report being told to stop as an error.
            extra_arguments=["--IPKernelApp.log_level=50", "--IPKernelApp.capture_fd_output=False"],
        )
    except papermill.PapermillExecutionError as error:
        raise BuildError(
            f"{chapter.name} failed: {error.ename}: {error.evalue}",
            where=_name_cell(chapter, error.cell_index),
            remedy=f"the notebook up to that cell, with its traceback, is {attempt}",
        ) from error
    except DeadKernelError as error:
        cells = json.loads(attempt.read_text(encoding="utf-8"))["cells"]
        begun = [index for index, cell in enumerate(cells) if cell["metadata"].get("papermill", {}).get("start_time")]
        raise BuildError(
            f"{chapter.name} failed: its Python was ended while it computed, most often for want of memory.",
            where=_name_cell(chapter, begun[-1]),
            remedy="close other programs and build again, one chapter at a time: make book JOBS=1",
        ) from error
    notebook = json.loads(attempt.read_text(encoding="utf-8"))
    for index, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise BuildError(
                    f"{chapter.name} wrote a warning.",
                    where=_name_cell(chapter, index),
                    found="".join(output["text"]).strip()[-2000:],
                    remedy=f"mend its cause; the executed notebook is {attempt}",
                )
    attempt.unlink()
    return clean(notebook, settings)


def _run_notebook(*arguments, **options):
    """Do as papermill's `execute_notebook`, a second time where Python does not answer when it starts.

    Another program may have taken one of the ports that were chosen for it.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    try:
        papermill.execute_notebook(*arguments, **options)
    except DeadKernelError:  # a RuntimeError, too, but of a Python that had begun
        raise
    except RuntimeError:
        papermill.execute_notebook(*arguments, **options)


def _name_cell(chapter, index):
    """Say which cell of the chapter's own file an executed cell is, counted from 1, and how it begins.

    Args:
        chapter: The `Chapter`.
        index: Its place among the executed cells, counted from 0: papermill adds one after the parameters.
    """
    cells = chapter.notebook["cells"]
    parameters = next(place for place, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", []))
    number = index + 1 if index <= parameters else index
    first_line = "".join(cells[number - 1]["source"]).strip().partition("\n")[0]
    return f"{chapter.path}, cell {number} of the notebook, which begins: {first_line}"


@contextlib.contextmanager
def _native_messages_to(path):
    """Send what C libraries, also a kernel's, write to stderr to a file; Python's own stderr stays on the terminal.

    TensorFlow announces its start there, whatever its log level: no warning, and no part of a chapter.
    """
    terminal = os.dup(2)
    with open(path, "wb") as log, open(terminal, "w", encoding="utf-8") as stream, contextlib.redirect_stderr(stream):
        os.dup2(log.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)


def clean(notebook, settings):
    """Give figures their alt texts and captions, and drop what says when and where the notebook ran."""
    cells = []
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "parameters" in tags:
            # One cell with the values of this build instead of the notebook's own followed by papermill's.
            cell["source"] = "\n".join(f"{name} = {value!r}" for name, value in _displayed(settings).items())
        if "injected-parameters" in tags:
            continue
        cell["metadata"] = {
            key: value for key, value in cell["metadata"].items() if key not in ("papermill", "execution")
        }
        if cell["cell_type"] == "code":
            cell["outputs"] = [_as_stream(output) for output in cell["outputs"]]
        for output in cell.get("outputs", ()):
            texts = output.get("metadata", {}).get("image/png", {})
            if "alt" in texts:
                rendering = cell["metadata"].setdefault("mystnb", {})
                rendering["image"] = {"alt": texts["alt"]}
                if texts.get("caption"):
                    rendering["figure"] = {"caption": texts["caption"]}
        cells.append(cell)
    notebook["cells"] = cells
    notebook["metadata"].pop("papermill", None)
    return notebook


def _as_stream(output):
    """Make a display of text alone, such as a progress bar, the printed text that it looks like.

    Jupyter Book would give it the caption of the picture that follows.
    """
    if output["output_type"] != "display_data" or set(output["data"]) != {"text/plain"}:
        return output
    text = "".join(output["data"]["text/plain"])
    return {"output_type": "stream", "name": "stdout", "text": f"{text.rstrip()}\n"}


def stage(chapters, settings, seconds):
    """Copy pages and executed notebooks into one source folder. Unchanged files keep their times, for Sphinx."""
    # These need what is installed only now.
    with _native_messages_to(settings.output / "imports.log"):
        import play_classify
        import play_map
        import play_network
        from scores import score_page
    (settings.output / "imports.log").unlink()
    source = settings.output / "source"
    wanted = {}
    for path in (REPOSITORY / "book").rglob("*"):
        relative = path.relative_to(REPOSITORY / "book")
        if not path.is_file() or path.suffix in (".py", ".sh") or "__pycache__" in relative.parts:
            continue
        if relative.parts[0] != "play":
            wanted[relative] = path.read_bytes()
        elif path.suffix != ".md":  # the texts of these pages are filled in below
            wanted[Path("_static", relative)] = path.read_bytes()
    for chapter in chapters:
        wanted[Path("notebooks", chapter.path.name)] = (settings.run_folder / chapter.path.name).read_bytes()
    wanted[Path("scores.md")] = score_page().encode()
    wanted[Path("this_copy.md")] = _this_copy(chapters, settings, seconds).encode()
    contents = wanted[Path("_toc.yml")].decode()
    log = settings.output / "pieces.log"
    if "file: api\n" in contents:
        from api import api_page

        with _native_messages_to(log):
            wanted[Path("api.md")] = api_page().encode()
        log.unlink()
    for piece in (play_classify, play_map, play_network):
        # A shorter book, such as that of a test, has neither this page nor the chapter that it needs.
        if f"file: {piece.__name__}\n" in contents:
            with _native_messages_to(log):
                wanted.update(piece.make(settings))
            log.unlink()
    for path in [path for path in source.rglob("*") if path.is_file()]:
        if path.relative_to(source) not in wanted:
            path.unlink()
    for relative, content in wanted.items():
        target = source / relative
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return source, digest(sorted((str(path), content) for path, content in wanted.items()))


def render(source, state, settings):
    """Run Jupyter Book over the staged source unless the HTML already shows it. Every warning is an error."""
    from address import read_address

    others = (REPOSITORY / "_config.yml", REPOSITORY / "requirements.lock", TOOLS / "pages.py", TOOLS / "docstrings.py")
    site = read_address(REPOSITORY).site
    state = digest(state, site, *(path.read_bytes() for path in others))
    html = settings.output / "html"
    stamp = settings.output / "rendered.json"
    if _read_json(stamp) == state and (html / "index.html").exists():
        return html
    stamp.unlink(missing_ok=True)
    log = settings.output / "jupyter-book.log"
    work = settings.output / "jupyter-book"
    # All pages anew: those that did not change would keep the old navigation and style sheets, those that are gone, or
    # were half written when Sphinx was killed, would stay, and so would pictures of other galaxies.
    shutil.rmtree(work, ignore_errors=True)
    print("Rendering the pages", flush=True)
    status = _run_jupyter_book(source, work, log, "--all", "--warningiserror", "--keep-going")
    if status != 0:
        raise BuildError(
            "Jupyter Book reported errors or warnings.",
            where=log,
            found=log.read_text(encoding="utf-8")[-4000:].strip(),
        )
    # Only here: `--check` runs before anything is installed.
    from pages import check_pages, finish_pages

    fresh = settings.output / "html.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(work / "_build" / "html", fresh, ignore=shutil.ignore_patterns(".doctrees", ".buildinfo"))
    finish_pages(fresh, site)
    check_pages(fresh, source)
    shutil.rmtree(html, ignore_errors=True)
    fresh.rename(html)
    _write_json(stamp, state)
    return html


def _run_jupyter_book(source, work, log, *options):
    """Run Jupyter Book; return its exit status. It adds its own `_build` to `work`, so that is a folder of its own."""
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", source, "--config", REPOSITORY / "_config.yml", "--path-output", work, "--quiet"]
    with open(log, "w", encoding="utf-8") as file:
        return subprocess.run(
            list(map(str, [*command, *options])),
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1"},
            check=False,
        ).returncode


def check_links(source, settings):
    """Ask every web address in the staged book whether it answers.

    Returns:
        How many do.

    Raises:
        BuildError: Some do not. Servers that only turn programs away (401, 403, 429) count as answering.
    """
    work, log = settings.output / "links", settings.output / "links.log"
    shutil.rmtree(work, ignore_errors=True)
    _run_jupyter_book(source, work, log, "--builder", "linkcheck")
    answers = work / "_build" / "html" / "output.json"  # Jupyter Book calls the folder so for this builder, too
    if not answers.exists():
        raise BuildError("The links could not be checked.", where=log, found=log.read_text(encoding="utf-8")[-2000:])
    links = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
    links = [link for link in links if link["uri"].startswith("http")]
    # The reason begins with the server's status; the field `code` holds that of redirections alone.
    broken = [link for link in links if link["status"] in ("broken", "timeout")]
    dead = [link for link in broken if not link["info"].startswith(("401 ", "403 ", "429 "))]
    if dead:
        found = "\n    ".join(f"{link['filename']}: {link['uri']} ({link['info']})" for link in dead)
        raise BuildError("Addresses do not answer.", where="the book", found=found)
    return len(links)


def _this_copy(chapters, settings, seconds):
    """A page that says what this very copy of the book was computed from."""
    rows = "\n".join(f"| {_title(chapter)} | {seconds[chapter.name][0]:.0f} |" for chapter in chapters)
    source = {"simulated": "the simulated survey (no real galaxy)", "galaxy10": "the official Galaxy10 DECaLS file"}
    shown = source.get(settings.dataset, f"`{Path(settings.dataset).name}`, given by whoever built it")
    profile = get_profile(settings.profile)
    return (
        "# What this copy was computed from\n\n"
        "Nothing in these pages is typed in by hand where it could be computed: when the book is built, every notebook "
        f"is run from its first cell. This copy comes from {shown}, in the *{profile.name}* profile "
        f"({profile.purpose}), with seed {settings.seed}.\n\n"
        f"| Chapter | seconds to run |\n|---|---:|\n{rows}\n\n"
        f"{_devices(chapters, settings)}\n"
    )


def _devices(chapters, settings):
    """Say on what the chapters' networks were computed, as their reports remember it."""
    from galaxy_utils.report import read_report
    from galaxy_utils.wording import counted

    devices = set()
    for chapter in chapters:
        for path in settings.artifacts.glob(f"*/{chapter.name}/*/report.json"):
            device = read_report(path)["device"]
            devices.add(f"{counted(device['cores'], 'CPU cores')} and {device['accelerator'] or 'no GPU'}")
    if not devices:
        return "No chapter has left a report that says on which machine it ran."
    return f"The networks were trained and timed on a machine with {'; others on one with '.join(sorted(devices))}."


def _title(chapter):
    for cell in chapter.notebook["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:]
    raise BuildError("A notebook has no title.", where=chapter.path, expected="a Markdown cell with a line '# Title'")


def _displayed(settings):
    """The parameters as a reader sees them: a folder by its name, not by where it lay on the builder's machine."""
    shown = settings.dataset if settings.dataset in ("simulated", "galaxy10") else Path(settings.dataset).name
    return {**settings.parameters, "dataset_source": shown}


def _source_state(dataset):
    """Names, sizes and times of a user's own files; the built-in sources are described by the package itself."""
    path = Path(dataset)
    if dataset in NAMED_SOURCES or not path.exists():
        return dataset
    # All that is read, at whatever depth.
    images, others = find_images(path) if path.is_dir() else ({}, [path])
    files = sorted(file for file in sum(images.values(), others) if file.is_file())
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def _record(chapter, settings):
    path = settings.run_folder / f"{chapter.name}.json"
    record = _read_json(path)
    complete = isinstance(record, dict) and {"key", "seconds"} <= record.keys()
    return record if complete and (settings.run_folder / chapter.path.name).exists() else {}


def _read_json(path):
    """Return what a file of an earlier build says, or `None` where there is none or it is damaged: it is made again."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _write_json(path, content):
    from galaxy_utils.files import write_json

    write_json(path, content)


def build(settings, only_links=False):
    """Build the whole book and say what took how long and where it lies; or ask the addresses that it names."""
    from filelock import FileLock, Timeout

    started = time.perf_counter()
    settings.output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.output / ".build.lock")
    try:
        lock.acquire(blocking=False)
        lock.release()
    except Timeout:
        print(f"Waiting for another build that writes to {settings.output}", flush=True)
    with lock:
        chapters = find_chapters()
        seconds = run_chapters(chapters, settings)
        source, state = stage(chapters, settings, seconds)
        if only_links:
            print(f"{check_links(source, settings)} web addresses answer")
            return
        html = render(source, state, settings)
    width = max(len(chapter.name) for chapter in chapters)
    for name, (spent, ran) in seconds.items():
        print(f"  {name:<{width}}  {spent:6.1f} s{'' if ran else '  (unchanged, not run again)'}")
    print(f"The book is {html / 'index.html'} ({time.perf_counter() - started:.1f} s in all)")


def main():
    """Command line: 0 when the book is there, 1 with a message when not."""
    for stream in (sys.stdout, sys.stderr):  # a path may hold what the terminal cannot show
        stream.reconfigure(errors="backslashreplace")
    try:
        settings, options = read_settings()
        if not options.check:
            leave_users_settings(settings.output / "settings")
            build(settings, only_links=options.links)
    except GalaxyUtilsError as error:
        kind = "Not a valid setting" if isinstance(error, ConfigurationError) else "The book was not built"
        print(f"{kind}: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # a folder that nothing can be written to, a full disk
        print(f"The book was not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
