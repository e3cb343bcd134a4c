"""What can be wrong with a GAN: one table. Each row says what it is, why, what helps, and when it is seen.

A row's `seen` reads a `History` and answers with its evidence, or None. Rows stand in the order of causes: a frozen D
explains a collapse, not the other way round. Wasserstein losses have no zero, so no rule reads their level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ganvas.diagnosis.history import History

Gravity = Literal["failure", "warning", "note"]


@dataclass(frozen=True)
class Sighting:
    """A condition as it was seen.

    Attributes:
        since: when it began, in the history's unit.
        evidence: the numbers, as sentences without a full stop.
        about: which player or class, where the row's sentence leaves a place for it.
    """

    since: float
    evidence: tuple[str, ...]
    about: str = ""


@dataclass(frozen=True)
class Cure:
    """Something to change.

    Attributes:
        do: in words, for anyone's loop.
        knobs: for ours, the flags of `ganvas train`; empty where it is no knob.
    """

    do: str
    knobs: str = ""


@dataclass(frozen=True)
class Condition:
    """A row of the table.

    Attributes:
        name: what people call it.
        gravity: a failure will not mend itself; a warning may; a note is no fault.
        says: a plain sentence; {about} is filled in from the sighting.
        needs: the quantities without which it cannot be seen, each a name or several of which one is enough.
        causes: likely ones, the likeliest first.
        cures: the first to try first.
        source: where this knowledge is from.
        seen: the rule.
    """

    name: str
    gravity: Gravity
    says: str
    needs: tuple[str | tuple[str, ...], ...]
    causes: tuple[str, ...]
    cures: tuple[Cure, ...]
    source: str
    seen: Callable[[History], Sighting | None]

    def missing(self, history: History) -> list[str]:
        """What would have to be known to tell, and is not."""
        wanted = [(need,) if isinstance(need, str) else need for need in self.needs]
        return [" or ".join(names) for names in wanted if not any(name in history for name in names)]


def critic(history: History) -> bool:
    """Whether D's loss has no zero, so that its level says nothing."""
    return bool(history.facts.get("critic"))


def told(number: float) -> str:
    """Three digits."""
    return f"{number:.3g}"
