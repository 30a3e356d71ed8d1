"""What programs that store per-galaxy predictions share: a file per network, put together into an array per method.

A network's probabilities are written (float16, atomically, under a lock) as soon as it is trained, so a program can
be killed at any moment, and several processes can share the work. What takes longer than one machine is at hand is
handed on with `--keep`: it packs finished networks that are not collected yet into `…_unfinished.npz` beside the
output, which is committed; the program takes up both wherever it is started next. Delete that file when the last seed
is collected.
"""

import argparse
import hashlib
import itertools
import json
import os
import shlex
import sys
from pathlib import Path

import numpy as np
from cross_validation import describe_machine, make_folds

import galaxy_utils as gu
from galaxy_utils.files import artifacts_folder, locked, write_atomically, write_json


def arguments(description, methods, output, folds, seeds):
    """Return a parser of the options that these programs have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("real_folder", type=Path)
    parser.add_argument("--folds", type=int, default=folds)
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--seed", type=int, default=1, help="seed of the folds")
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument("--jobs", default="1/1", help="this process's share of the folds, such as 1/2")
    parser.add_argument("--collect", action="store_true", help="train nothing, put together what is there")
    parser.add_argument("--keep", action="store_true", help="train nothing, pack what is there for another machine")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name(output))
    return parser


def folder_of(galaxies, options, settings):
    """The folder for predictions of single networks on these galaxies, folds and settings, and on no others."""
    about = [galaxies.fingerprint, options.folds, options.seed, settings]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    folder = artifacts_folder() / options.output.name / f"predictions_{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def path_of(folder, method, seed, fold):
    """Where the probabilities of one network are kept."""
    return folder / f"{method.replace(', ', '_').replace(' ', '_')}_seed{seed}_fold{fold}.npy"


def unfinished_path(options):
    """The file in which finished networks are handed on."""
    return options.output.with_name(f"{options.output.name}_unfinished.npz")


def collected_networks(folder, galaxies, options, settings):
    """Return the networks that the collected file holds, one by one: of these galaxies, folds and settings, or none."""
    seeds = collected_seeds(galaxies, options, settings)
    if not seeds:
        return {}
    with np.load(options.output.with_suffix(".npz"), allow_pickle=False) as arrays:
        return {
            path_of(folder, method, seed, fold).stem: one[..., arrays["fold"] == fold, :]
            for method in seeds
            for seed, one in enumerate(arrays[method], start=1)
            for fold in range(options.folds)
        }


def collected_seeds(galaxies, options, settings):
    """Return {method: how many seeds} of the collected file, where it is of these galaxies, folds and settings."""
    arrays_path, about_path = (options.output.with_suffix(ending) for ending in (".npz", ".json"))
    if not (arrays_path.exists() and about_path.exists()):
        return {}
    about = json.loads(about_path.read_text(encoding="utf-8"))
    same = about["data"]["fingerprint"] == galaxies.fingerprint and about["settings"] == all_settings(options, settings)
    return about["seeds"] if same else {}


def command(options):
    """Return what was typed, with names in place of paths."""
    names = {getattr(options, name, None): name.upper() for name in ("real_folder", "sdss_folder")}
    words = []
    for word in sys.argv[1:]:
        head, equals, tail = word.rpartition("=")
        words.append(names.get(Path(word)) or f"{head}{equals}{Path(tail).name if os.sep in tail else tail}")
    return shlex.join(["python", f"book/measured/{Path(sys.argv[0]).name}", *words])


def all_settings(options, settings):
    """Settings as the JSON file has them."""
    return json.loads(json.dumps(settings | {"folds": options.folds, "seed_of_folds": options.seed}))


def keep(folder, collected, options):
    """Pack the predictions of finished networks that the collected file does not hold into one file."""
    path, finished = unfinished_path(options), sorted(folder.glob("*.npy"))
    networks = {each.stem: np.load(each) for each in finished if each.stem not in collected}
    with write_atomically(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, folder=np.array(folder.name), **networks)
    print(f"written: {path}: {len(networks)} networks")


def take_up(folder, collected, options):
    """Unpack networks that were finished elsewhere, on the same galaxies, folds and settings."""
    networks, packed = dict(collected), unfinished_path(options)
    if packed.exists():
        with np.load(packed, allow_pickle=False) as kept:
            if str(kept["folder"]) == folder.name:
                networks |= {name: kept[name] for name in set(kept) - {"folder"}}
            else:
                print(f"{packed.name} holds networks of other galaxies, folds or settings: left alone")
    for name, probabilities in networks.items():
        if not (path := folder / f"{name}.npy").exists():
            with write_atomically(path) as partial, open(partial, "wb") as file:
                np.save(file, probabilities)


def work(folder, options, train):
    """Train what is missing, seed by seed and fold by fold: at any time all methods have seen the same galaxies.

    Args:
        folder: Of `folder_of`.
        options: Of `arguments`.
        train: Function of `(method, seed, number of the fold)` that returns probabilities, shape (..., n, classes), of
            the fold's galaxies, and a line to print.
    """
    mine, of = map(int, options.jobs.split("/"))
    for seed in range(1, options.seeds + 1):
        for number in range(mine - 1, options.folds, of):
            for method in options.methods:
                path = path_of(folder, method, seed, number)
                with locked(path):
                    if path.exists():
                        continue
                    probabilities, line = train(method, seed, number)
                    with write_atomically(path) as partial, open(partial, "wb") as file:
                        np.save(file, probabilities.astype(np.float16))
                print(f"seed {seed}, fold {number + 1}, {method}: {line}", flush=True)


def collect(folder, galaxies, options, settings):
    """Put finished predictions together: one array per method, shape (seeds, ..., galaxies, classes), and a JSON file.

    A seed counts where all of its folds are there, one after the other. What the file held before, also of methods and
    seeds that were not asked for now, stays in it.
    """
    folds, groups = make_folds(galaxies, options.folds, options.seed)
    arrays, before = {}, collected_seeds(galaxies, options, settings)
    order = np.argsort(np.concatenate([fold.test for fold in folds]))
    for method in dict.fromkeys([*before, *options.methods]):
        seeds = max(options.seeds if method in options.methods else 0, before.get(method, 0))
        paths = [[path_of(folder, method, s, f) for f in range(options.folds)] for s in range(1, seeds + 1)]
        # Up to the first seed that is not whole: places in the array are the seeds' numbers.
        whole = list(itertools.takewhile(lambda each: all(path.exists() for path in each), paths))
        if whole:
            arrays[method] = np.stack([np.concatenate([np.load(p) for p in each], axis=-2) for each in whole])
            arrays[method] = arrays[method][..., order, :]
    fold_of = np.empty(len(galaxies), np.int8)
    for number, fold in enumerate(folds):
        fold_of[fold.test] = number
    own = {"labels": galaxies.labels.astype(np.int8), "groups": groups.astype(np.int32), "fold": fold_of}
    with write_atomically(options.output.with_suffix(".npz")) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **own, **arrays)
    content = {
        "command": command(options),
        "data": {"name": galaxies.name, "galaxies": len(galaxies), "fingerprint": galaxies.fingerprint},
        "class_names": list(galaxies.class_names),
        "settings": all_settings(options, settings),
        "seeds": {method: len(array) for method, array in arrays.items()},
        **describe_machine(),
    }
    write_json(options.output.with_suffix(".json"), json.loads(json.dumps(content)))
    print(f"written: {options.output.with_suffix('.npz')}: {content['seeds']}")


def run(options, prepare_training, settings):
    """Load the galaxies, do what is missing, put it together."""
    galaxies = gu.load(options.real_folder)
    folder = folder_of(galaxies, options, settings)
    collected = collected_networks(folder, galaxies, options, settings)
    take_up(folder, collected, options)
    if options.keep:
        keep(folder, collected, options)
        return
    if not options.collect:
        work(folder, options, prepare_training(galaxies, *make_folds(galaxies, options.folds, options.seed)))
    collect(folder, galaxies, options, settings)
