"""Fetch a large file once: resumed after a cut, verified, and only then given its name.

pooch, the usual library for this, cannot resume: a cut at 2.4 of 2.5 GB would start again from nothing.
"""

import concurrent.futures
import hashlib
import ipaddress
import os
import threading
import time
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from galaxy_utils.errors import ConfigurationError, DownloadError, StorageError
from galaxy_utils.files import check_free_space, explain_write_errors, locked
from galaxy_utils.progress import progress_bar
from galaxy_utils.wording import counted

MEGABYTE = 1_000_000
# A connection that brings less than this over a whole `timeout` counts as cut, so that no download lasts for ever.
SLOWEST_BYTES_PER_SECOND = 20_000
# Seconds. A server with many addresses is tried at each of them in turn.
LONGEST_CONNECTING = 5.0


class Cut(Exception):
    """The attempt failed in a way that may pass: try again, after `pause` seconds where the server says how many."""

    pause = 0.0


class Useless(Exception):
    """This address will not do: take the next."""


def download(
    mirrors, path, *, size, alternative="", attempts=5, pause=1.0, timeout=30.0, slowest=SLOWEST_BYTES_PER_SECOND
):
    """Return `path`, downloading the file from the first mirror that serves it right where it is not there yet.

    What has arrived is kept beside `path` under a name that ends in `.partial`, and the next attempt, also one of a
    later process, goes on from there: the checksum tells whether old and new piece belong together. Two processes may
    ask at once: one downloads, the other waits.

    Args:
        mirrors: Pairs (address, checksum in hexadecimal digits of either case), in order of preference. 64 digits are
            a SHA-256, 32 an MD5; `None` where the publisher states none: then nothing but https vouches for the file,
            and a cut one is begun again.
        path: Where the file goes.
        size: About how many bytes the file has. Decides whether the disk has room; a server that sends a tenth more
            is not believed.
        alternative: A line for the error message: what works without this file.
        attempts: How often each mirror is tried.
        pause: Seconds before the second attempt; doubled before each further one.
        timeout: Seconds without an answer, or without data, after which a connection counts as cut.
        slowest: Bytes per second. A connection that brings less, over a whole `timeout`, counts as cut, too.

    Raises:
        ConfigurationError: An address is not https. Plain http is only allowed on this machine itself.
        DownloadError: No mirror served the file.
        StorageError: The disk has no room for the file, or the folder cannot be written to.
    """
    addresses = [address for address, _ in mirrors]
    check_addresses(addresses)
    if path.exists():
        return path
    failures = []
    with locked(path):
        for address, checksum in mirrors:
            # Another process may have finished while this one waited for the lock.
            if path.exists():
                return path
            partial = path.with_name(f"{path.name}.{(checksum or 'unchecked')[:8].lower()}.partial")
            check_free_space(path, size - _size(partial), alternative)
            try:
                bar = progress_bar(round(size / MEGABYTE), f"Downloading {path.name}", unit="MB")
                with explain_write_errors(path, size), bar:
                    _fetch(address, checksum, partial, size, attempts, pause, (timeout, slowest), bar)
                    os.replace(partial, path)
                return path
            except Useless as failure:
                failures.append(f"{address}: {failure}")
            except StorageError:
                # A full disk stays full while this lies on it.
                partial.unlink(missing_ok=True)
                raise
    problem, found = f"{path.name} could not be downloaded.", "; ".join(failures)
    remedy = f"Fetch {addresses[0]} with a browser or on another machine and save it as {path}. {alternative}"
    raise DownloadError(problem, where=", ".join(addresses), found=found, remedy=remedy)


