"""What the prove game is about: an environment that checks, with the theorems and traced proofs that come with it (``world:SPLIT``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sparring.config_prove import Environment, ProveRecipe
from sparring.envs.coq_printer import coq_script
from sparring.envs.embedded import KernelEnv
from sparring.envs.lean_printer import lean_script
from sparring.envs.printing import format_statement
from sparring.envs.reader import Malformed, read_statement
from sparring.envs.refute import refute
from sparring.errors import SparringError
from sparring.game import Demo, Env, Lesson, Rejected, Step, Task, make_task, stable_hash
from sparring.judges.program import Control
from sparring.rundir import Watch
from sparring.trace import TraceRow, trace
from sparring.worlds.lemmas import LIBRARY, RESERVED
from sparring.worlds.theorem_policy import save_untrained
from sparring.worlds.theorem_splits import split
from sparring.worlds.tiny import Shape

if TYPE_CHECKING:
    from sparring.coq.premise_moves import PremiseMoves
    from sparring.envs.coq import CoqEnv
    from sparring.envs.coq_pool import CoqOptions


class Theory(Protocol):
    reserved: frozenset[str]
    """Names that nothing may be taught with: theorems that need them stay a test of premises that were never seen used."""

    @property
    def env(self) -> Env: ...

    def tasks(self, name: str, most: int = 0) -> list[Task]:
        """The theorems of ``world:NAME``, at most so many (0: all). Raises SparringError for a name that there is not."""
        ...

    def steps(self, name: str, most: int = 0) -> list[Step]:
        """What the proofs of ``world:NAME``, at most so many of them, did. Raises SparringError where there are no proofs."""
        ...

    def hints(self, theorem: str, state: str) -> str:
        """As ``Env.hints``, for the full name of a theorem and a state of it: nothing where the recipe wants none."""
        ...

    def close(self) -> None:
        """Ends what the environment had started."""
        ...

    def read(self, text: str) -> str:
        """A statement as it is searched. Raises SparringError for text that is none."""
        ...

    def refute(self, statement: str) -> str | None:
        """A counterexample, where one is easily found."""
        ...

    def scripts(self, statement: str, proof: str) -> Iterator[str]:
        """A proof as files of provers."""
        ...

    def controls(self) -> Iterator[Control]:
        """Proofs, and what must not pass for one."""
        ...

    def save_blank(self, out: Path, recipe: ProveRecipe, traces: Sequence[Lesson]) -> None:
        """A policy with random weights whose tokenizer knows the language of the theory."""
        ...


def theory_of(recipe: ProveRecipe, watch: Watch | None = None) -> Theory:
    """Raises SparringError for what the theory needs and is not there."""
    return CoqTheory(recipe.env, recipe.run.seed, watch) if recipe.env.kind == "coq" else KernelTheory()


class KernelTheory:
    """The embedded kernel and its theorems."""

    reserved: frozenset[str] = frozenset(RESERVED)

    def __init__(self) -> None:
        self.env = KernelEnv(LIBRARY)

    def tasks(self, name: str, most: int = 0) -> list[Task]:
        return list(split(name))[: most or None]

    def steps(self, name: str, most: int = 0) -> list[Step]:
        return steps_of(trace(self.env, proofs_of(self.tasks(name), f"world:{name}")[: most or None]), self.hints)

    def hints(self, theorem: str, state: str) -> str:
        return ""

    def close(self) -> None:
        """Nothing runs outside this process."""

    def read(self, text: str) -> str:
        try:
            return format_statement(read_statement(text))
        except Malformed as error:
            raise SparringError(
                f"{text!r} is no statement: {error}; write it as in 'forall p q, p \\/ q -> q \\/ p' or 'forall n, n + 0 = n'"
            ) from None

    def refute(self, statement: str) -> str | None:
        return refute(read_statement(statement))

    def scripts(self, statement: str, proof: str) -> Iterator[str]:
        for script in (coq_script, lean_script):
            yield script("proved_here", statement, proof, LIBRARY)

    def controls(self) -> Iterator[Control]:
        for lemma in LIBRARY[:3]:
            yield make_task(lemma.statement), lemma.script, "sorry"
            yield make_task(lemma.statement), lemma.script, "\n".join(lemma.script.splitlines()[:-1])

    def save_blank(self, out: Path, recipe: ProveRecipe, traces: Sequence[Lesson]) -> None:
        del traces  # its words are known beforehand
        save_untrained(out, _weights(recipe), [lemma.name for lemma in LIBRARY], _shape(recipe))


class CoqTheory:
    """Coq, and the theorems of its libraries or of a user's projects, split as the recipe says."""

    reserved: frozenset[str] = frozenset()

    def __init__(self, how: Environment, seed: int, watch: Watch | None = None) -> None:
        from sparring.coq.world import CoqWorld

        self._how, self._seed = how, seed
        self._made: CoqEnv | None = None
        self.world = CoqWorld(
            libraries=how.library,
            trace=Path(how.trace).expanduser(),
            split=how.split,
            seed=how.split_seed,
            held_out=how.held_out,
            jobs=how.processes,
            watch=watch,
            allow_unsandboxed=how.allow_unsandboxed,
        )

    @property
    def env(self) -> Env:
        """Made when it is first asked for: it needs the files that the traces need."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> CoqEnv:
        from sparring.envs.coq import CoqEnv

        return CoqEnv(self.world.options(replace(coq_options(self._how), premises=self._premises)), self.hints)

    @cached_property
    def _premises(self) -> PremiseMoves | None:
        how = self._how
        if how.premises == "none":
            return None
        from sparring.coq.suggest import premises_of

        return premises_of(self.world, how.premises, how.split_seed)

    def tasks(self, name: str, most: int = 0) -> list[Task]:
        return self.world.sample(name, most, self._seed) if most else self.world.tasks(name)

    def steps(self, name: str, most: int = 0) -> list[Step]:
        return [replace(step, hints=self.hints(theorem, step.state)) for theorem, step in self.world.named_steps(name, most)]

    def hints(self, theorem: str, state: str) -> str:
        if not self._how.hints or self._premises is None:
            return ""
        first, _, _ = state.partition("\n\n")
        return self._premises.hints(theorem, first, self._how.hints)

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
            self._made = None

    def read(self, text: str) -> str:
        begun = self.env.start(make_task(text))
        if isinstance(begun, Rejected):
            raise SparringError(f"{text!r} is no statement: {begun.reason}; write it as in 'forall n : nat, n + 0 = n'")
        return text

    def refute(self, statement: str) -> str | None:
        del statement
        return None

    def scripts(self, statement: str, proof: str) -> Iterator[str]:
        lines = "".join(f"  {line}.\n" for line in proof.splitlines())
        yield f"Theorem proved_here : {statement}.\nProof.\n{lines}Qed."

    def controls(self) -> Iterator[Control]:
        yield make_task("forall A B : Prop, A /\\ B -> B /\\ A"), "intros A B [a b]\nsplit\nassumption\nassumption", "admit"
        yield make_task("forall n : nat, n = n"), "reflexivity", "intros n"

    def save_blank(self, out: Path, recipe: ProveRecipe, traces: Sequence[Lesson]) -> None:
        from sparring.coq.policy import save_untrained as save_blank_coq

        texts = (text for lesson in traces if isinstance(lesson, Demo) for text in (lesson.prompt, lesson.completion))
        how, room = recipe.policy, recipe.search.max_target_tokens + recipe.search.max_tactic_tokens
        positions = 2 * how.max_prompt_tokens + room  # what is ranked may be as long as what is asked
        save_blank_coq(out, texts, seed=_weights(recipe), shape=_shape(recipe), vocabulary=how.vocabulary, positions=positions)


def coq_options(how: Environment) -> CoqOptions:
    """Of the environment and of the check of its proofs, as a recipe has them."""
    from sparring.envs.coq_pool import CoqOptions
    from sparring.envs.coq_shop import AuditOptions

    return CoqOptions(
        processes=how.processes,
        backend=how.backend,
        tactic_timeout_s=how.tactic_timeout_s,
        context_timeout_s=how.context_timeout_s,
        memory_mb=how.memory_mb,
        audit=AuditOptions(axioms=how.axioms, timeout_s=how.audit_timeout_s, allow_unsandboxed=how.allow_unsandboxed),
    )


def steps_of(rows: Iterable[TraceRow], hints: Callable[[str, str], str]) -> list[Step]:
    return [
        Step(
            state=row.state_before,
            tactic=row.tactic,
            result=row.state_after,
            role="trace",
            used=True,
            hints=hints(row.full_name, row.state_before),
        )
        for row in rows
    ]


def proofs_of(tasks: Sequence[Task], source: str) -> list[tuple[Task, str]]:
    """The tasks that come with a proof, and the proof."""
    found = [(task, str(task.meta["script"])) for task in tasks if task.meta.get("script")]
    if not found:
        raise SparringError(f"{source!r} has no proofs; give world:train, or a file whose rows have a text and a script")
    return found


def _shape(recipe: ProveRecipe) -> Shape:
    return Shape(hidden=recipe.policy.hidden, layers=recipe.policy.layers, heads=recipe.policy.heads)


def _weights(recipe: ProveRecipe) -> int:
    return stable_hash(recipe.run.seed, "weights")
