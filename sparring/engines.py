"""Where models run. ``Local``: in this process, one policy at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sparring.config import Policy
from sparring.game import Model, Sample, Sampling, Scored

if TYPE_CHECKING:
    from sparring.models.hf import HFModel


class _LazyModel:
    """Loads at the first use, so that a round whose phases are finished loads nothing."""

    def __init__(self, folder: Path, settings: Policy) -> None:
        self._folder = folder
        self._settings = settings
        self._model: HFModel | None = None

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        return self._loaded().sample(prompts, how, role=role, seed=seed)

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return self._loaded().score(pairs, role=role)

    def _loaded(self) -> HFModel:
        if self._model is None:
            from transformers.utils import logging

            from sparring.models.hf import HFModel

            logging.disable_progress_bar()  # a run shows its own
            self._model = HFModel.load(self._folder, self._settings)
        return self._model

    def unload(self) -> None:
        self._model = None


class Local:
    def __init__(self, settings: Policy) -> None:
        self._settings = settings

    @contextlib.contextmanager
    def serve(self, policy: Path) -> Iterator[Model]:
        model = _LazyModel(policy, self._settings)
        try:
            yield model
        finally:
            model.unload()
