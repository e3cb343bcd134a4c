"""Whether the features of an evaluation are independent of the frozen network that D looked through.

A G whose D looks through a network makes distances in that network's features small, also without better images; so do,
to a lesser degree, the labels that the network learned (Kynkäänniemi et al. 2023). Such evaluations say so, and are not
ranked where the features are those of D's own network.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ganvas import user_code
from ganvas.errors import GanvasError

if TYPE_CHECKING:
    from ganvas.features.extraction import Extractor

INDEPENDENT, SAME_LABELS, NOT_INDEPENDENT = "independent", "independent weights, same labels", "not independent"
"""The verdicts, in the words of every table, report and JSON."""

MARK = f" ({NOT_INDEPENDENT})"
"""Follows the title of a measure whose features are not independent."""

LABELS = {
    "lite0": "ImageNet", "inception": "ImageNet", "vgg19": "ImageNet", "squeezenet": "ImageNet",
    "eye": "CIFAR-10 and MNIST", "eye-bf16": "CIFAR-10 and MNIST", "dinov2": "",
}  # fmt: skip
"""Whose labels a network learned; a classifier has those of the data."""


def default_features(d_networks: Iterable[str], *, labelled: bool) -> str:
    """The extractor of an evaluation that names none: the eye, unless a D looked through it.

    Then it is the classifier of labelled data, else lite0 if it is installed; the eye where nothing else is left.
    """
    seen = set(d_networks)
    if "eye" not in seen:
        return "eye"
    if labelled:
        return "classifier"
    from ganvas.features.efficientnet import is_installed  # imports PyTorch

    return "lite0" if "lite0" not in seen and is_installed() else "eye"


def describe(network: str, judge: "Extractor") -> dict[str, Any]:
    """The entry of a protocol: the network that D looked through, its weights' digest if known, verdict and reason.

    Empty where D looked through none.
    """
    if not network:
        return {}
    name, digest = user_code.parse(network).name, _digest(network, judge)
    verdict, says = _judge(name, digest, judge)
    known = f" ({digest[:8]})" if digest else ""
    sentence = f"D looked through {network}{known}; the features ({judge.name}) {says}."
    return {"independence": {"d_network": network, "d_weights": digest, "verdict": verdict, "sentence": sentence}}


def _judge(name: str, digest: str | None, judge: "Extractor") -> tuple[str, str]:
    """The verdict and the reason, of a network with this name and digest."""
    if judge.name == name or judge.digest == digest:
        same = "network" if judge.name == name else "weights"
        return NOT_INDEPENDENT, f"are {NOT_INDEPENDENT} of it: the same {same}"
    theirs, ours = LABELS.get(name), LABELS.get(judge.name)
    if theirs is not None and theirs == ours:
        return SAME_LABELS, f"have {SAME_LABELS}: {theirs}'s"
    if judge.name == "classifier":
        labels = "the labels are the data's own" + (", which the eye learned on CIFAR-10 and MNIST" * (name == "eye"))
    elif unknown := [each for each, labels in ((name, theirs), (judge.name, ours)) if labels is None]:
        labels = f"which labels {' and '.join(unknown)} learned is unknown"
    else:
        labels = "no labels in common"
    return INDEPENDENT, f"are {INDEPENDENT} of it: other weights; {labels}"


def is_independent(protocol: Mapping[str, Any]) -> bool:
    """Whether the features of an evaluation with this protocol are independent of D's network, or D has none."""
    return protocol.get("independence", {}).get("verdict") != NOT_INDEPENDENT


def advise(d_networks: Iterable[str], *, labelled: bool) -> str:
    """The option that evaluates in independent features."""
    seen = set(d_networks)
    better = default_features(seen, labelled=labelled)
    if better not in seen:
        return f"--features {better}"
    return "--features lite0, which says what it needs" if "lite0" not in seen else "--features inception or dinov2"


def make_notes(protocol: Mapping[str, Any], *, labelled: bool) -> tuple[str, ...]:
    """A warning where the features are not independent."""
    if is_independent(protocol):
        return ()
    entry = protocol["independence"]
    return (
        f"{entry['sentence']} G was trained to make these distances small: they are not ranked. "
        f"Fix: {advise([entry['d_network']], labelled=labelled)}.",
    )


def _digest(network: str, judge: "Extractor") -> str | None:
    """The digest of the weights; None if it is unknown. The user's own code is only executed where it may matter."""
    from ganvas.features.frozen import load_frozen  # imports PyTorch, which a report does not need

    if user_code.is_spec(network) and judge.name in (*LABELS, "classifier"):
        return None
    with suppress(GanvasError):
        return load_frozen(network).digest
    return None
