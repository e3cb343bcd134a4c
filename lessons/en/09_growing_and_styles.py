# %% [markdown]
# # 9. Growing and styles
#
# **The claim.** A large image is learned from a small one: first 4×4, then 8×8, and so on, each new size *faded
# in* (Karras et al. 2018, ProGAN). And z need not enter at the bottom: a *mapping network* makes a style w of it,
# which acts on every size by itself, so that coarse and fine things can be chosen separately (Karras et al. 2019,
# StyleGAN). *How good the images are, a number says: FID* (Heusel et al. 2017).
#
# This lesson computes a fade, AdaIN, style mixing, truncation and FID by hand, grows a G and then trains all its
# sizes at once, trains a small StyleGAN, and asks what its FID is worth.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, softplus

import ganvas
from ganvas.data import DataOptions, open_images
from ganvas.evaluation import metrics
from ganvas.features.extractors import load_extractor
from ganvas.networks import stylegan

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)  # networks as small as these are no faster with more


def show(rows, title):
    """Images float [rows columns h w] in [-1, 1] as a grid."""
    r, c, h, w = rows.shape
    plt.figure(figsize=(0.7 * c, 0.7 * r + 0.3))
    plt.imshow(rows.permute(0, 2, 1, 3).reshape(r * h, c * w).numpy(), cmap="gray", vmin=-1, vmax=1)
    plt.title(title)
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## A fade
#
# G draws 7×7, and is to draw 14×14. A new layer is added, whose weights are random: all at once G would be bad
# again, and D, which has a new layer too, would have to begin anew. So the new size is mixed in:
#
# $$x = (1 - \alpha)\, \mathrm{up}(x_{small}) + \alpha\, x_{large},$$
#
# where up repeats each pixel and α rises from 0 to 1. The real images are faded in the same way, or D would know
# them by their sharpness.


# %%
def fade(small, large, alpha):
    """Images float [n 1 h w] and [n 1 2h 2w] -> float [n 1 2h 2w]."""
    return torch.lerp(interpolate(small, scale_factor=2), large, alpha)


images = torch.tensor(open_images(DataOptions(source="digits28")).images[::5]) / 127.5 - 1  # [2000 1 28 28]
large = avg_pool2d(images, 2)
small = avg_pool2d(large, 2)
alphas = [0, 0.25, 0.5, 0.75, 1]
show(torch.stack([fade(small[::200], large[::200], alpha)[:, 0] for alpha in alphas]), "reals, α from 0 to 1")
assert torch.equal(fade(small, large, 1), large)
assert torch.allclose(avg_pool2d(fade(small, large, 0), 2), small, atol=1e-6)

# %% [markdown]
# ## AdaIN
#
# StyleGAN begins with a learned constant. z acts through *adaptive instance normalisation*: after a convolution,
# each map of each image is brought to mean 0 and deviation 1, and gets a new scale and a new mean from w. So w
# says how strong each feature is, and nothing of the earlier strength is left.


# %%
def adain(x, scale, shift):
    """x float [n c h w], scale and shift [n c]."""
    mean, deviation = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True, correction=0)
    return (x - mean) / (deviation + 1e-8) * scale[:, :, None, None] + shift[:, :, None, None]


x, scale, shift = 5 + 3 * torch.randn(2, 4, 8, 8), torch.rand(2, 4) + 0.5, torch.randn(2, 4)
styled = adain(x, scale, shift)
assert torch.allclose(styled.mean((2, 3)), shift, atol=1e-4)
assert torch.allclose(styled.std((2, 3), correction=0), scale, atol=1e-4)
assert torch.allclose(adain(100 * x + 7, scale, shift), styled, atol=1e-3)  # what came before is forgotten
assert torch.allclose(stylegan.adain(x, torch.cat([scale - 1, shift], 1)), styled, atol=1e-4)  # it adds the 1 itself

# %% [markdown]
# StyleGAN2 (Karras et al. 2020) moves the same idea into the weights: *modulation* multiplies the inputs of a
# convolution by the style, *demodulation* divides each output by the deviation that it would have if the inputs
# were independent, with deviation 1. That is the same as one set of weights for each image:

