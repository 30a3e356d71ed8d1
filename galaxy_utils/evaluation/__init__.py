"""How good predictions are, with intervals, beside what no learning at all would reach."""

from galaxy_utils.evaluation import latent
from galaxy_utils.evaluation.classification import (
    Evaluation,
    accuracy_difference,
    evaluate,
    galaxy_divergences,
    label_entropy,
    smooth_labels,
    smoothing_from_entropy,
)
from galaxy_utils.evaluation.controls import averaged_pixels, control_rows
from galaxy_utils.evaluation.significance import (
    Estimate,
    galaxies_needed,
    mean_over_seeds,
    mean_with_interval,
    paired_difference,
    power_of_comparison,
)

__all__ = [
    "Estimate",
    "Evaluation",
    "accuracy_difference",
    "averaged_pixels",
    "control_rows",
    "evaluate",
    "galaxies_needed",
    "galaxy_divergences",
    "label_entropy",
    "latent",
    "mean_over_seeds",
    "mean_with_interval",
    "paired_difference",
    "power_of_comparison",
    "smooth_labels",
    "smoothing_from_entropy",
]
