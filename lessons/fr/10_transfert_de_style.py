# %% [markdown]
# # 10. Transfert de style
#
# **L'affirmation.** On peut redessiner une photo dans le style d'un tableau sans aucune paire d'exemples et sans
# entraînement : *le contenu d'une image, c'est ce qu'un réseau voit et à quel endroit ; son style, c'est ce que
# le réseau voit, peu importe où* (Gatys et al. 2016). Un optimiseur change les pixels jusqu'à ce que les deux
# correspondent.
#
# Il y a un seul réseau dans cette leçon, il n'apprend jamais, et les seuls paramètres sont les pixels d'une
# image. Nous construisons la méthode à la main en quarante lignes, à partir de la photo puis à partir de bruit,
# nous regardons chacun de ses trois termes, et nous la cassons avec une ligne qui paraît inoffensive.

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
# ## Une photo et un tableau
#
# La photo est fournie avec scikit-learn. Le tableau est dessiné par du code, pour que personne n'ait à en
# télécharger un : quelques milliers de traits courts qui tournent autour de trois lumières. Plus tard, prenez-en
# un vrai.


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
# ## Un réseau qui regarde
#
# Gatys et al. prennent VGG-19, entraîné sur ImageNet : 575 Mo de poids à télécharger. Ganvas est fourni avec un
# réseau de la même construction, mais petit : l'*œil* (`eye`), huit convolutions en quatre blocs, entraîné sur
# CIFAR-10 et MNIST. Ses couches portent les noms de celles de VGG. Il suffit pour voir comment la méthode marche.
# Si vous avez VGG-19, ou pouvez le télécharger, mettez `ganvas.features.weights.load_network("vgg19")` à la place
# de `build_eye()` : rien d'autre ne change.

# %%
network = build_eye()
STYLE, CONTENT = ("relu1_1", "relu2_1", "relu3_1", "relu4_1"), "relu3_1"
for name, maps in network.features(photo, STYLE).items():
    print(f"{name}: {maps.shape[1]} channels of {maps.shape[2]}×{maps.shape[3]}")
assert not any(weight.requires_grad for weight in network.parameters())

# %% [markdown]
# ## Ce qui est où, et ce qui est là tout court
#
# Une couche donne à chaque position p un vecteur F(p) de c caractéristiques. Pour le contenu, on compare ces
# vecteurs position par position. Pour le style, on oublie les positions : pour chaque paire de canaux, on prend
# la moyenne du produit sur toutes les positions. C'est la **matrice de Gram**
#
# $$G_{ij} = \frac{1}{hw} \sum_p F_i(p)\, F_j(p).$$
#
# Elle dit quelles caractéristiques apparaissent ensemble, « bleu » et « bord oblique », et non où. Elle doit donc
# rester la même quand on mélange les positions, alors que le contenu change du tout au tout :


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
# ## La méthode, en quarante lignes
#
# Trois termes. Le *style* : les matrices de Gram de quatre couches, comparées à celles du tableau. Le *contenu* :
# les caractéristiques d'une couche profonde, comparées à celles de la photo. La *variation totale* : les carrés
# des différences entre pixels voisins, car un réseau voit mal le bruit le plus fin (Mahendran & Vedaldi 2015). La
# somme diminue par descente de gradient sur les pixels. Gatys et al. utilisent L-BFGS ; Adam est plus simple et
# demande plus de pas. Après chaque pas, les pixels sont ramenés dans l'intervalle permis.


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
# Les trois images ont les traits du tableau, et son bleu. À partir de la photo, l'optimiseur en reste proche. À
# partir de bruit, le temple revient à partir des seules caractéristiques : elles gardent les formes, et non les
# couleurs des pixels. Sans le terme de contenu, rien ne dit où quoi que ce soit doit être, et il reste une
# *texture* (Gatys et al. 2015). Le jaune des lumières est faible : un petit réseau, qui a appris sur de toutes
# petites photos, dit peu de chose des couleurs.
#
# ## Les poids sont un choix
#
# Personne ne peut dire quelle image est la bonne : le poids du contenu décide. Remarquez ce qui n'est *pas* à
# décider ici. Dans beaucoup de tutoriels, le poids du style vaut 1 000 000, car leurs termes sont des sommes sur
# les caractéristiques et les positions. Les nôtres sont relatifs à la cible, si bien que des poids de l'ordre de
# 1 conviennent à toute couche, tout réseau et toute taille.

