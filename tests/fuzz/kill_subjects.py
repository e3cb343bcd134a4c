"""What is killed: six trainings, the cache, an evaluation, a comparison, a style transfer; and what each ends in.

Trainings are slowed down, so that a kill hits one in the middle; a slow round is the same round. The training by time
has a clock that goes on with its rounds alone: its plan is then that of the training that is not killed.
"""

import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROUND_SECONDS = 0.01
"""Seconds added to each round of a training."""

OF_TIME = frozenset(
    [
        "time",
        "seconds",
        "kimg_per_s",
        "memory",
        "elapsed",
        "peak_bytes",
        "images_per_s",
        "signals",
        "created",
        "best",
        "columns",
        "summaries",
        "saves",
        "diagnosis",
    ]
)
"""Entries of JSON files that say how long something took, or were measured as often as time allowed."""

TINY = [
    "--batch",
    "20",
    "--latent",
    "6",
    "--ema",
    "0.1",
    "--threads",
    "1",
    "--quiet",
    "--no-plot",
    "--evaluate-every",
    "0",
]
MLP = [*TINY, "--g-widths", "8", "8", "--d-widths", "8"]
OFTEN = ["--tick-kimg", "0.1", "--snapshot-kimg", "0.2", "--name", "run", "--data", "images.npz"]

Digest = dict[str, str]


@dataclass(frozen=True)
class Subject:
    """A command that is killed, and given again until it ends.

    Attributes:
        argv: the command.
        digest: what it ended in, by name: equal digests are equal bit by bit.
        check: raises where what lies there after a kill is not whole.
        saved: the file that holds how far it is, or nothing where it begins anew.
        saving: patterns of names that are there while it saves.
    """

    argv: list[str]
    digest: Callable[[], Digest]
    check: Callable[[], None] = lambda: None
    saved: str = ""
    saving: tuple[str, ...] = ()


def training(*argv: str) -> Subject:
    return Subject(
        ["train", *argv, *OFTEN], lambda: digest_run(Path("runs/run")), lambda: check_run(Path("runs/run")),
        "runs/run/state/latest.safetensors", ("runs/run/.*.tmp-*", "runs/run/state/.*", "runs/run/snapshots/.*"),
    )  # fmt: skip


def subjects() -> dict[str, Subject]:
    """All of them, by name."""
    return {
        "ada": training("cnn", *TINY, "--g-width", "4", "--d-width", "4", "--objective", "non-saturating",
        "--augment", "ada",
                        "--ada-target", "0.6", "--ada-kimg", "2", "--kimg", "3"),
        "growing": training("stylegan", *TINY, "--width", "8", "--growth", "0..1@0.1-0.6", "--mapping-layers", "2",
        "--kimg", "2"),
        "rollback": training("mlp", *MLP, "--g-norm", "none", "--g-lr", "0.5", "--on-failure", "rollback", "--kimg",
        "3"),
        "wgan": training("wgan", *TINY, "--g-width", "4", "--d-width", "4", "--d-steps", "2", "--kimg", "5"),
        "fast, by time": training("fast", *TINY, "--features-net", "eye", "--g-width", "4", "--d-width", "4",
        "--pixel-width", "4",
                                  "--minutes", "0.08"),
        "two ranks": training("mlp", *MLP, "--gpus", "2", "--device", "cpu", "--kimg", "12"),
        "cache": Subject(["data", "photos", "--json", "--quiet"], digest_data, saved="",
        saving=("cache/.*", "cache/*/.*")),
        "evaluate": Subject(["evaluate", "trained", "--count", "150", "--quiet", "--json"], digest_evaluation,
                            lambda: check_lines(Path("trained/metrics.jsonl"))),
        "compare": Subject(
            ["compare", "mlp:latent=6,g_widths=[8],d_widths=[8],batch=20",
            "mlp:latent=7,g_widths=[8],d_widths=[8],batch=20",
             "--data", "images.npz", "--kimg", "4", "--seeds", "2", "--count", "60", "--quiet", "--out", "compared",
             "--workers", "2",
             "--knobs", "snapshot_kimg=0.5", "tick_kimg=0.5", "evaluate_every=0", "plot=false", "threads=1"],
            digest_comparison, check_comparison, "compared/runs/*/state/latest.safetensors",
            ("compared/.*", "compared/runs/*/state/.*"),
        ),
        "style": Subject(["style", "photo.png", "painting.png", "--size", "64", "--min-scale", "32", "--iterations",
        "12", "--out",
                          "out.png", "--quiet"], lambda: {"out.png": of_image(Path("out.png"))}, check_style,
                          saving=(".out.png*",)),
    }  # fmt: skip


