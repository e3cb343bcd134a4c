"""Anything -> ImageSet: recognises what the user has named, by content rather than by name, and opens it."""

import difflib
import gzip
import re
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np

from ganvas.data import archive, arrays, cache, cifar, digits, folder, hub, idx, stacked
from ganvas.data.forms import Arrays, Pictures, Source, no_split, quoted
from ganvas.data.imageset import ImageSet
from ganvas.data.listing import PICTURES
from ganvas.data.options import PictureOptions
from ganvas.data.prepare import decoded, fitted_blocks, plan_arrays, plan_pictures, survey
from ganvas.errors import GanvasError

_FORMS = (
    "a folder of pictures, a zip, IDX files, CIFAR-10's archive, .npz or .npy, digits, "
    + ", ".join(hub.NAMED)
    + f", {stacked.NAME}, {stacked.NAME}:PATH, or hf:owner/name"
)
_BY_SUFFIX = {".zip": "zip", ".npz": "zip", ".npy": "npy", ".tar": "tar"}
_TITLES = {"zip": "a zip archive", "npy": "a NumPy file", "tar": "a tar archive"}
_NAMES_TOLD = 10


def open_images(options: PictureOptions, *, progress: bool = True) -> ImageSet:
    """Opens any source as uint8 [N C H W], from the cache if it has been decoded before.

    Args:
        progress: show a bar on the terminal while pictures are decoded.

    Raises:
        GanvasError: there is no such source, it is empty, unsafe or not what its name says, too many of its
            files are bad, or the cache cannot be written.
    """
    return open_set(options, progress=progress, strict=True)


def open_set(options: PictureOptions, *, progress: bool, strict: bool) -> ImageSet:
    """`open_images`; if not `strict`, a set of which most or all is bad is opened too, to be looked at."""
    source = find(options, progress=progress)

    def build(sink: cache.Sink) -> cache.Decoded:
        return _build(source, options, sink, progress=progress, strict=strict)

    if source.in_memory:
        return cache.in_memory(source.name, build)
    key = cache.key(source.stamp, options.size(), options.channels, options.fit)
    images = cache.cached(source.name, key, build)
    if strict:
        _refuse_bad(options, images.skipped, len(images) + len(images.skipped))
    return images


def find(options: PictureOptions, *, progress: bool = True) -> Source:
    """Recognises the source; reads no picture.

    Args:
        progress: as `open_images`, for a source that will open another.

    Raises:
        GanvasError: there is none, or it is not what its name says.
    """
    asked = options.source
    if asked.startswith("hf:"):
        return hub.source(asked, options.split)
    if asked.startswith(f"{stacked.NAME}:"):
        return _stacked(options, progress=progress)
    path = Path(asked).expanduser()
    try:
        if path.is_dir():
            return _folder(path, options.split)
        if path.exists():
            return _file(path, options.split)
    except OSError as error:
        raise _unreadable(asked, error) from error
    if asked == "digits":
        return digits.source(options.split)
    if asked in hub.NAMED:
        return hub.source(asked, options.split)
    if asked == stacked.NAME:
        return _stacked(options, progress=progress)
    near = difflib.get_close_matches(asked.partition(":")[0], ["digits", *hub.NAMED, stacked.NAME], 1)
    raise GanvasError(
        f"There is no data set {asked!r}: neither a file or folder of that name, nor one that Ganvas knows.",
        expected=_FORMS,
        fix=f"did you mean {near[0]}?" if near else "check the path.",
    )


def _stacked(options: PictureOptions, *, progress: bool) -> Source:
    return stacked.source(options, find, lambda digits: open_images(digits, progress=progress))


def _folder(path: Path, split: str) -> Source:
    name = _short(path.resolve().name)
    for inside in _nested(path):
        if idx.in_folder(inside):
            return idx.folder_source(inside, name, split)
        if any(cifar.is_batch(file.name) for file in inside.iterdir()):
            return cifar.source(inside, name, split)
    return folder.source(path, name, split)


def _nested(path: Path) -> list[Path]:
    """The folder, and where other tools put IDX and CIFAR files below the folder they are given."""
    below = ("raw", "MNIST/raw", "FashionMNIST/raw", "cifar-10-batches-py", "cifar-10-batches-bin")
    return [path, *(path / place for place in below if (path / place).is_dir())]


def _file(path: Path, split: str) -> Source:
    if not path.is_file():
        raise GanvasError(f"{path} is neither a file nor a folder.", expected=_FORMS)
    name = _short(path.name)
    with open(path, "rb") as file:
        head = file.read(512)
    kind = _kind(path, head)
    said = _BY_SUFFIX.get(path.suffix.lower())
    if said is not None and said != kind:
        raise GanvasError(
            f"{path} is named {path.suffix}, but is not {_TITLES[said]}: it {quoted(head)}.",
            expected="a file that is what its name says",
            fix="download it again; a web page saved in its place is the usual cause.",
        )
    if kind == "zip" and path.suffix.lower() == ".npz":
        return arrays.source(path, name, split)
    if kind == "zip":
        return archive.source(path, name, split)
    if kind == "npy":
        return arrays.source(path, name, split)
    if kind == "tar":
        return cifar.source(path, name, split)
    if kind == "idx":
        return idx.file_source(path, _short(path.resolve().parent.name) or name, split)
    raise _unknown(path, head, split)


