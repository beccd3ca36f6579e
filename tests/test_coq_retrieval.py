"""Premises: who may use what, by hand on small projects; BM25 and fusion by hand; the encoder learns what words alone do not say; moves."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.coq_retrieval import figures, interval
from sparring.coq.declared import declared_in, one_line
from sparring.coq.dense import DenseOptions, load_dense, train_dense
from sparring.coq.glob import Compiler
from sparring.coq.premise_moves import PremiseMoves, form_of, kind_of_move, kinds_of_use, premise_moves
from sparring.coq.premises import Corpus, Premise, corpus_of, read_corpus
from sparring.coq.retrieval import Bm25, Fixed, Fused, best, frequent, pieces, query, recent
from sparring.coq.trace import trace_coq
from sparring.envs.coq_files import Source
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.trace import TraceRow, read_trace

needs_coq = [
    pytest.mark.skipif(
        shutil.which("coqidetop.opt") is None, reason="coqidetop.opt is not installed (Debian: apt-get install coq)"
    ),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]

BASE = """(* \u2200 counts as three bytes *)
Axiom first : True.
Inductive colour := red | green.
Module Inner.
  Lemma deep n : (* a comment *) n + 0 = n. Proof. Admitted.
End Inner.
Section S.
  Variable hidden : nat.
  Let also_hidden := 1.
  Definition two := 2.
