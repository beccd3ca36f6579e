"""Random statements about all numbers, whose proofs need induction."""

from __future__ import annotations

from random import Random

from sparring.envs.kernel import FALSE, ZERO, Expr
from sparring.envs.printing import Statement
from sparring.worlds.numbers import ONE, U, X, Y, Z, add, chained, closed, disturb, eq, grow, mul
from sparring.worlds.propositions import (
    PREDICATES,
    Family,
    disjunction,
    exists,
    forall,
    imp,
    names_from,
    negation,
    number,
    prop,
)


def _multiple(rng: Random, step: int, start: int, variable: Expr) -> Expr:
    """``variable`` * step + start in some form."""
    if step == 0:
        return number(start)
    product = (
        variable if step == 1 else rng.choice([mul(variable, number(step)), mul(number(step), variable), add(*[variable] * step)])
    )
    if start == 0:
        return product
    return rng.choice([add(product, number(start)), add(number(start), product), number(start, product)])


def closure(rng: Random, size: int) -> Statement | None:
    """A predicate that holds at the start and is passed on, upwards or downwards, holds along the way, in many disguises."""
    names = names_from(PREDICATES, rng)
    start, step = rng.randint(0, 2), rng.choice((1, 1, 2, 3))

    def P(term: Expr) -> Expr:
        return prop(names[0], term)

    end = _multiple(rng, step, start, X)
    up, down = forall("x", imp(P(X), P(number(step, X)))), forall("x", imp(P(number(step, X)), P(X)))
    kind = rng.choices(("up", "down", "refuted", "open"), (5, 2, 1, 2))[0]
    if kind == "up":
        facts, conclusion = [P(number(start)), up], P(end)
    elif kind == "down":
        facts, conclusion = [down, P(end)], P(number(start))
    elif kind == "refuted":
        facts, conclusion = [negation(P(number(start))), down], negation(P(end))
    else:
        facts, conclusion = [P(Y), up], P(rng.choice([add(_multiple(rng, step, 0, X), Y), add(Y, _multiple(rng, step, 0, X))]))
    if kind in ("up", "open") and rng.random() < 0.5:
        facts, conclusion = _passed_on(rng, facts, conclusion, names)
    if size > 1 and rng.random() < 0.5:
        q = prop("q" if "q" not in names else "t")
        facts = [imp(q, facts[0]), *facts[1:], q]
    rng.shuffle(facts)
    wrapped = imp(*facts, forall("x", conclusion))
    return closed(wrapped)


def _passed_on(rng: Random, facts: list[Expr], conclusion: Expr, names: list[str]) -> tuple[list[Expr], Expr]:
    """The conclusion P t, and Q t with it."""
    target, other = conclusion[2][0], names[1]
    more = rng.randint(0, 1)
    rule = forall("x", imp(prop(names[0], X), prop(other, number(more, X))))
    shifted = prop(other, number(more, target))
    return [*facts, rule], rng.choice([shifted, ("and", conclusion, shifted), ("or", shifted, prop(names[2], target))])


def paired(rng: Random, size: int) -> Statement | None:
    """Two predicates that help each other along."""
    a, b, c, *_ = names_from(PREDICATES, rng)
    A, B = prop(a, X), prop(b, X)
    next_a, next_b, next_but_one = prop(a, ("succ", X)), prop(b, ("succ", X)), prop(a, number(2, X))
    at = number(rng.randint(0, 2))
    kinds: list[tuple[list[Expr], Expr]] = [
        ([prop(a, ZERO), prop(a, ONE), forall("x", imp(A, next_but_one))], ("and", A, next_a)),
        ([prop(a, ZERO), prop(a, ONE), forall("x", imp(A, next_a, next_but_one))], ("and", A, next_a)),
        ([prop(a, ZERO), forall("x", imp(A, next_b)), forall("x", imp(B, next_a))], ("or", A, B)),
        ([("or", prop(a, ZERO), prop(b, ZERO)), forall("x", imp(A, next_b)), forall("x", imp(B, next_a))], ("or", A, B)),
        ([prop(a, ZERO), forall("x", imp(A, ("and", B, next_a)))], ("and", A, B)),
        ([prop(a, ZERO), forall("x", imp(A, ("or", next_a, next_b))), forall("x", imp(B, next_a))], ("or", A, B)),
        ([prop(a, ZERO), prop(b, ZERO), forall("x", imp(A, B, ("and", next_a, next_b)))], ("and", A, B)),
        ([prop(a, ZERO), forall("x", imp(A, next_a)), forall("x", imp(A, B, next_b)), prop(b, ZERO)], ("and", A, B)),
        ([prop(a, ZERO), forall("x", prop(a, ("succ", X)))], A),
        ([prop(a, at), forall("x", imp(A, ("and", next_a, B)))], ("and", prop(a, add(X, at)), prop(b, add(X, at)))),
        ([exists("x", A), forall("x", imp(A, next_a))], exists("y", prop(a, add(X, Y)))),
    ]
    facts, end = rng.choice(kinds)
    rng.shuffle(facts)
    if size > 1 and rng.random() < 0.6:
        third = prop(c, X)
        extra = [(imp(A, third), A), (imp(B, third), B), (third, third)]
        rule, wanted = rng.choice(extra)
        if rule == third:
            facts, end = [*facts, forall("x", third)], ("and", end, third)
        elif end[0] == "and" and wanted in end[1:]:
            facts, end = [*facts, forall("x", rule)], rng.choice([third, ("and", third, end)])
    return closed(imp(*facts, forall("x", end)))


