"""Bad files, made by the hundred from good ones, and what opens them.

A `Kind` writes one good file into a folder and knows how it is opened; `opened` returns a text that is equal for equal
content. Its bad files come from damage that can happen to any file (`DAMAGES`) and from hands that know the format.
"""

import csv
import functools
import io
import json
import os
import pickle
import runpy
import shutil
import struct
import sys
import time
import zipfile
import zlib
from dataclasses import dataclass

import h5py
import numpy as np
from harness import REPOSITORY
from PIL import Image
from toy_answers import toy_prediction, toy_survey
from toy_galaxies import toy_galaxies, toy_split
from works import SIDE, digest, toy_backbone

import galaxy_utils as gu
from galaxy_utils.errors import GalaxyUtilsError
from galaxy_utils.files import cache_folder
from galaxy_utils.models import transfer

GALAXIES = 24
# Seconds of computing in which every bad file has to be refused.
LONGEST_REFUSAL = 20


# Damage that can happen to any file


def truncated(content, random):
    return content[: random.integers(len(content))]


def with_flipped_bits(content, random):
    damaged = bytearray(content)
    for place in random.integers(len(damaged), size=random.choice([1, 3, 30])):
        damaged[place] ^= 1 << random.integers(8)
    return bytes(damaged)


def with_flipped_bits_in_front(content, random):
    front = min(len(content), 1024)
    return with_flipped_bits(content[:front], random) + content[front:]


def with_a_block_of_zeros(content, random):
    start = random.integers(len(content))
    length = random.integers(1, 4096)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def with_a_block_of_noise(content, random):
    start = random.integers(len(content))
    length = random.integers(1, 4096)
    return content[:start] + random.bytes(len(content[start : start + length])) + content[start + length :]


def with_bytes_left_out(content, random):
    start = random.integers(len(content))
    return content[:start] + content[start + random.integers(1, 100) :]


def with_bytes_put_in(content, random):
    start = random.integers(len(content))
    return content[:start] + random.bytes(int(random.integers(1, 100))) + content[start:]


def twice(content, random):
    return content + content


def empty(content, random):
    return b""


def noise(content, random):
    return random.bytes(5000)


def a_web_page(content, random):
    return b"<!DOCTYPE html><html><title>Sign in</title></html>\n" * 40


def a_pickle(content, random):
    return pickle.dumps(os.system)


DAMAGES = (
    truncated,
    with_flipped_bits,
    with_flipped_bits_in_front,
    with_a_block_of_zeros,
    with_a_block_of_noise,
    with_bytes_left_out,
    with_bytes_put_in,
    twice,
    empty,
    noise,
    a_web_page,
    a_pickle,
)


# Hands that know JSON

ODD_VALUES = (
    None,
    True,
    -1,
    0,
    2**70,
    1.5e308,
    float("nan"),
    float("inf"),
    "",
    "0.5",
    "../../../etc/passwd",
    "\ud800",
    "\x00",
    [],
    {},
    [[[]]],
    {"a": 1},
    list(range(50)),
)


def places_in(value, path=()):
    """Return the paths to all values in something made of dictionaries and lists."""
    found = [path]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        found += places_in(member, (*path, key))
    return found


def with_an_odd_value(content, random):
    content = json.loads(json.dumps(content))
    places = [place for place in places_in(content) if place]
    # A few values high up decide more than the thousands in long lists.
    places = [place for place in places if len(place) <= 2] if random.random() < 0.7 else places
    *way, last = places[random.integers(len(places))]
    parent = functools.reduce(lambda value, key: value[key], way, content)
    if random.random() < 0.3:
        del parent[last]
    else:
        parent[last] = ODD_VALUES[random.integers(len(ODD_VALUES))]
    return content


def edited_json(content, random):
    odd = [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000, b'"text"', b"[]", b"{}", b"null", "\ufeff{}".encode()]
    if random.random() < 0.2:
        return odd[random.integers(len(odd))]
    return json.dumps(with_an_odd_value(json.loads(content), random)).encode()


