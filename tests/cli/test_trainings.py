"""Manners of training and losses through the whole method, as a user runs it."""

from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.engine import Store
from w2s_core.rows import read_json
from w2s_core.training.settings import SMOOTHED, CpoLoss, DpoLoss
from w2s_core.training.trainers import loss_of_equals

TUNING = {"learning_rate": 1e-3, "max_steps": 2, "batch_size": 4}
FULL = TUNING | {"tuning": "full"}
CASES = [("dpo", loss) for loss in get_args(DpoLoss)] + [("cpo", loss) for loss in get_args(CpoLoss)]


def go(
    folder: Path, name: str, methods: list[str], **sections: dict[str, Any]
) -> tuple[Store, dict[str, str]]:
    """Run the method with these sections of Stage II; returns its store and the targets' keys."""
    stage2 = {"samples": 4, "keep": 0.0, "flip": 0.0, "methods": methods, "dpo": TUNING, "orpo": TUNING}
    sft = sections.pop("sft", TUNING)
    path = write_experiment(
        folder,
        sft=sft,
        stage1={"iterations": 1, "samples": 4, "consistency": 0.05},
        stage2=stage2 | sections,
        evaluation={"samples": 0},
    )
    arguments = ["--store", str(folder / "store"), "run", str(path), "--name", name, "--device", "cpu"]
    done = CliRunner().invoke(w2s, [*arguments, "--out", str(folder / name)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    store = Store(folder / "store")
    return store, store.refs.read(name)["targets"]


def trained(store: Store, targets: dict[str, str], method: str) -> tuple[dict[str, Any], Path]:
    """The summary and the folder of the model that a method's grade stands on."""
    manifest = store.manifest(targets[f"greedy/test/{method}"])
    for step in ("responses", "model"):
        key = manifest["spec"]["inputs"][step]
        manifest = store.manifest(key)
    return manifest["summary"], store.folder(key)


def test_all_weights_in_both_stages_and_methods_that_came_later(tmp_path: Path) -> None:
    store, targets = go(tmp_path, "one", ["dpo", "cpo", "simpo"], sft=FULL, cpo=TUNING, simpo=FULL)
    parts = {}
    for method in ("dpo", "cpo", "simpo"):
        summary, folder = trained(store, targets, method)
        assert (summary["method"], summary["steps"]) == (method, 2)
        model = read_json(folder / "model.json")
        parts[method] = (model.get("weights"), model["adapters"])
    assert parts == {
        "dpo": ("weights", ["adapters/0"]),
        "cpo": ("weights", ["adapters/0"]),
        "simpo": ("weights", []),
    }
    shown = CliRunner().invoke(w2s, ["--store", str(tmp_path / "store"), "show", "one"]).output
    assert all(title in shown for title in ("M_plus + DPO", "M_plus + CPO", "M_plus + SimPO"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has all but the last training already."""
    return tmp_path_factory.mktemp("losses")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "loss"), CASES)
def test_every_loss_runs_through_the_method(shared: Path, method: str, loss: str) -> None:
    change: dict[str, Any] = {"loss": loss}
    if method == "dpo" and loss in SMOOTHED["dpo"]:
        change["label_smoothing"] = 0.1
    store, targets = go(shared, f"{method}-{loss}", [method], **{method: TUNING | change})
    summary, folder = trained(store, targets, method)
    if method == "dpo":  # the rate of the first of two steps is 0, so policy and reference agree in both
        wanted = loss_of_equals(loss, 0.1, change.get("label_smoothing", 0.0))
        assert summary["loss_first"] == pytest.approx(wanted, rel=1e-4)
    weights = load_file(folder / "adapters/1/adapter_model.safetensors")
    assert all(weight.any() for name, weight in weights.items() if "lora_B" in name)
