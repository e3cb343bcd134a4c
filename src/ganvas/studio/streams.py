"""Server-sent events: changes in the list of runs, and what a run writes while it trains."""

import asyncio
import re
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ganvas.errors import GanvasError
from ganvas.reading import parse_json
from ganvas.runs.folder import Run
from ganvas.runs.names import numbered
from ganvas.studio.answers import Refusal, parameter, to_text
from ganvas.studio.curves import Columns
from ganvas.studio.detail import LOGS, position
from ganvas.studio.files import file_url
from ganvas.studio.tail import Tail, end_of_lines

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

POLL_SECONDS = 0.25
"""Between two looks at the files."""

HEARTBEAT_SECONDS = 15.0
"""Without an event, a comment tells both sides that the connection is alive."""

MAX_STREAMS = 64
"""Most streams at a time."""

MAX_LINES = 1000
"""Most lines in one event; later ones follow in the next."""


MAX_BEHIND = 2**23
"""Bytes of stats.jsonl that a stream makes up for; of more the page reads the curves anew."""


class Poller:
    """Looks at the files for all streams together, as long as there is one.

    Attributes:
        closed: the server ends, and every stream does.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        self.closed = False
        self._look = look
        self._listeners: set[asyncio.Event] = set()
        self._task: asyncio.Task[None] | None = None

    def check_room(self) -> None:
        """Refuses another stream where there are MAX_STREAMS.

        Raises:
            Refusal: there are.
        """
        if len(self._listeners) >= MAX_STREAMS:
            raise Refusal(429, f"{MAX_STREAMS} pages are open already.", fix="close some of them.")

    @contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """An event that is set after each look."""
        woken = asyncio.Event()
        self._listeners.add(woken)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        try:
            yield woken
        finally:
            self._listeners.discard(woken)

    def close(self) -> None:
        """Ends every stream."""
        self.closed = True
        for woken in list(self._listeners):
            woken.set()

    async def _poll(self) -> None:
        while self._listeners and not self.closed:
            try:
                await run_in_threadpool(self._look)
            except Exception:  # a bug in one look must not end all streams
                traceback.print_exc(file=sys.stderr)
            for woken in self._listeners:
                woken.set()
            await asyncio.sleep(POLL_SECONDS)


def _event(name: str, data: Any, identity: str = "") -> bytes:
    """One event; JSON in ASCII has no line break in it."""
    return (f"id: {identity}\n" if identity else "").encode() + f"event: {name}\ndata: {to_text(data)}\n\n".encode()


async def _respond(poller: Poller, news: Callable[[], list[bytes]]) -> Response:
    """A stream of what `news` finds, which is called in a thread after each look.

    Raises:
        GanvasError: of the first news, before the stream begins.
    """
    poller.check_room()
    first = await run_in_threadpool(news)

    async def generate() -> AsyncIterator[bytes]:
        with poller.listen() as woken:
            yield b"retry: 1000\n\n" + b"".join(first)
            spoken = time.monotonic()
            while True:
                await woken.wait()
                woken.clear()
                if poller.closed:
                    return
                found: list[bytes] = []
                with suppress(GanvasError, OSError):  # the run is just being removed
                    found = await run_in_threadpool(news)
                if not found and time.monotonic() - spoken > HEARTBEAT_SECONDS:
                    found = [b": alive\n\n"]
                if found:
                    spoken = time.monotonic()
                    yield b"".join(found)

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(generate(), headers=headers, media_type="text/event-stream")


class _Jobs:
    """The jobs, when they are others than before."""

    def __init__(self, studio: "Studio") -> None:
        self._studio, self._sent = studio, "[]"

    def news(self) -> list[bytes]:
        text = self._studio.jobs_text
        if text == self._sent:
            return []
        self._sent = text
        return [f'event: jobs\ndata: {{"jobs":{text}}}\n\n'.encode()]


class _ListNews:
    """What has changed in the list of runs since a version of this start of the server, or at all."""

    def __init__(self, studio: "Studio", after: str) -> None:
        start, _, version = after.partition("-")
        same = start == studio.runs.start and version.isdigit() and len(version) < 16
        self._studio, self._version = studio, int(version) if same else 0
        self._jobs = _Jobs(studio)

    def news(self) -> list[bytes]:
        cards, removed, version = self._studio.runs.since(self._version)
        jobs = self._jobs.news()
        if version == self._version:
            return jobs
        self._version = version
        changed = [self._studio.with_job(card) for card in cards]
        identity = f"{self._studio.runs.start}-{version}"
        return [_event("runs", {"changed": changed, "removed": removed}, identity), *jobs]


class _RunNews:
    """What a run has written since a position (`detail.position`), or its end; the first news has its card.

    Of a position that is a number alone, it is that of stats.jsonl, and the rest is followed from its end on. Where the
    log has another checksum there, another run has taken the place of this one: its page was hidden meanwhile.
    """

    def __init__(self, studio: "Studio", key: str, after: str) -> None:
        self._studio, self._key, self._jobs = studio, key, _Jobs(studio)
        self._path = studio.runs.find(key)
        self._uploaded = studio.folders.is_uploaded(self._path)
        self._follow_from(after)
        self._urls: dict[int, str | None] = {}
        self._card: dict[str, Any] = {}
        self._changes = -1
        self._gone = False

    def _follow_from(self, after: str) -> None:
        given = after.split("-") if re.fullmatch(r"[0-9]{1,15}(-[0-9]{1,15}){0,4}", after) else []
        here = [int(text) for text in (*given, *position(self._path).split("-")[len(given) :])]
        *ends, self._newest, checksum = here
        known = (checksum if len(given) in (0, len(here)) else None, None, None)  # else it is that of another place
        self._stats, self._events, self._metrics = (
            Tail(self._path / name, end, checked) for name, end, checked in zip(LOGS, ends, known, strict=True)
        )

    def news(self) -> list[bytes]:
        jobs, seen = self._jobs.news(), self._studio.runs.peek(self._key)
        if seen is None and (self._changes < 0 or (self._uploaded and self._path.is_dir())):  # nobody looks at it
            if self._card:  # what was uploaded is not written to
                return jobs
            seen = self._studio.runs.card(self._key), max(self._changes, 0)
        if seen is None:
            told, self._gone, self._card = self._gone, True, {}
            return jobs if told else [*jobs, _event("gone", {})]
        card, changes = self._studio.with_job(seen[0]), seen[1]
        found = jobs
        if self._gone:  # it is there again, and may be another one: the page reads it all
            self._gone = False
            self._follow_from(position(self._path))
            found.append(_event("reset", {}, self._identity()))
        if changes != self._changes:
            first, self._changes = self._changes < 0, changes
            found += [*self._lines(), *self._grids(first)]
            found += [*self._logged(self._events, "event"), *self._logged(self._metrics, "evaluation")]
        if card != self._card:
            self._card = card
            found.append(_event("card", card))
        return found

    def _identity(self) -> str:
        offsets = (tail.offset for tail in (self._stats, self._events, self._metrics))
        return "-".join(map(str, (*offsets, self._newest, self._stats.checksum)))

    def _lines(self) -> Iterator[bytes]:
        """The new lines; if stats.jsonl is another file than before, that it is, and its lines are read by the page."""
        if self._stats.behind() > MAX_BEHIND:
            self._stats = Tail(self._stats.path, end_of_lines(self._stats.path))
            yield _event("reset", {}, self._identity())
            return
        columns = Columns(self._path / "stats.jsonl", self._stats)
        columns.read_on()
        if self._stats.replaced:
            yield _event("reset", {}, self._identity())
            return
        for begin in range(0, len(columns.nimg), MAX_LINES):
            part = columns.part(begin, min(begin + MAX_LINES, len(columns.nimg)))
            last = begin + MAX_LINES >= len(columns.nimg)
            yield _event("lines", part, self._identity() if last else "")

    def _logged(self, tail: Tail, name: str) -> Iterator[bytes]:
        lines = [line for line, _ in tail.read()]
        if tail.replaced:  # as by a training that goes on: the page reads it all
            yield _event("reset", {}, self._identity())
            return
        for line in lines:
            with suppress(ValueError):
                value = parse_json(line or b"")
                if isinstance(value, dict):
                    yield _event(name, value, self._identity())

    def _grids(self, first: bool) -> Iterator[bytes]:
        """The grids that were made or written again since the last look, at the first one those that are newer."""
        urls = {nimg: file_url(self._key, grid) for nimg, grid in numbered(Run(self._path).grids)}
        for nimg, url in urls.items():
            if url and (nimg > self._newest if first else url != self._urls.get(nimg)):
                self._newest = nimg
                yield _event("grid", {"nimg": nimg, "url": url}, self._identity())
        self._urls = urls


def routes(studio: "Studio") -> list[Route]:
    """/api/runs/stream and /api/run/stream."""

    async def follow_list(request: Request) -> Response:
        return await _respond(studio.poller, _ListNews(studio, _after(request)).news)

    async def follow_run(request: Request) -> Response:
        key = parameter(request, "run")
        news = await run_in_threadpool(lambda: _RunNews(studio, key, _after(request)))
        return await _respond(studio.poller, news.news)

    return [Route("/api/runs/stream", follow_list), Route("/api/run/stream", follow_run)]


def _after(request: Request) -> str:
    """Where a stream goes on: the newest id that the browser has, or what the address says."""
    return request.headers.get("last-event-id") or parameter(request, "after", "")
