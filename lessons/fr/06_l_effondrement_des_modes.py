# %% [markdown]
# # 6. L'effondrement des modes
#
# **L'affirmation.** Une distribution d'images a des *modes* : des sortes d'images, comme les dix chiffres. Un GAN
# peut en dessiner quelques-uns et jamais les autres ; à l'extrême, toutes les images générées sont identiques : c'est
# l'*effondrement des modes* (« mode collapse »). Les coûts ne le montrent pas toujours. On compte donc les modes
# (Goodfellow 2016 ; Metz et al. 2017).
#
# Cette leçon montre un effondrement dans le plan et essaie un à un les remèdes habituels ; elle compte mille
# modes ; puis elle fait s'effondrer un GAN de chiffres, ce que Ganvas mesure et nomme.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import softplus

import ganvas
from ganvas.data import DataOptions, open_images

FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more

# %% [markdown]
# ## Huit modes
#
# Les données sont des points du plan : huit petites gaussiennes sur un cercle. Un point appartient à la plus
# proche, s'il se trouve à moins de quatre écarts types de son centre. Un mode *compte comme dessiné* si au moins un
# point sur quarante lui appartient, le cinquième de sa juste part.

# %%
SPREAD = 0.05
angles = torch.arange(8) * torch.pi / 4
centres = torch.stack([angles.cos(), angles.sin()], 1)  # float [8 2]


def draw_ring(n):
    """n points of the data, float [n 2]."""
    return centres[torch.randint(8, (n,))] + SPREAD * torch.randn(n, 2)


def modes_of(points):
    """How many of the eight modes the points float [n 2] show."""
    distances, nearest = torch.cdist(points, centres).min(1)
    counts = torch.bincount(nearest[distances < 4 * SPREAD], minlength=8)
    return int((counts >= len(points) / 40).sum())


torch.manual_seed(0)
assert modes_of(draw_ring(4000)) == 8
assert modes_of(centres[3] + SPREAD * torch.randn(4000, 2)) == 1  # every point is perfect, seven modes are missing

# %% [markdown]
# ## Le jeu, avec des remèdes à activer
#
# Un GAN s'effondre facilement quand D apprend plus lentement que G. `play` est la boucle de la leçon 1, avec ce qui
# passe pour y remédier :
#
# - **un D plus rapide** : le taux d'apprentissage de D est celui de G ;
# - **plus de D** : trois mises à jour de D pour une de G ;
# - **des statistiques du lot** : D reçoit, avec chaque point, l'écart type dans son lot (Karras et al. 2018,
#   d'après Salimans et al. 2016). Des points faux tous pareils se trahissent ;
# - **RpGAN + R1 + R2** : le coût relativiste par paires compare chaque point faux à un réel, par la différence de leurs
#   logits, et des pénalités gardent petits les gradients de D sur les deux (Huang et al. 2024). Ici avec des taux
#   égaux : contre un D cinq fois plus lent, il ne suffit pas non plus. Essayez.
#
# Nous vous en laissons deux autres. Avec des *taux plus bas*, G va moins loin avant que D ait répondu ; il faut alors
# plus de tours. Le *déroulement* (« unrolling ») fait descendre à G son coût contre le D de quelques pas plus tard,
# le gradient passant à travers ces pas (Metz et al. 2017). Chacun de ses tours coûte plusieurs fois plus cher.


# %%
def mlp(*widths):
    """Fully connected layers with LeakyReLU between them."""
    layers = []
    for n_in, n_out in zip(widths, widths[1:]):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


class BatchDeviation(nn.Module):
    """x float [n f] -> float [n f + 1]: appends the deviation within the batch, one number for all rows."""

    def forward(self, x):
        return torch.cat([x, x.std(0).mean().expand(len(x), 1)], 1)


