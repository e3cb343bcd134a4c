"""Every condition is detected where it should be and not in near misses; and how findings are reported."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
import tyro
from support import tiny

from ganvas.config import TrainConfig, differences, replace, to_json
from ganvas.diagnosis.diagnosis import Diagnosis, apply_rules, verdict
from ganvas.diagnosis.history import Facts, History, NonFinite
from ganvas.diagnosis.logs.reader import read
from ganvas.diagnosis.probe import NetworkProbe, Subject
from ganvas.diagnosis.rules.conditions import ConditionName
from ganvas.diagnosis.rules.fixes import ProposedFix, accepted_changes, propose
from ganvas.diagnosis.rules.table import CONDITIONS
from ganvas.diagnosis.rules.trends import QUALITY
from ganvas.game.objectives import OBJECTIVES
from ganvas.recipes import RECIPES

NAN, INF = float("nan"), float("inf")

Column = float | Sequence[float | None]


def watched(n: int = 20, facts: dict[str, Any] | None = None, /, **columns: Column) -> History:
    """A healthy training of n probes, ten steps apart, in which the given columns (`D_loss` is D/loss) are replaced."""
    healthy: dict[str, Column] = {
        "D/loss": 1.2, "G/loss": [0.9 + 0.01 * (i % 3) for i in range(n)], "D/real": 0.6, "D/fake": -0.6,
        "D/update": 5e-3, "G/update": 5e-3, "D/unchanged": 0, "G/unchanged": 0, "D/gradient": 0.5, "G/gradient": 0.1,
        "D/auc": 0.8, "D/held_auc": 0.5, "D/overfit": 0.02, "D/batch_effect": 0.5, "D/mixed_batch": 0,
        "D/input_gradient": 1,
        "D/label_effect": 0.5, "G/label_effect": 0.6, "labels/mismatch": 0,
        "real/low": -1, "real/high": 1, "real/missing": 0,
        "diversity": 0.9, "diversity/batch": 0.9, "nearest_fake": 0.9, "distance": list(np.geomspace(1, 0.05, n)),
        "precision": 0.8, "coverage": 0.8, "classes": 10, "classes/missing": 0, "classes/rarest": 0.7,
        "classes/imbalance": 1.2, "classes/labelled": 1, "nearest_real": 1, "checkerboard": 0.01,
        **dict.fromkeys(("wiring/shared", *(f"wiring/{n}/{of}" for n in "DG" for of in ("old", "mixed"))), 0),
        "wiring/optimisers": 2, "wiring/D/steps": 10, "wiring/G/steps": 10, "wiring/G/passes": 1, "wiring/G/eval": 0,
        "wiring/D/both": 0,
        "targets/D/real": -1, "targets/D/fake": 1, "targets/G/fake": -1, "targets/D/same": 0, "targets/G/same": 0,
        "targets/sigmoid_twice": 0,
    }  # fmt: skip
    history = History("step", Facts(**{"shown": 100_000, "output_activation": "tanh", **(facts or {})}))
    healthy |= {name if name in healthy else name.replace("_", "/", 1): column for name, column in columns.items()}
    return fill(history, n, healthy)


def fill(history: History, n: int, columns: dict[str, Column]) -> History:
    for i in range(n):
        at = 10 * (i + 1)
        history.add(at, {k: v[i] if isinstance(v, Sequence) else v for k, v in columns.items() if not _over(v, i)})
    return history


def _over(column: Column, i: int) -> bool:
    return isinstance(column, Sequence) and i >= len(column)


def logged(n: int = 30, facts: dict[str, Any] | None = None, /, **columns: Column) -> History:
    """The history of a log with the given columns only."""
    names = {name.replace("_", "/", 1): column for name, column in columns.items()}
    return fill(History("epoch", Facts(**(facts or {}))), n, names)


def with_speed(speed: Sequence[float], **columns: Column) -> History:
    """A healthy training with these speeds, in kimg/s."""
    history = watched(len(speed), **columns)
    for at, value in zip(history["D/loss"].at, speed, strict=True):
        history.add(at, {"kimg_per_s": value})
    return history


def names(history: History) -> list[str]:
    return [finding.name for finding in apply_rules(history).findings]


def finding(history: History, name: str) -> Any:
    return next(found for found in apply_rules(history).findings if found.name == name)


def after(n: int, before: float, then: float, total: int = 20) -> list[float]:
    """`then` from probe n on."""
    return [before] * n + [then] * (total - n)


def plain_config(**changes: Any) -> TrainConfig:
    base = tiny(objective="non-saturating", r1=0.0, r2=0.0)
    return replace(base, **{"g_lr": 2e-4, "d_lr": 2e-4, **changes})


FAR = 0.9
"""A distance at which fakes are nothing like the reals."""

GROWING = {"config": RECIPES["stylegan"].config}
FALLING = {"config": replace(RECIPES["cnn"].config, g_lr="2e-3..1e-3:cosine")}
WAVES = [1 + 0.8 * float(np.sin(2 * np.pi * i / 8)) for i in range(60)]

THERE_AND_BACK = [*np.geomspace(90, 9, 15), *np.geomspace(9, 60, 15)]

CRITIC = {"critic": True}

NOT_STEPPED = {"G_update": 0, "wiring/G/steps": 0, "wiring/G/losses": 0}

FALLEN = {"diversity": after(12, 0.9, 0.2), "diversity_batch": after(12, 0.9, 0.2)}

SILENT = np.random.default_rng(0).normal(0, 1e-9, 30).tolist()
LEVEL = np.random.default_rng(1).normal(-0.3, 0.01, 30).tolist()

CARRIED = np.repeat(np.random.default_rng(2).normal(0.9, 0.1, 6), 5).round(6).tolist()
TINY = np.geomspace(1e-9, 2e-11, 30).tolist()
RISING = np.linspace(1.55, 1.7, 30).tolist()
AT_CHANCE = np.random.default_rng(3).normal(2 * np.log(2), 1e-3, 30).tolist()
"""A loss that is logged in each row and new in each fifth one; a vanishing one; one that may be a hinge loss in
balance, or a cross-entropy of a D that is fooled; that of a D that never learns."""

EXAMPLES: dict[str, list[tuple[History, History]]] = {
    "non-finite": [
        (watched(D_loss=after(15, 1.2, NAN)), watched(D_loss=after(15, 1.2, 9))),
        (watched(G_loss=after(15, 1, INF)), watched(G_loss=after(15, 1, 20))),
        (watched(**{"D/loss/bad": after(12, 0, 3)}), watched(**{"D/loss/bad": 0})),
        (watched(fake_std=after(19, 0.5, NAN)), watched(fake_std=0.5)),
        (watched(20, {"non_finite": NonFinite(7, ("G/loss",))}), watched(20, {"non_finite": None})),
    ],
    "loss not connected": [
        (watched(**{"wiring/G/passes": 0}), watched(**{"wiring/G/passes": [0] * 19 + [1]})),
        (watched(**{"wiring/G/passes": 0}), watched(2, **{"wiring/G/passes": 0})),
        (watched(**{"wiring/G/passes": 0}), watched(**{"wiring/G/passes": 0, "wiring/G/steps": 0})),
    ],
    "wrong optimiser": [
        (watched(**{"wiring/shared": 1}), watched(**{"wiring/shared": [1] * 19 + [0]})),
        (watched(**{"wiring/G/steps": 0}), watched(**{"wiring/G/steps": 0, "wiring/optimisers": 1})),
        (watched(**{"wiring/D/steps": 0}), watched(**{"wiring/D/steps": [0] * 19 + [1]})),
    ],
    "labels swapped": [
        (watched(**{"targets/G/same": 1}), watched(**{"targets/G/same": [1] * 19 + [0]})),
        (watched(**{"targets/D/same": 1}), watched(**{"targets/D/same": [0] * 15 + [1] * 5})),
        (watched(**{"targets/G/same": [0] * 3 + [1] * 17}), watched(2, **{"targets/G/same": 1})),
    ],
    "missing zero_grad": [
        (watched(**{"wiring/D/old": 1}), watched(**{"wiring/D/old": [1] * 19 + [0]})),
        (watched(**{"wiring/G/old": 1}), watched(**{"wiring/G/old": 1, "wiring/shared": 1})),
        (watched(**{"wiring/D/mixed": 1}), watched(2, **{"wiring/D/mixed": 1})),
    ],
    "losses not separated": [(watched(**{"wiring/D/both": 1}), watched(**{"wiring/D/both": [1] * 19 + [0]}))],
    "missing detach": [(watched(**{"wiring/G/mixed": 1}), watched(**{"wiring/D/mixed": 1}))],
    "sigmoid twice": [(watched(**{"targets/sigmoid_twice": 1}), watched(**{"targets/sigmoid_twice": [1] * 19 + [0]}))],
    "eval mode": [(watched(**{"wiring/G/eval": 1}), watched(**{"wiring/G/eval": [1] * 19 + [0]}))],
    "D frozen": [
        (watched(D_update=0, **{"D/moved": 0}), watched(D_update=0, **{"D/moved": [0] * 18 + [1, 1]})),
        (watched(D_update=0), watched(D_update=[1e-3, *[0] * 19])),
        (watched(D_update=0), watched(D_update=1e-7)),
        (logged(D_loss=after(3, 0.5, 0.693147, 30)), logged(D_loss=[*after(3, 0.5, 0.693147, 29), 0.71])),
        (logged(D_loss=0.693147), logged(4, D_loss=0.693147)),
        (logged(D_loss=0.693147), logged(D_loss=0.69)),
    ],
    "G frozen": [
        (logged(G_loss=[*CARRIED[:15], *[0.693147] * 15]), logged(G_loss=CARRIED)),
        (watched(G_update=0), watched(G_update=[1e-3, *[0] * 19])),
        (watched(21, **NOT_STEPPED), watched(19, **NOT_STEPPED)),  # it may begin after a hundred updates of D
        (watched(**{**NOT_STEPPED, "wiring/G/losses": 1}), watched(5, **NOT_STEPPED)),
        (logged(G_loss=0.693147), logged(G_loss=[0.7 + 1e-6 * i for i in range(30)])),
        (logged(G_loss=0.693147), logged(G_loss=0.7)),
    ],
    "range mismatch": [
        (watched(real_low=0), watched(real_low=-0.9)),
        (watched(real_high=255, real_low=0), watched(real_high=1)),
        (watched(20, {"output_activation": "sigmoid"}), watched(20, {"output_activation": "sigmoid"}, real_low=0)),
        (watched(real_low=0), watched(20, {"output_activation": "linear"}, real_low=0)),
    ],
    "normalisation mismatch": [
        (watched(real_high=2.5), watched(real_high=1.02)),
        (watched(real_low=-2.1), watched(20, {"output_activation": "linear"}, real_low=-2.1)),
        (watched(real_high=2.5), watched(real_high=NAN, real_low=NAN)),
    ],
    "batch-norm leak": [
        (watched(D_mixed_batch=1, D_batch_effect=0.9), watched(D_mixed_batch=1, D_batch_effect=0.05)),
        (watched(D_mixed_batch=1, D_batch_effect=0.9), watched(D_mixed_batch=0, D_batch_effect=0.9)),
    ],
    "critic unconstrained": [
        (watched(20, CRITIC, D_input_gradient=list(np.geomspace(1, 60, 20))), watched(20, CRITIC, D_input_gradient=2)),
        (
            watched(20, CRITIC, D_input_gradient=list(np.geomspace(1, 60, 20))),
            watched(D_input_gradient=list(np.geomspace(1, 60, 20))),
        ),
        (logged(30, CRITIC, D_loss=[-(2.0**i) for i in range(30)]), logged(30, CRITIC, D_loss=-20)),
        (
            logged(D_loss=[-3, *np.geomspace(3, 1e5, 29)], D_gp=np.geomspace(1, 1e5, 30).tolist(), G_loss=LEVEL),
            logged(D_loss=np.linspace(-9, -1, 30).tolist(), D_gp=1.0, G_loss=LEVEL),
        ),
    ],
    "critic without gradient": [
        (watched(20, CRITIC, D_input_gradient=1e-7, distance=FAR), watched(20, CRITIC, D_input_gradient=1e-7)),
        (
            watched(20, CRITIC, D_input_gradient=1e-7, distance=FAR),
            watched(20, CRITIC, D_input_gradient=after(17, 1e-2, 1e-7), distance=FAR),
        ),
        (
            logged(D_loss=after(9, -3.0, 10.0, 30), D_gp=after(9, 1.0, 10.0, 30), G_loss=LEVEL),
            logged(D_loss=after(9, -3.0, 9.0, 30), D_gp=after(9, 1.0, 10.0, 30), G_loss=LEVEL),
        ),
        (logged(D_loss=0, G_loss=LEVEL), logged(D_loss=0, G_loss=[0.05 * g for g in LEVEL])),
        (logged(D_loss=SILENT, G_loss=LEVEL), logged(D_loss=[1e6 * d for d in SILENT], G_loss=LEVEL)),
        (logged(D_loss=SILENT, G_loss=LEVEL), logged(D_loss=[abs(d) for d in SILENT], G_loss=16)),
        (
            logged(D_loss=SILENT, G_loss=LEVEL),
            logged(D_loss=SILENT, G_loss=LEVEL, fid=np.geomspace(90, 9, 30).tolist()),
        ),
    ],
    "learning rate too high": [
        (watched(G_update=0.2), watched(G_update=0.02)),
        (  # a run measures the updates of a round together
            watched(20, {"config": plain_config(d_steps=2)}, D_update=0.4),
            watched(20, {"config": plain_config(d_steps=5)}, D_update=0.4),
        ),
        (watched(D_update=0.2), watched(D_update=0.02)),
        (watched(G_update=after(2, 0.9, 1e-3), distance=FAR), watched(G_update=after(2, 0.9, 1e-3))),
        (watched(G_update=after(2, 0.9, 1e-3), G_gradient=0), watched(G_update=after(2, 0.03, 1e-3), G_gradient=0)),
        (watched(D_update=0.08, distance=FAR), watched(D_update=0.08)),
        (watched(3, {"shown": 9_000}, D_update=0.15, distance=0.2), watched(3, {"shown": 900}, D_update=0.15)),
        (watched(6, {"shown": 9_000}, D_update=0.1, distance=FAR),
         watched(6, {"shown": 900}, D_update=0.1, distance=FAR)),
        (watched(D_update=0.1, distance=FAR), watched(D_update=0.1, distance=list(np.geomspace(0.9, 0.4, 20)))),
        (watched(3, {"shown": 900}, D_update=0.08, D_lr=0.5), watched(3, {"shown": 900}, D_update=0.08, D_lr=3e-3)),
        (
            watched(20, {"config": TrainConfig()}, G_lr=0.1, distance=FAR),
            watched(20, {"config": TrainConfig()}, G_lr=0.01, distance=FAR),
        ),
    ],
    "divergence": [
        (logged(D_loss=np.geomspace(100, 900, 30).tolist()), logged(D_loss=np.geomspace(900, 100, 30).tolist())),
        (logged(G_loss=np.geomspace(1, 400, 30).tolist()), logged(D_loss=0, G_loss=after(9, 3, 100, 30))),
        (watched(G_loss=list(np.geomspace(1, 400, 20))), watched(G_loss=list(np.geomspace(1, 15, 20)))),
        (watched(D_fake=list(np.geomspace(-1, -900, 20))), watched(D_fake=-20)),
        # what is large from the start: a sum, or pix2pix's 100 L1; and the level of a relativistic D
        (watched(G_loss=list(np.geomspace(1, 400, 20))), watched(G_loss=list(np.linspace(60, 45, 20)))),
        (watched(D_loss=list(np.geomspace(1, 400, 20))), watched(D_loss=list(np.linspace(80, 300, 20)))),
        (
            watched(**{"D/real/std": list(np.geomspace(1, 900, 20))}),
            watched(D_real=list(np.geomspace(1, 900, 20)), D_fake=list(np.geomspace(0.9, 899, 20))),
        ),
        (  # within the first probes
            watched(**{"D/real/std": [1, 500, 600, 700, *[900] * 16]}),
            watched(**{"D/real/std": [60, 500, 500, 500, *[550] * 16]}),
        ),
        (  # of small batches D's order is known late
            watched(D_auc=[], D_loss=list(np.geomspace(1, 900, 20))),
            watched(D_auc=[], D_loss=after(8, 20, 70)),
        ),
        (watched(D_update=after(9, 5e-3, 0.9)), watched(D_update=after(9, 5e-3, 0.03))),
        (logged(D_loss=list(np.geomspace(1, 400, 30))), logged(30, CRITIC, D_loss=list(np.geomspace(1, 400, 30)))),
    ],
    "learning rate too low": [
        (watched(D_update=1e-7, G_update=1e-7, distance=FAR), watched(D_update=1e-7, G_update=1e-3, distance=FAR)),
        (watched(D_update=1e-7, G_update=1e-7, distance=FAR), watched(D_update=1e-7, G_update=1e-7)),
        (watched(D_update=1e-7, G_update=1e-7, distance=FAR), watched(D_update=0, G_update=0, distance=FAR)),
    ],
    "D too weak": [
        (
            logged(D_loss=AT_CHANCE, G_loss=[d / 2 for d in AT_CHANCE]),
            logged(D_loss=[1.1, *AT_CHANCE[1:]], G_loss=[d / 2 for d in AT_CHANCE]),
        ),
        (watched(D_auc=0.5, distance=FAR), watched(D_auc=0.7, distance=FAR)),
        (watched(D_auc=0.5, distance=FAR), watched(D_auc=0.5)),
        (watched(D_auc=0.5, distance=FAR), watched(D_auc=0.5, distance=[], precision=[])),
        (watched(D_auc=0.5, distance=FAR), watched(20, CRITIC, D_auc=0.5, distance=FAR)),
        (logged(G_loss=0.1, D_loss=np.linspace(1, 3, 30).tolist()), logged(G_loss=0.7, D_loss=1.4)),
        (logged(G_loss=0.1, D_loss=np.linspace(1, 3, 30).tolist()), logged(G_loss=0.35, D_loss=RISING)),
        (
            logged(30, {"config": tiny(objective="non-saturating")}, G_loss=0.35, D_loss=RISING),
            logged(30, {"config": tiny(objective="hinge")}, G_loss=0.35, D_loss=RISING),
        ),
        (
            logged(G_loss=0.1, D_loss=np.linspace(1, 3, 30).tolist()),
            logged(G_loss=0.1, D_loss=np.linspace(3, 1, 30).tolist()),
        ),
    ],
    "critic under-trained": [
        (watched(20, CRITIC, D_auc=0.5, distance=FAR), watched(D_auc=0.5, distance=FAR)),
        (watched(20, CRITIC, D_auc=0.5, distance=FAR), watched(20, CRITIC, D_auc=0.75, distance=FAR)),
        (watched(20, CRITIC, D_auc=0.5, distance=FAR), watched(20, CRITIC, D_auc=0.5)),
    ],
    "memorisation": [
        (watched(nearest_real=after(12, 1, 0.2)), watched(nearest_real=0.9)),
        (watched(nearest_real=after(12, 1, 0.2)), watched(nearest_real=after(19, 1, 0.2))),
    ],
    "D overfits": [
        (
            watched(D_overfit=0.7, D_held_auc=0.8, distance=FAR),
            watched(D_overfit=0.7, D_held_auc=0.52, distance=FAR),
        ),
        (
            watched(D_overfit=0.7, D_held_auc=0.8, distance=FAR),
            watched(D_overfit=0.03, D_held_auc=0.8, distance=FAR),
        ),
        (watched(D_overfit=0.7, D_held_auc=0.8, distance=FAR), watched(D_overfit=0.7, D_held_auc=0.8)),
        (
            watched(20, {"images": 24}, D_overfit=0.18, D_held_auc=0.7),
            watched(20, {"images": 24_000}, D_overfit=0.18, D_held_auc=0.7),
        ),
    ],
    "D too strong": [
        (logged(D_loss=after(9, 1, 0, 30), G_loss=after(9, 1, 100, 30)), logged(D_loss=after(9, 1, 0.5, 30), G_loss=9)),
        (logged(D_loss=TINY, G_loss=20), logged(D_loss=[1e10 * d for d in TINY], G_loss=2)),
        (watched(D_auc=1, distance=FAR, D_loss=1e-3), watched(D_auc=1, D_loss=1e-3)),
        (watched(D_auc=1, distance=FAR, D_loss=1e-3), watched(D_auc=0.9, distance=FAR, D_loss=1e-3)),
        (watched(D_auc=1, distance=FAR, D_loss=1e-3), watched(D_auc=1, distance=FAR, D_loss=0.9)),
        (watched(D_auc=[], distance=FAR, D_loss=1e-3), watched(D_auc=[], distance=0.2, D_loss=1e-3)),
        (logged(D_loss=after(9, 0.9, 1e-3, 30)), logged(D_loss=0.5)),
        (logged(D_loss=after(9, 0.9, 1e-3, 30)), logged(30, CRITIC, D_loss=1e-3)),
    ],
    "mode cycling": [
        (watched(diversity_batch=0.01), watched(diversity_batch=0.7)),
        (watched(diversity_batch=0.01), watched(diversity_batch=0.01, diversity=0.01)),
    ],
    "mode collapse": [
        (watched(diversity_batch=1e-3, diversity=1e-3), watched(diversity_batch=0.5, diversity=0.5)),
        (
            watched(diversity_batch=after(12, 0.9, 0.2), diversity=after(12, 0.9, 0.2), classes_missing=8),
            watched(diversity_batch=after(12, 0.9, 0.2), diversity=after(12, 0.9, 0.2)),
        ),
        (
            watched(diversity_batch=0.2, diversity=0.2, classes_missing=8),
            watched(20, {"shown": 5000}, diversity_batch=0.2, diversity=0.2, classes_missing=8),
        ),
        (  # many updates may be of few images
            watched(20, {"shown": 5000}, diversity_batch=0.2, diversity=0.2, classes_missing=8, G_steps=700),
            watched(20, {"shown": 5000}, diversity_batch=0.2, diversity=0.2, classes_missing=8, G_steps=500),
        ),
        (  # k equal images have a diversity of 1 - 1/k
            watched(diversity_batch=0.8, diversity=0.8, nearest_fake=0, coverage=0.1),
            watched(diversity_batch=0.8, diversity=0.8, nearest_fake=0.4, coverage=0.1),
        ),
        (  # a G that draws all of a small set has near copies too
            watched(diversity_batch=0.8, diversity=0.8, nearest_fake=0, coverage=0.3),
            watched(diversity_batch=0.8, diversity=0.8, nearest_fake=0, coverage=0.9),
        ),
        (  # a slow G draws nearly alike ones at first
            watched(diversity_batch=0.5, diversity=0.5, nearest_fake=0.04, coverage=0.1, G_steps=700),
            watched(diversity_batch=0.5, diversity=0.5, nearest_fake=0.04, coverage=0.1, G_steps=300),
        ),
        (  # most cells are too small to be seen missing
            watched(**FALLEN, classes=20, classes_missing=8, classes_counted=9),
            watched(**FALLEN, classes=20, classes_missing=8, classes_counted=20),
        ),
    ],
    "labels ignored by D": [(watched(D_label_effect=1e-4), watched(D_label_effect=0.1))],
    "labels ignored by G": [
        (watched(labels_mismatch=0.9), watched(labels_mismatch=0.05)),
        (watched(G_label_effect=0.01), watched(G_label_effect=0.4)),
        (watched(G_label_effect=0.01), watched(20, {"shown": 10_000}, G_label_effect=0.01)),
        (
            logged(classes_accuracy_real=after(9, 0.4, 0.97, 30), classes_accuracy_fake=0.1),
            logged(classes_accuracy_real=after(9, 0.4, 0.97, 30), classes_accuracy_fake=after(15, 0.1, 0.6, 30)),
        ),
    ],
    "missing modes": [
        (watched(real_missing=5), watched(real_missing=after(19, 0, 5))),
        (
            watched(distance=0.1, classes_missing=2, classes_rarest=0.01),
            watched(distance=0.1, classes_missing=2, classes_rarest=0.6),
        ),
        (
            watched(distance=0.1, classes_missing=2, classes_rarest=0.01),
            watched(distance=0.1, precision=0.02, classes_missing=2, classes_rarest=0.01),
        ),
        (
            watched(distance=0.1, classes_missing=2, classes_rarest=0.01),
            watched(distance=0.1, precision=[], classes_missing=2, classes_rarest=0.01),
        ),
    ],
    "checkerboard artefacts": [
        (watched(checkerboard=0.4), watched(checkerboard=0.02)),
        (watched(checkerboard=0.4), watched(checkerboard=0.4, distance=FAR)),
        (watched(checkerboard=0.4), watched(checkerboard=0.4, distance=[], precision=[])),
        (watched(checkerboard=0.4), watched(checkerboard=NAN)),
        (
            watched(20, {"config": RECIPES["cnn"].config}, checkerboard=0.4),
            watched(20, {"config": RECIPES["mlp"].config}, checkerboard=0.4),
        ),
    ],
    "imbalanced classes": [
        (watched(classes_imbalance=7), watched(classes_imbalance=1.5)),
        (watched(classes_imbalance=7), watched(classes_imbalance=7, classes_labelled=0)),
    ],
    "layers frozen": [
        (watched(D_unchanged=0.5), watched(D_unchanged=0.1)),
        (watched(G_unchanged=0.5), watched(G_unchanged=0.5, growth=1)),
        (watched(G_unchanged=0.5), watched(G_unchanged=after(2, 0.5, 0))),
    ],
    "no improvement": [
        (logged(fid=[380 + i % 3 for i in range(30)]), logged(fid=[38 + i % 3 for i in range(30)])),
        (logged(fid=[380 + i % 3 for i in range(30)]), logged(fid=np.geomspace(380, 220, 30).tolist())),
        (logged(kid=[0.38 + i % 3 / 99 for i in range(30)]), logged(kid=[3.8 + i % 3 / 99 for i in range(30)])),
        (
            watched(distance=FAR, precision=0, D_auc=0.97),
            watched(distance=np.geomspace(1, 0.55, 20).tolist(), precision=0, D_auc=0.97),
        ),
        (watched(distance=FAR, precision=0, G_steps=400), watched(distance=FAR, precision=0, G_steps=200)),
        (watched(distance=FAR, precision=0), watched(distance=0.45, precision=0)),
    ],
    "quality regressing": [
        (logged(modes=[*range(1, 900, 60), *range(900, 0, -60)]), logged(modes=[*range(1, 900, 30)])),
        (logged(recall=np.geomspace(0.5, 0.002, 30).tolist()), logged(recall=np.geomspace(0.5, 0.45, 30).tolist())),
        (logged(fid=THERE_AND_BACK), logged(fid=np.geomspace(90, 9, 30).tolist())),
        (
            watched(distance=[*np.geomspace(1, 0.1, 10), *np.geomspace(0.1, 0.9, 10)]),
            watched(distance=[*np.geomspace(1, 0.1, 10), *[0.11] * 10]),
        ),
        (  # of fewer than eight values of our quick measure only an improvement counts
            watched(distance=np.geomspace(0.18, 0.83, 20).tolist(), quality=[0.9, 0.6, 0.4, 0.6, 1.0, 1.6]),
            watched(distance=np.geomspace(0.18, 0.83, 20).tolist(), quality=[0.9, 0.6, 0.4, 0.3, 0.25, 0.2]),
        ),
        (  # while networks grow, images are close in small features before they have details
            watched(30, distance=[*np.geomspace(1, 0.02, 10), *[0.4] * 20], growth=1.0),
            watched(30, distance=[*np.geomspace(1, 0.02, 10), *[0.4] * 20], growth=[*np.linspace(0, 1, 14), *[1] * 16]),
        ),
        (  # nor is anything known of them before growth begins
            watched(30, GROWING, distance=[*np.geomspace(1, 0.02, 10), *[0.4] * 20], growth=1.0),
            watched(30, GROWING, distance=[*np.geomspace(1, 0.02, 10), *[0.4] * 20], growth=0.0),
        ),
        (
            logged(fid=THERE_AND_BACK),
            logged(fid=[90, NAN, 60, NAN, 40, 30, NAN, 25, 20, 18, 16, 15, 14]),
        ),
    ],
    "oscillation": [
        (logged(60, G_loss=WAVES), logged(60, G_loss=np.random.default_rng(0).normal(1, 0.6, 60).tolist())),
        (logged(60, G_loss=WAVES), logged(60, G_loss=[1 + (wave - 1) / 20 for wave in WAVES])),
        (logged(60, G_loss=WAVES), logged(60, G_loss=WAVES, fid=np.geomspace(90, 3, 60).tolist())),
        (logged(60, G_loss=WAVES), logged(60, G_loss=[*WAVES[:-1], INF])),
        (logged(60, G_loss=[*WAVES[:20], NAN, *WAVES[21:]]), logged(60, G_loss=NAN)),
        (  # the images of networks that grow cannot be compared yet
            watched(60, GROWING, G_loss=WAVES, distance=0.3, growth=1.0),
            watched(60, GROWING, G_loss=WAVES, distance=0.3, growth=np.linspace(0, 0.9, 60).tolist()),
        ),
        (logged(60, G_loss=WAVES), logged(60, G_loss=0)),
    ],
    "memory growth": [
        (watched(memory=list(np.linspace(500, 1500, 20))), watched(memory=list(np.linspace(500, 590, 20)))),
        (watched(memory=list(np.linspace(500, 1500, 20))), watched(memory=after(10, 500, 1500))),
        (watched(memory=list(np.linspace(500, 1500, 20))), watched(memory=[500 + 400 * (i % 2) for i in range(20)])),
        (watched(memory=list(np.linspace(500, 1500, 20))), watched(10, memory=list(np.linspace(500, 1500, 10)))),
        (watched(memory=list(np.linspace(500, 1500, 20))), watched(memory=[*np.geomspace(500, 1500, 5), *[1500] * 15])),
    ],
    "plateau": [
        (logged(fid=after(10, 90, 30, 30)), logged(fid=np.geomspace(90, 3, 30).tolist())),
        (logged(fid=after(10, 90, 30, 30)), logged(9, fid=30)),
        (logged(fid=after(10, 90, 30, 30)), logged(fid=0)),
        (watched(30, distance=0.5), watched(30, distance=0.05)),
        (watched(30, FALLING, distance=0.5, G_lr=1e-3), watched(30, FALLING, distance=0.5, G_lr=1.1e-3)),
    ],
    "slowing down": [
        (with_speed(after(15, 2.0, 0.5)), with_speed(after(15, 2.0, 1.3))),
        (with_speed(after(15, 2.0, 0.5)), with_speed(after(28, 2.0, 0.5, 30))),
        (with_speed(after(15, 2.0, 0.5)), with_speed([*after(22, 2.0, 0.5, 27), 2.0, 2.0, 2.0])),
        (with_speed(after(15, 2.0, 0.5)), with_speed(after(15, 2.0, 0.5), growth=1.0)),
    ],
    "too early to judge": [
        (watched(2), watched()),
        (watched(2), watched(3)),
        (watched(5, FALLING), watched(6, FALLING)),
        (watched(20, {"shown": 640}), watched(20, {"shown": 640_000})),
        (watched(19, **NOT_STEPPED), watched(19, **{**NOT_STEPPED, "wiring/G/losses": 1})),
        (watched(19, **NOT_STEPPED), watched(19, **{**NOT_STEPPED, "G_update": 1e-3})),
        (logged(2, D_loss=[1, 0.9]), logged(D_loss=[1, 0.9, 0.8])),
        (logged(2, fid=[9, 8]), logged(9, fid=[9, 8, 7, 6, 5])),
    ],
}  # fmt: skip
"""Condition -> pairs of a history in which it is detected, and one in which it nearly is."""

PAIRS = [(name, *pair) for name, pairs in EXAMPLES.items() for pair in pairs]
IDS = [f"{name}-{i}" for name, pairs in EXAMPLES.items() for i in range(len(pairs))]


@pytest.mark.parametrize(("name", "history"), [(name, present) for name, present, _ in PAIRS], ids=IDS)
def test_condition_is_detected(name: str, history: History) -> None:
    assert name in names(history)


@pytest.mark.parametrize(("name", "history"), [(name, near_miss) for name, _, near_miss in PAIRS], ids=IDS)
def test_near_miss_is_not_detected(name: str, history: History) -> None:
    assert name not in names(history)


def test_every_condition_has_examples() -> None:
    assert set(EXAMPLES) == {row.name for row in CONDITIONS}
    assert all(EXAMPLES.values())
    assert len(CONDITIONS) == len(EXAMPLES), "no name twice"


@pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: row.name)
def test_condition_has_a_summary_evidence_and_fixes(row: Any) -> None:
    assert row.summary.endswith(".")
    assert row.fixes
    assert row.detect.__doc__ or row.name.endswith("frozen")
    history = EXAMPLES[row.name][0][0]
    assert row.missing(history) == (), "where it is detected, nothing that it needs is missing"
    found = finding(history, row.name)
    assert "{" not in found.summary
    assert found.evidence
    assert all(words and not words.endswith(".") and "nan" not in words for words in found.evidence)
    assert found.since <= history.now


def test_healthy_training_has_no_findings() -> None:
    found = apply_rules(watched())
    assert found.findings == ()
    assert found.healthy
    assert found.unchecked == {}


def test_empty_history_is_too_early_to_judge() -> None:
    found = apply_rules(History("step"))
    assert [f.name for f in found.findings] == ["too early to judge"]
    assert set(found.unchecked) == {row.name for row in CONDITIONS if row.needs}
    assert {row.name for row in CONDITIONS if not row.needs} == {"too early to judge", "memory growth", "slowing down"}


# Wasserstein


@pytest.mark.parametrize(
    "columns",
    [
        {"D_loss": 1e-4}, {"D_loss": 500}, {"D_loss": -500}, {"G_loss": 1e-4}, {"G_loss": 500}, {"G_loss": -500},
        {"D_real": 5000, "D_fake": -5000}, {"D_loss": [5.0 * i for i in range(30)]},
    ],
    ids=str,
)  # fmt: skip
def test_level_of_a_critic_loss_gives_no_finding(columns: dict[str, Any]) -> None:
    uneven = {k: [v + 1e-3 * i for i in range(30)] if isinstance(v, float | int) else v for k, v in columns.items()}
    assert names(watched(30, CRITIC, **uneven)) == []
    others = {"D_loss": [1 + 1e-3 * i for i in range(30)], "G_loss": [1 + 1e-3 * i for i in range(30)]}
    assert names(logged(30, CRITIC, **{**others, **uneven})) == []


@pytest.mark.parametrize(
    "columns",
    [{"D_loss": 1e-4}, {"D_loss": list(np.geomspace(1, 500, 30))}, {"G_loss": list(np.geomspace(1, 500, 30))}],
    ids=str,
)
def test_same_level_of_another_loss_gives_a_finding(columns: dict[str, Any]) -> None:
    uneven = {k: v if isinstance(v, list) else [v + 1e-3 * v * i for i in range(30)] for k, v in columns.items()}
    assert names(logged(30, **uneven)) != []


# Order, time and evidence


def test_frozen_d_is_listed_above_the_collapse_it_causes() -> None:
    collapsed = {"diversity": 1e-3, "diversity_batch": 1e-3, "distance": FAR}
    found = names(watched(D_update=0, D_auc=0.5, **collapsed))
    assert found[0] == "D frozen"
    assert {"D too weak", "mode collapse"} <= set(found)
    assert found.index("D too weak") < found.index("mode collapse")


def test_failures_come_before_warnings_and_warnings_before_notes() -> None:
    found = apply_rules(
        watched(30, None, D_label_effect=1e-4, classes_imbalance=7, G_unchanged=0.5, distance=0.2)
    ).findings
    severities = [f.severity for f in found]
    assert [f.name for f in found] == ["labels ignored by D", "imbalanced classes", "layers frozen", "plateau"]
    assert severities == sorted(severities, key=["failure", "warning", "note"].index)


def test_non_finite_comes_first_and_nan_gives_no_other_finding() -> None:
    everything = {"D_loss": NAN, "G_loss": NAN, "D_real": NAN, "D_fake": NAN, "D_update": NAN, "G_update": NAN,
                  "real_low": NAN, "real_high": NAN, "checkerboard": NAN, "distance": NAN, "diversity": NAN,
                  "diversity_batch": NAN, "nearest_real": NAN, "D_overfit": NAN, "D_held_auc": NAN}  # fmt: skip
    assert names(watched(40, **{name: after(20, 0.8, NAN, 40) for name in everything}))[:1] == ["non-finite"]
    assert names(watched(**everything)) == ["non-finite"]


def test_a_loss_that_was_not_finite_once_is_a_warning_after_three_probes() -> None:
    soon, later = (finding(watched(**{"G/loss/bad": [0] * (19 - n) + [1] + [0] * n}), "non-finite") for n in (2, 3))
    assert (soon.severity, later.severity) == ("failure", "warning")
    assert later.summary == "Some numbers were not finite, and the training recovered."


def test_a_penalised_critic_is_not_told_to_add_a_penalty() -> None:
    growing: dict[str, Column] = {"D/input_gradient": list(np.geomspace(1, 60, 20))}
    alone, penalised = (
        finding(watched(20, CRITIC, **growing, **{"targets/penalised": of}), "critic unconstrained") for of in (0, 1)
    )
    assert "a gradient penalty (WGAN-GP)" in [fix.do for fix in alone.fixes]
    assert "in spite of its gradient penalty" in penalised.summary
    assert not any("WGAN-GP" in fix.do for fix in penalised.fixes)


def test_a_critic_whose_gradient_is_not_known_is_not_checked_for_it() -> None:
    known = watched(20, CRITIC, D_loss=[], G_loss=[])
    assert "critic without gradient" not in apply_rules(known).unchecked
    unknown = watched(20, CRITIC, D_loss=[], G_loss=[], D_auc=[], D_input_gradient=[])
    assert apply_rules(unknown).unchecked["critic without gradient"][0] == ("D/input_gradient", "D/loss")


@pytest.mark.parametrize(
    ("name", "history", "since", "evidence"),
    [
        ("D frozen", watched(D_update=0), 10, ["exactly 0 in each of 20 probes", "its gradient is 0.5"]),
        ("D frozen", logged(D_loss=after(7, 0.5, 0.250001, 30)), 80, ["exactly 0.25"]),
        ("non-finite", watched(D_loss=after(15, 1.2, NAN)), 160, ["D/loss is not finite in the last 5 of 20 values"]),
        ("non-finite", watched(**{"G/loss/bad": after(12, 0, 3)}), 130, ["G/loss was not finite"]),
        ("memorisation", watched(nearest_real=after(12, 1, 0.2)), 130, ["is 20 % of a held-out image's"]),
        ("range mismatch", watched(real_low=0), 10, ["[0, 1]", "tanh, which lies in [-1, 1]"]),
        ("normalisation mismatch", watched(real_high=2.5), 10, ["from -1 to 2.5", "cannot leave [-1, 1]"]),
        ("mode cycling", watched(diversity_batch=after(5, 0.9, 0.05)), 60, ["differ by 5 %", "several rounds by 90 %"]),
        ("D too strong", logged(D_loss=after(9, 0.9, 1e-3, 30)), 100, ["D's loss is 0.001", "1.39"]),
        ("batch-norm leak", watched(D_mixed_batch=1, D_batch_effect=0.9), 10, ["one batch", "by 0.9 standard"]),
        ("learning rate too high", watched(G_update=after(4, 5e-3, 0.2)), 50, ["change by 20 % an update", "0.05"]),
        ("missing modes", watched(real_missing=after(4, 0, 5)), 50, ["5 of 10 classes are never among the real"]),
        ("imbalanced classes", watched(classes_imbalance=7, classes_largest=0.7), 10, ["70 % of the images, 7 times"]),
        ("layers frozen", watched(G_unchanged=0.5), 10, ["50 % of G's weight tensors"]),
        ("labels ignored by D", watched(D_label_effect=after(4, 0.5, 1e-3)), 50, ["by 0.1 % of what another image"]),
        ("labels ignored by G", watched(labels_mismatch=0.9), 10, ["D receives 90 % of the fakes"]),
        ("quality regressing", logged(fid=[90, 50, 9, 9, 9, *[60] * 25]), 60, ["FID is 60, and was 9 at epoch 30"]),
        ("oscillation", logged(60, G_loss=WAVES), 210, ["period of about 80 epoch"]),
        ("plateau", logged(fid=after(10, 90, 30, 30)), 160, ["fid went from 30 to 30"]),
        ("critic unconstrained", watched(20, CRITIC, D_input_gradient=after(10, 1, 50)), 110, ["from 1 to 50"]),
        ("D overfits", watched(D_overfit=0.7, D_held_auc=after(8, 0.5, 0.8), distance=FAR), 90,
         ["in 80 % of pairs", "score 70 %"]),
    ],
)  # fmt: skip
def test_finding_has_the_numbers_and_since_when_it_holds(
    name: str, history: History, since: float, evidence: list[str]
) -> None:
    found = finding(history, name)
    assert found.since == since
    assert found.unit == history.unit
    for words in evidence:
        assert words in "; ".join(found.evidence)
    assert found.describe() == f"{found.summary} ({'; '.join(found.evidence)}; since {history.unit} {since:g})"


@pytest.mark.parametrize("name", [name for name, objective in OBJECTIVES.items() if not objective.critic])
def test_loss_at_chance_is_that_of_the_objective(name: str) -> None:
    config = plain_config(objective=name)
    level = min(float(OBJECTIVES[name].d_loss(x, x)) for x in torch.linspace(-2, 2, 41)[:, None])
    found = finding(logged(30, {"config": config}, D_loss=after(9, 0.9, 1e-3, 30)), "D too strong")
    assert f"(chance would be {level:.3g})" in found.evidence[0]


def test_finding_about_either_network_names_it() -> None:
    assert finding(watched(D_unchanged=0.5), "layers frozen").summary == "Some layers of D never change."
    assert finding(watched(G_unchanged=0.5), "layers frozen").about == "G"
    assert finding(watched(D_update=0.2), "learning rate too high").summary.startswith("D's learning rate")


def test_unchecked_conditions_name_the_missing_columns() -> None:
    unchecked = apply_rules(logged(D_loss=1.2, G_loss=[1 + i / 99 for i in range(30)])).unchecked
    assert unchecked["mode collapse"] == (("diversity/batch",),)
    assert unchecked["learning rate too low"] == (("G/update",), ("D/update",))
    assert unchecked["quality regressing"] == (QUALITY,)
    assert "D too strong" not in unchecked
    assert "D frozen" not in unchecked


# Fixes


FAILED = watched(D_auc=1, distance=FAR, D_loss=1e-3)
OVERFITS = watched(D_overfit=0.7, D_held_auc=0.8, distance=FAR)

LOOPS_ONLY = {"range mismatch", "normalisation mismatch", "batch-norm leak"}
"""Conditions that cannot occur in a run of Ganvas, which scales images to G's range and never mixes a batch."""

