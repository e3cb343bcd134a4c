"""Unpickles plain values and numeric arrays, as CIFAR's Python version has them; never anything else."""

import io
import pickle
import re
from typing import Any

import numpy as np

from ganvas.errors import GanvasError


def unpickle(content: bytes, where: str) -> Any:
    """Unpickles plain values and numeric arrays; anything else is refused before it is constructed.

    Raises:
        GanvasError: the pickle refers to anything but numpy's array, or is damaged.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    except GanvasError:
        raise
    except Exception as error:  # a damaged pickle may fail in any way
        raise GanvasError(f"{where} cannot be read: {error}.", fix="download it again.") from error


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the few names that pickled numeric arrays refer to, each to a stub of our own.

    Every stub is a new object and never a class, so that nothing a pickle does to it persists.
    """

    def find_class(self, module: str, name: str) -> Any:
        match module.replace("numpy._core", "numpy.core"), name:
            case "numpy.core.multiarray", "_reconstruct":
                return lambda *_: ArrayStub()
            case "numpy.core.numeric", "_frombuffer":
                return lambda content, dtype, shape, order: ArrayStub().fill(shape, dtype, order == "F", content)
            case "numpy", "ndarray":
                return "ndarray"
            case "numpy", "dtype":
                return lambda code, *_: _DtypeStub(code)
        raise GanvasError(
            f"A pickle refers to {module}.{name}, which could run a program.",
            expected="numeric arrays only",
            fix="do not use this file; download it from its authors.",
        )

    def persistent_load(self, pid: Any) -> Any:
        raise GanvasError("A pickle refers to something outside itself.", expected="numeric arrays only")


class _DtypeStub:
    """Stub of a numpy.dtype, which must be boolean, integer or floating point."""

    def __init__(self, code: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not (isinstance(text, str) and re.fullmatch(r"[biuf][1248]", text)):
            raise ValueError(f"an array of {text!r}")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(">" if order == ">" else "<")


class ArrayStub:
    """Stub of a numpy.ndarray."""

    value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, content = state
        self.fill(shape, dtype, fortran, content)

    def fill(self, shape: Any, dtype: Any, fortran: Any, content: Any) -> "ArrayStub":
        if not isinstance(dtype, _DtypeStub) or not isinstance(content, bytes | bytearray):
            raise ValueError("an array of objects")
        self.value = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if fortran else "C")
        return self
