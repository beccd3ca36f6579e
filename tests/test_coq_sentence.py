"""Where Coq's sentences end, and what of a model's text reaches Coq."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.envs.coq_sentence import (
    MAX_DEPTH,
    MAX_TACTIC,
    LexError,
    check_statement,
    check_tactic,
    split_sentences,
    tactic_sentence,
    theorem_sentence,
    tidy,
    tokens,
)

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="coqc is not installed")


@cache
def theories() -> Path:
    return Path(subprocess.run(["coqc", "-where"], check=True, capture_output=True, text=True).stdout.strip()) / "theories"


def texts(source: str) -> list[str]:
    return [sentence.text for sentence in split_sentences(source)]


# -------------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("source", "sentences"),
    [
        ("", []),
        (" \n(* nothing *) ", []),
        ("auto. simpl.", ["auto.", "simpl."]),
        ("Check Nat.add.  Check (1.5)%Q.", ["Check Nat.add.", "Check (1.5)%Q."]),
        ("(* a. (* b. *) c. *) auto.", ["auto."]),
        ('(* "*)" *) auto.', ["auto."]),
        ("auto (* in. the middle. *).", ["auto (* in. the middle. *)."]),
        ('idtac "a. b ""c. d"" e". auto.', ['idtac "a. b ""c. d"" e".', "auto."]),
        ('Notation "x .. y" := (f x .. y). auto.', ['Notation "x .. y" := (f x .. y).', "auto."]),
        ("split; [ auto .. ]. split; [ .. | auto].", ["split; [ auto .. ].", "split; [ .. | auto]."]),
        ("auto... simpl.", ["auto...", "simpl."]),
        ("rewrite p.1. exact r.(f). exact x.", ["rewrite p.1.", "exact r.(f).", "exact x."]),
        ("- auto. -- auto. *** auto. +auto.", ["-", "auto.", "--", "auto.", "***", "auto.", "+", "auto."]),
        ("{ auto. } {{auto. }}", ["{", "auto.", "}", "{", "{", "auto.", "}", "}"]),
        ("1:{ auto. } [ g' ] : { auto. }", ["1:{", "auto.", "}", "[ g' ] : {", "auto.", "}"]),
        ("2: auto. all: f {x}.", ["2: auto.", "all: f {x}."]),
        ("Definition f {A} (x : A) := x.", ["Definition f {A} (x : A) := x."]),
        ("#[local] Hint Resolve a.b : core.", ["#[local] Hint Resolve a.b : core."]),
        ("auto.\u00a0simpl.", ["auto.\u00a0simpl."]),
        ("auto.\tsimpl.\rring.\n", ["auto.", "simpl.", "ring."]),
        ("∀é.α'₁. x.", ["∀é.α'₁.", "x."]),
        ("auto. simpl", ["auto.", "simpl"]),
        ("auto. simpl (* c *) ", ["auto.", "simpl (* c *)"]),
        ("at 2. exact 10. x", ["at 2.", "exact 10.", "x"]),
    ],
)
def test_sentences(source: str, sentences: list[str]):
    assert texts(source) == sentences


@pytest.mark.parametrize("source", ["(* a", 'x "a', '(* " *)', "(* (* *)", '"a""'])
def test_what_does_not_end(source: str):
    with pytest.raises(LexError, match="does not end"):
        split_sentences(source)


FRAGMENTS = [
    "auto.",
    " ",
    "\n",
    "(* c. *)",
    '"s. t"',
    "-",
    "{",
    "}",
    "a.b",
    "..",
    "...",
    "1.5",
    "1:",
    "(",
    "*",
    ".",
    "é",
    "[x]:",
    "(",
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_nothing_is_lost(source: str):
    try:
        parts = list(tokens(source))
    except LexError:
        return
    assert "".join(token.text for token in parts) == source
    place = 0
    for sentence in split_sentences(source):
        assert source[sentence.start : sentence.end] == sentence.text
        assert_blank(source[place : sentence.start])
        place = sentence.end
    assert_blank(source[place:])


def assert_blank(text: str) -> None:
    assert {token.kind for token in tokens(text)} <= {"blank", "comment"}


@needs_coq
def test_every_file_of_the_standard_library():
    files = sorted(theories().rglob("*.v"))
    assert len(files) > 500
    for file in files:
        found = split_sentences(file.read_text())
        for sentence in found:
            assert re.search(r"\.\Z|\A(\d+: ?)?\{\Z|\A\}\Z|\A[-+*]+\Z", sentence.text), (file, sentence)


SAMPLE = [
    "Bool/Bool",
    "Bool/Zerob",
    "Bool/IfProp",
    "Bool/Sumbool",
    "Arith/Le",
    "Arith/Peano_dec",
    "Arith/Euclid",
    "Logic/Berardi",
    "Logic/Decidable",
    "Logic/ConstructiveEpsilon",
    "Lists/ListTactics",
    "Lists/ListDec",
    "Relations/Operators_Properties",
    "Sorting/Heap",
    "Sets/Powerset_facts",
    "Wellfounded/Lexicographic_Product",
    "Program/Combinators",
    "Sets/Integers",
    "Logic/WKL",
    "Classes/RelationPairs",
]


def agrees_with_coq(name: str, folder: Path) -> None:
    """coqc -time says where it saw sentences, in bytes; and a file with a sentence per line means the same."""
    source = (theories() / f"{name}.v").read_text()
    (folder / "whole.v").write_text(source)
    found = split_sentences(source)
    (folder / "lines.v").write_text("\n".join(" ".join(sentence.text.split("\n")) for sentence in found))
    timed = subprocess.run(
        ["coqc", "-q", "-w", "none", "-time", "whole.v"], cwd=folder, check=True, capture_output=True, text=True
    )
    seen = [(int(start), int(end)) for start, end in re.findall(r"^Chars (\d+) - (\d+) ", timed.stdout, re.MULTILINE)]
    assert seen == [tuple(len(source[:place].encode()) for place in (s.start, s.end)) for s in found], name
    subprocess.run(["coqc", "-q", "-w", "none", "lines.v"], cwd=folder, check=True, capture_output=True)


@needs_coq
@pytest.mark.parametrize("name", SAMPLE[:4])
def test_coq_sees_the_same_sentences(name: str, tmp_path: Path):
    agrees_with_coq(name, tmp_path)


@needs_coq
@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE)
def test_coq_sees_the_same_sentences_in_many_files(name: str, tmp_path: Path):
    agrees_with_coq(name, tmp_path)


# -------------------------------------------------------------------------------------------------- tactics

COMMANDS = [
    "Abort", "Admitted", "Qed", "Defined", "Proof", "Restart", "Undo 3", "Back 5", "Show", "Show Proof", "Focus 2", "Guarded",
    "Optimize Proof", "Optimize Heap", "Unshelve", "Save t", "Time auto", "Fail auto", "Succeed auto", "Timeout 1 auto",
    'Redirect "f" auto', "Axiom bad : False", "Unset Guard Checking", "Set Universe Polymorphism", 'Load "x"', 'Cd "/"',
    'Declare ML Module "x"', 'Extraction "f" nat', "Ltac auto := admit", "Grab Existential Variables", "Ltac2 Eval 1",
    "Print Universes", "Search nat", "Check 1", "Set Default Goal Selector", "Drop", "Quit", "Notation x := y",
    "infoH auto", "#[local] Axiom bad : False", "#[bypass_check(guard)] Fixpoint f (n : nat) := f n", "Type 1",
]  # fmt: skip
"""No text that begins with a command is a tactic."""

ATTACKS = [
    *COMMANDS,
    # more than one sentence, and ways to hide it
    "auto. Qed", "auto. Axiom bad : False", "auto.\tAxiom bad : False", "auto.\nAxiom bad : False", "auto.\r\nAbort",
    "auto.\u00a0Axiom bad : False", "auto.\u2003Abort", "auto.\u200b Abort", "auto\u3002 Abort", "auto\uff0e Abort", "auto\u2024 Abort",
    "auto..", "auto...", "auto.. .", "auto .... Qed", ".", "..", "auto. .", "auto.\x0cQed", "auto.\x0bQed", "auto.\x85Qed", "auto\u2028Qed",
    'idtac "a". Abort', 'pose "a"". Abort. """. Abort', 'auto "', 'auto "". Abort. "', "auto (* ", "auto *) . Abort", "(* auto *) simpl",
    "auto (* . Abort. *)", 'auto (* "*)" *)', "auto. (* c *)", "auto (*)*)", "auto \x00", "auto \x1b[2J", "auto \u202e", "auto \ufeff",
    "\uff41\uff44\uff4d\uff49\uff54", "\u0430uto", "auto \U0001f600", "auto \ud800",
    # selectors, bullets, braces
    "all: auto", "all : auto", "par: auto",
    "1: auto", "2: auto", "1-2: auto", "[x]: auto", "!: auto", "- auto", "+ auto", "* auto", "-- auto",
    "{ auto }", "{", "}", "auto }", "1:{", "only par: auto",
    # brackets
    "apply (f", "apply f)", "apply (f]", "destruct H as [", "auto ) ; ( auto", "( auto", "exact ((fun x => x)", "(" * 80 + "x" + ")" * 80,
    # no proof, or no check
    "admit", "give_up", "shelve", "shelve_unifiable", "simpl; admit", "try (intros; admit)", "Coq.Init.Ltac.admit", "Lib.give_up x",
    "first [ auto | admit ]", "(admit)", "αadmit", "let x := constr:(1) in admit", "abstract auto", "abstract (auto) using t",
    "transparent_abstract auto", "exact_no_check I", "vm_cast_no_check I", "native_cast_no_check I", "change_no_check True",
    "convert_concl_no_check True", "fix IH 1", "fix  IH  1 with (g 2)", "simpl; fix IH 0x1", "fix IH 1_", "cofix C", "exact (cofix C := C)",
    "ltac2:(auto)", "exact ltac2:(admit)", "exact ltac:(admit)", "exact ltac:(abstract auto)", "show ltac profile", "start ltac profiling",
    # other programs, output, limits
    "native_compute", "let x := eval native_compute in 1 in idtac", "psatz Z 2", "xpsatz_Z 2 a b", "xsos_Q a b", "hammer", "predict 5",
    "hammer_hook", "hammer_transform x", "exact (eq_refl 2 <<: 1 + 1 = 2)", "exact (H<<:x = y)", "exact proof_admitted",
    "destruct Coq.Compat.AdmitAxiom.proof_admitted",
    'external "rm" "x" 1', "run_tactic x", 'idtac "flood"', "do 1000000 idtac 1", "idtac H", 'idtac; idtac "x"', "time auto",
    "timeout 100000 auto", "debug auto", "info_auto", "info_eauto", "debug eauto", "optimize_heap", "restart_timer",
    "with_strategy opaque [f] auto", "time_constr auto", "finish_timing", "auto; infoH auto",
    # size and emptiness
    "", "   ", "\n", "(* *)", "auto " * 1_000, "intro " + "x" * MAX_TACTIC, "2", "\"auto\"",
    "?x", "!x", "@f", "=> x", "[x]", "[ ]",
]  # fmt: skip

