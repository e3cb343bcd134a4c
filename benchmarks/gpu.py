"""Tests and measures Ganvas on one GPU in half an hour: tests, speed, three trainings, two ranks. See GPU.md.

    python benchmarks/gpu.py [STAGE …] --data FOLDER --out DIR [--work DIR] [--device cuda] [--tiny]

Each stage has a time limit of less than ten minutes. Another call skips stages that are done and resumes an unfinished
training from its saved state; all of that is stored in --work. --out receives copies of the result files: results.json,
report.md, and a grid of images for each training.

gpu_data.py creates the folder for --data. --tiny runs all stages on a CPU in a minute, with data of any size.
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
from gpu_report import TIME_LIMITS
from gpu_rounds import MEASURED_RECIPES, MODES, RANKS_BATCH, RANKS_ROUNDS, TINY_OVERRIDES, TOLERANCE, compare_ranks

import ganvas
from ganvas import image_io, interrupts
from ganvas.config import TrainConfig, replace
from ganvas.errors import GanvasError
from ganvas.files import write_json, write_text
from ganvas.recipes import RECIPES
from ganvas.runs.log import read_jsonl
from ganvas.training import distributed, memory, start

ROOT = Path(__file__).resolve().parent.parent
TINY_SECONDS = 3.0  # duration of a training
ROUNDS = ROOT / "benchmarks" / "gpu_rounds.py"
PROCESS_START = psutil.Process().create_time()  # includes the start of Python


@dataclass(frozen=True)
class TrainingStage:
    """A training within the time limit of its stage.

    Attributes:
        recipe, data, overrides: what is trained, and the changes to the recipe that make it fit the time limit.
        count: images on each side of the evaluation.
        evaluation_seconds: the part of the stage's time that is reserved for the evaluation.
        memory_limit: bytes of GPU memory that the process may use; None for all.
    """

    recipe: str
    data: str
    overrides: dict[str, Any]
    count: int
    evaluation_seconds: float
    memory_limit: float | None = None


_FAST: dict[str, Any] = {
    "width": 128, "blocks": 1, "batch": 64, "microbatch": None, "beta2": 0.99, "ema": 20.0,
    "g_lr": "5e-4..1e-4:cosine", "d_lr": "5e-4..1e-4:cosine",
}  # fmt: skip
"""9.5 GFLOP per image instead of 600, with which only a few thousand images would fit the time limit."""

TRAININGS = {
    "stacked": TrainingStage("r3gan-short", "stacked-mnist:{}/mnist", {**_FAST, "r1": 1.0, "r2": 1.0}, 26_000, 120),
    "stacked-fast": TrainingStage("fast", "stacked-mnist:{}/mnist", {}, 26_000, 120),
    "cifar-r3gan": TrainingStage("r3gan-short", "{}/cifar10-half.zip", {**_FAST, "r1": 0.5, "r2": 0.5}, 10_000, 60),
    "cifar-stylegan": TrainingStage("stylegan", "{}/cifar10-half.zip", {}, 10_000, 60, memory_limit=4e9),
    "cifar-fast": TrainingStage("fast", "{}/cifar10-half.zip", {"mirror": True}, 10_000, 60),
    "faces-64": TrainingStage("fast", "{}/faces.zip", {"mirror": True, "resolution": "64"}, 1_000, 60),
    "faces-128": TrainingStage("fast", "{}/faces.zip", {"mirror": True, "resolution": "128"}, 1_000, 60),
}


class StageRun:
    """One call of one stage.

    Attributes:
        report_folder: the folder that is copied to --out.
        results: the results of all stages, as in results.json.
        result: the results of this stage.
        earlier_seconds: duration of earlier calls of this stage.
    """

    def __init__(self, name: str, arguments: argparse.Namespace, device: torch.device) -> None:
        self.name, self.arguments, self.device = name, arguments, device
        self.tiny: bool = arguments.tiny
        self.report_folder: Path = arguments.work / "report"
        self.report_folder.mkdir(parents=True, exist_ok=True)
        path = self.report_folder / "results.json"
        self.results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"stages": {}}
        self.result: dict[str, Any] = self.results["stages"].setdefault(name, {"done": False, "seconds": 0.0})
        self.earlier_seconds: float = self.result["seconds"]

    def seconds_left(self) -> float:
        """Seconds until the time limit of the stage."""
        limit = TIME_LIMITS[self.name] * (10 if self.tiny else 1)  # a busy CPU may take long to start a process
        return limit - self.earlier_seconds - (time.time() - PROCESS_START)

    def save(self) -> None:
        """Writes results and report."""
        self.result["seconds"] = round(self.earlier_seconds + time.time() - PROCESS_START, 1)
        self.results["machine"] = describe_machine(self.device)
        write_json(self.report_folder / "results.json", self.results)
        write_text(self.report_folder / "report.md", gpu_report.markdown(self.results))
        shutil.copytree(self.report_folder, self.arguments.out, dirs_exist_ok=True)


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Versions and hardware."""
    facts = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ganvas": ganvas.__version__,
        "cores": os.cpu_count(),
        "device": str(device),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {"gpu": properties.name, "memory": properties.total_memory, "cuda": torch.version.cuda}
        facts |= {"cudnn": torch.backends.cudnn.version()}
    return facts


