"""A conditional generative adversarial network: asked for a class, it draws a galaxy of that class."""

from numbers import Real
from pathlib import Path

import numpy as np

from galaxy_utils.arrays import read_arrays, write_arrays
from galaxy_utils.augmentation.synthetic import SyntheticImages
from galaxy_utils.classes import NUM_CLASSES
from galaxy_utils.data.prepare import area_average
from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.files import explain_read_errors, locked
from galaxy_utils.models.cnn import check_integer

LOSSES = ("cross_entropy", "relativistic")
# As many images are drawn at a time, so that memory stays flat.
IMAGES_AT_ONCE = 64


def conditional_gan(
    image_size=64,
    num_classes=NUM_CLASSES,
    *,
    loss="cross_entropy",
    augmentation=None,
    averaging=0.0,
    smoothness=0.0,
    one_view=False,
    grain=False,
    spectral_normalisation=False,
    latent_dim=64,
    seed=1,
):
    """Build a generator and a discriminator that both know the class, as one network for one `gu.fit`.

    The defaults are paper 2's recipe as far as it is stated: binary cross-entropy, both networks conditioned on the
    class (section 3.4). Architecture and conditioning are not stated and inferred here. Generator: a random vector
    and the class, through a dense layer to 4×4 pixels, then convolutions, each with a bilinear enlargement, batch
    normalisation and leaky ReLU, that double the side until `image_size`; a last convolution with a sigmoid.
    Discriminator: convolutions with stride 2 and leaky ReLU on the image and one map for each class, all 1 for the
    class and all 0 for the others; a dense layer. It has no batch normalisation, through which real and drawn
    images would see each other.

    The other arguments make training steadier; `relativistic_gan` is the combination that this book uses.

    Train it with `gu.fit(..., targets="conditions")`. One `compute_loss` adds the discriminator's loss, on drawn images
    whose gradient is stopped, and the generator's, through a discriminator whose weights are stopped. The history
    holds `discriminator_loss`, `generator_loss` and `ranking_accuracy`: how often the discriminator gives a real galaxy
    a higher score than a drawn one of the same class. At 0.5 it cannot tell, at 1 it always can; much higher for
    training than for validation galaxies, and it has memorised the training galaxies.

    Args:
        image_size: Side of the square images, pixels: 4, 5, 6 or 7 times a power of 2, at least 8.
        num_classes: Number of classes. Those without training images are never trained.
        loss: `"cross_entropy"`: the discriminator says real or drawn, the generator wants to hear real (Goodfellow et
            al. 2014). `"relativistic"`: it says which of two, one real and one drawn of the same class, is the real one
            (Jolicoeur-Martineau 2019).
        augmentation: A layer, or several in a list, that changes what the discriminator sees, real and drawn images
            alike, and lets gradients through (Zhao et al. 2020).
        averaging: Decay of the running average of the generator's weights, from which images are drawn, 0 up to, but
            not, 1. 0 draws from the last weights themselves.
        smoothness: Weight of a penalty on the steepness of the discriminator: half of it times the squared gradient of
            the score by the image, for real and drawn images (Mescheder et al. 2018), measured by the change of the
            score under small noise. A discriminator that knows a few hundred galaxies by heart is steep about each of
            them, and such slopes lead the generator astray.
        one_view: Whether each real galaxy is shown in that one of its eight exact views whose long axis points between
            right and lower right. A galaxy has no up: the generator then need not learn every galaxy eight times, and
            `generate_images` turns what it draws at random.
        grain: Whether the generator is given random pixels too, which it mixes and adds to its image as the noise of
            the sky. Without them it has to weave noise from its smooth feature maps, and a pattern comes out.
        spectral_normalisation: Whether each layer of the discriminator is divided by its largest singular value
            (Miyato et al. 2018).
        latent_dim: Length of the random vector.
        seed: Seed of the initial weights and of all draws in training.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255. Output: the same images
        in [0, 1], as the loss is given them. Its attributes `generator`, `averaged_generator` and `discriminator` are
        models of their own: the first two from vectors, one-hot classes and, with `grain`, random pixels to images in
        [0, 1].

    Raises:
        ConfigurationError: A size, loss or setting that cannot work.
    """
    check_integer("image_size", image_size, 8, "a generator doubles the side of 4 to 7 pixels at least once")
    check_integer("num_classes", num_classes, 1, "a galaxy of no class cannot be asked for")
    check_integer("latent_dim", latent_dim, 1, "without random numbers every galaxy would be the same")
    check_integer("seed", seed, 0, "seeds are counted from zero")
    smallest = smallest_side(image_size)
    if loss not in LOSSES:
        raise ConfigurationError(
            f"There is no adversarial loss {loss!r}.",
            where="loss",
            expected=" or ".join(map(repr, LOSSES)),
            found=repr(loss),
        )
    if isinstance(averaging, bool) or not isinstance(averaging, Real) or not 0 <= averaging < 1:
        raise ConfigurationError(
            "Weights cannot be averaged with this decay.",
            where="averaging",
            expected="a number from 0 up to, but not, 1",
            found=repr(averaging),
        )

    if isinstance(smoothness, bool) or not isinstance(smoothness, Real) or not 0 <= smoothness < np.inf:
        raise ConfigurationError(
            "The steepness of the discriminator cannot be weighted like this.",
            where="smoothness",
            expected="a number, at least 0",
            found=repr(smoothness),
        )

    from galaxy_utils.augmentation._conditional_gan_model import ConditionalGAN

    return ConditionalGAN(
        image_size,
        num_classes,
        loss=loss,
        augmentation=augmentation,
        averaging=float(averaging),
        smoothness=float(smoothness),
        one_view=bool(one_view),
        grain=bool(grain),
        spectral_normalisation=bool(spectral_normalisation),
        latent_dim=latent_dim,
        smallest=smallest,
        seed=seed,
    )


