"""What both adversarial networks share: a discriminator that scores without being taught."""

from keras import ops


def frozen_scores(discriminator, inputs, training):
    """Return a discriminator's scores through weights that no gradient reaches: they teach the generator alone.

    Args:
        discriminator: A Keras model.
        inputs: What it takes.
        training: Whether it runs as in training.

    Returns:
        Its output, usually of shape (n, 1).

    Example:
        >>> score = frozen_scores(gan.discriminator, [images, classes], training=False)  # doctest: +SKIP
    """
    weights = [ops.stop_gradient(variable.value) for variable in discriminator.trainable_variables]
    others = [variable.value for variable in discriminator.non_trainable_variables]
    return discriminator.stateless_call(weights, others, inputs, training=training)[0]
