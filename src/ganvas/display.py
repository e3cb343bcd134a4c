"""How results are shown: as text in a terminal, as HTML in a notebook, both made of the same parts.

The HTML is complete in itself: no script, no request, no colour of its own, and every text is escaped.
"""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ganvas.errors import GanvasError
from ganvas.reading import open_regular
from ganvas.terminal import printable

if TYPE_CHECKING:
    from PIL.Image import Image
    from rich.console import Group, RenderableType

TEXT_WIDTH = 110
"""Most characters in a line of text, in a terminal of any width."""

IMAGE_WIDTH = 560
"""Pixels to which wider images are reduced; a few dozen kB each."""


@dataclass(frozen=True)
class Paragraph:
    """A text in one style of rich's, of which HTML keeps bold and dim; with a link if `link` is a file."""

    text: str
    style: str = ""
    link: Path | None = None

    def rich(self) -> "RenderableType":
        """For a terminal."""
        from rich.text import Text

        return Text(_printable(self.text), self.style)

    def html(self) -> str:
        """For a notebook."""
        text = _escape(self.text)
        if self.link is not None:
            text = f"<a href='{_escape(quote(self.link.as_posix()))}' target='_blank'>{text}</a>"
        text = f"<b>{text}</b>" if "bold" in self.style else text
        dim = ";opacity:.7" if "dim" in self.style else ""
        return f"<div style='flex:0 0 100%;white-space:pre-wrap{dim}'>{text}</div>"


@dataclass(frozen=True)
class Table:
    """Rows of cells. Without a header, each row is a name and a text; with one, columns from `left` on are numbers."""

    rows: Sequence[Sequence[str]]
    header: Sequence[str] = ()
    left: int = 1

    def rich(self) -> "RenderableType":
        """For a terminal."""
        from rich.padding import Padding
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(box=None, pad_edge=False, show_header=bool(self.header))
        for i, title in enumerate(self.header or ("", "")):
            number = bool(self.header) and i >= self.left
            table.add_column(
                Text(_printable(title)), justify="right" if number else "left",
                style="" if self.header or i else "dim", no_wrap=not self.header and i == 0,
            )  # fmt: skip
        for row in self.rows:
            table.add_row(*(Text(_printable(cell)) for cell in row))
        return table if self.header else Padding(table, (0, 0, 0, 4), expand=False)

    def html(self) -> str:
        """For a notebook."""
        head = self._html_row("th", self.header) if self.header else ""
        return f"<table style='margin:0'>{head}{''.join(self._html_row('td', row) for row in self.rows)}</table>"

    def _html_row(self, tag: str, row: Sequence[str]) -> str:
        cells = []
        for i, cell in enumerate(row):
            side = "right" if self.header and i >= self.left else "left"
            dim = ";opacity:.7;white-space:nowrap" if not self.header and i == 0 else ""
            cells.append(f"<{tag} style='text-align:{side};vertical-align:top{dim}'>{_escape(cell)}</{tag}>")
        return f"<tr>{''.join(cells)}</tr>"


@dataclass(frozen=True)
class InlineImage:
    """An image, or a file of one, with a caption; only in notebooks."""

    image: "Image | Path"
    caption: str = ""
    width: int = IMAGE_WIDTH

    def html(self) -> str:
        """For a notebook."""
        caption, url = _escape(self.caption), image_url(self.image, self.width)
        if not url:
            return Paragraph(f"{self.image} cannot be read.", "dim").html()
        return (
            f"<figure style='margin:0'><img src='{url}' alt='{caption}' style='max-width:100%;height:auto'>"
            f"<figcaption style='opacity:.7'>{caption}</figcaption></figure>"
        )


Part = Paragraph | Table | InlineImage


class Displayed:
    """Base of what is shown to users: `repr` in a terminal, HTML in a notebook; neither ever raises.

    A class overrides `_parts`, or `_line` where one line is enough in a terminal, or both.
    """

    def _parts(self) -> Iterable[Part]:
        """What is shown, from top to bottom."""
        yield Paragraph(self._line())

    def _line(self) -> str:
        """One line for a terminal, instead of the parts."""
        return ""

    def __repr__(self) -> str:
        try:
            return _printable(self._line()) or _plain(self.__rich__())
        except Exception as error:  # tracebacks and debuggers show objects in any state
            return _describe_failure(self, error)

    def __rich__(self) -> "Group":
        from rich.console import Group

        return Group(*(part.rich() for part in self._parts() if not isinstance(part, InlineImage)))

    def _repr_html_(self) -> str:
        shown = []
        try:
            shown += (part.html() for part in self._parts())
        except Exception as error:
            shown.append(Paragraph(_describe_failure(self, error)).html())
        style = "display:flex;flex-wrap:wrap;gap:.4em 2em;align-items:flex-start"
        return f"<div style='{style}'>{''.join(shown)}</div>"


@contextmanager
def _open_image(path: Path) -> "Iterator[Image]":
    from PIL import Image

    with open_regular(path) as file, Image.open(file) as opened:
        yield opened


def image_url(image: "Image | Path", max_width: int = IMAGE_WIDTH) -> str:
    """An image as a data URL (WebP), reduced to a width, and to a height of four times that; empty if unreadable."""
    from PIL import Image

    try:
        with nullcontext(image) if not isinstance(image, Path) else _open_image(image) as opened:
            opened = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # SyntaxError: a damaged PNG
        return ""
    scale = min(1.0, max_width / opened.width, 4 * max_width / opened.height)
    if scale < 1:
        size = max(1, round(opened.width * scale)), max(1, round(opened.height * scale))
        opened = opened.resize(size, Image.Resampling.BOX)
    file = io.BytesIO()
    opened.save(file, "WEBP", quality=82, method=4)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _plain(renderable: "RenderableType") -> str:
    """As text without colour."""
    from rich.console import Console

    console = Console(width=TEXT_WIDTH, color_system=None, force_terminal=False, force_jupyter=False, highlight=False)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().rstrip().splitlines())


def _describe_failure(what: object, error: Exception) -> str:
    reason = error.what if isinstance(error, GanvasError) else f"{type(error).__name__}: {error}"
    return f"<{type(what).__name__} that cannot be shown: {_printable(reason)}>"


def _printable(text: str) -> str:
    """Without control characters, which could change the terminal, and halves of surrogate pairs."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in printable(text))


def _escape(text: str) -> str:
    return html.escape(_printable(text))
