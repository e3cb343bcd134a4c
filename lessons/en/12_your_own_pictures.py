# %% [markdown]
# # 12. Your own pictures
#
# **The claim.** *A folder of pictures is enough; the machine does the rest.* So says every tool for makers, and
# of the typing it is true. Between the folder and a picture worth sharing lie four questions that no machine
# answers unasked: are the files what you think they are? Does the training learn? How good are the pictures, and
# compared with what? What can the generator draw, and what can it not?
#
# This lesson walks the whole way once, from a folder to a web page that draws. Beside each call of Python stands
# the command that does the same in a terminal.

# %%
import math
import os
from importlib.util import find_spec
from pathlib import Path
from shutil import copy

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

import ganvas
from ganvas.data import inspect

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
HERE = Path("runs/lesson-12")

# %% [markdown]
# ## A folder
#
# Our pictures are drawn by code: fish, flowers and houses, each with colours, sizes and places of its own.
# Imagine your photos instead. The names of the sub-folders become the classes, and a folder `test` beside `train`
# is kept for the end: the generator never sees it.


# %%
def draw(kind, random):
    """A drawing of 96×96 as a Pillow image."""

    def tint(low, high, light):
        return f"hsl({random.integers(low, high)}, {random.integers(60, 90)}%, {light}%)"

    x, y, r = 48 + random.normal(0, 5), 48 + random.normal(0, 4), random.uniform(15, 21)
    sky = {"fish": tint(185, 220, 78), "flower": tint(60, 110, 88), "house": tint(195, 230, 90)}
    canvas = Image.new("RGB", (96, 96), sky[kind])
    pen = ImageDraw.Draw(canvas)
    if kind == "fish":
        body, side = tint(0, 50, 55), random.choice([-1, 1])
        pen.polygon([(x - side * r, y), (x - side * 2 * r, y - r), (x - side * 2 * r, y + r)], fill=body)
        pen.ellipse([x - 1.5 * r, y - 0.9 * r, x + 1.5 * r, y + 0.9 * r], fill=body)
        pen.ellipse([x + side * r - 4, y - 9, x + side * r + 4, y - 1], fill="white", outline="black", width=2)
    elif kind == "flower":
        y, petals, petal = y - 8, random.integers(5, 8), tint(280, 350, 60)
        pen.line([x, y, x + random.normal(0, 6), 96], fill=tint(100, 140, 30), width=6)
        for angle in 2 * math.pi * (np.arange(petals) / petals + random.random()):
            u, v = x + r * math.cos(angle), y + r * math.sin(angle)
            pen.ellipse([u - 0.6 * r, v - 0.6 * r, u + 0.6 * r, v + 0.6 * r], fill=petal)
        pen.ellipse([x - 0.6 * r, y - 0.6 * r, x + 0.6 * r, y + 0.6 * r], fill=tint(40, 55, 55))
    else:
        pen.rectangle([0, y + 1.4 * r, 96, 96], fill=tint(90, 130, 45))
        pen.rectangle([x - r, y - 0.2 * r, x + r, y + 1.5 * r], fill=tint(20, 60, 78))
        pen.polygon([(x - 1.4 * r, y - 0.2 * r), (x, y - 1.5 * r), (x + 1.4 * r, y - 0.2 * r)], fill=tint(0, 25, 40))
        pen.rectangle([x - 0.3 * r, y + 0.5 * r, x + 0.3 * r, y + 1.5 * r], fill=tint(15, 30, 25))
    return canvas


# %%
random = np.random.default_rng(0)
for split, count in {"train": 150, "test": 80}.items():
    for kind in ("fish", "flower", "house"):
        folder = HERE / "drawings" / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            draw(kind, random).save(folder / f"{kind}{i:03}.png")

# A real folder is never clean. A download that was interrupted, and some files that were saved twice:
fish = HERE / "drawings/train/fish"
(fish / "broken.png").write_bytes((fish / "fish000.png").read_bytes()[:200])
for i in range(8):
    copy(fish / f"fish{i:03}.png", fish / f"copy of fish{i:03}.png")

# %% [markdown]
# ## Look before you train
#
# In a terminal: `ganvas data drawings --resolution 32`. It reads every file, and says what a training would make
# of the folder: the decisions that it takes by itself, and the problems.

