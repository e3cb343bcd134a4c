"""The methods: recipes of this package through its command line, and two tutorials' networks and loops.

Each trains in a process of its own on the threads of its set. What it has drawn is collected afterwards, mark by mark.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from minutes_parts.marks import GENERATED
from minutes_parts.sets import SETS, Pictures
from throughput import find_keras_python

import ganvas
from ganvas.config import replace
from ganvas.config.flags import to_words
from ganvas.recipes import RECIPES, differing_knobs
from ganvas.runs.card import read_card
from ganvas.runs.log import read_jsonl

MARKS = (1, 2, 3, 5, 7.5, 10, 15, 20, 30)
"""Minutes after which pictures are judged, besides the end."""

BEFORE: dict[str, dict[str, Any]] = {
    "mlp-stable": {},
    "cnn-stable": {},
    "transformer-stable": {},
    "transformer-modern": {"token_width": 128, "d_width": 24, "batch": 16, "g_lr": 4e-4, "d_lr": 4e-4},
    "dcgan": {"g_width": 16, "d_width": 16, "batch": 16, "ema": 5.0},
    "wgan": {"g_width": 32, "d_width": 32, "batch": 16},
    "wgan-gp": {"g_width": 32, "d_width": 32, "batch": 16, "g_lr": 4e-4, "d_lr": 4e-4, "ema": 5.0},
    "wgan-conditional": {"g_width": 32, "d_width": 32, "batch": 16, "g_lr": 4e-4, "d_lr": 4e-4, "ema": 5.0},
    "sngan": {"g_width": 32, "d_width": 32, "batch": 16, "ema": 5.0},
    "stylegan": {"width": 32, "batch": 8, "g_lr": 2e-3, "d_lr": 2e-3},
    "msg": {"width": 32, "batch": 16},
    "r3gan-short": {
        "width": 16, "blocks": 1, "batch": 16, "r1": 0.5, "r2": 0.5, "beta2": 0.99, "ema": 5.0,
        "g_lr": "1e-3..2e-4:cosine", "d_lr": "1e-3..2e-4:cosine",
    },
}  # fmt: skip
"""Recipe -> the knobs with which the first sheet of all recipes narrowed it (docs/results.md, 2026-11-22)."""

OF_RECIPES = {
    **{name: name for name in RECIPES if name not in ("r3gan", "custom", "digits", "digits28")},
    **{f"{name}-before": name for name in BEFORE},
}
"""Method -> its recipe: with its CPU preset, or as before there were presets, with the knobs above."""

LENGTHS = ("kimg", "minutes")
TUTORIALS = {"tutorial-dcgan": "pytorch_tutorial.py", "tutorial-keras": "keras_tutorial.py"}
TRANSFERS = {"fast-from": "fast", "cnn-stable-from": "cnn-stable"}
"""Method -> the recipe that is first taught on other classes for ORIGIN_MINUTES, once, and starts from there."""

ORIGIN_MINUTES = 10
METHODS = (*OF_RECIPES, *TUTORIALS, *TRANSFERS)


def suits(method: str, set_name: str) -> bool:
    """The tutorials have no classes, and Keras' are for colour at 64×64 and grey at 28×28."""
    if method in TRANSFERS:
        return SETS[set_name].taught_on is not None
    if method == "tutorial-keras":
        return set_name in ("kaokore", "kaokore-200", "mnist")
    return method not in TUTORIALS or not SETS[set_name].conditional


@dataclass(frozen=True)
class Drawn:
    """What a method had drawn at a mark.

    Attributes:
        minutes: the mark.
        seconds: of training until then, by the clock. Start-up, sampling and judging do not count; of recipes neither
            do decoding, the trial of the speed, the first statistics and snapshots, which `--minutes` counts.
        cpu_seconds: of the process until then, its start-up included; None where the system does not say.
        images: real pictures shown until then.
        load_pictures: gives them, uint8 [n c h w].
    """

    minutes: float
    seconds: float
    cpu_seconds: float | None
    images: int
    load_pictures: Callable[[], np.ndarray]


def marks_within(minutes: float) -> list[float]:
    """The marks of a cell of so many minutes, its end included."""
    return [*(mark for mark in MARKS if mark < minutes), minutes]


