"""Shares of operators and topics among what a round creates."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.config import Creator
from sparring.creators.evolve import Evolver, ModelRewriter
from sparring.creators.quotas import Quota, lineage_of, quotas, topic_of
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Task, Verdict, make_task
from sparring.models.scripted import ScriptedModel


def made(group: str) -> Task:
    return make_task("text", meta={"operator": group, "topic": group})


def accepted(groups: str, share: float, kinds: int) -> str:
    quota = Quota("quota of {group}", share, kinds, topic_of)
    kept = ""
    for group in groups:
        if quota.objection(made(group)) is None:
            quota.add(made(group))
            kept += group
    return kept


@pytest.mark.parametrize(
    ("groups", "share", "kinds", "kept"),
    [
        ("aaaa", 1.0, 1, "aaaa"),
        ("aabab", 0.5, 2, "abab"),  # of one and of two at most one, of three (rounded up) and of four at most two
        ("aababbb", 0.5, 2, "ababb"),  # of five three, and of six no more
        ("abcabc", 1 / 3, 3, "abcabc"),
        ("aaaabbbb", 0.75, 2, "aaabbbb"),  # one of one, two of two, three of three, but not four of four
        ("ababab", 0.1, 2, "ababab"),  # two groups cannot have a tenth each: a half it is
    ],
)
def test_quotas_by_hand(groups: str, share: float, kinds: int, kept: str):
    assert accepted(groups, share, kinds) == kept


@settings(deadline=None, max_examples=200)
@given(groups=st.text("abcd", max_size=60), share=st.floats(0.0, 1.0), kinds=st.integers(4, 6))
def test_no_group_has_more_than_its_share_beyond_rounding(groups: str, share: float, kinds: int):
    kept = accepted(groups, share, kinds)
    most = math.ceil(max(share, 1 / kinds) * len(kept) - 1e-9)
    assert all(count <= most for count in Counter(kept).values())
    assert kept == accepted(groups, share, kinds)
    if share == 1.0:
        assert kept == groups


@settings(deadline=None, max_examples=100)
@given(share=st.floats(0.25, 1.0), rounds=st.integers(1, 20), order=st.permutations("abcd"))
def test_even_groups_are_never_refused(share: float, rounds: int, order: list[str]):
    groups = "".join(order) * rounds
    assert accepted(groups, share, 4) == groups


def test_a_topic_is_inherited_and_else_the_root_of_the_lineage():
    root, named = make_task("root"), make_task("named", meta={"topic": "cooking"})
    how = Creator(topic_share=0.5)
    assert (topic_of(root), topic_of(named)) == (root.id, "cooking")
    assert lineage_of(root, how) == {"topic": root.id}
    assert lineage_of(make_task("child", meta=lineage_of(root, how)), how) == {"topic": root.id}
    assert lineage_of(named, Creator()) == {"topic": "cooking"}
    assert lineage_of(root, Creator()) == {}  # nobody asked


def test_only_the_quotas_of_the_recipe():
    assert quotas(Creator(), ("a", "b"), [make_task("x")]) == []
    assert len(quotas(Creator(operator_share=0.5, topic_share=0.5), ("a", "b"), [make_task("x")])) == 2


def test_a_share_that_the_operators_cannot_fill_is_an_error():
    with pytest.raises(SparringError, match=r"operator_share 0.3 of 3 operators \(a, b, c\) .* set it to 0.333 or more"):
        quotas(Creator(operator_share=0.3), ("a", "b", "c"), [])
    assert len(quotas(Creator(operator_share=1 / 3), ("a", "b", "c"), [])) == 1


# ------------------------------------------------------------------------------------------------------ in the evolver


def probe_of(*tasks: Task) -> list[Bout]:
    verdicts = (Verdict(score=0.0, solved=False), Verdict(score=1.0, solved=True))
    return [Bout(task=task, attempts=(Attempt(answer=""),) * 2, verdicts=verdicts) for task in tasks]


def evolve(how: Creator, *tasks: Task, refuses: str = "") -> list[Task]:
    """A creator that always finds something new, except for one operator."""

    def script(prompt: str, role: str, rng: Random) -> str:
        operator, _, text = prompt.partition(": ")
        return "" if operator.casefold() == refuses else f"{text} {rng.random()}"

    return Evolver(how, ModelRewriter(how), lambda text: {}).propose(probe_of(*tasks), ScriptedModel(script), 0)


HOW = Creator(fraction=1.0, chain=3, tries=1, near_duplicate=1.0, max_new_tokens=2000)


@pytest.mark.parametrize("share", [0.5, 0.4])
def test_an_operator_that_always_succeeds_does_not_take_over(share: float):
    how = HOW.model_copy(update={"operators": ("deepen", "reason", "expand"), "operator_share": share})
    found = evolve(how, *(make_task(f"task {place}") for place in range(40)), refuses="deepen")
    kept = Counter(task.meta["operator"] for task in found if task.rejected is None)
    assert set(kept) == {"reason", "expand"}
    assert max(kept.values()) <= math.ceil(share * kept.total())
    reasons = {task.rejected for task in found} - {None, "empty"}
    assert reasons <= {"quota of operator reason", "quota of operator expand"}
    assert reasons


def test_a_topic_does_not_take_over():
    tasks = [make_task(f"task {place}", meta={"topic": "code" if place < 30 else f"topic {place}"}) for place in range(40)]
    found = evolve(HOW.model_copy(update={"topic_share": 0.25}), *tasks)
    kept = Counter(task.meta["topic"] for task in found if task.rejected is None)
    assert kept["code"] <= math.ceil(0.25 * kept.total())
    assert kept.total() > 30
    assert {task.rejected for task in found} == {None, "quota of its topic"}


def test_without_quotas_nothing_is_refused_and_nothing_is_added():
    found = evolve(HOW, make_task("one"), make_task("two"))
    assert len(found) == 6
    assert all(task.rejected is None and set(task.meta) == {"operator", "generation"} for task in found)