BENIGN = [
    "auto", "auto.", " auto . ", "intros", "intros x y H", "reflexivity", "rewrite <- (plus_n_O n) at 2",
    "induction n as [|n IH]; simpl; auto", "destruct (f x) eqn:E", "exists (fun x => x + 1)", "apply Nat.le_trans with (m := 3)",
    "match goal with H : _ |- _ => apply H end", "match goal with |- context [ ?x + 0 ] => rewrite <- (plus_n_O x) end", "now apply H",
    "intros x%nat", "cut (1.5 = x)%R", "pose proof (Nat.add_comm 1 2) as H", "assert (H : 1 = 1) by reflexivity",
    "assert (1 = 1) as H", "rewrite H in *", "rewrite H, <- G, !K in H0 |- *", "repeat split", "split; [ auto .. ]",
    "split; [ .. | auto ]", "split; [ auto | ]", "split; [> auto | auto ]", "[> auto ]", "(auto; simpl)", "try solve [auto | lia]",
    "first [ assumption | now eauto ]", "do 2 intro", "unfold Nat.add at 1, Nat.mul in *", "change (f x) with (g x) in H at 1",
    "set (x := f y) in *", "remember (f x) as y eqn:Hy", "inversion_clear H as [|? ? ? G]", "injection H as -> ->",
    "intros [x | [y [= -> <-]]]", "intros ? ?%eq_sym", "intros (x, (y & z))", "apply (f_equal (fun z => z + 1)) in H",
    "refine (ex_intro _ 0 _)", "exact (match x with O => I | S _ => I end)", "exact {| a := 1; b := 2 |}", "exact (fun x => x)",
    "exact (conj H.(proj) I)", "exact x.1", "let x := fresh \"x\" in intro x", "let t := constr:(1 + 1) in pose t", "eapply ex_intro",
    "congruence", "firstorder", "tauto", "intuition lia", "subst; discriminate", "unshelve eapply f", "simpl in *; lia", "ring", "field",
    "generalize dependent x", "specialize (H 1 (le_n 1))", "case_eq (f x); intros", "symmetry in H", "transitivity (x + y)", "f_equal",
    "exact (readmit x)", "apply admit_lemma", "apply admit'", 'pose (s := "admit. Qed (* ")',
    "exact (fix f (n : nat) := match n with O => 0 | S m => f m end)",
    "idtac", "try idtac", "(idtac; auto)", "tryif auto then idtac else fail", 'fail "no"', "apply @eq_refl", "exact (f ?[x] ?y)",
    "replace (x + 0) with x by apply plus_n_O", "Z.order", "zify; nia", "vm_compute; reflexivity", "cbn [f g]", "cbv beta delta -[h]",
    "enough (x = 1) as ->", "decide equality", "dependent destruction H", "setoid_rewrite H", "exists 0, 1", "left; exact I",
    "pattern x at 1 2", "eauto using a, b with arith", "exact ltac:(auto)", "exact (ltac:(lia))", "constructor 2",
    "exact (λ x, x ∧ ℕ₁ · ⟨α⟩)",
    "auto;\n  simpl", "auto\n.", "rename x into y, H into G", "lra", "fold f in H", "red; intro", "timed x", "exact (1 = 2 -> 3 = 4)",
    "exact (eq_refl 2 <: 1 + 1 = 2)", 'pose (s := "<<:")', "apply hammered",
]  # fmt: skip
SSREFLECT = [
    "move=> x; rewrite /foo -bar; case: n => [|n] //=", "by []", "by move=> x /= H; apply: H", "case: x=> [|y]", "elim: n => //= n ->",
    "rewrite {2}/f !g ?h // (mul_comm x)", "have -> : x = y by done", "have H (n : nat) : n = n by []", "suff: x = 1",
    "apply/andP; split=> //",
    "move: H => /(_ x) [y [-> ?]]", "set y := (_ + _)", "do 2!rewrite addn0", "rewrite -[x in LHS]/y",
    "wlog: x / x = 1", "case/orP=> [->|]",
    "exact: H", "rewrite (_ : x = y); last by []", "congr (_ + _)", "by case: n; last exact I", "pose f x := x + 1", "move=> {}H *",
]  # fmt: skip


