"""Symbolic mutation of theorems (Alchemy, arXiv 2410.15748, which rewrites and applies lemmas; and what else teachers do).

A mutation is one change drawn by chance; every function below yields candidates, the first the best drawn. All but ``generalise``
keep truth, constructively too: they replace equals by equals, weaken where that weakens the whole, take instances, or put the
theorem into a context that follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from random import Random
from typing import NamedTuple

from sparring.envs.kernel import FALSE, ZERO, Expr, Fuel, abstract, instantiate, substitute
from sparring.envs.matching import Unknowns, apply_to_bound
from sparring.envs.printing import FORMULAS, Statement, names_in
from sparring.worlds.places import (
    Names,
    Place,
    closed,
    implying,
    is_equivalence,
    open_statement,
    places,
    premises_of,
    replace_all,
)


class Known(NamedTuple):
    """A theorem that a mutation may build on; ``name``: that of a lemma, or ""."""

    name: str
    statement: Statement


class Mutant(NamedTuple):
    """A changed formula. ``lemma``: the name of the one that changed it, or ""."""

    formula: Expr
    lemma: str = ""


Mutants = Iterator[Mutant]


class Subject:
    """The theorem that is mutated, the random numbers for it, and names for what is new in it."""

    def __init__(self, statement: Statement, rng: Random) -> None:
        self.rng, self.formula, self.arities = rng, statement.formula, dict(statement.symbols)
        self.names, self.body = open_statement(statement.formula)
        self.premises, self.conclusion = premises_of(self.body)
        self._taken = {*self.arities, *names_in(self.formula)}

    def shuffled(self, items: Sequence[Expr]) -> list[Expr]:
        return self.rng.sample(items, len(items))

    def places(self) -> list[Place]:
        found = list(places(self.formula))
        self.rng.shuffle(found)
        return found

    def known(self, known: Sequence[Known]) -> list[Known]:
        return self.rng.sample(known, len(known))

    def fresh(self) -> str:
        """The name of a predicate that is new."""
        name = next(name for number in count() if (name := f"?new{number}") not in self._taken)
        self._taken.add(name)
        return name

    def term(self, names: Names) -> Expr:
        """A variable in scope if there is one."""
        return ("var", self.rng.choice(names)) if names else ZERO

    def predicate(self, arity: int, besides: str = "") -> Expr:
        """A predicate as a body (see ``kernel.substitute``): one of the statement, but not ``besides``, or a new one."""
        own = [name for name, its in self.arities.items() if its == arity and name != besides]
        return apply_to_bound(self.rng.choice([*own, self.fresh()]), arity)

    def closed(self, body: Expr) -> Expr:
        return closed(body, *self.names)


def _unknown(known: Known) -> tuple[Unknowns, Expr]:
    """What a theorem says, with unknowns for its predicates and the variables in front."""
    unknowns = Unknowns(Fuel())
    formula, _ = unknowns.predicates(known.statement.formula, known.statement.symbols, known.name)
    while formula[0] == "all":
        formula = instantiate(formula[1], (unknowns.term("x"),), unknowns.fuel)
    return unknowns, formula


def _is_bare(pattern: Expr) -> bool:
    """Whether anything at all matches it."""
    return pattern[0] in ("var", "pred") and pattern[1].startswith("?")


def _unsettled(unknowns: Unknowns, formula: Expr) -> dict[str, int | None]:
    """The unknowns in ``formula`` of which nothing is known: the number of arguments of a predicate, None for a term."""
    found: dict[str, int | None] = {}
    stack = [formula]
    while stack:
        part = stack.pop()
        if part[0] == "var" and part[1] in unknowns.labels and part[1] not in unknowns.terms:
            found[part[1]] = None
        elif part[0] == "pred" and part[1] in unknowns.labels and part[1] not in unknowns.bodies:
            found[part[1]] = len(part[2])
        stack += part[2] if part[0] == "pred" else [inner for inner in part[1:] if isinstance(inner, tuple)]
    return found


def _filled(subject: Subject, unknowns: Unknowns, formula: Expr, names: Names) -> Expr:
    """``formula`` with what its unknowns were found to be, and any choice for the others."""
    for name, arity in _unsettled(unknowns, formula).items():
        if arity is None:
            unknowns.terms[name] = subject.term(names)
        else:
            unknowns.bodies[name] = subject.predicate(arity)
    return unknowns.resolve(formula)


# ------------------------------------------------------------------------------------------------ with lemmas


def rewrite(subject: Subject, known: Sequence[Known]) -> Mutants:
    """Equals by equals: a term by an equation, a formula by an equivalence, in either direction."""
    ways = [(each, turned) for each in subject.known(known) for turned in (False, True)]
    subject.rng.shuffle(ways)
    for bare in (False, True):  # what fits anywhere comes last, or there would be little else
        for each, turned in ways:
            unknowns, formula = _unknown(each)
            sides = _sides(formula)
            if sides and _is_bare(sides[turned]) == bare:
                yield from _rewrite_once(subject, unknowns, sides[::-1] if turned else sides, each.name)


def _sides(formula: Expr) -> tuple[Expr, Expr] | None:
    if formula[0] == "eq":
        return formula[1], formula[2]
    return (formula[1][1], formula[1][2]) if is_equivalence(formula) else None


def _rewrite_once(subject: Subject, unknowns: Unknowns, sides: tuple[Expr, ...], lemma: str) -> Mutants:
    pattern, new = sides
    for place in subject.places():
        if unknowns.match(pattern, place.part):
            yield Mutant(place.put(_filled(subject, unknowns, new, place.names)), lemma)
            return


def backward(subject: Subject, known: Sequence[Known]) -> Mutants:
    """By an implication: what is assumed by something that implies it, what is concluded by something that it implies."""
    for each in subject.known(known):
        premises = len(premises_of(_unknown(each)[1])[0])
        if premises:
            yield from _weaken_once(subject, each, subject.rng.randint(1, premises))


def _weaken_once(subject: Subject, known: Known, cut: int) -> Mutants:
    unknowns, formula = _unknown(known)
    premises, conclusion = premises_of(formula)
    strong, weak = _all_of(premises[:cut]), implying(premises[cut:], conclusion)
    for place in subject.places():
        pattern, new, tag = (strong, weak, "all") if place.sign > 0 else (weak, strong, "ex")
        if place.sign and not _is_bare(pattern) and unknowns.match(pattern, place.part):
            for name, arity in _unsettled(unknowns, new).items():
                if arity is None and subject.rng.random() < 0.5:  # what holds of any number: of all, or of one in scope
                    new = (tag, abstract(new, ("var", name), Fuel()))
            yield Mutant(place.put(_filled(subject, unknowns, new, place.names)), known.name)
            return


def _all_of(formulas: Sequence[Expr]) -> Expr:
    result = formulas[-1]
    for formula in formulas[-2::-1]:
        result = ("and", formula, result)
    return result


# ------------------------------------------------------------------------------------------------ up and down


def generalise(subject: Subject, known: Sequence[Known]) -> Mutants:
    """A term becomes a variable, a formula a predicate of the variables in it, or a premise is left out. What comes out may be false."""
    return _mixed(subject.rng, _for_any_number(subject), _for_any_predicate(subject), _without_a_premise(subject))


def _parts(subject: Subject, formulas: bool) -> list[Expr]:
    """The parts of the body about nothing but the variables in front; the same part as often as it occurs."""
    found = [place.part for place in places(subject.body, subject.names) if place.names == subject.names]
    return subject.shuffled([part for part in found if (part[0] in FORMULAS) == formulas and part != subject.body])


def _for_any_number(subject: Subject) -> Mutants:
    for term in _parts(subject, formulas=False):
        if term[0] != "var":
            body = ("all", abstract(subject.body, term, Fuel()))
            yield Mutant(subject.closed(body))


def _for_any_predicate(subject: Subject) -> Mutants:
    for formula in _parts(subject, formulas=True):
        about = [name for name in subject.names if name in names_in(formula)]
        atom: Expr = ("pred", subject.fresh(), tuple(("var", name) for name in about))
        if len(about) <= 2 and not (formula[0] == "pred" and len(formula[2]) == len(about)):
            yield Mutant(subject.closed(replace_all(subject.body, formula, atom)))


def _without_a_premise(subject: Subject) -> Mutants:
    for place in subject.places():
        if place.sign > 0 and place.part[0] == "imp" and place.part[2] != FALSE:
            yield Mutant(place.put(place.part[2]))


def specialise(subject: Subject, known: Sequence[Known]) -> Mutants:
    """An instance: of a variable, of a predicate, or with two of them identified."""
    return _mixed(subject.rng, _of_a_number(subject), _of_a_predicate(subject), _identified(subject))


def _of_a_number(subject: Subject) -> Mutants:
    for name in subject.rng.sample(subject.names, len(subject.names)):
        v, w = subject.term(subject.names), subject.term(subject.names)
        terms: list[Expr] = [ZERO, ("succ", ZERO), ("succ", v), ("add", v, w), ("mul", v, w), ("add", v, ("succ", ZERO))]
        yield Mutant(subject.closed(replace_all(subject.body, ("var", name), subject.rng.choice(terms))))


def _of_a_predicate(subject: Subject) -> Mutants:
    for name, arity in subject.rng.sample(list(subject.arities.items()), len(subject.arities)):
        itself, other = apply_to_bound(name, arity), subject.predicate(arity, besides=name)
        bodies: list[Expr] = [_not(itself), _not(_not(itself)), *[(tag, itself, other) for tag in ("and", "or", "imp")]]
        if arity:
            first: Expr = ("bound", arity - 1)
            terms: list[Expr] = [("succ", first), ("add", first, first), ("add", first, ("bound", 0)), ZERO]
            bodies += [("eq", first, subject.rng.choice(terms)), *[("pred", name, (term, *itself[2][1:])) for term in terms[:2]]]
        yield Mutant(_with(subject, name, subject.rng.choice(bodies)))


def _identified(subject: Subject) -> Mutants:
    if len(subject.names) > 1:
        one, two = subject.rng.sample(subject.names, 2)
        yield Mutant(subject.closed(replace_all(subject.body, ("var", one), ("var", two))))
    same = [(a, b) for a, n in subject.arities.items() for b, m in subject.arities.items() if a != b and n == m]
    if same:
        one, two = subject.rng.choice(same)
        yield Mutant(_with(subject, one, apply_to_bound(two, subject.arities[one])))


def _with(subject: Subject, name: str, body: Expr) -> Expr:
    """The statement with something in place of a predicate."""
    bodies = {symbol: apply_to_bound(symbol, arity) for symbol, arity in subject.arities.items()}
    return substitute(subject.formula, {**bodies, name: body}, Fuel())


def _not(formula: Expr) -> Expr:
    return ("imp", formula, FALSE)


# ------------------------------------------------------------------------------------------------ composing


def compose(subject: Subject, known: Sequence[Known]) -> Mutants:
    """With another theorem: chained, or both from the same premise. Alone: in a context that keeps it true."""
    others = subject.known(known)
    return _mixed(subject.rng, _chained(subject, others), _alongside(subject, others), _in_context(subject))


def _chained(subject: Subject, others: Sequence[Known]) -> Mutants:
    """A -> B and B -> C give A -> C."""
    for other in others:
        for number in range(len(premises_of(_unknown(other)[1])[0])):
            yield from _joined(subject, other, number, subject.conclusion, lambda result: result)


def _alongside(subject: Subject, others: Sequence[Known]) -> Mutants:
    """A -> B and A -> C give A -> B /\\ C."""
    for other in others:
        for premise in subject.shuffled(subject.premises):
            yield from _joined(subject, other, 0, premise, lambda result: ("and", subject.conclusion, result))


def _joined(subject: Subject, other: Known, number: int, proved: Expr, conclude: Callable[[Expr], Expr]) -> Mutants:
    """The other theorem's conclusion under both theorems' premises, but the one ``number`` that ``proved`` is an instance of."""
    unknowns, formula = _unknown(other)
    premises, conclusion = premises_of(formula)
    if number < len(premises) and not _is_bare(premises[number]) and unknowns.match(premises[number], proved):
        premises.pop(number)
        *left, result = [_filled(subject, unknowns, part, subject.names) for part in (*premises, conclusion)]
        yield Mutant(subject.closed(implying([*subject.premises, *left], conclude(result))), other.name)


def _in_context(subject: Subject) -> Mutants:
    contexts = [*_of_any(subject), *_of_implications(subject), *_of_quantifiers(subject), *_of_equations(subject)]
    for body in subject.shuffled(contexts):
        yield Mutant(subject.closed(body))


def _of_any(subject: Subject) -> list[Expr]:
    body, side = subject.body, subject.predicate(0)
    return [_not(_not(body)), ("imp", ("imp", body, side), side)]


def _of_implications(subject: Subject) -> list[Expr]:
    """From A -> B, where A is the last premise."""
    if not subject.premises:
        return []
    *rest, a = subject.premises
    b, c = subject.conclusion, subject.predicate(0)
    contexts: list[list[Expr]] = [
        [("imp", c, a), c, b],
        [("imp", b, c), a, c],
        [_not(b), _not(a)],
        [_not(_not(a)), _not(_not(b))],
        [("and", a, c), ("and", b, c)],
        [("or", a, c), ("or", b, c)],
    ]
    return [implying([*rest, *premises], conclusion) for *premises, conclusion in contexts]


def _of_quantifiers(subject: Subject) -> list[Expr]:
    """From A -> B for any x: the same of all x, and of some x."""
    if not subject.premises:
        return []
    *rest, a = subject.premises
    free = [name for name in subject.names if all(name not in names_in(premise) for premise in rest)]
    found: list[Expr] = []
    for name in free:
        for tag in ("all", "ex"):
            inside = [(tag, abstract(part, ("var", name), Fuel())) for part in (a, subject.conclusion)]
            found.append(implying([*rest, inside[0]], inside[1]))
    return found


def _of_equations(subject: Subject) -> list[Expr]:
    """From a = b: the same of both."""
    if subject.conclusion[0] != "eq":
        return []
    _, a, b = subject.conclusion
    side, predicate = subject.term(subject.names), subject.predicate(1)
    functions: list[Callable[[Expr], Expr]] = [
        lambda t: ("succ", t),
        lambda t: ("add", t, side),
        lambda t: ("add", side, t),
        lambda t: ("mul", side, t),
        lambda t: ("mul", t, t),
    ]
    equations = [("eq", function(a), function(b)) for function in functions]
    of_a, of_b = (instantiate(predicate, (t,), Fuel()) for t in (a, b))
    return [implying(subject.premises, conclusion) for conclusion in (*equations, ("imp", of_a, of_b), ("imp", of_b, of_a))]


def _mixed(rng: Random, *kinds: Mutants) -> Mutants:
    """One from any of them at a time, each as likely."""
    left = list(kinds)
    while left:
        kind = rng.choice(left)
        found = next(kind, None)
        if found is None:
            left.remove(kind)
        else:
            yield found


MUTATIONS: Mapping[str, Callable[[Subject, Sequence[Known]], Mutants]] = {
    "rewrite": rewrite,
    "backward": backward,
    "generalise": generalise,
    "specialise": specialise,
    "compose": compose,
}
