"""The sampler on transformers: equal to ``generate`` and to a full forward pass, whatever the batch, and loud about mistakes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

from sparring.config import Policy
from sparring.data import encode_prompt
from sparring.errors import SparringError
from sparring.game import Sample, Sampling
from sparring.models import draw as drawing
from sparring.models import score as scoring
from sparring.models.cache import PlainCache, PrefixCache, UnsharedAttention, attend
from sparring.models.decode import Decoder
from sparring.models.draw import draw, uniforms
from sparring.models.hf import HFModel
from tests.tiny import save_tiny, tiny_tokenizer

POLICY = Policy(device="cpu")
PROMPTS = ["w1 w2", "w3", "w5 w6 w7 w8 w9 w10 w11 w12", "w4 w4", "w20 w30 w40 w50", "w9 w8 w7 w6"]
ENDS: dict[str, Any] = {"eos_token_id": [1, 9, 18, 27]}
KINDS = {"llama": PrefixCache, "gpt2": PrefixCache, "qwen2": PrefixCache, "mistral": PlainCache, "bloom": PlainCache}


@pytest.fixture(scope="module", params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp(kind), kind, **ENDS)


@pytest.fixture(scope="module")
def plain(folder: Path) -> Any:  # transformers does not say that it generates
    return AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def model(folder: Path) -> HFModel:
    return HFModel(AutoModelForCausalLM.from_pretrained(folder), tiny_tokenizer(), POLICY)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("llama"), **ENDS)


@pytest.fixture(scope="module")
def plain_llama(llama: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(llama).eval()


@pytest.fixture(scope="module")
def shared_llama(llama: Path) -> HFModel:
    return HFModel.load(llama, POLICY)


def flat(groups: Sequence[Sequence[Sample]]) -> list[Sample]:
    return [sample for group in groups for sample in group]


# ------------------------------------------------------------------------------------------------ against transformers


def test_which_models_share_a_prompt(model: HFModel, kind: str):
    assert type(model.decoder.new_cache(rows=2)) is KINDS[kind]


@pytest.mark.parametrize("n", [1, 3])
def test_greedy_is_generate(model: HFModel, plain: Any, n: int):
    groups = model.sample(PROMPTS, Sampling(n=n, temperature=0, max_new_tokens=24), role="solver", seed=0)
    for sample in flat(groups):
        ids = torch.tensor([sample.prompt_ids])
        out = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        assert sample.token_ids == tuple(out[0, ids.shape[1] :].tolist())


def test_log_probs_are_those_of_a_full_forward_pass(model: HFModel, plain: Any):
    how = Sampling(n=4, temperature=0.7, top_p=0.9, max_new_tokens=24)
    samples = flat(model.sample(PROMPTS, how, role="solver", seed=0))
    assert len({len(sample.token_ids) for sample in samples}) > 4
    for sample in samples:
        ids = torch.tensor([sample.prompt_ids + sample.token_ids])
        with torch.inference_mode():
            logp = plain(ids, attention_mask=torch.ones_like(ids)).logits[0].log_softmax(-1)[len(sample.prompt_ids) - 1 : -1]
        expected = logp.gather(1, torch.tensor(sample.token_ids)[:, None]).squeeze(1)
        assert torch.allclose(torch.tensor(sample.logprobs), expected, rtol=0, atol=1e-5)


def test_batches_and_order_change_nothing(folder: Path, model: HFModel):
    how = Sampling(n=3, temperature=1.0, top_p=0.9, max_new_tokens=24)
    expected = model.sample(PROMPTS, how, role="solver", seed=3)
    for batch_tokens in (1, 100, 400):
        small = HFModel(AutoModelForCausalLM.from_pretrained(folder), tiny_tokenizer(), Policy(batch_tokens=batch_tokens))
        for mine, theirs in zip(flat(small.sample(PROMPTS[::-1], how, role="solver", seed=3)[::-1]), flat(expected), strict=True):
            assert mine.token_ids == theirs.token_ids
            assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)


def test_the_end_belongs_to_the_answer_but_not_to_its_text(model: HFModel):
    samples = flat(model.sample(PROMPTS, Sampling(n=4, temperature=1.0, max_new_tokens=24), role="solver", seed=0))
    assert {sample.finish for sample in samples} == {"stop", "length"}
    for sample in samples:
        ended = [token in ENDS["eos_token_id"] for token in sample.token_ids]
        assert not any(ended[:-1])
        assert sample.finish == ("stop" if ended[-1] else "length")
        assert sample.text == model.tokenizer.decode(list(sample.token_ids), skip_special_tokens=True)
        assert "<" not in sample.text


# ------------------------------------------------------------------------------------------------ caches


def ragged(decoder: Decoder, count: int) -> list[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Answers of many lengths to prompts of many lengths, with families of unlike size."""
    prompts = [tuple(range(6, 7 + length)) for length in (1, 9, 4, 2) for _ in range(length)]
    noise = torch.from_numpy(np.stack([uniforms(0, "solver", str(ids), k, count) for k, ids in enumerate(prompts)]))
    answers = decoder.decode(prompts, noise, Sampling(temperature=1.0, top_p=0.9, max_new_tokens=count))
    return [(answer.ids, answer.logprobs) for answer in answers]


