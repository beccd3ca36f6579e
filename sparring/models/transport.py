"""Requests to a server whose answers are not to be trusted: one at a time, bounded in time and size, with the troubles told apart.

The key is read from the environment when a request is made, sent to the endpoint's own address and nowhere else, and struck out of
everything that comes back before anybody reads it.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from urllib.parse import urlsplit

import httpx2

from sparring.config import Endpoint
from sparring.errors import SparringError

_HIDDEN = "[key]"
_SECRET = 8
"""Characters from which a key is one: "EMPTY" and the like stand for none, and occur in honest answers."""
_SHOWN = 300
"""Characters of a server's own words that an error repeats."""
_ESCAPE = re.compile(r"""\\(["\\/bfnrt])""")
_REFUSED = (400, 409, 413, 415, 422)
_LATER = (408, 425, 429)


@dataclass(eq=False)
class Trouble(Exception):
    """A request that brought nothing.

    ``down``: nobody listens; ``silent``: nothing came back, or the server broke; ``busy``: come back ``after_s``; ``bad``: an answer
    that is none; ``refused``: the server will not answer this request, ever; ``filtered``: nor this one, which its content
    filter holds back.
    """

    kind: Literal["down", "silent", "busy", "bad", "refused", "filtered"]
    reason: str
    after_s: float | None = None
    status: int = 0

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    status: int
    headers: httpx2.Headers
    body: bytes


