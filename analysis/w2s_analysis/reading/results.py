"""Results of the store as arrays, each read once whatever the number of runs and tables that need it."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.columns import Columns, Row
from w2s_core.answers.verdicts import RIGHT, TRUNCATED, VERDICTS
from w2s_core.errors import UserError

GRADES: Final = "grades.parquet"
ROWS: Final = "rows.parquet"
UNGRADED: Final = ("unparsed", "timed_out", "undecided")
"""The verdicts of responses that are not shown to be wrong, though they score 0."""

_IS_UNGRADED: Final = np.array([verdict in UNGRADED for verdict in VERDICTS])
_NO_ANSWER, _RIGHT_ANSWER, _PADDING = -1, -2, -3

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class RefsLike(Protocol):
    """The names of a store."""

    def read(self, name: str) -> Any:
        """The record under a name."""

    def readable(self) -> Iterable[tuple[str, dict[str, Any]]]:
        """All names with their records."""


class StoreLike(Protocol):
    """What this package needs of a store."""

    @property
    def refs(self) -> RefsLike:
        """The names."""

    @property
    def root(self) -> Path:
        """Its folder."""

    def has(self, key: str) -> bool:
        """Whether a result exists."""

    def path(self, key: str) -> Path:
        """The folder of a result."""

    def folder(self, key: str) -> Path:
        """Where it lies, unchecked."""

    def manifest(self, key: str) -> Mapping[str, Any]:
        """How a result was made: step, seconds, summary."""


@dataclass(frozen=True, eq=False)
class Questions:
    """The ids of a graded set, row by row as on disk. Sets with the same rows share one object."""

    ids: list[str]

    @cached_property
    def index(self) -> dict[str, int]:
        """The row of each id; of its last row, where it has several."""
        return {name: i for i, name in enumerate(self.ids)}

    @cached_property
    def order(self) -> Ints | None:
        """The rows in order of their ids; None where they are so already."""
        rows = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        return None if rows == list(range(len(rows))) else np.array(rows, dtype=np.int64)

    def ordered(self, values: Sequence[Any]) -> list[Any]:
        """One value a row, in order of the rows' ids."""
        return list(values) if self.order is None else [values[i] for i in self.order]


