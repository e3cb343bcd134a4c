"""What the studio takes: the first page, a hundred long runs, and the time of a training whose page is open.

    python benchmarks/studio.py --explore pretrained:digits28 RUN … [--moves 60]
    python benchmarks/studio.py --lab 10
    python benchmarks/studio.py [--starts 7] [--runs 100] [--lines 10000] [--minutes 10] [--recipe digits]

Prints tables for docs/results.md. Needs Chromium and Playwright. The training goes on all the time; spells with its
page open and spells with an empty page in the same Chromium follow each other, and the speed of each is that between
its first and last line of stats.jsonl. Each pair of spells gives a ratio; which comes first changes from pair to pair.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

SOURCE = Path(__file__).resolve().parent.parent / "src"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
LEAST_LINES = 6
CARDS = "n => document.querySelectorAll('.run-card').length === n"
PLAYED = "() => /[1-9]/.test(document.querySelector('.lab-now').textContent.split(':')[0])"
CURVES = "() => document.querySelector('.chart path.line[d^=M]') && document.querySelector('.hero-frame img')"


@contextmanager
def studio(runs: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """(address with the token, process, when the command was given) of a studio."""
    command = [sys.executable, "-m", "ganvas", "studio", str(runs), "--port", "0", "--no-open"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield found[0], psutil.Process(process.pid), began
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def seconds_of(*processes: psutil.Process) -> float:
    """The CPU time of processes, with those that they have started."""
    every = [one for process in processes for one in (process, *process.children(recursive=True))]
    times = [one.cpu_times() for one in every if one.is_running()]
    return sum(time.user + time.system for time in times)


def row(title: str, aim: str, values: list[float], unit: str) -> str:
    middle, least, most = (format(of(values), ".3g") for of in (statistics.median, min, max))
    return f"| {title} | {aim} | {middle} {unit} | {least} | {most} | {len(values)} |"


def measure_start(page: Page, runs: Path, starts: int) -> Iterator[str]:
    """From the command to the cards in the browser; the first start fills caches, and is not counted."""
    walls, cpus, sizes = [], [], []
    for _ in range(starts + 1):
        with studio(runs) as (address, process, began):
            page.goto(address, wait_until="commit")
            page.wait_for_selector(".run-card .card-link:not(:empty)")
            walls.append(time.perf_counter() - began)
            cpus.append(seconds_of(process))
            sizes.append(process.memory_info().rss / 1e6)
            mapped = Path(f"/proc/{process.pid}/maps")
            assert not mapped.exists() or "libtorch" not in mapped.read_text()
    yield row("first page after the command", "2 s", walls[1:], "s")
    yield row("CPU time of the server until then", "", cpus[1:], "s")
    yield row("memory of the server (RSS), without PyTorch", "60 MB", sizes[1:], "MB")


def measure_many(page: Page, runs: Path, count: int) -> Iterator[str]:
    """The list of all runs, and single ones, each as a fresh studio shows it for the first time."""
    lists, opened, sizes = [], [], []
    for start in range(3):
        with studio(runs) as (address, process, _):
            page.goto(address.replace("/?", "/diagnose?"))
            page.wait_for_selector(".drop")
            began = time.perf_counter()
            page.get_by_role("link", name="Runs", exact=True).click()
            page.wait_for_function(CARDS, arg=count)
            lists.append(time.perf_counter() - began)
            for name in sorted(path.name for path in runs.iterdir())[5 * start : 5 * start + 5]:
                began = time.perf_counter()
                page.goto(f"{address.partition('?')[0]}run?run=0/{name}", wait_until="commit")
                page.wait_for_function(CURVES)
                opened.append(time.perf_counter() - began)
            sizes.append(process.memory_info().rss / 1e6)
    yield row(f"the list of {count} runs", "1 s", lists, "s")
    yield row("one run, with its picture and curves", "1 s", opened, "s")
    yield row("memory of the server after five runs (RSS)", "", sizes, "MB")


def make_many(one: Path, folder: Path, count: int, lines: int) -> None:
    """Copies of a run with long logs: the lines of its own training, again and again, with their places in time."""
    known = [json.loads(text) for text in (one / "stats.jsonl").read_text().splitlines()]
    ends = [json.dumps({name: value for name, value in line.items() if name != "nimg"})[1:] for line in known]
    for number in range(count):
        run = folder / f"{number:05d}-long"
        shutil.copytree(one, run)
        with (run / "stats.jsonl").open("w") as file:
            file.writelines(f'{{"nimg": {1000 * i}, {ends[(i + number) % len(ends)]}\n' for i in range(1, lines + 1))


def speed(log: Path, seconds: float) -> float:
    """Images a second of training, from the first to the last line of a spell of so many seconds, or a few lines."""
    begin, ended = log.stat().st_size, time.perf_counter() + seconds
    with log.open("rb") as file:
        while True:
            time.sleep(0.1)
            file.seek(begin)
            lines = file.read().split(b"\n")[1:-1]  # the first may have begun before
            if time.perf_counter() > ended and len(lines) >= LEAST_LINES:
                break
    first, last = json.loads(lines[0]), json.loads(lines[-1])
    return (last["nimg"] - first["nimg"]) / (last["seconds"] - first["seconds"])


def measure_training(page: Page, folder: Path, recipe: list[str], minutes: float, spell: float) -> Iterator[str]:
    """The ratio of the speeds with and without an open page, side by side."""
    out = ["--new", "--quiet", "--out", str(folder), "--name", "live"]
    words = ["train", *recipe, "--kimg", "1e6", "--snapshot-kimg", "100", *out]
    training = subprocess.Popen([sys.executable, "-m", "ganvas", *words], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    log, ratios, plain, shares = folder / "live" / "stats.jsonl", [], [], []
    browser = next(one for one in psutil.Process().children(recursive=True) if "chrom" in one.name())
    try:
        while not log.exists() or log.stat().st_size < 1:
            time.sleep(0.2)
        with studio(folder) as (address, server, _):
            page.goto(address)
            began = time.perf_counter()
            while time.perf_counter() - began < 60 * minutes or len(ratios) < 2:
                found = {}
                for watched in (True, False) if len(ratios) % 2 else (False, True):
                    page.goto(f"{address.partition('?')[0]}run?run=0/live" if watched else "about:blank")
                    if watched:
                        page.wait_for_function(CURVES)
                    time.sleep(2)
                    before, at = seconds_of(server, browser), time.perf_counter()
                    found[watched] = speed(log, spell)
                    if watched:
                        shares.append(100 * (seconds_of(server, browser) - before) / (time.perf_counter() - at))
                ratios.append(100 * (found[False] / found[True] - 1))
                plain.append(found[False])
    finally:
        training.send_signal(signal.SIGINT)
        training.wait()
    low, middle, high = statistics.quantiles(ratios, n=4)
    mean, error = statistics.mean(ratios), statistics.stdev(ratios) / len(ratios) ** 0.5
    yield "| training | images/s | pairs | more time with its page open: median | quartiles | mean ± std. error | aim |"
    yield "|---|---|---|---|---|---|---|"
    yield (
        f"| `{' '.join(recipe)}` | {statistics.median(plain):,.0f} | {len(ratios)} | {middle:+.1f} % | {low:+.1f} to "
        f"{high:+.1f} % | {mean:+.1f} ± {error:.1f} % | 3 % |"
    )
    yield f"\nWith the page open, Chromium and the server take {statistics.mean(shares):.0f} % of a core."


def measure_map(page: Page, of: str, moves: int) -> Iterator[str]:
    """From a key that moves the point of the map to the new picture on the page: while it moves, and exactly."""
    path, runs = Path(of), Path(of).parent if Path(of).exists() else Path(tempfile.mkdtemp())
    with studio(runs) as (address, _, _):
        page.goto(address)
        page.goto(f"{address.partition('?')[0]}explore?of={f'0/{path.name}' if path.exists() else of}")
        page.wait_for_selector(".map-pad.drawn", timeout=120_000)
        found: dict[str, list[float]] = {"moving": [], "exact": []}
        for _ in range(moves):
            page.wait_for_timeout(50)
            times = page.evaluate(PICTURED)
            for name, value in zip(found, times, strict=True):
                found[name].append(value)
    for name, values in found.items():
        yield row(f"map to picture, {name}: `{path.name if path.exists() else of}`", "", values, "ms")


PICTURED = """() => new Promise((done) => {
    const image = document.querySelector('.explore-image');
    const slider = document.querySelector('.map-axis input');
    const before = image.src;
    const began = performance.now();
    let moving = null;
    const watcher = new MutationObserver(() => {
        if (image.src === before) return;
        moving ??= performance.now() - began;
        if (image.dataset.exact !== 'true') return;
        watcher.disconnect();
        done([moving, performance.now() - began]);
    });
    watcher.observe(image, { attributes: true });
    slider.value = String(Number(slider.value) + (Number(slider.value) > 2 ? -4 : 0.05));
    slider.dispatchEvent(new Event('input'));
})"""
"""The point is moved as by a key; resolves with ms until the next picture, and until the exact one."""


def measure_lab(page: Page, seconds: float) -> Iterator[str]:
    """Frames a second of the lab: each answer is drawn before the next is asked for."""
    frames: list[float] = []
    page.on("response", lambda reply: frames.append(time.perf_counter()) if "/api/lab/play" in reply.url else None)
    with studio(Path(tempfile.mkdtemp())) as (address, _, _):
        page.goto(address)
        page.goto(f"{address.partition('?')[0]}lab")
        page.wait_for_selector(".lab-canvas")
        for button in page.locator("button[data-preset]").all():
            preset = button.get_attribute("data-preset")
            button.click()
            if (play := page.get_by_role("button", name="Play", exact=True)).is_visible():
                play.click()
            page.wait_for_function(PLAYED)
            page.wait_for_timeout(3000)  # the first probe
            rates = []
            for _ in range(5):
                frames.clear()
                page.wait_for_timeout(200 * seconds)
                rates.append((len(frames) - 1) / (frames[-1] - frames[0]))
            yield row(f"frames a second: {preset}", "20", rates, "")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--lines", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training that is watched")
    parser.add_argument("--spell", type=float, default=12.0, help="seconds with the page, and without it")
    parser.add_argument("--recipe", nargs="*", default=["digits"], help="of the training that is watched")
    parser.add_argument("--explore", nargs="*", default=[], help="only the map of these: runs, or pretrained:NAME")
    parser.add_argument("--moves", type=int, default=60, help="of the point of each map")
    parser.add_argument("--lab", type=float, default=0, help="only the lab: so many seconds of each preset")
    arguments = parser.parse_args()
    path = next(filter(None, map(shutil.which, NAMES)))
    print(f"Load average at the start: {os.getloadavg()[0]:.2f}", flush=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        page: Any = playwright.chromium.launch(executable_path=path, args=list(FLAGS)).new_page()
        if arguments.explore or arguments.lab:
            print("| | aim | median | least | most | n |\n|---|---|---|---|---|---|")
            parts = [measure_map(page, of, arguments.moves) for of in arguments.explore]
            for text in itertools.chain(*parts, measure_lab(page, arguments.lab) if arguments.lab else ()):
                print(text, flush=True)
            print(f"\nLoad average at the end: {os.getloadavg()[0]:.2f}")
            return
        few = ["train", "digits", "--kimg", "60", "--out", str(folder / "few"), "--name", "one", "--quiet"]
        subprocess.run([sys.executable, "-m", "ganvas", *few], env=ENVIRONMENT, check=True)
        make_many(folder / "few" / "one", folder / "many", arguments.runs, arguments.lines)
        print("| | aim | median | least | most | n |\n|---|---|---|---|---|---|")
        for text in measure_start(page, folder / "few", arguments.starts):
            print(text, flush=True)
        for text in measure_many(page, folder / "many", arguments.runs):
            print(text, flush=True)
        shutil.rmtree(folder / "many")
        print()
        for text in measure_training(page, folder / "live", arguments.recipe, arguments.minutes, arguments.spell):
            print(text, flush=True)
    print(f"\nLoad average at the end: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
