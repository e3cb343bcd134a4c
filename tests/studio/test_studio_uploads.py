"""Uploads of the studio: bounded, kept inside their folder, and removed where they are not complete."""

import asyncio
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

import pytest
from asgi_client import Answer, Client
from starlette.applications import Starlette

from ganvas.data.listing import IMAGE_SUFFIXES
from ganvas.errors import GanvasError
from ganvas.files import RECENT
from ganvas.studio import uploads
from ganvas.studio.answers import Refusal, refuse
from ganvas.studio.uploads import Uploads, clean, is_log

FOLDER = Path("runs/uploads")


@pytest.fixture
def client() -> Iterator[Client]:
    async def answer_error(request: Any, error: Any) -> Any:
        return refuse(error)

    studio: Any = type("Studio", (), {"uploads": Uploads(FOLDER.absolute())})()
    made = Client(Starlette(routes=list(uploads.routes(studio)), exception_handlers={GanvasError: answer_error}))
    made.uploads = studio.uploads  # type: ignore[attr-defined]
    yield made
    made.close()


def begin(client: Client, *names: str, size: int = 100, **more: Any) -> str:
    answer = client.post("/api/uploads", {"names": names, "bytes": size, **more})
    assert answer.status == 201, answer.json
    return answer.json["upload"]


def put(client: Client, upload: str, name: str, *chunks: bytes, **headers: str) -> Answer:
    return client.put(f"/api/uploads/{upload}/file?name={name}", chunks, **headers)


def close(client: Client, upload: str) -> dict[str, str]:
    answer = client.post(f"/api/uploads/{upload}/close")
    assert answer.status == 200, answer.json
    return answer.json


def files(folder: Path = FOLDER) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_zip_stays_a_file(client: Client) -> None:
    upload = begin(client, "my photos.zip")
    assert put(client, upload, "my photos.zip", b"PK", b"12").json == {"bytes": 4}
    assert not [name for name in files() if not name.startswith(".")]  # not there before it is complete
    assert close(client, upload) == {"path": str((FOLDER / "my-photos/my photos.zip").absolute()), "what": "data"}
    assert files() == ["my-photos/my photos.zip"]
    assert (FOLDER / "my-photos/my photos.zip").read_bytes() == b"PK12"


def test_a_folder_keeps_its_sub_folders(client: Client) -> None:
    upload = begin(client, "pets/cats/1.png", "pets/dogs/1.png")
    for name in ("pets/cats/1.png", "pets/dogs/1.png"):
        assert put(client, upload, name, b"x").status == 201
    assert close(client, upload) == {"path": str((FOLDER / "pets").absolute()), "what": "data"}
    assert files() == ["pets/cats/1.png", "pets/dogs/1.png"]


def test_loose_files_and_a_second_upload_of_the_same_name(client: Client) -> None:
    for folder in ("files", "files-2"):
        upload = begin(client, "a.png", "b.png")
        put(client, upload, "a.png", b"x")
        put(client, upload, "b.png", b"x")
        assert close(client, upload)["path"] == str((FOLDER / folder).absolute())
    single = begin(client, "a.png")
    put(client, single, "a.png", b"x")
    assert close(client, single)["path"] == str((FOLDER / "a").absolute())  # one image: a folder of it


def test_logs_are_told_from_data(client: Client) -> None:
    assert is_log(PurePosixPath("a/train.csv.gz"))
    assert is_log(PurePosixPath("events.out.tfevents.17"))
    assert not is_log(PurePosixPath("a.zip"))
    upload = begin(client, "run/config.json", "run/stats.jsonl", "run/reals.png")
    for name in ("run/config.json", "run/stats.jsonl", "run/reals.png"):
        put(client, upload, name, b"{}")
    assert close(client, upload)["what"] == "log"
    upload = begin(client, "log.txt")
    put(client, upload, "log.txt", b"d_loss: 1 g_loss: 2")
    assert close(client, upload)["what"] == "log"


def test_the_suffixes_of_images_are_those_of_the_reader() -> None:
    assert uploads.IMAGES == IMAGE_SUFFIXES


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\photos\\a.png", "C_/photos/a.png"),
        ("a//./b.png", "a/b.png"),
        ("a\0b\n<script>.png", "a_b__script_.png"),
        ("..", None),
        ("", None),
        ("/".join("x" * 20), None),
        ("trailing. /a.png. ", "trailing/a.png"),
        ("é" * 300 + ".png", "é" * 105 + ".png"),
        ("\udcff.png", "?.png"),
    ],
)
def test_names_are_cleaned(name: str, cleaned: str | None) -> None:
    if cleaned is None:
        with pytest.raises(Refusal, match="no name"):
            clean(name)
    else:
        assert clean(name) == PurePosixPath(cleaned.replace("?", "_"))


def test_nothing_is_written_outside_and_nothing_replaced(client: Client) -> None:
    Path("outside").mkdir()
    upload = begin(client, "a/x.png", "b")
    for name in ("../../../outside/x", "%2e%2e/%2e%2e/%2e%2e/outside/y", "a/x.png", "a:b", "a*b"):
        assert put(client, upload, name, b"first").status == 201
    assert put(client, upload, "a/x.png", b"second").status == 201
    close(client, upload)
    assert not files(Path("outside"))
    assert all(path.resolve().is_relative_to(FOLDER.resolve()) for path in FOLDER.rglob("*"))
    kept = FOLDER / "files"
    assert (kept / "a/x.png").read_bytes() == b"first"
    assert (kept / "a/x-2.png").read_bytes() == b"second"
    assert {"a_b", "a_b-2"} <= {path.name for path in kept.iterdir()}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"names": ["a"], "bytes": 10**13}, 413),
        ({"names": ["a"], "bytes": 1, "files": 10**6}, 413),
        ({"names": [], "bytes": 1}, 400),
        ({"names": ["a"], "bytes": -1}, 400),
        ({"names": ["a"], "bytes": True}, 400),
        ({"names": ["a"]}, 400),
        ({"names": "a", "bytes": 1}, 400),
        ({"names": [".."], "bytes": 1}, 400),
    ],
)
def test_what_is_announced_is_bounded(client: Client, body: Any, status: int) -> None:
    assert client.post("/api/uploads", body).status == status
    assert not FOLDER.exists() or not list(FOLDER.iterdir())


