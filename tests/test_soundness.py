"""Attacks on the environment: nothing false is ever proved, whatever is written and whatever is handed to the kernel."""

from __future__ import annotations

import random
from typing import Any

import pytest

from sparring.envs import kernel
from sparring.envs.embedded import KernelEnv, root
from sparring.envs.kernel import TRUE, ZERO, Fuel, KernelError, Scope, prove
from sparring.envs.printing import Statement, format_statement
from sparring.envs.script import proof_of, prove_tree
from sparring.game import Goals, make_task
from tests import formulas
from tests.prover import LIBRARY, attack

X, P = ("var", "x"), ("pred", "p", ())


@pytest.fixture(scope="module")
def env() -> KernelEnv:
    return KernelEnv(LIBRARY)


def start(env: KernelEnv, text: str) -> Goals:
    state = env.start(make_task(text))
    assert isinstance(state, Goals), (text, state)
    return state


def statement(symbols: formulas.Symbols, formula: formulas.Expr) -> str:
    return format_statement(Statement(symbols, formula))


# ------------------------------------------------------------------------------------------------ attacks by tactics


def test_the_attacker_proves_what_is_easy(env: KernelEnv):
    """Else its failures below would mean nothing."""
    rng = random.Random(0)
    easy = [lemma.statement for lemma in LIBRARY]
    tautologies = [formula for _ in range(600) if formulas.is_tautology(formula := formulas.random_prop(rng, 5))]
    easy += [statement(formulas.PROPS, formula) for formula in tautologies[:60]]
    proved = 0
    for text in easy:
        script = attack(KernelEnv(LIBRARY[:3]) if "x" in text else env, start(env, text), rng, 3000)
        if script is not None:
            assert env.check(make_task(text), "\n".join(script)).solved, script
            proved += 1
    assert proved > 0.7 * len(easy)


def test_no_proof_of_what_is_no_tautology(env: KernelEnv):
    rng = random.Random(1)
    found = 0
    while found < 10_000:
        formula = formulas.random_prop(rng, rng.randrange(1, 8))
        if formulas.is_tautology(formula):
            continue
        found += 1
        text = statement(formulas.PROPS, formula)
        script = attack(env, start(env, text), rng, 18)
        assert script is None, (text, script)


def test_no_proof_of_false_arithmetic(env: KernelEnv):
    rng = random.Random(2)
    found = 0
    while found < 10_000:
        symbols = formulas.PREDICATES if found % 4 == 0 else ()
        formula = random_arithmetic(rng, symbols)
        if not formulas.is_refuted(formula, symbols, rng, models=6 if symbols else 1):
            continue
        found += 1
        text = statement(symbols, formula)
        script = attack(env, start(env, text), rng, 14)
        assert script is None, (text, script)


def random_arithmetic(rng: random.Random, symbols: formulas.Symbols) -> formulas.Expr:
    """A closed formula: an equation of numbers, one of variables, or anything."""
    kind = rng.randrange(3)
    atoms = [ZERO, ("succ", ZERO), *([("bound", 0), ("bound", 1)] if kind == 1 else [])]
    if kind == 2:
        return formulas.random_formula(rng, rng.randrange(2, 8), symbols)
    equation = ("eq", formulas.random_term(rng, 5, atoms), formulas.random_term(rng, 4, atoms))
    return equation if kind == 0 else ("all", ("all", equation))


CLASSICAL = [
    "forall p, p \\/ ~ p",
    "forall p, ~ ~ p -> p",
    "forall p q, ((p -> q) -> p) -> p",
    "forall p, ~ p \\/ ~ ~ p",
    "forall p q, (p -> q) \\/ (q -> p)",
    "forall p q, (~ q -> ~ p) -> p -> q",
    "forall p q, ~ (p /\\ q) -> ~ p \\/ ~ q",
    "forall p q, (p -> q) -> ~ p \\/ q",
    "forall p q, ~ (~ p /\\ ~ q) -> p \\/ q",
    "forall p q r, (p -> q \\/ r) -> (p -> q) \\/ (p -> r)",
    "forall (P : N -> Prop), ~ (forall x, P x) -> exists x, ~ P x",
    "forall (P : N -> Prop), (forall x, ~ ~ P x) -> ~ ~ forall x, P x",
    "forall (P : N -> Prop), exists x, P x -> forall y, P y",
    "forall (P : N -> Prop) (q : Prop), (forall x, q \\/ P x) -> q \\/ forall x, P x",
]


