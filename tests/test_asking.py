"""Requests that fail, cost, are limited and are never made twice: against a hostile server of our own."""

from __future__ import annotations

import email.utils
import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparring.errors import SparringError
from sparring.game import make_task
from sparring.models import asking
from sparring.models.asking import Serving
from sparring.models.ledger import FILE, Budget, Ledger, Usage
from sparring.models.openai import OpenAIModel
from sparring.recipe import parse_recipe
from sparring.solvers.respond import Responder
from tests import hostile
from tests.asked import HOW, KEY, ask, endpoint, fails
from tests.hostile import Asked, Play, answer, honest


@pytest.fixture(autouse=True)
def no_key_and_no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(asking, "FIRST_WAIT_S", 0.02)


# -- troubles -----------------------------------------------------------------------------------------------------------------

PASSING = {
    "500": Play(status=500, body=b"oh"),
    "502": Play(status=502, body=b"<html>"),
    "429, no time given": Play(status=429, body=b"{}"),
    "503, nonsense for a time": Play(status=503, headers={"Retry-After": "soon"}),
    "no JSON": Play(body=b"<html>welcome</html>"),
    "NaN": Play(body=b'{"choices": NaN}'),
    "a list": Play(body=b"[1, 2]"),
    "nested without end": Play(body=b"[" * 100_000),
    "not UTF-8": Play(body=b'{"choices": "\xff\xfe"}'),
    "nothing": Play(body=b""),
    "no choices": Play(body={"choices": []}),
    "an error as success": Play(body={"error": {"message": "overloaded"}}),
    "choices of another type": Play(body={"choices": {"0": "text"}}),
    "null content": Play(body={"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": None}}]}),
    "content of another type": Play(body={"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": ["a"]}}]}),
    "no message": Play(body={"choices": [{"index": 0, "finish_reason": "stop", "text": "a"}]}),
    "no end": Play(body={"choices": [{"index": 0, "finish_reason": None, "message": {"content": "a"}}]}),
    "a call of a tool": Play(body={"choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"content": "a"}}]}),
    "half an answer": Play(raw=hostile.half),
    "torn down": Play(raw=hostile.reset),
    "longer than allowed": Play(raw=hostile.endless),
    "a bomb": hostile.bomb(8),
    "packed, but not": Play(body=b"{}", headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("play", PASSING.values(), ids=PASSING)
def test_what_passes_is_asked_again(play: Play):
    with hostile.hostile(fails(play)) as server:
        model = OpenAIModel(endpoint(server.url, max_answer_mb=1.0))
        assert ask(model, "a") == [["a 0"]]
        assert len(server.asked) == 2
        assert model.usage() == Usage(prompt_tokens=10, completion_tokens=5, requests=1, retries=1)


@pytest.mark.parametrize("play", PASSING.values(), ids=PASSING)
def test_what_stays_is_a_fault_of_its_prompt_alone(play: Play):
    def script(asked: Asked) -> Play:
        return play if asked.body["messages"][-1]["content"] == "bad" else honest(asked)

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url, max_answer_mb=1.0, retries=1))
        tasks = [make_task(text) for text in ("good", "bad", "fine")]
        good, bad, fine = Responder(HOW).attempt(tasks, model, seed=0)
    assert (good[0].answer, good[0].fault, fine[0].answer, fine[0].fault) == ("good 0", None, "fine 0", None)
    assert bad[0].answer == ""
    assert bad[0].fault
    assert server.prompts().count("bad") == 2


def test_an_enormous_answer_takes_no_memory():
    with hostile.hostile(lambda asked: Play(raw=hostile.endless)) as server:
        model = OpenAIModel(endpoint(server.url, max_answer_mb=2.0, retries=0))
        packed = hostile.bomb(100)
        tracemalloc.start()
        try:
            (fault,) = ask(model, "a")[0]
            server.script = lambda asked: packed
            (packed_fault,) = ask(model, "b")[0]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert "longer than 2 MB" in fault
    assert "longer than 2 MB" in packed_fault
    assert peak < 16 * 2**20


def test_a_server_that_hangs_or_drips_is_left_after_the_time():
    def script(asked: Asked) -> Play:
        what = {"hang": hostile.hang, "drip": hostile.drip}.get(asked.body["messages"][-1]["content"])
        return Play(raw=what) if what else honest(asked)

    with hostile.hostile(script) as server:
        begun = time.monotonic()
        found = ask(OpenAIModel(endpoint(server.url, timeout_s=0.3, retries=1)), "hang", "drip", "a")
        assert time.monotonic() - begun < 2.5
    assert found[2] == ["a 0"]
    assert all("no whole answer within 0.3 s" in fault for (fault,) in found[:2])


@pytest.mark.parametrize("date", [False, True], ids=["seconds", "date"])
def test_a_server_that_says_when_to_come_back_is_left_alone_until_then(date: bool):
    times: list[float] = []

    def script(asked: Asked) -> Play:
        times.append(time.time())
        if len(times) > 1:
            return honest(asked)
        # A date has no fractions of a second: the next whole one but one is 1 to 2 s away.
        return Play(status=429, headers={"Retry-After": email.utils.formatdate(times[0] + 2, usegmt=True) if date else "1"})

    with hostile.hostile(script) as server:
        assert ask(OpenAIModel(endpoint(server.url)), "a") == [["a 0"]]
    assert 0.9 < times[1] - times[0] < 2.5


def test_waits_double_with_a_jitter_that_is_always_the_same(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "FIRST_WAIT_S", 0.5)
    waits = [[asking.backoff_s(f"request {key}", attempt) for attempt in range(12)] for key in range(50)]
    for attempt in range(12):
        longest = min(0.5 * 2**attempt, 60)
        assert all(longest / 2 <= wait[attempt] <= longest for wait in waits)
        assert len({wait[attempt] for wait in waits}) > 25, "not all at once"
    assert waits[0] == [asking.backoff_s("request 0", attempt) for attempt in range(12)]


def test_a_deadline_ends_the_retries():
    def script(asked: Asked) -> Play:
        if asked.body["messages"][-1]["content"] == "late":
            return Play(status=503, headers={"Retry-After": "1e9"})
        return Play(status=500) if asked.body["messages"][-1]["content"] == "bad" else honest(asked)

    with hostile.hostile(script) as server:
        begun = time.monotonic()
        found = ask(OpenAIModel(endpoint(server.url, retries=50, deadline_s=1.0)), "bad", "a", "late")
        assert time.monotonic() - begun < 2.5
    assert found[1] == ["a 0"]
    assert all("no time is left" in fault for (fault,) in (found[0], found[2]))


@pytest.mark.parametrize(
    ("play", "says"),
    [
        (Play(status=400, body={"error": {"message": "maximum context length is 10 tokens"}}), "maximum context length"),
        (Play(status=401, body=f"wrong key {KEY}".encode()), "OPENAI_API_KEY"),
        (Play(status=403), "OPENAI_API_KEY"),
        (Play(status=404, body={"error": {"message": "The model `tiny` does not exist."}}), "does not exist.*http://127"),
        (Play(status=429, body={"error": {"code": "insufficient_quota"}}), "no credit left"),
        (Play(status=302, headers={"Location": "http://elsewhere.example/v1"}), "elsewhere.example.*final address"),
    ],
    ids=["400", "401", "403", "404", "no credit", "302"],
)
def test_what_only_the_user_can_mend_is_said_at_once(play: Play, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with hostile.hostile(lambda asked: play) as server:
        with pytest.raises(SparringError, match=says) as caught:
            ask(OpenAIModel(endpoint(server.url)), "a")
        assert len(server.asked) == 1, "asking again would not help"
    assert KEY not in str(caught.value)


def test_a_missing_key_is_named_by_its_variable():
    with hostile.hostile(lambda asked: Play(status=401)) as server:
        with pytest.raises(SparringError, match="no key is given and one is needed; export MY_KEY="):
            ask(OpenAIModel(endpoint(server.url, key_env="MY_KEY")), "a")
        assert "authorization" not in server.asked[0].headers


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with hostile.hostile(honest) as thief:
        moved = Play(status=307, headers={"Location": f"{thief.url}/chat/completions"})
        with hostile.hostile(lambda asked: moved) as server, pytest.raises(SparringError, match="sends us on"):
            ask(OpenAIModel(endpoint(server.url)), "a")
    assert not thief.asked


def test_a_server_that_is_down_is_named_soon():
    with hostile.hostile(honest) as server:
        url = server.url
    begun = time.monotonic()
    with pytest.raises(SparringError, match=r"no connection.*start the server") as caught:
        ask(OpenAIModel(endpoint(url, retries=1)), *map(str, range(100)))
    assert url in str(caught.value)
    assert time.monotonic() - begun < 5, "a hundred prompts need no hundred proofs"


def test_a_server_that_goes_down_half_way_ends_the_call_and_keeps_what_there_is():
    def script(asked: Asked) -> Play:
        if asked.body["messages"][-1]["content"] != "b":
            return honest(asked)
        server.http.shutdown()
        server.http.server_close()
        return Play(raw=hostile.reset)

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url, concurrency=1))
        with pytest.raises(SparringError, match="start the server"):
            ask(model, "a", "b", "c")
        assert server.prompts() == ["a", "b"]
        assert ask(model, "a") == [["a 0"]], "from the ledger"


