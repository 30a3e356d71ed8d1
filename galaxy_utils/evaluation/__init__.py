"""How good predictions are, with intervals, beside what no learning at all would reach."""

from galaxy_utils.evaluation import latent
from galaxy_utils.evaluation.classification import (
    Evaluation,
    accuracy_difference,
    evaluate,
    label_entropy,
    mean_with_interval,
    smooth_labels,
    smoothing_from_entropy,
)
from galaxy_utils.evaluation.controls import averaged_pixels, control_rows

__all__ = [
    "Evaluation",
    "accuracy_difference",
    "averaged_pixels",
    "control_rows",
    "evaluate",
    "label_entropy",
    "latent",
    "mean_with_interval",
    "smooth_labels",
    "smoothing_from_entropy",
]
