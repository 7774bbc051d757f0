"""The named training recipes of ``recipes.toml``."""

import tomllib
from pathlib import Path
from typing import Any

from quant.errors import QuantError

FILE = Path(__file__).with_name("recipes.toml")


def recipe_names() -> list[str]:
    """The recipes' names, in the order of the file."""
    return list(tomllib.loads(FILE.read_text()))


def named_recipe(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of :class:`quant.train.Recipe` and of :class:`quant.models.ModelSpec` that recipe ``name`` sets.

    QuantError lists the recipes that exist where ``name`` is none.
    """
    recipes = tomllib.loads(FILE.read_text())
    if name not in recipes:
        raise QuantError(f"unknown recipe {name!r}; {FILE.name} has {', '.join(recipes)}")
    fields = dict(recipes[name])
    return fields, fields.pop("model")