@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 4}, {"num_key_value_heads": 1}, {"head_dim": 16}])
def test_both_caches_agree(tmp_path: Path, changes: dict[str, Any]):
    decoder = Decoder(AutoModelForCausalLM.from_pretrained(save_tiny(tmp_path, **changes)), range(1, 8))
    shared = ragged(decoder, 100)  # long enough for both ways to multiply
    decoder._cache_type = PlainCache
    for (ids, logprobs), (other_ids, other_logprobs) in zip(shared, ragged(decoder, 100), strict=True):
        assert ids == other_ids
        assert logprobs == pytest.approx(other_logprobs, abs=1e-5)


def test_the_attention_function_is_plain_outside_a_step(llama: Path):
    padded, mask = torch.tensor([[0, 0, 5, 6, 7], [8, 9, 10, 11, 12]]), torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    before, after = (AutoModelForCausalLM.from_pretrained(llama).eval() for _ in range(2))
    Decoder(after, [1])
    with torch.inference_mode():
        outputs = [each(padded, attention_mask=mask, position_ids=positions).logits[mask.bool()] for each in (before, after)]
    assert torch.equal(*outputs)


class _Layer(torch.nn.Module):
    layer_idx = 0


def test_attention_that_cannot_be_split_is_noticed():
    config = AutoConfig.for_model("llama", num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2)
    states = torch.ones(1, 2, 1, 4)
    cache = PrefixCache(config)
    cache.update(states, states, 0)
    cache.open(torch.tensor([0]), torch.tensor([[False]]), 4)

    def step(key: torch.Tensor, **options: Any) -> None:
        kept, value = cache.update(states, states, 0)
        with cache.step():
            attend(_Layer(), states, kept if key is states else key, value, None, **options)

    step(states, scaling=1.0, dropout=0.0, sliding_window=None)
    with pytest.raises(UnsharedAttention, match="after keeping"):
        step(states.clone())
    with pytest.raises(UnsharedAttention, match="softcap"):
        step(states, softcap=50.0)
    cache.update(states, states, 0)
    with pytest.raises(UnsharedAttention, match="does not use the attention function"), cache.step():
        pass


def test_a_recurrent_model_is_refused():
    config = AutoConfig.for_model("mamba", hidden_size=16, num_hidden_layers=1, state_size=4, vocab_size=32)
    with pytest.raises(SparringError, match=r"MambaForCausalLM keeps LinearAttentionLayer states.*vLLM"):
        Decoder(AutoModelForCausalLM.from_config(config), [1])


