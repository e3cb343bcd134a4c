"""The health of a run: with each tick its networks are probed, if time allows, and new findings are named."""

from collections.abc import Iterable, Mapping
from typing import Any

from ganvas.config import TrainConfig
from ganvas.data import ImageSet
from ganvas.diagnosis.budget import TimeBudget
from ganvas.diagnosis.diagnosis import Diagnosis, Finding
from ganvas.diagnosis.history import History, NonFinite
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.diagnosis.sources import facts_of
from ganvas.training.monitor.subject import RunNetworks
from ganvas.training.state import TrainState

DIGITS = 6
"""Significant digits of what is logged."""


class HealthMonitor:
    """Probes the networks of a run, and applies the rules to the measurements."""

    def __init__(self, config: TrainConfig, images: ImageSet, state: TrainState, budget: TimeBudget) -> None:
        facts = facts_of(config, len(images), images.classes)
        self._probe = NetworkProbe(RunNetworks(config.dataset, images, state), History("kimg", facts), budget)
        self._start, self._always = 0, config.runtime.on_failure != "warn"

    @property
    def history(self) -> History:
        """The measurements; of a resumed run also the earlier ones."""
        return self._probe.history

    def start_at(self, nimg: int, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        """Diagnoses only what comes after `nimg` images: those lines of stats.jsonl, and later ones."""
        self._start = nimg
        later = [line for line in lines if line["nimg"] > nimg]
        self._probe.history = History.from_stats(later, self.history.facts)
        self.history.update_facts(non_finite=None, shown=later[-1]["nimg"] - nimg if later else 0)
        self._probe.forget_findings()

    def prepare(self) -> None:
        """Copies the weights before a round that may be probed.

        Probes on which interventions depend are never left out: a run must act the same on any machine.
        """
        if self._always or self._probe.budget.allows("probes"):
            with self._probe.budget.spend("probes"):
                self._probe.prepare()

    def cancel(self) -> None:
        """Discards the copy: the round was given up."""
        self._probe.cancel()

    def measure(self) -> tuple[dict[str, float], dict[str, str]]:
        """The signals after that round, rounded, and {part: error} of what failed for the first time."""
        if not self._probe.prepared:
            return {}, {}
        before = dict(self._probe.errors)
        with self._probe.budget.spend("probes"):
            values = self._probe.measure()
        new = {part: error for part, error in self._probe.errors.items() if part not in before}
        return {name: float(f"{value:.{DIGITS}g}") for name, value in values.items()}, new

    def record_non_finite(self, nimg: int, quantities: Iterable[str]) -> None:
        """Notes that these quantities were NaN or infinite after `nimg` images."""
        self.history.update_facts(non_finite=NonFinite(nimg / 1000, tuple(quantities)))

    def add_line(self, line: Mapping[str, Any]) -> list[Finding]:
        """Adds a line of stats.jsonl; the failures and warnings that were not reported before."""
        self.history.update_facts(shown=line["nimg"] - self._start)
        self.history.add_line(line)
        return self._probe.new_findings()

    def diagnosis(self) -> Diagnosis:
        """The diagnosis so far."""
        return self._probe.diagnosis()
