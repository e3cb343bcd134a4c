"""Endpoints of Explore: a generator's pictures, its map, its nearest training pictures, bookmarks, places, walks."""

import base64
import importlib.util
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ganvas.errors import GanvasError
from ganvas.latent_space.axis_names import METHODS, as_direction
from ganvas.runs.card import read_card
from ganvas.runs.folder import Run
from ganvas.studio import bookmarks, direction_names
from ganvas.studio.answers import Refusal, answer, parameter, read_object
from ganvas.studio.commands import quote
from ganvas.studio.files import open_inside
from ganvas.studio.generators import Source, find_source, list_sources, snapshots_of
from ganvas.studio.latest import Superseded
from ganvas.studio.live import Live
from ganvas.studio.pictures import check_picture
from ganvas.studio.views import PLACES, View, find_kept, read_view
from ganvas.studio.worker import while_connected
from ganvas.values import to_choice, to_flag, to_text, to_whole

if TYPE_CHECKING:
    from ganvas.studio.app import Studio

DRAW_SECONDS, FIND_SECONDS, LONG_SECONDS = 120.0, 600.0, 3600.0
"""Time that a picture may take, with loading; directions and training pictures; a search or a walk."""

CACHED_SECONDS = 600
"""Time for which a browser keeps a picture: everything that decides it is in its address."""

WALKS = "walks"
FILMS = {
    ".gif": "image/gif", ".png": "image/png", ".webp": "image/webp", ".mp4": "video/mp4", ".webm": "video/webm"
}  # fmt: skip
MAX_VIEWS, MAX_FRAMES, MAX_KEPT = 64, 250, 60
"""Of a walk; and of the places and films that are listed."""


def routes(studio: "Studio") -> list[Route]:
    """The addresses of this module."""
    gets = {
        "": _describe, "/sources": _list_sources, "/directions": _find_directions, "/picture": _draw, "/map": _draw_map,
        "/sheet": _draw_sheet,
        "/command": _tell_command, "/bookmarks": _list_bookmarks, "/kept": _list_kept, "/film": _send_film,
        "/photo": _send_photo,
    }  # fmt: skip
    posts = {
        "/nearest": _find_nearest, "/bookmarks": _add_bookmark, "/bookmarks/{name}": _place_bookmark,
        "/place": _search, "/walk": _walk, "/direction": _name_direction,
    }  # fmt: skip
    return [
        *(Route(f"/api/explore{name}", partial(act, studio)) for name, act in gets.items()),
        *(Route(f"/api/explore{name}", partial(act, studio), methods=["POST"]) for name, act in posts.items()),
        Route("/api/explore/bookmarks/{name}", partial(_remove_bookmark, studio), methods=["DELETE"]),
    ]


async def _source(studio: "Studio", request: Request, given: Mapping[str, Any] | None = None) -> Source:
    """The generator that an address or a body names."""
    values = request.query_params if given is None else given
    of, snapshot = values.get("of"), values.get("snapshot") or ""
    if not isinstance(of, str) or not isinstance(snapshot, str):
        raise Refusal(400, "No generator is named.", expected="the key of a run, or pretrained:NAME", field="of")
    return await run_in_threadpool(find_source, studio, of, snapshot, request.scope["may_write"])


async def _view(studio: "Studio", request: Request, given: Mapping[str, Any] | None = None) -> View:
    source = await _source(studio, request, given)
    view = request.query_params if given is None else given.get("view")
    if not isinstance(view, Mapping):
        raise Refusal(400, "The request has no view.", expected="an object of its parameters", field="view")
    return await run_in_threadpool(read_view, studio, source, view)


async def _call(studio: "Studio", source: Source, name: str, limit: float, **arguments: Any) -> Any:
    """What a function of `explore_work` returns for a generator.

    Raises:
        GanvasError: as the function; that the snapshot is not there, where it was removed meanwhile.
    """
    try:
        return await studio.explorer.call(f"explore_work.{name}", limit, path=source.path, **arguments)
    except GanvasError:
        await run_in_threadpool(find_source, studio, source.of, source.snapshot, may_write=True)
        raise


async def _list_sources(studio: "Studio", request: Request) -> Response:
    return answer({"sources": await run_in_threadpool(list_sources, studio)})


async def _describe(studio: "Studio", request: Request) -> Response:
    source = await _source(studio, request)
    found = await _call(studio, source, "describe", DRAW_SECONDS)

    def read_more() -> dict[str, Any]:
        return {
            "of": source.of, "snapshot": source.snapshot, "kept": str(source.kept),
            "snapshots": _read_snapshots(Run(source.kept.parent)) if source.snapshot else [],
            "formats": [{"suffix": suffix, "missing": _missing(suffix)} for suffix in FILMS],
        }  # fmt: skip

    return answer(found | await run_in_threadpool(read_more))


