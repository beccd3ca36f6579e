"""Reading recipes: TOML in, dotted overrides applied, checked, and written back resolved.

A mistake in a recipe is answered with the key, the rule it breaks and the repair, before anything is loaded.
"""

from __future__ import annotations

import copy
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from sparring.config import AlignRecipe, Recipe, Record
from sparring.config_prove import ProveRecipe
from sparring.errors import SparringError

Difference = dict[str, tuple[Any, Any]]
"""Dotted key -> (old value, new value); None where one has no such key."""


def _keys(record: BaseModel, prefix: str = "") -> dict[str, Any]:
    """Every dotted key with its value; a section's value is a record."""
    found: dict[str, Any] = {}
    for name, value in record:
        found[prefix + name] = value
        if isinstance(value, Record):
            found |= _keys(value, f"{prefix}{name}.")
    return found


def _nearest(key: str, known: Sequence[str]) -> str:
    """The key that was probably meant: a very similar one in its section, one that ends alike anywhere, a similar one in its section, or
    all of the section."""
    section, dot, leaf = key.rpartition(".")
    neighbours = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == section]
    if near := difflib.get_close_matches(leaf, neighbours, n=1, cutoff=0.6):
        return f"did you mean {section}{dot}{near[0]}?"
    if alike := [name for name in known if name.rpartition(".")[2] == leaf]:
        return f"did you mean {alike[0]}?"
    near = difflib.get_close_matches(leaf, neighbours, n=1, cutoff=0.5)
    return f"did you mean {section}{dot}{near[0]}?" if near else f"there are {', '.join(neighbours)}"


def _explain(error: Mapping[str, Any], source: str, kind: type[Recipe]) -> str:
    location, value, known = [str(part) for part in error["loc"]], error["input"], _keys(kind())
    while len(location) > 1 and ".".join(location) not in known and error["type"] != "extra_forbidden":
        location.pop()  # an item of a list, a name in a table: the key is what can be set
    key = ".".join(location)
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    if not key:
        return f"{source}: {message}"
    if error["type"] == "extra_forbidden":
        return f"{source}: unknown key {key}; {_nearest(key, list(known))}"
    if error["type"] == "model_type":
        return (
            f"{source}: {key} = {value!r} but {key} is a section; set one of its keys: {', '.join(type(known[key]).model_fields)}"
        )
    if key == "solver.n" and error["type"] == "greater_than_equal":
        return f"{source}: a group of {value} cannot give a pair; set solver.n to at least 2 (--solver.n=6)"
    return f"{source}: {key} = {value!r} {message} (the default is --{key}={_text(known[key])})"


def _text(value: Any) -> str:
    """A value as an override writes it."""
    if isinstance(value, str):
        return value
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip() if not isinstance(value, dict) else "{...}"


RECIPES: dict[str, type[AlignRecipe] | type[ProveRecipe]] = {"align": AlignRecipe, "prove": ProveRecipe}


def parse_recipe(values: Mapping[str, Any], source: str = "recipe") -> AlignRecipe | ProveRecipe:
    """A checked recipe; raises SparringError that names every wrong key, the rule and the repair."""
    kind = kind_of(values, source)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise SparringError("\n".join(_explain(dict(item), source, kind) for item in error.errors())) from None


def kind_of(values: Mapping[str, Any], source: str = "recipe") -> type[AlignRecipe] | type[ProveRecipe]:
    """The kind of recipe that ``game`` names; the align game where nothing does."""
    game = values.get("game", "align")
    if game not in RECIPES:
        raise SparringError(f"{source}: game = {game!r}; there are {' and '.join(RECIPES)}")
    return RECIPES[game]


def parse_override(text: str, kind: type[Recipe] = AlignRecipe) -> tuple[tuple[str, ...], Any]:
    """``--solver.n=6`` -> (("solver", "n"), 6). The value is read as TOML where its key takes anything but text."""
    key, equals, raw = text.removeprefix("--").partition("=")
    path = tuple(key.split("."))
    if not text.startswith("--") or not all(path):
        raise SparringError(f"{text!r} is no override; write --section.key=value without spaces, as in --solver.n=6")
    if not equals:
        raise SparringError(
            f"{text} has no value; write it after an equals sign, without spaces: {text}=VALUE, as in --solver.n=6"
        )
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return path, raw
    wants_text = isinstance(_keys(kind()).get(key), str)
    return path, raw if wants_text and not isinstance(value, str) else value


def apply_overrides(values: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """``values`` with every override applied, the last one of a key winning; ``values`` stay as they are."""
    merged: dict[str, Any] = copy.deepcopy(dict(values))
    kind = kind_of(values)
    for text in overrides:
        path, value = parse_override(text, kind)
        place = merged
        for part in path[:-1]:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SparringError(f"{text}: {part} is a value, not a section")
            place = inner
        place[path[-1]] = value
    return merged


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> AlignRecipe | ProveRecipe:
    """The recipe of a TOML file with overrides applied."""
    for text in overrides:  # first: of `--solver.n 6 recipe.toml` the command line takes 6 for the recipe
        parse_override(text)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        found = sorted(str(p) for p in Path("recipes").glob("*.toml"))
        raise SparringError(f"no recipe at {path}" + (f"; there are {', '.join(found)}" if found else "")) from None
    except OSError as error:
        raise SparringError(f"recipe {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SparringError(f"{path} is not a TOML file: {error}") from None
    return parse_recipe(apply_overrides(values, overrides), str(path))


def dump_recipe(recipe: Recipe) -> str:
    """The whole recipe as TOML; ``parse_recipe`` of it gives an equal recipe."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def recipe_difference(old: Recipe, new: Recipe) -> Difference:
    """Every key whose value differs, with both values."""

    def flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, item in value.items():
            flat.update(flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {prefix + key: item})
        return flat

    before, after = flatten(old.model_dump(mode="json")), flatten(new.model_dump(mode="json"))
    both = {key: (before.get(key), after.get(key)) for key in sorted(before | after)}
    return {key: values for key, values in both.items() if values[0] != values[1]}
