"""Results of other programs are imported as written; torn and unknown lines are skipped, and no code is run."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganvas.comparison.importers import import_run, lower_is_better
from ganvas.errors import GanvasError

OPTIONS = {
    "num_gpus": 2, "batch_size": 32, "total_kimg": 25000, "random_seed": 0, "metrics": ["fid50k_full"],
    "G_kwargs": {"class_name": "training.networks_stylegan3.Generator", "z_dim": 512},
    "loss_kwargs": {"class_name": "training.loss.StyleGAN2Loss", "r1_gamma": 8.2},
    "training_set_kwargs": {"path": "/data sets/afhqv2-512x512.zip", "resolution": 512, "max_size": 15803},
}  # fmt: skip


def tick(kimg: float, **means: float) -> dict[str, Any]:
    quantities = {"Progress/kimg": kimg, "Timing/total_sec": kimg * 10.5, **means}
    return {**{name: {"num": 1, "mean": mean, "std": 0.0} for name, mean in quantities.items()}, "timestamp": 1.6e9}


def measured(kimg: float, *, snapshot: str | None = "network-snapshot-{:06d}.pkl", **results: float) -> dict[str, Any]:
    name = snapshot and snapshot.format(int(kimg))
    return {"results": results, "metric": "x", "total_time": 9.5, "num_gpus": 2, "snapshot_pkl": name, "timestamp": 1.0}


def write(path: Path, *lines: Any, torn: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def test_stylegan_run_is_imported() -> None:
    run = Path("00003-stylegan3-afhq")
    write(run / "training_options.json", OPTIONS)
    write(
        run / "stats.jsonl",
        tick(0, **{"Loss/G/loss": 0.9, "Loss/D/loss": float("nan")}),
        tick(4, **{"Loss/G/loss": 1.5, "Loss/D/loss": 0.5}),
        tick(8, **{"Loss/G/loss": 9.0}),
        tick(8, **{"Loss/G/loss": 1.25}),
        {"no": "tick"},
        torn='{"Progress/kimg": {"num": 1, "me',
    )
    write(
        run / "metric-fid50k_full.jsonl",
        measured(400, fid50k_full=14.0),
        measured(0, fid50k_full=300.0),
        measured(200, fid50k_full=12.5),
        measured(600, fid50k_full=float("inf")),
        {"results": "none"},
        torn='{"results": {"fid50k_full": 1',
    )
    write(
        run / "metric-pr50k3_full.jsonl",
        measured(200, pr50k3_full_precision=0.5, pr50k3_full_recall=0.25),
        measured(400, pr50k3_full_precision=0.7, pr50k3_full_recall=0.2),
    )
    write(run / "metric-is50k.jsonl", measured(0, snapshot=None, is50k_mean=9.0, is50k_std=0.1))
    (run / "network-snapshot-000200.pkl").mkdir()  # opening it as a file would fail

    found = import_run(run)
    assert found is not None
    assert (found.name, found.source) == ("00003-stylegan3-afhq", "StyleGAN-family run")
    assert found.values == {
        "fid50k_full": 14.0, "is50k_mean": 9.0, "is50k_std": 0.1,
        "pr50k3_full_precision": 0.7, "pr50k3_full_recall": 0.2,
    }  # fmt: skip
    assert found.best == {
        "fid50k_full": (12.5, 200),
        "pr50k3_full_precision": (0.7, 400),
        "pr50k3_full_recall": (0.25, 200),
    }
    assert found.curves["metric/fid50k_full"] == [(0, 300.0), (200, 12.5), (400, 14.0)]
    assert found.curves["Loss/G/loss"] == [(0, 0.9), (4, 1.5), (8, 1.25)], "written again after a resume"
    assert found.curves["Loss/D/loss"] == [(4, 0.5)]
    assert "metric/is50k_mean" not in found.curves
    assert found.details == {
        "resolution": "512", "dataset": "afhqv2-512x512.zip", "images": "15803", "batch": "32", "GPUs": "2",
        "planned kimg": "25000", "generator": "training.networks_stylegan3.Generator", "r1": "8.2", "seed": "0",
        "kimg": "8", "seconds": "84",
    }  # fmt: skip


def test_any_one_file_of_a_stylegan_run_is_enough() -> None:
    write(Path("options/training_options.json"), OPTIONS)
    write(Path("stats/stats.jsonl"), tick(4))
    write(Path("metric/metric-kid50k.jsonl"), measured(4, kid50k=0.1))
    write(Path("cut/training_options.json"), torn='{"num_gpus": 2, "batch')
    write(Path("cut/stats.jsonl"), tick(4))
    found = {name: import_run(Path(name)) for name in ("options", "stats", "metric", "cut")}
    assert all(found.values())
    assert found["metric"] is not None
    assert found["metric"].best == {"kid50k": (0.1, 4)}


def test_torch_fidelity_output_is_imported() -> None:
    printed = {
        "inception_score_mean": 8.5, "inception_score_std": 0.1, "frechet_inception_distance": 20.25,
        "kernel_inception_distance_mean": float("nan"), "precision": 1, "new": [1.0],
    }  # fmt: skip
    write(Path("mine/fidelity.json"), printed)
    found = import_run(Path("mine/fidelity.json"))
    assert found is not None
    assert (found.name, found.source) == ("mine/fidelity.json", "torch-fidelity")
    assert found.values == {
        "inception_score_mean": 8.5, "inception_score_std": 0.1, "frechet_inception_distance": 20.25, "precision": 1.0,
    }  # fmt: skip
    assert not found.best
    assert not found.curves


def test_other_files_are_not_imported() -> None:
    write(Path("other.json"), {"fid": 1.0})
    write(Path("nested.json"), {"runs": [{"frechet_inception_distance": 3.0}]})
    Path("empty").mkdir()
    Path("picture.png").write_bytes(bytes(range(256)))
    for name in ("other.json", "nested.json", "empty", "picture.png", "not there", "x" * 5000, "null\0"):
        assert import_run(Path(name)) is None, name
    write(Path("ours/config.json"), {"format": 1})
    write(Path("ours/stats.jsonl"), {"nimg": 40, "D/loss": {"num": 2, "mean": 0.5, "std": 0.1}})
    assert import_run(Path("ours")) is None


def test_damaged_files_are_refused() -> None:
    write(Path("run/training_options.json"), torn='{"num_gpus": 2, "batch')
    write(Path("run/metric-fid50k.jsonl"), torn='{"results": {"fid')
    with pytest.raises(GanvasError, match=r"run looks like .* nothing in it can be read"):
        import_run(Path("run"))
    write(Path("torn.json"), torn='{"frechet_inception_distance": 20.25, "prec')
    write(Path("nan.json"), {"frechet_inception_distance": float("nan")})
    for name in ("torn.json", "nan.json"):
        with pytest.raises(GanvasError, match=f"{name} looks like output of torch-fidelity"):
            import_run(Path(name))


def test_unreadable_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    write(Path("mine.json"), {"precision": 1.0})
    monkeypatch.setattr("ganvas.comparison.importers.read_bytes", refuse)
    with pytest.raises(GanvasError, match=r"mine.json cannot be read \(Permission denied\)"):
        import_run(Path("mine.json"))


def test_hostile_json_gives_an_error_without_traceback() -> None:
    deep, huge = "[" * 200_000, "9" * 400
    write(Path("run/stats.jsonl"), tick(4), torn=f'{{"Progress/kimg": {{"mean": {huge}}}}}\n{{"x": {deep}\n')
    found = import_run(Path("run"))
    assert found is not None
    assert found.details["kimg"] == "4"
    Path("deep.json").write_text('{"precision": ' + deep)
    with pytest.raises(GanvasError):
        import_run(Path("deep.json"))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Progress/kimg", "mean", "results", "fid50k", "snapshot_pkl", "precision", "batch_size",
                         "training_set_kwargs", "path", "resolution", "a"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON, JSON, JSON)
def test_any_json_is_read_or_refused(options: Any, stats: Any, metric: Any) -> None:
    write(Path("any/training_options.json"), options)
    write(Path("any/stats.jsonl"), stats)
    write(Path("any/metric-x.jsonl"), metric)
    write(Path("any.json"), metric)
    for path in ("any", "any.json"):
        try:
            json.dumps(getattr(import_run(Path(path)), "values", None), allow_nan=False)
        except GanvasError:
            continue


@pytest.mark.parametrize(
    ("measure", "lower"),
    [
        ("fid50k_full", True), ("kid50k", True), ("ppl2_wend", True), ("frechet_inception_distance", True),
        ("kernel_inception_distance_mean", True), ("perceptual_path_length_mean", True), ("is50k_mean", False),
        ("inception_score_mean", False), ("pr50k3_full_recall", False), ("precision", False), ("eqt50k_int", False),
        ("is50k_std", None), ("somebody's", None),
    ],
)  # fmt: skip
def test_direction_of_each_metric(measure: str, lower: bool | None) -> None:
    assert lower_is_better(measure) is lower
