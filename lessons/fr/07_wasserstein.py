# %% [markdown]
# # 7. Wasserstein
#
# **L'affirmation.** Le coût d'un GAN classique dit peu de choses : il est plat là où images réelles et générées ne
# se recouvrent pas, et un coût de G plus bas ne veut pas dire de meilleures images. Un *critique* dont la pente
# est bornée mesure à sa place une distance, celle de Wasserstein : elle n'est jamais plate, et elle baisse quand
# les images s'améliorent (Arjovsky et al. 2017).
#
# Cette leçon compare les deux distances là où on les connaît, regarde ce que mesure un critique aux poids écrêtés
# ou avec une pénalité de gradient, puis entraîne un critique qui connaît aussi la classe de l'image, pour que
# l'on puisse demander un 7.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn.functional import cross_entropy, logsigmoid, softplus

import ganvas
from ganvas.data import DataOptions, open_images

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Deux distances
#
# Les vraies données sont uniformes sur [0, 1], et les fausses sont les mêmes, déplacées de θ vers la droite. La
# divergence de Jensen–Shannon est ce que mesure le meilleur D classique (leçon 1). La distance de Wasserstein dit
# de combien il faut déplacer chaque fausse donnée, en moyenne, pour changer les fausses en vraies, avec le
# meilleur plan γ, qui fixe ce qui va où :
#
# $$W(p, q) = \inf_{\gamma} \mathbb{E}_{(x, y) \sim \gamma} |x - y|,$$
#
# où inf est la plus petite valeur qu'un plan puisse atteindre, x une vraie donnée et y la fausse qui va là. Sur une
# droite, le meilleur plan est simple : le plus petit va vers le plus petit, le suivant vers le suivant. W est donc la
# différence moyenne des échantillons triés.


# %%
def wasserstein(x, y):
    """Of two samples of equal size, float [n] each."""
    return (x.sort().values - y.sort().values).abs().mean().item()