def relativistic_gan(image_size=64, num_classes=NUM_CLASSES, *, seed=1, **changes):
    """Build the conditional GAN that this book uses: `conditional_gan` with what was found to help.

    Relativistic loss; shifts and changes of brightness before the discriminator, which is kept from getting steep;
    weights averaged over about 50 steps; every galaxy in one of its eight views; random pixels for the sky's noise.
    Train it with `recipes.RELATIVISTIC_GAN`.

    Args:
        image_size: As in `conditional_gan`.
        num_classes: Likewise.
        seed: Likewise.
        changes: Other arguments of `conditional_gan`, which take the place of the combination's.

    Returns:
        A `keras.Model` as from `conditional_gan`.

    Raises:
        ConfigurationError: A size, a number of classes or a seed that cannot work.
    """
    from galaxy_utils.augmentation.geometric import RandomShiftAndBrightness

    check_integer("seed", seed, 0, "seeds are counted from zero")
    settings = {
        "loss": "relativistic",
        "augmentation": RandomShiftAndBrightness(seed=seed),
        "averaging": 0.98,
        "smoothness": 0.02,
        "one_view": True,
        "grain": True,
    }
    return conditional_gan(image_size, num_classes, seed=seed, **(settings | changes))


def smallest_side(image_size):
    """Return the side of 4 to 7 pixels from which doubling leads to `image_size`.

    Raises:
        ConfigurationError: None does.
    """
    side = image_size
    while side > 7 and side % 2 == 0:
        side //= 2
    if side > 7:
        doublings = int(np.log2(image_size / 4))
        lower = image_size // 2**doublings * 2**doublings
        raise ConfigurationError(
            "Doubling never leads to images of this size.",
            where="image_size",
            expected=f"4, 5, 6 or 7 times a power of 2, for example {lower} or {lower + 2**doublings}",
            found=repr(image_size),
            remedy="prepare the galaxies at one of these sizes",
        )
    return side


