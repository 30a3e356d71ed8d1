"""How to train, as data: both papers' hyper-parameters, with what had to be inferred marked as such."""

import dataclasses
import math
from dataclasses import dataclass
from numbers import Integral, Real

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.profiles import get_profile
from galaxy_utils.renamed import forward

# Fields that describe a recipe and change nothing in a run.
DESCRIPTIVE_FIELDS = ("name", "source", "inferred")
OPTIMIZERS = ("adam", "adamw", "sgd")


def _is_count(value):
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value):
    return _is_number(value) and 0 <= value < 1


def _or_none(is_valid):
    return lambda value: value is None or is_valid(value)


# What the fields may hold: names, what is expected, whether a value is that.
_RULES = (
    ("name", "a name", lambda value: isinstance(value, str) and value),
    ("epochs batch_size", "an integer, at least 1", _is_count),
    ("reduce_learning_rate_patience early_stopping_patience", "an integer, at least 1, or None", _or_none(_is_count)),
    ("beta_1 beta_2 label_smoothing", "a number from 0 up to, but not, 1", _is_share),
    ("weight_decay", "a number from 0 up to, but not, 1, or None", _or_none(_is_share)),
    ("restore_best_weights balanced_classes", "True or False", lambda value: isinstance(value, bool)),
    ("learning_rate", "a positive, finite number", lambda value: _is_number(value) and value > 0),
    ("clip_norm", "a positive, finite number or None", _or_none(lambda value: _is_number(value) and value > 0)),
    ("reconstruction_weight classification_weight", "a finite number, at least 0", lambda v: _is_number(v) and v >= 0),
    ("reduce_learning_rate_factor", "a number between 0 and 1", lambda value: _is_share(value) and value > 0),
    ("optimizer", " or ".join(map(repr, OPTIMIZERS)), OPTIMIZERS.__contains__),
    ("learning_rate_schedule", "'constant' or 'cosine'", ("constant", "cosine").__contains__),
    ("inferred", "names of the recipe's own fields", lambda value: set(value) <= set(Recipe.__dataclass_fields__)),
)


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
        for fields, expected, is_valid in _RULES:
            for field in fields.split():
                if not is_valid(getattr(self, field)):
                    self._refuse(field, expected)
        if self.reconstruction_weight == self.classification_weight == 0:
            self._refuse("reconstruction_weight", "above 0 when classification_weight is 0")
        if (self.optimizer == "adamw") != (self.weight_decay is not None):
            self._refuse("weight_decay", "a number for 'adamw', None for other optimizers")

    def _refuse(self, field, expected):
        raise ConfigurationError(
            f"A recipe cannot have this {field}.",
            where=f"recipe {self.name!r}, field {field}",
            expected=expected,
            found=repr(getattr(self, field)),
        )

    def replace(self, **changes):
        """Return a copy with some fields changed. A field that is set here no longer counts as inferred.

        Raises:
            ConfigurationError: A field or value that a recipe cannot have.
        """
        known = {field.name for field in dataclasses.fields(self)}
        if unknown := sorted(set(changes) - known):
            raise ConfigurationError(
                f"A recipe has no field {', '.join(map(repr, unknown))}.",
                where=f"recipe {self.name!r}",
                expected=f"one of {', '.join(sorted(known))}",
            )
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
        return {
            field: (mine[field], theirs[field])
            for field in mine
            if field not in DESCRIPTIVE_FIELDS and mine[field] != theirs[field]
        }

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


# Label smoothing: paper 1 says that it smooths, not by how much. Its cross-entropy minus its KL divergence is 0.5003
# for both networks that state them: the entropy of ten-class labels smoothed with ε = 0.1.
FOUR_BLOCK_CNN = Recipe(
    "four_block_cnn",
    epochs=50,
    batch_size=32,
    learning_rate=1e-4,  # The exponent is damaged in the scan.
    label_smoothing=0.1,
    inferred=("learning_rate", "label_smoothing", "beta_1", "beta_2"),
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
    reconstruction_weight=1.0,
    classification_weight=1.0,
    inferred=(
        "learning_rate",
        "clip_norm",
        "label_smoothing",
        "reconstruction_weight",
        "classification_weight",
        "beta_1",
        "beta_2",
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
    inferred=("epochs", "batch_size", "label_smoothing", "beta_1", "beta_2"),
    source="paper 1, section 2.4",
)

# Paper 2 gives the number of epochs and nothing else; the rest are the defaults of its library's Adam.
THREE_BLOCK_CNN = Recipe(
    "three_block_cnn",
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    inferred=("optimizer", "learning_rate", "batch_size", "label_smoothing", "beta_1", "beta_2"),
    source="paper 2, section 3.2",
)

# Section 3.4 gives learning rate 0.001 and batch size 6 for the same network as section 4.3, from which these are.
CONDITIONAL_GAN = Recipe(
    "conditional_gan",
    epochs=100,
    batch_size=16,
    learning_rate=1e-4,
    beta_1=0.5,
    beta_2=0.999,
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
    inferred=("optimizer", "batch_size", "learning_rate", "learning_rate_schedule", "beta_1", "beta_2"),
    source="paper 2, section 3.3",
)

# Not from a paper: with few steps a generator has to move fast, and a mean gradient from before its opponent's last
# move points the wrong way.
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

# Two stages, paper 1's transfer learning in the careful order: a head with random weights would send large, meaningless
# gradients into the layers below it, so it is trained alone until it has something to say.
HEAD_FIRST = Recipe(
    "head_first",
    epochs=30,
    batch_size=32,
    learning_rate=1e-3,
    label_smoothing=0.1,
    learning_rate_schedule="cosine",
    source="this book, chapter 7",
)

# The second stage when every layer trains, with augmentation and without anything chosen on a validation set. The
# learning rate was chosen from 3e-4 and 1e-3 on one fold of 799 real images, divided otherwise than the folds on which
# book/measured/transfer_cross_validation.py compares it with paper 1's recipe.
FINE_TUNING = Recipe(
    "fine_tuning",
    epochs=40,
    batch_size=32,
    learning_rate=1e-3,
    label_smoothing=0.1,
    learning_rate_schedule="cosine",
    source="this book, chapter 7",
)


def __getattr__(name):
    return forward(__name__, name)