def jensen_shannon(p, q, width):
    """Of two densities on a grid of this width, float [n] each."""
    m = ((p + q) / 2).clamp(min=1e-12)
    return (width * (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum() / 2).item()


grid = torch.arange(0, 4, 0.001)
shifts = [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3]
p = (grid < 1).float()
js = [jensen_shannon(p, ((grid >= shift) & (grid < shift + 1)).float(), 0.001) for shift in shifts]
reals, others = torch.rand(2, 20_000)
w = [wasserstein(reals, others + shift) for shift in shifts]

figure, axis = plt.subplots(figsize=(6, 3.2))
axis.plot(shifts, js, "o-", label="Jensen–Shannon")
axis.plot(shifts, w, "o-", label="Wasserstein")
axis.set_title("uniform fakes, moved away by θ")
axis.set_xlabel("θ")
axis.legend()
plt.show()
assert all(abs(value - np.log(2)) < 0.01 for value in js[4:])  # flat from 1 on
assert all(abs(value - shift) < 0.02 for value, shift in zip(w, shifts))
assert abs(wasserstein(reals, others + 2) - wasserstein_distance(reals, others + 2)) < 1e-4

# %% [markdown]
# À partir de θ = 1, les deux ne se recouvrent plus. Jensen–Shannon y vaut log 2, que les fausses données soient
# proches ou lointaines : sa pente est nulle, et ne dit pas où aller. W vaut θ. Les images sont dans ce cas : elles
# occupent si peu de l'espace de tous les pixels que vraies et fausses ne se recouvrent presque jamais (Arjovsky &
# Bottou 2017).
#
# ## Un critique
#
# Personne ne sait trier des images. Mais la même distance a une seconde forme (Kantorovitch et Rubinstein), où
# l'on cherche une fonction f au lieu d'un plan :
#
# $$W(p, q) = \sup_{|\nabla f| \le 1} \mathbb{E}_{x \sim p} f(x) - \mathbb{E}_{x \sim q} f(x).$$
#
# (sup est la plus grande valeur qu'un tel f puisse atteindre.) C'est un jeu pour un réseau : donner de grandes valeurs
# aux vraies données et de petites aux fausses, sans jamais avoir une pente supérieure à 1. On appelle f un critique,
# car ses valeurs ne sont pas des probabilités. Il y a deux façons usuelles de borner sa pente :
#
# - **L'écrêtage** (*clipping*) : après chaque mise à jour, chaque poids est ramené dans [-c, c] (Arjovsky et al.
#   2017).
# - **La pénalité de gradient** : on ajoute au coût $\lambda (|\nabla f| - 1)^2$, en des points tirés au hasard
#   entre vraies et fausses données, avec λ = 10 (Gulrajani et al. 2017).


# %%
def mlp(*widths):
    """Fully connected layers with LeakyReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def slopes(f, x, *labels):
    """The length of the gradient of f at each of the points x [n …]: float [n], differentiable."""
    x = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(f(x, *labels).sum(), x, create_graph=True)  # the penalty has a gradient itself
    return gradient.flatten(1).norm(dim=1)


def train_critic(reals, fakes, rounds, *, weight=0.0, clip=None):
    """A critic of two samples [n 2] that stand still."""
    torch.manual_seed(1)
    f = mlp(2, 64, 64, 1)
    optimiser = torch.optim.Adam(f.parameters(), lr=2e-3)
    for _ in range(rounds):
        real, fake = reals[torch.randint(len(reals), (128,))], fakes[torch.randint(len(fakes), (128,))]
        loss = f(fake).mean() - f(real).mean()
        if weight:
            loss = loss + weight * (slopes(f, real.lerp(fake, torch.rand(128, 1))) - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if clip:
            with torch.no_grad():
                for parameter in f.parameters():
                    parameter.clamp_(-clip, clip)
    return f


# %% [markdown]
# Quatre groupes de vraies données entourent les fausses, dans le plan. Le meilleur plan n'y est plus une affaire
# de tri, mais pour mille points SciPy le trouve, et donc la distance exacte.

# %%
N = 1000
corners = torch.randint(4, (N,)) * torch.pi / 2
reals = 2 * torch.stack([corners.cos(), corners.sin()], 1) + 0.3 * torch.randn(N, 2)
fakes = 0.3 * torch.randn(N, 2)
ways = torch.cdist(reals, fakes).numpy()
exact = ways[linear_sum_assignment(ways)].mean()

rounds = 200 if FAST else 800
critics = {
    "penalty 10": train_critic(reals, fakes, rounds, weight=10),
    "clipped to 0.3": train_critic(reals, fakes, rounds, clip=0.3),
    "clipped to 0.01": train_critic(reals, fakes, rounds, clip=0.01),
}
line = torch.linspace(-3, 3, 100)
plane = torch.cartesian_prod(line, line)
estimates, steepest = {}, {}
for name, f in critics.items():
    estimates[name] = (f(reals).mean() - f(fakes).mean()).item()
    steepest[name] = slopes(f, plane).max().item()
    print(f"{name}: measures {estimates[name]:.4g}, steepest slope {steepest[name]:.4g}; exact: {exact:.3f}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
for axis, (name, f) in zip(axes, critics.items()):
    values = f(plane).detach().view(100, 100).T.numpy()
    picture = axis.imshow(values - values.min(), origin="lower", extent=[-3, 3, -3, 3])
    figure.colorbar(picture, ax=axis, shrink=0.8)
    axis.scatter(*reals[:200].T.numpy(), s=3, color="white")
    axis.scatter(*fakes[:200].T.numpy(), s=3, color="tab:orange")
    axis.set_title(name)
plt.show()

assert 0.9 < estimates["penalty 10"] / exact < 1.2
assert estimates["clipped to 0.3"] / exact > 2
assert estimates["clipped to 0.01"] / exact < 0.05

# %% [markdown]
# Avec la pénalité, l'estimation du critique, f sur les vraies données moins f sur les fausses, est presque la distance,
# avec environ un dixième de trop (la question 2 dit pourquoi). L'écrêtage borne les poids, et la pente que ceux-ci
# permettent dépend de c et du réseau : d'une couche à l'autre les pentes se multiplient, et s'ajoutent sur les unités
# d'une couche. L'estimation a donc une autre unité pour chaque c et chaque réseau. G peut en apprendre, mais avec un
# petit c, le gradient qui lui parvient est minuscule.
#
# ## Ce que reçoit G
#
# Maintenant, les vraies données remplissent un carré, les fausses le même carré déplacé de θ = 3 vers la droite,
# et θ est le seul paramètre de G. Quelle est alors la pente du coût de G, une fois que D ou f a appris ?


# %%
def slope_for_theta(theta, g_loss, train):
    """d g_loss / dθ of fakes at θ, once the other network has learned."""
    noise, theta = torch.rand(N, 2), torch.tensor([float(theta), 0], requires_grad=True)
    network = train(torch.rand(N, 2), (noise + theta).detach())
    (slope,) = torch.autograd.grad(g_loss(network(noise + theta)), theta)
    return slope[0].item()


def train_classic(reals, fakes):
    torch.manual_seed(1)
    D = mlp(2, 64, 64, 1)
    optimiser = torch.optim.Adam(D.parameters(), lr=2e-3)
    for _ in range(rounds):
        loss = softplus(-D(reals)).mean() + softplus(D(fakes)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return D


classic = slope_for_theta(3, lambda d: logsigmoid(-d).mean(), train_classic)
non_saturating = slope_for_theta(3, lambda d: -logsigmoid(d).mean(), train_classic)
critic = slope_for_theta(3, lambda f: -f.mean(), lambda x, y: train_critic(x, y, rounds, weight=10))
print(f"slope of G's loss: {classic:.1e} by log (1 - D), {non_saturating:.2f} by -log D, {critic:.2f} by the critic")
assert abs(classic) < 0.02 < 1.5 * critic < non_saturating
assert 0.8 < critic < 1.3

# %% [markdown]
# La pente de W est 1 à toute distance (le critique entraîné est un peu plus raide : question 2) : G apprend où aller,
# si loin que ce soit. Avec log (1 - D), il n'y a presque pas de pente. Avec -log D il y en a une, mais elle dit à quel
# point D se trouve raide, ce qui croît à mesure que D s'entraîne, et non à quelle distance sont les fausses données.
#
# ## Demander une classe
#
# Un GAN conditionnel donne la classe y aux deux réseaux (Mirza & Osindero 2014). G reçoit un *plongement*
# (embedding) : quelques nombres par classe, qui sont appris, et concaténés à z. D pourrait recevoir son propre
# plongement à côté des pixels. Miyato & Koyama 2018 font mieux, par *projection* : avec les
# caractéristiques φ(x) d'une image,
#
# $$D(x, y) = \psi(\phi(x)) + e_y \cdot \phi(x).$$
#
# ψ est une couche linéaire à une sortie. Le premier terme dit si c'est une bonne image tout court, le second si c'en
# est une de la classe y : un classifieur linéaire, avec une ligne $e_y$ par classe.

# %%
train_set, test_set = (open_images(DataOptions(source="digits28", split=split)) for split in ("train", "test"))
images, labels = torch.tensor(train_set.images) / 127.5 - 1, torch.tensor(train_set.labels)
held_out, held_out_labels = torch.tensor(test_set.images) / 127.5 - 1, torch.tensor(test_set.labels)


class Generator(nn.Module):
    """z float [n 64], labels int64 [n] -> images float [n 1 28 28]."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 16)
        self.layers = nn.Sequential(mlp(64 + 16, 256, 256, 784), nn.Tanh())

    def forward(self, z, labels):
        return self.layers(torch.cat([z, self.embedding(labels)], 1)).view(-1, 1, 28, 28)


class Critic(nn.Module):
    """Images float [n 1 28 28], labels int64 [n] -> float [n]."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), mlp(784, 256, 256), nn.LeakyReLU(0.2))
        self.linear, self.embedding = nn.Linear(256, 1), nn.Embedding(10, 256)
        nn.init.zeros_(self.embedding.weight)  # at first the class has no effect

    def forward(self, x, labels):
        features = self.features(x)
        return self.linear(features)[:, 0] + (self.embedding(labels) * features).sum(1)


# %% [markdown]
# Un classifieur qui n'a vu que des chiffres réels mesure si G dessine ce qu'on lui demande. Ses propres erreurs
# sur des chiffres mis de côté servent de référence.

# %%
torch.manual_seed(0)
classifier = mlp(784, 256, 10)
optimiser = torch.optim.Adam(classifier.parameters(), lr=1e-3)
for _ in range(250 if FAST else 1500):
    chosen = torch.randint(len(images), (128,))
    loss = cross_entropy(classifier(images[chosen].flatten(1)), labels[chosen])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def agreement(images, labels):
    """The share of images [n 1 28 28] that the classifier takes for the class that was asked for."""
    with torch.no_grad():
        return (classifier(images.flatten(1)).argmax(1) == labels).float().mean().item()


print(f"the classifier is right about {100 * agreement(held_out, held_out_labels):.1f} % of held-out digits")
assert agreement(held_out, held_out_labels) > 0.7

# %% [markdown]
# ## Le jeu entier
#
# Trois mises à jour du critique pour une de G : un critique ne mesure que s'il est proche de son optimum.


# %%
def train(rounds, weight):
    """WGAN with a gradient penalty of this weight; returns G, the critic's estimates and the diagnosis."""
    torch.manual_seed(2)
    G, D, estimates = Generator(), Critic(), []
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 1e-3, (0.5, 0.9)) for network in (G, D))
    with ganvas.watch(G, D, data=images[:2000], labels=labels[:2000], critic=True, every=rounds // 8) as probe:
        for _ in range(rounds):
            for _ in range(3):
                chosen = torch.randint(len(images), (32,))
                real, y = images[chosen], labels[chosen]
                fake = G(torch.randn(32, 64), y).detach()
                d_loss = D(fake, y).mean() - D(real, y).mean()
                estimates.append(-d_loss.item())  # without the penalty
                if weight:
                    between = real.lerp(fake, torch.rand(32, 1, 1, 1))
                    d_loss = d_loss + weight * (slopes(D, between, y) - 1).square().mean()
                d_adam.zero_grad()
                d_loss.backward()
                d_adam.step()
            fake = G(torch.randn(32, 64), y)  # of the classes of the last reals
            g_loss = -D(fake, y).mean()
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return G, estimates, probe.diagnosis()


# %% [markdown]
# ## Cassé exprès
#
# D'abord sans aucune borne : pas d'écrêtage, et une pénalité de poids 0. Le critique peut être aussi raide qu'il
# veut, et ses estimations aussi grandes : il ne mesure rien. Comparez-les à celles de l'entraînement suivant ; et
# cherchez les nombres inférieurs à 0 : une distance n'est jamais négative.

# %%
_, unbounded, diagnosis = train(60 if FAST else 200, weight=0)
print(f"the critic's estimates go from {min(unbounded):.2g} to {max(unbounded):.2g}")
assert "Nothing bounds the critic's gradient" in str(diagnosis)

# %% [markdown]
# Le remède est le premier que propose le diagnostic, une pénalité de gradient :

# %%
G, bounded, diagnosis = train(100 if FAST else 1500, weight=10)
print(f"the critic's estimates go from {min(bounded):.2g} to {max(bounded):.2g}")
assert "Nothing bounds the critic's gradient" not in str(diagnosis)

asked = torch.arange(100) // 10
with torch.no_grad():
    fakes = G(torch.randn(100, 64), asked)
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
left.imshow(fakes.view(10, 10, 28, 28).permute(0, 2, 1, 3).reshape(280, 280).numpy(), cmap="gray", vmin=-1, vmax=1)
left.set_title("one class in each row")
left.axis("off")
smooth = np.convolve(bounded, np.ones(20) / 20, "valid")  # the mean of twenty updates
right.plot(smooth)
right.set_title("the critic's estimate of the distance")
right.set_xlabel("updates of the critic")
plt.show()
assert max(np.abs(bounded)) < 0.5 * max(np.abs(unbounded))
assert smooth[-1] < 0.7 * max(smooth)  # it falls, after its first rise

# %%
asked = torch.arange(1000) % 10
with torch.no_grad():
    share = agreement(G(torch.randn(1000, 64), asked), asked)
print(f"{100 * share:.0f} % of the images are of the class that was asked for; chance is 10 %")
assert share > 0.5

# %% [markdown]
# ## La même chose avec Ganvas
#
# La recette `wgan-gp` a ce coût, `wgan` l'écrêtage, et `wgan-conditional` le coût avec projection. Toute autre
# recette accepte `conditional=True`. Ganvas est livré avec un générateur conditionnel qui a été entraîné une
# demi-heure (de la recette `cnn-stable`, dont le coût est celui de la leçon 6) :

# %%
sampler = ganvas.load("pretrained:digits28")
asked = torch.arange(200) % 10
drawn = sampler.sample(range(200), label=asked.tolist())
share = agreement(torch.tensor(np.array(drawn)) / 127.5 - 1, asked)
print(f"{100 * share:.0f} % are of the class that was asked for")
assert share > 0.8

plt.figure(figsize=(4.5, 4.5))
plt.imshow(sampler.sample(range(60)).grid(), cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# ## Trois questions
#
# 1. Toutes les vraies données sont le nombre 0, toutes les fausses le nombre 5. Que valent W et la divergence de
#    Jensen–Shannon ? Et si les fausses s'éloignent jusqu'à 10 ?
# 2. Un critique est une droite de pente s, et rend $-sW + \lambda (s - 1)^2$ aussi petit qu'il peut, avec λ = 10
#    et W = 2. Quelle pente prend-il, et de combien son estimation s'écarte-t-elle de W ?
# 3. Un réseau a deux couches sans biais et sans activation, de 1 à 64 à 1, et tous les poids sont écrêtés à 0,01.
#    Quelle pente peut-il avoir au plus ?
#
# Les réponses sont dans la cellule suivante, calculées.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
for place in (5.0, 10.0):  # 1. W is the way, 5 and 10; Jensen–Shannon is log 2 both times
    assert wasserstein(torch.zeros(100), torch.full((100,), place)) == place
    p, q = torch.zeros(2, 11)
    p[0], q[int(place)] = 1, 1
    print(f"1. W {place:g}, Jensen–Shannon {jensen_shannon(p, q, 1):.3f}")
    assert abs(jensen_shannon(p, q, 1) - np.log(2)) < 1e-6

s = torch.linspace(0, 3, 3001)  # 2. 1 + W / 2λ = 1.1: the estimate is 10 % too large
best = s[(-2 * s + 10 * (s - 1).square()).argmin()].item()
print(f"2. slope {best:.2f}")
assert abs(best - (1 + 2 / 20)) < 1e-3

steepest_line = nn.Sequential(nn.Linear(1, 64, bias=False), nn.Linear(64, 1, bias=False))
for layer in steepest_line:
    nn.init.constant_(layer.weight, 0.01)
print(f"3. {steepest_line(torch.ones(1, 1)).item():.4f}")
assert abs(steepest_line(torch.ones(1, 1)).item() - 0.0064) < 1e-6  # 3. 64 · 0.01² = 0.0064: far from 1

# %% [markdown]
# ## Un exercice avec vos propres images
#
# Rangez vos photos dans des dossiers, un par classe, et entraînez `ganvas train wgan-conditional --data photos
# --resolution 32 --minutes 10`. `ganvas sample RUN` dessine une ligne par classe, et `ganvas sample RUN --class 0`
# la première seule. Ensuite sans borne : `ganvas train wgan-conditional --data photos --resolution 32 --minutes 10
# --gp 0`. `ganvas diagnose RUN` dit ce qui ne va pas, et depuis combien d'images ; et vous, quand l'avez-vous vu ?
