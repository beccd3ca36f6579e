"""Tactics worth a try on a goal of Coq, found from its text alone: what a search may do where no model is asked, or asked which is best.

Which tactics, and in which order, was decided by what is frequent in the proofs of the standard library (Bool, Arith, Lists) and by what a
search without a model proved there. A text tells no definitions: whether ``t`` in ``x : t`` is an inductive type is a guess, and a move
that was guessed wrong costs one try. Nothing is asked of Coq, and the text is not trusted: it is cut where it is too long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import islice, pairwise, permutations, zip_longest
from typing import Literal, NamedTuple

from sparring.envs.coq_sentence import check_tactic

MOST = 48
"""Moves of one goal."""
LONGEST = 6_000
"""Characters that are looked at of what is to be proved, and of the hypotheses; of these the last ones."""
FACTS, VARIABLES, SPLITS = 6, 4, 3
"""Hypotheses, variables and cases of a ``match`` or an ``if`` that moves are made with; of hypotheses the last ones."""

AHEAD = 5
"""Moves that come before slow automation."""
_SLOW = frozenset({"intuition", "firstorder"})
"""Automation that may take seconds; one in five of the proofs that a search without a model found in the standard library has a step by
it."""

Form = Literal["<->", "\\/", "/\\", "=", "<>", "~", "exists", "{", "False", "sort", "other"]

_NAMES = re.compile(r"([^\W\d][\w']*(?:, [^\W\d][\w']*)*) :(=?) ")
_WORD = re.compile(r"[^\W\d][\w']*(?:\.[^\W\d][\w']*)*|\d+|[()\[\]{}]|->|[^\s\w()\[\]{}]+|_")
_NAME = re.compile(r"[^\W\d][\w']*")
_CASE = re.compile(
    r"\b(?:match|if) (?!match\b|if\b)((?:(?!\b(?:match|if|with|then|in|as|return)\b)[^;\n]){1,120}?) (?:with|then)\b"
)
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_BY_PRECEDENCE: tuple[Form, ...] = ("<->", "\\/", "/\\", "=", "<>")
_SORTS = frozenset({"Prop", "Set", "Type", "SProp"})
_RELATIONS = frozenset(["<", "<=", ">", ">=", "<?", "<=?", "=?", "≡", "∈"])
_BEFORE_HEAD = frozenset(["", "=", "<>", "<->", "~", "/\\", "\\/", "<", "<=", ">", ">="])
_BINDS = frozenset({"exists", "exists2", "exists!", "fun", "let", "match", "if"})


class Said(NamedTuple):
    """A statement as ``forall bound, premises -> tail``. ``head``: the first word of the tail, or the relation that it states."""

    bound: Sequence[tuple[str, Sequence[str]]]
    premises: Sequence[Sequence[str]]
    tail: Sequence[str]
    form: Form
    head: str


Kind = Callable[["Sight"], Iterator[str]]


def structural(goal_text: str) -> list[str]:
    """At most ``MOST`` tactics for the first goal of the text, the likeliest first, none twice. Never raises."""
    above, _, below = goal_text.partition("\n\n")[0].rpartition("⊢")
    if len(above) > LONGEST:
        above = above[-LONGEST:].partition("\n")[2]
    sight = _sight(_hypotheses(above), below[:LONGEST])
    kinds = _KINDS["intros" if sight.goal.bound or sight.goal.premises else sight.goal.form]
    found = dict.fromkeys(move for row in zip_longest(*(kind(sight) for kind in kinds)) for move in row if move)
    return list(islice(found, MOST))


def interleaved(automation: Sequence[str], moves: Sequence[str], premises: Sequence[str] = ()) -> list[str]:
    """All without what is said twice: automation that is quick, ``AHEAD`` moves, automation that is slow, then the other moves and those
    with premises in turn."""
    slow = [tactic for tactic in automation if tactic in _SLOW]
    quick = [tactic for tactic in automation if tactic not in _SLOW]
    others = (move for pair in zip_longest(premises, moves[AHEAD:]) for move in pair if move)
    return list(dict.fromkeys([*quick, *moves[:AHEAD], *slow, *others]))


class Sight(NamedTuple):
    """``facts``: statements that hold, ``data``: values of what may be inductive types; the last ones first. ``bound``: such values that
    the goal is about all of. ``cases``: what a ``match`` or an ``if`` in the goal looks at.
    ``local``: all names that are variables here, so that they are neither defined nor constructed."""

    goal: Said
    facts: Sequence[tuple[str, Said]]
    data: Sequence[str]
    bound: Sequence[str]
    cases: Sequence[str]
    local: frozenset[str]


def _sight(hypotheses: Sequence[tuple[str, Said]], below: str) -> Sight:
    sorts = {name for name, said in hypotheses if said.form == "sort" and said.tail[0] != "Prop"}
    local = {name for name, _ in hypotheses}
    facts: list[tuple[str, Said]] = []
    data: list[str] = []
    for name, said in hypotheses:
        if said.form == "sort" or said.tail[:1] == ["relation"] or (not said.bound and " ".join(said.tail) in sorts):
            continue  # a type or a predicate, or a value of an unknown type
        if not said.bound and not said.premises and _is_data(said.tail, local - sorts):
            data.append(name)
        else:
            facts.append((name, said))
    goal = _said(_WORD.findall(below))
    bound = [name for name, words in goal.bound if _is_data(words, local - sorts) and _sayable(name)]
    used = set(goal.tail).union(*goal.premises, *(words for _, words in goal.bound))
    data.sort(key=lambda name: name not in used)
    variables = frozenset(local).union(name for name, _ in goal.bound)
    return Sight(goal, facts[:FACTS], data[:VARIABLES], bound[:VARIABLES], _cases(below), variables)


# ------------------------------------------------------------------------------------------------ kinds of moves


def _introducing(sight: Sight) -> Iterator[str]:
    yield "intros"
    if sight.goal.premises:
        yield from ("induction 1; simpl; auto", "destruct 1", "intros; subst", "inversion 1", "induction 1", "intros; simpl in *")
    if sight.goal.form == "other":
        yield from ("intros; red", "intros; constructor")
    yield from ("intros; simpl; auto", "intros; split", "intro", "unfold not; intros", "simpl", "red")


def _bound(sight: Sight) -> Iterator[str]:
    """Of all values: by induction or by cases, on the first one first, and of two at once."""
    for name, other in pairwise(sight.bound):
        yield from (f"induction {name}; destruct {other}; simpl; auto", f"destruct {name}; destruct {other}; simpl; auto")
    for name in sight.bound:
        yield from (f"induction {name}; simpl; auto", f"destruct {name}; simpl; auto", f"induction {name}; simpl; intros")
        yield from (f"destruct {name}", f"induction {name}")


def _inductions(sight: Sight) -> Iterator[str]:
    for name in sight.data:
        yield from (f"destruct {name}; simpl; auto", f"induction {name}; simpl; auto", f"destruct {name}", f"induction {name}")
    for name, other in permutations(sight.data[:2], 2):
        yield f"revert {other}; induction {name}; destruct {other}; simpl; auto"


def _cases_of(sight: Sight) -> Iterator[str]:
    """Of what the goal looks at, and of what is known to be one way or the other."""
    for case in sight.cases:
        yield from (f"destruct ({case}); simpl; auto", f"destruct ({case})", f"destruct ({case}) eqn:?")
    for name, said in sight.facts:
        if said.form in ("{", "\\/", "exists") and said.bound and not said.premises:
            yield f"edestruct {name}"


def _taken_apart(sight: Sight) -> Iterator[str]:
    """What hypotheses that are no equations say."""
    for name, said in sight.facts:
        plain = not said.bound and not said.premises
        if plain and said.form in ("/\\", "\\/", "exists", "{", "<->"):
            yield f"destruct {name}"
        elif plain and said.form == "False":
            yield "contradiction"
        elif said.form in ("~", "<>"):
            yield from (f"elim {name}", f"destruct {name}; auto")
        elif plain and said.form == "other" and said.head not in sight.local:
            yield from (f"inversion {name}; subst; auto", f"destruct {name}", f"induction {name}; simpl; auto")


def _equations(sight: Sight) -> Iterator[str]:
    for name, said in sight.facts:
        if said.form == "=":
            yield from (f"rewrite {name}", f"rewrite <- {name}")
            if not said.bound and not said.premises:
                yield from ("subst", "discriminate", f"injection {name}; intros; subst")
        elif said.form == "<->":
            yield from (f"apply {name}", f"rewrite {name}")


def _applied(sight: Sight) -> Iterator[str]:
    """What says how to reach such a goal; a hypothesis whose head is a variable may reach any."""
    wanted = sight.goal.form, sight.goal.head
    for name, said in sight.facts:
        general = any(said.head == bound for bound, _ in said.bound)
        negated = said.form in ("~", "<>") and sight.goal.form == "False"
        if ((said.form, said.head) == wanted or general or negated) and (said.bound or said.premises or negated):
            yield from (f"apply {name}", f"apply {name}; auto", f"eapply {name}")


def _witnesses(sight: Sight) -> Iterator[str]:
    for name in sight.data:
        yield from (f"exists {name}; auto", f"exists {name}")
    yield from ("eexists; eauto", "eexists", "repeat eexists; eauto", "exists 0", "exists nil")


def _said_kind(*moves: str) -> Kind:
    return lambda sight: iter(moves)


def _constructing(sight: Sight) -> Iterator[str]:
    if sight.goal.head not in sight.local:
        yield from ("constructor; auto", "simpl", "red", "econstructor; eauto", "constructor")


def _unfolded(sight: Sight) -> Iterator[str]:
    """What the goal begins with, and what either side of its relation begins with, may be defined."""
    words = sight.goal.tail
    begins = [word for before, word in zip(["", *words], words, strict=False) if before in _BEFORE_HEAD and word[0].islower()]
    yield from (f"unfold {name}" for name in dict.fromkeys(begins) if name not in sight.local and _sayable(name))


_REST = _said_kind("simpl", "simpl in *", "eauto", "subst; auto", "red", "constructor", "symmetry", "exfalso", "cbn")
_HYPOTHESES = (_applied, _equations, _taken_apart)
_LAST = (_unfolded, _REST)
_KINDS: Mapping[str, Sequence[Kind]] = {
    "intros": (_introducing, _bound, _applied, _equations, _inductions, _taken_apart, _unfolded),
    "<->": (_said_kind("split; intros", "split"), _equations, _inductions, _cases_of, _taken_apart, *_LAST),
    "/\\": (_said_kind("split", "split; auto"), _taken_apart, _inductions, _cases_of, _equations, *_LAST),
    "\\/": (_said_kind("left", "right", "left; auto", "right; auto"), _taken_apart, _inductions, _cases_of, _applied, _equations, *_LAST),
    "exists": (_witnesses, _taken_apart, _inductions, _cases_of, _equations, *_LAST),
    "=": (_said_kind("simpl", "f_equal", "f_equal; auto"), _equations, _cases_of, _inductions, _applied, _taken_apart, *_LAST),
    "<>": (_said_kind("discriminate", "intro", "red; intros; subst"), _equations, _taken_apart, _inductions, _cases_of, *_LAST),
    "~": (_said_kind("intro", "red; intros", "inversion 1"), *_HYPOTHESES, _inductions, _cases_of, *_LAST),
    "False": (_said_kind("discriminate", "contradiction"), *_HYPOTHESES, _inductions, *_LAST),
    "{": (_said_kind("left", "right", "decide equality", "left; auto", "right; auto"), _cases_of, _inductions, *_HYPOTHESES, *_LAST),
    "sort": (_inductions, _REST),
    "other": (_constructing, *_HYPOTHESES, _cases_of, _inductions, *_LAST),
}  # fmt: skip
"""By the form of the goal: the kinds of moves, which take turns."""

# ------------------------------------------------------------------------------------------------ reading


def _hypotheses(above: str) -> list[tuple[str, Said]]:
    """Names and what is said of each, the last one first; a definition is said by its type. A line that names nothing goes on with the
    one before it."""
    found: list[tuple[str, str]] = []
    for line in above.split("\n"):
        named = _NAMES.match(line)
        if named:
            found.append((named[1], line[named.end() :].rpartition(" : ")[2] if named[2] else line[named.end() :]))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line}")
    found.reverse()
    read = ((names.split(", "), _said(_WORD.findall(text))) for names, text in found)
    return [(name, said) for names, said in read for name in reversed(names) if _sayable(name)]


@lru_cache(maxsize=4096)
def _sayable(name: str) -> bool:
    return check_tactic(f"destruct {name}") is None


def _said(words: Sequence[str]) -> Said:
    bound: list[tuple[str, Sequence[str]]] = []
    premises: list[Sequence[str]] = []
    words = _bare(words)
    while (cut := _cut(words)) is not None:
        if words[0] in ("forall", "∀"):
            bound += _binders(words[1:cut])
        else:
            premises.append(_bare(words[:cut]))
        words = _bare(words[cut + 1 :])
    form = _form(words)
    return Said(bound, premises, words, form, _head(words, form))


def _cut(words: Sequence[str]) -> int | None:
    """Where the first binder or premise ends."""
    if not words or words[0] in _BINDS:
        return None
    sign, depth = "," if words[0] in ("forall", "∀") else "->", 0
    for place, word in enumerate(words):
        depth += _DEPTH.get(word, 0)
        if not depth and word == sign:
            return place
        if not depth and place and (word in _BINDS or word == "forall"):
            return None
    return None


def _bare(words: Sequence[str]) -> Sequence[str]:
    """Without brackets around all of it."""
    return words[1:-1] if len(words) > 2 and words[0] == "(" and _closing(words) == len(words) - 1 else words


def _closing(words: Sequence[str]) -> int:
    depth = 0
    for place, word in enumerate(words):
        depth += _DEPTH.get(word, 0)
        if not depth:
            return place
    return -1


def _binders(words: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """n and m of ``n m : nat`` and of ``(n m : nat)``, with what each is; nothing for a name alone."""
    names: list[str] = []
    depth, group, typed = 0, 0, 0
    for place, word in enumerate([*words, ")"]):
        depth += _DEPTH.get(word, 0)
        if depth < group:
            yield from ((name, words[typed:place]) for name in names if typed)
            names, group, typed = [], 0, 0
        elif typed:
            continue
        elif word in ("(", "{", "["):
            names, group = [], depth
        elif word == ":":
            typed = place + 1
        elif _NAME.fullmatch(word):
            names.append(word)


def _form(words: Sequence[str]) -> Form:
    """What a statement without binders and premises says, as its outermost sign tells."""
    first = words[0] if words else ""
    if first in ("exists", "exists2", "exists!", "∃"):
        return "exists"
    outer: set[str] = set()
    depth = 0
    for word in words:
        depth += _DEPTH.get(word, 0)
        if not depth:
            outer.add(word)
            if word in _BINDS:
                break
    for sign in _BY_PRECEDENCE:
        if sign in outer:
            return sign
    if first == "~":
        return "~"
    if first == "False":
        return "False"
    if first in _SORTS:
        return "sort"
    return "{" if first == "{" else "other"


def _head(words: Sequence[str], form: Form) -> str:
    if form != "other":
        return form
    relations = [word for word in words if word in _RELATIONS]
    return relations[0] if relations else words[0].removeprefix("@") if words else ""


def _is_data(words: Sequence[str], values: Set[str]) -> bool:
    """Whether ``x : words`` may be a value of an inductive type: ``nat``, ``list A``; not ``A``, ``A -> B``, ``n = m``, nor ``even n``,
    since what speaks of a value is taken for a statement."""
    if not words or words[0] in _BINDS or not words[0][0].islower():
        return False
    return all((_NAME.match(word) and word not in values) or word in _DEPTH or word == "*" for word in words)


def _cases(text: str) -> list[str]:
    """What is looked at by a ``match`` or an ``if`` and can be said as it stands."""
    found = dict.fromkeys(case.strip() for case in islice(_CASE.findall(text), 4 * SPLITS))
    return [case for case in found if check_tactic(f"destruct ({case})") is None][:SPLITS]
