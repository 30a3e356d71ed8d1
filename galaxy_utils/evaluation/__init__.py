"""How good predictions are, with intervals, beside what no learning at all would reach."""

from galaxy_utils import renamed
from galaxy_utils.evaluation import latent, resolution
from galaxy_utils.evaluation.baselines import averaged_pixels, baselines
from galaxy_utils.evaluation.classification import (
    Evaluation,
    accuracy_difference,
    evaluate,
    galaxy_divergences,
    label_entropy,
    smooth_labels,
)
from galaxy_utils.evaluation.generation import (
    features_and_predictions,
    frechet_distance,
    inception_score,
    kernel_distance,
)
from galaxy_utils.evaluation.significance import (
    Estimate,
    galaxies_needed,
    mean_over_seeds,
    mean_with_interval,
    paired_difference,
    power_of_comparison,
)
from galaxy_utils.evaluation.views import predict_with_tta

__getattr__ = renamed.forwarding(__name__)
