# %% [markdown]
# # 1. Le jeu
#
# **L'affirmation.** Deux réseaux jouent l'un contre l'autre. Le générateur G transforme des nombres aléatoires z en
# images ; le discriminateur D dit d'une image avec quelle probabilité elle est réelle. D apprend à distinguer le
# réel du faux, G apprend à tromper D, et *à la fin du jeu, G tire ses images de la distribution des données*
# (Goodfellow et al. 2014).
#
# Cette leçon examine chaque moitié de cette phrase : quel est le meilleur D, ce que mesure sa fonction de coût,
# comment G apprend à partir de lui, et pourquoi le coût de la première page de l'article ne sert presque jamais.
# Elle dure environ trois minutes sur un ordinateur portable, sans connexion.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import logsigmoid, softplus

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.manual_seed(0)
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Des données que l'on peut dessiner
#
# Les images ont trop de dimensions pour que l'on en voie la distribution. Un point du plan en a deux. Nos données
# sont huit petites gaussiennes sur un cercle : `p` est leur densité, que nous connaissons exactement. C'est rare et
# utile : chaque réponse peut se vérifier.

# %%
SPREAD = 0.15
angles = torch.arange(8) * torch.pi / 4
centres = 1.5 * torch.stack([angles.cos(), angles.sin()], 1)  # float [8 2]


def draw_reals(n):
    """n points of the data, float [n 2]."""
    return centres[torch.randint(8, (n,))] + SPREAD * torch.randn(n, 2)


def log_p(x):
    """The logarithm of the density of the data at points [n 2]: float [n]."""
    squares = (x[:, None] - centres).square().sum(2) / (2 * SPREAD**2)
    return torch.logsumexp(-squares, 1) - torch.log(torch.tensor(8 * 2 * torch.pi * SPREAD**2))


