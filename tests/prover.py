"""A prover that tries random tactics: an attacker of the environment, with names and terms that fit the goal at hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sparring.envs.embedded import KernelEnv, Lemma
from sparring.envs.goals import Goal
from sparring.game import Goals, Proved

LIBRARY = [
    Lemma("and_comm", "forall p q, p /\\ q -> q /\\ p", "intro h\ndestruct h as [a b]\nsplit\nexact b\nexact a"),
    Lemma("absurd", "forall p q, p -> ~ p -> q", "intros a b\ncontradiction"),
    Lemma("add_zero", "forall x, x + 0 = x", "intro x\ninduction x\nrfl\nsimpl\nrewrite ih\nrfl"),
    Lemma("add_succ", "forall x y, x + S y = S (x + y)", "intros x y\ninduction x\nrfl\nsimpl\nrewrite ih\nrfl"),
    Lemma(
        "add_comm",
        "forall x y, x + y = y + x",
        "intros x y\ninduction x\nrewrite add_zero\nrfl\nsimpl\nrewrite ih\nsymmetry\napply add_succ",
    ),
    Lemma("mul_zero", "forall x, x * 0 = 0", "intro x\ninduction x\nrfl\nsimpl\nexact ih"),
    Lemma(
        "nat_ind",
        "forall (P : N -> Prop), P 0 -> (forall n, P n -> P (S n)) -> forall n, P n",
        "intros a b n\ninduction n\nexact a\napply b\nexact ih",
    ),
    Lemma("leibniz", "forall (P : N -> Prop) x y, x = y -> P x -> P y", "intros x y e a\nrewrite <- e\nexact a"),
    Lemma(
        "exchange",
        "forall (R : N -> N -> Prop), (exists x, forall y, R x y) -> forall y, exists x, R x y",
        "intros h y\ndestruct h as [x a]\nexists x\napply a",
    ),
]
CLOSED = ("0", "1", "S 0", "2 + 1", "2 * 2")
PLAIN = (
    "intro",
    "intros",
    "split",
    "left",
    "right",
    "assumption",
    "exfalso",
    "trivial",
    "rfl",
    "simpl",
    "symmetry",
    "contradiction",
)
CLOSING = ("trivial", "contradiction")
FITTING = {
    "and": ("split",),
    "or": ("left", "right"),
    "imp": ("intro", "intros"),
    "all": ("intro", "intros"),
    "ex": ("exists {t}",),
    "eq": ("rfl", "simpl", "symmetry", "rewrite {e}", "rewrite <- {e}", "induction {x}", "apply {e}"),
    "true": ("trivial",),
    "false": ("apply {h}",),
    "pred": ("apply {e}", "assumption", "exact {e}"),
}
USING = ("destruct {h}", "apply {e}")
OTHER = (
    "apply {e}", "exact {e}", "apply {e} in {h}", "destruct {h}", "destruct {h} as [a b]", "destruct {h} as [a | b]",
    "destruct {h} as [x {h}]", "cases ({e})", "destruct {x} as [| {x}]", "induction {x}", "revert {h}", "revert {x}", "clear {h}",
    "clear {x}", "rewrite {e}", "rewrite <- {e}", "rewrite {e} in {h}", "rewrite <- {e} in {h} at {k}", "rewrite {e} at {k}",
    "simpl in {h}", "symmetry in {h}", "specialize ({h} {t})", "specialize ({h} {h})", "have g := {e}", "have g : {A}",
    "injection {h}", "injection {h} as g", "discriminate {h}", "exists {t}", "intros x {h} y", "intro {x}", "intro {h}",
    "induction {x} as [| {x} g]", "have {h} := {e}", "assert (g : ~ {A})", "destruct {h} as [{x} {x}]", "destruct {h} as [{h} {h}]",
)  # fmt: skip


def random_tactic(goal: Goal, rng: random.Random, lemmas: Sequence[str]) -> str:
    """A tactic that may well do something to the goal."""
    kind = rng.random()
    if kind < 0.45:
        form = rng.choice(FITTING[goal.conclusion[0]])
    elif kind < 0.7:
        form = rng.choice(USING)
    elif kind < 0.8:
        form = rng.choice(PLAIN)
    else:
        form = rng.choice(OTHER)
    hyps = [name for name, _ in goal.hyps] or ["h"]
    numbers = [*goal.variables, *CLOSED]
    props = [name for name, arity in goal.symbols if arity == 0] or ["False"]

    def expression() -> str:
        head = rng.choice([*hyps, *hyps, *lemmas])
        arguments = [rng.choice([f"({rng.choice(numbers)})", rng.choice(hyps)]) for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))]
        return " ".join([head, *arguments])

    while "{" in form:
        form = form.replace("{h}", rng.choice(hyps), 1).replace("{t}", rng.choice(numbers), 1).replace("{k}", rng.choice("12"), 1)
        form = form.replace("{x}", rng.choice(goal.variables or ("x",)), 1).replace("{A}", rng.choice(props), 1)
        form = form.replace("{e}", expression(), 1)
    return form


def attack(env: KernelEnv, start: Goals, rng: random.Random, steps: int, depth: int = 16) -> list[str] | None:
    """The script of a proof, if random walks of ``steps`` tactics in all come upon one: forwards, and from the start again."""
    lemmas = list(env.lemmas)
    state, script, untried = start, [], [*CLOSING]
    for _ in range(steps):
        tactic = untried.pop() if untried else random_tactic(state.handle[0], rng, lemmas)
        [outcome] = env.step([(state, tactic)])
        if isinstance(outcome, Proved):
            return [*script, tactic]
        if isinstance(outcome, Goals):
            state, script, untried = outcome, [*script, tactic], [*CLOSING]
        if len(script) > depth or rng.random() < 0.02:
            state, script, untried = start, [], []
    return None
