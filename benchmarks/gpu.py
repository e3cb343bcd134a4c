"""What one GPU makes of Ganvas, in half an hour: the tests, the speed, three trainings, two ranks. See GPU.md.

    python benchmarks/gpu.py [STAGE …] --data FOLDER --out DIR [--work DIR] [--device cuda] [--tiny]

Each stage keeps to its own time and ends under ten minutes. Called again, stages that are done are passed over, and
an unfinished training goes on from its saved state: all that is kept in --work. --out receives copies of the few
files to take away: results.json, report.md, and a grid of pictures for each training.

gpu_data.py makes the folder that --data names. --tiny does the same on a CPU in a minute, with data of any size.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gpu_report
import psutil
import torch
from gpu_report import BOXES
from gpu_rounds import MEASURED, RANKS_BATCH, RANKS_ROUNDS, SAME, TINY_KNOBS, compared

import ganvas
from ganvas import image_io, interrupts
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.files import write_json, write_text
from ganvas.recipes import RECIPES
from ganvas.runs.log import read_lines
from ganvas.training import distributed, memory, start

ROOT = Path(__file__).resolve().parent.parent
TINY_SECONDS = 3.0  # of a training
ROUNDS = ROOT / "benchmarks" / "gpu_rounds.py"
BEGAN = psutil.Process().create_time()  # Python's own start counts too


@dataclass(frozen=True)
class Training:
    """A training within a stage's time.

    Attributes:
        recipe, data, knobs: what is trained, and what of the recipe is changed so that the time suffices.
        count: pictures on each side of the evaluation.
        reserve: seconds of the stage's time that are left for it.
        limit: bytes of the GPU that the process may take; None for all.
    """

    recipe: str
    data: str
    knobs: dict[str, Any]
    count: int
    reserve: float
    limit: float | None = None


_FAST_R3GAN: dict[str, Any] = {
    "width": 128, "blocks": 1, "batch": 64, "microbatch": None, "beta2": 0.99, "ema": 20.0,
    "g_lr": "5e-4..1e-4:cosine", "d_lr": "5e-4..1e-4:cosine",
}  # fmt: skip
"""9.5 GFLOP a picture instead of 600: the recipe's own networks would see a few thousand pictures in this time."""

TRAININGS = {
    "stacked": Training("r3gan", "stacked-mnist:{}/mnist", {**_FAST_R3GAN, "r1": 1.0, "r2": 1.0}, 26_000, 120),
    "cifar-r3gan": Training("r3gan", "{}/cifar10-half.zip", {**_FAST_R3GAN, "r1": 0.5, "r2": 0.5}, 10_000, 60),
    "cifar-stylegan": Training("stylegan", "{}/cifar10-half.zip", {}, 10_000, 60, limit=4e9),
}


class Sitting:
    """One call of one stage.

    Attributes:
        kept: the folder of what --out receives.
        results: of all stages, as results.json holds them.
        found: this stage's part of them.
        before: seconds that earlier calls of it took.
    """

    def __init__(self, name: str, arguments: argparse.Namespace, device: torch.device) -> None:
        self.name, self.arguments, self.device = name, arguments, device
        self.tiny: bool = arguments.tiny
        self.kept: Path = arguments.work / "report"
        self.kept.mkdir(parents=True, exist_ok=True)
        path = self.kept / "results.json"
        self.results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"stages": {}}
        self.found: dict[str, Any] = self.results["stages"].setdefault(name, {"done": False, "seconds": 0.0})
        self.before: float = self.found["seconds"]

    def left(self) -> float:
        """Seconds that remain of the stage's time."""
        box = BOXES[self.name] * (10 if self.tiny else 1)  # a busy CPU may take long to start a process
        return box - self.before - (time.time() - BEGAN)

    def save(self) -> None:
        """Writes what is known so far."""
        self.found["seconds"] = round(self.before + time.time() - BEGAN, 1)
        self.results["machine"] = machine(self.device)
        write_json(self.kept / "results.json", self.results)
        write_text(self.kept / "report.md", gpu_report.markdown(self.results))
        shutil.copytree(self.kept, self.arguments.out, dirs_exist_ok=True)


