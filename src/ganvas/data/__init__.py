"""Data loading: recognise a data source, decode it once into a cache, and draw endless uint8 batches from it.

Names are imported on first use, so that the command line can read `ganvas.data.options` without importing torch and
numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvas.data.batches import Batches
    from ganvas.data.imageset import ImageSet
    from ganvas.data.inspection import DataReport, inspect
    from ganvas.data.options import DataOptions
    from ganvas.data.pixels import to_uint8, to_unit
    from ganvas.data.sources import open_images

_MODULES = {
    "Batches": "batches",
    "ImageSet": "imageset",
    "DataOptions": "options",
    "DataReport": "inspection",
    "inspect": "inspection",
    "open_images": "sources",
    "to_uint8": "pixels",
    "to_unit": "pixels",
}

__all__ = ["Batches", "DataOptions", "DataReport", "ImageSet", "inspect", "open_images", "to_uint8", "to_unit"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'ganvas.data' has no attribute {name!r}")
    return getattr(import_module(f"ganvas.data.{_MODULES[name]}"), name)
