"""Run pip with a user's settings for the network alone: the index, proxies, certificates.

    python book/tools/run_pip.py install …

Anything else in a pip.conf or in variables `PIP_…` changes what is installed, and where (`user = true`, a target, other
constraints), or keeps it from being installed. Nothing but pip and the standard library is needed.
"""

import ast
import os
import subprocess
import sys

NETWORK = {"index-url", "extra-index-url", "no-index", "find-links", "proxy", "cert", "client-cert", "trusted-host"}
NETWORK |= {"timeout", "retries", "cache-dir", "no-cache-dir", "keyring-provider", "resume-retries", "use-feature"}
NETWORK |= {"disable-pip-version-check"}


def settings():
    """Return `{option: value}` of pip's configuration, the user's files and variables together."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    found = {}
    # Later lines weigh more: first those for all commands, then those for single ones, then variables.
    lines = sorted(listed.splitlines(), key=lambda line: ("global.", "install.", ":env:.").index(_section(line)))
    for line in lines:
        name, _, value = line.partition("=")
        found[name.removeprefix(_section(line))] = str(ast.literal_eval(value))
    return found


def _section(line):
    return next((section for section in ("install.", ":env:.") if line.startswith(section)), "global.")


def environment():
    """Return the variables for a pip that follows only what concerns the network."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("PIP_")}
    kept |= {f"PIP_{name.upper().replace('-', '_')}": value for name, value in settings().items() if name in NETWORK}
    return kept | {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


if __name__ == "__main__":
    quiet = ["--quiet"] if sys.argv[1:2] == ["install"] else []
    command = [sys.executable, "-m", "pip", *sys.argv[1:], *quiet]
    os.execve(sys.executable, command, environment())
