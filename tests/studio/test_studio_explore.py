"""Explore on the server: pictures that an address and its command reproduce, bookmarks, places, walks, refusals."""

import asyncio
import base64
import io
import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import pytest
from asgi_client import Client, never_answer
from PIL import Image
from serving import Reply, Served, serving
from starlette.applications import Starlette
from support import call_cli, tiny

from ganvas import sampling
from ganvas.config import replace
from ganvas.errors import GanvasError
from ganvas.evaluation.near_copies import TrainingPixels
from ganvas.runs.cleaning import find_foreign
from ganvas.runs.folder import Run
from ganvas.studio import bookmarks, direction_names, explore, explore_long, explore_work, generators
from ganvas.studio import live as module
from ganvas.studio.answers import Refusal
from ganvas.studio.latest import Latest, Superseded
from ganvas.studio.live import MAX_FRAMES, Live, Lives
from ganvas.studio.views import View, read_view
from ganvas.training.start import train

DIGITS = "pretrained:digits"
STYLES = "0/styles"
PATIENCE_SECONDS = 120


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a StyleGAN with classes, one that was uploaded, and one outside."""
    folder = tmp_path_factory.mktemp("explored")
    config = replace(tiny(family="stylegan"), conditional=True)
    run = train(config, out=folder / "runs", name="styles", quiet=True).path
    shutil.copytree(run / "snapshots" / "000000.200", run / "snapshots" / "best")
    shutil.copytree(run, folder / "runs" / "uploads" / "sent")
    shutil.copytree(run, folder / "elsewhere" / "secret")
    linked = shutil.copytree(run, folder / "runs" / "linked")
    shutil.rmtree(linked / "snapshots" / "000000.200")
    (linked / "snapshots" / "000000.200").symlink_to(folder / "elsewhere" / "secret" / "snapshots" / "000000.200")
    kept = shutil.copytree(run, folder / "runs" / "leading-out")
    (kept / "explore").symlink_to(folder / "elsewhere")
    return folder / "runs"


@pytest.fixture(scope="module")
def served(runs: Path) -> Iterator[Served]:
    """One studio for all tests: its child process loads PyTorch once."""
    with serving(runs) as one:
        yield one


def ask(served: Served, path: str, /, **parameters: Any) -> Reply:
    return served.get(f"/api/explore{path}?{urlencode(parameters)}", token=served.studio.token)


def post(served: Served, name: str, body: Any) -> Reply:
    return served.get(f"/api{name}", "POST", json.dumps(body).encode(), token=served.studio.token)


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def wait_for(served: Served, work: Any) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while work["state"] == "running":
        assert time.monotonic() < end
        time.sleep(0.05)
        work = next(one for one in served.get("/api/live").json["works"] if one["id"] == work["id"])
    return work


VIEWS = [
    {"of": DIGITS, "seed": "7", "class": "3", "truncation": "0.7"},
    {"of": DIGITS, "seed": "7", "class": "3", "move": "pca:0=1.5,pca:1=-2.25,sefa:0=0.5"},
    {"of": STYLES, "seed": "4", "class": "5", "mix": "9", "layers": "0-0,2-2", "noise": "3:1-2", "move": "pca:2=2"},
]


@pytest.mark.parametrize("view", VIEWS, ids=str)
def test_an_address_and_its_command_draw_the_same_picture(
    served: Served, view: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (ask(served, "/picture", **view) for _ in range(2))
    assert (first.status, first.headers["content-type"]) == (200, "image/png")
    assert first.body == second.body
    monkeypatch.chdir(tmp_path)
    words = shlex.split(ask(served, "/command", **view).json["command"])
    call_cli(*words[1:], check=0)
    [file] = (tmp_path / "pictures").iterdir()
    assert np.array_equal(pixels_of(first.body), pixels_of(file.read_bytes()))
    other = ask(served, "/picture", **view | {"seed": "8"})
    assert not np.array_equal(pixels_of(first.body), pixels_of(other.body))


def test_a_quick_picture_is_the_same_but_for_the_last_level(served: Served) -> None:
    exact, quick = (pixels_of(ask(served, "/picture", of=STYLES, seed=4, quick=one).body) for one in (0, 1))
    assert np.abs(exact.astype(int) - quick).max() <= 1


def test_a_sheet_has_the_images_of_its_seeds(served: Served, runs: Path) -> None:
    sheet = pixels_of(ask(served, "/sheet", of=STYLES, snapshot="best", seeds="0-2,9").body)
    expected = np.asarray(sampling.load(runs / "styles").sample([0, 1, 2, 9]).grid(columns=8))
    assert np.array_equal(sheet, expected)
    assert ask(served, "/sheet", of=STYLES, seeds="0-64").json["error"]["expected"] == "at most 64"
    assert ask(served, "/sheet", of=STYLES, seeds="x").status == ask(served, "/sheet", of=STYLES).status == 400
    gone = ask(served, "/sheet", of=STYLES, snapshot="none", seeds="0")
    assert (gone.status, gone.json["error"]["field"]) == (404, "snapshot")
    assert "take the newest" in gone.json["error"]["fix"]


def test_what_a_generator_has_and_what_it_lacks_in_words(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask(served, "", of=DIGITS).json
    assert "no layers to mix" in found["mixing"]
    assert "has no noise" in found["noise"]
    assert found["classes"] == [str(digit) for digit in range(10)]
    assert [one["suffix"] for one in found["formats"]] == [".gif", ".png", ".webp", ".mp4", ".webm"]
    found = ask(served, "", of=STYLES).json
    assert (found["mixing"], found["noise"], found["layers"], found["noises"]) == ("", "", 4, 4)
    assert [one["name"] for one in found["snapshots"]] == ["000000.200", "best"]
    assert found["snapshot"] == "000000.200"
    assert ask(served, "", of=STYLES, snapshot="best").json["snapshot"] == "best"
    sources = ask(served, "/sources").json["sources"]
    assert [one["of"] for one in sources if not one["run"]] == ["pretrained:digits28", "pretrained:digits"]
    assert STYLES in {one["of"] for one in sources}
    monkeypatch.setattr(explore.importlib.util, "find_spec", lambda name: None)
    missing = {one["suffix"]: one["missing"] for one in ask(served, "", of=DIGITS).json["formats"]}
    assert [bool(reason) for reason in missing.values()] == [False, False, False, True, True]
    assert "ganvas[video]" in missing[".mp4"]
    refused = post(served, "/explore/walk", {"of": DIGITS, "views": [{"seed": "1"}, {"seed": "2"}], "suffix": ".mp4"})
    assert refused.status == 400
    assert "ganvas[video]" in refused.json["error"]["what"]


def test_directions_and_a_map_whose_middle_is_the_picture(served: Served) -> None:
    found = ask(served, "/directions", of=DIGITS, method="pca").json
    assert found["n"] == len(found["shares"]) >= 8
    assert found["shares"] == sorted(found["shares"], reverse=True)
    view = {"of": DIGITS, "seed": 7, "class": "3", "move": "pca:5=1"}
    sheet = pixels_of(ask(served, "/map", **view, x="pca:0", y="pca:1").body)
    assert sheet.shape == (7 * 8, 7 * 8)
    cells = sheet.reshape(7, 8, 7, 8).swapaxes(1, 2)
    alone = pixels_of(ask(served, "/picture", **view).body)
    assert np.abs(cells[3, 3].astype(int) - alone).max() <= 1
    corner = pixels_of(ask(served, "/picture", **view | {"move": "pca:0=3,pca:1=3,pca:5=1"}).body)
    assert np.abs(cells[0, 6].astype(int) - corner).max() <= 1  # x to the right, y upwards
    for wrong in ("pca", "tsne:0", "pca:x", "pca:99999"):
        assert ask(served, "/map", **view, x=wrong, y="pca:1").status == 400
    assert ask(served, "/map", **view, x="pca:999", y="pca:1").status == 400


def test_nearest_training_pictures_and_whether_it_is_a_copy(served: Served) -> None:
    found = post(served, "/explore/nearest", {"of": DIGITS, "view": {"seed": "3", "class": "1"}}).json
    assert len(found["pictures"]) == explore_work.NEIGHBOURS
    distances = [one["distance"] for one in found["pictures"]]
    assert distances == sorted(distances)
    # of one orientation: at most that of both together, and two images are at most 2 apart
    assert distances[0] / 2 <= found["ratio"] <= distances[0] / distances[1] + 1e-9
    assert found["copy"] == (found["ratio"] <= found["most"])
    assert served.get("/api/explore/nearest", "POST", b"{}").status == 401  # data may be downloaded


def test_a_copy_is_called_so_also_where_the_set_holds_its_mirror_image(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    images[8] = images[5][..., ::-1]
    loaded = SimpleNamespace(training=(images, TrainingPixels.from_images(images)))
    monkeypatch.setattr(explore_work, "load", lambda path: loaded)
    monkeypatch.setattr(explore_work, "_draw", lambda path, view: images[5])
    found = explore_work.find_nearest("digits", {})
    assert found["copy"]
    assert found["ratio"] <= found["most"]
    assert {one["index"] for one in found["pictures"][:2]} == {5, 8}


def test_bookmarks_stay_with_the_run(served: Served, runs: Path) -> None:
    view = {"seed": "4", "class": "5", "move": "pca:0=1"}
    made = post(served, "/explore/bookmarks", {"of": STYLES, "name": "<b>one</b>", "view": view}).json
    found = ask(served, "/bookmarks", of=STYLES).json
    assert found["file"] == str(runs / "styles" / "explore" / "bookmarks.json")
    assert not find_foreign(runs / "styles"), "the run can be removed"
    assert found["bookmarks"] == [made]
    assert made["view"] == view
    assert made["snapshot"] == "000000.200"
    post(served, "/explore/bookmarks", {"of": DIGITS, "name": "a", "view": {}})
    assert (runs / ".explore" / "digits" / "bookmarks.json").exists()
    for body, status in (({"name": "", "view": {}}, 400), ({"name": "x" * 81, "view": {}}, 400), ({"name": "x"}, 400)):
        assert post(served, "/explore/bookmarks", {"of": STYLES, **body}).status == status
    address = f"/api/explore/bookmarks/{made['id']}?of={STYLES}"
    assert [served.get(address, "DELETE", token=served.studio.token).status for _ in range(2)] == [200, 404]
    assert ask(served, "/bookmarks", of=STYLES).json["bookmarks"] == []


def test_bookmarks_are_put_in_another_order(served: Served) -> None:
    made = [post(served, "/explore/bookmarks", {"of": DIGITS, "name": name, "view": {}}).json["id"] for name in "abc"]

    def put(name: str, before: str | None) -> str:
        reply = post(served, f"/explore/bookmarks/{name}", {"of": DIGITS, "before": before}).json
        assert reply["bookmarks"] == ask(served, "/bookmarks", of=DIGITS).json["bookmarks"]
        return "".join(one["name"] for one in reply["bookmarks"] if one["id"] in made)

    a, b, c = made
    assert [put(c, a), put(c, None), put(a, c), put(b, b)] == ["cab", "abc", "bac", "bac"]
    for name, before in (("none", a), (a, "none")):
        assert post(served, f"/explore/bookmarks/{name}", {"of": DIGITS, "before": before}).status == 404
    for name in made:
        address = f"/api/explore/bookmarks/{name}?of={DIGITS}"
        assert served.get(address, "DELETE", token=served.studio.token).status == 200


def test_a_damaged_file_of_bookmarks_is_not_written_over(tmp_path: Path) -> None:
    assert bookmarks.read(tmp_path / "none") == []
    for content in ("[", '{"a": 1}', '[{"id": 1}]', '[{"id": "a", "name": "b", "snapshot": "", "view": {"x": "y"}}]'):
        (tmp_path / bookmarks.FILE).write_text(content)
        with pytest.raises(GanvasError, match="cannot be used"):
            bookmarks.add(tmp_path, "a", "", {})
        assert (tmp_path / bookmarks.FILE).read_text() == content
    (tmp_path / bookmarks.FILE).write_text("[]")
    for _ in range(bookmarks.MAX_BOOKMARKS):
        last = bookmarks.add(tmp_path, "a", "", {})
    with pytest.raises(Refusal, match="already"):
        bookmarks.add(tmp_path, "a", "", {})
    bookmarks.remove(tmp_path, last["id"])
    assert len(bookmarks.read(tmp_path)) == bookmarks.MAX_BOOKMARKS - 1


def send_photo(served: Served, name: str = "photo.png", content: bytes = b"") -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (24, 30, 3), np.uint8)).save(buffer, "PNG")
    content = content or buffer.getvalue()
    begun = post(served, "/uploads", {"names": [name], "bytes": len(content)}).json["upload"]
    token = served.studio.token
    assert served.get(f"/api/uploads/{begun}/file?name={quote(name)}", "PUT", content, token=token).status == 201
    post(served, f"/uploads/{begun}/close", {})
    return begun


def test_a_photo_has_a_place_that_its_command_draws(
    served: Served, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = post(served, "/explore/place", {"of": STYLES, "upload": send_photo(served), "steps": 6, "references": 1})
    assert begun.status == 202
    with served.stream(f"/api/live/stream?id={begun.json['id']}") as events:
        assert events.next("work")[1]["state"] == "running"
    work = wait_for(served, begun.json)
    assert work["state"] == "done", work["error"]
    with served.stream(f"/api/live/stream?id={work['id']}") as events:
        assert events.next("work")[1] == work
    place = work["result"]["place"]
    assert work["found"]["place"] == place
    assert "distance" in work["result"]["verdict"]
    assert work["result"]["compared"]
    assert work["command"].startswith("ganvas project ")
    assert (runs / "styles" / "explore" / "places" / f"{place}.npz").exists()
    assert not find_foreign(runs / "styles")
    shown = ask(served, "/picture", of=STYLES, place=place)
    frame = served.get(f"/api/live/frame?id={work['id']}&n={work['frames'][-1]}")
    assert np.array_equal(pixels_of(shown.body), pixels_of(frame.body))
    assert pixels_of(ask(served, "/photo", of=STYLES, place=place).body).shape == (8, 8)
    monkeypatch.chdir(tmp_path)
    view = {"of": STYLES, "place": place, "move": "pca:0=1"}
    call_cli(*shlex.split(ask(served, "/command", **view).json["command"])[1:], check=0)
    drawn = (tmp_path / "pictures" / "latent00000.png").read_bytes()
    assert np.array_equal(pixels_of(ask(served, "/picture", **view).body), pixels_of(drawn))
    for other in ("seed", "class", "truncation", "mix"):
        assert ask(served, "/picture", **view | {other: "1"}).status == 400


def test_a_search_that_is_stopped_keeps_what_it_has_found(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RUNNING", 1)
    body = {"of": DIGITS, "upload": send_photo(served), "steps": 2000, "references": 4}
    work = post(served, "/explore/place", body).json
    refused = post(served, "/explore/place", body)
    assert (refused.status, refused.json["error"]["fix"]) == (409, "stop one of them, or wait for it.")
    while not next(one for one in served.get("/api/live").json["works"] if one["id"] == work["id"])["frames"]:
        time.sleep(0.05)
    assert post(served, "/live/stop", {"id": work["id"]}).json["stopping"]
    work = wait_for(served, work)
    assert work["state"] == "stopped"
    assert ask(served, "/picture", of=DIGITS, place=work["result"]["place"]).status == 200
    assert not work["result"]["compared"]


def test_what_is_no_photo_is_refused_in_the_words_of_the_command(served: Served, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"hello")
    with pytest.raises(GanvasError, match="cannot be used"):
        explore_long.search(DIGITS, str(tmp_path / "x.png"), None, str(tmp_path), steps=2)
    works = served.get("/api/live").json
    refused = post(served, "/explore/place", {"of": DIGITS, "upload": send_photo(served, "me.png", b"hello")})
    assert refused.status == 400
    assert refused.json["error"]["what"].startswith("me.png cannot be used")
    assert served.get("/api/live").json == works
    assert post(served, "/explore/place", {"of": DIGITS, "upload": "none"}).status == 404
    assert post(served, "/explore/place", {"of": DIGITS}).status == 400


def test_a_walk_is_a_film_that_its_command_makes_again(
    served: Served, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = [{"seed": "1", "class": "2"}, {"seed": "5", "class": "7", "move": "pca:0=2"}]
    body = {"of": STYLES, "views": views, "frames": 3, "loop": False, "suffix": ".png", "fps": 10}
    work = wait_for(served, post(served, "/explore/walk", body).json)
    assert work["state"] == "done", work["error"]
    assert (work["kind"], work["of"]) == ("walk", STYLES)
    assert work["result"]["frames"] == 4
    film = ask(served, "/film", of=STYLES, name=work["result"]["name"])
    assert film.headers["content-type"] == "image/png"
    assert not find_foreign(runs / "styles")
    monkeypatch.chdir(tmp_path)
    call_cli(*shlex.split(work["command"])[1:], check=0)
    for frame in range(4):
        with Image.open(io.BytesIO(film.body)) as one, Image.open(tmp_path / "walk.png") as other:
            one.seek(frame)
            other.seek(frame)
            assert np.array_equal(np.asarray(one.convert("L")), np.asarray(other.convert("L")))
    for wrong in ({"views": views[:1]}, {"suffix": ".exe"}, {"frames": 0}, {"views": [{"seed": "x"}] * 2}, {"fps": 0}):
        assert post(served, "/explore/walk", body | wrong).status == 400, wrong


def test_a_direction_has_the_name_that_it_is_given(served: Served, runs: Path, tmp_path: Path) -> None:
    body = {"of": STYLES, "direction": "pca:1"}
    assert post(served, "/explore/direction", body | {"name": " slant "}).json == {"names": {"pca:1": "slant"}}
    assert ask(served, "/directions", of=STYLES).json["names"] == {"pca:1": "slant"}
    assert not find_foreign(runs / "styles")
    for wrong in ({"direction": "pca:x"}, {"name": "x" * 41}, {"name": 3}, {"direction": None}):
        assert post(served, "/explore/direction", body | {"name": "a"} | wrong).status == 400, wrong
    assert post(served, "/explore/direction", body | {"name": ""}).json == {"names": {}}
    for damaged in ("{", '{"pca:0": 3}', '{"x": "a"}', "[]"):
        (tmp_path / direction_names.FILE).write_text(damaged)
        with pytest.raises(GanvasError, match="cannot be used"):
            direction_names.rename(tmp_path, "pca:0", "a")
        assert (tmp_path / direction_names.FILE).read_text() == damaged


GETS = ("", "/directions", "/picture", "/map", "/command", "/bookmarks", "/kept", "/film", "/photo")
POSTS = ("nearest", "bookmarks", "bookmarks/x", "place", "walk", "direction")


@pytest.mark.parametrize(
    ("of", "status"),
    [
        ("0/uploads/sent", 403), ("0/linked", 403), ("0/leading-out", 403), ("0/../elsewhere/secret", 404),
        ("9/styles", 404), ("0/none", 404), ("", 404), ("pretrained:../../x", 400), ("pretrained:none", 400),
        ("/etc", 404), ("hf:a/b@c", 404), ("https://a.b/c.safetensors", 404), ("0/sty\0les", 404),
    ],
)  # fmt: skip
def test_no_generator_outside_of_the_folders_is_loaded(served: Served, of: str, status: int) -> None:
    for name in GETS:
        assert ask(served, name, of=of, x="pca:0", y="pca:1", name="a" * 12 + ".gif").status == status, name
    for name in POSTS:
        body = {"of": of, "view": {}, "views": [{}, {}], "name": "a", "upload": "x", "direction": "pca:0"}
        assert post(served, f"/explore/{name}", body).status == status, name
    address = f"/api/explore/bookmarks/x?{urlencode({'of': of})}"
    assert served.get(address, "DELETE", token=served.studio.token).status == status


@pytest.mark.parametrize(
    "wrong",
    [
        {"snapshot": "../../styles/snapshots/000000.200"}, {"snapshot": "none"}, {"seed": "-1"}, {"seed": "٣"},
        {"seed": "9" * 30}, {"class": "nobody"}, {"class": "x" * 999}, {"truncation": "nan"}, {"truncation": "1e9"},
        {"move": "pca:0=nan"}, {"move": "pca:0=1;rm"}, {"move": "pca:9999=1"}, {"mix": "x"},
        {"mix": "1", "layers": "x"}, {"mix": "1", "layers": "99"}, {"noise": "x"}, {"noise": "1:99"},
        {"place": "../../../x"}, {"place": "0" * 12},
    ],
    ids=str,
)  # fmt: skip
def test_a_view_that_is_none_is_refused(served: Served, wrong: dict[str, str]) -> None:
    answer = ask(served, "/picture", **{"of": STYLES} | wrong)
    assert answer.status in (400, 404)
    assert set(answer.json["error"]) >= {"what", "expected", "fix"}


def test_films_are_named_by_their_content_alone(served: Served) -> None:
    for name in ("../../config.json", "a.gif", "0" * 12 + ".npz", "0" * 12 + ".gif", "0" * 12 + ".gif/..", "x" * 999):
        assert ask(served, "/film", of=STYLES, name=name).status == 404


def test_a_snapshot_that_goes_while_it_is_asked_for_is_said_to_be_gone(
    served: Served, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(runs / "styles", runs / "going"))
    old, kept = run / "snapshots" / "000000.200", run / "kept"
    call, find = served.studio.explorer.call, generators.snapshots_of
    shutil.copytree(old, kept)

    def find_and_remove(run: Run) -> Iterator[Path]:
        yield from find(run)
        shutil.rmtree(old)

    async def remove_and_call(*given: Any, **arguments: Any) -> Any:
        shutil.rmtree(old)
        return await call(*given, **arguments)

    for place, name, other in (
        (generators, "snapshots_of", find_and_remove),
        (served.studio.explorer, "call", remove_and_call),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, other)
            gone = ask(served, "/picture", of="0/going", snapshot=old.name)
        assert (gone.status, gone.json["error"].get("field")) == (404, "snapshot")
        assert "take the newest" in gone.json["error"]["fix"]
        shutil.copytree(kept, old)
    shutil.rmtree(old)
    with pytest.raises(GanvasError, match="not here any more"):
        explore_work.load(str(old))
    monkeypatch.setattr(explore, "snapshots_of", lambda run: [old, run.path / "snapshots" / "best"])
    assert [one["name"] for one in ask(served, "", of="0/going").json["snapshots"]] == ["best"]
    shutil.rmtree(run)


def test_code_of_the_users_own_is_not_executed_without_the_token(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generators, "read_card", lambda path: {"sources": {"nets.py": {}}})
    assert served.get(f"/api/explore/picture?of={STYLES}").status == 401
    assert generators.find_source(served.studio, STYLES, may_write=True).snapshot == "000000.200"


def test_only_the_newest_of_waiting_requests_is_worked_on() -> None:
    done: list[str] = []

    async def try_it() -> list[Any]:
        latest, release = Latest(), asyncio.Event()

        async def first() -> str:
            await release.wait()
            return "first"

        async def work(name: str) -> str:
            done.append(name)
            return name

        running = asyncio.create_task(latest.run("a", first))
        await asyncio.sleep(0)
        waiting = [latest.run("a", lambda name=name: work(name)) for name in ("old", "older", "newest")]
        waiting += [latest.run("b", lambda: work("of another page")), latest.run("", lambda: work("never dropped"))]
        tasks = [asyncio.create_task(one) for one in waiting]
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(running, *tasks, return_exceptions=True)

    found = asyncio.run(try_it())
    assert [type(one) is Superseded for one in found] == [False, True, True, False, False, False]
    assert done == ["newest", "of another page", "never dropped"]


def test_a_superseded_picture_is_an_empty_answer(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def superseded(channel: str, work: Any) -> Any:
        raise Superseded

    monkeypatch.setattr(served.studio.latest, "run", superseded)
    given = {"of": DIGITS, "x": "pca:0", "y": "pca:1", "seeds": "0"}
    assert [ask(served, name, **given).status for name in ("/picture", "/map", "/sheet")] == [204, 204, 204]


def test_what_takes_long_is_dropped_where_the_page_that_asked_for_it_has_gone(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancelled = never_answer(served.studio.explorer, monkeypatch)
    monkeypatch.setattr(served.studio, "latest", Latest())
    client = Client(Starlette(routes=explore.routes(served.studio)))
    body = [json.dumps({"of": DIGITS, "view": {}}).encode()]
    for method, name, chunks in (("GET", f"/directions?of={DIGITS}", []), ("POST", "/nearest", body)):
        with pytest.raises(Refusal, match="has gone"):
            client.run(client.send(method, f"/api/explore{name}", chunks, disconnect_after=0.05))
        client.run(asyncio.sleep(0))
    client.close()
    assert cancelled == [True, True]


def test_pictures_of_a_work_are_bounded_and_the_first_and_last_stay() -> None:
    live = Live("style", "")
    for _ in range(3 * MAX_FRAMES):
        live.hear({"png": "AAAA", "step": 1})
    assert len(live.frames) <= MAX_FRAMES
    assert (min(live.frames), max(live.frames)) == (1, 3 * MAX_FRAMES)


def test_pictures_of_works_that_have_ended_are_bounded_the_oldest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Draws:
        async def call(self, _: str, limit: float, hear: Callable[..., None]) -> int:
            for _step in range(int(limit)):
                hear({"png": base64.b64encode(b"x" * 10)})
            return 1

        async def close(self) -> None:
            pass

    async def work(*counts: int) -> list[list[int]]:
        lives = Lives()
        for count in counts:
            live = lives.start(Live("style", "", worker=Draws()), "", count)  # type: ignore[arg-type]
            assert live.task is not None
            await live.task
        return [list(one["frames"]) for one in reversed(lives.to_json())]

    monkeypatch.setattr("ganvas.studio.live.MAX_ENDED_BYTES", 120)
    assert asyncio.run(work(4, 4, 4)) == [[1, 2, 3, 4]] * 3
    first, *others = asyncio.run(work(6, 4, 4))
    assert (first, others) == ([1, 3, 5, 6], [[1, 2, 3, 4]] * 2), "the first and the last stay"
    assert asyncio.run(work(2, 2, 12))[:-1] == [[1, 2], [1, 2]], "also of the newest, where the others have no more"
    assert [len(frames) for frames in asyncio.run(work(2, 2, 2, 2, 2, 2))] == [2] * 6
    monkeypatch.setattr("ganvas.studio.live.MAX_ENDED_BYTES", 50)
    assert asyncio.run(work(2, 2, 2)) == [[1, 2]] * 2, "the oldest work is let go"


def test_the_process_of_a_work_that_has_ended_does_the_next_one() -> None:
    async def wait_for(live: Live) -> None:
        assert live.task is not None
        await live.task
        assert (live.state, live.result) == ("done", 1)

    async def try_it() -> None:
        lives = Lives()
        first, second, beside = (Live("style", "") for _ in range(3))
        await wait_for(lives.start(first, "finite", 60.0, value=1))
        kept = first.worker._process
        assert kept is not None
        for one in (second, beside):
            lives.start(one, "finite", 60.0, value=1)
        for one in (second, beside):
            await wait_for(one)
        assert second.worker is first.worker
        assert beside.worker is not first.worker
        assert [second.worker._process, beside.worker._process].count(None) == 1
        await lives.close()
        assert kept.returncode is not None
        assert second.worker._process is beside.worker._process is None

    asyncio.run(try_it())


def test_unknown_works_are_not_found(served: Served) -> None:
    for name in ("stream", "frame"):
        assert served.get(f"/api/live/{name}?id=none&n=1").status == 404
    assert post(served, "/live/stop", {"id": "none"}).status == 404


def test_generators_in_memory_are_bounded(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explore_work, "MAX_LOADED", 1)
    monkeypatch.setattr(explore_work, "_kept", type(explore_work._kept)())
    first = explore_work.load(DIGITS)
    assert explore_work.load(DIGITS) is first
    explore_work.load(str(runs / "styles" / "snapshots" / "000000.200"))
    assert len(explore_work._kept) == 1
    loaded = explore_work.load(str(runs / "styles" / "snapshots" / "000000.200"))
    for seed in range(2 * explore_work.MAX_NOISES):
        loaded.with_noise(str(seed))
    assert len(loaded._noises) == explore_work.MAX_NOISES


def test_words_of_a_view_are_those_that_differ(served: Served) -> None:
    source = generators.find_source(served.studio, DIGITS)
    assert View(source, {}).command == "ganvas sample pretrained:digits --seeds 0 --each pictures"
    named = read_view(served.studio, source, {"class": "-x y", "truncation": "1.0", "of": "ignored"})
    assert named.command == "ganvas sample pretrained:digits --seeds 0 '--class=-x y' --each pictures"
