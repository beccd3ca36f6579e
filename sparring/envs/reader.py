"""Statements, formulas and terms as text: what Coq and Lean 4 have in common, in ASCII; the usual mathematical signs are read too.

    forall p q, p \\/ q -> q \\/ p              forall (P : N -> Prop) (n m : N), P n -> n = m -> P m
    forall n, exists m, n = m + m \\/ n = S (m + m)

What the operators mean and how tightly they bind is in ``printing.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sparring.envs.kernel import FALSE, TRUE, ZERO, Expr
from sparring.envs.printing import FORMULAS, LEVELS, SIGNS, Statement, format_expr

MAX_TEXT = 4000
"""Characters of a statement or a tactic."""
MAX_NESTING = 60
"""Nesting of what is read; the kernel's own limit is higher, since proofs build on it."""
MAX_NUMBER = 99
MAX_DEPTH = 120
"""Nesting of any formula of a goal."""
MAX_SIZE = 1000
"""Symbols of any formula of a goal."""
MAX_NAMES = 64
"""What a statement may begin with: parameters and numbers. In a goal: variables and hypotheses."""

RESERVED = frozenset({"forall", "exists", "S", "False", "True", "N", "Prop", "fun", "at", "in", "as", "with", "using"})
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_']*")
_TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_']*|[0-9]+|<->|<-|->|<>|/\\|\\/|:=|[~=+*(),:{}\[\]|;.<-]|\S")
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

    def __init__(self, reason: str) -> None:
        super().__init__(brief(reason))


def brief(reason: str, limit: int = 400) -> str:
    """A message that may quote what was written, which may be long."""
    return reason if len(reason) <= limit else f"{reason[:limit]} ..."


class Names(NamedTuple):
    """What a name can mean where text is read: variables, and predicates with their numbers of arguments."""

    variables: frozenset[str] = frozenset()
    symbols: Mapping[str, int] = {}
    untyped: frozenset[str] = frozenset()
    """Names of which only their use tells what they are; what is read with them serves to find that out, and for nothing else."""


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

    def __init__(self, tokens: Sequence[str], names: Names, bound: Sequence[str] = ()) -> None:
        """``bound``: the names of binders around what is read, the outermost first."""
        self.tokens, self.names, self.place = tokens, names, 0
        self.kinds: dict[str, int | None] = {}
        """What the untyped names were used as: predicates with so many arguments, or numbers (None)."""
        self._bound = list(bound)
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

    def number(self) -> int:
        """A number in digits."""
        found = self.next
        if not _is_number(found):
            raise Malformed(f"expected a number, found {found or 'the end'!r}")
        self.place += 1
        return _value(found)

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

    @property
    def begins_argument(self) -> bool:
        """Whether what comes next can be an argument of what came before."""
        token = self.next
        return token == "(" or _is_number(token) or (token not in RESERVED and NAME.fullmatch(token) is not None)

    def _kind(self, found: Expr, formula: bool) -> Expr:
        if found[0] == "untyped":
            return self._used(found[1], 0 if formula else None)
        if (found[0] in FORMULAS) != formula:
            check_size(found)
            what, instead = ("a proposition", "the number") if formula else ("a number", "the proposition")
            raise Malformed(f"expected {what}, found {instead} {format_expr(found, self._bound)}")
        return found

    def _used(self, name: str, kind: int | None) -> Expr:
        """Something of the kind that an untyped name has been found to be."""
        if self.kinds.setdefault(name, kind) != kind:
            raise Malformed(f"{name} is used in two ways")
        return ("var", name) if kind is None else ("pred", name, ())

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
            check_size(left)  # each one doubles what is inside
            check_size(right)
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
        if self.next in self.names.untyped and self.next not in self._bound:
            return self._untyped()
        if self._is_symbol(self.next):
            symbol = self.name()
            return ("pred", symbol, tuple([self._argument_of(symbol) for _ in range(self.names.symbols[symbol])]))
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
        if _is_number(token):
            return _numeral(self.number())
        name = self.name()
        if name in self._bound:
            return ("bound", self._bound[::-1].index(name))
        if name in self.names.variables:
            return ("var", name)
        if self.names.symbols.get(name) == 0:
            return ("pred", name, ())
        if name in self.names.untyped:
            return ("untyped", name)
        raise Malformed(f"{name} needs arguments" if name in self.names.symbols else f"unknown name {name}")

    def _argument_of(self, symbol: str) -> Expr:
        if not self.begins_argument:
            raise Malformed(f"{symbol} needs {self.names.symbols[symbol]} arguments, found {self.next or 'the end'!r}")
        return self.argument()

    def _untyped(self) -> Expr:
        name, arguments = self.name(), 0
        while self.begins_argument:
            self.argument()
            arguments += 1
        return self._used(name, arguments) if arguments else ("untyped", name)

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


