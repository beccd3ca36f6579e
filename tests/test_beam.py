"""Beam search: what a full enumeration finds, what the definition says in slow words, and never less than transformers finds."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import AutoModelForCausalLM

from sparring.config import Policy
from sparring.errors import SparringError
from sparring.game import Sample, Sampling
from sparring.models.beam import _top, beam_search
from sparring.models.cache import PlainCache, PrefixCache
from sparring.models.decode import Answer, Decoder, Tokens
from sparring.models.hf import HFModel
from tests.tiny import save_tiny, tiny_tokenizer

ENDS = (1, 9, 18, 27)
KINDS = {"llama": PrefixCache, "gpt2": PrefixCache, "mistral": PlainCache, "bloom": PlainCache}
WORDS = ["w1 w2", "w3", "w5 w6 w7 w8 w9 w10 w11 w12", "w4 w4", "w20 w30 w40 w50", "w9 w8 w7 w6"]
PROMPTS: list[Tokens] = [(5, 6), (7,), (8, 9, 10, 11, 12, 13), (40, 41, 42), (50, 3)]


def beam(n: int, new: int) -> Sampling:
    return Sampling(n=n, max_new_tokens=new, beam=True)


def decoder(folder: Path, kind: str = "llama", vocab: int = 64, ends: tuple[int, ...] = ENDS, **changes: Any) -> Decoder:
    return Decoder(AutoModelForCausalLM.from_pretrained(save_tiny(folder, kind, vocab, **changes)), ends)


def next_logprobs(model: Decoder, ids: Tokens) -> list[float]:
    with torch.inference_mode():
        return model.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).tolist()


Hypothesis = tuple[float, Tokens]


def likeliest(found: list[Hypothesis]) -> list[Hypothesis]:
    return sorted(found, key=lambda each: -each[0])


def slow_beam(model: Decoder, prompt: Tokens, how: Sampling) -> list[Hypothesis]:
    """The definition: no cache, no batch, and nothing is left out before the end."""
    ends = set(model.ends_V.nonzero().flatten().tolist())
    live: list[Hypothesis] = [(0.0, ())]
    done: list[Hypothesis] = []
    for _ in range(how.max_new_tokens):
        ways: list[Hypothesis] = []
        for total, ids in live:
            for token, logprob in enumerate(next_logprobs(model, prompt + ids)):
                (done if token in ends else ways).append((total + logprob, (*ids, token)))
        live, done = likeliest(ways)[: how.n], likeliest(done)[: how.n]
        if len(done) == how.n and done[-1][0] >= live[0][0]:
            break
    return likeliest([*done, *live[: how.n - len(done)]])


def check_same(answers: list[Answer], expected: list[Hypothesis]) -> None:
    assert [answer.ids for answer in answers] == [ids for _, ids in expected]
    assert [sum(answer.logprobs) for answer in answers] == pytest.approx([total for total, _ in expected], abs=1e-4)


# ------------------------------------------------------------------------------------------------ what is found


@pytest.mark.parametrize("n", [1, 2, 5, 9])
@pytest.mark.parametrize("kind", list(KINDS))
def test_answers_are_those_of_the_definition(tmp_path: Path, kind: str, n: int):
    model = decoder(tmp_path, kind)
    assert type(model.new_cache(rows=2)) is KINDS[kind]
    how = beam(n, 10)
    for prompt, answers in zip(PROMPTS, beam_search(model, PROMPTS, how), strict=True):
        check_same(answers, slow_beam(model, prompt, how))
        assert all(answer.ended == (answer.ids[-1] in ENDS) for answer in answers)


@pytest.mark.parametrize("n", [3, 16, 21, 60, 100])
def test_a_wide_beam_finds_the_likeliest_of_all(tmp_path: Path, n: int):
    """Five tokens, one of which ends, three at most: 21 answers that end and 64 that do not."""
    model, end = decoder(tmp_path, vocab=5, ends=(2,), num_hidden_layers=1, eos_token_id=2), 2
    done: list[Hypothesis] = []
    live: list[Hypothesis] = [(0.0, ())]
    for _ in range(3):
        ways = [(s + p, (*ids, t)) for s, ids in live for t, p in enumerate(next_logprobs(model, (3, 4, *ids)))]
        done += [way for way in ways if way[1][-1] == end]
        live = [way for way in ways if way[1][-1] != end]
    assert (len(done), len(live)) == (21, 64)
    assert math.fsum(math.exp(total) for total, _ in done + live) == pytest.approx(1)
    (answers,) = beam_search(model, [(3, 4)], beam(n, 3))
    if n >= 16:  # no more than 16 are live before the last token, so nothing is pruned
        check_same(answers, likeliest([*likeliest(done)[:n], *likeliest(live)[: max(0, n - 21)]]))
    assert len(answers) == min(n, 85)
    assert sum(answer.ended for answer in answers) == min(n, 21)


@pytest.mark.parametrize("kind", list(KINDS))
def test_without_an_end_it_is_transformers_beam(tmp_path: Path, kind: str):
    model = decoder(tmp_path, kind, ends=(), eos_token_id=None)
    check_generate(model, exactly=True, max_new_tokens=8)


@pytest.mark.parametrize("kind", list(KINDS))
def test_with_ends_it_finds_no_less_than_transformers(tmp_path: Path, kind: str):
    check_generate(decoder(tmp_path, kind), exactly=False, max_new_tokens=20)


def check_generate(model: Decoder, *, exactly: bool, max_new_tokens: int) -> None:
    plain: Any = model.model
    for prompt, answers in zip(PROMPTS, beam_search(model, PROMPTS, beam(6, max_new_tokens)), strict=True):
        ids = torch.tensor([prompt])
        out = plain.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            num_beams=6,
            num_return_sequences=6,
            max_new_tokens=max_new_tokens,
            length_penalty=0.0,
            early_stopping="never",
            eos_token_id=list(ENDS) if not exactly else None,
            return_dict_in_generate=True,
            output_scores=True,
        )
        scores = [sum(answer.logprobs) for answer in answers]
        if exactly:
            assert [answer.ids for answer in answers] == [tuple(row) for row in out.sequences[:, len(prompt) :].tolist()]
            assert scores == pytest.approx(out.sequences_scores.tolist(), abs=1e-4)
        else:
            assert all(answer.ended for answer in answers)
            assert all(mine >= theirs - 1e-4 for mine, theirs in zip(scores, out.sequences_scores.tolist(), strict=True))


def test_equals_are_in_the_order_of_their_tokens(tmp_path: Path):
    model = decoder(tmp_path, vocab=8, ends=(1,))
    model.model.get_parameter("lm_head.weight").data.zero_()
    (answers,) = beam_search(model, [(3,)], beam(4, 5))
    assert [answer.ids for answer in answers] == [(1,), (0, 1), (2, 1), (3, 1)]
    (answers,) = beam_search(Decoder(model.model, []), [(3,)], beam(20, 2))
    assert [answer.ids for answer in answers] == [(a, b) for a in range(8) for b in range(8)][:20]


def test_tokens_that_cannot_come_never_do(tmp_path: Path):
    model = decoder(tmp_path, vocab=8, ends=(1,))
    head = torch.nn.Linear(32, 8)
    head.weight.data.zero_()
    head.bias.data = torch.tensor([0.0, 0.0, 0.0, *[-torch.inf] * 5])
    model.model.set_output_embeddings(head)
    (answers,) = beam_search(model, [(3,)], beam(50, 2))
    assert [answer.ids for answer in answers] == [(1,), (0, 1), (2, 1), (0, 0), (0, 2), (2, 0), (2, 2)]
    assert [answer.ended for answer in answers] == [True] * 3 + [False] * 4


# ------------------------------------------------------------------------------------------------ as a model's answers


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("llama"), eos_token_id=list(ENDS))


def load(path: Path, **policy: Any) -> HFModel:
    return HFModel(AutoModelForCausalLM.from_pretrained(path), tiny_tokenizer(), Policy(device="cpu", **policy))


def ask(model: HFModel, prompts: list[str], how: Sampling) -> list[list[Sample]]:
    return model.sample(prompts, how, role="actor", seed=0)


def test_samples_tell_what_the_model_thinks_of_them(llama: Path):
    model = load(llama)
    samples = ask(model, WORDS, beam(7, 12))
    assert len({len(sample.token_ids) for group in samples for sample in group}) > 3
    for group in samples:
        assert len(group) == 7
        assert all(sum(a.logprobs) >= sum(b.logprobs) - 1e-5 for a, b in pairwise(group))
        for sample in group:
            ids = torch.tensor([sample.prompt_ids + sample.token_ids])
            with torch.inference_mode():
                logp = model.decoder.model(ids).logits[0].log_softmax(-1)[len(sample.prompt_ids) - 1 : -1]
            expected = logp.gather(1, torch.tensor(sample.token_ids)[:, None]).squeeze(1).tolist()
            assert sample.logprobs == pytest.approx(expected, abs=1e-5)
            assert sample.finish == "stop"
            assert sample.token_ids[-1] in ENDS
            assert sample.text == model.tokenizer.decode(list(sample.token_ids), skip_special_tokens=True)


@pytest.mark.parametrize("batch_tokens", [1, 200, 600])
def test_batches_and_order_change_no_beam(llama: Path, batch_tokens: int):
    how = beam(5, 12)
    expected = ask(load(llama), WORDS, how)
    model = load(llama, batch_tokens=batch_tokens)
    rows: list[int] = []
    model.decoder.model.register_forward_pre_hook(lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    for mine, theirs in zip(ask(model, WORDS[::-1], how)[::-1], expected, strict=True):
        assert [sample.token_ids for sample in mine] == [sample.token_ids for sample in theirs]
    assert max(rows) <= max(how.n, batch_tokens // (4 + how.max_new_tokens))


def test_a_prompt_that_is_done_is_read_no_further(llama: Path):
    model = load(llama)
    rows: list[int] = []
    model.decoder.model.register_forward_pre_hook(lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    ask(model, WORDS, beam(4, 60))
    assert rows[1] <= len(WORDS) * 4
    assert rows[-1] < rows[1]
    assert len(rows) < 60


def test_prompts_that_begin_alike_have_the_same_beams(llama: Path):
    model = load(llama)
    prompts = [f"{'w1 ' * 20}w{state}{' w2' * target}" for target in (2, 5, 3) for state in (3, 4)]
    assert any(model.decoder.cuts([tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]))
    together = ask(model, prompts, beam(4, 10))
    for prompt, group in zip(prompts, together, strict=True):
        (alone,) = ask(model, [prompt], beam(4, 10))
        assert [sample.token_ids for sample in alone] == [sample.token_ids for sample in group]


def test_unfinished_answers_only_fill_up(llama: Path):
    """After one token there are four ways to have ended."""
    for count, finishes in ((3, ["stop"] * 3), (6, ["length"] * 2 + ["stop"] * 4)):
        for group in ask(load(llama), WORDS, beam(count, 1)):
            assert sorted(sample.finish for sample in group) == finishes


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
@pytest.mark.parametrize("token", [11, ENDS[0]], ids=["word", "end"])
def test_broken_logits_are_an_error(llama: Path, broken: float, token: int):
    model = load(llama)
    model.decoder.model.get_parameter("lm_head.weight").data[token] = broken
    with pytest.raises(SparringError, match=r"logits are not finite.*--policy\.dtype=float32"):
        ask(model, WORDS, beam(2, 4))


NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, -math.inf])


@settings(deadline=None, max_examples=100)
@given(rows=arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=NUMBERS), count=st.integers(1, 10))
def test_the_largest_with_ties_are_those_of_a_stable_sort(rows: np.ndarray, count: int):
    top, where = _top(torch.from_numpy(rows), count)
    for row, values, places in zip(rows.tolist(), top.tolist(), where.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda place: -row[place])[:count]
        assert values == [row[place] for place in order]
        finite = [place for place in order if row[place] > -math.inf]
        assert places[: len(finite)] == finite
