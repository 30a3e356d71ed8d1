import csv
import shutil

import numpy as np
import pytest
import tifffile
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


def test_sub_folders_become_classes_in_sorted_order(folder):
    dataset = open_folder(folder)
    assert dataset.class_names == ("elliptical", "spiral")
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(dataset.images[4], np.asarray(Image.open(folder / "spiral" / "1.png")))
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
        ("file,ra,dec\nspiral/0.png,nan,1\n", "line 2: ra 'nan', dec '1' are not two numbers"),
        ("file,ra,dec\nspiral/0.png,1,91\n", "line 2: ra '1', dec '91' are not degrees"),
        ("file,ra,dec\nspiral/0.png,-99,1\n", "line 2: ra '-99', dec '1' are not"),
        ("file,ra,dec\nspiral/0.png,10,5,2,3\n", "line 2: more fields than columns"),
        ("file,ra,dec\nspiral/0.png,150:02:30,1\n", "line 2: ra '150:02:30'"),
        ("file,ra,dec\nspiral/0.png,0.1,1\nspiral/1.png,23.9,1\n", "degrees, hours or radians"),
        ("file,ra,dec\nspiral/0.png,0.1,1\nspiral/1.png,6.2,-1.5\n", "call the column ra_deg, ra_hours or ra_rad"),
        ("file,ra,dec\n" + "spiral/9.png,1,1\n" * 3000, "and 2,990 more"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder, manifest, told):
    (folder / "manifest.csv").write_text(manifest)
    with pytest.raises(DataError) as caught:
        open_folder(folder)
    assert told in str(caught.value) and "manifest.csv" in str(caught.value)
    assert "what to do" in str(caught.value) and str(caught.value).count("\n") < 20


@pytest.mark.parametrize(
    ("name", "text", "encoding"),
    [
        ("Manifest.CSV", "File,RA (deg),Dec (deg)\nspiral/1.png,150.25,-2.5\n", "utf-8"),
        ("manifest.csv.txt", "file;ra;dec\nspiral/1.png;150,25;-2,5\n", "utf-8-sig"),
        ("my table.tsv", "name\timage_path\tRAJ2000\tDEJ2000\nx\t./own/spiral/1.png\t10:01:00\t-02 30 00\n", "utf-16"),
        ("spiral/manifest.csv", "file,ra_hours,dec\n1.png,10.016666666666667,\u22122.5\n", "utf-8"),
        ("positions.dat", "# from a program\n# file  ra  dec\nspiral\\1.png  150.25   -2.5\n", "utf-8"),
        ("list.csv", "sep=,\nfile,ra_rad,dec_rad\nspiral/1.png,2.6223572,-.0436332\nspiral/2.png,-99,-99\n", "ascii"),
        ("list.csv", "file,ra,dec\nspiral/1.png,10h01m00s,-2d30m\nspiral/2.png,NULL,n/a\n", "utf-8"),
    ],
)
def test_a_table_is_read_as_other_programs_save_it(folder, name, text, encoding, capsys):
    (folder / name).write_text(text, encoding)
    dataset = open_folder(folder)
    assert dataset.ra[4] == pytest.approx(150.25, abs=1e-5) and dataset.dec[4] == pytest.approx(-2.5, abs=1e-5)
    assert np.isnan(dataset.ra).sum() == 5 and not capsys.readouterr().out


def test_names_are_found_composed_or_not_and_in_any_script(folder):
    for number, name in enumerate(("e\u0301clate\u0301e.v1_a b", "渦巻")):
        (folder / ("elliptical", "spiral")[number]).rename(folder / name)
    (folder / "manifest.csv").write_text("file,ra,dec\n\u00e9clat\u00e9e.v1_a b/0.png,10,10\n", "utf-8")
    dataset = open_folder(folder)
    assert dataset.class_names == ("\u00e9clat\u00e9e.v1_a b", "渦巻") and dataset.ra[0] == 10


