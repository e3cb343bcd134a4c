# %% [markdown]
# # 12. Vos propres images
#
# **L'affirmation.** *Un dossier d'images suffit ; la machine fait le reste.* C'est ce que dit tout outil pour
# créateurs, et pour la frappe au clavier, c'est vrai. Entre le dossier et une image digne d'être partagée, il y a
# quatre questions auxquelles aucune machine ne répond sans qu'on les lui pose : les fichiers sont-ils ce que vous
# croyez ? L'entraînement apprend-il ? Les images sont-elles bonnes, et par rapport à quoi ? Que sait dessiner le
# générateur, et que ne sait-il pas ?
#
# Cette leçon fait une fois le chemin entier, d'un dossier à une page web qui dessine. À côté de chaque appel de
# Python se trouve la commande qui fait la même chose dans un terminal.

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
# ## Un dossier
#
# Nos images sont dessinées par du code : des poissons, des fleurs et des maisons, chacun avec ses couleurs, sa
# taille et sa place. Imaginez vos photos à la place. Les noms des sous-dossiers deviennent les classes, et un
# dossier `test` à côté de `train` est gardé pour la fin : le générateur ne le voit jamais.


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
# ## Regarder avant d'entraîner
#
# Dans un terminal : `ganvas data drawings --resolution 32`. La commande lit chaque fichier, et dit ce qu'un
# entraînement ferait du dossier : les décisions prises automatiquement, et les problèmes.

# %%
report = inspect(HERE / "drawings", resolution="32", quiet=True)
print(report)
assert report.count == 458
assert report.class_counts == {"fish": 158, "flower": 150, "house": 150}
assert [name for name, reason in report.bad_files] == ["train/fish/broken.png"]
assert report.duplicate_count == 8

# %% [markdown]
# Le fichier abîmé serait de toute façon laissé de côté par un entraînement. Les copies non : chacune est une
# image qui compte deux fois, et une image copiée dans la partie de test rend trop bons tous les nombres qui
# suivent. Le rapport les nomme, une boucle suffit donc pour les jeter :

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
# ## Entraîner
#
# Pour des photos, `ganvas train --data photos` prend la recette `fast` : un discriminateur qui regarde à travers
# un petit réseau gelé, de sorte qu'il n'a pas à apprendre d'abord à voir (Sauer et al. 2021). Il lui faut dix
# minutes. Nos dessins sont plats et petits ; pour eux, deux petits réseaux qui partent de rien montrent quelque
# chose en moins de deux minutes. Dans un terminal :
#
# `ganvas train cnn-stable --data drawings --resolution 32 --conditional --kimg 20 --batch 16 --g-width 24
# --d-width 16 --g-lr 2e-3..2e-4:cosine --d-lr 2e-3..2e-4:cosine`
#
# Avec `--conditional`, on donne la classe à G et à D. Un *kimg*, ce sont mille images réelles montrées à D. Avec
# `--on-failure stop`, un entraînement s'examine lui-même à chaque ligne de ses statistiques, et s'arrête quand il
# a échoué, pour que personne n'attende pour rien.


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
# La même graine donne toujours la même image. Cherchez trois choses, dans cet ordre : les images sont-elles assez
# *nettes* pour qu'on les distingue, sont-elles *justes* (un œil, une tige, une porte), et sont-elles
# *différentes* les unes des autres ?
#
# ## Cassé exprès
#
# Quelqu'un a lu qu'un taux d'apprentissage de 0,1 est courant. Il l'est, pour la descente de gradient simple sur
# ImageNet. Ces réseaux-ci sont entraînés par Adam, dont les premiers pas ont à peu près la taille du taux
# lui-même, quel que soit le gradient. L'entraînement écrit une ligne de statistiques après chaque tour
# (`--tick-kimg 0.016`, un seul lot) :

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
# Dans un terminal : `ganvas diagnose RUN`. L'entraînement s'est arrêté après le premier lot. Il n'a fallu ni
# image ni patience : le diagnostic compare la taille d'une mise à jour à celle des poids. Une seule mise à jour a
# écrasé tout ce qu'étaient les poids de G. Le remède qu'il nomme est un dixième du taux et, si c'est encore trop,
# de nouveau un dixième ; le premier entraînement en avait le cinquantième. Il est allé jusqu'au bout :

# %%
diagnosis = ganvas.diagnose(run)
print(diagnosis)
assert "learning rate is too high" not in str(diagnosis)

