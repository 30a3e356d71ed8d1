"""What a build is asked for, checked before anything is installed: only the standard library is needed here."""

import argparse
import difflib
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from galaxy_utils.data.sources import identify_source  # noqa: E402
from galaxy_utils.errors import ConfigurationError  # noqa: E402
from galaxy_utils.keras_settings import check_keras_settings  # noqa: E402
from galaxy_utils.profiles import get_profile  # noqa: E402

# What the Makefile reads from its command line.
MAKE_VARIABLES = ("DATASET", "PROFILE", "SEED", "PYTHON", "TENSORFLOW", "CHAPTERS", "COLAB_PYTHON")
MAKE_VARIABLES += ("MASTERS", "ASSIGNMENT", "SUBMISSIONS", "JOBS", "STICK", "CLASSIFIER", "REPORT")
# What a user has set for other programs, and what would change a chapter's numbers, figures, packages or kernel.
NOT_FOLLOWED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONINSPECT")
NOT_FOLLOWED += ("MPLBACKEND", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "TF_ENABLE_ONEDNN_OPTS", "TF_XLA_FLAGS")
NOT_FOLLOWED += ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "JUPYTER_PLATFORM_DIRS", "DOCUTILSCONFIG", "SPHINXOPTS")
# scikit-learn and TensorFlow take seeds of 32 bits.
LARGEST_SEED = 2**31 - 1
# Each of them takes a gigabyte or two of memory.
MOST_JOBS = 16


@dataclass(frozen=True)
class Settings:
    """What to build from, where to, and how many chapters at once.

    `dataset` is `"simulated"`, `"galaxy10"` or an absolute path.
    """

    dataset: str
    profile: str
    seed: int
    output: Path
    jobs: int = 1

    @property
    def parameters(self):
        """What papermill puts into every notebook."""
        return {"dataset_source": self.dataset, "profile_name": self.profile, "seed": self.seed}

    @property
    def run_name(self):
        """Name of the folders that belong to one source, profile and seed."""
        name = Path(self.dataset).name.replace(".", "_")
        return f"{name}-{self.profile}-{self.seed}-{digest(self.dataset)[:6]}"

    @property
    def run_folder(self):
        """Executed notebooks; switching back to this source, profile and seed later costs nothing."""
        return self.output / "executed" / self.run_name

    @property
    def artifacts(self):
        """What the notebooks write: a chapter reads what others wrote with the same source, profile and seed."""
        return self.output / "artifacts" / self.run_name


def read_settings(arguments=None):
    """Return `(Settings, options)` from the command line. An unknown value stops here, before any work."""
    parser = argparse.ArgumentParser(description="Build the book.")
    parser.add_argument("--dataset", default="simulated", help="simulated, galaxy10, an HDF5 file or a folder")
    parser.add_argument("--profile", default="demo", help="smoke, demo, gpu or full")
    parser.add_argument("--seed", default="1", help=f"a whole number from 0 to {LARGEST_SEED:,}")
    parser.add_argument("--jobs", default="", help="how many chapters are run at once")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "_build")
    parser.add_argument("--check", action="store_true", help="only check the values, do no work")
    parser.add_argument("--links", action="store_true", help="ask every web address in the book, draw no pages")
    parser.add_argument("--given", default="", help="names of the variables on make's command line, to be checked too")
    options = parser.parse_args(arguments)
    _check_make_variables(options.given.split())
    check_keras_settings()
    get_profile(options.profile)
    seed = _parse_whole_number("seed", options.seed, 0, LARGEST_SEED)
    # A network of the shorter profiles keeps little more than one core busy; those of the long ones fill a GPU.
    jobs = options.jobs or ("1" if options.profile in ("gpu", "full") else str(min(2, os.cpu_count())))
    jobs = _parse_whole_number("jobs", jobs, 1, MOST_JOBS)
    kind = identify_source(options.dataset)
    dataset = str(Path(options.dataset).expanduser().resolve()) if kind in ("file", "folder") else options.dataset
    return Settings(dataset, options.profile, seed, options.output.resolve(), jobs), options


def leave_users_settings(folder):
    """Give this process, and every one that it starts, no settings of the user's Jupyter, IPython or Matplotlib.

    Args:
        folder: Where theirs are kept instead.
    """
    for name in NOT_FOLLOWED:
        os.environ.pop(name, None)
    # Chapters run in a folder of their own, where a relative path would name another one.
    for name in ("GALAXY_UTILS_CACHE", "GALAXY_UTILS_LOCKS", "KERAS_HOME"):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    folder = Path(folder).resolve()
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[name] = str(folder / name.lower())
    folder.mkdir(parents=True, exist_ok=True)
    # Without a line in it: Matplotlib then keeps its own settings. Its list of fonts is this environment's own: one
    # that another left in the user's cache, while it was being removed, lacked the fonts that the figures need.
    (folder / "matplotlibrc").touch()
    fonts = Path(sys.prefix) if os.access(sys.prefix, os.W_OK) else folder
    os.environ |= {"MATPLOTLIBRC": str(folder / "matplotlibrc"), "MPLCONFIGDIR": str(fonts / "matplotlib")}
    # TensorFlow leaves these kernels off on many processors, where they halve the time of a convolution.
    os.environ |= {"PYTHONPATH": str(REPOSITORY), "PYTHONNOUSERSITE": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}


def _check_make_variables(names):
    """Refuse what looks like a misspelt setting: make itself ignores it without a word."""
    for name in set(names) - set(MAKE_VARIABLES):
        near = difflib.get_close_matches(name.upper(), MAKE_VARIABLES, n=1, cutoff=0.75)
        if near:
            raise ConfigurationError(
                f"{name}=… would be ignored.", where="make's command line", remedy=f"Did you mean {near[0]}=…?"
            )


def _parse_whole_number(setting, text, smallest, largest):
    try:
        number = int(text)
    except ValueError:
        number = smallest - 1
    if not smallest <= number <= largest:
        raise ConfigurationError(
            "This is no value of this setting.",
            where=setting,
            expected=f"a whole number from {smallest} to {largest:,}",
            found=repr(text),
        )
    return number


def digest(*parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode())
        digest.update(b"\0")
    return digest.hexdigest()
