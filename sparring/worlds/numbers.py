"""Random statements of arithmetic: identities, equations from hypotheses, inequalities, witnesses, cases."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from sparring.envs.kernel import FALSE, ZERO, Expr
from sparring.envs.printing import Statement
from sparring.worlds.proofstate import exchange, subterms
from sparring.worlds.propositions import (
    PREDICATES,
    Family,
    conjunction,
    disjunction,
    exists,
    forall,
    imp,
    names_from,
    negation,
    number,
    prop,
    statement,
    var,
)

NAMES = "xyzu"
X, Y, Z, U = map(var, NAMES)
ONE = number(1)


def add(*terms: Expr) -> Expr:
    """A sum that associates to the left."""
    result = terms[0]
    for term in terms[1:]:
        result = ("add", result, term)
    return result


def mul(left: Expr, right: Expr) -> Expr:
    return ("mul", left, right)


def eq(left: Expr, right: Expr) -> Expr:
    return ("eq", left, right)


def le(left: Expr, right: Expr, witness: str = "w") -> Expr:
    return exists(witness, eq(add(left, var(witness)), right))


def closed(formula: Expr) -> Statement:
    """The statement that the formula holds for all x, y, z, u that it mentions."""
    used = {term[1] for term in subterms(formula) if term[0] == "var"}
    return statement(forall(" ".join(name for name in NAMES if name in used), formula))


def chained(formula: Expr) -> list[Expr]:
    """The premises of a formula, and its conclusion."""
    return [formula[1], *chained(formula[2])] if formula[0] == "imp" and formula[2] != FALSE else [formula]


def grow(rng: Random, leaves: int, products: float) -> Expr:
    """A term with that many leaves, mostly variables; ``products``: the share of multiplications."""
    if leaves == 1:
        return number(rng.randint(0, 2)) if rng.random() < 0.08 else var(rng.choice(NAMES[:3]))
    left = rng.randint(1, leaves - 1)
    tag = "mul" if rng.random() < products else "add"
    made = (tag, grow(rng, left, products), grow(rng, leaves - left, products))
    return ("succ", made) if rng.random() < 0.08 else made


def disturb(rng: Random, term: Expr, expand: float) -> Expr:
    """An equal term: summands and factors exchanged and regrouped, products expanded or not, zeros and successors moved."""
    if term[0] in ("var", "zero"):
        if rng.random() < 0.06:
            return rng.choice([("add", term, ZERO), ("mul", ONE, term), ("add", ZERO, term), ("mul", term, ONE)])
        return term
    if term[0] == "succ":
        inner = disturb(rng, term[1], expand)
        if inner[0] == "add" and rng.random() < 0.5:
            return rng.choice([("add", ("succ", inner[1]), inner[2]), ("add", inner[1], ("succ", inner[2]))])
        return ("succ", inner)
    tag, left, right = term
    if tag == "mul" and right[0] == "add" and rng.random() < expand:
        return disturb(rng, ("add", mul(left, right[1]), mul(left, right[2])), expand)
    if tag == "mul" and left[0] == "add" and rng.random() < expand:
        return disturb(rng, ("add", mul(left[1], right), mul(left[2], right)), expand)
    if left[0] == tag and rng.random() < 0.5:
        return disturb(rng, (tag, left[1], (tag, left[2], right)), expand)
    left, right = disturb(rng, left, expand), disturb(rng, right, expand)
    return (tag, right, left) if rng.random() < 0.5 else (tag, left, right)


# ------------------------------------------------------------------------------------------------ algebra


def identity(rng: Random, size: int) -> Statement | None:
    """A polynomial in two forms."""
    leaves = rng.randint(2, 3 + size)
    products = rng.choice((0.0, 0.3, 0.6))
    left = grow(rng, leaves, products)
    right = disturb(rng, left, rng.choice((0.0, 0.5, 1.0)))
    return closed(eq(left, right)) if left != right else None


def substitution(rng: Random, size: int) -> Statement | None:
    """A term in two forms, one of them with parts replaced by what hypotheses say is equal."""
    term = grow(rng, rng.randint(2, 2 + size), rng.choice((0.0, 0.3)))
    pieces = [part for part in subterms(term) if part[0] != "zero"]
    premises: list[Expr] = []
    after = term
    for _ in range(rng.randint(1, min(3, size))):
        old = rng.choice(pieces)
        new = rng.choice([U, Z, ("succ", rng.choice((X, Y))), add(U, rng.choice((X, Y))), ZERO, mul(U, Y)])
        changed = exchange(after, old, new)
        if changed != after and old != new:
            premises.append(eq(old, new) if rng.random() < 0.6 else eq(new, old))
            after = changed
    after = disturb(rng, after, 0.0) if size > 1 or rng.random() < 0.3 else after
    if not premises or term == after:
        return None
    rng.shuffle(premises)
    sides = (term, after) if rng.random() < 0.6 else (after, term)
    if rng.random() < 0.2:
        name = names_from(PREDICATES, rng)[0]
        return closed(imp(*premises, prop(name, sides[0]), prop(name, sides[1])))
    return closed(imp(*premises, eq(*sides)))


def transitivity(rng: Random, size: int) -> Statement | None:
    """A chain of equations, some of them backwards, in any order; perhaps with something around both ends."""
    count = rng.randint(2, min(4, 1 + size))
    points: list[Expr] = [var(name) for name in "xyzuv"[: count + 1]]
    for place in range(1, count):
        if rng.random() < 0.3:
            points[place] = rng.choice([("succ", points[place]), add(points[place], points[0]), number(rng.randint(1, 2))])
    links = [eq(a, b) if rng.random() < 0.6 else eq(b, a) for a, b in pairwise(points)]
    rng.shuffle(links)
    ends = [points[0], points[-1]]
    if rng.random() < 0.5:
        about = rng.choice(
            [lambda t: ("succ", t), lambda t: add(t, X), lambda t: mul(t, Y), lambda t: add(Y, t), lambda t: add(t, t)]
        )
        ends = [about(end) for end in ends]
    if rng.random() < 0.3:
        ends.reverse()
    formula = imp(*links, eq(*ends))
    return statement(forall(" ".join(name for name in "xyzuv"[: count + 1]), formula))


def carried(rng: Random, size: int) -> Statement | None:
    """A predicate of a term, from the same predicate of a term that is equal to it."""
    name, other, *_ = names_from(PREDICATES, rng)
    term = grow(rng, rng.randint(2, 2 + size), 0.3)
    changed = disturb(rng, term, 0.3)
    if term == changed:
        return None
    if rng.random() < 0.4:
        return closed(imp(prop(name, term), prop(name, changed)))
    rule = forall("x", imp(prop(name, X), prop(other, X)))
    return closed(imp(rule, prop(name, term), prop(other, changed)))


ALGEBRA: dict[str, Family] = {
    "identity": identity,
    "substitution": substitution,
    "transitivity": transitivity,
    "carried": carried,
}


# ------------------------------------------------------------------------------------------------ mixed


def ordered(rng: Random, size: int) -> Statement | None:
    """Inequalities (``exists z, x + z = y``) from inequalities and equations."""
    k = rng.randint(1, 1 + size)
    a, b = grow(rng, rng.randint(1, size), 0.2), grow(rng, rng.randint(1, 2), 0.2)
    made = [
        le(a, disturb(rng, add(a, b), 0.0)),
        le(X, number(k, add(X, b))),
        imp(le(X, Y), le(X, add(Y, b))),
        imp(le(X, Y), le(number(k, X), number(k, Y))),
        imp(le(number(k, X), number(k, Y)), le(X, Y)),
        imp(le(X, Y), rng.choice([le(add(Z, X), add(Z, Y)), le(add(X, Z), add(Y, Z))])),
        imp(le(X, Y), le(mul(Z, X), mul(Z, Y))),
        imp(le(X, Y), le(Y, Z), le(X, Z)),
        imp(le(X, Y), le(Y, Z), le(Z, U), le(X, U)),
        imp(le(X, Y), le(Z, U), le(add(X, Z), add(Y, U))),
        imp(le(X, Y), eq(Y, Z), le(X, add(Z, b))),
        imp(le(number(k, X), Y), le(X, Y)),
        imp(le(X, ZERO), eq(X, ZERO)),
        imp(le(number(k, X), ZERO), FALSE),
        imp(le(number(k, X), X), FALSE),
        imp(eq(X, add(Y, b)), le(Y, X)),
        imp(le(add(X, b), Y), le(X, Y)),
    ]
    formula = rng.choice(made)
    if size > 1 and rng.random() < 0.35:
        name = names_from(PREDICATES, rng)[0]
        *premises, conclusion = chained(formula)
        if conclusion[0] == "ex":
            formula = imp(*premises, imp(conclusion, prop(name)), prop(name))
    return closed(formula)


def witness(rng: Random, size: int) -> Statement | None:
    """A number with a property that an equation and facts about predicates determine."""
    name, other, *_ = names_from(PREDICATES, rng)
    a, b = grow(rng, rng.randint(1, size), 0.3), grow(rng, rng.randint(1, 2), 0.0)
    k = rng.randint(1, 2)
    changed = disturb(rng, add(a, b), 0.3)
    w = var("w")
    made = [
        exists("w", eq(add(a, w), changed)),
        exists("w", eq(number(k, w), number(k + rng.randint(0, 2), a))),
        imp(prop(name, a), exists("w", ("and", prop(name, w), eq(w, disturb(rng, a, 0.0))))),
        imp(prop(name, number(k, X)), eq(Y, number(k, X)), exists("w", prop(name, w))),
        imp(prop(name, X), eq(X, a), exists("w", ("and", prop(name, w), eq(w, a)))),
        imp(exists("w", ("and", prop(name, w), eq(w, a))), prop(name, a)),
        imp(forall("w", imp(eq(w, a), prop(name, w))), prop(name, a)),
        imp(
            exists("w", ("and", eq(w, number(k)), prop(name, w))),
            forall("w", imp(prop(name, w), prop(other, w))),
            prop(other, number(k)),
        ),
        imp(exists("w", eq(X, add(w, w))), exists("w", eq(Y, add(w, w))), exists("w", eq(add(X, Y), add(w, w)))),
        imp(exists("w", eq(X, mul(Z, w))), exists("w", eq(mul(X, Y), mul(Z, w)))),
        imp(exists("w", eq(X, mul(Z, w))), exists("w", eq(Y, mul(Z, w))), exists("w", eq(add(X, Y), mul(Z, w)))),
        imp(exists("w", eq(X, add(w, w))), exists("w", eq(number(2, X), add(w, w)))),
        imp(exists("w", eq(X, number(1, add(w, w)))), exists("w", eq(number(1, X), add(w, w)))),
        imp(exists("w", eq(number(k, X), add(w, Y))), exists("w", eq(add(X, number(k)), add(w, Y)))),
    ]
    return closed(rng.choice(made))


def distinguished(rng: Random, size: int) -> Statement | None:
    """Cases of a number, told apart by what is impossible."""
    name, other, *_ = names_from(PREDICATES, rng)

    def P(term: Expr) -> Expr:
        return prop(name, term)

    k, m = rng.randint(1, 1 + size), rng.randint(0, 1)
    values = rng.sample(range(4), min(3, 1 + size))
    among = disjunction(*[eq(X, number(value)) for value in values])
    every = [P(number(value)) for value in values]
    made = [
        imp(among, conjunction(*every), P(X)),
        imp(among, *rng.sample(every, len(every)), P(X)),
        imp(among, negation(eq(X, number(values[0]))), disjunction(*[eq(X, number(value)) for value in values[1:]])),
        imp(P(ZERO), forall("y", P(("succ", Y))), P(rng.choice([X, add(X, Y), mul(X, Y)]))),
        imp(eq(X, number(k, Y)), ("or", eq(X, ZERO), prop(other)), prop(other)),
        imp(eq(X, number(k, Y)), ("or", eq(X, ZERO), P(X)), P(number(k, Y))),
        imp(eq(X, ZERO), eq(X, number(k, Y)), P(Z)),
        imp(eq(X, Y), eq(X, number(k, Y)), FALSE),
        imp(P(ZERO), negation(P(X)), negation(eq(X, ZERO))),
        imp(P(X), negation(P(number(k, Y))), negation(eq(X, number(k, Y)))),
        imp(("or", eq(X, ZERO), eq(Y, ZERO)), eq(mul(X, Y), ZERO)),
        imp(eq(add(X, Y), ZERO), P(X), P(Y)),
        imp(eq(add(X, Y), ZERO), P(ZERO), ("and", P(X), P(Y))),
        imp(negation(eq(X, ZERO)), exists("w", eq(X, ("succ", var("w"))))),
        imp(eq(add(X, Y), ONE), ("or", eq(X, ZERO), eq(Y, ZERO))),
        imp(forall("x", ("or", eq(X, number(m)), P(X))), P(number(m + k))),
        imp(("or", eq(number(k, X), number(k, Y)), P(Z)), eq(X, Y) if m else negation(P(Z)), eq(X, Y)),
    ]
    formula = rng.choice(made)
    if size > 2 and rng.random() < 0.6:
        q = prop("q" if "q" not in (name, other) else "t")
        formula = imp(imp(formula, q), q)
    return closed(formula)


MIXED: dict[str, Family] = {"ordered": ordered, "witness": witness, "distinguished": distinguished}