def squared_slope(x, logits):
    """The squared norm of D's gradient at each x, float [n]: R1 on reals, R2 on fakes."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().sum(1)


def play(draw, G, D, rounds, *, g_rate, d_rate, d_steps=1, relative=False, gamma=0.0, look=None):
    """Trains G, from z float [n 32], against D on draw(n); calls look(G) five times."""
    g_optimiser = torch.optim.Adam(G.parameters(), g_rate, (0.5, 0.99), fused=True)
    d_optimiser = torch.optim.Adam(D.parameters(), d_rate, (0.5, 0.99), fused=True)
    for i in range(rounds):
        for _ in range(d_steps):
            real, fake = draw(64), G(torch.randn(64, 32)).detach()
            if gamma:
                real.requires_grad_()  # the penalties take D's gradients at the points themselves
                fake.requires_grad_()
            on_real, on_fake = D(real), D(fake)  # float [64 1]
            losses = softplus(on_fake - on_real) if relative else softplus(-on_real) + softplus(on_fake)
            if gamma:
                slopes = squared_slope(real, on_real) + squared_slope(fake, on_fake)
                losses = losses.squeeze(1) + gamma / 2 * slopes
            d_optimiser.zero_grad()
            losses.mean().backward()
            d_optimiser.step()
        on_fake = D(G(torch.randn(64, 32)))
        loss = softplus(D(draw(64)) - on_fake if relative else -on_fake).mean()
        g_optimiser.zero_grad()
        loss.backward()
        g_optimiser.step()
        if look and (i + 1) % (rounds // 5) == 0:
            look(G)
    return G


# %% [markdown]
# ## Un effondrement, vu de près
#
# G apprend cinq fois plus vite que D.

# %%
SLOW_D, EQUAL = {"g_rate": 5e-3, "d_rate": 1e-3}, {"g_rate": 5e-3, "d_rate": 5e-3}
ROUNDS = 400 if FAST else 1500


def play_ring(batch_deviation=False, rounds=ROUNDS, **settings):
    """A game on the ring: G's points through time, a list of float [1000 2]."""
    torch.manual_seed(1)
    points = []
    D = nn.Sequential(BatchDeviation(), mlp(3, 64, 64, 1)) if batch_deviation else mlp(2, 64, 64, 1)
    with_points = lambda G: points.append(G(torch.randn(1000, 32)).detach())  # noqa: E731
    play(draw_ring, mlp(32, 64, 64, 2), D, rounds, look=with_points, **settings)
    return points


