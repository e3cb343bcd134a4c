"""Parquet and Arrow files with images in a column."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import encode, labels_of, noise, open_data

from ganvas.data.formats.columns import choose_label_column
from ganvas.errors import GanvasError

pa: Any = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
parquet: Any = pytest.importorskip("pyarrow.parquet")

CELL = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def pixels(count: int, first: int = 0) -> np.ndarray:
    return np.stack([noise(9, 9, 3, seed=first + index) for index in range(count)])


def hugging_face(features: dict[str, Any]) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def table(count: int, first: int = 0, *, metadata=True, **columns) -> Any:
    cells = [{"bytes": encode(image), "path": None} for image in pixels(count, first)]
    arrays = {"image": pa.array(cells, CELL), **{name: pa.array(values) for name, values in columns.items()}}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    features |= {name: {"_type": "ClassLabel", "names": ["no", "yes", "maybe"]} for name in columns if "label" in name}
    found = pa.table(arrays)
    return found.replace_schema_metadata(hugging_face(features)) if metadata else found


def write(path: Path, content: Any, form="parquet") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "parquet":
        parquet.write_table(content, path, row_group_size=7)
    else:
        new = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
        with new(str(path), content.schema) as writer:
            writer.write_table(content, max_chunksize=7)
    return path


@pytest.mark.parametrize("form", ["parquet", "stream", "file"])
def test_file_of_hugging_face_is_read(tmp_path, form):
    name = "data.parquet" if form == "parquet" else "data.arrow"
    found = open_data(write(tmp_path / name, table(40, label=[i % 2 for i in range(40)]), form))
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), pixels(40))
    assert labels_of(found).tolist() == [i % 2 for i in range(40)]
    assert found.class_names == ("no", "yes", "maybe")


@pytest.mark.parametrize(
    ("train", "test", "form"),
    [
        ("data/train-0000{}-of-00002.parquet", "data/test-00000-of-00001.parquet", "parquet"),
        ("default/train/000{}.parquet", "default/validation/0000.parquet", "parquet"),
        ("train/data-0000{}-of-00002.arrow", "test/data-00000-of-00001.arrow", "stream"),
        ("cats-train-0000{}-of-00002.arrow", "cats-validation.arrow", "stream"),
    ],
)
def test_shards_of_a_folder_are_one_set_with_splits(tmp_path, train, test, form):
    for shard in range(2):
        write(tmp_path / train.format(shard), table(5, 5 * shard, label=[shard] * 5), form)
    write(tmp_path / test, table(3, 10, label=[1, 1, 0]), form)
    (tmp_path / "dataset_info.json").write_text("{}")
    found = open_data(tmp_path)
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), pixels(10))
    assert labels_of(found).tolist() == [0] * 5 + [1] * 5
    assert "2 of 3 files are used as the train split" in found.notes[0]
    assert np.array_equal(open_data(tmp_path, split="test").images.transpose(0, 2, 3, 1), pixels(3, 10))


def test_shards_without_a_test_split_have_none(tmp_path):
    write(tmp_path / "x.parquet", table(2))
    with pytest.raises(GanvasError, match="no test split"):
        open_data(tmp_path, split="test")


def test_plain_columns_without_metadata_are_read(tmp_path):
    content = pa.table(
        {"name": ["a", "b", "a"], "pic": [encode(image) for image in pixels(3)], "class": ["x", "y", "x"]}
    )
    found = open_data(write(tmp_path / "x.parquet", content))
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), pixels(3))
    assert [found.class_names[label] for label in labels_of(found)] == ["x", "y", "x"]
    other = open_data(tmp_path / "x.parquet", label_column="name")
    assert [other.class_names[label] for label in labels_of(other)] == ["a", "b", "a"]
    with pytest.raises(GanvasError, match="has no column 'q', only name, class"):
        open_data(tmp_path / "x.parquet", label_column="q")


def test_fine_and_coarse_labels_are_a_choice_that_is_said(tmp_path):
    content = table(4, fine_label=[0, 1, 2, 0], coarse_label=[1, 1, 0, 0])
    path = write(tmp_path / "x.parquet", content)
    assert labels_of(open_data(path)).tolist() == [0, 1, 2, 0]
    assert "The classes come from the column fine_label; --label-column chooses coarse_label." in open_data(path).notes
    assert labels_of(open_data(path, label_column="coarse_label")).tolist() == [1, 1, 0, 0]


def test_unlabelled_rows_give_no_classes(tmp_path):
    assert open_data(write(tmp_path / "a.parquet", table(3, label=[-1, -1, -1]))).labels is None
    some = open_data(write(tmp_path / "b.parquet", table(3, label=[1, None, 0])))
    assert some.labels is None
    assert "no label in 1 rows" in some.notes[-1]


def test_a_column_that_is_asked_for_and_has_no_classes_is_refused_with_the_reason(tmp_path):
    path = write(tmp_path / "x.parquet", table(4, metadata=False, breed=["a", None, "b", None]))
    with pytest.raises(
        GanvasError, match=r"The column breed has no classes: .*breed has no label in 2 rows\."
    ) as caught:
        open_data(path, label_column="breed")
    assert "leave --label-column out" in caught.value.fix


def test_bad_cells_are_counted_and_paths_stay_inside(tmp_path):
    (tmp_path / "outside.png").write_bytes(encode(noise(9, 9, 3)))
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "in.png").write_bytes(encode(noise(9, 9, 3, seed=5)))
    cells = [{"bytes": None, "path": "in.png"}, {"bytes": None, "path": "../outside.png"}, None]
    cells += [{"bytes": b"junk", "path": None}, {"bytes": None, "path": "none.png"}]
    found = open_data(write(folder / "x.parquet", pa.table({"image": pa.array(cells, CELL)})), max_bad=0.9)
    assert np.array_equal(found.images[0].transpose(1, 2, 0), noise(9, 9, 3, seed=5))
    reasons = dict(found.skipped)
    assert "outside of the folder" in reasons["row 1"]
    assert reasons["row 2"] == "an empty cell"
    assert "not an image" in reasons["row 3"]
    assert "cannot be opened" in reasons["row 4"]


def test_a_file_without_images_is_refused_with_the_way_out(tmp_path):
    content = pa.table({"pixels": [[1, 2], [3, 4]], "text": ["a", "b"]})
    with pytest.raises(GanvasError, match="no column of images, only pixels, text") as caught:
        open_data(write(tmp_path / "x.parquet", content))
    assert "numpy.savez" in caught.value.fix


@pytest.mark.parametrize("form", ["parquet", "stream", "file"])
@pytest.mark.parametrize("place", [0.1, 0.5, 0.95])
def test_damaged_files_are_refused(tmp_path, form, place):
    name = "x.parquet" if form == "parquet" else "x.arrow"
    path = write(tmp_path / name, table(40, label=[0] * 40), form)
    content = path.read_bytes()
    path.write_bytes(content[: int(place * len(content))])
    with pytest.raises(GanvasError, match=r"damaged|bad"):
        open_data(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "x.parquet", table(2))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for source in (path, tmp_path):
        with pytest.raises(GanvasError) as caught:
            open_data(source)
        assert "pip install 'ganvas[parquet]'" in caught.value.fix


def test_column_of_classes_is_found_by_type_then_by_name():
    assert choose_label_column({"x": None, "label": None}, None, "w") == ("label", ())
    assert choose_label_column({"kind": ["a"], "label": None}, None, "w")[0] == "kind"
    assert choose_label_column({"x": None}, None, "w")[0] is None
    assert choose_label_column({"Kind": None}, "kind", "w")[0] == "Kind"


def test_saved_dataset_is_read(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"])})
    rows = {"image": [{"bytes": encode(i), "path": None} for i in pixels(6)], "label": [0, 1, 1, 0, 1, 0]}
    saved = datasets.Dataset.from_dict(rows, features=features).train_test_split(test_size=2, shuffle=False)
    saved.save_to_disk(str(tmp_path / "saved"))
    found = open_data(tmp_path / "saved")
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), pixels(4))
    assert labels_of(found).tolist() == [0, 1, 1, 0]
    assert found.class_names == ("no", "yes")
    assert len(open_data(tmp_path / "saved", split="test")) == 2
    assert len(open_data(tmp_path / "saved" / "train")) == 4


def test_columns_that_may_be_classes_are_named_in_a_note(tmp_path):
    path = write(tmp_path / "a.parquet", table(6, metadata=False, breed=["a", "b"] * 3, colour=["c", "d"] * 3))
    assert open_data(path).notes == ("No column is used as classes; --label-column chooses one of breed, colour.",)
    assert open_data(path, label_column="breed").class_names == ("a", "b")
    assert open_data(write(tmp_path / "b.parquet", table(6, metadata=False, Label=["a", "b"] * 3))).classes == 2
    for empty in ([None] * 6, [-1] * 6):
        found = open_data(write(tmp_path / "c.parquet", table(6, metadata=False, label=empty)))
        assert found.labels is None
        assert "label has no label in any row: no classes." in found.notes[0]
