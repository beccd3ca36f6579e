"""A model that is a function: the double for tests of everything above a model, and a baseline for games with rules."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

from sparring.game import Sample, Sampling, Scored, stable_hash

END = 256
"""Ends an answer; the other token ids are the bytes of its UTF-8."""

_LOGPROB = -math.log(END + 1)

Script = Callable[[str, str, random.Random], str]
"""(prompt, role, random numbers of this sample) -> answer."""


class ScriptedModel:
    """Answers with ``script``; satisfies ``sparring.game.Model`` without torch.

    A sample's random numbers depend on (seed, role, prompt, number of the sample); at temperature 0 on (role, prompt)
    alone, as a greedy model's answer does. A beam has the first ``n`` distinct ones among ``4 n`` answers that depend on
    no seed either. Log-probs are those of a uniform choice among the 257 tokens.
    """

    def __init__(self, script: Script) -> None:
        self._script = script

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        return [self._beam(prompt, how, role) if how.beam else self._draw(prompt, how, role, seed) for prompt in prompts]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        sizes = [len(text.encode()) for _, text in pairs]
        return [Scored(logprob=_LOGPROB * size, tokens=size) for size in sizes]

    def _draw(self, prompt: str, how: Sampling, role: str, seed: int) -> list[Sample]:
        items = ((role, prompt) if how.temperature == 0 else (seed, role, prompt, k) for k in range(how.n))
        return [self._answer(prompt, how, role, item) for item in items]

    def _beam(self, prompt: str, how: Sampling, role: str) -> list[Sample]:
        found: dict[tuple[int, ...], Sample] = {}
        for k in range(4 * how.n):
            sample = self._answer(prompt, how, role, (role, prompt, k))
            found.setdefault(sample.token_ids, sample)
            if len(found) == how.n:
                break
        return list(found.values())

    def _answer(self, prompt: str, how: Sampling, role: str, item: tuple[object, ...]) -> Sample:
        text = self._script(prompt, role, random.Random(stable_hash(*item)))
        answer = (text.partition(how.stop)[0] if how.stop else text).encode()
        ids = (*answer, END)[: how.max_new_tokens]
        ended = ids[-1] == END
        return Sample(
            role=role,
            prompt_ids=tuple(prompt.encode()),
            token_ids=ids,
            logprobs=(_LOGPROB,) * len(ids),
            # A cut may fall inside a character, which is then left out.
            text=answer[: len(ids) - ended].decode(errors="ignore"),
            finish="stop" if ended else "length",
        )
