"""The real ``transformers serve`` on loopback, in a process of its own, with checkpoints that sample."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path

from transformers import GenerationConfig

from tests.tiny import save_tiny

PATIENCE_S = 90.0


def save_sampling(folder: Path, seed: int = 0) -> Path:
    """A tiny checkpoint that the server samples from: it decodes greedily what does not ask for more in its own folder."""
    save_tiny(folder, seed=seed)
    GenerationConfig(do_sample=True, eos_token_id=[1, 20, 40], pad_token_id=0).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def transformers_serve(log: Path) -> Generator[str]:
    """The URL of a server that loads whatever folder it is asked for; it is gone after the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with log.open("wb") as output:
        server = subprocess.Popen([*command, "--device", "cpu"], stdout=output, stderr=output, env=environment)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"transformers serve did not come up:\n{log.read_text(errors='replace')[-2000:]}")
