"""What every registered task owes to the rest of the project, on small data; and that every preset parses."""

import json
import re
import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from w2s_core.answers.extract import RULES, extract
from w2s_core.answers.reading import SCORED
from w2s_core.data.splits import load_splits
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.plugins import TASKS
from w2s_core.runs import build_graph
from w2s_core.tasks import Task, load_task

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
GENERATED = {"mini", "deduction"}
FILES = ("train_1", "train_2", "dev", "test")


def _gsm8k(split: str, i: int) -> dict[str, Any]:
    return {"question": f"{split}: {i} + 1?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"}


def _math(split: str, i: int) -> dict[str, Any]:
    return {"problem": f"{split}: {i}^2?", "solution": f"It is $\\boxed{{{i}^2}}$.", "level": i % 5 + 1}


def _olympicarena(split: str, i: int) -> dict[str, Any]:
    kind = {"answer_type": "SC", "answer": ["B"]} if i % 2 else {"answer_type": "NV", "answer": [str(i)]}
    return {"problem": f"{split}: {i}?", "solution": "Clear.", "language": "EN", "subject": "Math", **kind}


ROWS: dict[str, Callable[[str, int], dict[str, Any]]] = {
    "gsm8k": _gsm8k,
    "jsonl": _gsm8k,
    "dataset": _gsm8k,
    "math": _math,
    "olympicarena": _olympicarena,
}


def _options(name: str, folder: Path) -> dict[str, Any]:
    """Options for about a dozen problems a split, from files made here where the task reads files."""
    if name in GENERATED:
        return {"train_1": 12, "train_2": 12, "dev": 12, "test": 12, "levels": [2, 3]} | (
            {"pretrain": 12} if name == "mini" else {}
        )
    if name == "reasoning_gym":
        pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed: pip install 'w2s[gym]'")
        return {"train_1": 12, "train_2": 12, "dev": 12, "test": 12, "dataset": "gsm_symbolic"}
    names = {"train_2": "test", "test": "val"} if name == "olympicarena" else {}
    for split in FILES:
        rows = [json.dumps(_row(name, split, i)) for i in range(12)]
        (folder / f"{names.get(split, split)}.jsonl").write_text("\n".join(rows))
    return {"data": str(folder)} | ({"answer": "gsm8k"} if name in ("jsonl", "dataset") else {})


def _row(name: str, split: str, i: int) -> dict[str, Any]:
    row = ROWS[name](split, i)
    if name in ("jsonl", "dataset"):
        row["solution"] = row.pop("answer")
    return row


@pytest.fixture(params=sorted(TASKS.builtin))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(name: str, tmp_path: Path) -> Task:
    return load_task(name, _options(name, tmp_path))


def test_a_task_says_who_it_is_and_how_it_is_read(task: Task, name: str) -> None:
    assert task.name == name
    assert task.answer_rule in (*RULES, SCORED)
    assert set(FILES) <= set(task.splits)


def test_ids_are_unique_and_questions_are_there(task: Task) -> None:
    for split in task.splits:
        problems = task.load(split)
        assert len(problems) == 12
        assert len({one.id for one in problems}) == len(problems)
        assert all(one.question.strip() and one.id for one in problems)


def test_gold_is_what_the_rule_reads_out_of_the_solution(task: Task) -> None:
    for split in task.splits:
        for one in task.load(split):
            found = extract(one.solution, task.answer_rule)
            assert found is not None
            assert found.strip() == one.gold


def test_levels_and_templates_are_there(task: Task) -> None:
    for split in task.splits:
        for one in task.load(split):
            assert type(one.level) is int
            assert one.level >= 0
            assert one.template


def test_splits_share_no_question(task: Task, name: str, tmp_path: Path) -> None:
    asked = {split: {one.question for one in task.load(split)} for split in task.splits}
    assert not any(asked[one] & asked[other] for one, other in combinations(asked, 2))
    options = _options(name, tmp_path)
    assert not load_splits(name, options, "refuse", FILES).duplicates


def test_two_calls_give_the_same(task: Task, name: str, tmp_path: Path) -> None:
    again = load_task(name, _options(name, tmp_path))
    for split in task.splits:
        assert task.load(split) == task.load(split) == again.load(split)


def test_an_unknown_split_or_option_is_one_line_with_a_hint(task: Task, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"task '{name}': .*did you mean 'train_1'"):
        task.load("train1")
    options = _options(name, tmp_path)
    known = next(iter(options))
    mistyped = {**options, f"{known}x": options[known]}
    with pytest.raises(UserError, match=f"task '{name}': unknown option '{known}x'; did you mean '{known}'"):
        load_task(name, mistyped)


def test_an_unknown_task_is_one_line_with_a_hint(name: str) -> None:
    with pytest.raises(UserError, match=f"unknown task '{name}x'; did you mean '{name}'"):
        load_task(f"{name}x")


LABS = {path.parent.name for path in EXPERIMENTS.glob("*/bases.yaml")}
"""Experiments whose models are pretrained here; tests/lab looks after them, and tests/test_real.py after real."""
PRESETS = sorted(
    path for path in EXPERIMENTS.glob("*/*.yaml") if path.parent.name not in (*LABS, "accelerate", "real")
)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_presets_parse_name_a_task_and_say_how_they_are_run(path: Path) -> None:
    experiment = load_experiment(path)
    assert experiment.name.startswith(path.parent.name)
    assert experiment.task.name == path.parent.name
    load_task(experiment.task.name, experiment.task.options)
    header = path.read_text().partition("\nname:")[0]
    assert f"w2s run experiments/{path.parent.name}/{path.name}" in header
    for model in (experiment.weak, experiment.strong):
        assert f"--local-dir models/{Path(model).name}" in header


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_presets_can_be_planned_where_models_and_data_are(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small models and files take the places of the real ones: all else is what a GPU machine would plan."""
    kind = path.parent.name
    (tmp_path / "experiments" / kind).mkdir(parents=True)
    copy = shutil.copy(path, tmp_path / "experiments" / kind)
    for number, model in enumerate(sorted(set(re.findall(r"(?<=\.\./)models/[\w.-]+", path.read_text())))):
        shutil.copytree(EXPERIMENTS / "mini" / "bases" / ("llama", "qwen2")[number], tmp_path / model)
        (tmp_path / model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (tmp_path / "data" / kind).mkdir(parents=True)
    given = _options(kind, tmp_path / "data" / kind)
    monkeypatch.chdir(tmp_path)
    sizes = tuple(f"task.options.{split}={given[split]}" for split in FILES if split in given)
    graph = build_graph(load_experiment(Path(copy), sizes))
    tuned = f"hybrid_ft_{graph.experiment.stage1.iterations}"
    assert {f"greedy/test/{name}" for name in ("weak_floor", tuned, "dpo", "orpo", "ceiling")} <= set(
        graph.targets
    )
    assert {split: len(part) for split, part in graph.splits.problems.items()} == dict.fromkeys(
        ("train_1", "train_2", "test"), 12
    )


def test_every_real_task_has_presets() -> None:
    assert {path.parent.name for path in PRESETS} >= {"gsm8k", "math", "olympicarena"}
