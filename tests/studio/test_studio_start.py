"""The command `ganvas studio`: ports, what it prints, how much it takes, how it ends."""

import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import make_run

from ganvas.errors import GanvasError
from ganvas.studio import server


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    make_run(tmp_path / "runs", "a", lines=5)
    return tmp_path / "runs"


def start(*arguments: object, folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ganvas", "studio", *map(str, arguments), "--no-open"]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def read_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, process.communicate()
    return found[0]


@pytest.mark.slow
def test_two_studios_on_one_folder_start_small_and_end_cleanly_with_streams_open(runs: Path) -> None:
    both = [start(folder=runs.parent) for _ in range(2)]
    said: list[str] = []
    try:
        addresses = [read_address(process).partition("?")[0] for process in both]
        assert len(set(addresses)) == 2
        for process, base, number in zip(both, addresses, (signal.SIGINT, signal.SIGTERM), strict=True):
            said.append(end_with_a_stream_open(process, base, number))
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert any("is taken: this studio is on port" in text for text in said)
    assert all(text.endswith("ganvas: the studio has ended\n") for text in said)
    assert all(text.count("\n") <= 2 for text in said)


def end_with_a_stream_open(process: subprocess.Popen[str], base: str, number: int) -> str:
    """Ends a studio by a signal while it has two connections, and returns what it has printed as errors."""
    with urllib.request.urlopen(f"{base}api/runs/stream") as stream, urllib.request.urlopen(f"{base}api/runs") as reply:
        assert len(json.load(reply)["runs"]) == 1
        assert b"retry" in stream.readline()
        with suppress(FileNotFoundError):  # Linux
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"VmRSS:\s+(\d+) kB", status)
            assert found
            assert int(found[1]) < 60_000
            mapped = Path(f"/proc/{process.pid}/maps").read_text()
            assert "libtorch" not in mapped
            assert "numpy" not in mapped
        began = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 5
    return err


@pytest.mark.slow
def test_answers_are_sent_at_once(runs: Path) -> None:
    process = start(folder=runs.parent)
    try:
        connection = http.client.HTTPConnection(urlsplit(read_address(process)).netloc)
        seconds = []
        for _ in range(60):
            began = time.monotonic()
            connection.request("GET", "/api/session")
            assert connection.getresponse().read()
            seconds.append(time.monotonic() - began)
        connection.close()
    finally:
        process.kill()
        process.communicate()
    assert statistics.median(seconds) < 0.03, "TCP holds small packets back for 40 ms unless it is told not to"


def test_a_taken_port_is_said_to_be(runs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GanvasError, match=f"Port {port} is taken by another program") as caught:
            server.serve([runs], port=port, open=False)
        assert "leave --port out" in caught.value.fix


def test_the_next_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(server, "PORT", port)
        with server._bind("127.0.0.1", None) as found:
            assert port < found.getsockname()[1] < port + server.PORTS_TRIED
        monkeypatch.setattr(server, "PORTS_TRIED", 1)
        with pytest.raises(GanvasError, match="are all taken"):
            server._bind("127.0.0.1", None)


def test_without_the_extra_the_command_names_it(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(GanvasError, match=re.escape("pip install 'ganvas[studio]'")):
        server.serve([runs])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"host": "192.0.2.1"}, "no address of this machine"),
        ({"host": "nosuch.invalid"}, "no address of this machine"),
        ({"host": ""}, "no address of this machine"), ({"host": 3}, "host is 3"), ({"port": 65536}, "port is 65536"),
        ({"port": -1}, "port is -1"), ({"trainings": 0}, "trainings is 0"), ({"folders": []}, "No folder"),
        ({"folders": 7}, "folders are int"), ({"folders": ["file"]}, "file is no folder"),
        ({"folders": ["a\0b"]}, "not a path"),
        ({"data": ["nosuch"]}, "There is no folder nosuch"), ({"data": ["file"]}, "file is no folder"),
        ({"open": 1}, "open is 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused(arguments: dict[str, Any], message: str) -> None:
    Path("file").touch()
    with pytest.raises(GanvasError, match=message):
        server.serve(**{"open": False, "port": 0} | arguments)


def test_a_browser_is_opened_only_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    import webbrowser

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    server._open("x")
    monkeypatch.setenv("DISPLAY", ":0")
    server._open("y")
    assert opened == ["y"]


def test_the_server_needs_neither_pytorch_nor_numpy() -> None:
    code = "import sys, ganvas.studio.listening, ganvas.studio.app; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
