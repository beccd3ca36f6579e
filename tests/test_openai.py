"""The client of OpenAI-compatible servers: what goes out and what is made of what comes back. For the real thing see test_served."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparring.data import encode_prompt
from sparring.errors import SparringError
from sparring.game import Sampling, Scored
from sparring.models import asking
from sparring.models.answers import Answer, read_answer
from sparring.models.asking import Serving
from sparring.models.ledger import Ledger, Usage
from sparring.models.openai import OpenAIModel
from sparring.models.refusals import refused_field
from sparring.models.transport import Trouble, read_json
from tests import hostile
from tests.asked import HOW, ask, endpoint
from tests.hostile import Asked, Play, answer, honest
from tests.tiny import tiny_tokenizer


@pytest.fixture(autouse=True)
def no_key_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(asking, "FIRST_WAIT_S", 0.02)


# -- what is asked --------------------------------------------------------------------------------------------------------


def test_a_prompt_is_one_user_turn_and_n_answers_are_one_request():
    with hostile.hostile(honest) as server:
        how = Sampling(n=3, temperature=0.7, top_p=0.9, max_new_tokens=8, stop="END")
        assert ask(OpenAIModel(endpoint(server.url, extra={"top_k": 20})), "a", "b", "a", how=how) == [
            ["a 0", "a 1", "a 2"],
            ["b 0", "b 1", "b 2"],
            ["a 0", "a 1", "a 2"],
        ]
    assert sorted(server.prompts()) == ["a", "b"]
    body = server.asked[0].body
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    content = body.pop("messages")
    assert content in ([{"role": "user", "content": "a"}], [{"role": "user", "content": "b"}])
    assert body == {
        "model": "tiny",
        "n": 3,
        "max_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "stop": ["END"],
        "stream": False,
        "top_k": 20,
    }


def test_completions_without_a_tokenizer_continue_the_prompt_as_it_is():
    with hostile.hostile(honest) as server:
        assert ask(OpenAIModel(endpoint(server.url, api="completions")), "once upon") == [["once upon 0"]]
    assert server.asked[0].path == "/v1/completions"
    assert server.asked[0].body["prompt"] == "once upon"


def test_seeds_belong_to_prompt_role_and_number():
    def seeds(**changes: Any) -> list[int]:
        settings = {"role": "solver", "seed": 0, **changes}
        with hostile.hostile(lambda asked: Play(body=answer(asked, n=1))) as server:
            OpenAIModel(endpoint(server.url, concurrency=1)).sample(["a", "b"], replace(HOW, n=2), **settings)
        return [one.body["seed"] for one in server.asked]

    assert len(set(seeds())) == 4, "one for each prompt (and its first answer), one for each further answer"
    assert seeds() == seeds()
    assert not set(seeds()) & set(seeds(seed=1))
    assert not set(seeds()) & set(seeds(role="creator"))


def test_a_greedy_answer_is_asked_for_once_and_without_a_seed():
    with hostile.hostile(honest) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a", how=replace(HOW, n=3, temperature=0.0)) == [["a 0"] * 3]
    assert [("seed" in one.body, "n" in one.body) for one in server.asked] == [(False, False)]


def test_a_conversation_goes_out_turn_by_turn():
    turns = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    with hostile.hostile(honest) as server:
        model = OpenAIModel(endpoint(server.url))
        groups = model.chat([turns, turns[:2]], HOW, role="judge", seed=0)
        assert [[sample.text for sample in group] for group in groups] == [["two 0"], ["one 0"]]
        assert groups[0][0].role == "judge"
        assert turns in [one.body["messages"] for one in server.asked]
        with pytest.raises(SparringError, match="api = 'chat'"):
            OpenAIModel(endpoint(server.url, api="completions")).chat([turns], HOW, role="judge", seed=0)


def test_an_endpoint_without_a_model_asks_for_the_only_one_listed():
    with hostile.hostile(honest) as server:
        ask(OpenAIModel(endpoint(server.url, model="")), "a")
        assert server.asked[-1].body["model"] == "tiny"
        server.script = lambda asked: Play(body={"data": [{"id": "x"}, {"id": "y"}, 7]})
        with pytest.raises(SparringError, match="lists 2 models \\('x', 'y'\\); name one"):
            ask(OpenAIModel(endpoint(server.url, model="")), "a")


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "ftp://x/v1", "http://me:word@x/v1", "http://x/v1?key=secret"])
def test_an_address_that_is_none_or_gives_something_away_is_refused(url: str):
    with pytest.raises(SparringError) as caught:
        OpenAIModel(endpoint(url))
    assert "word" not in str(caught.value).replace("password", "")
    assert "secret" not in str(caught.value)


def test_beams_are_refused():
    with pytest.raises(SparringError, match="no beam search"):
        OpenAIModel(endpoint("http://127.0.0.1:9/v1")).sample(["a"], replace(HOW, beam=True), role="solver", seed=0)


# -- what servers do not take -----------------------------------------------------------------------------------------------


def test_a_server_that_ignores_n_is_asked_one_by_one():
    with hostile.hostile(lambda asked: Play(body=answer(asked, n=1))) as server:
        model, how = OpenAIModel(endpoint(server.url)), replace(HOW, n=3)
        assert ask(model, "a", how=how) == [["a 0"] * 3]
        assert Counter(one.body.get("n", 1) for one in server.asked) == {3: 1, 1: 2}, "what was answered is kept"
        ask(model, "b", how=how)
        assert Counter(one.body.get("n", 1) for one in server.asked) == {3: 1, 1: 5}, "once seen it is known"


def test_a_server_that_refuses_n_is_asked_one_by_one():
    def script(asked: Asked) -> Play:
        if "n" in asked.body:
            return Play(status=400, body={"error": {"message": "only n = 1 is supported"}})
        return honest(asked)

    with hostile.hostile(script) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a", how=replace(HOW, n=2)) == [["a 0", "a 0"]]


def test_more_answers_than_asked_for_are_left_out():
    with hostile.hostile(lambda asked: Play(body=answer(asked, n=5))) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a", how=replace(HOW, n=2)) == [["a 0", "a 1"]]


def test_a_field_that_is_refused_is_left_out_from_then_on():
    def script(asked: Asked) -> Play:
        if "seed" in asked.body:
            return Play(status=422, body={"detail": "Unexpected fields in the request: {'seed'}"})
        return honest(asked)

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url, concurrency=1))
        assert ask(model, "a", "b") == [["a 0"], ["b 0"]]
        assert ["seed" in one.body for one in server.asked] == [True, False, False]
        with pytest.raises(SparringError, match=r"Unexpected fields.*mend model"):
            ask(OpenAIModel(endpoint(server.url, extra={"seed": 5})), "a")


def test_max_tokens_is_renamed_where_a_server_wants_that():
    def script(asked: Asked) -> Play:
        if "max_tokens" in asked.body:
            said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return Play(status=400, body={"error": {"message": said}})
        return honest(asked)

    with hostile.hostile(script) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a") == [["a 0"]]
        assert server.asked[-1].body["max_completion_tokens"] == 8


def test_a_stop_text_that_breaks_the_server_is_applied_here():
    def script(asked: Asked) -> Play:
        return Play(status=500, body=b"Internal Server Error") if "stop" in asked.body else honest(asked)

    with hostile.hostile(script) as server:
        model, how = OpenAIModel(endpoint(server.url, concurrency=1)), replace(HOW, stop=" STOP")
        groups = model.sample(["a STOP b", "c"], how, role="solver", seed=0)
        assert [(group[0].text, group[0].finish) for group in groups] == [("a", "stop"), ("c 0", "stop")]
        assert ["stop" in one.body for one in server.asked] == [True, True, False, False]


PROMPT_ALONE = "This model's maximum context length is 40 tokens. However, you\nrequested 50.\n\nPlease stop at fewer."


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": PROMPT_ALONE, "type": "invalid_request_error", "param": "messages", "code": "too_long"}},
        {"detail": [{"loc": ["body", "messages"], "msg": "too long", "input": {"n": 2, "seed": 7}}]},
    ],
    ids=["escapes", "an echo of the request"],
)
def test_what_is_wrong_with_a_prompt_is_no_habit_of_the_server(said: hostile.Body):
    def script(asked: Asked) -> Play:
        return Play(status=400, body=said) if asked.body["messages"][-1]["content"] == "long" else honest(asked)

    with hostile.hostile(script) as server:
        ledger = Ledger()
        model, how = OpenAIModel(endpoint(server.url, concurrency=1), ledger), replace(HOW, n=2)
        assert ask(model, "a", how=how) == [["a 0", "a 1"]]
        long = ask(model, "long", how=how)[0]
        assert all("status 400" in fault and "\\n" not in fault for fault in long)
        assert ledger.habits(f"{server.url} tiny") == frozenset()
        before = len(server.asked)
        ask(model, "b", how=how)
        assert [(one.body["n"], "seed" in one.body) for one in server.asked[before:]] == [(2, True)]


REFUSALS = {
    "OpenAI": ("logprobs", "Unsupported parameter: 'logprobs' is not supported with this model."),
    "Gemini": ("seed", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'),
    "Groq": ("n", "'n' : number must be at most 1"),
    "vLLM": ("n", "n must be 1 when using greedy sampling, got 2."),
    "NextChat": ("top_p", "Unsupported parameter: top_p"),
    "Anthropic": ("top_p", "`temperature` and `top_p` cannot both be specified for this model."),
    "Mistral": ("seed", '{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}'),
    "transformers": ("stop", "Unexpected fields in the request: {'stop'}"),
    "llama.cpp": ("n", "Only one completion choice is allowed"),
    "of a prompt": (
        None,
        "This model's maximum context length is 40 tokens, you requested 50; the seed of the trouble is its n th word",
    ),
    "of a value": (None, "Unsupported value: 'temperature' does not support 0.2 with this model."),
}


@pytest.mark.parametrize(("field", "said"), REFUSALS.values(), ids=REFUSALS)
def test_servers_name_what_they_refuse_in_many_ways(field: str | None, said: str):
    body = {"n": 2, "seed": 1, "stop": ["x"], "logprobs": True, "top_p": 1.0, "messages": []}
    assert refused_field(body, set(), said, set()) == field
    assert refused_field(body, {"top_p", field or ""}, said, set()) is None
    assert refused_field({**body, "top_p": 0.9}, set(), said, set()) == (None if field == "top_p" else field)


def test_llama_cpp_breaks_where_it_refuses_n():
    def script(asked: Asked) -> Play:
        refusal = Play(status=500, body={"error": {"code": 500, "message": "Only one completion choice is allowed"}})
        return refusal if "n" in asked.body else honest(asked)

    with hostile.hostile(script) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a", how=replace(HOW, n=2)) == [["a 0", "a 0"]]
        assert len(server.asked) == 3


def no_top_p(asked: Asked) -> Play:
    said = {"message": "Unsupported parameter: 'top_p' is not supported with this model.", "param": "top_p"}
    return Play(status=400, body={"error": said}) if "top_p" in asked.body else honest(asked)


def test_a_model_that_takes_no_top_p_is_asked_for_the_whole_distribution_alone():
    with hostile.hostile(no_top_p) as server:
        model = OpenAIModel(endpoint(server.url, concurrency=1))
        narrow = replace(HOW, top_p=0.9)
        with pytest.raises(SparringError, match=r"'top_p' is not supported.*set top_p = 1"):
            ask(model, "a", how=narrow)
        assert ask(model, "a", "b", how=replace(HOW, top_p=1.0)) == [["a 0"], ["b 0"]]
        before = len(server.asked)
        with pytest.raises(SparringError, match=r"'tiny' takes no top_p, and 0.9 is set; set top_p = 1"):
            ask(model, "c", how=narrow)
        assert len(server.asked) == before, "leaving it out would be another distribution"


def withheld(asked: Asked, *choices: int, **changes: Any) -> Play:
    """An honest answer, but for the choices that are changed."""
    found = answer(asked)
    for k in choices:
        found["choices"][k].update(changes)
    return Play(body=found)


@pytest.mark.parametrize("changes", [{"message": {"content": None}}, {"message": {"content": ""}}], ids=["null", "empty"])
def test_an_answer_that_is_all_hidden_thoughts_is_none(changes: dict[str, Any]):
    def script(asked: Asked) -> Play:
        thinks = asked.body["messages"][-1]["content"] == "hard"
        return withheld(asked, 0, finish_reason="length", **changes) if thinks else honest(asked)

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url))
        with pytest.raises(SparringError, match="thoughts that are not shown; raise max_new_tokens"):
            ask(model, "hard")
        (hard,), easy = ask(model, "hard", "easy")
        assert ("thoughts" in hard, easy) == (True, ["easy 0"])
        assert model.usage() == Usage(prompt_tokens=30, completion_tokens=15, requests=1), "each was paid for"


def test_one_withheld_answer_does_not_take_the_others_with_it():
    with hostile.hostile(lambda asked: withheld(asked, 1, finish_reason="content_filter")) as server:
        model, how = OpenAIModel(endpoint(server.url)), replace(HOW, n=3)
        for _ in range(2):
            first, second, third = ask(model, "a", how=how)[0]
            assert (first, third) == ("a 0", "a 2")
            assert "content filter" in second
        assert len(server.asked) == 1


# -- weights ------------------------------------------------------------------------------------------------------------------


def test_an_answer_from_other_weights_is_none():
    model = {"now": "old"}

    def script(asked: Asked) -> Play:
        return Play(body=answer(asked, model=model["now"], system_fingerprint="fp", metadata={"weight_version": "7"}))

    def served(url: str, **stamp: Any) -> str:
        return ask(OpenAIModel(endpoint(url, retries=0), serving=Serving(**stamp)), "a")[0][0]

    with hostile.hostile(script) as server:
        assert "other weights: from 'old', 'new'" in served(server.url, model="new", stamp="model")
        assert "from another server: 'fp', expected 'gp'" in served(server.url, model="old", stamp="model", fingerprint="gp")
        assert "other weights: from '7', '8'" in served(server.url, model="tiny", version="8", stamp="weights")
        assert served(server.url, model="tiny", version="7", stamp="weights", fingerprint="fp") == "a 0"
        model["now"] = "new"
        assert served(server.url, model="new", stamp="model") == "a 0"


def test_answers_since_a_server_changed_its_weights_are_forgotten():
    now = {"weight_version": "7"}

    def script(asked: Asked) -> Play:
        if asked.path == "/weight_info":
            return Play(body={**now})
        now["weight_version"] = "restarted" if asked.body["messages"][-1]["content"] == "b" else "7"
        return honest(asked)

    with hostile.hostile(script) as server:
        ledger, serving = Ledger(), Serving(model="tiny", version="7", stamp="info")
        model = OpenAIModel(endpoint(server.url), ledger, serving=serving)
        assert ask(model, "a") == [["a 0"]]
        with pytest.raises(SparringError, match="weights 'restarted', '7' were loaded"):
            ask(model, "b")
        with pytest.raises(SparringError, match="weights 'restarted', '7' were loaded"):
            ask(model, "a")
        now["weight_version"] = "7"
        ask(model, "a")
        assert server.prompts() == ["a", "b"]
        with pytest.raises(SparringError):
            ask(model, "b")
        assert server.prompts() == ["a", "b", "b"], "what came from nobody knows which weights was not kept"


# -- tokens ---------------------------------------------------------------------------------------------------------------------


def with_tokens(asked: Asked, ids: list[int] | None = None, logprobs: list[Any] | None = None) -> Play:
    """As vLLM does it for ``return_token_ids`` and ``logprobs``."""
    if asked.path.endswith("/models"):
        return Play(body={"data": [{"id": "tiny", "owned_by": "vllm"}]})
    chat = "messages" in asked.body
    ids, logprobs = ids or [7, 8, 1], logprobs or [-0.5, -0.25, -0.125]
    content = {"content": [{"token": "x", "logprob": value} for value in logprobs]} if chat else {"token_logprobs": logprobs}
    choice = {"index": 0, "finish_reason": "stop", "token_ids": ids, "logprobs": content}
    text = {"message": {"content": "w2w3"}} if chat else {"text": "w2w3"}
    place: dict[str, Any] = choice if not chat else {}
    place["prompt_token_ids"] = asked.body.get("prompt", [3, 9, 4])
    rest = {"prompt_token_ids": place["prompt_token_ids"]} if chat else {}
    return Play(body=answer(asked, choices=[{**choice, **text}], **rest))


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_tokens_go_in_and_come_out(api: str):
    tokenizer = tiny_tokenizer()
    with hostile.hostile(with_tokens) as server:
        ((sample,),) = OpenAIModel(endpoint(server.url, api=api), tokenizer=tokenizer).sample(
            ["w1 w2"], HOW, role="solver", seed=0
        )
    body = server.asked[-1].body
    assert body["return_token_ids"] is True
    if api == "completions":
        assert body["prompt"] == encode_prompt(tokenizer, "w1 w2") == list(sample.prompt_ids)
    assert (sample.token_ids, sample.logprobs, sample.finish) == ((7, 8, 1), (-0.5, -0.25, -0.125), "stop")


@pytest.mark.parametrize(
    ("ids", "logprobs", "kept"),
    [
        ([7, 8, 1], [-0.5, -0.25, 1e-7], 2),
        ([7, 8, 1], [-0.5, -0.25], 1),
        ([7, 8, 1], [-0.5, None, -0.1], 1),
        ([7, 8, 1], [-0.5, "-1", -0.1], 1),
        ([7, 8, 1], [-0.5, -9999.0, -0.1], 1),
        ([7, 8, 1], [-0.5, 0.7, -0.1], 1),
        ([7, 8, 9], [-0.5, -0.25, -0.1], 0),  # the end is missing
        ([7, True, 1], [-0.5, -0.25, -0.1], 0),
        ([7, -8, 1], [-0.5, -0.25, -0.1], 0),
        ([7] * 8 + [1], [-0.5] * 9, 0),  # more than were asked for
    ],
)
def test_tokens_that_make_no_sense_are_left_out(ids: list[int], logprobs: list[Any], kept: int):
    with hostile.hostile(lambda asked: with_tokens(asked, ids, logprobs)) as server:
        ((sample,),) = OpenAIModel(endpoint(server.url), tokenizer=tiny_tokenizer()).sample(["w1"], HOW, role="solver", seed=0)
    assert [bool(sample.token_ids), bool(sample.logprobs)].count(True) == kept
    assert len(sample.logprobs) in (0, len(sample.token_ids))
    assert all(value <= 0 for value in sample.logprobs)


@pytest.mark.parametrize(("owner", "kept"), [("vllm", True), ("sglang", False), (None, False)])
def test_log_probs_of_another_temperature_are_left_out(owner: str | None, kept: bool):
    def script(asked: Asked) -> Play:
        if asked.path.endswith("/models"):
            return Play(body={"data": [{"id": "tiny", "owned_by": owner}]}) if owner else Play(status=404)
        return with_tokens(asked)

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url), tokenizer=tiny_tokenizer())
        ((sample,),) = model.sample(["w1"], replace(HOW, temperature=0.7), role="solver", seed=0)
        assert bool(sample.logprobs) == kept == ("logprobs" in server.asked[-1].body)
        assert sample.token_ids


def test_a_server_that_takes_no_token_ids_gets_the_same_prompt_as_text():
    def script(asked: Asked) -> Play:
        for field in ("return_token_ids", "logprobs"):
            if field in asked.body:
                return Play(status=422, body={"detail": f"Unexpected fields in the request: {{'{field}'}}"})
        if not isinstance(asked.body["prompt"], str):
            return Play(status=400, body={"detail": "prompt must be a string."})
        return honest(asked)

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url, api="completions", concurrency=1), tokenizer=tiny_tokenizer())
        groups = model.sample(["w1 w2", "w3 <eos>w4"], HOW, role="solver", seed=0)
        assert server.asked[-1].body["prompt"] == "<user>w1 w2<assistant>"
    assert groups[0][0].text == "<user>w1 w2<assistant> 0"
    assert "they spell special tokens" in (groups[1][0].fault or ""), "as text they would end the turn"


def test_scores_are_the_log_probs_of_an_echo():
    def script(asked: Asked) -> Play:
        ids = asked.body["prompt"]
        values = [None, *(-float(one) for one in ids[1:]), -0.5]  # each token costs as much as its number
        return Play(
            body=answer(
                asked, choices=[{"index": 0, "finish_reason": "length", "text": "", "logprobs": {"token_logprobs": values}}]
            )
        )

    tokenizer = tiny_tokenizer()
    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url), tokenizer=tokenizer)
        found = model.score([("w1", "w2 w3"), ("w1", ""), ("w1 w5", "w2"), ("w1", "w2 w3")], role="solver")
        assert server.asked[0].body["echo"] is True
        assert len(server.asked) == 2
    cost = dict(zip(["w2", " ", "w3"], tokenizer.encode("w2 w3", add_special_tokens=False), strict=True))
    both = Scored(logprob=-float(sum(cost.values())), tokens=3)
    assert found == [both, Scored(logprob=0.0, tokens=0), Scored(logprob=-float(cost["w2"]), tokens=1), both]


def listing(**tops: float) -> hostile.Script:
    def script(asked: Asked) -> Play:
        top = [{"token": token, "logprob": value, "bytes": []} for token, value in tops.items()]
        content = [{"token": "x", "logprob": -0.5, "top_logprobs": [*top, {"token": None}, 7, {"token": "n", "logprob": 2.0}]}]
        choice = {"index": 0, "finish_reason": "length", "message": {"content": "x"}, "logprobs": {"content": content}}
        return Play(body=answer(asked, choices=[choice]))

    return script


def test_letters_are_scored_by_the_first_tokens_of_a_chat(tmp_path: Path):
    # e^-1 + e^-2 = 0.5032: the letter with and without a space before it.
    with hostile.hostile(listing(**{"m": -1.0, " m": -2.0, "M": -3.0, "me": -0.1})) as server:
        model = OpenAIModel(endpoint(server.url), Ledger(tmp_path))
        found = model.score([("p", "m"), ("p", "M"), ("p", "n"), ("q", "M"), ("q", "")], role="judge")
        assert [one.logprob for one in found] == pytest.approx([math.log(0.503215), -3.0, -math.inf, -3.0, 0.0], abs=1e-5)
        assert sorted(server.prompts()) == ["p", "q"], "one request tells of all letters"
        body = server.asked[0].body
        assert (body["logprobs"], body["top_logprobs"], body["max_tokens"], body["temperature"]) == (True, 20, 1, 1.0)
        again = OpenAIModel(endpoint(server.url), Ledger(tmp_path)).score([("p", "m")], role="judge")
        assert (again, len(server.asked)) == (found[:1], 2)


def test_a_prompt_without_an_answer_has_no_letters():
    def script(asked: Asked) -> Play:
        filtered = asked.body["messages"][-1]["content"] == "bad"
        return withheld(asked, 0, finish_reason="content_filter") if filtered else listing(m=-1.0)(asked)

    with hostile.hostile(script) as server:
        bad, good = OpenAIModel(endpoint(server.url)).score([("bad", "m"), ("good", "m")], role="judge")
    assert (math.isnan(bad.logprob), good.logprob) == (True, -1.0)


def test_a_chat_that_lists_no_tokens_says_so():
    with hostile.hostile(honest) as server, pytest.raises(SparringError, match=r"has no top_logprobs; ask a server"):
        OpenAIModel(endpoint(server.url)).score([("p", "m")], role="judge")
    with pytest.raises(SparringError, match="need the tokenizer"):
        OpenAIModel(endpoint("http://127.0.0.1:9/v1", api="completions")).score([("p", "m")], role="judge")


@pytest.mark.parametrize(
    "script",
    [
        lambda asked: Play(body=answer(asked)),
        lambda asked: Play(status=400, body={"detail": "prompt must be a string."}),
        lambda asked: Play(
            body=answer(asked, choices=[{"finish_reason": "length", "text": "", "logprobs": {"token_logprobs": [-1]}}])
        ),
    ],
    ids=["no echo", "no ids", "too few"],
)
def test_a_server_without_scores_says_so(script: hostile.Script):
    with hostile.hostile(script) as server:
        with pytest.raises(SparringError, match=r"gives no scores.*vLLM, SGLang"):
            OpenAIModel(endpoint(server.url), tokenizer=tiny_tokenizer()).score([("w1", "w2")], role="solver")
        with pytest.raises(SparringError, match="need the tokenizer"):
            OpenAIModel(endpoint(server.url)).score([("w1", "w2")], role="solver")


# -- the rest -------------------------------------------------------------------------------------------------------------------


def test_a_notebook_may_ask():
    async def cell(model: OpenAIModel) -> list[list[str]]:
        return ask(model, "a")

    with hostile.hostile(honest) as server:
        assert asyncio.run(cell(OpenAIModel(endpoint(server.url)))) == [["a 0"]]


def test_text_that_no_file_could_hold_is_mended():
    broken = Play(body=b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "a\\ud800b"}}]}')
    with hostile.hostile(lambda asked: broken) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a") == [["a?b"]]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "index",
                    "finish_reason",
                    "message",
                    "content",
                    "text",
                    "token_ids",
                    "logprobs",
                    "top_logprobs",
                    "token",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(
    found=st.dictionaries(st.sampled_from(["choices", "model", "metadata", "prompt_token_ids"]), JSON),
    api=st.sampled_from(["chat", "completions"]),
)
def test_any_json_is_an_answer_or_a_trouble(found: dict[str, Any], api: Any):
    try:
        answer = read_answer(found, api, max_tokens=8, echo=(1, 2))
    except Trouble:
        return
    assert Answer.load(answer.dump()) == answer


@given(st.binary(max_size=50))
def test_any_bytes_are_json_or_a_trouble(body: bytes):
    try:
        found = read_json(body)
    except Trouble:
        return
    json.dumps(found, allow_nan=False)
