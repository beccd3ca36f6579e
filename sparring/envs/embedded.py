"""The embedded proof environment: the kernel of ``kernel.py`` behind the tactics of ``tactics.py``, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sparring.envs.goals import MAX_GOALS, Goal, TacticError, format_goal
from sparring.envs.kernel import KernelError, Theorem, prove
from sparring.envs.moves import moves
from sparring.envs.printing import Statement, format_statement
from sparring.envs.reader import NAME, RESERVED, Malformed, read_statement
from sparring.envs.script import CHECK_FUEL, Tree, proof_of, prove_tree
from sparring.envs.tactics import run
from sparring.errors import SparringError
from sparring.game import Goals, Outcome, Proved, Rejected, Task, Verdict


class Lemma(NamedTuple):
    """Something that may be used by its name, with its proof, a tactic per line."""

    name: str
    statement: str
    script: str


class KernelEnv:
    """Proves statements from a library of lemmas, each of which is checked first, with those before it."""

    def __init__(self, library: Sequence[Lemma] = ()) -> None:
        self.lemmas: dict[str, Theorem] = {}
        self.statements: dict[str, str] = {}
        """The lemmas as text, in canonical form."""
        for name, text, script in library:
            if not NAME.fullmatch(name) or name in RESERVED or name in self.lemmas:
                raise SparringError(f"a lemma cannot be called {name!r}: names differ, and look like add_comm")
            proved = self._prove(text, script)
            if isinstance(proved, str):
                raise SparringError(f"the proof of lemma {name} is wrong: {proved}")
            self.lemmas[name] = proved
            self.statements[name] = format_statement(Statement(proved.symbols, proved.formula))

    def start(self, task: Task) -> Goals | Rejected:
        """The statement as one goal."""
        try:
            goal = root(task.text)
        except Malformed as error:
            return Rejected(reason=str(error))
        return Goals(texts=(format_goal(goal),), handle=(goal,))

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        """Each tactic on the first of its goals."""
        return [self._step(goals, tactic) for goals, tactic in tries]

    def _step(self, goals: Goals, tactic: str) -> Outcome:
        if type(goals.handle) is not tuple or not goals.handle:
            return Rejected(reason="this state was not made by this environment", kind="fault")
        first, *others = goals.handle
        try:
            left = run(first, tactic, self.lemmas).goals
        except TacticError as error:
            return Rejected(reason=error.reason, kind=error.kind)
        if not left and not others:
            return Proved()
        if len(left) + len(others) > MAX_GOALS:
            return Rejected(reason=f"more than {MAX_GOALS} goals")
        return Goals(texts=(*map(format_goal, left), *goals.texts[1:]), handle=(*left, *others))

    def moves(self, goals: Goals) -> list[str]:
        """What the form of the first goal suggests (see ``moves.py``); nothing for a state that was not made here."""
        return moves(goals.handle[0], self.lemmas) if type(goals.handle) is tuple and goals.handle else []

    def hints(self, goals: Goals) -> str:
        """None: its few lemmas are tried as moves."""
        return ""

    def split(self, goals: Goals) -> list[Goals]:
        """Each goal by itself: no goal depends on how another one is proved."""
        return [Goals(texts=(text,), handle=(goal,)) for text, goal in zip(goals.texts, goals.handle, strict=True)]

    def check(self, task: Task, script: str) -> Verdict:
        """A fresh proof from the statement's text; the kernel has the last word."""
        proved = self._prove(task.text, script)
        if isinstance(proved, str):
            return Verdict(score=0.0, solved=False, note=proved)
        return Verdict(score=1.0, solved=True)

    def close(self) -> None:
        """Nothing to close."""

    def replay(self, statement: str, script: str) -> Tree:
        """The goals that a script goes through and what each line does; raises Malformed or TacticError."""
        return prove_tree(root(statement), lines_of(script), self.lemmas)

    def _prove(self, statement: str, script: str) -> Theorem | str:
        """The theorem, or what is wrong."""
        try:
            tree = self.replay(statement, script)
            return prove(tree.goal.symbols, tree.goal.conclusion, proof_of(tree), self.lemmas, CHECK_FUEL)
        except Malformed as error:
            return str(error)
        except TacticError as error:
            return error.reason
        except KernelError as error:
            return f"the kernel refuses the proof: {error}"
        except RecursionError:
            return "nested too deep"


def root(statement: str) -> Goal:
    """The goal that a statement is; raises Malformed."""
    symbols, formula = read_statement(statement)
    return Goal(symbols, (), (), formula)


def lines_of(script: str) -> list[str]:
    """The tactics of a proof script."""
    return [line for line in script.splitlines() if line.strip()]
