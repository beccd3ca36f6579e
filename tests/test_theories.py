"""What the prove game is about, by recipe: the embedded kernel, or Coq with a project of its own."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from sparring.config_prove import ProveRecipe
from sparring.envs.sandbox import available
from sparring.errors import SparringError
from sparring.game import Goals
from sparring.games.prove import read_traces, theorems
from sparring.games.theories import CoqTheory, KernelTheory, theory_of
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


def recipe_of(folder: Path, **sections: dict[str, object]) -> ProveRecipe:
    (folder / "src").mkdir()
    (folder / "src" / "Sums.v").write_text(FILE)
    (folder / "_CoqProject").write_text("-Q src Mine\n")
    env = {"kind": "coq", "library": [str(folder)], "trace": str(folder / "out" / "trace.parquet"), "processes": 1}
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
