"""Downloads: whole, resumed, from a mirror, and everything that a server or a disk does wrong; on loopback only."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import noise

import ganvas
from ganvas.data.downloads import RemoteFile, fetch
from ganvas.errors import GanvasError

CONTENT = noise(700_000).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def file(web):
    web.files["file.bin"] = CONTENT


def remote(web, *folders) -> RemoteFile:
    return RemoteFile(tuple(f"{web.address}{folder}/file.bin" for folder in folders), len(CONTENT), SHA256)


def get(web, path, *folders):
    fetch(remote(web, *folders), path, what="The file", fix="give a copy.", progress=False)


def part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def test_a_file_is_fetched_once(web, tmp_path):
    path = tmp_path / "new" / "file.bin"
    get(web, path, "good")
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]
    get(web, path, "good")
    assert web.requests == [("/good/file.bin", "")]


def test_a_damaged_file_is_fetched_again(web, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(len(CONTENT)))
    get(web, path, "good")
    assert path.read_bytes() == CONTENT


def test_an_interrupted_download_goes_on(web, tmp_path):
    path = tmp_path / "file.bin"
    part_of(path).write_bytes(CONTENT[:300_000])
    get(web, path, "good")
    assert path.read_bytes() == CONTENT
    assert web.requests == [("/good/file.bin", "bytes=300000-")]
    assert not part_of(path).exists()


def test_a_lost_connection_is_made_again_and_goes_on(web, tmp_path):
    path = tmp_path / "file.bin"
    get(web, path, "cut")
    assert path.read_bytes() == CONTENT
    assert web.requests == [("/cut/file.bin", ""), ("/cut/file.bin", "bytes=350000-")]


def test_a_server_that_ignores_the_range_begins_again(web, tmp_path):
    path = tmp_path / "file.bin"
    part_of(path).write_bytes(CONTENT[:300_000])
    get(web, path, "whole")
    assert path.read_bytes() == CONTENT
    assert len(web.requests) == 1


@pytest.mark.parametrize("part", [bytes(300_000), bytes(len(CONTENT)), bytes(800_000)])
def test_a_part_of_something_else_is_dropped(web, tmp_path, part):
    path = tmp_path / "file.bin"
    part_of(path).write_bytes(part)
    get(web, path, "good")
    assert path.read_bytes() == CONTENT
    assert web.requests[-1] == ("/good/file.bin", "")


@pytest.mark.parametrize("bad", ["missing", "wrong", "hang", "long", "other", "ftp"])
def test_the_next_address_is_tried(web, tmp_path, bad):
    path = tmp_path / "file.bin"
    get(web, path, bad, "good")
    assert path.read_bytes() == CONTENT
    assert any(asked == "/good/file.bin" for asked, _ in web.requests)


def test_what_a_hanging_server_gave_is_kept_for_the_next(web, tmp_path):
    get(web, tmp_path / "file.bin", "hang", "good")
    assert web.requests[-1] == ("/good/file.bin", "bytes=350000-")


def test_a_redirect_to_the_web_is_followed(web, tmp_path):
    get(web, tmp_path / "file.bin", "away")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("missing", "HTTP 404"),
        ("wrong", f"another SHA-256 than {SHA256[:16]}"),
        ("hang", "no answer within 0.5 seconds"),
        ("long", "more bytes than the file has"),
        ("other", "700,004 bytes there instead of 700,000"),
        ("ftp", "refers to ftp://"),
    ],
)
def test_a_file_that_no_address_gives_is_not_there(web, tmp_path, bad, reason):
    path = tmp_path / "file.bin"
    began = time.monotonic()
    with pytest.raises(GanvasError) as caught:
        get(web, path, bad)
    assert reason in caught.value.what
    assert caught.value.what.startswith("The file could not be downloaded (127.0.0.1:")
    assert caught.value.fix == "give a copy."
    assert not path.exists()
    assert time.monotonic() - began < 10


def test_no_server(web, tmp_path):
    asked = remote(web, "good")
    web.stop()
    with pytest.raises(GanvasError, match="Connection refused"):
        fetch(asked, tmp_path / "file.bin", what="The file", fix="", progress=False)
    nowhere = RemoteFile(("http://nowhere.invalid/file.bin",), 3, SHA256)
    with pytest.raises(GanvasError, match="could not be downloaded"):
        fetch(nowhere, tmp_path / "file.bin", what="The file", fix="", progress=False)


def test_a_proxy_of_the_environment_is_asked(web, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", web.address)
    asked = RemoteFile(("http://nowhere.invalid/good/file.bin",), len(CONTENT), SHA256)
    fetch(asked, tmp_path / "file.bin", what="The file", fix="", progress=False)
    assert web.requests == [("http://nowhere.invalid/good/file.bin", "")]


def test_a_disk_that_fills_up(web, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
        with pytest.raises(GanvasError, match="The disk is full"):
            get(web, tmp_path / "file.bin", "good")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_found_before(web, tmp_path):
    asked = RemoteFile((f"{web.address}good/file.bin",), 2**60, SHA256)
    with pytest.raises(GanvasError, match="The download needs"):
        fetch(asked, tmp_path / "file.bin", what="The file", fix="", progress=False)
    assert not web.requests


def test_two_processes_fetch_a_set_once(web, tmp_path, cache_root):
    digest = hashlib.sha256(CONTENT).hexdigest()
    program = (
        "from ganvas.data import named\n"
        f"named.SETS['mnist'] = named.NamedSet(('{web.address}cut/',), "
        f"(('file.bin', {len(CONTENT)}, '{digest}'),), {{}}, '')\n"
        "print(named.fetch_files('mnist', progress=False))\n"
    )
    paths = os.pathsep.join([str(Path(ganvas.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "GANVAS_CACHE": str(cache_root)}
    both = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folder = cache_root / "downloads" / "mnist"
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [str(folder)] * 2
    assert len(web.requests) == 2, "one process: a part, and the rest"
    assert (folder / "file.bin").read_bytes() == CONTENT
