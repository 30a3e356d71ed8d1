"""Plants faults in a copy of the package, one at a time, and says which of them the tests catch.

    .venv/bin/python tests/planted.py            # all of them: a quarter of an hour on two cores
    .venv/bin/python tests/planted.py 3 17       # only these

A test that never fails proves nothing; this program finds out whether tests fail when they should. It ends with an
error where fewer than nine in ten are caught, or where the tests fail without any fault.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
COPIED = ("galaxy_utils", "tests", "pyproject.toml", "_config.yml", "notebooks", "book", "README.md")

# File of the package, its right words, the wrong ones in their place, and the tests that should notice.
FAULTS = (
    # Splits and the sky
    ("data/split.py", "is_test = _draw(labels, groups, np.ones(len(labels), bool)",
     "is_test = _draw(labels, np.arange(len(labels)), np.ones(len(labels), bool)", "data/test_split.py"),
    ("data/positions.py", "np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra)", "np.cos(ra), np.sin(ra)",
     "data/test_split.py"),
    ("data/positions.py", "radius / 3600) / 2)", "radius / 3600))", "data/test_split.py"),
    ("data/split.py", "if split.hash != written_hash:", "if False:", "data/test_split.py"),
    ("data/split.py", "if split.fingerprint != data_fingerprint(dataset):", "if False:", "data/test_split.py"),
    ("data/split.py", "labels[pairs[:, 0]] != labels[pairs[:, 1]]", "labels[pairs[:, 0]] >= 0", "data/test_split.py"),
    ("data/views.py", "images[:, :, ::-1] if number >= 4", "images[:, :, ::-1] if number >= 5",
     "augmentation/test_geometric.py evaluation/test_views.py"),
    # Images on their way to a network
    ("data/views.py", "- np.maximum(edges[:-1], old)", "- np.maximum(edges[:-1], old - 1)", "data/test_prepare.py"),
    ("data/views.py", "return np.rint(area).astype", "return area.astype", "data/test_prepare.py"),
    ("data/prepare.py", "margin = (images.shape[1] - crop_size) // 2", "margin = 0", "data/test_prepare.py"),
    ("data/batches.py", "images * np.float32(1 / 255)", "images * np.float32(1)", "test_training_targets.py"),
    ("data/batches.py", "default_rng([self.seed, epoch])", "default_rng([self.seed, 0])", "data test_training.py"),
    ("data/batches.py", "(np.count_nonzero(counts) * counts[labels])", "counts.max()", "data test_training.py"),
    ("data/survey_camera.py", "scaled[::-1] * factor", "scaled * factor", "data/test_simulated.py"),
    ("data/simulated.py", "dec[other] = dec[row] - y / 3600", "dec[other] = dec[row] + y / 3600",
     "data/test_simulated.py"),
    ("data/simulated.py", "row if catalogue.shares_field[row] else shown, SKY_STREAM", "row, SKY_STREAM",
     "data/test_simulated.py"),
    ("data/morphology.py", "_yes(-morphology.pitch, -20, 2.0)", "_yes(morphology.pitch, 20, 2.0)",
     "data/test_simulated.py"),
    ("data/download.py", "<= 1.1 * size + MEGABYTE:\n                raise Useless(f\"the file has",
     "<= 9e99:\n                raise Useless(f\"the file has", "data/test_download.py"),
    ("data/download.py", "return None if found == checksum.lower() else", "return None if found else",
     "data/test_download.py"),
    ("files.py", "os.replace(temporary, path)", "shutil.copy(temporary, path)", "test_files.py"),
    # Scores and statistics
    ("evaluation/classification.py", "(1 - label_smoothing) + label_smoothing / num_classes",
     "(1 - label_smoothing) + label_smoothing / (num_classes - 1)", "evaluation/test_classification.py"),
    ("evaluation/classification.py", "np.ceil(confidence * CALIBRATION_BINS)",
     "np.floor(confidence * CALIBRATION_BINS)", "evaluation/test_classification.py"),
    ("evaluation/classification.py", "np.where(called > 0, correct / called, 0.0)",
     "np.where(called > 0, correct / called, 1.0)", "evaluation/test_classification.py"),
    ("evaluation/classification.py", '"kl_divergence": cross_entropy - label_entropy(label_smoothing, num_classes)',
     '"kl_divergence": cross_entropy - label_entropy(0.1, num_classes)', "evaluation/test_classification.py"),
    ("evaluation/significance.py", "seed_variance = values.mean(axis=1).var(ddof=1) / len(values)",
     "seed_variance = values.mean(axis=1).var() / len(values)", "evaluation/test_significance.py"),
    ("evaluation/significance.py", "columns if groups is None else _sums_by_group(columns, groups)", "columns",
     "evaluation/test_significance.py"),
    ("evaluation/significance.py", "shared -= 2 * covariance", "shared -= covariance",
     "evaluation/test_significance.py"),
    ("evaluation/significance.py", "tail = 50 * (1 - CONFIDENCE)", "tail = 100 * (1 - CONFIDENCE)",
     "evaluation/test_significance.py evaluation/test_classification.py"),
    ("evaluation/generation.py", "(values.sum() - np.trace(values))", "values.sum()", "evaluation/test_generation.py"),
    ("evaluation/latent.py", "[np.asarray(train_groups)[found] != groups[row]]", "[:]", "evaluation/test_latent.py"),
    # Networks and their training
    ("augmentation/autoencoders.py", "-0.5 * ops.sum(1 + log_variance", "-0.5 * ops.sum(log_variance",
     "augmentation/test_autoencoders.py"),
    ("models/transfer.py", "return super().call(inputs, training=False, mask=mask)",
     "return super().call(inputs, training=training, mask=mask)", "models/test_transfer.py"),
    ("models/transfer.py", "for layer in network.layers[: count - trained]:",
     "for layer in network.layers[: count - trained - 1]:", "models/test_transfer.py"),
    ("training.py", "keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)",
     "keras.losses.CategoricalCrossentropy()", "test_training.py test_training_targets.py"),
    ("training.py", "restore_best_weights=recipe.restore_best_weights, mode", "restore_best_weights=True, mode",
     "test_training.py"),
    ("checkpoint.py", "model.variables), (", "model.weights), (", "test_training.py test_checkpoint.py"),
    ("augmentation/gan.py", "ops.stop_gradient(fake)]), ops", "fake]), ops", "augmentation/test_conditional_gan.py"),
    ("augmentation/synthetic.py", "np.setdiff1d(synthetic.learned_from, split.train)",
     "np.setdiff1d(synthetic.learned_from, synthetic.learned_from)", "augmentation"),
    # Catalogues
    ("calibration.py", "1e-12)) / temperature", "1e-12)) * temperature", "test_calibration.py"),
    ("calibration.py", "(1 - right.mean()) / 2)", "(1 - right.mean()))", "test_calibration.py"),
    ("catalogue/pixels.py", "share = min(wanted / field, 1.0)", "share = share", "catalogue/test_pixels.py"),
    ("catalogue/pixels.py", "np.where(np.isfinite(bands), bands, 0)[:, ::-1]", "np.where(np.isfinite(bands), bands, 0)",
     "catalogue/test_pixels.py"),
    ("catalogue/cutouts.py", "read_file(partial)", "partial.stat()", "catalogue/test_positions.py"),
    ("catalogue/cutouts.py", "max(wait, getattr(error, \"pause\", 0.0))", "0.0", "catalogue/test_positions.py"),
    # The ledger
    ("ledger.py", "if not 1 <= len(changes) <= self.rule.max_changes:", "if not 1 <= len(changes):", "test_ledger.py"),
    ("ledger.py", "        if self.test is not None:", "        if self.test is None and False:", "test_ledger.py"),
)  # fmt: skip
ENOUGH = 0.9


def run(folder, tests):
    """Run some tests in a copy of the repository; return whether they pass, and what was said last."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
    command += [f"tests/{test}" for test in tests]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if ended.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run {' '.join(tests)}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}")
    failed = [line for line in ended.stdout.splitlines() if line.startswith("FAILED")]
    return ended.returncode == 0, failed[0].split(" ")[1].split("::")[-1] if failed else ""


def main(numbers):
    chosen = [int(number) for number in numbers] or range(1, len(FAULTS) + 1)
    caught = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name in COPIED:
            source = REPOSITORY / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
        files = sorted({test for number in chosen for test in FAULTS[number - 1][3].split()})
        sound, failed = run(folder, files)
        if not sound:
            raise SystemExit(f"Without any fault, {failed} fails.")
        for number in chosen:
            file, right, wrong, tests = FAULTS[number - 1]
            path = folder / "galaxy_utils" / file
            text = path.read_text(encoding="utf-8")
            if text.count(right) != 1:
                raise SystemExit(f"Fault {number}: {file} has {text.count(right)} times {right!r}.")
            path.write_text(text.replace(right, wrong), encoding="utf-8")
            passed, failed = run(folder, tests.split())
            path.write_text(text, encoding="utf-8")
            caught += not passed
            print(f"{number:2d} {'MISSED' if passed else 'caught'} {file}: {wrong!r} {failed}", flush=True)
    print(f"{caught} of {len(chosen)} faults caught")
    return 0 if caught >= ENOUGH * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
