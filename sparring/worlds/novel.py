"""Random statements whose proofs need one of the reserved lemmas: premises that no demonstration uses."""

from __future__ import annotations

from random import Random

from sparring.envs.kernel import FALSE, ZERO, Expr
from sparring.envs.printing import Statement
from sparring.worlds.numbers import ONE, U, X, Y, Z, add, closed, eq, le, mul
from sparring.worlds.propositions import PREDICATES, Family, exists, forall, imp, names_from, negation, prop, var


def _equal(rng: Random, left: Expr, right: Expr) -> Expr:
    """Something that follows from left = right."""
    name = names_from(PREDICATES, rng)[0]
    relation = rng.choice(("R", "L", "E"))
    if rng.random() < 0.5:
        left, right = right, left
    return rng.choice(
        [
            imp(prop(name, left), prop(name, right)),
            imp(prop(relation, left, U), prop(relation, right, U)),
            imp(prop(relation, left, right), prop(relation, right, right)),
            imp(prop(name, add(left, U)), prop(name, add(right, U))),
            imp(prop(name, ("succ", left)), prop(name, ("succ", right))),
            imp(negation(prop(name, left)), negation(prop(name, right))),
            imp(forall("v", imp(eq(var("v"), left), prop(name, var("v")))), prop(name, right)),
            imp(imp(eq(left, right), prop(name)), prop(name)),
        ]
    )


def _absurd(rng: Random) -> Expr:
    name = names_from(PREDICATES, rng)[0]
    return rng.choice(
        [prop(name), prop(name, Z), prop(name, add(X, Z)), imp(prop(name, X), prop(name, Y)), eq(Z, U), eq(X, ZERO), FALSE]
    )


def _hidden(rng: Random, fact: Expr) -> Expr:
    """The fact, or premises from which it follows at once."""
    name = rng.choice(("q", "K", "t"))
    if fact[0] == "eq" and rng.random() < 0.3:
        return ("eq", fact[2], fact[1]) if rng.random() < 0.5 else ("and", fact, prop(name))
    return fact


def cancelled(rng: Random, size: int) -> Statement | None:
    """add_right_cancel, mul_right_cancel, double_inj, mul_eq_one."""
    c = rng.choice([Z, Y, X, add(Z, U), mul(Z, U)])
    a, b = rng.choice([(X, Y), (X, add(Y, Z)), (mul(X, Z), Y), (X, mul(Y, Y)), (add(X, U), add(Y, U))])
    kinds = [
        (eq(add(a, c), add(b, c)), a, b),
        (eq(mul(X, ("succ", c)), mul(Y, ("succ", c))), X, Y),
        (eq(add(a, a), add(b, b)), a, b),
        (eq(mul(a, b), ONE), a, ONE),
    ]
    fact, left, right = rng.choice(kinds)
    return closed(imp(_hidden(rng, fact), _equal(rng, left, right)))


def impossible(rng: Random, size: int) -> Statement | None:
    """add_succ_ne_self, lt_irrefl, even_ne_odd."""
    a, b = rng.choice([(X, Y), (add(X, Z), Y), (mul(X, Y), Z), (X, mul(Y, Z)), (X, add(Y, Y))])
    even, odd = add(a, a), ("succ", add(b, b))
    kinds = [
        [eq(add(a, ("succ", b)), a)],
        [exists("w", eq(("succ", add(a, var("w"))), a))],
        [eq(even, odd)],
        [eq(even, U), eq(odd, U)],
        [eq(add(a, ("succ", b)), U), eq(U, a)],
    ]
    premises = rng.choice(kinds)
    rng.shuffle(premises)
    return closed(imp(*premises, _absurd(rng)))


def decided(rng: Random, size: int) -> Statement | None:
    """eq_dec, even_or_odd, le_total, mul_eq_zero."""
    name, other, *_ = names_from(PREDICATES, rng)
    q = rng.choice([prop(rng.choice(("q", "K", "t"))), prop(other, Z), prop(other, U)])

    def P(term: Expr) -> Expr:
        return prop(name, term)

    relation = rng.choice(("R", "L", "E"))
    a = rng.choice([X, add(X, Y), mul(X, Y)])
    b = rng.choice([Y, Z, ("succ", Y)])
    even, odd = add(Y, Y), ("succ", add(Y, Y))
    above = forall("x y", imp(le(X, Y), prop(relation, X, Y)))
    turned = forall("x y", imp(prop(relation, X, Y), prop(relation, Y, X)))
    kinds = [
        [imp(eq(a, b), q), imp(negation(eq(a, b)), q), q],
        [imp(negation(eq(a, b)), P(a)), P(b), P(a)],
        [imp(eq(a, b), P(Z)), imp(negation(eq(a, b)), q), ("or", q, P(Z))],
        [imp(negation(eq(X, b)), q), ("or", eq(X, b), q)],
        [negation(("and", negation(eq(X, b)), negation(P(X)))), P(b), negation(negation(P(X)))],
        [forall("y", P(even)), forall("y", P(odd)), P(a)],
        [forall("y", imp(eq(X, even), q)), forall("y", imp(eq(X, odd), q)), q],
        [forall("y", P(even)), forall("y", prop(other, odd)), ("or", P(X), prop(other, X))],
        [above, turned, prop(relation, X, b)],
        [imp(le(a, b), q), imp(le(b, a), q), q],
        [imp(le(a, b), P(a)), imp(le(b, a), P(a)), P(a)],
        [imp(le(a, b), P(Z)), imp(le(b, a), q), ("or", P(Z), q)],
        [forall("y", imp(eq(X, even), P(Y))), forall("y", imp(eq(X, odd), P(Y))), exists("y", P(Y))],
        [forall("y", imp(eq(X, even), q)), forall("y", imp(eq(X, odd), P(Y))), ("or", q, exists("y", P(Y)))],
        [above, ("or", prop(relation, X, b), prop(relation, b, X))],
        [eq(mul(X, Y), ZERO), P(ZERO), ("or", P(X), P(Y))],
        [eq(mul(X, Y), ZERO), negation(eq(X, ZERO)), eq(Y, ZERO)],
        [eq(mul(X, b), ZERO), imp(eq(X, ZERO), q), imp(eq(b, ZERO), q), q],
        [eq(mul(X, X), ZERO), *rng.choice([[P(X), P(ZERO)], [P(ZERO), P(X)], [eq(X, ZERO)]])],
        [eq(mul(X, Y), ZERO), imp(P(X), q), P(ZERO), negation(eq(Y, ZERO)), ("and", q, rng.choice([P(X), q, P(ZERO)]))],
    ]
    *premises, conclusion = rng.choice(kinds)
    if rng.random() < 0.4:
        rng.shuffle(premises)
    return closed(imp(*premises, conclusion))


def antisymmetric(rng: Random, size: int) -> Statement | None:
    """le_antisymm."""
    a, b = rng.choice([(X, Y), (X, add(Y, Z)), (mul(X, Z), Y), (("succ", X), Y), (add(X, Y), Z)])
    premises = [le(a, b), le(b, a)]
    rng.shuffle(premises)
    facts = imp(*premises, _equal(rng, a, b)) if rng.random() < 0.7 else imp(("and", *premises), _equal(rng, a, b))
    return closed(facts)


NOVEL: dict[str, Family] = {
    "cancelled": cancelled,
    "impossible": impossible,
    "decided": decided,
    "antisymmetric": antisymmetric,
}
