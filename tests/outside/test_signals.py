"""A signal at a command that computes nothing yet: it ends as by Ctrl-C, in one line."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest


def w2s_struck(folder: Path, number: int, *, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """`w2s runs`, which gets a signal while it imports what the user named."""
    (folder / "strikes.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    prepare = f"import signal\nsignal.signal({int(number)}, signal.SIG_IGN)\n" if ignored else ""
    start = f"{prepare}from w2s_core.cli.main import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", start, "--import", "strikes.py", "runs"],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_as_ctrl_c_does(tmp_path: Path, number: int) -> None:
    ended = w2s_struck(tmp_path, number)
    assert ended.returncode == 130
    assert ended.stderr.split("\n", 1)[1] == "w2s: interrupted; the same command goes on where it stopped\n"
    assert not ended.stderr.split("\n", 1)[0]


def test_under_nohup_a_terminal_that_goes_ends_nothing(tmp_path: Path) -> None:
    ended = w2s_struck(tmp_path, signal.SIGHUP, ignored=True)
    assert ended.returncode == 0, ended.stderr
