"""Recipes: what is written comes back, and what is wrong is named with its repair."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from sparring import config
from sparring.config import AlignRecipe
from sparring.config_prove import ProvePolicy
from sparring.creators.templates import OPERATORS
from sparring.errors import SparringError
from sparring.recipe import apply_overrides, dump_recipe, load_recipe, parse_override, parse_recipe, recipe_difference


def refused(values: dict[str, Any]) -> str:
    with pytest.raises(SparringError) as raised:
        parse_recipe(values, "my.toml")
    return str(raised.value)


def refused_override(*overrides: str) -> str:
    with pytest.raises(SparringError) as raised:
        parse_recipe(apply_overrides({}, overrides), "my.toml")
    return str(raised.value)


# ---------------------------------------------------------------------------------------------- there and back

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
FRACTIONS = st.floats(0, 1)
RECIPES = st.builds(
    AlignRecipe,
    run=st.builds(
        config.AlignRun, name=TEXT, folder=TEXT, seed=st.integers(0, 2**62), start=st.sampled_from(["incremental", "scratch"])
    ),
    data=st.builds(
        config.Data, prompts=TEXT, evals=st.dictionaries(st.from_regex(r"\A[A-Za-z0-9_-]{1,5}\Z"), TEXT, max_size=3), read=TEXT
    ),
    creator=st.builds(
        config.Creator,
        operators=st.lists(st.sampled_from(OPERATORS), min_size=1, max_size=3).map(tuple),
        uniform=FRACTIONS,
        temperature=st.floats(1e-9, 1e9),
    ),
    learner=st.builds(config.Learner, lr=st.floats(1e-12, 1e3), nll=st.floats(0, 1e300), lora_rank=st.integers(0, 64)),
)


@settings(max_examples=60, deadline=None)
@given(recipe=RECIPES)
def test_a_dumped_recipe_is_the_same_recipe(recipe: AlignRecipe):
    text = dump_recipe(recipe)
    assert parse_recipe(tomllib.loads(text)) == recipe
    assert dump_recipe(parse_recipe(tomllib.loads(text))) == text
    assert recipe_difference(recipe, parse_recipe(tomllib.loads(text))) == {}


def test_the_resolved_recipe_names_every_key():
    values = tomllib.loads(dump_recipe(AlignRecipe()))
    for section, info in AlignRecipe.model_fields.items():
        assert section in values
        if isinstance(info.default, config.Record):
            assert set(values[section]) == set(type(info.default).model_fields)


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[1] / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_the_recipes_that_ship_are_valid(path: Path):
    assert load_recipe(path).game == ("prove" if path.name.startswith("rir") else "align")


def test_every_operator_has_a_template():
    assert get_args(config.Operator) == OPERATORS


def test_a_difference_names_both_values():
    new = parse_recipe({"solver": {"n": 8}, "data": {"evals": {"easy": "world:easy", "mine": "mine.jsonl"}}})
    assert recipe_difference(AlignRecipe(), new) == {
        "solver.n": (6, 8),
        "data.evals.hard": ("world:hard", None),
        "data.evals.mine": (None, "mine.jsonl"),
    }


# ---------------------------------------------------------------------------------------------- overrides


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("--solver.n=8", "solver.n", 8),
        ("--learner.lr=3e-5", "learner.lr", 3e-5),
        ("--creator.kind=symbolic", "creator.kind", "symbolic"),
        ('--creator.kind="symbolic"', "creator.kind", "symbolic"),
        ("--creator.operators=['reason', 'expand']", "creator.operators", ("reason", "expand")),
        ("--judge.controls=", "judge.controls", ""),
        ("--policy.path=a=b", "policy.path", "a=b"),
        # text stays as it was typed, also where it looks like something else
        ("--run.name=2024", "run.name", "2024"),
        ("--run.name=2024-05-01", "run.name", "2024-05-01"),
        ("--run.name=1.50", "run.name", "1.50"),
        ("--run.name=true", "run.name", "true"),
    ],
)
def test_an_override_sets_its_key(text: str, key: str, value: object):
    section, name = key.split(".")
    recipe = parse_recipe(apply_overrides({}, [text]))
    assert getattr(getattr(recipe, section), name) == value


def test_overrides_leave_the_rest_and_the_last_one_wins():
    values = {"solver": {"n": 4, "top_p": 0.5}, "data": {"evals": {"a": "a.jsonl"}}}
    merged = apply_overrides(values, ["--solver.n=5", "--solver.n=6", "--data.evals.b=b.jsonl"])
    assert merged == {"solver": {"n": 6, "top_p": 0.5}, "data": {"evals": {"a": "a.jsonl", "b": "b.jsonl"}}}
    assert values == {"solver": {"n": 4, "top_p": 0.5}, "data": {"evals": {"a": "a.jsonl"}}}


@pytest.mark.parametrize("text", ["solver.n=6", "-n", "6", "--", "--=6", "--solver.=6", "--.n=6"])
def test_what_is_no_override(text: str):
    with pytest.raises(SparringError, match=r"is no override; write --section.key=value without spaces, as in --solver.n=6"):
        parse_override(text)


def test_an_override_in_two_words():
    assert refused_override("--solver.n", "6") == (
        "--solver.n has no value; write it after an equals sign, without spaces: --solver.n=VALUE, as in --solver.n=6"
    )


def test_an_override_that_swallowed_the_recipe(tmp_path: Path):
    """``sparring play --solver.n 6 my.toml``: the command line sees the recipe 6."""
    with pytest.raises(SparringError, match=r"--solver\.n has no value"):
        load_recipe(Path("6"), ["--solver.n", "my.toml"])


def test_an_override_below_a_value():
    assert "--solver.n.x=1: n is a value, not a section" in refused_override("--solver.n=6", "--solver.n.x=1")


# ---------------------------------------------------------------------------------------------- mistakes


def test_a_group_of_one_cannot_give_a_pair():
    wanted = "my.toml: a group of 1 cannot give a pair; set solver.n to at least 2 (--solver.n=6)"
    assert refused({"solver": {"n": 1}}) == wanted
    assert refused_override("--solver.n=1") == wanted


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("solver.num", "solver.n"),
        ("creator.metrics", "creator.metric"),
        ("solver.max_tokens", "solver.max_new_tokens"),
        ("lr", "learner.lr"),
        ("solver.lr", "learner.lr"),
        ("run.shards", "run.shard_tasks"),
        ("solvers", "solver"),
        ("solvr.n", "solver"),
        ("leaner.lr", "learner"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, meant: str):
    words = refused_override(f"--{key}=1")
    assert words.startswith(f"my.toml: unknown key {key.split('.')[0]}")
    assert words.endswith(f"; did you mean {meant}?")


def test_a_key_like_no_other_names_what_there_is():
    assert "unknown key xyzzy; there are run, policy, learner, evaluation" in refused({"xyzzy": 1})
    assert "unknown key policy.xyzzy; there are path, dtype, device" in refused({"policy": {"xyzzy": "a"}})


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--solver.n=six", "solver.n = 'six' should be a valid integer (the default is --solver.n=6)"),
        ("--solver.n=6.5", "solver.n = 6.5 should be a valid integer (the default is --solver.n=6)"),
        ("--solver.n=true", "solver.n = True should be a valid integer"),
        ('--run.rounds="4"', "run.rounds = '4' should be a valid integer"),
        ("--learner.lr=fast", "learner.lr = 'fast' should be a valid number (the default is --learner.lr=0.0001)"),
        ("--learner.lr=0", "learner.lr = 0 should be greater than 0"),
        ("--learner.lr=inf", "learner.lr = inf should be a finite number"),
        ("--learner.lr=nan", "learner.lr = nan should be a finite number"),
        ("--learner.beta=-0.1", "learner.beta = -0.1 should be greater than 0 (the default is --learner.beta=0.1)"),
        ("--creator.fraction=1.5", "creator.fraction = 1.5 should be less than or equal to 1"),
        ("--run.rounds=0", "run.rounds = 0 should be greater than or equal to 1"),
        ("--run.seed=-1", "run.seed = -1 should be greater than or equal to 0"),
        ("--creator.kind=magic", "creator.kind = 'magic' should be 'model', 'symbolic', 'fresh' or 'none'"),
        ("--creator.operators=[]", "creator.operators = [] "),
        ("--game=chess", "game = 'chess'; there are align and prove"),
        ("--solver=6", "solver = 6 but solver is a section; set one of its keys: n, temperature, top_p, max_new_tokens"),
        ("--data.evals.mine=3", "data.evals = 3 should be a valid string"),
        ("--data.evals.a/b=x.jsonl", "data.evals = 'a/b' String should match pattern"),
        ("--run.human_rounds=9", "run.human_rounds 9 is more than run.rounds 4; lower it or play more rounds"),
        ("--data.per_round=1", "draws no prompt to evolve; raise one of them (--creator.fraction=0.5)"),
    ],
)
def test_an_impossible_value_names_the_key_and_the_rule(override: str, words: str):
    assert words in refused_override(override)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (
            {"hidden": 100},
            "policy.heads = 4 does not fit policy.hidden 100, which must be a multiple of twice the heads; set it to 104",
        ),
        (
            {"heads": 3},
            "policy.heads = 3 does not fit policy.hidden 128, which must be a multiple of twice the heads; set it to 132",
        ),
        ({"heads": 128}, "set it to 256 (--policy.hidden=256)"),
        ({"hidden": 0}, "policy.hidden = 0 should be greater than or equal to 1"),
        ({"vocabulary": 500}, "policy.vocabulary = 500 should be greater than or equal to 512"),
    ],
)
def test_sizes_that_no_network_has(policy: dict[str, int], words: str):
    assert words in refused({"game": "prove", "policy": policy})


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"hints": 8}, "env.hints = 8 is for env.kind coq: the kernel retrieves no premises; set it to 0 (--env.hints=0)"),
        ({"kind": "coq", "premises": "none", "hints": 8}, "env.hints = 8 has nothing to show: env.premises is none"),
        ({"kind": "coq", "hints": -1}, "env.hints = -1 should be greater than or equal to 0"),
    ],
)
def test_hints_need_premises(env: dict[str, object], words: str):
    assert words in refused({"game": "prove", "env": env, "creator": {"kind": "none"}})


def test_sizes_that_a_network_has():
    found = parse_recipe({"game": "prove", "policy": {"hidden": 512, "layers": 12, "heads": 8, "vocabulary": 16384}}).policy
    assert isinstance(found, ProvePolicy)
    assert (found.hidden, found.layers, found.heads, found.vocabulary) == (512, 12, 8, 16384)


def test_all_mistakes_are_told_at_once():
    words = refused({"solver": {"n": 1, "m": 2}, "learner": {"lr": -1}})
    assert len(words.splitlines()) == 3


# ---------------------------------------------------------------------------------------------- files


def test_no_such_recipe_names_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SparringError, match=r"no recipe at eva\.toml$"):
        load_recipe(Path("eva.toml"))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "eva-tiny.toml").touch()
    with pytest.raises(SparringError, match=r"no recipe at eva.toml; there are recipes/eva-tiny.toml"):
        load_recipe(Path("eva.toml"))


@pytest.mark.parametrize("text", [b"[solver\nn = 6", b"n = ", b"\xff\xfe", b"n = 1\nn = 2"])
def test_what_is_no_toml(tmp_path: Path, text: bytes):
    path = tmp_path / "a.toml"
    path.write_bytes(text)
    with pytest.raises(SparringError, match=r"a.toml is not a TOML file: "):
        load_recipe(path)


def test_a_folder_is_no_recipe(tmp_path: Path):
    with pytest.raises(SparringError, match="cannot be read: Is a directory"):
        load_recipe(tmp_path)


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf[solver]\nn = 8\n")
    recipe = load_recipe(path, ["--solver.top_p=0.5"])
    assert isinstance(recipe, AlignRecipe)
    assert recipe.solver == config.Solver(n=8, top_p=0.5)
