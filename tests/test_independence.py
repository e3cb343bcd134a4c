"""Evaluations record the network that D looked through; features of that network are marked and never ranked."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_ranking import row
from torch import nn

from ganvas import networks
from ganvas.comparison import comparison
from ganvas.comparison.candidates import Candidate
from ganvas.comparison.ranking import compare_aspects, rank
from ganvas.comparison.summary import best_candidates, format_csv, summarise
from ganvas.config import TrainConfig
from ganvas.config.custom import Custom, Network, features_net_of
from ganvas.config.families import MLP, Projected
from ganvas.data import DataOptions, open_images
from ganvas.diagnosis.budget import TimeBudget
from ganvas.errors import GanvasError
from ganvas.evaluation import independence
from ganvas.evaluation.evaluation import evaluate
from ganvas.evaluation.result import find_differences
from ganvas.evaluation.trend import Trend
from ganvas.features import efficientnet, frozen
from ganvas.features.extraction import Extractor
from ganvas.features.extractors import load_extractor
from ganvas.features.frozen import load_frozen
from ganvas.networks import Shape
from ganvas.runs import snapshot
from ganvas.runs.card import d_networks_of
from ganvas.runs.folder import Run
from ganvas.training.monitor.quality import QualityMonitor

ENCODER = """
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self, seed=0):
        super().__init__()
        self.layer = nn.Conv2d(3, 8, 3, 2, 1)
        with torch.no_grad():
            self.layer.weight.fill_(0.1 + seed)
            self.layer.bias.zero_()

    def forward(self, images):
        return self.layer(images.expand(-1, 3, -1, -1)).flatten(1)

class Other(Encoder):
    pass

def eye():
    from ganvas.features.eye import load_eye
    return load_eye()
