"""Fetch a large file once: resumed after a cut, verified, and only then given its name.

pooch, the usual library for this, cannot resume: a cut at 2.4 of 2.5 GB would start again from nothing. Its checksum is
used here, its download is not.
"""

import hashlib
import ipaddress
import os
import re
import shutil
import time
from urllib.parse import urljoin, urlsplit

from galaxy_utils.errors import ConfigurationError, DownloadError, StorageError
from galaxy_utils.files import explain_write_errors, locked
from galaxy_utils.progress import progress_bar

MEGABYTE = 1_000_000
# A connection that brings less than this over a whole `timeout` counts as cut, so that no download lasts for ever.
SLOWEST_BYTES_PER_SECOND = 20_000
# Seconds. A server with many addresses is tried at each of them in turn: behind a firewall that swallows everything,
# this times their number is how long an attempt lasts.
LONGEST_CONNECTING = 5.0


class _Cut(Exception):
    """The attempt failed in a way that may pass: try again."""


class _Useless(Exception):
    """This address will not do: take the next."""


def download(
    mirrors,
    path,
    *,
    size,
    alternative=None,
    attempts=5,
    pause=1.0,
    timeout=30.0,
    folder_variable="GALAXY_UTILS_CACHE",
):
    """Return `path`, downloading the file from the first mirror that serves it right where it is not there yet.

    What has arrived is kept beside `path` under a name that ends in `.partial`, and the next attempt, also one of a
    later process, goes on from there. Two processes may ask at once: one downloads, the other waits.

    Args:
        mirrors: Pairs (address, checksum in hexadecimal digits of either case), in order of preference. 64 digits are
            a SHA-256, 32 an MD5; `None` where the publisher states none, and then nothing but https vouches for the
            file.
        path: Where the file goes.
        size: About how many bytes the file has. Decides whether the disk has room; a server that sends a tenth more
            is not believed.
        alternative: A line for the error message: what works without this file.
        attempts: How often each mirror is tried.
        pause: Seconds before the second attempt; doubled before each further one.
        timeout: Seconds without data after which a connection counts as cut.
        folder_variable: The environment variable that moves the folder of `path`, for the error message.

    Raises:
        ConfigurationError: An address is not https. Plain http is only allowed on this machine itself.
        DownloadError: No mirror served the file, or the disk has no room for it.
        StorageError: The disk became full, or the folder cannot be written to.
    """
    for address, _ in mirrors:
        if not _is_safe(address):
            raise ConfigurationError(
                "Only https addresses are downloaded from.", where="address", expected="https://...", found=address
            )
    if path.exists():
        return path
    with locked(path):
        failures = []
        for address, checksum in mirrors:
            # Another process may have finished while this one waited for the lock.
            if path.exists():
                return path
            partial = path.with_name(f"{path.name}.{(checksum or 'unchecked')[:8].lower()}.partial")
            _check_free_space(partial, size, alternative, folder_variable)
            try:
                title = f"Downloading {path.name}"
                with explain_write_errors(path, size), progress_bar(round(size / MEGABYTE), title, unit="MB") as bar:
                    _fetch(address, checksum, partial, size, attempts, pause, timeout, bar)
                    os.replace(partial, path)
            except _Useless as failure:
                failures.append(f"{address}: {failure}")
                continue
            except StorageError:
                # A full disk stays full while this lies on it.
                _discard(partial)
                raise
            return path
        first_address = mirrors[0][0]
        remedy = f"Fetch {first_address} with a browser or on another machine and save it as {path}."
        raise DownloadError(
            f"{path.name} could not be downloaded.",
            where=", ".join(address for address, _ in mirrors),
            found="; ".join(failures),
            remedy=f"{remedy} {alternative}" if alternative else remedy,
        )


def _fetch(address, checksum, partial, size, attempts, pause, timeout, bar):
    """Complete the partial file from one address and verify it, in a bounded number of attempts."""
    reason = None
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause * 2 ** (attempt - 1))
        resumed = partial.exists() and partial.stat().st_size > 0
        try:
            _receive(address, partial, size, timeout, bar)
        except _Cut as cut:
            reason = cut
            continue
        if (mismatch := checksum_mismatch(partial, checksum)) is None:
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            _tag_file(partial).unlink(missing_ok=True)
            return
        _discard(partial)
        reason = mismatch
        # An old piece may have spoilt a resumed file: that earns a fresh start. A whole wrong file does not.
        if not resumed:
            raise _Useless(reason)
    raise _Useless(f"{reason} ({attempts} attempts)")


def checksum_mismatch(path, checksum):
    """Say in a few words how a file differs from its SHA-256 or MD5; return None where it does not.

    Args:
        path: The file.
        checksum: 64 or 32 hexadecimal digits of either case, or `None`, which every file agrees with.
    """
    if checksum is None:
        return None
    title, algorithm = ("SHA-256", "sha256") if len(checksum) == 64 else ("MD5", "md5")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    return None if found == checksum.lower() else f"{title} is {found}, not {checksum.lower()}"


