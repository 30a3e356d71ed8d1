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
from galaxy_utils.evaluation.features import FeatureAnswers, linear_probe, nearest_neighbours
from galaxy_utils.evaluation.views import predict_eight_views

__all__ = [
    "Evaluation",
    "FeatureAnswers",
    "accuracy_difference",
    "averaged_pixels",
    "control_rows",
    "evaluate",
    "label_entropy",
    "latent",
    "linear_probe",
    "mean_with_interval",
    "nearest_neighbours",
    "predict_eight_views",
    "smooth_labels",
    "smoothing_from_entropy",
]
