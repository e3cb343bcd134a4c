"""Folders as people have them: splits, masks, loose images, debris, tables of labels."""

import errno
import json
import tarfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import encode, labels_of, open_data, write_folder, write_zip

from ganvas.data import image_files, inspect
from ganvas.data.formats import folder
from ganvas.data.labels.splits import choose_split, find_asides
from ganvas.errors import GanvasError


def grey(value: int) -> bytes:
    """An image whose every pixel is this value."""
    return encode(np.full((8, 8), value, np.uint8))


def files_of(*names: str) -> dict[str, bytes]:
    """Image i is grey i."""
    return {name: grey(index) for index, name in enumerate(names)}


def write(path: Path, files: dict[str, bytes], form: str) -> Path:
    if form == "folder":
        return write_folder(path, files)
    if form == "zip":
        return write_zip(path.with_suffix(".zip"), files)
    mode, suffix = {
        "tar": ("w", ".tar"),
        "tgz": ("w:gz", ".tar.gz"),
        "txz": ("w:xz", ".txz"),
        "tbz": ("w:bz2", ".tar.bz2"),
    }[form]
    target = path.with_name(path.name + suffix)
    staged = write_folder(path.with_name("staged"), files)
    with tarfile.open(target, mode) as archive:  # type: ignore[call-overload]
        archive.add(staged, "./")
    return target


def values(images) -> list[int]:
    return images.images[:, 0, 0, 0].tolist()


def read(path, **options) -> dict[int, str]:
    """The grey of each image -> the name of its class, or an empty string."""
    found = open_data(path, **options)
    names = [""] * len(found) if found.labels is None else [found.class_names[label] for label in found.labels]
    return dict(zip(values(found), names, strict=True))


# --- splits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Training", "Testing"),
        ("train", "test1"),
        ("TRAIN", "Valid"),
        ("seg_train", "seg_test"),
        ("train_images", "test_images"),
        ("training_set", "test_set"),
        ("train2017", "val2017"),
        ("DIV2K_train_HR", "DIV2K_valid_HR"),
        ("Trainingsdaten", "Testdaten"),
        ("entraînement", "validation"),
        ("Entrenamiento", "Prueba"),
        ("treino", "teste"),
        ("обучение", "тест"),
        ("训练集", "测试集"),
        ("学習", "テスト"),
        ("훈련", "검증"),
        ("train", "held-out"),
    ],
)
@pytest.mark.parametrize("classes", [True, False])
def test_splits_are_no_classes(tmp_path, train, test, classes):
    inner = ("cat/", "dog/") if classes else ("", "")
    names = [f"{split}/{inner[i]}{i}.png" for split in (train, test) for i in range(2)]
    path = write_folder(tmp_path / "s", files_of(*names))
    expected = ["cat", "dog"] if classes else ["", ""]
    assert read(path) == dict(zip((0, 1), expected, strict=True))
    assert read(path, split="test") == dict(zip((2, 3), expected, strict=True))
    [note] = [note for note in open_data(path).notes if "split" in note]
    assert f"{train} is used as the train split; not used: {test}. 2 of 4 images." in note


def test_folders_of_one_name_inside_of_each_other_are_one(tmp_path):
    names = [f"seg_{s}/seg_{s}/{c}/1.jpg" for s in ("train", "test") for c in ("forest", "sea")] + [
        "seg_pred/seg_pred/9.jpg"
    ]
    path = write_folder(tmp_path / "intel", files_of(*names))
    assert read(path) == {0: "forest", 1: "sea"}
    assert read(path, split="test") == {2: "forest", 3: "sea"}
    assert "not used: seg_pred, seg_test" in " ".join(open_data(path).notes)


def test_test_split_is_held_out_before_validation(tmp_path):
    path = write_folder(tmp_path / "s", files_of("train/0.png", "val/1.png", "test/2.png"))
    assert list(read(path)) == [0]
    assert list(read(path, split="test")) == [2]


def test_domains_of_cyclegan_are_classes_and_can_be_had_alone(tmp_path):
    path = write_folder(
        tmp_path / "horse2zebra", files_of("testA/0.png", "testB/1.png", "trainA/2.png", "trainB/3.png")
    )
    assert read(path) == {2: "A", 3: "B"}
    assert read(path, split="test") == {0: "A", 1: "B"}
    assert "trainA and trainB are used as the train split, with the classes A and B" in open_data(path).notes[0]
    assert "for one alone, give the path of its folder" in open_data(path).notes[0]
    assert read(path / "trainB") == {3: ""}


