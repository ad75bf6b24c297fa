"""The runs of a store and what is measured of them, kept up to date by a thread while the page is open."""

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from w2s_analysis.dashboard.columns import Metric, default_columns, in_order
from w2s_analysis.dashboard.measures import BOUNDS, MeasureCache, Measures, measure
from w2s_analysis.dashboard.run import Run, read_run
from w2s_analysis.dashboard.settings import differing, settings
from w2s_analysis.writing.table import is_wide
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.statistics import Bounds

LOOK_EVERY_S: Final = 2.0
LOOK_SHARE: Final = 0.05
"""Of the time, that may be spent on looking: a large store is looked at less often."""
BATCH_S: Final = 0.5
"""How long results are read before the page is brought up to date."""
GIVE_WAY_S: Final = 3.0
"""How long reading rests for a page that is being opened: both want the interpreter."""


@dataclass(frozen=True)
class Snapshot:
    """The state of the store at one moment.

    Attributes:
        version: grows whenever anything else here changes.
        measured: by key.
        present: the keys of all finished targets.
        unread: finished targets that are not measured yet.
        troubles: by run or key, what could not be read.
    """

    version: int
    runs: Mapping[str, Run]
    measured: Mapping[str, Measures]
    present: frozenset[str]
    unread: int
    troubles: Mapping[str, str]

    @cached_property
    def columns(self) -> dict[str, Metric]:
        """The columns of results that any run has, in order."""
        return in_order((run.recipe, run.metrics.values()) for run in self.runs.values())

    @cached_property
    def default_columns(self) -> list[str]:
        """Those that are shown before the user chooses."""
        return default_columns(self.columns, (run.metrics.values() for run in self.runs.values()))

    @cached_property
    def settings(self) -> list[dict[str, Any]]:
        """The fields of each run."""
        return settings(list(self.runs.values()))

    @cached_property
    def differing(self) -> list[str]:
        """The fields that tell the runs apart."""
        return differing(self.settings)

    def value(self, run: str, column: str) -> tuple[float, float, float] | None:
        """Value, low and high in per cent (low and high nan where there is no interval); None if not known."""
        metric = self.runs[run].columns.get(column)
        if metric is None:
            return None
        measures = self.measured.get(self.runs[run].targets[metric.target], {})
        if metric.measure not in measures:
            return None
        value, low, high = (
            float("nan") if share is None else 100.0 * share for share in measures[metric.measure]
        )
        return value, low, high

    def bounds(self, run: str, column: str) -> Bounds | None:
        """Of a model's result, as shares, where responses that were not graded leave it far open."""
        metric = self.runs[run].columns.get(column)
        if metric is None or not metric.compared:
            return None
        measures = self.measured.get(self.runs[run].targets[metric.target], {})
        known = measures.get(f"{metric.measure}{BOUNDS}")
        bounds = Bounds(*(float("nan") if share is None else share for share in known)) if known else None
        return bounds if is_wide(bounds) else None

    def state(self, run: str) -> str:
        """`complete`, or how many of the run's targets are there."""
        keys = self.runs[run].targets.values()
        done = sum(key in self.present for key in keys)
        return "complete" if done == len(keys) else f"{done} of {len(keys)}"


