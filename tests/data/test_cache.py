"""Data sets are decoded once and read from the cache afterwards; damaged entries are rebuilt."""

import errno
import io
import json
import os
import shutil
import signal
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import encode, noise, open_data, start_python, write_folder, write_zip
from PIL import Image

from ganvas.data import DataOptions, decoding, file_reading, inspection, limits, open_images, prepare, source_types
from ganvas.data.cached import cache
from ganvas.data.formats import folder as folder_reader
from ganvas.errors import GanvasError


@pytest.fixture
def folder(tmp_path):
    files = {f"{kind}/{index}.png": encode(noise(9, 9, seed=index)) for kind in "ab" for index in range(5)}
    return write_folder(tmp_path / "s", files)


def find_entry(cache_root):
    [found] = [path for path in cache_root.iterdir() if path.is_dir()]
    return found


def same(one, other) -> bool:
    arrays = np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)
    return arrays and (one.fingerprint, one.class_names) == (other.fingerprint, other.class_names)


def test_second_opening_decodes_nothing(folder, decoded_images):
    first = open_data(folder)
    assert len(decoded_images) == 10
    second = open_data(folder)
    assert len(decoded_images) == 10
    assert same(first, second)
    assert isinstance(second.images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        second.images[0] = 0


def test_moved_zip_is_read_from_the_cache(tmp_path, decoded_images):
    path = write_zip(tmp_path / "a.zip", {f"{index}.png": encode(noise(9, 9)) for index in range(3)})
    open_data(path)
    (tmp_path / "b").mkdir()
    moved = open_data(shutil.copy(path, tmp_path / "b" / "other.zip"))
    assert len(decoded_images) == 3
    assert moved.name == "other"


@pytest.mark.parametrize("change", ["content", "added", "removed", "renamed", "same size and time"])
def test_changed_folder_is_decoded_again(folder, decoded_images, change):
    first = open_data(folder)
    path = folder / "a" / "0.png"
    if change == "content":
        path.write_bytes(encode(noise(9, 9, seed=99)))
    elif change == "added":
        (folder / "a" / "new.png").write_bytes(encode(noise(9, 9, seed=99)))
    elif change == "removed":
        path.unlink()
    elif change == "renamed":
        path.rename(folder / "b" / "9.png")
    else:
        before = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = open_data(folder, max_bad=0.5)
    assert len(decoded_images) > 10
    assert not same(first, second)


@pytest.mark.parametrize("options", [{"resolution": "8"}, {"channels": 3}, {"resolution": "8", "fit": "pad"}])
def test_different_options_have_different_entries(folder, decoded_images, options):
    open_data(folder)
    open_data(folder, **options)
    assert len(decoded_images) == 20
    open_data(folder, **options)
    assert len(decoded_images) == 20


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["images.u8", "labels.npy", "names.json", "meta.json"])
@pytest.mark.parametrize(
    "damage",
    [flip_byte, lambda path: os.truncate(path, 20), lambda path: path.unlink(), lambda path: path.write_bytes(b"")],
)
def test_a_damaged_entry_is_rebuilt_with_a_note(folder, cache_root, decoded_images, file, damage):
    first = open_data(folder)
    expected = np.array(first.images)
    damage(find_entry(cache_root) / file)
    second = open_data(folder)
    assert np.array_equal(second.images, expected)
    assert len(decoded_images) == 20
    assert any("damaged" in note for note in second.notes)
    third = open_data(folder)
    assert len(decoded_images) == 20
    assert not third.notes