# %%
looser, tighter = transfer(photo, content_weight=0.01), transfer(photo, content_weight=1.0)
show({"content weight 0.01": looser, "0.1": from_photo, "1": tighter})
loose, tight = describe("content weight 0.01", looser), describe("content weight 1", tighter)
assert loose["content"] > after["content"] > tight["content"]
assert loose["style"] < tight["style"]

# %% [markdown]
# Et la variation totale ? Enlevons-la, et partons du bruit, là où il y a le plus à lisser :

# %%
grainy = transfer(noise, tv_weight=0)
show({"with total variation": from_noise, "without": grainy})
grain = describe("without total variation", grainy)
assert noisy["tv"] < 0.8 * grain["tv"]

# %% [markdown]
# ## Avec Ganvas
#
# `ganvas.stylize` est cette méthode, avec ce que l'on a appris depuis : des échelles du grossier vers le fin,
# pour que les traits deviennent plus longs que ce qu'une couche peut voir ; la photo prend la palette du tableau
# avant le premier pas ; les pixels bruts et leurs petits voisinages sont aussi des couches, si bien que les
# couleurs comptent ; un L-BFGS qui respecte l'intervalle des pixels ; et, à la place des matrices de Gram, la
# distance de Wasserstein entre deux gaussiennes, qui compare aussi les moyennes (`statistic="gram"` pour celles
# de Gatys et al.).

# %%
pixels = [((image[0] + 1) * 127.5).round().byte().numpy() for image in (photo, painting)]  # uint8 [3 h w]
styled = ganvas.stylize(*pixels, size=SIZE[0], iterations=5 if FAST else 40)
by_ganvas = torch.tensor(styled.pixels)[None] / 127.5 - 1
show({"by hand": from_photo, "by Ganvas": by_ganvas})
theirs = describe("by Ganvas", by_ganvas)
assert theirs["style"] < 0.5 * before["style"]

# %% [markdown]
# D'après la mesure de cette leçon, notre propre image est plus proche du tableau : elle a été faite pour diminuer
# exactement ce nombre. Regardez les deux images avant de le croire. Ce que l'on optimise ne peut pas juger le
# résultat, ici comme dans un GAN.
#
# ## Cassé exprès
#
# Le réseau est gelé, il n'a pas besoin de gradient : quelqu'un l'entoure donc de `torch.no_grad()`, pour
# économiser de la mémoire. Rien ne plante, car la variation totale a encore un gradient, et les trois termes
# s'affichent comme toujours.


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
# La photo devient floue, et aucun trait n'apparaît : seule la variation totale déplace encore les pixels, et le
# style est plus loin qu'avant. Dans un GAN, `ganvas.watch` appelle cela « loss not connected ». Ici, il n'y a pas
# deux réseaux à observer, et une ligne en dit autant : un terme qui doit déplacer les pixels doit avoir un
# gradient.
#
# Le remède est de geler les *poids* et de laisser ouvert le chemin à travers le réseau. C'est ce que fait
# `build_eye` : `network.requires_grad_(False)`. Il en va de même pour D dans un GAN : pendant que G apprend, D ne
# bouge pas, et tout ce que G apprend passe à travers lui.

# %%
pixels_of_photo = photo.clone().requires_grad_()
assert not measure(pixels_of_photo, look_without_gradient)["style"].requires_grad  # the line that finds it
assert measure(pixels_of_photo)["style"].requires_grad
remedied = describe("remedied", transfer(photo))
assert remedied["style"] < 0.4 * broken["style"]

# %% [markdown]
# ## Trois questions
#
# 1. Une couche a 64 canaux, et sa carte mesure 128×96. Combien de nombres différents sa matrice de Gram
#    a-t-elle ?
# 2. Le tableau est retourné en miroir, de gauche à droite. Quelles matrices de Gram restent les mêmes : celle des
#    valeurs RVB, celle de `relu1_1`, les deux, ou aucune ?
# 3. Quelqu'un oublie de diviser la matrice de Gram par le nombre de positions, et donne un tableau deux fois plus
#    large et deux fois plus haut, fait des mêmes traits. Par combien sa matrice de Gram est-elle multipliée ?
#
# Les réponses sont dans la cellule suivante, calculées.

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
# ## Un exercice avec vos propres images
#
# Prenez une de vos photos et un tableau que vous aimez : `ganvas style photo.jpg painting.jpg --out styled.png
# --gif progress.gif`. Regardez dans le film ce qui vient d'abord, les couleurs ou les traits. Puis essayez
# `--statistic gram`, `--content-weight 1`, et, avec un réseau d'ImageNet (téléchargé une fois), `--network
# vgg19`. Quel changement voyez-vous de l'autre bout de la pièce ?
