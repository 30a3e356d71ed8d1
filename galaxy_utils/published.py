"""What the two papers report, in one place. Other splits, no intervals: nobody here has measured these numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedScore:
    """One network's scores on a paper's own test galaxies; `None` where the paper states none.

    Attributes:
        network: What was trained, in words.
        paper: `"paper 1"` or `"paper 2"`.
        accuracy: Share of the test galaxies, 0 to 1.
        kl_divergence: From the smoothed labels, in nats.
        cross_entropy: With the smoothed labels, in nats.
    """

    network: str
    paper: str
    accuracy: float
    kl_divergence: float | None = None
    cross_entropy: float | None = None


# The keys are short names for a chapter's code.
PUBLISHED = {
    "CNN": PublishedScore("convolutional network", "paper 1", 0.4887),
    "joint": PublishedScore("autoencoder and classifier", "paper 1", 0.61, 1.0167, 1.5169),
    "ResNet50": PublishedScore("ResNet50, last 20 layers fine-tuned", "paper 1", 0.81, 0.5455, 1.0458),
    "CNN, epoch 3": PublishedScore("convolutional network, epoch 3", "paper 2", 0.5744),
    "CNN, epoch 10": PublishedScore("convolutional network, epoch 10", "paper 2", 0.4859),
    "GANs": PublishedScore("the same after augmentation by GANs", "paper 2", 0.65),
}
