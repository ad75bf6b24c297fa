"""Dashboards in processes of their own: started together, watched, and ended with the parent process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from w2s_core.errors import UserError

START_S: Final = 90.0
END_S: Final = 5.0


@dataclass
class Server:
    """A dashboard's process. `name` is for people."""

    name: str
    process: subprocess.Popen[str]

    def wait_ready(self) -> None:
        """Wait until it serves.

        Raises:
            UserError: it cannot, with its reason.
        """
        import select

        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ""
        answer = (
            json.loads(line) if line else {"error": "it ended at once" if ready else "it does not answer"}
        )
        if "error" in answer:
            self.stop()
            raise UserError(f"{self.name} cannot start: {answer['error']}")

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process: by closing its input, then by signals. It is gone when this returns."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(END_S)
                return


def start_server(name: str, request: Mapping[str, Any]) -> Server:
    """Start a dashboard (see `child`); `wait_ready` says when it serves."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "w2s_analysis.dashboard.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C in the terminal reaches the parent alone, which then ends it
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(dict(request)) + "\n")
        process.stdin.flush()
    return Server(name, process)
