# %% [markdown]
# # 8. Faces
#
# **The claim.** With a few rules about the layers, a GAN of convolutions learns to draw faces from a hundred random
# numbers: this is the *DCGAN* of Radford et al. 2015. It needs many pictures: with few, D learns them by heart, and
# G learns nothing from such a D (Karras et al. 2020; Zhao et al. 2020).
#
# This lesson draws a data set of faces, keeps it in a zip, builds the DCGAN, lets it overfit on twenty pictures,
# and helps it with augmentation. It takes about three minutes on a laptop, offline.

# %%
import io
import os
import random
import zipfile

import matplotlib.pyplot as plt
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn.functional import softplus

import ganvas
from ganvas.data import DataOptions, open_images
from ganvas.game.augment import diffaugment

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Faces that are drawn
#
# Photographs of faces need a download, and the consent of people. Drawn faces need neither: a head on a plain
# ground, hair, eyes and a mouth, each of a random shape, place and colour. Every picture is drawn four times as
# large and averaged down to 32×32, so that edges are smooth.


# %%
def draw_face(rng):
    """A face of random shapes and colours: a picture of 32×32 pixels."""
    ground = rng.choice(["#9fc9eb", "#f6d6d6", "#cfe8cf", "#e6dcf5"])
    skin = rng.choice(["#ffe0bd", "#f1c27d", "#d9a066", "#a56b3f", "#6b4226"])
    hair = rng.choice(["#1b1b1b", "#5a3214", "#b5651d", "#e8c15a", "#b22222", "#9a9a9a"])
    picture = Image.new("RGB", (128, 128), ground)
    pen = ImageDraw.Draw(picture)

    x, y = 64 + rng.randint(-6, 6), 68 + rng.randint(-4, 4)  # the middle of the head
    w, h = rng.randint(36, 46), rng.randint(42, 52)  # half its width, half its height
    down = h + 8 if rng.random() < 0.4 else h // 3  # long hair, or short
    pen.ellipse([x - w - 7, y - h - 10, x + w + 7, y + down], fill=hair)
    pen.ellipse([x - w, y - h, x + w, y + h], fill=skin)
    fringe = rng.randint(30, 55)
    pen.chord([x - w, y - h - 3, x + w, y + h], 270 - fringe, 270 + fringe, fill=hair)

    apart, r, iris = rng.randint(16, 20), rng.randint(7, 10), rng.choice(["#1b1b1b", "#2d5fa4", "#3c7a3c"])
    for eye in (x - apart, x + apart):
        pen.ellipse([eye - r, y - 6 - r, eye + r, y - 6 + r], fill="white")
        pen.ellipse([eye - r // 2 - 1, y - 7 - r // 2, eye + r // 2 + 1, y - 5 + r // 2], fill=iris)
    m = rng.randint(12, 20)
    if rng.random() < 0.5:  # a smile, or not
        pen.chord([x - m, y + 8, x + m, y + 36], 10, 170, fill="#a02030")
    else:
        pen.line([x - m, y + 28, x + m, y + 28], fill="#a02030", width=6)
    return picture.resize((32, 32), Image.Resampling.BOX)


# %% [markdown]
# ## A zip is a data set
#
# Two hundred thousand small files are slow to copy and to delete. One zip is one file, and it need not be unpacked:
# a table at its end says where each picture begins, so a program reads any one of them alone. Writing it is as
# simple. The folders `train` and `test` inside are two *splits*: Ganvas trains on the first, and keeps the second
# to judge.


# %%
def write_zip(path, count, held_out=500):
    """Draws faces straight into a zip, as PNG files."""
    rng = random.Random(count)
    with zipfile.ZipFile(path, "w") as archive:  # stored as they are: a PNG is compressed already
        for i in range(count + held_out):
            file = io.BytesIO()
            draw_face(rng).save(file, "PNG")
            split = "train" if i < count else "test"
            archive.writestr(zipfile.ZipInfo(f"{split}/{i:05}.png"), file.getvalue())


def read(path, split):
    """The pictures of a split: float [n 3 32 32] in [-1, 1]."""
    return torch.tensor(open_images(DataOptions(path, split=split)).images[:]) / 127.5 - 1


os.makedirs("runs/lesson-8", exist_ok=True)
write_zip("runs/lesson-8/faces.zip", 300 if FAST else 4000)
faces, unseen = read("runs/lesson-8/faces.zip", "train"), read("runs/lesson-8/faces.zip", "test")
print(
    f"{len(faces):,} faces to train on, {len(unseen)} others, {os.path.getsize('runs/lesson-8/faces.zip') / 1e6:.1f} MB"
)
assert faces.shape[1:] == (3, 32, 32)
assert len(unseen) == 500


# %%
def show(*rows, title):
    """Rows of pictures, float [n 3 32 32] each."""
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)
    plt.figure(figsize=(sheet.shape[2] / 40, sheet.shape[1] / 40 + 0.3))
    plt.imshow((sheet / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy())
    plt.title(title)
    plt.axis("off")
    plt.show()


show(faces[:12], faces[12:24], title="drawn faces")

# %% [markdown]
# With photographs it is the same. CelebA (Liu et al. 2015) comes as one zip of 200,000 faces, and stays one:
# `ganvas data img_align_celeba.zip` says what is in it, and `ganvas train dcgan --data img_align_celeba.zip
# --resolution 64 --mirror` trains on it. Its pictures of 178×218 pixels are cropped to a square and reduced while
# they are read, once.
#
# ## The rules of the DCGAN
#
# 1. No pooling: strided convolutions in D, transposed ones in G (lesson 2).
# 2. Batch norm in both, except in G's last layer and in D's first. (D's last, the logit, has none either.)
# 3. No hidden dense layers: z itself is a map of 1×1 with a hundred channels.
# 4. ReLU in G, and tanh at its end; LeakyReLU with 0.2 in D.
# 5. Weights from a normal distribution with deviation 0.02, and Adam with β₁ = 0.5.
#
# None of them is a law: the authors found them by trying many networks. With rule 5, G's first pictures are nearly
# grey and D's first logits nearly 0. A convolution before a batch norm has no bias: batch norm would subtract it
# again.

# %%
WIDTH = 16  # channels of the largest map; 128 in the paper, for 64×64


def up(before, after):
    """Twice the side: float [n before s s] -> [n after 2s 2s]."""
    return [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]


def down(before, after):
    """Half the side: float [n before s s] -> [n after s/2 s/2]."""
    return [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]


def draw_weights(layer):
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(layer.weight, 0, 0.02)
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1, 0.02)


def make_pair():
    """G: z float [n 100] -> pictures float [n 3 32 32] in [-1, 1]; D: pictures -> logits [n 1]."""
    first = [nn.ConvTranspose2d(100, 4 * WIDTH, 4, bias=False), nn.BatchNorm2d(4 * WIDTH), nn.ReLU()]  # 1×1 -> 4×4
    to_picture = [nn.ConvTranspose2d(WIDTH, 3, 4, 2, 1), nn.Tanh()]  # 16×16 -> 32×32
    from_picture = [nn.Conv2d(3, WIDTH, 4, 2, 1), nn.LeakyReLU(0.2)]
    to_logit = [nn.Conv2d(4 * WIDTH, 1, 4), nn.Flatten()]  # 4×4 -> 1×1
    G = [nn.Unflatten(1, (100, 1, 1)), *first, *up(4 * WIDTH, 2 * WIDTH), *up(2 * WIDTH, WIDTH), *to_picture]
    D = [*from_picture, *down(WIDTH, 2 * WIDTH), *down(2 * WIDTH, 4 * WIDTH), *to_logit]
    return nn.Sequential(*G).apply(draw_weights), nn.Sequential(*D).apply(draw_weights)


# %%
torch.manual_seed(0)
G, D = make_pair()
with torch.no_grad():
    first, logits = G(torch.randn(64, 100)), D(faces[:64])
print(f"first pictures: deviation {first.std():.3f}; first logits: deviation {logits.std():.3f}")
assert first.shape == (64, 3, 32, 32)
assert first.std() < 0.15  # grey
assert logits.std() < 0.5  # D is not sure of anything

# %% [markdown]
# ## From noise to a face
#
# The loop is that of lesson 2, with one more word: `augment`, a function for everything that D receives. For now it
# changes nothing. The 500 pictures that are never trained on are given to `ganvas.watch` as `held_out`.


# %%
def unchanged(images):
    return images


def train(images, rounds, augment=unchanged):
    """Returns pictures of the same twelve z through time, the diagnosis, and how well D knows its pictures."""
    torch.manual_seed(1)
    G, D = make_pair()
    optimisers = [torch.optim.Adam(network.parameters(), RATE, (0.5, 0.999)) for network in (D, G)]
    z, film = torch.randn(12, 100), []
    with ganvas.watch(G, D, data=images, held_out=unseen, every=9 if FAST else 25) as probe:
        for i in range(rounds):
            real = images[torch.randint(len(images), (32,))]
            fake = G(torch.randn(32, 100))
            d_loss = softplus(-D(augment(real))).mean() + softplus(D(augment(fake.detach()))).mean()
            optimisers[0].zero_grad()
            d_loss.backward()
            optimisers[0].step()
            g_loss = softplus(-D(augment(fake))).mean()
            optimisers[1].zero_grad()
            g_loss.backward()
            optimisers[1].step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
            if i + 1 in (rounds // 12, rounds // 3, rounds):
                with torch.no_grad():
                    film.append(G(z))
    return film, probe.diagnosis(), probe.history["D/held_auc"].recent(5)


ROUNDS, RATE = (90, 1e-3) if FAST else (500, 5e-4)
film, diagnosis, knows = train(faces, 24 if FAST else ROUNDS)
show(*film, title="the same z after a twelfth, a third, and all of the rounds")
assert "memorised the training images" not in str(diagnosis)

# %% [markdown]
# First a blot in the middle, then heads with eyes, then hair and colours: the coarse before the fine. In Ganvas
# this pair is the recipe `dcgan`, for pictures of any size. It differs in one point that you see at once: pictures
# are drawn by a running *average* of G's weights, which smooths out the last few rounds. At full width it is the
# network of the paper; here it is as narrow as ours.

# %%
run = ganvas.train(
    "dcgan",
    data="runs/lesson-8/faces.zip",
    resolution="32",  # 64 in the recipe
    kimg=0.5 if FAST else 12,
    batch=32,
    g_width=WIDTH,
    d_width=WIDTH,
    g_lr=1e-3,
    d_lr=2e-4,  # slower: D is ahead at first anyway
    ema=1.0,  # half-life of the average, in thousands of images
    out="runs/lesson-8",
    quiet=True,
)
plt.figure(figsize=(9, 2.3))
plt.imshow(ganvas.load(run.path).sample(range(24)).grid(columns=12))
plt.title("the recipe dcgan")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Broken on purpose
#
# How many pictures does a GAN need? The networks, the loop and the number of rounds stay. The zip holds twenty
# faces.

# %%
write_zip("runs/lesson-8/few.zip", 20, held_out=0)
few = read("runs/lesson-8/few.zip", "train")
film, diagnosis, knows = train(few, ROUNDS)
print(f"D ranks a training picture above an unseen one in {100 * knows:.0f} % of pairs")
assert "memorised the training images" in str(diagnosis)
assert knows > 0.58

# %% [markdown]
# D has memorised the training images: it ranks them above faces that it has never seen, although both come from the
# same `draw_face`. For this D, "real" means "one of the twenty". Its loss does not say so: a D that knows its
# pictures by heart has a low loss, as a good one has. Only pictures that were held out tell the two apart.
#
# And G? The best that it can do against such a D is to copy. So look at its pictures beside the training pictures
# that are nearest to them:


# %%
def nearest(pictures, images):
    """For each picture, float [n 3 32 32], the one of the images whose pixels are nearest."""
    return images[torch.cdist(pictures.flatten(1), images.flatten(1)).argmin(1)]


show(film[-1], nearest(film[-1], few), title="twenty faces: G's pictures, and the nearest training picture of each")

# %% [markdown]
# ## Augmentation, of everything that D sees
#
# In classification one shifts, recolours and cuts the training pictures, and has more of them. In a GAN that alone
# is a mistake: D would learn that shifted and blue faces are real, and G would draw them. The remedy of Zhao et al.
# 2020 (DiffAugment) and Karras et al. 2020 (ADA) is one word longer: D sees *nothing* without the random T, neither
# real nor fake, and G learns through it:
#
# $$L_D = -\mathbb{E} \log D(T(x)) - \mathbb{E} \log (1 - D(T(G(z)))), \quad L_G = -\mathbb{E} \log D(T(G(z))).$$
#
# So T has to be differentiable: brightness, shifts and a cut-out square are. Below is what D sees of one face.

# %%
torch.manual_seed(0)
show(few[:1].expand(12, -1, -1, -1), diffaugment(few[:1].expand(12, -1, -1, -1), 1.0), title="one face, and T of it")


# %%
def augment(images):
    """Another colour, place and cut-out square for each picture: float [n 3 32 32] -> the same shape."""
    return diffaugment(images, 1.0)


film, diagnosis, knows_augmented = train(few, ROUNDS, augment)
show(film[-1], nearest(film[-1], few), title="with augmentation: G's pictures, and the nearest training pictures")
print(f"D ranks a training picture above an unseen one in {100 * knows_augmented:.0f} % of pairs")
assert knows_augmented < knows - 0.04

# %% [markdown]
# D is now less sure of its twenty pictures, and G's have lost their specks. In Ganvas the knob is `augment`:
# "diffaugment" is this T; "ada" has more transformations and, with `ada_target=0.6`, adapts their probability to
# how much D overfits. Both stretch a small data set. They add no kind of face that it does not hold.
#
# ## Three questions
#
# 1. The PNG files are stored in the zip as they are. How much smaller would the zip be with its compression
#    (DEFLATE) switched on: half, a tenth less, or hardly at all?
# 2. Each real picture is shown to D how often in the run with twenty faces, and how often with four thousand?
# 3. T turns each picture by 0, 90, 180 or 270 degrees, all equally likely. Can D still tell a G that draws all
#    faces upside down from a good one? And if T leaves a fifth of all pictures as they are?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
with (
    zipfile.ZipFile("runs/lesson-8/few.zip") as stored,
    zipfile.ZipFile("runs/lesson-8/packed.zip", "w", zipfile.ZIP_DEFLATED) as packed,
):
    for name in stored.namelist():
        packed.writestr(name, stored.read(name))
print("1. from", os.path.getsize("runs/lesson-8/few.zip"), "to", os.path.getsize("runs/lesson-8/packed.zip"), "bytes")
assert os.path.getsize("runs/lesson-8/packed.zip") > 0.95 * os.path.getsize(
    "runs/lesson-8/few.zip"
)  # 1. hardly: a PNG is DEFLATE already

print(f"2. {500 * 32 // 20} times, and {500 * 32 // 4000} times")
assert 500 * 32 // 20 == 800  # 2. 800 times ...
assert 500 * 32 / 4000 == 4  # ... and four times: it cannot learn those by heart

good, upside_down = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0, 0, 1.0, 0])  # 3. shares of the four directions
for p in (1.0, 0.8):
    seen = [(1 - p) * shares + p * torch.full((4,), 1 / 4) for shares in (good, upside_down)]
    print(f"3. turned with p = {p:g}: D sees", *[[round(share, 2) for share in shares.tolist()] for shares in seen])
    assert torch.equal(*seen) == (p == 1)  # no if all are turned: both look the same to D; yes if a fifth is not

# %% [markdown]
# ## An exercise with your own pictures
#
# Put fifty photos of one kind into a zip, and let `ganvas data photos.zip` judge them: is it content with their
# number? Then train twice: `ganvas train cnn-stable --data photos.zip --resolution 32 --minutes 5`, and the same
# with `--augment diffaugment --mirror`. Which of the two runs does `ganvas evaluate` call a copy? It writes
# `closest.png`: generated pictures beside the training pictures that are nearest to them.
