# %% [markdown]
# # 4. Attention
#
# **The claim.** "A convolution sees neighbouring pixels only. In attention each part of an image sees every other.
# So a GAN of Transformers draws better." The Transformer comes from translation (Vaswani et al. 2017), and reached
# GANs through one layer among convolutions (Zhang et al. 2019) and then alone (Jiang et al. 2021).
#
# This lesson cuts a digit into 49 tokens, computes attention by hand, shows what attention does *not* know, breaks
# a generator by leaving that out, and then asks the numbers whether the claim holds on a small budget.

# %%
import math
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, softplus

import ganvas
from ganvas.data import DataOptions, open_images

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
images = torch.tensor(open_images(DataOptions(source="digits28")).images[:2000])  # uint8 [2000 1 28 28]
images = images / 127.5 - 1

# %% [markdown]
# ## An image in 49 tokens
#
# A Transformer works on a list of vectors, the *tokens*. The simplest way to make a list of an image: cut it into
# squares. 28×28 pixels are 7×7 patches of 4×4, so 49 tokens of 16 numbers.


# %%
def to_patches(images):
    """Images [n 1 28 28] -> patches [n 49 16], row by row."""
    return images.unflatten(2, (7, 4)).unflatten(4, (7, 4)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)


def to_images(patches):
    """The way back: patches [n 49 16] -> images [n 1 28 28]."""
    return patches.unflatten(1, (7, 7)).unflatten(3, (4, 4)).permute(0, 1, 3, 2, 4).reshape(len(patches), 1, 28, 28)


patches = to_patches(images)
assert patches.shape == (2000, 49, 16)
assert torch.equal(to_images(patches), images)
figure, axes = plt.subplots(7, 7, figsize=(3, 3))
for axis, patch in zip(axes.flat, patches[0]):
    axis.imshow(patch.view(4, 4).numpy(), cmap="gray", vmin=-1, vmax=1)
    axis.axis("off")
figure.suptitle("one digit, 49 tokens")
plt.show()

# %% [markdown]
# ## Attention by hand
#
# Each token is mapped to three vectors by linear layers: a *query* q, a *key* k and a *value* v. Token i compares
# its query with the keys of all tokens, and takes the mean of their values, with weights that sum to 1:
#
# $$\mathrm{attention}(q, k, v)_i = \sum_j w_{ij} v_j, \qquad w_i = \mathrm{softmax}_j \frac{q_i \cdot k_j}{\sqrt{d}}.$$
#
# Several *heads* do this side by side, each with its own layers. All of it is two matrix products and a softmax:


# %%
def attention(q, k, v):
    """q, k, v float [n heads tokens d] -> the same shape, and the weights [n heads tokens tokens]."""
    weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)
    return weights @ v, weights


q, k, v = (torch.randn(2, 4, 49, 64) for _ in range(3))  # 4 heads, 49 tokens
by_hand, weights = attention(q, k, v)
by_torch = scaled_dot_product_attention(q, k, v)
print(f"largest difference {(by_hand - by_torch).abs().max():.1e}; one head has {weights[0, 0].numel()} weights")
assert torch.allclose(by_hand, by_torch, atol=1e-5)
assert torch.allclose(weights.sum(3), torch.ones(2, 4, 49))

largest = [scores.softmax(3).amax(3).mean() for scores in (q @ k.transpose(2, 3), q @ k.transpose(2, 3) / 8)]
print(f"the largest weight of a token is {largest[0]:.2f} without the root, {largest[1]:.2f} with it")
assert largest[0] > 0.7 > 0.3 > largest[1]

# %% [markdown]
# That is what the root is for: the dot product of two random vectors of d numbers has the standard deviation $\sqrt d$.
# Without the division one token gets nearly all the weight, and the softmax has hardly any gradient.
#
# ## What attention does not know
#
# Nothing in these formulas says *where* a token is. Shuffle the tokens, and the outputs are the same ones,
# shuffled. For attention, an image is a bag of patches.

# %%
order = torch.randperm(49)
shuffled, _ = attention(q[:, :, order], k[:, :, order], v[:, :, order])
assert torch.allclose(shuffled, by_hand[:, :, order], atol=1e-5)

# %% [markdown]
# So the place has to be given with the token. The usual way: a vector for each of the 49 places, learned as any
# other weight, is added to the token (*positional embedding*).
#
# ## A generator of tokens
#
# z becomes one vector, which all 49 tokens share; the positional embedding makes them differ. A block follows with
# attention and then a small network for each token; both are *added* to their input (a skip connection). At the end
# each token becomes its patch of 4×4 pixels. (Real ones have many blocks.)


