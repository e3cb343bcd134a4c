"""Trackers: what they are told of a run, that a failing one changes nothing, and that a resumed run continues.

What the trackers' own packages write is read back in test_trackers_written.py.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import recording_trackers
from support import Fork, call_cli, run_cli, run_script_file, tiny

import ganvas
from ganvas.config import TrainConfig, from_json, replace, to_json
from ganvas.config.trackers import TrackerName, parse_trackers
from ganvas.errors import GanvasError
from ganvas.evaluation.evaluation import evaluate, save_evaluation
from ganvas.runs import checkpoint, cleaning, listeners
from ganvas.runs.folder import Run
from ganvas.runs.log import append_event, read_events, read_stats
from ganvas.runs.names import name_images
from ganvas.trackers import mlflow_log, processes
from ganvas.trackers.finished import log_run
from ganvas.trackers.follower import Follower
from ganvas.trackers.notes import describe_event, final_state
from ganvas.trackers.record import Record, read_record
from ganvas.trackers.table import TRACKERS
from ganvas.trackers.tracker import Facts
from ganvas.training import start

OWN = recording_trackers.__file__


def spec(name: str, file: str = "") -> str:
    return f"{OWN}:{name}(file={file!r})" if file else f"{OWN}:{name}"


def train(config: TrainConfig, *trackers: str, name: str = "run", **options: Any) -> Run:
    config = replace(config, log_to=list(trackers) or None)
    return start.train(config, name=name, quiet=True, listeners=processes.listeners(config), **options)


def recorded(call: str = "", file: str = "recorded.jsonl") -> list[dict[str, Any]]:
    text = Path(file).read_text() if Path(file).exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if call in ("", line["call"])]


def warnings(run: Run) -> list[str]:
    return [line for line in (run.path / "log.txt").read_text().splitlines() if "Warning:" in line]


# What a tracker is told


def test_tracker_is_told_what_the_run_writes() -> None:
    run = train(replace(tiny(), evaluate_at_end=True), spec("Recording"))
    assert not warnings(run)
    [opened] = recorded("open")
    assert opened["config"]["batch"] == 20
    assert opened["config"]["recipe"] == "config"
    assert opened["config"]["data_name"] == "digits"
    assert not opened["torch"], "the process of a tracker needs no PyTorch"
    lines = read_stats(run.path)
    told = recorded("numbers")
    assert [one["nimg"] for one in told] == [line["nimg"] for line in lines] == [40, 80, 100, 120, 160, 200]
    for one, line in zip(told, lines, strict=True):
        assert one["numbers"]["D/loss"] == line["D/loss"]["mean"]
        assert one["numbers"]["kimg_per_s"] == line["kimg_per_s"]
        for name, value in line.get("signals", {}).items():
            assert one["numbers"][f"signals/{name}"] == value
        assert {name.partition("/")[0] for name in one["numbers"]} <= {name.partition("/")[0] for name in line}
    assert [one["time"] for one in told] == sorted(one["time"] for one in told)
    assert abs(told[-1]["time"] - time.time()) < 300
    grids = recorded("image")
    assert [(one["name"], one["nimg"], one["file"]) for one in grids] == [
        ("reals", 0, "reals.png"), *(("fakes", nimg, f"fakes{name_images(nimg)}.png") for nimg in (0, 100, 200))
    ]  # fmt: skip
    notes = [note for call in recorded("notes") for note in call["new"]]
    assert [note["kind"] for note in notes] == [e["event"] for e in read_events(run.path) if e["event"] != "balance"]
    [evaluation] = recorded("evaluation")
    assert evaluation["nimg"] == 200
    assert evaluation["numbers"]["evaluation/frechet"] > 0
    assert "Fréchet distance" in evaluation["table"]
    assert recorded()[-1] == {"call": "close", "state": "complete"}


def test_finding_is_told_as_text() -> None:
    finding = {
        "event": "diagnosis", "time": 1.0, "nimg": 4000, "name": "D frozen", "severity": "failure",
        "summary": "D stands", "since": 2.0, "unit": "kimg", "evidence": ["update 0"], "causes": [], "source": "",
        "fixes": [{"do": "raise D's rate", "flags": "--d-lr 1e-3", "changes": {"d_lr": 1e-3}}],
    }  # fmt: skip
    note = describe_event(finding)
    assert note is not None
    assert (note.nimg, note.severity, note.title) == (4000, "failure", "D frozen at 4 kimg")
    assert "failure: D stands (update 0; since kimg 2)" in note.text
    assert "Fix: raise D's rate --d-lr 1e-3" in note.text
    act = {"event": "correct", "nimg": 8000, "changes": {"d_lr": 1e-3}, "finding": finding, "times": 1}
    corrected = describe_event(act)
    assert corrected is not None
    assert corrected.severity == "warning"
    assert "Changed: --d-lr 0.001" in corrected.text
    assert "D stands" in corrected.text
    assert describe_event({"event": "balance", "nimg": 1}) is None
    assert describe_event({"event": "diagnosis", "nimg": 1, "fixes": None, "since": "?"}) is not None, "damaged"


def test_state_of_a_session_is_that_of_its_last_event() -> None:
    events = [{"event": name} for name in ("diagnosis", "interrupted", "resume", "done")]
    assert [final_state(events[:n]) for n in range(5)] == [
        "unfinished", "unfinished", "interrupted", "unfinished", "complete",
    ]  # fmt: skip
    assert final_state([{"event": "stopped"}]) == final_state([{"event": "non-finite"}]) == "failed"


def test_finished_run_is_logged_by_the_same_calls() -> None:
    run = train(tiny(), spec("Recording", "live.jsonl"))
    logged = log_run(run, to=spec("Recording", "later.jsonl"))
    assert logged[0].where == "later.jsonl"
    assert recorded("close", "live.jsonl") == recorded("close", "later.jsonl")
    one, other = (recorded("numbers", file) for file in ("live.jsonl", "later.jsonl"))
    assert [line["numbers"] for line in one] == [line["numbers"] for line in other]
    live, later = (
        [note for one in recorded("notes", f"{name}.jsonl") for note in one["new"]] for name in ("live", "later")
    )
    assert live == later
    assert recorded("image", "live.jsonl")[-1] == recorded("image", "later.jsonl")[-1]


def test_what_is_logged_is_not_logged_again() -> None:
    run = train(tiny(), spec("Recording"))
    before = len(recorded())
    [again] = log_run(run, to=spec("Recording"))
    assert again.id == recorded("open")[1]["id"]
    assert [line["call"] for line in recorded()[before:]] == ["open", "close"]
    save_evaluation(evaluate(run, count=40, quick=True, quiet=True), run)
    log_run(run, to=[spec("Recording")])
    assert [line["call"] for line in recorded()[before + 2 :]] == ["open", "evaluation", "close"]
    log_run(run, to=spec("Recording"), new=True)
    assert recorded("open")[-1]["id"] is None
    assert len(recorded("numbers")) == 12


# Failures


FAILING = ["FailsToOpen", "FailsToLog", "Crashes", "HangsAtFinish", "HangsAtStart", "NoTracker", "Missing"]


def test_weights_are_the_same_with_and_without_trackers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LIMIT_SECONDS", 4.0)
    monkeypatch.setattr(listeners, "END_SECONDS", 6.0)
    plain = train(tiny(), name="plain")
    with_one = train(tiny(), spec("Recording"), name="one")
    with_failing = train(tiny(), *(spec(name) for name in FAILING), spec("Recording", "beside.jsonl"), name="failing")
    states = [checkpoint.load(run.state_file)[0] for run in (plain, with_one, with_failing)]
    for other in states[1:]:
        assert other.keys() == states[0].keys()
        assert all((other[name] == tensor).all() for name, tensor in states[0].items())
    events = [[event["event"] for event in read_events(run.path)] for run in (plain, with_one, with_failing)]
    assert events[0] == events[1] == events[2]
    assert not warnings(with_one)
    said = warnings(with_failing)
    for name in FAILING:
        assert sum(f":{name}. " in line for line in said) == 1, (name, said)
    assert len(said) == len(FAILING)
    text = "\n".join(said)
    for reason in ("no such server", "No space left on device", "ended with status 7: out of luck", "without open, "):
        assert reason in text
    assert text.count("finish") == 2
    assert "has no 'Missing'" in text
    assert [one["nimg"] for one in recorded("numbers", "beside.jsonl")] == [
        line["nimg"] for line in read_stats(plain.path)
    ]


def test_missing_package_is_one_warning_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.trackers.table.find_spec", lambda name: None)
    run = train(tiny(), "wandb")
    [warning] = warnings(run)
    assert "is not logged to wandb. The package wandb is not installed." in warning
    assert f"Fix: pip install 'ganvas[wandb]' installs it. Then ganvas log {run} --to wandb" in (
        run.path / "log.txt"
    ).read_text().replace("  Fix", "Fix")
    with pytest.raises(GanvasError, match="The package mlflow is not installed"):
        log_run(run, to="mlflow")
    assert not (run.path / "trackers").exists()


class Told:
    """A listener in the training's own process, which may fail in one of its methods."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[str] = []
        self._fails = fails

    def begin(self, run: Run, report: Callable[[str], object]) -> None:
        self._call("begin")

    def written(self) -> None:
        self._call("written")

    def end(self, seconds: float) -> None:
        self._call("end")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self._fails:
            raise ValueError("too much")


