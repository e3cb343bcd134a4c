"""The web application: the table of routes, errors as JSON, the static files."""

import mimetypes
import platform
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ganvas.errors import GanvasError
from ganvas.studio import curves, files, runs
from ganvas.studio.answers import Refusal, answer, refuse
from ganvas.studio.curves import Curves
from ganvas.studio.folders import Folders
from ganvas.studio.runs import Runs
from ganvas.version import __version__

STATIC = Path(__file__).parent / "static"

PAGES = ("/", "/run", "/data", "/diagnose")
"""Addresses of pages: index.html answers for each, and its script shows the page."""

for _suffix, _type in ((".js", "text/javascript"), (".css", "text/css"), (".svg", "image/svg+xml")):
    mimetypes.add_type(_type, _suffix)  # where the system has no table of types, or a wrong one


@dataclass
class Studio:
    """What the endpoints share.

    Attributes:
        folders: those with runs.
        data_folders: others from which data may be read; absolute.
        host, port: the address served.
        trainings: how many trainings the studio may have started at a time.
        token: the secret without which nothing is written.
        runs, curves: what was read of the runs, kept.
    """

    folders: Folders
    data_folders: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8765
    trainings: int = 1
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        self.runs = Runs(self.folders)
        self.curves = Curves()


def create_app(studio: Studio) -> Starlette:
    """The application of a studio."""
    routes: list[BaseRoute] = [Route(path, _show_page) for path in PAGES]
    routes.append(Route("/favicon.ico", _show_icon))
    routes.append(Route("/api/session", lambda request: answer(_describe(studio))))
    for module in (runs, files, curves):
        routes += module.routes(studio)
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))
    return Starlette(routes=routes, exception_handlers={GanvasError: _refuse, HTTPException: _refuse_address})


async def _show_page(request: Request) -> Response:
    page = STATIC / "index.html"
    return FileResponse(page) if page.exists() else PlainTextResponse("The studio's page is not here yet.")


async def _show_icon(request: Request) -> Response:
    return FileResponse(STATIC / "favicon.svg")


def _describe(studio: Studio) -> dict[str, object]:
    return {
        "version": __version__, "folders": [str(path) for path in studio.folders.paths],
        "data_folders": [str(path) for path in studio.data_folders], "may_write": True, "token_needed": True,
        "trainings": studio.trainings, "python": platform.python_version(),
    }  # fmt: skip


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, GanvasError)
    return refuse(error)


async def _refuse_address(request: Request, error: Exception) -> Response:
    """Addresses that do not exist, and methods that one does not take."""
    assert isinstance(error, HTTPException)
    return refuse(Refusal(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}."))