def _is_number(token: str) -> bool:
    return token.isdecimal() and token.isascii()


def _value(digits: str) -> int:
    if len(digits) > 3 or int(digits) > MAX_NUMBER:
        raise Malformed(f"the number {digits:.10} is above {MAX_NUMBER}")
    return int(digits)


@lru_cache(maxsize=MAX_NUMBER + 1)
def _numeral(number: int) -> Expr:
    result = ZERO
    for _ in range(number):
        result = ("succ", result)
    return result


# ------------------------------------------------------------------------------------------------ statements


def read_statement(text: str) -> Statement:
    """The statement of a text; raises Malformed. Names bound in front may be propositions, predicates or numbers: by their type
    where one is given, else by how they are used."""
    reader = Reader(tokens_of(text), Names())
    kinds: dict[str, int | None] = {}
    untyped: set[str] = set()
    while reader.take("forall"):
        for name, kind in _parameters(reader, MAX_NAMES - len(kinds)):
            if name in kinds:
                raise Malformed(f"{name} is bound twice")
            kinds[name] = None if kind == UNTYPED else kind
            if kind == UNTYPED:
                untyped.add(name)
    if untyped:
        kinds |= _read_inner(reader, kinds, frozenset(untyped))[1]
    formula, _ = _read_inner(reader, kinds, frozenset())
    for kind in kinds.values():
        formula = ("all", formula) if kind is None else formula
    check_size(formula)
    return Statement(tuple([(name, kind) for name, kind in kinds.items() if kind is not None]), formula)


def _read_inner(reader: Reader, kinds: Mapping[str, int | None], untyped: frozenset[str]) -> tuple[Expr, dict[str, int | None]]:
    """What stands behind the names in front, and what kind of thing the ``untyped`` ones are used as."""
    symbols = {name: kind for name, kind in kinds.items() if kind is not None and name not in untyped}
    numbers = [name for name, kind in kinds.items() if kind is None and name not in untyped]
    inner = Reader(reader.tokens, Names(symbols=symbols, untyped=untyped), bound=numbers)
    inner.place = reader.place
    formula = inner.formula()
    inner.end()
    return formula, inner.kinds


UNTYPED = -1
"""In the place of a number of arguments: not said."""


def _parameters(reader: Reader, room: int) -> list[tuple[str, int | None]]:
    """The names bound by a ``forall``, at most ``room`` of them, with their numbers of arguments (None: a number)."""
    found: list[tuple[str, int | None]] = []
    while not reader.take(","):
        grouped = reader.take("(")
        names = [reader.name()]
        while NAME.fullmatch(reader.next) and reader.next not in RESERVED:
            names.append(reader.name())
        if len(found) + len(names) > room:
            raise Malformed(f"more than {MAX_NAMES} names at the beginning")
        typed = grouped or reader.next == ":"
        if typed:
            reader.expect(":")
        kind = _type(reader) if typed else UNTYPED
        found += [(name, kind) for name in names]
        if grouped:
            reader.expect(")")
        elif typed:
            reader.expect(",")
            break
    if not found:
        raise Malformed("a quantifier needs a variable")
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


def check_size(expr: Expr) -> None:
    """Raises Malformed for what is too deep or too big; without recursion, so that it holds for any depth."""
    layer: list[Expr] = [expr]
    size = 0
    for _ in range(MAX_DEPTH):
        layer = [inner for part in layer for inner in (part[2] if part[0] == "pred" else part[1:]) if type(inner) is tuple]
        size += len(layer)
        if size > MAX_SIZE:
            raise Malformed(f"more than {MAX_SIZE} symbols")
        if not layer:
            return
    raise Malformed(f"nested more than {MAX_DEPTH} deep")
