"""`ganvas compare`: recipes and runs on one budget, in one report."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg

from ganvas.cli.output import print_json


def compare(
    what: Positional[tuple[str, ...]],
    data: str | None = None,
    kimg: float | None = None,
    minutes: float | None = None,
    pflop: float | None = None,
    seeds: int = 3,
    vary: UseAppendAction[tuple[str, ...]] = (),
    knob: Annotated[UseAppendAction[tuple[str, ...]], arg(name="set")] = (),
    out: Path | None = None,
    workers: int = 1,
    ray: str | None = None,
    count: int = 10_000,
    features: str = "eye",
    weights: Path | None = None,
    device: str = "auto",
    csv: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Train recipes on one budget, or take runs that are there, and say which is better and whether that is luck.

    Args:
        what: Recipes (with knobs of their own: cnn:g_width=64,batch=32) and run folders, in any mixture; StyleGAN's
            runs and torch-fidelity's JSON are shown beside.
        data: What the recipes learn from; by default each its own.
        kimg: The budget of each training: thousand pictures. By default each recipe's own.
        minutes: Or the budget in minutes, turned into pictures by a trial of the speed.
        pflop: Or in 10¹⁵ operations.
        seeds: Trainings of each recipe: with the seeds 0, 1, 2 …
        vary: knob=value,value: each recipe once for each value; may be given again.
        knob: knob=value for all recipes, such as batch=32; may be given again.
        out: The comparison's folder; by default in comparisons/. The same command again goes on.
        workers: Trainings at a time on this machine.
        ray: local, or the address of a Ray cluster, to train there; all machines must see the folder.
        count: Pictures on each side of a judgement, at most.
        features: As of ganvas evaluate: eye, classifier, inception (the true FID) …
        weights: Those that the features need.
        device: Where to judge: auto, cpu, cuda …
        csv: Write the table of trainings there too.
        json: Print everything as JSON.
        quiet: Print nothing else.
    """
    from ganvas.comparison.candidates import parsed_set, parsed_vary
    from ganvas.comparison.comparison import compare as run
    from ganvas.comparison.comparison import table
    from ganvas.files import write_text

    found = run(
        what, data=data, kimg=kimg, minutes=minutes, pflop=pflop, seeds=seeds, vary=parsed_vary(vary), out=out,
        workers=workers, ray=ray, count=count, extractor=features, weights=None if weights is None else str(weights),
        device=device, quiet=quiet, command=shlex.join(["ganvas", *sys.argv[1:]]), knobs=parsed_set(knob),
    )  # fmt: skip
    if csv is not None:
        write_text(csv, table(found.facts))
    if json:
        print_json(found.to_json())
    else:
        print(found)
    if not any(row["evaluation"] for row in found.facts["runs"]) and not found.facts["foreign"]:
        sys.exit(1)  # nothing came of it
