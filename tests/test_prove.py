"""The prove game from its command line, with a real tiny model: play, show, prove, trace, doctor, and what each mistake is told."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sparring.config_prove import ProveRecipe, Search
from sparring.envs.embedded import KernelEnv
from sparring.errors import SparringError
from sparring.game import Attempt, Demo, Pair, Sampling, make_task
from sparring.games.prove import candidates_of, flat_rival, pool_of, prove, prover_of, theorems
from sparring.games.theories import KernelTheory
from sparring.judges.program import check_judge
from sparring.judges.proof import ProofJudge
from sparring.models.scripted import ScriptedModel
from sparring.proofs import comparisons, proofs_found
from sparring.records import BOUTS, LESSONS, TASKS
from sparring.rundir import RunDir
from sparring.solvers.budget import Budget
from sparring.solvers.choose import BestFirst, Mcts
from sparring.solvers.hierarchy import Flat, Hierarchical, Joint, Mixture
from sparring.solvers.rank import Ranker
from sparring.trace import read_trace
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.theorem_splits import held_out, split
from tests.conftest import run_cli
from tests.silent import NoModel

RECIPE = """
game = "prove"

[run]
rounds = 1
shard_tasks = 3

[data]
pool = "pool.jsonl"
traces = "traces.parquet"
per_round = 4
eval_tasks = 2
evals = { test = "world:test" }

[start]
lr = 3e-3
batch = 4
epochs = 12

[search]
calls = 40
live = 4
max_target_tokens = 24

[learner]
batch = 8

