"""What a prover is asked and what it answers, as text: shared by the search that asks and the learner that teaches.

The forms are RiR's (OpenReview H5hePMXKht sec. 3), with premises before the state as in ReProver (arXiv 2306.15626 sec. 5).
A planner's answer ends at ``STEP``, where the actor's begins: so one row teaches both, and who lets the planner go on has both answers in
one go (``joint``).
A state or a target may have several lines and is put in as it is. RiR's target is the whole next state; ``difference`` says less.
"""

from __future__ import annotations

from sparring.config_prove import TargetForm

CURRENT, TARGET, STEP = ("[CURRENT GOAL]", "[TARGET GOAL]", "[PROOFSTEP]")
LEMMA, THEOREM, CONJECTURE = ("[LEMMA]", "[THEOREM]", "[CONJECTURE]")
PREMISES = "[PREMISES]"
MARKERS = (CURRENT, TARGET, STEP, LEMMA, THEOREM, CONJECTURE, PREMISES)


def flat_prompt(state: str, hints: str = "") -> str:
    """Answered by a tactic. ``hints``: lemmas that may serve, a line each."""
    shown = f"{PREMISES} {hints} " if hints else ""
    return f"{shown}{CURRENT} {state} {STEP}"


def fitting(hints: str, state: str, room: int) -> str:
    """As many lines of ``hints``, from the first one on, as a flat prompt of at most ``room`` bytes has room for."""
    lines = hints.splitlines()
    while lines and size(flat_prompt(state, "\n".join(lines))) > room:
        lines.pop()
    return "\n".join(lines)


def planner_prompt(state: str) -> str:
    """Answered by the state to reach next, up to ``STEP``; or by a ``joint_completion``."""
    return f"{CURRENT} {state} {TARGET}"


def planner_completion(target: str) -> str:
    return f"{target} {STEP}"


def actor_prompt(state: str, target: str) -> str:
    """Answered by a tactic that leads from ``state`` to ``target``."""
    return f"{CURRENT} {state} {TARGET} {target} {STEP}"


def joint_completion(target: str, tactic: str) -> str:
    return f"{target} {STEP} {tactic}"


def split_joint(text: str) -> tuple[str, str] | None:
    """(target, tactic) of a ``joint_completion``; None where one of them is missing."""
    target, _, tactic = (part.strip() for part in text.partition(STEP))
    return (target, tactic) if target and tactic else None


def difference(state: str, result: str) -> str:
    """What is new in ``result``: of each goal the lines that ``state`` does not have, its last line (what is to be proved) where there
    are none. Says what a tactic did in a fraction of the words of the whole state, most of which a planner would only copy."""
    known = {one_line(line) for line in state.splitlines()}
    goals = [[line for line in goal.splitlines() if line.strip()] for goal in result.split("\n\n")]
    return "\n\n".join("\n".join([line for line in goal if one_line(line) not in known] or goal[-1:]) for goal in goals)


def target_of(state: str, result: str, form: TargetForm) -> str:
    """The target that a tactic leading from ``state`` to ``result`` reaches."""
    return result if form == "state" else difference(state, result)


def size(text: str) -> int:
    """Bytes of UTF-8: no tokenizer makes more tokens of a text."""
    return len(text.encode())


def one_line(text: str) -> str:
    """The text with every run of white space as one blank: what a tokenizer may do to it, and what equality disregards."""
    return " ".join(text.split())


def is_target(text: str, state: str) -> bool:
    """Whether a model's answer can be a target at all: not empty, no prompt within, and not the state it starts from."""
    return bool(text.strip()) and not any(marker in text for marker in MARKERS) and one_line(text) != one_line(state)


def conjecture_prompt(lemma: str, theorem: str) -> str:
    """Answered by a statement that is harder than ``theorem`` and whose proof uses ``lemma`` (STP, arXiv 2502.00212 sec. 3)."""
    return f"{LEMMA} {lemma} {THEOREM} {theorem} {CONJECTURE}"
