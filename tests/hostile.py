"""A server on loopback that does whatever a test scripts: it answers, lies, breaks off, hangs, or sends without end."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Asked:
    """A request as it came in."""

    path: str
    body: Body
    headers: dict[str, str]


@dataclass
class Play:
    """What to do with a request: send this, or do that to the connection."""

    status: int = 200
    body: bytes | Body = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    raw: Callable[[BaseHTTPRequestHandler], None] | None = None


Script = Callable[[Asked], Play]


class Hostile:
    """``asked`` is every request so far; ``script`` decides on each (it may be exchanged at any time)."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.gone = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                self._play()

            def do_GET(self) -> None:
                self._play()

            def _play(self) -> None:
                text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.path, json.loads(text) if text else {}, {k.lower(): v for k, v in self.headers.items()})
                server.asked.append(asked)
                _send(self, server.script(asked))

            def log_message(self, format: str, *args: Any) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None: ...  # clients hang up on a hostile server

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"

    def prompts(self) -> list[str]:
        """The last message, or the prompt, of every request."""
        return [str(one.body.get("prompt") or one.body["messages"][-1]["content"]) for one in self.asked if one.body]


@contextlib.contextmanager
def hostile(script: Script) -> Generator[Hostile]:
    server = Hostile(script)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gone.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()


def in_turn(plays: Iterable[Play], then: Script) -> Script:
    """Each of ``plays`` once, whoever asks; then as ``then`` says."""
    left, lock = list(plays), threading.Lock()

    def script(asked: Asked) -> Play:
        with lock:
            play = left.pop(0) if left else None
        return play or then(asked)

    return script


def honest(asked: Asked) -> Play:
    """An answer to a chat or a completions request that repeats the prompt; ``n`` is kept."""
    if asked.path.endswith("/models"):
        return Play(body={"object": "list", "data": [{"id": "tiny", "owned_by": "us"}]})
    return Play(body=answer(asked))


def answer(asked: Asked, n: int | None = None, **changes: Any) -> Body:
    body, chat = asked.body, asked.path.endswith("/chat/completions")
    prompt = body["messages"][-1]["content"] if chat else body["prompt"]
    words = [f"{prompt} {k}" for k in range(body.get("n", 1) if n is None else n)]
    choices = [
        {"index": k, "finish_reason": "stop", **({"message": {"role": "assistant", "content": text}} if chat else {"text": text})}
        for k, text in enumerate(words)
    ]
    usage = {"prompt_tokens": 10, "completion_tokens": 5 * len(words), "total_tokens": 10 + 5 * len(words)}
    return {"id": "x", "object": "y", "model": body.get("model"), "choices": choices, "usage": usage, **changes}


def hang(handler: BaseHTTPRequestHandler) -> None:
    """Nothing at all, for longer than any test waits."""
    time.sleep(3)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then: never silent for long, never done."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """The connection is torn down, not closed."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def half(handler: BaseHTTPRequestHandler) -> None:
    """Half of what was promised, then the end."""
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"choices": [{"te')
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler) -> None:
    """Chunk after chunk under the claim of a short answer that never comes to an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        handler.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


def bomb(megabytes: int) -> Play:
    """So many megabytes of blanks, packed into a thousandth of that."""
    return Play(body=gzip.compress(b" " * (megabytes << 20)), headers={"Content-Encoding": "gzip"})


def _send(handler: BaseHTTPRequestHandler, play: Play) -> None:
    with contextlib.suppress(OSError):
        if play.raw is not None:
            handler.close_connection = True
            play.raw(handler)
            return
        body = play.body if isinstance(play.body, bytes) else json.dumps(play.body).encode()
        handler.send_response(play.status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **play.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)
