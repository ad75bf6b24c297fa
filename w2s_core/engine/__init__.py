"""Content-addressed, cached steps: declare them, plan them, run them, and explain why a result is the one it is."""

from w2s_core.engine.context import Context
from w2s_core.engine.planning import Planned, plan
from w2s_core.engine.run import Display, run_graph
from w2s_core.engine.scheduler import Outcome
from w2s_core.engine.step import Handle, StepDefinition, step
from w2s_core.engine.store import CorruptObject, Problem, Store

__all__ = [
    "Context",
    "CorruptObject",
    "Display",
    "Handle",
    "Outcome",
    "Planned",
    "Problem",
    "StepDefinition",
    "Store",
    "plan",
    "run_graph",
    "step",
]