# %%
weight, style = torch.randn(6, 4, 3, 3), torch.rand(4) + 0.5
own = weight * style[None, :, None, None]
own = own / own.square().sum((1, 2, 3), keepdim=True).sqrt()  # the weights of this image
noise = torch.randn(1, 4, 64, 64)
modulated = conv2d(noise, own)
divided = conv2d(noise * style[:, None, None], weight) / (weight * style[None, :, None, None]).square().sum(
    (1, 2, 3)
).sqrt().view(-1, 1, 1)
assert torch.allclose(modulated, divided, atol=1e-4)
print("deviations of its outputs:", [round(float(one), 2) for one in modulated[0].std((1, 2))])
assert (modulated[0].std((1, 2)) - 1).abs().max() < 0.1


# %% [markdown]
# ## A generator with styles, that grows
#
# The mapping network is a small MLP. Each layer has an affine map from w to its scales and means, and adds
# *noise*, with a learned strength for each map: it is for what is random in an image, so that z need not carry
# it.


# %%
class StyleLayer(nn.Module):
    """Features float [n c h w], w [n 32] -> [n c h w]."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.affine = nn.Linear(32, 2 * channels)
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x, w):
        x = self.conv(x)
        x = leaky_relu(x + self.strength * torch.randn_like(x[:, :1]), 0.2)
        scale, shift = self.affine(w).chunk(2, 1)
        return adain(x, 1 + scale, shift)


class StyleGenerator(nn.Module):
    """z float [n 32] -> images float [n 1 7 7], or [n 1 14 14] where alpha is above 0."""

    def __init__(self, channels=24):
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LayerNorm(32))
        self.constant = nn.Parameter(torch.randn(1, channels, 7, 7))
        self.layers = nn.ModuleList([StyleLayer(channels) for _ in range(4)])
        self.to_image = nn.ModuleList([nn.Conv2d(channels, 1, 1) for _ in range(2)])
        self.alpha = 0.0

    def sizes(self, z):
        """The small images, then the large ones, which are not computed unless they are asked for."""
        w = self.mapping(z)
        x = self.layers[1](self.layers[0](self.constant.expand(len(z), -1, -1, -1), w), w)
        yield self.to_image[0](x)
        x = self.layers[3](self.layers[2](interpolate(x, scale_factor=2), w), w)
        yield self.to_image[1](x)

    def forward(self, z):
        sizes = self.sizes(z)
        small = next(sizes)
        return fade(small, next(sizes), self.alpha) if self.alpha else small


# %% [markdown]
# D mirrors it: during the fade its new first layer is mixed with the old one. Before the fade the new layers only
# wait: `ganvas.watch` may say of them that they never change.


# %%
class GrowingDiscriminator(nn.Module):
    """Images float [n 1 7 7], or [n 1 14 14] where alpha is above 0 -> logits [n 1]."""

    def __init__(self, channels=24):
        super().__init__()
        self.from_image = nn.ModuleList([nn.Conv2d(1, channels, 1) for _ in range(2)])
        self.new = nn.Conv2d(channels, channels, 3, padding=1)
        self.old = nn.Sequential(
            *[nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2)],
            *[nn.Flatten(), nn.Linear(49 * channels, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)],
        )
        self.alpha = 0.0

    def forward(self, x):
        if not self.alpha:
            return self.old(leaky_relu(self.from_image[0](x), 0.2))
        features = leaky_relu(self.new(leaky_relu(self.from_image[1](x), 0.2)), 0.2)
        coarse = leaky_relu(self.from_image[0](avg_pool2d(x, 2)), 0.2)
        return self.old(torch.lerp(coarse, avg_pool2d(features, 2), self.alpha))


def play(D, optimisers, real, fake):
    """One round. real and fake hold what D receives: images, or images of several sizes. Returns both losses."""
    d_loss = softplus(-D(*real)).mean() + softplus(D(*[one.detach() for one in fake])).mean()
    optimisers[0].zero_grad()
    d_loss.backward()
    optimisers[0].step()
    g_loss = softplus(-D(*fake)).mean()
    optimisers[1].zero_grad()
    g_loss.backward()
    optimisers[1].step()
    return d_loss, g_loss


def train(rounds, draw_z):
    """A third of the rounds at 7×7, a third of fading, a third at 14×14; returns G's images through time."""
    torch.manual_seed(1)
    G, D = StyleGenerator(), GrowingDiscriminator()
    adam = [torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.99)) for network in (D, G)]
    history = []
    with ganvas.watch(G, D, every=rounds // 8) as probe:
        for i in range(rounds):
            G.alpha = D.alpha = min(1.0, max(0.0, 3 * i / rounds - 1))
            chosen = torch.randint(len(images), (32,))
            real = fade(small[chosen], large[chosen], D.alpha) if D.alpha else small[chosen]
            fake = G(draw_z(32))
            d_loss, g_loss = play(D, adam, [real], [fake])
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
            if i in (rounds // 3 - 1, rounds // 2, rounds - 1):
                history.append(interpolate(fake.detach(), size=(14, 14))[:12, 0])
    return torch.stack(history), probe.diagnosis()


# %% [markdown]
# ## Broken on purpose
#
# A style of one row fits a batch of any size: PyTorch *broadcasts* it. So one z for the whole batch, in place of
# one for each image, raises no error; here `expand` repeats it in sight. All fakes of a round are then alike, and
# others in the next: *mode cycling*.

# %%
history, diagnosis = train(110 if FAST else 300, lambda n: torch.randn(1, 32).expand(n, 32))
show(history, "one z for the batch: at 7×7, half faded, at 14×14")
assert "Mode cycling" in str(diagnosis)
broken = history[-1].std(0).mean()

# %% [markdown]
# The first cause that is named is ours. The remedy:

# %%
history, diagnosis = train(110 if FAST else 700, lambda n: torch.randn(n, 32))
show(history, "a z for each image: at 7×7, half faded, at 14×14")
assert "Mode cycling" not in str(diagnosis)
assert history[-1].std(0).mean() > 3 * broken

# %% [markdown]
# ## All sizes at once
#
# A schedule is one more thing to get wrong: when does a size come in, and how fast? *Multi-scale gradients* (MSG-GAN,
# Karnewar & Wang 2020) have none. D receives the images of every size at once, each where its own features have that
# size, so that its gradient enters G at every size from the first round on. Our G draws both sizes already.


# %%
class EverySizeDiscriminator(nn.Module):
    """Images float [n 1 7 7] and [n 1 14 14] -> logits [n 1]."""

    def __init__(self, channels=24):
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.second = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(49 * channels, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, small, large):
        features = avg_pool2d(leaky_relu(self.first(large), 0.2), 2)
        return self.last(leaky_relu(self.second(torch.cat([features, small], 1)), 0.2))


def compare_sizes(of_7, of_14):
    """The mean difference of 7×7 and the averaged 14×14 of one z, over that of two z."""
    averaged = avg_pool2d(of_14, 2)
    return ((averaged - of_7).abs().mean() / (averaged - of_7.roll(1, 0)).abs().mean()).item()


torch.manual_seed(1)
G, D = StyleGenerator(), EverySizeDiscriminator()
with torch.no_grad():
    untrained = compare_sizes(*G.sizes(torch.randn(200, 32)))
adam = [torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.99)) for network in (D, G)]
for i in range(110 if FAST else 300):
    chosen = torch.randint(len(images), (32,))
    play(D, adam, [small[chosen], large[chosen]], list(G.sizes(torch.randn(32, 32))))
    if i == 0:
        slopes = [float(one.conv.weight.grad.norm()) for one in G.layers]
        print("gradients of the four layers in the first round:", [f"{one:.1e}" for one in slopes])
        assert min(slopes) > 0

