"""Commands that the studio starts: their state and output, stopping, and that a training does not need the studio."""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asgi_client import Client
from serving import holding
from starlette.applications import Starlette
from support import tiny

from ganvas.errors import GanvasError
from ganvas.recipes import RECIPES
from ganvas.runs.lock import is_being_trained
from ganvas.studio import jobs as jobs_module
from ganvas.studio import stopping, training
from ganvas.studio.answers import Refusal, refuse
from ganvas.studio.folders import Folders
from ganvas.studio.jobs import Job, Jobs, explain
from ganvas.studio.runs import Runs
from ganvas.studio.uploads import Uploads
from ganvas.training.start import train

RUNS = Path("runs")


def make_studio(trainings: int = 1) -> Any:
    RUNS.mkdir(exist_ok=True)
    folders = Folders([RUNS])
    return SimpleNamespace(
        folders=folders, data_folders=(), trainings=trainings, jobs=Jobs(folders.key),
        uploads=Uploads(folders.paths[0] / "uploads"), runs=Runs(folders),
    )  # fmt: skip


async def answer_error(request: Any, error: Exception) -> Any:
    return refuse(cast(GanvasError, error))


@pytest.fixture
def studio() -> Iterator[Any]:
    made = make_studio()
    yield made
    for kind in ("train", "evaluate", "estimate"):
        for job in made.jobs.running(kind):
            job.process.kill()
            wait_for(lambda job=job: job.ended is not None)


