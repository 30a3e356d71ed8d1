"""Every example in a docstring runs, and prints what it says."""

import doctest
import importlib
import pkgutil
import runpy
from pathlib import Path

import numpy as np
import pytest
from toy_galaxies import galaxy10_columns

import galaxy_utils as gu
from galaxy_utils.data.dataset import GalaxyDataset

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
NAMES = sorted(module.name for module in pkgutil.walk_packages(gu.__path__, "galaxy_utils."))


def examples(name):
    """Return a module's own examples, as doctest finds them."""
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module, module=module) if test.examples]


@pytest.fixture(scope="module")
def readers_names():
    """What examples take for granted: the package, a dataset, its split, a network and its run."""
    columns = galaxy10_columns(400)
    galaxies = GalaxyDataset(
        "example", "noise", columns["images"], columns["ans"].astype(np.int64), gu.CLASS_NAMES, columns["ra"],
        columns["dec"],
    )  # fmt: skip
    names = {"gu": gu, "np": np, "galaxies": galaxies, "split": gu.split(galaxies), "images": galaxies.images[:5]}
    model, recipe = gu.models.three_block_cnn(32), gu.recipes.THREE_BLOCK_CNN.replace(epochs=1)
    return names | {"model": model, "run": gu.fit(model, galaxies, names["split"], recipe, progress=False)}


@pytest.mark.parametrize("name", NAMES)
def test_examples_print_what_they_say(name, readers_names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for test in examples(name):
        test.globs = {**readers_names, **test.globs}
        report = []
        result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
        assert not result.failed, "".join(report)


def test_most_of_the_examples_run():
    parts = [example for name in NAMES for test in examples(name) for example in test.examples]
    skipped = [example for example in parts if example.options.get(doctest.SKIP)]
    assert len(parts) > 50 and len(skipped) <= 8


def test_all_that_is_public_has_an_example():
    names = runpy.run_path(str(Path(__file__).parents[1] / "book" / "tools" / "api.py"))["public_names"]()
    rooms = [(gu if room == "galaxy_utils" else getattr(gu, room), inside) for room, inside in names.items()]
    public = [getattr(room, name) for room, inside in rooms for name in inside]
    assert len(public) > 60
    assert [one.__name__ for one in public if ">>>" not in (one.__doc__ or "")] == []
