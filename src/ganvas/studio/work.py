"""What the worker does: inspects data sets, draws small pictures of them, diagnoses runs and logs. Imports NumPy."""

import base64
import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from ganvas.data.cached import cache
from ganvas.data.decoding import decode, read_header
from ganvas.data.imageset import ImageSet
from ganvas.data.inspection import inspect
from ganvas.data.options import DataOptions
from ganvas.data.source_types import ImageFiles, Unreadable
from ganvas.data.sources import find_source, open_image_set
from ganvas.diagnosis.diagnosis import Diagnosis, apply_rules, combine, verdict
from ganvas.diagnosis.history import History
from ganvas.diagnosis.logs.names import to_columns
from ganvas.diagnosis.logs.reader import read_trainings
from ganvas.diagnosis.sources import is_run, read_run
from ganvas.errors import GanvasError
from ganvas.reading import describe_reason, open_regular
from ganvas.runs.folder import Run
from ganvas.style.scales import fit_longer_side

SIDE = 160
"""Pixels of a small picture's longer side, at most."""

UPLOAD_SIDE = 480
"""Those of a picture that was sent, which is shown larger."""

SHEET, MAX_GROUPS, MAX_IN_GROUP, MAX_BAD = 24, 24, 6, 24
"""Pictures that a page shows: of the data, of duplicates, of files that are wrong."""

MAX_NAMES = 2000
"""Names in each list of a report that a page gets."""

MAX_SIZES = 5
"""Original sizes of a data set that a page shows, the most frequent ones."""

MAX_POINTS = 1000
"""Times in the curves of a log; more are gathered into so many buckets."""

KEPT_SECONDS = 30.0
"""Time for which an opened data set is used without a look whether its files have changed."""

_opened: dict[str, tuple[float, ImageSet]] = {}
_listed: dict[str, tuple[float, Any]] = {}


def inspect_data(data: str) -> dict[str, Any]:
    """The report of `ganvas data`, and which pictures of it to show.

    `size_count`: how many original sizes there are. `sheet`: numbers of pictures spread over the set. `drawable`: which
    of the first bad files can be drawn in part. `copies`: the groups of duplicates as {file, index}.

    Raises:
        GanvasError: as `ganvas.data.inspect`.
    """
    report = inspect(data, quiet=True)
    images = _open(data)
    names = cache.read_file_names(images) or [f"image {index}" for index in range(len(images))]
    index = {name: i for i, name in enumerate(names)}
    shown = sorted({int(i) for i in np.linspace(0, len(images) - 1, min(SHEET, len(images)))})
    found = report.to_json()
    for key in ("blank_images", "bad_files", "misnamed_files", "duplicate_groups"):
        found[key] = found[key][:MAX_NAMES]
    sizes = list(report.original_sizes.items())
    found["original_sizes"] = dict(sizes[:MAX_SIZES])
    return found | {
        "size_count": len(sizes),
        "sheet": [{"file": names[i], "index": i} for i in shown],
        "drawable": [file for file, _ in report.bad_files[:MAX_BAD] if draw_file(data, file) is not None],
        "copies": [
            [{"file": name, "index": index[name]} for name in group[:MAX_IN_GROUP] if name in index]
            for group in report.duplicate_groups[:MAX_GROUPS]
        ],
    }


def draw_picture(data: str, index: int) -> str | None:
    """A picture of a data set as it is trained on, PNG in Base64; None if it has no such picture.

    Raises:
        GanvasError: the data set cannot be opened.
    """
    images = _open(data)
    return _to_png(np.asarray(images.images[index])) if 0 <= index < len(images) else None


