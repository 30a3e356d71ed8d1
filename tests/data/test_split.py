from types import SimpleNamespace

import numpy as np
import pytest

import galaxy_utils as gu
from galaxy_utils.classes import OFFICIAL_CLASS_COUNTS
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.split import (
    PARTS,
    Split,
    close_pairs,
    conflicting_rows,
    exact_pairs,
    galaxy_groups,
    sky_groups,
    split,
)
from galaxy_utils.errors import ConfigurationError, DataError


@pytest.fixture(scope="module")
def real(shared_folder):
    """Labels and coordinates of all galaxies of the official file."""
    table = np.genfromtxt(shared_folder / "data" / "galaxy10_decals_coordinates.csv", delimiter=",", names=True)
    return SimpleNamespace(labels=table["label"].astype(int), ra=table["ra"], dec=table["dec"])


def made_up(counts, seed=1, ra=None, dec=None):
    """Galaxies far apart on the sky, so many of each class."""
    labels = np.repeat(np.arange(len(counts)), counts)
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (len(labels), 8, 8, 3), dtype=np.uint8)
    names = tuple(f"class {label}" for label in range(len(counts)))
    ra = random.uniform(0, 360, len(labels)) if ra is None else ra
    dec = random.uniform(-60, 60, len(labels)) if dec is None else dec
    return GalaxyDataset("made up", "noise", images, labels, names, ra, dec)


def check_partition(result, groups):
    rows = np.concatenate([result.part(name) for name in PARTS])
    assert np.array_equal(np.sort(rows), np.arange(len(groups)))
    part_of_row = np.empty(len(groups), int)
    for number, name in enumerate(PARTS):
        assert np.all(np.diff(result.part(name)) > 0)
        part_of_row[result.part(name)] = number
    for group in np.flatnonzero(np.bincount(groups) > 1):
        assert len(set(part_of_row[groups == group])) == 1


def test_the_real_table_keeps_its_pairs_together_and_its_shares(real):
    assert tuple(np.bincount(real.labels)) == OFFICIAL_CLASS_COUNTS
    twins = exact_pairs(real)
    neighbours = close_pairs(real.ra, real.dec)
    assert len(twins) == 59 and conflicting_rows(real).sum() == 118
    assert len(neighbours) == 303 and len(np.unique(neighbours)) == 583
    close = close_pairs(real.ra, real.dec, 33.5)
    assert len(close) == 182 and len(np.unique(close)) == 355

    result = split(real)
    check_partition(result, result.groups)
    for name, fraction in zip(PARTS, (0.65, 0.15, 0.20), strict=True):
        rows = result.part(name)
        # No pair has one member inside and one outside.
        assert not (np.isin(twins, rows).sum(axis=1) == 1).any()
        assert not (np.isin(neighbours, rows).sum(axis=1) == 1).any()
        shares = np.bincount(real.labels[rows]) / OFFICIAL_CLASS_COUNTS
        assert np.abs(shares - fraction).max() < 0.01


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    galaxies = made_up((40, 40))
    assert split(galaxies, seed=3).hash == split(galaxies, seed=3).hash
    assert split(galaxies, seed=3).hash != split(galaxies, seed=4).hash


def test_sky_distances_hold_across_the_zero_meridian_and_near_the_pole():
    arcsecond = 1 / 3600
    ra = np.array([0.0, 360 - 30 * arcsecond, 10.0, 190.0, 50.0, 50 + 60 * arcsecond])
    dec = np.array([0.0, 0.0, 90 - 10 * arcsecond, 90 - 10 * arcsecond, 60.0, 60.0])
    # At declination 60° one degree of right ascension is half a degree on the sky: 60" become 30".
    assert sky_groups(ra, dec, 33.5).tolist() == [0, 0, 1, 1, 2, 2]
    assert sky_groups(ra, dec, 19.9).tolist() == [0, 1, 2, 3, 4, 5]
    assert sky_groups(ra, dec, 20.1).tolist() == [0, 1, 2, 2, 3, 4]


def test_groups_are_chains_and_rows_without_coordinates_stand_alone():
    dec = np.array([0, 30, 60, 90, 1000]) / 3600
    assert sky_groups(np.zeros(5), dec, 33.5).tolist() == [0, 0, 0, 0, 1]
    dec[1] = np.nan
    assert sky_groups(np.zeros(5), dec, 33.5).tolist() == [0, 1, 2, 2, 3]


def test_pixel_identical_images_share_a_group_where_coordinates_lack():
    dataset = made_up((10, 10))
    images, ra = dataset.images.copy(), dataset.ra.copy()
    images[15] = images[2]
    ra[2] = np.nan
    mixed = dataset.replace(images=images, ra=ra)
    groups = galaxy_groups(mixed)
    assert groups[15] == groups[2] and len(np.unique(groups)) == 19
    assert exact_pairs(mixed).tolist() == [[2, 15]]
    assert np.flatnonzero(conflicting_rows(mixed)).tolist() == [2, 15]

    bare = dataset.replace(images=images, ra=None, dec=None)
    assert np.array_equal(galaxy_groups(bare), groups)
    check_partition(split(bare), groups)


def test_twins_of_one_class_do_not_conflict():
    galaxies = made_up((10, 10))
    for twin in (1, 10):
        galaxies.ra[twin], galaxies.dec[twin] = galaxies.ra[0], galaxies.dec[0]
    assert exact_pairs(galaxies).tolist() == [[0, 1], [0, 10], [1, 10]]
    galaxies.labels[10] = galaxies.labels[0]
    assert not conflicting_rows(galaxies).any()


