"""How far a training has come: the images shown, and the distance from the fakes to the reals."""

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules.conditions import three_digits

YOUNG = 3000
"""Images shown before which no network can be said to have stopped learning, and nothing of what G generates."""


def is_young(history: History) -> bool:
    """Whether so few images have been shown that everything may still change."""
    return history.facts.shown is not None and history.facts.shown < YOUNG


def has_learned(history: History, updates: int, images: int) -> bool:
    """Whether G has been updated so often; where that is not known, whether so many images have been shown."""
    steps = history["G/steps"]
    return steps.last >= updates if steps else (history.facts.shown or 0) >= images


def is_poor(history: History) -> bool:
    """Whether the fakes are far from the reals: all together, or each of them."""
    distance, precision = history["distance"], history["precision"]
    if not distance:
        return False
    each = precision and precision.recent() < 0.05 and distance.recent() > 0.05
    return distance.recent() > 0.3 or bool(each)


def distance_evidence(history: History) -> tuple[str, ...]:
    """How far the fakes are from the reals, and were at the start."""
    distance = history["distance"]
    if not distance:
        return ()
    now, start = three_digits(distance.recent()), three_digits(distance.value[0])
    return (f"the fakes' distance to the reals is {now}, and began at {start}",)
