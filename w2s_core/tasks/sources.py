"""Rows of a data set, wherever it lies: JSON lines or parquet files of a folder, or a repository of the hub.

All three take the same options: where it lies, `columns` (ours: the data set's) and `splits` (ours: the data set's, or
a slice of it, `train[:1000]`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.jsonl import JsonRow, read_jsonl
from w2s_core.tasks import unknown

FIELDS = ("id", "question", "answer", "gold", "solution", "level", "template")
JSON_LINES = (".jsonl", ".jsonl.gz")
_PART = re.compile(r"(?P<name>\w[\w.-]*)(?:\[(?P<start>\d*):(?P<end>\d*)\])?", re.ASCII)


@dataclass(frozen=True)
class Hub:
    """A data set of the hub at a commit, and one of its configurations ("" for the only one)."""

    id: str
    revision: str
    config: str = ""


@dataclass(frozen=True)
class Source:
    """Where rows lie, and how they are read.

    Attributes:
        columns: our field -> the data set's column; {} reads our own fields, and nothing else is read otherwise.
        splits: our split -> the data set's, or a slice of it.
    """

    place: Path | Hub
    columns: Mapping[str, Any]
    splits: Mapping[str, Any]

    def check(self, task: str, splits: tuple[str, ...]) -> None:
        """Raise UserError for a split or column that is none of ours, or that says nothing."""
        given: tuple[tuple[str, tuple[str, ...], Mapping[str, object]], ...] = (
            ("columns", FIELDS, self.columns),
            ("splits", splits, self.splits),
        )
        for option, known, values in given:
            for name, value in values.items():
                if name not in known:
                    raise UserError(
                        f"task '{task}': option '{option}': {unknown('name', str(name), list(known))}"
                    )
                if not isinstance(value, str) or (option == "splits" and not _PART.fullmatch(value)):
                    form = (
                        "a split or a slice of one, train[:1000]" if option == "splits" else "a column's name"
                    )
                    raise UserError(
                        f"task '{task}': option '{option}': {name} must be {form} (given: {value!r})"
                    )

    def rows(self, split: str, task: str) -> Iterator[JsonRow]:
        """The rows of one of our splits. Raises UserError for data that cannot be had."""
        part = _PART.fullmatch(self.splits.get(split, split))
        assert part is not None  # see `check`
        start, end = int(part["start"] or 0), int(part["end"]) if part["end"] else None
        if isinstance(self.place, Hub):
            rows = _hub_rows(self.place, part["name"], task)
        else:
            path = find_file(self.place, part["name"], task, (*JSON_LINES, ".parquet"))
            rows = _parquet_rows(path) if path.suffix == ".parquet" else read_jsonl(path)
        for row in islice(rows, start, end):
            yield self._mapped(row)

    def _mapped(self, row: JsonRow) -> JsonRow:
        if not self.columns:
            return row
        return JsonRow({ours: row.get(theirs) for ours, theirs in self.columns.items()}, row.path, row.line)


def find_file(folder: Path, split: str, task: str, endings: tuple[str, ...] = JSON_LINES) -> Path:
    """The split's file. Raises UserError where there is none."""
    for ending in endings:
        if (path := folder / f"{split}{ending}").is_file():
            return path
    raise UserError(f"task '{task}': no {split}{endings[0]} (or {', '.join(endings[1:])}) in {folder}")


def _parquet_rows(path: Path) -> Iterator[JsonRow]:
    import pyarrow
    from pyarrow import parquet

    line = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for fields in batch.to_pylist():
                    line += 1
                    yield JsonRow(_present(fields), path, line)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a parquet file, or a damaged one ({_first_line(error)})") from None
    if not line:
        raise UserError(f"{path}: holds no rows")


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """A table has every column in every row: one without a value is as a field that is left out."""
    return {name: value for name, value in fields.items() if value is not None}


def _hub_rows(hub: Hub, split: str, task: str) -> Iterator[JsonRow]:
    place = Path(f"{hub.id}@{hub.revision[:12]}") / split
    for line, fields in enumerate(download(hub, split, task), 1):
        yield JsonRow(_present(fields), place, line)


@lru_cache(maxsize=4)
def download(hub: Hub, split: str, task: str) -> list[dict[str, Any]]:
    """Rows of a data set of the hub, from its cache where they are there. Whatever goes wrong is one line.

    The commit's files are fetched as they are and then read. `load_dataset` with the id gives, where the hub does not
    answer, the latest data that it has, of whatever commit.
    """
    import datasets
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(hub.id, repo_type="dataset", revision=hub.revision)
        return list(datasets.load_dataset(folder, hub.config or None, split=split))
    except Exception as error:  # noqa: BLE001 - the hub's client and its readers raise dozens of types
        raise UserError(
            f"task '{task}': cannot get {hub.id} at {hub.revision} from the hub ({_first_line(error)}); "
            "local files: data: FOLDER"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
