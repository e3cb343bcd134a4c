"""Pictures in: from whatever the user has to endless uint8 batches.

Names are imported when first used, so that the command line can read `ganvas.data.options` without paying
for torch and numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganvas.data.batches import Batches
    from ganvas.data.imageset import ImageSet
    from ganvas.data.inspection import Report, inspect
    from ganvas.data.options import PictureOptions
    from ganvas.data.pixels import to_uint8, to_unit
    from ganvas.data.sources import open_images

_HOMES = {
    "Batches": "batches",
    "ImageSet": "imageset",
    "PictureOptions": "options",
    "Report": "doctor",
    "inspect": "doctor",
    "open_images": "sources",
    "to_uint8": "pixels",
    "to_unit": "pixels",
}

__all__ = [
    "Batches",
    "ImageSet",
    "PictureOptions",
    "Report",
    "inspect",
    "open_images",
    "to_uint8",
    "to_unit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganvas.data' has no attribute {name!r}")
    return getattr(import_module(f"ganvas.data.{_HOMES[name]}"), name)
