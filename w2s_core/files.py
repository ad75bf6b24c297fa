"""Files that others wrote, read with errors of one line; and a folder that is written whole or not at all."""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError

MAX_JSON_BYTES = 64 * 1024**2
"""More than any config or index of weights takes."""


def regular_size(path: Path) -> int:
    """The size of a regular file, or of the one that a link leads to.

    Raises:
        UserError: a folder, or a pipe or device, which could be read for ever.
        OSError: there is none.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise UserError(f"{path}: {kind}, where a regular file is needed")
    return status.st_size


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises UserError where it cannot be read, or holds anything else."""
    try:
        if regular_size(path) > MAX_JSON_BYTES:
            raise UserError(f"{path}: larger than {MAX_JSON_BYTES:,} bytes, which no such file needs")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except RecursionError:
        raise UserError(f"{path}: not valid JSON (nested too deeply)") from None
    except ValueError as error:  # an integer of too many digits among them
        raise UserError(f"{path}: not valid JSON ({str(error).partition(';')[0]})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object")
    return content


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name when all is written, and is removed on an error.

    Raises:
        UserError: `out` is there, or cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out}: there is something of that name already: name a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    try:
        yield folder
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        folder.chmod(0o755)
        folder.rename(out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
