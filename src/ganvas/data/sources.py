"""Opens any data source as an ImageSet; the format is recognised by content, not by name."""

import bz2
import difflib
import gzip
import lzma
import re
import zlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ganvas.data import digits, named, stacked
from ganvas.data.cached import cache
from ganvas.data.decoding import optional_formats, reads_now
from ganvas.data.formats import (
    archive,
    cifar,
    columns,
    folder,
    hub,
    idx,
    matlab,
    npz,
    pixel_table,
    shards,
    stl10,
    tar,
    tiff_stack,
    video,
)
from ganvas.data.formats.tar_stream import read_members
from ganvas.data.imageset import ImageSet
from ganvas.data.listing import IMAGE_SUFFIXES
from ganvas.data.options import DataOptions
from ganvas.data.prepare import choose_target_of_arrays, convert_arrays, convert_files, scan_headers
from ganvas.data.sniffing import detect_format, looks_like_image, name_unread, refuse_unread
from ganvas.data.source_types import (
    ImageArrays,
    ImageFiles,
    Source,
    describe_start,
    no_split,
    refuse_failing_disk,
    without_controls,
)
from ganvas.errors import GanvasError
from ganvas.reading import near_paths
from ganvas.values import expand_user

_SOURCES = (
    "a folder of images, a zip or tar, IDX files, CIFAR's or STL-10's archive, .npz or .npy, .mat, a .csv of pixels, "
    "Parquet, a video, "
    + ", ".join((*digits.NAMES, *named.SETS))
    + f", {stacked.NAME}, {stacked.NAME}:PATH, or hf:owner/name"
)
_FORMAT_BY_SUFFIX = {".zip": "zip", ".npz": "zip", ".npy": "npy", ".tar": "tar"}
_FORMAT_TITLES = {"zip": "a zip archive", "npy": "a NumPy file", "tar": "a tar archive"}
_MAX_NAMES = 10
_WITH_COLUMNS = ("a folder", "a zip", "a tar", "Parquet", "Arrow files", "a data set from the hub")
_WITH_NAMED_LABELS = ("a .npz file", "a .npy file", "a .mat file", "a table of pixels", "CIFAR's batches")
_ENDINGS = r"\.(zip|npz|npy|mat|csv|gz|tgz|tbz2|txz|tar(\.(gz|bz2|xz))?|parquet|arrow|tiff?|mp4|m4v|mov|avi|mkv|webm)$"


def open_images(options: DataOptions, *, progress: bool = True) -> ImageSet:
    """Opens any source as uint8 [N C H W], from the cache if it has been decoded before.

    Args:
        progress: show a progress bar on the terminal while images are decoded.

    Raises:
        GanvasError: there is no such source; it is empty, unsafe or not what its extension says; too many of its
            files are bad; a disk fails while they are read; or the cache cannot be written.
    """
    return open_image_set(options, progress=progress, strict=True)


def open_image_set(options: DataOptions, *, progress: bool, strict: bool) -> ImageSet:
    """As `open_images`; unless `strict`, a data set with any number of bad files is opened, for inspection."""
    source = find_source(options, progress=progress)
    if options.label_column is not None and source.format not in (*_WITH_COLUMNS, *_WITH_NAMED_LABELS):
        raise GanvasError(
            f"--label-column {options.label_column} cannot be used with {options.source}: it is {source.format}.",
            expected=f"a source that may have a table with columns ({', '.join(_WITH_COLUMNS)}), or several arrays of "
            f"labels ({', '.join(_WITH_NAMED_LABELS)})",
            fix="leave --label-column out.",
        )

    def build(writer: cache.PixelWriter) -> cache.Decoded:
        return _build(source, options, writer, progress=progress, strict=strict)

    if source.in_memory:
        return cache.build_in_memory(source.name, build)
    key = cache.key(source.stamp, options.size(), options.channels, options.fit)
    images = cache.load_or_build(source.name, key, build)
    if reads_now({reason for _, reason in images.skipped}):
        images = cache.load_or_build(source.name, cache.key(key, optional_formats()), build)
    if strict:
        _check_bad_fraction(options, images.skipped, len(images) + len(images.skipped))
    return images


