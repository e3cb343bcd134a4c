"""Endpoints about training: recipes and knobs, what a request would train, start, resume, stop, evaluate, remove."""

import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.errors import GanvasError
from ganvas.files import Removal, explain_os_error, make_folder
from ganvas.recipes import RECIPES, get_recipe
from ganvas.recipes.cpu import PRESETS
from ganvas.runs import cleaning
from ganvas.runs.folder import Run
from ganvas.runs.log import read_jsonl
from ganvas.studio import commands, knobs
from ganvas.studio.answers import Refusal, answer, describe, parameter, read_object
from ganvas.studio.folders import UPLOADS
from ganvas.studio.jobs import Job, remove_empty, too_many
from ganvas.studio.places import find_data, find_origin, find_run
from ganvas.values import to_flag, to_text

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

MAX_NAME = 100
"""Most bytes of a run's name that a page chooses."""

MAX_STARTS = 4
"""Requests at a time that start a command, and may wait for another to end: the other threads are for the rest."""

_NAME = re.compile(r"\w([\w .()+-]*[\w()+-])?")


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    posts = {
        "check": _check, "train": _train, "estimate": _estimate, "resume": _resume, "stop": _stop,
        "evaluate": _evaluate, "remove": _remove, "clean": _clean,
    }  # fmt: skip
    gets = {"recipes": _list_recipes, "knobs": _list_knobs, "jobs": _list_jobs, "neighbours": _find_neighbours}
    starts = CapacityLimiter(MAX_STARTS)
    return [
        *(Route(f"/api/{name}", partial(_act, studio, act, starts), methods=["POST"]) for name, act in posts.items()),
        *(Route(f"/api/{name}", partial(_read, studio, read)) for name, read in gets.items()),
    ]


async def _act(studio: "Studio", act: Any, starts: CapacityLimiter, request: Request) -> Response:
    """Calls an action with the body of the request, in a thread: it may wait for the disk, or for a job to end."""
    body = await read_object(request)
    result = await to_thread.run_sync(act, studio, body, limiter=starts if act in _WAITING else None)
    if isinstance(result, Job):
        return answer(studio.jobs.describe(result), 202)
    return answer(result)


async def _read(studio: "Studio", read: Any, request: Request) -> Response:
    return answer(await run_in_threadpool(read, studio, request))


# Recipes and knobs


def _list_recipes(studio: "Studio", request: Request) -> dict[str, Any]:
    return {"recipes": [_describe_recipe(name) for name in RECIPES]}


def _describe_recipe(name: str) -> dict[str, Any]:
    recipe = get_recipe(name)
    config = recipe.config
    speed = re.match(r"([\d.,]+) at (\d+)×(\d+)", recipe.cost)
    return {
        "name": name, "summary": recipe.summary, "source": recipe.source, "cost": recipe.cost,
        "images_per_s": float(speed[1].replace(",", "")) if speed else None,
        "size": [int(speed[2]), int(speed[3])] if speed else None,
        "family": config.network.family, "conditional": config.dataset.conditional, "data": config.dataset.data,
        "kimg": config.kimg, "minutes": config.minutes, "has_preset": name in PRESETS,
    }  # fmt: skip


def _list_knobs(studio: "Studio", request: Request) -> dict[str, Any]:
    """Those of a run, or of a recipe, whose values may depend on minutes, device and init_from."""
    given = dict(request.query_params)
    if key := given.get("run"):
        config = Run(studio.runs.find(key)).config
    else:
        if origin := given.pop("init_from", ""):
            with suppress(GanvasError):  # the check of the request says what is wrong with it
                given["init_from"] = str(find_origin(studio, origin))
        config = commands.base_of(parameter(request, "recipe"), given)
    return {"knobs": [knob.to_json() for knob in knobs.knobs_of(config).values()]}


# What a request would train


def _check(studio: "Studio", body: Mapping[str, Any]) -> dict[str, Any]:
    asked, errors = _ask(studio, body)
    fine = asked.config if not errors else None
    command = commands.quote(["ganvas", *asked.words]) if fine else None
    preset = asked.preset if fine else ""
    warnings = fine.warnings() if fine else []
    return {"ok": not errors, "errors": errors, "command": command, "warnings": warnings, "preset": preset}


