"""Suites as the command line plays them: a judge behind a server on loopback, local checkpoints, files of answers."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import SparringError
from sparring.evals.suite import Result
from sparring.evaluate import Asked, created_prompts, evaluate_suite
from sparring.game import make_task
from sparring.records import TASKS, write_parquet
from sparring.rundir import Watch
from tests.tiny import save_tiny


class Server(ThreadingHTTPServer):
    """An OpenAI-compatible chat server whose model prefers answers with 'good' in them and bills 7 and 3 tokens a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        self.reply({"data": [{"id": "judge-7b", "owned_by": "tests"}]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Server)
        self.server.requests.append(asked)
        text = judgement(asked["messages"][-1]["content"])
        finish = "content_filter" if "withhold" in asked["messages"][-1]["content"] else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        if "top_logprobs" in asked and asked["model"] != "mute":
            likely, other = {"token": text, "logprob": -0.5}, {"token": "mM".replace(text, ""), "logprob": -2.5}
            choice["logprobs"] = {"content": [{**likely, "top_logprobs": [likely, other]}]}
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        self.reply({"model": asked["model"], "choices": [choice], "usage": usage})

    def reply(self, found: dict[str, Any]) -> None:
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def judgement(prompt: str) -> str:
    if "[[complexity" in prompt:
        return "[[complexity: 4]] [[quality: 2]]"
    if "[[5]]" in prompt:
        return "Rating: [[6]]"
    first, second = re.findall(r"<answer \w \w+>\n(.*?)\n</", prompt, re.DOTALL)
    if "Reply with the one letter" in prompt:
        return "m" if "good" in first else "M"
    return f"[[A{'>' if 'good' in first else '<' if 'good' in second else '='}B]]"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.chdir(tmp_path)
    serving = Server()
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def write_lines(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def questions(count: int = 8) -> str:
    return write_lines("question.jsonl", [{"uid": f"q{n}", "category": "c", "prompt": f"w{n}"} for n in range(count)])


def answers(name: str, texts: list[str]) -> str:
    return write_lines(name, [{"question_id": f"q{n}", "choices": [{"turns": [text]}]} for n, text in enumerate(texts)])


def play(**asked: Any) -> tuple[Result, str]:
    told: list[str] = []
    result = evaluate_suite(Asked(**asked), Watch(), told.append)
    return result, "\n".join(told)


PRICES = ("--judge.endpoint.usd_per_million_prompt=1000000", "--judge.endpoint.usd_per_million_completion=1000000")
FEW = ("--evaluation.bootstrap=20",)


def test_arena_hard_with_a_judge_behind_a_server(server: Server):
    asked = {
        "suite": "arena-hard",
        "model": answers("mine.jsonl", ["good"] * 6 + ["bad"] * 2),
        "baseline": answers("theirs.jsonl", ["so so"] * 8),
        "judge": server.url,
        "questions": questions(),
        "out": Path("rows.jsonl"),
        "overrides": (*PRICES, *FEW),
    }
    result, text = play(**asked)
    assert result.figures["win_rate"] == pytest.approx(100 * (6 + 2 / 2) / 8, abs=0.01)
    assert len(server.requests) == 16
    assert {request["model"] for request in server.requests} == {"judge-7b"}
    assert re.search(r"judge judge-7b +16 calls, up to about \d+ tokens in, up to 16384 out, up to about \d+\.\d+ usd", text)
    assert re.search(r"judge judge-7b +16 calls, 112 tokens in, 48 out, 160.0000 usd", text)
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["score"] for row in rows] == [1.0] * 6 + [0.5] * 2
    again, text = play(**asked)
    assert len(server.requests) == 16
    assert again == result
    assert len(re.findall("judge judge-7b +0 calls", text)) == 2


def test_alpaca_eval_with_the_baseline_of_its_file(server: Server):
    rows = [{"instruction": f"w{n}", "output": "so so", "generator": "gpt-4", "dataset": "d"} for n in range(6)]
    Path("alpaca.json").write_text(json.dumps(rows), encoding="utf-8")
    Path("mine.json").write_text(json.dumps([{**row, "output": "good"} for row in rows]), encoding="utf-8")
    result, text = play(
        suite="alpaca-eval", model="mine.json", judge=f"{server.url}#other", questions="alpaca.json", overrides=FEW
    )
    assert result.figures["win_rate"] == 100
    assert "baseline gpt-4" in text
    assert {request["model"] for request in server.requests} == {"other"}
    assert len(server.requests) == 12


def alpaca(server: Server, answers: list[str], **changes: Any) -> tuple[Result, str]:
    """A weighted evaluation of ready answers; the baseline's are in the file of questions."""
    rows = [{"instruction": f"w{n}", "output": "so so", "generator": "gpt-4"} for n in range(len(answers))]
    Path("alpaca.json").write_text(json.dumps(rows), encoding="utf-8")
    mine = [{**row, "output": text} for row, text in zip(rows, answers, strict=True)]
    Path("mine.json").write_text(json.dumps(mine), encoding="utf-8")
    asked = {"suite": "alpaca-eval", "model": "mine.json", "judge": server.url, "questions": "alpaca.json", "weighted": True}
    return play(**{**asked, "overrides": FEW, **changes})


def test_a_served_judge_weighs_by_its_first_tokens(server: Server):
    # Two nats between the letters, in both orders: sigmoid(2) for the good answer.
    result, text = alpaca(server, ["good"] * 5 + ["withhold this"])
    assert result.figures["win_rate"] == pytest.approx(100 * 0.880797, abs=1e-3)
    assert [row.fault for row in result.rows] == [None] * 5 + ["no answer from the judge"]
    assert re.search(r"judge judge-7b +12 calls, up to about \d+ tokens in, up to 12 out", text), "one for each prompt"
    assert len(server.requests) == 13, "and one beforehand"
    assert "judge judge-7b                   13 calls, 91 tokens in, 39 out" in text
    again, _ = alpaca(server, ["good"] * 5 + ["withhold this"])
    assert again == result
    assert len(server.requests) == 15, "what was withheld is asked for again, nothing else"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"judge": "#mute"}, "its answer has no top_logprobs"),
        ({"overrides": (*FEW, "--judge.endpoint.api=completions")}, "need the tokenizer of its model"),
        ({"judge": "mine.json"}, "holds answers and cannot say how likely a text is"),
        ({"suite": "mt-bench"}, "--weighted: mt-bench has no two letters"),
    ],
    ids=["no log-probs", "no chat", "a file", "another suite"],
)
def test_a_judge_who_cannot_weigh_is_refused_before_anything_is_paid(server: Server, changes: dict[str, Any], told: str):
    if changes.get("judge", "").startswith("#"):
        changes = {**changes, "judge": server.url + changes["judge"]}
    with pytest.raises(SparringError, match=re.escape(told)):
        alpaca(server, ["good"] * 3, **{"model": f"{server.url}#player", **changes})
    assert "player" not in {request["model"] for request in server.requests}


