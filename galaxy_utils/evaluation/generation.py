"""How good generated galaxies are: distances between sets of images, copies, shapes; each beside real against real.

Every distance between two sets of images is larger than 0 even for two sets of real ones, because both are samples, and
it depends on how many there are. So nothing here is worth reading without its *floor*: the same number between real
training and real test images, as many of each and of the same classes.
"""

import math
from dataclasses import dataclass

import numpy as np

from galaxy_utils.data.views import NUM_VIEWS, dihedral_view
from galaxy_utils.errors import DataError
from galaxy_utils.evaluation.latent import nearest
from galaxy_utils.evaluation.significance import check_count, percentile_interval

# --- Distances between two sets of feature vectors --------------------------------------------------------------------


def frechet_distance(first, second):
    """Return the Fréchet distance of two sets of feature vectors, as if each were normally distributed (FID).

    |μ₁ − μ₂|² + Tr(C₁ + C₂ − 2 (C₁C₂)^½), with means μ and covariances C (Heusel et al. 2017, eq. 6). The usual name,
    Fréchet Inception Distance, belongs to features of the Inception network; with others, values compare only among
    themselves. It is biased: with fewer images it is larger.

    Args:
        first: Shape (n, d), n at least 2.
        second: Shape (m, d), m at least 2.

    Returns:
        The squared distance, in squared units of the features.

    Raises:
        DataError: Something that is no two sets of vectors.
    """
    first, second = _checked_features(first, second)
    # With centred vectors A and B as rows, C₁ = AᵀA / (n − 1), and the square roots of the eigenvalues of C₁C₂ are the
    # singular values of A Bᵀ / √((n − 1)(m − 1)). That needs no root of a matrix, and triangles in place of A and B.
    triangles, traces = [], []
    for features in (first, second):
        centred = (features - features.mean(axis=0)) / math.sqrt(len(features) - 1)
        triangles.append(np.linalg.qr(centred, mode="r"))
        traces.append(np.sum(centred**2))
    root = np.linalg.svd(triangles[0] @ triangles[1].T, compute_uv=False).sum()
    return float(np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + sum(traces) - 2 * root)


def kernel_distance(first, second, *, subsets=100, subset_size=100, seed=1):
    """Return the kernel distance of two sets of feature vectors (KID), with the spread of single subsets.

    The squared maximum mean discrepancy for the kernel (x·y / d + 1)³, without bias, averaged over random subsets
    (Bińkowski et al. 2018, section 4). Because it has no bias it may come out negative; two samples of one distribution
    scatter about 0.

    Args:
        first: Shape (n, d).
        second: Shape (m, d).
        subsets: How many pairs of subsets are drawn.
        subset_size: Vectors in each, without repetition; at most as many as the smaller set has.
        seed: Seed of the draws.

    Returns:
        `(mean, low, high)`: the mean over the subsets and the range in which 95 % of the subsets lie. That range is
        wider than the error of the mean.

    Raises:
        DataError: Something that is no two sets of vectors.
        ConfigurationError: A number of subsets that cannot work.
    """
    first, second = _checked_features(first, second)
    check_count("subsets", subsets, 1)
    check_count("subset_size", subset_size, 2)
    size = min(subset_size, len(first), len(second))
    random, distances = np.random.default_rng(seed), np.empty(subsets)
    for number in range(subsets):
        a = first[random.choice(len(first), size, replace=False)]
        b = second[random.choice(len(second), size, replace=False)]
        distances[number] = squared_discrepancy(a, b)
    low, high = percentile_interval(distances)
    return float(distances.mean()), float(low), float(high)


def squared_discrepancy(first, second):
    """Return the unbiased estimate of the squared maximum mean discrepancy for the kernel (x·y / d + 1)³.

    Args:
        first: Shape (n, d).
        second: Shape (m, d).
    """

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean_of_pairs(values):
        # No vector is paired with itself: that is what makes the estimate unbiased.
        return (values.sum() - np.trace(values)) / (len(values) * (len(values) - 1))

    within = mean_of_pairs(kernel(first, first)) + mean_of_pairs(kernel(second, second))
    return float(within - 2 * kernel(first, second).mean())