def _ask(studio: "Studio", body: Mapping[str, Any]) -> tuple[commands.Request, list[dict[str, Any]]]:
    """The training that a body describes, with places in it made absolute, and everything that is wrong with it."""
    run = find_run(studio, body["run"]) if body.get("run") is not None else None
    given = body.get("knobs") or {}
    places, errors = dict[str, str](), list[dict[str, Any]]()
    own = {"data": run.config.dataset.data, "init_from": run.config.transfer.init_from} if run else {}
    for name, find in (("data", partial(find_data, hub=True)), ("init_from", find_origin)):
        value = body.get(name) or (given.get(name) if isinstance(given, dict) else None)
        if value and value != own.get(name):
            try:
                places[name] = str(find(studio, to_text(value, name, "a path")))
            except GanvasError as error:
                errors.append(describe(error) | {"field": name, "status": getattr(error, "status", 400)})
    kept = {name: value for name, value in given.items() if name not in own or name in places} if run else given
    asked = commands.check({**body, "data": None, "knobs": kept | places if isinstance(kept, dict) else kept}, run)
    return asked, errors + asked.errors


def _require(studio: "Studio", body: Mapping[str, Any]) -> commands.Request:
    asked, errors = _ask(studio, body)
    if errors:
        first: dict[str, Any] = {"status": 400, **errors[0]}
        raise Refusal(**first)
    return asked


def _estimate(studio: "Studio", body: Mapping[str, Any]) -> Job:
    asked = _require(studio, body)
    for job in studio.jobs.running("estimate"):  # of what was asked before
        studio.jobs.stop(job)
    return studio.jobs.start("estimate", [*asked.words, "--dry-run"])


def _check_others(studio: "Studio") -> None:
    """Refuses where trainings that this studio has not started, as those of one before it, are as many as may run.

    Raises:
        Refusal: they are, with those that it has started.
    """
    own = studio.jobs.running("train")
    paths = {job.path for job in own}
    others = [
        card["name"]
        for card in studio.runs.cards()
        if card["state"] == "training" and Path(card["folder"]) / card["name"] not in paths
    ]
    if others and len(others) + len(own) >= studio.trainings:
        raise too_many(f"{', '.join(others)} is being trained already.", "train", studio.trainings)


# Training


def _train(studio: "Studio", body: Mapping[str, Any]) -> Job:
    asked = _require(studio, body)
    assert asked.config is not None
    number = body.get("folder", 0)
    folder = studio.folders.folder(number if isinstance(number, int) else -1)
    path = reserve(folder, body.get("name"), f"{asked.recipe}-{_title(asked.config.dataset.data)}")
    try:
        _check_others(studio)
        words = [*asked.words, "--out", str(folder), "--name", path.name]
        return studio.jobs.start("train", words, path, most=studio.trainings)
    except GanvasError:
        remove_empty(path)
        raise


def reserve(folder: Path, name: Any, title: str) -> Path:
    """Makes the folder of a new run: the name that was chosen, or the next number before the title.

    Raises:
        Refusal: the name is taken, or impossible.
        GanvasError: the folder cannot be written, or the disk is full.
    """
    make_folder(folder)
    try:
        return _make_named(folder, name) if name else _make_numbered(folder, title)
    except OSError as error:
        raise explain_os_error(error, folder) from error


def _make_named(folder: Path, name: Any) -> Path:
    """The new folder of that name.

    Raises:
        Refusal: the name is taken, or impossible.
        OSError: the folder cannot be written.
    """
    is_name = isinstance(name, str) and _NAME.fullmatch(name) and len(name.encode()) <= MAX_NAME
    if not is_name or name.casefold() == UPLOADS:  # on some disks Uploads is the same folder
        expected = f"letters, digits, dots and dashes, at most {MAX_NAME} bytes, and not '{UPLOADS}'"
        raise Refusal(400, f"{str(name)[:MAX_NAME]!r} is no name of a run.", expected=expected, field="name")
    try:
        (folder / name).mkdir()
    except FileExistsError:
        raise Refusal(409, f"{name} exists already.", fix="choose another name.", field="name") from None
    return folder / name


