"""Data and diagnosis in the studio: reports with pictures, and a worker that survives what it is given."""

import asyncio
import io
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from asgi_client import Client, never_answer
from PIL import Image
from starlette.applications import Starlette
from support import tiny

from ganvas.data import digits, named, stacked
from ganvas.diagnosis.history import History
from ganvas.diagnosis.sources import diagnose
from ganvas.errors import GanvasError
from ganvas.studio import data, diagnosis, places, work, worker
from ganvas.studio.answers import Refusal, refuse
from ganvas.studio.app import Studio
from ganvas.studio.folders import Folders
from ganvas.studio.runs import Runs
from ganvas.studio.uploads import Uploads
from ganvas.studio.worker import Worker
from ganvas.training.start import train


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[asyncio.AbstractEventLoop, Worker]]:
    """One event loop and one child for all requests of these tests."""
    loop, one = asyncio.new_event_loop(), Worker()
    yield loop, one
    loop.run_until_complete(one.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def client(shared: tuple[asyncio.AbstractEventLoop, Worker]) -> Client:
    Path("runs").mkdir(exist_ok=True)
    folders = Folders([Path("runs")])

    async def answer_error(request: Any, error: Any) -> Any:
        return refuse(error)

    studio: Any = SimpleNamespace(
        folders=folders, data_folders=(Path("photos").absolute(),), runs=Runs(folders),
        uploads=Uploads(folders.paths[0] / "uploads"),
    )  # fmt: skip
    routes = [*data.routes(studio), *diagnosis.routes(studio)]
    made = Client(Starlette(routes=routes, exception_handlers={GanvasError: answer_error}), shared[0])
    studio.worker = studio.inspector = shared[1]
    made.studio = studio  # type: ignore[attr-defined]
    return made


def save(path: Path, pixels: np.ndarray) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


@pytest.fixture
def photos() -> Path:
    """Twelve images in two classes: two are the same, one is cut off, one is text, one is called a script."""
    random, folder = np.random.default_rng(0), Path("photos")
    for i in range(12):
        pixels = random.integers(0, 256, (200, 300, 3), np.uint8)
        save(folder / ("cats" if i % 2 else "dogs") / f"{i}.png", pixels)
    (folder / "cats/copy.png").write_bytes((folder / "dogs/0.png").read_bytes())
    (folder / "cats/cut.png").write_bytes((folder / "cats/1.png").read_bytes()[:90_000])
    (folder / "dogs/text.jpg").write_bytes(b"hello")
    save(folder / "dogs/<script>alert(1)<script>.png", np.zeros((200, 300, 3), np.uint8))
    return folder


def picture(client: Client, url: str) -> Image.Image:
    answer = client.get(url)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert "max-age" in answer.headers["cache-control"]
    return Image.open(io.BytesIO(answer.body))


def test_a_report_has_pictures_duplicates_and_bad_files(client: Client, photos: Path) -> None:
    found = client.get("/api/data?data=photos").json
    assert found["count"] == 14
    assert found["class_counts"] == {"cats": 7, "dogs": 7}
    assert found["command"] == f"ganvas data {photos.resolve()}"
    assert len(found["pictures"]) == 14
    names = {one["file"] for one in found["pictures"]}
    assert "dogs/<script>alert(1)<script>.png" in names
    bad = {one["file"]: one for one in found["bad"]}
    assert set(bad) == {"cats/cut.png", "dogs/text.jpg"}
    assert bad["dogs/text.jpg"]["url"] is None
    assert max(picture(client, bad["cats/cut.png"]["url"]).size) == work.SIDE
    [group] = found["duplicates"]
    assert [one["file"] for one in group] == ["cats/copy.png", "dogs/0.png"]
    first, second = (picture(client, one["url"]) for one in group)
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert max(first.size) <= work.SIDE


def test_a_small_picture_is_not_enlarged(client: Client) -> None:
    found = client.get("/api/data?data=digits").json
    assert len(found["pictures"]) == work.SHEET
    assert picture(client, found["pictures"][3]["url"]).size == (8, 8)
    for which in ("index=9999", "file=nope", "", "index=1&file=a", "index=-1", "index=x"):
        assert client.get(f"/api/data/picture?data=digits&{which}").status in (400, 404), which


def test_a_broken_zip_is_refused_in_the_words_of_the_reader(client: Client) -> None:
    path = Path("runs/uploads/broken.zip")
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", os.urandom(5000))
    path.write_bytes(path.read_bytes()[:3000])
    answer = client.get(f"/api/data?data={path}")
    assert answer.status == 400
    assert "broken.zip" in answer.error["what"]
    assert answer.error["fix"]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("/etc", 403), ("../..", 403), ("/", 403), ("~", 403), ("runs/../../..", 403), ("stacked-mnist:/etc", 403),
        ("photos/none", 404), ("hf:owner/name", 400), ("", 400), ("%00", 400), ("photos/link", 403), ("nope", 404),
    ],
)  # fmt: skip
def test_data_outside_of_the_folders_is_not_read(client: Client, given: str, status: int) -> None:
    Path("photos").mkdir()
    Path("photos/link").symlink_to("/etc")
    answer = client.get(f"/api/data?data={given}")
    assert (answer.status, answer.error["field"]) == (status, "data")
    assert client.get(f"/api/data/picture?data={given}&index=0").status == status