GREY = np.linspace(0, 255, 32 * 32).astype(np.uint8).reshape(32, 32)
COLOUR = np.stack([GREY, GREY.T, GREY[::-1]], axis=-1)
DEEP = GREY.astype(np.uint16) * 257
CLEAR = Image.new("L", (32, 32), 255)
SECOND = {"save_all": True, "append_images": [Image.new("L", (32, 32), 9)]}


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("a.PNG", Image.fromarray(DEEP), GREY),
        ("a.tiff", Image.fromarray(DEEP), GREY),
        ("a.tif", Image.fromarray(DEEP.astype(">u2")), GREY),
        ("a.TIF", Image.fromarray(GREY.astype(np.float32) / 255), GREY),
        ("a.webp", Image.fromarray(COLOUR), COLOUR),
        ("a.bmp", Image.fromarray(COLOUR), COLOUR),
        ("a.gif", Image.fromarray(GREY), GREY),
        ("a.png", Image.merge("LA", [Image.fromarray(GREY), CLEAR]), GREY),
        ("a.tif", Image.merge("RGBA", [*Image.fromarray(COLOUR).split(), CLEAR]), COLOUR),
        ("a.png", Image.fromarray(GREY > 99), np.where(GREY > 99, 255, 0)),
        ("a.png", Image.fromarray(GREY).convert("P"), GREY),
        ("a.tif", Image.fromarray(255 - COLOUR).convert("CMYK"), 255 - COLOUR),
        ("a.jpg", Image.fromarray(COLOUR), COLOUR),
    ],
)
def test_every_kind_of_picture_becomes_the_right_colours(folder, name, image, expected):
    for path in (folder / "spiral").iterdir():
        path.unlink()
    # A name may say another format than the content: what counts is the content.
    options = {"format": "PNG"} if name == "a.jpg" else {"lossless": True} if name == "a.webp" else {}
    image.save(folder / "spiral" / name, **options)
    shown = np.asarray(open_folder(folder).images[-1]).astype(int)
    assert np.abs(shown - (expected if expected.ndim == 3 else expected[..., None])).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("tag", [2, 3, 5, 6, 8])
def test_pictures_are_turned_as_their_tag_says(folder, suffix, tag):
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(COLOUR).save(folder / "spiral" / f"3{suffix}", exif=exif, quality=100)
    turned = {2: COLOUR[:, ::-1], 3: COLOUR[::-1, ::-1], 5: COLOUR.swapaxes(0, 1), 6: np.rot90(COLOUR, -1)}
    assert np.abs(open_folder(folder).images[-1].astype(int) - turned.get(tag, np.rot90(COLOUR))).mean() < 20


def test_tiff_of_48_bits_becomes_the_right_colours_and_other_bands_are_refused(folder):
    tifffile.imwrite(folder / "spiral" / "a.tif", COLOUR.astype(np.uint16) * 257, photometric="rgb")
    assert np.abs(open_folder(folder).images[-1].astype(int) - COLOUR).max() <= 1
    for bands in (2, 5):
        tifffile.imwrite(folder / "spiral" / f"{bands}.tif", np.zeros((32, 32, bands), np.uint8), planarconfig="contig")
    with pytest.raises(DataError, match=r"2 of 9 images[\s\S]*spiral/2.tif: [\s\S]*spiral/5.tif: "):
        open_folder(folder)


@pytest.mark.parametrize(
    ("name", "image", "options", "told"),
    [
        ("a.png", Image.fromarray(GREY.astype(np.uint16) * 16), {}, "only 12 or fewer"),
        ("a.tif", Image.fromarray(GREY.astype(np.int32) * 10**6), {}, "instead of 0 to 65535"),
        ("a.tif", Image.fromarray(GREY.astype(np.float32)), {}, "instead of 0 to 1"),
        ("a.tif", Image.fromarray(np.full((32, 32), np.nan, np.float32)), {}, "nan"),
        ("a.tif", Image.new("L", (32, 32)), SECOND, "2 pages"),
        ("a.gif", Image.new("L", (32, 32)), SECOND, "animated"),
    ],
)
def test_pictures_without_one_meaning_are_refused_with_the_reason(folder, name, image, options, told):
    image.save(folder / "spiral" / name, **options)
    with pytest.raises(DataError, match=f"1 of 7 images[\\s\\S]*spiral/{name}.*{told}"):
        open_folder(folder)


def test_pictures_below_a_class_are_its_own_and_what_is_left_out_is_counted(folder, capsys):
    (folder / "spiral" / "north").mkdir()
    shutil.copy(folder / "spiral" / "0.png", folder / "spiral" / "north" / "5.JFIF")
    (folder / "spiral" / "north" / "back").symlink_to(folder)
    for name in (".other", ".git", "__MACOSX"):
        (folder / name).mkdir()
    for name in (".other/0.png", "spiral/0.fits", "spiral/1.fits", "stray.png", ".DS_Store", "spiral/._0.png"):
        (folder / name).touch()
    assert open_folder(folder).class_counts.tolist() == [3, 4]
    assert capsys.readouterr().out == "4 files of own left out: 2 .fits, 1 .other, 1 .png\n"