@pytest.mark.parametrize(
    "folders",
    [
        ("fold1", "fold2", "fold3"),
        ("fold_1", "fold_2"),
        ("folds/0", "folds/1"),
        ("set_a", "set_b"),
        ("Batch 1", "Batch 2"),
        ("part-01", "part-02"),
        ("data_batch_1", "data_batch_2"),
        ("images_001", "images_002"),
        ("1of2_images", "2of2_images"),
        ("Teil I", "Teil II"),
        ("100CANON", "101CANON"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_numbered_parts_of_one_set_are_no_classes(tmp_path, folders, form):
    path = write(tmp_path / "s", files_of(*(f"{folder}/{i}.png" for i, folder in enumerate(folders))), form)
    assert read(path) == dict.fromkeys(range(len(folders)), "")
    [note] = open_data(path).notes
    assert "read as numbered parts of one set, no classes. If each is a class, rename them" in note
    assert folders[0].rpartition("/")[2] in note


@pytest.mark.parametrize(
    "folders", [("0", "1"), ("class1", "class2"), ("s1", "s2"), ("type_a", "type_b"), ("cats_set1", "dogs_set1")]
)
def test_other_numbered_folders_are_classes(tmp_path, folders):
    path = write_folder(tmp_path / "s", files_of(*(f"{folder}/{i}.png" for i, folder in enumerate(folders))))
    assert read(path) == dict(enumerate(folders))


def test_classes_of_numbered_parts_are_the_folders_inside_or_the_other_words(tmp_path):
    inside = files_of("fold1/cat/0.png", "fold1/dog/1.png", "fold2/cat/2.png", "fold2/dog/3.png")
    assert read(write_folder(tmp_path / "inside", inside)) == {0: "cat", 1: "dog", 2: "cat", 3: "dog"}
    beside = write_folder(tmp_path / "b", files_of("cats_part1/0.png", "cats_part2/1.png", "dogs_part1/2.png"))
    assert read(beside) == {0: "cats", 1: "cats", 2: "dogs"}
    assert "read as parts of the classes cats and dogs" in open_data(beside).notes[0]


def test_parts_become_classes_by_a_table(tmp_path):
    path = write_folder(tmp_path / "folds", files_of("0/0.png", "1/1.png"))
    assert read(path) == {0: "", 1: ""}
    (path / "labels.csv").write_text("file,label\n0/0.png,x\n1/1.png,y\n")
    assert read(path) == {0: "x", 1: "y"}
    assert not [note for note in open_data(path).notes if "parts" in note]
    path.rename(tmp_path / "digits")
    (tmp_path / "digits" / "labels.csv").unlink()
    assert read(tmp_path / "digits") == {0: "0", 1: "1"}


def test_one_part_of_a_cross_validation_is_used(tmp_path):
    names = [f"fold{n}/{split}/{c}/{i}.png" for n in (1, 2) for i, split in enumerate(("train", "test")) for c in "ab"]
    path = write_folder(tmp_path / "s", files_of(*names))
    assert read(path) == {0: "a", 1: "b"}
    assert read(path, split="test") == {2: "a", 3: "b"}
    assert "fold1 alone is used" in open_data(path).notes[0]
    batches = write_folder(tmp_path / "b", files_of(*(name.replace("fold", "batch") for name in names)))
    assert read(batches) == {0: "a", 1: "b", 4: "a", 5: "b"}


def test_splits_inside_of_classes(tmp_path):
    names = [f"{c}/{s}/1.png" for c in ("cat", "dog") for s in ("test", "train")]
    path = write_folder(tmp_path / "s", files_of(*names))
    assert read(path) == {1: "cat", 3: "dog"}
    assert read(path, split="test") == {0: "cat", 2: "dog"}


def test_only_split_is_used_whatever_its_name(tmp_path):
    only_train = write_folder(tmp_path / "a", files_of("train/x/0.png", "train/y/1.png"))
    assert read(only_train) == {0: "x", 1: "y"}
    with pytest.raises(GanvasError, match="no test split"):
        open_data(only_train, split="test")
    only_test = write_folder(tmp_path / "b", files_of("test/x/0.png", "test/y/1.png"))
    assert read(only_test) == read(only_test, split="test") == {0: "x", 1: "y"}
    assert "test is used as the train split" in open_data(only_test).notes[0]


def test_classes_have_the_same_numbers_in_both_splits(tmp_path):
    names = ("train/b/0.png", "train/d/1.png", "test/a/2.png", "test/d/3.png")
    found = open_data(write_folder(tmp_path / "s", files_of(*names)), split="test")
    assert found.class_names == ("b", "d", "a")
    assert labels_of(found).tolist() == [2, 1]


@pytest.mark.parametrize("place", ["", "s/"])
def test_one_table_names_the_images_of_both_splits(tmp_path, place):
    kinds = {"train": "ab", "val": "ba"}
    rows = [(f"{split}/{i}.png", kind) for split, both in kinds.items() for i, kind in enumerate(both)]
    names, table = [name for name, _ in rows], "".join(f"{place}{name},{kind}\n" for name, kind in rows)
    (tmp_path / "s_labels.csv").write_text(f"file,label\n{table}")
    path = write_folder(tmp_path / "s", files_of(*names))
    assert read(path) == {0: "a", 1: "b"}
    assert read(path, split="test") == {2: "b", 3: "a"}


def test_a_table_in_the_folder_of_a_split_is_not_about_the_other_one(tmp_path):
    files = {**files_of("train/0.png", "train/1.png", "val/0.png", "val/1.png"), "train/x.csv": b"0.png,a\n1.png,b\n"}
    path = write_folder(tmp_path / "s", files)
    assert read(path) == {0: "a", 1: "b"}
    assert read(path, split="test") == {2: "", 3: ""}


@pytest.mark.parametrize("place", ["s", "."])
def test_each_split_has_the_table_of_its_name(tmp_path, place):
    path = write_folder(tmp_path / "s", files_of("train/0.png", "train/1.png", "val/0.png", "val/1.png"))
    (tmp_path / place / "train_labels.csv").write_text("file,label\n0.png,a\n1.png,b\n")
    (tmp_path / place / "val_labels.csv").write_text("file,label\n0.png,b\n1.png,a\n")
    assert read(path) == {0: "a", 1: "b"}
    assert read(path, split="test") == {2: "b", 3: "a"}
    if place == "s":  # a folder of one split, with the tables beside
        assert read(path / "train") == {0: "a", 1: "b"}
        assert read(path / "val") == {2: "b", 3: "a"}


@pytest.mark.parametrize(
    "folders",
    [("train", "bus", "car"), ("valid", "invalid"), ("test", "control"), ("cats_train", "dogs_test"), ("a", "b")],
)
def test_classes_called_like_splits_stay_classes(tmp_path, folders):
    path = write_folder(tmp_path / "s", files_of(*(f"{folder}/1.png" for folder in folders)))
    assert set(read(path).values()) == set(folders)
    assert choose_split(folders, "train") is None


def test_split_folder_may_have_a_loose_image_beside_it(tmp_path):
    names = [f"x/{s}/{c}/{i}.png" for s in ("train", "test") for c in ("a", "b") for i in range(2)]
    path = write_folder(tmp_path / "s", {**files_of(*names), "montage.png": grey(99), "x/logo.jpg": grey(98)})
    assert read(path) == {0: "a", 1: "a", 2: "b", 3: "b"}
    assert read(path, split="test") == {4: "a", 5: "a", 6: "b", 7: "b"}


# --- what is no data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "masks"),
        ("Image", "Label"),
        ("JPEGImages", "SegmentationClass"),
        ("train", "train_masks"),
        ("imgs", "ground_truth"),
    ],
)
def test_masks_are_no_data(tmp_path, images, masks):
    path = write_folder(tmp_path / "s", files_of(*(f"{f}/{i}.png" for f in (images, masks) for i in range(2))))
    assert read(path) == {0: "", 1: ""}
    assert f"{masks} holds masks and is not used: 2 images." in " ".join(open_data(path).notes)
    split = {
        f"{s}/{name}": content
        for s in ("train", "test")
        for name, content in files_of(f"{images}/0.png", f"{masks}/1.png").items()
    }
    assert read(write_folder(tmp_path / "t", split), split="test") == {0: ""}


def test_masks_and_thumbnails_beside_their_images_are_no_data(tmp_path):
    names = (
        "b (1).png",
        "b (1)_mask.png",
        "b (1)_mask_1.png",
        "cat.jpg",
        "cat_thumb.jpg",
        "thumb_cat.jpg",
        "left_thumb.png",
    )
    path = write_folder(tmp_path / "s", files_of(*names))
    assert sorted(read(path)) == [0, 3, 6]
    assert open_data(path).metadata["ignored"] == {"(masks)": 2, "(thumbnails)": 2}


def test_loose_image_beside_class_folders_is_left_out_and_said(tmp_path):
    path = write_folder(tmp_path / "s", files_of("cat/0.png", "cat/1.png", "dog/2.png", "preview.png"))
    assert read(path) == {0: "cat", 1: "cat", 2: "dog"}
    assert "Not used, because outside the folders cat, dog: preview.png." in open_data(path).notes
    assert open_data(path).metadata["ignored"] == {"(beside the folders)": 1}


@pytest.mark.parametrize(("inside", "loose", "kept"), [("{}/{}", 3, 100), ("{}/{}", 10, 110), ("a/{}/{}", 10, 110)])
def test_more_than_a_few_loose_images_are_kept(tmp_path, inside, loose, kept):
    names = [inside.format(year, i) + ".png" for year in ("2019", "2020") for i in range(50)]
    path = write_folder(tmp_path / "s", files_of(*names, *(f"{i}.png" for i in range(loose))))
    found = open_data(path)
    assert len(found) == kept
    said = f"Images outside the sub-folders: {loose}, as 0.png, so the sub-folders are not used as classes."
    assert any(note.startswith(said) for note in found.notes) == (found.labels is None) == (kept > 100)


def test_a_tenth_of_loose_images_beside_the_folder_of_splits_is_left_out(tmp_path):
    names = [f"x/{s}/{c}/{i}.png" for s in ("train", "test") for c in ("a", "b") for i in range(20)]
    path = write_folder(tmp_path / "s", files_of(*names, *(f"{i}.png" for i in range(8))))
    assert read(path) == {i: "a" if i < 20 else "b" for i in range(40)}
    assert len(open_data(path, split="test")) == 40


@pytest.mark.parametrize(
    ("folders", "thumbnails"),
    [
        (("01_palm", "03_fist", "05_thumb", "07_ok"), []),
        (("thumbs_up", "thumbs_down", "fist"), []),
        (("palm", "fist", "5", "thumb"), []),
        (("photos", "thumbs"), ["thumbs"]),
        (("cats", "thumb"), ["thumb"]),
        (("cats", "dogs", "cats_thumbs"), ["cats_thumbs"]),
        (("a", "b", "thumbnails"), ["thumbnails"]),
        (("2019", "2020", "thumbs"), ["thumbs"]),
    ],
)
def test_folders_of_thumbnails_are_told_from_classes_of_gestures(folders, thumbnails):
    assert find_asides(folders) == dict.fromkeys(thumbnails, "thumbnails")


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_debris_is_ignored_and_counted(tmp_path, form):
    debris = (
        "Thumbs.db",
        "a/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
        "a/.AppleDouble/1.png",
        "a/._1.png",
        "__MACOSX/a/._1.png",
    )
    debris += (
        ".ipynb_checkpoints/1-checkpoint.png",
        "lost+found/x.png",
        "b/desktop.ini",
        "$RECYCLE.BIN/x.jpg",
        "b/.DS_Store",
    )
    files = {**files_of("a/0.png", "b/1.png"), **dict.fromkeys(debris, grey(77)), "b/broken.png": b"", "b/r.txt": b"x"}
    found = inspect(write(tmp_path / "s", files, form), quiet=True)
    assert found.class_counts == {"a": 1, "b": 1}
    hidden = 10
    assert found.ignored_files == {"(hidden or of the system)": hidden, "(empty)": 1, ".txt": 1}
    assert "Empty files, of zero bytes, are not used: 1." in found.notes


def test_opening_a_folder_in_a_file_browser_does_not_change_the_data(tmp_path, decoded_images):
    path = write_folder(tmp_path / "s", files_of("0.png"))
    open_data(path)
    (path / ".DS_Store").write_bytes(b"x")
    open_data(path)
    assert len(decoded_images) == 1


@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tgz"])
def test_files_with_odd_or_no_endings_are_read_by_content(tmp_path, form):
    files = {
        "a": grey(0),
        "b.jpeg_large": grey(1),
        "c.PNG": grey(2),
        "d.html": b"<html>",
        "e.weird": b"text",
        "f": b"text",
    }
    assert sorted(read(write(tmp_path / "s", files, form))) == [0, 1, 2]
    found = open_data(write(tmp_path / "t", files, form))
    assert found.metadata["ignored"] == {".html": 1, ".weird": 1, "(no extension)": 1}


def test_names_of_every_kind_are_read(tmp_path):
    names = ("a b.PNG", "ünï/çödé.png", "ünï/日本.png", "ünï/%20#?.png", "x" * 200 + ".png")
    path = write_folder(tmp_path / "s", files_of(*names))
    (path / b"bad\xff.png".decode("utf-8", "surrogateescape")).write_bytes(grey(5))
    assert sorted(read(path)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "content", "what", "fix"),
    [
        ("x.dcm", bytes(128) + b"DICM", "DICOM", "dcmread"),
        ("IM0001", bytes(128) + b"DICM", "DICOM", "dcmread"),
        ("x.CR2", b"II*\0\x10\0\0\0CR\2\0", "camera raw", "darktable"),
        ("x.nef", b"MM\0*", "camera raw", "darktable"),
        ("x.psd", b"8BPS", "Photoshop", "PNG"),
        ("x.svg", b"<svg>", "vector", "rsvg-convert"),
        ("x.pdf", b"%PDF-1.4", "PDF", "pdftoppm"),
        ("x.h5", b"\x89HDF\r\n\x1a\n", "HDF5", "h5py.File"),
        ("data.mdb", b"x", "LMDB", "lmdb.open"),
        ("a.tfrecord-00000-of-00001", b"x", "TFRecord", "TFRecordDataset"),
        ("x.zip", b"PK\x03\x04", "zips", "unpack the inner zips"),
        ("x.mp4", b"\0\0\0\x18ftypisom", "videos", "one video"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_way_out(tmp_path, name, content, what, fix):
    alone = write_folder(tmp_path / "alone", {f"d/{name}": content})
    with pytest.raises(GanvasError, match="contains no images") as caught:
        open_data(alone)
    assert what in caught.value.fix
    assert fix in caught.value.fix
    mixed = inspect(write_folder(tmp_path / "mixed", {**files_of("0.png", "1.png"), name: content}), quiet=True)
    assert mixed.count == 2
    assert sum(mixed.ignored_files.values()) == 1
    assert any(note.startswith("Not read: 1 ") and what in note and fix in note for note in mixed.notes)


@pytest.mark.parametrize(
    ("name", "content", "fix"),
    [
        ("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(99), "h5py.File"),
        ("data.mdb", bytes(16) + b"\xde\xc0\xef\xbe", "lmdb.open"),
        ("a.tfrecords", b"xyz", "TFRecordDataset"),
        ("scan", bytes(128) + b"DICM", "dcmread"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "unpack"),
    ],
)
def test_single_files_that_are_not_read_are_refused_with_the_way_out(tmp_path, name, content, fix):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GanvasError, match="has no format that Ganvas reads") as caught:
        open_data(tmp_path / name)
    assert fix in caught.value.fix


# --- labels ------------------------------------------------------------------------------------------------

IMAGES = ("0.png", "sub/1.png", "sub/2.png", "3.png")
CLASSES = {0: "0", 1: "1", 2: "0", 3: "1"}
WORDS = {0: "cat", 1: "dog", 2: "cat", 3: "dog"}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"labels": [["0.png", 0], ["sub\\1.png", 1], ["./sub/2.png", 0], [".\\3.png", 1]]}, CLASSES),
        ({"labels": [["0.png", 0.0], ["sub/1.png", 1.0], ["sub/2.png", 0.0], ["3.png", 1.0]]}, CLASSES),
        ({"labels": [["0.png", "cat"], ["sub/1.png", "dog"], ["sub/2.png", "cat"], ["3.png", "dog"]]}, WORDS),
        ({"labels": [["0.png", [1, 0]], ["sub/1.png", [0, 1]], ["sub/2.png", [1, 0]], ["3.png", [0, 1]]]}, CLASSES),
        ({"labels": {"0.png": 0, "sub/1.png": 1, "sub/2.png": 0, "3.png": 1}}, CLASSES),
        ({"0.png": "cat", "sub/1.png": "dog", "sub/2.png": "cat", "3.png": "dog"}, WORDS),
        ({"labels": {"0.png": "cat", "sub": {"1.png": "dog", "2.png": "cat"}, "3.png": "dog"}}, WORDS),
        (
            {
                "labels": {
                    "0.png": {"label": "cat"},
                    "sub": {"1.png": {"label": "dog"}, "2.png": {"label": "cat"}},
                    "3.png": {"label": "dog"},
                }
            },
            WORDS,
        ),
        (
            [
                {"file_name": "0.png", "label": 0},
                {"file_name": "1.png", "label": 1},
                {"file_name": "2.png", "label": 0},
                {"file_name": "3.png", "label": 1},
            ],
            CLASSES,
        ),
        ([["0.png", "0"], ["1.png", "1"], ["2.png", "0"], ["3.png", "1"]], CLASSES),
        ({"cat": ["0.png", "sub/2.png"], "dog": ["sub/1.png", "3.png"]}, WORDS),
        (
            {
                "labels": [["0.png", "cat"], ["sub/1.png", "dog"], ["sub/2.png", "cat"], ["3.png", "dog"]],
                "class_names": ["dog", "cat"],
            },
            WORDS,
        ),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip", "tar", "tgz"])
def test_labels_of_every_form_are_read(tmp_path, table, expected, form):
    files = {**files_of(*IMAGES), "dataset.json": json.dumps(table).encode()}
    path = write(tmp_path / "s", files, form)
    assert read(path) == expected
    if isinstance(table, dict) and "class_names" in table:
        assert open_data(path).class_names == ("dog", "cat")


def test_a_table_that_gives_an_image_two_classes_is_not_used_and_says_so(tmp_path):
    rows = ["file,label", *(f"{name},cat" for name in IMAGES), *(f"{name},cat" for name in IMAGES)]
    twice = write(tmp_path / "twice", {**files_of(*IMAGES), "labels.csv": "\n".join(rows).encode()}, "folder")
    assert "of its rows" not in " ".join(open_data(twice).notes)
    rows[-1] = f"{IMAGES[-1]},dog"
    path = write(tmp_path / "s", {**files_of(*IMAGES), "labels.csv": "\n".join(rows).encode()}, "folder")
    found = open_data(path)
    assert found.labels is None
    assert f"gives {IMAGES[-1]} two classes, cat and dog" in " ".join(found.notes)


def test_json_about_something_else_gives_no_labels(tmp_path):
    files = {**files_of(*IMAGES), "dataset.json": b'{"name": "mine", "version": 3, "tags": ["a", "b"]}'}
    assert set(read(write_folder(tmp_path / "s", files)).values()) == {""}


CELEBA = """4
5_o_Clock_Shadow Smiling Young
0.png -1  1 -1
1.png -1 -1  1
2.png  1  1 -1
3.png -1 -1  1
"""


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("labels.csv", "file,label\n0.png,cat\nsub/1.png,dog\n2.png,cat\n3.png,dog\n", WORDS),
        ("train.csv", "id,breed\n0,cat\n1,dog\n2,cat\n3,dog\n9,fox\n", WORDS),
        ("x.tsv", "label\tpath\ncat\tdata/0.png\ndog\tdata/1.png\ncat\tdata/2.png\ndog\tdata/3.png\n", WORDS),
        ("x.csv", "name;klasse\n0.png;0\n1.png;1\n2.png;0\n3.png;1\n", CLASSES),
        (
            "x.csv",
            "\ufefffile,label\r\n0.png,1.0\r\n1.png,0.0\r\n2.png,1.0\r\n3.png,0.0\r\n",
            {0: "1", 1: "0", 2: "1", 3: "0"},
        ),
        ("x.csv", "0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n", WORDS),
        ("identity_list.txt", "0.png 0\n1.png 1\n2.png 0\n3.png 1\n", CLASSES),
        (
            "metadata.jsonl",
            "\n".join(json.dumps({"file_name": f"{i}.png", "label": WORDS[i]}) for i in range(4)),
            WORDS,
        ),
        ("labels.csv", "file,label,note\n" + "".join(f'{i}.png,{WORDS[i]},"a, b"\n' for i in range(4)), WORDS),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip", "tgz", "beside"])
def test_tables_give_classes(tmp_path, name, content, expected, form):
    files = files_of(*IMAGES)
    if form == "beside":
        path = write_folder(tmp_path / "faces", files)
        beside = name if name.startswith(("labels", "identity", "metadata")) else f"faces.{name[-3:]}"
        (tmp_path / beside).write_text(content)
        name = beside
    else:
        path = write(tmp_path / "s", {**files, name: content.encode()}, form)
    assert read(path) == expected
    assert any(note.startswith("The classes come from the column") and name in note for note in open_data(path).notes)


def test_column_of_celebas_attributes_is_chosen(tmp_path):
    files = {
        **files_of(*IMAGES),
        "list_attr_celeba.txt": CELEBA.encode(),
        "list_eval_partition.txt": b"0.png 0\n1.png 1\n",
    }
    path = write_folder(tmp_path / "s", files)
    assert set(read(path).values()) == {""}
    assert (
        "--label-column chooses one of its columns as classes: 5_o_Clock_Shadow, Smiling, Young"
        in open_data(path).notes[0]
    )
    assert read(path, label_column="smiling") == {0: "Smiling", 1: "not Smiling", 2: "Smiling", 3: "not Smiling"}
    with pytest.raises(GanvasError, match="has no column 'Smile', only 5_o_Clock_Shadow, Smiling, Young"):
        open_data(path, label_column="Smile")
    with pytest.raises(GanvasError, match="has no table with a column 'x'"):
        open_data(write_folder(tmp_path / "t", files_of("0.png")), label_column="x")


def test_column_of_a_source_without_columns_is_refused():
    with pytest.raises(GanvasError, match="--label-column x cannot be used with digits"):
        open_data("digits", label_column="x")


def test_column_is_chosen_before_the_folders(tmp_path):
    files = {**files_of("a/0.png", "b/1.png"), "x.csv": b"file,kind\n0.png,p\n1.png,p\n"}
    path = write_folder(tmp_path / "s", files)
    assert read(path) == {0: "a", 1: "b"}
    assert read(path, label_column="kind") == {0: "p", 1: "p"}


def test_table_of_another_set_is_not_used(tmp_path):
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), "test.csv": b"file,label\n0.png,1\n8.png,2\n9.png,2\n"})
    assert set(read(path).values()) == {""}


