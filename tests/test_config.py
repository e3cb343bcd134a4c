"""Knobs: JSON round trip, unknown names, bounds, excluded combinations, schedules."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganvas.config import Network, TrainConfig, conflicts, differences, from_json, leaves, replace, to_json
from ganvas.config.bounds import find_bound
from ganvas.config.custom import Custom
from ganvas.config.families import CNN, DCGAN, MLP, MSG, R3GAN, Projected, ResNet, StyleGAN, ViT
from ganvas.config.groups import ObjectiveName
from ganvas.config.knobs import Knobs
from ganvas.errors import GanvasError
from ganvas.game.objectives import OBJECTIVES
from ganvas.recipes import RECIPES, get_recipe
from ganvas.schedule import Schedule
from ganvas.training import distributed, start
from ganvas.training.announcement import notes_on_processes


@pytest.mark.parametrize("name", RECIPES)
def test_json_round_trip(name: str) -> None:
    config = get_recipe(name).config
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize("name", RECIPES)
def test_knob_names_are_unique_over_all_groups(name: str) -> None:
    names = [knob for knob, _ in leaves(get_recipe(name).config)]
    assert len(names) == len(set(names))


def test_unknown_key_is_an_error_that_suggests_a_similar_one() -> None:
    plain = to_json(TrainConfig())
    plain["optimisation"]["bacth"] = 3
    with pytest.raises(GanvasError, match="did you mean 'batch'"):
        from_json(TrainConfig, plain)
    with pytest.raises(GanvasError, match="'g_width' is not a knob with the mlp family"):
        replace(TrainConfig(), g_width=3)
    with pytest.raises(GanvasError, match="did you mean 'kimg'"):
        replace(TrainConfig(), kmig=3)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("optimisation", "batch"), "many"),
        (("optimisation", "batch"), True),
        (("dataset", "fit"), "squeeze"),
        (("network", "family"), "vae"),
        (("kimg",), None),
        (("network", "g_widths"), [8, "x"]),
        (("optimisation", "batch"), float("nan")),
        (("optimisation", "batch"), float("inf")),
        (("dataset", "channels"), True),
    ],
)
def test_wrong_type_is_an_error(path: tuple[str, ...], value: object) -> None:
    plain = inner = to_json(TrainConfig())
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(GanvasError, match=path[-1] if path[-1] != "family" else "vae"):
        from_json(TrainConfig, plain)


@pytest.mark.parametrize(
    "knobs",
    [
        {"kimg": 0},
        {"batch": -1},
        {"latent": 0},
        {"g_lr": -1e-3},
        {"d_lr": float("nan")},
        {"beta2": 1.0},
        {"beta1": 1.0},
        {"r1": "0.1..-1"},
        {"penalty_every": 0},
        {"resolution": "7"},
        {"resolution": "64by64"},
        {"max_bad": 2.0},
        {"snapshot_kimg": 0.0},
        {"g_widths": (8, 0)},
        {"ema_warmup": 1.5},
        {"skip_d_below": float("nan")},
        {"evaluate_every": -1.0},
        {"clip": float("inf")},
        {"keep_kimg": 0.0005},
        {"threads": 2000},
        {"seed": 2**63},
    ],
)
def test_values_out_of_bounds_are_refused(knobs: dict[str, object]) -> None:
    with pytest.raises(GanvasError):
        replace(TrainConfig(), **knobs)


@pytest.mark.parametrize("group", [name for name, value in vars(TrainConfig()).items() if is_dataclass(value)])
def test_each_group_of_knobs_is_one(group: str) -> None:
    with pytest.raises(GanvasError, match=f"{group} is None"):
        TrainConfig(**{group: None})  # type: ignore[arg-type]


def test_replace_finds_a_knob_in_any_group() -> None:
    config = replace(TrainConfig(network=CNN()), g_width=8, batch=16, data="x.zip")
    assert config.network == CNN(g_width=8)
    assert {name for name, *_ in differences(TrainConfig(network=CNN()), config)} == {"g_width", "batch", "data"}


def test_family_is_fixed_by_the_recipe_and_no_knob() -> None:
    with pytest.raises(GanvasError, match="'family' cannot be set"):
        replace(TrainConfig(), family="cnn")
    assert from_json(TrainConfig, to_json(TrainConfig(network=CNN(g_width=3)))).network == CNN(g_width=3)


def test_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(GanvasError, match="digits"):
        get_recipe("stylegan9")


NUMBERS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


@given(NUMBERS, NUMBERS, st.sampled_from(["linear", "cosine"]), st.integers(0, 2000))
def test_schedule_starts_and_ends_at_its_values_and_stays_between(a: float, b: float, shape: str, nimg: int) -> None:
    schedule = Schedule.parse(f"{a!r}..{b!r}:{shape}@0.25-0.75")
    assert schedule.at(0, 0.0) == schedule.at(250, 0.25) == a
    assert schedule.at(750, 0.75) == pytest.approx(b)
    assert schedule.at(500, 0.5) == pytest.approx((a + b) / 2)
    assert min(a, b) - 1e-9 * max(a, b) <= schedule.at(nimg, nimg / 1000) <= max(a, b) + 1e-9 * max(a, b)


def test_schedule_reaches_a_tiny_end_value_exactly() -> None:
    assert Schedule.parse("32769..1e-9:linear@0.25-0.75").at(750, 0.75) == 1e-9


def test_absolute_schedules_do_not_depend_on_the_length() -> None:
    schedule = Schedule.parse("1..0@2k-4k")
    assert schedule.at(3000, 0.6) == schedule.at(3000, 0.006) == 0.5
    assert not schedule.relative
    assert Schedule.parse("1..0@0-4k") == Schedule.parse("1..0@0k-4k")
    assert Schedule.parse("1..0@2-4k") == schedule
    assert Schedule.parse("1..0").relative


@pytest.mark.parametrize(
    "text", ["x", "nan", "inf", "1..2:foo", "1..2@1-0", "1..2@0.5k-1", "1..2@0.5-1k", "1:linear", "1..2@0-2", ""]
)
def test_invalid_schedules_are_refused(text: str) -> None:
    with pytest.raises(GanvasError, match="not a schedule"):
        Schedule.parse(text)


REFUSED: list[tuple[Network, dict[str, object], str]] = [
    (MLP(), {"batch": 1}, "normalises over the images of a batch"),
    (MLP(), {"freeze_d": 2}, "random layers would stay random"),
    (MLP(), {"batch": 8, "microbatch": 1}, "normalises over the images of a batch"),
    (ViT(), {"heads": 3}, "divisible by the number of heads"),
    (DCGAN(), {"r1": 1.0}, "reaches all images of the batch"),
    (DCGAN(), {"gp": "0..10"}, "reaches all images of the batch"),
    (DCGAN(), {"objective": "wasserstein", "dragan": 10}, "--d-norm none"),
    (Projected(), {"r1": 1.0}, "heads have batch norm"),
    (Projected(), {"microbatch": 1}, "Batch norm in the projected family with one image"),
    (DCGAN(g_norm="none"), {"batch": 1}, "a larger --batch or --microbatch, or --d-norm none."),
    (Custom(g="dcgan", d="cnn"), {"batch": 1}, "a larger --batch or --microbatch."),
    (CNN(), {"moments": 0.1}, "frozen feature network"),
    (CNN(), {"label_smoothing": 0.1, "objective": "hinge"}, "cross-entropy loss"),
    (CNN(), {"label_smoothing": 0.1, "objective": "rpgan"}, "cross-entropy loss"),
    (CNN(), {"augment": "ada", "ada_target": 0.6, "objective": "wasserstein"}, "sign of a logit"),
    (CNN(), {"augment": "ada", "ada_target": 0.6, "objective": "rpgan"}, "--augment-p 0..0.5 without"),
    (CNN(), {"ada_target": 0.6, "objective": "hinge"}, "can be adapted"),
    (MSG(), {"augment": "diffaugment"}, "at several sizes"),
    (StyleGAN(), {"spectral_norm": True}, "equalised"),
    (R3GAN(), {"spectral_norm": True}, "norm of 0"),
    (StyleGAN(), {"clip": 0.01}, "remove almost all"),
    (MSG(), {"clip": 0.01}, "remove almost all"),
    (ResNet(), {"batch": 1}, "normalises over the images of a batch"),
    (DCGAN(), {"batch": 1}, "normalises over the images of a batch"),
    (CNN(), {"spectral_norm": True, "clip": 0.01}, "one of the two"),
    (CNN(), {"skip_d_below": 0.1, "objective": "wasserstein"}, "G or D is stronger"),
    (CNN(), {"skip_d_below": 0.1, "loss_change": 1.0}, "a single rule"),
    (CNN(), {"microbatch": 8, "objective": "rahinge"}, "whole batch at once"),
    (MLP(), {"on_failure": "rollback", "watch": False}, "a diagnosed failure"),
    (CNN(), {"objective": "wgan"}, "rpgan"),
    (CNN(), {"dropout": 1.0}, "below 1"),
    (CNN(), {"noise": -0.1}, "0 or more"),
    (CNN(), {"augment_p": "0..1.5"}, "fraction"),
    (CNN(), {"d_steps": 0}, "from 1 to"),
    (CNN(), {"microbatch": 0}, "from 1 to"),
    (StyleGAN(), {"growth": "0..2"}, "fraction"),
]


@pytest.mark.parametrize(
    ("network", "knobs", "reason"), REFUSED, ids=lambda v: "-".join(v) if isinstance(v, dict) else ""
)
def test_knobs_that_exclude_each_other_are_refused_with_the_reason(
    network: Network, knobs: dict[str, object], reason: str
) -> None:
    with pytest.raises(GanvasError, match=re.escape(reason)):
        replace(TrainConfig(network=network), **knobs)


@pytest.mark.parametrize(
    ("network", "batch", "microbatch", "processes", "reason"),
    [
        (Projected(), 4, None, 4, "at least 8"),
        (Custom(g="dcgan", d="cnn"), 4, None, 4, "at least 8"),
        (DCGAN(g_norm="none"), 4, None, 4, "at least 8"),
        (Projected(), 33, 32, 1, "use --batch 32,"),
        (MLP(), 66, 8, 2, "use --batch 64,"),
    ],
)
def test_batch_norm_over_an_image_of_a_process_is_refused(
    network: Network, batch: int, microbatch: int | None, processes: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: processes)
    config = replace(TrainConfig(network=network), batch=batch, microbatch=microbatch)
    with pytest.raises(GanvasError, match=reason):
        start.plan(config)


def test_a_learning_rate_of_zero_gives_a_warning() -> None:
    config = replace(get_recipe("digits").config, g_lr=0, d_lr="0..0")
    assert config.warnings() == ["--g-lr is 0: G does not learn.", "--d-lr is 0: D does not learn."]
    assert not replace(config, g_lr="0..1e-3", d_lr="1e-3..0").warnings()


@pytest.mark.parametrize(("recipe", "fix"), [("cnn", "--ada-target 0.6 adapts"), ("cnn-stable", "--augment-p 0..0.5")])
def test_augmentation_that_g_would_learn_gives_a_warning(recipe: str, fix: str) -> None:
    config = replace(RECIPES[recipe].config, augment="ada")
    (warning,) = config.warnings()
    assert "--augment-p above 0.8" in warning
    assert fix in warning
    assert not replace(config, augment_p=0.5).warnings()
    assert not RECIPES["r3gan"].config.warnings()
    if config.loss.signed_logits:
        assert not replace(config, ada_target=0.6).warnings()


@pytest.mark.parametrize(("knobs", "flag"), [({"batch": 31}, "--batch 31"), ({"microbatch": 7}, "--microbatch 7")])
def test_incomplete_groups_of_the_minibatch_standard_deviation_give_a_warning(knobs: dict[str, int], flag: str) -> None:
    for network in (StyleGAN(), MSG(), Custom(g="cnn", d="stylegan")):
        (warning,) = replace(TrainConfig(network=network, kimg=1.0), **knobs).warnings()
        assert warning.startswith(f"{flag} is no multiple of 4: the minibatch standard deviation")
    assert not replace(TrainConfig(network=Custom(g="stylegan", d="cnn"), kimg=1.0), **knobs).warnings()
    assert not replace(TrainConfig(network=StyleGAN(), kimg=1.0), batch=32, microbatch=8).warnings()


def test_what_each_process_computes_by_itself_is_noted() -> None:
    config = replace(TrainConfig(network=StyleGAN()), batch=36, objective="rahinge")
    objective, group = notes_on_processes(config, 2)
    assert objective.startswith("the rahinge objective compares with the mean over 18 images")
    assert group.startswith("18 images on each process are no multiple of 4")
    assert not list(notes_on_processes(config, 1))
    assert not list(notes_on_processes(replace(config, batch=64, objective="hinge"), 2))
    (back,) = notes_on_processes(replace(config, batch=64, objective="hinge", on_failure="rollback"), 2)
    assert back.startswith("numbers that are not finite end the training")


@pytest.mark.parametrize(
    ("knobs", "effective"),
    [
        ({"beta1": 0.5, "optimiser": "rmsprop"}, {"optimiser": "adam"}),
        ({"augment_p": "0..0.5"}, {"augment": "ada"}),
        ({"ada_kimg": 100}, {"objective": "hinge", "augment": "ada", "ada_target": 0.6}),
        ({"penalty_every": 4}, {"r1": "0..1"}),
        ({"penalty_every": 4}, {"on_failure": "correct"}),
        ({"max_recoveries": 5}, {"on_failure": "rollback"}),
        ({"max_recoveries": 5, "on_failure": "stop"}, {"on_failure": "correct"}),
    ],
)
def test_knob_without_effect_gives_a_warning(knobs: dict[str, object], effective: dict[str, object]) -> None:
    config = replace(TrainConfig(network=CNN()), **knobs)
    (warning,) = config.warnings()
    assert warning.startswith(f"--{next(iter(knobs)).replace('_', '-')} has no effect with")
    assert not replace(config, **effective).warnings()


def test_likely_mistakes_give_warnings() -> None:
    config = TrainConfig(network=CNN())
    assert not config.warnings()
    unbounded = replace(config, objective="wasserstein")
    assert "diverge" in unbounded.warnings()[0]
    for bound in ({"gp": 10}, {"clip": 0.01}, {"spectral_norm": True}, {"r1": "0..1"}):
        assert not replace(unbounded, **bound).warnings()
    for family in (MLP, DCGAN, ResNet):
        assert "--microbatch images" in replace(TrainConfig(network=family()), microbatch=8).warnings()[0]
        assert not replace(TrainConfig(network=family(g_norm="none")), microbatch=8).warnings()[family is DCGAN :]


@pytest.mark.parametrize(
    ("g", "d", "count"),
    [
        ("dcgan", "mlp", 1),
        ("dcgan(g_norm='none')", "mlp", 0),
        ("mlp(g_norm='none')", "dcgan", 1),
        ("projected(g_width=8)", "mlp", 1),
        ("stylegan", "projected", 1),
        ("stylegan", "dcgan(d_norm='none')", 0),
        ("my.py:G", "my.py:D", 0),
    ],
)
def test_batch_norm_in_one_of_two_networks_gives_a_warning(g: str, d: str, count: int) -> None:
    warnings = replace(TrainConfig(network=Custom(g=g, d=d)), microbatch=8).warnings()
    assert sum("--microbatch images" in warning for warning in warnings) == count


def test_every_objective_has_an_implementation() -> None:
    assert list(OBJECTIVES) == list(get_args(ObjectiveName))


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_has_a_summary_a_source_and_a_cost(name: str) -> None:
    recipe = get_recipe(name)
    assert recipe.summary
    assert recipe.source
    assert recipe.cost


def groups() -> list[Any]:
    return [TrainConfig, *(field.type for field in fields(TrainConfig) if is_dataclass(field.type)), *get_args(Network)]


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.__name__)
def test_every_numeric_knob_has_a_bound(group: type) -> None:
    plain = get_type_hints(group)
    numeric = [field for field in fields(group) if {int, float} & set(flatten(plain[field.name]))]
    assert not [field.name for field in numeric if find_bound(field.type) is None]


def flatten(kind: Any) -> list[Any]:
    """The members of a union, the values of a Literal, or the type itself; of a tuple, that and its elements."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return [member for option in get_args(kind) for member in flatten(option)]
    return [kind, *get_args(kind)] if get_origin(kind) is tuple else [kind]


