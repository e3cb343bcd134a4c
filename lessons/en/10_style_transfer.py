# %% [markdown]
# # 10. Style transfer
#
# **The claim.** A photo can be redrawn in the style of a painting without any pair of examples and without a
# training: *the content of an image is what a network sees where; its style is what the network sees, no matter
# where* (Gatys et al. 2016). An optimiser changes the pixels until both fit.
#
# There is one network in this lesson, it never learns, and the only parameters are the pixels of one image. We
# build the method by hand in forty lines, from the photo and from noise, look at each of its three terms, and
# break it with a line that looks harmless.

# %%
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

import ganvas
from ganvas.features.layers import build_eye

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)

# %% [markdown]
# ## A photo, and a painting
#
# The photo comes with scikit-learn. The painting is drawn by code, so that nobody has to download one: five
# thousand short strokes that turn around three lights. Later, take a real one.


# %%
def paint(width, height, strokes=5000):
    """A night sky of strokes, as a Pillow image."""
    random = np.random.default_rng(0)
    colours = np.array([[12, 22, 60], [24, 58, 128], [58, 110, 170], [140, 182, 196], [238, 192, 60], [252, 238, 170]])
    lights = [(0.27, 0.36, 1), (0.72, 0.3, -1), (0.52, 0.8, 1)]  # x, y, and the sense in which strokes turn
    canvas = Image.new("RGB", (4 * width, 4 * height), tuple(colours[0]))
    draw = ImageDraw.Draw(canvas)
    for _ in range(strokes):
        x, y = random.random(2)
        dx, dy, glow = 0.0, 0.0, 0.0
        for light_x, light_y, sense in lights:
            u, v = x - light_x, (y - light_y) * height / width
            pull = sense * math.exp(-(u * u + v * v) / 0.03) + 0.02
            dx, dy, glow = dx - pull * v, dy + pull * u, max(glow, math.exp(-(u * u + v * v) / 0.007))
        step = 0.035 * 4 * width / math.hypot(dx, dy)
        tone = np.clip(4.8 * glow + (1 - glow) * random.normal(1.2, 0.8) + random.normal(0, 0.3), 0, 4.99)
        colour = colours[int(tone)] + (tone % 1) * (colours[int(tone) + 1] - colours[int(tone)])
        x, y = 4 * width * x, 4 * height * y
        line = [x - dx * step, y - dy * step, x + dx * step, y + dy * step]
        draw.line(line, fill=tuple(int(value) for value in colour), width=max(4, width // 16))
    return canvas.resize((width, height), Image.Resampling.LANCZOS)


def to_tensor(image):
    """A Pillow image -> float [1 3 h w] in [-1, 1]."""
    return torch.tensor(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1


SIZE = (60, 40) if FAST else (144, 96)
photo = to_tensor(Image.fromarray(load_sample_image("china.jpg")).resize(SIZE, Image.Resampling.LANCZOS))
painting = to_tensor(paint(*SIZE))


# %%
def show(images):
    """Images float [1 3 h w] by their titles, side by side."""
    axes = plt.subplots(1, len(images), figsize=(4 * len(images), 3))[1]
    for axis, (title, image) in zip(axes, images.items()):
        axis.imshow((image[0].permute(1, 2, 0) / 2 + 0.5).numpy())
        axis.set_title(title)
        axis.axis("off")
    plt.show()


show({"photo": photo, "painting": painting})

# %% [markdown]
# ## A network that looks
#
# Gatys et al. take VGG-19, trained on ImageNet: 575 MB of weights, to be downloaded. Ganvas comes with a network
# of the same build, but small: the *eye*, eight convolutions in four blocks, trained on CIFAR-10 and MNIST. Its
# layers have VGG's names. It is enough to see how the method works. If you have VGG-19, or may download it, put
# `ganvas.features.weights.load_network("vgg19")` in place of `build_eye()`: nothing else changes.

# %%
network = build_eye()
STYLE, CONTENT = ("relu1_1", "relu2_1", "relu3_1", "relu4_1"), "relu3_1"
for name, maps in network.features(photo, STYLE).items():
    print(f"{name}: {maps.shape[1]} channels of {maps.shape[2]}×{maps.shape[3]}")
assert not any(weight.requires_grad for weight in network.parameters())

# %% [markdown]
# ## What is where, and what is there at all
#
# A layer gives a vector F(p) of c features at each position p. For the content, compare these vectors position by
# position. For the style, throw the positions away: of each pair of channels, take the mean of the product over
# all positions. This is the **Gram matrix**
#
# $$G_{ij} = \frac{1}{hw} \sum_p F_i(p)\, F_j(p).$$
#
# It says which features occur together, "blue" and "slanting edge", and not where. So it must stay the same when
# we shuffle the positions, while the content changes wholly:


# %%
def gram(maps):
    """Features float [1 c h w] -> Gram matrix [c c], a mean over positions."""
    flat = maps[0].flatten(1)
    return flat @ flat.T / flat.shape[1]


def relative(x, target):
    """The squared distance, in units of the target's own square: 0 for equal, about 1 for unlike."""
    return (x - target).square().sum() / target.square().sum()


maps = network.features(painting, ["relu2_1"])["relu2_1"]
places = torch.randperm(maps[0, 0].numel())
shuffled = maps.flatten(2)[:, :, places].view_as(maps)
print(f"content differs by {relative(shuffled, maps):.2f}, style by {relative(gram(shuffled), gram(maps)):.0e}")
assert relative(shuffled, maps) > 0.1
assert relative(gram(shuffled), gram(maps)) < 1e-6

# %% [markdown]
# ## The method, in forty lines
#
# Three terms. *Style*: the Gram matrices of four layers, compared with the painting's. *Content*: the features of
# one deep layer, compared with the photo's. *Total variation*: the squared differences of neighbouring pixels, as
# a network sees little of the finest noise (Mahendran & Vedaldi 2015). The sum goes down by gradient steps on the
# pixels. Gatys et al. use L-BFGS; Adam is simpler and needs more steps. After each step the pixels are clamped to
# the range that exists.


# %%
def total_variation(image):
    """Image float [1 3 h w] -> the mean squared difference of neighbouring pixels."""
    down, right = image[:, :, 1:] - image[:, :, :-1], image[:, :, :, 1:] - image[:, :, :, :-1]
    return down.square().mean() + right.square().mean()


grams = {name: gram(maps) for name, maps in network.features(painting, STYLE).items()}
wanted = network.features(photo, [CONTENT])[CONTENT]


def measure(image, look=network.features):
    """The three terms of an image, without weights."""
    seen = look(image, {*STYLE, CONTENT})
    style = sum(relative(gram(seen[name]), grams[name]) for name in STYLE) / len(STYLE)
    return {"style": style, "content": relative(seen[CONTENT], wanted), "tv": total_variation(image)}


ROUNDS = 35 if FAST else 160


def transfer(start, content_weight=0.1, tv_weight=0.1, look=network.features):
    """Descends on the pixels of an image float [1 3 h w] in [-1, 1]."""
    image = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([image], lr=0.05)
    for _ in range(ROUNDS):
        terms = measure(image, look)
        loss = terms["style"] + content_weight * terms["content"] + tv_weight * terms["tv"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            image.clamp_(-1, 1)
    return image.detach()


def describe(name, image):
    """Prints the three terms of an image, and returns them as numbers."""
    terms = {term: value.item() for term, value in measure(image).items()}
    print(f"{name:>24}: " + ", ".join(f"{term} {value:.3f}" for term, value in terms.items()))
    return terms


# %%
noise = torch.rand_like(photo) * 2 - 1
from_photo, from_noise, texture = transfer(photo), transfer(noise), transfer(noise, content_weight=0)
show({"from the photo": from_photo, "from noise": from_noise, "from noise, without content": texture})
before = describe("the photo", photo)
after = describe("from the photo", from_photo)
noisy = describe("from noise", from_noise)
free = describe("without content", texture)
assert after["style"] < 0.4 * before["style"]
assert noisy["style"] < 0.4 * before["style"]
assert noisy["content"] < 0.8 * free["content"]

# %% [markdown]
# All three have the strokes of the painting, and its blue. From the photo, the optimiser stays near it. From
# noise, the temple comes back out of the features alone: they hold the shapes, and not the colours of the pixels.
# Without the content term nothing says where anything belongs, and a *texture* is left (Gatys et al. 2015). The
# yellow of the lights is weak: a small network that learned from tiny photos says little about colours.
#
# ## The weights are a choice
#
# Nobody can say which image is right: the weight of the content decides. Note what is *not* decided here. In many
# tutorials the weight of the style is 1,000,000, as their terms are sums over features and positions. Ours are
# relative to the target, so that weights of the order of 1 fit every layer, network and size.

# %%
looser, tighter = transfer(photo, content_weight=0.01), transfer(photo, content_weight=1.0)
show({"content weight 0.01": looser, "0.1": from_photo, "1": tighter})
loose, tight = describe("content weight 0.01", looser), describe("content weight 1", tighter)
assert loose["content"] > after["content"] > tight["content"]
assert loose["style"] < tight["style"]

# %% [markdown]
# And total variation? Take it away, and start from noise, where there is most to smooth:

# %%
grainy = transfer(noise, tv_weight=0)
show({"with total variation": from_noise, "without": grainy})
grain = describe("without total variation", grainy)
assert noisy["tv"] < 0.8 * grain["tv"]

# %% [markdown]
# ## With Ganvas
#
# `ganvas.stylize` is this method with what has been learned since: scales from coarse to fine, so that strokes
# become longer than a layer can see; the photo takes the painting's palette before the first step; raw pixels and
# their small patches are layers too, so that colours count; L-BFGS that respects the range of pixels; and in
# place of Gram matrices the Wasserstein distance of two Gaussians, which also compares the means
# (`statistic="gram"` for those of Gatys et al.).

# %%
pixels = [((image[0] + 1) * 127.5).round().byte().numpy() for image in (photo, painting)]  # uint8 [3 h w]
styled = ganvas.stylize(*pixels, size=SIZE[0], iterations=5 if FAST else 40)
by_ganvas = torch.tensor(styled.pixels)[None] / 127.5 - 1
show({"by hand": from_photo, "by Ganvas": by_ganvas})
theirs = describe("by Ganvas", by_ganvas)
assert theirs["style"] < 0.5 * before["style"]

# %% [markdown]
# By the measure of this lesson our own image is nearer to the painting: it was made to lower exactly this number.
# Look at the two images before you believe it. What is optimised is no judge of the result, here as in a GAN.
#
# ## Broken on purpose
#
# The network is frozen, it needs no gradient: so somebody writes `torch.no_grad()` around it, to save memory.
# Nothing crashes, for the total variation still has a gradient, and the three terms are printed as always.


# %%
def look_without_gradient(images, names):
    with torch.no_grad():  # "the network does not learn"
        return network.features(images, names)


smoothed = transfer(photo, look=look_without_gradient)
show({"photo": photo, "broken": smoothed})
broken = describe("broken", smoothed)
assert broken["style"] > 0.8 * before["style"]
assert broken["tv"] < 0.5 * before["tv"]

# %% [markdown]
# The photo becomes a blur, and no stroke appears: only the total variation still moves the pixels, and the style
# is farther off than before. In a GAN, `ganvas.watch` calls this "loss not connected". Here there are no two
# networks to watch, and one line tells as much: a term that is to move the pixels must have a gradient.
#
# The remedy is to freeze the *weights* and leave the way through the network open. `build_eye` does so:
# `network.requires_grad_(False)`. It is the same with D in a GAN: while G learns, D stands still, and all that G
# learns from comes through it.

# %%
pixels_of_photo = photo.clone().requires_grad_()
assert not measure(pixels_of_photo, look_without_gradient)["style"].requires_grad  # the line that finds it
assert measure(pixels_of_photo)["style"].requires_grad
remedied = describe("remedied", transfer(photo))
assert remedied["style"] < 0.4 * broken["style"]

# %% [markdown]
# ## Three questions
#
# 1. A layer has 64 channels, and its map is 128×96. How many different numbers has its Gram matrix?
# 2. The painting is mirrored, left to right. Which Gram matrices stay the same: that of the RGB values, that of
#    `relu1_1`, both, or none?
# 3. Somebody forgets to divide the Gram matrix by the number of positions, and gives a painting that is twice as
#    wide and twice as high, of the same strokes. How many times as large is its Gram matrix?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
matrix = gram(torch.randn(1, 64, 96, 128))  # 1. it is symmetric, and the size of the map does not matter
assert torch.allclose(matrix, matrix.T)
print("1.", len(torch.tril_indices(64, 64)[0]))
assert len(torch.tril_indices(64, 64)[0]) == 64 * 65 // 2 == 2080

seen, mirrored = (network.features(image, ["rgb", "relu1_1"]) for image in (painting, painting.flip(3)))
print("2.", {name: f"{relative(gram(mirrored[name]), gram(seen[name])):.0e}" for name in seen})
assert relative(gram(mirrored["rgb"]), gram(seen["rgb"])) < 1e-8  # 2. RGB's: mirroring only moves the pixels ...
assert relative(gram(mirrored["relu1_1"]), gram(seen["relu1_1"])) > 1e-5  # ... a filter for "/" now sees "\"

large = painting.repeat(1, 1, 2, 2)  # 3. four times, and the style "costs" sixteen times as much; a mean stays
sums = [gram(image) * image[0, 0].numel() for image in (large, painting)]
print(f"3. {(sums[0] / sums[1]).mean():.0f} times")
assert torch.allclose(sums[0], 4 * sums[1], rtol=1e-3)
assert torch.allclose(gram(large), gram(painting), rtol=1e-3)

# %% [markdown]
# ## An exercise with your own pictures
#
# Take a photo of yours and a painting that you like: `ganvas style photo.jpg painting.jpg --out styled.png --gif
# progress.gif`. Watch in the film what comes first, colours or strokes. Then `--statistic gram`, and
# `--content-weight 1`, and with a network of ImageNet (downloaded once) `--network vgg19`. Which change do you
# see from across the room?
