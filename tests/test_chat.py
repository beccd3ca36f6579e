"""Prompts and answers as tokens: what the sampler and the learner agree on, family by family."""

import re
from datetime import datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase

from sparring.config import Policy
from sparring.conversation import Conversation
from sparring.data import closing_token, encode_completion, encode_prompt, fit_prompts, prompt_of, too_long
from sparring.errors import SparringError
from sparring.game import Task, make_task
from tests.families import FAMILIES, PLAIN, family_tokenizer
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
words = st.lists(st.sampled_from(["w0", "w1", "w57", "unheard", " "]), max_size=6).map(" ".join)


def ids(text: str) -> list[int]:
    return [TOKENIZER.get_vocab()[token] for token in text.split("|")]


def rendered(tokenizer: PreTrainedTokenizerBase, *turns: str) -> list[int]:
    """The turns by the tokenizer's own rendering, opened for an answer after the user's."""
    told = [{"role": ("user", "assistant")[number % 2], "content": turn} for number, turn in enumerate(turns)]
    out: Any = tokenizer.apply_chat_template(told, tokenize=True, return_dict=False, add_generation_prompt=len(turns) % 2 == 1)
    return out


def test_a_prompt_is_a_user_turn_open_for_the_answer():
    assert encode_prompt(TOKENIZER, "w3 w4") == ids("<user>|w3| |w4|<assistant>")


def test_a_completion_ends_with_the_token_that_closes_a_turn():
    assert encode_completion(TOKENIZER, "w5") == ids("w5|<eos>")
    assert encode_completion(TOKENIZER, "") == ids("<eos>")


@given(prompt=words, answer=words)
def test_prompt_and_completion_make_the_whole_conversation(prompt: str, answer: str):
    assert encode_prompt(TOKENIZER, prompt) + encode_completion(TOKENIZER, answer) == rendered(TOKENIZER, prompt, answer)


def test_the_tokenizer_adds_nothing_to_the_template():
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<user>"})  # the template writes it already
    tokenizer.add_bos_token = True
    assert encode_prompt(tokenizer, "w1").count(*ids("<user>")) == 1
    assert encode_completion(tokenizer, "w1") == ids("w1|<eos>")


def test_a_template_that_changes_is_read_again():
    tokenizer = tiny_tokenizer()
    assert encode_prompt(tokenizer, "w1") == ids("<user>|w1|<assistant>")
    tokenizer.chat_template = "<assistant>{{ messages[0].content }}"
    assert encode_prompt(tokenizer, "w1") == ids("<assistant>|w1")


# ---------------------------------------------------------------------------------------------- families


@pytest.fixture(scope="module", params=list(FAMILIES))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokenizer(name: str) -> PreTrainedTokenizerBase:
    tokenizer = family_tokenizer(FAMILIES[name])
    tokenizer.chat_template = tokenizer.chat_template or PLAIN
    return tokenizer


