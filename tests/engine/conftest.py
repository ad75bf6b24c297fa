"""The engine's tests flush thousands of files: in memory, where there is such a file system, that costs nothing.

What a SIGKILL leaves does not depend on it: the page cache outlives the process either way.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ENOUGH = 256_000_000  # bytes


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """As pytest's own, in memory if there is room."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ENOUGH:
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="w2s-engine-", dir=MEMORY))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
