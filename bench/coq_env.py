"""Tactic tries per second of the Coq environment, against a bare client on the same pipe; seconds per wave over many theorems.

    python -m bench.coq_env [--tries 20000] [--processes 1] [--batch 64] [--repeats 3] [--files Lists.List Bool.Bool] [--theorems 32]
    python -m bench.coq_env --backend snapshots [--tries 20000] [--repeats 3]
    python -m bench.coq_env --million [--seconds 180] [--backend snapshots]

The tries are cheap tactics at the states that a few proofs of the standard library's kind go through, in random batches as a search
makes them. The bare client writes the requests that the environment wrote, byte for byte, to a process of its own in the same sandbox,
and counts the ends of the answers: what is left is what Coq takes. The two take turns, batch by batch, so that a busy machine is as busy
for both. Memory is that of the environment's processes, before and after.

A wave over many theorems is eight tactics at the first goal of each of ``--theorems`` theorems of each of ``--files``, in their files'
contexts: as they stand, and with the proofs left out that a search does not need.

With ``--backend snapshots`` all this is measured of that backend, and then the same tries are made with both backends in turn, batch by
batch: their tries per second, Coq's own time for them, and whether any outcome differs.

``--million`` is for endurance: a million of the cheap tries, or as many as the seconds allow. Each outcome has to be what it was the
first time, so that a state that is lost shows, and memory is printed on the way.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple
from unittest import mock

import psutil

from sparring.envs.coq import CoqEnv
from sparring.envs.coq_context import read_context
from sparring.envs.coq_files import find_sources, theorems_of
from sparring.envs.coq_pool import Backend, CoqOptions, backend_command
from sparring.envs.coq_sentence import split_sentences
from sparring.envs.coq_theorems import task_of
from sparring.envs.process import Child, Limits
from sparring.game import Goals, Outcome, Rejected, Task, make_task

HEADER = "Require Import Arith List.\nImport ListNotations.\n"
PROOFS = {
    "forall p q : Prop, p /\\ q -> q /\\ p": ["intros p q h", "destruct h as [a b]", "split", "exact b"],
    "forall n m : nat, n + m = m + n": ["intros n m", "induction n as [| n IHn]", "simpl", "rewrite <- plus_n_O", "reflexivity"],
    "forall (A : Type) (l : list A), rev (rev l) = l": ["intros A l", "induction l as [| a l IHl]", "reflexivity", "simpl"],
    "forall n m k : nat, n <= m -> m <= k -> n <= k": ["intros n m k h g", "induction g"],
    "forall (A : Type) (l k : list A), length (l ++ k) = length l + length k": [
        "intros A l k",
        "induction l",
        "reflexivity",
        "simpl",
    ],
}
TACTICS = [
    *(
        "intros",
        "intro x",
        "split",
        "left",
        "right",
        "assumption",
        "reflexivity",
        "symmetry",
        "simpl",
        "exact I",
        "exists 0",
        "f_equal",
    ),
    *(
        "rewrite IHn",
        "rewrite IHl",
        "rewrite h",
        "apply h",
        "destruct h",
        "destruct n",
        "induction n",
        "induction l",
        "constructor",
    ),
    *(
        "trivial",
        "discriminate",
        "contradiction",
        "unfold not",
        "exact a",
        "apply plus_n_O",
        "rewrite plus_n_Sm",
        "exfalso",
        "clear",
    ),
]


def states(env: CoqEnv) -> list[Goals]:
    found: list[Goals] = []
    for statement, script in PROOFS.items():
        state = env.start(make_task(statement))
        for line in [*script, None]:
            assert isinstance(state, Goals), (statement, state)
            found.append(state)
            if line is not None:
                [state] = env.step([(state, line)])
    return found


def batches(known: Sequence[Goals], tries: int, batch: int) -> list[list[tuple[Goals, str]]]:
    """Eight tactics at each of ``batch // 8`` states."""
    random = Random(0)
    rows = range(0, tries, batch)
    return [[(state, move) for state in random.choices(known, k=batch // 8) for move in random.sample(TACTICS, 8)] for _ in rows]


class Bare:
    """The same requests without any client to speak of."""

    def __init__(self, options: CoqOptions, folder: Path) -> None:
        self.process = subprocess.Popen(
            backend_command(options, folder), cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin
        assert self.process.stdout
        self.to, self.back = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.end = b"</value>" if options.backend == "coqidetop" else b"\0\n"

    def ask(self, requests: Sequence[bytes]) -> None:
        for data in requests:
            os.write(self.to, data)
            answers, seen, tail = data.count(b"<call ") or 1, 0, b""
            while seen < answers:
                chunk = tail + os.read(self.back, 1 << 16)
                seen += chunk.count(self.end)
                tail = chunk[1 - len(self.end) :]

    def close(self) -> None:
        with self.process:
            self.process.kill()


class Found(NamedTuple):
    """Seconds of the environment, and of the bare client; MB before and after."""

    env_s: float
    bare_s: float
    before_mb: float
    after_mb: float


def measure(options: CoqOptions, tries: int, batch: int) -> Found:
    """The bare client has one process: where the environment has several, it does nothing (0 seconds)."""
    requests: list[bytes] = []
    send = Child.send

    def recording(self: Child, data: bytes, limits: Limits) -> None:
        requests.append(data)
        send(self, data, limits)

    env, env_s, bare_s = CoqEnv(options), 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Child, "send", recording):
        bare = Bare(options, Path(folder))
        work = batches(states(env), tries, batch)
        before = sum(env.memory_mb())
        for part in [[], *work]:  # the first turn brings the bare client to where the environment is
            begun = time.perf_counter()
            env.step(part)
            turn = time.perf_counter()
            if options.processes == 1:
                bare.ask(requests)
                bare_s += (time.perf_counter() - turn) * bool(part)
            requests.clear()
            env_s += turn - begun
        after = sum(env.memory_mb())
        bare.close()
    env.close()
    return Found(env_s, bare_s, before, after)


# ------------------------------------------------------------------------------------------------ two backends


class Compared(NamedTuple):
    """Seconds of each backend, seconds that its Coq worked, and MB before and after; outcomes that differ."""

    wall_s: list[float]
    coq_s: list[float]
    memory_mb: list[tuple[float, float]]
    differ: int


BACKENDS: tuple[Backend, ...] = ("coqidetop", "snapshots")


def seen(outcome: Outcome) -> tuple[object, ...]:
    """What a search knows of it."""
    return (outcome.texts, outcome.handle.apart) if isinstance(outcome, Goals) else (outcome,)


def coq_time(env: CoqEnv) -> float:
    """Of the processes that are alive."""
    below = psutil.Process().children(recursive=True)
    times = [process.cpu_times() for process in below if process.name().startswith(PROGRAMS[env.options.backend])]
    return sum(time.user + time.system for time in times)


PROGRAMS: dict[Backend, str] = {"coqidetop": "coqidetop", "snapshots": "coq-snapshots"}


def compare(options: CoqOptions, tries: int, batch: int) -> Compared:
    """The same tries, a batch with one backend and then with the other."""
    envs = [CoqEnv(replace(options, backend=backend)) for backend in BACKENDS]
    work = [batches(states(env), tries, batch) for env in envs]
    wall_s, differ = [0.0] * len(envs), 0
    before = [sum(env.memory_mb()) for env in envs]
    worked = [coq_time(env) for env in envs]
    for parts in zip(*work, strict=True):
        outcomes: list[list[Outcome]] = []
        for number, (env, part) in enumerate(zip(envs, parts, strict=True)):
            begun = time.perf_counter()
            outcomes.append(env.step(part))
            wall_s[number] += time.perf_counter() - begun
        differ += sum(seen(one) != seen(other) for one, other in zip(*outcomes, strict=True))
    coq_s = [coq_time(env) - before_s for env, before_s in zip(envs, worked, strict=True)]
    memory = list(zip(before, [sum(env.memory_mb()) for env in envs], strict=True))
    for env in envs:
        env.close()
    return Compared(wall_s, coq_s, memory, differ)


def show_comparison(options: CoqOptions, tries: int, batch: int, repeats: int) -> None:
    found = [compare(options, tries, batch) for _ in range(repeats)]
    tries = -(-tries // batch) * (batch // 8 * 8)
    print(f"{tries} tries with each backend, in turn, {repeats} times: {sum(row.differ for row in found)} outcomes differ")
    for number, backend in enumerate(BACKENDS):
        rates = sorted(tries / row.wall_s[number] for row in found)
        coq_ms = statistics.median(1000 * row.coq_s[number] / tries for row in found)
        before, after = found[-1].memory_mb[number]
        print(
            f"  {backend}: {statistics.median(rates):.0f} a second [{rates[0]:.0f}, {rates[-1]:.0f}]; {coq_ms:.3f} ms of Coq's time a try; "
            f"{before:.0f} MB before, {after:.0f} MB after"
        )
    ratios = sorted(row.wall_s[0] / row.wall_s[1] for row in found)
    print(f"  snapshots / coqidetop: {statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] times as many a second")


# ------------------------------------------------------------------------------------------------ a million tries


class Endured(NamedTuple):
    """``changed``: outcomes that are not what they were the first time; ``late``: tries that ran out of time, once or now; ``memory``: of
    Coq, in MB, from the beginning to the end; ``own``: of this process, before and after."""

    tries: int
    seconds: float
    changed: int
    late: int
    memory: list[float]
    own: tuple[float, float]


def endure(options: CoqOptions, most: int, seconds: float, batch: int) -> Endured:
    """Each state is known by its text and by what leads to it."""
    env, own, first = CoqEnv(options), psutil.Process(), dict[tuple[int, str], Outcome]()
    known = states(env)
    numbers = {id(state): number for number, state in enumerate(known)}
    memory, begun, changed, late, tries = [sum(env.memory_mb())], time.monotonic(), 0, 0, 0
    before = own.memory_info().rss / 2**20
    for part in batches(known, most, batch):
        for (state, tactic), outcome in zip(part, env.step(part), strict=True):
            expected = first.setdefault((numbers[id(state)], tactic), outcome)
            is_late = any(isinstance(seen, Rejected) and seen.kind == "timeout" for seen in (expected, outcome))
            late += is_late
            changed += outcome != expected and not is_late
        tries += len(part)
        took = time.monotonic() - begun
        if took > seconds * len(memory) / 10:
            memory.append(sum(env.memory_mb()))
            print(f"  {tries} tries, {took:.0f} s, {memory[-1]:.0f} MB", flush=True)
        if took > seconds:
            break
    memory.append(sum(env.memory_mb()))
    env.close()
    return Endured(tries, time.monotonic() - begun, changed, late, memory, (before, own.memory_info().rss / 2**20))


def show_endurance(options: CoqOptions, seconds: float, batch: int) -> None:
    found = endure(options, 1_000_000, seconds, batch)
    print(
        f"{found.tries} tries in {found.seconds:.0f} s: {found.changed} outcomes changed, {found.late} ran out of time; Coq's memory "
        f"{found.memory[0]:.0f} MB before, {found.memory[-1]:.0f} MB after, at most {max(found.memory):.0f} MB; this process "
        f"{found.own[0]:.0f} MB before, {found.own[1]:.0f} MB after"
    )


# ------------------------------------------------------------------------------------------------ waves over many theorems

WAVES = 6


class Waves(NamedTuple):
    """Seconds to start all theorems, and of each wave; MB of all processes at the end."""

    start_s: float
    waves_s: list[float]
    memory_mb: float


def theorems(files: Sequence[str], each: int) -> list[Task]:
    """So many of each file, in order."""
    tasks: list[Task] = []
    for source in find_sources(files):
        found = [theorem for theorem in theorems_of(source) if theorem.proved and task_of(theorem)]
        chosen = sorted(Random(0).sample(found, min(each, len(found))), key=lambda theorem: theorem.start)
        tasks += filter(None, map(task_of, chosen))
    return tasks


def whole(text: str) -> tuple[str, ...]:
    return tuple(sentence.text for sentence in split_sentences(text))


def measure_waves(options: CoqOptions, tasks: Sequence[Task], read: Callable[[str], tuple[str, ...]]) -> Waves:
    env, waves_s = CoqEnv(options), list[float]()
    with mock.patch("sparring.envs.coq.read_context", cache(read)):
        begun = time.perf_counter()
        states = [state for task in tasks if isinstance(state := env.start(task), Goals)]
        start_s = time.perf_counter() - begun
        for _ in range(WAVES):
            begun = time.perf_counter()
            env.step([(state, tactic) for state in states for tactic in TACTICS[:8]])
            waves_s.append(time.perf_counter() - begun)
    memory_mb = sum(env.memory_mb())
    env.close()
    return Waves(start_s, waves_s, memory_mb)


def show_waves(files: Sequence[str], each: int, most: int, backend: Backend) -> None:
    """With one process, and with one for each file, if it may be so many."""
    tasks = theorems(files, each)
    print(f"waves of 8 tactics at each of {len(tasks)} theorems of {', '.join(files)}:")
    for processes in sorted({1, min(len(files), most)}):
        for name, read in (("contexts as they stand", whole), ("proofs left out", read_context)):
            found = measure_waves(CoqOptions(processes=processes, backend=backend), tasks, read)
            waves = f"{statistics.mean(found.waves_s):.2f} s a wave ({', '.join(f'{s:.2f}' for s in found.waves_s)})"
            print(f"  {processes} processes, {name}: {found.start_s:.1f} s to start, {waves}, {found.memory_mb:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--files", nargs="*", default=["Lists.List", "Bool.Bool", "Arith.PeanoNat", "Sets.Powerset_facts"])
    parser.add_argument("--theorems", type=int, default=16)
    parser.add_argument("--backend", choices=BACKENDS, default="coqidetop")
    parser.add_argument("--million", action="store_true", help="instead of all else")
    parser.add_argument("--seconds", type=float, default=180.0, help="of the million tries, at most")
    parser.add_argument("--alive", type=int, default=4, help="processes for the waves, at most")
    args = parser.parse_args()
    options = CoqOptions(header=HEADER, processes=args.processes, backend=args.backend)
    if args.million:
        show_endurance(options, args.seconds, args.batch)
        return
    if args.files:
        show_waves(args.files, args.theorems, args.alive, args.backend)
    found = [measure(options, args.tries, args.batch) for _ in range(args.repeats)]
    tries = -(-args.tries // args.batch) * (args.batch // 8 * 8)
    rates = sorted(tries / row.env_s for row in found)
    print(f"{tries} tries, {args.processes} processes: {statistics.median(rates):.0f} a second [{rates[0]:.0f}, {rates[-1]:.0f}]")
    if args.processes == 1:
        overhead = statistics.median(row.env_s / row.bare_s - 1 for row in found)
        bare = statistics.median(tries / row.bare_s for row in found)
        print(f"bare client, same requests: {bare:.0f} a second; overhead {100 * overhead:.1f} %")
    print(f"memory: {found[-1].before_mb:.0f} MB before, {found[-1].after_mb:.0f} MB after")
    if args.backend == "snapshots":
        show_comparison(options, args.tries, args.batch, args.repeats)


if __name__ == "__main__":
    main()