with torch.no_grad():
    of_7, of_14 = G.sizes(torch.randn(200, 32))
show(torch.stack([interpolate(of_7, size=(14, 14)), of_14])[:, :12, 0], "of one z a column: 7×7 and 14×14")
trained = compare_sizes(of_7, of_14)
print(f"the sizes of one z differ by {untrained:.2f} of what those of two z do, and trained by {trained:.2f}")
assert trained < 0.9 * untrained

# %% [markdown]
# Each of the two images is made by a layer of its own; only D sees both, and the two sizes of a real always fit. So
# they become the same digit. The recipe `msg` does this from 4×4 to the full size.
#
# ## The small StyleGAN of Ganvas
#
# The recipe `stylegan` has all of this, and what makes it stable: *equalised* learning rates (weights are scaled when
# they are used, so that all layers learn at one pace), the *minibatch standard deviation* (D also receives how much
# the images of a batch differ), and R1. At 32×32 and full width it takes days on a laptop. Here it is small, has a
# minute, and grows from 4×4 to 8×8 alone, between 5 % and 30 % of the run (`growth`): do not expect more than
# strokes, and a digit now and then.

# %%
run = ganvas.train(
    "stylegan", data="digits28", resolution=8, width=32, latent=32, kimg=0.3 if FAST else 25, batch=16, g_lr=2e-3,
    d_lr=2e-3, penalty_every=4, mixing_prob=0.5, growth="0..1@0.05-0.3", out="runs/lesson-9", quiet=True,
)  # fmt: skip
sampler = ganvas.load(run.path)
plt.figure(figsize=(7, 2.8))
plt.imshow(sampler.sample(range(40)).grid(columns=10), cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# Its networks fade as ours do. `grow` sets how far it has grown: 0 is 4×4, 1 is 8×8. The first half of the way is the
# fade, the second half trains without one; so 0.25 is half of the fade.

# %%
network, z = sampler.generator, torch.randn(4, 32)
drawn = {}
with torch.no_grad():
    for growth in (0.0, 0.25, 1.0):
        network.grow(growth)
        drawn[growth] = network.d_input(z)
        print(f"growth {growth}: {tuple(drawn[growth].shape[2:])}, α {network.alpha:g}")
assert torch.allclose(drawn[0.25], fade(drawn[0.0], drawn[1.0], 0.5), atol=1e-4)

# %% [markdown]
# ## Mixing and truncation
#
# There are two layers at each size: four styles. *Mixing* takes the coarse ones from one image and the fine ones from
# another. (The noise of each layer stays the same when images are drawn.) *Truncation* moves w towards its mean: $w' =
# \bar w + \psi (w - \bar w)$. With ψ below 1 images get more typical, and less different.

# %%
rows, columns = sampler.latents(range(5)), sampler.latents(range(10, 18))
by_hand = torch.cat([rows.styles[:1, :2], columns.styles[:1, 2:]], 1)
mixed = sampler.mix(range(5), range(10, 18), layers=2)
assert rows.styles.shape == (5, 4, 32)
assert np.array_equal(sampler.draw(ganvas.Latents(by_hand, None, "w")), mixed[:1])

mean = network.w_avg.value
truncated = sampler.latents(range(5), truncation=0.5).styles
assert torch.allclose(truncated, mean + 0.5 * (rows.styles - mean), atol=1e-5)

plt.figure(figsize=(6, 4))
plt.imshow(mixed.grid(columns=8), cmap="gray")
plt.title("coarse styles of 5 images, one a row; fine ones of 8")
plt.axis("off")
plt.show()

# %%
truncations = (1, 0.7, 0.4, 0)
by_truncation = [sampler.sample(range(10), truncation=psi) for psi in truncations]
plt.figure(figsize=(7, 2.8))
plt.imshow(ganvas.Samples(np.concatenate(by_truncation)).grid(columns=10), cmap="gray")
plt.title("ψ = 1, 0.7, 0.4, 0")
plt.axis("off")
plt.show()
spread = [np.array(samples).std(0).mean() for samples in by_truncation]
print("deviation between images:", [round(float(one), 1) for one in spread])
assert spread[0] > spread[2] > spread[3] == 0

# %% [markdown]
# ## A number
#
# FID looks at images through a network trained to recognise things, and takes the features of reals and fakes for
# two Gaussians, with means μ and covariances Σ (in one dimension Σ is the variance, the squared deviation). With tr,
# the sum of the diagonal, their Fréchet distance is
#
# $$|\mu_1 - \mu_2|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}).$$
#
# It is called FID only with the Inception network of Heusel et al. 2017. We take the small network that comes
# with Ganvas, the *eye*, so this is a Fréchet distance, with numbers of its own.


# %%
def frechet(x, y):
    """Features float [n f] and [m f] -> a number."""
    covariances = [np.cov(features, rowvar=False) for features in (x, y)]
    values = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)  # their roots sum to the trace
    traces = sum(np.trace(covariance) for covariance in covariances)
    return np.square(x.mean(0) - y.mean(0)).sum() + traces - 2 * np.sqrt(values).sum()


