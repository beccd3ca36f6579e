"""A proof kernel: the one module that has to be right for "proved" to mean proved. It imports nothing else of this project.

The logic is intuitionistic, with first-order quantifiers over the natural numbers N (the only sort; ``succ``, ``add`` and ``mul``
compute), equality, induction, and predicate symbols as parameters of a statement. What is checked are proof objects: terms of
natural deduction with every formula and every instance spelled out, so that checking is reading off what a proof proves
(``_Checker.infer``) and comparing it with what it should prove.

Everything is a tagged tuple, so equality is structural and nothing changes after it was checked. Whoever builds these tuples is not
trusted: every tuple is examined before use. Bound variables are de Bruijn indices (0: the innermost binder), free ones have names:
formulas that differ in the names of bound variables are equal, and nothing is ever captured.

Terms    ("var", name) ("bound", index) ("zero",) ("succ", t) ("add", t, u) ("mul", t, u)
Formulas ("false",) ("true",) ("eq", t, u) ("pred", P, (t, ...)) ("and", A, B) ("or", A, B) ("imp", A, B) ("all", A) ("ex", A)
Proofs   see ``_Checker.infer``; not A is ("imp", A, ("false",))
"""

# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportMatchNotExhaustive=false
# pyright: reportConstantRedefinition=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Expr = tuple[Any, ...]  # a term or a formula
Proof = tuple[Any, ...]
ZERO: Expr = ("zero",)
FALSE: Expr = ("false",)
TRUE: Expr = ("true",)
MAX_DEPTH = 200
"""Nesting of one term, formula or proof: far below what Python's stack holds."""
FUEL = 200_000
"""Elementary steps that one check may take."""

_TERMS = {"zero": 0, "succ": 1, "add": 2, "mul": 2}
_CONNECTIVES = {"false": 0, "true": 0, "and": 2, "or": 2, "imp": 2}
_BINDERS = {"all", "ex"}


class KernelError(Exception):
    """Not a proof, or not a formula; the message says why."""


class Fuel:
    """A budget of elementary steps. What is malformed or malicious runs out of it instead of running on."""

    def __init__(self, steps: int = FUEL) -> None:
        self.steps = steps

    def burn(self, steps: int = 1) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise KernelError("this takes more steps than one check may take")


# ------------------------------------------------------------------------------------------------ well-formedness


def check_term(term: Any, variables: frozenset[str], fuel: Fuel, binders: int = 0, depth: int = 0) -> None:
    """Raises KernelError unless ``term`` is a term over ``variables`` under that many binders."""
    _enter(term, fuel, depth)
    tag = term[0]
    if tag in _TERMS and len(term) == 1 + _TERMS[tag]:
        for part in term[1:]:
            check_term(part, variables, fuel, binders, depth + 1)
    elif tag == "var" and len(term) == 2 and type(term[1]) is str:
        if term[1] not in variables:
            raise KernelError(f"unknown variable {term[1]}")
    elif tag != "bound" or len(term) != 2 or type(term[1]) is not int or not 0 <= term[1] < binders:
        raise KernelError(f"{tag!r} does not make a term here")


def check_formula(
    formula: Any, variables: frozenset[str], symbols: Mapping[str, int], fuel: Fuel, binders: int = 0, depth: int = 0
) -> None:
    """Raises KernelError unless ``formula`` is one over ``variables`` and predicate ``symbols`` (name: number of arguments)."""
    _enter(formula, fuel, depth)
    tag = formula[0]
    if tag in _CONNECTIVES and len(formula) == 1 + _CONNECTIVES[tag]:
        for part in formula[1:]:
            check_formula(part, variables, symbols, fuel, binders, depth + 1)
    elif tag == "eq" and len(formula) == 3:
        for part in formula[1:]:
            check_term(part, variables, fuel, binders, depth + 1)
    elif tag in _BINDERS and len(formula) == 2:
        check_formula(formula[1], variables, symbols, fuel, binders + 1, depth + 1)
    elif tag == "pred" and len(formula) == 3 and type(formula[1]) is str and type(formula[2]) is tuple:
        if symbols.get(formula[1]) != len(formula[2]):
            raise KernelError(f"no predicate {formula[1]} takes {len(formula[2])} arguments")
        for part in formula[2]:
            check_term(part, variables, fuel, binders, depth + 1)
    else:
        raise KernelError(f"{tag!r} does not make a formula here")


def _enter(node: Any, fuel: Fuel, depth: int) -> None:
    fuel.burn()
    if type(node) is not tuple or not node or type(node[0]) is not str:
        raise KernelError("not a tagged tuple")
    if depth > MAX_DEPTH:
        raise KernelError(f"nested more than {MAX_DEPTH} deep")


