"""Feature extractors: independence of batch and image size, the cache, refused input."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.data import DataOptions, ImageSet, open_images, selection, to_unit
from ganvas.data.selection import iterate_batches
from ganvas.errors import GanvasError
from ganvas.features import extraction, extractors, inception
from ganvas.features.classifier import MAX_SHIFT, _shift_randomly, _train, build_network, classifier_extractor
from ganvas.features.dinov2 import dinov2_extractor
from ganvas.features.eye import BLOCKS, LAYER_NAMES, load_eye, to_rgb
from ganvas.features.inception import inception_extractor

REDUCING = """
from torch import nn

class Reduced(nn.Module):
    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def forward(self, x):
        return x.{}(self.axis).flatten(1)
"""


def random_images(n: int, channels: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, side, side), np.uint8)


def extract(images: np.ndarray, extractor: extraction.Extractor) -> np.ndarray:
    return extraction.extract_features(iterate_batches(images, np.arange(len(images))), extractor, count=len(images))


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32), (4, 16), (3, 200)])
def test_eye_network_accepts_any_size_and_channels(channels: int, side: int) -> None:
    found = extract(random_images(3, channels, side), extractors.eye_extractor())
    assert found.shape == (3, 224)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.std() > 0


def test_features_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    images = random_images(40)
    whole = extract(images, extractors.eye_extractor())
    monkeypatch.setattr(selection, "PIXELS_PER_PASS", 9 * 32 * 32)
    assert np.allclose(extract(images, extractors.eye_extractor()), whole, rtol=1e-4, atol=1e-5)
    assert np.allclose(extract(images[::-1], extractors.eye_extractor())[::-1], whole, rtol=1e-4, atol=1e-5)


def test_eye_network_stops_at_the_last_requested_layer() -> None:
    x = to_rgb(to_unit(torch.from_numpy(random_images(2, 1, 21))))
    activations = load_eye().activations(x, ["relu3_1", "relu1_2"])
    assert list(activations) == ["relu1_2", "relu3_1"]
    assert activations["relu1_2"].shape == (2, BLOCKS[0][1], 21, 21)
    assert activations["relu3_1"].shape == (2, BLOCKS[2][0], 6, 6)
    assert load_eye()(x).shape == (2, 20)
    assert len(LAYER_NAMES) == 8


def test_gradient_reaches_the_image_and_not_the_weights() -> None:
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    load_eye().activations(x, ["relu2_1"])["relu2_1"].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in load_eye().parameters())


def test_transparent_pixels_become_grey() -> None:
    images = torch.zeros(1, 4, 8, 8, dtype=torch.uint8)
    assert to_rgb(to_unit(images)).abs().max() == 0


def test_resize_is_antialiased_and_keeps_sizes_in_range() -> None:
    stripes = torch.zeros(1, 1, 256, 256, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    small = extraction.resize_shorter_side(stripes, (16, 128))
    assert small.shape == (1, 1, 128, 128)
    assert small[:, :, 4:-4].abs().max() < 0.1  # grey, not a moiré
    exact = torch.from_numpy(random_images(1))
    assert torch.equal(extraction.resize_shorter_side(exact, (16, 128)), to_unit(exact))
    assert extraction.resize_shorter_side(torch.zeros(1, 1, 8, 12, dtype=torch.uint8), (16, 128)).shape == (
        1,
        1,
        16,
        24,
    )


def test_eye_weights_match_the_model_card() -> None:
    content = Path(extractors.__file__).with_name("eye.safetensors").read_bytes()
    assert len(content) <= 2_000_000
    card = Path(extractors.__file__).with_name("EYE.md").read_text()
    assert hashlib.sha256(content).hexdigest() in card
    assert extractors.eye_extractor().digest in card


@pytest.mark.exhaustive
def test_eye_network_reaches_the_accuracy_of_its_card(real_data: Path) -> None:
    """The card's numbers, on the first 1,000 images of both test sets."""
    for source, split, first, least_accuracy in (("cifar10-test.zip", "train", 0, 0.85), ("mnist", "test", 10, 0.97)):
        images = open_images(DataOptions(str(real_data / source), split))  # type: ignore[arg-type]
        x = torch.from_numpy(images.images[:1000].copy())
        if images.channels == 1:
            x = nn.functional.pad(x, (2,) * 4)
        assert images.labels is not None
        accuracy = (
            (load_eye()(to_rgb(to_unit(x))).argmax(1) - first == torch.from_numpy(images.labels[:1000])).float().mean()
        )
        assert accuracy >= least_accuracy


