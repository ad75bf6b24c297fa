"""The columns of results: which target of a run each reads, what it is called, their order and their colours.

All of it comes from the outlines in the runs' records, so that any recipe's results have columns, also those of a
recipe that is not installed here. A column is a measure (accuracy, pass@10, precision, coverage), a split and a title:
what two runs call alike stands in one column, and what they call differently, also under one name, in two.

A target may stand in a second column, so that runs of one and of two iterations share it: one titled `NAME = ALIAS` in
the column ALIAS, and the last of those titled `NAME 1`, `NAME 2`, ... in the column `last NAME`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from w2s_analysis.reading.groups import PASS_K
from w2s_core.recipes.recipe import Outline, Role

PASS: Final = f"pass@{PASS_K}"
ACCURACY: Final = "accuracy"
PRECISION: Final = "precision"
COVERAGE: Final = "coverage"
_MEASURES: Final = {ACCURACY: "share", PASS: "pass", PRECISION: "share", COVERAGE: "coverage"}
"""The name in `Measures` of what a column shows, in the order in which columns stand."""
_COLUMNS_OF: Final = {"greedy": (ACCURACY,), "samples": (PASS,), "labels": (PRECISION, COVERAGE)}
PROMINENT: Final[tuple[Role, ...]] = ("floor", "baseline", "method", "ceiling")
"""Roles of the models that are shown before the user chooses: not those on the way, nor controls."""
_LABEL: Final = re.compile(r"[\w.@+=-]+(/[\w.@+=-]+)*")
_TITLE: Final = re.compile(r"[^<>`{}\\$|]{1,120}")
"""Labels and titles that columns are made of: they come from records, and some widgets show names as HTML."""
_NUMBERED: Final = re.compile(r"(.+) ([0-9]{1,9})")
PALETTE: Final = (
    "#009E73", "#E78AC3", "#8B5CC7", "#0072B2", "#D55E00", "#56B4E9", "#E69F00", "#8C6D31",
)  # fmt: skip
"""Distinct for colour-blind eyes (after Okabe and Ito), to be seen on light and dark pages."""
_BOUNDS: Final = {"floor": "#767676", "ceiling": "#5B7083"}


@dataclass(frozen=True)
class Metric:
    """A number of a run.

    Attributes:
        id: `accuracy/SPLIT/NAME` or `precision/NAME`: unique among those of a run, and part of a page's address.
        kind: accuracy, pass@10, precision or coverage.
        split: that a model is judged on.
        title: of the model or labelled set.
        role: of the model.
        target: the label of the target that it is read from.
        prominent: whether it is shown before the user chooses.
    """

    id: str
    kind: str
    split: str | None
    title: str
    role: Role | None
    target: str
    prominent: bool

    @property
    def heading(self) -> str:
        """What columns of a kind share: `accuracy, test`."""
        return self.kind if self.split is None else f"{self.kind}, {self.split}"

    @property
    def full_title(self) -> str:
        """`accuracy, test: ceiling`."""
        return f"{self.heading}: {self.title}"

    @property
    def column(self) -> str:
        """Names the column in a frame. The slash tells it from a setting's, see `run.column_name`."""
        return "/".join(part for part in (self.kind, self.split, self.title) if part is not None)

    @property
    def measure(self) -> str:
        """The name in `Measures`."""
        return _MEASURES[self.kind]

    @property
    def compared(self) -> bool:
        """Whether two runs can be compared by it, question by question."""
        return self.kind in (ACCURACY, PASS)


@dataclass(frozen=True)
class _Entry:
    """A target under one of its names."""

    name: str
    title: str
    outline: Outline
    prominent: bool


def is_plain(entry: Outline) -> bool:
    """Whether a target's label and title are plain words: harmless on a page."""
    parts = [entry.name] if entry.split is None else [entry.name, entry.split]
    return (
        all(_LABEL.fullmatch(part) for part in parts)
        and _TITLE.fullmatch(entry.title) is not None
        and entry.title.isprintable()
    )


def metrics_of(outline: Iterable[Outline]) -> dict[str, Metric]:
    """The metrics that a run with these targets can have, by id, in the outline's order."""
    metrics = [
        _metric(entry, kind)
        for entry in _entries([entry for entry in outline if is_plain(entry)])
        for kind in _COLUMNS_OF.get(entry.outline.kind, ())
    ]
    counts = Counter(metric.column for metric in metrics)
    # Two targets of one title: their names tell them apart.
    return {
        metric.id: metric
        if counts[metric.column] == 1
        else replace(metric, title=f"{metric.title} ({metric.id.rpartition('/')[2]})")
        for metric in metrics
    }


def _metric(entry: _Entry, kind: str) -> Metric:
    target = entry.outline
    name = "/".join(part for part in (kind, target.split, entry.name) if part)
    return Metric(name, kind, target.split, entry.title, target.role, target.label, entry.prominent)


def _entries(outline: Sequence[Outline]) -> Iterator[_Entry]:
    """Each target under its own name and, where it has one, under its alias, which then is the prominent one."""
    aliases = _aliases(outline)
    aliased_sets = any(label.startswith("labels/") for label in aliases)
    for entry in outline:
        alias = aliases.get(entry.label)
        prominent = entry.role in PROMINENT
        if entry.kind == "labels":  # sets have no role; where they are numbered, the last ones stand for all
            prominent = alias is not None or not aliased_sets
        yield _Entry(entry.name, _own_title(entry), entry, prominent and alias is None)
        if alias is not None:
            yield _Entry(alias, alias, entry, prominent)