def test_a_server_that_answers_nothing_is_an_error_and_no_batch_of_faults():
    with hostile.hostile(lambda asked: Play(status=500, body=b"cannot")) as server:
        with pytest.raises(SparringError, match="answers nothing: status 500: cannot \\(after 1 retries\\)"):
            ask(OpenAIModel(endpoint(server.url, retries=1)), "a", "b")
        server.script = lambda asked: Play(body=b"<html>")
        with pytest.raises(SparringError, match="check that the url"):
            ask(OpenAIModel(endpoint(server.url, retries=0)), *map(str, range(40)))


FILTERED = {
    "a finish_reason": Play(body={"choices": [{"index": 0, "finish_reason": "content_filter", "message": {"content": ""}}]}),
    "a 400": Play(status=400, body={"error": {"message": "The prompt triggered our policy.", "code": "content_filter"}}),
}
TOO_LONG = Play(status=400, body={"error": {"message": "maximum context length is 10 tokens"}})


def for_bad(play: Play) -> hostile.Script:
    return lambda asked: play if asked.body["messages"][-1]["content"].startswith("bad") else honest(asked)


@pytest.mark.parametrize("play", FILTERED.values(), ids=FILTERED)
def test_a_filter_says_nothing_of_the_server(play: Play):
    with hostile.hostile(for_bad(play)) as server:
        model = OpenAIModel(endpoint(server.url))
        found = ask(model, *(f"bad {k}" for k in range(20)))
        assert all("filter" in fault for (fault,) in found)
        assert len(server.asked) == 20, "asking again would not help"


