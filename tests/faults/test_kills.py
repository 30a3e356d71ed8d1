"""Processes killed at random moments: what is started again ends as if nothing had happened."""

import concurrent.futures
import hashlib
import http.server
import json
import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest
import works
from distributed import Client, LocalCluster
from harness import WHOLE_TABLE, kill_at_random, recorded

import galaxy_utils as gu

WORKERS = "a worker of a cluster, while it makes a catalogue"
KILLS = 20 if WHOLE_TABLE else 1
# Networks are compiled anew after each kill: in CI a sample of them has to do.
TRAININGS = works.TRAININGS if WHOLE_TABLE else (works.three_block_cnn,)
# Of what is computed once, the one that starts processes of its own, which must not outlive it, and one that does not.
COMPUTED = works.WORKS[:4] if WHOLE_TABLE else (works.simulate, works.image_folder)


@pytest.mark.parametrize("work", COMPUTED)
def test_what_is_computed_once(work, tmp_path):
    with recorded("Killed", work.__doc__.rstrip(".")) as outcome:
        outcome.add_all(kill_at_random(work, tmp_path, KILLS))


def check_epochs(folder):
    """No epoch is trained again that was finished before: after each begun epoch comes the same or the next."""
    epochs = [int(line) for line in (folder / "notes").read_text().split()]
    steps = np.diff(epochs)
    return [] if set(steps.tolist()) <= {0, 1} else [f"epochs began in the order {epochs}"]


@pytest.mark.parametrize("work", TRAININGS)
def test_training(work, tmp_path):
    with recorded("Killed", work.__doc__.rstrip(".")) as outcome:
        outcome.add_all(kill_at_random(work, tmp_path, KILLS, check=check_epochs))


def test_the_ledger_has_lost_no_completed_round(tmp_path):
    with recorded("Killed", works.ledger.__doc__.rstrip(".")) as outcome:
        outcome.add_all(kill_at_random(works.ledger, tmp_path, KILLS))


def test_small_files_are_always_whole(tmp_path):
    with recorded("Killed", works.small_files.__doc__.rstrip(".")) as outcome:
        outcome.add_all(kill_at_random(works.small_files, tmp_path, KILLS, rewrites=True))


@pytest.mark.skipif(not WHOLE_TABLE, reason="one kill of it is among the tests of the catalogue")
def test_a_catalogue_has_every_row_once(tmp_path):
    with recorded("Killed", works.catalogue.__doc__.rstrip(".")) as outcome:
        outcome.add_all(kill_at_random(works.catalogue, tmp_path, KILLS))


def kill_a_worker(cluster, random, seconds):
    """Kill one worker of a cluster at a random moment; return the number of its process.

    One that works: dask gives up a worker that dies while it starts, and the cluster would end without any.
    """
    time.sleep(random.uniform(0, seconds))
    while True:
        for nanny in random.permutation(list(cluster.workers.values())):
            if nanny.status.name == "running" and (number := nanny.pid):
                os.kill(number, signal.SIGKILL)
                return number
        time.sleep(0.1)


@pytest.mark.skipif(not WHOLE_TABLE, reason="a killed run of two workers is among the tests of the catalogue")
def test_a_catalogue_outlives_its_workers(tmp_path):
    random = np.random.default_rng(1)
    own, classifier = works.own_galaxies(tmp_path)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client, recorded("Killed", WORKERS) as outcome:
        start = time.perf_counter()
        expected = pd.read_parquet(gu.classify(own, classifier, tmp_path / "all.parquet", client, part_size=4))
        seconds = time.perf_counter() - start
        for number in range(KILLS):
            with concurrent.futures.ThreadPoolExecutor(1) as threads:
                killed = threads.submit(kill_a_worker, cluster, random, seconds)
                output = gu.classify(own, classifier, tmp_path / f"{number}.parquet", client, part_size=4)
                assert killed.result()
            same = pd.read_parquet(output).equals(expected) and not list(output.glob(".*.partial"))
            outcome.add(1, [] if same else [f"kill {number}: another catalogue"])


class SlowServer(http.server.BaseHTTPRequestHandler):
    """Serves one file, also from any byte on, slowly enough to be killed in between; notes where it was to begin."""

    content = np.random.default_rng(1).bytes(works.DOWNLOAD_BYTES)
    piece, pause = 200_000, 0.02

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.asked.append(start)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(self.content) - start))
        self.send_header("ETag", '"version-1"')
        self.end_headers()
        for place in range(start, len(self.content), self.piece):
            self.wfile.write(self.content[place : place + self.piece])
            time.sleep(self.pause)

    def log_message(self, *arguments):
        """Say nothing: the test's own output is enough."""


def test_a_download_goes_on_where_it_was(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowServer) as server:
        server.handle_error = lambda *arguments: None  # a client that was killed is the point here, not an error
        server.asked = []

        def check_starts(folder):
            """Each process asked for what was missing when it began, and for nothing twice."""
            asked, server.asked = server.asked, []
            had = {int(line) for line in (folder / "notes").read_text().split()}
            return [] if had <= set(asked) and asked == sorted(asked) else [f"it had {had} and asked from {asked}"]

        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        about = {
            "address": f"http://127.0.0.1:{server.server_port}/file",
            "checksum": hashlib.sha256(SlowServer.content).hexdigest(),
        }
        (tmp_path / "server.json").write_text(json.dumps(about))
        with recorded("Killed", works.download_file.__doc__.rstrip(".")) as outcome:
            outcome.add_all(kill_at_random(works.download_file, tmp_path, KILLS, check=check_starts))
        server.shutdown()
