"""Text for a terminal: control characters, as in the names of files, become escapes, which cannot change it."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_ALLOWED_FORMATS = "\u200c\u200d"  # between letters of some scripts, and in emoji
_escaped_names: dict[str, str] = {}


def printable(text: str) -> str:
    r"""Without control characters but line feeds and tabs: `\x1b`; names of `escaped_names` are without these too."""
    for name, escaped in _escaped_names.items():
        text = text.replace(name, escaped)
    return _CONTROLS.sub(lambda found: _escape(found[0]), text)


def printable_name(name: str) -> str:
    r"""A name in one line: `a\nb`."""
    return name if name.isprintable() else "".join(_escape(c) if _is_control(c) else c for c in name)


@contextmanager
def escaped_names(words: Iterable[str]) -> Iterator[None]:
    """Lets `printable` print the parts of paths that have a line feed or a tab, as given by a user, in one line."""
    parts = {part for word in words for part in re.split(r"[/\\=]", word) if "\n" in part or "\t" in part}
    _escaped_names.update((part, printable_name(part)) for part in sorted(parts, key=len, reverse=True))
    try:
        yield
    finally:
        _escaped_names.clear()


def _is_control(character: str) -> bool:
    kind = unicodedata.category(character)
    return (kind[0] == "C" and character not in _ALLOWED_FORMATS) or kind in ("Zl", "Zp")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


class PrintableStream:
    """A stream of text that prints what is printable; everything but `write` is that of the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream
        """Where rich writes, whose own control characters are wanted; and what needs no escapes, as JSON."""

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def unwrapped(stream: Any) -> Any:
    """The stream below those that escape or redirect: for JSON, and for control characters of our own."""
    while hasattr(stream, "rich_proxied_file"):
        stream = stream.rich_proxied_file
    return stream


def drop_output(stream: Any) -> None:
    """Lets what is written to a stream from now on go nowhere, below Python too, if it has a descriptor."""
    with suppress(OSError, ValueError, AttributeError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)


def escape_in_console(console: Any) -> Any:
    """Lets a rich console print what is printable in texts; its own control characters stay."""
    from rich.console import RenderHook
    from rich.segment import Segment

    class Escaped:
        def __init__(self, renderable: Any) -> None:
            self.renderable = renderable

        def __rich_console__(self, console: Any, options: Any) -> Any:
            for text, style, control in console.render(self.renderable, options):
                yield Segment(text if control else printable(text), style, control)

    class EscapeHook(RenderHook):
        def process_renderables(self, renderables: Any) -> Any:
            return [Escaped(renderable) for renderable in renderables]

    def print_objects(*objects: Any, **options: Any) -> None:  # a text is split into lines before the hook gets it
        print_as_is(*(printable(one) if isinstance(one, str) else one for one in objects), **options)

    print_as_is, console.print = console.print, print_objects
    console.push_render_hook(EscapeHook())
    return console
