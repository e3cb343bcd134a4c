"""The trainings of a comparison on a Ray cluster: one task each, on any machine with free resources.

All machines must share the folder of the runs under one path: when a machine is lost, another resumes from the state
saved there. The training runs in the Ray worker itself, not in a process of its own: when the worker ends, the run's
lock is released.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ganvas import user_code
from ganvas.comparison.jobs import Job, Outcome, ended_outcome, interrupted_outcome, lost_outcome
from ganvas.comparison.progress import ProgressDisplay
from ganvas.config import CODE_KNOBS, leaves
from ganvas.config import replace as with_knobs
from ganvas.config.trackers import parse_trackers
from ganvas.errors import GanvasError
from ganvas.files import explain_os_error, make_folder
from ganvas.interrupts import collect_stop_requests
from ganvas.runs.log import current_nimg
from ganvas.values import expand_user

RETRIES = 4
"""How often a run is started again after its machine is lost or its worker is killed."""
LOCK_TIMEOUT = 60.0
"""Seconds that a run waits for its lock: the process of a lost machine may still be ending, or file servers slow."""
_VISIBILITY_TIMEOUT = 10.0
"""Seconds within which a file created on one machine must be visible on all."""
_CONNECT_TIMEOUT = 5.0
"""Seconds to wait for a connection to the cluster."""
_OBJECT_STORE_BYTES = 100 << 20
"""Size of Ray's object store, which these tasks do not use."""
_POLL_INTERVAL = 0.2


def train_on_ray(
    jobs: Sequence[Job], address: str, quiet: bool, meanwhile: Callable[[], object], gpus_per_run: float = 1.0
) -> Iterator[Outcome]:
    """`train_all` on the Ray cluster at `address`, or on a cluster of this machine alone ("local").

    Raises:
        GanvasError: Ray is not installed, or no cluster answers.
        KeyboardInterrupt: as `train_all`.
    """
    ended = [ended_outcome(job) for job in jobs]
    unfinished = [job for job, outcome in zip(jobs, ended, strict=True) if outcome is None]
    with ExitStack() as held:
        ray = held.enter_context(_connect(address)) if unfinished else None
        display = held.enter_context(ProgressDisplay(jobs, bar=True, quiet=quiet))
        for outcome in filter(None, ended):
            yield display.on_end(outcome, already=True)
        if ray is None:
            return
        stop = held.enter_context(collect_stop_requests(display.on_stop))
        markers = {out: held.enter_context(_marker_file(out.resolve())) for out in {job.out for job in unfinished}}
        task = ray.remote(max_calls=1, max_retries=RETRIES)(_run_remotely)
        there = ray.cluster_resources()
        refs = {
            task.options(**_resources(job, there, gpus_per_run)).remote(
                _with_absolute_paths(job).to_json(), str(markers[job.out])
            ): job
            for job in unfinished
        }
        stopping = False
        try:
            with stop.end_block():
                meanwhile()
            while refs:
                if stop and not stopping:
                    stopping = True
                    _cancel(ray, refs)
                for ref in ray.wait(list(refs), timeout=_POLL_INTERVAL)[0]:
                    with stop.raise_in_block():
                        yield display.on_end(_outcome(ray, ref, refs.pop(ref), stopping))
                display.update([job for job in refs.values() if current_nimg(job.run.path)])
        finally:
            _cancel(ray, refs, force=stop.immediate)
            if refs:
                ray.wait(list(refs), num_returns=len(refs))
        if stop:
            raise KeyboardInterrupt("stopped; the same command resumes from there")


def _resources(job: Job, there: Mapping[str, float], gpus_per_run: float) -> dict[str, float]:
    """What a training asks of a machine: a core, and `gpus_per_run` of a GPU if it may use one and there is any.

    Args:
        there: what the cluster has in all, as Ray names it.
    """
    on_gpu = there.get("GPU", 0) > 0 and job.config.runtime.device != "cpu"
    return {"num_cpus": 1, "num_gpus": gpus_per_run if on_gpu else 0}


