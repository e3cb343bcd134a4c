"""What the studio refuses: no token, other hosts and sites, paths outside, requests too large, too slow, too many."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import PIXEL, Served, make_run, read_reply, serving
from starlette.routing import Route

from ganvas.studio.answers import MAX_BODY
from ganvas.studio.app import create_app
from ganvas.studio.folders import Folders
from ganvas.studio.pages import page_modules

EVIL = "<script>alert(1)<"
"""A name of a folder: it cannot have a slash."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with odd names, and beside it what nobody may read."""
    folder = tmp_path_factory.mktemp("site")
    runs = folder / "runs"
    make_run(runs, "a", lines=3)
    make_run(runs, EVIL, lines=1, class_names=("<img src=x onerror=alert(1)>", "1"))
    secret = make_run(folder / "elsewhere", "secret", lines=1)
    (folder / "secret.txt").write_text("secret")
    (runs / "link").symlink_to(secret)
    (runs / "inner").symlink_to(runs / "a")
    (runs / "a" / "reals.png").symlink_to(folder / "secret.txt")
    (runs / "a" / "training.gif").symlink_to(runs / EVIL / "fakes000000.png")
    os.mkfifo(runs / "a" / "log.txt")
    (runs / "a" / "state").mkdir()
    (runs / "a" / "state" / "latest.safetensors").write_bytes(b"x")
    return runs


@pytest.fixture(scope="module")
def served(runs: Path) -> Iterator[Served]:
    with serving(runs) as one:
        yield one


def test_nothing_is_written_without_the_token(served: Served) -> None:
    """Every address that takes more than reads, and some that do not exist."""
    routes = create_app(served.studio).app.routes  # type: ignore[attr-defined]
    writes = [(route.path, method) for route in routes if isinstance(route, Route) for method in route.methods or ()]
    writes = [(path, method) for path, method in writes if method not in ("GET", "HEAD")]
    assert len(writes) > 8
    wrong = served.studio.token[:-1] + ("x" if served.studio.token[-1] != "x" else "y")
    for path, method in [*writes, ("/api/runs", "POST"), ("/", "DELETE"), ("/", "OPTIONS"), ("/", "TRACE")]:
        address = path.replace("{upload}", "x").replace("{name}", "x")
        assert served.get(address, method, b"{}").status == 401, (path, method)
        assert served.get(address, method, b"{}", token=wrong).status == 401
        assert served.get(address, method, b"{}", cookie=f"ganvas-{served.studio.port}={wrong}").status == 401
        assert served.get(f"{address}?token={served.studio.token}", method, b"{}").status == 401
    assert served.get("/api/check", "POST", b"{}", token=served.studio.token).status != 401
    cookie = f"other=1; ganvas-{served.studio.port}={served.studio.token}"
    assert served.get("/api/check", "POST", b"{}", cookie=cookie).status != 401
    assert not served.get("/api/session").json["may_write"]
    assert served.get("/api/session", cookie=cookie).json["may_write"]


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:1{port}", "127.0.0.2:{port}",
        "localhost.evil.example:{port}", "127.0.0.1:{port}:{port}", "user@127.0.0.1:{port}",
        "127.0.0.1:{port}@evil", "[::2]:{port}",
        "127.0.0.1.:{port}", "0.0.0.0:{port}", "2130706433:{port}",
    ],
)  # fmt: skip
def test_another_host_is_refused(served: Served, host: str) -> None:
    for path in ("/", "/api/runs", "/static/js/main.js"):
        assert served.get(path, host=host.format(port=served.studio.port), token=served.studio.token).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LocalHost:{port}", "[::1]:{port}"])
def test_its_own_host_is_not(served: Served, host: str) -> None:
    assert served.get("/api/runs", host=host.format(port=served.studio.port)).status == 200


def test_no_host_and_two_hosts_are_refused(served: Served) -> None:
    assert served.send("GET /api/runs HTTP/1.0\r\n\r\n").status == 403
    both = f"GET /api/runs HTTP/1.1\r\nHost: {served.host}\r\nHost: evil.example\r\n\r\n"
    assert served.send(both).status in (400, 403)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://{host}", "http://localhost:1", "http://{host}.x"]
)
def test_another_origin_is_refused_with_the_token_too(served: Served, origin: str) -> None:
    sent = origin.format(host=served.host)
    for method, path in (("POST", "/api/check"), ("GET", "/api/runs"), ("GET", "/api/runs/stream")):
        assert (
            served.get(path, method, b"{}" * (method == "POST"), origin=sent, token=served.studio.token).status == 403
        )
    assert served.get("/api/runs", origin=f"http://{served.host}").status == 200


