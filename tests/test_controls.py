"""Known-good and known-bad answers from a recipe's key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sparring.errors import SparringError
from sparring.judges.controls import load_controls
from sparring.judges.program import ProgramJudge, check_judge
from sparring.worlds.words import controls, grade


def test_everyday_questions():
    found = load_controls("builtin:general")
    assert len(found) >= 8
    assert len({task.id for task, _, _ in found}) == len(found)
    assert all(good.strip() and good != bad for _, good, bad in found)


def test_a_function_and_nothing():
    assert load_controls("sparring.worlds.words:controls") == controls()
    check_judge(ProgramJudge(grade), load_controls("sparring.worlds.words:controls"))
    assert load_controls("") == []


def test_a_file(tmp_path: Path):
    path = tmp_path / "controls.jsonl"
    rows = [
        {"prompt": "a?", "good": "A", "bad": "b", "topic": "letters"},
        {"prompt": "a?", "good": "A", "bad": "", "context": "Alphabet."},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8-sig")
    (first, good, bad), (second, _, worse) = load_controls(str(path))
    assert (first.text, good, bad, dict(first.meta)) == ("a?", "A", "b", {"topic": "letters"})
    assert (second.context, worse) == ("Alphabet.", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"prompt": "a", "good": "b", "bad": "c"}\n{', ", line 2: not JSON in UTF-8"),
        ("\n[1]", ", line 2: list, not an object with prompt, good and bad"),
        ('{"prompt": "a", "good": "b"}', ", line 1: bad is None; every line needs prompt, good and bad"),
        ('{"prompt": "a", "good": 1, "bad": "c"}', ", line 1: good is 1"),
        ('{"prompt": " ", "good": "b", "bad": "c"}', ", line 1: the prompt is empty"),
        ('{"prompt": "a", "good": "b", "bad": "b"}', "good and bad are the same"),
        ("", "has no rows"),
        ("[" * 100_000, ", line 1: not JSON"),
    ],
)
def test_a_file_that_does_not_serve(tmp_path: Path, text: str, told: str):
    path = tmp_path / "controls.jsonl"
    path.write_text(text)
    with pytest.raises(SparringError) as raised:
        load_controls(str(path))
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("builtin:other", "there is builtin:general"),
        ("/no/where.jsonl", "cannot be read: No such file or directory"),
        ("no.such:thing", "judge.controls = 'no.such:thing' cannot be imported"),
    ],
)
def test_a_name_that_leads_nowhere(spec: str, told: str):
    with pytest.raises(SparringError) as raised:
        load_controls(spec)
    assert told in str(raised.value)