def test_a_relative_path_is_looked_for_in_each_folder(client: Client, photos: Path) -> None:
    found = client.get("/api/data?data=cats").json
    assert found["count"] == client.get("/api/data?data=photos/cats").json["count"] > 0


def test_the_data_sets_and_their_sizes_are_those_of_the_reader() -> None:
    assert set(places.INCLUDED) == set(digits.NAMES)
    sizes = {name: sum(size for _, size, _ in one.files) for name, one in named.SETS.items()}
    assert sizes | {stacked.NAME: sizes["mnist"]} == places.DOWNLOADED


# Diagnosis


def test_a_run_is_diagnosed_up_to_any_time(client: Client) -> None:
    run = train(tiny(), out="runs", quiet=True)
    address = f"/api/run/diagnosis?run=0/{run.path.name}"
    now = client.get(address).json
    assert now["now"] == 0.2
    assert now["verdict"]
    assert {finding["name"] for finding in now["findings"]} == {finding.name for finding in diagnose(run).findings}
    assert all(isinstance(finding["since_nimg"], int) for finding in now["findings"])
    assert client.get(f"{address}&until=100").json["now"] == 0.1
    assert client.get(f"{address}&until=0").json["now"] == 0
    assert client.get(f"{address}&until=x").status == 400
    assert client.get("/api/run/diagnosis?run=0/nope").status == 404
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Worker, "call")  # it is kept
        assert client.get(address).json == now
    with (run.path / "stats.jsonl").open("a") as file:
        file.write(json.dumps({"nimg": 300, "D/loss": {"num": 1, "mean": 0.1, "std": 0.0}}) + "\n")
    assert client.get(address).json["now"] == 0.3


def test_a_log_is_diagnosed_with_its_curves(client: Client) -> None:
    lines = [f"{i},{2 * 0.97**i:.4f},{1 + i / 10},{i}" for i in range(200)]
    lines[20] = "20,nan,3,20"
    Path("runs/log.csv").write_text("\n".join(["step,first,second,other", *lines]))
    body = {"path": "runs/log.csv", "columns": {"d_loss": "first", "g_loss": "second"}}
    found = client.post("/api/diagnose", body).json
    assert [finding["name"] for finding in found["findings"]]
    assert found["columns"]["first"] == "D/loss"
    curves = found["curves"]
    assert curves["unit"] == "step"
    assert len(curves["x"]) == len(curves["series"]["D/loss"]) == 200
    assert curves["series"]["D/loss"][20] is None
    assert curves["series"]["G/loss"][20] == 3
    assert "--columns d_loss=first,g_loss=second" in found["command"]
    assert client.post("/api/diagnose", {"path": "runs/log.csv", "columns": {"nope": "first"}}).status == 400
    assert client.post("/api/diagnose", {"path": "/etc/passwd"}).status == 403
    assert client.post("/api/diagnose", {"upload": "nope"}).status == 404
    assert client.post("/api/diagnose", {}).status == 400
    Path("runs/prose.txt").write_text("It was a dark and stormy night.\n" * 20)
    assert client.post("/api/diagnose", {"path": "runs/prose.txt"}).error["expected"]


def test_the_curves_of_a_long_log_keep_their_peaks() -> None:
    history = History("step")
    for i in range(12_345):
        history.add(i, {"D/loss": 50.0 if i == 7000 else 1.0, "G/loss": None if i % 3 else float(i)})
    curves = work.gather(history)
    count = len(curves["x"])
    assert count <= work.MAX_POINTS
    assert all(len(values) == count for kind in ("series", "low", "high") for values in curves[kind].values())
    assert max(curves["high"]["D/loss"]) == 50
    assert max(curves["series"]["D/loss"]) < 6
    assert curves["x"][0] == 0
    assert curves["low"]["G/loss"][-1] <= curves["series"]["G/loss"][-1] <= curves["high"]["G/loss"][-1] == 12342


def test_values_that_are_not_finite_are_null() -> None:
    assert work.finite({"a": (math.nan, 1.0, {"b": -math.inf})}) == {"a": [None, 1.0, {"b": None}]}


