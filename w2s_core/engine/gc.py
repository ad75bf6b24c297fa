"""What no ref reaches, and what dead processes left: found, and removed unless it is a dry run."""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from w2s_core.engine import locks
from w2s_core.engine.canonical import Json
from w2s_core.engine.session import gc_lock, is_live
from w2s_core.engine.spec import spec_inputs
from w2s_core.engine.store import Store

_KEY = re.compile(r"[0-9a-f]{64}")
_STALE_S = 3600.0


@dataclass
class Garbage:
    """What gc removed, or would: keys of results, leftover folders and files, and the bytes of both."""

    objects: list[str] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    size: int = 0

    def counts(self) -> dict[str, int]:
        """How much it is: objects, leftovers, bytes."""
        return {"objects": len(self.objects), "leftovers": len(self.leftovers), "bytes": self.size}


def collect(store: Store, *, dry_run: bool = False) -> Garbage:
    """Remove what nothing needs. A result is kept when a ref names it, a kept result was made from it, an
    unfinished run named by a ref will need it, or a live process's graph has it.

    Raises:
        UserError: a ref cannot be read, so that nobody knows what it keeps.
    """
    with locks.wait_lock(gc_lock(store)):
        graphs = _read_graphs(store)
        needed = _reachable(store, {*_named(store), *graphs.live, *_locked(store)}, graphs.edges)
        garbage = Garbage()
        for key in sorted(set(store.keys()) - needed):
            _drop_object(store, key, garbage, dry_run)
        unfinished = {key for key in needed if not store.has(key)}
        settled = [path for path, keys in graphs.idle.items() if unfinished.isdisjoint(keys)]
        for leftover in [*graphs.dead_sessions, *settled, *_leftovers(store, needed)]:
            garbage.leftovers.append(leftover)
            garbage.size += _size(leftover)
            if not dry_run:
                _remove(leftover)
        if not dry_run:
            _remove_dead_locks(store)
        return garbage


@dataclass
class _Graphs:
    """What runs were made of: known edges, keys that live sessions work on, and folders and files no longer used."""

    edges: dict[str, list[str]] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    idle: dict[Path, list[str]] = field(default_factory=dict)
    dead_sessions: list[Path] = field(default_factory=list)


def _read_graphs(store: Store) -> _Graphs:
    graphs = _Graphs()
    running = set()
    for folder in (store.root / "sessions").iterdir():
        if is_live(folder):
            running.add((folder / "graph").read_text())
        else:
            graphs.dead_sessions.append(folder)
    for path in (store.root / "graphs").glob("*.json"):
        graph = json.loads(path.read_text())
        graphs.edges |= graph
        if path.stem in running:
            graphs.live |= set(graph)
        else:
            graphs.idle[path] = list(graph)
    return graphs


def _named(store: Store) -> Iterator[str]:
    """Every key that stands anywhere in a ref."""
    for name in store.refs.names():
        stack = [store.refs.read(name)]
        while stack:
            value: Json = stack.pop()
            if isinstance(value, str) and _KEY.fullmatch(value):
                yield value
            elif isinstance(value, dict):
                stack.extend(value.values())
            elif isinstance(value, list):
                stack.extend(value)


def _locked(store: Store) -> Iterator[str]:
    for path in (store.root / "locks").glob("*.lock"):
        if _KEY.fullmatch(path.stem) and locks.is_held(path):
            yield path.stem


def _reachable(store: Store, roots: set[str], edges: dict[str, list[str]]) -> set[str]:
    reachable: set[str] = set()
    stack = list(roots)
    while stack:
        key = stack.pop()
        if key not in reachable:
            reachable.add(key)
            stack.extend(_inputs(store, key, edges))
    return reachable


def _inputs(store: Store, key: str, edges: dict[str, list[str]]) -> list[str]:
    """Inputs by the manifest, or by a run's graph where there is no (readable) result yet."""
    try:
        return spec_inputs(store.read_manifest(key)["spec"])
    except (FileNotFoundError, ValueError):
        return edges.get(key, [])


def _drop_object(store: Store, key: str, garbage: Garbage, dry_run: bool) -> None:
    """Move a result out in one step, so that no reader sees half of it, then delete it."""
    lock = locks.try_lock(store.lock_path(key))
    if lock is None:
        return
    with lock:
        garbage.objects.append(key)
        garbage.size += _size(store.folder(key))
        if not dry_run:
            doomed = store.root / "tmp" / f"{key}.gc.{secrets.token_hex(4)}"
            store.folder(key).rename(doomed)
            _remove(doomed)


def _leftovers(store: Store, needed: set[str]) -> Iterator[Path]:
    """Unfinished writes, and scratch folders that nobody needs, without a live owner."""
    for path in (store.root / "tmp").iterdir():
        key = path.name.split(".")[0]
        is_result = _KEY.fullmatch(key) and path.is_dir()
        if not locks.is_held(store.lock_path(key)) if is_result else _is_stale(path):
            yield path
    for path in (store.root / "work").iterdir():
        useless = path.name not in needed or store.has(path.name)
        if useless and not locks.is_held(store.lock_path(path.name)):
            yield path


def _is_stale(path: Path) -> bool:
    with suppress(FileNotFoundError):  # another process has just renamed it to its place
        return time.time() - path.stat().st_mtime > _STALE_S
    return False


def _remove_dead_locks(store: Store) -> None:
    for path in (store.root / "locks").glob("*.lock"):
        if path != gc_lock(store) and (lock := locks.try_lock(path)):
            lock.release()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file or a folder; what other processes move away meanwhile counts as nothing."""
    walked = (Path(place, name) for place, _, names in os.walk(path) for name in names)
    size = 0
    for file in [path] if path.is_file() else walked:
        with suppress(FileNotFoundError):
            size += file.lstat().st_size
    return size
