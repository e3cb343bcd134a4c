"""D's logits in whatever D returns: a tensor, a dict, a list of lists, features beside logits."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from ganvas.diagnosis.loops.calls import Call

LOGITS = (
    "logits", "logit", "d_logits", "adv_logits", "score", "scores", "adv", "validity", "real_fake", "source", "src",
    "critic", "realness", "prediction", "predictions", "pred", "preds", "prob", "probs", "output", "outputs", "out",
)  # fmt: skip
"""Names under which D's judgement is found in a dict, a named tuple or a dataclass, the surest first."""

ROUNDED = 4e-3
"""A sum of gradients in half precision over that of their sizes, at most, where it should be 0."""

VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "ToCopy", "Alias", "Flatten", "Select", "Slice", "Clone", "Cat")
"""Operations after which values are the same."""

ASK = "Pass ganvas.watch(…, logits=lambda output: …), which returns D's judgement of each image."


ASK_OF_IMAGES = (
    "Pass ganvas.watch(…, logits=lambda output, images: …), which returns D's judgement of each image: in BEGAN "
    "-(output - images).abs().flatten(1).mean(1)."
)


def find_logits(output: Any, images: Tensor) -> tuple[Tensor, ...]:
    """D's judgement of images, float [n …], in its output, float [n …] each; several of a D with several heads.

    A tensor is taken as it is. In a dict, a named tuple or a dataclass a usual name decides (`LOGITS`). Elsewhere it
    is what has one value, or one map of values, for each image (features have more channels): all of these in a list,
    which holds several of a kind, and the first in a tuple.

    Raises:
        ValueError: nothing of that kind is in it, or it is images: D is an autoencoder.
    """
    n = len(images)
    if isinstance(output, Tensor):
        if output.shape == images.shape and images[:1].numel() > 1:
            raise ValueError(f"D returns images, {list(output.shape)}, as an autoencoder does. {ASK_OF_IMAGES}")
        if not output.dim() or len(output) != n:
            raise ValueError(f"D's judgement of {n} images has the shape {list(output.shape)}. {ASK}")
        return (output,)
    if found := _judgements(output, n):
        return found
    tensors = [tensor for tensor in _tensors(output) if tensor.is_floating_point() and len(tensor) == n]
    if len(tensors) == 1:
        return (tensors[0],)
    shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors) or type(output).__name__
    raise ValueError(f"D returns {shapes}: which of it is its judgement of the images is not clear. {ASK}")


def _judgements(output: Any, n: int) -> tuple[Tensor, ...]:
    if isinstance(output, Tensor):
        rows = output.is_floating_point() and output.dim() > 0 and len(output) == n
        return (output,) if rows and (output.dim() == 1 or output.shape[1] == 1) else ()
    if isinstance(output, list):
        return tuple(tensor for part in output for tensor in _judgements(part, n))
    named = _by_name(output)
    if named is not None:
        known = {str(name).lower(): value for name, value in named.items()}
        chosen = next((known[name] for name in LOGITS if name in known), None)
        if chosen is not None:
            return (chosen,) if isinstance(chosen, Tensor) else _judgements(chosen, n)
    parts = named.values() if named is not None else output if isinstance(output, tuple) else ()
    return next((found for part in parts if (found := _judgements(part, n))), ())


def _by_name(output: Any) -> Mapping[str, Any] | None:
    """The parts of an output that have names."""
    if isinstance(output, Mapping):
        return output
    if isinstance(output, tuple) and hasattr(output, "_asdict"):
        return output._asdict()  # type: ignore[attr-defined]
    if is_dataclass(output) and not isinstance(output, type):
        return {entry.name: getattr(output, entry.name) for entry in fields(output)}
    return None


def _tensors(output: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts that have rows."""
    if isinstance(output, Tensor):
        if output.dim():
            yield output
        return
    named = _by_name(output)
    parts = named.values() if named is not None else output if isinstance(output, list | tuple) else ()
    for part in parts:
        yield from _tensors(part)


def mean_per_head(heads: tuple[Tensor, ...]) -> Tensor:
    """The mean of each head's values for each image: float32 [n], or [n k] of k heads."""
    means = [head.reshape(len(head), -1).float().mean(1) for head in heads]
    return means[0] if len(means) == 1 else torch.stack(means, 1)


def ends_in(output: Tensor, *operations: str) -> bool:
    """Whether the last operation on a value with a graph is one of these, such as Sigmoid."""
    node = output.grad_fn
    while node is not None and node.name().startswith(VIEWS):
        node = node.next_functions[0][0] if node.next_functions else None
    return node is not None and node.name().startswith(operations)


def classes_of(call: Call) -> int | None:
    """How many logits a cross-entropy compares in D's outputs, in a call whose gradients are known.

    1 where they are judgements one by one; None where no gradient tells. Of two classes the difference takes the place
    of the logits in the call, and its push that of theirs; of more the gradients are removed, as they do not tell which
    of the classes is that of fakes.
    """
    if call.softmax:  # the gradients by probabilities do not add up
        call.gradients = []
        return max(head.shape[1] for head in call.heads if head.dim() > 1)
    known = [(i, gradient) for _, i, gradient in call.gradients if bool(gradient.any())]
    if not known:
        return None
    ks = {i: gradient.shape[1] for i, gradient in known if _sums_to_zero(gradient)}
    if not ks:
        return 1
    call.heads = [read_classes(head, ks[i]) if ks.get(i) == 2 else head for i, head in enumerate(call.heads)]
    call.gradients = [
        (number, i, gradient[:, 1] if i in ks else gradient)
        for number, i, gradient in call.gradients
        if ks.get(i, 2) == 2
    ]
    return max(ks.values())


def _sums_to_zero(gradient: Tensor) -> bool:
    """Whether a cross-entropy over columns gave this gradient, [n k …]: its rows sum to 0."""
    if gradient.dim() < 2 or gradient.shape[1] < 2:
        return False
    sums, sizes = gradient.float().sum(1).abs(), gradient.float().abs().sum(1)
    return bool(sums.max() < ROUNDED * sizes.max())


def read_classes(head: Tensor, k: int) -> Tensor:
    """D's judgement in its logits of k classes, [n k …]: of two their difference, [n …]; others are judgements.

    Raises:
        LookupError: there are more, and which of them is that of fakes is not known.
    """
    if k == 1 or head.dim() < 2 or head.shape[1] != k:
        return head
    if k == 2:
        return head[:, 1] - head[:, 0]
    raise LookupError(f"D returns the logits of {k} classes: which of them is that of fakes is not clear. {ASK}")


Reader = Callable[..., Any]
"""What a caller says about D's output: output, or output and images -> logits, float [n …], or several of them."""


def reading(given: Reader | None) -> Callable[[Any, Tensor], tuple[Tensor, ...]]:
    """How D's output is read: as its caller says, or by the rule of `find_logits`."""
    if given is None:
        return find_logits
    if _takes_images(given):
        return lambda output, images: find_logits(given(output, images), images)
    return lambda output, images: find_logits(given(output), images)


def _takes_images(given: Reader) -> bool:
    try:
        parameters = signature(given).parameters.values()
    except (TypeError, ValueError):  # of some functions in C it is not known
        return False
    return sum(one.default is one.empty and one.kind in (0, 1) for one in parameters) == 2
