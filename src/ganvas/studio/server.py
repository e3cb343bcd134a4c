"""`serve`: binds a port, prints the address, opens the browser, and serves the studio until Ctrl-C."""

import errno
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ganvas.errors import GanvasError
from ganvas.files import to_path
from ganvas.values import to_flag, to_text, to_whole

PORT = 8765

PORTS_TRIED = 20
"""Ports from PORT on that are tried where none was asked for."""


def serve(
    folders: Sequence[Path | str] = (Path("runs"),),
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    open: bool = True,
    trainings: int = 1,
    data: Sequence[Path | str] = (),
) -> None:
    """Serves the studio until Ctrl-C or SIGTERM; trainings that were started from a page go on.

    Args:
        folders: folders of runs; one that is missing is made when the first run starts.
        port: where it listens; 0 is any that is free, None is 8765 or the next that is free.
        host: the address it listens on. On one that other machines reach, even reading needs the token.
        open: whether to open the page in the browser.
        trainings: how many trainings the pages may start at a time.
        data: other folders from which data may be read.

    Raises:
        GanvasError: an extra is missing, a folder is none, the port is taken, or the address is not this machine's.
        KeyboardInterrupt: it was ended.
    """
    runs = [_check_folder(folder, "a folder of runs") for folder in _several(folders, "a folder of runs")]
    others = [_check_folder(folder, "a folder with data") for folder in _several(data, "a folder with data")]
    if not runs:
        raise GanvasError("No folder of runs was named.", fix="ganvas studio runs")
    if missing := next((folder for folder in others if not folder.is_dir()), None):
        raise GanvasError(f"There is no folder {missing} here.", expected="a folder with data")
    trainings, opened = to_whole(trainings, "trainings", least=1, most=64), to_flag(open, "open")
    host = to_text(host, "host", "an address of this machine, such as 127.0.0.1")
    number = None if port is None else to_whole(port, "port", most=65535)
    _check_installed()
    from ganvas.studio.app import Studio
    from ganvas.studio.folders import Folders
    from ganvas.studio.listening import make_server

    with _bind(host, number) as listener:
        bound = listener.getsockname()[1]
        if port is None and bound != PORT:
            print(f"Port {PORT} is taken: this studio is on port {bound}.", file=sys.stderr)
        studio = Studio(Folders(runs), tuple(folder.resolve() for folder in others), host, bound, trainings)
        server = make_server(studio)
        address = f"http://{_reachable(host)}:{bound}/"
        print(f"Ganvas studio: {address}?token={studio.token}\nCtrl-C ends it; trainings go on.", flush=True)
        if opened:
            threading.Thread(target=_open, args=[f"{address}?token={studio.make_ticket()}"], daemon=True).start()
        server.run(sockets=[listener])
    if server.interrupted:
        raise KeyboardInterrupt("the studio has ended")


def _check_installed() -> None:
    """Refuses where the extra is missing.

    Raises:
        GanvasError: it is.
    """
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise GanvasError(
            f"The studio needs Starlette and uvicorn, which are not installed ({error}).",
            fix="pip install 'ganvas[studio]'",
        ) from None
    del starlette, uvicorn


def _several(folders: object, expected: str) -> Sequence[Path | str]:
    """The folders; a single one is one of them."""
    if isinstance(folders, str | os.PathLike):
        return [to_path(folders, expected)]
    if not isinstance(folders, Sequence):
        raise GanvasError(f"The folders are {type(folders).__name__}.", expected=f"{expected}, or several")
    return folders


def _check_folder(folder: object, expected: str) -> Path:
    """The folder, which may be missing, but is not a file.

    Raises:
        GanvasError: it is a file, or no path.
    """
    path = to_path(folder, expected)
    try:
        if path.is_dir() or not os.path.lexists(path):
            return path
    except OSError as error:
        raise GanvasError(f"{path} cannot be read ({error.strerror}).", expected=expected) from error
    raise GanvasError(f"{path} is no folder.", expected=expected)


def _bind(host: str, port: int | None) -> socket.socket:
    """A socket that listens: on this port, or on the first of a few that is free.

    Raises:
        GanvasError: the port is taken, or the address is not this machine's.
    """
    try:
        if not host:  # which would be all of them
            raise OSError("it is empty")
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _wrong_host(host, str(getattr(error, "strerror", None) or error)) from None
    family, _, _, _, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    ports = range(PORT, PORT + PORTS_TRIED) if port is None else [port]
    for number in ports:
        # asyncio sends without delay only where the protocol is named: otherwise each answer waits 40 ms
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            if os.name != "nt":  # there it would take the port of another program
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((place[0], number, *place[2:]))
            listener.listen(128)
            return listener
        except OSError as error:
            listener.close()
            if error.errno in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.EINVAL):
                raise _wrong_host(host, error.strerror or str(error)) from None
            if error.errno in (errno.EACCES, errno.EPERM) and port is not None:
                raise GanvasError(
                    f"This user may not listen on port {port}.", expected="--port from 1024 on", fix=f"--port {PORT}"
                ) from None
            if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
                raise GanvasError(f"Port {number} cannot be used ({error.strerror}).", fix="another --port.") from None
    if port is None:
        raise GanvasError(
            f"Ports {PORT} to {ports[-1]} are all taken.", fix="end another studio, or --port 0 for any that is free."
        )
    raise GanvasError(
        f"Port {port} is taken by another program.",
        expected="a port on which nothing listens",
        fix="leave --port out, and a free one is taken; or end the other program.",
    )


def _wrong_host(host: str, reason: str) -> GanvasError:
    return GanvasError(
        f"host {host[:200]!r} is no address of this machine ({reason}).",
        expected="127.0.0.1 for this machine alone, or one of its addresses",
    )


def _reachable(host: str) -> str:
    """The host in the address that is printed: of all addresses, this machine's name."""
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _open(address: str) -> None:
    """Opens a browser where there is a screen; one in the terminal would hide what is printed."""
    if os.name == "posix" and sys.platform != "darwin" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return
    import webbrowser

    webbrowser.open(address)
