"""Tars of images, compressed or not, and WebDataset's shards."""

import io
import json
import random
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers import encode, labels_of, noise, open_data, write_folder

from ganvas.data import file_reading
from ganvas.errors import GanvasError

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".txz": "w:xz"}


def write_tar(path: Path, files: dict[str, bytes], mode: str | None = None, **options) -> Path:
    mode = mode or next(m for suffix, m in MODES.items() if path.name.endswith(suffix))
    with tarfile.open(path, mode, **options) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def images_of(count: int) -> dict[str, bytes]:
    return {f"{index}.png": encode(noise(9, 9, 3, seed=index)) for index in range(count)}


@pytest.mark.parametrize("suffix", MODES)
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tar_reads_like_a_folder_without_unpacking(tmp_path, suffix, format):
    names = [f"set/{c}/{'x' * 40}{i}.png" for c in ("cat", "dog") for i in range(30)]
    random.Random(1).shuffle(names)
    files = {name: encode(noise(9, 9, 3, seed=index)) for index, name in enumerate(names)}
    tar = open_data(write_tar(tmp_path / f"s{suffix}", files, format=format))
    folder = open_data(write_folder(tmp_path / "folder", files))
    assert len(tar) == 60
    assert tar.name == "s"
    assert tar.class_names == ("cat", "dog")
    if suffix == ".tar":
        assert tar.fingerprint == folder.fingerprint
    else:
        assert np.array_equal(tar.images.transpose(0, 2, 3, 1), [noise(9, 9, 3, seed=i) for i in range(60)])
        assert labels_of(tar).tolist() == [int("dog" in name) for name in names]
    assert {item.name for item in tmp_path.iterdir()} == {f"s{suffix}", "folder"}, "nothing may be unpacked to disk"


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_later_member_of_a_name_replaces_the_earlier(tmp_path, suffix):
    path = tmp_path / f"s{suffix}"
    with tarfile.open(path, MODES[suffix]) as archive:  # type: ignore[call-overload]
        for seed in (1, 2):
            content = encode(noise(9, 9, 3, seed=seed))
            info = tarfile.TarInfo("a.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"link{kind.decode()}.png")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    found = open_data(path)
    assert np.array_equal(found.images[0].transpose(1, 2, 0), noise(9, 9, 3, seed=2))
    assert found.notes == ("Members of the tar that a later one of the same name replaces: 1, such as a.png.",)
    assert found.metadata["ignored"] == {"(link)": 2, "(pipe)": 1, "(device)": 1}


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png"])
def test_names_that_point_outside_are_refused(tmp_path, suffix, name):
    with pytest.raises(GanvasError, match="points outside the archive"):
        open_data(write_tar(tmp_path / f"s{suffix}", {**images_of(2), name: b"x"}))


@pytest.mark.parametrize("suffix", MODES)
def test_damage_is_refused_and_never_read(tmp_path, suffix):
    path = write_tar(tmp_path / f"s{suffix}", images_of(40))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GanvasError, match=r"damaged|has no format"):
        open_data(path)
    if suffix != ".tar":  # a plain tar has no checksum; its PNGs have
        for place in (len(whole) // 2, len(whole) - 6):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            with pytest.raises(GanvasError, match=r"damaged|has no format"):
                open_data(path)


def test_bomb_is_refused(tmp_path):
    with pytest.raises(GanvasError, match="decompression bomb"):
        open_data(write_tar(tmp_path / "s.tar.gz", {"0.png": encode(noise(9, 9)), "a.png": bytes(2**28 + 1)}))


def test_memory_is_bounded_whatever_the_size_of_a_compressed_tar(tmp_path, monkeypatch):
    monkeypatch.setattr(file_reading, "_CHUNK_BYTES", 2**16)
    monkeypatch.setattr(file_reading.os, "cpu_count", lambda: 2)
    content = encode(noise(150, 150, 3))  # 68 kB
    path = write_tar(tmp_path / "s.tgz", {f"{index}.png": content for index in range(400)})
    found = len(open_data(write_tar(tmp_path / "small.tgz", {"0.png": content}), resolution="8"))
    tracemalloc.start()
    try:
        found = len(open_data(path, resolution="8"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == 400
    assert peak < 400 * len(content) / 4


@pytest.mark.parametrize("suffix", [".tar", ".tgz"])
def test_bad_images_in_a_tar_are_listed(tmp_path, suffix):
    files = {**images_of(30), "page.png": b"<html>", "cut.png": encode(noise(90, 90))[:500]}
    found = open_data(write_tar(tmp_path / f"s{suffix}", files), max_bad=0.1, resolution="9")
    assert len(found) == 30
    assert sorted(name for name, _ in found.skipped) == ["cut.png", "page.png"]


def test_a_tar_that_is_none_is_refused(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"<html>")
    with pytest.raises(GanvasError, match=r"named \.tar, but is not a tar archive"):
        open_data(tmp_path / "s.tar")


def test_a_tar_without_images_says_what_is_in_it(tmp_path):
    with pytest.raises(GanvasError, match=r"contains no images, only other files: 2 \.txt\."):
        open_data(write_tar(tmp_path / "t.tar", {"a.txt": b"x", "b.txt": b"y"}))
    with pytest.raises(GanvasError, match="contains no images"):
        open_data(write_tar(tmp_path / "empty.tar", {}))
    with pytest.raises(GanvasError, match="points outside the archive"):
        open_data(write_tar(tmp_path / "outside.tar", {"../../etc/passwd": b"x"}))
    with tarfile.open(tmp_path / "devices.tgz", "w:gz") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
            info = tarfile.TarInfo(f"x{kind.decode()}")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with pytest.raises(GanvasError, match=r"only other files: 1 \(link\), 2 \(device\)"):
        open_data(tmp_path / "devices.tgz")


# --- WebDataset --------------------------------------------------------------------------------------------


def samples(first: int, count: int, form: str) -> dict[str, bytes]:
    files = {}
    for index in range(first, first + count):
        key = f"{index:06}"
        files[f"{key}.png"] = encode(noise(9, 9, 3, seed=index))
        if form == "cls":
            files[f"{key}.cls"] = b"%d\n" % (index % 3)
        elif form == "json":
            files[f"{key}.json"] = json.dumps({"label": "abc"[index % 3], "colour": index % 2}).encode()
        files[f"{key}.txt"] = b"a caption"
    return files


@pytest.mark.parametrize("form", ["cls", "json", "none"])
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_shards_of_a_webdataset_are_one_set(tmp_path, form, suffix):
    for shard in range(3):
        write_tar(tmp_path / f"train-{shard:06}{suffix}", samples(4 * shard, 4, form))
    write_tar(tmp_path / f"val-000000{suffix}", samples(12, 2, form))
    found = open_data(tmp_path)
    assert np.array_equal(found.images.transpose(0, 2, 3, 1), [noise(9, 9, 3, seed=i) for i in range(12)])
    assert "3 of 4 files are used as the train split" in found.notes[0]
    if form == "none":
        assert found.labels is None
    else:
        assert labels_of(found).tolist() == [index % 3 for index in range(12)]
        assert found.class_names == (("0", "1", "2") if form == "cls" else ("a", "b", "c"))
    if form == "json":
        assert labels_of(open_data(tmp_path, label_column="colour")).tolist() == [index % 2 for index in range(12)]
    assert len(open_data(tmp_path, split="test")) == 2
    assert len(open_data(tmp_path / f"val-000000{suffix}")) == 2


def test_shards_that_count_from_0_each_are_all_read(tmp_path):
    for shard in range(2):
        files = {f"{index}.png": encode(noise(9, 9, 3, seed=10 * shard + index)) for index in range(3)}
        files |= {f"{index}.cls": b"%d" % shard for index in range(3)}
        write_tar(tmp_path / f"{shard:04}.tar", files)
    found = open_data(tmp_path)
    assert len(found) == 6
    assert sorted(labels_of(found).tolist()) == [0, 0, 0, 1, 1, 1]
    for image, label in zip(found.images, labels_of(found), strict=True):
        assert any(np.array_equal(image.transpose(1, 2, 0), noise(9, 9, 3, seed=10 * label + i)) for i in range(3))


def test_shards_of_one_name_in_several_folders_are_all_read(tmp_path):
    for number, folder in enumerate("abc"):
        (tmp_path / folder).mkdir()
        image = encode(noise(9, 9, 3, seed=number))
        write_tar(tmp_path / folder / "000.tar", {"1.png": image, "1.cls": b"%d" % number})
    found = open_data(tmp_path)
    assert sorted(labels_of(found).tolist()) == [0, 1, 2]
    for image, label in zip(found.images, labels_of(found), strict=True):
        assert np.array_equal(image.transpose(1, 2, 0), noise(9, 9, 3, seed=label))


@pytest.mark.parametrize("beside", ["old.tar", "2023/notes.parquet"])
def test_images_in_deep_folders_are_not_hidden_by_a_shard(tmp_path, beside):
    """Photo programs have folders of years, months and days; shards are sought three levels deep."""
    for day in range(3):
        folder = tmp_path / "2023/05" / f"{day:02}"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(encode(noise(9, 9, 3, seed=day)))
    if beside.endswith(".tar"):
        write_tar(tmp_path / beside, {"x.png": encode(noise(9, 9, 3, seed=9))})
    else:
        (tmp_path / beside).write_bytes(b"PAR1")
    assert len(open_data(tmp_path)) == 3


def test_masks_of_a_webdataset_are_no_images(tmp_path):
    files = {name: encode(noise(9, 9)) for i in range(3) for name in (f"{i}.png", f"{i}.seg.png")}
    assert len(open_data(write_tar(tmp_path / "s.tar", files))) == 3
