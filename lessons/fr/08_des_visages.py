# %% [markdown]
# # 8. Des visages
#
# **L'affirmation.** Avec quelques règles sur les couches, un GAN de convolutions apprend à dessiner des visages à
# partir de cent nombres aléatoires : c'est le *DCGAN* de Radford et al. 2015. Il lui faut beaucoup d'images : s'il
# y en a peu, D les apprend par cœur, et G n'apprend rien d'un tel D (Karras et al. 2020 ; Zhao et al. 2020).
#
# Cette leçon dessine un jeu de données de visages, le garde dans un zip, construit le DCGAN, le laisse surapprendre
# sur vingt images, et l'aide par l'augmentation. Elle dure environ trois minutes sur un ordinateur portable, sans
# connexion.

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
# ## Des visages dessinés
#
# Des photos de visages demandent un téléchargement, et l'accord des personnes. Des visages dessinés ne demandent ni
# l'un ni l'autre : une tête sur un fond uni, des cheveux, des yeux et une bouche, de forme, de place et de couleur
# aléatoires. Chaque image est dessinée quatre fois plus grande, puis réduite à 32×32 par des moyennes, pour que les
# bords soient lisses.


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
# ## Un zip est un jeu de données
#
# Deux cent mille petits fichiers sont longs à copier et à effacer. Un zip est un seul fichier, et il n'est pas
# nécessaire de le décompresser : une table, à la fin, dit où commence chaque image, si bien qu'un programme peut en
# lire une seule. L'écrire est aussi simple. À l'intérieur, les dossiers `train` et `test` sont deux *parties* :
# Ganvas s'entraîne sur la première, et garde la seconde pour juger.


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
# Avec des photos, rien ne change. CelebA (Liu et al. 2015) est un zip de 200 000 visages, et le reste : `ganvas
# data img_align_celeba.zip` dit ce qu'il contient, et `ganvas train dcgan --data img_align_celeba.zip --resolution
# 64 --mirror` s'entraîne dessus. Ses images de 178×218 pixels sont recadrées en carré et réduites pendant la
# lecture, une seule fois.
#
# ## Les règles du DCGAN
#
# 1. Pas de pooling : des convolutions de pas 2 dans D, des convolutions transposées dans G (leçon 2).
# 2. Normalisation par lot (*batch norm*) dans les deux réseaux, sauf dans la dernière couche de G et la première de
#    D. (La dernière de D, le logit, n'en a pas non plus.)
# 3. Pas de couches denses cachées : z est lui-même une carte 1×1 à cent canaux.
# 4. ReLU dans G, et tanh à la fin ; LeakyReLU de pente 0,2 dans D.
# 5. Des poids tirés d'une loi normale d'écart type 0,02, et Adam avec β₁ = 0,5.
#
# Aucune n'est une loi : les auteurs les ont trouvées en essayant beaucoup de réseaux. Avec la règle 5, les
# premières images de G sont presque grises et les premiers logits de D presque nuls. Une convolution suivie d'une
# normalisation par lot n'a pas de biais : celle-ci le retrancherait aussitôt.

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
# ## Du bruit à un visage
#
# La boucle est celle de la leçon 2, avec un mot de plus : `augment`, une fonction pour tout ce que D reçoit. Pour
# l'instant, elle ne change rien. Les 500 images qui ne servent jamais à l'entraînement sont données à
# `ganvas.watch` sous le nom de `held_out`.


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
# D'abord une tache au milieu, puis des têtes avec des yeux, puis des cheveux et des couleurs : du grossier vers le
# fin. Dans Ganvas, cette paire est la recette `dcgan`, pour des images de toute taille. Une différence se voit
# aussitôt : les images sont dessinées par une *moyenne* mobile des poids de G, qui lisse les derniers tours. En
# pleine largeur, c'est le réseau de l'article ; ici, il est aussi étroit que le nôtre.

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
# ## Cassé exprès
#
# Combien d'images faut-il à un GAN ? Les réseaux, la boucle et le nombre de tours restent les mêmes. Le zip
# contient vingt visages.

