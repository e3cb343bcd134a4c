"""Curves of quality against time: means over seeds, and when a curve reaches a value."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any


@dataclass(frozen=True)
class Point:
    """The mean over seeds at a mark."""

    seconds: float
    value: float


@dataclass(frozen=True)
class Reached:
    """When a curve reaches a value; `at_most` if it had at its first mark."""

    seconds: float
    at_most: bool = False


def mean_curve(cells: Sequence[dict[str, Any]], judge: str) -> list[Point]:
    """The mean over cells of one group (method and minutes), at the marks that all of them have."""
    by_mark = [{mark["minutes"]: mark for mark in cell["marks"] if mark.get(judge) is not None} for cell in cells]
    shared = sorted(set.intersection(*map(set, by_mark))) if by_mark else []
    return [
        Point(
            statistics.mean(marks[minutes]["seconds"] for marks in by_mark),
            statistics.mean(marks[minutes][judge] for marks in by_mark),
        )
        for minutes in shared
    ]


def best_point(curve: Sequence[Point]) -> Point:
    """The lowest value, and the earliest time of it."""
    return min(curve, key=lambda point: (point.value, point.seconds))


def time_to_reach(curve: Sequence[Point], value: float) -> Reached | None:
    """The first time at which the curve is at most `value`, between two marks on a line in the logarithms of both.

    None if it never is.
    """
    before: Point | None = None
    for point in curve:
        if point.value <= value:
            if before is None:
                return Reached(point.seconds, at_most=True)
            floor = 1e-12
            fall = log(max(before.value, floor)) - log(max(point.value, floor))
            share = (log(max(before.value, floor)) - log(max(value, floor))) / fall
            return Reached(exp(log(before.seconds) + share * (log(point.seconds) - log(before.seconds))))
        before = point
    return None


def first_to_reach(curves: Iterable[Sequence[Point]], value: float) -> Reached | None:
    """The earliest of several curves' times."""
    times = [reached for curve in curves if (reached := time_to_reach(curve, value)) is not None]
    return min(times, key=lambda reached: reached.seconds, default=None)
