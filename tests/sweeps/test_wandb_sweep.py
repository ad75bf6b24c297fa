"""A study as a W&B sweep: the file keeps to W&B's schema, and its command runs as W&B's agent would call it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.sweeps.conftest import Writer
from tests.sweeps.test_sweep import trials, w2s
from tests.tiny import REPOSITORY
from w2s_core.errors import UserError
from w2s_core.plugins import import_module
from w2s_sweeps.cells import CellPlanner
from w2s_sweeps.study_file import load_study
from w2s_sweeps.wandb_sweep import read_cell, sweep_config

SCHEMA = REPOSITORY / ".venv" / "wandb-schema" / "sweeps" / "config" / "schema.json"
RANGES = {
    "stage2.keep": {"low": 0.1, "high": 0.9},
    "sft.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "stage2.flip": {"low": 0.5, "high": 0.9, "step": 0.1},
    "shots": {"low": 1, "high": 4},
}


def agent_command(config: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """The command line that W&B's agent makes of a sweep's command and a run's parameters, with its own functions."""
    from wandb.sdk.launch.sweeps import utils

    request = {"args": {name: {"value": value} for name, value in values.items()}}
    parts = utils.create_sweep_command_args(request) | {"env": ["/usr/bin/env"]}
    command: list[str] = []
    for chunk in utils.create_sweep_command(list(config["command"])):
        place = re.fullmatch(r"\$\{(\w+)\}", chunk)
        command += parts[place[1]] if place else [chunk]
    return command


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fixed": {"stage2.methods": ["dpo"]}, "space": RANGES, "sampler": {"name": "tpe", "trials": 7}},
        {"fixed": {"stage2.methods": ["dpo"]}, "space": RANGES, "sampler": {"name": "qmc", "trials": 7}},
    ],
)
def test_the_file_keeps_to_the_schema_of_wandb(
    write_study: Writer, tmp_path: Path, changes: dict[str, Any]
) -> None:
    if not SCHEMA.is_file():
        pytest.skip(f"W&B's schema is not there ({SCHEMA}): `make setup` installs it")
    import jsonschema

    config = sweep_config(load_study(write_study(**changes)), tmp_path)
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    assert [error.message for error in validator.iter_errors(config)] == []
    broken = config | {"method": "guess"}
    assert list(validator.iter_errors(broken)), "the schema would let anything pass"


def test_several_objectives_are_refused(write_study: Writer, tmp_path: Path) -> None:
    objectives = [{"metric": "accuracy"}, {"metric": "tokens", "direction": "minimize"}]
    with pytest.raises(UserError, match="follows one objective"):
        sweep_config(load_study(write_study(objectives=objectives)), tmp_path)


def test_what_an_agent_sends_is_read_back_as_the_cell(write_study: Writer) -> None:
    loaded = load_study(write_study())
    planner = CellPlanner(loaded)
    for cell in planner.space.cells():
        sent = agent_command({"command": ["${args_no_hyphens}"]}, dict(cell.shown))
        assert read_cell(loaded, planner, tuple(sent)) == cell


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("stage2.keep=0.0",),
            r"field 'stage2.methods' is missing; give each of stage2.keep, stage2.methods once",
        ),
        (
            ("stage2.keep=0.7", "stage2.methods=dpo"),
            r"stage2.keep=0.7: not in the study's space \(0.0, 0.3\)",
        ),
        (("stage2.keep=0", "stage2.methods=dpo", "shots=1"), r"field 'shots' does not vary"),
        (("dpo",), r"write field=value"),
    ],
)
def test_a_cell_that_is_none_is_one_line(
    write_study: Writer, arguments: tuple[str, ...], message: str
) -> None:
    loaded = load_study(write_study())
    with pytest.raises(UserError, match=message):
        read_cell(loaded, CellPlanner(loaded), arguments)


AXES: list[tuple[str, Any, list[Any]]] = [
    ("sft.scheduler", ["cosine", "linear"], ["cosine", "linear"]),
    ("trust_remote_code", [True, False], [True, False]),
    ("task.options", [{"dev": 4}, {"dev": 5}], ['{"dev": 4}', '{"dev": 5}']),
    ("shots", [1, 4, 2], [1, 2, 4]),
    ("sft.weight_decay", [0, 0.25, 1], [0.0, 0.25, 1.0]),
    ("shots", {"low": 3, "high": 9, "step": 2}, [3, 5, 7, 9]),
    ("shots", {"low": 3, "high": 8, "step": 2}, [3, 5, 7]),
    ("sft.weight_decay", {"low": 0.1, "high": 0.9, "step": 0.2}, [0.1, 0.3, 0.5, 0.7, 0.9]),
    ("sft.weight_decay", {"low": 0.15, "high": 0.5, "step": 0.1}, [0.15, 0.25, 0.35, 0.45]),
    ("shots", {"low": 2, "high": 6}, [2, 3, 4, 5, 6]),
    ("shots", {"low": 1, "high": 12, "log": True}, [*range(1, 13)]),
    ("sft.weight_decay", {"low": 0.1, "high": 0.9}, []),
    ("sft.learning_rate", {"low": 1e-5, "high": 1e-2, "log": True}, []),
]
"""A dimension of each kind, and its values; none where it is continuous."""


