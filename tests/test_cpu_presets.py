"""The presets of recipes for minutes of a CPU: where they apply, what overrides them, what a user is told."""

import json
import shlex
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from support import planned_config, tiny

import ganvas
from ganvas import devices
from ganvas.comparison.candidates import parse_candidates
from ganvas.config import leaves, replace
from ganvas.recipes import RECIPES, base_config, describe_preset, differing_knobs, find_preset, suggest_preset
from ganvas.recipes.cpu import LONGEST_FOUND, PRESETS, RIGHT_AFTER, describe_time_needed
from ganvas.runs.folder import Run
from ganvas.training import start

CLASSIC = ("mlp", "cnn", "cnn-sigmoid", "transformer")
MINUTES = 3.0


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    select = devices.select_device
    monkeypatch.setattr(devices, "select_device", lambda name: select("cpu" if name == "auto" else name))


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose first device is a GPU."""
    select = devices.select_device
    monkeypatch.setattr(devices, "select_device", lambda name: torch.device("meta") if name == "auto" else select(name))


def test_a_classic_game_stays_exact_and_every_other_recipe_for_a_cpu_has_a_preset() -> None:
    assert not set(CLASSIC) & set(PRESETS)
    of_their_own = {"digits", "digits28", "fast", "r3gan", "custom"}
    assert set(PRESETS) == set(RECIPES) - of_their_own - set(CLASSIC)


@pytest.mark.parametrize("recipe", PRESETS)
def test_each_preset_is_a_valid_configuration_and_each_of_its_knobs_changes_something(recipe: str) -> None:
    longest = [preset.minutes for preset in PRESETS[recipe]]
    assert longest == sorted(set(longest))
    assert longest[-1] == inf, "for a run of any length"
    own = dict(leaves(RECIPES[recipe].config))
    for minutes, knobs in PRESETS[recipe]:
        config = base_config(recipe, minutes, on_cpu=True)
        assert {name for name, value in leaves(config) if own[name] != value} == set(knobs)


def test_a_preset_needs_minutes_of_a_cpu() -> None:
    own = RECIPES["cnn-stable"].config
    assert base_config("cnn-stable", on_cpu=True) == own
    assert base_config("cnn-stable", MINUTES, on_cpu=False) == own
    assert base_config("cnn-stable", MINUTES, on_cpu=True) != own
    assert not find_preset("cnn", MINUTES)
    assert not find_preset("cnn-stable", float("nan"))


def test_the_command_line_starts_from_it_and_any_knob_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    own = RECIPES["cnn-stable"].config
    preset = find_preset("cnn-stable", MINUTES)
    config = planned_config(["cnn-stable", "--minutes", "3"], monkeypatch)
    assert config == replace(base_config("cnn-stable", MINUTES, on_cpu=True), minutes=MINUTES)
    batch = own.optimisation.batch  # the recipe's own value counts as given too
    assert preset["batch"] != batch
    changed = planned_config(["cnn-stable", "--minutes=3", "--batch", str(batch)], monkeypatch)
    assert changed == replace(config, batch=batch)
    assert planned_config(["cnn-stable", "--kimg", "3"], monkeypatch) == replace(own, kimg=3.0)
    assert planned_config(["cnn-stable", "--minutes", "3", "--device", "cpu"], monkeypatch) == replace(
        config, device="cpu"
    )
    elsewhere = planned_config(["cnn-stable", "--minutes", "3", "--device", "cuda:7"], monkeypatch)
    assert elsewhere == replace(own, minutes=MINUTES, device="cuda:7")
    with pytest.raises(SystemExit):
        planned_config(["cnn-stable", "--minutes", "soon"], monkeypatch)


@pytest.mark.usefixtures("with_gpu")
def test_a_gpu_has_the_recipe_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(RECIPES["cnn-stable"].config, minutes=MINUTES)
    assert planned_config(["cnn-stable", "--minutes", "3"], monkeypatch) == own
    on_cpu = replace(base_config("cnn-stable", MINUTES, on_cpu=True), minutes=MINUTES, device="cpu")
    assert planned_config(["cnn-stable", "--minutes", "3", "--device", "cpu"], monkeypatch) == on_cpu


@pytest.mark.parametrize("recipe", PRESETS)
@pytest.mark.parametrize("gpu", [False, True])
def test_the_command_of_a_candidate_makes_the_same_configuration_on_any_machine(
    recipe: str, gpu: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    [candidate] = parse_candidates([f"{recipe}:seed=3"], minutes=MINUTES)
    assert candidate.config == replace(base_config(recipe, MINUTES, on_cpu=True), seed=3)
    config = replace(candidate.config, minutes=MINUTES)
    assert set(find_preset(recipe, MINUTES)) <= set(differing_knobs(recipe, config))
    if gpu:
        request.getfixturevalue("with_gpu")
    [again] = parse_candidates([recipe], knobs={"batch": 24})
    assert again.config == replace(RECIPES[recipe].config, batch=24), "the recipe's own length is in kimg"
    words = shlex.split(type(candidate)("x", recipe, config).command)
    assert planned_config([*words[2:], "--seed", "3"], monkeypatch) == config


def test_a_run_says_what_was_chosen_and_the_same_call_finds_it(capfd: pytest.CaptureFixture[str]) -> None:
    knobs: dict[str, Any] = {"data": "digits28", "minutes": 0.01, "g_width": 4, "d_width": 4, "preview": False}
    run = ganvas.train("cnn-stable", **knobs)
    printed = " ".join(capfd.readouterr().err.split())
    assert "Note: For 0.01 minutes on a CPU, cnn-stable starts from --latent 64" in printed
    assert "--batch 32" in printed
    assert "--g-width" not in printed.split("knobs that you give")[0], "it was given"
    assert run.config.optimisation.batch == find_preset("cnn-stable", 0.01)["batch"]
    assert ganvas.train("cnn-stable", **knobs).path == run.path
    assert json.loads((Run(run.path).path / "config.json").read_text())["config"]["optimisation"]["batch"] == 32


def test_what_is_said_of_a_preset() -> None:
    config = replace(base_config("cnn-stable", MINUTES, on_cpu=True), minutes=MINUTES)
    assert describe_preset("cnn-stable", config).startswith(
        "For 3 minutes on a CPU, cnn-stable starts from --latent 64"
    )
    assert describe_preset("cnn-stable", replace(RECIPES["cnn-stable"].config, minutes=MINUTES)) == ""
    assert describe_preset("cnn-stable", replace(config, kimg=10.0)) == ""
    assert describe_preset("config", config) == ""
    assert describe_preset("cnn-stable", replace(RECIPES["mlp"].config, minutes=MINUTES)) == ""


def test_recipes_that_need_longer_say_so() -> None:
    assert RIGHT_AFTER
    assert set(RIGHT_AFTER) <= set(PRESETS)
    for recipe, needed in RIGHT_AFTER.items():
        least = min(needed, LONGEST_FOUND)
        notes = {}
        for minutes in (least - 1, least, least + 1):
            config = replace(base_config(recipe, minutes, on_cpu=True), minutes=minutes)
            notes[minutes - least] = describe_preset(recipe, config)
        if needed == inf:
            assert notes[-1].endswith(f"faces did not look right within {LONGEST_FOUND:g} minutes.")
            assert notes[0].endswith(f"faces did not look right within {LONGEST_FOUND:g} minutes.")
            assert describe_time_needed(recipe) == "more than 30 minutes"
        else:
            assert notes[-1].endswith(f"faces looked right after {needed:g} minutes; this run has {needed - 1:g}.")
            assert "look" not in notes[0]
            assert describe_time_needed(recipe) == f"{needed:g} minutes"
        assert "look" not in notes[1]
    assert describe_time_needed("cnn") == ""


def test_a_longer_run_has_the_preset_of_its_length() -> None:
    short, long = PRESETS["dcgan"]
    assert find_preset("dcgan", 0.5) == find_preset("dcgan", short.minutes) == short.knobs != long.knobs
    assert find_preset("dcgan", short.minutes + 0.1) == find_preset("dcgan", 1e6) == long.knobs


def test_hours_are_said_to_allow_wider_networks() -> None:
    def note(recipe: str, minutes: float, **knobs: Any) -> str:
        return describe_preset(recipe, replace(base_config(recipe, minutes, on_cpu=True), minutes=minutes, **knobs))

    found = "These settings were found for runs of"
    assert note("dcgan", 1440).endswith(f"{found} 30 minutes; hours allow wider networks (--g-width, --d-width).")
    assert note("dcgan", 1440, g_width=64).endswith(f"{found} 30 minutes; hours allow wider networks (--d-width).")
    assert note("mlp-stable", 1440).endswith(f"{found} 10 minutes.")
    assert found not in note("dcgan", 60)


def test_a_new_run_by_kimg_on_a_cpu_says_that_there_is_a_preset(tmp_path: Path) -> None:
    config = replace(tiny(kimg=0.02), preview=False)
    note = "dcgan has settings for a CPU: --minutes 10 uses them."
    assert suggest_preset("dcgan", config) == note
    assert not suggest_preset("dcgan", replace(config, minutes=10))
    assert not suggest_preset("dcgan", replace(config, init_from="runs/other"))
    assert not suggest_preset("cnn", config)
    assert not suggest_preset("config", config)
    for kimg in (0.02, 0.04):  # the second resumes
        run = start.train(replace(tiny(kimg=kimg), g_lr=1e-3), recipe="dcgan", out=tmp_path, name="run", quiet=True)
    assert (run.path / "log.txt").read_text().count(note) == 1
    lines: list[str] = []
    start.plan(config, lines.append, recipe="dcgan")
    assert f"Note: {note}" in lines


def test_a_training_from_another_one_has_the_preset_only_with_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"data": "digits28", "kimg": 0.1, "batch": 10, "quiet": True, "preview": False, "plot": False}
    network = base_config("cnn-stable", MINUTES, on_cpu=True).network
    alike = ganvas.train("cnn-stable", name="alike", **small, latent=64, g_width=16, d_width=32)
    other = ganvas.train("cnn-stable", name="other", **small, g_width=4, d_width=4)
    assert alike.config.network == network
    preset = find_preset("cnn-stable", MINUTES)
    for words in (["cnn-stable"], []):
        config = planned_config([*words, "--from", str(alike.path), "--data", "digits", "--minutes", "3"], monkeypatch)
        assert config.network == network
        assert config.optimisation.g_lr == preset["g_lr"]
        config = planned_config([*words, "--from", str(other.path), "--data", "digits", "--minutes", "3"], monkeypatch)
        assert config.network == (RECIPES["cnn-stable"].config if words else other.config).network
        assert config.optimisation == RECIPES["cnn-stable"].config.optimisation


def test_varied_minutes_and_devices_have_their_own_base() -> None:
    own = RECIPES["cnn-stable"].config.optimisation.batch
    preset = find_preset("cnn-stable", MINUTES)["batch"]
    varied = parse_candidates(["cnn-stable"], vary={"device": ["cpu", "cuda"]}, minutes=MINUTES)
    assert [one.config.optimisation.batch for one in varied] == [preset, own]
    timed = parse_candidates(["cnn-stable"], vary={"minutes": [3, 10]})
    assert [one.config.optimisation.batch for one in timed] == [preset, find_preset("cnn-stable", 10.0)["batch"]]
    [elsewhere] = parse_candidates(["cnn-stable:device=auto"], minutes=MINUTES, auto="cuda")
    assert elsewhere.config.optimisation.batch == own
