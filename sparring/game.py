"""The nouns and roles of the game.

Data has no behaviour and behaviour has no data: the nouns are frozen records that a phase file can hold, the roles are
protocols that a plain object (or a test double) satisfies. This module imports nothing but the standard library.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


def stable_hash(*parts: object) -> int:
    """A 63-bit integer that depends on the parts alone: not on the process, the platform or the order of calls.

    Every random decision is seeded by ``stable_hash(run seed, round, phase, item)``; nothing reads a global generator, so
    a resumed run draws what the uninterrupted one would have drawn.
    """
    text = json.dumps([str(part) for part in parts], ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How a model samples: ``n`` answers per prompt; ``temperature`` 0 is greedy; ``top_p`` keeps that much of the mass.

    ``beam``: no sampling; the ``n`` most likely answers that a beam search of width ``n`` finds, the likeliest first
    (fewer where there are fewer); temperature and top_p mean nothing then.
    ``stop``: text at which an answer ends as well, and which is no part of its text. The sampler stops there where that is one token
    of the model's; elsewhere the text is cut.
    """

    n: int = 1
    temperature: float = 0.7
    top_p: float = 0.9
    max_new_tokens: int = 64
    beam: bool = False
    stop: str = ""


FAULT = "fault: "
"""How ``Sample.finish`` begins where there is no answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One model call: by whom, tokens in, tokens out.

    ``logprobs`` are natural logs under the whole distribution at temperature 1 (not the tempered, truncated one that was
    drawn from), one per token of ``token_ids``, so that they can serve as reference log-probs of the sampling policy.
    They are empty where a server does not tell. ``token_ids`` end with the end-of-sequence token when ``finish`` is "stop".
    """

    role: str
    prompt_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    text: str
    finish: str = "stop"  # "stop" | "length" | "fault: WHY", where the model broke: then there is no text

    @property
    def fault(self) -> str | None:
        return self.finish.removeprefix(FAULT) if self.finish.startswith(FAULT) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """How likely a given text is as an answer: its log-prob (nats) and the number of tokens that this is the sum over."""

    logprob: float
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Something to do. ``id`` is a hash of the content; ``parent`` and ``draft`` are its lineage.

    ``draft`` is the creator's own model call where a model wrote the task; ``rejected`` says which gate refused the draft
    (such a task is kept for the record and never attempted); ``meta`` is JSON: the operator that made it, what its judge
    needs to grade it, anything a report wants to group by.
    """

    id: str
    text: str
    context: str = ""
    parent: str | None = None
    draft: Sample | None = None
    rejected: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])


def make_task(
    text: str,
    *,
    context: str = "",
    parent: str | None = None,
    draft: Sample | None = None,
    rejected: str | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Task:
    """A task named by its content: the same text in the same context has the same id in every run."""
    digest = hashlib.blake2b(f"{context}\x00{text}".encode(), digest_size=8).hexdigest()
    return Task(id=digest, text=text, context=context, parent=parent, draft=draft, rejected=rejected, meta=dict(meta or {}))


NO_GOALS = "no goals"
"""The state in which nothing is left to prove."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goals:
    """What is left to prove. ``texts`` are the open goals, the one that the next tactic works on first; ``handle`` belongs to
    the environment that made it and means nothing to anybody else."""

    texts: tuple[str, ...]
    handle: Any = field(default=None, compare=False, repr=False)

    @property
    def text(self) -> str:
        return "\n\n".join(self.texts) or NO_GOALS


@dataclass(frozen=True, kw_only=True, slots=True)
class Proved:
    """No goal is left. The environment's word, not yet a verdict: a proof counts after ``Env.check``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rejected:
    """The tactic (or the statement) was refused. A player's failure is data; ``kind`` tells it from a broken environment."""

    reason: str
    kind: Literal["refused", "timeout", "fault"] = "refused"


Outcome = Goals | Proved | Rejected


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One tactic that a search ran and that the environment accepted: ``state`` became ``result`` (``NO_GOALS`` if closed).

    ``target``: the state that the planner had asked for, where there was a planner; ``logprob`` is the candidate's
    (nats); ``used``: part of the proof that was found; ``hints``: what a flat prover is shown along with the state
    (``Env.hints``), for steps that it may learn from.
    """

    state: str
    tactic: str
    result: str
    role: str
    target: str | None = None
    logprob: float = 0.0
    used: bool = False
    hints: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A response and the model calls it took. ``fault``: the model (or the environment) broke.

    In the prove game ``answer`` is a proof script, a tactic per line, each working on the first open goal ("" where none was
    found); ``steps`` are what the search ran, ``stats`` its figures (JSON): status, seconds, calls, nodes.
    """

    answer: str
    samples: tuple[Sample, ...] = ()
    fault: str | None = None
    steps: tuple[Step, ...] = ()
    stats: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the judge said. With a ``fault`` the judge itself broke: ``score`` means nothing and nothing is taught from it."""

    score: float
    solved: bool
    fault: str | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bout:
    """One task and what happened to it: the currency of the loop. ``verdicts[i]`` judges ``attempts[i]``."""

    task: Task
    attempts: tuple[Attempt, ...]
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Prefer ``chosen`` to ``rejected``. ``margin`` is the difference of their scores; ``created``: a creator made the task.

    ``wins``: how likely the chosen and the rejected answer beat another answer of the policy, each in [0, 1]; None where the
    judge's scores say nothing of the kind.
    """

    task: str
    prompt: str
    chosen: Sample
    rejected: Sample
    margin: float
    created: bool = False
    wins: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """Imitate ``completion``, ``weight`` times."""

    prompt: str
    completion: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Credit:
    """Make ``completion`` likelier, or less likely, by as much as ``advantage`` says: its score against those of its group.

    The sampler's tokens and log-probs are in the sample, so that the ratio of new to old probability needs no second pass.
    Where answers are only sorted into good and bad ones (KTO) the sign says which, and the size is the answer's weight.
    """

    task: str
    prompt: str
    completion: Sample
    advantage: float
    created: bool = False


