"""A study as a W&B sweep: W&B's server chooses the cells, and its agents run them through the same path and store."""

import sys
from pathlib import Path
from typing import Any

from sweeps.cells import CellPlanner
from sweeps.space import Cell, Dimension, Shown
from sweeps.study_file import LoadedStudy
from w2s_core.errors import UserError
from w2s_core.tracking.backends import PROJECT

METHODS = {"grid": "grid", "tpe": "bayes", "qmc": "random", "nsga2": "random"}
"""What W&B offers in place of each sampler."""


def sweep_config(loaded: LoadedStudy, store: Path) -> dict[str, Any]:
    """The sweep file for `wandb sweep`. Its agents call `w2s trial STUDY field=value ...`.

    Raises:
        UserError: the study has several objectives, which W&B's methods cannot follow.
    """
    study = loaded.study
    planner = CellPlanner(loaded)
    planner.plan(planner.space.example())  # an objective that no run produces is found here, not by an agent
    if len(study.objectives) > 1:
        raise UserError(
            f"{loaded.path}: a W&B sweep follows one objective, the study has {len(study.objectives)}"
        )
    (objective,) = study.objectives
    config: dict[str, Any] = {
        "name": study.name,
        "project": PROJECT,
        "method": METHODS[study.sampler.name],
        "metric": {"name": objective.metric, "goal": objective.direction},
        "parameters": {one.field: _parameter(one) for one in planner.space.dimensions},
        "command": [
            "${env}", sys.executable, "-m", "w2s_core.cli", "--store", str(store.absolute()),
            "trial", str(loaded.path.absolute()), "--wandb", "--online", "${args_no_hyphens}",
        ],
    }  # fmt: skip
    return config | ({"run_cap": study.sampler.trials} if study.sampler.trials else {})


def _parameter(dimension: Dimension) -> dict[str, Any]:
    if dimension.range is None:
        return {"values": list(dimension.shown)}
    low, high, step = dimension.range.low, dimension.range.high, dimension.range.step
    ends = {"min": low, "max": high}
    if dimension.range.log:
        return {"distribution": "log_uniform_values", **ends}
    if step is not None:
        return {"distribution": "q_uniform", **ends, "q": step}
    return {"distribution": "int_uniform" if dimension.range.whole else "uniform", **ends}


def read_cell(loaded: LoadedStudy, planner: CellPlanner, arguments: tuple[str, ...]) -> Cell:
    """The cell that `field=value` arguments name, with each field of the space once.

    Raises:
        UserError: a field that does not vary, that is missing, or a value that is not in the study's space.
    """
    given = {}
    for argument in arguments:
        field, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"'{argument}': write field=value")
        given[field] = value
    fields = [one.field for one in planner.space.dimensions]
    if unlike := sorted(given.keys() ^ set(fields)):
        what = "is missing" if unlike[0] in fields else "does not vary in this study"
        raise UserError(f"{loaded.path}: field '{unlike[0]}' {what}; give each of {', '.join(fields)} once")
    return Cell({one.field: _read(loaded, one, given[one.field]) for one in planner.space.dimensions})


def _read(loaded: LoadedStudy, dimension: Dimension, text: str) -> Shown:
    if dimension.range is None:
        for shown in dimension.shown:
            if str(shown) == text or _number(text) == shown:
                return shown
        raise UserError(
            f"{loaded.path}: {dimension.field}={text}: not in the study's space "
            f"({', '.join(map(str, dimension.shown))})"
        )
    number = _number(text)
    if number is None or not dimension.range.low <= number <= dimension.range.high:
        raise UserError(
            f"{loaded.path}: {dimension.field}={text}: not between {dimension.range.low:g} and {dimension.range.high:g}"
        )
    return int(number) if dimension.range.whole else number


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
