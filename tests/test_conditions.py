"""Every row of the table is seen where it should be and not where it nearly should be; and what is said of it."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trying import NARROW, tiny

from ganvas.config import leaves
from ganvas.diagnosis import tell
from ganvas.diagnosis.diagnosis import Diagnosis, diagnose
from ganvas.diagnosis.history import History
from ganvas.diagnosis.logs.reader import read
from ganvas.diagnosis.rules.conditions import Cure
from ganvas.diagnosis.rules.table import CONDITIONS

NAN, INF = float("nan"), float("inf")

Column = float | Sequence[float | None]


def watched(n: int = 20, facts: dict[str, Any] | None = None, /, **columns: Column) -> History:
    """A healthy training of n looks, ten steps apart, of which some columns (`D_loss` is D/loss) are otherwise."""
    healthy: dict[str, Column] = {
        "D/loss": 1.2, "G/loss": [0.9 + 0.01 * (i % 3) for i in range(n)], "D/real": 0.6, "D/fake": -0.6,
        "D/update": 5e-3, "G/update": 5e-3, "D/still": 0, "G/still": 0, "D/gradient": 0.5, "G/gradient": 0.1,
        "D/auc": 0.8, "D/held_auc": 0.5, "D/overfit": 0.02, "D/company": 0.5, "D/mixed": 0, "G/slope": 1,
        "D/labels": 0.5, "G/labels": 0.6, "labels/differ": 0, "real/low": -1, "real/high": 1, "real/missing": 0,
        "variety": 0.9, "variety/batch": 0.9, "twins": 0.9, "distance": list(np.geomspace(1, 0.05, n)),
        "precision": 0.8, "coverage": 0.8, "classes": 10, "classes/missing": 0, "classes/rarest": 0.7,
        "classes/uneven": 1.2, "classes/labelled": 1, "nearest": 1, "checkerboard": 0.01,
    }  # fmt: skip
    history = History("step", {"seen": 100_000, "g_ends_in": "tanh", **(facts or {})})
    healthy |= {name.replace("_", "/", 1): column for name, column in columns.items()}
    return filled(history, n, healthy)


def filled(history: History, n: int, columns: dict[str, Column]) -> History:
    for i in range(n):
        at = 10 * (i + 1)
        history.add(at, {k: v[i] if isinstance(v, Sequence) else v for k, v in columns.items() if not _over(v, i)})
    return history


def _over(column: Column, i: int) -> bool:
    return isinstance(column, Sequence) and i >= len(column)


def logged(n: int = 30, facts: dict[str, Any] | None = None, /, **columns: Column) -> History:
    """Only what a log tells: nothing but the columns."""
    names = {name.replace("_", "/", 1): column for name, column in columns.items()}
    return filled(History("epoch", dict(facts or {})), n, names)


def paced(speed: Sequence[float], **columns: Column) -> History:
    """A healthy training at so many kimg/s."""
    history = watched(len(speed), **columns)
    for at, value in zip(history["D/loss"].at, speed, strict=True):
        history.add(at, {"kimg_per_s": value})
    return history


def names(history: History) -> list[str]:
    return [finding.name for finding in diagnose(history).findings]


def finding(history: History, name: str) -> Any:
    return next(found for found in diagnose(history).findings if found.name == name)


def after(n: int, before: float, then: float, total: int = 20) -> list[float]:
    """`then` from the look n on."""
    return [before] * n + [then] * (total - n)


FAR = 0.9
"""A distance at which fakes are nothing like the reals."""

WAVES = [1 + 0.8 * float(np.sin(2 * np.pi * i / 8)) for i in range(60)]

THERE_AND_BACK = [*np.geomspace(90, 9, 15), *np.geomspace(9, 60, 15)]

CRITIC = {"critic": True}

SEEN: dict[str, list[tuple[History, History]]] = {
    "non-finite": [
        (watched(D_loss=after(15, 1.2, NAN)), watched(D_loss=after(15, 1.2, 9))),
        (watched(G_loss=after(15, 1, INF)), watched(G_loss=after(15, 1, 20))),
        (watched(**{"D/loss/bad": after(12, 0, 3)}), watched(**{"D/loss/bad": 0})),
        (watched(fake_std=after(19, 0.5, NAN)), watched(fake_std=0.5)),
        (watched(20, {"non_finite": {"at": 7, "quantities": ["G/loss"]}}), watched(20, {"non_finite": None})),
    ],
    "D frozen": [
        (watched(D_update=0), watched(D_update=[1e-3, *[0] * 19])),
        (watched(D_update=0), watched(D_update=1e-7)),
        (logged(D_loss=after(3, 0.5, 0.7, 30)), logged(D_loss=[*after(3, 0.5, 0.7, 29), 0.71])),
        (logged(D_loss=0.7), logged(4, D_loss=0.7)),
    ],
    "G frozen": [
        (watched(G_update=0), watched(G_update=[1e-3, *[0] * 19])),
        (logged(G_loss=0.7), logged(G_loss=[0.7 + 1e-6 * i for i in range(30)])),
    ],
    "range mismatch": [
        (watched(real_low=0), watched(real_low=-0.9)),
        (watched(real_high=255, real_low=0), watched(real_high=1)),
        (watched(20, {"g_ends_in": "sigmoid"}), watched(20, {"g_ends_in": "sigmoid"}, real_low=0)),
        (watched(real_low=0), watched(20, {"g_ends_in": "linear"}, real_low=0)),
    ],
    "normalisation mismatch": [
        (watched(real_high=2.5), watched(real_high=1.02)),
        (watched(real_low=-2.1), watched(20, {"g_ends_in": "linear"}, real_low=-2.1)),
        (watched(real_high=2.5), watched(real_high=NAN, real_low=NAN)),
    ],
    "batch-norm leak": [
        (watched(D_mixed=1, D_company=0.9), watched(D_mixed=1, D_company=0.05)),
        (watched(D_mixed=1, D_company=0.9), watched(D_mixed=0, D_company=0.9)),
    ],
    "critic unbounded": [
        (watched(20, CRITIC, G_slope=list(np.geomspace(1, 60, 20))), watched(20, CRITIC, G_slope=2)),
        (watched(20, CRITIC, G_slope=list(np.geomspace(1, 60, 20))), watched(G_slope=list(np.geomspace(1, 60, 20)))),
        (logged(30, CRITIC, D_loss=[-(2.0**i) for i in range(30)]), logged(30, CRITIC, D_loss=-20)),
    ],
    "learning rate too high": [
        (watched(G_update=0.2), watched(G_update=0.02)),
        (watched(D_update=0.2), watched(D_update=0.02)),
        (watched(G_update=after(2, 0.9, 1e-3), distance=FAR), watched(G_update=after(2, 0.9, 1e-3))),
        (watched(G_update=after(2, 0.9, 1e-3), G_gradient=0), watched(G_update=after(2, 0.03, 1e-3), G_gradient=0)),
    ],
    "divergence": [
        (watched(G_loss=list(np.geomspace(1, 400, 20))), watched(G_loss=list(np.geomspace(1, 15, 20)))),
        (watched(D_fake=list(np.geomspace(-1, -900, 20))), watched(D_fake=-20)),
        (watched(D_update=after(9, 5e-3, 0.9)), watched(D_update=after(9, 5e-3, 0.03))),
        (logged(D_loss=list(np.geomspace(1, 400, 30))), logged(30, CRITIC, D_loss=list(np.geomspace(1, 400, 30)))),
    ],
    "learning rate too low": [
        (watched(D_update=1e-7, G_update=1e-7, distance=FAR), watched(D_update=1e-7, G_update=1e-3, distance=FAR)),
        (watched(D_update=1e-7, G_update=1e-7, distance=FAR), watched(D_update=1e-7, G_update=1e-7)),
        (watched(D_update=1e-7, G_update=1e-7, distance=FAR), watched(D_update=0, G_update=0, distance=FAR)),
    ],
    "D learns nothing": [
        (watched(D_auc=0.5, distance=FAR), watched(D_auc=0.7, distance=FAR)),
        (watched(D_auc=0.5, distance=FAR), watched(D_auc=0.5)),
        (watched(D_auc=0.5, distance=FAR), watched(20, CRITIC, D_auc=0.5, distance=FAR)),
        (logged(G_loss=0.1, D_loss=np.linspace(1, 3, 30).tolist()), logged(G_loss=0.7, D_loss=1.4)),
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
        (watched(nearest=after(12, 1, 0.2)), watched(nearest=0.9)),
        (watched(nearest=after(12, 1, 0.2)), watched(nearest=after(19, 1, 0.2))),
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
        (watched(D_auc=1, distance=FAR, D_loss=1e-3), watched(D_auc=1, D_loss=1e-3)),
        (watched(D_auc=1, distance=FAR, D_loss=1e-3), watched(D_auc=0.9, distance=FAR, D_loss=1e-3)),
        (watched(D_auc=1, distance=FAR, D_loss=1e-3), watched(D_auc=1, distance=FAR, D_loss=0.9)),
        (logged(D_loss=after(9, 0.9, 1e-3, 30)), logged(D_loss=0.5)),
        (logged(D_loss=after(9, 0.9, 1e-3, 30)), logged(30, CRITIC, D_loss=1e-3)),
    ],
    "mode hopping": [
        (watched(variety_batch=0.01), watched(variety_batch=0.7)),
        (watched(variety_batch=0.01), watched(variety_batch=0.01, variety=0.01)),
    ],
    "mode collapse": [
        (watched(variety_batch=1e-3, variety=1e-3), watched(variety_batch=0.5, variety=0.5)),
        (
            watched(variety_batch=after(12, 0.9, 0.2), variety=after(12, 0.9, 0.2), classes_missing=8),
            watched(variety_batch=after(12, 0.9, 0.2), variety=after(12, 0.9, 0.2)),
        ),
        (
            watched(variety_batch=0.2, variety=0.2, classes_missing=8),
            watched(20, {"seen": 5000}, variety_batch=0.2, variety=0.2, classes_missing=8),
        ),
    ],
    "labels ignored by D": [(watched(D_labels=1e-4), watched(D_labels=0.1))],
    "labels ignored by G": [
        (watched(labels_differ=0.9), watched(labels_differ=0.05)),
        (watched(G_labels=0.01), watched(G_labels=0.4)),
        (watched(G_labels=0.01), watched(20, {"seen": 10_000}, G_labels=0.01)),
    ],
    "modes missing": [
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
    ],
    "imbalanced classes": [
        (watched(classes_uneven=7), watched(classes_uneven=1.5)),
        (watched(classes_uneven=7), watched(classes_uneven=7, classes_labelled=0)),
    ],
    "layers frozen": [
        (watched(D_still=0.5), watched(D_still=0.1)),
        (watched(G_still=0.5), watched(G_still=0.5, growth=1)),
        (watched(G_still=0.5), watched(G_still=after(2, 0.5, 0))),
    ],
    "quality regressing": [
        (logged(fid=THERE_AND_BACK), logged(fid=np.geomspace(90, 9, 30).tolist())),
        (
            watched(distance=[*np.geomspace(1, 0.1, 10), *np.geomspace(0.1, 0.9, 10)]),
            watched(distance=[*np.geomspace(1, 0.1, 10), *[0.11] * 10]),
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
        (logged(60, G_loss=WAVES), logged(60, G_loss=0)),
    ],
    "memory grows": [
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
    ],
    "slowing down": [
        (paced(after(15, 2.0, 0.5)), paced(after(15, 2.0, 1.3))),
        (paced(after(15, 2.0, 0.5)), paced(after(28, 2.0, 0.5, 30))),
        (paced(after(15, 2.0, 0.5)), paced([*after(22, 2.0, 0.5, 27), 2.0, 2.0, 2.0])),
        (paced(after(15, 2.0, 0.5)), paced(after(15, 2.0, 0.5), growth=1.0)),
    ],
    "too early to judge": [
        (watched(2), watched()),
        (watched(20, {"seen": 640}), watched(20, {"seen": 640_000})),
        (logged(2, D_loss=[1, 0.9]), logged(D_loss=[1, 0.9, 0.8])),
        (logged(2, fid=[9, 8]), logged(9, fid=[9, 8, 7, 6, 5])),
    ],
}  # fmt: skip
"""Condition -> pairs of a history in which it is seen, and one in which it nearly would be."""

PAIRS = [(name, *pair) for name, pairs in SEEN.items() for pair in pairs]
IDS = [f"{name}-{i}" for name, pairs in SEEN.items() for i in range(len(pairs))]


@pytest.mark.parametrize(("name", "history"), [(name, ill) for name, ill, _ in PAIRS], ids=IDS)
def test_a_condition_is_seen(name: str, history: History) -> None:
    assert name in names(history)


@pytest.mark.parametrize(("name", "history"), [(name, well) for name, _, well in PAIRS], ids=IDS)
def test_a_near_miss_is_not(name: str, history: History) -> None:
    assert name not in names(history)


def test_every_row_of_the_table_has_such_pairs() -> None:
    assert set(SEEN) == {row.name for row in CONDITIONS}
    assert all(SEEN.values())
    assert len(CONDITIONS) == len(SEEN), "no name twice"


@pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: row.name)
def test_a_row_says_what_to_do_in_sentences(row: Any) -> None:
    assert row.says.endswith(".")
    assert row.cures
    assert row.seen.__doc__ or row.name.endswith("frozen")
    history = SEEN[row.name][0][0]
    assert row.missing(history) == [], "what it needs is there when it is seen"
    found = finding(history, row.name)
    assert "{" not in found.says
    assert found.evidence
    assert all(words and not words.endswith(".") and "nan" not in words for words in found.evidence)
    assert found.since <= history.now


@pytest.mark.parametrize("row", CONDITIONS, ids=lambda row: row.name)
def test_the_knobs_of_a_cure_exist(row: Any) -> None:
    known = {name for network in NARROW.values() for name, _ in leaves(network)} | {name for name, _ in leaves(tiny())}
    for cure in row.cures:
        flags = {flag.replace("-", "_") for flag in re.findall(r"--([\w-]+)", cure.knobs)}
        assert flags <= known | {"d_norm", "d_width"}, cure


def test_a_healthy_training_has_nothing() -> None:
    found = diagnose(watched())
    assert found.findings == ()
    assert found.healthy
    assert found.unseen == {}


def test_nothing_at_all_is_too_early() -> None:
    found = diagnose(History("step"))
    assert [f.name for f in found.findings] == ["too early to judge"]
    assert set(found.unseen) == {row.name for row in CONDITIONS if row.needs}
    assert {row.name for row in CONDITIONS if not row.needs} == {"too early to judge", "memory grows", "slowing down"}


# Wasserstein


@pytest.mark.parametrize(
    "columns",
    [
        {"D_loss": 1e-4}, {"D_loss": 500}, {"D_loss": -500}, {"G_loss": 1e-4}, {"G_loss": 500}, {"G_loss": -500},
        {"D_real": 5000, "D_fake": -5000}, {"D_loss": [5.0 * i for i in range(30)]},
    ],
    ids=str,
)  # fmt: skip
def test_the_level_of_a_critics_loss_says_nothing(columns: dict[str, Any]) -> None:
    uneven = {k: [v + 1e-3 * i for i in range(30)] if isinstance(v, float | int) else v for k, v in columns.items()}
    assert names(watched(30, CRITIC, **uneven)) == []
    others = {"D_loss": [1 + 1e-3 * i for i in range(30)], "G_loss": [1 + 1e-3 * i for i in range(30)]}
    assert names(logged(30, CRITIC, **{**others, **uneven})) == []


@pytest.mark.parametrize("columns", [{"D_loss": 1e-4}, {"D_loss": 500}, {"G_loss": 500}], ids=str)
def test_the_same_levels_say_something_of_a_d(columns: dict[str, Any]) -> None:
    uneven = {k: [v + 1e-3 * v * i for i in range(30)] for k, v in columns.items()}
    assert names(logged(30, **uneven)) != []


# Order, time and evidence


def test_a_frozen_d_stands_above_the_collapse_it_causes() -> None:
    collapsed = {"variety": 1e-3, "variety_batch": 1e-3, "distance": FAR}
    found = names(watched(D_update=0, D_auc=0.5, **collapsed))
    assert found[0] == "D frozen"
    assert {"D learns nothing", "mode collapse"} <= set(found)
    assert found.index("D learns nothing") < found.index("mode collapse")


def test_failures_come_before_warnings_and_warnings_before_notes() -> None:
    found = diagnose(watched(30, None, D_labels=1e-4, classes_uneven=7, G_still=0.5, distance=0.2)).findings
    gravities = [f.gravity for f in found]
    assert [f.name for f in found] == ["labels ignored by D", "imbalanced classes", "layers frozen", "plateau"]
    assert gravities == sorted(gravities, key=["failure", "warning", "note"].index)


def test_non_finite_comes_first_and_nan_makes_no_other_fault() -> None:
    everything = {"D_loss": NAN, "G_loss": NAN, "D_real": NAN, "D_fake": NAN, "D_update": NAN, "G_update": NAN,
                  "real_low": NAN, "real_high": NAN, "checkerboard": NAN, "distance": NAN, "variety": NAN,
                  "variety_batch": NAN, "nearest": NAN, "D_overfit": NAN, "D_held_auc": NAN}  # fmt: skip
    assert names(watched(40, **{name: after(20, 0.8, NAN, 40) for name in everything}))[:1] == ["non-finite"]
    assert names(watched(**everything)) == ["non-finite"]


@pytest.mark.parametrize(
    ("name", "history", "since", "evidence"),
    [
        ("D frozen", watched(D_update=0), 10, ["exactly 0 in each of the 20 rounds", "its gradient is 0.5"]),
        ("D frozen", logged(D_loss=after(7, 0.5, 0.25, 30)), 80, ["exactly 0.25"]),
        ("non-finite", watched(D_loss=after(15, 1.2, NAN)), 160, ["D/loss is not finite in 5 of 20 values"]),
        ("non-finite", watched(**{"G/loss/bad": after(12, 0, 3)}), 130, ["G/loss was not finite"]),
        ("memorisation", watched(nearest=after(12, 1, 0.2)), 130, ["at 20 % of a held-out picture's distance"]),
        ("range mismatch", watched(real_low=0), 10, ["[0, 1]", "tanh, which lies in [-1, 1]"]),
        ("normalisation mismatch", watched(real_high=2.5), 10, ["from -1 to 2.5", "cannot leave [-1, 1]"]),
        ("mode hopping", watched(variety_batch=after(5, 0.9, 0.05)), 60, ["differ by 5 %", "several rounds by 90 %"]),
        ("D too strong", logged(D_loss=after(9, 0.9, 1e-3, 30)), 100, ["D's loss is 0.001", "1.39"]),
        ("batch-norm leak", watched(D_mixed=1, D_company=0.9), 10, ["one batch", "by 0.9 standard deviations"]),
        ("learning rate too high", watched(G_update=after(4, 5e-3, 0.2)), 50, ["change by 20 % a step", "0.05"]),
        ("modes missing", watched(real_missing=after(4, 0, 5)), 50, ["5 of 10 classes are never among the real"]),
        ("imbalanced classes", watched(classes_uneven=7, classes_largest=0.7), 10, ["70 % of the pictures, 7 times"]),
        ("layers frozen", watched(G_still=0.5), 10, ["50 % of G's weight tensors"]),
        ("labels ignored by D", watched(D_labels=after(4, 0.5, 1e-3)), 50, ["by 0.1 % of what another picture does"]),
        ("labels ignored by G", watched(labels_differ=0.9), 10, ["with 90 % of the fakes"]),
        ("quality regressing", logged(fid=[90, 50, 9, 9, 9, *[60] * 25]), 30, ["fid is 60, and was 9 at 30"]),
        ("oscillation", logged(60, G_loss=WAVES), 210, ["period of about 80 epoch"]),
        ("plateau", logged(fid=after(10, 90, 30, 30)), 160, ["fid went from 30 to 30"]),
        ("critic unbounded", watched(20, CRITIC, G_slope=after(10, 1, 50)), 110, ["from 1 to 50"]),
        ("D overfits", watched(D_overfit=0.7, D_held_auc=after(8, 0.5, 0.8), distance=FAR), 90,
         ["in 80 % of pairs", "lie 70 %"]),
    ],
)  # fmt: skip
def test_the_evidence_carries_the_numbers_and_since_when(
    name: str, history: History, since: float, evidence: list[str]
) -> None:
    found = finding(history, name)
    assert found.since == since
    assert found.unit == history.unit
    for words in evidence:
        assert words in "; ".join(found.evidence)
    assert found.told() == f"{found.says} ({'; '.join(found.evidence)}; since {history.unit} {since:g})"


def test_a_row_about_either_player_says_which() -> None:
    assert finding(watched(D_still=0.5), "layers frozen").says == "Some layers of D never move."
    assert finding(watched(G_still=0.5), "layers frozen").about == "G"
    assert finding(watched(D_update=0.2), "learning rate too high").says.startswith("D's learning rate")


def test_what_would_have_to_be_known_is_told() -> None:
    unseen = diagnose(logged(D_loss=1.2, G_loss=[1 + i / 99 for i in range(30)])).unseen
    assert unseen["mode collapse"] == ["variety/batch"]
    assert unseen["learning rate too low"] == ["G/update", "D/update"]
    assert unseen["quality regressing"] == ["distance or quality or fid or kid"]
    assert "D too strong" not in unseen
    assert "D frozen" not in unseen


# Cures


FAILED = watched(D_auc=1, distance=FAR, D_loss=1e-3)


def cures(history: History, name: str, **knobs: object) -> list[Cure]:
    history.facts["knobs"] = knobs
    return list(finding(history, name).cures)


def test_a_cure_that_is_taken_already_is_not_offered() -> None:
    name = "D too strong"
    assert cures(FAILED, name, objective="saturating")[0].knobs == "--objective non-saturating"
    assert cures(FAILED, name, objective="non-saturating")[0].knobs == "--objective rpgan --r1 1 --r2 1"
    assert cures(FAILED, name, objective="rpgan", r1=1.0, r2=2.0, noise=0.3)[0].knobs == "--objective non-saturating"
    assert [c.knobs for c in cures(FAILED, name, objective="rpgan", r1=1.0, r2=2.0, noise=0.3)[1:]] == [
        "--d-steps 1 --d-lr 1e-4"
    ]


def test_half_a_cure_is_offered_still() -> None:
    offered = cures(FAILED, "D too strong", objective="rpgan", r1=0.0, r2=0.0)
    assert "--objective rpgan --r1 1 --r2 1" in [cure.knobs for cure in offered]
    offered = cures(FAILED, "D too strong", d_steps=1, d_lr="2e-3..1e-4:cosine")
    assert "--d-steps 1 --d-lr 1e-4" in [cure.knobs for cure in offered]


def test_switches_and_kinds_that_are_on_are_not_offered() -> None:
    overfits = watched(D_overfit=0.7, D_held_auc=0.8, distance=FAR)
    assert cures(overfits, "D overfits", mirror=False, augment="diffaugment")[0].knobs.startswith("--augment ada")
    offered = [cure.knobs for cure in cures(overfits, "D overfits", mirror=True, augment="ada", ada_target=0.6)]
    assert offered == ["--objective rpgan --r1 1 --r2 1", "--dropout 0.3"]


def test_where_all_is_done_all_is_offered() -> None:
    uneven = watched(classes_uneven=7)
    assert cures(uneven, "imbalanced classes", balanced=True) == cures(uneven, "imbalanced classes", balanced=False)


def test_the_knobs_of_our_own_configurations_are_understood() -> None:
    offered = cures(FAILED, "D too strong", **dict(leaves(tiny(objective="non-saturating", r1=0.0, r2=0.0))))
    assert offered[0].knobs == "--objective rpgan --r1 1 --r2 1"


def test_advice_is_the_first_cure() -> None:
    assert finding(watched(D_overfit=0.7, D_held_auc=0.8, distance=FAR), "D overfits").advice() == (
        "augment what D sees (--augment ada --ada-target 0.6)"
    )
    assert (
        finding(watched(D_labels=0), "labels ignored by D").advice()
        == "check the labels that D is given beside the reals"
    )


# Logs


def log(path: Path, rows: Sequence[dict[str, float]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_log_with_only_losses_lists_what_cannot_be_seen(tmp_path: Path) -> None:
    rows = [{"step": 100 * i, "d_loss": 1.2 - i / 99, "g_loss": 0.9 + i / 99} for i in range(30)]
    found = diagnose(read(log(tmp_path / "log.jsonl", rows)))
    assert found.findings == ()
    assert {"mode collapse", "modes missing", "memorisation", "D overfits", "layers frozen"} <= set(found.unseen)
    assert tell.verdict(found) == BLIND
    text = plain(found)
    assert "Could not be looked for:" in text
    assert "memorisation: would need held-out pictures, and a training set of at most 2,000" in text
    assert "healthy" not in text


def test_a_d_that_always_wins_is_no_failure_while_the_fid_falls(tmp_path: Path) -> None:
    rows = [{"step": 100 * i, "d_loss": 0.01 + 1e-4 * i, "g_loss": 7 + i / 9, "fid": 200 * 0.9**i} for i in range(40)]
    assert not diagnose(read(log(tmp_path / "falls.jsonl", rows))).findings
    stays = [row | {"fid": 200 + i % 3} for i, row in enumerate(rows)]
    found = diagnose(read(log(tmp_path / "stays.jsonl", stays)))
    assert found.findings[0].name == "D too strong"
    assert "D's loss is 0.01" in plain(found)


def test_a_bare_log_of_ours_can_be_told_without_the_number_of_pictures(tmp_path: Path) -> None:
    rows = [{"nimg": 1000 * i, "D/loss": {"num": 9, "mean": 1.2, "std": 0.1 + i}, "D/auc": 0.8,
             "variety/batch": 0.9} for i in range(20)]  # fmt: skip
    rows = [row | {"D/loss": {"num": 9, "mean": 1.2 + i / 99, "std": 0.1}} for i, row in enumerate(rows)]
    found = diagnose(read(log(tmp_path / "stats.jsonl", rows)))  # type: ignore[arg-type]
    assert tell.verdict(found) == "This training is healthy."


# Rendering


def plain(found: Diagnosis) -> str:
    return " ".join(tell.plain(found).split())


def test_plain_text_has_verdict_evidence_causes_and_cures() -> None:
    history = watched(20, {"knobs": {}}, D_update=0)
    text = plain(diagnose(history))
    assert text.startswith("This training has failed, or will: D frozen. ✗ D is frozen: its weights do not move")
    assert "seen the relative update of D's weights was exactly 0" in text
    assert "(since step 10)" in text
    assert "why D's optimiser is never stepped" in text
    assert "try check that D's optimiser was given D.parameters()" in text
    assert "a learning rate above 0 --d-lr 2e-4" in text
    assert "\x1b" not in tell.plain(diagnose(history))


def test_to_other_peoples_loops_no_knobs_of_ours_are_named() -> None:
    text = str(diagnose(watched(D_update=0)))
    assert "a learning rate above 0" in text
    assert "--d-lr" not in text
    assert "--d-lr" not in diagnose(watched(D_update=0))._repr_html_()


BLIND = "Nothing wrong can be seen in these numbers; of the pictures they say nothing."

VERDICTS: list[tuple[Callable[[], History], str]] = [
    (watched, "This training is healthy, as far as 20 looks in 100,000 pictures tell."),
    (lambda: watched(classes_uneven=7), "This training goes on, with a warning."),
    (lambda: watched(classes_uneven=7, G_still=0.5), "This training goes on, with 2 warnings."),
    (lambda: watched(classes_uneven=7, D_labels=0), "This training has failed, or will: labels ignored by D."),
    (lambda: watched(2), "Nothing is wrong so far, but it is too early to judge."),
    (lambda: logged(fid=after(10, 90, 30, 30)), BLIND),
]  # fmt: skip


@pytest.mark.parametrize(("make", "verdict"), VERDICTS, ids=[verdict for _, verdict in VERDICTS])
def test_the_verdict_is_one_sentence(make: Callable[[], History], verdict: str) -> None:
    found = diagnose(make())
    assert tell.verdict(found) == verdict
    assert plain(found).startswith(verdict)
    assert f"<b>{verdict}</b>" in tell.html(found)


def test_html_escapes_what_it_tells() -> None:
    history = watched(20, {"non_finite": {"at": 3, "quantities": ["<script>alert('D & G')</script>"]}, "knobs": {}})
    history.facts["blind"] = {"outputs": "ValueError: <b>"}
    page = diagnose(history)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "ValueError: &lt;b&gt;" in page
    assert "<b>Numbers are no longer finite" in page
    opened = re.findall(r"<(\w+)", page)
    assert sorted(tag for tag in opened if tag != "br") == sorted(re.findall(r"</(\w+)", page))


def test_square_brackets_are_no_markup() -> None:
    history = watched(20, {"non_finite": {"at": 3, "quantities": ["[red]x[/red] [1/2]"]}})
    assert "[red]x[/red] [1/2] stopped being finite" in plain(diagnose(history))


def test_what_could_not_be_looked_at_is_told_with_its_reason() -> None:
    found = diagnose(watched(20, {"blind": {"outputs": "RuntimeError: no such picture"}}))
    assert "the outputs could not be looked at: RuntimeError: no such picture" in plain(found)


@pytest.mark.parametrize("history", [ill for _, ill, _ in PAIRS], ids=IDS)
def test_a_diagnosis_is_json(history: History) -> None:
    found = diagnose(history)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["healthy"] == found.healthy
    assert [f["name"] for f in told["findings"]] == [f.name for f in found.findings]
    assert all(set(cure) == {"do", "knobs"} for f in told["findings"] for cure in f["cures"])
    assert told["facts"]["looks"] == len(history["D/auc"])
    assert tell.plain(found)
    assert tell.html(found)


def test_findings_count_as_failures_and_notes_as_health() -> None:
    assert [f.name for f in diagnose(watched(D_labels=0, classes_uneven=7)).failures] == ["labels ignored by D"]
    assert not diagnose(watched(classes_uneven=7)).healthy
    assert diagnose(watched(distance=0.2)).healthy
    assert names(watched(distance=0.2)) == ["plateau"]


# History


def test_a_history_keeps_what_was_seen_in_order() -> None:
    history = History("step")
    history.add(1, {"D/loss": 2, "G/loss": None})
    history.add(5, {"D/loss": 1})
    assert history["D/loss"].at.tolist() == [1, 5]
    assert history["D/loss"].last == 1
    assert not history["G/loss"]
    assert "G/loss" not in history
    assert history.now == 5
    assert History("step").now == 0


def test_a_condition_holds_since_its_last_break() -> None:
    series = logged(6, D_loss=[1, 0, 1, 0, 0, 0])["D/loss"]
    assert series.holds(series.value == 0) == 40
    assert series.holds(series.value == 0, 4) is None
    assert series.holds(series.value < 2, 6) == 10
    assert series.holds(series.value == 1, 1) is None


def test_medians_of_the_beginning_and_the_end() -> None:
    series = logged(6, D_loss=[9, 1, 2, 5, 100, 6])["D/loss"]
    assert series.early() == 2
    assert series.recent() == 6
    assert series.recent(1) == 6
    assert series.after(40).value.tolist() == [100, 6]
    assert logged(3, D_loss=[1, NAN, INF])["D/loss"].finite().value.tolist() == [1]
