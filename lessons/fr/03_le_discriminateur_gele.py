# %% [markdown]
# # 3. Le discriminateur gelé
#
# **L'affirmation.** Chaque coût d'un GAN fait bouger un seul réseau : le coût de D fait bouger D, celui de G fait
# bouger G. La boucle que partagent la plupart des tutoriels Keras l'exprime en une ligne. D est compilé ; puis
# vient `discriminator.trainable = False` ; puis G et D sont compilés en un seul modèle. « Ainsi D apprend quand on
# l'entraîne seul, et reste immobile pendant que G apprend. »
#
# Dans Keras 2, c'était vrai. Dans Keras 3, les mêmes lignes entraînent un D qui n'apprend jamais rien. Aucune
# erreur n'est levée, les coûts ont l'air de coûts, et G dessine du bruit. Cette leçon trouve la faute de trois
# façons, dans ce que la boucle affiche, dans les réseaux et à la main, et l'élimine de deux façons.
#
# Il faut Keras en plus de PyTorch : `pip install keras`. Sans Keras, la leçon se lit mais ne s'exécute pas ; la
# même faute en PyTorch seul vient vers la fin.

# %%
import os

os.environ["KERAS_BACKEND"] = "torch"  # Keras reads it when it is imported, and never again

import warnings
from pathlib import Path

import keras
import matplotlib.pyplot as plt
import numpy as np
import torch
from keras import layers
from torch import nn
from torch.nn.functional import binary_cross_entropy, softplus

import ganvas
from ganvas.data import DataOptions, open_images

warnings.filterwarnings("ignore", "__array__", DeprecationWarning)  # Keras calls NumPy in an old way
FAST = bool(os.environ.get("GANVAS_LESSON_FAST"))  # the same lesson in seconds, for tests
torch.set_num_threads(1)  # networks as small as these are no faster with more
images = open_images(DataOptions(source="digits28")).images[:2000]  # uint8 [2000 1 28 28]
images = images.transpose(0, 2, 3, 1) / np.float32(127.5) - 1  # float [2000 28 28 1] in [-1, 1], as Keras has them

# %% [markdown]
# ## La boucle telle qu'on l'écrit partout
#
# Deux petits réseaux, et les trois étapes des tutoriels. Pour qui vient de PyTorch : un modèle Keras est *compilé*
# avec son coût et son optimiseur, et `train_on_batch(x, y)` est alors une mise à jour entière : propagation avant,
# rétropropagation et pas de l'optimiseur. Elle renvoie le coût et les métriques du lot, ici l'exactitude de D.
# Lisez `play` lentement, et demandez-vous à chaque mise à jour quels poids elle a le droit de changer.


# %%
def make_pair():
    """G: z float [n 100] -> images float [n 28 28 1] in [-1, 1]; D: images -> probabilities [n 1]."""
    G, D = [], []
    for width in (128, 256):
        G += [layers.Dense(width), layers.LeakyReLU(negative_slope=0.2), layers.BatchNormalization(momentum=0.8)]
    for width in (16, 32, 64):
        D += [layers.Conv2D(width, 5, strides=2, padding="same"), layers.LeakyReLU(negative_slope=0.2)]
    G += [layers.Dense(784, activation="tanh"), layers.Reshape((28, 28, 1))]
    D += [layers.Flatten(), layers.Dense(1, activation="sigmoid")]
    return keras.Sequential([keras.Input((100,)), *G]), keras.Sequential([keras.Input((28, 28, 1)), *D])


def adam(rate):
    return keras.optimizers.Adam(rate, beta_1=0.5)


def compile_pair():
    """G, D, and both as one model, in which D is to stand still."""
    keras.utils.set_random_seed(1)
    G, D = make_pair()
    D.compile(adam(2e-4), "binary_crossentropy", metrics=["accuracy"])
    D.trainable = False
    z = keras.Input((100,))
    combined = keras.Model(z, D(G(z)))
    combined.compile(adam(1e-3), "binary_crossentropy")
    return G, D, combined