# ------------------------------------------------------------------------------------------------ scores

TEXTS = ["w1", "w1 w2", "w1 w2 w3", "w1 w2 w4 w5", "w1 w3", "w9 w9 w9 w9 w9 w9 w9 w9", " ", "w7<assistant>w8 w9", "w1 w2<eos>"]
PAIRS = [(prompt, text) for prompt in PROMPTS for text in TEXTS[len(prompt) % 3 :]]


def by_hand(plain: Any, tokenizer: Any, prompt: str, text: str) -> float:
    """A full forward pass over one prompt and one text."""
    before, after = encode_prompt(tokenizer, prompt), tokenizer.encode(text, add_special_tokens=False)
    with torch.inference_mode():
        logp = plain(torch.tensor([before + after])).logits[0].float().log_softmax(-1)
    return sum(logp[len(before) - 1 + place, token].item() for place, token in enumerate(after))


def test_scores_are_those_of_a_full_forward_pass(model: HFModel, plain: Any, kind: str):
    assert model.scorer.packs == (kind in ("llama", "gpt2", "qwen2"))
    expected = [by_hand(plain, model.tokenizer, *pair) for pair in PAIRS]
    assert [score.logprob for score in model.score(PAIRS, role="planner")] == pytest.approx(expected, abs=1e-4)
    assert [score.tokens for score in model.score([("w1", text) for text in TEXTS], role="")] == [1, 3, 5, 7, 3, 15, 1, 5, 4]


@pytest.mark.parametrize("bounds", [(1, 1024, 2**26), (3, 20, 2**26), (192, 40, 700)], ids=["rows", "tokens", "logits"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 32768])
def test_bounds_change_no_score(folder: Path, plain: Any, bounds: tuple[int, int, int], batch_tokens: int):
    policy = Policy(device="cpu", batch_tokens=batch_tokens)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(("_NODES", "_CPU_TOKENS", "_LOGITS"), bounds, strict=True):
            patch.setattr(scoring, name, value)
        model = HFModel(AutoModelForCausalLM.from_pretrained(folder), tiny_tokenizer(), policy)
        scores = model.score(PAIRS, role="")
    expected = [by_hand(plain, model.tokenizer, *pair) for pair in PAIRS]
    assert [score.logprob for score in scores] == pytest.approx(expected, abs=1e-4)


_token_lists = st.lists(st.integers(6, 9), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.tuples(_token_lists, _token_lists), min_size=1, max_size=30), st.integers(1, 12))
@settings(deadline=None, max_examples=40)
def test_side_by_side_is_a_row_for_each(shared_llama: HFModel, pairs: list[scoring.Pair], nodes: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_NODES", nodes)
        packed, plain = shared_llama.scorer.packed(pairs), shared_llama.scorer.plain(pairs)
    assert packed.keys() == plain.keys() == set(pairs)
    assert [packed[pair] for pair in pairs] == pytest.approx([plain[pair] for pair in pairs], abs=1e-4)


def test_prompts_with_a_common_head_are_scored_alike(shared_llama: HFModel):
    pairs = [(tuple(6 + k % 7 for k in range(100)) + (20 + p,) * p, (7, 8, 9 + t)) for p in range(1, 6) for t in range(3)]
    assert any(shared_llama.decoder.cuts(list(dict.fromkeys(prompt for prompt, _ in pairs))))
    packed, plain = shared_llama.scorer.packed(pairs), shared_llama.scorer.plain(pairs)
    assert [packed[pair] for pair in pairs] == pytest.approx([plain[pair] for pair in pairs], abs=1e-4)


def test_texts_are_read_without_their_prompt_and_common_beginning(llama: Path, monkeypatch: pytest.MonkeyPatch):
    model = HFModel.load(llama, POLICY)
    assert model.scorer.packs
    read: list[int] = []
    forward = model.decoder.model.forward

    def counting(*, input_ids: torch.Tensor, **options: Any) -> Any:
        read.append(input_ids.numel())
        return forward(input_ids=input_ids, **options)

    monkeypatch.setattr(model.decoder.model, "forward", counting)
    model.score([("w1 w2", text) for text in ("w1 w2 w3", "w1 w2 w4", "w1 w5", "w9", "w9")], role="")
    # <user> w1 _ w2 <assistant>; w1 _ w2 _ (and what ends a text is not read).
    assert read == [5, 4]
    model.score([("w1 w2", "w9"), ("w1 w2", "")], role="")
    assert read == [5, 4, 5]


def test_a_mask_that_a_model_does_not_honour_is_noticed(tmp_path: Path):
    model = HFModel.load(save_tiny(tmp_path), POLICY)
    forward = model.decoder.model.forward

    def deaf(*, attention_mask: torch.Tensor | None, **options: Any) -> Any:
        if attention_mask is not None and attention_mask.dim() == 4:
            attention_mask = torch.zeros_like(attention_mask)
        return forward(attention_mask=attention_mask, **options)

    def choosy(*, attention_mask: torch.Tensor | None, **options: Any) -> Any:
        if attention_mask is not None and attention_mask.dim() == 4:
            raise ValueError("a mask has two dimensions")
        return forward(attention_mask=attention_mask, **options)

    for odd in (deaf, choosy):
        scorer = scoring.Scorer(model.decoder, 100)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model.decoder.model, "forward", odd)
            assert not scorer.packs
    assert scoring.Scorer(model.decoder, 100).packs


