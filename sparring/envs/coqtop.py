"""One ``coqidetop`` process: a list of sentences that it has run, and what it says of the goals after them.

Speaks the XML protocol of Coq 8.16 (ide/coqide/protocol). What is not written down there:
- ``Add`` takes ``((((text, edit id), (state, verbose)), place), (line, column))``; a call of another form gets no answer at all.
- ``Add`` parses; ``Goal`` and ``Status`` run what was added and report its error. After an error ``Edit_at`` goes back.
- ``Edit_at`` an earlier state takes no time, and forgets what came after it.
- Answers are a stream of elements without a root, with ``&nbsp;`` for blanks. Text is escaped, so ``</value>`` is always an end.
- Text comes as Coq's own document (``Ppcmds``): strings, and breaks that are blanks on one line. The other form, text with tags, leaves
  out what is nested deep, whatever the settings, and a goal is known by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sparring.envs.process import AHEAD_BYTES, Child, Limits, ProcessDied

ARGV = (
    *("coqidetop.opt", "-main-channel", "stdfds", "--xml_format=Ppcmds", "-q", "-async-proofs", "off"),
    *("-async-proofs-tactic-error-resilience", "off", "-async-proofs-command-error-resilience", "off"),
    *("-native-compiler", "no", "-w", "none", "-topfile", "Searched.v"),
)

_INIT = b'<call val="Init"><option val="none"/></call>'
GOAL_CALL = b'<call val="Goal"><unit/></call>'
STATUS_CALL = b'<call val="Status"><bool val="false"/></call>'
_EDIT_AT = b'<call val="Edit_at"><state_id val="%d"/></call>'
_ADD = (
    b'<call val="Add"><pair><pair><pair><pair><string>%b</string><int>-1</int></pair><pair><state_id val="%d"/><bool val="false"/>'
    b"</pair></pair><int>0</int></pair><pair><int>0</int><int>0</int></pair></pair></call>"
)
_ONLY_FOCUSED = b"<list/><list/><list/></goals></option>"
_HAS_EVAR = "match goal with |- ?c => has_evar c | _ := ?b |- _ => has_evar b | _ : ?t |- _ => has_evar t end"
_NO_EVARS = f"all: tryif ({_HAS_EVAR}) then fail else idtac."
_ENTITIES = (("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))  # & last
_STATE = re.compile(rb'<state_id val="(\d+)"/>')
# The text of Coq's documents is strings, and breaks, which are strings of blanks on one line; names of tags are strings elsewhere.
_STRING = re.compile(rb'"string"><string>([^<]*)')
_BREAKS = (
    (b'"newline"/>', b'"string"><string> <'),
    *((b'"break"><pair><int>%d<' % width, b'"string"><string>%b<' % (b" " * width)) for width in (1, 2, 3)),
)
_EDGE = re.compile(rb"<ppdoc[^>/]*>|(</ppdoc>)")
_NAMES = re.compile(r"[^\s,]+(?:, [^\s,]+)*(?= :)")
_INTERRUPTED = b"User&nbsp;interrupt."
_BYTES_A_CHAR, _CALL_BYTES = 6, 1500
"""Of a sentence in a call, at most (``&quot;``), and of the rest of two calls."""
_REMEMBERED = 4096
EXHAUSTED = frozenset({"Timeout!", "User interrupt.", "Out of memory.", "Stack overflow."})


class View(NamedTuple):
    """What is open: focused goals as text, and how many others. ``background``: some are out of focus. ``apart``: no focused goal
    depends on another."""

    goals: tuple[str, ...]
    shelved: int
    given_up: int
    background: bool
    apart: bool


class Try(NamedTuple):
    """``others``: how many goals are there that the sentence is not about; with one goal left of its own, nothing has to be apart."""

    sentence: str
    others: int = 0


class Failed(NamedTuple):
    """Coq refused a sentence; ``place`` is its number among the sentences. ``exhausted``: it was stopped for its time, or for memory."""

    reason: str
    place: int
    exhausted: bool


class _Asking(NamedTuple):
    """What all sentences of a ``try_each`` have in common."""

    depth: int
    timeout_s: int
    limits: Limits


class _Heard(NamedTuple):
    """What Coq answered to a sentence. ``stray``: it was interrupted, but that was meant for another one."""

    added: bytes
    shown: bytes
    accepted: bool
    stray: bool


class Coqtop:
    """``position``: the sentences that were run. Any call may raise ProcessDied: the object is dead then."""

    def __init__(self, argv: Sequence[str], cwd: Path, limits: Limits, parting: set[str] | None = None) -> None:
        """``parting``: what is learned of sentences, to be handed to the next process."""
        self.child = Child(argv, end=b"</value>", cwd=cwd)
        self.position: list[str] = []
        [answer] = self._ask(_INIT, 1, limits)
        self._states = [self._new_state(answer)]
        """``_states[i]`` is Coq's number of the state after i sentences."""
        self._failed = False
        """Something was added since that is to be edited away: what Coq refused, or may refuse."""
        self._parting: set[str] = set() if parting is None else parting
        """Sentences after which Coq had to be asked whether the goals are apart."""

    def move(self, sentences: Sequence[str], limits: Limits) -> Failed | None:
        """Makes them the position, with as little as possible run again. After a failure the position ends before that sentence.

        ``limits`` hold for each call: for reading one sentence, and for running all of them.
        """
        back = self._back(shared(self.position, sentences))
        if back:
            self._ask(back, 1, limits)
        for sentence in sentences[len(self.position) :]:
            [answer] = self._ask(add_call(sentence, self._states[-1]), 1, limits)
            if not is_good(answer):
                self._failed = True  # run what was read before it: the first mistake may be there
                return self._run(limits) or self._failure(answer, len(self.position))
            self.position.append(sentence)
            self._states.append(self._new_state(answer))
        return self._run(limits)

    def try_each(self, depth: int, tries: Sequence[Try], timeout_s: int, limits: Limits) -> Iterator[View | Failed]:
        """What is open after each sentence by itself, run after the first ``depth`` sentences of the position, for ``timeout_s`` at
        most. If the last one is accepted it is a part of the position.

        A search spends its time here: the next sentence is sent before the answer to the last one is read, so that Coq waits for
        nobody. Who stops in the middle has to give up the process.
        """
        asking = _Asking(depth, timeout_s, limits)
        sent, heard = self._send(asking, tries[0]), None
        for trying, following in zip(tries, [*tries[1:], None], strict=True):
            stands, ahead, later = heard is None, 0, None  # stands: Coq is where this sentence led to
            if following and self._goes_ahead(trying, following):
                stands, ahead = False, self._send(asking, following)
            heard = heard or self._hear(sent)
            if heard.stray or (not stands and self._asks_more(trying, heard)):
                later = self._drained(ahead) if ahead else None
                stands, ahead, heard = True, 0, self._hear(self._send(asking, trying))  # once more, by itself
            if stands and heard.accepted:
                self._stand(trying, heard)
            asks = heard.accepted and self._asks_more(trying, heard)
            apart = self._apart(limits) if asks else not _is_many(heard.shown, trying.others)
            if following and not later and not ahead:
                ahead = self._send(asking, following)  # before the answer is read: that takes as long as some tactics
            seen = self._seen(asking, heard, apart)
            sent, heard = ahead, later
            yield seen

    def _send(self, asking: _Asking, trying: Try) -> int:
        """Asks what is open after it; how many answers that will be."""
        back = self._back(asking.depth)
        self._failed = True  # unless it is accepted
        call = add_call(f"Timeout {asking.timeout_s} {trying.sentence}", self._states[-1])
        self.child.send(back + call + GOAL_CALL, asking.limits)
        return 3 if back else 2

    def _goes_ahead(self, trying: Try, following: Try) -> bool:
        """Whether the next one may be sent already: not where Coq will be asked more about this one, as far as it is known."""
        chars = len(trying.sentence) + len(following.sentence)
        return trying.sentence not in self._parting and _BYTES_A_CHAR * chars + _CALL_BYTES < AHEAD_BYTES

    def _hear(self, answers: int) -> _Heard:
        added, shown = self.child.receive(answers)[-2:]
        accepted = is_good(added) and is_good(shown)
        stray = not accepted and not self.child.interrupted and _INTERRUPTED in (added if not is_good(added) else shown)
        return _Heard(added, shown, accepted, stray)

    def _drained(self, answers: int) -> _Heard:
        """The answers to the sentence after the one in turn. If the process dies of that one, it is not yet the time to say so."""
        try:
            return self._hear(answers)
        except ProcessDied as died:
            raise ProcessDied(died.reason, "crash") from None

    def _stand(self, trying: Try, heard: _Heard) -> None:
        self.position.append(trying.sentence)
        self._states.append(self._new_state(heard.added))
        self._failed = False

    def _seen(self, asking: _Asking, heard: _Heard, apart: bool) -> View | Failed:
        if heard.accepted:
            return _view(heard.shown, apart)
        return self._failure(heard.shown if is_good(heard.added) else heard.added, asking.depth)

    def _asks_more(self, trying: Try, heard: _Heard) -> bool:
        """Whether only Coq can say if a goal depends on another one; that is remembered."""
        shown = heard.shown
        if not heard.accepted or not _is_many(shown, trying.others):
            return False
        if b"<string>constr.evar</string>" in shown or not shown.endswith(_ONLY_FOCUSED):
            return False
        if len(self._parting) >= _REMEMBERED:
            self._parting.clear()
        self._parting.add(trying.sentence)
        return True

    def _apart(self, limits: Limits) -> bool:
        """Whether no goal depends on another one. In a part that is not printed (an implicit argument) a variable does not show."""
        answers = self._ask(add_call(_NO_EVARS, self._states[-1]) + STATUS_CALL, 2, limits)
        self._failed = True  # to be edited away in any case
        return all(map(is_good, answers))

    def in_proof(self, limits: Limits) -> bool:
        """Whether a proof is open."""
        [status] = self._ask(STATUS_CALL, 1, limits)
        return b'<option val="some"' in status[value_at(status) :]

    def close(self) -> None:
        self.child.close()

    def _ask(self, data: bytes, answers: int, limits: Limits) -> list[bytes]:
        return self.child.ask(data, answers, limits)

    def _back(self, depth: int) -> bytes:
        """The call that goes back to that many sentences, where it takes one."""
        if depth == len(self.position) and not self._failed:
            return b""
        del self.position[depth:], self._states[depth + 1 :]
        self._failed = False
        return _EDIT_AT % self._states[-1]

    def _run(self, limits: Limits) -> Failed | None:
        """Runs what was only read so far."""
        [status] = self._ask(STATUS_CALL, 1, limits)
        if is_good(status):
            return None
        self._failed = True
        found = _STATE.search(status, value_at(status))  # the last good state
        last = int(found[1]) if found else 0
        place = self._states.index(last) if last in self._states else len(self.position) - 1
        del self.position[place:], self._states[place + 1 :]
        return self._failure(status, place)

    def _new_state(self, answer: bytes) -> int:
        """What Init and Add answer."""
        found = _STATE.search(answer, max(value_at(answer), 0))
        if found is None:
            self.close()
            raise ProcessDied(f"coqidetop gave an answer that is not understood: {answer[:200]!r}", "crash")
        return int(found[1])

    def _failure(self, answer: bytes, place: int) -> Failed:
        reason = _text(answer[value_at(answer) :]).strip()
        return Failed(reason, place, reason in EXHAUSTED)


