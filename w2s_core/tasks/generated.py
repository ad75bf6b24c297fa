"""Options of tasks that generate their problems: sizes of the splits, weights of the levels, a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_core.errors import UserError
from w2s_core.tasks import unknown

MAX_SIZE = 1_000_000
"""Problems a split: it is made in memory."""


@dataclass(frozen=True)
class Generated:
    """Options, read: problems a split; level -> weight; the seed of all draws."""

    sizes: dict[str, int]
    levels: dict[int, float]
    seed: int


def read_options(
    task: str,
    options: Mapping[str, Any],
    sizes: Mapping[str, int],
    levels: Mapping[int, float],
    known_levels: Sequence[int],
    own: Sequence[str] = (),
) -> Generated:
    """Read a size for each split, `levels` (a list of equal weights, or level: weight) and `seed`.

    Args:
        sizes, levels: what holds where an option is not given.
        known_levels: those that the task can generate, in order.
        own: options that the task reads by itself.

    Raises:
        UserError: an unknown option, or a value that cannot be.
    """
    names = [*sizes, "levels", "seed", *own]
    for name in options:
        if name not in names:
            raise UserError(f"task '{task}': {unknown('option', str(name), names)}")
    return Generated(
        {
            name: whole_option(task, name, options.get(name, size), 1, MAX_SIZE)
            for name, size in sizes.items()
        },
        _levels(task, options.get("levels", levels), known_levels),
        whole_option(task, "seed", options.get("seed", 0)),
    )


def apportion(size: int, levels: Mapping[int, float]) -> dict[int, int]:
    """Split `size` by the weights (largest remainder; ties go to the lower level)."""
    whole = sum(levels.values())
    exact = {level: size * weight / whole for level, weight in sorted(levels.items())}
    counts = {level: int(share) for level, share in exact.items()}
    by_remainder = sorted(exact, key=lambda level: (counts[level] - exact[level], level))
    for level in by_remainder[: size - sum(counts.values())]:
        counts[level] += 1
    return counts


def whole_option(task: str, name: str, value: object, least: int = 0, most: int = 2**63 - 1) -> int:
    """A whole number within bounds. Raises UserError for anything else."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        bounds = f"at least {least}" + (
            f" and at most {most}" if isinstance(value, int) and value > most else ""
        )
        raise UserError(
            f"task '{task}': option '{name}' must be a whole number of {bounds} (given: {str(value)[:80]!r})"
        )
    return value


def _levels(task: str, value: object, allowed_levels: Sequence[int]) -> dict[int, float]:
    """A list of levels (equal weights) or a mapping level -> weight; JSON makes its keys strings."""
    if not isinstance(value, Mapping | list | tuple):
        raise UserError(f"task '{task}': option 'levels' must be a list, or level: weight (given: {value!r})")
    pairs = list(value.items()) if isinstance(value, Mapping) else [(level, 1.0) for level in value]
    levels: dict[int, float] = {}
    for entry, weight in pairs:
        level = next((level for level in allowed_levels if str(level) == str(entry)), None)
        if level is None or level in levels:
            allowed = f"distinct levels from {allowed_levels[0]} to {allowed_levels[-1]}"
            raise UserError(f"task '{task}': option 'levels' takes {allowed} (given: {entry!r})")
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight < float("inf"):
            raise UserError(
                f"task '{task}': the weight of level {level} must be a number above 0 (given: {weight!r})"
            )
        levels[level] = float(weight)
    if not levels:
        raise UserError(f"task '{task}': option 'levels' is empty; give at least one level")
    return levels
