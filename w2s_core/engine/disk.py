"""The few file operations that crash safety stands on: flush to the disk, and replace as one."""

import errno
import hashlib
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError, one_line


class DiskFullError(UserError):
    """The store's disk is full: nothing can be written until there is space."""


_SMALL = 1 << 16  # a larger buffer is memory that the system has to clear first
_FULL = ("No space left on device", "os error 28", "Disk quota exceeded")


def fsync(path: Path) -> None:
    """Flush a file's or folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Write a file and flush it. Not atomic: for files in a folder that nobody reads yet."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, text: str, spare: Path) -> None:
    """Write a file so that a reader, or the state after a crash, has the old text or the new, never between.

    `spare` is a folder on the same file system for the unfinished file.
    """
    unfinished = spare / f"{path.name}.{secrets.token_hex(6)}"
    try:
        write_durably(unfinished, text)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    fsync(path.parent)


def replace_quickly(path: Path, text: str | bytes) -> None:
    """Atomic for readers but not flushed, and a failure is ignored: for displays, whose loss costs
    nothing.
    """
    unfinished = path.with_name(path.name + ".new")
    try:
        unfinished.write_bytes(text.encode() if isinstance(text, str) else text)
        unfinished.replace(path)
    except OSError:
        pass


def write_kept(path: Path, data: bytes, title: str = "") -> None:
    """Write what can be had anew, behind its checksum; a failure is ignored, as in `replace_quickly`.

    Two writers at once can tear the file: the checksum shows it.
    """
    replace_quickly(path, b"%b\n%b" % (_kept_head(data, title), data))


def read_kept(path: Path, title: str = "") -> bytes | None:
    """What such a file holds; None where there is none, or it is damaged or has another title."""
    with suppress(OSError, ValueError):
        head, _, data = read_plain(path).partition(b"\n")
        if head == _kept_head(data, title):
            return data
    return None


def _kept_head(data: bytes, title: str) -> bytes:
    return (title + hashlib.sha256(data).hexdigest()).encode()


def time_name(seconds: float | None = None) -> str:
    """A moment, by default now, in UTC for the name of a file: `20260131T235959`. Names sort by it."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))


def set_aside(path: Path, folder: Path) -> Path:
    """Move what lies at `path`, whatever it is, into a folder, under a new name. Returns where it lies now."""
    target = folder / f"{path.name}.{time_name()}.{secrets.token_hex(6)}"
    path.rename(target)
    fsync(folder)
    fsync(path.parent)
    return target


def warn(message: str) -> None:
    """Tell the user on stderr what was wrong in the store, in one line; the command goes on."""
    sys.stderr.write(f"w2s: {one_line(message)}\n")


def append_line(path: Path, record: Any) -> None:
    """Append one JSON line with a single write, so that lines of several processes do not mix; failures
    are ignored.
    """
    try:
        # Without O_NONBLOCK, a pipe in the file's place would wait for a reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o644)
    except OSError:
        return
    try:
        os.write(descriptor, (json.dumps(record) + "\n").encode())
    except OSError:
        pass
    finally:
        os.close(descriptor)


def json_lines(path: Path) -> Iterator[Any]:
    """The records of a file of JSON lines; torn lines, which a crash may leave, are skipped, and a file that cannot be
    read has none.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):  # brackets of absurd depth end in the latter
            continue


def read_plain(path: Path) -> bytes:
    """A file's bytes. Raises ValueError for a folder, a pipe (reading would wait for ever) or a link to nothing."""
    if os.path.lexists(path) and not path.is_file():
        raise ValueError("it is no file")
    return path.read_bytes()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError for anything else, and OSError where it cannot be read."""
    return json_object(read_plain(path))


def json_object(data: bytes) -> dict[str, Any]:
    """The JSON object that bytes hold. Raises ValueError for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # brackets of absurd depth end in the latter
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it holds no JSON object")
    return value


def sha256_file(path: Path | str) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - most files are small, and one read takes them
        first = file.read(_SMALL)
        if len(first) < _SMALL:
            return hashlib.sha256(first).hexdigest()
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(folder: Path) -> int:
    """The bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, says that the disk is full. Libraries often keep only
    the text.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(text in str(error) for text in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def full_is_user_error(folder: Path, doing: str) -> Iterator[None]:
    """Turn "no space left" inside into a DiskFullError that says what was being done, and where space is
    needed.
    """
    try:
        yield
    except OSError as error:
        if not disk_full(error):
            raise
        raise DiskFullError(full_message(folder, doing)) from error


def full_message(folder: Path, doing: str, expected: int = 0) -> str:
    """What to tell the user; `expected` bytes are what the write should need, 0 where that is not known."""
    need = f" (needs about {max(1, round(expected / 1e6))} MB)" if expected else ""
    return f"disk full while {doing}{need}: free space in {folder}; the same command goes on"
