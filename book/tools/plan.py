"""How long will a book in a long profile take on this machine? Said before anything starts, from a few timed steps.

    python book/tools/plan.py --profile gpu
    python book/tools/plan.py --write    # the table of the page for those who run the book, a sentence in each chapter

This is `make plan`. What each chapter asks of its networks was noted by `book/measured/memory_full_size.py`: so many
operations, and so many seconds of a processor for everything that is no network. Here, the four-block CNN trains for
a few steps at the profile's image size, and its operations are counted in the same way; that gives this machine's
operations a second. Other networks reach another rate, larger ones a higher one: the minutes are an estimate.
"""

import contextlib
import json
import os
import re
import sys
import textwrap
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(Path(__file__).parent), str(REPOSITORY / "book" / "measured")]

from settings import read_settings  # noqa: E402

from galaxy_utils.errors import ConfigurationError, GalaxyUtilsError  # noqa: E402
from galaxy_utils.files import explain_read_errors, write_atomically  # noqa: E402
from galaxy_utils.profiles import get_profile  # noqa: E402
from galaxy_utils.wording import counted  # noqa: E402

FIGURES = REPOSITORY / "book" / "measured" / "full_size.json"
PAGE, NOTEBOOKS = REPOSITORY / "book" / "run_it_yourself.md", REPOSITORY / "notebooks"
# What `--write` replaces: the page's table, and the last line of the box "Before you start" of a chapter.
TABLE = re.compile(r"\| Chapter \| `gpu`.*?\n(?=\n)", re.DOTALL)
SENTENCE = re.compile(
    r"(:::\{admonition\} Before you start\n(?:(?!:::|\*\*With a GPU\*\*).*\n)*)(\*\*With a GPU\*\*.*\n)?(?=:::)"
)
MEASURED, MEASURE = ("gpu", "full"), "python book/measured/memory_full_size.py"
# Images a second that a T4 trains the four-block CNN on, at so many pixels: from its arithmetic, measured by nobody.
T4_IMAGES, T4_PIXELS = 600, 256
# Steps are timed for so many seconds, if they are many enough by then.
SECONDS, FEWEST_STEPS, MOST_STEPS = 5.0, 3, 200


def read_figures(profile, path=FIGURES):
    """Return `{chapter: its figures}` of a profile.

    Args:
        profile: The name of a profile.
        path: The file that `memory_full_size.py` wrote.

    Raises:
        ConfigurationError: A profile that is not measured, or has not been yet.
        DataError: The file is damaged.
    """
    if profile not in MEASURED:
        raise ConfigurationError(
            "There are no figures for this profile.",
            where="PROFILE",
            found=profile,
            expected=" or ".join(MEASURED),
            remedy="make plan PROFILE=gpu; the minutes of the demo profile stand at the beginning of each chapter",
        )
    chapters = {}
    if Path(path).exists():
        with explain_read_errors("The figures cannot be read.", path, remedy=f"delete the file, then {MEASURE}"):
            chapters = json.loads(Path(path).read_text(encoding="utf-8"))["profiles"].get(profile, {})
            for figures in chapters.values():
                for name in ("pflop", "seconds", "own_gb", "galaxies"):
                    float(figures[name])
    if not chapters:
        remedy = f"{MEASURE} --profiles {profile}"
        raise ConfigurationError("This profile has not been measured.", where=path, found=profile, remedy=remedy)
    return chapters


def four_block_cnn(image_size):
    """Return the network after one step, a batch of its recipe's size, and the operations of a step for each image."""
    import numpy as np
    from count_operations import training_operations

    import galaxy_utils as gu
    from galaxy_utils.classes import NUM_CLASSES

    size, random = gu.recipes.FOUR_BLOCK_CNN.batch_size, np.random.default_rng(1)
    images = random.integers(0, 256, (size, image_size, image_size, 3), np.uint8)
    classes = np.eye(NUM_CLASSES, dtype=np.float32)[random.integers(NUM_CLASSES, size=size)]
    model = gu.models.four_block_cnn(image_size)
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    model.train_on_batch(images, classes)
    return model, (images, classes), training_operations(model, (images, classes))[0]


def images_per_second(model, batch):
    """Time steps of a network that has done one: in the first, Keras translates it."""
    steps, started = 0, time.perf_counter()
    while steps < FEWEST_STEPS or (time.perf_counter() - started < SECONDS and steps < MOST_STEPS):
        model.train_on_batch(*batch)  # returns numbers, so that the step is done when it ends
        steps += 1
    return steps * len(batch[0]) / (time.perf_counter() - started)


def minutes(figures, operations_per_second):
    """Return the minutes of a chapter: its networks at this rate, and all the rest as it was measured."""
    return (figures["pflop"] * 1e15 / operations_per_second + figures["seconds"]) / 60


