"""Two runs on the same questions: the paired difference, by level, and the questions that changed sides."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from w2s_analysis.reading.frame import read_grades
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.statistics import (
    Bounds,
    Estimate,
    bounded_score,
    holm,
    imbens_manski,
    mcnemar_exact,
    paired_difference,
    paired_permutation,
    same_ids,
)
from w2s_core.statistics.estimates import LEVEL

if TYPE_CHECKING:
    import pandas as pd

SIDES: Final = ("both right", "only A", "only B", "neither")
COLUMNS: Final = ("id", "level", "template", "a", "b")
Columns = Mapping[str, Any]
"""Arrays of one length by name. No frame: importing pandas takes as long as a comparison does."""


@dataclass(frozen=True)
class Part:
    """A comparison over some of the questions, all of them or one level.

    Attributes:
        level: None for all.
        mean_a, mean_b: shares of right answers, or mean pass@10.
        difference: B minus A, with its 95 % interval over questions (or clusters of them that share a template).
        p: of a paired permutation of A and B within questions (or clusters).
        sides: questions by `SIDES`; for pass@10 those where A is higher count as "only A".
        mcnemar: exact McNemar p of the changed sides; it takes the questions as independent.
        bounds_a, bounds_b, bounds: of the shares and of the difference, whatever the responses are that were not
            graded (see `Graded.ungraded`); None where there are none. p and sides take them as wrong.
    """

    level: Any
    mean_a: float
    mean_b: float
    difference: Estimate
    p: float
    sides: Mapping[str, int]
    mcnemar: float
    bounds_a: Bounds | None = None
    bounds_b: Bounds | None = None
    bounds: Bounds | None = None


@dataclass(frozen=True)
class Pair:
    """The comparison of two graded sets.

    Attributes:
        whole: over all questions.
        levels: one part a level; empty where the questions have none.
        adjusted: Holm-adjusted p by level.
        columns: id, level, template, a, b (scores), each over the questions.
    """

    whole: Part
    levels: tuple[Part, ...]
    adjusted: Mapping[Any, float]
    columns: Columns

    @property
    def questions(self) -> "pd.DataFrame":
        """The columns, one row a question."""
        import pandas as pd

        return pd.DataFrame(dict(self.columns))


def compare_pair(
    store: Store,
    a: str,
    b: str,
    *,
    measure: str = "share",
    names: tuple[str, str] = ("A", "B"),
    common: bool = False,
) -> Pair:
    """Compare two graded sets, by their keys, question by question.

    Args:
        store: holds both results.
        a, b: keys; the difference is B minus A.
        measure: `share` of right responses, or `pass` (pass@10).
        names: for the errors.
        common: leave out the questions that only one of them was graded on, instead of refusing.

    Raises:
        UserError: a result that is not there, cannot be read, or was graded on other questions than the other one.
    """
    table = _joined(_scores(store, a, measure, names[0]), _scores(store, b, measure, names[1]), names, common)
    levels = dict.fromkeys(level for level in table["level"].tolist() if level is not None)
    parts = tuple(_part(_where(table, level), level) for level in sorted(levels, key=level_rank))
    columns = {name: table[name] for name in COLUMNS}
    return Pair(_part(table, None), parts, holm({part.level: part.p for part in parts}), columns)


def _scores(store: Store, key: str, measure: str, name: str) -> Columns:
    """id, level, template, score and best (with all that was not graded right) of a graded set, a row a question."""
    from w2s_analysis.reading.groups import PASS_K
    from w2s_core.statistics.scores import pass_at_k

    if not store.has(key):
        raise UserError(f"{name}: the result {key[:12]} is not computed yet")
    columns = read_grades(store.path(key))
    n = columns["n"]
    if measure == "pass" and len(n) and n.min() < PASS_K:
        raise UserError(f"{name}: pass@{PASS_K} needs {PASS_K} responses a question, there are {n.min()}")

    def scores(right: Any) -> Any:
        if measure == "pass":
            drawn = zip(n.tolist(), right.tolist(), strict=True)
            return np.array([pass_at_k(*pair, PASS_K) for pair in drawn], dtype=float)
        return np.asarray(right / n if len(n) else [], dtype=float)

    if repeated := [first for first, again in pairwise(sorted(columns["id"])) if first == again]:
        raise UserError(f"{name}: question '{repeated[0]}' stands twice")
    table = {column: columns[column] for column in ("id", "level", "template")}
    return table | {"score": scores(columns["c"]), "best": scores(columns["c"] + columns["ungraded"])}


def _joined(first: Columns, second: Columns, names: tuple[str, str], common: bool) -> Columns:
    """The questions of both in order of their ids; level and template as the first has them."""
    of_first, of_second = ({name: i for i, name in enumerate(table["id"])} for table in (first, second))
    shared = of_first.keys() & of_second.keys()
    ids = sorted(shared) if common else same_ids(set(of_first), set(of_second), names)
    if not ids:
        raise UserError(f"{names[0]} and {names[1]} have no question in common")
    rows_a, rows_b = ([places[name] for name in ids] for places in (of_first, of_second))
    table = {name: first[name][rows_a] for name in ("id", "level", "template")}
    for side, scores, rows in (("a", first, rows_a), ("b", second, rows_b)):
        table |= {side: scores["score"][rows], f"best_{side}": scores["best"][rows]}
    return table


def _where(table: Columns, level: Any) -> Columns:
    chosen = [at == level for at in table["level"].tolist()]
    return {name: column[chosen] for name, column in table.items()}


def _part(table: Columns, level: Any) -> Part:
    labels = cluster_labels(table["template"])
    sides = _sides(table)
    return Part(
        level,
        float(table["a"].mean()),
        float(table["b"].mean()),
        _difference(table, "a", "b", labels),
        paired_permutation(table["b"] - table["a"], labels),
        sides,
        mcnemar_exact(sides["only A"], sides["only B"]),
        _share_bounds(table, "a", labels),
        _share_bounds(table, "b", labels),
        _difference_bounds(table, labels),
    )


def _difference(
    table: Columns, of_a: str, of_b: str, labels: list[Any] | None, level: float = LEVEL
) -> Estimate:
    ids = table["id"].tolist()
    first, second = (dict(zip(ids, table[name].tolist(), strict=True)) for name in (of_a, of_b))
    clusters = dict(zip(ids, labels, strict=True)) if labels else None
    return paired_difference(first, second, clusters, level=level)


def _share_bounds(table: Columns, side: str, labels: list[Any] | None) -> Bounds | None:
    worst, best = table[side], table[f"best_{side}"]
    return bounded_score(worst, best, labels) if (best > worst).any() else None


def _difference_bounds(table: Columns, labels: list[Any] | None) -> Bounds | None:
    """From ungraded responses of A right and of B wrong to the reverse."""
    if not any((table[f"best_{side}"] > table[side]).any() for side in ("a", "b")):
        return None
    return imbens_manski(
        lambda at: _difference(table, "best_a", "b", labels, at),
        lambda at: _difference(table, "a", "best_b", labels, at),
    )


def _sides(table: Columns) -> dict[str, int]:
    names = changed_sides(table)
    return {side: names.count(side) for side in SIDES}


def changed_sides(table: Columns) -> list[str]:
    """Which of `SIDES` each question is on."""
    a, b = table["a"], table["b"]
    equal = np.where(a > 0, "both right", "neither")
    sides: list[str] = np.where(a > b, "only A", np.where(b > a, "only B", equal)).tolist()
    return sides


def cluster_labels(templates: Iterable[Any]) -> list[Any] | None:
    """Questions that share a template are one cluster, one without is its own; None where no question has one."""
    listed = list(templates)
    if all(template is None for template in listed):
        return None
    return [f"#{i}" if template is None else ("template", template) for i, template in enumerate(listed)]


def level_rank(level: Any) -> tuple[bool, float, str]:
    """Numbers in order, then words."""
    return (False, float(level), "") if isinstance(level, int | float) else (True, 0.0, str(level))
