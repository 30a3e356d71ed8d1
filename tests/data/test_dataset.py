import numpy as np
import pytest
from toy_galaxies import WatchedImages

from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.errors import ConfigurationError, DataError


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
        ({"labels": np.arange(20) - 1}, "no classes(.|\n)*0 to 9(.|\n)*-1 to 18"),
        ({"labels": np.zeros(20)}, "no classes(.|\n)*float64"),
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
    # Images that stay are not read again.
    watched = WatchedImages(dataset.images)
    fingerprints.add(noise(images=watched, fingerprint="0").replace(labels=np.ones(20, int)).fingerprint)
    assert len(fingerprints) == 7 and not watched.reads


def test_arrays_are_the_rows_that_were_asked_for():
    dataset = noise()
    images, labels = dataset.arrays([3, 1])
    np.testing.assert_array_equal(images, dataset.images[[3, 1]])
    assert labels.tolist() == [3, 1] and len(dataset.arrays()[0]) == 20
    with pytest.raises(DataError, match="rows 0 to 19"):
        dataset.arrays([20])


def test_batches_of_keras_hold_every_row_once_in_an_order_of_each_epoch():
    dataset, rows = noise(), np.arange(2, 20)

    def epochs(seed):
        batches = dataset.keras_dataset(rows, 8, shuffle=True, seed=seed)
        assert len(batches) == 3
        for _ in range(2):
            batches.on_epoch_end()
            pairs = [batches[number] for number in range(3)]
            images, labels = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
            assert images.dtype == np.uint8 and labels.dtype == np.float32
            seen = [int(np.flatnonzero((dataset.images == image).all((1, 2, 3)))[0]) for image in images]
            assert sorted(seen) == rows.tolist()
            np.testing.assert_array_equal(labels, np.eye(10)[dataset.labels[seen]])
            yield seen

    first, second = epochs(1)
    assert first != second and [first, second] == list(epochs(1)) != list(epochs(2))
    images, labels = dataset.keras_dataset(rows, 8)[2]
    np.testing.assert_array_equal(images, dataset.images[18:20])
    assert len(dataset.keras_dataset(targets=None)[0]) == 1
    images, targets = dataset.keras_dataset(targets="images and labels")[0]
    np.testing.assert_allclose(targets["reconstruction"], images / 255, atol=1e-6)
    for targets in ("votes", "label"):
        with pytest.raises(ConfigurationError, match="targets"):
            dataset.keras_dataset(targets=targets)


def test_a_tensorflow_dataset_gives_the_same_batches():
    dataset = noise()
    batches = dataset.keras_dataset(np.arange(20), 8, shuffle=True)
    stream = dataset.tf_dataset(np.arange(20), 8, shuffle=True)
    assert len(stream) == 3
    for _ in range(2):
        batches.on_epoch_end()
        for number, (images, labels) in enumerate(stream):
            np.testing.assert_array_equal(images, batches[number][0])
            np.testing.assert_array_equal(labels, batches[number][1])
