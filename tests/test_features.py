"""Extractors: the same features in any company, at any size; the cache; what is refused."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ganvas.data import DataOptions, ImageSet, open_images, to_unit
from ganvas.errors import GanvasError
from ganvas.evaluation import features
from ganvas.evaluation.classifier import MAX_SHIFT, _shift_randomly, _train, build_network, classifier_extractor
from ganvas.evaluation.eye import BLOCKS, LAYER_NAMES, load_eye, to_rgb
from ganvas.evaluation.inception import inception_extractor


def pictures(n: int, channels: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, channels, side, side), np.uint8)


def looked(images: np.ndarray, extractor: features.Extractor) -> np.ndarray:
    return features.extract_features(
        features.iterate_batches(images, np.arange(len(images))), extractor, count=len(images)
    )


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32), (4, 16), (3, 200)])
def test_the_eye_sees_any_size_and_channels(channels: int, side: int) -> None:
    found = looked(pictures(3, channels, side), features.eye_extractor())
    assert found.shape == (3, 224)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.std() > 0


def test_features_do_not_depend_on_the_company(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(40)
    whole = looked(images, features.eye_extractor())
    monkeypatch.setattr(features, "PIXELS_PER_PASS", 9 * 32 * 32)
    assert np.allclose(looked(images, features.eye_extractor()), whole, rtol=1e-4, atol=1e-5)
    assert np.allclose(looked(images[::-1], features.eye_extractor())[::-1], whole, rtol=1e-4, atol=1e-5)


def test_the_eye_stops_where_nothing_more_is_asked() -> None:
    x = to_rgb(to_unit(torch.from_numpy(pictures(2, 1, 21))))
    told = load_eye().activations(x, ["relu3_1", "relu1_2"])
    assert list(told) == ["relu1_2", "relu3_1"]
    assert told["relu1_2"].shape == (2, BLOCKS[0][1], 21, 21)
    assert told["relu3_1"].shape == (2, BLOCKS[2][0], 6, 6)
    assert load_eye()(x).shape == (2, 20)
    assert len(LAYER_NAMES) == 8


def test_a_gradient_reaches_the_picture_and_not_the_weights() -> None:
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    load_eye().activations(x, ["relu2_1"])["relu2_1"].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in load_eye().parameters())


def test_transparent_pixels_show_grey() -> None:
    images = torch.zeros(1, 4, 8, 8, dtype=torch.uint8)
    assert to_rgb(to_unit(images)).abs().max() == 0


def test_the_resize_is_antialiased_and_leaves_what_fits() -> None:
    stripes = torch.zeros(1, 1, 256, 256, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    small = features.resize_shorter_side(stripes, (16, 128))
    assert small.shape == (1, 1, 128, 128)
    assert small[:, :, 4:-4].abs().max() < 0.1  # grey, not a moiré
    exact = torch.from_numpy(pictures(1))
    assert torch.equal(features.resize_shorter_side(exact, (16, 128)), to_unit(exact))
    assert features.resize_shorter_side(torch.zeros(1, 1, 8, 12, dtype=torch.uint8), (16, 128)).shape == (1, 1, 16, 24)


def test_the_eye_is_the_one_of_the_model_card() -> None:
    content = Path(features.__file__).with_name("eye.safetensors").read_bytes()
    assert len(content) <= 2_000_000
    card = Path(features.__file__).with_name("EYE.md").read_text()
    assert hashlib.sha256(content).hexdigest() in card
    assert features.eye_extractor().digest in card


def test_the_eye_tells_classes_apart_as_its_card_says(real_data: Path) -> None:
    """The card's numbers, on the first 1,000 pictures of both test sets."""
    for source, split, first, least in (("cifar10-test.zip", "train", 0, 0.85), ("mnist", "test", 10, 0.97)):
        images = open_images(DataOptions(str(real_data / source), split))  # type: ignore[arg-type]
        x = torch.from_numpy(images.images[:1000].copy())
        if images.channels == 1:
            x = nn.functional.pad(x, (2,) * 4)
        assert images.labels is not None
        right = (
            (load_eye()(to_rgb(to_unit(x))).argmax(1) - first == torch.from_numpy(images.labels[:1000])).float().mean()
        )
        assert right >= least