def generate_images(gan, labels, seed=1):
    """Draw one galaxy for each label.

    Args:
        gan: A network from `conditional_gan`, trained.
        labels: Integers, shape (n,): the class that each is to have.
        seed: Seed of the random vectors: the same seed gives the same galaxies.

    Returns:
        Images, shape (n, image_size, image_size, 3), uint8, from the averaged generator where there is one.

    Raises:
        ConfigurationError: A label that the network has no class for.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or not np.isin(labels, gan.classes).all():
        raise ConfigurationError(
            "The network cannot draw galaxies of these classes.",
            where=gan.name,
            expected=f"integers from 0 to {gan.classes[-1]}, shape (n,)",
            found=f"{labels.dtype} of shape {labels.shape}, with the values {np.unique(labels)}",
        )
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((len(labels), gan.latent_dim), dtype=np.float32)
    views = random.integers(NUM_VIEWS, size=len(labels))
    one_hot = np.eye(len(gan.classes), dtype=np.float32)[labels]
    images = np.empty((len(labels), *gan.output.shape[1:]), np.uint8)
    for start in range(0, len(labels), IMAGES_AT_ONCE):
        few = slice(start, start + IMAGES_AT_ONCE)
        inputs = [vectors[few], one_hot[few]]
        if gan.grain:
            inputs.append(random.standard_normal((len(vectors[few]), *images.shape[1:]), dtype=np.float32))
        drawn = np.asarray(gan.best_generator(inputs, training=False))
        images[few] = np.rint(255 * np.clip(drawn, 0, 1))
    if gan.one_view:
        for number in range(NUM_VIEWS):
            images[views == number] = dihedral_view(images[views == number], number)
    return images


def add_generated(gan, dataset, split, counts, seed=1, alone=False):
    """Draw training images of some classes, for `add_synthetic`.

    Args:
        gan: A network from `conditional_gan`, trained with this dataset and split (or with some classes of it).
        dataset: The `GalaxyDataset`. Where its images are smaller than those of the network, drawn ones are averaged
            down as real ones were.
        split: The `Split`. Its training rows are noted, so that the images can only be added to a training part that
            holds them all.
        counts: How many images of each class, shape (number of classes,), usually from `missing_images`.
        seed: Seed of the draws.
        alone: Whether they are to take the place of the real training images instead of joining them.

    Returns:
        `SyntheticImages` without source galaxies.

    Raises:
        ConfigurationError: Counts that do not fit the classes.
        DataError: Images of a class that has no training galaxy.
    """
    counts = np.asarray(counts)
    if counts.shape != (dataset.num_classes,) or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise ConfigurationError(
            "These are no counts of images.",
            where="counts",
            expected=f"{dataset.num_classes} integers, at least 0",
            found=repr(counts),
        )
    present = np.bincount(np.asarray(dataset.labels)[split.train], minlength=dataset.num_classes) > 0
    if (counts[~present] > 0).any():
        label = int(np.flatnonzero((counts > 0) & ~present)[0])
        raise DataError(
            f"Nobody has shown the network a galaxy of class {dataset.class_names[label]!r}.",
            where=f"training part of {dataset.name}",
            expected="at least one training galaxy of each class that is to be drawn",
        )
    labels = np.repeat(np.arange(dataset.num_classes), counts)
    images = generate_images(gan, labels, seed)
    if len(images) and images.shape[1] > dataset.image_size:
        images = area_average(images, dataset.image_size)
    return SyntheticImages(
        images=images,
        labels=labels,
        learned_from=np.asarray(split.train),
        share=1.0 if alone else len(labels) / (len(labels) + len(split.train)),
        made_by=gan.name,
    )


def sample_snapshots(path, labels, every=5, seed=1):
    """Return a callback for `gu.fit` that keeps what the generator draws every few epochs from the same vectors.

    Args:
        path: File for the frames, a NumPy `.npz`. Frames in it are kept, so that a training that goes on after it was
            killed goes on with its film.
        labels: The class of each galaxy in a frame, shape (n,).
        every: Epochs between frames. The first epoch is always among them.
        seed: Seed of the vectors.

    Returns:
        A Keras callback.
    """
    from galaxy_utils.augmentation._conditional_gan_model import SampleSnapshots

    return SampleSnapshots(Path(path), np.asarray(labels), every, seed)


def read_snapshots(path):
    """Return what a `sample_snapshots` kept: `{epoch: images}`, epochs counted from 1, ascending.

    Raises:
        DataError: There is no film, or the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            "There is no film of this training.", where=path, remedy="give sample_snapshots to gu.fit as a callback"
        )
    with explain_read_errors("The film cannot be read.", path, remedy="delete the file and train again"):
        film = read_arrays(path)
        return {int(epoch): film[epoch] for epoch in sorted(film, key=int)}


def write_snapshots(path, frames):
    """Write the frames of a film, atomically."""
    with locked(path):
        write_arrays(path, {str(epoch): images for epoch, images in frames.items()})
