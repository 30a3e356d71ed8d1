"""The layer that makes an autoencoder variational. Importing this module loads Keras."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("galaxy_utils")
class SampleLatent(keras.layers.Layer):
    """Draw a latent vector from the normal distribution that an encoder describes, and price that distribution.

    Input: shape (n, 2 · latent_dim), means followed by logarithms of variances. Output: shape (n, latent_dim), a draw
    in training (mean + standard deviation · noise) and the mean elsewhere. The divergence of the distribution from the
    standard normal one, −½ Σ (1 + log σ² − μ² − σ²) nats, times a weight is added to the network's loss (Kingma and
    Welling 2014, appendix B).

    Args:
        divergence_weight: That weight.
        seed: Seed of the draws.
    """

    def __init__(self, divergence_weight, seed=1, **options):
        super().__init__(**options)
        self.divergence_weight, self.seed = divergence_weight, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, statistics, training=False):
        mean, log_variance = ops.split(statistics, 2, axis=-1)
        divergence = -0.5 * ops.sum(1 + log_variance - ops.square(mean) - ops.exp(log_variance), axis=-1)
        self.add_loss(self.divergence_weight * ops.mean(divergence))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.generator)
        return mean + ops.exp(0.5 * log_variance) * noise

    def compute_output_spec(self, statistics, training=False):
        return keras.KerasTensor((*statistics.shape[:-1], statistics.shape[-1] // 2), statistics.dtype)

    def get_config(self):
        return {**super().get_config(), "divergence_weight": self.divergence_weight, "seed": self.seed}
