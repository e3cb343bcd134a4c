"""Writes what a run leaves on disk: snapshots, grids of images and their film, the state, the plot of its curves."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ganvas import image_io, user_code
from ganvas.config import RuntimeConfig
from ganvas.data import ImageSet
from ganvas.errors import GanvasError
from ganvas.features.frozen import find_frozen
from ganvas.interrupts import StopRequests
from ganvas.networks import Shape
from ganvas.runs import checkpoint, curves, film, folder, names, snapshot
from ganvas.runs.card import find_damage, licence_of, read_card
from ganvas.runs.folder import Run
from ganvas.training import cancellation, distributed, grids
from ganvas.training.announcement import quote
from ganvas.training.state import TrainState

MIN_PLOT_INTERVAL = 60
"""Seconds at the least between two drawings of losses.png."""


class Saver:
    """Writes the files of a run; on the main process only. Others have it too, but not the run's folder.

    Args:
        earlier: the frozen networks that the origin's G was trained through.

    Attributes:
        d_networks: those that G was trained through, the last ones by its own D (`ganvas.runs.card.d_networks_of`).
    """

    def __init__(
        self,
        run: Run,
        runtime: RuntimeConfig,
        state: TrainState,
        images: ImageSet,
        shape: Shape,
        earlier: Sequence[dict[str, Any]] = (),
    ) -> None:
        own = find_frozen(state.game.D)
        self.d_networks = [*(one for one in earlier if one not in own), *own]
        self._run, self._runtime, self._state, self._images, self._shape = run, runtime, state, images, shape
        self._plot_process: subprocess.Popen[Any] | None = None
        self._plotted_at = time.monotonic()
        self._metadata, self._folder = run.metadata, run.path.stat() if distributed.is_main_process() else None

    def resume(self, metadata: Mapping[str, Any], *, complete: bool) -> None:
        """Continues with the networks that G was trained through by the metadata of a saved state.

        Args:
            complete: nothing is trained any more, so D's own network may be another one.

        Raises:
            GanvasError: D's frozen network has other weights now.
        """
        saved, own = metadata.get("d_networks"), self.d_networks
        if saved is None:  # of an older version
            return
        before = [] if complete or not own else saved[-len(own) :]
        for was, now in zip(before, own, strict=False):
            if was != now:
                raise GanvasError(
                    f"{user_code.title(now['network'])}, through which D of {self._run} looks, has other weights than "
                    f"when it was saved: their digest is {now['weights']}, and was {was['weights']}.",
                    expected="the weights it was trained with: the rest of the run would be another training",
                    fix="restore them to go on with this run; or start a new one from it: "
                    f"--new --from {quote(self._run)}.",
                )
        self.d_networks = saved

    def check_folder(self) -> None:
        """Writes config.json again where it was removed.

        Raises:
            GanvasError: the run's folder was removed, moved or replaced, or config.json cannot be written.
        """
        try:
            same = self._folder is not None and os.path.samestat(self._run.path.stat(), self._folder)
        except OSError:
            same = False
        if not same:
            raise GanvasError(
                f"{self._run} was removed or moved while it was trained; the training has stopped.",
                expected="its folder to stay where it is",
                fix="move it back to resume it; else the same command starts it anew.",
            )
        if not (self._run.path / "config.json").exists():
            folder.write_metadata(self._run, self._metadata)

    def save(self, nimg: int, metadata: Mapping[str, Any], stop: StopRequests) -> None:
        """Saves weights, grid, state: in this order, so that what the state refers to is on disk.

        The grid is left out where a stop request is overdue.
        """
        self.check_folder()
        self._state.average_for_sampling(self._images)
        name = names.name_images(nimg)
        self._save_weights(name, nimg)
        with cancellation.cancellable(stop):
            grid = grids.draw_fakes(self._state, self._shape, self._images)
            image_io.save_image(grid, self._run.path / f"fakes{name}.png")
        metadata = {"nimg": nimg, "d_networks": self.d_networks, **metadata}
        checkpoint.save(self._run.state_file, self._state.parts, metadata)
        keep = self._runtime.keep_kimg
        snapshot.prune(self._run.snapshots, nimg, keep=round(keep * 1000) if keep else None)

    def restore_snapshot(self, nimg: int) -> str:
        """Writes the snapshot of the saved state again if it is missing or damaged; returns what was wrong, or ""."""
        if any(not find_damage(path) and read_card(path)["nimg"] == nimg for path in reversed(self._run.snapshots)):
            return ""
        name = names.name_images(nimg)
        damage = find_damage(self._run.path / "snapshots" / name)
        self._state.average_for_sampling(self._images)
        self._save_weights(name, nimg)
        return damage

    def save_best(self, nimg: int, quality: dict[str, Any]) -> None:
        """Saves the weights of the best quality so far as snapshots/best."""
        self._save_weights("best", nimg, quality)

    def save_reals(self) -> None:
        """Draws the first images of the data."""
        image_io.save_image(grids.draw_reals(self._images, self._shape), self._run.path / "reals.png")

    def fakes_file(self, nimg: int) -> Path:
        """The grid of generated images of that time."""
        return names.grid_file(self._run.path, nimg)

    def read_fakes(self, nimg: int, n: int) -> list[Image.Image]:
        """The first n images of the grid of that time, at most 16; none if it was not drawn."""
        return film.read_images(self.fakes_file(nimg), self._shape._asdict(), n)

    def _save_weights(self, name: str, nimg: int, quality: dict[str, Any] | None = None) -> None:
        licence, attribution = licence_of(self._run.metadata.get("lineage"))
        card = snapshot.Card(
            network=self._state.config.network,
            shape=self._shape,
            class_names=self._images.class_names if self._shape.classes else (),
            nimg=nimg,
            weights="ema",
            data={key: self._run.metadata["data"][key] for key in ("name", "fingerprint")},
            recipe=self._run.metadata["recipe"],
            versions=snapshot.package_versions(),
            quality=quality,
            lineage=self._run.metadata.get("lineage"),
            licence=licence,
            attribution=attribution,
            d_networks=self.d_networks,
        )
        snapshot.save(self._run.path / "snapshots" / name, self._state.g_ema, card)

    @property
    def _losses_file(self) -> Path:
        return self._run.path / "losses.png"

    @property
    def _plots(self) -> bool:
        return self._runtime.plot and (self._run.path / "stats.jsonl").exists()

    def plot(self) -> None:
        """Starts a process of low priority that draws losses.png: one at a time, at most one a minute."""
        plotting = self._plot_process is not None and self._plot_process.poll() is None
        if not self._plots or plotting or time.monotonic() - self._plotted_at < MIN_PLOT_INTERVAL:
            return
        self._plotted_at = time.monotonic()
        command = [sys.executable, "-m", "ganvas", "plot", str(self._run.path), "--out", str(self._losses_file)]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._plot_process = process = subprocess.Popen(command, **quiet, start_new_session=True)
        if hasattr(os, "setpriority"):  # at equal priority it would slow training down where every core is busy
            os.setpriority(os.PRIO_PROCESS, process.pid, 19)

    def finish_drawings(
        self,
        stop: StopRequests,
        report: Callable[[str], object],
        *,
        waits: bool = True,
        outdated_at: int | None = None,
    ) -> None:
        """Draws losses.png for the last time, and makes the film of the grids so far, if --plot is set.

        Args:
            stop: once a request is overdue, no film is made.
            report: called with what could not be drawn, and why: the run goes without.
            waits: for the process that may be drawing losses.png; else it is ended.
            outdated_at: of a complete run, its images: only what a killed session left out or did not renew is drawn.
        """
        if self._plot_process is not None:
            if not waits:
                self._plot_process.terminate()
            self._plot_process.wait()
        stats, losses = self._run.path / "stats.jsonl", self._losses_file
        if self._plots and (outdated_at is None or _is_outdated(losses, stats)):
            _draw(lambda: curves.plot([self._run], losses), losses.name, report)
        film_due = outdated_at is None or _is_outdated(self._run.film, self.fakes_file(outdated_at))
        if self._runtime.plot and film_due and not stop.overdue:
            _draw(lambda: film.save(self._run), "The film", report)


def _draw(draw: Callable[[], object], name: str, report: Callable[[str], object]) -> None:
    try:
        draw()
    except GanvasError as error:  # the run is complete without it
        report(f"{name} could not be drawn: {error}")


def _is_outdated(drawing: Path | None, source: Path) -> bool:
    """Whether a drawing is missing, or older than what it shows."""
    if drawing is None or not drawing.exists():
        return True
    return source.exists() and drawing.stat().st_mtime_ns < source.stat().st_mtime_ns
