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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from w2s_core.answers.verdicts import VERDICTS
from w2s_core.engine import disk, index

NAME = "columns.parquet"
_TITLE = f"w2s columns 1 {','.join(VERDICTS)} "
_FILES = ("", "/manifest.json", "/grades.parquet")


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


def _stamp(folder: Path) -> str:
    """Which files a result consists of; "" while they may change again within one tick of the file system's clock."""
    stamps = []
    for name in _FILES:
        with suppress(FileNotFoundError, NotADirectoryError):
            stamps.append(index.stamp_of(os.lstat(f"{folder}{name}")))
    return str(stamps) if all(map(index.is_settled, stamps)) else ""


def _parsed(data: bytes) -> Iterator[tuple[str, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data), use_threads=False).to_pydict()
    for i, same in enumerate(table["same"]):
        columns = {name: table[name][i] for name in ("stamp", "manifest", "verdicts", "cut_off", "counts")}
        yield table["key"][i], Row(**columns, ids=None if same is None else table["ids"][same])


def _written(rows: dict[str, Row]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first: dict[str, int] = {}
    same = [None if row.ids is None else first.setdefault(row.ids, i) for i, row in enumerate(rows.values())]
    text, blob = pa.string(), pa.binary()
    columns = {
        "key": pa.array(rows, text),
        "same": pa.array(same, pa.int64()),
        "ids": pa.array(
            [
                row.ids if i == at else None
                for i, (row, at) in enumerate(zip(rows.values(), same, strict=True))
            ],
            text,
        ),
    }
    for name, kind in {
        "stamp": text,
        "manifest": text,
        "verdicts": blob,
        "cut_off": blob,
        "counts": blob,
    }.items():
        columns[name] = pa.array([getattr(row, name) for row in rows.values()], kind)
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, compression="zstd", use_dictionary=False)
    return file.getvalue()
