"""What a configuration may not be: values out of bounds, and knobs that cannot go together, each with its reason."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganvas.errors import GanvasError
from ganvas.schedule import Knob, Schedule

Knobs = Mapping[str, Any]

_COUNTS = (
    *("batch", "microbatch", "threads", "penalty_every", "d_steps", "g_steps"),
    *("latent", "g_width", "d_width", "width", "tokens_width", "heads", "head_width", "depth", "mapping"),
    *("blocks", "group", "rescues"),
)
_FRACTIONS = ("ema_warmup", "mixing", "smoothing", "augment_p", "growth")
_BELOW_ONE = ("g_lr", "d_lr", "beta1", "beta2", "dropout", "ada_target")
_LENGTHS = ("kimg", "tick_kimg", "snapshot_kimg", "keep_kimg", "ada_kimg")
_MOST_SEED = 2**63 - 1


def check_bounds(knobs: Knobs, scheduled: Sequence[str]) -> None:
    """Each knob for itself; of a scheduled one, both ends.

    Raises:
        GanvasError: a value is out of bounds.
    """
    values: dict[str, list[Any]] = {name: [value] for name, value in knobs.items() if value is not None}
    for name in scheduled:
        schedule = Schedule.of(knobs[name])
        values[name] = [schedule.start, schedule.end]
    for name, own in values.items():
        for value in own:
            if expected := _unmet(name, value, name in scheduled):
                raise GanvasError(f"--{name.replace('_', '-')} is {knobs[name]}.", expected=expected)


def _unmet(name: str, value: Any, scheduled: bool) -> str | None:
    """What was expected of the value, if it is not that."""
    if isinstance(value, str):
        return None
    if name in _COUNTS:
        return None if value > 0 else "a number above 0"
    if name in ("g_widths", "d_widths"):
        return None if all(width > 0 for width in value) else "whole numbers above 0"
    if name in _LENGTHS:
        if name == "keep_kimg" and value < 1:
            return "1 or more: snapshots are called after whole kimg"
        return None if 1 <= 1000 * value < 1e15 else "at least one image (0.001) and a finite number"
    if name == "seed":
        return None if 0 <= value <= _MOST_SEED else "a whole number from 0 to 2^63 - 1"
    if name in _FRACTIONS:
        return None if 0 <= value <= 1 else "a fraction from 0 to 1"
    if name in _BELOW_ONE:
        return None if 0 <= value < 1 else "0 or more and below 1"
    if scheduled or name in ("clip", "loss_change", "positions"):
        return None if value >= 0 else "0 or more"
    return None


def check_together(knobs: Knobs) -> None:
    """The knobs with one another.

    Raises:
        GanvasError: two of them cannot go together.
    """
    for what, wrong, reason, fix in _IMPOSSIBLE:
        if wrong(knobs):
            raise GanvasError(what.format(**knobs), expected=reason, fix=fix)


def cautions(knobs: Knobs) -> list[str]:
    """What may be meant, but often is not."""
    found = []
    if knobs["objective"] == "wasserstein" and not (_penalised(knobs) or knobs["clip"] or knobs["spectral"]):
        found.append("nothing bounds the critic's slope (--gp 10, --clip 0.01, --spectral): its loss may run away.")
    if knobs["microbatch"] and "batch" in (knobs.get("g_norm"), knobs.get("d_norm")):
        found.append("batch norm sees --microbatch pictures at a time: gradients are not those of the whole batch.")
    return found


def _moves(knob: Knob) -> bool:
    """Whether a scheduled value is ever above 0."""
    schedule = Schedule.of(knob)
    return schedule.start > 0 or schedule.end > 0


def _penalised(k: Knobs) -> bool:
    return any(_moves(k[name]) for name in ("r1", "r2", "gp", "dragan"))


_NO_ZERO = ("wasserstein", "rpgan", "rahinge")
"""Objectives that compare logits with one another, so that a single logit has no zero."""

_IMPOSSIBLE: list[tuple[str, Callable[[Knobs], bool], str, str]] = [
    (
        "Batch norm in G with a batch of {batch}.",
        lambda k: k.get("g_norm") == "batch" and min(k["batch"], k["microbatch"] or k["batch"]) < 2,
        "2 or more pictures at a time: batch norm compares the images of a batch",
        "a larger --batch, or --g-norm none.",
    ),
    (
        "--tokens-width with --heads {heads}.",
        lambda k: k["family"] == "vit" and k["tokens_width"] % k["heads"] != 0,
        "a width that the heads can share equally",
        "a --tokens-width that is a multiple of --heads.",
    ),
    (
        "A gradient penalty with batch norm in D.",
        lambda k: k.get("d_norm") == "batch" and _penalised(k),
        "a D that judges each picture by itself: with batch norm, the slope at one is that at all",
        "--d-norm none, or no --r1, --r2, --gp, --dragan.",
    ),
    (
        "--smoothing with the {objective} objective.",
        lambda k: k["smoothing"] > 0 and k["objective"] not in ("minimax", "non-saturating"),
        "an objective with a probability to smooth: minimax or non-saturating",
        "leave --smoothing out.",
    ),
    (
        "--ada-target with the {objective} objective.",
        lambda k: k["ada_target"] > 0 and k["objective"] in _NO_ZERO,
        "an objective whose logits have a zero, so that their sign says something of overfitting",
        "a scheduled --augment-p (0..0.5), or the non-saturating or hinge objective.",
    ),
    (
        "--ada-target without augmentation.",
        lambda k: k["ada_target"] > 0 and k["augment"] == "none",
        "something to adapt",
        "--augment ada.",
    ),
    (
        "--augment {augment} with the multi-scale family.",
        lambda k: k["augment"] != "none" and k["family"] == "msg",
        "one picture to transform; its D sees the same picture at every size",
        "leave --augment out, or use --noise.",
    ),
    (
        "--spectral with the {family} family.",
        lambda k: k["spectral"] and k["family"] in ("stylegan", "msg"),
        "plain weights; equalised ones are scaled again where they are used, which undoes the bound",
        "--gp 10 or --r1.",
    ),
    (
        "--clip {clip} with the {family} family.",
        lambda k: k["clip"] > 0 and k["family"] in ("stylegan", "msg"),
        "plain weights; equalised ones are about 1 before they are scaled, and clipping would silence D",
        "--gp 10.",
    ),
    (
        "--spectral with the r3gan family.",
        lambda k: k["spectral"] and k["family"] == "r3gan",
        "weights that are not 0 at the start, as its last ones in each block are; nothing divides by their norm of 0",
        "--r1 and --r2, as its paper has them.",
    ),
    (
        "--spectral with --clip {clip}.",
        lambda k: k["spectral"] and k["clip"] > 0,
        "one of the two: the clipped weights would be divided by their norm again",
        "leave one out.",
    ),
    (
        "--skip-d-below with the {objective} objective.",
        lambda k: k["objective"] == "wasserstein" and (k["skip_d_below"] is not None or k["skip_g_below"] is not None),
        "a loss with a fixed zero; a critic's level says nothing of who is ahead",
        "--d-steps and --g-steps, or --loss-change 1.",
    ),
    (
        "--loss-change with --skip-d-below or --skip-g-below.",
        lambda k: k["loss_change"] > 0 and (k["skip_d_below"] is not None or k["skip_g_below"] is not None),
        "one rule to decide who rests",
        "leave one out.",
    ),
    (
        "--on-failure {on_failure} without --watch.",
        lambda k: k["on_failure"] != "warn" and not k["watch"],
        "a doctor who looks, before anything is done about what he sees",
        "leave --no-watch out, or --on-failure.",
    ),
    (
        "--microbatch with the rahinge objective.",
        lambda k: k["microbatch"] is not None and k["objective"] == "rahinge",
        "the whole batch at once: each logit is compared with the mean over the others",
        "leave --microbatch out, or the rpgan objective.",
    ),
]
"""(what was asked, whether it was, what was expected and why, the fix)."""
