# %% [markdown]
# # Progressive iteration
#
# Paper 1 takes its title from its method: *progressive iteration*. Start from a simple network. Change only a few
# factors. Compare strictly with the round before. Keep the change if the improvement is clear and the cost acceptable,
# otherwise take it back {cite}`paper_1`. Everybody agrees with that, and hardly anybody does it: three things change at
# once, the comparison is two numbers from one seed, and what did not work is not in the paper.
#
# This chapter turns the method into an instrument that can be checked, a **ledger**, and walks the path of the whole book
# with it, from the first network to the best one that can be had here.
#
# :::{admonition} Before you start
# **You need** the ideas of chapters 3 to 7, and paired intervals ([chapter 4](04_augmentation.ipynb)). **It takes** about
# two minutes on two CPU cores.
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
from galaxy_utils.errors import ConfigurationError, DataError
from galaxy_utils.iteration import compare, gains_by_class, train_network
from galaxy_utils.measurement import combine
from galaxy_utils.report import report_path

# %% tags=["parameters"]
dataset_source = "simulated"  # or "galaxy10", a file, a folder of images
profile_name = "demo"  # "smoke", "demo" or "full"
seed = 1

# %% [markdown]
# Many rounds and several seeds a round make many trainings, so in the short profiles each is small: small images, few
# galaxies, few epochs. That is not only a makeshift. *Small and many* is the right way round for finding out what
# matters; the last few points come from size, once it is known what to enlarge.

# %%
profile = gu.get_profile(profile_name)
size, num_train, epochs, num_seeds, backbone = {
    "smoke": (32, 60, 1, 2, "mobilenetv2"),
    "demo": (32, 400, 6, 4, "mobilenetv2"),
    "full": (64, 17_736, 30, 5, "resnet50")}[profile.name]
galaxies = gu.load(dataset_source, profile=profile, seed=seed)
prepared = {crop: gu.prepare(galaxies, size, crop) for crop in (1.0, 0.5)}
whole = prepared[1.0]
split = gu.split(whole, seed=seed).with_fewer(num_train, seed)

# %%
print(f"Data:    {whole.provenance}, {size} px")
print(f"Profile: {profile.name} ({profile.purpose})")
print(f"Split:   {split.sizes}")

# %% [markdown]
# ## The rule comes first
#
# What counts as *clear*? What is *acceptable*? If that is decided after the numbers are known, the numbers decide it. So
# the ledger's first line is its rule, and it cannot be changed afterwards. Read it slowly; it is the method.

# %%
rule = gu.Rule(error_rate=0.1, max_rounds=10, inference_allowance=20.0)
path = report_path("11_progressive_iteration", "ledger", whole.name, profile)
path = path.with_name("ledger.jsonl")
if profile.name != "full":
    path.unlink(missing_ok=True)  # a short run starts anew each time
seeds = tuple(range(seed, seed + num_seeds))
ledger = gu.Ledger.create(path, whole, split, seeds=seeds, rule=rule)
print(str(rule).replace("; ", ";\n").replace(", ", ",\n  "))

# %% [markdown]
# Five of its parts deserve a reason:
#
# - **KL divergence first, accuracy second**: the paper's order. A probability can improve before a decision flips.
# - **An error rate for the whole ledger.** Try ten useless changes at a level of 5 % each, and with a probability of
#   40 % at least one is kept. So the level is divided by the number of rounds that are allowed, and that number is fixed.
#   Ten are allowed here; this page uses up to eight, and the others are yours.
# - **Galaxies and seeds.** Clear means: other galaxies *and* other seeds would have said the same. That is why every
#   round is trained several times.
# - **Cost is a limit, not a score.** Eight views cost eight answers, and on a busy machine seconds are known to a
#   factor of two; so answering may cost twenty times as much, lest a verdict depend on what else the machine was doing.
# - **Validation galaxies decide.** The test galaxies are opened once, at the end, and the ledger notes when.
#
# ## A round in one cell
#
# A round is described by **factors**: names with values. One of them names the network, and `builders` says how to build
# it. So far there is one, the plain network of chapter 3.

# %%
def paper_1(factors, number):
    """Paper 1's plain network, as the factors describe it."""
    turns = RandomFlipsAndTurns(number)
    return gu.models.paper_1_cnn(
        size, whole.num_classes, seed=number, pooling=factors["pooling"],
        block_dropout=factors["block_dropout"],
        augmentation=turns if factors["augmentation"] == "flips" else None)


