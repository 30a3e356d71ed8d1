"""Kills works at random moments, starts them again, and counts what survived."""

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import psutil

import galaxy_utils

REPOSITORY = Path(__file__).resolve().parents[2]
# `make faults` sets it; without it a sample is tried, for CI.
WHOLE_TABLE = os.environ.get("FAULTS") == "all"
RESULTS = REPOSITORY / "_build" / "faults"
# Seconds after which a work counts as hanging; a machine on which others work, too, may need minutes for it.
LONGEST_WORK = 600
# Seconds that workers may outlive the process that was killed.
LONGEST_MOURNING = 30
# A work that only ever starts again shows little: after so many kills it may finish, and the next one starts afresh.
KILLS_IN_A_ROW = 4

# Processes are forked from one that has imported everything and computed nothing: a restart takes no time of its own,
# and no thread of a library is copied.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["keras", "galaxy_utils.training", "galaxy_utils.data.simulated", "works"])


def when_and_what():
    """Return the day, the version and the commit that a table is of; `changed` where files differ from the commit."""
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty=, changed", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return f"{date.today():%-d %B %Y}, galaxy_utils {galaxy_utils.__version__}, commit {commit}"


def start_server():
    """Start the process that all others are forked from, unless it runs; it has to find the modules of the tests."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


@dataclass
class Outcome:
    """What became of the tries of one fault."""

    tried: int = 0
    survived: int = 0
    problems: list = field(default_factory=list)

    def add(self, tried, problems):
        """Count tries that all survived, or none of them."""
        self.tried += tried
        self.survived += 0 if problems else tried
        self.problems += problems

    def add_all(self, other):
        """Count what another outcome has counted."""
        self.tried += other.tried
        self.survived += other.survived
        self.problems += other.problems


# (group, fault) → what all tests of this run have counted under these names.
_ROWS = {}


def record(group, fault, outcome):
    """Keep a row of the table, where the whole table is being made."""
    total = _ROWS.setdefault((group, fault), Outcome())
    total.add_all(outcome)
    if WHOLE_TABLE and total.tried:
        RESULTS.mkdir(parents=True, exist_ok=True)
        row = {"group": group, "fault": fault, "tried": total.tried, "survived": total.survived}
        words = "".join(letter if letter.isalnum() else "_" for letter in f"{group} {fault}".lower())
        (RESULTS / f"{words}.json").write_text(json.dumps(row) + "\n", encoding="utf-8")


@contextlib.contextmanager
def recorded(group, fault):
    """Yield an `Outcome`; keep it as a row of the table, and fail when anything was lost."""
    outcome = Outcome()
    try:
        yield outcome
    except BaseException as error:
        outcome.tried += 1
        outcome.problems.append(repr(error))
        raise
    finally:
        record(group, fault, outcome)
    assert not outcome.problems, "\n".join(outcome.problems)


def own_folders(folder):
    """Let this process, and those that it starts, keep cache, artifacts and everything else below a folder."""
    for name in ("cache", "artifacts", "home", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    os.environ["GALAXY_UTILS_CACHE"] = str(folder / "cache")
    os.environ["GALAXY_UTILS_ARTIFACTS"] = str(folder / "artifacts")
    os.environ["HOME"], os.environ["TMPDIR"] = str(folder / "home"), str(folder / "tmp")
    os.chdir(folder)


def _in_child(work, folder, connection):
    own_folders(folder)
    notes = os.open(folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        result = work(
            folder,
            begin=lambda: connection.send(("begun", None)),
            note=lambda text: os.write(notes, f"{text}\n".encode()),
        )
        connection.send(("ended", result))
    except BaseException:
        connection.send(("failed", traceback.format_exc()))


@contextlib.contextmanager
def started(work, folder):
    """Start a work in a process of its own, wait until its own part begins; yield process and connection."""
    folder.mkdir(parents=True, exist_ok=True)
    start_server()
    receiving, sending = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_in_child, args=(work, folder, sending))
    process.start()
    sending.close()
    try:
        told = answer(receiving)
        assert told == ("begun", None), f"{work.__name__} did not begin: {told[1]}"
        yield process, receiving
    finally:
        process.kill()
        process.join()
        receiving.close()


def answer(connection):
    """Return what a work says next: ("ended", result) or ("failed", traceback)."""
    if not connection.poll(LONGEST_WORK):
        return "failed", f"nothing happened for {LONGEST_WORK} s"
    try:
        return connection.recv()
    except EOFError:
        return "failed", "the process died by itself"


def undisturbed(work, folder):
    """Let a work finish; return its result and the seconds that its own part took."""
    with started(work, folder) as (_, connection):
        start = time.perf_counter()
        state, result = answer(connection)
        assert state == "ended", result
        return result, time.perf_counter() - start


def kill_at_random(work, folder, kills, seed=1, check=lambda folder: [], rewrites=False):
    """Kill a work at random moments and start it again until it ends; again from nothing, until it was killed enough.

    Args:
        work: One of `works`.
        folder: Empty folder for all of it.
        kills: How often it is to be killed.
        seed: Seed of the moments.
        check: Function of the folder of a work that has ended; returns what is wrong with it, as a list of texts.
        rewrites: Whether the work writes its files anew whenever it is asked.

    Returns:
        An `Outcome`: kills after which the work ended with the same result as the undisturbed one, did nothing twice
        and left neither a half-written file nor a process.
    """
    outcome, random, workers = Outcome(), np.random.default_rng(seed), []
    expected, seconds = undisturbed(work, folder / "undisturbed")
    number = 0
    while outcome.tried < kills:
        number += 1
        place, killed, state = folder / f"run_{number}", 0, None
        while state is None:
            with started(work, place) as (process, connection):
                enough, begun = killed == min(KILLS_IN_A_ROW, kills - outcome.tried), time.perf_counter()
                if enough or connection.poll(random.uniform(0, seconds)):
                    state, result = answer(connection)
                    if not killed:
                        # It escaped: the machine is less busy than it was. Otherwise hardly one would be killed.
                        seconds = min(seconds, time.perf_counter() - begun)
                else:
                    # They end by themselves, some seconds after the one that started them.
                    with contextlib.suppress(psutil.NoSuchProcess):
                        workers += psutil.Process(process.pid).children(recursive=True)
                    killed += 1
        problems = [] if state == "ended" else [f"after {killed} kills: {result}"]
        if state == "ended":
            if result != expected:
                problems.append(f"after {killed} kills the result is another one")
            problems += [f"left over: {path.relative_to(place)}" for path in place.rglob("*.partial*")]
            problems += check(place)
            before = written(place)
            again, _ = undisturbed(work, place)
            if again != expected:
                problems.append("asked again, the result is another one")
            if not rewrites:
                problems += [f"written again: {path}" for path in set(written(place).items()) ^ set(before.items())]
        outcome.add(killed, [f"{work.__name__}, run {number}: {problem}" for problem in problems])
    _, alive = psutil.wait_procs(workers, timeout=LONGEST_MOURNING)
    outcome.add(0, [f"{work.__name__}: a worker lives on: {process}" for process in alive])
    return outcome


def written(folder):
    """Return `{path: time of the last change}` of results: what a finished work must not write again."""
    results = [path for name in ("cache", "artifacts") for path in (folder / name).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in results if path.suffix != ".lock"}
