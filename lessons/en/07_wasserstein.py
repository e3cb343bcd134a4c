# %% [markdown]
# # 7. Wasserstein
#
# **The claim.** The loss of a classic GAN says little: it is flat where reals and fakes do not overlap, and a
# lower loss of G need not mean better images. A *critic* whose slope is bounded measures a distance instead, the
# Wasserstein distance: it is never flat, and it falls as the images get better (Arjovsky et al. 2017).
#
# This lesson compares both distances where they are known, sees what a critic measures with clipped weights and
# with a gradient penalty, and then trains a critic that also knows the class of an image, so that you can ask for
# a 7.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid, softplus

import ganvas
from ganvas.data import DataOptions, open_images

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Two distances
#
# Let the reals be uniform on [0, 1], and the fakes the same, moved to the right by θ. The Jensen–Shannon
# divergence is what the best classic D measures (lesson 1). The Wasserstein distance asks how far one has to
# carry each fake, on average, to turn the fakes into the reals, with the best plan γ of who goes where:
#
# $$W(p, q) = \inf_{\gamma} \mathbb{E}_{(x, y) \sim \gamma} |x - y|,$$
#
# where inf is the smallest value that any plan reaches, x a real and y the fake that goes there. On a line the best
# plan is simple: the smallest goes to the smallest, the next to the next. So W is the mean difference of sorted
# samples.


# %%
def wasserstein(x, y):
    """Of two samples of equal size, float [n] each."""
    return (x.sort().values - y.sort().values).abs().mean().item()


def jensen_shannon(p, q, width):
    """Of two densities on a grid of this width, float [n] each."""
    m = ((p + q) / 2).clamp(min=1e-12)
    return (width * (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum() / 2).item()


grid = torch.arange(0, 4, 0.001)
shifts = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3]
p = (grid < 1).float()
js = [jensen_shannon(p, ((grid >= shift) & (grid < shift + 1)).float(), 0.001) for shift in shifts]
reals, others = torch.rand(2, 20_000)
w = [wasserstein(reals, others + shift) for shift in shifts]

figure, axis = plt.subplots(figsize=(6, 3.2))
axis.plot(shifts, js, "o-", label="Jensen–Shannon")
axis.plot(shifts, w, "o-", label="Wasserstein")
axis.set_title("uniform fakes, moved away by θ")
axis.set_xlabel("θ")
axis.legend()
plt.show()
assert all(abs(value - np.log(2)) < 0.01 for value in js[4:])  # flat from 1 on
assert all(abs(value - shift) < 0.02 for value, shift in zip(w, shifts))
assert abs(wasserstein(reals, others + 2) - wasserstein_distance(reals, others + 2)) < 1e-4

# %% [markdown]
# From θ = 1 on the two do not overlap. Jensen–Shannon is log 2 there, whether the fakes are near or far: its slope is
# 0, and it does not say where to go. W is θ itself. Images are like that: they fill so little of the space of all
# pixels that reals and fakes hardly ever overlap (Arjovsky & Bottou 2017).
#
# ## A critic
#
# Nobody can sort images. But the same distance has a second form (Kantorovich and Rubinstein), in which a
# function f is searched in place of a plan:
#
# $$W(p, q) = \sup_{|\nabla f| \le 1} \mathbb{E}_{x \sim p} f(x) - \mathbb{E}_{x \sim q} f(x).$$
#
# (sup is the largest value that any such f reaches.) That is a game for a network: give reals high values and fakes low
# ones, and never be steeper than 1. f is called a critic, since its values are no probabilities. There are two usual
# ways to keep its slope bounded:
#
# - **Clipping**: after each update every weight is put back into [-c, c] (Arjovsky et al. 2017).
# - **Gradient penalty**: $\lambda (|\nabla f| - 1)^2$ is added to the loss, at random points between reals and
#   fakes, with λ = 10 (Gulrajani et al. 2017).


# %%
def mlp(*widths):
    """Fully connected layers with LeakyReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def slopes(f, x, *labels):
    """The length of the gradient of f at each of the points x [n …]: float [n], differentiable."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x, *labels).sum(), x, create_graph=True)  # the penalty has a gradient itself
    return gradient.flatten(1).norm(dim=1)