def test_images_without_a_row_are_bad_and_counted(tmp_path):
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), "x.csv": b"file,label\n0.png,a\n1.png,b\n2.png,a\n"})
    with pytest.raises(GanvasError, match=r"1 of 4 files are bad:\n  3\.png: no label in x\.csv"):
        open_data(path, label_column="label")


def test_table_of_a_part_of_the_images_must_be_asked_for(tmp_path):
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), "x.csv": b"file,my kind\n0.png,a\n1.png,b\n2.png,a\n"})
    found = open_data(path)
    assert (len(found), found.labels, found.skipped) == (4, None, ())
    asked = "--label-column 'my kind' --max-bad 0.25 takes those 3 alone."
    said = f"x.csv is not used: it has classes of 3 of 4 images; {asked}"
    assert found.notes[0] == said
    assert len(open_data(path, label_column="my kind", max_bad=0.25)) == 3


def test_a_table_of_all_images_is_used_beside_one_of_a_part(tmp_path):
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4))
    part, whole = b"file,kind\n0.png,p\n1.png,q\n2.png,p\n", f"file,label\n{rows}".encode()
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), "a.csv": part, "labels.csv": whole})
    assert read(path) == {0: "a", 1: "b", 2: "a", 3: "b"}


def test_of_tables_with_the_column_the_one_of_the_most_images_is_used(tmp_path):
    rows = "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4))
    part, whole = b"file,label\n0.png,p\n1.png,q\n9.png,q\n8.png,q\n7.png,q\n", f"file,label\n{rows}".encode()
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), "a.csv": part, "labels.csv": whole})
    assert read(path, label_column="label") == {0: "a", 1: "b", 2: "a", 3: "b"}


