"""Scripted judging models, which read the prompts of ``sparring.judges.llm`` as a model would."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from sparring.config import Member
from sparring.game import Judge
from sparring.judges.llm import llm_judge
from sparring.models.scripted import ScriptedModel

THRESHOLDS = (4, 10, 25)


def fenced(prompt: str, name: str) -> str:
    """What stands between the marks of ``name``."""
    found = re.search(rf"<<<{name} ([0-9a-f]{{8}})\n(.*)\n\1 END OF {name}>>>", prompt, re.DOTALL)
    assert found is not None, prompt
    return found[2]


def tag_in(prompt: str) -> str:
    """The number that the verdict has to carry, from the prompt's last line."""
    found = re.search(r"Verdict ([0-9a-f]{8}): ", prompt.splitlines()[-1])
    assert found is not None, prompt
    return found[1]


def by_length(prompt: str, role: str, rng: random.Random) -> str:
    """A judge that likes long answers, of any kind: it sees which one is meant by the prompt."""
    assert role == "judge"
    if "<<<ANSWER" not in prompt:
        return "\n".join(f"{k}. Has it more than {limit} characters?" for k, limit in enumerate(THRESHOLDS, 1))
    if "<<<ANSWER A" in prompt:
        first, second = len(fenced(prompt, "ANSWER A")), len(fenced(prompt, "ANSWER B"))
        said = "TIE" if first == second else "AB"[second > first]
    elif "<<<QUESTIONS" in prompt:
        size = len(fenced(prompt, "ANSWER"))
        said = " ".join(f"{k}={'yes' if size > limit else 'no'}" for k, limit in enumerate(THRESHOLDS, 1))
    else:
        size = len(fenced(prompt, "ANSWER"))
        said = f"{1 + 9 * size / (size + 20):.3f}"
    return f"The length decides.\nVerdict {tag_in(prompt)}: {said}"


Script = Callable[[str, str, random.Random], str]


def judge_of(kind: str, script: Script = by_length, **settings: object) -> Judge:
    """A judge of that kind whose model is ``script``."""
    return llm_judge(Member.model_validate({"kind": kind, **settings}), ScriptedModel(script))