"""


def extractor(name: str, digest: str = "0" * 16, spec: str = "") -> Extractor:
    return Extractor(name, digest, "", lambda images: images.flatten(1).float(), spec=spec)


def recorded(*networks: str) -> list[dict[str, Any]]:
    """Networks as a card of today has them, with the digest of their weights where they can be loaded."""
    found = []
    for network in networks:
        try:
            found.append({"network": network, "weights": load_frozen(network).digest})
        except GanvasError:
            found.append({"network": network, "weights": "1" * 16})
    return found


def entry(network: str, features: Extractor) -> dict[str, Any]:
    return independence.describe(recorded(network), features)["independence"]


@pytest.fixture
def without_lite0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "is_installed", lambda: False)


@pytest.mark.parametrize(
    ("network", "features", "verdict", "words"),
    [
        ("lite0", "lite0", "not independent", "the same network"),
        ("eye", "eye", "not independent", "the same network"),
        ("lite0", "eye", "independent", "no labels in common"),
        ("eye", "lite0", "independent", "no labels in common"),
        ("lite0", "dinov2", "independent", "no labels in common"),
        ("lite0", "inception", "independent weights, same labels", "ImageNet's"),
        ("lite0", "vgg19", "independent weights, same labels", "ImageNet's"),
        ("lite0", "squeezenet", "independent weights, same labels", "ImageNet's"),
        ("lite0", "classifier", "independent", "the labels are the data's own."),
        ("eye", "classifier", "independent", "which the eye learned on CIFAR-10 and MNIST"),
        ("lite0", "Mine", "independent", "which labels Mine learned is unknown"),
        ("nets.py:Mine(width=8)", "eye", "independent", "which labels nets.py:Mine(width=8) learned is unknown"),
        ("nets.py:lite0", "inception", "independent", "which labels nets.py:lite0 learned is unknown"),
    ],
)
def test_verdict_follows_weights_names_and_labels(network: str, features: str, verdict: str, words: str) -> None:
    found = entry(network, extractor(features))
    assert found["d_network"] == network
    assert found["verdict"] == verdict
    assert words in found["sentence"]
    assert f"D looked through {network}" in found["sentence"]
    assert independence.is_independent({"independence": found}) == (verdict != "not independent")


def test_weights_are_recognised_under_another_name() -> None:
    eye, coarse = load_extractor("eye"), load_extractor("eye-bf16")
    assert entry("eye", eye)["d_weights"] == eye.digest
    assert entry("eye", coarse)["verdict"] == "not independent"
    assert "the same weights" in entry("eye", coarse)["sentence"]
    assert entry("eye", extractor("Mine", eye.digest))["verdict"] == "not independent"
    Path("nets.py").write_text(ENCODER)
    other = load_extractor("nets.py:Other")
    assert entry("nets.py:Encoder", other)["verdict"] == "not independent"
    assert entry("nets.py:Encoder(seed=1)", other)["verdict"] == "independent"
    assert entry("nets.py:eye", eye)["verdict"] == "not independent"
    seen = independence.names_of(recorded("nets.py:eye"))
    assert independence.default_features(seen, labelled=True) == "classifier", "it is the eye under another name"
    (note,) = independence.make_notes(independence.describe(recorded("nets.py:eye"), eye), labelled=True)
    assert note.endswith("Fix: --features classifier.")


def test_names_are_the_same_only_with_their_files() -> None:
    there = "folder/b.py:Maps(width=8)"
    assert entry("a.py:Maps(width=8)", extractor("Maps", spec=there))["verdict"] == "independent"
    same = entry(there, extractor("Maps", spec=there))
    assert same["verdict"] == "not independent"
    assert "the features (b.py:Maps(width=8)) are not independent of it: the same network" in same["sentence"]
    mine = entry("lite0", extractor("lite0", spec="nets.py:lite0"))
    assert mine["verdict"] == "independent"
    assert "which labels nets.py:lite0 learned is unknown" in mine["sentence"]


def test_the_worst_network_of_the_lineage_decides() -> None:
    found = independence.describe(recorded("lite0", "nets.py:Mine", "eye"), extractor("lite0"))["independence"]
    assert (found["d_network"], found["verdict"]) == ("lite0", "not independent")
    assert found["sentence"].startswith("G was trained through lite0 (")
    assert "the features (lite0) are not independent of lite0: the same network." in found["sentence"]
    assert [one["verdict"] for one in found["d_networks"]] == ["not independent", "independent", "independent"]
    alike = independence.describe(recorded("lite0", "eye"), extractor("vgg19"))["independence"]
    assert "have independent weights, same labels as lite0: ImageNet's." in alike["sentence"]
    note = independence.make_notes({"independence": found}, labelled=False)[0]
    assert note.endswith("Fix: --features inception or dinov2.")


def test_cards_without_the_networks_fall_back_to_the_configuration() -> None:
    assert d_networks_of(None, MLP()) == []
    assert d_networks_of(None, Projected()) == [{"network": "lite0", "weights": None}]
    own = d_networks_of(None, Projected(features_net="nowhere.py:Mine"))
    found = independence.describe(own, load_extractor("eye"))["independence"]
    assert (found["verdict"], found["d_weights"]) == ("independent", None)
    assert "the weights of nowhere.py:Mine were not recorded" in found["sentence"]
    old = independence.describe(d_networks_of(None, Projected(features_net="eye")), load_extractor("eye-bf16"))
    assert "the same weights" in old["independence"]["sentence"]
    del old["independence"]["d_networks"]
    assert independence.networks_in(old) == recorded("eye")


def test_a_d_with_a_frozen_network_looks_through_it() -> None:
    assert features_net_of(Projected()) == "lite0"
    assert features_net_of(Projected(features_net="nets.py:Mine")) == "nets.py:Mine"
    assert features_net_of(MLP()) == ""
    assert features_net_of(Custom(d="projected")) == "lite0"
    assert features_net_of(Custom(d="projected(features_net='eye')")) == "eye"
    assert features_net_of(Custom(g="projected(g_width=8)")) == ""
    assert independence.describe([], extractor("eye")) == {}


@pytest.mark.parametrize(
    ("networks", "labelled", "chosen"),
    [
        ([""], True, "eye"), (["lite0"], True, "eye"), (["nets.py:Mine"], False, "eye"), (["eye"], True, "classifier"),
        (["eye"], False, "lite0"), (["eye", "lite0"], True, "classifier"), (["eye", "lite0"], False, "eye"),
    ],
)  # fmt: skip
def test_default_features_are_independent(
    networks: list[str], labelled: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet, "is_installed", lambda: True)
    assert independence.default_features(networks, labelled=labelled) == chosen


@pytest.mark.usefixtures("without_lite0")
def test_without_lite0_the_eye_is_left_and_marked() -> None:
    assert independence.default_features(["eye"], labelled=False) == "eye"
    (note,) = independence.make_notes(independence.describe(recorded("eye"), load_extractor("eye")), labelled=False)
    assert note.endswith("Fix: --features lite0, which says what it needs.")


def save_generator(path: Path, network: Network, **more: Any) -> Path:
    """A snapshot of an untrained G."""
    shape = Shape(1, 8, 8)
    data = {"name": "digits", "fingerprint": ""}
    card = snapshot.Card(network, shape, (), 0, "ema", data, "fast", snapshot.package_versions(), **more)
    snapshot.save(path, networks.build_generator(network, shape), card)
    return path


def evaluate_generator(network: Network, **more: Any) -> Any:
    path = save_generator(Path("s") / getattr(network, "features_net", "none").replace(":", "-"), network)
    return evaluate(path, against="digits", count=60, quick=True, device="cpu", quiet=True, **more)


def test_features_of_ds_network_are_marked_everywhere() -> None:
    found = evaluate_generator(Projected(latent=4, g_width=4, features_net="eye"), features="eye")
    text = " ".join(str(found).split())
    assert "Fréchet distance †" in text
    assert "†: not independent of D's network" in text
    assert "Fix: --features classifier." in text
    assert "classes generated †" not in text
    line = json.loads(json.dumps(found.to_json()))
    assert line["protocol"]["independence"]["verdict"] == "not independent"
    assert line["protocol"]["independence"]["d_network"] == "eye"
    marked = {name for name, value in line["values"].items() if not value["independent"]}
    assert marked == {"frechet", "frechet_infinity", "kernel", "precision", "recall", "density", "coverage"}
    page = found._repr_html_()
    assert "Fréchet distance †" in page
    assert "are not independent of it: the same network" in page


@pytest.mark.slow
def test_evaluation_without_named_features_is_independent() -> None:
    found = evaluate_generator(Projected(latent=4, g_width=4, features_net="eye"))
    assert found.protocol["features"]["extractor"] == "classifier"
    assert found.protocol["independence"]["verdict"] == "independent"
    assert "†" not in str(found)


def test_ds_network_is_no_difference_of_protocols() -> None:
    through_lite0 = evaluate_generator(Projected(latent=4, g_width=4))
    assert through_lite0.protocol["features"]["extractor"] == "eye"
    assert "D looked through lite0" in str(through_lite0)
    plain = evaluate_generator(MLP(latent=4, g_widths=(8,)))
    assert "independence" not in plain.protocol
    assert "looked through" not in str(plain)
    assert all(value["independent"] for value in plain.to_json()["values"].values())
    assert find_differences(plain.protocol, through_lite0.protocol) == []


# The trend while training


def build_trend(**more: Any) -> Trend:
    return Trend(open_images(DataOptions("digits")), 4, False, torch.device("cpu"), 250, **more)


def test_trend_is_measured_in_independent_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "is_installed", lambda: True)
    assert build_trend().describe()["extractor"] == "eye"
    assert "independence" not in build_trend().describe()
    for network, features in (("lite0", "eye"), ("eye", "lite0")):
        found: Any = build_trend(d_networks=recorded(network)).describe()
        assert found["extractor"] == features
        assert found["independence"]["verdict"] == "independent"


@pytest.mark.usefixtures("without_lite0")
def test_trend_that_cannot_be_independent_is_marked() -> None:
    found: Any = build_trend(d_networks=recorded("eye")).describe()
    assert found["extractor"] == "eye"
    assert found["independence"]["verdict"] == "not independent"


class ProjectedRun(Run):
    """A run without files but its configuration."""

    @property
    def config(self) -> TrainConfig:
        return replace(TrainConfig(), network=Projected(features_net="eye"))


def test_monitor_keeps_the_features_of_a_resumed_run(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def build(count: int, **more: Any) -> Any:
        asked.append(more)
        raise MemoryError

    def measure(run: Run) -> dict[str, Any]:
        budget = TimeBudget.of_run()
        budget.seconds = 1000.0
        assert QualityMonitor(run, build, 10, budget).measure(nn.Identity, 100) is None  # type: ignore[arg-type]
        return asked[-1]

    run = ProjectedRun(tmp_path)
    assert measure(run) == {"features": None}
    path = save_generator(tmp_path / "snapshots" / "best", Projected(latent=4, g_width=4, features_net="eye"))
    card = json.loads((path / "card.json").read_text())
    quality = {"value": 1.0, "count": 250, "extractor": "lite0"}
    (path / "card.json").write_text(json.dumps({**card, "quality": quality}))
    assert measure(run) == {"features": "lite0"}


# Comparisons


def seen_through(network: str, features: str, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, evaluated by an extractor, whose D looked through a network."""
    described = independence.describe(recorded(*filter(None, [network])), extractor(features))
    independent = independence.is_independent(described)
    for run in runs:
        evaluation = run["evaluation"]
        protocol = {"features": {"extractor": features, "weights": ""}, **described}
        evaluation["protocol"] = {**evaluation["protocol"], **protocol}
        for name in ("frechet", "kernel", "precision", "recall"):
            evaluation["values"][name]["independent"] = independent
    return list(runs)


