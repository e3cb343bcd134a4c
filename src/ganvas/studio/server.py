"""The server: binds a port, prints the address, opens the browser, and ends cleanly at Ctrl-C."""

import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from ganvas.studio.app import Studio, create_app
from ganvas.studio.folders import Folders


def serve(
    folders: Sequence[Path | str] = ("runs",),
    *,
    port: int | None = None,
    host: str = "127.0.0.1",
    open: bool = True,
    trainings: int = 1,
    data: Sequence[Path | str] = (),
) -> None:
    """Serves the studio until Ctrl-C.

    Args:
        folders: folders with runs.
        port: where it listens; by default 8765, or the next one that is free.
        host: the address it listens on.
        open: whether to open the page in the browser.
        trainings: how many trainings the page may start at a time.
        data: other folders from which data may be read.
    """
    chosen = 8765 if port is None else port
    studio = Studio(
        Folders([Path(folder) for folder in folders]),
        tuple(Path(one).resolve() for one in data),
        host,
        chosen,
        trainings,
    )
    print(f"http://{host}:{chosen}/?token={studio.token}", file=sys.stderr)
    uvicorn.run(create_app(studio), host=host, port=chosen, log_config=None)
