"""The recipes: complete, named configurations after papers and classics, and their presets for minutes of a CPU."""

from ganvas.recipes.catalogue import RECIPES, Recipe, default_recipe, get_recipe
from ganvas.recipes.cpu import base_config, describe_preset, differing_knobs, find_preset, suggest_preset

__all__ = [
    "RECIPES",
    "Recipe",
    "base_config",
    "default_recipe",
    "describe_preset",
    "differing_knobs",
    "find_preset",
    "get_recipe",
    "suggest_preset",
]