@pytest.mark.parametrize("play", [*FILTERED.values(), TOO_LONG], ids=[*FILTERED, "too long"])
@pytest.mark.parametrize("n", [1, 3])
def test_a_refused_prompt_is_a_fault_also_when_all_others_are_known(play: Play, n: int, tmp_path: Path):
    """A killed run that goes on, its last shard, and a second evaluation ask for nothing but what was refused."""
    how = replace(HOW, n=n)
    with hostile.hostile(for_bad(play)) as server:
        for prompts in (["a", "b", "bad"], ["a", "b", "bad"], ["bad"], [f"bad {k}" for k in range(20)]):
            found = ask(OpenAIModel(endpoint(server.url), Ledger(tmp_path)), *prompts, how=how)
            bad = [group for prompt, group in zip(prompts, found, strict=True) if prompt.startswith("bad")]
            assert all(fault.startswith(("status 400", "the server's content filter")) for group in bad for fault in group)
            assert found[: -len(bad)] == [[f"{prompt} {k}" for k in range(n)] for prompt in prompts[: -len(bad)]]


def test_a_broken_prompt_is_a_fault_also_when_all_others_are_known(tmp_path: Path):
    with hostile.hostile(for_bad(Play(status=500, body=b"oh"))) as server:
        for _ in range(2):
            model = OpenAIModel(endpoint(server.url, retries=0), Ledger(tmp_path))
            assert ask(model, "a", "bad") == [["a 0"], ["status 500: oh"]]


