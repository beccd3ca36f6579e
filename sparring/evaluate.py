"""``sparring eval``: score a run's last policy, or any model, on tasks or on a suite."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from sparring.config import AlignRecipe, Endpoint, Evaluation, Policy, Recipe
from sparring.data import load_function
from sparring.engines import Forgiving, Local
from sparring.errors import SparringError
from sparring.evals.alpaca import AlpacaEval, check_likelihoods
from sparring.evals.answers import own_answers, read_answers
from sparring.evals.arena_hard import ArenaHard
from sparring.evals.embedded import Judged, row_of
from sparring.evals.embedded import report as report_judged
from sparring.evals.length_control import read_gamed
from sparring.evals.mt_bench import MTBench
from sparring.evals.players import Player, Price, Seated, Stage, Store, fingerprint_folder
from sparring.evals.prompt_scores import PromptScores
from sparring.evals.questions import find_file, read_questions, with_references
from sparring.evals.suite import Players, Question, Result, Row, Seat, Suite, run
from sparring.game import Bout, Model, Sampling, stable_hash
from sparring.games.judging import unchecked_judge
from sparring.games.sources import read_source
from sparring.models.folders import resolve_policy
from sparring.recipe import apply_overrides, parse_recipe
from sparring.records import BOUTS, TASKS, write_parquet
from sparring.rundir import RunDir, Watch, commit, commit_text, round_name
from sparring.session import calls_path, read_recipe
from sparring.solvers.respond import Responder

# -- tasks --------------------------------------------------------------------------------------------------------------


def last_policy(root: Path) -> Path:
    found = [path for number in RunDir(root).rounds() if (path := root / round_name(number) / "policy").is_dir()]
    if not found:
        raise SparringError(f"{root} has no finished policy yet; play it further with: sparring resume {root}")
    return found[-1]


def evaluate_policy(
    model: str, tasks: str, n: int, overrides: Sequence[str], watch: Watch
) -> tuple[Path, AlignRecipe, list[Bout]]:
    """The policy that was meant, how it was judged, and its bouts: by a run's own recipe, or the default one."""
    root = Path(model).expanduser()
    recipe = _recipe(read_recipe(root) if _is_run(model) else AlignRecipe(), overrides, root)
    policy = _policy(model, "MODEL")
    suite = _judged(tasks, tasks, "--tasks", n, recipe, watch)
    with Local(recipe.policy).serve(policy) as served:
        return policy, recipe, suite.bouts(served)


def _is_run(model: str) -> bool:
    return (Path(model).expanduser() / "run.toml").is_file()


def _policy(model: str, key: str) -> Path:
    return last_policy(Path(model).expanduser()) if _is_run(model) else resolve_policy(model, key)


def _recipe(base: Recipe, overrides: Sequence[str], root: Path) -> AlignRecipe:
    recipe = parse_recipe(apply_overrides(base.model_dump(mode="json"), overrides), "sparring eval")
    if not isinstance(recipe, AlignRecipe):
        raise SparringError(f"{root} is a run of the {recipe.game} game; `sparring eval` scores answers to prompts")
    return recipe


def _judged(name: str, tasks: str, key: str, n: int, recipe: AlignRecipe, watch: Watch) -> Judged:
    """Tasks that the recipe's judge judges, answered ``n`` times: greedily for once, as the recipe's solver samples for more."""
    read = load_function(recipe.data.read, "data.read") if recipe.data.read else None
    how = Sampling(
        n=n,
        temperature=0.0 if n == 1 else recipe.solver.temperature,
        top_p=1.0 if n == 1 else recipe.solver.top_p,
        max_new_tokens=recipe.evaluation.max_new_tokens,
    )
    return Judged(
        name=name,
        tasks=read_source(tasks, read, key),
        solver=Responder(how),
        judge=unchecked_judge(recipe.judge, calls_path(recipe), recipe.run.seed),
        n=n,
        seed=stable_hash(recipe.run.seed, "eval"),
        shard=recipe.run.shard_tasks,
        watch=watch,
    )


def write_bouts(path: Path, bouts: Sequence[Bout]) -> None:
    commit(path, lambda partial: write_parquet(partial, bouts, BOUTS))


def report(bouts: Sequence[Bout], n: int, how: Evaluation) -> tuple[str, ...]:
    """Lines that say how ``n`` answers per task did. Faults are counted and are no wrong answers."""
    return report_judged([row_of(bout) for bout in bouts], n, how).lines


# -- suites -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line was told. A model is a run, a checkpoint folder, a hub name, a server's address or a file of answers."""

    suite: str
    model: str = ""
    baseline: str = ""
    judge: str = ""
    questions: str = ""
    """A file, ``hub:...``, or for ``prompts`` also a run; empty: where the suite's own questions are published."""
    reference: str = ""
    """MT-Bench: a file of reference answers. AlpacaEval: the table df_gamed.csv."""
    weighted: bool = False
    cache: Path | None = None
    """The folder of what is kept between evaluations; None: evals/ where the runs lie."""
    out: Path | None = None
    overrides: tuple[str, ...] = ()


