"""What a search needs of the text that a theorem stands in: all of it but the proofs that nothing after them can see.

An opaque proof is replaced by ``Admitted``, which makes the same statement known under the same name. A proof stays where that could
make a difference: where it is no plain ``Qed`` of a theorem, where it says more than tactics, where statements take universes along,
and in a section, where ``Admitted`` makes a theorem depend on all variables in scope, and ``Qed`` on those that it uses. There a
proof is replaced if ``Proof using`` says which ones these are (``Admitted`` heeds it), or if the statement needs all of them anyway.

What a sentence becomes depends on it and on what comes before, so the contexts of the theorems of a file begin alike. Of a proof that
is replaced nobody hears whether it holds: that is for the audit, which is given the whole text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from sparring.envs.coq_blocks import opens_block
from sparring.envs.coq_sentence import Token, split_sentences
from sparring.envs.coq_theorems import Spoken, read_sentence

_FILES = 64
"""Texts that are remembered."""
_VARIABLES = frozenset({"Variable", "Variables", "Hypothesis", "Hypotheses", "Context", "Let"})
_DEFINING = frozenset(
    {"Definition", "Fixpoint", "CoFixpoint", "Inductive", "CoInductive", "Record", "Structure", "Class", "Variant"}
)
_BINDERS = frozenset({"forall", "exists", "exists2", "fun", "let", "fix", "cofix", "∀", "∃", "λ"})
_ENDS = frozenset(".-+*{}")
_OPEN, _CLOSE = frozenset("([{"), frozenset(")]}")
_UNIVERSES = frozenset({"Polymorphism", "Program"})
"""Settings (``Universe Polymorphism``, ``Program Mode``) under which a proof is a part of what it proves, or its statement has holes."""


def abridged(sentences: Iterable[str]) -> tuple[str, ...]:
    """The sentences with opaque proofs replaced; raises LexError."""
    reader = _Abridger()
    for sentence in sentences:
        reader.read(sentence)
    return (*reader.kept, *reader.waiting)


def read_context(text: str) -> tuple[str, ...]:
    """The sentences of a text, abridged; raises LexError. Texts of which one begins with the other are read once, in any order."""
    with _lock:
        for known in reversed(_known.values()):
            if (found := known.part(text)) is not None:
                _known.move_to_end(id(known))
                return found
        known = _Known()
        found = known.extend(text)
        _known[id(known)] = known
        if len(_known) > _FILES:
            _known.popitem(last=False)
        return found


# ------------------------------------------------------------------------------------------------ texts that were read


class _Known:
    """A text that was read. ``ends[i]``: characters up to and with the i-th sentence; ``marks[i]``: what was kept up to there, or -1
    within a proof."""

    def __init__(self) -> None:
        self.text = ""
        self.starts: list[int] = []
        self.marks = [0]
        self.reader = _Abridger()

    def part(self, text: str) -> tuple[str, ...] | None:
        """Its context, if it is a part of this text or goes on where this one ends."""
        if len(text) > len(self.text):
            whole = self.text[-1:].isspace() and self.marks[-1] >= 0
            return self.extend(text) if whole and text.startswith(self.text) else None
        number = bisect_left(self.starts, len(text))
        at_start = len(text) == len(self.text) or (number < len(self.starts) and self.starts[number] == len(text))
        if not at_start or self.marks[number] < 0 or not self.text.startswith(text):
            return None
        return tuple(self.reader.kept[: self.marks[number]])

    def extend(self, text: str) -> tuple[str, ...]:
        begin = len(self.text)
        for sentence in split_sentences(text[begin:]):
            self.reader.read(sentence.text)
            self.starts.append(begin + sentence.start)
            self.marks.append(-1 if self.reader.waiting or sentence.text[-1] != "." else len(self.reader.kept))
        self.text = text
        return (*self.reader.kept, *self.reader.waiting)


_known: OrderedDict[int, _Known] = OrderedDict()
_lock = Lock()


# ------------------------------------------------------------------------------------------------ proofs


@dataclass
class _Block:
    """An open section or module. ``needs``: variables of a section with the names that each of them mentions, and what is defined in
    the block; ``variables`` names the former, "" those that cannot be mentioned."""

    kind: str
    variables: set[str] = field(default_factory=set[str])
    needs: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])


class _Abridger:
    """``waiting``: the sentences of a theorem whose proof may still be replaced, from the statement on."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.waiting: list[str] = []
        self._stated: Spoken | None = None
        self._using: list[str] = []
        """``Proof using x.``, which stays; also ``Proof.`` where a setting says what it uses."""
        self._open = False
        """A proof is open, or may be, that is going to stay."""
        self._blocks: list[_Block] = []
        self._plain = True
        """Proofs leave nothing behind in the statements."""
        self._says_using = False
        """``Set Default Proof Using`` was said."""

    def read(self, sentence: str) -> None:
        if sentence[-1] not in _ENDS:  # the text stops in the middle of it
            (self.waiting or self.kept).append(sentence)
            return
        spoken = read_sentence(sentence)
        if self.waiting:
            self._go_on(sentence, spoken)
        elif spoken.role == "assertion" and self._plain and not self._open and _is_plain(spoken, sentence):
            self.waiting, self._stated, self._using = [sentence], spoken, []
        else:
            self._keep(sentence, spoken)

    def _go_on(self, sentence: str, spoken: Spoken) -> None:
        self.waiting.append(sentence)
        if spoken.words[:2] == ("Qed", "."):
            if self._replaceable():
                self.waiting[1:] = [*self._using, "Admitted."]
            self.kept += self.waiting
            self.waiting = []
        elif spoken.role == "begin" and len(self.waiting) == 2:
            self._using = [sentence] if self._says_using or "using" in sentence else []
        elif spoken.role not in ("tactic", "structure") or "abstract" in sentence:
            self._open = spoken.role not in ("end", "term")
            self.kept += self.waiting
            self.waiting = []

    def _keep(self, sentence: str, spoken: Spoken) -> None:
        self.kept.append(sentence)
        head = spoken.words[0]
        if spoken.role in ("end", "term"):
            self._open = False
        elif spoken.role == "assertion":
            self._open = True
        elif head == "End" and self._blocks:
            self._blocks.pop()
        elif spoken.role == "command" and head in ("Section", "Module") and (block := opens_block(spoken.tokens())) is not None:
            self._blocks.append(_Block(block.kind))
        elif head == "Set" and _UNIVERSES.intersection(spoken.words):
            self._plain = False
        elif spoken.words == ("Set", "Default", "Proof", "Using"):
            self._says_using = True
        elif self._blocks and head in _VARIABLES and self._blocks[-1].kind == "Section":
            self._declare(spoken)
        elif self._blocks and head in _DEFINING and len(spoken.words) > 1:
            self._blocks[-1].needs[spoken.words[1]] = free_names(spoken.tokens()[2:])

    def _declare(self, spoken: Spoken) -> None:
        block, mentioned = self._blocks[-1], free_names(spoken.tokens()[1:])
        for name in _declared(spoken):
            block.variables.add(name)
            block.needs[name] = mentioned

    def _replaceable(self) -> bool:
        """Whether it makes no difference to which variables of its sections the theorem is tied."""
        variables = {name for block in self._blocks for name in block.variables}
        if not variables or self._using:
            return True
        assert self._stated is not None
        needs = {name: names for block in self._blocks for name, names in block.needs.items()}
        needed: set[str] = set()
        new = set(free_names(self._stated.tokens()[2:]))
        while new:
            needed |= new
            new = {name for known in new for name in needs.get(known, ())} - needed
        return variables <= needed