class Catalogue:
    """Reads records and results of a store. `snapshot` is the latest state; `start` keeps it so until `stop`."""

    def __init__(self, store: Store, study: str | None = None) -> None:
        self.store, self.study = store, study
        self._cache = MeasureCache(store.root / "dashboard.db")
        self._measured = self._cache.load()
        self._stamps: dict[str, tuple[int, int]] = {}
        self._runs: dict[str, Run] = {}
        self._present: set[str] = set()
        self._troubles: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._rests_until = 0.0
        self.snapshot = Snapshot(0, {}, {}, frozenset(), 0, {})
        self._look()

    @property
    def trouble(self) -> str | None:
        """What is wrong with the file that keeps measures, if anything."""
        return self._cache.trouble

    def start(self) -> None:
        """Keep up to date in a thread."""
        self._thread = threading.Thread(target=self._keep_up, name="catalogue", daemon=True)
        self._thread.start()

    def give_way(self) -> None:
        """Let the thread rest for a moment: a page is opened."""
        self._rests_until = time.monotonic() + GIVE_WAY_S

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread:
            self._thread.join(timeout=10)

    def update(self) -> bool:
        """Look for new runs and results and read all results. Returns whether anything changed."""
        before = self.snapshot.version
        self._rests_until = 0.0
        self._look()
        while self._read_some():
            pass
        return self.snapshot.version != before

    def _keep_up(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            if began < self._rests_until:
                self._stopped.wait(self._rests_until - began)
                continue
            self._look()
            took = time.monotonic() - began
            if not self._read_some():
                self._stopped.wait(max(LOOK_EVERY_S, took / LOOK_SHARE))

    def _look(self) -> None:
        """Records that changed, and targets that are there now."""
        changed = self._read_records()
        keys = {key for run in self._runs.values() for key in run.targets.values()}
        present = {key for key in keys if self.store.has(key)}
        for key in self._present - present:  # collected, or found damaged: it may come again
            if self._troubles.pop(key, None):
                self._measured.pop(key, None)
        moved = present != self._present
        self._present = present
        if changed or moved or not self.snapshot.version:
            self._publish()

    def _read_records(self) -> bool:
        stamps = dict(_stamps(self.store.root / "refs"))
        if stamps == self._stamps:
            return False
        for name in self._stamps.keys() - stamps.keys():
            self._runs.pop(name, None)
            self._troubles.pop(name, None)
        for name in [name for name in stamps if stamps[name] != self._stamps.get(name)]:
            self._read_record(name)
        self._stamps = stamps
        return True

    def _read_record(self, name: str) -> None:
        self._runs.pop(name, None)
        self._troubles.pop(name, None)
        try:
            run = read_run(name, self.store.refs.read(name))
        except UserError as error:
            self._troubles[name] = str(error)
            return
        if self.study is not None and run.study != self.study:
            return
        self._runs[name] = run
        if run.trouble is not None:
            self._troubles[name] = run.trouble

    def _read_some(self) -> bool:
        """Measure results for a moment, those of the first columns first. Returns whether there were any."""
        measured: dict[str, Measures] = {}
        until = time.monotonic() + BATCH_S
        for key in self._unread():
            now = time.monotonic()
            if now > until or now < self._rests_until or self._stopped.is_set():
                break
            measured[key] = self._measure(key)
        self._measured |= measured
        self._cache.keep({key: measures for key, measures in measured.items() if key not in self._troubles})
        if measured:
            self._publish()
        return bool(measured)

    def _measure(self, key: str) -> Measures:
        try:
            return measure(self.store, key)
        except (UserError, KeyError, OSError) as error:
            self._troubles[key] = str(error) or type(error).__name__
            return {}

    def _unread(self) -> list[str]:
        """Finished results that are not measured, those of the first columns first."""
        runs = list(self._runs.values())
        metrics = in_order((run.recipe, run.metrics.values()) for run in runs)
        first = default_columns(metrics, (run.metrics.values() for run in runs))
        keys = dict.fromkeys(
            run.targets[run.columns[column].target]
            for column in first
            for run in runs
            if column in run.columns
        )
        keys |= dict.fromkeys(run.targets[metric.target] for run in runs for metric in run.metrics.values())
        return [key for key in keys if key in self._present and key not in self._measured]

    def _publish(self) -> None:
        runs = dict(sorted(self._runs.items(), key=_started, reverse=True))
        self.snapshot = Snapshot(
            self.snapshot.version + 1,
            runs,
            dict(self._measured),
            frozenset(self._present),
            len(self._unread()),
            dict(self._troubles),
        )


def studies_of(store: Store) -> set[str]:
    """The studies that any record in the store names."""
    studies = set()
    for _, record in store.refs.readable():
        if isinstance(record.get("study"), str):
            studies.add(record["study"])
    return studies


def _started(item: tuple[str, Run]) -> tuple[str, str]:
    return str(item[1].record.get("started", "")), item[0]


def _stamps(folder: Path) -> Iterable[tuple[str, tuple[int, int]]]:
    for path in folder.rglob("*.json"):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue  # removed meanwhile
        yield path.relative_to(folder).as_posix().removesuffix(".json"), (stat.st_mtime_ns, stat.st_size)