End S.
"""
OTHER = "Lemma unrelated : True. Proof. exact I. Qed.\n"
MAIN = """From Mine Require Import Base.
Lemma one : True. Proof. exact first. Qed.
Lemma two : True /\\ True. Proof. split; exact one. Qed.
Notation alias := Inner.deep (only parsing).
Lemma three : True. Proof. exact one. Qed.
"""


def sources(folder: Path) -> list[Source]:
    files = {"Base": BASE, "Other": OTHER, "Main": MAIN}
    for name, text in files.items():
        (folder / f"{name}.v").write_text(text, encoding="utf-8")
    needs = {"Main": ("Mine.Base",)}
    return [
        Source(path=folder / f"{name}.v", name=f"Mine.{name}", shown_path=f"{name}.v", root=folder, needs=needs.get(name, ()))
        for name in files
    ]


def may_use(corpus: Corpus, theorem: str) -> set[str]:
    return {corpus.premises[place].name for place in np.flatnonzero(corpus.accessible(theorem))}


# ---------------------------------------------------------------------------------------------- who may use what

BASE_NAMES = {"Mine.Base.first", "Mine.Base.Inner.deep", "Mine.Base.two"}


def test_a_theorem_may_use_what_stands_before_it_and_the_files_that_its_file_requires(tmp_path: Path):
    corpus = corpus_of(sources(tmp_path), ["Mine.Main", "Mine.Other"])
    assert may_use(corpus, "Mine.Main.one") == BASE_NAMES
    assert may_use(corpus, "Mine.Main.two") == BASE_NAMES | {"Mine.Main.one"}
    assert may_use(corpus, "Mine.Main.three") == BASE_NAMES | {"Mine.Main.one", "Mine.Main.two", "Mine.Main.alias"}
    assert may_use(corpus, "Mine.Other.unrelated") == set()


def test_a_file_that_was_not_looked_for_together_is_found_by_its_require_sentence(tmp_path: Path):
    base, _, main = sources(tmp_path)
    alone = Source(path=main.path, name=main.name, shown_path=main.shown_path, root=tmp_path)
    assert may_use(corpus_of([base, alone], [alone.name]), "Mine.Main.one") == BASE_NAMES


def test_an_abbreviation_says_what_its_lemma_says(tmp_path: Path):
    corpus = corpus_of(sources(tmp_path), ["Mine.Main"])
    said = {premise.name: premise.statement for premise in corpus.premises}
    assert said["Mine.Main.alias"] == said["Mine.Base.Inner.deep"] == "n : n + 0 = n"


def test_places_are_bytes_and_only_what_others_can_name_is_declared(tmp_path: Path):
    declared = {item.name: item for item in declared_in(sources(tmp_path)[0]) if item.kind != "module"}
    assert {name: item.kind for name, item in declared.items()} == {
        "Mine.Base.first": "assumption",
        "Mine.Base.colour": "type",
        "Mine.Base.red": "constructor",
        "Mine.Base.green": "constructor",
        "Mine.Base.Inner.deep": "lemma",
        "Mine.Base.two": "definition",
    }
    assert BASE.encode()[declared["Mine.Base.first"].place :].startswith(b"Axiom first")
    assert one_line("Lemma  a (* b *) :\n x = \n y.", "a") == "x = y"


def test_theorems_and_files_of_elsewhere_are_refused(tmp_path: Path):
    corpus = corpus_of(sources(tmp_path), ["Mine.Main"])
    with pytest.raises(SparringError, match=r"Mine\.Other\.unrelated is in none of the files"):
        corpus.accessible("Mine.Other.unrelated")
    with pytest.raises(SparringError, match=r"Gone\.v is not a file"):
        corpus.standing(row("Mine.Gone.at_0", "", (), file="Gone.v"))


def test_names_as_traces_and_tactics_have_them(tmp_path: Path):
    corpus = corpus_of(sources(tmp_path), ["Mine.Main"])
    deep, own = corpus.places["Mine.Base.Inner.deep"], corpus.places["Mine.Main.two"]
    assert corpus.find("Mine.Base.deep") == deep  # coqc leaves out modules that were imported
    assert corpus.find("Mine.Main.deep") is None
    assert corpus.short_name(deep, "Mine.Main") == "Base.Inner.deep"
    assert corpus.short_name(deep, "Mine.Base") == "Inner.deep"
    assert corpus.short_name(own, "Mine.Main") == "two"


FUNCTOR = """Module Type T. Axiom t : True. End T.
Module X <: T. Lemma t : True. Proof. exact I. Qed. End X.
Module F (A : T). Lemma u : True /\\ True. Proof. split; exact A.t. Qed. End F.
Lemma early : True. Proof. exact I. Qed.
Module Given := F X.
Inductive tree := leaf | node (l r : tree).
Section S. Variable n : nat. Lemma late : n = n. Proof. pose Given.u. reflexivity. Qed. End S.
"""


@pytest.mark.parametrize("_", [pytest.param(None, marks=needs_coq)])
def test_coq_lists_what_functors_and_types_bring(_: None, tmp_path: Path):
    (tmp_path / "_CoqProject").write_text("-Q . Mine\n")
    (tmp_path / "Functor.v").write_text(FUNCTOR)
    (tmp_path / "Other.v").write_text(OTHER)
    out = tmp_path / "trace.parquet"
    trace_coq([str(tmp_path)], out)
    compiler = Compiler(built=tmp_path / "trace.parquet.parts" / "built", timeout_s=60, memory_mb=4000)
    corpus = read_corpus([str(tmp_path)], compiler)
    said = {premise.name: premise.statement for premise in corpus.premises}
    # A type as Coq prints it, with what the section adds; an induction principle; what stands in no file; no constructors.
    assert said["Mine.Functor.late"] == "forall n : nat, n = n"
    assert "forall t : tree, P t" in said["Mine.Functor.tree_ind"]
    assert said["Mine.Functor.Given.u"] == "True /\\ True"
    assert not {"Mine.Functor.node", "Mine.Functor.tree"} & said.keys()
    assert "Mine.Functor.Given.u" not in may_use(corpus, "Mine.Functor.early")
    late, other = may_use(corpus, "Mine.Functor.late"), may_use(corpus, "Mine.Other.unrelated")
    assert {"Mine.Functor.Given.u", "Mine.Functor.F.u", "Mine.Functor.tree_ind", "Coq.Init.Logic.eq_sym"} <= late
    assert "Coq.Init.Logic.eq_sym" in other
    assert corpus.short_name(corpus.places["Coq.Init.Logic.eq_sym"], "Mine.Other") == "eq_sym"
    assert not any(name.startswith("Mine.Functor") for name in other)
    # coqc calls it Mine.Functor.u in its references; another u is the functor's own.
    ((theorem, place),) = [(r.full_name, corpus.find(p)) for r in read_trace(out) for p in r.premises if "pose" in r.tactic]
    assert place == corpus.places["Mine.Functor.Given.u"]
    assert corpus.accessible(theorem)[place]


# ---------------------------------------------------------------------------------------------- ranking


def made(texts: Sequence[tuple[str, str]], kind: str = "lemma") -> Corpus:
    """A corpus of (name, statement) in one file that another one requires."""
    premises = tuple(
        Premise(name=f"Lib.A.{name}", statement=said, file="Lib.A", place=number, kind=kind)
        for number, (name, said) in enumerate(texts)
    )
    closures = {"Lib.A": frozenset[str](), "Lib.B": frozenset({"Lib.A"})}
    return Corpus(premises=premises, closures=closures, theorems={"Lib.B.goal": ("Lib.B", 0)}, shown={"B.v": "Lib.B"})


def row(name: str, state: str, premises: tuple[str, ...], file: str = "B.v") -> TraceRow:
    return TraceRow(
        full_name=name,
        file_path=file,
        theorem_statement="",
        step=0,
        state_before=state,
        tactic="apply x",
        premises=premises,
        state_after="",
    )


def all_of(corpus: Corpus, count: int = 1) -> np.ndarray:
    return np.ones((count, len(corpus)), dtype=np.bool_)


def test_names_are_cut_into_pieces():
    assert pieces("Nat.add_comm: NoDupList (n' <= 10) \u22a2 HTMLPage2") == [
        *("nat", "add", "comm", "no", "dup", "list", "n", "<=", "10", "html", "page", "2")
    ]
    assert query("H : a b a\n\u22a2 b c b") == ["h", "a", "b", "c", "b", "c", "b", "c"]


def test_bm25_by_hand():
    corpus = made([("x", "even even odd"), ("y", "odd"), ("z", "prime")])
    # Documents (a x even even odd), (a y odd), (a z prime): mean length 11/3; k1 = 1.5, b = 0.75.
    scores = Bm25(corpus).scores(["even odd"])[0]

    def idf(df: int) -> float:
        return math.log(1 + (3 - df + 0.5) / (df + 0.5))

    def tf(count: int, length: int) -> float:
        return count / (count + 1.5 * (1 - 0.75 + 0.75 * length / (11 / 3)))

    # Where there is no sign of a goal all of a state is the goal: each piece counts three times.
    expected = [3 * (idf(1) * tf(2, 5) + idf(2) * tf(1, 5)), 3 * idf(2) * tf(1, 3), 0.0]
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert Bm25(corpus).rank(["even odd", ""], all_of(corpus, 2), 2) == [[0, 1], [2, 1]]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30), st.integers(1, 10))
def test_the_best_are_accessible_and_in_order(table: list[tuple[int, bool]], count: int):
    scores = np.array([[score for score, _ in table]], dtype=np.float32)
    (ranked,) = best(scores, np.array([[mask for _, mask in table]]), count)
    assert ranked == sorted((p for p, (_, mask) in enumerate(table) if mask), key=lambda p: (-table[p][0], -p))[:count]


def test_late_and_frequent_ones_first():
    corpus = made([("x", ""), ("y", ""), ("z", "")])
    rows = [row("Lib.B.goal", "", ("Lib.A.x",)), row("Lib.B.goal", "", ("Lib.A.x", "Lib.A.z", "Lib.A.unknown"))]
    assert recent(corpus).rank([""], all_of(corpus), 2) == [[2, 1]]
    assert frequent(corpus, rows).rank([""], all_of(corpus), 3) == [[0, 2, 1]]


def test_fusion_by_hand():
    corpus = made([("x", ""), ("y", ""), ("z", "")])
    one, other = Fixed([3, 2, 1]), Fixed([1, 3, 2])
    # x: 1/61 + 2/63 = 0.04814, y: 1/62 + 2/61 = 0.04892, z: 1/63 + 2/62 = 0.04813
    assert Fused({one: 1.0, other: 2.0}).rank([""], all_of(corpus), 3) == [[1, 0, 2]]
    assert Fused({one: 1.0, other: 2.0}, depth=1).rank([""], all_of(corpus), 3) == [[1, 0]]


def test_figures_by_hand():
    # Right ones at ranks 2 and 11; a third one is in no list.
    ranked = [9, 0, *range(20, 28), 1]
    found = figures(ranked, (0, 1, -1))
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found == pytest.approx((0, 1 / 3, 2 / 3, 1 / 2, (1 / math.log2(3) + 1 / math.log2(12)) / ideal))


def test_intervals_are_over_theorems():
    # Fifty steps of one theorem are one piece of evidence.
    together = interval([1.0] * 50 + [0.0] * 50, ["a"] * 50 + ["b"] * 50)
    apart = interval([1.0] * 50 + [0.0] * 50, [str(number) for number in range(100)])
    assert together == (0.5, 0.0, 1.0)
    assert apart[0] == 0.5
    assert 0.35 < apart[1] < 0.45 < 0.55 < apart[2] < 0.65


# ---------------------------------------------------------------------------------------------- the encoder

KINDS = 8
SMALL = DenseOptions(buckets=256, width=32, epochs=25, batch=32, rate=1e-2)


def word(first: str, number: int) -> str:
    return first + "abcdefgh"[number]


def synthetic() -> tuple[Corpus, list[TraceRow], list[TraceRow]]:
    """Premises of two words; the states that use them say the same with other words, so that nothing can be found by words alone."""
    pairs = [(a, b) for a in range(KINDS) for b in range(KINDS)]
    corpus = made([(f"p{'x' * n}", f"{word('q', a)} {word('r', b)}") for n, (a, b) in enumerate(pairs)])
    rows = [
        row("Lib.B.goal", f"\u22a2 {word('s', a)} {word('t', b)}", (corpus.premises[n].name,)) for n, (a, b) in enumerate(pairs)
    ]
    Random(0).shuffle(rows)
    return corpus, rows[:44], rows[44:]


def recall(ranked: Sequence[Sequence[int]], corpus: Corpus, rows: Sequence[TraceRow]) -> float:
    return sum(corpus.find(r.premises[0]) in found for r, found in zip(rows, ranked, strict=True)) / len(rows)


def test_the_encoder_learns_what_words_do_not_say_and_is_the_same_after_loading(tmp_path: Path):
    corpus, train, test = synthetic()
    states = [r.state_before for r in test]
    dense = train_dense(corpus, train, seed=1, options=SMALL)
    found = dense.rank(states, all_of(corpus, len(test)), 6)
    # By chance 6 of 64 are found.
    assert recall(found, corpus, test) >= 0.6
    assert recall(Bm25(corpus).rank(states, all_of(corpus, len(test)), 6), corpus, test) <= 0.3
    again = train_dense(corpus, train, seed=1, options=SMALL)
    np.testing.assert_array_equal(again.scores(states), dense.scores(states))
    dense.save(tmp_path / "encoder")
    assert {path.name for path in (tmp_path / "encoder").iterdir()} == {"model.safetensors", "config.json"}
    np.testing.assert_array_equal(load_dense(tmp_path / "encoder", corpus).scores(states), dense.scores(states))


def test_a_state_is_ranked_the_same_in_any_batch():
    corpus, train, test = synthetic()
    dense = train_dense(corpus, train, seed=2, options=DenseOptions(buckets=64, width=16, epochs=1))
    states = [r.state_before for r in test] + ["\u22a2 " + "a long goal " * 40, ""]
    together = dense.scores(states)
    np.testing.assert_allclose(np.stack([dense.scores([state])[0] for state in states]), together, atol=1e-5)


def test_what_is_no_encoder_and_what_cannot_be_learned_from_is_refused(tmp_path: Path):
    corpus, train, _ = synthetic()
    with pytest.raises(SparringError, match="holds no encoder"):
        load_dense(tmp_path, corpus)
    train_dense(corpus, train[:2], seed=0, options=DenseOptions(buckets=64, width=16, epochs=1)).save(tmp_path / "encoder")
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"\x80\x04N.")
    with pytest.raises(SparringError, match="holds no encoder"):
        load_dense(tmp_path / "encoder", corpus)
    with pytest.raises(SparringError, match="no row of this trace uses a premise"):
        train_dense(corpus, [row("Lib.B.goal", "x", ())], seed=0)


# ---------------------------------------------------------------------------------------------- moves


def premise(statement: str, kind: str = "brought") -> Premise:
    return Premise(name="Lib.A.p", statement=statement, file="Lib.A", place=0, kind=kind)


@pytest.mark.parametrize(
    ("statement", "kind", "form"),
    [
        ("forall n m : nat, n + m = m + n", "brought", "equation"),
        ("forall (f g : A -> B), (forall a : A, f a = g a) -> forall l, map f l = map g l", "brought", "equation"),
        ("(n m : nat) : n = m -> (m = n)", "lemma", "equation"),
        ("forall n, (exists p, n = S p) <-> n <> 0 /\\ True", "brought", "equivalence"),
        ("n m : n <= m <-> m >= n", "lemma", "equivalence"),
        ("forall x y : A, {x = y} + {x <> y}", "brought", "cases"),
        ("forall n, exists m, n = m", "brought", "cases"),
        ("n < m \\/ n = m", "brought", "cases"),
        ("forall A B : Prop, A /\\ B -> A", "brought", "other"),
        ("forall n, ~ n = S n", "brought", "other"),
        ("forall a b c, a <= b -> a / c <= b / c", "brought", "other"),
        ("nat -> nat -> bool", "brought", "definition"),
        ("(n m : nat) : nat := n + m", "definition", "definition"),
        ("Type -> Prop", "brought", "definition"),
        ('forall s, s = "no end', "brought", "other"),
    ],
)
def test_a_premise_is_used_by_its_form(statement: str, kind: str, form: str):
    assert form_of(premise(statement, kind)) == form


def test_moves_best_first_without_duplicates():
    equation, relation = premise("forall n, n + 0 = n"), premise("a <= b")
    named = [("x", equation), ("y", relation), ("x", equation)]
    # Rank times number of the move: rewrite x 1, apply x 2, apply y 2, rewrite <- x 3, eapply y 4.
    moves = premise_moves(named, 12)
    assert moves == ["rewrite x", "apply x", "apply y", "rewrite <- x", "eapply y"]
    assert premise_moves(named, 2) == moves[:2]
    assert [kind_of_move(move) for move in moves] == ["rewrite ->", "apply", "apply", "rewrite <-", "apply"]


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def rank(self, states: Sequence[str], accessible_SP: np.ndarray, count: int) -> list[list[int]]:
        self.calls += len(states)
        return [np.flatnonzero(mask)[:count].tolist() for mask in accessible_SP]


def test_moves_and_hints_of_a_theorem():
    retriever = Counting()
    moves = PremiseMoves(made([("x", "forall n,\n  n + 0 = n"), ("y", "a " * 100 + "<= b")]), retriever, n=3)
    assert moves("Lib.B.goal", "state") == ["rewrite A.x", "apply A.x", "apply A.y"]
    first, second = moves.hints("Lib.B.goal", "state", cut=40).splitlines()
    assert first == "A.x : forall n, n + 0 = n"
    assert second.startswith("A.y : a a")
    assert (len(second), second[-1]) == (40, "\u2026")
    assert moves.hints("Lib.B.goal", "state", count=1) == first
    assert retriever.calls == 1
    assert moves("Lib.B.unknown", "state") == []
    assert not moves.hints("Lib.B.unknown", "state")


@pytest.mark.parametrize(
    ("tactic", "kinds"),
    [
        ("now apply (Facts.p a b)", {"apply"}),
        ("eexact p", {"apply"}),
        ("rewrite Facts.q, <- (Facts.p n); assumption", {"rewrite <-"}),
        ("rewrite !p", {"rewrite ->"}),
        ("intros; unfold f, p", {"unfold"}),
        ("destruct (p A) as [H|H]", {"destruct"}),
        ("apply p in H", set()),
        ("rewrite p in H by lia", set()),
        ("intros <- %Nat.p %IHn", set()),
        ("apply le_trans with (m := p)", set()),
        ("apply p'", set()),
    ],
)
def test_what_a_step_does_with_a_premise(tactic: str, kinds: set[str]):
    assert kinds_of_use(tactic, "Lib.Facts.p") == kinds
