"""Knobs and commands of the studio: what a page shows, accepts and refuses is what the command line does."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from support import planned_config

from ganvas.config import DatasetConfig, LossConfig, TrainConfig, replace, to_json
from ganvas.config.families import MLP
from ganvas.devices import select_device
from ganvas.networks import Shape, build_generator
from ganvas.recipes import RECIPES, base_config, find_preset
from ganvas.runs import snapshot
from ganvas.runs.folder import Run, create_run
from ganvas.runs.snapshot import Card
from ganvas.studio import commands, knobs
from ganvas.studio.answers import Refusal


@pytest.fixture(autouse=True)
def _known_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch is imported here: no process has to be started that tells what it finds."""
    monkeypatch.setattr(commands.machine, "_kind", [select_device("auto").type])


def make_run(config: TrainConfig, recipe: str = "digits") -> Run:
    """A run without any training."""
    data = {
        "name": "digits", "fingerprint": "0", "images": 3, "class_names": [],
        "shape": {"channels": 1, "height": 8, "width": 8, "classes": 0},
    }  # fmt: skip
    return create_run(Path("runs"), None, recipe, config, data, {}, 1)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_knob_has_a_type_and_a_help(recipe: str) -> None:
    config = RECIPES[recipe].config
    found = knobs.knobs_of(config)
    assert set(found) == {name for name, _ in knobs_in(config)} - {"family"}
    for knob in found.values():
        assert knob.help, knob.name
        assert knob.type == "choice" or not knob.choices
        assert knob.flag == "--" + knob.name.replace("_", "-")
        assert knobs.parse(knob, "" if knob.default is None else to_words(knob.default)) == knob.default


def knobs_in(config: TrainConfig) -> list[tuple[str, Any]]:
    from ganvas.config import leaves

    return list(leaves(config))


