"""Coq text as tokens and sentences, and what of a model's text may reach Coq at all.

Two questions are answered here, both without asking Coq:

- Where do the sentences of a file end? A sentence ends at a dot that a blank follows, outside strings and comments; a bullet or a
  brace at the place where a sentence begins is a sentence by itself (Coq's own lexer, clexer.mll, decides the same way).
- Is a model's text one harmless tactic (``check_tactic``), or one term (``check_statement``)?

A list of allowed tactics would have to name every tactic that a development defines for itself, so what is allowed is a *form*:
one sentence that begins like a tactic (a lower-case word, a bracket), whose brackets are balanced, in characters that Coq's lexer and
this one split in the same places. In that form no command can be said, with one exception (``infoH``). Within it, words are denied
that end a goal without a proof, that skip or put off a check, that leave the process, that print without end, or that
change the limits the caller has set. A denied word is denied wherever it is a word: also as a part of a qualified name, never as a
part of a longer word or in a string. The form is enforced a second time by Coq's parser: ``tactic_sentence`` writes
``1: ( tactic ).``, and ``theorem_sentence`` puts the statement in parentheses; no command fits in there.

This keeps honest players honest and the prover usable. It is not what soundness rests on: that is ``coq_audit``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

MAX_TACTIC = 2_000
"""Characters. The longest one in a hundred of the standard library has 175."""
MAX_STATEMENT = 8_000
"""Characters."""
MAX_DEPTH = 60
"""Brackets within brackets."""

# ------------------------------------------------------------------------------------------------ tokens

Kind = Literal["blank", "comment", "string", "name", "number", "dots", "sign"]


class Token(NamedTuple):
    """``text[start:start + len(token.text)]``. A qualified name is one token; so is a run of dots, or of one of ``-+*``."""

    kind: Kind
    text: str
    start: int


class LexError(ValueError):
    """A comment or a string that does not end."""


_WORD = r"[^\W\d][\w']*"
_TOKEN = re.compile(
    rf"(?P<blank>[ \t\r\n]+)|(?P<name>{_WORD}(?:\.{_WORD})*)|(?P<number>\d[\d_]*(?:\.\d[\d_]*)?)|(?P<dots>\.+)"
    r'|(?P<comment>\(\*)|(?P<string>")|(?P<sign>-+|\++|\*+|.)',
    re.DOTALL,
)
_STRING = re.compile(r'"(?:[^"]|"")*"')
_IN_COMMENT = re.compile(r'\(\*|\*\)|"')


def tokens(text: str) -> Iterator[Token]:
    """Every character of the text, in order; raises LexError."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        assert found is not None, "any character is a sign"
        kind: Kind = found.lastgroup  # pyright: ignore[reportAssignmentType]
        end = found.end()
        if kind == "string":
            end = _end_of_string(text, place)
        elif kind == "comment":
            end = _end_of_comment(text, place)
        yield Token(kind, text[place:end], place)
        place = end


def _end_of_string(text: str, start: int) -> int:
    found = _STRING.match(text, start)
    if found is None:
        raise LexError('a string does not end: " is missing')
    return found.end()


def _end_of_comment(text: str, start: int) -> int:
    """Comments nest, and strings within them are strings."""
    depth, place = 1, start + 2
    while depth:
        found = _IN_COMMENT.search(text, place)
        if found is None:
            raise LexError("a comment does not end: *) is missing")
        place = found.end()
        if found[0] == '"':
            place = _end_of_string(text, found.start())
        else:
            depth += 1 if found[0] == "(*" else -1
    return place


# ------------------------------------------------------------------------------------------------ sentences


class Sentence(NamedTuple):
    """``text[start:end]``, from its first token to its dot; blanks and comments before it belong to no sentence."""

    text: str
    start: int
    end: int


_SELECTOR = re.compile(r"(?:\d+|\[\s*[^\W\d][\w']*\s*\])\s*:\s*")


def split_sentences(text: str) -> list[Sentence]:
    """The sentences of a Coq file, bullets and braces among them; text without a last dot is the last one.

    Offsets count characters. Code of other languages that plug-ins quote (``lp:{{ }}``) is not understood. Raises LexError.
    """
    sentences: list[Sentence] = []
    start: int | None = None
    for token in tokens(text):
        if token.kind in ("blank", "comment"):
            continue
        end = token.start + len(token.text)
        if start is None:
            start = token.start
        if _ends_sentence(token, text, start):
            sentences.append(Sentence(text[start:end], start, end))
            start = None
    if start is not None:
        rest = text[start:].rstrip(" \t\r\n")
        sentences.append(Sentence(rest, start, start + len(rest)))
    return sentences


