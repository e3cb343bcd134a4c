# %% [markdown]
# # 5. The balance
#
# **The claim.** G and D must be kept in balance: a D that always wins teaches G nothing, and a G that always wins
# meets a D that no longer learns. Courses therefore name many remedies: more steps for one of them, two learning
# rates, skipped updates, noise, dropout, gradient penalties.
#
# This lesson plays the smallest game that there is, in which the effect of each can be seen: some only change the
# pace, and few bring the game to rest. Then it turns the same knobs on digits, and shows trainings whose losses are
# alike and whose images are not.

# %%
import json
import os

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import softplus

import ganvas

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## A game with two numbers
#
# All reals are the same number, 0. G has one parameter: it draws the number θ. D has one parameter too: its logit
# is ψx. This is the Dirac-GAN of Mescheder et al. 2018. The aim of the game is θ = 0; there D is at rest at ψ = 0,
# as it cannot tell the two apart. The game of the first lesson, in its minimax form, is
#
# $$L_D = \log 2 + \mathrm{softplus}(\psi\theta), \qquad L_G = -\mathrm{softplus}(\psi\theta).$$
#
# Where θ is above 0, D learns a negative ψ; then G moves down, past 0, before D has turned round. Each step is
# right, and the two go round in circles.

# %%
NORMAL = torch.special.ndtri((torch.arange(64) + 0.5) / 64)  # 64 values of a standard normal, equally likely


def descend(parameter, loss, rate):
    """The parameter after one step of gradient descent."""
    (gradient,) = torch.autograd.grad(loss, parameter)
    return (parameter - rate * gradient).detach().requires_grad_()


def play(*, d_steps=1, d_rate=0.1, g_rate=0.1, skip_d_below=0.0, noise=0.0, penalty=None, rounds=300):
    """The game from θ = ψ = 1; returns θ, ψ after each round, D's loss before its last step, float [rounds 3]."""
    theta, psi = torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    history = []
    for _ in range(rounds):
        for _ in range(d_steps):
            real, fake = noise * NORMAL, theta.detach() + noise * NORMAL
            d_loss = (softplus(-psi * real) + softplus(psi * fake)).mean()
            if d_loss.item() >= skip_d_below:
                psi = descend(psi, d_loss + (penalty(psi) if penalty else 0), d_rate)
        g_loss = -softplus(psi.detach() * (theta + noise * NORMAL)).mean()
        theta = descend(theta, g_loss, g_rate)
        history.append([theta.item(), psi.item(), d_loss.item()])
    return torch.tensor(history)


# %% [markdown]
# A *gradient penalty* adds to D's loss what grows with D's slope. R1 takes γ/2 times the squared slope at the reals,
# R2 the same at the fakes: zero-centred, they ask for a D that is flat. The penalty of WGAN-GP, λ (slope - 1)² at
# points between reals and fakes, is one-centred: it asks for a slope of 1. Here D's slope is ψ everywhere, so R1 and
# R2 are the same, γ/2 · ψ², and the third is λ (|ψ| - 1)².


# %%
def zero_centred(psi):
    """R1 or R2 with γ = 1."""
    return psi.square() / 2


def one_centred(psi):
    """WGAN-GP's penalty with λ = 1 (Gulrajani et al. 2017)."""
    return (psi.abs() - 1).square()