def test_table_that_misses_one_image_in_twenty_is_used(tmp_path):
    rows = ["file,label", *(f"{i}.png,{i % 2}" for i in range(1, 20))]
    files = {**files_of(*(f"{i}.png" for i in range(20))), "x.csv": "\n".join(rows).encode()}
    found = open_data(write_folder(tmp_path / "s", files))
    assert found.class_names == ("0", "1")
    assert found.skipped == (("0.png", "no label in x.csv"),)


def test_table_names_images_in_the_other_form_of_unicode(tmp_path):
    files = files_of(*(unicodedata.normalize("NFD", f"{name}.png") for name in ("é", "ü", "ñ")))
    table = "file,label\né.png,a\nü.png,b\nñ.png,a\n".encode()
    assert read(write_zip(tmp_path / "s.zip", {**files, "x.csv": table})) == {0: "a", 1: "b", 2: "a"}


@pytest.mark.parametrize(
    "content", [b'file,label\n"', b"\0\0\0", b"a,b\n1,2,3\n", b",,,\n,,,\n", b"file,label\n" + b"\xff\xfe,1\n"]
)
def test_damaged_tables_are_no_obstacle(tmp_path, content):
    assert set(read(write_folder(tmp_path / "s", {**files_of(*IMAGES), "x.csv": content})).values()) == {""}


