"""Question and answer files in the published formats, and what is said of files that are none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sparring.conversation import Conversation
from sparring.errors import SparringError
from sparring.evals.answers import own_answers, prompt_of, read_answers
from sparring.evals.questions import find_file, read_questions
from sparring.evals.suite import Question, greedy


def lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def asked(path: Path, rows: Sequence[Any]) -> list[Question]:
    return read_questions(lines(path, rows))


def test_arena_hard_of_both_releases(tmp_path: Path):
    new = {"uid": "ab12", "category": "hard_prompt", "subcategory": "coding", "prompt": "sort a list"}
    old = {"question_id": "cd34", "category": "arena-hard-v0.1", "cluster": "Sorting", "turns": [{"content": "sort a list"}]}
    first, second = asked(tmp_path / "question.jsonl", [new, old])
    assert first == Question(id="ab12", turns=("sort a list",), category="hard_prompt")
    assert second == Question(id="cd34", turns=("sort a list",), category="arena-hard-v0.1")


def test_mt_bench(tmp_path: Path):
    row = {"question_id": 101, "category": "math", "turns": ["2+2?", "times 3?"], "reference": ["4", "12"]}
    (found,) = asked(tmp_path / "question.jsonl", [row])
    assert found == Question(id="101", turns=("2+2?", "times 3?"), category="math", references=("4", "12"))


def test_alpaca_eval_has_its_baseline_with_it(tmp_path: Path):
    path = tmp_path / "alpaca.json"
    rows = [{"instruction": f"say {n}", "output": f"{n}!", "generator": "gpt", "dataset": "koala"} for n in range(2)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    questions = read_questions(path)
    assert [(q.id, q.category, q.ready, q.by) for q in questions] == [("0", "koala", "0!", "gpt"), ("1", "koala", "1!", "gpt")]
    baseline = own_answers(questions, str(path))
    assert [group[0].text for group in baseline.sample(["say 1", "say 0"], greedy(4), role="baseline", seed=0)] == ["1!", "0!"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"uid": 1, "prompt": "a"}\n{"uid": 1, "prompt": "b"}\n', "line 2: the id '1' is there twice"),
        ('{"prompt": "a"}\n\n{"prompt": \n', "line 3: not JSON"),
        ('{"prompt": "a"}\n["b"]\n', "line 2: list where an object"),
        ('{"category": "math", "uid": "x"}\n', "line 1: no question; a row needs turns"),
        ('{"turns": []}\n', "line 1: no question"),
        ('{"turns": ["a", 3]}\n', "line 1: no question"),
        ('{"prompt": "  "}\n', "line 1: no question"),
        ('{"prompt": "a", "reference": "b"}\n', "line 1: reference must be a list of at most 1 texts"),
        ('{"turns": ["a"], "reference": ["b", "c"]}\n', "line 1: reference must be a list of at most 1 texts"),
        ('{"instruction": "a", "output": 3}\n', "line 1: output is int, not a text"),
        ("\n", "has no questions"),
        ("[" * 100_000, "is no JSON list"),
        ('[{"prompt": "a"}, {}]', "item 2: no question"),
    ],
)
def test_what_is_no_question_file(tmp_path: Path, text: str, told: str):
    path = tmp_path / "question.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SparringError) as error:
        read_questions(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_text(tmp_path: Path):
    path = tmp_path / "question.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SparringError, match="cannot be read as UTF-8"):
        read_questions(path)


def test_half_a_surrogate_pair_is_read(tmp_path: Path):
    path = tmp_path / "question.jsonl"
    path.write_text('{"prompt": "a\\ud800b"}\n', encoding="utf-8")
    assert read_questions(path)[0].turns == ("a?b",)


@pytest.mark.parametrize(
    ("source", "told"),
    [("missing.jsonl", "there is no such file"), ("hub:lists/a/b/c", "write hub:datasets/"), ("hub:datasets/a/b", "write hub:")],
)
def test_sources_that_cannot_be(source: str, told: str):
    with pytest.raises(SparringError, match=told):
        find_file(source, "--questions")


def test_a_hub_file_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SparringError, match="could not be fetched"):
        find_file("hub:datasets/somebody/questions/question.jsonl", "--questions")


# ---------------------------------------------------------------------------------------------- answers

QUESTIONS = [Question(id="q1", turns=("one", "two")), Question(id="q2", turns=("three",))]


def test_answers_in_every_format(tmp_path: Path):
    rows = [
        {"question_id": "q1", "model_id": "m", "choices": [{"index": 0, "turns": ["eins", "zwei"]}]},
        {"uid": "q2", "model": "m", "messages": [{"role": "user"}, {"role": "assistant", "content": {"answer": "drei"}}]},
        {"uid": "else", "choices": [{"turns": [{"content": "never asked"}]}]},
    ]
    model = read_answers(lines(tmp_path / "answers.jsonl", rows), QUESTIONS)
    prompts = ["one", Conversation("one", "eins", "two"), "three"]
    assert [group[0].text for group in model.sample(prompts, greedy(4), role="model", seed=0)] == ["eins", "zwei", "drei"]


def test_alpaca_outputs_in_another_order(tmp_path: Path):
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps([{"instruction": "b", "output": "B"}, {"instruction": "a", "output": "A"}]), encoding="utf-8")
    model = read_answers(path, [Question(id="0", turns=("a",)), Question(id="1", turns=("b",))])
    assert [group[0].text for group in model.sample(["a", "b"], greedy(4), role="model", seed=0)] == ["A", "B"]


def test_every_question_needs_its_answers(tmp_path: Path):
    path = lines(tmp_path / "answers.jsonl", [{"question_id": "q1", "choices": [{"turns": ["eins"]}]}])
    with pytest.raises(SparringError, match="has 1 of 2 answers to question 'q1'"):
        read_answers(path, QUESTIONS)


@pytest.mark.parametrize("row", [{"uid": "q1"}, {"uid": "q1", "choices": []}, {"uid": "q1", "output": None}, {"messages": []}])
def test_rows_that_are_no_answer(tmp_path: Path, row: dict[str, Any]):
    with pytest.raises(SparringError, match="line 1: no answer"):
        read_answers(lines(tmp_path / "answers.jsonl", [row]), QUESTIONS)


def test_ready_answers_know_only_their_questions(tmp_path: Path):
    model = own_answers([Question(id="0", turns=("a",), ready="A")], "file")
    with pytest.raises(SparringError, match="has no answer to 'b'"):
        model.sample(["b"], greedy(4), role="model", seed=0)
    with pytest.raises(SparringError, match="cannot say how likely"):
        model.score([("a", "A")], role="judge")


def test_a_conversation_is_a_prompt_with_its_turns():
    question = Question(id="q", turns=("one", "two"))
    assert prompt_of(question, ()) == "one"
    second = prompt_of(question, ["eins"])
    assert second.turns == ("one", "eins", "two")
    assert second == "User: one\n\nAssistant: eins\n\nUser: two\n\nAssistant:"
    with pytest.raises(ValueError, match="odd number"):
        Conversation("one", "two")
