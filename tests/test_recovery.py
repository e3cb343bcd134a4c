"""The health monitor of a run: probes do not change the run; failures are reported, stop it or are corrected."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import BATCH_NORM_IN_D, run_cli, shorten_statistics, tiny

import ganvas as package
from ganvas.config import TrainConfig, replace
from ganvas.diagnosis import budget
from ganvas.diagnosis.diagnosis import Diagnosis, Finding
from ganvas.diagnosis.rules.conditions import ConditionName
from ganvas.diagnosis.rules.fixes import GP, NOISE, R1_R2
from ganvas.diagnosis.rules.remedies import changes_of
from ganvas.diagnosis.rules.table import CONDITIONS, condition
from ganvas.diagnosis.signals.samples import ReferenceSet
from ganvas.diagnosis.sources import diagnose, read_run
from ganvas.errors import GanvasError
from ganvas.recipes import RECIPES
from ganvas.runs import checkpoint, log, state_metadata
from ganvas.training import start


def unstable(**knobs: object) -> TrainConfig:
    """A run with a far too high learning rate of G: which failure is found first depends on how a processor rounds."""
    return replace(tiny(kimg=1.2, r1=0.0, r2=0.0), g_lr="0.5", ema=0.1, tick_kimg=0.1, snapshot_kimg=0.2, **knobs)


def still() -> TrainConfig:
    """A run whose G does not learn: the same failure on every processor."""
    return replace(tiny(kimg=1.2), g_lr=0.0, tick_kimg=0.1, snapshot_kimg=0.2)


def events(run: package.Run, kind: str) -> list[dict]:
    return [event for event in log.read_jsonl(run.path / "events.jsonl") if event["event"] == kind]


@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        "mlp",
        "cnn",
        "dcgan",
        "stylegan",
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("msg", "projected")),
    ],
)
def test_probes_do_not_change_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    monkeypatch.setattr(budget, "FREE", 1e9)  # however slow the machine is
    weights = []
    for watch in (True, False):
        unpenalised: dict[str, Any] = {"r1": 0.0, "r2": 0.0} if family in BATCH_NORM_IN_D else {}
        config = replace(tiny(family=family, **unpenalised), watch=watch, conditional=family == "cnn")
        run = start.train(config, out=tmp_path / str(watch), quiet=True)
        weights.append((run.latest_snapshot / "G.safetensors").read_bytes())
        lines = list(log.read_jsonl(run.path / "stats.jsonl"))
        assert ("signals" in lines[-1]) == watch
        if watch:
            assert {"D/auc", "D/update", "diversity", "distance", "checkerboard"} <= set(lines[-1]["signals"])
            assert ("D/label_effect" in lines[-1]["signals"]) == (family == "cnn")
            assert lines[-1]["signals"]["D/update"] > 0
    assert weights[0] == weights[1]


def test_failing_probe_is_logged_and_the_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> dict[str, float]:
        raise RuntimeError("no memory")

    monkeypatch.setattr(ReferenceSet, "compare", fail)
    run = start.train(tiny(), out=tmp_path, quiet=True)
    assert [event["error"] for event in events(run, "monitor failed")] == ["RuntimeError: no memory"]
    assert run.snapshots


@pytest.mark.parametrize("on_failure", ["warn", "stop"])
def test_probes_respect_their_time_share_unless_interventions_need_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_failure: str
) -> None:
    monkeypatch.setattr(budget, "FREE", 0.0)
    monkeypatch.setattr(budget, "PROBES", 0.0)
    run = start.train(replace(tiny(), on_failure=on_failure), out=tmp_path, quiet=True)
    probed = ["signals" in line for line in log.read_jsonl(run.path / "stats.jsonl")]
    assert len(probed) == 6
    assert probed == ([True, *[False] * 5] if on_failure == "warn" else [True] * 6)


def test_findings_are_reported_logged_and_diagnosed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "FREE", 1000.0)  # a probe at every tick, however busy the machine is
    run = start.train(still(), out=tmp_path)
    printed = capsys.readouterr().err
    assert printed.count("Failure: G is frozen") == 1
    assert "Fix:" in printed
    event = events(run, "diagnosis")[0]
    assert (event["name"], event["severity"]) == ("G frozen", "failure")
    assert event["evidence"]
    assert event["nimg"] <= 600
    assert diagnose(run).failures[0].name == "G frozen"
    with pytest.raises(GanvasError, match="has runs in it"):
        diagnose(run.path.parent)


def test_a_finding_that_ends_and_begins_again_is_logged_each_time_and_printed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finding = Finding("D too strong", "warning", "D is too strong", "D", 0.1, "kimg", (), (), (), "")
    note = dataclasses.replace(finding, name="few images", severity="note")
    course = iter([(), (finding,), (finding, note), (note,), (finding,), ()] + [()] * 9)
    monkeypatch.setattr(
        "ganvas.diagnosis.probe.apply_rules", lambda history: Diagnosis(next(course), {}, history.now, "kimg")
    )
    run = start.train(tiny(), out=tmp_path)
    found = [
        (event["event"], event["name"]) for event in log.read_events(run.path) if event["event"].startswith("diagnosis")
    ]
    assert found == [("diagnosis", "D too strong"), ("diagnosis over", "D too strong")] * 2
    assert capsys.readouterr().err.count("Warning: D is too strong") == 1


def test_stop_saves_the_state_and_names_the_reason(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match=r"learning rate is too high.*saved at"):
        start.train(unstable(on_failure="stop"), out=tmp_path, name="a", quiet=True)
    run = package.Run(tmp_path / "a")
    at = checkpoint.load(run.state_file)[1]["nimg"]
    assert at < 1200
    assert events(run, "stopped")[0]["finding"]["name"] == "learning rate too high"
    resumed = start.train(unstable(on_failure="warn"), out=tmp_path, name="a", quiet=True)
    assert checkpoint.load(resumed.state_file)[1]["nimg"] == 1200


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory: pytest.TempPathFactory) -> package.Run:
    """An unstable run that was rolled back, trained to its end."""
    torch.default_generator.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        shorten_statistics(patch)
        return start.train(unstable(on_failure="rollback"), out=tmp_path_factory.mktemp("rolled-back"), quiet=True)


@pytest.mark.parametrize("mode", ["rollback", "correct"])
def test_failing_run_is_corrected(tmp_path: Path, mode: str, rolled_back: package.Run) -> None:
    run = rolled_back
    if mode == "correct":
        run = start.train(unstable(on_failure=mode), out=tmp_path, quiet=True)
    event = events(run, mode)[0]
    assert event["finding"]["name"] == "learning rate too high"
    assert event["changes"]["r1"] == event["changes"]["r2"] == R1_R2
    assert event["changes"]["g_lr"] <= 0.25
    assert events(run, mode)[-1]["changes"] == checkpoint.load(run.state_file)[1]["recovery"]["changes"]
    assert f"--g-lr {event['changes']['g_lr']:g}" in (run.path / "log.txt").read_text()
    assert run.config.optimisation.g_lr == "0.5", "config.json is what the user wrote"
    assert (event["to"] is not None) == (mode == "rollback")
    after = [line for line in log.read_jsonl(run.path / "stats.jsonl") if line["nimg"] > event["nimg"]]
    assert after[0]["G/lr"] == event["changes"]["g_lr"]
    assert "D/r1" in after[0]


def test_rollback_goes_to_a_state_before_the_failure(rolled_back: package.Run) -> None:
    event = events(rolled_back, "rollback")[0]
    assert event["to"] <= 1000 * event["finding"]["since"]


def test_run_is_stopped_after_the_last_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.training.monitor.recovery.changes_of", lambda *_: {"d_lr": 1e-3})
    with pytest.raises(GanvasError, match="after 1 recoveries"):
        start.train(unstable(on_failure="correct", max_recoveries=1), out=tmp_path, quiet=True)


def test_resumed_run_recovers_like_the_uninterrupted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rolled_back: package.Run
) -> None:
    whole = rolled_back
    kill_at = events(whole, "rollback")[0]["nimg"] + 200

    from ganvas.training.state import TrainState

    train_round = TrainState.train_round

    def until_killed(self: TrainState, batches: list, nimg: int) -> object:
        if nimg >= kill_at:
            raise KeyboardInterrupt
        return train_round(self, batches, nimg)

    monkeypatch.setattr(start, "measure_speed", lambda *_: 1000.0)  # its rounds are those of the end
    monkeypatch.setattr(TrainState, "train_round", until_killed)
    with pytest.raises(KeyboardInterrupt):
        start.train(unstable(on_failure="rollback"), out=tmp_path / "parts", quiet=True)
    monkeypatch.setattr(TrainState, "train_round", train_round)
    parts = start.train(unstable(on_failure="rollback"), out=tmp_path / "parts", quiet=True)
    ours, theirs = (checkpoint.load(run.state_file) for run in (whole, parts))
    assert ours[1]["recovery"] == theirs[1]["recovery"]
    assert all(torch.equal(ours[0][name], theirs[0][name]) for name in ours[0])


@pytest.mark.parametrize(("since", "act"), [(0.05, ("correct", None)), (0.11, ("rollback", 100))])
def test_rollback_of_a_run_that_was_started_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, since: float, act: tuple[str, int | None]
) -> None:
    """It has kept no state but the one that it was resumed from; if the failure is older, it is only corrected."""
    from ganvas.training.state import TrainState

    run, train_round = package.Run(tmp_path / "a"), TrainState.train_round
    failure = Finding("learning rate too high", "failure", "G jumps", "G", since, "kimg", (), (), (), "")

    def apply_rules(history: Any) -> Diagnosis:
        acted = events(run, "correct") + events(run, "rollback")
        return Diagnosis(() if acted else (failure,), {}, history.now, "kimg")

    def until_killed(self: TrainState, batches: list, nimg: int) -> object:
        if nimg >= 120:
            raise KeyboardInterrupt
        return train_round(self, batches, nimg)

    monkeypatch.setattr("ganvas.diagnosis.probe.apply_rules", apply_rules)
    monkeypatch.setattr(start, "measure_speed", lambda *_: 1000.0)  # its rounds are those of the end
    monkeypatch.setattr(TrainState, "train_round", until_killed)
    with pytest.raises(KeyboardInterrupt):
        start.train(tiny(), out=tmp_path, name="a", quiet=True)
    monkeypatch.setattr(TrainState, "train_round", train_round)
    start.train(replace(tiny(), on_failure="rollback"), out=tmp_path, name="a", quiet=True)
    assert [(event["event"], event["to"]) for event in log.read_events(run.path) if "to" in event] == [act]
    assert run.progress()["state"] == "complete"
    said = (run.path / "log.txt").read_text()
    assert ("has no state from before it to go back to, and continues with" in said) == (act[1] is None)


def test_non_finite_numbers_cause_a_rollback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganvas.training.state import TrainState

    train_round, planted = TrainState.train_round, []

    def with_planted_nan(self: TrainState, batches: list, nimg: int) -> object:
        if nimg == 120 and not planted:
            planted.append(nimg)
            with torch.no_grad():
                next(self.game.G.parameters()).fill_(torch.nan)
        return train_round(self, batches, nimg)

    monkeypatch.setattr(TrainState, "train_round", with_planted_nan)
    with pytest.raises(GanvasError, match="no longer a finite number"):
        start.train(tiny(), out=tmp_path / "warn", quiet=True)
    assert diagnose(tmp_path / "warn" / "00000-config-digits").failures[0].name == "non-finite"
    planted.clear()
    run = start.train(replace(tiny(), on_failure="rollback"), out=tmp_path / "back", quiet=True)
    assert events(run, "rollback")[0]["finding"]["name"] == "non-finite"
    assert package.load(run).sample(seeds=range(4)).std() > 0


def test_a_diagnosis_is_of_what_came_after_the_last_act(tmp_path: Path) -> None:
    run = start.train(tiny(), out=tmp_path, quiet=True)
    shown = [line["nimg"] for line in log.read_stats(run.path)]
    log.append_event(run.path, "non-finite", shown[1], quantities=["G/loss"])
    assert read_run(run).facts.non_finite is None, "the training went on"
    log.append_event(run.path, "non-finite", shown[-1], quantities=["G/loss"])
    assert diagnose(run).failures[0].name == "non-finite"
    log.append_event(run.path, "correct", shown[2], changes={"d_lr": 1e-5})
    history = read_run(run)
    assert history.facts.non_finite is None
    assert history.facts.knobs["d_lr"] == 1e-5
    assert history.facts.shown == shown[-1] - shown[2]
    assert history["D/loss"].at.tolist() == [nimg / 1000 for nimg in shown[3:]]
    log.append_event(run.path, "rollback", shown[-1], changes={"d_lr": 1e-6})
    assert read_run(run).facts.shown == 0, "nothing came after it"
    assert not diagnose(run).failures
    log.append_event(run.path, "resume", shown[1])
    history = read_run(run)
    assert len(history["D/loss"]) == len(shown), "both were after the state that it was resumed from"
    assert history.facts.knobs["d_lr"] == run.config.optimisation.d_lr


def changes(name: ConditionName, config: TrainConfig, about: str = "", update: float | None = None) -> dict[str, Any]:
    return changes_of(condition(name).remedy, config, about, update)


def test_repeated_remedies_are_stronger() -> None:
    config = replace(tiny(r1=0.0, r2=0.0), g_lr=1e-3, d_lr="2e-3..1e-3:cosine", beta1=0.5)
    once = changes("mode collapse", config)
    assert once == {"g_lr": 5e-4, "d_lr": "0.001..0.0005:cosine", "beta1": 0.0, "r1": R1_R2, "r2": R1_R2}
    twice = changes("mode collapse", replace(config, **once))
    assert twice == {"g_lr": 2.5e-4, "d_lr": "0.0005..0.00025:cosine", "r1": 4 * R1_R2, "r2": 4 * R1_R2}


def test_remedies_concern_the_failing_network_and_the_size_of_its_updates() -> None:
    config = replace(tiny(r1=0.0, r2=0.0), g_lr=1e-3, d_lr=1e-3, beta1=0.0)
    penalties = {"r1": R1_R2, "r2": R1_R2}
    assert changes("learning rate too high", config, "D") == {"d_lr": 1e-4, **penalties}
    assert changes("learning rate too high", config, "G", 0.04) == {"g_lr": 2.5e-4, **penalties}
    assert changes("D too weak", config) == {"d_lr": 4e-3}
    assert changes("D frozen", config) == {}


def test_remedies_do_not_stop_a_momentum_that_rmsprop_has_not() -> None:
    config = replace(tiny(r1=0.0, r2=0.0), g_lr=1e-3, d_lr=1e-3, beta1=0.5)
    assert changes("mode collapse", config)["beta1"] == 0.0
    penalties = {"r1": R1_R2, "r2": R1_R2}
    assert changes("mode collapse", replace(config, optimiser="rmsprop")) == {"g_lr": 5e-4, "d_lr": 5e-4, **penalties}


def test_remedies_that_the_configuration_excludes_are_replaced_or_left_out() -> None:
    assert changes("D overfits", tiny(r1=0.0, r2=0.0))["augment"] == "diffaugment"
    assert changes("D overfits", tiny(family="msg")).items() >= {"noise": NOISE}.items()
    assert "augment" not in changes("D overfits", tiny(family="msg"))
    batch_norm = changes("mode collapse", tiny(family="dcgan", r1=0.0, r2=0.0))
    assert batch_norm["noise"] == NOISE
    assert not {"r1", "r2"} & batch_norm.keys()
    wasserstein = changes("critic unconstrained", tiny(r1=0.0, r2=0.0, objective="wasserstein"))
    assert wasserstein["gp"] == GP
    assert "r1" not in wasserstein
    clipped = changes("mode collapse", RECIPES["wgan"].config)
    assert (clipped["gp"], clipped["clip"]) == (GP, 0.0)
    assert changes("learning rate too low", replace(tiny(), g_lr=0.5, d_lr=0.5)) == {}, "5 is no learning rate"


def test_remedy_that_is_in_force_is_replaced_by_its_alternative() -> None:
    config = RECIPES["fast"].config
    assert changes("D overfits", config) == {"augment": "diffaugment", "noise": NOISE}, "it only translates"
    config = replace(config, augment="diffaugment")
    assert changes("D overfits", config) == {"noise": NOISE}, "it augments, has no momentum, and takes no penalty"
    assert changes("D overfits", replace(config, noise=NOISE)) == {"noise": 2 * NOISE}
    augmented = changes("D overfits", tiny(r1=0.0, r2=0.0, augment="diffaugment"))
    assert augmented.items() >= {"noise": NOISE, "r1": R1_R2, "r2": R1_R2}.items()
    assert "noise" not in changes("D overfits", tiny(r1=0.0, r2=0.0))


def test_every_failure_that_a_running_training_can_correct_has_a_remedy() -> None:
    rows = {row.name for row in CONDITIONS if row.remedy}
    assert len(rows) == 13
    assert all(row.severity == "failure" for row in CONDITIONS if row.remedy)


def test_state_of_an_earlier_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_metadata, "FORMAT", 1)
    run = start.train(tiny(), out=tmp_path, name="a", quiet=True)
    monkeypatch.undo()
    with pytest.raises(GanvasError, match=r"older version of Ganvas, in state format 1"):
        start.train(tiny(), out=tmp_path, name="a", quiet=True)
    assert run.snapshots


def test_interventions_need_the_monitor() -> None:
    with pytest.raises(GanvasError, match="--on-failure stop without --watch"):
        replace(tiny(), watch=False, on_failure="stop")


@pytest.mark.slow
def test_stopped_run_is_printed_as_json(tmp_path: Path) -> None:
    knobs = ["--kimg", "1.2", "--r1", 0, "--r2", 0, "--g-lr", 0.5, "--tick-kimg", 0.1, "--snapshot-kimg", 0.2]
    flags = ["--no-plot", "--device", "cpu", "--seed", 0, "--batch", 20, "--out", tmp_path, "--on-failure", "stop"]
    done = run_cli("train", "mlp", "--data", "digits", *knobs, *flags, "--json", check=1)
    found = json.loads(done.stdout)
    assert found["failure"] in done.stderr
    assert "Stopped, as --on-failure stop asks" in found["failure"]
    assert Path(found["snapshot"]).parent.parent == Path(found["run"])
    assert done.stderr.count("Stopped, as --on-failure stop asks") == 1


def test_diagnose_on_the_command_line(tmp_path: Path) -> None:
    run = start.train(still(), out=tmp_path, quiet=True)
    text = run_cli("diagnose", run.path).stdout
    assert "This training has failed or is failing: G frozen." in text
    assert "--g-lr" in text
    found = json.loads(run_cli("diagnose", run.path, "--json").stdout)
    assert not found["healthy"]
    assert found["findings"][0]["name"] == "G frozen"
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = run_cli("diagnose", empty, check=1)
    assert "Traceback" not in refused.stderr
    log_file = tmp_path / "log.csv"
    log_file.write_text("step,d_loss,g_loss\n" + "".join(f"{i},0.001,9.{i}\n" for i in range(40)))
    text = run_cli("diagnose", log_file).stdout
    assert "D is too strong" in text
    assert "mode collapse" in " ".join(text.split())
    assert "only ganvas.watch(G, D)" in text