PLANTED: dict[str, dict[str, Any]] = {
    "D frozen": {"d_lr": 0.0},
    "G frozen": {"g_lr": 0.0},
    "D too strong": {"objective": "minimax", "label_smoothing": 0.0, "ada_target": 0.0},
    "critic unconstrained": {"objective": "wasserstein", "clip": 0.0, "gp": 0.0},
}
"""What a recipe must have for the condition to occur in it, where it does not as it is."""


def proposed(history: History, name: str, config: TrainConfig | None, classes: int | None = None) -> list[ProposedFix]:
    history.update_facts(config=config, classes=classes)
    return list(finding(history, name).fixes)


def all_fixes(config: TrainConfig) -> list[tuple[str, ProposedFix]]:
    facts = Facts(config=config, classes=10)
    abouts = ("", "D", "G")
    return [(row.name, fix) for row in CONDITIONS for about in abouts for fix in propose(row.fixes, facts, about)]


@pytest.mark.parametrize("name", RECIPES)
def test_every_fix_proposed_for_a_recipe_is_accepted_and_changes_it(name: str) -> None:
    config = RECIPES[name].config
    fixes = [fix for _, fix in all_fixes(config) if fix.changes]
    assert fixes
    for fix in fixes:
        changed = replace(config, **fix.changes)
        assert {field for field, _, _ in differences(config, changed)} == set(fix.changes)


