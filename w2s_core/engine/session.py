"""A running command's place in the store: it tells `gc` what is in use, and its workers what failed."""

import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from w2s_core.engine import disk, locks
from w2s_core.engine.canonical import digest
from w2s_core.engine.step import Handle
from w2s_core.engine.store import Store


@dataclass(frozen=True)
class Ending:
    """How a step ended without a result: "stopped" by a UserError or an input's end, or "failed" with a
    traceback.
    """

    kind: Literal["stopped", "failed"]
    reason: str
    log: str | None = None


class Session:
    """One command over one graph. Its lock is shared by the driver and its workers, and free once all are
    gone.
    """

    def __init__(self, store: Store, folder: Path, lock: locks.Lock) -> None:
        self._store, self.folder, self._lock = store, folder, lock

    @classmethod
    def open(cls, store: Store, handles: Iterable[Handle]) -> "Session":
        """Register a graph as in use. Waits while `gc` runs."""
        edges = {handle.key: [parent.key for parent in handle.parents()] for handle in handles}
        with _no_gc(store):
            name = _save_graph(store, edges)
            folder = store.root / "sessions" / f"{os.getpid()}.{secrets.token_hex(4)}"
            folder.mkdir()
            disk.write_durably(folder / "graph", name)
            return cls(store, folder, _shared(folder))

    @classmethod
    def join(cls, store: Store, folder: Path) -> "Session":
        """Take part in a session as its worker."""
        return cls(store, folder, _shared(folder))

    def close(self) -> None:
        """End the session; the driver calls it after its workers."""
        self._lock.release(remove=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def end_step(self, key: str, ending: Ending) -> None:
        """Record that a step ended without a result, before its lock is released: no other worker tries it
        again.
        """
        unfinished = self.folder / f"{key}.{os.getpid()}.new"
        unfinished.write_text(json.dumps(asdict(ending)))
        unfinished.replace(self.folder / f"{key}.json")

    def ending(self, key: str) -> Ending | None:
        """How a step ended in this session, if it did without a result."""
        try:
            return Ending(**disk.read_object(self.folder / f"{key}.json"))
        except (FileNotFoundError, ValueError, TypeError):  # damaged from outside: the step is tried again
            return None


def gc_lock(store: Store) -> Path:
    """Held alone by `gc` while it deletes, and shared for a moment by a session that begins."""
    return store.root / "locks" / "gc.lock"


def is_live(folder: Path) -> bool:
    """Whether a process of that session lives."""
    return locks.is_held(folder / "lock")


def _no_gc(store: Store) -> "_Kept":
    return _Kept(locks.wait_lock(gc_lock(store), shared=True))


class _Kept:
    """Holds a shared lock and leaves its file in place, since others may share it."""

    def __init__(self, lock: locks.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._lock.release(remove=False)


def _shared(folder: Path) -> locks.Lock:
    return locks.wait_lock(folder / "lock", shared=True)


def _save_graph(store: Store, edges: dict[str, list[str]]) -> str:
    name = digest(edges)
    path = store.root / "graphs" / f"{name}.json"
    if not path.exists():
        disk.replace_durably(path, json.dumps(edges), store.root / "tmp")
    return name