def inception_score(probabilities):
    """Return exp of the mean divergence of a classifier's answers from their average (Salimans et al. 2016).

    1 when every image gets the same answer; at most the number of classes that the classifier can tell apart, when each
    image is surely of one class and all are equally frequent. It never looks at a real image.

    Args:
        probabilities: Shape (n, number of classes); rows sum to 1.
    """
    probabilities = np.clip(np.asarray(probabilities, float), 1e-12, None)
    average = probabilities.mean(axis=0)
    return float(np.exp(np.mean(np.sum(probabilities * np.log(probabilities / average), axis=1))))


# --- Samples beside real galaxies -------------------------------------------------------------------------------------

_MEASURES = ("frechet", "kernel", "inception", "recognised")


@dataclass(frozen=True)
class SampleScores:
    """How generated images compare with real test galaxies, and real training galaxies with the same.

    Attributes:
        generated: Dictionary with `frechet` (FID), `kernel` (KID), `kernel_low`, `kernel_high`, `inception` (IS) and
            `recognised`: the share of images that the classifier takes for the class they were asked to be.
        floor: The same of real training images: what a perfect generator would reach with so many images. `inception`
            and `recognised` compare with nothing: a generator that draws only typical galaxies can lie above it.
        images: Images in each of the three sets.
        images_by_class: `{class name: images}`, the same in the three sets.
        features: Numbers in a feature vector.
        judge: Name of the network whose features the distances compare.
    """

    generated: dict
    floor: dict
    images: int
    images_by_class: dict
    features: int
    judge: str

    def table(self):
        """Return one dictionary per measure: `measure`, `generated`, `real`, `better`."""
        titles = {
            "frechet": ("Fréchet distance (FID)", "lower"),
            "kernel": ("kernel distance (KID) × 1000", "lower"),
            "inception": ("Inception Score", "higher"),
            "recognised": ("recognised as its class", "higher"),
        }
        scale = {"kernel": 1000}
        return [
            {
                "measure": title,
                "generated": self.generated[name] * scale.get(name, 1),
                "real": self.floor[name] * scale.get(name, 1),
                "better": better,
            }
            for name, (title, better) in titles.items()
        ]

    def __str__(self):
        lines = [f"{self.images} images of each kind, {self.features} features of {self.judge}"]
        lines.append(f"  {'':<32}{'generated':>10}{'real':>10}   better")
        for row in self.table():
            lines.append(f"  {row['measure']:<32}{row['generated']:10.3f}{row['real']:10.3f}   {row['better']}")
        return "\n".join(lines)