def two_class_set(tmp_path: Path, n: int = 200) -> ImageSet:
    """Two classes: bright in the upper half, bright in the lower half."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 60, (n, 16, 16), np.uint8), np.arange(n) % 2
    x[y == 0, :8] += 150
    x[y == 1, 8:] += 150
    path = tmp_path / "halves.npz"
    np.savez(path, images=x, labels=y)
    return open_images(DataOptions(str(path)))


def test_classifier_is_trained_once_and_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 2000)
    images = two_class_set(tmp_path)
    assert images.labels is not None
    before = torch.get_rng_state()
    first = classifier_extractor(images, images)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.facts["classifier_accuracy"] == 1.0
    assert first.predict_probabilities is not None
    found = extract(images.images, first)
    probabilities = first.predict_probabilities(found)
    assert probabilities.shape == (200, 2)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert (probabilities.argmax(1) == images.labels).all()
    monkeypatch.setattr("ganvas.features.classifier._train", lambda *_: pytest.fail("trained again"))
    assert classifier_extractor(images).digest == first.digest


def test_accuracy_of_the_classifier_compares_classes_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.features.classifier.MAX_IMAGES", 2000)
    train = two_class_set(tmp_path)
    assert train.labels is not None
    lower = train.images[train.labels == 1]
    none, other = np.zeros(len(lower), np.int64), np.zeros((2, 1, 16, 16), np.uint8)
    assert classifier_extractor(train, ImageSet("a", lower, none, ("1",), "a")).facts == {"classifier_accuracy": 1.0}
    assert classifier_extractor(train, ImageSet("b", lower, none, ("cat",), "b")).facts == {}
    both = ImageSet("c", np.concatenate([lower, other]), np.array([*none, 1, 1]), ("1", "cat"), "c")
    assert classifier_extractor(train, both).facts == {"classifier_accuracy": 1.0}


def test_embedded_digits_have_a_bundled_classifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr("ganvas.features.classifier._train", lambda *_: pytest.fail("a classifier was trained"))
    train, held_out = (open_images(DataOptions("digits", split)) for split in ("train", "test"))
    assert classifier_extractor(train, held_out).facts["classifier_accuracy"] >= 0.98
    assert not list(tmp_path.glob("classifiers/*"))


@pytest.mark.exhaustive
def test_bundled_classifier_agrees_with_a_newly_trained_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    train, held_out = (open_images(DataOptions("digits", split)) for split in ("train", "test"))
    assert held_out.labels is not None
    bundled = classifier_extractor(train)
    monkeypatch.setattr("ganvas.features.classifier.bundled_weights", lambda _: tmp_path / "none")
    retrained = classifier_extractor(train)
    predictions = []
    for one in (bundled, retrained):
        assert one.predict_probabilities is not None
        found = extraction.extract_set_features(held_out, np.arange(len(held_out)), one)
        predictions.append(one.predict_probabilities(found).argmax(1))
    assert (predictions[0] == predictions[1]).mean() >= 0.98


def test_training_of_the_classifier_stops_early_on_an_easy_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    @contextmanager
    def record_counts(*_: object, **__: object) -> Iterator[Callable[[int], None]]:
        yield counts.append

    images = two_class_set(tmp_path)
    for name, value in (
        ("progress_bar", record_counts),
        ("MAX_IMAGES", 8000),
        ("DECAY_IMAGES", 1024),
        ("RECENT_IMAGES", 512),
    ):
        monkeypatch.setattr(f"ganvas.features.classifier.{name}", value)
    trained = build_network(1, 2)
    _train(trained, images, False)
    assert sum(counts) < 4000
    counts.clear()
    monkeypatch.setattr("ganvas.features.classifier.TARGET_ACCURACY", 1.01)
    _train(trained, images, False)
    assert 8000 <= sum(counts) < 8128


def test_every_image_is_shifted_by_itself_with_its_own_edge_repeated() -> None:
    images = torch.arange(4 * 25.0).reshape(4, 1, 5, 5).repeat(50, 1, 1, 1)
    shifted = _shift_randomly(images)
    shifts = set()
    for before, after in zip(images[:, 0], shifted[:, 0], strict=True):
        all_shifts = [
            (down, right) for down in range(-MAX_SHIFT, MAX_SHIFT + 1) for right in range(-MAX_SHIFT, MAX_SHIFT + 1)
        ]
        found = [
            (down, right)
            for down, right in all_shifts
            if torch.equal(
                before[(torch.arange(5) + down).clamp(0, 4)][:, (torch.arange(5) + right).clamp(0, 4)], after
            )
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) == (2 * MAX_SHIFT + 1) ** 2


def test_classifier_needs_classes() -> None:
    images = ImageSet("grey", random_images(4, 1, 8), None, (), "f")
    with pytest.raises(GanvasError, match="no classes"):
        classifier_extractor(images)


def test_features_of_a_set_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_images(DataOptions("digits"))
    rows = np.arange(0, 50, 2)
    first = extraction.extract_set_features(images, rows, extractors.eye_extractor())
    assert np.array_equal(first, extract(images.images[rows], extractors.eye_extractor()))
    monkeypatch.setattr(extraction, "extract_features", lambda *_, **__: pytest.fail("extracted again"))
    assert np.array_equal(extraction.extract_set_features(images, rows, extractors.eye_extractor()), first)
    with pytest.raises(pytest.fail.Exception):
        extraction.extract_set_features(images, rows + 1, extractors.eye_extractor())


def test_features_of_changed_code_are_extracted_again() -> None:
    images, found, codes = open_images(DataOptions("digits")), [], set()
    for reduction, axis in (("mean", 2), ("amax", 2), ("amax", 3)):
        Path("nets.py").write_text(REDUCING.format(reduction))
        own = extractors.load_extractor(f"nets.py:Reduced(axis={axis})")
        assert own.describe()["network"] == f"nets.py:Reduced(axis={axis})"
        codes.add(own.describe()["code"])
        found.append(extraction.extract_set_features(images, np.arange(10), own))
    assert len(codes) == 3
    for one, other in ((0, 1), (1, 2)):
        assert not np.array_equal(found[one], found[other])


def test_code_of_a_network_of_this_session_is_known() -> None:
    def mean() -> nn.Module:
        class Same(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.mean(3).flatten(1)

        return Same()

    def largest() -> nn.Module:
        class Same(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x.amax(3).flatten(1)

        return Same()

    one, other = (extractors.module_extractor(make()).describe() for make in (mean, largest))
    assert one["network"] == other["network"] == "the class Same of this session"
    assert one["code"] != other["code"]
    tanh, relu = (extractors.module_extractor(nn.Sequential(layer)).describe() for layer in (nn.Tanh(), nn.ReLU()))
    assert tanh["code"] != relu["code"]


class Scaled(nn.Module):
    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.register_buffer("table", attributes.pop("table", torch.zeros(2)), persistent=False)
        self.helper, self.kept, self.none = object(), list[Any](), None
        vars(self).update(attributes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.kept.append(x)
        self.none = x.mean()  # type: ignore[assignment]
        return factor * x.mean(3).flatten(1)


factor = 1.0
"""As in a file that the network's own imports."""


