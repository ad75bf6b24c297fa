"""A stored run in real trackers, read back from their files; nothing leaves the machine, nothing is doubled."""

import json
import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.tracking.offline import read_offline_runs
from w2s_core.engine import Context, Handle, Store, run_graph, step
from w2s_core.rows import write_json, write_rows
from w2s_core.tracking import Job, mirror, mirror_run, send, trackers


@step(version=1)
def tracked_model(ctx: Context, *, log: list[dict[str, Any]]) -> dict[str, Any]:
    if log:
        write_json(ctx.out / "training.json", {"method": "sft", "log": log})
    return {}


@step(version=1)
def tracked_sample(ctx: Context, *, model: Path) -> dict[str, Any]:
    return {}


@step(version=1)
def tracked_grade(ctx: Context, *, responses: Path, verdicts: list[list[str]]) -> dict[str, Any]:
    write_rows(
        ctx.out / "grades.parquet", [{"id": str(i), "verdicts": one} for i, one in enumerate(verdicts)]
    )
    return {}


def greedy(log: Sequence[Mapping[str, Any]], *verdicts: str) -> Handle:
    model = tracked_model(log=list(log))
    return tracked_grade(responses=tracked_sample(model=model), verdicts=[[one] for one in verdicts])


SFT: list[dict[str, Any]] = [
    {"step": 10, "loss": 2.0, "learning_rate": 1e-3, "note": "x"},
    {"step": 20, "loss": 1.0},
    {"loss": 9.0},
]
DPO: list[dict[str, Any]] = [{"step": 5, "loss": 0.6931, "chosen_length": 40.5}, {"step": 10, "loss": 0.5}]
CURVES = {
    5: {"dpo/loss": 0.6931, "dpo/chosen_length": 40.5},
    10: {"dpo/loss": 0.5, "hybrid_ft_1/loss": 2.0, "hybrid_ft_1/learning_rate": 1e-3},
    20: {"hybrid_ft_1/loss": 1.0},
}
SUMMARY = {
    "accuracy/test/dpo": 0.75,
    "accuracy/test/hybrid_ft_1": 0.5,
    "accuracy/test/zero_shot": 0.0,
    "sampled_accuracy/test/dpo": 0.5,
    "label_precision/agreed_1": 1.0,
    "label_rows/agreed_1": 2,
    "label_rows/weak_0": 0,
}


@pytest.fixture(scope="module")
def targets() -> dict[str, Handle]:
    dpo = tracked_sample(model=tracked_model(log=DPO))
    return {
        "greedy/test/hybrid_ft_1": greedy(SFT, "right", "wrong"),
        "greedy/test/dpo": tracked_grade(responses=dpo, verdicts=[["right"]] * 3 + [["timed_out"]]),
        "greedy/test/zero_shot": greedy([], "unparsed"),
        "samples/test/dpo": tracked_grade(
            responses=dpo, verdicts=[["right", "wrong"], ["unparsed", "right"]]
        ),
        "labels/agreed_1": greedy([], "right", "right"),
        "labels/weak_0": greedy([]),
        "pairs": tracked_sample(model=tracked_model(log=[])),
    }


