"""Who competes: recipes, varied or with knobs of their own, and runs, grouped whatever the seed; no two of one name."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from support import run_cli, tiny

from ganvas.comparison.candidates import (
    MAX_NAME_LENGTH,
    Candidate,
    parse_candidates,
    parse_set,
    parse_vary,
    slug,
    unique_slugs,
)
from ganvas.config import replace, to_json
from ganvas.errors import GanvasError
from ganvas.recipes import get_recipe
from ganvas.runs import folder
from ganvas.runs.snapshot import package_versions

DATA = {"name": "digits", "fingerprint": "f", "images": 1400, "shape": {}}


def run(name: str, data: dict[str, Any] = DATA, recipe: str = "mlp", **knobs: Any) -> str:
    """The folder of a run that was only begun."""
    return str(folder.create_run(Path("runs"), name, recipe, replace(tiny(), **knobs), data, package_versions()).path)


def names(*what: str, **more: Any) -> list[str]:
    return [candidate.name for candidate in parse_candidates(what, **more)]


def test_recipes_take_the_knobs_of_all_and_each_its_own() -> None:
    cnn, mlp = parse_candidates(["cnn:batch=32,g_width=8", "mlp", "mlp"], knobs={"data": "digits", "batch": 16})
    assert (cnn.name, cnn.recipe, mlp.name) == ("cnn", "cnn", "mlp")
    assert (cnn.config.optimisation.batch, mlp.config.optimisation.batch) == (32, 16)
    assert cnn.config.dataset.data == mlp.config.dataset.data == "digits"


def test_varied_knobs_are_multiplied() -> None:
    vary = parse_vary(["objective=non-saturating,rpgan", "--d-lr=1e-4,2e-4"])
    assert vary == [("objective", ["non-saturating", "rpgan"]), ("d_lr", [1e-4, 2e-4])]
    found = parse_candidates(["cnn", "mlp"], vary=vary)
    assert len(found) == 8
    assert found[1].name == "cnn objective=non-saturating d_lr=0.0002"
    assert found[6].config.loss.objective == "rpgan"
    assert found[6].config.optimisation.d_lr == found[0].config.optimisation.d_lr


def test_runs_of_one_configuration_are_one_entrant_whatever_the_seed() -> None:
    two = [run("a", seed=0), run("b", seed=1, tick_kimg=0.1)]
    others = [run("c", seed=0, batch=10), run("d", {**DATA, "fingerprint": "g"}), run("e", recipe="digits")]
    found = parse_candidates([*two, *others, two[0], f"{two[0]}/../a"])
    assert [[r.path.name for r in candidate.runs] for candidate in found] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert [candidate.name for candidate in found] == ["mlp batch=20", "mlp batch=10", "mlp batch=20 (2)", "digits"]


def test_a_run_and_the_recipe_it_came_from_have_names_of_their_own() -> None:
    one, other = names("mlp", run("a"))
    assert one != other
    assert one.startswith("mlp ")
    assert one.endswith(" more")
    assert names("mlp", "cnn", run("x", recipe="mlp (2)")) == ["mlp", "cnn", "mlp (2)"]


def test_folders_are_told_apart_too_and_any_file_system_takes_them() -> None:
    vary = [("data", ["a/b", "a b", "<script>$HOME</script>", "x" * 300])]
    told = unique_slugs(parse_candidates(["mlp"], vary=vary))
    assert list(told.values())[:2] == ["mlp-data=a-b", "mlp-data=a-b-2"]
    assert all(len(name) <= MAX_NAME_LENGTH for name in told.values())
    assert slug("<'>") == "unnamed"


@pytest.mark.parametrize(
    ("what", "told"),
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
def test_what_cannot_compete_is_refused(what: list[str], told: str) -> None:
    with pytest.raises(GanvasError, match=told):
        parse_candidates(what)


def test_knobs_that_say_nothing_are_refused() -> None:
    assert parse_set(["batch=32", "--g-lr=1e-3..0:cosine"]) == {"batch": 32, "g_lr": "1e-3..0:cosine"}
    for text in ("batch", "batch=", "=3"):
        with pytest.raises(GanvasError, match="--set batch=32"):
            parse_set([text])
    for text in ("d_lr", "d_lr=", "d_lr=,", "=1,2"):
        with pytest.raises(GanvasError, match="--vary objective"):
            parse_vary([text])
    with pytest.raises(GanvasError, match="only runs were named"):
        parse_candidates([run("a")], vary=[("batch", [1])])


def test_a_run_of_a_later_version_is_refused() -> None:
    card = Path(run("a")) / "config.json"
    card.write_text(card.read_text().replace('"format": 2', '"format": 99'))
    with pytest.raises(GanvasError, match="later version"):
        parse_candidates([str(card.parent), "mlp"])


def test_the_command_trains_the_same_again() -> None:
    knobs = {
        "data": "a b",
        "g_widths": (8, 16),
        "batch": 20,
        "mirror": True,
        "g_lr": "1e-3..1e-4:cosine",
        "watch": False,
    }
    made = Candidate("mine", "mlp", replace(get_recipe("mlp").config, **knobs))
    assert made.command.startswith("ganvas train mlp --data 'a b'")
    words = shlex.split(made.command)[3:]
    told = json.loads(run_cli("train", "mlp", *words, "--dry-run", "--data", "digits", "--json").stdout)["config"]
    assert told == json.loads(json.dumps(to_json(replace(made.config, data="digits"))))