def test_damage_that_keeps_the_modification_time_is_found(folder, cache_root, decoded_images):
    open_data(folder)
    path = find_entry(cache_root) / "images.u8"
    before = path.stat()
    flip_byte(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    open_data(folder)
    assert len(decoded_images) == 20


def test_a_copied_cache_is_checked_once_and_then_trusted(folder, cache_root, decoded_images, monkeypatch):
    first = open_data(folder)
    found = find_entry(cache_root)
    shutil.copytree(found, found.with_name("copy"))
    shutil.rmtree(found)
    found.with_name("copy").rename(found)
    hashed = []
    original = cache.hash_file
    monkeypatch.setattr(cache, "hash_file", lambda path: hashed.append(path.name) or original(path))
    assert same(first, open_data(folder))
    assert "images.u8" in hashed
    hashed.clear()
    assert same(first, open_data(folder))
    assert not hashed
    assert len(decoded_images) == 10


def test_an_edited_meta_is_rejected(folder, cache_root, decoded_images):
    open_data(folder)
    path = find_entry(cache_root) / "meta.json"
    meta = json.loads(path.read_text())
    meta["content"]["class_names"] = ["x", "y"]
    path.write_text(json.dumps(meta))
    assert open_data(folder).class_names == ("a", "b")


def test_an_unwritable_cache_names_its_variable(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("GANVAS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(GanvasError, match="GANVAS_CACHE"):
        open_data(folder)
    assert len(open_data("digits")) == 1400, "the built-in data set needs no cache"


def test_a_full_disk_is_reported_before_and_while_writing(folder, cache_root, monkeypatch):
    usage = shutil.disk_usage(cache_root)
    with monkeypatch.context() as patch:
        patch.setattr(cache.shutil, "disk_usage", lambda path: usage._replace(free=5))
        with pytest.raises(GanvasError, match="GANVAS_CACHE to a larger disk"):
            open_data(folder)

    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        original = cache.PixelWriter.__init__
        patch.setattr(cache.PixelWriter, "__init__", lambda self, file: original(self, Full()))
        with pytest.raises(GanvasError, match=r"No space left on device(.|\n)*GANVAS_CACHE"):
            open_data(folder)
    assert not [path for path in cache_root.iterdir() if path.is_dir()]
    assert len(open_data(folder)) == 10


def test_default_cache_follows_xdg_cache_home(monkeypatch, tmp_path):
    monkeypatch.delenv("GANVAS_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.root() == tmp_path / "ganvas"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "ganvas"


# --- processes ---------------------------------------------------------------------------------------------

OPEN_SLOWLY = """
import sys, time
from ganvas.data import DataOptions, open_images, prepare
from ganvas.data.cached import cache
calls = []
original = prepare.decode
def slow(*args):
    calls.append(1)
    time.sleep(float(sys.argv[2]))
    return original(*args)
prepare.decode = slow
print("ready", flush=True)
images = open_images(DataOptions(sys.argv[1]))
print(len(calls), len(images), images.fingerprint, flush=True)
"""


@pytest.mark.parametrize("form", ["AVIF", "HEIC"])
def test_images_whose_library_comes_later_are_read_then(tmp_path, monkeypatch, decoded_images, form):
    path = write_folder(tmp_path / "s", {f"{index}.png": encode(noise(40, 40, 3, seed=index)) for index in range(3)})
    if form == "HEIC":
        heif: Any = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
        heif.from_pillow(Image.new("RGB", (20, 20))).save(path / "a.heic")
    else:
        Image.new("RGB", (20, 20)).save(path / "a.avif")
    options = DataOptions(str(path), max_bad=0.5)
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "pillow_heif", None)
        missing.setattr(decoding.Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
        missing.setattr(decoding, "_FORMATS", tuple(name for name in decoding._FORMATS if name != "AVIF"))
        for _ in range(2):
            assert [name for name, _ in open_images(options, progress=False).skipped] == [f"a.{form.lower()}"]
            assert limits.find_default_size(options, progress=False) == (40, 40)
        assert len(decoded_images) == 3
    for _ in range(2):
        found = open_data(path)
        assert (len(found), found.skipped, found.resolution) == (4, (), (16, 16))
        assert limits.find_default_size(options, progress=False) == (16, 16)
    assert len(decoded_images) == 7


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EIO, "I/O error"), ""),
        (OSError(errno.ESTALE, "Stale file handle"), ""),
        (MemoryError(), "cannot be read: MemoryError"),
        (PermissionError(errno.EACCES, "denied"), "cannot be opened: denied"),
    ],
)
def test_a_failing_disk_ends_the_reading_and_leaves_nothing_in_the_cache(
    folder, monkeypatch, decoded_images, error, reason
):
    (folder / "a" / "0.png").write_bytes(encode(noise(8, 8)))

    def fail(path, mode):
        if path.name == "0.png" and path.parent.name == "a":
            raise error
        return open(path, mode)

    options = DataOptions(str(folder), max_bad=0.5)
    with monkeypatch.context() as disk:
        disk.setattr(source_types, "open", fail, raising=False)
        if not reason:
            reads = (
                open_images,
                limits.find_default_size,
                lambda given, **_: inspection.inspect(given.source, quiet=True),
            )
            for read in reads:
                with pytest.raises(
                    GanvasError, match=rf"^The disk fails at a/0\.png \({error.strerror}\)\.\n"
                ) as caught:
                    read(options, progress=False)
                assert "start again" in caught.value.fix
            assert not decoded_images
        else:
            assert len(open_images(options, progress=False)) == 9
            assert limits.find_default_size(options, progress=False) == (9, 9)
    for _ in range(2):
        found = open_images(options, progress=False)
        assert found.skipped == ((("a/0.png", reason),) if reason else ())
        assert len(found) == (9 if reason else 10)
        assert not [note for note in found.notes if "damaged" in note]
        assert limits.find_default_size(options, progress=False) == ((9, 9) if reason else (8, 8))
    assert len(decoded_images) == len(found)


