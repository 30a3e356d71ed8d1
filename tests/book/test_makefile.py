"""What `make` says and refuses, and that several of them install one after the other."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TAKE_TURNS = [sys.executable, REPOSITORY / "book" / "tools" / "take_turns.py"]


def run_make(*arguments):
    """Run `make` as from a shell of its own, not as part of the `make test` that may have started this."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for name in ("DATASET", "PROFILE", "SEED"):
        environment.pop(name, None)
    return subprocess.run(
        ["make", "-C", REPOSITORY, f"PYTHON={sys.executable}", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


def test_help_names_every_target_and_setting():
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE).group(1).split()
    for shown in (run_make("help").stdout, run_make().stdout):
        for target in targets:
            assert f"make {target} " in shown or target.startswith("check-")
        for name, default in re.findall(r"^([A-Z]+) \?= (.*)$", makefile, re.MULTILINE):
            assert f"{name}={default}" in shown


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("dataset=galaxy10", "Did you mean DATASET=…?"),
        ("profile=smoke", "Did you mean PROFILE=…?"),
        ("Seed=3", "Did you mean SEED=…?"),
        ("DATSET=galaxy10", "Did you mean DATASET=…?"),
        ("PROFILE=Smoke", "Did you mean 'smoke'?"),
        ("SEED=one", "a whole number from 0"),
        ("SEED=-1", "a whole number from 0"),
        ("SEED=2147483648", "a whole number from 0"),
        ("TENSORFLOW=2.18; echo Installing", "TENSORFLOW is a version"),
    ],
)
def test_a_mistyped_setting_stops_before_anything_is_installed(given, told):
    result = run_make("book", given)
    assert result.returncode != 0
    assert told in result.stderr and "Traceback" not in result.stderr
    assert "Installing" not in result.stdout and "Opening" not in result.stdout


def test_other_variables_are_left_alone():
    """GNU make hands them on to the environment, and people rely on that."""
    result = run_make("check-settings", "GALAXY_UTILS_CACHE=/somewhere", "SEED=0", "DATASET=simulated")
    assert result.returncode == 0, result.stderr


def test_two_installations_take_turns_and_the_second_says_that_it_waits(tmp_path):
    lock, notes = tmp_path / "venv" / "lock", tmp_path / "notes"
    first = subprocess.Popen(
        [*TAKE_TURNS, lock, "sh", "-c", f"echo in; read line; echo first >> {notes}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == "in\n"
    second = subprocess.Popen(
        [*TAKE_TURNS, lock, "sh", "-c", f"echo second >> {notes}"], stdout=subprocess.PIPE, text=True
    )
    assert second.stdout.readline() == f"Waiting for another process that is installing into {lock.parent}\n"
    assert not notes.exists()
    first.communicate("go on\n", timeout=20)
    second.communicate(timeout=20)
    assert notes.read_text() == "first\nsecond\n"
    assert first.returncode == second.returncode == 0


def test_a_killed_installation_leaves_no_lock_and_a_failed_one_its_exit_status(tmp_path):
    lock = tmp_path / "lock"
    with subprocess.Popen([*TAKE_TURNS, lock, "sh", "-c", "echo in; read line"], stdout=subprocess.PIPE) as killed:
        assert killed.stdout.readline() == b"in\n"
        killed.send_signal(signal.SIGKILL)
    result = subprocess.run([*TAKE_TURNS, lock, "sh", "-c", "exit 3"], capture_output=True, timeout=20, check=False)
    assert result.returncode == 3 and result.stdout == b""


def test_another_python_than_that_of_the_environment_is_not_ignored(tmp_path):
    other = (3, 12 if sys.version_info.minor != 12 else 13)
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = {other}; $2"\n')
    python.chmod(0o755)
    result = run_make("check-python", f"PYTHON={python}")
    assert result.returncode == 2 and ".venv is there already, with Python 3." in result.stdout + result.stderr


def test_a_stick_with_a_space_in_its_name(tmp_path):
    """pip would take the path of its packages for two."""
    stick, programs = tmp_path / "USB DISK", tmp_path / "programs"
    (stick / "galaxies").mkdir(parents=True), programs.mkdir()
    (stick / "install.sh").write_bytes((REPOSITORY / "book" / "tools" / "install_from_stick.sh").read_bytes())
    (programs / "make").write_text('#!/bin/sh\necho "$PIP_FIND_LINKS"\nexit 7\n')
    (programs / "make").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHON": sys.executable}
    command = ["sh", stick / "install.sh", tmp_path / "target"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 7 and result.stdout.strip() == (stick / "wheels").as_uri()


def test_installing_from_a_stick_never_overwrites(tmp_path):
    """The folder may hold a student's work."""
    stick, target = tmp_path / "stick", tmp_path / "galaxies"
    stick.mkdir(), target.mkdir()
    (stick / "install.sh").write_bytes((REPOSITORY / "book" / "tools" / "install_from_stick.sh").read_bytes())
    (target / "mine.ipynb").write_text("work")
    result = subprocess.run(["sh", stick / "install.sh", target], capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "exists already" in result.stderr
    assert [path.name for path in target.iterdir()] == ["mine.ipynb"]


def test_pip_follows_a_users_settings_for_the_network_alone(tmp_path):
    """With the real pip: what it would follow, it says itself."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror.example/simple\nproxy = http://proxy:80\nrequire-hashes = true\n"
        "[install]\nuser = true\ntarget = /tmp/elsewhere\nfind-links = /a b\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path), "PIP_NO_DEPS": "1", "PIP_TIMEOUT": "7"}
    program = [sys.executable, REPOSITORY / "book" / "tools" / "run_pip.py", "config", "list"]
    listed = subprocess.run(program, capture_output=True, text=True, timeout=60, env=environment, check=True).stdout
    found = dict(line.removeprefix(":env:.").split("=", 1) for line in listed.splitlines())
    assert (
        found.items()
        >= {
            "index-url": "'https://mirror.example/simple'",
            "proxy": "'http://proxy:80'",
            "find-links": "'/a b'",
            "timeout": "'7'",
        }.items()
    )
    assert not found.keys() & {"user", "target", "require-hashes", "no-deps"}


def test_uv_is_told_what_the_settings_of_pip_say_of_the_network(tmp_path, monkeypatch):
    sys.path.insert(0, str(REPOSITORY / "book" / "tools"))
    from install_lock import uv_command

    found = {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://one.example\nhttps://two.example",
    }
    found |= {"find-links": "/a b", "cert": "/own.pem", "no-index": "true", "timeout": "7", "cache-dir": "/elsewhere"}
    command, variables = uv_command(tmp_path / "lock", found)
    pairs = list(zip(command, command[1:], strict=False))
    assert {("--default-index", found["index-url"]), ("--find-links", "/a b"), ("--index", "https://two.example")} < {
        *pairs
    }
    assert "--no-index" in command and "--require-hashes" in command and "/elsewhere" not in command
    assert variables == {"SSL_CERT_FILE": "/own.pem", "UV_HTTP_TIMEOUT": "7", "UV_NO_CONFIG": "1"}
    assert "--no-index" not in uv_command("lock", {})[0]
