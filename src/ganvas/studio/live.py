"""Work whose pictures are shown as they are made, and that can be stopped: a search, a walk, a style transfer."""

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ganvas.errors import GanvasError
from ganvas.studio.answers import Refusal, answer, count, describe, parameter, read_object, to_text
from ganvas.studio.worker import Worker

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

MAX_RUNNING, MAX_KEPT = 2, 6
"""Works at a time, and how many are kept with their pictures."""

MAX_FRAMES, MAX_BYTES = 160, 96 * 10**6
"""Pictures of one work that are kept: of more, every second one is let go, but the first and the last."""

MAX_ENDED_BYTES = 64 * 10**6
"""Pictures of all works that have ended: of the oldest ones those between the first and the last are let go."""

STOP_SECONDS = 30.0
"""Time that a work has to end once it was asked to; then its process is ended."""

HEARTBEAT_SECONDS = 15.0


@dataclass(eq=False)
class Live:
    """One work.

    Attributes:
        kind: search, walk or style.
        of: the generator it is of, as a page names it; "" for a style transfer.
        command: the command that does the same.
        facts: what it said last: how far it is.
        frames: number and PNG of the pictures that are kept.
        found: what it has said that stays, such as the place of a photo.
        result: what it returned.
        describe: makes the command of the result, where that is known at the end only.
    """

    kind: str
    command: str
    of: str = ""
    worker: Worker = field(default_factory=lambda: Worker(threads=None), repr=False)
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    began: float = field(default_factory=time.time)
    state: Literal["running", "done", "stopped", "failed"] = "running"
    stopping: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    frames: dict[int, bytes] = field(default_factory=dict, repr=False)
    found: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    error: dict[str, str] | None = None
    describe: Callable[[Mapping[str, Any]], str] | None = field(default=None, repr=False)
    task: "asyncio.Task[None] | None" = field(default=None, repr=False)
    listeners: set[asyncio.Event] = field(default_factory=set, repr=False)
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a page shows it."""
        return {
            "id": self.id, "kind": self.kind, "of": self.of, "command": self.command, "state": self.state,
            "stopping": self.stopping, "facts": self.facts, "frames": list(self.frames), "found": self.found,
            "result": self.result, "error": self.error, "began": self.began,
        }  # fmt: skip

    def hear(self, event: Mapping[str, Any]) -> None:
        """Takes what the child says: `png` a picture, `found` what stays, the rest how far it is."""
        told = dict(event)
        if png := told.pop("png", None):
            self._keep(base64.b64decode(png))
            told["frame"] = self.count
        self.found |= told.pop("found", {})
        self.facts = self.facts | told
        self.wake()

    @property
    def size(self) -> int:
        """What its pictures take."""
        return sum(map(len, self.frames.values()))

    def thin(self) -> bool:
        """Lets every second picture go, but the first and the last. Returns whether there was one."""
        between = list(self.frames)[1:-1:2]
        for number in between:
            del self.frames[number]
        return bool(between)

    def _keep(self, png: bytes) -> None:
        self.count += 1
        self.frames[self.count] = png
        while len(self.frames) > 3 and (len(self.frames) > MAX_FRAMES or self.size > MAX_BYTES):
            self.thin()

    def wake(self) -> None:
        """Tells the streams that something is new."""
        for woken in list(self.listeners):
            woken.set()


class Lives:
    """The works of this studio.

    The process of a work that has ended is kept for the next one, which then begins at once: PyTorch is there.
    """

    def __init__(self) -> None:
        self._lives: dict[str, Live] = {}
        self._spare: Worker | None = None
        self._closed = False

    def start(self, live: Live, call: str, limit: float, **arguments: Any) -> Live:
        """Starts a work in a process that does nothing else; called in the event loop.

        Raises:
            Refusal: MAX_RUNNING go on already.
        """
        running = [one for one in self._lives.values() if one.state == "running"]
        if len(running) >= MAX_RUNNING:
            names = " and ".join(f"a {one.kind}" for one in running)
            raise Refusal(409, f"{MAX_RUNNING} works go on already: {names}.", fix="stop one of them, or wait for it.")
        self._lives[live.id] = live
        if self._spare is not None:
            live.worker, self._spare = self._spare, None
        live.task = asyncio.get_running_loop().create_task(self._work(live, call, limit, arguments))
        for old in self._ended()[: max(0, len(self._lives) - MAX_KEPT)]:
            del self._lives[old.id]
        return live

    def _ended(self) -> list[Live]:
        """Those that have ended, the oldest first."""
        return [one for one in self._lives.values() if one.state != "running"]

    def _let_go(self) -> None:
        """Bounds the pictures of all that have ended: thins the oldest ones, then removes them but the newest."""
        ended = self._ended()
        for old in ended:
            while sum(one.size for one in ended) > MAX_ENDED_BYTES and old.thin():
                pass
        for old in ended[:-1]:
            if sum(one.size for one in self._ended()) <= MAX_ENDED_BYTES:
                return
            del self._lives[old.id]

    async def _work(self, live: Live, call: str, limit: float, arguments: dict[str, Any]) -> None:
        try:
            live.result = await live.worker.call(call, limit, live.hear, **arguments)
            live.command = live.describe(live.result) if live.describe else live.command
            live.state = "stopped" if live.stopping else "done"
        except GanvasError as error:
            live.error = None if live.stopping else describe(error)
            live.state = "stopped" if live.stopping else "failed"
        except asyncio.CancelledError:
            live.state = "stopped"
        finally:
            self._let_go()
            if self._spare is None and not self._closed:
                self._spare = live.worker
            else:
                await live.worker.close()
            live.wake()

    def find(self, name: str) -> Live:
        """The work of that id.

        Raises:
            Refusal: there is none any more.
        """
        if name not in self._lives:
            raise Refusal(404, "This work is not here any more.", fix="start it again.", field="id")
        return self._lives[name]

    def stop(self, live: Live) -> None:
        """Asks a work to end with what it has."""
        if live.state != "running" or live.stopping:
            return
        live.stopping = True
        live.worker.stop()
        assert live.task is not None
        asyncio.get_running_loop().call_later(STOP_SECONDS, live.task.cancel)
        live.wake()

    def to_json(self) -> list[dict[str, Any]]:
        """All of them, the newest first."""
        return [live.to_json() for live in reversed(self._lives.values())]

    async def close(self) -> None:
        """Ends them."""
        self._closed = True
        for live in self._lives.values():
            if live.task is not None:
                live.task.cancel()
            await live.worker.close()
        if self._spare is not None:
            await self._spare.close()


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""

    async def list_all(request: Request) -> Response:
        return answer({"works": studio.lives.to_json()})

    async def send_frame(request: Request) -> Response:
        live, number = studio.lives.find(parameter(request, "id")), count(request, "n", None)
        if (png := live.frames.get(number or 0)) is None:
            raise Refusal(404, "This picture is not kept any more.", field="n")
        headers = {"Cache-Control": "private, max-age=3600, immutable"}
        return Response(png, headers=headers, media_type="image/png")

    async def stop(request: Request) -> Response:
        body = await read_object(request)
        live = studio.lives.find(str(body.get("id")))
        studio.lives.stop(live)
        return answer(live.to_json())

    async def follow(request: Request) -> Response:
        live = studio.lives.find(parameter(request, "id"))
        studio.poller.check_room()
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(_events(studio, live), headers=headers, media_type="text/event-stream")

    return [
        Route("/api/live", list_all),
        Route("/api/live/frame", send_frame),
        Route("/api/live/stream", follow),
        Route("/api/live/stop", stop, methods=["POST"]),
    ]


async def _events(studio: "Studio", live: Live) -> AsyncIterator[bytes]:
    """The state of a work whenever it is another one, until it has ended."""
    with studio.poller.listen() as woken:  # which ends with the server
        live.listeners.add(woken)
        sent, spoken = "", time.monotonic()
        try:
            while not studio.poller.closed:
                text = to_text(live.to_json())
                if text != sent:
                    sent, spoken = text, time.monotonic()
                    yield f"event: work\ndata: {text}\n\n".encode()
                elif time.monotonic() - spoken > HEARTBEAT_SECONDS:
                    spoken = time.monotonic()
                    yield b": alive\n\n"
                if live.state != "running":
                    return
                await woken.wait()
                woken.clear()
        finally:
            live.listeners.discard(woken)