def test_a_refused_prompt_counts_once_however_many_answers_are_asked_for():
    def script(asked: Asked) -> Play:
        if "n" in asked.body:
            return Play(status=400, body={"error": {"message": "'n' : number must be at most 1"}})
        return for_bad(TOO_LONG)(asked)

    with hostile.hostile(script) as server:
        found = ask(OpenAIModel(endpoint(server.url, concurrency=1)), "bad", "a", how=replace(HOW, n=10))
    assert found[1] == ["a 0"] * 10
    assert all("maximum context" in fault for fault in found[0])


def test_a_server_that_has_never_answered_and_refuses_everything_is_an_error():
    with hostile.hostile(lambda asked: TOO_LONG) as server:
        with pytest.raises(SparringError, match=r"answers nothing: status 400: .*maximum context.*mend model"):
            ask(OpenAIModel(endpoint(server.url, concurrency=1)), *map(str, range(40)))
        assert len(server.asked) == 8


def test_what_is_under_way_is_kept_when_a_call_ends():
    def script(asked: Asked) -> Play:
        if asked.body["messages"][-1]["content"] == "bad":
            return Play(status=404)
        time.sleep(0.3)
        return honest(asked)

    with hostile.hostile(script) as server:
        ledger = Ledger()
        model = OpenAIModel(endpoint(server.url), ledger)
        with pytest.raises(SparringError):
            ask(model, "a", "b", "bad", *map(str, range(50)))
        assert model.usage().requests == 3, "four were under way, one of them refused"
        server.script = lambda asked: Play(status=500)
        assert ask(OpenAIModel(endpoint(server.url), ledger), "a", "b") == [["a 0"], ["b 0"]]


# -- limits ---------------------------------------------------------------------------------------------------------------------


def test_no_more_requests_are_under_way_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def script(asked: Asked) -> Play:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return honest(asked)

    with hostile.hostile(script) as server:
        ask(OpenAIModel(endpoint(server.url, concurrency=3)), *map(str, range(20)))
    assert most[0] == 3


@pytest.mark.parametrize("limit", [{"requests_per_minute": 600}, {"tokens_per_minute": 9000}], ids=["requests", "tokens"])
def test_requests_and_tokens_per_minute_are_kept(limit: dict[str, int]):
    with hostile.hostile(honest) as server:
        begun = time.monotonic()
        ask(OpenAIModel(endpoint(server.url, **limit)), *map(str, range(11)))
        # 10 gaps of 0.1 s; a request takes 15 tokens, 10 of them 60 * 150 / 9000 = 1 s.
        assert 0.8 < time.monotonic() - begun < 3


def test_a_budget_in_tokens_is_never_exceeded_by_anybody(tmp_path: Path):
    with hostile.hostile(honest) as server:
        settings = endpoint(server.url, budget_tokens=100)  # a request may take 17 + 8 + the prompt's bytes, and takes 15
        with pytest.raises(SparringError, match=r"of 100 tokens are spent.*raise budget_tokens"):
            ask(OpenAIModel(settings, Ledger(tmp_path)), *map(str, range(50)))
        spent = OpenAIModel(settings, Ledger(tmp_path)).usage()
        assert 75 <= spent.tokens <= 100
        asked = len(server.asked)
        with pytest.raises(SparringError, match=f"{spent.tokens} of 100 tokens"):
            ask(OpenAIModel(settings, Ledger(tmp_path)), "another process")
        assert len(server.asked) == asked
        richer = OpenAIModel(endpoint(server.url, budget_tokens=1000), Ledger(tmp_path))
        assert len(ask(richer, *map(str, range(50)))) == 50
        assert len(server.asked) == 50, "what was paid for is not asked again"


