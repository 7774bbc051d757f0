"""The named training recipes of ``recipes.toml``, and in which order they build on one another."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quant.errors import QuantError

FILE = Path(__file__).with_name("recipes.toml")
LIKE = "like"  # the recipe whose lines stand where a recipe has none of its own
SHARE = "share"  # of the minutes that a recipe and those that it builds on take together


def recipe_names() -> list[str]:
    """The recipes' names, in the order of the file."""
    return list(tomllib.loads(FILE.read_text()))


def named_recipe(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of :class:`quant.training.recipe.Recipe` and of :class:`quant.models.ModelSpec` that ``name`` sets.

    QuantError lists the recipes that exist where ``name`` is none.
    """
    fields = dict(_recipe(name))
    fields.pop(SHARE, None)
    return fields, fields.pop("model")


def names_of(networks: str | None) -> list[str]:
    """The networks that ``a+b`` means: teachers, or those whose mean is the start."""
    if networks is None or Path(networks).is_file():
        return [networks] if networks else []
    return networks.split("+")


def share(name: str) -> float:
    """The recipe's part of the minutes, beside those that it builds on."""
    return _recipe(name).get(SHARE, 1.0)


def builds_on(
    name: str, at_hand: Callable[[str], bool] = lambda _: False, given: Mapping[str, str | None] | None = None
) -> list[str]:
    """The recipes whose results ``name`` starts or learns from, theirs before them, each once; ``name`` is the last.
    One that comes back to itself is not carried out twice: the network that ships is meant, or there is none.

    at_hand: whether there is a recipe's result, so that neither it nor what it builds on is needed.
    given: a teacher or warm_start of ``name`` in place of the recipe's own; None: none.
    """
    known = tomllib.loads(FILE.read_text())
    order: list[str] = []
    begun: set[str] = set()

    def visit(recipe: str) -> None:
        begun.add(recipe)
        fields = {**_recipe(recipe), **(given or {})} if recipe == name else _recipe(recipe)
        for before in (*names_of(fields.get("teacher")), *names_of(fields.get("warm_start"))):
            if before in known and before not in begun and not at_hand(before):
                visit(before)
        order.append(recipe)

    visit(name)
    return order


def _recipe(name: str) -> dict[str, Any]:
    recipes = tomllib.loads(FILE.read_text())
    if name not in recipes:
        raise QuantError(f"unknown recipe {name!r}; {FILE.name} has {', '.join(recipes)}")
    own = dict(recipes[name])
    base = own.pop(LIKE, None)
    return own if base is None else {**_recipe(base), **own}
