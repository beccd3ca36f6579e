"""Coq files and the theorems in them, found without running anything."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sparring.envs.coq_files import Mapping, find_sources, read_project, theorems_of
from sparring.envs.coq_theorems import Theorem, context_of, find_theorems, read_parts, task_of, why_no_task
from sparring.errors import SparringError

needs_coq = pytest.mark.skipif(shutil.which("coqdep") is None, reason="coqdep is not installed (Debian: apt-get install coq)")

FILE = """(* Lemma no : True. Proof. "Qed." (* nested *) *)
Require Import Arith.
Section S.
  Variable A : Type.
  Lemma first (n : nat) : n = n.
  Proof. reflexivity. Qed.
  Module Import M.
    #[local] Theorem d\u00e9j\u00e0' : forall x : A, x = x. (* no dot. *) Proof using A. intros. (* . *) trivial. Defined.
  End M.
End S.
Module Type T <: U with Definition t := nat.
  Parameter p : nat.
  Global Program Instance inst : C nat.
  Next Obligation. auto. Qed.
End T.
Module N := M.
Definition plain := 0.
Definition proved : nat.
exact 1.
Defined.
Definition typed : nat := 1.
Goal True. - exact I. Qed.
Fact term : True.
Proof I.
Lemma open : False. Proof. Admitted.
Lemma dropped : False. { idtac. } Abort.
Instance anonymous : C bool. Proof with auto. now split... Save.
"""


def read(text: str, path: Path = Path("F.v")) -> list[Theorem]:
    return find_theorems(text, "Lib.F", path)


def test_theorems_of_every_kind_are_found() -> None:
    goal = FILE.encode().index(b"Goal True.")
    obligation = FILE.encode().index(b"Next Obligation.")
    assert [(theorem.full_name, theorem.sections, theorem.ending) for theorem in read(FILE)] == [
        ("Lib.F.first", ("S",), "Qed"),
        ("Lib.F.M.d\u00e9j\u00e0'", ("S",), "Defined"),
        (f"Lib.F.T.at_{obligation}", (), "Qed"),
        ("Lib.F.proved", (), "Defined"),
        (f"Lib.F.at_{goal}", (), "Qed"),
        ("Lib.F.term", (), "Proof"),
        ("Lib.F.open", (), "Admitted"),
        ("Lib.F.dropped", (), "Abort"),
        ("Lib.F.anonymous", (), "Save"),
    ]
    assert [theorem.proved for theorem in read(FILE)] == [True] * 6 + [False, False, True]


def test_places_are_bytes() -> None:
    data = FILE.encode()
    found = {theorem.name: theorem for theorem in read(FILE)}
    spans = {
        name: (data[t.start : t.end].decode(), data[t.proof_start : t.proof_end].decode()) for name, t in found.items() if name
    }
    assert spans["first"] == ("Lemma first (n : nat) : n = n.", "Proof. reflexivity. Qed.")
    assert spans["d\u00e9j\u00e0'"] == (
        "#[local] Theorem d\u00e9j\u00e0' : forall x : A, x = x.",
        "Proof using A. intros. (* . *) trivial. Defined.",
    )
    assert spans["proved"] == ("Definition proved : nat.", "exact 1.\nDefined.")
    assert spans["term"] == ("Fact term : True.", "Proof I.")
    assert all(data[t.start : t.end].decode() == t.statement for t in found.values())


def test_a_theorem_within_a_proof_is_nested() -> None:
    text = "Lemma outer : True. Proof. Lemma inner : 1 = 1. Proof. auto. Qed. Let x := 0. exact I. Qed."
    assert [(theorem.name, theorem.nested) for theorem in read(text)] == [("inner", True), ("outer", False)]


def test_every_sentence_has_a_role() -> None:
    text = (
        "Set Foo. Time auto. #[export] Hint Resolve a : b. 2: { MyTac x. } Z.order. Proof. Proof with auto. Proof (f x). intros; auto... "
        "Timeout 5 Qed. Add Morphism f : g."
    )
    assert [part.role for part in read_parts(text)] == [
        *(
            "command",
            "tactic",
            "command",
            "structure",
            "tactic",
            "structure",
            "tactic",
            "begin",
            "begin",
            "term",
            "tactic",
            "end",
        ),
        "opener",
    ]


def test_the_context_is_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "F.v"
    path.write_bytes(FILE.replace("\n", "\r\n").encode())
    theorem = next(theorem for theorem in read(path.read_bytes().decode(), path) if theorem.name == "proved")
    context = context_of(theorem)
    assert context.endswith("Definition plain := 0.\r\n")
    assert context + theorem.statement == path.read_bytes().decode()[: len(context) + len(theorem.statement)]
    task = task_of(theorem)
    assert task is not None
    assert (task.text, task.context, task.meta["full_name"]) == ("Lemma proved : nat.", context, "Lib.F.proved")


def test_a_task_says_what_is_to_be_proved_or_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "F.v"
    path.write_text(FILE)
    tasks = [task_of(theorem) for theorem in read(FILE, path)]
    assert [task and task.text for task in tasks] == [
        "Lemma first (n : nat) : n = n.",
        "Theorem d\u00e9j\u00e0' : forall x : A, x = x.",
        None,
        "Lemma proved : nat.",
        "Goal True.",
        "Fact term : True.",
        "Lemma open : False.",
        "Lemma dropped : False.",
        "Lemma anonymous : C bool.",
    ]
    nested = "Lemma outer : True. Lemma inner : (* one *) 1 = 1. Qed. exact I. Qed."
    path.write_text(nested)
    assert [task and task.text for task in map(task_of, read(nested, path))] == [None, "Lemma outer : True."]


def test_why_there_is_no_task(tmp_path: Path) -> None:
    path = tmp_path / "F.v"
    text = "Next Obligation. auto. Qed. Lemma outer : True. Lemma inner : True. Qed. exact I. Qed. Instance : C. Qed."
    path.write_text(text)
    obligation, inner, outer, instance = read(text, path)
    assert "Next does not say" in str(why_no_task(obligation))
    assert "within the proof" in str(why_no_task(inner))
    assert why_no_task(outer) is None
    task = task_of(instance)
    assert task is not None
    assert task.text == "Lemma unnamed : C."
    [initial] = find_theorems("Lemma a : True. Qed.", "Coq.Init.Logic", path)
    assert "Coq.Init" in str(why_no_task(initial))
    assert task_of(initial) is None


@pytest.mark.parametrize("text", ["(* no end", 'Definition a := "b.', ""])
def test_text_without_theorems_has_none_or_is_refused(text: str) -> None:
    if text:
        with pytest.raises(SparringError, match="does not end"):
            read(text)
    else:
        assert read(text) == []


# ------------------------------------------------------------------------------------------------ files


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.v"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_project_file_is_read_as_coq_makefile_does(tmp_path: Path) -> None:
    write(tmp_path, src__A="", src__sub__B="", other__C="")
    (tmp_path / "_CoqProject").write_text(
        '# -Q no No\n-Q src Mine\n-R "other" Other\n-I plug\n-arg "-w -all" -arg -noinit\nX = y\n'
    )
    load, args, files = read_project(tmp_path)
    assert load == (
        Mapping("-Q", tmp_path / "src", "Mine"),
        Mapping("-R", tmp_path / "other", "Other"),
        Mapping("-I", tmp_path / "plug", ""),
    )
    assert args == ("-w", "-all", "-noinit")
    assert [str(path.relative_to(tmp_path)) for path in files] == ["other/C.v", "src/A.v", "src/sub/B.v"]
    (tmp_path / "_CoqProject").write_text("-Q src Mine\nsrc/A.v\n")
    assert read_project(tmp_path)[2] == [tmp_path / "src/A.v"]
    (tmp_path / "_CoqProject").write_text("-Q src Mine\nsrc/Z.v\n")
    with pytest.raises(SparringError, match=r"Z\.v, which is not there"):
        read_project(tmp_path)


@needs_coq
def test_files_come_after_what_they_require(tmp_path: Path) -> None:
    write(tmp_path, src__A="From Mine Require Import Z.", src__Z="Require Import sub.M.", src__sub__M="", src__B="")
    (tmp_path / "_CoqProject").write_text("-R src Mine\n")
    sources = find_sources([str(tmp_path)])
    names = [source.name for source in sources]
    assert sorted(names) == ["Mine.A", "Mine.B", "Mine.Z", "Mine.sub.M"]
    assert names.index("Mine.sub.M") < names.index("Mine.Z") < names.index("Mine.A")
    assert {source.name: source.needs for source in sources} == {
        "Mine.A": ("Mine.Z",),
        "Mine.B": (),
        "Mine.Z": ("Mine.sub.M",),
        "Mine.sub.M": (),
    }
    assert all(source.wanted for source in sources)


@needs_coq
def test_one_file_comes_with_what_it_needs(tmp_path: Path) -> None:
    write(tmp_path, src__A="From Mine Require Import Z.", src__Z="", src__B="")
    (tmp_path / "_CoqProject").write_text("-R src Mine\n")
    sources = find_sources([str(tmp_path / "src" / "A.v")])
    assert [(source.name, source.wanted) for source in sources] == [("Mine.Z", False), ("Mine.A", True)]


@needs_coq
def test_a_folder_without_a_project_file(tmp_path: Path) -> None:
    write(tmp_path, A="Require Import B.", B="")
    assert [(source.name, source.shown_path) for source in find_sources([str(tmp_path)])] == [("B", "B.v"), ("A", "A.v")]
    assert [source.name for source in find_sources([str(tmp_path / "B.v")])] == ["B"]


@needs_coq
def test_files_that_require_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, A="Require Import B.", B="Require Import A.")
    with pytest.raises(SparringError, match="require each other"):
        find_sources([str(tmp_path)])


@needs_coq
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, one__A="", two__A="")
    with pytest.raises(SparringError, match="both called A"):
        find_sources([str(tmp_path / "one"), str(tmp_path / "two")])


@pytest.mark.parametrize("names", [[], [""], ["Arith", ""]])
def test_no_name_is_not_all_names(names: list[str]) -> None:
    with pytest.raises(SparringError, match="no library is named; name some"):
        find_sources(names)


@needs_coq
def test_installed_files_may_be_called_by_their_last_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the library was made: its own folder is on the load path."""
    write(tmp_path, **{"user-contrib__Lib__sub__A": "Require Import B.", "user-contrib__Lib__sub__B": ""})
    (tmp_path / "theories").mkdir()
    monkeypatch.setattr("sparring.envs.coq_files.coq_folder", lambda: tmp_path)
    loads = {source.name: source.load for source in find_sources(["Lib"])}
    own = (Mapping("-R", tmp_path / "user-contrib" / "Lib" / "sub", "Lib.sub"),)
    assert loads == {"Lib.sub.A": own, "Lib.sub.B": own}


@needs_coq
def test_what_is_nothing_is_refused(tmp_path: Path) -> None:
    for name, complaint in (
        ("Arithmetic", "no library"),
        (str(tmp_path / "no.v"), "is not there"),
        (str(tmp_path / "."), "no .v"),
    ):
        with pytest.raises(SparringError, match=complaint):
            find_sources([name])


@needs_coq
def test_the_standard_library() -> None:
    sources = find_sources(["Bool", "Arith.Wf_nat", "Init.Logic"])
    assert len(sources) == 10
    by_name = {source.name: source for source in sources}
    assert by_name["Coq.Init.Logic"].args == ("-noinit",)
    assert by_name["Coq.Bool.Bool"].args == ()
    assert by_name["Coq.Arith.Wf_nat"].shown_path == "theories/Arith/Wf_nat.v"
    theorems = [theorem for source in sources for theorem in theorems_of(source)]
    assert len(theorems) == 269
    assert "Coq.Bool.Bool.andb_comm" in {theorem.full_name for theorem in theorems}
