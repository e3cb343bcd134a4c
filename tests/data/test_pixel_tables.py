"""Tables of pixels in text: separators, columns that are no pixels, mistakes in cells, all pixels in one cell."""

import re
from pathlib import Path

import numpy as np
import pytest
from helpers import labels_of, open_data

from ganvas.errors import GanvasError

ROWS, SIDE = 30, 16
NAMES = [f"pixel{number}" for number in range(SIDE * SIDE)]


def waves(count: int, side: int) -> np.ndarray:
    """Smooth images in 0..255, [count, side * side]."""
    phase = np.arange(count)[:, None, None]
    wave = np.sin(np.arange(side)[:, None] / 4 + phase) * np.cos(np.arange(side) / (3 + phase / 9))
    noise = np.random.default_rng(0).normal(0, 25, wave.shape)
    return np.clip(128 + 80 * wave + noise, 0, 255).astype(int).reshape(count, -1)


PIXELS = waves(ROWS, SIDE)
LABELS = np.arange(ROWS) % 10


def write(path: Path, rows: np.ndarray, names: list[str], separator: str = ",") -> Path:
    lines = [names] * bool(names) + [[f"{value:g}" for value in row] for row in rows.tolist()]
    path.write_text("\n".join(map(separator.join, lines)) + "\n")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("named", [True, False])
def test_any_separator_is_understood(tmp_path, separator, named):
    rows = np.column_stack([LABELS, PIXELS])
    found = open_data(write(tmp_path / "x.csv", rows, ["label", *NAMES] if named else [], separator))
    assert np.array_equal(found.images.reshape(ROWS, -1), PIXELS)
    assert labels_of(found).tolist() == LABELS.tolist()


def test_a_comma_between_digits_is_a_decimal_point_where_semicolons_separate(tmp_path):
    path = write(tmp_path / "x.csv", PIXELS / 255, NAMES, ";")
    path.write_text(path.read_text().replace(".", ","))
    assert np.abs(open_data(path).images.reshape(ROWS, -1).astype(int) - PIXELS).max() <= 1


@pytest.mark.parametrize("first", ["", "Unnamed: 0", "id", None])
@pytest.mark.parametrize("labelled", [True, False])
def test_a_column_that_numbers_the_rows_is_no_pixel(tmp_path, first, labelled):
    rows = np.column_stack([np.arange(ROWS), *([LABELS] if labelled else []), PIXELS])
    header = [] if first is None else [first, *(["label"] if labelled else []), *NAMES]
    found = open_data(write(tmp_path / "x.csv", rows, header))
    assert np.array_equal(found.images.reshape(ROWS, -1), PIXELS)
    assert f"The column {first or 'without a name'} numbers the rows: not used." in found.notes
    assert (found.labels is not None) == labelled


def test_numbers_as_names_of_columns_are_no_image(tmp_path):
    names = [str(number) for number in range(SIDE * SIDE)]
    assert len(open_data(write(tmp_path / "x.csv", PIXELS, names))) == ROWS
    rows = np.column_stack([np.arange(ROWS), PIXELS])
    assert len(open_data(write(tmp_path / "y.csv", rows, ["", *names]))) == ROWS


def test_several_columns_of_labels_are_named_and_chosen(tmp_path):
    rows = np.column_stack([LABELS, LABELS % 2, PIXELS])
    path = write(tmp_path / "x.csv", rows, ["label", "coarse_label", *NAMES])
    assert "label has the labels; not used: coarse_label." in open_data(path).notes
    assert open_data(path, label_column="coarse_label").classes == 2


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("", "is empty"), ("nan", "is 'nan'"), ("inf", "is 'inf'"), ("abc", "is 'abc'"), ("1,2", "258 cells")],
)
def test_a_cell_that_is_no_number_is_named(tmp_path, cell, reason):
    path = write(tmp_path / "x.csv", np.column_stack([LABELS, PIXELS]), ["label", *NAMES])
    lines = path.read_text().splitlines()
    cells = lines[11].split(",")
    cells[5] = cell
    lines[11] = ",".join(cells)
    path.write_text("\n".join([lines[0], "", *lines[1:]]))
    with pytest.raises(GanvasError, match=rf"line 13: (column 6 \(pixel4\) )?{reason}\."):
        open_data(path)