# ------------------------------------------------------------------------------------------------ substitution, equality, computation


def lift(node: Expr, by: int, fuel: Fuel, binders: int = 0) -> Expr:
    """``node`` moved under ``by`` more binders: bound variables that reach beyond its own ``binders`` point further out."""
    fuel.burn()
    if node[0] == "bound":
        return ("bound", node[1] + by) if node[1] >= binders else node
    return _map(node, lambda part, inner: lift(part, by, fuel, inner), binders)


def instantiate(body: Expr, terms: tuple[Expr, ...], fuel: Fuel, binders: int = 0) -> Expr:
    """``body`` without its ``len(terms)`` outermost binders: the innermost of them becomes ``terms[-1]``, and so on."""
    fuel.burn()
    if body[0] == "bound":
        index, count = body[1] - binders, len(terms)
        if index < 0:
            return body
        return lift(terms[count - 1 - index], binders, fuel) if index < count else ("bound", body[1] - count)
    return _map(body, lambda part, inner: instantiate(part, terms, fuel, inner), binders)


def abstract(node: Expr, term: Expr, fuel: Fuel, binders: int = 0) -> Expr:
    """The body of a binder over all of ``term`` (closed under binders) in ``node``: ``instantiate(result, (term,))`` is ``node``."""
    fuel.burn()
    if node == term:
        return ("bound", binders)
    if node[0] == "bound":
        return ("bound", node[1] + 1) if node[1] >= binders else node
    return _map(node, lambda part, inner: abstract(part, term, fuel, inner), binders)


def substitute(formula: Expr, bodies: Mapping[str, Expr], fuel: Fuel) -> Expr:
    """Each predicate P replaced by ``bodies[P]``, in which the bound variables reaching out stand for P's arguments, the last one
    for 0. The bodies have no other loose bound variables, so nothing in them can be captured."""
    fuel.burn()
    if formula[0] == "pred":
        return instantiate(bodies[formula[1]], formula[2], fuel)
    if formula[0] == "eq":
        return formula
    return _map(formula, lambda part, _: substitute(part, bodies, fuel))


def equal(left: Any, right: Any, fuel: Fuel) -> bool:
    """left == right, in bounded time: a small proof can build a formula that has one part exponentially often."""
    fuel.burn()
    if left is right or type(left) is not tuple or type(right) is not tuple:
        return left == right
    return len(left) == len(right) and all(equal(a, b, fuel) for a, b in zip(left, right, strict=True))


def _map(node: Expr, change: Callable[[Expr, int], Expr], binders: int = 0) -> Expr:
    """``node`` with every subexpression changed; ``change`` is told how many binders are around it."""
    tag = node[0]
    if tag == "var" or tag == "bound":
        return node
    if tag == "pred":
        return ("pred", node[1], tuple([change(part, binders) for part in node[2]]))
    inner = binders + (tag in _BINDERS)
    return (tag, *[change(part, inner) for part in node[1:]])


def normal(node: Expr, fuel: Fuel) -> Expr:
    """Computed as far as possible: 0 + m = m, S n + m = S (n + m), 0 * m = 0, S n * m = m + n * m, everywhere."""
    fuel.burn()
    tag = node[0]
    if tag == "add":
        return _sum(normal(node[1], fuel), normal(node[2], fuel), fuel)
    if tag == "mul":
        return _product(normal(node[1], fuel), normal(node[2], fuel), fuel)
    return _map(node, lambda part, _: normal(part, fuel))


def _sum(left: Expr, right: Expr, fuel: Fuel) -> Expr:
    """left + right of two normal terms."""
    count, left = _successors(left, fuel)
    result = right if left == ZERO else ("add", left, right)
    for _ in range(count):
        result = ("succ", result)
    return result


def _product(left: Expr, right: Expr, fuel: Fuel) -> Expr:
    """left * right of two normal terms."""
    count, left = _successors(left, fuel)
    result = ZERO if left == ZERO else ("mul", left, right)
    for _ in range(count):
        result = _sum(right, result, fuel)
    return result


def _successors(term: Expr, fuel: Fuel) -> tuple[int, Expr]:
    """(n, t) where ``term`` is S ... S t with n of S and t is no successor."""
    count = 0
    while term[0] == "succ":
        fuel.burn()
        term, count = term[1], count + 1
    return count, term


# ------------------------------------------------------------------------------------------------ theorems


_SEAL = object()


class Theorem:
    """A statement that was proved; only ``prove`` makes one. ``symbols``: its predicate parameters with their arities."""

    __slots__ = ("formula", "symbols")
    formula: Expr
    symbols: tuple[tuple[str, int], ...]

    def __init__(self, symbols: tuple[tuple[str, int], ...], formula: Expr, seal: object) -> None:
        if seal is not _SEAL:
            raise KernelError("theorems are made by proving them")
        object.__setattr__(self, "symbols", symbols)
        object.__setattr__(self, "formula", formula)

    def __setattr__(self, name: str, value: object) -> None:
        raise KernelError("a theorem does not change")


