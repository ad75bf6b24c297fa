"""Content-addressed, cached steps: declare, plan, run and explain them."""

from w2s_core.engine.accepted import Acceptance
from w2s_core.engine.accepting import acceptances_used
from w2s_core.engine.context import Context, Earlier
from w2s_core.engine.disk import DiskFullError
from w2s_core.engine.display import make_display
from w2s_core.engine.executors.ray_cluster import ray_cluster
from w2s_core.engine.explain import Change, Explanation, explain
from w2s_core.engine.forecast import forecast
from w2s_core.engine.gc import Garbage, collect, restore
from w2s_core.engine.planning import Planned, plan
from w2s_core.engine.run import Display, Executor, run_graph
from w2s_core.engine.step import Handle, KindOf, StepDefinition, extending, step
from w2s_core.engine.store import CorruptObjectError, Problem, Store
from w2s_core.engine.walk import Outcome

__all__ = [
    "Acceptance",
    "Change",
    "Context",
    "CorruptObjectError",
    "DiskFullError",
    "Display",
    "Earlier",
    "Executor",
    "Explanation",
    "Garbage",
    "Handle",
    "KindOf",
    "Outcome",
    "Planned",
    "Problem",
    "StepDefinition",
    "Store",
    "acceptances_used",
    "collect",
    "explain",
    "extending",
    "forecast",
    "make_display",
    "plan",
    "ray_cluster",
    "restore",
    "run_graph",
    "step",
]
