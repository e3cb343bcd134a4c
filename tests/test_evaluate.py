"""Evaluation: real images are at the baseline, damage and copies are detected, bad input is refused."""

import dataclasses
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import entropy
from support import NARROW, call_cli, run_cli, tiny
from torch import nn

import ganvas
from ganvas import files
from ganvas.cli import evaluation as command_line
from ganvas.config import replace
from ganvas.data import DataOptions, ImageSet, open_images
from ganvas.data.selection import assign_classes
from ganvas.display import Paragraph
from ganvas.errors import GanvasError
from ganvas.evaluation import counting, evaluation, measures, reference_features, result
from ganvas.evaluation.evaluation import evaluate
from ganvas.evaluation.measure_groups import (
    ImageSample,
    MeasureGroup,
    class_measures,
    measure_distances,
    measure_manifolds,
    measure_pixels,
    measure_two_sample,
)
from ganvas.evaluation.memorisation import Memorisation
from ganvas.evaluation.reference import open_reference
from ganvas.evaluation.reference_features import Memo, extract_reference, open_reference_once
from ganvas.evaluation.result import find_differences
from ganvas.evaluation.subject import share_by_name, subject_from_generator
from ganvas.features import extractors
from ganvas.features.extraction import Extractor
from ganvas.networks import Shape
from ganvas.runs import log
from ganvas.training import start

FLAT = Extractor("classifier", "", "none", lambda images: images.flatten(1).float()[:, :8])
"""The first pixels as features, and no probabilities."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: the classifier of the digits is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def folders(parts: dict[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The parts of the digits, with the cache and the short training of the classifier that all evaluations share."""
    _share_cache(cache, monkeypatch)
    return parts


