"""trackio: its own local store (TRACKIO_DIR), which `trackio show` shows; elsewhere only if its variables say so."""

import uuid
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.trackers.tracker import PROJECT, Facts, Note, Opened, State


class Log:
    """Opens trackio's run for every batch of lines and finishes it after that: this is how it says that all is written.

    trackio knows a run by its name within a project. It only warns where it cannot write; here that is an error.
    """

    rewinds = False

    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        import trackio  # type: ignore[import-not-found]

        self._trackio, self._facts, self._run = trackio, facts, None
        taken: set[str] = set()
        if id is None:
            with suppress(ValueError):  # there is no such project yet
                taken = {run.name for run in trackio.Api().runs(PROJECT)}
        name = facts.path.name
        self._name = id or (name if name not in taken else f"{name}-{uuid.uuid4().hex[:6]}")
        self._warnings = warnings.catch_warnings(record=True)
        self._told: list[warnings.WarningMessage] = self._warnings.__enter__()  # type: ignore[assignment]
        warnings.simplefilter("always")
        self._open()
        self.save()
        where = f"{trackio.utils.TRACKIO_DIR}, project {PROJECT}, run {self._name}"
        return Opened(self._name, where, f"trackio show --project {PROJECT} shows it.")

    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        self._open().log(dict(numbers), step=nimg)

    def log_image(self, nimg: int, name: str, file: Path, time: float) -> None:
        self._open().log({name: self._trackio.Image(str(file), caption=f"{nimg / 1000:g} kimg")}, step=nimg)

    def log_notes(self, new: Sequence[Note], every: Sequence[Note]) -> None:
        levels = {level: getattr(self._trackio.AlertLevel, name) for level, name in _LEVELS.items()}
        for note in new:
            self._open().alert(note.title, note.text, level=levels[note.severity], step=note.nimg)

    def log_evaluation(self, nimg: int, numbers: Mapping[str, float], table: str, time: float) -> None:
        self._open().log({**numbers, "evaluation": self._trackio.Markdown(table)}, step=nimg)

    def save(self) -> None:
        if self._run is not None:
            self._run = None
            self._trackio.finish()
        failed = [str(one.message) for one in self._told if issubclass(one.category, UserWarning)]
        self._told.clear()
        if failed:
            raise GanvasError(failed[0].splitlines()[0])

    def close(self, state: State) -> None:
        self.save()

    def _open(self) -> Any:
        if self._run is None:
            self._run = self._trackio.init(
                PROJECT, self._name, resume="allow", config={**self._facts.config, "run": str(self._facts.path)},
                embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        return self._run


_LEVELS = {"failure": "ERROR", "warning": "WARN", "note": "INFO"}