builders = {"paper 1": paper_1}

# %% [markdown]
# `train` builds and trains what the factors say. `ask` lets a trained network answer all galaxies of one part, and notes
# what that cost.

# %%
networks = {}


def train(name, factors, recipe, number):
    """Train a round's network with one seed, unless it is there already."""
    if (name, number) not in networks:
        model = builders[factors["network"]](factors, number)
        run = train_network(
            model, prepared[factors["crop"]], split, recipe, seed=number)
        networks[name, number] = model, run
    return networks[name, number]

# %%
def ask(model, run, factors, part="validation"):
    """Let a trained network answer all galaxies of one part."""
    views = evaluation.predict_eight_views if factors["views"] == 8 else None
    return gu.measure(model, run, prepared[factors["crop"]], split,
                      part=part, predict=views)

# %% [markdown]
# `play` is the whole method. It *proposes* a round, has it trained with every seed, and lets the ledger decide. What is
# not named is as in the best round so far.

# %%
def play(name, recipe=None, reference=False, **factors):
    """Play a round: propose it, train it with each seed, let it be judged."""
    proposal = ledger.propose(name, recipe, reference=reference, **factors)
    for number in proposal.seeds:
        trained = train(name, proposal.factors, proposal.recipe, number)
        proposal.add(ask(*trained, proposal.factors))
    print(proposal.decide())

# %% [markdown]
# The path starts where chapter 3 started: paper 1's plain network on whole cut-outs, flattened into a large dense
# layer, with dropout in every block. Its recipe is the paper's but for the following, which
# [chapter 5](05_autoencoder_and_classifier.ipynb) gave reasons for: a short training needs larger steps and a
# learning rate that falls, or it ends wherever the last step happened to lead; and the weight of the reconstruction is
# read only by networks that draw.

# %%
paper = gu.recipes.PAPER_1_CNN
start = paper.replace(
    name="progressive", epochs=epochs, learning_rate=1e-3,
    learning_rate_schedule="cosine", reconstruction_weight=100.0)
for field, (stated, here) in paper.diff(start).items():
    print(f"{field}: {stated} in the paper's recipe, {here} here")

# %%
play("paper 1, plain network", start, network="paper 1", crop=1.0,
     pooling="flatten", block_dropout=0.25, augmentation="none", views=1,
     members="itself")

# %% [markdown]
# ## Single steps
#
# Each of the next cells changes one thing. Before you run one, say what you expect, and bet on it. Then read the verdict:
# *keep*, or *revert* with the reason.
#
# **No dropout in the blocks.** In front of batch normalisation it shifts the statistics with which the network answers
# ([chapter 3](03_a_baseline_cnn.ipynb)). This goes first: through such a fault, other changes are hard to see.

# %%
play("no dropout in blocks", block_dropout=0.0)

# %% [markdown]
# **Average pooling** in place of flattening takes away parameters, at the paper's image size nearly all of them
# (chapter 3).

# %%
play("average pooling", pooling="average")

# %% [markdown]
# **The crop.** Galaxies are small in the frame. Half of the cut-out holds nearly all of them, at twice the scale.

# %%
play("central half", crop=0.5)

# %% [markdown]
# **Flips and quarter turns**: eight exact views of every galaxy (chapter 4). They make the training galaxies harder to
# learn by heart. Whether a training this short ever gets that far is another question.

# %%
play("flips and turns", augmentation="flips")

# %% [markdown]
# A reverted round is not a failed one. It says: *with these galaxies, these seeds and this length of training, the change
# is not clearly better*. Its last words, what *would* be clear, say how much of an answer that is. A change far
# below that may still be real; exercise 2 computes what it would take to see it.
#
# Nor is it final. Every round is judged against the best one *of its time*. A change that was reverted early may be kept
# later, when something that hid it has gone; trying it again is another try, and counts as one.
#
# And what if somebody changes too much at once? The ledger does not argue; it refuses, before anything is trained.

# %%
try:
    ledger.propose("everything at once", start.replace(batch_size=64),
                   crop=0.7, pooling="max")
except ConfigurationError as error:
    print(error)

# %% [markdown]
# ## Another network: many changes under one name
#
# Paper 1's own steps are larger: a new network each time. The rule counts `network` as one factor, because a network
# cannot be changed by a third. But the name stands for layers, sizes and losses together, and so does the verdict: it
# can say *that* the new network is better or not, never *which part* of it made it so. To ask for a part, take a step
# inside a network, as chapter 5 did with the decoder.
#
# **The joint autoencoder and classifier** (chapter 5). It has to draw what it sees, and turned images would have to be
# drawn turned; so it is trained without augmentation. Where the path has kept the flips, that is the second change.

