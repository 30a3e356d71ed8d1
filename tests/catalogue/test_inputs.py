"""What is listed and read for a catalogue: nothing is guessed, and nothing is left out without a word."""

import io
import os

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import galaxy_utils as gu
from galaxy_utils.catalogue import inputs, run, work
from galaxy_utils.catalogue.pixels import read_file
from galaxy_utils.errors import ConfigurationError, DataError, StorageError

SETTINGS = {"columns": {}, "part_size": 512}


def as_png(pixels):
    Image.fromarray(pixels).save(content := io.BytesIO(), "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    "text, told, expected",
    [
        ("ra_hours,dec\n10.1,2\n", {}, 151.5),
        ("ra_hours,dec\n10.1,2\n", {"ra": "ra_hours"}, 151.5),  # naming a column does not change its unit
        ("id ra dec\nA 10 20 30.5 +05 30 00\n", {}, np.nan),  # sexagesimal between spaces: which field is which?
        ("id,ra,dec\nA,150,5,2,1\n", {}, np.nan),  # decimal commas
    ],
)
def test_a_position_is_read_right_or_not_at_all(tmp_path, text, told, expected):
    (tmp_path / "table.txt").write_text(text)
    _, ra, _, problems = inputs._read_text(tmp_path / "table.txt", told)
    np.testing.assert_allclose(ra[0], expected)
    assert (0 in problems) == np.isnan(expected)


def rows_of(source):
    return [(ra, dec) for _, ra, dec, *_ in work._rows(inputs.find_parts(source, SETTINGS)[0][0], SETTINGS)]


def test_units_and_placeholders_of_positions_beside_images(tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    with h5py.File(tmp_path / "hours.h5", "w") as file:
        file["images"], file["ra"], file["dec"] = images, [10.1, -999.0], [2.0, -999.0]
        file["ra"].attrs["units"] = "h"
    (tmp_path / "shards").mkdir()
    cells = [{"bytes": as_png(image), "path": f"{number}.png"} for number, image in enumerate(images)]
    table = pa.table({"image": cells, "ra_hours": [10.1, -999.0], "dec": [2.0, -999.0]})
    pq.write_table(table, tmp_path / "shards" / "a.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "shards" / "b.parquet")  # what a filter may leave
    for source in (tmp_path / "hours.h5", tmp_path / "shards"):
        np.testing.assert_allclose(rows_of(source), [[151.5, 2.0], [np.nan, np.nan]])


def test_a_file_without_rows_is_refused_before_anything_is_written(tmp_path, classifier, client):
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["images"] = np.zeros((0, 32, 32, 3), np.uint8)
    with pytest.raises(DataError, match="holds no images"):
        gu.classify(tmp_path / "empty.h5", classifier, tmp_path / "c.parquet", client=client)
    assert not (tmp_path / "c.parquet").exists()


def test_a_folder_that_cannot_be_read_ends_the_run_and_costs_no_row(folder, tmp_path, monkeypatch):
    walk = os.walk

    def closed(top, onerror=None, **options):
        for place, names, files in walk(top, onerror=onerror, **options):
            if "deep" in names and onerror:
                onerror(PermissionError(13, "Permission denied", str(folder / "deep")))
            yield place, names, files

    monkeypatch.setattr(os, "walk", closed)
    with pytest.raises(DataError, match="cannot be read(.|\n)*deep"):
        inputs.find_parts(folder, SETTINGS)


def test_a_catalogue_is_no_source_of_the_next_one(folder, classifier, client):
    for _ in range(2):
        gu.classify(folder, classifier, folder / "catalogue.parquet", client=client)
    assert len(inputs.find_parts(folder, SETTINGS)[0][0].items) == 24


def test_a_run_that_ended_while_it_wrote_its_record_goes_on(folder, classifier, tmp_path, client, monkeypatch):
    def full(*arguments, **options):
        (tmp_path / "c.parquet").mkdir(exist_ok=True)
        (tmp_path / "c.parquet" / f".{inputs.RECORD}.lock").touch()
        raise StorageError("The disk has no room.")

    with monkeypatch.context() as patch, pytest.raises(StorageError):
        patch.setattr(run, "write_json", full)
        gu.classify(folder, classifier, tmp_path / "c.parquet", client=client)
    gu.classify(folder, classifier, tmp_path / "c.parquet", client=client)
    (tmp_path / "other.parquet").mkdir()
    (tmp_path / "other.parquet" / "precious.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="something else"):
        gu.classify(folder, classifier, tmp_path / "other.parquet", client=client)


def test_a_png_may_be_called_after_the_fits_file_that_it_was_made_from(tmp_path):
    (tmp_path / "ngc1.fits.png").write_bytes(as_png(np.full((32, 32, 3), 7, np.uint8)))
    assert read_file(tmp_path / "ngc1.fits.png")[0].shape == (32, 32, 3)
