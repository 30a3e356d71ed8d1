"""The process that a submission runs in: a Python and a folder of its own, watched over from outside its names."""

import json
import os
import queue
import secrets
import shutil
import sys
import time
import venv
from pathlib import Path

import psutil
from masters import REPOSITORY

STARTS = 3  # of a process that does not answer before anything has run in it
GRACE = 5.0  # seconds in which an interrupted cell must stop
TOKEN = "GALAXY_BOOK_GRADING"
# Whatever else is in the grader's environment (keys, tokens, addresses) is none of a submission's business.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "KERAS_BACKEND", "SYSTEMROOT", "OMP_NUM_THREADS")

# Runs in the submission's process before its first cell, as a module of its own: nothing in it looks a name up among
# the student's, or among Python's own once these have been replaced. An audit hook cannot be taken out again from
# Python. It sees what Python opens or lists, not what another program does that Python starts.
GUARD = '''
import builtins, json, os, sys
import IPython
from otter.test_files.exception_test import ExceptionTestFile

shell = IPython.get_ipython()
shell.ask_exit = lambda: None  # `exit()` at the end of a notebook must not take the answers with it
pristine, initial = dict(vars(builtins)), dict(shell.user_ns)


def watch(private, own, log):
    watched = {"open", "os.listdir", "os.scandir"}
    started = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    fspath, realpath, write, kinds = os.fspath, os.path.realpath, os.write, (str, bytes, os.PathLike)
    decode, encode, denied, is_a, shown = os.fsdecode, os.fsencode, PermissionError, isinstance, repr

    def hook(event, arguments):
        found = None
        if event in watched and arguments and is_a(arguments[0], kinds):
            path = realpath(decode(fspath(arguments[0]))) + "/"
            if not path.startswith(own + "/"):
                for one in private:
                    if path.startswith(one + "/"):
                        found = path[:-1]
        elif event in started:
            for one in private:
                if one in shown(arguments):
                    found = one
        if found:
            write(descriptor, encode(found) + b"\\n")
            raise denied(f"{found} is not for submissions to read")

    sys.addaudithook(hook)


def check(source, path, imports):
    """Run checks and write what they gave; once more as if no name hid another one, where they have failed."""
    vars(builtins).update(pristine)
    try:
        answer = run_checks(source)
        if not all(case["passed"] for case in answer):
            names, given = shell.user_ns, {}
            for line in imports:
                try:
                    exec(line, given)
                except Exception:
                    pass
            given.pop("__builtins__", None)
            other = [name for name in pristine if name in names and names[name] is not pristine[name]]
            other = [name for name in other if name[:2] != "__" and names[name] is not initial.get(name)]
            other += [name for name in given if names.get(name) is not given[name]]
            if other:
                kept = {name: names[name] for name in other if name in names}
                for name in other:
                    names.pop(name, None)
                names.update(given)
                try:
                    again = run_checks(source)
                    answer = [two if two["passed"] else one for one, two in zip(answer, again)]
                finally:
                    for name in other:
                        names.pop(name, None)
                    names.update(kept)
    except BaseException as error:
        answer = f"the check was ended by {type(error).__name__}"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(answer, file)


def run_checks(source):
    checks = ExceptionTestFile.from_string(source)
    checks.run(shell.user_ns)
    return [{"passed": case.passed is True, "message": case.message} for case in checks.test_case_results]


watch(*arguments)
del arguments
'''
INSTALL = """
import builtins, sys, types
{name} = types.ModuleType({name!r})
vars({name}).update(arguments={arguments!a}, __builtins__=dict(vars(builtins)))
exec({guard!a}, vars({name}))
sys.modules[{name!r}] = {name}
del {name}, builtins, sys, types
"""
# `import` finds its way whatever the student's names are.
CHECK = """
import {name}
{name}.check({source!a}, {path!a}, {imports!a})
del {name}
"""


class ProcessDied(Exception):
    """The submission's process ended."""


class ProcessStuck(Exception):
    """The submission's process did not stop when it was interrupted."""


class NotWatched(Exception):
    """The guard could not be installed."""


def make_python(folder):
    """Make a Python that sees every package of this one, and into which alone pip installs and from which it removes.

    Args:
        folder: A new folder for it.

    Returns:
        The path of its interpreter.
    """
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    own = next(Path(folder, "lib").glob("*/site-packages"))
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (own / "grader.pth").write_text("".join(f"{path}\n" for path in others), encoding="utf-8")
    python = Path(folder, "bin", "python")
    for name in ("pip", "pip3", f"pip3.{sys.version_info.minor}"):
        python.with_name(name).write_text('#!/bin/sh\nexec "${0%/*}/python" -m pip "$@"\n')
        python.with_name(name).chmod(0o755)
    return python


