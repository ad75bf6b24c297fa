"""The deduction lab's experiment: it can be planned, and the whole method runs on its models where they are made."""

import subprocess
import sys
from pathlib import Path

import pytest

from w2s_core.experiment import load_experiment
from w2s_core.runs import build_graph

LAB = Path(__file__).parents[2] / "experiments" / "deduction"
FEW = [f"task.options.{split}={size}" for split, size in
       (("train_1", 16), ("train_2", 24), ("dev", 8), ("test", 8))]  # fmt: skip
SHORT = ["weak_sft.max_steps=2", "sft.max_steps=2", "evaluation.samples=2", "stage2.samples=4", "stage2.keep=0",
         "stage2.flip=0", "max_new_tokens=60"]  # fmt: skip


def test_the_experiment_can_be_planned_with_its_bases() -> None:
    experiment = load_experiment(LAB / "paper.yaml", tuple(FEW))
    graph = build_graph(experiment)
    assert {"greedy/test/weak_floor", "greedy/test/hybrid_ft_2", "greedy/test/dpo"} <= set(graph.targets)
    assert f"w2s run experiments/deduction/{'paper.yaml'}" in (LAB / "paper.yaml").read_text()
    assert " is " not in graph.splits.problems["test"][0].question, "the brief wording"


@pytest.mark.slow
def test_the_whole_method_runs_on_the_deduction_lab(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "w2s_core.cli", "--store", str(tmp_path / "store"), "run"]
    done = subprocess.run(
        [*command, str(LAB / "paper.yaml"), *FEW, *SHORT, "stage1.consistency=0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "M_plus" in done.stdout
    assert "strong ceiling" in done.stdout
