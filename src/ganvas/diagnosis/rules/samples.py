"""Conditions of the pictures: what G draws, beside what it should draw."""

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules.conditions import Condition, Cure, Sighting, told
from ganvas.diagnosis.rules.optimisation import PENALTY, young

G_RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
"""What G can draw at all, by its last layer."""


def range_mismatch(history: History) -> Sighting | None:
    """Pictures that fill another range than G can, or does, draw."""
    low, high = history["real/low"], history["real/high"]
    last = history.facts.get("g_ends_in")
    if not low or last not in G_RANGES:
        return None
    bottom, top = G_RANGES[last]
    data = f"the pictures lie in [{told(low.recent())}, {told(high.recent())}]"
    drawn = f"G ends in {last}, which lies in [{bottom:g}, {top:g}]"
    inside = last == "tanh" and low.recent() >= -0.01 and 0.5 < high.recent() <= 1.01
    below = last == "sigmoid" and low.recent() < -0.5
    bytes_ = high.recent() > 20 * top
    return Sighting(float(low.at[0]), (data, drawn)) if inside or below or bytes_ else None


def normalisation(history: History) -> Sighting | None:
    """Pictures with values that G cannot reach."""
    low, high = history["real/low"], history["real/high"]
    last = history.facts.get("g_ends_in")
    if not low or last not in G_RANGES or range_mismatch(history):
        return None
    bottom, top = G_RANGES[last]
    slack = 0.05 * (top - bottom)
    if not (high.recent() > top + slack or low.recent() < bottom - slack):
        return None
    data = f"the pictures reach from {told(low.recent())} to {told(high.recent())}"
    return Sighting(float(low.at[0]), (data, f"G ends in {last} and cannot leave [{bottom:g}, {top:g}]"))


def collapsed(history: History) -> Sighting | None:
    """Fakes that are all alike: from the first, or no longer as different as they were."""
    variety, twins, missing = history["variety/batch"], history["twins"], history["classes/missing"]
    if len(variety) < 3 or hops(history):
        return None
    same = variety.holds(variety.value < 0.02)
    if same is not None:
        return Sighting(same, (f"two fakes differ by {100 * variety.recent():.1f} % of what two reals differ by",))
    best = variety.value.max()
    since = variety.holds(variety.value < 0.4, 4)
    fallen = best > 0.5 and variety.recent() < 0.6 * best
    kinds = history["classes"]
    lost = missing and kinds and missing.recent() >= 0.5 * kinds.last
    long = _looked_long(history) and variety.recent() < 0.3
    if since is None or not (lost and (fallen or long)):
        return None
    evidence = [f"two fakes differ by {100 * variety.recent():.0f} % of what two reals differ by"]
    if best > 1.5 * variety.recent():
        evidence.append(f"it was {100 * best:.0f} % at its best")
    evidence.append(f"{missing.recent():.0f} of {kinds.last:.0f} {_kinds(history)} are missing")
    if twins:
        evidence.append(f"a fake's nearest other is at {100 * twins.recent():.0f} % of the distance between reals")
    return Sighting(since, tuple(evidence))


def _looked_long(history: History) -> bool:
    """Whether G has had the time to draw something."""
    return len(history["variety"]) >= 8 and history.facts.get("seen", 20_000) >= 20_000


def hops(history: History) -> Sighting | None:
    """One picture at a time, and soon another."""
    batch, variety = history["variety/batch"], history["variety"]
    if len(batch) < 2 or len(batch) != len(variety):
        return None
    since = batch.holds((batch.value < 0.3 * variety.value) & (variety.value > 0.08), 2)
    if since is None or (batch.recent() > 0.02 and young(history)):  # at first G simply moves quickly
        return None
    within = f"the fakes of one round differ by {100 * batch.recent():.0f} % of what two reals differ by"
    return Sighting(since, (within, f"those of several rounds by {100 * variety.recent():.0f} %"))


