"""Where candidates come from: a prover alone, a planner that names the next state and an actor that gets there, or both.

A score is a log-prob divided by (number of its tokens) ** ``length_norm``: 0 is the papers' rule, 1 the mean over tokens.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

from sparring.game import Attempt, Env, Model, Sample, Sampling, Task, stable_hash
from sparring.prompts import (
    STEP,
    actor_prompt,
    flat_prompt,
    is_target,
    one_line,
    planner_prompt,
    size,
    split_joint,
)
from sparring.solvers.budget import Spent
from sparring.solvers.rank import Ranker, rank
from sparring.solvers.search import Hints, Proposal, Ranking, Reached, Rules, Search, no_hints
from sparring.solvers.theorem import Candidate


class Ask:
    """A model to ask about some states, with one seed, that keeps account of what each of them takes.

    ``hints``: lemmas for a state by its number; only the flat prover is shown them.
    ``retry``: how often the states were expanded before. A beam would find the same again, so a repeat is sampled.
    A prompt of more than ``max_prompt_bytes`` gets no answer: a tactic may blow a goal up without bound.
    """

    def __init__(
        self, model: Model, clock: Callable[[], float], max_prompt_bytes: int, *, seed: int, retry: int, hints: Hints = no_hints
    ) -> None:
        self._model, self._clock, self._max_prompt_bytes = model, clock, max_prompt_bytes
        self._seed, self._retry = stable_hash(seed, "expand", retry), retry
        self.hints = hints
        self.spent: dict[int, Spent] = defaultdict(Spent)
        """By the number of the state."""

    def since(self, retry: int) -> Ask | None:
        """The same, counting expansions from that one on; None before it."""
        if self._retry < retry:
            return None
        later = copy(self)
        later._retry = self._retry - retry
        return later

    def __call__(self, role: str, how: Sampling, prompts: Sequence[tuple[int, str]]) -> list[list[Sample]]:
        """The answers to each prompt, which is asked on behalf of a state's number; those that were cut off are left out."""
        how = replace(how, beam=how.beam and not self._retry)
        places = [place for place, (_, prompt) in enumerate(prompts) if size(prompt) <= self._max_prompt_bytes]
        begun = self._clock()
        asked = [prompts[place][1] for place in places]
        answered = self._model.sample(asked, how, role=role, seed=self._seed) if asked else []
        row_s = (self._clock() - begun) / max(sum(map(len, answered)), 1)
        groups: list[list[Sample]] = [[] for _ in prompts]
        for place, group in zip(places, answered, strict=True):
            spent = self.spent[prompts[place][0]]
            spent.calls += len(group)
            spent.tokens += sum(len(sample.token_ids) for sample in group)
            if role == "planner":
                spent.planner_s += row_s * len(group)
            else:
                spent.actor_s += row_s * len(group)
            groups[place] = [sample for sample in group if sample.finish == "stop"]
        return groups


class Policy(Protocol):
    """Candidates for each state, the best first, without repeats."""

    def propose(self, states: Sequence[str], ask: Ask) -> list[list[Candidate]]: ...


@dataclass(frozen=True, kw_only=True)
class Flat:
    """The tactics that the model names at once (ReProver, arXiv 2306.15626): score log p(tactic | s)."""

    actor: Sampling
    length_norm: float = 0.0

    def propose(self, states: Sequence[str], ask: Ask) -> list[list[Candidate]]:
        groups = ask("flat", self.actor, [(number, flat_prompt(state, ask.hints(number))) for number, state in enumerate(states)])
        return [
            [
                Candidate(tactic=one_line(a.text), score=a.score, role="flat", logprob=a.logprob)
                for a in _rate(group, self.length_norm)
            ]
            for group in groups
        ]