def prepare_folder(folder, tests, start_cache):
    """Fill a submission's folder: visible checks, galaxies rendered before, a Python. Return its environment."""
    shutil.copytree(tests, folder / "work" / "tests")
    if start_cache.is_dir():
        # A copy: what one submission writes there must not reach the next.
        shutil.copytree(start_cache, folder / "cache")
    for name in ("cache", "home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    python = make_python(folder / "python")
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {
        **passed,
        "PATH": os.pathsep.join([str(python.parent), passed.get("PATH", os.defpath)]),
        "VIRTUAL_ENV": str(folder / "python"),
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "IPYTHONDIR": str(folder / "home"),
        "MPLCONFIGDIR": str(folder / "cache" / "matplotlib"),
        "MPLBACKEND": "agg",
        "GALAXY_UTILS_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUTF8": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        TOKEN: secrets.token_hex(16),
    }


class Kernel:
    """A Jupyter kernel in a folder of its own, of which only answers to cells are read."""

    def __init__(self, folder, environment):
        from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

        python = str(folder / "python" / "bin" / "python")

        class OwnPython(KernelSpecManager):
            """Whatever a notebook's metadata or the user's Jupyter call a kernel, it is this one."""

            def get_kernel_spec(self, kernel_name):
                return KernelSpec(
                    argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python"
                )

        self._token, self._name = environment[TOKEN], f"_{secrets.token_hex(8)}"
        for number in range(STARTS):
            self._start(OwnPython(), folder, f"kernel{number}.json", environment)
            try:
                self._client.wait_for_ready(timeout=60)
                break
            except RuntimeError:  # Another program may have taken one of its ports. Nothing of the submission has run.
                self.end()
                if number == STARTS - 1:
                    raise

    def _start(self, specs, folder, connection, environment):
        from jupyter_client.manager import KernelManager

        self._manager = KernelManager(
            kernel_name="python3", kernel_spec_manager=specs, connection_file=str(folder / "home" / connection)
        )
        with open(os.devnull, "w") as silence:
            self._manager.start_kernel(cwd=str(folder / "work"), env=environment, stdout=silence, stderr=silence)
        self._client = self._manager.client()
        self._client.start_channels()

    def run(self, source, seconds):
        """Run one cell; after `seconds` it is interrupted.

        Returns:
            `(error, late)`: what it raised, in one line, or `None`; and whether it was interrupted.

        Raises:
            ProcessDied, ProcessStuck: There is nothing left to run in.
        """
        message = self._client.execute(source, store_history=False, allow_stdin=False, stop_on_error=False)
        deadline, late = time.monotonic() + seconds, False
        while True:
            try:
                reply = self._client.get_shell_msg(timeout=0.5)
            except queue.Empty:
                if not self._manager.is_alive():
                    raise ProcessDied from None
                if time.monotonic() > deadline:
                    if late:
                        raise ProcessStuck from None
                    self._manager.interrupt_kernel()
                    deadline, late = time.monotonic() + GRACE, True
                continue
            if reply["parent_header"].get("msg_id") == message:
                content = reply["content"]
                error = f"{content['ename']}: {content['evalue']}" if content["status"] == "error" else None
                return error, late

    def watch(self, private, own, log, seconds):
        """Install the guard, before the submission's first cell.

        Raises:
            NotWatched: With the reason.
        """
        source = INSTALL.format(name=self._name, guard=GUARD, arguments=(private, own, log))
        if error := self.run(source, seconds)[0]:
            raise NotWatched(error)

    def check(self, source, path, imports, seconds):
        """Run checks after the last cell and return what they gave, and whether they were interrupted.

        Args:
            source: Checks of one question, as Otter writes them.
            path: Where their answer goes: a name that could not be known while the submission's own cells ran.
            imports: Lines of the assignment's own imports, which a submission may have hidden.
            seconds: As in `run`.

        Returns:
            `(answer, late)`; the answer is a list of `{"passed", "message"}`, a string, or `None` where there is none.
        """
        path.unlink(missing_ok=True)
        _, late = self.run(CHECK.format(name=self._name, source=source, path=str(path), imports=imports), seconds)
        return _read_answer(path), late

    def end(self):
        """End the kernel and every process that it started and that still carries its token."""
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        for process in psutil.process_iter():
            try:
                if process.environ().get(TOKEN) == self._token:
                    process.kill()
            except (psutil.Error, OSError):
                continue  # Another user's, or gone by now.


def _read_answer(path):
    """Return what a check wrote, if it has the form of an answer; a submission may have written it instead."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(answer, str):
        return answer
    cases = answer if isinstance(answer, list) else None
    if cases is not None and all(isinstance(c, dict) and isinstance(c.get("passed"), bool) for c in cases):
        return [{"passed": c["passed"], "message": str(c.get("message", ""))} for c in cases]
    return None