def _is_many(shown: bytes, others: int) -> bool:
    """Whether a goal may depend on another one: a goal that is one by itself does not."""
    return shown.count(b"<goal>") - others >= 2


def shared(position: Sequence[str], sentences: Sequence[str]) -> int:
    """How many of the sentences, from the first on, need not be run again."""
    for place, (ours, theirs) in enumerate(zip(position, sentences, strict=False)):
        if ours is not theirs and ours != theirs:
            return place
    return min(len(position), len(sentences))


def add_call(sentence: str, state: int) -> bytes:
    escaped = sentence.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return _ADD % (escaped.encode(), state)


def value_at(answer: bytes) -> int:
    """Where the answer proper begins, after messages that were printed on the way."""
    return answer.rfind(b"<value val=")


def is_good(answer: bytes) -> bool:
    return answer.startswith(b'<value val="good"', value_at(answer))


def _view(answer: bytes, apart: bool) -> View:
    """Four lists in a row: focused, background, shelved, given up."""
    begin = answer.find(b"<goals>", value_at(answer))
    if begin < 0:  # no proof is open
        return View((), 0, 0, background=False, apart=apart)
    begin += len(b"<goals>")
    at = list_end(answer, begin)
    texts = tuple(map(goal_text, answer[begin:at].split(b"</goal>")[:-1]))
    if answer.endswith(_ONLY_FOCUSED):
        return View(texts, 0, 0, background=False, apart=apart)
    if not answer.startswith(b"<list/>", at):
        return View(texts, 0, 0, background=True, apart=apart)
    shelved = at + len(b"<list/>")
    given_up = list_end(answer, shelved)
    counts = answer.count(b"<goal>", shelved, given_up), answer.count(b"<goal>", given_up)
    return View(texts, *counts, background=False, apart=apart)


