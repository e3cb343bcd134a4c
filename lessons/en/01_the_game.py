# %% [markdown]
# # 1. The game
#
# **The claim.** Two networks play a game. The generator G turns random numbers z into images; the discriminator D
# says of an image how likely it is to be real. D learns to tell them apart, G learns to fool D, and *at the end of
# the game G draws from the distribution of the data* (Goodfellow et al. 2014).
#
# This lesson looks at each half of that sentence: what the best D is, what its loss measures, how G learns from it,
# and why the loss of the first page of the paper is hardly ever used. It takes about three minutes on a laptop,
# offline.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import logsigmoid, softplus

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Data that can be drawn
#
# Images have too many dimensions to look at a distribution. Points in the plane have two. Our data are eight small
# Gaussians on a circle: `p` is their density, which we know exactly. That is rare, and useful: every answer can be
# checked.

# %%
SPREAD = 0.15
angles = torch.arange(8) * torch.pi / 4
centres = 1.5 * torch.stack([angles.cos(), angles.sin()], 1)  # float [8 2]


def draw_reals(n):
    """n points of the data, float [n 2]."""
    return centres[torch.randint(8, (n,))] + SPREAD * torch.randn(n, 2)


def log_p(x):
    """The logarithm of the density of the data at points [n 2]: float [n]."""
    squares = (x[:, None] - centres).square().sum(2) / (2 * SPREAD**2)
    return torch.logsumexp(-squares, 1) - torch.log(torch.tensor(8 * 2 * torch.pi * SPREAD**2))


