# %% [markdown]
# # 9. Croissance et styles
#
# **L'affirmation.** Une grande image s'apprend à partir d'une petite : d'abord 4×4, puis 8×8, et ainsi de suite,
# chaque nouvelle taille étant introduite par un *fondu* (Karras et al. 2018, ProGAN). Et z n'a pas besoin
# d'entrer par le bas : un *réseau de correspondance* (mapping) en fait un style w, qui agit sur chaque taille
# séparément, de sorte que l'on peut choisir à part le grossier et le fin (Karras et al. 2019, StyleGAN). *Un
# nombre dit à quel point les images sont bonnes : la FID* (Heusel et al. 2017).
#
# Cette leçon calcule à la main un fondu, AdaIN, le mélange de styles, la troncature et la FID, fait grandir un G puis
# entraîne toutes ses tailles à la fois, entraîne un petit StyleGAN, et demande ce que vaut sa FID.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, softplus

import ganvas
from ganvas.data import DataOptions, open_images
from ganvas.evaluation import metrics
from ganvas.features.extractors import load_extractor
from ganvas.networks import stylegan

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)  # networks as small as these are no faster with more


def show(rows, title):
    """Images float [rows columns h w] in [-1, 1] as a grid."""
    r, c, h, w = rows.shape
    plt.figure(figsize=(0.7 * c, 0.7 * r + 0.3))
    plt.imshow(rows.permute(0, 2, 1, 3).reshape(r * h, c * w).numpy(), cmap="gray", vmin=-1, vmax=1)
    plt.title(title)
    plt.axis("off")
    plt.show()


# %% [markdown]
# ## Un fondu
#
# G dessine en 7×7, et doit dessiner en 14×14. On ajoute une couche, dont les poids sont tirés au hasard : d'un
# coup, G serait de nouveau mauvais, et D, qui reçoit aussi une couche neuve, devrait tout recommencer. On mélange
# donc peu à peu la nouvelle taille :
#
# $$x = (1 - \alpha)\, \mathrm{up}(x_{small}) + \alpha\, x_{large},$$
#
# où up répète chaque pixel et α croît de 0 à 1. Les images réelles subissent le même fondu, sinon D les reconnaîtrait
# à leur netteté.


# %%
def fade(small, large, alpha):
    """Images float [n 1 h w] and [n 1 2h 2w] -> float [n 1 2h 2w]."""
    return torch.lerp(interpolate(small, scale_factor=2), large, alpha)


images = torch.tensor(open_images(DataOptions(source="digits28")).images[::5]) / 127.5 - 1  # [2000 1 28 28]
large = avg_pool2d(images, 2)
small = avg_pool2d(large, 2)
alphas = [0, 0.25, 0.5, 0.75, 1]
show(torch.stack([fade(small[::200], large[::200], alpha)[:, 0] for alpha in alphas]), "reals, α from 0 to 1")
assert torch.equal(fade(small, large, 1), large)
assert torch.allclose(avg_pool2d(fade(small, large, 0), 2), small, atol=1e-6)

# %% [markdown]
# ## AdaIN
#
# StyleGAN part d'une constante apprise. z agit par la *normalisation d'instance adaptative* : après une convolution,
# chaque carte de chaque image est ramenée à une moyenne de 0 et un écart type de 1, puis reçoit de w une nouvelle
# échelle et une nouvelle moyenne. w dit donc quelle est la force de chaque caractéristique, et il ne reste rien de la
# force antérieure.


# %%
def adain(x, scale, shift):
    """x float [n c h w], scale and shift [n c]."""
    mean, deviation = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True, correction=0)
    return (x - mean) / (deviation + 1e-8) * scale[:, :, None, None] + shift[:, :, None, None]


x, scale, shift = 5 + 3 * torch.randn(2, 4, 8, 8), torch.rand(2, 4) + 0.5, torch.randn(2, 4)
styled = adain(x, scale, shift)
assert torch.allclose(styled.mean((2, 3)), shift, atol=1e-4)
assert torch.allclose(styled.std((2, 3), correction=0), scale, atol=1e-4)
assert torch.allclose(adain(100 * x + 7, scale, shift), styled, atol=1e-3)  # what came before is forgotten
assert torch.allclose(stylegan.adain(x, torch.cat([scale - 1, shift], 1)), styled, atol=1e-4)  # it adds the 1 itself

