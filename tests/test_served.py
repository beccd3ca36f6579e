"""Weights into servers: ``transformers serve`` itself, and loopback servers that do what vLLM and SGLang document."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from sparring.config import Endpoint, Policy
from sparring.data import encode_prompt
from sparring.errors import SparringError
from sparring.game import Sampling
from sparring.models.asking import Serving
from sparring.models.openai import OpenAIModel
from sparring.models.served import fingerprint, refresh
from tests import hostile
from tests.contract import test_model as contract
from tests.hostile import Asked, Play, answer, honest
from tests.serving import save_sampling, transformers_serve
from tests.tiny import tiny_tokenizer

HOW = Sampling(n=1, temperature=1.0, max_new_tokens=8)
GREEDY = replace(HOW, temperature=0.0)


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("policies")
    return save_sampling(folder / "first", seed=0), save_sampling(folder / "second", seed=1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with transformers_serve(tmp_path_factory.mktemp("serve") / "log") as url:
        yield url


def settings(url: str, first: Path, kind: str, model: str = "", **changes: Any) -> Policy:
    server = Endpoint(url=url, model=model, retries=0, deadline_s=60.0, concurrency=1)
    return Policy(path=str(first), server=server, refresh=kind, **changes)  # pyright: ignore[reportArgumentType]


def texts(policy: Policy, serving: Serving | None, how: Sampling = GREEDY) -> list[str]:
    groups = OpenAIModel(policy.server, serving=serving).sample(contract.PROMPTS, how, role="solver", seed=0)
    return [group[0].fault or group[0].text for group in groups]


# -- transformers serve ---------------------------------------------------------------------------------------------------------

PROMISES: dict[str, Callable[..., None]] = {
    "no prompts": contract.test_no_prompts_no_samples,
    "the same question": contract.test_the_same_question_has_the_same_answer,
    "the rest of the batch": contract.test_the_rest_of_the_batch_changes_nothing,
    "asked twice": contract.test_a_prompt_asked_twice_is_answered_alike,
    "more samples": contract.test_more_samples_leave_the_first_as_they_are,
    "other seeds": contract.test_other_seeds_and_roles_draw_other_samples,
    "samples differ": contract.test_samples_of_a_prompt_differ,
    "greedy": contract.test_greedy_depends_on_no_seed,
    "log-probs": contract.test_log_probs_are_one_per_token_and_not_positive,
}


@pytest.mark.parametrize(
    ("api", "promise"),
    [*(("chat", promise) for promise in PROMISES), ("completions", "more samples")],
)
def test_transformers_serve_keeps_the_promises_that_need_no_tokens(url: str, policies: tuple[Path, Path], api: Any, promise: str):
    # One request at a time: its seed is that of the whole process.
    server = Endpoint(url=url, model=str(policies[0]), api=api, concurrency=1)
    PROMISES[promise](OpenAIModel(server, tokenizer=tiny_tokenizer()))


def test_both_apis_of_transformers_serve_read_the_same_prompt(url: str, policies: tuple[Path, Path]):
    found: list[list[str]] = []
    prompt_tokens = sum(len(encode_prompt(tiny_tokenizer(), prompt)) for prompt in contract.PROMPTS)
    for api in ("chat", "completions"):
        model = OpenAIModel(Endpoint(url=url, model=str(policies[0]), api=api), tokenizer=tiny_tokenizer())
        found.append([group[0].text for group in model.sample(contract.PROMPTS, GREEDY, role="solver", seed=0)])
        assert model.usage().prompt_tokens == prompt_tokens
    assert found[0] == found[1]


def test_transformers_serve_stops_at_a_text_although_it_cannot(url: str, policies: tuple[Path, Path]):
    policy = settings(url, policies[0], "none", str(policies[0]))
    policy = policy.model_copy(update={"server": policy.server.model_copy(update={"retries": 3})})
    whole = texts(policy, None)
    stop = next(text for text in whole if len(text) > 6)[3:6]
    assert texts(policy, None, replace(GREEDY, stop=stop)) == [text.partition(stop)[0] for text in whole]


def test_a_model_that_transformers_serve_cannot_load_is_an_error(url: str, policies: tuple[Path, Path]):
    with pytest.raises(SparringError, match="answers nothing: status 500"):
        texts(settings(url, policies[0], "none", "/not/there"), None)


def test_transformers_serve_gets_weights_by_name(url: str, policies: tuple[Path, Path], tmp_path: Path):
    first, second = policies
    policy = settings(url, first, "name")
    one, other = refresh(first, policy), refresh(second, policy)
    assert (one.model, other.model) == (str(first), str(second))
    assert one.version != other.version
    found = [texts(policy, serving) for serving in (one, other, one)]
    assert found[0] == found[2] != found[1]
    assert not any("weights" in text for group in found for text in group), "the stamp is the right one"
    # The same folder with other weights: what the server had loaded from there is gone.
    moved = shutil.copytree(first, tmp_path / "policy")
    assert texts(policy, refresh(moved, policy)) == found[0]
    shutil.copyfile(second / "model.safetensors", moved / "model.safetensors")
    assert texts(policy, refresh(moved, policy)) == found[1]


def test_a_folder_that_transformers_serve_would_misread_is_refused(policies: tuple[Path, Path], tmp_path: Path):
    odd = shutil.copytree(policies[0], tmp_path / "run@home")
    with pytest.raises(SparringError, match="revision"):
        refresh(odd, settings("http://127.0.0.1:9/v1", policies[0], "name"))


# -- fingerprints -----------------------------------------------------------------------------------------------------------------


def test_a_fingerprint_is_that_of_the_weights_alone(policies: tuple[Path, Path], tmp_path: Path):
    copy = shutil.copytree(policies[0], tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(policies[0]) != fingerprint(policies[1])
    (copy / "README.md").write_text("a model card")
    assert fingerprint(copy) == fingerprint(policies[0])
    weights = load_file(copy / "model.safetensors")
    name = next(iter(weights))
    weights[name].view(-1)[0] += 1e-3
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    assert fingerprint(copy) != fingerprint(policies[0])
    with pytest.raises(SparringError, match=r"no \*.safetensors"):
        fingerprint(tmp_path)


def test_a_server_that_gets_no_weights_serves_the_first_policy_alone(policies: tuple[Path, Path], tmp_path: Path):
    first, second = policies
    policy = settings("http://127.0.0.1:9/v1", first, "none", "tiny")
    copy = shutil.copytree(first, tmp_path / "round-000")
    assert refresh(copy, policy) == Serving(model="tiny", version=fingerprint(first))
    with pytest.raises(SparringError, match=r"other weights than policy.path.*--policy.refresh"):
        refresh(second, policy)


# -- vLLM and SGLang, as they document it -------------------------------------------------------------------------------------------


class Engine:
    """What a server holds: by which name, and of which version. ``plays`` answers by path; anything else is 404."""

    def __init__(self, **plays: Callable[[dict[str, Any]], Play]) -> None:
        self.plays = {f"/{name}": play for name, play in plays.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, asked: Asked) -> Play:
        if asked.path.startswith("/v1/") and asked.path[4:] in ("chat/completions", "models"):
            return honest(asked)
        self.calls.append((asked.path, asked.body))
        play = self.plays.get(asked.path)
        return play(asked.body) if play else Play(status=404, body={"detail": "Not Found"})


def ok(body: dict[str, Any]) -> Play:
    return Play(body={"message": "done"})


def with_adapter(policy: Path, base: str) -> Path:
    adapter = policy / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    return adapter


def test_vllm_gets_an_adapter_under_a_name_of_its_own(policies: tuple[Path, Path], tmp_path: Path):
    first = policies[0]
    second = shutil.copytree(policies[1], tmp_path / "second")
    adapter = with_adapter(second, str(first))
    name = f"sparring-{fingerprint(second)}"
    engine = Engine(**{"v1/load_lora_adapter": ok})
    with hostile.hostile(engine) as server:
        policy = settings(server.url, first, "vllm_lora", "base")
        assert refresh(first, policy) == Serving(model="base", version=fingerprint(first), stamp="model")
        assert engine.calls == [], "the server has the first policy"
        serving = refresh(second, policy)
        assert serving == Serving(model=name, version=fingerprint(second), stamp="model")
        assert engine.calls == [("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(adapter)})]
        assert texts(policy, serving)[0] == f"{contract.PROMPTS[0]} 0"
        assert server.asked[-1].body["model"] == name
        again = {"error": {"message": f"The lora adapter '{name}' has already been loaded. If you want", "code": 400}}
        engine.plays["/v1/load_lora_adapter"] = lambda body: Play(status=400, body=again)
        assert refresh(second, policy) == serving
        server.script = lambda asked: Play(body=answer(asked, model="base"))
        assert "an answer from other weights: from 'base'" in texts(policy, serving)[0]


def test_an_adapter_that_vllm_cannot_use_is_refused(policies: tuple[Path, Path], tmp_path: Path):
    first = policies[0]
    second = shutil.copytree(policies[1], tmp_path / "second")
    with hostile.hostile(Engine()) as server:
        policy = settings(server.url, first, "vllm_lora", "base")
        with pytest.raises(SparringError, match=r"no adapter/; set learner.lora_rank"):
            refresh(second, policy)
        with_adapter(second, str(first))
        with pytest.raises(SparringError, match=r"load_lora_adapter gave status 404.*VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            refresh(second, policy)
        shutil.rmtree(second / "adapter")
        with_adapter(second, str(policies[1]))
        with pytest.raises(SparringError, match=r"was trained on .*--run.start=scratch"):
            refresh(second, policy)


def test_vllm_reads_weights_anew_and_says_so(policies: tuple[Path, Path]):
    held = {"weight_version": "default"}

    def mark(body: dict[str, Any]) -> Play:
        held["weight_version"] = body["new_version"]
        return Play(body={"success": True, **body})

    first, second = policies
    engine = Engine(
        collective_rpc=ok,
        reset_prefix_cache=lambda body: Play(),
        update_weight_version=mark,
        weight_info=lambda body: Play(body={**held}),
    )
    with hostile.hostile(engine) as server:
        policy = settings(server.url, first, "vllm_reload", "tiny")
        serving = refresh(second, policy)
        assert serving == Serving(model="tiny", version=fingerprint(second), stamp="info")
        assert engine.calls == [
            ("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(second)}}),
            ("/reset_prefix_cache", {}),
            ("/update_weight_version", {"new_version": fingerprint(second)}),
        ]
        assert texts(policy, serving)[0] == f"{contract.PROMPTS[0]} 0"
        held["weight_version"] = "default"  # it was restarted, with the first policy's weights
        with pytest.raises(SparringError, match="serves the weights 'default'"):
            texts(policy, serving)
        del engine.plays["/update_weight_version"]  # an older vLLM
        assert refresh(second, policy).stamp == "none"
        engine.plays.clear()
        with pytest.raises(SparringError, match=r"collective_rpc gave status 404.*VLLM_SERVER_DEV_MODE=1"):
            refresh(second, policy)


def test_sglang_reads_weights_from_disk_and_stamps_its_answers(policies: tuple[Path, Path]):
    first, second = policies
    held = {"weight_version": "default"}

    def update(body: dict[str, Any]) -> Play:
        held["weight_version"] = body["weight_version"]
        return Play(body={"success": True, "message": "Succeeded to update model weights.", "num_paused_requests": 0})

    engine = Engine(update_weights_from_disk=update)

    def script(asked: Asked) -> Play:
        play = engine(asked)
        return (
            Play(body={**play.body, "metadata": {**held}})
            if asked.path.endswith("completions") and isinstance(play.body, dict)
            else play
        )

    with hostile.hostile(script) as server:
        policy = settings(server.url, first, "sglang", "tiny")
        serving = refresh(second, policy)
        assert serving == Serving(model="tiny", version=fingerprint(second), stamp="weights")
        body = {"model_path": str(second), "weight_version": fingerprint(second), "flush_cache": True}
        assert engine.calls == [("/update_weights_from_disk", body)]
        assert texts(policy, serving)[0] == f"{contract.PROMPTS[0]} 0"
        held["weight_version"] = "default"
        assert "an answer from other weights: from 'default'" in texts(policy, serving)[0]
        engine.plays["/update_weights_from_disk"] = lambda body: Play(body={"success": False, "message": "Failed to get weights"})
        with pytest.raises(SparringError, match="Failed to get weights"):
            refresh(second, policy)
        for odd in (Play(body=b"<html>"), Play(body=b"[]"), Play(status=400, body={"success": False})):
            engine.plays["/update_weights_from_disk"] = lambda body, odd=odd: odd
            with pytest.raises(SparringError, match="update_weights_from_disk"):
                refresh(second, policy)


# -- commands -----------------------------------------------------------------------------------------------------------------------


def test_a_command_gets_the_folder_and_no_shell(policies: tuple[Path, Path], tmp_path: Path):
    script = tmp_path / "load it.py"
    script.write_text("import sys, pathlib\npathlib.Path(sys.argv[1]).write_text(repr(sys.argv[2:]))")
    odd = shutil.copytree(policies[1], tmp_path / "policy; touch broken $(id)")
    command = f"{sys.executable} '{script}' '{tmp_path / 'seen'}' --now"
    policy = settings("http://127.0.0.1:9/v1", policies[0], "command", "tiny", refresh_command=command)
    assert refresh(odd, policy) == Serving(model="tiny", version=fingerprint(odd))
    assert (tmp_path / "seen").read_text() == repr(["--now", str(odd)])


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("", "needs policy.refresh_command"),
        ("/not/there", "cannot be run"),
        (f"{sys.executable} -c 'import os, sys; sys.exit(os.environ[\"OPENAI_API_KEY\"])'", r"ended with status 1: \[key\]"),
        (f"{sys.executable} -c 'import time; time.sleep(9)'", "took longer than deadline_s 0.5"),
    ],
    ids=["none", "missing", "fails", "hangs"],
)
def test_a_command_that_fails_is_an_error(policies: tuple[Path, Path], command: str, says: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret-0123456789")
    policy = settings("http://127.0.0.1:9/v1", policies[0], "command", "tiny", refresh_command=command)
    hasty = policy.server.model_copy(update={"deadline_s": 0.5 if "sleep" in command else 30.0})
    with pytest.raises(SparringError, match=says):
        refresh(policies[1], policy.model_copy(update={"server": hasty}))
