"""How large a run is: three profiles in one table, from a test that takes a minute to the papers' own settings."""

import difflib
from dataclasses import dataclass

from galaxy_utils.errors import ConfigurationError


@dataclass(frozen=True)
class Profile:
    """The size of a run. It never changes what is done, only how much of it.

    Attributes:
        name: `"smoke"`, `"demo"` or `"full"`.
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


# The central half is kept at small sizes because galaxies are small in the frame: at 64 px a small CNN gained
# 0.16 to 0.27 in accuracy from that crop alone. The full profile keeps the papers' uncropped 256 px.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("smoke", 400, 0.5, 32, 2, 200, "tests: proves that everything runs, its numbers mean nothing"),
        Profile("demo", 3000, 0.5, 64, 8, 1000, "a laptop: minutes, enough for the story to show"),
        Profile("full", 17736, 1.0, 256, None, 1000, "a GPU: the papers' image size and number of epochs"),
    )
}


def get_profile(name):
    """Return the profile called `name`.

    Args:
        name: `"smoke"`, `"demo"`, `"full"`, or a `Profile`, which is returned as it is.

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
