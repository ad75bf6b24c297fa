"""Several claims tested together."""

from collections.abc import Hashable, Mapping
from math import isnan, nan
from typing import TypeVar

from w2s_core.errors import UserError

Name = TypeVar("Name", bound=Hashable)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's adjusted p of each claim (1979): controls the chance of any false claim. nan (not tested) stays out.

    Raises:
        UserError: a p outside [0, 1].
    """
    for name, p in p_values.items():
        if not isnan(p) and not 0 <= p <= 1:
            raise UserError(f"the p of {name} is {p}, which is no probability")
    tested = sorted((name for name in p_values if not isnan(p_values[name])), key=lambda name: p_values[name])
    adjusted: dict[Name, float] = dict.fromkeys(p_values, nan)
    largest = 0.0
    for rank, name in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted
