"""`ganvas log`: a finished run in a tracker."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ganvas.cli.output import print_json


def log(
    run: Annotated[Positional[Path], arg(metavar="RUN")],
    to: Annotated[str, arg(metavar="TRACKER,…")],
    new: bool = False,
    json: bool = False,
) -> None:
    """Log a run to TensorBoard, Weights & Biases, trackio or MLflow: numbers, grids, findings, knobs, evaluations.

    What a tracker has already is not logged again. While a run is trained, ganvas train --log-to does the same.

    Args:
        run: A run folder.
        to: tensorboard, wandb, trackio, mlflow, or several: tensorboard,wandb. Or your own: FILE.py:NAME.
        new: Begin a new run in the tracker, also where this one has been logged before.
        json: Print JSON.
    """
    from ganvas.trackers.finished import log_run

    logged = log_run(run, to, new=new)
    if json:
        print_json({"run": str(run), "logged": [one.to_json() for one in logged]})
        return
    for one in logged:
        print(f"{run} is logged to {one.tracker}: {one.where}\n  {one.look}")
