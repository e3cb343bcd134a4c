"""Whose process is at the other end of a connection within this machine, where the system says so (Linux)."""

import ipaddress
import os
import sys
from contextlib import suppress
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


def is_of_another_user(host: str, port: int) -> bool:
    """Whether the socket of this machine with that address belongs to another user; False where that is unknown."""
    if not hasattr(os, "getuid"):
        return False
    places = _spell(host, port)
    for table in _TABLES:
        with suppress(OSError, ValueError, IndexError):
            for line in table.read_text("ascii").splitlines()[1:]:
                fields = line.split()
                if fields[1] in places and fields[3] == "01":  # a connection that is open
                    return int(fields[7]) != os.getuid()
    return False


def _spell(host: str, port: int) -> set[str]:
    """An address as the tables have it: words of four bytes in the machine's order; one of IPv4 also as IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return set()
    found = {address.packed}
    if address.version == 4:
        found.add(bytes(10) + b"\xff\xff" + address.packed)
    return {f"{_to_words(packed)}:{port:04X}" for packed in found}


def _to_words(packed: bytes) -> str:
    words = (packed[i : i + 4] for i in range(0, len(packed), 4))
    return b"".join(word[::-1] if sys.byteorder == "little" else word for word in words).hex().upper()
