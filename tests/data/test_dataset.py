import numpy as np
import pytest

from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.errors import DataError


def noise(**changes):
    random = np.random.default_rng(1)
    columns = {
        "name": "noise",
        "provenance": "noise, not galaxies",
        "images": random.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8),
        "labels": np.arange(20) % 5,
        "ra": np.linspace(0, 19, 20),
        "dec": np.zeros(20),
    }
    return GalaxyDataset(**{**columns, **changes})


def test_a_dataset_describes_itself():
    dataset = noise()
    assert len(dataset) == 20 and dataset.image_size == 8 and dataset.num_classes == 10
    assert dataset.class_counts.tolist() == [4] * 5 + [0] * 5
    assert repr(dataset) == "GalaxyDataset('noise': 20 galaxies, 10 classes, 8 px, noise, not galaxies)"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": np.zeros((20, 8, 8), np.uint8)}, "shape \\(20, 8, 8\\)"),
        ({"images": np.zeros((20, 8, 8, 3), np.float32)}, "float32"),
        ({"labels": np.zeros(19, int)}, "labels of noise"),
        ({"redshift": np.zeros(21)}, "redshift of noise"),
    ],
)
def test_columns_that_do_not_fit_are_refused(changes, told):
    with pytest.raises(DataError, match=told):
        noise(**changes)


def test_the_fingerprint_follows_images_labels_and_coordinates():
    dataset = noise()
    fingerprints = {dataset.fingerprint, noise().fingerprint}
    assert len(fingerprints) == 1 and len(dataset.fingerprint) == 16
    other_images = dataset.images.copy()
    other_images[3, 2, 1, 0] ^= 1
    for changed in (
        dataset.replace(images=other_images),
        dataset.replace(labels=dataset.labels[::-1]),
        dataset.replace(ra=None, dec=None),
        dataset.replace(class_names=("a", "b", "c", "d", "e")),
        dataset.replace(images=np.ascontiguousarray(dataset.images[:, ::-1])),
    ):
        fingerprints.add(changed.fingerprint)
        assert changed.source_fingerprint == changed.fingerprint
    assert len(fingerprints) == 6
