"""What a draft must pass to become a task: its form, its reader, novelty, and whatever else a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from sparring.game import Sample, Task, make_task

Read = Callable[[str], Mapping[str, Any] | str]
"""The validity gate: a prompt's meta, or the reason why it cannot be judged, in few words that a table can group by.

A reader that knows a better spelling of the same prompt gives it as ``text``; the task then has that text."""


class Novel(Protocol):
    """What has been asked before."""

    def add(self, task: Task) -> None: ...

    def objection(self, task: Task) -> str | None:
        """Why the task is not new, or None."""
        ...


class Gate(Novel, Protocol):
    """Any other condition on a task, given those accepted (``add``) before it; the reason is in few words, as a reader's."""

    def foresee(self, tasks: Sequence[Task]) -> None:
        """About these ``objection`` may be asked next: for what is cheaper done for many at once."""
        ...


class Draft(NamedTuple):
    """What was written, the model call that wrote it, and what the task's meta should tell of how it came about."""

    text: str
    sample: Sample | None
    lineage: Mapping[str, Any]


Form = Callable[[Task, Draft], str]
"""(parent, draft) -> why the draft does not even look like a prompt, "" where it does."""


def any_form(parent: Task, draft: Draft) -> str:
    return ""


@dataclass(frozen=True)
class Gates:
    """Refused drafts become tasks too, with ``rejected`` set, so that the record shows what the creator tried.

    The order: form, reader, novelty, then ``further`` ones; each is asked only about what those before it let pass.
    """

    read: Read
    novelty: Novel
    form: Form = any_form
    further: Sequence[Gate] = ()

    def foresee(self, drafts: Iterable[tuple[Task, Draft]]) -> None:
        """Tells the further gates which (parent, draft) come next, as far as they would reach them now."""
        if not self.further:
            return
        judged = (self._judge(parent, draft, self.novelty) for parent, draft in drafts)
        tasks = [task for task in judged if task.rejected is None]
        for gate in self.further:
            gate.foresee(tasks)
            tasks = [task for task in tasks if gate.objection(task) is None]

    def first_accepted(self, parent: Task, drafts: Sequence[Draft]) -> list[Task]:
        """The drafts up to the first that passes, as tasks, each one generation after ``parent``; later ones are not looked at."""
        tried: list[Task] = []
        for draft in drafts:
            task = self._judge(parent, draft, self.novelty, *self.further)
            tried.append(task)
            if task.rejected is None:
                for gate in (self.novelty, *self.further):
                    gate.add(task)
                break
        return tried

    def _judge(self, parent: Task, draft: Draft, *gates: Novel) -> Task:
        text = draft.text.strip()
        lineage = {**draft.lineage, "generation": _generation(parent) + 1}
        meta = self._meta(parent, draft)
        if isinstance(meta, str):
            return make_task(text, context=parent.context, parent=parent.id, draft=draft.sample, rejected=meta, meta=lineage)
        kept = {name: value for name, value in meta.items() if name != "text"}
        text = str(meta.get("text", text))
        task = make_task(text, context=parent.context, parent=parent.id, draft=draft.sample, meta={**kept, **lineage})
        objection = next((found for gate in gates if (found := gate.objection(task))), None)
        return replace(task, rejected=objection) if objection else task

    def _meta(self, parent: Task, draft: Draft) -> Mapping[str, Any] | str:
        """The draft's meta, or what is wrong with it."""
        text, sample = draft.text.strip(), draft.sample
        if sample is not None and sample.fault:
            return "the model broke"
        if not text:
            return "empty"
        if sample is not None and sample.finish == "length":
            return "cut off"  # at max_new_tokens: half a prompt may well pass the reader
        if text.casefold() == parent.text.strip().casefold():
            return "copy of its parent"
        if objection := self.form(parent, draft):
            return objection
        try:
            return self.read(text)
        except Exception as error:  # a reader is somebody's code and a draft is anything: one draft must not end the run
            return f"the reader broke: {type(error).__name__}"


def _generation(task: Task) -> int:
    """0 for a prompt that nobody evolved: a column of that name is its user's."""
    return int(task.meta["generation"]) if task.parent else 0
