"""What a study is: one YAML file beside an experiment, read as strictly; every value is tried before it runs."""

import copy
import json
import math
from collections.abc import Collection, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from w2s_core.errors import UserError
from w2s_core.experiment import DATA, Experiment, build_experiment, recipe_of, sets
from w2s_core.runs import resolve_base
from w2s_core.strict_yaml import Lines, Misplaced, Place, Section, read_yaml, set_field, validate

LARGEST = 1e15
"""Whole numbers beyond this are not told apart by the floating-point numbers that samplers count in."""
MOST_VALUES = 100_000
"""More values of one field than any grid can compute: a step that small is a slip."""
MOST_SEED = 2**32 - 1
MOST_LISTED, MOST_CELLS = 1_000, 100_000
"""Listed values of a field, each of which is tried when the file is read; and cells of a grid."""
SAMPLERS = Literal["grid", "tpe", "nsga2", "qmc"]
COSTS = ("training_tokens", "sampling_tokens", "tokens")
"""Objectives that count what a cell's final model cost: tokens trained on, tokens drawn, and both."""


class Range(Section):
    """The values of a field between two ends, both included. `int` where `low`, `high` and `step` are whole numbers."""

    low: int | float = Field(description="the lower end")
    high: int | float = Field(description="the upper end")
    step: int | float | None = Field(default=None, gt=0, description="between two values; a grid needs one")
    log: bool = Field(default=False, description="drawn evenly on a logarithmic scale; no step then")

    @model_validator(mode="after")
    def _in_order(self) -> "Range":
        if max(abs(self.low), abs(self.high)) > LARGEST:
            raise ValueError(f"no end may be beyond {LARGEST:g}")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low > 0 and no step")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are integers."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    def listed(self) -> list[int | float]:
        """The values of a range with a step: both ends, where the steps meet the upper one."""
        step = self.step or 1
        if self.whole:
            return list(range(int(self.low), int(self.high) + 1, int(step)))
        return [self.at(place) for place in range(self.steps)]

    def at(self, place: int) -> float:
        """The value after so many steps."""
        # As decimals, as they are written and as Optuna counts: in binary fractions 0.1 + 2 * 0.1 is above 0.3.
        return float(_decimal(self.low) + place * _decimal(self.step or 1))

    @property
    def steps(self) -> int:
        """How many values a range with a step has."""
        return int((_decimal(self.high) - _decimal(self.low)) / _decimal(self.step or 1)) + 1


def _decimal(number: float) -> Decimal:
    return Decimal(repr(number))


Values = Annotated[
    Annotated[list[Any], Tag("(values)")] | Annotated[Range, Tag("(range)")],
    Discriminator(
        lambda values: {list: "(values)", dict: "(range)"}.get(type(values)),
        custom_error_type="values",
        custom_error_message="list its values, or give a range: {low: ..., high: ..., step: ...}",
    ),
]
"""What a field may be: listed values, or a range."""


class Sampler(Section):
    """How cells are chosen. A grid is every combination; the others choose `trials` of them, `batch` at a time."""

    name: SAMPLERS = Field(default="grid", description="how cells are chosen; a grid is every combination")
    trials: int | None = Field(
        default=None, ge=1, le=MOST_VALUES, description="how many; a grid takes none [cells]"
    )
    batch: int = Field(
        default=4,
        ge=1,
        le=MOST_VALUES,
        description="trials chosen at once; fixed, so that workers change nothing [cells]",
    )
    seed: int = Field(default=0, ge=0, le=MOST_SEED, description="of the sampler")

    @model_validator(mode="after")
    def _length(self) -> "Sampler":
        if (self.name == "grid") != (self.trials is None):
            raise ValueError(
                "a grid has no number of trials" if self.name == "grid" else "give trials: how many"
            )
        return self


class Objective(Section):
    """What a cell is judged by: a graded target on dev, or a cost.

    `accuracy` is the greedy accuracy on dev of the cell's final model, as the recipe names it. `greedy/dev/MODEL` and
    `samples/dev/MODEL` name another model, `labels/SET` the precision of a labelled set. Costs: see `COSTS`.
    """

    metric: str = Field(
        default="accuracy",
        description="accuracy (greedy, on dev, of the final model), greedy/dev/MODEL, samples/dev/MODEL, labels/SET, "
        "training_tokens, sampling_tokens or tokens",
    )
    direction: Literal["maximize", "minimize"] = Field(default="maximize", description="which way is better")


