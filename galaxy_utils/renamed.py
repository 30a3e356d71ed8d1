"""Names of version 0.1 that are in people's notebooks: they warn and lead to today's, for one version.

`CHANGES.md` lists them all. To be deleted with version 0.3.
"""

import pkgutil
import warnings

# Old name → where it is today.
RENAMED = {
    "galaxy_utils.control_rows": "galaxy_utils.baselines",
    "galaxy_utils.augmentation.RandomFlipsAndTurns": "galaxy_utils.augmentation.RandomDihedral",
    "galaxy_utils.augmentation.draw_galaxies": "galaxy_utils.augmentation.generate_images",
    "galaxy_utils.augmentation.draw_synthetic": "galaxy_utils.augmentation.add_generated",
    "galaxy_utils.augmentation.steady_gan": "galaxy_utils.augmentation.relativistic_gan",
    "galaxy_utils.data.views.view_images": "galaxy_utils.data.views.dihedral_view",
    "galaxy_utils.evaluation.features_and_answers": "galaxy_utils.evaluation.features_and_predictions",
    "galaxy_utils.evaluation.predict_eight_views": "galaxy_utils.evaluation.predict_with_tta",
    "galaxy_utils.measurement.identity_of": "galaxy_utils.prediction.identity_of",
    "galaxy_utils.models.classifier_alone": "galaxy_utils.models.encoder_classifier",
    "galaxy_utils.models.paper_1_cnn": "galaxy_utils.models.four_block_cnn",
    "galaxy_utils.models.paper_2_cnn": "galaxy_utils.models.three_block_cnn",
    "galaxy_utils.models.small_cnn": "galaxy_utils.models.compact_cnn",
    "galaxy_utils.recipes.PAPER_1_CNN": "galaxy_utils.recipes.FOUR_BLOCK_CNN",
    "galaxy_utils.recipes.PAPER_1_AUTOENCODER": "galaxy_utils.recipes.JOINT_AUTOENCODER",
    "galaxy_utils.recipes.PAPER_1_RESNET50": "galaxy_utils.recipes.RESNET50_FINE_TUNING",
    "galaxy_utils.recipes.PAPER_2_CNN": "galaxy_utils.recipes.THREE_BLOCK_CNN",
    "galaxy_utils.recipes.PAPER_2_GAN": "galaxy_utils.recipes.CONDITIONAL_GAN",
    "galaxy_utils.recipes.SMALL_CNN": "galaxy_utils.recipes.COMPACT_CNN",
    "galaxy_utils.recipes.STEADY_GAN": "galaxy_utils.recipes.RELATIVISTIC_GAN",
}


def forward(module, name):
    """Return what an old name of a module stands for, with a warning.

    Args:
        module: Name of the module that was asked.
        name: The name it does not have.

    Raises:
        AttributeError: It never had that name.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     forward("galaxy_utils.recipes", "SMALL_CNN").name
        'compact_cnn'
    """
    today = RENAMED.get(f"{module}.{name}")
    if today is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}; names of version 0.1 stand in CHANGES.md")
    warnings.warn(f"{module}.{name} is now {today}.", DeprecationWarning, stacklevel=3)
    return pkgutil.resolve_name(today)


def forwarding(module):
    """Return a module's `__getattr__` that forwards its old names."""
    return lambda name: forward(module, name)
