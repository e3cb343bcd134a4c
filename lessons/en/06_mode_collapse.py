# %% [markdown]
# # 6. Mode collapse
#
# **The claim.** A distribution of images has *modes*: kinds of image, such as the ten digits. A GAN may draw a few
# of them and never the others; in the extreme, all fakes are the same image: *mode collapse*. The losses need not
# show it. So modes are counted (Goodfellow 2016; Metz et al. 2017).
#
# This lesson sees a collapse in the plane and tries the usual cures one by one; counts a thousand modes; and makes
# a GAN of digits collapse, which Ganvas measures and names.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import softplus

import ganvas
from ganvas.data import DataOptions, open_images

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Eight modes
#
# The data are points of the plane: eight small Gaussians on a circle. A point belongs to the nearest one, if it
# lies within four standard deviations of it. A mode *counts as drawn* if at least one point in forty belongs to it,
# a fifth of its fair share.

# %%
SPREAD = 0.05
angles = torch.arange(8) * torch.pi / 4
centres = torch.stack([angles.cos(), angles.sin()], 1)  # float [8 2]


def draw_ring(n):
    """n points of the data, float [n 2]."""
    return centres[torch.randint(8, (n,))] + SPREAD * torch.randn(n, 2)


def modes_of(points):
    """How many of the eight modes the points float [n 2] show."""
    distances, nearest = torch.cdist(points, centres).min(1)
    counts = torch.bincount(nearest[distances < 4 * SPREAD], minlength=8)
    return int((counts >= len(points) / 40).sum())


torch.manual_seed(0)
assert modes_of(draw_ring(4000)) == 8
assert modes_of(centres[3] + SPREAD * torch.randn(4000, 2)) == 1  # every point is perfect, seven modes are missing

# %% [markdown]
# ## The game, with cures to switch on
#
# A GAN collapses easily where D learns more slowly than G. `play` is the loop of lesson 1 with what is said to cure
# it:
#
# - **a faster D**: D's learning rate is that of G;
# - **more D**: three updates of D for each one of G;
# - **minibatch statistics**: D receives, with each point, the deviation within its batch (Karras et al. 2018,
#   after Salimans et al. 2016). Fakes that are all alike give themselves away;
# - **RpGAN + R1 + R2**: the relativistic pairing loss compares each fake with a real, by the difference of their
#   logits, and penalties keep D's gradients small on both (Huang et al. 2024). Here with equal rates: against a D that
#   is five times slower it does not help either. Try it.
#
# Two more are left to you. *Lower rates* let G move less far before D has answered; they need more rounds.
# *Unrolling* lets G descend its loss against the D of some steps later, with the gradient through these steps (Metz
# et al. 2017). Each of its rounds costs many times as much.


# %%
def mlp(*widths):
    """Fully connected layers with LeakyReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class BatchDeviation(nn.Module):
    """x float [n f] -> float [n f + 1]: appends the deviation within the batch, one number for all rows."""

    def forward(self, x):
        return torch.cat([x, x.std(0).mean().expand(len(x), 1)], 1)


def squared_slope(x, logits):
    """The squared norm of D's gradient at each x, float [n]: R1 on reals, R2 on fakes."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().sum(1)


