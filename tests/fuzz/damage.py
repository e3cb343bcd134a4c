"""Damage to a file: to its bytes, or to what it is."""

import json
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

ODD_VALUES: list[Any] = [
    None, True, -1, 0, 1e308, -1e-320, float("nan"), float("inf"), 10**30, 2**63, "", "x", "²", "a\nb", "\x00",
    "🎨" * 99,
    "../../x", "<script>", [], {}, [[]], [None], {"a": {}}, [1, "two"], "9" * 5000, 0.5,
]  # fmt: skip


def truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def empty(content: bytes, random: Random) -> bytes:
    return b""


def flip(content: bytes, random: Random) -> bytes:
    """One to eight bits, half the time among the first bytes, where headers are."""
    changed = bytearray(content)
    for _ in range(random.randint(1, 8)) if content else ():
        changed[random.randrange(min(len(changed), random.choice([64, len(changed)])))] ^= 1 << random.randrange(8)
    return bytes(changed)


def splice(content: bytes, random: Random) -> bytes:
    """A part is taken out, doubled, moved, or filled with zeros."""
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    before, part, after = content[:start], content[start:end], content[end:]
    return random.choice(
        [before + after, before + part + part + after, before + after + part, before + bytes(end - start) + after]
    )


def enlarge_number(content: bytes, random: Random) -> bytes:
    """A number in the header becomes huge: two to eight bytes, or digits of a text."""
    changed = bytearray(content)
    start = random.randrange(min(len(content), 128) or 1)
    digits = [place for place in range(min(len(content), 512)) if 48 <= content[place] < 58]
    if digits and random.random() < 0.5:
        place = random.choice(digits)
        changed[place : place + 1] = b"9" * random.choice([3, 10, 20, 5000])
    else:
        size = random.choice([2, 4, 8])
        changed[start : start + size] = random.choice([b"\xff", b"\x7f"]) * size
    return bytes(changed)


def other_content(content: bytes, random: Random) -> bytes:
    """Something else that people save under a name: a page, an LFS pointer, text, noise, deep brackets."""
    return random.choice([
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
        b"\xff\xfe" + "text".encode("utf-16-le"), b"\x00" * 3000, random.randbytes(3000), b"[" * 100_000,
        b'{"a":' * 100_000, b"{}", b"[]", b"null", b"9" * 5000, b"\n" * 500, b'"', b"NaN",
        b"\x1f\x8b" + random.randbytes(50),
        b"PK\x05\x06" + bytes(18), b"\x93NUMPY\x01\x00v\x00{", b"\x89PNG\r\n\x1a\n", b"GIF89a",
        b"II*\x00\x08\x00\x00\x00",
    ])  # fmt: skip


def replace_json_value(content: bytes, random: Random) -> bytes:
    """A value within JSON, or within a line of it, or within the header of a safetensors file, becomes another one."""
    if content[8:9] == b"{" and (size := int.from_bytes(content[:8], "little")) < len(content):
        header = _replace_value(content[8 : 8 + size], random)
        return len(header).to_bytes(8, "little") + header + content[8 + size :]
    lines = content.split(b"\n")
    if content[:1] == b"{" and len(lines) > 1 and lines[0].endswith(b"}"):
        place = random.randrange(len(lines))
        lines[place] = _replace_value(lines[place], random)
        return b"\n".join(lines)
    return _replace_value(content, random)


def _replace_value(text: bytes, random: Random) -> bytes:
    try:
        value = json.loads(text)
    except ValueError:
        return flip(text, random)
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            collect(node[key])

    collect(value)
    if not places:
        return json.dumps(random.choice(ODD_VALUES)).encode()
    node, key = random.choice(places)
    if random.random() < 0.15:
        del node[key]
    elif isinstance(node[key], str) and node[key][:1] == "{" and random.random() < 0.7:  # JSON within JSON
        node[key] = _replace_value(node[key].encode(), random).decode()
    elif isinstance(node[key], int | float) and random.random() < 0.3:
        node[key] = node[key] * random.choice([-1, 10**6, 0, 1.5])
    else:
        node[key] = random.choice(ODD_VALUES)
    return json.dumps(value).encode()


BYTES: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": truncate, "emptied": empty, "with flipped bits": flip, "spliced": splice,
    "with a huge number": enlarge_number, "with other content": other_content,
}  # fmt: skip
"""Damages of the bytes of any file."""

JSON_BYTES = {**BYTES, "with another value": replace_json_value}


def to_folder(path: Path) -> None:
    path.mkdir()
    (path / "x").write_bytes(b"x")


def to_fifo(path: Path) -> None:
    os.mkfifo(path)


def to_socket(path: Path) -> None:
    """A socket, if its path is short enough for one."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def to_zeros(path: Path) -> None:
    """A device that never ends, as /dev/zero; where the user may not make one, a sparse file of 64 GiB."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
        path.open("rb").close()
    except OSError:
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            file.truncate(2**29)


FILES: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "a folder": to_folder,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a FIFO": to_fifo,
    "a socket": to_socket,
    "an endless device": to_zeros,
}
"""What stands in a file's place."""


def damage(path: Path, how: str, random: Random) -> None:
    """Damages a file in place, as `how` says: a key of JSON_BYTES or FILES."""
    if how in JSON_BYTES:
        path.write_bytes(JSON_BYTES[how](path.read_bytes(), random))
        return
    path.unlink()
    FILES[how](path)
