"""`ganvas compare`: recipes and runs on one budget, in one report."""

import shlex
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from ganvas.cli.output import UsageError, print_json
from ganvas.errors import GanvasError


def compare(
    candidates: Annotated[Positional[tuple[str, ...]], arg(metavar="RECIPE|RUN …", help_behavior_hint="")],
    data: str | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    pflop: float | None = None,
    seeds: int = 3,
    vary: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="KNOB=VALUE,VALUE …", help_behavior_hint="")
    ] = (),
    knobs: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]], arg(metavar="KNOB=VALUE …", help_behavior_hint="")
    ] = (),
    out: Path | None = None,
    workers: int = 1,
    ray: str | None = None,
    gpus_per_run: float = 1.0,
    count: int = 10_000,
    features: str | None = None,
    weights: Path | None = None,
    device: str = "auto",
    csv: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Train recipes on one budget, or use existing runs, and report which is better and whether significantly.

    Args:
        candidates: Recipes (optionally with knobs: cnn:g_width=64,batch=32) and run folders, in any mixture; StyleGAN
            runs and JSON files of torch-fidelity are listed but not ranked.
        data: Training data of the recipes; by default each recipe's own.
        kimg: The budget of each training in thousands of images; by default each recipe's own.
        minutes: The budget in minutes instead: each training plans its images so that it ends in time. On a CPU recipes
            start from their CPU presets.
        pflop: The budget in 10¹⁵ operations instead.
        seeds: Trainings of each recipe, with the seeds 0, 1, 2 …
        vary: Train each recipe once for each value: --vary d_lr=1e-4,2e-4; of several knobs, each combination. A
            list is in brackets: --vary "g_widths=[64,32],[128,64]".
        knobs: Knobs for all recipes: --knobs batch=32 g_lr=1e-3.
        out: The comparison's folder; by default in comparisons/. The same command again continues it.
        workers: Parallel trainings on this machine.
        ray: local, or the address of a Ray cluster to train on; all machines must share the folder.
        gpus_per_run: With --ray, the GPUs that each training asks for, if the cluster has any: of 0.5 two share one.
        count: Most generated and most real images in each evaluation.
        features: Feature extractor, as in ganvas evaluate; by default eye, or another one where a D
            looked through the eye.
        weights: Weights that the feature extractor needs.
        device: Where to evaluate: auto, cpu, cuda …
        csv: Also write the table of trainings to this file.
        json: Print everything as JSON.
        quiet: Print nothing else.
    """
    from ganvas.comparison.candidates import parse_knobs, parse_vary
    from ganvas.comparison.comparison import compare as run
    from ganvas.comparison.summary import format_csv
    from ganvas.files import check_writable, make_folder, write_text

    if not candidates:
        raise UsageError(
            "Nothing was named to compare.",
            expected="recipes, or run folders",
            fix="ganvas compare cnn transformer --data mnist --kimg 100",
        )
    if csv is not None:
        check_writable(csv)
    found = run(
        candidates, data=data, kimg=kimg, minutes=minutes, pflop=pflop, seeds=seeds,
        vary=parse_vary(list(chain(*vary))), knobs=parse_knobs(list(chain(*knobs))), out=out, workers=workers, ray=ray,
        gpus_per_run=gpus_per_run, count=count, features=features, weights=weights, device=device, quiet=quiet,
        command=shlex.join(["ganvas", *sys.argv[1:]]),
    )  # fmt: skip
    if csv is not None:
        make_folder(csv.parent)
        write_text(csv, format_csv(found.results))
    if json:
        print_json(found.to_json())
    else:
        print(found)
    if not any(row["evaluation"] for row in found.results["runs"]) and not found.results["imported"]:
        raise GanvasError("None of the runs could be evaluated.", fix="the report says why, run by run.")
