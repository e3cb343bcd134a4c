"""Whether the features of an evaluation are independent of the frozen networks that D looked through.

They are those of the whole training of G: also of the one that it started from (`--from`). A G whose D looks through a
network makes distances in that network's features small, also without better images; so do, to a lesser degree, the
labels that the network learned (Kynkäänniemi et al. 2023). Such evaluations say so, and are not ranked where the
features are those of such a network.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ganvas import user_code
from ganvas.errors import GanvasError
from ganvas.specs import without_folder

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
"""Whose labels each of Ganvas' own networks learned; a classifier has those of the data."""


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


def names_of(networks: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of frozen networks, and of Ganvas' own with the weights of one of the user's."""
    networks = list(networks)
    own = {one["weights"] for one in networks if user_code.is_spec(one["network"])} - {None}
    return {one["network"] for one in networks} | {name for name in ("eye", "lite0") if own and _digest(name) in own}


def describe(networks: Sequence[Mapping[str, Any]], extractor: "Extractor") -> dict[str, Any]:
    """The entry of a protocol: the worst verdict over the networks that G was trained through, and its reason.

    "d_network" and "d_weights" are the name, and the digest if it is known, of a network with that verdict;
    "d_networks" has all, each with its own. Empty where there is none.

    Args:
        networks: as cards record them (`ganvas.runs.card.d_networks_of`). No code of the user's is executed.
    """
    if not networks:
        return {}
    known = dict.fromkeys((one["network"], one["weights"] or _digest(one["network"])) for one in networks)
    compared = [_compare(network, digest, extractor) for network, digest in known]
    worst = max((one["verdict"] for one in compared), key=(INDEPENDENT, SAME_LABELS, NOT_INDEPENDENT).index)
    decisive = [one for one in compared if one["verdict"] == worst]
    named = [one["title"] + (f" ({one['weights'][:8]})" if one["weights"] else "") for one in compared]
    it = " and ".join(one["title"] for one in decisive)
    if len(compared) == 1:
        seen, it, alike = f"D looked through {named[0]}", "it", ""
    else:
        seen, alike = f"G was trained through {' and '.join(named)}", f" as {it}"
    says = f"have {worst}{alike}" if worst == SAME_LABELS else f"are {worst} of {it}"
    reasons = "; ".join(dict.fromkeys(reason for one in decisive for reason in one["reasons"]))
    entry = {
        "d_network": decisive[-1]["network"],
        "d_weights": decisive[-1]["weights"],
        "verdict": worst,
        "sentence": f"{seen}; the features ({_title(extractor)}) {says}: {reasons}.",
        "d_networks": [{key: one[key] for key in ("network", "weights", "verdict")} for one in compared],
    }
    return {"independence": entry}


def networks_in(protocol: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The networks in the entry of a protocol; those of older versions have one."""
    if not (entry := protocol.get("independence")):
        return []
    return entry.get("d_networks") or [{"network": entry["d_network"], "weights": entry["d_weights"]}]


def _compare(network: str, digest: str | None, extractor: "Extractor") -> dict[str, Any]:
    """A network beside an extractor: digests, whole names or specs, then labels."""
    name, title = extractor.spec or extractor.name, without_folder(network)
    theirs, ours = LABELS.get(network), LABELS.get(name)
    if extractor.digest == digest or name == network:
        verdict, reasons = NOT_INDEPENDENT, [f"the same {'network' if name == network else 'weights'}"]
    elif theirs is not None and theirs == ours:
        verdict, reasons = SAME_LABELS, [f"{theirs}'s"]
    else:
        known = digest or not user_code.is_spec(network)
        verdict, reasons = INDEPENDENT, ["other weights" if known else f"the weights of {title} were not recorded"]
        if name == "classifier":
            learned = ", which the eye learned on CIFAR-10 and MNIST" * (network == "eye")
            reasons.append(f"the labels are the data's own{learned}")
        elif unknown := [n for n, labels in ((title, theirs), (_title(extractor), ours)) if labels is None]:
            reasons.append(f"which labels {' and '.join(unknown)} learned is unknown")
        else:
            reasons.append("no labels in common")
    return {"network": network, "weights": digest, "verdict": verdict, "title": title, "reasons": reasons}


def _title(extractor: "Extractor") -> str:
    """An extractor's name; of one of the user's with its file, as it may have the name of one of Ganvas'."""
    return without_folder(user_code.title(extractor.spec)) if extractor.spec else extractor.name


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
        f"Fix: {advise(names_of(networks_in(protocol)), labelled=labelled)}.",
    )


def _digest(network: str) -> str | None:
    """The digest of one of Ganvas' own networks; None of the user's, whose code is not executed."""
    from ganvas.features.frozen import load_frozen  # imports PyTorch, which a report does not need

    with suppress(GanvasError):
        return None if user_code.is_spec(network) else load_frozen(network).digest
    return None
