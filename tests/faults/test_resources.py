"""Full disks, closed folders and little memory, as the system itself enforces them."""

import errno
import functools
import json
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import textwrap

import h5py
import numpy as np
import pytest
import works
from harness import REPOSITORY, WHOLE_TABLE, answer, recorded, started, undisturbed

from galaxy_utils.errors import GalaxyUtilsError, StorageError

TRIES = 20 if WHOLE_TABLE else 1
# In CI a training, arrays and small files; the small disk below refuses a survey, too.
SAMPLE = (works.three_block_cnn, works.image_folder, works.ledger, works.small_files)
# How a process gets little memory is explained there.
MEMORY = runpy.run_path(str(REPOSITORY / "book" / "measured" / "memory_full_size.py"))


def with_full_disk(work, largest, folder, begin, note):
    """Let a work write no file beyond a size, as on a disk that becomes full; say how it ended."""

    def begin_limited():
        # Without this the system ends the process; with it, writing fails as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
        begin()

    try:
        return work(folder, begin_limited, note)
    except StorageError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return f"refused: {error}"


def largest_result(folder):
    results = [path for name in ("cache", "artifacts") for path in (folder / name).rglob("*") if path.is_file()]
    return max(path.stat().st_size for path in results)


@pytest.mark.parametrize("work", works.WORKS if WHOLE_TABLE else SAMPLE, ids=lambda work: work.__name__)
def test_a_disk_that_becomes_full(work, tmp_path):
    expected, _ = undisturbed(work, tmp_path / "undisturbed")
    size, random = largest_result(tmp_path / "undisturbed"), np.random.default_rng(1)
    with recorded("Disk full", work.__doc__.rstrip(".")) as outcome:
        for number in range(TRIES):
            place, problems = tmp_path / f"try_{number}", []
            limited = functools.partial(with_full_disk, work, int(random.uniform(0, 0.98) * size))
            limited.__name__ = work.__name__
            with started(limited, place) as (_, connection):
                state, told = answer(connection)
            if state != "ended" or not told.startswith("refused:") or "MiB free" not in told:
                problems.append(f"{state}: {told}")
            problems += [f"left over: {path.relative_to(place)}" for path in place.rglob("*.partial*")]
            found, _ = undisturbed(work, place)
            if found != expected:
                problems.append("with room again, the result is another one")
            outcome.add(1, [f"{work.__name__}, try {number}: {problem}" for problem in problems])


def in_own_mounts(script):
    """Run a shell script as root of mounts of its own; skip the test where the system does not allow it."""
    if sys.platform != "linux" or not shutil.which("unshare"):
        pytest.skip("mounts of one's own exist on Linux alone")
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no mounts of one's own")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    return subprocess.run(
        [*unshare, "sh", "-ec", textwrap.dedent(script)], capture_output=True, text=True, check=False, env=environment
    )


