"""Images of any kind and scale become what the network was trained on."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

import galaxy_utils as gu
from galaxy_utils.catalogue.pixels import framed, read_bytes, read_file
from galaxy_utils.data.survey_camera import stretch_rgb
from galaxy_utils.data.views import area_average

ABOUT = {"image_size": 24, "crop": 0.5, "pixel_scale": 0.524}


def blurred_noise(side, seed=1):
    """Something with structure on all scales that matter here."""
    small = np.random.default_rng(seed).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("scale", [None, 0.262])
def test_an_image_of_the_training_scale_is_framed_as_prepare_does(scale):
    columns = {"images": blurred_noise(96)[None], "labels": np.zeros(1, np.int64)}
    prepared = gu.prepare(gu.GalaxyDataset("one", "one", **columns), image_size=24, crop_fraction=0.5)
    assert prepared.crop_fraction == 0.5
    assert np.array_equal(framed(columns["images"][0], scale, ABOUT), prepared.images[0])


def test_the_same_sky_at_another_scale_gives_the_same_pixels():
    fine = blurred_noise(96)
    coarse, wide = area_average(fine[None], 48)[0], np.zeros((192, 192, 3), np.uint8)
    wide[48:144, 48:144] = fine
    wanted = framed(fine, 0.262, ABOUT).astype(float)
    # Half as many pixels over the same sky; the same pixels with twice the sky around them.
    assert np.abs(framed(coarse, 0.524, ABOUT) - wanted).mean() < 1
    assert np.array_equal(framed(wide, 0.262, ABOUT), wanted)
    # Were the scale not respected, it would be another image.
    assert np.abs(framed(wide, None, ABOUT) - wanted).mean() > 10
    # Fewer pixels than the network takes are interpolated.
    assert framed(area_average(fine[None], 32)[0], 0.786, ABOUT).shape == (24, 24, 3)


def test_too_little_sky_or_too_few_pixels_are_refused():
    with pytest.raises(ValueError, match=r"shows 5\.2 arcsec of sky; the training images show 12\.6"):
        framed(blurred_noise(40), 0.131, ABOUT)
    with pytest.raises(ValueError, match="only 10 pixels"):
        framed(blurred_noise(40), 1.2576, ABOUT)


@pytest.fixture
def bands():
    return np.random.default_rng(1).normal(0.05, 0.1, (3, 40, 50)).astype(np.float32)


def header(**cards):
    sky = WCS(naxis=2)
    sky.wcs.crval, sky.wcs.crpix, sky.wcs.ctype = [150.25, 2.5], [25.5, 20.5], ["RA---TAN", "DEC--TAN"]
    sky.wcs.cdelt = [-0.4 / 3600, 0.4 / 3600]
    return fits.Header([*sky.to_header().cards, *cards.items()])


def test_fits_is_stretched_as_the_simulated_survey_and_knows_its_scale_and_place(bands, tmp_path):
    path = tmp_path / "cube.fits"
    bands[0, 3, 7] = np.nan
    units = [fits.PrimaryHDU(), fits.ImageHDU(bands, header(BANDS="grz")), fits.ImageHDU(bands[0])]
    fits.HDUList(units).writeto(path)
    for pixels, scale, ra, dec in (read_file(path), read_bytes(path.read_bytes())):
        assert np.array_equal(pixels, stretch_rgb(np.nan_to_num(bands)[:, ::-1, 5:45]))
        np.testing.assert_allclose((scale, ra, dec), (0.4, 150.25, 2.5), rtol=1e-6)
    fits.writeto(tmp_path / "bare.fits", bands)
    assert read_file(tmp_path / "bare.fits")[1:] == (None, None, None)


def test_fits_of_another_kind_is_refused_with_a_reason(bands, tmp_path):
    wrong = {
        "0 HDUs": [fits.PrimaryHDU(bands[0])],
        "2 HDUs": [fits.PrimaryHDU(bands), fits.ImageHDU(bands)],
        "bands irg": [fits.PrimaryHDU(bands, header(BANDS="irg"))],
        "no numbers": [fits.PrimaryHDU(bands * np.nan)],
        "tiny": [fits.PrimaryHDU(bands[:, :9])],
    }
    for reason, units in wrong.items():
        fits.HDUList(units).writeto(tmp_path / "wrong.fits", overwrite=True)
        with pytest.raises(ValueError, match=reason):
            read_file(tmp_path / "wrong.fits")
    whole = (tmp_path / "wrong.fits").read_bytes()
    (tmp_path / "wrong.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="FITS|numbers"):
        read_file(tmp_path / "wrong.fits")
