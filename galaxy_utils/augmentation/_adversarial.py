"""What the two adversarial networks share. Importing this module loads Keras."""

import keras
from keras import ops


class AdversarialModel(keras.Model):
    """A generator and a discriminator that train against each other in one plain `fit`.

    `compute_loss` of a subclass adds two losses that must not reach the same weights: the discriminator's, on images
    whose gradient is stopped, and the generator's, through a discriminator whose weights are stopped. Each network then
    gets its own gradient from one backward pass, whatever the backend. The discriminator must have no batch
    statistics, which the second pass would see as well.
    """

    def judged(self, inputs, training):
        """Return the discriminator's scores, shape (n, 1), of which only the input can be changed by a gradient."""
        weights = [ops.stop_gradient(variable.value) for variable in self.discriminator.trainable_variables]
        others = [variable.value for variable in self.discriminator.non_trainable_variables]
        scores, _ = self.discriminator.stateless_call(weights, others, *inputs, training=training)
        return scores

    def add_means(self, *names, adversarial=True):
        """Make an average over each epoch of these losses, and of the adversarial ones."""
        names += ("discriminator_loss", "generator_loss", "ranking_accuracy") * adversarial
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    def note(self, losses):
        """Let the averages know the losses of a batch, `{name: value}`."""
        for name, value in losses.items():
            self.means[name].update_state(value)
