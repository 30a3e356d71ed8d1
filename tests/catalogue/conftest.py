"""A classifier of toy galaxies, and folders of them."""

import pytest
from distributed import Client, LocalCluster
from PIL import Image
from toy_galaxies import toy_galaxies, toy_split

import galaxy_utils as gu


@pytest.fixture(scope="session")
def galaxies():
    """Toy galaxies whose pixels have 1.5 arcseconds."""
    columns = toy_galaxies(160, side=32)
    return columns.replace(pixel_scale=columns.labels * 0 + 1.5, fingerprint="toy of catalogues")


@pytest.fixture(scope="session")
def classifier(galaxies, tmp_path_factory):
    """Path of a small network, trained on the toy galaxies and calibrated."""
    model = gu.models.three_block_cnn(32, 4)
    recipe = gu.recipes.THREE_BLOCK_CNN.replace(epochs=2)
    gu.fit(model, galaxies, toy_split(160), recipe, progress=False)
    path = tmp_path_factory.mktemp("classifier") / "toy.keras"
    return gu.save_classifier(path, model, galaxies, split=toy_split(160))


@pytest.fixture
def folder(galaxies, tmp_path):
    """Twenty-four PNG images without labels, in folders of any depth."""
    for number in range(24):
        path = tmp_path / "own" / ("" if number % 3 else "deep/er") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(galaxies.images[number]).save(path)
    return tmp_path / "own"


@pytest.fixture(scope="session")
def client():
    """A cluster in this very process: no test but the one about processes has to wait for new ones."""
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client
