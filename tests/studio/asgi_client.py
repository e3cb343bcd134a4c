"""Requests to the studio's application without a server: ASGI messages in, ASGI messages out."""

import asyncio
import json
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.types import ASGIApp

from ganvas.studio.worker import Worker


@dataclass(frozen=True)
class Answer:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        return self.json["error"]


class Client:
    """One event loop for all requests, as in a server."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.app, self.loop = app, loop or asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def get(self, address: str, **headers: str) -> Answer:
        return self.run(self.send("GET", address, [], headers))

    def post(self, address: str, body: Any = None, **headers: str) -> Answer:
        return self.run(self.send("POST", address, [json.dumps(body or {}).encode()], headers))

    def put(self, address: str, chunks: Iterable[bytes], **headers: str) -> Answer:
        return self.run(self.send("PUT", address, chunks, headers))

    def delete(self, address: str, **headers: str) -> Answer:
        return self.run(self.send("DELETE", address, [], headers))

    async def send(
        self,
        method: str,
        address: str,
        chunks: Iterable[bytes] = (),
        headers: dict[str, str] | None = None,
        disconnect_after: float | None = None,
    ) -> Answer:
        """One request; the client goes away after its body, or after so many seconds."""
        parts = urlsplit(address)
        messages = ({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks)
        ended = False

        async def receive() -> dict[str, Any]:
            nonlocal ended
            if (message := next(messages, None)) is not None:
                return message
            if not ended and disconnect_after != 0:
                ended = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await asyncio.sleep(disconnect_after if disconnect_after is not None else 3600)
            return {"type": "http.disconnect"}

        status, found, body = 0, {}, b""

        async def send(message: Any) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
                found.update({name.decode(): value.decode() for name, value in message["headers"]})
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")

        given = {"host": "127.0.0.1:8765", **{name.replace("_", "-"): value for name, value in (headers or {}).items()}}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": parts.path, "raw_path": parts.path.encode(), "query_string": parts.query.encode(),
            "root_path": "", "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "may_write": True, "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", 8765),
        }  # fmt: skip
        await self.app(scope, receive, send)
        return Answer(status, found, body)


def never_answer(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Lets the calls of a worker wait for a minute; the list has an entry for each that was cancelled."""
    cancelled = []

    async def wait(*_: Any, **__: Any) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    monkeypatch.setattr(worker, "call", wait)
    return cancelled
