"""The creators that a recipe of the align game names, put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparring.config import AlignRecipe
from sparring.creators.answerable import ByJudge, ByProgram
from sparring.creators.evolve import Evolver, ModelRewriter, Read, Repeater, Resampler, Rewriter, SymbolicRewriter
from sparring.creators.gates import Gate
from sparring.creators.novelty import Novelty
from sparring.data import load_function, too_long
from sparring.game import Creator, Model, Task
from sparring.games.judging import asked_model, asking, members_by_key
from sparring.games.sources import room
from sparring.models.folders import resolve_policy
from sparring.rundir import round_name
from sparring.session import calls_path, run_path


def creators(recipe: AlignRecipe, read: Read | None) -> Callable[[int, Sequence[Task]], Creator]:
    """(round, tasks seen so far) -> creator. Human rounds, and fresh human prompts, are taught as they are."""
    settings = recipe.creator
    if settings.kind in ("fresh", "none"):
        return lambda number, seen: Repeater() if _is_human(recipe, number) or settings.kind == "fresh" else Resampler(settings)
    refuse = _too_long(recipe)
    rewriter, answerable = _rewriter(recipe, refuse), make_answerable(recipe)
    novelty: list[Novelty] = []  # made of all that is known when the first creator is, and kept up from then on

    def readable(text: str) -> Mapping[str, Any] | str:
        return read(text) if read else {}

    embed = None
    if settings.near_meaning < 1:
        from sparring.creators.meaning import load_embedder

        embed = load_embedder(recipe.policy.device)

    def creator(number: int, seen: Sequence[Task]) -> Creator:
        if _is_human(recipe, number):
            return Repeater()
        if not novelty:
            novelty.append(Novelty(settings.near_duplicate, seen))
        return Evolver(settings, rewriter, readable, seen, embed, answerable, novelty[0], refuse)

    return creator


def _is_human(recipe: AlignRecipe, number: int) -> bool:
    return number <= recipe.run.human_rounds


def _too_long(recipe: AlignRecipe) -> Callable[[str], str]:
    """A gate for prompts that the solver has no room for, by the tokenizer of the run's first policy."""
    folder = run_path(recipe) / round_name(0) / "policy"
    gates: list[Callable[[str], str]] = []

    def gate(prompt: str) -> str:
        if not gates:
            from transformers import AutoTokenizer

            settings = recipe.policy.model_copy(update={"max_prompt_tokens": room(recipe, folder)})
            gates.append(too_long(AutoTokenizer.from_pretrained(folder, local_files_only=True), settings))
        return gates[0](prompt)

    return gate


def _rewriter(recipe: AlignRecipe, refuse: Callable[[str], str]) -> Rewriter:
    settings = recipe.creator
    if settings.kind == "symbolic":
        return SymbolicRewriter(load_function(settings.mutate, "creator.mutate"), settings.tries, settings.operators)
    model = _creating_model(recipe)
    return ModelRewriter(settings, refuse=refuse) if model is None else ModelRewriter(settings, model)


def _creating_model(recipe: AlignRecipe) -> Model | None:
    """The model that evolves prompts; None for the solver itself."""
    settings = recipe.creator
    if settings.endpoint.url:
        from sparring.models.ledger import Ledger
        from sparring.models.openai import OpenAIModel

        return OpenAIModel(settings.endpoint, Ledger(calls_path(recipe)))
    if settings.path:
        from sparring.engines import Forgiving, LazyModel, load_local

        folder = resolve_policy(settings.path, "creator.path")
        return LazyModel(lambda: Forgiving(load_local(folder, recipe.policy)))
    return None


def make_answerable(recipe: AlignRecipe) -> Gate | None:
    """The gate that says whether a created prompt can be answered, where the recipe wants one."""
    settings = recipe.creator
    if settings.answerable == "program":
        return ByProgram(load_function(settings.gate, "creator.gate"))
    if key := asking(recipe.judge) if settings.answerable == "judge" else None:
        member = members_by_key(recipe.judge)[key]
        return ByJudge(asked_model(member, calls_path(recipe), key), member.max_new_tokens, recipe.run.seed)
    return None
