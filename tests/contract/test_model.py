"""What every ``sparring.game.Model`` promises. A new model joins by a line in ``MODELS``."""

import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from sparring.config import Policy
from sparring.game import Model, Sample, Sampling, Scored
from sparring.models.hf import HFModel
from sparring.models.scripted import ScriptedModel
from tests.tiny import save_tiny, tiny_tokenizer

PROMPTS = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11", "w4 w4", "w12 w13"]
HOW = Sampling(n=3, temperature=1.0, top_p=0.95, max_new_tokens=12)
BEAM = Sampling(n=3, max_new_tokens=12, beam=True)


def scripted(folder: Path) -> Model:
    def script(prompt: str, role: str, rng: random.Random) -> str:
        return f"{role}: {' '.join(rng.choices(prompt.split(), k=rng.randrange(4)))}"

    return ScriptedModel(script)


def transformers_model(kind: str) -> Callable[[Path], Model]:
    def make(folder: Path) -> Model:
        # Three tokens end an answer: some samples end early, some late, some not at all.
        path = save_tiny(folder / kind, kind, eos_token_id=[1, 20, 40])
        # AutoTokenizer would give a Qwen2 model a tokenizer of its own, whatever was saved with it.
        return HFModel(AutoModelForCausalLM.from_pretrained(path), tiny_tokenizer(), Policy(device="cpu"))

    return make


MODELS: dict[str, Callable[[Path], Model]] = {
    "scripted": scripted,
    "llama": transformers_model("llama"),
    "gpt2": transformers_model("gpt2"),
    "qwen2": transformers_model("qwen2"),
    "mistral, sliding window": transformers_model("mistral"),
}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return MODELS[request.param](tmp_path_factory.mktemp("model"))


def drawn(samples: list[list[Sample]]) -> list[list[tuple[tuple[int, ...], str]]]:
    return [[(sample.token_ids, sample.text) for sample in group] for group in samples]


def test_n_samples_for_every_prompt_in_order(model: Model):
    groups = model.sample(PROMPTS, HOW, role="solver", seed=0)
    assert [len(group) for group in groups] == [HOW.n] * len(PROMPTS)
    assert all(sample.role == "solver" for group in groups for sample in group)
    prompts = [{sample.prompt_ids for sample in group} for group in groups]
    assert all(len(ids) == 1 for ids in prompts)
    assert len(set.union(*prompts)) == len(PROMPTS)


@pytest.mark.parametrize("how", [HOW, BEAM], ids=["sampled", "beam"])
def test_an_answer_ends_at_the_stop_which_is_no_part_of_its_text(model: Model, how: Sampling):
    whole = [sample for group in model.sample(PROMPTS, how, role="solver", seed=0) for sample in group]
    inside = [word for sample in whole for word in re.findall(r"w\d+(?!\d)", sample.text) if sample.text.index(word) > 0]
    stop = max(inside, key=len)  # a whole token, and no part of another
    stopped = [s for group in model.sample(PROMPTS, replace(how, stop=stop), role="solver", seed=0) for s in group]
    assert not any(stop in sample.text for sample in stopped)
    assert any(sample.finish == "stop" and sample.text for sample in stopped)
    if not how.beam:  # a beam that may end earlier finds other answers
        assert [sample.text for sample in stopped] == [sample.text.partition(stop)[0] for sample in whole]
    again = [sample for group in model.sample(PROMPTS, how, role="solver", seed=0) for sample in group]
    assert [sample.text for sample in again] == [sample.text for sample in whole], "a stop holds for one call"


def test_no_prompts_no_samples(model: Model):
    assert model.sample([], HOW, role="solver", seed=0) == []


def test_the_same_question_has_the_same_answer(model: Model):
    first, second = (model.sample(PROMPTS, HOW, role="solver", seed=7) for _ in range(2))
    assert drawn(first) == drawn(second)


