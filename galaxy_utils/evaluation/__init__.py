"""How good predictions are, with intervals, beside what no learning at all would reach."""

from galaxy_utils.evaluation.classification import (
    Evaluation,
    accuracy_difference,
    evaluate,
    label_entropy,
    smooth_labels,
    smoothing_from_entropy,
)
from galaxy_utils.evaluation.controls import control_rows

__all__ = [
    "Evaluation",
    "accuracy_difference",
    "control_rows",
    "evaluate",
    "label_entropy",
    "smooth_labels",
    "smoothing_from_entropy",
]
