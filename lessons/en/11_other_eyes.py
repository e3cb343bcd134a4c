# %% [markdown]
# # 11. Other eyes
#
# **The claim.** A discriminator need not learn to see. A network that was trained to classify photographs already
# sees edges, corners and textures. If D is only a small head on its frozen features, G draws pictures worth looking
# at after minutes instead of hours: this is the *Projected GAN* of Sauer et al. 2021.
#
# This lesson puts linear heads on a frozen ImageNet network, compares them with a D that starts from nothing, and
# asks who may judge the result. It takes about three minutes on a laptop, offline.

# %%
import os
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import relu

import ganvas
from ganvas.data import DataOptions, open_images
from ganvas.evaluation import independence
from ganvas.evaluation.metrics import compute_moments, frechet_distance
from ganvas.features.efficientnet import load_lite0
from ganvas.features.extractors import load_extractor
from ganvas.features.frozen import load_frozen

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)

# %% [markdown]
# ## A network that has learned already
#
# EfficientNet-Lite0 (Tan & Le 2019) was trained on the photographs and the thousand classes of ImageNet, and comes
# with Ganvas. We do not want its classes. We want the *maps* on the way to them: fine ones of few channels, where
# edges and spots are, and coarse ones of many channels, where parts of things are. It was made for photographs in
# colour: of a grey digit we make three equal colours.

# %%
network = load_frozen("lite0")  # float [n 3 h w] in [-1, 1] -> a list of maps [n c h' w'], the finest first
images = torch.tensor(open_images(DataOptions(source="digits28")).images[:4000]) / 127.5 - 1


def look(images):
    """The maps of digits: float [n 1 28 28] -> [n 24 7 7], [n 40 4 4] and [n 112 2 2]."""
    return network(images.expand(-1, 3, -1, -1))


maps = look(images[:2])
print("maps:", [tuple(one.shape[1:]) for one in maps])
assert [tuple(one.shape[1:]) for one in maps] == [(24, 7, 7), (40, 4, 4), (112, 2, 2)]

figure, axes = plt.subplots(1, 8, figsize=(10, 1.6))
for axis, picture in zip(axes, [images[1, 0], *maps[0][1, :4], *maps[1][1, :3]]):
    axis.imshow(picture.numpy(), cmap="gray")
    axis.set_title(f"{len(picture)}×{len(picture)}")
    axis.axis("off")
plt.show()

# %% [markdown]
# *Frozen* means that the weights of this network never change: neither D's loss nor G's moves them. It does not
# mean that no gradient passes. G is to learn from D's answer, and the answer depends on the image *through* the
# network:
#
# $$\nabla_x D(x) = J_F(x)^\top \, \nabla_F h(F(x)), \quad D(x) = h(F(x)),$$
#
# with the frozen network F, its Jacobian J and the head h.

# %%
seen = images[:2].clone().requires_grad_()
look(seen)[-1].mean().backward()
print(f"largest gradient at a pixel: {seen.grad.abs().max():.1e}")
assert seen.grad.abs().max() > 0
assert list(network.parameters()) == []  # nothing that an optimiser could change

# %% [markdown]
# ## Two discriminators
#
# The first D is that of lesson 2: strided convolutions that begin with random weights. The second is as small as can
# be: one *linear* function of each map. Each of the three heads gives a logit, and all count. So that all channels
# have one scale, a mean is subtracted and a deviation divided out, which are measured once, on real images. (A batch
# norm in this place would fail: it takes from each batch its mean, and the mean is what differs between a batch of
# reals and one of fakes.)


# %%
class OwnD(nn.Module):
    """Images float [n 1 28 28] -> logits [n 1]: learns everything itself."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            *[nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
            *[nn.Conv2d(32, 64, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
            *[nn.Flatten(), nn.Linear(64 * 49, 1)],
        )

    def forward(self, images):
        return self.layers(images)


class FeatureD(nn.Module):
    """Images float [n 1 28 28] -> logits [n 3]: a linear head on each map of the frozen network."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            maps = look(images[:500])
        self.scales = [(one.mean((0, 2, 3), keepdim=True), one.std((0, 2, 3), keepdim=True)) for one in maps]
        self.heads = nn.ModuleList(nn.Linear(one[0].numel(), 1) for one in maps)

    def see(self, images):
        return look(images)

    def forward(self, images):
        maps = [(one - mean) / deviation for one, (mean, deviation) in zip(self.see(images), self.scales)]
        return torch.cat([head(one.flatten(1)) for head, one in zip(self.heads, maps)], 1)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