def run_tests(stage: StageRun) -> None:
    """Runs the tests marked gpu, then the fast tests, within the time that is left."""
    parts = {"marked gpu": ["tests/test_gpu.py"], "fast": ["tests", "-m", "not slow and not gpu"]}
    if stage.tiny:
        parts = {"marked gpu": ["tests/test_gpu.py", "-k", "mlp"], "fast": ["tests/test_devices.py"]}
    rows = stage.result["rows"] = stage.result.get("rows", [])
    for name, words in parts.items():
        if all(row["tests"] != name for row in rows):
            alone = name == "marked gpu" or stage.tiny or find_spec("xdist") is None
            workers = 0 if alone else min(8, os.cpu_count() or 1)
            rows.append({"tests": name, **run_pytest(words, stage.device, workers, stage.seconds_left() - 15)})
            stage.save()


def run_pytest(words: list[str], device: torch.device, workers: int, seconds: float) -> dict[str, Any]:
    """Runs pytest, interrupting it after so many seconds, and returns the outcome."""
    start_time = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", *words, "-p", "no:cacheprovider", f"--junitxml={report}"]
        command += ["-n", str(workers)] if workers else []
        environment = {**os.environ, "GANVAS_TEST_DEVICE": str(device)}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            output, in_time = process.communicate(timeout=max(seconds, 1))[0], True
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # on SIGINT pytest still writes its report
            timer = threading.Timer(10, process.kill)
            timer.start()
            output, in_time = process.communicate()[0], False
            timer.cancel()
        row = {"seconds": round(time.monotonic() - start_time, 1), "in_time": in_time, "status": process.returncode}
        if not report.exists():
            return {**row, "output": output[-2000:]}
        cases = list(ElementTree.parse(report).iter("testcase"))
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    failed = [f"{case.get('classname')}::{case.get('name')}" for case in bad]
    return {**row, "passed": len(cases) - len(bad) - skipped, "skipped": skipped, "failed": failed}


def run_ceilings(stage: StageRun) -> None:
    """Measures the fastest matrix product and copy of the device, in a process of its own."""
    found = run_in_process(stage, "ceilings", str(stage.device))
    if isinstance(found, dict):
        raise GanvasError(f"The ceilings could not be measured: {found['error']}.")
    stage.result["rows"] = found


def run_throughput(stage: StageRun) -> None:
    """Measures speed and peak memory of the recipes in the modes of this stage, each in its own process."""
    rows = stage.result["rows"] = stage.result.get("rows", [])
    recipes, batches = (["cnn-stable", "r3gan-short"], (8,)) if stage.tiny else (MEASURED_RECIPES, (64, 256))
    modes = [mode for mode in MODES if mode.endswith("compiled") == (stage.name == "compiled")]
    batches = batches[-1:] if stage.name == "compiled" else batches
    todo = [(recipe, batch, mode) for recipe in recipes for batch in batches for mode in modes]
    todo = [case for case in todo if all((row["recipe"], row["batch"], row["mode"]) != case for row in rows)]
    while todo:
        recipe, batch, mode = todo.pop(0)
        seconds = 0.2 if stage.tiny else stage.seconds_left() / (len(todo) + 1)
        found = run_in_process(stage, "measure", str(stage.device), recipe, str(batch), mode, str(seconds))
        rows.append({"recipe": recipe, "batch": batch, "mode": mode, **found})
        stage.save()


def run_profile(stage: StageRun) -> None:
    """Profiles the three recipes that are furthest from the device's ceiling, as `throughput` has found."""
    rows = stage.result["rows"] = stage.result.get("rows", [])
    measured = [row for row in rows_of(stage.results, "throughput") if row["mode"] == "bf16" and "error" not in row]
    largest = {row["recipe"]: row for row in sorted(measured, key=lambda row: row["batch"])}.values()
    slowest = sorted(largest, key=lambda row: row["images_per_s"] * row["flops_per_image"])[:3]
    for row in slowest:
        if any(other["recipe"] == row["recipe"] for other in rows):
            continue
        words = (row["recipe"], str(row["batch"]), row["mode"])
        found = run_in_process(stage, "profile", str(stage.device), *words)
        rows.append({"recipe": row["recipe"], "batch": row["batch"], "operations": found})
        stage.save()