def _ends_sentence(token: Token, text: str, start: int) -> bool:
    if token.kind == "dots":
        return _is_full_stop(token, text)
    if token.kind != "sign":
        return False
    if token.start == start:
        return token.text[0] in "-+*{}"
    return token.text == "{" and _SELECTOR.fullmatch(text, start, token.start) is not None


def _is_full_stop(token: Token, text: str) -> bool:
    """``x.y``, ``p.1`` and ``p.(f)`` have no blank after the dot; ``[ .. | auto ]`` has one after two dots."""
    after = text[token.start + len(token.text) :][:1]
    return len(token.text) != 2 and (not after or after in " \t\r\n")


# ------------------------------------------------------------------------------------------------ what a model may say

_DENIED = {
    "it leaves the proof unfinished": ("admit", "give_up", "shelve", "shelve_unifiable", "proof_admitted"),
    "a recursive call is checked only at the end of the proof": ("cofix",),
    "it proves a lemma on the side": ("abstract", "transparent_abstract"),
    "it changes limits or settings of the prover": (
        "time", "timeout", "with_strategy", "optimize_heap", "time_constr", "restart_timer", "finish_timing",
    ),
    "it runs other programs": ("native_compute", "external", "hammer", "predict", "run_tactic"),
    "it prints": ("infoH", "debug", "info", "info_auto", "info_eauto", "info_trivial"),
    "it opens another language": ("ltac2",),
}  # fmt: skip
DENIED: dict[str, str] = {word: why for why, words in _DENIED.items() for word in words}
"""Word -> why no tactic may contain it."""
_DENIED_FORMS = (
    (re.compile(r"\w*_no_check"), "it skips a check"),
    (re.compile(r"[wx]?psatz(_\w+)?|[wx]?sos_[QRZ]|hammer_\w+"), "it runs other programs"),
)
_ASCII_WORD = re.compile(r"[A-Za-z0-9_']+")
"""Parts of a qualified name. Coq may end a word before a letter that is none for Coq, so such letters separate words here."""
_QUOTING = frozenset({"ltac", "ltac2", "constr", "uconstr", "open_constr", "preterm"})
_AFTER_IDTAC = frozenset({"end", "in", "then", "else", "with"})
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# Letters of Western Europe and Greek, super- and subscripts, letter-like signs (ℕ), arrows, operators, brackets, mathematical letters.
_RANGES = (
    (0xA1, 0xFF), (0x370, 0x3FF), (0x2070, 0x209F), (0x2100, 0x214F), (0x2190, 0x23FF), (0x25A0, 0x25FF), (0x27C0, 0x27FF),
    (0x2900, 0x2AFF), (0x1D400, 0x1D7FF),
)  # fmt: skip
_CLASSES = frozenset({"Lu", "Ll", "Lo", "Sm", "So", "No", "Nd", "Ps", "Pe"})
_NATIVE_CAST = "<<:"
_MIDDLE_DOT = "·"
"""Punctuation for Unicode, a product in some notations; no dot for Coq."""


def tidy(text: str) -> str:
    """A model's tactic on one line and without its last dot. Text that cannot be split into tokens stays as it is."""
    try:
        parts = list(tokens(text.strip(" \t\r\n")))
    except LexError:
        return text
    if parts and parts[-1].text == ".":
        del parts[-1]
    return "".join(" " if token.kind == "blank" else token.text for token in parts).strip(" ")


def check_tactic(text: str) -> str | None:
    """Why a text is not one harmless tactic, for the player to read; None if it is. A last dot and line breaks do not matter."""
    line = tidy(text)
    parts = _parts(line, MAX_TACTIC)
    if isinstance(parts, str):
        return parts
    return _wrong_head(parts) or _wrong_words(parts)


def check_statement(text: str) -> str | None:
    """Why a text is not one harmless term; None if it is. ``theorem_sentence`` says the rest: it must be a type."""
    parts = _parts(text.strip(" \t\r\n"), MAX_STATEMENT, blanks="\n")
    if isinstance(parts, str):
        return parts
    texts = [token.text for token in parts]
    for word, colon, bracket in zip(texts, texts[1:], texts[2:], strict=False):
        if word in _QUOTING and (colon, bracket) == (":", "("):
            return f"{word}:( ) is no part of a statement"
    return "$ is no part of a statement" if "$" in texts else None


