"""Interrupted trainings: a resumed one equals the straight one, bit for bit."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import pytest
import torch

from tests.training.test_training import Start, files, run, settings
from tests.training.tiny import rows_for
from w2s_core.rows import read_json
from w2s_core.training import Site, train
from w2s_core.training.checkpoints import latest
from w2s_core.training.settings import Optimizer

ROOT = Path(__file__).resolve().parents[2]


class Stopped(Exception):
    """Stands for whatever ends a process."""


def stop_at(step: int) -> Any:
    def progress(done: int, total: int, **_: Any) -> None:
        if done == step:
            raise Stopped

    return progress


def again(start: Start, folder: Path, method: str, count: int = 40, **change: Any) -> list[int]:
    """Train in a folder that was trained in before; returns the steps that were taken."""
    steps: list[int] = []

    def progress(done: int, *_: Any, **__: Any) -> None:
        if done:  # DPO's reference comes before the first step
            steps.append(done)

    train(
        start[0],
        rows_for(method, count),
        JOB(method, **change),
        Site(start[1], folder / "out", folder / "work"),
        progress,
    )
    return steps


def JOB(method: str, **change: Any) -> Any:  # noqa: N802
    """15 steps over 3 epochs; of an adapter with dropout, whose random state has to be kept too."""
    dropout = {} if change.get("tuning") == "full" else {"lora_dropout": 0.2}
    return settings(method, **{"epochs": 3} | dropout | change)


def log_of(folder: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = read_json(folder / "out/training.json")["log"]
    return found


def interrupted(
    start: Start, folder: Path, method: str, step: int = 13, change: Any = MappingProxyType({}), **extra: Any
) -> None:
    with pytest.raises(Stopped):
        run(
            start,
            folder,
            rows_for(method, 40),
            JOB(method, **change),
            progress=stop_at(step),
            checkpoint_s=0.0,
            **extra,
        )
    assert files(folder / "out") == {}


@pytest.mark.parametrize("method", ["sft", "dpo", "orpo"])
def test_a_resumed_training_equals_the_straight_one(start: Start, tmp_path: Path, method: str) -> None:
    run(start, tmp_path / "straight", rows_for(method, 40), JOB(method))
    interrupted(start, tmp_path / "cut", method)
    assert again(start, tmp_path / "cut", method) == [11, 12, 13, 14, 15]
    assert files(tmp_path / "cut/out/adapters") == files(tmp_path / "straight/out/adapters")
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "straight")


MANNERS: list[dict[str, Any]] = [
    {"lora_dora": True},
    {"lora_rslora": True, "lora_targets": ["q_proj", "up_proj"]},
    {"max_grad_norm": 0.05, "weight_decay": 0.1},
    *({"optimizer": name} for name in get_args(Optimizer)),
    *({"optimizer": name, "tuning": "full", "learning_rate": 1e-3} for name in get_args(Optimizer)),
]
OTHER_METHODS: list[dict[str, Any]] = [
    {"method": "dpo", "tuning": "full", "learning_rate": 1e-3},
    {"method": "dpo", "tuning": "full", "learning_rate": 1e-3, "precision": "bfloat16"},
    {"method": "dpo", "lora_dora": True, "loss": "ipo"},
    {"method": "cpo"},
    {"method": "simpo", "beta": 2.0},
]
CONSTANT = {"scheduler": "constant", "warmup_steps": 3, "epochs": None}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, marks=[] if change in (MANNERS[0], OTHER_METHODS[0]) else pytest.mark.slow)
        for change in (*MANNERS, *OTHER_METHODS)
    ],
    ids=lambda change: "-".join(map(str, change.values())),
)
def test_so_it_does_in_every_manner_of_training(start: Start, tmp_path: Path, change: dict[str, Any]) -> None:
    """And one that starts from the kept state of a shorter one ends with the same bytes too."""
    change = dict(change) | CONSTANT
    method = change.pop("method", "sft")
    kept: dict[str, Any] = {"kept": lambda name: tmp_path / "kept" / name.replace("/", "-")[:100] / "key"}
    folders = [tmp_path / name for name in ("straight", "cut", "fork")]
    run(start, folders[0], rows_for(method, 40), JOB(method, max_steps=15, **change))
    interrupted(start, folders[1], method, change=change | {"max_steps": 15})
    assert again(start, folders[1], method, max_steps=15, **change) == [11, 12, 13, 14, 15]
    run(start, tmp_path / "short", rows_for(method, 40), JOB(method, max_steps=12, **change), **kept)
    kept["kept"] = lambda name: tmp_path / "kept" / name.replace("/", "-")[:100] / "other"
    summary = run(start, folders[2], rows_for(method, 40), JOB(method, max_steps=15, **change), **kept)
    assert summary["extends"] == {"key": "key", "steps": 12, "from_step": 10, "to": 15}
    straight, cut, fork = (files(folder / "out") for folder in folders)
    assert straight == cut == fork


SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests.training.tiny import rows_for
from tests.training.test_resume import JOB
from w2s_core.rows import read_json
from w2s_core.training import Site, train
from w2s_core.training.checkpoints import latest

model, base, folder = map(Path, sys.argv[1:4])
kill_at = int(sys.argv[4])

def progress(done, total, **_):
    if done == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

train(model, rows_for("sft", 40), JOB("sft"), Site({read_json(model / "model.json")["base"]: base},
      folder / "out", folder / "work", checkpoint_s=0.0), progress)
"""


