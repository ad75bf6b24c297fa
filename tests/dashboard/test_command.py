"""The command as a user starts it: addresses, ports, mistakes in one line, and nothing left behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dashboard.stores import add_run
from w2s_analysis.dashboard.ports import choose_ports
from w2s_analysis.dashboard.serve import make_plan
from w2s_core.engine import Store
from w2s_core.errors import UserError

START_S = 90.0


@contextmanager
def listener() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        yield taken.getsockname()[1]


def test_ports_are_free_ones_or_those_named() -> None:
    with listener() as taken:
        assert taken not in choose_ports(3, None)
        with pytest.raises(
            UserError, match=rf"^port {taken} is in use: name another with --port, or leave it out$"
        ):
            choose_ports(1, taken)
        if taken > 1024:
            with pytest.raises(
                UserError, match=rf"^port {taken} is in use \(2 are needed, {taken - 1} to {taken}\)"
            ):
                choose_ports(2, taken - 1)
    with pytest.raises(UserError, match="65535 is the last one"):
        choose_ports(3, 65534)


def test_no_store_is_one_line_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^there is no store at .*: name one with --store, or make one with: w2s run "
    ):
        make_plan(tmp_path / "mistyped", None, None)
    assert not (tmp_path / "mistyped").exists()


def test_an_empty_store_says_how_to_make_a_run(store: Store) -> None:
    with pytest.raises(UserError, match=r"^no run in .* yet: make one with: w2s run experiments/"):
        make_plan(store.root, None, None)


def test_an_unknown_study_names_the_known_ones(shown_store: Store) -> None:
    with pytest.raises(UserError, match=r"^no study is named 'ablatoin' in .*; known: ablation$"):
        make_plan(shown_store.root, "ablatoin", None)
    plan = make_plan(shown_store.root, "ablation", None)
    assert (plan.study, plan.studies, plan.curves) == ("ablation", {}, None)
    assert not (shown_store.root / "studies.db").exists()


def test_a_store_without_studies_says_so(store: Store) -> None:
    add_run(store, "one")
    with pytest.raises(UserError, match=r"the store holds none; start one with: w2s sweep"):
        make_plan(store.root, "any", None)


def test_a_storage_that_is_not_there_is_one_line_and_not_made(shown_store: Store, tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    with pytest.raises(UserError, match=r"there is no file .*none\.db"):
        make_plan(shown_store.root, None, f"sqlite:///{file}")
    assert not file.exists()
    with pytest.raises(UserError, match="is no database URL"):
        make_plan(shown_store.root, None, "studies")


def test_studies_are_found_in_optunas_database(shown_store: Store, tmp_path: Path) -> None:
    import optuna

    url = f"sqlite:///{tmp_path / 'studies.db'}"
    for name in ("first", "second"):
        optuna.create_study(storage=url, study_name=name)
    assert make_plan(shown_store.root, "second", url).studies == {"first": 1, "second": 2}


# The processes


@contextmanager
def started(store: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command in a process of its own, and its addresses by name, once it serves."""
    process = subprocess.Popen(
        [sys.executable, "-m", "w2s_analysis.dashboard", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "W2S_STORE": str(store)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first, process.stderr.read() if process.stderr else ""
        addresses = dict([first.split()])
        expected = 1 + (store / "studies.db").exists() + (store / "trackers").exists()
        addresses |= dict(process.stdout.readline().split() for _ in range(expected - 1))
        yield process, addresses
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def answers(address: str, host: str | None = None) -> int:
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def handshake(port: int, host: str) -> int:
    """The status that asking for the page's websocket under a host's name gets, from a page of that origin."""
    lines = (
        f"GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(lines.encode())
        return int(connection.recv(200).split()[1])


def refused(address: str) -> bool:
    try:
        answers(address)
    except OSError:
        return True
    return False


def wait_refused(address: str, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not refused(address):
        assert time.monotonic() < until, f"{address} still answers"
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(number) for number in listed.stdout.split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def fill_beside(store: Store) -> None:
    """A study for Optuna, and curves for Trackio."""
    import optuna

    from w2s_core.tracking import Job, run_id, send

    optuna.create_study(storage=f"sqlite:///{store.root / 'studies.db'}", study_name="ablation").add_trial(
        optuna.trial.create_trial(
            params={"keep": 0.5},
            distributions={"keep": optuna.distributions.FloatDistribution(0, 1)},
            value=0.7,
        )
    )
    rows = [(1, {"sft/loss": 1.0}), (2, {"sft/loss": 0.5})]
    send("trackio", Job("one", run_id("one", {}), {}, str(store.root / "trackers"), rows))


def port_of_our_own() -> int:
    """One that tests side by side do not find free too: the kernel gives each another."""
    with listener() as port:
        return port


def end_with(number: int, store: Store, port: int) -> None:
    with started(store.root, "--port", str(port)) as (process, addresses):
        assert addresses == {"runs": f"http://127.0.0.1:{port}/"}
        assert answers(addresses["runs"]) == 200
        process.send_signal(number)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert refused(addresses["runs"])


def test_ctrl_c_ends_it_quietly(shown_store: Store) -> None:
    end_with(signal.SIGINT, shown_store, port_of_our_own())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_quietly_and_another_start_may_use_the_port(store: Store, number: int) -> None:
    add_run(store, "one")
    port = port_of_our_own()
    for _ in range(2):
        end_with(number, store, port)


def test_a_port_in_use_is_one_line(store: Store) -> None:
    add_run(store, "one")
    with listener() as taken:
        ended = subprocess.run(
            [sys.executable, "-m", "w2s_analysis.dashboard", "--port", str(taken)],
            capture_output=True, text=True, timeout=START_S, check=False,
            env={**os.environ, "W2S_STORE": str(store.root)},
        )  # fmt: skip
    assert ended.returncode != 0
    assert ended.stderr.strip() == f"w2s: port {taken} is in use: name another with --port, or leave it out"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_all_three_serve_and_no_process_is_left(store: Store, number: int) -> None:
    add_run(store, "one", study="ablation")
    fill_beside(store)
    with started(store.root, "ablation") as (process, addresses):
        assert set(addresses) == {"runs", "Optuna", "Trackio"}
        assert addresses["Optuna"].endswith("/dashboard/studies/1")
        for address in addresses.values():
            assert address.startswith("http://127.0.0.1:")
            assert answers(address) == 200
        assert "write_token" not in str(addresses)
        for address in addresses.values():
            port = address.split(":")[2].split("/")[0]
            assert answers(address, host=f"localhost:{port}") == 200
            for host in (f"evil.example:{port}", f"127.0.0.1.evil.example:{port}"):
                assert answers(address, host=host) in (400, 403, 404)
                assert handshake(int(port), host) in (400, 403, 404)
        spawned = children(process.pid)
        assert len(spawned) == 2
        process.send_signal(number)
        assert process.wait(30) == (0 if number == signal.SIGTERM else -number)
        for address in addresses.values():
            wait_refused(address)
        assert all(gone(pid) for pid in spawned)


@pytest.mark.slow
def test_a_storage_that_a_dashboard_cannot_read_is_one_line(store: Store) -> None:
    add_run(store, "one")
    (store.root / "studies.db").write_text("no database at all, though it is long enough to have a header")
    ended = subprocess.run(
        [sys.executable, "-m", "w2s_analysis.dashboard"],
        capture_output=True, text=True, timeout=START_S, check=False,
        env={**os.environ, "W2S_STORE": str(store.root)},
    )  # fmt: skip
    assert ended.returncode != 0
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "cannot be reached: file is not a database" in ended.stderr
