"""What strangers have tried on the studio: aliases, links, cookies of other ports, growing files, second users."""

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from serving import Served, line, make_run, serving

from ganvas.errors import GanvasError
from ganvas.runs.log import append_json
from ganvas.studio import app, files, peers, streams
from ganvas.studio.answers import Refusal
from ganvas.studio.folders import Folders
from ganvas.studio.places import find_origin, find_run
from ganvas.studio.streams import _RunNews
from ganvas.studio.training import MAX_STARTS, reserve


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs", "a", lines=3)
    make_run(tmp_path / "elsewhere", "secret", lines=3)
    return tmp_path / "runs"


def keys(served: Served) -> set[str]:
    return {card["run"] for card in served.get("/api/runs").json["runs"]}


def test_what_is_odd_is_refused_without_a_traceback(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    assert served.get("/?" + "a&" * 200).status == 400
    assert served.get("/api/session?" + "a&" * 200).status == 200
    chunks = "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"  # and no more: a body as slow as it likes
    for path in ("/api/session", "/api/runs/stream", "/api/run/stream?run=0/a", "/"):
        assert served.send(f"GET {path} HTTP/1.1\r\nHost: {served.host}\r\n{chunks}").status == 400
    assert served.get("/api/session", Content_Length="0").status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_a_run_has_one_key_and_one_that_was_uploaded_is_not_listed(served: Served, runs: Path) -> None:
    assert [served.get(f"/api/run?run={number}/a").status for number in ("00", "0000", "%D9%A0")] == [404, 404, 404]
    make_run(runs / "uploads", "sent", lines=1)
    assert served.get("/api/run?run=0/uploads/sent").json["name"] == "sent"
    assert keys(served) == {"0/a"}


def test_a_run_that_was_uploaded_is_not_said_to_be_gone_while_it_is_there(served: Served, runs: Path) -> None:
    sent = make_run(runs / "uploads", "sent", lines=1)
    news = _RunNews(served.studio, "0/uploads/sent", "").news
    assert [event.split()[1] for event in news()] == [b"card"]
    served.studio.runs.look()
    assert news() == []
    sent.rename(runs.parent / "sent")
    assert news() == [b"event: gone\ndata: {}\n\n"]
    assert news() == []
    (runs.parent / "sent").rename(sent)
    first, *others = news()
    assert b"event: reset" in first
    assert [event.split()[1] for event in others] == [b"card"]
    assert news() == []


def test_files_of_a_run_that_lie_elsewhere_are_not_read(served: Served, runs: Path) -> None:
    for name in ("config.json", "stats.jsonl", "metrics.jsonl", "snapshots"):
        run = make_run(runs, f"linked-{name}")
        there = run / name
        there.rmdir() if there.is_dir() else there.unlink(missing_ok=True)
        there.symlink_to(runs.parent / "elsewhere" / "secret" / name)
        for path in (
            "/api/run?", "/api/run/curves?", "/api/run/stream?", "/api/run/file?name=reals.png&",
            "/api/run/diagnosis?", "/api/neighbours?", "/api/knobs?",
        ):  # fmt: skip
            assert served.get(f"{path}run=0/{run.name}").status == 403
    assert keys(served) == {"0/a"}


def test_a_report_above_the_folders_is_not_offered(served: Served, runs: Path) -> None:
    (runs.parent / "report.html").write_text("of something else")
    assert served.get("/api/run?run=0/a").json["report"] is None
    make_run(runs / "comparison" / "runs", "one")
    (runs / "comparison" / "report.html").write_text("its own")
    address = served.get("/api/run?run=0/comparison/runs/one").json["report"]
    reply = served.get(address)
    assert (reply.status, reply.body) == (200, b"its own")
    assert "sandbox" in reply.headers["content-security-policy"]


def test_a_file_that_grows_while_it_is_sent(served: Served, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, opened = runs / "a" / "stats.jsonl", files.open_regular
    before = log.read_bytes()

    def grow(path: Path) -> Any:
        file = opened(path)
        monkeypatch.setattr(os, "fstat", _then(os.fstat, lambda: append_json(log, line(9))))
        return file

    monkeypatch.setattr(files, "open_regular", grow)
    reply = served.get("/api/run/file?run=0/a&name=stats.jsonl")
    monkeypatch.undo()
    assert reply.body == before
    assert int(reply.headers["content-length"]) == len(before) < log.stat().st_size
    assert served.get("/api/run/file?run=0/a&name=stats.jsonl", method="HEAD").status == 200


def _then(first: Any, after: Any) -> Any:
    def both(descriptor: int) -> Any:
        found = first(descriptor)
        after()
        return found

    return both


def test_a_link_put_in_place_between_the_check_and_the_use(
    served: Served, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = runs.parent / "elsewhere" / "secret" / "config.json"
    opened = files.open_regular
    monkeypatch.setattr(files, "open_regular", lambda path: opened(secret))  # it was a link just then
    assert served.get("/api/run/file?run=0/a&name=config.json").status == 404


def test_an_upload_outlives_a_name_that_is_a_file_and_a_folder(served: Served) -> None:
    token = served.studio.token
    begun = served.get("/api/uploads", "POST", b'{"names": ["a", "a/b"], "bytes": 9}', token=token).json["upload"]
    statuses = [
        served.get(f"/api/uploads/{begun}/file?name={name}", "PUT", b"x", token=token).status
        for name in ("a", "a/b", "a/b/c", "c")
    ]
    assert statuses == [201, 409, 409, 201]
    assert served.get(f"/api/uploads/{begun}/close", "POST", token=token).status == 200


@pytest.mark.parametrize("name", ["uploads", "UpLoads", "𝔸" * 100, "é" * 99, "a.", "a ", ".a", "a/b", "x" * 101])
def test_names_that_no_run_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refusal) as caught:
        reserve(tmp_path, name, "title")
    assert caught.value.field == "name"
    assert not list(tmp_path.iterdir())


def test_uploads_of_another_studio_and_through_a_link_are_not_trusted(served: Served, runs: Path) -> None:
    make_run(runs / "uploads", "sent", lines=1)
    (runs / "alias").symlink_to(runs / "uploads")
    for key in ("0/uploads/sent", "0/alias/sent"):
        with pytest.raises(Refusal, match="was uploaded"):
            find_run(served.studio, key)
    with pytest.raises(Refusal, match="was uploaded"):
        find_origin(served.studio, str(runs / "alias" / "sent"))
    assert find_origin(served.studio, str(runs / "a")) == (runs / "a").resolve()
    assert find_origin(served.studio, "pretrained:digits") == Path("pretrained:digits")
    with pytest.raises(GanvasError, match="names no pretrained generator"):
        find_origin(served.studio, "pretrained:../../runs/a")
    assert Folders([runs.parent / "other", runs]).is_uploaded(runs / "uploads" / "sent")
    assert Folders([runs.parent]).is_uploaded(runs / "uploads" / "sent")
    assert not Folders([runs / "uploads"]).is_uploaded(runs / "uploads" / "sent")  # which was named by the user


def test_uploads_have_one_folder_under_whatever_name_a_disk_takes_for_it(served: Served, runs: Path) -> None:
    make_run(runs / "more" / "UPLOADS", "sent", lines=1)
    assert find_run(served.studio, "0/more/UPLOADS/sent")  # two folders, where a disk tells them apart
    (runs / "more" / "uploads").symlink_to("UPLOADS")  # two names of one, as where it does not
    with pytest.raises(Refusal, match="was uploaded"):
        find_run(served.studio, "0/more/UPLOADS/sent")
    with pytest.raises(Refusal, match="was uploaded"):
        find_origin(served.studio, str(runs / "more" / "UPLOADS" / "sent"))
    assert keys(served) == {"0/a"}


def test_a_cookie_that_another_port_has_set_locks_nobody_out(served: Served) -> None:
    name = f"ganvas-{served.studio.port}"
    cookies = f"{name}=junk; {name}={served.studio.token}"
    assert served.get("/api/session", Cookie=cookies).json["may_write"]
    assert not served.get("/api/session", Cookie=f"{name}=junk").json["may_write"]


def test_one_browser_is_logged_in_at_two_studios(served: Served, runs: Path) -> None:
    """Browsers send the cookies of a host to each of its ports."""
    with serving(runs) as other:
        two = served, other
        both = [one.get(f"/?token={one.studio.token}").headers["set-cookie"].partition(";")[0] for one in two]
        for one in two:
            assert one.get("/api/session", Cookie="; ".join(both)).json["may_write"]
        assert not other.get("/api/session", Cookie=both[0]).json["may_write"]


def test_a_ticket_is_for_this_user_and_for_a_short_time(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with served.connect() as client:
        host, port = client.getsockname()
        assert not peers.is_of_another_user(host, port)
        monkeypatch.setattr(os, "getuid", lambda: 123_456)
        assert peers.is_of_another_user(host, port) == Path("/proc/net/tcp").exists()
    ticket = served.studio.make_ticket()
    if Path("/proc/net/tcp").exists():  # seen in the list of processes, and used before the browser does
        assert served.get(f"/?token={ticket}").status == 401
    monkeypatch.undo()
    assert served.get(f"/?token={ticket}").status == 303
    monkeypatch.setattr(app, "TICKET_SECONDS", 0.0)
    assert not served.studio.take_ticket(served.studio.make_ticket())


def test_a_stream_that_is_far_behind_has_the_page_read_anew(
    served: Served, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_BEHIND", 100)
    with served.stream("/api/run/stream?run=0/a&after=0") as events:
        assert events.next("lines", "reset")[0] == "reset"
        append_json(runs / "a" / "stats.jsonl", {"nimg": 4000})
        assert events.next("lines")[1]["nimg"] == [4000]


def test_nothing_is_downloaded_without_the_token(served: Served) -> None:
    for path in ("/api/data?", "/api/data/picture?index=0&"):
        for name in ("cifar10", "stacked-mnist:mnist"):
            assert served.get(f"{path}data={name}").status == 401


def test_requests_that_wait_for_a_job_do_not_stop_the_others(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    release = threading.Event()

    def wait(*_: Any, **__: Any) -> Any:
        begun.append(1)
        release.wait(60)
        raise Refusal(409, "It runs already.")

    monkeypatch.setattr(served.studio.jobs, "start", wait)
    make_run(served.studio.folders.paths[0], "b", lines=1)
    text = f"POST /api/resume HTTP/1.1\r\nHost: {served.host}\r\nAuthorization: Bearer {served.studio.token}\r\n"
    body = '{"run": "0/b"}'
    clients = [served.connect() for _ in range(45)]  # more than there are threads
    try:
        for client in clients:
            client.sendall(f"{text}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        while len(begun) < MAX_STARTS:
            time.sleep(0.01)
        assert served.get("/api/runs").status == 200
        assert len(begun) == MAX_STARTS
    finally:
        release.set()
        for client in clients:
            client.close()