@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_a_file_beside_that_cannot_be_read_is_no_obstacle(tmp_path, monkeypatch, form):
    path = write(tmp_path / "s", files_of(*IMAGES), form)
    (tmp_path / "class_notes.txt").write_text("mine")

    def refuse(file: Path, mode: str) -> Any:
        if file.name == "class_notes.txt":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(file, mode)

    monkeypatch.setattr(folder, "open", refuse, raising=False)
    assert "class_notes.txt is not used: it cannot be read (Permission denied)." in open_data(path).notes
    with pytest.raises(GanvasError, match="Permission denied"):
        open_data(path, label_column="label")


def test_a_table_inside_that_cannot_be_read_is_no_obstacle(tmp_path, monkeypatch):
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), "a.csv": b"file,label\n0.png,q\n"})
    (path / "labels.csv").write_text("file,label\n" + "".join(f"{name},{name[0]}\n" for name in IMAGES))

    def refuse(file: Path, mode: str) -> Any:
        if file.name == "a.csv":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(file, mode)

    monkeypatch.setattr(folder, "open", refuse, raising=False)
    for column in (None, "label"):
        images = open_data(path, label_column=column)
        assert images.class_names == ("0", "3", "s")
    (path / "labels.csv").unlink()
    (note,) = [note for note in open_data(path).notes if note.startswith("a.csv is not used: ")]
    assert note.endswith("a.csv cannot be read: Permission denied.")


