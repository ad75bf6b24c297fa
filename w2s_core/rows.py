"""Tables and small records inside a step's result: Parquet and JSON, never pickle."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write `rows` to a Parquet file and return how many there were. An empty list makes a valid, empty file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    listed = [dict(row) for row in rows]
    pq.write_table(pa.Table.from_pylist(listed), path, compression="zstd")
    return len(listed)


def read_rows(path: Path) -> list[Row]:
    """Read a Parquet file that `write_rows` wrote, in the order in which it was written."""
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON; NaN and infinities are refused, since JSON has no such numbers."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text())