# %% [markdown]
# ## Bon, par rapport à quoi ?
#
# `ganvas evaluate RUN` compare les images générées aux images réelles par la distribution de leurs
# caractéristiques. La *distance de Fréchet* seule ne dit rien : une valeur de 3 peut être excellente pour un
# ensemble et médiocre pour un autre. Chaque nombre a donc à côté de lui sa **référence réelle**, ce qu'obtiennent
# autant d'images réelles mises de côté à la place des images générées. Ici, ce sont les dessins de `test`, sur
# lesquels rien n'a été entraîné.

# %%
distance = ganvas.evaluate(run, quick=True, quiet=True).values["frechet"]
print(f"Fréchet distance: {distance.value:.3f}; real drawings: {distance.baseline:.3f}")
assert distance.value > 10 * distance.baseline > 0

# %% [markdown]
# Une distance bien inférieure à 1 a l'air d'un triomphe, jusqu'à ce qu'on lise le nombre à côté : les dessins
# réels sont bien des fois plus proches. Regardez de nouveau les images, elles disent la même chose. Vingt kimg ne
# sont qu'un début.
#
# Sans `quick=True`, l'évaluation cherche aussi des *copies* : les images générées sont-elles plus proches des
# images d'entraînement que d'autres images réelles ? Avec quelques centaines d'images, cette question n'est
# jamais vaine, voir plus bas.
#
# ## Ce qu'il sait dessiner, et ce qu'il ne sait pas
#
# Le générateur sait-il dessiner *cette* image ? `ganvas project RUN photo.png` cherche la plus proche dans son
# espace latent. Nous demandons des dessins du dossier de test, et la photo d'un temple.

# %%
Image.fromarray(load_sample_image("china.jpg")).save(HERE / "temple.png")
asked = [HERE / "drawings/test/fish/fish001.png", HERE / "drawings/test/house/house001.png", HERE / "temple.png"]
places = ganvas.project(run, asked, steps=12 if FAST else 120, references=0, quiet=True)
show(places.sheet(), "ganvas project RUN fish001.png house001.png temple.png")
print("distances:", places.distances.round(3))
assert places.distances[2] > places.distances[:2].max()

# %% [markdown]
# Le temple devient une maison, ou ce qui s'en approche le plus : un générateur connaît les images de son dossier
# et l'espace entre elles, et rien d'autre. C'est aussi pourquoi il n'est pas un moteur de recherche pour vos
# photos : ce qui revient est une image voisine, et non l'original.
#
# ## Une page qui dessine
#
# `ganvas export RUN --to web --out drawings.html` écrit un seul fichier HTML. Il contient le générateur, dessine
# dans n'importe quel navigateur, et n'a besoin ni de Python ni de réseau : envoyez-le à une amie. `--to onnx`
# écrit un fichier pour d'autres programmes. Avant que quoi que ce soit ne soit écrit, ses images sont comparées
# aux nôtres. Les deux demandent `pip install 'ganvas[export]'`.

# %%
missing = [package for package in ("onnx", "onnxscript", "onnxruntime") if find_spec(package) is None]
if missing:
    print(f"No page without {', '.join(missing)}: pip install 'ganvas[export]'")
else:
    page = HERE / "drawings.html"
    print(ganvas.export(run, to="web", out=page))
    assert page.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")

# %% [markdown]
# Avant de partager : en avez-vous le droit ? Un générateur entraîné sur les images d'autrui en garde quelque
# chose, et, sur des visages, quelque chose des personnes. La page dit de quoi elle est faite, et ne dit pas qui a
# donné son accord.
#
# ## Trois questions
#
# 1. Le générateur a trois classes, et vous demandez la graine 7 sans en nommer une. Laquelle dessine-t-il ?
# 2. Si G gardait une valeur de pixel dans chaque poids, pourrait-il garder tout le dossier, en 32×32 ?
# 3. `--kimg 20` avec 450 dessins : combien de fois chacun d'eux est-il montré à D, en moyenne ?
#
# Les réponses sont dans la cellule suivante, calculées.

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
# ## Un exercice avec vos propres images
#
# Mettez au moins deux cents photos d'un même genre de choses dans `photos`, et faites le même chemin : `ganvas
# data photos`, puis `ganvas train --data photos --minutes 10`, `ganvas diagnose RUN`, `ganvas evaluate RUN`,
# `ganvas sample RUN --out grid.png`, `ganvas export RUN --to web --out photos.html`, où RUN est le dossier que
# l'entraînement nomme. Avant chaque étape, écrivez ce que vous attendez. Quelle réponse vous a surpris ?
