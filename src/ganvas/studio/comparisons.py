"""Endpoints of comparisons: those in the folders with their trainings, and the start of a new one."""

import os
import shlex
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.config.flags import to_words
from ganvas.errors import GanvasError
from ganvas.reading import read_json
from ganvas.recipes import RECIPES
from ganvas.runs.lock import is_being_trained
from ganvas.studio import commands
from ganvas.studio.answers import Refusal, answer, describe, read_object
from ganvas.studio.comparison_progress import count_trainings, find_part, find_progress
from ganvas.studio.files import file_url
from ganvas.studio.jobs import Job, remove_empty, too_many
from ganvas.studio.places import find_data, find_run, names_download
from ganvas.studio.runs import Card
from ganvas.studio.training import reserve
from ganvas.studio.worker import while_connected
from ganvas.values import to_number, to_text, to_whole

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

FOLDER = "comparisons"
"""The folder, in the first one of the studio, that new comparisons are put into."""

CHECK_SECONDS = 1800.0
"""Time that the look at the images may take, which decodes them."""

MAX_CANDIDATES, MAX_SEEDS = 12, 20
"""Of a comparison that a page starts; a command may have more."""

LONGEST = {"minutes": 7 * 24 * 60.0, "kimg": 1e9}
"""The largest budget of each kind for one training."""

_SHOWN = ("run", "name", "state", "nimg", "total", "quality", "minutes", "grid", "severity", "finding", "seconds_left")


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    return [
        Route("/api/comparisons", partial(_list, studio)),
        Route("/api/compare/check", partial(_check, studio), methods=["POST"]),
        Route("/api/compare", partial(_start, studio), methods=["POST"]),
    ]


async def _list(studio: "Studio", request: Request) -> Response:
    return answer({"comparisons": await run_in_threadpool(find_comparisons, studio)})


def find_comparisons(studio: "Studio") -> list[dict[str, Any]]:
    """Every folder of a comparison with its trainings, if any were written: running ones first, then the newest.

    One runs as a job of this studio, or `elsewhere`: in a terminal, or as a job of a studio before this one.
    """
    cards: dict[Path, list[Card]] = defaultdict(list)
    for card in studio.runs.cards():
        runs = Path(card["folder"])
        if runs.name == "runs" and (runs.parent / "plan.json").is_file() and studio.folders.key(runs.parent):
            cards[runs.parent].append(card)
    jobs = {job.path: job for job in studio.jobs.running("compare") if job.path is not None}
    plans = [file.parent for folder in studio.folders.paths for file in (folder / FOLDER).glob("*/plan.json")]
    begun = {path for path in plans if studio.folders.key(path)}
    found = [_describe(studio, path, cards[path], jobs.get(path)) for path in {*cards, *jobs, *begun}]
    return sorted(found, key=lambda one: (bool(one["job"] or one["elsewhere"]), one["changed"]), reverse=True)


def _describe(studio: "Studio", path: Path, cards: list[Card], job: Job | None) -> dict[str, Any]:
    cards = sorted(cards, key=lambda card: card["name"])
    sentence, command = _read_report(path) if studio.folders.key(path / "report.json") else (None, None)
    elsewhere = job is None and is_being_trained(path)
    if job:
        command = commands.quote(["ganvas", *job.words])
    words = job.words if job else _words_of(command) if elsewhere else []
    return {
        "folder": studio.folders.key(path), "name": path.name, "path": str(path),
        "job": job.id if job else None, "elsewhere": elsewhere, "stopping": bool(job and job.stopped),
        "changed": max((card["changed"] for card in cards), default=job.began if job else _planned_at(path)),
        "runs": [{name: card[name] for name in _SHOWN} | {"part": find_part(card)} for card in cards],
        "progress": find_progress(words, path, cards) if words else None,
        "sentence": sentence,
        "report": file_url(cards[0]["run"], path / "runs" / cards[0]["name"] / "report.html") if cards else None,
        "command": command.removesuffix(" --json") if command else None,
    }  # fmt: skip


def _words_of(command: str | None) -> list[str]:
    """The words after `ganvas` of a command that says how many trainings it asks for; none of another one."""
    with suppress(ValueError, IndexError):  # a report may be damaged
        words = shlex.split(command or "")[1:]
        return words if count_trainings(words) else []
    return []


def _planned_at(path: Path) -> float:
    """When a comparison was begun of which no run was written."""
    try:
        return (path / "plan.json").stat().st_mtime
    except OSError:
        return 0.0


