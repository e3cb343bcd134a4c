"""The training loop: logging and saving where they are due, then one round of updates."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ganvas import devices, image_io, interrupts, networks
from ganvas.config import TrainConfig, to_json
from ganvas.data import Batches, ImageSet
from ganvas.errors import GanvasError
from ganvas.files import clean_leftovers
from ganvas.networks import Shape
from ganvas.runs import checkpoint, curves, folder, log, snapshot
from ganvas.runs.folder import Run
from ganvas.training import cancellation, distributed, grids, memory
from ganvas.training.cancellation import SLOW_ROUND_SECONDS, CancellableRounds
from ganvas.training.estimate import max_disk_bytes
from ganvas.training.monitor.health import HealthMonitor
from ganvas.training.monitor.quality import QualityMonitor
from ganvas.training.monitor.recovery import Intervention, Recovery
from ganvas.training.progress import ProgressReporter
from ganvas.training.state import TrainState
from ganvas.training.stats import Stats

MIN_PLOT_INTERVAL = 60
"""Seconds at the least between two drawings of losses.png."""


class Session:
    """Trains a run from its saved state, or its beginning, to its end or an interruption.

    Attributes:
        nimg: real images shown to D so far, over all processes.
        seconds: training time so far, that of earlier sessions included.
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
        progress: ProgressReporter,
    ) -> None:
        self.run, self.config, self.images, self.shape = run, config, images, shape
        self.progress, self.is_main = progress, distributed.is_main_process()
        self.state = TrainState.build(config, shape, device)
        self.stats = Stats(device)
        self.nimg, self.seconds = 0, 0.0
        self.saved_nimg: int | None = None
        self.stop = interrupts.StopRequests()
        self.quality = QualityMonitor(run, config, images, device)
        self.monitor = HealthMonitor(config, images, self.state) if self.is_main and config.runtime.watch else None
        self.recovery = Recovery(run, config, self.state, self.monitor)
        self.failure = ""
        self.plot_process: subprocess.Popen[Any] | None = None
        self.plotted_at = time.monotonic()
        if self.is_main:
            progress.set_log_file(run.path / "log.txt")

    def train(self, cost: str = "", warning: str = "") -> None:
        """Trains until the end, a stop request or a failure. `cost` and `warning` are printed at the start."""
        fresh = not self._resume()
        if self.nimg >= self.config.total_images:
            self.progress.print(f"{self.run} is complete ({self.nimg / 1000:g} kimg). {self._describe_fakes()}")
            return
        if self.is_main:
            self._announce_run(fresh, cost)
            if warning:
                self.progress.print(warning)
        batches, d_steps = self._batches(), self.config.balance.d_steps
        before = -1 if fresh else self.nimg
        tick, snapshot_interval = round(self.config.runtime.tick_kimg * 1000), self.config.snapshot_every()
        self.ticked_at = time.perf_counter()
        self.ticked_nimg = self.nimg

        with interrupts.collect_stop_requests(self._announce_stop) as self.stop:
            rounds = CancellableRounds(self.state, self.stop)
            while True:
                stop, slow = distributed.all_reduce_any(bool(self.stop), rounds.seconds > SLOW_ROUND_SECONDS)
                done = stop or self.nimg >= self.config.total_images
                snapshot_due = done or _crosses_multiple(before, self.nimg, snapshot_interval)
                if snapshot_due or _crosses_multiple(before, self.nimg, tick):
                    self._write_tick()
                if snapshot_due or self.failure:
                    self._save_snapshot()
                if done or self.failure:
                    break
                self.progress.update_bar(self.nimg)
                before = self.nimg
                after = self.nimg + self.config.images_per_round
                tick_follows = any(_crosses_multiple(before, after, every) for every in (tick, snapshot_interval))
                if self.monitor and tick_follows:
                    self.monitor.prepare(self.seconds)

                result = rounds.run([next(batches) for _ in range(d_steps)], self.nimg, slow=slow)
                if result is None:
                    self._discard_round(rounds.seconds)
                    continue
                quantities, gradient_norms = result
                self.stats.add(quantities, self.nimg)
                self.stats.add(gradient_norms, self.nimg)
                if self.state.device.type == "cpu":  # on a GPU the check would wait for the device: once a tick
                    self._check_finite()
                self.nimg += self.config.images_per_round
            if self.is_main:
                self._finish(stop)
        if stop or self.stop:  # the request may have come while the end was being written
            rest = (
                "the same command resumes from there" if self.nimg < self.config.total_images else "the run is complete"
            )
            raise KeyboardInterrupt(f"stopped at {self.nimg / 1000:g} kimg; {rest}")
        if self.failure:
            raise GanvasError(
                f"{self.failure} {self.run} is saved at {self.nimg / 1000:g} kimg.",
                fix=f"ganvas diagnose {self.run} says more; --on-failure warn trains on all the same.",
            )

    def _announce_stop(self) -> None:
        saved = self._describe_saved_state()
        self.progress.print(f"Stopping: the state is saved first. Ctrl-C again ends at once; {saved}.")

    def _describe_saved_state(self) -> str:
        if self.saved_nimg is None:
            return "nothing was saved yet"
        return f"the state of {self.saved_nimg / 1000:g} kimg stays intact"

    def _discard_round(self, seconds: float) -> None:
        """Forgets the round that began `seconds` ago; it is trained on resume, and its time does not count."""
        self.ticked_at += seconds
        if self.monitor:
            self.monitor.cancel()

    def _resume(self) -> bool:
        """Restores the saved state, if there is one. Returns whether there was."""
        if self.is_main:
            for directory in (self.run.path, self.run.path / "snapshots", self.run.path / "state"):
                clean_leftovers(directory)
        saved = distributed.run_on_main(
            lambda: checkpoint.load(self.run.state_file) if self.run.state_file.exists() else None
        )
        if saved is not None:
            tensors, metadata = saved
            checkpoint.restore(self.state.parts, tensors)
            self.nimg, self.seconds, self.saved_nimg = metadata["nimg"], metadata["seconds"], metadata["nimg"]
            self.quality.resume(self.nimg, self.seconds)
            self.recovery.load_state(metadata["recovery"])
        if self.is_main and self.nimg < self.config.total_images:
            log.drop_lines_after(self.run.path / "stats.jsonl", self.nimg if saved else -1)
            log.drop_lines_after(self.run.path / "events.jsonl")  # keeps all events, drops a torn last line
            if saved:
                log.append_event(self.run.path, "resume", self.nimg)
            if self.monitor:
                lines = log.read_jsonl(self.run.path / "stats.jsonl")
                self.monitor.start_at(self.recovery.since_nimg, lines, self.seconds)
        return saved is not None

    def _announce_run(self, fresh: bool, cost: str) -> None:
        g, d = (networks.count_parameters(network) for network in (self.state.game.G, self.state.game.D))
        h, w = self.images.resolution
        for note in (*self.images.notes, *self.config.warnings()):
            self.progress.print(f"Note: {note}")
        for file, reason in self.images.skipped[:10]:
            self.progress.print(f"Skipped {file}: {reason}")
        if len(self.images.skipped) > 10:
            self.progress.print(f"… and {len(self.images.skipped) - 10} more; ganvas data lists them all.")
        mirrored = " mirrored at random," if self.config.dataset.mirror else ""
        processes = f" × {distributed.world_size()} processes" if distributed.world_size() > 1 else ""
        self.progress.print(
            f"{'Training' if fresh else f'Resuming from {self.nimg / 1000:g} kimg:'} {self.run}\n"
            f"  {len(self.images):,} images of {self.images.name}, {h}×{w}×{self.images.channels},{mirrored} "
            f"{f'{self.shape.classes} classes' if self.shape.classes else 'classes not used'}\n"
            f"{cost}\n  {self.config.loss.objective}; {self.config.kimg:g} kimg on {self.state.device}{processes}\n"
            f"  at most {max_disk_bytes(self.config, g, d) / 1e6:,.0f} MB on disk, and the grids (fakes*.png, at most "
            f"{1 + round(self.config.total_images / self.config.snapshot_every())})"
        )
        if fresh:
            if unfinished := folder.find_unfinished(self.run):
                other, differences = unfinished
                self.progress.print(f"Note: {other} is unfinished: {differences}. ganvas train {other} resumes it.")
            image_io.save_image(grids.draw_reals(self.images, self.shape), self.run.path / "reals.png")

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
        )

    def _write_tick(self) -> None:
        """Writes a line of stats.jsonl, prints it, and acts on failures as --on-failure says."""
        self._check_finite()
        elapsed = time.perf_counter() - self.ticked_at
        self.seconds += elapsed
        if self.nimg > self.ticked_nimg:
            distributed.all_reduce_sum(self.stats.moments())
            scheduled = self.state.scheduled_values(self.nimg)
            line = {
                "nimg": self.nimg,
                "kimg_per_s": (self.nimg - self.ticked_nimg) / 1000 / max(elapsed, 1e-9),
                "seconds": round(self.seconds, 3),
                **devices.used_memory(self.state.device),
                **self.stats.summarise(),
                "D/lr": scheduled["d_lr"],
                "G/lr": scheduled["g_lr"],
                **self._take_update_counts(),
                **self._adaptive_values(scheduled),
            }
            if self.is_main:
                with cancellation.cancellable(self.stop):
                    if self.monitor:
                        line |= self._probe_networks()
                    line |= self._measure_quality()
                log.append_json(self.run.path / "stats.jsonl", line)
                self.progress.report_tick(line)
                self._report_findings(line)
            if self.config.runtime.on_failure != "warn" and self.nimg < self.config.total_images:
                self._recover(distributed.run_on_main(self._decide_recovery))
        self.ticked_at, self.ticked_nimg = time.perf_counter(), self.nimg

    def _probe_networks(self) -> dict[str, dict[str, float]]:
        """The monitor's signals, if it probed the networks. Its first failure is written to events.jsonl."""
        assert self.monitor is not None
        error = self.monitor.probe_error
        signals = self.monitor.probe()
        if self.monitor.probe_error != error:
            log.append_event(self.run.path, "monitor failed", self.nimg, error=self.monitor.probe_error)
        return {"signals": signals} if signals else {}

    def _report_findings(self, line: Mapping[str, Any]) -> None:
        """Prints new findings of the monitor, and writes them to events.jsonl with their evidence."""
        if self.monitor is None:
            return
        for finding in self.monitor.add_line(line):
            self.progress.print(f"{finding.severity.capitalize()}: {finding.describe()}\n  Fix: {finding.advice()}")
            log.append_event(self.run.path, "diagnosis", self.nimg, **finding.to_json())

    def _decide_recovery(self) -> Intervention | None:
        """What to do about the most severe failure; None where there is none."""
        failures = self.monitor.diagnosis().failures if self.monitor else ()
        return self.recovery.decide(failures[0], self.nimg) if failures else None

    def _recover(self, act: Intervention | None) -> None:
        if act is None:
            return
        if self.is_main:
            self.progress.print(act.message)
        self.recovery.apply(act)
        self.failure = act.message if act.corrections is None else ""

    def _measure_quality(self) -> dict[str, float]:
        """The quality (a kernel distance), where it is due; a new best is saved as snapshots/best."""
        value = self.quality.measure(self.state.g_ema, self.nimg, self.seconds)
        if value is None:
            return {}
        if value < self.quality.best:
            self.quality.best = value
            card = self._build_card(self.quality.describe(value))
            snapshot.save(self.run.path / "snapshots" / "best", self.state.g_ema, card)
        return {"quality": value, "best": self.quality.best}

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
        if self.config.loss.augment != "none":
            line["augment_p"] = scheduled["augment_p"] if ada is None else ada.p.item()
        return line

    def _save_snapshot(self) -> None:
        """Saves weights, grid, state: in this order, so that what the state refers to is on disk.

        The grid is left out where a stop request is overdue.
        """
        if self.is_main and self.saved_nimg != self.nimg:
            path = self.run.path / "snapshots" / f"{self.nimg // 1000:06d}"
            snapshot.save(path, self.state.g_ema, self._build_card())
            with cancellation.cancellable(self.stop):
                grid = grids.draw_fakes(self.state, self.shape, self.images)
                image_io.save_image(grid, self.run.path / f"fakes{self.nimg // 1000:06d}.png")
            metadata = {"nimg": self.nimg, "seconds": self.seconds, "recovery": self.recovery.state()}
            checkpoint.save(self.run.state_file, self.state.parts, metadata)
            self.recovery.keep_state(self.nimg)
            keep = self.config.runtime.keep_kimg
            folder.prune_snapshots(self.run, self.nimg, keep=round(keep * 1000) if keep else None)
            self._plot()
        self.saved_nimg, self.ticked_at = self.nimg, time.perf_counter()  # saving is not training time

    def _build_card(self, quality: dict[str, Any] | None = None) -> snapshot.Card:
        return snapshot.Card(
            network=self.config.network,
            shape=self.shape,
            class_names=self.images.class_names if self.shape.classes else (),
            nimg=self.nimg,
            weights="ema",
            data={key: self.run.metadata["data"][key] for key in ("name", "fingerprint")},
            recipe=self.run.metadata["recipe"],
            versions=snapshot.package_versions(),
            quality=quality,
        )

    def _plot(self) -> None:
        """Starts a process of low priority that draws losses.png: one at a time, at most one a minute."""
        if not self.config.runtime.plot or not (self.run.path / "stats.jsonl").exists():
            return
        plotting = self.plot_process is not None and self.plot_process.poll() is None
        if plotting or time.monotonic() - self.plotted_at < MIN_PLOT_INTERVAL:
            return
        self.plotted_at = time.monotonic()
        command = [sys.executable, "-m", "ganvas", "plot", str(self.run.path), "--out", str(self._losses_file)]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.plot_process = process = subprocess.Popen(command, **quiet, start_new_session=True)
        if hasattr(os, "setpriority"):  # at equal priority it would slow training down where every core is busy
            os.setpriority(os.PRIO_PROCESS, process.pid, 19)

    def _finish(self, stopped: bool) -> None:
        done = not stopped and not self.failure
        if done:
            peak = memory.peak_bytes(self.state.device)
            log.append_event(self.run.path, "done", self.nimg, seconds=round(self.seconds, 1), peak_bytes=peak)
        elif stopped:
            received = {"signal": signal.Signals(self.stop.signals[0]).name} if self.stop else {}  # or another rank's
            log.append_event(self.run.path, "interrupted", self.nimg, **received)
        if self.plot_process is not None:
            if stopped:
                self.plot_process.terminate()
            self.plot_process.wait()
        if self.config.runtime.plot and (self.run.path / "stats.jsonl").exists():
            try:
                curves.plot([self.run], self._losses_file)
            except GanvasError as error:  # the run is complete without it
                self.progress.print(f"losses.png could not be drawn: {error}")
        if done:
            self.progress.update_bar(self.nimg)
            self.progress.print(f"Done: {self.nimg / 1000:g} kimg in {self.seconds:.0f} s. {self._describe_fakes()}")

    def _check_finite(self) -> None:
        bad = self.stats.first_non_finite()
        if bad is None:
            return
        nimg, names = bad
        network, quantity = names[0].split("/")
        if self.monitor and self.config.runtime.on_failure == "rollback" and distributed.world_size() == 1:
            self.monitor.record_non_finite(nimg, names)
            self._recover(self._decide_recovery())
            if not self.failure:
                self.stats = Stats(self.state.device)
                return
        if self.is_main:
            log.append_event(self.run.path, "non-finite", nimg, quantities=names)
        raise GanvasError(
            f"The {quantity} of {network} is no longer a finite number, at {nimg / 1000:g} kimg "
            f"(first in {', '.join(names)}); {self.run} stopped, and {self._describe_saved_state()}.",
            expected="finite losses and gradients",
            fix=f"start a run with a smaller --{network.lower()}-lr, or with gradient penalties (--r1 --r2).",
        )

    def _describe_fakes(self) -> str:
        return f"Generated images: {self.run.path / f'fakes{self.nimg // 1000:06d}.png'}"

    @property
    def _losses_file(self) -> Path:
        return self.run.path / "losses.png"


def _crosses_multiple(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every
