"""Trainings over several processes: the same training as in one, sharded or not, killed or not. Over gloo, on CPUs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.training.test_training import Start, settings
from tests.training.tiny import rows_for
from w2s_core.errors import UserError
from w2s_core.rows import read_json
from w2s_core.training import Site, launch, train, train_launched

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "experiments/accelerate"
TWO = CONFIGS / "cpu_2.yaml"
ROWS = 37
"""Two epochs make 9 steps of 8 rows and one of 2: the last has no row for one of the processes."""

pytestmark = pytest.mark.slow


@pytest.fixture
def sharded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped config for sharding, with two processes on processors (see `sharded_process.py`)."""
    fields = yaml.safe_load((CONFIGS / "fsdp_8gpu.yaml").read_text())
    path = tmp_path / "fsdp.yaml"
    path.write_text(yaml.safe_dump(fields | {"num_processes": 2, "use_cpu": True}))
    shard_on_processors(monkeypatch.setattr)
    return path


def shard_on_processors(put: Callable[..., None]) -> None:
    plain = launch._command
    module = {"w2s_core.training.process": "tests.training.sharded_process"}
    put(launch, "_command", lambda *given: [module.get(word, word) for word in plain(*given)])


def compute(how: Callable[..., Any], start: Start, folder: Path, job: Any, **extra: Any) -> dict[str, Any]:
    for name in ("out", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    progress = extra.pop("progress", None)
    site = Site(start[1], folder / "out", folder / "work", **extra)
    summary: dict[str, Any] = how(start[0], rows_for(job.method, ROWS), job, site, progress)
    return summary


def adapter(folder: Path, number: int = 0) -> dict[str, torch.Tensor]:
    if (folder / "out/weights").exists():
        return load_file(folder / "out/weights/model.safetensors")
    weights: dict[str, torch.Tensor] = load_file(folder / f"out/adapters/{number}/adapter_model.safetensors")
    return weights


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_json(folder / "out/training.json")["log"]]


@pytest.mark.parametrize("method", ["sft", "dpo", "orpo"])
def test_two_processes_train_as_one_with_twice_the_rows(start: Start, tmp_path: Path, method: str) -> None:
    job = settings(method, epochs=2)
    one = compute(train, start, tmp_path / "one", job)
    two = compute(lambda *a, **k: train_launched(TWO, *a, **k), start, tmp_path / "two", job)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["tokens"] == two["tokens"]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert furthest(adapter(tmp_path / "one"), adapter(tmp_path / "two")) < 1e-5


MANNERS: list[dict[str, Any]] = [
    {"method": "sft", "tuning": "full", "learning_rate": 1e-3},
    {"method": "dpo", "tuning": "full", "learning_rate": 1e-3},
    {"method": "sft", "lora_dora": True, "lora_dropout": 0.2},
    {"method": "sft", "optimizer": "adafactor", "max_grad_norm": 0.1},
    {"method": "dpo", "loss": "ipo"},
    {"method": "cpo", "lora_rslora": True, "lora_targets": ["q_proj"]},
    {"method": "simpo"},
]


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("change", MANNERS, ids=lambda change: "-".join(map(str, change.values())))
def test_so_they_do_in_every_manner_of_training(
    start: Start, tmp_path: Path, sharded: Path, change: dict[str, Any], spread: bool
) -> None:
    job, config = settings(epochs=2, **change), sharded if spread else TWO
    if spread and change in (MANNERS[1], MANNERS[3]):
        with pytest.raises(
            UserError, match=r"(all weights|Adafactor) is not sharded: use distributed_type: MULTI_GPU"
        ):
            compute(lambda *a, **k: train_launched(config, *a, **k), start, tmp_path / "two", job)
        return
    compute(train, start, tmp_path / "one", job)
    compute(lambda *a, **k: train_launched(config, *a, **k), start, tmp_path / "two", job)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    assert furthest(adapter(tmp_path / "one"), adapter(tmp_path / "two")) < 1e-4