def prove(
    symbols: tuple[tuple[str, int], ...], formula: Expr, proof: Proof, lemmas: Mapping[str, Theorem], fuel: int = FUEL
) -> Theorem:
    """The theorem that ``formula`` holds for all predicates ``symbols``; raises KernelError if ``proof`` does not prove that."""
    try:
        budget, arities = Fuel(fuel), _arities(symbols)
        check_formula(formula, frozenset(), arities, budget)
        proved = _Checker(arities, lemmas, budget).infer(proof, Scope(frozenset(), {}, 0))
        if not equal(proved, formula, budget):
            raise KernelError("this proof proves something else")
    except RecursionError:
        raise KernelError("nested too deep") from None
    return Theorem(symbols, formula, _SEAL)


def _arities(symbols: Any) -> dict[str, int]:
    pairs: Any = symbols if type(symbols) is tuple else ((),)
    proper = {type(pair) for pair in pairs} <= {tuple} and all(
        [*map(type, pair)] == [str, int] and pair[1] >= 0 for pair in pairs
    )
    if not proper or len(dict(pairs)) != len(pairs):
        raise KernelError("predicate symbols must differ and have numbers of arguments")
    return dict(pairs)


class Scope(NamedTuple):
    """Where a part of a proof stands: what may be mentioned and used there."""

    variables: frozenset[str]
    hyps: Mapping[str, Expr]
    depth: int

    def having(self, name: Any, formula: Expr) -> Scope:
        """With one more hypothesis; another one of that name is out of reach from here."""
        if type(name) is not str:
            raise KernelError("a hypothesis needs a name")
        return Scope(self.variables, {**self.hyps, name: formula}, self.depth)

    def fixing(self, name: Any) -> Scope:
        """With one more variable, of which nothing is known: it must be new."""
        if type(name) is not str or name in self.variables:
            raise KernelError("a new variable must have a name that is not in use")
        return Scope(self.variables | {name}, self.hyps, self.depth)