# %% [markdown]
# StyleGAN2 (Karras et al. 2020) met la même idée dans les poids : la *modulation* multiplie les entrées d'une
# convolution par le style, la *démodulation* divise chaque sortie par l'écart type qu'elle aurait si les entrées
# étaient indépendantes et d'écart type 1. Cela revient à un jeu de poids par image :

# %%
weight, style = torch.randn(6, 4, 3, 3), torch.rand(4) + 0.5
own = weight * style[None, :, None, None]
own = own / own.square().sum((1, 2, 3), keepdim=True).sqrt()  # the weights of this image
noise = torch.randn(1, 4, 64, 64)
modulated = conv2d(noise, own)
divided = conv2d(noise * style[:, None, None], weight) / (weight * style[None, :, None, None]).square().sum(
    (1, 2, 3)
).sqrt().view(-1, 1, 1)
assert torch.allclose(modulated, divided, atol=1e-4)
print("deviations of its outputs:", [round(float(one), 2) for one in modulated[0].std((1, 2))])
assert (modulated[0].std((1, 2)) - 1).abs().max() < 0.1


# %% [markdown]
# ## Un générateur à styles, qui grandit
#
# Le réseau de correspondance est un petit réseau dense. Chaque couche a une application affine de w vers ses
# échelles et ses moyennes, et ajoute un *bruit*, dont la force est apprise pour chaque carte : il porte ce qu'il
# y a d'aléatoire dans une image, et z n'a pas à le faire.


