"""A small comparison as a whole: trained, evaluated, reported, repeated without work; and runs with faults."""

import csv
import itertools
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import call_cli, start_cli, tiny, train_in_this_process

from ganvas import environment, user_code
from ganvas.cli.comparison import compare as compare_command
from ganvas.comparison import comparison, measurements, worker
from ganvas.comparison.candidates import Candidate, parse_candidates
from ganvas.comparison.comparison import Comparison, compare
from ganvas.comparison.jobs import Job, Outcome, interrupted_outcome, saved_nimg
from ganvas.comparison.rows import Rows
from ganvas.config import leaves, replace
from ganvas.data import sources
from ganvas.errors import GanvasError
from ganvas.evaluation import reference_features
from ganvas.evaluation.evaluation import evaluate
from ganvas.evaluation.reference_features import Memo
from ganvas.files import make_folder, write_json
from ganvas.recipes import RECIPES, Recipe
from ganvas.runs.folder import Run
from ganvas.runs.log import current_nimg, read_jsonl
from ganvas.training.start import train

VARIED = {"objective": ["non-saturating", "rpgan"]}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Comparison]:
    """Two objectives, two seeds each, of a tiny recipe; and imported results of other programs."""
    folder = tmp_path_factory.mktemp("finished")
    stylegan3 = folder / "00003-stylegan3 <afhq>"
    stylegan3.mkdir()
    (stylegan3 / "training_options.json").write_text(
        '{"batch_size": 32, "training_set_kwargs": {"path": "/a/<b>.zip"}}'
    )
    line = {"results": {"fid50k_full": 12.5}, "snapshot_pkl": "network-snapshot-000200.pkl"}
    (stylegan3 / "metric-fid50k_full.jsonl").write_text(json.dumps(line))
    (folder / "fidelity.json").write_text('{"frechet_inception_distance": 7.25}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAS_CACHE", str(cache))
        patch.setattr("ganvas.features.classifier.MAX_IMAGES", 500)
        patch.setattr(comparison, "train_all", train_in_this_process)
        patch.setitem(RECIPES, "small", Recipe("small <i>MLPs</i>", "us", "", tiny()))
        yield compare(
            ["small", stylegan3, folder / "fidelity.json"], vary=VARIED, seeds=2, count=200, out=folder / "c",
            device="cpu", quiet=True, command="ganvas compare 'small' & co",
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _quickly(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(cache))
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 500)
    monkeypatch.setattr(comparison, "train_all", train_in_this_process)
    monkeypatch.setitem(RECIPES, "small", Recipe("small <i>MLPs</i>", "us", "", tiny()))


@pytest.fixture
def _without_figures(_quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without figures, for speed, where none of the runs has a fault."""
    monkeypatch.setattr("ganvas.comparison.figures.draw_figures", lambda _: {})


def compare_here(candidates: list[str | Path], **more: Any) -> Comparison:
    return compare(candidates, **{"count": 200, "device": "cpu", "quiet": True, "out": Path("c"), **more})


def copy_runs(finished: Comparison, n: int = 2) -> list[Path]:
    """Copies the first runs, to be damaged: one candidate's two seeds, then the other's."""
    shutil.copytree(finished.path / "evaluations", "c/evaluations")
    paths = []
    for run in finished.results["runs"][:n]:
        paths.append(Path(run["path"]).name)
        shutil.copytree(run["path"], paths[-1])
    return [Path(path) for path in paths]


def edit_config(path: Path, **more: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **more}))


@pytest.mark.slow
def test_comparison_writes_its_report_its_results_and_its_runs(finished: Comparison) -> None:
    names = ["small objective=non-saturating", "small objective=rpgan"]
    assert [candidate["name"] for candidate in finished.results["candidates"]] == names
    assert [(run["candidate"], run["seed"], run["state"]) for run in finished.results["runs"]] == [
        (name, seed, "complete") for name in names for seed in (0, 1)
    ]
    assert json.loads((finished.path / "report.json").read_text()) == finished.results
    differing = [{"knob": "objective", "values": dict(zip(names, VARIED["objective"], strict=True))}]
    assert finished.results["differing_knobs"] == differing
    assert finished.results["verdict"]["reasons"] == []
    assert sorted(finished.results["verdict"]["order"]) == sorted(names)
    assert [imported["values"] for imported in finished.results["imported"]] == [
        {"fid50k_full": 12.5},
        {"frechet_inception_distance": 7.25},
    ]
    assert {run["flops"] for run in finished.results["runs"][:2]} == {
        finished.results["candidates"][0]["flops_per_image"]["training"] * 200
    }
    shown = " ".join(str(finished).split())
    assert finished.results["verdict"]["sentence"] in shown
    assert str(finished.report) in shown


@pytest.mark.slow
def test_csv_agrees_with_the_json(finished: Comparison) -> None:
    with (finished.path / "report.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4
    for line, run in zip(lines, finished.results["runs"], strict=True):
        assert line["candidate"] == run["candidate"]
        assert float(line["seconds"]) == run["seconds"]
        for name, value in run["evaluation"]["values"].items():
            assert float(line[name]) == value["value"]
            assert line[f"{name}_baseline"] == ("" if value["baseline"] is None else str(value["baseline"]))


@pytest.mark.slow
@pytest.mark.usefixtures("_without_figures")
def test_same_call_neither_trains_nor_evaluates_anew(finished: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "evaluate", lambda *_, **__: pytest.fail("evaluated again"))
    monkeypatch.setattr(worker, "train", lambda *_, **__: pytest.fail("trained again"))
    folder = finished.path.parent
    candidates: list[str | Path] = ["small", folder / "00003-stylegan3 <afhq>", folder / "fidelity.json"]
    found = compare_here(candidates, vary=VARIED, seeds=2, out=finished.path, command="ganvas compare 'small' & co")
    assert found.results == finished.results
    one = compare_here(candidates, vary=VARIED, seeds=1, out=finished.path, command="ganvas compare 'small' & co")
    assert len(one.results["runs"]) == 2
    with pytest.raises(GanvasError, match="holds another comparison"):
        compare_here(candidates, vary=VARIED, seeds=2, out=finished.path, kimg=3)
    with pytest.raises(GanvasError, match="holds another comparison"):
        compare_here(["small"], vary={"objective": ["wasserstein", "rpgan"]}, out=finished.path)


def test_measured_lengths_are_kept_and_a_damaged_plan_is_made_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths = itertools.count(1)
    monkeypatch.setattr(comparison.budget, "apply_budget", lambda config, *_: replace(config, kimg=next(lengths) / 10))
    budget = comparison.budget.parse_budget(None, 0.1, None)
    candidates = comparison.parse_candidates(["small"], vary={"objective": ["rpgan"]})

    def planned_kimg() -> list[float | None]:
        return [job.config.kimg for _, job in comparison._make_plan(Path(), candidates, budget, 2, "cpu", True)]

    assert planned_kimg() == planned_kimg() == [0.1, 0.1]
    for damaged in ('{"request": ', "[]", "{}"):
        Path("plan.json").write_text(damaged)
        planned_kimg()
        assert json.loads(Path("plan.json").read_text())["lengths"]


def test_comparison_of_runs_is_of_these_runs_and_may_get_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(*names: str) -> None:
        candidates = [Candidate(name, name, tiny(), (Run(Path("runs", name)),)) for name in names]
        assert comparison._make_plan(Path(), candidates, None, 1, "cpu", True) == []

    Path("before").mkdir()
    monkeypatch.chdir("before")
    plan("a", "b")
    monkeypatch.chdir("..")
    Path("before").rename("after")
    monkeypatch.chdir("after")

    plan("a", "b")
    plan("b", "a")
    with pytest.raises(GanvasError, match="holds another comparison"):
        plan("c", "d")
    plan("a", "b", "c")
    with pytest.raises(GanvasError, match="holds another comparison"):
        plan("a", "b")
    saved = json.loads(Path("plan.json").read_text())
    saved["request"].pop("runs")
    write_json(Path("plan.json"), saved)  # as an earlier version wrote it
    plan("c", "d")
    with pytest.raises(GanvasError, match="holds another comparison"):
        plan("a", "b", "c")


@pytest.mark.slow
@pytest.mark.usefixtures("_without_figures")
def test_existing_runs_are_evaluated_like_new_ones_on_images_opened_once_and_stay_unchanged(
    finished: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def counting(name: str) -> Callable[..., Any]:
        original = getattr(reference_features, name)
        return lambda *arguments, **knobs: (opened.append(name), original(*arguments, **knobs))[1]

    for name in ("open_reference", "counting_classifier", "ReferenceFeatures"):
        monkeypatch.setattr(reference_features, name, counting(name))
    paths = copy_runs(finished, 4)[::2]
    shutil.rmtree("c/evaluations")
    before = {file: file.stat().st_mtime_ns for path in paths for file in path.rglob("*")}
    found = compare_here([*paths])
    assert sorted(opened) == ["ReferenceFeatures", "counting_classifier", "open_reference"], "once for all runs"
    assert {file: file.stat().st_mtime_ns for path in paths for file in path.rglob("*")} == before
    assert [e["name"] for e in found.results["candidates"]] == [f"small objective={o}" for o in VARIED["objective"]]
    values = [[run["evaluation"]["values"] for run in results["runs"]] for results in (found.results, finished.results)]
    assert values[0] == values[1][::2]
    assert evaluate(paths[1], count=200, device="cpu").to_json()["values"] == values[0][1]
    assert found.results["budget"] is None
    shutil.copytree("c/evaluations", "mixed/evaluations")
    mixed = compare_here([paths[0], "small:kimg=0.06"], seeds=1, out="mixed")
    assert "the training budgets differ" in mixed.results["verdict"]["sentence"]


@pytest.mark.slow
def test_incomplete_runs_stay_in_the_report(finished: Comparison) -> None:
    whole, bare, torn, lost, other = [*copy_runs(finished, 4), Path("other")]
    shutil.copytree(whole, other)
    shutil.rmtree(bare / "snapshots")
    (torn / "stats.jsonl").write_text((torn / "stats.jsonl").read_text()[:-300] + '{"nimg": "x"}\n{"nimg": 3}\n{"D/lo')
    weights = next(lost.glob("snapshots/[0-9]*/G.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    edit_config(
        other, recipe="other", data={**json.loads((other / "config.json").read_text())["data"], "fingerprint": "x"}
    )
    found = compare_here([whole, bare, torn, lost, other])
    by_path = {run["path"]: run for run in found.results["runs"]}
    assert by_path[str(whole)]["evaluation"]
    assert "has no snapshot yet" in by_path[str(bare)]["problem"]
    assert by_path[str(torn)]["state"] == "complete", "its snapshot counts, not its log"
    assert by_path[str(lost)]["evaluation"] is None
    assert by_path[str(lost)]["problem"]
    assert "the training data differ" in found.results["verdict"]["sentence"]
    assert "has no snapshot yet" in found.report.read_text()


def test_a_recipe_that_does_not_fit_the_images_is_refused_before_any_training(
    write_images: Callable[..., Path],
) -> None:
    with pytest.raises(GanvasError, match=r"^wgan-conditional: --conditional is set, but .* has no classes"):
        compare(["digits", "wgan-conditional"], data=str(write_images()), kimg=0.2, seeds=1, out="c", quiet=True)
    assert not Path("c").exists()


@pytest.mark.slow
def test_run_with_non_finite_losses_stays_as_failed(finished: Comparison) -> None:
    paths = copy_runs(finished, 4)
    stats = paths[0] / "stats.jsonl"
    lines = stats.read_text().splitlines()
    stats.write_text("\n".join(lines[:-1]) + "\n")
    card = next(paths[0].glob("snapshots/[0-9]*/card.json"))
    card.write_text(json.dumps(json.loads(card.read_text()) | {"nimg": 100}))
    with (paths[0] / "events.jsonl").open("a") as file:
        file.write('{"time": 1, "nimg": 160, "event": "non-finite", "quantities": ["G/loss"]}\n')
    found = compare_here([*paths])
    first = found.results["runs"][0]
    assert (first["state"], first["problem"]) == ("failed", "G/loss no longer finite at 0.16 kimg")
    assert "1 of 2 trainings did not finish" in found.results["verdict"]["remarks"][0]
    assert found.results["verdict"]["order"]


@pytest.mark.slow
def test_curve_of_a_thousand_points_is_thinned_and_keeps_its_ends(finished: Comparison) -> None:
    (path,) = copy_runs(finished, 1)
    line = next(iter(read_jsonl(path / "stats.jsonl")))
    more = [json.dumps({**line, "nimg": 10 * i, "seconds": i}) for i in range(1, 1001)]
    (path / "stats.jsonl").write_text("\n".join([*more, '{"nimg": 10010, "D/loss": "x", "G/loss": {"mean": null}}']))
    curve = measurements.read_curves(Run(path))["D/loss"]
    assert len(curve["kimg"]) == measurements.MAX_POINTS
    assert (curve["kimg"][0], curve["kimg"][-1], curve["seconds"][-1]) == (0.01, 10, 1000)


def test_runs_that_cannot_start_are_reported_with_exit_status_1(
    capsys: pytest.CaptureFixture[str], write_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = lambda candidate, *_: candidate.config.dataset.options()  # noqa: E731
    monkeypatch.setattr(comparison, "check_on_images", options)  # as where only another machine fails
    wrong: dict[str, Any] = {
        "data": str(write_images()),
        "knobs": (("conditional=true",),),
        "kimg": 0.1,
        "out": Path("c"),
    }
    with pytest.raises(GanvasError, match="None of the runs could be evaluated"):
        compare_command(("mlp",), vary=(("latent=8,9",),), seeds=1, csv=Path("c.csv"), **wrong)
    output = capsys.readouterr().out
    assert output.startswith("Not ranked: no candidate could be evaluated (mlp latent=8, mlp latent=9).")
    assert Path("c.csv").read_text() == Path("c/report.csv").read_text()
    page = Path("c/report.html").read_text()
    assert "has no classes" in page
    assert "None" not in page


def test_missing_data_are_refused_before_any_training() -> None:
    with pytest.raises(GanvasError, match="no data set 'nowhere'"):
        compare(["mlp", "cnn"], data="nowhere", seeds=1, kimg=0.1, out="c")
    assert not Path("c").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_without_figures")
def test_conditional_and_wasserstein_recipes_are_evaluated_but_not_ranked() -> None:
    found = compare_here(
        ["small:conditional=true", "small:objective=wasserstein,gp=10,r1=0,r2=0,d_steps=2"],
        seeds=1, count=50, kimg=0.12,
    )  # fmt: skip
    assert [run["state"] for run in found.results["runs"]] == ["complete", "complete"]
    assert all(run["evaluation"] for run in found.results["runs"])
    assert found.results["verdict"]["sentence"] == "Not ranked: the evaluation protocols differ (subject.classes)."
    differing = {row["knob"] for row in found.results["differing_knobs"]}
    assert "conditional" in differing
    assert "kimg" not in differing  # both have the budget, and their commands too
    assert all("--kimg 0.12" in candidate["command"] for candidate in found.results["candidates"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 3}, "--count is 3"),
        ({"features": "bogus"}, "no extractor 'bogus'"),
        ({"features": "inception"}, "need their weights"),
        ({"device": "warp"}, "not a device"),
        ({"seeds": 0}, "--seeds is 0"),
        ({"kimg": 1, "minutes": 1}, "two budgets"),
        ({"vary": {}}, "small alone cannot be compared"),
    ],
)
def test_invalid_options_are_refused_before_any_training(options: dict[str, Any], message: str) -> None:
    with pytest.raises(GanvasError, match=message):
        compare_here(["small"], **{"vary": VARIED, **options})
    assert not Path("c").exists()


def test_table_can_be_written_before_any_training_and_its_folder_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "compare", lambda *_, **__: pytest.fail("compared"))
    Path("file").touch()
    with pytest.raises(GanvasError, match=re.escape("file/t.csv could not be written")):
        compare_command(("small", "mlp"), csv=Path("file/t.csv"))
    found = SimpleNamespace(results={"runs": [{"evaluation": {}}], "imported": ["one"]})
    monkeypatch.setattr(comparison, "compare", lambda *_, **__: found)
    monkeypatch.setattr("ganvas.comparison.summary.format_csv", lambda _: "candidate,seed\n")
    compare_command(("small", "mlp"), csv=Path("no/such/folder/t.csv"))
    assert Path("no/such/folder/t.csv").read_text() == "candidate,seed\n"


def test_features_of_a_classifier_need_classes_and_no_weights(write_images: Callable[..., Path]) -> None:
    unlabelled = str(write_images(30, 8, 8))
    with pytest.raises(GanvasError, match="has no classes, so there is no classifier"):
        compare_here(["small", "small:g_lr=1e-3"], features="classifier", data=unlabelled, kimg=0.04)
    with pytest.raises(GanvasError, match="classifier"):
        compare_here(["small", "small:g_lr=1e-3"], features="classifier", weights="some.pth", kimg=0.04)
    assert not Path("c").exists()


def test_what_is_chosen_for_a_recipe_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ganvas.features.frozen.is_installed", lambda: False)
    monkeypatch.setattr("ganvas.features.efficientnet.is_installed", lambda: False)
    monkeypatch.setattr(comparison._ComparisonBuilder, "run", lambda *_: None)
    words = ("small", "fast")
    compare_here([*words], kimg=0.04, seeds=1, quiet=False, knobs={"batch": 20}, out=Path("told"))
    notes = [line for line in capfd.readouterr().err.splitlines() if line.startswith("Note: ")]
    assert sum("--g-width 32 is chosen" in line for line in notes) == 1
    assert sum("D uses the eye instead of lite0" in line for line in notes) == 1
    compare_here([*words], kimg=0.04, seeds=1, knobs={"batch": 20}, out=Path("untold"))
    assert not capfd.readouterr().err


def test_photos_are_trained_at_one_size_that_is_said_and_decoded_once(
    write_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    builds, plans = [], []
    build = sources._build
    monkeypatch.setattr(sources, "_build", lambda *args, **more: (builds.append(1), build(*args, **more))[1])
    monkeypatch.setattr(comparison._ComparisonBuilder, "run", lambda self, _: plans.append(self.plan))
    compare_here(
        ["fast", "dcgan"], data=str(write_images(40, 120, 90)), minutes=10, seeds=1, quiet=False,
        knobs={"device": "cpu"},
    )  # fmt: skip
    assert [job.config.dataset.options().size() for _, job in plans[0]] == [(64, 64)] * 2
    assert "are trained at 64x64 pixels, so that they can be ranked; alone, fast would have 85x64" in (
        " ".join(capfd.readouterr().err.split())
    )
    assert len(builds) == 1


@pytest.mark.parametrize(("address", "width"), [("host:6379", 64), ("local", 32)])
def test_what_is_chosen_for_a_cluster_is_for_its_gpus(
    address: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans = []
    monkeypatch.setattr(comparison._ComparisonBuilder, "run", lambda self, _: plans.append(self.plan))
    monkeypatch.setattr("ganvas.devices.count_gpus", dict)
    compare_here(["small", "fast"], kimg=0.04, seeds=1, knobs={"batch": 20, "device": "auto"}, ray=address)
    assert dict(leaves(plans[0][1][1].config))["g_width"] == width
    compare_here(["small", "fast"], kimg=0.04, seeds=1, knobs={"batch": 20, "device": "cpu"}, ray=address, out="cpu")
    assert dict(leaves(plans[1][1][1].config))["g_width"] == 32


def test_recipe_knobs_are_refused_where_only_runs_are_named() -> None:
    runs = [str(train(replace(tiny(), batch=batch, kimg=0.04), quiet=True).path) for batch in (10, 20)]
    for knobs in ({"kimg": 3}, {"data": "digits"}, {"knobs": {"batch": 3}}):
        with pytest.raises(GanvasError, match="only runs were named"):
            compare_here([*runs], **knobs)
    edit_config(Path(runs[0]), format=99)
    with pytest.raises(GanvasError, match="later version"):
        compare_here([*runs])


@pytest.mark.slow
@pytest.mark.usefixtures("_without_figures")
def test_ctrl_c_leaves_a_report_and_the_same_command_completes_it(write_images: Callable[..., Path]) -> None:
    data = write_images(height=8, width=8).name  # no classes: no classifier is trained first
    knobs = "--vary batch=20,40 --seeds 1 --kimg 4 --knobs tick_kimg=0.4 --count 20 --out c --device cpu --quiet"
    words = ["compare", "digits", "--data", data, *knobs.split(" ")]
    started = start_cli(*words)
    run = Run(Path("c/runs/digits-batch=20-seed0"))
    deadline = time.monotonic() + 200
    while not current_nimg(run.path):
        assert time.monotonic() < deadline
        assert started.is_running
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    done = started.wait()
    assert done.returncode == 130, done.stderr
    assert "finished trainings are in c/report.html" in done.stderr
    results = json.loads(Path("c/report.json").read_text())
    at = saved_nimg(run)
    assert at
    assert at < 4_000
    assert results["runs"][0]["problem"] == f"interrupted at {at / 1000:g} kimg; the same command resumes from there"
    assert "before it started" in results["runs"][1]["problem"]
    call_cli(*words, check=0)
    results = json.loads(Path("c/report.json").read_text())
    assert [row["state"] for row in results["runs"]] == ["complete", "complete"]
    assert [line["nimg"] for line in read_jsonl(run.path / "events.jsonl") if line["event"] == "resume"] == [at]


def test_evaluation_by_changed_code_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "G.safetensors").write_bytes(b"")
    run: Any = SimpleNamespace(latest_snapshot=tmp_path, metadata={"data": {"fingerprint": ""}})
    keys = set()
    for layer in ("Tanh", "ReLU"):
        Path("nets.py").write_text(f"from torch.nn import {layer} as Mine")
        user_code.load("nets.py:Mine")
        keys.add(measurements._cache_key(run, measurements.EvaluationSettings(features="nets.py:Mine")))
    assert len(keys) == 2


@pytest.fixture
def complete() -> tuple[Candidate, Job]:
    """A complete run of a comparison in the folder c, and its candidate."""
    (candidate,) = parse_candidates(["small"])
    job = Job(replace(candidate.config, plot=False), "small", Path("c/runs"), "small-seed0")
    assert worker.run_job(job, quiet=True) == ""
    return candidate, job


def real_images(fingerprint: str, weights: str) -> dict[str, Any]:
    protocol = {"features": {}, "classes": {"weights": weights}, "reference": {"fingerprint": fingerprint}}
    return {"values": {}, "protocol": protocol, "memorisation": None, "frechet_biased": False, "notes": []}


def test_stop_leaves_a_complete_run_complete_with_its_earlier_evaluation(
    complete: tuple[Candidate, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, job = complete
    assert interrupted_outcome(job) == Outcome(job, "", stopped=True)
    monkeypatch.setattr(measurements, "evaluate", lambda *_, **__: pytest.fail("evaluated after the stop"))

    def stopped_row() -> dict[str, Any]:
        rows = Rows(Path("c/evaluations"), measurements.EvaluationSettings(count=200, device="cpu"), None)
        rows.add(candidate, job.run, interrupted_outcome(job), progress=False)
        return rows.by_run["small", str(job.run.path)]

    row = stopped_row()
    assert (row["state"], row["evaluation"]) == ("complete", None)
    assert row["problem"] == "the comparison was stopped before its evaluation; the same command evaluates it"
    evaluation = real_images(job.run.metadata["data"]["fingerprint"], "")
    folder = Path("c/evaluations") / measurements._cache_key(
        job.run, measurements.EvaluationSettings(count=200, device="cpu")
    )
    make_folder(folder)
    write_json(folder / "evaluation.json", evaluation)
    row = stopped_row()
    assert (row["state"], row["problem"], row["evaluation"]) == ("complete", "", evaluation)
    assert row["device"] == f"1 × {environment.name_device(torch.device('cpu'))}"
    write_json(folder / "evaluation.json", real_images("of other images", ""))
    assert stopped_row()["evaluation"] is None, "it met other images than those of the training"


def test_stop_during_an_evaluation_keeps_the_rows_of_complete_runs(
    complete: tuple[Candidate, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[Outcome]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(comparison, "train_all", interrupted)
    monkeypatch.setattr(comparison._ComparisonBuilder, "write_report", lambda self: SimpleNamespace(report="here"))
    rows = Rows(Path("c/evaluations"), measurements.EvaluationSettings(count=200, device="cpu"), None)
    builder = comparison._ComparisonBuilder(Path("c"), "", [complete[0]], [], [complete], rows, True, "")
    with pytest.raises(KeyboardInterrupt, match="finished trainings are in here"):
        builder.run({"workers": 1, "ray": None})
    assert [row["state"] for row in rows.by_run.values()] == ["complete"]


def test_crash_of_an_evaluation_is_a_problem_of_its_run(
    complete: tuple[Candidate, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate, job = complete
    errors: list[Exception] = [torch.OutOfMemoryError("CUDA out of memory.\nTried"), MemoryError(), OSError("no disk")]
    problems = []
    for error in errors:

        def crash(*_: object, error: Exception = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(measurements, "evaluate", crash)
        rows = Rows(Path("c/evaluations"), measurements.EvaluationSettings(count=200, device="cpu"), None)
        rows.add(candidate, job.run, Outcome(job, ""), progress=False)
        (row,) = rows.by_run.values()
        assert (row["state"], row["evaluation"]) == ("complete", None)
        problems.append(row["problem"])
    assert problems == [
        "Its evaluation ended, OutOfMemoryError: CUDA out of memory. Fix: a smaller --count, or --device cpu.",
        "Its evaluation ended, MemoryError. Fix: a smaller --count, or --device cpu.",
        "Its evaluation ended, OSError: no disk. Fix: ganvas evaluate c/runs/small-seed0 says more.",
    ]


def test_earlier_evaluations_against_other_real_images_are_repeated(
    complete: tuple[Candidate, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, job = complete
    rows = Rows(Path("c/evaluations"), measurements.EvaluationSettings(count=200, device="cpu"), None)
    repeated = []

    def evaluate_again(run: Run, *_: object, **__: object) -> dict[str, Any]:
        repeated.append(run.path.name)
        return real_images("f", "new")

    monkeypatch.setattr(measurements, "evaluate_run", evaluate_again)
    for name, weights in {"old": "old", "current": "new", "now": "new"}.items():
        path = Path(shutil.copytree(job.run.path, name))
        row = {"path": str(path), "problem": "", "evaluation": real_images("f", weights)}
        rows.by_run["small", name] = row
    rows.evaluated.add("now")
    rows.renew_evaluations(progress=False)
    assert repeated == ["old"]
    rows.renew_evaluations(progress=False)
    assert repeated == ["old"], "all agree"
    rows.evaluated.clear()
    rows.by_run["small", "old"]["evaluation"] = real_images("f", "old")
    rows.renew_evaluations(progress=False)
    assert repeated == ["old", "old", "current", "now"], "none is known to be current"
    path = Path(shutil.copytree(job.run.path, "on earlier images"))
    edit_config(path, data={**job.run.metadata["data"], "fingerprint": "e"})
    row = {"path": str(path), "problem": "", "evaluation": real_images("e", "old")}
    rows.by_run["small", "on earlier images"] = row
    rows.renew_evaluations(progress=False)
    assert len(repeated) == 4, "its images are gone"


def test_stopped_or_failing_renewal_keeps_the_earlier_evaluation(
    complete: tuple[Candidate, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, problem in ((MemoryError(), "Its evaluation ended, MemoryError"), (KeyboardInterrupt(), "")):

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(measurements, "evaluate_run", fail)
        rows = Rows(Path("c/evaluations"), measurements.EvaluationSettings(count=200, device="cpu"), None)
        for name in ("old", "now"):
            row = {"path": str(complete[1].run.path), "problem": "", "evaluation": real_images("f", name)}
            rows.by_run["small", name] = row
        with suppress(KeyboardInterrupt):
            rows.renew_evaluations(progress=False)
        assert rows.by_run["small", "old"]["evaluation"] == real_images("f", "old")
        assert rows.by_run["small", "old"]["problem"].startswith(problem)


def test_evaluation_against_changed_data_is_kept_while_they_stay(complete: tuple[Candidate, Job]) -> None:
    path, data = complete[1].run.path, complete[1].run.metadata["data"]
    edit_config(path, data={**data, "fingerprint": "of the training"})
    run, settings = Run(path), measurements.EvaluationSettings(count=200, device="cpu")
    folder = Path("c/evaluations") / measurements._cache_key(run, settings)
    make_folder(folder)
    for against, kept in ((data["fingerprint"], True), ("of the training", True), ("of a time between", False)):
        write_json(folder / "evaluation.json", real_images(against, ""))
        found = measurements.read_evaluation(run, settings, Path("c/evaluations"), Memo())
        assert (found is not None) == kept, against
