"""What the table shows of graded responses: shares with 95 % intervals, computed once a result and kept on disk.

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
from typing import Any, Final

from w2s_analysis.reading.frame import GRADES, read_grades
from w2s_analysis.reading.groups import PASS_K
from w2s_analysis.reading.pair import cluster_labels
from w2s_core.engine import CorruptObjectError, Store
from w2s_core.statistics import bounded_score, score
from w2s_core.statistics.scores import pass_at_k

Measures = dict[str, list[float | None]]
"""Name -> value, low, high. `share`: right responses; `pass`: pass@10; `coverage`: graded questions of all that have
gold answers, which has no interval. `share_bounds`, `pass_bounds`: lower, upper, low, high of what responses that were
not graded leave open; absent where all were graded.
"""

BOUNDS: Final = "_bounds"
"""Ends the name of a measure's bounds."""
_SOURCES = (
    "w2s_analysis.dashboard.measures", "w2s_analysis.reading.frame", "w2s_analysis.reading.pair",
    "w2s_analysis.reading.results",
    "w2s_core.statistics.crossed", "w2s_core.statistics.estimates", "w2s_core.statistics.partial",
    "w2s_core.statistics.scores",
)  # fmt: skip


def measure(store: Store, key: str) -> Measures:
    """The measures of a result; none where it holds no grades.

    Intervals are Wilson's at the effective number of questions, clustered by template, as in the tables; they speak of
    questions and of no other seed. pass@10 needs 10 responses to each question and is absent otherwise.

    Raises:
        UserError: the grades cannot be read.
    """
    import numpy as np

    folder = store.path(key)
    if not (folder / GRADES).is_file():
        return {}
    columns = read_grades(folder)
    n, right, ungraded = columns["n"], columns["c"], columns["ungraded"]
    measures = _coverage(store, key, len(set(columns["id"])))
    if len(n) == 0:
        return measures
    clusters = cluster_labels(columns["template"])
    best = right + ungraded
    shares = [np.asarray(hits / n, dtype=float) for hits in (right, best)]
    measures |= _estimated("share", shares[0], shares[1], clusters)
    if n.min() >= PASS_K:
        measures |= _estimated("pass", _pass(n, right), _pass(n, best), clusters)
    return measures


def _pass(n: Any, right: Any) -> Any:
    """pass@10 of each question."""
    import numpy as np

    drawn = list(zip(n.tolist(), right.tolist(), strict=True))
    scores = {pair: pass_at_k(*pair, PASS_K) for pair in set(drawn)}
    return np.array([scores[pair] for pair in drawn])


def _coverage(store: Store, key: str, questions: int) -> Measures:
    """Absent where the result was not graded against the gold answers of a split, so that the whole is not known.

    The whole comes from the graded result's own inputs: records do not keep which split a set was drawn from.
    """
    try:
        gold = store.manifest(key)["spec"]["inputs"]["gold"]
        whole = store.manifest(gold)["summary"]["rows"]
    except (KeyError, TypeError, CorruptObjectError):
        return {}
    return {"coverage": [questions / whole, None, None]} if isinstance(whole, int) and whole else {}


def _estimated(name: str, worst: Any, best: Any, clusters: list[Any] | None) -> Measures:
    """A measure whose responses that were not graded are wrong, and its bounds from there to all of them right."""
    estimate = score(worst, clusters)
    measures: Measures = {name: [estimate.value, estimate.low, estimate.high]}
    if (best > worst).any():
        bounds = bounded_score(worst, best, clusters)
        measures[f"{name}{BOUNDS}"] = [bounds.lower, bounds.upper, bounds.low, bounds.high]
    return measures


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

    def keep(self, measured: dict[str, Measures]) -> None:
        """Add measures."""
        if self.trouble or not measured:
            return
        rows = [(key, code_digest(), json.dumps(measures)) for key, measures in measured.items()]
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
    digest = hashlib.sha256()
    for name in _SOURCES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin:
            digest.update(Path(spec.origin).read_bytes())
    return digest.hexdigest()[:16]