def train(method: str, pictures: Pictures, minutes: float, seed: int, work: Path) -> tuple[str, list[Drawn]]:
    """Trains for so many minutes; returns what was asked of it, in words, and what it drew. `work` is an empty folder.

    Raises:
        SystemExit: the process failed; its output is in work/log.txt.
    """
    if method in TUTORIALS:
        return _train_tutorial(method, pictures, minutes, seed, work)
    if method in TRANSFERS:
        origin = _teach_origin(TRANSFERS[method], pictures, work)
        return _train_recipe(TRANSFERS[method], pictures, minutes, seed, work, ["--from", str(origin)])
    return _train_recipe(method, pictures, minutes, seed, work)


def _teach_origin(method: str, pictures: Pictures, work: Path) -> Path:
    """The run from which a transfer starts, beside the folders of cells; trained if it is not there."""
    assert pictures.origin is not None
    kept = work.parent / "origins" / f"{pictures.source.stem}-{pictures.images.resolution[0]}-{method}"
    if not (kept / "run" / "training.webp").exists():
        kept.mkdir(parents=True, exist_ok=True)
        np.save(kept / "pictures.npy", pictures.origin)
        recipe, knobs = OF_RECIPES[method], _knobs(method, pictures, ORIGIN_MINUTES)
        command = [sys.executable, "-m", "ganvas", "train", recipe, "--data", str(kept / "pictures.npy"), *knobs]
        length = ["--minutes", f"{ORIGIN_MINUTES}", "--threads", str(pictures.threads)]
        quiet = ["--evaluate-every", "0", "--quiet", "--out", str(kept), "--name", "run"]
        _run([*command, *length, *quiet], work, pictures.threads)
    return kept / "run"


def _knobs(method: str, pictures: Pictures, minutes: float) -> list[str]:
    narrowed, recipe = list[str](), OF_RECIPES[method]
    if method.endswith("-before"):
        config = replace(RECIPES[recipe].config, minutes=minutes, **BEFORE[recipe])
        knobs = differing_knobs(recipe, config)  # also what the preset has
        narrowed = [word for name in knobs if name not in LENGTHS for word in to_words(name, knobs[name])]
    colour = pictures.images.channels == 3
    return [*narrowed, *(["--conditional"] * pictures.conditional), *(["--mirror"] * colour)]


def _train_tutorial(method: str, pictures: Pictures, minutes: float, seed: int, work: Path) -> tuple[str, list[Drawn]]:
    python: Path | str | None = find_keras_python() if method == "tutorial-keras" else sys.executable
    if python is None:
        raise SystemExit("Keras and TensorFlow could not be installed into .venv-keras.")
    np.save(work / "pictures.npy", pictures.train)
    script = Path(__file__).with_name(TUTORIALS[method])
    marks = [f"{mark:g}" for mark in marks_within(minutes)]
    command = [str(python), str(script), str(work / "pictures.npy"), str(work), str(seed), *marks]
    _run(command, work, pictures.threads)
    drawn = [
        Drawn(**line, load_pictures=lambda line=line: np.load(work / f"{line['minutes']:g}.npy"))
        for line in read_jsonl(work / "marks.jsonl")
    ]
    return script.name, drawn


def _train_recipe(
    method: str, pictures: Pictures, minutes: float, seed: int, work: Path, begin: list[str] | None = None
) -> tuple[str, list[Drawn]]:
    recipe, knobs = OF_RECIPES[method], [*_knobs(method, pictures, minutes), *(begin or [])]
    command = [sys.executable, "-m", "ganvas", "train", recipe]
    options = [*_data_options(pictures, work), *knobs, "--seed", str(seed), "--threads", str(pictures.threads)]
    length = ["--minutes", f"{minutes:g}"]
    dry_run = subprocess.run([*command, *options, *length, "--dry-run", "--json"], capture_output=True, text=True)
    if dry_run.returncode:
        raise SystemExit(f"{recipe} failed:\n{dry_run.stderr}")
    kimg_per_minute = 60 * json.loads(dry_run.stdout)["images_per_s"] / 1000
    interval = str(max(1, round(kimg_per_minute)))  # a snapshot near each mark
    every = ["--snapshot-kimg", interval, "--keep-kimg", interval, "--evaluate-every", "0"]
    quiet = ["--no-plot", "--quiet", "--out", str(work), "--name", "run"]
    cpu = _run([*command, *options, *length, *every, *quiet], work, pictures.threads)
    asked = " ".join([recipe, *knobs, *length]).replace(f"{work.parent}{os.sep}", "")  # an origin without its place
    return asked, list(_choose_snapshots(ganvas.Run(work / "run"), minutes, cpu))


