"""The loop knows time: maintenance first, then one round of the game."""

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
from ganvas.files import recover_leftovers
from ganvas.networks import Shape
from ganvas.runs import checkpoint, curves, folder, log, snapshot
from ganvas.runs.folder import Run
from ganvas.runs.stats import Stats
from ganvas.training import distributed, grids, interrupt, memory
from ganvas.training.interrupt import SLOW, Rounds
from ganvas.training.monitor.health import Doctor
from ganvas.training.monitor.quality import Quality
from ganvas.training.monitor.recovery import Act, Rescue
from ganvas.training.progress import Terminal
from ganvas.training.state import Players

PLOT_SECONDS = 60
"""The least time between two drawings of losses.png."""


class Session:
    """One sitting at a run: from its saved state, or its beginning, to its end or an interruption."""

    def __init__(
        self,
        run: Run,
        config: TrainConfig,
        images: ImageSet,
        shape: Shape,
        device: torch.device,
        terminal: Terminal,
    ) -> None:
        self.run, self.config, self.images, self.shape = run, config, images, shape
        self.terminal, self.leads = terminal, distributed.leads()
        self.players = Players.seat(config, shape, device)
        self.stats = Stats(device)
        self.nimg, self.seconds = 0, 0.0
        self.saved: int | None = None  # nimg of the state on disk
        self.stop = interrupts.Stop()
        self.quality = Quality(run, config, images, device)
        self.doctor = Doctor(config, images, self.players) if self.leads and config.habits.watch else None
        self.rescue = Rescue(run, config, self.players, self.doctor)
        self.given_up = ""
        self.plotter: subprocess.Popen[Any] | None = None
        self.plotted = time.monotonic()
        if self.leads:
            terminal.write_to(run.path / "log.txt")

    def play(self, cost: str = "", warning: str = "") -> None:
        """Maintenance first, then one round; until the end. `cost` and `warning` are told at the start."""
        fresh = not self._resume()
        if self.nimg >= self.config.total:
            self.terminal.say(f"{self.run} is complete ({self.nimg / 1000:g} kimg). {self._fakes()}")
            return
        if self.leads:
            self._announce(fresh, cost)
            if warning:
                self.terminal.say(warning)
        batches, d_steps = self._batches(), self.config.balance.d_steps
        before = -1 if fresh else self.nimg
        tick, snap = round(self.config.habits.tick_kimg * 1000), self.config.snapshot_every()
        self.ticked = time.perf_counter()
        self.ticked_at = self.nimg

        with interrupts.collected(self._stopping) as self.stop:
            rounds = Rounds(self.players, self.stop)
            while True:
                stop, slow = distributed.any_of(bool(self.stop), rounds.seconds > SLOW)
                done = stop or self.nimg >= self.config.total
                due = done or _crossed(before, self.nimg, snap)
                if due or _crossed(before, self.nimg, tick):
                    self._tick()
                if due or self.given_up:
                    self._snapshot()
                if done or self.given_up:
                    break
                self.terminal.move(self.nimg)
                before = self.nimg
                after = self.nimg + self.config.a_round
                if self.doctor and (_crossed(before, after, tick) or _crossed(before, after, snap)):
                    self.doctor.arm(self.seconds)

                played = rounds.play([next(batches) for _ in range(d_steps)], self.nimg, slow=slow)
                if played is None:
                    self._give_up_round(rounds.seconds)
                    continue
                seen, norms = played
                self.stats.add(seen, self.nimg)
                self.stats.add(norms, self.nimg)
                if self.players.device.type == "cpu":  # elsewhere looking would stall the device: once a tick
                    self._check_finite()
                self.nimg += self.config.a_round
            if self.leads:
                self._finish(stop)
        if stop or self.stop:  # it may have come while the end was being written
            rest = "the same command goes on from there" if self.nimg < self.config.total else "the run is complete"
            raise KeyboardInterrupt(f"stopped at {self.nimg / 1000:g} kimg; {rest}")
        if self.given_up:
            raise GanvasError(
                f"{self.given_up} {self.run} is saved at {self.nimg / 1000:g} kimg.",
                fix=f"ganvas diagnose {self.run} says more; --on-failure warn goes on all the same.",
            )

    def _stopping(self) -> None:
        """Tells that a stop was asked for."""
        self.terminal.say(f"Stopping: the state is saved first. Ctrl-C again ends at once; {self._intact()}.")

    def _intact(self) -> str:
        return (
            "nothing was saved yet" if self.saved is None else f"the state of {self.saved / 1000:g} kimg stays intact"
        )

    def _give_up_round(self, seconds: float) -> None:
        """The round that was begun so many seconds ago is as if it had not been; it is played on resume."""
        self.ticked += seconds
        if self.doctor:
            self.doctor.disarm()

    def _resume(self) -> bool:
        """Takes up the saved state, if there is one, and says whether there was."""
        if self.leads:
            for place in (self.run.path, self.run.path / "snapshots", self.run.path / "state"):
                recover_leftovers(place)
        saved = distributed.lead(lambda: checkpoint.read(self.run.state) if self.run.state.exists() else None)
        if saved is not None:
            tensors, facts = saved
            checkpoint.restore(self.players.parts, tensors)
            self.nimg, self.seconds, self.saved = facts["nimg"], facts["seconds"], facts["nimg"]
            self.quality.resume(self.nimg, self.seconds)
            if "rescue" in facts:
                self.rescue.resume(facts["rescue"])
        if self.leads and self.nimg < self.config.total:
            log.rewind(self.run.path / "stats.jsonl", self.nimg if saved else -1)
            log.rewind(self.run.path / "events.jsonl")  # what happened has happened
            if saved:
                log.event(self.run.path, "resume", self.nimg)
            if self.doctor:
                lines = log.read_lines(self.run.path / "stats.jsonl")
                self.doctor.begin(self.rescue.since, lines, self.seconds)
        return saved is not None

    def _announce(self, fresh: bool, cost: str) -> None:
        g, d = (networks.parameters(player) for player in (self.players.game.G, self.players.game.D))
        h, w = self.images.resolution
        for note in (*self.images.notes, *self.config.cautions()):
            self.terminal.say(f"Note: {note}")
        for file, reason in self.images.skipped[:10]:
            self.terminal.say(f"Skipped {file}: {reason}")
        if len(self.images.skipped) > 10:
            self.terminal.say(f"… and {len(self.images.skipped) - 10} more; ganvas data names them all.")
        mirrors = " mirrored at random," if self.config.pictures.mirror else ""
        world = f" × {distributed.world()} processes" if distributed.world() > 1 else ""
        self.terminal.say(
            f"{'Training' if fresh else f'Going on from {self.nimg / 1000:g} kimg with'} {self.run}\n"
            f"  {len(self.images):,} pictures of {self.images.name}, {h}×{w}×{self.images.channels},{mirrors} "
            f"{f'{self.shape.classes} classes' if self.shape.classes else 'classes not used'}\n"
            f"{cost}\n  {self.config.play.objective}; {self.config.kimg:g} kimg on {self.players.device}{world}\n"
            f"  at most {most_bytes(self.config, g, d) / 1e6:,.0f} MB on disk, and the pictures (fakes*.png, at most "
            f"{1 + round(self.config.total / self.config.snapshot_every())})"
        )
        if fresh:
            if like := folder.unfinished_like(self.run):
                other, how = like
                self.terminal.say(f"Note: {other} is unfinished: {how}. ganvas train {other} goes on with it.")
            image_io.save(grids.reals(self.images, self.shape), self.run.path / "reals.png")

    def _batches(self) -> Iterator[Any]:
        pictures = self.config.pictures
        return Batches(
            self.images,
            batch=self.config.optimisation.batch,
            seed=self.config.seed,
            start=self.nimg,
            rank=distributed.rank(),
            world=distributed.world(),
            mirror=pictures.mirror,
            balanced=pictures.balanced,
            device=self.players.device,
        )

    def _tick(self) -> None:
        """One line of stats.jsonl."""
        self._check_finite()
        elapsed = time.perf_counter() - self.ticked
        self.seconds += elapsed
        if self.nimg > self.ticked_at:
            distributed.add(self.stats.tensors())
            knobs = self.players.knobs(self.nimg)
            line = {
                "nimg": self.nimg,
                "kimg_per_s": (self.nimg - self.ticked_at) / 1000 / max(elapsed, 1e-9),
                "seconds": round(self.seconds, 3),
                **devices.memory(self.players.device),
                **self.stats.take(),
                "D/lr": knobs["d_lr"],
                "G/lr": knobs["g_lr"],
                **self._moves(),
                **self._adapting(knobs),
            }
            if self.leads:
                with interrupt.optional(self.stop):
                    if self.doctor:
                        line |= self._seen()
                    line |= self._looked()
                log.append(self.run.path / "stats.jsonl", line)
                self.terminal.tick(line)
                self._diagnosed(line)
            if self.config.habits.on_failure != "warn" and self.nimg < self.config.total:
                self._act(distributed.lead(self._decided))
        self.ticked, self.ticked_at = time.perf_counter(), self.nimg

    def _seen(self) -> dict[str, dict[str, float]]:
        """The doctor's look, if it took one; that it failed is written down once."""
        assert self.doctor is not None
        before = self.doctor.probe_error
        seen = self.doctor.look()
        if self.doctor.probe_error != before:
            log.event(self.run.path, "watch failed", self.nimg, error=self.doctor.probe_error)
        return {"signs": seen} if seen else {}

    def _diagnosed(self, line: Mapping[str, Any]) -> None:
        """What the doctor sees for the first time is told, and written down with its evidence."""
        if self.doctor is None:
            return
        for finding in self.doctor.saw(line):
            self.terminal.say(f"{finding.gravity.capitalize()}: {finding.told()}\n  Fix: {finding.advice()}")
            log.event(self.run.path, "diagnosis", self.nimg, **finding.to_json())

    def _decided(self) -> Act | None:
        """What is to be done about the gravest failure there is."""
        failures = self.doctor.diagnosis().failures if self.doctor else ()
        return self.rescue.decide(failures[0], self.nimg) if failures else None

    def _act(self, act: Act | None) -> None:
        if act is None:
            return
        if self.leads:
            self.terminal.say(act.said)
        self.rescue.apply(act)
        self.given_up = act.said if act.corrections is None else ""

    def _looked(self) -> dict[str, float]:
        """The trend of the quality, where it is due; a new best is kept as snapshots/best."""
        value = self.quality.measure(self.players.average, self.nimg, self.seconds)
        if value is None:
            return {}
        if value < self.quality.best:
            self.quality.best = value
            card = self._card(self.quality.told(value))
            snapshot.save(self.run.path / "snapshots" / "best", self.players.average, card)
        return {"quality": value, "best": self.quality.best}

    def _moves(self) -> dict[str, int]:
        """Who moved since the last tick, how often; where anybody rested, that becomes an event with its evidence."""
        names = ("D/moves", "G/moves", "D/rests", "G/rests")
        moved: dict[str, int] = dict(zip(names, self.players.moved.tolist(), strict=True))
        self.players.moved[:] = 0
        if self.players.referee.watches and self.leads and (moved["D/rests"] or moved["G/rests"]):
            d, g = self.players.referee.losses[1].tolist()
            rules = {name: rule for name, rule in to_json(self.config.balance).items() if rule}
            log.event(self.run.path, "balance", self.nimg, since=self.ticked_at, **moved, d_loss=d, g_loss=g, **rules)
        return moved

    def _adapting(self, knobs: Mapping[str, float]) -> dict[str, float]:
        """What moves with time besides the learning rates, where it plays a part."""
        play, ada = self.config.play, self.players.ada
        line = {"growth": knobs["growth"]} if "growth" in knobs else {}
        if play.augment != "none":
            line["augment_p"] = knobs["augment_p"] if ada is None else ada.p.item()
        return line

    def _snapshot(self) -> None:
        """Weights, grid, state: in this order, so that the state never promises what is not there.

        A stop cannot wait for the grid of a slow network.
        """
        if self.leads and self.saved != self.nimg:
            snapshot.save(self.run.path / "snapshots" / f"{self.nimg // 1000:06d}", self.players.average, self._card())
            with interrupt.optional(self.stop):
                grid = grids.fakes(self.players, self.shape, self.images)
                image_io.save(grid, self.run.path / f"fakes{self.nimg // 1000:06d}.png")
            facts = {"nimg": self.nimg, "seconds": self.seconds, "rescue": self.rescue.facts()}
            checkpoint.save(self.run.state, self.players.parts, facts)
            self.rescue.keep(self.nimg)
            keep = self.config.habits.keep_kimg
            folder.prune(self.run, self.nimg, keep=round(keep * 1000) if keep else None)
            self._plot()
        self.saved, self.ticked = self.nimg, time.perf_counter()  # maintenance is not training time

    def _card(self, quality: dict[str, Any] | None = None) -> snapshot.Card:
        return snapshot.Card(
            network=self.config.network,
            shape=self.shape,
            class_names=self.images.class_names if self.shape.classes else (),
            nimg=self.nimg,
            weights="ema",
            data={key: self.run.card["data"][key] for key in ("name", "fingerprint")},
            recipe=self.run.card["recipe"],
            versions=snapshot.versions(),
            quality=quality,
        )

    def _plot(self) -> None:
        """losses.png, by a process of its own, humble and rare: one at a time, at most one a minute."""
        if not self.config.habits.plot or not (self.run.path / "stats.jsonl").exists():
            return
        if time.monotonic() - self.plotted < PLOT_SECONDS or (self.plotter and self.plotter.poll() is None):
            return
        self.plotted = time.monotonic()
        command = [sys.executable, "-m", "ganvas", "plot", str(self.run.path), "--out", str(self._losses)]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.plotter = plotter = subprocess.Popen(command, **quiet, start_new_session=True)
        if hasattr(os, "setpriority"):  # two busy cores and a third busy process: training would crawl
            os.setpriority(os.PRIO_PROCESS, plotter.pid, 19)

    def _finish(self, stopped: bool) -> None:
        done = not stopped and not self.given_up
        if done:
            peak = memory.peak(self.players.device)
            log.event(self.run.path, "done", self.nimg, seconds=round(self.seconds, 1), peak_bytes=peak)
        elif stopped:
            came = {"signal": signal.Signals(self.stop.signals[0]).name} if self.stop else {}  # or to another rank
            log.event(self.run.path, "interrupted", self.nimg, **came)
        if self.plotter is not None:
            if stopped:
                self.plotter.terminate()
            self.plotter.wait()
        if self.config.habits.plot and (self.run.path / "stats.jsonl").exists():
            try:
                curves.plot([self.run], self._losses)
            except GanvasError as error:  # the run is complete without its picture
                self.terminal.say(f"losses.png could not be drawn: {error}")
        if done:
            self.terminal.move(self.nimg)
            self.terminal.say(f"Done: {self.nimg / 1000:g} kimg in {self.seconds:.0f} s. {self._fakes()}")

    def _check_finite(self) -> None:
        bad = self.stats.first_non_finite()
        if bad is None:
            return
        nimg, names = bad
        network, quantity = names[0].split("/")
        if self.doctor and self.config.habits.on_failure == "rollback" and distributed.world() == 1:
            self.doctor.record_non_finite(nimg, names)
            self._act(self._decided())
            if not self.given_up:
                self.stats = Stats(self.players.device)
                return
        if self.leads:
            log.event(self.run.path, "non-finite", nimg, quantities=names)
        raise GanvasError(
            f"The {quantity} of {network} is no longer a finite number, at {nimg / 1000:g} kimg "
            f"(first there: {', '.join(names)}); {self.run} stopped, and {self._intact()}.",
            expected="finite losses and gradients",
            fix=f"start a run with a smaller --{network.lower()}-lr, or with gradient penalties (--r1 --r2).",
        )

    def _fakes(self) -> str:
        return f"Generated pictures: {self.run.path / f'fakes{self.nimg // 1000:06d}.png'}"

    @property
    def _losses(self) -> Path:
        return self.run.path / "losses.png"


def _crossed(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies in (before, now]."""
    return now // every > before // every


def most_bytes(config: TrainConfig, g: int, d: int) -> int:
    """What a run occupies at the most, grids and logs aside, for networks of g and d parameters."""
    keep = config.habits.keep_kimg
    snapshots = 4 if keep is None else 5 + int(config.kimg / keep)  # with the best, and one being written
    return 4 * (snapshots * g + 2 * (4 * g + 3 * d))  # a file being replaced is there twice