@pytest.fixture
def client(studio: Any) -> Iterator[Client]:
    app = Starlette(routes=list(training.routes(studio)), exception_handlers={GanvasError: answer_error})
    made = Client(app)
    yield made
    made.close()


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
    return found


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces ganvas by a few lines of Python."""

    def replace(code: str) -> None:
        monkeypatch.setattr(jobs_module, "PROGRAM", (sys.executable, "-c", code))

    return replace


def ended(job: Job) -> Job:
    wait_for(lambda: job.ended is not None)
    return job


# One job


def test_a_job_ends_with_its_result(studio: Any, program: Any) -> None:
    program("import sys; print('{\"speed\": 3}'); print('note', file=sys.stderr)")
    job = ended(studio.jobs.start("estimate", ["train", "digits", "a b"]))
    found = studio.jobs.describe(job)
    assert (found["state"], found["exit"], found["output"], found["result"]) == ("done", 0, "note", {"speed": 3})
    assert found["command"] == "ganvas train digits 'a b'"
    assert found["error"] is None
    assert found["began"] <= found["ended"]


def test_a_training_does_not_depend_on_the_folder_for_temporary_files(
    studio: Any, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/dev/null/full")
    program("print(1)")
    assert ended(studio.jobs.start("train", [], (RUNS / "new").absolute())).state == "done"
    assert not list(RUNS.iterdir())
    with pytest.raises(GanvasError):
        studio.jobs.start("estimate", [])


def test_an_error_keeps_its_three_parts(studio: Any, program: Any) -> None:
    text = "Note: x\nganvas: It is broken:\n  a.png\nExpected: whole files\nFix: mend it.\n"
    program(f"import sys; sys.stderr.write({text!r}); sys.exit(1)")
    found = studio.jobs.describe(ended(studio.jobs.start("evaluate", ["evaluate"])))
    assert found["state"] == "failed"
    assert found["error"] == {"what": "It is broken:\n  a.png", "expected": "whole files", "fix": "mend it."}


@pytest.mark.parametrize(
    ("output", "status", "what", "fix"),
    [
        ("ganvas: Alone.", 1, "Alone.", ""),
        ("ganvas: One.\nFix: do.", 1, "One.", "do."),
        ("Traceback\nKeyError: 'x'", 1, "KeyError: 'x'", "bug"),
        ("kimg 3", -9, "ended by SIGKILL", "memory"),
        ("", 3, "status 3", "bug"),
    ],
)
def test_other_ends_are_explained(output: str, status: int, what: str, fix: str) -> None:
    error = explain(output, status)
    assert what in error.what
    assert fix in error.fix


def test_a_bar_is_shown_as_its_last_state_and_long_output_by_its_end(studio: Any, program: Any) -> None:
    code = "import sys; e = sys.stderr; e.write('line\\n' * 100_000); e.write('\\x1b[1mbar 1 %\\rbar 2 %\\n')"
    program(code)
    output = ended(studio.jobs.start("estimate", [])).output
    assert output.splitlines()[-1] == "bar 2 %"
    assert len(output.splitlines()) <= jobs_module.TAIL_LINES


def test_a_line_of_output_is_no_news_of_a_job(studio: Any, program: Any) -> None:
    program("import sys; print('a line', file=sys.stderr, flush=True); sys.stdin.close(); import time; time.sleep(60)")
    job = studio.jobs.start("estimate", [])
    before = studio.jobs.progress()
    wait_for(lambda: job.output == "a line")
    assert studio.jobs.progress() == before
    assert not {"output", "result", "error"} & before[0].keys()
    studio.jobs.stop(job)
    assert ended(job).output == "a line"
    assert studio.jobs.progress() != before


def test_endless_output_does_not_fill_the_disk(studio: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MAX_OUTPUT", 10_000)
    monkeypatch.setattr(jobs_module, "LOOK_SECONDS", 0.05)
    program("import sys, time\nfor i in range(40): sys.stderr.write('x' * 1000 + '\\n'); time.sleep(0.02)")
    job = studio.jobs.start("estimate", [])
    sizes = []
    while job.ended is None:
        try:
            sizes.append(os.fstat(job.err.fileno()).st_size)
        except ValueError:
            break
        time.sleep(0.01)
    assert max(sizes) < 30_000


def test_one_training_at_a_time_and_one_evaluation_of_a_run(studio: Any, program: Any) -> None:
    program("import time; time.sleep(60)")
    first = studio.jobs.start("train", [], Path("a"), most=1)
    with pytest.raises(Refusal, match="running already") as caught:
        studio.jobs.start("train", [], Path("b"), most=1)
    assert caught.value.status == 409
    with pytest.raises(Refusal, match="a is running already"):
        studio.jobs.start("train", [], Path("a"), most=2)
    assert studio.jobs.job_of(Path("a")) is first
    assert studio.jobs.job_of(Path("b")) is None


def test_a_job_that_is_ending_is_waited_for(studio: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: time.sleep(0.5) or sys.exit(130))
print("ready", file=sys.stderr, flush=True)
time.sleep(60)
"""
    program(code)
    job = studio.jobs.start("train", [], Path("a"), most=1)
    wait_for(lambda: "ready" in job.output)
    studio.jobs.stop(job)
    assert studio.jobs.start("train", [], Path("a"), most=1).ended is None
    assert job.state == "stopped"
    (Path("b") / "state").mkdir(parents=True)
    monkeypatch.setattr(jobs_module, "ENDING_SECONDS", 0.2)
    began = time.monotonic()
    with pytest.raises(Refusal, match="running already"):
        studio.jobs.start("train", [], Path("b"), most=1)
    assert time.monotonic() - began < 0.2  # the other one is not ending
    other = studio.jobs.start("train", [], Path("b"), most=2)  # its folder is not locked: ending, or only starting
    with pytest.raises(Refusal, match="b is running already"):
        studio.jobs.start("train", [], Path("b"), most=2)
    assert other.ended is None
    assert time.monotonic() - began > 0.2


def test_the_end_of_the_studio_ends_estimates_only(studio: Any, program: Any) -> None:
    program("import time; time.sleep(60)")
    training_job, estimate = studio.jobs.start("train", [], most=1), studio.jobs.start("estimate", [])
    studio.jobs.close()
    assert ended(estimate).state == "stopped"
    assert training_job.ended is None


