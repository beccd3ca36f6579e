"""Tasks from files: what is read, and where a file is wrong."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparring.data import load_function, read_tasks
from sparring.errors import SparringError
from sparring.game import make_task


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def refused(source: str, key: str = "data.prompts") -> str:
    with pytest.raises(SparringError) as raised:
        read_tasks(source, None, key)
    return str(raised.value)


def no_odd_lengths(text: str) -> Mapping[str, Any] | str:
    return {"length": len(text)} if len(text) % 2 == 0 else "its length is odd"


# ---------------------------------------------------------------------------------------------- what is read


def test_other_columns_become_meta(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", {"text": "why?", "gold": "because", "level": 3, "tags": ["x"], "context": "once"})
    assert read_tasks(source, None, "k") == [
        make_task("why?", context="once", meta={"gold": "because", "level": 3, "tags": ["x"]})
    ]


def test_prompt_is_another_name_for_text(tmp_path: Path):
    assert read_tasks(jsonl(tmp_path / "a.jsonl", {"prompt": "why?"}), None, "k") == [make_task("why?")]


def test_parquet_reads_like_jsonl(tmp_path: Path):
    rows = [{"text": "a", "gold": {"x": [1, 2]}, "context": None}, {"text": "b", "gold": {"x": []}, "context": "c"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read_tasks(str(tmp_path / "a.parquet"), None, "k") == read_tasks(jsonl(tmp_path / "a.jsonl", *rows), None, "k")


def test_repeated_prompts_are_read_once_and_order_is_kept(tmp_path: Path):
    source = jsonl(
        tmp_path / "a.jsonl", {"text": "b", "n": 1}, {"text": "a"}, "", {"text": "b", "n": 2}, {"text": "b", "context": "c"}
    )
    assert read_tasks(source, None, "k") == [make_task("b", meta={"n": 1}), make_task("a"), make_task("b", context="c")]


def test_the_reader_adds_what_the_judge_needs(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", {"text": "ab", "gold": "x", "length": "of the file"})
    assert read_tasks(source, no_odd_lengths, "k")[0].meta == {"gold": "x", "length": 2}


def test_the_world_needs_no_file():
    tasks = read_tasks("world:easy", no_odd_lengths, "k")
    assert len({task.id for task in tasks}) == len(tasks) > 100


def test_other_languages_and_a_byte_order_mark(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + '{"text": "为什么？"}\r\n{"text": "perché?\u2028"}'.encode())
    assert [task.text for task in read_tasks(str(tmp_path / "a.jsonl"), None, "k")] == ["为什么？", "perché?\u2028"]


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{'text': 'a'}", "not JSON in UTF-8"),
        ('{"text": "a"', "not JSON in UTF-8"),
        ('"a"', "str, not an object with a text"),
        ("[1]", "list, not an object with a text"),
        (
            {"question": "a", "answer": "b"},
            "every row needs a text (or prompt) that is a string, found columns ['answer', 'question']",
        ),
        ({"text": None}, "no text"),
        ({"text": "  "}, "no text"),
        ({"prompt": [{"role": "user", "content": "a"}]}, "no text"),
        ('{"text": "a", "score": NaN}', "columns hold text, numbers"),
        ('{"text": "\\ud83d"}', "columns hold text, numbers"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: object, words: str):
    # The empty line counts: an editor counts it too.
    told = refused(jsonl(tmp_path / "a.jsonl", {"text": "fine"}, "", row))
    assert told.startswith(f"{tmp_path}/a.jsonl, line 3: ")
    assert words in told


def test_bytes_that_are_no_text(tmp_path: Path):
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "caf\xe9"}\n')
    assert "a.jsonl, line 1: not JSON in UTF-8" in refused(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize("value", [datetime.date(2024, 1, 1), b"bytes", math.nan])
def test_a_bad_row_of_a_parquet_file_is_named(tmp_path: Path, value: object):
    pq.write_table(pa.Table.from_pylist([{"text": "a", "x": None}, {"text": "b", "x": value}]), tmp_path / "a.parquet")
    told = refused(str(tmp_path / "a.parquet"))
    assert "a.parquet, row 2: " in told
    assert "columns hold text, numbers" in told


def test_what_cannot_be_judged_is_named(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", {"text": "even"}, {"text": "odd"})
    with pytest.raises(
        SparringError, match=r"a\.jsonl, line 2: 'odd' cannot be judged: its length is odd; mend it, or set data\.read"
    ):
        read_tasks(source, no_odd_lengths, "data.prompts")


def test_a_prompt_that_the_world_cannot_read(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", {"text": "Sort the numbers 3 1 2."}, {"text": "Write a poem."})
    read = load_function("sparring.worlds.words:read", "data.read")
    with pytest.raises(SparringError, match=r"line 2: 'Write a poem\.' cannot be judged"):
        read_tasks(source, read, "data.prompts")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", None, "data.prompts = '{path}' cannot be read: No such file or directory; give a .jsonl or .parquet file"),
        ("a.parquet", None, "data.prompts = '{path}' cannot be read: No such file or directory"),
        ("a.csv", b"text\na\n", "data.prompts = '{path}': .csv is not known; give .jsonl, .parquet or world:human"),
        ("a", b"", "data.prompts = '{path}': no ending is not known"),
        ("a.jsonl", b"\n\n", "data.prompts = '{path}' has no rows"),
        ("a.parquet", b"PAR1 PAR1", "{path} is not a whole Parquet file"),
        ("a.parquet", b"", "{path} is not a whole Parquet file"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, name: str, content: bytes | None, words: str):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert words.format(path=path) in refused(str(path))


def test_a_folder_is_no_file(tmp_path: Path):
    (tmp_path / "a.jsonl").mkdir()
    assert "cannot be read: Is a directory" in refused(str(tmp_path / "a.jsonl"))


def test_an_unknown_split_of_the_world():
    assert "has no split 'simple'; it has easy, hard" in refused("world:simple")


# ---------------------------------------------------------------------------------------------- functions by name


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.at_all:grade", r"cannot be imported \(No module named 'nowhere'\); write package\.module:function"),
        ("sparring.data:nothing", r"cannot be imported \(module 'sparring\.data' has no attribute 'nothing'\)"),
        ("sparring.data", r"cannot be imported \(there is no colon in it\)"),
        (":grade", r"cannot be imported \("),
        ("", r"cannot be imported \("),
        ("sparring:__version__", r"is a str, not a function"),
    ],
)
def test_a_function_that_is_none(spec: str, words: str):
    with pytest.raises(SparringError, match=r"judge\.grade = '.*' " + words):
        load_function(spec, "judge.grade")
