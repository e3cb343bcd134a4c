"""The knobs as keywords of `ganvas.train`, for editors and type checkers; each is documented beside its field."""

import os
from collections.abc import Callable
from typing import Any, Literal, TypedDict

from ganvas.config.groups import AugmentationName, ObjectiveName
from ganvas.schedule import ScheduleSpec


class Knobs(TypedDict, total=False):
    """Every knob of every family with the types that a Python user may pass.

    The documentation of each is in `ganvas.config`, `ganvas.config.groups` and `ganvas.config.families`.
    """

    kimg: float | None
    minutes: float | None
    seed: int

    data: str | os.PathLike[str]
    resolution: int | tuple[int, int] | str | None
    channels: Literal[1, 3, 4] | None
    fit: Literal["crop", "pad", "stretch"]
    max_bad: float
    label_column: str | None
    conditional: bool
    mirror: bool
    balanced: bool

    g: str | Callable[..., Any]
    d: str | Callable[..., Any]
    latent: int
    g_widths: tuple[int, ...] | list[int]
    d_widths: tuple[int, ...] | list[int]
    g_width: int | None
    d_width: int
    width: int
    g_norm: Literal["batch", "none"]
    d_norm: Literal["batch", "none"]
    output: Literal["tanh", "sigmoid", "linear"]
    dropout: float
    token_width: int
    heads: int
    head_width: int
    position_init: float
    depth: int
    blocks: int | Literal["plain", "residual"]
    full_width_stages: int
    mapping_layers: int
    growth: ScheduleSpec
    mixing_prob: float
    group_size: int
    features_net: str
    pixel_width: int

    objective: ObjectiveName | str | object
    r1: ScheduleSpec
    r2: ScheduleSpec
    gp: ScheduleSpec
    dragan: ScheduleSpec
    penalty_every: int
    clip: float
    spectral_norm: bool
    label_smoothing: float
    noise: ScheduleSpec
    augment: AugmentationName | str | Callable[..., Any]
    augment_p: ScheduleSpec
    ada_target: float
    ada_kimg: float
    shared_fakes: bool
    moments: ScheduleSpec

    d_steps: int
    g_steps: int
    skip_d_below: float | None
    skip_g_below: float | None
    loss_change: float

    batch: int
    microbatch: int | None
    optimiser: Literal["adam", "rmsprop"]
    g_lr: ScheduleSpec
    d_lr: ScheduleSpec
    beta1: float
    beta2: ScheduleSpec
    ema: ScheduleSpec
    ema_warmup: float

    init_from: str | os.PathLike[str] | None
    freeze_d: int

    tick_kimg: float | None
    snapshot_kimg: float | None
    keep_kimg: float | None
    evaluate_every: float | None
    evaluate_at_end: bool
    watch: bool
    on_failure: Literal["warn", "stop", "rollback", "correct"]
    max_recoveries: int
    plot: bool
    preview: bool
    log_to: str | list[str] | None
    threads: int | None
    device: str
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"]
    compile: Literal["auto", "on", "off"]