def store_with_run(root: Path, targets: dict[str, Handle], compute: list[str] | None = None) -> Store:
    store = Store(root)
    record = {
        "run": "mini/llama 0",
        "task": "stories",
        "experiment": {"seed": 3, "hf_token": "hidden-value", "max_new_tokens": 64},
        "command": ["w2s", "run", "x.yaml", "api_key=hidden-value"],
        "targets": {label: handle.key for label, handle in targets.items()},
    }
    store.refs.write("mini-llama-0", record)
    run_graph(
        {label: targets[label] for label in (targets if compute is None else compute)}, store, runtime={}
    )
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, targets: dict[str, Handle]) -> Store:
    return store_with_run(tmp_path_factory.mktemp("store"), targets)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs that are sent, kept here instead."""
    sent: list[Job] = []
    monkeypatch.setattr(mirror, "send", lambda tracker, job, warn: sent.append(job))
    return sent


def test_curves_are_joined_by_step_and_accuracies_are_counted(store: Store, jobs: list[Job]) -> None:
    mirror_run(store, "mini-llama-0", ["trackio"], store.root, values={"objective": 0.5})
    (job,) = jobs
    assert list(job.rows) == list(CURVES.items())
    assert job.summary == SUMMARY | {"objective": 0.5}


def test_an_unfinished_run_is_shown_as_far_as_it_is(
    tmp_path: Path, targets: dict[str, Handle], jobs: list[Job]
) -> None:
    store = store_with_run(tmp_path, targets, compute=["greedy/test/hybrid_ft_1"])
    mirror_run(store, "mini-llama-0", ["wandb"], tmp_path)
    (job,) = jobs
    assert {name for _, row in job.rows for name in row} == {"hybrid_ft_1/loss", "hybrid_ft_1/learning_rate"}
    assert job.summary == {"accuracy/test/hybrid_ft_1": 0.5}


def test_a_damaged_result_is_a_warning(tmp_path: Path, targets: dict[str, Handle]) -> None:
    store = store_with_run(tmp_path / "store", targets)
    key = targets["greedy/test/dpo"].key
    (store.folder(key) / "grades.parquet").write_bytes(b"other")
    warnings: list[str] = []
    mirror_run(Store(tmp_path / "store"), "mini-llama-0", [], tmp_path, warn=warnings.append)
    assert len(warnings) == 1
    assert key[:12] in warnings[0]


def test_a_damaged_result_hides_no_curve_and_no_objective(
    tmp_path: Path, targets: dict[str, Handle], jobs: list[Job]
) -> None:
    store = store_with_run(tmp_path / "store", targets)
    (store.folder(targets["greedy/test/dpo"].key) / "grades.parquet").write_bytes(b"other")
    warnings: list[str] = []
    mirror_run(
        Store(store.root),
        "mini-llama-0",
        ["wandb"],
        tmp_path,
        values={"objective": 0.5},
        warn=warnings.append,
    )
    assert len(warnings) == 1
    assert (list(jobs[0].rows), jobs[0].summary) == (list(CURVES.items()), {"objective": 0.5})


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Make each way out of the machine a trap that notes who took it: Python's sockets, proxies, the server of W&B."""
    caught = tmp_path / "caught.txt"
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import socket\n"
        "def refuse(self, address, *rest):\n"
        "    if self.family == socket.AF_UNIX or address[0] in ('127.0.0.1', '::1', 'localhost'):\n"
        "        return real(self, address, *rest)\n"
        f"    open({str(caught)!r}, 'a').write(f'python {{address}}\\n')\n"
        "    raise OSError('no network here')\n"
        "real, socket.socket.connect = socket.socket.connect, refuse\n"
    )
    monkeypatch.syspath_prepend(str(hook))
    listener = socket.create_server(("127.0.0.1", 0))
    there = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def wait() -> None:
        try:
            while True:
                listener.accept()[0].close()
                with caught.open("a") as file:
                    file.write("proxy or server\n")
        except OSError:
            return

    threading.Thread(target=wait, daemon=True).start()
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "WANDB_BASE_URL",
        "HF_ENDPOINT",
        "TRACKIO_SERVER_URL",
    ):
        monkeypatch.setenv(name, there)
        if name.endswith("PROXY"):
            monkeypatch.setenv(name.lower(), there)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 34)
    monkeypatch.setenv("TRACKIO_WRITE_TOKEN", "write-token-value")
    yield lambda: caught.read_text().splitlines() if caught.exists() else []
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def test_the_traps_catch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traps: Callable[[], list[str]]
) -> None:
    monkeypatch.setattr(
        trackers, "BACKENDS", {"fake": ("Fake", "tests.tracking.backends_that_fail:calls_home")}
    )
    warnings: list[str] = []
    send("fake", Job("r", "0", {}, str(tmp_path)), warnings.append)
    assert traps() == ["proxy or server", "python ('192.0.2.1', 443)"]
    assert "no network here" in warnings[0]


def test_wandb_offline(store: Store, tmp_path: Path, traps: Callable[[], list[str]]) -> None:
    warnings: list[str] = []
    for _ in range(2):  # the second takes the place of the first
        mirror_run(store, "mini-llama-0", ["wandb"], tmp_path / "trackers", warn=warnings.append)
    assert warnings == []
    (run,) = read_offline_runs(tmp_path / "trackers" / "wandb")
    assert run["rows"] == CURVES
    assert {name: value for name, value in run["summary"].items() if name in SUMMARY} == SUMMARY
    assert (run["name"], run["group"]) == ("mini-llama-0", "stories")
    assert not [
        path
        for path in run["file"].parent.rglob("*")
        if path.is_file() and b"hidden-value" in path.read_bytes()
    ]
    assert traps() == []
    assert not list((tmp_path / "trackers").rglob("*requirements*"))


def test_trackio(
    store: Store, tmp_path: Path, traps: Callable[[], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    warnings: list[str] = []
    for _ in range(2):
        mirror_run(store, "mini-llama-0", ["trackio"], tmp_path / "trackers", warn=warnings.append)
    assert warnings == []
    with sqlite3.connect(tmp_path / "trackers" / "trackio" / "w2s.db") as database:
        found = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY step").fetchall()
        configs = database.execute("SELECT config FROM configs").fetchall()
    assert {name for name, _, _ in found} == {"mini-llama-0"}
    assert [(step, json.loads(metrics)) for _, step, metrics in found] == [*CURVES.items(), (21, SUMMARY)]
    assert len(configs) == 1
    config = json.loads(configs[0][0])
    assert config["experiment"]["max_new_tokens"] == 64
    assert b"hidden-value" not in configs[0][0]
    assert traps() == []
    assert "token" not in "".join(capfd.readouterr())


@pytest.mark.slow
def test_a_locked_trackio_database_is_one_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    (tmp_path / "trackio").mkdir()
    with sqlite3.connect(tmp_path / "trackio" / "w2s.db") as other:
        other.execute("begin exclusive")
        send("trackio", Job("r", "0", {}, str(tmp_path), [(1, {"loss": 1.0})]), warnings.append)
    other.close()
    reason = "OperationalError: database is locked"
    assert warnings == [f"Trackio did not mirror this run ({reason}); its results are not affected"]


def test_wandb_online_without_a_login_goes_on_offline(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    assert "WANDB_API_KEY" not in os.environ
    warnings: list[str] = []
    mirror_run(store, "mini-llama-0", ["wandb"], tmp_path, online=True, warn=warnings.append)
    assert len(warnings) == 1
    assert "wandb login" in warnings[0]
    assert "recorded offline" in warnings[0]
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
