"""How published accuracies come out too high: the mistakes, made on purpose, beside what the same networks are worth.

Somebody has some galaxies (the pool), divides them in some careless way, trains, and reports the accuracy on what is
called the test set: the claim. Galaxies that were set aside beforehand, by patch of sky, tell what the same network is
worth. The difference between the two is what the mistake gained.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from scipy import integrate
from scipy.stats import norm

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.evaluation.significance import Estimate, check_count, mean_over_seeds
from galaxy_utils.training import fit, predict


@dataclass(frozen=True, eq=False)
class Claim:
    """What several tries of one procedure would report, and what their networks are worth, after the epochs noted.

    Attributes:
        name: What was done wrong.
        claimed: Accuracy on the claimed test set, shape (tries, epochs noted).
        honest: Whether each galaxy that was set aside is classified correctly, shape (tries, epochs noted, n).
        groups: Sky groups of the galaxies that were set aside, shape (n,).
        num_claimed: Images in the claimed test set.
        training_accuracy: Accuracy on the training images as the last epoch saw them, shape (tries,).
        seconds: Seconds of all trainings together.
    """

    name: str
    claimed: np.ndarray
    honest: np.ndarray
    groups: np.ndarray
    num_claimed: int
    training_accuracy: np.ndarray
    seconds: float

    def __len__(self):
        return len(self.claimed)

    def points_gained(self, epochs=None):
        """Return by how much the claim lies above the honest accuracy, as an `Estimate`.

        The tries are repetitions of everything that the claimant left to chance: which galaxies became the test set,
        and the first weights. What their differences scatter by is counted as the tries' variance; that other galaxies
        could have been set aside is counted on top.

        Args:
            epochs: Which epoch each try reports, from 0; `None` for the last.

        Raises:
            DataError: A single try.
        """
        epochs = np.full(len(self), self.claimed.shape[1] - 1) if epochs is None else np.asarray(epochs)
        tries = np.arange(len(self))
        honest = self.honest[tries, epochs]
        of_galaxies = mean_over_seeds(honest.astype(float), self.groups)
        gains = self.claimed[tries, epochs] - honest.mean(axis=1)
        return Estimate(
            value=float(gains.mean()),
            galaxy_variance=of_galaxies.galaxy_variance,
            seed_variance=float(gains.var(ddof=1) / len(gains)),
            degrees_of_freedom=len(gains) - 1,
            shared_spread=of_galaxies.shared_spread,
            own_spread=of_galaxies.own_spread,
            seed_spread=float(gains.std(ddof=1)),
            num_galaxies=of_galaxies.num_galaxies,
            num_seeds=len(gains),
        )

    @property
    def best_epochs(self):
        """The epoch, from 0, at which each try does best on its claimed test set: the choice that must not be made."""
        return self.claimed.argmax(axis=1)


def make_claim(name, build, dataset, divide, honest_rows, honest_groups, recipe, seeds, every_epoch=False):
    """Train a network for each try and note what would be claimed and what is true.

    Args:
        name: What is done wrong.
        build: Function of a seed that returns a new network.
        dataset: Function of a seed that returns the `GalaxyDataset` to train on, or one dataset for all tries.
        divide: Function of a seed that returns the claimant's parts: row arrays `train` and `test`.
        honest_rows: Rows of the galaxies that were set aside; no try trains on them.
        honest_groups: Their sky groups.
        recipe: A `Recipe`.
        seeds: One seed for each try.
        every_epoch: Whether both are noted after every epoch, or after the last alone.

    Returns:
        A `Claim`.

    Raises:
        ConfigurationError: Galaxies that were set aside turn up in the claimant's parts.
    """
    import keras

    claimed, honest, training, seconds, num_claimed = [], [], [], 0.0, 0
    for seed in seeds:
        parts, galaxies = divide(seed), dataset(seed) if callable(dataset) else dataset
        if len(np.intersect1d(np.concatenate([parts.train, parts.test]), honest_rows)):
            raise ConfigurationError(
                "The claimant uses galaxies that were set aside.", where=name, remedy="leave them out of the pool"
            )
        network, answers = build(seed), {"claimed": [], "honest": []}

        def note(epoch, logs, *, network=network, galaxies=galaxies, parts=parts, answers=answers):
            if not every_epoch and epoch < recipe.epochs - 1:
                return
            for kind, rows in (("claimed", parts.test), ("honest", honest_rows)):
                answers[kind].append(
                    predict(network, galaxies, rows, batch_size=256).argmax(axis=1) == galaxies.labels[rows]
                )

        # `fit` wants galaxies to watch; they decide nothing here.
        watched = SimpleNamespace(train=parts.train, validation=parts.test[: min(32, len(parts.test))])
        watch = keras.callbacks.LambdaCallback(on_epoch_end=note)
        run = fit(network, galaxies, watched, recipe, seed=seed, callbacks=[watch], progress=False)
        claimed.append(np.mean(answers["claimed"], axis=1))
        honest.append(answers["honest"])
        training.append(run.history["accuracy"][-1])
        seconds, num_claimed = seconds + run.seconds, len(parts.test)
    return Claim(
        name, np.array(claimed), np.array(honest), np.asarray(honest_groups), num_claimed, np.array(training), seconds
    )


def divide_at_random(rows, test_share, seed):
    """Divide rows by the throw of a die, whatever they show: the careless split.

    Args:
        rows: Row indices; a row that is listed several times counts several times, and its copies may part.
        test_share: Share of the claimed test set.
        seed: Seed of the draw.

    Returns:
        An object with row arrays `train` and `test`.
    """
    drawn = np.random.default_rng(seed).permutation(np.asarray(rows))
    num_test = round(test_share * len(drawn))
    return SimpleNamespace(train=drawn[num_test:], test=drawn[:num_test])


def with_turned_copies(dataset, rows):
    """Put three copies of some images, turned by 90, 180 and 270 degrees, behind the others.

    Args:
        dataset: A `GalaxyDataset`.
        rows: Rows of the images to copy.

    Returns:
        `(dataset, rows)`: the longer dataset, and the rows of originals and copies together.
    """
    rows = np.asarray(rows)
    images = np.asarray(dataset.images[rows])
    copies = np.concatenate([np.rot90(images, turns, axes=(1, 2)) for turns in (1, 2, 3)])
    longer = with_images(dataset, copies, np.tile(np.asarray(dataset.labels)[rows], 3), "turned copies")
    return longer, np.concatenate([rows, len(dataset) + np.arange(len(copies))])


def with_images(dataset, images, labels, what):
    """Return a dataset with more images behind its own. Their coordinates and votes are not kept.

    Args:
        dataset: A `GalaxyDataset`, small enough for memory.
        images: Shape (k, height, width, 3), uint8.
        labels: Shape (k,).
        what: What the images are, for the name.
    """
    return dataset.replace(
        name=f"{dataset.name} and {what}",
        images=np.concatenate([np.asarray(dataset.images), images]),
        labels=np.concatenate([dataset.labels, labels]),
        **dict.fromkeys(("ra", "dec", "redshift", "pixel_scale", "vote_fractions")),
    )


def share_with_twin(rows, others, groups):
    """Return the share of rows that show the same piece of sky as one of the others.

    Args:
        rows: Row indices.
        others: Row indices.
        groups: Sky group of every row, as in `Split.groups`.
    """
    groups = np.asarray(groups)
    return float(np.isin(groups[rows], groups[others]).mean())


def expected_best_of(tries):
    """Return how many standard deviations the best of several independent normal numbers lies above their mean.

    Args:
        tries: How many, at least 1.

    Raises:
        ConfigurationError: Not a number of tries.
    """
    check_count("tries", tries, 1)
    expectation, _ = integrate.quad(lambda x: x * tries * norm.pdf(x) * norm.cdf(x) ** (tries - 1), -12, 12)
    return float(expectation)
