"""The checks of a configuration: bounds of single values, and knobs that exclude each other, with the reasons."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganvas.errors import GanvasError
from ganvas.schedule import Schedule, ScheduleSpec

Knobs = Mapping[str, Any]

_COUNTS = (
    *("batch", "microbatch", "threads", "penalty_every", "d_steps", "g_steps"),
    *("latent", "g_width", "d_width", "width", "token_width", "heads", "head_width", "depth", "mapping_layers"),
    *("blocks", "group_size", "max_recoveries"),
)
_FRACTIONS = ("ema_warmup", "mixing_prob", "label_smoothing", "augment_p", "growth")
_BELOW_ONE = ("g_lr", "d_lr", "beta1", "beta2", "dropout", "ada_target")
_LENGTHS = ("kimg", "tick_kimg", "snapshot_kimg", "keep_kimg", "ada_kimg")
_MAX_THREADS = 1024
_MAX_SEED = 2**63 - 1


def check_bounds(knobs: Knobs, scheduled: Sequence[str]) -> None:
    """Checks the value of each knob; of a schedule, its start and its end.

    Raises:
        GanvasError: a value is out of bounds.
    """
    values: dict[str, list[Any]] = {name: [value] for name, value in knobs.items() if value is not None}
    for name in scheduled:
        schedule = Schedule.parse(knobs[name])
        values[name] = [schedule.start, schedule.end]
    for name, ends in values.items():
        for value in ends:
            if expected := _unmet(name, value, name in scheduled):
                raise GanvasError(f"--{name.replace('_', '-')} is {knobs[name]}.", expected=expected)


def _unmet(name: str, value: Any, scheduled: bool) -> str | None:
    """The expectation that the value does not meet, or None."""
    if isinstance(value, str):
        return None
    if name == "threads":
        return None if 1 <= value <= _MAX_THREADS else f"a number from 1 to {_MAX_THREADS:,}"
    if name in _COUNTS:
        return None if value > 0 else "a number above 0"
    if name in ("g_widths", "d_widths"):
        return None if all(width > 0 for width in value) else "whole numbers above 0"
    if name in _LENGTHS:
        if name == "keep_kimg" and value < 1:
            return "1 or more: snapshots are named after whole kimg"
        return None if 1 <= 1000 * value < 1e15 else "at least one image (0.001) and a finite number"
    if name == "seed":
        return None if 0 <= value <= _MAX_SEED else "a whole number from 0 to 2^63 - 1"
    if name in _FRACTIONS:
        return None if 0 <= value <= 1 else "a fraction from 0 to 1"
    if name in _BELOW_ONE:
        return None if 0 <= value < 1 else "0 or more and below 1"
    if scheduled or name in ("clip", "loss_change", "position_init"):
        return None if value >= 0 else "0 or more"
    return None


def check_together(knobs: Knobs) -> None:
    """Checks the combinations of knobs.

    Raises:
        GanvasError: two knobs exclude each other.
    """
    for message, violated, reason, fix in _IMPOSSIBLE:
        if violated(knobs):
            raise GanvasError(message.format(**knobs), expected=reason, fix=fix)


def find_warnings(knobs: Knobs) -> list[str]:
    """Warnings about combinations that are valid, but often a mistake."""
    found = []
    if knobs["objective"] == "wasserstein" and not (_has_penalty(knobs) or knobs["clip"] or knobs["spectral_norm"]):
        found.append("nothing bounds the critic's gradient (--gp, --clip, --spectral-norm): its loss may diverge.")
    if knobs["microbatch"] and "batch" in (knobs.get("g_norm"), knobs.get("d_norm")):
        found.append("batch norm normalises over --microbatch images: gradients are not those of the whole batch.")
    return found


def _is_ever_positive(knob: ScheduleSpec) -> bool:
    """Whether a value is above 0 at any time of its schedule."""
    schedule = Schedule.parse(knob)
    return schedule.start > 0 or schedule.end > 0


def _has_penalty(k: Knobs) -> bool:
    return any(_is_ever_positive(k[name]) for name in ("r1", "r2", "gp", "dragan"))


_RELATIVE = ("wasserstein", "rpgan", "rahinge")
"""Objectives that only compare logits, so that the sign of a single logit has no meaning."""

_IMPOSSIBLE: list[tuple[str, Callable[[Knobs], bool], str, str]] = [
    (
        "Batch norm in G with a batch of {batch}.",
        lambda k: k.get("g_norm") == "batch" and min(k["batch"], k["microbatch"] or k["batch"]) < 2,
        "2 or more images at a time: batch norm normalises over the images of a batch",
        "a larger --batch, or --g-norm none.",
    ),
    (
        "--token-width with --heads {heads}.",
        lambda k: k["family"] == "vit" and k["token_width"] % k["heads"] != 0,
        "a token width that is divisible by the number of heads",
        "a --token-width that is a multiple of --heads.",
    ),
    (
        "A gradient penalty with batch norm in D.",
        lambda k: k.get("d_norm") == "batch" and _has_penalty(k),
        "a D whose logits are independent: with batch norm, the gradient of one logit reaches all images of the batch",
        "--d-norm none, or no --r1, --r2, --gp, --dragan.",
    ),
    (
        "--label-smoothing with the {objective} objective.",
        lambda k: k["label_smoothing"] > 0 and k["objective"] not in ("minimax", "non-saturating"),
        "an objective with a cross-entropy loss: minimax or non-saturating",
        "leave --label-smoothing out.",
    ),
    (
        "--ada-target with the {objective} objective.",
        lambda k: k["ada_target"] > 0 and k["objective"] in _RELATIVE,
        "an objective for which the sign of a logit indicates overfitting",
        "--objective non-saturating (or hinge) with --augment ada; or --augment-p 0..0.5 without --ada-target.",
    ),
    (
        "--ada-target without augmentation.",
        lambda k: k["ada_target"] > 0 and k["augment"] == "none",
        "an augmentation whose probability can be adapted",
        "--augment ada.",
    ),
    (
        "--augment {augment} with the multi-scale family.",
        lambda k: k["augment"] != "none" and k["family"] == "msg",
        "a single image to transform; D of this family receives every image at several sizes",
        "leave --augment out, or use --noise.",
    ),
    (
        "--spectral-norm with the {family} family.",
        lambda k: k["spectral_norm"] and k["family"] in ("stylegan", "msg"),
        "plain weights; equalised weights are scaled again in the forward pass, which undoes the normalisation",
        "--gp 10 or --r1.",
    ),
    (
        "--clip {clip} with the {family} family.",
        lambda k: k["clip"] > 0 and k["family"] in ("stylegan", "msg"),
        "plain weights; equalised weights are stored with variance 1, and clipping would remove almost all of them",
        "--gp 10.",
    ),
    (
        "--spectral-norm with the r3gan family.",
        lambda k: k["spectral_norm"] and k["family"] == "r3gan",
        "weights that do not start at 0, as the last ones of each block do; they cannot be divided by a norm of 0",
        "--r1 and --r2, as its paper has them.",
    ),
    (
        "--spectral-norm with --clip {clip}.",
        lambda k: k["spectral_norm"] and k["clip"] > 0,
        "one of the two: the clipped weights would be divided by their norm again",
        "leave one out.",
    ),
    (
        "--skip-d-below with the {objective} objective.",
        lambda k: k["objective"] == "wasserstein" and (k["skip_d_below"] is not None or k["skip_g_below"] is not None),
        "a loss with a fixed zero; the level of a critic's loss does not show whether G or D is stronger",
        "--d-steps and --g-steps, or --loss-change 1.",
    ),
    (
        "--loss-change with --skip-d-below or --skip-g-below.",
        lambda k: k["loss_change"] > 0 and (k["skip_d_below"] is not None or k["skip_g_below"] is not None),
        "a single rule for skipping updates",
        "leave one out.",
    ),
    (
        "--on-failure {on_failure} without --watch.",
        lambda k: k["on_failure"] != "warn" and not k["watch"],
        "monitoring, since only a diagnosed failure can be handled",
        "leave --no-watch out, or --on-failure.",
    ),
    (
        "--microbatch with the rahinge objective.",
        lambda k: k["microbatch"] is not None and k["objective"] == "rahinge",
        "the whole batch at once: each logit is compared with the mean over the batch",
        "leave --microbatch out, or the rpgan objective.",
    ),
]
"""(message, condition, what was expected and why, fix)."""
