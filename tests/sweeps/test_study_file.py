"""Study files: every mistake is one line that names the file, the line and what would be right."""

import json
import re
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.sweeps.conftest import Writer
from tests.tiny import BASES, REPOSITORY
from w2s_core.errors import UserError
from w2s_core.plugins import TASKS
from w2s_core.tasks import load_task
from w2s_sweeps.cells import CellPlanner, target_of
from w2s_sweeps.definition import check, define
from w2s_sweeps.space import Cell, Space
from w2s_sweeps.study_file import Objective, Study, load_study

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
    (
        {"space": {"recipe": ["plain", "weak_to_strong"]}},
        r":\d+: field 'space.recipe': a study has the recipe of",
    ),
    ({"fixed": {"recipe": "plain"}}, r":\d+: field 'fixed.recipe': a study has the recipe of its base"),
    ({"space": {"evaluation": [{"samples": 0}]}}, r":\d+: field 'space.evaluation': holds `splits`"),
    (
        {"space": {"sft": [{"learning_rate": 0.1}]}, "fixed": {"sft.lora_r": 4}},
        r":\d+: field 'space.sft': is set by 'sft.lora_r' too",
    ),
    (
        {"space": {"task.options": [{"dev": 0.5}, {"dev": 4}], "task.options.dev": [3]}},
        r"'task.options.dev' too",
    ),
    ({"space": {"task.name": [1, "1"]}}, r":\d+: field 'space.task.name': two values are written alike"),
    ({"space": {"stage2.keep": {"low": 0, "high": 1, "step": 1e-7}}}, r"give more than 100,000 values"),
    ({"space": {"stage2.keep": {"low": 0, "high": 1, "step": 1e-300}}}, r"give more than 100,000 values"),
    ({"space": {"shots": {"low": 1, "high": 10**400, "step": 1}}}, r"no end may be beyond 1e\+15"),
    ({"base": "nothing.yaml"}, r"nothing.yaml: cannot read an experiment"),
    ({"space": {"shots": list(range(1, 1002))}}, r":\d+: field 'space.shots': at most 1,000 values can be"),
    (
        {"space": {f"sft.{name}": list(range(1, 200)) for name in ("lora_r", "lora_alpha", "batch_size")}},
        r":4: field 'space': its grid has 7,880,599 runs; at most 100,000: list fewer values",
    ),
    ({"seeds": [2**40]}, r":\d+: field 'seeds': must be different, not negative and at most 4294967295"),
    ({"seeds": list(range(100_000))}, r"more than 20,000 names and values"),
    ({"sampler": {"name": "tpe", "trials": 10**20}}, r":\d+: field 'sampler.trials': should be less than"),
    ({"retries": 10**9}, r":\d+: field 'retries': should be less than or equal to 1000"),
    ({"name": "../study"}, r":\d+: field 'name': "),
    ({"storage": 3}, r"field 'storage': should be a valid string"),
]


@pytest.mark.parametrize(("changes", "message"), MISTAKES)
def test_a_mistake_is_one_line(write_study: Writer, changes: dict[str, Any], message: str) -> None:
    path = write_study(**changes)
    with pytest.raises(UserError, match=message) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e999"])
@pytest.mark.parametrize("axis", ["[0.001, {}]", "{{low: 0.1, high: {}}}"])
def test_a_number_without_end_is_one_line(write_study: Writer, number: str, axis: str) -> None:
    path = write_study(space={"sft.learning_rate": "AXIS"})
    path.write_text(path.read_text().replace('"AXIS"', axis.format(number)))
    where = r"study.yaml:5: field 'space.sft.learning_rate.(1|high)': should be a finite number \(given: "
    with pytest.raises(UserError, match=where) as caught:
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