def train_critic(reals, fakes, rounds, *, weight=0.0, clip=None):
    """A critic of two samples [n 2] that stand still."""
    torch.manual_seed(1)
    f = mlp(2, 64, 64, 1)
    optimiser = torch.optim.Adam(f.parameters(), lr=2e-3)
    for _ in range(rounds):
        real, fake = reals[torch.randint(len(reals), (128,))], fakes[torch.randint(len(fakes), (128,))]
        loss = f(fake).mean() - f(real).mean()
        if weight:
            loss = loss + weight * (slopes(f, real.lerp(fake, torch.rand(128, 1))) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if clip:
            with torch.no_grad():
                for parameter in f.parameters():
                    parameter.clamp_(-clip, clip)
    return f


# %% [markdown]
# Four clusters of reals lie around the fakes, in the plane. There the best plan is no longer a matter of sorting,
# but for a thousand points SciPy finds it, and so the exact distance.

# %%
N = 1000
corners = torch.randint(4, (N,)) * torch.pi / 2
reals = 2 * torch.stack([corners.cos(), corners.sin()], 1) + 0.3 * torch.randn(N, 2)
fakes = 0.3 * torch.randn(N, 2)
ways = torch.cdist(reals, fakes).numpy()
exact = ways[linear_sum_assignment(ways)].mean()

rounds = 200 if FAST else 800
critics = {
    "penalty 10": train_critic(reals, fakes, rounds, weight=10),
    "clipped to 0.3": train_critic(reals, fakes, rounds, clip=0.3),
    "clipped to 0.01": train_critic(reals, fakes, rounds, clip=0.01),
}
line = torch.linspace(-3, 3, 100)
plane = torch.cartesian_prod(line, line)
estimates, steepest = {}, {}
for name, f in critics.items():
    estimates[name] = (f(reals).mean() - f(fakes).mean()).item()
    steepest[name] = slopes(f, plane).max().item()
    print(f"{name}: measures {estimates[name]:.4g}, steepest slope {steepest[name]:.4g}; exact: {exact:.3f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
for axis, (name, f) in zip(axes, critics.items()):
    values = f(plane).detach().view(100, 100).T.numpy()
    picture = axis.imshow(values - values.min(), origin="lower", extent=[-3, 3, -3, 3])
    figure.colorbar(picture, ax=axis, shrink=0.8)
    axis.scatter(*reals[:200].T.numpy(), s=3, color="white")
    axis.scatter(*fakes[:200].T.numpy(), s=3, color="tab:orange")
    axis.set_title(name)
plt.show()

assert 0.9 < estimates["penalty 10"] / exact < 1.2
assert estimates["clipped to 0.3"] / exact > 2
assert estimates["clipped to 0.01"] / exact < 0.05

# %% [markdown]
# With the penalty the critic's estimate, f on reals less f on fakes, is nearly the distance, about a tenth too large
# (question 2 says why). Clipping bounds the weights, and the slope which they allow depends on c and on the network:
# slopes multiply from layer to layer, and add up over the units of one. So the estimate has another unit for every c
# and every network. G can learn from it, but with a small c the gradient that reaches G is tiny.
#
# ## What G receives
#
# Now reals fill a square, the fakes the same square moved to the right by θ = 3, and θ is the only parameter of
# G. Which slope does G's loss have there, after D or f has learned?


# %%
def slope_for_theta(theta, g_loss, train):
    """d g_loss / dθ of fakes at θ, once the other network has learned."""
    noise, theta = torch.rand(N, 2), torch.tensor([float(theta), 0], requires_grad=True)
    network = train(torch.rand(N, 2), (noise + theta).detach())
    (slope,) = torch.autograd.grad(g_loss(network(noise + theta)), theta)
    return slope[0].item()


def train_classic(reals, fakes):
    torch.manual_seed(1)
    D = mlp(2, 64, 64, 1)
    optimiser = torch.optim.Adam(D.parameters(), lr=2e-3)
    for _ in range(rounds):
        loss = softplus(-D(reals)).mean() + softplus(D(fakes)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return D


classic = slope_for_theta(3, lambda d: logsigmoid(-d).mean(), train_classic)
non_saturating = slope_for_theta(3, lambda d: -logsigmoid(d).mean(), train_classic)
critic = slope_for_theta(3, lambda f: -f.mean(), lambda x, y: train_critic(x, y, rounds, weight=10))
print(f"slope of G's loss: {classic:.1e} by log (1 - D), {non_saturating:.2f} by -log D, {critic:.2f} by the critic")
assert abs(classic) < 0.02 < 1.5 * critic < non_saturating
assert 0.8 < critic < 1.3

# %% [markdown]
# W has slope 1 at any distance (the trained critic is a little steeper: question 2): G is told where to go, however
# far it is. With log (1 - D) there is almost no slope. With -log D there is one, but it says how steep D happens to
# be, which grows as D is trained on, and not how far the fakes are.
#
# ## Ask for a class
#
# A conditional GAN gives the class y to both networks (Mirza & Osindero 2014). G receives an *embedding*: a few
# numbers for each class, which are learned, and are concatenated to z. D could get its own embedding beside the
# pixels. Miyato & Koyama 2018 do better, by *projection*: with the features φ(x) of an image,
#
# $$D(x, y) = \psi(\phi(x)) + e_y \cdot \phi(x).$$
#
# ψ is a linear layer with one output. The first term says whether it is a good image at all, the second whether it
# is one of class y: a linear classifier, with one row $e_y$ for each class.

# %%
train_set, test_set = (open_images(DataOptions(source="digits28", split=split)) for split in ("train", "test"))
images, labels = torch.tensor(train_set.images) / 127.5 - 1, torch.tensor(train_set.labels)
held_out, held_out_labels = torch.tensor(test_set.images) / 127.5 - 1, torch.tensor(test_set.labels)


class Generator(nn.Module):
    """z float [n 64], labels int64 [n] -> images float [n 1 28 28]."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 16)
        self.layers = nn.Sequential(mlp(64 + 16, 256, 256, 784), nn.Tanh())

    def forward(self, z, labels):
        return self.layers(torch.cat([z, self.embedding(labels)], 1)).view(-1, 1, 28, 28)


class Critic(nn.Module):
    """Images float [n 1 28 28], labels int64 [n] -> float [n]."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), mlp(784, 256, 256), nn.LeakyReLU(0.2))
        self.linear, self.embedding = nn.Linear(256, 1), nn.Embedding(10, 256)
        nn.init.zeros_(self.embedding.weight)  # at first the class has no effect

    def forward(self, x, labels):
        features = self.features(x)
        return self.linear(features)[:, 0] + (self.embedding(labels) * features).sum(1)


# %% [markdown]
# Whether G draws what it is asked for is measured by a classifier that has seen real digits only. Its own errors
# on held-out digits are the baseline.

# %%
torch.manual_seed(0)
classifier = mlp(784, 256, 10)
optimiser = torch.optim.Adam(classifier.parameters(), lr=1e-3)
for _ in range(250 if FAST else 1500):
    chosen = torch.randint(len(images), (128,))
    loss = cross_entropy(classifier(images[chosen].flatten(1)), labels[chosen])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def agreement(images, labels):
    """The share of images [n 1 28 28] that the classifier takes for the class that was asked for."""
    with torch.no_grad():
        return (classifier(images.flatten(1)).argmax(1) == labels).float().mean().item()


print(f"the classifier is right about {100 * agreement(held_out, held_out_labels):.1f} % of held-out digits")
assert agreement(held_out, held_out_labels) > 0.7

# %% [markdown]
# ## The whole game
#
# Three updates of the critic for one of G: a critic measures only if it is near its best.


# %%
def train(rounds, weight):
    """WGAN with a gradient penalty of this weight; returns G, the critic's estimates and the diagnosis."""
    torch.manual_seed(2)
    G, D, estimates = Generator(), Critic(), []
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 1e-3, (0.5, 0.9)) for network in (G, D))
    with ganvas.watch(G, D, data=images[:2000], labels=labels[:2000], critic=True, every=rounds // 8) as probe:
        for _ in range(rounds):
            for _ in range(3):
                chosen = torch.randint(len(images), (32,))
                real, y = images[chosen], labels[chosen]
                fake = G(torch.randn(32, 64), y).detach()
                d_loss = D(fake, y).mean() - D(real, y).mean()
                estimates.append(-d_loss.item())  # without the penalty
                if weight:
                    between = real.lerp(fake, torch.rand(32, 1, 1, 1))
                    d_loss = d_loss + weight * (slopes(D, between, y) - 1).square().mean()
                d_adam.zero_grad()
                d_loss.backward()
                d_adam.step()
            fake = G(torch.randn(32, 64), y)  # of the classes of the last reals
            g_loss = -D(fake, y).mean()
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return G, estimates, probe.diagnosis()


# %% [markdown]
# ## Broken on purpose
#
# First without any bound: no clipping, and a penalty of weight 0. The critic may be as steep as it likes, and
# its estimates as large: it measures nothing. Compare them with those of the next run; and look for numbers below 0,
# which no distance has.

# %%
_, unbounded, diagnosis = train(60 if FAST else 200, weight=0)
print(f"the critic's estimates go from {min(unbounded):.2g} to {max(unbounded):.2g}")
assert "Nothing bounds the critic's gradient" in str(diagnosis)

# %% [markdown]
# The remedy is the first fix of the diagnosis, a gradient penalty:

# %%
G, bounded, diagnosis = train(100 if FAST else 1500, weight=10)
print(f"the critic's estimates go from {min(bounded):.2g} to {max(bounded):.2g}")
assert "Nothing bounds the critic's gradient" not in str(diagnosis)

asked = torch.arange(100) // 10
with torch.no_grad():
    fakes = G(torch.randn(100, 64), asked)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
left.imshow(fakes.view(10, 10, 28, 28).permute(0, 2, 1, 3).reshape(280, 280).numpy(), cmap="gray", vmin=-1, vmax=1)
left.set_title("one class in each row")
left.axis("off")
smooth = np.convolve(bounded, np.ones(20) / 20, "valid")  # the mean of twenty updates
right.plot(smooth)
right.set_title("the critic's estimate of the distance")
right.set_xlabel("updates of the critic")
plt.show()
assert max(np.abs(bounded)) < 0.5 * max(np.abs(unbounded))
assert smooth[-1] < 0.7 * max(smooth)  # it falls, after its first rise

# %%
asked = torch.arange(1000) % 10
with torch.no_grad():
    share = agreement(G(torch.randn(1000, 64), asked), asked)
print(f"{100 * share:.0f} % of the images are of the class that was asked for; chance is 10 %")
assert share > 0.5

# %% [markdown]
# ## The same with Ganvas
#
# The recipe `wgan-gp` has this loss, `wgan` the clipping, and `wgan-conditional` the loss with projection. Every
# other recipe takes `conditional=True`. Ganvas comes with a conditional generator that had half an
# hour (of the recipe `cnn-stable`, whose loss is that of lesson 6):

# %%
sampler = ganvas.load("pretrained:digits28")
asked = torch.arange(200) % 10
drawn = sampler.sample(range(200), label=asked.tolist())
share = agreement(torch.tensor(np.array(drawn)) / 127.5 - 1, asked)
print(f"{100 * share:.0f} % are of the class that was asked for")
assert share > 0.8

plt.figure(figsize=(4.5, 4.5))
plt.imshow(sampler.sample(range(60)).grid(), cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Three questions
#
# 1. All reals are the number 0, all fakes the number 5. What are W and the Jensen–Shannon divergence, and what if
#    the fakes move on to 10?
# 2. A critic is a straight line of slope s, and makes $-sW + \lambda (s - 1)^2$ as small as it can, with λ = 10
#    and W = 2. Which slope does it take, and how far off is its estimate?
# 3. A network has two layers without biases and without activations, from 1 to 64 to 1, and all weights are
#    clipped to 0.01. How steep can it be?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
for place in (5.0, 10.0):  # 1. W is the way, 5 and 10; Jensen–Shannon is log 2 both times
    assert wasserstein(torch.zeros(100), torch.full((100,), place)) == place
    p, q = torch.zeros(2, 11)
    p[0], q[int(place)] = 1, 1
    print(f"1. W {place:g}, Jensen–Shannon {jensen_shannon(p, q, 1):.3f}")
    assert abs(jensen_shannon(p, q, 1) - np.log(2)) < 1e-6

s = torch.linspace(0, 3, 3001)  # 2. 1 + W / 2λ = 1.1: the estimate is 10 % too large
best = s[(-2 * s + 10 * (s - 1).square()).argmin()].item()
print(f"2. slope {best:.2f}")
assert abs(best - (1 + 2 / 20)) < 1e-3

steepest_line = nn.Sequential(nn.Linear(1, 64, bias=False), nn.Linear(64, 1, bias=False))
for layer in steepest_line:
    nn.init.constant_(layer.weight, 0.01)
print(f"3. {steepest_line(torch.ones(1, 1)).item():.4f}")
assert abs(steepest_line(torch.ones(1, 1)).item() - 0.0064) < 1e-6  # 3. 64 · 0.01² = 0.0064: far from 1

# %% [markdown]
# ## An exercise with your own pictures
#
# Put your photos into folders, one for each class, and train `ganvas train wgan-conditional --data photos
# --resolution 32 --minutes 10`. `ganvas sample RUN` draws a row for each class, and `ganvas sample RUN --class 0`
# the first one alone. Then without a bound: `ganvas train wgan-conditional --data photos --resolution 32 --minutes 10
# --gp 0`. `ganvas diagnose RUN` says what is wrong, and since how many images; and when did you see it in the images?