[evaluation]
bootstrap = 20
"""
PROOFS = [
    ("0 = 0", "rfl"),
    ("1 + 1 = 2", "rfl"),
    ("2 = 2", "rfl"),
    ("forall p, p -> p", "intro h\nexact h"),
    ("forall x, 0 + x = x", "intro x\nrfl"),
    ("forall p q, p -> q -> p", "intro h\nintro h1\nexact h"),
]
POOL = ["forall p, p -> p", "forall p q, p /\\ q -> q /\\ p", "forall x, 0 + x = x", "forall p q, p -> p \\/ q"]
Sparring = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sparring(capsys: pytest.CaptureFixture[str]) -> Sparring:
    def run(*words: object) -> tuple[int, str, str]:
        code = run_cli(*words)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run that was traced and played from the command line."""
    folder = tmp_path_factory.mktemp("prove")
    proofs = [{"text": text, "script": script} for text, script in PROOFS]
    (folder / "proofs.jsonl").write_text("".join(json.dumps(proof) + "\n" for proof in proofs))
    (folder / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL))
    (folder / "small.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_cli("trace", "kernel", "--theorems=proofs.jsonl", "--out=traces.parquet") == 0
        assert run_cli("play", "small.toml") == 0
    return folder


@pytest.fixture
def here(played: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(played)
    return Path("runs/small")


# ---------------------------------------------------------------------------------------------- play and show


def test_a_round_leaves_its_phases(here: Path):
    run = RunDir(here)
    traces, lessons = (run.read(f"round-00{number}/lessons", LESSONS) or [] for number in (0, 1))
    assert len(traces) == 2 * len(read_trace(Path("traces.parquet")))  # the flat row, and the one of planner and actor
    assert lessons
    assert {type(lesson) for lesson in traces} == {Demo}
    assert {type(lesson) for lesson in lessons} <= {Demo, Pair}
    probe = run.read("round-001/probe", BOUTS) or []
    assert [bout.task.text for bout in probe] == [task.text for task in theorems("pool.jsonl", KernelTheory(), "pool")]
    for bout in probe:
        stats = bout.attempts[0].stats
        assert {"planner_s", "actor_s", "env_s", "total_s", "nodes", "searched", "calls", "tokens", "steps", "status"} <= set(
            stats
        )
        assert bout.verdicts[0].solved == (stats["status"] == "proved")
    assert (here / "round-000" / "eval-test").exists()
    assert not (here / "round-000" / "eval-test@flat").exists()
    assert (here / "round-001" / "eval-test@flat").exists(), "the last policy also searches without goals"
    assert not list(here.glob("round-000/untaught"))


def test_conjectures_are_new_and_come_from_what_was_proved(here: Path):
    run = RunDir(here)
    proved = {bout.task.id for bout in run.read("round-001/probe", BOUTS) or [] if bout.verdicts[0].solved}
    for task in run.read("round-001/proposals", TASKS) or []:
        assert task.parent in proved
        assert task.rejected is not None or task.meta["key"] not in held_out()


def test_show(here: Path, sparring: Sparring):
    code, out, err = sparring("show", here)
    assert (code, err) == (0, "")
    for words in ("proved in %", "planner", "environment", "the flat search with the same budget", "theta1 against theta0"):
        assert words in out
    last = json.loads((here / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["evals"]["test"]["search"]["calls"] > 0
    (found,) = comparisons(RunDir(here), 1, ProveRecipe().evaluation)
    assert (found.name, found.rival) == ("test", "flat")
    proofs = proofs_found(RunDir(here), 1, 3)
    assert proofs
    assert len({len(proof.steps) for proof in proofs}) == len(proofs)
    assert all(proof.statement in out for proof in proofs[:2])


def test_a_finished_run_is_played_on(here: Path, tmp_path: Path, sparring: Sparring, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(Path.cwd(), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    Path("pool.jsonl").unlink()  # the run has its own copy
    Path("traces.parquet").unlink()
    code, out, err = sparring("resume", here, "--run.rounds=2", "--accept-changes", "--creator.kind=both")
    assert (code, err) == (0, "")
    assert "theta2" in out


# ---------------------------------------------------------------------------------------------- prove


def test_prove_prints_the_proof_and_two_scripts(here: Path, tmp_path: Path, sparring: Sparring):
    code, out, err = sparring("prove", "1 + 1 = 2", f"--run={here}", "--tree", "--search.calls=400", "--search.retries=3")
    assert (code, err) == (0, "")
    assert "proved, and checked by the kernel" in out
    assert "printed, not checked" in out or shutil.which("lean")
    assert "Qed." in out
    if shutil.which("coqc"):
        # From the Coq file's first comment to the Lean file's.
        start, end = out.index("(*"), out.index("--", out.index("Qed."))
        (tmp_path / "found.v").write_text(out[start:end])
        subprocess.run(["coqc", "-q", "found.v"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("statement", "code", "words"),
    [
        ("forall p q, p \\/ q -> p", 1, "false: p false, q true"),
        ("forall n, n + 1 = n", 1, "false: x = 0"),
        ("forall p, p \\/ ~ p", 1, "no proof found"),
        ("forall p, p ->", 2, "is no statement"),
        ("p -> p", 2, "unknown name p"),
    ],
)
def test_what_cannot_be_proved(here: Path, sparring: Sparring, statement: str, code: int, words: str):
    found, out, err = sparring("prove", statement, f"--run={here}")
    assert found == code
    assert words in out + err
    assert "Traceback" not in err


def test_prove_needs_a_prover(here: Path, small_run: Path, sparring: Sparring):
    for run, words in (("nowhere", "there is no such folder"), (small_run, "is a run of the align game")):
        code, _, err = sparring("prove", "0 = 0", f"--run={run}")
        assert code == 2
        assert words in err


# ---------------------------------------------------------------------------------------------- parts and mistakes


def test_the_judge_is_judged():
    theory = KernelTheory()
    check_judge(ProofJudge(theory.env), theory.controls())


def test_a_searcher_is_not_believed():
    judge = ProofJudge(KernelEnv())
    task = make_task("forall p q, p -> q")
    attempts = (
        Attempt(answer="intros", stats={"status": "proved"}),
        Attempt(answer="", stats={"status": "exhausted"}),
        Attempt(answer="", fault="the prover died"),
    )
    ((lied, gave_up, broke),) = judge.judge([task], [attempts])
    assert not lied.solved
    assert (gave_up.solved, gave_up.fault, gave_up.note) == (False, None, "exhausted")
    assert broke.fault == "no proof: the prover died"


POLICIES = {"flat": Flat, "rir": Hierarchical, "joint": Joint, "mixture": Mixture, "moves": Mixture}


def recipe_of(**search: object) -> ProveRecipe:
    return ProveRecipe().model_copy(update={"search": Search.model_validate(search)})


def test_search_settings_are_candidate_policies():
    kinds = {name: candidates_of(Search.model_validate({"policy": name, "retries": 2})) for name in POLICIES}
    assert {name: type(kind) for name, kind in kinds.items()} == POLICIES
    flat = kinds["flat"]
    assert isinstance(flat, Flat)
    assert flat.actor == Sampling(
        n=Search().flat, beam=True, temperature=1.0, top_p=1.0, max_new_tokens=Search().max_tactic_tokens
    )


def test_search_settings_are_rules_and_a_ranker():
    bounds: dict[str, object] = {"calls": 0, "tokens": 7, "steps": 8, "seconds": 9.0}
    own: dict[str, object] = {"moves": 5, "flat_from": 0, "goals_from": 3, "flat_weight": 1.0, "length_norm": 0.25}
    shape: dict[str, object] = {"width": 2, "live": 3, "retries": 6, "dedup": False, "algorithm": "mcts", "puct": 2.5}
    recipe = ProveRecipe.model_validate(
        {"search": bounds | own | shape, "roles": {"target": "state"}, "policy": {"max_prompt_tokens": 777}}
    )
    prover = prover_of(recipe, KernelEnv())
    rules = prover.rules
    assert rules.budget == Budget(calls=None, tokens=7, steps=8, seconds=9.0)
    assert (rules.moves, rules.max_bytes, rules.width, rules.live, rules.retries, rules.dedup) == (5, 777, 2, 3, 6, False)
    assert rules.algorithm() == Mcts(c=2.5)
    assert prover.ranker == Ranker(target="state", flat_weight=1.0, length_norm=0.25)
    assert isinstance(prover.policy, Mixture)
    assert (prover.policy.flat_from, prover.policy.goals_from, prover.policy.flat.length_norm) == (0, 3, 0.25)
    plain = prover_of(ProveRecipe(), KernelEnv())
    assert plain.ranker == Ranker(target=ProveRecipe().roles.target, flat_weight=0.0, length_norm=0.5)
    assert plain.rules.algorithm() == BestFirst()


@pytest.mark.parametrize(("policy", "moves", "ranks", "retries"), [
    ("mixture", 5, True, 2), ("moves", 5, False, 0), ("flat", 0, False, 2), ("rir", 0, False, 2), ("joint", 0, False, 2),
])  # fmt: skip
def test_moves_and_a_ranker_belong_to_the_mixture(policy: str, moves: int, ranks: bool, retries: int):
    prover = prover_of(recipe_of(policy=policy, moves=5, retries=2), KernelEnv())
    assert (prover.rules.moves, prover.ranker is not None, prover.rules.retries) == (moves, ranks, retries)


def test_the_rival_is_the_flat_prover_alone():
    recipe = recipe_of(flat=3, targets=4, tactics=2, calls=99)
    rival = flat_rival(recipe)
    assert (rival.search.policy, rival.search.flat, rival.search.calls) == ("flat", 3, 99)
    assert rival.model_copy(update={"search": recipe.search}) == recipe
    prover = prover_of(rival, KernelEnv())
    assert isinstance(prover.policy, Flat)
    assert (prover.rules.moves, prover.ranker) == (0, None)


EASY = [
    "1 + 1 = 2",
    "forall p, p -> p",
    "forall p q, p /\\ q -> q /\\ p",
    "forall p q, p \\/ q -> q \\/ p",
    "forall x, x + 0 = x",
    "forall x y, S x = S y -> x = y",
]


def test_moves_alone_prove_without_a_model():
    env = KernelEnv(LIBRARY)
    asked = [make_task(text) for text in [*EASY, "forall p, p"]]
    attempts = prover_of(recipe_of(policy="moves", steps=2000), env).attempt(asked, NoModel(), 0)
    verdicts = ProofJudge(env).judge(asked, attempts)
    assert [verdict.solved for (verdict,) in verdicts] == [True] * len(EASY) + [False]
    assert attempts[-1][0].stats["status"] == "exhausted"
    for (attempt,) in attempts:
        assert (attempt.stats["calls"], attempt.stats["weighed"], attempt.stats["planner_s"]) == (0, 0, 0.0)
        assert {step.role for step in attempt.steps} <= {"move"}


def test_a_model_that_knows_nothing_proves_with_moves():
    """Every tactic it writes is refused, and every byte that it reads is as likely as any other one."""
    env, recipe = KernelEnv(LIBRARY), recipe_of(calls=200)
    tasks = [make_task(text) for text in EASY] + list(split("test"))[:6]
    model = ScriptedModel(lambda prompt, role, rng: f"{rng.random()}")
    prover = prover_of(recipe, env)
    prover = replace(prover, rules=replace(prover.rules, clock=lambda: 0.0))
    attempts = prover.attempt(tasks, model, 0)
    verdicts = ProofJudge(env).judge(tasks, attempts)
    for (attempt,), (verdict,) in zip(attempts, verdicts, strict=True):
        assert verdict.solved == (attempt.stats["status"] == "proved")
        assert all(step.role == "move" and step.logprob <= 0.0 for step in attempt.steps)
    assert all(verdict.solved for (verdict,) in verdicts[: len(EASY)])
    assert any(attempt.stats["weighed"] for (attempt,) in attempts)
    assert prover.attempt(tasks[::-1], model, 0) == attempts[::-1]


def test_the_pool_is_gone_through_again():
    recipe = ProveRecipe.model_validate({"data": {"per_round": 2}})
    tasks = [make_task(str(number)) for number in range(3)]
    assert [[task.text for task in pool_of(recipe, number, tasks)] for number in (1, 2, 3)] == [
        ["0", "1"],
        ["2", "0"],
        ["1", "2"],
    ]


def test_premises_of_the_novel_split_are_taught_by_nothing():
    taught = {name for task in split("train") for name in task.meta["premises"]}
    assert not taught & RESERVED
    assert all(RESERVED & set(task.meta["premises"]) for task in split("novel"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--data.per_round=99", "data.pool has 4 different statements and a round searches 99"),
        ("--data.traces=world:test", "has no proofs"),
        ("--data.traces=pool.jsonl", "is not a trace"),
        ("--data.traces=", "has random weights"),
        ("--data.pool=world:chess", "has no split 'chess'"),
    ],
)
def test_mistakes_are_told(here: Path, sparring: Sparring, override: str, words: str, tmp_path: Path):
    code, _, err = sparring("play", "small.toml", override, f"--run.folder={tmp_path}")
    assert code == 2
    assert words in err


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learner": {"loss": "dpo"}}, "learner.loss is dpo; the prove game teaches demonstrations, so set it to sft"),
        ({"search": {"targets": 0}}, "search.targets 0 leaves search.policy mixture without candidates"),
        ({"search": {"flat_weight": 1.5}}, "search.flat_weight = 1.5"),
        ({"search": {"flat_weight": -0.1}}, "search.flat_weight = -0.1"),
        ({"search": {"moves": -1}}, "search.moves = -1"),
        ({"search": {"again": 1.0}}, "unknown key search.again"),
        ({"solver": {"n": 3}}, "unknown key solver"),
    ],
)
def test_impossible_recipes(values: dict[str, dict[str, object]], words: str):
    from sparring.recipe import parse_recipe

    with pytest.raises(SparringError) as refused:
        parse_recipe({"game": "prove", **values})
    assert words in str(refused.value)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_is_a_recipe_s(policy: str):
    recipe = ProveRecipe.model_validate({"search": {"policy": policy}})
    assert recipe.search.policy == policy


def test_a_statement_that_is_none_is_refused_with_its_line(here: Path, tmp_path: Path):
    (tmp_path / "bad.jsonl").write_text('{"text": "forall p, p -> p"}\n{"text": "forall p, p ->"}\n')
    with pytest.raises(SparringError, match=r"line 2: 'forall p, p ->' cannot be judged"):
        theorems(str(tmp_path / "bad.jsonl"), KernelTheory(), "data.pool")


def test_the_plan_names_every_part():
    plan = prove(ProveRecipe())
    assert set(plan.evals) == {"test", "novel", "hard"}
    assert set(plan.rivals) == {"flat"}
    assert prove(ProveRecipe.model_validate({"search": {"policy": "flat"}})).rivals == {}
