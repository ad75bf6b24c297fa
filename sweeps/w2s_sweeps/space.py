"""The space of a study: its cells, their names, and what Optuna sees of them."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.engine.canonical import digest
from w2s_sweeps.study_file import Range, Study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Shown = str | int | float | bool
"""A value as people and Optuna see it: a number as it is, a list joined by +, a model folder by its last name."""

LONGEST_NAME = 120


@dataclass(frozen=True)
class Dimension:
    """A field that varies. `shown` runs parallel to `values` where those are listed."""

    field: str
    short: str
    values: tuple[Any, ...] = ()
    shown: tuple[Shown, ...] = ()
    range: Range | None = None

    def value(self, shown: Shown) -> Any:
        """The value of the field that is shown so. Raises ValueError for one that is not listed."""
        return shown if self.range else self.values[self.shown.index(shown)]

    def stands_for(self, drawn: Shown) -> Shown:
        """The shown value that a sampler's value stands for."""
        if self.range is None or isinstance(drawn, str):
            return drawn
        nearest = self.nearest(drawn)
        return drawn if nearest is None else nearest

    def nearest(self, number: float) -> int | float | None:
        """The value of the range that a number stands for, None where it stands for none.

        Samplers add up steps and take logarithms in binary fractions, so a value may come a few last digits off.
        """
        assert self.range is not None
        low, high = self.range.low, self.range.high
        slack = 1e-9 * max(abs(low), abs(high))
        if not low - slack <= number <= high + slack:
            return None
        if self.range.step is None and not self.range.whole:
            return min(max(number, low), high)
        step = self.range.step or 1
        place = round((number - low) / step)
        value = low + place * step if self.range.whole else self.range.at(place)
        return value if abs(value - number) <= slack and value <= high else None

    def distribution(self, *, grid: bool) -> "BaseDistribution":
        """The dimension for Optuna. On a grid, numbers are a numeric axis: more values may join it later."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.range:
            low, high, step = self.range.low, self.range.high, self.range.step
            if step is not None:
                high = self.range.at(self.range.steps - 1)  # Optuna warns of an end that no step meets
            if self.range.whole:
                return IntDistribution(int(low), int(high), log=self.range.log, step=int(step or 1))
            return FloatDistribution(low, high, log=self.range.log, step=step)
        if grid and _numeric(self.values):
            low, high = min(self.values), max(self.values)
            if all(isinstance(value, int) for value in self.values):
                return IntDistribution(low, high)
            return FloatDistribution(low, high)
        return CategoricalDistribution(self.shown)


@dataclass(frozen=True)
class Cell:
    """One point of the space: what varies, by field, as shown."""

    shown: Mapping[str, Shown]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name the cell, whatever the order of its fields."""
        return digest(dict(self.shown))[:16]


class Space:
    """All dimensions of a study, in the order of its file."""

    def __init__(self, study: Study) -> None:
        self._grid = study.sampler.name == "grid"
        shorts = _short_names(study.space)
        self.dimensions = tuple(
            Dimension(field, shorts[field], range=values)
            if isinstance(values, Range) and not self._grid
            else _listed(field, shorts[field], values.listed() if isinstance(values, Range) else values)
            for field, values in study.space.items()
        )

    def cells(self) -> Iterator[Cell]:
        """Every combination of the listed values, the last field changing fastest."""
        fields = [dimension.field for dimension in self.dimensions]
        for combination in itertools.product(*(dimension.shown for dimension in self.dimensions)):
            yield Cell(dict(zip(fields, combination, strict=True)))

    @property
    def size(self) -> int | None:
        """The number of cells of a grid; None where the space is sampled."""
        return math.prod(len(dimension.shown) for dimension in self.dimensions) if self._grid else None

    def example(self) -> Cell:
        """Some cell: the first values, and the lower ends of ranges."""
        return Cell({d.field: d.range.low if d.range else d.shown[0] for d in self.dimensions})

    def each_value(self) -> Iterator[Cell]:
        """Cells in which each listed value comes once, beside the example's others."""
        example = self.example()
        for dimension in self.dimensions:
            yield from (Cell({**example.shown, dimension.field: value}) for value in dimension.shown)

    def has(self, cell: Cell) -> bool:
        """Whether the file still has all values of the cell."""
        return all(d.range or cell.shown[d.field] in d.shown for d in self.dimensions)

    def values(self, cell: Cell) -> dict[str, Any]:
        """The cell's fields with the values that an experiment takes."""
        return {d.field: d.value(cell.shown[d.field]) for d in self.dimensions}

    def distributions(self) -> "dict[str, BaseDistribution]":
        """The space for Optuna, by field."""
        return {d.field: d.distribution(grid=self._grid) for d in self.dimensions}

    def title(self, cell: Cell) -> str:
        """The cell for people, and as a part of a run's name: `model=llama,epochs=2`."""
        parts = (f"{d.short}={_clean(cell.shown[d.field])}" for d in self.dimensions)
        title = ",".join(parts)
        return title if len(title) <= LONGEST_NAME else f"cell-{cell.digest}"

    def run_name(self, study: str, cell: Cell, seed: int) -> str:
        """The name of a cell's run in the store: `my-study/model=llama,epochs=2,seed=0`."""
        return f"{study}/{self.title(cell)},seed={seed}"


def _listed(field: str, short: str, values: Sequence[Any]) -> Dimension:
    return Dimension(field, short, tuple(values), tuple(_show_all(values)))


def _show_all(values: Sequence[Any]) -> list[Shown]:
    """Short forms of the values, or full ones where two would look alike. Numbers are of one kind, as on an axis."""
    if _numeric(values) and any(isinstance(value, float) for value in values):
        return [float(value) for value in values]
    short = [_show(value) for value in values]
    return short if len(set(map(str, short))) == len(short) else [_full(value) for value in values]


def _show(value: Any) -> Shown:
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return "+".join(map(str, value)) or "none"
    if isinstance(value, str) and "/" in value:
        return Path(value.partition("@")[0]).name or value
    return _full(value)


def _full(value: Any) -> Shown:
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True)


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _short_names(fields: Mapping[str, Any]) -> dict[str, str]:
    """The last part of each dotted field, or all of it where two end alike."""
    last = {field: field.rsplit(".", 1)[-1] for field in fields}
    endings = list(last.values())
    return {field: name if endings.count(name) == 1 else field for field, name in last.items()}


def _clean(value: Shown) -> str:
    """The value in letters that a run's name may have; other values have other names."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)  # six digits, unless they are not all
    text = str(value)
    safe = re.sub(r"[^A-Za-z0-9._+-]", "-", text)
    # Two values may differ only in letters that a name cannot have: then a digest tells them apart.
    return safe if safe == text else f"{safe}-{digest(text)[:6]}"