def edited_lines(content, random):
    """Put an odd value into one line of a ledger."""
    lines = content.splitlines()
    chosen = random.integers(len(lines))
    lines[chosen] = json.dumps(with_an_odd_value(json.loads(lines[chosen]), random)).encode()
    return b"\n".join(lines) + b"\n"


# Hands that know NumPy's archives


def edited_npz(content, random):
    """Exchange, pack, leave out or add arrays, as NumPy itself would write them."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    name = list(arrays)[random.integers(len(arrays))]
    odd = [
        np.zeros(0),
        np.full(arrays[name].shape, "text"),
        np.zeros(3, complex),
        np.array({"a": 1}, dtype=object),
        np.zeros((2, 3, 4)),
        np.array("{}"),
        np.array(json.dumps({"format": 1})),
    ]
    choice = random.integers(5)
    save = np.savez
    if choice == 0:
        del arrays[name]
    elif choice == 1:
        arrays["../../outside"] = np.zeros(3)
    elif choice == 2:
        # Four gigabytes of zeros in some kilobytes would take a real bomb seconds to make: a packed array is one.
        save, arrays[name] = np.savez_compressed, np.zeros(3_000_000)
    else:
        arrays[name] = odd[random.integers(len(odd))]
    written = io.BytesIO()
    save(written, **arrays)
    return written.getvalue()


def npz_with_a_vast_array(content, random):
    """Name an array of terabytes, of which a few bytes are there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for number in range(3):
            archive.writestr(f"model_{number}.npy", header.getvalue())
        archive.writestr("content.npy", header.getvalue())
    return written.getvalue()


ARCHIVES = (*4 * (edited_npz,), npz_with_a_vast_array)


def npy_with_another_header(content, random):
    """A sound file of NumPy that holds something else."""
    written = io.BytesIO()
    odd = [
        np.zeros((3, 4)),
        np.zeros((2, 8, 8, 3), np.uint8),
        np.array(["a"]),
        np.zeros((2, 2), order="F"),
        np.array(1),
    ]
    np.save(written, odd[random.integers(len(odd))])
    return written.getvalue()


# Hands that know HDF5


def edited_hdf5(content, random):
    """Exchange, leave out or spoil a column."""
    memory = io.BytesIO(content)
    with h5py.File(memory, "a") as file:
        names = []
        file.visititems(lambda name, member: names.append(name) if isinstance(member, h5py.Dataset) else None)
        name = names[random.integers(len(names))]
        values, num = file[name][:], len(file[name])
        del file[name]
        odd = [
            values[:-1],
            values.astype(np.float64) * np.nan,
            np.full(num, b"text"),
            values[None],
            np.zeros(0, values.dtype),
            np.array(3),
            values.astype(np.complex64),
            np.full(values.shape, 300, np.int16),
            np.full(values.shape, -1.0),
        ]
        choice = random.integers(len(odd) + 5)
        if choice < len(odd):
            file[name] = odd[choice]
        elif choice == len(odd):
            file.create_group(name)
        elif choice == len(odd) + 1:
            file[name] = h5py.SoftLink("/nowhere")
        elif choice == len(odd) + 2:
            file[name] = h5py.ExternalLink("nowhere.h5", "/images")
        elif choice == len(odd) + 3:
            # As many entries as no memory holds; none of them is stored.
            file.create_dataset(name, (10**13, *values.shape[1:]), values.dtype, chunks=(1000, *values.shape[1:]))
    return memory.getvalue()


# Hands that know pictures


