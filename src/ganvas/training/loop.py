"""The training loop: logging and saving where they are due, then one round of updates."""

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any

import torch

from ganvas import devices, environment, interrupts
from ganvas.config import TrainConfig, to_json
from ganvas.data import Batches, ImageSet
from ganvas.errors import GanvasError
from ganvas.files import clean_leftovers
from ganvas.networks import Shape
from ganvas.runs import checkpoint, folder, log
from ganvas.runs.folder import Run
from ganvas.runs.listeners import Listeners
from ganvas.training import announcement, compilation, distributed, freezing, memory, transfer
from ganvas.training.cancellation import SLOW_ROUND_SECONDS, CancellableRounds
from ganvas.training.moment_fitting import CHECK_EVERY, fit_moments, refit_moments
from ganvas.training.monitor.monitor import Monitor
from ganvas.training.monitor.recovery import Decision
from ganvas.training.planning import Planner
from ganvas.training.progress import ProgressReporter
from ganvas.training.saving import Saver
from ganvas.training.state import TrainState
from ganvas.training.stats import Stats
from ganvas.training.transfer import Weights


class TrainingStopped(GanvasError):
    """The end of a training that --on-failure stops; the run is saved."""

    def __init__(self, run: Run, failure: str, nimg: int) -> None:
        super().__init__(
            f"{failure} {run} is saved at {nimg / 1000:g} kimg.",
            fix=f"ganvas diagnose {announcement.quote(run)} says more; --on-failure warn trains on all the same.",
        )
        self.run, self.failure = run, failure