# %%
def joint(factors, number):
    """Paper 1's second network: one encoder, two heads."""
    return gu.models.joint_autoencoder_classifier(
        size, whole.num_classes, seed=number)


builders["joint"] = joint
play("joint autoencoder", network="joint", augmentation="none")

# %% [markdown]
# The paper's gain of twelve points for this network was measured against its plain network; here the opponent is whatever
# the rounds above have made of that one. Both comparisons are fair, to different questions.
#
# **Transfer** ([chapter 7](07_transfer_learning.ipynb)). A frozen backbone and a new head, trained on the backbone's
# features, which are computed once. Whether anything is transferred depends on whether this machine has pretrained
# weights:

# %%
title = gu.models.BACKBONES[backbone].title
weights = gu.models.find_weights(
    backbone, size, download=profile.name == "full")
transfer_name = f"{title}, {'pretrained' if weights else 'random weights'}"
if weights is None:
    gu.plots.show_warning(
        "Random weights: nothing is transferred on this page",
        "There were no pretrained weights. The round below is recorded as a "
        "reference, which decides nothing.")

# %%
def transfer(factors, number):
    """A frozen backbone with a new head."""
    some = prepared[factors["crop"]].images[split.train[:64]]
    file = weights or gu.models.random_weights(
        backbone, np.float32(some), seed)
    return gu.models.backbone_classifier(
        backbone, size, whole.num_classes, weights=file,
        trainable_layers=0, seed=number)


builders[title] = transfer

# %%
play(transfer_name, network=title, augmentation="none",
     reference=weights is None)

# %% [markdown]
# A round that is not meant as a step, or cannot be one, is a **reference**: it is measured and written down like the
# others, uses up no try, and can never become the best. Without pretrained weights this round is one. With them, it is a
# step like any other; but note its size. These backbones were made for images of 224 pixels and halve them five times: at
# 32 pixels a single number is left in each direction. What this round says of transfer, it says of transfer at this size.
#
# ## A step without training
#
# Asking the same networks about **eight views** of a galaxy and averaging trains nothing (chapter 4). The comparison is
# paired by galaxy *and* by network, which makes small differences visible. The rule still counts the cost: eight answers.

# %%
kept = [one for one in ledger.rounds if one.verdict in ("start", "keep")
        and (one.factors["views"], one.factors["members"]) == (1, "itself")][-1]
proposal = ledger.propose("eight views", same_networks=True, views=8)
for number in seeds:
    trained = train(kept.name, kept.factors, kept.recipe, number)
    networks["eight views", number] = trained
    if number in proposal.seeds:
        proposal.add(ask(*trained, proposal.factors))
print(proposal.decide())

# %% [markdown]
# ## Your round
#
# This is the place for a round of your own: one cell, here. A new value of a factor, or a recipe in which one field
# differs (`ledger.best.recipe.replace(…)`), or a network of yours that you put into `builders`. Two tries are set aside
# for you, and no more, however small the change: that is what the error rate costs. Exercise 1 shows an example.
#
# ## The last round: all that was kept
#
# The networks along the path are there anyway. An **ensemble** averages their probabilities: here those of the last three
# rounds of the path, the best and the two that it grew from, seed by seed, each answering as in its own round. It costs
# the sum of all three, and the rule is asked whether it is worth that.

# %%
again = ["ensemble"] + [one.against for one in ledger.rounds
                        if one.same_networks and one.verdict == "keep"]
members = [one.name for one in ledger.rounds
           if one.verdict in ("start", "keep") and one.name not in again][-3:]
if len(members) > 1:
    proposal = ledger.propose("ensemble", members=" + ".join(members))
    for several in zip(*map(ledger.measurements, members), strict=True):
        if several[0].seed in proposal.seeds:
            proposal.add(combine(several))
    print(proposal.decide())

# %% [markdown]
# (Where fewer rounds were kept, fewer are combined; where none was, the cell prints nothing. Where the eight views were
# kept, they take the place of the same networks with one view.)
#
# ## The path
#
# All rounds in one table, with 95 % intervals on validation galaxies. Paper 1's three models stand in it as rounds, and
# what the paper published about them stands in a column of its own {cite}`paper_1`: whole Galaxy10, larger images,
# another split, test galaxies, one figure each, and a ResNet50 for the transfer. That column is for orientation. No
# difference between it and its neighbours is a result.

