"""The lab's endpoints: a game is played, replayed, ended with its page; what is wrong is refused."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from serving import Reply, Served, serving

from ganvas.studio import lab, worker

KNOBS = {"batch": 16, "d_width": 8, "g_width": 8, "data": "grid"}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("runs")) as one:
        yield one


def post(studio: Served, name: str, body: Any, **more: str) -> Reply:
    more = more or {"token": studio.studio.token}
    return studio.get(f"/api/lab/{name}", "POST", json.dumps(body).encode(), **more)


def test_a_game_replays_and_its_process_is_that_of_the_next_one(studio: Served) -> None:
    first = post(studio, "begin", {"knobs": KNOBS}).json
    assert first["real"]
    body = {"game": first["game"], "knobs": KNOBS, "rounds": 20, "probed": 0}
    played = post(studio, "play", body).json
    assert played["round"] == 20
    assert played["diagnosis"]["checked"] > 20
    assert "real" not in played
    assert "real" in post(studio, "play", body | {"rounds": 0, "knobs": KNOBS | {"data": "line"}}).json
    again = post(studio, "begin", {"game": first["game"], "knobs": KNOBS}).json
    assert again == first
    assert post(studio, "play", body).json == played
    processes = children()
    assert len(processes) == 1
    assert post(studio, "end", {"game": first["game"]}).status == 200
    assert post(studio, "play", body).status == 404
    following = post(studio, "begin", {"knobs": KNOBS}).json
    assert following == first | {"game": following["game"]}
    assert children() == processes
    assert post(studio, "end", {"game": following["game"]}).status == 200


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "ganvas.studio.worker" in one.cmdline()]


def test_few_games_are_played_and_idle_ones_end(studio: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "MAX_GAMES", 1)
    first = post(studio, "begin", {"knobs": KNOBS}).json["game"]
    second = post(studio, "begin", {"knobs": KNOBS}).json["game"]
    assert len(studio.studio.games) == 1
    assert post(studio, "play", {"game": first}).status == 404
    processes = children()
    assert len(processes) == 1
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.0)
    post(studio, "play", {"game": second, "rounds": 0})
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert not alive
    monkeypatch.setattr(lab, "IDLE_SECONDS", -1.0)
    end = time.monotonic() + 15
    while len(studio.studio.games) and time.monotonic() < end:
        time.sleep(0.1)
    assert post(studio, "play", {"game": second}).status == 404


WRONG = (
    ("begin", {"knobs": []}), ("begin", {"knobs": {"batch": 10**9}}), ("begin", {"game": 3}),
    ("begin", {"knobs": {"objective": "evil.py:Loss"}}),
    ("play", {"game": ["x"]}), ("play", {"game": "x", "rounds": 10**6}),
    ("play", {"game": "x", "probed": -1}), ("play", {}), ("end", {}), ("end", []),
)  # fmt: skip


@pytest.mark.parametrize(("name", "body"), WRONG, ids=str)
def test_what_is_wrong_is_refused_without_a_process(studio: Served, name: str, body: Any) -> None:
    before = children()
    assert post(studio, name, body).status == 400
    assert set(children()) <= set(before)


@pytest.mark.parametrize("name", ["begin", "play", "end"])
def test_games_need_the_token_and_the_own_site(studio: Served, name: str) -> None:
    assert post(studio, name, {}, origin=f"http://{studio.host}").status == 401
    assert post(studio, name, {}, token=studio.studio.token, origin="http://evil.example").status == 403
    assert studio.get(f"/api/lab/{name}").status == 405


def test_the_knobs_are_described(studio: Served, tmp_path: Path) -> None:
    about = studio.get("/api/lab").json
    names = {knob["name"] for knob in about["knobs"]}
    assert {"objective", "d_lr", "seed"} <= names
    assert all(changes.keys() <= names for changes in about["presets"].values())
