"""Training: what `fit` feeds, records and decides, and that an interrupted run ends as if it had not been.

`faults/test_kills.py` kills trainings for good, at random moments.
"""

import json
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from toy_galaxies import WatchedImages, toy_galaxies, toy_split

from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.evaluation import evaluate
from galaxy_utils.models import four_block_cnn, three_block_cnn
from galaxy_utils.recipes import Recipe
from galaxy_utils.training import fit, make_optimizer, predict, reinitialise

# Keras' own variables still trip over NumPy's newer `copy` argument.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = Recipe("quick", epochs=2, batch_size=32, learning_rate=3e-3, label_smoothing=0.1)
# Everything that could be forgotten by a checkpoint is in play: dropout and batch statistics (in the network), Adam's
# moments, clipping, a cosine, reductions on a plateau, early stopping, the best weights.
EVERYTHING = Recipe(
    "everything",
    epochs=12,
    batch_size=16,
    learning_rate=1e-3,
    clip_norm=1.0,
    label_smoothing=0.1,
    learning_rate_schedule="cosine",
    reduce_learning_rate_patience=1,
    early_stopping_patience=3,
    restore_best_weights=True,
    balanced_classes=True,
)


def hard_galaxies():
    return toy_galaxies(96, noise=300)


def network(seed=1):
    return four_block_cnn(16, 4, pooling="average", seed=seed)


def variables(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.variables]


def assert_same(first, second):
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


def validated(model, galaxies, split):
    """The scores of the validation galaxies, with the label smoothing of the recipes above."""
    probabilities, labels = predict(model, galaxies, split.validation), galaxies.labels[split.validation]
    return evaluate(probabilities, labels, galaxies.class_names, bootstrap_samples=0)


# What happens during training


def test_training_learns_and_its_loss_is_the_evaluation_s_cross_entropy():
    galaxies, split, model = toy_galaxies(), toy_split(), three_block_cnn(16, 4)
    run = fit(model, galaxies, split, QUICK.replace(epochs=5))
    assert run.epochs == 5 and all(len(values) == 5 for values in run.history.values())
    assert run.history["val_accuracy"][-1] > 0.9
    scores = validated(model, galaxies, split)
    assert scores.cross_entropy == pytest.approx(run.history["val_loss"][-1], rel=1e-5)
    assert scores.accuracy == pytest.approx(run.history["val_accuracy"][-1])
    assert "5 epochs" in str(run)


@pytest.mark.parametrize("restore", [False, True])
def test_a_network_ends_with_its_last_weights_or_on_request_with_its_best(restore):
    galaxies, split, model = hard_galaxies(), toy_split(96), three_block_cnn(16, 4)
    recipe = QUICK.replace(epochs=8, learning_rate=1e-2, restore_best_weights=restore)
    run = fit(model, galaxies, split, recipe, progress=False)
    assert run.best_epoch < 8
    epoch = run.best_epoch if restore else 8
    assert validated(model, galaxies, split).cross_entropy == pytest.approx(
        run.history["val_loss"][epoch - 1], rel=1e-4
    )


def test_each_epoch_reads_every_training_row_once_in_an_order_of_its_own():
    galaxies, split, model = toy_galaxies(), toy_split(), three_block_cnn(16, 4)
    model.compile("sgd", "categorical_crossentropy")  # by hand, so that it is translated once for all three trainings

    def orders(seed, rows=split.train):
        watched = WatchedImages(galaxies.images)
        part = SimpleNamespace(train=rows, validation=split.validation)
        watched_galaxies = galaxies.replace(images=watched, fingerprint=galaxies.fingerprint)
        fit(model, watched_galaxies, part, QUICK, seed=seed, progress=False)
        assert max(len(read) for read in watched.reads) == QUICK.batch_size
        reads = [read for read in watched.reads if np.isin(read, rows).all()]
        # Keras looks at the first batches before it starts, so count from the end: two epochs of three batches.
        epochs = [np.concatenate(reads[-6:-3]), np.concatenate(reads[-3:])]
        for epoch in epochs:
            np.testing.assert_array_equal(np.sort(epoch), rows)
        return [epoch.tolist() for epoch in epochs]

    first, second = orders(seed=1)
    assert first != second and orders(seed=1) == [first, second]
    assert first not in orders(seed=2)


