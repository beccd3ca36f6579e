"""The model reads where tactics led: what it is asked, the scores worked out by hand, and the accounts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.config_prove import TargetForm
from sparring.game import NO_GOALS, Sample, Sampling, Scored
from sparring.models.scripted import ScriptedModel
from sparring.prompts import flat_prompt, planner_completion, planner_prompt
from sparring.solvers.rank import LEAST, Ranker, rank
from sparring.solvers.search import Ranking, Reached
from sparring.solvers.theorem import Candidate

Pair = tuple[str, str]
STATE = Ranker(target="state")


def no_time() -> float:
    return 0.0


@dataclass
class Reader:
    """A model that knows the chances of some answers by heart, and what it was asked."""

    chances: Mapping[Pair, Scored]
    asked: list[tuple[str, list[Pair]]] = field(default_factory=list[tuple[str, list[Pair]]])

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        raise AssertionError("a ranker has the model write nothing")

    def score(self, pairs: Sequence[Pair], *, role: str) -> list[Scored]:
        self.asked.append((role, [*pairs]))
        return [self.chances[pair] for pair in pairs]


class ScriptedReader(ScriptedModel):
    """Every byte is as likely as any other one; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(lambda prompt, role, rng: "")
        self.asked: list[tuple[str, list[Pair]]] = []

    def score(self, pairs: Sequence[Pair], *, role: str) -> list[Scored]:
        self.asked.append((role, [*pairs]))
        return super().score(pairs, role=role)


def reached(state: str, ways: Mapping[str, Sequence[str]]) -> Reached:
    """``ways``: the tactics that led to each new state."""
    return Reached(
        state=state,
        ways={text: [Candidate(tactic=name, score=-1.0, role="move") for name in names] for text, names in ways.items()},
    )


def planned(state: str, target: str) -> Pair:
    return planner_prompt(state), planner_completion(target)


def named(state: str, tactic: str) -> Pair:
    return flat_prompt(state), tactic


def ranked(ranker: Ranker, model: Reader | ScriptedModel, *those: Reached, max_bytes: int = 1000) -> list[Ranking]:
    return rank(ranker, those, model, no_time, max_bytes)


# ---------------------------------------------------------------------------------------------- scores

LN2, LN3 = math.log(2.0), math.log(3.0)
TWO = reached("s", {"a": ["x", "y"], "b": ["z"]})
KNOWN = {
    planned("s", "a"): Scored(logprob=-4 * LN2, tokens=4),
    planned("s", "b"): Scored(logprob=-9 * LN2, tokens=9),
    named("s", "x"): Scored(logprob=-2 * LN3, tokens=4),
    named("s", "z"): Scored(logprob=0.0, tokens=1),
}
R3 = math.sqrt(3.0)
PLANNER = {0.0: (32 / 33, 1 / 33), 0.5: (2 / 3, 1 / 3), 1.0: (1 / 2, 1 / 2)}
"""By length_norm: 2^-4 to 2^-9; 2^-(4 / 2) to 2^-(9 / 3); 2^-1 to 2^-1."""
FLAT = {0.0: (1 / 10, 9 / 10), 0.5: (1 / 4, 3 / 4), 1.0: (1 / (1 + R3), R3 / (1 + R3))}
"""3^-2 to 1; 3^-(2 / 2) to 1; 3^-(2 / 4) to 1."""


