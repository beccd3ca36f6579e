"""TRL's trainers as a learner: on the tokens that the torch learner sees, to the weights that it ends with."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from sparring import config
from sparring.data import encode_completion, encode_prompt
from sparring.errors import SparringError
from sparring.game import Credit, Demo, Lesson, Pair, Sample
from sparring.learners.batches import encode_lessons, plan_batches
from sparring.learners.checkpoint import load_policy
from sparring.learners.train import TorchLearner
from tests.tiny import save_tiny

pytest.importorskip("trl")
from sparring.learners.trl import TrlLearner, make_trainer, state_folder, undisturbed

POLICY = config.Policy(device="cpu")
LONGEST = 16


def how(**changes: Any) -> config.Learner:
    shared = {"backend": "trl", "lr": 1e-3, "warmup": 0.2, "batch": 4, "epochs": 2, "micro_tokens": 64}
    return config.Learner(**{**shared, **changes})


def sample(text: str) -> Sample:
    return Sample(role="solver", text=text)


# A prompt that spells a special token is text to the one rendering and the end of a turn to a careless one.
PROMPTS = ["w1 w2", "w3", "w4 <eos> w4", "w5 w6 w7", "<user>", "w8", "w9 w1", "w2 w2", "w3 w9", "w6"]
PAIRS = [
    Pair(
        task=f"t{n}",
        prompt=prompt,
        chosen=sample(" ".join(["w5"] * (n % 4 + 1))),
        rejected=sample(" ".join(["w9"] * (n * 3 % 5 + 1))),
        margin=0.5,
    )
    for n, prompt in enumerate(PROMPTS)
]
DEMOS = [Demo(prompt=prompt, completion=f"w5 w{n}") for n, prompt in enumerate(PROMPTS)]


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without biases: the gradient of a key's bias is zero but for rounding, which Adam makes as large as any other."""
    return save_tiny(tmp_path_factory.mktemp("tiny") / "policy")


@pytest.fixture(scope="module")
def credits(policy: Path) -> list[Lesson]:
    """Answers with the policy's own log-probs, and advantages of either sign."""
    model, tokenizer = load_policy(policy)
    found: list[Lesson] = []
    for number, prompt in enumerate(PROMPTS):
        before = encode_prompt(tokenizer, prompt)
        answer = encode_completion(tokenizer, " ".join(["w7", "w8", "w9"][: number % 3 + 1]))
        with torch.no_grad():
            logps = model(torch.tensor([[*before, *answer]])).logits[0, len(before) - 1 : -1].log_softmax(-1)
        known = tuple(logps[place, token].item() for place, token in enumerate(answer))
        drawn = Sample(role="solver", text="", prompt_ids=tuple(before), token_ids=tuple(answer), logprobs=known)
        advantage = (1.0 if number % 3 else -1.0) * (1 + number % 2)
        found.append(Credit(task=f"t{number}", prompt=prompt, completion=drawn, advantage=advantage))
    return found


def lessons_for(loss: str, credits: list[Lesson]) -> list[Lesson]:
    if loss == "kto":  # TRL knows one weight for the good and one for the bad
        signs = [lesson for lesson in credits if isinstance(lesson, Credit)]
        return [
            Credit(task=c.task, prompt=c.prompt, completion=c.completion, advantage=1.0 if c.advantage > 0 else -0.5)
            for c in signs
        ]
    return {"sft": DEMOS, "dpo": PAIRS, "ipo": PAIRS, "sppo": PAIRS}.get(loss, credits)  # pyright: ignore[reportReturnType]


def numpy_state() -> list[int]:
    return np.random.get_state(legacy=False)["state"]["key"].tolist()  # pyright: ignore[reportArgumentType, reportCallIssue]


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]


def largest_difference(first: Path, second: Path) -> float:
    ours, theirs = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


# ------------------------------------------------------------------------------------------------ the same lessons


