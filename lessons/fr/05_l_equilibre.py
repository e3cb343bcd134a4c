# %% [markdown]
# # 5. L'équilibre
#
# **L'affirmation.** Il faut tenir G et D en équilibre : un D qui gagne toujours n'apprend rien à G, et un G qui
# gagne toujours joue contre un D qui n'apprend plus. Les cours citent donc bien des remèdes : plus de pas pour l'un
# des deux, deux taux d'apprentissage, des mises à jour sautées, du bruit, du dropout, des pénalités de gradient.
#
# Cette leçon joue le plus petit jeu qui soit, où l'on voit l'effet de chacun : certains ne changent que l'allure,
# et peu amènent le jeu au repos. Puis elle essaie les mêmes réglages sur des chiffres, et montre des entraînements
# dont les coûts se ressemblent et les images non.

# %%
import json
import os

import matplotlib.pyplot as plt
import torch
from torch.nn.functional import softplus

import ganvas

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Un jeu à deux nombres
#
# Toutes les données réelles sont le même nombre, 0. G a un seul paramètre : il dessine le nombre θ. D n'en a qu'un
# aussi : son logit est ψx. C'est le Dirac-GAN de Mescheder et al. 2018. Le but du jeu est θ = 0 ; D y est au repos
# en ψ = 0, car il ne peut pas distinguer les deux. Le jeu de la première leçon, sous sa forme minimax, s'écrit
#
# $$L_D = \log 2 + \mathrm{softplus}(\psi\theta), \qquad L_G = -\mathrm{softplus}(\psi\theta).$$
#
# Quand θ est au-dessus de 0, D apprend un ψ négatif ; G descend alors, et dépasse 0, avant que ψ ait changé de
# signe. Chaque pas est juste, et les deux tournent en rond.

# %%
NORMAL = torch.special.ndtri((torch.arange(64) + 0.5) / 64)  # 64 values of a standard normal, equally likely


def descend(parameter, loss, rate):
    """The parameter after one step of gradient descent."""
    (gradient,) = torch.autograd.grad(loss, parameter)
    return (parameter - rate * gradient).detach().requires_grad_()


def play(*, d_steps=1, d_rate=0.1, g_rate=0.1, skip_d_below=0.0, noise=0.0, penalty=None, rounds=300):
    """The game from θ = ψ = 1; returns θ, ψ after each round, D's loss before its last step, float [rounds 3]."""
    theta, psi = torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, requires_grad=True)
    history = []
    for _ in range(rounds):
        for _ in range(d_steps):
            real, fake = noise * NORMAL, theta.detach() + noise * NORMAL
            d_loss = (softplus(-psi * real) + softplus(psi * fake)).mean()
            if d_loss.item() >= skip_d_below:
                psi = descend(psi, d_loss + (penalty(psi) if penalty else 0), d_rate)
        g_loss = -softplus(psi.detach() * (theta + noise * NORMAL)).mean()
        theta = descend(theta, g_loss, g_rate)
        history.append([theta.item(), psi.item(), d_loss.item()])
    return torch.tensor(history)


# %% [markdown]
# Une *pénalité de gradient* ajoute au coût de D ce qui croît avec la pente de D. R1 prend γ/2 fois le carré de la
# pente sur les réelles, R2 de même sur les fausses : centrées en zéro, elles demandent un D plat. La pénalité de
# WGAN-GP, λ (pente - 1)² en des points entre réelles et fausses, est centrée en un : elle demande une pente de 1. Ici,
# la pente de D est ψ partout : R1 et R2 sont donc la même chose, γ/2 · ψ², et la troisième est λ (|ψ| - 1)².


# %%
def zero_centred(psi):
    """R1 or R2 with γ = 1."""
    return psi.square() / 2


def one_centred(psi):
    """WGAN-GP's penalty with λ = 1 (Gulrajani et al. 2017)."""
    return (psi.abs() - 1).square()