@pytest.mark.parametrize("length_norm", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_two_states_by_hand(weight: float, length_norm: float):
    (ranking,) = ranked(Ranker(target="state", flat_weight=weight, length_norm=length_norm), Reader(KNOWN), TWO)
    shares = [weight * f + (1 - weight) * p for f, p in zip(FLAT[length_norm], PLANNER[length_norm], strict=True)]
    assert [math.exp(score) for score in ranking.scores] == pytest.approx(shares, abs=1e-12)


def test_the_numbers_of_the_defaults():
    (ranking,) = ranked(STATE, Reader(KNOWN), TWO)
    # 0.25 * 1/4 + 0.75 * 2/3 and 0.25 * 3/4 + 0.75 * 1/3.
    assert ranking.scores == pytest.approx([math.log(0.5625), math.log(0.4375)], abs=1e-12)


def test_three_states_by_hand():
    three = reached("s", {"a": ["x"], "b": ["z"], NO_GOALS + " but one": ["w"]})
    chances = {
        planned("s", "a"): Scored(logprob=-1.0, tokens=1),
        planned("s", "b"): Scored(logprob=-1.0, tokens=1),
        planned("s", NO_GOALS + " but one"): Scored(logprob=-1.0 - LN2, tokens=1),
        named("s", "x"): Scored(logprob=-700.0, tokens=1),
        named("s", "z"): Scored(logprob=-700.0 - LN2, tokens=1),
        named("s", "w"): Scored(logprob=-700.0 - LN2, tokens=1),
    }
    (ranking,) = ranked(replace(STATE, flat_weight=0.5), Reader(chances), three)
    # The planner 2/5, 2/5, 1/5; the flat prover 1/2, 1/4, 1/4, however unlikely all of them are.
    assert [math.exp(score) for score in ranking.scores] == pytest.approx([0.45, 0.325, 0.225])


def test_what_nobody_would_have_named_has_the_least_score():
    chances = KNOWN | {planned("s", "b"): Scored(logprob=-1e6, tokens=1)}
    (ranking,) = ranked(replace(STATE, flat_weight=0.0), Reader(chances), TWO)
    assert ranking.scores == [0.0, math.log(LEAST)]
    assert math.log(LEAST) == pytest.approx(-20.0)


# ---------------------------------------------------------------------------------------------- what is asked


def test_each_role_is_asked_once_for_all_states():
    model = ScriptedReader()
    (first, single, second) = ranked(STATE, model, TWO, reached("t", {"c": ["x"]}), reached("u", {"d": ["p"], "e": ["q", "r"]}))
    assert model.asked == [
        ("planner", [planned("s", "a"), planned("s", "b"), planned("u", "d"), planned("u", "e")]),
        ("flat", [named("s", "x"), named("s", "z"), named("u", "p"), named("u", "q")]),
    ]
    assert (first.targets, single.targets, second.targets) == (["a", "b"], [None], ["d", "e"])


def test_to_the_letter():
    model = ScriptedReader()
    ranked(STATE, model, TWO)
    assert model.asked == [
        ("planner", [("[CURRENT GOAL] s [TARGET GOAL]", "a [PROOFSTEP]"), ("[CURRENT GOAL] s [TARGET GOAL]", "b [PROOFSTEP]")]),
        ("flat", [("[CURRENT GOAL] s [PROOFSTEP]", "x"), ("[CURRENT GOAL] s [PROOFSTEP]", "z")]),
    ]


@pytest.mark.parametrize(("weight", "roles"), [(0.0, ["planner"]), (0.25, ["planner", "flat"]), (1.0, ["flat"])])
def test_a_word_without_weight_is_not_asked_for(weight: float, roles: list[str]):
    model = ScriptedReader()
    (ranking,) = ranked(replace(STATE, flat_weight=weight), model, TWO)
    assert [role for role, _ in model.asked] == roles
    assert ranking.targets == (["a", "b"] if weight < 1.0 else [None, None])
    assert ranking.spent.calls == len(roles)


@pytest.mark.parametrize(("form", "target"), [("state", "h : p\n⊢ r"), ("difference", "⊢ r")])
def test_the_planner_is_asked_for_targets_of_its_form(form: TargetForm, target: str):
    model = ScriptedReader()
    state, result = "h : p\n⊢ q", "h : p\n⊢ r"
    (ranking,) = ranked(Ranker(target=form, flat_weight=0.0), model, reached(state, {result: ["x"], "k : p\n⊢ q": ["y"]}))
    ((_, pairs),) = model.asked
    assert pairs[0] == planned(state, target)
    assert ranking.targets[0] == target


def test_a_single_way_needs_no_opinion():
    model = ScriptedReader()
    (ranking,) = ranked(STATE, model, reached("s", {"a": ["x", "y"]}))
    assert model.asked == []
    assert (ranking.scores, ranking.targets) == ([0.0], [None])
    assert (ranking.spent.calls, ranking.spent.weighed, ranking.spent.total_s) == (0, 0, 0.0)
    assert ranked(STATE, model) == []


def test_what_is_too_long_is_not_asked():
    room = sum(map(len, planned("s", "a")))
    much = reached("s", {"a": ["x"], "b" * 2: ["y" * 50]})
    model = Reader({planned("s", "a"): Scored(logprob=-1.0, tokens=1), named("s", "x"): Scored(logprob=-1.0, tokens=1)})
    (both,) = ranked(STATE, model, much, max_bytes=room)
    assert model.asked == [("planner", [planned("s", "a")]), ("flat", [named("s", "x")])]
    assert both.scores == [0.0, math.log(LEAST)]
    assert (both.spent.calls, both.spent.weighed) == (2, 2)
    # One role may have something to say where the other one has not.
    model = Reader(KNOWN | {named("s", "y"): Scored(logprob=-2 * LN3, tokens=4)})
    (ranking,) = ranked(STATE, model, reached("s", {"a": ["x"], "b" * 99: ["y"]}), max_bytes=room)
    assert ranking.scores == pytest.approx([math.log(0.25 / 2 + 0.75), math.log(0.25 / 2)])
    assert (ranking.spent.calls, ranking.spent.weighed) == (2, 3)


def test_where_nothing_can_be_asked_every_way_is_the_last_one():
    model = ScriptedReader()
    (ranking,) = ranked(STATE, model, TWO, max_bytes=5)
    assert model.asked == []
    assert ranking.scores == [math.log(LEAST)] * 2
    assert (ranking.spent.calls, ranking.spent.weighed, ranking.spent.total_s) == (0, 0, 0.0)


# ---------------------------------------------------------------------------------------------- the accounts


def ticking() -> Callable[[], float]:
    ticks = itertools.count()
    return lambda: float(next(ticks))


def test_time_is_shared_by_what_was_read_of_each_state():
    three = reached("u", {"d": ["p"], "e": ["q", "r"], "f": ["t"]})
    first, single, second = rank(STATE, [TWO, reached("t", {"c": ["x"]}), three], ScriptedReader(), ticking(), max_bytes=1000)
    # A second for each role, and five answers read in it.
    assert [(r.spent.planner_s, r.spent.actor_s) for r in (first, single, second)] == [
        pytest.approx((0.4, 0.4)),
        (0.0, 0.0),
        pytest.approx((0.6, 0.6)),
    ]
    assert [(r.spent.calls, r.spent.weighed) for r in (first, single, second)] == [(2, 4), (0, 0), (2, 6)]
    assert {r.spent.tokens for r in (first, single, second)} == {0}, "nothing is generated"


# ---------------------------------------------------------------------------------------------- whatever was reached

WAYS = st.dictionaries(
    st.text("abc", min_size=1, max_size=4), st.lists(st.sampled_from("xyz"), min_size=1, max_size=3), min_size=1
)
REACHED = st.lists(st.builds(reached, st.text("st", min_size=1, max_size=30), WAYS), min_size=1, max_size=6)
RANKERS = st.builds(
    Ranker,
    target=st.sampled_from(["state", "difference"]),
    flat_weight=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)),
    length_norm=st.floats(0.0, 1.0),
)
ANSWERS = st.lists(st.one_of(st.none(), st.builds(Scored, logprob=st.floats(-1e6, 0.0), tokens=st.integers(0, 99))), min_size=2)


