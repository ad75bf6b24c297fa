"""Tasks: where the questions, their gold answers, levels and templates come from. No torch here.

`w2s_core.plugins.TASKS` lists them; a plug-in adds one as a function from its options to a `Task`.
"""

import difflib
from dataclasses import dataclass
from typing import Any, Protocol

from w2s_core.errors import UserError
from w2s_core.plugins import TASKS


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer.

    Attributes:
        id: unique within its split.
        gold: the final answer alone, as the task's answer rule extracts it from `solution`.
        solution: the gold chain of thought, in the format that the models are trained on.
        level: difficulty; on the mini task the number of operations.
        template: questions that share it are alike, and form one cluster in the statistics.
        entry: what the task's scorer is handed beside an answer, where a scorer says what is right; else empty.
    """

    id: str
    question: str
    gold: str
    solution: str
    level: int
    template: str
    entry: str = ""


class Task(Protocol):
    """What a task offers."""

    @property
    def name(self) -> str:
        """The name under which `load_task` finds it."""
        ...

    @property
    def answer_rule(self) -> str:
        """How final answers are read: a rule of `w2s_core.plugins.RULES`."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `load` knows."""
        ...

    def load(self, split: str) -> list[Problem]:
        """The problems of one split. Raises UserError for an unknown split or data that cannot be had."""
        ...


def load_task(name: str, options: dict[str, Any] | None = None) -> Task:
    """The task called `name`, set up with its own options.

    Raises:
        UserError: unknown task, unknown option, or an option of the wrong type or range.
    """
    factory = TASKS.get(name)
    with TASKS.guard(name):
        task: Task = factory(dict(options or {}))
    if missing := [part for part in ("name", "answer_rule", "splits", "load") if not hasattr(task, part)]:
        raise UserError(
            f"task '{name}': its function gave a {type(task).__name__} without {', '.join(missing)}: "
            "see w2s_core.tasks.Task"
        )
    return task


def unknown(kind: str, name: str, known: list[str]) -> str:
    """One line for a name that does not exist: the closest one that does, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return f"unknown {kind} '{name}'; {hint}"