def test_scheduled_knobs_are_those_whose_type_is_a_schedule() -> None:
    assert set(TrainConfig(network=StyleGAN()).schedules()) == {
        *("g_lr", "d_lr", "beta2", "r1", "r2", "gp", "dragan", "noise", "augment_p", "moments", "ema", "growth")
    }


def test_every_conflict_can_occur() -> None:
    """Every reason in the source of `conflicts` is that of an error in REFUSED."""
    written = set()
    for path in Path(conflicts.__file__).parent.glob("*.py"):
        yielded = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Yield)]
        words = [word for call in yielded if isinstance(call, ast.Call) for word in call.keywords]
        written |= {w.value.value for w in words if w.arg == "expected" and isinstance(w.value, ast.Constant)}
    raised = set()
    for network, knobs, _ in REFUSED:
        with pytest.raises(GanvasError) as caught:
            replace(TrainConfig(network=network), **knobs)
        raised |= {line.removeprefix("Expected: ") for line in str(caught.value).splitlines()}
    assert len(written) == 18
    assert written <= raised


def test_knobs_name_every_field_with_its_type() -> None:
    expected: dict[str, set[Any]] = {}
    for group in groups():
        for name, kind in get_type_hints(group).items():
            if name != "family" and not is_dataclass(kind) and kind != Network:
                expected.setdefault(name, set()).update(flatten(kind))
    expected["data"].add(os.PathLike[str])
    expected["init_from"].add(os.PathLike[str])
    expected["resolution"] |= {int, tuple[int, int]}
    expected["objective"].add(object)
    expected["log_to"].add(list[str])
    for name in ("g", "d", "augment"):
        expected[name].add(Callable[..., Any])
    for name in ("g_widths", "d_widths"):
        expected[name].add(list[int])
    assert {name: set(flatten(kind)) for name, kind in get_type_hints(Knobs).items()} == expected


