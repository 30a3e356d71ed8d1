"""What can be classified, cut into parts of a few hundred images: folders, HDF5, Parquet, tables of positions.

Only names, positions and sizes are looked at here. Images are read by whoever works on a part.
"""

import hashlib
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from galaxy_utils.catalogue.pixels import FITS_SUFFIXES
from galaxy_utils.data.hdf5_images import HDF5Images, check_readable, explain_hdf5_errors, unit_of
from galaxy_utils.data.manifest import COLUMNS, SUFFIXES, read_manifests, read_table
from galaxy_utils.data.positions import check_positions, parse_position
from galaxy_utils.data.sources import (
    HDF5_SUFFIXES,
    IMAGE_SUFFIXES,
    LITTER,
    check_signature,
    composed,
    is_hidden,
    refuse,
)
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import explain_read_errors
from galaxy_utils.wording import counted

# In the folder of a catalogue, beside its parts; readers of Parquet leave names alone that begin so.
RECORD = "_catalogue.json"
# Images of one part. The catalogue is cut here, however many workers there are.
PART_SIZE = 512
NAMES = {
    "id": re.compile("(?:id|name|objid|objname|objectid|galaxyid|sourceid|iauname|targetid|dr7objid|dr8id)()"),
    "image": re.compile("(?:image|img|cutout|picture)()"),
    **{name: COLUMNS[name] for name in ("ra", "dec")},
}
SOURCES = (
    "a folder with images (JPEG, PNG, TIFF, WebP, GIF, BMP, FITS) at any depth, one such image, an HDF5 file with "
    "Galaxy10's keys, Parquet with a column of images, or a CSV or Parquet table with columns ra and dec"
)


@dataclass(frozen=True)
class Part:
    """What one task classifies.

    Attributes:
        number: Its place in the catalogue, counted from 0.
        kind: How its images are read: `"files"`, `"hdf5"` or `"parquet"`.
        where: The folder or file.
        items: For files, (identifier, ra, dec, path, arcseconds per pixel, problem) of each image; for HDF5, first and
            last row; for Parquet, numbers of row groups.
        count: Number of images.
        key: Sixteen hexadecimal digits that change when the source or a setting changes.
    """

    number: int
    kind: str
    where: str
    items: tuple
    count: int
    key: str


def find_parts(source, settings):
    """Return the parts of a source, in an order that depends on nothing but its names and rows.

    Args:
        source: A path; see `SOURCES`.
        settings: What else decides the content of a catalogue, as JSON can hold it; `columns` and `part_size` are used.

    Returns:
        A list of `Part`s, and whether their images must be fetched first.

    Raises:
        ConfigurationError: There is no such source.
        DataError: It holds nothing that can be classified, or a table's positions cannot be read.
    """
    path = Path(source).expanduser()
    name, columns = path.name.lower(), settings["columns"]
    make = _Parts(settings)
    if path.is_dir():
        files, shards = _list_folder(path)
        if files:
            return make.of_files(path, files, [str(path / file) for file, *_ in files]), False
        if shards:
            return _parquet_parts(make, path, shards, columns)
        raise DataError("The folder holds nothing to classify.", where=path, expected=SOURCES)
    if path.is_file() and name.endswith(IMAGE_SUFFIXES + FITS_SUFFIXES):
        return make.of_files(path.parent, [(path.name, np.nan, np.nan)], [str(path)]), False
    if path.is_file() and name.endswith(HDF5_SUFFIXES):
        check_signature(path)
        return make.of_ranges("hdf5", path, _count_hdf5(path)), False
    if path.is_file() and name.endswith(".parquet"):
        return _parquet_parts(make, path.parent, [path], columns)
    if path.is_file() and name.endswith(SUFFIXES):
        return make.of_positions(path, *_read_text(path, columns)), True
    found = "a file with another ending" if path.is_file() else f"no such file or folder ({path.absolute()})"
    raise ConfigurationError("This cannot be classified.", where="source", expected=SOURCES, found=found)


class _Parts:
    """Cuts a source into parts, and gives each of them its key."""

    def __init__(self, settings):
        self.settings, self.size, self.made = settings, settings["part_size"], []

    def add(self, kind, where, items, count, content):
        key = hashlib.sha256(repr((self.settings, kind, items, content)).encode()).hexdigest()[:16]
        self.made.append(Part(len(self.made), kind, str(Path(where).absolute()), tuple(items), count, key))

    def of_files(self, folder, files, paths):
        """Parts of images that lie in files: (identifier, ra, dec) of each, and its path."""
        for first in range(0, len(files), self.size):
            chosen = range(first, min(first + self.size, len(files)))
            items = [(*files[place], paths[place], None, None) for place in chosen]
            self.add("files", folder, items, len(items), [_state(paths[place]) for place in chosen])
        return self.made

    def of_ranges(self, kind, path, count):
        for first in range(0, count, self.size):
            last = min(first + self.size, count)
            self.add(kind, path, (first, last), last - first, _state(path))
        return self.made

    def of_positions(self, path, names, ra, dec, problems):
        """Parts of positions whose images do not lie here yet: they have no path."""
        for first in range(0, len(names), self.size):
            chosen = range(first, min(first + self.size, len(names)))
            items = [(names[row], ra[row], dec[row], None, None, problems.get(row)) for row in chosen]
            self.add("files", path, items, len(items), None)
        if not self.made:
            raise DataError("The table has no rows.", where=path, expected="positions: columns ra and dec")
        return self.made


