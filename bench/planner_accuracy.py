"""What each role knows of a step that the expert would take: on proofs of the validation split, which no policy has seen.

    python -m bench.planner_accuracy POLICY... [--theorems 60] [--target difference|state]

Shares of steps in which one of the first n answers of a beam is right. A tactic is right if it leads to the expert's next state, a target
if it is that state, in the form that the policy was taught. "told": the actor is given the expert's own target.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparring.config_prove import TargetForm
    from sparring.game import Env, Goals

WIDTHS = (1, 4, 8)


def expert_steps(env: Env, theorems: int) -> Iterator[tuple[Goals, str]]:
    """(state, the expert's next state) for every step of its proofs."""
    from sparring.envs.reader import read_statement
    from sparring.worlds.expert import Expert, style_of
    from sparring.worlds.lemmas import RESERVED
    from sparring.worlds.theorem_splits import split
    from sparring.worlds.theorems import lemma_formulas

    expert = Expert({name: formula for name, formula in lemma_formulas().items() if name not in RESERVED})
    for task in split("validation")[:theorems]:
        script = expert.prove(read_statement(task.text), style_of(task.text))
        begun = env.start(task)
        states: list[Any] = env.split(begun) if script else []  # pyright: ignore[reportArgumentType]
        for line in script or ():
            state = states.pop(0)
            after = outcome_of(env, state, line)
            yield state, after or ""
            (result,) = env.step([(state, line)])
            states = (env.split(result) if after != "no goals" else []) + states  # pyright: ignore[reportArgumentType]


def outcome_of(env: Env, state: Goals, tactic: str) -> str | None:
    """The state that a tactic leads to; None if it is refused."""
    from sparring.game import NO_GOALS, Goals, Proved

    (outcome,) = env.step([(state, tactic)])
    return outcome.text if isinstance(outcome, Goals) else NO_GOALS if isinstance(outcome, Proved) else None


def measure(policy: Path, steps: Sequence[tuple[Goals, str]], env: Env, form: TargetForm) -> dict[str, list[float]]:
    """By role, the shares for each of ``WIDTHS``."""
    from sparring.config import Policy
    from sparring.game import Sampling
    from sparring.models.hf import HFModel
    from sparring.prompts import STEP, actor_prompt, flat_prompt, planner_prompt, target_of

    model = HFModel.load(policy, Policy(device="cpu", max_prompt_tokens=1536))
    targets = [target_of(state.text, after, form) for state, after in steps]
    how = Sampling(n=max(WIDTHS), beam=True, max_new_tokens=96, stop=STEP)
    asked = {
        "flat": [flat_prompt(state.text) for state, _ in steps],
        "planner": [planner_prompt(state.text) for state, _ in steps],
        "actor, told": [actor_prompt(state.text, target) for (state, _), target in zip(steps, targets, strict=True)],
    }
    found: dict[str, list[float]] = {}
    for role, prompts in asked.items():
        answers = model.sample(prompts, how, role=role, seed=0)
        hits: list[list[bool]] = []
        for group, (state, after), target in zip(answers, steps, targets, strict=True):
            if role == "planner":
                wanted = model.tokenizer.encode(target)
                hits.append([model.tokenizer.encode(answer.text) == wanted for answer in group])
            else:
                hits.append([outcome_of(env, state, answer.text) == after for answer in group])
        found[role] = [statistics.fmean(any(row[:width]) for row in hits) for width in WIDTHS]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", type=Path, nargs="+")
    parser.add_argument("--theorems", type=int, default=60)
    parser.add_argument("--target", choices=("difference", "state"), default="difference")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    from sparring.envs.embedded import KernelEnv
    from sparring.worlds.lemmas import LIBRARY

    env = KernelEnv(LIBRARY)
    steps = list(expert_steps(env, options.theorems))
    measured = [measure(policy, steps, env, options.target) for policy in options.policies]
    print(f"{len(steps)} steps, {len(measured)} policies, targets: {options.target}; % right among the first {WIDTHS}")
    for role in measured[0]:
        shares = [[found[role][place] for found in measured] for place in range(len(WIDTHS))]
        cells = [f"{100 * statistics.fmean(s):.1f} [{100 * min(s):.1f}, {100 * max(s):.1f}]" for s in shares]
        print(f"{role:<12} {'  '.join(cells)}")


if __name__ == "__main__":
    main()