def test_votes_can_be_the_targets():
    galaxies, split, model = toy_galaxies(), toy_split(), three_block_cnn(16, 4)
    run = fit(model, galaxies, split, QUICK.replace(label_smoothing=0.0), targets="votes")
    probabilities, votes = predict(model, galaxies, split.validation), galaxies.vote_fractions[split.validation]
    expected = -(votes * np.log(probabilities)).sum(axis=1).mean()
    assert run.history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)


def test_balanced_classes_weigh_the_same():
    galaxies, split = toy_galaxies(), toy_split()
    rows = split.train[np.isin(galaxies.labels[split.train], (0, 1))]
    rare = np.concatenate([rows[galaxies.labels[rows] == 0], rows[galaxies.labels[rows] == 1][:3]])
    part = SimpleNamespace(train=rare, validation=split.validation)
    # One step on the whole set with a learning rate too small to change anything: the loss is that of the start.
    recipe = QUICK.replace(epochs=1, batch_size=len(rare), learning_rate=1e-12, balanced_classes=True)
    model = three_block_cnn(16, 4)
    run = fit(model, galaxies, part, recipe)
    probabilities, labels = predict(model, galaxies, rare), galaxies.labels[rare]
    per_class = [
        evaluate(probabilities[labels == label], labels[labels == label], galaxies.class_names, bootstrap_samples=0)
        for label in (0, 1)
    ]
    assert run.history["loss"][0] == pytest.approx(np.mean([scores.cross_entropy for scores in per_class]), rel=1e-4)


# What a person chooses himself


def test_a_network_that_comes_compiled_keeps_what_it_was_compiled_with():
    galaxies, split, model = toy_galaxies(), toy_split(), three_block_cnn(16, 4)
    mine = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(mine, "categorical_crossentropy", metrics=["accuracy", "top_k_categorical_accuracy"])
    run = fit(model, galaxies, split, QUICK, progress=False)
    assert model.optimizer is mine and "top_k_categorical_accuracy" in run.history
    assert "SGD, learning rate 0.05" in str(run) and run.compiled_with
    with pytest.raises(ConfigurationError, match="compiled already"):
        fit(model, galaxies, split, QUICK, optimizer="adam")
    # A plain `fit` on the dataset's own batches is the same training.
    plain = three_block_cnn(16, 4)
    plain.compile(keras.optimizers.SGD(0.05, momentum=0.9), "categorical_crossentropy", metrics=["accuracy"])
    train, validation = galaxies.keras_dataset(split.train, shuffle=True), galaxies.keras_dataset(split.validation)
    history = plain.fit(train, validation_data=validation, epochs=2, shuffle=False, verbose=0).history
    assert history["val_loss"] == run.history["val_loss"]
    assert_same(plain.get_weights(), model.get_weights())


def test_any_optimiser_loss_metric_and_callback_can_be_handed_in():
    galaxies, split, model, seen = toy_galaxies(), toy_split(), three_block_cnn(16, 4), []
    run = fit(
        model, galaxies, split, QUICK.replace(learning_rate_schedule="cosine"), optimizer=keras.optimizers.Lion(1e-3),
        loss=keras.losses.CategoricalFocalCrossentropy(), metrics=[keras.metrics.AUC(name="auc")],
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["val_auc"]))],
    )  # fmt: skip
    assert run.history["val_auc"] == seen and "accuracy" not in run.history
    assert run.compiled_with == "Lion, learning rate 0.001, loss CategoricalFocalCrossentropy"
    assert run.history["learning_rate"] == pytest.approx([1e-3, 5e-4], rel=1e-5)
    again = three_block_cnn(16, 4)  # What a recipe compiled, the next recipe compiles anew.
    for name, options, kind in (
        ("sgd", {}, keras.optimizers.SGD),
        ("adamw", {"weight_decay": 0.01}, keras.optimizers.AdamW),
    ):
        run = fit(again, galaxies, split, QUICK.replace(epochs=1, optimizer=name, **options))
        assert type(again.optimizer) is kind and not run.compiled_with


def test_a_network_started_anew_ends_as_one_that_was_just_built():
    images, labels = hard_galaxies().arrays(np.arange(40))
    used, new, fresh = networks = [four_block_cnn(16, 4, seed=seed, first_filters=2) for seed in (1, 2, 2)]
    for one in networks:
        one.compile(keras.optimizers.Nadam(0.01), "sparse_categorical_crossentropy")
    used.fit(images, labels, verbose=0)
    used.optimizer.learning_rate = 0.5
    for one in (new, reinitialise(used, fresh)):
        keras.utils.set_random_seed(3)
        one.fit(images, labels, epochs=2, verbose=0)
    assert_same(new.get_weights(), used.get_weights())
    with pytest.raises(ConfigurationError, match="compiled"):
        reinitialise(used, three_block_cnn(16))


