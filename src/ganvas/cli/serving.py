"""`ganvas studio`: the runs in the browser."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg


def studio(
    folders: Annotated[Positional[tuple[Path, ...]], arg(metavar="FOLDER …", help_behavior_hint="")] = (Path("runs"),),
    port: int | None = None,
    host: str = "127.0.0.1",
    open: bool = True,
    trainings: int = 1,
    data: Annotated[tuple[Path, ...], arg(help_behavior_hint="")] = (),
) -> None:
    """Watch runs in the browser while they train, start others, check data and diagnose logs. Ctrl-C ends it.

    Args:
        folders: Folders of runs.
        port: Where the page is served; by default 8765, or the next one that is free.
        host: The address to serve on. On any other than this machine's own, even reading needs the token.
        open: Open the page in the browser.
        trainings: How many trainings the page may start at a time.
        data: Other folders from which the page may read data.
    """
    from ganvas.studio.server import serve

    serve(folders, port=port, host=host, open=open, trainings=trainings, data=data)