@given(REACHED, RANKERS, st.integers(0, 80))
@settings(deadline=None)
def test_a_ranking_does_not_depend_on_the_batch(those: list[Reached], ranker: Ranker, max_bytes: int):
    model = ScriptedModel(lambda prompt, role, rng: "")
    together = ranked(ranker, model, *those, max_bytes=max_bytes)
    assert together == [ranked(ranker, model, one, max_bytes=max_bytes)[0] for one in those]
    assert together[::-1] == ranked(ranker, model, *those[::-1], max_bytes=max_bytes)
    for one, ranking in zip(those, together, strict=True):
        assert len(ranking.scores) == len(ranking.targets) == len(one.ways)
        assert all(-20.0 - 1e-9 <= score <= 0.0 for score in ranking.scores)


@given(ANSWERS, st.data(), RANKERS)
def test_shares_sum_to_one(plan: list[Scored | None], data: st.DataObject, ranker: Ranker):
    flat = data.draw(st.permutations(plan))
    scores = ranker.scores(plan, flat)
    assert all(score <= 0.0 for score in scores)
    total = math.fsum(math.exp(score) for score in scores)
    expected = 1.0 if any(plan) else 0.0
    assert total == pytest.approx(expected, abs=len(plan) * LEAST + 1e-9)
    assert all(score >= math.log(LEAST) for score in scores)


@given(st.lists(st.floats(-30.0, 0.0), min_size=2, max_size=8), st.floats(0.0, 1.0))
def test_one_role_s_order_is_that_of_its_log_probs(logprobs: list[float], length_norm: float):
    answers = [Scored(logprob=each, tokens=4) for each in logprobs]
    for scores in (
        Ranker(target="state", flat_weight=0.0, length_norm=length_norm).scores(answers, []),
        Ranker(target="state", flat_weight=1.0, length_norm=length_norm).scores([], answers),
    ):
        order = sorted(range(len(logprobs)), key=logprobs.__getitem__)
        assert [scores[place] for place in order] == sorted(scores)
