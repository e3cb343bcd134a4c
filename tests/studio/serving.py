"""A studio served in a thread, requests to it byte by byte, and runs that were never trained."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import tiny

from ganvas.config import replace
from ganvas.runs.folder import create_run
from ganvas.runs.log import append_json
from ganvas.studio.app import Studio
from ganvas.studio.folders import Folders
from ganvas.studio.listening import Server, make_server

SHAPE = {"channels": 1, "height": 8, "width": 8, "classes": 0}
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a49444154789c6360000000020001e221bc330000000049454e44ae426082"
)
"""A PNG of one pixel."""

PATIENCE_SECONDS = 60
"""Time for an event to come; the machine may be busy."""


def make_run(out: Path, name: str, lines: int = 0, class_names: tuple[str, ...] = (), kimg: float = 40) -> Path:
    """A run folder as ganvas train makes it, with some lines of stats.jsonl and a grid."""
    shape = SHAPE | {"classes": len(class_names)}
    data = {"name": "digits", "fingerprint": "0" * 64, "images": 100, "shape": shape, "class_names": list(class_names)}
    run = create_run(out, name, "digits", replace(tiny(), kimg=kimg), data, {"ganvas": "0"})
    for i in range(lines):
        append_json(run.path / "stats.jsonl", line(i + 1))
    (run.path / "fakes000000.png").write_bytes(PIXEL)
    return run.path


def line(i: int, **more: Any) -> dict[str, Any]:
    """The i-th line of a log, at i kimg."""
    loss = {"num": 1000, "mean": 0.5 + i, "std": 0.25}
    return {
        "nimg": 1000 * i,
        "kimg_per_s": 2.0,
        "seconds": 0.5 * i,
        "D/loss": loss,
        "signals": {"diversity": 0.9},
    } | more


@dataclass(frozen=True)
class Reply:
    """An answer: the status, the headers in lower case, the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """A studio that is being served.

    Attributes:
        studio, server: what is served.
    """

    def __init__(self, studio: Studio, server: Server) -> None:
        self.studio, self.server = studio, server
        self.host = f"127.0.0.1:{studio.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.studio.port), timeout=30)

    def send(self, text: str | bytes) -> Reply:
        """Sends bytes as they are, and reads the answer."""
        with self.connect() as client:
            client.sendall(text.encode() if isinstance(text, str) else text)
            return read_reply(client.makefile("rb"))

    def get(self, path: str, method: str = "GET", body: bytes = b"", host: str = "", **headers: str) -> Reply:
        """A request; names of headers have _ for -. `token` is a bearer's."""
        if "token" in headers:
            headers["authorization"] = f"Bearer {headers.pop('token')}"
        fields = {"Host": host or self.host, "Connection": "close"} | headers
        if body or method in ("POST", "PUT"):
            fields["Content-Length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {text}" for name, text in fields.items())]
        return self.send("\r\n".join([*lines, "", ""]).encode() + body)

    @contextmanager
    def stream(self, path: str, **headers: str) -> Iterator["Events"]:
        """The events of a stream."""
        with self.connect() as client:
            fields = {"Host": self.host, "Accept": "text/event-stream"} | headers
            lines = [f"GET {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {text}" for name, text in fields.items())]
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            events = Events(client)
            try:
                yield events
            finally:
                events.close()


class Events:
    """Server-sent events of a connection."""

    def __init__(self, client: socket.socket) -> None:
        self._file = client.makefile("rb")
        status, self.headers = read_head(self._file)
        self.status, self.id, self._held, self._until = status, "", b"", 0.0

    def close(self) -> None:
        self._file.close()

    def next(self, *names: str) -> Any:
        """(name, data) of the next event of one of these names, or of any."""
        self._until = time.monotonic() + PATIENCE_SECONDS
        while True:
            name, data = self._read()
            if not names or name in names:
                return name, data

    def _read(self) -> tuple[str, Any]:
        name, data = "", ""
        while True:
            text = self._line().decode()
            if text.startswith("event: "):
                name = text[7:]
            elif text.startswith("data: "):
                data = text[6:]
            elif text.startswith("id: "):
                self.id = text[4:]
            elif not text and name:
                return name, json.loads(data)

    def _line(self) -> bytes:
        while b"\n" not in self._held:
            if time.monotonic() > self._until:  # heartbeats come for ever
                raise TimeoutError(f"no such event within {PATIENCE_SECONDS} s")
            size = int(self._file.readline(), 16)
            if size == 0:
                raise EOFError
            self._held += self._file.read(size)
            self._file.readline()
        found, _, self._held = self._held.partition(b"\n")
        return found


def read_head(file: Any) -> tuple[int, dict[str, str]]:
    """(status, headers) of an answer; (0, {}) where the connection was closed without one."""
    first = file.readline().split()
    headers = {}
    while text := file.readline().decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    return int(first[1]) if first else 0, headers


def read_reply(file: Any) -> Reply:
    status, headers = read_head(file)
    length = headers.get("content-length")
    body = file.read(int(length)) if length is not None and status not in (0, 304) else b""
    return Reply(status, headers, body)


@contextmanager
def serving(*folders: Path, host: str = "127.0.0.1", **settings: Any) -> Iterator[Served]:
    """Serves a studio of these folders on a free port of 127.0.0.1, as if on `host`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        studio = Studio(Folders(folders), host=host, port=listener.getsockname()[1], **settings)
        server = make_server(studio)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Served(studio, server)
        finally:
            server.end()
            thread.join()


@contextmanager
def holding(lock: str) -> Iterator[Callable[[], str]]:
    """A process that holds a lock, an expression of Python, until the function is called.

    That returns how often the process was sent SIGTERM, as a line.
    """
    code = f"""
import signal, sys
from pathlib import Path
from ganvas.runs.lock import lock_comparison, lock_run
count = []
signal.signal(signal.SIGTERM, lambda *_: count.append(1))
with {lock}:
    print("held", flush=True)
    sys.stdin.readline()
print(len(count))
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        given, told = process.stdin, process.stdout
        assert told.readline() == "held\n"

        def end() -> str:
            given.close()
            return told.read()

        yield end