def test_a_judgement_that_is_withheld_is_the_same_fault_in_the_next_evaluation(server: Server):
    asked = {
        "suite": "arena-hard",
        "model": answers("mine.jsonl", ["good"] * 5 + ["withhold this"]),
        "baseline": answers("theirs.jsonl", ["so so"] * 6),
        "judge": server.url,
        "questions": questions(6),
        "overrides": FEW,
    }
    first, _ = play(**asked)
    assert [row.fault is None for row in first.rows] == [True] * 5 + [False]
    again, _ = play(**asked)
    assert again == first
    assert len(server.requests) == 14


def test_mt_bench_of_a_local_checkpoint(server: Server):
    save_tiny(Path("tiny"), initializer_range=0.5)
    rows = [{"question_id": n, "category": "math", "turns": [f"w{n} w1", "w2"], "reference": ["w3", "w4"]} for n in range(3)]
    known = write_lines("known.jsonl", [{"question_id": 0, "choices": [{"turns": ["better", "best"]}]}])
    asked = {
        "suite": "mt-bench", "model": "tiny", "judge": server.url, "questions": write_lines("q.jsonl", rows), "reference": known,
        "overrides": ("--evaluation.max_new_tokens=5", *FEW),
    }  # fmt: skip
    result, text = play(**asked)
    assert result.figures["mean"] == 6
    assert len(server.requests) == 6
    assert sum("best" in request["messages"][0]["content"] for request in server.requests) == 1
    assert re.search(r"model tiny +6 calls, \d+ tokens in, \d+ out\n", text)
    save_tiny(Path("tiny"), seed=1)  # other weights in the same folder
    play(**asked)
    assert len(server.requests) > 6