class Pruner(Section):
    """When to give a cell up: after each of the recipe's rungs, by the accuracy of that model on dev."""

    name: Literal["median", "percentile"] = Field(description="a cell is given up below this of the others")
    percentile: float = Field(
        default=50.0, gt=0, lt=100, description="of `percentile`: keep the best that many [per cent]"
    )
    startup_trials: int = Field(
        default=5, ge=0, le=MOST_VALUES, description="complete trials before any is given up [cells]"
    )


class Study(Section):
    """Everything that decides which cells a sweep computes and what it makes of them."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=60, description="of the study and its runs"
    )
    base: str = Field(description="the experiment file, relative to this one")
    fixed: dict[str, Any] = Field(default={}, description="fields that differ from the base in every cell")
    space: dict[str, Values] = Field(
        min_length=1, description="dotted field: its values in a list, or a range"
    )
    sampler: Sampler = Field(default=Sampler(), description="how cells are chosen")
    objectives: tuple[Objective, ...] = Field(
        default=(Objective(),), min_length=1, description="what a cell is judged by"
    )
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="each cell runs with each of these"
    )
    pruner: Pruner | None = Field(default=None, description="when a cell is given up early")
    test: Literal["all", "best", "none"] = Field(
        default="best", description="the cells that read test, at the end"
    )
    retries: int = Field(default=1, ge=0, le=1000, description="how often a failed cell is tried again")
    workers: int = Field(default=1, ge=1, le=64, description="processes, where --workers says nothing")
    storage: str | None = Field(default=None, description="URL of Optuna's database; by default in the store")

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0 or max(self.seeds) > MOST_SEED:
            given = f"(given: {list(self.seeds[:20])})"
            raise Misplaced(("seeds",), f"must be different, not negative and at most {MOST_SEED} {given}")
        if self.pruner:
            _check_pruned(self.objectives)
        _check_fields(self.space.keys(), self.fixed.keys())
        for field, values in self.space.items():
            _check_values(field, values, self.sampler.name)
        if self.sampler.name == "grid":
            _check_cells(self.space.values(), len(self.seeds))
        return self


def _check_pruned(objectives: Sequence[Objective]) -> None:
    if len(objectives) > 1:
        raise Misplaced(("pruner",), "needs a single objective")
    if objectives[0].direction == "minimize" or objectives[0].metric in COSTS:
        # It would give up the cells whose models are the best.
        raise Misplaced(("pruner",), "goes by accuracy: it needs an accuracy to maximize as objective")


def _check_fields(space: Collection[str], fixed: Collection[str]) -> None:
    for section, fields in (("space", space), ("fixed", fixed)):
        for field in fields:
            if reason := RESERVED.get(field):
                raise Misplaced((section, field), reason)
    for field in space:
        if field in fixed:
            raise Misplaced(("space", field), "stands in both `fixed` and `space`")
        for inner in (*space, *fixed):
            if inner.startswith(f"{field}."):  # a section that varies would overwrite its field
                raise Misplaced(("space", field), f"is set by '{inner}' too: name its fields one by one")


RESERVED = {
    **dict.fromkeys(
        ("seed", "name", "evaluation.splits"), "is set by the sweep itself; seeds go into `seeds`"
    ),
    "evaluation": "holds `splits`, which the sweep sets: name its other fields, such as evaluation.samples",
    # Cells of two recipes have other fields, other models and other final models: no axis joins them.
    "recipe": "a study has the recipe of its base experiment: write a study for each recipe",
}
"""Fields that a study cannot set, with the reason."""


def _check_values(field: str, values: list[Any] | Range, sampler: str) -> None:
    place = ("space", field)
    if isinstance(values, Range):
        if sampler == "grid" and values.step is None:
            raise Misplaced(place, "a grid needs the values themselves, or a range with a step")
        if values.step is not None and values.steps > MOST_VALUES:
            raise Misplaced(place, f"its steps give more than {MOST_VALUES:,} values: choose a larger step")
    elif not 1 <= len(values) <= MOST_LISTED:
        empty = "the space is empty; list at least one value"
        raise Misplaced(place, f"at most {MOST_LISTED:,} values can be listed" if values else empty)
    elif any(value in values[:index] for index, value in enumerate(values)):
        raise Misplaced(place, "a value stands twice")
    elif len({str(value) for value in values}) < len(values):
        # 0.1 and "0.1": neither a run's name nor the arguments of `w2s trial` could tell them apart.
        raise Misplaced(place, "two values are written alike")


def _check_cells(space: Iterable[list[Any] | Range], seeds: int) -> None:
    """Refuse a grid that nobody can compute, before it is walked through."""
    runs = seeds * math.prod(values.steps if isinstance(values, Range) else len(values) for values in space)
    if runs > MOST_CELLS:
        raise Misplaced(("space",), f"its grid has {runs:,} runs; at most {MOST_CELLS:,}: list fewer values")


class LoadedStudy:
    """A study with its base experiment: makes the experiment of any cell. `recipe` is that of the base."""

    def __init__(self, study: Study, path: Path, lines: Lines) -> None:
        self.study, self.path = study, path
        self._lines = lines
        base = path.parent / study.base
        self._tree, self._base_lines = read_yaml(base, "an experiment")
        self.recipe = recipe_of(self._tree, base, self._base_lines)
        models = self.recipe.models
        paths = (*models, DATA)
        self._folders = dict.fromkeys(paths, base.parent)
        build_experiment(
            self._tree, base, self._base_lines, self._folders
        )  # its own errors, at its own lines
        fixed = {**study.fixed, "evaluation.splits": ["dev"] if study.test == "none" else ["dev", "test"]}
        for field, value in fixed.items():
            self._change(self._tree, field, value)
            self._place(field, "fixed")
        changed = (*study.fixed, *study.space)
        self._folders |= {name: path.parent for name in paths if any(sets(field, name) for field in changed)}
        self._models: dict[tuple[str, str], str] = {}
        self.base = self._try({}, None)
        self._sections = {name: value for name, value in self.base if isinstance(value, Section)}
        self._text = json.dumps(self._tree | {name: getattr(self.base, name) for name in models})
        for field, values in study.space.items():
            for value in [values.low, values.high] if isinstance(values, Range) else values:
                self._try({field: value}, field)

    def experiment(self, values: dict[str, Any], seed: int) -> Experiment:
        """The experiment of a cell: `values` by dotted field. Raises UserError where they do not go together."""
        tree = json.loads(self._text)
        for field, value in values.items():
            located = self._models.get((field, value)) if field in self.recipe.models else None
            self._change(tree, field, value if located is None else located)
        tree["seed"] = seed
        tree["name"] = self.study.name
        return self._share(build_experiment(tree, self.path, {}, self._folders, known_task=self.base.task))

    def _share(self, experiment: Experiment) -> Experiment:
        """The experiment with the base's own sections where they are equal: 10,000 cells then hold them once."""
        shared = {
            name: section for name, section in self._sections.items() if getattr(experiment, name) == section
        }
        return experiment.model_copy(update=shared)

    def line(self, field: str) -> str:
        """The place of a field of the space, for messages: `study.yaml:12`."""
        return f"{self.path}:{self._lines.get(('space', field), 1)}"

    def _try(self, values: dict[str, Any], field: str | None) -> Experiment:
        """Check a value by itself; an error names the line of the study file."""
        tree = copy.deepcopy(self._tree)
        lines = dict(self._base_lines) if field is None else {}
        for name, value in values.items():
            lines[self._change(tree, name, value)] = self._lines.get(("space", name), 1)
        experiment = build_experiment(tree, self.path, lines, self._folders)
        for name in values:
            if name in self.recipe.models:
                self._models[name, values[name]] = getattr(experiment, name)
                _check_model(getattr(experiment, name), self.line(name))
        return experiment

    def _change(self, tree: dict[str, Any], field: str, value: Any) -> Place:
        try:
            return set_field(tree, field, value)
        except UserError as error:
            raise UserError(f"{self.path}: field {error}") from None

    def _place(self, field: str, section: str) -> None:
        self._base_lines[tuple(field.split("."))] = self._lines.get((section, field), 1)


def _check_model(model: str, place: str) -> None:
    if not Path(model).is_absolute():
        try:
            resolve_base(model)  # a hub id: only its form is looked at
        except UserError as error:
            raise UserError(f"{place}: {error}") from None
    elif not Path(model).is_dir():
        raise UserError(f"{place}: no model folder {model}")


def load_study(path: Path) -> LoadedStudy:
    """Read a study file and its base experiment.

    Raises:
        UserError: a file cannot be read, or a field or a value is unknown, missing, or of wrong type or range.
    """
    tree, lines = read_yaml(path, "a study")
    return LoadedStudy(validate(Study, tree, path, lines), path, lines)
