"""Study files: every mistake is one line that names the file, the line and what would be right."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeps.cells import CellPlanner
from sweeps.space import Cell, Space
from sweeps.study_file import load_study
from tests.sweeps.conftest import Writer
from tests.tiny import BASES, REPOSITORY
from w2s_core.errors import UserError

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"sapce": {}}, r"unknown field 'sapce'; did you mean 'space'"),
    ({"space": {}}, r":\d+: field 'space' is empty; at least 1"),
    ({"objectives": []}, r":\d+: field 'objectives' is empty; at least 1"),
    ({"space": {"stage1.consistency": []}}, r":5: field 'space.stage1.consistency': the space is empty"),
    (
        {"space": {"stage1.consistency": 0.5}},
        r":\d+: field 'space.stage1.consistency': list its values, or give",
    ),
    (
        {"space": {"stage1.consistency": {"low": 0.1, "hihg": 1}}},
        r":\d+: field 'space.stage1.consistency.high' is missing",
    ),
    (
        {"space": {"stage1.consistency": {"low": 0.1, "high": 1, "steps": 3}}},
        r":\d+: unknown field 'space.stage1.consistency.steps'; did you mean 'step'",
    ),
    (
        {"space": {"stage1.consistancy": [0.5]}},
        r":\d+: unknown field 'stage1.consistancy'; did you mean 'consistency'",
    ),
    (
        {"space": {"stage1.consistency": [0.5, 1.5]}},
        r":\d+: field 'stage1.consistency'.*less than or equal to 1",
    ),
    (
        {"space": {"stage1.consistency": [0.5, 0.5]}},
        r":\d+: field 'space.stage1.consistency': a value stands",
    ),
    ({"space": {"stage1.consistency": {"low": 0.1, "high": 0.5}}}, r"a grid needs the values"),
    (
        {"space": {"stage1.consistency": {"low": 0.5, "high": 0.1}}},
        r"field 'space.stage1.consistency': low \(0.5\) must be less than high",
    ),
    ({"space": {"weak": ["no/such/folder"]}}, r":\d+: .*no/such/folder"),
    ({"space": {"seed": [0, 1]}}, r":\d+: field 'space.seed': is set by the sweep itself"),
    ({"fixed": {"stage2.keep": 0.5}}, r":\d+: field 'space.stage2.keep': stands in both"),
    ({"fixed": {"stage2.kep": 0.5}}, r"unknown field 'stage2.kep'"),
    ({"sampler": {"name": "bayes"}}, r"field 'sampler.name'.*'grid', 'tpe', 'nsga2' or 'qmc'"),
    ({"sampler": {"name": "tpe"}}, r"give trials: how many"),
    ({"sampler": {"name": "grid", "trials": 3}}, r"a grid has no number of trials"),
    ({"seeds": [1, 1]}, r":\d+: field 'seeds': must be different"),
    (
        {"objectives": [{"metric": "accuracy", "direction": "up"}]},
        r"field 'objectives.0.direction'.*'maximize'",
    ),
    ({"base": "nothing.yaml"}, r"nothing.yaml: cannot read an experiment"),
    ({"storage": 3}, r"field 'storage': should be a valid string"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake_is_one_line(write_study: Writer, changes: dict[str, Any], message: str) -> None:
    path = write_study(**changes)
    with pytest.raises(UserError, match=message) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"objectives": [{"metric": "greedy/dev/dpoo"}]},
            r"'greedy/dev/dpoo' is produced by no run; there are ",
        ),
        ({"objectives": [{"metric": "greedy/test/dpo"}]}, r"judged by dev only"),
        ({"space": {"stage2.keep": [0.0]}}, r"stage2.methods has several"),
    ],
)
def test_an_objective_must_be_produced_on_dev(
    write_study: Writer, changes: dict[str, Any], message: str
) -> None:
    planner = CellPlanner(load_study(write_study(**changes)))
    with pytest.raises(UserError, match=message):
        planner.plan(planner.space.example())


def test_a_cell_has_the_values_that_its_experiment_takes(write_study: Writer) -> None:
    loaded = load_study(write_study(fixed={"stage1.samples": 2}, seeds=[3, 5]))
    planner = CellPlanner(loaded)
    planned = planner.plan(Cell({"stage2.keep": 0.3, "stage2.methods": "orpo"}))
    assert [run.seed for run in planned.runs] == [3, 5]
    experiment = planned.runs[1].graph.experiment
    assert (experiment.seed, experiment.stage2.keep, experiment.stage2.methods) == (5, 0.3, ("orpo",))
    assert experiment.stage1.samples == 2
    assert planned.runs[1].name == "tiny-study/keep=0.3,methods=orpo,seed=5"


def test_the_search_sees_no_target_that_reads_test(write_study: Writer) -> None:
    planner = CellPlanner(load_study(write_study()))
    for cell in planner.space.cells():
        for run in planner.plan(cell).runs:
            assert run.graph.targets
            read = {
                str(handle.params.get("split"))
                for handle in _ancestors(run.graph.targets.values())
                if handle.name in ("questions", "gold")
            }
            assert read == {"train_1", "train_2", "dev"}


def _ancestors(handles: Any) -> list[Any]:
    from w2s_core.engine.step import topological

    return topological(handles)


def test_cells_that_differ_late_share_what_comes_before(write_study: Writer) -> None:
    planner = CellPlanner(load_study(write_study()))
    runs = [planner.plan(cell).runs[0] for cell in planner.space.cells()]
    shared = set.intersection(*(run.steps for run in runs))
    labels = {handle.key: label for label, handle in runs[0].graph.targets.items()}
    own = {labels[key] for key in runs[0].steps - shared if key in labels}
    assert own == {"greedy/dev/dpo", "pairs", "labels/pairs_chosen", "labels/pairs_rejected"}


def test_ranges_of_a_grid_are_listed(write_study: Writer) -> None:
    space = Space(
        load_study(write_study(space={"stage2.keep": {"low": 0.1, "high": 0.7, "step": 0.2}})).study
    )
    assert [cell.shown["stage2.keep"] for cell in space.cells()] == [0.1, 0.3, 0.5, 0.7]
    whole = Space(load_study(write_study(space={"shots": {"low": 1, "high": 4, "step": 2}})).study)
    assert [cell.shown["shots"] for cell in whole.cells()] == [1, 3]


def test_names_of_runs_are_safe_and_unlike(write_study: Writer, tmp_path: Path) -> None:
    for folder in ("a/model", "b/model"):
        (tmp_path / folder).mkdir(parents=True)
    path = write_study(space={"weak": ["a/model", "b/model"], "stage2.methods": [["dpo", "orpo"], []]})
    space = Space(load_study(path).study)
    names = {space.title(cell) for cell in space.cells()}
    assert names == {f"weak={one}-model,methods={two}" for one in "ab" for two in ("dpo+orpo", "none")}


def test_a_study_file_survives_the_order_of_its_fields(write_study: Writer) -> None:
    one = Cell({"stage2.keep": 0.3, "stage2.methods": "orpo"})
    other = Cell({"stage2.methods": "orpo", "stage2.keep": 0.3})
    assert one.digest == other.digest
    assert one.digest != Cell({"stage2.keep": 0.3, "stage2.methods": "dpo"}).digest


SHIPPED = sorted((Path(__file__).resolve().parents[2] / "sweeps").glob("mini_*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_studies_can_be_planned(path: Path) -> None:
    planner = CellPlanner(load_study(path))
    planned = [planner.plan(cell) for cell in planner.space.cells()]
    assert len({cell.targets_digest for cell in planned}) == len(planned)


@pytest.mark.parametrize("name", ["gsm8k_ablation", "gsm8k_threshold", "gsm8k_capability_gap"])
def test_the_studies_of_real_models_can_be_planned_where_models_and_data_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Stand-ins take the places of the models and the data: all else is what a GPU box would plan."""
    for folder in ("sweeps", "experiments/gsm8k"):
        shutil.copytree(
            REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.py", "__pycache__")
        )
    asked = set(
        re.findall(r"models/[\w.-]+", " ".join(path.read_text() for path in tmp_path.rglob("*.yaml")))
    )
    for number, place in enumerate(sorted(asked)):
        shutil.copytree(BASES / ("strong", "llama", "mistral", "qwen2")[number % 4], tmp_path / place)
    (tmp_path / "data" / "gsm8k").mkdir(parents=True)
    for split in ("train_1", "train_2", "test"):
        rows = [{"question": f"{split} {i}?", "answer": f"so\n#### {i}"} for i in range(600)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / "gsm8k" / f"{split}.jsonl").write_text(text)
    monkeypatch.chdir(tmp_path)
    planner = CellPlanner(load_study(tmp_path / "sweeps" / f"{name}.yaml"))
    cells = [planner.plan(cell) for cell in planner.space.cells()]
    assert len(cells) in (9, 24, 36)
    assert {
        run.graph.splits.problems["dev"][0].id.partition("-")[0] for one in cells for run in one.runs
    } == {"train_1"}


def test_what_is_no_yaml_mapping_is_said(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps([1, 2]))
    with pytest.raises(UserError, match=r"a study is a mapping of fields"):
        load_study(path)
