"""Data sets of the Hugging Face hub, through `datasets` or a small fake of it, without the network."""

import io
import sys
import types
from typing import Any

import numpy as np
import pytest
from helpers import encode, labels_of, noise, open_data

from ganvas.errors import GanvasError

LOCAL_FORMS = "an IDX folder, CIFAR-10's archive, a zip, a folder"


class Image:
    def __init__(self, decode=True):
        self.decode = decode


class ClassLabel:
    def __init__(self, names):
        self.names = names


class Table:
    """The part of `datasets.Dataset` that the reader uses."""

    def __init__(self, columns, features, fingerprint="f"):
        self.columns, self.features, self._fingerprint = columns, features, fingerprint

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self.columns[key]
        return {name: values[key] for name, values in self.columns.items()}

    def cast_column(self, name, feature):
        assert feature.decode is False
        return Table(self.columns, {**self.features, name: feature})


@pytest.fixture
def hub(monkeypatch):
    """A fake hub that returns `hub.answer` and records the calls in `hub.calls`."""
    module: Any = types.ModuleType("datasets")
    module.Image, module.ClassLabel, module.calls = Image, ClassLabel, []

    def load_dataset(path, name=None, split=None):
        module.calls.append((path, name, split))
        if isinstance(module.answer, Exception):
            raise module.answer
        return module.answer

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def image_cells(count, **more):
    return [{"bytes": encode(noise(9, 9, 3, seed=index)), "path": None, **more} for index in range(count)]


def test_a_test_split_and_class_names_are_loaded(hub):
    hub.answer = Table(
        {"img": image_cells(4), "label": [2, 0, 1, 2]}, {"img": Image(), "label": ClassLabel(["plane", "car", "bird"])}
    )
    found = open_data("hf:uoft-cs/cifar10", split="test")
    assert hub.calls == [("uoft-cs/cifar10", None, "test")]
    assert found.name == "cifar10"
    assert found.images.shape == (4, 3, 9, 9)
    assert labels_of(found).tolist() == [2, 0, 1, 2]
    assert found.class_names == ("plane", "car", "bird")


def test_any_set_of_the_hub_is_loaded(hub, tmp_path):
    (tmp_path / "x.png").write_bytes(encode(noise(9, 9, 3)))
    rows = [*image_cells(30), {"bytes": None, "path": str(tmp_path / "x.png")}, {"bytes": None, "path": None}, None]
    hub.answer = Table({"image": rows, "tags": [[1]] * 33}, {"image": Image(), "tags": object()})
    found = open_data("hf:someone/paintings:large", max_bad=0.1)
    assert hub.calls == [("someone/paintings", "large", "train")]
    assert found.name == "paintings-large"
    assert found.labels is None
    assert found.skipped == (("row 31", "an empty cell"), ("row 32", "an empty cell"))
    assert np.array_equal(found.images[30].transpose(1, 2, 0), noise(9, 9, 3))


def test_unlabelled_test_split_has_no_labels(hub):
    hub.answer = Table(
        {"image": image_cells(3), "label": [-1, -1, -1]}, {"image": Image(), "label": ClassLabel(["a", "b"])}
    )
    assert open_data("hf:a/b", split="test").labels is None


def test_a_column_without_classes_is_refused_and_not_in_a_test_split(hub):
    columns = {"image": image_cells(3), "breed": ["a", None, "b"]}
    hub.answer = Table(columns, {"image": Image(), "breed": object()})
    with pytest.raises(GanvasError, match=r"The column breed has no classes: hf:a/b: breed has no label in 1 rows\."):
        open_data("hf:a/b", label_column="breed")
    assert open_data("hf:a/b", label_column="breed", split="test").labels is None


def test_data_set_without_images_is_refused(hub):
    hub.answer = Table({"text": ["x"]}, {"text": object()})
    with pytest.raises(GanvasError, match="no column of images: text"):
        open_data("hf:a/b")


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(GanvasError) as caught:
        open_data("hf:a/b")
    assert "pip install 'ganvas[hub]'" in caught.value.fix
    assert LOCAL_FORMS in caught.value.fix


class DatasetNotFoundError(FileNotFoundError):
    pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Couldn't reach 'a/b' on the Hub"), "could not be loaded from the Hugging Face hub: Couldn't"),
        (OSError("offline mode is enabled"), "could not be loaded from the Hugging Face hub: offline"),
        (RuntimeError(), "could not be loaded from the Hugging Face hub: RuntimeError"),
        (DatasetNotFoundError("x"), "The hub has no data set a/b that you may read"),
    ],
)
def test_failed_loading_gives_the_reason(hub, error, reason):
    hub.answer = error
    with pytest.raises(GanvasError) as caught:
        open_data("hf:a/b")
    assert reason in caught.value.what
    assert LOCAL_FORMS in caught.value.fix


def test_unknown_split_and_config_are_refused(hub):
    hub.answer = ValueError("Unknown split \"test\". Should be one of ['train'].")
    with pytest.raises(GanvasError, match="no test split"):
        open_data("hf:a/b", split="test")
    hub.answer = ValueError("Config name is missing. Please pick one among: ['x', 'y']")
    with pytest.raises(GanvasError, match=r"pick one among: \['x', 'y'\]"):
        open_data("hf:a/b")


@pytest.mark.parametrize("name", ["hf:", "hf:../x", "hf:a/b/c", "hf:a b"])
def test_impossible_names_are_refused(hub, name):
    with pytest.raises(GanvasError, match="not a valid hub name"):
        open_data(name)
    assert hub.calls == []


def test_real_package_reads_back(monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    from PIL import Image as pillow

    images = [pillow.open(io.BytesIO(encode(noise(9, 9, seed=index)))) for index in range(5)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    table = datasets.Dataset.from_dict({"image": images, "label": [0, 1, 1, 0, 1]}, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, name, split: table)
    found = open_data("hf:a/b")
    assert np.array_equal(found.images[:, 0], np.stack([noise(9, 9, seed=index) for index in range(5)]))
    assert labels_of(found).tolist() == [0, 1, 1, 0, 1]
    assert found.class_names == ("no", "yes")
