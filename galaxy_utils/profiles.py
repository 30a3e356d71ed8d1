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
        purpose: One line for people.
    """

    name: str
    simulated_galaxies: int
    crop_fraction: float
    image_size: int
    maximum_epochs: int | None
    bootstrap_samples: int
    purpose: str

    def settings(self, chapter):
        """Return the sizes of one chapter in this profile, as attributes.

        Args:
            chapter: Number of the chapter. Settings that several chapters share stand in each of them.

        Raises:
            ConfigurationError: The chapter has no settings of its own.

        Example:
            >>> get_profile("demo").settings(3).image_size
            48
        """
        if chapter not in CHAPTERS:
            raise ConfigurationError(
                f"Chapter {chapter!r} has no settings of its own.",
                where="chapter",
                expected=f"one of {', '.join(map(str, CHAPTERS))}",
            )
        column = list(PROFILES).index(self.name)
        return SimpleNamespace(**{name: values[column] for name, values in CHAPTERS[chapter].items()})


# The central half is kept at small sizes because galaxies are small in the frame: at 64 px a small CNN gained
# 0.16 to 0.27 in accuracy from that crop alone. The gpu profile keeps the central 128 px as they are; the full profile
# the papers' uncropped 256 px.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", 400, 0.5, 32, 2, 200, "tests: proves that everything runs, its numbers mean nothing"),
        Profile("demo", 3_000, 0.5, 64, 8, 1_000, "a laptop: minutes, enough for the story to show"),
        Profile("gpu", 17_736, 0.5, 128, 30, 1_000, "a GPU such as Colab's: all galaxies at full resolution"),
        Profile("full", 17_736, 1.0, 256, None, 1_000, "a GPU: the papers' image size and number of epochs"),
    )
}

# Settings that several chapters share: the joint network that chapter 5 trains and chapter 6 looks into, the classifier
# whose features compare images in chapters 8 to 10, the super-resolution network of 8 and 10, the GAN of 9 and 10.
_JOINT = {"joint_epochs": (2, 6, 30, 70)}
_EVALUATION_CLASSIFIER = {"evaluation_classifier_epochs": (2, 8, 20, 90)}
_SUPER_RESOLUTION = {
    "super_resolution_images": (100, 1_000, 17_736, 17_736),
    "super_resolution_epochs": (1, 5, 10, 100),
}
_GAN = {"gan_images_seen": (200, 12_000, 300_000, 400_000)}

# One row for each setting of a chapter: smoke, demo, gpu, full.
CHAPTERS = {
    3: {
        "image_size": (32, 48, 128, 256),
        "images_seen": (500, 15_600, 345_000, 576_400),
        "learning_rate": (1e-3, 1e-3, 1e-3, 1e-4),
        "epochs_of_paper_2": (2, 10, 10, 10),
    },
    4: {
        "image_size": (32, 32, 128, 256),
        "num_train": (100, 600, 17_736, 17_736),
        "epochs": (2, 6, 20, 48),
        "num_seeds": (2, 3, 3, 5),
        "autoencoder_epochs": (1, 12, 20, 48),
    },
    5: {
        "image_size": (32, 48, 128, 256),
        "num_seeds": (2, 2, 3, 5),
        **_JOINT,
    },
    6: {
        "image_size": (32, 48, 128, 256),
        **_JOINT,
    },
    7: {
        "backbone": ("mobilenetv2", "mobilenetv2", "resnet50", "resnet50"),
        "image_size": (32, 96, 128, 256),
        "num_train": (120, 2_000, 17_736, 17_736),
        "images_seen": (240, 10_000, 300_000, 1_000_000),
        "num_seeds": (2, 3, 3, 3),
    },
    8: {
        **_EVALUATION_CLASSIFIER,
        **_SUPER_RESOLUTION,
    },
    9: {
        "tstr_epochs": (1, 12, 30, 60),
        **_EVALUATION_CLASSIFIER,
        **_GAN,
    },
    10: {
        "large_image_size": (32, 64, 128, 256),
        # Four seeds of a narrow network decide more than two of a wide one; demo omits methods beside the question.
        "first_filters": (8, 8, 32, 32),
        "learning_rate": (1e-3, 3e-3, 1e-3, 1e-3),
        "steps": (6, 420, 3_000, 20_000),
        "num_seeds": (2, 4, 5, 5),
        "exploratory": (True, False, True, True),
        "epochs_of_paper_2": (2, 10, 10, 10),
        **_EVALUATION_CLASSIFIER,
        **_SUPER_RESOLUTION,
        **_GAN,
    },
    11: {
        "backbone": ("mobilenetv2", "mobilenetv2", "resnet50", "resnet50"),
        "image_size": (32, 32, 64, 64),
        "num_train": (60, 400, 17_736, 17_736),
        "epochs": (1, 5, 20, 30),
        "num_seeds": (2, 8, 8, 8),
    },
    12: {
        "image_size": (32, 32, 64, 64),
        "num_pool": (100, 400, 4_000, 4_000),
        "epochs": (2, 16, 15, 15),
        "first_filters": (8, 8, 32, 32),
        "learning_rate": (1e-3, 3e-3, 1e-3, 1e-3),
        "num_trials": (3, 8, 10, 10),
        "num_central": (2, 6, 10, 10),
        "num_few": (2, 3, 5, 5),
    },
}


def get_profile(name):
    """Return the profile called `name`.

    Args:
        name: `"smoke"`, `"demo"`, `"gpu"`, `"full"`, or a `Profile`, which is returned as it is.

    Raises:
        ConfigurationError: The name is not in the table.
    """
    if isinstance(name, Profile):
        return name
    if not isinstance(name, str) or name not in PROFILES:
        near = difflib.get_close_matches(str(name).lower(), PROFILES, n=1)
        raise ConfigurationError(
            f"There is no profile {name!r}.",
            where="profile",
            expected=f"one of {', '.join(PROFILES)}",
            found=repr(name),
            remedy=f"Did you mean {near[0]!r}?" if near else None,
        )
    return PROFILES[name]
