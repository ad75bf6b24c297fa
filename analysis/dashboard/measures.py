"""What the table shows of a graded set: shares with 95 % intervals, computed once a result and kept on disk.

A result never changes, so its measures do not either; `dashboard.db` in the store maps (key, code) to them, where code
is a digest of the sources that compute them. The file can be deleted at any time.
"""

import hashlib
import importlib.util
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.reading.frame import GRADES, read_grades
from analysis.reading.groups import PASS_K
from analysis.reading.pair import cluster_labels
from w2s_core.statistics import score
from w2s_core.statistics.scores import pass_at_k

Measures = dict[str, list[float | None]]
"""Name -> value, low, high. `share`: right responses; `pass`: pass@10; `rows`: questions, which has no interval."""

_SOURCES = (
    "analysis.dashboard.measures", "analysis.reading.frame", "analysis.reading.pair", "analysis.reading.results",
    "w2s_core.statistics.crossed", "w2s_core.statistics.estimates", "w2s_core.statistics.scores",
)  # fmt: skip


def measure(folder: Path) -> Measures:
    """The measures of a result; none where it holds no grades.

    Intervals are Wilson's at the effective number of questions, clustered by template, as in the tables; they speak of
    questions and of no other seed. pass@10 needs 10 responses to each question and is absent otherwise.

    Raises:
        UserError: the grades cannot be read.
    """
    import numpy as np

    if not (folder / GRADES).is_file():
        return {}
    columns = read_grades(folder)
    n, right = columns["n"], columns["c"]
    found: Measures = {"rows": [float(len(n)), None, None]}
    if len(n) == 0:
        return found
    clusters = cluster_labels(columns["template"])
    found["share"] = _interval(np.asarray(right / n, dtype=float), clusters)
    if n.min() >= PASS_K:
        pairs = list(zip(n.tolist(), right.tolist(), strict=True))
        known = {pair: pass_at_k(*pair, PASS_K) for pair in set(pairs)}
        found["pass"] = _interval(np.array([known[pair] for pair in pairs]), clusters)
    return found


def _interval(scores: Any, clusters: list[Any] | None) -> list[float | None]:
    found = score(scores, clusters)
    return [found.value, found.low, found.high]


class MeasureCache:
    """Measures by key, in a SQLite file. One that cannot be used is left alone, and `trouble` says why.

    Threads of one process may share it; so may several processes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.trouble: str | None = None
        try:
            with closing(self._open()) as base, base:
                base.execute(
                    "CREATE TABLE IF NOT EXISTS measures (key TEXT, code TEXT, found TEXT, PRIMARY KEY (key, code))"
                )
                base.execute("DELETE FROM measures WHERE code != ?", (code_digest(),))
        except sqlite3.Error as error:
            self.trouble = (
                f"{path} cannot be used ({error}): results are read anew at each start; delete the file"
            )

    def load(self) -> dict[str, Measures]:
        """All that is known, by key."""
        return dict(self._rows())

    def keep(self, found: dict[str, Measures]) -> None:
        """Add measures."""
        if self.trouble or not found:
            return
        rows = [(key, code_digest(), json.dumps(one)) for key, one in found.items()]
        try:
            with closing(self._open()) as base, base:
                base.executemany("INSERT OR REPLACE INTO measures VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            self.trouble = f"{self._path} cannot be written ({error})"

    def _rows(self) -> Iterator[tuple[str, Measures]]:
        if self.trouble:
            return
        with closing(self._open()) as base:
            for key, text in base.execute("SELECT key, found FROM measures WHERE code = ?", (code_digest(),)):
                yield key, json.loads(text)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=10)


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Of the sources that decide a measure: an edited rule must not answer with an old result."""
    together = hashlib.sha256()
    for name in _SOURCES:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin:
            together.update(Path(found.origin).read_bytes())
    return together.hexdigest()[:16]
