"""What needs NumPy is done in a child process, which is restarted when it dies, hangs or grows: lines of JSON by pipes.

python -m ganvas.studio.worker MODULE
"""

import asyncio
import importlib
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from starlette.requests import Request

from ganvas.errors import GanvasError
from ganvas.studio.answers import Refusal

MAX_ANSWER = 2**26
"""Most bytes of an answer."""

IDLE_SECONDS = 120.0
"""Time after which a child without work ends: it holds 60 MB."""

PAUSE_SECONDS = 1.0
"""Time without work after which a child gives back memory of a GPU that it does not use."""

GRACE_SECONDS = 2.0
"""Time that work may still take after the page that asked for it has gone; then the child is ended."""

MAX_WAITING = 512
"""Calls that may wait for their turn."""

MEMORY_SHARE, LOOK_SECONDS = 0.5, 0.5
"""The part of the machine's memory that a child may use, and how often it is looked at."""


class Worker:
    """A child process that does one thing after the other; it is started with the first request.

    Args:
        memory: bytes that it may use; by default MEMORY_SHARE of the machine's.
        threads: of its computations; None: as many as those of a command, so that its numbers are the same.
        idle: seconds without work after which it ends; by default IDLE_SECONDS.
        grace: seconds that work may still take after its page has gone; by default GRACE_SECONDS.
    """

    def __init__(
        self, memory: int | None = None, threads: int | None = 1, idle: float | None = None, grace: float | None = None
    ) -> None:
        self._memory, self._threads, self._idle, self._grace = memory, threads, idle, grace
        self._turn, self._waiting = asyncio.Lock(), 0
        self._process: asyncio.subprocess.Process | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[Any]] = set()

    async def call(
        self, name: str, limit: float, on_event: Callable[[Any], object] | None = None, **arguments: Any
    ) -> Any:
        """What a function of `ganvas.studio.work` returns, called in the child; "module.name" is one of another module.

        A call that is cancelled while it waits for its turn is dropped; one that runs has `grace` seconds to end.

        Args:
            name: of the function.
            limit: seconds that it may take; after that the child is ended.
            on_event: gets what the function says before it is done (`ganvas.studio.reports`).
            arguments: values of JSON.

        Raises:
            GanvasError: as the function; or too many calls wait, or it took too long, too much memory, or ended the
                process.
        """
        if self._waiting >= MAX_WAITING:
            raise Refusal(429, "Too much is being asked for at once.", fix="wait a moment.")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            task = asyncio.create_task(self._ask(name, limit, arguments, on_event))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                with suppress(Exception):
                    await asyncio.wait_for(task, self._grace or GRACE_SECONDS)
                raise
        finally:
            self._turn.release()

    @property
    def is_busy(self) -> bool:
        """Whether a call runs."""
        return self._turn.locked()

    def stop(self) -> None:
        """Asks the work that runs to end soon with what it has; work that does not look for it goes on."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b'{"stop": true}\n')

    async def close(self) -> None:
        """Ends the child."""
        for task in list(self._running):
            task.cancel()
        await self._end()

    async def _ask(
        self, name: str, limit: float, arguments: dict[str, Any], on_event: Callable[[Any], object] | None
    ) -> Any:
        if self._rest is not None:
            self._rest.cancel()
        try:
            process = await self._start()
            line = await self._exchange(process, {"call": name, "arguments": arguments}, limit, on_event)
        except BaseException:
            await self._end()
            raise
        self._rest = asyncio.get_running_loop().call_later(self._idle or IDLE_SECONDS, self._end_idle, process)
        if "error" in line:
            error = line["error"]
            raise Refusal(line["status"], error["what"], expected=error["expected"], fix=error["fix"])
        return line["value"]

    async def _start(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "ganvas.studio.worker", limit=MAX_ANSWER, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
                env=os.environ | ({} if self._threads is None else {"OMP_NUM_THREADS": str(self._threads)}),
            )  # fmt: skip
        return self._process

    async def _exchange(
        self, process: asyncio.subprocess.Process, message: Any, limit: float, on_event: Callable[[Any], object] | None
    ) -> Any:
        """Sends a line and waits for the answer.

        Raises:
            Refusal: it took too long or too much memory, or the process has ended.
        """
        assert process.stdin is not None
        assert process.stdout is not None
        watch = asyncio.create_task(self._watch_memory(process))
        try:
            with suppress(ConnectionError):  # it has ended, which the answer shows
                process.stdin.write(json.dumps(message).encode() + b"\n")
                await process.stdin.drain()
            async with asyncio.timeout(limit):
                while (line := await process.stdout.readline()).startswith(b'{"event"'):
                    if on_event is not None:
                        on_event(json.loads(line)["event"])
        except TimeoutError:
            what = f"This took longer than {limit:g} s and was ended."
            raise Refusal(500, what, fix="use the command line, which has no limit.") from None
        except ValueError:  # the line is too long
            raise Refusal(500, "The answer is too large for a page.", fix="use the command line.") from None
        finally:
            watch.cancel()
        if not line.endswith(b"\n"):
            grew = watch.done() and not watch.cancelled()
            what = "This needs too much memory and was ended." if grew else "The process that did this has ended."
            fix = "use the command line, which has no limit." if grew else "try again; if it ends again, report it."
            raise Refusal(500, what, fix=fix)
        return json.loads(line)

    async def _watch_memory(self, process: asyncio.subprocess.Process) -> None:
        """Returns after it has ended a process that uses too much; mapped files do not count."""
        import psutil  # which a page that only reads does not need

        most = self._memory or MEMORY_SHARE * psutil.virtual_memory().total
        with suppress(psutil.Error):
            child = psutil.Process(process.pid)
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                used = child.memory_info()
                if used.rss - getattr(used, "shared", 0) > most:
                    child.kill()
                    return
        await asyncio.Event().wait()

    def _end_idle(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()  # at the end of its input it ends

    async def _end(self) -> None:
        process, self._process = self._process, None
        if self._rest is not None:
            self._rest.cancel()
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def while_connected(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, which is cancelled when the page that asked for it has gone.

    Raises:
        Refusal: it has gone; nobody reads this.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Refusal(408, "The page that asked for this has gone.")
    finally:
        gone.cancel()
        task.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def main() -> None:
    """Answers requests from stdin until it ends; what is printed meanwhile does not disturb the answers."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            if line.startswith('{"stop"'):
                reports.stopping.set()
                continue
            reports.stopping.clear()
            requests.put(line)
        os._exit(0)  # the studio has ended: whatever is being done is of no use

    from ganvas.studio import reports, work

    def write(line: Any) -> None:
        answers.write(json.dumps(line, allow_nan=False) + "\n")
        answers.flush()

    reports.start(lambda event: write({"event": work.finite(event)}))
    threading.Thread(target=read, daemon=True).start()
    while True:
        message = json.loads(wait_for_request(requests))
        module, _, name = message["call"].rpartition(".")
        try:
            own = importlib.import_module(f"ganvas.studio.{module or 'work'}")
            answer = {"value": work.finite(getattr(own, name)(**message["arguments"]))}
        except GanvasError as error:
            text = {"what": error.what, "expected": error.expected, "fix": error.fix}
            answer = {"error": text, "status": getattr(error, "status", 400)}
        except MemoryError:
            answer = {"error": {"what": "There is not enough memory.", "expected": "", "fix": ""}, "status": 500}
        except Exception as error:  # a bug: the next request is another one
            what = f"{type(error).__name__}: {error}"
            answer = {"error": {"what": what, "expected": "", "fix": "this is a bug: please report it."}, "status": 500}
        write(answer)


def wait_for_request(requests: "queue.SimpleQueue[str]") -> str:
    """The next one; after a pause PyTorch gives back what it keeps of a GPU: others, and the next plan, need it."""
    with suppress(queue.Empty):
        return requests.get(timeout=PAUSE_SECONDS)
    if "torch" in sys.modules:
        from ganvas.devices import empty_caches

        empty_caches()
    return requests.get()


if __name__ == "__main__":
    main()
