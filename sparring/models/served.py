"""A new policy's weights into the server that samples it, and how an answer from other weights is told.

    name         transformers serve loads a folder under its own name, which every answer repeats; POST /reset makes it let go of what it
                 holds, so that a folder that was written anew is read anew and old policies do not fill the memory
    vllm_lora    POST /v1/load_lora_adapter (vLLM docs, "LoRA Adapters": VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora); the
                 adapter's name carries the weights' fingerprint, and every answer repeats it
    vllm_reload  POST /collective_rpc {"method": "reload_weights"} with weights_path, then /reset_prefix_cache (vLLM docs, "Sleep Mode" and
                 "Layerwise reloading"; VLLM_SERVER_DEV_MODE=1); /update_weight_version and /weight_info where vLLM has them
    sglang       POST /update_weights_from_disk (SGLang docs, "SGLang for RL Systems"); answers carry metadata.weight_version
    command      whatever the user's command does; its answers show nothing
    none         the server has the first policy, and no other is ever sampled

All of them but ``none`` need a folder that the server can read under the same path.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparring.config import Policy
from sparring.errors import SparringError
from sparring.models.adapters import base_of, is_adapter
from sparring.models.asking import Asker, Call, Serving
from sparring.models.folders import resolve_policy
from sparring.models.transport import Reply, Trouble, hide, read_json, words

_MISSING = (404, 405)


def fingerprint(folder: Path) -> str:
    """Names the weights in a folder: the same bytes in files of the same names have the same one."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise SparringError(f"{folder} has no *.safetensors, so it is no policy")
    return _digest(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files))


@functools.lru_cache(64)
def _digest(files: tuple[tuple[str, int, int], ...]) -> str:
    """Of files as they were at a size and a time: some are many gigabytes."""
    digest = hashlib.blake2b(digest_size=8)
    for name, _, _ in files:
        with Path(name).open("rb") as file:
            digest.update(Path(name).name.encode() + hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def refresh(policy: Path, settings: Policy) -> Serving:
    """Gives ``settings.server`` the weights of the folder ``policy`` and says what to ask for from now on.

    Raises SparringError where the server cannot have them.
    """
    return _KINDS[settings.refresh](policy.resolve(), settings, fingerprint(policy))


def _none(policy: Path, settings: Policy, version: str) -> Serving:
    if version != _first(settings):
        raise SparringError(
            f"{policy} has other weights than policy.path {settings.path!r}, and policy.refresh = 'none' leaves the server with those; "
            "say how it gets new ones (--policy.refresh=name for transformers serve, vllm_reload, vllm_lora, sglang or command)"
        )
    return Serving(model=settings.server.model, version=version)


def _name(policy: Path, settings: Policy, version: str) -> Serving:
    if "@" in str(policy):
        raise SparringError(f"{policy}: what follows an @ is a revision for transformers serve; put the run into another folder")
    file = policy / "generation_config.json"
    if not (file.is_file() and json.loads(file.read_text(encoding="utf-8")).get("do_sample")):
        raise SparringError(
            f"transformers serve answers greedily, whatever the temperature, unless a checkpoint asks for sampling; put "
            f'"do_sample": true into {file.name} of policy.path, and begin the run anew'
        )
    reply = _post(settings, "/reset", {})
    if reply.status not in _MISSING:
        _expect(reply, settings, "/reset", "it is transformers serve that policy.refresh = 'name' is for")
    return Serving(model=str(policy), version=version, stamp="model")


def _vllm_lora(policy: Path, settings: Policy, version: str) -> Serving:
    if version == _first(settings):
        return Serving(model=settings.server.model, version=version, stamp="model" if settings.server.model else "none")
    adapter = policy / "adapter"
    if not is_adapter(adapter):
        raise SparringError(
            f"{policy} has no adapter/; set learner.lora_rank and learner.save_adapter, or policy.refresh = 'vllm_reload'"
        )
    _check_base(adapter, settings)
    name = f"sparring-{version}"
    reply = _post(settings, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(adapter)})
    if b"already been loaded" not in reply.body:
        start = "start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve MODEL --enable-lora --max-lora-rank=RANK"
        _expect(reply, settings, "/v1/load_lora_adapter", start)
    return Serving(model=name, version=version, stamp="model")