games = {
    "plain": play(),
    "five steps of D": play(d_steps=5),
    "D's rate × 4": play(d_rate=0.4),
    "D skipped": play(skip_d_below=1.35),
    "instance noise": play(noise=1.0),
    "R1 or R2": play(penalty=zero_centred),
    "one-centred": play(penalty=one_centred),
    "rates ÷ 4": play(d_rate=0.025, g_rate=0.025, rounds=1200),
}
_, axes = plt.subplots(2, 8, figsize=(16, 4))
for (above, below), (title, history) in zip(axes.T, games.items()):
    theta, psi, d_loss = history.T.numpy()
    above.plot(theta, psi, linewidth=0.7)
    above.plot(0, 0, "k+")
    above.set(title=title, xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
    below.plot(d_loss, linewidth=0.7, label="D's loss")
    below.set_ylim(0, 3)
axes[0, 0].set(xlabel="θ", ylabel="ψ")
axes[1, 0].legend()
plt.show()

# %%
print("               largest |θ| of the last 100 rounds   D's mean loss there")
swing = {}
for title, history in games.items():
    swing[title] = history[-100:, 0].abs().max().item()
    print(f"{title:22}{swing[title]:12.3f}{history[-100:, 2].mean():25.2f}")
assert swing["plain"] > 1
assert min(swing["D's rate × 4"], swing["five steps of D"], swing["rates ÷ 4"]) > 0.3
assert 0.2 < swing["D skipped"] < 0.6
assert max(swing["instance noise"], swing["R1 or R2"]) < 0.1
assert swing["one-centred"] > 2

# %% [markdown]
# Ce que l'on voit :
#
# - Les **rapports de pas, deux taux d'apprentissage** (TTUR, Heusel et al. 2017) et des **taux plus bas**
#   changent l'allure et la forme du cercle. Le jeu continue.
# - **Sauter** les mises à jour de D tant que son coût est bas rétrécit le cercle, jusqu'au seuil ; là, il continue
#   sans fin.
# - Le **bruit d'instance** (Sønderby et al. 2017) sur les réelles et les fausses, et les **pénalités centrées en
#   zéro** (R1, R2), changent le cercle en une spirale qui finit au but.
# - La **pénalité centrée en un** demande une pente de 1 même là où D devrait être plat. Ici, le coût de D tire ψ
#   au-dessous de 0 et la pénalité le tire vers 1 : près de ψ = 0 les deux se compensent, et G s'éloigne du but,
#   jusqu'à θ = 4. (En général, un tel jeu n'arrive pas forcément au repos : Mescheder et al. 2018.)
#
# Un jeu à deux nombres ne prouve rien pour des réseaux. Mais il dit ce qu'il faut attendre d'un réglage :
# amortit-il le jeu, ou n'en change-t-il que l'allure ?
#
# ## Les mêmes réglages sur des chiffres
#
# Chacun est une option de `ganvas train`, et un argument de `ganvas.train`. Les données sont 1 400 chiffres de 8×8
# pixels, les réseaux sont ceux de la recette `digits`, petits, et le coût est le simple coût non saturant. On
# change un réglage à la fois ; le **dropout** dans D s'y ajoute. (Pour sauter des mises à jour : `skip_d_below`.)
# Une ligne de `stats.jsonl`, dans le dossier d'un entraînement, contient entre autres les deux coûts et la
# *distance d'énergie* entre les pixels des images générées et ceux des réelles (Székely & Rizzo 2013) : 0 pour des
# distributions égales.

# %%
KIMG = 6 if FAST else 12  # the beginning, where the knobs differ most: given time, the plain game learns too


def train(name, **knobs):
    """A run of the recipe `digits` with the plain non-saturating loss, and some knobs changed."""
    plain = {"objective": "non-saturating", "r1": 0.0, "r2": 0.0, "g_lr": 1e-3, "d_lr": 1e-3, "beta1": 0.5}
    rows = {"kimg": KIMG, "tick_kimg": KIMG / (8 if FAST else 16), "snapshot_kimg": KIMG, "evaluate_every": 0}
    return ganvas.train("digits", out="runs/lesson-5", name=name, quiet=True, plot=False, **(plain | rows | knobs))


def curves_of(run):
    """The losses of D and G, and the distance from fakes to reals, through time: {name: list of numbers}."""
    rows = [json.loads(line) for line in (run.path / "stats.jsonl").read_text().splitlines()]
    losses = {name: [row[name]["mean"] for row in rows] for name in ("D/loss", "G/loss")}
    signals = [row.get("signals", {}) for row in rows]  # a row has none where monitoring had no time left
    return losses | {"distance": [one["distance"] for one in signals if "distance" in one]}


runs = {
    "plain": train("plain"),
    "d_steps=5": train("steps", d_steps=5),
    "d_lr × 4": train("rates", d_lr=4e-3),
    "noise=0.5": train("noise", noise=0.5),
    "dropout=0.5": train("dropout", dropout=0.5),
    "r1=r2=1": train("penalties", r1=1.0, r2=1.0),
}
_, axes = plt.subplots(2, len(runs), figsize=(14, 4), sharey="row")
for (above, below), (title, run) in zip(axes.T, runs.items()):
    curves = curves_of(run)
    above.plot(curves["D/loss"], label="D's loss")
    above.plot(curves["G/loss"], label="G's loss")
    above.set(title=title, ylim=(0, 5))
    below.plot(curves["distance"], "k", label="distance")
    below.set(ylim=(0, 1))
axes[0, 0].legend()
axes[1, 0].legend()
plt.show()


# %%
def end_of(run, name):
    """The mean of a curve's last three values."""
    return sum(curves_of(run)[name][-3:]) / 3


loss_at_end = {title: end_of(run, "D/loss") for title, run in runs.items()}
distance_at_end = {title: end_of(run, "distance") for title, run in runs.items()}
print("knob              D's loss   distance")
for title in runs:
    print(f"{title:18}{loss_at_end[title]:8.2f}{distance_at_end[title]:11.3f}")
assert loss_at_end["d_steps=5"] < 0.7 * loss_at_end["plain"]
assert distance_at_end["r1=r2=1"] < distance_at_end["plain"] / 2
assert min(distance_at_end, key=distance_at_end.__getitem__) == "r1=r2=1"
by_distance, by_loss = (sorted(ends, key=ends.__getitem__) for ends in (distance_at_end, loss_at_end))
assert by_distance not in (by_loss, by_loss[::-1])

# %% [markdown]
# Cinq pas de D abaissent son coût : il a plus d'avance, et à kimg égaux G n'a qu'un cinquième des mises à jour. Ce
# sont les pénalités qui amènent les images générées au plus près des réelles. Triez le tableau selon le coût de D : ce
# n'est pas l'ordre des distances.
#
# ## Quand le coût ne dit rien
#
# Un D qui ne distingue pas les réelles des fausses répond 1/2 à tout : son coût est log 4 = 1,39, et celui de G
# log 2 = 0,69. C'est ainsi à la fin d'un jeu parfait. Quand encore ? Le jeu à deux nombres a montré un cas : avec
# la pénalité centrée en un, le coût de D reste près de log 4, et θ est loin de 0.

# %%
alike = {"r1=r2=1": runs["r1=r2=1"], "plain": runs["plain"], "rates of 1e-6": train("still", g_lr=1e-6, d_lr=1e-6)}
_, axes = plt.subplots(3, 2, figsize=(9, 5), width_ratios=(1, 2))
for (losses, images), (title, run) in zip(axes, alike.items()):
    losses.plot(curves_of(run)["D/loss"], label="D's loss")
    losses.plot(curves_of(run)["G/loss"], label="G's loss")
    losses.set(title=title, ylim=(0, 3))
    images.imshow(ganvas.load(run.path).sample(range(20)).grid(columns=10), cmap="gray")
    images.axis("off")
axes[0, 0].legend(ncols=2)
plt.tight_layout()
plt.show()
losses, distances = ([end_of(run, name) for run in alike.values()] for name in ("D/loss", "distance"))
for title, loss, distance in zip(alike, losses, distances):
    print(f"{title:14} D's loss {loss:.2f}, distance {distance:.3f}")
assert max(losses) - min(losses) < 0.4
assert distances[2] > 1.3 * distances[1] > 3 * distances[0]

# %% [markdown]
# Les coûts de D se ressemblent, les images non. Dans le dernier entraînement, D est au niveau du hasard parce qu'il n'a
# rien appris. Dans le premier, les images générées sont meilleures, et les pénalités gardent D plat en plus. Le coût
# seul ne distingue pas ces cas : il compare deux joueurs, et ne dit pas ce qu'ils valent. Regardez des images, et
# mesurez-les.
#
# ## Cassé exprès
#
# D reçoit tout : cinq mises à jour à chaque tour, et cent fois le taux d'apprentissage de G ; et G minimise le coût
# saturant de la première leçon.

# %%
broken = train("broken", objective="minimax", d_steps=5, d_lr=1e-2, g_lr=1e-4)
diagnosis = ganvas.diagnose(broken)
print(diagnosis)
assert "D is too strong" in str(diagnosis)

# %% [markdown]
# On change un seul réglage : le taux d'apprentissage de G. Puis un second, les pénalités, tout le reste étant aussi
# injuste qu'avant.

# %%
faster = train("faster", objective="minimax", d_steps=5, d_lr=1e-2, g_lr=1e-3)
damped = train("damped", objective="minimax", d_steps=5, d_lr=1e-2, g_lr=1e-3, r1=1.0, r2=1.0)
assert "D is too strong" not in str(ganvas.diagnose(faster))
distances = [end_of(run, "distance") for run in (broken, faster, damped)]
print("distance: broken {:.3f}, a faster G {:.3f}, and penalties {:.3f}".format(*distances))
assert distances[0] > 1.5 * distances[1] > 3 * distances[2]

# %% [markdown]
# ## Trois questions
#
# 1. Dans le Dirac-GAN, ψ = 0. Que vaut le coût de D si θ = 1, et si θ = 0 ?
# 2. D reçoit un lot de 64 à chacune de ses cinq mises à jour par tour, G en a une. Après 100 kimg, combien de
#    mises à jour G a-t-il eues ? (`kimg` compte les milliers d'images réelles montrées à D.)
# 3. La pente de D est 3 quelque part. De combien un pas au taux 0,1 la change-t-il avec R1 et γ = 1, et avec la
#    pénalité centrée en un et λ = 1, s'il n'y a rien d'autre ?
#
# Les réponses sont dans la cellule suivante, calculées.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
psi = torch.tensor(0.0)  # 1. log 4 in both: the loss of D does not see where G is
for theta in (0.0, 1.0):
    print(f"1. {softplus(-psi * 0.0) + softplus(psi * theta):.3f}")
    assert torch.isclose(softplus(-psi * 0.0) + softplus(psi * theta), torch.tensor(4.0).log())

print("2.", 100_000 // 64 // 5)
assert 100_000 // 64 // 5 == 312  # 2. five times fewer than D: at equal kimg, more steps of D are fewer of G

for penalty, change in ((zero_centred, -0.3), (one_centred, -0.4)):  # 3. γψ, and 2λ(|ψ| - 1): the second ends at 1
    psi = torch.tensor(3.0, requires_grad=True)
    print(f"3. {(descend(psi, penalty(psi), 0.1) - psi).item():.1f}")
    assert abs((descend(psi, penalty(psi), 0.1) - psi).item() - change) < 1e-5

# %% [markdown]
# ## Un exercice avec vos propres images
#
# Entraînez la paire classique sur un dossier de photos, telle quelle, avec plus de pas de D, et avec des pénalités :
# `ganvas train cnn --data photos --resolution 32 --kimg 40`, la même commande avec `--d-steps 3`, et la même avec
# `--r1 10 --r2 10`. Mettez ensuite les courbes des trois dans une figure, `ganvas plot RUN RUN RUN` avec les dossiers
# que les entraînements ont nommés, et dites d'après le seul `curves.png` lequel a les meilleures images. `ganvas
# evaluate RUN --quick` a la réponse.
