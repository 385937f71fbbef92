"""Recipes, and training classifiers from them."""

from hilum.training.recipe import Recipe, load_recipe, parse_setting, shipped_recipes
from hilum.training.train import TrainingResult, train

__all__ = ["Recipe", "TrainingResult", "load_recipe", "parse_setting", "shipped_recipes", "train"]
