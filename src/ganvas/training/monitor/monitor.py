"""The monitor of a run: probes of its networks, the trend of its quality, and what is done about failures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ganvas.config import TrainConfig
from ganvas.data import ImageSet
from ganvas.diagnosis.budget import TimeBudget
from ganvas.diagnosis.history import History, NonFinite
from ganvas.diagnosis.probe import NetworkProbe
from ganvas.diagnosis.sources import facts_of
from ganvas.evaluation.trend import Trend
from ganvas.interrupts import StopRequests
from ganvas.runs import log
from ganvas.runs.folder import Run
from ganvas.training import distributed
from ganvas.training.cancellation import cancellable
from ganvas.training.monitor.quality import QualityMonitor
from ganvas.training.monitor.recovery import Decision, Recovery
from ganvas.training.monitor.subject import RunNetworks
from ganvas.training.saving import Saver
from ganvas.training.state import TrainState

DIGITS = 6
"""Significant digits of the signals in a log."""


class Monitor:
    """Measures a run within one time budget, reports what is wrong, and decides whether and how it continues.

    The main process measures and decides; a decision is carried out in every process.

    Args:
        report: receives findings and decisions, as text.
    """

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        images: ImageSet,
        state: TrainState,
        saver: Saver,
        report: Callable[[str], object],
    ) -> None:
        self._run, self._images, self._state, self._saver, self._report = run, images, state, saver, report
        self._is_main, self._on_failure = distributed.is_main_process(), config.runtime.on_failure
        self._budget = TimeBudget.of_run()
        self._probe: NetworkProbe | None = None
        if self._is_main and config.runtime.watch:
            critic = state.game.objective.critic
            history = History("kimg", facts_of(config, len(images), images.classes, critic=critic))
            self._probe = NetworkProbe(RunNetworks(config.dataset, images, state), history)
        every = config.runtime.evaluate_every
        interval = config.snapshot_every() if every is None else round(every * 1000)
        self._quality = QualityMonitor(run, self._build_trend, interval, self._budget)
        self._told_dependence = False
        self._recovery = Recovery(run, state, self._probe)

    def _build_trend(self, count: int, **more: Any) -> Trend:
        """The trend on so many images, in features that suit all networks that G was trained through."""
        data, config = self._state.config.dataset, self._state.config
        latent, seen = config.network.latent, self._saver.d_networks
        return Trend(self._images, latent, data.conditional, self._state.device, count, d_networks=seen, **more)

    def load_state(self, saved: Mapping[str, Any], nimg: int, seconds: float) -> None:
        """Continues after an earlier session of so many seconds, from what `saved_state` gave."""
        self._budget.resume(seconds)
        self._quality.resume(nimg)
        self._recovery.load_state(saved)

    def saved_state(self) -> dict[str, Any]:
        """What is saved with the state of the training."""
        return self._recovery.saved_state()

    def start(self, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        """Diagnoses only what comes after the last recovery: of these lines of stats.jsonl, and later ones."""
        if self._probe:
            since = self._recovery.since_nimg
            later = [line for line in lines if line["nimg"] > since]
            shown = later[-1]["nimg"] - since if later else 0
            facts = replace(self._probe.history.facts, non_finite=None, shown=shown)
            self._probe.restart(History.from_stats(later, facts))

    def before_round(self, *, tick_follows: bool) -> None:
        """Prepares a probe of the round if a tick follows it and the budget allows it.

        Probes on which interventions depend are never left out: a run must act the same on any machine.
        """
        if self._probe and tick_follows and (self._on_failure != "warn" or self._budget.allows("probes")):
            with self._budget.spend("probes"):
                self._probe.prepare()

    def cancel_round(self) -> None:
        """The round was given up."""
        if self._probe:
            self._probe.cancel()

    def measure(self, nimg: int, seconds: float, stop: StopRequests) -> dict[str, Any]:
        """What is measured at a tick, after so many seconds of training, for its line of stats.jsonl.

        A new best quality is saved as snapshots/best. An overdue stop request ends the measuring.
        """
        line: dict[str, Any] = {}
        self._budget.seconds = seconds
        if self._is_main:
            with cancellable(stop):
                line |= self._measure_signals(nimg)
                line |= self._measure_quality(nimg)
        return line

    def _measure_signals(self, nimg: int) -> dict[str, Any]:
        """The signals, rounded; a part of the probe that fails for the first time is written to events.jsonl."""
        if self._probe is None or not self._probe.prepared:
            return {}
        earlier = dict(self._probe.errors)
        with self._budget.spend("probes"):
            values = self._probe.measure()
        for part, error in self._probe.errors.items():
            if part not in earlier:
                log.append_event(self._run.path, "monitor failed", nimg, part=part, error=error)
        return {"signals": {name: float(f"{value:.{DIGITS}g}") for name, value in values.items()}}

    def _measure_quality(self, nimg: int) -> dict[str, Any]:
        """The quality (a kernel distance), where it is due.

        Networks that grow are not measured: small images, enlarged, are close before the details come. In features that
        are not independent of D's network the value is recorded, and no best is chosen: G learns to make it small.
        """
        if self._state.is_growing(nimg):
            return {}
        value = self._quality.measure(partial(self._state.average_for_sampling, self._images), nimg)
        if value is None:
            return {}
        if dependence := self._quality.describe_dependence():
            if not self._told_dependence:
                self._report(f"Note: {dependence} The quality is recorded, and no best snapshot is chosen.")
            self._told_dependence = True
            return {"quality": value}
        if value < self._quality.best:
            self._quality.best = value
            self._saver.save_best(nimg, self._quality.describe(value))
        return {"quality": value, "best": self._quality.best}

    def on_tick(self, line: Mapping[str, Any], *, last: bool) -> Decision | None:
        """Reports new findings, prints them and writes them to events.jsonl; acts on failures, but not after the end.

        Args:
            line: of stats.jsonl, on the main process.
        """
        if self._probe:
            self._probe.history.update_facts(shown=line["nimg"] - self._recovery.since_nimg)
            self._probe.history.add_line(line)
            changes = self._probe.update_findings()
            for finding in changes.new:
                self._report(f"{finding.severity.capitalize()}: {finding.describe()}\n  Fix: {finding.advice()}")
            for finding in changes.begun:
                log.append_event(self._run.path, "diagnosis", line["nimg"], **finding.to_json())
            for name in changes.ended:
                log.append_event(self._run.path, "diagnosis over", line["nimg"], name=name)
                self._report(f"No longer found: {name}.")
        if self._on_failure == "warn" or last:
            return None
        return self._act(distributed.run_on_main(lambda: self._recovery.decide(line["nimg"])))

    def on_non_finite(self, nimg: int, quantities: list[str]) -> Decision | None:
        """Goes back where --on-failure rollback asks for it; not with several processes, which would have to agree."""
        if self._probe is None or self._on_failure != "rollback" or distributed.world_size() > 1:
            return None
        self._probe.history.update_facts(non_finite=NonFinite(nimg / 1000, tuple(quantities)))
        return self._act(self._recovery.decide(nimg))

    def _act(self, decision: Decision | None) -> Decision | None:
        if decision is not None:
            if self._is_main and decision.changes is not None:  # else it is the error that ends the training
                self._report(decision.message)
            self._recovery.apply(decision)
            if decision.changes is not None:
                self.start()
        return decision

    def on_snapshot(self, nimg: int) -> None:
        """Keeps the state that was saved, if the run may go back to it."""
        self._recovery.keep_state(nimg)
