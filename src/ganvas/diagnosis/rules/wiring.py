"""Conditions of the loop itself: losses, gradients and optimisers that are connected wrongly.

Only `ganvas.watch` sees them. They are exact: they follow from which backward pass reached what and which step applied
it, not from levels.
"""

import numpy as np

from ganvas.diagnosis.history import History, Series
from ganvas.diagnosis.rules.conditions import Condition, Detection
from ganvas.diagnosis.rules.fixes import Fix

PROBES = 3
"""Probed rounds in a row, to the last one, in which the same must have been seen."""

USUALLY = 0.8
"""The share of rounds in which two losses have the same target, where labels are not merely noisy."""


def _since(history: History, name: str) -> float | None:
    """The time since which a count is above 0; None for fewer than PROBES rounds."""
    count = history[name]
    return count.holds_since(count.value > 0, PROBES)


def not_connected(history: History) -> Detection | None:
    """G is stepped, and no backward pass ever reached it."""
    passes, steps = history["wiring/G/passes"], history["wiring/G/steps"]
    if len(passes) < PROBES or passes.value.any() or not steps.value.any():
        return None
    seen = (
        f"in {len(passes)} rounds G's optimiser was stepped, and no backward pass since zero_grad reached G's weights"
    )
    return Detection(float(passes.at[0]), (seen,))


def wrong_optimiser(history: History) -> Detection | None:
    """An optimiser that holds weights of both networks beside another one; or two, and neither holds one network."""
    since = _since(history, "wiring/shared")
    if since is not None:
        alone = history["wiring/optimisers"].last < 2
        seen = "an optimiser holds weights of G and of D, and " + ("there is no other" if alone else "there is another")
        if "D/trainable" in history:
            return Detection(since, (seen,), causes=(UNFROZEN_D,), fixes=(FREEZE_D,))
        return Detection(since, (seen,))
    optimisers = history["wiring/optimisers"]
    for network, other in (("G", "D"), ("D", "G")):
        own, others = history[f"wiring/{network}/steps"], history[f"wiring/{other}/steps"]
        if len(own) >= PROBES and not own.value.any() and (optimisers.value >= 2).all() and others.value.all():
            seen = f"two optimisers were stepped in each of {len(own)} rounds; both hold weights of {other}"
            alone = f"No optimiser holds {network}'s weights: {network} does not learn."
            return Detection(float(own.at[0]), (seen,), network, summary=alone)
    return None


def not_zeroed(history: History) -> Detection | None:
    """A step that also applies gradients from before the network's last step, or of the other network's loss."""
    if wrong_optimiser(history):
        return None
    old = "{0}'s gradients were not zero when its backward pass began, although it had been stepped"
    mixed = "D's step also applied the gradients of G's loss, computed before it"
    for network, count, seen in (("D", "old", old), ("D", "mixed", mixed), ("G", "old", old)):
        since = _since(history, f"wiring/{network}/{count}")
        if since is not None:
            return Detection(since, (seen.format(network),), network)
    return None


def not_separated(history: History) -> Detection | None:
    """D's step follows the sum of both losses."""
    since = _since(history, "wiring/D/both")
    seen = "one backward pass carried the losses of D and of G, and D's step applied all of it"
    return None if since is None else Detection(since, (seen,))


def not_detached(history: History) -> Detection | None:
    """G's step also applies the gradients of D's loss."""
    since = _since(history, "wiring/G/mixed")
    seen = "the backward pass of D's loss reached G, and G's step applied its gradients too"
    return None if since is None else Detection(since, (seen,))


def swapped(history: History) -> Detection | None:
    """Losses that push D's outputs to the same target where they should push them apart."""
    pairs = (
        ("D", "D/real", "D's loss pushes its outputs on reals and on fakes {way}"),
        ("G", "G/fake", "D's loss pushes its outputs on fakes {way}, and G's loss pushes them {way} too"),
    )
    for loss, name, seen in pairs:
        same, push = history[f"targets/{loss}/same"], history[f"targets/{name}"]
        since = _usually_since(same)
        if since is not None and push:
            way = "up" if push.last < 0 else "down"
            return Detection(since, (seen.format(way=way),))
    return None


def _usually_since(same: Series) -> float | None:
    """The time since which a value is 1: in the last PROBES rounds, and in most of all, as labels may be noisy."""
    if len(same) < PROBES or not same.value[-PROBES:].all() or same.value.mean() < USUALLY:
        return None
    return float(same.at[np.flatnonzero(same.value)[0]])


def sigmoid_twice(history: History) -> Detection | None:
    """Probabilities in a loss that takes logits."""
    since = _since(history, "targets/sigmoid_twice")
    seen = "the gradients at D's outputs are those of a cross-entropy that applies a sigmoid to probabilities"
    return None if since is None else Detection(since, (seen,))


