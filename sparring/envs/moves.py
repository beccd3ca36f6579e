"""Tactics worth a try, found by the form of a goal alone: what a search may do where no model is asked, or asked which is best.

Every kind of step that proofs of such statements take is here, with the instances that matching finds. A goal that is plain to close
is only closed, and where something can be introduced only that, induction, and what proves the goal as it is are tried: no proof needs
anything else there. What is listed is cheap to find and likely to be accepted; it is not tried here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, islice

from sparring.envs import numbers
from sparring.envs.arithmetic import impossible
from sparring.envs.facts import Reading, library
from sparring.envs.goals import Goal, TacticError, fresh, fresh_variable
from sparring.envs.kernel import FALSE, TRUE, ZERO, Expr, Fuel, KernelError, Theorem, instantiate, normal
from sparring.envs.sight import Known, View, argument, spelled
from sparring.envs.tactics import run

MOST = 64
"""Moves of one goal."""
LONGEST = 300
"""Characters of a move."""
WORK = 8_000
"""Elementary steps that looking for moves may take: some milliseconds. What is found until then counts."""
SHARE = 1_500
"""Those that one kind of move may take."""
WAYS = 6
"""Ways to use one fact."""

Found = Iterator[str]


def moves(goal: Goal, lemmas: Mapping[str, Theorem]) -> list[str]:
    """At most ``MOST`` tactics for the goal, the most promising kinds first, in which no kind is without its share. Never raises."""
    names = goal.names()
    view = View(goal, library(tuple(lemma for lemma in lemmas.items() if lemma[0] not in names)))
    search = _Search(view)
    for line in search.found(_closers)[:WAYS]:
        if _closes(goal, line, lemmas):
            return [line]
    kinds = _INTRODUCING if goal.conclusion[0] in ("all", "imp") else _KINDS
    return _shared([search.found(kind) for kind in kinds])


def _closes(goal: Goal, line: str, lemmas: Mapping[str, Theorem]) -> bool:
    try:
        return not run(goal, line, lemmas, Fuel(2 * SHARE)).goals
    except TacticError:
        return False


class _Search:
    """Looks for one kind of move after the other, none of them twice, within a budget."""

    def __init__(self, view: View) -> None:
        self._view, self._left = view, WORK
        self._seen: set[str] = set()

    def found(self, kind: Callable[[View], Iterator[str]]) -> list[str]:
        """What that kind has to offer, as far as its share of the budget goes."""
        fuel, share = self._view.fuel, min(SHARE, self._left)
        fuel.steps = share
        lines: list[str] = []
        try:
            for line in islice(kind(self._view), 2 * MOST):
                if line and len(line) <= LONGEST and line not in self._seen:
                    self._seen.add(line)
                    lines.append(line)
        except (KernelError, TacticError, RecursionError):
            pass  # too big to look further
        self._left -= share - max(fuel.steps, 0)
        return lines


def _shared(kinds: Sequence[list[str]]) -> list[str]:
    """The first of each kind, as many as fit: all of a kind that has few, and as many as of any other one of one that has many."""
    level = MOST
    while sum(min(len(kind), level) for kind in kinds) > MOST:
        level -= 1
    spare = MOST - sum(min(len(kind), level) for kind in kinds)
    chosen: list[str] = []
    for kind in kinds:
        extra = min(spare, max(0, len(kind) - level))
        chosen += kind[: level + extra]
        spare -= extra
    return chosen


# ------------------------------------------------------------------------------------------------ closing


def _closers(view: View) -> Found:
    """What closes the goal for good."""
    conclusion = view.goal.conclusion
    if conclusion == TRUE:
        yield "trivial"
    if conclusion in view.facts:
        yield "assumption"
    if any(
        formula == FALSE or (formula[0] == "imp" and formula[2] == FALSE and formula[1] in view.facts) for formula in view.facts
    ):
        yield "contradiction"
    for formula, name in view.facts.items():
        if formula[0] == "eq" and impossible(formula, view.fuel):
            yield f"discriminate {name}"
    if conclusion[0] == "eq" and normal(conclusion[1], view.fuel) == normal(conclusion[2], view.fuel):
        yield "rfl"
    for found in (*view.readings, view.lemmas.ending.get(conclusion[0], ())):
        yield from _exact(view, found)
    if conclusion != FALSE:
        yield from _refuted(view)


def _refuted(view: View) -> Found:
    """A fact that says that what is known is impossible."""
    for last in (*[found[-1] for found in view.readings], *view.lemmas.ending.get("false", ())):
        for known, used in islice(view.joined(last), 1) if last.conclusion == FALSE else ():
            if known[0].keys() >= set(last.unknowns):
                yield f"destruct {view.call(last, known, used)}"


def _exact(view: View, found: Sequence[Reading]) -> Found:
    """A fact whose premises are all known and whose conclusion is the goal."""
    for reading in found:
        known = view.match(reading.conclusion, view.goal.conclusion)
        for filled, used in islice(view.joined(reading, known), WAYS) if known is not None else ():
            missing = [name for name in reading.unknowns if name not in filled[0]]
            filled[0].update((name, view.in_sight[0]) for name in missing)
            call = view.call(reading, filled, used) if used or missing else reading.name
            yield call and f"{'exact' if used else 'apply'} {call}"


# ------------------------------------------------------------------------------------------------ by the form of the goal


def _introductions(view: View) -> Found:
    """All that there is to introduce, the leading variables, or one thing."""
    conclusion, taken = view.goal.conclusion, set(view.names)
    names: list[str] = []
    leading, only_variables = 0, True
    while conclusion[0] in ("all", "imp"):
        only_variables = only_variables and conclusion[0] == "all"
        leading += only_variables
        names.append(fresh_variable(taken) if conclusion[0] == "all" else fresh(taken))
        taken.add(names[-1])
        conclusion = conclusion[1] if conclusion[0] == "all" else conclusion[2]
    for count in (len(names), leading, 1):
        if count:
            yield f"intro{'s' * (count > 1)} {' '.join(names[:count])}"


def _parts(view: View) -> Found:
    """What the connective of the goal asks for."""
    conclusion = view.goal.conclusion
    if conclusion[0] == "and":
        yield "split"
    elif conclusion[0] == "or":
        yield "left"
        yield "right"
    elif conclusion[0] == "eq" and any(
        view.match(found[-1].conclusion, ("eq", conclusion[2], conclusion[1])) for found in view.readings
    ):
        yield "symmetry"
    if normal(conclusion, view.fuel) != conclusion:
        yield "simpl"
    if conclusion != FALSE and any(found[-1].conclusion == FALSE for found in view.readings):
        yield "exfalso"


def _witnesses(view: View) -> Found:
    """Numbers that there may be: what solves an equation in the goal or makes it say what is known, then what is in sight."""
    if view.goal.conclusion[0] != "ex":
        return
    pattern = instantiate(view.goal.conclusion[1], (view.hole,), view.fuel)
    atoms = list(numbers.atoms(view, pattern))
    terms: dict[Expr, None] = {}
    for atom in atoms:
        if atom[0] == "eq":
            terms.update(dict.fromkeys(numbers.solving(view, atom)))
        for found in view.readings:
            known = view.match(atom, found[-1].conclusion)
            term = known[0].get(view.hole[1]) if known else None
            if term and view.is_ground(term):
                terms[term] = None
    terms.update(dict.fromkeys([*view.in_sight, ZERO]))
    for term in islice(terms, WAYS + 2):
        given = argument(term)
        yield given and f"exists {given}"


# ------------------------------------------------------------------------------------------------ by the form of what is known


def _taken_apart(view: View) -> Found:
    """Hypotheses in parts, or simpler."""
    for formula, name in view.facts.items():
        yield _destruct(view, name, formula)
        if formula[0] in ("eq", "pred") and (result := normal(formula, view.fuel)) != formula and result not in view.facts:
            yield f"simpl in {name}"
        if formula[0] == "eq" and formula[1][0] == formula[2][0] == "succ":
            known = ("eq", formula[1][1], formula[2][1]) in view.facts
            yield "" if known else f"injection {name} as {fresh(view.names)}"


def _destruct(view: View, what: str, formula: Expr) -> str:
    """``destruct`` with names for the parts; "" if there are none."""
    first = fresh(view.names)
    if formula[0] == "and":
        return f"destruct {what} as [{first} {fresh({*view.names, first})}]"
    if formula[0] == "or":
        return f"destruct {what} as [{first} | {first}]"
    if formula[0] == "ex":
        return f"destruct {what} as [{fresh_variable(view.names)} {first}]"
    return f"destruct {what}" if formula == FALSE else ""


def _backward(view: View) -> Found:
    """Hypotheses whose conclusion is the goal."""
    for found in view.readings:
        for reading in found:
            known = view.match(reading.conclusion, view.goal.conclusion) if reading.order else None
            if known is not None:
                yield from _applied(view, reading, known)
                break


def _lemmas_backward(view: View) -> Found:
    """Lemmas whose conclusion is the goal."""
    for reading in view.lemmas.backward.get(view.goal.conclusion[0], ()):
        known = view.match(reading.conclusion, view.goal.conclusion)
        if known is not None:
            yield from _applied(view, reading, known)


def _applied(view: View, reading: Reading, known: Known) -> Found:
    """``apply``, with the terms that the goal does not determine."""
    missing = [name for name in reading.unknowns if name not in known[0]]
    if not missing:
        yield f"apply {reading.name}"
    elif set(missing) <= set(reading.leading):
        for filled in view.completed(reading, known, 4):
            given = [argument(filled[0][name]) for name in reading.leading]
            yield "" if "" in given else f"apply ({' '.join([reading.name, *given])})"


def _forward(view: View) -> Found:
    """Hypotheses whose premises are known, applied to them."""
    for formula, name in view.facts.items():
        if formula[0] == "imp" and formula[1] in view.facts and formula[2] not in view.facts:
            yield f"specialize ({name} {view.facts[formula[1]]})"
    for found in view.readings:
        for reading in reversed(found):
            if not reading.order or not (reading.premises or reading.conclusion[0] in ("and", "or", "ex")):
                continue
            for known, used in islice(view.joined(reading), WAYS):
                for filled in view.completed(reading, known, WAYS if reading.premises else 3):
                    yield _posed(view, reading, filled, used)


def _posed(view: View, reading: Reading, known: Known, used: Sequence[str]) -> str:
    """What a fact says of these, taken apart or under a new name; "" if it is known already."""
    result, proof = view.fill(reading.conclusion, known), view.call(reading, known, used)
    cases = result[1:] if result[0] == "or" else ()
    if not proof or result in view.facts or any(case in view.facts for case in cases):
        return ""
    return _destruct(view, proof, result) or f"have {fresh(view.names)} := {proof.removeprefix('(').removesuffix(')')}"


def _instances(view: View) -> Found:
    """Universal hypotheses applied to what is in sight."""
    for found in view.readings:
        reading = found[0]
        if reading.order and reading.conclusion[0] not in ("and", "or", "ex") and len(reading.order) <= 2:
            for filled in view.completed(reading, ({}, {}), 3):
                yield _posed(view, reading, filled, ())


def _lemmas_forward(view: View) -> Found:
    """Lemmas whose premises are known."""
    for reading in view.lemmas.conditional:
        for known, used in islice(view.joined(reading), WAYS):
            if known[0].keys() >= set(reading.unknowns) and view.fill(reading.conclusion, known) not in view.facts:
                yield f"apply {reading.name} in {used[0]}" if len(used) == 1 else _posed(view, reading, known, used)


def _cases(view: View) -> Found:
    """Lemmas that tell cases apart: a case of which the goal speaks, then for the variables."""
    names: list[Expr] = [("var", name) for name in view.mentioned(list(view.spoken()))[:3]]
    parts = list(_spoken_of(view)) if view.lemmas.cases else []
    for reading in view.lemmas.cases:
        asked = [view.match(case, part) for part in parts for case in reading.conclusion[1:]]
        chosen = [known for known in asked if known is not None and known[0].keys() >= set(reading.unknowns)][:WAYS]
        for terms in combinations(names, len(reading.unknowns)):
            chosen.append((dict(zip(reading.unknowns, terms, strict=True)), {}))
        for known in chosen:
            yield _posed(view, reading, known, ())


def _spoken_of(view: View) -> Iterator[Expr]:
    """The formulas in sight and their parts that are under no binder."""
    stack = list(view.spoken())
    while stack:
        view.fuel.burn()
        formula = stack.pop()
        yield formula
        stack += formula[:0:-1] if formula[0] in ("and", "or", "imp") else ()


def _lifted(view: View) -> Found:
    """``have`` the premise of a hypothesis whose result is not yet known."""
    for formula in view.facts:
        if formula[0] == "imp" and formula[1] not in view.facts and formula[2] not in (FALSE, view.goal.conclusion):
            text = spelled(formula[1])
            yield text and f"have {fresh(view.names)} : {text}"


_INTRODUCING = (_introductions, _backward, numbers.inductions, _lemmas_backward)
_KINDS = (
    _parts,
    _witnesses,
    _taken_apart,
    _backward,
    _forward,
    numbers.rewrites,
    numbers.lemma_rewrites,
    _lemmas_backward,
    _lemmas_forward,
    numbers.inductions,
    _lifted,
    numbers.reorderings,
    _cases,
    numbers.lemma_rewrites_in,
    _instances,
)
