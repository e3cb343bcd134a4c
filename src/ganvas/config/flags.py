"""Knobs as words of a command line."""

from collections.abc import Mapping
from typing import Any


def to_words(name: str, value: Any) -> list[str]:
    """A knob and its value as words: --g-widths 64 32, --no-mirror, --g-lr=-1."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, tuple | list):
        return [flag, *map(_text, value)]
    text = _text(value)
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]


def format_flags(knobs: Mapping[str, Any]) -> str:
    """Knobs as text for a reader, who may copy it into a command."""
    return " ".join(word for name, value in knobs.items() for word in to_words(name, value))


def _text(value: Any) -> str:
    """A number as people write it: 10, not 10.0."""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else str(value)
