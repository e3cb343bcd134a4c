"""Converts images of any kind to a stream of uint8 [C H W] of one size: scans all headers, then decodes.

Memory stays bounded whatever the size of the data set: only a few chunks are in flight, and only counts are collected.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, BinaryIO, TypeVar

import numpy as np

from ganvas.data.arrays.value_range import USUAL_LEVELS, Levels, depth_note, float_note, white_of
from ganvas.data.cached.cache import PixelWriter, check_disk_space
from ganvas.data.decoding import Header, decode, is_transparent, read_header, read_peak, read_range, resize_array
from ganvas.data.file_reading import map_in_order, read_files
from ganvas.data.options import MIN_SIDE, DataOptions
from ganvas.data.source_types import ImageArrays, ImageFiles
from ganvas.errors import GanvasError
from ganvas.progress import progress_bar

_ALPHA_SAMPLES = 64  # images with an alpha channel that are decoded to see whether any pixel is transparent
_MAX_MISNAMED = 1000  # misnamed files that are listed
_KEPT_SIDES = range(MIN_SIDE, 257)  # a size that all images have is kept if its sides are in this range
_MAX_DEFAULT_SIDE = 64

Result = TypeVar("Result")


@dataclass
class HeaderScan:
    """The headers of all images, summarised. Images that cannot be decoded are taken out again by `drop_failures`."""

    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    grey: int = 0
    alpha: list[int] = field(default_factory=list)
    deep: dict[str, list[int]] = field(default_factory=lambda: {"grey": [], "colour": [], "float": []})
    """Images of 16 bits or more, or of floats."""
    failures: dict[int, str] = field(default_factory=dict)
    misnamed: list[tuple[str, str]] = field(default_factory=list)
    animated: list[str] = field(default_factory=list)
    kinds: list[tuple[int, int, str, bool]] = field(default_factory=list)
    """Each different (height, width, mode, grey), of which `kind_of` has the index for each image, or -1."""
    kind_of: "array[int]" = field(default_factory=lambda: array("i"))

    @property
    def readable(self) -> int:
        return sum(self.sizes.values())

    def drop_failures(self, names: Sequence[str]) -> None:
        """Takes the images that could not be decoded out of all counts."""
        dropped = [index for index in self.failures if self.kind_of[index] >= 0]
        for index in dropped:
            height, width, mode, grey = self.kinds[self.kind_of[index]]
            self.sizes[height, width] -= 1
            self.modes[mode] -= 1
            self.grey -= grey
            self.kind_of[index] = -1
        self.sizes, self.modes = +self.sizes, +self.modes
        self.alpha = [index for index in self.alpha if index not in self.failures]
        self.deep = {kind: [i for i in found if i not in self.failures] for kind, found in self.deep.items()}
        gone = {names[index] for index in dropped}
        self.misnamed = [(name, actual) for name, actual in self.misnamed if name not in gone]
        self.animated = [name for name in self.animated if name not in gone]

    def to_json(self) -> dict[str, Any]:
        """JSON-able histograms, the most frequent rows first."""
        return {
            "sizes": {f"{height}x{width}": n for (height, width), n in self.sizes.most_common()},
            "colour_modes": dict(self.modes.most_common()),
            "misnamed": self.misnamed[:_MAX_MISNAMED],
            "misnamed_count": len(self.misnamed),
        }


@dataclass(frozen=True)
class TargetFormat:
    """The format that every image is converted to, with notes for the user."""

    channels: int
    size: tuple[int, int]
    notes: tuple[str, ...]
    levels: Levels = USUAL_LEVELS


def scan_headers(images: ImageFiles, *, progress: bool) -> HeaderScan:
    """Reads the header of every image; none is decoded."""
    scan = HeaderScan(kind_of=array("i", [-1]) * len(images.names))
    number_of: dict[tuple[int, int, str, bool], int] = {}

    def read(file: BinaryIO, index: int) -> Header:
        return read_header(file, images.names[index])

    every = range(len(images.names))
    for headers in read_files(read, images, every, scan.failures, "scanning the images", progress):
        for index, header in headers:
            kind = header.height, header.width, header.mode, header.grey
            scan.kind_of[index] = number_of.setdefault(kind, len(number_of))
            scan.sizes[header.height, header.width] += 1
            scan.modes[header.mode] += 1
            scan.grey += header.grey
            if header.alpha:
                scan.alpha.append(index)
            if header.frames:
                scan.animated.append(images.names[index])
            if header.deep:
                scan.deep[header.deep].append(index)
            if header.misnamed:
                scan.misnamed.append((images.names[index], header.misnamed))
    scan.kinds = list(number_of)
    return scan


def choose_target_of_files(
    options: DataOptions, images: ImageFiles, scan: HeaderScan, find_others: Callable[[], ImageFiles | None]
) -> TargetFormat:
    """Chooses channels and size for image files, at least one of which is readable.

    Args:
        find_others: opens the other split, whose images of 16 bits or floats are read alike; None if there is none.

    Raises:
        GanvasError: they have colours of 16 bits, of which nearly nothing could be read.
    """
    notes = []
    if options.channels is not None:
        channels: int = options.channels
    elif scan.grey == scan.readable:
        channels = 1
    elif len(scan.alpha) == scan.readable and _has_transparency(images, scan.alpha):
        channels = 4
        notes.append("Every image has transparency: 4 channels are used (--channels 3 composites them over white).")
    else:
        channels = 3
        if scan.grey:
            notes.append(f"Grey images among colour images: {scan.grey} of {scan.readable}; all are converted to RGB.")
    if scan.animated:
        count, example = len(scan.animated), scan.animated[0]
        notes.append(f"Files with several frames or pages: {count}, as {example}; the first of each is used.")
        if any(name.lower().endswith((".tif", ".tiff")) for name in scan.animated):
            notes.append("A TIFF whose own path is given is read page by page.")
    levels, deep = _choose_levels(options, images, scan, find_others)
    size, more = choose_default_size(options, scan.sizes)
    return TargetFormat(channels, size, (*notes, *deep, *more), levels)


def _choose_levels(
    options: DataOptions, images: ImageFiles, scan: HeaderScan, find_others: Callable[[], ImageFiles | None]
) -> tuple[Levels, list[str]]:
    """The levels of all images of 16 bits or more and of floats, from the extremes of all splits, with notes."""
    splits = [(images, scan)]
    if any(scan.deep.values()) and (others := find_others()) is not None:
        splits.append((others, scan_headers(others, progress=False)))

    def read_all(kind: str, read: Callable[[BinaryIO], Result]) -> list[Result]:
        found = (
            read_files(lambda file, _: read(file), files, headers.deep[kind], {}, "", progress=False)
            for files, headers in splits
        )
        return [value for chunks in found for chunk in chunks for _, value in chunk]

    colour = white_of(max(read_all("colour", read_peak), default=65535)) if scan.deep["colour"] else 65535
    if colour < 65535:
        bits = colour.bit_length()
        raise GanvasError(
            f"{options.source}: {len(scan.deep['colour'])} images have colours of 16 bits and use only {bits} of them: "
            "they are nearly black.",
            expected="colours of 8 bits, or of all 16",
            fix=f"multiply them first, for example with ImageMagick: mogrify -evaluate multiply {2 ** (16 - bits)} "
            "-depth 8 -format png FILES",
        )
    levels, notes = USUAL_LEVELS, list[str]()
    if scan.deep["grey"] and (white := white_of(peak := max(read_all("grey", read_peak), default=65535))) != 65535:
        levels = levels._replace(white=white)
        notes.append(depth_note(f"Grey images of more than 8 bits: {len(scan.deep['grey'])}", peak, white))
    if scan.deep["float"] and (ranges := read_all("float", read_range)):
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        levels = levels._replace(floats=(low, high))
        notes.append(float_note(len(scan.deep["float"]), low, high))
    return levels, notes


def choose_target_of_arrays(options: DataOptions, arrays: ImageArrays) -> TargetFormat:
    """Chooses channels and size for images that come as arrays.

    Raises:
        GanvasError: they are smaller than 8 pixels a side.
    """
    channels, height, width = arrays.shape
    if min(height, width) < MIN_SIDE:
        raise GanvasError(
            f"{options.source}: the images are {height} x {width} pixels.",
            expected=f"at least {MIN_SIDE} pixels a side",
            fix="enlarge them first.",
        )
    size, notes = choose_default_size(options, Counter({(height, width): arrays.count}))
    if options.channels is not None:
        return TargetFormat(options.channels, size, notes)
    if channels == 4 and not _is_opaque(arrays):
        return TargetFormat(4, size, notes)
    return TargetFormat(min(channels, 3), size, notes)


def decode_files(
    images: ImageFiles, scan: HeaderScan, target: TargetFormat, options: DataOptions, *, progress: bool
) -> Generator[tuple[np.ndarray, list[int]], None, None]:
    """Yields (uint8 [n C H W], the n indices) in order; images that fail are added to `scan.failures`."""
    good = [index for index in range(len(images.names)) if index not in scan.failures]

    def read(file: BinaryIO, _index: int) -> np.ndarray:
        return decode(file, target.channels, target.size, options.fit, target.levels)

    for decoded in read_files(read, images, good, scan.failures, "decoding the images", progress):
        if decoded:
            yield np.stack([pixels for _, pixels in decoded]), [index for index, _ in decoded]


def convert_files(
    images: ImageFiles,
    scan: HeaderScan,
    options: DataOptions,
    find_others: Callable[[], ImageFiles | None],
    writer: PixelWriter,
    *,
    progress: bool,
) -> tuple[TargetFormat, list[int]]:
    """Decodes all files that can be, in order; returns their format, and which they are.

    Where an image that cannot be decoded has decided the format, all are decoded again without it.

    Args:
        scan: at least one header is readable.
        find_others: as `choose_target_of_files`.
        writer: of the pixels.
    """
    target = choose_target_of_files(options, images, scan, find_others)
    while True:
        check_disk_space(scan.readable * target.channels * target.size[0] * target.size[1])
        failed, kept = len(scan.failures), list[int]()
        with closing(decode_files(images, scan, target, options, progress=progress)) as chunks:
            for pixels, indices in chunks:
                writer.write(pixels)
                kept += indices
        if len(scan.failures) == failed:
            return target, kept
        scan.drop_failures(images.names)
        if not kept:
            return target, kept
        decided = choose_target_of_files(options, images, scan, find_others)
        if replace(decided, notes=target.notes) == target:
            return decided, kept
        target = decided
        writer.restart()


def convert_arrays(
    arrays: ImageArrays, target: TargetFormat, options: DataOptions, *, progress: bool
) -> Generator[np.ndarray, None, None]:
    """Yields uint8 [n C H W]; blocks that have the target shape already are passed on unchanged."""
    same = (target.channels, *target.size) == arrays.shape

    def convert(block: np.ndarray) -> np.ndarray:
        return np.stack([resize_array(image, target.channels, target.size, options.fit) for image in block])

    with progress_bar("reading the images", arrays.count, shown=progress) as advance:
        stream = ((block, block) for block in arrays.blocks()) if same else map_in_order(convert, arrays.blocks())
        for block, result in stream:
            yield result
            advance(len(block))


def _has_transparency(images: ImageFiles, indices: list[int]) -> bool:
    samples = indices[:: max(1, len(indices) // _ALPHA_SAMPLES)]
    found = read_files(lambda file, _: is_transparent(file), images, samples, {}, "", progress=False)
    return any(transparent for chunk in found for _, transparent in chunk)


def _is_opaque(arrays: ImageArrays) -> bool:
    """Whether no pixel of any image is transparent; reads no further than the first that is."""
    return all((block[:, 3] == 255).all() for block in arrays.blocks())


def usual_shorter_side(sizes: Counter[tuple[int, int]]) -> int:
    """The pixels that the shorter side of all images but the smallest twentieth has at the least."""
    counts: Counter[int] = Counter()
    for size, count in sizes.items():
        counts[min(size)] += count
    sides = sorted(counts)
    at_most = accumulate(counts[side] for side in sides)
    return next(side for side, seen in zip(sides, at_most, strict=True) if seen > sizes.total() // 20)


def choose_default_size(
    options: DataOptions, sizes: Counter[tuple[int, int]]
) -> tuple[tuple[int, int], tuple[str, ...]]:
    """The (H, W) to train at, with a note if the user did not choose it and images are resized.

    The smallest image decides, unlike in `limits.choose_limited_size`, which says why there are two rules.
    """
    requested = options.size()
    if requested is not None:
        return requested, ()
    common = next(iter(sizes))
    if len(sizes) == 1 and all(side in _KEPT_SIDES for side in common):
        return common, ()
    smallest = min(min(size) for size in sizes)
    side = MIN_SIDE
    while side * 2 <= min(smallest, _MAX_DEFAULT_SIDE):
        side *= 2
    all_equal = f"All images have {common[0]}x{common[1]} pixels"
    found = all_equal if len(sizes) == 1 else f"The images have {len(sizes)} different sizes"
    if side * 2 <= min(usual_shorter_side(sizes), _MAX_DEFAULT_SIDE):
        small = sum(count for size, count in sizes.items() if min(size) < side * 2)
        found += f", and {small:,} of {sizes.total():,} fewer than {side * 2} pixels on the shorter side"
    verb = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}[options.fit]
    return (side, side), (f"{found}: {verb} to {side}x{side}; --resolution changes this.",)