def test_a_training_is_interrupted_once(studio: Any, program: Any) -> None:
    code = """
import signal, sys, time
count = 0
def stop(*_):
    global count
    count += 1
signal.signal(signal.SIGTERM, stop)
print("ready", file=sys.stderr, flush=True)
time.sleep(1)
print("signals", count, file=sys.stderr)
sys.exit(130 if count else 0)
"""
    program(code)
    job = studio.jobs.start("train", [], most=1)
    wait_for(lambda: "ready" in job.output)
    for _ in range(3):
        studio.jobs.stop(job)
    assert studio.jobs.describe(job)["stopping"]
    assert ended(job).state == "stopped"
    assert "signals 1" in job.output


def test_ended_jobs_are_forgotten_and_files_closed(studio: Any, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_module, "MAX_ENDED", 2)
    program("pass")
    started = [ended(studio.jobs.start("estimate", [])) for _ in range(5)]
    assert len(studio.jobs.to_json()) == 3
    wait_for(lambda: all(job.err.closed and job.out.closed for job in started))


# Endpoints


def test_a_new_run_is_numbered_and_its_empty_folder_does_not_stay(client: Client, studio: Any, program: Any) -> None:
    program("import sys; print('ganvas: no.', file=sys.stderr); sys.exit(1)")
    (RUNS / "00004-digits-x").mkdir(parents=True)
    answer = client.post("/api/train", {"recipe": "digits", "kimg": "1"})
    assert answer.status == 202
    assert "--name 00005-digits-digits" in answer.json["command"]
    assert answer.json["run"] is None
    ended(studio.jobs.find(answer.json["id"]))
    assert not (RUNS / "00005-digits-digits").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "-rf", "x" * 101, 7])
def test_names_that_are_none_are_refused(client: Client, program: Any, name: Any) -> None:
    program("pass")
    answer = client.post("/api/train", {"recipe": "digits", "name": name})
    assert (answer.status, answer.error["field"]) == (400, "name")
    assert not list(RUNS.iterdir())


def test_a_name_that_is_taken_is_refused(client: Client, program: Any) -> None:
    program("pass")
    (RUNS / "mine").mkdir()
    assert client.post("/api/train", {"recipe": "digits", "name": "mine"}).status == 409


@pytest.mark.parametrize("name", ["", "mine"])
@pytest.mark.parametrize(
    ("number", "what"), [(errno.EACCES, "could not be written"), (errno.ENOSPC, "The disk is full")]
)
def test_a_folder_that_cannot_be_written_is_said_to_be(
    client: Client, program: Any, monkeypatch: pytest.MonkeyPatch, name: str, number: int, what: str
) -> None:
    program("pass")
    mkdir, folder = Path.mkdir, Path(os.path.realpath(RUNS))

    def refuse_new(path: Path, *given: Any, **options: Any) -> None:
        if path.parent == folder:
            raise OSError(number, os.strerror(number))
        mkdir(path, *given, **options)

    monkeypatch.setattr(Path, "mkdir", refuse_new)
    answer = client.post("/api/train", {"recipe": "digits", "name": name})
    assert answer.status == 400
    assert what in answer.error["what"]
    assert not list(RUNS.iterdir())


def test_data_outside_of_the_folders_is_refused(client: Client) -> None:
    for data in ("/etc", "../..", "stacked-mnist:/etc", "~root"):
        answer = client.post("/api/train", {"recipe": "digits", "data": data})
        assert (answer.status, answer.error["field"]) == (403, "data"), data
    checked = client.post("/api/check", {"recipe": "digits", "data": "/etc", "knobs": {"batch": "x"}}).json
    assert [error["field"] for error in checked["errors"]] == ["data", "batch"]
    assert checked["command"] is None
    assert client.post("/api/check", {"recipe": "digits", "knobs": {"init_from": "/etc"}}).json["errors"]
    assert client.post("/api/train", {"recipe": "digits", "data": "a\0b"}).status == 400


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_characters_that_no_command_can_have_are_refused(client: Client, value: str) -> None:
    answer = client.post("/api/train", {"recipe": "digits", "knobs": {"label_column": value}})
    assert answer.status == 400
    assert not list(RUNS.iterdir())


