"""Conjectures of the theorem world: statements made from proved ones, and which statements are worth an attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from random import Random
from typing import Any

from sparring.envs.kernel import FALSE, TRUE, Expr, Fuel, KernelError, normal
from sparring.envs.printing import Statement, format_statement
from sparring.envs.reader import Malformed, read_statement
from sparring.envs.refute import refute
from sparring.game import stable_hash
from sparring.worlds.keys import formula_key
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.mutations import MUTATIONS, Known, Subject
from sparring.worlds.places import open_statement, premises_of, tidied

OPERATORS = tuple(MUTATIONS)
MAX_SIZE = 60
"""Signs of a statement."""
_TRIES = 24
"""Changes that a mutation looks at before it gives up."""
_OTHERS = 40
"""Other theorems that one mutation looks at."""

EQUIVALENCES = (
    "forall p q, p /\\ q <-> q /\\ p",
    "forall p q, p \\/ q <-> q \\/ p",
    "forall p q r, (p /\\ q) /\\ r <-> p /\\ q /\\ r",
    "forall p q r, (p \\/ q) \\/ r <-> p \\/ q \\/ r",
    "forall p q r, p /\\ (q \\/ r) <-> p /\\ q \\/ p /\\ r",
    "forall p q r, p \\/ q /\\ r <-> (p \\/ q) /\\ (p \\/ r)",
    "forall p q r, (p /\\ q -> r) <-> (p -> q -> r)",
    "forall p q r, (p \\/ q -> r) <-> (p -> r) /\\ (q -> r)",
    "forall p q r, (p -> q /\\ r) <-> (p -> q) /\\ (p -> r)",
    "forall p q, ~ (p \\/ q) <-> ~ p /\\ ~ q",
    "forall p, ~ ~ ~ p <-> ~ p",
    "forall (P : N -> Prop) (q : Prop), ((exists x, P x) -> q) <-> (forall x, P x -> q)",
    "forall (P : N -> Prop), ~ (exists x, P x) <-> (forall x, ~ P x)",
    "forall (P Q : N -> Prop), (forall x, P x /\\ Q x) <-> (forall x, P x) /\\ (forall x, Q x)",
    "forall (P Q : N -> Prop), (exists x, P x \\/ Q x) <-> (exists x, P x) \\/ (exists x, Q x)",
    "forall (P : N -> Prop) (q : Prop), (exists x, P x /\\ q) <-> (exists x, P x) /\\ q",
    "forall x y, x = y <-> y = x",
    "forall x y, S x = S y <-> x = y",
)
"""What formulas are rewritten with besides lemmas; all hold constructively."""


@lru_cache(maxsize=1)
def library() -> tuple[Known, ...]:
    """What mutations build on. Not the reserved lemmas: an evaluation asks for their first use."""
    lemmas = [Known(lemma.name, read_statement(lemma.statement)) for lemma in LIBRARY if lemma.name not in RESERVED]
    return (*lemmas, *(Known("", read_statement(text)) for text in EQUIVALENCES))


def mutate(text: str, operator: str, seed: int, others: Sequence[str] = ()) -> str:
    """A statement made from a proved one; "" where the operator finds none (or the text is no statement)."""
    return mutate_with(text, operator, seed, others)[0]


def mutate_with(text: str, operator: str, seed: int, others: Sequence[str] = ()) -> tuple[str, str]:
    """``mutate``, and the name of the lemma that made the change, or "". ``others``: further theorems to make it with."""
    rng = Random(stable_hash(seed, text, operator))
    drawn = rng.sample(others, min(len(others), _OTHERS))
    more = [Known("", statement) for other in drawn if (statement := _statement(other)) is not None]
    try:
        statement = read_statement(text)
        keys = {formula_key(statement), formula_key(tidied(statement.formula))}
        for mutant in islice(MUTATIONS[operator](Subject(statement, rng), [*library(), *more]), _TRIES):
            made = tidied(mutant.formula)
            if isinstance(judge(made), Mapping) and formula_key(made) not in keys:
                return format_statement(made), mutant.lemma
    except (Malformed, KernelError, RecursionError):  # no statement, or one bigger than anything that would be accepted
        pass
    return "", ""


@lru_cache(maxsize=4096)
def _statement(text: str) -> Statement | None:
    try:
        return read_statement(text)
    except Malformed:
        return None


# ------------------------------------------------------------------------------------------------ validity


def read(text: str, max_size: int = MAX_SIZE) -> Mapping[str, Any] | str:
    """What there is to know of a statement that is worth an attempt, or why it is not: its ``size``, the ``key`` of its normal form
    and its canonical ``text``."""
    try:
        return judge(read_statement(text), max_size)
    except Malformed:
        return "no statement"


def judge(statement: Statement, max_size: int = MAX_SIZE) -> Mapping[str, Any] | str:
    """``read`` of a statement that was read."""
    size = size_of(statement.formula)
    if size > max_size:
        return "too large"
    try:
        reason = _triviality(statement.formula)
    except (KernelError, RecursionError):
        reason = "too large to compute"
    if not reason and refute(statement):
        reason = "false"
    return reason or {"size": size, "key": formula_key(statement), "text": format_statement(statement)}


def size_of(expr: Expr) -> int:
    """Signs: operators, quantifiers, predicates, variables and numbers (one each)."""
    inner = expr
    while inner[0] == "succ":
        inner = inner[1]
    if inner == ("zero",):
        return 1
    if expr[0] in ("var", "bound"):
        return 1
    return 1 + sum(map(size_of, expr[2] if expr[0] == "pred" else expr[1:]))


def _triviality(formula: Expr) -> str:
    """Why no proof needs more than introductions and one word; "" where one may."""
    _, body = open_statement(formula)
    premises, conclusion = premises_of(body)
    if conclusion in premises:
        return "its conclusion is a premise"
    if FALSE in premises:
        return "False is a premise"
    if conclusion == TRUE:
        return "its conclusion is True"
    if conclusion[0] == "eq" and normal(conclusion[1], Fuel()) == normal(conclusion[2], Fuel()):
        return "closed by rfl"
    return ""
