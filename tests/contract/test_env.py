"""What every ``sparring.game.Env`` promises. A new environment joins by a line in ``ENVS``."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from sparring.envs.coq import CoqEnv
from sparring.envs.coq_pool import Backend, CoqOptions
from sparring.envs.coq_snapshots.build import missing
from sparring.envs.embedded import KernelEnv
from sparring.envs.sandbox import available
from sparring.game import NO_GOALS, Env, Goals, Outcome, Proved, Rejected, Task, Verdict, make_task

NO_COQ = "coqidetop.opt is not installed" if shutil.which("coqidetop.opt") is None else available()
NO_SERVER = NO_COQ or missing()


@dataclass
class Introduced:
    """Coq with the binders of a statement introduced, as the kernel does it: the scripts here begin after that."""

    backend: Backend = "coqidetop"
    coq: CoqEnv = field(init=False)

    def __post_init__(self) -> None:
        self.coq = CoqEnv(CoqOptions(tactic_timeout_s=1, backend=self.backend))

    def start(self, task: Task) -> Goals | Rejected:
        state = self.coq.start(task)
        if isinstance(state, Rejected) or not (line := introduction(task.text)):
            return state
        outcome = self.step([(state, line)])[0]
        return outcome if isinstance(outcome, Goals) else Rejected(reason=f"{line}: {outcome}", kind="fault")

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        return self.coq.step(tries)

    def moves(self, goals: Goals) -> Sequence[str]:
        return self.coq.moves(goals)

    def hints(self, goals: Goals) -> str:
        return self.coq.hints(goals)

    def split(self, goals: Goals) -> list[Goals]:
        return self.coq.split(goals)

    def check(self, task: Task, script: str) -> Verdict:
        return self.coq.check(task, f"{introduction(task.text)}\n{script}")

    def close(self) -> None:
        self.coq.close()


def introduction(text: str) -> str:
    """``forall p q : Prop, ...`` -> ``intros p q``."""
    found = re.match(r"forall ([a-z ]+) : Prop,", text)
    return f"intros {found[1]}" if found else ""


ENVS: dict[str, Callable[[], Env]] = {"kernel": KernelEnv, "coq": Introduced, "snapshots": lambda: Introduced("snapshots")}
PARAMS = [
    "kernel",
    pytest.param("coq", marks=pytest.mark.skipif(NO_COQ is not None, reason=NO_COQ or "")),
    pytest.param("snapshots", marks=pytest.mark.skipif(NO_SERVER is not None, reason=NO_SERVER or "")),
]

TRUE = "forall p q : Prop, p /\\ q -> q /\\ p"
SCRIPT = ["intro h", "destruct h as [a b]", "split", "exact b", "exact a"]
PROVED = {
    TRUE: SCRIPT,
    "forall p q : Prop, p \\/ q -> q \\/ p": ["intro h", "destruct h as [a | b]", "right", "exact a", "left", "exact b"],
    "forall p q r : Prop, (p -> q -> r) -> q -> p -> r": ["intros f b a", "apply f", "exact a", "exact b"],
    "forall p : Prop, ~ ~ (p \\/ ~ p)": ["intro h", "apply h", "right", "intro a", "apply h", "left", "exact a"],
}
FALSE = {
    "forall p : Prop, p": ["intro h", "exact p", "assumption"],
    "forall p q : Prop, p \\/ q -> p": ["intro h", "destruct h as [a | b]", "exact a", "exact b"],
    "False": ["split", "trivial", "exact I"],
}
CHEATS = [
    "sorry",
    "admit",
    "Admitted",
    "exact sorry",
    "Abort",
    "Qed",
    "shelve",
    "give_up",
    "axiom a : False",
    "fix f 1",
]
HOSTILE = [
    "", " ", ".", "\n", "\x00", "é∀λ⟨", "\ud800", "intro " + "x" * 100_000,
    "exact " + "x" * 900, "(" * 5_000, "exact " + "(" * 900 + "h" + ")" * 900,
    "intro h\nexact h", "exact h. exact h.", "exists 99999999999999999999", "split; split", "destruct h as " + "[" * 400,
    "have g : " + "~ " * 480 + "False", "intros " + "a " * 450, "rewrite h at -1", "'; import os", "\\u0000", "%s{}%(x)s",
]  # fmt: skip
SECONDS = 15.0
"""Within which any tactic is answered, on a machine that does other things, too: what takes longer hangs."""


@pytest.fixture(scope="module", params=PARAMS)
def env(request: pytest.FixtureRequest) -> Iterator[Env]:
    env = ENVS[request.param]()
    yield env
    env.close()


def started(env: Env, text: str) -> Goals:
    state = env.start(make_task(text))
    assert isinstance(state, Goals)
    return state


def one(env: Env, state: Goals, tactic: str) -> Outcome:
    [outcome] = env.step([(state, tactic)])
    return outcome


def states(env: Env, text: str, script: list[str]) -> list[Goals]:
    """The states that a script goes through, the last one with a line to go."""
    found = [started(env, text)]
    for line in script[:-1]:
        outcome = one(env, found[-1], line)
        assert isinstance(outcome, Goals), (line, outcome)
        found.append(outcome)
    return found


@pytest.mark.parametrize("text", [*PROVED, *FALSE])
def test_a_statement_is_one_goal(env: Env, text: str):
    state = started(env, text)
    assert len(state.texts) == 1
    assert state.text == state.texts[0] != NO_GOALS


@pytest.mark.parametrize(
    "text", ["", "forall", "forall p : Prop, p /\\", "p", "forall p : Prop, nosuchthing p", "True)", "(" * 5000]
)
def test_what_is_no_statement_is_rejected(env: Env, text: str):
    outcome = env.start(make_task(text))
    assert isinstance(outcome, Rejected)
    assert outcome.kind == "refused"
    assert outcome.reason


def test_no_tries_no_outcomes(env: Env):
    assert env.step([]) == []


@pytest.mark.parametrize("text", PROVED)
def test_proved_when_nothing_is_left_and_not_before(env: Env, text: str):
    before = states(env, text, PROVED[text])
    assert all(state.texts for state in before)
    assert one(env, before[-1], PROVED[text][-1]) == Proved()


def test_the_first_goal_is_worked_on(env: Env):
    before = states(env, TRUE, SCRIPT)
    two, one_left = before[3], before[4]
    assert len(two.texts) == 2
    assert one_left.texts == two.texts[1:]
    assert two.text == "\n\n".join(two.texts)


def test_a_state_shows_what_there_is(env: Env):
    text = states(env, TRUE, SCRIPT)[2].text
    for part in ("a : p", "b : q", "q /\\ p"):
        assert part in text


def test_the_same_is_answered_the_same(env: Env):
    first, second = (states(env, TRUE, SCRIPT) for _ in range(2))
    assert first == second


def test_steps_are_independent(env: Env):
    """One state stepped many times, with what is refused in between, in any order and with states of other statements."""
    tries: list[tuple[Goals, str]] = []
    for text, script in PROVED.items():
        for state, line in zip(states(env, text, script), script, strict=True):
            tries += [(state, line), (state, "nonsense"), (state, "exfalso"), (state, line)]
    together = env.step(tries)
    assert together == env.step(tries[::-1])[::-1]
    assert together == [one(env, state, tactic) for state, tactic in tries]
    assert together[0] == together[3]
    assert isinstance(together[1], Rejected)


def test_a_refused_tactic_leaves_the_state_usable(env: Env):
    state = started(env, TRUE)
    before = state.text
    refused = one(env, state, "exact nothing")
    assert isinstance(refused, Rejected)
    assert refused.kind == "refused"
    assert refused.reason
    assert state.text == before
    assert isinstance(one(env, state, SCRIPT[0]), Goals)


@pytest.mark.parametrize("text", FALSE)
def test_what_is_false_resists(env: Env, text: str):
    state = started(env, text)
    for line in [*FALSE[text], *CHEATS]:
        outcome = one(env, state, line)
        assert not isinstance(outcome, Proved)
        state = outcome if isinstance(outcome, Goals) else state
    assert not env.check(make_task(text), "\n".join(FALSE[text])).solved


def test_goals_are_split_into_goals_that_are_proved_apart(env: Env):
    two = states(env, TRUE, SCRIPT)[3]
    parts = env.split(two)
    assert [part.texts for part in parts] == [(text,) for text in two.texts]
    assert [one(env, part, line) for part, line in zip(parts, SCRIPT[3:], strict=True)] == [Proved(), Proved()]
    assert [part.texts for part in env.split(parts[0])] == [parts[0].texts]


@pytest.mark.parametrize("text", [*PROVED, *FALSE])
def test_moves_are_lines_that_do_no_harm(env: Env, text: str):
    """Each is a tactic of one line, accepted or refused; looking for them changes nothing, and finds the same again."""
    script = PROVED.get(text, [])
    for state in states(env, text, script) if script else [started(env, text)]:
        before = state.text
        found = list(env.moves(state))
        assert list(env.moves(state)) == found
        assert state.text == before
        assert len(set(found)) == len(found)
        assert all(line.strip() and len(line.splitlines()) == 1 for line in found)
        outcomes = env.step([(state, line) for line in found])
        assert not any(isinstance(outcome, Rejected) and outcome.kind == "fault" for outcome in outcomes)
        assert not isinstance(one(env, state, "exact nothing"), Goals)
        assert state.text == before


def test_moves_are_for_the_first_goal(env: Env):
    two = states(env, TRUE, SCRIPT)[3]
    assert list(env.moves(two)) == list(env.moves(env.split(two)[0]))


@pytest.mark.parametrize("alien", [Goals(texts=()), Goals(texts=("not of this world",)), Goals(texts=("x",), handle="x")])
def test_a_solved_or_foreign_state_has_neither_moves_nor_hints(env: Env, alien: Goals):
    assert list(env.moves(alien)) == []
    assert env.hints(alien) == ""


@pytest.mark.parametrize("text", [*PROVED, *FALSE])
def test_hints_are_lines_and_do_no_harm(env: Env, text: str):
    script = PROVED.get(text, [])
    for state in states(env, text, script) if script else [started(env, text)]:
        before = state.text
        found = env.hints(state)
        assert env.hints(state) == found
        assert all(" : " in line for line in found.splitlines())
        assert state.text == before


@pytest.mark.parametrize("text", PROVED)
def test_a_script_is_checked(env: Env, text: str):
    task, script = make_task(text), PROVED[text]
    verdict = env.check(task, "\n".join(script))
    assert (verdict.score, verdict.solved, verdict.fault) == (1.0, True, None)
    assert env.check(task, "\n\n".join([*script, ""])).solved


def wrong_scripts(task: Task) -> dict[str, str]:
    script = PROVED[task.text]
    return {
        "empty": "",
        "blank": " \n ",
        "truncated": "\n".join(script[:-1]),
        "goes on after the end": "\n".join([*script, script[-1]]),
        "a line is missing": "\n".join([script[0], *script[2:]]),
        "ends in a cheat": "\n".join([*script[:-1], "admit"]),
        "begins with a cheat": "\n".join(["sorry", *script]),
        "is a cheat": "sorry",
    }


@pytest.mark.parametrize("text", PROVED)
@pytest.mark.parametrize("kind", wrong_scripts(make_task(TRUE)))
def test_a_wrong_script_does_not_pass(env: Env, text: str, kind: str):
    verdict = env.check(make_task(text), wrong_scripts(make_task(text))[kind])
    assert (verdict.score, verdict.solved, verdict.fault) == (0.0, False, None)
    assert verdict.note


def test_a_proof_of_something_else_does_not_pass(env: Env):
    assert not env.check(make_task("forall p q : Prop, p /\\ q -> q /\\ q"), "\n".join(SCRIPT)).solved
    assert not env.check(make_task("no statement at all"), "\n".join(SCRIPT)).solved


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_are_refused(env: Env, cheat: str):
    assert isinstance(one(env, states(env, TRUE, SCRIPT)[2], cheat), Rejected)


@pytest.mark.parametrize("tactic", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_rejected_soon(env: Env, tactic: str):
    state = states(env, TRUE, SCRIPT)[1]
    begun = time.perf_counter()
    outcome = one(env, state, tactic)
    assert time.perf_counter() - begun < SECONDS
    assert isinstance(outcome, Rejected)
    assert outcome.kind != "fault"
    assert len(outcome.reason) < 600
    assert isinstance(one(env, state, SCRIPT[1]), Goals)
    assert not env.check(make_task(TRUE), tactic).solved


@pytest.mark.parametrize("name", PARAMS)
def test_closing_twice_does_no_harm(name: str):
    env = ENVS[name]()
    assert env.check(make_task(TRUE), "\n".join(SCRIPT)).solved
    env.close()
    env.close()
