"""From the store to runs: their records and results, and tidy frames of them for notebooks.

Computes nothing that is not there: what is missing stands in `Frames.targets` with `present` false.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_analysis.reading.results import GRADES, ROWS, Graded, RefsLike, Results, StoreLike, read_graded
from w2s_core.errors import UserError
from w2s_core.recipes.record import model_names, read_record, recipe_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GRADES", "ROWS", "Frames", "RefsLike", "StoreLike", "flat", "load_frames", "read_grades"]


@dataclass(frozen=True, eq=False)
class Frames:
    """Some runs: their records, and the results that they point at.

    The frames below are made when they are asked for; tables read `records` and `results` instead, which hold a result
    that many runs share once.
    """

    records: dict[str, dict[str, Any]]
    results: Results

    def only(self, names: Iterable[str]) -> "Frames":
        """The same for some of the runs."""
        return Frames({name: self.records[name] for name in names}, self.results)

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """Each run's experiment, flat: {"evaluation.samples": 10, ...}."""
        return {name: flat(record.get("experiment", {})) for name, record in self.records.items()}

    @cached_property
    def runs(self) -> "pd.DataFrame":
        """A row a run: run, recipe, base models by field, task, seed, study, command, started, questions by split."""
        import pandas as pd

        return pd.DataFrame([_run_row(name, record) for name, record in self.records.items()])

    @cached_property
    def targets(self) -> "pd.DataFrame":
        """A row a run and target: run, label, key, present."""
        import pandas as pd

        rows = [(name, label, key, self.results.has(key)) for name, label, key in self._targets()]
        return pd.DataFrame(rows, columns=["run", "label", "key", "present"])

    @cached_property
    def grades(self) -> "pd.DataFrame":
        """A row a run, method and question: run, method, split, kind (greedy or samples), then as in `read_grades`."""
        return self._stack(_judged, ["run", "method", "split", "kind", *_GRADED])

    @cached_property
    def labels(self) -> "pd.DataFrame":
        """A row a run, labelled set of training questions and question; the sides of pairs stand in `pairs`."""
        return self._stack(_labelled, ["run", "set", "id", "level", "template", "right", "unparsed"])

    @cached_property
    def pairs(self) -> "pd.DataFrame":
        """A row a pair: run, id, kind, chosen_right, rejected_right (None if not graded), chosen_, rejected_words."""
        import pandas as pd

        columns = ["run", "id", "kind", "chosen_right", "rejected_right", "chosen_words", "rejected_words"]
        parts = []
        for name, record in self.records.items():
            targets = {label: key for label, key in record["targets"].items() if self.results.has(key)}
            if "pairs" in targets:
                sides = {side: targets.get(f"labels/pairs_{side}") for side in ("chosen", "rejected")}
                pairs = self.results.pairs(targets["pairs"], sides)
                measured: dict[str, Any] = {f"{side}_right": pairs.right[side] for side in sides}
                measured |= {f"{side}_words": pairs.words[side] for side in sides}
                parts.append(pd.DataFrame({"run": name, "id": pairs.ids, "kind": pairs.kinds, **measured}))
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def _targets(self) -> Iterable[tuple[str, str, str]]:
        return (
            (name, label, key)
            for name, record in self.records.items()
            for label, key in record["targets"].items()
        )

    def _stack(
        self, place_of: Callable[[str], Mapping[str, str] | None], columns: list[str]
    ) -> "pd.DataFrame":
        import numpy as np
        import pandas as pd

        places = [(name, place_of(label), key) for name, label, key in self._targets()]
        placed = [(n, place, key) for n, place, key in places if place is not None and self.results.has(key)]
        parts = [
            ({"run": name, **place}, as_columns(self.results.graded(key))) for name, place, key in placed
        ]
        if not parts:
            return pd.DataFrame(columns=columns)
        sizes = [len(values["id"]) for _, values in parts]
        frame: dict[str, Any] = {
            name: pd.Categorical(
                np.repeat(np.array([place[name] for place, _ in parts], dtype=object), sizes)
            )
            for name in parts[0][0]
        }
        frame |= {
            name: np.concatenate([values[name] for _, values in parts])
            for name in columns
            if name not in frame
        }
        return pd.DataFrame(frame)[columns]


def load_frames(store: StoreLike, names: Sequence[str]) -> Frames:
    """Read runs by name.

    Raises:
        UserError: no name given, a name given twice, or one that is no run.
    """
    if not names:
        raise UserError("no run named: give the names of one or more runs (`w2s runs` lists them)")
    if len(set(names)) < len(names):
        raise UserError(f"run '{next(n for n in names if list(names).count(n) > 1)}' is named twice")
    return Frames({name: read_record(store.refs, name) for name in names}, Results(store))


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings with dotted names."""
    settings: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            settings |= flat(value, f"{prefix}{name}.")
        else:
            settings[prefix + name] = value
    return settings


def _run_row(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run": name,
        "recipe": recipe_name(record),
        **model_names(record),
        "task": str(record.get("task", "?")),
        "seed": int(record.get("seed", 0)),
        "study": record.get("study"),
        "command": " ".join(record.get("command", [])),
        "started": str(record.get("started", "")),
        **{split: float(number) for split, number in record.get("questions", {}).items()},
    }


def _judged(label: str) -> dict[str, str] | None:
    kind, _, rest = label.partition("/")
    if kind not in ("greedy", "samples") or "/" not in rest:
        return None
    split, method = rest.split("/", 1)
    return {"method": method, "split": split, "kind": kind}


def _labelled(label: str) -> dict[str, str] | None:
    first, _, rest = label.partition("/")
    return {"set": rest} if first == "labels" and not rest.startswith("pairs_") else None


_GRADED = ["id", "level", "template", "right", "n", "c", "unparsed", "timed_out", "truncated"]


def read_grades(folder: Path) -> dict[str, Any]:
    """A graded set as arrays with one entry a question.

    Columns: id, level, template, right (of the first response), n, c (right ones of n), unparsed, timed_out, truncated,
    ungraded (see `Graded.ungraded`).
    """
    return as_columns(read_graded(folder))


def as_columns(graded: Graded) -> dict[str, Any]:
    """See `read_grades`."""
    counted = {name: graded.count(name) for name in ("unparsed", "timed_out")}
    return {
        "id": _objects(graded.questions.ids),
        "level": _objects(graded.levels),
        "template": _objects(graded.templates),
        "right": graded.right,
        "n": graded.n,
        "c": graded.c,
        **counted,
        "truncated": graded.truncated,
        "ungraded": graded.ungraded,
    }


def _objects(values: Sequence[Any]) -> Any:
    import numpy as np

    column = np.empty(len(values), dtype=object)
    column[:] = values  # filled in place, since numpy would make a matrix of values that are lists
    return column
