"""Learning while playing: the sampler has the weights of the moment, and a killed process goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

from sparring import config
from sparring.errors import SparringError
from sparring.game import Credit, Lesson, Live, Model, Pair, Sample, Sampling
from sparring.learners.checkpoint import load_policy, state_path
from sparring.learners.credits import ADVANTAGES
from sparring.learners.live import LiveLearner, LivePolicy
from sparring.learners.losses import CREDIT_LOSSES
from sparring.learners.session import learning_rate
from sparring.models.hf import HFModel
from sparring.records import LESSONS, read_parquet, write_parquet
from tests.test_train import POLICY, files_of, how, policy, rows_of  # noqa: F401  (a fixture)
from tests.tiny import save_tiny

PROMPTS = ["w1 w2", "w3", "w4 w5 w6"]
TURNS = 5


def learner(settings: config.Learner, **options: Any) -> LiveLearner:
    arguments = {"save_every": 2, "longest": 8, **options}
    return LiveLearner(how=settings, policy=POLICY, serve=lambda model, words: HFModel(model, words, POLICY), **arguments)


def taught(model: Model, loss: config.Loss, turn: int) -> list[Lesson]:
    """Lessons from fresh answers: the more different words, the better. Nothing in the third turn."""
    if turn == 2:
        return []
    answers = model.sample(PROMPTS, Sampling(n=4, max_new_tokens=8), role="solver", seed=turn)
    lessons: list[Lesson] = []
    for prompt, group in zip(PROMPTS, answers, strict=True):
        scores = [len(set(sample.token_ids)) + place / 8 for place, sample in enumerate(group)]
        if loss in CREDIT_LOSSES:
            values = zip(group, ADVANTAGES[loss](scores), strict=True)
            lessons += [Credit(task="t", prompt=prompt, completion=sample, advantage=value) for sample, value in values]
        else:
            best, worst = group[scores.index(max(scores))], group[scores.index(min(scores))]
            lessons.append(Pair(task="t", prompt=prompt, chosen=best, rejected=worst, margin=max(scores) - min(scores)))
    return lessons


def play(settings: config.Learner, start: Path, out: Path, turns: int = TURNS) -> list[list[Lesson]]:
    """All turns that are left; lessons lie beside ``out``, and those that do are not sampled again. Returns those sampled."""
    sampled: list[list[Lesson]] = []
    begin: Callable[[Path, Path, int, int], AbstractContextManager[Live]] = learner(settings).open
    with begin(start, out, TURNS, 3) as live:
        for turn in range(live.done, turns):
            path = out.with_name(f"{out.name}-{turn}.parquet")
            if not path.exists():
                sampled.append(taught(live.model, settings.loss, turn))
                write_parquet(path, sampled[-1], LESSONS)
            live.learn(read_parquet(path, LESSONS))
        if turns == TURNS:
            live.finish()
    return sampled


ONLINE = [
    how(loss="rloo"),
    how(loss="grpo", kl=0.05, epochs=2, clip_high=0.28),
    how(loss="kto", epochs=2, optimizer="rmsprop"),
    how(loss="dpo", lora_rank=2, checkpointing=True),
    how(loss="dapo", lora_rank=2, kl=0.05, epochs=2, schedule="cosine", warmup=0.2),
]
NAMES = ["rloo", "grpo", "kto", "dpo", "dapo"]


@pytest.mark.parametrize("settings", ONLINE, ids=NAMES)
def test_a_run_that_stopped_goes_on_to_the_same_bits(policy: Path, tmp_path: Path, settings: config.Learner) -> None:  # noqa: F811
    """It stops after three turns, the last of them after the last state: that is learned again, and not sampled again."""
    whole = play(settings, policy, tmp_path / "whole")
    play(settings, policy, tmp_path / "out", turns=3)
    assert state_path(tmp_path / "out").is_file()
    again = play(settings, policy, tmp_path / "out")
    assert again == whole[3:]
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")
    assert not state_path(tmp_path / "out").exists()


def test_rows_of_training_count_every_turn(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    settings = how(loss="grpo", epochs=2, schedule="linear")
    play(settings, policy, tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["turn"] for row in rows] == [0, 0, 1, 1, 2, 3, 3, 4, 4]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, None, 5, 6, 7, 8]
    assert [row["lessons"] for row in rows][3:6] == [12, 0, 12]
    # A turn without lessons takes its place in the schedule.
    rates = [learning_rate(step, 2 * TURNS, settings) for step in range(2 * TURNS)]
    assert [row["lr"] for row in rows if row["step"]] == [*rates[:4], *rates[6:]]


def test_the_sampler_has_the_weights_of_the_moment(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    """What it says before and after a step is what the checkpoints of before and after say."""
    greedy = Sampling(temperature=0.0, max_new_tokens=8)

    def said(folder: Path) -> list[list[Sample]]:
        return HFModel(*load_policy(folder), POLICY).sample(PROMPTS, greedy, role="solver", seed=0)

    with learner(how(loss="rloo", lr=1e-2)).open(policy, tmp_path / "out", 1, seed=3) as live:
        before = live.model.sample(PROMPTS, greedy, role="solver", seed=0)
        live.learn(taught(live.model, "rloo", 0))
        after = live.model.sample(PROMPTS, greedy, role="solver", seed=0)
        live.finish()
    assert before == said(policy)
    assert [[sample.text for sample in group] for group in after] == [[s.text for s in group] for group in said(tmp_path / "out")]
    assert after != before


@pytest.mark.parametrize("settings", [how(loss="rloo"), how(loss="rloo", lora_rank=2, save_adapter=True)], ids=["whole", "lora"])
def test_a_policy_can_be_written_on_the_way(policy: Path, tmp_path: Path, settings: config.Learner) -> None:  # noqa: F811
    play(settings, policy, tmp_path / "whole", turns=TURNS)
    with learner(settings).open(policy, tmp_path / "out", TURNS, seed=3) as live:
        for turn in range(TURNS):
            live.learn(read_parquet(tmp_path / f"whole-{turn}.parquet", LESSONS))
            live.export(tmp_path / f"after-{turn}")
        live.finish()
    for name in ("whole", "out", f"after-{TURNS - 1}"):
        assert (tmp_path / name / "adapter").exists() == settings.save_adapter
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "out", f"after-{TURNS - 1}", "after-0")]
    assert weights[0] == weights[1] == weights[2] != weights[3]


def test_the_reference_is_the_policy_as_it_was_opened(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    """A copy of all weights, or the weights without their adapter: the same reference, so the same change at a rate of nearly 0."""
    for rank in (0, 2):
        settings = how(loss="grpo", kl=0.1, lora_rank=rank, lr=3e-2)
        play(settings, policy, tmp_path / f"{rank}")
        rows = [row for row in rows_of(tmp_path / f"{rank}") if row["step"]]
        assert rows[0]["kl"] == pytest.approx(0.0, abs=1e-6)
        lessons = read_parquet(tmp_path / f"{rank}-4.parquet", LESSONS)
        model, _ = load_policy(policy)
        for row, sign in ((rows[-1]["chosen_logp_change"], 1), (rows[-1]["rejected_logp_change"], -1)):
            found = [c for c in lessons if isinstance(c, Credit) and c.advantage * sign > 0]
            changes = [sum(c.completion.logprobs) - logp_of(model, c.completion) for c in found]
            assert row == pytest.approx(sum(changes) / len(changes), abs=1e-3)


def logp_of(model: Any, sample: Sample) -> float:
    tokens = torch.tensor([[*sample.prompt_ids, *sample.token_ids]])
    with torch.no_grad():
        logp = model(tokens).logits.log_softmax(-1)[0]
    first = len(sample.prompt_ids)
    return sum(logp[first + place - 1, token].item() for place, token in enumerate(sample.token_ids))


def test_log_probs_of_a_stale_sampler_are_refused(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    with learner(how(loss="rloo", lr=1e-1)).open(policy, tmp_path / "out", 2, seed=3) as live:
        lessons = taught(live.model, "rloo", 0)
        live.learn(lessons)
        with pytest.raises(SparringError, match="another policy sampled them"):
            live.learn(lessons)


def test_a_policy_learns_no_more_turns_than_were_planned(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    with learner(how(loss="rloo")).open(policy, tmp_path / "out", 1, seed=3) as live:
        live.learn([])
        with pytest.raises(SparringError, match="turn 2 of 1"):
            live.learn([])
        live.finish()
    before, after = (load_policy(folder)[0].state_dict() for folder in (policy, tmp_path / "out"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(SparringError, match="exists already"), learner(how()).open(policy, tmp_path / "out", 1, seed=3):
        pass


def test_a_state_of_other_settings_is_ignored(policy: Path, tmp_path: Path) -> None:  # noqa: F811
    play(how(loss="rloo"), policy, tmp_path / "out", turns=3)
    with learner(how(loss="rloo")).open(policy, tmp_path / "out", TURNS, seed=3) as live:
        assert live.done == 2
    for settings, turns, seed in ((how(loss="grpo"), TURNS, 3), (how(loss="rloo"), 9, 3), (how(loss="rloo"), TURNS, 4)):
        with learner(settings).open(policy, tmp_path / "out", turns, seed=seed) as live:
            assert live.done == 0


def test_killed_in_the_middle_of_it(tmp_path: Path) -> None:
    """A process is killed before its fourth turn is learned; the next one goes on from the state after the second."""
    start = save_tiny(tmp_path / "start")
    whole = play(ONLINE[1], start, tmp_path / "whole")
    program = "import sys; from tests.test_live import killed; killed(*sys.argv[1:])"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", program, str(start), str(tmp_path / "out"), "3"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    again = play(ONLINE[1], start, tmp_path / "out")
    assert again == whole[4:]  # the fourth turn's lessons were on disk
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def killed(start: str, out: str, learned: str) -> None:
    """Plays in this process, which kills itself once so many turns are learned and the next one's lessons are there."""
    turns = iter(range(int(learned)))

    def learn(self: LivePolicy, lessons: Sequence[Lesson], usual: Any = LivePolicy.learn) -> None:
        if next(turns, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        usual(self, lessons)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LivePolicy, "learn", learn)
        play(ONLINE[1], Path(start), Path(out))
