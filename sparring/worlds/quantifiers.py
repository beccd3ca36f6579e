"""Random statements about predicates of numbers: quantifiers moved about, instances, chains, relations."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from sparring.envs.kernel import FALSE, ZERO, Expr
from sparring.envs.printing import Statement
from sparring.worlds.propositions import (
    PREDICATES,
    Family,
    conjunction,
    exists,
    forall,
    imp,
    lifted,
    names_from,
    negation,
    number,
    prop,
    statement,
    var,
)

RELATIONS = ("R T", "L E", "E F", "r t")
X, Y, Z, U = map(var, "xyzu")


def _ways(A: Expr, B: Expr, B_of_y: Expr, q: Expr) -> tuple[list[tuple[Expr, Expr]], list[tuple[Expr, Expr]]]:
    """(what is equivalent, what follows one way); A and B are about x."""
    both, either = ("and", A, B), ("or", A, B)
    pairs = [
        (forall("x", both), ("and", forall("x", A), forall("x", B))),
        (exists("x", either), ("or", exists("x", A), exists("x", B))),
        (imp(exists("x", A), q), forall("x", imp(A, q))),
        (negation(exists("x", A)), forall("x", negation(A))),
        (exists("x", ("and", A, q)), ("and", exists("x", A), q)),
        (forall("x", imp(q, A)), imp(q, forall("x", A))),
        (negation(exists("x", both)), forall("x", imp(A, negation(B)))),
        (exists("x y", ("and", A, B_of_y)), ("and", exists("x", A), exists("x", B))),
        (imp(("or", exists("x", A), exists("x", B)), q), forall("x", ("and", imp(A, q), imp(B, q)))),
        (forall("x", ("and", A, q)), ("and", forall("x", A), q)),
        (exists("x", ("or", A, q)), ("or", exists("x", A), q)),
    ]
    ways = [
        (exists("x", imp(q, A)), imp(q, exists("x", A))),
        (exists("x", imp(A, q)), imp(forall("x", A), q)),
        (("or", forall("x", A), forall("x", B)), forall("x", either)),
        (exists("x", both), ("and", exists("x", A), exists("x", B))),
        (exists("x", negation(A)), negation(forall("x", A))),
        (exists("x", ("and", A, negation(B))), negation(forall("x", imp(A, B)))),
        (("and", forall("x", imp(A, B)), exists("x", negation(B))), exists("x", negation(A))),
        (("or", forall("x", A), q), forall("x", ("or", A, q))),
    ]
    return pairs, ways


def moved(rng: Random, size: int) -> Statement | None:
    """Quantifiers taken out of, or into, connectives and negations."""
    a, b, *_ = names_from(PREDICATES, rng)
    A, B = prop(a, X), prop(b, X)
    q = prop({"p": "t", "P": "U"}.get(a, "Q" if "Q" not in (a, b) else "W"))
    pairs, ways = _ways(A, B, prop(b, Y), q)
    left, right = rng.choice([*pairs, *((right, left) for left, right in pairs), *ways])
    third = prop(names_from(PREDICATES, rng)[2], X)
    made = (
        imp(left, right),
        imp(q, left, ("and", right, q)),
        imp(("or", left, q), ("or", right, q)),
        imp(negation(right), negation(left)),
        imp(imp(right, q), left, q),
        imp(("and", left, forall("x", third)), ("and", forall("x", third), right)),
        imp(("or", left, exists("x", third)), ("or", exists("x", third), right)),
        imp(forall("x", imp(third, left)), exists("x", third), right),
    )
    return statement(made[0] if size == 1 and rng.random() < 0.6 else rng.choice(made))


def instances(rng: Random, size: int) -> Statement | None:
    """Facts about some numbers, rules that lead from one to the next, and a fact that they lead to."""
    count = rng.randint(1, min(3, 1 + size // 2))
    names = names_from(PREDICATES, rng)[:count]
    step = rng.choice((1, 1, 2))
    start = rng.choice([ZERO, number(rng.randint(1, 2)), Y])
    rules: list[Expr] = []
    for place in range(count):
        source, target = prop(names[place], X), prop(names[(place + 1) % count], number(step, X))
        plain = prop(names[(place + 1) % count], X)
        advances = place == count - 1 or rng.random() < 0.6
        rules.append(forall("x", imp(source, target if advances else plain)))
    reached, at, place = prop(names[0], start), start, 0
    for _ in range(rng.randint(2, 2 + size)):
        rule = rules[place][1]
        moves_on = rule[2][2][0][0] == "succ"
        at = number(step, at) if moves_on else at
        place = (place + 1) % count
    end = prop(names[place], at)
    if rng.random() < 0.25:
        end = exists("x", prop(names[place], number(step, X)))
    rng.shuffle(rules)
    facts = [*rules, reached] if rng.random() < 0.5 else [reached, *rules]
    made = imp(*facts, end)
    return statement(forall("y", made) if start == Y else made)


def related(rng: Random, size: int) -> Statement | None:
    """A relation that is transitive, and perhaps symmetric, euclidean or kept by successors, and a chain of pairs."""
    name = names_from(RELATIONS, rng)[0]

    def R(a: Expr, b: Expr) -> Expr:
        return prop(name, a, b)

    points = [var(v) for v in "xyzuvw"[: rng.randint(2, min(5, 2 + size)) + 1]]
    symmetric, kept = rng.random() < 0.5, rng.random() < 0.3
    joined = rng.choice([imp(R(X, Y), R(X, Z), R(Y, Z)), imp(R(X, Y), R(Z, Y), R(X, Z))]) if rng.random() < 0.2 else None
    rules = [forall("x y z", joined or imp(R(X, Y), R(Y, Z), R(X, Z)))]
    links = [R(a, b) if not symmetric or rng.random() < 0.6 else R(b, a) for a, b in pairwise(points)]
    if symmetric or joined:
        rules.append(forall("x y", imp(R(X, Y), R(Y, X))))
    ends = (points[0], points[-1])
    if kept:
        rules.append(forall("x y", imp(R(X, Y), R(("succ", X), ("succ", Y)))))
        count = rng.randint(1, 2)
        ends = (number(count, ends[0]), number(count, ends[1]))
    if symmetric and rng.random() < 0.5:
        ends = (ends[1], ends[0])
    if rng.random() < 0.5:
        rng.shuffle(links)
    rng.shuffle(rules)
    names, end = " ".join(point[1] for point in points), R(*ends)
    if rng.random() < 0.25:
        return statement(imp(*rules, forall(names, imp(conjunction(*links), end))))
    if rng.random() < 0.25:
        return statement(imp(*rules, exists(names, conjunction(*links)), exists(f"{points[0][1]} {points[-1][1]}", end)))
    return statement(imp(*rules, forall(names, imp(*links, end))))


def witnessed(rng: Random, size: int) -> Statement | None:
    """Something exists because something else does, through rules and relations."""
    a, b, c, *_ = names_from(PREDICATES, rng)
    relation = rng.choice([name for name in ("R", "L", "E", "r") if name not in (a, b, c)])

    def R(one: Expr, two: Expr) -> Expr:
        return prop(relation, one, two)

    A, B, C = (lambda t, name=name: prop(name, t) for name in (a, b, c))
    step = rng.choice([lambda t: ("succ", t), lambda t: ("add", t, t), lambda t: t, lambda t: number(2, t)])
    premises: list[tuple[list[Expr], Expr]] = [
        ([exists("x", forall("y", R(X, Y)))], forall("y", exists("x", R(X, Y)))),
        ([forall("x", imp(A(X), exists("y", R(X, Y)))), exists("x", A(X))], exists("x y", R(X, Y))),
        ([forall("x", imp(A(X), B(step(X)))), exists("x", A(X))], exists("x", B(X))),
        ([forall("x", exists("y", R(X, Y))), forall("x y", imp(R(X, Y), A(Y)))], exists("x", A(X))),
        ([forall("x", ("or", A(X), B(X))), exists("x", negation(A(X)))], exists("x", B(X))),
        ([exists("x", ("and", A(X), B(X))), forall("x", imp(A(X), C(step(X))))], exists("x", C(X))),
        ([forall("x y", imp(R(X, Y), ("and", A(X), B(Y)))), exists("x", R(X, X))], exists("x", ("and", A(X), B(X)))),
        ([exists("x", forall("y", imp(A(Y), R(X, Y)))), exists("x", A(X))], exists("x y", R(X, Y))),
        ([forall("x y", imp(A(X), B(Y), R(X, Y))), exists("x", A(X)), exists("x", B(X))], exists("x y", R(X, Y))),
        ([forall("x", imp(A(X), negation(B(X)))), exists("x", ("and", A(X), B(X)))], FALSE),
        ([forall("x y", imp(R(X, Y), R(Y, X))), exists("x", forall("y", R(X, Y)))], exists("x", forall("y", R(Y, X)))),
        ([forall("x", imp(exists("y", R(X, Y)), A(X))), exists("x y", R(X, Y))], exists("x", A(X))),
    ]
    facts, end = rng.choice(premises)
    if size > 1 and end != FALSE and rng.random() < 0.7:
        extra = [imp(end, prop("q" if a != "p" else "t")), forall("x", imp(C(X), B(step(X))))]
        facts = [*facts, extra[0]]
        end = extra[0][2]
    if size > 2 and rng.random() < 0.7:
        facts = [*facts, forall("x", C(X))]
        end = ("and", end, exists("x", C(step(X))))
    rng.shuffle(facts)
    return statement(imp(*facts, end))


QUANTIFIED: dict[str, Family] = {
    "lifted": lifted,
    "moved": moved,
    "instances": instances,
    "related": related,
    "witnessed": witnessed,
}