class Pace:
    """Requests and tokens per minute, evenly spread; shared by the threads of a process."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self._request_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_s = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._free_at = 0.0
        self._lock = threading.Lock()

    def book(self, tokens: int) -> float:
        """Seconds to wait until a request of that many tokens may be sent, which it then must be."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._free_at)
            self._free_at = start + max(self._request_s, tokens * self._token_s)
            return start - now

    def correct(self, tokens: int) -> None:
        """A request took that many tokens more (or, below 0, less) than were booked for it."""
        if self._token_s > self._request_s:
            with self._lock:
                self._free_at += tokens * self._token_s

    def hold(self, seconds: float) -> None:
        """The server asked to be left alone for so long."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() + seconds)


class Transport:
    """The way to one endpoint. Raises SparringError for what the user has to mend, and ``Trouble`` for the rest."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.url = _checked_url(endpoint.url)
        self.root = re.sub(r"/v\d+$", "", self.url)
        """The server without the API's version: where servers keep what is not part of the API."""
        # Reading all certificates takes a fifth of a second: once is enough, and not at all where none is shown.
        self._verify = httpx2.create_ssl_context() if self.url.startswith("https:") else False

    def open(self) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=self.endpoint.concurrency)
        return httpx2.AsyncClient(verify=self._verify, timeout=None, limits=limits, follow_redirects=False)

    async def ask(self, client: httpx2.AsyncClient, path: str, body: Any = None, within_s: float = math.inf) -> dict[str, Any]:
        """The JSON object that a POST of ``body`` (a GET without one) is answered with; ``path`` as in ``/completions``."""
        reply = await self.exchange(client, self.url + path, body, within_s)
        self.check(reply, path)
        found = read_json(reply.body)
        if not isinstance(found, dict):
            raise Trouble("bad", f"the answer is a {type(found).__name__}, not an object")
        return found

    def check(self, reply: Reply, path: str) -> None:
        """Raises what the status of a reply calls for, if it is no success."""
        status = reply.status
        if 200 <= status < 300:
            return
        said = words(reply.body)
        if status in (401, 403):
            self._unauthorised(status, said)
        if 300 <= status < 400:
            target = urlsplit(reply.headers.get("location", ""))
            raise SparringError(
                f"{self.url}{path} sends us on to {target.scheme}://{target.hostname}{target.path}, and a key is not taken along; "
                "give the final address as the endpoint's url"
            )
        if status in (404, 405, 410):
            raise SparringError(
                f"{self.url}{path} does not exist, or the model {self.endpoint.model!r} does not ({status}: {said}); "
                "the url goes up to and with the version (http://127.0.0.1:8000/v1), and GET /models lists the models"
            )
        if b"insufficient_quota" in reply.body:
            raise SparringError(f"{self.url}: the account has no credit left ({said}); top it up and run the same command again")
        if status in _LATER or status >= 500:
            kind = "busy" if status in (429, 503) else "silent"
            raise Trouble(kind, f"status {status}: {said}", _retry_after(reply.headers.get("retry-after")), status)
        kind = "filtered" if b'"content_filter"' in reply.body else "refused" if status in _REFUSED else "bad"
        raise Trouble(kind, f"status {status}: {said}", status=status)

    async def exchange(self, client: httpx2.AsyncClient, url: str, body: Any = None, within_s: float = math.inf) -> Reply:
        """One request and the whole of its response, within ``timeout_s`` (or ``within_s``, if less) and ``max_answer_mb``."""
        within_s = min(within_s, self.endpoint.timeout_s)
        key = os.environ.get(self.endpoint.key_env, "").strip()
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        try:
            async with asyncio.timeout(within_s):
                reply = await self._read(client, url, body, headers)
        except TimeoutError:
            raise Trouble("silent", f"no whole answer within {within_s:.3g} s (timeout_s)") from None
        except (httpx2.ConnectError, httpx2.ProxyError) as error:
            raise Trouble("down", hide(f"no connection: {error}", key)) from None
        except (httpx2.HTTPError, UnicodeError, ImportError) as error:
            raise Trouble("silent", hide(f"the connection broke: {type(error).__name__} {error}", key)) from None
        return Reply(status=reply.status, headers=reply.headers, body=_strike(reply.body, key))

    async def _read(self, client: httpx2.AsyncClient, url: str, body: Any, headers: dict[str, str]) -> Reply:
        limit = int(self.endpoint.max_answer_mb * 2**20)
        chunks, size = list[bytes](), 0
        method = "GET" if body is None else "POST"
        async with client.stream(method, url, json=body, headers=headers) as response:
            async for chunk in response.aiter_bytes():  # what it claims to be long, and how it is packed, does not count
                size += len(chunk)
                if size > limit:
                    raise Trouble("bad", f"the answer is longer than {self.endpoint.max_answer_mb:g} MB (max_answer_mb)")
                chunks.append(chunk)
            return Reply(status=response.status_code, headers=response.headers, body=b"".join(chunks))

    def _unauthorised(self, status: int, said: str) -> NoReturn:
        name = self.endpoint.key_env
        state = f"the key in the environment variable {name} is" if os.environ.get(name) else "no key is given and one is"
        wanted = "not accepted" if os.environ.get(name) else f"needed; export {name}=..."
        raise SparringError(
            f"{self.url} refuses us ({status}: {said}): {state} {wanted}, "
            "or key_env of this endpoint names another variable; the same command goes on from here"
        )


def read_json(body: bytes) -> Any:
    """JSON as the standard has it: no NaN, no bottomless nesting."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Trouble("bad", f"the answer is no JSON ({str(error)[:80]}): {words(body)[:80]!r}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SparringError(f"endpoint url {url!r} is no address of a server; write http://HOST:PORT/v1")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SparringError(
            f"the endpoint url at {parts.hostname} holds a user, a password or a query, which would be written into the run; "
            "put the key into the environment variable that key_env names"
        )
    return url.rstrip("/")


def words(body: bytes) -> str:
    """What a server says of its refusal: in one line, not too long, printable, without the escapes of JSON's strings."""
    text = _ESCAPE.sub(_plain, body[: 4 * _SHOWN].decode("utf-8", "replace"))
    text = " ".join(text.split())
    return "".join(char if char.isprintable() else "?" for char in text)[:_SHOWN]


def _plain(escape: re.Match[str]) -> str:
    return escape[1] if escape[1] in '"\\/' else " "


def _strike(body: bytes, key: str) -> bytes:
    return body.replace(key.encode(), _HIDDEN.encode()) if len(key) >= _SECRET else body


def hide(text: str, key: str) -> str:
    return text.replace(key, _HIDDEN) if len(key) >= _SECRET else text


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which has them or a date (RFC 9110 sec. 10.2.3); None where it has neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError, TypeError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
