"""Math answers: the final answer is found in the text, and compared with the gold one by the library math-verify (extra ``math``).

The gold answer is ``task.meta["answer"]``, as text or a number; GSM8K's ``... #### 72`` and a solution that ends in ``\\boxed{...}``
will do.
No model is called. The library hands text to parsers that can be made to hang, so it works in a locked process (``isolated``).
"""

from __future__ import annotations

import atexit
import importlib.util
import re
from functools import cache, lru_cache
from typing import Any

from sparring.errors import SparringError
from sparring.game import Task, make_task
from sparring.judges.isolated import Isolated
from sparring.judges.program import Control

TAIL_CHARS = 20_000
"""The final answer is looked for in so much of an answer's end."""
MAX_CHARS = 500
"""Of a final answer: what is longer is none."""

_PHRASE = re.compile(r"\banswer\s*(?:is|:|=)[\s:*]*", re.IGNORECASE)
_NUMBER = re.compile(r"[-−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?")
_MATH = re.compile(r"\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_SENTENCE_END = re.compile(r"\.\s|\.$|\n")
_WITH_UNIT = re.compile(r"([-−]?[\d.,/]+)\s+[A-Za-z][A-Za-z .]*")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]+")
_LAYOUT = re.compile(r"\\left|\\right|\\!|\\,|\\;|\s+")


def grade(task: Task, answer: str) -> tuple[float, bool, str]:
    """1 where the final answer equals the gold one, else 0. For ``judge.grade``; raises where the judge itself cannot say."""
    gold = gold_answer(task)
    given = final_answer(answer)
    if not given:
        return 0.0, False, "no final answer"
    right = _plain(gold) == _plain(given) or _verified(gold, given)
    return float(right), right, f"final answer {given[:80]}"


def controls() -> list[Control]:
    """Answers known to be right and wrong, for ``judge.controls``. Raises SparringError where the extra is missing."""
    _require()
    half = make_task("What is one half of one half?", meta={"answer": "\\frac{1}{4}"})
    square = make_task("Expand (x + 1)^2.", meta={"answer": "x^2 + 2x + 1"})
    apples = make_task("Six boxes of twelve apples: how many apples?", meta={"answer": "6 * 12 = 72\n#### 72"})
    return [
        (half, "A half of 0.5: \\boxed{0.25}", "A half of 0.5: \\boxed{0.5}"),
        (square, "The answer is $(1 + x)^2$.", "The answer is $x^2 + 1$."),
        (apples, "6 times 12.\n#### 72", "72 would be too many.\n#### 71"),
        (apples, "There are 72 apples", ""),
    ]


def gold_answer(task: Task) -> str:
    """Raises SparringError for a task without one."""
    found = task.meta.get("answer")
    if isinstance(found, bool) or not isinstance(found, str | int | float) or not str(found).strip():
        raise SparringError(
            f"task {task.text[:60]!r} has {found!r} for its answer, so it cannot be judged; give it a column `answer` with the gold answer"
        )
    text = str(found)
    return _tidy(_boxed(text) or _after_hashes(text) or text)


def final_answer(text: str) -> str:
    """The last ``\\boxed{}``, else what follows the last ``####``, else the last "answer is", else the last number; "" for none."""
    tail = text[-TAIL_CHARS:]
    found = _boxed(tail) or _after_hashes(tail) or _after_phrase(tail) or _last_number(tail)
    tidy = _tidy(found)
    return tidy if len(tidy) <= MAX_CHARS else ""


def _boxed(text: str) -> str:
    start = text.rfind("\\boxed")
    if start < 0:
        return ""
    body = text[start + len("\\boxed") :].lstrip()
    if not body.startswith("{"):
        return body.split(maxsplit=1)[0].rstrip("$.") if body else ""  # TeX takes \boxed 5, too
    depth = 0
    for place, letter in enumerate(body):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return body[1:place]
    return ""


def _after_hashes(text: str) -> str:
    _, mark, after = text.rpartition("####")
    return after.strip().partition("\n")[0] if mark else ""


def _after_phrase(text: str) -> str:
    found = list(_PHRASE.finditer(text))
    if not found:
        return ""
    phrase = _SENTENCE_END.split(text[found[-1].end() :], maxsplit=1)[0]
    formulas = _MATH.findall(phrase)
    return max(formulas[0]) if len(formulas) == 1 else phrase


def _last_number(text: str) -> str:
    found = _NUMBER.findall(text)
    return found[-1].rstrip(",") if found else ""


def _tidy(text: str) -> str:
    """Without signs around it that are no part of it; a unit in words is none."""
    text = text.replace("\\$", "").replace("$", "").strip().strip("*_`").strip().rstrip(".")
    for before, after in (("\\(", "\\)"), ("\\[", "\\]")):
        text = text.removeprefix(before).removesuffix(after).strip()
    with_unit = _WITH_UNIT.fullmatch(text)
    return with_unit[1] if with_unit else text


def _plain(text: str) -> str:
    return _LAYOUT.sub("", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").casefold()


@lru_cache(maxsize=4096)
def _verified(gold: str, given: str) -> bool:
    if _WORDS.fullmatch(gold):  # a parser of formulas reads a word as a product of letters
        return False
    _require()
    return bool(_checker()(gold, given))


@cache
def _checker() -> Isolated:
    checker = Isolated("sparring.judges.maths:equal", ("1", "\\frac{2}{2}"), cpu_s=3.0)
    atexit.register(checker.close)
    return checker


def _require() -> None:
    if importlib.util.find_spec("math_verify") is None:
        raise SparringError('judging math answers needs math-verify, which is not installed: pip install "sparring[math]"')


def equal(gold: str, given: str) -> bool:
    """Whether two formulas say the same. For a locked process alone: it may hang. Raises ValueError for a gold that is no formula."""
    import math_verify

    def read(text: str) -> list[Any]:
        return math_verify.parse(f"${text}$", fallback_mode="no_fallback", parsing_timeout=None)  # type: ignore[arg-type]

    known = read(gold)
    if not known:
        raise ValueError(f"the gold answer {gold[:60]!r} is no formula that math-verify can read")
    return bool(math_verify.verify(known, read(given), timeout_seconds=None))
