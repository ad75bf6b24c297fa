"""A study as a W&B sweep: the file keeps to W&B's schema, and its command runs as W&B's agent would call it."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.cells import CellPlanner
from sweeps.study_file import load_study
from sweeps.wandb_sweep import read_cell, sweep_config
from tests.sweeps.conftest import Writer
from tests.sweeps.test_sweep import trials, w2s
from tests.tiny import REPOSITORY
from w2s_core.errors import UserError

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

    asked = {"args": {name: {"value": value} for name, value in values.items()}}
    parts = utils.create_sweep_command_args(asked) | {"env": ["/usr/bin/env"]}
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
