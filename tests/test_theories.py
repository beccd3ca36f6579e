"""What the prove game is about, by recipe: the embedded kernel, or Coq with a project of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from sparring.config_prove import Environment, ProveRecipe
from sparring.envs.coq_audit import audit
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.game import Demo, Goals, Sample, Sampling, Scored
from sparring.games.prove import prover_of, read_traces, taught, theorems
from sparring.games.theories import CoqTheory, KernelTheory, coq_options, theory_of
from sparring.judges.program import check_judge
from sparring.judges.proof import ProofJudge
from sparring.learners.roles import trace_lessons
from sparring.models.hf import HFModel
from sparring.recipe import parse_recipe

coq = [
    pytest.mark.skipif(
        shutil.which("coqidetop.opt") is None, reason="coqidetop.opt is not installed (Debian: apt-get install coq)"
    ),
    pytest.mark.skipif(available() is not None, reason=f"no sandbox: {available()}"),
]
FILE = "".join(f"Lemma f{n} : {n} + 0 = {n}.\nProof. simpl. reflexivity. Qed.\n" for n in range(12))


def recipe_of(
    folder: Path, files: Mapping[str, str] | None = None, how: Mapping[str, object] | None = None, **sections: dict[str, object]
) -> ProveRecipe:
    (folder / "src").mkdir()
    for name, text in (files or {"Sums": FILE}).items():
        (folder / "src" / f"{name}.v").write_text(text)
    (folder / "_CoqProject").write_text("-Q src Mine\n")
    env = {
        "kind": "coq",
        "library": [str(folder)],
        "trace": str(folder / "out" / "trace.parquet"),
        "processes": 1,
        "premises": "none",
        **(how or {}),
    }
    recipe = parse_recipe({"game": "prove", "env": env, "creator": {"kind": "none"}, **sections})
    assert isinstance(recipe, ProveRecipe)
    return recipe


def test_the_kernel_is_the_theory_of_the_default_recipe():
    theory = theory_of(ProveRecipe())
    assert isinstance(theory, KernelTheory)
    assert theorems("world:test", theory, "data.evals.test", 7) == theory.tasks("test")[:7]
    assert len(read_traces("world:train", theory, 3)) < len(read_traces("world:train", theory, 9))


def test_conjectures_are_for_the_kernel():
    with pytest.raises(SparringError, match=r"creator.kind symbolic writes conjectures for the embedded kernel alone; .*=none"):
        parse_recipe({"game": "prove", "env": {"kind": "coq"}})


@pytest.mark.parametrize("mark", [pytest.param(None, marks=coq)])
def test_coq_is_a_theory(mark: None, tmp_path: Path):
    recipe = recipe_of(tmp_path, policy={"hidden": 32, "layers": 1, "heads": 2, "vocabulary": 512, "max_prompt_tokens": 300})
    with closing(theory_of(recipe)) as theory:
        assert isinstance(theory, CoqTheory)
        tell(theory, recipe, tmp_path)


def tell(theory: CoqTheory, recipe: ProveRecipe, tmp_path: Path) -> None:
    check_judge(ProofJudge(theory.env), theory.controls())
    sets = {name: theorems(f"world:{name}", theory, "data.pool") for name in ("train", "validation", "test")}
    assert sum(map(len, sets.values())) == 12
    assert len(theorems("world:train", theory, "data.pool", 3)) == 3
    for task in sets["test"]:
        goals = theory.env.start(task)
        assert isinstance(goals, Goals)
        assert f"{task.meta['full_name']}".removeprefix("Mine.Sums.f") in goals.text
        assert theory.env.check(task, "simpl\nreflexivity").solved
    lessons = trace_lessons(read_traces("world:train", theory), recipe.roles)
    theory.save_blank(tmp_path / "policy", recipe, lessons)
    model = HFModel.load(tmp_path / "policy", recipe.policy)
    assert model.decoder.model.config.hidden_size == 32
    assert theory.read("forall n : nat, n = n") == "forall n : nat, n = n"
    assert list(theory.scripts("0 = 0", "simpl\nreflexivity")) == [
        "Theorem proved_here : 0 = 0.\nProof.\n  simpl.\n  reflexivity.\nQed."
    ]
    with pytest.raises(SparringError, match=r"'forall n, n = ' is no statement: "):
        theory.read("forall n, n = ")


BASE = "".join(f"Lemma plus{n} m : m = {n} -> m + {n} = {n} + m.\nProof. intros ->. reflexivity. Qed.\n" for n in range(3))
MAIN = "From Mine Require Import Base.\n" + "".join(
    f"Lemma use{n} : {n} + {n} = {n} + {n}.\nProof. apply plus{n}. reflexivity. Qed.\n" for n in range(3)
)


SUM = "plus{0} : forall m : nat, m = {0} -> m + {0} = {0} + m"


class Trusting:
    """A model that applies the first lemma that it is shown."""

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        shown = [re.match(r"\[PREMISES\] (\S+) : ", prompt) for prompt in prompts]
        tactics = [("reflexivity", f"apply {found[1]}") if found else ("fail",) for found in shown]
        return [[Sample(role=role, text=tactic) for tactic in each] for each in tactics]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        raise AssertionError("nothing is to be read")


@pytest.mark.parametrize("mark", [pytest.param(None, marks=coq)])
def test_the_flat_prover_is_taught_and_asked_with_the_same_premises(mark: None, tmp_path: Path):
    how: dict[str, object] = {"premises": "bm25", "hints": 2}
    options: dict[str, object] = {"policy": "flat", "retries": 0}
    recipe = recipe_of(tmp_path, {"Base": BASE, "Main": MAIN}, how, search=options, policy={"max_prompt_tokens": 130})
    names = ("train", "validation", "test")
    with closing(theory_of(recipe)) as theory:
        steps = [step for name in names for step in theory.steps(name)]
        hints = {(step.state, step.tactic): step.hints for step in steps}
        asked = {str(task.meta["full_name"]): theory.env.start(task) for name in names for task in theory.tasks(name)}
        for n in range(3):
            # The same state in two files: what may be used there differs.
            own = hints[f"⊢ {n} + {n} = {n} + {n}", f"apply plus{n}"]
            assert own.splitlines()[0] == f"Base.{SUM.format(n)}"
            assert len(own.splitlines()) == 2
            assert SUM.format(n) not in hints.get((f"⊢ {n} + {n} = {n} + {n}", "reflexivity"), "")  # may be left out
            begun = asked[f"Mine.Main.use{n}"], asked[f"Mine.Base.plus{n}"]
            for goals, expected in zip(begun, (own, hints[f"m : nat\n⊢ m = {n} -> m + {n} = {n} + m", "intros ->"]), strict=True):
                assert isinstance(goals, Goals)
                assert theory.env.hints(goals) == expected
        # A file of traces has the same, and there is room for the first one.
        assert {step.hints for step in read_traces(recipe.env.trace, theory)} >= {*hints.values()}
        everything = recipe.model_copy(update={"data": recipe.data.model_copy(update={"traces": recipe.env.trace})})
        line = f"[PREMISES] Base.{SUM.format(1)} [CURRENT GOAL] ⊢ 1 + 1 = 1 + 1 [PROOFSTEP]"
        assert line in {lesson.prompt for lesson in taught(everything, theory) if isinstance(lesson, Demo)}
        tasks = [task for name in names for task in theory.tasks(name) if "use1" in str(task.meta["full_name"])]
        ((attempt,),) = prover_of(recipe, theory.env).attempt(tasks, Trusting(), 0)
        assert attempt.answer.splitlines() in (["reflexivity"], ["apply Base.plus1", "reflexivity"])
        assert attempt.steps[0].hints == f"Base.{SUM.format(1)}"


@pytest.mark.parametrize("mark", [pytest.param(None, marks=coq)])
def test_without_the_option_there_are_no_hints(mark: None, tmp_path: Path):
    recipe = recipe_of(tmp_path)
    with closing(theory_of(recipe)) as theory:
        assert {step.hints for step in theory.steps("train")} == {""}
        goals = theory.env.start(theory.tasks("train")[0])
        assert isinstance(goals, Goals)
        assert theory.env.hints(goals) == ""


@pytest.mark.parametrize(
    ("brings", "statement", "script"),
    [
        ("Require Import Classical.", "forall P : Prop, P \\/ ~ P", "exact classic"),
        ("Require Import Eqdep.", "forall (P : nat -> Type) (x : P 0) (h : 0 = 0), x = eq_rect 0 P x 0 h", "apply eq_rect_eq"),
        (
            "Require Import FunctionalExtensionality.",
            "forall f g : nat -> nat, (forall n, f n = g n) -> f = g",
            "intros f g h\nextensionality n\napply h",
        ),
        ("Require Import Reals.", "forall x y : R, Rmax x y = Rmax y x", "exact Rmax_comm"),
    ],
)
@pytest.mark.parametrize("mark", [pytest.param(None, marks=coq)])
def test_what_the_library_takes_for_granted_a_proof_may(brings: str, statement: str, script: str, mark: None):
    """By the recipe's defaults; and the same proof is refused where nothing may be."""
    allowing = coq_options(Environment(kind="coq")).audit
    assert audit(brings, statement, script, allowing).solved
    strict = coq_options(Environment(kind="coq", axioms=())).audit
    assert "axioms that are not allowed" in (audit(brings, statement, script, strict).note or "")