def test_what_another_site_makes_a_browser_send_is_refused(served: Served) -> None:
    for site in ("cross-site", "same-site", "?"):
        for path in ("/api/runs", "/api/run/file?run=0/a&name=fakes000000.png", "/static/js/main.js", "/"):
            assert served.get(path, sec_fetch_site=site, sec_fetch_mode="no-cors").status == 403
    follow: Any = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert served.get("/", **follow).status == 200  # a link to a page
    assert served.get("/", **{**follow, "sec_fetch_dest": "iframe"}).status == 403
    assert served.get("/api/runs", **follow).status == 403
    assert served.get("/api/check", "POST", b"{}", token=served.studio.token, **follow).status == 403
    assert served.get("/api/runs", sec_fetch_site="same-origin").status == 200


def test_on_an_address_that_others_reach_everything_needs_the_token(runs: Path) -> None:
    with serving(runs, host="0.0.0.0") as served:
        own = f"192.0.2.7:{served.studio.port}"
        for path in (*page_modules(), "/api/runs", "/api/session", "/static/js/main.js", "/favicon.ico", "/nosuch"):
            for host in (own, served.host):
                reply = served.get(path, host=host)
                assert reply.status == 401, path
                assert b"token" in reply.body
        assert served.get("/", host=own, token=served.studio.token).status == 200
        assert served.get("/", host=f"evil.example:{served.studio.port}", token=served.studio.token).status == 403


def test_the_printed_address_logs_in(served: Served) -> None:
    reply = served.get(f"/run?run=0%2Fa&token={served.studio.token}&at=3")
    assert reply.status == 303
    assert reply.headers["location"] == "/run?run=0%2Fa&at=3"
    cookie = reply.headers["set-cookie"].lower()
    assert cookie.startswith(f"ganvas-{served.studio.port}=")
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.split("; "))
    assert served.get("/?token=wrong").status == 401
    assert served.get("/?token=%ff%00").status == 401
    assert served.get(f"//evil.example/x?token={served.studio.token}").headers["location"] == "/evil.example/x"


def test_what_opens_the_browser_works_once(served: Served) -> None:
    ticket = served.studio.make_ticket()
    assert ticket != served.studio.token
    reply = served.get(f"/?token={ticket}")
    assert served.studio.token in reply.headers["set-cookie"]
    assert served.get(f"/?token={ticket}").status == 401


@pytest.mark.parametrize(
    "key",
    [
        "", "0", "0/", "0/..", "0/../elsewhere/secret", "0/a/../../elsewhere/secret",
        "0/%2e%2e/elsewhere/secret", "0//etc",
        "0/a/", "0/./a", "0/a%00", "1/a", "-1/a", "00000000/a", "%C2%B2/a", "0/..%2felsewhere%2fsecret", "0/a/state",
        "0/..%5celsewhere", "0/" + "a" * 300, "0/" + "a/" * 3000, "0/link/../a", "0/%ff%fe", "/etc",
        "0/%ed%a0%80", "0/nosuch",
    ],
)  # fmt: skip
def test_no_key_leads_outside(served: Served, key: str) -> None:
    for path in ("/api/run?", "/api/run/file?name=config.json&", "/api/run/curves?", "/api/run/stream?"):
        reply = served.get(f"{path}run={key}")
        assert reply.status in (400, 403, 404), (path, reply.status)
        assert reply.json["error"]["what"]


@pytest.mark.parametrize(
    "name",
    [
        "", "..", "../a/config.json", "/etc/passwd", "fakes000000.png/../config.json", "fakes000000.png%00",
        "CONFIG.JSON",
        "state/latest.safetensors", "latest.safetensors", ".lock", "fakes000000.png%0a", "fakes%D9%A1.png",
        "x.html", "config.json%20",
        "fakes" + "0" * 5000 + ".png",
    ],
)  # fmt: skip
def test_only_files_of_a_run_are_given_out(served: Served, name: str) -> None:
    assert served.get(f"/api/run/file?run=0/a&name={name}").status == 404


def test_links_out_of_the_folders_are_not_followed(served: Served, runs: Path) -> None:
    keys = {card["run"] for card in served.get("/api/runs").json["runs"]}
    assert keys == {"0/a", f"0/{EVIL}", "0/inner"}
    for path in ("/api/run?", "/api/run/file?name=config.json&", "/api/run/curves?", "/api/run/stream?"):
        assert served.get(f"{path}run=0/link").status == 403
        assert served.get(f"{path}run=0/link/../a").status == 404
    reply = served.get("/api/run/file?run=0/a&name=reals.png")
    assert reply.status == 403
    assert b"secret" not in reply.body.replace(b"secret.txt", b"")
    assert served.get("/api/run/file?run=0/a&name=training.gif").status == 200
    (runs / "late").symlink_to(runs / "a")
    assert served.get("/api/run?run=0/late").status == 200
    (runs / "late").unlink()
    (runs / "late").symlink_to(runs.parent / "elsewhere" / "secret")
    assert served.get("/api/run?run=0/late").status == 403
    (runs / "late").unlink()