def test_listener_that_raises_hears_no_more_and_training_goes_on() -> None:
    told, failing = Told(), [Told("begin"), Told("written"), Told("end")]
    run = start.train(tiny(), name="run", quiet=True, listeners=[*failing, told])
    assert told.calls[0] == "begin"
    assert told.calls[-1] == "end"
    assert told.calls.count("written") == 6 + 3, "after every line and every snapshot"
    assert [one.calls[-1] for one in failing] == ["begin", "written", "end"]
    assert [one.calls.count(one.calls[-1]) for one in failing] == [1, 1, 1]
    assert len(warnings(run)) == 3
    assert "Told failed, and hears no more of this run: ValueError: too much" in warnings(run)[0]
    with pytest.raises(GanvasError, match="listeners is"):
        start.train(tiny(), name="other", quiet=True, listeners=[object()])  # type: ignore[list-item]


def test_interrupted_training_does_not_wait_for_a_tracker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "INTERRUPTED_SECONDS", 1.0)

    class Interrupts(Told):
        def written(self) -> None:
            super().written()
            if len(self.calls) == 3:
                raise KeyboardInterrupt

    config = replace(tiny(), log_to=spec("HangsAtFinish"))
    hanging = processes.Trackers([spec("HangsAtFinish")], limit=3.0)
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        start.train(config, name="run", quiet=True, listeners=[Interrupts(), hanging])
    assert time.monotonic() - before < listeners.INTERRUPTED_SECONDS + 15
    assert "the rest is still being logged to" in Path("runs/run/log.txt").read_text()
    [process] = hanging.processes
    assert process.wait(30), "it ends itself, though nobody waits for it"
    assert process.failure == "It took too long to finish."