Build = Callable[[Asked, AlignRecipe], Suite]

DEFAULTS = ("--evaluation.max_new_tokens=2048", "--judge.max_new_tokens=1024", "--policy.max_prompt_tokens=8192")
"""What differs from a recipe's defaults, which are those of the embedded world."""
ARENA_HARD = "hub:datasets/lmarena-ai/arena-hard-auto/data/arena-hard-{}/question.jsonl"
MT_BENCH = "hub:spaces/lmsys/mt-bench/data/mt_bench/question.jsonl"
ALPACA_EVAL = "hub:datasets/tatsu-lab/alpaca_eval/alpaca_eval_gpt4_baseline.json"
ALPACA_GAMED = "hub:datasets/tatsu-lab/alpaca_eval/df_gamed.csv"


def _questions(asked: Asked, published: str) -> list[Question]:
    return read_questions(find_file(asked.questions or published, "--questions"))


def _arena_hard(asked: Asked, recipe: AlignRecipe, *, version: str) -> Suite:
    return ArenaHard(
        name=asked.suite,
        questions=_questions(asked, ARENA_HARD.format(version)),
        max_new_tokens=recipe.evaluation.max_new_tokens,
        judge_tokens=recipe.judge.max_new_tokens,
        by_category=version == "v2.0",
    )


def _alpaca_eval(asked: Asked, recipe: AlignRecipe) -> Suite:
    # The table is of the published questions alone.
    table = asked.reference or ("" if asked.questions else ALPACA_GAMED)
    return AlpacaEval(
        questions=_questions(asked, ALPACA_EVAL),
        max_new_tokens=recipe.evaluation.max_new_tokens,
        weighted=asked.weighted,
        gamed=read_gamed(find_file(table, "--reference")) if table else None,
    )


def _mt_bench(asked: Asked, recipe: AlignRecipe) -> Suite:
    questions = _questions(asked, MT_BENCH)
    if asked.reference:
        questions = with_references(questions, find_file(asked.reference, "--reference"))
    return MTBench(questions=questions, max_new_tokens=recipe.evaluation.max_new_tokens, judge_tokens=recipe.judge.max_new_tokens)


def _prompts(asked: Asked, recipe: AlignRecipe) -> Suite:
    if not asked.questions:
        raise SparringError("--questions is missing: name a file of prompts, or a run whose created prompts are to be scored")
    questions = created_prompts(Path(asked.questions).expanduser()) if _is_run(asked.questions) else _questions(asked, "")
    return PromptScores(questions=questions, judge_tokens=recipe.judge.max_new_tokens)


def _world(asked: Asked, recipe: AlignRecipe) -> Suite:
    return _judged(asked.suite, asked.suite, "--suite", 1, recipe, Watch())


SUITES: dict[str, Build] = {
    "arena-hard": partial(_arena_hard, version="v0.1"),
    "arena-hard-v2": partial(_arena_hard, version="v2.0"),
    "alpaca-eval": _alpaca_eval,
    "mt-bench": _mt_bench,
    "prompts": _prompts,
    "world:easy": _world,
    "world:hard": _world,
}


def created_prompts(root: Path) -> list[Question]:
    """The prompts that a run began with and those that it created and accepted, by round."""
    run_dir = RunDir(root)
    groups = {"seed": run_dir.read("prompts/human", TASKS) or []}
    for number in run_dir.rounds():
        created = run_dir.read_round(number, "proposals", TASKS) or []
        groups[f"round {number}"] = [task for task in created if task.rejected is None]
    found = {(group, task.id): task.text for group, tasks in groups.items() for task in tasks}
    if not found:
        raise SparringError(f"{root} has no prompts yet; play it further with: sparring resume {root}")
    return [Question(id=f"{group} {name}", turns=(text,), category=group) for (group, name), text in found.items()]


