"""Unsafe or unusable sources are refused with a message and a fix."""

import struct
import zipfile
import zlib

import numpy as np
import pytest
from helpers import encode, noise, open_data, start_python, write_folder, write_zip

from ganvas.data import DataOptions, open_images
from ganvas.errors import GanvasError

IMAGE = encode(noise(9, 9))


@pytest.mark.parametrize("source", ["mnits", "no/such/folder", "digit", "\0", "x" * 5000])
def test_unknown_source_is_refused(source):
    with pytest.raises(GanvasError, match=r"There is no data set|cannot be read|data is") as caught:
        open_data(source)
    if source == "mnits":
        assert caught.value.fix == "did you mean mnist?"


def test_empty_sets_are_refused(tmp_path):
    with pytest.raises(GanvasError, match="contains no images"):
        open_data(write_folder(tmp_path, {"sub/notes.txt": b""}))
    with pytest.raises(GanvasError, match=r"only other files: 2 \.dcm"):
        open_data(write_zip(tmp_path / "x.zip", {"a.dcm": b"x", "b.DCM": b"x"}))
    with pytest.raises(GanvasError, match="contains no images"):
        open_data(write_zip(tmp_path / "y.zip", {}))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.png", IMAGE, "is a single image"),
        ("x.zip", b"<html>", "named .zip, but is not a zip archive: it begins with '<html>'"),
        ("x.npz", b"text", "named .npz, but is not"),
        ("x.npy", b"PK\x03\x04", "named .npy, but is not a NumPy file"),
        ("x.zip", b"PK\x03\x04" + bytes(100), "is not a complete zip: its end is missing"),
        ("x.npz", b"PK\x03\x04" + bytes(100), "cannot be read|not a complete zip"),
        ("x.tar.gz", b"\x1f\x8b nonsense", "gzipped, but contains neither"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c", "has no format that Ganvas reads"),
        ("x.zip", b"", "but is not a zip archive: it is empty"),
        ("x.bin", b"", "has no format that Ganvas reads: it is empty"),
        ("data_batch_1.bin", bytes(3073), "one batch of CIFAR|labels"),
    ],
)
def test_file_whose_content_contradicts_its_name_is_refused(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(GanvasError, match=reason):
        open_data(tmp_path / name)


def test_zip_of_images_named_npz_is_refused(tmp_path):
    with pytest.raises(GanvasError, match="contains no arrays"):
        open_data(write_zip(tmp_path / "x.npz", {"a.png": IMAGE}))


@pytest.mark.parametrize("source", ["folder", "zip", "json", "npy"])
def test_missing_test_split_is_refused(tmp_path, source):
    files = {"a/1.png": IMAGE, "b/2.png": IMAGE}
    if source == "npy":
        np.save(tmp_path / "x.npy", noise(3, 8, 8))
        path = tmp_path / "x.npy"
    elif source == "folder":
        path = write_folder(tmp_path / "s", files)
    else:
        extra = {"dataset.json": b'{"labels": null}'} if source == "json" else {}
        path = write_zip(tmp_path / "s.zip", files | extra)
    with pytest.raises(GanvasError, match="no test split"):
        open_data(path, split="test")


# --- zips --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/etc/out.png", "C:\\out.png", "a\\..\\..\\out.png"])
def test_members_that_point_outside_are_refused(tmp_path, name):
    path = write_zip(tmp_path / "x.zip", {"good.png": IMAGE, name: IMAGE})
    with pytest.raises(GanvasError, match="points outside the archive") as caught:
        open_data(path)
    assert repr(name) in str(caught.value)


def test_decompression_bomb_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.png", "w") as member:
        for _ in range(300):
            member.write(bytes(2**20))
    with pytest.raises(GanvasError, match=r"decompression bomb: its member 'a.png' would unpack to 0.3 GiB"):
        open_data(path)
    path.rename(tmp_path / "x.npz")
    with pytest.raises(GanvasError, match="contains no arrays"):
        open_data(tmp_path / "x.npz")


def test_numpy_bomb_is_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((300, 1024, 1024), np.uint8))
    with pytest.raises(GanvasError, match="decompression bomb"):
        open_data(tmp_path / "x.npz")


