"""A dataset that networks learn in seconds: discs whose size and colour tell their class, under noise."""

from types import SimpleNamespace

import numpy as np

from galaxy_utils.data.dataset import GalaxyDataset

CLASS_NAMES = ("Red Small", "Blue Small", "Red Large", "Blue Large")


def toy_galaxies(num_galaxies=160, side=16, noise=60, seed=1, **changes):
    """Return a `GalaxyDataset` with four classes, vote fractions and no coordinates."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(num_galaxies) % 4)
    row, column = np.indices((side, side)) - (side - 1) / 2
    disc = row**2 + column**2 <= np.where(labels < 2, side / 6, side / 3)[:, None, None] ** 2
    colour = np.where((labels % 2 == 0)[:, None], [200, 120, 60], [60, 120, 200])
    images = disc[..., None] * colour[:, None, None, :] + random.normal(0, noise, (num_galaxies, side, side, 3))
    votes = 0.7 * np.eye(4)[labels] + 0.3 * random.dirichlet(np.ones(4), num_galaxies)
    columns = {
        "name": "toy",
        "provenance": "discs made for tests",
        "images": np.clip(images, 0, 255).astype(np.uint8),
        "labels": labels,
        "class_names": CLASS_NAMES,
        "vote_fractions": votes.astype(np.float32),
        "is_simulated": True,
    }
    return GalaxyDataset(**{**columns, **changes})


def toy_split(num_galaxies=160):
    """Return an object with the rows that `fit` needs: 60 %, 20 % and 20 %."""
    train, validation = round(num_galaxies * 0.6), round(num_galaxies * 0.8)
    rows = np.arange(num_galaxies)
    return SimpleNamespace(
        train=rows[:train],
        validation=rows[train:validation],
        test=rows[validation:],
        groups=rows // 2,
        radius=95.0,
        hash="0123456789abcdef",
    )


class WatchedImages:
    """Images that remember what was read, and can do something at a given read."""

    def __init__(self, images, at_read=None, action=None):
        self.images, self.at_read, self.action, self.reads = images, at_read, action, []

    @property
    def shape(self):
        return self.images.shape

    @property
    def dtype(self):
        return self.images.dtype

    def __getitem__(self, rows):
        self.reads.append(np.array(rows))
        if len(self.reads) == self.at_read:
            self.action()
        return self.images[rows]


def galaxy10_columns(num_galaxies=60, side=32, seed=1):
    """Columns of a small, valid file in the format of Galaxy10 DECaLS: noise, all ten classes, one repeated galaxy."""
    random = np.random.default_rng(seed)
    columns = {
        "images": random.integers(0, 256, (num_galaxies, side, side, 3), dtype=np.uint8),
        "ans": np.sort(np.arange(num_galaxies) % 10).astype(np.uint8),
        "ra": random.uniform(0, 360, num_galaxies),
        "dec": random.uniform(-20, 80, num_galaxies),
        "redshift": random.uniform(0, 0.3, num_galaxies),
        "pxscale": np.full(num_galaxies, 0.262),
    }
    columns["redshift"][::7] = np.nan
    for key in ("images", "ra", "dec"):
        columns[key][-1] = columns[key][0]
    return columns