def drawn_by_wandb(config: dict[str, Any]) -> dict[str, list[Any]]:
    if not SCHEMA.is_file():
        pytest.skip(f"W&B's converter is not there ({SCHEMA}): `make setup` installs it")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("wandb_converter.py")],
        input=json.dumps(config["parameters"]),
        env=os.environ | {"PYTHONPATH": str(SCHEMA.parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    values: dict[str, list[Any]] = json.loads(done.stdout)
    return values


@pytest.mark.parametrize(
    "sampler",
    [{"name": "grid"}, pytest.param({"name": "tpe", "trials": 5}, marks=pytest.mark.slow)],
    ids=["grid", "tpe"],
)
def test_wandb_draws_the_very_values_that_the_sweep_searches(
    write_plain_study: Writer, tmp_path: Path, sampler: dict[str, Any]
) -> None:
    """Through W&B's converter and agent, and back through `w2s trial`'s reader."""
    left = [
        axis for axis in AXES if sampler["name"] != "grid" or isinstance(axis[1], list) or "step" in axis[1]
    ]
    while left:  # a field can be one axis of a study only, so each study takes a field's next kind
        axes = {field: (values, finite) for field, values, finite in reversed(left)}
        left = [axis for axis in left if axes[axis[0]] != axis[1:]]
        space = {field: values for field, (values, _) in axes.items()}
        loaded = load_study(write_plain_study(space=space, sampler=sampler))
        planner = CellPlanner(loaded)
        distributions = planner.space.distributions()
        drawn = drawn_by_wandb(sweep_config(loaded, tmp_path))
        for field, (values, finite) in axes.items():
            texts = set(map(str, drawn[field]))
            cells = {_read_back(loaded, planner, field, text) for text in texts}
            axis = distributions[field]
            assert all(axis._contains(axis.to_internal_repr(value)) for value in cells)
            if finite:
                assert sorted(cells, key=str) == sorted(finite, key=str)
            else:
                assert (min(cells), max(cells)) == pytest.approx((values["low"], values["high"]))
                assert len(cells) == 401


def _read_back(loaded: Any, planner: CellPlanner, field: str, value: Any) -> Any:
    example = planner.space.example().shown
    sent = agent_command({"command": ["${args_no_hyphens}"]}, {**example, field: value})
    return read_cell(loaded, planner, tuple(sent)).shown[field]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", r"shots=4: not in the study's space \(3, 5 and so on up to 9\)"),
        ("11", r"shots=11: not in the study's space"),
        ("nan", r"shots=nan: not in the study's space"),
        ("many", r"shots=many: not in the study's space"),
    ],
)
def test_a_value_between_the_steps_is_refused_before_it_is_computed(
    write_plain_study: Writer, text: str, message: str
) -> None:
    space = {"shots": {"low": 3, "high": 9, "step": 2}}
    loaded = load_study(write_plain_study(space=space, sampler={"name": "tpe", "trials": 3}))
    with pytest.raises(UserError, match=message):
        read_cell(loaded, CellPlanner(loaded), (f"shots={text}",))


def test_an_agent_gets_the_modules_that_the_recipe_came_from(
    write_plain_study: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file by its path, since agents start in other folders; the command then knows the recipe."""
    recipe = REPOSITORY / "tests" / "sweeps" / "plain_recipe.py"
    monkeypatch.setattr("w2s_core.plugins._imports", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    import_module(str(recipe))
    path = write_plain_study()
    config = sweep_config(load_study(path), tmp_path / "store")
    command = config["command"]
    assert command[command.index("--import") + 1] == str(recipe)
    assert command.index("--import") < command.index("trial")


@pytest.mark.slow
def test_the_command_runs_as_an_agent_would_call_it(write_study: Writer, tmp_path: Path) -> None:
    path, store = write_study(), tmp_path / "store"
    w2s("wandb-sweep", path, "--out", tmp_path / "sweep.yaml", store=store)
    config = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    command = agent_command(config, {"stage2.keep": 0.3, "stage2.methods": "orpo"})
    command.remove("--online")  # no network here: the agent's own run is recorded offline
    agent = {
        "WANDB_SWEEP_ID": "abc123",
        "WANDB_RUN_ID": "run00001",
        "WANDB_SILENT": "true",
        "WANDB_MODE": "offline",
    }
    done = subprocess.run(
        command,
        env=os.environ | agent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (trial,) = trials(store)
    assert trial.params == {"stage2.keep": 0.3, "stage2.methods": "orpo"}
    assert done.stdout.splitlines()[-1] == f"accuracy {trial.value:.6g}"
    assert list((store / "trackers" / "wandb").glob("offline-run-*-run00001")), (
        "the agent's run id was not taken"
    )
    swept = w2s("sweep", path, store=store)
    assert "1/4 trials: keep=0.3" not in swept.stderr, "the cell was complete already"
    assert len(trials(store)) == 4
