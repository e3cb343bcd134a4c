# %% [markdown]
# # 2. Des convolutions à l'envers
#
# **L'affirmation.** Une image se construit du grossier vers le fin : de quelques nombres à une carte de 7×7, puis
# 14×14, puis 28×28. La couche qui agrandit les cartes est la *convolution transposée*. Radford et al. 2015 (DCGAN)
# ont fait un GAN de telles couches, et presque chaque tutoriel en présente la petite sœur pour MNIST.
#
# Cette leçon calcule une convolution transposée à la main, montre d'où viennent les damiers, entraîne la paire
# classique des tutoriels Keras, et la casse avec l'erreur la plus fréquente : deux intervalles de pixels.

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
# ## Une convolution et son image dans un miroir
#
# Une convolution de pas 2 regarde une fenêtre de son entrée pour chaque *sortie*, et avance de deux pixels : la
# carte est réduite de moitié. Une convolution transposée fait la même chose en retournant les flèches : chaque
# pixel d'*entrée* écrit le noyau, multiplié par sa valeur, dans une fenêtre de la sortie, et les fenêtres sont
# espacées de deux pixels. Là où les fenêtres se recouvrent, elles s'additionnent.


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
# `padding=1` enlève un pixel de chaque côté du résultat. Avec un côté n, un noyau k, un pas s et un padding p, le
# nouveau côté vaut $(n - 1) s - 2p + k$ : avec le noyau 4, le pas 2 et le padding 1 habituels, exactement $2n$.
# (`output_padding=1` ajoute une ligne et une colonne à la fin.) Et pourquoi « transposée » ? Écrivez les pixels comme
# un seul long vecteur : chaque sortie en est une somme pondérée, une convolution est donc une matrice. La convolution
# transposée multiplie par la matrice transposée. C'est aussi ce que fait le gradient d'une convolution :

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
# ## D'où viennent les damiers
#
# Mettons chaque entrée à 1 et chaque poids à 1 : chaque pixel compte alors combien de fenêtres l'atteignent. Avec
# un noyau 3 et un pas 2, ce nombre change d'un pixel à l'autre, en damier, avant tout apprentissage (Odena et al.
# 2016). Le noyau 4 est un multiple du pas : à l'intérieur de l'image, chaque pixel est atteint le même nombre de
# fois.

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
# ## LeakyReLU, sigmoïde et tanh
#
# G n'apprend que par le gradient qui revient à travers D. Une ReLU de D n'en laisse passer aucun là où son entrée est
# négative ; LeakyReLU en laisse passer un cinquième. Dans la dernière couche de G, l'activation fixe l'*intervalle* des
# pixels : la sigmoïde donne [0, 1], tanh [-1, 1]. Il faut amener les images réelles dans le même intervalle, sinon D
# distingue le réel du faux sans regarder la moindre forme.

# %%
images = torch.tensor(open_images(DataOptions(source="digits28")).images[:2000])  # uint8 [2000 1 28 28]
in_tanh_range = images / 127.5 - 1
in_sigmoid_range = images / 255
for name, values in {"for tanh": in_tanh_range, "for sigmoid": in_sigmoid_range}.items():
    print(f"{name}: {values.min():g} to {values.max():g}")

# %% [markdown]
# ## La paire classique
#
# G : une couche dense de 100 nombres vers une carte de 7×7 à 256 canaux, puis 14×14 à 128, puis 28×28 à 64, et
# l'image. D : le chemin inverse. En pleine largeur, ils ont 1 925 633 et 138 561 paramètres ; la boucle ci-dessous
# a un huitième des canaux, pour qu'un ordinateur portable les entraîne en quelques minutes.


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
# Les pixels voisins vont ensemble : ce sont des traits, et non les points isolés de la leçon 1. La recette `cnn` de
# Ganvas est cette paire, et `cnn-stable` les mêmes réseaux avec un coût qui n'a pas besoin de chance (leçons 5 et 6).
#
# ## Cassé exprès
#
# Une ligne est oubliée : les images restent dans [0, 1], alors que G finit par tanh. Rien ne plante.

# %%
G, diagnosis = train(in_sigmoid_range, ROUNDS)
show(G)
assert "different ranges" in str(diagnosis)

# %% [markdown]
# Le diagnostic nomme les deux intervalles. Le remède tient en une ligne : `images / 127.5 - 1`, ou une sigmoïde
# comme dernière activation de G. Ganvas lit des pixels de n'importe quel intervalle et les amène lui-même dans
# celui de G ; dans votre propre boucle, c'est à vous d'écrire cette ligne.
#
# ## Trois questions
#
# 1. Une convolution transposée de noyau 5, pas 2, padding 2 et `output_padding=1` : quel est le côté de la sortie
#    d'une carte 7×7 ?
# 2. Quels noyaux, jusqu'à 6 et avec des poids égaux, ne font pas de damier avec un pas de 2 ?
# 3. Toutes les activations de D sont des LeakyReLU de pente 0,2. Par combien le gradient est-il divisé, au plus, à
#    travers trois d'entre elles ?
#
# Les réponses sont dans la cellule suivante, calculées.

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
# ## Un exercice avec vos propres images
#
# `ganvas train cnn-stable --data photos --resolution 32 --minutes 5`, puis regardez le film `training.webp` dans le
# dossier de l'entraînement : qu'est-ce qui apparaît d'abord, les couleurs ou les formes ? Ensuite, dans
# cette leçon, changez en 3 le noyau des deux `ConvTranspose2d` de G (avec `output_padding=1` à côté de `padding=1`),
# entraînez de nouveau sur les chiffres, et cherchez le damier.