def test_tracker_ends_when_the_training_is_killed(tmp_path: Path) -> None:
    kill_at_nimg(180, replace(tiny(), log_to=spec("Recording")))
    deadline = time.monotonic() + 60
    while not recorded("close"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert recorded("close")[0]["state"] == "unfinished"


# Resuming


KILLED = """
import json, os, sys
from pathlib import Path
from ganvas.config import TrainConfig, from_json
from ganvas.trackers import processes
from ganvas.training import start
from ganvas.training.state import TrainState
one_round = TrainState.train_round
def round(self, batches, nimg):
    if nimg == int(sys.argv[2]) and Path('runs/run/stats.jsonl').exists(): os._exit(9)  # else it is the trial
    return one_round(self, batches, nimg)
TrainState.train_round = round
config = from_json(TrainConfig, json.loads(sys.argv[1]))
start.train(config, name='run', quiet=True, listeners=processes.listeners(config))
"""


def kill_at_nimg(nimg: int, config: TrainConfig) -> None:
    """Trains in another process that ends at once there, as by kill -9."""
    Path("killed.py").write_text(KILLED)
    done = Fork(["killed.py", json.dumps(to_json(config)), str(nimg)], run_script_file).wait(120)
    assert done.returncode == 9, done.stderr


@pytest.mark.parametrize("kind", ["Recording", "Rewinding"])
def test_resumed_run_continues_the_same_tracker_run(kind: str) -> None:
    """Lines 120 and 160 came after the last state, of 100: they are logged once, or taken back and logged again."""
    config = replace(tiny(), log_to=spec(kind))
    kill_at_nimg(180, config)
    deadline = time.monotonic() + 60
    while not recorded("close"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    killed = len(recorded())
    assert [one["nimg"] for one in recorded("numbers")] == [40, 80, 100, 120, 160]
    run = train(tiny(), spec(kind))
    assert not warnings(run)
    first, second = recorded("open")
    assert first["id"] is None
    assert second["id"] == read_record(run.path, spec(kind)).id
    told = [line for line in recorded()[killed:] if line["call"] == "numbers"]
    if kind == "Rewinding":
        assert second["after"] == 100
        assert [one["nimg"] for one in told] == [120, 160, 200]
    else:
        assert second["after"] == 160
        assert [one["nimg"] for one in told] == [200]
    notes = [note["kind"] for call in recorded("notes") for note in call["new"]]
    assert notes.count("resume") == notes.count("done") == 1
    whole = train(tiny(), spec("Recording", "whole.jsonl"), name="whole")
    by_nimg = {one["nimg"]: one["numbers"]["D/loss"] for one in recorded("numbers")}
    assert by_nimg == {one["nimg"]: one["numbers"]["D/loss"] for one in recorded("numbers", "whole.jsonl")}
    assert whole.path != run.path


def test_tracker_that_is_added_later_gets_the_whole_run() -> None:
    run = train(replace(tiny(), g_lr=1e-3))
    longer = train(replace(tiny(kimg=0.3), g_lr=1e-3), spec("Recording"))
    assert longer.path == run.path
    assert [one["nimg"] for one in recorded("numbers")] == [line["nimg"] for line in read_stats(run.path)]
    assert recorded("numbers")[-1]["nimg"] == 300


def test_complete_run_is_logged_by_the_same_command_with_a_tracker() -> None:
    train(tiny())
    train(tiny(), spec("Recording"))
    assert len(recorded("numbers")) == 6


@pytest.mark.slow
@pytest.mark.exhaustive
def test_only_rank_0_logs() -> None:
    config = json.dumps(to_json(replace(tiny(), log_to=spec("Recording"))))
    Path("ranks.py").write_text(KILLED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "ranks.py"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([*command, config, "-1"], capture_output=True, text=True, timeout=300, env=env)
    assert done.returncode == 0, done.stderr
    assert len(recorded("open")) == 1
    assert [one["nimg"] for one in recorded("numbers")] == [40, 80, 100, 120, 160, 200]


# The follower, without a process


class Log(recording_trackers.Recording):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, dict[str, Any]]] = []

    def _write(self, call: str, **arguments: Any) -> None:
        self.told.append((call, arguments))


def test_grid_has_the_images_shown_of_its_snapshot_and_waits_until_it_is_drawn() -> None:
    run = train(replace(tiny(kimg=2.2), snapshot_kimg=1.0, tick_kimg=0.5, evaluate_every=0.0))
    log = Log()
    follower = Follower(run, log, Record("log"))
    follower.open()
    card, grid = run.latest_snapshot / "card.json", run.path / "fakes000002.200.png"
    os.utime(card, (grid.stat().st_mtime + 10, grid.stat().st_mtime + 10))
    follower.catch_up()
    images = [(one["nimg"], one["file"]) for call, one in log.told if call == "image"]
    assert images == [(0, "reals.png"), *((1000 * kimg, f"fakes00000{kimg}.png") for kimg in range(3))]
    follower.close()
    assert [(one["nimg"], one["file"]) for call, one in log.told if call == "image"][4:] == [
        (2200, "fakes000002.200.png")
    ]


def test_half_written_line_is_logged_when_it_is_whole() -> None:
    run = train(tiny())
    stats = run.path / "stats.jsonl"
    lines = stats.read_text().splitlines(keepends=True)
    stats.write_text("".join(lines[:2]) + lines[2][:50])
    log = Log()
    follower = Follower(run, log, Record("log"))
    follower.open()
    follower.catch_up()
    assert [one["nimg"] for call, one in log.told if call == "numbers"] == [40, 80]
    stats.write_text("".join(lines[:3]) + "damaged\n" + lines[3])
    append_event(run.path, "correct", 120, changes={"d_lr": 0.1})
    follower.catch_up()
    assert [one["nimg"] for call, one in log.told if call == "numbers"] == [40, 80, 100, 120]
    assert [len(one["new"]) for call, one in log.told if call == "notes"][-1] == 1


# The command, and bad input


def test_names_are_those_of_the_table() -> None:
    assert tuple(TRACKERS) == get_args(TrackerName)
    assert parse_trackers("tensorboard, wandb,tensorboard") == ("tensorboard", "wandb")
    assert parse_trackers("a.py:T(x=1,y=2),mlflow") == ("a.py:T(x=1,y=2)", "mlflow")
    assert replace(tiny(), log_to=["wandb", "mlflow"]).runtime.log_to == "wandb,mlflow"
    assert replace(tiny(), log_to=()).runtime.log_to is None
    config = replace(tiny(), log_to="trackio")
    assert from_json(TrainConfig, json.loads(json.dumps(to_json(config)))) == config


@pytest.mark.parametrize("text", ["", ",", "wandb,", "tensorbord", "none", "wandb;mlflow", "a.py", ":", "²"])
def test_unknown_tracker_is_refused(text: str) -> None:
    with pytest.raises(GanvasError, match=r"log-to|names nothing"):
        replace(tiny(), log_to=text)
    call_cli("train", "mlp", f"--log-to={text}", "--dry-run", check=1)


def test_finished_run_is_not_logged_to_an_unknown_tracker() -> None:
    run = train(tiny())
    call_cli("log", run.path, "--to=tensorbord", check=1)


def test_misspelt_tracker_gets_its_right_name() -> None:
    with pytest.raises(GanvasError, match="did you mean 'tensorboard'"):
        replace(tiny(), log_to="tensorbord")


def test_log_refuses_what_is_no_run() -> None:
    for path in ("missing", ".", "a\0b"):
        assert "Traceback" not in call_cli("log", path, "--to", "tensorboard", check=1).stderr
    call_cli("log", check=2)
    for to in (None, 3, [object()], object()):
        with pytest.raises(GanvasError, match="to is"):
            log_run(train(tiny()), to=to)  # type: ignore[arg-type]


def test_damaged_record_is_named() -> None:
    run = train(tiny(), spec("Recording"))
    [file] = (run.path / "trackers").glob("*.json")
    for content in ("", "{}", '{"tracker": 3}', "[" * 9999):
        file.write_text(content)
        with pytest.raises(GanvasError, match=r"is damaged .*"):
            log_run(run, to=spec("Recording"))
    file.unlink()
    log_run(run, to=spec("Recording"))


def test_experiment_that_another_training_has_just_created_is_used() -> None:
    class Store:
        """MLflow's client, beside another one."""

        created = False

        def get_experiment_by_name(self, name: str) -> SimpleNamespace | None:
            return SimpleNamespace(experiment_id="7") if self.created else None

        def create_experiment(self, name: str, artifacts: str | None) -> str:
            self.created = True
            raise RuntimeError(f"{name} already exists")

        def create_run(self, experiment: str, **named: Any) -> SimpleNamespace:
            return SimpleNamespace(info=SimpleNamespace(run_id=f"run in {experiment}"))

    log = mlflow_log.Log()
    log._client = Store()
    assert log._create(Facts(Path("runs/a"), {}, ""), None) == "run in 7"


def test_command_prints_where_the_run_is_logged() -> None:
    run = train(tiny())
    said = run_cli("log", run.path, "--to", spec("Recording")).stdout
    assert "recorded.jsonl" in said
    assert "cat shows it." in said
    one = json.loads(run_cli("log", run.path, "--to", spec("Recording"), "--json").stdout)["logged"][0]
    assert one["where"] == "recorded.jsonl"
    failed = run_cli("log", run.path, "--to", f"{spec('FailsToOpen')},{spec('Recording')}", check=1)
    assert "no such server" in failed.stderr
    assert len(recorded("open")) == 3, "the others are logged all the same"


def test_what_trackers_write_into_a_run_is_removed_with_it() -> None:
    run = train(tiny(), spec("Recording"))
    for name in ("tensorboard/events.out.tfevents.1.host.2.0", "wandb/offline-run-1-x/run-x.wandb", "wandb/debug.log"):
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        (run.path / name).touch()
    assert not cleaning.find_foreign(run.path)
    (run.path / "tensorboard" / "notes.txt").touch()
    assert cleaning.find_foreign(run.path) == ["tensorboard/notes.txt"]


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed; see make test-trackers")
def test_tensorboard_file_is_read_by_our_own_reader() -> None:
    run = train(tiny(), "tensorboard")
    assert ganvas.diagnose(run.path / "tensorboard").facts.format