@dataclass(frozen=True, eq=False)
class Graded:
    """A graded set: its responses' verdicts, one after another, as places in `w2s_core.answers.verdicts.VERDICTS`.

    Levels, templates and lengths are read when they are asked for: of a thousand runs, few tables need them.

    Attributes:
        offsets: where each row's responses begin, shape [rows + 1].
        verdicts: shape [responses].
        cut_off: whether each response ended at the length limit, shape [responses]; False where that is not known.
        path: the file.
    """

    questions: Questions
    offsets: Ints
    verdicts: npt.NDArray[np.int8]
    cut_off: npt.NDArray[np.bool_]
    path: Path

    @property
    def n(self) -> Ints:
        """Responses of each row."""
        return np.diff(self.offsets)

    @cached_property
    def c(self) -> Ints:
        """Right responses of each row."""
        return self.count(RIGHT)

    @cached_property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether the first response of each row, a set's label, is right."""
        return np.asarray(self.verdicts[self.offsets[:-1]] == VERDICTS.index(RIGHT))

    def count(self, verdict: str) -> Ints:
        """How many responses of each row have a verdict."""
        return _row_sums(self.verdicts == VERDICTS.index(verdict), self.offsets)

    @cached_property
    def vote(self) -> "Vote":
        """The commonest answer of each row, as `selection.majority` finds it; right answers count as one answer.

        Raises:
            UserError: the answers were not kept with the grades.
        """
        classes = self._answers()
        classes[self.verdicts == VERDICTS.index("unparsed")] = _NO_ANSWER
        classes[self.verdicts == VERDICTS.index(RIGHT)] = _RIGHT_ANSWER
        n, rows = self.n, np.arange(len(self.n))
        row = np.repeat(rows, n)
        table = np.full((len(n), int(n.max(initial=1))), _PADDING, dtype=np.int64)
        table[row, np.arange(len(row)) - self.offsets[row]] = classes
        votes = (table[:, :, None] == table[:, None, :]).sum(axis=2)
        votes[table == _PADDING] = 0
        first = votes.argmax(axis=1)
        won = table[rows, first]
        return Vote(votes[rows, first] / n, won == _RIGHT_ANSWER, won == _NO_ANSWER)

    def _answers(self) -> Ints:
        """A number for each response's answer, the same for the same text; `_NO_ANSWER` where there is none."""
        table = read_parquet(self.path, ("answers",))
        if table.num_rows == 0:
            return np.zeros(0, dtype=np.int64)
        if "answers" not in table.column_names:
            raise UserError(f"{self.path} has no column 'answers'; no vote can be taken over it")
        texts, codes = _coded(table["answers"].combine_chunks().flatten())
        if len(codes) != len(self.verdicts):
            raise UserError(f"{self.path}: {len(codes)} answers for {len(self.verdicts)} verdicts")
        places = np.array(
            [i if text is not None else _NO_ANSWER for i, text in enumerate(texts)], dtype=np.int64
        )
        return places[codes]

    @cached_property
    def truncated(self) -> Ints:
        """How many responses of each row ended at the length limit; none where that is not known."""
        return _row_sums(self.cut_off, self.offsets)

    @cached_property
    def ungraded(self) -> Ints:
        """How many responses of each row score 0 without being shown to be wrong.

        No answer was found, the comparison was not decided, or the model was cut off before it was done and the answer
        so far is not right. A response for which several of these hold counts once.
        """
        return _row_sums(self._open, self.offsets)

    @property
    def open(self) -> npt.NDArray[np.bool_]:
        """Whether the first response of each row, a set's label, is such a one."""
        return self._open[self.offsets[:-1]]

    @cached_property
    def _open(self) -> npt.NDArray[np.bool_]:
        unfinished = self.cut_off & (self.verdicts != VERDICTS.index(RIGHT))
        return np.asarray(_IS_UNGRADED[self.verdicts] | unfinished)

    @cached_property
    def levels(self) -> list[Any]:
        """The level of each row's question; None where it has none."""
        return self._rows("level")

    @cached_property
    def templates(self) -> list[str | None]:
        """The template of each row's question; None where it has none."""
        return self._rows("template")

    @cached_property
    def clusters(self) -> Ints | None:
        """The number of each question's template, in order of the ids; None where no question has one."""
        return number_clusters(self.questions.ordered(self.templates))

    def _rows(self, name: str) -> list[Any]:
        table = read_parquet(self.path, (name,))
        values: list[Any] = table[name].to_pylist() if name in table.column_names else [None] * len(self.n)
        return values