def machine(device: torch.device) -> dict[str, Any]:
    """What the numbers depend on."""
    told = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ganvas": ganvas.__version__,
        "cores": os.cpu_count(),
        "device": str(device),
    }
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        told |= {"gpu": facts.name, "memory": facts.total_memory, "cuda": torch.version.cuda}
        told |= {"cudnn": torch.backends.cudnn.version()}
    return told


def tests(sitting: Sitting) -> None:
    """The tests marked gpu, then the fast tests; each with what is left of the time."""
    parts = {"marked gpu": ["tests/test_gpu.py"], "fast": ["tests", "-m", "not slow and not gpu"]}
    if sitting.tiny:
        parts = {"marked gpu": ["tests/test_gpu.py", "-k", "mlp"], "fast": ["tests/test_devices.py"]}
    rows = sitting.found["rows"] = sitting.found.get("rows", [])
    for name, words in parts.items():
        if all(row["tests"] != name for row in rows):
            alone = name == "marked gpu" or sitting.tiny or find_spec("xdist") is None
            workers = 0 if alone else min(8, os.cpu_count() or 1)
            rows.append({"tests": name, **tested(words, sitting.device, workers, sitting.left() - 15)})
            sitting.save()


def tested(words: list[str], device: torch.device, workers: int, seconds: float) -> dict[str, Any]:
    """The outcome of a call of pytest, interrupted after so many seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += ["-n", str(workers)] if workers else []
        environment = {**os.environ, "GANVAS_TEST_DEVICE": str(device)}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            said, in_time = process.communicate(timeout=max(seconds, 1))[0], True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # upon which pytest still writes its report
            timer = threading.Timer(10, process.kill)
            timer.start()
            said, in_time = process.communicate()[0], False
            timer.cancel()
        row = {"seconds": round(time.monotonic() - began, 1), "in_time": in_time, "status": process.returncode}
        if not report.exists():
            return {**row, "said": said[-2000:]}
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = [f"{case.get('classname')}::{case.get('name')}" for case in bad]
    return {**row, "passed": len(cases) - len(bad) - skipped, "skipped": skipped, "failed": failed}


def throughput(sitting: Sitting) -> None:
    """Speed and peak memory of six recipes at two batches, each in a process of its own."""
    rows = sitting.found["rows"] = sitting.found.get("rows", [])
    recipes, batches = (["cnn-stable", "r3gan"], (8,)) if sitting.tiny else (MEASURED, (64, 256))
    todo = [(recipe, batch) for recipe in recipes for batch in batches]
    todo = [pair for pair in todo if all((row["recipe"], row["batch"]) != pair for row in rows)]
    while todo:
        recipe, batch = todo.pop(0)
        seconds = 0.2 if sitting.tiny else sitting.left() / (len(todo) + 1)
        rows.append({"recipe": recipe, "batch": batch, **in_child(sitting, recipe, batch, seconds)})
        sitting.save()


def in_child(sitting: Sitting, recipe: str, batch: int, seconds: float) -> dict[str, Any]:
    """What `gpu_rounds.measure` prints in its last line, or why it failed."""
    command = [sys.executable, str(ROUNDS), "measure", str(sitting.device), recipe, str(batch), str(seconds)]
    command += ["tiny"] if sitting.tiny else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(sitting.left(), 1))
    except subprocess.TimeoutExpired:
        return {"error": "the stage's time was over"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def training(sitting: Sitting) -> None:
    """Trains within the stage's time, goes on where an earlier call stopped, and evaluates what it reached."""
    asked, found, device = TRAININGS[sitting.name], sitting.found, sitting.device
    if sitting.arguments.data is None:
        raise GanvasError(f"{sitting.name} needs pictures.", expected="--data, the folder that gpu_data.py makes")
    if device.type == "cuda" and asked.limit:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, asked.limit / total), device)
        found["limit_bytes"] = asked.limit
    run = ganvas.Run(sitting.arguments.work / "runs" / sitting.name)
    ticks = list(read_lines(run.path / "stats.jsonl")) if (run.path / "stats.jsonl").exists() else []
    sitting.before = max(sitting.before, ticks[-1]["seconds"] if ticks else 0.0)  # of a call that was killed, too
    if not found.get("trained"):
        what: TrainConfig | ganvas.Run = run
        if not (run.path / "config.json").exists():
            what = planned(sitting, asked)
            run.path.parent.mkdir(parents=True, exist_ok=True)
        found["in_time"] = trained(what, run, sitting, for_training(sitting, asked))
        found["trained"] = bool(run.snapshots)
        found["peak_bytes"] = max(found.get("peak_bytes", 0), memory.peak(device) or 0)
        sitting.save()
    told(sitting, asked, run)
    sitting.save()


