"""Random statements of arithmetic: identities, equations from hypotheses, induction, witnesses, cases."""

from __future__ import annotations

from random import Random

from sparring.envs.kernel import FALSE, ZERO, Expr
from sparring.envs.printing import Statement
from sparring.worlds.proofstate import exchange, subterms
from sparring.worlds.propositions import (
    PREDICATES,
    Family,
    conjunction,
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
    links = [eq(a, b) if rng.random() < 0.6 else eq(b, a) for a, b in zip(points, points[1:], strict=False)]
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


# ------------------------------------------------------------------------------------------------ induction


def closure(rng: Random, size: int) -> Statement | None:
    """A predicate that holds at the start and is passed on holds everywhere, in many disguises."""
    name, other, *_ = names_from(PREDICATES, rng)

    def P(term: Expr) -> Expr:
        return prop(name, term)

    def Q(term: Expr) -> Expr:
        return prop(other, term)

    c, k = rng.randint(0, 2), rng.randint(1, 3)
    start, rule = P(number(c)), forall("x", imp(P(X), P(number(k, X))))
    shifted = rng.choice([add(X, number(c)), add(number(c), X)])
    steps = rng.choice([mul(X, number(k)), add(mul(X, number(k)), number(c))] if k > 1 else [shifted])
    both = forall("x", imp(P(X), ("and", Q(X), P(("succ", X)))))
    kinds: list[tuple[list[Expr], Expr]] = [
        ([start, forall("x", imp(P(X), P(("succ", X))))], forall("x", P(shifted))),
        ([P(ZERO), rule], forall("x", P(mul(X, number(k))))),
        ([start, rule], forall("x", P(steps if k > 1 and c == 0 else add(mul(X, number(k)), number(c))))),
        ([P(ZERO), P(ONE), forall("x", imp(P(X), P(number(2, X))))], forall("x", ("and", P(X), P(("succ", X))))),
        (
            [P(ZERO), forall("x", imp(P(X), Q(("succ", X)))), forall("x", imp(Q(X), P(("succ", X))))],
            forall("x", ("or", P(X), Q(X))),
        ),
        ([P(ZERO), both], forall("x", ("and", P(X), Q(X)))),
        ([P(ZERO), both], forall("x", Q(X))),
        (
            [P(ZERO), forall("x", imp(P(X), P(("succ", X)))), forall("x", imp(P(X), Q(X)))],
            forall("x", Q(number(rng.randint(0, 2), X))),
        ),
        ([start, forall("x", imp(P(X), P(add(X, Y))))], forall("x", P(add(mul(X, Y), number(c))))),
        ([P(Y), forall("x", imp(P(X), P(("succ", X))))], forall("x", P(rng.choice([add(X, Y), add(Y, X)])))),
        ([P(ZERO), forall("x", imp(P(X), P(("succ", X))))], forall("x", P(grow(rng, rng.randint(2, 3), 0.3)))),
        ([forall("x", imp(P(("succ", X)), P(X)))], forall("x", imp(P(X), P(ZERO)))),
        ([forall("x", imp(P(("succ", X)), P(X)))], forall("x", imp(P(add(X, Y)), P(Y)))),
        ([negation(P(ZERO)), forall("x", imp(P(("succ", X)), P(X)))], forall("x", negation(P(X)))),
        ([P(ZERO), forall("x", P(("succ", X)))], forall("x", P(X))),
    ]
    facts, end = rng.choice(kinds)
    if rng.random() < 0.3:
        rng.shuffle(facts)
    if size > 1 and rng.random() < 0.5:
        q = prop(next(n for n in ("q", "U", "K") if n not in (name, other)))
        facts, end = ([imp(q, facts[0]), *facts[1:], q], end) if rng.random() < 0.5 else (facts, imp(imp(end, q), q))
    if size > 2 and rng.random() < 0.6:
        third = prop(names_from(PREDICATES, rng)[2], X)
        facts, end = [*facts, forall("x", third)], ("and", end, forall("x", third))
    return closed(imp(*facts, end))


def relations(rng: Random, size: int) -> Statement | None:
    """A relation built up along the numbers."""
    name = rng.choice(("R", "L", "E", "r", "T"))

    def R(a: Expr, b: Expr) -> Expr:
        return prop(name, a, b)

    diagonal = forall("x y", imp(R(X, Y), R(("succ", X), ("succ", Y))))
    right, left = forall("x y", imp(R(X, Y), R(X, ("succ", Y)))), forall("x y", imp(R(X, Y), R(("succ", X), Y)))
    zero_left, zero_right = forall("x", R(ZERO, X)), forall("x", R(X, ZERO))
    k = rng.randint(1, 2)
    kinds: list[tuple[list[Expr], Expr]] = [
        ([R(ZERO, ZERO), diagonal], forall("x", R(X, X))),
        ([zero_left, diagonal], forall("x y", R(X, rng.choice([add(X, Y), add(Y, X)])))),
        ([zero_right, diagonal], forall("x y", R(rng.choice([add(X, Y), add(Y, X)]), X))),
        ([forall("x", R(X, X)), right], forall("x y", R(X, rng.choice([add(X, Y), add(Y, X)])))),
        ([forall("x", R(X, X)), left], forall("x y", R(rng.choice([add(X, Y), add(Y, X)]), X))),
        ([R(ZERO, ZERO), left, right], forall("x y", R(X, Y))),
        ([R(ZERO, number(k)), diagonal], forall("x", R(X, rng.choice([add(X, number(k)), number(k, X)])))),
        ([zero_left, left], forall("x y", R(X, Y))),
        ([zero_right, right], forall("x y", R(X, Y))),
        (
            [R(ZERO, ZERO), forall("x y", imp(R(X, Y), R(("succ", X), number(2, Y))))],
            forall("x", R(X, rng.choice([add(X, X), mul(X, number(2))]))),
        ),
        ([R(ZERO, ZERO), forall("x y", imp(R(X, Y), R(("succ", X), add(Y, Z))))], forall("x", R(X, mul(X, Z)))),
        ([forall("x", R(X, ZERO)), forall("x y", imp(R(X, Y), R(X, add(X, Y))))], forall("x y", R(X, mul(Y, X)))),
        ([forall("x y", imp(R(X, Y), R(("succ", X), ("succ", Y)))), R(Y, Z)], forall("x", R(add(X, Y), add(X, Z)))),
    ]
    facts, end = rng.choice(kinds)
    rng.shuffle(facts)
    if size > 1 and rng.random() < 0.5:
        q = prop("q")
        facts, end = ([*facts, imp(end, q)], q) if rng.random() < 0.5 else ([imp(q, facts[0]), q, *facts[1:]], end)
    return closed(imp(*facts, end))


def divisible(rng: Random, size: int) -> Statement | None:
    """A number that is even, or that leaves one of some remainders, for all x."""
    even = rng.choice([mul(X, ("succ", X)), mul(("succ", X), X), add(mul(X, X), X), add(X, mul(X, X))])
    extra = rng.choice([None, add(Y, Y), mul(number(2), Y), number(2)]) if size > 1 else None
    k = rng.randint(2, 1 + size)
    shares = [eq(X, number(r, mul(Y, number(k)))) for r in range(k)]
    made = [
        forall("x", exists("z", eq(add(even, extra) if extra else even, add(Z, Z)))),
        forall("x", exists("y", _any(rng.sample(shares, k)))),
        forall("x", exists("y", ("or", eq(X, add(Y, Y)), eq(X, ("succ", add(Y, Y)))))),
        forall("x", ("or", exists("y", eq(X, add(Y, Y))), exists("y", eq(X, ("succ", add(Y, Y)))))),
        forall("x", exists("y", eq(add(X, number(k)), number(rng.randint(0, k), Y)))),
        forall("x", ("or", eq(X, ZERO), exists("y", eq(X, ("succ", Y))))),
    ]
    formula = rng.choices(made, (4, 3, 1, 1, 1, 1))[0]
    if size > 2 and rng.random() < 0.5:
        formula = ("and", formula, rng.choice(made))
    return closed(formula)


def _any(formulas: list[Expr]) -> Expr:
    result = formulas[-1]
    for formula in reversed(formulas[:-1]):
        result = ("or", formula, result)
    return result


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
        *premises, conclusion = _chain(formula)
        if conclusion[0] == "eq":
            sides = conclusion[1:] if rng.random() < 0.5 else conclusion[:0:-1]
            formula = imp(*premises, prop(name, sides[0]), prop(name, sides[1]))
    return closed(formula)


def _chain(formula: Expr) -> list[Expr]:
    return [formula[1], *_chain(formula[2])] if formula[0] == "imp" and formula[2] != FALSE else [formula]


INDUCTION: dict[str, Family] = {"closure": closure, "relations": relations, "divisible": divisible, "unequal": unequal}


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
        *premises, conclusion = _chain(formula)
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
    among = _any([eq(X, number(value)) for value in values])
    every = [P(number(value)) for value in values]
    made = [
        imp(among, conjunction(*every), P(X)),
        imp(among, *rng.sample(every, len(every)), P(X)),
        imp(among, negation(eq(X, number(values[0]))), _any([eq(X, number(value)) for value in values[1:]])),
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