def _read_snapshots(run: Run) -> list[dict[str, Any]]:
    found = []
    for path in snapshots_of(run):
        with suppress(GanvasError):  # its training has just removed it
            found.append({"name": path.name, "nimg": read_card(path)["nimg"], "best": path.name == "best"})
    return found


def _missing(suffix: str) -> str:
    """Why a film of this kind cannot be written here; empty if it can."""
    if FILMS[suffix].startswith("image/") or importlib.util.find_spec("av") is not None:
        return ""
    return "PyAV is not installed: pip install 'ganvas[video]'"


async def _find_directions(studio: "Studio", request: Request) -> Response:
    source, method = await _source(studio, request), parameter(request, "method", "pca")
    to_choice(method, "method", METHODS)
    work = partial(_call, studio, source, "find_directions", FIND_SECONDS, method=method)
    found = await while_connected(request, studio.latest.run("", work))
    return answer(found | {"names": await run_in_threadpool(direction_names.read, source.kept)})


async def _name_direction(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)
    source = await _source(studio, request, body)
    words = [to_text(body.get(name), name, "text") for name in ("direction", "name")]
    return answer({"names": await run_in_threadpool(direction_names.rename, source.kept, *words)})


async def _draw(studio: "Studio", request: Request) -> Response:
    view, quick = await _view(studio, request), request.query_params.get("quick") == "1"
    work = partial(_call, studio, view.source, "draw", DRAW_SECONDS, view=view.to_json(), quick=quick)
    return await _draw_newest(studio, request.query_params.get("channel", "")[:40], work)


async def _draw_map(studio: "Studio", request: Request) -> Response:
    view, axes = await _view(studio, request), {}
    for name in ("x", "y"):
        axes[name] = parameter(request, name)
        if as_direction(axes[name]) is None:
            raise Refusal(400, f"'{name}' is no direction.", expected="pca:0, sefa:3 …", field=name)
    work = partial(_call, studio, view.source, "draw_map", DRAW_SECONDS, view=view.to_json(), **axes)
    return await _draw_newest(studio, f"map {request.query_params.get('channel', '')[:40]}", work)


async def _draw_sheet(studio: "Studio", request: Request) -> Response:
    """The images of seeds by one snapshot."""
    source, seeds = await _source(studio, request), parameter(request, "seeds")
    work = partial(_call, studio, source, "draw_sheet", DRAW_SECONDS, seeds=seeds[:200])
    return await _draw_newest(studio, f"sheet {request.query_params.get('channel', '')[:40]}", work)