# %%
report = inspect(HERE / "drawings", resolution="32", quiet=True)
print(report)
assert report.count == 458
assert report.class_counts == {"fish": 158, "flower": 150, "house": 150}
assert [name for name, reason in report.bad_files] == ["train/fish/broken.png"]
assert report.duplicate_count == 8

# %% [markdown]
# The broken file would be left out of a training anyway. The copies would not: each is a picture that counts
# twice, and one that is copied into the test split makes every later number too good. The report names them, so a
# loop throws them away:

# %%
for name, _ in report.bad_files:
    (HERE / "drawings" / name).unlink()
for _, *copies in report.duplicate_groups:
    for name in copies:
        (HERE / "drawings" / name).unlink()
report = inspect(HERE / "drawings", resolution="32", quiet=True)
assert (report.count, report.duplicate_count, report.bad_files) == (450, 0, ())
assert not report.warnings

# %% [markdown]
# ## Train
#
# For photos, `ganvas train --data photos` takes the recipe `fast`: a discriminator that looks through a small
# frozen network, so that it need not learn to see first (Sauer et al. 2021). It needs ten minutes. Our drawings
# are flat and small; for them two small networks that begin from nothing show something within two. In a
# terminal:
#
# `ganvas train cnn-stable --data drawings --resolution 32 --conditional --kimg 20 --batch 16 --g-width 24
# --d-width 16 --g-lr 2e-3..2e-4:cosine --d-lr 2e-3..2e-4:cosine`
#
# With `--conditional`, G and D are told the class. A *kimg* is a thousand real pictures shown to D. With
# `--on-failure stop` a training examines itself at each line of its statistics, and ends when it has failed, so
# that nobody waits for nothing.


# %%
def train(name, kimg, rate="2e-3..2e-4:cosine", **knobs):
    """Trains on the drawings, in the folder runs/lesson-12/name."""
    small = {"batch": 16, "g_width": 24, "d_width": 16}
    data = {"data": str(HERE / "drawings"), "resolution": "32", "conditional": True}
    place = {"out": str(HERE), "name": name, "quiet": True, "plot": False, "snapshot_kimg": kimg}
    return ganvas.train("cnn-stable", kimg=kimg, g_lr=rate, d_lr=rate, **small, **data, **place, **knobs)


run = train("good", kimg=0.2 if FAST else 20, tick_kimg=0.1 if FAST else 2, on_failure="stop")


# %%
def show(image, title):
    plt.figure(figsize=(9, 3.4))
    plt.imshow(np.asarray(image))
    plt.title(title)
    plt.axis("off")
    plt.show()


generator = ganvas.load(run)
show(generator.sample(range(30)).grid(), "ganvas sample RUN --seeds 0-29")

# %% [markdown]
# The same seed always gives the same picture. Look for three things, in this order: are they *sharp* enough to be
# told apart, are they *right* (an eye, a stem, a door), and are they *different* from each other?
#
# ## Broken on purpose
#
# Somebody has read that a learning rate of 0.1 is usual. It is, for plain gradient descent on ImageNet. These
# networks are trained by Adam, whose first steps have about the size of the rate itself, whatever the gradient.
# The training writes a line of statistics after every round (`--tick-kimg 0.016`, one batch):

# %%
try:
    train("broken", kimg=1, rate="0.1", tick_kimg=0.016, on_failure="stop")
    raise AssertionError("it was to stop")
except ganvas.GanvasError as error:
    print(error)
broken = HERE / "broken"
show(ganvas.load(broken).sample(range(30)).grid(), "a learning rate of 0.1")
diagnosis = ganvas.diagnose(broken)
print(diagnosis)
assert "learning rate is too high" in str(diagnosis)

# %% [markdown]
# In a terminal: `ganvas diagnose RUN`. It has stopped after the first batch. No picture was needed, and no
# patience: the diagnosis compares the size of an update with that of the weights. One update has written over all
# that G's weights were. The remedy that it names is a tenth of the rate, and, where that is still too much, a
# tenth again; the first training had a fiftieth. It has run to its end:

# %%
diagnosis = ganvas.diagnose(run)
print(diagnosis)
assert "learning rate is too high" not in str(diagnosis)