@pytest.mark.parametrize(
    ("name", "content", "note"),
    [
        ("labels.csv", "id,label\nimg_7,1\nimg_8,0\n", "none of its rows names an image; the first begins with 'im"),
        ("metadata.jsonl", '{"file_name": "q.png", "label": 1}\n', "none of its rows names an image"),
        ("train.csv", "id,breed\n0,a\n", "it names 1 of 4 images"),
        ("labels.txt", "0\n1\n0\n1\n", "it has no column of file names beside one of classes"),
        ("labels.csv", "file,label\n0.png,\n1.png,\n2.png,\n3.png,\n", "its column label is empty"),
        ("labels.json", "{}", "of JSON, only a dataset.json gives classes"),
    ],
)
def test_tables_that_give_no_classes_are_named_in_a_note(tmp_path, name, content, note):
    path = write_folder(tmp_path / "s", {**files_of(*IMAGES), name: content.encode()})
    assert open_data(path).labels is None
    assert f"{name} is not used: {note}" in open_data(path).notes[0]


@pytest.mark.parametrize("beside", [False, True])
def test_a_table_that_is_too_large_is_named_and_not_read_whole(tmp_path, monkeypatch, beside):
    path = write_folder(tmp_path / "s", {**files_of("0.png", "1.png")})
    name = "s_labels.csv" if beside else "labels.csv"
    ((tmp_path if beside else path) / name).write_text("file,label\n0.png,a\n1.png,b\n" + "x" * 100)
    read = []
    monkeypatch.setattr(image_files, "parse_table", lambda content, *_: read.append(content))
    for module in (image_files, folder):
        monkeypatch.setattr(module, "MAX_TABLE_BYTES", 60)
    assert folder.table_reader((tmp_path if beside else path) / name)() == b"file,label\n0.png,a\n1.png,b\n" + b"x" * 34
    assert f"{name} is not used: it is larger than 1 GiB." in open_data(path).notes
    assert not read


def test_of_many_tables_that_give_no_classes_a_few_are_named(tmp_path):
    path = write_folder(tmp_path / "s", {**files_of("0.png", "1.png"), **{f"{i}.csv": b"a,b\nc,d\n" for i in range(9)}})
    assert len(open_data(path).notes) == 4
    assert open_data(path).notes[-1] == "Not used either: 6 other tables."
