"""A studio on a folder, open in headless Chromium: what the pictures and the film of the docs are taken in."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

SHORTEN = """(folder) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const node = texts.currentNode;
        if (node.data.includes(folder)) node.data = node.data.replaceAll(folder, "runs");
    }
}"""
"""The folder of whoever takes the pictures is of no interest: called with it, this writes "runs" in its place."""


@contextmanager
def open_studio(runs: Path, *, width: int = 1440, height: int = 900) -> Iterator[tuple[str, Page]]:
    """Serves a folder; gives the address, with a slash at the end, and a page that has the token."""
    command = [sys.executable, "-m", "ganvas", "studio", str(runs), "--port", "0", "--no-open"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"(http://\S+?)\?token=\S+", server.stdout.readline())
        assert found
        with sync_playwright() as playwright:
            path = next(filter(None, map(shutil.which, NAMES)))
            browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
            page = browser.new_page(locale="en-GB", viewport={"width": width, "height": height})
            page.goto(found[0])
            yield found[1], page
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
