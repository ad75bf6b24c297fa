"""Tasks: where the questions, their gold answers, levels and templates come from. No torch here."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from w2s_core.errors import UserError


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer.

    Attributes:
        id: unique within its split.
        gold: the final answer alone, as the task's answer rule extracts it from `solution`.
        solution: the gold chain of thought, in the format that the models are trained on.
        level: difficulty; on the mini task the number of operations.
        template: questions that share it are alike, and form one cluster in the statistics.
    """

    id: str
    question: str
    gold: str
    solution: str
    level: int
    template: str


class Task(Protocol):
    """What a task offers."""

    @property
    def name(self) -> str:
        """The name under which `load_task` finds it."""
        ...

    @property
    def answer_rule(self) -> str:
        """How final answers are read: a rule of `w2s_core.answers.extract`."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `load` knows."""
        ...

    def load(self, split: str) -> list[Problem]:
        """The problems of one split. Raises UserError for an unknown split or data that cannot be had."""
        ...


def _mini(options: dict[str, Any]) -> Task:
    from w2s_core.tasks.mini import MiniTask

    return MiniTask.from_options(options)


def _gsm8k(options: dict[str, Any]) -> Task:
    from w2s_core.tasks.gsm8k import Gsm8kTask

    return Gsm8kTask.from_options(options)


def _deduction(options: dict[str, Any]) -> Task:
    from w2s_core.tasks.deduction import DeductionTask

    return DeductionTask.from_options(options)


def _math(options: dict[str, Any]) -> Task:
    from w2s_core.tasks.math import MathTask

    return MathTask.from_options(options)


def _olympicarena(options: dict[str, Any]) -> Task:
    from w2s_core.tasks.olympicarena import OlympicArenaTask

    return OlympicArenaTask.from_options(options)


def _jsonl(options: dict[str, Any]) -> Task:
    from w2s_core.tasks.jsonl import JsonlTask

    return JsonlTask.from_options(options)


_REGISTRY: dict[str, Callable[[dict[str, Any]], Task]] = {
    "mini": _mini,
    "deduction": _deduction,
    "gsm8k": _gsm8k,
    "math": _math,
    "olympicarena": _olympicarena,
    "jsonl": _jsonl,
}


def load_task(name: str, options: dict[str, Any] | None = None) -> Task:
    """The task called `name`, set up with its own options.

    Raises:
        UserError: unknown task, unknown option, or an option of the wrong type or range.
    """
    if name not in _REGISTRY:
        raise UserError(unknown("task", name, sorted(_REGISTRY)))
    return _REGISTRY[name](dict(options or {}))


def unknown(what: str, given: str, known: list[str]) -> str:
    """One line for a name that does not exist: the closest one that does, or all of them."""
    close = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return f"unknown {what} '{given}'; {hint}"
