"""The same seed gives the same bytes, whatever else is different."""

import json
import os
import subprocess
import sys

import h5py
import pytest
from harness import REPOSITORY, WHOLE_TABLE, recorded

from galaxy_utils.data.simulated import simulate_survey

CHAPTERS = sorted(path.stem for path in (REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
# Runs a chapter and leaves its figures beside its results, apart from those that show seconds.
RUN = """
import base64, runpy, sys
from pathlib import Path
build = runpy.run_path(sys.argv[1])
settings = build["Settings"]("simulated", "smoke", 1, Path(sys.argv[2]))
chapter = next(chapter for chapter in build["find_chapters"]() if chapter.name == sys.argv[3])
for cell in build["execute"](chapter, settings)["cells"]:
    shows_seconds = "shows-seconds" in cell["metadata"].get("tags", ())
    for number, output in enumerate([] if shows_seconds else cell.get("outputs", ())):
        picture = output.get("data", {}).get("image/png")
        if picture:
            Path(sys.argv[2], f"figure_{cell['id']}_{number}.png").write_bytes(base64.b64decode(picture))
"""


# What says when something was done or how long it took, and what follows from it: the chain of a ledger's lines, and
# its files of answers, which hold seconds, too, and are named by their own hash.
TIMES = ("timing", "training_seconds", "inference_seconds", "created", "recorded", "opened", "hash", "evidence")


def results_without_times(folder):
    """Return `{path: content}` of all reports and ledgers, without their times, and of all figures."""
    results = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("figure_*.png"))}
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.jsonl")]):
        lines = path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]
        results[str(path.relative_to(folder))] = [json.loads(line, object_pairs_hook=_without_times) for line in lines]
    return results


def _without_times(pairs):
    return {key: value for key, value in pairs if key not in TIMES}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One survey for both runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.skipif(not WHOLE_TABLE, reason="takes minutes for each chapter: `make faults` does it")
@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_says_the_same_twice(name, cache, tmp_path):
    found = []
    with recorded("Same seed", f"chapter {name[:2]} twice, reports and figures compared byte by byte") as outcome:
        for number in range(2):
            place = tmp_path / str(number)
            environment = {**os.environ, "GALAXY_UTILS_CACHE": str(cache)}
            environment |= {"GALAXY_UTILS_ARTIFACTS": str(place), "GALAXY_UTILS_WEIGHTS": "none"}
            program = [sys.executable, "-c", RUN, REPOSITORY / "book" / "tools" / "build.py", place, name]
            result = subprocess.run([*map(str, program)], capture_output=True, text=True, env=environment, check=False)
            assert result.returncode == 0, result.stderr[-3000:]
            found.append(results_without_times(place))
        first, second = found
        assert first, "the chapter leaves nothing to compare"
        problems = [f"{path} differs" for path in first if first[path] != second.get(path)]
        problems += [] if first.keys() == second.keys() else ["other files were written"]
        outcome.add(len(first), problems)


def test_the_number_of_workers_changes_nothing(tmp_path):
    galaxies, numbers = (60, (1, 2, 5)) if WHOLE_TABLE else (24, (1, 3))
    with recorded("Same seed", "a survey rendered by 1, 2 and 5 processes") as outcome:
        surveys = []
        for workers in numbers:
            path = simulate_survey(tmp_path / f"{workers}.h5", galaxies, 7, 32, num_workers=workers)
            with h5py.File(path) as file:
                surveys.append({key: file[key][:].tobytes() for key in file})
        outcome.add(len(numbers), [] if all(survey == surveys[0] for survey in surveys) else ["the surveys differ"])