def play(draw, G, D, rounds, *, g_rate, d_rate, d_steps=1, relative=False, gamma=0.0, look=None):
    """Trains G, from z float [n 32], against D on draw(n); calls look(G) five times."""
    g_optimiser = torch.optim.Adam(G.parameters(), g_rate, (0.5, 0.99), fused=True)
    d_optimiser = torch.optim.Adam(D.parameters(), d_rate, (0.5, 0.99), fused=True)
    for i in range(rounds):
        for _ in range(d_steps):
            real, fake = draw(64), G(torch.randn(64, 32)).detach()
            if gamma:
                real.requires_grad_()  # the penalties take D's gradients at the points themselves
                fake.requires_grad_()
            on_real, on_fake = D(real), D(fake)  # float [64 1]
            losses = softplus(on_fake - on_real) if relative else softplus(-on_real) + softplus(on_fake)
            if gamma:
                slopes = squared_slope(real, on_real) + squared_slope(fake, on_fake)
                losses = losses.squeeze(1) + gamma / 2 * slopes
            d_optimiser.zero_grad()
            losses.mean().backward()
            d_optimiser.step()
        on_fake = D(G(torch.randn(64, 32)))
        loss = softplus(D(draw(64)) - on_fake if relative else -on_fake).mean()
        g_optimiser.zero_grad()
        loss.backward()
        g_optimiser.step()
        if look and (i + 1) % (rounds // 5) == 0:
            look(G)
    return G


# %% [markdown]
# ## A collapse, seen
#
# G learns five times as fast as D.

# %%
SLOW_D, EQUAL = {"g_rate": 5e-3, "d_rate": 1e-3}, {"g_rate": 5e-3, "d_rate": 5e-3}
ROUNDS = 400 if FAST else 1500


def play_ring(batch_deviation=False, rounds=ROUNDS, **settings):
    """A game on the ring: G's points through time, a list of float [1000 2]."""
    torch.manual_seed(1)
    points = []
    D = nn.Sequential(BatchDeviation(), mlp(3, 64, 64, 1)) if batch_deviation else mlp(2, 64, 64, 1)
    with_points = lambda G: points.append(G(torch.randn(1000, 32)).detach())  # noqa: E731
    play(draw_ring, mlp(32, 64, 64, 2), D, rounds, look=with_points, **settings)
    return points


def draw_points(rows):
    """A row of pictures for each of the lists of points."""
    _, axes = plt.subplots(1, len(rows), figsize=(2.4 * len(rows), 2.7), sharex=True, sharey=True)
    for axis, (title, points) in zip(axes, rows.items()):
        axis.scatter(*centres.T.numpy(), s=60, color="0.85")
        axis.scatter(*points.T.numpy(), s=2, color="tab:orange")
        axis.set(title=f"{title}: {modes_of(points)}", aspect="equal", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    plt.show()


history = play_ring(**SLOW_D)
draw_points({f"round {(i + 1) * ROUNDS // 5}": points for i, points in enumerate(history)})

# %% [markdown]
# G's points lie in one place, and the place changes: D has just learned that it is false. More rounds do not help.
# The number above each picture is that of the modes.
#
# Why does D allow it? D sees each point alone. It cannot know that all fakes lie in one place; it learns that *this
# place* holds fakes, and lowers its logit there. G then moves on, all points together, and D follows it around the
# circle.
#
# ## The cures

# %%
cures = {
    "slow D": history[-1],
    "faster D": play_ring(**EQUAL)[-1],
    "more D": play_ring(**SLOW_D, d_steps=3)[-1],
    "deviation": play_ring(**SLOW_D, batch_deviation=True)[-1],
    "RpGAN + R1 + R2": play_ring(**EQUAL, relative=True, gamma=0.02)[-1],
}
draw_points(cures)
modes = {title: modes_of(points) for title, points in cures.items()}
print(modes)
assert modes.pop("slow D") <= 2
assert min(modes.values()) >= 3

# %% [markdown]
# Each of them brings nearly all modes back, so the counts do not rank them here. What they share is a D that
# answers in time: by its learning rate, by more updates, or because it sees the batch and recognises the collapse
# itself. The points between the modes are the bridges of lesson 1.
#
# ## Broken on purpose
#
# The same mistake with the knobs of Ganvas: G's learning rate is forty times that of D, and there is no penalty.
# The recipe `digits` trains two small fully connected networks on 1,400 digits of 8×8 pixels.

# %%
KIMG = 21 if FAST else 100


def train(name, **knobs):
    """A run of the recipe `digits`, with some knobs changed; shows its images."""
    settings = {"kimg": KIMG, "batch": 128, "tick_kimg": KIMG / 10, "snapshot_kimg": KIMG, "plot": False} | knobs
    run = ganvas.train("digits", out="runs/lesson-6", name=name, quiet=True, **settings)
    plt.figure(figsize=(9, 1.9))
    plt.imshow(ganvas.load(run.path).sample(range(20)).grid(columns=10), cmap="gray")
    plt.title(name)
    plt.axis("off")
    plt.show()
    return run


broken = train("broken", objective="non-saturating", r1=0.0, r2=0.0, g_lr=2e-3, d_lr=5e-5, beta1=0.5)
diagnosis = ganvas.diagnose(broken)
print(diagnosis)
assert "Mode collapse" in str(diagnosis)

# %% [markdown]
# The evidence is in the samples, not in the losses: how much two fakes differ, and how many classes are missing.
# How many classes *are* drawn, `ganvas.evaluate` counts by a classifier. **Precision** is the share of fakes that
# lie among the reals, **recall** the share of reals that lie among the fakes (Kynkäänniemi et al. 2019). A G that
# draws one perfect image has all the precision and no recall. This one has neither: its one image is not perfect.


# %%
def measure(run):
    """Prints measures of variety, each with what held-out real images get; returns their values by name."""
    measured = ganvas.evaluate(run, count=390, quick=True, quiet=True)
    for name in ("modes", "rarest", "precision", "recall"):
        print(f"{measured.get_measure(name).title:22} {measured.values[name]}")
    return {name: value.value for name, value in measured.values.items()}


before = measure(broken)

# %% [markdown]
# ## The remedy
#
# The diagnosis has two fixes: the relativistic loss with R1 and R2, and a G that learns more slowly against more
# updates of D. Where it finds D too weak, it says so too: let D learn at G's rate. The recipe has the loss, the
# penalties and equal rates: we only leave out what broke it.

# %%
remedied = train("remedied")
after = measure(remedied)
assert after["modes"] >= before["modes"] + 4
assert after["recall"] > before["recall"]

# %% [markdown]
# ## A thousand modes
#
# Ten classes are soon drawn. Metz et al. 2017 made a data set with more modes to count, StackedMNIST: three digits,
# one each in the red, green and blue channel of an image, are 10 · 10 · 10 = 1,000 classes. A GAN of this benchmark
# draws all three channels itself; here three images of one G are stacked, which shows what the number does. The
# class of a channel is that of the nearest real digit.

# %%
digits = open_images(DataOptions(source="digits"))
reals = torch.tensor(digits.images[:])  # uint8 [1400 1 8 8]
held_out = torch.tensor(open_images(DataOptions(source="digits", split="test")).images[:])  # uint8 [397 1 8 8]


def modes_of_thousand(images):
    """How many of the 1,000 modes 6,000 images show, uint8 [6000 1 8 8], stacked by three."""
    nearest = torch.cdist(images.float().flatten(1), reals.float().flatten(1)).argmin(1)
    classes = torch.tensor(digits.labels)[nearest].view(2000, 3)
    return len((classes @ torch.tensor([100, 10, 1])).unique())


stacks = {"held-out reals": held_out[torch.randint(397, (6000,))]}
for title, run in {"broken": broken, "remedied": remedied}.items():
    stacks[title] = torch.tensor(ganvas.load(run.path).sample(range(6000)))
thousand = {title: modes_of_thousand(images) for title, images in stacks.items()}
print("modes in 2,000 stacked images:", thousand)
print(f"modes in 2,000 draws of 1,000 equally frequent classes, on average: {1000 * (1 - (1 - 1 / 1000) ** 2000):.0f}")
assert thousand["held-out reals"] > 800
assert thousand["remedied"] > 3 * thousand["broken"]

# %% [markdown]
# Two thousand draws do not show a thousand classes, even of a perfect sampler: compare with the last line. And the
# broken G shows more than one mode though it draws one digit: its images differ a little, and the nearest real
# digit of a bad one is now this class, now that. Count modes of good images only.
#
# ## Three questions
#
# 1. Ten modes are equally frequent; G draws two of them, each half of the time, perfectly. What is the KL
#    divergence of its images from the uniform distribution?
# 2. A class has a thousandth of the images. How likely is it that 1,000 images of a perfect sampler show none of
#    it?
# 3. D adds 5 to each of its logits, on reals as on fakes. What does that change in the non-saturating loss of G
#    (lesson 1), and in that of RpGAN?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
p = torch.tensor([0.5, 0.5])  # 1. the sum of p log (p / 0.1): log 5, and 0 would be a perfect variety
print(f"1. {(p * (p / 0.1).log()).sum():.2f}")
assert torch.isclose((p * (p / 0.1).log()).sum(), torch.tensor(5.0).log())

missed = (1 - 1 / 1000) ** 1000  # 2. about 1 / e
print(f"2. {missed:.2f}")
assert 0.36 < missed < 0.37

on_real, on_fake = torch.randn(64), torch.randn(64)  # 3. the first falls, and nothing of it is G's merit ...
print(f"3. {softplus(-on_fake).mean():.2f} becomes {softplus(-(on_fake + 5)).mean():.2f}; RpGAN's stays")
assert softplus(-(on_fake + 5)).mean() < softplus(-on_fake).mean() / 5
assert torch.allclose(softplus((on_real + 5) - (on_fake + 5)), softplus(on_real - on_fake), atol=1e-5)  # ... no change

# %% [markdown]
# ## An exercise with your own pictures
#
# Put photos into two folders, `photos/rare` and `photos/frequent`, ten times as many into the second: the folders
# are the classes. Train `ganvas train cnn-stable --data photos --resolution 32 --minutes 5`, and measure with
# `ganvas evaluate RUN`, where RUN is the folder of the run: what share does the rarest class have? Train again with
# `--balanced`, and compare. If you have time, try the thousand modes: `ganvas train cnn-stable --data
# stacked-mnist:digits28`.
