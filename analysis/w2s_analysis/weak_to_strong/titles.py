"""Names of the method's targets: which model M_plus is, what Stage II is called, and how names stand in order.

Tables of one experiment take titles and order from its runs' records. What is here serves tables over experiments that
may differ in their number of iterations.
"""

from collections.abc import Sequence
from typing import Final

from w2s_analysis.reading.groups import Group
from w2s_core.recipes.weak_to_strong import model_title

METHODS: Final = {"dpo": "DPO", "orpo": "ORPO", "cpo": "CPO", "simpo": "SimPO"}
"""What columns and legends call a method of Stage II, by its name in an experiment; in the order of tables."""
CONTROLS: Final = ("icl_all", "random_subset", "gold_on_agreed")


def iterations(group: Group) -> int:
    """Of Stage I, as planned on any split."""
    names = {entry.name for entry in group.outline if entry.kind in ("greedy", "samples")}
    numbers = [int(name.removeprefix("hybrid_ft_")) for name in names if name.startswith("hybrid_ft_")]
    return max(numbers, default=0)


def m_plus(group: Group) -> str:
    """The model that M_plus is an alias of."""
    return f"hybrid_ft_{iterations(group)}"


def strong_model(group: Group) -> str:
    """The strong base model."""
    return group.models.get("strong", "?")


def stage_two(group: Group) -> list[str]:
    """The Stage II methods that are planned on the split."""
    planned = group.planned()
    return [method for method in METHODS if method in planned]


def short_names(group: Group) -> dict[str, str]:
    """What columns call M_plus and what Stage II makes of it: `M_plus`, `DPO`."""
    return {m_plus(group): "M_plus", **METHODS}


def method_name(method: str) -> str:
    """What tables call a model, whatever experiment it is of."""
    return model_title(method, 0)


def title_in(groups: Sequence[Group], method: str) -> str:
    """What tables over several experiments call a model: M_plus is marked where the first of them ends with it."""
    return model_title(method, iterations(groups[0]))
