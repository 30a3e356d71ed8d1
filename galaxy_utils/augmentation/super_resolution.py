"""A super-resolution network (SRGAN) that doubles an image's side, as paper 2 used one before training."""

from numbers import Real

import numpy as np

from galaxy_utils.errors import ConfigurationError
from galaxy_utils.models.cnn import check_integer

FACTOR = 2
# Filters of the discriminator's eight convolutions.
DISCRIMINATOR_FILTERS = (16, 16, 32, 32, 64, 64, 64, 64)


def super_resolution_gan(
    image_size=64,
    feature_network=None,
    *,
    feature_layer=None,
    pixel_weight=1.0,
    feature_weight=1e-3,
    adversarial_weight=3e-4,
    channels=24,
    seed=1,
):
    """Build a network that is shown galaxies at half their size and is asked for the originals (Ledig et al. 2017).

    Paper 2 states the factor of 2, "8 generator layers and 9 discriminator layers", and nothing else. Here layers with
    weights are counted. Generator: a 5×5 convolution; two residual blocks of two 3×3 convolutions; one more, with a
    skip over both blocks; a bilinear enlargement of the feature maps and two 3×3 convolutions. Discriminator: eight 3×3
    convolutions, every second with stride 2; a dense layer.

    Some things differ from Ledig et al., so that minutes suffice:

    - The generator adds its detail to the bicubic enlargement instead of painting the whole image.
    - Then each block of 2×2 pixels is shifted so that its mean is the small pixel again. Bicubic interpolation does not
      keep it, and nothing that the network invents can change what was seen.
    - Feature maps are enlarged bilinearly, not by a transposed or sub-pixel convolution, whose weights differ between
      the four pixels that one becomes: with an opponent they chequer the sky (Odena et al. 2016).
    - With an adversarial loss, the generator is given random pixels. Asked for the noise of the sky without them, it
      weaves a pattern. They are new in each step of training and the same in each batch afterwards.
    - The discriminator is shown each image and, beside it and ten times as strong, what halving takes from it. The
      noise of a dark sky is too faint to be learned from in minutes.
    - There is no batch normalisation (Lim et al. 2017 measured it to do harm).
    - The feature network is not VGG, which knows photographs, but a classifier of galaxies.

    The loss of the generator is a weighted sum: pixels (mean squared error of values 0 to 1), features (mean squared
    difference of a classifier's feature maps, in units of their own variance in the originals) and adversarial
    (cross-entropy of the discriminator's answer). They are of very different sizes, about 4e-4, 0.02 and 1 for images
    of 64 pixels, and the weights have to make up for that. Train the network with `gu.fit(..., targets="images")`. The
    history holds `pixel_loss`, `feature_loss`, `generator_loss` (adversarial), `discriminator_loss` and
    `ranking_accuracy`: how often the discriminator gives an original a higher score than what the generator made of it.

    Args:
        image_size: Side of the originals, pixels; a multiple of 16.
        feature_network: A Keras model of images 0–255 of this size, usually a trained classifier; a copy of it is
            used, frozen. `None` only with `feature_weight=0`.
        feature_layer: Name of the layer whose output counts as features; `None` for the last with feature maps.
        pixel_weight: Factor of the pixel loss.
        feature_weight: Factor of the feature loss.
        adversarial_weight: Factor of the adversarial loss; with 0 there is no discriminator.
        channels: Channels inside the generator.
        seed: Seed of the initial weights.

    Returns:
        A `keras.Model`. Input: RGB images, shape (n, image_size, image_size, 3), values 0–255; they are halved inside
        by averaging 2×2 pixels. Output: the same images as they come back, in [0, 1], float32. Its layer `"generator"`
        is a model of its own, from images in [0, 1] of any even size to images of twice that size.

    Raises:
        ConfigurationError: A size, weight or feature network that cannot work.
    """
    check_integer("image_size", image_size, 16, "the discriminator halves the image four times")
    check_integer("channels", channels, 1, "an image cannot be described by no numbers")
    check_integer("seed", seed, 0, "seeds are counted from zero")
    if image_size % 16:
        smaller = image_size // 16 * 16
        raise ConfigurationError(
            "The discriminator cannot halve images of this size four times.",
            where="image_size",
            expected=f"a multiple of 16, for example {smaller} or {smaller + 16}",
            found=repr(image_size),
        )
    weights = {"pixel_weight": pixel_weight, "feature_weight": feature_weight, "adversarial_weight": adversarial_weight}
    for name, value in weights.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < float("inf"):
            raise ConfigurationError(
                "A loss cannot have this weight.", where=name, expected="a finite number, at least 0", found=repr(value)
            )
    if not any(weights.values()):
        raise ConfigurationError(
            "Without any loss there is nothing to learn.", where=", ".join(weights), expected="one of them above 0"
        )
    if feature_weight and feature_network is None:
        raise ConfigurationError(
            "A feature loss needs a network that makes features.",
            where="feature_network",
            expected="a Keras model, such as a classifier trained before",
            found="None",
            remedy="give one, or set feature_weight=0",
        )

    from galaxy_utils.augmentation._super_resolution_model import SuperResolutionGAN

    return SuperResolutionGAN(
        image_size, feature_network if feature_weight else None, feature_layer, channels, seed, **weights
    )


def upscale(model, images, batch_size=32):
    """Return images at twice their size, by the generator of a trained network.

    Args:
        model: A network from `super_resolution_gan`, trained.
        images: Shape (n, height, width, 3), uint8; even sides of any length.
        batch_size: Images per step.

    Returns:
        Images, shape (n, 2 · height, 2 · width, 3), uint8.
    """
    generator, enlarged = model.get_layer("generator"), []
    for start in range(0, len(images), batch_size):
        several = np.asarray(images[start : start + batch_size], np.float32) / 255
        enlarged.append(np.rint(255 * np.clip(np.asarray(generator.predict_on_batch(several)), 0, 1)))
    return np.concatenate(enlarged).astype(np.uint8)
