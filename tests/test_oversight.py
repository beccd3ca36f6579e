"""Over-optimisation: what is noticed, at which threshold, and what is done then."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sparring.config import AlignRecipe, Watch
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Model, Sample, Sampling, Scored, Verdict, make_task
from sparring.oversight import alarms, measure_divergence, oversee
from sparring.records import BOUTS
from sparring.rundir import RunDir
from sparring.rundir import Watch as Listener

FIRST: dict[str, Any] = {
    "round": 0,
    "evals": {"held_out": {"length": 10.0}},
    "second": {"rubric-0-held_out": 0.8},
}
LAST: dict[str, Any] = {
    "round": 3,
    "evals": {"held_out": {"length": 25.0}},
    "second": {"rubric-0-held_out": 0.5},
    "divergence": 12.0,
    "probe": {"tasks": 10, "ties": 9, "distinct": 0.5},
    "proposals": {"accepted": 5, "distinct": 0.1},
}


@pytest.mark.parametrize(
    ("watch", "words"),
    [
        (Watch(), []),
        (Watch(kl=10.0), ["12.0 nats"]),
        (Watch(kl=12.0), []),
        (Watch(length_ratio=2.0), ["2.50 times"]),
        (Watch(length_ratio=2.5), []),
        (Watch(ties=0.8), ["90 % of the prompts of probe"]),
        (Watch(distinct=0.2), ["only 10 % of the word pairs in proposals"]),
        (Watch(second=0.2), ["fell by 0.3"]),
        (Watch(second=0.4), []),
        (Watch(kl=1.0, ties=0.1), ["12.0 nats", "90 %"]),
    ],
)
def test_what_is_over_its_threshold_is_said(watch: Watch, words: list[str]):
    said = list(alarms([FIRST, LAST], watch))
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))


class Ears(Listener):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


def test_it_warns_or_stops_as_the_recipe_says():
    ears = Ears()
    oversee(AlignRecipe.model_validate({"watch": {"kl": 10.0}}), [FIRST, LAST], ears)
    assert len(ears.heard) == 1
    assert ears.heard[0].startswith("warning: the policy is 12.0 nats")
    with pytest.raises(SparringError, match=r"stopped after round 3: the policy is 12\.0 nats"):
        oversee(AlignRecipe.model_validate({"watch": {"kl": 10.0, "action": "stop"}}), [FIRST, LAST], ears)


class First:
    """A first policy to which every answer has the log-prob -1 a token."""

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        raise AssertionError

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        return [Scored(logprob=-1.0 * len(text.split()), tokens=len(text.split())) for _, text in pairs]


class Serving:
    def __init__(self) -> None:
        self.asked: list[Path] = []

    @contextlib.contextmanager
    def serve(self, policy: Path) -> Generator[Model]:
        self.asked.append(policy)
        yield First()


def test_divergence_is_measured_once_on_the_probes_own_log_probs(tmp_path: Path):
    def sample(text: str, *logprobs: float, finish: str = "stop") -> Sample:
        return Sample(role="solver", text=text, token_ids=tuple(range(len(logprobs))), logprobs=logprobs, finish=finish)

    # The end token is no part of the score: -0.5 + 1 and -0.25 - 0.25 + 2 nats; what was cut off, what has no log-probs and what was
    # written with more tokens than its text is read with do not count.
    samples = [sample("a", -0.5, -9.0), sample("a b", -0.25, -0.25, -9.0), sample("a b c", -1.0, finish="length"), sample("a")]
    samples.append(sample("a b", -0.25, -0.25, -0.25, -9.0))
    bout = Bout(
        task=make_task("x"),
        attempts=tuple(Attempt(answer=s.text, samples=(s,)) for s in samples),
        verdicts=tuple(Verdict(score=0.0, solved=False) for _ in samples),
    )
    run, engine = RunDir(tmp_path), Serving()
    run.shards("round-001/probe", BOUTS, [bout], list, 1)
    measure_divergence(run, 1, engine)
    measure_divergence(run, 1, engine)
    assert json.loads((tmp_path / "round-001" / "divergence.json").read_text()) == {"nats": 1.0, "answers": 2}
    assert engine.asked == [tmp_path / "round-000" / "policy"]
    measure_divergence(run, 2, engine)
    assert json.loads((tmp_path / "round-002" / "divergence.json").read_text()) == {"nats": None, "answers": 0}