def rows_of(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The rows of a stage; none if it has not run."""
    return results["stages"].get(name, {}).get("rows", [])


def run_in_process(stage: StageRun, task: str, *words: str) -> Any:
    """What a task of gpu_rounds.py prints, run in its own process, or the error: {"error": text}."""
    command = [sys.executable, str(ROUNDS), task, *words, *(["tiny"] if stage.tiny else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=max(stage.seconds_left(), 1))
    except subprocess.TimeoutExpired:
        return {"error": "the time limit of the stage was reached"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:300]}
    return json.loads(done.stdout.splitlines()[-1])


def run_training(stage: StageRun) -> None:
    """Trains within the time limit, resuming where an earlier call stopped, and evaluates the result."""
    training, result, device = TRAININGS[stage.name], stage.result, stage.device
    if stage.arguments.data is None:
        raise GanvasError(f"{stage.name} needs images.", expected="--data, the folder that gpu_data.py creates")
    if device.type == "cuda" and training.memory_limit:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, training.memory_limit / total), device)
        result["limit_bytes"] = training.memory_limit
    run = ganvas.Run(stage.arguments.work / "runs" / stage.name)
    ticks = list(read_jsonl(run.path / "stats.jsonl")) if (run.path / "stats.jsonl").exists() else []
    trained_seconds = ticks[-1]["seconds"] if ticks else 0.0  # includes a call that was killed
    stage.earlier_seconds = max(stage.earlier_seconds, trained_seconds)
    if not result.get("trained"):
        what: TrainConfig | ganvas.Run = run
        if not (run.path / "config.json").exists():
            what = plan_training(stage, training)
            run.path.parent.mkdir(parents=True, exist_ok=True)
        result["in_time"] = train(what, run, stage, training_seconds(stage, training))
        result["trained"] = bool(run.snapshots)
        result["peak_bytes"] = max(result.get("peak_bytes", 0), memory.peak_bytes(device) or 0)
        stage.save()
    evaluate_training(stage, training, run)
    stage.save()


def training_seconds(stage: StageRun, training: TrainingStage) -> float:
    """Seconds from now that are available for training."""
    if stage.tiny:
        return 10 * TINY_SECONDS if training.recipe == "fast" else TINY_SECONDS
    return stage.seconds_left() - training.evaluation_seconds


def plan_training(stage: StageRun, training: TrainingStage) -> TrainConfig:
    """The configuration, with a length that fits according to a trial, less a margin for snapshots and statistics."""
    data = training.data.format(stage.arguments.data)
    small = {**TINY_OVERRIDES[training.recipe], "batch": 8} if stage.tiny else {}
    small |= {"resolution": "16"} if stage.tiny and "resolution" in training.overrides else {}
    runtime = {"plot": False, "evaluate_every": 0.0, "device": str(stage.device)}
    config = replace(RECIPES[training.recipe].config, data=data, **{**training.overrides, **small, **runtime})
    if training.recipe == "fast":  # planned by time
        minutes = TINY_SECONDS / 60 if stage.tiny else 0.9 * training_seconds(stage, training) / 60
        stage.result["overrides"] = {**training.overrides, **small, "minutes": minutes}
        return replace(config, minutes=minutes, kimg=None)
    speed = start.plan(config)["images_per_s"]
    kimg = max(config.images_per_round / 1000, round(0.85 * speed * training_seconds(stage, training) / 1000, 3))
    stage.result["overrides"] = {**training.overrides, **small, "kimg": kimg}
    stage.result["trial_images_per_s"] = speed
    stage.save()
    return replace(config, kimg=kimg, tick_kimg=kimg / 50, snapshot_kimg=kimg / 5)


def train(what: TrainConfig | ganvas.Run, run: ganvas.Run, stage: StageRun, seconds: float) -> bool:
    """Trains for at most `seconds`, then stops with the state saved; returns whether the training is complete.

    Raises:
        KeyboardInterrupt: it was interrupted by the user; its state is saved as well.
    """
    with stop_after(max(seconds, 0.1)) as expired:
        try:
            ganvas.train(what, out=run.path.parent, name=run.path.name, quiet=True)
        except KeyboardInterrupt:
            if not expired.is_set():
                stage.result["peak_bytes"] = memory.peak_bytes(stage.device)
                stage.save()
                raise
            return False
    return True


@contextmanager
def stop_after(seconds: float) -> Iterator[threading.Event]:
    """Sends SIGTERM to this process, on which a training saves its state, if the block takes longer."""
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        os.kill(os.getpid(), signal.SIGTERM)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()


def evaluate_training(stage: StageRun, training: TrainingStage, run: ganvas.Run) -> None:
    """Records progress and speed of the training, a grid of samples, and the evaluation with its protocol."""
    result = stage.result
    ticks = list(read_jsonl(run.path / "stats.jsonl"))
    if not ticks:
        raise GanvasError(f"The training of {stage.name} made no tick in its time.", fix="give it more time.")
    result |= {
        "recipe": training.recipe,
        "data": run.metadata["data"]["name"],
        "kimg": ticks[-1]["nimg"] / 1000,
        "planned_kimg": run.config.kimg or ticks[-1]["planned"] / 1000,
        "training_seconds": ticks[-1]["seconds"],
        "images_per_s": ticks[-1]["nimg"] / ticks[-1]["seconds"],
    }
    samples = ganvas.load(run, device=str(stage.device)).sample(seeds=range(64))
    image_io.save_image(image_io.make_grid(samples, 8), stage.report_folder / f"{stage.name}.png")
    start_time = time.perf_counter()
    count = 100 if stage.tiny else training.count
    result["evaluation"] = ganvas.evaluate(run, count=count, quick=True, device=str(stage.device)).to_json()
    result["evaluation_seconds"] = round(time.perf_counter() - start_time, 1)


def run_ranks(stage: StageRun) -> None:
    """Runs the same rounds in one process, and in two that share device and batch (by Gloo: NCCL needs two GPUs)."""
    threads = str(max(1, (os.cpu_count() or 1) // 4))
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for world, rank in ((1, 0), (2, 0), (2, 1)):
            variables = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "OMP_NUM_THREADS": threads}
            environment = {
                "GLOO_SOCKET_IFNAME": "lo",
                **os.environ,
                **{name: str(value) for name, value in variables.items()},
            }
            command = [sys.executable, str(ROUNDS), "rank", str(stage.device), folder]
            processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
        failed = []
        for process in processes:
            try:
                output = process.communicate(timeout=max(stage.seconds_left(), 1))[1]
            except subprocess.TimeoutExpired:
                process.kill()
                output = process.communicate()[1] + "\nthe time limit of the stage was reached"
            failed += [output.strip()[-500:]] if process.returncode else []
        if failed:
            raise GanvasError(f"A rank failed: {failed[0]}.")
        stage.result["rows"] = compare_ranks(Path(folder))
    stage.result |= {"rounds": RANKS_ROUNDS, "batch": RANKS_BATCH, "tolerance": TOLERANCE}


STAGES: dict[str, Callable[[StageRun], None]] = {
    "tests": run_tests,
    "ceilings": run_ceilings,
    "throughput": run_throughput,
    "compiled": run_throughput,
    "profile": run_profile,
    **dict.fromkeys(TRAININGS, run_training),
    "ranks": run_ranks,
}


def run_stage(name: str, arguments: argparse.Namespace, device: torch.device) -> bool:
    """Runs one stage in this process and returns whether it is done; the next call repeats a stage that failed."""
    stage = StageRun(name, arguments, device)
    if stage.result["done"]:
        print(f"{name}: already done", flush=True)
        shutil.copytree(stage.report_folder, arguments.out, dirs_exist_ok=True)
        return True
    stage.result.pop("error", None)
    try:
        STAGES[name](stage)
    except Exception as error:  # the other stages run all the same
        traceback.print_exc()
        stage.result["error"] = f"{type(error).__name__}: {error}"
    stage.result["done"] = "error" not in stage.result
    stage.save()
    print(f"{name}: {stage.result.get('error', 'done')} ({stage.result['seconds']:.0f} s)", flush=True)
    return stage.result["done"]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"{', '.join(STAGES)}; by default all, in this order"
    )
    parser.add_argument("--data", type=Path, help="the folder that gpu_data.py creates")
    parser.add_argument("--out", type=Path, default=Path("gpu-results"), help="folder for the results")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/gpu"), help="folder for the state that a later call resumes from"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small networks, seconds instead of minutes")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.stages if name not in STAGES]:
        parser.error(f"there is no stage {unknown[0]}: {', '.join(STAGES)}")
    os.environ.setdefault("GANVAS_CACHE", str((arguments.work / "cache").resolve()))
    device = distributed.local_device(arguments.device)
    if arguments.data:
        arguments.data = arguments.data.resolve()
    if len(arguments.stages) == 1:
        return 0 if run_stage(arguments.stages[0], arguments, device) else 1
    flags = [f"--out={arguments.out}", f"--work={arguments.work}", f"--device={arguments.device}"]
    flags += [f"--data={arguments.data}"] if arguments.data else []
    flags += ["--tiny"] if arguments.tiny else []
    return max(run_command([sys.executable, __file__, name, *flags]) for name in arguments.stages or STAGES)


def run_command(command: list[str]) -> int:
    """Runs a process and returns its exit status; on Ctrl-C it is terminated, which lets it save its state."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


if __name__ == "__main__":
    with interrupts.raise_on_signal():
        try:
            sys.exit(main())
        except KeyboardInterrupt:
            print("Interrupted; the same command resumes.", file=sys.stderr)
            sys.exit(130)