def test_a_pipe_is_no_file(served: Served) -> None:
    assert served.get("/api/run/file?run=0/a&name=log.txt").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd",
        "/static/..\\app.py", "/static/",
        "/static/js", "/static/%00", "/static/js/../../../app.py", "/../../etc/passwd",
        "/static/" + "a" * 5000, "/.git/config",
    ],
)  # fmt: skip
def test_only_static_files_are_served(served: Served, path: str) -> None:
    reply = served.get(path)
    assert reply.status in (400, 404)
    assert b"import" not in reply.body


def test_names_are_data_and_never_a_page(served: Served) -> None:
    key = "0/%3Cscript%3Ealert(1)%3C"
    run = served.get(f"/api/run?run={key}")
    assert run.json["name"] == EVIL
    assert run.json["metadata"]["class_names"][0].startswith("<img")
    answers = [run, served.get("/api/runs"), served.get("/api/run?run=0/%3Cscript%3E"), served.get("/%3Cscript%3E")]
    answers += [
        served.get(f"/api/run/file?run={key}&name=config.json"),
        served.get("/api/run/file?run=0/a&name=<script>"),
    ]
    for reply in answers:
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["x-content-type-options"] == "nosniff"
    text = served.get(f"/api/run/file?run={key}&name=stats.jsonl")
    assert text.headers["content-type"].startswith("text/plain")
    assert served.get(run.json["grid"]).body == PIXEL


def test_every_answer_has_the_policy(served: Served) -> None:
    for path in ("/", "/api/runs", "/static/js/main.js", "/nosuch", "/api/run/file?run=0/a&name=fakes000000.png"):
        for host in (served.host, "evil.example"):
            headers = served.get(path, host=host).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'")
            assert "unsafe" not in policy
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers
            assert "server" not in headers


def test_a_report_is_a_page_without_rights(tmp_path: Path) -> None:
    make_run(tmp_path / "comparison" / "runs", "a")
    (tmp_path / "comparison" / "report.html").write_text("<script>alert(1)</script>")
    with serving(tmp_path) as served:
        reply = served.get(served.get("/api/run?run=0/comparison/runs/a").json["report"])
        assert reply.headers["content-security-policy"].startswith("sandbox allow-popups; default-src 'none'")
        assert "script-src" not in reply.headers["content-security-policy"]
    with serving(tmp_path / "comparison" / "runs") as served:  # the report lies outside then
        assert served.get("/api/run/file?run=0/a&name=report.html").status == 403


@pytest.mark.parametrize("path", ["/api/check", "/api/train", "/api/remove", "/api/diagnose", "/nosuch"])
def test_ten_gigabytes_are_refused_before_they_are_sent(served: Served, path: str) -> None:
    with served.connect() as client:
        head = f"POST {path} HTTP/1.1\r\nHost: {served.host}\r\nAuthorization: Bearer {served.studio.token}\r\n"
        client.sendall(f"{head}Content-Length: 10000000000\r\n\r\n".encode() + b"x" * 1000)
        reply = read_reply(client.makefile("rb"))
        assert reply.status == 413
        assert reply.headers["connection"] == "close"


def _begin_chunks(served: Served, client: socket.socket) -> None:
    head = f"POST /api/check HTTP/1.1\r\nHost: {served.host}\r\nAuthorization: Bearer {served.studio.token}\r\n"
    client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())


def _send_chunk(client: socket.socket, size: int) -> None:
    client.sendall(f"{size:x}\r\n".encode() + b"x" * size + b"\r\n")


def test_a_body_without_a_length_is_bounded_too(served: Served) -> None:
    with served.connect() as client:
        _begin_chunks(served, client)
        full, rest = divmod(MAX_BODY + 1, 2**16)
        for size in [2**16] * full + [rest]:  # the last byte is the one too many: all is sent before the reply
            _send_chunk(client, size)
        assert read_reply(client.makefile("rb")).status == 413