def score_samples(
    classifier, images, labels, dataset, split, *, feature_network=None, part="test", subsets=100, seed=1
):
    """Compare generated images with real ones, and real ones with real ones, by the features of a classifier.

    Three sets of equal size and equal classes are drawn: generated, real from `part`, real from the training part. The
    classifier was trained on the training part, which flatters the floor's `recognised`; the distances compare the
    first and the third set with the second.

    Args:
        classifier: A Keras model from images, values 0–255, to class probabilities. Features are what its last layer
            takes.
        images: Generated images, shape (n, height, width, 3), uint8.
        labels: The class each was asked to be, shape (n,).
        dataset: A `GalaxyDataset` of the same image size.
        split: Its `Split`.
        feature_network: A Keras model from images, values 0–255, to feature vectors, such as one of
            `models.backbone_features`, whose features the distances compare in place of the classifier's.
        part: `"test"` or `"validation"`.
        subsets: Subsets behind the kernel distance.
        seed: Seed of the draws.

    Returns:
        `SampleScores`.

    Raises:
        DataError: Fewer than four images that can be compared.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    random, everyone = np.random.default_rng(seed), np.asarray(dataset.labels)
    rows, train = np.asarray(split.part(part)), np.asarray(split.train)
    chosen = {"generated": [], "real": [], "train": []}
    by_class = {}
    for label in np.unique(labels):
        members = {
            "generated": np.flatnonzero(labels == label),
            "real": rows[everyone[rows] == label],
            "train": train[everyone[train] == label],
        }
        count = min(map(len, members.values()))
        by_class[dataset.class_names[label]] = count
        for name, candidates in members.items():
            chosen[name].append(random.choice(candidates, count, replace=False))
    chosen = {name: np.concatenate(each).astype(int) for name, each in chosen.items()}
    if len(chosen["real"]) < 4:
        raise DataError(
            "There are too few images to compare.",
            where=f"{part} part of {dataset.name}",
            expected="at least 4 generated and 4 real images of the same classes",
            found=f"{len(chosen['real'])}",
        )
    features, answers = {}, {}
    for name, which in chosen.items():
        several = images[which] if name == "generated" else np.asarray(dataset.images[which])
        features[name], answers[name] = features_and_predictions(classifier, several)
        if feature_network is not None:
            features[name] = np.asarray(feature_network.predict(several, verbose=0), np.float64)
    wanted = {"generated": labels[chosen["generated"]], "train": everyone[chosen["train"]]}

    def compare(name):
        mean, low, high = kernel_distance(features[name], features["real"], subsets=subsets, seed=seed)
        return {
            "frechet": frechet_distance(features[name], features["real"]),
            "kernel": mean,
            "kernel_low": low,
            "kernel_high": high,
            "inception": inception_score(answers[name]),
            "recognised": float(np.mean(answers[name].argmax(axis=1) == wanted[name])),
        }

    return SampleScores(
        generated=compare("generated"),
        floor=compare("train"),
        images=len(chosen["real"]),
        images_by_class=by_class,
        features=features["real"].shape[1],
        judge=(feature_network or classifier).name,
    )


def features_and_predictions(classifier, images, batch_size=64):
    """Return what a classifier's last layer takes and what it gives.

    Args:
        classifier: A Keras model whose last layer is the one that answers.
        images: Shape (n, height, width, 3), values 0–255.
        batch_size: Images per step.

    Returns:
        `(features, probabilities)`: float64, shapes (n, d) and (n, number of classes).
    """
    import keras

    network = keras.Model(classifier.input, [classifier.layers[-1].input, classifier.output])
    parts = [network.predict_on_batch(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
    features, answers = (np.concatenate(each).astype(np.float64) for each in zip(*parts, strict=True))
    return features.reshape(len(features), -1), answers


# --- Copies -----------------------------------------------------------------------------------------------------------


def nearest_real(images, dataset, rows, *, side=16):
    """Find the real galaxy that each image resembles most, however turned or mirrored: a copy would be very near.

    Images are averaged down before they are compared, so that neither noise nor a shift by a pixel hides a copy, and
    each is compared in its eight exact views.

    Args:
        images: Shape (n, height, width, 3), uint8.
        dataset: A `GalaxyDataset` of the same image size.
        rows: Rows of the real galaxies among which to look. More of them lie nearer by chance alone: compare distances
            only between equally many.
        side: Side of the averaged images, pixels.

    Returns:
        `(rows, distances)`: of the nearest galaxies, shape (n,), int64, and root mean square differences of brightness,
        0 to 1, shape (n,).

    Raises:
        DataError: Images that cannot be compared.
    """
    from galaxy_utils.data.prepare import area_average

    images, rows = np.asarray(images), np.asarray(rows)
    if images.shape[1:] != tuple(dataset.images.shape[1:]) or not len(images) or not len(rows):
        raise DataError(
            "These images cannot be compared with the galaxies.",
            where=dataset.name,
            expected=f"images of shape {tuple(dataset.images.shape[1:])}, at least one, and at least one row",
            found=f"{len(images)} images of shape {images.shape[1:]}, {len(rows)} rows",
        )
    size = min(side, dataset.image_size)

    def vectors(several):
        return area_average(several, size).reshape(len(several), -1).astype(np.float32) / 255

    real, best, which = vectors(np.asarray(dataset.images[rows])), np.full(len(images), np.inf), None
    which = np.zeros(len(images), np.int64)
    for number in range(NUM_VIEWS):
        places, distances = nearest(real, vectors(np.ascontiguousarray(dihedral_view(images, number))), 1)
        nearer = distances[:, 0] < best
        best[nearer], which[nearer] = distances[nearer, 0], rows[places[nearer, 0]]
    return which, best / math.sqrt(real.shape[1])


def _checked_features(first, second):
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    sound = all(f.ndim == 2 and len(f) >= 2 and np.isfinite(f).all() for f in (first, second))
    if not sound or first.shape[1] != second.shape[1]:
        raise DataError(
            "These two sets of features cannot be compared.",
            where="first, second",
            expected="finite numbers, shapes (n, d) and (m, d), at least two vectors in each",
            found=f"shapes {first.shape} and {second.shape}",
        )
    return first, second
