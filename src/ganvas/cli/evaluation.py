"""`ganvas evaluate` and `ganvas diagnose`."""

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ganvas.cli.output import UsageError, make_console, print_json, refuse_together
from ganvas.errors import GanvasError

if TYPE_CHECKING:
    from ganvas.evaluation.result import Evaluation
    from ganvas.runs.folder import Run


def evaluate(
    what: Annotated[Positional[str], arg(metavar="RUN|IMAGES")],
    against: str | None = None,
    held_out: str | None = None,
    features: str | None = None,
    weights: Path | None = None,
    count: int = 10_000,
    truncation: float = 1.0,
    quick: bool = False,
    device: str = "auto",
    panel: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Measure a run's images, or any images, against real ones; each number with its real-data baseline.

    Args:
        what: A run (its newest snapshot), one snapshot, pretrained:digits28, a generator of the hub
            (hf:owner/name@revision), or images: a folder, a zip …
        against: The real images, anything that --data takes; by default the training data of the run.
        held_out: Real images that were not used in training; by default the test split, if there is one.
        features: eye (no download), eye-bf16 (faster, other numbers), lite0 (a small ImageNet network), classifier,
            inception (standard FID), dinov2, or your own network: MODULE:NAME or FILE.py:NAME. By default eye, or
            another one where D looked through the eye.
        weights: The weights of the feature extractor: a file, or for dinov2 a folder.
        count: Most generated and most real images.
        truncation: Below 1: more typical, less varied.
        quick: Only the distances, precision and recall, and the classes.
        device: Where to compute: auto, cpu, cuda …
        panel: File for an image of the generated images closest to training images; a run has it as closest.png anyway.
        json: Print JSON.
        quiet: Show no progress.
    """
    from ganvas import image_io
    from ganvas.evaluation import evaluation
    from ganvas.runs.card import is_run
    from ganvas.runs.folder import Run

    refuse_together("--panel", panel is not None, ("--quick", quick))
    if panel is not None:
        image_io.check_image_file(panel)
    found = evaluation.evaluate(
        what, against=against, held_out=held_out, features=features, weights=weights, count=count,
        truncation=truncation, quick=quick, device=device, quiet=quiet,
    )  # fmt: skip
    run = Run(Path(what))
    try:
        if json:
            print_json(found.to_json())
        else:
            make_console().print(found)
    finally:  # saved also if nobody reads what is printed, and printed also if it cannot be saved
        if is_run(run.path):
            _save_in_run(found, run)
        if panel is not None:
            evaluation.save_evaluation(found, None, panel)
    if panel is not None and found.panel is None:
        print(f"Note: {panel} is not drawn: no copies of training images were looked for.", file=sys.stderr)


def _save_in_run(found: "Evaluation", run: "Run") -> None:
    """Saves an evaluation in its run, or notes that this user may not write there.

    Raises:
        GanvasError: it is not saved for another reason, such as a full disk.
    """
    from ganvas.evaluation.evaluation import save_evaluation

    try:
        save_evaluation(found, run)
    except GanvasError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        print(f"Note: not all of the evaluation is saved: {error.what}", file=sys.stderr)


def diagnose(
    what: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN|LOG …", help_behavior_hint="")],
    columns: str | None = None,
    json: bool = False,
) -> None:
    """Report why a training fails, with evidence and what to change, from a run or from a log of any program.

    The exit status is 0 whatever is found, also of a training that fails; 1 if the log could not be read, 2 if an
    option is wrong. --json prints one object: "healthy" is false where something is wrong, and where a log holds
    several trainings, each has its own under "trainings".

    Args:
        what: A run, or a log: CSV, JSON, lines of JSON, printed lines, TensorBoard's events, MLflow's metrics; a
            folder, or several files of one training. Files may be packed (.gz, .bz2, .xz).
        columns: What is what in a log whose names do not say it: d_loss=NAME,g_loss=NAME,step=NAME; where there are no
            names, the place of the column: d_loss=2.
        json: Print JSON.
    """
    from ganvas.diagnosis.sources import diagnose as diagnose_source

    if not what:
        raise UsageError("No run and no log is named.", fix="ganvas diagnose RUN, or ganvas diagnose LOG.")
    found = diagnose_source(what, _parse_columns(columns or ""))
    if json:
        print_json(found.to_json())
        return
    make_console().print(found)


def _parse_columns(text: str) -> dict[str, str]:
    """{"d_loss": NAME, …} of d_loss=NAME,…

    Raises:
        UsageError: a role is there twice.
    """
    columns: dict[str, str] = {}
    for pair in text.split(","):
        own, _, name = map(str.strip, pair.partition("="))
        if own in columns:
            raise UsageError(f"--columns has {own} twice.", expected="each role once", fix="leave one of them out.")
        if pair.strip():
            columns[own] = name
    return columns
