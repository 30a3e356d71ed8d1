"""Recipes: the papers' numbers, comparison, and refusal of what cannot work."""

import dataclasses
import json
import math

import pytest

from galaxy_utils import recipes
from galaxy_utils.errors import ConfigurationError
from galaxy_utils.profiles import PROFILES
from galaxy_utils.recipes import Recipe

PAPERS = (recipes.FOUR_BLOCK_CNN, recipes.JOINT_AUTOENCODER, recipes.RESNET50_FINE_TUNING, recipes.THREE_BLOCK_CNN)


def test_paper_1_trains_its_cnn_as_it_says():
    recipe = recipes.FOUR_BLOCK_CNN
    assert (recipe.optimizer, recipe.batch_size, recipe.epochs) == ("adam", 32, 50)
    assert recipe.learning_rate == 1e-4 and "learning_rate" in recipe.inferred
    assert recipe.label_smoothing == 0.1 and "label_smoothing" in recipe.inferred
    assert not {"batch_size", "epochs", "optimizer"} & set(recipe.inferred)


def test_paper_1_stops_its_resnet_early_and_halves_the_rate():
    recipe = recipes.RESNET50_FINE_TUNING
    assert recipe.early_stopping_patience == 10 and recipe.restore_best_weights
    assert recipe.reduce_learning_rate_patience == 3 and recipe.reduce_learning_rate_factor == 0.5
    assert recipe.learning_rate == 1e-5 and "learning_rate" not in recipe.inferred


def test_paper_1_clips_its_autoencoder():
    recipe = recipes.JOINT_AUTOENCODER
    assert (recipe.batch_size, recipe.epochs) == (64, 70)
    assert recipe.clip_norm is not None and "clip_norm" in recipe.inferred


def test_paper_2_states_ten_epochs_and_nothing_else():
    assert recipes.THREE_BLOCK_CNN.epochs == 10
    assert {"optimizer", "learning_rate", "batch_size"} <= set(recipes.THREE_BLOCK_CNN.inferred)


def test_diff_shows_what_changes_a_run_and_nothing_else():
    recipe = recipes.FOUR_BLOCK_CNN
    renamed = recipe.replace(name="another", source="here")
    assert recipe.diff(renamed) == {}
    assert recipe.diff(renamed.replace(epochs=3, clip_norm=2.0)) == {"epochs": (50, 3), "clip_norm": (None, 2.0)}


def test_a_field_that_is_set_is_no_longer_inferred():
    changed = recipes.FOUR_BLOCK_CNN.replace(learning_rate=1e-3)
    assert "learning_rate" not in changed.inferred and "label_smoothing" in changed.inferred


def test_a_profile_caps_epochs_and_never_raises_them():
    assert recipes.FOUR_BLOCK_CNN.for_profile("smoke").epochs == PROFILES["smoke"].maximum_epochs
    assert recipes.FOUR_BLOCK_CNN.for_profile("full") == recipes.FOUR_BLOCK_CNN
    assert recipes.THREE_BLOCK_CNN.replace(epochs=1).for_profile("demo").epochs == 1
    with pytest.raises(ConfigurationError, match="smoke, demo, gpu, full"):
        recipes.FOUR_BLOCK_CNN.for_profile("huge")


@pytest.mark.parametrize("recipe", PAPERS, ids=lambda recipe: recipe.name)
def test_a_recipe_survives_json(recipe):
    assert Recipe(**json.loads(json.dumps(recipe.to_dict(), allow_nan=False))) == recipe


@pytest.mark.parametrize("recipe", PAPERS, ids=lambda recipe: recipe.name)
def test_a_printed_recipe_marks_every_inferred_field(recipe):
    lines = str(recipe).splitlines()
    marked = [line for line in lines if line.endswith("(inferred)")]
    assert len(marked) == len(recipe.inferred)
    assert all(any(line.strip().startswith(field.replace("_", " ")) for line in marked) for field in recipe.inferred)
    assert len(lines) == 1 + len(dataclasses.fields(recipe)) - len(recipes.DESCRIPTIVE_FIELDS)


@pytest.mark.parametrize(
    "field, value",
    [
        ("epochs", -1),
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("learning_rate", None),
        ("learning_rate", "1e-3"),
        ("label_smoothing", 1.0),
        ("label_smoothing", -0.1),
        ("label_smoothing", math.nan),
        ("beta_1", 1.0),
        ("clip_norm", 0.0),
        ("optimizer", "adagrad"),
        ("optimizer", "adamw"),
        ("weight_decay", 0.01),
        ("learning_rate_schedule", "linear"),
        ("reduce_learning_rate_patience", 0),
        ("reconstruction_weight", -0.5),
        ("classification_weight", math.inf),
        ("classification_weight", True),
        ("reduce_learning_rate_factor", 1.0),
        ("early_stopping_patience", -3),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    with pytest.raises(ConfigurationError, match=field) as caught:
        recipes.FOUR_BLOCK_CNN.replace(**{field: value})
    assert repr(value) in str(caught.value) or field == "optimizer"


def test_unknown_fields_are_refused_by_name():
    with pytest.raises(TypeError, match="'learning_rat'"):
        recipes.FOUR_BLOCK_CNN.replace(learning_rat=1e-3)
