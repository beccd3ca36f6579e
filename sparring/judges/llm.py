"""Judges that are language models: by a rubric, by comparison, or by a checklist. The model may be any ``sparring.game.Model``.

A judgement is one greedy reply. A reply without a verdict is asked for again, with another seed and at a temperature, ``TRIES`` times in
all; then, or where the model itself broke, there is a fault for what the reply was about and for nothing else. What only the user can
mend (a wrong key, a spent budget) is no fault but the model's SparringError, on which the run stops and can be resumed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sparring.config import JudgeKind, Member
from sparring.data import prompt_of
from sparring.errors import SparringError
from sparring.game import Attempt, Judge, Model, Sample, Sampling, Task, Verdict, stable_hash
from sparring.judges.llm_parse import read_checks, read_choice, read_questions, read_score, verdict_line
from sparring.judges.llm_prompts import (
    checklist_prompt,
    choice_prompt,
    questions_prompt,
    read_rubric,
    score_prompt,
    tag_of,
)
from sparring.judges.pairs import PositionBias, Standing, orders_of, standings

TRIES = 3
AGAIN_TEMPERATURE = 0.7
BYTES_PER_TOKEN = 4
"""By which the tokens of a prompt are estimated: the judging model's tokenizer is not at hand."""

_NOTE_CHARS = 300

Read = TypeVar("Read")
Groups = Sequence[tuple[Attempt, ...]]


def judge_calls(kind: JudgeKind, answers: int) -> int:
    """Calls of the judging model for one prompt with that many answers, at most, if none has to be repeated; 0 for other judges."""
    calls = {"rubric": answers, "pairwise": answers * (answers - 1), "checklist": 1 + answers}
    return calls.get(kind, 0)


def llm_judge(member: Member, model: Model, seed: int = 0, key: str = "judge") -> Judge:
    """The judge that ``member.kind`` names; ``key``: where it stands in the recipe, for errors."""
    asker = Asker(model, member, seed)
    if member.kind == "checklist":
        return ChecklistJudge(asker)
    rubric = read_rubric(member.rubric, f"{key}.rubric")
    if member.kind == "rubric":
        return RubricJudge(asker, rubric)
    if member.kind == "pairwise":
        return PairwiseJudge(asker, rubric)
    raise SparringError(f"{key}.kind = {member.kind!r} needs no judging model; those that do are rubric, pairwise and checklist")


