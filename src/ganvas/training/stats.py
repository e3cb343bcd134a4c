"""Statistics of a training, summed on the device and written once a tick."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ganvas.devices import widest_float


class Stats:
    """Count, sum and sum of squares of every quantity since the last `summarise`, on the device.

    Only `summarise` and `first_non_finite` wait for the device.
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = widest_float(device)
        self._moments: dict[tuple[str, ...], Tensor] = {}  # names -> [names, 3]: n, sum, sum of squares
        self._first_bad: dict[tuple[str, ...], Tensor] = {}  # names -> nimg of the first non-finite value, or inf

    def add(self, values: Mapping[str, Tensor], nimg: int) -> None:
        """Adds quantities, float [n] or [] each, measured in the round that began at `nimg`."""
        by_length: dict[int, dict[str, Tensor]] = {}
        for name, value in values.items():
            by_length.setdefault(value.numel(), {})[name] = value
        for group in by_length.values():
            self._add(group, nimg)

    def _add(self, values: Mapping[str, Tensor], nimg: int) -> None:
        """Adds quantities of equal length in one pass."""
        names = tuple(values)
        x = torch.stack([value.reshape(-1) for value in values.values()]).to(self._dtype)
        moments = torch.stack([torch.ones_like(x).sum(1), x.sum(1), x.square().sum(1)], dim=1)
        if names in self._moments:
            self._moments[names] += moments
        else:
            self._moments[names] = moments
        first = self._first_bad.get(names)
        if first is None:
            first = self._first_bad[names] = torch.full_like(moments[:, 1], math.inf)
        first.masked_fill_(~torch.isfinite(moments).all(1) & torch.isinf(first), nimg)  # in float32 squares overflow

    def first_non_finite(self) -> tuple[int, list[str]] | None:
        """(nimg, quantities) of the first round with NaN or infinite values; None if there was none."""
        bad = {
            name: nimg
            for names, first in self._first_bad.items()
            for name, nimg in zip(names, first.tolist(), strict=True)
            if math.isfinite(nimg)
        }
        if not bad:
            return None
        earliest = min(bad.values())
        return int(earliest), [name for name, nimg in bad.items() if nimg == earliest]

    def moments(self) -> list[Tensor]:
        """The sums, to be all-reduced over the processes before `summarise`."""
        return list(self._moments.values())

    def summarise(self) -> dict[str, dict[str, float]]:
        """{name: {num, mean, std}} since the last call; resets the sums."""
        sums: dict[str, Tensor] = {}
        for names, moments in self._moments.items():
            for name, row in zip(names, moments.cpu(), strict=True):
                sums[name] = sums[name] + row if name in sums else row
        self._moments.clear()
        summary = {}
        for name, moment in sums.items():
            count, total, squares = moment.tolist()
            mean = total / count
            variance = max(squares / count - mean * mean, 0.0)
            summary[name] = {"num": int(count), "mean": mean, "std": math.sqrt(variance)}
        return summary