def labelled(tmp_path: Path, n: int = 200) -> ImageSet:
    """Two classes: bright in the upper half, bright in the lower half."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 60, (n, 16, 16), np.uint8), np.arange(n) % 2
    x[y == 0, :8] += 150
    x[y == 1, 8:] += 150
    path = tmp_path / "halves.npz"
    np.savez(path, images=x, labels=y)
    return open_images(DataOptions(str(path)))


def test_a_classifier_learns_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.evaluation.classifier.MAX_IMAGES", 2000)
    images = labelled(tmp_path)
    assert images.labels is not None
    before = torch.get_rng_state()
    first = classifier_extractor(images, images)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.facts["classifier_accuracy"] == 1.0
    assert first.predict_probabilities is not None
    seen = looked(images.images, first)
    chances = first.predict_probabilities(seen)
    assert chances.shape == (200, 2)
    assert np.allclose(chances.sum(1), 1, atol=1e-5)
    assert (chances.argmax(1) == images.labels).all()
    monkeypatch.setattr("ganvas.evaluation.classifier._train", lambda *_: pytest.fail("trained again"))
    assert classifier_extractor(images).digest == first.digest


def test_the_embedded_digits_have_a_classifier_that_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    monkeypatch.setattr("ganvas.evaluation.classifier._train", lambda *_: pytest.fail("it is trained anew"))
    train, held_out = (open_images(DataOptions("digits", split)) for split in ("train", "test"))
    assert classifier_extractor(train, held_out).facts["classifier_accuracy"] >= 0.98
    assert not list(tmp_path.glob("classifiers/*"))


@pytest.mark.slow
def test_the_shipped_classifier_is_what_the_training_gives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path))
    train, held_out = (open_images(DataOptions("digits", split)) for split in ("train", "test"))
    assert held_out.labels is not None
    kept = classifier_extractor(train)
    monkeypatch.setattr("ganvas.evaluation.classifier.bundled_weights", lambda _: tmp_path / "none")
    anew = classifier_extractor(train)
    told = []
    for one in (kept, anew):
        assert one.predict_probabilities is not None
        seen = features.extract_set_features(held_out, np.arange(len(held_out)), one)
        told.append(one.predict_probabilities(seen).argmax(1))
    assert (told[0] == told[1]).mean() >= 0.98


def test_an_easy_set_is_learnt_from_fewer_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    @contextmanager
    def counted(*_: object, **__: object) -> Iterator[Callable[[int], None]]:
        yield seen.append

    images = labelled(tmp_path)
    for name, value in (
        ("progress_bar", counted),
        ("MAX_IMAGES", 8000),
        ("DECAY_IMAGES", 1024),
        ("RECENT_IMAGES", 512),
    ):
        monkeypatch.setattr(f"ganvas.evaluation.classifier.{name}", value)
    trained = build_network(1, 2)
    _train(trained, images, False)
    assert sum(seen) < 4000
    seen.clear()
    monkeypatch.setattr("ganvas.evaluation.classifier.TARGET_ACCURACY", 1.01)
    _train(trained, images, False)
    assert 8000 <= sum(seen) < 8128


def test_every_picture_is_moved_by_itself_and_shows_its_own_edge() -> None:
    images = torch.arange(4 * 25.0).reshape(4, 1, 5, 5).repeat(50, 1, 1, 1)
    moved = _shift_randomly(images)
    shifts = set()
    for before, after in zip(images[:, 0], moved[:, 0], strict=True):
        places = [
            (down, right) for down in range(-MAX_SHIFT, MAX_SHIFT + 1) for right in range(-MAX_SHIFT, MAX_SHIFT + 1)
        ]
        found = [
            (down, right)
            for down, right in places
            if torch.equal(
                before[(torch.arange(5) + down).clamp(0, 4)][:, (torch.arange(5) + right).clamp(0, 4)], after
            )
        ]
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) == (2 * MAX_SHIFT + 1) ** 2


def test_a_classifier_needs_classes() -> None:
    images = ImageSet("grey", pictures(4, 1, 8), None, (), "f")
    with pytest.raises(GanvasError, match="no classes"):
        classifier_extractor(images)


def test_features_of_a_set_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_images(DataOptions("digits"))
    rows = np.arange(0, 50, 2)
    first = features.extract_set_features(images, rows, features.eye_extractor())
    assert np.array_equal(first, looked(images.images[rows], features.eye_extractor()))
    monkeypatch.setattr(features, "extract_features", lambda *_, **__: pytest.fail("looked again"))
    assert np.array_equal(features.extract_set_features(images, rows, features.eye_extractor()), first)
    with pytest.raises(pytest.fail.Exception):
        features.extract_set_features(images, rows + 1, features.eye_extractor())


def test_a_network_of_ones_own() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(2))
    own = features.module_extractor(network)
    assert looked(pictures(4), own).shape == (4, 20)
    assert own.describe()["extractor"] == "Sequential"
    changed = features.hash_weights(network)
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] += 1  # type: ignore[index]
    assert features.hash_weights(network) != changed
    with pytest.raises(GanvasError, match="fails on images"):
        looked(pictures(4, 1), own)


def test_not_finite_features_are_refused() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) / 0

    with pytest.raises(GanvasError, match="not finite for 4 of 4"):
        looked(pictures(4), features.module_extractor(Broken()))


def test_extractors_are_found_by_name(tmp_path: Path) -> None:
    assert features.load_extractor("torch.nn:Identity").name == "Identity"
    for name, what in (("nose", "no extractor 'nose'"), ("no.such:thing", "cannot be imported"), ("torch:nn2", "nn2"),
                       ("os:path", "called"), ("os:getcwd", "returns a str")):  # fmt: skip
        with pytest.raises(GanvasError, match=what):
            features.load_extractor(name)
    with pytest.raises(GanvasError, match="comes with its weights"):
        features.load_extractor("eye", weights=tmp_path)
    with pytest.raises(GanvasError, match="does not fit"):
        features.load_extractor("torch.nn:Identity", weights=tmp_path / "none.safetensors")


def test_wrong_inception_weights_are_named_by_their_hash(tmp_path: Path) -> None:
    with pytest.raises(GanvasError, match="need their weights"):
        inception_extractor(None)
    file = tmp_path / "weights.pth"
    file.write_bytes(b"no weights")
    found = hashlib.sha256(b"no weights").hexdigest()[:16]
    with pytest.raises(GanvasError, match=f"(?s){found}.*6726825d"):
        inception_extractor(file)


def test_without_torch_fidelity_the_message_says_what_to_install(tmp_path: Path) -> None:
    try:
        import torch_fidelity  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        file = tmp_path / "weights.pth"
        file.write_bytes(b"no weights")
        with pytest.raises(GanvasError, match="ganvas\\[fid\\]"):
            inception_extractor(file, official=hashlib.sha256(b"no weights").hexdigest()[:8])
