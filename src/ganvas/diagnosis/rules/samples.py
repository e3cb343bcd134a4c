"""Conditions of the samples: what G generates, compared with what it should generate."""

import numpy as np

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules import fixes, remedies
from ganvas.diagnosis.rules.conditions import Condition, Detection, three_digits
from ganvas.diagnosis.rules.fixes import PENALTY, Fix
from ganvas.diagnosis.rules.progress import has_learned, is_young
from ganvas.diagnosis.rules.quality import severity_of

OUTPUT_RANGES = {"tanh": (-1.0, 1.0), "sigmoid": (0.0, 1.0)}
"""The values that G can output at all, by its last layer."""


FEW_STEPS = 100
"""Steps of G before which its fakes may be nearly alike, as those of weights that have only been drawn are."""

MANY_STEPS = 600
"""Steps of G after which it has mostly learned more than one kind: after 300 a slow one draws nearly alike ones."""

REPEATED = 0.05
"""The distance from a fake to the nearest other, relative to that between reals, below which they are one image."""


def range_mismatch(history: History) -> Detection | None:
    """Images in another range than that of G's output."""
    low, high = history["real/low"], history["real/high"]
    activation = history.facts.output_activation
    if not low or activation not in OUTPUT_RANGES:
        return None
    bottom, top = OUTPUT_RANGES[activation]
    data = f"the images lie in [{three_digits(low.recent())}, {three_digits(high.recent())}]"
    output = f"G ends in {activation}, which lies in [{bottom:g}, {top:g}]"
    inside = activation == "tanh" and low.recent() >= -0.01 and 0.5 < high.recent() <= 1.01
    below = activation == "sigmoid" and low.recent() < -0.5
    bytes_ = high.recent() > 20 * top
    return Detection(float(low.at[0]), (data, output)) if inside or below or bytes_ else None


def normalisation(history: History) -> Detection | None:
    """Images with values that G cannot output."""
    low, high = history["real/low"], history["real/high"]
    activation = history.facts.output_activation
    if not low or activation not in OUTPUT_RANGES or range_mismatch(history):
        return None
    bottom, top = OUTPUT_RANGES[activation]
    slack = 0.05 * (top - bottom)
    if not (high.recent() > top + slack or low.recent() < bottom - slack):
        return None
    data = f"the images reach from {three_digits(low.recent())} to {three_digits(high.recent())}"
    return Detection(float(low.at[0]), (data, f"G ends in {activation} and cannot leave [{bottom:g}, {top:g}]"))


def collapsed(history: History) -> Detection | None:
    """Fakes that are all alike: from the start, or no longer as diverse as they were."""
    diversity, nearest = history["diversity/batch"], history["nearest_fake"]
    missing, classes, counted = history["classes/missing"], history["classes"], history["classes/counted"]
    if len(diversity) < 3 or cycling(history):
        return None
    steps = history["G/steps"]
    learned = steps.at[steps.value >= FEW_STEPS] if steps else diversity.at
    alike = diversity.value < np.where(diversity.at >= learned.min(initial=np.inf), 0.02, 1e-3)
    same = diversity.holds_since(alike)
    if same is not None:
        return Detection(same, (f"two fakes differ by {100 * diversity.recent():.1f} % of what two reals differ by",))
    share = f"{100 * nearest.recent():.0f} % of the distance between reals" if nearest else ""
    nearest_other = f"the distance from a fake to the nearest other fake is {share}"
    repeated = nearest.holds_since(nearest.value < REPEATED, 4) if nearest else None
    coverage = history["coverage"]  # a G that draws all of a small set repeats its images too
    if repeated is not None and coverage and coverage.recent() < 0.5 and has_learned(history, MANY_STEPS, 50_000):
        return Detection(repeated, (nearest_other,), summary="Mode collapse: G repeats a few images.")
    best = diversity.value.max()
    since = diversity.holds_since(diversity.value < 0.4, 4)
    fallen = best > 0.5 and diversity.recent() < 0.6 * best
    most = max(1.0, counted.last - 1) if counted else classes.last if classes else 0.0  # one kind remains
    lost = missing and classes and missing.recent() >= 0.5 * most
    long = _had_time(history) and diversity.recent() < 0.3
    if since is None or not (lost and (fallen or long)):
        return None
    evidence = [f"two fakes differ by {100 * diversity.recent():.0f} % of what two reals differ by"]
    if best > 1.5 * diversity.recent():
        evidence.append(f"it was {100 * best:.0f} % at its best")
    large = ", of those that are large enough to tell" if counted and counted.last < classes.last else ""
    of = f"{(counted or classes).last:.0f} {_classes_or_cells(history)}"
    evidence.append(f"{missing.recent():.0f} of {of} are missing{large}")
    if nearest:
        evidence.append(nearest_other)
    return Detection(since, tuple(evidence))


