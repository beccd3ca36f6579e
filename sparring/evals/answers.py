"""Ready answers in the formats that their projects publish, as a model that costs nothing.

Arena-Hard       .jsonl   uid, model, messages[-1].content.answer    (first release: as MT-Bench, turns[].content)
MT-Bench         .jsonl   question_id, choices[0].turns
AlpacaEval       .json    [instruction, output, generator]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparring.conversation import Conversation
from sparring.errors import SparringError
from sparring.evals.questions import is_texts, json_rows, row_id, whole
from sparring.evals.suite import Question
from sparring.game import Sample, Sampling, Scored


class ReadyAnswers:
    """Satisfies ``sparring.game.Model`` for the prompts of its questions: what was answered once is answered again."""

    def __init__(self, questions: Sequence[Question], answers: Mapping[str, Sequence[str]], where: str) -> None:
        self._by_prompt: dict[str, str] = {}
        self._where = where
        for question in questions:
            given = answers.get(question.id, ())
            if len(given) < len(question.turns):
                raise SparringError(
                    f"{where} has {len(given)} of {len(question.turns)} answers to question {question.id!r} "
                    f"({question.turns[0][:60]!r}); every question needs one a turn"
                )
            for number in range(len(question.turns)):
                self._by_prompt[prompt_of(question, given[:number])] = given[number]

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        unknown = next((prompt for prompt in prompts if prompt not in self._by_prompt), None)
        if unknown is not None:
            raise SparringError(f"{self._where} has no answer to {unknown[:60]!r}; let a model answer it")
        return [[Sample(role=role, text=self._by_prompt[prompt])] * how.n for prompt in prompts]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        raise SparringError(f"{self._where} holds answers and cannot say how likely a text is; let a model judge")


def prompt_of(question: Question, answers: Sequence[str]) -> Conversation:
    """The prompt of the turn after ``answers``."""
    turns = [question.turns[0]]
    for number, answer in enumerate(answers):
        turns += [answer, question.turns[number + 1]]
    return Conversation(*turns)


def own_answers(questions: Sequence[Question], where: str) -> ReadyAnswers:
    """The baseline's answers that the question file holds itself."""
    return ReadyAnswers(questions, {item.id: (item.ready,) for item in questions if item.ready is not None}, where)


def read_answers(path: Path, questions: Sequence[Question]) -> ReadyAnswers:
    """SparringError, with the place in the file, for a row that is no answer; one that answers no question is passed over."""
    texts_by_id = {question.id: question.turns[0] for question in questions}
    ids_by_text = {text: name for name, text in texts_by_id.items()}
    answers: dict[str, Sequence[str]] = {}
    for number, (where, row) in enumerate(json_rows(path)):
        texts = _texts_of(row)
        if texts is None:
            raise SparringError(f"{where}: no answer; a row needs messages, choices or output as text, found {sorted(row)[:8]}")
        name, instruction = row_id(row, number), row.get("instruction")
        if isinstance(instruction, str) and texts_by_id.get(name) != instruction:  # a file in another order
            name = ids_by_text.get(instruction, "")
        answers[name] = texts
    return ReadyAnswers(questions, answers, str(path))


def _texts_of(row: dict[str, Any]) -> list[str] | None:
    """The answers of a row, one a turn; None where it is none of the formats."""
    match row:
        case {"messages": [*_, {"content": {"answer": answer}}]}:
            found = [answer]
        case {"messages": [*_, {"role": "assistant", "content": answer}]}:
            found = [answer]
        case {"choices": [{"turns": [*turns]}, *_]}:
            found = [turn.get("content") if isinstance(turn, dict) else turn for turn in turns]
        case {"output": answer}:
            found = [answer]
        case _:
            return None
    return list(map(whole, found)) if found and is_texts(found) else None
