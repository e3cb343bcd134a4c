"""What is known of a training, in order of time: a few columns of numbers, and the facts that do not change."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Series:
    """One quantity through time.

    Attributes:
        at: when, float64 [n], ascending, in the unit of its history.
        value: what it was, float64 [n]; NaN and infinity are values too.
    """

    at: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.at)

    def __bool__(self) -> bool:
        return len(self.at) > 0

    @property
    def last(self) -> float:
        """The newest value."""
        return float(self.value[-1])

    def recent(self, n: int = 3) -> float:
        """The median of the newest n values."""
        return float(np.median(self.value[-n:]))

    def early(self, n: int = 3) -> float:
        """The median of the first n values."""
        return float(np.median(self.value[:n]))

    def finite(self) -> "Series":
        """Without NaN and infinity."""
        known = np.isfinite(self.value)
        return Series(self.at[known], self.value[known])

    def after(self, when: float) -> "Series":
        """What came later than `when`."""
        later = self.at > when
        return Series(self.at[later], self.value[later])

    def holds(self, true: np.ndarray, least: int = 2) -> float | None:
        """Since when a condition, bool [n], has held without a break until now; None if not for `least` values."""
        broken = np.flatnonzero(~true)
        first = broken[-1] + 1 if len(broken) else 0
        return float(self.at[first]) if len(self) - first >= least else None


EMPTY = Series(np.empty(0), np.empty(0))


@dataclass(eq=False)
class History:
    """A training as it was seen.

    Attributes:
        unit: what time is counted in: kimg, step, epoch, or row.
        facts: what is known beforehand, such as `objective`, `critic`, `batch`, `images`, `classes`, `total`.
        columns: (times, values) of each quantity, by name; see `ganvas.diagnosis.signals.networks` for the names.
    """

    unit: str
    facts: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)
    _known: dict[str, Series] = field(default_factory=dict, init=False, repr=False)

    def add(self, at: float, values: Mapping[str, float | None]) -> None:
        """Appends what was seen at one time; None is nothing."""
        for name, value in values.items():
            if value is not None:
                times, column = self.columns.setdefault(name, ([], []))
                times.append(at)
                column.append(float(value))

    def add_line(self, line: Mapping[str, Any]) -> None:
        """Appends a line of stats.jsonl."""
        self.add(line["nimg"] / 1000, dict(numbers(line)))

    def __getitem__(self, name: str) -> Series:
        if name not in self.columns:
            return EMPTY
        times, values = self.columns[name]
        known = self._known.get(name)
        if known is None or len(known) != len(times):  # columns only grow, and every rule asks for them
            known = self._known[name] = Series(np.asarray(times, float), np.asarray(values, float))
        return known

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    @property
    def now(self) -> float:
        """The time of the newest value; 0 before the first."""
        return max((times[-1] for times, _ in self.columns.values()), default=0.0)

    @classmethod
    def of_stats(cls, lines: Iterable[Mapping[str, Any]], facts: Mapping[str, Any]) -> "History":
        """From the lines of a run's stats.jsonl: means of what was logged every round, and the doctor's looks."""
        history = cls("kimg", dict(facts))
        for line in lines:
            history.add_line(line)
        return history


def numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """(name, value) of each quantity in a line of stats.jsonl; of a {num, mean, std} the mean, and the std as /std."""
    for name, value in line.items():
        if isinstance(value, Mapping):
            if "mean" in value:
                yield name, value["mean"]
                yield f"{name}/std", value.get("std", 0.0)
            else:
                yield from numbers(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield name, float(value)