@pytest.mark.parametrize("name", ["mlp", "r3gan"])
def test_flags_of_a_fix_are_those_of_the_command_line(name: str) -> None:
    config = RECIPES[name].config
    fixes = {fix.flags: fix.changes for _, fix in all_fixes(config) if fix.changes}
    style = (tyro.conf.AvoidSubcommands, tyro.conf.OmitArgPrefixes)
    for flags, changes in fixes.items():
        assert tyro.cli(TrainConfig, args=flags.split(), default=config, config=style) == replace(config, **changes)


@pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: row.name)
def test_every_condition_has_a_fix_where_it_can_occur(row: Any) -> None:
    assert propose(row.fixes, Facts()), "in words, for other training loops"
    if row.name not in LOOPS_ONLY and not row.own_loop:
        configs = [recipe.config for recipe in RECIPES.values()]
        if row.name == "critic unconstrained":
            configs = [config for config in configs if config.loss.critic]
        planted = [replace(config, **PLANTED.get(row.name, {})) for config in configs]
        assert any(propose(row.fixes, Facts(config=config, classes=10)) for config in planted)


def test_a_recipe_that_learns_on_a_cpu_is_named_first() -> None:
    (row,) = (row for row in CONDITIONS if row.name == "no improvement")
    (text,) = (fix.do for fix in row.fixes if "recipe" in fix.do)
    assert 0 < text.index("fast") < text.index("on a GPU") < text.index("r3gan")


