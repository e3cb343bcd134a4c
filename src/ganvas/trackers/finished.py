"""ganvas.log_run: logs a run that is there already to trackers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ganvas.config.trackers import parse_trackers
from ganvas.errors import GanvasError, describe_value
from ganvas.runs.folder import Run
from ganvas.trackers.processes import Trackers
from ganvas.values import to_flag


@dataclass(frozen=True)
class Logged:
    """Where a run is logged.

    Attributes:
        tracker: its name.
        id: of the run in the tracker.
        where: the folder, store or page.
        look: how to see it.
    """

    tracker: str
    id: str
    where: str
    look: str

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def log_run(run: Run | Path | str, to: str | Sequence[str], *, new: bool = False) -> tuple[Logged, ...]:
    """Logs a run to trackers: every line, grid, finding and evaluation that they do not have yet.

        ganvas.log_run("runs/00000-cnn-photos", to="tensorboard")

    Args:
        run: a run, or its folder.
        to: tensorboard, wandb, trackio or mlflow; several as "tensorboard,wandb" or a list; or the user's own.
        new: begin a new run in the tracker, also where this one has been logged before.

    Returns:
        Where it is logged, for each tracker.

    Raises:
        GanvasError: this is no run, a tracker is unknown, or one failed; the others are complete.
    """
    run = run if isinstance(run, Run) else Run(run)  # type: ignore[arg-type]
    run.config  # noqa: B018 - raises if this is no run
    new = to_flag(new, "new")
    if isinstance(to, list | tuple) and all(isinstance(one, str) for one in to):
        to = ",".join(to)
    if not isinstance(to, str):
        raise GanvasError(f"to is {describe_value(to)}.", expected="the names of trackers")
    trackers = Trackers(parse_trackers(to, "to"), new=new)
    trackers.begin(run, lambda text: None)
    trackers.end(None)
    if failed := [process for process in trackers.processes if process.failure]:
        reasons = " ".join(f"{process.name}: {process.failure}" for process in failed)
        fix = " ".join(dict.fromkeys(process.fix for process in failed if process.fix))
        raise GanvasError(f"{run} is not logged completely. {reasons}", fix=fix)
    return tuple(Logged(one.name, *one.opened) for one in trackers.processes if one.opened is not None)