def _check_base(adapter: Path, settings: Policy) -> None:
    """An adapter only means something on the weights that it was trained on, and the server has the first policy's."""
    base = base_of(adapter)
    if base == settings.path or (Path(base).is_dir() and fingerprint(Path(base)) == _first(settings)):
        return
    raise SparringError(
        f"{adapter} was trained on {base!r}, the server has policy.path {settings.path!r}; "
        "let every round start from the first policy (--run.start=scratch), or set policy.refresh = 'vllm_reload'"
    )


def _vllm_reload(policy: Path, settings: Policy, version: str) -> Serving:
    start = "start it with VLLM_SERVER_DEV_MODE=1, on an address that only this machine reaches"
    reload = {"method": "reload_weights", "kwargs": {"weights_path": str(policy)}}
    _expect(_post(settings, "/collective_rpc", reload), settings, "/collective_rpc", start)
    _expect(_post(settings, "/reset_prefix_cache", {}), settings, "/reset_prefix_cache", start)
    marked = _post(settings, "/update_weight_version", {"new_version": version})
    if marked.status in _MISSING:  # an older vLLM, which has no such thing
        return Serving(model=settings.server.model, version=version)
    _expect(marked, settings, "/update_weight_version", start)
    return Serving(model=settings.server.model, version=version, stamp="info")


def _sglang(policy: Path, settings: Policy, version: str) -> Serving:
    body = {"model_path": str(policy), "weight_version": version, "flush_cache": True}
    path, repair = "/update_weights_from_disk", "see what the server's log says; it must be SGLang and read this folder"
    reply = _post(settings, path, body)
    _expect(reply, settings, path, repair)
    try:
        done = read_json(reply.body)
    except Trouble:
        done = None
    if not isinstance(done, dict) or done.get("success") is not True:
        raise SparringError(f"{settings.server.url}: {path} failed: {words(reply.body)}; {repair}")
    return Serving(model=settings.server.model, version=version, stamp="weights")


def _command(policy: Path, settings: Policy, version: str) -> Serving:
    command = shlex.split(settings.refresh_command)
    if not command:
        raise SparringError("policy.refresh = 'command' needs policy.refresh_command, which is run with the policy's folder")
    shown, limit_s = " ".join(command), settings.server.deadline_s
    try:
        done = subprocess.run(
            [*command, str(policy)], capture_output=True, timeout=limit_s, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise SparringError(f"policy.refresh_command {shown!r} cannot be run: {error.strerror}; mend it") from None
    except subprocess.TimeoutExpired:
        raise SparringError(
            f"policy.refresh_command {shown!r} took longer than deadline_s {limit_s:g}; mend it or raise that"
        ) from None
    if done.returncode != 0:
        said = hide(words(done.stderr[-1000:]), os.environ.get(settings.server.key_env, "").strip())
        raise SparringError(f"policy.refresh_command {shown!r} ended with status {done.returncode}: {said}; mend it")
    return Serving(model=settings.server.model, version=version)


_KINDS: dict[str, Callable[[Path, Policy, str], Serving]] = {
    "none": _none,
    "name": _name,
    "vllm_lora": _vllm_lora,
    "vllm_reload": _vllm_reload,
    "sglang": _sglang,
    "command": _command,
}


def _first(settings: Policy) -> str:
    return fingerprint(resolve_policy(settings.path))


def _post(settings: Policy, path: str, body: dict[str, Any]) -> Reply:
    """To the server's root; weights may take as long as ``deadline_s`` to load."""
    patient = settings.server.model_copy(update={"timeout_s": settings.server.deadline_s})

    async def work(call: Call) -> Reply:
        return await call.control(path, body)

    return Asker(patient, None).run(work)


def _expect(reply: Reply, settings: Policy, path: str, repair: str) -> None:
    if not 200 <= reply.status < 300:
        raise SparringError(f"{settings.server.url}: {path} gave status {reply.status}: {words(reply.body)}; {repair}")
