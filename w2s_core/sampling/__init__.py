"""Sampling: one interface over the engines that generate responses.

`TransformersEngine` is loaded on first use, so that what only needs the parameters imports no torch.
"""

from typing import TYPE_CHECKING, Any

from w2s_core.sampling.interface import Generation, Progress, SamplingEngine, SamplingParams

if TYPE_CHECKING:
    from w2s_core.sampling.transformers_engine import TransformersEngine

__all__ = ["Generation", "Progress", "SamplingEngine", "SamplingParams", "TransformersEngine"]


def __getattr__(name: str) -> Any:
    if name == "TransformersEngine":
        from w2s_core.sampling.transformers_engine import TransformersEngine

        return TransformersEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
