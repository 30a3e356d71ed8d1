"""How to train, as data: both papers' hyper-parameters, with what had to be inferred marked as such."""

import dataclasses
from dataclasses import dataclass

from galaxy_utils import renamed
from galaxy_utils.errors import ConfigurationError, check_integer, check_number
from galaxy_utils.profiles import get_profile

# Fields that describe a recipe and change nothing in a run.
DESCRIPTIVE_FIELDS = ("name", "source", "inferred")
# Fields that hold integers of at least 1, and those that hold numbers in an interval.
_INTEGERS = ("epochs", "batch_size", "reduce_learning_rate_patience", "early_stopping_patience")
_NUMBERS = {
    "(0, inf)": ("learning_rate", "clip_norm"),
    "[0, 1)": ("beta_1", "beta_2", "label_smoothing", "weight_decay"),
    "(0, 1)": ("reduce_learning_rate_factor",),
    "[0, inf)": ("reconstruction_weight", "classification_weight"),
}
_CHOICES = {"optimizer": ("adam", "adamw", "sgd"), "learning_rate_schedule": ("constant", "cosine")}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The network itself, the data and the seed are not part of it.

    Attributes:
        name: Short name.
        epochs: Largest number of passes over the training set.
        batch_size: Images per step; the last batch of an epoch holds what is left.
        learning_rate: Initial learning rate.
        optimizer: `"adam"`, the only one either paper names, `"adamw"` or `"sgd"`.
        beta_1: Adam's decay of the mean gradient; the momentum of SGD.
        beta_2: Adam's decay of the mean squared gradient.
        weight_decay: AdamW's weight decay; `None` for the others.
        clip_norm: Largest norm of all gradients together; `None` leaves them as they are.
        label_smoothing: ε: the true class gets 1 − ε + ε/K, each other class ε/K, for K classes.
        learning_rate_schedule: `"constant"`, or `"cosine"`: half a cosine from `learning_rate` towards zero, epoch by
            epoch.
        reduce_learning_rate_patience: After how many epochs without a lower validation loss the learning rate is
            multiplied by `reduce_learning_rate_factor`; `None` for never.
        reduce_learning_rate_factor: That factor.
        early_stopping_patience: After how many epochs without a lower validation loss training stops; `None` for
            never.
        restore_best_weights: Whether the network ends with the weights of the epoch with the lowest validation loss.
        balanced_classes: Whether each class weighs the same in the training loss, however many galaxies it has.
        reconstruction_weight: Factor of the reconstruction's mean squared error (of values 0 to 1) in the loss of a
            network that reconstructs and classifies. Other trainings do not use it.
        classification_weight: Factor of the cross-entropy in the same loss.
        inferred: Fields that the source does not state or whose value is damaged in the scan.
        source: Where the values come from.

    Example:
        >>> gu.Recipe("short", epochs=3, optimizer="sgd").replace(epochs=5).epochs
        5
    """

    name: str
    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    beta_1: float = 0.9
    beta_2: float = 0.999
    weight_decay: float | None = None
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    learning_rate_schedule: str = "constant"
    reduce_learning_rate_patience: int | None = None
    reduce_learning_rate_factor: float = 0.5
    early_stopping_patience: int | None = None
    restore_best_weights: bool = False
    balanced_classes: bool = False
    reconstruction_weight: float = 1.0
    classification_weight: float = 1.0
    inferred: tuple = ()
    source: str = ""

    def __post_init__(self):
        object.__setattr__(self, "inferred", tuple(self.inferred))
        # What may be None is checked where it is not.
        given = {name for name, field in self.__dataclass_fields__.items() if getattr(self, name) is not field.default}
        for name in sorted(given.intersection(_INTEGERS)):
            check_integer(name, getattr(self, name), 1)
        for interval, names in _NUMBERS.items():
            for name in sorted(given.intersection(names)):
                check_number(name, getattr(self, name), interval)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                self._refuse(name, " or ".join(map(repr, choices)))
        if self.reconstruction_weight == self.classification_weight == 0:
            self._refuse("reconstruction_weight", "above 0 when classification_weight is 0")
        if (self.optimizer == "adamw") != (self.weight_decay is not None):
            self._refuse("weight_decay", "a number for 'adamw', None for other optimizers")

    def _refuse(self, field, expected):
        found = repr(getattr(self, field))
        raise ConfigurationError(f"A recipe cannot have this {field}.", where=self.name, expected=expected, found=found)

    def replace(self, **changes):
        """Return a copy with some fields changed. A field that is set here no longer counts as inferred.

        Raises:
            ConfigurationError: A value that the field cannot have.
            TypeError: A field that a recipe does not have.
        """
        changes.setdefault("inferred", tuple(name for name in self.inferred if name not in changes))
        return dataclasses.replace(self, **changes)

    def for_profile(self, profile):
        """Return the recipe with no more epochs than a profile allows.

        Args:
            profile: the name of a profile, or a `Profile`.
        """
        limit = get_profile(profile).maximum_epochs
        return self if limit is None or self.epochs <= limit else self.replace(epochs=limit)

    def diff(self, other):
        """Return `{field: (mine, theirs)}` for every field that changes a run and differs between two recipes."""
        mine, theirs = self.to_dict(), other.to_dict()
        changed = [name for name in mine if name not in DESCRIPTIVE_FIELDS and mine[name] != theirs[name]]
        return {name: (mine[name], theirs[name]) for name in changed}

    def to_dict(self):
        """Return the fields as a dictionary that JSON can hold."""
        return {**dataclasses.asdict(self), "inferred": list(self.inferred)}

    def __str__(self):
        lines = [f"Recipe {self.name}" + (f" ({self.source})" if self.source else "")]
        for field, value in self.to_dict().items():
            if field not in DESCRIPTIVE_FIELDS:
                mark = "  (inferred)" if field in self.inferred else ""
                lines.append(f"  {field.replace('_', ' '):<30}{'none' if value is None else value}{mark}")
        return "\n".join(lines)


_BETAS = ("beta_1", "beta_2")  # Paper 1 never states them, paper 2 for its GAN alone.

# Label smoothing: paper 1 says that it smooths, not by how much. Its cross-entropy minus its KL divergence is 0.5003
# for both networks that state them: the entropy of ten-class labels smoothed with ε = 0.1.
FOUR_BLOCK_CNN = Recipe(
    "four_block_cnn",
    epochs=50,
    batch_size=32,
    learning_rate=1e-4,  # The exponent is damaged in the scan.
    label_smoothing=0.1,
    inferred=("learning_rate", "label_smoothing", *_BETAS),
    source="paper 1, section 2.2",
)

JOINT_AUTOENCODER = Recipe(
    "joint_autoencoder",
    epochs=70,
    batch_size=64,
    learning_rate=1e-3,  # The exponent is damaged in the scan: 1e-3 or 1e-4.
    clip_norm=1.0,  # The paper clips gradients; it does not say at which norm.
    label_smoothing=0.1,
    # The paper weighs the two losses and calls their balance "the key challenge"; it does not say how it weighs them.
    inferred=(
        "learning_rate",
        "clip_norm",
        "label_smoothing",
        "reconstruction_weight",
        "classification_weight",
        *_BETAS,
    ),
    source="paper 1, section 2.3",
)

RESNET50_FINE_TUNING = Recipe(
    "resnet50_fine_tuning",
    epochs=50,
    batch_size=32,
    learning_rate=1e-5,
    label_smoothing=0.1,
    reduce_learning_rate_patience=3,
    reduce_learning_rate_factor=0.5,
    early_stopping_patience=10,
    restore_best_weights=True,
    inferred=("epochs", "batch_size", "label_smoothing", *_BETAS),
    source="paper 1, section 2.4",
)

# Paper 2 gives the number of epochs and nothing else; the rest are the defaults of its library's Adam.
THREE_BLOCK_CNN = Recipe(
    "three_block_cnn",
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    inferred=("optimizer", "learning_rate", "batch_size", "label_smoothing", *_BETAS),
    source="paper 2, section 3.2",
)

# Section 3.4 gives learning rate 0.001 and batch size 6 for the same network as section 4.3, from which these are.
CONDITIONAL_GAN = Recipe(
    "conditional_gan",
    epochs=100,
    batch_size=16,
    learning_rate=1e-4,
    beta_1=0.5,
    inferred=("optimizer",),
    source="paper 2, section 4.3",
)

# Paper 2 states the epochs of its super-resolution network and nothing else.
SUPER_RESOLUTION = Recipe(
    "super_resolution",
    epochs=100,
    batch_size=16,
    learning_rate=2e-3,
    learning_rate_schedule="cosine",
    inferred=("optimizer", "batch_size", "learning_rate", "learning_rate_schedule", *_BETAS),
    source="paper 2, section 3.3",
)

# Not from a paper: with few steps a generator has to move fast, and a mean gradient from before the discriminator's
# last step points the wrong way.
RELATIVISTIC_GAN = Recipe(
    "relativistic_gan",
    epochs=150,
    batch_size=16,
    learning_rate=8e-4,
    beta_1=0.0,
    beta_2=0.99,
    learning_rate_schedule="cosine",
    source="this book, chapter 9",
)

# Not from a paper: what a small network needs to do well on few images, measured by
# book/measured/small_recipe_cross_validation.py.
COMPACT_CNN = Recipe(
    "compact_cnn",
    epochs=90,
    batch_size=32,
    learning_rate=2e-3,
    label_smoothing=0.1,
    learning_rate_schedule="cosine",
    source="this book, chapter 4",
)

__getattr__ = renamed.forwarding(__name__)
