"""What the steps share: the code and libraries that decide their results, and how they read folders."""

from pathlib import Path

from w2s_core.engine import Context
from w2s_core.rows import read_rows

Responses = dict[str, list[str]]


ANSWER_CODE = (
    "w2s_core.answers",
)


ANSWER_LIBRARIES = ("math-verify", "sympy")


MODEL_CODE = ("w2s_core.models", "w2s_core.prompting")


MODEL_LIBRARIES = ("torch", "transformers", "peft")


TRAINING_CODE = ("w2s_core.training", *MODEL_CODE)


TRAINING_LIBRARIES = (*MODEL_LIBRARIES, "trl", "accelerate", "datasets")


def read_responses(folder: Path) -> Responses:
    """The responses of a sample by question id."""
    return {row["id"]: row["responses"] for row in read_rows(folder / "rows.parquet")}


def read_ids(folder: Path) -> set[str]:
    """The question ids of a result's rows."""
    return {row["id"] for row in read_rows(folder / "rows.parquet")}


def device_of(ctx: Context) -> str:
    """Where to compute. On a CPU one thread a process: then the number of workers cannot change a bit."""
    import torch

    from w2s_core.models import resolve_device

    device = resolve_device(str(ctx.runtime.get("device", "auto")))
    if device == "cpu":
        torch.set_num_threads(1)
    return device
