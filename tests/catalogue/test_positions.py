"""Tables of positions: found, read, and their cut-outs fetched from a server on this machine that misbehaves."""

import http.server
import io
import socket
import threading
import time
import urllib.parse

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import galaxy_utils as gu
from galaxy_utils.catalogue import cutouts
from galaxy_utils.errors import ConfigurationError, DataError, DownloadError


class Survey(http.server.BaseHTTPRequestHandler):
    """Serves an image of every position; the whole degrees of declination say how it misbehaves."""

    faults = {
        10: "503 once", 11: "429 once", 12: "stalls once", 13: "web page", 14: "half an image", 15: "404",
        16: "web page once", 17: "503",
    }  # fmt: skip

    def do_GET(self):
        asked = {key: one[0] for key, one in urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query).items()}
        with self.server.lock:
            self.server.asked.append(asked | {"at": time.monotonic()})
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            first = sum(one["dec"] == asked["dec"] for one in self.server.asked) == 1
        time.sleep(0.02)
        try:
            self.answer(asked, self.faults.get(int(float(asked["dec"])), ""), first)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def answer(self, asked, fault, first):
        if fault[:3].isdigit() and (first or "once" not in fault):
            self.send_response(int(fault[:3]))
            self.send_header("Retry-After", "1" if fault.startswith("429") else "soon")
            return self.end_headers()
        pixels = np.random.default_rng(int(1e6 * float(asked["ra"]))).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize([int(asked["size"])] * 2, Image.Resampling.BICUBIC)
        image.save(content := io.BytesIO(), "JPEG")
        content, is_page = content.getvalue(), fault.startswith("web page") and (first or "once" not in fault)
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if is_page else "image/jpeg")
        self.end_headers()
        if fault == "stalls once" and first:
            self.wfile.write(content[:100])
            self.wfile.flush()
            self.server.released.wait(20)
        self.wfile.write(b"<html></html>" if is_page else content[: 1500 if fault == "half an image" else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def survey(monkeypatch):
    """The server; `address` is its template. Whoever asks is less patient than usual."""
    usual = cutouts.Cutouts.__init__

    def quick(self, *arguments, **options):
        usual(self, *arguments, **options, attempts=3, pause=0.02, timeout=1.0)

    monkeypatch.setattr(cutouts.Cutouts, "__init__", quick)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Survey) as server:
        server.handle_error = lambda *arguments: None
        server.asked, server.now, server.most = [], 0, 0
        server.lock, server.released = threading.Lock(), threading.Event()
        place = f"http://127.0.0.1:{server.server_address[1]}/cut"
        server.address = place + "?ra={ra}&dec={dec}&size={size}&pixscale={pixel_scale}&layer={layer}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


def test_a_table_becomes_a_catalogue_politely_and_only_once(survey, classifier, tmp_path, client):
    (tmp_path / "sky.csv").write_text(
        "# made by hand\nNAME;RA_J2000;DEC_J2000\n"
        "first;10:20:30;+5:30:00\nsecond;10h20m30s;-5d30m\nthird;155.125;nowhere\nfourth;;\n"
        + "".join(f"more {number};{20 + number}.5;30.25\n" for number in range(20))
    )
    options = {"address": survey.address, "layer": "test", "part_size": 8, "client": client, "connections": 3}
    output = gu.classify(tmp_path / "sky.csv", classifier, tmp_path / "catalogue.parquet", **options)
    table = pd.read_parquet(output).set_index("id")
    assert table.loc["first", ["ra", "dec"]].tolist() == [155.125, 5.5] and table.loc["second", "dec"] == -5.5
    assert "not two numbers" in table.loc["third", "problem"] and table.loc["fourth", "problem"] == "no position"
    assert table["problem"].isna().sum() == 22 and len(table) == 24
    assert survey.most <= 3 and len(survey.asked) == 22
    # Toy galaxies have 32 pixels of 1.5 arcseconds.
    assert {(one["size"], one["pixscale"], one["layer"]) for one in survey.asked} == {("184", "0.262", "test")}
    gu.classify(tmp_path / "sky.csv", classifier, tmp_path / "again.parquet", **options)
    assert len(survey.asked) == 22
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "again.parquet"), pd.read_parquet(output))


def test_a_server_that_stalls_lies_and_refuses_costs_only_what_it_does_not_give(
    survey, classifier, tmp_path, capsys, client
):
    declinations = [dec + 0.5 for pair in zip(range(10, 18), range(40, 48), strict=True) for dec in pair]
    positions = pd.DataFrame({"objid": np.arange(16), "ra": np.linspace(30, 200, 16), "dec": declinations})
    positions.to_parquet(tmp_path / "sky.parquet")
    options = {"address": survey.address, "client": client}
    output = gu.classify(tmp_path / "sky.parquet", classifier, tmp_path / "catalogue.parquet", **options)
    # The server that said "in a second" was given it.
    first, second = (one["at"] for one in survey.asked if float(one["dec"]) == 11.5)
    assert 1 <= second - first < 30
    table = pd.read_parquet(output)
    problems = table.set_index("dec")["problem"].dropna()
    assert sorted(problems.index) == [13.5, 14.5, 15.5, 17.5]
    for dec, reason in ((13.5, "web page"), (14.5, "cannot be decoded"), (15.5, "404"), (17.5, "503")):
        assert reason in problems[dec] and "could not be fetched" in problems[dec]
    assert "4 could not be fetched; called again" in capsys.readouterr().out
    # Called again, only these are asked for, and what the server gives now is in the catalogue.
    survey.asked.clear()
    survey.RequestHandlerClass = type("Mended", (Survey,), {"faults": {}})
    gu.classify(tmp_path / "sky.parquet", classifier, output, **options)
    assert {float(one["dec"]) for one in survey.asked} == set(problems.index)
    assert pd.read_parquet(output)["problem"].isna().all()


def test_without_a_network_it_ends_soon_and_says_what_to_do(survey, classifier, tmp_path, client):
    pd.DataFrame({"ra": np.arange(100.0), "dec": np.full(100, 5.0)}).to_csv(tmp_path / "sky.csv", index=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/?ra={{ra}}&dec={{dec}}"
    start = time.monotonic()
    with pytest.raises(DownloadError, match="5 positions one after the other") as caught:
        gu.classify(tmp_path / "sky.csv", classifier, tmp_path / "catalogue.parquet", client, address=address)
    assert time.monotonic() - start < 30 and "goes on where it stopped" in str(caught.value)
    gu.classify(tmp_path / "sky.csv", classifier, tmp_path / "other.parquet", client, address=survey.address)
    assert len(pd.read_parquet(tmp_path / "other.parquet")) == 100


def test_tables_that_leave_something_open_are_refused(classifier, tmp_path):
    def refused(error, words, text, **options):
        (tmp_path / "sky.csv").write_text(text)
        with pytest.raises(error, match=words):
            gu.classify(tmp_path / "sky.csv", classifier, tmp_path / "catalogue.parquet", **options)

    refused(DataError, "no column dec", "ra,declinatio\n1,2\n")
    refused(DataError, "There is no column 'DE'", "ra,dec\n1,2\n", columns={"dec": "DE"})
    refused(DataError, "no rows", "ra,dec\n")
    refused(DataError, "degrees, hours or radians", "ra,dec\n" + "".join(f"{ra},{ra * 3}\n" for ra in range(1, 24)))
    for address in ("http://example.org/?ra={ra}&dec={dec}", "https://example.org/?ra={ra}", "https://a/{ra}{dec}{x}"):
        refused(ConfigurationError, "address", "ra,dec\n100,2\n", address=address)