def _share_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(cache))
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 6000)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The digits in parts: training, held-out and other images; also damaged, copied and of one class."""
    whole = open_images(DataOptions("digits"))
    assert whole.labels is not None
    order = np.random.default_rng(0).permutation(len(whole))
    x, y = whole.images[order].transpose(0, 2, 3, 1), whole.labels[order]
    train, held, other = slice(0, 600), slice(600, 1000), slice(1000, 1400)
    noisy = (x[other] * 0.6 + np.random.default_rng(1).integers(0, 100, x[other].shape)).astype(np.uint8)
    arrays = {
        "train": (x[train], y[train]),
        "held": (x[held], y[held]),
        "other": (x[other], None),
        "noisy": (noisy, None),
        "copies": (x[:400], None),
        "ones": (x[other][y[other] == 1], None),
    }
    folder, paths = tmp_path_factory.mktemp("parts"), {}
    for name, (images, labels) in arrays.items():
        paths[name] = folder / f"{name}.npz"
        np.savez(paths[name], images=images, **({} if labels is None else {"labels": labels}))
    return paths


@pytest.fixture(scope="module")
def other(parts: dict[str, Path], cache: Path) -> evaluation.Evaluation:
    """The whole evaluation of the other images."""
    with pytest.MonkeyPatch.context() as patch:
        _share_cache(cache, patch)
        return evaluate_part(parts, "other")


def evaluate_part(folders: dict[str, Path], name: str, **knobs: object) -> evaluation.Evaluation:
    return evaluate(
        folders[name],
        against=str(folders["train"]),
        held_out=str(folders["held"]),
        device="cpu",
        **knobs,  # type: ignore[arg-type]
    )


@pytest.mark.slow
def test_real_images_are_at_the_baseline_and_damaged_ones_far_from_it(
    folders: dict[str, Path], other: evaluation.Evaluation
) -> None:
    real, noisy = other, evaluate_part(folders, "noisy")
    assert list(real.values) == [name for name in measures.MEASURES if name in real.values]
    assert set(measures.MEASURES) == {*real.values}
    ratio = real.ratio_to_baseline("frechet")
    assert ratio is not None
    assert 0.6 < ratio < 1.6
    for name in ("frechet", "frechet_infinity", "kernel", "two_sample", "sliced_wasserstein", "fine_detail", "kl_real"):
        assert noisy.values[name].value > real.values[name].value, name
    for name in ("precision", "recall", "density", "coverage", "score"):
        assert noisy.values[name].value < real.values[name].value, name
    frechet = real.values["frechet"]
    assert frechet.error is not None
    assert 0 < frechet.error < frechet.value
    assert real.values["modes"].value == 10
    assert real.values["modes"].baseline == 10
    assert real.notes == ()


@pytest.mark.slow
def test_dropped_classes_and_copies_are_detected(folders: dict[str, Path], other: evaluation.Evaluation) -> None:
    ones, copies = (evaluate_part(folders, name) for name in ("ones", "copies"))
    assert ones.values["modes"].value <= 5
    assert ones.values["rarest"].value == 0
    assert ones.values["recall"].value < other.values["recall"].value
    assert copies.memorisation is not None
    assert other.memorisation is not None
    assert copies.memorisation.ratio == 0
    assert copies.memorisation.copies == 1
    assert other.memorisation.copies < 0.1
    assert copies.panel is not None
    assert np.array_equal(copies.panel[::2], copies.panel[1::2])


@pytest.mark.slow
def test_evaluation_has_its_protocol(folders: dict[str, Path], other: evaluation.Evaluation) -> None:
    one, quick = other, evaluate_part(folders, "other", quick=True, count=300)
    assert one.protocol["features"]["extractor"] == "eye"
    assert one.protocol["reference"]["count"] == 600
    assert one.protocol["subject"]["count"] == 400
    assert find_differences(one.protocol, one.protocol) == []
    assert find_differences(one.protocol, quick.protocol) == [
        "reference.count",
        "reference.held_out_count",
        "subject.count",
    ]
    assert "two_sample" not in quick.values
    assert quick.memorisation is None
    assert one.get_measure("frechet").title == "Fréchet distance"
    line = json.loads(json.dumps(one.to_json(), allow_nan=False))
    assert line["values"]["frechet"]["value"] == one.values["frechet"].value
    assert line["protocol"] == one.protocol
    again = evaluate_part(folders, "other")
    assert again.to_json() == one.to_json()


def test_two_sample_accuracy_is_best_as_of_real_images() -> None:
    """Copies have an accuracy below chance: a lower one is no better (Xu et al. 2018)."""
    value = {"two_sample": measures.Value(0.1, 0.5)}
    copies = evaluation.Evaluation("copies", value, None, {"features": {"extractor": "eye"}}, ())
    assert copies.to_json()["values"]["two_sample"]["better"] == "as real"
    assert [row[1] for row in result._rows(copies)] == ["="]


def test_run_is_evaluated_against_its_training_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 2000)
    run = start.train(tiny(), out=tmp_path / "runs", quiet=True)
    found = evaluate(run, count=100, device="cpu")
    assert found.protocol["reference"]["held_out"] == "digits, the test split"
    assert found.protocol["subject"] == {"count": 100, "seeds": "from 0 on", "weights": "ema", "truncation": 1.0}
    ratio = found.ratio_to_baseline("frechet")
    assert ratio is not None
    assert ratio > 5
    evaluation.save_evaluation(found, run, tmp_path / "pairs.png")
    assert [line["subject"] for line in log.read_jsonl(run.path / "metrics.jsonl")] == [found.subject]
    assert (run.path / "closest.png").read_bytes() == (tmp_path / "pairs.png").read_bytes()
    truncated = evaluate(run.latest_snapshot, count=100, truncation=0.5, quick=True, device="cpu")
    assert "subject.truncation" in find_differences(found.protocol, truncated.protocol)


def test_run_whose_images_were_replaced_says_so(tmp_path: Path, write_images: Callable[..., Path]) -> None:
    run = start.train(tiny(write_images(40, 8, 8)), out=tmp_path / "runs", quiet=True)

    def measure() -> evaluation.Evaluation:
        return evaluate(run, features=nn.AdaptiveAvgPool2d(2), device="cpu", quiet=True)

    found = measure()
    assert found.memorisation is not None
    assert not [note for note in found.notes if "have changed" in note]
    path = write_images(60, 8, 8)
    found = measure()
    assert "their classes or the names of these have changed" in found.notes[0]
    assert path.stem in found.notes[0]
    assert str(path.parent) not in found.notes[0], "the card of an export shows it to others"
    assert (found.memorisation, found.panel) == (None, None)
    assert found.protocol["reference"]["count"] == 30
    write_images(40, 16, 12).rename(path)
    with pytest.raises(GanvasError, match=r"(?s)images of 16×12×1 now; this generator draws 8×8×1.*--against"):
        measure()


def test_run_is_evaluated_at_its_end_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 500)
    config = replace(tiny(), evaluate_at_end=True)
    run = start.train(config, out=tmp_path / "runs", quiet=True)
    assert len(list(log.read_jsonl(run.path / "metrics.jsonl"))) == 1


def test_conditional_generator_gets_the_class_frequencies_of_the_data() -> None:
    shares = np.array([0.5, 0.3, 0.2])
    chosen = assign_classes(np.arange(1000), shares)
    assert np.abs(np.bincount(chosen) / 1000 - shares).max() < 0.01
    assert np.array_equal(assign_classes(np.arange(500, 600), shares), chosen[500:600])


def test_classes_of_other_data_are_found_by_their_names() -> None:
    labels = np.array([0, 0, 0, 1])
    real = ImageSet("pets", np.zeros((4, 1, 8, 8), np.uint8), labels, ("dog", "cafe\u0301", "none of these"), "")
    shares, other = share_by_name(real, ("caf\u00e9", "bird", "dog"))  # macOS has the accents of a folder apart
    assert (shares.tolist(), other) == ([0.25, 0, 0.75], "")  # type: ignore[union-attr]
    assert share_by_name(real, ("bird", "dog")) == (None, "cafe\u0301")
    assert share_by_name(replace_labels(real, None, ()), ("bird", "dog")) == (None, "")


def test_generator_with_other_classes_draws_all_its_own_equally_often(write_images: Callable[..., Path]) -> None:
    drawn: list[list[int]] = []
    card = SimpleNamespace(
        shape=Shape(1, 8, 8, 3), class_names=("cat", "dog", "bird"), nimg=0, weights="ema", network=NARROW["mlp"],
        data={"fingerprint": ""}, d_networks=[],
    )  # fmt: skip
    sampler = SimpleNamespace(
        card=card, path=Path("G"), name="G", sample_batches=lambda seeds, *, label, truncation: drawn.append(label)
    )
    numbered = open_images(DataOptions(str(write_images(30, 8, 8, classes=5))))  # more than it has
    subject = subject_from_generator(sampler, numbered)  # type: ignore[arg-type]
    assert subject.protocol["classes"] == "uniform"
    (note,) = subject.notes
    assert "such as 0: all classes of the generator are drawn equally often" in note
    subject.load_images(np.arange(300))
    assert np.abs(np.bincount(drawn[0]) - 100).max() < 5
    subject = subject_from_generator(sampler, replace_labels(numbered, np.arange(30) % 2, ("bird", "dog")))  # type: ignore[arg-type]
    assert (subject.protocol["classes"], subject.notes) == ("in the real shares", ())
    subject.load_images(np.arange(300))
    assert np.abs(np.bincount(drawn[1]) - [0, 150, 150]).max() < 5


def replace_labels(images: ImageSet, labels: np.ndarray | None, names: tuple[str, ...]) -> ImageSet:
    return dataclasses.replace(images, labels=labels, class_names=names)


@pytest.mark.slow
def test_without_held_out_images_the_set_is_halved(tmp_path: Path, folders: dict[str, Path]) -> None:
    found = evaluate(folders["other"], against=str(folders["train"]), quick=True, device="cpu")
    assert found.protocol["subject"]["count"] == 300
    assert "two halves" in found.notes[-1]
    real = open_reference(DataOptions(str(folders["train"])), 1000)
    assert not set(real.train_rows) & set(real.held_out_rows)


@pytest.mark.slow
def test_few_images_give_a_warning(folders: dict[str, Path]) -> None:
    found = evaluate_part(folders, "other", count=100, quick=True)
    assert "fewer than the 224 features" in found.notes[0]
    assert "kernel distance" in found.notes[0]


def test_bad_input_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="--against"):
        evaluate(folders["other"])
    with pytest.raises(GanvasError, match="--count is 3"):
        evaluate_part(folders, "other", count=3)
    np.savez(tmp_path / "colours.npz", images=np.zeros((20, 8, 8, 3), np.uint8))
    np.savez(tmp_path / "one.npz", images=np.zeros((1, 8, 8, 1), np.uint8))
    with pytest.raises(GanvasError, match=r"(?s)8×8×1.*8×8×3.*both in colours"):
        evaluate(folders["other"], against=str(tmp_path / "colours.npz"))
    with pytest.raises(GanvasError, match=r"(?s)leave 1 images.*evaluate more images"):
        evaluate(tmp_path / "one.npz", against=str(folders["train"]), held_out=str(folders["held"]))


def evaluate_pixels(path: Path, against: Path | str, held_out: Path | None = None) -> evaluation.Evaluation:
    """Quickly, in four numbers of an image."""
    held = None if held_out is None else str(held_out)
    four = nn.AdaptiveAvgPool2d(2)
    return evaluate(path, against=str(against), held_out=held, features=four, quick=True, device="cpu", quiet=True)


def test_images_are_compared_at_the_size_at_which_they_were_made(write_images: Callable[..., Path]) -> None:
    real, smaller = write_images(24, 320, 320), write_images(24, 16, 24)
    fakes = real.rename("fakes.npz")
    real = write_images(24, 320, 320)
    found = evaluate_pixels(fakes, real)
    assert found.protocol["subject"]["size"] == "320x320"
    assert not [note for note in found.notes if "resized" in note]
    (note,) = [note for note in evaluate_pixels(fakes, smaller).notes if "resized" in note]
    assert note.startswith("The images of pictures-16x24x1 have 16x24 pixels and are resized to 320x320")
    large = write_images(12, 64, 1200)
    assert evaluate_pixels(large, smaller).protocol["subject"]["size"] == "27x512"


def test_grey_images_saved_in_colours_are_compared_with_grey_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 500)
    grey = open_images(DataOptions("digits")).images[:12].transpose(0, 2, 3, 1)
    np.savez(tmp_path / "fakes.npz", images=grey.repeat(3, axis=3))
    found = evaluate_pixels(tmp_path / "fakes.npz", "digits")
    assert found.protocol["subject"]["count"] == 12
    assert not [note for note in found.notes if "resized" in note]


def test_fewer_images_than_wanted_are_held_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, count in (("train", 60), ("held", 12), ("few", 5), ("fakes", 40)):
        np.savez(tmp_path / f"{name}.npz", images=random.integers(0, 256, (count, 8, 8, 1), np.uint8))
    fakes, train, held, few = (tmp_path / f"{name}.npz" for name in ("fakes", "train", "held", "few"))
    found = evaluate_pixels(fakes, train, held)
    assert found.protocol["subject"]["count"] == 12
    assert "12 of 40 images are evaluated, as many as are held out (held, given): --held-out names more." in found.notes
    with pytest.raises(GanvasError, match=r"(?s)leave 5 images.*Fix: only 5 .* \(few, given\): --held-out"):
        evaluate_pixels(fakes, train, few)
    with pytest.raises(GanvasError, match=r"(?s)few has 5 images to compare with.*at least 10 on each side"):
        evaluate_pixels(fakes, few, held)


def test_real_images_in_colours_are_not_made_grey_for_a_grey_generator(write_images: Callable[..., Path]) -> None:
    run = start.train(tiny(write_images(40, 8, 8), kimg=0.02), quiet=True)
    colours = write_images(40, 8, 8, 3)
    with pytest.raises(GanvasError, match=r"(?s)has images of .*3.*; this generator draws .*one number of channels"):
        evaluate(run.path, against=str(colours), quick=True, device="cpu", quiet=True)
    made_grey = start.train(replace(tiny(colours, kimg=0.02), channels=1), quiet=True)
    found = evaluate(made_grey.path, against=str(colours), quick=True, device="cpu", quiet=True)
    assert "frechet" in found.values


def test_own_network_is_never_taken_for_one_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 500)
    Path("nets.py").write_text("from torch import nn\n\ninception = classifier = nn.AdaptiveAvgPool2d(2)\n")
    np.savez("fakes.npz", images=open_images(DataOptions("digits")).images[:20].transpose(0, 2, 3, 1))
    for name in ("inception", "classifier"):
        found = evaluate(
            "fakes.npz", against="digits", features=f"nets.py:{name}", quick=True, device="cpu", quiet=True
        )
        assert found.get_measure("frechet").title == "Fréchet distance"
        assert f"Features: nets.py:{name} (" in " ".join(str(found).split())
        assert "modes" in found.values


@pytest.mark.slow
def test_evaluate_from_the_command_line(folders: dict[str, Path], tmp_path: Path) -> None:
    flags = ("--against", folders["train"], "--held-out", folders["held"], "--quick", "--device", "cpu")
    result = json.loads(run_cli("evaluate", folders["other"], *flags, "--json").stdout)
    assert result["values"]["frechet"]["title"] == "Fréchet distance"
    text = call_cli("evaluate", folders["other"], *flags, check=0).stdout
    assert "Fréchet distance" in text
    assert "ddd1390b" in text
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = call_cli("evaluate", empty, *flags, check=1).stderr
    assert "Traceback" not in refused
    assert "ganvas evaluate" in call_cli("evaluate", "--help", check=0).stdout


def test_result_is_printed_before_it_is_saved_and_the_panel_is_checked_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    Path("run/config.json").write_text("{}")
    Path("run/metrics.jsonl").mkdir()  # nothing can be appended to it
    result = evaluation.Evaluation("run", {}, None, {}, ())
    monkeypatch.setattr(evaluation.Evaluation, "_parts", lambda _: iter([Paragraph("the numbers")]))
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: result)
    for json_ in (False, True):
        with pytest.raises(GanvasError, match=r"metrics\.jsonl"):
            command_line.evaluate("run", json=json_)
        assert ('"subject": "run"' if json_ else "the numbers") in capsys.readouterr().out
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: pytest.fail("it was evaluated first"))
    with pytest.raises(GanvasError, match=r"extension '\.txt'"):
        command_line.evaluate("run", panel=tmp_path / "out.txt")
    with pytest.raises(GanvasError, match="--panel and --quick were given together"):
        command_line.evaluate("run", panel=tmp_path / "out.png", quick=True)


def test_measures_whose_names_do_not_explain_themselves_are_explained_where_they_are_printed() -> None:
    protocol = {
        "features": {"extractor": "eye", "weights": "", "resize": "none"},
        "reference": {"count": 20, "data": "digits", "fingerprint": "", "held_out": "others"},
        "subject": {"count": 20},
        "versions": {},
    }
    values = {name: measures.Value(0.5) for name in ("frechet", "two_sample", "sliced_wasserstein")}
    copies = Memorisation(1.0, 1.0, 1.0, 0.01, 0.5, -9.0, np.zeros((0, 2), np.int64))
    text = str(evaluation.Evaluation("fakes", values, copies, protocol, ()))
    explained = [line.partition(": ")[0] for line in text.splitlines() if ": " in line]
    assert {"1-nearest-neighbour accuracy", "sliced Wasserstein × 1000", "C_T", "authenticity"} <= {*explained}
    assert "MS-SSIM" not in text, "it was not measured"
    text = str(evaluation.Evaluation("fakes", {}, dataclasses.replace(copies, c_t=None), protocol, ()))
    assert "C_T" not in text


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_run_that_cannot_be_written_is_evaluated_all_the_same(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("run").mkdir()
    Path("run/config.json").write_text("{}")
    pairs = np.zeros((2, 1, 8, 8), np.uint8)
    found = evaluation.Evaluation("run", {}, None, {"features": {"extractor": "eye"}}, (), pairs)
    monkeypatch.setattr(evaluation, "evaluate", lambda *_, **__: found)

    def refuse(path: Path, _: object) -> None:
        raise files.explain_os_error(OSError(number, os.strerror(number)), path) from OSError(number, "")

    monkeypatch.setattr(log, "append_json", refuse)
    is_full = number == errno.ENOSPC
    ended = call_cli("evaluate", "run", "--panel", tmp_path / "pairs.png", "--json", check=int(is_full))
    assert json.loads(ended.stdout)["subject"] == "run"
    told = "ganvas: The disk is full: " if is_full else "Note: not all of the evaluation is saved: "
    assert ended.stderr.startswith(f"{told}{Path('run/metrics.jsonl')} could not be written")
    assert (tmp_path / "pairs.png").exists() is not is_full


def test_real_images_are_prepared_once_however_they_are_named(
    write_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memo, loaded = write_images(24, 8, 8), Memo(), list[int]()
    monkeypatch.setattr(extractors, "load_extractor", lambda *_, **__: loaded.append(1) or extractors.eye_extractor())
    real = open_reference_once(DataOptions(path.name), 20, memo)
    assert open_reference_once(DataOptions(str(path)), 20, memo) is real
    for weights in ("w.pth", Path("w.pth")):
        extract_reference(real, 10, "inception", weights, "cpu", memo, quick=True)
    assert loaded == [1]
    Path("digits.npz").symlink_to(path)  # a set of another name
    assert open_reference_once(DataOptions("digits.npz"), 20, memo).train.name == "digits"


def test_evaluate_is_a_public_name() -> None:
    assert ganvas.evaluate is evaluate


@pytest.mark.slow
def test_modes_of_stacked_digits_are_counted_channel_by_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampler that never draws a 9 in its first channel misses 100 modes."""
    monkeypatch.setattr("ganvas.data.stacked._DRAWS", {"train": (2000, 1000), "test": (1300, 1001)})
    stacked = open_images(DataOptions("stacked-mnist:digits"))
    assert stacked.labels is not None
    drawn = stacked.labels < 900
    path = tmp_path / "planted.npz"
    np.savez(path, images=stacked.images[drawn][:1300].transpose(0, 2, 3, 1))
    found = evaluate(path, against="stacked-mnist:digits", quick=True, device="cpu")
    assert found.protocol["classes"]["extractor"] == "classifier of each channel"
    shares = np.bincount(stacked.labels[drawn][:1300], minlength=1000) / 1300
    modes, evenness = found.values["modes"], found.values["kl_uniform"]
    assert modes.value == pytest.approx((shares > 0).sum(), rel=0.02)  # of 1,000, from 1,300 images
    assert evenness.value == pytest.approx(entropy(shares, np.full(1000, 1 / 1000)), rel=0.02)
    assert modes.baseline is not None
    assert evenness.baseline is not None
    assert 600 < modes.value < modes.baseline
    assert evenness.value > evenness.baseline
    real = open_reference(DataOptions("stacked-mnist:digits"), 1000)
    made: list[object] = []
    monkeypatch.setattr(reference_features, "counting_classifier", lambda *_, **__: made.append("counter"))
    monkeypatch.setattr(reference_features, "reference_classifier", lambda *_, **__: FLAT)
    extract_reference(real, 100, "classifier", None, "cpu", Memo(), quick=True)
    assert made, "modes are counted digit by digit, also with the features of a classifier of the 1,000 classes"


