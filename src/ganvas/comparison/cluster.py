"""The trainings of a comparison on a Ray cluster: one task each, on whichever machine has room.

All machines must see the folder of the runs under one path, for a run is its folder: when a machine is lost, another
goes on from the state saved there. The training is the task itself, no process of its own: it ends with Ray's worker,
and the run is free.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ganvas.comparison.jobs import Job, Outcome, complete, interrupted, lost, reached
from ganvas.comparison.progress import Board
from ganvas.config import replace as with_knobs
from ganvas.errors import GanvasError
from ganvas.files import explain, make_folder
from ganvas.interrupts import collected

RETRIES = 4
"""Lost machines or killed workers that a run survives."""
PATIENCE = 60.0
"""Seconds that a run waits for its lock: a lost machine's process may still be ending, and file servers are slow."""
_SIGHT = 10.0
"""Seconds in which a file made on one machine must be seen on all."""
_REACH = 5.0
"""Seconds to wait for a cluster's answer."""
_MEMORY = 100 << 20
"""Bytes for objects that tasks share; ours share nothing."""
_PAUSE = 0.2


def there(jobs: Sequence[Job], address: str, quiet: bool, meanwhile: Callable[[], object]) -> Iterator[Outcome]:
    """`train_all` on the cluster at `address`, or one of this machine alone ("local").

    Raises:
        GanvasError: Ray is not installed, or no cluster answers.
        KeyboardInterrupt: as `train_all`.
    """
    undone = [job for job in jobs if not complete(job)]
    with ExitStack() as held:
        ray = held.enter_context(_connected(address)) if undone else None
        board = held.enter_context(Board(jobs, bar=True, quiet=quiet))
        for job in jobs:
            if job not in undone:
                yield board.ends(Outcome(job, ""), before=True)
        if ray is None:
            return
        stop = held.enter_context(collected(board.stops))
        marks = {out: held.enter_context(_mark(out.resolve())) for out in {job.out for job in undone}}
        play = ray.remote(max_calls=1, max_retries=RETRIES)(_play)
        gpus = ray.cluster_resources().get("GPU", 0) > 0
        refs = {
            play.options(num_cpus=1, num_gpus=int(gpus and job.config.habits.device != "cpu")).remote(
                _absolute(job).to_json(), str(marks[job.out])
            ): job
            for job in undone
        }
        told = False
        try:
            with stop.raised_once():
                meanwhile()
            while refs:
                if stop and not told:
                    told = True
                    _cancel(ray, refs)
                for ref in ray.wait(list(refs), timeout=_PAUSE)[0]:
                    with stop.raised():
                        yield board.ends(_outcome(ray, ref, refs.pop(ref), told))
                board.look([job for job in refs.values() if reached(job.run)])
        finally:
            _cancel(ray, refs, force=stop.at_once)
            if refs:
                ray.wait(list(refs), num_returns=len(refs))
        if stop:
            raise KeyboardInterrupt("stopped; the same command goes on from there")


def _play(job: dict[str, Any], mark: str) -> str:
    """What runs on the cluster: trains, and returns nothing or what went wrong."""
    from ganvas.comparison.worker import play

    deadline = time.monotonic() + _SIGHT
    while not Path(mark).exists():
        if time.monotonic() > deadline:
            return (
                f"The machine {socket.gethostname()} does not see {Path(mark).parent}. Expected: a folder that all "
                "machines of the cluster share under one path. Fix: mount it there, or choose another --out."
            )
        time.sleep(0.5)
    try:
        return play(Job.from_json(job), quiet=True, patience=PATIENCE)
    except GanvasError as error:  # a job that another version wrote
        return f"{socket.gethostname()} has another version of Ganvas: {error.what}"


def _outcome(ray: Any, ref: Any, job: Job, told: bool) -> Outcome:
    """What came of a task. `told`: it had been asked to stop."""
    try:
        trouble = ray.get(ref)
        return Outcome(job, trouble, stopped=told and bool(trouble))
    except ray.exceptions.TaskCancelledError:
        return interrupted(job, begun=job.run.path.exists())
    except ray.exceptions.RayError as error:
        if told:
            return interrupted(job, begun=job.run.path.exists())
        why = (str(error).strip().splitlines() or [""])[-1].strip()
        return lost(job, f"Ray gave it up, {type(error).__name__}: {why.rstrip('.')}.")


def _cancel(ray: Any, refs: Any, *, force: bool = False) -> None:
    """A KeyboardInterrupt for each task, or with `force` its end."""
    for ref in refs:
        with suppress(ray.exceptions.RayError, ValueError):
            ray.cancel(ref, force=force)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray's module, connected; quiet, and disconnected at the end if it was not connected before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leaves CUDA alone, and no warning of it
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # else for ever
    try:
        import ray
    except ImportError as error:
        raise GanvasError(
            f"--ray needs Ray, which is not installed ({error}).", fix="pip install 'ganvas[cluster]'"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    here: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _MEMORY} if address == "local" else {}
    if not here:
        _check_answers(address)
    try:
        with _hushed():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **here)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, (str(error).splitlines() or [type(error).__name__])[0]) from error
    inner: Any = import_module("ray._private.worker")
    inner._worker_logs_enabled = False  # a lost machine's last words would go to our stdout, which is for --json
    try:
        yield ray
    finally:
        ray.shutdown()
        inner._worker_logs_enabled = True


@contextmanager
def _hushed() -> Iterator[None]:
    """Nothing reaches stderr in the block: what goes wrong comes as an exception too."""
    with Path(os.devnull).open("w") as nowhere:
        own = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)


def _check_answers(address: str) -> None:
    """Refuses an address where nobody listens; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal() or int(port) > 65535:
        raise _unreachable(address, "that is no address")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error


def _unreachable(address: str, why: str) -> GanvasError:
    return GanvasError(
        f"No Ray cluster answers at {address} ({why.rstrip('.')}).",
        expected="local, auto, or HOST:PORT as ray start --head prints it (ray://HOST:PORT from outside the cluster)",
        fix="start one with ray start --head, or --ray local for this machine alone.",
    )


@contextmanager
def _mark(out: Path) -> Iterator[Path]:
    """A file in the folder of the runs by which the machines of the cluster know that they see it."""
    make_folder(out)
    mark = out / f".seen-{uuid.uuid4().hex}"
    try:
        mark.touch()
    except OSError as error:
        raise explain(error, mark) from error
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def _absolute(job: Job) -> Job:
    """The same job, of which the paths mean the same wherever it is run."""
    data = Path(job.config.pictures.data).expanduser()
    config = with_knobs(job.config, data=str(data.resolve())) if data.exists() else job.config
    return replace(job, config=config, out=job.out.resolve())