# %%
published = {
    "paper 1, plain network": {"accuracy": 0.4887},
    "joint autoencoder": {"kl": 1.0167, "accuracy": 0.61},
    transfer_name: {"kl": 0.5455, "accuracy": 0.81}}
gu.plots.show_rounds(ledger.table(), published)

# %% [markdown]
# Read the figure from top to bottom. The dark line is the path; each dashed branch leaves it at the round against which
# it was judged, and ends there. Look how wide the bars are beside the steps. A step can be clear although two bars
# overlap, because the comparison is paired: easy galaxies are easy for both.

# %%
def show_path(score):
    """Draw the path by one score, with the paper's figures below it."""
    known = {
        f"published, {name.replace(transfer_name, 'ResNet50')}": values[score]
        for name, values in published.items() if score in values}
    figure = gu.plots.iteration_path(
        ledger.table(), score, known, ledger.provenance)
    gu.plots.show(figure, "The path with its reverted branches; below the "
                  "line, published figures for other images.")


show_path("kl")

# %%
show_path("accuracy")

# %% [markdown]
# Do both scores tell the same story? Where KL falls and accuracy does not move, probabilities have become more honest
# while the decisions stayed the same.
#
# ## What did it cost?
#
# The same rounds against the seconds that one training took. Look for marks that lie to the right of another one without
# lying above it: they cost more and bring nothing.

# %%
figure = gu.plots.accuracy_against_cost(
    ledger.table(), "training_seconds", ledger.provenance)
gu.plots.show(figure, "Accuracy against seconds of training; the numbers "
              "are those of the rounds.")

# %% [markdown]
# An ensemble has the cost of all its members, and eight views cost nothing here because they are paid when answering.
# Seconds belong to this machine, and on a busy one to its other users; parameters do not.
#
# ## Who gained?
#
# The mean hides which classes improved. Here is the best round minus the start, class by class, on the same galaxies.
# Classes with fewer than five validation galaxies are left out. Grey bars contain zero.

# %%
first = ledger.rounds[0].name
gains = gains_by_class(
    *map(ledger.measurements, (first, ledger.best.name)), whole.class_names)
if gains:
    figure = gu.plots.paired_differences(
        {name: (gain.value, *gain.interval()) for name, gain in gains.items()},
        f"accuracy, {ledger.best.name} minus start", ledger.provenance)
    gu.plots.show(figure, "Gains in accuracy by class, validation galaxies.")

# %% [markdown]
# The figure holds many intervals of 95 %, and nobody divided their level by their number: one that just misses zero is
# an idea for another ledger, not a finding. (If the path never left its start, all differences are zero.)
#
# ## The test galaxies, once
#
# The rounds were chosen on validation galaxies, and the best of them is a winner: it looks a little better there than
# it is. So now the test part is opened, for the best round and, in the same moment, for the paper's three models.

# %%
def on_test(name):
    """A round's answers to the test galaxies, one per seed."""
    one = ledger[name]
    if one.factors["members"] != "itself":
        several = zip(*map(on_test, members), strict=True)
        return [combine(each) for each in several]
    trained = [train(name, one.factors, one.recipe, n) for n in seeds]
    return [ask(*each, one.factors, "test") for each in trained]

# %%
three = [first, "joint autoencoder", transfer_name]
if ledger.test is None:
    opened = dict.fromkeys([*three, ledger.best.name])
    ledger.open_test({name: on_test(name) for name in opened})
for name, score in ledger.test["scores"].items():
    values = [f"{label} {score[label][0]:.3f} ({score[label][1]:.3f} to "
              f"{score[label][2]:.3f})" for label in ("kl", "accuracy")]
    print(f"{name:<28}", "  ".join(values))

# %% [markdown]
# Compare the paper's three with each other, as the paper did, and then with the best round. (The second and third were
# built on what the path had kept by then, the first was not.) The best round's line and its row in the table differ by
# what choosing was worth, plus the chance of other galaxies.
#
# From here on the ledger is closed. It refuses every further round, because that round would have been thought of by
# somebody who knows these lines.

# %%
try:
    ledger.propose("one more", ledger.best.recipe.replace(batch_size=16))
except ConfigurationError as error:
    print(error)

