# %% [markdown]
# # 2. Convolutions upside down
#
# **The claim.** An image is made from the coarse to the fine: from a few numbers to a 7×7 map, to 14×14, to 28×28.
# The layer that makes maps larger is the *transposed convolution*. Radford et al. 2015 (DCGAN) made a GAN of such
# layers, and nearly every tutorial has its small sister for MNIST.
#
# This lesson computes a transposed convolution by hand, sees where checkerboards come from, trains the classic pair
# of the Keras tutorials, and breaks it by the mistake that is made most often: two ranges of pixels.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import conv2d, conv_transpose2d, softplus

import ganvas
from ganvas.data import DataOptions, open_images

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)

# %% [markdown]
# ## A convolution, and its mirror image
#
# A convolution of stride 2 looks at a window of its input for each *output*, and moves on by two pixels: the map
# halves. A transposed convolution does the same with the arrows turned round: each *input* pixel writes the kernel,
# times its value, into a window of the output, and the windows lie two pixels apart. Where windows overlap, they
# add up.


# %%
def transposed_by_hand(x, kernel, stride):
    """One channel: x float [h w], kernel float [k k] -> float [(h - 1) stride + k, (w - 1) stride + k]."""
    (h, w), k = x.shape, len(kernel)
    out = torch.zeros((h - 1) * stride + k, (w - 1) * stride + k)
    for i in range(h):
        for j in range(w):
            out[i * stride : i * stride + k, j * stride : j * stride + k] += x[i, j] * kernel
    return out


x, kernel = torch.randn(3, 3), torch.randn(4, 4)
by_hand = transposed_by_hand(x, kernel, stride=2)
by_torch = conv_transpose2d(x[None, None], kernel[None, None], stride=2)[0, 0]
print(f"{tuple(x.shape)} becomes {tuple(by_hand.shape)}; largest difference {(by_hand - by_torch).abs().max():.1e}")
assert torch.allclose(by_hand, by_torch, atol=1e-5)

# %% [markdown]
# `padding=1` cuts one pixel off each side of the result. With side n, kernel k, stride s and padding p the new side
# is $(n - 1) s - 2p + k$: with the usual kernel 4, stride 2 and padding 1, exactly $2n$. (`output_padding=1` adds one
# row and one column at the end.) And why "transposed"? Write the pixels as one long vector: each output is a weighted
# sum of them, so a convolution is a matrix. The transposed convolution multiplies by the transposed matrix. That is
# also what the gradient of a convolution does:

# %%
maps = [torch.zeros(1, 1, 7, 7)]
for _ in range(2):
    maps.append(nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1)(maps[-1]))
sides = [one.shape[2] for one in maps]
print("sides of the maps:", sides)
assert sides == [7, (7 - 1) * 2 - 2 * 1 + 4, (14 - 1) * 2 - 2 * 1 + 4] == [7, 14, 28]

image = torch.randn(1, 1, 6, 6, requires_grad=True)
output = conv2d(image, kernel[None, None], stride=2, padding=1)
upstream = torch.randn_like(output)
(gradient,) = torch.autograd.grad(output, image, upstream)
assert torch.allclose(gradient, conv_transpose2d(upstream, kernel[None, None], stride=2, padding=1), atol=1e-5)

# %% [markdown]
# ## Where checkerboards come from
#
# Let every input be 1 and every weight 1: then each pixel counts how many windows reach it. With kernel 3 and
# stride 2 the count changes from pixel to pixel, in a checkerboard, before anything is learned (Odena et al. 2016).
# Kernel 4 is a multiple of the stride: inside the image each pixel is reached equally often.

# %%
counts = {k: conv_transpose2d(torch.ones(1, 1, 7, 7), torch.ones(1, 1, k, k), stride=2)[0, 0] for k in (3, 4)}
figure, axes = plt.subplots(1, 2, figsize=(7, 3.5))
for axis, (k, count) in zip(axes, counts.items()):
    axis.imshow(count.numpy(), cmap="viridis", vmin=0, vmax=4)
    axis.set_title(f"kernel {k}, stride 2")
plt.show()
inner = {k: count[3:-3, 3:-3] for k, count in counts.items()}
assert inner[3].unique().tolist() == [1, 2, 4]
assert inner[4].unique().tolist() == [4]

# %% [markdown]
# ## LeakyReLU, sigmoid and tanh
#
# G learns only from the gradient that comes back through D. A ReLU of D passes none where its input is negative;
# LeakyReLU passes a fifth of it. In G's last layer
# the activation sets the *range* of the pixels: sigmoid gives [0, 1], tanh [-1, 1]. The images must be brought into
# the same range, or D tells the two apart without looking at a single shape.

