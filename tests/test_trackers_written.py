"""What each tracker really wrote, read back: make test-trackers, in an environment with the trackers' packages.

The suite skips a tracker whose package is not installed.
"""

import json
import socket
import sqlite3
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support import tiny

import ganvas
from ganvas.config import replace
from ganvas.evaluation.evaluation import evaluate, save_evaluation
from ganvas.runs import cleaning
from ganvas.runs.folder import Run
from ganvas.runs.log import append_event, read_stats
from ganvas.trackers import processes
from ganvas.trackers.finished import log_run
from ganvas.training import start

TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")

FINDING = {
    "name": "mode collapse", "severity": "failure", "summary": "G draws few images", "since": 0.1, "unit": "kimg",
    "evidence": ["diversity 0.1"], "causes": [], "fixes": [{"do": "a smaller rate of G", "flags": "--g-lr 1e-4"}],
    "source": "",
}  # fmt: skip


class Read:
    """What a tracker has of a run: its name, state, knobs, numbers, images, texts and evaluation, by step."""

    def __init__(self) -> None:
        self.name, self.state = "", ""
        self.config: dict[str, Any] = {}
        self.numbers: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.images: dict[str, list[tuple[int, tuple[int, int]]]] = defaultdict(list)
        self.texts: list[str] = []
        self.evaluation: dict[str, float] = {}


@pytest.fixture(autouse=True)
def _own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(processes, "LIMIT_SECONDS", 240.0)
    monkeypatch.setattr("ganvas.runs.listeners.END_SECONDS", 240.0)


def needs(tracker: str) -> Any:
    missing = find_spec(tracker) is None
    return pytest.param(
        tracker, marks=pytest.mark.skipif(missing, reason=f"{tracker} is not installed; see make test-trackers")
    )


EACH = pytest.mark.parametrize("tracker", [needs(name) for name in TRACKERS])


def train(tracker: str | None, kimg: float = 0.2, **knobs: Any) -> Run:
    """Trains, or goes on with, the run `runs/run`; its schedules do not depend on its length."""
    config = replace(tiny(kimg=kimg), log_to=tracker, g_lr=1e-3, **knobs)
    return start.train(config, name="run", quiet=True, listeners=processes.listeners(config))


def warnings(run: Run) -> list[str]:
    return [line for line in (run.path / "log.txt").read_text().splitlines() if "Warning:" in line]


# Reading


def read_tensorboard(run: Run) -> Read:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-not-found]

    found, log = Read(), EventAccumulator(str(run.path / "tensorboard"), {"images": 0, "scalars": 0, "tensors": 0})
    log.Reload()
    for tag in log.Tags()["scalars"]:
        points = [(event.step, event.value) for event in log.Scalars(tag)]
        if tag.startswith("evaluation/"):
            found.evaluation[tag] = points[-1][1]
        else:
            found.numbers[tag] = points
    for tag in log.Tags()["images"]:
        found.images[tag] = [(image.step, (image.width, image.height)) for image in log.Images(tag)]
    for tag in log.Tags()["tensors"]:
        texts = [tensor.tensor_proto.string_val[0].decode() for tensor in log.Tensors(tag)]
        if tag == "config":
            rows = (line.strip("| ").split(" | ") for line in texts[-1].splitlines())
            found.config = {row[0]: row[1] for row in rows if len(row) == 2}
        else:
            found.texts += texts
    found.name = run.path.name
    return found


def wandb_records(file: Path) -> Iterator[Any]:
    """The records of an offline file: a header of 7 bytes, then LevelDB's log format in blocks of 32 kB."""
    from wandb.proto import wandb_internal_pb2  # type: ignore[import-not-found]

    data, at, record = file.read_bytes(), 7, b""
    assert data.startswith(b":W&B")
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record, at = record + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield wandb_internal_pb2.Record.FromString(record)
            record = b""


