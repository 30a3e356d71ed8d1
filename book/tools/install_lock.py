"""Install what the lock file names into the environment of the Python that runs this, and nothing else.

    .venv/bin/python book/tools/install_lock.py

uv, which is the first to be installed, fetches and unpacks several packages at once. It is told what pip's settings say
of the network. Where it cannot do it, pip does, which takes minutes. Every file has the hash that the lock file states.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from run_pip import environment, settings

TOOLS = Path(__file__).parent
LOCK = TOOLS.parents[1] / "requirements.lock"
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
}
VARIABLES = {"cert": ("SSL_CERT_FILE",), "timeout": ("UV_HTTP_TIMEOUT",), "proxy": ("HTTP_PROXY", "HTTPS_PROXY")}


def uv_command(lock, found):
    """Return uv's arguments and the variables it needs.

    Args:
        lock: The lock file's path.
        found: `{option: value}` of pip's settings, as `run_pip.settings` returns them.

    Example:
        >>> command, variables = uv_command("requirements.lock", {"index-url": "https://mirror.example/simple"})
        >>> command[-2:], variables["UV_NO_CONFIG"]
        (['--default-index', 'https://mirror.example/simple'], '1')
    """
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
    command += ["--no-deps", "--require-hashes", "-r", str(lock), "--index-strategy", "unsafe-best-match"]
    # Or several processes at once would compile TensorFlow when it is first used.
    command.append("--compile-bytecode")
    for option, other in OPTIONS.items():
        # Only a folder's name may hold spaces; pip takes several addresses in one value.
        values = [found[option]] if option == "find-links" and option in found else found.get(option, "").split()
        command += [part for value in values for part in (other, value)]
    command += ["--no-index"] * (found.get("no-index", "").lower() in ("1", "true", "yes", "on"))
    variables = {name: found[option] for option, names in VARIABLES.items() if option in found for name in names}
    return command, {**variables, "UV_NO_CONFIG": "1"}


def main():
    """Install; the exit status is 0 when everything is there."""
    first = ["--no-deps", "--require-hashes", "-r"]
    pip = [sys.executable, TOOLS / "run_pip.py", "install", "--no-compile", *first]
    entries = LOCK.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "uv.lock"
        own.write_text("\n".join(line for line in entries if line.startswith("uv==")))
        if own.stat().st_size and subprocess.run([*pip, own], check=False).returncode == 0:
            command, variables = uv_command(LOCK, settings())
            kept = {name: value for name, value in environment().items() if not name.startswith("UV_")}
            # Quietly, because pip says better what is wrong.
            result = subprocess.run(command, env=kept | variables, capture_output=True, check=False)
            if result.returncode == 0:
                return 0
    return subprocess.run([*pip, LOCK], check=False).returncode


if __name__ == "__main__":
    os.environ.pop("VIRTUAL_ENV", None)
    sys.exit(main())
