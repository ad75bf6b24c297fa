"""Backends that go wrong in every way that a library may. They run in the tracker's own process."""

import os
import socket
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


class Fine:
    """Writes what it is told to a file, so that a test can read it."""

    def __init__(self, *, config: dict[str, Any], **_: Any) -> None:
        self.note: str | None = config.get("note")
        self.file = open(config["file"], "a", encoding="utf-8")  # noqa: PTH123, SIM115

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.file.write(f"log {step} {dict(metrics)}\n")

    def summary(self, values: Mapping[str, float]) -> None:
        self.file.write(f"summary {dict(values)}\n")

    def finish(self) -> None:
        self.file.write("finish\n")
        self.file.close()


class FailsToStart(Fine):
    def __init__(self, **_: Any) -> None:
        raise ImportError("No module named 'tracker' (key=sk-aaaaaaaaaaaaaaaaaaaaaaaa)")


class FailsToLog(Fine):
    def log(self, metrics: Mapping[str, float], step: int) -> None:
        raise RuntimeError("disk full\nand more lines")


class HangsAtStart(Fine):
    def __init__(self, **_: Any) -> None:
        time.sleep(600)


class HangsAtFinish(Fine):
    def finish(self) -> None:
        time.sleep(600)


class Dies(Fine):
    def log(self, metrics: Mapping[str, float], step: int) -> None:
        os._exit(7)


class Exits(Fine):
    def log(self, metrics: Mapping[str, float], step: int) -> None:
        raise SystemExit("bye")


class Chatters(Fine):
    """Prints where the answers go, and asks a question."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        print("write token: 123")
        os.write(1, b'{"error": "not mine"}\n')
        try:
            input("API key? ")
        except EOFError:
            self.file.write("nobody answered\n")


class CallsHome(Fine):
    """Looks for two ways out of the machine: through a proxy, and straight."""

    def __init__(self, **_: Any) -> None:
        with suppress(OSError):
            urllib.request.urlopen("http://example.invalid/", timeout=5)
        time.sleep(0.2)  # the listener notes its guest in a thread
        socket.create_connection(("192.0.2.1", 443), timeout=1)