def test_a_body_that_never_ends_is_cut(served: Served) -> None:
    def send_for_ever() -> None:
        while True:
            _send_chunk(client, 2**16)

    with served.connect() as client:
        _begin_chunks(served, client)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            send_for_ever()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"run": NaN}', b"[" * 100_000, b'{"x": ' + b"9" * 9999 + b"}"]
)
def test_a_body_that_is_no_object_is_refused(served: Served, body: bytes) -> None:
    reply = served.get("/api/check", "POST", body, token=served.studio.token)
    assert reply.status == 400
    assert reply.json["error"]["expected"]


def test_slow_headers_end_the_connection(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.studio.listening.HEADER_SECONDS", 0.3)
    with serving(runs) as served, served.connect() as slow, served.connect() as silent, served.connect() as second:
        request = f"GET /api/session HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode()
        second.sendall(request)
        assert read_reply(second.makefile("rb")).status == 200
        began = time.monotonic()
        slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        second.sendall(b"GET / HT")
        for client in (slow, silent, second):
            assert _is_closed(client)
        assert time.monotonic() - began < 5


def test_a_slow_body_is_refused(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.studio.security.IDLE_SECONDS", 0.3)
    with serving(runs) as served, served.connect() as client:
        head = f"POST /api/check HTTP/1.1\r\nHost: {served.host}\r\nAuthorization: Bearer {served.studio.token}\r\n"
        client.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"{")
        assert read_reply(client.makefile("rb")).status == 408
        with served.connect() as trickle:  # a byte now and then is too slow as well
            trickle.sendall(f"{head}Content-Length: 1000\r\n\r\n".encode())
            began = time.monotonic()
            while time.monotonic() - began < 5:
                try:
                    trickle.sendall(b"{")
                except OSError:
                    break
                time.sleep(0.1)
            assert time.monotonic() - began < 4


def test_a_client_that_does_not_read_is_cut_off(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.studio.listening.STALLED_SECONDS", 0.3)
    large = runs / "a" / "metrics.jsonl"
    large.write_bytes(b"x" * 50_000_000)
    try:
        with serving(runs) as served, served.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(
                f"GET /api/run/file?run=0/a&name={large.name} HTTP/1.1\r\nHost: {served.host}\r\n\r\n".encode()
            )
            began = time.monotonic()
            while served.server.server_state.connections and time.monotonic() - began < 8:
                time.sleep(0.05)
                began = min(began, time.monotonic())
            assert not served.server.server_state.connections
            assert served.get("/api/session").status == 200
    finally:
        large.unlink()


def test_streams_are_bounded_and_each_place_is_given_back(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.studio.streams.MAX_STREAMS", 2)
    with serving(runs) as served:
        with served.stream("/api/runs/stream") as one, served.stream("/api/run/stream?run=0/a") as two:
            one.next("runs")
            two.next("card")
            assert served.get("/api/runs/stream").status == 429
            assert served.get("/api/runs").status == 200
        began = time.monotonic()
        while served.studio.poller._listeners and time.monotonic() - began < 5:
            time.sleep(0.05)
        with served.stream("/api/runs/stream") as again:
            assert again.next("runs")


@pytest.mark.parametrize("batches", [2, pytest.param(50, marks=pytest.mark.exhaustive)])
def test_ten_thousand_requests(served: Served, batches: int) -> None:
    """On one connection, in turn right and wrong; the server answers each and is what it was before."""
    right = f"GET /api/session HTTP/1.1\r\nHost: {served.host}\r\n\r\n"
    wrong = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    batch, descriptors = (right + wrong).encode() * 100, len(os.listdir("/proc/self/fd"))
    with served.connect() as client:
        for _ in range(batches):
            client.sendall(batch)
            answers = b""
            while answers.count(b"HTTP/1.1 200") < 100 or not answers.endswith(b"--host.\n"):
                answers += client.recv(2**20)
            assert answers.count(b"HTTP/1.1 403") == 100
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 4
    assert served.get("/api/runs").status == 200


def test_more_connections_than_allowed_are_told_so(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvas.studio.listening.MAX_CONNECTIONS", 5)
    with serving(runs) as served:
        held = [served.connect() for _ in range(6)]
        assert served.get("/api/session").status == 503
        for client in held:
            client.close()
        time.sleep(0.2)
        assert served.get("/api/session").status == 200


def test_keys_and_paths_of_names_that_are_not_utf8(tmp_path: Path) -> None:
    for name in ("caf\udce9", "é", "a b&c?d#e", "100%", "\\xff"):
        (tmp_path / name).mkdir()
        key = Folders([tmp_path]).key(tmp_path / name)
        assert key is not None
        key.encode()  # a page can send it
        assert Folders([tmp_path]).find(key) == tmp_path / name


def _is_closed(client: socket.socket) -> bool:
    """Whether the server closes a connection within its timeout."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True
