"""What the words world's starting policy is made of: demonstrations, the symbolic creator, the tokenizer, the network."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.creators.templates import OPERATORS, request
from sparring.worlds.checkpoint import make_tokenizer, save_untrained
from sparring.worlds.demonstrations import STAGES, answer, creator_prompt, demonstrations, flawed_answer
from sparring.worlds.evolution import EVOLUTIONS, evolve_program, mutate
from sparring.worlds.operations import OPERATIONS, rarity
from sparring.worlds.splits import HARD, HUMAN, draw_programs, held_out, split
from sparring.worlds.theorem_policy import save_untrained as save_theorem_policy
from sparring.worlds.tiny import Shape
from sparring.worlds.words import MAX_DEPTH, Program, equivalence_key, grade, parse, read, run, say, task_of

Shown = tuple[str | None, Program, str]
"""The operator (None: the solver is asked), the program of the prompt, the completion."""


def drawn(seed: int, hard: bool = False) -> Program:
    return next(draw_programs(Random(seed), HARD if hard else HUMAN))


# ------------------------------------------------------------------------------------------------------ demonstrations


def _shown(prompt: str, completion: str) -> Shown:
    operator, colon, text = prompt.partition(": ")
    return (operator.lower(), parse(text), completion) if colon else (None, parse(prompt), completion)


@pytest.fixture(scope="module")
def shown() -> dict[bool, list[Shown]]:
    """The first 5,000 demonstrations of every stage; True: of mixed quality."""
    found: dict[bool, list[Shown]] = {True: [], False: []}
    for stage in STAGES:
        found[stage.flawed] += [_shown(demo.prompt, demo.completion) for demo in islice(demonstrations(stage, seed=1), 5000)]
    return found


def right_share(asked: list[Shown]) -> float:
    return fmean(grade(task_of(program), completion)[1] for _, program, completion in asked)


def to_solver(shown: list[Shown]) -> list[Shown]:
    return [item for item in shown if item[0] is None]


def to_creator(shown: list[Shown]) -> list[Shown]:
    return [item for item in shown if item[0] is not None]


def test_no_demonstration_asks_for_or_shows_an_evaluation_task(shown: dict[bool, list[Shown]]):
    texts = {found.text for name in ("easy", "hard") for found in split(name)}
    for operator, program, completion in (*shown[True], *shown[False]):
        assert equivalence_key(program) not in held_out()
        assert say(program) not in texts
        if operator:
            assert equivalence_key(parse(completion)) not in held_out()


def test_what_evolves_into_an_evaluation_task_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    held = [parse(found.text) for found in split("hard")[:20]]

    def evolve(program: Program, operator: str, rng: Random) -> Program | None:
        return rng.choice([*held, None, parse("Reverse the word stone.")])

    monkeypatch.setattr("sparring.worlds.demonstrations.evolve_program", evolve)
    found = [_shown(demo.prompt, demo.completion) for demo in islice(demonstrations(STAGES[-1], seed=1), 100)]
    assert {completion for operator, _, completion in found if operator} == {"Reverse the word stone."}


def test_textbook_answers_are_right_and_show_the_work(shown: dict[bool, list[Shown]]):
    asked = to_solver(shown[False])
    assert right_share(asked) == 1.0
    assert all(completion == answer(program) for _, program, completion in asked)
    assert answer(parse("Reverse the word stone, then write it in capitals.")) == "enots -> ENOTS"


def test_the_web_is_right_less_often_the_deeper_and_the_rarer(shown: dict[bool, list[Shown]]):
    asked = to_solver(shown[True])
    assert 0.25 < right_share(asked) < 0.85
    by_depth = [right_share([item for item in asked if item[1].depth == depth]) for depth in (1, 2, 3, MAX_DEPTH)]
    assert by_depth == sorted(set(by_depth), reverse=True)
    single = [item for item in asked if item[1].depth == 1]
    common, rare = ([item for item in single if (rarity(item[1].steps[0].op) > 0.6) == above] for above in (False, True))
    assert right_share(common) > right_share(rare) + 0.1


def test_nearly_all_operations_and_depths_are_shown(shown: dict[bool, list[Shown]]):
    # Otherwise preference optimisation would have nothing to bring out.
    for kind in (True, False):
        asked = to_solver(shown[kind])
        assert {step.op for _, program, _ in asked for step in program.steps} == set(OPERATIONS)
        assert {program.depth for _, program, _ in asked} == set(range(1, MAX_DEPTH + 1))


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 10**6))
def test_flaws_never_leave_an_answer_out(seed: int):
    program = drawn(seed, hard=seed % 2 == 0)
    text = flawed_answer(program, Random(seed))
    assert len(text.split(" -> ")) in (program.depth, program.depth - 1)


def test_creators_are_shown_good_work(shown: dict[bool, list[Shown]]):
    for kind in (True, False):
        asked = to_creator(shown[kind])
        counts = Counter(operator for operator, _, _ in asked)
        assert set(counts) == set(EVOLUTIONS)
        assert min(counts.values()) > 0.5 * max(counts.values())
        for _, program, completion in asked:
            child = parse(completion)
            run(child)
            assert child != program


def test_demonstrations_are_asked_for_as_the_creator_asks():
    for operator in OPERATORS:
        assert creator_prompt(operator, "Reverse the word stone.") == request("short", operator, "Reverse the word stone.")


def test_the_seed_decides():
    stage = STAGES[-1]
    one, same, other = (list(islice(demonstrations(stage, seed), 20)) for seed in (1, 1, 2))
    assert one == same != other


# -------------------------------------------------------------------------------------------------- symbolic operators


def without(program: Program, place: int) -> tuple[object, ...]:
    return (*program.steps[:place], *program.steps[place + 1 :])


def is_total(program: Program) -> bool:
    return OPERATIONS[program.steps[-1].op].gives == "total"


def check_one_step_more(parent: Program, child: Program) -> None:
    assert child.operand == parent.operand
    assert child.depth == parent.depth + 1
    assert parent.steps in [without(child, place) for place in range(child.depth)]


def check_one_step_more_at_the_end(parent: Program, child: Program) -> None:
    check_one_step_more(parent, child)
    # A total has to stay the last: nothing can be done to it.
    place = parent.depth - 1 if is_total(parent) else parent.depth
    assert without(child, place) == parent.steps


def check_particular(parent: Program, child: Program) -> None:
    assert child.operand == parent.operand
    assert child.depth == parent.depth
    changed = [new for old, new in zip(parent.steps, child.steps, strict=True) if old != new]
    assert len(changed) == 1
    assert changed[0].args


def check_more_material(parent: Program, child: Program) -> None:
    assert child.steps == parent.steps
    assert len(child.operand) > len(parent.operand)
    assert child.operand[: len(parent.operand)] == parent.operand


def check_same_kind(parent: Program, child: Program) -> None:
    assert type(child.operand) is type(parent.operand)
    assert child.depth == parent.depth


CHECKS = {
    "constrain": check_one_step_more_at_the_end,
    "deepen": check_one_step_more_at_the_end,
    "reason": check_one_step_more,
    "concretise": check_particular,
    "expand": check_more_material,
    "breadth": check_same_kind,
}


def test_operators_are_those_of_the_templates():
    assert set(EVOLUTIONS) == set(OPERATORS) == set(CHECKS)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**6), hard=st.booleans(), operator=st.sampled_from(OPERATORS))
def test_an_operator_does_what_its_name_says(seed: int, hard: bool, operator: str):
    parent = drawn(seed, hard)
    child = evolve_program(parent, operator, Random(seed))
    if child is not None:
        assert child != parent
        run(child)
        CHECKS[operator](parent, child)


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_nearly_always_finds_something(operator: str):
    parents = [parent for seed in range(150) if (parent := drawn(seed, hard=seed % 3 == 0)).depth < MAX_DEPTH]
    found = [evolve_program(parent, operator, Random(seed)) for seed, parent in enumerate(parents)]
    assert sum(child is not None for child in found) > 0.9 * len(found)


def test_breadth_goes_to_rarer_operations():
    parents = [drawn(seed) for seed in range(100)]
    children = [child for seed, parent in enumerate(parents) if (child := evolve_program(parent, "breadth", Random(seed)))]
    before, after = (fmean(rarity(step.op) for program in made for step in program.steps) for made in (parents, children))
    assert after > before + 0.1


@pytest.mark.parametrize("operator", ["constrain", "deepen", "reason"])
def test_nothing_is_deeper_than_the_deepest(operator: str):
    text = "Put z after the word it" + "".join(f", then put {letter} after it" for letter in "abcde") + "."
    assert parse(text).depth == MAX_DEPTH
    assert evolve_program(parse(text), operator, Random(0)) is None
    assert mutate(text, operator, 0) == ""


@pytest.mark.parametrize("operator", OPERATORS)
def test_mutating_text(operator: str):
    text = "Reverse the word stone, then write it in capitals."
    found = mutate(text, operator, 0)
    assert isinstance(read(found), dict)
    assert found == mutate(text, operator, 0)
    assert len({mutate(text, operator, seed) for seed in range(10)}) > 1
    for garbage in ("", "Write a poem about autumn.", "Reverse the word stone, then bake it.", "\x00", "{x}", "9" * 10_000):
        assert mutate(garbage, operator, 0) == ""


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), operator=st.sampled_from(OPERATORS))
def test_mutating_what_cannot_be_graded_gives_nothing_or_something_that_can(seed: int, operator: str):
    for text in ("Reverse the word stone, then reverse it.", "Sort the numbers 2.", "Drop the first letter of the word a."):
        found = mutate(text, operator, seed)
        assert found == "" or isinstance(read(found), dict)


# -------------------------------------------------------------------------------------------- tokenizer and checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained")
    save_untrained(folder, seed=3)
    return folder


def texts() -> list[str]:
    programs = [drawn(seed, hard=seed % 2 == 0) for seed in range(120)]
    prompts = [say(program) for program in programs]
    answers = [answer(program) for program in programs]
    flawed = [flawed_answer(program, Random(seed)) for seed, program in enumerate(programs)]
    asked = [creator_prompt(OPERATORS[place % len(OPERATORS)], prompt) for place, prompt in enumerate(prompts)]
    return [*prompts, *answers, *flawed, *asked, "ENOTS", "Stone, (or 12)!", "12345", "aWRITEb", "reverse reversed"]


def test_the_tokenizer_gives_back_what_it_was_given():
    tokenizer = make_tokenizer()
    for text in texts():
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


def test_words_numbers_and_arrows_are_one_token_each():
    tokenizer = make_tokenizer()
    assert tokenizer.tokenize("Reverse the numbers 3 12, then sort them.") == [
        *("Reverse", " the", " numbers", " 3", " 12", ",", " then", " sort", " them", "."),
    ]
    assert tokenizer.tokenize("enots -> ENO") == [*"enots", " -> ", *"ENO"]
    # Only whole words: a learner has to see the letters of what it is asked to spell.
    assert tokenizer.tokenize("sorted") == [*"sorted"]


def test_the_chat_template_has_one_turn_and_its_end():
    tokenizer = make_tokenizer()
    turns = [{"role": "user", "content": "Sort the numbers 2 1."}, {"role": "assistant", "content": "1 2"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == "<user>Sort the numbers 2 1.<assistant>1 2<eos>"
    opened = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert opened == "<user>Sort the numbers 2 1.<assistant>"


def test_the_untrained_checkpoint_loads(checkpoint: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    assert 0.5e6 < sum(weight.numel() for weight in model.parameters()) < 2e6
    assert tokenizer.get_vocab() == make_tokenizer().get_vocab()
    assert model.config.vocab_size == len(tokenizer)
    assert (model.config.eos_token_id, model.config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    for text in texts()[::20]:
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text
    longest = max(len(tokenizer.encode(text)) for text in texts())
    assert 2 * longest < model.config.max_position_embeddings


def test_the_untrained_checkpoint_depends_on_its_seed_alone(checkpoint: Path, tmp_path: Path):
    import torch

    def digest(folder: Path) -> str:
        return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()

    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    save_untrained(tmp_path / "same", seed=3)
    assert torch.equal(before, torch.random.get_rng_state())
    save_untrained(tmp_path / "other", seed=4)
    assert digest(tmp_path / "same") == digest(checkpoint) != digest(tmp_path / "other")


# ---------------------------------------------------------------------------------------------- the theorem policy


def test_the_theorem_policy_has_the_size_asked_for(tmp_path: Path):
    from transformers import AutoModelForCausalLM

    save_theorem_policy(tmp_path / "usual", seed=1)
    save_theorem_policy(tmp_path / "same", seed=1, shape=Shape(hidden=128, layers=4, heads=4))
    save_theorem_policy(tmp_path / "small", seed=1, shape=Shape(hidden=24, layers=2, heads=3))
    usual, same, small = (AutoModelForCausalLM.from_pretrained(tmp_path / name).config for name in ("usual", "same", "small"))
    assert (tmp_path / "usual/model.safetensors").read_bytes() == (tmp_path / "same/model.safetensors").read_bytes()
    assert (usual.hidden_size, usual.intermediate_size, usual.num_hidden_layers, usual.num_attention_heads) == (128, 384, 4, 4)
    assert (small.hidden_size, small.intermediate_size, small.num_hidden_layers, small.num_attention_heads) == (24, 72, 2, 3)
    assert usual.max_position_embeddings == same.max_position_embeddings == small.max_position_embeddings == 2048
