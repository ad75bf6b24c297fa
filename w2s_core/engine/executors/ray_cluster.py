"""The Ray cluster that a command uses: started on this machine or joined, and how much there is of it."""

import importlib.util
import os
import signal
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from w2s_core.engine.walk import Needs
from w2s_core.errors import UserError

REACH_S = 5.0
GONE_S = 15.0  # Ray itself ends the process without a word to it after 60 s
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent home
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a step without a GPU sees none
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # what happened to a node is told by our events, not by its log on stdout
}
"""What Ray reads from the environment when it is imported. A user's own setting stays."""


def require_ray() -> None:
    """Raises UserError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed: pip install 'w2s[ray]', or leave --executor at local")


@contextmanager
def ray_cluster(address: str | None = None, workers: int | None = None) -> Iterator[None]:
    """A cluster for the calls of `run_graph` inside: one of this machine, `workers` CPUs large (None: all), or the
    one at `address` ("auto", "host:port"; by default RAY_ADDRESS). One that this process has joined is left as it is.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be joined or started.
    """
    require_ray()
    for name, setting in SETTINGS.items():
        os.environ.setdefault(name, setting)
    import ray

    if ray.is_initialized():
        yield
        return
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    if address == "local" and workers:
        options["num_cpus"] = workers
    _check_address(address)
    try:
        with _own_signals():
            ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        doing = "start Ray" if address == "local" else f"join the Ray cluster '{address}'"
        raise UserError(f"cannot {doing}: {first_line(error)}") from None
    try:
        yield
    finally:
        with _own_signals():
            ray.shutdown()


class Capacity:
    """How many CPUs and GPUs the nodes of the joined cluster have; `most` limits the CPUs that are used of them."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._nodes: list[Needs] = []
        self._answered = time.monotonic()
        self.look()

    def look(self) -> bool:
        """See how large the cluster is now, since nodes come and go. Returns whether that has changed.

        Raises:
            UserError: its head is gone.
        """
        import ray

        if not self._head_answers(ray.get_runtime_context().gcs_address):
            return False
        before = self._nodes
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._nodes = [(node.get("CPU", 0), node.get("GPU", 0)) for node in alive]
        return self._nodes != before

    @property
    def total(self) -> Needs:
        """All CPUs that may be used, and all GPUs."""
        cpus, gpus = (sum(node[kind] for node in self._nodes) for kind in (0, 1))
        return (min(cpus, self._most) if self._most else cpus), gpus

    def _head_answers(self, address: str) -> bool:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0).close()
        except OSError as error:
            if time.monotonic() > self._answered + GONE_S:
                raise UserError(
                    f"the Ray cluster ended: its head at {address} does not answer ({first_line(error)}). "
                    "What is computed is kept; the same command goes on"
                ) from None
            return False
        self._answered = time.monotonic()
        return True

    def has_room(self, needs: Needs, used: Iterable[Needs]) -> bool:
        """Whether there is room for a step beside our own. What other drivers use on the cluster, Ray minds."""
        held = [needs, *used]
        return all(sum(each[kind] for each in held) <= self.total[kind] for kind in (0, 1) if needs[kind])

    def has_node(self, needs: Needs) -> bool:
        """Whether any node could run such a step if it were idle; Ray would wait for one for ever."""
        fitting = any(node[0] >= needs[0] and node[1] >= needs[1] for node in self._nodes)
        return fitting and self.total[0] >= needs[0]


def _check_address(address: str) -> None:
    """Ray tries for minutes to reach a port that nobody listens at."""
    host, colon, port = address.rpartition(":")
    if "://" in address:
        raise UserError(
            f"--address {address}: start the command on a node of the cluster, and give host:port or auto"
        )
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot reach a Ray cluster at {address} ({error}); `ray status` shows its address"
        ) from None


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray sets a handler of SIGTERM that ends the process with a traceback: keep ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def first_line(error: BaseException) -> str:
    """What an error says, as one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
