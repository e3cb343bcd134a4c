"""Style on the server: knobs, the command, a transfer whose pictures are shown and can be kept, stop, refusals."""

import io
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import Reply, Served, serving
from support import call_cli

from ganvas.errors import GanvasError
from ganvas.studio import style_work, styling
from ganvas.style.scales import OVERHEAD

SMALL = {"size": 24, "min_scale": 16, "iterations": 2}
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("painted") / "runs") as one:
        yield one


def post(served: Served, name: str, body: Any) -> Reply:
    return served.get(f"/api{name}", "POST", json.dumps(body).encode(), token=served.studio.token)


def send(served: Served, name: str, content: bytes | None = None) -> str:
    """Sends a picture; the id of its upload."""
    if content is None:
        buffer = io.BytesIO()
        seed = sum(name.encode())
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 52, 3), np.uint8)).save(buffer, "PNG")
        content = buffer.getvalue()
    begun = post(served, "/uploads", {"names": [name], "bytes": len(content)}).json["upload"]
    served.get(f"/api/uploads/{begun}/file?name={name}", "PUT", content, token=served.studio.token)
    post(served, f"/uploads/{begun}/close", {})
    return begun


def wait_for(served: Served, name: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        work = next(one for one in served.get("/api/live").json["works"] if one["id"] == name)
        if work["state"] != "running":
            return work
        time.sleep(0.05)
    raise AssertionError("it goes on")


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def test_knobs_are_those_of_the_command_with_the_main_ones_first(served: Served) -> None:
    found = served.get("/api/style/knobs").json
    names = [knob["name"] for knob in found["knobs"]]
    assert tuple(names[: len(styling.SHOWN)]) == styling.SHOWN
    assert not set(styling.LEFT_OUT) & set(names)
    by_name = {knob["name"]: knob for knob in found["knobs"]}
    assert by_name["keep_colours"]["choices"] == ["none", "luminance", "match"]
    assert by_name["strength"]["bounds"] == [0, 1]
    assert found["presets"]["preview"]["size"] == 256


def test_what_is_typed_is_checked_by_the_command_and_said_beside_its_field(served: Served) -> None:
    fine = post(served, "/style/check", {"knobs": {"strength": 0.5, "size": "300", "keep_colours": "match"}}).json
    command = "ganvas style PHOTO PAINTING --size 300 --strength 0.5 --keep-colours match"
    assert (fine["ok"], fine["command"]) == (True, command)
    wrong = {"strength": "2", "size": "huge", "keep_colours": "red", "style_layers": "relu1_1:x"}
    found = post(served, "/style/check", {"knobs": wrong}).json
    assert not found["ok"]
    assert {error["field"] for error in found["errors"]} == {"strength", "size", "keep_colours"}
    assert all(error["what"] and error["expected"] for error in found["errors"])
    for body in ({"knobs": {"weights": "/etc/passwd"}}, {"knobs": {"init": "/etc/passwd"}}, {"knobs": {"x": 1}}):
        assert post(served, "/style/check", body).status == 400
    for body in ({"knobs": 3}, {"paintings": "x"}, {"photo": 3}, {"paintings": [3]}):
        assert post(served, "/style/check", body).status == 400
    assert post(served, "/style/check", {"photo": "none"}).status == 404
    refused = post(served, "/style", {"photo": send(served, "a.png"), "knobs": {}})
    assert (refused.status, refused.json["error"]["field"]) == (400, "paintings")


def test_a_transfer_is_shown_as_it_is_drawn_and_its_command_draws_the_same(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paintings = [send(served, "one.png"), send(served, "two.png")]
    knobs = SMALL | {"style_weights": [1, 2], "strength": 0.8}
    told = post(served, "/style/check", {"knobs": knobs, "shape": [40, 52]}).json["work"]
    begun = post(served, "/style", {"photo": send(served, "photo.png"), "paintings": paintings, "knobs": knobs})
    assert begun.status == 202
    work = wait_for(served, begun.json["id"])
    assert work["state"] == "done", work["error"]
    assert len(work["frames"]) >= 2
    assert work["facts"]["step"] == work["facts"]["steps"]
    assert (work["facts"]["work"], work["facts"]["done"]) == (told, told)
    frames = [served.get(f"/api/live/frame?id={work['id']}&n={number}").body for number in work["frames"]]
    assert "--style-weights 1 2" in work["command"]
    call_cli(*shlex.split(work["command"])[1:], "--out", "styled.png", "--quiet", check=0)
    assert np.array_equal(pixels_of(frames[-1]), pixels_of((tmp_path / "styled.png").read_bytes()))
    assert not np.array_equal(pixels_of(frames[0]), pixels_of(frames[-1]))


def test_a_transfer_that_is_stopped_keeps_its_last_picture(served: Served) -> None:
    body = {"photo": send(served, "photo.png"), "paintings": [send(served, "one.png")]}
    begun = post(served, "/style", body | {"knobs": SMALL | {"iterations": 100_000}}).json
    while True:
        work = next(one for one in served.get("/api/live").json["works"] if one["id"] == begun["id"])
        if work["facts"].get("step"):
            break
        assert work["state"] == "running", work
        time.sleep(0.05)
    post(served, "/live/stop", {"id": begun["id"]})
    work = wait_for(served, begun["id"])
    assert work["state"] == "stopped"
    assert work["result"]["step"] == work["facts"]["step"]
    last = served.get(f"/api/live/frame?id={begun['id']}&n={work['frames'][-1]}")
    assert max(pixels_of(last.body).shape) <= 24


def test_missing_weights_and_broken_pictures_are_told_in_the_words_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a page shows of a work that failed is the error of its function."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing answers there
    photo, broken = tmp_path / "photo.png", tmp_path / "broken.png"
    Image.fromarray(np.zeros((40, 52, 3), np.uint8)).save(photo)
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(GanvasError, match="squeezenet could not be downloaded") as caught:
        style_work.paint(str(photo), [str(photo)], SMALL | {"network": "squeezenet"})
    assert "--network eye" in caught.value.fix
    with pytest.raises(GanvasError, match=r"broken.png cannot be used"):
        style_work.paint(str(photo), [str(broken)], SMALL)


def test_a_work_that_fails_tells_its_page_why(served: Served) -> None:
    broken = send(served, "broken.png", b"\x89PNG\r\n\x1a\n")
    body = {"photo": broken, "paintings": [send(served, "one.png")], "knobs": SMALL}
    work = wait_for(served, post(served, "/style", body).json["id"])
    assert (work["state"], work["result"]) == ("failed", None)
    assert "broken.png cannot be used" in work["error"]["what"]


def test_what_is_no_picture_is_refused_and_removed_at_once(served: Served) -> None:
    for name, content in (("notes.txt", b"words"), ("cut.png", b"\x89PNG\r\n\x1a\n" + bytes(40))):
        wrong = send(served, name, content)
        reply = post(served, "/pictures", {"upload": wrong})
        assert reply.status == 400
        assert name in reply.json["error"]["what"]
        assert post(served, "/pictures", {"upload": wrong}).status == 404
    right = send(served, "right.png")
    found = post(served, "/pictures", {"upload": right}).json
    assert found == {"upload": right, "name": "right.png", "shape": [40, 52]}
    assert served.get(f"/api/uploads/{right}", "DELETE", token=served.studio.token).json == {"removed": True}
    assert served.get(f"/api/uploads/{right}", "DELETE", token=served.studio.token).status == 404
    assert not list(served.studio.uploads.folder.rglob("right.png"))


def test_several_files_are_not_removed_as_a_picture(served: Served) -> None:
    begun = post(served, "/uploads", {"names": ["a.png", "b.png"], "files": 2, "bytes": 8}).json["upload"]
    for name in ("a.png", "b.png"):
        served.get(f"/api/uploads/{begun}/file?name={name}", "PUT", b"1234", token=served.studio.token)
    post(served, f"/uploads/{begun}/close", {})
    assert served.get(f"/api/uploads/{begun}", "DELETE", token=served.studio.token).status == 400
    assert len(list(served.studio.uploads.path(begun).iterdir())) == 2


def test_pictures_that_were_sent_are_found_again_and_those_that_are_gone_are_left_out(served: Served) -> None:
    photo, gone = send(served, "photo.png"), send(served, "gone.png")
    served.get(f"/api/uploads/{gone}", "DELETE", token=served.studio.token)
    found = served.get(f"/api/pictures?upload={photo}&upload={gone}&upload=none").json
    assert found == {"pictures": [{"upload": photo, "name": "photo.png", "shape": [40, 52]}]}
    shown = served.get(f"/api/pictures/small?upload={photo}")
    assert (shown.headers["content-type"], pixels_of(shown.body).shape) == ("image/png", (40, 52, 3))
    assert served.get(f"/api/pictures/small?upload={gone}").status == 404


def test_the_work_of_a_transfer_is_told_before_its_start(served: Served) -> None:
    """The page estimates the time from it before the start, and what is left from it afterwards."""
    told = post(served, "/style/check", {"knobs": SMALL, "shape": [40, 52]}).json["work"]
    assert told == 4 * (18 * 24 + OVERHEAD)
    assert post(served, "/style/check", {"knobs": {"strength": 0}}).json["work"] == 0
    assert post(served, "/style/check", {"knobs": {}, "shape": ["x", 3]}).status == 400