def read_wandb(run: Run) -> Read:
    found, rows, ids = Read(), {}, set()
    for folder in sorted((run.path / "wandb").glob("offline-run-*")):
        [file] = folder.glob("*.wandb")
        for record in wandb_records(file):
            kind = record.WhichOneof("record_type")
            items = {"history": record.history.item, "summary": record.summary.update, "run": record.run.config.update}
            values = {one.key or "/".join(one.nested_key): json.loads(one.value_json) for one in items.get(kind, ())}
            if kind == "run":
                found.name, found.config = record.run.display_name, values
                ids.add(record.run.run_id)
            elif kind == "history":
                rows.setdefault(int(values["_step"]), {}).update(values)
            elif kind == "summary":
                found.evaluation |= {
                    k: v for k, v in values.items() if k.startswith("evaluation/") and "table" not in k
                }
                found.state = values.get("state", found.state)
        tables = sorted((folder / "files").rglob("events_*.table.json"), key=lambda path: path.stat().st_mtime)
        for row in json.loads(tables[-1].read_text())["data"] if tables else ():
            found.texts.append(row[3])
        for step, row in sorted(rows.items()):
            for name in ("reals", "fakes"):
                if row.get(f"{name}/path") and (image := folder / "files" / row[f"{name}/path"]).exists():
                    found.images[name].append((step, Image.open(image).size))
    for step, row in sorted(rows.items()):
        for name, value in row.items():
            if isinstance(value, int | float) and not name.startswith(("_", "fakes/", "reals/", "events/")):
                found.numbers[name].append((step, value))
    assert len(ids) == 1, "every session belongs to one run"
    return found


def read_trackio(run: Run) -> Read:
    found, folder = Read(), Path("trackio")
    with closing(sqlite3.connect(folder / "ganvas.db")) as store:
        for name, step, metrics in store.execute("select run_name, step, metrics from metrics order by step, id"):
            found.name = name
            for key, value in json.loads(metrics).items():
                if isinstance(value, int | float) and key.startswith("evaluation/"):
                    found.evaluation[key] = value
                elif isinstance(value, int | float):
                    found.numbers[key].append((step, value))
                elif value["_type"] == "trackio.image":
                    found.images[key].append((step, Image.open(folder / "media" / value["file_path"]).size))
        assert len({row[0] for row in store.execute("select run_id from metrics")}) == 1
        found.texts = [row[0] for row in store.execute("select text from alerts order by step")]
        [found.config] = [json.loads(row[0]) for row in store.execute("select config from configs")]
    return found


def read_mlflow(run: Run) -> Read:
    from mlflow import MlflowClient  # type: ignore[import-not-found]

    found, client = Read(), MlflowClient(f"sqlite:///{run.path.parent.absolute()}/mlflow.db")
    experiment = client.get_experiment_by_name("ganvas")
    [one] = client.search_runs([experiment.experiment_id])
    found.name, found.config, found.state = one.info.run_name, one.data.params, one.info.status
    for name, value in one.data.metrics.items():
        if name.startswith("evaluation/"):
            found.evaluation[name] = value
        else:
            found.numbers[name] = [(p.step, p.value) for p in client.get_metric_history(one.info.run_id, name)]
    for artifact in client.list_artifacts(one.info.run_id, "images"):
        parts = Path(artifact.path).name.replace("%", "+").split("+")
        if artifact.path.endswith(".png"):
            size = Image.open(client.download_artifacts(one.info.run_id, artifact.path)).size
            found.images[parts[0]].append((int(parts[2]), size))
    found.texts = [Path(client.download_artifacts(one.info.run_id, "events.md")).read_text()]
    return found


READ: dict[str, Callable[[Run], Read]] = {
    "tensorboard": read_tensorboard, "wandb": read_wandb, "trackio": read_trackio, "mlflow": read_mlflow,
}  # fmt: skip


def check_numbers(found: Read, run: Run) -> None:
    """Every number of stats.jsonl is there once, at its images shown."""
    lines = read_stats(run.path)
    steps = [line["nimg"] for line in lines]
    assert steps == sorted(set(steps))
    for name in ("D/loss", "G/loss", "D/gradient"):
        assert [step for step, _ in found.numbers[name]] == steps, name
        assert [value for _, value in found.numbers[name]] == pytest.approx([line[name]["mean"] for line in lines])
    for name in ("nimg", "D/lr", "G/updates"):
        assert found.numbers[name] == [(line["nimg"], pytest.approx(line[name])) for line in lines]
    signals = {f"signals/{name}" for line in lines for name in line.get("signals", ())}
    assert signals <= found.numbers.keys()


# The tests


