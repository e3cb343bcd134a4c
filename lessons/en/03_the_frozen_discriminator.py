# %% [markdown]
# # 3. The frozen discriminator
#
# **The claim.** Each loss of a GAN moves one network: D's loss moves D, G's loss moves G. The loop that most Keras
# tutorials share says so with one line. D is compiled; then `discriminator.trainable = False`; then G and D are
# compiled as one model. "So D learns when it is trained alone, and stands still while G learns."
#
# In Keras 2 that was true. In Keras 3 the same lines train a D that never learns at all. No error is raised, the
# losses look like losses, and G draws noise. This lesson finds the fault three times, from what the loop prints,
# from the networks, and by hand, and removes it in two ways.
#
# It needs Keras beside PyTorch: `pip install keras`. Without Keras the lesson can be read but not run; the same
# fault in PyTorch alone comes near its end.

# %%
import os

os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported, and never again

import warnings
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import torch
from keras import layers
from torch import nn
from torch.nn.functional import binary_cross_entropy, softplus

import ganvas
from ganvas.data import DataOptions, open_images

warnings.filterwarnings("ignore", "__array__", DeprecationWarning)  # Keras calls NumPy in an old way
FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more
images = open_images(DataOptions(source="digits28")).images[:2000]  # uint8 [2000 1 28 28]
images = images.transpose(0, 2, 3, 1) / np.float32(127.5) - 1  # float [2000 28 28 1] in [-1, 1], as Keras has them

# %% [markdown]
# ## The loop as it is written everywhere
#
# Two small networks, and the three steps of the tutorials. For readers who come from PyTorch: a Keras model is
# *compiled* with its loss and its optimiser, and `train_on_batch(x, y)` is then one whole update, forward, backward
# and step; it returns the loss and the metrics of the batch, here the accuracy of D. Read `play` slowly, and ask at
# each update which weights it may change.


# %%
def make_pair():
    """G: z float [n 100] -> images float [n 28 28 1] in [-1, 1]; D: images -> probabilities [n 1]."""
    G, D = [], []
    for width in (128, 256):
        G += [layers.Dense(width), layers.LeakyReLU(negative_slope=0.2), layers.BatchNormalization(momentum=0.8)]
    for width in (16, 32, 64):
        D += [layers.Conv2D(width, 5, strides=2, padding="same"), layers.LeakyReLU(negative_slope=0.2)]
    G += [layers.Dense(784, activation="tanh"), layers.Reshape((28, 28, 1))]
    D += [layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((100,)), *G]), keras.Sequential([keras.Input((28, 28, 1)), *D])


def adam(rate):
    return keras.optimizers.Adam(rate, beta_1=0.5)


def compile_pair():
    """G, D, and both as one model, in which D is to stand still."""
    keras.utils.set_random_seed(1)
    G, D = make_pair()
    D.compile(adam(2e-4), "binary_crossentropy", metrics=["accuracy"])
    D.trainable = False
    z = keras.Input((100,))
    combined = keras.Model(z, D(G(z)))
    combined.compile(adam(1e-3), "binary_crossentropy")
    return G, D, combined


