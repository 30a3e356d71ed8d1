import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from galaxy_utils.classes import CLASS_NAMES
from galaxy_utils.data.folder import open_folder
from galaxy_utils.errors import DataError
from galaxy_utils.files import cache_folder


@pytest.fixture
def folder(tmp_path):
    """Two classes of three images each, 32 pixels, PNG so that pixels survive."""
    random = np.random.default_rng(1)
    for name in ("spiral", "elliptical"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "own" / name / f"{number}.png")
    return tmp_path / "own"


def pixels_of(path):
    return np.asarray(Image.open(path))


def test_sub_folders_become_classes_in_sorted_order(folder):
    dataset = open_folder(folder)
    assert dataset.class_names == ("elliptical", "spiral")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(dataset.images[4], pixels_of(folder / "spiral" / "1.png"))
    assert dataset.ra is None and dataset.pixel_scale is None and not dataset.is_simulated
    assert "own" in dataset.provenance


def test_official_names_bring_the_official_names_and_order(tmp_path):
    # The tenth class sorts before the third by its prefix, and two classes are absent.
    for name in ("10_Edge_on_with_Bulge", "3-round smooth", "4_in_between_Round_Smooth"):
        (tmp_path / "own" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "own" / name / "one.jpg")
    names = open_folder(tmp_path / "own").class_names
    assert names == ("Round Smooth", "In-between Round Smooth", "Edge-on with Bulge")


def test_the_real_sample_opens_with_its_coordinates(shared_folder):
    dataset = open_folder(shared_folder / "data" / "galaxy10_decals_sample")
    assert len(dataset) == 799 and dataset.class_names == CLASS_NAMES and dataset.image_size == 256
    assert np.isnan(dataset.ra).sum() == np.isnan(dataset.dec).sum() == 99
    with open(shared_folder / "data" / "galaxy10_decals_sample" / "manifest.csv") as file:
        entries = sorted(csv.DictReader(file), key=lambda entry: entry["file"])
    assert [int(entry["ans"]) for entry in entries] == dataset.labels.tolist()
    assert np.array_equal([float(entry["ra"] or "nan") for entry in entries], dataset.ra, equal_nan=True)
    assert np.array_equal([float(entry["dec"] or "nan") for entry in entries], dataset.dec, equal_nan=True)


def test_a_manifest_gives_coordinates_and_may_leave_some_out(folder):
    (folder / "manifest.csv").write_text(
        "file,note,ra,dec\nspiral/0.png,x,10.5,-3\nelliptical\\2.png,y,,\nspiral/2.png,z,359.9,80.25\n", "utf-8-sig"
    )
    dataset = open_folder(folder)
    assert dataset.ra.tolist()[3::2] == [10.5, 359.9] and dataset.dec.tolist()[3::2] == [-3, 80.25]
    assert np.isnan(dataset.ra[[0, 1, 2, 4]]).all()


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ("file,ra\n", "lacks the column dec"),
        ("", "lacks the column dec, file, ra"),
        ("file,ra,dec\nspiral/9.png,1,1\n", "line 2: there is no image 'spiral/9.png'"),
        ("file,ra,dec\nspiral/0.png,1,1\nspiral/0.png,1,1\n", "line 3: 'spiral/0.png' a second time"),
        ("file,ra,dec\nspiral/0.png,one,1\n", "line 2: ra 'one', dec '1' are not two numbers"),
        ("file,ra,dec\nspiral/0.png,1,\n", "line 2: ra '1', dec '' are not two numbers"),
        ("file,ra,dec\nspiral/0.png,nan,1\n", "line 2: ra 'nan', dec '1' are not degrees"),
        ("file,ra,dec\nspiral/0.png,1,91\n", "line 2: ra '1', dec '91' are not degrees"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, manifest, told):
    (folder / "manifest.csv").write_text(manifest)
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    assert told in str(caught.value) and "manifest.csv" in str(caught.value)


def test_other_shapes_and_colour_modes_become_square_rgb_of_the_common_size(folder):
    oblong = np.zeros((32, 50, 3), np.uint8)
    oblong[:, 9:41] = 100
    Image.fromarray(oblong).save(folder / "spiral" / "3.png")
    Image.fromarray(np.kron(np.eye(2), np.full((32, 32), 200)).astype(np.uint8)).save(folder / "spiral" / "4.png")
    see_through = np.full((32, 32, 4), 255, np.uint8)
    see_through[:16, :, 3] = 0
    Image.fromarray(see_through).save(folder / "spiral" / "5.png")
    Image.new("P", (32, 32)).save(folder / "spiral" / "6.png")
    images = np.asarray(open_folder(folder).images)
    assert images.shape == (10, 32, 32, 3)
    assert np.all(images[6] == 100)
    assert np.all(images[7, :16, :16] == 200) and np.all(images[7, :16, 16:] == 0)
    assert np.all(images[8, :16] == 0) and np.all(images[8, 16:] == 255)
    assert np.all(images[9] == 0)


def test_all_unusable_images_are_named_in_one_error(folder, monkeypatch):
    (folder / "spiral" / "empty.png").touch()
    (folder / "spiral" / "text.jpg").write_text("not an image")
    Image.new("RGB", (32, 15)).save(folder / "elliptical" / "tiny.png")
    Image.new("I;16", (32, 32)).save(folder / "elliptical" / "deep.png")
    Image.new("RGB", (300, 300)).save(folder / "elliptical" / "vast.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(
        folder / "spiral" / "cut.jpg"
    )
    whole = (folder / "spiral" / "cut.jpg").read_bytes()
    (folder / "spiral" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    # Pillow warns above this many pixels; here that must stop the image.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80_000)
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    message = str(caught.value)
    assert "6 of 12 images cannot be used" in message
    for told in (
        "spiral/empty.png: an empty file",
        "spiral/text.jpg: not an image",
        "elliptical/tiny.png: tiny, 32 x 15 pixels",
        "elliptical/deep.png: not 8-bit",
        "elliptical/vast.png: more than 80,000 pixels",
        "spiral/cut.jpg: cannot be decoded",
    ):
        assert told in message
    assert not list((cache_folder() / "folders").glob("*.npy"))


def test_folders_without_classes_or_images_are_refused(tmp_path, folder):
    (folder / "irregular").mkdir()
    (folder / "irregular" / "notes.txt").touch()
    with pytest.raises(DataError, match="No images in irregular"):
        open_folder(folder)
    with pytest.raises(DataError, match="no sub-folders"):
        open_folder(folder / "spiral")


def test_images_are_decoded_once_and_again_when_one_changes(folder):
    first = open_folder(folder)
    (cached,) = (cache_folder() / "folders").glob("*.npy")
    written = cached.stat().st_mtime_ns
    again = open_folder(folder)
    assert cached.stat().st_mtime_ns == written and again.fingerprint == first.fingerprint
    shutil.copy(folder / "spiral" / "0.png", folder / "spiral" / "1.png")
    changed = open_folder(folder)
    assert changed.fingerprint != first.fingerprint
    assert np.array_equal(changed.images[3], changed.images[4])


def test_hidden_files_and_folders_are_left_alone(folder):
    (folder / ".git").mkdir()
    (folder / "__MACOSX").mkdir()
    (folder / "spiral" / "._0.png").touch()
    assert len(open_folder(folder)) == 6