def test_change_that_the_configuration_refuses_is_not_proposed() -> None:
    facts = Facts(config=RECIPES["msg"].config)
    assert accepted_changes(lambda knobs, about: {"augment": "ada"}, facts) == {}
    assert accepted_changes(lambda knobs, about: {"no_such_field": 1}, facts) == {}
    assert accepted_changes(lambda knobs, about: {"family": "resnet"}, facts) == {}
    assert accepted_changes(lambda knobs, about: {"noise": 0.1, "mirror": True}, facts) == {"noise": 0.1}


def test_fix_depends_on_the_present_configuration() -> None:
    saturating = proposed(FAILED, "D too strong", plain_config(objective="minimax"))
    assert saturating[0].flags == "--objective non-saturating"
    fixes = proposed(FAILED, "D too strong", plain_config())
    assert fixes[0].changes == {"objective": "rpgan", "r1": 1.0, "r2": 1.0}
    assert [fix.flags for fix in fixes[1:]] == ["--d-lr 0.0001", "--noise 0.1"]
    stronger = proposed(FAILED, "D too strong", plain_config(objective="rpgan", r1=1.0, r2="2..1:cosine@0-0.5"))
    assert stronger[0].changes == {"r1": 4.0, "r2": "8..4:cosine@0-0.5"}
    too_high = watched(G_update=0.2)
    assert proposed(too_high, "learning rate too high", plain_config())[0].flags == "--g-lr 2e-05"
    assert proposed(OVERFITS, "D overfits", RECIPES["mlp"].config)[0].flags == "--augment ada --ada-target 0.6"
    assert proposed(OVERFITS, "D overfits", RECIPES["cnn-stable"].config)[0].flags == "--augment diffaugment"
    assert proposed(OVERFITS, "D overfits", RECIPES["msg"].config)[0].flags == "--noise 0.1"
    fast = RECIPES["fast"].config
    assert proposed(OVERFITS, "D overfits", fast)[0].flags == "--augment diffaugment"
    assert proposed(OVERFITS, "D overfits", replace(fast, augment="diffaugment"))[0].flags == "--noise 0.1"
    pair = replace(RECIPES["custom"].config, g="mlp(g_norm='none')", d="projected", objective="hinge")
    pair = replace(pair, r1=0.0, r2=0.0)
    assert proposed(OVERFITS, "D overfits", pair)[0].flags == "--augment diffaugment", "as for the recipe fast"