# %%
images = torch.tensor(open_images(DataOptions(source="digits28")).images[:2000])  # uint8 [2000 1 28 28]
in_tanh_range = images / 127.5 - 1
in_sigmoid_range = images / 255
for name, values in {"for tanh": in_tanh_range, "for sigmoid": in_sigmoid_range}.items():
    print(f"{name}: {values.min():g} to {values.max():g}")

# %% [markdown]
# ## The classic pair
#
# G: a dense layer from 100 numbers to a map of 7×7 with 256 channels, then 14×14 with 128, then 28×28 with 64, and
# the image. D: the way back. At full width they have 1,925,633 and 138,561 parameters; the loop below has an eighth
# of the channels, so that a laptop trains them in minutes.


# %%
def make_pair(width):
    """G: z float [n 100] -> images float [n 1 28 28] in [-1, 1]; D: images -> logits [n 1]."""
    G = nn.Sequential(
        *[nn.Linear(100, 49 * 4 * width), nn.LeakyReLU(0.2), nn.Unflatten(1, (4 * width, 7, 7))],
        *[nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
        *[nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(width, 1, 7, padding=3), nn.Tanh()],
    )
    D = nn.Sequential(
        *[nn.Conv2d(1, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)],
        *[nn.Flatten(), nn.Linear(49 * 2 * width, 1)],
    )
    return G, D


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


G, D = make_pair(64)
print(f"at full width G has {count(G):,} parameters, D {count(D):,}")
assert (count(G), count(D)) == (1_925_633, 138_561)
assert G(torch.zeros(2, 100)).shape == (2, 1, 28, 28)


# %%
def train(reals, rounds):
    """The non-saturating game; returns G and the diagnosis of the loop."""
    torch.manual_seed(1)
    G, D = make_pair(8)
    optimisers = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (D, G)]
    with ganvas.watch(G, D, data=reals, every=25) as probe:
        for _ in range(rounds):
            real = reals[torch.randint(len(reals), (32,))]
            fake = G(torch.randn(32, 100))
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


ROUNDS = 120 if FAST else 1500
G, diagnosis = train(in_tanh_range, ROUNDS)
show(G)
assert "different ranges" not in str(diagnosis)

# %% [markdown]
# Neighbouring pixels belong together: these are strokes, not the specks of lesson 1. The recipe `cnn` of Ganvas is
# this pair, and `cnn-stable` the same networks with a loss that needs no luck (lessons 5 and 6).
#
# ## Broken on purpose
#
# One line is forgotten: the images stay in [0, 1], while G ends in tanh. Nothing crashes.

# %%
G, diagnosis = train(in_sigmoid_range, ROUNDS)
show(G)
assert "different ranges" in str(diagnosis)

# %% [markdown]
# The diagnosis names both ranges. The remedy is one line: `images / 127.5 - 1`, or a sigmoid as G's last
# activation. Ganvas reads pixels of any range and brings them into that of G itself; in a loop of your own this
# line is yours.
#
# ## Three questions
#
# 1. A transposed convolution with kernel 5, stride 2, padding 2 and `output_padding=1`: what side does the
#    output of a 7×7 map have?
# 2. Which kernels up to 6, with equal weights, make no checkerboard at stride 2?
# 3. All activations of D are LeakyReLU(0.2). By which factor do three of them shrink the gradient at most?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
layer = nn.ConvTranspose2d(1, 1, 5, stride=2, padding=2, output_padding=1)
print("1.", layer(torch.zeros(1, 1, 7, 7)).shape[2])
assert layer(torch.zeros(1, 1, 7, 7)).shape[2] == (7 - 1) * 2 - 2 * 2 + 5 + 1 == 14  # 1.

even = []
for k in range(2, 7):
    reached = conv_transpose2d(torch.ones(1, 1, 9, 9), torch.ones(1, 1, k, k), stride=2)[0, 0, 5:-5, 5:-5]
    even += [k] if len(reached.unique()) == 1 else []
print("2.", even)
assert even == [2, 4, 6]  # 2. the multiples of the stride

z = torch.tensor(-1.0, requires_grad=True)
nn.Sequential(nn.LeakyReLU(0.2), nn.LeakyReLU(0.2), nn.LeakyReLU(0.2))(z).backward()
print(f"3. {1 / z.grad.item():.0f} times")
assert round(z.grad.item(), 4) == 0.008  # 3. 0.2 to the third power: 125 times; a ReLU would pass nothing

# %% [markdown]
# ## An exercise with your own pictures
#
# `ganvas train cnn-stable --data photos --resolution 32 --minutes 5`, and look at the film `training.webp` in the
# folder of the run: what appears first, colours or shapes? Then, in this lesson, change the kernel of G's two
# `ConvTranspose2d` to 3 (with `output_padding=1` beside `padding=1`), train on the digits again, and look for the
# checkerboard.