def missing(history: History) -> Sighting | None:
    """Kinds of pictures that are never shown, or never drawn though the others are drawn well."""
    kinds, unseen = history["classes"], history["real/missing"]
    if not kinds:
        return None
    since = unseen.holds(unseen.value >= 1, 3) if unseen else None
    if since is not None:
        count = f"{unseen.recent():.0f} of {kinds.last:.0f} {_kinds(history)} are never among the real pictures shown"
        return Sighting(since, (count,))
    gone, rarest, precision, distance = (history[name] for name in _OF_CLASSES)
    if history.facts.get("seen", 0) < 50_000 or not precision or precision.recent() < 0.15 or distance.recent() > 0.3:
        return None
    since = gone.holds((gone.value >= 1) & (rarest.value < 0.15), max(6, len(gone) // 2))
    if since is None or distance.recent() < 0.7 * float(np.median(distance.value[-6:-3])):  # they may yet be found
        return None
    count = f"{gone.recent():.0f} of {kinds.last:.0f} {_kinds(history)} get less than a fifth of their share"
    return Sighting(since, (count, f"the rarest gets {100 * rarest.recent():.0f} % of it"))


_OF_CLASSES = ("classes/missing", "classes/rarest", "precision", "distance")


def _kinds(history: History) -> str:
    labelled = history["classes/labelled"]
    return "classes" if labelled and labelled.last else "kinds of pictures (k-means cells)"


def memorising(history: History) -> Sighting | None:
    """Fakes nearer to training pictures than other real pictures are."""
    nearest = history["nearest"]
    since = nearest.holds(nearest.value < 0.6) if nearest else None
    if since is None:
        return None
    far = f"a fake's nearest training picture is at {100 * nearest.recent():.0f} % of a held-out picture's distance"
    return Sighting(since, (far,))


def d_ignores(history: History) -> Sighting | None:
    """A conditional D to whom the label makes no difference."""
    labels = history["D/labels"]
    since = labels.holds(labels.value < 0.01, 3) if len(labels) >= 4 else None
    if since is None:
        return None
    change = f"another label changes D's output by {100 * labels.recent():.1f} % of what another picture does"
    return Sighting(since, (change,))


def g_ignores(history: History) -> Sighting | None:
    """A conditional G to whom the label makes no difference, or who cannot learn what it means."""
    labels, differ = history["G/labels"], history["labels/differ"]
    since = differ.holds(differ.value > 0.3) if differ else None
    if since is not None:
        told = f"with {100 * differ.recent():.0f} % of the fakes D is told another label than G was given"
        return Sighting(since, (told,))
    since = labels.holds(labels.value < 0.1, 10) if labels else None
    if since is None or history.facts.get("seen", 0) < 50_000:  # at first only the shapes are learnt
        return None
    change = f"another label changes G's pictures by {100 * labels.recent():.1f} % of what another z does"
    return Sighting(since, (change,))


def uneven(history: History) -> Sighting | None:
    """A class with many times its even share."""
    most = history["classes/uneven"]
    if not most or most.recent() < 3 or not history["classes/labelled"].last:
        return None
    largest = history["classes/largest"]
    share = f"{100 * largest.recent():.0f} % of the pictures, " if largest else ""
    return Sighting(float(most.at[0]), (f"the largest class has {share}{told(most.recent())} times an even share",))


def checkered(history: History) -> Sighting | None:
    """A pattern of period two on all fakes."""
    pattern = history["checkerboard"]
    distance = history["distance"]
    if len(pattern) < 8 or not pattern.recent(6) >= 0.08 or not distance or distance.recent() > 0.6:
        return None  # untrained networks leave patterns too
    since = pattern.holds(pattern.value > 0.05, 1) or float(pattern.at[-1])
    size = f"a pattern of period two lies on all fakes, {100 * pattern.recent():.0f} % of the reals' contrast"
    return Sighting(since, (size,))


RANGE = Condition(
    "range mismatch", "failure", "The pictures and G's output lie in different ranges: D tells them apart by that.",
    ("real/low",), ("pictures scaled to [0, 1] for a G that ends in tanh, or the reverse", "pictures left in 0 to 255"),
    (Cure("scale the pictures to G's range: x / 127.5 - 1 for tanh"), Cure("a sigmoid for [0, 1]", "--output sigmoid")),
    "Chintala et al. 2016, ganhacks 1", range_mismatch,
)  # fmt: skip
NORMALISATION = Condition(
    "normalisation mismatch", "failure", "The pictures hold values that G cannot draw.", ("real/low",),
    ("pictures standardised with a mean and a deviation, fakes not",),
    (Cure("scale the pictures to [-1, 1] instead: x / 127.5 - 1"), Cure("no bound on G's output", "--output linear")),
    "Chintala et al. 2016, ganhacks 1", normalisation,
)  # fmt: skip
COLLAPSE = Condition(
    "mode collapse", "failure", "Mode collapse: the fakes are (nearly) all alike.", ("variety/batch",),
    ("G found one picture that D accepts, and D follows too slowly", "G does not use z, or z is always the same"),
    (PENALTY, Cure("check that every fake has a z of its own"),
     Cure("lower G's learning rate, or let D move more often", "--g-lr 1e-4 --d-steps 2")),
    "Metz et al. 2017; Huang et al. 2024", collapsed,
)  # fmt: skip
HOPPING = Condition(
    "mode hopping", "failure", "Mode hopping: all fakes of a round are alike, and a few rounds later all are another.",
    ("variety/batch", "variety"), ("one z for the whole batch", "G chases D from mode to mode"),
    (Cure("check that every fake of a batch has a z of its own"), PENALTY), "Metz et al. 2017, section 2", hops,
)  # fmt: skip
MISSING = Condition(
    "modes missing", "failure", "Some kinds of pictures are never drawn.", ("classes/missing",),
    ("the loader does not show them (sorted data, no shuffling, a subset)", "partial mode collapse",
     "rare classes"),
    (Cure("check that every class passes by in the batches"), PENALTY, Cure("balance the classes", "--balanced"),
     Cure("learn the classes", "--conditional")),
    "Richardson & Weiss 2018; Lin et al. 2018", missing,
)  # fmt: skip
MEMORISING = Condition(
    "memorisation", "failure", "G repeats training pictures.", ("nearest",),
    ("too few pictures for so long a training",),
    (Cure("more pictures, or mirrored ones", "--mirror"), Cure("augment what D sees", "--augment ada --ada-target 0.6"),
     Cure("stop earlier: see snapshots/best")),
    "Meehan et al. 2020; Karras et al. 2020", memorising,
)  # fmt: skip
D_LABELS = Condition(
    "labels ignored by D", "failure", "D ignores the labels: G is not asked to draw the class it was given.",
    ("D/labels",), ("D is given constant or wrong labels", "the label's way into D is too weak"),
    (Cure("check the labels that D is given beside the reals"),), "Miyato & Koyama 2018", d_ignores,
)  # fmt: skip
G_LABELS = Condition(
    "labels ignored by G", "failure", "G's labels mean nothing: it does not draw the class it is asked for.",
    ("G/labels",), ("the fakes' labels are not those that G was given", "D ignores them", "labels that mean nothing"),
    (Cure("give D, with each fake, the very label that G was given"),), "Mirza & Osindero 2014",
    g_ignores,
)  # fmt: skip
UNEVEN = Condition(
    "imbalanced classes", "warning", "The classes are very unevenly filled: rare ones will be drawn rarely, and badly.",
    ("classes/uneven",), ("the data are like that",), (Cure("show every class equally often", "--balanced"),),
    "", uneven,
)  # fmt: skip
CHECKERBOARD = Condition(
    "checkerboard artefacts", "warning", "A fine pattern of alternating rows, columns or squares lies on every fake.",
    ("checkerboard",), ("transposed convolutions whose kernel is no multiple of their stride",),
    (Cure("upsample, then convolve; or kernels of 4 with strides of 2"), Cure("another network", "--family resnet")),
    "Odena et al. 2016", checkered,
)  # fmt: skip