# Each stage in a process of its own, all from one that has imported what they need.
PROGRAM = """
import json
import os
import subprocess
import sys
from pathlib import Path
import works
from galaxy_utils.errors import StorageError
from harness import own_folders

def run(stage, folder, names):
    own_folders(folder)
    for name in names:
        try:
            getattr(works, name)(folder, lambda: None, lambda text: None)
            print(stage, name, "ended")
        except StorageError as error:
            print(stage, name, "refused:", error)
        left = [path for path in folder.rglob("*.partial*") if path.parent.parent.name != "own"]
        print(stage, name, "left", len(left))

folder = Path(sys.argv[1])
for stage, place, before, names in json.loads(sys.argv[2]):
    subprocess.run(["sh", "-ec", before], cwd=folder, check=True)
    sys.stdout.flush()
    if not os.fork():
        run(stage, folder / place, names)
        sys.exit()
    assert os.wait()[1] == 0, stage
"""
SMALL_WORKS = ("simulate", "prepare", "ledger", "small_files")
# Name, folder, what the system does to it first, works.
STAGES = (
    ("small", "small", "mkdir small; mount -t tmpfs -o size=120k tmpfs small", SMALL_WORKS),
    (
        "closed",
        "closed",
        """mkdir closed; mount -t tmpfs -o size=50m tmpfs closed
        mkdir closed/cache closed/artifacts closed/home closed/tmp; mount -o remount,ro closed""",
        SMALL_WORKS,
    ),
    ("elsewhere", "filled", "mkdir filled; mount -t tmpfs -o size=50m tmpfs filled", SMALL_WORKS),
    ("filled", "filled", "rm -f filled/cache/*/.*.lock; mount -o remount,ro filled", SMALL_WORKS[:2]),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What all stages print: a small disk, a closed folder, one elsewhere, and that one closed when it is filled."""
    folder = tmp_path_factory.mktemp("mounts")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "stages.json").write_text(json.dumps(STAGES))
    result = in_own_mounts(f'{sys.executable} {folder}/program.py {folder} "$(cat {folder}/stages.json)"')
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_small_disk(told):
    """A disk of its own in memory: room is looked for first, and a full one leaves nothing."""
    with recorded("Disk full", "a real disk of 120 kB") as outcome:
        for name in SMALL_WORKS:
            problems = [] if f"small {name} refused: The disk has no room" in told else [told]
            problems += [] if f"small {name} left 0\n" in told else [f"{name} left a partial file"]
            outcome.add(1, problems)


def test_a_cache_that_is_read_only(told):
    with recorded("Read-only folders", "message, and a way to point elsewhere") as outcome:
        for name, variable in zip(SMALL_WORKS, ("CACHE", "CACHE", "ARTIFACTS", "ARTIFACTS"), strict=True):
            answer = told.partition(f"closed {name} refused:")[2].partition(f"closed {name} left")[0]
            told_where = f"GALAXY_UTILS_{variable}" in answer and "to a folder elsewhere" in answer
            problems = [] if told_where else [answer]
            problems += [] if f"elsewhere {name} ended" in told else [told]
            outcome.add(1, problems)


def test_a_filled_cache_may_be_read_only(told):
    """A teacher's cache, which forty students read and none can write to."""
    with recorded("Read-only folders", "a cache that somebody else has filled") as outcome:
        for name in ("simulate", "prepare"):
            outcome.add(1, [] if f"filled {name} ended" in told else [told])


def test_other_errors_stay_what_they_are(tmp_path):
    from galaxy_utils.files import explain_write_errors

    for error in (OSError(errno.ENOENT, "no file"), RuntimeError("something else"), ValueError("no number")):
        with pytest.raises(type(error)) as caught, explain_write_errors(tmp_path / "file"):
            raise error
        assert not isinstance(caught.value, GalaxyUtilsError)


def write_full_size(path, num_galaxies):
    """Write a file whose images take little room on the disk, but as much as any others when they are read."""
    with h5py.File(path, "w") as file:
        shape, random = (num_galaxies, 256, 256, 3), np.random.default_rng(2)
        images = file.create_dataset("images", shape, np.uint8, chunks=(8, 256, 256, 3), compression="lzf")
        for first in range(0, num_galaxies, 8):
            # No two are alike, so that none counts as a copy.
            coarse = random.integers(0, 256, (min(8, num_galaxies - first), 32, 32, 3), np.uint8)
            images[first : first + 8] = coarse.repeat(8, axis=1).repeat(8, axis=2)
        file["ans"] = np.sort(np.arange(num_galaxies) % 10).astype(np.uint8)
        random = np.random.default_rng(1)
        file["ra"], file["dec"] = random.uniform(0, 360, num_galaxies), random.uniform(-20, 80, num_galaxies)
        file["redshift"] = file["pxscale"] = np.full(num_galaxies, 0.262)


DATA_PATH = """
import sys
import galaxy_utils as gu
galaxies = gu.load(sys.argv[1])
prepared = gu.prepare(galaxies, 64, 1.0)
parts = gu.split(prepared).with_fewer(64)
model = gu.models.compact_cnn(64)
gu.fit(model, prepared, parts, gu.Recipe("short", epochs=1, batch_size=8), progress=False)
print(len(prepared), gu.predict(model, prepared, parts.test[:64]).shape)
"""


def run_in(gigabytes, *command):
    """Run Python with a limit to its memory, which `with_memory` of the benchmark explains."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        **MEMORY["with_memory"](gigabytes),
    )


def refuse_without_room(folder, needed):
    if shutil.disk_usage(folder).free < needed:
        pytest.skip(f"no room for {needed / 1e9:.1f} GB")


@pytest.mark.skipif(not WHOLE_TABLE, reason="takes two minutes: `make faults` does it")
def test_more_images_than_memory(tmp_path):
    """Load, split, prepare and train on 1.6 GB of images in less memory than that."""
    refuse_without_room(tmp_path, 10**9)
    write_full_size(tmp_path / "full.h5", 8_000)
    with recorded("Memory", "8,000 images of 256 px, which are 1.6 GB, with 1.2 GB") as outcome:
        result = run_in(1.2, "-c", DATA_PATH, tmp_path / "full.h5")
        outcome.add(1, [] if result.stdout.startswith("8000 (64, 10)") else [result.stderr[-2000:]])


@pytest.mark.skipif(not WHOLE_TABLE, reason="takes ten minutes: `make faults` does it")
def test_chapters_1_to_3_at_full_size_in_little_memory(tmp_path, monkeypatch):
    refuse_without_room(tmp_path, 8 * 10**9)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    program = [sys.executable, REPOSITORY / "book" / "measured" / "memory_full_size.py", "--limit", "3"]
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    for chapter in MEMORY["CHAPTERS"]:
        with recorded("Memory", f"chapter {chapter[:2]} on 17,736 images of 256 px, with 3 GB") as outcome:
            done = f"  {chapter}: own " in result.stdout
            outcome.add(1, [] if done else [result.stdout + result.stderr[-2000:]])


@pytest.mark.skipif(not WHOLE_TABLE, reason="takes as long as a book: `make faults` does it")
def test_the_demo_book_in_little_memory(tmp_path):
    with recorded("Memory", "the whole demo book, with 3 GB for each process") as outcome:
        program = REPOSITORY / "book" / "tools" / "build.py"
        result = run_in(3, program, "--profile", "demo", "--output", tmp_path / "build")
        done = result.returncode == 0 and (tmp_path / "build" / "html" / "index.html").exists()
        outcome.add(1, [] if done else [result.stdout + result.stderr[-2000:]])
