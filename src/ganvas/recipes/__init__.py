"""The recipes: complete, named configurations that are known to work, and their settings for minutes of a CPU."""

from ganvas.recipes.catalogue import RECIPES, Recipe, default_recipe, get_recipe
from ganvas.recipes.cpu import base_config, describe_setting, differing_knobs, find_setting

__all__ = [
    "RECIPES",
    "Recipe",
    "base_config",
    "default_recipe",
    "describe_setting",
    "differing_knobs",
    "find_setting",
    "get_recipe",
]
