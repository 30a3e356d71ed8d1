import io

import numpy as np
import pytest
from PIL import Image
from toy_galaxies import toy_galaxies

import galaxy_utils as gu
from galaxy_utils.data.copies import find_copies
from galaxy_utils.data.dataset import GalaxyDataset
from galaxy_utils.data.folder import open_folder
from galaxy_utils.data.split import galaxy_groups
from galaxy_utils.data.views import dihedral_view
from galaxy_utils.files import cache_folder


def saved_again(image, quality):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(image, side):
    picture = Image.fromarray(image)
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC).resize(picture.size))


CHANGES = {
    "turned": lambda image, number: dihedral_view(image[None], number % 8)[0],
    "saved again": lambda image, number: saved_again(image, (60, 75, 90)[number % 3]),
    "turned and saved again": lambda image, number: saved_again(dihedral_view(image[None], number % 8)[0], 75),
    "resized": lambda image, number: resized(image, (128, 160, 200)[number % 3]),
    "shifted": lambda image, number: np.roll(image, (number % 5 - 2, number % 7 - 3), axis=(0, 1)),
}


@pytest.fixture(scope="module")
def real(shared_folder):
    """Every sixth of the real galaxies; two of all 799 are one galaxy, entered twice."""
    files = sorted((shared_folder / "data" / "galaxy10_decals_sample").glob("*/*.jpg"))[::6]
    return np.stack([np.asarray(Image.open(file)) for file in files])


@pytest.mark.parametrize("name", CHANGES)
def test_planted_copies_of_real_galaxies_are_found_and_no_others(real, name):
    planted = np.stack([CHANGES[name](image, number) for number, image in enumerate(real[:50])])
    images = np.concatenate([real, planted])
    groups = galaxy_groups(GalaxyDataset("real", "real", images, np.zeros(len(images), int), ("one",)))
    found = np.mean(groups[:50] == groups[len(real) :])
    assert found >= (0.99 if name == "turned" else 0.9)
    assert len(np.unique(groups)) == len(images) - round(50 * found)


def test_all_real_galaxies_have_one_known_pair_and_no_other(shared_folder):
    found = find_copies(open_folder(shared_folder / "data" / "galaxy10_decals_sample"))
    assert (found["turned"] == found["identical"]).all() and (found["identical"] != np.arange(799)).sum() <= 1
    assert len(found["near"]) <= 1


def test_what_was_found_is_kept_for_the_data_and_all_that_is_prepared_from_them():
    galaxies = toy_galaxies(40, 32)
    images = np.concatenate([galaxies.images, galaxies.images[:2, ::-1]])
    galaxies = galaxies.replace(images=images, labels=np.zeros(42, int), vote_fractions=None)
    prepared = gu.prepare(galaxies, 8)
    (kept,) = (cache_folder() / "copies").glob("*.npz")
    assert np.array_equal(galaxy_groups(prepared), galaxy_groups(galaxies)) and galaxy_groups(prepared)[40] == 0
    kept.write_bytes(b"damaged")
    assert find_copies(prepared)["turned"].shape == (42,)
