"""Endpoints of Style: the knobs of a style transfer, what it would run, and its start."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.config.flags import to_words
from ganvas.errors import GanvasError
from ganvas.studio import knobs
from ganvas.studio.answers import Refusal, answer, describe, read_object
from ganvas.studio.commands import quote
from ganvas.studio.live import Live
from ganvas.studio.uploads import find_files, find_single_file
from ganvas.style.options import BOUNDS, PRESETS, StyleOptions, resolve_options
from ganvas.style.scales import count_work, fit_longer_side, list_scales
from ganvas.values import to_whole

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

STYLE_SECONDS = 6 * 3600.0
"""Time that a style transfer may take."""

MAX_PAINTINGS = 8

SHOWN = ("strength", "keep_colours", "preset", "size", "style_scale")
"""The knobs that stand first on the page."""

LEFT_OUT = ("weights", "device", "init", "style_weights")
"""Those that a page does not have: they name files or hardware; the paintings have their weights beside them."""


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    return [
        Route("/api/style/knobs", _list_knobs),
        Route("/api/style/check", partial(_check, studio), methods=["POST"]),
        Route("/api/style", partial(_start, studio), methods=["POST"]),
    ]


async def _list_knobs(request: Request) -> Response:
    found = []
    for knob in knobs.knobs_in("style", StyleOptions()):
        if knob.name not in LEFT_OUT:
            bounds = BOUNDS.get(knob.name)
            found.append(knob.to_json() | {"shown": knob.name in SHOWN, "bounds": list(bounds) if bounds else None})
    found.sort(key=lambda knob: SHOWN.index(knob["name"]) if knob["shown"] else len(SHOWN))
    return answer({"knobs": found, "presets": PRESETS, "most": MAX_PAINTINGS})


async def _check(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)
    return answer(await run_in_threadpool(_describe, studio, body))


def _describe(studio: "Studio", body: Mapping[str, Any]) -> dict[str, Any]:
    """What is wrong, or the command."""
    options, errors = _options(body)
    photo, paintings = _pictures(studio, body, needed=False)
    if errors or options is None:
        return {"ok": False, "errors": errors, "command": None}
    named = [photo or Path("PHOTO"), *(paintings or [Path("PAINTING")])]
    command = quote(["ganvas", "style", *map(str, named), *_words(options)])
    return {"ok": True, "errors": [], "command": command, "work": _work(options, body.get("shape"))}


def _work(options: StyleOptions, shape: Any) -> int:
    """How much a transfer is, as its process counts it; of a square where the shape of the photo is not known."""
    height, width = shape if isinstance(shape, list) and len(shape) == 2 else (1, 1)
    height, width = (to_whole(side, "shape", 1) for side in (height, width))
    options = resolve_options(options, {})
    assert options.size is not None
    return count_work(list_scales(fit_longer_side(height, width, options.size), options)) if options.strength else 0


def _options(body: Mapping[str, Any]) -> tuple[StyleOptions | None, list[dict[str, str]]]:
    """The options of a request; what is wrong with each knob, or with all together."""
    given = body.get("knobs") or {}
    if not isinstance(given, dict):
        raise Refusal(400, "The knobs of the request are no object.", expected="{name: value}", field="knobs")
    known = {knob.name: knob for knob in knobs.knobs_in("style", StyleOptions()) if knob.name not in LEFT_OUT}
    if unknown := next((name for name in given if name not in known and name != "style_weights"), None):
        raise Refusal(400, f"There is no knob {unknown[:50]!r} here.", field=unknown)
    values = {name: knobs.parse(known[name], value) if name in known else value for name, value in given.items()}
    values = {name: value for name, value in values.items() if value not in ("", None)}
    errors = []
    for name, value in values.items():
        try:
            resolve_options(None, {name: value})
        except GanvasError as error:
            errors.append(describe(error) | {"field": name})
    return (None, errors) if errors else (dataclasses.replace(StyleOptions(), **values), [])


def _words(options: StyleOptions) -> list[str]:
    plain = StyleOptions()
    changed = [
        entry.name
        for entry in dataclasses.fields(options)
        if getattr(options, entry.name) != getattr(plain, entry.name)
    ]
    return [word for name in changed for word in to_words(name, getattr(options, name))]


def _pictures(studio: "Studio", body: Mapping[str, Any], *, needed: bool) -> tuple[Path | None, list[Path]]:
    """The photo and the paintings of a request, from uploads.

    Raises:
        Refusal: one is missing, or there are too many.
    """
    photo, paintings = body.get("photo"), body.get("paintings") or []
    if not isinstance(paintings, list) or not all(isinstance(one, str) for one in (*paintings, photo or "")):
        raise Refusal(400, "The pictures of the request are no uploads.", expected="their ids", field="paintings")
    if needed and not (photo and paintings):
        missing = "paintings" if photo else "photo"
        raise Refusal(400, "A style transfer needs a photo and a painting.", field=missing)
    found = [file for one in paintings for file in find_files(studio.uploads.path(one))]
    if len(found) > MAX_PAINTINGS:
        raise Refusal(
            400, f"{len(found)} paintings are too many.", expected=f"at most {MAX_PAINTINGS}", field="paintings"
        )
    return (find_single_file(studio.uploads.path(photo)) if photo else None), found


async def _start(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)

    def prepare() -> tuple[StyleOptions, Path, list[Path]]:
        options, errors = _options(body)
        if options is None:
            first: dict[str, Any] = {"status": 400, **errors[0]}
            raise Refusal(**first)
        photo, paintings = _pictures(studio, body, needed=True)
        assert photo is not None
        return options, photo, paintings

    options, photo, paintings = await run_in_threadpool(prepare)
    command = quote(["ganvas", "style", str(photo), *map(str, paintings), *_words(options)])
    changed = {entry.name: getattr(options, entry.name) for entry in dataclasses.fields(options)}
    live = studio.lives.start(
        Live("style", command), "style_work.paint", STYLE_SECONDS,
        photo=str(photo), paintings=[str(path) for path in paintings],
        knobs={name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()},
    )  # fmt: skip
    return answer(live.to_json(), 202)
