"""Looks for a counterexample: numbers and predicates for which a statement is plainly false, so that nobody need search for a proof.

Truth is three-valued, since not all numbers can be tried: a universal statement is false if an instance is, an existential one true
if an instance is, and otherwise they are unknown. What comes out false is false for classical logic too, and so has no proof;
where nothing comes out, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random

from sparring.envs.kernel import Expr, KernelError
from sparring.envs.printing import Statement, bound_name

NUMBERS = range(4)
"""What a variable is tried with."""
LARGEST = 10**6
WORK = 20_000
"""Subformulas evaluated in one search for a counterexample."""
MAX_ARITY = 5
"""Predicates with more arguments have too many tables."""
MODELS = 64
"""Choices of the predicates that are tried: all where there are no more, else some at random."""

Table = Mapping[str, frozenset[tuple[int, ...]]]
"""Of what each predicate is true."""


class _TooMuch(Exception):
    pass


@dataclass
class _Evaluator:
    table: Table
    work: int = WORK

    def number(self, term: Expr, bound: tuple[int, ...]) -> int:
        tag = term[0]
        if tag == "bound":
            return bound[-1 - term[1]]
        if tag == "zero":
            return 0
        if tag == "succ":
            return self.number(term[1], bound) + 1
        if tag == "var":
            raise KernelError(f"the variable {term[1]} has no value")
        left, right = self.number(term[1], bound), self.number(term[2], bound)
        value = left + right if tag == "add" else left * right
        if value > LARGEST:
            raise _TooMuch
        return value

    def truth(self, formula: Expr, bound: tuple[int, ...]) -> bool | None:
        """None: unknown."""
        self.work -= 1
        if self.work < 0:
            raise _TooMuch
        tag = formula[0]
        if tag == "all" or tag == "ex":
            return self._quantified(formula[1], bound, decisive=tag == "ex")
        if tag == "eq":
            return self.number(formula[1], bound) == self.number(formula[2], bound)
        if tag == "pred":
            return tuple(self.number(term, bound) for term in formula[2]) in self.table[formula[1]]
        if tag == "true" or tag == "false":
            return tag == "true"
        left = self.truth(formula[1], bound)
        if tag == "imp":
            left = None if left is None else not left
        decisive = tag != "and"  # the value of one side that settles the whole
        if left is decisive:
            return decisive
        right = self.truth(formula[2], bound)
        if right is decisive or (left is not None and right is not None):
            return right
        return None

    def _quantified(self, body: Expr, bound: tuple[int, ...], decisive: bool) -> bool | None:
        if any(self.truth(body, (*bound, number)) is decisive for number in NUMBERS):
            return decisive
        return None


def refute(statement: Statement, seed: int = 0) -> str | None:
    """A counterexample in words; None where none was found. Takes a bounded number of steps, whatever the statement."""
    if any(arity > MAX_ARITY for _, arity in statement.symbols):
        return None
    for table in _tables(statement, Random(seed)):
        evaluator = _Evaluator(table)
        try:
            if evaluator.truth(statement.formula, ()) is False:
                return _in_words(statement, evaluator)
        except (_TooMuch, RecursionError):
            return None
    return None


def _tables(statement: Statement, rng: Random) -> Iterator[Table]:
    """All choices of propositions where there are few, else random predicates over small numbers."""
    if all(arity == 0 for _, arity in statement.symbols) and 2 ** len(statement.symbols) <= MODELS:
        for values in product((True, False), repeat=len(statement.symbols)):
            yield {name: frozenset([()] if value else []) for (name, _), value in zip(statement.symbols, values, strict=True)}
        return
    for turn in range(MODELS):
        share = turn / (MODELS - 1)  # from never true to always true
        yield {
            name: frozenset(point for point in product(range(8 if arity < 3 else 3), repeat=arity) if rng.random() < share)
            for name, arity in statement.symbols
        }


def _in_words(statement: Statement, evaluator: _Evaluator) -> str:
    """The values under which it fails: propositions, and numbers of the outermost quantifiers."""
    formula, bound = statement.formula, ()
    while formula[0] == "all":
        formula, values = formula[1], bound
        bound = next((*values, n) for n in NUMBERS if evaluator.truth(formula, (*values, n)) is False)
    parts = [f"{name} {'true' if evaluator.table[name] else 'false'}" for name, arity in statement.symbols if arity == 0]
    parts += [
        f"{name} true of {', '.join(' '.join(map(str, point)) for point in sorted(evaluator.table[name])[:6]) or 'nothing'}"
        for name, arity in statement.symbols
        if arity
    ]
    taken = frozenset(name for name, _ in statement.symbols)
    parts += [f"{bound_name(place, taken)} = {number}" for place, number in enumerate(bound)]
    return ", ".join(parts) or "it is false as it stands"