@pytest.mark.parametrize("text", CLASSICAL)
def test_no_proof_of_what_holds_only_classically(env: KernelEnv, text: str):
    assert attack(env, start(env, text), random.Random(3), 6000) is None


# ------------------------------------------------------------------------------------------------ forged proofs


def proofs(env: KernelEnv) -> dict[str, kernel.Proof]:
    found: dict[str, kernel.Proof] = {}
    for lemma in LIBRARY:
        found[lemma.name] = proof_of(prove_tree(root(lemma.statement), lemma.script.splitlines(), env.lemmas))
    return found


def subtrees(node: Any, path: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Any]]:
    found = [(path, node)]
    if type(node) is tuple:
        for place, part in enumerate(node):
            found += subtrees(part, (*path, place))
    return found


def replaced(node: Any, path: tuple[int, ...], by: Any) -> Any:
    if not path:
        return by
    return tuple(replaced(part, path[1:], by) if place == path[0] else part for place, part in enumerate(node))


def test_what_a_mutated_proof_proves_is_true(env: KernelEnv):
    """Parts of proofs exchanged for parts of others: the kernel refuses, or finds out what is proved instead."""
    rng = random.Random(4)
    valid = proofs(env)
    pool = [part for proof in valid.values() for _, part in subtrees(proof)]
    survived = 0
    for turn in range(20_000):
        name = rng.choice(list(valid))
        proof, symbols = valid[name], env.lemmas[name].symbols
        for _ in range(rng.choice([1, 1, 2])):
            path, part = rng.choice(subtrees(proof))
            same_kind = [other for other in rng.sample(pool, 30) if type(other) is type(part) and type(part) is not int]
            proof = replaced(proof, path, rng.choice(same_kind or pool))
        try:
            checker = kernel._Checker(dict(symbols), env.lemmas, Fuel())
            found = checker.infer(proof, Scope(frozenset(), {}, 0))
        except KernelError:
            continue
        survived += found != env.lemmas[name].formula
        assert not formulas.is_refuted(found, symbols, rng, models=4), (turn, proof, found)
    assert survived > 100  # mutants that prove something else, which is the interesting case


def test_random_proofs_prove_nothing_false(env: KernelEnv):
    rng = random.Random(5)
    for _ in range(4000):
        formula = formulas.random_formula(rng, 4, formulas.PROPS[:1])
        if formulas.is_refuted(formula, formulas.PROPS[:1], rng):
            with pytest.raises(KernelError):
                prove(formulas.PROPS[:1], formula, forged(formula, rng, 6, ["h"]), env.lemmas)


def forged(goal: formulas.Expr, rng: random.Random, size: int, hyps: list[str]) -> kernel.Proof:
    """A proof that follows the goal where it can and lies where it cannot."""
    tag = goal[0]
    if size and tag == "and":
        return ("and_intro", forged(goal[1], rng, size - 1, hyps), forged(goal[2], rng, size - 1, hyps))
    if size and tag == "imp":
        name = f"h{len(hyps)}"
        return ("imp_intro", name, goal[1], forged(goal[2], rng, size - 1, [*hyps, name]))
    if size and tag == "or":
        left = ("or_left", forged(goal[1], rng, size - 1, hyps), goal[2])
        return rng.choice([left, ("or_right", goal[1], forged(goal[2], rng, size - 1, hyps))])
    if size and tag == "ex":
        term = rng.choice([ZERO, ("succ", ZERO), ("bound", 0), X])
        return ("ex_intro", goal[1], term, ("refl", term))
    lies: list[kernel.Proof] = [
        ("hyp", rng.choice(hyps)),
        ("false_elim", ("hyp", rng.choice(hyps)), goal),
        ("compute", goal, ("refl", goal[1] if tag == "eq" else ZERO)),
        ("rewrite", ("hyp", rng.choice(hyps)), goal, ("true_intro",)),
        ("lemma", "absurd", (TRUE, goal)),
        ("imp_elim", ("hyp", rng.choice(hyps)), ("hyp", rng.choice(hyps))),
        ("induction", goal, ("true_intro",), "x", "h", ("hyp", "h")),
    ]
    return rng.choice(lies)
