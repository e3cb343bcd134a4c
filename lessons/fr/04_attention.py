# %% [markdown]
# # 4. L'attention
#
# **L'affirmation.** « Une convolution ne voit que les pixels voisins. Avec l'attention, chaque partie d'une image
# voit toutes les autres. Un GAN fait de Transformers dessine donc mieux. » Le Transformer vient de la traduction
# (Vaswani et al. 2017) ; il est arrivé dans les GAN par une couche parmi des convolutions (Zhang et al. 2019), puis
# seul (Jiang et al. 2021).
#
# Cette leçon découpe un chiffre en 49 tokens, calcule l'attention à la main, montre ce que l'attention *ne* sait
# *pas*, casse un générateur en oubliant cela, puis demande aux nombres si l'affirmation tient avec un petit budget.

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
# ## Une image en 49 tokens
#
# Un Transformer travaille sur une liste de vecteurs, les *tokens*. La façon la plus simple de faire une liste d'une
# image : la découper en carrés. 28×28 pixels font 7×7 carrés de 4×4, donc 49 tokens de 16 nombres.


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
# ## L'attention à la main
#
# Des couches linéaires tirent de chaque token trois vecteurs : une *requête* q (query), une *clé* k (key) et une
# *valeur* v. Le token i compare sa requête aux clés de tous les tokens, et prend la moyenne de leurs valeurs, avec
# des poids de somme 1 :
#
# $$\mathrm{attention}(q, k, v)_i = \sum_j w_{ij} v_j, \qquad w_i = \mathrm{softmax}_j \frac{q_i \cdot k_j}{\sqrt{d}}.$$
#
# Plusieurs *têtes* font cela côte à côte, chacune avec ses propres couches. Le tout tient en deux produits de
# matrices et une softmax :


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
# C'est à cela que sert la racine : le produit scalaire de deux vecteurs aléatoires de d nombres a un écart type de
# $\sqrt d$. Sans la division, un seul token reçoit presque tout le poids, et la softmax n'a presque plus de
# gradient.
#
# ## Ce que l'attention ne sait pas
#
# Rien dans ces formules ne dit *où* se trouve un token. Mélangez les tokens : les sorties sont les mêmes,
# mélangées. Pour l'attention, une image est un sac de carrés.

# %%
order = torch.randperm(49)
shuffled, _ = attention(q[:, :, order], k[:, :, order], v[:, :, order])
assert torch.allclose(shuffled, by_hand[:, :, order], atol=1e-5)

# %% [markdown]
# Il faut donc donner la place avec le token. D'ordinaire, on ajoute au token un vecteur propre à chacune des 49
# places, appris comme n'importe quel poids (*positional embedding*, plongement de position).
#
# ## Un générateur de tokens
#
# z devient un vecteur, le même pour les 49 tokens ; ce sont les plongements de position qui les distinguent. Suit
# un bloc avec une attention, puis un petit réseau appliqué à chaque token ; tous deux sont *ajoutés* à leur entrée
# (connexion résiduelle). À la fin, chaque token devient son carré de 4×4 pixels. (Les vrais réseaux ont beaucoup de
# blocs.)


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
# ## Cassé exprès
#
# Les plongements de position sont oubliés. Rien ne plante : l'attention accepte n'importe quelle liste de tokens.
# Nous mesurons combien les 49 carrés d'une image diffèrent, avant et après l'entraînement.


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
# Les 49 carrés sont égaux aux arrondis près, avant l'entraînement comme après : des tokens égaux posent la même
# question, reçoivent la même réponse et le même gradient. G ne peut que choisir le carré qu'il répète. D le voit
# aussitôt et a raison pour chaque paire, et le diagnostic le dit. Il nomme ce qui ne va pas, mais pas toujours
# pourquoi. Ici, ce n'est pas D qu'il faut changer. Le remède est `positions=True`.

# %%
G, diagnosis = train(ROUNDS, positions=True)
assert show(G) > 0.05
assert "D is too strong" not in str(diagnosis)

# %% [markdown]
# ## Presque égaux, cela suffit à nuire
#
# Le GAN classique à auto-attention a des plongements de position, et 49 tokens qui diffèrent dès le début. Il
# commence pourtant par des carrés presque égaux. Regardons ses premières couches avant tout entraînement : de
# combien les tokens d'une image diffèrent-ils après une attention, par rapport à toute leur variation ? D'abord
# tels quels, puis avec de plus grands plongements de position, puis avec une connexion résiduelle autour de
# l'attention.


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
# Les requêtes et les clés non entraînées ont de petits produits : chaque poids est proche de 1/49, et chaque token
# devient la moyenne de tous. Une connexion résiduelle garde le token lui-même : c'est pourquoi chaque bloc de
# Transformer en a une. De plus grands plongements de position rendent les produits plus grands. Ganvas a les deux
# réseaux : la recette `transformer` en est un comme en ont les cours ; `transformer-stable` commence avec des
# positions de ±1 et a un coût qui n'a pas besoin de chance (leçon 5).
#
# ## Un budget, deux réseaux
#
# Venons-en à l'affirmation. Nous entraînons les deux recettes sur le même nombre d'images ; `ganvas.compare` évalue
# les deux entraînements de la même façon et écrit un rapport. (Si on lui donne des noms de recettes, il les
# entraîne lui-même.) Les réseaux sont étroits, le budget est petit, et chaque recette n'a qu'une graine : c'est un
# aperçu, pas une preuve.

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
# Lisez le tableau de haut en bas. Le G du Transformer est le plus petit. Son D est cent fois plus grand que celui
# du CNN, car sa première couche voit tous les pixels à la fois et a ses propres poids pour chaque token. Une image
# coûte environ deux fois plus d'opérations : on traite donc moins d'images par seconde. Puis lisez la distance :
# après 8 000 images, celle du Transformer est la plus petite. (La forme rapide voit trop peu d'images pour le
# dire.)
#
# Cela prouve-t-il l'affirmation ? Ce qui était égal, c'est le nombre d'*images*. Dans le même *temps*, le CNN en
# aurait vu davantage. Et les deux D n'ont pas la même taille : ce n'est pas seulement l'attention que l'on compare
# ici. Il manque à l'affirmation sa condition : meilleur avec *quel* budget, et comparé à quoi ? Posez les deux
# questions chaque fois que l'on compare deux réseaux.
#
# ## Trois questions
#
# 1. Une tête a 49² poids pour une image de 28×28. Par combien ce nombre est-il multiplié pour 56×56, avec des
#    carrés de même taille ?
# 2. Les 49 tokens sont tous égaux. Quels poids d'attention chacun a-t-il ?
# 3. La couche d'attention du réseau classique a des tokens de largeur 128 et 4 têtes de largeur 128. Combien
#    a-t-elle de paramètres ?
#
# Les réponses sont dans la cellule suivante, calculées.

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
# ## Un exercice avec vos propres images
#
# `ganvas compare cnn-stable transformer-stable --data photos --minutes 10 --seeds 2 --knobs resolution=32`, puis
# ouvrez le rapport : lequel des deux est devant après dix minutes, et combien d'images chacun a-t-il vues ?
# Donnez-leur ensuite deux cents images seulement, et regardez encore.