def list_end(answer: bytes, begin: int) -> int:
    """Where the list of goals that begins there ends."""
    if answer.startswith(b"<list/>", begin):
        return begin + len(b"<list/>")
    return answer.index(b"</goal></list>", begin) + len(b"</goal></list>")


def goal_text(goal: bytes) -> str:
    """``<goal><string>7</string><list>hypotheses</list>conclusion<option/>``, a hypothesis a line. Only the list of hypotheses ends
    before a document: lists within documents end where a document ends."""
    begin = goal.index(b"</string>") + len(b"</string>")
    cut = goal.index(b"</list><ppdoc", begin) if goal.startswith(b"<list>", begin) else begin
    conclusion = _text(goal[cut : goal.rindex(b"<option val=")])
    return f"{_hyps(goal[begin:cut])}⊢ {conclusion}"


@lru_cache(maxsize=4096)
def _hyps(documents: bytes) -> str:
    """The hypotheses, a line each. Most goals have those of the goal before."""
    lines: list[str] = []
    begin = depth = 0
    for edge in _EDGE.finditer(documents):
        depth += -1 if edge[1] else 1
        if not depth:
            lines += _hyp_lines(_text(documents[begin : edge.end()]))
            begin = edge.end()
    return "".join(f"{line}\n" for line in lines)


def _hyp_lines(text: str) -> list[str]:
    """A line for each name: Coq puts neighbours of one type together, ``n, m : nat``."""
    names = _NAMES.match(text)
    if names is None or "," not in names[0]:
        return [text]
    return [name + text[names.end() :] for name in names[0].split(", ")]


def _text(document: bytes) -> str:
    """On one line."""
    for markup, string in _BREAKS:
        document = document.replace(markup, string)
    text = b"".join(_STRING.findall(document)).decode(errors="replace")
    if "&" in text:
        for entity, char in _ENTITIES:
            text = text.replace(entity, char)
    return text
