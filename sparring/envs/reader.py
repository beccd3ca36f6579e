"""Statements, formulas and terms as text: what Coq and Lean 4 have in common, in ASCII; the usual mathematical signs are read too.

    forall p q, p \\/ q -> q \\/ p              forall (P : N -> Prop) (n m : N), P n -> n = m -> P m
    forall n, exists m, n = m + m \\/ n = S (m + m)

What the operators mean and how tightly they bind is in ``printing.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sparring.envs.kernel import FALSE, TRUE, ZERO, Expr, Fuel, abstract
from sparring.envs.printing import FORMULAS, LEVELS, SIGNS, Statement, format_expr

MAX_TEXT = 4000
"""Characters of a statement or a tactic."""
MAX_NESTING = 60
"""Nesting of what is read; the kernel's own limit is higher, since proofs build on it."""
MAX_NUMBER = 40

RESERVED = frozenset({"forall", "exists", "S", "False", "True", "N", "Prop", "fun", "at", "in", "as", "with", "using"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_']*")
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_']*|[0-9]+|<->|->|<>|/\\|\\/|:=|[~=+*(),:{}\[\]|;.<-]|\S")
_SIGNS = {
    "∀": " forall ",
    "∃": " exists ",
    "λ": " fun ",
    "∧": " /\\ ",
    "∨": " \\/ ",
    "→": " -> ",
    "↔": " <-> ",
    "¬": " ~ ",
    "≠": " <> ",
    "⊥": " False ",
    "⊤": " True ",
    "·": " * ",
    "×": " * ",
    "←": " <- ",
    "⟨": " ( ",
    "⟩": " ) ",
    "ℕ": " N ",
}


class Malformed(ValueError):
    """Text that is no statement, formula or term; the message says what was expected and what was found."""


class Names(NamedTuple):
    """What a name can mean where text is read: variables, and predicates with their numbers of arguments."""

    variables: frozenset[str] = frozenset()
    symbols: Mapping[str, int] = {}


def tokens_of(text: str) -> list[str]:
    """The tokens of a text; raises Malformed for one that is too long."""
    if len(text) > MAX_TEXT:
        raise Malformed(f"{len(text)} characters are too many: at most {MAX_TEXT}")
    for sign, meaning in _SIGNS.items():
        if sign in text:
            text = text.replace(sign, meaning)
    return _TOKEN.findall(text)


class Reader:
    """Reads formulas and terms off a list of tokens. Names are looked up among bound variables first, then in ``names``."""

    def __init__(self, tokens: Sequence[str], names: Names) -> None:
        self.tokens, self.names, self.place = tokens, names, 0
        self._bound: list[str] = []
        self._nesting = 0

    @property
    def next(self) -> str:
        """The next token; "" at the end."""
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, token: str) -> bool:
        """Whether that is the next token, which is then read."""
        if self.next != token:
            return False
        self.place += 1
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise Malformed(f"expected {token!r}, found {self.next or 'the end'!r}")

    def name(self) -> str:
        """A name that may be given to something."""
        found = self.next
        if not NAME.fullmatch(found) or found in RESERVED:
            raise Malformed(f"expected a name, found {found or 'the end'!r}")
        self.place += 1
        return found

    def end(self) -> None:
        if self.next:
            raise Malformed(f"unexpected {self.next!r}")

    # -- expressions: one grammar for formulas and terms, so that no parenthesis is ever read twice

    def formula(self) -> Expr:
        return self._kind(self._expression(0), formula=True)

    def term(self) -> Expr:
        return self._kind(self._expression(LEVELS["+"][0]), formula=False)

    def argument(self) -> Expr:
        """A term that stands alone: a name, a number, or a term in parentheses."""
        return self._kind(self._alone(), formula=False)

    def _kind(self, found: Expr, formula: bool) -> Expr:
        if (found[0] in FORMULAS) != formula:
            what, instead = ("a proposition", "the number") if formula else ("a number", "the proposition")
            raise Malformed(f"expected {what}, found {instead} {format_expr(found, self._bound)}")
        return found

    def _expression(self, lowest: int) -> Expr:
        """An expression whose operators outside of parentheses bind at least as tightly as ``lowest``."""
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise Malformed(f"nested more than {MAX_NESTING} deep")
        left = self._prefix()
        while self.next in LEVELS and (level := LEVELS[self.next])[0] >= lowest:
            sign = self.tokens[self.place]
            self.place += 1
            right = self._expression(level[0] + (not level[1]))
            left = self._join(sign, left, right)
        self._nesting -= 1
        return left

    def _join(self, sign: str, left: Expr, right: Expr) -> Expr:
        of_formulas = sign in ("->", "<->", "/\\", "\\/")
        left, right = self._kind(left, of_formulas), self._kind(right, of_formulas)
        if sign == "<->":
            return ("and", ("imp", left, right), ("imp", right, left))
        if sign == "<>":
            return ("imp", ("eq", left, right), FALSE)
        return (_TAGS[sign], left, right)

    def _prefix(self) -> Expr:
        if self.take("~"):
            return ("imp", self._kind(self._expression(LEVELS["="][0]), formula=True), FALSE)
        if self.next in ("forall", "exists"):
            return self._quantified()
        if self.take("S"):
            return ("succ", self.argument())
        if self._is_symbol(self.next):
            symbol = self.name()
            return ("pred", symbol, tuple([self.argument() for _ in range(self.names.symbols[symbol])]))
        return self._alone()

    def _alone(self) -> Expr:
        token = self.next
        if self.take("("):
            inside = self._expression(0)
            self.expect(")")
            return inside
        if token in _CONSTANTS:
            self.place += 1
            return _CONSTANTS[token]
        if token.isdecimal() and token.isascii():
            self.place += 1
            return _number(token)
        name = self.name()
        if name in self._bound:
            return ("bound", self._bound[::-1].index(name))
        if name in self.names.variables:
            return ("var", name)
        if self.names.symbols.get(name) == 0:
            return ("pred", name, ())
        raise Malformed(f"{name} needs arguments" if name in self.names.symbols else f"unknown name {name}")

    def _is_symbol(self, token: str) -> bool:
        return token in self.names.symbols and token not in self._bound and token not in self.names.variables

    def _quantified(self) -> Expr:
        tag = "all" if self.next == "forall" else "ex"
        self.place += 1
        names = self._binder_names()
        self._bound += names
        body = self.formula()
        del self._bound[-len(names) :]
        for _ in names:
            body = (tag, body)
        return body

    def _binder_names(self) -> list[str]:
        """``x y,`` or ``x y : N,`` or ``(x : N) (y : N),``."""
        names: list[str] = []
        while not self.take(","):
            if self.take("("):
                names += self.typed_names("N")
                self.expect(")")
            elif names and self.take(":"):
                self.expect("N")
                self.expect(",")
                break
            else:
                names.append(self.name())
        if not names:
            raise Malformed("a quantifier needs a variable")
        return names

    def typed_names(self, kind: str) -> list[str]:
        """``x y : N`` for the kind N."""
        names = [self.name()]
        while not self.take(":"):
            names.append(self.name())
        self.expect(kind)
        return names


_TAGS = {sign: tag for tag, sign in SIGNS.items()}
_CONSTANTS = {"False": FALSE, "True": TRUE}


def _number(digits: str) -> Expr:
    if len(digits) > 3 or int(digits) > MAX_NUMBER:
        raise Malformed(f"the number {digits:.10} is above {MAX_NUMBER}")
    result = ZERO
    for _ in range(int(digits)):
        result = ("succ", result)
    return result


# ------------------------------------------------------------------------------------------------ statements


def read_statement(text: str) -> Statement:
    """The statement of a text; raises Malformed. Names bound in front may be propositions, predicates or numbers: by their type
    where one is given, else by how they are used."""
    reader = Reader(tokens_of(text), Names())
    symbols: dict[str, int] = {}
    variables: list[str] = []
    while reader.next in ("forall", "("):
        start = reader.place
        found = _parameters(reader)
        if found is None:
            reader.place = start
            break
        for name, arity in found:
            if name in symbols or name in variables:
                raise Malformed(f"{name} is bound twice")
            if arity is None:
                variables.append(name)
            else:
                symbols[name] = arity
    inner = Reader(reader.tokens, Names(frozenset(variables), symbols))
    inner.place = reader.place
    formula = inner.formula()
    inner.end()
    for name in reversed(variables):
        formula = ("all", abstract(formula, ("var", name), Fuel()))
    check_size(formula)
    return Statement(tuple(symbols.items()), formula)


def _parameters(reader: Reader) -> list[tuple[str, int | None]] | None:
    """The names bound by one ``forall``, with their numbers of arguments (None: a number); None if that is no prefix."""
    if not reader.take("forall"):
        return None
    found: list[tuple[str, int | None]] = []
    while not reader.take(","):
        grouped = reader.take("(")
        names = [reader.name()]
        while NAME.fullmatch(reader.next) and (grouped or reader.next not in RESERVED):
            names.append(reader.name())
        if grouped or reader.next == ":":
            reader.expect(":")
            arity = _type(reader)
            found += [(name, arity) for name in names]
            if grouped:
                reader.expect(")")
            else:
                reader.expect(",")
                break
        else:
            found += [(name, _use(name, reader.tokens, reader.place)) for name in names]
    return found


def _type(reader: Reader) -> int | None:
    """``N`` is None, ``Prop`` 0, ``N -> Prop`` 1 and so on."""
    arity = 0
    while reader.take("N"):
        if not reader.take("->"):
            if arity:
                raise Malformed("a function from numbers to numbers cannot be a parameter")
            return None
        arity += 1
    reader.expect("Prop")
    return arity


_BESIDE_TERMS = frozenset({"=", "<>", "+", "*", "S"})
_ENDS = frozenset({")", ",", "->", "<->", "/\\", "\\/", "=", "<>", "+", "*", "", ":", "forall", "exists"})


def _use(name: str, tokens: Sequence[str], start: int) -> int | None:
    """What an untyped name must be, seen from its first use: a number (None) or a predicate of so many arguments."""
    for place in range(start, len(tokens)):
        if tokens[place] != name:
            continue
        before, after = tokens[place - 1] if place else "", tokens[place + 1] if place + 1 < len(tokens) else ""
        if before in _BESIDE_TERMS or after in _BESIDE_TERMS:
            return None
        if (NAME.fullmatch(before) and before not in RESERVED) or before.isdecimal():
            return None  # an argument of the predicate before it
        arity, nesting, at = 0, 0, place + 1
        while at < len(tokens) and (nesting or tokens[at] not in _ENDS):
            arity += nesting == 0
            nesting += (tokens[at] == "(") - (tokens[at] == ")")
            at += 1
        if before == "(" and after == ")" and tokens[place - 2 : place - 1] and NAME.fullmatch(tokens[place - 2]):
            return None  # f (n)
        return arity
    return None


def check_size(expr: Expr, limit: int = 100) -> None:
    """Raises Malformed for what is nested deeper than ``limit``; without recursion, so that it holds for any depth."""
    layer: list[Expr] = [expr]
    for _ in range(limit):
        layer = [inner for part in layer for inner in (part[2] if part[0] == "pred" else part[1:]) if isinstance(inner, tuple)]
        if not layer:
            return
    raise Malformed(f"nested more than {limit} deep")
