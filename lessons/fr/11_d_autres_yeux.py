# %% [markdown]
# # 11. D'autres yeux
#
# **L'affirmation.** Un discriminateur n'a pas besoin d'apprendre à voir. Un réseau entraîné à classer des photos
# voit déjà des bords, des coins et des textures. Si D n'est qu'une petite tête sur ses caractéristiques gelées, G
# dessine des images dignes d'être regardées au bout de quelques minutes, au lieu de quelques heures : c'est le
# *Projected GAN* de Sauer et al. 2021.
#
# Cette leçon pose des têtes linéaires sur un réseau ImageNet gelé, les compare à un D qui part de rien, et demande
# qui a le droit de juger le résultat. Elle dure environ trois minutes sur un ordinateur portable, sans connexion.

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
# ## Un réseau qui a déjà appris
#
# EfficientNet-Lite0 (Tan & Le 2019) a été entraîné sur les photos et les mille classes d'ImageNet, et est livré
# avec Ganvas. Ses classes ne nous intéressent pas. Nous voulons les *cartes* qui y mènent : des cartes fines à peu
# de canaux, où sont les bords et les taches, et des cartes grossières à beaucoup de canaux, où sont des parties de
# choses. Il est fait pour des photos en couleurs : d'un chiffre gris, nous faisons trois couleurs égales.

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
# *Gelé* veut dire que les poids de ce réseau ne changent jamais : ni le coût de D ni celui de G ne les modifie.
# Cela ne veut pas dire qu'aucun gradient ne passe. G doit apprendre de la réponse de D, et cette réponse dépend de
# l'image *à travers* le réseau :
#
# $$\nabla_x D(x) = J_F(x)^\top \, \nabla_F h(F(x)), \quad D(x) = h(F(x)),$$
#
# avec le réseau gelé F, sa jacobienne J et la tête h.

# %%
seen = images[:2].clone().requires_grad_()
look(seen)[-1].mean().backward()
print(f"largest gradient at a pixel: {seen.grad.abs().max():.1e}")
assert seen.grad.abs().max() > 0
assert list(network.parameters()) == []  # nothing that an optimiser could change

# %% [markdown]
# ## Deux discriminateurs
#
# Le premier D est celui de la leçon 2 : des convolutions de pas 2, qui partent de poids aléatoires. Le second est
# aussi petit que possible : une fonction *linéaire* de chaque carte. Chacune des trois têtes donne un logit, et
# tous comptent. Pour que tous les canaux aient la même échelle, on retranche une moyenne et on divise par un écart
# type, mesurés une fois, sur des images réelles. (Une normalisation par lot, à cette place, échouerait : elle ôte à
# chaque lot sa moyenne, et c'est la moyenne qui distingue un lot d'images réelles d'un lot d'images générées.)


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
# Les deux sont entraînés avec le coût *hinge* (Lim & Ye 2017 ; Miyato et al. 2018), et G avec $-D(G(z))$ :
#
# $$L_D = \max(0, 1 - D(x)) + \max(0, 1 + D(G(z))).$$
#
# Là où D donne plus de 1 à une image réelle, ou moins de -1 à une fausse, le terme vaut 0 et n'a pas de gradient : D
# n'y pousse pas plus loin, et apprend des images dont il n'est pas encore aussi sûr.


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
# ## Le même nombre d'images, et deux juges
#
# G, le coût, les taux d'apprentissage et le nombre d'images sont les mêmes pour les deux. Le résultat est jugé par
# la distance de Fréchet entre les caractéristiques de chiffres générés et celles de chiffres réels (Heusel et al.
# 2017), une fois dans les caractéristiques du réseau à travers lequel D regardait, une fois dans celles d'un réseau
# que D n'a jamais rencontré : l'*œil* de Ganvas, entraîné sur les petites images de CIFAR-10 et de MNIST. Chacune
# est divisée par la distance d'*autres* chiffres réels : 1 serait parfait.


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
# À nombre d'images égal, les caractéristiques gelées sont en avance : quelques milliers de nombres sur un réseau
# qui voit déjà font mieux que des dizaines de milliers qui doivent d'abord apprendre à voir. Une mise à jour coûte
# plus cher, car chaque image traverse le réseau gelé ; les secondes sont au-dessus des images.
#
# ## Qui a le droit de juger ?
#
# Comparons les deux colonnes. De combien le second G est-il meilleur ? Le réseau de D répond :

# %%
lead = {judge: plain[judge] / seeing[judge] for judge in judges}
for name, factor in lead.items():
    print(f"{name}: {factor:.1f} times nearer to real digits")
assert lead["D's own network"] > 1.2 * lead["another network"]

# %% [markdown]
# Le réseau de D flatte. G a été entraîné à rendre justement ces caractéristiques semblables à celles des images
# réelles, et une partie de ce gain n'est pas un meilleur dessin (Kynkäänniemi et al. 2023 le montrent pour la FID
# et ImageNet). Un GAN dont le D regarde à travers un réseau doit donc être jugé par d'autres yeux. Ganvas sait à
# travers quel réseau D regarde : sa recette `fast` a trois têtes de convolutions au lieu de têtes linéaires,
# mélange les cartes comme l'article, et ajoute une tête sur les pixels.

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
# ## Cassé exprès
#
# Le réseau est gelé et n'a donc besoin d'aucun gradient : pourquoi ne pas l'appeler sous `torch.no_grad()`, et
# économiser de la mémoire ? Rien ne plante, et D apprend comme avant.


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
# Le gradient du coût de G s'arrête aux cartes : il atteint les têtes, et aucun pixel. L'optimiseur de G est appelé
# à chaque tour et n'a rien à appliquer. Le remède est de geler les *poids* (`requires_grad_(False)` et `eval()`),
# et de laisser le graphe entier :

# %%
fakes, diagnosis, _ = train(FeatureD(), SHORT)
show(fakes, "the same number of images, with the gradient")
assert "not connected" not in str(diagnosis)

# %% [markdown]
# ## Trois questions
#
# 1. Ganvas double le côté des chiffres avant de les passer dans Lite0. Quel côté a alors la carte la plus
#    grossière, pour un chiffre de 28×28 ?
# 2. D apprend ici 2 267 nombres. Combien en a la partie de Lite0 à travers laquelle il regarde : quelques
#    milliers, ou plus de cent mille ?
# 3. G a été entraîné avec Lite0. L'œil est-il pour lui un juge indépendant ? Et Inception, le réseau de la FID ?
#
# Les réponses sont dans la cellule suivante, calculées.

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
# ## Un exercice avec vos propres images
#
# `ganvas train fast --data photos --minutes 5`, et la même commande avec `--features-net eye` : D regarde alors à
# travers le petit réseau livré avec Ganvas. Quelles images préférez-vous ? Évaluez ensuite chaque entraînement par
# `ganvas evaluate` avec `--features eye`, puis avec `--features lite0`, et lisez quels nombres sont marqués comme
# non indépendants. Les juges sont-ils de votre avis ?
