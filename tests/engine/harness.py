"""Processes that die at a chosen moment: at the n-th touch of the store's files, for every n."""

import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "fcntl.flock"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked child; its exit status, or minus the signal that killed it."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
        os._exit(0)
    except BaseException:  # noqa: BLE001 - a child must never return into pytest
        traceback.print_exc()
    finally:
        os._exit(99)


class Fault:
    """Strikes at the n-th touch of files under `root`: open, create, flush, rename, remove, lock."""

    def __init__(self, root: Path, n: int, strike: Callable[[], None], *, writes_only: bool = False) -> None:
        self._root, self._left, self._strike, self._writes_only = str(root), n, strike, writes_only
        self._fsync = os.fsync

    def arm(self) -> None:
        """From now on in this process; an audit hook cannot be taken back, so arm in children only."""
        os.fsync = self._flush
        Path.open = self._counting_open(Path.open)  # type: ignore[method-assign]
        sys.addaudithook(self._audit)

    def _touch(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._strike()

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in FILE_EVENTS:
            return
        if event == "fcntl.flock":
            if not self._writes_only:
                self._touch()
            return
        if not str(arguments[0]).startswith(self._root):
            return
        if self._writes_only and (event in ("os.remove", "os.rmdir") or not _writes(event, arguments)):
            return
        self._touch()

    def _flush(self, descriptor: int) -> None:
        self._touch()
        self._fsync(descriptor)

    def _counting_open(self, opened: Callable[..., Any]) -> Callable[..., Any]:
        def counting(path: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            file = opened(path, mode, *arguments, **options)
            if "w" in mode and str(path).startswith(self._root):
                self._touch()  # the file exists and is empty
            return file

        return counting


def _writes(event: str, arguments: tuple[Any, ...]) -> bool:
    return event != "open" or bool(arguments[2] & WRITING)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def no_space() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _strike(code: int | None, marker: Path) -> None:
    """Kill this process, or fail with an error of the system; once for all processes that have the same marker."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return
    if code is None:
        die()
    else:
        raise OSError(code, os.strerror(code))


STRIKES: dict[str, Callable[[Path], None]] = {
    "kill": partial(_strike, None),
    **{errno.errorcode[code]: partial(_strike, code) for code in (errno.EIO, errno.ENOSPC, errno.EACCES)},
}


def results(root: Path) -> dict[str, tuple[object, int]]:
    """The digests of each result's files, and when it was computed, by key."""
    stored = {}
    for path in (root / "objects").rglob("manifest.json"):
        stored[path.parent.name] = (json.loads(path.read_text())["files"], path.stat().st_mtime_ns)
    return stored