def test_fix_that_is_in_force_is_not_proposed() -> None:
    config = plain_config(objective="non-saturating", augment="ada", ada_target=0.6, mirror=True, dropout=0.4)
    assert [fix.changes for fix in proposed(OVERFITS, "D overfits", config)] == [{"r1": 1.0, "r2": 1.0}]
    uneven = watched(classes_imbalance=7)
    assert proposed(uneven, "imbalanced classes", plain_config(balanced=True)) == [
        ProposedFix("more images of the rare classes")
    ]


def test_fixes_by_classes_are_proposed_only_for_data_with_classes() -> None:
    history = watched(real_missing=5)
    flags = {
        classes: [f.flags for f in proposed(history, "missing modes", plain_config(), classes)] for classes in (0, 9)
    }
    assert "--conditional" not in flags[0]
    assert {"--conditional", "--balanced"} <= set(flags[9])


def test_advice_is_the_first_fix() -> None:
    proposed(OVERFITS, "D overfits", RECIPES["mlp"].config)
    assert finding(OVERFITS, "D overfits").advice() == (
        "augment D's input (ADA, DiffAugment) (--augment ada --ada-target 0.6)"
    )
    assert finding(watched(D_label_effect=0), "labels ignored by D").advice() == "check the labels of the real images"


def test_every_condition_name_is_in_the_table() -> None:
    assert {row.name for row in CONDITIONS} == set(get_args(ConditionName))


