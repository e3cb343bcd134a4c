"""uvicorn as the studio uses it: connections that wait for nothing are ended, and Ctrl-C ends all streams."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ganvas.interrupts import collect_stop_requests

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

HEADER_SECONDS = 10.0
"""Most seconds from a connection, or the end of an answer, to the end of the next request's headers."""

STALLED_SECONDS = 30.0
"""Most seconds in which a client reads nothing of an answer."""

MAX_CONNECTIONS = 256
"""Most connections at a time; others are answered with 503."""

END_SECONDS = 3.0
"""Seconds that answers have to end after Ctrl-C."""


class Connection(H11Protocol):
    """A connection that a slow client does not keep open."""

    _waiting: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_headers()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._waiting, self._stalled):
            if timer:
                timer.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._stalled or self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None

    def _expect_headers(self) -> None:
        """Starts the time for headers where no request is being answered, and ends it where one is."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self._waiting:
            self._waiting.cancel()
            self._waiting = None
        elif not answering and not self._waiting:
            self._waiting = self.loop.call_later(HEADER_SECONDS, self.transport.abort)


class Server(uvicorn.Server):
    """A server that ends at the first Ctrl-C or SIGTERM: streams at once, other answers within END_SECONDS."""

    def __init__(self, config: uvicorn.Config, studio: "Studio") -> None:
        super().__init__(config)
        self.studio = studio
        self.interrupted = False

    def end(self) -> None:
        """Ends the server soon."""
        self.interrupted = self.should_exit = True
        self.studio.poller.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with collect_stop_requests(self.end):
            yield


def make_server(studio: "Studio") -> Server:
    """The server of a studio; `run(sockets=[…])` of it returns when it has ended."""
    from ganvas.studio.app import create_app

    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):  # errors are printed by the guard
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        create_app(studio), http=Connection, ws="none", loop="asyncio", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, lifespan="on", limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=int(END_SECONDS),
    )  # fmt: skip
    return Server(config, studio)