def prepare(folder: Path) -> None:
    """Writes the data, and trains the run that is evaluated."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    os.environ["GANVAS_CACHE"] = str(folder / "cache")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (300, 8, 8, 1), np.uint8)
    np.savez("images.npz", images=images)
    for number in range(600):
        path = Path(f"photos/{'ab'[number % 2]}/{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (64, 48, 3), np.uint8)).save(path)
    for name in ("photo.png", "painting.png"):
        Image.fromarray(np.kron(random.integers(0, 256, (12, 12, 3), np.uint8), np.ones((6, 6, 1), np.uint8))).save(
            name
        )
    act(["train", "mlp", *MLP, "--data", "images.npz", "--kimg", "0.4", "--out", ".", "--name", "trained"], slow=False)


def act(argv: list[str], *, slow: bool) -> int:
    """Gives a command in this process; returns its exit status."""
    from ganvas.cli import main

    if slow:
        slow_down(by_time="--minutes" in argv)
    sys.argv = ["ganvas", *argv]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def slow_down(*, by_time: bool) -> None:
    """Adds a pause to every round; with `by_time` gives the planner a clock of rounds."""
    from ganvas.training import planning
    from ganvas.training.state import TrainState

    seconds, train_round = [0.0], TrainState.train_round

    def train_slowly(state: TrainState, batches: Any, nimg: int) -> Any:
        time.sleep(ROUND_SECONDS)
        seconds[0] += 0.25 if 400 <= nimg < 800 else 0.0625  # so slow in its middle that it is re-planned
        return train_round(state, batches, nimg)

    TrainState.train_round = train_slowly  # type: ignore[method-assign]
    if by_time:
        planning.now = lambda: seconds[0]
        from ganvas.training import start

        start.measure_speed = lambda *_: 320.0  # images/s


def of_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def of_image(path: Path) -> str:
    """Of the pixels."""
    return of_bytes(np.asarray(Image.open(io.BytesIO(path.read_bytes()))).tobytes())


def of_json(value: Any) -> str:
    """Of a JSON value without what depends on time."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items() if key not in OF_TIME}
        return [plain(one) for one in value] if isinstance(value, list) else value

    return json.dumps(plain(value), sort_keys=True)


def lines(path: Path) -> Iterator[Any]:
    return map(json.loads, path.read_text().splitlines())


def digest_run(path: Path) -> Digest:
    """Weights, optimisers and metadata of the state, snapshots, grids, every line of numbers, every intervention."""
    from ganvas.runs import checkpoint

    tensors, metadata = checkpoint.load(path / "state" / "latest.safetensors")
    found = {f"state/{name}": of_bytes(tensor.numpy().tobytes()) for name, tensor in tensors.items()}
    found["state"] = of_json(metadata)
    for file in sorted(path.glob("snapshots/*/G.safetensors")):
        found[str(file.relative_to(path))] = of_bytes(file.read_bytes())
    found |= {file.name: of_image(file) for file in sorted(path.glob("*.png"))}
    found |= {f"stats.jsonl:{number}": of_json(line) for number, line in enumerate(lines(path / "stats.jsonl"))}
    kept = [
        event
        for event in lines(path / "events.jsonl")
        if event["event"] in ("rollback", "correct", "replanned", "planned", "balance")
    ]
    planned = [event for event in kept if event["event"] == "planned"]
    kept = [event for event in kept if event not in planned[:-1]]  # a start that is killed before it saves plans again
    once = dict.fromkeys(map(of_json, kept))  # what is done after the last saved state is done, and written, once more
    return found | {f"events.jsonl:{number}": event for number, event in enumerate(once)}


def check_run(path: Path) -> None:
    """Every file that is there is whole."""
    from safetensors.numpy import load_file

    for file in path.glob("**/*.safetensors"):
        if not any(part.startswith(".") for part in file.relative_to(path).parts):
            load_file(file)
    for file in (*path.glob("config.json"), *path.glob("snapshots/*/card.json")):
        if not file.parent.name.startswith("."):
            json.loads(file.read_text())
    for file in path.glob("[!.]*.png"):
        of_image(file)
    for name in ("stats.jsonl", "events.jsonl"):
        check_lines(path / name)


def check_lines(path: Path) -> None:
    """Every line but a last one that has no end is JSON."""
    if path.exists():
        for line in path.read_text().split("\n")[:-1]:
            json.loads(line)


def digest_data() -> Digest:
    from ganvas.data import DataOptions, open_images

    images = open_images(DataOptions("photos"), progress=False)
    return {
        "pixels": of_bytes(images.images.tobytes()),
        "labels": str(images.labels),
        "fingerprint": images.fingerprint,
    }


def digest_evaluation() -> Digest:
    return {"metrics": of_json(list(lines(Path("trained/metrics.jsonl")))[-1])}


def digest_comparison() -> Digest:
    report = json.loads(Path("compared/report.json").read_text())
    report["aspects"] = [aspect for aspect in report["aspects"] if aspect["aspect"] not in OF_TIME]
    found = {f"report/{key}": of_json(value) for key, value in report.items() if key not in OF_TIME}
    for run in sorted(Path("compared/runs").iterdir()):
        found |= {f"{run.name}/{name}": value for name, value in digest_run(run).items()}
    return found


def check_comparison() -> None:
    for run in Path("compared").glob("runs/*"):
        check_run(run)
    for file in Path("compared").glob("*.json"):
        json.loads(file.read_text())


def check_style() -> None:
    if Path("out.png").exists():
        of_image(Path("out.png"))