@pytest.mark.parametrize(
    ("knobs", "value"),
    [
        ({"data": Path("photos.zip")}, "photos.zip"),
        ({"resolution": 64}, "64"),
        ({"resolution": (48, 64)}, "48x64"),
        ({"g_widths": [8, 4]}, (8, 4)),
        ({"g_lr": "1e-3..0"}, "1e-3..0"),
        ({"kimg": 3}, 3.0),
        ({"batch": np.int64(8)}, 8),
        ({"d_widths": np.array([8, 4])}, (8, 4)),
    ],
)
def test_replace_takes_what_a_python_user_writes(knobs: dict[str, Any], value: object) -> None:
    changed = dict(leaves(replace(TrainConfig(), **knobs)))[next(iter(knobs))]
    assert changed == value
    assert type(changed) is type(value)


@pytest.mark.slow
def test_type_checker_accepts_a_right_call_and_rejects_a_misspelt_knob(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    path = tmp_path / "call.py"
    path.write_text(
        "import ganvas\nfrom pathlib import Path\n"
        "ganvas.train('cnn', data=Path('x'), resolution=64, g_lr='1e-3..0', kimg=1, blocks=3, channels=None)\n"
        "ganvas.train('cnn', bacth=8)\n"
        "ganvas.train('cnn', batch='many')\n"
    )
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    problems = [(problem["range"]["start"]["line"], problem["message"]) for problem in found["generalDiagnostics"]]
    assert [line for line, _ in problems] == [3, 4]
    assert 'No parameter named "bacth"' in problems[0][1]