def test_the_rest_of_the_batch_changes_nothing(model: Model):
    together = drawn(model.sample(PROMPTS, HOW, role="solver", seed=7))
    alone = [drawn(model.sample([prompt], HOW, role="solver", seed=7))[0] for prompt in PROMPTS]
    backwards = drawn(model.sample(PROMPTS[::-1], HOW, role="solver", seed=7))[::-1]
    assert together == alone == backwards


def test_a_prompt_asked_twice_is_answered_alike(model: Model):
    first, _, second = drawn(model.sample([PROMPTS[0], PROMPTS[1], PROMPTS[0]], HOW, role="solver", seed=7))
    assert first == second


def test_more_samples_leave_the_first_as_they_are(model: Model):
    few = drawn(model.sample(PROMPTS, HOW, role="solver", seed=7))
    how = Sampling(n=HOW.n + 2, temperature=HOW.temperature, top_p=HOW.top_p, max_new_tokens=HOW.max_new_tokens)
    many = drawn(model.sample(PROMPTS, how, role="solver", seed=7))
    assert [group[: HOW.n] for group in many] == few


def test_other_seeds_and_roles_draw_other_samples(model: Model):
    base = drawn(model.sample(PROMPTS, HOW, role="solver", seed=0))
    assert drawn(model.sample(PROMPTS, HOW, role="solver", seed=1)) != base
    assert drawn(model.sample(PROMPTS, HOW, role="creator", seed=0)) != base


def test_samples_of_a_prompt_differ(model: Model):
    groups = drawn(model.sample(PROMPTS, HOW, role="solver", seed=0))
    assert any(len(set(group)) > 1 for group in groups)


def test_greedy_depends_on_no_seed(model: Model):
    how = Sampling(n=2, temperature=0.0, max_new_tokens=8)
    first, second = (drawn(model.sample(PROMPTS, how, role="solver", seed=seed)) for seed in (0, 1))
    assert first == second
    assert all(group[0] == group[1] for group in first)


def test_log_probs_are_one_per_token_and_not_positive(model: Model):
    for group in model.sample(PROMPTS, HOW, role="solver", seed=0):
        for sample in group:
            assert len(sample.logprobs) in (0, len(sample.token_ids))
            assert all(-math.inf < logprob <= 0 for logprob in sample.logprobs)


def test_an_answer_stops_or_runs_out_of_tokens(model: Model):
    samples = [sample for group in model.sample(PROMPTS * 3, HOW, role="solver", seed=0) for sample in group]
    assert {sample.finish for sample in samples} <= {"stop", "length"}
    for sample in samples:
        assert 1 <= len(sample.token_ids) <= HOW.max_new_tokens
        assert sample.finish == "stop" or len(sample.token_ids) == HOW.max_new_tokens


def test_a_shorter_limit_cuts_the_same_answer(model: Model):
    long = model.sample(PROMPTS, HOW, role="solver", seed=0)
    how = Sampling(n=HOW.n, temperature=HOW.temperature, top_p=HOW.top_p, max_new_tokens=4)
    short = model.sample(PROMPTS, how, role="solver", seed=0)
    for cut, whole in zip(chain(*short), chain(*long), strict=True):
        assert cut.token_ids == whole.token_ids[:4]
        assert cut.finish == ("stop" if whole.finish == "stop" and len(whole.token_ids) <= 4 else "length")


def test_a_beam_depends_on_no_seed_and_on_no_sampling_setting(model: Model):
    first, second = (drawn(model.sample(PROMPTS, BEAM, role="solver", seed=seed)) for seed in (0, 1))
    cold = Sampling(n=BEAM.n, temperature=0.0, top_p=0.5, max_new_tokens=BEAM.max_new_tokens, beam=True)
    assert first == second == drawn(model.sample(PROMPTS, cold, role="solver", seed=0))