def test_equal_pixels_at_different_known_places_are_no_twins_but_stay_together(capsys):
    dataset = made_up((10, 10))
    images = dataset.images.copy()
    images[15], images[3] = images[2], np.rot90(images[1, :, ::-1])
    dataset = dataset.replace(images=images)
    assert len(exact_pairs(dataset)) == 0
    groups = galaxy_groups(dataset)
    assert groups[15] == groups[2] and groups[3] == groups[1] and len(np.unique(groups)) == 18
    assert capsys.readouterr().out.startswith("2 identical, turned or mirrored copies of images and 0 pairs")


def test_many_groups_of_all_sizes_still_give_the_shares():
    random = np.random.default_rng(5)
    centres = np.sort(random.integers(0, 600, 2000))
    dataset = made_up((1200, 600, 200), ra=random.permutation(centres) * 0.5, dec=np.zeros(2000))
    result = split(dataset, radius=1)
    check_partition(result, galaxy_groups(dataset, 1))
    for name, fraction in zip(PARTS, result.fractions, strict=True):
        shares = np.bincount(dataset.labels[result.part(name)]) / dataset.class_counts
        assert np.abs(shares - fraction).max() < 0.03


def test_three_galaxies_of_a_class_are_enough_and_two_are_not():
    result = split(made_up((3, 30)))
    for name in PARTS:
        assert np.sum(result.part(name) < 3) == 1
    one_group = made_up((4, 30), ra=np.r_[np.zeros(4), np.arange(1, 31.0)], dec=np.zeros(34))
    assert len(split(made_up((0, 30, 30))).test) == 12  # what the data lack altogether is missing from no part
    for galaxies in (made_up((2, 30)), one_group):
        with pytest.raises(DataError, match="'class 0' has too few"):
            split(galaxies)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        *(
            ({"fractions": shares}, "sum to 1")
            for shares in ((0.5, 0.5), (0.6, 0.2, 0.3), (0.8, 0, 0.2), (1.2, -0.1, -0.1))
        ),
        ({"radius": -1}, "radius"),
        ({"dataset": SimpleNamespace(labels=np.arange(30) % 10, ra=None, dec=None)}, "no images"),
    ],
)
def test_splits_that_make_no_sense_are_refused(settings, told):
    with pytest.raises((ConfigurationError, DataError), match=told):
        split(**{"dataset": made_up((30,)), **settings})


def test_a_saved_split_comes_back_at_every_image_size_and_belongs_to_its_data(tmp_path):
    dataset, path = made_up((40, 40)), tmp_path / "split.json"
    result, prepared = split(dataset), gu.prepare(dataset, 8, 1.0)
    result.save(path)
    for galaxies in (dataset, prepared):
        loaded = Split.load(path, galaxies)
        assert loaded.hash == result.hash == split(galaxies).hash
        assert all(np.array_equal(loaded.part(name), result.part(name)) for name in PARTS)
    assert loaded.sizes == {"train": 52, "validation": 12, "test": 16}
    with pytest.raises(DataError, match="other data"):
        Split.load(path, made_up((40, 40), seed=2))


def test_a_split_keeps_the_radius_that_it_was_made_with(tmp_path):
    dataset = made_up((40, 40), ra=np.arange(80) * 50 / 3600, dec=np.zeros(80))
    split(dataset, radius=40).save(tmp_path / "split.json")
    assert Split.load(tmp_path / "split.json", dataset).radius == 40
    with pytest.raises(DataError, match="too few"):
        split(dataset)  # at the default radius all galaxies are one chain


def test_damaged_splits_are_refused(tmp_path):
    dataset = made_up((40, 40))
    path = tmp_path / "split.json"
    with pytest.raises(DataError, match="no saved split"):
        Split.load(path, dataset)
    split(dataset).save(path)
    text = path.read_text()
    path.write_text(text.replace('"seed": 1', '"seed": 2'))
    with pytest.raises(DataError, match="changed after it was written"):
        Split.load(path, dataset)
    for damaged in (text[:-20], "[]", "{}", text.replace('"radius"', '"reach"')):
        path.write_text(damaged)
        with pytest.raises(DataError, match="cannot be read"):
            Split.load(path, dataset)


def test_parts_are_found_by_name_and_cannot_be_changed():
    result = split(made_up((30,)))
    assert result.part("test") is result.test
    with pytest.raises(ConfigurationError, match="tests"):
        result.part("tests")
    with pytest.raises(ValueError, match="read-only"):
        result.test[0] = 0


def test_fewer_training_galaxies_change_nothing_else():
    whole = split(made_up([60, 60, 60]))
    fewer = whole.with_fewer(20, seed=3)
    assert len(fewer.train) == 20 and set(fewer.train) < set(whole.train)
    for part in ("validation", "test"):
        np.testing.assert_array_equal(fewer.part(part), whole.part(part))
    np.testing.assert_array_equal(fewer.train, whole.with_fewer(20, seed=3).train)
    assert not np.array_equal(fewer.train, whole.with_fewer(20, seed=4).train)
    assert fewer.hash != whole.hash
    np.testing.assert_array_equal(whole.with_fewer(10_000).train, whole.train)
    with pytest.raises(ConfigurationError, match="num_train"):
        whole.with_fewer(0)