def _fetch(address, checksum, partial, size, attempts, pause, patience, bar):
    """Complete the partial file from one address and verify it, in a bounded number of attempts."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        if checksum is None:
            partial.unlink(missing_ok=True)
        resumed = _size(partial) > 0
        try:
            receive(address, partial, size, *patience, bar)
        except Cut as cut:
            reason = cut
            continue
        if (reason := checksum_mismatch(partial, checksum)) is None:
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            return
        partial.unlink()
        # An old piece may have spoilt a resumed file: that earns a fresh start. A whole wrong file does not.
        if not resumed:
            raise Useless(reason)
    raise Useless(f"{reason} ({counted(attempts, 'attempts')})")


def checksum_mismatch(path, checksum):
    """Say in a few words how a file differs from its SHA-256 or MD5; return None where it does not.

    Args:
        path: The file.
        checksum: 64 or 32 hexadecimal digits of either case, or `None`, which every file agrees with.
    """
    if checksum is None:
        return None
    algorithm = "sha256" if len(checksum) == 64 else "md5"
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    return None if found == checksum.lower() else f"{algorithm.upper()} is {found}, not {checksum.lower()}"


def receive(address, partial, size, timeout, slowest, bar):
    """Append to the partial file what is missing of it.

    Args:
        address: Where it lies.
        partial: Path of the file.
        size: About how many bytes it has when it is whole.
        timeout: As in `download`.
        slowest: As in `download`.
        bar: A `progress_bar` in megabytes.

    Raises:
        Cut: It failed in a way that may pass.
        Useless: This address will not do.
    """
    start = _size(partial)
    # Compressed transfer would make byte positions meaningless.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    options = {"timeout": (min(timeout, LONGEST_CONNECTING), timeout), "hooks": {"response": _check_redirect}}
    try:
        with _answer(address, timeout, headers=headers, stream=True, **options) as response:
            status = response.status_code
            if status == 416 and start:
                # Nothing is left to send: the partial file is complete, or too long. Its checksum tells.
                return
            if status not in (200, 206):
                # Overload and its relatives pass; "not found" does not.
                passes = status >= 500 or status in (408, 416, 425, 429)
                failure = (Cut if passes else Useless)(f"the server answered {status} {response.reason}")
                wait = response.headers.get("Retry-After", "")
                failure.pause = float(wait) if wait.isascii() and wait.isdecimal() else 0.0
                raise failure
            if status == 200:
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                partial.unlink(missing_ok=True)
                raise Cut("the server sent another part of the file than it was asked for")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                # What a portal of a hotel, a moved page and an overloaded site have in common.
                raise Useless("it serves a web page in the file's place")
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isascii() and length.isdecimal() else None
            if total is not None and not 0.9 * size - MEGABYTE <= total <= 1.1 * size + MEGABYTE:
                raise Useless(f"the file has {total:,} bytes instead of about {size:,}")
            with open(partial, "ab" if start else "wb") as file:
                end = _copy(response.raw, file, start, size, timeout, slowest, bar)
            if total is not None and end < total:
                raise Cut(f"the connection was cut after {end:,} of {total:,} bytes")
    except (TimeoutError, requests.Timeout) as error:
        raise Cut(f"no answer within {timeout:g} s") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError) as error:
        raise Cut(f"{type(error).__name__}: {error}") from error


def _answer(address, seconds, **options):
    """Ask a server, and wait so long for the beginning of its answer.

    The limits of `requests` hold for each of a server's addresses and each piece of an answer, and for no look-up of a
    name. So a thread asks, which dies with the program.
    """
    answer = concurrent.futures.Future()

    def ask():
        try:
            answer.set_result(requests.get(address, **options))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(seconds)


def _check_redirect(response, **_):
    """Called with every answer, before a redirect is followed."""
    if response.is_redirect and not _is_safe(response.headers["Location"], response.url):
        raise Useless(f"it leads to {response.headers['Location']}, which is not https")


def _copy(source, file, position, size, timeout, slowest, bar):
    """Copy the response to the file as it arrives; return the position reached."""
    checked_at, checked_position = time.monotonic(), position
    # read1 returns what is there instead of waiting for a full block, so that a trickle is noticed.
    while block := source.read1(MEGABYTE):
        file.write(block)
        position += len(block)
        bar.update(position // MEGABYTE - bar.n)
        if position > 1.1 * size + MEGABYTE:
            raise Useless(f"the server sent more than {size:,} bytes")
        elapsed = time.monotonic() - checked_at
        if elapsed > timeout:
            if position - checked_position < elapsed * slowest:
                raise Cut(f"only {position - checked_position:,} bytes in {elapsed:.0f} s")
            checked_at, checked_position = time.monotonic(), position
    return position


def check_addresses(addresses):
    """Refuse addresses that are not https; plain http is only allowed on this machine itself.

    Raises:
        ConfigurationError: One of them is neither.
    """
    if unsafe := [address for address in addresses if not _is_safe(address)]:
        problem = "Only https addresses are downloaded from."
        raise ConfigurationError(problem, where="address", expected="https://...", found=unsafe[0])


def _is_safe(address, base=""):
    """Whether the address, which may be relative to another, is https, or plain http to this very machine."""
    try:
        parts = urlsplit(urljoin(base, address))
        host = parts.hostname or ""
        local = parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
        return local or parts.scheme == "https"
    except ValueError:
        return False


def _size(path):
    return path.stat().st_size if path.exists() else 0