class Session:
    """Trains a run from its saved state, or its beginning, to its end or an interruption.

    Attributes:
        nimg: real images shown to D so far, over all processes.
        seconds: training time so far, that of earlier sessions included; saving is not counted.
        saved_nimg: `nimg` of the state on disk; None before the first.
        failure: why the run was stopped by --on-failure; empty while it continues.
    """

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        images: ImageSet,
        shape: Shape,
        device: torch.device,
        peak_bytes: int,
        progress: ProgressReporter,
        planner: Planner | None = None,
        weights: Weights | None = None,
        listeners: Listeners | None = None,
    ) -> None:
        self.run, self.config, self.images, self.shape = run, config, images, shape
        self.planner, self._weights, self._peak_bytes = planner, weights, peak_bytes
        self.listeners = listeners or Listeners((), progress.print)
        self.progress, self.is_main = progress, distributed.is_main_process()
        self.state = TrainState.build(config, shape, device)
        if planner is not None:
            self.state.plan = planner.plan
        progress.set_length(self.total, planner)
        self.stats, self.notes = Stats(device), list[str]()
        rounds, minutes = self.total // config.images_per_round, None if planner is None else planner.minutes
        if compilation.is_wanted(config.runtime.compile, device.type, rounds, minutes):
            self.state.compile(progress.print)
            self.notes.append("Training is compiled: the first round may take minutes.")
        self.nimg, self.seconds, self.failure = 0, 0.0, ""
        self.saved_nimg: int | None = None
        self.stop, self._announced_stop = interrupts.StopRequests(), False
        self.saver = Saver(run, config.runtime, self.state, images, shape, weights.origin.d_networks if weights else ())
        self.monitor = Monitor(run, config, images, self.state, self.saver, progress.print)
        self.tick_interval, self.snapshot_interval = config.tick_every(), config.snapshot_every()
        if self.is_main:
            progress.set_log_file(run.path / "log.txt")

    @property
    def total(self) -> int:
        """Images shown to D at the end, as it is planned now."""
        return self.state.plan.total

    def train(self, cost: str = "", warning: str = "") -> None:
        """Trains until the end, a stop request or a failure. `cost` and `warning` are printed at the start."""
        fresh = not self._resume()
        self.listeners.begin(self.run)
        if self.nimg >= self.total:
            if self.is_main:
                self._check_results()
            self.progress.print(f"{self.run} is complete ({self.nimg / 1000:g} kimg).\n{self._describe_results()}")
            return
        self._transfer(fresh)
        if fresh:
            fit_moments(self.state, self.images, 0)
        if self.is_main:
            self._announce(fresh, cost, warning)
        batches = self._batches()
        before = -1 if fresh else self.nimg
        self.ticked_at, self.ticked_nimg = time.perf_counter(), self.nimg
        if self.planner is not None:
            self.planner.begin_rounds(self.nimg)

        with interrupts.collect_stop_requests(self._on_stop_request) as self.stop:
            rounds = CancellableRounds(self.state, self.stop)
            while True:
                plan_due = self.is_main and self.planner is not None and self.planner.is_due(self.nimg)
                stop, slow, plan_due = distributed.all_reduce_any(
                    bool(self.stop), rounds.seconds > SLOW_ROUND_SECONDS, plan_due
                )
                if stop:
                    self._announce_stop()
                tick_due = _crosses_multiple(before, self.nimg, self.tick_interval)
                if self.planner is not None:
                    self._follow_plan(self.planner, before, due=plan_due or tick_due)
                done = stop or self.nimg >= self.total
                snapshot_due = done or _crosses_multiple(before, self.nimg, self.snapshot_interval)
                with self._count_saving() if snapshot_due else nullcontext():
                    if snapshot_due or tick_due:
                        self._write_tick()
                    if _crosses_multiple(before, self.nimg, CHECK_EVERY):
                        refit_moments(self.state, self.images, self.nimg)
                    if snapshot_due or self.failure:
                        self._save()
                if done or self.failure:
                    break
                self.progress.update_bar(self.nimg)
                before = self.nimg
                self._train_round(rounds, batches, slow=slow)
            distributed.run_on_main(partial(self._finish, stop))  # torchrun kills all 30 s after one was interrupted
        if stop or self.stop:  # the request may have come while the end was being written
            rest = "the same command resumes from there" if self.nimg < self.total else "the run is complete"
            raise KeyboardInterrupt(f"stopped at {self.nimg / 1000:g} kimg; {rest}")
        if self.failure:
            raise TrainingStopped(self.run, self.failure, self.nimg)

    def _follow_plan(self, planner: Planner, before: int, *, due: bool) -> None:
        """Re-plans a run by time: at a tick, at the planned end, and where the planner asks for it."""
        trained = self.nimg > before >= 0
        if not (trained and (due or self.nimg >= self.total)):
            return
        devices.synchronize(self.state.device)  # else the clock is ahead of the rounds
        plan = distributed.run_on_main(lambda: planner.update(self.nimg))
        if plan != self.state.plan:
            planner.plan = self.state.plan = plan
            self.progress.set_length(plan.total, planner)
            if self.is_main and not planner.is_replaying(self.nimg):  # else the event is there
                seconds = round(planner.elapsed, 1)
                log.append_event(self.run.path, "replanned", self.nimg, seconds=seconds, kimg=plan.total / 1000)

    def _count_saving(self) -> AbstractContextManager[None]:
        return nullcontext() if self.planner is None else self.planner.saving()

    def _resume(self) -> bool:
        """Restores the saved state, if there is one. Returns whether there was."""
        if self.is_main:
            for directory in (self.run.path, self.run.path / "snapshots", self.run.path / "state"):
                clean_leftovers(directory)
        file = self.run.state_file
        saved = distributed.run_on_main(lambda: checkpoint.load(file) if file.exists() else None)
        if saved is not None:
            tensors, metadata = saved
            distributed.run_on_main(lambda: self.saver.resume(metadata, complete=metadata["nimg"] >= self.total))
            checkpoint.restore(self.state.parts, tensors)
            self.nimg, self.seconds, self.saved_nimg = metadata["nimg"], metadata["seconds"], metadata["nimg"]
            self.state.ema_warmup = metadata.get("ema_warmup", self.state.ema_warmup)
            self.monitor.load_state(metadata["recovery"], self.nimg, self.seconds)
        if self.is_main and self.nimg < self.total:
            for name, last in (("stats.jsonl", self.nimg if saved else -1), ("events.jsonl", math.inf)):
                if damage := log.drop_lines_after(self.run.path / name, last):
                    self.progress.print(f"Note: {damage}")
            for damage in self.run.find_damage():
                self.progress.print(f"Note: {damage} The rest of the run is not affected.")
            if saved:
                log.append_event(self.run.path, "resume", self.nimg)
            elif self.planner is not None:
                seconds, kimg = round(self.planner.elapsed, 1), self.total / 1000
                log.append_event(self.run.path, "planned", 0, seconds=seconds, kimg=kimg)
            self.monitor.start(log.read_stats(self.run.path))
        return saved is not None

    def _transfer(self, fresh: bool) -> None:
        """Takes weights over from another training, if this one begins so, and freezes layers of D."""
        if fresh and self._weights is not None:
            self.notes += transfer.take_over(self.state, self._weights)
        self._weights = None
        if n := self.config.transfer.freeze_d:
            layers = freezing.freeze_first_layers(self.state.game.D, n, self.shape, self.state.device)
            self.notes.append(f"Frozen in D: {', '.join(layers)}.")

    def _announce(self, fresh: bool, cost: str, warning: str) -> None:
        length = f"{self.total / 1000:g} kimg" if self.planner is None else f"{self.planner.describe(self.nimg)},"
        resumed_at = None if fresh else self.nimg
        text = announcement.describe(self.run, self.config, self.images, self.state, cost, length, resumed_at)
        self.progress.print("\n".join([text, *(f"  {note}" for note in self.notes)]))
        if fresh:
            if unfinished := folder.find_unfinished(self.run):
                other, how_to_resume = unfinished
                self.progress.print(f"Note: {other} is unfinished{how_to_resume}")
            self.saver.save_reals()
        if warning:
            self.progress.print(warning)

    def _on_stop_request(self) -> None:
        """Announces the stop; later after SIGTERM to one of several processes: torchrun sends it too if one fails."""
        if distributed.world_size() == 1 or self.stop.signals == [signal.SIGINT]:
            self._announce_stop()

    def _announce_stop(self) -> None:
        if not self._announced_stop:
            self._announced_stop, saved = True, self._describe_saved_state()
            again = "Ctrl-C again ends at once; " if distributed.world_size() == 1 else ""  # torchrun waits for them
            rest = f"{again}{saved}"
            self.progress.print(f"Stopping: the state is saved first. {rest[0].upper()}{rest[1:]}.")

    def _describe_saved_state(self) -> str:
        if self.saved_nimg is None:
            return "nothing was saved yet"
        return f"the state of {self.saved_nimg / 1000:g} kimg stays intact"

    def _batches(self) -> Iterator[Any]:
        data = self.config.dataset
        return Batches(
            self.images,
            batch=self.config.optimisation.batch,
            seed=self.config.seed,
            start=self.nimg,
            rank=distributed.rank(),
            world=distributed.world_size(),
            mirror=data.mirror,
            balanced=data.balanced,
            device=self.state.device,
            needed_bytes=self._peak_bytes,
        )

    def _train_round(self, rounds: CancellableRounds, batches: Iterator[Any], *, slow: bool) -> None:
        """One round. A cancelled one is forgotten: it is trained on resume, and its time does not count."""
        after = self.nimg + self.config.images_per_round
        intervals = (self.tick_interval, self.snapshot_interval)
        self.monitor.before_round(tick_follows=any(_crosses_multiple(self.nimg, after, every) for every in intervals))
        attempts, began = self.state.compile_attempts, self.planner.elapsed if self.planner is not None else 0.0
        result = rounds.run([next(batches) for _ in range(self.config.balance.d_steps)], self.nimg, slow=slow)
        if result is None:
            self.ticked_at += rounds.seconds
            self.monitor.cancel_round()
            return
        if self.planner is not None and self.state.compile_attempts > attempts:
            self.planner.leave_out(began, self.config.images_per_round)
        for quantities in result:
            self.stats.add(quantities, self.nimg)
        if self.state.device.type == "cpu":  # on a GPU the check would wait for the device: once a tick
            self._check_finite()
        self.nimg = after

    def _check_finite(self) -> None:
        bad = self.stats.first_non_finite()
        if bad is None:
            return
        nimg, names = bad
        decision = self.monitor.on_non_finite(nimg, names)
        if decision is not None:
            self._follow(decision)
            if not self.failure:
                self.stats = Stats(self.state.device)
                return
        if self.is_main:
            log.append_event(self.run.path, "non-finite", nimg, quantities=names)
            self._announced_stop = True  # a request ends no more than the drawing
            if distributed.world_size() == 1:  # several processes end together
                with suppress(Exception, KeyboardInterrupt):  # this error is the one to be told
                    self.saver.finish_drawings(self.stop, self.progress.print, waits=False)
        raise announcement.explain_non_finite(self.run, nimg, names, self._describe_saved_state())

    def _follow(self, decision: Decision | None) -> None:
        """Notes the failure if the run is to stop; changes and a restored state are in force already."""
        self.failure = decision.message if decision is not None and decision.changes is None else ""
        if decision is not None and not self.failure:
            fit_moments(self.state, self.images, self.nimg)

    def _write_tick(self) -> None:
        """Writes a line of stats.jsonl, prints it, and acts on failures as --on-failure says."""
        if self.is_main:
            self.saver.check_folder()
        self._check_finite()
        elapsed = time.perf_counter() - self.ticked_at
        self.seconds += elapsed
        if self.nimg > self.ticked_nimg:
            distributed.all_reduce_sum(self.stats.moments())
            line = self._summarise(elapsed) | self.monitor.measure(self.nimg, self.seconds, self.stop)
            if self.is_main:
                log.append_json(self.run.path / "stats.jsonl", line)
                self.progress.report_tick(line)
            self._follow(self.monitor.on_tick(line, last=self.nimg >= self.total))
            self.listeners.written()
        self.ticked_at, self.ticked_nimg = time.perf_counter(), self.nimg

    def _summarise(self, elapsed: float) -> dict[str, Any]:
        """What happened since the last tick, `elapsed` seconds ago."""
        scheduled = self.state.scheduled_values(self.nimg)
        return {
            "nimg": self.nimg,
            "kimg_per_s": (self.nimg - self.ticked_nimg) / 1000 / max(elapsed, 1e-9),
            "seconds": round(self.seconds, 3),
            **({} if self.planner is None else {"planned": self.total, "elapsed": round(self.planner.elapsed, 3)}),
            **devices.used_memory(self.state.device),
            **self.stats.summarise(),
            "D/lr": scheduled["d_lr"],
            "G/lr": scheduled["g_lr"],
            **self._take_update_counts(),
            **self._adaptive_values(scheduled),
        }

    def _take_update_counts(self) -> dict[str, int]:
        """Updates and skipped rounds of each network since the last tick; skipped ones are also written as an event."""
        names = ("D/updates", "G/updates", "D/skipped", "G/skipped")
        counts: dict[str, int] = dict(zip(names, self.state.update_counts.tolist(), strict=True))
        self.state.update_counts[:] = 0
        if self.state.update_policy.is_active and self.is_main and (counts["D/skipped"] or counts["G/skipped"]):
            d, g = self.state.update_policy.losses[1].tolist()
            rules = {name: rule for name, rule in to_json(self.config.balance).items() if rule}
            log.append_event(
                self.run.path, "balance", self.nimg, since=self.ticked_nimg, **counts, d_loss=d, g_loss=g, **rules
            )
        return counts

    def _adaptive_values(self, scheduled: Mapping[str, float]) -> dict[str, float]:
        """Growth and the probability of augmentation, where they are used."""
        ada = self.state.ada
        line = {"growth": scheduled["growth"]} if "growth" in scheduled else {}
        if self.state.config.loss.augment != "none":
            line["augment_p"] = scheduled["augment_p"] if ada is None else ada.p.item()
        return line

    def _save(self) -> None:
        """Saves a snapshot and the state to resume from."""
        if self.is_main and self.saved_nimg != self.nimg:
            metadata = {"seconds": self.seconds, "ema_warmup": self.state.ema_warmup}
            metadata["recovery"] = self.monitor.saved_state()
            if self.planner is not None:
                metadata["plan"] = self.planner.saved_state()
            self.saver.save(self.nimg, metadata, self.stop)
            self.monitor.on_snapshot(self.nimg)
            self.progress.show_images(partial(self.saver.read_fakes, self.nimg), self.shape.classes)
            self.saver.plot()
            self.listeners.written()
        self.saved_nimg, self.ticked_at = self.nimg, time.perf_counter()  # saving is not training time

    def _finish(self, stopped: bool) -> None:
        """Notes how the session ended, draws the curves and the film, and prints what there is.

        A run that is stopped in its last round is done.
        """
        done = self.nimg >= self.total and not self.failure
        if stopped:
            received = {"signal": signal.Signals(self.stop.signals[0]).name} if self.stop else {}  # or another rank's
            log.append_event(self.run.path, "interrupted", self.nimg, **received)
        if done:
            peak = memory.peak_bytes(self.state.device)
            elapsed = {} if self.planner is None else {"elapsed": round(self.planner.elapsed, 1)}
            seconds = round(self.seconds, 1)
            device = environment.name_devices(self.state.device, distributed.world_size())
            costs = {"seconds": seconds, **elapsed, "peak_bytes": peak, "device": device}
            log.append_event(self.run.path, "done", self.nimg, **costs)
        self.saver.finish_drawings(self.stop, self.progress.print, waits=not stopped)
        self.saver.check_folder()
        self.progress.update_bar(self.nimg, last=True)
        if done:
            seconds = self.seconds if self.planner is None else elapsed["elapsed"]
            self.progress.print(f"Done: {self.nimg / 1000:g} kimg in {seconds:.0f} s.\n{self._describe_results()}")
        elif stopped:
            self.progress.print(self._describe_results(stopped=True))

    def _check_results(self) -> None:
        """Of a run that was complete before: writes again what is missing, and says what is damaged."""
        if damage := self.saver.restore_snapshot(self.nimg):
            self.progress.print(f"Note: {damage} It is written again from the saved state.")
        logs = [read(self.run.path).describe_damage(self.run.path / name) for name, read in log.READERS.items()]
        for damage in filter(None, [*self.run.find_damage(), *logs]):
            self.progress.print(f"Note: {damage}")
        self.saver.finish_drawings(self.stop, self.progress.print, outdated_at=self.nimg)

    def _describe_results(self, *, stopped: bool = False) -> str:
        return announcement.describe_results(self.run, self.saver.fakes_file(self.nimg), stopped=stopped)


def _crosses_multiple(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every
