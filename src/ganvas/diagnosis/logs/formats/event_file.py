"""TensorBoard's event files: records of protobuf messages, of which a few fields are read here.

TensorBoard itself is no dependency. Record: length uint64, its CRC, the message, its CRC. Event: 1 wall_time, 2 step,
5 summary. Summary: 1 value. Value: 1 tag, 2 simple_value, 8 tensor. Tensor: 1 dtype, 4 content, 5 floats, 6 doubles.
"""

import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ganvas.diagnosis.logs.rows import MAX_ROWS, Rows, Table
from ganvas.diagnosis.logs.source import Source, is_event_file, shown
from ganvas.errors import GanvasError

_MAX_RECORD = 2**26
"""Most bytes of a record: images are some, weights are not written."""

_FIXED = {1: "<d", 5: "<f"}
"""Wire type -> format of a number of 8 or 4 bytes."""


def read_event_file(source: Source) -> list[Table] | None:
    """One table a scalar; a torn last record is left out."""
    if not is_event_file(source):
        return None
    series: dict[str, Rows] = {}
    for record in _records(source):
        event = dict(_fields(record))
        step = event.get(2, 0)
        for number, value in _fields(event.get(5, b"")):
            scalar = _scalar(value) if number == 1 else None
            if scalar is not None:
                rows = series.setdefault(scalar[0], Rows(MAX_ROWS))
                rows.max_rows = max(2048, MAX_ROWS * 8 // len(series))
                rows.add({"step": float(step), scalar[0]: scalar[1]})
    return [rows.table() for rows in series.values()]


def _records(source: Source) -> Iterator[bytes]:
    """The messages.

    Raises:
        GanvasError: the lengths in the file make no sense.
    """
    left = source.size
    with source.open() as file, suppress(EOFError):  # a packed file may be cut off
        while len(header := file.read(12)) == 12:
            (length,) = struct.unpack("<Q", header[:8])
            if length > _MAX_RECORD:
                raise GanvasError(
                    f"{shown(source.path)} is damaged.", expected="TensorBoard's events", fix="copy it again."
                )
            left -= 12 + length + 4
            if left < 0:
                return
            if len(record := file.read(length)) == length and len(file.read(4)) == 4:
                yield record


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field, bytes, int or float; a damaged message ends early."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in _FIXED and at + (size := struct.calcsize(_FIXED[kind])) <= len(message):
            value, at = struct.unpack_from(_FIXED[kind], message, at)[0], at + size
        elif kind == 2:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        else:
            return
        yield key >> 3, value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return value, at


def _scalar(message: bytes) -> tuple[str, float] | None:
    """(tag, number) of a value, if it is one number: as such, or as a tensor as TensorFlow 2 writes it."""
    fields = dict(_fields(message))
    tag = fields.get(1, b"").decode("utf-8", "replace")
    if 2 in fields:
        return tag, fields[2]
    tensor = dict(_fields(fields.get(8, b"")))
    content = tensor.get(4) or tensor.get(5) or tensor.get(6) or b""
    if isinstance(content, float):
        return tag, content
    size = {1: 4, 2: 8}.get(tensor.get(1, 0))
    return (tag, struct.unpack("<f" if size == 4 else "<d", content)[0]) if len(content) == size else None
