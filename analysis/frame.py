"""From the store to tidy frames: one row for each run, split, method and question, and frames of labels and pairs.

Reads the records of runs and the results that they point at; computes nothing that is not there. What is missing
stands in `Frames.targets` with `present` false.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from w2s_core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

GRADES = "grades.parquet"
ROWS = "rows.parquet"


class RefsLike(Protocol):
    """The names of a store."""

    def read(self, name: str) -> Any:
        """The record under a name."""
        ...

    def names(self) -> Iterable[str]:
        """All names."""
        ...


class StoreLike(Protocol):
    """What this package needs of a store."""

    @property
    def refs(self) -> RefsLike:
        """The names."""
        ...

    def has(self, key: str) -> bool:
        """Whether a result exists."""
        ...

    def path(self, key: str) -> Path:
        """The folder of a result."""
        ...


@dataclass(frozen=True)
class Frames:
    """The tidy frames of some runs.

    Attributes:
        runs: run, weak, strong, task, seed, group, train_2 (questions to label; NaN if not recorded), command, started.
            Runs of one `group` differ in their seed alone.
        targets: run, label, key, present.
        grades: run, method, split, kind (greedy or samples), id, level, template, right (of the first response), n, c
            (right ones of n), unparsed, timed_out, truncated, tokens.
        labels: run, set, id, level, template, right, unparsed: labelled sets on train_2.
        pairs: run, id, kind, chosen_right, rejected_right (None if not graded), chosen_words, rejected_words.
        settings: each run's experiment, flat: {"stage1.iterations": 2, ...}.
    """

    runs: "pd.DataFrame"
    targets: "pd.DataFrame"
    grades: "pd.DataFrame"
    labels: "pd.DataFrame"
    pairs: "pd.DataFrame"
    settings: dict[str, dict[str, Any]]


def load_frames(store: StoreLike, names: Sequence[str]) -> Frames:
    """Read runs by name.

    Raises:
        UserError: no name given, a name given twice, or one that is no run.
    """
    import pandas as pd

    if not names:
        raise UserError("no run named: give the names of one or more runs (`w2s runs` lists them)")
    if len(set(names)) < len(names):
        raise UserError(f"run '{next(n for n in names if list(names).count(n) > 1)}' is named twice")
    records = {name: _record(store, name) for name in names}
    targets = [
        {"run": name, "label": label, "key": key, "present": store.has(key)}
        for name, record in records.items()
        for label, key in record["targets"].items()
    ]
    settings = {name: _flat(record.get("experiment", {})) for name, record in records.items()}
    frames = {kind: _stack(store, targets, kind) for kind in ("grades", "labels", "pairs")}
    runs = pd.DataFrame([_run_row(name, record, settings[name]) for name, record in records.items()])
    return Frames(runs, pd.DataFrame(targets), **frames, settings=settings)


def _record(store: StoreLike, name: str) -> dict[str, Any]:
    record = store.refs.read(name)
    if not isinstance(record, dict) or not isinstance(record.get("targets"), dict):
        raise UserError(f"'{name}' is no run: its record names no targets")
    return record


def _run_row(name: str, record: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    same = {field: value for field, value in flat.items() if field not in ("seed", "name")}
    return {
        "run": name,
        "weak": str(record.get("weak", "?")),
        "strong": str(record.get("strong", "?")),
        "task": str(record.get("task", "?")),
        "seed": int(record.get("seed", 0)),
        "group": json.dumps([record.get("weak"), record.get("strong"), same], sort_keys=True),
        "train_2": float(record.get("questions", {}).get("train_2", "nan")),
        "command": " ".join(record.get("command", [])),
        "started": str(record.get("started", "")),
    }


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _stack(store: StoreLike, targets: Sequence[Mapping[str, Any]], kind: str) -> "pd.DataFrame":
    """One frame of all present targets of a kind; each result is read once, however many runs share it."""
    import numpy as np
    import pandas as pd

    parts: list[tuple[dict[str, str], dict[str, Any]]] = []
    cached = lru_cache(maxsize=None)(lambda key: read_grades(store.path(key)))
    keys = {(target["run"], target["label"]): target["key"] for target in targets if target["present"]}
    for (run, label), key in keys.items():
        place = _place(label, kind)
        if place is None:
            continue
        if kind == "pairs":
            sides = [keys.get((run, f"labels/pairs_{side}")) for side in ("chosen", "rejected")]
            columns = _read_pairs(store.path(key), [cached(side) if side else None for side in sides])
        else:
            columns = cached(key)
        parts.append(({"run": run, **place}, columns))
    if not parts:
        return pd.DataFrame(columns=_COLUMNS[kind])
    sizes = [len(columns["id"]) for _, columns in parts]
    frame: dict[str, Any] = {
        name: pd.Categorical(
            np.repeat(np.array([constants[name] for constants, _ in parts], dtype=object), sizes)
        )
        for name in parts[0][0]
    }
    for name in _COLUMNS[kind]:
        if name not in frame:
            frame[name] = np.concatenate([columns[name] for _, columns in parts])
    return pd.DataFrame(frame)[_COLUMNS[kind]]


_GRADED = ["id", "level", "template", "right", "n", "c", "unparsed", "timed_out", "truncated", "tokens"]
_COLUMNS = {
    "grades": ["run", "method", "split", "kind", *_GRADED],
    "labels": ["run", "set", "id", "level", "template", "right", "unparsed"],
    "pairs": ["run", "id", "kind", "chosen_right", "rejected_right", "chosen_words", "rejected_words"],
}


def _place(label: str, kind: str) -> dict[str, str] | None:
    """What a target's label says, if it belongs to the frame of this kind."""
    first, _, rest = label.partition("/")
    if kind == "pairs":
        return {} if label == "pairs" else None
    if kind == "labels":
        return {"set": rest} if first == "labels" and not rest.startswith("pairs_") else None
    if first in ("greedy", "samples") and "/" in rest:
        split, method = rest.split("/", 1)
        return {"method": method, "split": split, "kind": first}
    return None


