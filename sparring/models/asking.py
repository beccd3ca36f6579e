"""Many requests to one server at once: kept within limits and budget, repeated where that may help, never asked twice.

Three things can happen to a request. It is answered, and the answer is in the ledger. Or it fails for a reason of its own, after
all retries: that is a ``Trouble`` of its prompt alone. Or it shows that no request will be answered: then the whole call ends with a
SparringError that says what to mend, and the same call made again asks only for what is missing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import hashlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx2

from sparring.config import Endpoint
from sparring.errors import SparringError
from sparring.game import stable_hash
from sparring.models.answers import Answer, Api, guessed_tokens, read_answer, usage_of
from sparring.models.ledger import Budget, Ledger, Usage
from sparring.models.refusals import refused_field
from sparring.models.transport import Pace, Reply, Transport, Trouble, read_json

T = TypeVar("T")

FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 60.0
_IN_A_ROW = 8
"""So many requests that fail one after the other, none being answered in between, are no longer the prompts' fault."""
_REPAIRS = {
    "down": "start the server, or mend the endpoint's url",
    "silent": "see what the server's log says, or raise timeout_s",
    "busy": "lower concurrency, or set requests_per_minute and tokens_per_minute to what the server allows",
    "bad": "check that the url is that of an OpenAI-compatible API and that it serves the weights that were asked for",
    "refused": "mend model, api, max_new_tokens or extra of this endpoint, or set top_p = 1 where the model takes none",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Which model to ask for, and how its answers show that it was asked.

    ``version`` names the weights. ``stamp`` says where it can be read: in the answer's ``model``, in its ``metadata.weight_version``
    (SGLang), from the server before and after a call (``info``, vLLM's /weight_info), or nowhere. ``fingerprint``: a
    ``system_fingerprint`` to insist on.
    """

    model: str
    version: str = ""
    stamp: Literal["model", "weights", "info", "none"] = "none"
    fingerprint: str = ""

    def check(self, answer: Answer) -> None:
        """Raises ``Trouble`` for an answer from other weights."""
        seen = {"model": answer.model.removesuffix("@main"), "weights": answer.weights}  # transformers serve adds a revision
        wanted = self.version if self.stamp == "weights" else self.model
        if self.stamp in seen and seen[self.stamp] != wanted:
            raise Trouble("bad", f"an answer from other weights: from {seen[self.stamp]!r}, {wanted!r} was asked for")
        if self.fingerprint and answer.fingerprint != self.fingerprint:
            raise Trouble("bad", f"an answer from another server: {answer.fingerprint!r}, expected {self.fingerprint!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """``body`` is what is wanted, all of it; ``prompt_tokens`` an upper bound; ``plain`` the prompt as text where the body has token
    ids, or None where no text stands for them; ``fixed`` fields must not be left out; ``echo``: (first, count) of the prompt tokens
    whose log-probs are wanted."""

    api: Api
    body: dict[str, Any]
    prompt_tokens: int
    max_tokens: int
    serving: Serving
    n: int = 1
    plain: str | None = None
    fixed: frozenset[str] = frozenset()
    echo: tuple[int, int] | None = None

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.n * self.max_tokens

    def key(self, url: str) -> str:
        parts = [url, self.api, self.serving.version, self.body]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


@dataclass(eq=False)
class Prompt:
    """When the requests of one prompt must have been answered: ``deadline_s`` after the first one was sent."""

    until: float = math.inf

    def left_s(self) -> float:
        return self.until - time.monotonic()

    def begin(self, deadline_s: float) -> None:
        if self.until == math.inf:
            self.until = time.monotonic() + deadline_s


class OneByOne(Exception):
    """The server refuses a request for several answers at once."""


class _Stopped(Exception):
    """The call has ended for a reason that another request found."""


class Asker:
    """What outlives a call: the way to the server, its pace, and the ledger."""

    def __init__(self, endpoint: Endpoint, ledger: Ledger | None) -> None:
        self.endpoint = endpoint
        self.transport = Transport(endpoint)
        self.ledger = ledger or Ledger()
        self.pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self.account = f"{self.transport.url} {endpoint.model}".strip()

    def run(self, work: Callable[[Call], Awaitable[T]]) -> T:
        """The result of ``work``, which is asynchronous inside, from code that is not (a notebook's loop may run around it)."""

        async def inside() -> T:
            async with self.transport.open() as client:
                return await work(Call(self, client))

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(inside())
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, inside()).result()

    def cost(self, prompt_tokens: int, completion_tokens: int, **counts: int) -> Usage:
        paid = prompt_tokens * self.endpoint.usd_per_million_prompt + completion_tokens * self.endpoint.usd_per_million_completion
        return Usage(prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, usd=paid / 1e6, **counts)


@dataclass
class Call:
    """One call of a model: many prompts, each with its requests, under one event loop."""

    asker: Asker
    client: httpx2.AsyncClient
    kept: list[str] = field(default_factory=list[str])
    """Keys of the answers that this call has paid for."""

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.asker.endpoint.concurrency)
        self._stopped = asyncio.Event()
        self._error: SparringError | None = None
        self._answered = False  # now, or by an answer that is kept
        self._in_a_row: set[Prompt | str] = set()
        self._troubles: list[Trouble] = []

    async def gather(self, works: Iterable[Awaitable[T]]) -> list[T]:
        """All results, in order, once all are there: an answer that is under way is paid for, so nothing is cancelled.

        Raises SparringError where a request showed that there is no point in more, or where none was answered and that tells of
        the server.
        """
        try:
            results = await settled(works)
        except (_Stopped, SparringError) as error:
            raise (self._error or error) from None
        if self._error is not None:
            raise self._error
        if self._troubles and not self._answered and all(self._tells(trouble) for trouble in self._troubles):
            raise self._hopeless(self._troubles[0])
        return results

    async def ask(self, prompt: Prompt, request: Request) -> Answer:
        """The answer to one request, from the ledger or the server.

        Raises ``Trouble`` where all retries brought none, and ``OneByOne``.
        """
        key = request.key(self.asker.transport.url)
        found = self.asker.ledger.find(key)
        if found is not None:
            self._answered = True
            return Answer.load(found)
        async with self._slots:
            try:
                answer = await self._insist(prompt, request, key)
            except Trouble as trouble:
                self._troubles.append(trouble)
                if trouble.kind == "bad" or self._tells(trouble):
                    # Whatever else is asked for a refused prompt is refused as well: it counts once.
                    self._in_a_row.add(prompt if trouble.kind == "refused" else key)
                if trouble.kind == "down" or len(self._in_a_row) == _IN_A_ROW:
                    self._stop(self._hopeless(trouble))
                raise
            except SparringError as error:
                self._stop(error)
                raise
        self._in_a_row.clear()
        self._answered = True
        self.kept.append(key)
        return answer

    async def weight_version(self) -> str | None:
        """What the server says of its weights (vLLM in development mode); None where it says nothing."""
        reply = await self.control("/weight_info")
        try:
            found = read_json(reply.body) if reply.status == 200 else None
        except Trouble:
            found = None
        return str(found.get("weight_version")) if isinstance(found, dict) else None

    async def control(self, path: str, body: Any = None) -> Reply:
        """The reply to a POST of ``body`` (a GET without one) beside the API, whatever its status; asked once."""
        try:
            return await self.asker.transport.exchange(self.client, self.asker.transport.root + path, body)
        except Trouble as trouble:
            raise self._hopeless(trouble) from None

    async def models(self, retries: int) -> list[tuple[str, str]]:
        """(name, owner) of the models that the server lists."""
        attempt = 0
        while True:
            try:
                found = (await self.asker.transport.ask(self.client, "/models")).get("data")
            except Trouble as trouble:
                if attempt == retries or trouble.kind == "refused":
                    raise self._hopeless(trouble) from None
                await asyncio.sleep(backoff_s(self.asker.account, attempt))
                attempt += 1
            else:
                models = [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []
                return [(str(item.get("id")), str(item.get("owned_by"))) for item in models]

    async def _insist(self, prompt: Prompt, request: Request, key: str) -> Answer:
        """Attempts until one is answered, the retries are used up or the deadline comes."""
        asker, failed, broke, spared = self.asker, 0, 0, set[str]()
        while True:
            habits = asker.ledger.habits(asker.account)
            if broke >= 2 and "stop" in request.body:  # some servers break on a stop text
                spared.add("stop")
            try:
                answer = await self._attempt(prompt, request, key, habits | spared)
            except Trouble as trouble:
                told = trouble.kind == "refused" or trouble.status == 500  # llama.cpp breaks over what it refuses
                if told and (habit := refused_field(request.body, request.fixed, trouble.reason, habits | spared)):
                    if habit == "n":
                        raise OneByOne from None
                    spared.add(habit)
                    continue
                failed, broke = failed + 1, broke + (trouble.status >= 500)
                await self._wait(prompt, trouble, failed, key)
            else:
                for habit in spared - habits:  # the answer proves it: the same words may have meant something else
                    asker.ledger.learn(asker.account, habit)
                return answer

    async def _wait(self, prompt: Prompt, trouble: Trouble, failed: int, key: str) -> None:
        """Until the next attempt after ``failed`` ones; raises ``trouble`` where there is none."""
        if trouble.kind in ("refused", "filtered") or failed > self.asker.endpoint.retries:
            raise trouble
        wait_s = trouble.after_s if trouble.after_s is not None else backoff_s(key, failed - 1)
        if wait_s >= prompt.left_s():
            raise Trouble(trouble.kind, f"{trouble.reason}; no time is left to try again (deadline_s)", status=trouble.status)
        self.asker.ledger.charge(self.asker.account, Usage(retries=1))
        if trouble.after_s is not None:
            self.asker.pace.hold(trouble.after_s)
        await self._pause(wait_s)

    async def _attempt(self, prompt: Prompt, request: Request, key: str, without: Set[str]) -> Answer:
        """One request; it is paid for whether or not the response is of use."""
        asker = self.asker
        await self._pause(asker.pace.book(request.tokens))
        hold = await self._reserve(request)
        try:
            prompt.begin(asker.endpoint.deadline_s)
            path = "/chat/completions" if request.api == "chat" else "/completions"
            found = await asker.transport.ask(self.client, path, _fitted(request, without), max(prompt.left_s(), 0.001))
            return self._checked(found, request, key)
        finally:
            if hold is not None:
                asker.ledger.release(hold)

    def _checked(self, found: dict[str, Any], request: Request, key: str) -> Answer:
        asker, counts = self.asker, usage_of(found)
        try:
            answer = read_answer(found, request.api, request.max_tokens, request.echo)
            request.serving.check(answer)
        except Trouble:
            if counts is not None:
                asker.ledger.charge(asker.account, asker.cost(*counts))
            raise
        spent = counts or (request.prompt_tokens, guessed_tokens([choice.text for choice in answer.choices]))
        asker.pace.correct(sum(spent) - request.tokens)
        return Answer.load(asker.ledger.keep(key, answer.dump(), asker.account, asker.cost(*spent, requests=1)))

    async def _reserve(self, request: Request) -> int | None:
        """A hold on the budget; waits while other requests under way may use it up or leave it."""
        endpoint, ledger = self.asker.endpoint, self.asker.ledger
        budget = Budget(tokens=endpoint.budget_tokens, usd=endpoint.budget_usd)
        if budget == Budget():
            return None
        cost = self.asker.cost(request.prompt_tokens, request.n * request.max_tokens)
        need = Budget(tokens=cost.tokens, usd=cost.usd)
        while True:
            hold = ledger.reserve(self.asker.account, budget, need, 2 * endpoint.timeout_s)
            if hold is not None:
                return hold
            await self._pause(0.1)

    async def _pause(self, seconds: float) -> None:
        """Raises ``_Stopped`` as soon as the call has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._stopped.wait()
        if self._stopped.is_set():
            raise _Stopped

    def _tells(self, trouble: Trouble) -> bool:
        """Whether it may be the server's and not the prompt's: one that has answered anything refuses this prompt (too long, say)."""
        if trouble.kind == "refused":
            return not self.asker.ledger.spent(self.asker.account).requests
        return trouble.kind not in ("bad", "filtered")

    def _stop(self, error: SparringError) -> None:
        self._error = self._error or error
        self._stopped.set()

    def _hopeless(self, trouble: Trouble) -> SparringError:
        endpoint = self.asker.endpoint
        return SparringError(
            f"{self.asker.account} answers nothing: {trouble.reason} (after {endpoint.retries} retries); {_REPAIRS[trouble.kind]}; "
            "what was answered is kept, and the same command goes on from here"
        )


async def settled(works: Iterable[Awaitable[T]]) -> list[T]:
    """All results once all are there; the first exception, if there is one, only then."""
    tasks = [asyncio.ensure_future(work) for work in works]
    if tasks:
        await asyncio.wait(tasks)
    for error in [task.exception() for task in tasks]:
        if error is not None:
            raise error
    return [task.result() for task in tasks]


def _fitted(request: Request, without: Set[str]) -> dict[str, Any]:
    """The body as this server takes it. Raises SparringError where that would be another distribution than the one asked for."""
    if "top_p" in without - request.fixed and request.body.get("top_p", 1) != 1:
        raise SparringError(
            f"the model {request.serving.model!r} takes no top_p, and {request.body['top_p']} is set; set top_p = 1 where it is "
            "sampled (--solver.top_p=1, --creator.top_p=1) and run the same command again"
        )
    kept = {"max_tokens", *request.fixed}
    body = {name: value for name, value in request.body.items() if name not in without or name in kept}
    if "max_tokens" in without:
        body["max_completion_tokens"] = body.pop("max_tokens")
    if "ids" in without and isinstance(body.get("prompt"), list):
        if request.plain is None:
            raise Trouble("refused", "the server takes no token ids, and no text stands for these (they spell special tokens)")
        body["prompt"] = request.plain
    return body


def backoff_s(key: str, attempt: int) -> float:
    """Exponential back-off with a jitter that depends on the request alone."""
    jitter = stable_hash(key, attempt) % 1000 / 2000
    return min(FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S) * (0.5 + jitter)
