"""Precision and quantisation change results: they are in the key of each step that they change, and of no other."""

from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_experiment
from w2s_core import experiment as module
from w2s_core import models
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.runs import build_graph

MODEL_STEPS = {"sample", "sft", "prefer"}


def steps(path: Path, *overrides: str, device: str = "cpu") -> dict[str, Any]:
    """All steps of the experiment's graph, by key."""
    graph = build_graph(load_experiment(path, overrides), device)
    return {one.key: one for one in topological(graph.targets.values())}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_experiment(tmp_path)


def test_auto_is_float32_on_a_processor_and_bfloat16_on_a_gpu(path: Path) -> None:
    assert steps(path).keys() == steps(path, "precision=float32").keys()
    assert steps(path, device="cuda").keys() == steps(path, "precision=bfloat16").keys()
    assert steps(path, "precision=float32", device="cuda").keys() == steps(path).keys()


def test_all_that_a_model_computes_and_nothing_else_has_another_key_in_bfloat16(path: Path) -> None:
    exact, half = steps(path), steps(path, device="cuda")
    shared = {one.name for key, one in exact.items() if key in half}
    assert shared == {"questions", "gold", "base_model"}
    assert {one.params.get("precision") for one in half.values() if one.name == "sample"} == {"bfloat16"}
    trained = [one for one in half.values() if one.name in ("sft", "prefer")]
    assert {one.params["settings"]["precision"] for one in trained} == {"bfloat16"}
    assert {one.name for one in half.values() if "bfloat16" in str(one.params)} == MODEL_STEPS


def test_a_run_records_the_precision_that_was_meant(path: Path) -> None:
    graph = build_graph(load_experiment(path), "cuda")
    assert graph.experiment.precision == "bfloat16"
    assert graph.experiment.run_name != build_graph(load_experiment(path), "cpu").experiment.run_name


def test_auto_asks_torch_only_where_a_driver_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "GPU_DRIVERS", (str(tmp_path / "none"),))
    monkeypatch.setitem(__import__("sys").modules, "torch", None)  # an import would fail
    assert models.resolve_device("auto") == "cpu"
    assert models.resolve_device("cuda") == "cuda"


def test_four_bits_are_in_the_keys_of_the_trainings_that_use_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "bitsandbytes_version", lambda: "0.0")
    whole, coarse = steps(path), steps(path, "sft.load_in_4bit=true")
    new = [one for key, one in coarse.items() if key not in whole]
    started = [one for one in new if one.name == "sft"]
    assert {one.params["settings"]["quantization"] for one in started} == {"nf4, bitsandbytes 0.0"}
    weak = [one for one in coarse.values() if one.name == "sft" and one.key in whole]
    assert len(weak) == 1  # the weak model's


def test_four_bits_without_bitsandbytes_are_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(names: tuple[str, ...], otherwise: str) -> str:
        raise UserError(otherwise)

    monkeypatch.setattr("w2s_core.versions._version", nothing)
    with pytest.raises(UserError, match=r"load_in_4bit needs bitsandbytes.*pip install 'w2s\[qlora\]'"):
        steps(path, "weak_sft.load_in_4bit=true")
