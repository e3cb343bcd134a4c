"""A row or two of images in a terminal, under the line where a progress bar is.

What a terminal can show is read from the environment. It is never asked: an answer that does not come would block.
"""

import base64
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Literal

import numpy as np
from PIL import Image

from ganvas.terminal import drop_output, unwrapped

Protocol = Literal["kitty", "iterm", "sixel", "blocks"]

IMAGES = 8
"""Images in a row, at most; fewer in a narrow terminal."""

MAX_IMAGES = 16
"""Images in two rows, at most, where one of each class is shown."""

BLOCK_LINES = 12
"""Lines of a row of half blocks, at most, and a third of the terminal's; a line is two pixels."""

LINES = 6
"""Lines of a row by a graphics protocol, at most, and a quarter of the terminal's, or a third with all classes."""

MIN_BLOCK_PIXELS = 7
"""The shorter side of an image in half blocks, at least, where it is reduced so that one of each class fits."""

MIN_PIXELS, MAX_PIXELS = 64, 128
"""Height of an image by a graphics protocol: smaller ones are enlarged by a whole factor, larger ones reduced."""

GAP = 16
"""The part of their height that images are apart."""

_ESC = "\x1b"


class Preview:
    """Shows images under the cursor's line, without moving the cursor; nothing where the terminal cannot.

    The line itself, and everything above, belongs to others; what they print, they print within `hidden`.

    Args:
        console: a rich console.
        shown: show images if the console is a terminal that can.
    """

    def __init__(self, console: Any, *, shown: bool = True) -> None:
        self._console = console
        self.shown = shown and _can_show(console)
        self._protocol: Protocol = choose_protocol(os.environ)
        self._images: Sequence[Image.Image] = ()
        self._lines = self._needed = 0
        self._size: tuple[int, int] | None = None

    def show(self, images: Sequence[Image.Image], needed: int = 0) -> None:
        """Shows other images, L or RGB, of one size: `needed` ones or as many as fit; see `render`."""
        if self.shown and images:
            self._images, self._needed = images, needed
            self._draw()

    def follow_size(self) -> None:
        """Draws anew if the terminal has another size now."""
        if self._images and self._size != self._console.size:
            self._draw()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Removes the images for the time of the block."""
        if self._lines:
            self._write(self._erasing())
        try:
            yield
        finally:
            if self._images:
                self._draw()

    def leave(self) -> None:
        """Moves the cursor from the line under the bar to that under the images, which stay."""
        if self._lines:
            self._write("\n" * self._lines)
        self._images, self._lines = (), 0

    def _draw(self) -> None:
        self._size = columns, lines = self._console.size
        erasing = self._erasing()
        colours = self._console.color_system
        self._lines, text = render(self._images, self._protocol, columns, lines, colours, self._needed)
        if self._lines:  # scrolls where the lines are missing; the cursor comes back to its own
            text = "\n" * self._lines + f"{_ESC}[{self._lines}A{_ESC}7\r\n{text}{_ESC}8"
        self._write(erasing + text)

    def _erasing(self) -> str:
        """Erases what is right of and under the cursor; a kitty image is no text, and goes by its number."""
        return f"{_ESC}[J" + (f"{_ESC}_Ga=d,d=I,i={os.getpid()},q=2{_ESC}\\" if self._protocol == "kitty" else "")

    def _write(self, text: str) -> None:
        file = unwrapped(self._console.file)
        try:
            file.write(text)  # in one piece: the bar is redrawn by another thread
            file.flush()
        except OSError:  # the terminal was closed
            self.shown = False
            drop_output(file)


def _can_show(console: Any) -> bool:
    file = console.file
    encoding = (getattr(file, "encoding", None) or "").lower()
    return (
        file.isatty() and console.is_terminal and not console.is_jupyter and not console.legacy_windows
        and console.color_system is not None and not console.no_color and encoding.startswith("utf")
    )  # fmt: skip


def choose_protocol(environ: Mapping[str, str]) -> Protocol:
    """The best protocol that the terminal of this environment is known to have; half blocks in any other.

    Variables of an outer terminal are inherited by programs in a multiplexer, which passes no graphics on, and by
    other terminals that were started there; those have a TERM_PROGRAM of their own.
    """
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if environ.keys() & {"TMUX", "STY", "ZELLIJ"} or term.startswith(("tmux", "screen")):
        return "blocks"
    if term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return "kitty"
    if program in ("iTerm.app", "WezTerm", "mintty"):
        return "iterm"
    if term.startswith(("foot", "mlterm", "contour")) or program in ("contour", "mlterm"):
        return "sixel" if _cell_pixels() else "blocks"
    if not program and "KITTY_WINDOW_ID" in environ:
        return "kitty"
    return "iterm" if not program and environ.get("LC_TERMINAL") == "iTerm2" else "blocks"


def _cell_pixels() -> tuple[int, int] | None:
    """(height, width) of a character cell in pixels, as the system knows it; None if it does not."""
    try:
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(sys.__stderr__, termios.TIOCGWINSZ, bytes(8))  # type: ignore[arg-type, attr-defined]
        lines, columns, width, height = struct.unpack("HHHH", answer)
        return (height // lines, width // columns) if lines and columns and height >= lines else None
    except (ImportError, OSError, ValueError, TypeError, AttributeError):  # Windows; no terminal
        return None


def render(
    images: Sequence[Image.Image],
    protocol: Protocol,
    columns: int,
    lines: int,
    colours: str = "truecolor",
    needed: int = 0,
) -> tuple[int, str]:
    """(lines that it takes, text) of images in a terminal of that size; (0, "") where they do not fit.

    They are in one row. Where that has fewer than the `needed` ones, these are in one or two rows of smaller images, of
    a third of the terminal's lines at most; if they would be too small, the one row is shown all the same.
    """
    if protocol == "blocks":
        return _render_blocks(images, columns, lines, colours, needed)
    width, height = images[0].size
    cell_h, cell_w = _cell_pixels() or (2, 1)
    ratio = (width / height + 1 / GAP) * cell_h / cell_w  # of an image and its gap, in columns to lines
    used = min(LINES, lines // 4, int((columns - 1) / ratio))
    if used < 2:
        return 0, ""
    n = in_row = min(IMAGES, int((columns - 1) / (used * ratio)))
    if n < needed:
        per_row = {rows: -(-needed // rows) for rows in (1, 2)}
        fitting = {
            rows: min(LINES, lines // 3 // rows, int((columns - 1) / (m * ratio))) for rows, m in per_row.items()
        }
        rows = max(fitting, key=fitting.__getitem__)
        if fitting[rows] >= 2:
            used, n, in_row = fitting[rows] * rows, needed, per_row[rows]
    pixels = used * cell_h // 6 * 6 if protocol == "sixel" else 0  # whole bands; a part of one would scroll
    strip = _join(images[:n], in_row, pixels)
    if protocol == "sixel":
        return used, encode_sixel(strip)
    file = io.BytesIO()
    strip.save(file, "PNG")
    encoded = base64.b64encode(file.getvalue()).decode()
    if protocol == "iterm":
        arguments = f"inline=1;size={file.tell()};height={used};preserveAspectRatio=1;doNotMoveCursor=1"
        return used, f"{_ESC}]1337;File={arguments}:{encoded}\a"
    parts = [encoded[i : i + 4096] for i in range(0, len(encoded), 4096)]
    keys = [f"a=T,f=100,i={os.getpid()},p=1,C=1,r={used},"] + [""] * (len(parts) - 1)
    more = [1] * (len(parts) - 1) + [0]
    return used, "".join(
        f"{_ESC}_G{key}q=2,m={m};{part}{_ESC}\\" for key, m, part in zip(keys, more, parts, strict=True)
    )


def _join(images: Sequence[Image.Image], in_row: int, pixels: int = 0) -> Image.Image:
    """Images in rows: of `pixels` in height altogether, at most, or of a height that suits them."""
    (w, h), rows = images[0].size, -(-len(images) // in_row)
    own = h * -(-MIN_PIXELS // h) if h < MIN_PIXELS else min(h, MAX_PIXELS)
    height = pixels * GAP // (rows * (GAP + 1) - 1) if pixels else own  # with the gaps between the rows
    size, smoothing = (max(1, round(w * height / h)), height), Image.Resampling.BOX
    gap = height // GAP
    strip = Image.new("RGB", (min(in_row, len(images)) * (size[0] + gap) - gap, rows * (height + gap) - gap))
    for i, image in enumerate(images):
        row, column = divmod(i, in_row)
        strip.paste(image.convert("RGB").resize(size, smoothing), (column * (size[0] + gap), row * (height + gap)))
    return strip


def _render_blocks(
    images: Sequence[Image.Image], columns: int, lines: int, colours: str, needed: int
) -> tuple[int, str]:
    """Two pixels a character: the upper half block in the colour of the upper one, on that of the lower one.

    Small images are enlarged by a whole factor if all fit; larger ones are reduced so that four of them fit, or the
    `needed` ones in two rows.
    """
    width, height = images[0].size

    def choose_factor(in_row: int, rows: int) -> float:
        """The largest at which so many images fit; a whole one from 2 on."""
        most = 2 * min(BLOCK_LINES, lines // 3 // rows)
        factor = min(most / height, (columns // in_row - 1) / width)
        return float(int(factor)) if factor >= 2 else min(factor, 1.0)

    scale = max(choose_factor(IMAGES, 1), min(choose_factor(4, 1), 1.0))
    if scale * width < 1 or lines < 6:
        return 0, ""
    n = in_row = min(IMAGES, columns // (round(width * scale) + 1))
    if n < needed:
        per_row = {rows: -(-needed // rows) for rows in (1, 2)}
        factors = {rows: choose_factor(m, rows) for rows, m in per_row.items()}
        rows = max(factors, key=factors.__getitem__)
        if factors[rows] * min(width, height) >= min(MIN_BLOCK_PIXELS, width, height):
            scale, n, in_row = factors[rows], needed, per_row[rows]
    size = round(width * scale), max(2, round(height * scale))
    smoothing = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    small = [np.asarray(image.convert("RGB").resize(size, smoothing)).tolist() for image in images[:n]]
    below = [[None] * size[0]]  # under the last pixels where their number is odd
    small = [pixels + below * (size[1] % 2) for pixels in small]
    text = [
        " ".join(_format_blocks(image[y], image[y + 1], colours) for image in small[i : i + in_row])
        for i in range(0, len(small), in_row)
        for y in range(0, len(small[0]), 2)
    ]
    return len(text), "\r\n".join(text)


def _format_blocks(upper: Sequence[Any], lower: Sequence[Any], colours: str) -> str:
    """A line of half blocks; equal neighbours share an escape sequence."""
    parts = []
    for (above, below), cells in groupby(zip(upper, lower, strict=True)):
        codes = [*_colour_codes(above, colours, True), *(_colour_codes(below, colours, False) if below else ("49",))]
        parts.append(f"{_ESC}[{';'.join(codes)}m{'▀' * len(list(cells))}")
    return "".join(parts) + f"{_ESC}[0m"


def _colour_codes(rgb: Sequence[int], colours: str, foreground: bool) -> tuple[str, ...]:
    """24-bit colour where the terminal has it, else the nearest of 256."""
    from rich.color import Color, ColorSystem

    colour = Color.from_rgb(*rgb)
    if colours != "truecolor":
        colour = colour.downgrade(ColorSystem.EIGHT_BIT)
    return colour.get_ansi_codes(foreground)


def encode_sixel(image: Image.Image, colours: int = 64) -> str:
    """An RGB image as sixels (DEC STD 070): bands of six rows, each drawn once for every colour in it."""
    reduced = image.quantize(colours, dither=Image.Dither.NONE)
    palette = np.array(reduced.getpalette()).reshape(-1, 3) * 100 // 255
    pixels = np.asarray(reduced)
    pixels = np.pad(pixels, ((0, -len(pixels) % 6), (0, 0)), constant_values=255)  # 255 is no colour
    header = f'0;1;0q"1;1;{image.width};{image.height}' + "".join(
        f"#{i};2;{r};{g};{b}" for i, (r, g, b) in enumerate(palette)
    )
    bands = []
    for band in pixels.reshape(-1, 6, image.width):
        text = []
        for colour in np.unique(band[band != 255]):
            bits = (1 << np.arange(6)) @ (band == colour)
            starts = np.flatnonzero(np.diff(bits, prepend=-1))
            lengths = np.diff(starts, append=len(bits)).tolist()
            runs = zip(lengths, map(chr, (63 + bits[starts]).tolist()), strict=True)
            text += [f"#{colour}", *(f"!{n}{character}" if n > 3 else character * n for n, character in runs), "$"]
        bands.append("".join(text))
    return f"{_ESC}P{header}{'-'.join(bands)}{_ESC}\\"