def test_options_that_a_task_takes_only_by_themselves_are_refused_together(
    write_plain_study: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def picky(options: dict[str, Any]) -> object:
        if options.get("first") and options.get("second"):
            raise UserError("first and second do not go together")
        return load_task("mini", {"train_2": 12, "dev": 4, "test": 6, "levels": [1]})

    monkeypatch.setitem(TASKS._registered, "picky", (picky, "here"))
    study = write_plain_study(
        {"task": {"name": "picky", "options": {}}},
        space={"task.options.first": [False, True], "task.options.second": [False, True]},
    )
    planner = CellPlanner(load_study(study))
    *_, both = cells = list(planner.space.cells())
    for cell in cells[:-1]:
        planner.plan(cell)
    with pytest.raises(UserError, match=r"plain_study.yaml: field .task.options.: first and second"):
        planner.plan(both)


def test_cells_hold_one_copy_of_the_sections_in_which_they_do_not_differ(write_study: Writer) -> None:
    planner = CellPlanner(load_study(write_study()))
    first, second = [planner.plan(cell).runs[0].graph.experiment for cell in islice(planner.space.cells(), 2)]
    assert first.weak_sft is second.weak_sft


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
    names = {re.sub("-[0-9a-f]{6},", ",", space.title(cell)) for cell in space.cells()}
    assert names == {
        f"weak={model}-model,methods={method}" for model in "ab" for method in ("dpo+orpo", "none")
    }


def test_values_that_agree_in_six_digits_have_names_of_their_own(write_study: Writer) -> None:
    space = Space(load_study(write_study(space={"stage2.keep": [0.1234561, 0.1234562, 0.3]})).study)
    titles = [space.title(cell) for cell in space.cells()]
    assert titles == ["keep=0.1234561", "keep=0.1234562", "keep=0.3"]


VALUES = st.one_of(
    st.text(max_size=6),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)


@hypothesis.given(st.lists(VALUES, min_size=2, max_size=6))
def test_other_values_have_other_names_and_the_values_come_back(values: list[Any]) -> None:
    try:
        study = Study(name="s", base="b", space={"task.options.x": values})
    except ValidationError:  # values that are equal or written alike are refused
        return
    space = Space(study)
    cells = list(space.cells())
    assert len({space.run_name("s", cell, 0) for cell in cells}) == len(values)
    assert [space.values(cell)["task.options.x"] for cell in cells] == values
    assert all(re.fullmatch(r"[A-Za-z0-9._+=,-]+", space.title(cell)) for cell in cells)


def test_one_model_under_two_paths_is_refused(write_study: Writer, tmp_path: Path) -> None:
    """Two rows of a table would show one model, and a correlation would count it twice."""
    (tmp_path / "link").symlink_to(BASES / "qwen2")
    for other in (tmp_path / "link", BASES / "llama" / ".." / "qwen2"):
        planner = CellPlanner(
            load_study(
                write_study(
                    space={"weak": [str(BASES / "qwen2"), str(other)]}, fixed={"stage2.methods": ["dpo"]}
                )
            )
        )
        with pytest.raises(
            UserError, match=r"study.yaml:5: field 'space.weak': .* are the same model: list it"
        ):
            [planner.plan(cell) for cell in planner.space.cells()]


def test_a_study_file_survives_the_order_of_its_fields(write_study: Writer) -> None:
    cell = Cell({"stage2.keep": 0.3, "stage2.methods": "orpo"})
    assert cell.digest == Cell({"stage2.methods": "orpo", "stage2.keep": 0.3}).digest
    assert cell.digest != Cell({"stage2.keep": 0.3, "stage2.methods": "dpo"}).digest


# Studies of other recipes


def test_a_study_of_a_recipe_of_the_users_own(write_plain_study: Writer) -> None:
    planner = CellPlanner(load_study(write_plain_study(seeds=[0, 1])))
    planned = [planner.plan(cell) for cell in planner.space.cells()]
    assert [cell.title for cell in planned][1:3] == [
        "rounds=1,learning_rate=0.003",
        "rounds=2,learning_rate=0.001",
    ]
    assert planned[-1].runs[1].rungs == ("greedy/dev/tuned_1", "greedy/dev/tuned_2")
    assert target_of(Objective(), planned[-1].runs[0].graph, "x") == "greedy/dev/tuned_2"
    assert planned[0].runs[0].graph.models.keys() == {"model"}


def test_an_unknown_metric_lists_what_the_runs_of_the_recipe_produce(write_plain_study: Writer) -> None:
    planner = CellPlanner(load_study(write_plain_study(objectives=[{"metric": "greedy/dev/dpo"}])))
    with pytest.raises(UserError) as caught:
        planner.plan(planner.space.example())
    assert str(caught.value).endswith(
        "plain_study.yaml: objective 'greedy/dev/dpo' is produced by no run; there are accuracy, training_tokens, "
        "sampling_tokens, tokens, greedy/dev/base, greedy/dev/tuned_1, labels/round_1"
    )


def test_a_final_model_that_is_judged_by_no_run_is_the_fault_of_the_recipe(write_plain_study: Writer) -> None:
    planner = CellPlanner(load_study(write_plain_study(space={"rounds": [0]})))
    with pytest.raises(
        UserError, match=r"recipe 'plain': its `final` names 'tuned_0', which it does not judge; judged: base"
    ):
        planner.plan(planner.space.example())


def test_a_base_experiment_of_an_unknown_recipe_is_one_line(write_plain_study: Writer) -> None:
    with pytest.raises(
        UserError, match=r"plain.yaml:\d+: recipe: unknown recipe 'plian'; did you mean 'plain'"
    ):
        load_study(write_plain_study(experiment={"recipe": "plian"}))


def test_a_study_of_another_recipe_is_not_gone_on_with(
    write_study: Writer, write_plain_study: Writer
) -> None:
    definitions = []
    for path in (write_study(), write_plain_study()):
        loaded = load_study(path)
        planner = CellPlanner(loaded)
        definitions.append(define(loaded, planner.plan(planner.space.example())))
    assert [definition["base.recipe"] for definition in definitions] == ["weak_to_strong", "plain"]
    assert re.fullmatch("sha256:[0-9a-f]+", definitions[1]["base.model"])
    with pytest.raises(UserError, match="base.recipe: weak_to_strong before, plain now|and [0-9]+ more"):
        check("s", *definitions)


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
    models = set(
        re.findall(r"models/[\w.-]+", " ".join(path.read_text() for path in tmp_path.rglob("*.yaml")))
    )
    for number, place in enumerate(sorted(models)):
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
        run.graph.splits.problems["dev"][0].id.partition("-")[0] for cell in cells for run in cell.runs
    } == {"train_1"}