def mlp(*widths):
    """Fully connected layers with LeakyReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


# %% [markdown]
# ## The best discriminator
#
# Let G stand still for a moment. Its points have the density `q`; here a round Gaussian, so that we know `q` too. D
# maximises
#
# $$V(D) = \mathbb{E}_{x \sim p} \log D(x) + \mathbb{E}_{x \sim q} \log (1 - D(x)).$$
#
# At one point x the term is $p \log D + q \log (1 - D)$, which is largest where its derivative $p/D - q/(1-D)$ is
# zero:
#
# $$D^*(x) = \frac{p(x)}{p(x) + q(x)}.$$
#
# So the best D is no oracle: it is a *ratio of densities*. We train one and compare. D gives a **logit**, a number
# of which the sigmoid is the probability: `logsigmoid(d)` is log D, and `logsigmoid(-d)` is log (1 - D), without
# rounding to log 0.


# %%
def draw_fakes(n):
    """n points of a generator that does not learn: a round Gaussian."""
    return torch.randn(n, 2)


def log_q(x):
    return -x.square().sum(1) / 2 - torch.log(torch.tensor(2 * torch.pi))


def value(real, fake):
    """V of the logits of reals and fakes."""
    return logsigmoid(real).mean() + logsigmoid(-fake).mean()


D = mlp(2, 128, 128, 1)
optimiser = torch.optim.Adam(D.parameters(), lr=2e-3)
for _ in range(400 if FAST else 3000):
    loss = -value(D(draw_reals(256)), D(draw_fakes(256)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %%
points = torch.cat([draw_reals(4000), draw_fakes(4000)])
best = torch.sigmoid(log_p(points) - log_q(points))
with torch.no_grad():
    learned = torch.sigmoid(D(points))[:, 0]
difference = (learned - best).abs().mean().item()
print(f"D differs from p / (p + q) by {difference:.3f} on average")
assert difference < 0.1

# %%
line = torch.linspace(-2.5, 2.5, 150)
plane = torch.cartesian_prod(line, line)
with torch.no_grad():
    surfaces = {"learned D": torch.sigmoid(D(plane)), "p / (p + q)": torch.sigmoid(log_p(plane) - log_q(plane))}
figure, axes = plt.subplots(1, 2, figsize=(8, 4))
for axis, (title, surface) in zip(axes, surfaces.items()):
    picture = axis.imshow(
        surface.view(150, 150).T.numpy(), origin="lower", extent=[-2.5, 2.5, -2.5, 2.5], cmap="PuOr", vmin=0, vmax=1
    )
    axis.set_title(title)
figure.colorbar(picture, ax=axes, shrink=0.8)
plt.show()

# %% [markdown]
# ## What the loss of D measures
#
# With the best D in place, V tells how far apart the two distributions are: $V(D^*) = 2\,\mathrm{JS}(p, q) - \log 4$,
# where JS is the Jensen–Shannon divergence. It is 0 where p = q, and at most log 2. So D's loss, which is $-V$,
# measures how far G is from the data: the smaller it is, the farther. (Only if D is at its best. In a real training
# it never quite is: remember this when you look at curves.)

# %%
with torch.no_grad():
    reals, fakes = draw_reals(50_000), draw_fakes(50_000)
    exact = 0.5 * (
        logsigmoid(log_p(reals) - log_q(reals)).mean() + logsigmoid(log_q(fakes) - log_p(fakes)).mean()
    ) + torch.log(torch.tensor(2.0))
    from_d = 0.5 * value(D(reals), D(fakes)) + torch.log(torch.tensor(2.0))
print(f"Jensen-Shannon divergence: {exact:.3f} from the densities, {from_d:.3f} from D's loss")
assert 0 < exact < 0.6931
assert -0.1 < from_d - exact < 0.02

# %% [markdown]
# ## What G learns from
#
# G is to make V small: it minimises log (1 - D(G(z))), the *minimax* or *saturating* loss. Early on D is right about
# nearly every fake: D(G(z)) is close to 0, where log (1 - D) is flat as a function of the logit. The other loss, -log
# D(G(z)), comes to rest at the same q = p, and is steep exactly there: the *non-saturating* loss, which the paper
# already recommends. As functions of D's logit d:

# %%
d = torch.linspace(-8, 8, 200, requires_grad=True)
saturating, non_saturating = logsigmoid(-d), -logsigmoid(d)
figure, axis = plt.subplots(figsize=(6, 3.5))
for name, curve in {"log (1 - D)": saturating, "-log D": non_saturating}.items():
    (slope,) = torch.autograd.grad(curve.sum(), d, retain_graph=True)
    axis.plot(d.detach().numpy(), slope.abs().numpy(), label=f"slope of {name}")
axis.set_xlabel("logit of a fake: D is sure that it is false on the left")
axis.legend()
plt.show()

# %% [markdown]
# ## The whole game, in thirty lines


# %%
def play(g_loss, rounds):
    """Trains G against D on the points; returns G and its points through time."""
    torch.manual_seed(1)
    G, D = mlp(2, 128, 128, 2), mlp(2, 128, 128, 1)
    g_optimiser = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.9))
    d_optimiser = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.9))
    history = []
    for i in range(rounds):
        d_loss = -value(D(draw_reals(256)), D(G(torch.randn(256, 2)).detach()))
        d_optimiser.zero_grad()
        d_loss.backward()
        d_optimiser.step()
        loss = g_loss(D(G(torch.randn(256, 2))))
        g_optimiser.zero_grad()
        loss.backward()
        g_optimiser.step()
        if i % (rounds // 5) == rounds // 5 - 1:
            history.append(G(torch.randn(1000, 2)).detach())
    return G, history


def non_saturating_loss(fake):
    return softplus(-fake).mean()  # -log D: softplus(-d) is -logsigmoid(d)


def saturating_loss(fake):
    return -softplus(fake).mean()  # log (1 - D)


ROUNDS = 1000 if FAST else 6000
G, history = play(non_saturating_loss, ROUNDS)

# %% [markdown]
# The eight Gaussians are the **modes** of the data, the kinds of point that there are. G is a continuous function:
# between two modes it cannot help drawing a few points, as bridges and spikes.

# %%
reals = draw_reals(1000)
figure, axes = plt.subplots(1, 5, figsize=(12, 2.6), sharex=True, sharey=True)
for i, (axis, fakes) in enumerate(zip(axes, history)):
    axis.scatter(*reals.T.numpy(), s=2, color="0.8")
    axis.scatter(*fakes.T.numpy(), s=2, color="tab:orange")
    axis.set_title(f"after {(i + 1) * ROUNDS // 5} rounds")
    axis.set_aspect("equal")
plt.show()


# %%
def modes_of(points):
    """How many of the eight Gaussians have at least a fortieth of the points, and the share of points near one."""
    distances, nearest = torch.cdist(points, centres).min(1)
    near = distances < 2 * SPREAD
    counts = torch.bincount(nearest[near], minlength=8)
    return int((counts >= len(points) / 40).sum()), near.float().mean().item()


circle = 2 * torch.pi * torch.rand(4000)
with torch.no_grad():
    named = {"reals": draw_reals(4000), "fakes": G(torch.randn(4000, 2))}
named["a circle without modes"] = 1.5 * torch.stack([circle.cos(), circle.sin()], 1)
for name, points in named.items():
    modes, share = modes_of(points)
    print(f"{name}: {modes} of 8 modes; {100 * share:.0f} % of the points lie within two deviations of one")
assert modes_of(named["fakes"])[0] >= 6

# %% [markdown]
# ## The same game on digits
#
# Nothing changes but the networks: z has 100 numbers, an image 28 × 28 = 784. They are like those of many
# first GAN tutorials. Count their parameters by hand before you run the cell: a linear layer from a to b has a·b
# weights and b biases, batch norm has 2 for each unit.

# %%
G = nn.Sequential(
    *[nn.Linear(100, 128), nn.LeakyReLU(0.2), nn.BatchNorm1d(128)],
    *[nn.Linear(128, 256), nn.LeakyReLU(0.2), nn.BatchNorm1d(256)],
    *[nn.Linear(256, 512), nn.LeakyReLU(0.2), nn.BatchNorm1d(512)],
    *[nn.Linear(512, 784), nn.Tanh()],
)
D = mlp(784, 512, 256, 1)
counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (G, D)]
print(f"G has {counts[0]:,} parameters, D {counts[1]:,}")
assert counts[0] == (100 * 128 + 128) + 256 + (128 * 256 + 256) + 512 + (256 * 512 + 512) + 1024 + (512 * 784 + 784)
assert counts == [581_520, 533_505]

# %% [markdown]
# Ganvas has this pair as the recipe `mlp`. `ganvas.train` is the loop that you have just written, with an average
# of G's weights, saved states, and statistics. `kimg` is the length: how many thousands of real images D is shown.
# `digits28` is 12,000 of MNIST's handwritten digits, and comes with
# Ganvas.

# %%
import ganvas
from ganvas.data import DataOptions, open_images

run = ganvas.train("mlp", data="digits28", kimg=2 if FAST else 200, batch=64, out="runs/lesson-1", quiet=True)
grid = ganvas.load(run.path).sample(range(40)).grid(columns=10)
plt.figure(figsize=(9, 3.6))
plt.imshow(grid, cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# What do you see? Strokes, digits, and specks everywhere: a fully connected network does not know that pixels have
# neighbours. Lesson 2 gives it that knowledge.
#
# ## Broken on purpose
#
# Take the first formula of the paper at its word: the saturating loss, against a D that is at its best. D gets a
# head start and a high learning rate, and G descends by plain gradient steps. (Adam divides a gradient by its size:
# it hides that there is hardly any.) `ganvas.watch` measures any loop, of anybody, while it runs, and says what it
# finds.

# %%
images = open_images(DataOptions(source="digits28")).images[:2000]  # uint8 [2000 1 28 28]
images = torch.tensor(images) / 127.5 - 1


def train_digits(g_loss, g_optimiser, d_lr, head_start, rounds=160 if FAST else 600):
    """The loop of above on digits, watched; returns the diagnosis, and both losses of every round, float [rounds 2]."""
    torch.manual_seed(2)
    G = nn.Sequential(*mlp(32, 256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    D = nn.Sequential(nn.Flatten(), *mlp(784, 256, 1))
    d_optimiser, g_optimiser = torch.optim.Adam(D.parameters(), d_lr, (0.5, 0.99)), g_optimiser(G.parameters())
    losses = []
    with ganvas.watch(G, D, data=images, every=25) as probe:
        for i in range(rounds):
            d_steps = 1 if i > 0 else 1 + head_start
            for _ in range(d_steps):
                real, fake = images[torch.randint(len(images), (64,))], G(torch.randn(64, 32))
                d_loss = -value(D(real), D(fake.detach()))
                d_optimiser.zero_grad()
                d_loss.backward()
                d_optimiser.step()
            loss = g_loss(D(fake))
            g_optimiser.zero_grad()
            loss.backward()
            g_optimiser.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=loss)
            losses.append([d_loss.item(), loss.item()])
    return probe.diagnosis(), torch.tensor(losses)


def descent(parameters):
    return torch.optim.SGD(parameters, 1e-2)


diagnosis, saturated = train_digits(saturating_loss, descent, d_lr=4e-3, head_start=200)
assert "D too strong" in str(diagnosis)

# %% [markdown]
# D is sure of itself, and G's gradient has vanished. (The second finding is where every G starts: from each z it
# draws nearly the same grey, and this one never leaves.) The remedy is under "What G learns from": the
# non-saturating loss, whose slope is steep where D is sure. We change it, and nothing else.

# %%
diagnosis, moving = train_digits(non_saturating_loss, descent, d_lr=4e-3, head_start=200)
assert "D too strong" not in str(diagnosis)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True)
for axis, (title, losses) in zip(axes, {"saturating": saturated, "non-saturating": moving}.items()):
    axis.plot(losses.numpy(), label=["loss of D", "loss of G"])
    axis.set(title=title, xlabel="round", ylim=(-1, 8))
    axis.legend()
plt.show()
assert saturated[-20:].abs().mean() < 0.05 < moving[-20:].abs().mean()

# %% [markdown]
# On the left both *losses* stand still: a curve that rests is no sign of an equilibrium. On the right G learns,
# with the same D. Plain gradient steps are slow and bumpy, though, and the fakes may still be much alike. With Adam
# for G the loop is what everybody writes:


# %%
def adam(parameters):
    return torch.optim.Adam(parameters, 5e-4, (0.5, 0.99))


diagnosis, _ = train_digits(non_saturating_loss, adam, d_lr=4e-3, head_start=200)
assert "D too strong" not in str(diagnosis)

# %% [markdown]
# ## Three questions
#
# 1. G has reached its aim: p = q. What does the best D say of every image, and what is V then?
# 2. D is sure of a fake: its logit is -5. How many times steeper is the non-saturating loss than the saturating
#    one there?
# 3. G draws one mode of the eight, perfectly. What is the Jensen–Shannon divergence, roughly: 0, log 2, or
#    between?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
logit = torch.tensor(0.0)  # 1. p / (p + q) = 1/2 everywhere: the logit is 0 ...
print(f"1. D says {torch.sigmoid(logit):.2f}, and V is {value(logit, logit):.3f} = -log 4: JS is 0")
assert torch.sigmoid(logit) == 0.5
assert torch.isclose(value(logit, logit), -torch.log(torch.tensor(4.0)))  # ... and V = -log 4, JS = 0

d = torch.tensor(-5.0)  # 2. the slopes are D and 1 - D: their ratio is exp(5)
ratio = ((1 - torch.sigmoid(d)) / torch.sigmoid(d)).item()
print(f"2. {ratio:.0f} times")
assert round(ratio) == 148

p, q = torch.full((8,), 1 / 8), torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])  # 3. between: the modes hardly overlap
m = (p + q) / 2
js = 0.5 * torch.xlogy(p, p / m).sum() + 0.5 * torch.xlogy(q, q / m).sum()
print(f"3. {js:.2f}, of at most {torch.log(torch.tensor(2.0)):.2f}")
assert 0.45 < js < 0.55  # 0.50 of at most 0.69: far away, though every point that G draws is perfect

# %% [markdown]
# ## An exercise with your own pictures
#
# Put two hundred photos into a folder, and look at what the pair of this lesson makes of them: `ganvas train mlp
# --data photos --resolution 32 --minutes 3`. Then let `ganvas diagnose RUN` say what is wrong with it, where RUN is
# the folder that the training has named. Which of
# the sentences of its answer could you have read from the curves of the losses alone?