def mlp(*widths):
    """Fully connected layers with LeakyReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


# %% [markdown]
# ## Le meilleur discriminateur
#
# Supposons un instant que G ne bouge pas. Ses points ont la densité `q`, ici une gaussienne ronde, pour que nous
# connaissions aussi `q`. D maximise
#
# $$V(D) = \mathbb{E}_{x \sim p} \log D(x) + \mathbb{E}_{x \sim q} \log (1 - D(x)).$$
#
# En un point x, le terme vaut $p \log D + q \log (1 - D)$ ; il est maximal là où sa dérivée $p/D - q/(1-D)$
# s'annule :
#
# $$D^*(x) = \frac{p(x)}{p(x) + q(x)}.$$
#
# Le meilleur D n'est donc pas un oracle : c'est un *rapport de densités*. Entraînons un D et comparons. D donne un
# **logit**, un nombre dont la sigmoïde est la probabilité : `logsigmoid(d)` est log D, et `logsigmoid(-d)` est log
# (1 - D), sans qu'un arrondi donne log 0.


# %%
def draw_fakes(n):
    """n points of a generator that does not learn: a round Gaussian."""
    return torch.randn(n, 2)


def log_q(x):
    return -x.square().sum(1) / 2 - torch.log(torch.tensor(2 * torch.pi))


def value(real, fake):
    """V of the logits of reals and fakes."""
    return logsigmoid(real).mean() + logsigmoid(-fake).mean()


D = mlp(2, 128, 128, 1)
optimiser = torch.optim.Adam(D.parameters(), lr=2e-3)
for _ in range(400 if FAST else 3000):
    loss = -value(D(draw_reals(256)), D(draw_fakes(256)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %%
points = torch.cat([draw_reals(4000), draw_fakes(4000)])
best = torch.sigmoid(log_p(points) - log_q(points))
with torch.no_grad():
    learned = torch.sigmoid(D(points))[:, 0]
difference = (learned - best).abs().mean().item()
print(f"D differs from p / (p + q) by {difference:.3f} on average")
assert difference < 0.1

# %%
line = torch.linspace(-2.5, 2.5, 150)
plane = torch.cartesian_prod(line, line)
with torch.no_grad():
    surfaces = {"learned D": torch.sigmoid(D(plane)), "p / (p + q)": torch.sigmoid(log_p(plane) - log_q(plane))}
figure, axes = plt.subplots(1, 2, figsize=(8, 4))
for axis, (title, surface) in zip(axes, surfaces.items()):
    picture = axis.imshow(
        surface.view(150, 150).T.numpy(), origin="lower", extent=[-2.5, 2.5, -2.5, 2.5], cmap="PuOr", vmin=0, vmax=1
    )
    axis.set_title(title)
figure.colorbar(picture, ax=axes, shrink=0.8)
plt.show()

# %% [markdown]
# ## Ce que mesure le coût de D
#
# Avec le meilleur D, V mesure l'écart entre les deux distributions : $V(D^*) = 2\,\mathrm{JS}(p, q) - \log 4$, où
# JS est la divergence de Jensen–Shannon. Elle vaut 0 si p = q, et au plus log 2. Le coût de D, qui est $-V$, mesure
# donc à quelle distance des données se trouve G : plus il est petit, plus G est loin. (Mais seulement si D est
# optimal. Dans un vrai entraînement, il ne l'est jamais tout à fait : pensez-y en regardant les courbes.)

# %%
with torch.no_grad():
    reals, fakes = draw_reals(50_000), draw_fakes(50_000)
    exact = 0.5 * (
        logsigmoid(log_p(reals) - log_q(reals)).mean() + logsigmoid(log_q(fakes) - log_p(fakes)).mean()
    ) + torch.log(torch.tensor(2.0))
    from_d = 0.5 * value(D(reals), D(fakes)) + torch.log(torch.tensor(2.0))
print(f"Jensen-Shannon divergence: {exact:.3f} from the densities, {from_d:.3f} from D's loss")
assert 0 < exact < 0.6931
assert -0.1 < from_d - exact < 0.02

# %% [markdown]
# ## À partir de quoi G apprend
#
# G doit rendre V petit : il minimise log (1 - D(G(z))), le coût *minimax* ou *saturant*. Au début, D a raison sur
# presque chaque image générée : D(G(z)) est proche de 0, là où log (1 - D), en fonction du logit de D, est plat.
# L'autre coût, -log D(G(z)), a le même point d'équilibre, q = p, et sa pente est raide précisément là : c'est le
# coût *non saturant*, que l'article recommande déjà. En fonction du logit d :

# %%
d = torch.linspace(-8, 8, 200, requires_grad=True)
saturating, non_saturating = logsigmoid(-d), -logsigmoid(d)
figure, axis = plt.subplots(figsize=(6, 3.5))
for name, curve in {"log (1 - D)": saturating, "-log D": non_saturating}.items():
    (slope,) = torch.autograd.grad(curve.sum(), d, retain_graph=True)
    axis.plot(d.detach().numpy(), slope.abs().numpy(), label=f"slope of {name}")
axis.set_xlabel("logit of a fake: D is sure that it is false on the left")
axis.legend()
plt.show()

# %% [markdown]
# ## Le jeu entier, en trente lignes


# %%
def play(g_loss, rounds):
    """Trains G against D on the points; returns G and its points through time."""
    torch.manual_seed(1)
    G, D = mlp(2, 128, 128, 2), mlp(2, 128, 128, 1)
    g_optimiser = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.9))
    d_optimiser = torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.9))
    history = []
    for i in range(rounds):
        d_loss = -value(D(draw_reals(256)), D(G(torch.randn(256, 2)).detach()))
        d_optimiser.zero_grad()
        d_loss.backward()
        d_optimiser.step()
        loss = g_loss(D(G(torch.randn(256, 2))))
        g_optimiser.zero_grad()
        loss.backward()
        g_optimiser.step()
        if i % (rounds // 5) == rounds // 5 - 1:
            history.append(G(torch.randn(1000, 2)).detach())
    return G, history


def non_saturating_loss(fake):
    return softplus(-fake).mean()  # -log D: softplus(-d) is -logsigmoid(d)


def saturating_loss(fake):
    return -softplus(fake).mean()  # log (1 - D)


ROUNDS = 1000 if FAST else 6000
G, history = play(non_saturating_loss, ROUNDS)

# %% [markdown]
# Les huit gaussiennes sont les **modes** des données, les sortes de points qui existent. G est une fonction
# continue : entre deux modes, il dessine forcément quelques points, en ponts et en pointes.

# %%
reals = draw_reals(1000)
figure, axes = plt.subplots(1, 5, figsize=(12, 2.6), sharex=True, sharey=True)
for i, (axis, fakes) in enumerate(zip(axes, history)):
    axis.scatter(*reals.T.numpy(), s=2, color="0.8")
    axis.scatter(*fakes.T.numpy(), s=2, color="tab:orange")
    axis.set_title(f"after {(i + 1) * ROUNDS // 5} rounds")
    axis.set_aspect("equal")
plt.show()


# %%
def modes_of(points):
    """How many of the eight Gaussians have at least a fortieth of the points, and the share of points near one."""
    distances, nearest = torch.cdist(points, centres).min(1)
    near = distances < 2 * SPREAD
    counts = torch.bincount(nearest[near], minlength=8)
    return int((counts >= len(points) / 40).sum()), near.float().mean().item()


circle = 2 * torch.pi * torch.rand(4000)
with torch.no_grad():
    named = {"reals": draw_reals(4000), "fakes": G(torch.randn(4000, 2))}
named["a circle without modes"] = 1.5 * torch.stack([circle.cos(), circle.sin()], 1)
for name, points in named.items():
    modes, share = modes_of(points)
    print(f"{name}: {modes} of 8 modes; {100 * share:.0f} % of the points lie within two deviations of one")
assert modes_of(named["fakes"])[0] >= 6

# %% [markdown]
# ## Le même jeu sur des chiffres
#
# Rien ne change, sauf les réseaux : z a 100 nombres, une image 28 × 28 = 784. Ils ressemblent à ceux de
# beaucoup de premiers tutoriels de GAN. Comptez leurs paramètres à la main avant d'exécuter la cellule : une couche
# linéaire de a vers b compte a·b poids et b biais, la normalisation par lot 2 paramètres par unité.

# %%
G = nn.Sequential(
    *[nn.Linear(100, 128), nn.LeakyReLU(0.2), nn.BatchNorm1d(128)],
    *[nn.Linear(128, 256), nn.LeakyReLU(0.2), nn.BatchNorm1d(256)],
    *[nn.Linear(256, 512), nn.LeakyReLU(0.2), nn.BatchNorm1d(512)],
    *[nn.Linear(512, 784), nn.Tanh()],
)
D = mlp(784, 512, 256, 1)
counts = [sum(parameter.numel() for parameter in network.parameters()) for network in (G, D)]
print(f"G has {counts[0]:,} parameters, D {counts[1]:,}")
assert counts[0] == (100 * 128 + 128) + 256 + (128 * 256 + 256) + 512 + (256 * 512 + 512) + 1024 + (512 * 784 + 784)
assert counts == [581_520, 533_505]

# %% [markdown]
# Ganvas connaît cette paire : c'est la recette `mlp`. `ganvas.train` est la boucle que vous venez d'écrire, avec en
# plus une moyenne des poids de G, des états enregistrés et des statistiques. `kimg` est la durée : combien de
# milliers d'images réelles D voit. `digits28`, ce sont 12 000 des chiffres manuscrits de MNIST, fournis avec
# Ganvas.

# %%
import ganvas
from ganvas.data import DataOptions, open_images

run = ganvas.train("mlp", data="digits28", kimg=2 if FAST else 200, batch=64, out="runs/lesson-1", quiet=True)
grid = ganvas.load(run.path).sample(range(40)).grid(columns=10)
plt.figure(figsize=(9, 3.6))
plt.imshow(grid, cmap="gray")
plt.axis("off")
plt.show()

# %% [markdown]
# Que voyez-vous ? Des traits, des chiffres, et partout des points isolés : un réseau entièrement connecté ne sait
# pas que les pixels ont des voisins. La leçon 2 le lui apprend.
#
# ## Cassé exprès
#
# Prenons au mot la première formule de l'article : le coût saturant, contre un D optimal. D reçoit de l'avance et
# un taux d'apprentissage élevé, et G descend par de simples pas de gradient. (Adam divise le gradient par sa
# taille : il cache qu'il n'y en a presque plus.) `ganvas.watch` mesure n'importe quelle boucle, de n'importe qui,
# pendant qu'elle tourne, et dit ce qu'il trouve.

# %%
images = open_images(DataOptions(source="digits28")).images[:2000]  # uint8 [2000 1 28 28]
images = torch.tensor(images) / 127.5 - 1


def train_digits(g_loss, g_optimiser, d_lr, head_start, rounds=160 if FAST else 600):
    """The loop of above on digits, watched; returns the diagnosis, and both losses of every round, float [rounds 2]."""
    torch.manual_seed(2)
    G = nn.Sequential(*mlp(32, 256, 784), nn.Tanh(), nn.Unflatten(1, (1, 28, 28)))
    D = nn.Sequential(nn.Flatten(), *mlp(784, 256, 1))
    d_optimiser, g_optimiser = torch.optim.Adam(D.parameters(), d_lr, (0.5, 0.99)), g_optimiser(G.parameters())
    losses = []
    with ganvas.watch(G, D, data=images, every=25) as probe:
        for i in range(rounds):
            d_steps = 1 if i > 0 else 1 + head_start
            for _ in range(d_steps):
                real, fake = images[torch.randint(len(images), (64,))], G(torch.randn(64, 32))
                d_loss = -value(D(real), D(fake.detach()))
                d_optimiser.zero_grad()
                d_loss.backward()
                d_optimiser.step()
            loss = g_loss(D(fake))
            g_optimiser.zero_grad()
            loss.backward()
            g_optimiser.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=loss)
            losses.append([d_loss.item(), loss.item()])
    return probe.diagnosis(), torch.tensor(losses)


def descent(parameters):
    return torch.optim.SGD(parameters, 1e-2)


diagnosis, saturated = train_digits(saturating_loss, descent, d_lr=4e-3, head_start=200)
assert "D too strong" in str(diagnosis)

# %% [markdown]
# D est sûr de lui, et le gradient de G a disparu. (Le second constat vaut pour tout G à son début : de chaque z, il
# tire à peu près le même gris. Ce G-ci n'en sort jamais.) Le remède se trouve sous « À partir de quoi G apprend » :
# le coût non saturant, dont la pente est raide là où D est sûr de lui. Nous ne changeons que ce coût.

# %%
diagnosis, moving = train_digits(non_saturating_loss, descent, d_lr=4e-3, head_start=200)
assert "D too strong" not in str(diagnosis)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True)
for axis, (title, losses) in zip(axes, {"saturating": saturated, "non-saturating": moving}.items()):
    axis.plot(losses.numpy(), label=["loss of D", "loss of G"])
    axis.set(title=title, xlabel="round", ylim=(-1, 8))
    axis.legend()
plt.show()
assert saturated[-20:].abs().mean() < 0.05 < moving[-20:].abs().mean()

# %% [markdown]
# À gauche, les deux *coûts* ne bougent plus : une courbe immobile n'est pas le signe d'un équilibre. À droite, G
# apprend, avec le même D. De simples pas de gradient sont pourtant lents et irréguliers, et les images générées
# peuvent encore beaucoup se ressembler. Avec Adam pour G, la boucle est celle que tout le monde écrit :


# %%
def adam(parameters):
    return torch.optim.Adam(parameters, 5e-4, (0.5, 0.99))


diagnosis, _ = train_digits(non_saturating_loss, adam, d_lr=4e-3, head_start=200)
assert "D too strong" not in str(diagnosis)

# %% [markdown]
# ## Trois questions
#
# 1. G a atteint son but : p = q. Que dit le meilleur D de chaque image, et que vaut alors V ?
# 2. D est sûr qu'une image générée est fausse : son logit est -5. Combien de fois le coût non saturant y est-il
#    plus raide que le coût saturant ?
# 3. G dessine un seul des huit modes, parfaitement. Que vaut à peu près la divergence de Jensen–Shannon : 0, log
#    2, ou entre les deux ?
#
# Les réponses sont dans la cellule suivante, calculées.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
logit = torch.tensor(0.0)  # 1. p / (p + q) = 1/2 everywhere: the logit is 0 ...
print(f"1. D says {torch.sigmoid(logit):.2f}, and V is {value(logit, logit):.3f} = -log 4: JS is 0")
assert torch.sigmoid(logit) == 0.5
assert torch.isclose(value(logit, logit), -torch.log(torch.tensor(4.0)))  # ... and V = -log 4, JS = 0

d = torch.tensor(-5.0)  # 2. the slopes are D and 1 - D: their ratio is exp(5)
ratio = ((1 - torch.sigmoid(d)) / torch.sigmoid(d)).item()
print(f"2. {ratio:.0f} times")
assert round(ratio) == 148

p, q = torch.full((8,), 1 / 8), torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 0])  # 3. between: the modes hardly overlap
m = (p + q) / 2
js = 0.5 * torch.xlogy(p, p / m).sum() + 0.5 * torch.xlogy(q, q / m).sum()
print(f"3. {js:.2f}, of at most {torch.log(torch.tensor(2.0)):.2f}")
assert 0.45 < js < 0.55  # 0.50 of at most 0.69: far away, though every point that G draws is perfect

# %% [markdown]
# ## Un exercice avec vos propres images
#
# Mettez deux cents photos dans un dossier, et regardez ce que la paire de cette leçon en fait : `ganvas train mlp
# --data photos --resolution 32 --minutes 3`. Demandez ensuite à `ganvas diagnose RUN` ce qui ne va pas ; RUN est le
# dossier que l'entraînement a nommé. Lesquelles des phrases de sa réponse auriez-vous pu lire sur les seules
# courbes des coûts ?