# %%
def play(G, D, combined, rounds, *, unfreeze=False, probe=None):
    """The classic loop; returns the lines that it prints. `unfreeze` and `probe` come later."""
    random, log = np.random.default_rng(1), []
    ones, zeros = np.ones((32, 1)), np.zeros((32, 1))
    for i in range(rounds):
        real = images[random.integers(len(images), size=32)]
        fake = G.predict(random.normal(size=(32, 100)), verbose=0)
        if unfreeze:
            D.trainable = True
        d_loss = 0.5 * np.add(D.train_on_batch(real, ones), D.train_on_batch(fake, zeros))
        if unfreeze:
            D.trainable = False
        g_loss = combined.train_on_batch(random.normal(size=(32, 100)), ones)
        if i % (rounds // 20) == 0:
            log += [f"{i} [D loss: {d_loss[0]:f}, acc.: {100 * d_loss[1]:.2f}%] [G loss: {g_loss:f}]"]
        if probe:
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return log


ROUNDS = 60 if FAST else 500
with warnings.catch_warnings(record=True) as told:  # they drown in the output of a notebook: we look at them later
    warnings.simplefilter("always")
    frozen, D, combined = compile_pair()
    log = play(frozen, D, combined, ROUNDS)
print("\n".join(log[::3]))

# %% [markdown]
# ## What the losses say
#
# The number after "D loss" is the mean of two cross-entropies, on reals and on fakes; the accuracy beside it is the
# share of both that D has on the right side of ½, and half is no better than chance. A D that says ½ to everything
# has $-\log \frac12 = 0.69$ there. This one begins near 0.69, and then only gets *worse*, while G's loss falls. A D
# that learns cannot do that for long: it could at least go back to saying ½. So D does not learn, and that can be
# read from the losses alone, without the program.
#
# `ganvas diagnose log.txt` does that for any log, of anybody; in Python:

# %%
folder = Path("runs/lesson-3")
folder.mkdir(parents=True, exist_ok=True)
(folder / "frozen.txt").write_text("\n".join(log) + "\n")
diagnosis = ganvas.diagnose(folder / "frozen.txt")
print(diagnosis)
assert "D is frozen" in str(diagnosis)

# %% [markdown]
# ## What the networks say
#
# Losses give a suspicion with a good reason. The networks give the proof. `ganvas.watch` takes models of Keras as
# well as modules of PyTorch, and looks at weights before and after a round. Twenty rounds are enough.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    G, D, combined = compile_pair()
    with ganvas.watch(G, D, every=3) as probe:
        play(G, D, combined, rounds=20, probe=probe)
diagnosis = probe.diagnosis()
assert "D is frozen by D.trainable = False" in str(diagnosis)
assert "exactly 0" in str(diagnosis)

# %% [markdown]
# ## Why: who reads the flag, and when
#
# `D.trainable = False` empties the list `D.trainable_weights`, which an update changes. In Keras 2 `compile` kept a
# copy of that list: D was compiled before the flag was set, so its own copy was full, and only the combined model's
# copy was without D. In Keras 3 `compile` keeps no list. The flag is read again in the update itself, and there it
# is False for both models.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    change = {}
    for trainable in (False, True):
        _, D, _ = compile_pair()
        D.trainable = trainable
        before = [weight.copy() for weight in D.get_weights()]
        D.train_on_batch(images[:32], np.ones((32, 1)))
        change[trainable] = max(np.abs(now - then).max() for now, then in zip(D.get_weights(), before))
        print(f"trainable = {trainable}: {len(D.trainable_weights)} tensors, largest change {change[trainable]:.1e}")
assert change[False] == 0 < change[True]
assert change[True] < 1e-3

# %% [markdown]
# Keras does say something, once, among the other lines of a notebook. This is what the first training has told us:

# %%
texts = {str(one.message) for one in told if "trainable weights" in str(one.message)}
print(texts)
assert texts

# %% [markdown]
# ## The remedy: the flag at each update
#
# If the flag is read in each update, it must be right in each: True before D's own updates, False before the
# combined model's. These are the two assignments that `unfreeze=True` adds.
#
# Make both models anew before you try it. An optimiser of Keras keeps the list of weights of its first update; the
# one of the frozen D has seen an empty list, and raises `Unknown variable` if the flag is changed after that.

# %%
learned, D, combined = compile_pair()
with ganvas.watch(learned, D, data=images, every=25) as probe:
    log = play(learned, D, combined, ROUNDS, unfreeze=True, probe=probe)
(folder / "learned.txt").write_text("\n".join(log) + "\n")
assert "D is frozen" not in str(probe.diagnosis())
assert "D is frozen" not in str(ganvas.diagnose(folder / "learned.txt"))

# %%
z = np.random.default_rng(2).normal(size=(100, 100))
figure, axes = plt.subplots(2, 1, figsize=(9, 2.4))
off = {}
for axis, (title, G) in zip(axes, {"frozen D": frozen, "D that learns": learned}.items()):
    fakes = G.predict(z, verbose=0)[..., 0]  # float [100 28 28]
    framed = np.pad(fakes[:10], ((0, 0), (1, 1), (1, 1)), constant_values=1)  # a white line around each image
    axis.imshow(np.concatenate(list(framed), 1), cmap="gray", vmin=-1, vmax=1)
    axis.set_title(title)
    axis.axis("off")
    off[title] = np.abs(fakes.mean(0) - images.mean(0)[..., 0]).mean()
    print(f"{title}: the mean of the fakes is {off[title]:.2f} away from that of the reals, in each pixel")
plt.show()
assert off["D that learns"] < 0.8 * off["frozen D"]

# %% [markdown]
# Against a frozen D, G looks for the pictures that this D takes for real most surely. They are noise, but this D
# never learns that.
#
# ## A remedy without a flag
#
# A flag that must be right at two places in each round will be wrong one day. It is safer to name the weights in
# the update itself: the gradient of this loss, applied to these weights. Then there is nothing to freeze.


# %%
def update(optimiser, loss, network):
    """One update of `network`, and of nothing else, by an optimiser of Keras (with PyTorch behind it)."""
    network.zero_grad()
    loss.backward()
    weights = network.trainable_weights
    with torch.no_grad():
        optimiser.apply([weight.value.grad for weight in weights], weights)


def two_updates(rounds):
    """The same game by gradients of named weights; returns the diagnosis."""
    keras.utils.set_random_seed(1)
    G, D = make_pair()
    d_adam, g_adam, random, ones = adam(2e-4), adam(1e-3), np.random.default_rng(1), torch.ones(32, 1)
    with ganvas.watch(G, D, every=25) as probe:
        for _ in range(rounds):
            real = torch.tensor(images[random.integers(len(images), size=32)])
            fake = G(torch.randn(32, 100), training=True)
            d_loss = binary_cross_entropy(D(real), ones) + binary_cross_entropy(D(fake.detach()), 1 - ones)
            update(d_adam, d_loss, D)
            g_loss = binary_cross_entropy(D(fake), ones)
            update(g_adam, g_loss, G)
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return probe.diagnosis()


diagnosis = two_updates(ROUNDS // 4)
assert "D is frozen" not in str(diagnosis)

# %% [markdown]
# With TensorFlow behind Keras the same is `tape.gradient(d_loss, D.trainable_weights)` and
# `optimiser.apply_gradients`; in a `train_step` of your own it works with `fit`.
#
# ## The same fault in PyTorch
#
# PyTorch has the flag too: `D.requires_grad_(False)`. Forget to take it back, and D's own loss has nothing to flow
# to. PyTorch says so at once:

# %%
G = nn.Sequential(nn.Linear(100, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())
D = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
flat = torch.tensor(images).flatten(1)  # float [2000 784]
D.requires_grad_(False)
d_loss = softplus(-D(flat[:32])).mean() + softplus(D(G(torch.randn(32, 100)).detach())).mean()
try:
    d_loss.backward()
except RuntimeError as error:
    message = str(error)
    print(message)
assert "does not require grad" in message

# %% [markdown]
# It says nothing where the *optimiser* is the wrong one. The usual way to get there is a notebook: the cell that
# makes the networks is run a second time, the cell that makes the optimisers is not. D's optimiser then moves the
# weights of a network that nobody uses any more.


# %%
def torch_loop(rounds, *, stale):
    """The game in PyTorch; `stale`: D's optimiser belongs to a D that was made before."""
    torch.manual_seed(1)
    G = nn.Sequential(nn.Linear(100, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())
    D = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 5e-4, (0.5, 0.999)) for network in (G, D))
    if stale:
        D = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))  # the cell is run again
    with ganvas.watch(G, D, every=10) as probe:
        for _ in range(rounds):
            real, fake = flat[torch.randint(len(flat), (32,))], G(torch.randn(32, 100))
            d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
            d_adam.zero_grad()
            d_loss.backward()
            d_adam.step()
            g_loss = softplus(-D(fake)).mean()
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return probe.diagnosis()