def _state(path):
    """Return size and time of a file; `None` where there is none that could be read."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    except OSError:
        return None


def _list_folder(folder):
    """Return (path below the folder, ra, dec) of each image, sorted, and the Parquet files; say what is left out."""
    images, others, seen = [], [], set()
    for place, names, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(place)
        # A link to a folder above would lead round in a circle.
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        # A catalogue, perhaps the very one that is being written, is no source.
        if RECORD in files:
            names.clear()
            continue
        names[:] = sorted(name for name in names if name not in LITTER and not is_hidden(name))
        for file in files:
            if file.lower().endswith(IMAGE_SUFFIXES + FITS_SUFFIXES) and not is_hidden(file):
                images.append(Path(place, file).relative_to(folder).as_posix())
            elif file not in LITTER and not is_hidden(file):
                others.append(Path(place, file))
    images.sort(key=composed)
    others.sort()
    ra, dec, tables = read_manifests(folder, images, others) if images else (None, None, [])
    shards = [file for file in others if file.suffix.lower() == ".parquet"]
    left = Counter(file.suffix or file.name for file in others if file not in tables)
    if images and left:
        kinds = ", ".join(f"{count:,} {ascii(kind)[1:-1]}" for kind, count in left.most_common(10))
        print(f"{counted(left.total(), 'files')} of {ascii(folder.name)[1:-1]} left out: {kinds}")
    unknown = np.full(len(images), np.nan)
    ra, dec = (unknown if column is None else column for column in (ra, dec))
    return list(zip(images, ra.tolist(), dec.tolist(), strict=True)), shards


def _count_hdf5(path):
    with explain_hdf5_errors(path), h5py.File(path, "r") as file:
        images = file.get("images")
        found = getattr(images, "shape", None), str(getattr(images, "dtype", sorted(file)))
        if not isinstance(images, h5py.Dataset) or len(found[0]) != 4 or found[0][3] != 3 or found[1] != "uint8":
            expected = "a data set images, shape (n, side, side, 3), uint8; optionally ra, dec and pxscale, shape (n,)"
            raise DataError("The file holds no images.", where=path, expected=expected, found=found)
        if not len(images):
            raise DataError("The file holds no images.", where=path, expected="at least one row", found="none")
        check_readable(images, path)
        return len(images)


def open_hdf5(path, first, last):
    """Return lazy images, `{"ra": …, "dec": …, "pxscale": …}` of some rows, NaN where unknown, and their units."""
    columns, units = {}, {}
    with explain_hdf5_errors(path), h5py.File(path, "r") as file:
        for name in ("ra", "dec", "pxscale"):
            columns[name] = np.full(last - first, np.nan)
            if name in file and file[name].shape[:1] == file["images"].shape[:1] and file[name].dtype.kind in "fiu":
                columns[name], units[name] = file[name][first:last].astype(np.float64), unit_of(file[name])
    return HDF5Images(path), columns, units


def _parquet_parts(make, folder, shards, columns):
    """Parts of Parquet files with images: whole row groups, so that none is unpacked twice. Or of a table."""
    import pyarrow.parquet as pq

    remedy = "write it again, for example with datasets.Dataset.to_parquet or pandas.DataFrame.to_parquet"
    tables = []
    for shard in shards:
        with (
            explain_read_errors("The Parquet file cannot be read.", shard, remedy=remedy),
            pq.ParquetFile(shard) as file,
        ):
            found = find_columns(file.schema_arrow, columns, shard)
            if "image" not in found:
                tables.append(shard)
                continue
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        groups = []
        if not sum(sizes):
            continue
        for group in range(len(sizes)):
            groups.append(group)
            count = sum(sizes[one] for one in groups)
            if group + 1 == len(sizes) or count + sizes[group + 1] > make.size:
                make.add("parquet", shard, groups, count, _state(shard))
                groups = []
    if len(tables) == len(shards) == 1:
        return make.of_positions(shards[0], *_read_parquet_positions(shards[0], columns)), True
    if tables or not make.made:
        problem, expected = (
            "These Parquet files hold no images.",
            "a column of images in each, or one table of positions",
        )
        raise DataError(problem, where=folder, expected=expected, found=", ".join(shard.name for shard in tables[:8]))
    return make.made, False


def find_columns(schema, told, where):
    """Return the names of the columns `id`, `image`, `ra` and `dec`, of those that there are.

    Args:
        schema: A pyarrow schema.
        told: `{"ra": name, …}` of what the reader has told.
        where: The file, for the message.

    Raises:
        DataError: A column that was told is not there.
    """
    import pyarrow as pa

    found = _told_columns(told, schema.names, where)
    for name in schema.names:
        kind = schema.field(name).type
        is_image = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        is_image |= bool(NAMES["image"].fullmatch(_plain(name))) and (
            pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
        )
        for column in ["image"] if is_image else ["id", "ra", "dec"]:
            if is_image or NAMES[column].fullmatch(_plain(name)):
                found.setdefault(column, name)
    return found


def _plain(name):
    return re.sub("[^a-z0-9]", "", name.lower())


def _told_columns(told, names, where):
    if missing := [name for name in told.values() if name not in names]:
        problem, found = f"There is no column {', '.join(map(repr, missing))}.", ", ".join(names[:20])
        raise DataError(problem, where=where, expected="columns of the table", found=found)
    return dict(told)


def _read_text(path, told):
    """Return identifiers, ra, dec and `{row: problem}` of a table of text."""
    remedy = "save it as CSV in UTF-8, with the names of its columns in the first line"
    with explain_read_errors("The table cannot be read.", path, remedy=remedy):
        names, known, lines = read_table(path)
        told = _told_columns(told, names, path)
        places = {column: (names.index(name), unit_in_name(column, name)) for column, name in told.items()}
        for column in ("ra", "dec"):
            if column in known:
                places.setdefault(column, known[column])
        named = [place for place, name in enumerate(names) if NAMES["id"].fullmatch(_plain(name))]
        if named:
            places.setdefault("id", (named[0], ""))
        rows = [[_field(fields, place, names, column) for column, (place, _) in places.items()] for _, fields in lines]
    columns = dict(zip(places, zip(*rows, strict=True) if rows else [()] * len(places), strict=True))
    units = {column: unit for column, (_, unit) in places.items()}
    return _positions(path, columns, units, names)


def _field(fields, place, names, column):
    # A decimal comma, or 10 20 30 between spaces: nobody knows which field belongs to which column.
    if column != "id" and any(fields[len(names) :]):
        return "more fields than columns"
    return "".join(fields[place : place + 1])


def unit_in_name(column, name):
    """Return the unit that the name of a column of positions states; empty where it states none."""
    fit = column in NAMES and NAMES[column].fullmatch(_plain(name))
    return (fit.group(1) or "") if fit else ""


def _read_parquet_positions(path, told):
    import pyarrow.parquet as pq

    with explain_read_errors("The table cannot be read.", path), pq.ParquetFile(path) as file:
        found = find_columns(file.schema_arrow, told, path)
        table = file.read(columns=list(found.values()))
        columns = {column: table[name].to_pylist() for column, name in found.items()}
    units = {column: unit_in_name(column, name) for column, name in found.items()}
    return _positions(path, columns, units, file.schema_arrow.names)


def _positions(path, columns, units, names):
    if missing := [column for column in ("ra", "dec") if column not in columns]:
        problem = f"The table has no column {' and no column '.join(missing)}."
        remedy = 'name the columns ra and dec, or say how they are called: columns={"ra": "ALPHA_J2000", …} '
        remedy += "(in a terminal: --column ra=ALPHA_J2000)"
        found = ", ".join(map(str, names[:20])) or "no names of columns"
        raise DataError(problem, where=path, expected="positions in degrees or sexagesimal", found=found, remedy=remedy)
    ra, dec, problems, is_stated = [], [], {}, bool(units["ra"])
    for row, texts in enumerate(zip(columns["ra"], columns["dec"], strict=True)):
        values, texts = (np.nan, np.nan), ["" if text is None else str(text) for text in texts]
        try:
            values = parse_position(*texts, units["ra"], units["dec"])
            is_stated |= bool(re.search(r"\d\s*[:hd°]|\d\s+\d", texts[0]))
            if np.isnan(values[0]):
                problems[row] = "no position"
        except ValueError as error:
            problems[row] = str(error)
        ra.append(values[0])
        dec.append(values[1])
    answer = 'columns={"ra": "…"}, with a column that is called ra_deg, ra_hours or ra_rad'
    if len(problems) < len(ra):
        known = np.array(ra), np.array(dec)
        ra, dec = check_positions(*known, f"{path}, column ra", "d" if is_stated else "", answer)
        ra, dec = ra.tolist(), dec.tolist()
    names = columns.get("id") or [f"row {row}" for row in range(len(ra))]
    return [str(name) for name in names], ra, dec, problems