# %%
write_zip("runs/lesson-8/few.zip", 20, held_out=0)
few = read("runs/lesson-8/few.zip", "train")
film, diagnosis, knows = train(few, ROUNDS)
print(f"D ranks a training picture above an unseen one in {100 * knows:.0f} % of pairs")
assert "memorised the training images" in str(diagnosis)
assert knows > 0.58

# %% [markdown]
# D a mémorisé les images d'entraînement : il les classe au-dessus de visages qu'il n'a jamais vus, alors que tous
# viennent du même `draw_face`. Pour ce D, « vrai » veut dire « l'un des vingt ». Son coût n'en dit rien : un D qui
# connaît ses images par cœur a un coût bas, tout comme un bon D. Seules des images mises de côté les distinguent.
#
# Et G ? Contre un tel D, il ne peut faire mieux que copier. Regardons donc ses images à côté des images
# d'entraînement les plus proches :


# %%
def nearest(pictures, images):
    """For each picture, float [n 3 32 32], the one of the images whose pixels are nearest."""
    return images[torch.cdist(pictures.flatten(1), images.flatten(1)).argmin(1)]


show(film[-1], nearest(film[-1], few), title="twenty faces: G's pictures, and the nearest training picture of each")

# %% [markdown]
# ## L'augmentation de tout ce que D voit
#
# En classification, on décale, on recolore et on découpe les images d'entraînement, et l'on en a davantage. Dans un
# GAN, cela seul est une faute : D apprendrait que des visages décalés et bleus sont vrais, et G les dessinerait. Le
# remède de Zhao et al. 2020 (DiffAugment) et de Karras et al. 2020 (ADA) va plus loin : D ne voit *rien* sans la
# transformation aléatoire T, ni le vrai ni le faux, et G apprend à travers elle :
#
# $$L_D = -\mathbb{E} \log D(T(x)) - \mathbb{E} \log (1 - D(T(G(z)))), \quad L_G = -\mathbb{E} \log D(T(G(z))).$$
#
# T doit donc être dérivable : la luminosité, le décalage et un carré effacé le sont. Voici ce que D voit d'un seul
# visage.

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
# D est maintenant moins sûr de ses vingt images, et les taches sur celles de G ont disparu. Dans Ganvas, le réglage
# s'appelle `augment` : « diffaugment » est ce T ; « ada » a davantage de transformations et, avec `ada_target=0.6`,
# adapte leur probabilité au surapprentissage de D. Tous deux étirent un petit jeu de données, mais n'y ajoutent
# aucune sorte de visage qu'il ne contienne déjà.
#
# ## Trois questions
#
# 1. Les fichiers PNG sont rangés tels quels dans le zip. De combien le zip serait-il plus petit avec sa
#    compression (DEFLATE) : de moitié, d'un dixième, ou de presque rien ?
# 2. Combien de fois chaque image réelle est-elle montrée à D dans l'entraînement sur vingt visages, et combien de
#    fois sur quatre mille ?
# 3. T tourne chaque image de 0, 90, 180 ou 270 degrés, avec la même probabilité. D peut-il encore distinguer un G
#    qui dessine tous les visages à l'envers d'un bon G ? Et si T laisse un cinquième des images telles quelles ?
#
# Les réponses sont dans la cellule suivante, calculées.

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
# ## Un exercice avec vos propres images
#
# Mettez cinquante photos d'une même sorte dans un zip, et demandez l'avis de `ganvas data photos.zip` : leur nombre
# lui suffit-il ? Entraînez ensuite deux fois : `ganvas train cnn-stable --data photos.zip --resolution 32 --minutes
# 5`, et la même commande avec `--augment diffaugment --mirror`. Lequel des deux entraînements `ganvas evaluate`
# appelle-t-il une copie ? Il écrit `closest.png` : des images générées à côté des images d'entraînement les plus
# proches.