def _data_options(pictures: Pictures, work: Path) -> list[str]:
    if pictures.is_part:
        np.save(work / "pictures.npy", pictures.train)
        return ["--data", str(work / "pictures.npy")]
    size = ["--resolution", pictures.resolution] if pictures.resolution else []
    return ["--data", str(pictures.source), *size]


def _choose_snapshots(run: ganvas.Run, minutes: float, cpu: list[tuple[float, float]]) -> Iterator[Drawn]:
    """For each mark the snapshot nearest in time; each at most once."""
    seconds = {line["nimg"]: line["seconds"] for line in read_jsonl(run.path / "stats.jsonl")}
    snapshots = [(seconds[nimg], nimg, path) for path in run.snapshots if (nimg := read_card(path)["nimg"]) in seconds]
    marks = marks_within(minutes)
    for mark, chosen in nearest_each_once([60 * mark for mark in marks], [second for second, _, _ in snapshots]):
        second, nimg, path = snapshots[chosen]

        def load_pictures(path: Path = path) -> np.ndarray:
            return np.asarray(ganvas.load(path).sample(seeds=range(GENERATED)))

        used = _interpolate(cpu, (path / "card.json").stat().st_mtime)
        yield Drawn(marks[mark], round(second, 1), used, nimg, load_pictures)


def nearest_each_once(wanted: list[float], times: list[float]) -> list[tuple[int, int]]:
    """Pairs (place in wanted, place in times): the nearest time, if it is within a fifth; no time twice.

    The last of the times stands for the last wanted one, whatever its distance.
    """
    pairs = []
    for place, want in enumerate(wanted[:-1]):
        nearest = min(range(len(times)), key=lambda i: abs(times[i] - want))
        taken = {time for _, time in pairs} | {len(times) - 1}
        if nearest not in taken and abs(times[nearest] - want) <= want / 5:
            pairs.append((place, nearest))
    return [*pairs, (len(wanted) - 1, len(times) - 1)]


def _run(command: list[str], work: Path, threads: int) -> list[tuple[float, float]]:
    """Runs it to its end; returns its CPU seconds at many moments, (time, CPU seconds)."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    cpu = []
    with (work / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        try:
            while process.poll() is None:
                if (used := _cpu_seconds(process.pid)) is not None:
                    cpu.append((time.time(), used))
                time.sleep(0.5)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:5])} … failed; the end of its output:\n{_tail(work / 'log.txt')}")
    return cpu


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])


def _cpu_seconds(pid: int) -> float | None:
    """User and system time of a process so far; None where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _interpolate(cpu: list[tuple[float, float]], at: float) -> float | None:
    times, seconds = [time for time, _ in cpu], [used for _, used in cpu]
    return round(float(np.interp(at, times, seconds)), 1) if cpu else None


SPEED = "10⁹ multiplications a second"
"""Of `convolution_speed`: processors of one name may differ by a factor of two."""


def convolution_speed() -> float:
    """10⁹ multiply-adds a second of a 3×3 convolution of 64 channels at 32×32 on this process's threads."""
    images, layer, times = torch.ones(16, 64, 32, 32), torch.nn.Conv2d(64, 64, 3, padding=1), []
    with torch.inference_mode():
        for _ in range(20):
            start = time.perf_counter()
            layer(images)
            times.append(time.perf_counter() - start)
    return round(images.numel() * 64 * 9 / sorted(times)[len(times) // 2] / 1e9, 1)


def describe_machine() -> dict[str, Any]:
    """Processor, cores, the speed of one process, and the load of the last minute."""
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    processor = names[0].partition(":")[2].strip() if names else "unknown"
    load = round(os.getloadavg()[0], 2)
    return {"processor": processor, "cores": os.cpu_count(), SPEED: convolution_speed(), "load before": load}