def test_more_bytes_than_announced_are_refused_whatever_the_header_says(client: Client) -> None:
    upload = begin(client, "a.zip", size=10)
    claimed = put(client, upload, "a.zip", b"x", content_length=str(10**10))
    assert claimed.status == 413
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 2**20

    answer = client.put(f"/api/uploads/{upload}/file?name=a.zip", endless(), content_length="3")
    assert answer.status == 413
    assert sent < 5
    assert not files()
    assert put(client, upload, "a.zip", b"1234567890").status == 201  # the refused bytes do not count


def test_ten_claimed_gigabytes_cost_nothing_until_they_come(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 * 10**9))
    full = client.post("/api/uploads", {"names": ["a.zip"], "bytes": 10**10})
    assert (full.status, "10 GB" in full.error["what"] + full.error["expected"]) == (507, True)
    assert not list(FOLDER.iterdir())
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**11))
    upload = begin(client, "a.zip", size=10**10)
    sent = {"content-length": str(10**10)}
    address = f"/api/uploads/{upload}/file?name=a.zip"
    client.run(client.send("PUT", address, [b"PK"], sent, disconnect_after=0))  # and it goes away
    assert not files()
    assert client.post(f"/api/uploads/{upload}/close").status == 409
    assert client.delete(f"/api/uploads/{upload}").status == 200
    assert not list(FOLDER.iterdir())


def test_several_files_at_once_share_the_bound(client: Client) -> None:
    upload = begin(client, "a", "b", size=3 * 2**20)

    async def both() -> list[Answer]:
        address = f"/api/uploads/{upload}/file?name="
        return await asyncio.gather(
            *(client.send("PUT", f"{address}{name}", [b"x" * 2**20] * 2) for name in ("a", "b")),
        )

    assert sorted(answer.status for answer in client.run(both())) == [201, 413]


def test_an_aborted_file_is_removed_and_a_deleted_upload_too(client: Client) -> None:
    upload = begin(client, "a.zip")
    client.run(client.send("PUT", f"/api/uploads/{upload}/file?name=a.zip", [b"x"], disconnect_after=0))
    assert not files()
    assert client.post(f"/api/uploads/{upload}/close").status == 409
    put(client, upload, "a.zip", b"x")
    assert client.delete(f"/api/uploads/{upload}").status == 200
    assert not list(FOLDER.iterdir())
    assert put(client, upload, "a.zip", b"x").status == 404
    assert client.post(f"/api/uploads/{upload}/close").status == 404


def test_a_full_disk_is_said_and_frees_what_was_written(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begin(client, "a.zip")

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads, "_append", full)
    answer = put(client, upload, "a.zip", b"x")
    assert answer.status == 507
    assert answer.error["what"].startswith("The disk is full")
    assert not list(FOLDER.iterdir())
    monkeypatch.setattr(uploads, "KEPT_FREE", 10**18)
    assert client.post("/api/uploads", {"names": ["a"], "bytes": 5}).status == 507


def test_an_idle_upload_is_removed(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "ABANDONED_SECONDS", 0.05)
    monkeypatch.setattr(uploads, "LOOK_SECONDS", 0.02)
    upload = begin(client, "a.zip")
    put(client, upload, "a.zip", b"x")
    client.run(asyncio.sleep(0.3))
    assert not list(FOLDER.iterdir())
    assert client.post(f"/api/uploads/{upload}/close").status == 404


def test_uploads_at_a_time_are_few_and_those_of_a_killed_studio_are_removed(client: Client) -> None:
    left = FOLDER / ".old.tmp-999999999"
    left.mkdir(parents=True)
    (left / "a.zip").write_bytes(b"x")
    before = time.time() - RECENT - 60
    os.utime(left / "a.zip", (before, before))
    (FOLDER / "old").mkdir()
    begun = [begin(client, "a.zip") for _ in range(uploads.MAX_OPEN)]
    assert not left.exists()
    assert not (FOLDER / "old").exists()
    assert client.post("/api/uploads", {"names": ["a"], "bytes": 5}).status == 429
    client.delete(f"/api/uploads/{begun[0]}")
    begin(client, "a.zip")
    client.uploads.close()  # type: ignore[attr-defined]
    assert not list(FOLDER.iterdir())


def test_an_upload_to_a_studio_on_another_machine_stays(client: Client) -> None:
    theirs = FOLDER / ".theirs.tmp-999999999"  # a number that no process has here
    theirs.mkdir(parents=True)
    (theirs / "a.zip").write_bytes(b"x")
    (FOLDER / "theirs").mkdir()
    begin(client, "b.zip")
    assert (theirs / "a.zip").exists()
    assert (FOLDER / "theirs").exists()


def test_an_upload_that_cannot_be_begun_is_said_so_and_leaves_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = Path.mkdir

    def refuse_staging(path: Path, *given: Any, **options: Any) -> None:
        if path.name.startswith("."):
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        mkdir(path, *given, **options)

    monkeypatch.setattr(Path, "mkdir", refuse_staging)
    answer = client.post("/api/uploads", {"names": ["a.zip"], "bytes": 5})
    assert answer.status == 400
    assert answer.error["what"].startswith("The disk is full")
    assert not list(FOLDER.iterdir())
