"""The runs of a store as rows: what their records say, how much of each is computed, and results beside them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from w2s_core.answers.verdicts import RIGHT, VERDICTS
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.recipes.record import model_names, recipe_name

Record = Mapping[str, Any]


@dataclass(frozen=True)
class RunRow:
    """A run. What its record does not say is None, and `targets` is 0 where the record is none of a run.

    Attributes:
        models: the names of its base models by field.
        done: how many of its `targets` results are in the store.
        accuracy: share of right answers by target, of those that were asked for; None where it is not computed.
    """

    run: str
    started: str | None = None
    recipe: str | None = None
    task: str | None = None
    models: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    study: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    done: int = 0
    targets: int = 0
    accuracy: dict[str, float | None] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all its targets are in the store."""
        return 0 < self.done == self.targets


@dataclass(frozen=True)
class RunFilter:
    """Which runs, and in what order.

    Attributes:
        study, tags, unfinished: only runs of that study, with all these tags, whose results are not all there.
        where: experiment fields (dotted, or `recipe`) with the value that they must have.
        accuracy: grades of which the share of right answers stands in the row, by target.
        sort: a field of `RunRow`, or a target of `accuracy`; reversed: the largest first. Else by name.
    """

    study: str | None = None
    tags: Sequence[str] = ()
    unfinished: bool = False
    where: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Sequence[str] = ()
    sort: str = "run"
    reverse: bool = False

    @property
    def reads_records(self) -> bool:
        """Whether it asks for more than the store's index holds."""
        return bool(self.where or self.accuracy)


SORTED_BY = ("run", "started", "recipe", "task", "seed", "study", "done")


def list_runs(store: Store, chosen: RunFilter | None = None) -> list[RunRow]:
    """The runs of a store that a filter lets through.

    Raises:
        UserError: a field to sort by that no row has, or an experiment field or target that no run has.
    """
    chosen = chosen or RunFilter()
    if chosen.sort not in (*SORTED_BY, *chosen.accuracy):
        raise UserError(
            f"runs cannot be sorted by '{chosen.sort}': choose one of {', '.join([*SORTED_BY, *chosen.accuracy])}"
        )
    rows = list(_rows(store, chosen))
    rows = [row for row in rows if _passes(row, chosen)]
    # Runs that have nothing to sort by come last in either order.
    known = [row for row in rows if _sort_value(row, chosen.sort) is not None]
    unknown = [row for row in rows if _sort_value(row, chosen.sort) is None]
    return sorted(known, key=lambda row: _sort_value(row, chosen.sort), reverse=chosen.reverse) + unknown


def _rows(store: Store, chosen: RunFilter) -> Iterator[RunRow]:
    has = cache(store.has)  # runs of a sweep share targets
    if not chosen.reads_records:
        for name, content in store.refs.contents():
            yield _row(name, content.head, content.targets, has)
        return
    share = cache(lambda key: right_share(store.peek(key)))
    known: dict[str, int] = dict.fromkeys([*chosen.where, *chosen.accuracy], 0)
    for name, record in store.refs.readable():
        targets = record.get("targets")
        if not isinstance(targets, dict):
            continue
        fields = _fields(record)
        for asked in known:
            known[asked] += asked in fields or asked in targets
        if all(value in fields.get(asked, ()) for asked, value in chosen.where.items()):
            accuracy = {
                label: share(targets[label]) if label in targets else None for label in chosen.accuracy
            }
            yield _row(name, record, list(targets.values()), has, accuracy)
    for asked, count in known.items():
        if not count:
            raise UserError(
                f"no run in {store.root} has a field or target '{asked}': `w2s show RUN` lists a run's"
            )


def _row(
    name: str,
    record: Record,
    targets: list[str] | None,
    has: Callable[[str], bool],
    accuracy: dict[str, float | None] | None = None,
) -> RunRow:
    try:
        if targets is None:
            raise ValueError("no targets")
        return RunRow(
            run=name,
            started=str(record["started"]),
            recipe=recipe_name(record),
            task=str(record["task"]),
            models=model_names(record),
            seed=int(record["seed"]),
            study=record.get("study"),
            tags=tuple(map(str, record.get("tags", ()))),
            note=str(record.get("note", "")),
            done=sum(map(has, targets)),
            targets=len(targets),
            accuracy=accuracy or {},
        )
    except (KeyError, TypeError, AttributeError, ValueError):  # whatever wrote it, its form is another
        return RunRow(name)


def _fields(record: Record) -> dict[str, list[Any]]:
    """What may be asked of a run's experiment by dotted field: a base model goes by its path and by its name."""
    fields = {"recipe": [recipe_name(record)]}
    trees: list[tuple[str, Any]] = [("", record.get("experiment", {}))]
    while trees:
        prefix, tree = trees.pop()
        for name, value in tree.items() if isinstance(tree, dict) else ():
            fields[f"{prefix}{name}"] = [value]
            trees.append((f"{prefix}{name}.", value))
    for name, model in model_names(record).items():
        fields.setdefault(name, []).append(model)
    return fields


def _passes(row: RunRow, chosen: RunFilter) -> bool:
    if chosen.study is not None and row.study != chosen.study:
        return False
    return set(chosen.tags) <= set(row.tags) and not (chosen.unfinished and row.complete)


def _sort_value(row: RunRow, name: str) -> Any:
    return row.accuracy[name] if name in row.accuracy else getattr(row, name, None)


def right_share(manifest: Record | None) -> float | None:
    """The share of right answers of a graded set, by its manifest; None where it is none, or graded nothing."""
    summary = manifest.get("summary", {}) if manifest else {}
    counts = {verdict: summary.get(verdict, 0) for verdict in VERDICTS}
    total = summary.get("graded", 0)
    if not isinstance(total, int) or total < 1 or not all(isinstance(n, int) for n in counts.values()):
        return None
    return float(counts[RIGHT] / total)
