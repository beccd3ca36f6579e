"""Where models run: ``Local``, in this process, one policy at a time; ``Served``, on an OpenAI-compatible server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparring.config import Policy, Recipe
from sparring.errors import SparringError
from sparring.game import FAULT, Engine, Model, Sample, Sampling, Scored
from sparring.session import calls_path

if TYPE_CHECKING:
    from sparring.models.asking import Serving


_LIMIT = "policy.max_prompt_tokens"
_PROBE = "Hello."


class LazyModel:
    """Loads at the first use, so that a round whose phases are finished loads nothing."""

    def __init__(self, load: Callable[[], Model]) -> None:
        self._load = load
        self._model: Model | None = None

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        return self._loaded().sample(prompts, how, role=role, seed=seed)

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return self._loaded().score(pairs, role=role)

    def _loaded(self) -> Model:
        if self._model is None:
            self._model = self._load()
        return self._model

    def unload(self) -> None:
        self._model = None


class Forgiving:
    """A model that refuses prompts (too long, say): each of them is one without an answer, and no end of a run or an evaluation.

    For prompts that somebody's answer is part of. ``limit``: what the recipe calls the longest prompt, which the model knows as
    ``policy.max_prompt_tokens``. Raises SparringError where the model refuses whatever it is asked: that is not the prompts' fault.
    """

    def __init__(self, model: Model, limit: str = _LIMIT) -> None:
        self._model, self._limit = model, limit
        self._works: set[Sampling] = set()
        """Settings with which it has answered."""

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        """A refusal comes before anything is generated, so the refused ones are found by halves."""
        try:
            found = self._model.sample(prompts, how, role=role, seed=seed)
        except SparringError as error:
            if len(prompts) > 1:
                half = len(prompts) // 2
                parts = (prompts[:half], prompts[half:])
                return [group for part in parts for group in self.sample(part, how, role=role, seed=seed)]
            if how not in self._works:  # a prompt that nobody can object to tells whether it was this one
                self._model.sample([_PROBE], replace(how, n=1), role=role, seed=seed)
                self._works.add(how)
            why = str(error).replace(_LIMIT, self._limit)
            return [[Sample(role=role, text="", finish=f"{FAULT}{why}")] * how.n for _ in prompts]
        if prompts:
            self._works.add(how)
        return found

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return self._model.score(pairs, role=role)


def load_local(folder: Path, settings: Policy) -> Model:
    """The policy of a checkpoint folder, in this process."""
    from transformers.utils import logging

    from sparring.models.hf import HFModel

    logging.disable_progress_bar()  # a run shows its own
    return HFModel.load(folder, settings)


class _Lazy:
    """An engine that loads each policy by a function of its folder."""

    def __init__(self, load: Callable[[Path], Model]) -> None:
        self._load = load

    @contextlib.contextmanager
    def serve(self, policy: Path) -> Iterator[Model]:
        model = LazyModel(lambda: self._load(policy))
        try:
            yield model
        finally:
            model.unload()


class Local(_Lazy):
    def __init__(self, settings: Policy) -> None:
        super().__init__(lambda policy: load_local(policy, settings))


class Served(_Lazy):
    """``settings.server``, which is given the weights of each policy once. ``calls``: where answers and costs are kept."""

    def __init__(self, settings: Policy, calls: Path) -> None:
        super().__init__(self._ask)
        self._settings, self._calls = settings, calls
        self._has: tuple[Path, Serving] | None = None

    def _ask(self, policy: Path) -> Model:
        from sparring.models.ledger import Ledger
        from sparring.models.openai import OpenAIModel
        from sparring.models.served import refresh

        if self._has is None or self._has[0] != policy:
            self._has = (policy, refresh(policy, self._settings))
        return OpenAIModel(self._settings.server, Ledger(self._calls), tokenizer=policy, serving=self._has[1])


def engine_of(recipe: Recipe) -> Engine:
    """Where the recipe's policy is sampled."""
    return Served(recipe.policy, calls_path(recipe)) if recipe.policy.server.url else Local(recipe.policy)