def test_a_prompt_over_the_models_limit_is_one_fault(server: Server):
    save_tiny(Path("tiny"))
    rows = [{"uid": "long", "prompt": "w1 " * 60}, {"uid": "short", "prompt": "w1"}]
    overrides = ("--evaluation.max_new_tokens=5", "--policy.max_prompt_tokens=40", *FEW)
    baseline = write_lines("theirs.jsonl", [{"uid": row["uid"], "output": "good"} for row in rows])
    result, _ = play(
        suite="arena-hard", model="tiny", baseline=baseline, judge=server.url, questions=write_lines("q.jsonl", rows),
        overrides=overrides,
    )  # fmt: skip
    assert [row.fault is None for row in result.rows] == [False, True]
    assert "over policy.max_prompt_tokens 40" in str(result.rows[0].fault)


def test_a_local_checkpoint_judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_tiny(Path("tiny"))
    rows = [{"instruction": f"w{n}", "output": "w1 w2"} for n in range(6)]
    Path("alpaca.json").write_text(json.dumps(rows), encoding="utf-8")
    result, _ = play(
        suite="alpaca-eval", model="tiny", judge="tiny", questions="alpaca.json", weighted=True,
        overrides=("--evaluation.max_new_tokens=4", *FEW),
    )  # fmt: skip
    assert result.figures["win_rate"] is not None
    assert all(row.fault is None for row in result.rows)


def test_the_embedded_suites_go_by_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    save_tiny(Path("tiny"))
    words = ("--data.read=tests.small:read", "--judge.grade=tests.small:grade", "--evaluation.max_new_tokens=2", *FEW)
    result, text = play(suite="world:easy", model="tiny", overrides=words)
    assert "accuracy" in text
    assert len(result.rows) > 100
    _, text = play(suite="world:easy", model="tiny", overrides=words)
    assert len(re.findall("model tiny +0 calls", text)) == 2


def test_prompts_of_a_run_by_round(server: Server):
    run = Path("runs/mine")
    (run / "round-001").mkdir(parents=True)
    (run / "prompts").mkdir()
    (run / "run.toml").write_text("format = 2\n", encoding="utf-8")
    write_parquet(run / "prompts" / "human.parquet", [make_task("a"), make_task("b")], TASKS)
    write_parquet(run / "round-001" / "proposals.parquet", [make_task("c"), make_task("d", rejected="seen")], TASKS)
    assert [(q.category, q.turns[0]) for q in created_prompts(run)] == [("seed", "a"), ("seed", "b"), ("round 1", "c")]
    result, text = play(suite="prompts", judge=server.url, questions="runs/mine", overrides=FEW)
    assert result.figures["complexity seed"] == 4
    assert result.figures["quality round 1"] == 2
    assert len(server.requests) == 3
    assert re.search(r"round 1 +1 +4.00", text)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"suite": "arena"},
            "there is no such suite; there are arena-hard, arena-hard-v2, alpaca-eval, mt-bench, prompts, world:easy",
        ),
        (
            {"suite": "arena-hard", "questions": "question.jsonl"},
            "--model is missing: arena-hard needs --model, --baseline, --judge",
        ),
        ({"suite": "arena-hard", "questions": "none.jsonl"}, "--questions = 'none.jsonl': there is no such file"),
        ({"suite": "prompts", "judge": "j"}, "--questions is missing: name a file of prompts, or a run"),
        (
            {"suite": "mt-bench", "questions": "question.jsonl", "model": "mine.jsonl"},
            "--judge is missing: mt-bench needs --model, --judge",
        ),
        (
            {"suite": "mt-bench", "questions": "question.jsonl", "model": "nowhere"},
            "--model = 'nowhere': there is no such folder",
        ),
        (
            {"suite": "mt-bench", "questions": "question.jsonl", "reference": "bad.jsonl"},
            "bad.jsonl, line 1: no reference answers",
        ),
        (
            {"suite": "mt-bench", "questions": "question.jsonl", "overrides": ("--judge.odd=1",)},
            "sparring eval: unknown key judge.odd",
        ),
    ],
)
def test_what_cannot_be_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], told: str):
    monkeypatch.chdir(tmp_path)
    questions(2)
    answers("mine.jsonl", ["a", "b"])
    write_lines("bad.jsonl", [{"question_id": "q0", "choices": []}])
    with pytest.raises(SparringError) as error:
        play(**asked)
    assert told in str(error.value)


def test_a_server_that_lists_several_models(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.reply({"data": [{"id": "one"}, {"id": "two"}]}))
    with pytest.raises(SparringError, match=r"lists 2 models \(one, two\); name one, as in http://.*/v1#NAME"):
        play(suite="mt-bench", model=answers("mine.jsonl", ["a"]), judge=server.url, questions=questions(1))