def test_a_text_that_is_too_long_is_named(llama: Path):
    model = HFModel.load(llama, POLICY)
    long = " ".join(["w1"] * 254)
    assert model.score([("w1 w2", long)], role="")[0].tokens == 507
    with pytest.raises(SparringError, match=r"5 prompt tokens and 509 new ones are over the model's 512 positions.*or the text"):
        model.score([("w3", "w1"), ("w1 w2", f"{long} w1")], role="")
    with pytest.raises(SparringError, match=r"over policy\.max_prompt_tokens"):
        HFModel.load(llama, Policy(device="cpu", max_prompt_tokens=6)).score([("w1 w2 w3", "w1")], role="")


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_broken_logits_have_no_score(llama: Path, broken: float):
    model = HFModel.load(llama, POLICY)
    model.decoder.model.get_parameter("lm_head.weight").data[11] = broken
    with pytest.raises(SparringError, match=r"logits are not finite.*--policy\.dtype=float32"):
        model.score(PAIRS, role="")


def test_half_precision_scores_side_by_side(llama: Path, plain_llama: Any):
    model = HFModel.load(llama, Policy(device="cpu", dtype="bfloat16"))
    assert model.scorer.packs
    for score, pair in zip(model.score(PAIRS, role=""), PAIRS, strict=True):
        assert score.logprob == pytest.approx(by_hand(plain_llama, model.tokenizer, *pair), abs=0.2 * score.tokens)


# ------------------------------------------------------------------------------------------------ drawing


def nucleus(probs: np.ndarray, top_p: float) -> np.ndarray:
    """The law that top-p sampling promises, by hand: the likeliest tokens until they hold ``top_p``, at their proportions."""
    order = np.argsort(-probs)
    kept = order[: int(np.searchsorted(np.cumsum(probs[order]), top_p)) + 1]
    law = np.zeros_like(probs)
    law[kept] = probs[kept] / probs[kept].sum()
    return law