async def _draw_newest(studio: "Studio", channel: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Response:
    """The PNG that `work` draws; an empty answer where a newer request of the channel has come."""
    try:
        png = await studio.latest.run(channel, work)
    except Superseded:
        return Response(status_code=204)
    headers = {"Cache-Control": f"private, max-age={CACHED_SECONDS}"}
    return Response(base64.b64decode(png), headers=headers, media_type="image/png")


async def _tell_command(studio: "Studio", request: Request) -> Response:
    return answer({"command": (await _view(studio, request)).command})


async def _find_nearest(studio: "Studio", request: Request) -> Response:
    """Of a request with the token: the data may have to be read anew, or downloaded."""
    view = await _view(studio, request, await read_object(request))
    work = partial(_call, studio, view.source, "find_nearest", FIND_SECONDS, view=view.to_json())
    return answer(await while_connected(request, studio.latest.run("", work)))


# Bookmarks


async def _list_bookmarks(studio: "Studio", request: Request) -> Response:
    source = await _source(studio, request)
    kept = await run_in_threadpool(bookmarks.read, source.kept)
    return answer({"bookmarks": kept, "file": str(source.kept / bookmarks.FILE)})


async def _add_bookmark(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)
    view = await _view(studio, request, body)
    name = to_text(body.get("name"), "name", "text")
    made = await run_in_threadpool(bookmarks.add, view.source.kept, name, view.source.snapshot, view.fields)
    return answer(made, 201)


async def _place_bookmark(studio: "Studio", request: Request) -> Response:
    body = await read_object(request)
    source = await _source(studio, request, body)
    before = to_text(body.get("before") or "", "before", "the id of a bookmark")
    kept = await run_in_threadpool(bookmarks.place, source.kept, request.path_params["name"], before)
    return answer({"bookmarks": kept})


async def _remove_bookmark(studio: "Studio", request: Request) -> Response:
    source = await _source(studio, request)
    await run_in_threadpool(bookmarks.remove, source.kept, request.path_params["name"])
    return answer({"removed": True})


# What takes long


async def _search(studio: "Studio", request: Request) -> Response:
    """Begins the search for a photo's place."""
    body = await read_object(request)
    source, label = await _source(studio, request, body), body.get("class") or None
    upload = to_text(body.get("upload"), "upload", "the id of an upload")
    photo = (await check_picture(studio, upload)).file
    if label is not None:
        await run_in_threadpool(read_view, studio, source, {"class": label})
    bounds = {"steps": (1, 2000), "references": (0, 16)}
    settings = {name: to_whole(body[name], name, *bound) for name, bound in bounds.items() if name in body}
    words = ["ganvas", "project", source.path, str(photo), *(["--label", label] if label else [])]
    words += [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    live = studio.lives.start(
        Live("search", quote(words), source.of, facts={"upload": upload}), "explore_long.search", LONG_SECONDS,
        path=source.path, photo=str(photo), label=label, folder=str(source.kept / PLACES), **settings,
    )  # fmt: skip
    return answer(live.to_json(), 202)


async def _walk(studio: "Studio", request: Request) -> Response:
    """Begins to write a film between views."""
    body = await read_object(request)
    source, given = await _source(studio, request, body), body.get("views")
    if not isinstance(given, list) or not 2 <= len(given) <= MAX_VIEWS or not all(isinstance(v, dict) for v in given):
        raise Refusal(400, "A walk goes between bookmarks.", expected=f"2 to {MAX_VIEWS} views", field="views")
    views = [await run_in_threadpool(read_view, studio, source, view) for view in given]
    frames = to_whole(body.get("frames", 25), "frames", 1, MAX_FRAMES)
    fps, loop = to_whole(body.get("fps", 25), "fps", 1, 60), to_flag(body.get("loop", True), "loop")
    easing = to_choice(body.get("easing", "smooth"), "easing", ("linear", "smooth"))
    suffix = to_choice(body.get("suffix", ".gif"), "suffix", tuple(FILMS))
    if reason := _missing(suffix):
        raise GanvasError(f"A film cannot be written as {suffix}: {reason}")
    live = studio.lives.start(
        Live("walk", "", source.of), "explore_long.walk", LONG_SECONDS,
        path=source.path, views=[view.to_json() for view in views], folder=str(source.kept / WALKS), suffix=suffix,
        frames=frames, easing=easing, loop=loop, fps=fps,
    )  # fmt: skip

    def command(result: Mapping[str, Any]) -> str:
        noise = views[0].fields.get("noise")
        words = ["ganvas", "sample", source.path, "--latents", result["latents"], "--video", f"walk{suffix}"]
        words += ["--frames", str(frames), "--fps", str(fps), "--easing", easing, *([] if loop else ["--no-loop"])]
        return quote([*words, *(["--noise", noise] if noise else [])])

    live.describe = command
    return answer(live.to_json(), 202)


async def _list_kept(studio: "Studio", request: Request) -> Response:
    """The places of photos and the films, the newest first."""
    source = await _source(studio, request)
    return answer(await run_in_threadpool(_find_kept_files, studio, source))


def _find_kept_files(studio: "Studio", source: Source) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, folder, suffixes in (("places", PLACES, {".npz"}), ("films", WALKS, FILMS.keys())):
        files = [
            {"name": path.name, "bytes": status.st_size, "made": status.st_mtime}
            for path in _files_of(studio, source.kept / folder)
            if path.suffix in suffixes and (status := path.stat())
        ]
        found[kind] = sorted(files, key=lambda file: file["made"], reverse=True)[:MAX_KEPT]
    for place in found["places"]:
        place["name"] = Path(place["name"]).stem
    return found


def _files_of(studio: "Studio", folder: Path) -> list[Path]:
    """The files of a folder whose names this page has given; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return [path for path in studio.folders.check_inside(folder).iterdir() if _is_name(path.stem) and path.is_file()]


def _is_name(stem: str) -> bool:
    return len(stem) == 12 and not set(stem) - set("0123456789abcdef")


async def _send_film(studio: "Studio", request: Request) -> Response:
    source, name = await _source(studio, request), parameter(request, "name")
    suffix = Path(name).suffix
    if suffix not in FILMS or not _is_name(Path(name).stem):
        raise Refusal(404, f"{name[:100]!r} is no film.", field="name")
    path = await run_in_threadpool(find_kept, studio, source, WALKS, name)
    return await _send(studio, path, FILMS[suffix])


async def _send_photo(studio: "Studio", request: Request) -> Response:
    """The photo of a place, as it was cut."""
    view = await _view(studio, request)
    if view.latents is None:
        raise Refusal(400, "No place is named.", field="place")
    return await _send(studio, await run_in_threadpool(_photo_of, studio, view), "image/png")


def _photo_of(studio: "Studio", view: View) -> Path:
    return find_kept(studio, view.source, PLACES, f"{view.fields['place']}.png")


async def _send(studio: "Studio", path: Path, media_type: str) -> Response:
    def read() -> bytes:
        file, _ = open_inside(studio, path)
        with file:
            return file.read()

    headers = {"Cache-Control": f"private, max-age={CACHED_SECONDS}"}
    return Response(await run_in_threadpool(read), headers=headers, media_type=media_type)
