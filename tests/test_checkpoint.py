"""The callback that saves a training, in a plain `model.fit`: killed anywhere, it ends as if it had not been killed."""

import keras
import numpy as np
import pytest
from keras import layers
from toy_galaxies import toy_galaxies, toy_split

import galaxy_utils as gu
from galaxy_utils.checkpoint import describe_network
from galaxy_utils.errors import ConfigurationError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
EPOCHS = 7


class Killed(Exception):
    """Ends a training at the beginning of an epoch."""


class KillAt(keras.callbacks.Callback):
    """Kills."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and self.epoch == self.at:
            raise Killed

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


def network(units=12):
    """Layers without names of their own, dropout, batch statistics: built as in a notebook's cell."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Rescaling(1 / 255),
            layers.Flatten(),
            layers.Dense(units, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.4),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.02), "categorical_crossentropy", metrics=["accuracy"])
    return model


def watching(patience=3):
    return [
        keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5),
        keras.callbacks.EarlyStopping(patience=patience, restore_best_weights=True),
    ]


def train(path, kill=None, patience=3, identity=None, **options):
    """Train as the docstring says; return the model and its checkpoint."""
    galaxies, split, model, others = toy_galaxies(96, noise=300), toy_split(96), network(**options), watching(patience)
    data = galaxies.keras_dataset(split.train, 16, shuffle=True)
    checkpoint = gu.Checkpoint(path, callbacks=others, identity=identity)
    model.fit(
        data,
        validation_data=galaxies.keras_dataset(split.validation, 16),
        initial_epoch=checkpoint.resume(model, data),
        epochs=EPOCHS,
        callbacks=[*others, checkpoint] + [KillAt(kill)] * (kill is not None),
        shuffle=False,
        verbose=0,
    )
    return model, checkpoint


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "training.npz"
    model, checkpoint = train(path)
    assert checkpoint.stopped and 3 < checkpoint.epochs < EPOCHS
    assert len(set(checkpoint.history["learning_rate"])) > 2, "nothing was reduced: this tests too little"
    return path, model, checkpoint


def assert_same(one, two):
    for first, second in zip(one.variables, two.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(first), keras.ops.convert_to_numpy(second))


def test_killed_again_and_again_it_ends_with_the_same_bits(whole, tmp_path):
    _, undisturbed, complete = whole
    for epoch in (0, 2, complete.epochs - 1):
        with pytest.raises(Killed):
            train(tmp_path / "training.npz", kill=epoch)
    model, checkpoint = train(tmp_path / "training.npz")
    assert checkpoint.history == complete.history and checkpoint.stopped
    assert_same(model, undisturbed)
    # A training that stopped early trains no more, and gives its best weights once more.
    again, checkpoint = train(tmp_path / "training.npz")
    assert checkpoint.history == complete.history
    assert_same(again, undisturbed)


def test_patience_of_the_new_callbacks_counts_not_the_old_one_s(whole, tmp_path):
    _, _, complete = whole
    with pytest.raises(Killed):
        train(tmp_path / "training.npz", kill=3)
    _, checkpoint = train(tmp_path / "training.npz", patience=100)
    assert checkpoint.epochs == EPOCHS and not checkpoint.stopped
    assert checkpoint.history["loss"][: complete.epochs] == complete.history["loss"]


def test_a_training_s_end_is_the_end_of_keras_without_a_checkpoint(whole):
    """The callback changes nothing: the same `fit` without it gives the same network."""
    galaxies, split, model = toy_galaxies(96, noise=300), toy_split(96), network()
    history = model.fit(
        galaxies.keras_dataset(split.train, 16, shuffle=True),
        validation_data=galaxies.keras_dataset(split.validation, 16),
        epochs=EPOCHS,
        callbacks=watching(),
        shuffle=False,
        verbose=0,
    ).history
    assert history["loss"] == whole[2].history["loss"]
    assert_same(model, whole[1])


@pytest.mark.parametrize(
    "options, named", [({"units": 13}, "network"), ({"identity": {"seed": 2}}, "seed is None in the file, 2 here")]
)
def test_another_training_s_checkpoint_is_refused(whole, options, named):
    before = whole[0].read_bytes()
    with pytest.raises(ConfigurationError, match=f"(?s)another training.*{named}"):
        train(whole[0], **options)
    assert whole[0].read_bytes() == before


def test_another_optimiser_is_another_training(whole):
    model = network()
    for other, named in ((keras.optimizers.SGD(0.02), "name is"), (keras.optimizers.Adam(0.02, 0.5), "beta_1 is 0.9")):
        model.compile(other, "categorical_crossentropy")
        with pytest.raises(ConfigurationError, match=f"optimizer {named}"):
            gu.Checkpoint(whole[0]).resume(model)


def test_who_forgets_to_resume_is_told(whole):
    model = network()
    with pytest.raises(ConfigurationError, match="resume"):
        model.fit(np.zeros((4, 16, 16, 3)), np.eye(4), callbacks=[gu.Checkpoint(whole[0])], verbose=0)
    with pytest.raises(ConfigurationError, match="compile"):
        gu.Checkpoint(whole[0]).resume(keras.Sequential([keras.Input((2,)), layers.Dense(1)]))


def test_a_diverged_training_ends_with_its_last_good_weights(tmp_path):
    model, data = network(), toy_galaxies().keras_dataset()
    checkpoint = gu.Checkpoint(tmp_path / "training.npz")
    checkpoint.resume(model, data)
    good = []

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            good.append(model.get_weights())
            if epoch == 1:
                model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])

    with pytest.raises(FloatingPointError, match="learning rate"):
        model.fit(data, epochs=3, callbacks=[Spoil(), checkpoint], shuffle=False, verbose=0)
    assert all(np.array_equal(one, two) for one, two in zip(good[1], model.get_weights(), strict=True))
    assert gu.Checkpoint(tmp_path / "training.npz").resume(network()) == 1


def test_names_that_keras_made_up_do_not_tell_networks_apart():
    first, second = network(), network()
    assert first.layers[0].name != second.layers[0].name
    assert describe_network(first) == describe_network(second) != describe_network(network(units=13))
