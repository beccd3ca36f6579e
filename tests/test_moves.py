"""Moves: tactics that the form of a goal suggests."""

from __future__ import annotations

import random
import time
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.envs.embedded import KernelEnv
from sparring.envs.goals import Goal, TacticError
from sparring.envs.kernel import FALSE, ZERO, Expr, Fuel
from sparring.envs.moves import MOST, moves
from sparring.envs.sums import plus, solutions, sum_of, term_of
from sparring.envs.tactics import run
from sparring.game import Goals, Proved, Task
from sparring.worlds.lemmas import LIBRARY
from sparring.worlds.theorem_splits import split
from tests.formulas import PREDICATES, PROPS, random_formula, random_term, value
from tests.goals import goal_after

LEMMAS = KernelEnv(LIBRARY).lemmas
X, Y, Z = (("var", name) for name in "xyz")

EXPECTED = [
    # closing: one line that does it, and nothing else
    (("forall p q, p -> q -> p", "intros h h1"), ["assumption"], True),
    (("forall x, S x + 2 = S (x + 2)", "intro x"), ["rfl"], True),
    (("forall p q, p -> ~ p -> q", "intros h h1"), ["contradiction"], True),
    (("forall p x, S x = 0 -> p", "intros x h"), ["discriminate h"], True),
    (("True",), ["trivial"], True),
    (("forall (P : N -> Prop) x, (forall y, P y) -> P (x + 1)", "intros x h"), ["apply h"], True),
    (("forall (P Q : N -> Prop) x, (forall y, P y -> Q y) -> P x -> Q x", "intros x h h1"), ["exact (h x h1)"], True),
    (("forall (P : N -> Prop) q, (forall y, P y -> ~ P (S y)) -> P 0 -> P 1 -> q", "intros h h1 h2"), ["destruct (h 0 h1 h2)"], True),
    (("forall p x, x = S x -> p", "intros x h"), ["destruct (ne_succ_self x h)"], True),
    (("forall x y, x + y = y + x", "intros x y"), ["apply add_comm"], True),
    # by the form of the goal
    (("forall x y, x = 1 -> y = x", "intro x"), ["intros y h", "intro y", "induction x"], False),
    (("forall x y p, p -> x = y -> p /\\ p",), ["intros x y h h1", "intros x y", "intro x"], True),
    (("forall p q, p -> p /\\ q", "intro h"), ["split"], False),
    (("forall p q r, p -> r -> q \\/ r \\/ p", "intros h h1"), ["left", "right"], False),
    (("forall x y z, x = y + z -> exists u, u + z = x", "intros x y z h"), ["exists y"], False),
    (("forall x, exists y, y + y = x + 4 + x", "intro x"), ["exists (S (S x))"], False),
    (("forall (P : N -> N -> Prop) x, P x 2 -> exists y, P x y", "intros x h"), ["exists 2"], False),
    (("forall p q, ~ p -> q", "intro h"), ["exfalso"], False),
    (("forall x y z, (z = 0 -> x = y) -> y = x", "intros x y z h"), ["symmetry"], False),
    (("forall x y, S x * y = x", "intros x y"), ["simpl"], False),
    # by the form of what is known
    (("forall p q r, p /\\ q -> r", "intro h"), ["destruct h as [h1 h2]"], False),
    (("forall p q r, p \\/ q -> r", "intro h"), ["destruct h as [h1 | h1]"], False),
    (("forall (P : N -> Prop) x, (exists y, P y) -> P x", "intros x h"), ["destruct h as [y h1]"], False),
    (
        ("forall (P Q : N -> Prop) x r, (forall y, P y -> Q y \\/ Q 0) -> P x -> r", "intros x h h1"),
        ["destruct (h x h1) as [h2 | h2]"],
        False,
    ),
    (("forall p q r, (p -> q -> r) -> r", "intro h"), ["apply h"], False),
    (("forall (P : N -> Prop) x q, (forall y, P y -> q) -> q", "intros x h"), ["apply (h x)"], False),
    (("forall p q r, (p -> q) -> p -> r", "intros h h1"), ["specialize (h h1)"], False),
    (("forall (P Q : N -> Prop) x r, (forall y, P y -> Q y) -> P x -> r", "intros x h h1"), ["have h2 := h x h1"], False),
    (("forall (P : N -> Prop) x, (forall y, P (y * 2)) -> P x", "intros x h"), ["have h1 := h x"], False),
    (("forall p q r, ((p -> q) -> r) -> q", "intro h"), ["have h1 : p -> q"], False),
    (("forall (P : N -> Prop) x y, P (x + y) -> P (y + x + 0)", "intros x y h"), ["have h1 : y + x + 0 = x + y"], False),
    (("forall x y p, S x = S (S y) -> p", "intros x y h"), ["injection h as h1", "apply succ_inj in h"], False),
    (("forall (P : N -> Prop) x, P (1 + x) -> P x", "intros x h"), ["simpl in h"], False),
    # equations
    (("forall (P : N -> Prop) x y, x = y -> P x -> P (y + y)", "intros x y h h1"), ["rewrite <- h", "rewrite h in h1"], False),
    (("forall x y z, (forall u, u + x = z) -> y + x = z * y", "intros x y z h"), ["rewrite h"], False),
    (
        ("forall x y z, x + (y + z) = z + (y + x)", "intros x y z"),
        ["rewrite (add_comm x (y + z))", "rewrite (add_comm y z)", "rewrite (add_left_comm x y z)", "rewrite <- add_assoc"],
        False,
    ),
    (("forall x y, x + y = (y + 0) * 1 + x + 0", "intros x y"), ["rewrite add_0_r", "rewrite (add_0_r y)", "rewrite mul_1_r"], False),
    (("forall x y z, x + y = z -> (x + y) + y + (x + y) = z + z + x", "intros x y z h"), ["rewrite (add_comm x y) at 2"], False),
    (("forall x y, x + 0 = y -> y = x * x", "intros x y h"), ["rewrite add_0_r in h"], False),
    (("forall x y p, x + y = 0 -> p", "intros x y h"), ["apply add_eq_zero in h"], False),
    (
        ("forall x y p, (exists z, x + z = y) -> (exists z, y + z = x) -> p", "intros x y h h1"),
        ["have h2 := le_antisymm x y h h1"],
        False,
    ),
    (("forall x y, exists z, S (x + x) + z = S (y + y)", "intros x y"), ["apply le_succ_succ"], False),
    # numbers
    (("forall x y, x + y * x = y", "intros x y"), ["induction x", "induction y", "destruct x as [| z]"], False),
    (
        ("forall (P : N -> Prop) x y, (x <> y -> P x) -> P y", "intros x y h"),
        ["destruct (eq_dec x y) as [h1 | h1]", "destruct (zero_or_succ x) as [h1 | h1]", "destruct (even_or_odd y) as [z h1]"],
        False,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("where", "expected", "exactly"), EXPECTED, ids=[case[0][0] for case in EXPECTED])
def test_moves_of_every_kind(where: tuple[str, ...], expected: list[str], exactly: bool):
    goal = goal_after(*where)
    found = moves(goal, LEMMAS)
    assert found == expected if exactly else set(expected) <= set(found), found
    for line in expected:
        run(goal, line, LEMMAS)


def test_nothing_is_said_twice_or_that_is_known():
    goal = goal_after("forall p q x y, (p -> q) -> p -> q -> x = x -> x = y", "intros x y h h1 h2 h3")
    found = moves(goal, LEMMAS)
    assert len(set(found)) == len(found)
    assert not any(line.startswith(("specialize", "have", "rewrite h3")) for line in found)


def test_a_hypothesis_hides_the_lemma_of_its_name():
    goal = goal_after("forall x y p, p -> x + y = y + x", "intros x y add_comm")
    assert not any("add_comm " in line or line.endswith("add_comm") for line in moves(goal, LEMMAS) if "destruct" not in line)


def test_one_kind_does_not_push_out_the_others():
    """Rewriting alone has more moves than fit here."""
    sides = "x * y + (y + z) * (x + (z + y)) + x * (y * z) + z", "z + x * (z * y) + (x + y + z) * (z + y) + y * x + (x * z + y)"
    goal = goal_after(f"forall x y z, x + z = y -> {sides[0]} = {sides[1]}", "intros x y z h")
    found = moves(goal, LEMMAS)
    assert len(found) == MOST
    for line in ("rewrite <- h", "induction z", "destruct (eq_dec x y) as [h1 | h1]", "rewrite (add_comm x z) in h"):
        assert line in found
    assert sum(line.startswith("rewrite (") for line in found) > 20


# ------------------------------------------------------------------------------------------------ any goal


def random_goal(seed: int, size: int) -> Goal:
    """Of hypotheses and a conclusion of about that many operators each."""
    rng = random.Random(seed)
    variables = ("x", "y", "z")[: rng.randrange(4)]

    def formula() -> Expr:
        if rng.random() < 0.3:
            atoms = [ZERO, *(("var", name) for name in variables)]
            return ("eq", random_term(rng, size // 2, atoms), random_term(rng, size // 2, atoms))
        return random_formula(rng, rng.randrange(size + 1), PROPS + PREDICATES, variables)

    hyps = [(f"h{place or ''}", formula()) for place in range(rng.randrange(6))]
    return Goal(PROPS + PREDICATES, variables, tuple(hyps), formula())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 14))
def test_moves_are_tactics(seed: int, size: int):
    goal = random_goal(seed, size)
    found = moves(goal, LEMMAS)
    assert found == moves(random_goal(seed, size), LEMMAS)
    assert len(set(found)) == len(found) <= MOST
    for line in found:
        assert len(line.splitlines()) == 1
        try:
            left = run(goal, line, LEMMAS).goals
        except TacticError:
            continue
        assert left != (goal,), line


def test_few_moves_are_refused():
    tried, refused = 0, 0
    for seed in range(60):
        goal = random_goal(seed, 6)
        for line in moves(goal, LEMMAS):
            tried += 1
            try:
                run(goal, line, LEMMAS)
            except TacticError:
                refused += 1
    assert tried > 500
    assert refused < 0.1 * tried


def chain(tag: str, length: int) -> Expr:
    term: Expr = X
    for place in range(length):
        term = (tag, (X, Y, Z)[place % 3], term)
    return term


def bushy(tag: str, depth: int) -> Expr:
    return X if depth == 0 else (tag, bushy(tag, depth - 1), (tag, Y, bushy(tag, depth - 1)))


HUGE: list[tuple[list[Expr], Expr]] = [
    ([("eq", bushy("add", 9), bushy("mul", 9))] * 3, ("eq", bushy("mul", 9), bushy("add", 9))),
    ([("eq", chain("add", 100), chain("mul", 99 + k)) for k in range(40)], ("eq", chain("mul", 100), chain("add", 100))),
    ([("imp", ("eq", chain("add", k + 60), X), FALSE) for k in range(60)], ("ex", ("eq", ("bound", 0), chain("add", 100)))),
    (
        [("all", ("all", ("imp", ("eq", ("bound", 0), chain("add", k)), ("eq", ("bound", 1), X)))) for k in range(60)],
        ("eq", X, Y),
    ),
    ([], ("eq", bushy("add", 12), X)),
]


@pytest.mark.parametrize("case", range(len(HUGE)))
def test_a_huge_goal_has_fewer_moves_but_takes_no_longer(case: int):
    hyps, conclusion = HUGE[case]
    goal = Goal((), ("x", "y", "z"), tuple((f"h{place}", formula) for place, formula in enumerate(hyps)), conclusion)
    begun = time.process_time()
    found = moves(goal, LEMMAS)
    assert (
        time.process_time() - begun < 5
    )  # a hundredth of a second where nothing else is going on; a garbage collection may take many
    assert len(found) <= MOST
    assert all(len(line) <= 1000 for line in found)


def test_a_deeply_nested_goal_is_no_error():
    term = X
    for _ in range(5000):
        term = ("succ", term)
    assert moves(Goal((), ("x",), (), ("eq", term, X)), LEMMAS) is not None


# ------------------------------------------------------------------------------------------------ are they enough?


def steps_to_proof(env: KernelEnv, task: Task, most: int) -> int | None:
    """States that breadth-first search over moves looks at until the theorem is proved; None after ``most`` of them."""
    begun = env.start(task)
    assert isinstance(begun, Goals)
    queue, seen = deque([begun]), {begun.text}
    for looked_at in range(1, most + 1):
        if not queue:
            return None
        state = queue.popleft()
        for outcome in env.step([(state, line) for line in env.moves(state)]):
            if isinstance(outcome, Proved):
                return looked_at
            if isinstance(outcome, Goals) and outcome.text not in seen:
                seen.add(outcome.text)
                queue.append(outcome)
    return None


def test_moves_alone_prove_theorems():
    """With nothing but breadth-first search; these are of a kind whose proofs have a dozen steps."""
    env = KernelEnv(LIBRARY)
    found = [steps_to_proof(env, task, 60) for task in split("validation")[:30]]
    assert sum(steps is not None for steps in found) >= 12


# ------------------------------------------------------------------------------------------------ sums


@given(st.integers(0, 2**32), st.integers(0, 7))
def test_a_sum_means_what_the_term_means(seed: int, size: int):
    rng = random.Random(seed)
    term = random_term(rng, size, [ZERO, X, Y, Z])
    total = sum_of(term, Fuel())
    again = None if total is None else term_of(total, ("x", "y", "z"))
    if again is not None:
        numbers = {name: rng.randrange(5) for name in "xyz"}
        assert value(again, numbers) == value(term, numbers)
        assert sum_of(again, Fuel()) == total


def test_sums_by_hand():
    """x * (y + 2) + x = 3 x + x y, which less x is 2 x + x y; divided by x that is y + 2."""
    total = sum_of(("add", ("mul", X, ("succ", ("succ", Y))), X), Fuel()) or {}
    assert total == {("x",): 3, ("x", "y"): 1}
    rest = plus(total, {("x",): 1}, -1)
    assert term_of(rest, ("x", "y")) == ("add", ("add", X, X), ("mul", X, Y))
    assert list(solutions(plus(rest, {("u", "x"): -1}), "u", [], Fuel())) == [{(): 2, ("y",): 1}]
    assert list(solutions({("u",): 1, ("x",): 1}, "u", [], Fuel())) == []  # u + x = 0
    assert next(solutions({("u",): 1, ("x",): 1}, "u", [{("x",): 1, ("y",): 1}], Fuel())) == {("y",): 1}  # and x + y = 0
    assert term_of({(): -1}, ()) is None
    assert term_of({(): 1000}, ()) is None