def tactic_sentence(text: str) -> str:
    """The sentence that runs a checked tactic on the first goal. In this form Coq's parser accepts nothing but a tactic."""
    return f"1: ( {tidy(text)} )."


def theorem_sentence(name: str, statement: str) -> str:
    """The sentence that states a checked statement. The parentheses keep it one term: no ``:=``, no ``with`` of a second theorem."""
    return f"Theorem {name} :\n( {statement.strip()} )."


def _parts(text: str, limit: int, blanks: str = "") -> list[Token] | str:
    """The tokens without blanks, if this is the text of one tactic or term; else what is wrong with it."""
    if not text:
        return "there is nothing"
    if len(text) > limit:
        return f"{len(text)} characters are too many: at most {limit}"
    for char in text:
        if not _is_plain(char) and char not in blanks:
            return f"the character {char!r} (U+{ord(char):04X}) is not allowed"
    try:
        parts = list(tokens(text))
    except LexError as error:
        return str(error)
    for token in parts:
        if token.kind == "comment":
            return "comments are not allowed"
        if token.kind == "dots" and (len(token.text) > 2 or _is_full_stop(token, text) or token is parts[-1]):
            return "a dot ends a sentence: only one sentence is allowed, without dots"
    if _NATIVE_CAST in "".join('""' if token.kind == "string" else token.text for token in parts):
        return f"{_NATIVE_CAST} is not allowed: it runs other programs"
    parts = [token for token in parts if token.kind != "blank"]
    return _unbalanced(parts) or parts


def _is_plain(char: str) -> bool:
    """ASCII that can be seen, the space, and the letters and signs of mathematics.

    Nothing of zero width, no other blanks (Coq takes U+00A0 for a letter), no full-width forms, no letters of other scripts.
    """
    code = ord(char)
    if code < 0x80:
        return 0x20 <= code < 0x7F
    if char == _MIDDLE_DOT:
        return True
    return any(first <= code <= last for first, last in _RANGES) and unicodedata.category(char) in _CLASSES


def _unbalanced(parts: Sequence[Token]) -> str | None:
    waiting: list[str] = []
    for token in parts:
        if token.kind != "sign":
            continue
        if token.text in _CLOSING:
            waiting.append(_CLOSING[token.text])
            if len(waiting) > MAX_DEPTH:
                return f"brackets nest too deep: at most {MAX_DEPTH}"
        elif token.text in ")]}" and (not waiting or waiting.pop() != token.text):
            return f"{token.text} closes no bracket"
    return f"{waiting[-1]} is missing" if waiting else None


def _wrong_head(parts: Sequence[Token]) -> str | None:
    """Commands begin with a capital letter or ``#[``; bullets, braces and goal selectors with a sign or a number."""
    head, after = parts[0], parts[1] if len(parts) > 1 else None
    if head.kind == "name":
        if head.text[0].isupper() and "." not in head.text:  # Z.order is a tactic of the module Z
            return f"{head.text} is a command, not a tactic"
        if head.text in ("all", "par") and after is not None and after.text == ":":
            return f"{head.text}: selects goals; a tactic works on the first one"
        return None
    if head.text == "(" or (head.text == "[" and after is not None and after.text == ">"):
        return None
    return f"a tactic does not begin with {head.text:.20}"


def _wrong_words(parts: Sequence[Token]) -> str | None:
    nothing = Token("blank", "", 0)
    for token, first, second in zip(parts, [*parts[1:], nothing], [*parts[2:], nothing, nothing], strict=False):
        if token.kind != "name":
            continue
        for word in _ASCII_WORD.findall(token.text):
            if why := _denied(word):
                return f"{word} is not allowed: {why}"
        if token.text == "fix" and "number" in (first.kind, second.kind):
            return "fix is not allowed: a recursive call is checked only at the end of the proof"
        if token.text == "idtac" and first.kind in ("string", "number", "name") and first.text not in _AFTER_IDTAC:
            return "idtac with a message is not allowed: it prints"
        if token.text == "ltac" and (first.text, second.text) != (":", "("):  # within ltac:( ) the same words are denied
            return "ltac is not allowed: it measures and prints"
        if token.text == "only" and first.text == "par":
            return "par is not allowed: it starts other processes"
    return None


def _denied(word: str) -> str | None:
    forms = (why for form, why in _DENIED_FORMS if form.fullmatch(word))
    return DENIED.get(word) or next(forms, None)