def fed_rows(batch: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """(prompt, answer) of every row of a batch that a trainer's data loader gives."""
    if "labels" in batch:
        ids, seen, answer = batch["input_ids"], batch["attention_mask"], batch["labels"] != -100
    elif "prompt_ids" in batch:
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        answer = torch.cat([batch["prompt_mask"] * 0, batch["completion_mask"]], 1)
    else:
        ids, seen, answer = batch["input_ids"], batch["attention_mask"], batch["completion_mask"]
    return [(i[s.bool() & ~a.bool()].tolist(), i[a.bool()].tolist()) for i, s, a in zip(ids, seen, answer, strict=True)]


@pytest.mark.parametrize("loss", ["sft", "dpo", "kto", "rloo", "grpo"])
def test_every_step_is_fed_with_the_tokens_of_the_torch_learner(
    policy: Path, tmp_path: Path, credits: list[Lesson], loss: str
) -> None:
    settings, lessons = how(loss=loss), lessons_for(loss, credits)
    with undisturbed():
        trainer = make_trainer(TrlLearner(settings, POLICY, longest=LONGEST), policy, lessons, tmp_path / "state", 7)
    _, tokenizer = load_policy(policy)
    items = encode_lessons(lessons, settings, tokenizer)
    plan = plan_batches(len(lessons), settings, 7)
    loader = trainer.get_train_dataloader()
    trainer.current_gradient_accumulation_steps = trainer.feed.accumulate
    for epoch in range(settings.epochs):
        loader.batch_sampler.set_epoch(epoch)
        fed = [trainer._prepare_inputs(batch) if loss in ("rloo", "grpo") else batch for batch in loader]
        rows = sorted(row for batch in fed for row in fed_rows(batch))
        ours = [answer for step in plan[epoch * 3 : epoch * 3 + 3] for index in step for answer in items[index].answers]
        assert rows == sorted((list(answer.prompt_ids), list(answer.token_ids)) for answer in ours)
    assert [sorted(step) for step in trainer.feed.steps] == [sorted(step) for step in plan]


@pytest.mark.parametrize("loss", ["dpo", "ipo", "sppo", "kto", "rloo", "grpo", "dr_grpo", "dapo", "sft"])
def test_it_ends_with_the_weights_of_the_torch_learner(policy: Path, tmp_path: Path, credits: list[Lesson], loss: str) -> None:
    """The weights move by 4e-3 and differ by 1e-7 to 1e-6, which is float32 rounding in sums of another order that Adam's division
    by small second moments has grown; a wrong order, schedule or weight would be seen as 1e-4 and more."""
    # KTO's reference point is per micro-batch in TRL and per batch here, so for that one batch is one micro-batch and one epoch.
    changes = {"micro_tokens": 4096, "epochs": 1} if loss == "kto" else {"kl": 0.3} if loss in ("grpo", "dapo") else {}
    settings, lessons = how(loss=loss, **changes), lessons_for(loss, credits)
    TorchLearner(settings, POLICY, longest=LONGEST).learn(policy, lessons, tmp_path / "torch", 7)
    TrlLearner(settings, POLICY, longest=LONGEST).learn(policy, lessons, tmp_path / "trl", 7)
    assert largest_difference(policy, tmp_path / "trl") > 1e-3
    assert largest_difference(tmp_path / "torch", tmp_path / "trl") < 1e-5
    for ours, theirs in zip(rows_of(tmp_path / "torch"), rows_of(tmp_path / "trl"), strict=True):
        for name in ("step", "loss", "lr", "grad_norm", "chosen_length", "rejected_length"):
            assert theirs[name] == (ours[name] and pytest.approx(ours[name], rel=1e-3, abs=1e-5)), name
        assert theirs.keys() == ours.keys() or loss == "kto"


def test_the_folder_is_the_torch_learners(policy: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    torch.manual_seed(3)
    before = (torch.random.get_rng_state(), random.getstate(), numpy_state())
    TorchLearner(how(), POLICY).learn(policy, PAIRS, tmp_path / "torch", 7)
    TrlLearner(how(), POLICY, progress=lambda done, total: told.append((done, total))).learn(policy, PAIRS, tmp_path / "trl", 7)
    assert told == [(step, 6) for step in range(1, 7)]
    names = {path.name for path in (tmp_path / "torch").iterdir()}
    assert {path.name for path in (tmp_path / "trl").iterdir()} == names
    for name in names - {"training.jsonl", "model.safetensors"}:
        assert (tmp_path / "trl" / name).read_bytes() == (tmp_path / "torch" / name).read_bytes(), name
    assert {path.name for path in tmp_path.iterdir()} == {"torch", "trl"}
    after = (torch.random.get_rng_state(), random.getstate(), numpy_state())
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]
    assert before[2] == after[2]


def test_an_adapter_is_merged_and_may_be_kept(policy: Path, tmp_path: Path) -> None:
    TrlLearner(how(lora_rank=4, save_adapter=True), POLICY).learn(policy, PAIRS, tmp_path / "out", 7)
    from peft import PeftModel

    TorchLearner(how(lora_rank=4), POLICY).learn(policy, PAIRS, tmp_path / "torch", 7)
    assert largest_difference(tmp_path / "torch", tmp_path / "out") < 1e-5
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # peft's, about a name of transformers
        adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(policy), tmp_path / "out" / "adapter")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    ids = torch.tensor([[3, 7, 8, 4]])
    with torch.no_grad():
        assert torch.allclose(adapted(ids).logits, whole(ids).logits, atol=1e-5)
        assert not torch.allclose(AutoModelForCausalLM.from_pretrained(policy)(ids).logits, whole(ids).logits, atol=1e-3)


# ------------------------------------------------------------------------------------------------ interruptions


class Killed(Exception):
    pass


