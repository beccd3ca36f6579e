"""What a model that was asked for a prompt has answered: the prompt without its wrapping, or why it is none.

Stripped is only what stands around a prompt and can hardly be a part of it; what is doubtful within is refused, with the reason.
"""

from __future__ import annotations

import re

HEAD = 240
"""Characters in which a preface or a label must end: whatever the answer is, no pattern looks further."""
GROWTH, ROOM = 3, 600
"""An evolved prompt has at most so many times its parent's characters, and so many more."""
SHRINKAGE = 5
"""And at least its parent's characters over this, where that is SHORT or more."""
SHORT = 40
RUN = 8
"""Words in a row that a draft has of its request's wording: no chance."""

_KIND = r"(?:task|prompt|instruction|question|problem|request|exercise)"
_WHICH = r"(?:new|next|rewritten|revised|evolved|modified|updated|improved|harder|final|different|created)"
_NAMED = (
    rf"(?:(?:(?:{_WHICH}|more|challenging|complex|difficult)\W{{1,3}}){{1,3}}(?:{_KIND}|version|one|item)"
    r"|rewritten|revised|evolved)"
)
# "Sure! Here is the task:", "Here's a more difficult version of it:"; but not "Here is a task list:", which may well begin a prompt
_AGREEMENT = r"(?:(?:sure(?: thing)?|certainly|of course|okay|ok|absolutely|alright)\b[\s,.!:–—-]{0,5})"
_HERE = r"(?:here(?:'s|’s| is| are)|below is|this is|i(?:'ve|’ve| have) (?:written|rewritten|created|made))\b[^\n:]{0,40}?\b"
_PREFACE = re.compile(
    rf"(?:{_AGREEMENT}{_HERE}(?:{_KIND}|version|one|item)\b|{_HERE}{_NAMED}\b)[^\n:]{{0,60}}:\s*", re.IGNORECASE
)
_CONSENT = re.compile(rf"{_AGREEMENT}[ \t]*\n\s*", re.IGNORECASE)
# "#New Prompt#:", "**Rewritten task:**", "### New task"
_LABEL = re.compile(
    rf"[#*_\s]{{0,6}}{_NAMED}[#*_ ]{{0,6}}(?::[*_]{{0,3}}\s*|\n\s*)|[#*]{{1,3}} ?{_KIND}[#*:]{{1,4}}\s*",
    re.IGNORECASE,
)
_TASK = re.compile(rf"{_KIND}:\s*", re.IGNORECASE)
_FENCE = re.compile(r"(`{3,}|~{3,})[\w-]{0,20}\n(.*)\n\1", re.DOTALL)
_THOUGHT = "<think>", "</think>"
_QUOTES = ('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"), ("'", "'"), ("‘", "’"), ("`", "`"), ("**", "**"), ("「", "」")

_LEAK = re.compile(
    rf"\b(?:rewritten|evolved) {_KIND}\b|\b(?:original|given) (?:prompt|instruction)\b|#(?:the )?(?:new|created) prompt#",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"(?:i(?:'m|’m| am) (?:sorry|afraid)\b.{0,20}?)?\bi (?:cannot|can not|can't|can’t|won't|won’t|am unable to|am not able to) "
    r"(?:help|assist|comply|rewrite|write|create|provide|generate|answer|fulfil|continue|do th)|as an ai\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(
    r"(?:^|\n)[#*_ ]{0,6}(?:(?:sample |example |model |the )?(?:answer|solution|response))[*_ ]{0,3}(?:is)?:\s*\S", re.IGNORECASE
)
_WORD = re.compile(r"\w+")


def unwrap(answer: str, parent: str = "", number: int = 0) -> str:
    """The prompt in an answer: without a preface, a label, a fence or quotation marks around all of it, in any order.

    ``parent``: the prompt that was to be evolved; what it begins with itself is no wrapping. ``number``: of the list's item that was
    asked for (0: of none); its number goes, and so do further items.
    """
    text = _after_thought(answer).strip()
    if number:
        text = _item(text, number)
    while (inner := _peeled(text, parent)) != text:
        text = inner
    return text


def _after_thought(answer: str) -> str:
    """What follows a reasoning model's thoughts, where they are shown and come to an end."""
    opened, closed = _THOUGHT
    if answer.lstrip().startswith(opened):
        return answer.partition(closed)[2] or answer
    return answer


def _item(text: str, number: int) -> str:
    mark = r"(?:\*{{0,2}}(?:item|task) ?)?\*{{0,2}}{0}[.):]\*{{0,2}}\s"
    text = re.split(rf"\n\s{{0,8}}{mark.format(number + 1)}", text, maxsplit=1, flags=re.IGNORECASE)[0]
    return re.sub(rf"\A{mark.format(number)}\s*", "", text, count=1, flags=re.IGNORECASE).strip()


def _peeled(text: str, parent: str) -> str:
    """One layer less; the same text where there is none, or nothing but wrapping."""
    for pattern in (_PREFACE, _CONSENT, _LABEL, _TASK):
        found = pattern.match(text, 0, HEAD)
        if found and found.end() < len(text) and not parent.casefold().startswith(found[0].strip().casefold()):
            return text[found.end() :].strip()
    fenced = _FENCE.fullmatch(text)
    if fenced and fenced[1] not in fenced[2] and fenced[2].strip():
        return fenced[2].strip()
    return next(
        (inner for left, right in _QUOTES if (inner := _unquoted(text, left, right)) and not parent.startswith(left)), text
    )


def _unquoted(text: str, left: str, right: str) -> str:
    if not (text.startswith(left) and text.endswith(right) and len(text) > len(left + right)):
        return ""
    inner = text[len(left) : -len(right)]
    return "" if left in inner or right in inner else inner.strip()


def objection_to(draft: str, parent: str, wording: str, *, sized: bool) -> str:
    """Why an unwrapped draft is no evolved prompt, in few words; "" where nothing speaks against it.

    ``wording``: the template that it was asked for with. ``sized``: whether it should be about as long as its parent. What the parent
    says itself is never held against its child.
    """
    if draft.startswith(_THOUGHT[0]):
        return "an unfinished thought, not a prompt"
    if _REFUSAL.match(draft) and not _REFUSAL.match(parent):
        return "a refusal, not a prompt"
    if _ANSWER.search(draft) and not _ANSWER.search(parent):
        return "comes with its answer"
    if (_LEAK.search(draft) and not _LEAK.search(parent)) or _runs(wording) & _runs(draft) - _runs(parent):
        return "repeats the request"
    if sized and len(draft) > GROWTH * len(parent) + ROOM:
        return "much longer than its parent"
    if sized and len(draft) * SHRINKAGE < len(parent) and len(parent) >= SHRINKAGE * SHORT:
        return "much shorter than its parent"
    return ""


def _runs(text: str) -> set[str]:
    words = _WORD.findall(text.casefold())
    return {" ".join(words[start : start + RUN]) for start in range(len(words) - RUN + 1)}
