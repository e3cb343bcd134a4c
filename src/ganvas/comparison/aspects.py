"""The aspects in which candidates are compared, each one number of a training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
"""A run of the comparison as in report.json: see `Comparison`."""


@dataclass(frozen=True)
class Aspect:
    """One property in which candidates are compared.

    Attributes:
        title: for people.
        description: what is measured, in a few words.
        better: lower or higher.
        unit: appended to values.
        ratio: whether two candidates are compared by the ratio of their values, else by the difference.
    """

    title: str
    description: str
    better: str
    unit: str = ""
    ratio: bool = False


ASPECTS: dict[str, Aspect] = {
    "fine_detail": Aspect("Fine detail", "error of the power spectrum at high frequencies", "lower", " dB", True),
    "sliced_wasserstein": Aspect("Texture", "sliced Wasserstein distance of 7×7 patches, × 1000", "lower", "", True),
    "layout": Aspect("Layout", "Fréchet distance of the images reduced to 8×8 pixels", "lower", "", True),
    "precision": Aspect("Realism", "precision: share of generated images that are close to real images", "higher"),
    "recall": Aspect("Diversity", "recall: share of real images that are close to generated images", "higher"),
    "rarest": Aspect("Rarest class", "share of the class that is generated least often", "higher"),
    "images_per_s": Aspect("Speed", "training images per second", "higher", "/s", True),
    "peak_bytes": Aspect("Memory", "peak memory of the training process", "lower", " MB", True),
}
"""The aspects of the report, each a panel of its figure: image quality from fine to coarse, then diversity and cost."""

COSTS = ("images_per_s", "peak_bytes")
"""The aspects that depend on the device."""


def aspect_value(run: Row, aspect: str) -> float | None:
    """A run's value of an aspect, in its unit, or of a metric; None where it is unknown."""
    if aspect in COSTS:
        value = run[aspect]
        return value / 1e6 if value and aspect == "peak_bytes" else value
    return run["evaluation"]["values"].get(aspect, {}).get("value") if run["evaluation"] else None


def is_independent(runs: Sequence[Row], measure: str) -> bool:
    """Whether a metric or an aspect is measured independently of every network that a D looked through."""
    values = (run["evaluation"]["values"].get(measure, {}) for run in runs if run["evaluation"])
    return all(value.get("independent", True) for value in values)


def is_positive(runs: Sequence[Row], measure: str) -> bool:
    """Whether all known values of a metric or an aspect are positive, so that they can be compared by ratios."""
    values = (aspect_value(run, measure) for run in runs)
    return all(value > 0 for value in values if value is not None and math.isfinite(value))


def reason_not_to_compare(cost: str, runs: Sequence[Row]) -> str:
    """Why the runs' values of one of the COSTS cannot be compared; empty where they can."""
    known = [run for run in runs if aspect_value(run, cost) is not None]
    if not on_one_device(known):
        return "not measured on one known device, not compared"
    if cost == "images_per_s" and not all(run.get("alone", True) for run in known):  # older versions do not record it
        return "measured beside other work of the comparison, not compared"
    return ""


def on_one_device(runs: Sequence[Row]) -> bool:
    """Whether all runs ended on one known device, so that their speed, memory and minutes can be compared."""
    devices = known_devices(runs)
    return len(devices) == 1 and None not in devices


def known_devices(runs: Sequence[Row]) -> set[str | None]:
    """The devices on which runs ended; None for one of an older version. A run that did not end says nothing."""
    return {run.get("device") for run in runs if run.get("device") or run["state"] == "complete"}