def test_a_budget_in_money_counts_what_the_server_says(tmp_path: Path):
    with hostile.hostile(honest) as server:
        prices = {"usd_per_million_prompt": 1000.0, "usd_per_million_completion": 10_000.0}
        model = OpenAIModel(endpoint(server.url, budget_usd=0.5, **prices), Ledger(tmp_path))
        ask(model, "a", "b")
        # 10 prompt tokens at 0.001 and 5 others at 0.01 dollars: 0.06 a request.
        assert replace(model.usage(), usd=0.0) == Usage(prompt_tokens=20, completion_tokens=10, requests=2)
        assert model.usage().usd == pytest.approx(0.12)
        with pytest.raises(SparringError, match=r"of 0.5 dollars are spent.*raise budget_usd"):
            ask(model, *map(str, range(20)))
        assert model.usage().usd <= 0.5


def test_a_budget_in_money_needs_a_price():
    with pytest.raises(SparringError, match=r"judge\.endpoint\.budget_usd = 5.0 limits nothing.*usd_per_million_completion"):
        parse_recipe({"judge": {"endpoint": {"budget_usd": 5.0}}})
    parse_recipe({"judge": {"endpoint": {"budget_usd": 5.0, "usd_per_million_completion": 1.0}}})
    with pytest.raises(SparringError, match=r"watch\.judges.*budget_usd"):
        parse_recipe({"watch": {"judges": [{"kind": "rubric", "endpoint": {"budget_usd": 5.0}}]}})


def test_answers_of_no_use_are_paid_for_too():
    def script(asked: Asked) -> Play:
        return Play(body=answer(asked, choices=[]))

    with hostile.hostile(script) as server:
        model = OpenAIModel(endpoint(server.url, retries=1))
        ask(model, "a")
        assert model.usage() == Usage(prompt_tokens=20, completion_tokens=10, retries=1)


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": -5, "completion_tokens": 2}, {"prompt_tokens": "7"}, [1], {}])
def test_a_server_that_does_not_count_is_counted_upwards(usage: Any):
    with hostile.hostile(lambda asked: Play(body=answer(asked, usage=usage))) as server:
        model = OpenAIModel(endpoint(server.url))
        ask(model, "a")
        assert 10 <= model.usage().tokens <= 30


# -- nothing is asked twice ---------------------------------------------------------------------------------------------------


def test_a_ledger_answers_for_the_server(tmp_path: Path):
    how = replace(HOW, n=2)
    with hostile.hostile(lambda asked: Play(body=answer(asked, n=1))) as server:
        first = OpenAIModel(endpoint(server.url), Ledger(tmp_path)).sample(["a", "b"], how, role="solver", seed=0)
        asked, url = len(server.asked), server.url
        other = OpenAIModel(endpoint(server.url), Ledger(tmp_path))
        for change in ({"seed": 1}, {"role": "creator"}):
            other.sample(["a"], how, **{"role": "solver", "seed": 0, **change})
        assert len(server.asked) == asked + 4
    gone = OpenAIModel(endpoint(url), Ledger(tmp_path))
    assert gone.sample(["b", "a"], how, role="solver", seed=0) == first[::-1]


def test_other_weights_are_asked_anew(tmp_path: Path):
    with hostile.hostile(honest) as server:
        for version in ("one", "two", "one"):
            ask(OpenAIModel(endpoint(server.url), Ledger(tmp_path), serving=Serving(model="tiny", version=version)), "a")
        assert len(server.asked) == 2


CLIENT = """
import sys
from sparring.config import Endpoint
from sparring.game import Sampling
from sparring.models.ledger import Ledger
from sparring.models.openai import OpenAIModel

url, folder = sys.argv[1:]
model = OpenAIModel(Endpoint(url=url, model="tiny", concurrency=4), Ledger(folder))
groups = model.sample([str(k) for k in range(60)], Sampling(n=1, max_new_tokens=8), role="solver", seed=0)
print(sum(len(group) for group in groups))
"""


