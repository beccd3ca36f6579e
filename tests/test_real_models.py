"""The recipe for one's own model, on tiny checkpoints in the real formats: offline, online, and with everything behind servers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from sparring.config import Member
from sparring.game import Attempt, make_task
from sparring.judges.reward_model import RewardModelJudge
from sparring.metrics import round_metrics
from sparring.models.folders import BUILTIN
from sparring.records import BOUTS, LESSONS
from sparring.rundir import RunDir
from sparring.session import read_recipe
from sparring.worlds.splits import split
from tests.conftest import run_cli
from tests.hostile import Asked, Hostile, Play, answer, honest, hostile
from tests.scripted_judges import by_length
from tests.serving import transformers_serve
from tests.tiny_judges import save_classifier

RECIPE = Path(__file__).parents[1] / "recipes" / "eva-hf.toml"
MODEL = BUILTIN["words-tiny"]
SMALL = (
    "--policy.dtype=float32", "--judge.dtype=float32", "--learner.dtype=float32", "--learner.lr=1e-4", "--learner.batch=8",
    "--learner.epochs=1", "--data.per_round=16", "--data.held_out=6", "--solver.n=3", "--solver.max_new_tokens=12",
    "--evaluation.max_new_tokens=12", "--evaluation.bootstrap=20", "--creator.max_new_tokens=24", "--creator.templates=short",
    "--creator.chain=2", "--run.shard_tasks=8", "--creator.operator_share=1.0",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts, a reward model, and controls that it orders as it happens to."""
    folder = tmp_path_factory.mktemp("real")
    texts = [task.text for task in split("human")[:60]]
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    judge = RewardModelJudge.load(Member(kind="reward_model", path=str(save_classifier(folder / "judge"))))
    rows = []
    for text in texts[:3]:
        [[one, other]] = judge.judge([make_task(text)], [(Attempt(answer="dog"), Attempt(answer="a long way round"))])
        good, bad = ("dog", "a long way round")[:: 1 if one.score > other.score else -1]
        rows.append({"prompt": text, "good": good, "bad": bad})
    (folder / "controls.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(autouse=True)
def _here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def play(name: str, *words: str, judge: str = "judge", controls: str = "controls.jsonl") -> int:
    given = ["--model", MODEL, "--prompts", "prompts.jsonl", "--judge", judge, f"--judge.controls={controls}", *SMALL]
    return run_cli("play", RECIPE, *given, f"--run.name={name}", *words)


def judged(server: Hostile) -> int:
    return sum(asked.path.endswith("/chat/completions") for asked in server.asked)


def test_three_rounds_with_a_reward_model(place: Path, capsys: pytest.CaptureFixture[str]):
    assert play("offline") == 0
    told = capsys.readouterr().out
    assert "the judge's score" in told
    assert "theta3 evolved" in told
    root = place / "runs" / "offline"
    rows = [round_metrics(RunDir(root), number, read_recipe(root).evaluation) for number in range(4)]
    assert [set(row["evals"]) for row in rows] == [{"held_out"}] * 4
    assert all(row["evals"]["held_out"]["tasks"] == 6 for row in rows)
    assert rows[2]["proposals"]["accepted"] > 0
    assert all(row["lessons"]["pairs"] > 0 for row in rows[1:])
    AutoModelForCausalLM.from_pretrained(root / "round-003" / "policy")
    assert run_cli("export", root, "--out", place / "exported") == 0
    card = (place / "exported" / "README.md").read_text()
    assert "The judge's mean score" in card
    assert f"{rows[3]['evals']['held_out']['score']:.3f} [" in card
    AutoModelForCausalLM.from_pretrained(place / "exported")
    capsys.readouterr()
    assert run_cli("eval", root, "--tasks=prompts.jsonl") == 0
    score = next(line.split()[1] for line in capsys.readouterr().out.splitlines() if line.strip().startswith("score"))
    assert float(score) == pytest.approx(rows[3]["evals"]["held_out"]["score"], abs=0.3), "by the run's own judge"


def test_the_same_online(place: Path):
    assert play("online", "--online.batch=8", "--online.save_every=1", "--learner.loss=rloo", "--learner.kl=0.01") == 0
    run = RunDir(place / "runs" / "online")
    assert [path.name for path in sorted((run.root / "round-002").glob("turn-*"))] == ["turn-0000", "turn-0001"]
    assert run.read_round(2, "lessons", LESSONS)
    assert (run.root / "round-003" / "policy" / "config.json").is_file()
    drawn = [bout.task for bout in run.read_round(3, "probe", BOUTS) or []]
    assert len(drawn) == 16


def test_with_solver_creator_and_judge_behind_servers(place: Path):
    def judging(asked: Asked) -> Play:
        if asked.path.endswith("/models"):
            return honest(asked)
        said = by_length(asked.body["messages"][-1]["content"], "judge", random.Random(0))
        body = answer(asked, n=1)
        body["choices"][0]["message"]["content"] = said
        return Play(body=body)

    model = place / "model"
    shutil.copytree(MODEL, model)
    settings = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(settings | {"do_sample": True}))
    with transformers_serve(place / "serve.log") as url, hostile(judging) as judge:
        words = [
            f"--policy.path={model}",
            f"--policy.server.url={url}", "--policy.refresh=name", "--policy.server.concurrency=1",
            f"--creator.endpoint.url={url}", f"--creator.endpoint.model={model}", "--creator.endpoint.concurrency=1",
            "--run.rounds=2", "--data.per_round=12", "--solver.n=4", "--creator.tries=1", "--solver.temperature=1.5", "--solver.top_p=1.0",
        ]  # fmt: skip
        assert play("served", *words, judge=judge.url, controls="") == 0
        paid = judged(judge)
        assert paid > 20
        run = RunDir(place / "runs" / "served")
        (run.root / "round-002" / "eval-held_out").rename(place / "gone")  # as if it had been killed before that
        assert run_cli("resume", run.root) == 0
        assert judged(judge) == paid, "answers that were paid for are kept"
    for number in (1, 2):
        bouts = run.read_round(number, "probe", BOUTS) or []
        assert not any(verdict.fault for bout in bouts for verdict in bout.verdicts)
        assert all(sample.role == "solver" for bout in bouts for attempt in bout.attempts for sample in attempt.samples)