def _is_plain(spoken: Spoken, sentence: str) -> bool:
    """A theorem with a name, without attributes, and by itself (``with`` states another one)."""
    head, name = spoken.tokens()[:2]
    texts = [token.text for token in spoken.tokens()]
    return (
        sentence.startswith((head.text, "Local ", "Global "))
        and name.kind == "name"
        and texts.count("with") == texts.count("match")
    )


# ------------------------------------------------------------------------------------------------ names


def _declared(spoken: Spoken) -> set[str]:
    """x, y and z of ``Variables (x y : A) (z : B)``; "" for what Coq names itself (after a backquote)."""
    head, *parts = spoken.tokens()
    if head.text == "Let":
        return {next((token.text for token in parts if token.kind == "name" and token.text not in _DEFINING), "")}
    return {*_names_bound(parts), *([""] if any(token.text == "`" for token in parts) else [])}


def free_names(parts: Sequence[Token]) -> frozenset[str]:
    """Names that are mentioned after a sentence's name, and bound nowhere in it, as far as reading tells: rather too few than too many."""
    bound = _names_bound(parts)
    for place, token in enumerate(parts):
        after = parts[place + 1 :]
        if token.text in _BINDERS:
            bound |= _names_bound(after)
        elif token.text == "{":
            bound |= _names_of_subset(after)
        elif token.text == "=" and after and after[0].text == ">":
            bound |= _names_of_pattern(parts[:place])
    return frozenset(token.text for token in parts if token.kind == "name") - bound


def _names_bound(parts: Sequence[Token]) -> set[str]:
    """x, y and z of ``x (y z : A), b``: up to the comma, ``=>`` or ``:=``."""
    names: set[str] = set()
    depth, naming, typed = 0, True, False
    for token, after in zip(parts, [*parts[1:], parts[-1]] if parts else (), strict=True):
        depth += (token.text in _OPEN) - (token.text in _CLOSE)
        if depth < 0 or (depth == 0 and (token.text == "," or (token.text, after.text) in (("=", ">"), (":", "=")))):
            break
        if token.text == ":":
            naming, typed = False, typed or depth == 0
        elif (depth == 1 and token.text in _OPEN) or (depth == 0 and token.text in _CLOSE):
            naming = not typed
        elif naming and token.kind == "name":
            names.add(token.text)
    return names


def _names_of_subset(parts: Sequence[Token]) -> set[str]:
    """x of ``{x : A | b}``."""
    names: set[str] = set()
    for token in parts:
        if token.kind != "name":
            return names if token.text in (":", "|", "&") else set()
        names.add(token.text)
    return set()


def _names_of_pattern(parts: Sequence[Token]) -> set[str]:
    """n of ``| S n =>``, and more than that where a type stands between."""
    names: set[str] = set()
    for token in reversed(parts):
        if token.text in ("|", "with", "fun"):
            return names if token.text != "fun" else set()
        names |= {token.text} if token.kind == "name" else set()
    return names