def _make_numbered(folder: Path, title: str) -> Path:
    """The new folder with the next number before the title.

    Raises:
        OSError: the folder cannot be written.
    """
    numbers = [int(match[1]) for path in folder.iterdir() if (match := re.match(r"(\d{5})-", path.name))]
    number = max(numbers, default=-1) + 1
    while True:
        path = folder / f"{number:05d}-{title}"
        try:
            path.mkdir()
            return path
        except FileExistsError:  # another studio was faster
            number += 1


def _title(data: str) -> str:
    """The last part of a path or name, as it stands in the names of runs."""
    stem = re.sub(r"\.(tar\.\w+|\w{2,7})$", "", data.rstrip("/\\").replace("\\", "/").rpartition("/")[2])
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:48] or "images"


def _resume(studio: "Studio", body: Mapping[str, Any]) -> Job:
    run = find_run(studio, body.get("run"))
    progress = run.progress()
    if progress["state"] == "training":
        raise Refusal(409, f"{run.path.name} is being trained already.")
    if progress["state"] == "complete":
        raise Refusal(
            409, f"{run.path.name} is complete.", expected="a run that was stopped",
            fix="start a new one like it, which is longer.",
        )  # fmt: skip
    _check_others(studio)
    return studio.jobs.start("train", ["train", str(run.path)], run.path, most=studio.trainings)


def _stop(studio: "Studio", body: Mapping[str, Any]) -> dict[str, Any]:
    """Asks a job, a run or a comparison to end, once."""
    if body.get("job") is not None:
        job = studio.jobs.find(to_text(body["job"], "job", "the id of a job"))
    else:
        path = find_run(studio, body.get("comparison", body.get("run"))).path
        job = studio.jobs.job_of(path)
        if job is None or job.kind not in ("train", "compare"):
            from ganvas.studio.stopping import stop_holder  # psutil, which no page needs before

            stop_holder(path)
            return {"stopping": True, "job": None}
    studio.jobs.stop(job)
    return {"stopping": True, "job": studio.jobs.describe(job)}


def _evaluate(studio: "Studio", body: Mapping[str, Any]) -> Job:
    run = find_run(studio, body.get("run"))
    _ = run.latest_snapshot
    return studio.jobs.start("evaluate", ["evaluate", str(run.path)], run.path, most=1)


def _find_neighbours(studio: "Studio", request: Request) -> dict[str, Any]:
    """The picture of the closest pairs that the last evaluation drew, and what it measured."""
    key = parameter(request, "run")
    run = Run(studio.runs.find(key))
    drawn = run.path / "closest.png"
    rows = read_jsonl(run.path / "metrics.jsonl")
    return {
        "name": drawn.name if drawn.is_file() else None,
        "evaluation": rows[-1] if rows else None,
        "command": commands.quote(["ganvas", "evaluate", run.path]),
    }


# Removing


def _remove(studio: "Studio", body: Mapping[str, Any]) -> dict[str, Any]:
    keys = body.get("runs")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise Refusal(400, "No runs are named.", expected="a list of keys of runs", field="runs")
    dry_run = to_flag(body.get("dry_run", False), "dry_run")
    paths = [studio.folders.find(key) for key in keys]
    for path in paths:
        if path in studio.folders.paths:
            raise Refusal(409, f"{path} is the folder that the studio shows.", fix="remove it in a terminal.")
    return _removed(cleaning.remove(paths, dry_run=dry_run), dry_run)


def _clean(studio: "Studio", body: Mapping[str, Any]) -> dict[str, Any]:
    dry_run = to_flag(body.get("dry_run", False), "dry_run")
    notes: list[str] = []
    removals = [
        removal
        for folder in studio.folders.paths
        if folder.is_dir()
        for removal in cleaning.clean(folder, dry_run=dry_run, note=notes.append)
    ]
    return _removed(removals, dry_run) | {"notes": notes}


def _removed(removals: list[Removal], dry_run: bool) -> dict[str, Any]:
    total = sum(removal.bytes for removal in removals)
    return {"removed": [removal.to_json() for removal in removals], "bytes": total, "dry_run": dry_run}


_WAITING = (_train, _resume, _evaluate, _estimate)


def _list_jobs(studio: "Studio", request: Request) -> dict[str, Any]:
    if name := request.query_params.get("id"):
        return {"jobs": [studio.jobs.describe(studio.jobs.find(name))]}
    return {"jobs": studio.jobs.to_json()}