def chi_square_is_plausible(tokens: Sequence[int], law: np.ndarray) -> bool:
    """Whether Pearson's statistic lies within five standard deviations of its mean; tokens outside the law never may."""
    counts = np.bincount(tokens, minlength=len(law))
    expected = law * len(tokens)
    common = expected >= 5
    observed = np.append(counts[common], counts[~common].sum())
    wanted = np.append(expected[common], expected[~common].sum())
    live = wanted > 0
    statistic, degrees = ((observed[live] - wanted[live]) ** 2 / wanted[live]).sum(), live.sum() - 1
    return bool(counts[law == 0].sum() == 0 and abs(statistic - degrees) <= 5 * np.sqrt(2 * degrees))


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.5])
@pytest.mark.parametrize("top_p", [0.3, 0.9, 1.0])
@pytest.mark.parametrize("likeliest", [8, 1024], ids=["few looked at", "many looked at"])
def test_tokens_follow_their_law(monkeypatch: pytest.MonkeyPatch, temperature: float, top_p: float, likeliest: int):
    monkeypatch.setattr(drawing, "_LIKELIEST", likeliest)
    logits = torch.randn(40, generator=torch.Generator().manual_seed(0)) * 2
    noise = torch.from_numpy(np.random.default_rng(0).random((20_000, 2), dtype=np.float32))
    tokens, logprobs = draw(logits.expand(len(noise), -1), noise, temperature, top_p)
    assert chi_square_is_plausible(tokens.tolist(), nucleus((logits / temperature).softmax(-1).double().numpy(), top_p))
    assert torch.allclose(logprobs, logits.log_softmax(-1)[tokens])


def test_first_tokens_of_a_model_follow_their_law(llama: Path):
    model = HFModel.load(llama, POLICY)
    how = Sampling(n=5000, temperature=0.8, top_p=0.9, max_new_tokens=1)
    (samples,) = model.sample(["w1 w2"], how, role="solver", seed=0)
    with torch.inference_mode():
        logits = model.decoder.model(torch.tensor([samples[0].prompt_ids])).logits[0, -1]
    law = nucleus((logits / 0.8).softmax(-1).double().numpy(), 0.9)
    assert chi_square_is_plausible([sample.token_ids[0] for sample in samples], law)


def test_equals_at_the_edge_of_the_nucleus_stay_in():
    noise = torch.from_numpy(np.random.default_rng(0).random((2000, 2), dtype=np.float32))
    tokens, _ = draw(torch.tensor([0.4, 0.2, 0.2, 0.2]).log().expand(2000, -1), noise, 1.0, 0.5)
    assert set(tokens.tolist()) == {0, 1, 2, 3}
    tokens, _ = draw(torch.tensor([0.6, 0.2, 0.2]).log().expand(2000, -1), noise, 1.0, 0.5)
    assert set(tokens.tolist()) == {0}


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24])
def test_a_token_of_no_mass_is_never_drawn(extreme: float):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 64, generator=generator) * 3
    logits[:, ::3] = -torch.inf
    logits[:, -5:] = -torch.inf
    tokens, logprobs = draw(logits, torch.full((500, 2), extreme), 1.0, 1.0)
    assert logits.gather(1, tokens[:, None]).isfinite().all()
    assert logprobs.isfinite().all()


def test_random_numbers_are_an_items_own():
    first = uniforms(0, "solver", "w1", 0, 8)
    assert first.shape == (8, 2)
    assert first.min() >= 0
    assert first.max() < 1
    assert (uniforms(0, "solver", "w1", 0, 20)[:8] == first).all()
    for other in [(1, "solver", "w1", 0), (0, "creator", "w1", 0), (0, "solver", "w2", 0), (0, "solver", "w1", 1)]:
        assert (uniforms(*other, 8) != first).any()


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_broken_logits_are_an_error(llama: Path, broken: float, temperature: float):
    model = HFModel.load(llama, POLICY)
    model.decoder.model.get_parameter("lm_head.weight").data[11] = broken
    with pytest.raises(SparringError, match=r"logits are not finite.*--policy\.dtype=float32"):
        model.sample(PROMPTS, Sampling(n=2, temperature=temperature, max_new_tokens=4), role="solver", seed=0)


# ------------------------------------------------------------------------------------------------ mistakes


