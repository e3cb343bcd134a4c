"""Which recipes cannot be trained on some images, in a process of its own. Imports PyTorch."""

from collections.abc import Sequence
from typing import Any

from ganvas.config import replace
from ganvas.data import open_images
from ganvas.data.options import DataOptions
from ganvas.errors import GanvasError
from ganvas.recipes import get_recipe
from ganvas.studio.answers import describe
from ganvas.training import start


def check(recipes: Sequence[str], data: str) -> dict[str, Any]:
    """What their trainings would refuse at their start: `data` why no training takes it, `recipes` why some do not."""
    try:
        open_images(DataOptions(data))
    except GanvasError as error:
        return {"data": describe(error), "recipes": {}}
    refused = {}
    for name in recipes:
        try:
            start.complete(replace(get_recipe(name).config, data=data))
        except GanvasError as error:
            refused[name] = describe(error)
    return {"data": None, "recipes": refused}
