"""What a classifier knows of its own errors, measured on validation galaxies: temperature, threshold, distances."""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np
from scipy.optimize import minimize_scalar

from galaxy_utils.data.batches import CLASSIFICATION
from galaxy_utils.data.rows import checked_rows
from galaxy_utils.training import ends, finite

# Training galaxies that are kept for comparison, and which of the nearest ones counts.
REFERENCE_GALAXIES, NEIGHBOUR = 2_000, 10
# Share of validation galaxies that the flag calls unlike the training set.
FLAGGED_SHARE = 0.01
# A threshold that leaves fewer validation galaxies says little about their accuracy.
FEWEST_KEPT = 30
# Of probabilities in a catalogue.
DECIMALS = 4
# Images per step, here and in a catalogue. Always so many: a network's last bits depend on it.
BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class Calibration:
    """What `calibrate` measures, and `save_classifier` keeps beside the network.

    Attributes:
        temperature: The logits are divided by it; above 1 the network was too sure of itself.
        threshold: Confidence (the largest calibrated probability) below which a galaxy counts as `cannot_tell`.
        num_galaxies: Validation galaxies that it was measured on.
        accuracy: Share of them that were labelled correctly.
        share_kept: Share of them at or above the threshold.
        accuracy_kept: Share of these that were labelled correctly.
        distance_limit: Feature distance above which a galaxy counts as unlike the training set; `None` where the
            network has no dense layer at its end.
        reference: Features of training galaxies, each of length 1, shape (m, d), float16; `None` likewise.
    """

    temperature: float
    threshold: float
    num_galaxies: int
    accuracy: float
    share_kept: float
    accuracy_kept: float
    distance_limit: float | None
    reference: np.ndarray | None = None

    def to_dict(self):
        """Return everything but the reference features, as JSON can hold it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[:-1]}

    def scaled(self, probabilities):
        """Return calibrated probabilities, shape (n, classes), float64."""
        return _scaled(probabilities, self.temperature)

    def distances(self, features):
        """Return how far each galaxy's features lie from the training set's, shape (n,); 0 to 2.

        The Euclidean distance to the tenth nearest training galaxy, features scaled to length 1, as Sun et al. (2022,
        arXiv:2204.06507) do.
        """
        features, reference = _unit(features), self.reference.astype(np.float32)
        cosines = np.sort(features @ reference.T, axis=1)[:, -min(NEIGHBOUR, len(reference))]
        return np.sqrt(np.maximum(2 - 2 * cosines.astype(np.float64), 0))


def calibrate(model, dataset, split):
    """Measure a trained classifier on the validation galaxies of its split.

    The temperature is the one with the lowest cross-entropy (Guo et al. 2017, arXiv:1706.04599). The threshold is the
    lowest at which the galaxies that are kept are wrong at most half as often as all of them, and at least 30 are kept.
    The limit of the distance is the one that one validation galaxy in a hundred exceeds. Where the same galaxies had
    decided when the training stopped, all of this flatters a little.

    Args:
        model: The Keras classifier.
        dataset: The `GalaxyDataset` that it was trained on.
        split: Its `Split`, or anything with row indices in `train` and `validation`.

    Returns:
        A `Calibration`.

    Raises:
        ConfigurationError: A network that does not say what its output is.
        DataError: Rows that the dataset does not have, or a network whose output is not a number.

    Example:
        >>> calibrate(model, galaxies, split).num_galaxies == len(split.validation)
        True
    """
    network = with_features(model)
    rows = checked_rows(dataset, split.validation, "split.validation")
    probabilities, features = _outputs(network, dataset, rows)
    labels = np.asarray(dataset.labels)[rows]

    def cross_entropy(log_temperature):
        scaled = _scaled(probabilities, np.exp(log_temperature))
        return -np.log(np.maximum(scaled[np.arange(len(labels)), labels], 1e-12)).mean()

    found = minimize_scalar(cross_entropy, bounds=(np.log(0.25), np.log(8)), method="bounded")
    temperature = round(float(np.exp(found.x)), 4)
    # As a catalogue rounds them, so that the threshold means there what it means here.
    scaled = np.round(_scaled(probabilities, temperature), DECIMALS)
    confidence, right = scaled.max(axis=1), scaled.argmax(axis=1) == labels
    threshold = _threshold(confidence, right)
    kept = confidence >= threshold
    limit, reference = None, None
    if features is not None:
        train = checked_rows(dataset, split.train, "split.train")
        chosen = np.sort(np.random.default_rng(1).permutation(train)[:REFERENCE_GALAXIES])
        reference = _unit(_outputs(network, dataset, chosen)[1]).astype(np.float16)
    about = (temperature, threshold, len(rows), right.mean(), kept.mean(), right[kept].mean() if kept.any() else 0)
    calibration = Calibration(*map(float, about[:2]), len(rows), *map(float, about[3:]), limit, reference)
    if reference is None:
        return calibration
    limit = float(np.quantile(calibration.distances(features), 1 - FLAGGED_SHARE))
    return dataclasses.replace(calibration, distance_limit=round(limit, 4))


def with_features(model):
    """Return a network of a classifier's images to its class probabilities and what its last dense layer takes.

    Args:
        model: A Keras classifier.

    Returns:
        A `keras.Model` with two outputs; with one, where no dense layer comes last.

    Raises:
        ConfigurationError: A network that does not say what its output is.
    """
    entry, output = ends(model)
    output = output[CLASSIFICATION] if isinstance(output, dict) else output
    features = _features(output)
    return keras.Model(entry, [output] if features is None else [output, features])


def _features(tensor):
    """Return what the last dense layer before a tensor takes; `None` where there is none."""
    # Keras has no public way from a tensor to what it was made of.
    layer, node, _ = tensor._keras_history
    if isinstance(layer, keras.layers.InputLayer):
        return None
    before = layer._inbound_nodes[node].input_tensors[0]
    if isinstance(layer, keras.layers.Dense):
        return before
    if isinstance(layer, keras.Model):
        inside = _features(layer.outputs[0])
        return None if inside is None else keras.Model(layer.inputs, inside)(before)
    # A softmax, say, or a check.
    return _features(before) if before.shape == tensor.shape else None


def _outputs(network, dataset, rows):
    batches = dataset.keras_dataset(rows, BATCH_SIZE, targets=None)
    outputs = network.predict(batches, verbose=0)
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return finite(network, outputs[0]), outputs[1] if len(outputs) > 1 else None


def _scaled(probabilities, temperature):
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-12)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _unit(features):
    features = np.asarray(features, np.float32).reshape(len(features), -1)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def _threshold(confidence, right):
    """Return the lowest confidence with which at most half the share of errors is left."""
    order = np.argsort(-confidence, kind="stable")
    errors = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    # All that share a confidence are kept, or none of them.
    is_last = np.append(np.diff(confidence[order]) != 0, True)
    few_enough = is_last & (errors <= (1 - right.mean()) / 2)
    enough = np.flatnonzero(few_enough & (np.arange(1, len(order) + 1) >= FEWEST_KEPT))
    return float(confidence[order[enough[-1]]]) if len(enough) else 1.0
