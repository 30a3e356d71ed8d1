"""Plausible wrong answers: `{assignment: {question: {what is wrong: code that runs after the solution}}}`."""

WRONG_ANSWERS = {
    "a1": {
        "q1": {
            "counts, not shares": "shares = np.bincount(labels)",
            "shares of the largest class": "shares = np.bincount(labels) / np.bincount(labels).max()",
            "guessing among ten classes": "majority_accuracy = 0.1",
            "rarest over commonest": "imbalance = shares.min() / shares.max()",
            "commonest class over all the others": "imbalance = shares.max() / (1 - shares.max())",
        },
        "q2": {
            "accuracy": "def balanced_accuracy(labels, predictions): return np.mean(labels == predictions)",
            "precision for recall": """
def balanced_accuracy(labels, predictions):
    right = labels == predictions
    return np.mean([right[predictions == c].mean() for c in np.unique(labels) if (predictions == c).any()])
""",
            "absent classes count as zero": """
def balanced_accuracy(labels, predictions):
    right, classes = labels == predictions, range(max(labels.max(), predictions.max()) + 1)
    return np.mean([right[labels == c].mean() if (labels == c).any() else 0 for c in classes])
""",
        },
        "q3": {
            "not normalised": """
def class_weights(labels, num_classes):
    counts = np.bincount(labels, minlength=num_classes)
    return np.where(counts > 0, 1 / np.maximum(counts, 1), 0)
""",
            "divided by all classes, also absent ones": """
def class_weights(labels, num_classes):
    counts = np.bincount(labels, minlength=num_classes)
    return np.where(counts > 0, len(labels) / (num_classes * np.maximum(counts, 1)), 1)
""",
            "mean over classes, not galaxies": """
def class_weights(labels, num_classes):
    counts = np.bincount(labels, minlength=num_classes)
    weights = np.where(counts > 0, 1 / np.maximum(counts, 1), 0)
    return weights / weights.mean()
""",
            "shares as weights": """
def class_weights(labels, num_classes):
    return np.bincount(labels, minlength=num_classes) / len(labels)
""",
        },
        "q4": {
            "pairs that the test touches": """
def count_torn(pairs, test_rows):
    return int(np.isin(pairs, test_rows).any(axis=1).sum())
def expected_torn(num_pairs, fraction):
    return num_pairs * (1 - (1 - fraction) ** 2)
""",
            "one direction only": """
def count_torn(pairs, test_rows):
    inside = np.isin(pairs, test_rows)
    return int(np.sum(inside[:, 0] & ~inside[:, 1]))
def expected_torn(num_pairs, fraction):
    return num_pairs * fraction * (1 - fraction)
""",
        },
        "q5": {
            "galaxies drawn one by one": """
def test_mask(labels, groups, fraction, seed):
    return np.random.default_rng(seed).random(len(labels)) < fraction
""",
            "the last rows": """
def test_mask(labels, groups, fraction, seed):
    return np.arange(len(labels)) >= (1 - fraction) * len(labels)
""",
            "a share of the groups, not of the galaxies, always the same": """
def test_mask(labels, groups, fraction, seed):
    return groups < np.quantile(np.unique(groups), fraction)
""",
        },
    },
}