def number_clusters(templates: Sequence[str | None]) -> Ints | None:
    """Questions of one template share a number, one without a template has its own; None if none has a template."""
    if all(template is None for template in templates):
        return None
    numbers: dict[object, int] = {}
    clusters = [
        numbers.setdefault((i,) if template is None else template, len(numbers))
        for i, template in enumerate(templates)
    ]
    return np.array(clusters, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Vote:
    """The vote of each row's responses: the majority's share, whether it is right, whether it is no answer."""

    share: Floats
    right: npt.NDArray[np.bool_]
    empty: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Contrastive pairs, row by row. `right` is None for a side that is not graded; `open`: see `Graded.open`."""

    ids: list[str]
    kinds: list[str]
    right: dict[str, npt.NDArray[np.bool_] | None]
    path: Path
    open: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @cached_property
    def words(self) -> dict[str, Floats]:
        """How many words each side has; the texts are read when this is asked for, which few tables do."""
        table = _pairs_table(self.path, self.right)
        return {side: _words(table[side]) if table.num_rows else np.zeros(0) for side in self.right}


class Results:
    """Reads results by key and keeps them.

    Of a result that a report has read before, `columns` holds what most tables need. One thread
    reads: most of the time passes under Python's lock, and four readers took longer than one.
    `memo` holds what was computed from results, by the keys of all that it hangs on: groups share results.
    """

    def __init__(self, store: StoreLike) -> None:
        self.store = store
        self.columns = Columns(store.root, store.has)
        self._graded: dict[str, Graded] = {}
        self._questions: dict[str, Questions] = {}
        self._present: dict[str, bool] = {}
        self._manifests: dict[str, Mapping[str, Any]] = {}
        self._acceptances: dict[frozenset[str], list[str]] = {}
        self.memo: dict[Any, Any] = {}

    def has(self, key: str) -> bool:
        """Whether the store holds a result."""
        if key not in self._present:
            self._present[key] = self.store.has(key)
        return self._present[key]

    @property
    def read(self) -> int:
        """How many graded sets were read."""
        return len(self._graded)

    def graded(self, key: str) -> Graded:
        """A graded set.

        Raises:
            UserError: the result holds no grades, or unknown ones.
        """
        if key not in self._graded:
            folder = self.store.folder(key)
            row = self.columns.row(key, folder)
            if row.verdicts is None:
                graded = read_graded(self.store.path(key), self._shared)
                self.columns.put(key, _with_graded(row, graded))
            else:
                graded = _graded_of(row, self._shared, folder / GRADES)
            self._graded[key] = graded
        return self._graded[key]

    def manifest(self, key: str) -> Mapping[str, Any]:
        """How a result was made: step, seconds, summary, processor.

        A manifest that can be read is taken as it is: what it says decides no result.
        """
        if key not in self._manifests:
            folder = self.store.folder(key)
            row = self.columns.row(key, folder)
            if row.manifest is None:
                manifest = self._read_manifest(key, folder)
                self.columns.put(key, replace(row, manifest=json.dumps(manifest)))
            else:
                manifest = json.loads(row.manifest)
            self._manifests[key] = manifest
        return self._manifests[key]

    def _read_manifest(self, key: str, folder: Path) -> Mapping[str, Any]:
        try:
            with open(f"{folder}/manifest.json", "rb") as file:  # noqa: PTH123 - thousands of them
                return _excerpt(json.loads(file.read()))
        except (OSError, ValueError, KeyError, TypeError):
            return _excerpt(self.store.manifest(key))  # which says what is wrong

    def acceptances(self, keys: Iterable[str]) -> list[str]:
        """The acceptances by which these results, or what they were made from, stand; a line each."""
        from w2s_core.engine import Store, acceptances_used

        distinct = frozenset(keys)
        if distinct not in self._acceptances:
            used = acceptances_used(cast(Store, self.store), distinct)
            self._acceptances[distinct] = [f"{entry.step}, {entry}" for entry in used]
        return self._acceptances[distinct]

    def pairs(self, key: str, sides: Mapping[str, str | None]) -> Pairs:
        """Pairs with the verdicts on both sides; `sides` has the key of the grades of "chosen" and "rejected", or None.

        Raises:
            UserError: the grades are of other pairs.
        """
        return read_pairs(
            self.store.path(key),
            {side: self.graded(grades) if grades else None for side, grades in sides.items()},
        )

    def _shared(self, ids: str) -> Questions:
        questions = self._questions.get(ids)
        return questions if questions is not None else self._questions.setdefault(ids, _questions_of(ids))


Shared = Callable[[str], Questions]


def _questions_of(ids: str) -> Questions:
    return Questions(json.loads(ids))


def _excerpt(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What reports need of a manifest."""
    kept = {name: manifest[name] for name in ("duration_s", "summary")}
    return {"spec": {"step": manifest["spec"]["step"]}, "processor": manifest.get("processor"), **kept}


def _with_graded(row: Row, graded: Graded) -> Row:
    """The row with what most tables need of a graded set; the rest is read from its own file."""
    return replace(
        row,
        verdicts=graded.verdicts.tobytes(),
        cut_off=graded.cut_off.tobytes(),
        counts=None if (graded.n == 1).all() else graded.n.tobytes(),
        ids=json.dumps(graded.questions.ids),
    )


def _graded_of(row: Row, shared: Shared, path: Path) -> Graded:
    verdicts = np.frombuffer(row.verdicts or b"", np.int8)
    counts = np.ones(len(verdicts), np.int64) if row.counts is None else np.frombuffer(row.counts, np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    cut_off = np.frombuffer(row.cut_off or b"", np.bool_)
    return Graded(shared(row.ids or "[]"), offsets, verdicts, cut_off, path)


def read_graded(folder: Path, shared: Shared = _questions_of) -> Graded:
    """Read a graded set. `shared` finds the questions of ids, a JSON list, or makes them.

    Raises:
        UserError: the folder holds no grades, they lack a column, or a verdict is unknown.
    """
    path = folder / GRADES
    table = read_parquet(path, ("id", "verdicts", "finish"))
    if table.num_rows == 0:
        nothing = np.zeros(0, dtype=bool)
        return Graded(Questions([]), np.zeros(1, dtype=np.int64), nothing.astype(np.int8), nothing, path)
    if missing := {"id", "verdicts"} - set(table.column_names):
        raise UserError(f"{path} has no column '{min(missing)}'; it holds no grades")
    codes, offsets = _codes(table, path)
    return Graded(
        shared(json.dumps(table["id"].to_pylist())),
        offsets,
        codes,
        _cut_off(table, len(codes)),
        path,
    )


def _cut_off(table: Any, responses: int) -> npt.NDArray[np.bool_]:
    """Whether each response ended at the length limit."""
    nowhere = np.zeros(responses, dtype=bool)
    if "finish" not in table.column_names:
        return nowhere
    names, codes = _coded(table["finish"].combine_chunks().flatten())
    flat = np.array([name == TRUNCATED for name in names], dtype=bool)[codes]
    return flat if len(flat) == responses else nowhere


def _codes(table: Any, path: Path) -> tuple[npt.NDArray[np.int8], Ints]:
    """Each response's verdict as a place in VERDICTS, and where the rows begin."""
    lists = table["verdicts"].combine_chunks()
    names, codes = _coded(lists.flatten())
    if unknown := [name for name in names if name not in VERDICTS]:
        raise UserError(f"{path}: unknown verdict '{unknown[0]}'; known: {', '.join(VERDICTS)}")
    places = np.array([VERDICTS.index(name) for name in names], dtype=np.int8)
    offsets = np.from_dlpack(lists.offsets).astype(np.int64)
    if (np.diff(offsets) < 1).any():
        row = int(np.argmin(np.diff(offsets)))
        raise UserError(f"{path}: question '{table['id'][row].as_py()}' has no response")
    return places[codes], offsets - offsets[0]


def _coded(texts: Any) -> tuple[list[str | None], Ints]:
    """The distinct texts of an Arrow array, and which of them each element is."""
    encoded = texts.dictionary_encode("encode")
    indices = np.from_dlpack(encoded.indices)  # `to_numpy` would import pandas
    return encoded.dictionary.to_pylist(), indices.astype(np.int64)


def _row_sums(hits: npt.NDArray[np.bool_], offsets: Ints) -> Ints:
    if len(hits) == len(offsets) - 1:  # one response a row
        return hits.astype(np.int64)
    return np.diff(np.concatenate([[0], np.cumsum(hits)])[offsets]).astype(np.int64)


def read_pairs(folder: Path, grades: Mapping[str, Graded | None]) -> Pairs:
    """Read the pairs of Stage II.

    Raises:
        UserError: no readable pairs, or grades of other pairs.
    """
    path = folder / ROWS
    table = _pairs_table(path, ("id", "kind"))
    if table.num_rows == 0:
        return Pairs([], [], dict.fromkeys(grades), path)
    ids = table["id"].to_pylist()
    for side, graded in grades.items():
        if graded is not None and graded.questions.ids != ids:
            raise UserError(f"{path}: the grades of the {side} side are of other pairs")
    return Pairs(
        ids,
        table["kind"].to_pylist(),
        {side: graded.right if graded is not None else None for side, graded in grades.items()},
        path,
        {side: graded.open for side, graded in grades.items() if graded is not None},
    )


def _pairs_table(path: Path, columns: Collection[str]) -> Any:
    """Some columns of pairs; of no pairs, a table without columns."""
    table = read_parquet(path, columns)
    missing = set(columns) - set(table.column_names)
    if missing and table.num_rows:
        raise UserError(f"{path} has no column '{min(missing)}'; it holds no pairs")
    return table


def _words(texts: Any) -> Floats:
    return np.array([len(text.split()) for text in texts.to_pylist()], dtype=np.float64)


def read_parquet(path: Path, columns: Iterable[str] | None = None) -> Any:
    """A Parquet file as an Arrow table: those of the named columns that it has, or all.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Small files, many of them: one read of the whole is three times as fast as Arrow's own reads of ranges.
        with pq.ParquetFile(pa.BufferReader(path.read_bytes()), pre_buffer=False) as file:
            has = file.schema_arrow.names
            present = [name for name in columns if name in has] if columns is not None else None
            return file.read(columns=present, use_threads=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except pa.ArrowInvalid:
        raise UserError(f"{path} is no readable Parquet file") from None