def compared(network: str, features: str) -> list[dict[str, Any]]:
    plain = [row("cnn", seed, 4.0 + seed / 10) for seed in range(3)]
    fast = [row("fast", seed, 1.0 + seed / 10) for seed in range(3)]
    return [*seen_through("", features, plain), *seen_through(network, features, fast)]


def test_features_of_ds_network_are_never_ranked() -> None:
    runs = compared("lite0", "lite0")
    found = rank(["cnn", "fast"], runs)
    reason = "the features (lite0) are not independent: G of fast was trained through lite0"
    assert found.sentence == f"Not ranked: {reason}."
    assert found.order == found.tests == ()
    assert found.remarks[-1] == "Features that no D looked through can be ranked: --features eye."
    aspects = {aspect["aspect"]: aspect for aspect in compare_aspects(["cnn", "fast"], runs)}
    assert aspects["precision"]["test"] is None
    assert aspects["precision"]["sentence"] == "cnn 0.500, fast 0.500; not independent, not ranked."
    assert "significant" in aspects["layout"]["sentence"], "pixels are independent of every network"
    candidates = [{"name": name, "parameters": None, "flops_per_image": None} for name in ("cnn", "fast")]
    summaries, columns = summarise(candidates, runs, found.metric)
    for column in ("distance", "precision", "recall"):
        assert columns[column].endswith(" (not independent)")
    assert summaries[1]["distance"]["mean"] == pytest.approx((1.0 * 1.1 * 1.2) ** (1 / 3)), "it is shown"
    assert "distance" not in best_candidates(summaries, bool(found.order), runs)
    assert "not independent" in format_csv({"runs": runs})