def relations(rng: Random, size: int) -> Statement | None:
    """A relation built up along the numbers, in steps of some widths."""
    name = rng.choice(("R", "L", "E", "r", "T"))

    def R(a: Expr, b: Expr) -> Expr:
        return prop(name, a, b)

    wide, high = rng.choice([(1, 1), (1, 1), (1, 2), (2, 1), (0, 1), (1, 0), (2, 2)])
    a, b = rng.randint(0, 1), rng.randint(0, 1)
    step = forall("x y", imp(R(X, Y), R(number(wide, X), number(high, Y))))
    ends = rng.choice(
        [
            ([R(number(a), number(b))], _multiple(rng, wide, a, X), _multiple(rng, high, b, X)),
            ([R(Y, Z)], add(_multiple(rng, wide, 0, X), Y) if wide else Y, add(_multiple(rng, high, 0, X), Z) if high else Z),
            ([forall("y", R(number(a), Y))], _multiple(rng, wide, a, X), add(_multiple(rng, high, 0, X), Z) if high else Z),
            (
                [forall("x", R(X, X))],
                add(_multiple(rng, wide, 0, X), Y) if wide else Y,
                add(_multiple(rng, high, 0, X), Y) if high else Y,
            ),
        ]
    )
    facts, left, right = [step, *ends[0]], ends[1], ends[2]
    conclusion = R(left, right)
    if rng.random() < 0.25:
        facts, conclusion = [*facts, forall("x y", imp(R(X, Y), R(Y, X)))], R(right, left)
    if size > 1 and rng.random() < 0.4:
        other = rng.choice(("P", "Q", "A"))
        facts, conclusion = [*facts, forall("x y", imp(R(X, Y), prop(other, Y)))], prop(other, conclusion[2][1])
    rng.shuffle(facts)
    return closed(imp(*facts, forall("x", conclusion)))


def inductive(rng: Random, size: int) -> Statement | None:
    """A small identity, to be proved by induction."""
    left = grow(rng, rng.randint(2, 1 + size), 0.4)
    right = disturb(rng, left, 0.8)
    return closed(eq(left, right)) if left != right else None


def divisible(rng: Random, size: int) -> Statement | None:
    """A number that is even, or that leaves one of some remainders, for all x."""
    even = rng.choice([mul(X, ("succ", X)), mul(("succ", X), X), add(mul(X, X), X), add(X, mul(X, X))])
    extra = rng.choice([None, add(Y, Y), mul(number(2), Y), number(2)]) if size > 1 else None
    k = rng.randint(2, 1 + size)
    shares = [eq(X, number(r, mul(Y, number(k)))) for r in range(k)]
    made = [
        forall("x", exists("z", eq(add(even, extra) if extra else even, add(Z, Z)))),
        forall("x", exists("y", disjunction(*rng.sample(shares, k)))),
        forall("x", exists("y", ("or", eq(X, add(Y, Y)), eq(X, ("succ", add(Y, Y)))))),
        forall("x", ("or", exists("y", eq(X, add(Y, Y))), exists("y", eq(X, ("succ", add(Y, Y)))))),
        forall("x", exists("y", eq(add(X, number(k)), number(rng.randint(0, k), Y)))),
        forall("x", ("or", eq(X, ZERO), exists("y", eq(X, ("succ", Y))))),
    ]
    formula = rng.choices(made, (4, 3, 1, 1, 1, 1))[0]
    if size > 2 and rng.random() < 0.5:
        formula = ("and", formula, rng.choice(made))
    return closed(formula)


def unequal(rng: Random, size: int) -> Statement | None:
    """Numbers that differ, and equations that cancel."""
    k, m = rng.randint(1, 1 + size), rng.randint(0, 2)
    a, b = number(k, X), rng.choice([add(X, Y), add(Y, X), X])
    other = rng.choice([X, add(X, Y), mul(X, Y)])
    made = [
        negation(eq(X, number(k, X))),
        negation(eq(number(k, X), X)),
        negation(eq(rng.choice([number(k, b), add(b, number(k))]), X)),
        imp(eq(number(k, X), number(k, Y)), eq(X, Y)),
        imp(eq(add(number(m, Z), X), add(number(m, Z), Y)), eq(X, Y)),
        imp(eq(add(X, number(k)), add(Y, number(k))), eq(X, Y)),
        imp(eq(add(X, number(k)), number(k + m)), eq(X, number(m))),
        imp(eq(a, number(m)), FALSE) if m < k else imp(eq(a, number(m)), eq(X, number(m - k))),
        imp(eq(add(X, Y), ZERO), eq(X, Y)),
        imp(eq(add(X, add(Y, Z)), ZERO), rng.choice([eq(Y, ZERO), eq(X, Z), ("and", eq(X, ZERO), eq(Z, ZERO))])),
        imp(eq(add(other, Z), other), eq(Z, ZERO)),
        imp(eq(X, number(k, Y)), negation(eq(X, number(rng.randint(0, k - 1))))),
        imp(eq(add(number(k, X), Z), add(number(k, X), U)), eq(number(m, Z), number(m, U))),
        imp(eq(mul(number(2), X), ZERO), eq(X, ZERO)),
    ]
    formula = rng.choice(made)
    if size > 1 and rng.random() < 0.4:
        name = names_from(PREDICATES, rng)[0]
        *premises, conclusion = chained(formula)
        if conclusion[0] == "eq":
            sides = conclusion[1:] if rng.random() < 0.5 else conclusion[:0:-1]
            formula = imp(*premises, prop(name, sides[0]), prop(name, sides[1]))
    return closed(formula)


INDUCTION: dict[str, Family] = {
    "closure": closure,
    "paired": paired,
    "relations": relations,
    "inductive": inductive,
    "divisible": divisible,
    "unequal": unequal,
}
