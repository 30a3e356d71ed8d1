"""A build of a book killed at random moments: while papermill runs a notebook, or while the pages are drawn."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
from bs4 import BeautifulSoup
from harness import REPOSITORY, WHOLE_TABLE, recorded

sys.path.append(str(REPOSITORY / "tests" / "book"))

from toy_book import write_small_book

KILLS = 20 if WHOLE_TABLE else 1


def start_build(checkout, output, cache):
    return subprocess.Popen(
        [sys.executable, str(checkout / "book" / "tools" / "build.py"), "--profile", "smoke", "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "GALAXY_UTILS_CACHE": str(cache)},
        start_new_session=True,
    )


def finish(build):
    told, _ = build.communicate(timeout=900)
    assert build.returncode == 0, told
    return told


def kill_with_all_its_session(build):
    """Kill the build and what it started; return those that live in sessions of their own, such as kernels."""
    others = psutil.Process(build.pid).children(recursive=True)
    os.killpg(build.pid, signal.SIGKILL)
    build.wait()
    build.stdout.close()
    return others


def pages_of(output):
    """Return the text of the pages, as a reader sees it; how many seconds a chapter took is on none of these."""
    texts = {}
    for name in ("index", "notebooks/01_first", "notebooks/02_second"):
        page = (output / "html" / f"{name}.html").read_text(encoding="utf-8")
        assert page.rstrip().endswith("</html>"), f"{name} is cut off"
        texts[name] = BeautifulSoup(page, "html.parser").find("article").get_text()
    return texts


def finished_chapters(output):
    return {path.stem for path in output.glob("executed/*/0[12]_*.json")}


def until_a_chapter_is_done(output, build):
    while not finished_chapters(output):
        assert build.poll() is None, build.communicate()
        time.sleep(0.05)


def test_a_killed_build_goes_on(tmp_path, common_folder):
    write_small_book(tmp_path / "checkout")
    # The survey, which is none of this test's business, is rendered once for all builds of this run.
    cache, seconds = common_folder / "cache_of_builds", None
    if WHOLE_TABLE:
        finish(start_build(tmp_path / "checkout", tmp_path / "undisturbed", cache))
        expected = pages_of(tmp_path / "undisturbed")
        # This time without rendering, so that kills come while a chapter runs or pages are drawn.
        start = time.perf_counter()
        finish(start_build(tmp_path / "checkout", tmp_path / "again", cache))
        assert pages_of(tmp_path / "again") == expected
        seconds = time.perf_counter() - start
    random, number, kernels = np.random.default_rng(1), 0, []
    with recorded("Killed", "Build a book: papermill and Jupyter Book") as outcome:
        while outcome.tried < KILLS:
            number += 1
            output, killed, done = tmp_path / f"output_{number}", 0, set()
            problems = []
            while True:
                build = start_build(tmp_path / "checkout", output, cache)
                enough = killed == min(4, KILLS - outcome.tried)
                try:
                    if seconds or enough:
                        build.wait(timeout=None if enough else random.uniform(1, seconds))
                    else:  # in the sample: as soon as a chapter is done
                        until_a_chapter_is_done(output, build)
                        build.wait(timeout=0)
                except subprocess.TimeoutExpired:
                    kernels += kill_with_all_its_session(build)
                    killed += 1
                    done = finished_chapters(output)
                    continue
                told = finish(build)
                problems += [f"{name} was run again" for name in done if f"Running {name}" in told]
                break
            pages = pages_of(output)
            problems += ["the pages differ"] if WHOLE_TABLE and pages != expected else []
            problems += [f"left over: {path}" for path in output.rglob("*.partial*")]
            if WHOLE_TABLE:  # of an undisturbed build tests/book says it
                again = finish(start_build(tmp_path / "checkout", output, cache))
                problems += ["a finished build ran again"] if "Running" in again or "Rendering" in again else []
            outcome.add(killed, [f"book {number}, {killed} kills: {problem}" for problem in problems])
        _, alive = psutil.wait_procs(kernels, timeout=30)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE], "kernels live on"