def test_overlapping_members_are_refused(tmp_path):
    """One compressed body, listed many times: a bomb without nesting."""
    path = write_zip(tmp_path / "x.zip", {f"{index}.png": IMAGE for index in range(9)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    body, listing = content[: central // 9], content[central:]
    end = listing.index(b"PK\x05\x06")
    entry, tail = listing[:end], bytearray(listing[end:])
    for index in range(9):
        start = index * (end // 9)
        struct.pack_into("<I", entry, start + 42, 0)  # every member begins at the first byte
    struct.pack_into("<I", tail, 16, len(body))
    path.write_bytes(body + entry + tail)
    with pytest.raises(GanvasError, match="its members overlap"):
        open_data(path)


def zip_with_wrong_size(path, declared: int):
    """A zip with a member whose central directory declares a wrong size."""
    write_zip(path, {"a.png": IMAGE, "wrong.png": encode(noise(50, 50))})
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, entry + 24, declared)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("declared", [10, 2**27])
def test_member_with_a_wrong_declared_size_is_skipped_or_read(tmp_path, declared):
    found = open_data(zip_with_wrong_size(tmp_path / "x.zip", declared), max_bad=0.5)
    if declared == 10:
        assert found.skipped == (("wrong.png", "damaged in the zip: its checksum does not match"),)
    else:
        assert len(found) == 2, "a declared size that is too large does no harm"


def test_damaged_and_encrypted_members_are_skipped(tmp_path):
    path = write_zip(tmp_path / "x.zip", {f"{index}.png": encode(noise(50, 50, seed=index)) for index in range(4)})
    content = bytearray(path.read_bytes())
    content[1000] ^= 0xFF
    last = content.rindex(b"PK\x01\x02")
    content[last + 8] |= 1
    path.write_bytes(content)
    found = open_data(path, max_bad=0.5)
    assert [name for name, _ in found.skipped] == ["0.png", "3.png"]
    assert found.skipped[0][1].startswith("damaged in the zip")
    assert found.skipped[1][1].startswith("encrypted")


def test_two_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", IMAGE)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.png", IMAGE)
    with pytest.raises(GanvasError, match="two members"):
        open_data(tmp_path / "x.zip")


# --- how much may be bad -----------------------------------------------------------------------------------


def test_too_many_bad_files_are_refused(tmp_path):
    files = {f"{index:02}.png": b"junk" if index < 12 else IMAGE for index in range(40)}
    path = write_folder(tmp_path / "s", files)
    with pytest.raises(GanvasError) as caught:
        open_data(path)
    message = str(caught.value)
    assert "12 of 40 files are bad" in message
    assert message.count("not an image: it begins with 'junk'") == 10
    assert "and 2 more" in message
    assert "--max-bad 0.3" in message
    assert len(open_data(path, max_bad=0.3)) == 28
    with pytest.raises(GanvasError, match="12 of 40"):
        open_data(path)  # also when it comes from the cache


def test_set_of_bad_files_only_is_refused(tmp_path):
    path = write_folder(tmp_path / "s", {"a.png": b"junk", "b.jpg": b"\xff\xd8\xff"})
    with pytest.raises(GanvasError, match="2 of 2 files are bad"):
        open_data(path, max_bad=1)


@pytest.mark.parametrize("options", [{"max_bad": 2}, {"max_bad": -1}, {"channels": 2}, {"fit": "cut"}, {"split": "x"}])
def test_impossible_options_are_refused(options):
    with pytest.raises(GanvasError, match="--"):
        open_data("digits", **options)


def test_truncation_of_a_large_zip_member_is_found(tmp_path):
    """Members over a megabyte are streamed instead of read into memory; damage must be found all the same."""
    big = encode(noise(700, 700, 3))
    assert len(big) > 2**20
    path = write_zip(tmp_path / "x.zip", {"a.png": big, "b.png": big[: 2**20 + 9]}, zipfile.ZIP_STORED)
    found = open_data(path, max_bad=0.5)
    assert found.skipped == (("b.png", "truncated PNG"),)


def test_decoders_leave_warning_filters_unchanged(tmp_path):
    import warnings

    filters = list(warnings.filters)
    open_data(write_folder(tmp_path / "s", {"a.png": IMAGE, "b.png": zlib.compress(b"x")}), max_bad=0.5)
    assert list(warnings.filters) == filters


def test_options_are_imported_without_torch_numpy_and_pillow():
    process = start_python(
        "import sys, ganvas.data.options; print([m for m in ('torch', 'numpy', 'PIL') if m in sys.modules])"
    )
    output, errors = process.communicate(timeout=60)
    assert output.strip() == "[]", errors


def test_a_path_object_is_a_source(tmp_path):
    for value in (tmp_path / "missing", str(tmp_path / "missing")):
        with pytest.raises(GanvasError, match="There is no data set"):
            open_images(DataOptions(value), progress=False)