# The worker


@pytest.fixture
def helper(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Adds a function to what a worker's child can do, which is then nothing else: it starts without NumPy."""
    folder = Path("child")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import sys, types\nwork = sys.modules['ganvas.studio.work'] = types.ModuleType('work')\n"
        "work.finite = lambda value: value\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder.absolute()), os.environ.get("PYTHONPATH", "")]))

    def add(name: str, code: str) -> None:
        lines = "\n".join(f"    {line}" for line in code.splitlines())
        with (folder / "sitecustomize.py").open("a") as file:
            file.write(f"def {name}(**arguments):\n    import os, time\n{lines}\n")
            file.write(f"work.{name} = {name}\n")

    return add


def run_with(worker_: Worker, work_: Callable[[Worker], Any]) -> Any:
    async def all_of_it() -> Any:
        try:
            return await work_(worker_)
        finally:
            await worker_.close()

    return asyncio.run(all_of_it())


def test_the_worker_is_restarted_when_it_dies_or_takes_too_long(helper: Any) -> None:
    helper("die", "os._exit(3)")
    helper("hang", "time.sleep(60)")
    helper("fail", "raise KeyError('x')")
    helper("chatter", "print('noise'); os.write(1, b'more'); return None")

    async def work_(one: Worker) -> None:
        assert await one.call("chatter", 20) is None
        first = one._process
        with pytest.raises(Refusal, match="KeyError: 'x'"):
            await one.call("fail", 20)
        assert one._process is first
        with pytest.raises(Refusal, match="has ended") as caught:
            await one.call("die", 20)
        assert caught.value.status == 500
        with pytest.raises(Refusal, match=r"longer than 0\.3 s"):
            await one.call("hang", 0.3)
        assert one._process is None
        assert first is not None
        assert await one.call("chatter", 20) is None
        last = one._process
        await one.close()
        assert last is not None
        assert not psutil.pid_exists(last.pid)

    run_with(Worker(), work_)


def test_a_worker_that_grows_is_ended(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    helper("grow", "found = bytearray(400_000_000); found[::4096] = b'x' * len(found[::4096]); time.sleep(20)")
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.1)

    async def work_(one: Worker) -> None:
        with pytest.raises(Refusal, match="too much memory"):
            await one.call("grow", 30)

    run_with(Worker(memory=300_000_000), work_)


def test_work_for_a_page_that_has_gone_is_dropped(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    helper("slow", "time.sleep(60)")
    helper("note", "open(arguments['path'], 'a').close()")
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.1)

    async def work_(one: Worker) -> None:
        await one.call("note", 20, path="ready")
        running = asyncio.create_task(one.call("slow", 60))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(one.call("note", 20, path="gone"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        running.cancel()
        began = time.monotonic()
        await one.call("note", 20, path="next")
        assert time.monotonic() - began < 15
        assert not Path("gone").exists()
        assert Path("next").exists()

    run_with(Worker(), work_)


def test_the_explorer_goes_on_after_a_page_has_gone(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    helper("nap", "time.sleep(0.3)")
    monkeypatch.setattr(worker, "GRACE_SECONDS", 0.05)

    async def work_(one: Worker) -> None:
        running = asyncio.create_task(one.call("nap", 20))
        while one._process is None:
            await asyncio.sleep(0.01)
        first = one._process
        running.cancel()
        await one.call("nap", 20)
        assert one._process is first
        assert running.cancelled()

    Path("runs").mkdir()
    run_with(Studio(Folders([Path("runs")])).explorer, work_)


def test_of_very_many_sizes_a_page_gets_the_most_frequent_ones(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for index in range(20):
        Image.new("L", (8 + min(index // 3, 6), 9)).save(tmp_path / "s" / f"{index}.png")
    report = work.inspect_data(str(tmp_path / "s"))
    assert (report["size_count"], list(report["original_sizes"].values())) == (7, [3, 3, 3, 3, 3])


def test_an_idle_worker_ends(helper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    helper("nothing", "return 1")
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.05)

    async def work_(one: Worker) -> None:
        assert await one.call("nothing", 20) == 1
        assert one._process is not None
        assert await asyncio.wait_for(one._process.wait(), 20) == 0
        assert await one.call("nothing", 20) == 1

    run_with(Worker(), work_)


def test_a_request_whose_page_has_gone_is_cancelled(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = never_answer(client.studio.inspector, monkeypatch)  # type: ignore[attr-defined]
    answer = client.run(client.send("GET", "/api/data?data=digits", disconnect_after=0.05))
    client.run(asyncio.sleep(0))
    assert answer.status == 408
    assert cancelled