def test_digits_of_ones_own_without_a_test_split_are_counted_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = open_images(DataOptions("digits"))
    np.savez(tmp_path / "own.npz", images=digits.images[:300].transpose(0, 2, 3, 1), labels=digits.labels[:300])  # type: ignore[index]
    monkeypatch.setattr("ganvas.data.stacked._DRAWS", {"train": (40, 1000), "test": (40, 1001)})
    asked: list[tuple[int, object]] = []
    monkeypatch.setattr(
        counting, "classifier_extractor", lambda train, test, **_: asked.append((len(train), test)) or FLAT
    )
    real = open_reference(DataOptions(f"stacked-mnist:{tmp_path / 'own.npz'}"), 1000)
    found = counting.counting_classifier(real)
    assert found is not None
    assert (found.name, asked) == ("classifier of each channel", [(300, None)])


def test_classifier_score_does_not_depend_on_the_order_of_the_images() -> None:
    """Folders are listed class by class, and consecutive images make the splits of the score."""
    sure = np.full((600, 6), 0.01, np.float32) + 0.94 * np.repeat(np.eye(6, dtype=np.float32), 100, axis=0)
    images, features = np.zeros((600, 1, 8, 8), np.uint8), np.zeros((600, 4), np.float32)
    by_class, shuffled = (
        ImageSample(features, images, sure[order])
        for order in (np.arange(600), np.random.default_rng(1).permutation(600))
    )
    first, second = (class_measures(None)([one], by_class)[0]["score"] for one in (by_class, shuffled))
    assert first == pytest.approx(second, rel=0.02)
    assert first > 4