games = {
    "plain": play(),
    "five steps of D": play(d_steps=5),
    "D's rate × 4": play(d_rate=0.4),
    "D skipped": play(skip_d_below=1.35),
    "instance noise": play(noise=1.0),
    "R1 or R2": play(penalty=zero_centred),
    "one-centred": play(penalty=one_centred),
    "rates ÷ 4": play(d_rate=0.025, g_rate=0.025, rounds=1200),
}
_, axes = plt.subplots(2, 8, figsize=(16, 4))
for (above, below), (title, history) in zip(axes.T, games.items()):
    theta, psi, d_loss = history.T.numpy()
    above.plot(theta, psi, linewidth=0.7)
    above.plot(0, 0, "k+")
    above.set(title=title, xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
    below.plot(d_loss, linewidth=0.7, label="D's loss")
    below.set_ylim(0, 3)
axes[0, 0].set(xlabel="θ", ylabel="ψ")
axes[1, 0].legend()
plt.show()

# %%
print("               largest |θ| of the last 100 rounds   D's mean loss there")
swing = {}
for title, history in games.items():
    swing[title] = history[-100:, 0].abs().max().item()
    print(f"{title:22}{swing[title]:12.3f}{history[-100:, 2].mean():25.2f}")
assert swing["plain"] > 1
assert min(swing["D's rate × 4"], swing["five steps of D"], swing["rates ÷ 4"]) > 0.3
assert 0.2 < swing["D skipped"] < 0.6
assert max(swing["instance noise"], swing["R1 or R2"]) < 0.1
assert swing["one-centred"] > 2

# %% [markdown]
# What is seen:
#
# - **Step ratios, two learning rates** (TTUR, Heusel et al. 2017) and **lower rates** change the pace and the
#   shape of the circle. The game goes on.
# - **Skipping** D while its loss is low makes the circle smaller, down to the threshold; there it goes on for ever.
# - **Instance noise** (Sønderby et al. 2017) on reals and fakes, and **zero-centred penalties** (R1, R2) turn the
#   circle into a spiral that ends at the aim.
# - The **one-centred penalty** asks for a slope of 1 also where D should be flat. Here D's loss pulls ψ below 0 and
#   the penalty pulls it up to 1: near ψ = 0 the two cancel, and G moves on, away from the aim, to θ = 4. (In general
#   such a game need not come to rest: Mescheder et al. 2018.)
#
# A game of two numbers is no proof for networks. But it says what to expect of a knob: does it damp the game, or
# only change its pace?
#
# ## The same knobs on digits
#
# Each of them is an option of `ganvas train`, and an argument of `ganvas.train`. The data are 1,400 digits of 8×8
# pixels, the networks the small ones of the recipe `digits`, the loss the plain non-saturating one. One knob at a
# time is turned; **dropout** in D joins them. (Skipping is `skip_d_below`.) A row of `stats.jsonl` in the folder of
# a run holds, among others, both losses and the *energy distance* of the fakes' pixels from those of the reals
# (Székely & Rizzo 2013): 0 for equal distributions.

# %%
KIMG = 6 if FAST else 12  # the beginning, where the knobs differ most: given time, the plain game learns too


def train(name, **knobs):
    """A run of the recipe `digits` with the plain non-saturating loss, and some knobs changed."""
    plain = {"objective": "non-saturating", "r1": 0.0, "r2": 0.0, "g_lr": 1e-3, "d_lr": 1e-3, "beta1": 0.5}
    rows = {"kimg": KIMG, "tick_kimg": KIMG / (8 if FAST else 16), "snapshot_kimg": KIMG, "evaluate_every": 0}
    return ganvas.train("digits", out="runs/lesson-5", name=name, quiet=True, plot=False, **(plain | rows | knobs))


def curves_of(run):
    """The losses of D and G, and the distance from fakes to reals, through time: {name: list of numbers}."""
    rows = [json.loads(line) for line in (run.path / "stats.jsonl").read_text().splitlines()]
    losses = {name: [row[name]["mean"] for row in rows] for name in ("D/loss", "G/loss")}
    signals = [row.get("signals", {}) for row in rows]  # a row has none where monitoring had no time left
    return losses | {"distance": [one["distance"] for one in signals if "distance" in one]}


runs = {
    "plain": train("plain"),
    "d_steps=5": train("steps", d_steps=5),
    "d_lr × 4": train("rates", d_lr=4e-3),
    "noise=0.5": train("noise", noise=0.5),
    "dropout=0.5": train("dropout", dropout=0.5),
    "r1=r2=1": train("penalties", r1=1.0, r2=1.0),
}
_, axes = plt.subplots(2, len(runs), figsize=(14, 4), sharey="row")
for (above, below), (title, run) in zip(axes.T, runs.items()):
    curves = curves_of(run)
    above.plot(curves["D/loss"], label="D's loss")
    above.plot(curves["G/loss"], label="G's loss")
    above.set(title=title, ylim=(0, 5))
    below.plot(curves["distance"], "k", label="distance")
    below.set(ylim=(0, 1))
axes[0, 0].legend()
axes[1, 0].legend()
plt.show()


# %%
def end_of(run, name):
    """The mean of a curve's last three values."""
    return sum(curves_of(run)[name][-3:]) / 3


loss_at_end = {title: end_of(run, "D/loss") for title, run in runs.items()}
distance_at_end = {title: end_of(run, "distance") for title, run in runs.items()}
print("knob              D's loss   distance")
for title in runs:
    print(f"{title:18}{loss_at_end[title]:8.2f}{distance_at_end[title]:11.3f}")
assert loss_at_end["d_steps=5"] < 0.7 * loss_at_end["plain"]
assert distance_at_end["r1=r2=1"] < distance_at_end["plain"] / 2
assert min(distance_at_end, key=distance_at_end.__getitem__) == "r1=r2=1"
by_distance, by_loss = (sorted(ends, key=ends.__getitem__) for ends in (distance_at_end, loss_at_end))
assert by_distance not in (by_loss, by_loss[::-1])

# %% [markdown]
# Five steps of D lower its loss: it is further ahead, and in the same kimg G has a fifth of the updates. The
# penalties bring the fakes nearest to the reals. Sort the table by D's loss: that is not the order by distance.
#
# ## When the loss says nothing
#
# A D that cannot tell reals from fakes says 1/2 to everything: its loss is log 4 = 1.39, and G's is log 2 = 0.69.
# That is so at the end of a perfect game. When else? The game of two numbers has shown one case: with the
# one-centred penalty D's loss rests near log 4, and θ is far from 0.

# %%
alike = {"r1=r2=1": runs["r1=r2=1"], "plain": runs["plain"], "rates of 1e-6": train("still", g_lr=1e-6, d_lr=1e-6)}
_, axes = plt.subplots(3, 2, figsize=(9, 5), width_ratios=(1, 2))
for (losses, images), (title, run) in zip(axes, alike.items()):
    losses.plot(curves_of(run)["D/loss"], label="D's loss")
    losses.plot(curves_of(run)["G/loss"], label="G's loss")
    losses.set(title=title, ylim=(0, 3))
    images.imshow(ganvas.load(run.path).sample(range(20)).grid(columns=10), cmap="gray")
    images.axis("off")
axes[0, 0].legend(ncols=2)
plt.tight_layout()
plt.show()
losses, distances = ([end_of(run, name) for run in alike.values()] for name in ("D/loss", "distance"))
for title, loss, distance in zip(alike, losses, distances):
    print(f"{title:14} D's loss {loss:.2f}, distance {distance:.3f}")
assert max(losses) - min(losses) < 0.4
assert distances[2] > 1.3 * distances[1] > 3 * distances[0]

# %% [markdown]
# The losses of D are alike, the images are not. In the last run D is at chance because it has not learned. In the
# first the fakes are better, and the penalties keep D flat besides. The loss alone does not tell these cases apart:
# it compares two players, and does not say how good they are. Look at images, and measure them.
#
# ## Broken on purpose
#
# D gets everything: five updates in each round, and a hundred times G's learning rate; and G minimises the
# saturating loss of the first lesson.

# %%
broken = train("broken", objective="minimax", d_steps=5, d_lr=1e-2, g_lr=1e-4)
diagnosis = ganvas.diagnose(broken)
print(diagnosis)
assert "D is too strong" in str(diagnosis)

# %% [markdown]
# One knob is turned: G's learning rate. Then a second, the penalties, with all else as unfair as before.

# %%
faster = train("faster", objective="minimax", d_steps=5, d_lr=1e-2, g_lr=1e-3)
damped = train("damped", objective="minimax", d_steps=5, d_lr=1e-2, g_lr=1e-3, r1=1.0, r2=1.0)
assert "D is too strong" not in str(ganvas.diagnose(faster))
distances = [end_of(run, "distance") for run in (broken, faster, damped)]
print("distance: broken {:.3f}, a faster G {:.3f}, and penalties {:.3f}".format(*distances))
assert distances[0] > 1.5 * distances[1] > 3 * distances[2]

# %% [markdown]
# ## Three questions
#
# 1. In the Dirac-GAN, ψ = 0. What is D's loss where θ = 1, and where θ = 0?
# 2. D has a batch of 64 in each of five updates a round, G one. After 100 kimg, how many updates had G? (`kimg`
#    counts the thousands of reals that D was shown.)
# 3. D's slope is 3 in some place. By how much does one step at rate 0.1 change it under R1 with γ = 1, and under
#    the one-centred penalty with λ = 1, if there is nothing else?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
psi = torch.tensor(0.0)  # 1. log 4 in both: the loss of D does not see where G is
for theta in (0.0, 1.0):
    print(f"1. {softplus(-psi * 0.0) + softplus(psi * theta):.3f}")
    assert torch.isclose(softplus(-psi * 0.0) + softplus(psi * theta), torch.tensor(4.0).log())

print("2.", 100_000 // 64 // 5)
assert 100_000 // 64 // 5 == 312  # 2. five times fewer than D: at equal kimg, more steps of D are fewer of G

for penalty, change in ((zero_centred, -0.3), (one_centred, -0.4)):  # 3. γψ, and 2λ(|ψ| - 1): the second ends at 1
    psi = torch.tensor(3.0, requires_grad=True)
    print(f"3. {(descend(psi, penalty(psi), 0.1) - psi).item():.1f}")
    assert abs((descend(psi, penalty(psi), 0.1) - psi).item() - change) < 1e-5

# %% [markdown]
# ## An exercise with your own pictures
#
# Train the classic pair on a folder of photos, plain, with more steps of D, and with penalties: `ganvas train cnn
# --data photos --resolution 32 --kimg 40`, the same with `--d-steps 3`, and the same with `--r1 10 --r2 10`. Then
# draw the curves of the three in one figure, `ganvas plot RUN RUN RUN` with the folders that the trainings have
# named, and say from `curves.png` alone which has the best images. `ganvas evaluate RUN --quick` has the answer.