def test_the_answers_of_a_beam_differ(model: Model):
    for group in model.sample(PROMPTS, BEAM, role="solver", seed=0):
        assert 1 <= len(group) <= BEAM.n
        assert len({sample.token_ids for sample in group}) == len(group)
        for sample in group:
            assert sample.role == "solver"
            assert 1 <= len(sample.token_ids) <= BEAM.max_new_tokens
            assert sample.finish == "stop" or len(sample.token_ids) == BEAM.max_new_tokens


def test_the_rest_of_the_batch_changes_no_beam(model: Model):
    together = drawn(model.sample([*PROMPTS, PROMPTS[0]], BEAM, role="solver", seed=0))
    alone = [drawn(model.sample([prompt], BEAM, role="solver", seed=0))[0] for prompt in [*PROMPTS, PROMPTS[0]]]
    assert together == alone


# ------------------------------------------------------------------------------------------------ score


def test_every_pair_is_scored_in_order(model: Model):
    pairs = [(PROMPTS[0], "w3 w4"), (PROMPTS[1], ""), (PROMPTS[2], "w3"), (PROMPTS[0], "w3"), (PROMPTS[0], "w3 w4")]
    scores = model.score(pairs, role="solver")
    assert scores[1] == Scored(logprob=0.0, tokens=0)
    assert scores[0] == scores[4]
    assert scores[2].tokens == scores[3].tokens < scores[0].tokens
    assert all(-math.inf < score.logprob < 0 for score in (scores[0], *scores[2:]))
    assert model.score([], role="solver") == []
    assert model.score([(PROMPTS[0], "")], role="solver") == [Scored(logprob=0.0, tokens=0)]


TEXTS = ["w1", "w1 w2", "w1 w2 w3 w4 w5 w6", "w1 w2 w9", "w7", "w7 w7 w7", "w30 w31 w32 w33 w34 w35 w36 w37 w38 w39"]


def test_the_rest_of_the_batch_changes_no_score(model: Model):
    pairs = [(prompt, text) for prompt in PROMPTS for text in TEXTS]
    together = [score.logprob for score in model.score(pairs, role="solver")]
    alone = [score.logprob for pair in pairs for score in model.score([pair], role="solver")]
    backwards = [score.logprob for score in model.score(pairs[::-1], role="solver")][::-1]
    assert together == pytest.approx(alone, abs=1e-4)
    assert together == pytest.approx(backwards, abs=1e-4)


@pytest.mark.parametrize("how", [replace(HOW, n=200), replace(BEAM, n=12)], ids=["sampled", "beam"])
def test_a_score_is_what_the_sampler_says_of_the_same_text(model: Model, how: Sampling):
    groups = model.sample(PROMPTS, how, role="solver", seed=0)
    answers = [(prompt, s) for prompt, group in zip(PROMPTS, groups, strict=True) for s in group if s.finish == "stop"]
    # Encoded again, other texts would not be the sampled tokens: a word beside a word, or tokens that no text shows (0 to 4).
    told = [(p, s) for p, s in answers if not re.search(r"w\d+w", s.text) and min(s.token_ids[:-1], default=5) >= 5]
    assert len({sample.text for _, sample in told}) >= 5
    for score, (_, sample) in zip(model.score([(p, s.text) for p, s in told], role="solver"), told, strict=True):
        assert score.tokens in (len(sample.token_ids), len(sample.token_ids) - 1)  # a word may be an end, and is shown then
        assert score.logprob == pytest.approx(sum(sample.logprobs[: score.tokens]), abs=1e-4)


def test_ways_to_go_on_share_what_their_beginning_has(model: Model):
    for begun in ("", "w5 ", "w5 w6 "):
        whole, *parts = model.score([(PROMPTS[0], begun), *((PROMPTS[0], f"{begun}w{k}") for k in range(1, 10))], role="solver")
        assert all(part.logprob < whole.logprob for part in parts)
        assert sum(math.exp(part.logprob) for part in parts) <= math.exp(whole.logprob) + 1e-6
