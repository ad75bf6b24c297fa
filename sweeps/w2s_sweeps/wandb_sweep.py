"""A study as a W&B sweep: W&B's server chooses the cells, and its agents run them through the same path and store."""

import sys
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError
from w2s_core.plugins import loaded_imports
from w2s_core.tracking.backends import PROJECT
from w2s_sweeps.cells import CellPlanner
from w2s_sweeps.space import Cell, Dimension, Shown
from w2s_sweeps.study_file import LoadedStudy

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
        "parameters": {d.field: _parameter(d) for d in planner.space.dimensions},
        "command": [
            "${env}", sys.executable, "-m", "w2s_core.cli", *_imports(), "--store", str(store.absolute()),
            "trial", str(loaded.path.absolute()), "--wandb", "--online", "${args_no_hyphens}",
        ],
    }  # fmt: skip
    return config | ({"run_cap": study.sampler.trials} if study.sampler.trials else {})


def _imports() -> list[str]:
    """`--import MODULE` for each that was given here, as a file where it is one: agents start in other folders."""
    imports = loaded_imports()
    options = []
    for module in imports["modules"]:
        files = (Path(folder, f"{module}.py") for folder in imports["paths"])
        options += ["--import", next((str(file) for file in files if file.is_file()), module)]
    return options


def _parameter(dimension: Dimension) -> dict[str, Any]:
    """The dimension for W&B, with the very values that it has here.

    A range with steps is listed: W&B's `q_uniform` draws multiples of the step, wherever the range begins.
    """
    if dimension.range is None:
        return {"values": list(dimension.shown)}
    if dimension.range.step is not None:
        return {"values": dimension.range.listed()}
    ends = {"min": dimension.range.low, "max": dimension.range.high}
    if dimension.range.log and dimension.range.whole:
        return {
            "distribution": "q_log_uniform_values",
            **ends,
            "q": 1,
        }  # rounded, so that both ends are drawn
    if dimension.range.log:
        return {"distribution": "log_uniform_values", **ends}
    return {"distribution": "int_uniform" if dimension.range.whole else "uniform", **ends}


def read_cell(loaded: LoadedStudy, planner: CellPlanner, arguments: tuple[str, ...]) -> Cell:
    """The cell that `field=value` arguments name, with each field of the space once.

    Raises:
        UserError: a field that does not vary, that is missing, or a value that is not in the study's space.
    """
    texts: dict[str, str] = {}
    for argument in arguments:
        field, equals, text = argument.partition("=")
        if not equals:
            raise UserError(f"'{argument}': write field=value")
        if texts.setdefault(field, text) != text:
            raise UserError(f"{loaded.path}: field '{field}' is given twice, as {texts[field]} and as {text}")
    fields = [dimension.field for dimension in planner.space.dimensions]
    if unlike := sorted(texts.keys() ^ set(fields)):
        problem = "is missing" if unlike[0] in fields else "does not vary in this study"
        raise UserError(
            f"{loaded.path}: field '{unlike[0]}' {problem}; give each of {', '.join(fields)} once"
        )
    return Cell({d.field: _read(loaded, d, texts[d.field]) for d in planner.space.dimensions})


def _read(loaded: LoadedStudy, dimension: Dimension, text: str) -> Shown:
    place = f"{loaded.path}: {dimension.field}={text}"
    if dimension.range is None:
        for shown in dimension.shown:
            if str(shown) == text or _number(text) == shown:
                return shown
        raise UserError(f"{place}: not in the study's space ({', '.join(map(str, dimension.shown))})")
    number = _number(text)
    value = None if number is None else dimension.nearest(number)
    if value is None:
        raise UserError(f"{place}: not in the study's space ({_described(dimension)})")
    return value


def _described(dimension: Dimension) -> str:
    assert dimension.range is not None
    low, high, step = dimension.range.low, dimension.range.high, dimension.range.step
    kind = f"{low:g}, {dimension.range.at(1):g} and so on up to" if step else f"from {low:g} to"
    return f"{kind} {high:g}{', whole numbers' if dimension.range.whole and not step else ''}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