def eval_mode(history: History) -> Detection | None:
    """G is never in training mode."""
    since = _since(history, "wiring/G/eval")
    seen = f"G.training was False in all its calls of {len(history['wiring/G/eval'])} rounds"
    return None if since is None else Detection(since, (seen,))


UNFROZEN_D = "D was trainable when the combined model was trained, or a train_step applies G's gradients to both"
FREEZE_D = Fix(
    "in Keras: D.trainable = False before the combined model's train_on_batch; in a train_step, apply G's gradients "
    "to generator.trainable_weights alone",
    scope="loop",
)
NOT_CONNECTED = Condition(
    "loss not connected", "failure", "G's loss is not connected to G: no gradient reaches it.", ("wiring/G/passes",),
    ("the fakes of G's loss were detached, or made under torch.no_grad(): then fake.requires_grad is False",
     "D was called under torch.no_grad(), or its output detached: then g_loss.requires_grad is False",
     "G's loss was computed from numbers (.item(), NumPy) or a step function (argmax, rounding)"),
    (Fix("compute G's loss on D(G(z)), without detach, no_grad or .item() on the way", scope="loop"),),
    "PyTorch, autograd mechanics", not_connected, own_loop=True,
)  # fmt: skip
WRONG_OPTIMISER = Condition(
    "wrong optimiser", "failure", "An optimiser holds both networks: it also moves one of them for the other's loss.",
    ("wiring/optimisers",),
    ("the parameters of both networks, or of a module that holds both, were given to one optimiser",
     "the parameters of the same network were given to both optimisers"),
    (Fix("give G's optimiser G.parameters() and D's optimiser D.parameters()", scope="loop"),),
    "Goodfellow et al. 2014, algorithm 1", wrong_optimiser, own_loop=True,
)  # fmt: skip
NOT_ZEROED = Condition(
    "missing zero_grad", "failure", "{about}'s gradients are not zeroed: its steps also follow older ones.",
    ("wiring/D/old",),
    ("zero_grad() is never called, or only after the step: G's backward pass leaves gradients in D as well",
     "both losses are differentiated before the first step"),
    (Fix("call zero_grad() of the optimiser that is stepped next immediately before each backward pass",
         scope="loop"),),
    "PyTorch, DCGAN tutorial", not_zeroed, own_loop=True,
)  # fmt: skip
NOT_SEPARATED = Condition(
    "losses not separated", "failure", "D's step also follows G's loss: both losses share one backward pass.",
    ("wiring/D/both",),
    ("the losses of D and G are added, as in (d_loss + g_loss).backward()",),
    (Fix("d_loss.backward() and D's step, then zero_grad(), g_loss.backward() and G's step", scope="loop"),),
    "Goodfellow et al. 2014, algorithm 1", not_separated, own_loop=True,
)  # fmt: skip
NOT_DETACHED = Condition(
    "missing detach", "failure", "D's loss reaches G: G's step also makes D right about its own images.",
    ("wiring/G/mixed",),
    ("D's loss was computed on D(fake) instead of D(fake.detach()), and G's gradients were not zeroed after it",),
    (Fix("compute D's loss on D(fake.detach())", scope="loop"),
     Fix("call G's zero_grad() between D's backward pass and G's", scope="loop")),
    "Goodfellow et al. 2014, algorithm 1", not_detached, own_loop=True,
)  # fmt: skip
SWAPPED = Condition(
    "labels swapped", "failure", "The losses do not oppose each other: labels of reals and fakes are mixed up.",
    ("targets/D/same",),
    ("G's loss uses the label of fakes: it should use that of reals",
     "D's loss uses one label for both, or a sign is wrong"),
    (Fix("D: the label of reals on D(real), of fakes on D(fake); G: the label of reals on D(G(z))", scope="loop"),),
    "Goodfellow et al. 2014, equation 1", swapped, own_loop=True,
)  # fmt: skip
SIGMOID_TWICE = Condition(
    "sigmoid twice", "warning", "A sigmoid is applied twice: by D and by its loss, which takes logits.",
    ("targets/sigmoid_twice",),
    ("D ends in a sigmoid and the loss is BCEWithLogits, softplus, or a cross-entropy with from_logits=True: "
     "D's loss then cannot fall below 1.0 (0.5 if it is halved)",),
    (Fix("take the sigmoid out of D", scope="loop"), Fix("or use a loss of probabilities (BCELoss)", scope="loop")),
    "PyTorch, BCEWithLogitsLoss", sigmoid_twice, own_loop=True,
)  # fmt: skip
EVAL_MODE = Condition(
    "eval mode", "warning", "G is trained in eval mode: batch norm and dropout do not work as in training.",
    ("wiring/G/eval",),
    ("G.eval() before sampling, and no G.train() after it",),
    (Fix("call G.train() before the training goes on", scope="loop"),), "PyTorch, Module.eval",
    eval_mode, own_loop=True,
)  # fmt: skip
