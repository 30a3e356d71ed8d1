import pytest

from galaxy_utils import recipes
from galaxy_utils.classes import OFFICIAL_CLASS_COUNTS
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.profiles import PROFILES, get_profile


def test_profiles_are_found_by_name_and_passed_through():
    for name in ("smoke", "demo", "gpu", "full"):
        profile = get_profile(name)
        assert profile.name == name
        assert get_profile(profile) is profile
    assert get_profile("full").simulated_galaxies == sum(OFFICIAL_CLASS_COUNTS)
    assert get_profile("full").maximum_epochs is None


def test_every_profile_shrinks_by_a_whole_number_of_pixels():
    for profile in PROFILES.values():
        assert 256 * profile.crop_fraction % profile.image_size == 0


@pytest.mark.parametrize("name", ["Demo", "", None, 3])
def test_an_unknown_profile_lists_the_known_ones(name):
    with pytest.raises(ConfigurationError, match="smoke, demo, gpu, full"):
        get_profile(name)


def test_a_nearly_right_profile_is_suggested():
    with pytest.raises(ConfigurationError, match="Did you mean 'smoke'"):
        get_profile("Smoke")


def test_the_full_profile_keeps_the_papers_numbers():
    full = get_profile("full")
    assert full.joint_epochs == recipes.JOINT_AUTOENCODER.epochs
    assert full.super_resolution_images == full.simulated_galaxies