def test_who_was_killed_asks_for_what_is_missing(tmp_path: Path):
    answered = threading.Semaphore(0)

    def script(asked: Asked) -> Play:
        time.sleep(0.02)
        answered.release()
        return honest(asked)

    with hostile.hostile(script) as server:
        command = [sys.executable, "-c", CLIENT, server.url, str(tmp_path)]
        client = subprocess.Popen(command, stdout=subprocess.PIPE)
        for _ in range(20):
            assert answered.acquire(timeout=60)
        client.send_signal(signal.SIGKILL)
        client.communicate()
        time.sleep(0.1)
        before = len(server.asked)
        with sqlite3.connect(tmp_path / FILE) as db:
            kept = db.execute("SELECT COUNT(*) FROM calls").fetchone()[0]
        db.close()
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        assert done.stdout.strip() == b"60"
        assert 16 <= kept <= before < 60
        assert len(server.asked) == before + 60 - kept
        assert before - kept <= 4, "only what was under way is asked again"
        assert Ledger(tmp_path).spent(f"{server.url} tiny").requests == 60


SPENDER = """
import sys
from sparring.models.ledger import Ledger, Usage

ledger = Ledger(sys.argv[1])
for k in range(50):
    ledger.keep(f"{k % 10}", sys.argv[2], "account", Usage(prompt_tokens=1, requests=1))
"""


def test_processes_and_threads_share_a_ledger(tmp_path: Path):
    ledger = Ledger(tmp_path)

    def spend() -> None:
        for k in range(50):
            ledger.keep(f"{k % 10}", "thread", "account", Usage(prompt_tokens=1, requests=1))

    workers = [subprocess.Popen([sys.executable, "-c", SPENDER, str(tmp_path), str(number)]) for number in range(2)]
    threads = [threading.Thread(target=spend) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert ledger.spent("account") == Usage(prompt_tokens=200, requests=200)


def test_the_first_answer_under_a_key_is_right():
    ledger = Ledger()
    assert ledger.keep("k", "first", "a", Usage(requests=1)) == "first"
    assert ledger.keep("k", "second", "a", Usage(requests=1)) == "first"
    ledger.forget(["k"])
    assert ledger.find("k") is None
    assert ledger.spent("a").requests == 2


def test_a_hold_on_a_budget_ends_with_its_request_or_its_time():
    ledger, budget, need = Ledger(), Budget(tokens=100), Budget(tokens=60)
    hold = ledger.reserve("a", budget, need, 60)
    assert hold is not None
    assert ledger.reserve("a", budget, need, 60) is None, "both would be too much"
    assert ledger.reserve("other", budget, need, -1) is not None
    ledger.release(hold)
    assert ledger.reserve("a", budget, need, -1) is not None
    assert ledger.reserve("a", budget, need, 60) is not None, "the one before died"
    ledger.charge("a", Usage(prompt_tokens=50))
    with pytest.raises(SparringError, match="50 of 100 tokens are spent and the next request may take 60"):
        ledger.reserve("a", budget, need, 60)


def test_a_ledger_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(SparringError, match="cannot be opened as a ledger"):
        Ledger(tmp_path)
    newer = tmp_path / "newer"
    newer.mkdir()
    with sqlite3.connect(newer / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(SparringError, match="has format 99"):
        Ledger(newer)


def test_the_key_is_nowhere_but_in_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    def script(asked: Asked) -> Play:
        prompt = asked.body["messages"][-1]["content"]
        if prompt == "bad":
            return Play(status=500, body=f"your key {KEY} broke me".encode())
        said = f"I was called with {asked.headers['authorization']}"
        return Play(body={"model": KEY, "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": said}}]})

    with hostile.hostile(script) as server:
        groups = OpenAIModel(endpoint(server.url, retries=1), Ledger(tmp_path)).sample(["a", "bad"], HOW, role="solver", seed=0)
        assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    seen = [repr(groups), caplog.text, *(str(file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file())]
    assert "I was called with Bearer [key]" in seen[0]
    assert len(seen) >= 3
    assert not any(KEY in text for text in seen)