def read_grades(folder: Path) -> dict[str, Any]:
    """The columns of a graded set, as arrays with one entry a question (see `Frames.grades`).

    Raises:
        UserError: the folder holds no grades, or they lack a column.
    """
    import numpy as np

    table = _read_parquet(folder / GRADES)
    if table.num_rows == 0:
        return {name: np.array([]) for name in _GRADED}
    missing = {"id", "verdicts", "tokens", "finish"} - set(table.column_names)
    if missing:
        raise UserError(f"{folder / GRADES} has no column '{min(missing)}'; it holds no grades")
    n, right = _per_row(table, "verdicts", "right")
    verdicts = table["verdicts"].combine_chunks()
    first = np.asarray(verdicts.flatten())[verdicts.offsets.to_numpy()[:-1] - verdicts.offsets[0].as_py()]
    return {
        "id": _objects(table, "id"),
        "level": _objects(table, "level"),
        "template": _objects(table, "template"),
        "right": first == "right",
        "n": n,
        "c": right,
        "unparsed": _per_row(table, "verdicts", "unparsed")[1],
        "timed_out": _per_row(table, "verdicts", "timed_out")[1],
        "truncated": _per_row(table, "finish", "length")[1],
        "tokens": np.array([sum(row) for row in table["tokens"].to_pylist()]),
    }


def _read_pairs(folder: Path, graded: list[dict[str, Any] | None]) -> dict[str, Any]:
    import numpy as np

    path = folder / ROWS if (folder / ROWS).exists() else folder / "pairs.parquet"
    table = _read_parquet(path)
    ids = _objects(table, "id")
    columns = {"id": ids, "kind": _objects(table, "kind")}
    for side, grades in zip(("chosen", "rejected"), graded, strict=True):
        if grades is not None and not np.array_equal(grades["id"], ids):
            raise UserError(f"{path}: the grades of the {side} side are of other pairs")
        columns[f"{side}_right"] = (
            grades["right"].astype(object) if grades else np.full(len(ids), None, dtype=object)
        )
        texts = table[side].to_pylist() if len(ids) else []
        columns[f"{side}_words"] = np.array([len(text.split()) for text in texts], dtype=float)
    return columns


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except pa.ArrowInvalid:
        raise UserError(f"{path} is no readable Parquet file") from None


def _objects(table: Any, name: str) -> Any:
    """A column as Python objects; None throughout where there is no such column."""
    import numpy as np

    values = table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _per_row(table: Any, name: str, wanted: str) -> tuple[Any, Any]:
    """Length of each row's list, and how many of its entries are `wanted`."""
    import numpy as np

    lists = table[name].combine_chunks()
    offsets = lists.offsets.to_numpy() - lists.offsets[0].as_py()
    hits = np.concatenate([[0], np.cumsum(np.asarray(lists.flatten()) == wanted)])
    return np.diff(offsets), np.diff(hits[offsets]).astype(int)