def png_of_size(width, height, depth=8, colour=2):
    """Write only the header of a picture: it may say any size."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(image, format, **options):
    written = io.BytesIO()
    image.save(written, format, **options)
    return written.getvalue()


def odd_picture(content, random):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue", "green")]
    makers = [
        lambda: png_of_size(60_000, 60_000),
        lambda: png_of_size(2**31 - 1, 2**31 - 1),
        lambda: png_of_size(0, 32),
        lambda: png_of_size(32, 32, depth=16),
        lambda: png_of_size(32, 32, depth=3),
        lambda: png_of_size(9000, 9000),
        lambda: saved(Image.new("I;16", (32, 32)), "PNG"),
        lambda: saved(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        lambda: saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        lambda: saved(Image.fromarray(np.full((32, 32), np.nan, np.float32)), "TIFF"),
        lambda: saved(frames[0], "EPS"),
        lambda: saved(frames[0], "BMP"),
        lambda: saved(frames[0].resize((8, 8)), "PNG"),
        lambda: saved(frames[0].resize((5000, 2)), "PNG"),
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n(/tmp/x) (w) file\n",
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ]
    return makers[random.integers(len(makers))]()


def odd_manifest(content, random):
    rows = list(csv.reader(io.StringIO(content.decode())))
    makers = [
        lambda: "file,ra,dec\nround/0.png,1,1\n".encode("utf-16"),
        lambda: "file,ra,dec\nround/0.png,é,1\n".encode("latin-1"),
        lambda: b"file,ra,dec\n" + b"x" * 200_000 + b",1,1\n",
        lambda: b"file,ra,dec\nround/0.png,1\x00,1\n",
        lambda: b'file,ra,dec\n"round/0.png,1,1\n',
        lambda: b"file,ra,dec\n../own/round/0.png,1,1\n",
        lambda: b"file,ra,dec\n/etc/passwd,1,1\n",
        lambda: b"file;ra;dec\nround/0.png;1;1\n",
        lambda: b"file,ra,dec\nround/0.png,1e999,1\n",
        lambda: b"file,ra,dec\nround/0.png,10:20:30,-5:00:00\n",
        lambda: b"file,ra,dec\nround/0.png,,1\n",
        lambda: "\n".join(",".join(row[:-1]) for row in rows).encode(),
        lambda: "\n".join(",".join(reversed(row)) for row in rows[1:]).encode(),
    ]
    return makers[random.integers(len(makers))]()


# What is opened


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: For people.
        write: Function of a folder that writes a good file and returns its path; called once.
        opened: Function of that path that reads it and returns a text for its content.
        makers: What makes bad files from good ones, as functions of its bytes and random numbers.
        certain: Makers whose every change is noticed: a file that is opened then has its old content, or its beginning.
        remade: Whether a damaged file is no error but made again.
    """

    name: str
    write: object
    opened: object
    makers: tuple
    certain: tuple = ()
    remade: bool = False


def write_survey(folder):
    path, random = folder / "survey.h5", np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        images = random.integers(0, 256, (GALAXIES, 32, 32, 3), dtype=np.uint8)
        file.create_dataset("images", data=images, chunks=(4, 32, 32, 3), compression="gzip")
        file["ans"] = (np.arange(GALAXIES) % 10).astype(np.uint8)
        for key in ("ra", "dec", "redshift", "pxscale"):
            file[key] = random.uniform(0.1, 80, GALAXIES)
        file["vote_fractions"] = random.dirichlet(np.ones(10), GALAXIES).astype(np.float32)
        file.attrs["simulated"] = True
    return path


def open_survey(path):
    galaxies = gu.load(path)
    return digest(np.asarray(gu.prepare(galaxies, 8).images), galaxies.labels, str(galaxies))


def write_folder(folder, suffix=".png"):
    random = np.random.default_rng(1)
    for number in range(4):
        path = folder / "own" / ("round", "spiral")[number % 2] / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return folder / "own" / "round" / f"0{suffix}"


def write_manifest(folder):
    path = write_folder(folder).parents[1] / "manifest.csv"
    path.write_text("file,ra,dec\nround/0.png,1.5,2.5\nspiral/1.png,33.5,-4.5\n")
    return path


def open_folder_of(path):
    folder = path.parent if path.suffix == ".csv" else path.parents[1]
    galaxies = gu.load(folder)
    return digest(np.asarray(galaxies.images), galaxies.labels, str(galaxies.ra))


@functools.cache
def network():
    return gu.models.three_block_cnn(SIDE, 4)


def train(path):
    recipe = gu.Recipe("short", epochs=1, batch_size=32, learning_rate=1e-3, restore_best_weights=True)
    return gu.fit(network(), toy_galaxies(64, SIDE), toy_split(64), recipe, checkpoint=path, progress=False)