@pytest.mark.slow
def test_part_of_sorted_images_has_every_class(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_sorted = dict(folders)
    for name in ("train", "held"):
        arrays = dict(np.load(folders[name]))
        order = arrays["labels"].argsort(kind="stable")
        of_sorted[name] = tmp_path / f"{name}.npz"
        np.savez(of_sorted[name], **{key: array[order] for key, array in arrays.items()})
    whole = evaluate_part(of_sorted, "other").values["layout"]
    monkeypatch.setattr("ganvas.evaluation.evaluation.MAX_PIXEL_IMAGES", 150)
    part = evaluate_part(of_sorted, "other").values["layout"]
    assert whole.baseline is not None
    assert part.baseline is not None
    assert part.baseline < 4 * whole.baseline
    assert part.value < 3 * whole.value


def test_surplus_of_sorted_real_images_is_removed_from_all_classes() -> None:
    draw = np.random.default_rng(0)
    classes = np.repeat([0.0, 100.0], 200)[:, None] + draw.normal(size=(400, 3))
    few = np.repeat([0.0, 100.0], 100)[:, None] + draw.normal(size=(200, 3))
    pixels = np.zeros((0, 1, 8, 8), np.uint8)
    (found,) = measure_two_sample([ImageSample(few, pixels)], ImageSample(classes, pixels))
    assert abs(found["two_sample"] - 0.5) < 0.1


@pytest.mark.parametrize(
    "group",
    [
        measure_distances,
        measure_manifolds,
        measure_two_sample,
        measure_pixels,
    ],
)
def test_sharing_the_real_computations_changes_no_number(group: MeasureGroup) -> None:
    draw = np.random.default_rng(0)

    def sample(n: int) -> ImageSample:
        return ImageSample(draw.normal(size=(n, 6)).astype(np.float32), draw.integers(0, 256, (n, 1, 16, 16), np.uint8))

    real, fake, held_out = sample(120), sample(103), sample(90)
    samples = [fake, held_out, *fake.splits()]
    for together, one in zip(group(samples, real), samples, strict=True):
        (alone,) = group(
            [ImageSample(one.features, one.pixels)],
            ImageSample(real.features, real.pixels),
        )
        assert together == pytest.approx(alone, rel=1e-9)


@pytest.mark.slow
def test_bfloat16_features_are_close_but_another_protocol(folders: dict[str, Path]) -> None:
    exact, fast = (
        evaluate_part(folders, "noisy", quick=True),
        evaluate_part(folders, "noisy", quick=True, features="eye-bf16"),
    )
    assert fast.values["frechet"].value == pytest.approx(exact.values["frechet"].value, rel=0.02)
    assert fast.values["frechet"].value != exact.values["frechet"].value
    assert find_differences(exact.protocol, fast.protocol) == ["features.extractor"]


@pytest.mark.slow
def test_evaluation_prints_as_a_table_without_arrays(other: evaluation.Evaluation) -> None:
    for text in (str(other), repr(other)):
        lines = text.splitlines()
        assert len(lines) <= 40
        assert max(map(len, lines)) <= 110
        assert "array" not in text
        assert "\x1b" not in text
        assert "Fréchet distance" in text
        assert "Nearest training images" in text
    value = measures.Value(12.34, 1.234, 0.4321)
    assert str(value) == "12.3 ± 0.432 (real-data baseline 1.23)"
    assert str(measures.Value(12.34)) == "12.3"
    assert "array" not in f"{other.memorisation!r}"
    page = other._repr_html_()
    assert "<td" in page
    assert "Fréchet distance" in page


def test_copies_of_images_that_a_generator_was_not_trained_on_are_not_looked_for(
    write_images: Callable[..., Path],
) -> None:
    run = start.train(replace(tiny(write_images(60, 8, 8)), kimg=0.04), quiet=True)
    other = write_images(80, 10, 8)
    for against, looked in ((None, True), (str(run.config.dataset.data), True), (str(other), False)):
        found = evaluate(run, against=against, features=nn.AdaptiveAvgPool2d(2), device="cpu", quiet=True)
        assert (found.memorisation is not None) == looked, against
        assert ("are not looked for" in " ".join(found.notes)) != looked
        assert ("may have memorised" in " ".join(found.notes)) == looked
        assert "too few for standard errors" in " ".join(found.notes)
