"""Writing files: only regular files are replaced, a failure leaves the old file and nothing else, and says why."""

import os
import re
import resource
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import tiny

from ganvas import image_io
from ganvas.animation import save_animation
from ganvas.comparison.candidates import make_comparison_folder
from ganvas.errors import GanvasError
from ganvas.files import (
    LEFTOVER,
    atomic_file,
    atomic_folder,
    check_regular,
    explain_os_error,
    find_leftovers,
    make_folder,
    write_text,
)
from ganvas.runs import checkpoint, curves, log
from ganvas.runs.folder import Run
from ganvas.style.images import StyleImage
from ganvas.training.start import train

PIXELS = np.zeros((3, 20, 20), np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tiny(kimg=0.05), out=tmp_path_factory.mktemp("runs"), quiet=True)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that makes no file for anyone is Linux's")
def test_a_folder_that_is_there_is_not_said_to_be_missing() -> None:
    with pytest.raises(GanvasError) as there:
        write_text(Path("/proc/a.txt"), "x")
    assert there.value.expected == "a folder that this user may write to"
    missing = explain_os_error(FileNotFoundError(2, "No such file or directory"), Path("nowhere/a.txt"))
    assert missing.expected == "its folder to be there"


WRITERS: dict[str, Callable[[Path, Run], object]] = {
    "text.json": lambda path, run: write_text(path, "x"),
    "image.png": lambda path, run: image_io.save_image(Image.new("L", (8, 8)), path),
    "film.gif": lambda path, run: save_animation([PIXELS], path),
    "curves.png": lambda path, run: curves.plot([run], path),
    "styled.png": lambda path, run: StyleImage(PIXELS).save(path),
    "state.safetensors": lambda path, run: checkpoint.save(path, {}, {}),
    "events.jsonl": lambda path, run: log.append_text(path, "x"),
}


def make_special(path: Path, kind: str) -> None:
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.close()
    elif kind == "a device":
        path.symlink_to("/dev/full")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a folder"])
@pytest.mark.parametrize("name", WRITERS)
def test_what_is_no_regular_file_is_not_replaced(run: Run, kind: str, name: str) -> None:
    path = Path(name)
    make_special(path, kind)
    before, others = path.lstat(), sorted(os.listdir("."))
    with pytest.raises(GanvasError, match=f"{name} is {kind}: it is not replaced"):
        WRITERS[name](path, run)
    assert stat.S_IFMT(path.lstat().st_mode) == stat.S_IFMT(before.st_mode)
    assert path.lstat().st_ino == before.st_ino
    assert sorted(os.listdir(".")) == others


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_leads_to_what_is_written(run: Run, name: str) -> None:
    Path("elsewhere").mkdir()
    target, link = Path("elsewhere") / name, Path(name)
    link.symlink_to(target)
    WRITERS[name](link, run)  # there is nothing yet
    assert link.is_symlink()
    assert target.stat().st_size > 0
    WRITERS[name](link, run)
    assert link.is_symlink()
    assert os.listdir("elsewhere") == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_to_itself_is_refused(run: Run, name: str) -> None:
    Path(name).symlink_to(name)
    with pytest.raises(GanvasError, match="could not be written"):
        WRITERS[name](Path(name), run)
    assert Path(name).is_symlink()


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "ж" * 125 + ".png"])
def test_a_long_name_is_written(name: str) -> None:
    image_io.save_image(Image.new("L", (8, 8)), Path(name))
    assert os.listdir(".") == [name]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("x" * 300 + ".png", "name of at most 255 bytes"),
        ("text/x.png", "a file has its name, or that of a folder above it"),
        ("zero\0byte.png", "null"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_in_words(path: str, words: str) -> None:
    Path("text").write_text("")
    for write in (lambda: write_text(Path(path), "x"), lambda: check_regular(Path(path))):
        with pytest.raises(GanvasError, match=words):
            write()
    assert os.listdir(".") == ["text"]


def test_a_read_only_disk_is_refused_in_words() -> None:
    """/proc takes no new files, as a disk that is mounted read-only."""
    for write in (lambda: write_text(Path("/proc/x.json"), "x"), lambda: make_folder(Path("/proc/x/y"))):
        with pytest.raises(GanvasError, match="could not be written"):
            write()


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: the same kind of error as a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("name", ["image.png", "film.gif", "styled.png"])
def test_a_disk_that_fills_up_leaves_the_old_file(name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 200, 200), np.uint8)
    writers: dict[str, Callable[[Path], object]] = {
        "image.png": lambda path: image_io.save_image(image_io.to_pil(pixels), path),
        "film.gif": lambda path: save_animation([pixels], path),
        "styled.png": lambda path: StyleImage(pixels).save(path),
    }
    Path(name).write_bytes(b"old")
    with limited_files(10_000), pytest.raises(GanvasError, match="The disk is full"):
        writers[name](Path(name))
    assert Path(name).read_bytes() == b"old"
    assert os.listdir(".") == [name]


def test_a_folder_replaces_no_file() -> None:
    Path("snapshot").write_text("mine")
    with pytest.raises(GanvasError, match="snapshot is a file: it is not replaced"), atomic_folder(Path("snapshot")):
        pass
    assert Path("snapshot").read_text() == "mine"


def test_threads_do_not_share_a_temporary_file() -> None:
    path, both = Path("x.txt"), threading.Barrier(2)

    def write(text: str) -> None:
        with atomic_file(path) as temporary:
            both.wait(10)
            temporary.write_text(text)
            both.wait(10)
            assert temporary.read_text() == text
            assert re.fullmatch(LEFTOVER, temporary.name)
            assert not find_leftovers(Path("."))

    other = threading.Thread(target=write, args=("b" * 100,))
    other.start()
    write("a" * 100)
    other.join()
    assert path.read_text() in ("a" * 100, "b" * 100)
    assert os.listdir(".") == ["x.txt"]


def test_a_file_is_on_the_disk_before_it_gets_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves the old file or the new one; other tests do not wait for the disk (conftest.py)."""
    path, synced = tmp_path / "x.txt", list[tuple[int, str]]()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.fstat(fd).st_ino, path.read_text())))
    path.write_text("old")
    write_text(path, "new")
    assert synced == [(path.stat().st_ino, "old"), (tmp_path.stat().st_ino, "new")]


def test_a_folder_and_its_files_are_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "folder", list[tuple[int, bool]]()
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.fstat(fd).st_ino, path.exists())))
    with atomic_folder(path) as temporary:
        (temporary / "file").write_text("new")
    file, folder, parent = (one.stat().st_ino for one in (path / "file", path, tmp_path))
    assert synced == [(file, False), (folder, False), (parent, True)]


def test_a_comparison_is_a_folder() -> None:
    with pytest.raises(GanvasError, match=r"report\.html is a file's name") as caught:
        make_comparison_folder("a/report.html", ["cnn", "mlp"])
    assert "--out a/report" in caught.value.fix
    assert not os.listdir(".")
    assert make_comparison_folder("v1.2", ["cnn", "mlp"]).is_dir()
    assert make_comparison_folder(None, ["cnn", "mlp"]) == Path("comparisons/cnn-vs-mlp")