def _run_remotely(job: dict[str, Any], marker: str) -> str:
    """The Ray task: trains a job; returns what went wrong, or an empty string."""
    from ganvas.comparison.worker import run_job

    deadline = time.monotonic() + _VISIBILITY_TIMEOUT
    while not Path(marker).exists():
        if time.monotonic() > deadline:
            return (
                f"The machine {socket.gethostname()} does not have {Path(marker).parent}. Expected: a folder that all "
                "machines of the cluster share under one path. Fix: mount it there, or choose another --out."
            )
        time.sleep(0.5)
    try:
        return run_job(Job.from_json(job), quiet=True, lock_timeout=LOCK_TIMEOUT, alone=False)
    except GanvasError as error:  # the job was written by another version
        return f"{socket.gethostname()} has another version of Ganvas: {error.what}"


def _outcome(ray: Any, ref: Any, job: Job, stopping: bool) -> Outcome:
    """The outcome of a finished task. `stopping`: it was cancelled by the user."""
    try:
        problem = ray.get(ref)
        return Outcome(job, problem, stopped=stopping)
    except ray.exceptions.TaskCancelledError:
        return interrupted_outcome(job)
    except ray.exceptions.RayError as error:
        if stopping:
            return interrupted_outcome(job)
        reason = (str(error).strip().splitlines() or [""])[-1].strip()
        return lost_outcome(job, f"Ray ended it, {type(error).__name__}: {reason.rstrip('.')}.")


def _cancel(ray: Any, refs: Any, *, force: bool = False) -> None:
    """Raises KeyboardInterrupt in each task, or kills it with `force`."""
    for ref in refs:
        with suppress(ray.exceptions.RayError, ValueError):
            ray.cancel(ref, force=force)


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    """Yields Ray's module, connected and without log output; disconnects at the end if it was not connected before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # keeps CUDA_VISIBLE_DEVICES, without a warning
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # the default is to retry for ever
    try:
        import ray
    except ImportError as error:
        raise GanvasError(
            f"--ray needs Ray, which is not installed ({error}).", fix="pip install 'ganvas[cluster]'"
        ) from error
    if ray.is_initialized():
        yield ray
        return
    local: dict[str, Any] = (
        {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES} if address == "local" else {}
    )
    if not local:
        _check_reachable(address)
    try:
        with _silence_stderr():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except (OSError, RuntimeError, ValueError) as error:
        raise _unreachable_error(address, (str(error).splitlines() or [type(error).__name__])[0]) from error
    inner: Any = import_module("ray._private.worker")
    inner._worker_logs_enabled = False  # a lost machine's output would go to stdout, which is for --json
    try:
        yield ray
    finally:
        ray.shutdown()
        inner._worker_logs_enabled = True


@contextmanager
def _silence_stderr() -> Iterator[None]:
    """Discards stderr in the block; errors are raised as exceptions anyway."""
    with Path(os.devnull).open("w") as nowhere:
        own = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(own, 2)
            os.close(own)


def _check_reachable(address: str) -> None:
    """Raises an error for an address that does not answer; Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    if not host or not port.isdecimal() or int(port) > 65535:
        raise _unreachable_error(address, "it is not a valid address")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT).close()
    except OSError as error:
        raise _unreachable_error(address, error.strerror or str(error)) from error


def _unreachable_error(address: str, reason: str) -> GanvasError:
    return GanvasError(
        f"No Ray cluster answers at {address} ({reason.rstrip('.')}).",
        expected="local, auto, or HOST:PORT as ray start --head prints it (ray://HOST:PORT from outside the cluster)",
        fix="start one with ray start --head, or --ray local for this machine alone.",
    )


@contextmanager
def _marker_file(out: Path) -> Iterator[Path]:
    """Creates a file in the folder of the runs, by which the machines of the cluster check that they share it."""
    make_folder(out)
    marker = out / f".marker-{uuid.uuid4().hex}"
    try:
        marker.touch()
    except OSError as error:
        raise explain_os_error(error, marker) from error
    try:
        yield marker
    finally:
        marker.unlink(missing_ok=True)


def _with_absolute_paths(job: Job) -> Job:
    """The same job with absolute paths, valid in any working folder."""
    knobs = dict(leaves(job.config))
    found = {name: user_code.absolute(knobs[name]) for name in CODE_KNOBS if user_code.is_spec(knobs.get(name))}
    if knobs["log_to"]:
        found["log_to"] = ",".join(map(user_code.absolute, parse_trackers(knobs["log_to"])))
    for name in ("data", "init_from"):
        if knobs[name] and (path := expand_user(knobs[name])).exists():
            found[name] = str(path.resolve())
    return replace(job, config=with_knobs(job.config, **found), out=job.out.resolve())
