"""Candidates: recipes, varied or with their own knobs, and runs, grouped whatever the seed; names are unique."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import run_cli, tiny

from ganvas.comparison.budget import parse_budget
from ganvas.comparison.candidates import (
    MAX_NAME_LENGTH,
    Candidate,
    list_differing_knobs,
    parse_candidates,
    parse_knobs,
    parse_vary,
    slug,
    unique_slugs,
)
from ganvas.comparison.comparison import compare
from ganvas.comparison.images import share_size
from ganvas.config import replace, to_json
from ganvas.errors import GanvasError
from ganvas.recipes import get_recipe
from ganvas.runs import folder
from ganvas.runs.snapshot import package_versions

SHAPE = {"channels": 1, "height": 8, "width": 8, "classes": 0}
DATA = {"name": "digits", "fingerprint": "f", "images": 1400, "shape": SHAPE, "class_names": []}


def create_run(name: str, data: dict[str, Any] = DATA, recipe: str = "mlp", **knobs: Any) -> str:
    """Creates a run, without training it, and returns its folder."""
    return str(folder.create_run(Path("runs"), name, recipe, replace(tiny(), **knobs), data, package_versions()).path)


def names(*candidates: str, **more: Any) -> list[str]:
    return [candidate.name for candidate in parse_candidates(candidates, **more)]


def test_recipes_take_the_shared_knobs_and_their_own() -> None:
    cnn, mlp = parse_candidates(["cnn:batch=32,g_width=8", "mlp", "mlp"], knobs={"data": "digits", "batch": 16})
    assert (cnn.name, cnn.recipe, mlp.name) == ("cnn", "cnn", "mlp")
    assert (cnn.config.optimisation.batch, mlp.config.optimisation.batch) == (32, 16)
    assert cnn.config.dataset.data == mlp.config.dataset.data == "digits"


def test_varied_knobs_give_all_combinations() -> None:
    vary = parse_vary(["objective=non-saturating,rpgan", "--d-lr=1e-4,2e-4"])
    assert vary == {"objective": ["non-saturating", "rpgan"], "d_lr": [1e-4, 2e-4]}
    assert parse_vary(["batch=8", "batch=16"]) == {"batch": [8, 16]}
    found = parse_candidates(["cnn", "mlp"], vary=vary)
    assert len(found) == 8
    assert found[1].name == "cnn objective=non-saturating d_lr=0.0002"
    assert found[6].config.loss.objective == "rpgan"
    assert found[6].config.optimisation.d_lr == found[0].config.optimisation.d_lr


def test_runs_of_one_configuration_are_one_candidate_whatever_the_seed() -> None:
    two = [create_run("a", seed=0), create_run("b", seed=1, tick_kimg=0.1)]
    others = [
        create_run("c", seed=0, batch=10),
        create_run("d", {**DATA, "fingerprint": "g"}),
        create_run("e", recipe="digits"),
    ]
    found = parse_candidates([*two, *others, two[0], f"{two[0]}/../a"])
    assert [[r.path.name for r in candidate.runs] for candidate in found] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert [candidate.name for candidate in found] == ["mlp batch=20", "mlp batch=10", "mlp batch=20 (2)", "digits"]


def test_runs_that_are_trained_in_another_way_are_candidates_of_their_own() -> None:
    knobs: dict[str, dict[str, Any]] = {
        "a": {}, "b": {"seed": 1, "precision": "bf16"}, "c": {"on_failure": "stop"}, "d": {"compile": "off"},
        "e": {"seed": 1, "threads": 1}, "f": {"seed": 1, "precision": "bf16", "on_failure": "correct"},
    }  # fmt: skip
    notes: list[str] = []
    found = parse_candidates([create_run(name, **own) for name, own in knobs.items()], note=notes.append)
    assert [[run.path.name for run in candidate.runs] for candidate in found] == [
        ["a", "e"],
        ["b"],
        ["c"],
        ["d"],
        ["f"],
    ]
    assert notes == []
    differing = {row["knob"]: list(row["values"].values()) for row in list_differing_knobs(found)}
    assert differing == {
        "on_failure": ["warn", "warn", "stop", "warn", "correct"],
        "precision": ["auto", "bf16", "auto", "auto", "bf16"],
        "compile": ["auto", "auto", "auto", "off", "auto"],
    }


def test_copies_of_a_run_count_once_with_a_note() -> None:
    create_run("a")
    shutil.copytree("runs/a", "runs/b")
    notes: list[str] = []
    (found,) = parse_candidates(["runs/a", "runs/b", "runs/a"], note=notes.append)
    assert [str(run) for run in found.runs] == ["runs/a"]
    assert [note.split()[1] for note in notes] == ["runs/b", "runs/a"]
    with pytest.raises(GanvasError, match="runs/a and runs/b are one candidate"):
        compare(["runs/a", "runs/b"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"candidates": "mlp"}, "mlp alone"),
        ({"knobs": "batch=32"}, "knobs is 'batch=32'"),
        ({"vary": {"d_lr": 1e-4}}, "vary is {'d_lr': 0.0001}"),
        ({"vary": {"batch": [8, 8]}}, "--vary batch names 8 twice"),
        ({"knobs": {"batch": 8}, "vary": {"batch": [8, 16]}}, "--vary varies batch, which is also set, to 8"),
        ({"data": "digits", "vary": {"data": ["mnist", "digits"]}}, "--vary varies data, which is also set, to digits"),
        ({"candidates": ["cnn:batch=4"], "vary": {"batch": [8, 16]}}, "--vary varies batch, which is also set, to 4"),
        ({"kimg": 1, "knobs": {"kimg": 2}}, "the budget of 1 kimg decides it"),
        ({"kimg": 1, "vary": {"kimg": [1, 2]}}, "the budget of 1 kimg decides it"),
        ({"candidates": ["mlp:kimg=3", "cnn"], "minutes": 1}, "the budget of 1 minute decides it"),
        ({"knobs": {"seed": 2}}, "--seeds decides it"),
        ({"data": "digits", "knobs": {"data": "mnist"}}, "--data and the knob data"),
        ({"candidates": [3]}, "A candidate is 3"),
    ],
)
def test_options_that_contradict_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(GanvasError, match=re.escape(words)):
        compare(**{"candidates": ["mlp", "cnn"], "quiet": True, **options})
    assert not Path("comparisons").exists()


def test_run_and_its_recipe_have_different_names() -> None:
    one, other = names("mlp", create_run("a"))
    assert one != other
    assert one.startswith("mlp ")
    assert one.endswith(" more")
    assert names("mlp", "cnn", create_run("x", recipe="mlp (2)")) == ["mlp", "cnn", "mlp (2)"]


def test_folder_names_are_unique_and_valid_on_any_file_system() -> None:
    vary = {"data": ["a/b", "a b", "<script>$HOME</script>", "x" * 300]}
    slugs = unique_slugs(parse_candidates(["mlp"], vary=vary))
    assert list(slugs.values())[:2] == ["mlp-data=a-b", "mlp-data=a-b-2"]
    assert all(len(name) <= MAX_NAME_LENGTH for name in slugs.values())
    assert slug("<'>") == "unnamed"


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ([], "Nothing was named"),
        (["cnnn"], "cnn"),
        (["x" * 5000], "recipe"),
        (["cnn:batch"], "'batch' does not set a knob"),
        (["cnn:batchh=3"], "batchh"),
        (["."], "not a run folder"),
        (["cnn:objective=nonsense"], "nonsense"),
        (["cnn:batch=-3"], "batch"),
    ],
)
def test_invalid_candidates_are_refused(candidates: list[str], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        parse_candidates(candidates)


def test_knobs_without_a_name_or_a_value_are_refused() -> None:
    assert parse_knobs(["batch=32", "--g-lr=1e-3..0:cosine"]) == {"batch": 32, "g_lr": "1e-3..0:cosine"}
    for text in ("batch", "batch=", "=3"):
        with pytest.raises(GanvasError, match="--knobs batch=32"):
            parse_knobs([text])
    for text in ("d_lr", "d_lr=", "d_lr=,", "=1,2"):
        with pytest.raises(GanvasError, match="--vary objective"):
            parse_vary([text])
    with pytest.raises(GanvasError, match="only runs were named"):
        parse_candidates([create_run("a")], vary={"batch": [1]})


@pytest.mark.parametrize(
    ("candidates", "kimg", "sizes", "said"),
    [
        (["fast", "dcgan"], None, [(64, 64), (64, 64)], "fast would have 85x64"),
        (["fast", "cnn"], None, [None, None], ""),  # both choose 85x64 by themselves
        (["fast", "cnn", "mlp"], 1.0, [(85, 64)] * 3, "cnn would have 120x90 and mlp would have 120x90"),
        (["cnn", "mlp"], 1.0, [None, None], ""),
        (["fast:resolution=48", "dcgan"], None, [(48, 48)] * 2, "dcgan would have 64x64"),
        (["dcgan:resolution=64", "dcgan:resolution=48", "fast"], None, [(64, 64), (48, 48), None], "not be ranked"),
    ],
)
def test_candidates_on_the_same_images_share_a_size(
    candidates: list[str],
    kimg: float | None,
    sizes: list[tuple[int, int] | None],
    said: str,
    write_images: Callable[..., Path],
) -> None:
    limit = parse_budget(kimg, None if kimg else 10, None)
    found = parse_candidates(candidates, knobs={"data": str(write_images(4, 120, 90))}, minutes=None if kimg else 10)
    notes: list[str] = []
    shared = share_size(found, limit, "cpu", notes.append)
    assert [one.config.dataset.options().size() for one in shared] == sizes
    assert len(notes) == bool(said)
    assert said in " ".join(notes)


def test_candidates_take_the_size_of_a_run_on_their_images(write_images: Callable[..., Path]) -> None:
    data = str(write_images(4, 120, 90))
    shape = {"channels": 3, "height": 85, "width": 64, "classes": 0}
    run = folder.create_run(Path("runs"), "a", "mlp", tiny(data), {**DATA, "shape": shape}, package_versions())
    notes: list[str] = []
    dcgan, other, mlp = share_size(
        parse_candidates(["dcgan", "fast:data=digits", str(run.path)], knobs={"data": data}), None, "cpu", notes.append
    )
    assert (dcgan.config.dataset.resolution, other.config.dataset.resolution) == ("85x64", None)
    assert mlp.config.dataset.resolution is None
    assert len(notes) == 1
    assert not share_size([dcgan], None, "cpu", notes.append)[0].sized


def test_run_of_a_later_version_is_refused() -> None:
    config_file = Path(create_run("a")) / "config.json"
    config_file.write_text(config_file.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(GanvasError, match="later version"):
        parse_candidates([str(config_file.parent), "mlp"])


def test_command_of_a_candidate_gives_the_same_configuration() -> None:
    knobs = {
        "data": "a b",
        "g_widths": (8, 16),
        "batch": 20,
        "mirror": True,
        "g_lr": "1e-3..1e-4:cosine",
        "watch": False,
    }
    candidate = Candidate("mine", "mlp", replace(get_recipe("mlp").config, **knobs))
    assert candidate.command.startswith("ganvas train mlp --data 'a b'")
    words = shlex.split(candidate.command)[3:]
    config = json.loads(run_cli("train", "mlp", *words, "--dry-run", "--data", "digits", "--json").stdout)["config"]
    assert config == json.loads(json.dumps(to_json(replace(candidate.config, data="digits"))))
