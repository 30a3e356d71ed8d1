"""Predictions averaged over the eight exact views of each image: the same galaxy, asked eight times."""

import numpy as np

from galaxy_utils.data.views import NUM_VIEWS, ViewedImages
from galaxy_utils.training import predict


def predict_with_tta(model, dataset, rows, batch_size=32):
    """Return class probabilities, averaged over the eight dihedral views of each image: test-time augmentation (TTA).

    What a network has learnt about turned galaxies is never quite the same for all eight; the mean is better than one
    (Dieleman et al. 2015, arXiv:1503.07077). It costs eight predictions.

    Args:
        model: Any network that `predict` takes.
        dataset: A `GalaxyDataset` with square images.
        rows: Row indices, shape (n,).
        batch_size: Images per step.

    Returns:
        Probabilities, shape (n, number of classes), float32, in the order of `rows`.

    Raises:
        ConfigurationError: As in `predict`.
        DataError: As in `predict`.

    Example:
        >>> gu.evaluation.predict_with_tta(model, galaxies, split.test[:5]).shape
        (5, 10)
    """
    fingerprints = {"fingerprint": dataset.fingerprint, "source_fingerprint": dataset.source_fingerprint}
    views = [ViewedImages(dataset.images, number) for number in range(NUM_VIEWS)]
    turned = [dataset.replace(images=images, **fingerprints) for images in views]
    return np.mean([predict(model, view, rows, batch_size) for view in turned], axis=0)
