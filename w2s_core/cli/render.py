"""What the command line prints about plans, runs and steps, as plain text tables."""

import datetime
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from w2s_core.errors import one_line

Cells = Sequence[str]


def as_json(value: Any) -> str:
    """A value as one JSON document. What JSON has no number for (nan, infinities) is null."""
    return json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(header: Cells, rows: Iterable[Cells]) -> str:
    """Columns padded to their widest cell, two blanks between."""
    listed = [tuple(header), *(tuple(map(one_line, row)) for row in rows)]
    widths = [max(len(row[i]) for row in listed) for i in range(len(header))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in listed)
    return "\n".join(line.rstrip() for line in lines)


def seconds(value: float | None) -> str:
    """A duration for people: "?", "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if value is None:
        return "?"
    if value < 10:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def size(value: float) -> str:
    """Bytes for people: "12 kB", "3.4 MB", "1.2 GB"."""
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def when(iso: str) -> str:
    """A moment in local time, to the minute."""
    return datetime.datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M")


def counted(values: Iterable[str]) -> str:
    """How often each word comes: `12 cached, 3 missing`."""
    return ", ".join(f"{number} {word}" for word, number in Counter(values).most_common())


def fields(tree: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as dotted names and values."""
    values: list[tuple[str, str]] = []
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            values += fields(value, f"{prefix}{name}.")
        else:
            values.append((f"{prefix}{name}", str(value)))
    return values