def to_words(value: Any) -> str:
    """A value as it stands in an input of a page."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def test_kinds_of_knobs() -> None:
    found = knobs.knobs_of(RECIPES["digits"].config)
    kinds = {name: found[name].type for name in ("batch", "g_lr", "clip", "mirror", "augment", "g_widths", "data")}
    assert kinds == {
        "batch": "integer", "g_lr": "schedule", "clip": "number", "mirror": "bool", "augment": "choice",
        "g_widths": "list", "data": "text",
    }  # fmt: skip
    assert found["channels"].choices == (1, 3, 4)
    assert found["channels"].optional
    assert found["batch"].expected == "a whole number from 1 to 1,000,000,000"


def test_each_wrong_knob_is_named_with_the_message_of_the_command_line() -> None:
    body = {"recipe": "digits", "knobs": {"r1": "much", "batch": "0", "seed": "1.5", "nope": "3", "channels": "2"}}
    asked = commands.check(body)
    assert asked.config is None
    assert {error["field"]: error["what"] for error in asked.errors} == {
        "r1": "--r1: 'much' is not a schedule.", "batch": "--batch is 0.", "seed": "seed is 1.5.",
        "nope": "'nope' is not a knob with the mlp family.", "channels": "channels is '2'.",
    }  # fmt: skip


def test_knobs_that_exclude_each_other_are_checked_together() -> None:
    alone = commands.check({"recipe": "digits", "knobs": {"ada_target": "0.6"}})
    [error] = alone.errors
    assert error["field"] == "ada_target"
    assert error["fix"].startswith("--objective non-saturating")
    together = {"ada_target": "0.6", "objective": "hinge", "augment": "ada"}
    assert not commands.check({"recipe": "digits", "knobs": together}).errors
    lengths = commands.check({"recipe": "digits", "minutes": "2", "kimg": "5"})
    assert "two lengths" in lengths.errors[0]["what"]


def test_what_is_left_empty_is_as_in_the_recipe() -> None:
    asked = commands.check({"recipe": "digits", "kimg": "", "knobs": {"batch": "", "resolution": "", "mirror": False}})
    assert asked.config == RECIPES["digits"].config


@pytest.mark.parametrize("knob", ["g", "objective", "augment"])
def test_code_of_ones_own_is_not_started_from_a_page(knob: str) -> None:
    asked = commands.check({"recipe": "custom", "knobs": {knob: "subprocess:Popen(args='true')"}})
    [error] = asked.errors
    assert error["field"] == knob
    assert "terminal" in error["fix"]


@pytest.mark.parametrize("recipe", [None, 3, "nope", "../runs/x"])
def test_an_unknown_recipe_is_refused(recipe: Any) -> None:
    with pytest.raises(Refusal) as caught:
        commands.check({"recipe": recipe})
    assert caught.value.field == "recipe"


CHANGES: list[dict[str, Any]] = [
    {},
    {"minutes": 2.5, "mirror": True, "channels": 3, "resolution": "48x64"},
    {"kimg": 0.25, "g_widths": (7, 8, 9), "d_lr": "1e-3..1e-4:cosine@0k-20k", "preview": False},
    {"objective": "minimax", "skip_d_below": -0.5, "data": "a folder/with ; $(odd) 'names'", "max_bad": 1.0},
    {"data": "--json", "label_column": "-x", "watch": False, "plot": False, "threads": 3},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", CHANGES)
def test_the_command_of_a_run_gives_the_same_configuration(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(RECIPES["digits"].config, **changes)
    words = shlex.split(commands.command_of(make_run(config)))
    assert words[:3] == ["ganvas", "train", "digits"]
    assert to_json(planned_config(words[2:], monkeypatch)) == to_json(config)


def test_only_what_differs_is_in_the_command() -> None:
    run = make_run(replace(RECIPES["digits"].config, kimg=20, batch=32))
    assert commands.command_of(run) == "ganvas train digits --kimg 20 --batch 32"
    assert commands.differing_knobs(run) == {"kimg": 20, "batch": 32}


def test_a_run_without_a_recipe_gets_the_nearest_one_of_its_family() -> None:
    config = TrainConfig(
        kimg=1, dataset=DatasetConfig(data="mnist"), network=MLP(), loss=LossConfig(objective="non-saturating")
    )
    run = make_run(config, "config")
    assert commands.nearest_recipe(run) == "mlp"
    words = shlex.split(commands.command_of(run))
    assert "--batch" in words
    assert commands.check({"knobs": {"kimg": "2"}}, run).words[:2] == ["train", "mlp"]


def test_a_training_like_a_run_keeps_its_knobs() -> None:
    run = make_run(replace(RECIPES["digits"].config, kimg=20, batch=32))
    asked = commands.check({"knobs": {"batch": "16"}, "minutes": "3"}, run)
    assert asked.words == ["train", "digits", "--minutes", "3", "--batch", "16"]


def test_minutes_of_a_cpu_start_from_the_preset_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = find_preset("cnn-stable", 3.0)
    asked = commands.check({"recipe": "cnn-stable", "minutes": "3"})
    assert asked.config == replace(base_config("cnn-stable", 3.0, on_cpu=True), minutes=3.0)
    assert asked.words == ["train", "cnn-stable", "--minutes", "3"]
    own = RECIPES["cnn-stable"].config
    kept = commands.check({"recipe": "cnn-stable", "minutes": 3, "knobs": {"batch": own.optimisation.batch}})
    assert kept.words == ["train", "cnn-stable", "--minutes", "3", "--batch", str(own.optimisation.batch)]
    assert asked.config is not None
    run = make_run(asked.config, "cnn-stable")
    assert set(preset) <= {word[2:].replace("-", "_") for word in shlex.split(commands.command_of(run))}
    longer = commands.check({"kimg": "20"}, run)
    assert longer.config == replace(asked.config, kimg=20.0)
    assert planned_config(longer.words[1:], monkeypatch) == longer.config
    monkeypatch.setattr(commands.machine, "trains_on_cpu", lambda: False)
    assert commands.check({"recipe": "cnn-stable", "minutes": "3"}).config == replace(own, minutes=3.0)
    on_cpu = commands.check({"recipe": "cnn-stable", "minutes": "3", "knobs": {"device": "cpu"}})
    assert on_cpu.config == replace(asked.config, device="cpu")
    for wrong in ("soon", 10**400, -3, [3]):
        assert commands.check({"recipe": "cnn-stable", "minutes": wrong}).errors[0]["field"] == "minutes"


def test_the_preset_is_said_where_the_training_starts_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"recipe": "cnn-stable", "minutes": "3", "knobs": {"batch": "32"}}
    assert commands.check(asked).preset.startswith("For 3 minutes on a CPU, cnn-stable starts from --latent 64")
    assert commands.check(asked | {"minutes": "", "kimg": "3"}).preset == ""
    on_cpu = commands.check(asked | {"knobs": {"device": "cpu:0", "batch": "64"}})
    assert on_cpu.words[-4:] == ["--batch", "64", "--device", "cpu:0"]
    monkeypatch.setattr(commands.machine, "trains_on_cpu", lambda: False)
    assert commands.check(asked).preset == ""


@pytest.mark.slow
def test_a_training_from_another_one_has_the_base_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = make_run(RECIPES["cnn-stable"].config, "cnn-stable")
    narrow = make_run(base_config("cnn-stable", 3.0, on_cpu=True), "cnn-stable")
    for run in (wide, narrow):
        network, shape = run.config.network, Shape(1, 8, 8, 0)
        card = Card(network, shape, (), 1000, "ema", {"name": "digits", "fingerprint": "0"}, "cnn-stable", {})
        snapshot.save(run.path / "snapshots" / "000001", build_generator(network, shape), card)
        asked = commands.check({"recipe": "cnn-stable", "minutes": "3", "knobs": {"init_from": str(run.path)}})
        assert asked.config is not None
        assert asked.config.network == run.config.network
        assert planned_config(asked.words[1:], monkeypatch) == asked.config
    nowhere = {"recipe": "cnn-stable", "minutes": "3", "knobs": {"init_from": "nowhere"}}
    assert commands.check(nowhere).config is not None, "its training says that there is no such run"


def test_a_process_of_its_own_tells_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = commands.machine
    monkeypatch.setattr(machine, "_kind", [])
    assert machine.trains_on_cpu() == (select_device("auto").type == "cpu")
    assert machine._kind == [select_device("auto").type]
    monkeypatch.setattr(machine, "_kind", [])
    monkeypatch.setattr(machine, "_QUESTION", "raise SystemExit(1)")
    assert machine.trains_on_cpu()
    assert not machine._kind, "it is asked again"
