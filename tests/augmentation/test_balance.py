"""Which classes are rare, and a split of them alone."""

import numpy as np
import pytest
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.augmentation import PAPER_2_RARE, rare_classes, with_classes
from galaxy_utils.classes import CLASS_NAMES, OFFICIAL_CLASS_COUNTS
from galaxy_utils.errors import DataError


def galaxies_with(counts, **changes):
    """So many galaxies of each class; their images are noise, because equal ones would count as copies."""
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 8, 8, 3), np.uint8)
    names = CLASS_NAMES if len(counts) == 10 else tuple(f"class {label}" for label in range(len(counts)))
    columns = {"images": images, "labels": labels, "class_names": names, "vote_fractions": None}
    return toy_galaxies().replace(**{**columns, **changes})


def test_the_papers_rare_classes_are_not_the_ones_it_names():
    rare = rare_classes(galaxies_with(OFFICIAL_CLASS_COUNTS))
    np.testing.assert_array_equal(rare, PAPER_2_RARE)
    # The paper names Edge-on *with* Bulge, which has 1,873.
    assert [CLASS_NAMES[label] for label in rare] == ["Disturbed", "Cigar Shaped Smooth", "Edge-on without Bulge"]


@pytest.mark.parametrize(
    "counts, options, expected",
    [
        ([count // 10 for count in OFFICIAL_CLASS_COUNTS], {}, [0, 4, 8]),
        ([90, 5, 0, 5], {}, [1, 3]),
        ([25, 25, 25, 25], {"otherwise": [2, 1]}, [1, 2]),
        ([25, 25, 25, 25], {"otherwise": PAPER_2_RARE}, [0, 1]),  # one alone is filled up with the smallest
        ([30, 25, 20, 25], {"otherwise": ["Disturbed", "class 3"]}, [2, 3]),
        ([30, 25, 20, 25], {"otherwise": ["Disturbed"]}, [1, 2]),
        ([55, 40, 5], {"otherwise": [1]}, [1, 2]),  # one class may lie under the threshold by chance
        ([90, 5, 5], {"otherwise": [0]}, [1, 2]),  # named ones never take the place of rare ones
    ],
)
def test_the_limit_is_a_share_and_others_can_be_named(counts, options, expected):
    np.testing.assert_array_equal(rare_classes(galaxies_with(counts), **options), expected)


def test_no_rare_class_is_an_error():
    with pytest.raises(DataError, match="No class is rare"):
        rare_classes(galaxies_with([30, 20, 25, 25]))


@pytest.fixture
def split():
    galaxies = galaxies_with([60, 20, 40], ra=np.linspace(0, 300, 120), dec=np.zeros(120))
    return galaxies, gu.split(galaxies, fractions=(0.5, 0.25, 0.25))


def test_a_split_of_some_classes_keeps_its_test_part(split):
    galaxies, parts = split
    fewer = with_classes(galaxies, parts, [1, 2], at_least=10)
    assert set(galaxies.labels[fewer.train]) == set(galaxies.labels[fewer.validation]) == {1, 2}
    assert np.isin(fewer.train, parts.train).all() and fewer.hash != parts.hash
    np.testing.assert_array_equal(fewer.test, parts.test)
    with pytest.raises(DataError, match="(?s)at least 11.*class 1 10"):
        with_classes(galaxies, parts, [1, 2], at_least=11)
