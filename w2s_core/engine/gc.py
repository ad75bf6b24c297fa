"""What no ref reaches, and what dead processes left. Results go to the store's trash, from where they can come back."""

import os
import re
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from w2s_core.engine import disk, locks
from w2s_core.engine.index import keys_of
from w2s_core.engine.session import gc_lock, is_live
from w2s_core.engine.store import KEY, REFS_LOST, Store
from w2s_core.errors import UserError

_STALE_S = 3600.0
TRASH_DAYS = 7
_REFS = "refs"
_TRASH = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9a-f]{8}")


@dataclass
class Garbage:
    """What gc removed, or would: keys of results, leftover folders and files, and the bytes of both.

    `steps` counts the results by the name of their step. `trash` is the folder that the results lie in now. `emptied`
    are the bytes of earlier trash that went for good, in no other count.
    """

    objects: list[str] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    size: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    trash: Path | None = None
    emptied: int = 0

    def counts(self) -> dict[str, int]:
        """How much it is: objects, leftovers, bytes."""
        return {"objects": len(self.objects), "leftovers": len(self.leftovers), "bytes": self.size}


def collect(store: Store, *, dry_run: bool = False, empty_trash: bool = False) -> Garbage:
    """Take out what nothing needs. A result is kept when a ref names it, a kept result was made from it, an
    unfinished run named by a ref will need it, or a live process's graph has it.

    Results move to the trash; trash older than `TRASH_DAYS` is deleted, and with `empty_trash` all of it.

    Raises:
        UserError: a file that says what is needed cannot be read. Nothing is removed then.
    """
    with locks.wait_lock(gc_lock(store)):
        if (store.root / REFS_LOST).exists():
            raise UserError(
                f"nothing was removed: {store.root / 'refs'} was missing, and with it the records of the runs. Put "
                f"them back, or run their commands again; then delete {store.root / REFS_LOST}"
            )
        graphs = _read_graphs(store)
        needed = _needed(store, graphs)
        garbage = Garbage()
        if not dry_run:
            garbage.emptied = _empty_trash(store, everything=empty_trash)
        for key in list(store.keys(but=needed)):
            _drop_object(store, key, garbage, dry_run)
        settled = [
            path
            for path, keys in graphs.idle.items()
            if all(key not in needed or store.has(key) for key in keys)
        ]
        for leftover in [*graphs.dead_sessions, *settled, *_leftovers(store, needed)]:
            garbage.leftovers.append(leftover)
            garbage.size += _size(leftover)
            if not dry_run:
                _remove(leftover)
        if not dry_run:
            _remove_dead_locks(store)
            _remove_empty(store.root / "kept")
        if garbage.emptied:
            _forget_contents(store)
        return garbage


def discard_refs(store: Store, names: Iterable[str]) -> Path:
    """Move refs to the trash. What they alone kept goes with the next `collect`. Returns the trash's folder."""
    with locks.wait_lock(gc_lock(store)):
        trash = _new_trash(store)
        for name in names:
            store.refs.move_to(name, trash / _REFS)
    return trash


def restore(store: Store) -> tuple[int, int]:
    """Put the results and refs in the trash back, but for what has been made again. Returns how many of each."""
    count = refs = 0
    with locks.wait_lock(gc_lock(store)):
        for path in [
            path for folder in _trashes(store) for path in folder.iterdir() if KEY.fullmatch(path.name)
        ]:
            if not os.path.lexists(store.folder(path.name)):
                store.folder(path.name).parent.mkdir(exist_ok=True)
                path.rename(store.folder(path.name))
                count += 1
        for folder in _trashes(store):
            refs += store.refs.take_back(folder / _REFS)
            for place, _, _ in os.walk(folder, topdown=False):
                with suppress(OSError):  # not empty
                    Path(place).rmdir()
    return count, refs


@dataclass
class _Graphs:
    """What runs were made of: known edges, keys that live sessions work on, and folders and files no longer used."""

    edges: dict[str, list[str]] = field(default_factory=dict)
    live: set[str] = field(default_factory=set)
    idle: dict[Path, list[str]] = field(default_factory=dict)
    dead_sessions: list[Path] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)


def _read_graphs(store: Store) -> _Graphs:
    graphs = _Graphs()
    running = set()
    for folder in (path for path in (store.root / "sessions").iterdir() if path.is_dir()):
        name = _live_graph(folder)
        if name is None:
            graphs.dead_sessions.append(folder)
        else:
            running.add(name)
    for path in (store.root / "graphs").glob("*.json"):
        try:
            graph = _edges(path)
        except ValueError as error:
            graphs.damaged[path] = str(error)
            continue
        graphs.edges |= graph
        if path.stem in running:
            graphs.live |= set(graph)
            running.discard(path.stem)
        else:
            graphs.idle[path] = list(graph)
    if running:
        raise UserError(
            f"nothing was removed: {store.root / 'graphs' / min(running)}.json, the graph of a running command, "
            "cannot be read: wait until that command has ended"
        )
    return graphs


def _live_graph(session: Path) -> str | None:
    """The name of a session's graph, or None once the session has ended. Raises UserError where the session lives and
    the file that names its graph is gone or damaged.
    """
    if not is_live(session):
        return None
    try:
        name = (session / "graph").read_text()
    except (OSError, ValueError):
        name = ""
    if KEY.fullmatch(name):
        return name
    if not is_live(session):  # it ended between the two, and took its folder along
        return None
    raise UserError(
        f"nothing was removed: {session / 'graph'} cannot be read, so what a running command needs is not known: "
        "wait until it has ended"
    )