def test_independent_features_are_ranked_beside_runs_without_a_network() -> None:
    found = rank(["cnn", "fast"], compared("lite0", "eye"))
    assert found.order == ("fast", "cnn")
    assert found.remarks == ()


def test_shared_labels_are_ranked_with_a_remark() -> None:
    found = rank(["cnn", "fast"], compared("lite0", "inception"))
    assert found.order == ("fast", "cnn")
    assert found.remarks == (
        "G of fast was trained through lite0; the features (inception) have independent weights, same labels "
        "(ImageNet's), which favours fast.",
    )


@pytest.mark.parametrize(
    ("trends", "mark"),
    [
        (["eye", "eye"], ""),
        (["eye", "lite0"], " (in different features: eye, lite0)"),
        (["eye", "marked"], " (not independent)"),
    ],
)
def test_trends_are_compared_only_in_the_same_independent_features(trends: list[str], mark: str) -> None:
    runs = compared("lite0", "eye")
    for i, run in enumerate(runs):
        run["curves"] = {"quality": {"kimg": [1.0], "seconds": [1.0], "mean": [9.0]}}  # a long one is thinned
        run["trend"] = {"value": 3.0 + i, "extractor": trends[i // 3]}
        if trends[i // 3] == "marked":
            run["trend"] |= {"extractor": "eye", **independence.describe(recorded("eye"), extractor("eye"))}
    candidates = [{"name": name, "parameters": None, "flops_per_image": None} for name in ("cnn", "fast")]
    summaries, columns = summarise(candidates, runs, "frechet")
    assert columns["best"] == f"best kernel distance during training{mark}"
    assert [own["best"]["mean"] for own in summaries] == [4.0, 7.0]
    assert ("best" in best_candidates(summaries, True, runs)) == (not mark)


def test_comparison_chooses_features_that_no_d_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "is_installed", lambda: True)

    def candidate(network: Network) -> Candidate:
        config = TrainConfig()
        return Candidate("x", "x", replace(config, network=network, dataset=replace(config.dataset, data="digits")))

    def chosen(*candidates: Candidate) -> str:
        return comparison._default_features(candidates, [one.config.dataset.options() for one in candidates])

    plain, lite0, eye = (candidate(n) for n in (MLP(), Projected(), Projected(features_net="eye")))
    assert chosen(plain, lite0) == "eye"
    assert chosen(plain, eye) == "classifier"
    seen = recorded("eye")
    path = save_generator(Path("taught/snapshots/000000"), Projected(latent=4, g_width=4), d_networks=seen)
    begun = replace(lite0.config.transfer, init_from=str(path))
    after_eye = replace(lite0, config=replace(lite0.config, transfer=begun))
    assert chosen(plain, after_eye) == "classifier", "G comes from a training with the eye"
    monkeypatch.setattr(frozen, "is_installed", lambda: False)
    assert chosen(plain, lite0) == "classifier", "D will look through the eye"
    monkeypatch.setattr(frozen, "is_installed", lambda: True)
    lost = replace(eye, config=replace(eye.config, dataset=replace(eye.config.dataset, data="nothing/here")))
    assert chosen(plain, lost) == "lite0"


def test_report_shows_and_marks_what_is_not_independent() -> None:
    from test_report import results

    from ganvas.comparison.report import render_report

    names = ["cnn", "fast"]
    report = results(names)
    report["runs"] = compared("lite0", "lite0")
    found = rank(names, report["runs"])
    summaries, columns = summarise(report["candidates"], report["runs"], found.metric)
    report |= {
        "verdict": found.to_json(), "aspects": compare_aspects(names, report["runs"]), "summaries": summaries,
        "columns": columns, "best": best_candidates(summaries, bool(found.order), report["runs"]),
        "settings": {"count": 200, "features": "lite0"},
    }  # fmt: skip
    html = render_report(report, Path("none"))
    assert "Not ranked: the features (lite0) are not independent: G of fast was trained through lite0." in html
    assert html.count("Fréchet distance (not independent)") >= 3, "in both tables and in the figure"
    assert "Realism (not independent)" in html
    assert "fast: D looked through lite0" in html
    assert ">Significance<" not in html
