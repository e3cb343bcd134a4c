"""The monitor of a run: its health, the trend of its quality, and what is done about failures."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ganvas.config import TrainConfig
from ganvas.data import ImageSet
from ganvas.diagnosis.budget import TimeBudget
from ganvas.evaluation.trend import Trend
from ganvas.interrupts import StopRequests
from ganvas.runs import log
from ganvas.runs.folder import Run
from ganvas.training import distributed
from ganvas.training.cancellation import cancellable
from ganvas.training.monitor.health import HealthMonitor
from ganvas.training.monitor.quality import QualityMonitor
from ganvas.training.monitor.recovery import Decision, Recovery
from ganvas.training.saving import Saver
from ganvas.training.state import TrainState


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
        self._run, self._state, self._saver, self._report = run, state, saver, report
        self._is_main, self._on_failure = distributed.is_main_process(), config.runtime.on_failure
        self._budget = TimeBudget.of_run()
        watching = self._is_main and config.runtime.watch
        self._health = HealthMonitor(config, images, state, self._budget) if watching else None
        trend = partial(Trend, images, config.network.latent, config.dataset.conditional, state.device)
        every = config.runtime.evaluate_every
        interval = config.snapshot_every() if every is None else round(every * 1000)
        self._quality = QualityMonitor(run, trend, interval, self._budget)
        self._recovery = Recovery(run, state, self._health)

    def load_state(self, saved: Mapping[str, Any], nimg: int, seconds: float) -> None:
        """Continues after an earlier session of so many seconds, from what `saved_state` gave."""
        self._budget.resume(seconds)
        self._quality.resume(nimg)
        self._recovery.load_state(saved)

    def saved_state(self) -> dict[str, Any]:
        """What is saved with the state of the training."""
        return self._recovery.saved_state()

    def start(self) -> None:
        """Reads what the run has logged so far."""
        if self._health:
            self._health.start_at(self._recovery.since_nimg, log.read_jsonl(self._run.path / "stats.jsonl"))

    def before_round(self, *, tick_follows: bool) -> None:
        """Prepares a probe of the round, if a tick follows it."""
        if self._health and tick_follows:
            self._health.prepare()

    def cancel_round(self) -> None:
        """The round was given up."""
        if self._health:
            self._health.cancel()

    def measure(self, nimg: int, seconds: float, stop: StopRequests) -> dict[str, Any]:
        """What is measured at a tick, after so many seconds of training, for its line of stats.jsonl.

        A new best quality is saved as snapshots/best. An overdue stop request ends the measuring.
        """
        line: dict[str, Any] = {}
        self._budget.seconds = seconds
        if self._is_main:
            with cancellable(stop):
                line |= self._measure_health(nimg)
                line |= self._measure_quality(nimg)
        return line

    def _measure_health(self, nimg: int) -> dict[str, Any]:
        """The signals; a part of the probe that fails for the first time is written to events.jsonl."""
        signals, errors = self._health.measure() if self._health else ({}, {})
        for part, error in errors.items():
            log.append_event(self._run.path, "monitor failed", nimg, part=part, error=error)
        return {"signals": signals} if signals else {}

    def _measure_quality(self, nimg: int) -> dict[str, Any]:
        """The quality (a kernel distance), where it is due."""
        value = self._quality.measure(self._state.g_ema, nimg)
        if value is None:
            return {}
        if value < self._quality.best:
            self._quality.best = value
            self._saver.save_best(nimg, self._quality.describe(value))
        return {"quality": value, "best": self._quality.best}

    def on_tick(self, line: Mapping[str, Any], *, last: bool) -> Decision | None:
        """Reports new findings, prints them and writes them to events.jsonl; acts on failures, but not after the end.

        Args:
            line: of stats.jsonl, on the main process.
        """
        if self._health:
            for finding in self._health.add_line(line):
                self._report(f"{finding.severity.capitalize()}: {finding.describe()}\n  Fix: {finding.advice()}")
                log.append_event(self._run.path, "diagnosis", line["nimg"], **finding.to_json())
        if self._on_failure == "warn" or last:
            return None
        return self._act(distributed.run_on_main(lambda: self._recovery.decide(line["nimg"])))

    def on_non_finite(self, nimg: int, quantities: list[str]) -> Decision | None:
        """Goes back where --on-failure rollback asks for it; not with several processes, which would have to agree."""
        if self._health is None or self._on_failure != "rollback" or distributed.world_size() > 1:
            return None
        self._health.record_non_finite(nimg, quantities)
        return self._act(self._recovery.decide(nimg))

    def _act(self, decision: Decision | None) -> Decision | None:
        if decision is not None:
            if self._is_main:
                self._report(decision.message)
            self._recovery.apply(decision)
        return decision

    def on_snapshot(self, nimg: int) -> None:
        """Keeps the state that was saved, if the run may go back to it."""
        self._recovery.keep_state(nimg)