# %% [markdown]
# ## How good, compared with what?
#
# `ganvas evaluate RUN` compares generated pictures with real ones by the distribution of their features. The
# *Fréchet distance* alone says nothing: a value of 3 may be splendid for one set and poor for another. So each
# number has its **real-data baseline** beside it, what as many held-out real pictures get in place of the
# generated ones. Here these are the drawings of `test`, which nobody has trained on.

# %%
distance = ganvas.evaluate(run, quick=True, quiet=True).values["frechet"]
print(f"Fréchet distance: {distance.value:.3f}; real drawings: {distance.baseline:.3f}")
assert distance.value > 10 * distance.baseline > 0

# %% [markdown]
# A distance far below 1 looks like a triumph, until one reads the number beside it: real drawings are many times
# nearer. Look at the pictures again, they agree. Twenty kimg are a beginning.
#
# Without `quick=True` the evaluation also looks for *copies*: whether generated pictures lie nearer to the
# training pictures than other real ones do. With a few hundred pictures that question is never idle, see below.
#
# ## What it can draw, and what it cannot
#
# Can the generator draw *this* picture? `ganvas project RUN photo.png` searches its latent space for the nearest
# one. We ask for two drawings of the test folder, and for a photo of a temple.

# %%
Image.fromarray(load_sample_image("china.jpg")).save(HERE / "temple.png")
asked = [HERE / "drawings/test/fish/fish001.png", HERE / "drawings/test/house/house001.png", HERE / "temple.png"]
places = ganvas.project(run, asked, steps=12 if FAST else 120, references=0, quiet=True)
show(places.sheet(), "ganvas project RUN fish001.png house001.png temple.png")
print("distances:", places.distances.round(3))
assert places.distances[2] > places.distances[:2].max()

# %% [markdown]
# The temple becomes a house, or whatever comes nearest: a generator knows the pictures of its folder and the
# space between them, and nothing else. That is also why it is no search engine for your photos: what comes back
# is a relative, not the original.
#
# ## A page that draws
#
# `ganvas export RUN --to web --out drawings.html` writes one file of HTML. It holds the generator, draws in any
# browser, and needs neither Python nor a network: send it to a friend. `--to onnx` writes a file for other
# programs. Before anything is written, its pictures are compared with ours. Both need `pip install
# 'ganvas[export]'`.

# %%
missing = [package for package in ("onnx", "onnxscript", "onnxruntime") if find_spec(package) is None]
if missing:
    print(f"No page without {', '.join(missing)}: pip install 'ganvas[export]'")
else:
    page = HERE / "drawings.html"
    print(ganvas.export(run, to="web", out=page))
    assert page.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")

# %% [markdown]
# Before you share: may you? A generator that was trained on pictures of others holds something of them, and on
# faces of people, of people. The page says what it was made from, and nothing of who agreed.
#
# ## Three questions
#
# 1. The generator has three classes, and you ask for seed 7 without naming one. Which does it draw?
# 2. If G kept one value of a pixel in each weight, could it keep the whole folder, at 32×32?
# 3. `--kimg 20` with 450 drawings: how often is each of them shown to D, on average?
#
# The answers are in the next cell, computed.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
drawn = generator.sample([7])
print("1.", ("fish", "flower", "house")[drawn.labels[0]])
assert ("fish", "flower", "house")[drawn.labels[0]] == "flower"  # 1. the remainder: 7 = 2 · 3 + 1, and fish is 0
assert np.array_equal(drawn, generator.sample([7]))

weights = sum(weight.numel() for weight in generator.generator.parameters())
print(f"2. {weights:,} weights, {450 * 3 * 32 * 32:,} numbers in the pictures")
assert weights < 450 * 3 * 32 * 32  # 2. no: it has about half as many, and has to find what drawings share

print("3.", round(20 * 1000 / report.count))
assert round(20 * 1000 / report.count) == 44  # 3.

# %% [markdown]
# ## An exercise with your own pictures
#
# Put at least two hundred photos of one kind of thing into `photos`, and go the same way: `ganvas data photos`,
# then `ganvas train --data photos --minutes 10`, `ganvas diagnose RUN`, `ganvas evaluate RUN`, `ganvas sample RUN
# --out grid.png`, `ganvas export RUN --to web --out photos.html`, where RUN is the folder that the training
# names. Write down before each step what you expect. Which answer surprised you?