@pytest.mark.parametrize("value", [999, 65535, -3])
def test_a_few_cells_beyond_255_are_an_error_with_their_place(tmp_path, value):
    rows = np.column_stack([LABELS, PIXELS])
    rows[7, 34], rows[7, 35] = value, value
    with pytest.raises(GanvasError, match=rf"line 9, column 35 \(pixel33\) is {value}, beyond 0\.\.255, as are 1 oth"):
        open_data(write(tmp_path / "x.csv", rows, ["label", *NAMES]))
    np.save(tmp_path / "x.npy", rows[:, 1:].reshape(ROWS, SIDE, SIDE))
    with pytest.raises(GanvasError, match=rf"the number at \[7, 2, 1\] is {value}, beyond"):
        open_data(tmp_path / "x.npy")


@pytest.mark.parametrize(("factor", "bits"), [(16, 12), (257, 16)])
def test_tables_of_more_bits_are_understood(tmp_path, factor, bits):
    found = open_data(write(tmp_path / "x.csv", PIXELS * factor, NAMES))
    assert np.abs(found.images.reshape(ROWS, -1).astype(int) - PIXELS).max() <= 1
    assert f"read as {bits} bits" in found.notes[-1]


# --- all pixels of an image in one cell --------------------------------------------------------------------


def write_fer(path: Path, header: str, line: str, count: int = 30) -> Path:
    usages = ["Training", "Training", "PublicTest", "PrivateTest"]
    images = [" ".join(map(str, row)) for row in waves(count, 48).tolist()]
    rows = [line.format(e=i % 7, p=p, u=usages[i % 4], a=20 + i) for i, p in enumerate(images)]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize(
    ("header", "line"),
    [("emotion,pixels,Usage", "{e},{p},{u}"), ("emotion, Usage, pixels", '{e}, {u}, "{p}"')],
)
def test_fer2013_is_two_splits_of_seven_emotions(tmp_path, header, line):
    path = write_fer(tmp_path / "fer.csv", header, line)
    for split, own in (("train", [0, 1]), ("test", [2, 3])):
        rows = [row for row in range(30) if row % 4 in own]
        found = open_data(path, split=split)
        assert found.images.shape[1:] == (1, 48, 48)
        assert np.array_equal(found.images.reshape(len(rows), -1), waves(30, 48)[rows])
        assert labels_of(found).tolist() == [row % 7 for row in rows]
        assert found.class_names == EMOTIONS
        assert "The column Usage says which images are held out: 14 test, 16 train." in found.notes


def test_a_column_of_pixels_without_splits_or_evident_labels(tmp_path):
    found = open_data(write_fer(tmp_path / "fer.csv", "emotion,pixels", "{e},{p}"))
    assert found.class_names == EMOTIONS
    with pytest.raises(GanvasError, match="no test split"):
        open_data(tmp_path / "fer.csv", split="test")
    ages = write_fer(tmp_path / "ages.csv", "age,gender,pixels", "{a},{e},{p}")
    assert open_data(ages).labels is None
    assert "because their names do not say so: age, gender; --label-column takes one." in open_data(ages).notes[-1]
    assert open_data(ages, label_column="gender").classes == 7


def test_a_mistake_in_a_cell_of_pixels_is_named(tmp_path):
    path = write_fer(tmp_path / "fer.csv", "emotion,pixels", "{e},{p}")
    text = path.read_text()
    path.write_text(text.replace("\n3,", "\n3,x ", 1))
    with pytest.raises(GanvasError, match=r"line 5: 2305 cells"):
        open_data(path)
    path.write_text(re.sub(r"\n3,\d+", "\n3,999", text, count=1))
    with pytest.raises(GanvasError, match=r"line 5, number 1 of pixels is 999, beyond 0\.\.255"):
        open_data(path)