def _receive(address, partial, size, timeout, bar):
    """Append to the partial file what is missing of it."""
    import requests
    import urllib3

    start = partial.stat().st_size if partial.exists() else 0
    # Compressed transfer would make byte positions meaningless.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        tag = _kept_tag(partial)
        if tag is None:
            # Whatever spoilt the tag may have spoilt the file, too.
            _discard(partial)
            start = 0
            del headers["Range"]
        elif tag:
            # "The rest if it is still the same version, else all of it."
            headers["If-Range"] = tag
    try:
        with requests.get(
            address,
            headers=headers,
            stream=True,
            timeout=(min(timeout, LONGEST_CONNECTING), timeout),
            hooks={"response": _check_redirect},
        ) as response:
            if response.status_code == 416 and start:
                # Nothing is left to send: the partial file is complete, or too long. Its checksum tells.
                return
            _check_status(response)
            if response.status_code == 200:
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                _discard(partial)
                raise _Cut("the server sent another part of the file than it was asked for")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                # What a portal of a hotel, a moved page and an overloaded site have in common.
                raise _Useless("it serves a web page in the file's place")
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isascii() and length.isdecimal() else None
            if total is not None and not 0.9 * size - MEGABYTE <= total <= 1.1 * size + MEGABYTE:
                raise _Useless(f"the file has {total:,} bytes instead of about {size:,}")
            if not start:
                # Before its new tag is kept: a piece of an old version must never stand beside it.
                _discard(partial)
            _keep_tag(partial, response.headers.get("ETag", ""))
            with open(partial, "ab" if start else "wb") as file:
                end = _copy(response.raw, file, start, size, timeout, bar)
            if total is not None and end < total:
                raise _Cut(f"the connection was cut after {end:,} of {total:,} bytes")
    except requests.TooManyRedirects as error:
        raise _Useless("it leads from one address to the next without an end") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise _Cut(f"{type(error).__name__}: {error}") from error


def _tag_file(partial):
    """Where the server's tag for the version of the file that is being received is kept between attempts."""
    return partial.with_name(f"{partial.name}.tag")


def _kept_tag(partial):
    """Return the tag, `""` where there is none, or `None` where what is there is no tag that could be sent."""
    try:
        tag = _tag_file(partial).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError):
        return None
    return tag if re.fullmatch(r'"[\x21\x23-\x7e]*"', tag) else None


def _discard(partial):
    partial.unlink(missing_ok=True)
    _tag_file(partial).unlink(missing_ok=True)


def _keep_tag(partial, tag):
    # A weak tag promises the same meaning, not the same bytes.
    if re.fullmatch(r'"[\x21\x23-\x7e]*"', tag):
        _tag_file(partial).write_text(tag, encoding="ascii")
    else:
        _tag_file(partial).unlink(missing_ok=True)


def _check_redirect(response, **_):
    """Called with every answer, before a redirect is followed."""
    if not response.is_redirect:
        return
    try:
        target = urljoin(response.url, response.headers["Location"])
    except ValueError as error:
        raise _Useless("it leads to something that is no address") from error
    if not _is_safe(target):
        raise _Useless(f"it leads to {target}, which is not https")


def _copy(source, file, position, size, timeout, bar):
    """Copy the response to the file as it arrives; return the position reached."""
    bar.update(position // MEGABYTE - bar.n)
    checked_at, checked_position = time.monotonic(), position
    # read1 returns what is there instead of waiting for a full block, so that a trickle is noticed.
    while block := source.read1(MEGABYTE):
        file.write(block)
        position += len(block)
        bar.update(position // MEGABYTE - bar.n)
        if position > 1.1 * size + MEGABYTE:
            raise _Useless(f"the server sent more than {size:,} bytes")
        elapsed = time.monotonic() - checked_at
        if elapsed > timeout:
            if position - checked_position < elapsed * SLOWEST_BYTES_PER_SECOND:
                raise _Cut(f"only {position - checked_position:,} bytes in {elapsed:.0f} s")
            checked_at, checked_position = time.monotonic(), position
    return position


def _check_status(response):
    if response.status_code in (200, 206):
        return
    status = f"the server answered {response.status_code} {response.reason}"
    # Overload and its relatives pass; "not found" does not.
    if response.status_code >= 500 or response.status_code in (408, 416, 425, 429):
        raise _Cut(status)
    raise _Useless(status)


def _is_safe(address):
    """Whether the address is https, or plain http to this very machine."""
    try:
        parts = urlsplit(address)
        if parts.scheme != "http":
            return parts.scheme == "https"
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _check_free_space(partial, size, alternative, folder_variable):
    have = partial.stat().st_size if partial.exists() else 0
    free = shutil.disk_usage(partial.parent).free
    if free < size - have:
        raise DownloadError(
            "The disk has no room for the download.",
            where=partial.parent,
            expected=f"{(size - have) / 1e9:.2f} GB free",
            found=f"{free / 1e9:.2f} GB free",
            remedy=f"Free some space, or set {folder_variable} to a folder on another disk."
            + (f" {alternative}" if alternative else ""),
        )