@dataclass(frozen=True, kw_only=True)
class Hierarchical:
    """RiR (OpenReview H5hePMXKht): the planner names targets s', the actor tactics for each: log p(s' | s) + log p(tactic | s, s')."""

    planner: Sampling
    actor: Sampling
    length_norm: float = 0.0

    def propose(self, states: Sequence[str], ask: Ask) -> list[list[Candidate]]:
        planned = ask(
            "planner", replace(self.planner, stop=STEP), [(number, planner_prompt(state)) for number, state in enumerate(states)]
        )
        plans = [
            (number, plan)
            for number, group in enumerate(planned)
            for plan in _rate(group, self.length_norm)
            if is_target(plan.text, states[number])
        ]
        acted = ask("actor", self.actor, [(number, actor_prompt(states[number], plan.text)) for number, plan in plans])
        found: list[list[Candidate]] = [[] for _ in states]
        for (number, plan), group in zip(plans, acted, strict=True):
            found[number] += [
                Candidate(
                    tactic=one_line(act.text),
                    score=plan.score + act.score,
                    role="actor",
                    target=plan.text,
                    logprob=plan.logprob + act.logprob,
                )
                for act in _rate(group, self.length_norm)
            ]
        return [_distinct(candidates) for candidates in found]


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Target and tactic in one answer: score log p(s', tactic | s)."""

    actor: Sampling
    length_norm: float = 0.0

    def propose(self, states: Sequence[str], ask: Ask) -> list[list[Candidate]]:
        groups = ask("joint", self.actor, [(number, planner_prompt(state)) for number, state in enumerate(states)])
        found: list[list[Candidate]] = [[] for _ in states]
        for candidates, state, group in zip(found, states, groups, strict=True):
            for answer in _rate(group, self.length_norm):
                target, tactic = split_joint(answer.text) or ("", "")
                if is_target(target, state):
                    candidates.append(
                        Candidate(
                            tactic=one_line(tactic), score=answer.score, role="joint", target=target, logprob=answer.logprob
                        )
                    )
        return [_distinct(candidates) for candidates in found]


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Candidates of both kinds under one budget, each kind from some expansion of a state on.

    What is generated is dear, so where the environment has moves of its own (``Rules.moves``) a state's first expansion needs none.
    Scores of different kinds are comparable only by a ``Ranker``.
    """

    flat: Flat
    goals: Hierarchical
    flat_from: int = 1
    """The expansion of a state, counted from 0, from which on the flat prover is asked."""
    goals_from: int = 2
    """The same for planner and actor."""

    def propose(self, states: Sequence[str], ask: Ask) -> list[list[Candidate]]:
        found: list[list[Candidate]] = [[] for _ in states]
        kinds: tuple[tuple[Policy, int], ...] = ((self.flat, self.flat_from), (self.goals, self.goals_from))
        for policy, first in kinds:
            if later := ask.since(first):
                for own, more in zip(found, policy.propose(states, later), strict=True):
                    own += more
        return [_distinct(candidates) for candidates in found]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rated:
    text: str
    logprob: float
    score: float


def _rate(group: Sequence[Sample], length_norm: float) -> list[_Rated]:
    """The different answers of a group that say anything, the best first."""
    best: dict[str, _Rated] = {}
    for sample in group:
        # A server that tells no log-probs leaves its answers equally likely.
        logprob = sum(sample.logprobs) if sample.logprobs else -math.log(len(group))
        score = logprob / max(len(sample.token_ids), 1) ** length_norm
        key = one_line(sample.text)
        if key and (key not in best or best[key].score < score):
            best[key] = _Rated(text=sample.text.strip(), logprob=logprob, score=score)
    return sorted(best.values(), key=lambda rated: rated.score, reverse=True)


def _distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each tactic once, at its best, the best first."""
    best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=_score, reverse=True):
        best.setdefault(candidate.tactic, candidate)
    return list(best.values())


def _score(candidate: Candidate) -> float:
    return candidate.score


_TACTICS = Sampling(n=16, beam=True, max_new_tokens=64)
_TARGETS = Sampling(n=5, beam=True, max_new_tokens=256)

PRESETS: Mapping[str, Policy] = {
    "flat": Flat(actor=_TACTICS),
    # The paper takes 64 tactics for each of 5 targets; here there are fewer, since every call is paid for.
    "rir": Hierarchical(planner=_TARGETS, actor=replace(_TACTICS, n=8)),
    "joint": Joint(actor=replace(_TACTICS, max_new_tokens=320)),
    "mixture": Mixture(
        flat=Flat(actor=replace(_TACTICS, n=8), length_norm=0.5),
        goals=Hierarchical(planner=replace(_TARGETS, n=4), actor=replace(_TACTICS, n=2), length_norm=0.5),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Prover:
    """The prove game's solver: one attempt at each task; what came of it is in its ``stats`` and ``steps``."""

    env: Env
    rules: Rules
    policy: Policy = PRESETS["mixture"]
    ranker: Ranker | None = None
    """Scores candidates by where they led; None: they keep the scores of who named them."""

    def attempt(self, tasks: Sequence[Task], model: Model, seed: int) -> list[tuple[Attempt, ...]]:
        def expand(states: Sequence[str], hints: Hints, retry: int) -> list[Proposal]:
            ask = Ask(model, self.rules.clock, self.rules.max_bytes, seed=seed, retry=retry, hints=hints)
            candidates = self.policy.propose(states, ask)
            return [Proposal(candidates=found, spent=ask.spent[number]) for number, found in enumerate(candidates)]

        def ranked(reached: Sequence[Reached]) -> list[Ranking]:
            assert self.ranker is not None
            return rank(self.ranker, reached, model, self.rules.clock, self.rules.max_bytes)

        search = Search(self.env, expand, self.rules, ranked if self.ranker else None)
        return [(attempt,) for attempt in search.run(tasks)]
