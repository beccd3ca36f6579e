"""Models at their seats: each call is made once, kept in a file, counted and paid for; and what it would cost is known before.

An answer is kept by (fingerprint of the model, seat, prompt, settings, seed). A judgement's prompt holds the question and the
answers that it compares, so a judgement is kept by (judge, question, answers). An evaluation that was killed goes on from
there, and one that is made again costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from sparring.conversation import Conversation
from sparring.errors import SparringError
from sparring.evals.suite import sample_fault
from sparring.game import Model, Sample, Sampling, Scored
from sparring.rundir import Watch, watched

CHUNK = 64
"""Prompts sampled between two writes: what is lost when an evaluation is killed, at most."""
_CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English text, used where nobody tells the number of tokens."""


class Store:
    """Kept calls: an SQLite file, or memory for no path. Several processes may share one. Close it (``contextlib.closing``)."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        with self._errors():
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", timeout=60)
            self._db.execute("CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")

    def read(self, keys: Iterable[str]) -> dict[str, Any]:
        """What is kept of the keys."""
        found: dict[str, Any] = {}
        with self._errors():
            for key in keys:
                row = self._db.execute("SELECT value FROM calls WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = json.loads(row[0])
        return found

    def write(self, values: Mapping[str, Any]) -> None:
        """All of them, on disk, or none."""
        with self._errors(), self._db:
            rows = [(key, json.dumps(value)) for key, value in values.items()]
            self._db.executemany("INSERT OR REPLACE INTO calls VALUES (?, ?)", rows)

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, json.JSONDecodeError, OSError) as error:
            raise SparringError(
                f"the file of kept answers, {self._path}, cannot be used: {error}; free some space, delete the file, or name "
                "another folder (--cache=FOLDER)"
            ) from error


class Stage:
    """Holds one model in memory at a time: who is asked next replaces who was asked last."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._fingerprint = ""
        self._model: Model | None = None

    def call(self, fingerprint: str, enter: Callable[[], AbstractContextManager[Model]]) -> Model:
        if self._model is None or self._fingerprint != fingerprint:
            self.close()
            self._model, self._fingerprint = self._stack.enter_context(enter()), fingerprint
        return self._model

    def close(self) -> None:
        self._model = None
        self._stack.close()


@dataclass(frozen=True, kw_only=True)
class Price:
    """In US dollars per million tokens."""

    prompt: float = 0.0
    completion: float = 0.0