def find_source(options: DataOptions, *, progress: bool = True) -> Source:
    """Recognises the source; reads no image.

    Args:
        progress: as `open_images`, for a source that opens another one.

    Raises:
        GanvasError: there is no such source, or it is not what its extension says.
    """
    requested = options.source
    if requested.startswith("hf:"):
        return hub.source(requested, options.split, options.label_column)
    if requested.startswith(f"{stacked.NAME}:"):
        return _stacked_source(options, progress=progress)
    path = expand_user(requested)
    try:
        if path.is_dir():
            return _folder_source(path, options)
        if path.exists():
            return _file_source(path, options)
    except OSError as error:
        raise _unreadable_error(requested, error) from error
    if requested in digits.NAMES:
        return digits.source(requested, options.split)
    if requested in named.SETS:
        return named.source(requested, options, find_source, progress=progress)
    if requested == stacked.NAME:
        return _stacked_source(options, progress=progress)
    matches = difflib.get_close_matches(requested.partition(":")[0], [*digits.NAMES, *named.SETS, stacked.NAME], 1)
    raise GanvasError(
        f"There is no data set {requested!r}: no file or folder has this name, and Ganvas knows no such data set.",
        expected=_SOURCES,
        fix=f"did you mean {matches[0]}?"
        if matches
        else near_paths(path) or "check the path; hf:owner/name is a set of the hub.",
    )


def _stacked_source(options: DataOptions, *, progress: bool) -> Source:
    return stacked.source(options, find_source, lambda digits: open_images(digits, progress=progress))


def _folder_source(path: Path, options: DataOptions) -> Source:
    split = options.split
    name = _short_name(path.resolve().name)
    for inside in _candidate_folders(path):
        if idx.find_in_folder(inside):
            return idx.folder_source(inside, name, split)
        if cifar.is_folder(inside):
            return cifar.source(inside, name, split, options.label_column)
        if any(stl10.is_file(file.name) for file in inside.iterdir()):
            return stl10.source(inside, name, split)
    return shards.folder_source(path, name, options) or folder.source(path, name, split, options.label_column)


def _candidate_folders(path: Path) -> list[Path]:
    """The folder, and the sub-folders in which other tools put IDX and CIFAR files."""
    cifar_folders = ("cifar-10-batches-py", "cifar-10-batches-bin", "cifar-100-python", "cifar-100-binary")
    below = ("raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", *cifar_folders, "stl10_binary")
    return [path, *(path / place for place in below if (path / place).is_dir())]


def _file_source(path: Path, options: DataOptions) -> Source:
    split = options.split
    if not path.is_file():
        raise GanvasError(f"{path} is neither a file nor a folder.", expected=_SOURCES)
    with open(path, "rb") as file:
        head = file.read(512)
    format = _detect_format(path, head)
    named = _FORMAT_BY_SUFFIX.get(path.suffix.lower())
    if named is not None and named != format:
        raise GanvasError(
            f"{path} is named {path.suffix}, but is not {_FORMAT_TITLES[named]}: {describe_start(head)}.",
            expected="a file whose content matches its extension",
            fix="download it again" + ("; a web page saved in its place is the usual cause." if head else "."),
        )
    name, column = _short_name(path.name), options.label_column
    if format == "columns":
        return columns.source([path], name, column)
    if format == "video":
        return video.source(path, name, split)
    if format == "tar" and tar.holds_images(path):
        return tar.source([path], name, split, column)
    if format == "zip" and path.suffix.lower() != ".npz":
        if idx.has_images(archive.member_names(path)):
            return idx.zip_source(path, name, split)
        return archive.source(path, name, split, column)
    if format == "idx":
        return idx.file_source(path, _short_name(path.resolve().parent.name), split)
    if stl10.is_file(path.name):
        return stl10.source(path, _short_name(path.resolve().parent.name), split)
    if format == "tar":
        return _tar_source(path, name, options)
    readers = {"npy": npz, "zip": npz, "mat": matlab}
    if format in readers:
        return readers[format].source(path, name, split, column)
    if format == "table":
        return pixel_table.source(path, name, split, column)
    if tiff_stack.is_stack(path):
        return tiff_stack.source(path, name, split)
    raise _unknown_format_error(path, head, split)


