"""How large a run is: four profiles in one table, from a test that takes a minute to the papers' own settings."""

import difflib
from dataclasses import dataclass
from types import SimpleNamespace

from galaxy_utils.errors import ConfigurationError


@dataclass(frozen=True)
class Profile:
    """The size of a run. It never changes what is done, only how much of it.

    Attributes:
        name: `"smoke"`, `"demo"`, `"gpu"` or `"full"`.
        simulated_galaxies: How many galaxies a simulated survey has.
        crop_fraction: Central share of the cut-out's side that is kept before it is shrunk.
        image_size: Side of the prepared images, in pixels.
        maximum_epochs: Upper limit on a recipe's epochs; `None` keeps the recipe's own number.
        bootstrap_samples: Resamplings behind each interval.
        joint_image_size: Side of the images of the joint network, which chapter 5 trains and chapter 6 looks into.
        joint_epochs: Its epochs.
        evaluation_classifier_epochs: Epochs of the classifier whose features compare images in chapters 8 to 10.
        super_resolution_images: Training images of the super-resolution network of chapters 8 and 10.
        super_resolution_epochs: Its epochs.
        gan_images_seen: How many images the GAN of chapters 9 and 10 sees, all epochs together.
        fetches_weights: Whether pretrained weights are downloaded where there are none.
        purpose: One line for people.
    """

    name: str
    simulated_galaxies: int
    crop_fraction: float
    image_size: int
    maximum_epochs: int | None
    bootstrap_samples: int
    joint_image_size: int
    joint_epochs: int
    evaluation_classifier_epochs: int
    super_resolution_images: int
    super_resolution_epochs: int
    gan_images_seen: int
    fetches_weights: bool
    purpose: str

    def choose(self, **settings):
        """Return what a chapter's settings are in this profile, as attributes.

        Args:
            **settings: For each setting one value per profile, in the order smoke, demo, gpu, full.

        Example:
            >>> get_profile("demo").choose(image_size=(32, 48, 128, 256), num_seeds=(2, 2, 3, 5)).image_size
            48
        """
        column = list(PROFILES).index(self.name)
        return SimpleNamespace(**{name: values[column] for name, values in settings.items()})


# A row for each attribute; smoke, demo, gpu and full side by side. The central half is kept at small sizes because
# galaxies are small in the frame: at 64 px a small CNN gained 0.16 to 0.27 in accuracy from that crop alone. The gpu
# profile keeps the central 128 px as they are; the full profile the papers' uncropped 256 px.
_TABLE = {
    "simulated_galaxies": (400, 3_000, 17_736, 17_736),
    "crop_fraction": (0.5, 0.5, 0.5, 1.0),
    "image_size": (32, 64, 128, 256),
    "maximum_epochs": (2, 8, 30, None),
    "bootstrap_samples": (200, 1_000, 1_000, 1_000),
    "joint_image_size": (32, 32, 128, 256),
    "joint_epochs": (2, 4, 30, 70),
    "evaluation_classifier_epochs": (2, 4, 20, 90),
    "super_resolution_images": (100, 500, 17_736, 17_736),
    "super_resolution_epochs": (1, 3, 10, 100),
    "gan_images_seen": (200, 5_000, 300_000, 400_000),
    "fetches_weights": (False, True, True, True),
    "purpose": (
        "tests: proves that everything runs, its numbers mean nothing",
        "a laptop: minutes, enough for the story to show",
        "a GPU such as Colab's: all galaxies at full resolution",
        "a GPU: the papers' image size and number of epochs",
    ),
}
PROFILES = {
    name: Profile(name, **{field: values[column] for field, values in _TABLE.items()})
    for column, name in enumerate(("smoke", "demo", "gpu", "full"))
}


def get_profile(name):
    """Return the profile called `name`.

    Args:
        name: `"smoke"`, `"demo"`, `"gpu"`, `"full"`, or a `Profile`, which is returned as it is.

    Raises:
        ConfigurationError: The name is not in the table.

    Example:
        >>> gu.get_profile("demo").image_size
        64
    """
    if isinstance(name, Profile):
        return name
    if not isinstance(name, str) or name not in PROFILES:
        near = difflib.get_close_matches(str(name).lower(), PROFILES, n=1)
        remedy, expected = f"Did you mean {near[0]!r}?" if near else None, f"one of {', '.join(PROFILES)}"
        raise ConfigurationError(f"There is no profile {name!r}.", expected=expected, remedy=remedy)
    return PROFILES[name]