def test_mixed_precision_trains_and_resumes(tmp_path):
    galaxies, split, recipe = toy_galaxies(), toy_split(), QUICK.replace(batch_size=48, learning_rate=1e-2)
    keras.config.set_dtype_policy("mixed_float16")
    try:
        models = [three_block_cnn(16, 4) for _ in range(2)]
    finally:
        keras.config.set_dtype_policy("float32")
    runs = [fit(model, galaxies, split, recipe, checkpoint=tmp_path / "training.npz") for model in models]
    assert runs[1].resumed_from == 2 and runs[0].history == runs[1].history
    assert np.isfinite(runs[0].history["loss"]).all()
    assert_same(variables(models[0]), variables(models[1]))


def test_what_is_not_a_number_is_never_returned_as_a_prediction():
    galaxies, model = toy_galaxies(), three_block_cnn(16, 4)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    with pytest.raises(DataError, match="lower learning rate"):
        predict(model, galaxies, np.arange(5))


# Checkpoints


class Interrupted(Exception):
    """Stops a training in the middle of an epoch."""


def interrupt():
    raise Interrupted("Interrupted")


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path):
    split, watched = toy_split(96), WatchedImages(hard_galaxies().images)
    galaxies = hard_galaxies().replace(images=watched, fingerprint="interrupted")
    undisturbed = network()
    whole = fit(undisturbed, galaxies, split, EVERYTHING)
    assert whole.epochs == 6 and whole.stopped_early and whole.best_epoch == 3 and whole.resumed_from == 0
    assert whole.history["learning_rate"][5] < 0.5 * whole.history["learning_rate"][3]

    # Six reads an epoch: 4 of training, 2 of validation. Stop at the second read of the fifth epoch.
    checkpoint = tmp_path / "training.npz"
    watched.reads, watched.at_read, watched.action = [], len(watched.reads) - 6 * 2 + 2, interrupt
    with pytest.raises(Exception, match="Interrupted"):  # TensorFlow wraps it in an error of its own.
        fit(network(), galaxies, split, EVERYTHING, checkpoint=checkpoint)

    watched.at_read, resumed_model = None, network()
    resumed = fit(resumed_model, galaxies, split, EVERYTHING, checkpoint=checkpoint)
    assert resumed.resumed_from == 4
    assert resumed.history == whole.history
    assert (resumed.best_epoch, resumed.stopped_early, resumed.restored_best) == (3, True, True)
    assert_same(variables(resumed_model), variables(undisturbed))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished training: its checkpoint, run, model variables and data."""
    galaxies, split, model = toy_galaxies(), toy_split(), network()
    checkpoint = tmp_path_factory.mktemp("finished") / "training.npz"
    recipe = QUICK.replace(restore_best_weights=True)
    run = fit(model, galaxies, split, recipe, checkpoint=checkpoint)
    return SimpleNamespace(
        galaxies=galaxies, split=split, recipe=recipe, checkpoint=checkpoint, run=run, variables=variables(model)
    )


def test_a_finished_training_is_returned_without_reading_an_image(finished):
    watched = WatchedImages(finished.galaxies.images)
    galaxies = finished.galaxies.replace(images=watched, fingerprint=finished.galaxies.fingerprint)
    model = network()
    before = finished.checkpoint.read_bytes()
    run = fit(model, galaxies, finished.split, finished.recipe, checkpoint=finished.checkpoint)
    assert watched.reads == [] and run.resumed_from == 2
    assert (run.history, run.seconds) == (finished.run.history, finished.run.seconds)
    assert_same(variables(model), finished.variables)
    assert finished.checkpoint.read_bytes() == before


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"recipe": QUICK.replace(restore_best_weights=True, learning_rate=1e-3)}, "learning_rate is 0.003"),
        ({"seed": 5}, "seed is 1 in the file, 5 here"),
        ({"targets": "votes"}, "targets"),
        ({"dataset": toy_galaxies(seed=2)}, "data fingerprint"),
        ({"split": SimpleNamespace(train=np.arange(90), validation=np.arange(96, 128))}, "validation rows"),
        ({"model": lambda: network(seed=2)}, "network"),
        ({"model": lambda: three_block_cnn(16, 4)}, "three_block_cnn"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(finished, changes, named):
    options = {"dataset": finished.galaxies, "split": finished.split, "recipe": finished.recipe, "model": network}
    options |= changes
    before = finished.checkpoint.read_bytes()
    with pytest.raises(ConfigurationError, match=named):
        fit(options.pop("model")(), **options, checkpoint=finished.checkpoint)
    assert finished.checkpoint.read_bytes() == before


def test_another_name_for_the_same_recipe_is_no_other_training(finished):
    recipe = finished.recipe.replace(name="renamed", source="elsewhere")
    run = fit(network(), finished.galaxies, finished.split, recipe, checkpoint=finished.checkpoint)
    assert run.resumed_from == 2


def without_an_array(path, original):
    with np.load(original) as file:
        arrays = {name: file[name] for name in file.files if name != "model_3"}
    np.savez(path, **arrays)


def with_format_999(path, original):
    with np.load(original) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["content"] = np.array(json.dumps({**json.loads(str(arrays["content"])), "format": 999}))
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path, original: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path, original: path.write_bytes(original.read_bytes()[:-500]), id="truncated"),
        pytest.param(
            lambda path, original: path.write_bytes(
                (data := original.read_bytes())[: len(data) // 2] + b"\x55" * 8 + data[len(data) // 2 + 8 :]
            ),
            id="flipped bytes",
        ),
        pytest.param(lambda path, original: np.savez(path, something=np.zeros(3)), id="another npz"),
        pytest.param(without_an_array, id="array missing"),
        pytest.param(with_format_999, id="another format"),
    ],
)
def test_a_damaged_checkpoint_is_refused(finished, tmp_path, damage):
    path = tmp_path / "damaged.npz"
    damage(path, finished.checkpoint)
    with pytest.raises(DataError, match=r"(?s)damaged\.npz.*delete the file"):
        fit(network(), finished.galaxies, finished.split, finished.recipe, checkpoint=path)


# Arguments


def test_predictions_do_not_depend_on_batches_and_keep_the_order():
    galaxies, model = toy_galaxies(), network()
    rows = np.array([5, 3, 3, 150, 0, 7, 42])
    together = predict(model, galaxies, rows)
    assert together.shape == (7, 4) and together.dtype == np.float32
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(predict(model, galaxies, rows, batch_size=3), together, atol=1e-6)
    np.testing.assert_allclose(predict(model, galaxies, rows[::-1]), together[::-1], atol=1e-6)
    np.testing.assert_allclose(together, model.predict(galaxies.images[rows], verbose=0), atol=1e-6)


@pytest.mark.parametrize("rows", [[], [-1], [160], [0.5], [[1, 2]], [True, False]])
def test_impossible_rows_are_refused(rows):
    with pytest.raises(DataError, match="rows"):
        predict(network(), toy_galaxies(), rows)


@pytest.mark.parametrize(
    "options, named",
    [
        ({"recipe": "paper_1"}, "a Recipe"),
        ({"seed": -1}, "-1"),
        ({"seed": 1.5}, "1.5"),
        ({"targets": "labels "}, "'labels' or 'votes'"),
        ({"dataset": toy_galaxies(side=20)}, "prepare the dataset at 16 px"),
        ({"dataset": toy_galaxies(class_names=("A", "B", "C", "D", "E"), vote_fractions=None)}, "num_classes=5"),
        ({"dataset": toy_galaxies(vote_fractions=None), "targets": "votes"}, "targets='labels'"),
        ({"split": SimpleNamespace(train=np.arange(500), validation=np.arange(3))}, "split.train"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, named):
    options = {"dataset": toy_galaxies(), "split": toy_split(), "recipe": QUICK, **options}
    with pytest.raises((ConfigurationError, DataError), match=named):
        fit(network(), **options)


def test_the_optimiser_has_every_number_of_the_recipe():
    recipe = QUICK.replace(beta_1=0.5, beta_2=0.99, clip_norm=2.0)
    for name, options in (("adam", {}), ("adamw", {"weight_decay": 0.02}), ("sgd", {})):
        found = make_optimizer(recipe.replace(optimizer=name, **options)).get_config()
        numbers = {"learning_rate": 3e-3, "global_clipnorm": 2.0, **options}
        numbers |= {"momentum": 0.5} if name == "sgd" else {"beta_1": 0.5, "beta_2": 0.99}
        assert {key: found[key] for key in numbers} == pytest.approx(numbers)
