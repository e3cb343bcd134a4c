"""A studio in a real Chromium: one server for all tests, a browser for each file, a watch on what each page does."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from serving import Served, serving
from studio_site import HOSTILE, Site, Watch

import ganvas

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
START_SECONDS = 60
PATIENCE_MS = 60_000


@pytest.fixture
def served(runs: Path) -> Iterator[Served]:
    """A studio over the `runs` of the file of tests."""
    with serving(runs) as one:
        yield one


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        reason = "there is no Chromium here (Debian: apt-get install chromium-headless-shell)"
        if os.environ.get("GANVAS_REQUIRE_BROWSER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> "Iterator[Browser]":
    """A headless Chromium that resolves no name, so that nothing can leave the machine."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)  # other tests run at the same time, and the machine may be busy

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(shared_site: Site) -> Iterator[Site]:
    """The studio of all files; the runs that a file adds are removed at its end, so that no other file meets them."""
    yield shared_site
    for run in shared_site.runs.glob("*/stats.jsonl"):
        if run.parent.name != HOSTILE:
            shutil.rmtree(run.parent)


@pytest.fixture(scope="session")
def shared_site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A studio with one complete run, for all files; Chromium is looked for first: nothing is trained without one."""
    folder = tmp_path_factory.mktemp("studio")
    runs, data = folder / "runs", folder / "data"
    write_pictures(data / "pictures")
    cache = str(folder / "cache")
    serve = [sys.executable, "-m", "ganvas", "studio", "runs", "--data", "data", "--port", "0", "--no-open"]
    environment = os.environ | {"GANVAS_CACHE": cache, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with (folder / "printed").open("w") as printed:
        server = subprocess.Popen(serve, stdout=printed, stderr=subprocess.STDOUT, env=environment, cwd=folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GANVAS_CACHE", cache)
            few = {"kimg": 3, "tick_kimg": 1, "plot": False, "preview": False}
            ganvas.train("digits", data=data / "pictures", conditional=True, out=runs, name="first", quiet=True, **few)
        (runs / "first").rename(runs / HOSTILE)
        address, token = wait_for_address(folder / "printed", server)
        yield Site(address, token, runs, data)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def wait_for_address(printed: Path, server: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """The address and the token that a studio prints."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        if found := re.search(r"(http://\S+?)/\?token=(\S+)", printed.read_text()):
            return found[1], found[2]
        time.sleep(0.05)
    raise AssertionError(f"the studio did not start: {printed.read_text()}")


def write_pictures(folder: Path) -> None:
    """Small pictures of two classes: with a broken one, two that are equal, and names that are markup."""
    random = np.random.default_rng(0)
    for name in ("plain", HOSTILE):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(folder / name / f"{i}.png")
    shutil.copy(folder / "plain" / "1.png", folder / "plain" / "copy.png")
    (folder / "plain" / f"{HOSTILE}.png").write_bytes(b"\x89PNG\r\n\x1a\n, and then nothing")


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    """Ends with the assertions that hold for every test: nothing left the machine, nothing went wrong unseen."""
    seen = Watch(site.address)
    yield seen
    assert not seen.elsewhere()
    assert not seen.problems


@pytest.fixture
def visit(browser: "Browser", site: Site, watch: Watch) -> "Iterator[Callable[..., Page]]":
    """Opens a page of the studio in a new context of the browser; keywords are those of `Browser.new_context`."""
    contexts: list[BrowserContext] = []

    def open_page(path: str = "/", **options: Any) -> "Page":
        options = {"base_url": site.address, "locale": "en-GB", "reduced_motion": "reduce"} | options
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.request.get(f"/?token={site.token}")  # the answer sets the cookie
        watch.look_at(context)
        page = context.new_page()
        page.goto(path)
        page.wait_for_selector("main h1")
        return page

    yield open_page
    for context in contexts:
        context.close()
