"""Planted secrets stand in nothing that commands write or print, and commands open no connection out of the machine."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.outside.conftest import ALL_SECRETS, QUERY_PASSWORD, RECIPE, SECRETS, USER_PASSWORD, Outside
from tests.tiny import write_plain
from w2s_core.engine import Context, Store, run_graph, step
from w2s_core.errors import UserError

PLANTED = f"postgresql://u:{USER_PASSWORD}@127.0.0.1:9/x"
QUERY = f"postgresql://127.0.0.1:9/x?password={QUERY_PASSWORD}&user=u"


def write_study(folder: Path) -> None:
    """An experiment and a study of two cells over it."""
    write_plain(
        folder,
        task={"name": "mini", "options": {"train_2": 12, "dev": 2, "test": 2, "levels": [1, 2]}},
        sft={"learning_rate": 3e-3, "max_steps": 1, "batch_size": 2},
        shots=1,
    )
    study = {"name": "study", "base": "plain.yaml", "space": {"sft.learning_rate": [1e-3, 3e-3]}}
    (folder / "study.yaml").write_text(json.dumps(study))


def leaks(outside: Outside) -> list[str]:
    """Where a planted secret stands: files by their path, and what was printed."""
    inputs = {outside.home / ".netrc"}
    files = [path for path in outside.folder.rglob("*") if path.is_file() and path not in inputs]
    texts = {str(path.relative_to(outside.folder)): path.read_bytes() for path in files}
    texts |= {f"output {number}": text.encode() for number, text in enumerate(outside.output)}
    return [
        f"{place}: {secret}"
        for place, text in texts.items()
        for secret in ALL_SECRETS
        if secret.encode() in text
    ]


def records(outside: Outside) -> list[dict[str, Any]]:
    store = Store(outside.folder / "store")
    return [store.refs.read(name) for name in store.refs.names()]


def dashboard(outside: Outside, *options: str) -> None:
    """Start it, look at each of its pages, end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "w2s_core.cli", "--store", "store", "dashboard", *options],
        cwd=outside.folder, env=outside.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        for line in lines:
            address = line.split()[1].removeprefix("http://").partition("/")
            connection = http.client.HTTPConnection(address[0], timeout=30)
            connection.request("GET", f"/{address[2]}")
            outside.output.append(connection.getresponse().read().decode())
            connection.close()
        process.send_signal(signal.SIGINT)
        outside.output += process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def used(outside: Outside) -> Outside:
    """After the commands that write and print most, and errors that have a reason to show an address."""
    write_study(outside.folder)
    outside.w2s("plan", "plain.yaml")
    outside.w2s("run", "plain.yaml", "--wandb", "--trackio", "--workers", 2)
    database = f"sqlite:///{outside.folder}/store/studies.db?password={QUERY_PASSWORD}"
    outside.w2s("sweep", "study.yaml", "--storage", database)
    for storage in (PLANTED, QUERY, PLANTED.replace(":9", ":port"), f"u:{USER_PASSWORD}"):
        outside.w2s("sweep", "study.yaml", "--storage", storage, status=2)
    outside.w2s("dashboard", "--storage", QUERY, status=2)
    for command in (
        ("runs",),
        ("show", "plain"),
        ("verify",),
        ("gc", "--dry-run"),
        ("tables", "--study", "study"),
    ):
        outside.w2s(*command)
    outside.w2s("run", "plain.yaml", f"api_key={QUERY_PASSWORD}", status=2)
    outside.w2s("run", "plain.yaml", "--workers", f"token={QUERY_PASSWORD}", status=2)
    dashboard(outside, "--storage", database)
    return outside


@pytest.mark.slow
def test_no_connection_leaves_the_machine_but_that_of_doctor(used: Outside) -> None:
    assert used.connections == []
    assert used.proxied == []
    pages = [text for text in used.output if "<html" in text]
    assert len(pages) == 3
    assert not [url for page in pages for url in re.findall(r'(?:src|href)="(https?://[^"]*)"', page)]
    used.w2s("doctor", "plain.yaml")  # it asks whether the hub answers, and says so
    assert {call.split()[1] for call in used.proxied} <= {b"huggingface.co:443"}


@pytest.mark.slow
def test_no_secret_is_written_or_printed(used: Outside) -> None:
    (command,) = {tuple(record["command"]) for record in records(used) if record.get("study")}
    assert command[-1].endswith("studies.db?password=[redacted]")
    assert not leaks(used)


@pytest.mark.slow
def test_neither_the_home_nor_the_folder_of_temporary_files_need_be_writable(
    used: Outside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can make a folder in /proc, which is also another file system than the store's."""
    for name in ("HOME", "TMPDIR"):
        monkeypatch.setenv(name, "/proc")
    command = [sys.executable, "-m", "w2s_core.cli", "--import", RECIPE, "--store", tmp_path / "store"]
    arguments = ["run", "plain.yaml", "--trackio", "--out", tmp_path / "out"]
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        cwd=used.folder, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    here, there = Store(tmp_path / "store"), Store(used.folder / "store")
    assert (keys := list(here.keys()))
    assert all(here.manifest(key)["files"] == there.manifest(key)["files"] for key in keys)
    assert (tmp_path / "store" / "trackers" / "trackio" / "w2s.db").exists()


def test_the_guard_sees_what_it_is_to_refuse(outside: Outside) -> None:
    done = outside.python("-c", "import socket; socket.create_connection(('192.0.2.1', 80))")
    assert "the guard refuses" in done.stderr
    assert "192.0.2.1" in outside.connections[0]
    outside.log.unlink()


@step(version=1)
def tells(ctx: Context) -> dict[str, Any]:
    raise ValueError(f"cannot log in with {os.environ['WANDB_API_KEY']}")


@step(version=1)
def refuses(ctx: Context) -> dict[str, Any]:
    raise UserError(f"cannot log in with {os.environ['WANDB_API_KEY']}")


def test_a_failing_step_tells_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRETS["WANDB_API_KEY"])
    outcome = run_graph({"a": tells(), "b": refuses()}, Store(tmp_path))
    reasons = [*outcome.failed.values(), *outcome.stopped.values()]
    assert [reason.count("cannot log in with [redacted]") for reason in reasons] == [1, 1]
    (log,) = (tmp_path / "logs").iterdir()
    assert SECRETS["WANDB_API_KEY"] not in log.read_text()
    assert "ValueError: cannot log in with [redacted]" in log.read_text()