def test_a_disk_that_fails_while_images_are_decoded_is_named_with_all_its_files(folder, monkeypatch, cache_root):
    class Failing(io.FileIO):
        def readinto(self, buffer):
            if self.tell() > 512:
                raise OSError(errno.EIO, "I/O error")
            return super().readinto(buffer)

        def read(self, size=-1):
            if size < 0 or self.tell() + size > 512:
                raise OSError(errno.EIO, "I/O error")
            return super().read(size)

    for index in range(20):
        (folder / "a" / f"{index}.png").write_bytes(encode(noise(64, 64)))
    with monkeypatch.context() as disk:
        disk.setattr(source_types, "open", lambda path, mode: Failing(path), raising=False)
        with pytest.raises(GanvasError, match=r"^The disk fails at (\S+ \(I/O error\),? ){10}and \d+ more\.\n"):
            open_data(folder)
    assert not list(cache_root.rglob("images.u8"))
    assert len(open_data(folder)) == 25


@pytest.mark.parametrize("name", ["labels.csv", "no-ending", "b"])
def test_a_disk_that_fails_at_labels_or_while_images_are_listed_is_no_other_data_set(folder, monkeypatch, name):
    images = [f"{kind}/{i}.png" for kind in "ab" for i in range(5)]
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{image},x\n" for image in [*images, "a/no-ending"]))
    column = "label" if name == "labels.csv" else None
    (folder / "a" / "no-ending").write_bytes(encode(noise(8, 8)))
    (folder / "b" / "c").mkdir(parents=True)

    def failing(path, *mode):
        if os.path.basename(path) == name:
            raise OSError(errno.EIO, "I/O error")
        return (open if mode else os.scandir)(path, *mode)

    with monkeypatch.context() as disk:
        if name == "b":
            disk.setattr(folder_reader, "os", SimpleNamespace(stat=os.stat, scandir=failing))
        else:
            disk.setattr(folder_reader, "open", failing, raising=False)
        with pytest.raises(GanvasError, match=rf"^The disk fails at \S*{name} \(I/O error\)\.\n"):
            open_data(folder, label_column=column)
    assert len(open_data(folder, label_column=column)) == 11


def test_two_simultaneous_processes_decode_once(folder):
    both = [start_python(OPEN_SLOWLY, str(folder), "0.05") for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in both]
    assert sorted(row[1] for row in outputs) == ["0", "10"]
    assert outputs[0][2:] == outputs[1][2:]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_process_leaves_no_valid_entry(folder, cache_root, end, decoded_images):
    process = start_python(OPEN_SLOWLY, str(folder), "0.3")
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + 30
    while not list(cache_root.glob(".*.tmp-*/images.u8")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(end)
    process.communicate(timeout=30)
    assert process.returncode != 0
    leftovers = [path for path in cache_root.iterdir() if path.is_dir()]
    assert bool(leftovers) == (end == signal.SIGKILL), "Ctrl-C cleans up; a killed process cannot"
    assert len(open_data(folder)) == 10
    assert len(decoded_images) == 10
    assert len([path for path in cache_root.iterdir() if path.is_dir()]) == 1, "the next process removes them"


def test_ctrl_c_while_decoding_leaves_no_entry_and_no_thread(folder, cache_root, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_images(DataOptions(str(folder)))
    assert not [path for path in cache_root.iterdir() if path.is_dir()]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ganvas-decode")]


def test_decoding_runs_only_a_little_ahead_of_writing():
    """Memory stays bounded, however many images there are."""
    started = []

    def tasks():
        for number in range(500):
            started.append(number)
            yield number

    most = 2 * min(16, os.cpu_count() or 1) + 1
    for done, (task, result) in enumerate(file_reading.map_in_order(lambda number: number * number, tasks())):
        assert (task, result) == (done, done * done)
        assert len(started) - done <= most
    assert len(started) == 500