# %%
def play(G, D, combined, rounds, *, unfreeze=False, probe=None):
    """The classic loop; returns the lines that it prints. `unfreeze` and `probe` come later."""
    random, log = np.random.default_rng(1), []
    ones, zeros = np.ones((32, 1)), np.zeros((32, 1))
    for i in range(rounds):
        real = images[random.integers(len(images), size=32)]
        fake = G.predict(random.normal(size=(32, 100)), verbose=0)
        if unfreeze:
            D.trainable = True
        d_loss = 0.5 * np.add(D.train_on_batch(real, ones), D.train_on_batch(fake, zeros))
        if unfreeze:
            D.trainable = False
        g_loss = combined.train_on_batch(random.normal(size=(32, 100)), ones)
        if i % (rounds // 20) == 0:
            log += [f"{i} [D loss: {d_loss[0]:f}, acc.: {100 * d_loss[1]:.2f}%] [G loss: {g_loss:f}]"]
        if probe:
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return log


ROUNDS = 60 if FAST else 500
with warnings.catch_warnings(record=True) as told:  # they drown in the output of a notebook: we look at them later
    warnings.simplefilter("always")
    frozen, D, combined = compile_pair()
    log = play(frozen, D, combined, ROUNDS)
print("\n".join(log[::3]))

# %% [markdown]
# ## Ce que disent les coûts
#
# Le nombre après « D loss » est la moyenne de deux entropies croisées, sur les images réelles et sur les images
# générées ; l'exactitude à côté est la part des deux que D met du bon côté de ½, et la moitié ne vaut pas mieux que
# le hasard. Un D qui répond ½ à tout y a $-\log \frac12 = 0{,}69$. Celui-ci commence près de 0,69, puis ne fait que
# *se dégrader*, tandis que le coût de G baisse. Un D qui apprend ne peut pas faire cela longtemps : il pourrait au
# moins revenir à la réponse ½. D n'apprend donc pas, et cela se lit dans les coûts seuls, sans le programme.
#
# `ganvas diagnose log.txt` le fait pour n'importe quel journal, de n'importe qui ; en Python :

# %%
folder = Path("runs/lesson-3")
folder.mkdir(parents=True, exist_ok=True)
(folder / "frozen.txt").write_text("\n".join(log) + "\n")
diagnosis = ganvas.diagnose(folder / "frozen.txt")
print(diagnosis)
assert "D is frozen" in str(diagnosis)

# %% [markdown]
# ## Ce que disent les réseaux
#
# Les coûts donnent un soupçon bien fondé. Les réseaux donnent la preuve. `ganvas.watch` accepte les modèles de
# Keras comme les modules de PyTorch, et regarde les poids avant et après un tour. Vingt tours suffisent.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    G, D, combined = compile_pair()
    with ganvas.watch(G, D, every=3) as probe:
        play(G, D, combined, rounds=20, probe=probe)
diagnosis = probe.diagnosis()
assert "D is frozen by D.trainable = False" in str(diagnosis)
assert "exactly 0" in str(diagnosis)

# %% [markdown]
# ## Pourquoi : qui lit le drapeau, et quand
#
# `D.trainable = False` vide la liste `D.trainable_weights`, celle des poids qu'une mise à jour change. Dans Keras
# 2, `compile` gardait une copie de cette liste : D était compilé avant que le drapeau ne soit baissé, sa propre
# copie était donc pleine, et seule celle du modèle combiné était sans D. Dans Keras 3, `compile` ne garde aucune
# liste. Le drapeau est relu dans la mise à jour elle-même, et là il vaut False pour les deux modèles.

# %%
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    change = {}
    for trainable in (False, True):
        _, D, _ = compile_pair()
        D.trainable = trainable
        before = [weight.copy() for weight in D.get_weights()]
        D.train_on_batch(images[:32], np.ones((32, 1)))
        change[trainable] = max(np.abs(now - then).max() for now, then in zip(D.get_weights(), before))
        print(f"trainable = {trainable}: {len(D.trainable_weights)} tensors, largest change {change[trainable]:.1e}")
assert change[False] == 0 < change[True]
assert change[True] < 1e-3

# %% [markdown]
# Keras dit bien quelque chose, une fois, parmi les autres lignes d'un carnet. Voici ce que le premier entraînement
# nous a dit :

# %%
texts = {str(one.message) for one in told if "trainable weights" in str(one.message)}
print(texts)
assert texts

# %% [markdown]
# ## Le remède : le drapeau à chaque mise à jour
#
# Si le drapeau est lu à chaque mise à jour, il doit être juste à chacune : True avant les mises à jour propres à D,
# False avant celles du modèle combiné. Ce sont les deux affectations que `unfreeze=True` ajoute.
#
# Refaites les deux modèles avant de l'essayer. Un optimiseur de Keras garde la liste des poids de sa première mise
# à jour ; celui du D gelé a vu une liste vide, et lève `Unknown variable` si le drapeau change ensuite.

# %%
learned, D, combined = compile_pair()
with ganvas.watch(learned, D, data=images, every=25) as probe:
    log = play(learned, D, combined, ROUNDS, unfreeze=True, probe=probe)
(folder / "learned.txt").write_text("\n".join(log) + "\n")
assert "D is frozen" not in str(probe.diagnosis())
assert "D is frozen" not in str(ganvas.diagnose(folder / "learned.txt"))

# %%
z = np.random.default_rng(2).normal(size=(100, 100))
figure, axes = plt.subplots(2, 1, figsize=(9, 2.4))
off = {}
for axis, (title, G) in zip(axes, {"frozen D": frozen, "D that learns": learned}.items()):
    fakes = G.predict(z, verbose=0)[..., 0]  # float [100 28 28]
    framed = np.pad(fakes[:10], ((0, 0), (1, 1), (1, 1)), constant_values=1)  # a white line around each image
    axis.imshow(np.concatenate(list(framed), 1), cmap="gray", vmin=-1, vmax=1)
    axis.set_title(title)
    axis.axis("off")
    off[title] = np.abs(fakes.mean(0) - images.mean(0)[..., 0]).mean()
    print(f"{title}: the mean of the fakes is {off[title]:.2f} away from that of the reals, in each pixel")
plt.show()
assert off["D that learns"] < 0.8 * off["frozen D"]

# %% [markdown]
# Face à un D gelé, G cherche les images que ce D prend le plus sûrement pour vraies. C'est du bruit, mais ce D ne
# l'apprend jamais.
#
# ## Un remède sans drapeau
#
# Un drapeau qui doit être juste à deux endroits de chaque tour sera faux un jour. Il est plus sûr de nommer les
# poids dans la mise à jour elle-même : le gradient de ce coût, appliqué à ces poids. Alors il n'y a rien à geler.


# %%
def update(optimiser, loss, network):
    """One update of `network`, and of nothing else, by an optimiser of Keras (with PyTorch behind it)."""
    network.zero_grad()
    loss.backward()
    weights = network.trainable_weights
    with torch.no_grad():
        optimiser.apply([weight.value.grad for weight in weights], weights)


def two_updates(rounds):
    """The same game by gradients of named weights; returns the diagnosis."""
    keras.utils.set_random_seed(1)
    G, D = make_pair()
    d_adam, g_adam, random, ones = adam(2e-4), adam(1e-3), np.random.default_rng(1), torch.ones(32, 1)
    with ganvas.watch(G, D, every=25) as probe:
        for _ in range(rounds):
            real = torch.tensor(images[random.integers(len(images), size=32)])
            fake = G(torch.randn(32, 100), training=True)
            d_loss = binary_cross_entropy(D(real), ones) + binary_cross_entropy(D(fake.detach()), 1 - ones)
            update(d_adam, d_loss, D)
            g_loss = binary_cross_entropy(D(fake), ones)
            update(g_adam, g_loss, G)
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return probe.diagnosis()


diagnosis = two_updates(ROUNDS // 4)
assert "D is frozen" not in str(diagnosis)

# %% [markdown]
# Avec TensorFlow derrière Keras, la même chose s'écrit `tape.gradient(d_loss, D.trainable_weights)` et
# `optimiser.apply_gradients` ; dans votre propre `train_step`, cela marche avec `fit`.
#
# ## La même faute en PyTorch
#
# PyTorch a aussi ce drapeau : `D.requires_grad_(False)`. Oubliez de le relever, et le coût de D n'a plus rien vers
# quoi propager son gradient. PyTorch le dit aussitôt :

# %%
G = nn.Sequential(nn.Linear(100, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())
D = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
flat = torch.tensor(images).flatten(1)  # float [2000 784]
D.requires_grad_(False)
d_loss = softplus(-D(flat[:32])).mean() + softplus(D(G(torch.randn(32, 100)).detach())).mean()
try:
    d_loss.backward()
except RuntimeError as error:
    message = str(error)
    print(message)
assert "does not require grad" in message

# %% [markdown]
# Il ne dit rien quand c'est l'*optimiseur* qui n'est pas le bon. On y arrive d'ordinaire dans un carnet : la
# cellule qui crée les réseaux est exécutée une deuxième fois, celle qui crée les optimiseurs ne l'est pas.
# L'optimiseur de D fait alors bouger les poids d'un réseau dont plus personne ne se sert.


# %%
def torch_loop(rounds, *, stale):
    """The game in PyTorch; `stale`: D's optimiser belongs to a D that was made before."""
    torch.manual_seed(1)
    G = nn.Sequential(nn.Linear(100, 256), nn.LeakyReLU(0.2), nn.Linear(256, 784), nn.Tanh())
    D = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))
    g_adam, d_adam = (torch.optim.Adam(network.parameters(), 5e-4, (0.5, 0.999)) for network in (G, D))
    if stale:
        D = nn.Sequential(nn.Linear(784, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1))  # the cell is run again
    with ganvas.watch(G, D, every=10) as probe:
        for _ in range(rounds):
            real, fake = flat[torch.randint(len(flat), (32,))], G(torch.randn(32, 100))
            d_loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
            d_adam.zero_grad()
            d_loss.backward()
            d_adam.step()
            g_loss = softplus(-D(fake)).mean()
            g_adam.zero_grad()
            g_loss.backward()
            g_adam.step()
            probe.step(real=real, fake=fake, d_loss=d_loss, g_loss=g_loss)
    return probe.diagnosis()


diagnosis = torch_loop(50, stale=True)
assert "D is frozen" in str(diagnosis)
diagnosis = torch_loop(50, stale=False)
assert "D is frozen" not in str(diagnosis)

# %% [markdown]
# Un test d'une ligne trouve toutes ces fautes, dans n'importe quelle bibliothèque : gardez une copie des poids de
# D, faites un tour, et comparez.
#
# ## Trois questions
#
# 1. Combien de tenseurs de poids le modèle combiné met-il à jour tant que D est gelé, et combien si l'on a oublié
#    le drapeau ?
# 2. D répond 0,5 à chaque image réelle et 0,8 à chaque image générée. Qu'affiche la boucle comme « D loss » ? Un D
#    qui apprend peut-il en rester là ?
# 3. Les poids de D ont `requires_grad=False` pendant que G apprend. G reçoit-il encore un gradient à travers D ?
#
# Les réponses sont dans la cellule suivante, calculées.

# %% tags=["hide-input", "answers"] jupyter={"source_hidden": true}
G, D, combined = compile_pair()
counts = [len(combined.trainable_weights)]
D.trainable = True
counts += [len(combined.trainable_weights)]
print("1.", counts)
assert counts == [10, 18]  # 1. G's ten; with D's eight in the second case, and G's loss would move D too

printed = 0.5 * (-np.log(0.5) - np.log(1 - 0.8))
print(f"2. {printed:.2f}; by saying 0.5 to everything {-np.log(0.5):.2f}")
assert round(printed, 2) == 1.15 > 0.69  # 2. no: by saying 0.5 to everything D would have 0.69

G, D = nn.Linear(3, 2), nn.Linear(2, 1).requires_grad_(False)
softplus(-D(G(torch.ones(1, 3)))).mean().backward()
print("3. G's gradient:", G.weight.grad.abs().sum().item(), "- D's:", D.weight.grad)
assert G.weight.grad.abs().sum() > 0  # 3. yes: the gradient with respect to D's input needs no gradient of its weights
assert D.weight.grad is None

# %% [markdown]
# ## Un exercice avec vos propres images
#
# Mettez deux cents photos dans un dossier, et jouez la boucle de cette leçon sur elles à la place des chiffres :
# dans la première cellule, `open_images(DataOptions(source="photos", resolution="28", channels=1)).images`, sans
# `[:2000]` ; les lignes qui suivent en font des flottants. Écrivez ce qu'elle affiche dans un fichier, une fois
# avec `unfreeze=True` et une fois sans, et lancez la commande `ganvas diagnose` sur les deux. Si vous avez le
# journal d'un de vos anciens carnets, lancez-la aussi sur celui-là.