def test_there_are_enough_cases():
    assert len(set(ATTACKS)) >= 150
    assert len({*BENIGN, *SSREFLECT}) >= 110


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused(attack: str):
    assert check_tactic(attack)


@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.strip() not in ("", ".", "(* *)") and len(a) < 500])
def test_a_dot_more_changes_nothing(attack: str):
    assert check_tactic(f"{attack}.")


@pytest.mark.parametrize("benign", [*BENIGN, *SSREFLECT])
def test_honest_tactics_pass(benign: str):
    assert check_tactic(benign) is None
    assert len(split_sentences(f"{tidy(benign)}.")) == len(split_sentences(tactic_sentence(benign))) == 1


def said_by_coqtop(text: str) -> str:
    """Unlike coqc, coqtop goes on after an error."""
    done = subprocess.run(["coqtop", "-q", "-w", "none"], input=text, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@needs_coq
@pytest.mark.parametrize(
    ("start", "tactics"), [("Require Import Lia Lra ZArith.", BENIGN), ("Require Import ssreflect.", SSREFLECT)]
)
def test_coq_reads_honest_tactics(start: str, tactics: list[str]):
    """They need not succeed; they must be tactics for Coq, bare and in the form in which they are sent."""
    notations = 'Require Import Utf8. Notation "\'ℕ₁\' · ⟨ x ⟩" := x. Notation "p .1" := (fst p) (at level 2).\n'
    tried = [sentence for tactic in tactics for sentence in (f"{tidy(tactic)}.", tactic_sentence(tactic))]
    said = said_by_coqtop(f"{start} {notations}" + "".join(f"Goal True.\n{sentence}\nAbort All.\n" for sentence in tried))
    assert said.count("Syntax error") == 0, said


@needs_coq
def test_the_form_alone_keeps_commands_out():
    """Even those that the check refuses: the parser takes no command there."""
    tried = "".join(f"Goal True.\n1: ( {command} ).\nAbort All.\n" for command in COMMANDS)
    said = said_by_coqtop(f"{tried}Print bad.\nCheck still_here.")
    assert said.count("Error") == len(COMMANDS) + 2


JOINTS = [". ", ".", ";", " ", "..", ".\u00a0", '.""', '"."', "(* *)", ".(", "|", ".\n", "=>", ":", ") . (", "'", "·", ".}", "["]


@needs_coq
def test_no_text_that_passes_is_a_command():
    """Random joints between tactics and commands, as bare sentences: nothing is declared, printed, set or finished."""
    random = Random(0)
    heads = ["auto", "idtac", "exact I", "(", "[>", 'pose "', "x.", "split", "1", "ℕ"]
    drawn = {
        f"{random.choice(heads)}{random.choice(JOINTS)}{random.choice(COMMANDS)}{random.choice(['', ')', ']', chr(34)])}"
        for _ in range(4_000)
    }
    passed = sorted(text for text in drawn if check_tactic(text) is None)
    assert len(passed) > 200
    said = said_by_coqtop("".join(f"Goal True.\n{tidy(text)}.\nAbort All.\n" for text in passed))
    assert said.count("Error") >= len(passed)
    assert not re.search(r"is (declared|defined|assumed)|Debug:|^(All|Inductive|nat)\b", said, re.MULTILINE)


def test_refusals_say_why():
    assert check_tactic("simpl; admit") == "admit is not allowed: it leaves the proof unfinished"
    assert check_tactic("Abort") == "Abort is a command, not a tactic"
    assert check_tactic("auto. Qed") == "a dot ends a sentence: only one sentence is allowed, without dots"
    assert check_tactic("auto\u200b") == "the character '\\u200b' (U+200B) is not allowed"
    assert check_tactic("f ]") == "] closes no bracket"
    assert check_tactic("f [") == "] is missing"
    assert check_tactic("(" * (MAX_DEPTH + 1)) == f"brackets nest too deep: at most {MAX_DEPTH}"
    assert check_tactic('pose "') == 'a string does not end: " is missing'


def test_tidy():
    assert tidy(" auto;\n\t simpl . ") == "auto; simpl"
    assert tidy('pose "a  b".') == 'pose "a  b"'
    assert tidy("auto...") == "auto..."
    assert tidy('auto ".') == 'auto ".'
    assert tactic_sentence("auto.\n") == "1: ( auto )."


@given(st.text(max_size=40))
def test_any_text_is_judged(text: str):
    refused = check_tactic(text)
    assert check_tactic(tidy(text)) == refused or text.count(".") > 1
    if refused is None:
        assert len(split_sentences(tactic_sentence(text))) == 1
    check_statement(text)


# -------------------------------------------------------------------------------------------------- statements

BAD_STATEMENTS = [
    "", "True. Axiom bad : False", "True.\nAbort", "True . ", "True.", "True (* *)", "True)", "(True", "True) (True", "ltac:(exact True)",
    "1 = ltac:(admit)", "ltac2:(x)", "constr:(True)", "uconstr:(True)", "$(x)$", 'True "', "True \u200b", "True\x00", "x" * 9_000,
    "...", "a.. b ...",
    "True\u3002", "True) . Theorem x : ( False",
]  # fmt: skip
GOOD_STATEMENTS = [
    "True", "forall n : nat, n + 0 = n", "forall x:(nat * nat), fst x = fst x", "forall (A : Type) (l : list A),\n  app l nil = l",
    "exists x, Nat.add x 1 = 2", "let x := 1 in x = 1", "forall s, s = \"a. b\"%string", "match 0 with O => True | S _ => False end",
    "(1.5 = 3 / 2)%Q", "∀ x, x = x", "forall H : True, H.(f) = p.1", "forall constr : nat, constr = constr", "True *",
]  # fmt: skip


@pytest.mark.parametrize("statement", BAD_STATEMENTS)
def test_statements_that_are_refused(statement: str):
    assert check_statement(statement)


@pytest.mark.parametrize("statement", GOOD_STATEMENTS)
def test_statements_that_pass(statement: str):
    assert check_statement(statement) is None
    assert len(split_sentences(theorem_sentence("t", statement))) == 1


@needs_coq
def test_a_statement_is_one_term():
    tricks = ["True with u : False", "True := I", "n : nat", "True, x = 1"]
    said = said_by_coqtop("".join(f"{theorem_sentence(f't{place}', trick)}\n" for place, trick in enumerate(tricks)))
    assert said.count("Error") == len(tricks)
