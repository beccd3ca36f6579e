"""Random statements of propositional and of quantified logic. Every family is a function (rng, size) -> statement or None where the
draw came to nothing; a bigger ``size`` (from 1) makes longer proofs. Whether a statement holds is found out elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from random import Random

from sparring.envs.kernel import FALSE, ZERO, Expr, Fuel, abstract
from sparring.envs.printing import Statement
from sparring.worlds.sequent import Decider, TooHard

Family = Callable[[Random, int], Statement | None]

ATOMS = ("p q r s t", "A B C D E", "a b c d e", "P Q R T U", "X Y Z W V")
PREDICATES = ("P Q R T", "A B C D", "F G H K", "p q r s")


def imp(*formulas: Expr) -> Expr:
    """A -> B -> ... -> C."""
    return reduce(lambda right, left: ("imp", left, right), reversed(formulas))


def negation(formula: Expr) -> Expr:
    return ("imp", formula, FALSE)


def conjunction(*formulas: Expr) -> Expr:
    return reduce(lambda right, left: ("and", left, right), reversed(formulas))


def disjunction(*formulas: Expr) -> Expr:
    return reduce(lambda right, left: ("or", left, right), reversed(formulas))


def forall(variables: str, formula: Expr) -> Expr:
    """For all numbers that ``variables`` names, separated by spaces."""
    return _bind("all", variables, formula)


def exists(variables: str, formula: Expr) -> Expr:
    return _bind("ex", variables, formula)


def _bind(tag: str, variables: str, formula: Expr) -> Expr:
    for name in reversed(variables.split()):
        formula = (tag, abstract(formula, ("var", name), Fuel()))
    return formula


def var(name: str) -> Expr:
    return ("var", name)


def number(value: int, base: Expr = ZERO) -> Expr:
    """``value`` successors of ``base``."""
    return reduce(lambda term, _: ("succ", term), range(value), base)


def prop(name: str, *terms: Expr) -> Expr:
    return ("pred", name, terms)


def names_from(pools: Sequence[str], rng: Random) -> list[str]:
    return rng.choice(pools).split()


def statement(formula: Expr) -> Statement:
    """The statement of a formula over whatever predicates it mentions, in the order of their names."""
    found: dict[str, int] = {}
    stack = [formula]
    while stack:
        part = stack.pop()
        if part[0] == "pred":
            found[part[1]] = len(part[2])
        stack += part[2] if part[0] == "pred" else [inner for inner in part[1:] if isinstance(inner, tuple)]
    return Statement(tuple(sorted(found.items(), key=lambda symbol: (symbol[1], symbol[0]))), formula)


# ------------------------------------------------------------------------------------------------ propositional


def _formula(rng: Random, atoms: Sequence[Expr], depth: int) -> Expr:
    if depth == 0 or rng.random() < 0.15:
        atom = rng.choice(atoms)
        return negation(atom) if rng.random() < 0.2 else atom
    kind = rng.choices(("imp", "and", "or", "not"), (4, 3, 3, 1))[0]
    if kind == "not":
        return negation(_formula(rng, atoms, depth - 1))
    left, right = _formula(rng, atoms, depth - 1), _formula(rng, atoms, rng.randint(0, depth - 1))
    return (kind, right, left) if rng.random() < 0.5 else (kind, left, right)


def is_silly(formula: Expr) -> bool:
    """Whether some connective joins a formula with itself or with its negation."""
    if formula[0] not in ("and", "or", "imp"):
        return False
    _, left, right = formula
    return left == right or right == negation(left) or left == negation(right) or is_silly(left) or is_silly(right)


def entailed(rng: Random, size: int) -> Statement | None:
    """Random premises and a random conclusion that follows from all of them and from no fewer."""
    atoms = [prop(name) for name in names_from(ATOMS, rng)[: rng.randint(2, min(5, 2 + size))]]
    decider = Decider()
    for _ in range(300):
        premises = [_formula(rng, atoms, rng.choice((1, 1, 2))) for _ in range(rng.randint(1, 1 + size))]
        conclusion = _formula(rng, atoms, rng.choice((0, 1, 1, 2)))
        if any(map(is_silly, (*premises, conclusion))) or len(set(premises)) < len(premises):
            continue
        if is_tight(decider, premises, conclusion):
            return statement(imp(*premises, conclusion))
    return None


def is_tight(decider: Decider, premises: Sequence[Expr], conclusion: Expr) -> bool:
    """Whether the conclusion follows from the premises, and not without one of them."""
    try:
        facts = frozenset(premises)
        return decider.holds(facts, conclusion) and not any(decider.holds(facts - {fact}, conclusion) for fact in facts)
    except TooHard:
        return False


def chain(rng: Random, size: int) -> Statement | None:
    """Implications that lead from one atom to another, some of them joining or parting the way, in any order."""
    atoms = [prop(name) for name in names_from(ATOMS, rng)]
    rng.shuffle(atoms)
    length = min(len(atoms) - 1, 1 + rng.randint(1, size))
    premises: list[Expr] = []
    for place in range(length):
        source, target = atoms[place], atoms[place + 1]
        earlier = rng.choice(atoms[: place + 1])
        kinds: list[Expr] = [imp(source, target), imp(source, earlier, target), imp(("or", source, earlier), target)]
        kinds += [imp(source, ("and", target, earlier)), imp(("and", earlier, source), target), imp(imp(earlier, source), target)]
        premises.append(rng.choices(kinds, (4, 2, 1, 1, 1, 1))[0])
    start, end = atoms[0], atoms[length]
    conclusion = rng.choice(
        [imp(start, end), imp(negation(end), negation(start)), imp(start, ("and", end, rng.choice(atoms[:length])))]
    )
    rng.shuffle(premises)
    return None if is_silly(conclusion) or any(map(is_silly, premises)) else statement(imp(*premises, conclusion))


def cases(rng: Random, size: int) -> Statement | None:
    """Something follows in each case of a disjunction."""
    atoms = [prop(name) for name in names_from(ATOMS, rng)]
    rng.shuffle(atoms)
    goal, others = atoms[0], atoms[1:]
    count = rng.randint(2, min(4, 1 + size))
    premises: list[Expr] = [disjunction(*others[:count])]
    for atom in others[:count]:
        helper = rng.choice(others)
        kinds = [
            imp(atom, goal),
            imp(("and", atom, helper), goal),
            negation(atom),
            imp(atom, ("and", helper, goal)),
            imp(atom, helper, goal),
        ]
        premises.append(rng.choices(kinds, (4, 1, 1, 1, 1))[0])
        if is_silly(premises[-1]):
            return None
        if premises[-1][0] == "imp" and helper in (premises[-1][1], premises[-1][2][1:2]) and helper not in premises:
            premises.append(helper)
    rng.shuffle(premises)
    conclusion = rng.choice([goal, ("or", goal, rng.choice(others)), negation(negation(goal))])
    return statement(imp(*premises, conclusion)) if is_tight(Decider(), premises, conclusion) else None


def doubly_negated(rng: Random, size: int) -> Statement | None:
    """What only classical logic proves, doubly negated (V. Glivenko 1929), or from the excluded middle of its atoms."""
    atoms = [prop(name) for name in names_from(ATOMS, rng)[: rng.randint(1, 1 + size)]]
    decider = Decider()
    for _ in range(300):
        formula = _formula(rng, atoms, rng.choice((2, 2, 3)))
        if is_silly(formula) or not _is_classical(formula, atoms):
            continue
        try:
            if decider.holds(frozenset(), formula):
                continue
            middle = [("or", atom, negation(atom)) for atom in atoms]
            if rng.random() < 0.5 and is_tight(decider, middle, formula):
                return statement(imp(*middle, formula))
        except TooHard:
            return None
        return statement(negation(negation(formula)))
    return None


def _is_classical(formula: Expr, atoms: Sequence[Expr]) -> bool:
    def truth(part: Expr, values: dict[Expr, bool]) -> bool:
        if part[0] == "pred":
            return values[part]
        if part[0] == "false":
            return False
        left, right = truth(part[1], values), truth(part[2], values)
        return {"and": left and right, "or": left or right, "imp": not left or right}[part[0]]

    return all(truth(formula, dict(zip(atoms, values, strict=True))) for values in product((False, True), repeat=len(atoms)))


def rearranged(rng: Random, size: int) -> Statement | None:
    """A formula and what some equivalences of intuitionistic logic make of it."""
    atoms = [prop(name) for name in names_from(ATOMS, rng)[: rng.randint(2, 4)]]
    before = after = _formula(rng, atoms, 2)
    for _ in range(rng.randint(1, size)):
        after = _rearrange(after, rng)
    if before == after or is_silly(before) or is_silly(after):
        return None
    kinds = (imp(before, after), imp(after, before), ("and", imp(before, after), imp(after, before)))
    return statement(rng.choices(kinds, (2, 2, 1))[0])


def _rearrange(formula: Expr, rng: Random) -> Expr:
    """One equivalence, somewhere in the formula."""
    ways = _equivalents(formula)
    if ways and rng.random() < 0.6:
        return rng.choice(ways)
    if formula[0] not in ("and", "or", "imp"):
        return formula
    place = rng.choice((1, 2))
    parts = list(formula)
    parts[place] = _rearrange(parts[place], rng)
    return tuple(parts)


def _equivalents(formula: Expr) -> list[Expr]:
    match formula:
        case ("imp", ("or", A, B), C):
            return [("and", imp(A, C), imp(B, C)), imp(("or", B, A), C)]
        case ("imp", ("and", A, B), C):
            return [imp(A, B, C), imp(B, A, C)]
        case ("imp", A, ("and", B, C)):
            return [("and", imp(A, B), imp(A, C))]
        case ("imp", A, ("imp", B, C)):
            return [imp(("and", A, B), C), imp(B, A, C)]
        case ("and", A, ("or", B, C)):
            return [("or", ("and", A, B), ("and", A, C)), ("and", ("or", B, C), A)]
        case ("or", A, ("and", B, C)):
            return [("and", ("or", A, B), ("or", A, C))]
        case ("or" | "and" as tag, (first, A, B), C) if first == tag:
            return [(tag, A, (tag, B, C)), (tag, C, (tag, A, B))]
        case ("or" | "and" as tag, A, B):
            return [(tag, B, A)]
        case ("imp", A, ("false",)) if A[0] != "imp":
            return [negation(negation(negation(A)))]
    return []


LOGIC: dict[str, Family] = {
    "entailed": entailed,
    "chain": chain,
    "cases": cases,
    "doubly_negated": doubly_negated,
    "rearranged": rearranged,
}


# ------------------------------------------------------------------------------------------------ quantified


def lifted(rng: Random, size: int) -> Statement | None:
    """A propositional entailment about every number, or about some number."""
    found = entailed(rng, size)
    if found is None:
        return None
    names = names_from(PREDICATES, rng)
    renamed = dict(zip((name for name, _ in found.symbols), names, strict=False))
    if len(renamed) < len(found.symbols):
        return None
    constant = rng.choice(list(renamed)) if len(renamed) > 2 and rng.random() < 0.3 else None
    parts = _premises(_about(found.formula, renamed, constant))
    *premises, conclusion = parts
    some = rng.randrange(len(premises)) if rng.random() < 0.5 else None
    quantified = [exists("x", part) if k == some else forall("x", part) for k, part in enumerate(premises)]
    end = forall("x", conclusion) if some is None else exists("x", conclusion)
    apart = some is not None or rng.random() < 0.5
    return statement(imp(*quantified, end) if apart else forall("x", imp(*premises, conclusion)))


def _about(formula: Expr, names: dict[str, str], constant: str | None) -> Expr:
    if formula[0] == "pred":
        return prop(names[formula[1]], *([] if formula[1] == constant else [var("x")]))
    return (formula[0], *[_about(part, names, constant) for part in formula[1:]])


def _premises(formula: Expr) -> list[Expr]:
    parts: list[Expr] = []
    while formula[0] == "imp" and formula[2] != FALSE:
        parts.append(formula[1])
        formula = formula[2]
    return [*parts, formula] if parts else [formula[1], FALSE]
