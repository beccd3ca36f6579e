"""Where models run: ``Local``, in this process, one policy at a time; ``Served``, on an OpenAI-compatible server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparring.config import Policy, Recipe
from sparring.game import Engine, Model, Sample, Sampling, Scored
from sparring.session import calls_path

if TYPE_CHECKING:
    from sparring.models.asking import Serving


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
