"""Labels among the arguments of G and D: whether they change the outputs, and whether D receives those of G."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ganvas.diagnosis.loops.calls import Call, Place, find_images, permuted

Calls = Mapping[str, Sequence[Call]]
"""{"D" or "G": its calls in a round}."""


def labels_in(call: Call, others: Sequence[Call]) -> dict[int | str, Tensor]:
    """{place: labels, [n] or [n k]} among the arguments of a call; empty where all of them would be.

    Labels are whole numbers, also as one-hot rows and as planes of them, or what the other network receives too, such
    as an embedding. Noise is neither, nor is an image.

    Args:
        call: of D or of G.
        others: the calls of the other network.
    """
    n = 0 if call.images is None else len(call.images)
    rows = [(place, value) for place, value in call.tensors() if len(value) == n]
    found = {place: label for place, value in rows if (label := _as_label(value, others)) is not None}
    return found if len(found) < len(rows) else {}


def _as_label(value: Tensor, others: Sequence[Call]) -> Tensor | None:
    label = value.detach()
    if label.dim() > 2:  # planes of one number each
        planes = label.flatten(2)
        label = planes[:, :, 0]
        if not bool((planes == label[:, :, None]).all()):
            return None
    whole = not label.is_floating_point() or bool((label == label.round()).all())
    shared = value.dim() <= 2 and any(find_images(call, value) for call in others)
    return label if whole or shared else None


def labels_of_g(call: Call, of_d: Sequence[Call]) -> dict[int | str, Tensor]:
    """G's labels; not of a G that receives images, as they may determine what it returns."""
    labels = labels_in(call, of_d)
    first = next((value for place, value in call.tensors() if place not in labels), None)
    return {} if first is None or (first.dim() > 2 and first[0, 0].numel() > 1) else labels


def label_changes(calls: Calls, output: Callable[[str, Call], Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(network, change of its output with other labels, with other inputs) of each network's last call.

    A D whose outputs cannot be read is left out: its outputs are said to be missing.

    Args:
        calls: of the round.
        output: (network, call) -> what it returns when it is repeated.
    """
    for name, own in calls.items():
        if not own or own[-1].images is None:
            continue
        call, n = own[-1], len(own[-1].images)
        labels = labels_of_g(call, calls["D"]) if name == "G" else labels_in(call, calls["G"])
        if n < 2 or not labels:  # there is nothing to permute
            continue
        order = torch.arange(n).roll(1)
        others = permuted(call, order, lambda place, labels=labels: place in labels)
        inputs = permuted(call, order, lambda place, labels=labels: place not in labels)
        try:
            same, by_label, by_input = (output(name, one) for one in (call, others, inputs))
        except LookupError:
            if name == "G":
                raise
            continue
        yield name, by_label - same, by_input - same


def label_mismatch(calls: Calls, fake: Tensor) -> dict[str, float]:
    """labels/mismatch: the share of fakes, float [n …], that D received with another label than G."""
    places = ((call, find_images(call, fake)) for call in calls["D"])
    found: tuple[Call, Place] | None = next(((call, place) for call, place in places if place), None)
    if found is None:
        return {}
    call, place = found
    of_d = [label[place.rows] for label in labels_in(call, calls["G"]).values()]
    candidates = [call for call in calls["G"] if call.images is not None and len(call.images) == len(fake)]
    of_g = [label for call in candidates for label in labels_of_g(call, calls["D"]).values()]
    shares = [
        float((g != d.to(g.device)).reshape(len(fake), -1).any(1).float().mean())
        for g in of_g
        for d in of_d
        if g.shape == d.shape
    ]
    return {"labels/mismatch": min(shares)} if shares else {}  # which call generated these fakes is not known