def _tar_source(path: Path, name: str, options: DataOptions) -> Source:
    """CIFAR or STL-10, by the first member that has a name of theirs; any other tar is read as one of images."""
    with closing(read_members(path)) as members:
        first = next((one.name for one in members if stl10.is_file(one.name) or cifar.is_member(one.name)), "")
    if stl10.is_file(first):
        return stl10.source(path, name, options.split)
    if first:
        return cifar.source(path, name, options.split, options.label_column)
    return tar.source([path], name, options.split, options.label_column)


def _detect_format(path: Path, head: bytes) -> str:
    """zip, npy, mat, tar, columns, video, table, idx or an empty string; gzip, bzip2 and xz are decompressed first."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if matlab.is_matlab(head):
        return "mat"
    for magic, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
        if head.startswith(magic):
            try:
                with opener(path, "rb") as file:
                    head = file.read(512)
            except (OSError, EOFError, zlib.error, lzma.LZMAError):
                return ""
            break
    if head[257:262] == b"ustar" or tar.is_tar(path):
        return "tar"
    if detect_format(head) in ("Parquet", "Arrow") or path.suffix.lower() == ".arrow":
        return "columns"
    if video.is_video(head):
        return "video"
    if pixel_table.is_table(head):
        return "table"
    return "idx" if idx.is_idx(head) else ""


def _unknown_format_error(path: Path, head: bytes, split: str) -> GanvasError:
    if path.suffix.lower() in IMAGE_SUFFIXES or looks_like_image(head):
        return GanvasError(
            f"{path} is a single image.",
            expected=_SOURCES,
            fix="put the images into a folder and give the path of the folder.",
        )
    if cifar.is_batch(path.name) or (path.name in ("train", "test", "train.bin") and cifar.is_folder(path.parent)):
        return GanvasError(f"{path} is one batch of CIFAR.", expected=f"its folder, {path.parent}")
    refuse_unread(path, head)
    if split == "test" and not head:
        return no_split(str(path))
    gzipped = head.startswith(b"\x1f\x8b")
    reason = "it is gzipped, but contains neither IDX nor a tar" if gzipped else describe_start(head)
    return GanvasError(
        f"{path} has no format that Ganvas reads: {reason}.",
        expected=_SOURCES,
        fix="unpack or convert it." if head else "download it again.",
    )


def _short_name(name: str) -> str:
    """`kaokore-faces-128.zip` -> `kaokore-faces-128`: a name that is safe in the names of run folders."""
    stem = re.sub(_ENDINGS, "", name, flags=re.IGNORECASE)
    return re.sub(r"[^\w-]+", "-", stem).strip("-")[:48] or "images"


def _build(
    source: Source, options: DataOptions, writer: cache.PixelWriter, *, progress: bool, strict: bool
) -> cache.Decoded:
    """Writes all pixels of a source and describes them."""
    try:
        content = without_controls(source.read())
    except OSError as error:
        raise _unreadable_error(options.source, error) from error
    if isinstance(content, ImageArrays):
        return _build_arrays(source, content, options, writer, progress=progress)
    return _build_files(source, content, options, writer, progress=progress, strict=strict)


def _build_arrays(
    source: Source, content: ImageArrays, options: DataOptions, writer: cache.PixelWriter, *, progress: bool
) -> cache.Decoded:
    if not content.count:
        raise _empty_error(options, {})
    target = choose_target_of_arrays(options, content)
    shape = (content.count, target.channels, *target.size)
    if not source.in_memory:
        cache.check_disk_space(int(np.prod(shape)))
    with closing(convert_arrays(content, target, options, progress=progress)) as blocks:
        for block in blocks:
            writer.write(block)
    height, width = content.shape[1:]
    facts = {
        "format": source.format,
        "sizes": {f"{height}x{width}": content.count},
        "colour_modes": {{1: "L", 3: "RGB", 4: "RGBA"}[content.shape[0]]: content.count},
        "misnamed": [],
        "ignored": {},
        **content.metadata,
    }
    notes = (*content.notes, *target.notes)
    return cache.Decoded(shape, writer.hexdigest(), content.labels, content.class_names, (), notes, facts, None)


def _build_files(
    source: Source,
    content: ImageFiles,
    options: DataOptions,
    writer: cache.PixelWriter,
    *,
    progress: bool,
    strict: bool,
) -> cache.Decoded:
    total = len(content.names) + len(content.unreadable)
    if not total:
        raise _empty_error(options, content.ignored)
    scan = scan_headers(content, progress=progress)

    def skipped() -> tuple[tuple[str, str], ...]:
        return (*content.unreadable, *((content.names[index], scan.failures[index]) for index in sorted(scan.failures)))

    if strict:
        _check_bad_fraction(options, skipped(), total)
    kept, shape, notes = list[int](), (0, 1, 8, 8), ()
    if scan.readable:
        others = partial(_open_other_split, options)
        target, kept = convert_files(content, scan, options, others, writer, progress=progress)
        shape, notes = (len(kept), target.channels, *target.size), target.notes
    if strict:
        _check_bad_fraction(options, skipped(), total)
    return cache.Decoded(
        shape,
        writer.hexdigest(),
        None if content.labels is None else content.labels[kept],
        content.class_names,
        skipped(),
        (*content.notes, *notes),
        {"format": source.format, **scan.to_json(), "ignored": dict(content.ignored)},
        tuple(content.names[index] for index in kept),
    )


def _open_other_split(options: DataOptions) -> ImageFiles | None:
    """The image files of the other split; None if there is none that can be read."""
    other: Literal["train", "test"] = "train" if options.split == "test" else "test"
    try:
        content = find_source(replace(options, split=other), progress=False).read()
    except (GanvasError, OSError) as error:
        refuse_failing_disk(options.source, error)
        return None
    return content if isinstance(content, ImageFiles) else None


def _check_bad_fraction(options: DataOptions, skipped: tuple[tuple[str, str], ...], total: int) -> None:
    """Raises GanvasError if too many files are bad, listing the first of them with their reasons."""
    good = total - len(skipped)
    if good and len(skipped) <= options.max_bad * total:
        return
    rows = [f"  {name}: {reason}" for name, reason in skipped[:_MAX_NAMES]]
    if len(skipped) > _MAX_NAMES:
        rows.append(f"  and {len(skipped) - _MAX_NAMES} more")
    share = len(skipped) / total
    fix = f"repair or remove them, or skip them with --max-bad {min(1.0, -(-share * 100 // 1) / 100):g}."
    raise GanvasError(
        f"{options.source}: {len(skipped)} of {total} files are bad:\n" + "\n".join(rows),
        expected=f"at most {options.max_bad:.0%} bad files" if good else "at least one readable image",
        fix=fix if good else "check that these are images; `ganvas data` lists them all.",
    )


def _unreadable_error(what: str, error: OSError) -> GanvasError:
    return GanvasError(
        f"{what} cannot be read: {error.strerror or error}.",
        expected="a file or folder that this user may read",
        fix="check its permissions and that its disk is mounted.",
    )


def _empty_error(options: DataOptions, ignored: Mapping[str, int]) -> GanvasError:
    found = ", ".join(f"{count} {suffix}" for suffix, count in ignored.items())
    unread = next((kind for suffix in sorted(ignored, key=ignored.__getitem__) if (kind := name_unread(suffix))), None)
    return GanvasError(
        f"{options.source} contains no images" + (f", only other files: {found}." if found else "."),
        expected="JPEG, PNG, WebP, BMP, TIFF or GIF files",
        fix=f"{unread.title}: {unread.fix}."
        if unread
        else "to read an archive or array file inside a folder, give the path of the file itself.",
    )
