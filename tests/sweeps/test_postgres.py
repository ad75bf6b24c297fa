"""A study in PostgreSQL: two drivers at once, a server that is killed, and a password that no message shows."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest

from tests.sweeps.test_sweep import assert_each_key_once, command, study_file, w2s
from tests.tiny import REPOSITORY, write_experiment, write_plain
from w2s_sweeps.storage import open_storage

pytestmark = pytest.mark.postgres
PASSWORD = "not-to-be-shown"


def programs() -> Path | None:
    """The folder of PostgreSQL's server programs; Debian does not put it on the path."""
    if program := shutil.which("initdb"):
        return Path(program).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return versions[-1].parent if versions else None


@dataclass
class Server:
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"postgresql://w2s:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._call(
            "pg_ctl",
            "-w",
            "-D",
            str(self.folder / "data"),
            "-o",
            options,
            "-l",
            str(self.folder / "log"),
            "start",
        )

    def kill(self) -> None:
        pid = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.killpg(os.getpgid(pid), signal.SIGKILL)
        time.sleep(1)

    def stop(self) -> None:
        self._call("pg_ctl", "-m", "immediate", "-D", str(self.folder / "data"), "stop")

    def create(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        shutil.chown(self.folder / "password", *self._owner())
        arguments = ("-U", "w2s", "-A", "scram-sha-256", "--pwfile", str(self.folder / "password"))
        self._call("initdb", "-D", str(self.folder / "data"), *arguments)

    def _owner(self) -> tuple[str, str] | tuple[int, int]:
        return ("postgres", "postgres") if os.geteuid() == 0 else (os.getuid(), os.getgid())

    def _call(self, program: str, *arguments: str) -> None:
        folder = programs()
        assert folder
        as_user = (
            ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        )  # it refuses to run as root
        subprocess.run(
            [*as_user, str(folder / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/"
        )


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if programs() is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt install postgresql)")
    pytest.importorskip("psycopg", reason="its driver is not installed: pip install 'w2s[postgres]'")
    folder = Path(os.path.realpath(subprocess.check_output(["mktemp", "-d"], text=True).strip()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        running = Server(folder, free.getsockname()[1])
    shutil.chown(folder, *running._owner())
    running.create()
    running.start()
    yield running
    if (folder / "data" / "postmaster.pid").exists():
        running.stop()
    shutil.rmtree(folder)


def states(server: Server) -> Counter[str]:
    study = optuna.load_study(study_name="tiny-study", storage=open_storage(server.url))
    return Counter(trial.state.name for trial in study.trials)


def test_two_drivers_at_once_share_one_study(server: Server, tmp_path: Path) -> None:
    write_experiment(tmp_path, evaluation={"samples": 0})
    path, store = study_file(tmp_path, sampler={"name": "tpe", "trials": 4, "batch": 2}), tmp_path / "store"
    drivers = [
        subprocess.Popen(
            command("sweep", path, "--storage", server.url, store=store),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for driver in drivers:
        _, output = driver.communicate(timeout=300)
        assert driver.returncode == 0, output[-2000:]
        assert PASSWORD.encode() not in output
    assert states(server) == {"COMPLETE": 4}
    assert_each_key_once(store)
    assert not (store / "studies.db").exists()


def test_a_server_that_is_killed_loses_nothing(server: Server, tmp_path: Path) -> None:
    write_experiment(tmp_path, evaluation={"samples": 0})
    path, store = study_file(tmp_path, test="none"), tmp_path / "store"
    driver = subprocess.Popen(
        command("sweep", path, "--storage", server.url, store=store), stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list((store / "objects").glob("*/*"))) < 10 and time.monotonic() < deadline:
        time.sleep(0.1)
    server.kill()
    _, output = driver.communicate(timeout=300)
    assert driver.returncode == 2
    last = output.strip().splitlines()[-1]
    assert "stopped answering" in last
    assert "the same command goes on" in last
    assert "Traceback" not in output
    assert PASSWORD not in output
    before = {path: path.stat().st_mtime_ns for path in (store / "objects").rglob("manifest.json")}
    server.start()
    w2s("sweep", path, "--storage", server.url, store=store)
    assert states(server) == {"COMPLETE": 4}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_server_that_is_restarted_does_not_stop_a_sweep(server: Server, tmp_path: Path) -> None:
    write_plain(tmp_path)
    study = {"name": "tiny-study", "base": "plain.yaml", "space": {"rounds": [1, 2]}}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    store = tmp_path / "store"
    plugin = ("--import", REPOSITORY / "tests" / "sweeps" / "plain_recipe.py")
    driver = subprocess.Popen(
        command(*plugin, "sweep", tmp_path / "study.yaml", "--storage", server.url, store=store),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(list((store / "objects").glob("*/*"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    server.stop()
    time.sleep(3)
    server.start()
    _, output = driver.communicate(timeout=300)
    assert driver.returncode == 0, output[-2000:]
    assert states(server) == {"COMPLETE": 2}


def test_a_server_that_is_not_there_is_one_line(server: Server, tmp_path: Path) -> None:
    write_experiment(tmp_path, evaluation={"samples": 0})
    path = study_file(tmp_path)
    server.stop()
    done = w2s("sweep", path, "--storage", server.url, store=tmp_path / "store", check=False)
    assert done.returncode == 2
    assert "cannot be reached" in done.stderr
    assert PASSWORD not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
