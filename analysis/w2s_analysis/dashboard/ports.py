"""Ports on 127.0.0.1: free ones, or those that the user named."""

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from w2s_core.errors import UserError

HOST: Final = "127.0.0.1"
FIRST: Final = 8100
LAST: Final = 65535


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Hold this user's lock: two dashboards that start together would find the same ports free."""
    path = Path(tempfile.gettempdir()) / f"w2s-dashboard-{os.getuid()}.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        file = os.open(path, flags, 0o600)
    except OSError:  # another user's file of that name: go on without a lock, a taken port is refused later
        yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def choose_ports(count: int, first: int | None) -> list[int]:
    """Consecutive ports from `first` on; without it, the next free ones from 8100 on.

    Raises:
        UserError: a port that was asked for is in use, or may not be used; or none is free.
    """
    if first is None:
        return _free(count)
    ports = list(range(first, first + count))
    if ports[-1] > LAST:
        raise UserError(f"--port {first}: {count} ports are needed, and {LAST} is the last one")
    for port in ports:
        if reason := _trouble(port):
            need = f" ({count} are needed, {first} to {ports[-1]})" if count > 1 else ""
            raise UserError(f"port {port} {reason}{need}: name another with --port, or leave it out")
    return ports


def _free(count: int) -> list[int]:
    ports: list[int] = []
    for port in range(FIRST, LAST + 1):
        if _trouble(port) is None:
            ports.append(port)
            if len(ports) == count:
                return ports
    raise UserError(f"no {count} ports from {FIRST} on are free on {HOST}")


def _trouble(port: int) -> str | None:
    """Why a server cannot listen on a port, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a port whose server has just ended is free
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except PermissionError:
            return "needs the rights of the administrator"
        except OSError:
            return "is in use"
    return None