# %% [markdown]
# ## Replay it
#
# All answers lie beside the ledger, and each line carries the hash of the line before. `replay` reads them and judges
# every round again, from the answers alone. That is what to publish with a table: the file, and the last hash.

# %%
replayed = ledger.replay()
print(f"{len(replayed)} rounds replayed, the same verdicts: "
      f"{[one.verdict for one in replayed]}")
print(f"last hash: {ledger.last_hash[:16]}…")

# %% [markdown]
# And this is the ledger itself, as text: every round with its reason, in the order in which it was tried.

# %%
print(ledger)

# %% [markdown]
# ## Key takeaways
#
# - The rule comes before the rounds: how many factors, what is clear, what it may cost, how many tries.
# - Clear means clear for other galaxies *and* other seeds. One seed a round cannot tell a better recipe from a luckier
#   start.
# - The more tries, the more each has to show. Count the reverted ones too, and print them.
# - *Revert* means "not shown", not "shown to be useless". What *would* be clear says which of the two is nearer.
# - A new network is many changes under one name, and so is its verdict.
# - The best round is a winner. What it is worth is said by galaxies that had no vote, once.
#
# ## Exercises
#
# **Exercise 1.** Add a round of your own in one cell, where the text says *Your round*, and run the chapter again: let
# the learning rate start three times as high. Bet first. The solution plays it in a second ledger, which starts from
# the best single network and its stored answers. (The test part has been seen, so this ledger could never honestly open
# it.)

# %% tags=["solution", "hide-cell"]
second = path.with_name("second_ledger.jsonl")
if profile.name != "full":
    second.unlink(missing_ok=True)
first_ledger = gu.Ledger(path)
ledger = gu.Ledger.create(second, whole, split, seeds=seeds,
                          rule=gu.Rule(max_rounds=1))
proposal = ledger.propose(kept.name, kept.recipe, **kept.factors)
for measurement in first_ledger.measurements(kept.name):
    if measurement.seed in proposal.seeds:
        proposal.add(measurement)
print(proposal.decide())

# This is the one cell:
play("larger steps", ledger.best.recipe.replace(learning_rate=3e-3))
# With a single try the level is not divided, so less is needed to be clear.

# %% [markdown]
# **Exercise 2.** An accuracy that is higher by two, five or ten points: how many validation galaxies does it take to
# see it with a probability of 80 %, at this ledger's level, with four, sixteen and sixty-four seeds? Take the spreads
# from the first two rounds, and say why for small differences no number of galaxies may suffice.

# %% tags=["solution", "hide-cell"]
pilot = compare(*(first_ledger.measurements(one.name)
                  for one in first_ledger.rounds[:2]))[1]
spreads = {name: getattr(pilot, name)
           for name in ("shared_spread", "own_spread", "seed_spread")}
print(f"seeds spread by {100 * pilot.seed_spread:.1f} points, "
      f"beyond the chance of {pilot.num_galaxies:,} galaxies")
for points in (2, 5, 10):
    for number in (4, 16, 64):
        try:
            needed = evaluation.galaxies_needed(
                points / 100, num_seeds=number, level=rule.accuracy_level,
                **spreads)
            answer = f"{needed:,} galaxies"
        except ConfigurationError:
            answer = "no number of galaxies: more seeds first"
        print(f"{points:>2} points, {number:>2} seeds: {answer}")
# What differs from seed to seed does not average out over galaxies.

# %% [markdown]
# **Exercise 3.** Cheat. Copy the ledger, turn the first *revert* in the copy (or, if there is none, the first *keep*)
# into its opposite, and open it. Who notices? And what if the cheat computes all hashes anew?

# %% tags=["solution", "hide-cell"]
text = first_ledger.path.read_text()
true, false = '"verdict": "revert"', '"verdict": "keep"'
if true not in text:
    true, false = false, true
forged = path.with_name("forged.jsonl")
forged.write_text(text.replace(true, false, 1))
try:
    gu.Ledger(forged)
except DataError as error:
    print(error)
# New hashes would make the file open. But `replay` judges every round again
# from the stored answers, and says which one comes out differently; and who
# had quoted the last hash beforehand has another one now.

# %% [markdown]
# ## Further reading
#
# - The method, and the three models: {cite:t}`paper_1`.
# - What to report about tries, so that others can judge the winner: {cite:t}`dodge_2019`.
# - Where the scatter between trainings comes from, and how many it takes to compare: {cite:t}`bouthillier_2021`.
# - Why averaging the probabilities of several networks helps: {cite:t}`lakshminarayanan_2017`.
