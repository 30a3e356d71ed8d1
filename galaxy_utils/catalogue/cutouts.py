"""Cut-outs for a table of positions: asked for politely, kept in the cache, and never asked for twice."""

import concurrent.futures
import dataclasses
import hashlib
import math
import os
import secrets
import time

from galaxy_utils.catalogue.pixels import read_file
from galaxy_utils.data.download import Cut, Useless, check_addresses, receive
from galaxy_utils.errors import ConfigurationError, DownloadError
from galaxy_utils.files import cache_folder, explain_write_errors
from galaxy_utils.progress import progress_bar

# The cut-out service of the Legacy Surveys' viewer, and its own pixels.
ADDRESS = (
    "https://www.legacysurvey.org/viewer/cutout.jpg?ra={ra}&dec={dec}&size={size}&pixscale={pixel_scale}&layer={layer}"
)
PIXEL_SCALE, LARGEST, USUAL = 0.262, 512, 256
# More than a cut-out of the largest size takes; a server that sends more is not believed.
BYTES = 500_000
# So many positions in a row without an image are no fault of the positions.
FAILURES_IN_A_ROW = 5
LONGEST_PAUSE = 120.0


class Cutouts:
    """Fetches the images of parts.

    Args:
        address: With `{ra}`, `{dec}`, `{size}`, `{pixel_scale}` and `{layer}`, which are filled in.
        layer: The survey's name at that service.
        about: `image_size` and `pixel_scale` of the classifier: cut-outs show the sky that it was trained on. Where the
            scale is unknown, they have 256 pixels of 0.262 arcseconds, as those of Galaxy10 DECaLS.
        connections: How many are asked for at once.
        attempts: How often one is asked for.
        pause: Seconds before the second attempt; doubled before each further one. A server may ask for more.
        timeout: Seconds without an answer, or without data, after which a connection counts as cut.

    Raises:
        ConfigurationError: An address that is not https, or lacks a name.
    """

    def __init__(self, address, layer, about, *, connections=4, attempts=4, pause=1.0, timeout=20.0):
        self.scale, self.size = PIXEL_SCALE, USUAL
        if about["pixel_scale"]:
            field = about["image_size"] * about["pixel_scale"]
            self.scale = max(PIXEL_SCALE, field / LARGEST)
            self.size = math.ceil(round(field / self.scale, 3))
        self.address, self.layer, self.attempts, self.pause, self.timeout = address, layer, attempts, pause, timeout
        self.connections, self.failed_in_a_row = connections, 0
        try:
            check_addresses([self._address_of(0.0, 0.0)])
            without = [name for name in ("{ra}", "{dec}") if name not in address]
        except (KeyError, IndexError, ValueError) as error:
            if isinstance(error, ConfigurationError):
                raise
            without = [str(error)]
        if without:
            found = f"{address}: {', '.join(without)}"
            raise ConfigurationError("This is no address of cut-outs.", where="address", expected=ADDRESS, found=found)

    def _address_of(self, ra, dec):
        filled = {"ra": f"{ra:.6f}", "dec": f"{dec:.6f}", "size": self.size, "layer": self.layer}
        return self.address.format(**filled, pixel_scale=f"{self.scale:.6g}")

    def path_of(self, address):
        """Return where the image of an address is kept."""
        name = hashlib.sha256(address.encode()).hexdigest()[:24]
        return cache_folder() / "cutouts" / name[:2] / f"{name}.jpg"

    def fetch(self, part, bar):
        """Return a part whose images lie in the cache; those that could not be had carry the problem.

        Raises:
            DownloadError: The service does not answer, or has no image for several positions in a row.
            StorageError: The disk is full.
        """
        items = list(part.items)
        with concurrent.futures.ThreadPoolExecutor(self.connections) as threads:
            futures = [threads.submit(self._item, item) for item in items]
            try:
                for place, future in enumerate(futures):
                    items[place], failed, asked = future.result()
                    self.failed_in_a_row = self.failed_in_a_row + 1 if failed else self.failed_in_a_row * (not asked)
                    if self.failed_in_a_row >= FAILURES_IN_A_ROW:
                        raise self._gives_up(items[place])
                    bar.update(1)
            finally:
                for future in futures:
                    future.cancel()
        return dataclasses.replace(part, items=tuple(items))

    def _gives_up(self, item):
        address = self._address_of(item[1], item[2])
        problem = f"The service has no image for {FAILURES_IN_A_ROW} positions one after the other."
        remedy = "see whether this machine has a network and the address opens in a browser, then run the same again: "
        remedy += "it goes on where it stopped, and asks for nothing twice"
        expected = "JPEG images, one for each position"
        return DownloadError(problem, where=address, expected=expected, found=item[5], remedy=remedy)

    def _item(self, item):
        """Return an item with its path and scale, whether that failed, and whether the service was asked."""
        identifier, ra, dec, _, _, problem = item
        if problem:
            return item, False, False
        address = self._address_of(ra, dec)
        path = self.path_of(address)
        asked = not path.is_file()
        if asked and (problem := self._get(address, path)):
            return (identifier, ra, dec, None, None, f"could not be fetched: {problem}"), True, True
        return (identifier, ra, dec, str(path), self.scale, None), False, asked

    def _get(self, address, path):
        """Fetch one image; return what was wrong, or `None`."""
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
        with explain_write_errors(path, BYTES), progress_bar(0, "", disable=True) as bar:
            path.parent.mkdir(parents=True, exist_ok=True)
            for attempt in range(self.attempts):
                wait = self.pause * 2**attempt
                try:
                    receive(address, partial, BYTES, self.timeout, BYTES / 100, bar)
                    # Neither a web page nor half an image may be kept.
                    read_file(partial)
                    os.replace(partial, path)
                    return None
                except (Cut, Useless, ValueError) as error:
                    reason, wait = str(error), max(wait, getattr(error, "pause", 0.0))
                    if isinstance(error, Useless) and "answered 4" in reason:
                        return reason
                finally:
                    partial.unlink(missing_ok=True)
                if attempt + 1 < self.attempts:
                    time.sleep(min(wait, LONGEST_PAUSE))
        return f"{reason} ({self.attempts} attempts)"
