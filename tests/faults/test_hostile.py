"""Bad files and values by the hundred: each gives one error of this package's own kind, and nothing is written."""

import ast
import contextlib
import functools
import json
import os
import shutil

import hostile
import numpy as np
import pytest
from harness import REPOSITORY, WHOLE_TABLE, answer, recorded, started
from PIL import Image

import galaxy_utils as gu
from galaxy_utils.errors import DataError, GalaxyUtilsError

FILES = 100 if WHOLE_TABLE else 14


@pytest.mark.parametrize("kind", hostile.KINDS, ids=lambda kind: kind.name)
def test_bad_files(kind, tmp_path):
    with recorded("Bad files", kind.name) as outcome:
        first = 0
        while first < FILES:
            work = functools.partial(hostile.try_bad_files, kind.name, FILES, first)
            work.__name__ = kind.name
            (tmp_path / "notes").unlink(missing_ok=True)
            with started(work, tmp_path) as (_, connection):
                state, told = answer(connection)
            notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
            for number, maker, what in notes:
                if what != "began":
                    good = what in ("opened", "refused")
                    outcome.add(1, [] if good else [f"{kind.name} {number}, {maker}: {what}"])
            if state == "ended":
                break
            assert notes, told
            number, maker, _ = notes[-1]
            outcome.add(1, [f"{kind.name} {number}, {maker}: {told}"])
            first = number + 1


@pytest.fixture
def own_images(tmp_path):
    """A folder of images, to which a test adds what does not belong there."""
    hostile.write_folder(tmp_path)
    return tmp_path / "own"


def add_pipe(folder):
    os.mkfifo(folder / "round" / "pipe.png")


def add_folder(folder):
    (folder / "round" / "folder.png").mkdir()


def add_broken_link(folder):
    (folder / "round" / "link.png").symlink_to("nowhere.png")


def add_circle(folder):
    (folder / "round" / "circle.png").symlink_to("circle.png")


def add_device(folder):
    (folder / "round" / "device.png").symlink_to("/dev/zero")


def copy_to(name):
    return lambda folder: shutil.copy(folder / "round" / "0.png", folder / "round" / name)


def rename_class(name):
    return lambda folder: (folder / "round").rename(folder / name)


def as_other_mode(mode, **options):
    return lambda folder: Image.new(mode, (32, 32)).save(folder / "round" / "other.png", **options)


ODD_FOLDERS = {
    "a pipe that nobody fills": add_pipe,
    "a folder with an image's name": add_folder,
    "a broken link": add_broken_link,
    "a link to itself": add_circle,
    "a device without an end": add_device,
    "a file name with a line break": copy_to("a\nb.png"),
    "a file name that is no text": copy_to(os.fsdecode(b"\xff\xfe.png")),
    "a file name that writes backwards": copy_to("\u202egnp.png"),
    "a class name with an escape sequence": rename_class("\x1b[31mred"),
    "a class name that is no text": rename_class(os.fsdecode(b"\xff")),
}


@pytest.mark.parametrize("change", ODD_FOLDERS)
def test_odd_things_in_a_folder_of_images(change, own_images):
    with recorded("Bad files", "odd things in a folder of images") as outcome:
        ODD_FOLDERS[change](own_images)
        with pytest.raises(DataError) as caught:
            gu.load(own_images)
        str(caught.value).encode("utf-8")
        outcome.add(1, [])


def test_odd_but_usable_pictures_become_rgb(own_images):
    Image.linear_gradient("L").convert("I;16").point(lambda value: value * 257).save(own_images / "round" / "deep.png")
    Image.new("CMYK", (32, 32)).save(own_images / "round" / "print.jpg")
    Image.linear_gradient("L").save(own_images / "round" / "grey.png")
    Image.new("LA", (32, 32)).save(own_images / "round" / "seethrough.png")
    copy_to("ä" * 100 + ".png")(own_images)
    copy_to("'; DROP TABLE galaxies; --.png")(own_images)
    assert gu.load(own_images).images.shape == (10, 32, 32, 3)


