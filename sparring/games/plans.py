"""The plan of a recipe, whichever game it is of."""

from __future__ import annotations

from sparring.config import Recipe
from sparring.config_prove import ProveRecipe
from sparring.game import Plan
from sparring.rundir import Watch


def plan_of(recipe: Recipe, watch: Watch | None = None) -> Plan:
    """Raises SparringError for what can be known to be wrong before anything is played. Loads torch."""
    if isinstance(recipe, ProveRecipe):
        from sparring.games.prove import prove

        return prove(recipe, watch)
    from sparring.config import AlignRecipe
    from sparring.games.align import align

    assert isinstance(recipe, AlignRecipe)
    return align(recipe, watch)
