"""What tables read of results, in one Parquet file behind a checksum, so that thousands of small files need not be
opened again.

columns.parquet   a row a result: `key`, `stamp`, `manifest` (some fields, JSON), and of a graded set `verdicts`,
                  `cut_off` and `counts` (responses of each question; null where each has one) as bytes of arrays,
                  `ids` as JSON, or in `same` the row that holds the same ids

The file is never the truth. A result is taken from it only while its folder, manifest and grades are those that were
read; a file that is missing, damaged or of other verdicts counts as empty, and one that cannot be written is not.
"""

import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from w2s_core.answers.verdicts import VERDICTS
from w2s_core.engine import disk, index

NAME = "columns.parquet"
_TITLE = f"w2s columns 1 {','.join(VERDICTS)} "
FILES = ("", "/manifest.json", "/grades.parquet")
"""Of a result, what its stamps are taken of: its folder, and the files that columns hold."""


@dataclass(frozen=True)
class Row:
    """What is kept of a result; see the module."""

    stamp: str
    manifest: str | None = None
    verdicts: bytes | None = None
    cut_off: bytes | None = None
    counts: bytes | None = None
    ids: str | None = None


class Columns:
    """The rows of a store's file, read when the first is asked for."""

    def __init__(self, root: Path, has: Callable[[str], bool]) -> None:
        self._path, self._has = root / NAME, has
        self._changed = False

    @cached_property
    def _rows(self) -> dict[str, Row]:
        data = disk.read_kept(self._path, _TITLE)
        return dict(_parsed(data)) if data is not None else {}

    def row(self, key: str, folder: Path) -> Row:
        """What is kept of the result that lies in a folder now; nothing but its stamp where that was not read yet."""
        stamp, row = _stamp(folder), self._rows.get(key)
        return row if row is not None and row.stamp == stamp else Row(stamp)

    def put(self, key: str, row: Row) -> None:
        """Keep what was read of a result after the row's stamp was taken."""
        if row.stamp:
            self._rows[key] = row
            self._changed = True

    def save(self) -> None:
        """Write the file, if there is anything new in it, without results that are gone."""
        if self._changed:
            rows = {key: row for key, row in self._rows.items() if self._has(key)}
            disk.write_kept(self._path, _written(rows), _TITLE)
            self._changed = False


def stamps(folder: Path, files: Iterable[str] = FILES) -> list[index.Stamp]:
    """Of those files of a result that are there; they differ where it was computed again, or damaged."""
    present = []
    for name in files:
        with suppress(FileNotFoundError, NotADirectoryError):
            present.append(index.stamp_of(os.lstat(f"{folder}{name}")))
    return present


def _stamp(folder: Path) -> str:
    """Which files a result consists of; "" while they may change again within one tick of the file system's clock."""
    taken = stamps(folder)
    return str(taken) if all(map(index.is_settled, taken)) else ""


def _parsed(data: bytes) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
        table = file.read(use_threads=False).to_pydict()
    texts = ("stamp", "manifest", "verdicts", "cut_off", "counts")
    for i, same in enumerate(table["same"]):
        columns = {name: table[name][i] for name in texts}
        yield table["key"][i], Row(**columns, ids=None if same is None else table["ids"][int(same)])


def _written(rows: dict[str, Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first: dict[str, int] = {}
    same = [None if row.ids is None else first.setdefault(row.ids, i) for i, row in enumerate(rows.values())]
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows.values()]
        for name in ("stamp", "manifest", "verdicts", "cut_off", "counts", "ids")
    }
    columns["key"] = list(rows)
    columns["ids"] = [
        ids if i == place else None for i, (ids, place) in enumerate(zip(columns["ids"], same, strict=True))
    ]
    columns["same"] = [None if place is None else str(place) for place in same]
    file = io.BytesIO()
    table = pa.table({name: _array(values) for name, values in columns.items()})
    pq.write_table(table, file, compression="zstd", use_dictionary=False)
    return file.getvalue()


def _array(values: list[str | bytes | None]) -> Any:
    """An Arrow array of texts, or of bytes; `pyarrow.array` would import pandas."""
    import pyarrow as pa

    is_bytes = any(isinstance(value, bytes) for value in values)
    parts = [value.encode() if isinstance(value, str) else value or b"" for value in values]
    offsets = np.concatenate(
        [np.zeros(1, np.int64), np.cumsum([len(part) for part in parts], dtype=np.int64)]
    )
    present = np.packbits([value is not None for value in values], bitorder="little")
    buffers = [pa.py_buffer(data) for data in (present, offsets, b"".join(parts))]
    return pa.Array.from_buffers(pa.large_binary() if is_bytes else pa.large_string(), len(values), buffers)