diagnosis = torch_loop(50, stale=True)
assert "D is frozen" in str(diagnosis)
diagnosis = torch_loop(50, stale=False)
assert "D is frozen" not in str(diagnosis)

# %% [markdown]
# A test of one line finds all of these, in any framework: keep a copy of D's weights, make one round, and compare.
#
# ## Three questions
#
# 1. How many weight tensors does the combined model update while D is frozen, and how many if the flag was
#    forgotten?
# 2. D says 0.5 to every real and 0.8 to every fake. What does the loop print as "D loss"? Can a D that learns
#    stay there?
# 3. D's weights have `requires_grad=False` while G learns. Does G still get a gradient through D?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
G, D, combined = compile_pair()
counts = [len(combined.trainable_weights)]
D.trainable = True
counts += [len(combined.trainable_weights)]
print("1.", counts)
assert counts == [10, 18]  # 1. G's ten; with D's eight in the second case, and G's loss would move D too

printed = 0.5 * (-np.log(0.5) - np.log(1 - 0.8))
print(f"2. {printed:.2f}; by saying 0.5 to everything {-np.log(0.5):.2f}")
assert round(printed, 2) == 1.15 > 0.69  # 2. no: by saying 0.5 to everything D would have 0.69

G, D = nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False)
softplus(-D(G(torch.ones(1, 3)))).mean().backward()
print("3. G's gradient:", G.weight.grad.abs().sum().item(), "- D's:", D.weight.grad)
assert G.weight.grad.abs().sum() > 0  # 3. yes: the gradient with respect to D's input needs no gradient of its weights
assert D.weight.grad is None

# %% [markdown]
# ## An exercise with your own pictures
#
# Put two hundred photos into a folder, and play the loop of this lesson on them instead of the digits: in the first
# cell, `open_images(DataOptions(source="photos", resolution="28", channels=1)).images`, without `[:2000]`; the
# lines that follow make floats of them. Write what it prints into a file, once with `unfreeze=True` and once
# without, and run `ganvas diagnose` on both. If you have a log from an older notebook of your own, run it on that
# too.