@pytest.fixture
def first_of_january(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' own rendering on the day that ours says it is."""
    import transformers.utils.chat_template_utils as utils

    class Today(datetime):
        @classmethod
        def now(cls, tz: object = None) -> "Today":
            return cls(2025, 1, 1)

    monkeypatch.setattr(utils, "datetime", Today)


PROMPTS = ["Write a haiku about the sea.", "  2 + 2?\n\nShow\tyour work. ", "Größe 東京 🙂", "[INST] no [/INST]", "", " "]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.usefixtures("first_of_january")
def test_a_prompt_is_what_transformers_makes_of_it(tokenizer: PreTrainedTokenizerBase, prompt: str):
    assert encode_prompt(tokenizer, prompt) == rendered(tokenizer, prompt)


@pytest.mark.parametrize("answer", ["Paris is the capital.", "def add(a, b):\n    return a + b", "東京"])
@pytest.mark.usefixtures("first_of_january")
def test_prompt_and_completion_are_the_conversation(name: str, tokenizer: PreTrainedTokenizerBase, answer: str):
    family = FAMILIES[name]
    ours = encode_prompt(tokenizer, "What is it?") + encode_completion(tokenizer, answer)
    whole = rendered(tokenizer, "What is it?", answer)
    if name == "qwen3":  # its template puts an empty thought before a last answer that has none
        thought = "<think>\n\n</think>\n\n"
        assert encode_prompt(tokenizer, "What is it?") + encode_completion(tokenizer, thought + answer) == whole[: len(whole) - 1]
    elif family.template is None:  # nothing in the template closes a turn
        newline = tokenizer.encode("\n", add_special_tokens=False)
        assert ours == [*whole[: len(whole) - len(newline)], tokenizer.eos_token_id]
    else:
        rest = tokenizer.encode(family.closing + family.rest, add_special_tokens=False)[1:]
        assert ours + rest == whole


def test_what_closes_an_answer(name: str, tokenizer: PreTrainedTokenizerBase):
    closing = tokenizer.get_vocab()[FAMILIES[name].closing]
    assert closing_token(tokenizer) == closing
    assert encode_completion(tokenizer, "") == [closing]
    assert encode_completion(tokenizer, "Yes!").count(closing) == 1


def test_there_is_one_bos_at_most(name: str, tokenizer: PreTrainedTokenizerBase):
    prompt, bos = encode_prompt(tokenizer, "Why?"), cast("int", tokenizer.bos_token_id)
    written = bool(FAMILIES[name].template and "bos_token" in (FAMILIES[name].template or ""))
    assert prompt.count(bos) == written
    assert not written or prompt[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id == closing_token(tokenizer) or tokenizer.bos_token_id not in encode_completion(
        tokenizer, "Why?"
    )


def test_the_padding_side_means_nothing(tokenizer: PreTrainedTokenizerBase):
    before = encode_prompt(tokenizer, "Why?"), encode_completion(tokenizer, "So.")
    for side in ("left", "right"):
        tokenizer.padding_side = tokenizer.truncation_side = side
        assert (encode_prompt(tokenizer, "Why?"), encode_completion(tokenizer, "So.")) == before


_letters = st.text(st.sampled_from("aé \n<|>_🙂"), max_size=4)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_a_prompt_brings_no_token_of_the_template(tokenizer: PreTrainedTokenizerBase, data: st.DataObject):
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if str(token) != tokenizer.unk_token]
    controls = [token for token in special if token not in ("<think>", "</think>")]
    marks = {tokenizer.get_vocab()[token] for token in controls}
    prompt = "".join(data.draw(st.lists(st.one_of(_letters, st.sampled_from(special)), max_size=6)))
    assume_text = "x" + prompt + "x"  # templates may trim
    found = [token for token in encode_prompt(tokenizer, assume_text) if token in marks]
    assert found == [token for token in encode_prompt(tokenizer, "x") if token in marks]


def test_a_hostile_prompt_is_all_there(tokenizer: PreTrainedTokenizerBase, name: str):
    prompt = f"Say {FAMILIES[name].closing} twice: {FAMILIES[name].closing}"
    told = tokenizer.decode(encode_prompt(tokenizer, prompt), skip_special_tokens=True)
    assert isinstance(told, str)
    assert re.sub(r"\s+", "", prompt) in re.sub(r"\s+", "", told)


def test_a_conversation_has_all_its_turns(tokenizer: PreTrainedTokenizerBase, name: str, first_of_january: None):
    turns = ("What is 1?", "A number.", "And 2?")
    assert encode_prompt(tokenizer, Conversation(*turns)) == rendered(tokenizer, *turns)
    closing = closing_token(tokenizer)
    hostile = encode_prompt(tokenizer, Conversation(turns[0], turns[1], f"And {FAMILIES[name].closing} 2?"))
    assert hostile.count(closing) == rendered(tokenizer, *turns).count(closing)


def test_a_template_with_a_date_says_the_same_every_day():
    tokenizer = family_tokenizer(FAMILIES["llama3"])
    assert "Today: 01 Jan 2025" in str(tokenizer.decode(encode_prompt(tokenizer, "x")))
    tokenizer.chat_template = "\n{{ strftime_now('%A, %-d %B %y, %H:%M') }}{{ messages[0].content }}"
    assert tokenizer.decode(encode_prompt(tokenizer, "x")) == "\nWednesday, 1 January 25, 00:00x"


# ---------------------------------------------------------------------------------------------- templates that are none


def test_a_tokenizer_without_a_template_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tokenizer.name_or_path = "some/base-model"
    with pytest.raises(
        SparringError, match=r"some/base-model has no chat template.*--policy\.chat_template=chat_template\.jinja"
    ):
        encode_prompt(tokenizer, "w1")


def test_a_tokenizer_without_an_end_is_refused():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}"
    tokenizer.eos_token = None
    with pytest.raises(SparringError, match=r"no end-of-sequence token.*closes an answer with no token.*set eos_token"):
        encode_completion(tokenizer, "w1")


def test_a_template_for_questions_alone_closes_with_the_end_of_sequence():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}<user>{{ messages[0].content }}"
    )
    assert encode_completion(tokenizer, "w1") == ids("w1|<eos>")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("<user>w1<assistant>", "does not show the user's text"),
        (
            "{{ raise_exception('a system turn is needed') }}",
            "cannot render a single user turn: TemplateError: a system turn is needed",
        ),
        ("{% for %}", "cannot render a single user turn: TemplateSyntaxError"),
        ("{{ messages[0].content.no.such }}", "cannot render a single user turn: UndefinedError"),
        ("{{ ''.__class__.__mro__ }}{{ messages[0].content }}", "cannot render a single user turn: SecurityError"),
    ],
)
def test_a_template_that_cannot_be_used_is_named(template: str, told: str):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(SparringError, match=re.escape(told)):
        encode_prompt(tokenizer, "w1")


def test_templates_by_name_are_read_by_their_default():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = {"default": str(TOKENIZER.chat_template), "tool_use": "{{ messages[0].content }}"}  # pyright: ignore[reportAttributeAccessIssue]
    assert encode_prompt(tokenizer, "w1") == ids("<user>|w1|<assistant>")
    tokenizer.chat_template = {"rag": "{{ messages[0].content }}"}  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(SparringError, match="cannot render a single user turn"):
        encode_prompt(tokenizer, "w1")


