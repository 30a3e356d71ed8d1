"""Run a command while no other one runs under the same lock file; say so when that means to wait.

Standard library only: the Makefile uses it before anything is installed.

    python3 book/tools/take_turns.py LOCK_FILE COMMAND …
"""

import fcntl
import os
import sys
from pathlib import Path


def main():
    """Wait for the lock, then become the command. The lock ends with the command, even when that is killed."""
    lock, command = Path(sys.argv[1]), sys.argv[2:]
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"Waiting for another process that is installing into {lock.parent}", flush=True)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.set_inheritable(descriptor, True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