numbers = 24 * 7 * 7 + 40 * 4 * 4 + 112 * 2 * 2
print(f"D learns {count(OwnD()):,} numbers by itself, or {count(FeatureD()):,} on the frozen features")
assert count(FeatureD()) == numbers + 3

# %% [markdown]
# Both are trained with the *hinge loss* (Lim & Ye 2017; Miyato et al. 2018), and G with $-D(G(z))$:
#
# $$L_D = \max(0, 1 - D(x)) + \max(0, 1 + D(G(z))).$$
#
# Where D gives a real image more than 1, or a fake one less than -1, the term is 0 and has no gradient: D pushes no
# further there, and learns from the images of which it is not yet so sure.


# %%
def make_G(width=16):
    """z float [n 64] -> images float [n 1 28 28] in [-1, 1]."""

    def up(before, after):
        layer = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
        return [layer, nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]

    return nn.Sequential(
        *[nn.Linear(64, 49 * 4 * width), nn.Unflatten(1, (4 * width, 7, 7)), nn.BatchNorm2d(4 * width)],
        *[nn.LeakyReLU(0.2), *up(4 * width, 2 * width), *up(2 * width, width)],
        *[nn.Conv2d(width, 1, 3, padding=1), nn.Tanh()],
    )


def train(D, rounds):
    """The hinge loss; returns a thousand images, the diagnosis, and the seconds that it took."""
    torch.manual_seed(1)
    G, began = make_G(), time.perf_counter()
    optimisers = [torch.optim.Adam(network.parameters(), 2e-3, (0.5, 0.99)) for network in (D, G)]
    with ganvas.watch(G, D, every=40, report=None) as probe:
        for _ in range(rounds):
            real, fake = images[torch.randint(len(images), (32,))], G(torch.randn(32, 64))
            d_loss = relu(1 - D(real)).mean() + relu(1 + D(fake.detach())).mean()
            optimisers[0].zero_grad()
            d_loss.backward()
            optimisers[0].step()
            g_loss = -D(fake).mean()
            optimisers[1].zero_grad()
            g_loss.backward()
            optimisers[1].step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    seconds = time.perf_counter() - began
    with torch.no_grad():
        return torch.cat([G(torch.randn(100, 64)) for _ in range(10)]), probe.diagnosis(), seconds


def show(fakes, title):
    plt.figure(figsize=(9, 2.2))
    plt.imshow(fakes[:20].view(2, 10, 28, 28).permute(0, 2, 1, 3).reshape(56, 280).numpy(), cmap="gray")
    plt.title(title)
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## The same number of images, and two judges
#
# G, the loss, the learning rates and the number of images are the same for both. What comes out is judged by the
# Fréchet distance between the features of generated and of real digits (Heusel et al. 2017), once in the features
# of the network that D looked through, and once in those of a network that D has never met: the *eye* of Ganvas,
# which was trained on the small images of CIFAR-10 and MNIST. Each is divided by the distance of *other real*
# digits from them: 1 would be perfect.


# %%
def features(images, judge):
    """The mean over all places of each channel of each map."""
    parts = images.expand(-1, 3, -1, -1).split(100)
    with torch.no_grad():
        maps = [judge(part) for part in parts]
    return compute_moments(torch.cat([torch.cat([one.mean((2, 3)) for one in of], 1) for of in maps]).numpy())


judges = {"D's own network": network, "another network": load_frozen("eye")}
COUNT = 200 if FAST else 1000
references = {name: features(images[:COUNT], judge) for name, judge in judges.items()}
others = {name: features(images[-COUNT:], judge) for name, judge in judges.items()}


def judge_all(fakes):
    """How many times as far from real digits as other real digits are, in the features of each judge."""
    found = {}
    for name, judge in judges.items():
        best = frechet_distance(others[name], references[name])
        found[name] = frechet_distance(features(fakes[:COUNT], judge), references[name]) / best
    return found


# %%
ROUNDS = 60 if FAST else 80
results = {}
for name, D in {"a D that begins with nothing": OwnD(), "a D with frozen features": FeatureD()}.items():
    fakes, diagnosis, seconds = train(D, ROUNDS)
    results[name] = judge_all(fakes)
    show(fakes, f"{name}: {32 * ROUNDS:,} images in {seconds:.0f} s")
    print(name, {judge: f"{ratio:.1f}" for judge, ratio in results[name].items()})
plain, seeing = results.values()
assert seeing["another network"] < plain["another network"]