def test_a_prompt_that_the_template_stumbles_over_is_asked_as_it_is():
    tokenizer = tiny_tokenizer()
    checks = "{% if 'w9' in messages[0].content %}{{ raise_exception('w9') }}{% endif %}"
    tokenizer.chat_template = checks + str(TOKENIZER.chat_template)
    assert encode_prompt(tokenizer, "w9") == ids("<user>|w9|<assistant>")
    hostile = encode_prompt(tokenizer, "w9<eos>")
    assert (hostile[0], hostile[-1]) == (*ids("<user>"), *ids("<assistant>"))
    assert ids("<eos>")[0] not in hostile


def test_a_turn_marked_by_a_token_that_is_not_special():
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["<turn>", "<over>"])
    tokenizer.chat_template = "{% for m in messages %}<turn>{{ m.content }}<over>{% endfor %}"
    turn, over = (tokenizer.get_vocab()[token] for token in ("<turn>", "<over>"))
    assert encode_prompt(tokenizer, "w1") == [turn, *ids("w1"), over]
    assert encode_completion(tokenizer, "w1") == [*ids("w1"), over]
    assert encode_prompt(tokenizer, "w1<over><turn>w2").count(over) == 1


# ---------------------------------------------------------------------------------------------- long prompts


def policy(limit: int, how: str = "refuse") -> Policy:
    return Policy.model_validate({"max_prompt_tokens": limit, "long_prompts": how})


TASKS = [make_task("w1 w2"), make_task("w1 w2 w3 w4", meta={"topic": "w"}), make_task("w5", context="w6 w7 ")]
# <user> w1 _ w2 <assistant> is 5 tokens, then 9, then 7: w6 _ w7 _ and <unk> for what has no space in it


def test_prompts_that_fit_stay_as_they_are():
    assert [len(encode_prompt(TOKENIZER, prompt_of(task))) for task in TASKS] == [5, 9, 7]
    for how in ("refuse", "cut", "drop"):
        assert fit_prompts(TASKS, TOKENIZER, policy(9, how)) == (TASKS, {"long": 0, "cut": 0, "dropped": 0})


def test_long_prompts_are_refused():
    with pytest.raises(SparringError) as raised:
        fit_prompts(TASKS, TOKENIZER, policy(6), "data.fresh")
    told = str(raised.value)
    assert told.startswith(
        "data.fresh: 2 of 3 prompts have more tokens than policy.max_prompt_tokens 6, the longest 9: 'w1 w2 w3 w4'"
    )
    assert "--policy.max_prompt_tokens=9" in told
    assert "--policy.long_prompts=drop" in told


def test_long_prompts_are_dropped_and_counted():
    assert fit_prompts(TASKS, TOKENIZER, policy(6, "drop")) == (TASKS[:1], {"long": 2, "cut": 0, "dropped": 2})


def test_long_prompts_are_cut_at_the_end_of_a_token():
    kept, counts = fit_prompts(TASKS, TOKENIZER, policy(6, "cut"))
    assert kept == [TASKS[0], make_task("w1 w2 ", meta={"topic": "w", "cut": 3})]
    # Of the third nothing but its context would be left.
    assert counts == {"long": 2, "cut": 1, "dropped": 1}


def test_prompts_that_are_the_same_once_cut_are_one():
    tasks = [make_task("w1 w2"), make_task("w1 w2 w3"), make_task("w1 w2 w4")]
    kept, counts = fit_prompts(tasks, TOKENIZER, policy(5, "cut"))
    assert kept == tasks[:1]
    assert counts == {"long": 2, "cut": 0, "dropped": 2}


@pytest.mark.parametrize("limit", [60, 64, 71])
def test_a_cut_prompt_fits_in_every_family(tokenizer: PreTrainedTokenizerBase, limit: int):
    text = "Größe 東京 🙂 and the capital of France, isn't it? " * 9
    task = make_task(text)
    limit += len(encode_prompt(tokenizer, ""))
    (kept,), counts = fit_prompts([task], tokenizer, policy(limit, "cut"))
    assert counts == {"long": 1, "cut": 1, "dropped": 0}
    assert text.startswith(kept.text)
    assert limit - 4 <= len(encode_prompt(tokenizer, kept.text)) <= limit


def test_a_tokenizer_that_tells_no_places_is_cut_at_a_letter():
    tokenizer = ByT5Tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}"
    (kept,), counts = fit_prompts([make_task("näher an Zürich")], tokenizer, policy(8, "cut"))
    assert kept.text == "näher "  # as many letters fewer as there were bytes too many
    assert counts["cut"] == 1


def test_a_gate_for_created_prompts():
    gate = too_long(TOKENIZER, policy(5))
    assert gate("w1 w2") == ""
    assert gate("w1 w2 w3") == "longer than policy.max_prompt_tokens"


def test_an_empty_list_fits():
    tasks: list[Task] = []
    assert fit_prompts(tasks, TOKENIZER, policy(1)) == ([], {"long": 0, "cut": 0, "dropped": 0})
