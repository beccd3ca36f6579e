"""The plan of a recipe, whichever game it is of."""

from __future__ import annotations

from collections.abc import Callable

from sparring.config import ProveRecipe, Recipe
from sparring.game import Plan


def plan_of(recipe: Recipe, progress: Callable[[int, int], None] | None = None) -> Plan:
    """Raises SparringError for what can be known to be wrong before anything is played. Loads torch."""
    if isinstance(recipe, ProveRecipe):
        from sparring.games.prove import prove

        return prove(recipe, progress)
    from sparring.config import AlignRecipe
    from sparring.games.align import align

    assert isinstance(recipe, AlignRecipe)
    return align(recipe, progress)