def for_training(sitting: Sitting, asked: Training) -> float:
    """Seconds from now on."""
    return TINY_SECONDS if sitting.tiny else sitting.left() - asked.reserve


def planned(sitting: Sitting, asked: Training) -> TrainConfig:
    """The configuration whose length a trial says will fit, with a margin for snapshots and statistics."""
    data = asked.data.format(sitting.arguments.data)
    small = {**TINY_KNOBS[asked.recipe], "batch": 8} if sitting.tiny else {}
    habits = {"plot": False, "evaluate_every": 0.0, "device": str(sitting.device)}
    config = replace(RECIPES[asked.recipe].config, data=data, **{**asked.knobs, **small, **habits})
    speed = start.plan(config)["images_per_s"]
    kimg = max(config.a_round / 1000, round(0.85 * speed * for_training(sitting, asked) / 1000, 3))
    sitting.found["changed"] = {**asked.knobs, **small, "kimg": kimg}
    sitting.found["trial_images_per_s"] = speed
    sitting.save()
    return replace(config, kimg=kimg, tick_kimg=kimg / 50, snapshot_kimg=kimg / 5)


def trained(what: TrainConfig | ganvas.Run, run: ganvas.Run, sitting: Sitting, seconds: float) -> bool:
    """Whether the training reached its end within the time; stopped otherwise, with its state saved.

    Raises:
        KeyboardInterrupt: somebody else stopped it; its state is saved, too.
    """
    with stopping_after(max(seconds, 0.1)) as over:
        try:
            ganvas.train(what, out=run.path.parent, name=run.path.name, quiet=True)
        except KeyboardInterrupt:
            if not over.is_set():
                sitting.found["peak_bytes"] = memory.peak(sitting.device)
                sitting.save()
                raise
            return False
    return True


@contextmanager
def stopping_after(seconds: float) -> Iterator[threading.Event]:
    """Sends SIGTERM to this process, upon which a training saves its state, if the block takes longer."""
    over = threading.Event()

    def stop() -> None:
        over.set()
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def told(sitting: Sitting, asked: Training, run: ganvas.Run) -> None:
    """What was reached: pictures, speed, a grid, and the evaluation with its protocol."""
    found = sitting.found
    ticks = list(read_lines(run.path / "stats.jsonl"))
    found |= {
        "recipe": asked.recipe,
        "data": run.card["data"]["name"],
        "kimg": ticks[-1]["nimg"] / 1000,
        "of_kimg": run.config.kimg,
        "training_seconds": ticks[-1]["seconds"],
        "images_per_s": ticks[-1]["nimg"] / ticks[-1]["seconds"],
    }
    drawn = ganvas.load(run, device=str(sitting.device)).sample(seeds=range(64))
    image_io.save(image_io.grid(drawn, 8), sitting.kept / f"{sitting.name}.png")
    began = time.perf_counter()
    count = 100 if sitting.tiny else asked.count
    found["evaluation"] = ganvas.evaluate(run, count=count, quick=True, device=str(sitting.device)).to_json()
    found["evaluation_seconds"] = round(time.perf_counter() - began, 1)