def _edges(path: Path) -> dict[str, list[str]]:
    """A graph's file: the keys of the inputs by key. Raises ValueError for anything else."""
    graph = disk.read_object(path)
    if not all(
        isinstance(keys, list) and all(isinstance(key, str) for key in keys) for keys in graph.values()
    ):
        raise ValueError("it is no graph")
    return graph


def _needed(store: Store, graphs: _Graphs) -> set[str]:
    """The keys to keep."""
    roots = {*graphs.live, *_locked(store)}
    contents = []
    for name, content in store.refs.scan():
        if isinstance(content, str):
            path = store.root / "refs" / name
            raise UserError(f"nothing was removed, since nobody knows what {path} keeps: {content}")
        contents.append(content)
    roots |= keys_of(contents)
    needed = _reachable(store, roots, graphs.edges)
    store.index.save()
    unfinished = sum(not store.has(key) for key in needed) if graphs.damaged else 0
    for path, problem in graphs.damaged.items():
        if unfinished:  # what its inputs are may stand in this file alone
            raise UserError(
                f"nothing was removed: {unfinished} results of unfinished runs are missing, and what they need may "
                f"stand in {path}, which is damaged ({problem}): finish those runs, or delete that file"
            )
        graphs.idle[path] = []
    return needed


def _locked(store: Store) -> Iterator[str]:
    for path in (store.root / "locks").glob("*.lock"):
        if KEY.fullmatch(path.stem) and locks.is_held(path):
            yield path.stem


def _reachable(store: Store, roots: set[str], edges: dict[str, list[str]]) -> set[str]:
    """The roots and all that they were made from, or by a run's graph where there is no (readable) result yet."""
    reachable: set[str] = set()
    frontier = roots
    while frontier:
        reachable |= frontier
        inputs, unknown = store.inputs(frontier)
        frontier = inputs.union(*(edges.get(key, ()) for key in unknown)) - reachable
    return reachable


def _drop_object(store: Store, key: str, garbage: Garbage, dry_run: bool) -> None:
    """Move a result to the trash in one step, so that no reader sees half of it."""
    lock = nullcontext() if dry_run else locks.try_lock(store.lock_path(key))
    if lock is None or (dry_run and locks.is_held(store.lock_path(key))):
        return
    with lock:
        spec = store.read_spec(key)
        garbage.objects.append(key)
        garbage.size += _size(store.folder(key))
        garbage.steps[spec["step"] if spec else "damaged"] += 1
        if not dry_run:
            if garbage.trash is None:
                garbage.trash = _new_trash(store)
            store.folder(key).rename(garbage.trash / key)


def _new_trash(store: Store) -> Path:
    folder = store.root / "trash" / f"{disk.time_name()}.{secrets.token_hex(4)}"
    folder.mkdir()
    return folder


def _trashes(store: Store) -> list[Path]:
    """The folders of the trash that gc made, the latest first."""
    folders = (store.root / "trash").iterdir()
    return sorted(
        (folder for folder in folders if _TRASH.fullmatch(folder.name) and folder.is_dir()), reverse=True
    )


def _empty_trash(store: Store, *, everything: bool) -> int:
    """Delete the trash that is old enough. Returns its bytes."""
    oldest = disk.time_name(time.time() - TRASH_DAYS * 86400)
    size = 0
    for folder in _trashes(store):
        if everything or folder.name < oldest:
            size += _size(folder)
            _remove(folder)
    return size


def _forget_contents(store: Store) -> None:
    """Remove the names of which no result is left, nor in the trash."""
    trashed = {path.name for folder in _trashes(store) for path in folder.iterdir()}
    for path in store.contents.paths():
        if not any(key in trashed or store.has(key) for key in store.contents.keys(path.name)):
            path.unlink(missing_ok=True)


def _leftovers(store: Store, needed: set[str]) -> Iterator[Path]:
    """Unfinished writes, and scratch folders that nobody needs, without a live owner."""
    for path in (store.root / "tmp").iterdir():
        key = path.name.split(".")[0]
        is_result = KEY.fullmatch(key) and path.is_dir()
        if not locks.is_held(store.lock_path(key)) if is_result else _is_stale(path):
            yield path
    for path in (path for path in (store.root / "work").iterdir() if KEY.fullmatch(path.name)):
        useless = path.name not in needed or store.has(path.name)
        if useless and not locks.is_held(store.lock_path(path.name)):
            yield path
    for path in (store.root / "kept").glob("*/*/*"):
        if path.name not in needed and not locks.is_held(store.lock_path(path.name)):
            yield path


def _is_stale(path: Path) -> bool:
    with suppress(FileNotFoundError):  # another process has just renamed it to its place
        return time.time() - path.lstat().st_mtime > _STALE_S
    return False


def _remove_dead_locks(store: Store) -> None:
    for path in (store.root / "locks").glob("*.lock"):
        if path != gc_lock(store) and path.is_file() and (lock := locks.try_lock(path)):
            lock.release()


def _remove_empty(folder: Path) -> None:
    """Remove the folders in a folder that hold nothing any more, but for those that were just made."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if _is_stale(path):
            with suppress(OSError):
                path.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes of a file or a folder; what other processes move away meanwhile counts as nothing. Of a file that several
    results share, each counts its part.
    """
    walked = (f"{place}/{name}" for place, _, names in os.walk(path) for name in names)
    size = 0
    for file in walked if path.is_dir() and not path.is_symlink() else [str(path)]:
        with suppress(FileNotFoundError):
            status = os.lstat(file)
            size += status.st_size // max(1, status.st_nlink)
    return size
