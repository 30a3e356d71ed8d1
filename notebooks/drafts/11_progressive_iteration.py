# %% [markdown]
# # Progressive iteration
#
# Paper 1 takes its title from its method: *progressive iteration*. Start from a simple network. Change only a few factors.
# Compare strictly with the round before. Keep the change if the improvement is clear and the cost acceptable, otherwise
# take it back {cite}`paper_1`. Everybody agrees with that, and hardly anybody does it: three things change at once, the
# comparison is two numbers from one seed, and what did not work is not in the paper.
#
# This chapter turns the method into an instrument that can be checked, a **ledger**, and walks the path of the whole book
# with it, from the first network to the best one that can be had here.
#
# :::{admonition} Before you start
# **You need** the ideas of chapters 3 to 7, and paired intervals ([chapter 4](04_augmentation.ipynb)). **It takes** about
# three minutes on two CPU cores.
# :::
#
# :::{admonition} What you will be able to do
# - state a rule *before* trying anything, and say what it protects against;
# - record a round so that anybody can replay its verdict;
# - tell "no difference" from "cannot be told with so few galaxies and seeds", and compute how many it takes;
# - read a path with its reverted branches, and judge a published one.
# :::

# %%
import numpy as np

import galaxy_utils as gu
from galaxy_utils import evaluation
from galaxy_utils.augmentation import RandomFlipsAndTurns
from galaxy_utils.measurement import combine
from galaxy_utils.report import report_path

# %% tags=["parameters"]
dataset_source = "simulated"  # or "galaxy10", a file, a folder of images
profile_name = "demo"  # "smoke", "demo" or "full"
seed = 1

# %% [markdown]
# Many rounds and several seeds a round make many trainings, so in the short profiles each is small: small images, few
# galaxies, few epochs. That is not only a makeshift. *Small and many* is the right way round for finding out what matters;
# the last few points come from size, once it is known what to enlarge.

# %%
profile = gu.get_profile(profile_name)
size, num_train, epochs, num_seeds = {
    "smoke": (32, 60, 1, 2), "demo": (32, 600, 8, 5),
    "full": (64, 17_736, 30, 5)}[profile.name]
galaxies = gu.load(dataset_source, profile=profile, seed=seed)
prepared = {crop: gu.prepare(galaxies, size, crop) for crop in (1.0, 0.5)}
whole = prepared[1.0]
split = gu.split(whole, seed=seed).with_fewer(num_train, seed)
print(f"Data:    {whole.provenance}, {size} px")
print(f"Profile: {profile.name} ({profile.purpose})")
print(f"Split:   {split.sizes}")

# %% [markdown]
# ## The rule comes first
#
# What counts as *clear*? What is *acceptable*? If that is decided after the numbers are known, the numbers decide it. So
# the ledger's first line is its rule, and it cannot be changed afterwards. Read it slowly; it is the method.

# %%
rule = gu.Rule(error_rate=0.1, max_rounds=8)
path = report_path("11_progressive_iteration", "ledger", whole.name, profile)
path = path.with_name("ledger.jsonl")
if profile.name != "full":
    path.unlink(missing_ok=True)  # a short run starts anew each time
seeds = tuple(range(seed, seed + num_seeds))
ledger = gu.Ledger.create(path, whole, split, seeds=seeds, rule=rule)
print(rule)

# %% [markdown]
# Four of its parts deserve a reason:
#
# - **KL divergence first, accuracy second**: the paper's order. A probability can improve before a decision flips.
# - **An error rate for the whole ledger.** Try eight useless changes at a level of 5 % each, and with a probability of a
#   third at least one is kept. So the level is divided by the number of rounds that are allowed, and that number is fixed.
# - **Galaxies and seeds.** Clear means: other galaxies *and* other seeds would have said the same. That is why every round
#   is trained several times.
# - **Validation galaxies decide.** The test galaxies are opened once, at the end, and the ledger notes when.
#
# ## A round in one cell
#
# A round is described by **factors**: names with values. `network_of` builds what the factors say, and `play` proposes a
# round, trains it with every seed, and lets the ledger decide. What is not named is as in the best round so far.

# %%
def network_of(factors, number):
    """Build the network that the factors describe."""
    turns = RandomFlipsAndTurns(number)
    return gu.models.paper_1_cnn(
        size, whole.num_classes, seed=number, pooling=factors["pooling"],
        block_dropout=factors["block_dropout"],
        augmentation=turns if factors["augmentation"] == "flips" else None)

# %%
networks = {}


def play(name, recipe=None, build=network_of, predict=None, **factors):
    """Play a round: propose it, train it with each seed, let it be judged."""
    proposal = ledger.propose(name, recipe, **factors)
    images = prepared[proposal.factors["crop"]]
    for number in proposal.seeds:
        model = build(proposal.factors, number)
        run = gu.fit(model, images, split, proposal.recipe, seed=number,
                     progress=False)
        proposal.add(gu.measure(model, run, images, split))
        networks[name, number] = model, run
    print(proposal.decide())

# %% [markdown]
# The path starts where chapter 3 started: paper 1's plain network on whole cut-outs, flattened into a large dense layer,
# with dropout in every block.

# %%
start = gu.recipes.PAPER_1_CNN.replace(
    name="progressive", epochs=epochs, learning_rate=1e-3)
play("paper 1, plain network", start, network="paper 1", crop=1.0,
     pooling="flatten", block_dropout=0.25, augmentation="none", views=1)

# %% [markdown]
# ## Single steps
#
# Each of the next cells changes one thing. Before you run one, say what you expect, and bet on it. Then read the verdict:
# *keep*, or *revert* with the reason.
#
# **The crop.** Galaxies are small in the frame. Half of the cut-out holds nearly all of them, at twice the scale.

# %%
play("central half", crop=0.5)

# %% [markdown]
# **Average pooling** in place of flattening takes away most parameters (chapter 3).

# %%
play("average pooling", pooling="average")

# %% [markdown]
# **No dropout in the blocks.** In front of batch normalisation it shifts the statistics (chapter 3).

# %%
play("no dropout in blocks", block_dropout=0.0)

# %% [markdown]
# **Flips and quarter turns**: eight exact views of every galaxy (chapter 4).

# %%
play("flips and turns", augmentation="flips")

# %% [markdown]
# **A cosine schedule** with larger steps at the start. These are two changes, as many as the rule allows, because neither
# makes sense without the other.

# %%
best_recipe = ledger.best.recipe
play("cosine schedule", best_recipe.replace(
    learning_rate=2e-3, learning_rate_schedule="cosine"))

# %% [markdown]
# And what if somebody changes too much at once? The ledger does not argue; it refuses, before anything is trained.

# %%
from galaxy_utils.errors import ConfigurationError

try:
    ledger.propose("everything at once", start.replace(batch_size=64),
                   crop=0.7, pooling="max", augmentation="none")
except ConfigurationError as error:
    print(error)

# %% [markdown]
# ## A step without training
#
# Asking the same networks about **eight views** of a galaxy and averaging trains nothing. The comparison is paired by
# galaxy *and* by network, which makes small differences visible.

# %%
kept = ledger.best
proposal = ledger.propose("eight views", same_networks=True, views=8)
for number in proposal.seeds:
    model, run = networks[kept.name, number]
    proposal.add(gu.measure(
        model, run, prepared[kept.factors["crop"]], split,
        predict=evaluation.predict_eight_views))
print(proposal.decide())
