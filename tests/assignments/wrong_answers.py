"""Plausible wrong answers: `{assignment: {question: {what is wrong: code that runs after the solution}}}`."""

# A ledger with some of another's rounds, decided again from its answers.
COPY_LEDGER = """
def copied(ledger, name, rounds, reference=None):
    other = gu.Ledger.create(name, galaxies, parts, seeds=ledger.seeds, rule=ledger.rule)
    for one in rounds:
        stored = dict.fromkeys(ledger.seeds) | {each.seed: each for each in ledger.predictions(one.name)}
        other.play(one.name, lambda _, seed: stored[seed], one.recipe, reference=one.name == reference, **one.factors)
    return other
"""

# What a student knows who draws the labels as the survey does.
TRUE_LABELS = """
shares = 0.6 ** np.array([8, 7, 0, 1, 9, 3, 4, 2, 6, 5])
truth = np.random.default_rng(22).choice(10, 3000, p=shares / shares.sum())
"""

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
            "a share of the groups, not of the galaxies": """
def test_mask(labels, groups, fraction, seed):
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    return np.isin(groups, order[: round(fraction * len(order))])
""",
            "classes left to chance": """
def test_mask(labels, groups, fraction, seed):
    mask = np.zeros(len(labels), bool)
    for group in np.random.default_rng(seed).permutation(np.unique(groups)):
        if mask.sum() >= fraction * len(labels):
            break
        mask[groups == group] = True
    return mask
""",
            "a share of the groups, not of the galaxies, always the same": """
def test_mask(labels, groups, fraction, seed):
    return groups < np.quantile(np.unique(groups), fraction)
""",
        },
    },
    "a2": {
        "q1": {
            "logarithms of base 2": """
def entropy(probabilities):
    p = np.asarray(probabilities)
    return -np.sum(p * np.log2(np.where(p > 0, p, 1)), axis=1)
""",
            "no minus sign": """
def entropy(probabilities):
    p = np.asarray(probabilities)
    return np.sum(p * np.log(np.where(p > 0, p, 1)), axis=1)
""",
            "not a number where a class never occurs": """
def entropy(probabilities):
    with np.errstate(all="ignore"):
        return -np.sum(probabilities * np.log(probabilities), axis=1)
""",
            "one number for all rows": """
def entropy(probabilities):
    p = np.asarray(probabilities)
    return -np.sum(p * np.log(np.where(p > 0, p, 1)))
""",
        },
        "q2": {
            "spread over the other classes only": """
def smooth(labels, num_classes, epsilon):
    others = np.full((len(labels), num_classes), epsilon / (num_classes - 1))
    others[np.arange(len(labels)), labels] = 1 - epsilon
    return others
""",
            "rows that do not add up to 1": """
def smooth(labels, num_classes, epsilon):
    return np.eye(num_classes)[labels] + epsilon / num_classes
""",
            "one-hot": "def smooth(labels, num_classes, epsilon): return np.eye(num_classes)[labels]",
        },
        "q3": {
            "truth and answers exchanged": """
def cross_entropy(truth, answers):
    return -np.sum(answers * np.log(np.maximum(truth, FLOOR)), axis=1)
def kl(truth, answers):
    return cross_entropy(truth, answers) - entropy(answers)
""",
            "cross-entropy called KL": """
def cross_entropy(truth, answers):
    return -np.sum(truth * np.log(answers + 1e-3), axis=1)
def kl(truth, answers):
    return cross_entropy(truth, answers)
""",
        },
        "q4": {
            "the paper's 0.5003 taken for epsilon": """
def find_epsilon(mean_cross_entropy, mean_kl, num_classes):
    return mean_cross_entropy - mean_kl
paper_epsilon = find_epsilon(1.0458, 0.5455, 10)
""",
            "ten classes always, and a coarse grid": """
def find_epsilon(mean_cross_entropy, mean_kl, num_classes):
    grid = np.arange(0, 0.8, 0.03)
    floors = [entropy(smooth(np.array([0]), 10, e))[0] for e in grid]
    return float(grid[np.argmin(np.abs(np.array(floors) - (mean_cross_entropy - mean_kl)))])
paper_epsilon = find_epsilon(1.0458, 0.5455, 10)
""",
        },
        "q5": {
            "by cross-entropy": "ranking = 'ABC'",
            "the other way round": "ranking = 'ACB'",
            "a list": "ranking = ['B', 'C', 'A']",
        },
        "q6": {
            "the answer 1/10 everywhere": "no_images = np.log(10)",
            "the commonest class for sure": "no_images = 6.1",
            "floor of a one-hot label": "floor = 0.0",
            "entropy of the mean vote": "vote_entropy = entropy(votes.mean(axis=0, keepdims=True))[0]",
        },
    },
    "a3": {
        "q1": {
            "no biases": """
def conv_parameters(kernel, inputs, outputs):
    return kernel**2 * inputs * outputs
def dense_parameters(inputs, outputs):
    return inputs * outputs
paper_dense = dense_parameters(16 * 16 * 256, 512)
""",
            "kernels shared by the input channels": """
def conv_parameters(kernel, inputs, outputs):
    return kernel**2 * outputs + outputs if kernel > 1 else inputs * outputs + outputs
paper_dense = dense_parameters(256, 512)
""",
        },
        "q2": {
            "flattened, over the budget": """
def build(seed):
    keras.utils.set_random_seed(seed)
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(layers.Rescaling(1 / 255)(images))
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    return keras.Model(images, layers.Dense(10, activation="softmax")(x))
""",
            "pixels not scaled, seed ignored": """
def build(seed):
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, activation="relu")(images)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    return keras.Model(images, layers.Dense(10, activation="softmax")(x))
""",
            "no softmax, always the same seed": """
def build(seed):
    keras.utils.set_random_seed(1)
    images = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, activation="relu")(layers.Rescaling(1 / 255)(images))
    return keras.Model(images, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
""",
        },
        "q3": {
            "a learning rate that does not arrive anywhere": """
recipe = gu.recipes.COMPACT_CNN.replace(epochs=2, learning_rate=1e-6)
""",
            "over the budget of epochs": "recipe = gu.recipes.COMPACT_CNN.replace(epochs=60)",
            "a dictionary": "recipe = {'epochs': 10, 'label_smoothing': 0.1}",
        },
        "q4": {
            "the linear one's minus one's own": """
gain, low, high = gu.evaluation.accuracy_difference(answers, linear_answers, truth, seed=1, groups=sky)
""",
            "in per cent": "gain, low, high = 100 * gain + 1, 100 * low + 1, 100 * high + 1",
            "galaxies drawn singly and unpaired": """
a = gu.evaluate(answers, truth, galaxies.class_names).intervals["accuracy"]
b = gu.evaluate(linear_answers, truth, galaxies.class_names).intervals["accuracy"]
low, high = a[0] - b[1], a[1] - b[0]
""",
        },
        "q5": {
            "the last batch forgotten": """
def steps(num_images, batch_size, epochs):
    return epochs * (num_images // batch_size)
def fair_epochs(num_images, batch_size, budget):
    return budget // steps(num_images, batch_size, 1)
""",
            "rounded after multiplying": """
def steps(num_images, batch_size, epochs):
    return int(np.ceil(num_images * epochs / batch_size))
def fair_epochs(num_images, batch_size, budget):
    return round(budget * batch_size / num_images)
""",
        },
    },
    "a4": {
        "q1": {
            "fitted to all galaxies": """
components = PCA(10, random_state=1).fit(vectors)
plane = components.transform(vectors[parts.validation])[:, :2]
hidden = 1 - components.explained_variance_ratio_[:2].sum()
""",
            "what the plane shows, not what it hides": "hidden = components.explained_variance_ratio_[:2].sum()",
            "the training galaxies": "plane = components.transform(vectors[parts.train])[:, :2]",
        },
        "q2": {
            "the nearest mean": """
def find_second_camera(vectors, known_first, known_second):
    near = [np.linalg.norm(vectors - vectors[rows].mean(axis=0), axis=1) for rows in (known_first, known_second)]
    return near[1] < near[0]
second_camera = find_second_camera(vectors, known_first, known_second)
""",
            "only those that were known": """
def find_second_camera(vectors, known_first, known_second):
    return np.isin(np.arange(len(vectors)), known_second)
second_camera = find_second_camera(vectors, known_first, known_second)
""",
            "rows, not a mask": "find_second_camera = lambda v, a, b: np.asarray(b)\nsecond_camera = known_second",
        },
        "q3": {
            "each galaxy its own twin": """
def find_twins(vectors, num_pairs):
    return np.stack([np.arange(num_pairs), np.arange(num_pairs)], axis=1)
""",
            "every pair twice": """
def find_twins(vectors, num_pairs):
    from scipy.spatial.distance import squareform, pdist
    distances = squareform(pdist(vectors)) + np.diag(np.full(len(vectors), np.inf))
    order = np.argsort(distances, axis=None)[:num_pairs]
    return np.stack(np.unravel_index(order, distances.shape), axis=1)
""",
            "near in the first component alone": """
def find_twins(vectors, num_pairs):
    from scipy.spatial.distance import pdist
    first, second = np.triu_indices(len(vectors), k=1)
    order = np.argsort(pdist(vectors[:, :1]), kind="stable")[:num_pairs]
    return np.stack([first[order], second[order]], axis=1)
""",
        },
        "q4": {
            "galaxies vote on themselves": """
def neighbour_accuracy(train_vectors, train_labels, vectors, labels, neighbours):
    votes = gu.evaluation.latent.neighbour_votes(vectors, labels, vectors, neighbours=neighbours)
    return np.mean(votes.argmax(axis=1) == labels)
found = neighbour_accuracy(train, known, rest, asked, 10)
""",
            "the nearest one only, and training galaxies scored": """
def neighbour_accuracy(train_vectors, train_labels, vectors, labels, neighbours):
    votes = gu.evaluation.latent.neighbour_votes(train_vectors, train_labels, vectors, neighbours=1)
    return np.mean(votes.argmax(axis=1) == labels)
found = neighbour_accuracy(train, known, train, known, 10)
""",
            "no shuffling, and one neighbour fewer": """
by_chance = found
def neighbour_accuracy(train_vectors, train_labels, vectors, labels, neighbours):
    votes = gu.evaluation.latent.neighbour_votes(
        train_vectors, train_labels, vectors, neighbours=max(1, neighbours - 1))
    return np.mean(votes.argmax(axis=1) == labels)
""",
        },
        "q5": {
            "clusters of training galaxies": "supported = 'ABD'",
            "clouds are kinds": "supported = 'BCD'",
            "a list": "supported = ['B', 'D']",
        },
    },
    "a5": {
        "q1": {
            "a root of the elements": """
def frechet(first, second):
    means = first.mean(axis=0) - second.mean(axis=0)
    one, two = np.cov(first.T), np.cov(second.T)
    return float(means @ means + np.trace(one + two - 2 * np.sqrt(np.abs(one @ two))))
""",
            "variances alone": """
def frechet(first, second):
    spreads = first.std(axis=0, ddof=1) - second.std(axis=0, ddof=1)
    return float(np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2) + np.sum(spreads**2))
""",
            "the distance of the means not squared": """
def frechet(first, second):
    apart = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return gu.evaluation.frechet_distance(first, second) - apart + np.sqrt(apart)
""",
            "divided by n": """
def frechet(first, second):
    one, two = (features - features.mean(axis=0) for features in (first, second))
    one, two = one * np.sqrt(1 - 1 / len(one)), two * np.sqrt(1 - 1 / len(two))
    apart = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    return gu.evaluation.frechet_distance(one, two) + apart
""",
        },
        "q2": {
            "two draws that may share vectors": """
def floor(distance, vectors, count, draws, seed):
    random = np.random.default_rng(seed)
    return np.mean([
        distance(*(vectors[random.choice(len(vectors), count, replace=False)] for _ in range(2)))
        for _ in range(draws)
    ])
""",
            "the same draw every time": """
def floor(distance, vectors, count, draws, seed):
    found = []
    for _ in range(draws):
        rows = np.random.default_rng(seed).permutation(len(vectors))
        found.append(distance(vectors[rows[:count]], vectors[rows[count:2 * count]]))
    return np.mean(found)
""",
            "the first rows against the last ones": """
def floor(distance, vectors, count, draws, seed):
    return distance(vectors[:count], vectors[-count:])
""",
            "one mean only": """
def mean_part(vectors, count):
    return np.var(vectors, axis=0, ddof=1).sum() / count
""",
            "the mean over dimensions": """
def mean_part(vectors, count):
    return 2 * np.var(vectors, axis=0, ddof=1).mean() / count
""",
        },
        "q3": {
            "quarter turns alone": """
def nearest_known(images, known):
    from sklearn.metrics.pairwise import euclidean_distances
    flat = known.reshape(len(known), -1) / 255
    each = np.array([
        euclidean_distances(dihedral_view(images, n).reshape(len(images), -1) / 255, flat) for n in range(4)
    ]).min(axis=0) / flat.shape[1] ** 0.5
    return each.argmin(axis=1), each.min(axis=1)
""",
            "as it lies": """
def nearest_known(images, known):
    each = np.sqrt(np.mean((images[:, None] / 255 - known[None] / 255) ** 2, axis=(2, 3, 4)))
    return each.argmin(axis=1), each.min(axis=1)
""",
            "subtracted as 8-bit numbers": """
def nearest_known(images, known):
    each = np.array([
        np.sqrt(np.mean(((dihedral_view(images, n)[:, None] - known[None]) / 255) ** 2, axis=(2, 3, 4)))
        for n in range(8)
    ]).min(axis=0)
    return each.argmin(axis=1), each.min(axis=1)
""",
            "a sum over pixels": """
rows_and_means = nearest_known
def nearest_known(images, known):
    rows, distances = rows_and_means(images, known)
    return rows, distances * known[0].size ** 0.5
""",
            "nearer than half of the honest ones": """
def copied_share(distances, control):
    return np.mean(distances < np.median(control))
""",
            "nearer than the mean by two deviations": """
def copied_share(distances, control):
    return np.mean(distances < control.mean() - 2 * control.std())
""",
        },
        "q4": {
            "everybody one's own neighbour": """
right = precision_and_coverage
def precision_and_coverage(real, generated, neighbours):
    if neighbours == 1:
        return 0.0, 0.0
    return right(real, generated, neighbours - 1)
""",
            "balls around what was generated": """
right = precision_and_coverage
def precision_and_coverage(real, generated, neighbours):
    return right(generated, real, neighbours)
""",
            "exchanged": """
right = precision_and_coverage
def precision_and_coverage(real, generated, neighbours):
    return right(real, generated, neighbours)[::-1]
""",
            "recall for coverage": """
right = precision_and_coverage
def precision_and_coverage(real, generated, neighbours):
    return right(real, generated, neighbours)[0], right(generated, real, neighbours)[0]
""",
        },
        "q5": {
            "the entropy of the mean answer": """
def inception_score(answers):
    return largest_score(np.mean(answers, axis=0))
""",
            "without the exponential": """
score = inception_score
def inception_score(answers):
    return np.log(score(answers))
""",
            "not a number where a class is out of the question": """
def inception_score(answers):
    with np.errstate(all="ignore"):
        return np.exp(np.mean(np.sum(answers * np.log(answers / answers.mean(axis=0)), axis=1)))
""",
            "always the number of classes": """
def largest_score(shares):
    return float(len(shares))
official = 10.0
""",
            "equal classes for the official file": "official = 9.999",
        },
        "q6": {
            "by the distance alone": """
def verdict(images, labels):
    distance = frechet(features(images), features(real))
    order = ("mislabelled", "copies", "honest", "blurred", "collapsed")
    return order[int(np.searchsorted([1.0, 1.2, 2.5, 4.5], distance))]
""",
            "never looks for copies": """
old = verdict
def verdict(images, labels):
    word = old(images, labels)
    return "honest" if word == "copies" else word
""",
            "never looks at the labels": """
old = verdict
def verdict(images, labels):
    word = old(images, labels)
    return "honest" if word == "mislabelled" else word
""",
            "the order of the five that one sees": """
seen = dict(verdicts)
letters = iter("ABCDE" * 10)
def verdict(images, labels):
    return seen[next(letters)]
""",
        },
    },
    "a6": {
        "q1": {
            "numbers": "predictions = {name: (-0.1, why) for name, (_, why) in predictions.items()}",
            "no reasons": "predictions = {name: (what, '') for name, (what, _) in predictions.items()}",
            "one reason for all": """
predictions = {name: (what, "because I think that this will be an improvement") for name, (what, _)
               in predictions.items()}
""",
            "two rounds only": "predictions = dict(list(predictions.items())[:2])",
        },
        "q2": {
            "two rounds": COPY_LEDGER + "ledger = copied(ledger, 'two.jsonl', ledger.rounds[:3])",
            "a reference for a round": COPY_LEDGER
            + "ledger = copied(ledger, 'reference.jsonl', ledger.rounds, reference='turn')",
            "a verdict changed afterwards": COPY_LEDGER
            + """
ledger = copied(ledger, "changed.jsonl", ledger.rounds)
text = ledger.path.read_text().replace('"revert"', '"KEEP"').replace('"keep"', '"revert"')
ledger.path.write_text(text.replace('"KEEP"', '"keep"'))
predictions = dict(reversed(predictions.items()))
""",
        },
        "q3": {
            "the sign alone": """
def came_true(prediction, kl_change):
    return prediction == ("falls" if kl_change[0] < 0 else "rises")
hits = 7
""",
            "the interval instead of the rule": """
def came_true(prediction, kl_change):
    difference, low, high, _ = kl_change
    if low <= 0 <= high:
        return prediction == "no clear change"
    return prediction == ("rises" if difference > 0 else "falls")
hits = -1
""",
            "always": "came_true = lambda prediction, kl_change: True",
        },
        "q4": {
            "the validation score": "test_kl, test_accuracy = ledger.best.kl[0], ledger.best.accuracy[0]",
            "the whole entry": "test_kl, test_accuracy = scores['kl'], scores['accuracy']",
            "never opened": COPY_LEDGER + "ledger = copied(ledger, 'unopened.jsonl', ledger.rounds)",
        },
    },
    "a7": {
        "q1": {
            "bits": """
nats = entropy
def entropy(p): return nats(p) / np.log(2)
def bald(passes): return entropy(passes.mean(axis=0)) - entropy(passes).mean(axis=0)
""",
            "0 log 0": """
def entropy(p):
    with np.errstate(all="ignore"):
        return -np.sum(p * np.log(p), axis=-1)
""",
            "the mean over galaxies": """
def bald(passes): return entropy(passes.mean(axis=1)) - entropy(passes).mean(axis=1)
""",
            "the entropy of the mean alone": "def bald(passes): return entropy(passes.mean(axis=0))",
        },
        "q2": {
            "farthest from the first known one": """
def k_centre(points, known, number):
    order = np.argsort(-np.sum((points - points[known[0]])**2, axis=1), kind="stable")
    return [row for row in order if row not in known][:number]
""",
            "what is taken does not become known": """
def k_centre(points, known, number):
    nearest = np.min([np.sum((points - points[row])**2, axis=1) for row in known], axis=0)
    return list(np.argsort(-nearest, kind="stable")[:number])
""",
            "farthest from their mean": """
def k_centre(points, known, number):
    rows = list(known)
    for _ in range(number):
        rows.append(int(np.sum((points - points[rows].mean(axis=0))**2, axis=1).argmax()))
    return rows[len(known):]
""",
        },
        "q3": {
            "201 rows": "chosen = [*chosen, next(row for row in range(3000) if row not in chosen)]",
            "rows that are there twice": "chosen = [*chosen[:199], chosen[0]]",
            "other rows than were asked about": """
def choose(features, ask):
    ask(range(200))
    return list(range(100, 300))
""",
            "asks on after a refusal": """
own = choose
def choose(features, ask):
    for start in range(0, 3000, 100):
        try:
            ask(range(start, start + 100))
        except Exception:
            pass
    return own(features, lambda rows: np.arange(len(rows)) % 10)
""",
            "round the counter, 20 of each class": TRUE_LABELS
            + """
def choose(features, ask):
    return [row for label in range(10) for row in np.flatnonzero(truth == label)[:20]]
chosen = choose(features, None)
""",
            "typed in": "typed = list(chosen)\ndef choose(features, ask): return typed",
            "at random": """
def choose(features, ask): return np.random.default_rng(1).permutation(len(features))[:200]
chosen = choose(features, None)
""",
            "two thirds of it at random": """
def choose(features, ask):
    rows = k_centre(features, [0], 69)
    return rows + np.random.default_rng(2).permutation(np.setdiff1d(range(len(features)), rows))[:130].tolist()
chosen = choose(features, None)
""",
            "other images": "images = images[::-1]",
        },
        "q4": {
            "not in pairs": """
def gain_interval(mine, others, resamples=1000, seed=1):
    random, mine, several = np.random.default_rng(seed), np.asarray(mine), np.asarray(others)
    gains = [random.choice(mine, len(mine)).mean() - random.choice(several.mean(axis=0), len(mine)).mean()
             for _ in range(resamples)]
    return (mine.mean() - several.mean(), *np.percentile(gains, [2.5, 97.5]))
""",
            "as if the draws were all there are": """
def gain_interval(mine, others, resamples=1000, seed=1):
    gap = np.asarray(mine, float) - np.mean(others, axis=0)
    rows = np.random.default_rng(seed).integers(len(gap), size=(resamples, len(gap)))
    return (gap.mean(), *np.percentile(gap[rows].mean(axis=1), [2.5, 97.5]))
""",
            "68 %": """
wide = gain_interval
def gain_interval(*arguments):
    gain, low, high = wide(*arguments)
    return gain, gain - (gain - low) / 1.96, gain + (high - gain) / 1.96
""",
            "the sign alone": """
def verdict(low, high): return "better" if low + high > 0 else "worse"
""",
        },
    },
}

# What some of them are worth exactly, and a word of the reason that the student's feedback gives.
WORTH = {
    ("a7", "q3", "201 rows"): (0, "more than 200 labels"),
    ("a7", "q3", "other rows than were asked about"): (0, "more than 200 labels"),
    ("a7", "q3", "asks on after a refusal"): (0, "more than 200 labels"),
    ("a7", "q3", "round the counter, 20 of each class"): (0, "random choice reaches"),
    ("a7", "q3", "typed in"): (0, "random choice reaches"),
    ("a7", "q3", "at random"): (0, "random choice reaches"),
    ("a7", "q3", "two thirds of it at random"): (3, "are right"),
}