def ranks(sitting: Sitting) -> None:
    """The same rounds by one process, and by two that share the device and the batch (Gloo: NCCL wants two GPUs)."""
    threads = str(max(1, (os.cpu_count() or 1) // 4))
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for world, rank in ((1, 0), (2, 0), (2, 1)):
            own = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "OMP_NUM_THREADS": threads}
            environment = {"GLOO_SOCKET_IFNAME": "lo", **os.environ, **{name: str(own[name]) for name in own}}
            command = [sys.executable, str(ROUNDS), "rank", str(sitting.device), folder]
            processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        failed = []
        for process in processes:
            try:
                said = process.communicate(timeout=max(sitting.left(), 1))[1]
            except subprocess.TimeoutExpired:
                process.kill()
                said = process.communicate()[1] + "\nthe stage's time was over"
            failed += [said.strip()[-500:]] if process.returncode else []
        if failed:
            raise GanvasError(f"A rank failed: {failed[0]}.")
        sitting.found["rows"] = compared(Path(folder))
    sitting.found |= {"rounds": RANKS_ROUNDS, "batch": RANKS_BATCH, "tolerance": SAME}


STAGES: dict[str, Callable[[Sitting], None]] = {
    "tests": tests,
    "throughput": throughput,
    **dict.fromkeys(TRAININGS, training),
    "ranks": ranks,
}


def staged(name: str, arguments: argparse.Namespace, device: torch.device) -> bool:
    """Does one stage in this process, and says whether it is done; one that failed is tried again by the next call."""
    sitting = Sitting(name, arguments, device)
    if sitting.found["done"]:
        print(f"{name}: done before", flush=True)
        shutil.copytree(sitting.kept, arguments.out, dirs_exist_ok=True)
        return True
    sitting.found.pop("error", None)
    try:
        STAGES[name](sitting)
    except Exception as error:  # the other stages are worth having all the same
        traceback.print_exc()
        sitting.found["error"] = f"{type(error).__name__}: {error}"
    sitting.found["done"] = "error" not in sitting.found
    sitting.save()
    print(f"{name}: {sitting.found.get('error', 'done')} ({sitting.found['seconds']:.0f} s)", flush=True)
    return sitting.found["done"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; by default all, in this order"
    )
    parser.add_argument("--data", type=Path, help="the folder that gpu_data.py makes")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="receives the few files to take away")
    parser.add_argument("--work", type=Path, default=Path("runs/gpu"), help="keeps what a later call goes on from")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="narrow networks, seconds instead of minutes")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.stages if name not in STAGES]:
        parser.error(f"there is no stage {unknown[0]}: {', '.join(STAGES)}")
    os.environ.setdefault("GANVAS_CACHE", str((arguments.work / "cache").resolve()))
    device = distributed.device(arguments.device)
    torch.backends.cudnn.allow_tf32 = False  # as in training, so in what is judged afterwards
    if arguments.data:
        arguments.data = arguments.data.resolve()
    if len(arguments.stages) == 1:
        return 0 if staged(arguments.stages[0], arguments, device) else 1
    flags = [f"--out={arguments.out}", f"--work={arguments.work}", f"--device={arguments.device}"]
    flags += [f"--data={arguments.data}"] if arguments.data else []
    flags += ["--tiny"] if arguments.tiny else []
    return max(called([sys.executable, __file__, name, *flags]) for name in arguments.stages or STAGES)


def called(command: list[str]) -> int:
    """The exit status of another process, which may save its state when this one is interrupted."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


if __name__ == "__main__":
    with interrupts.interrupting():
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("Interrupted; the same command goes on.", file=sys.stderr)
            sys.exit(130)
