"""What a graph still needs, and how long it should take by what the store remembers."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from w2s_core.engine import disk, locks
from w2s_core.engine.canonical import digest
from w2s_core.engine.chains import base_of
from w2s_core.engine.step import Handle, topological
from w2s_core.engine.store import Store

State = Literal["cached", "missing", "not needed"]
_RECENT = 20
HISTORY_BYTES = 4_000_000  # above this the history is trimmed to half of it: some 15,000 steps


@dataclass(frozen=True)
class Planned:
    """One step of a plan. `expected_s` is in seconds, None while no such step was ever timed in this
    store.
    """

    handle: Handle
    state: State
    expected_s: float | None


def plan(targets: Mapping[str, Handle] | Iterable[Handle], store: Store) -> list[Planned]:
    """Every step that the targets stand on, once, inputs first.

    "missing" steps will run; "not needed" ones have no result, but lead to cached ones only.
    """
    store.use_acceptances()
    named = targets.values() if isinstance(targets, Mapping) else targets
    roots = list({id(handle): handle for handle in named}.values())  # trials share most of their targets
    handles = distinct(roots)
    existing = {key for key in handles if store.has(key)}
    missing = needed(roots, existing)
    estimates = Estimates(store)
    return [
        Planned(
            handle, "cached" if key in existing else "missing" if key in missing else "not needed", seconds
        )
        for key, handle in handles.items()
        for seconds in [estimates.seconds(handle)]
    ]


def distinct(targets: Iterable[Handle]) -> dict[str, Handle]:
    """The union of the targets' graphs, each key once, inputs first."""
    by_key: dict[str, Handle] = {}
    for handle in topological(targets):  # inputs first: each key then finds those of its inputs made
        by_key.setdefault(handle.key, handle)
    return by_key


def needed(targets: Iterable[Handle], existing: set[str]) -> set[str]:
    """Keys to compute: from the targets down to where results exist."""
    keys: set[str] = set()
    stack = list(targets)
    while stack:
        handle = stack.pop()
        key = handle.key
        if key not in existing and key not in keys:
            keys.add(key)
            stack.extend(handle.parents())
    return keys


class Estimates:
    """Durations (seconds) and sizes (bytes) to expect: of the latest alike steps, or else of those of the same name
    that load the same base model.
    """

    def __init__(self, store: Store) -> None:
        self._records: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._alike: dict[str, list[dict[str, Any]]] = {}
        for record in _history(store):
            for kind in (record["shape"], record.get("kin", "")):
                self._records[kind].append(record)

    def seconds(self, handle: Handle) -> float | None:
        """Expected seconds of a step, the median; None if nothing is known."""
        known = self._known(handle)
        return statistics.median(record["seconds"] for record in known) if known else None

    def size(self, handle: Handle) -> int | None:
        """The largest recent size of such a step's result, in bytes; None if nothing is known."""
        known = self._known(handle)
        return max(record["bytes"] for record in known) if known else None

    def _known(self, handle: Handle) -> list[dict[str, Any]]:
        """The latest records of such steps. Asked once a step: a study of 10,000 trials has 80,000 of them."""
        if not self._records:
            return []
        if handle.key not in self._alike:
            known = self._records.get(shape(handle)) or self._records.get(kin(handle)) or []
            self._alike[handle.key] = known[-_RECENT:]
        return self._alike[handle.key]


def _history(store: Store) -> Iterator[dict[str, Any]]:
    """The records of past steps; lines of another shape are skipped, since estimates are only told."""
    for record in disk.json_lines(store.root / "history.jsonl"):
        if (
            isinstance(record, dict)
            and isinstance(record.get("shape"), str)
            and isinstance(record.get("kin", ""), str)  # older records have none
            and all(type(record.get(name)) in (int, float) for name in ("seconds", "bytes"))
        ):
            yield record


def remember(store: Store, handle: Handle, seconds: float, size: int) -> None:
    """Add a computed step to the history that estimates stand on. Its loss costs nothing, so a failure to write
    is no error.
    """
    kinds = {"step": handle.name, "shape": shape(handle), "kin": kin(handle)}
    record = {**kinds, "seconds": round(seconds, 3), "bytes": size}
    history = store.root / "history.jsonl"
    disk.append_line(history, record)
    with suppress(OSError):
        if history.stat().st_size > HISTORY_BYTES:
            _trim(store)


def _trim(store: Store) -> None:
    """Keep the latest records of each shape, the newest first as far as half the room goes.

    Replaced as a whole: after a kill the old history is there or the new one. A line that another process appends
    just then may be lost.
    """
    lock = locks.try_lock(store.root / "locks" / "history.lock")
    if lock is None:  # another process is at it
        return
    with lock:
        history = store.root / "history.jsonl"
        newest = reversed(list(_newest(_history(store))))
        disk.replace_durably(history, "".join(newest), store.root / "tmp")


def _newest(records: Iterable[Any]) -> Iterator[str]:
    """The records that estimates still look at, as lines, newest first, within half of HISTORY_BYTES."""
    counts: Counter[str] = Counter()
    room = HISTORY_BYTES // 2
    for record in reversed(list(records)):
        counts[record["shape"]] += 1
        if counts[record["shape"]] > _RECENT:
            continue
        line = json.dumps(record) + "\n"
        room -= len(line)
        if room < 0:
            return
        yield line


def shape(handle: Handle) -> str:
    """A digest of what a duration depends on, roughly: the parameters but the seed, and those of the
    inputs.
    """
    inputs = sorted(f"{parent.name}{_unseeded(parent)}" for parent in handle.parents())
    return digest([handle.name, _unseeded(handle), inputs])[:16]


def kin(handle: Handle) -> str:
    """A digest of the step's name and of what it loads, such as a base model."""
    return digest([handle.name, base_of(handle)])[:16]


def _unseeded(handle: Handle) -> dict[str, object]:
    return {name: value for name, value in handle.params.items() if name != "seed"}
