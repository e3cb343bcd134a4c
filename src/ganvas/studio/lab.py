"""Endpoints of the lab: the knobs, and games on points, each in a process of its own that ends with its page."""

import asyncio
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.plane.settings import KNOBS, MAX_POINTS, PRESETS, REMEDIES, parse_settings
from ganvas.studio.answers import Refusal, answer, read_object
from ganvas.studio.worker import Worker, while_connected
from ganvas.values import to_text, to_whole

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

MAX_GAMES = 4
"""Games at a time: the one that was not played for the longest time makes place for another."""

MAX_ROUNDS = 100
"""Rounds in one request."""

IDLE_SECONDS = 90.0
"""A game that no page has asked about for so long is ended; a page that is open asks more often."""

LOOK_SECONDS = 5.0
"""How often idle games are looked for."""

BEGIN_SECONDS, PLAY_SECONDS = 60.0, 30.0
"""Time that a request may take."""


class Games:
    """The games that are played, each by a worker; the pages ask for each frame, so that none is drawn in vain.

    The worker of a game that has ended is kept for the next one, which then begins at once: PyTorch is there.
    """

    def __init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self._spare: Worker | None = None
        self._seen: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._workers)

    async def begin(self, knobs: dict[str, Any]) -> tuple[str, Any]:
        """(id, first frame) of a new game."""
        if len(self._workers) >= MAX_GAMES:
            await self.end(min(self._seen, key=self._seen.__getitem__))
        name = secrets.token_hex(8)
        worker, self._spare = self._spare or Worker(), None
        self._workers[name], self._seen[name] = worker, time.monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._end_idle())
        try:
            return name, await worker.call("lab_work.begin", BEGIN_SECONDS, knobs=knobs)
        except BaseException:
            await self.end(name)
            raise

    async def call(self, name: str, function: str, limit: float, **arguments: Any) -> Any:
        """What a function of `ganvas.studio.lab_work` returns for a game.

        Raises:
            Refusal: the game has ended.
        """
        if name not in self._workers:
            raise Refusal(404, "This game has ended.", fix="reset it.", field="game")
        self._seen[name] = time.monotonic()
        try:
            return await self._workers[name].call(f"lab_work.{function}", limit, **arguments)
        except (Refusal, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if name in self._workers or (task and task.cancelling()):
                raise
            raise Refusal(404, "This game has ended.", fix="reset it.", field="game") from error

    async def end(self, name: str) -> None:
        """Ends a game, if it is played."""
        self._seen.pop(name, None)
        if worker := self._workers.pop(name, None):
            if self._spare is None and not worker.is_busy:
                self._spare = worker
            else:
                await worker.close()

    async def close(self) -> None:
        """Ends all of them."""
        if self._task is not None:
            self._task.cancel()
        for name in list(self._workers):
            await self.end(name)
        if self._spare is not None:
            await self._spare.close()

    async def _end_idle(self) -> None:
        while self._workers:
            await asyncio.sleep(LOOK_SECONDS)
            for name in [name for name, seen in self._seen.items() if time.monotonic() - seen > IDLE_SECONDS]:
                await self.end(name)


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    posts = {"begin": _begin, "play": _play, "end": _end}
    return [
        Route("/api/lab", _describe),
        *(Route(f"/api/lab/{name}", partial(act, studio), methods=["POST"]) for name, act in posts.items()),
    ]


async def _describe(request: Request) -> Response:
    knobs = [
        {
            "name": name, "default": knob.default, "least": knob.least, "most": knob.most,
            "choices": list(knob.choices), "whole": isinstance(knob.default, int), "restarts": knob.restarts,
        }
        for name, knob in KNOBS.items()
    ]  # fmt: skip
    return answer(
        {"knobs": knobs, "presets": PRESETS, "remedies": REMEDIES, "max_points": MAX_POINTS, "max_rounds": MAX_ROUNDS}
    )


def _knobs(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("knobs", {})
    if not isinstance(given, dict):
        raise Refusal(400, "The knobs of the request are no object.", expected="{name: value}", field="knobs")
    return parse_settings(given)


def _game(body: dict[str, Any]) -> str:
    return to_text(body.get("game"), "game", "the id of a game")


async def _begin(studio: "Studio", request: Request) -> Response:
    """A new game; or a game anew, in the process that it has."""
    body = await read_object(request)
    knobs = _knobs(body)
    if body.get("game") is not None:
        name = _game(body)
        frame = await while_connected(request, studio.games.call(name, "begin", BEGIN_SECONDS, knobs=knobs))
    else:
        name, frame = await while_connected(request, studio.games.begin(knobs))
    return answer({"game": name, **frame})


async def _play(studio: "Studio", request: Request) -> Response:
    """Plays some rounds; of 0 rounds the game is only kept."""
    body = await read_object(request)
    rounds = to_whole(body.get("rounds", 1), "rounds", most=MAX_ROUNDS)
    probed = to_whole(body.get("probed", 0), "probed")
    arguments = {"knobs": _knobs(body), "rounds": rounds, "probed": probed}
    return answer(await while_connected(request, studio.games.call(_game(body), "play", PLAY_SECONDS, **arguments)))


async def _end(studio: "Studio", request: Request) -> Response:
    await studio.games.end(_game(await read_object(request)))
    return answer({})
