"""What is measured while a run trains, summed on the device until it is written once a tick."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Stats:
    """Count, sum and sum of squares of every quantity since the last `take`, kept on the device.

    Nothing here waits for the device except `take` and `first_non_finite`.
    """

    def __init__(self, device: torch.device) -> None:
        self._dtype = torch.float32 if device.type == "mps" else torch.float64
        self._moments: dict[tuple[str, ...], Tensor] = {}  # names -> [names, 3]: n, sum, sum of squares
        self._first_bad: dict[tuple[str, ...], Tensor] = {}  # names -> nimg of the first non-finite value, or inf

    def add(self, values: Mapping[str, Tensor], nimg: int) -> None:
        """Adds quantities, float [n] or [] each, seen in the round that began at `nimg`."""
        alike: dict[int, dict[str, Tensor]] = {}
        for name, value in values.items():
            alike.setdefault(value.numel(), {})[name] = value
        for group in alike.values():
            self._add(group, nimg)

    def _add(self, values: Mapping[str, Tensor], nimg: int) -> None:
        """Quantities of equal length, in one pass."""
        names = tuple(values)
        x = torch.stack([value.reshape(-1) for value in values.values()]).to(self._dtype)
        moments = torch.stack([torch.ones_like(x).sum(1), x.sum(1), x.square().sum(1)], dim=1)
        if names in self._moments:
            self._moments[names] += moments
        else:
            self._moments[names] = moments
        seen = self._first_bad.get(names)
        if seen is None:
            seen = self._first_bad[names] = torch.full_like(moments[:, 1], math.inf)
        seen.masked_fill_(~torch.isfinite(moments[:, 1]) & torch.isinf(seen), nimg)

    def first_non_finite(self) -> tuple[int, list[str]] | None:
        """(nimg of the round, the quantities) where something first was NaN or infinite; None if nothing was."""
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
        """The sums, to be added over the processes before `take`."""
        return list(self._moments.values())

    def summarise(self) -> dict[str, dict[str, float]]:
        """{name: {num, mean, std}} since the last call, and a fresh start."""
        sums: dict[str, Tensor] = {}
        for names, moments in self._moments.items():
            for name, own in zip(names, moments.cpu(), strict=True):
                sums[name] = sums[name] + own if name in sums else own
        self._moments.clear()
        taken = {}
        for name, own in sums.items():
            count, total, squares = own.tolist()
            mean = total / count
            variance = max(squares / count - mean * mean, 0.0)
            taken[name] = {"num": int(count), "mean": mean, "std": math.sqrt(variance)}
        return taken