@pytest.mark.parametrize("section", ["base", "fixed", "fixed whole", "space"])
def test_data_of_a_study_are_relative_to_the_file_that_names_them(
    tmp_path: Path, write_study: Writer, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    for folder in ("study", "elsewhere"):
        (tmp_path / folder).mkdir()
    data = {"data": "questions", "answer": "number"}
    path = write_study({"task": {"name": "jsonl", "options": data}})
    study = json.loads(path.read_text()) | {"base": "../tiny.yaml"}
    changes = {
        "base": {},
        "fixed": {"fixed": {"task.options.data": "mine"}},
        "fixed whole": {"fixed": {"task.options": data | {"data": "mine"}}},
        "space": {"space": {"task.options.data": ["mine", "./mine/too"]}},
    }[section]
    moved = tmp_path / "study" / "study.yaml"
    moved.write_text(json.dumps(study | changes))
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = load_study(moved)
    values = {"task.options.data": "mine"} if section == "space" else {}
    expected = tmp_path / "questions" if section == "base" else tmp_path / "study" / "mine"
    assert loaded.experiment(values, seed=0).task.options["data"] == str(expected)


def test_what_is_no_yaml_mapping_is_said(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps([1, 2]))
    with pytest.raises(UserError, match=r"a study is a mapping of fields"):
        load_study(path)