@pytest.mark.slow
def test_kill_9_costs_no_more_than_the_steps_since_the_checkpoint(start: Start, tmp_path: Path) -> None:
    (base,) = start[1].values()

    def process(name: str, kill_at: int) -> int:
        (tmp_path / name / "out").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", SCRIPT, start[0], base, tmp_path / name, str(kill_at)]
        return subprocess.run(list(map(str, command)), cwd=ROOT, check=False).returncode

    assert process("straight", -1) == 0
    assert process("killed", 7) == -signal.SIGKILL
    assert process("killed", 14) == -signal.SIGKILL
    assert files(tmp_path / "killed/out") == {}
    assert process("killed", -1) == 0
    assert files(tmp_path / "killed/out/adapters") == files(tmp_path / "straight/out/adapters")
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "straight")


def damage_tensors(checkpoint: Path) -> None:
    path = checkpoint / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def cut_tensors(checkpoint: Path) -> None:
    path = checkpoint / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def cut_record(checkpoint: Path) -> None:
    (checkpoint / "checkpoint.json").write_text('{"request": "')


def lose_state(checkpoint: Path) -> None:
    (checkpoint / "trainer_state.json").unlink()


def leave_unfinished(checkpoint: Path) -> None:
    checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.writing"))


DAMAGES = [damage_tensors, cut_tensors, cut_record, lose_state, leave_unfinished]


@pytest.fixture(scope="module")
def checkpoint(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an interrupted training."""
    folder = tmp_path_factory.mktemp("interrupted")
    interrupted(start, folder, "sft", step=12)
    (found,) = (folder / "work").iterdir()
    return found


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__)
def test_a_torn_checkpoint_is_passed_over(checkpoint: Path, tmp_path: Path, damage: Any) -> None:
    request = read_json(checkpoint / "checkpoint.json")["request"]
    copy = tmp_path / "work" / checkpoint.name
    shutil.copytree(checkpoint, copy)
    found = latest(copy.parent, request)
    assert found is not None
    assert found[0] == copy
    damage(copy)
    assert latest(copy.parent, request) is None


def test_after_a_torn_checkpoint_the_training_starts_over(
    start: Start, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "work" / checkpoint.name)
    damage_tensors(tmp_path / "work" / checkpoint.name)
    (tmp_path / "out").mkdir()
    assert again(start, tmp_path, "sft")[0] == 1


def test_a_checkpoint_of_other_rows_is_passed_over(start: Start, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "work" / checkpoint.name)
    (tmp_path / "out").mkdir()
    assert again(start, tmp_path, "sft", count=41)[0] == 1


def test_checkpoints_hold_no_pickle(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a pickle was read or written")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(torch, "save", refuse)
    interrupted(start, tmp_path, "sft", step=12)
    assert set(files(tmp_path / "work")) == {
        f"checkpoint-10/{name}" for name in ("state.safetensors", "trainer_state.json", "checkpoint.json")
    }
    assert again(start, tmp_path, "sft")[0] == 11


def test_checkpoints_come_by_the_clock(start: Start, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        run(start, tmp_path, rows_for("sft", 40), JOB("sft"), progress=stop_at(12), checkpoint_s=3600.0)
    assert files(tmp_path / "work") == {}