# %%
class Block(nn.Module):
    """Attention with 4 heads, then two layers for each token; float [n 49 width] -> the same shape."""

    def __init__(self, width):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, tokens):
        q, k, v = self.qkv(self.norms[0](tokens)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        tokens = tokens + self.out(attention(q, k, v)[0].transpose(1, 2).flatten(2))
        return tokens + self.layers(self.norms[1](tokens))


class Generator(nn.Module):
    """z float [n 100] -> images float [n 1 28 28] in [-1, 1]."""

    def __init__(self, width=32, *, positions=True):
        super().__init__()
        self.dense = nn.Linear(100, width)
        places = torch.empty(49, width).uniform_(-1, 1)
        self.positions = nn.Parameter(places) if positions else None
        self.block = Block(width)
        self.to_patch = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 16), nn.Tanh())

    def forward(self, z):
        tokens = self.dense(z)[:, None].expand(-1, 49, -1)
        if self.positions is not None:
            tokens = tokens + self.positions
        return to_images(self.to_patch(self.block(tokens)))


def make_d(width=8):
    """The D of lesson 2: images -> logits [n 1]."""
    return nn.Sequential(
        *[nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
        *[nn.Flatten(), nn.Linear(49 * 2 * width, 1)],
    )


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


G = Generator()
print(f"G has {count(G):,} parameters, {G.positions.numel():,} of them say where a token is")
assert G.positions.numel() == 49 * 32
assert G(torch.randn(2, 100)).shape == (2, 1, 28, 28)

# %% [markdown]
# ## Broken on purpose
#
# The positional embedding is forgotten. Nothing crashes: attention takes any list of tokens. We measure how much
# the 49 patches of one image differ, before and after the training.


# %%
def between_patches(images):
    """How much the patches of an image differ: the mean standard deviation of a pixel over the 49 patches."""
    return to_patches(images).std(1).mean().item()


def train(rounds, *, positions):
    """The non-saturating game; returns G and the diagnosis of the loop."""
    torch.manual_seed(1)
    G, D = Generator(positions=positions), make_d()
    optimisers = [torch.optim.Adam(of.parameters(), rate, (0.5, 0.99)) for of, rate in ((D, 5e-4), (G, 5e-3))]
    with ganvas.watch(G, D, data=images, every=25) as probe:
        for _ in range(rounds):
            real = images[torch.randint(len(images), (16,))]
            fake = G(torch.randn(16, 100))
            d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
            optimisers[0].zero_grad()
            d_loss.backward()
            optimisers[0].step()
            g_loss = softplus(-D(fake)).mean()
            optimisers[1].zero_grad()
            g_loss.backward()
            optimisers[1].step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return G, probe.diagnosis()


def show(G):
    with torch.no_grad():
        fakes = G(torch.randn(20, 100, generator=torch.Generator().manual_seed(3)))
    plt.figure(figsize=(9, 2))
    plt.imshow(fakes.view(2, 10, 28, 28).permute(0, 2, 1, 3).reshape(56, 280).numpy(), cmap="gray", vmin=-1, vmax=1)
    plt.axis("off")
    plt.show()
    print(f"between patches of a fake {between_patches(fakes):.6f}, of a real {between_patches(images[:500]):.3f}")
    return between_patches(fakes)


ROUNDS = 226
assert between_patches(Generator(positions=False)(torch.randn(20, 100)).detach()) < 1e-4
G, diagnosis = train(ROUNDS, positions=False)
assert show(G) < 1e-4
assert "D is too strong" in str(diagnosis)

# %% [markdown]
# All 49 patches are equal up to rounding, before the training and after it: equal tokens ask the same question, get
# the same answer, and receive the same gradient. G can only choose which patch it repeats. D sees that at once and
# is right about every pair, and the diagnosis says so. It names what goes wrong, not always why: here it is not D
# that must be changed. The remedy is `positions=True`.

# %%
G, diagnosis = train(ROUNDS, positions=True)
assert show(G) > 0.05
assert "D is too strong" not in str(diagnosis)

# %% [markdown]
# ## Nearly equal is bad enough
#
# The classic self-attention GAN has positional embeddings, and 49 tokens that differ from the start. All the same it
# begins with patches that are nearly equal. We look at its first layers before any training: how much do the tokens
# differ, as a part of all their variation, after one attention? Once as they are, once with larger positional
# embeddings, once with a skip connection around the attention.


# %%
def after_attention(positions, *, skip):
    """How much 49 untrained tokens differ after attention: 0 if they are alike, nearly 1 if they are independent."""
    torch.manual_seed(0)
    dense, qkv, out = nn.Linear(100, 49 * 128), nn.Linear(128, 3 * 4 * 128), nn.Linear(4 * 128, 128)
    places = torch.empty(49, 128).uniform_(-positions, positions)
    tokens = dense(torch.randn(64, 100)).relu().unflatten(1, (49, 128)) + places
    q, k, v = qkv(tokens).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
    mixed = out(attention(q, k, v)[0].transpose(1, 2).flatten(2)) + (tokens if skip else 0)
    return (mixed.std(1).mean() / mixed.std()).item()


with torch.no_grad():
    alike = {(at, skip): after_attention(at, skip=skip) for at in (0.05, 1) for skip in (False, True)}
for (at, skip), part in alike.items():
    print(f"positions of ±{at}, {'with a' if skip else 'no'} skip connection: the tokens differ by {100 * part:.1f} %")
assert alike[0.05, False] < 0.02 < 0.04 < alike[1, False]
assert min(alike[0.05, True], alike[1, True]) > 0.9

# %% [markdown]
# Untrained queries and keys have small products, so every weight is near 1/49, and every token becomes the mean of
# all of them. A skip connection keeps the token itself: that is why each Transformer block has one. Larger
# positional embeddings make the products larger. Ganvas has both networks: the recipe `transformer` is a network
# such as teaching material has, `transformer-stable` starts with positions of ±1 and has a loss that needs no luck
# (lesson 5).
#
# ## One budget, two networks
#
# Now the claim. We train both recipes on the same number of images; `ganvas.compare` evaluates the runs in the same
# way, and writes a report. (Given the names of recipes, it trains them itself.) The networks are narrow, the budget
# is small, and there is one seed each: this is a look, not a proof.

# %%
knobs = {"data": "digits28", "kimg": 0.3 if FAST else 8, "batch": 32, "out": "runs/lesson-4", "quiet": True}
runs = [
    ganvas.train("cnn-stable", g_width=16, d_width=16, **knobs),
    ganvas.train("transformer-stable", token_width=32, head_width=32, **knobs),
]
comparison = ganvas.compare(
    [run.path for run in runs],
    features="classifier",
    count=100 if FAST else 1000,
    out=f"{runs[0].path}-compared",
    quiet=True,
)
print(comparison)
cnn, transformer = comparison.results["summaries"]
assert transformer["flops"]["mean"] > 1.5 * cnn["flops"]["mean"]
assert transformer["g_parameters"]["mean"] < cnn["g_parameters"]["mean"]
assert transformer["d_parameters"]["mean"] > 100 * cnn["d_parameters"]["mean"]

# %%
figure, axes = plt.subplots(2, 1, figsize=(9, 4.4))
for axis, run, title in zip(axes, runs, ("cnn-stable", "transformer-stable")):
    axis.imshow(ganvas.load(run.path).sample(range(20)).grid(columns=10), cmap="gray")
    axis.set_title(title)
    axis.axis("off")
plt.show()

# %% [markdown]
# Read the table from the top. The Transformer's G is the smaller one. Its D is a hundred times larger than the
# CNN's, since its first layer sees all pixels at once and has weights of its own for each token. An image costs
# about twice the operations, so fewer images are trained in a second. Then read the distance: after 8,000 images
# the Transformer's is the smaller one. (The fast form sees too few images to say.)
#
# Does that prove the claim? What was equal is the number of *images*. In the same *time* the CNN would have seen
# more of them. And the two D are not of one size: it is not attention alone that is compared here. The claim lacks
# its condition: better on *what* budget, and compared with what? Ask for both whenever two networks are compared.
#
# ## Three questions
#
# 1. One head has 49² weights for an image of 28×28. By which factor does that grow for 56×56, with patches of the
#    same size?
# 2. All 49 tokens are equal. Which weights does each of them have?
# 3. The attention layer of the classic network has tokens of width 128 and 4 heads of width 128. How many
#    parameters does it have?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
print(f"1. {(56 // 4) ** 2} tokens, {196**2 // 49**2} times the weights of attention")
assert (56 // 4) ** 2 == 196
assert 196**2 / 49**2 == 16  # 1. twice the side: four times the tokens, sixteen times the weights

equal = torch.randn(1, 1, 1, 64).expand(1, 1, 49, 64)
_, weights = attention(equal, equal, equal)
print(f"2. {weights.min():.4f} to {weights.max():.4f}: 1/49 for all")
assert torch.allclose(weights, torch.tensor(1 / 49))  # 2. the same for all: each token becomes the mean

layer = nn.ModuleList([nn.Linear(128, 3 * 4 * 128), nn.Linear(4 * 128, 128)])  # q, k and v of 4 heads; the way back
print(f"3. {count(layer):,}")
assert count(layer) == 128 * 1536 + 1536 + 512 * 128 + 128 == 263_808  # 3. and none of it depends on the 49

# %% [markdown]
# ## An exercise with your own pictures
#
# `ganvas compare cnn-stable transformer-stable --data photos --minutes 10 --seeds 2 --knobs resolution=32`, and
# open the report: which of the two is ahead after ten minutes, and how many images has each of them seen? Then give
# them two hundred pictures only, and look again.
