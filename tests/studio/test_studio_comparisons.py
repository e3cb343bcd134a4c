"""Comparisons in the studio: one is started, listed with its trainings, stopped; what is wrong is refused."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asgi_client import Client, never_answer
from PIL import Image
from serving import Reply, Served, holding, line, make_run, serving
from starlette.applications import Starlette
from support import tiny

from ganvas.config import replace
from ganvas.errors import GanvasError
from ganvas.files import write_json
from ganvas.recipes import get_recipe
from ganvas.runs.lock import lock_comparison, lock_run
from ganvas.runs.log import append_json
from ganvas.studio import comparisons as endpoints
from ganvas.studio import stopping
from ganvas.studio.answers import Refusal
from ganvas.studio.comparison_progress import find_part, find_progress
from ganvas.studio.runs import make_card
from ganvas.training import start

PATIENCE = 60.0


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("runs")) as one:
        yield one


def post(studio: Served, name: str, body: Any) -> Reply:
    return studio.get(f"/api/{name}", "POST", json.dumps(body).encode(), token=studio.studio.token)


def comparisons(studio: Served) -> list[dict[str, Any]]:
    return studio.get("/api/comparisons").json["comparisons"]


def wait_for(studio: Served, ready: Any) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (found := comparisons(studio)) and ready(found[0]):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(comparisons(studio))


BODY = {"candidates": ["digits", "mlp"], "data": "digits", "kimg": "2000", "seeds": 1}


@pytest.mark.slow
def test_a_comparison_is_started_watched_and_stopped(studio: Served) -> None:
    job = post(studio, "compare", BODY).json
    assert job["kind"] == "compare"
    assert "ganvas compare digits mlp --data digits --kimg 2000 --seeds 1" in job["command"]
    again = post(studio, "compare", BODY)
    assert (again.status, "is running already" in again.json["error"]["what"]) == (409, True)
    running = wait_for(studio, lambda one: one["runs"] and one["runs"][0]["nimg"] > 0)
    assert (running["job"], running["folder"], running["report"]) == (job["id"], job["folder"], None)
    assert [run["name"] for run in running["runs"]] == ["digits-seed0"]
    assert len(comparisons(studio)) == 1
    post(studio, "stop", {"job": job["id"]})
    stopped = wait_for(studio, lambda one: one["job"] is None)
    assert stopped["runs"][0]["state"] == "unfinished"


def test_a_comparison_that_was_stopped_before_its_first_training_stays_listed(tmp_path: Path) -> None:
    folder = tmp_path / "comparisons" / "00000-a-vs-b"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    with serving(tmp_path) as studio:
        (found,) = comparisons(studio)
    assert (found["name"], found["runs"], found["job"], found["report"]) == (folder.name, [], None, None)
    assert found["changed"] == pytest.approx((folder / "plan.json").stat().st_mtime)


def test_a_finished_comparison_has_its_sentence_its_report_and_its_command(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    start.train(tiny(), out=folder / "runs", quiet=True)
    (folder / "plan.json").write_text("{}")
    (folder / "report.html").write_text("<p>")
    command = "ganvas compare cnn mlp --json"
    write_json(folder / "report.json", {"verdict": {"sentence": "cnn is better."}, "reproduce": {"command": command}})
    with serving(tmp_path) as studio:
        (found,) = comparisons(studio)
        assert (found["sentence"], found["command"], found["job"]) == ("cnn is better.", "ganvas compare cnn mlp", None)
        assert studio.get(found["report"]).status == 200
        for damaged in ("[]", '{"verdict": 3, "reproduce": []}', "{", '{"verdict": {"sentence": 1}}'):
            (folder / "report.json").write_text(damaged)
            (found,) = comparisons(studio)
            assert (found["sentence"], found["command"]) == (None, None)


def test_a_comparison_of_another_studio_is_running_and_a_second_one_is_not_started(tmp_path: Path) -> None:
    """From its beginning to its end, also while it trains nothing; not where one of its runs is resumed alone."""
    folder = tmp_path / "two"
    run = make_run(folder / "runs", "digits-seed0", lines=1)
    (folder / "plan.json").write_text("{}")
    with serving(tmp_path) as studio:
        with lock_run(run):
            (found,) = comparisons(studio)
            assert (found["job"], found["elsewhere"], found["progress"]) == (None, False, None)
        with lock_comparison(folder), lock_run(run):
            (found,) = comparisons(studio)
            assert (found["job"], found["elsewhere"], found["progress"]) == (None, True, None)
            reply = post(studio, "compare", BODY | {"data": "mnist"})
            assert (reply.status, reply.json["error"]["what"]) == (409, "The comparison two is running already.")
            command = f"ganvas compare {' '.join(WORDS)} --json"
            write_json(folder / "report.json", {"reproduce": {"command": command}})
            (found,) = comparisons(studio)
            assert (found["progress"]["trainings"], found["progress"]["name"]) == (4, "digits-seed0")
            write_json(folder / "report.json", {"reproduce": {"command": "ganvas compare 'digits --seeds"}})
            (found,) = comparisons(studio)
            assert (found["elsewhere"], found["progress"]) == (True, None)
        (found,) = comparisons(studio)
        assert (found["elsewhere"], found["progress"]) == (False, None)


def test_a_comparison_of_another_process_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "PAUSE", 0.05)
    folder = tmp_path / "two"
    make_run(folder / "runs", "digits-seed0", lines=1)
    (folder / "plan.json").write_text("{}")
    with serving(tmp_path) as studio:
        assert post(studio, "stop", {"comparison": "0/two"}).status == 409
        with holding(f"lock_comparison(Path({str(folder)!r}))") as end:
            (found,) = comparisons(studio)
            assert post(studio, "stop", {"comparison": found["folder"]}).json == {"stopping": True, "job": None}
            assert end() == "1\n"


WORDS = ["digits", "mlp", "--data", "digits", "--minutes", "2", "--seeds", "2"]


def progress_of(path: Path, cards: list[dict[str, Any]]) -> dict[str, Any]:
    return find_progress(["compare", *WORDS], path, cards)


def test_what_a_comparison_does_is_told_from_its_files(tmp_path: Path) -> None:
    found = progress_of(tmp_path, [])
    assert (found["stage"], found["trainings"], found["part"]) == ("reading", 4, 0)
    run = make_run(tmp_path / "runs", "digits-seed0", kimg=40)
    with lock_run(run):
        card = make_card("0/a", run)
        assert (progress_of(tmp_path, [card])["stage"], find_part(card)) == ("starting", 0)
        append_json(run / "stats.jsonl", line(10))
        card = make_card("0/a", run)
        found = progress_of(tmp_path, [card])
        assert (found["stage"], found["name"], found["number"], found["nimg"]) == (
            "training",
            "digits-seed0",
            1,
            10_000,
        )
        assert 5 <= found["seconds"] < 60
        assert 0.25 <= find_part(card) < 1
        assert found["part"] == pytest.approx(find_part(card) / 4, abs=0.05)
        os.utime(run / "stats.jsonl", (time.time() - 8, time.time() - 8))
        assert find_part(card) == pytest.approx((10_000 + 8 * 2000) / 40_000, abs=0.05), "between two lines it goes on"
        assert find_part(card | {"minutes": 0.5}) == pytest.approx(13 / 30, abs=0.05)
    found = progress_of(tmp_path, [card | {"state": "complete", "nimg": 40_000}])
    assert (found["stage"], found["number"], found["part"]) == ("measuring", 1, 0.25)


@pytest.fixture
def unlabelled(studio: Served) -> Iterator[Path]:
    """Pictures without classes."""
    folder = studio.studio.folders.paths[0] / "unlabelled"
    folder.mkdir(parents=True)
    for i in range(4):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 12, 3), np.uint8)).save(folder / f"{i}.png")
    yield folder
    shutil.rmtree(folder)


def test_recipes_that_do_not_fit_the_images_are_refused_in_the_words_of_their_training(
    studio: Served, unlabelled: Path
) -> None:
    found = post(studio, "compare/check", {"data": str(unlabelled)}).json
    assert (found["data"], set(found["recipes"])) == (None, {"digits28", "r3gan", "wgan-conditional"})
    with pytest.raises(GanvasError) as caught:
        start.plan(replace(get_recipe("r3gan").config, data=str(unlabelled)))
    assert found["recipes"]["r3gan"]["what"] == caught.value.what
    before = comparisons(studio)
    reply = post(studio, "compare", BODY | {"candidates": ["mlp", "r3gan"], "data": str(unlabelled)})
    assert (reply.status, reply.json["error"]["field"]) == (400, "candidates")
    assert reply.json["error"]["what"] == f"r3gan: {caught.value.what}"
    assert comparisons(studio) == before
    for wrong in ("/etc", "nothing-of-that-name", str(unlabelled / "0.png" / "x")):
        assert post(studio, "compare/check", {"data": wrong}).json["data"]["what"]
    assert post(studio, "compare/check", {"data": "mnist"}).json == {"data": None, "recipes": {}}


def test_a_check_whose_page_has_gone_is_cancelled(studio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = never_answer(studio.studio.inspector, monkeypatch)
    client = Client(Starlette(routes=endpoints.routes(studio.studio)))
    body = [json.dumps({"data": "digits"}).encode()]
    with pytest.raises(Refusal, match="has gone"):
        client.run(client.send("POST", "/api/compare/check", body, disconnect_after=0.05))
    client.run(asyncio.sleep(0))
    client.close()
    assert cancelled


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"candidates": ["digits"]}, "candidates"),
        ({"candidates": ["digits", "digits"]}, "candidates"),
        ({"candidates": "digits mlp"}, "candidates"),
        ({"candidates": ["digits", 3]}, None),
        ({"candidates": ["digits", "0/none"]}, "run"),
        ({"candidates": ["digits", "--out=/"]}, "run"),
        ({"data": "/etc"}, "data"),
        ({"kimg": ""}, "minutes"),
        ({"minutes": 3}, "minutes"),
        ({"kimg": "many"}, "kimg"),
        ({"kimg": -1}, None),
        ({"seeds": 0}, None),
        ({"seeds": 1e9}, None),
        ({"name": "../up"}, "name"),
    ],
    ids=str,
)
def test_wrong_comparisons_are_refused_and_leave_nothing(
    studio: Served, change: dict[str, Any], field: str | None
) -> None:
    before = comparisons(studio)
    reply = post(studio, "compare", BODY | change)
    assert reply.status in (400, 403, 404)
    assert reply.json["error"].get("field") == field
    assert comparisons(studio) == before


def test_without_the_token_nothing_is_started(studio: Served) -> None:
    assert studio.get("/api/compare", "POST", json.dumps(BODY).encode()).status == 401