# %% [markdown]
# With as many images the frozen features are ahead: a few thousand numbers on top of a network that sees beat tens
# of thousands that have to learn to see first. An update costs more, since each image passes through the frozen
# network; the seconds stand above the pictures.
#
# ## Who may judge?
#
# Compare the two columns. By how much is the second G better? D's own network answers:

# %%
lead = {judge: plain[judge] / seeing[judge] for judge in judges}
for name, factor in lead.items():
    print(f"{name}: {factor:.1f} times nearer to real digits")
assert lead["D's own network"] > 1.2 * lead["another network"]

# %% [markdown]
# D's own network flatters. G was trained to make exactly these features of its images like those of real ones, and
# some of that is no better drawing (Kynkäänniemi et al. 2023 show it for the FID and ImageNet). So a GAN with
# feature discriminators must be judged through other eyes. Ganvas knows through which network D looks: its recipe
# `fast` has three heads of convolutions instead of linear ones, mixes the maps as in the paper, and adds a head on
# the pixels.

# %%
run = ganvas.train("fast", data="digits28", minutes=None, kimg=0.1 if FAST else 6, out="runs/lesson-11", quiet=True)
plt.figure(figsize=(9, 2))
plt.imshow(ganvas.load(run.path).sample(range(20)).grid(columns=10), cmap="gray")
plt.title("the recipe fast")
plt.axis("off")
plt.show()

# %%
few = 50 if FAST else 300
evaluation = ganvas.evaluate(run, features="lite0", count=few, quick=True, quiet=True)
print(evaluation.notes[0])
assert "not independent" in evaluation.notes[0]
evaluation = ganvas.evaluate(run, count=few, quick=True, quiet=True)  # by default another network than D's
print(evaluation.protocol["independence"]["sentence"])
assert evaluation.is_independent("frechet")

# %% [markdown]
# ## Broken on purpose
#
# The network is frozen, so it needs no gradient: why not call it under `torch.no_grad()`, and save memory? Nothing
# crashes, and D learns as before.


# %%
class CutD(FeatureD):
    """The same heads; the frozen network is called without gradients."""

    def see(self, images):
        with torch.no_grad():
            return look(images)


SHORT = 12 if FAST else 80
fakes, diagnosis, _ = train(CutD(), SHORT)
print(diagnosis)
show(fakes, "no gradient reaches G")
assert "G's loss is not connected to G" in str(diagnosis)

# %% [markdown]
# The gradient of G's loss ends at the maps: it reaches the heads, and no pixel. G's optimiser is called in each
# round and has nothing to apply. The remedy is to freeze the *weights* (`requires_grad_(False)` and `eval()`), and
# to leave the graph whole:

# %%
fakes, diagnosis, _ = train(FeatureD(), SHORT)
show(fakes, "the same number of images, with the gradient")
assert "not connected" not in str(diagnosis)

# %% [markdown]
# ## Three questions
#
# 1. Ganvas enlarges digits of 28×28 twofold before they pass through Lite0. Which side has the coarsest map then?
# 2. D learns 2,267 numbers here. How many has the part of Lite0 that it looks through: a few thousand, or more than
#    a hundred thousand?
# 3. G was trained with Lite0. Is the eye an independent judge of it? And Inception, the network of the FID?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
print("1.", tuple(network(torch.zeros(1, 3, 56, 56))[-1].shape[2:]))
assert network(torch.zeros(1, 3, 56, 56))[-1].shape[2:] == (4, 4)  # 1. 4, with four times as many places

print(f"2. {count(load_lite0().drop_later_layers()):,} frozen")
assert count(load_lite0().drop_later_layers()) > 100_000  # 2. more, and others have trained them

verdicts = {}
seen = [{"network": "lite0", "weights": load_frozen("lite0").digest}]
for judge in ("eye", "lite0"):
    entry = independence.describe(seen, load_extractor(judge))
    verdicts[judge] = entry["independence"]["verdict"]
print("3.", verdicts)
assert verdicts == {"eye": "independent", "lite0": "not independent"}  # 3. the eye is ...
assert independence.LABELS["inception"] == independence.LABELS["lite0"] == "ImageNet"  # ... Inception only half

# %% [markdown]
# ## An exercise with your own pictures
#
# `ganvas train fast --data photos --minutes 5`, and the same with `--features-net eye`: D then looks through the
# small network that comes with Ganvas. Which pictures are better to you? Then `ganvas evaluate` each run with
# `--features eye` and with `--features lite0`, and read which numbers are marked as not independent. Do the judges
# agree with you?
