"""The web application: the table of routes, errors as JSON, the static files."""

import hmac
import mimetypes
import platform
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from ganvas.errors import GanvasError
from ganvas.studio import (
    comparisons,
    curves,
    data,
    detail,
    diagnosis,
    explore,
    files,
    lab,
    live,
    pictures,
    quiz,
    runs,
    streams,
    styling,
    training,
    uploads,
)
from ganvas.studio.answers import Refusal, answer, refuse, to_text
from ganvas.studio.curves import Curves
from ganvas.studio.folders import Folders
from ganvas.studio.jobs import Jobs
from ganvas.studio.lab import Games
from ganvas.studio.latest import Latest
from ganvas.studio.live import Lives
from ganvas.studio.pages import STATIC, html_of, page_modules
from ganvas.studio.peers import is_of_another_user
from ganvas.studio.places import DOWNLOADED, INCLUDED
from ganvas.studio.runs import Card, Runs
from ganvas.studio.security import Guard
from ganvas.studio.streams import Poller
from ganvas.studio.uploads import Uploads
from ganvas.studio.worker import Worker
from ganvas.version import __version__

PARTS = (
    runs,
    detail,
    files,
    curves,
    streams,
    training,
    uploads,
    data,
    diagnosis,
    live,
    pictures,
    explore,
    styling,
    lab,
    quiz,
    comparisons,
)
"""Modules with routes."""

TICKET_SECONDS = 120.0
"""Time that a browser has to start."""

EXPLORER_SECONDS = 600.0
"""Time without a request after which generators are no longer kept in memory."""

EXPLORER_GRACE_SECONDS = 30.0
"""Time that work for a page that has gone may still take; then its process is ended, with all generators in memory."""

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
        poller: looks at the files for the streams.
        jobs: commands that were started; jobs_text: how far they are, as JSON, as the poller saw it last.
        uploads: what pages have sent.
        games: those of the lab.
        worker, inspector: processes for what needs NumPy or PyTorch, for short and for long work.
        explorer: the process that keeps generators in memory; `latest` gives it the newest requests only.
        lives: work whose pictures are shown as they are made.
    """

    folders: Folders
    data_folders: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8765
    trainings: int = 1
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def __post_init__(self) -> None:
        self.runs, self.curves = Runs(self.folders), Curves()
        self.poller = Poller(self.look)
        self.jobs, self.jobs_text = Jobs(self.folders.key), "[]"
        self.uploads = Uploads(self.folders.uploads)
        self.worker, self.inspector = Worker(), Worker()
        self.explorer = Worker(threads=None, idle=EXPLORER_SECONDS, grace=EXPLORER_GRACE_SECONDS)
        self.latest, self.lives = Latest(), Lives()
        self.games = Games()
        self._tickets: dict[str, float] = {}

    def look(self) -> None:
        """Looks at the runs and the jobs, for all streams."""
        self.runs.look(thrifty=True)
        self.jobs_text = to_text(self.jobs.progress())

    def with_job(self, card: Card) -> Card:
        """A card with the job that runs for it."""
        job = self.jobs.job_of(Path(card["folder"]) / card["name"])
        return card | {"job": job.id} if job else card

    def make_ticket(self) -> str:
        """A secret that stands once for the token: what opens the browser is seen by every user of the machine."""
        ticket = secrets.token_urlsafe(24)
        self._tickets[ticket] = time.monotonic() + TICKET_SECONDS
        return ticket

    def take_ticket(self, given: str, client: tuple[str, int] | None = None) -> bool:
        """Whether it is a ticket that was not used yet, nor is too old, and comes from no other user."""
        same = (one for one in self._tickets if hmac.compare_digest(one.encode(), given.encode(errors="replace")))
        if (found := next(same, None)) is None or (client and is_of_another_user(*client)):
            return False
        return time.monotonic() < self._tickets.pop(found)

    async def close(self) -> None:
        """Ends the processes that are of no use without the server; trainings go on."""
        await self.worker.close()
        await self.inspector.close()
        await self.explorer.close()
        await self.lives.close()
        await self.games.close()
        self.uploads.close()
        self.jobs.close()


def create_app(studio: Studio) -> Guard:
    """The application of a studio, behind its guard."""
    routes: list[BaseRoute] = [Route(path, _show_page) for path in page_modules()]
    routes.append(Route("/favicon.ico", _show_icon))

    async def describe(request: Request) -> Response:
        return answer(_describe(studio, request.scope["may_write"]))

    routes.append(Route("/api/session", describe))
    for module in PARTS:
        routes += module.routes(studio)
    routes.append(Mount("/static", StaticFiles(directory=STATIC)))
    handlers = {GanvasError: _refuse, HTTPException: _refuse_address, Exception: _fail}

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        await studio.close()

    return Guard(Starlette(routes=routes, exception_handlers=handlers, lifespan=life), studio)


async def _show_page(request: Request) -> Response:
    return HTMLResponse(html_of(request.url.path))


async def _show_icon(request: Request) -> Response:
    return FileResponse(STATIC / "favicon.svg")


def _describe(studio: Studio, may_write: bool) -> dict[str, object]:
    return {
        "version": __version__, "folders": [str(path) for path in studio.folders.paths],
        "data_folders": [str(path) for path in studio.data_folders], "may_write": may_write, "token_needed": True,
        "trainings": studio.trainings, "python": platform.python_version(),
        "data_sets": [{"name": name, "download": DOWNLOADED.get(name, 0)} for name in (*INCLUDED, *DOWNLOADED)],
    }  # fmt: skip


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, GanvasError)
    return refuse(error)


async def _refuse_address(request: Request, error: Exception) -> Response:
    """Addresses that do not exist, and methods that one does not take; a browser gets the page that says so."""
    assert isinstance(error, HTTPException)
    is_page = error.status_code == 404 and not request.url.path.startswith(("/api/", "/static/"))
    if is_page and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(html_of("/"), 404)
    return refuse(Refusal(error.status_code, f"{request.method} {request.url.path[:200]}: {error.detail}."))


async def _fail(request: Request, error: Exception) -> Response:
    """A bug: the guard prints it."""
    what = f"The server has failed: {type(error).__name__}."
    return refuse(Refusal(500, what, fix="this is a bug of Ganvas: please report it with what the terminal shows."))
