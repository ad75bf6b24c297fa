"""The runs of a store and what is measured of them, kept up to date by a thread while the page is open."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from analysis.dashboard.columns import Metric, default_metrics, metrics_of
from analysis.dashboard.measures import MeasureCache, Measures, measure
from w2s_core.engine import Store
from w2s_core.errors import UserError

OWN_COLUMNS: Final = ("run", "started", "state")
LOOK_EVERY_S: Final = 2.0
LOOK_SHARE: Final = 0.05
"""Of the time, that may be spent on looking: a large store is looked at less often."""
BATCH_S: Final = 0.5
"""How long results are read before what was found is shown."""


@dataclass(frozen=True)
class Run:
    """A run as its record has it."""

    name: str
    record: Mapping[str, Any] = field(repr=False)

    @property
    def targets(self) -> Mapping[str, str]:
        """Keys by label."""
        found: Mapping[str, str] = self.record["targets"]
        return found

    @property
    def study(self) -> str | None:
        """The study that the run belongs to."""
        found = self.record.get("study")
        return found if isinstance(found, str) else None

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The settings by dotted name, as text or number, the study first. Models by the last part of their path."""
        experiment = self.record.get("experiment")
        leaves = _leaves(experiment if isinstance(experiment, dict) else {})
        found = {_column_name(name): _plain(value) for name, value in leaves}
        short = {
            name: self.record[name] for name in ("weak", "strong") if isinstance(self.record.get(name), str)
        }
        return ({"study": self.study} if self.study else {}) | found | short

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """What can be measured of it, by id."""
        return metrics_of(self.targets)


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

    def value(self, run: str, metric: str) -> tuple[float, float, float] | None:
        """Value, low and high in per cent (low and high nan where there is no interval); None if not known."""
        one = self.runs[run]
        wanted = one.metrics.get(metric)
        found = self.measured.get(one.targets[wanted.target], {}) if wanted else {}
        if wanted is None or wanted.measure not in found:
            return None
        value, low, high = (float("nan") if part is None else 100.0 * part for part in found[wanted.measure])
        if wanted.measure == "rows":
            asked = one.record.get("questions", {}).get("train_2")
            return (value / asked, low, high) if asked else None
        return value, low, high

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

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread:
            self._thread.join(timeout=10)

    def update(self) -> bool:
        """Look for new runs and results and read all results. Returns whether anything changed."""
        before = self.snapshot.version
        self._look()
        while self._read_some():
            pass
        return self.snapshot.version != before

    def _keep_up(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            self._look()
            took = time.monotonic() - began
            if not self._read_some():
                self._stopped.wait(max(LOOK_EVERY_S, took / LOOK_SHARE))

    def _look(self) -> None:
        """Records that changed, and targets that are there now."""
        changed = self._read_records()
        wanted = {key for run in self._runs.values() for key in run.targets.values()}
        present = {key for key in wanted if self.store.has(key)}
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
            record = self.store.refs.read(name)
        except UserError as error:
            self._troubles[name] = str(error)
            return
        targets = record.get("targets") if isinstance(record, dict) else None
        if not isinstance(targets, dict) or not all(isinstance(key, str) for key in targets.values()):
            self._troubles[name] = f"'{name}' is no run: its record names no targets"
        elif self.study is None or record.get("study") == self.study:
            self._runs[name] = Run(name, record)

    def _read_some(self) -> bool:
        """Measure results for a moment, those of the first columns first. Returns whether there were any."""
        todo = self._unread()
        found: dict[str, Measures] = {}
        until = time.monotonic() + BATCH_S
        for key in todo:
            if time.monotonic() > until or self._stopped.is_set():
                break
            found[key] = self._measure(key)
        self._measured |= found
        self._cache.keep({key: one for key, one in found.items() if key not in self._troubles})
        if found:
            self._publish()
        return bool(found)

    def _measure(self, key: str) -> Measures:
        try:
            return measure(self.store.path(key))
        except (UserError, KeyError, OSError) as error:
            self._troubles[key] = str(error) or type(error).__name__
            return {}

    def _unread(self) -> list[str]:
        first = default_metrics(run.metrics for run in self._runs.values())
        keys: dict[str, None] = {}
        for metric in first:
            for run in self._runs.values():
                if metric in run.metrics:
                    keys[run.targets[run.metrics[metric].target]] = None
        keys |= dict.fromkeys(
            run.targets[metric.target] for run in self._runs.values() for metric in run.metrics.values()
        )
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
    found = set()
    for name in store.refs.names():
        try:
            record = store.refs.read(name)
        except UserError:
            continue
        if isinstance(record, dict) and isinstance(record.get("study"), str):
            found.add(record["study"])
    return found


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A nested mapping as dotted names and values."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _column_name(field: str) -> str:
    """A field's column: none of the table's own, and none that reads like a metric's."""
    return f"experiment.{field}" if field in OWN_COLUMNS or "/" in field else field


def _plain(value: Any) -> Any:
    """A setting as a table shows it: a number, or text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, list):
        return ", ".join(str(_plain(one)) for one in value)
    return "" if value is None or value == {} else str(value)


def _started(item: tuple[str, Run]) -> tuple[str, str]:
    return str(item[1].record.get("started", "")), item[0]


def _stamps(folder: Path) -> Iterable[tuple[str, tuple[int, int]]]:
    for path in folder.rglob("*.json"):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue  # removed meanwhile
        yield path.relative_to(folder).as_posix().removesuffix(".json"), (found.st_mtime_ns, found.st_size)