@pytest.mark.parametrize("method", ["sft", "dpo", "orpo"])
def test_a_sharded_training_is_the_same_training(
    start: Start, tmp_path: Path, sharded: Path, method: str
) -> None:
    """The start has an adapter of its own, which the first process alone merges before it hands the weights out."""
    compute(train, start, tmp_path / "before", settings("sft", epochs=1))
    begun = (tmp_path / "before/out", start[1])
    job = settings(method, epochs=2)
    compute(train, begun, tmp_path / "one", job)
    compute(lambda *a, **k: train_launched(sharded, *a, **k), begun, tmp_path / "two", job)
    log = (tmp_path / "two/work/launch.log").read_text()
    assert "spread: (2, 32) of (4, 32)" in log
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert furthest(adapter(tmp_path / "one", 1), adapter(tmp_path / "two", 1)) < 1e-5


def test_micro_batches_of_two_processes(start: Start, tmp_path: Path) -> None:
    job = settings("dpo", epochs=1)
    compute(train, start, tmp_path / "one", job)
    compute(lambda *a: train_launched(TWO, *a), start, tmp_path / "two", job, micro_batch=3)
    assert furthest(adapter(tmp_path / "one"), adapter(tmp_path / "two")) < 1e-5


SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_processes import compute, shard_on_processors
from tests.training.test_training import settings
from w2s_core.rows import read_json
from w2s_core.training import train_launched

config, model, base, folder, sharded = map(Path, sys.argv[1:6])
if sharded.name == "yes":
    shard_on_processors(setattr)
bases = {read_json(model / "model.json")["base"]: str(base)}
compute(lambda *a, **k: train_launched(config, *a, **k), (model, bases), folder,
        settings("sft", epochs=12, lora_dropout=0.2), checkpoint_s=0.0)
"""


def begin(start: Start, config: Path, folder: Path, sharded: bool) -> "subprocess.Popen[bytes]":
    (base,) = start[1].values()
    words = [config, start[0], base, folder, "yes" if sharded else "no"]
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


def processes_in(folder: Path) -> list[int]:
    """The processes of a launched training: they have its job on their command line."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder / "work/job.json") in one.read_text():
                found.append(int(one.parent.name))
        except OSError:
            continue
    return found


def wait_for(what: Callable[[], Any], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("spread", [False, True], ids=["data parallel", "sharded"])
@pytest.mark.parametrize("victim", ["parent", "process"])
def test_kill_9_ends_all_processes_and_the_next_try_goes_on(
    start: Start, tmp_path: Path, sharded: Path, spread: bool, victim: str
) -> None:
    config = sharded if spread else TWO
    assert begin(start, config, tmp_path / "straight", spread).wait() == 0
    folder = tmp_path / "killed"
    parent = begin(start, config, folder, spread)
    wait_for(lambda: list(folder.glob("work/checkpoint-*[0-9]")))
    os.kill(parent.pid if victim == "parent" else max(processes_in(folder)), signal.SIGKILL)
    assert parent.wait() != 0
    wait_for(lambda: not processes_in(folder), 20)
    assert not (folder / "out/model.json").exists()
    (kept,) = folder.glob("work/checkpoint-*[0-9]")
    step = int(kept.name.rpartition("-")[2])
    again = begin(start, config, folder, spread)
    assert again.wait() == 0
    assert furthest(adapter(folder), adapter(tmp_path / "straight")) == 0
    assert losses(folder) == losses(tmp_path / "straight")
    assert step >= 1


def test_an_error_of_one_process_is_the_command_s_one_line(start: Start, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="all 37 rows are longer than 5 tokens"):
        compute(lambda *a, **k: train_launched(TWO, *a, **k), start, tmp_path, settings("sft", max_length=5))


def test_a_field_that_accelerate_does_not_know_is_named(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "odd.yaml"
    config.write_text(TWO.read_text() + "machines: 3\n")
    with pytest.raises(RuntimeError, match="machines"):
        compute(lambda *a, **k: train_launched(config, *a, **k), start, tmp_path, settings("sft"))


def test_an_interrupt_leaves_no_process_behind(start: Start, tmp_path: Path) -> None:
    def stop(done: float, *_: Any, **__: Any) -> None:
        if done:
            raise KeyboardInterrupt

    job = settings("sft", epochs=40)
    with pytest.raises(KeyboardInterrupt):
        compute(lambda *a, **k: train_launched(TWO, *a, **k), start, tmp_path, job, progress=stop)
    wait_for(lambda: not processes_in(tmp_path), 20)