def test_attributes_of_a_network_are_in_its_code() -> None:
    def code(network: nn.Module) -> str:
        return extractors.module_extractor(network).describe()["code"]

    network = Scaled()
    plain = code(network)
    extract(random_images(4), extractors.module_extractor(network))
    assert code(network) == plain == code(Scaled()), "what forward has kept says nothing"
    others = (
        Scaled(size=224), Scaled(size=299), Scaled(sizes=[3, (1, None)]), Scaled(sizes=[3, (None, 1)]),
        Scaled(means={"red": torch.tensor(0.5)}), Scaled(means={"red": torch.tensor(0.4)}),
        Scaled(means=np.ones(2)), Scaled(means=np.ones(3)), Scaled(table=torch.ones(2)), Scaled(on=False),
        nn.MultiheadAttention(4, 2), nn.MultiheadAttention(4, 4),
    )  # fmt: skip
    assert len({plain, *map(code, others)}) == 1 + len(others)


def test_cached_features_of_a_network_that_gives_others_now_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    images, rows, counts = open_images(DataOptions("digits")), np.arange(50), list[int]()
    network, whole = Scaled(), extraction.extract_features

    def count_images(*arguments: Any, count: int, **more: Any) -> np.ndarray:
        counts.append(count)
        return whole(*arguments, count=count, **more)

    monkeypatch.setattr(extraction, "extract_features", count_images)
    for value in (1.0, 1.0, 2.0, 2.0):
        monkeypatch.setattr(sys.modules[__name__], "factor", value)
        own = extractors.module_extractor(network)
        found = extraction.extract_set_features(images, rows, own)
        assert np.allclose(found, extract(images.images[rows], own))
    assert counts == [50, 50, 16, 50, 16, 50, 50, 16, 50]