def _had_time(history: History) -> bool:
    """Whether G has had the time to learn something: many updates, or some of them and many images."""
    shown, steps, probes = history.facts.shown, history["G/steps"], len(history["diversity"])
    if steps and steps.last >= MANY_STEPS:
        return probes >= 6
    stepped = not steps or steps.last >= FEW_STEPS
    return stepped and probes >= 8 and (shown is None or shown >= 20_000)


def cycling(history: History) -> Detection | None:
    """All fakes of a batch alike, and soon all alike in another way."""
    batch, diversity = history["diversity/batch"], history["diversity"]
    if len(batch) < 2 or len(batch) != len(diversity):
        return None
    since = batch.holds_since((batch.value < 0.3 * diversity.value) & (diversity.value > 0.08), 2)
    if since is None or (batch.recent() > 0.02 and is_young(history)):  # at first G simply changes quickly
        return None
    within = f"the fakes of one round differ by {100 * batch.recent():.0f} % of what two reals differ by"
    return Detection(since, (within, f"those of several rounds by {100 * diversity.recent():.0f} %"))


def missing_modes(history: History) -> Detection | None:
    """Classes or cells that are never shown, or never generated though the others are generated well."""
    classes, absent = history["classes"], history["real/missing"]
    if not classes:
        return None
    since = absent.holds_since(absent.value >= 1, 3) if absent else None
    if since is not None:
        kinds = _classes_or_cells(history)
        count = f"{absent.recent():.0f} of {classes.last:.0f} {kinds} are never among the real images shown"
        return Detection(since, (count,))
    gone, rarest = history["classes/missing"], history["classes/rarest"]
    precision, distance = history["precision"], history["distance"]
    if (history.facts.shown or 0) < 50_000 or not precision or precision.recent() < 0.15 or distance.recent() > 0.3:
        return None
    since = gone.holds_since((gone.value >= 1) & (rarest.value < 0.15), max(6, len(gone) // 2))
    if since is None or distance.recent() < 0.7 * float(np.median(distance.value[-6:-3])):  # they may still come
        return None
    count = (
        f"{gone.recent():.0f} of {classes.last:.0f} {_classes_or_cells(history)} get less than a fifth of their share"
    )
    return Detection(since, (count, f"the rarest gets {100 * rarest.recent():.0f} % of it"))


def _classes_or_cells(history: History) -> str:
    labelled = history["classes/labelled"]
    return "classes" if labelled and labelled.last else "k-means cells of images"


def memorising(history: History) -> Detection | None:
    """Fakes nearer to training images than other real images are."""
    nearest = history["nearest_real"]
    since = nearest.holds_since(nearest.value < 0.6) if nearest else None
    if since is None:
        return None
    share = f"{100 * nearest.recent():.0f} % of a held-out image's"
    return Detection(since, (f"the distance from a fake to its nearest training image is {share}",))


def d_ignores_labels(history: History) -> Detection | None:
    """A conditional D whose output hardly depends on the label."""
    effect = history["D/label_effect"]
    since = effect.holds_since(effect.value < 0.01, 3) if len(effect) >= 4 else None
    if since is None:
        return None
    change = f"another label changes D's output by {100 * effect.recent():.1f} % of what another image does"
    return Detection(since, (change,))


def g_ignores_labels(history: History) -> Detection | None:
    """A conditional G whose output hardly depends on the label, or that cannot learn what the label means."""
    effect, mismatch = history["G/label_effect"], history["labels/mismatch"]
    since = mismatch.holds_since(mismatch.value > 0.3) if mismatch else None
    if since is not None:
        share = f"D receives {100 * mismatch.recent():.0f} % of the fakes with another label than G did"
        return Detection(since, (share,))
    if found := _classified_at_random(history):
        return found
    since = effect.holds_since(effect.value < 0.1, 10) if effect else None
    if since is None or (history.facts.shown or 0) < 50_000:  # at first only the shapes are learned
        return None
    change = f"another label changes G's images by {100 * effect.recent():.1f} % of what another z does"
    return Detection(since, (change,))


def _classified_at_random(history: History) -> Detection | None:
    """In a log: a classifier that is right about reals, and about fakes no more often than at first."""
    real, fake = history["classes/accuracy_real"], history["classes/accuracy_fake"]
    if len(real) < 10 or len(fake) < 10:
        return None
    good = real.smooth(5).mostly_since(real.smooth(5).value >= (80 if real.value.max() > 1 else 0.8), len(real) // 3)
    level, began = fake.recent(max(5, len(fake) // 10)), fake.early(5)
    unit = 100 if fake.value.max() > 1 else 1
    if good is None or level > 0.35 * unit or level > 1.5 * began + 0.05 * unit:
        return None
    severity = severity_of(history, good, sure=True)
    shares = f"{100 * real.recent(5) / unit:.0f} % of the reals and {100 * level / unit:.0f} % of the fakes"
    seen = f"the classifier finds the class of {shares}, and of {100 * began / unit:.0f} % of these at first"
    return Detection(good, (seen,), severity=severity) if severity else None


def imbalanced(history: History) -> Detection | None:
    """A class with many times its even share."""
    imbalance = history["classes/imbalance"]
    if not imbalance or imbalance.recent() < 3 or not history["classes/labelled"].last:
        return None
    largest = history["classes/largest"]
    share = f"{100 * largest.recent():.0f} % of the images, " if largest else ""
    times = f"{three_digits(imbalance.recent())} times an even share"
    return Detection(float(imbalance.at[0]), (f"the largest class has {share}{times}",))


def checkerboard(history: History) -> Detection | None:
    """A pattern of period two on all fakes, of a G that may have convolutions."""
    config, pattern = history.facts.config, history["checkerboard"]
    if config is not None and config.network.family == "mlp":
        return None  # it leaves specks of any size
    distance = history["distance"]
    if len(pattern) < 8 or not pattern.recent(6) >= 0.08 or not distance or distance.recent() > 0.6:
        return None  # untrained networks leave patterns too
    since = pattern.holds_since(pattern.value > 0.05, 1) or float(pattern.at[-1])
    size = f"a pattern of period two lies on all fakes, {100 * pattern.recent():.0f} % of the reals' contrast"
    return Detection(since, (size,))


RANGE = Condition(
    "range mismatch", "failure", "The images and G's output lie in different ranges: D can tell them apart by that.",
    ("real/low",), ("images scaled to [0, 1] for a G that ends in tanh, or the reverse", "images left in 0 to 255"),
    (Fix("scale the images to G's range: x / 127.5 - 1 for tanh", scope="loop"),
     Fix("end G in a sigmoid for images in [0, 1]", scope="loop")),
    "Chintala et al. 2016, ganhacks 1", range_mismatch,
)  # fmt: skip
NORMALISATION = Condition(
    "normalisation mismatch", "failure", "The images hold values that G cannot output.", ("real/low",),
    ("images standardised with a mean and a deviation, fakes not",),
    (Fix("scale the images to [-1, 1] instead: x / 127.5 - 1", scope="loop"),
     Fix("end G in a linear layer, which has no bounds", scope="loop")),
    "Chintala et al. 2016, ganhacks 1", normalisation,
)  # fmt: skip
COLLAPSE = Condition(
    "mode collapse", "failure", "Mode collapse: the fakes are (nearly) all alike.", ("diversity/batch",),
    ("G found one image that D accepts, and D adapts too slowly", "G does not use z, or z is always the same"),
    (PENALTY, Fix("check that every fake has a z of its own", scope="loop"),
     Fix("halve G's learning rate and update D more often than G", fixes.favour_d)),
    "Metz et al. 2017; Huang et al. 2024", collapsed, remedies.HALF_RATES,
)  # fmt: skip
CYCLING = Condition(
    "mode cycling", "failure", "Mode cycling: all fakes of a round are alike, and a few rounds later alike otherwise.",
    ("diversity/batch", "diversity"), ("one z for the whole batch", "G follows D from mode to mode"),
    (Fix("check that every fake of a batch has a z of its own", scope="loop"), PENALTY),
    "Metz et al. 2017, section 2", cycling, remedies.HALF_RATES,
)  # fmt: skip
MISSING = Condition(
    "missing modes", "failure", "Some kinds of images are never generated.", ("classes/missing",),
    ("the loader does not show them (sorted data, no shuffling, a subset)", "partial mode collapse",
     "rare classes"),
    (Fix("check that every class occurs in the batches", scope="loop"), PENALTY,
     Fix("balance the classes", fixes.setting(balanced=True)),
     Fix("learn the classes", fixes.setting(conditional=True))),
    "Richardson & Weiss 2018; Lin et al. 2018", missing_modes, remedies.HALF_RATES,
)  # fmt: skip
MEMORISING = Condition(
    "memorisation", "failure", "G repeats training images.", ("nearest_real",),
    ("too few images for so long a training",),
    (Fix("more images, or mirrored ones if a mirrored image is as good", fixes.setting(mirror=True)),
     Fix("augment D's input (ADA, DiffAugment)", fixes.augment),
     Fix("stop earlier, at the snapshot of the best quality")),
    "Meehan et al. 2020; Karras et al. 2020", memorising, remedies.AUGMENTED,
)  # fmt: skip
D_LABELS = Condition(
    "labels ignored by D", "failure", "D ignores the labels: G is not asked for the class it was given.",
    ("D/label_effect",), ("D is given constant or wrong labels", "D's conditioning on the label is too weak"),
    (Fix("check the labels of the real images"),), "Miyato & Koyama 2018", d_ignores_labels,
)  # fmt: skip
G_LABELS = Condition(
    "labels ignored by G", "failure", "G ignores its labels: it does not generate the class it is asked for.",
    (("G/label_effect", "classes/accuracy_fake"),),
    ("the fakes' labels are not those that G was given", "D ignores them", "labels that mean nothing"),
    (Fix("give D, with each fake, the same label that G was given", scope="loop"),
     Fix("check the labels of the real images")), "Mirza & Osindero 2014",
    g_ignores_labels,
)  # fmt: skip
IMBALANCED = Condition(
    "imbalanced classes", "warning", "The classes are very unequal: rare ones will be generated rarely, and badly.",
    ("classes/imbalance",), ("the data are like that",),
    (Fix("show every class equally often", fixes.setting(balanced=True)),
     Fix("more images of the rare classes")),
    "", imbalanced,
)  # fmt: skip
CHECKERBOARD = Condition(
    "checkerboard artefacts", "warning", "A fine pattern of alternating rows, columns or squares lies on every fake.",
    ("checkerboard",), ("transposed convolutions whose kernel is no multiple of their stride",),
    (Fix("upsample, then convolve; or kernels of 4 with strides of 2", scope="loop"),
     Fix("train a recipe whose G upsamples and then convolves, such as wgan or transformer-modern", scope="run")),
    "Odena et al. 2016", checkerboard,
)  # fmt: skip
