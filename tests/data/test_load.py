import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import galaxy_utils as gu
from galaxy_utils.data.sources import identify_source
from galaxy_utils.errors import ConfigurationError, DataError

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_path_to_a_file_or_folder_is_opened(write_galaxy10, tmp_path):
    path = write_galaxy10()
    assert identify_source(path) == "file"
    assert len(gu.load(str(path))) == 60
    for name in ("round", "spiral"):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "own" / name / "one.png")
    assert identify_source(tmp_path / "own") == "folder"
    assert gu.load(tmp_path / "own").class_names == ("round", "spiral")


def test_a_folder_without_classes_or_images_is_refused_before_any_work(tmp_path):
    with pytest.raises(DataError, match="no sub-folders"):
        identify_source(tmp_path)
    for number in range(12):
        (tmp_path / f"class_{number:02}").mkdir()
        (tmp_path / f"class_{number:02}" / "notes.txt").touch()
    (tmp_path / "class_00" / "one.JPG").touch()
    (tmp_path / "class_01" / ".hidden.jpg").touch()
    with pytest.raises(DataError, match="No images in class_01, class_02.*class_08 and 3 more."):
        identify_source(tmp_path)
    (tmp_path / "class_00" / "one.JPG").unlink()
    with pytest.raises(DataError, match=r"no sub-folders with images[\s\S]*class_07 and 4 more"):
        identify_source(tmp_path)


@pytest.mark.parametrize("content", [b"ra,dec,ans\n10.5,-3,2\n", b"", b"\x89HDF"])
def test_a_file_that_only_has_the_name_of_hdf5_is_refused_before_any_work(tmp_path, content):
    path = tmp_path / "galaxies.h5"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not HDF5") as caught:
        identify_source(path)
    assert str(path) in str(caught.value) and repr(content[:16]) in str(caught.value)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("galaxy_10", 'Did you mean "galaxy10"'),
        ("Simulated", 'Did you mean "simulated"'),
        ("nowhere/at_all", "does not exist"),
        ("absent.h5", "does not exist"),
        ("", "neither"),
        (__file__, "does not end in .h5"),
    ],
)
def test_an_unknown_source_lists_the_valid_ones(source, told):
    with pytest.raises(ConfigurationError) as caught:
        gu.load(source)
    for words in ('"simulated"', '"galaxy10"', ".h5", "folder", told):
        assert words in str(caught.value)


def test_an_unknown_profile_is_refused_before_any_work(write_galaxy10):
    with pytest.raises(ConfigurationError, match="smoke, demo, gpu, full"):
        gu.load(write_galaxy10(), profile="huge")


def test_the_official_file_is_opened_from_the_cache(write_galaxy10):
    from galaxy_utils.files import cache_folder

    place = cache_folder() / "galaxy10" / "Galaxy10_DECals.h5"
    place.parent.mkdir(parents=True)
    write_galaxy10().rename(place)
    dataset = gu.load("galaxy10")
    assert np.array_equal(dataset.class_counts, np.full(10, 6))


def test_importing_the_package_and_its_data_names_loads_neither_keras_nor_tensorflow():
    program = """
import sys, time
start = time.perf_counter()
import galaxy_utils
alone = time.perf_counter() - start
from galaxy_utils import CLASS_NAMES, Split, get_profile, load, prepare, split
seconds = time.perf_counter() - start
heavy = {"keras", "tensorflow", "jax", "torch", "matplotlib", "sklearn", "galsim"} & set(sys.modules)
assert not heavy, heavy
assert alone < 1 and seconds < 3, (alone, seconds)
"""
    # A twentieth and a quarter of a second on an idle machine.
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert not finished.returncode, finished.stderr


def test_sources_and_profiles_can_be_checked_before_anything_is_installed():
    program = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
import galaxy_utils
from galaxy_utils.data.sources import identify_source
from galaxy_utils.profiles import get_profile
assert identify_source("simulated") == "simulated" and identify_source("galaxy10") == "galaxy10"
assert get_profile("demo").name == "demo"
try:
    import numpy
except ImportError:
    print("bare")
"""
    # -I and -S: no environment, no site-packages.
    finished = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "bare\n"


def test_public_names_are_listed_and_unknown_ones_refused():
    assert set(gu.__all__) <= set(dir(gu))
    assert gu.CLASS_NAMES[9] == "Edge-on with Bulge"
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        gu.lode  # noqa: B018
