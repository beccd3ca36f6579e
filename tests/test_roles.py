"""Proof steps as lessons: what each role learns from a step, from a search, and from what was learned before."""

from dataclasses import replace

import pytest

from sparring.config_prove import Lore, Roles
from sparring.game import NO_GOALS, Attempt, Bout, Demo, Step, Verdict, make_task
from sparring.learners.roles import hindsight_demos, ranking_pairs, role_demos, search_lessons, trace_lessons, with_replay
from sparring.prompts import actor_prompt, difference, flat_prompt, planner_prompt, target_of

STEP = Step(state="⊢ p -> p", tactic="intro h", result="h : p\n⊢ p", role="trace")
APART = Roles(flat=1.0, planner=0.5, actor=2.0)


def told(demos: list[Demo]) -> list[tuple[str, str, float]]:
    return [(demo.prompt, demo.completion, demo.weight) for demo in demos]


def bout(*steps: Step, solved: bool, fault: str | None = None) -> Bout:
    attempt = Attempt(answer="intro h\nexact h", steps=steps)
    return Bout(
        task=make_task("forall p, p -> p"), attempts=(attempt,), verdicts=(Verdict(score=1.0, solved=solved, fault=fault),)
    )


def test_roles_of_equal_weight_share_a_row():
    # Weights are the words of what is learned: the loss is a mean over words.
    assert told([*role_demos(STEP, Roles())]) == [
        ("[CURRENT GOAL] ⊢ p -> p [PROOFSTEP]", "intro h", 2.0),
        ("[CURRENT GOAL] ⊢ p -> p [TARGET GOAL]", "h : p\n⊢ p [PROOFSTEP] intro h", 8.0),
    ]


def test_roles_of_different_weights_have_rows_of_their_own():
    assert told([*role_demos(STEP, APART, 2.0)]) == [
        (flat_prompt(STEP.state), "intro h", 4.0),
        (planner_prompt(STEP.state), "h : p\n⊢ p [PROOFSTEP]", 6.0),
        (actor_prompt(STEP.state, STEP.result), "intro h", 8.0),
    ]
    assert told([*role_demos(STEP, Roles(flat=0.0, planner=0.0))]) == [(actor_prompt(STEP.state, STEP.result), "intro h", 2.0)]


@pytest.mark.parametrize(
    ("state", "result", "new"),
    [
        ("p : Prop\n⊢ p -> p", "p : Prop\nh : p\n⊢ p", "h : p\n⊢ p"),
        ("h : a /\\ b\n⊢ c", "h1 : a\nh2 : b\n⊢ c", "h1 : a\nh2 : b"),
        ("h : a\n⊢ c", "⊢ c", "⊢ c"),  # a hypothesis less is nothing new, and a target says something
        ("⊢ a /\\ b", "⊢ a\n\n⊢ b", "⊢ a\n\n⊢ b"),
        ("h : a \\/ b\n⊢ c", "h : a\n⊢ c\n\nh : b\n⊢ c", "h : a\n\nh : b"),
        ("⊢ a", NO_GOALS, NO_GOALS),
        ("h  :  a\n⊢ b", "h : a\n⊢ d", "⊢ d"),  # however the blanks are set
    ],
)
def test_a_target_may_say_what_is_new(state: str, result: str, new: str):
    assert difference(state, result) == new
    assert target_of(state, result, "state") == result
    assert target_of(state, result, "difference") == new


def test_traces_teach_every_role_every_step():
    assert len(trace_lessons([STEP, STEP], Roles())) == 4


def test_hindsight_teaches_what_a_tactic_reaches_and_not_to_play_it():
    assert [demo.prompt for demo in hindsight_demos(STEP, Roles(), 0.5)] == [planner_prompt(STEP.state)]
    assert [demo.weight for demo in hindsight_demos(STEP, Roles(), 0.5)] == [4.0]


def test_only_the_flat_prover_learns_with_hints():
    hints = "p_comm : p /\\ q -> q /\\ p\ntwo : q"
    shown = replace(STEP, hints=hints)
    flat, *others = role_demos(shown, APART)
    plain, *same = role_demos(STEP, APART)
    assert flat == replace(plain, prompt=f"[PREMISES] {hints} [CURRENT GOAL] ⊢ p -> p [PROOFSTEP]")
    assert others == same
    assert [*hindsight_demos(shown, Roles(), 0.5)] == [*hindsight_demos(STEP, Roles(), 0.5)]


USED = Step(state="h : p\n⊢ p", tactic="exact h", result=NO_GOALS, role="actor", target="no  goals", used=True)
MISSED = Step(state="⊢ p -> p", tactic="intro h", result="h : p\n⊢ p", role="actor", target="⊢ p", used=True)
OTHER = Step(state="⊢ p -> p", tactic="intro h2", result="h2 : p\n⊢ p", role="flat")


