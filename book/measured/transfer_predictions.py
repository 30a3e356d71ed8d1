"""What do features of pretrained networks know of galaxies, and how many labels do they save? Per-galaxy predictions.

    python book/measured/transfer_predictions.py REAL_FOLDER --extractor "NAME=FILE.keras" […] [--folds 5] [--seeds 3]

REAL_FOLDER holds one sub-folder of real images per class. Each FILE.keras is a network that makes a vector of numbers
from RGB images of 0 to 255, saved by Keras: `keras.applications.MobileNetV2((160, 160, 3), include_top=False,
pooling="avg")` behind its own scaling, say. Its input says how large the images are. Beside them stand raw pixels,
averaged to 32 x 32.

The numbers are classified by logistic regression (a linear probe), fitted to all training galaxies of a fold, or to
10, 20 or 40 of each class; a seed draws which. Its regularisation is chosen by cross-validation among those it is
fitted to, divided by sky group. Stored are each galaxy's probabilities (float16), of the image as it is and averaged
over its eight dihedral views. Kill the program and start it again: what is finished is not done again.
"""

import zlib
from pathlib import Path

import keras
import numpy as np
import stored_predictions
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import galaxy_utils as gu
from galaxy_utils.data.views import NUM_VIEWS, ViewedImages
from galaxy_utils.evaluation import averaged_pixels
from galaxy_utils.files import artifacts_folder, write_atomically

PIXELS, PIXEL_SIDE, CROP_FRACTION = "raw pixels", 32, 0.5
LABELS = ("10", "20", "40", "all")
INVERSE_STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def features(name, path, galaxies):
    """Features of every galaxy and view, shape (n, views, numbers); computed once."""
    network = keras.saving.load_model(path, compile=False, safe_mode=True) if path else None
    size = network.input_shape[1] if network else PIXEL_SIDE
    prepared = gu.prepare(galaxies, size, CROP_FRACTION)
    digest = zlib.crc32(Path(path).read_bytes()) if path else 0
    stored = artifacts_folder() / "transfer_predictions" / f"{prepared.fingerprint[:12]}_{digest}.npy"
    if not stored.exists():
        found = []
        for view in range(NUM_VIEWS):
            seen = prepared.replace(images=ViewedImages(prepared.images, view))
            rows = np.arange(len(seen))
            if network:
                found.append(network.predict(seen.keras_dataset(rows, batch_size=64), verbose=0))
            else:
                found.append(averaged_pixels(seen, rows, size))
        with write_atomically(stored) as partial, open(partial, "wb") as file:
            np.save(file, np.stack(found, axis=1).astype(np.float32))
        print(f"{name}: {found[0].shape[1]} numbers from {size} px", flush=True)
    return np.load(stored)


def prepare_training(extractors):
    """Return what `stored_predictions.run` asks for."""

    def prepare(galaxies, folds, groups):
        views = {name: features(name, path, galaxies) for name, path in extractors.items()}
        done = {}

        def fit(name, labels, seed, number):
            rows, random = folds[number].train, np.random.default_rng([seed, number])
            if labels != "all":
                each = [np.flatnonzero(galaxies.labels[rows] == label) for label in range(galaxies.num_classes)]
                rows = rows[np.concatenate([random.permutation(members)[: int(labels)] for members in each])]
            parts = StratifiedGroupKFold(3, shuffle=True, random_state=seed)
            parts = list(parts.split(rows, galaxies.labels[rows], groups[rows]))
            probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
            strengths = {"logisticregression__C": INVERSE_STRENGTHS}
            classifier = GridSearchCV(probe, strengths, scoring="neg_log_loss", cv=parts)
            with threadpool_limits(limits=1):  # several threads spend the solver's many small products waiting
                classifier.fit(views[name][rows, 0], galaxies.labels[rows])
            test = folds[number].test
            answers = [classifier.predict_proba(views[name][test, view]) for view in range(NUM_VIEWS)]
            return np.stack([answers[0], np.mean(answers, axis=0)])

        def train(method, seed, number):
            name, _, labels = method.rpartition(", ")
            # All labels are the same labels for every seed.
            key = (method, number) if labels == "all" else (method, number, seed)
            if key not in done:
                done[key] = fit(name, labels, 1 if labels == "all" else seed, number)
            right = [np.mean(each.argmax(axis=1) == galaxies.labels[folds[number].test]) for each in done[key]]
            return done[key], f"accuracy {right[0]:.3f}, with eight views {right[1]:.3f}"

        return train

    return prepare


if __name__ == "__main__":
    parser = stored_predictions.arguments(__doc__.splitlines()[0], None, "transfer", folds=5, seeds=3)
    parser.add_argument("--extractor", nargs="+", default=[], metavar="NAME=FILE")
    options = parser.parse_args()
    extractors = {PIXELS: None} | dict(each.split("=", 1) for each in options.extractor)
    options.methods = [f"{name}, {labels}" for name in extractors for labels in LABELS]
    marks = {name: file and f"{zlib.crc32(Path(file).read_bytes()):08x}" for name, file in extractors.items()}
    about = {"extractors": marks, "crop_fraction": CROP_FRACTION, "inverse_strengths": INVERSE_STRENGTHS}
    stored_predictions.run(options, prepare_training(extractors), about)