@pytest.mark.parametrize("names", [("train", "test"), ("images_training", "images_test"), ("Valid", "spirals")])
def test_parts_of_a_split_are_no_classes(folder, names):
    for old, new in zip(("elliptical", "spiral"), names, strict=True):
        (folder / old).rename(folder / new)
    with pytest.raises(DataError, match=f"parts of a split, not classes: .*{names[0]}"):
        open_folder(folder)


def test_fits_is_told_how_to_become_an_image(folder):
    for path in folder.glob("spiral/*.png"):
        path.rename(path.with_suffix(".fits"))
    with pytest.raises(DataError, match="No images in spiral[\\s\\S]*FITS files are not read: stretch them"):
        open_folder(folder)


def test_hours_are_noticed_in_a_small_field_too(folder):
    rows = "".join(f"{name}/{k}.png,{10 + k / 60},{k}\n" for name in ("spiral", "elliptical") for k in range(3))
    (folder / "manifest.csv").write_text(f"file,ra,dec\n{rows}")
    with pytest.raises(DataError, match="degrees, hours or radians"):
        open_folder(folder)
    (folder / "manifest.csv").write_text(f"file,ra_hours,dec\n{rows}")
    assert open_folder(folder).ra.max() == pytest.approx(150.5)


def test_one_class_is_refused_with_a_word_about_the_table(folder):
    shutil.rmtree(folder / "elliptical")
    (folder / "labels.csv").write_text("file,label\n")
    with pytest.raises(DataError, match="only one class[\\s\\S]*labels.csv"):
        open_folder(folder)


def test_a_few_blank_images_are_told_and_many_refused(folder, capsys):
    for number in range(3, 7):
        Image.new("L", (32, 32), number).save(folder / "spiral" / f"{number}.png")
        if number == 3:
            open_folder(folder)
            assert "1 of 7 images are blank" in capsys.readouterr().out
    with pytest.raises(DataError, match="4 of 10 images are blank[\\s\\S]*spiral/3.png"):
        open_folder(folder)


def test_other_shapes_and_colour_modes_become_square_rgb_of_the_common_size(folder):
    oblong = np.zeros((32, 50, 3), np.uint8)
    oblong[:, 9:41] = 100
    Image.fromarray(oblong).save(folder / "spiral" / "3.png")
    Image.fromarray(np.kron(np.eye(2), np.full((32, 32), 200)).astype(np.uint8)).save(folder / "spiral" / "4.png")
    see_through = np.full((32, 32, 4), 255, np.uint8)
    see_through[:16, :, 3] = 0
    Image.fromarray(see_through).save(folder / "spiral" / "5.png")
    images = np.asarray(open_folder(folder).images)
    assert images.shape == (9, 32, 32, 3)
    assert np.all(images[6] == 100)
    assert np.all(images[7, :16, :16] == 200) and np.all(images[7, :16, 16:] == 0)
    assert np.all(images[8, :16] == 0) and np.all(images[8, 16:] == 255)


def test_all_unusable_images_are_named_in_one_error(folder, monkeypatch):
    (folder / "spiral" / "empty.png").touch()
    (folder / "spiral" / "text.jpg").write_text("not an image")
    Image.new("RGB", (32, 15)).save(folder / "elliptical" / "tiny.png")
    Image.fromarray(np.full((32, 32), 300, np.uint16)).save(folder / "elliptical" / "deep.png")
    Image.new("RGB", (300, 300)).save(folder / "elliptical" / "vast.png")
    cut = folder / "spiral" / "cut.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:2000])
    # Pillow warns above this many pixels; here that must stop the image.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 80_000)
    with pytest.raises(DataError, match="6 of 12 images cannot be used") as caught:
        open_folder(folder)
    for told in (
        "spiral/empty.png: an empty file",
        "spiral/text.jpg: cannot be opened",
        "elliptical/tiny.png: tiny, 32 x 15 pixels",
        "elliptical/deep.png: 16 bits, only 12",
        "elliptical/vast.png: cannot be opened (Image size (90000 pixels) exceeds limit",
        "spiral/cut.jpg: cannot be decoded",
    ):
        assert told in str(caught.value)
    assert not list((cache_folder() / "folders").glob("*.npy"))


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
