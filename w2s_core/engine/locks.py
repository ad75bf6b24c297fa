"""One live lock a key. The kernel holds it for the process (flock), so it vanishes with its owner, at once.

flock belongs to an open file, which forked children share: a child that outlives its parent would keep the
lock of a dead owner. So descriptors are close-on-exec, and every child that Python forks closes them
(`os.register_at_fork`). Only a library that forks in C, past Python, and does not exec would defeat this.
Network file systems: Linux's NFS client passes flock on to the server as a byte-range lock.
"""

import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from w2s_core.engine import disk

_held: set[int] = set()


def _close_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)  # the parent's own descriptor keeps the lock
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


class Lock:
    """A lock that this process holds, until `release` or its death. A context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._owner = os.getpid()
        _held.add(descriptor)

    def release(self, *, remove: bool = True) -> None:
        """Give the lock up; `remove` deletes its file first, while no one else can hold it."""
        if self._owner != os.getpid() or self._descriptor not in _held:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        _held.discard(self._descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.release()


def try_lock(path: Path, *, shared: bool = False, note: dict[str, Any] | None = None) -> Lock | None:
    """Take the lock at `path`, or return None at once if a live process holds it. `note` is for `owner` to
    read.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # its folder was cleared away between the two calls
        except IsADirectoryError:
            disk.warn(f"{path} was no file; it was moved to {disk.set_aside(path, path.parent)}")
            continue
        if not _flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            os.close(descriptor)
            return None
        if _is_still(path, descriptor):
            break
        os.close(descriptor)  # the last owner removed that file as we opened it: lock the new one
    lock = Lock(path, descriptor)
    if not shared:
        _sign(descriptor, note or {})
    return lock


def wait_lock(
    path: Path, *, shared: bool = False, note: dict[str, Any] | None = None, poll_s: float = 0.05
) -> Lock:
    """Take the lock at `path`, waiting as long as a live process holds it. Can be interrupted."""
    while (lock := try_lock(path, shared=shared, note=note)) is None:
        time.sleep(poll_s)
    return lock


def is_held(path: Path) -> bool:
    """Whether a live process, this one too, holds the lock at `path`. Never creates the file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def owner(path: Path) -> dict[str, Any]:
    """Who took the lock: {"pid", "host", "since", ...}. Empty while that is being written, or when it is
    gone.
    """
    try:
        return disk.read_object(path)
    except (OSError, ValueError):
        return {}


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sign(descriptor: int, note: dict[str, Any]) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time(), **note})
    os.ftruncate(descriptor, 0)
    with suppress(OSError):  # a full disk must not stop a lock: only the display reads this
        os.pwrite(descriptor, text.encode(), 0)