@pytest.mark.parametrize("damage", [False, True], ids=["between steps", "while saving"])
def test_after_a_crash_it_goes_on_to_the_same_weights(policy: Path, tmp_path: Path, damage: bool) -> None:
    settings, told = how(save_every=2), list[int]()
    TrlLearner(settings, POLICY).learn(policy, PAIRS, tmp_path / "whole", 7)

    def kill(done: int, total: int) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        TrlLearner(settings, POLICY, progress=kill).learn(policy, PAIRS, tmp_path / "out", 7)
    assert not (tmp_path / "out").exists()
    (saved,) = state_folder(tmp_path / "out").glob("checkpoint-*")
    assert saved.name == "checkpoint-4"
    if damage:  # a later checkpoint of which not everything was written
        (saved.parent / "checkpoint-5").mkdir()
        (saved.parent / "checkpoint-5" / "model.safetensors").write_bytes(b"half")
    TrlLearner(settings, POLICY, progress=lambda done, total: told.append(done)).learn(policy, PAIRS, tmp_path / "out", 7)
    assert told == [5, 6]
    assert largest_difference(tmp_path / "whole", tmp_path / "out") == 0.0
    assert [row["loss"] for row in rows_of(tmp_path / "out")] == [row["loss"] for row in rows_of(tmp_path / "whole")]
    assert not state_folder(tmp_path / "out").exists()


def test_a_state_of_other_lessons_is_not_gone_on_with(policy: Path, tmp_path: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        TrlLearner(how(save_every=2), POLICY, progress=kill).learn(policy, PAIRS[:8], tmp_path / "out", 7)
    told: list[int] = []
    learner = TrlLearner(how(save_every=2), POLICY, progress=lambda done, total: told.append(done))
    learner.learn(policy, PAIRS, tmp_path / "out", 7)
    assert told == [1, 2, 3, 4, 5, 6]


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "simpo"}, "simpo is not among TRL's stable trainers; set learner.backend to torch"),
        ({"loss": "sppo_soft"}, "sppo_soft is not among"),
        ({"nll": 1.0}, r"learner\.nll is no term of TRL's DPO trainer.*loss_weights"),
        ({"dpop": 1.0}, r"learner\.dpop is no term"),
        ({"loss": "rloo", "kl": 0.1}, r"learner\.kl is no term of TRL's RLOO trainer"),
        (
            {"trl": {"deepsped": "zero3.json"}},
            r"learner\.trl\.deepsped is no argument of TRL's DPOConfig; did you mean deepspeed",
        ),
        ({"trl": {"learning_rate": 1e-5}}, r"learner\.trl\.learning_rate is settled by learner\.lr"),
        ({"loss": "ipo", "trl": {"loss_type": "hinge"}}, r"loss_type is settled by learner\.loss"),
        ({"trl": {"load_in_4bit": True}}, "cannot be trained themselves.*lora_rank"),
    ],
)
def test_what_cannot_be_mapped_is_refused_before_anything_is_sampled(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SparringError, match=message):
        TrlLearner(how(**changes), POLICY)


def test_an_argument_of_the_wrong_kind_is_an_error_of_the_recipe(policy: Path, tmp_path: Path) -> None:
    learner = TrlLearner(how(trl={"optim": "adamant"}), POLICY)
    with pytest.raises(SparringError, match=r"DPO trainer refuses learner\.trl.*adamant"):
        learner.learn(policy, PAIRS, tmp_path / "out", 7)


def test_further_arguments_reach_the_trainer(policy: Path, tmp_path: Path) -> None:
    """One of TRL's losses that has no name here; its value at the first step, where policy and reference agree, is 1."""
    TrlLearner(how(trl={"loss_type": ["hinge"]}), POLICY).learn(policy, PAIRS, tmp_path / "out", 7)
    assert rows_of(tmp_path / "out")[0]["loss"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("loss", "lessons", "message"),
    [
        ("dpo", [], "no lessons"),
        ("dpo", DEMOS, "compares two answers"),
        ("sft", [DEMOS[0], Demo(prompt="w1", completion="w2", weight=2.0)], "no weights"),
        ("grpo", [Credit(task="t", prompt="w1", completion=sample("w2"), advantage=1.0)], "without the log-probs"),
    ],
)
def test_lessons_that_trl_has_no_place_for(policy: Path, tmp_path: Path, loss: str, lessons: list[Lesson], message: str) -> None:
    with pytest.raises(SparringError, match=message):
        TrlLearner(how(loss=loss), POLICY).learn(policy, lessons, tmp_path / "out", 7)


def test_one_process_only(policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SparringError, match="learns in one process"):
        TrlLearner(how(), POLICY).learn(policy, PAIRS, tmp_path / "out", 7)


def test_answers_of_another_policy_are_noticed(policy: Path, tmp_path: Path, credits: list[Lesson]) -> None:
    other = save_tiny(tmp_path / "other", seed=1)
    with pytest.raises(SparringError, match="nats per token away from the policy's own"):
        TrlLearner(how(loss="grpo"), POLICY).learn(other, credits, tmp_path / "out", 7)


def test_a_loss_that_is_not_finite_stops_the_training(policy: Path, tmp_path: Path) -> None:
    with pytest.raises(SparringError, match=r"step \d+ of 6.*lower it"):
        TrlLearner(how(loss="sppo", lr=1e30, clip=1e30, warmup=0.0), POLICY).learn(policy, PAIRS, tmp_path / "out", 7)
