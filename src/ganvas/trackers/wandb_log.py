"""Weights & Biases: offline in RUN/wandb, unless WANDB_MODE says otherwise; `wandb sync` uploads it later."""

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganvas.errors import GanvasError
from ganvas.trackers.tracker import PROJECT, Facts, Note, Opened, State


class Log:
    """Logs at steps that are images shown. wandb drops a step below the last one, so nothing appears twice."""

    rewinds = False

    def open(self, facts: Facts, id: str | None, after: int) -> Opened:
        mode = os.environ.setdefault("WANDB_MODE", "offline")
        if mode == "offline":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # type: ignore[import-not-found]

        self._wandb, self._step = wandb, max(after, 0)
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True)
        wanted = os.environ.get("WANDB_DIR", str(facts.path))
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", facts.path.name),
            id=id or uuid.uuid4().hex[:12],
            resume="allow",
            dir=wanted,
            config={**facts.config, "run": str(facts.path)},
            settings=settings,
            allow_val_change=True,
        )
        if getattr(self._run, "offline", False):
            folder = Path(self._run.dir).parent
            if not folder.is_relative_to(wanted):  # it takes a folder for temporary files instead
                raise GanvasError(f"wandb cannot write to {wanted}.", fix="set WANDB_DIR to another folder.")
            return Opened(self._run.id, str(folder), f"wandb sync --append {folder} uploads it.")
        where = getattr(self._run, "url", None) or f"WANDB_MODE={mode}"
        return Opened(self._run.id, where, f"wandb's project {self._run.project} has it.")

    def log_numbers(self, nimg: int, numbers: Mapping[str, float], time: float) -> None:
        self._log(nimg, dict(numbers))

    def log_image(self, nimg: int, name: str, file: Path, time: float) -> None:
        self._log(nimg, {name: self._wandb.Image(str(file), caption=f"{nimg / 1000:g} kimg")})

    def log_notes(self, new: Sequence[Note], every: Sequence[Note]) -> None:
        rows = [[note.nimg / 1000, note.severity, note.title, note.text] for note in every]
        table = self._wandb.Table(columns=["kimg", "severity", "title", "text"], data=rows)
        self._log(self._step, {"events": table})

    def log_evaluation(self, nimg: int, numbers: Mapping[str, float], table: str, time: float) -> None:
        self._run.summary.update({**numbers, "evaluation/nimg": nimg, "evaluation/table": table})

    def save(self) -> None:
        """Nothing: wandb's own process writes at once, but for the row of the last step, which may still grow."""

    def close(self, state: State) -> None:
        self._run.summary["state"] = state
        self._run.finish(exit_code=1 if state == "failed" else 0)

    def _log(self, nimg: int, values: dict[str, Any]) -> None:
        self._step = max(self._step, nimg)
        self._run.log(values, step=self._step)