def _own_title(entry: Outline) -> str:
    """The title without its alias."""
    own, _, alias = entry.title.partition(" = ")
    return own if own and alias else entry.title


def _aliases(outline: Sequence[Outline]) -> dict[str, str]:
    """Second titles by label. One that is another target's name is left out: an id stands for one target."""
    last = _last_numbered(outline)
    names = {entry.name for entry in outline}
    aliases = ((entry.label, _alias(entry, last)) for entry in outline)
    return {label: alias for label, alias in aliases if alias is not None and alias not in names}


def _alias(entry: Outline, last: Mapping[tuple[str, str | None, str], int]) -> str | None:
    own = _own_title(entry)
    if own != entry.title:
        return entry.title.removeprefix(f"{own} = ")
    series = _series(entry)
    if series is not None and last[entry.kind, entry.split, series[0]] == series[1]:
        return f"last {series[0]}"
    return None


def _last_numbered(outline: Iterable[Outline]) -> dict[tuple[str, str | None, str], int]:
    """The highest number of each series of numbered targets."""
    last: dict[tuple[str, str | None, str], int] = {}
    for entry in outline:
        if (series := _series(entry)) is not None:
            name = entry.kind, entry.split, series[0]
            last[name] = max(last.get(name, 0), series[1])
    return last


def _series(entry: Outline) -> tuple[str, int] | None:
    """`round`, 2 for the title `round 2`, where the target's name ends in that number too."""
    match = _NUMBERED.fullmatch(_own_title(entry))
    # A number in the title alone may be anything: a model's version, a threshold.
    if match is None or not re.search(rf"[^0-9]{match[2]}$", entry.name):
        return None
    return match[1], int(match[2])


def in_order(runs: Iterable[tuple[str, Iterable[Metric]]]) -> dict[str, Metric]:
    """One metric a column: accuracy, then pass@10, precision, coverage; in each, the recipes' own order.

    Args:
        runs: the recipe and the metrics of each run. Recipes stand in the order of their names, so that a new run of
            a known recipe moves no column.
    """
    sample: dict[str, Metric] = {}
    sequences: dict[str, dict[tuple[str, ...], None]] = {}
    for recipe, metrics in runs:
        columns = {metric.column: metric for metric in metrics}
        sequences.setdefault(recipe, {})[tuple(columns)] = None  # most runs of a recipe have the same
        sample = columns | sample
    order = [column for recipe in sorted(sequences) for column in _merged(sequences[recipe])]
    place = {column: i for i, column in enumerate(dict.fromkeys(order))}
    ranked = sorted(sample, key=lambda column: (*_rank(sample[column]), place[column]))
    return {column: sample[column] for column in ranked}


def _merged(sequences: Iterable[Sequence[str]]) -> list[str]:
    """All items of some sequences: one that is new stands behind the item that it follows in its sequence."""
    merged: list[str] = []
    known: set[str] = set()
    for sequence in sequences:
        before: str | None = None
        for item in sequence:
            if item not in known:
                at = 0 if before is None else merged.index(before) + 1
                merged.insert(at, item)
                known.add(item)
            before = item
    return merged


def _rank(metric: Metric) -> tuple[int, int, str]:
    """By kind, then by split: test, dev, others."""
    splits = ("test", "dev")
    split = metric.split or ""
    rank = splits.index(split) if split in splits else len(splits)
    return list(_MEASURES).index(metric.kind), rank, split


def default_columns(columns: Mapping[str, Metric], runs: Iterable[Iterable[Metric]]) -> list[str]:
    """Some of `columns`: the prominent ones, of models on the split that most runs are judged on (test before dev)."""
    listed = [list(metrics) for metrics in runs]
    counts = Counter(split for metrics in listed for split in {m.split for m in metrics if m.compared})
    split = min(counts, key=lambda name: (-counts[name], name != "test", name or ""), default=None)
    prominent = {
        metric.column
        for metrics in listed
        for metric in metrics
        if metric.prominent and metric.kind != PASS and (metric.split == split or not metric.compared)
    }
    return [column for column in columns if column in prominent]


def colours(columns: Mapping[str, Metric]) -> dict[str, str]:
    """A colour a title, the same for all its measures. Floors are grey and ceilings slate.

    Prominent titles are the first to get colours, so that they are distinct; the others may share one.
    """
    methods = [metric for metric in columns.values() if metric.prominent and metric.role == "method"]
    prominent = [metric for metric in columns.values() if metric.prominent]
    titles = dict.fromkeys(metric.title for metric in (*methods, *prominent, *columns.values()))
    bounds = {
        metric.title: _BOUNDS[metric.role]
        for metric in columns.values()
        if metric.role in ("floor", "ceiling")
    }
    others = [title for title in titles if title not in bounds]
    shades = bounds | {title: PALETTE[i % len(PALETTE)] for i, title in enumerate(others)}
    return {column: shades[metric.title] for column, metric in columns.items()}