@dataclass(kw_only=True)
class Spent:
    """``exact``: every token was counted by the model; otherwise some are guessed from the length of the text."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    exact: bool = True

    def add(self, prompt_tokens: int, completion_tokens: int, exact: bool, calls: int = 1) -> None:
        self.calls += calls
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.exact = self.exact and exact

    def usd(self, price: Price) -> float:
        return (self.prompt_tokens * price.prompt + self.completion_tokens * price.completion) / 1e6

    def line(self, name: str, price: Price) -> str:
        about = "" if self.exact else "about "
        money = f", {about}{self.usd(price):.4f} usd" if price != Price() else ""
        return (
            f"  {name:<32} {self.calls} calls, {about}{self.prompt_tokens} tokens in, {about}{self.completion_tokens} out{money}"
        )

    def planned_line(self, name: str, price: Price) -> str:
        """Prompts are guessed and may hold answers that are not there yet; an answer has a limit."""
        money = f", up to about {self.usd(price):.4f} usd" if price != Price() else ""
        into, out = self.prompt_tokens, self.completion_tokens
        return f"  {name:<32} {self.calls} calls, up to about {into} tokens in, up to {out} out{money}"


@dataclass(frozen=True, kw_only=True)
class Seated:
    """A model by its name and its ``fingerprint``: two that may answer differently must not share one. (Of a server it is the
    address and the model's name; other weights under the same name are not noticed.)

    ``free``: costs nothing and is not kept; ``billed``: (prompt tokens, completion tokens) that its server has counted so far.
    """

    name: str
    fingerprint: str
    enter: Callable[[], AbstractContextManager[Model]]
    price: Price = field(default_factory=Price)
    free: bool = False
    billed: Callable[[], tuple[int, int]] | None = None


class Player:
    """Satisfies ``sparring.game.Model``: asks for what is not kept, ``CHUNK`` prompts at a time, and keeps it.

    An answer that an endpoint failed to give is passed on and not kept, so that the next run asks again.
    """

    def __init__(self, seated: Seated, store: Store, stage: Stage, watch: Watch | None = None) -> None:
        self.seated = seated
        self.spent = Spent()
        self._store = store
        self._stage = stage
        self._watch = watch or Watch()

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        if self.seated.free:
            return self._model().sample(prompts, how, role=role, seed=seed)
        keys = [_key(self.seated.fingerprint, role, prompt, how, seed) for prompt in prompts]
        groups = {key: [_sample(role, value) for value in kept] for key, kept in self._store.read(keys).items()}
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in groups}
        for part in self._chunks(missing, role):
            with self._counted(part.values()) as new:
                found = self._model().sample(list(part.values()), how, role=role, seed=seed)
                new.update(zip(part, found, strict=True))
            groups |= new
            kept = {key: group for key, group in new.items() if not any(map(sample_fault, group))}
            self._store.write({key: [_kept(sample) for sample in group] for key, group in kept.items()})
        return [groups[key] for key in keys]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        keys = [_key(self.seated.fingerprint, f"score by {role}", prompt, text, 0) for prompt, text in pairs]
        found = {key: Scored(logprob=logprob, tokens=tokens) for key, (logprob, tokens) in self._store.read(keys).items()}
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in found}
        for part in self._chunks(missing, role):
            before = self.seated.billed() if self.seated.billed else (0, 0)
            new = dict(zip(part, self._model().score(list(part.values()), role=role), strict=True))
            found |= new
            if self.seated.billed:
                after, calls = self.seated.billed(), len({prompt for prompt, _ in part.values()})
                self.spent.add(after[0] - before[0], after[1] - before[1], exact=True, calls=calls)
            else:
                for prompt, text in part.values():
                    self.spent.add(guessed_tokens(prompt) + guessed_tokens(text), 0, exact=False)
            self._store.write({key: astuple(scored) for key, scored in new.items() if not math.isnan(scored.logprob)})
        return [found[key] for key in keys]

    def planned(self) -> Planned:
        return Planned(self.seated, self._store)

    def _model(self) -> Model:
        return self._stage.call(self.seated.fingerprint, self.seated.enter)

    def _chunks(self, missing: Mapping[str, Any], role: str) -> Generator[dict[str, Any]]:
        if not missing:
            return
        items = list(missing.items())
        with watched(self._watch, f"{role} {self.seated.name}", len(items)):
            for start in range(0, len(items), CHUNK):
                yield dict(items[start : start + CHUNK])
                self._watch.update(min(start + CHUNK, len(items)), len(items))

    @contextlib.contextmanager
    def _counted(self, prompts: Iterable[str]) -> Generator[dict[str, list[Sample]]]:
        """Adds to ``spent`` what the samples that the block puts into its dictionary cost: as the server says, or as they show."""
        before = self.seated.billed() if self.seated.billed else (0, 0)
        new: dict[str, list[Sample]] = {}
        yield new
        answered = [
            (prompt, sample)
            for prompt, group in zip(prompts, new.values(), strict=True)
            for sample in group
            if sample_fault(sample) is None
        ]
        if self.seated.billed:
            after = self.seated.billed()
            self.spent.add(after[0] - before[0], after[1] - before[1], exact=True, calls=len(answered))
            return
        for prompt, sample in answered:
            exact = bool(sample.prompt_ids) and (bool(sample.token_ids) or not sample.text)
            prompt_tokens = len(sample.prompt_ids) or guessed_tokens(prompt)
            self.spent.add(prompt_tokens, len(sample.token_ids) or guessed_tokens(sample.text), exact)


class Planned:
    """Stands in for a player: answers from what is kept, and for the rest counts what an answer may cost at most.

    What it gives in place of an answer is as long as one can be, so that a judge's prompts are as long as they can be, and another
    for each seat, so that the two orders of a pair are two prompts.
    """

    def __init__(self, seated: Seated, store: Store) -> None:
        self.seated = seated
        self.spent = Spent(exact=False)
        self._store = store

    def sample(self, prompts: Sequence[str], how: Sampling, *, role: str, seed: int) -> list[list[Sample]]:
        if self.seated.free:
            with self.seated.enter() as model:
                return model.sample(prompts, how, role=role, seed=seed)
        keys = [_key(self.seated.fingerprint, role, prompt, how, seed) for prompt in prompts]
        kept = self._store.read(keys)
        longest = Sample(role=role, text=role[:1] * (_CHARACTERS_PER_TOKEN * how.max_new_tokens), finish="length")
        for prompt in {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in kept}.values():
            for _ in range(how.n):
                self.spent.add(guessed_tokens(prompt), how.max_new_tokens, exact=False)
        return [[_sample(role, value) for value in kept[key]] if key in kept else [longest] * how.n for key in keys]

    def score(self, pairs: Sequence[tuple[str, str]], *, role: str) -> list[Scored]:
        keys = [_key(self.seated.fingerprint, f"score by {role}", prompt, text, 0) for prompt, text in pairs]
        kept = self._store.read(keys)
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in kept}.values()
        if self.seated.billed:  # a server is asked for all letters of a prompt at once
            for prompt in dict.fromkeys(prompt for prompt, _ in missing):
                self.spent.add(guessed_tokens(prompt), 1, exact=False)
        else:
            for prompt, text in missing:
                self.spent.add(guessed_tokens(prompt) + guessed_tokens(text), 0, exact=False)
        return [Scored(logprob=0.0, tokens=1)] * len(pairs)


def guessed_tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def _key(fingerprint: str, role: str, prompt: str, how: Sampling | str, seed: int) -> str:
    asked = prompt.turns if isinstance(prompt, Conversation) else (prompt,)
    settings = how if isinstance(how, str) else astuple(how)
    return hashlib.blake2b(json.dumps([fingerprint, role, asked, settings, seed]).encode(), digest_size=20).hexdigest()


def _kept(sample: Sample) -> list[Any]:
    return [sample.text, sample.finish, list(sample.token_ids)]


def _sample(role: str, value: Sequence[Any]) -> Sample:
    return Sample(role=role, text=value[0], finish=value[1], token_ids=tuple(value[2]))


def fingerprint_folder(folder: Path) -> str:
    """A hash of a checkpoint's weights, configuration and tokenizer: another round's policy is another model."""
    digest = hashlib.blake2b(digest_size=20)
    for path in sorted(item for item in folder.iterdir() if item.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"}):
        digest.update(path.name.encode() + b"\x00")
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()