def test_the_end_tokens_are_the_tokenizers_and_the_configs(llama: Path, tmp_path: Path):
    assert HFModel.load(llama, POLICY).decoder.ends_V.nonzero().flatten().tolist() == [1, 9, 18, 27]
    assert HFModel.load(save_tiny(tmp_path, eos_token_id=5), POLICY).decoder.ends_V.nonzero().flatten().tolist() == [1, 5]


def test_a_prompt_over_the_limit_is_named(llama: Path):
    model = HFModel.load(llama, Policy(device="cpu", max_prompt_tokens=6))
    model.sample(["w1 w2"], Sampling(max_new_tokens=1), role="solver", seed=0)
    with pytest.raises(SparringError, match=r"7 tokens is over policy\.max_prompt_tokens 6.*--policy\.max_prompt_tokens=7"):
        model.sample(["w1", "w1 w2 w3"], Sampling(), role="solver", seed=0)


def test_a_prompt_without_tokens_is_refused(llama: Path):
    model = HFModel.load(llama, POLICY)
    model.tokenizer.chat_template = "{{ messages[0].content }}"
    with pytest.raises(SparringError, match="the prompt '' renders to no token"):
        model.sample(["w1", ""], Sampling(max_new_tokens=1), role="solver", seed=0)


def test_more_tokens_than_positions_are_refused(llama: Path):
    with pytest.raises(SparringError, match=r"5 prompt tokens and 508 new ones are over the model's 512 positions"):
        HFModel.load(llama, POLICY).sample(["w1 w2"], Sampling(max_new_tokens=508), role="solver", seed=0)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (Sampling(n=0), "n 0 and max_new_tokens 64 must both be at least 1"),
        (Sampling(max_new_tokens=0), "must both be at least 1"),
        (Sampling(temperature=1e-9), "must be 0"),
        (Sampling(temperature=-1.0), "must be 0"),
        (Sampling(top_p=0.0), "top_p 0.0 must be above 0"),
        (Sampling(top_p=1.5), "top_p 1.5 must be above 0"),
    ],
)
def test_impossible_settings_are_refused(llama: Path, how: Sampling, message: str):
    with pytest.raises(SparringError, match=message):
        HFModel.load(llama, POLICY).sample(["w1"], how, role="solver", seed=0)


def test_weights_and_config_must_fit(llama: Path, tmp_path: Path):
    path = save_tiny(tmp_path)
    weights = load_file(path / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({key: value for key, value in weights.items() if key != name}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SparringError, match=rf"do not fit config.json \(missing_keys \['{name}'\]\)"):
        HFModel.load(path, POLICY)
    save_file({**weights, "stray": torch.ones(1)}, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(SparringError, match=r"unexpected_keys \['stray'\]"):
        HFModel.load(path, POLICY)


def test_only_safetensors_are_loaded(tmp_path: Path):
    path = save_tiny(tmp_path)
    torch.save(load_file(path / "model.safetensors"), path / "pytorch_model.bin")
    (path / "model.safetensors").unlink()
    with pytest.raises(SparringError, match="cannot be loaded as a causal language model in safetensors"):
        HFModel.load(path, POLICY)


def test_a_damaged_file_is_an_error(tmp_path: Path):
    path = save_tiny(tmp_path)
    (path / "model.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(SparringError, match="cannot be loaded"):
        HFModel.load(path, POLICY)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_policy_chooses_precision_and_threads(llama: Path, dtype: Any):
    threads = torch.get_num_threads()
    model = HFModel.load(llama, Policy(device="auto", dtype=dtype, threads=1))
    assert model.decoder.model.dtype == getattr(torch, dtype)
    assert torch.get_num_threads() == 1
    samples = flat(model.sample(PROMPTS, Sampling(n=3, max_new_tokens=8), role="solver", seed=0))
    assert all(sample.logprobs and max(sample.logprobs) <= 0 for sample in samples)
    torch.set_num_threads(threads)