# %%
class StyleLayer(nn.Module):
    """Features float [n c h w], w [n 32] -> [n c h w]."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.affine = nn.Linear(32, 2 * channels)
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x, w):
        x = self.conv(x)
        x = leaky_relu(x + self.strength * torch.randn_like(x[:, :1]), 0.2)
        scale, shift = self.affine(w).chunk(2, 1)
        return adain(x, 1 + scale, shift)


class StyleGenerator(nn.Module):
    """z float [n 32] -> images float [n 1 7 7], or [n 1 14 14] where alpha is above 0."""

    def __init__(self, channels=24):
        super().__init__()
        self.mapping = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(0.2), nn.Linear(32, 32), nn.LayerNorm(32))
        self.constant = nn.Parameter(torch.randn(1, channels, 7, 7))
        self.layers = nn.ModuleList([StyleLayer(channels) for _ in range(4)])
        self.to_image = nn.ModuleList([nn.Conv2d(channels, 1, 1) for _ in range(2)])
        self.alpha = 0.0

    def sizes(self, z):
        """The small images, then the large ones, which are not computed unless they are asked for."""
        w = self.mapping(z)
        x = self.layers[1](self.layers[0](self.constant.expand(len(z), -1, -1, -1), w), w)
        yield self.to_image[0](x)
        x = self.layers[3](self.layers[2](interpolate(x, scale_factor=2), w), w)
        yield self.to_image[1](x)

    def forward(self, z):
        sizes = self.sizes(z)
        small = next(sizes)
        return fade(small, next(sizes), self.alpha) if self.alpha else small


# %% [markdown]
# D en est le miroir : pendant le fondu, sa nouvelle première couche est mélangée à l'ancienne. Avant le fondu,
# les nouvelles couches attendent : `ganvas.watch` peut dire d'elles qu'elles ne changent jamais.


# %%
class GrowingDiscriminator(nn.Module):
    """Images float [n 1 7 7], or [n 1 14 14] where alpha is above 0 -> logits [n 1]."""

    def __init__(self, channels=24):
        super().__init__()
        self.from_image = nn.ModuleList([nn.Conv2d(1, channels, 1) for _ in range(2)])
        self.new = nn.Conv2d(channels, channels, 3, padding=1)
        self.old = nn.Sequential(
            *[nn.Conv2d(channels, channels, 3, padding=1), nn.LeakyReLU(0.2)],
            *[nn.Flatten(), nn.Linear(49 * channels, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1)],
        )
        self.alpha = 0.0

    def forward(self, x):
        if not self.alpha:
            return self.old(leaky_relu(self.from_image[0](x), 0.2))
        features = leaky_relu(self.new(leaky_relu(self.from_image[1](x), 0.2)), 0.2)
        coarse = leaky_relu(self.from_image[0](avg_pool2d(x, 2)), 0.2)
        return self.old(torch.lerp(coarse, avg_pool2d(features, 2), self.alpha))


def play(D, optimisers, real, fake):
    """One round. real and fake hold what D receives: images, or images of several sizes. Returns both losses."""
    d_loss = softplus(-D(*real)).mean() + softplus(D(*[one.detach() for one in fake])).mean()
    optimisers[0].zero_grad()
    d_loss.backward()
    optimisers[0].step()
    g_loss = softplus(-D(*fake)).mean()
    optimisers[1].zero_grad()
    g_loss.backward()
    optimisers[1].step()
    return d_loss, g_loss


def train(rounds, draw_z):
    """A third of the rounds at 7×7, a third of fading, a third at 14×14; returns G's images through time."""
    torch.manual_seed(1)
    G, D = StyleGenerator(), GrowingDiscriminator()
    adam = [torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.99)) for network in (D, G)]
    history = []
    with ganvas.watch(G, D, every=rounds // 8) as probe:
        for i in range(rounds):
            G.alpha = D.alpha = min(1.0, max(0.0, 3 * i / rounds - 1))
            chosen = torch.randint(len(images), (32,))
            real = fade(small[chosen], large[chosen], D.alpha) if D.alpha else small[chosen]
            fake = G(draw_z(32))
            d_loss, g_loss = play(D, adam, [real], [fake])
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
            if i in (rounds // 3 - 1, rounds // 2, rounds - 1):
                history.append(interpolate(fake.detach(), size=(14, 14))[:12, 0])
    return torch.stack(history), probe.diagnosis()


# %% [markdown]
# ## Cassé exprès
#
# Un style d'une seule ligne convient à un lot de n'importe quelle taille : PyTorch le *diffuse* (broadcasting).
# Un seul z pour tout le lot, au lieu d'un par image, ne lève donc aucune erreur ; ici, `expand` le répète à vue. Les
# images générées d'un tour sont alors toutes pareilles, et autres au tour suivant : c'est le *cycle de modes* (mode
# cycling).

# %%
history, diagnosis = train(110 if FAST else 300, lambda n: torch.randn(1, 32).expand(n, 32))
show(history, "one z for the batch: at 7×7, half faded, at 14×14")
assert "Mode cycling" in str(diagnosis)
broken = history[-1].std(0).mean()

# %% [markdown]
# La première cause nommée est la nôtre. Le remède :

# %%
history, diagnosis = train(110 if FAST else 700, lambda n: torch.randn(n, 32))
show(history, "a z for each image: at 7×7, half faded, at 14×14")
assert "Mode cycling" not in str(diagnosis)
assert history[-1].std(0).mean() > 3 * broken

# %% [markdown]
# ## Toutes les tailles à la fois
#
# Un calendrier est une occasion de plus de se tromper : quand une taille entre-t-elle, et à quelle vitesse ? Les
# *gradients à plusieurs échelles* (MSG-GAN, Karnewar & Wang 2020) n'en ont pas. D reçoit à la fois les images de
# toutes les tailles, chacune là où ses propres caractéristiques ont cette taille ; son gradient entre donc dans G à
# chaque taille, dès le premier tour. Notre G dessine déjà les deux tailles.


# %%
class EverySizeDiscriminator(nn.Module):
    """Images float [n 1 7 7] and [n 1 14 14] -> logits [n 1]."""

    def __init__(self, channels=24):
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.second = nn.Conv2d(channels + 1, channels, 3, padding=1)
        self.last = nn.Sequential(nn.Flatten(), nn.Linear(49 * channels, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

    def forward(self, small, large):
        features = avg_pool2d(leaky_relu(self.first(large), 0.2), 2)
        return self.last(leaky_relu(self.second(torch.cat([features, small], 1)), 0.2))


def compare_sizes(of_7, of_14):
    """The mean difference of 7×7 and the averaged 14×14 of one z, over that of two z."""
    averaged = avg_pool2d(of_14, 2)
    return ((averaged - of_7).abs().mean() / (averaged - of_7.roll(1, 0)).abs().mean()).item()


torch.manual_seed(1)
G, D = StyleGenerator(), EverySizeDiscriminator()
with torch.no_grad():
    untrained = compare_sizes(*G.sizes(torch.randn(200, 32)))
adam = [torch.optim.Adam(network.parameters(), 1e-3, (0.0, 0.99)) for network in (D, G)]
for i in range(110 if FAST else 300):
    chosen = torch.randint(len(images), (32,))
    play(D, adam, [small[chosen], large[chosen]], list(G.sizes(torch.randn(32, 32))))
    if i == 0:
        slopes = [float(one.conv.weight.grad.norm()) for one in G.layers]
        print("gradients of the four layers in the first round:", [f"{one:.1e}" for one in slopes])
        assert min(slopes) > 0

with torch.no_grad():
    of_7, of_14 = G.sizes(torch.randn(200, 32))
show(torch.stack([interpolate(of_7, size=(14, 14)), of_14])[:, :12, 0], "of one z a column: 7×7 and 14×14")
trained = compare_sizes(of_7, of_14)
print(f"the sizes of one z differ by {untrained:.2f} of what those of two z do, and trained by {trained:.2f}")
assert trained < 0.9 * untrained

# %% [markdown]
# Chacune des deux images est faite par sa propre couche ; seul D voit les deux, et les deux tailles d'une image réelle
# vont toujours ensemble. Elles deviennent donc le même chiffre. La recette `msg` fait de même, de 4×4 à la taille
# entière.
#
# ## Le petit StyleGAN de Ganvas
#
# La recette `stylegan` a tout cela, et ce qui la rend stable : le taux d'apprentissage *égalisé* (les poids sont mis à
# l'échelle quand ils servent, si bien que toutes les couches apprennent à la même allure), l'*écart type dans le lot*
# (D reçoit aussi de combien les images d'un lot diffèrent), et R1. En 32×32 et en pleine largeur, il lui faut des jours
# sur un ordinateur portable. Ici elle est petite, dispose d'une minute, et grandit seulement de 4×4 à 8×8, entre 5 % et
# 30 % de l'entraînement (`growth`) : n'attendez que des traits, et un chiffre de temps en temps.

# %%
run = ganvas.train(
    "stylegan", data="digits28", resolution=8, width=32, latent=32, kimg=0.3 if FAST else 25, batch=16, g_lr=2e-3,
    d_lr=2e-3, penalty_every=4, mixing_prob=0.5, growth="0..1@0.05-0.3", out="runs/lesson-9", quiet=True,
)  # fmt: skip
sampler = ganvas.load(run.path)
plt.figure(figsize=(7, 2.8))
plt.imshow(sampler.sample(range(40)).grid(columns=10), cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# Ses réseaux font le même fondu que les nôtres. `grow` fixe jusqu'où le réseau a grandi : 0 est 4×4, 1 est 8×8. La
# première moitié du chemin est le fondu, la seconde s'entraîne sans fondu ; 0,25 est donc la moitié du fondu.

# %%
network, z = sampler.generator, torch.randn(4, 32)
drawn = {}
with torch.no_grad():
    for growth in (0.0, 0.25, 1.0):
        network.grow(growth)
        drawn[growth] = network.d_input(z)
        print(f"growth {growth}: {tuple(drawn[growth].shape[2:])}, α {network.alpha:g}")
assert torch.allclose(drawn[0.25], fade(drawn[0.0], drawn[1.0], 0.5), atol=1e-4)

# %% [markdown]
# ## Mélange et troncature
#
# Il y a deux couches par taille : quatre styles. Le *mélange* prend les styles grossiers d'une image et les fins d'une
# autre. (Le bruit de chaque couche reste le même quand on dessine.) La *troncature* rapproche w de sa moyenne : $w' =
# \bar w + \psi (w - \bar w)$. Avec ψ inférieur à 1, les images deviennent plus typiques, et moins différentes.

# %%
rows, columns = sampler.latents(range(5)), sampler.latents(range(10, 18))
by_hand = torch.cat([rows.styles[:1, :2], columns.styles[:1, 2:]], 1)
mixed = sampler.mix(range(5), range(10, 18), layers=2)
assert rows.styles.shape == (5, 4, 32)
assert np.array_equal(sampler.draw(ganvas.Latents(by_hand, None, "w")), mixed[:1])

mean = network.w_avg.value
truncated = sampler.latents(range(5), truncation=0.5).styles
assert torch.allclose(truncated, mean + 0.5 * (rows.styles - mean), atol=1e-5)

plt.figure(figsize=(6, 4))
plt.imshow(mixed.grid(columns=8), cmap="gray")
plt.title("coarse styles of 5 images, one a row; fine ones of 8")
plt.axis("off")
plt.show()

# %%
truncations = (1, 0.7, 0.4, 0)
by_truncation = [sampler.sample(range(10), truncation=psi) for psi in truncations]
plt.figure(figsize=(7, 2.8))
plt.imshow(ganvas.Samples(np.concatenate(by_truncation)).grid(columns=10), cmap="gray")
plt.title("ψ = 1, 0.7, 0.4, 0")
plt.axis("off")
plt.show()
spread = [np.array(samples).std(0).mean() for samples in by_truncation]
print("deviation between images:", [round(float(one), 1) for one in spread])
assert spread[0] > spread[2] > spread[3] == 0

# %% [markdown]
# ## Un nombre
#
# La FID regarde les images à travers un réseau entraîné à reconnaître des choses, et prend les caractéristiques des
# images réelles et celles des images générées pour deux gaussiennes, de moyennes μ et de covariances Σ (en une
# dimension, Σ est la variance, le carré de l'écart type). Avec tr, la somme de la diagonale, leur distance de Fréchet
# est
#
# $$|\mu_1 - \mu_2|^2 + \mathrm{tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2}).$$
#
# On ne l'appelle FID qu'avec le réseau Inception de Heusel et al. 2017. Nous prenons le petit réseau livré avec
# Ganvas, l'*œil* (`eye`) : c'est donc une distance de Fréchet, avec ses propres nombres.


# %%
def frechet(x, y):
    """Features float [n f] and [m f] -> a number."""
    covariances = [np.cov(features, rowvar=False) for features in (x, y)]
    values = np.linalg.eigvals(covariances[0] @ covariances[1]).real.clip(min=0)  # their roots sum to the trace
    traces = sum(np.trace(covariance) for covariance in covariances)
    return np.square(x.mean(0) - y.mean(0)).sum() + traces - 2 * np.sqrt(values).sum()


def features(images):
    """Images uint8 [n 1 h w] -> float [n f]."""
    return load_extractor("eye").extract(torch.as_tensor(images)).numpy().astype(np.float64)


random = np.random.default_rng(0)
N = 600 if FAST else 1000
sets = [open_images(DataOptions(source="digits28", split=split, resolution="8")) for split in ("train", "test")]
train_images, test_images = (one.images[random.permutation(len(one))[:N]] for one in sets)
reals, held_out = features(train_images), features(test_images)
fakes = features(sampler.sample(range(N)))
value, baseline = frechet(fakes, reals), frechet(held_out, reals)
print(f"{N} images, {reals.shape[1]} features: fakes {value:.4f}, held-out reals {baseline:.4f}")
own = metrics.frechet_distance(metrics.compute_moments(fakes), metrics.compute_moments(reals))
assert abs(value / own - 1) < 0.01
assert value > 2 * baseline > 0

# %% [markdown]
# Deux échantillons de chiffres réels ne sont pas à la distance 0. C'est la *référence réelle*, sans laquelle l'autre
# nombre ne dit rien. Et elle dépend du *protocole*. Le tableau suivant compare des images réelles à des images réelles
# : en plus petit nombre, réduites autrement (la plupart des pixels sont omis, au lieu d'être moyennés ; Parmar et al.
# 2022), et avec les pixels eux-mêmes comme caractéristiques. Les images générées viennent en dernier.

# %%
full = open_images(DataOptions(source="digits28", split="test")).images
full = torch.tensor(full[np.random.default_rng(1).permutation(len(full))[:N]])
values = {
    f"reals, {N} images": baseline,
    f"reals, {N // 4} images": frechet(held_out[: N // 4], reals),
    f"reals, {N // 10} images": frechet(held_out[: N // 10], reals),
    "reals, resized carelessly": frechet(features(interpolate(full, size=(8, 8))), reals),
    "reals, pixels as features": frechet(*(one.reshape(N, -1) / 255 for one in (test_images, train_images))),
    "fakes": value,
}
for name, number in values.items():
    print(f"{name:28} {number:.4f}")
by_count = list(values.values())[:3]
assert by_count[0] < by_count[1] < by_count[2]
assert values["reals, resized carelessly"] > 2 * baseline

# %% [markdown]
# Toutes les lignes sauf la dernière comparent des chiffres réels à des chiffres réels. Ne comparez donc que des nombres
# obtenus avec le même réseau, le même nombre d'images et le même changement de taille, et donnez la référence réelle.
# `ganvas evaluate` le fait, et écrit le protocole à côté de chaque nombre.
#
# ## Trois questions
#
# 1. Une carte contient les nombres 1 et 3, aussi souvent l'un que l'autre. AdaIN lui donne l'échelle 2 et la
#    moyenne 10. Quels nombres contient-elle alors ?
# 2. Un StyleGAN dessine de 4×4 à 32×32, avec deux couches par taille. Combien de styles peut-on mélanger ?
# 3. Deux gaussiennes en une dimension : moyennes 0 et 3, écarts types 1 et 2. Quelle est leur distance de Fréchet ?
#
# Les réponses sont dans la cellule suivante, calculées.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
chessboard = torch.tensor([[1.0, 3.0], [3.0, 1.0]])[None, None]  # 1. mean 2, deviation 1: 10 - 2 and 10 + 2
answer = adain(chessboard, torch.tensor([[2.0]]), torch.tensor([[10.0]]))
print("1.", answer.unique().tolist())
assert torch.allclose(answer.unique(), torch.tensor([8.0, 12.0]))

sizes = [4 * 2**i for i in range(4)]
print("2.", 2 * len(sizes))
assert (sizes, 2 * len(sizes)) == ([4, 8, 16, 32], 8)  # 2. eight

one, other = metrics.Moments(2, np.zeros(1), np.ones((1, 1))), metrics.Moments(2, np.full(1, 3.0), np.full((1, 1), 4.0))
print(f"3. {metrics.frechet_distance(one, other):g}")
assert abs(metrics.frechet_distance(one, other) - 10) < 1e-9  # 3. 3² + (2 - 1)²

# %% [markdown]
# ## Un exercice avec vos propres images
#
# `ganvas train stylegan --data photos --resolution 32 --width 64 --minutes 20`, puis regardez le film
# `training.webp` dans le dossier de l'entraînement : quand chaque taille arrive-t-elle ? (Vingt minutes donnent
# des images floues : regardez l'ordre, non la qualité.) Ensuite `ganvas sample RUN --seeds 0-5 --mix 10-15 --layers 2`
# et `ganvas sample RUN --seeds 0-5 --mix 10-15 --layers 6` : de huit couches, deux par taille, les 2 ou 6 premières
# sont celles des lignes. De quoi décident les styles grossiers ? Enfin `ganvas evaluate RUN`, et encore une fois avec
# `--truncation 0.5` : laquelle monte, la *précision* (la part des images générées qui sont parmi les réelles) ou le
# *rappel* (l'inverse), et laquelle baisse ?