class _Checker:
    """One check: the parameters of the statement, the theorems that may be used, and what is left of the budget.

    Invariant: all hypotheses of a scope, and every formula that a proof is found to prove there, are well formed over the scope's
    variables. So a variable that is not in scope occurs in none of them, which is all that freshness means.
    """

    def __init__(self, symbols: Mapping[str, int], lemmas: Mapping[str, Theorem], fuel: Fuel) -> None:
        self.symbols, self.lemmas, self.fuel = symbols, lemmas, fuel

    def infer(self, proof: Any, at: Scope) -> Expr:
        """What ``proof`` proves in its scope. In the rules p, q, r are proofs, A and B formulas, t a term, x and h names."""
        _enter(proof, self.fuel, at.depth)
        at = Scope(at.variables, at.hyps, at.depth + 1)
        while proof[0] == "cut" and len(proof) == 4:  # h: A, (h : A  =>  B)  =>  B; a loop, for long proofs are chains of these
            _, h, p, proof = proof
            at = at.having(h, self.infer(p, at))
            self.fuel.burn(len(at.hyps) // 16)  # what a copy of all hypotheses costs
            _enter(proof, self.fuel, at.depth)
        for rules in (self._connectives, self._hypothetical, self._arithmetic):
            if (found := rules(proof, at)) is not None:
                return found
        raise KernelError(f"no rule {proof[0]!r} for these {len(proof) - 1} parts")

    def _connectives(self, proof: Proof, at: Scope) -> Expr | None:
        match proof:
            case ("hyp", h):  # h : A in scope  =>  A
                if type(h) is not str or h not in at.hyps:
                    raise KernelError("no such hypothesis")
                return at.hyps[h]
            case ("lemma", name, bodies):  # a theorem, with a formula for each of its predicates
                return self._instance(name, bodies, at)
            case ("true_intro",):  # True
                return TRUE
            case ("false_elim", p, A):  # False  =>  A
                self._part("false", p, at)
                return self._formula(A, at)
            case ("and_intro", p, q):  # A, B  =>  A and B
                return ("and", self.infer(p, at), self.infer(q, at))
            case ("and_left", p):  # A and B  =>  A
                return self._part("and", p, at)[1]
            case ("and_right", p):  # A and B  =>  B
                return self._part("and", p, at)[2]
            case ("or_left", p, B):  # A  =>  A or B
                return ("or", self.infer(p, at), self._formula(B, at))
            case ("or_right", A, p):  # B  =>  A or B
                return ("or", self._formula(A, at), self.infer(p, at))
            case ("or_elim", p, h, q, k, r):  # A or B, (h : A  =>  C), (k : B  =>  C)  =>  C
                _, left, right = self._part("or", p, at)
                found = self.infer(q, at.having(h, left))
                return self._same(found, self.infer(r, at.having(k, right)))
        return None

    def _hypothetical(self, proof: Proof, at: Scope) -> Expr | None:
        match proof:
            case ("imp_intro", h, A, p):  # (h : A  =>  B)  =>  A implies B
                return ("imp", A, self.infer(p, at.having(h, self._formula(A, at))))
            case ("imp_elim", p, q):  # A implies B, A  =>  B
                _, premise, conclusion = self._part("imp", p, at)
                self._same(premise, self.infer(q, at))
                return conclusion
            case ("all_intro", x, p):  # (x fresh  =>  A)  =>  for all x, A
                return ("all", abstract(self.infer(p, at.fixing(x)), ("var", x), self.fuel))
            case ("all_elim", p, t):  # for all x, A  =>  A[t]
                return instantiate(self._part("all", p, at)[1], (self._term(t, at),), self.fuel)
            case ("ex_intro", A, t, p):  # A[t]  =>  exists x, A
                self._same(instantiate(self._formula(A, at, 1), (self._term(t, at),), self.fuel), self.infer(p, at))
                return ("ex", A)
            case ("ex_elim", p, x, h, q):  # exists x, A, (x fresh, h : A  =>  B)  =>  B, without x
                body = self._part("ex", p, at)[1]
                instance = instantiate(body, (("var", x),), self.fuel)
                return self._formula(self.infer(q, at.fixing(x).having(h, instance)), at)
        return None

    def _arithmetic(self, proof: Proof, at: Scope) -> Expr | None:
        match proof:
            case ("refl", t):  # t = t
                return ("eq", self._term(t, at), t)
            case ("rewrite", p, A, q):  # t = u, A[t]  =>  A[u]
                _, t, u = self._part("eq", p, at)
                self._formula(A, at, 1)
                self._same(instantiate(A, (t,), self.fuel), self.infer(q, at))
                return instantiate(A, (u,), self.fuel)
            case ("compute", A, p):  # B  =>  A, where both compute to the same formula
                self._same(normal(self._formula(A, at), self.fuel), normal(self.infer(p, at), self.fuel))
                return A
            case ("succ_inj", p):  # S t = S u  =>  t = u
                _, t, u = self._part("eq", p, at)
                if t[0] == u[0] == "succ":
                    return ("eq", t[1], u[1])
            case ("zero_succ", p):  # 0 = S t  =>  False
                _, t, u = self._part("eq", p, at)
                if t == ZERO and u[0] == "succ":
                    return FALSE
            case ("induction", A, p, x, h, q):  # A[0], (x fresh, h : A[x]  =>  A[S x])  =>  for all x, A
                self._same(instantiate(self._formula(A, at, 1), (ZERO,), self.fuel), self.infer(p, at))
                case_x, case_succ = (instantiate(A, (t,), self.fuel) for t in (("var", x), ("succ", ("var", x))))
                self._same(case_succ, self.infer(q, at.fixing(x).having(h, case_x)))
                return ("all", A)
        return None

    def _instance(self, name: Any, bodies: Any, at: Scope) -> Expr:
        """The theorem ``name`` with ``bodies``: for each of its predicates, in order, a formula over that many bound variables."""
        theorem = self.lemmas.get(name) if type(name) is str else None
        if type(theorem) is not Theorem:
            raise KernelError("no such theorem")
        if type(bodies) is not tuple or len(bodies) != len(theorem.symbols):
            raise KernelError(f"theorem {name!r} has {len(theorem.symbols)} predicates")
        meant = {s: self._formula(body, at, arity) for (s, arity), body in zip(theorem.symbols, bodies, strict=True)}
        return substitute(theorem.formula, meant, self.fuel)

    def _part(self, tag: str, proof: Any, at: Scope) -> Expr:
        """What ``proof`` proves, which must be a formula of that kind."""
        found = self.infer(proof, at)
        if found[0] != tag:
            raise KernelError(f"a proof of {tag!r} is needed, this proves {found[0]!r}")
        return found

    def _formula(self, formula: Any, at: Scope, binders: int = 0) -> Expr:
        check_formula(formula, at.variables, self.symbols, self.fuel, binders)
        return formula

    def _term(self, term: Any, at: Scope) -> Expr:
        check_term(term, at.variables, self.fuel)
        return term

    def _same(self, left: Expr, right: Expr) -> Expr:
        if not equal(left, right, self.fuel):
            raise KernelError("two formulas that must be equal are not")
        return left
