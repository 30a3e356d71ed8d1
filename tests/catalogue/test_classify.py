"""Own galaxies in, catalogue out: the same table from every source, by any number of workers, after any accident."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from toy_notebook import watched_run

import galaxy_utils as gu
from galaxy_utils.__main__ import main
from galaxy_utils.catalogue import run, work
from galaxy_utils.errors import ConfigurationError, DataError, StorageError

PROBABILITIES = ["p_Red_Small", "p_Blue_Small", "p_Red_Large", "p_Blue_Large"]


def expected(classifier, images):
    """What the catalogue must say, computed without it."""
    classifier = gu.load_classifier(classifier)
    return np.round(classifier.calibration.scaled(classifier.predict(images)), 4)


def test_a_folder_becomes_a_table_in_two_lines(folder, classifier, galaxies, tmp_path, capsys, client):
    path = gu.classify(folder, classifier, tmp_path / "catalogue.csv", client)
    told, table = capsys.readouterr().out, pd.read_csv(path)
    assert "24 galaxies in catalogue.csv" in told
    numbers = [int(Path(name).stem) for name in table["id"]]
    assert sorted(numbers) == list(range(24)) and list(table["id"]) == sorted(table["id"])
    np.testing.assert_allclose(table[PROBABILITIES], expected(classifier, galaxies.images[numbers]), atol=1e-4)
    calibration = gu.load_classifier(classifier).calibration
    confidence = table[PROBABILITIES].max(axis=1)
    assert (table["cannot_tell"] == (confidence < calibration.threshold)).all()
    assert (table["unlike_training"] == (table["feature_distance"] > calibration.distance_limit)).all()
    assert table["problem"].isna().all() and table["ra"].isna().all() and (table["entropy"] >= 0).all()
    whole = pd.read_parquet(tmp_path / "catalogue.parquet")
    assert whole["predicted"].tolist() == table["predicted"].tolist()
    about = json.loads(pq.read_schema(next((tmp_path / "catalogue.parquet").glob("part-*"))).metadata[b"galaxy_utils"])
    assert about["settings"]["classifier"] == work.hash_of(classifier) and about["versions"]["galaxy_utils"]
    assert about["calibration"]["threshold"] == calibration.threshold


def test_all_sources_give_the_same_probabilities(galaxies, classifier, tmp_path, client):
    images, kinds = galaxies.images[:20], ("png", "h5", "parquet")
    (tmp_path / "png").mkdir()
    content = []
    for number, image in enumerate(images):
        Image.fromarray(image).save(path := tmp_path / "png" / f"{number:03d}.png")
        content.append({"bytes": path.read_bytes(), "path": f"{number:03d}.png"})
    with h5py.File(tmp_path / "galaxies.h5", "w") as file:
        file["images"], file["ra"], file["pxscale"] = images, np.arange(20.0), np.full(20, 1.5)
        file["dec"] = np.arange(20) - 10.0
    (tmp_path / "shards").mkdir()
    for shard, rows in enumerate((slice(0, 13), slice(13, 20))):
        rows_of_shard = pa.table({"image": content[rows], "label": [0] * len(content[rows])})
        pq.write_table(rows_of_shard, tmp_path / "shards" / f"train-{shard:05d}-of-00002.parquet", row_group_size=5)
    tables = [
        pd.read_parquet(
            gu.classify(tmp_path / source, classifier, tmp_path / f"{kind}.parquet", part_size=8, client=client)
        )
        for kind, source in zip(kinds, ("png", "galaxies.h5", "shards"), strict=True)
    ]
    for table in tables:
        np.testing.assert_allclose(table[PROBABILITIES], expected(classifier, images), atol=1e-4)
        assert table[PROBABILITIES].equals(tables[0][PROBABILITIES])
    assert tables[1]["ra"].tolist() == list(range(20)) and tables[1]["id"][3] == "galaxies.h5 3"
    assert tables[2]["id"].tolist() == [one["path"] for one in content] == tables[0]["id"].tolist()


def test_what_cannot_be_used_is_a_row_with_a_reason(folder, classifier, tmp_path, capsys, client):
    whole = (folder / "001.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<html>not here</html>")
    (folder / "cube.fits").write_text("no FITS")
    Image.new("RGB", (32, 32)).save(folder / "black.png")
    Image.new("RGB", (4, 4), "red").save(folder / "tiny.png")
    (folder / "away.png").symlink_to(tmp_path / "nowhere.png")
    (folder / "notes.txt").write_text("nothing to read here")
    table = pd.read_csv(gu.classify(folder, classifier, tmp_path / "catalogue.csv", client)).set_index("id")
    told = capsys.readouterr().out
    assert "7 unreadable" in told and "1 file of own left out: 1 .txt" in told and len(table) == 31
    reasons = {"cut.png": "cannot be decoded", "empty.jpg": "an empty file", "page.jpg": "cannot be opened"}
    reasons |= {"cube.fits": "as FITS", "black.png": "blank", "tiny.png": "tiny", "away.png": "broken link"}
    for name, reason in reasons.items():
        assert reason in table.loc[name, "problem"] and table.loc[[name], PROBABILITIES].isna().all(axis=None), name
    assert table["problem"].isna().sum() == 24
    # Flags without gaps: a column with some is one of objects, and no mask.
    for flags in (table, pd.read_parquet(tmp_path / "catalogue.parquet").set_index("id")):
        assert flags[["cannot_tell", "unlike_training"]].dtypes.tolist() == [bool, bool]
        assert flags.loc[list(reasons), "cannot_tell"].all() and not flags.loc[list(reasons), "unlike_training"].any()
    assert "(most often: " in told


def test_where_nothing_can_be_used_it_says_why(folder, classifier, tmp_path, capsys, client):
    gu.classify(folder, classifier, tmp_path / "catalogue.csv", client, pixel_scale=1e-3)
    assert "all unreadable (most often: " in (told := capsys.readouterr().out) and "arcsec" in told


def test_no_file_of_somebody_else_is_replaced(folder, classifier, tmp_path, client):
    positions, notes = tmp_path / "positions.csv", tmp_path / "notes.csv"
    positions.write_text("ra,dec,redshift\n150.1,2.2,0.03\n")
    notes.write_text("mine\n")
    with pytest.raises(ConfigurationError, match="replace its own source"):
        gu.classify(positions, classifier, positions, client)
    with pytest.raises(ConfigurationError, match=r"(?s)something else.*notes\.csv"):
        gu.classify(folder, classifier, notes, client)
    assert "redshift" in positions.read_text() and notes.read_text() == "mine\n"
    assert not list(tmp_path.glob("*.parquet"))


PROGRAM = """
import galaxy_utils as gu
gu.classify({folder!r}, {classifier!r}, {output!r}, workers={workers}, part_size=4)
"""


def program(folder, classifier, output, workers):
    """Three lines in a file, without a guarded main module, in a process of their own."""
    path = output.with_suffix(".py")
    text = PROGRAM.format(folder=str(folder), classifier=str(classifier), output=str(output), workers=workers)
    path.write_text(text)
    return [sys.executable, str(path)]


def content_of(path):
    return pd.read_parquet(path)


def test_killed_and_begun_again_by_two_workers_it_is_what_one_makes(folder, classifier, tmp_path, client):
    one = gu.classify(folder, classifier, tmp_path / "one.parquet", client=client, part_size=4)
    output, random = tmp_path / "two.parquet", np.random.default_rng(1)
    command = program(folder, classifier, output, 2)
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Until something is there, and a moment longer.
    end = time.monotonic() + 120
    while not list(output.glob("part-*")) and killed.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.05))
    killed.kill()
    killed.wait()
    made = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    assert made
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0 and "24 galaxies" in done.stdout, done.stderr
    assert made.items() <= {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}.items()
    pd.testing.assert_frame_equal(content_of(output), content_of(one))
    assert not list(output.glob(".*.partial"))


def test_workers_that_all_die_end_the_wait(folder, classifier, tmp_path, monkeypatch):
    """A worker killed while it starts is not replaced by dask, whose scheduler then waits for another for ever."""
    from distributed import Client, LocalCluster

    monkeypatch.setattr(run, "LONGEST_WAIT", 1)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    predict, output = work._predict, tmp_path / "catalogue.parquet"
    with LocalCluster(**options) as cluster, Client(cluster) as client:

        def predict_and_leave(network, images):
            if len(list(output.glob("part-*"))) == 2:
                cluster.scale(0)
            return predict(network, images)

        monkeypatch.setattr(work, "_predict", predict_and_leave)
        with pytest.raises(ConfigurationError, match="no workers any more"):
            gu.classify(folder, classifier, output, client, part_size=4)
    assert 2 <= len(list(output.glob("part-*"))) < 6


def test_a_scheduler_that_goes_away_costs_no_row(folder, classifier, tmp_path, monkeypatch):
    import dask
    from distributed import Client, LocalCluster

    monkeypatch.setattr(run, "LONGEST_WAIT", 1)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    predict, calls, dying = work._predict, [], [3]
    output = tmp_path / "catalogue.parquet"
    impatient = dask.config.set({"distributed.comm.timeouts.connect": 1})  # half a minute otherwise, time and again
    with impatient, LocalCluster(**options) as cluster, Client(cluster, timeout=1) as client:

        def predict_and_die(network, images):
            calls.append(len(images))
            if len(calls) in dying:
                cluster.loop.add_callback(cluster.scheduler.close)
            return predict(network, images)

        monkeypatch.setattr(work, "_predict", predict_and_die)
        with pytest.raises(ConfigurationError, match="goes on where it stopped"):
            gu.classify(folder, classifier, output, client, part_size=4)
    done = len(list(output.glob("part-*")))
    assert 2 <= done < 6
    calls.clear()
    dying.clear()
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        gu.classify(folder, classifier, output, client, part_size=4)
        assert len(calls) <= 6 - done
        other = gu.classify(folder, classifier, tmp_path / "other.parquet", client, part_size=4)
    pd.testing.assert_frame_equal(content_of(output), content_of(other))


def test_a_full_disk_says_so_and_what_was_done_stays(folder, classifier, tmp_path, monkeypatch, client):
    write, written = pq.write_table, []

    def write_until_full(table, path, **options):
        written.append(path)
        if len(written) == 3:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(table, path, **options)

    monkeypatch.setattr(pq, "write_table", write_until_full)
    with pytest.raises(StorageError, match="no room"):
        gu.classify(folder, classifier, tmp_path / "catalogue.parquet", client=client, part_size=4)
    output = tmp_path / "catalogue.parquet"
    assert len(list(output.glob("part-*"))) == 2 and not list(output.glob(".*.partial"))
    gu.classify(folder, classifier, output, client=client, part_size=4)
    assert len(written) == 3 + 4 and len(content_of(output)) == 24


def test_only_what_changed_is_made_again(folder, classifier, tmp_path, client):
    output = gu.classify(folder, classifier, tmp_path / "catalogue.parquet", client=client, part_size=4)
    times = {path.name: path.stat().st_mtime_ns for path in output.glob("part-*")}
    os.utime(folder / "023.png", (1, 1))
    gu.classify(folder, classifier, output, client=client, part_size=4)
    changed = [path.name for path in output.glob("part-*") if path.stat().st_mtime_ns != times[path.name]]
    assert changed == ["part-000003.parquet"]
    # A shorter source leaves nothing of the longer one.
    shutil.rmtree(folder / "deep")
    gu.classify(folder, classifier, output, client=client, part_size=4)
    assert len(content_of(output)) == 16


def test_with_a_gpu_this_process_does_it_alone(folder, classifier, tmp_path, monkeypatch, client):
    expected = gu.classify(folder, classifier, tmp_path / "workers.parquet", client, part_size=8)
    monkeypatch.setattr("galaxy_utils.report.computing_device", lambda: {"accelerator": "a GPU", "cores": 2})
    monkeypatch.setattr("distributed.LocalCluster", None)
    alone = gu.classify(folder, classifier, tmp_path / "alone.parquet", part_size=8)
    pd.testing.assert_frame_equal(content_of(alone), content_of(expected))


def test_what_does_not_fit_is_refused_before_anything_is_computed(folder, classifier, tmp_path, monkeypatch, client):
    output = gu.classify(folder, classifier, tmp_path / "catalogue.parquet", client)
    with pytest.raises(ConfigurationError, match=r"(?s)another pixel_scale.*catalogue\.parquet.*pixel_scale: 2\.0"):
        gu.classify(folder, classifier, output, client, pixel_scale=2.0)
    (tmp_path / "other.parquet").mkdir()
    (tmp_path / "other.parquet" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="something else"):
        gu.classify(folder, classifier, tmp_path / "other.parquet", client)
    with pytest.raises(ConfigurationError, match=r"ends in \.parquet"):
        gu.classify(folder, classifier, tmp_path / "catalogue.fits")
    for source in (tmp_path / "nowhere", tmp_path / "own" / "000.gz"):
        with pytest.raises(ConfigurationError, match="no such file"):
            gu.classify(source, classifier, tmp_path / "new.parquet")
    (tmp_path / "void").mkdir()
    with pytest.raises(DataError, match="nothing to classify"):
        gu.classify(tmp_path / "void", classifier, tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"(?s)classifier cannot be read.*gu\.save_classifier wrote"):
        gu.classify(folder, folder / "001.png", tmp_path / "new.parquet")
    with pytest.raises(DataError, match=r"(?s)no such classifier.*check the path"):
        gu.classify(folder, "classifer.keras", tmp_path / "new.parquet")
    monkeypatch.setattr(run, "NEEDED", ("numpy", "dask_of_nobody"))
    with pytest.raises(ConfigurationError, match="pip install dask_of_nobody"):
        gu.classify(folder, classifier, tmp_path / "new.parquet", client)
    assert not (tmp_path / "new.parquet").exists()


def test_a_classifier_that_was_not_calibrated_says_so(folder, classifier, galaxies, tmp_path, capsys, client):
    plain = gu.save_classifier(tmp_path / "plain.keras", gu.load_classifier(classifier).model, galaxies.class_names)
    table = pd.read_parquet(gu.classify(folder, plain, tmp_path / "catalogue.parquet", client))
    told = capsys.readouterr().out
    assert "Not calibrated" in told and "which crop" in told
    assert table[["cannot_tell", "unlike_training", "feature_distance"]].isna().all(axis=None)
    np.testing.assert_allclose(table[PROBABILITIES].sum(axis=1), 1, atol=3e-4)


def test_the_command_line(folder, classifier, tmp_path, capsys):
    options = ["--classifier", str(classifier), "--output", str(tmp_path / "catalogue.csv")]
    assert main(["classify", str(folder), *options, "--pixel-scale", "1.5", "--workers", "1"]) == 0
    assert len(pd.read_csv(tmp_path / "catalogue.csv")) == 24
    # The package's own classifier, where none is named.
    assert main(["classify", str(folder), "--output", str(tmp_path / "ten.csv"), "--workers", "1"]) == 0
    assert {"p_Round_Smooth", "p_Edge_on_with_Bulge"} <= set(pd.read_csv(tmp_path / "ten.csv"))
    assert main(["classify", str(tmp_path / "nowhere"), *options]) == 1
    assert "This cannot be classified." in capsys.readouterr().err


def test_a_notebook_keeps_one_line_and_no_address(folder, classifier, tmp_path):
    code = f"import galaxy_utils as gu\ngu.classify({str(folder)!r}, {str(classifier)!r}, 'own.parquet', workers=1);"
    (bar, told), live = watched_run(code, tmp_path, timeout=300)
    line = bar.data["text/plain"]
    assert line.startswith("Classifying: 24 galaxies in ") and len(line.splitlines()) == 1
    assert told.text.startswith("24 galaxies in own.parquet")
    assert any("Dask's dashboard: http://127.0.0.1:" in text for text in live)


def test_nothing_of_it_is_loaded_before_it_is_used():
    program = "import galaxy_utils, sys; galaxy_utils.classify; print(*sorted(sys.modules))"
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"dask", "distributed", "pyarrow", "keras", "tensorflow", "astropy.wcs"} & set(child.stdout.split())