@dataclass(frozen=True, slots=True)
class Question(Generic[Read]):
    """A prompt for the judging model, and how its reply is read (None: no verdict). Equal prompts are asked once."""

    prompt: str
    read: Callable[[Sample], Read | None]


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a question has no answer."""

    reason: str


@dataclass(frozen=True)
class Asker:
    """The judging model and how it is asked."""

    model: Model
    member: Member
    seed: int = 0

    def ask(self, questions: Sequence[Question[Read]]) -> list[Read | Broken]:
        """What was read from the replies, in order."""
        found: dict[str, Read | Broken] = {}
        left: dict[str, Question[Read]] = {}
        for question in questions:
            tokens = len(question.prompt.encode(errors="replace")) // BYTES_PER_TOKEN
            if tokens > self.member.max_tokens:
                found[question.prompt] = Broken(f"about {tokens} tokens to judge, over max_tokens {self.member.max_tokens}")
            else:
                left[question.prompt] = question
        for number in range(TRIES):
            replies = self._replies(list(left), number)
            for question, reply in zip(list(left.values()), replies, strict=True):
                said = reply if isinstance(reply, Broken) else question.read(reply)
                if said is not None:
                    found[question.prompt] = said
                    del left[question.prompt]
                elif number == TRIES - 1 and isinstance(reply, Sample):
                    found[question.prompt] = Broken(_unread(reply))
        return [found[question.prompt] for question in questions]

    def ask_each(self, groups: Sequence[Sequence[Question[Read] | Broken]]) -> list[list[Read | Broken]]:
        """``ask`` for groups of questions; what is broken already stays in its place."""
        said = iter(self.ask([item for group in groups for item in group if isinstance(item, Question)]))
        return [[next(said) if isinstance(item, Question) else item for item in group] for group in groups]

    def verdict(self, score: float | Broken, note: str = "") -> Verdict:
        """A score in [0, 1], shifted and scaled as ``member`` says, against the score from which an answer counts as solved."""
        if isinstance(score, Broken):
            return Verdict(score=0.0, solved=False, fault=score.reason)
        scaled = (score - self.member.shift) / self.member.scale
        if not math.isfinite(scaled):
            return Verdict(score=0.0, solved=False, fault=f"score is {scaled} after shift and scale")
        return Verdict(score=scaled, solved=scaled >= self.member.solved_from, note=note)

    def _replies(self, prompts: Sequence[str], number: int) -> list[Sample | Broken]:
        if not prompts:
            return []
        how = Sampling(temperature=AGAIN_TEMPERATURE if number else 0.0, top_p=1.0, max_new_tokens=self.member.max_new_tokens)
        return self._sampled(prompts, how, stable_hash(self.seed, "judge", number))

    def _sampled(self, prompts: Sequence[str], how: Sampling, seed: int) -> list[Sample | Broken]:
        """A reply to each prompt. Where the model breaks on several, each half is asked by itself, down to the one at fault."""
        try:
            groups = self.model.sample(prompts, how, role="judge", seed=seed)
            return [_reply(group) for _, group in zip(prompts, groups, strict=True)]
        except SparringError:
            raise
        except Exception as error:  # whatever a model throws is no word about the answer
            if len(prompts) == 1:
                return [Broken(f"the judging model broke: {type(error).__name__}: {error}"[:200])]
        half = len(prompts) // 2
        return [*self._sampled(prompts[:half], how, seed), *self._sampled(prompts[half:], how, seed)]


def _reply(group: Sequence[Sample]) -> Sample | Broken:
    if not group:
        return Broken("the judging model gave no reply")
    if group[0].fault is not None:
        return Broken(f"the judging model gave no reply: {group[0].fault}"[:200])
    return group[0]


def _unread(reply: Sample) -> str:
    cut = ", cut off at max_new_tokens" if reply.finish == "length" else ""
    return f"no verdict in {TRIES} replies of the judging model; the last one{cut}, ends in {reply.text.strip()[-60:]!r}"


def _missing(attempt: Attempt) -> Broken:
    return Broken(f"no answer: {attempt.fault}")


class RubricJudge:
    """A grade from 1 to 10 by a rubric, as a score in [0, 1]. One call per answer."""

    def __init__(self, asker: Asker, rubric: str) -> None:
        self._asker = asker
        self._rubric = rubric

    def judge(self, tasks: Sequence[Task], attempts: Groups) -> list[tuple[Verdict, ...]]:
        asked = [
            [self._question(prompt_of(task), attempt) for attempt in group] for task, group in zip(tasks, attempts, strict=True)
        ]
        return [tuple(self._asker.verdict(score) for score in group) for group in self._asker.ask_each(asked)]

    def _question(self, request: str, attempt: Attempt) -> Question[float] | Broken:
        if attempt.fault:
            return _missing(attempt)
        answer = attempt.answer
        tag = tag_of(request, answer, self._rubric)
        prompt = score_prompt(self._rubric, request, answer, tag)
        return Question(prompt, lambda reply: read_score(verdict_line(reply, tag, (request, answer))))


class PairwiseJudge:
    """The mean share that an answer wins against the other answers to its task, each pair judged in both orders.

    n answers take n (n - 1) calls, less those for equal answers, which tie. A score means something among the answers to one task
    alone, and an answer that is the only one is a fault. ``bias`` counts what the order did (arXiv 2306.05685 sec. 3.3 and 3.4).
    """

    def __init__(self, asker: Asker, rubric: str) -> None:
        self.bias = PositionBias()
        self._asker = asker
        self._rubric = rubric

    def judge(self, tasks: Sequence[Task], attempts: Groups) -> list[tuple[Verdict, ...]]:
        groups = [[None if attempt.fault else attempt.answer for attempt in group] for group in attempts]
        orders = [list(orders_of(answers)) for answers in groups]
        asked = [
            self._question(prompt_of(task), (str(answers[first]), str(answers[second])))
            for task, answers, pairs in zip(tasks, groups, orders, strict=True)
            for first, second in pairs
        ]
        said = iter(self._asker.ask(asked))
        found: list[tuple[Verdict, ...]] = []
        for group, answers, pairs in zip(attempts, groups, orders, strict=True):
            won = {pair: next(said) for pair in pairs}
            found.append(self._verdicts(group, answers, won))
        return found

    def _question(self, request: str, answers: tuple[str, str]) -> Question[float]:
        # Sorted, so that turning the order around changes the order and nothing else.
        tag = tag_of(request, *sorted(answers), self._rubric)
        prompt = choice_prompt(self._rubric, request, answers, tag)
        return Question(prompt, lambda reply: read_choice(verdict_line(reply, tag, (request, *answers))))

    def _verdicts(
        self, group: Sequence[Attempt], answers: Sequence[str | None], said: dict[tuple[int, int], float | Broken]
    ) -> tuple[Verdict, ...]:
        won = {pair: None if isinstance(outcome, Broken) else outcome for pair, outcome in said.items()}
        self.bias.add(won)
        troubles = [outcome.reason for outcome in said.values() if isinstance(outcome, Broken)]
        why = f": {troubles[0]}" if troubles else ""
        return tuple(
            self._asker.verdict(_missing(attempt)) if attempt.fault else self._verdict(standing, why)
            for attempt, standing in zip(group, standings(answers, won), strict=True)
        )

    def _verdict(self, standing: Standing, why: str) -> Verdict:
        if standing.pairs == 0:
            return self._asker.verdict(Broken("there is no other answer to compare this one with"))
        if standing.win_rate is None:
            reason = f"{standing.judged} of {standing.pairs} comparisons were judged in both orders{why}"
            return self._asker.verdict(Broken(reason[:300]))
        won = standing.win_rate * standing.judged
        note = f"won {won:g} of {standing.judged} comparisons, {standing.flipped} turned with the order"
        return self._asker.verdict(standing.win_rate, note)


class ChecklistJudge:
    """The share of yes among the answers to questions that the judging model wrote itself (TICK, arXiv 2410.03608).

    The questions are written once per prompt and kept as long as the judge lives; all of those about an answer are answered in one reply.
    So there is one call per prompt and one per answer.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._questions: dict[str, tuple[str, ...]] = {}

    def judge(self, tasks: Sequence[Task], attempts: Groups) -> list[tuple[Verdict, ...]]:
        requests = [prompt_of(task) for task in tasks]
        lists = self._lists(requests)
        asked = [
            [self._question(request, attempt, questions) for attempt in group]
            for request, questions, group in zip(requests, lists, attempts, strict=True)
        ]
        notes = ["" if isinstance(questions, Broken) else " ".join(questions)[:_NOTE_CHARS] for questions in lists]
        shares = self._asker.ask_each(asked)
        return [tuple(self._asker.verdict(share, note) for share in group) for group, note in zip(shares, notes, strict=True)]

    def _lists(self, requests: Sequence[str]) -> list[tuple[str, ...] | Broken]:
        """The questions for each request, or why there are none."""
        new = [request for request in dict.fromkeys(requests) if request not in self._questions]
        written = self._asker.ask([Question(questions_prompt(request, tag_of(request)), read_questions) for request in new])
        found = dict(zip(new, written, strict=True))
        self._questions |= {request: known for request, known in found.items() if isinstance(known, tuple)}
        return [self._questions.get(request) or _no_list(found[request]) for request in requests]

    def _question(self, request: str, attempt: Attempt, questions: tuple[str, ...] | Broken) -> Question[float] | Broken:
        if attempt.fault:
            return _missing(attempt)
        if isinstance(questions, Broken):
            return questions
        answer, count = attempt.answer, len(questions)
        tag = tag_of(request, answer, *questions)
        prompt = checklist_prompt(request, answer, questions, tag)
        return Question(prompt, lambda reply: read_checks(verdict_line(reply, tag, (request, answer, *questions)), count))


def _no_list(trouble: tuple[str, ...] | Broken) -> Broken:
    return Broken(f"no checklist: {trouble.reason if isinstance(trouble, Broken) else 'no questions'}")
