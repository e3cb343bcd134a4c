"""Of requests that replace each other, as while something is dragged, only the newest is worked on."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

MAX_CHANNELS = 256


class Superseded(Exception):
    """A newer request has come while this one waited."""


class Latest:
    """Lets one request work at a time, and drops those that waited while a newer one of their channel came."""

    def __init__(self) -> None:
        self._turn, self._count = asyncio.Lock(), 0
        self._newest: OrderedDict[str, int] = OrderedDict()

    async def run(self, channel: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What `work` returns, once it is its turn.

        Args:
            channel: of requests that replace each other; empty: this one is never dropped.
            work: called where there is no newer one.

        Raises:
            Superseded: there is a newer one.
        """
        self._count += 1
        number = self._newest[channel] = self._count
        self._newest.move_to_end(channel)
        while len(self._newest) > MAX_CHANNELS:
            self._newest.popitem(last=False)
        async with self._turn:
            if channel and self._newest.get(channel, number) != number:
                raise Superseded
            return await work()
