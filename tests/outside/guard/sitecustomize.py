"""On PYTHONPATH, refuses and notes each connection that a Python process tries to open out of this machine."""

import os
import socket
import sys
from typing import Any

LOOKUPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


def _is_local(host: object) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    own = ("", "localhost", "::1", "0.0.0.0", "::", socket.gethostname())
    return name is None or name in own or (isinstance(name, str) and name.startswith("127."))


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # else a path of this machine
    elif event in LOOKUPS:
        host = arguments[0]
    else:
        return
    if not _is_local(host):
        with open(os.environ["GUARD_LOG"], "a") as log:  # noqa: PTH123 - imports as little as possible
            log.write(f"{event} {host!r} by {sys.argv}\n")
        raise OSError("the guard refuses connections out of this machine")


sys.addaudithook(_refuse)