def test_a_checked_proof_teaches_its_steps():
    how = Lore(hindsight=False, exposure=False)
    lessons = search_lessons([bout(USED, OTHER, solved=True)], Roles(), how, 0)
    assert told(lessons) == told([*role_demos(USED, Roles())])


def test_the_actor_learns_under_the_planner_s_own_targets():
    lessons = search_lessons([bout(USED, MISSED, solved=True)], Roles(), Lore(hindsight=False), 0)
    exposed = [demo for demo in lessons if demo.prompt == actor_prompt("⊢ p -> p", "⊢ p")]
    assert [demo.completion for demo in exposed] == ["intro h"]
    # A target that was reached is what the step teaches anyhow, however its blanks are set.
    assert not any(demo.prompt == actor_prompt(USED.state, "no  goals") for demo in lessons)


def test_a_search_without_a_checked_proof_teaches_by_hindsight_alone():
    for unchecked in (bout(USED, OTHER, solved=False), bout(USED, OTHER, solved=True, fault="the prover died")):
        lessons = search_lessons([unchecked], Roles(), Lore(hindsight_weight=1.0), 0)
        assert {demo.prompt for demo in lessons} == {planner_prompt(USED.state), planner_prompt(OTHER.state)}
        assert search_lessons([unchecked], Roles(), Lore(hindsight=False), 0) == []


def test_hindsight_takes_so_many_steps_of_a_statement_and_none_of_its_proof():
    others = [Step(state=f"s{number}", tactic="t", result="r", role="flat") for number in range(20)]
    lessons = search_lessons([bout(USED, *others, solved=True)], Roles(flat=0.0), Lore(hindsight_steps=5), 0)
    prompts = [demo.prompt for demo in lessons]
    assert prompts.count(planner_prompt(USED.state)) == 1
    assert len(prompts) == 6
    assert prompts != [
        demo.prompt for demo in search_lessons([bout(USED, *others, solved=True)], Roles(flat=0.0), Lore(hindsight_steps=5), 1)
    ]


def test_replay_makes_up_its_share():
    new = [Demo(prompt="new", completion=str(number)) for number in range(66)]
    old = [Demo(prompt="old", completion=str(number)) for number in range(100)]
    mixed = with_replay(new, old, 0.25, 0)
    assert [lesson for lesson in mixed if lesson in new] == new
    assert len(mixed) == 88
    assert len(with_replay(new, old[:1], 0.5, 0)) == 67
    assert len(with_replay([], old, 0.5, 0)) == 64, "a round that found nothing repeats what is known"
    assert with_replay(new, old, 0.0, 0) == new
    assert set(map(id, with_replay(new, old, 1.0, 0))) == set(map(id, old))


# ---------------------------------------------------------------------------------------------- comparisons

SHARED = Roles()
ROOT = Step(state="⊢ a", tactic="good", result="⊢ b", role="move", used=True)
LAST = Step(state="⊢ b", tactic="end", result=NO_GOALS, role="move", used=True)
ASIDE = [Step(state="⊢ a", tactic=f"t{number}", result=f"⊢ c{number}", role="move") for number in range(9)]


def compared(*steps: Step, roles: Roles = SHARED, siblings: int = 3, solved: bool = True) -> list[tuple[str, str, str]]:
    pairs = ranking_pairs([bout(*steps, solved=solved)], roles, siblings, 0)
    return [(pair.prompt, pair.chosen.text, pair.rejected.text) for pair in pairs]


def test_the_state_of_a_proof_is_compared_with_its_siblings():
    assert compared(ROOT, LAST, ASIDE[0]) == [(planner_prompt("⊢ a"), "⊢ b [PROOFSTEP]", "⊢ c0 [PROOFSTEP]")]
    found = compared(ROOT, LAST, *ASIDE)
    assert len(found) == len(set(found)) == 3
    assert len(compared(ROOT, LAST, *ASIDE, siblings=20)) == 9
    assert compared(ROOT, LAST, ASIDE[0], ASIDE[0]) == compared(ROOT, LAST, ASIDE[0])


@pytest.mark.parametrize(
    "other",
    [
        Step(state="⊢ a", tactic="too", result="⊢ b", role="move"),  # another way to the same state
        Step(state="⊢ a", tactic="back", result="⊢ a", role="move"),  # to a state of the proof
        Step(state="⊢ a", tactic="end", result=NO_GOALS, role="move"),  # a shorter proof
        Step(state="⊢ a", tactic="blank", result="⊢  b", role="move"),  # a planner sees no difference
        Step(state="⊢ z", tactic="t", result="⊢ y", role="move"),  # from a state that is not on the way
    ],
)
def test_what_is_no_worse_is_not_compared(other: Step):
    assert compared(ROOT, LAST, other) == []


def test_only_checked_proofs_and_planners_compare():
    assert compared(ROOT, LAST, ASIDE[0], solved=False) == []
    assert compared(ROOT, LAST, ASIDE[0], roles=Roles(planner=0.0)) == []
    assert compared(ROOT, LAST, ASIDE[0], siblings=0) == []
