"""The untrained policy for Coq: its tokenizer says every text, and says a part of a prompt alike wherever it stands."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from sparring.config import Policy
from sparring.config_prove import ProvePolicy
from sparring.coq.policy import make_tokenizer, save_untrained, train_tokenizer
from sparring.data import encode_completion, encode_prompt
from sparring.game import Sampling
from sparring.models.hf import HFModel
from sparring.prompts import (
    MARKERS,
    STEP,
    actor_prompt,
    flat_prompt,
    joint_completion,
    one_line,
    planner_completion,
    planner_prompt,
    split_joint,
)
from sparring.worlds.lemmas import LIBRARY
from sparring.worlds.theorem_policy import make_tokenizer as make_theorem_tokenizer
from sparring.worlds.tiny import TINY, Shape

SMALL = Shape(hidden=16, layers=1, heads=2)
STATES = (
    "⊢ forall n m : nat, n + m = m + n",
    "n : nat\nm : nat\nIHn : forall m : nat, n + m = m + n\n⊢ S n + m = m + S n",
    "A : Type\neqA_dec : forall x y : A, {x = y} + {x <> y}\nl, l' : list A\nH0 : ~ In x l\n⊢ NoDup (x :: l) -> length l <= 12",
)
TACTICS = (
    "intros n m; rewrite Nat.add_comm in H0",
    "destruct (eqA_dec x y) as [ -> | Hn ]; auto with arith",
    "now apply NoDup_cons",
)
TEXTS = [
    text
    for state in STATES
    for tactic in TACTICS
    for text in (flat_prompt(state), tactic, planner_prompt(state), joint_completion(STATES[1], tactic))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("blank")
    save_untrained(found, TEXTS, seed=3, shape=SMALL, vocabulary=512, positions=256)
    return found


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """As a run loads it."""
    return AutoTokenizer.from_pretrained(folder)


PIECES = st.sampled_from([*MARKERS, *STATES, *TACTICS, "<eos>", "<pad>", "[TARGET", "GOAL]", "\t", " \n ", "\n\n", "∀", '"a b"'])
ANY_TEXT = st.lists(PIECES | st.text(max_size=12), max_size=6).map("".join)
"""What a prover may print and a model may write."""


# ---------------------------------------------------------------------------------------------- text and tokens


@settings(max_examples=150, deadline=None)
@given(text=ANY_TEXT)
def test_a_text_comes_back_up_to_white_space(tokenizer: PreTrainedTokenizerBase, text: str):
    ids = encode_completion(tokenizer, text)
    assert ids.pop() == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids  # text that spells it is text
    assert tokenizer.pad_token_id not in ids
    parted = re.sub("|".join(map(re.escape, MARKERS)), r" \g<0> ", text)  # a marker has blanks around it
    for special in (False, True):
        assert one_line(str(tokenizer.decode(ids, skip_special_tokens=special))) == one_line(parted)


def test_what_white_space_becomes(tokenizer: PreTrainedTokenizerBase):
    ids = encode_completion(tokenizer, " n : nat \n\tH\t: n = 0\r\n \n\n ⊢  True\n")[:-1]
    assert tokenizer.decode(ids) == "n : nat\nH : n = 0\n\n⊢ True"


def test_the_pieces_that_text_is_learned_in():
    """With enough of a text every piece of it is one token, and no token is more than a piece."""
    text = "H : (Nat.add_comm n' IHl0) NoDup\n⊢ eqA_dec <-> 12 /\\ x)))\n\nZ.opp"
    learned = make_tokenizer([text] * 3, 4096)
    assert [learned.decode([token]) for token in learned.encode(text, add_special_tokens=False)] == [
        *("H", " :", " (", "Nat", ".add", "_comm", " n'", " IHl0", ")", " No", "Dup", "\n⊢", " eq", "A", "_dec"),
        *(" <->", " 1", "2", " /\\", " x", ")))", "\n\n", "Z", ".opp"),
    ]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_tokens_can_be_read(tokenizer: PreTrainedTokenizerBase, data: st.DataObject):
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=20))
    assert encode_prompt(tokenizer, str(tokenizer.decode(ids))) == encode_completion(tokenizer, str(tokenizer.decode(ids)))[:-1]


@settings(max_examples=150, deadline=None)
@given(text=ANY_TEXT)
def test_no_more_tokens_than_bytes(tokenizer: PreTrainedTokenizerBase, text: str):
    """What a search may ask of a model is bounded in tokens, and it knows the text alone."""
    for each in (tokenizer, THEOREMS):
        assert len(encode_prompt(each, text)) <= len(text.encode())
        assert len(encode_prompt(each, flat_prompt(text))) <= len(text.encode()) + 2
        assert len(encode_prompt(each, actor_prompt(text, "∀"))) <= len(text.encode()) + 3 + len("∀".encode())


THEOREMS = make_theorem_tokenizer([lemma.name for lemma in LIBRARY])


# ---------------------------------------------------------------------------------------------- prompts and answers


@settings(max_examples=150, deadline=None)
@given(state=ANY_TEXT, target=ANY_TEXT, tactic=ANY_TEXT)
def test_an_answer_is_the_tokens_that_the_next_prompt_has(
    tokenizer: PreTrainedTokenizerBase, state: str, target: str, tactic: str
):
    planner, actor = encode_prompt(tokenizer, planner_prompt(state)), encode_prompt(tokenizer, actor_prompt(state, target))
    assert [*planner, *encode_completion(tokenizer, planner_completion(target))[:-1]] == actor
    joint = encode_completion(tokenizer, joint_completion(target, tactic))
    assert [*planner, *joint] == [*actor, *encode_completion(tokenizer, tactic)]
    assert encode_prompt(tokenizer, flat_prompt(state))[:-1] == planner[:-1]


def test_markers_are_one_visible_token_each(tokenizer: PreTrainedTokenizerBase):
    assert [len(encode_completion(tokenizer, marker)) for marker in MARKERS] == [2] * len(MARKERS)
    ids = encode_completion(tokenizer, joint_completion(STATES[0], TACTICS[0]))
    assert split_joint(str(tokenizer.decode(ids, skip_special_tokens=True))) == (STATES[0], TACTICS[0])
    assert not [token for token in tokenizer.get_vocab() if "STEP" in token and token != STEP]  # nor learned as text


def test_a_model_answers_and_ranks(folder: Path):
    model = HFModel.load(folder, Policy(device="cpu"))
    state = "\n".join(STATES)
    prompts = [actor_prompt(state, target) for target in (*TACTICS, "no goals")]
    encoded = [tuple(encode_prompt(model.tokenizer, prompt)) for prompt in prompts]
    assert (
        model.decoder.cuts(encoded) == [len(encode_prompt(model.tokenizer, planner_prompt(state)))] * 4
    )  # read once for all targets
    samples = model.sample(prompts, Sampling(n=3, beam=True, max_new_tokens=6), role="actor", seed=0)
    assert [len(group) for group in samples] == [3, 3, 3, 3]
    scored = model.score([(prompt, tactic) for prompt in prompts for tactic in TACTICS], role="actor")
    assert model.scorer.packs
    # A model that knows nothing finds all tokens about as likely.
    assert all(each.logprob / each.tokens == pytest.approx(-torch.tensor(512.0).log().item(), abs=0.7) for each in scored)


def test_an_answer_may_end_at_a_marker(folder: Path):
    model = HFModel.load(folder, Policy(device="cpu"))
    (samples,) = model.sample([planner_prompt(STATES[0])], Sampling(n=64, max_new_tokens=48, stop=STEP), role="planner", seed=0)
    step = model.tokenizer.get_vocab()[STEP]
    ended = [sample for sample in samples if sample.token_ids[-1] == step]
    assert ended
    assert all(sample.finish == "stop" and STEP not in sample.text for sample in ended)


# ---------------------------------------------------------------------------------------------- files


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_texts_make_the_same_files(folder: Path, tmp_path: Path):
    """Whatever their order."""
    save_untrained(tmp_path / "same", TEXTS[::-1], seed=3, shape=SMALL, vocabulary=512, positions=256)
    assert digests(tmp_path / "same") == digests(folder)


@pytest.mark.parametrize("threads", [1, 3])
def test_training_is_the_same_in_every_process(threads: int):
    """However many threads count pairs, and whatever hashes this process gives them."""
    program = "import json, sys; from sparring.coq.policy import *; print(train_tokenizer(json.load(sys.stdin), 512).to_str())"
    settings = {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, **settings},
    )
    assert done.stdout.strip() == train_tokenizer(TEXTS, 512).to_str()


def test_a_seed_changes_the_weights_alone(folder: Path, tmp_path: Path):
    save_untrained(tmp_path / "other", TEXTS, seed=4, shape=SMALL, vocabulary=512, positions=256)
    found, before = digests(tmp_path / "other"), digests(folder)
    assert [name for name, value in found.items() if value != before[name]] == ["model.safetensors"]


@pytest.mark.parametrize(("hidden", "layers", "heads"), [(16, 1, 2), (32, 3, 4)])
def test_the_sizes_asked_for(tmp_path: Path, hidden: int, layers: int, heads: int):
    save_untrained(tmp_path, TEXTS, seed=0, shape=Shape(hidden=hidden, layers=layers, heads=heads), vocabulary=512, positions=96)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert model.config.max_position_embeddings == 96
    assert model.config.head_dim == hidden // heads
    assert 264 < model.config.vocab_size == len(tokenizer) <= 512
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    # The embedding (which is the head too); 4 matrices and 3 of three times the size, and two gains, in a layer; a last gain.
    expected = len(tokenizer) * hidden + layers * (13 * hidden**2 + 2 * hidden) + hidden
    assert sum(weight.numel() for weight in model.parameters()) == expected


def test_a_recipe_has_the_sizes_that_the_code_has():
    policy = ProvePolicy()
    assert Shape(hidden=policy.hidden, layers=policy.layers, heads=policy.heads) == TINY