def plan(chapters, here, on_t4):
    """Return the lines of the plan.

    Args:
        chapters: `{chapter: its figures}`, as `read_figures` returns them.
        here: Operations a second on this machine.
        on_t4: Operations a second on a T4.
    """
    lines = [f"{'chapter':<40}{'here':>12}{'on a T4':>12}{'memory':>12}"]
    sums = [0.0, 0.0]
    for name, figures in sorted(chapters.items()):
        each = [minutes(figures, rate) for rate in (here, on_t4)]
        sums = [before + new for before, new in zip(sums, each, strict=True)]
        lines.append(f"{name:<40}{each[0]:>8,.0f} min{each[1]:>8,.0f} min{figures['own_gb']:>9.1f} GB")
    largest = max(figures["own_gb"] for figures in chapters.values())
    lines.append(f"{'one after the other':<40}{sums[0]:>8,.0f} min{sums[1]:>8,.0f} min{largest:>9.1f} GB")
    return lines


def measured_profiles():
    """Return `{profile: {chapter: its figures}}` of those that have been measured, and a T4's operations a second."""
    measured = {}
    for name in MEASURED:
        with contextlib.suppress(ConfigurationError):
            measured[name] = read_figures(name)
    with quiet():
        operations = four_block_cnn(T4_PIXELS)[2]
    return measured, T4_IMAGES * operations


def sentence(figures, on_t4):
    """Return what a chapter says of itself in the `gpu` profile, a line of Markdown."""
    long, memory = counted(max(1, round(minutes(figures, on_t4))), "minutes"), figures["own_gb"]
    how = "{doc}`how </run_it_yourself>`"
    return f"**With a GPU** (`gpu` profile): an estimated {long} on a T4, {memory:.1f} GB of memory ({how}).\n"


def texts():
    """Return `{path: (text, text with today's figures)}` of the page and of each chapter."""
    profiles, on_t4 = measured_profiles()
    page = PAGE.read_text(encoding="utf-8")
    found = {PAGE: (page, TABLE.sub(lambda _: page_table(profiles, on_t4) + "\n", page))}
    for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")):
        figures, text = profiles.get("gpu", {}).get(path.stem), path.read_text(encoding="utf-8")
        notebook = json.loads(text)
        told = sentence(figures, on_t4) if figures else ""
        for cell in notebook["cells"]:
            before = "".join(cell["source"])
            cell["source"] = SENTENCE.sub(lambda match, told=told: match[1] + told, before).splitlines(keepends=True)
        found[path] = text, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
    return found


def page_table(profiles, on_t4):
    """Return the table of the page for those who run the book, in Markdown.

    Args:
        profiles: `{profile: {chapter: its figures}}`, as in the file that `memory_full_size.py` wrote.
        on_t4: Operations a second on a T4.
    """
    lines = [
        "| Chapter |" + "".join(f" `{name}`, T4 [min] | memory [GB] |" for name in profiles),
        "|---|" + 2 * len(profiles) * "---:|",
    ]
    for chapter in sorted(set().union(*profiles.values())):
        cells = []
        for chapters in profiles.values():
            figures = chapters.get(chapter)
            cells += [f"{minutes(figures, on_t4):,.0f}", f"{figures['own_gb']:.1f}"] if figures else ["", ""]
        lines.append(f"| {{doc}}`notebooks/{chapter}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@contextlib.contextmanager
def quiet():
    """Hide what TensorFlow says of itself, much of it below Python's back; errors are raised all the same."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def main(arguments=None):
    """Print the plan: 0 when it stands there, 1 with a message when not."""
    # As the build sets them.
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    try:
        if (sys.argv[1:] if arguments is None else arguments) == ["--write"]:
            for path, (before, now) in texts().items():
                if now != before:
                    with write_atomically(path) as partial:
                        partial.write_text(now, encoding="utf-8")
                    print(f"{path.relative_to(REPOSITORY)} has today's figures")
            return 0
        settings, _ = read_settings(arguments)
        profile = get_profile(settings.profile)
        chapters = read_figures(profile.name)
        with quiet():
            import keras

        if keras.backend.backend() != "tensorflow":
            remedy = "unset KERAS_BACKEND"
            raise ConfigurationError("Operations are counted with TensorFlow alone.", where="Keras", remedy=remedy)
        from galaxy_utils.report import computing_device

        with quiet():
            device = computing_device()
            model, batch, operations = four_block_cnn(profile.image_size)
            rate = images_per_second(model, batch)
            on_t4 = T4_IMAGES * (operations if profile.image_size == T4_PIXELS else four_block_cnn(T4_PIXELS)[2])
    except GalaxyUtilsError as error:
        print(f"No plan was made: {error}", file=sys.stderr)
        return 1
    galaxies = max(figures["galaxies"] for figures in chapters.values())
    print(f"{profile.name} profile ({profile.purpose}), {galaxies:,} galaxies, whatever DATASET holds")
    print(f"{device['accelerator'] or device['processor']}, {device['cores']} cores: the four-block CNN at ", end="")
    print(f"{profile.image_size} px trains on {rate:,.0f} images/s, {rate * operations / 1e12:.2f} TFLOP/s\n")
    print("\n".join(plan(chapters, rate * operations, on_t4)))
    told = (
        f"Estimated: here, every network at the rate of that one; on a T4, all at that of {T4_IMAGES} images/s for "
        f"it at {T4_PIXELS} px, measured by nobody. At most: trainings that may stop early count in full. Counted: the "
        "operations. Measured, on another machine without a GPU: memory, and the minutes that are no network's."
    )
    print("", *textwrap.wrap(told, 100), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