def draw_file(data: str, file: str) -> str | None:
    """A file of a data set that is not trained on, as far as it can be read, PNG in Base64; None if it cannot.

    Raises:
        GanvasError: the data set cannot be opened.
    """
    content = _kept(_listed, data, lambda: find_source(DataOptions(data), progress=False).read())
    if not isinstance(content, ImageFiles) or file not in content.names or content.stream is not None:
        return None
    ImageFile.LOAD_TRUNCATED_IMAGES = True  # of the process, which draws one picture at a time
    try:
        with content.open(list(content.names).index(file)) as opened:
            return _to_png(decode(opened, 3, (SIDE, SIDE), "pad"))
    except Unreadable:
        return None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def draw_upload(path: str) -> dict[str, Any]:
    """A picture that was sent: `shape` is its height and width, `png` a small one of it, in Base64.

    Raises:
        GanvasError: it is none, or is damaged.
    """
    name = Path(path).name
    try:
        with open_regular(path) as file:
            head = read_header(file, name)
            size = fit_longer_side(head.height, head.width, min(UPLOAD_SIDE, max(head.height, head.width)))
            pixels = decode(file, 3, (max(1, size[0]), max(1, size[1])), "stretch")
            return {"shape": [head.height, head.width], "png": _to_png(pixels, UPLOAD_SIDE)}
    except (OSError, Unreadable) as error:
        reason = describe_reason(error) if isinstance(error, OSError) else error
        raise GanvasError(f"{name} cannot be used: {reason}.", expected="a picture") from error


def diagnose_run(path: str, until: int | None) -> dict[str, Any]:
    """The diagnosis of a run, from what it had written when D had been shown `until` images; None is now.

    Raises:
        GanvasError: as `read_run`.
    """
    return _to_json(apply_rules(read_run(Run(Path(path)), until)))


def diagnose_log(path: str, columns: Mapping[str, str]) -> dict[str, Any]:
    """The diagnosis of any log, with its curves; of several trainings those of the first.

    Raises:
        GanvasError: as `ganvas.diagnose`.
    """
    log = Path(path)
    own = not columns and is_run(log)
    trainings = {"": read_run(Run(log))} if own else read_trainings([log], to_columns(columns))
    found = combine({name: apply_rules(history) for name, history in trainings.items()})
    first = next(iter(trainings.values()))
    return _to_json(found) | {"columns": dict(first.facts.columns), "curves": gather(first)}


def gather(history: History) -> dict[str, Any]:
    """All quantities of a history on one time: x, unit, series {name: values, None where there is none}.

    Of more than MAX_POINTS times the values are means of buckets, with the smallest and largest in `low` and `high`.
    """
    names = [name for name in history.columns if not name.endswith("/std")]
    times = np.unique(np.concatenate([history[name].at for name in names])) if names else np.empty(0)
    size = max(1, -(-len(times) // MAX_POINTS))
    found: dict[str, Any] = {"x": times[::size].tolist(), "unit": history.unit, "series": {}}
    if size > 1:
        found |= {"low": {}, "high": {}}
    for name in names:
        series = history[name].finite()
        places = np.searchsorted(times, series.at) // size
        for kind, reduce in (("series", np.mean), ("low", np.min), ("high", np.max)):
            if kind in found:
                values: list[float | None] = [None] * len(found["x"])
                begins = np.flatnonzero(np.diff(places, prepend=-1))
                for begin, part in zip(begins, np.split(series.value, begins[1:]), strict=True):
                    values[int(places[begin])] = float(reduce(part))
                found[kind][name] = values
    return found


def finite(value: Any) -> Any:
    """Plain values for JSON: None in place of NaN and infinity, lists in place of tuples and sets."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): finite(item) for name, item in value.items()}
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset):
        return value
    return [finite(item) for item in value]


def _to_json(found: Diagnosis) -> dict[str, Any]:
    """A diagnosis for a page: each finding of a run with the images shown when it began."""
    value: dict[str, Any] = found.to_json() | {"verdict": verdict(found)}
    for finding in value["findings"]:
        finding["since_nimg"] = round(1000 * finding["since"]) if finding["unit"] == "kimg" else None
    return value


def _open(data: str) -> ImageSet:
    """The data set from the cache, with any number of bad files."""
    return _kept(_opened, data, lambda: open_image_set(DataOptions(data), progress=False, strict=False))


def _kept(place: dict[str, tuple[float, Any]], data: str, read: Callable[[], Any]) -> Any:
    """What `read` has returned for this data within KEPT_SECONDS, else what it returns now."""
    now = time.monotonic()
    if data not in place or now - place[data][0] > KEPT_SECONDS:
        place.clear()
        place[data] = now, read()
    return place[data][1]


def _to_png(pixels: np.ndarray, most: int = SIDE) -> str:
    """uint8 [c h w] as a PNG of at most so many pixels a side, in Base64."""
    planes = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    image = Image.fromarray(planes[:, :, 0] if planes.shape[2] == 1 else planes)
    image.thumbnail((most, most), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()