def test_own_network_as_extractor() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(2))
    own = extractors.module_extractor(network)
    assert extract(random_images(4), own).shape == (4, 20)
    assert own.describe()["extractor"] == "Sequential"
    before = extraction.hash_weights(network)
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] += 1  # type: ignore[index]
    assert extraction.hash_weights(network) != before
    assert extraction.hash_weights(nn.AvgPool2d(2)) != extraction.hash_weights(nn.AvgPool2d(4)), "without weights"
    with pytest.raises(GanvasError, match="fails on images"):
        extract(random_images(4, 1), own)


def test_not_finite_features_are_refused() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) / 0

    with pytest.raises(GanvasError, match="not finite for 4 of 4"):
        extract(random_images(4), extractors.module_extractor(Broken()))


def test_extractors_are_found_by_name(tmp_path: Path) -> None:
    assert extractors.load_extractor("torch.nn:Identity").name == "Identity"
    for name, what in (("nose", "no extractor 'nose'"), ("no.such:thing", "no module 'no'"), ("torch:nn2", "nn2"),
                       ("os:path", "gives a module"), ("os:getcwd", "gives a str")):  # fmt: skip
        with pytest.raises(GanvasError, match=what):
            extractors.load_extractor(name)
    with pytest.raises(GanvasError, match="comes with its weights"):
        extractors.load_extractor("eye", weights=tmp_path)
    with pytest.raises(GanvasError, match="does not fit"):
        extractors.load_extractor("torch.nn:Identity", weights=tmp_path / "none.safetensors")


def test_error_for_wrong_inception_weights_gives_their_hash(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="need their weights"):
        inception_extractor(None)
    file = tmp_path / "weights.pth"
    file.write_bytes(b"no weights")
    found = hashlib.sha256(b"no weights").hexdigest()[:16]
    with pytest.raises(GanvasError, match=f"(?s){found}.*6726825d"):
        inception_extractor(file)


def test_other_networks_in_the_place_of_dinov2_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: list[str] = []

    class Dinov2Model(nn.Identity):
        @classmethod
        def from_pretrained(cls, *_: object, **__: object) -> tuple[nn.Module, dict[str, list[str]]]:
            return cls(), {"missing_keys": missing}

    monkeypatch.setitem(sys.modules, "transformers", SimpleNamespace(Dinov2Model=Dinov2Model))
    (tmp_path / "config.json").write_text('{"model_type": "dinov2_with_registers"}')
    with pytest.raises(GanvasError, match="'dinov2_with_registers'"):
        dinov2_extractor(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    assert dinov2_extractor(tmp_path).name == "dinov2"
    missing.append("encoder.layer.3.norm1.weight")
    with pytest.raises(GanvasError, match=r"lack encoder\.layer\.3\.norm1\.weight"):
        dinov2_extractor(tmp_path)


def test_error_without_torch_fidelity_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        import torch_fidelity  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        file = tmp_path / "weights.pth"
        file.write_bytes(b"no weights")
        monkeypatch.setattr(inception, "OFFICIAL_SHA256", hashlib.sha256(b"no weights").hexdigest())
        with pytest.raises(GanvasError, match="ganvas\\[fid\\]"):
            inception_extractor(file)