def test_recipes_and_knobs(client: Client) -> None:
    found = {recipe["name"]: recipe for recipe in client.get("/api/recipes").json["recipes"]}
    assert list(found) == list(RECIPES)
    assert (found["digits"]["images_per_s"], found["digits"]["size"]) == (6100, [8, 8])
    assert found["fast"]["minutes"] == 10
    knobs = client.get("/api/knobs?recipe=fast").json["knobs"]
    assert next(knob for knob in knobs if knob["name"] == "minutes")["default"] == 10
    assert client.get("/api/knobs?recipe=nope").status == 400


def test_an_uploaded_run_is_not_trained(client: Client, studio: Any) -> None:
    run = train(tiny(), out=RUNS / "uploads", quiet=True)
    key = studio.folders.key(run.path.resolve())
    for address in ("/api/resume", "/api/evaluate", "/api/train"):
        answer = client.post(address, {"run": key})
        assert (answer.status, answer.error["field"]) == (403, "run"), address


def test_a_complete_run_is_not_resumed_and_is_removed(client: Client) -> None:
    run = train(tiny(), out=RUNS, quiet=True)
    key = f"0/{run.path.name}"
    assert client.post("/api/resume", {"run": key}).status == 409
    assert client.post("/api/stop", {"run": key}).status == 409
    assert client.get(f"/api/neighbours?run={key}").json["name"] is None
    dry = client.post("/api/remove", {"runs": [key], "dry_run": True}).json
    assert dry["bytes"] > 1000
    assert run.path.exists()
    assert client.post("/api/remove", {"runs": [key]}).json["removed"]
    assert not run.path.exists()
    assert client.post("/api/clean", {"dry_run": True}).json["removed"] == []
    assert client.post("/api/remove", {"runs": []}).status == 400
    assert client.post("/api/remove", {"runs": ["0/."]}).status == 409


@pytest.mark.slow
def test_a_real_training_is_started_and_stopped_by_two_studios(client: Client, studio: Any, program: Any) -> None:
    knobs = {"tick_kimg": "0.2", "g_widths": "8", "d_widths": "8", "plot": False, "evaluate_every": "0"}
    answer = client.post("/api/train", {"recipe": "digits", "kimg": "5000", "knobs": knobs})
    assert answer.status == 202
    job = studio.jobs.find(answer.json["id"])
    key = wait_for(lambda: client.get(f"/api/jobs?id={job.id}").json["jobs"][0]["run"])
    path = studio.folders.find(key)
    assert client.post("/api/train", {"recipe": "digits"}).status == 409
    wait_for(lambda: (path / "stats.jsonl").exists())
    other = make_studio()  # as if the one that started it had been killed
    app = Starlette(routes=list(training.routes(other)), exception_handlers={GanvasError: answer_error})
    beside = Client(app)
    assert beside.post("/api/resume", {"run": key}).status == 409
    refused = beside.post("/api/train", {"recipe": "digits"})
    assert refused.status == 409
    assert refused.error["what"] == f"{path.name} is being trained already."
    assert not [one for one in RUNS.iterdir() if not any(one.iterdir())], "no empty folder stays"
    assert beside.post("/api/stop", {"run": key}).json == {"stopping": True, "job": None}
    beside.close()
    assert client.post("/api/stop", {"run": key}).json["job"]["stopping"]  # both at once: its state is saved
    assert ended(job).state == "stopped"
    assert job.exit == 130
    events = [json.loads(line)["event"] for line in (path / "events.jsonl").read_text().splitlines()]
    assert events == ["interrupted"]
    assert (path / "state" / "latest.safetensors").exists()

    assert not is_being_trained(path)
    program("")
    resumed = client.post("/api/resume", {"run": key})
    assert resumed.json["command"] == f"ganvas train {path}"
    ended(studio.jobs.find(resumed.json["id"]))


def test_who_holds_a_lock_is_found_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run = RUNS / "run"
    run.mkdir(parents=True)
    monkeypatch.setattr(stopping, "PAUSE", 0.05)
    with holding(f"lock_run(Path({str(run)!r}))") as end:
        stopping.stop_holder(run)
        stopping.stop_holder(run)
        assert end() == "1\n"
    with pytest.raises(Refusal, match="not being trained"):
        stopping.stop_holder(run)