def features(images):
    """Images uint8 [n 1 h w] -> float [n f]."""
    return load_extractor("eye").extract(torch.as_tensor(images)).numpy().astype(np.float64)


random = np.random.default_rng(0)
N = 600 if FAST else 1000
sets = [open_images(DataOptions(source="digits28", split=split, resolution="8")) for split in ("train", "test")]
train_images, test_images = (one.images[random.permutation(len(one))[:N]] for one in sets)
reals, held_out = features(train_images), features(test_images)
fakes = features(sampler.sample(range(N)))
value, baseline = frechet(fakes, reals), frechet(held_out, reals)
print(f"{N} images, {reals.shape[1]} features: fakes {value:.4f}, held-out reals {baseline:.4f}")
own = metrics.frechet_distance(metrics.compute_moments(fakes), metrics.compute_moments(reals))
assert abs(value / own - 1) < 0.01
assert value > 2 * baseline > 0

# %% [markdown]
# Two samples of real digits are not at distance 0. That is the baseline, without which the other number says nothing.
# And it depends on the *protocol*. The next table has reals against reals: with fewer images, resized in another way
# (most pixels are left out, in place of averages; Parmar et al. 2022), and with the pixels themselves as features.
# The fakes come last.

# %%
full = open_images(DataOptions(source="digits28", split="test")).images
full = torch.tensor(full[np.random.default_rng(1).permutation(len(full))[:N]])
values = {
    f"reals, {N} images": baseline,
    f"reals, {N // 4} images": frechet(held_out[: N // 4], reals),
    f"reals, {N // 10} images": frechet(held_out[: N // 10], reals),
    "reals, resized carelessly": frechet(features(interpolate(full, size=(8, 8))), reals),
    "reals, pixels as features": frechet(*(one.reshape(N, -1) / 255 for one in (test_images, train_images))),
    "fakes": value,
}
for name, number in values.items():
    print(f"{name:28} {number:.4f}")
by_count = list(values.values())[:3]
assert by_count[0] < by_count[1] < by_count[2]
assert values["reals, resized carelessly"] > 2 * baseline

# %% [markdown]
# All rows but the last compare real digits with real digits. So compare numbers only with the same network, the same
# count and the same resizing, and print the baseline. `ganvas evaluate` does, and writes the protocol beside each
# number.
#
# ## Three questions
#
# 1. A map holds the numbers 1 and 3, equally often. AdaIN gives it scale 2 and mean 10. Which numbers does it
#    hold then?
# 2. A StyleGAN draws 4×4 to 32×32, with two layers for each size. How many styles can be mixed?
# 3. Two Gaussians in one dimension: means 0 and 3, deviations 1 and 2. What is their Fréchet distance?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
chessboard = torch.tensor([[1.0, 3.0], [3.0, 1.0]])[None, None]  # 1. mean 2, deviation 1: 10 - 2 and 10 + 2
answer = adain(chessboard, torch.tensor([[2.0]]), torch.tensor([[10.0]]))
print("1.", answer.unique().tolist())
assert torch.allclose(answer.unique(), torch.tensor([8.0, 12.0]))

sizes = [4 * 2**i for i in range(4)]
print("2.", 2 * len(sizes))
assert (sizes, 2 * len(sizes)) == ([4, 8, 16, 32], 8)  # 2. eight

one, other = metrics.Moments(2, np.zeros(1), np.ones((1, 1))), metrics.Moments(2, np.full(1, 3.0), np.full((1, 1), 4.0))
print(f"3. {metrics.frechet_distance(one, other):g}")
assert abs(metrics.frechet_distance(one, other) - 10) < 1e-9  # 3. 3² + (2 - 1)²

# %% [markdown]
# ## An exercise with your own pictures
#
# `ganvas train stylegan --data photos --resolution 32 --width 64 --minutes 20`, and look at the film
# `training.webp` in the folder of the run: when does each size come in? (Twenty minutes give blurred
# pictures: look at the order, not at the quality.) Then `ganvas sample RUN --seeds 0-5 --mix 10-15 --layers 2` and
# `ganvas sample RUN --seeds 0-5 --mix 10-15 --layers 6`: of eight layers, two to a size, the first 2 or 6 are those
# of the rows. What do the coarse styles decide? Last, `ganvas evaluate RUN`, and again with `--truncation 0.5`: which
# rises, *precision* (the share of fakes that lie among the reals) or *recall* (the reverse), and which falls?