@EACH
def test_run_is_read_back(tracker: str) -> None:
    run = train(tracker)
    append_event(run.path, "diagnosis", 160, **FINDING)
    save_evaluation(evaluate(run, count=40, quick=True, quiet=True), run)
    log_run(run, to=tracker)  # what came after the training
    assert not warnings(run)
    found = READ[tracker](run)
    assert found.name == "run"
    check_numbers(found, run)
    width, height = Image.open(run.path / "fakes000000.png").size
    assert found.images["reals"] == [(0, Image.open(run.path / "reals.png").size)]
    assert found.images["fakes"][-1] == (200, (width, height))
    assert str(found.config["batch"]) == "20"
    assert str(found.config["data_name"]) == "digits"
    assert float(found.config["r1"]) == 0.1
    text = "\n".join(found.texts)
    assert "failure: G draws few images (diversity 0.1; since kimg 0.1)" in text
    assert "Fix: a smaller rate of G --g-lr 1e-4" in text
    assert "done at 0.2 kimg" in text
    [row] = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for name, value in row["values"].items():
        assert found.evaluation[f"evaluation/{name}"] == pytest.approx(value["value"])
        if value["baseline"] is not None:
            assert found.evaluation[f"evaluation/{name}/baseline"] == pytest.approx(value["baseline"])
    assert found.state in ("", "complete", "FINISHED")
    assert not cleaning.find_foreign(run.path)


@EACH
def test_resumed_run_is_one_run_in_the_tracker(tracker: str) -> None:
    run = train(tracker)
    first = json.loads((run.path / "trackers" / f"{tracker}.json").read_text())
    run = train(tracker, kimg=0.3)
    second = json.loads((run.path / "trackers" / f"{tracker}.json").read_text())
    assert first["id"] == second["id"]
    assert (first["nimg"], second["nimg"]) == (200, 300)
    assert not warnings(run)
    check_numbers(READ[tracker](run), run)


@EACH
def test_lines_that_a_resume_drops_are_there_once(tracker: str) -> None:
    """A session logs beyond the last state and is killed: the next one repeats these lines."""
    run = train(None)
    stats, whole = run.path / "stats.jsonl", read_stats(run.path)
    log_run(run, to=tracker)
    lines = stats.read_text().splitlines(keepends=True)
    stats.write_text("".join(lines[:3]))  # as a session that resumes from 100 leaves it
    log_run(run, to=tracker)
    stats.write_text("".join(lines))
    log_run(run, to=tracker)
    check_numbers(READ[tracker](run), run)
    assert len(whole) == 6


@EACH
def test_nothing_goes_online_by_itself(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection would go through the proxy that the environment names, which counts them."""
    run = train(None)
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        asked: list[bytes] = []

        def listen() -> None:
            while True:
                try:
                    connection, _ = proxy.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(2)
                    asked.append(connection.recv(200))

        threading.Thread(target=listen, daemon=True).start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            for one in (name, name.lower()):
                monkeypatch.setenv(one, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for one in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(one, raising=False)
        log_run(run, to=tracker)
        assert not asked
    READ[tracker](run)


@EACH
def test_full_disk_is_one_warning(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker's store cannot be written: a file has the name of its folder."""
    blocked = {"tensorboard": "runs/run/tensorboard", "wandb": "w", "trackio": "trackio", "mlflow": "runs/mlflow.db"}
    run = train(None)
    target = Path(blocked[tracker])
    if tracker == "mlflow":
        target.mkdir()
    else:
        target.write_text("in the way")
    monkeypatch.setenv("WANDB_DIR", "w/sub")
    resumed = train(tracker, kimg=0.3)
    assert len(warnings(resumed)) == 1, warnings(resumed)
    assert read_stats(run.path)[-1]["nimg"] == 300


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed; see make test-trackers")
def test_tensorboard_files_are_read_by_our_own_reader() -> None:
    run = train("tensorboard")
    assert "TensorBoard" in ganvas.diagnose(run.path / "tensorboard").facts.format


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed; see make test-trackers")
def test_two_runs_of_one_name_are_two_runs_in_trackio() -> None:
    first = train("trackio")
    first.path.rename("elsewhere")
    second = train("trackio")
    ids = [
        json.loads((path / "trackers" / "trackio.json").read_text())["id"] for path in (Path("elsewhere"), second.path)
    ]
    assert ids[0] == "run"
    assert ids[1].startswith("run-")