ODD_VALUES = (
    None,
    True,
    -1,
    2**70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../..",
    "\x00",
    "\ud800",
    [],
    {},
    b"x",
)


def odd_settings():
    """Calls with values that no setting has; each must be refused."""
    build = hostile.build_program()
    for value in ODD_VALUES:
        yield "profile", value, functools.partial(gu.get_profile, value)
        yield "source", value, functools.partial(gu.load, value, profile="smoke")
        for field in ("epochs", "batch_size", "learning_rate", "beta_1", "label_smoothing", "optimizer"):
            if field in ("learning_rate",) and value in (2**70, 1e308) or (field, value) == ("epochs", 2**70):
                continue  # a number that only a training can refuse
            if (field, value) == ("batch_size", 2**70):
                continue
            yield f"recipe {field}", value, functools.partial(gu.recipes.COMPACT_CNN.replace, **{field: value})
        if isinstance(value, str):
            for option in ("--profile", "--seed", "--dataset"):
                yield option, value, functools.partial(build["read_settings"], [f"{option}={value}"])
        yield "weights", value, functools.partial(hostile.open_weights_of, value)
    for text in ("1e3", "0x10", "٣٣٣٣٣٣٣٣٣٣٣", "1 2", "-0.0", "9" * 5000):
        yield "--seed", text, functools.partial(build["read_settings"], [f"--seed={text}"])


def test_values_that_no_setting_has(tmp_path, monkeypatch):
    """Some of them name a folder, which is looked through: not this checkout, whose environments hold many files."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    with recorded("Bad files", "values that no setting has") as outcome:
        for name, value, call in odd_settings():
            problems = []
            try:
                call()
                problems = [f"{name}={value!r} was taken"]
            except GalaxyUtilsError as error:
                problems = [] if len(str(error)) > 20 else [f"{name}={value!r}: {error}"]
            except Exception as error:
                problems = [f"{name}={value!r}: {type(error).__name__}: {error}"]
            outcome.add(1, problems)


def test_a_model_file_with_code_in_it_is_not_even_opened(tmp_path):
    """Only arrays are read, from HDF5: a whole saved model may carry a Lambda layer, a pickle anything."""
    import keras

    ran = tmp_path / "ran"
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    model.save(tmp_path / "lambda.keras")
    shutil.copy(tmp_path / "lambda.keras", tmp_path / "lambda.h5")

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    import pickle

    for name in ("trap.pkl", "trap.h5", "trap.npz", "trap.weights.h5"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "object.npz", content=np.array(Trap(), dtype=object))
    with recorded("Bad files", "model files with code in them") as outcome:
        for path in sorted(tmp_path.glob("*.*")):
            openers = (hostile.open_weights, hostile.open_answers, hostile.train, gu.read_report, gu.load_classifier)
            for opens in openers:
                with contextlib.ExitStack() as stack:
                    stack.enter_context(pytest.raises(GalaxyUtilsError))
                    opens(path)
                outcome.add(1, [f"{path.name} ran code"] if ran.exists() else [])


def test_no_module_of_the_project_reads_what_can_run():
    """Pickle and NumPy's objects can carry programs: nothing reads them. Keras' models only in its safe mode."""
    for folder in ("galaxy_utils", "book"):
        for path in (REPOSITORY / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in getattr(node, "names", ()) if isinstance(alias, ast.alias)]
                assert not {"pickle", "dill"} & set(names), f"{path}: {names}"
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
                    assert given.get("allow_pickle") in (None, False), f"{path}: allow_pickle"
                    if name == "load_model":
                        assert (given.get("safe_mode"), given.get("compile")) == (True, False), f"{path}: {name}"
                    assert ast.unparse(node.func) not in ("yaml.load", "joblib.load"), f"{path}: {name}"
