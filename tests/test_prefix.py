"""Prompts that begin alike: what is read once, that it pays, and that nobody can tell from the samples."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from sparring.config import Policy
from sparring.game import Sampling
from sparring.models.cache import PlainCache
from sparring.models.decode import Decoder, Tokens, shared_heads
from sparring.models.draw import uniforms
from sparring.models.hf import HFModel
from tests.tiny import save_tiny, tiny_tokenizer


def family(head: Sequence[int], tails: Sequence[Sequence[int]]) -> list[Tokens]:
    return [(*head, *tail) for tail in tails]


def tail(start: int, length: int) -> range:
    return range(start, start + length)


FAMILIES: list[Tokens] = [
    *family(range(40), [tail(40, 9), tail(41, 4), tail(42, 1), tail(43, 9)]),
    *family(range(3, 33), [tail(7, 10), tail(8, 3), tail(9, 3), tail(10, 3), tail(11, 8)]),
    (5, 6, 7),
    (9,),
    *family(range(40), [()]),  # the beginning of others
    tuple(range(20, 60)),
]


def decoder(folder: Path, kind: str) -> Decoder:
    return Decoder(AutoModelForCausalLM.from_pretrained(save_tiny(folder, kind)), [1, 9, 18, 27])


@contextmanager
def tokens_read(model: torch.nn.Module) -> Iterator[list[int]]:
    """The sizes of the batches that the model reads, padding included."""
    sizes: list[int] = []

    def note(module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        sizes.append(kwargs["input_ids"].numel())

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    yield sizes
    hook.remove()


# ------------------------------------------------------------------------------------------------ the plan


def test_families_are_found_and_cut_at_what_they_share():
    prompts = [
        *family(range(100, 160), [tail(0, 10), tail(1, 8), tail(2, 10)]),
        *family(range(200, 250), [tail(3, 10), tail(4, 7)]),
    ]
    assert shared_heads(prompts) == [60, 60, 60, 50, 50]  # 2 x 60 + 5 x 10 tokens instead of 5 x 70


def test_what_everybody_begins_with_is_not_taken_for_a_family():
    families = [family((1, 2, 3, *range(100 * k, 100 * k + 50)), [tail(0, 9), tail(1, 9), tail(2, 9)]) for k in range(1, 5)]
    assert shared_heads([prompt for prompts in families for prompt in prompts]) == [53] * 12


def test_a_prompt_without_family_is_cut_at_the_longest_head():
    prompts = [*family(range(60), [tail(0, 5), tail(1, 5), tail(2, 5), tail(3, 5)]), tuple(range(99, 165)), (8, 8), (7,)]
    assert shared_heads(prompts) == [60, 60, 60, 60, 60, 1, 0]


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [tuple(range(500))],
        [tuple(range(500)), tuple(range(1, 501))],  # nothing in common
        family(range(60), [(1,), (2,)]),  # 60 tokens are spared, less than a pass costs
        family(range(100), [tail(0, 500), tail(1, 500), tail(2, 500)]),  # 200 of 1800
    ],
)
def test_what_does_not_pay_is_not_done(prompts: list[Tokens]):
    assert shared_heads(prompts) == [0] * len(prompts)


def tree(branches: list[tuple[int, int]]) -> list[Tokens]:
    """Distinct prompts that share beginnings in all sorts of ways."""
    prompts: list[Tokens] = [()]
    for parent, length in branches:
        prompts.append((*prompts[parent % len(prompts)], *[len(prompts)] * length))
    return prompts[1:]


@settings(deadline=None, max_examples=200)
@given(branches=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60)), min_size=1, max_size=20))
def test_a_plan_spares_what_it_promises(branches: list[tuple[int, int]]):
    prompts = tree(branches)
    cuts = shared_heads(prompts)
    assert all(0 <= cut < len(prompt) for cut, prompt in zip(cuts, prompts, strict=True))
    if any(cuts):
        heads = {prompt[:cut] for cut, prompt in zip(cuts, prompts, strict=True)}
        tails = [len(prompt) - cut for cut, prompt in zip(cuts, prompts, strict=True)]
        whole = len(prompts) * max(map(len, prompts))
        spared = whole - len(heads) * max(map(len, heads)) - len(prompts) * max(tails)
        assert spared >= max(0.25 * whole, 128)


# ------------------------------------------------------------------------------------------------ the samples


@pytest.mark.parametrize("plain", [False, True], ids=["shared", "plain"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_samples_are_those_of_whole_prompts(tmp_path: Path, kind: str, plain: bool):
    model = decoder(tmp_path, kind)
    if plain:
        model._cache_type = PlainCache
    prompts = [prompt for prompt in FAMILIES for _ in range(3)]
    noise = torch.from_numpy(np.stack([uniforms(0, "solver", str(ids), k, 20) for k, ids in enumerate(prompts)]))
    how = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=20)
    with tokens_read(model.model) as in_parts:
        answers = model.decode(prompts, noise, how)
    model._reads_in_parts = False
    with tokens_read(model.model) as whole:
        expected = model.decode(prompts, noise, how)
    assert in_parts[0] + in_parts[1] < 0.75 * whole[0]
    for mine, theirs in zip(answers, expected, strict=True):
        assert mine.ids == theirs.ids
        assert mine.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)


@pytest.mark.parametrize("kind", ["mistral", "bloom"])
def test_a_window_or_untold_positions_are_read_whole(tmp_path: Path, kind: str):
    assert not any(decoder(tmp_path, kind).cuts(FAMILIES))


def test_a_family_stays_together_in_small_batches(tmp_path: Path):
    prompts = [f"{'w1 ' * 20}w{state} {'w2 ' * target}" for target in (2, 8, 5, 3, 9) for state in (3, 4, 5, 6)]
    how = Sampling(n=2, temperature=1.0, max_new_tokens=8)
    path = save_tiny(tmp_path)

    def sample(batch_tokens: int) -> tuple[int, list[tuple[int, ...]]]:
        policy = Policy(device="cpu", batch_tokens=batch_tokens)
        model = HFModel(AutoModelForCausalLM.from_pretrained(path), tiny_tokenizer(), policy)
        with tokens_read(model.decoder.model) as sizes:
            groups = model.sample(prompts, how, role="solver", seed=0)
        return sum(size for size in sizes if size > len(prompts) * how.n), [s.token_ids for group in groups for s in group]

    (few, at_once), (many, in_turn) = sample(10**6), sample(1000)
    assert at_once == in_turn
    whole = len(prompts) * max(len(tiny_tokenizer()(prompt)["input_ids"]) for prompt in prompts)
    assert few < 0.5 * whole
    assert many < 0.75 * whole
