"""The embedded environment: the kernel agrees with every step, nothing grows without limit, any text is answered."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.embedded import KernelEnv, Lemma, root
from sparring.envs.goals import TacticError, format_goal, fresh, fresh_variable
from sparring.envs.printing import Statement, format_statement
from sparring.envs.reader import LEVELS, MAX_NAMES, RESERVED
from sparring.envs.script import Node, primitives, proof_of
from sparring.envs.steps import Elaborated
from sparring.envs.tactics import TACTICS, run
from sparring.errors import SparringError
from sparring.game import Goals, Proved, Rejected, make_task
from tests import formulas
from tests.goals import ENV, goal_after, justify
from tests.prover import LIBRARY, random_tactic

# ------------------------------------------------------------------------------------------------ the kernel agrees


def test_the_kernel_agrees_with_every_step():
    """On random walks through random statements."""
    rng = random.Random(0)
    accepted: set[str] = set()
    steps = 0
    while steps < 6000:
        symbols = formulas.PROPS + formulas.PREDICATES
        statement = Statement(symbols, formulas.random_formula(rng, rng.randrange(2, 9), symbols))
        goals = [root(format_statement(statement))]
        for _ in range(25):
            tactic = random_tactic(goals[0], rng, list(ENV.lemmas))
            try:
                elaborated = run(goals[0], tactic, ENV.lemmas)
            except TacticError:
                continue
            justify(goals[0], elaborated)
            consistent(elaborated)
            steps += 1
            accepted |= {primitive.step[0] for primitive in elaborated.steps}
            goals[:1] = elaborated.goals
            if not goals:
                break
    assert len(accepted) >= 25  # nearly all kinds of primitive steps


def consistent(elaborated: Elaborated) -> None:
    """The steps join up, and no name means two things."""
    open_goals = [elaborated.steps[0].goal]
    for primitive in elaborated.steps:
        assert primitive.goal == open_goals[0]
        open_goals[:1] = primitive.goals
    assert tuple(open_goals) == elaborated.goals
    for goal in elaborated.goals:
        assert len(goal.names()) == len(goal.symbols) + len(goal.variables) + len(goal.hyps)


def test_names_may_be_given_again():
    """To a variable after one of that name is gone: the proof names them apart."""
    script = [
        "intros x h",
        "revert x",
        "intros x e",
        "induction x",
        "discriminate e",
        "clear ih",
        "revert x",
        "intros x e",
        "destruct x",
    ]
    script += ["rfl", "injection e as f", "discriminate f"]
    assert ENV.check(make_task("forall x, x = 1 -> x = 1"), "intros x h\nrevert x\nintros x h\nexact h").solved
    verdict = ENV.check(make_task("forall x, x = 1 -> x = 1"), "\n".join(script))
    assert verdict.solved, verdict.note


def test_steps_of_a_script_as_a_tree():
    tree = ENV.replay("forall p q, p /\\ q -> q /\\ p", "intro h\ndestruct (and_comm h) as [b a]\nsplit\nexact b\nexact a")
    node = primitives(tree)
    assert tags(node) == ["intro_hyp", ["pose", ["case_and", ["split", ["refine"], ["refine"]]]]]
    assert tree.line == "intro h"
    assert proof_of(tree)[0] == "imp_intro"


def tags(node: Node) -> list[Any]:
    return [node.step[0], *map(tags, node.children)]


def test_instances_are_spelled_out():
    goal = goal_after("forall x y, x + S y = S (y + x)", "intros x y")
    [primitive] = run(goal, "rewrite (add_comm x)", ENV.lemmas).steps
    x, y = ("var", "x"), ("var", "y")
    sum_ = ("add", x, ("succ", y))
    instance = ("all_elim", ("all_elim", ("lemma", "add_comm", ()), x), ("succ", y))
    assert primitive.step == (
        "rewrite",
        instance,
        ("eq", sum_, ("add", ("succ", y), x)),
        "->",
        ("eq", ("bound", 0), ("succ", ("add", y, x))),
        None,
    )
    goal = goal_after("forall p q, p /\\ q -> q /\\ p", "intro h")
    [primitive] = run(goal, "apply and_comm", ENV.lemmas).steps
    bodies = (("pred", "p", ()), ("pred", "q", ()))
    assert primitive.step == ("refine", ("imp_elim", ("lemma", "and_comm", bodies), ("hole", 0)))
    goal = goal_after("forall x, x + 0 = x")
    [primitive] = run(goal, "apply nat_ind", ENV.lemmas).steps
    body = ("eq", ("add", ("bound", 0), ("zero",)), ("bound", 0))
    assert primitive.step == (
        "refine",
        ("imp_elim", ("imp_elim", ("lemma", "nat_ind", (body,)), ("hole", 0)), ("hole", 1)),
    )


# ------------------------------------------------------------------------------------------------ goals and names


def test_a_goal_as_text():
    goal = goal_after("forall (R : N -> N -> Prop) (p : Prop) (P Q : N -> Prop) x y, p -> R x y -> P x", "intros x y h")
    assert format_goal(goal) == "p : Prop\nP Q : N -> Prop\nR : N -> N -> Prop\nx y : N\nh : p\n⊢ R x y -> P x"


def test_fresh_names():
    assert [fresh(taken) for taken in ([], ["h"], ["h", "h1", "h3"])] == ["h", "h1", "h2"]
    assert [fresh_variable(taken) for taken in ([], ["x"], "xyzuvw")] == ["x", "y", "x1"]


# ------------------------------------------------------------------------------------------------ limits, any text


def test_a_goal_has_so_many_names():
    goal = goal_after("True")
    for number in range(MAX_NAMES):
        goal = run(goal, f"have h{number} : True", ENV.lemmas).goals[1]
    with pytest.raises(TacticError, match="more than 64 variables and hypotheses"):
        run(goal, "have g : True", ENV.lemmas)


def test_there_are_so_many_goals():
    state = ENV.start(make_task("forall p, (p -> p -> p -> p -> p) -> p"))
    outcome = None
    for tactic in ["intro h", *["apply h"] * 30]:
        assert isinstance(state, Goals)
        [outcome] = ENV.step([(state, tactic)])
        if not isinstance(outcome, Goals):
            break
        state = outcome
    assert outcome == Rejected(reason="more than 64 goals")


HANGS_S = 10.0
"""What tells a step that hangs, or blows up, from one that met a garbage collection: bounded steps take hundredths of a second."""

GROWING = {
    "rewriting": ("forall x, (forall y, y = y * y) -> x = 0", ["intros x h", *["rewrite h"] * 60]),
    "an instance of an instance": (
        "forall x, (forall y, y = y + y) -> x = 0",
        ["intros x h", *["rewrite (h (x + x)) in h", "rewrite h"] * 30],
    ),
    "having": ("forall P, (forall x, P x -> P (x + x)) -> P 9 -> P 0", ["intros f g", *["apply f in g"] * 60]),
    "computing": (
        "forall x, 9 * (9 * (9 * (9 * (9 * (9 * x))))) = 9 * (9 * (9 * (9 * (9 * (9 * x)))))",
        ["intro x", "simpl", "rfl"],
    ),
    "reverting": (
        "forall x, x = 99 -> 99 = x -> x + 99 = 99 -> True",
        ["intros x a b c", *["revert x", "intros x a b c", "induction x"] * 20],
    ),
    "goals": ("forall P, (forall x, P (S x) -> P x) -> P 0", ["intro h", *["apply h"] * 200]),
    "numbers": ("99 * 99 * 99 = 99 * (99 * 99)", ["rfl", "simpl", "trivial", "symmetry", "rfl"]),
}


@pytest.mark.parametrize("name", GROWING)
def test_nothing_grows_without_limit(name: str):
    statement, script = GROWING[name]
    state = ENV.start(make_task(statement))
    assert isinstance(state, Goals)
    for tactic in script:
        begun = time.process_time()
        [outcome] = ENV.step([(state, tactic)])
        assert time.process_time() - begun < HANGS_S
        state = outcome if isinstance(outcome, Goals) else state
        assert len(state.text) < 50_000
    begun = time.process_time()
    assert not ENV.check(make_task(statement), "\n".join(script)).solved
    assert time.process_time() - begun < HANGS_S


VOCABULARY = [
    *TACTICS,
    *RESERVED,
    *LEVELS,
    *"()[]|:~,.012xyhpPR",
    ":=",
    "<-",
    "h1",
    "99",
    "and_comm",
    "leibniz",
    "nat_ind",
    "?0",
    "∀",
    "é",
]
salads = st.lists(st.sampled_from(VOCABULARY), max_size=30).map(" ".join)
openings = st.builds("{} {}".format, st.sampled_from(list(TACTICS)), salads)


@settings(max_examples=400)
@given(
    formulas.formulas(formulas.PROPS[:2] + formulas.PREDICATES),
    st.lists(st.text(max_size=80) | salads | openings, max_size=12),
    st.integers(),
)
def test_any_text_is_answered(formula: formulas.Expr, texts: list[str], seed: int):
    rng = random.Random(seed)
    statement = make_task(format_statement(Statement(formulas.PROPS[:2] + formulas.PREDICATES, formula)))
    state = ENV.start(statement)
    assert isinstance(state, Goals)
    for text in texts:
        for tactic in (text, random_tactic(state.handle[0], rng, list(ENV.lemmas))):
            [outcome] = ENV.step([(state, tactic)])
            assert isinstance(outcome, Goals | Proved) or (outcome.kind != "fault" and 0 < len(outcome.reason) < 1000)
            state = outcome if isinstance(outcome, Goals) else state
    assert not ENV.check(statement, "\n".join(texts)).fault


@pytest.mark.parametrize("handle", [None, (), "x"])
def test_a_state_from_elsewhere_is_a_fault(handle: Any):
    [outcome] = ENV.step([(Goals(texts=("True",), handle=handle), "split")])
    assert isinstance(outcome, Rejected)
    assert outcome.kind == "fault"


# ------------------------------------------------------------------------------------------------ libraries


def test_lemmas_are_known_by_name():
    assert list(ENV.lemmas) == [lemma.name for lemma in LIBRARY]
    assert ENV.statements["and_comm"] == "forall (p q : Prop), p /\\ q -> q /\\ p"


@pytest.mark.parametrize(
    ("library", "message"),
    [
        ([Lemma("bad", "forall p, p", "intro h")], "the proof of lemma bad is wrong: line 1, intro h: intro: p has nothing"),
        ([Lemma("bad", "forall p", "trivial")], "the proof of lemma bad is wrong: expected"),
        ([Lemma("bad", "True", "")], "the proof of lemma bad is wrong: the script ends with 1 goals open"),
        ([Lemma("a b", "True", "trivial")], "a lemma cannot be called 'a b'"),
        ([Lemma("forall", "True", "trivial")], "a lemma cannot be called 'forall'"),
        ([LIBRARY[0], LIBRARY[0]], "a lemma cannot be called 'and_comm'"),
        ([Lemma("early", "True", "exact late"), Lemma("late", "True", "trivial")], "no hypothesis or lemma late"),
    ],
)
def test_a_library_is_checked(library: list[Lemma], message: str):
    with pytest.raises(SparringError) as refused:
        KernelEnv(library)
    assert message in str(refused.value)
