"""How a model is asked for a prompt, and what is made of its answer."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparring.config import Creator
from sparring.creators.answers import objection_to, unwrap
from sparring.creators.evolve import Evolver, ModelRewriter
from sparring.creators.templates import EXAMPLE_CHARACTERS, OPERATORS, TEMPLATES, load_templates, request
from sparring.errors import SparringError
from sparring.game import Attempt, Bout, Task, Verdict, make_task
from sparring.models.scripted import ScriptedModel
from tests.silent import NoModel

PARENT = "Write a short story about a lighthouse keeper who is afraid of the dark."
CHILD = "Write a short story about a lighthouse keeper who is afraid of the dark, in which nobody speaks."

# -------------------------------------------------------------------------------------------------- templates of a user


def file_of(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


OWN = 'shorten = "Say this in fewer words: {prompt}"\nnext-one = """\nList:\n{examples}\nWrite number {next}."""\n'


def test_a_file_of_templates(tmp_path: Path):
    templates = load_templates(file_of(tmp_path, OWN))
    assert templates.request("shorten", "one {two}") == "Say this in fewer words: one {two}"
    assert templates.request("next-one", "c", ["a", "b {prompt}"]) == "List:\n1. a\n2. b {prompt}\n3. c\nWrite number 4."
    assert not templates.shows_examples("shorten")
    assert templates.shows_examples("next-one")
    assert not templates.bare


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"has no template; write lines like constrain = "),
        ("constrain = ", r"is not TOML in UTF-8"),
        ('constrain = ""', r"'constrain': a template is a text that is not empty"),
        ('constrain = "  "', r"'constrain': a template is a text that is not empty"),
        ("constrain = 3", r"'constrain': a template is a text that is not empty"),
        ('[constrain]\ntext = "{prompt}"', r"'constrain': a template is a text that is not empty"),
        ('ok = "{prompt}"\nbad = "Rewrite {promt}"', r"'bad': neither \{prompt\} nor \{examples\} is in it"),
        ('"a b" = "{prompt}"', r"'a b': an operator's name has letters, digits, _ and - only"),
    ],
)
def test_a_file_that_cannot_serve_says_why(text: str, message: str, tmp_path: Path):
    with pytest.raises(SparringError, match=message):
        load_templates(file_of(tmp_path, text))


def test_what_is_no_file_of_templates(tmp_path: Path):
    with pytest.raises(
        SparringError, match=r"'instrukt' is no set of templates; give short, instruct, self_instruct or a \.toml file"
    ):
        load_templates("instrukt")
    with pytest.raises(SparringError, match=r"missing.toml' cannot be read: No such file"):
        load_templates(str(tmp_path / "missing.toml"))
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9 {prompt}"')
    with pytest.raises(SparringError, match="is not TOML in UTF-8"):
        load_templates(str(tmp_path / "latin.toml"))


def test_operators_are_those_of_the_templates(tmp_path: Path):
    own = file_of(tmp_path, OWN)
    for templates, expected in (("short", OPERATORS), ("self_instruct", ("self_instruct",)), (own, ("shorten", "next-one"))):
        assert tuple(ModelRewriter(Creator(templates=templates)).operators) == expected
    assert tuple(ModelRewriter(Creator(templates=own, operators=("next-one",))).operators) == ("next-one",)
    with pytest.raises(SparringError, match=r"creator.operators has 'dance', 'reason', .* it has shorten, next-one"):
        ModelRewriter(Creator(templates=own, operators=("dance", "shorten", "reason")))
    with pytest.raises(SparringError, match="'dance', for which short has no template; it has constrain, deepen"):
        ModelRewriter(Creator(operators=("dance",)))


# -------------------------------------------------------------------------------------------------------- self-instruct


def requests_of(rewriter: ModelRewriter, tasks: list[Task], operator: str, seed: int = 0) -> list[str]:
    asked: list[str] = []

    def script(prompt: str, role: str, rng: Random) -> str:
        asked.append(prompt)
        return "x"

    rewriter.rewrite(tasks, [operator] * len(tasks), ScriptedModel(script), seed)
    return asked


SELF = ModelRewriter(Creator(templates="self_instruct", tries=1, max_new_tokens=200))


def test_the_list_has_the_parent_last_and_others_that_were_drawn():
    tasks = [make_task(f"prompt {place}") for place in range(20)]
    asked = requests_of(SELF, tasks, "self_instruct")
    for task, text in zip(tasks, asked, strict=True):
        items = text.partition("\n\n")[2].splitlines()
        assert [item.split(". ")[0] for item in items] == [str(number) for number in range(1, 9)]
        assert items[-1] == f"8. {task.text}"
        assert len({item.split(". ")[1] for item in items}) == 8
        assert "Write item 9 alone" in text
    assert asked == requests_of(SELF, tasks, "self_instruct")
    assert asked != requests_of(SELF, tasks, "self_instruct", seed=1)


def test_a_single_prompt_is_a_list_of_its_own():
    asked = requests_of(SELF, [make_task("alone")] * 2, "self_instruct")
    assert asked[0].endswith("Write item 2 alone: no preface, no solution, no further items.\n\n1. alone")


def test_examples_are_whole_and_few_where_prompts_are_long():
    tasks = [make_task(f"{place} " + "word " * 180) for place in range(20)]  # some 900 characters: two fit
    for text in requests_of(SELF, tasks, "self_instruct"):
        assert text.count("word word") > 0
        assert "\n3. " in text
        assert "\n4. " not in text
    enormous = [make_task("x" * (EXAMPLE_CHARACTERS + 1)), make_task("short")]
    assert "1. x" not in requests_of(SELF, enormous, "self_instruct")[1]


def test_the_next_item_is_the_prompt():
    model = ScriptedModel(lambda prompt, role, rng: "Item 3: Plan a picnic\nfor six.\n4. Name a star.\n5. Sing.")
    tasks = [make_task("one"), make_task("two")]
    drafts = SELF.rewrite(tasks, ["self_instruct"] * 2, model, 0)
    assert [text for group in drafts for text, _ in group] == ["Plan a picnic\nfor six."] * 2
    assert drafts[0][0][1] is not None
    assert drafts[0][0][1].text.endswith("5. Sing.")


# ----------------------------------------------------------------------------------------------------- whose model it is


def test_a_creator_of_its_own_is_asked_in_place_of_the_solver():
    own = ScriptedModel(lambda prompt, role, rng: "from the creator")
    drafts = ModelRewriter(Creator(tries=1), own).rewrite([make_task("one")], ["deepen"], NoModel(), 0)
    assert drafts[0][0][0] == "from the creator"
    solver = ScriptedModel(lambda prompt, role, rng: "from the solver")
    assert ModelRewriter(Creator(tries=1)).rewrite([make_task("one")], ["deepen"], solver, 0)[0][0][0] == "from the solver"


def test_a_request_that_is_too_long_is_not_put():
    rewriter = ModelRewriter(Creator(tries=1), refuse=lambda text: "too long" if len(text) > 20 else "")
    model = ScriptedModel(lambda prompt, role, rng: prompt)
    tasks = [make_task("one"), make_task("long " * 9), make_task("two")]
    drafts = rewriter.rewrite(tasks, ["deepen"] * 3, model, 0)
    assert [[text for text, _ in group] for group in drafts] == [["Deepen: one"], [], ["Deepen: two"]]


# ------------------------------------------------------------------------------------------------------------- clean-up


@pytest.mark.parametrize(
    "answer",
    [
        CHILD,
        f"Here is the rewritten task:\n\n{CHILD}",
        f"Sure! Here's a more challenging version of the task: {CHILD}",
        f"Certainly, here is the task:\n{CHILD}",
        f"Sure!\n\n{CHILD}",
        f"Of course.\n{CHILD}",
        f"I've rewritten it for you, as a new task:\n{CHILD}",
        f"#New Prompt#:\n{CHILD}",
        f"#Rewritten Prompt#\n{CHILD}",
        f"**New task:** {CHILD}",
        f"### Rewritten task\n\n{CHILD}",
        f"Rewritten: {CHILD}",
        f"Task: {CHILD}",
        f"Task:\n{CHILD}",
        f'"{CHILD}"',
        f"“{CHILD}”",
        f"**{CHILD}**",
        f"```\n{CHILD}\n```",
        f"```text\n{CHILD}\n```",
        f'Here is the new task:\n\n```\n"{CHILD}"\n```',
        f"<think>\nSilence would be a good one.\n</think>\n\n{CHILD}",
        f"<think>\n</think>New task: {CHILD}",
    ],
)
def test_wrappings_are_taken_off(answer: str):
    assert unwrap(answer, PARENT) == CHILD
    assert objection_to(CHILD, PARENT, TEMPLATES["instruct"]["constrain"], sized=True) == ""


@pytest.mark.parametrize(
    "prompt",
    [
        PARENT,
        "Here is a task list: wash, cook, shop. Sort it by the alphabet.",
        "Here are two numbers: 3 and 4. Which one is larger?",
        "This is my first program:\n```\nprint(1)\n```\nWhat does it do?",
        "```\nprint(1)\n```\nWhat does it do?\n```\n1\n```",
        '"To be" or "not to be"',
        "'Tis the season; what does 'tis' stand for?",
        "Sure, she said. Who said it?",
        "Sort these:\n1. pear\n2. apple\n3. fig",
        "3. Mai oder 4. Mai?",
        "Is the new task force a good idea?",
        "**Note** the **bold** words.",
        "What does <think> mean in a model's answer?",
        "Task: ",
        '""',
        "",
    ],
)
def test_a_prompt_stays_as_it_is(prompt: str):
    assert unwrap(prompt) == prompt.strip()


def test_what_the_parent_begins_with_is_no_wrapping():
    assert unwrap("Question: why is it so?", "Question: what is it?") == "Question: why is it so?"
    assert unwrap('"A" is what?', '"B" is what?') == '"A" is what?'
    assert unwrap("“Why?”", "“What?”") == "“Why?”"


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("9. Name a star.", "Name a star."),
        ("**9.** Name a star.", "Name a star."),
        ("Task 9: Name a star.\nTask 10: Sing.", "Name a star."),
        ("Name a star.\n10. Sing.", "Name a star."),
        ("Name 11. and 12. of these.", "Name 11. and 12. of these."),
        ("Order these:\n1. pear\n2. fig", "Order these:\n1. pear\n2. fig"),
    ],
)
def test_an_item_of_a_list(answer: str, prompt: str):
    assert unwrap(answer, "one", 9) == prompt


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["Here is the new task:", "Sure!", "\n", " ", '"', "**", "```", "Task:", "<think>", "</think>", "9. ", "word"]
        )
        | st.text(max_size=5),
        max_size=12,
    ).map("".join),
    st.integers(0, 9),
)
def test_what_is_left_is_a_part_of_the_answer(answer: str, number: int):
    left = unwrap(answer, "a parent", number)
    assert left in answer
    assert left == left.strip()
    # Nothing is left of nothing alone: wrapping around nothing is no wrapping.
    assert bool(left) or not answer.strip() or "<think>" in answer or number


@pytest.mark.parametrize(
    "text",
    ["New task: " * 20_000, '"' * 200_000, "`" * 200_000 + "\n", "<think>" * 30_000, "#* " * 60_000, "\n9. " * 50_000],
    ids=["labels", "quotes", "fences", "thoughts", "signs", "items"],
)
def test_hostile_answers_are_read_in_no_time(text: str):
    objection_to(unwrap(text, PARENT, 9), PARENT, TEMPLATES["instruct"]["breadth"], sized=True)


# ---------------------------------------------------------------------------------------------------------- what is none


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        ("I'm sorry, but I can't help with rewriting this.", "a refusal, not a prompt"),
        ("As an AI, I have no stories to tell.", "a refusal, not a prompt"),
        (f"{CHILD}\n\nAnswer: Once there was a lamp.", "comes with its answer"),
        (f"{CHILD}\n\n**Solution:** Once there was a lamp.", "comes with its answer"),
        ("Add a constraint to the rewritten task, then hand it in.", "repeats the request"),
        ("#The Given Prompt# is hard.", "repeats the request"),
        (f"Below is a task that somebody gave to an assistant. {CHILD}", "repeats the request"),
        ("Rewrite it into one new task that is harder to do well.", "repeats the request"),
        ("<think>The user wants a harder task", "an unfinished thought, not a prompt"),
        ("x" * (3 * len(PARENT) + 601), "much longer than its parent"),
        ("x" * (3 * len(PARENT) + 600), ""),
        ("I'm sorry, but my boss will not listen. What can I tell her?", ""),
        ("I can't sleep. Plan my evening.", ""),
        ("I'm afraid I can't sleep at sea. What helps?", ""),
        ("What is the given name of the author?", ""),
        ("Prove the given problem has no solution: x + 1 = x.", ""),
        ("Question: is it dark?\nAnswer:", ""),
    ],
)
def test_drafts_that_are_no_prompts(draft: str, reason: str):
    assert objection_to(draft, PARENT, TEMPLATES["instruct"]["constrain"], sized=True) == reason


def test_growth_is_measured_by_the_parent():
    long = "word " * 40
    assert objection_to("Why?", long, "", sized=True) == "much shorter than its parent"
    assert objection_to("Why?", long, "", sized=False) == ""
    assert objection_to("Why?", "Why is the sky blue at noon?", "", sized=True) == ""
    assert objection_to("x" * 5000, "Why?", "", sized=False) == ""


def test_the_parents_own_words_are_not_held_against_its_child():
    parent = "Improve the original prompt below.\nAnswer: I'm"
    for draft in (f"{parent} Twice.", "Improve the original prompt below, then say:\nAnswer: none"):
        assert objection_to(draft, parent, "", sized=True) == ""


# -------------------------------------------------------------------------------------------------------- all of it once


def test_an_instructed_model_evolves_through_wrappings_and_refusals():
    replies = iter(["I cannot do that.", f"Here is the new task:\n\n{CHILD}"])
    model = ScriptedModel(lambda prompt, role, rng: next(replies))
    how = Creator(fraction=1.0, chain=1, tries=2, templates="instruct", max_new_tokens=500, near_duplicate=0.95)
    verdicts = (Verdict(score=0.0, solved=False), Verdict(score=1.0, solved=True))
    probe = [Bout(task=make_task(PARENT), attempts=(Attempt(answer=""),) * 2, verdicts=verdicts)]
    found = Evolver(how, ModelRewriter(how), lambda text: {}).propose(probe, model, 0)
    assert [(task.text, task.rejected) for task in found] == [("I cannot do that.", "a refusal, not a prompt"), (CHILD, None)]
    assert found[1].draft is not None
    assert found[1].draft.text == f"Here is the new task:\n\n{CHILD}"  # the record keeps what the model said


def test_answers_to_the_short_templates_are_taken_as_they_are():
    model = ScriptedModel(lambda prompt, role, rng: '"Task: quoted"')
    rewriter = ModelRewriter(Creator(tries=1))
    assert rewriter.rewrite([make_task("one")], ["deepen"], model, 0)[0][0][0] == '"Task: quoted"'


def test_a_built_in_set_is_asked_for_by_name():
    assert request("short", "deepen", "one") == "Deepen: one"
