"""What a user types, called in this process: each new one would import torch anew, which takes as long as a run."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from w2s_core.cli.main import main


def typed(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command `w2s WORDS` in a folder: its exit status and what it printed."""
    listed = [str(word) for word in words]
    out, errors = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["w2s", *listed])
        with pytest.raises(SystemExit) as ended:
            main()
    status = ended.value.code
    assert isinstance(status, int)
    return subprocess.CompletedProcess(["w2s", *listed], status, out.getvalue(), errors.getvalue())


def typed_apart(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, as an installed command is."""
    command = [sys.executable, "-m", "w2s_core.cli", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
