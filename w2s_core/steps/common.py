"""What the steps share: the code and libraries that decide their results, and how they read folders."""

from collections.abc import Mapping
from pathlib import Path

from w2s_core.answers.reading import SCORED
from w2s_core.engine import Context
from w2s_core.engine.reach import Reach
from w2s_core.errors import StopBranch, UserError
from w2s_core.models.machine import Threads
from w2s_core.plugins import RULES
from w2s_core.rows import Row, read_rows
from w2s_core.versions import reasoning_gym_version

Responses = dict[str, list[str]]
Minimums = dict[str, float]
"""Least rows, or least share of readable answers, by name: a key of MEASURED."""
MEASURED = {
    "agreed": "{:g} questions are agreed on",
    "parsed": "{:.1%} of the in-context answers can be read",
    "pairs": "{:g} pairs",
}
"""What a set is measured by; no gold answer is needed for it."""
ANSWER_CODE = ("w2s_core.answers",)
ANSWER_LIBRARIES = ("math-verify", "sympy")
MODEL_CODE = ("w2s_core.models", "w2s_core.prompting")
MODEL_LIBRARIES = ("torch", "transformers", "peft")
TRAINING_CODE = ("w2s_core.training", *MODEL_CODE)
TRAINING_LIBRARIES = (*MODEL_LIBRARIES, "trl", "accelerate", "datasets")


def rule_key(name: str) -> str:
    """An answer rule as steps take it: a plug-in's with a digest of its code, which decides results; that of
    reasoning-gym's scorers with the package's version.

    Raises:
        UserError: there is no rule of that name, or it is no plain function, so that its code has no digest.
    """
    if name == SCORED:
        return f"{name} {reasoning_gym_version()}"
    if RULES.is_builtin(name):  # their code is in every key that stands on answers, see ANSWER_CODE
        return name
    function = RULES.get(name)
    try:
        return f"{name} {Reach(function, (), ()).digest[:16]}"
    except (OSError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"answer rule '{name}': keys need its code, so it must be a plain function of a module's"
        ) from None


def rule_name(key: str) -> str:
    """The rule's name for `extract` and `Grader`.

    Raises:
        UserError: the rule's code is not that which the key was made with.
    """
    name = key.partition(" ")[0]
    if key != rule_key(name):
        raise UserError(
            f"the code of answer rule '{name}' changed since this command started: start it again"
        )
    return name


def held_to(
    ctx: Context, measured: Mapping[str, float], stop_below: Minimums | None, warn_below: Minimums | None
) -> Row:
    """Warn where something lies below its minimum. Returns the warning for the summary, or nothing.

    Raises:
        StopBranch: something lies below the minimum at which a branch stops.
    """
    limits = stop_below or warn_below or {}
    short = "; ".join(
        f"{MEASURED[name].format(measured[name])}, minimums.{name} is {limit:g}"
        for name, limit in limits.items()
        if measured[name] < limit
    )
    if short and stop_below:
        raise StopBranch(f"{short}: too little to train on")
    if short:
        ctx.warn(short)
    return {"warning": short} if short else {}


def read_responses(folder: Path) -> Responses:
    """The responses of a sample by question id."""
    return {row["id"]: row["responses"] for row in read_rows(folder / "rows.parquet")}


def read_ids(folder: Path) -> set[str]:
    """The question ids of a result's rows."""
    return {row["id"] for row in read_rows(folder / "rows.parquet")}


def device_of(ctx: Context) -> str:
    """Where to compute."""
    from w2s_core.models import resolve_device

    return resolve_device(str(ctx.runtime.get("device", "auto")))


def threads_of(ctx: Context) -> Threads | None:
    """How many threads torch gets; None on a GPU. A small base has one unless the user says otherwise: then the number
    of workers cannot change a bit.
    """
    return Threads(*ctx.runtime.get("threads", ())) if device_of(ctx) == "cpu" else None


def threads_used(ctx: Context) -> Row:
    """What a summary says of it: rounding follows the number."""
    import torch

    return {"threads": torch.get_num_threads()} if device_of(ctx) == "cpu" else {}
