"""ganvas.diagnose: why does this training fail? Of a run of ours, or of anyone's log."""

from pathlib import Path
from typing import Any

from ganvas.config import TrainConfig, leaves
from ganvas.diagnosis.diagnosis import Diagnosis
from ganvas.diagnosis.diagnosis import diagnose as judged
from ganvas.diagnosis.history import History
from ganvas.diagnosis.logs.reader import read
from ganvas.errors import GanvasError
from ganvas.runs.folder import Run
from ganvas.runs.log import read_lines


def diagnose(what: Run | Path | str) -> Diagnosis:
    """Why a training fails, with evidence and cures; or that it does not.

    Args:
        what: a run of ours, or a log: stats.jsonl, JSONL, CSV, Keras' history, lines of text, TensorBoard's events.
            The fewer quantities there are, the fewer conditions can be seen: see `Diagnosis.unseen`.

    Raises:
        GanvasError: there is no such file, or nothing in it that could be understood.
    """
    run = what if isinstance(what, Run) else Run(Path(what))
    return judged(of_run(run) if (run.path / "config.json").exists() else read(run.path))


def of_run(run: Run) -> History:
    """What a run wrote down of itself.

    Raises:
        GanvasError: it has written nothing yet.
    """
    lines = list(read_lines(run.path / "stats.jsonl"))
    events = list(read_lines(run.path / "events.jsonl"))
    bad = [event for event in events if event["event"] == "non-finite"]
    if not lines and not bad:
        raise GanvasError(
            f"{run} has not written a line yet.", expected="stats.jsonl", fix="let it train for a tick (--tick-kimg)."
        )
    history = History.of_stats(lines, facts(run.config, run.card["data"]["images"]))
    if lines:
        history.facts["seen"] = lines[-1]["nimg"]
    if bad:
        history.facts["non_finite"] = {"at": bad[-1]["nimg"] / 1000, "quantities": bad[-1]["quantities"]}
    return history


def facts(config: TrainConfig, images: int) -> dict[str, Any]:
    """What is known of a run beforehand."""
    return {
        "objective": config.play.objective,
        "critic": config.play.critic,
        "images": images,
        "batch": config.optimisation.batch,
        "total": config.kimg,
        "knobs": dict(leaves(config)),
    }
