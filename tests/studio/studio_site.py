"""A studio that runs for tests, what its pages may do, and how a file is dropped on one."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

HOSTILE = "<img src=x onerror=alert(1)>"
"""A name of a run, of a class and of a file that is markup if anything inserts it as such."""

JOB: dict[str, Any] = {"id": "1", "state": "running", "run": None, "output": "", "result": None, "error": None}
"""A command that goes on, as the server tells of it."""

JOBS = re.compile(r"/api/jobs\?id=")
"""The address at which a page asks for the job that it waits for."""

SETTLED = """async () => {
    await new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100));
    const transitions = document.getAnimations().filter((one) => one instanceof CSSTransition);
    await Promise.all(transitions.map((one) => one.finished.catch(() => null)));
}"""
"""Until the colours of another theme are there: on a busy machine a transition takes longer than it is told to."""


@dataclass
class Site:
    """A running studio.

    Attributes:
        address: with the port, without a slash at the end.
        token: what the page needs to write.
        runs, data: its folders; `runs` has one complete run, trained on `data`/pictures.
        run: the key of that run; it is named `HOSTILE`, and so are a class and a file of its data.
    """

    address: str
    token: str
    runs: Path
    data: Path
    run: str = f"0/{HOSTILE}"


@dataclass
class Watch:
    """What the pages of a test asked for and printed.

    Attributes:
        problems: refused requests, messages in the console, errors of scripts, dialogs.
        refusals: statuses of answers that the test provokes.
    """

    address: str
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    refusals: set[int] = field(default_factory=set)

    def look_at(self, context: "BrowserContext") -> None:
        context.on("request", lambda request: self.requests.append(request.url))
        context.on("response", self._on_response)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        context.on("dialog", self._on_dialog)

    def _on_dialog(self, dialog: Any) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def elsewhere(self) -> list[str]:
        """Requests to anything but the studio."""
        own = (f"{self.address}/", "data:", f"blob:{self.address}/")
        return [url for url in self.requests if not url.startswith(own)]

    def _on_response(self, response: Any) -> None:
        if response.status >= 400 and response.status not in self.refusals:
            self.problems.append(f"{response.status} {response.request.method} {response.url}: {response.text()[:300]}")

    def _on_console(self, message: Any) -> None:
        if not message.text.startswith("Failed to load resource: the server responded with"):  # with its address above
            self.problems.append(f"{message.type}: {message.text}")


def drop(page: "Page", name: str, content: bytes, zone: str = ".drop") -> None:
    """Drops a file on a drop zone of the page, as a mouse does."""
    transfer = page.evaluate_handle(
        """([name, text]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
            return transfer;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(zone, event, {"dataTransfer": transfer})