def _read_report(path: Path) -> tuple[str | None, str | None]:
    """(the sentence of the verdict, the command) of report.json; None while there is none, or where it is damaged."""
    try:
        status = os.stat(path / "report.json")
    except OSError:
        return None, None
    return _parse_report(path / "report.json", status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _parse_report(file: Path, written: int, size: int) -> tuple[str | None, str | None]:
    """As `_read_report`: a page asks every second or two, and a report has all curves."""
    try:
        report = read_json(file)
    except (OSError, ValueError):
        return None, None
    found = []
    for part, name in (("verdict", "sentence"), ("reproduce", "command")):
        values = report.get(part) if isinstance(report, dict) else None
        text = values.get(name) if isinstance(values, dict) else None
        found.append(text if isinstance(text, str) else None)
    return found[0], found[1]


async def _check(studio: "Studio", request: Request) -> Response:
    """Why some images, and which recipes with them, cannot be trained: {data, recipes}."""
    given = (await read_object(request)).get("data")
    if not given:
        return answer({"data": None, "recipes": {}})
    try:
        data = await run_in_threadpool(find_data, studio, given, hub=True)
    except GanvasError as error:
        return answer({"data": describe(error), "recipes": {}})
    checked = _check_recipes(studio, data, [name for name in RECIPES if name != "custom"])
    return answer(await while_connected(request, checked))


async def _check_recipes(studio: "Studio", data: str, recipes: list[str]) -> dict[str, Any]:
    """As `_check`; of a set that is still to be downloaded its trainings say it: no page waits for that."""
    if names_download(data) or data.startswith("hf:"):
        return {"data": None, "recipes": {}}
    return await studio.inspector.call("compare_work.check", CHECK_SECONDS, recipes=recipes, data=data)


async def _start(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)
    names, words, data = await run_in_threadpool(_read, studio, body)
    if data:
        found = await _check_recipes(studio, data, [name for name in names if name in RECIPES])
        if found["data"]:
            raise Refusal(400, **found["data"], field="data")
        for name in names:
            if error := found["recipes"].get(name):
                raise Refusal(400, **error | {"what": f"{name}: {error['what']}"}, field="candidates")
    return answer(await run_in_threadpool(_begin, studio, names, words, body.get("name")), 202)


def _read(studio: "Studio", body: Mapping[str, Any]) -> tuple[list[str], list[str], str]:
    """(names of the candidates, words of the command, data on which recipes are trained) of a request."""
    names, words = _candidates(studio, body.get("candidates"))
    data = ""
    if any(name in RECIPES for name in names):
        if body.get("data"):
            data = find_data(studio, body["data"], hub=True)
            words += ["--data", data]
        words += _length(body)
        words += ["--seeds", str(to_whole(body.get("seeds", 3), "seeds", 1, MAX_SEEDS))]
    return names, words, data


def _begin(studio: "Studio", names: list[str], words: list[str], name: Any) -> dict[str, Any]:
    for one in find_comparisons(studio):
        if one["elsewhere"]:
            raise too_many(f"The comparison {one['name']} is running already.", "compare", 1)
    path = reserve(studio.folders.folder(0) / FOLDER, name, "-vs-".join(names)[:60].rstrip("-."))
    try:
        job = studio.jobs.start("compare", ["compare", *words, "--out", str(path)], path, most=1)
    except GanvasError:
        remove_empty(path)
        raise
    return {"folder": studio.folders.key(path), **studio.jobs.describe(job)}


def _candidates(studio: "Studio", given: Any) -> tuple[list[str], list[str]]:
    """(the names, the words of the command) of recipes and runs.

    Raises:
        Refusal: fewer than two, or one that does not exist.
    """
    if not isinstance(given, list) or not 2 <= len(given) <= MAX_CANDIDATES or len(given) != len({*map(str, given)}):
        expected = f"2 to {MAX_CANDIDATES} different recipes or runs"
        raise Refusal(400, "These cannot be compared.", expected=expected, field="candidates")
    names, words = [], []
    for one in given:
        name = to_text(one, "candidates", "recipes and keys of runs")
        path = None if name in RECIPES else find_run(studio, name).path
        names.append(path.name if path else name)
        words.append(str(path) if path else name)
    return names, words


def _length(body: Mapping[str, Any]) -> list[str]:
    """--minutes or --kimg, which one of the two must be given as."""
    given = [name for name in LONGEST if body.get(name) not in (None, "")]
    if len(given) != 1:
        raise Refusal(400, "The budget is missing.", expected="minutes or kimg of each training", field="minutes")
    (name,) = given
    value = body[name]
    if isinstance(value, str):
        try:
            value = float(value.replace(",", "."))
        except ValueError:
            raise Refusal(
                400, f"{value[:40]!r} is no number.", expected=f"{name} of each training", field=name
            ) from None
    return to_words(name, to_number(value, name, 0.0, LONGEST[name], above=True))
