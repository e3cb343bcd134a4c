"""What can be wrong with a GAN: one table. Each row says what it is, why, what helps, and how it is detected.

A row's `detect` reads a `History` and returns its evidence, or None. Rows stand in causal order: a frozen D explains a
collapse, not the other way round. Wasserstein losses have no fixed zero, so no rule reads their level.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ganvas.diagnosis.history import History
from ganvas.diagnosis.rules.fixes import Fix
from ganvas.diagnosis.rules.remedies import Remedy
from ganvas.diagnosis.severity import Severity

ConditionName = Literal[
    "non-finite", "loss not connected", "wrong optimiser", "labels swapped", "missing zero_grad",
    "losses not separated", "missing detach", "sigmoid twice", "eval mode", "D frozen", "G frozen", "range mismatch",
    "normalisation mismatch", "batch-norm leak",
    "critic without gradient", "critic unconstrained", "learning rate too high", "divergence", "learning rate too low",
    "D too weak", "critic under-trained", "memorisation", "D overfits", "D too strong", "mode cycling", "mode collapse",
    "labels ignored by D", "labels ignored by G", "missing modes", "checkerboard artefacts", "imbalanced classes",
    "layers frozen", "no improvement", "quality regressing", "oscillation", "memory growth", "plateau", "slowing down",
    "too early to judge",
]  # fmt: skip


@dataclass(frozen=True)
class Detection:
    """A condition as it was detected.

    Attributes:
        since: when it began, in the history's unit.
        evidence: the numbers, as sentences without a full stop.
        about: the network concerned, D or G, where the row's sentence leaves a place for it.
        severity: instead of the row's, where the evidence is weaker or stronger than usual.
        summary, causes, fixes: instead of the row's, where the evidence says more.
    """

    since: float
    evidence: tuple[str, ...]
    about: str = ""
    severity: Severity | None = None
    summary: str = ""
    causes: tuple[str, ...] = ()
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True)
class Condition:
    """A row of the table.

    Attributes:
        name: its usual name.
        severity: unless the detection has its own.
        summary: a plain sentence; {about} is filled in from the detection.
        needs: the quantities without which it cannot be detected, each a name or several of which one is enough.
        causes: likely ones, the likeliest first.
        fixes: the most promising first.
        source: where this knowledge is from.
        detect: the rule.
        remedy: what is changed about it while a run continues (--on-failure); empty where no change would help.
        own_loop: whether it is a fault of a loop's code, which no run of Ganvas can have.
    """

    name: ConditionName
    severity: Severity
    summary: str
    needs: tuple[str | tuple[str, ...], ...]
    causes: tuple[str, ...]
    fixes: tuple[Fix, ...]
    source: str
    detect: Callable[[History], Detection | None]
    remedy: Remedy = ()
    own_loop: bool = False

    def missing(self, history: History) -> tuple[tuple[str, ...], ...]:
        """The needs that are not met: of each, the quantities of which one would be enough."""
        if self.own_loop and history.facts.config is not None:
            return ()
        wanted = [(need,) if isinstance(need, str) else need for need in self.needs]
        return tuple(names for names in wanted if not any(name in history for name in names))


def three_digits(number: float) -> str:
    """A number to three significant digits."""
    return f"{number:.3g}"