def write_checkpoint(folder):
    train(folder / "artifacts" / "checkpoint.npz")
    return folder / "artifacts" / "checkpoint.npz"


def open_checkpoint(path):
    run = train(path)
    return digest(run.history, *network().get_weights())


def backbone(weights):
    with toy_backbone():
        return gu.models.backbone_classifier("toy", 32, 4, trainable_layers=0, weights=weights, seed=1)


def write_weights(folder):
    path = folder / "toy.weights.h5"
    _template().save_weights(path)
    return path


def open_weights(path):
    # The weights alone: building the whole network takes seconds each time.
    template = _template()
    transfer._load_weights(template, path, "Toy")
    return digest(*template.get_weights())


def open_weights_of(value):
    """Hand anything over as weights."""
    return backbone(value) if value is not None else open_weights(REPOSITORY)


@functools.cache
def _template():
    with toy_backbone():
        return transfer._build_backbone("toy", 32)


def write_report(folder):
    galaxies, parts, run = toy_galaxies(64, SIDE), toy_split(64), train(None)
    scores = gu.baselines(galaxies, parts, bootstrap_samples=20)["majority class"]
    return gu.write_report("chapter", "model", scores, run=run, split=parts, dataset=galaxies, profile="smoke")


def open_report(path):
    return digest(gu.read_report(path))


def write_ledger(folder):
    path = folder / "artifacts" / "ledger.jsonl"
    book = gu.Ledger.create(path, *toy_survey(), seeds=(1, 2))
    for number in range(3):
        book.play(
            f"round {number}",
            lambda one, seed: toy_prediction(toy_survey(), seed, 1.0 + one.factors["width"]),
            gu.recipes.THREE_BLOCK_CNN,
            width=number,
        )
    return path


def open_ledger(path):
    book = gu.Ledger(path)
    str(book)
    book.table()
    return digest([(one.name, one.verdict, one.kl) for one in book.replay()])


def write_answers(folder):
    path = folder / "artifacts" / "answers.npz"
    toy_prediction(toy_survey(), 1).save(path)
    return path


def open_answers(path):
    return digest(*vars(gu.Prediction.load(path)).values())


def write_split(folder):
    path = folder / "artifacts" / "split.json"
    gu.split(toy_galaxies()).save(path)
    return path


def open_split(path):
    return gu.Split.load(path, toy_galaxies()).hash


def _only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


def write_prepared(folder):
    gu.prepare(toy_galaxies(), 8)
    return _only(cache_folder() / "prepared", "*.npy")


def open_prepared(path):
    return digest(np.asarray(gu.prepare(toy_galaxies(), 8).images))


def write_decoded(folder):
    open_folder_of(write_folder(folder))
    return _only(cache_folder() / "folders", "*.npy")


def open_decoded(path):
    return digest(np.asarray(gu.load(path.parents[2] / "own").images))


@functools.cache
def short_backbone():
    return backbone(None)


def write_features(folder):
    gu.cache_frozen_features(short_backbone(), toy_galaxies(16, 32), progress=False)
    return _only(cache_folder() / "frozen_features", "*.npy")


def open_features(path):
    return digest(np.asarray(gu.cache_frozen_features(short_backbone(), toy_galaxies(16, 32), progress=False).images))


@functools.cache
def build_program():
    return runpy.run_path(str(REPOSITORY / "book" / "tools" / "build.py"))


def write_build_record(folder):
    path = folder / "01_chapter.json"
    path.write_text('{"key": "0123", "seconds": 1.5}')
    return path


def open_build_record(path):
    found = build_program()["_read_json"](path)
    return "made again" if not isinstance(found, dict) else digest(found)