def evaluate_suite(asked: Asked, watch: Watch, tell: Callable[[str], None]) -> Result:
    """Plays a suite: says what it may cost, asks for what is not kept yet, says what came of it and what it did cost."""
    if asked.suite not in SUITES:
        raise SparringError(f"--suite = {asked.suite!r}: there is no such suite; there are {', '.join(SUITES)}")
    if asked.weighted and asked.suite != "alpaca-eval":
        raise SparringError(f"--weighted: {asked.suite} has no two letters to weigh; leave it out, or play --suite alpaca-eval")
    defaults = () if asked.suite.startswith("world:") else DEFAULTS
    recipe = _recipe(_base(asked.model), (*defaults, *asked.overrides), Path(asked.model))
    cache = asked.cache or Path(recipe.run.folder).expanduser() / "evals"
    suite = SUITES[asked.suite](asked, recipe)
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store(cache / "answers.sqlite")))
        stage = stack.enter_context(closing(Stage()))
        seats = {seat: _seat(seat, asked, suite, recipe, cache) for seat in suite.seats}
        players = {seat: Player(seated, store, stage, watch) for seat, seated in seats.items()}
        if asked.weighted:
            _check_weighted(players["judge"])
        planned = {seat: player.planned() for seat, player in players.items()}
        tell(f"{suite.name}: {len(suite.questions)} questions; still to be asked:")
        suite.play(_players(planned))
        for seat, plan in planned.items():
            tell(plan.spent.planned_line(f"{seat} {plan.seated.name}", plan.seated.price))
        result = run(suite, _players(players), recipe.evaluation)
    if asked.out is not None:
        write_rows(asked.out, result.rows)
    for line in (
        f"{suite.name}: " + ", ".join(f"{seat} {seated.name}" for seat, seated in seats.items()),
        *result.lines,
        "spent:",
    ):
        tell(line)
    for seat, player in players.items():
        tell(player.spent.line(f"{seat} {player.seated.name}", player.seated.price))
    return result


def _base(model: str) -> Recipe:
    """A run's model is loaded as it was played; all else is no business of a suite."""
    if not _is_run(model):
        return AlignRecipe()
    recipe = read_recipe(Path(model).expanduser())
    return AlignRecipe(policy=recipe.policy) if isinstance(recipe, AlignRecipe) else recipe


def _players(seats: Mapping[str, Model]) -> Players:
    return Players(model=seats.get("model"), baseline=seats.get("baseline"), judge=seats.get("judge"))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    commit_text(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


# -- seats --------------------------------------------------------------------------------------------------------------


def _seat(seat: Seat, asked: Asked, suite: Suite, recipe: AlignRecipe, cache: Path) -> Seated:
    """Who plays there; raises SparringError for nobody."""
    spec: str = {"model": asked.model, "baseline": asked.baseline, "judge": asked.judge}[seat]
    if not spec and seat == "baseline" and all(question.ready is not None for question in suite.questions):
        ready = own_answers(suite.questions, "the question file")
        name = suite.questions[0].by or "of the question file"
        return Seated(name=name, fingerprint="the question file", enter=_always(ready), free=True)
    if not spec:
        raise SparringError(f"--{seat} is missing: {suite.name} needs {', '.join('--' + name for name in suite.seats)}")
    if spec.startswith(("http://", "https://")):
        return _server(spec, recipe.judge.endpoint if seat == "judge" else recipe.policy.server, cache)
    if spec.endswith((".json", ".jsonl")):
        answers = read_answers(find_file(spec, f"--{seat}"), suite.questions)
        return Seated(name=Path(spec).stem, fingerprint=spec, enter=_always(answers), free=True)
    folder = _policy(spec, f"--{seat}")
    name = f"{fingerprint_folder(folder)} {recipe.policy.dtype} {recipe.policy.chat_template}"
    return Seated(name=spec, fingerprint=name, enter=partial(_local, folder, recipe.policy))


def _check_weighted(judge: Player) -> None:
    """Before answers are paid for that cannot be judged. A checkpoint can always say what it finds likely."""
    if judge.seated.billed or judge.seated.free:
        check_likelihoods(judge)


def _always(model: Model) -> Callable[[], AbstractContextManager[Model]]:
    return partial(nullcontext, model)


def _server(spec: str, settings: Endpoint, cache: Path) -> Seated:
    """``http://HOST/v1`` or ``http://HOST/v1#MODEL``; limits, prices and the key are those of ``settings``."""
    from sparring.models.asking import Asker
    from sparring.models.ledger import Ledger
    from sparring.models.openai import OpenAIModel

    url, _, model = spec.partition("#")
    endpoint = settings.model_copy(update={"url": url, "model": model or settings.model})
    ledger = Ledger(cache)
    if not endpoint.model:  # what it serves is part of who it is
        listed = Asker(endpoint, ledger).run(lambda call: call.models(endpoint.retries))
        if len(listed) != 1:
            names = ", ".join(name for name, _ in listed[:8]) or "none"
            raise SparringError(f"{url} lists {len(listed)} models ({names}); name one, as in {url}#NAME")
        endpoint = endpoint.model_copy(update={"model": listed[0][0]})
    served = OpenAIModel(endpoint, ledger)
    return Seated(
        name=endpoint.model,
        fingerprint=json.dumps([url, endpoint.model, endpoint.api, endpoint.extra], sort_keys=True),
        enter=_always(served),
        price=Price(prompt=endpoint.usd_per_million_prompt, completion=endpoint.usd_per_million_completion),
        billed=lambda: (served.usage().prompt_tokens, served.usage().completion_tokens),
    )


@contextlib.contextmanager
def _local(folder: Path, policy: Policy) -> Generator[Model]:
    with Local(policy).serve(folder) as model:
        yield Forgiving(model)