def _kind(path: Path, head: bytes) -> str:
    """zip, npy, tar, idx or nothing; looks into gzip."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path, "rb") as file:
                head = file.read(512)
        except (OSError, EOFError, zlib.error):
            return ""
    if head[257:262] == b"ustar":
        return "tar"
    return "idx" if idx.is_idx(head) else ""


def _unknown(path: Path, head: bytes, split: str) -> GanvasError:
    if path.suffix.lower() in PICTURES:
        return GanvasError(
            f"{path} is a single picture.",
            expected=_FORMS,
            fix="put the pictures into a folder and name the folder.",
        )
    if cifar.is_batch(path.name):
        return GanvasError(f"{path} is one batch of CIFAR-10.", expected=f"its folder, {path.parent}")
    if split == "test" and not head:
        return no_split(str(path))
    gzipped = head.startswith(b"\x1f\x8b")
    told = "it is gzipped, but holds neither IDX nor a tar" if gzipped else f"it {quoted(head)}"
    return GanvasError(
        f"{path} is no form of pictures that Ganvas reads: {told}.",
        expected=_FORMS,
        fix="unpack or convert it.",
    )


def _short(name: str) -> str:
    """`kaokore-faces-128.zip` -> `kaokore-faces-128`: a name for run folders."""
    stem = re.sub(r"\.(zip|npz|npy|gz|tgz|tar|tar\.gz)$", "", name, flags=re.IGNORECASE)
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:48] or "pictures"


def _build(source: Source, options: PictureOptions, sink: cache.Sink, *, progress: bool, strict: bool) -> cache.Decoded:
    """Writes all pixels of a source, and tells what they are."""
    try:
        content = source.read()
    except OSError as error:
        raise _unreadable(options.source, error) from error
    if isinstance(content, Arrays):
        return _build_arrays(source, content, options, sink, progress=progress)
    return _build_pictures(source, content, options, sink, progress=progress, strict=strict)


def _build_arrays(
    source: Source, content: Arrays, options: PictureOptions, sink: cache.Sink, *, progress: bool
) -> cache.Decoded:
    if not content.count:
        raise _empty(options, {})
    plan = plan_arrays(options, content)
    shape = (content.count, plan.channels, *plan.size)
    if not source.in_memory:
        cache.check_room(int(np.prod(shape)))
    with closing(fitted_blocks(content, plan, options, progress=progress)) as blocks:
        for block in blocks:
            sink.write(block)
    height, width = content.shape[1:]
    facts = {
        "form": source.form,
        "sizes": {f"{height}x{width}": content.count},
        "distinct_sizes": 1,
        "modes": {{1: "L", 3: "RGB", 4: "RGBA"}[content.shape[0]]: content.count},
        "misnamed": [],
        "ignored": {},
        **content.facts,
    }
    return cache.Decoded(
        shape,
        sink.digest(),
        content.labels,
        content.class_names,
        (),
        (*content.notes, *plan.notes),
        facts,
        None,
    )


def _build_pictures(
    source: Source,
    content: Pictures,
    options: PictureOptions,
    sink: cache.Sink,
    *,
    progress: bool,
    strict: bool,
) -> cache.Decoded:
    total = len(content.names) + len(content.bad)
    if not total:
        raise _empty(options, content.ignored)
    seen = survey(content, progress=progress)

    def skipped() -> tuple[tuple[str, str], ...]:
        return (*content.bad, *((content.names[index], seen.bad[index]) for index in sorted(seen.bad)))

    if strict:
        _refuse_bad(options, skipped(), total)
    kept: list[int] = []
    shape, notes = (0, 1, 8, 8), ()
    if seen.good:
        plan = plan_pictures(options, content, seen)
        cache.check_room(seen.good * plan.channels * plan.size[0] * plan.size[1])
        with closing(decoded(content, seen, plan, options, progress=progress)) as chunks:
            for pixels, indices in chunks:
                sink.write(pixels)
                kept += indices
        shape, notes = (len(kept), plan.channels, *plan.size), plan.notes
    if strict:
        _refuse_bad(options, skipped(), total)
    return cache.Decoded(
        shape,
        sink.digest(),
        None if content.labels is None else content.labels[kept],
        content.class_names,
        skipped(),
        (*content.notes, *notes),
        {"form": source.form, **seen.facts(), "ignored": dict(content.ignored)},
        tuple(content.names[index] for index in kept),
    )


def _refuse_bad(options: PictureOptions, skipped: tuple[tuple[str, str], ...], total: int) -> None:
    """Refuses a set of which too much is bad, naming the first files and their reasons."""
    good = total - len(skipped)
    if good and len(skipped) <= options.max_bad * total:
        return
    rows = [f"  {name}: {reason}" for name, reason in skipped[:_NAMES_TOLD]]
    if len(skipped) > _NAMES_TOLD:
        rows.append(f"  and {len(skipped) - _NAMES_TOLD} more")
    share = len(skipped) / total
    fix = f"repair or remove them, or accept the loss with --max-bad {min(1.0, -(-share * 100 // 1) / 100):g}."
    raise GanvasError(
        f"{options.source}: {len(skipped)} of {total} files are bad:\n" + "\n".join(rows),
        expected=f"at most {options.max_bad:.0%} of the files unreadable" if good else "at least one readable picture",
        fix=fix if good else "check that these are pictures; `ganvas data` lists them all.",
    )


def _unreadable(what: str, error: OSError) -> GanvasError:
    return GanvasError(
        f"{what} cannot be read: {error.strerror or error}.",
        expected="a file or folder that this user may read",
        fix="check its permissions, and that its disk is there.",
    )


def _empty(options: PictureOptions, ignored: object) -> GanvasError:
    found = ", ".join(f"{count} {suffix}" for suffix, count in dict(ignored).items())  # type: ignore[call-overload]
    return GanvasError(
        f"{options.source} holds no pictures" + (f", only other files: {found}." if found else "."),
        expected="JPEG, PNG, WebP, BMP, TIFF or GIF files",
        fix="an archive or array file inside a folder is read when you name the file itself.",
    )