# Pixels, numbers in a report and names carry no checksum: what is damaged there can be sound by itself. A cache is
# mapped into memory and only its form is looked at; a file of the right form was written by this package. Archives of
# arrays carry checksums, so that damage is noticed, and what a hand has put in their place is not.
KINDS = (
    Kind("survey in HDF5", write_survey, open_survey, (*DAMAGES, *6 * (edited_hdf5,))),
    Kind("PNG in a folder", write_folder, open_folder_of, (*DAMAGES, *8 * (odd_picture,))),
    Kind("JPEG in a folder", functools.partial(write_folder, suffix=".jpg"), open_folder_of, DAMAGES),
    Kind("manifest of a folder", write_manifest, open_folder_of, (*DAMAGES, *8 * (odd_manifest,))),
    Kind("checkpoint", write_checkpoint, open_checkpoint, (*DAMAGES, *ARCHIVES), certain=DAMAGES),
    Kind("weights", write_weights, open_weights, (*DAMAGES, *4 * (edited_hdf5,))),
    Kind("report", write_report, open_report, (*DAMAGES, *12 * (edited_json,))),
    Kind("ledger", write_ledger, open_ledger, (*DAMAGES, *8 * (edited_lines,))),
    Kind("answers", write_answers, open_answers, (*DAMAGES, *ARCHIVES), certain=DAMAGES),
    Kind("split", write_split, open_split, (*DAMAGES, *6 * (edited_json,)), certain=(*DAMAGES, edited_json)),
    Kind("prepared images", write_prepared, open_prepared, (*DAMAGES, npy_with_another_header), remade=True),
    Kind("decoded folder", write_decoded, open_decoded, (*DAMAGES, npy_with_another_header), remade=True),
    Kind("frozen features", write_features, open_features, (*DAMAGES, npy_with_another_header), remade=True),
    Kind("record of the build", write_build_record, open_build_record, (*DAMAGES, edited_json), remade=True),
)


def try_bad_files(kind_name, count, first, folder, begin, note):
    """Open bad files of a kind; note for each of them what happened. A work of the harness.

    Each is made from a number of its own, so that a later process can go on behind one that ended this one.
    """
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    shutil.rmtree(folder / "cache")
    path = kind.write(folder)
    good, expected = path.read_bytes(), kind.opened(path)
    written = Written(folder / "cache", folder / "artifacts")
    begin()
    for number in range(first, count):
        random = np.random.default_rng([number, zlib.crc32(kind_name.encode())])
        maker = kind.makers[number % len(kind.makers)]
        bad = maker(good, random)
        written.pause = True
        path.write_bytes(bad)
        written.pause = False
        note(json.dumps([number, maker.__name__, "began"]))
        start = time.process_time()
        try:
            found = kind.opened(path)
            what = "opened"
            if maker in kind.certain and found != expected:
                what = "other content taken for the right one"
            if path.suffix == ".npy" and len(bad) != len(good) and found != expected:
                what = "an array of another length was not made again"
        except GalaxyUtilsError as error:
            what = "refused" if len(str(error)) > 20 and not kind.remade else f"not made again: {error}"
        except Exception as error:
            what = f"another error: {type(error).__name__}: {error}"
        if (seconds := time.process_time() - start) > LONGEST_REFUSAL:
            what = f"{seconds:.0f} s for: {what}"
        if written:
            what = f"wrote {written}: {what}"
            written.clear()
        note(json.dumps([number, maker.__name__, what]))
    return "done"


class Written(list):
    """Paths outside the allowed folders that were opened for writing, made, moved or removed, as Python notes them."""

    def __init__(self, *allowed):
        super().__init__()
        self.allowed, self.pause = tuple(str(folder.resolve()) for folder in allowed), False
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.pause:
            return
        if event == "open":
            path, mode, flags = arguments
            paths = [path] if set(str(mode or "")) & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR) else []
        elif event in ("os.rename", "os.link", "os.symlink", "shutil.move"):
            paths = arguments[:2]
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.system", "subprocess.Popen"):
            paths = arguments[:1]
        else:
            return
        for path in paths:
            is_name = isinstance(path, (str, bytes, os.PathLike))
            place = os.path.realpath(os.fsdecode(path)) if is_name else ""
            by_python = place == os.devnull or "__pycache__" in place  # a module compiled when it is first used
            if is_name and not by_python and not place.startswith(self.allowed):
                self.append(place)