Lesson = Pair | Demo | Credit


class Model(Protocol):
    """Something that answers prompts; the same (prompt, seed) is answered the same, whatever else is in the batch."""

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        """``how.n`` samples for each prompt, in order."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        """How likely each (prompt, text) is: that an answer to the prompt begins with the text. Nothing is generated."""
        ...


class Creator(Protocol):
    """Makes the next tasks from what the probe shows about the solver."""

    def propose(self, probe: Sequence[Bout], model: Model, seed: int) -> list[Task]: ...


class Solver(Protocol):
    """Attempts tasks with a model."""

    def attempt(self, tasks: Sequence[Task], model: Model, seed: int) -> list[tuple[Attempt, ...]]: ...


class Judge(Protocol):
    """Scores all attempts at many tasks at once. A judge that breaks says so in ``Verdict.fault``; it never raises for it."""

    def judge(self, tasks: Sequence[Task], attempts: Sequence[tuple[Attempt, ...]]) -> list[tuple[Verdict, ...]]: ...


class Learner(Protocol):
    """Turns a policy folder and lessons into a better policy folder ``out``, which does not exist yet."""

    def learn(self, policy: Path, lessons: Sequence[Lesson], out: Path, seed: int) -> None: ...


class Live(Protocol):
    """A learner in the middle of its lessons: a policy that goes on learning while it plays."""

    @property
    def model(self) -> Model:
        """Samples under the weights as they are now."""
        ...

    @property
    def done(self) -> int:
        """Turns that the weights contain."""
        ...

    def learn(self, lessons: Sequence[Lesson]) -> None:
        """The lessons of turn ``done``; none are a turn without a step."""
        ...

    def finish(self) -> None:
        """Writes the policy folder, whole."""
        ...


class Env(Protocol):
    """A proof assistant. Statements and tactics are untrusted input: nothing that is passed in may hang it or break it."""

    def start(self, task: Task) -> Goals | Rejected:
        """The statement as one goal."""
        ...

    def step(self, tries: Sequence[tuple[Goals, str]]) -> list[Outcome]:
        """Each tactic on the first of its goals, in order and independently: a ``Goals`` can be stepped any number of times."""
        ...

    def moves(self, goals: Goals) -> Sequence[str]:
        """Tactics worth a try on the first goal that nobody has to think of: found by the form of the goal, at the price of no
        model call. They may be refused; none where the environment has no idea."""
        ...

    def hints(self, goals: Goals) -> str:
        """Lemmas that may serve the first goal, a line ``name : statement`` each, the best first; empty where the environment has
        no idea."""
        ...

    def split(self, goals: Goals) -> list[Goals]:
        """One ``Goals`` per goal where the goals can be proved apart from each other; else ``[goals]``."""
        ...

    def check(self, task: Task, script: str) -> Verdict:
        """A fresh proof of the statement from its root: each line of ``script`` on the first open goal, none left at the end."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """Where models run."""

    def serve(self, policy: Path) -> AbstractContextManager[Model]:
        """A model of that policy, loaded at its first use and freed at the end of the block."""
        ...


Teach = Callable[[Sequence[Bout], Sequence[Bout], int], list[Lesson]]
"""(probe, bouts, seed) -> lessons: a pure function."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Game:
    """Five parts in a record. Two games differ in these values, never in the loop."""

    creator: Creator
    solver: Solver
    judge: Judge
    teach: Teach
    learner: Learner


@dataclass(frozen=True, kw_only=True, slots=True)
class Online:
    """How a round is played in turns, each attempted, judged, taught and learned before the next one is drawn."""

    turns: int
    draw: Callable[[int, Sequence[Task], Sequence[Sequence[Bout]], int], list[Task]]
    """(turn, the round's pool, the bouts of the turns before, seed) -> the tasks of this turn."""
    live: Callable[[Path, Path, int, int], AbstractContextManager[Live]]
    """(policy, out, turns, seed): goes on from the last saved state of ``out`` where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a game tells the loop: who plays in which round, on what, from where."""

    seed: int
    rounds: int
    shard_tasks: int
    start: Callable[[Path, Sequence[Lesson]], None]
    """(folder, traces): writes the first policy into a folder that does not exist yet, whole or not at all."""
    prompts: Mapping[str, Callable[[], list[Task]]]
    """Where pools are drawn from, by name. Read once, when the run begins: it goes on without the files they came from."""
    pool: Callable[[int, Mapping[str, Sequence[Task]], Sequence[Task]], list[Task]]
    """(round, prompts by name, tasks created in the round before) -> the pool of this round."""
    game: Callable[[int, Sequence[Task], Sequence[Lesson]], Game]
    """(round, every task seen so far and held out, traces) -> the players of this round."""
    examiner: Solver
    judge: Judge
    evals: Mapping[str, Callable[[], list[Task]]]
    second: Mapping[str, Judge] = field(default_factory=dict[str, Judge])
    """Judges of the evaluation's answers that teach nothing: where they and ``judge`` part, it is being gamed."""
    rivals: Mapping[str, Solver] = field(default_factory=dict[str, Solver])
    """Other examiners that the last policy is evaluated with, for comparison."""
    traces: Callable[[], list[Lesson]] | None = None
    """Lessons from before the first round, where there are any. Made once, when the run begins."""
    scratch: bool = False
    """Every round learns from the first policy, on all lessons so far."""
    online: Online | None = None
    close: Callable[[], None] = lambda: None
    """Ends what the players had started (``contextlib.closing``)."""