def draw_points(rows):
    """A row of pictures for each of the lists of points."""
    _, axes = plt.subplots(1, len(rows), figsize=(2.4 * len(rows), 2.7), sharex=True, sharey=True)
    for axis, (title, points) in zip(axes, rows.items()):
        axis.scatter(*centres.T.numpy(), s=60, color="0.85")
        axis.scatter(*points.T.numpy(), s=2, color="tab:orange")
        axis.set(title=f"{title}: {modes_of(points)}", aspect="equal", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    plt.show()


history = play_ring(**SLOW_D)
draw_points({f"round {(i + 1) * ROUNDS // 5}": points for i, points in enumerate(history)})

# %% [markdown]
# Les points de G se trouvent au même endroit, et cet endroit change : D vient d'apprendre qu'il est faux. Plus de
# tours n'y font rien. Le nombre au-dessus de chaque figure est celui des modes.
#
# Pourquoi D laisse-t-il faire ? D voit chaque point seul. Il ne peut pas savoir que tous les points de G sont au
# même endroit ; il apprend que *cet endroit* contient des points faux, et y baisse son logit. G part alors
# ailleurs, tous ses points ensemble, et D le suit autour du cercle.
#
# ## Les remèdes

# %%
cures = {
    "slow D": history[-1],
    "faster D": play_ring(**EQUAL)[-1],
    "more D": play_ring(**SLOW_D, d_steps=3)[-1],
    "deviation": play_ring(**SLOW_D, batch_deviation=True)[-1],
    "RpGAN + R1 + R2": play_ring(**EQUAL, relative=True, gamma=0.02)[-1],
}
draw_points(cures)
modes = {title: modes_of(points) for title, points in cures.items()}
print(modes)
assert modes.pop("slow D") <= 2
assert min(modes.values()) >= 3

# %% [markdown]
# Chacun ramène presque tous les modes : ces nombres ne les départagent donc pas. Ce qu'ils ont en commun, c'est un
# D qui répond à temps : par son taux d'apprentissage, par plus de mises à jour, ou parce qu'il voit le lot et
# reconnaît l'effondrement lui-même. Les points entre les modes sont les ponts de la leçon 1.
#
# ## Cassé exprès
#
# La même erreur avec les réglages de Ganvas : le taux d'apprentissage de G vaut quarante fois celui de D, et il n'y
# a pas de pénalité. La recette `digits` entraîne deux petits réseaux entièrement connectés sur 1 400 chiffres de
# 8×8 pixels.

# %%
KIMG = 21 if FAST else 100


def train(name, **knobs):
    """A run of the recipe `digits`, with some knobs changed; shows its images."""
    settings = {"kimg": KIMG, "batch": 128, "tick_kimg": KIMG / 10, "snapshot_kimg": KIMG, "plot": False} | knobs
    run = ganvas.train("digits", out="runs/lesson-6", name=name, quiet=True, **settings)
    plt.figure(figsize=(9, 1.9))
    plt.imshow(ganvas.load(run.path).sample(range(20)).grid(columns=10), cmap="gray")
    plt.title(name)
    plt.axis("off")
    plt.show()
    return run


broken = train("broken", objective="non-saturating", r1=0.0, r2=0.0, g_lr=2e-3, d_lr=5e-5, beta1=0.5)
diagnosis = ganvas.diagnose(broken)
print(diagnosis)
assert "Mode collapse" in str(diagnosis)

# %% [markdown]
# Les preuves sont dans les images, non dans les coûts : combien deux images générées diffèrent, et combien de
# classes manquent. Combien de classes *sont* dessinées, `ganvas.evaluate` le compte à l'aide d'un classifieur. La
# **précision** est la part des images générées qui se trouvent parmi les réelles, le **rappel** la part des réelles
# qui se trouvent parmi les générées (Kynkäänniemi et al. 2019). Un G qui dessine une seule image parfaite a toute
# la précision et aucun rappel. Celui-ci n'a ni l'une ni l'autre : sa seule image n'est pas parfaite.


# %%
def measure(run):
    """Prints measures of variety, each with what held-out real images get; returns their values by name."""
    measured = ganvas.evaluate(run, count=390, quick=True, quiet=True)
    for name in ("modes", "rarest", "precision", "recall"):
        print(f"{measured.get_measure(name).title:22} {measured.values[name]}")
    return {name: value.value for name, value in measured.values.items()}


before = measure(broken)

# %% [markdown]
# ## Le remède
#
# Le diagnostic propose deux corrections : le coût relativiste avec R1 et R2, et un G qui apprend plus lentement
# contre plus de mises à jour de D. S'il trouve D trop faible, il le dit aussi : que D apprenne au taux de G. La
# recette a le coût, les pénalités et des taux égaux : il suffit d'enlever ce qui l'a cassée.

# %%
remedied = train("remedied")
after = measure(remedied)
assert after["modes"] >= before["modes"] + 4
assert after["recall"] > before["recall"]

# %% [markdown]
# ## Mille modes
#
# Dix classes sont vite dessinées. Metz et al. 2017 ont fait un jeu de données où il y a plus de modes à compter,
# StackedMNIST : trois chiffres, un dans le canal rouge, un dans le vert et un dans le bleu d'une même image, font 10
# · 10 · 10 = 1 000 classes. Un GAN de ce banc d'essai dessine lui-même les trois canaux ; ici, trois images d'un même
# G sont empilées, ce qui montre comment ce compte se comporte. La classe d'un canal est celle du chiffre réel le plus
# proche.

# %%
digits = open_images(DataOptions(source="digits"))
reals = torch.tensor(digits.images[:])  # uint8 [1400 1 8 8]
held_out = torch.tensor(open_images(DataOptions(source="digits", split="test")).images[:])  # uint8 [397 1 8 8]


def modes_of_thousand(images):
    """How many of the 1,000 modes 6,000 images show, uint8 [6000 1 8 8], stacked by three."""
    nearest = torch.cdist(images.float().flatten(1), reals.float().flatten(1)).argmin(1)
    classes = torch.tensor(digits.labels)[nearest].view(2000, 3)
    return len((classes @ torch.tensor([100, 10, 1])).unique())


stacks = {"held-out reals": held_out[torch.randint(397, (6000,))]}
for title, run in {"broken": broken, "remedied": remedied}.items():
    stacks[title] = torch.tensor(ganvas.load(run.path).sample(range(6000)))
thousand = {title: modes_of_thousand(images) for title, images in stacks.items()}
print("modes in 2,000 stacked images:", thousand)
print(f"modes in 2,000 draws of 1,000 equally frequent classes, on average: {1000 * (1 - (1 - 1 / 1000) ** 2000):.0f}")
assert thousand["held-out reals"] > 800
assert thousand["remedied"] > 3 * thousand["broken"]

# %% [markdown]
# Deux mille tirages, même d'un échantillonneur parfait, ne montrent pas mille classes : comparez à la dernière ligne.
# Et le G cassé montre plus d'un mode bien qu'il dessine un seul chiffre : ses images diffèrent un peu, et le chiffre
# réel le plus proche d'une mauvaise image est tantôt de cette classe, tantôt d'une autre. Ne comptez que les modes de
# bonnes images.
#
# ## Trois questions
#
# 1. Dix modes de même fréquence ; G en dessine deux, à parts égales, parfaitement. Que vaut la divergence KL de
#    ses images par rapport à la loi uniforme ?
# 2. Une classe a un millième des images. Avec quelle probabilité 1 000 images d'un tirage parfait n'en
#    montrent-elles aucune ?
# 3. D ajoute 5 à chacun de ses logits, sur les réelles comme sur les fausses. Qu'est-ce que cela change au coût
#    non saturant de G (leçon 1), et à celui de RpGAN ?
#
# Les réponses sont dans la cellule suivante, calculées.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
p = torch.tensor([0.5, 0.5])  # 1. the sum of p log (p / 0.1): log 5, and 0 would be a perfect variety
print(f"1. {(p * (p / 0.1).log()).sum():.2f}")
assert torch.isclose((p * (p / 0.1).log()).sum(), torch.tensor(5.0).log())

missed = (1 - 1 / 1000) ** 1000  # 2. about 1 / e
print(f"2. {missed:.2f}")
assert 0.36 < missed < 0.37

on_real, on_fake = torch.randn(64), torch.randn(64)  # 3. the first falls, and nothing of it is G's merit ...
print(f"3. {softplus(-on_fake).mean():.2f} becomes {softplus(-(on_fake + 5)).mean():.2f}; RpGAN's stays")
assert softplus(-(on_fake + 5)).mean() < softplus(-on_fake).mean() / 5
assert torch.allclose(softplus((on_real + 5) - (on_fake + 5)), softplus(on_real - on_fake), atol=1e-5)  # ... no change

# %% [markdown]
# ## Un exercice avec vos propres images
#
# Rangez des photos dans deux dossiers, `photos/rare` et `photos/frequent`, avec dix fois plus d'images dans le
# second : les dossiers sont les classes. Entraînez `ganvas train cnn-stable --data photos --resolution 32 --minutes
# 5`, puis mesurez avec `ganvas evaluate RUN`, RUN étant le dossier de l'entraînement : quelle part la classe la
# plus rare a-t-elle ? Entraînez de nouveau avec `--balanced`, et comparez. Si vous avez du temps, essayez les mille
# modes : `ganvas train cnn-stable --data stacked-mnist:digits28`.
