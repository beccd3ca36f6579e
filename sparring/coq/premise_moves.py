"""Tactics to try with retrieved premises, and premises as lines of a prompt.

What a premise is good for is seen from what it says: equations and equivalences rewrite, in both directions; what offers cases is
taken apart; definitions are unfolded; everything else is applied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Literal

from sparring.coq.premises import Corpus, Premise
from sparring.coq.retrieval import Retriever
from sparring.envs.coq_sentence import LexError, Token, tokens

Form = Literal["equation", "equivalence", "cases", "definition", "other"]

_MOVES: dict[Form, tuple[str, ...]] = {
    "equation": ("rewrite {}", "apply {}", "rewrite <- {}"),
    "equivalence": ("apply {}", "rewrite {}", "rewrite <- {}"),
    "cases": ("apply {}", "edestruct {}"),
    "definition": ("unfold {}", "apply {}"),
    "other": ("apply {}", "eapply {}"),
}
_SORTS = frozenset({"Prop", "Set", "Type", "SProp"})
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_REACHES_FAR = frozenset({"forall", "fun", "exists", "exists2", "let", "match", "if", "∀", "λ"})
"""What begins with one of these goes on to the end of the brackets that it is in."""


def form_of(premise: Premise) -> Form:
    """By the conclusion of what it says. A definition is what computes something: its type ends in a sort, or in one that is no statement
    and that nothing is said about."""
    try:
        end = conclusion(_typed(premise))
    except LexError:
        return "other"
    words = [token.text for token in end]
    level = list(_outside(end))
    if premise.kind == "definition" and (len(words) <= 1 or not ({"=", "<->"} & set(level))):
        return "definition"
    if len(words) == 1 and (words[0] in _SORTS or words[0][0].islower()):  # Prop, bool; variables of propositions are capitals
        return "definition"
    if not words or words[0] in _REACHES_FAR:
        return "cases" if words and words[0].startswith("exists") else "other"
    for sign, form in (("<->", "equivalence"), ("\\/", "cases"), ("/\\", "cases")):
        if sign in level:
            return form  # pyright: ignore[reportReturnType]
    if words[0] == "~":
        return "other"
    if "=" in level:
        return "equation"
    return "cases" if words[0] == "{" else "other"


def conclusion(statement: str) -> list[Token]:
    """What is left of ``forall x, A -> B`` behind binders and conditions. Raises LexError."""
    rest = list(_joined(statement))
    while True:
        cut = _first(rest, ",") if rest and rest[0].text in ("forall", "∀") else _first(rest, "->")
        if cut is None:
            return _bare(rest)
        rest = rest[cut + 1 :]


def _typed(premise: Premise) -> str:
    """The type: of ``(n m : nat) : n = m``, which was read, what follows the binders."""
    parts = list(_joined(premise.statement))
    colon = _first(parts, ":")
    first = parts[0].text if parts else ""
    if colon is None or first == "forall" or premise.kind == "brought":
        return premise.statement
    body = premise.statement[parts[colon].start + 1 :]
    defined = _first(parts[colon + 1 :], ":=")
    return body if defined is None else premise.statement[parts[colon].start + 1 : parts[colon + 1 + defined].start]


def _joined(text: str) -> Iterator[Token]:
    """Without blanks and comments; signs that stand together are one: ``<->``, ``:=``."""
    waiting: Token | None = None
    for token in tokens(text):
        sign = token.kind == "sign" and token.text not in _OPEN | _CLOSE | {","}
        if waiting and not (sign and waiting.start + len(waiting.text) == token.start):
            yield waiting
            waiting = None
        if sign:
            waiting = Token("sign", waiting.text + token.text, waiting.start) if waiting else token
        elif token.kind not in ("blank", "comment"):
            yield token
    if waiting:
        yield waiting


def _first(parts: Sequence[Token], sign: str) -> int | None:
    """The first one outside brackets; behind a binder nothing is outside, except what ends the binder that all begins with."""
    depth = 0
    for place, token in enumerate(parts):
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        if depth == 0 and token.text == sign:
            return place
        if place and depth == 0 and token.text in _REACHES_FAR:
            return None
    return None


def _outside(parts: Sequence[Token]) -> Iterator[str]:
    depth = 0
    for token in parts:
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        if depth == 0:
            yield token.text
            if token.text in _REACHES_FAR:
                return


def _bare(parts: list[Token]) -> list[Token]:
    """Without brackets around all of it."""
    while len(parts) > 2 and parts[0].text == "(" and _closing(parts) == len(parts) - 1:
        parts = parts[1:-1]
    return parts


def _closing(parts: Sequence[Token]) -> int:
    depth = 0
    for place, token in enumerate(parts):
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        if not depth:
            return place
    return len(parts)


# ------------------------------------------------------------------------------------------------ moves


def premise_moves(named: Sequence[tuple[str, Premise]], n: int) -> list[str]:
    """At most ``n`` tactics, best first: the first move of each premise is worth more than the second one of the premise before it, as
    far as the list goes by ranks (1 + rank) x (1 + number of the move). ``named``: what to call each premise, best first."""
    found = [
        ((1 + rank) * (1 + number), rank, move.format(name))
        for rank, (name, premise) in enumerate(named)
        for number, move in enumerate(_MOVES[form_of(premise)])
    ]
    return list(dict.fromkeys(move for _, _, move in sorted(found)))[:n]


class PremiseMoves:
    """Moves and hints for theorems of one corpus. ``n``: moves for a state; ``depth``: premises that are retrieved for it."""

    def __init__(self, corpus: Corpus, retriever: Retriever, n: int = 24, depth: int = 50) -> None:
        self._corpus = corpus
        self._retriever = retriever
        self._n = n
        self._depth = depth

    def __call__(self, theorem: str, state: str) -> Sequence[str]:
        """Tactics worth a try, best first; none for a theorem that is not in the corpus. ``theorem``: its full name."""
        return premise_moves(self.retrieved(theorem, state), self._n)

    def hints(self, theorem: str, state: str, count: int = 8, cut: int = 120) -> str:
        """A line ``name : statement`` for each of the first ``count`` premises, cut at ``cut`` characters: to be put before a state."""
        lines = (f"{name} : {' '.join(premise.statement.split())}" for name, premise in self.retrieved(theorem, state)[:count])
        return "\n".join(line if len(line) <= cut else f"{line[: cut - 1]}…" for line in lines)

    def retrieved(self, theorem: str, state: str) -> Sequence[tuple[str, Premise]]:
        """What to call them, and the premises."""
        return self._kept(theorem, state) if theorem in self._corpus.theorems else ()

    @cached_property
    def _kept(self):
        return lru_cache(maxsize=1 << 14)(self._retrieve)

    def _retrieve(self, theorem: str, state: str) -> tuple[tuple[str, Premise], ...]:
        corpus, (file, start) = self._corpus, self._corpus.theorems[theorem]
        (ranked,) = self._retriever.rank([state], corpus.accessible_at(file, start)[None], self._depth)
        return tuple((corpus.short_name(place, file), corpus.premises[place]) for place in ranked)


# ------------------------------------------------------------------------------------------------ what a step does with a premise

_TACTIC = re.compile(
    r"\b(?P<apply>e?apply|e?exact|refine|lapply)\b|\b(?P<rewrite>(?:setoid_|e)?rewrite)\b|\b(?P<unfold>unfold)\b"
    r"|\b(?P<destruct>e?destruct|elim|case|induction)\b|(?<![\w.'])(?P<other>[a-z_]+)(?=\s)"
)


def kinds_of_use(tactic: str, premise: str) -> frozenset[str]:
    """How a tactic uses a premise (its full name) on the goal: ``apply``, ``rewrite ->``, ``rewrite <-``, ``unfold``, ``destruct``.

    Read from the last tactic's word before the name. In a hypothesis (``in H``, ``%lemma``), or as an argument of another term, is none.
    """
    kinds: set[str] = set()
    last = re.escape(premise.rpartition(".")[2])
    for found in re.finditer(rf"(?<![\w'%])@?(?:[\w']+\.)*{last}(?![\w'])", tactic):
        before = tactic[: found.start()].rstrip("(@ ")
        inside = tactic[found.end() :].split(";")[0].split(".")[0]
        words = [match for match in _TACTIC.finditer(before + " ") if match.lastgroup != "other"]
        if not words or re.search(r"\bin\b", inside) or before.endswith("%"):
            continue
        kind, between = words[-1].lastgroup, before[words[-1].end() :]
        if kind is None or re.search(r"[;|\[\]]|\.\s", between):
            continue
        if kind == "rewrite":
            arguments = between.rpartition(",")[2]
            if re.fullmatch(r"\s*(?:->|<-)?\s*[!?\d]*\s*\(?", arguments):
                kinds.add("rewrite <-" if "<-" in arguments else "rewrite ->")
        elif not between.rpartition(",")[2].strip(" (@"):
            kinds.add(kind)
    return frozenset(kinds)


def kind_of_move(move: str) -> str:
    """The same for a move."""
    head, *rest = move.split()
    if head == "rewrite":
        return "rewrite <-" if rest[0] == "<-" else "rewrite ->"
    return head.removeprefix("e")