def test_facts_are_json() -> None:
    config = plain_config()
    facts = Facts(config=config, critic=False, shown=640, non_finite=NonFinite(7, ("G/loss",)))
    assert json.loads(json.dumps(facts.to_json())) == {
        "config": json.loads(json.dumps(to_json(config))), "critic": False, "shown": 640,
        "non_finite": {"at": 7, "quantities": ["G/loss"]},
    }  # fmt: skip
    assert Facts().to_json() == {}


# Logs


def log(path: Path, rows: Sequence[Mapping[str, float]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_log_of_losses_only_lists_what_cannot_be_checked(tmp_path: Path) -> None:
    rows = [{"step": 100 * i, "d_loss": 1.2 - i / 99, "g_loss": 0.9 + i / 99} for i in range(30)]
    found = apply_rules(read(log(tmp_path / "log.jsonl", rows)))
    assert found.findings == ()
    assert {"mode collapse", "missing modes", "memorisation", "D overfits", "layers frozen"} <= set(found.unchecked)
    assert verdict(found) == BLIND
    text = plain(found)
    assert "Not in this log:" in text
    assert "a FID or a KID or an inception score would also show: " in text
    assert "memorisation" in text.partition("only ganvas.watch(G, D) around the training loop shows ")[2]
    assert "healthy" not in text


def test_strong_d_is_no_failure_while_the_fid_falls(tmp_path: Path) -> None:
    rows = [{"step": 100 * i, "d_loss": 0.01 + 1e-4 * i, "g_loss": 7 + i / 9, "fid": 200 * 0.9**i} for i in range(40)]
    assert not apply_rules(read(log(tmp_path / "falls.jsonl", rows))).findings
    stays = [row | {"fid": 200 + i % 3} for i, row in enumerate(rows)]
    found = apply_rules(read(log(tmp_path / "stays.jsonl", stays)))
    assert found.findings[0].name == "D too strong"
    assert "D's loss is 0.01" in plain(found)


def test_stats_of_ganvas_are_diagnosed_without_the_number_of_images(tmp_path: Path) -> None:
    rows = [{"nimg": 1000 * i, "D/loss": {"num": 9, "mean": 1.2, "std": 0.1 + i}, "D/auc": 0.8,
             "diversity/batch": 0.9} for i in range(20)]  # fmt: skip
    rows = [row | {"D/loss": {"num": 9, "mean": 1.2 + i / 99, "std": 0.1}} for i, row in enumerate(rows)]
    found = apply_rules(read(log(tmp_path / "stats.jsonl", rows)))  # type: ignore[arg-type]
    assert verdict(found) == "This training is healthy."


# Rendering


def plain(found: Diagnosis) -> str:
    return " ".join(str(found).split())


def test_plain_text_has_verdict_evidence_causes_and_fixes() -> None:
    history = watched(20, {"config": plain_config(d_lr=0.0)}, D_update=0)
    text = plain(apply_rules(history))
    assert text.startswith("This training has failed or is failing: D frozen. ✗ D is frozen: its weights do not change")
    assert "evidence the relative update of D's weights was exactly 0" in text
    assert "(since step 10)" in text
    assert "causes D's optimiser is never stepped" in text
    assert "fix a learning rate above 0, and no skipped updates --d-lr 0.0002" in text
    assert "\x1b" not in str(apply_rules(history))


def test_fixes_for_other_training_loops_name_no_knobs() -> None:
    text = str(apply_rules(watched(D_update=0)))
    assert "a learning rate above 0" in text
    assert "--d-lr" not in text
    assert "--d-lr" not in apply_rules(watched(D_update=0))._repr_html_()


BLIND = "These numbers show nothing wrong, but they say nothing about the images."

VERDICTS: list[tuple[Callable[[], History], str]] = [
    (watched, "This training is healthy, by 20 probes over 100,000 images."),
    (lambda: watched(classes_imbalance=7), "This training can continue, with a warning."),
    (lambda: watched(classes_imbalance=7, G_unchanged=0.5), "This training can continue, with 2 warnings."),
    (
        lambda: watched(classes_imbalance=7, D_label_effect=0),
        "This training has failed or is failing: labels ignored by D.",
    ),
    (lambda: watched(2), "Nothing is wrong so far, but it is too early to judge."),
    (
        lambda: logged(fid=after(10, 90, 30, 30)),
        "This training is healthy, as far as its losses and its measured quality show.",
    ),
    (lambda: logged(D_loss=[1.2 - i / 99 for i in range(30)]), BLIND),
]  # fmt: skip


@pytest.mark.parametrize(("make", "sentence"), VERDICTS, ids=[sentence for _, sentence in VERDICTS])
def test_verdict_is_one_sentence(make: Callable[[], History], sentence: str) -> None:
    found = apply_rules(make())
    assert verdict(found) == sentence
    assert plain(found).startswith(sentence)
    assert f"<b>{sentence}</b>" in found._repr_html_()


def test_html_is_escaped() -> None:
    history = watched(20, {"non_finite": NonFinite(3, ("<script>alert('D & G')</script>",))})
    history.update_facts(probe_errors={"outputs": "ValueError: <b>"})
    page = apply_rules(history)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "ValueError: &lt;b&gt;" in page
    assert "<b>✗ Numbers are no longer finite" in page
    opened = re.findall(r"<(\w+)", page)
    assert sorted(tag for tag in opened if tag != "br") == sorted(re.findall(r"</(\w+)", page))


def test_square_brackets_are_no_markup() -> None:
    history = watched(20, {"non_finite": NonFinite(3, ("[red]x[/red] [1/2]",))})
    assert "[red]x[/red] [1/2] stopped being finite" in plain(apply_rules(history))


def test_failed_probe_is_reported_with_its_error() -> None:
    found = apply_rules(watched(20, {"probe_errors": {"outputs": "RuntimeError: no such image"}}))
    assert "the outputs could not be measured: RuntimeError: no such image" in plain(found)
    failing = apply_rules(watched(20, {"probe_errors": {"outputs": "RuntimeError: no such image"}}, D_label_effect=0))
    assert "the outputs could not be measured: RuntimeError: no such image" in plain(failing)
    for part in ("held-out images", "labels"):
        one = apply_rules(watched(20, {"probe_errors": {part: "RuntimeError: no such image"}}))
        assert verdict(one).startswith(f"Nothing wrong was found, but the {part} could not be measured")


def test_a_rule_that_fails_leaves_no_healthy_training(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = NetworkProbe(cast(Subject, SimpleNamespace(networks={})), watched())
    with monkeypatch.context() as broken:
        broken.setattr("ganvas.diagnosis.probe.apply_rules", lambda _: 1 / 0)
        found = probe.diagnosis()
    assert verdict(found).startswith("Nothing wrong was found, but the conditions could not be checked: ZeroDivision")
    assert verdict(probe.diagnosis()).startswith("This training is healthy")


@pytest.mark.parametrize("history", [present for _, present, _ in PAIRS], ids=IDS)
def test_diagnosis_is_json(history: History) -> None:
    found = apply_rules(history)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert data["healthy"] == found.healthy
    assert [f["name"] for f in data["findings"]] == [f.name for f in found.findings]
    assert all(set(fix) == {"do", "changes", "flags"} for f in data["findings"] for fix in f["fixes"])
    assert data["probes"] == history.probes
    assert str(found)
    assert found._repr_html_()


def test_warnings_are_not_healthy_but_notes_are() -> None:
    assert [f.name for f in apply_rules(watched(D_label_effect=0, classes_imbalance=7)).failures] == [
        "labels ignored by D"
    ]
    assert not apply_rules(watched(classes_imbalance=7)).healthy
    assert apply_rules(watched(distance=0.2)).healthy
    assert names(watched(distance=0.2)) == ["plateau"]


# History


def test_fakes_of_a_g_that_was_hardly_updated_are_no_collapse() -> None:
    def of_a_run(updates: int) -> History:
        signals = {"diversity": 0.0147, "diversity/batch": 0.0147}
        lines = [{"nimg": 4000 * i, "G/updates": updates, "signals": signals} for i in (1, 2, 3)]
        return History.from_stats(lines, Facts())

    assert of_a_run(60)["G/steps"].value.tolist() == [60, 120, 180]
    assert "mode collapse" in names(of_a_run(60))
    assert "mode collapse" not in names(of_a_run(1))


def test_history_keeps_its_values_in_order() -> None:
    history = History("step")
    history.add(1, {"D/loss": 2, "G/loss": None})
    history.add(5, {"D/loss": 1})
    assert history["D/loss"].at.tolist() == [1, 5]
    assert history["D/loss"].last == 1
    assert not history["G/loss"]
    assert "G/loss" not in history
    assert history.now == 5
    assert History("step").now == 0


def test_condition_holds_since_its_last_interruption() -> None:
    series = logged(6, D_loss=[1, 0, 1, 0, 0, 0])["D/loss"]
    assert series.holds_since(series.value == 0) == 40
    assert series.holds_since(series.value == 0, 4) is None
    assert series.holds_since(series.value < 2, 6) == 10
    assert series.holds_since(series.value == 1, 1) is None


def test_series_has_medians_of_its_beginning_and_end() -> None:
    series = logged(6, D_loss=[9, 1, 2, 5, 100, 6])["D/loss"]
    assert series.early() == 2
    assert series.recent() == 6
    assert series.recent(1) == 6
    assert series.after(40).value.tolist() == [100, 6]
    assert logged(3, D_loss=[1, NAN, INF])["D/loss"].finite().value.tolist() == [1]
