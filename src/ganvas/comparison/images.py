"""What candidates are trained on: one size of images for all that have the same data, and whether each can be."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from ganvas.comparison import budget
from ganvas.comparison.candidates import Candidate
from ganvas.config import replace
from ganvas.config.custom import Custom
from ganvas.data import DataOptions, open_images
from ganvas.data.limits import Size, find_default_size
from ganvas.errors import GanvasError
from ganvas.training import choices, start, transfer
from ganvas.training.state import TrainState


def share_size(
    candidates: Sequence[Candidate],
    limit: budget.Budget | None,
    auto: str,
    note: Callable[[str], object] = lambda text: None,
) -> list[Candidate]:
    """The candidates, with one size of images for those that train on the same data: others could not be ranked.

    It is the size of existing runs, or the one that the user gives a candidate; else the one that a recipe has; else
    the smallest of those that would be chosen. Candidates whose sizes are given stay as they are. Only the headers of
    images are read.

    Args:
        limit: the budget; the size of a run by time may be another one.
        auto: as for `Candidate.kind_of_device`.
        note: called with a line for the user where sizes change, or where those that are given differ.
    """
    groups: dict[DataOptions, list[Candidate]] = {}
    for one in candidates:
        groups.setdefault(dataclasses.replace(one.config.dataset.options(), resolution=None), []).append(one)
    shared: dict[str, Candidate] = {}
    for options, group in groups.items():
        if len(group) > 1 and not all(one.runs for one in group):
            with suppress(GanvasError):  # the data cannot be opened: the check of each candidate says it
                chosen = {one.name: _choose_size(one, limit, auto) for one in group if _given_size(one) is None}
                shared |= _share(group, options, chosen, note)
    return [shared.get(one.name, one) for one in candidates]


def _share(
    group: Sequence[Candidate], options: DataOptions, chosen: dict[str, Size | None], note: Callable[[str], object]
) -> dict[str, Candidate]:
    """Those candidates of a data set whose size must be another one, by name.

    Args:
        options: of the data set, without a resolution.
        chosen: the size of each candidate that is given none; None is the default one of the data set.
    """
    given = {one.name: size for one in group if (size := _given_size(one)) is not None}
    if len(set(given.values())) > 1:
        sizes = ", ".join(f"{name} {_to_text(size)}" for name, size in given.items())
        note(
            f"Note: Candidates on {options.source} will not be ranked, because their images differ in size ({sizes}); "
            "--knobs resolution=SIZE is for all of them."
        )
        return {}
    if len({*given.values(), *chosen.values()}) < 2:
        return {}
    default = find_default_size(options) if None in chosen.values() else None
    alone = {name: own for name, size in chosen.items() if (own := size or default) is not None}
    demanded = {one.name: alone[one.name] for one in group if one.name in alone and one.config.dataset.resolution}
    size = min((given or demanded or alone).values(), key=lambda size: size[0] * size[1])
    others = [f"{name} would have {_to_text(own)}" for name, own in alone.items() if own != size]
    if not others:
        return {}
    note(
        f"Note: All candidates on {options.source} are trained at {_to_text(size)} pixels, so that they can be ranked; "
        f"alone, {' and '.join(others)}. --knobs resolution=SIZE changes this for all of them."
    )
    return {
        one.name: dataclasses.replace(one, config=replace(one.config, resolution=_to_text(size)))
        for one in group
        if one.name in alone and one.config.dataset.options().size() != size
    }


def _given_size(candidate: Candidate) -> Size | None:
    """The size of existing runs, or the one that the user gives; None where it is open."""
    if candidate.runs:
        shape = candidate.runs[0].metadata["data"]["shape"]
        return shape["height"], shape["width"]
    return candidate.config.dataset.options().size() if candidate.sized else None


def _choose_size(candidate: Candidate, limit: budget.Budget | None, auto: str) -> Size | None:
    """The size that a candidate has of its recipe, or that its training would choose; None for the default one."""
    config = transfer.like_origin(budget.with_unit(candidate.config, limit))
    device = torch.device(candidate.kind_of_device(auto))
    return choices.choose_resolution(config, device, progress=True)[0].dataset.options().size()


def _to_text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def check_on_images(candidate: Candidate, limit: budget.Budget | None, auto: str) -> DataOptions:
    """Checks a recipe on its images, and its own networks and losses, as its training would at its start.

    Args:
        limit, auto: as for `share_size`.

    Returns:
        How its training opens the images.

    Raises:
        GanvasError: it cannot be trained on them, or something is wrong with its code; the message names the candidate.
    """
    if candidate.runs:
        return candidate.config.dataset.options()
    try:
        config = start.complete(budget.with_unit(candidate.config, limit), device=candidate.kind_of_device(auto))
        if config.user_specs() or isinstance(config.network, Custom):
            shape = start.network_shape(open_images(config.dataset.options()), config)
            TrainState.build(config, shape, torch.device("cpu"))
    except GanvasError as error:
        raise GanvasError(f"{candidate.name}: {error.what}", expected=error.expected, fix=error.fix) from error
    return config.dataset.options()
