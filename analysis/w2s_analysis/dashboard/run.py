"""A run as its record has it. Records are untrusted: any file in the store's folder of runs may be one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, get_args

from w2s_analysis.dashboard.columns import Metric, is_plain, metrics_of
from w2s_core.errors import UserError
from w2s_core.recipes.recipe import ROLES, Kind, Outline
from w2s_core.recipes.record import model_contents, model_names, outline, recipe_name

OWN_COLUMNS: Final = ("run", "started", "state")
_OWN_FIELDS: Final = ("study", "recipe")


@dataclass(frozen=True)
class Run:
    """A run.

    Attributes:
        name: as the store has it.
        record: all that was written of it.
        outline: its targets, in its recipe's order; those that make no column are left out.
        trouble: what is wrong with the record's outline, if anything.
    """

    name: str
    record: Mapping[str, Any] = field(repr=False)
    outline: tuple[Outline, ...] = field(default=(), repr=False)
    trouble: str | None = None

    @property
    def targets(self) -> Mapping[str, str]:
        """Keys by label."""
        targets: Mapping[str, str] = self.record["targets"]
        return targets

    @property
    def study(self) -> str | None:
        """The study that the run belongs to."""
        study = self.record.get("study")
        return study if isinstance(study, str) else None

    @property
    def recipe(self) -> str:
        """The recipe that it was planned with."""
        return recipe_name(self.record)

    @cached_property
    def bases(self) -> dict[str, str]:
        """Names of its base models, by the field that names them."""
        try:
            names: Mapping[str, Any] = model_names(self.record)
        except (TypeError, ValueError):  # "bases" is no mapping
            return {}
        return {str(name): model for name, model in names.items() if isinstance(model, str)}

    @cached_property
    def fields(self) -> dict[str, Any]:
        """The settings by dotted name, as text or number; study and recipe first. Models by their short names."""
        settings = {name: value for name, value in self._settings.items() if name != "recipe"}
        study = {"study": self.study} if self.study else {}
        plain = {column_name(name): _plain(value) for name, value in {**settings, **self.bases}.items()}
        return study | {"recipe": self.recipe} | plain

    def model_path(self, name: str) -> str:
        """What the experiment says of a base model: its folder, or its hub id."""
        return str(self._settings.get(name, ""))

    def model_content(self, name: str) -> str:
        """What tells a base model from others: its content; where the record has none, what the experiment says."""
        return model_contents(self.record).get(name) or self.model_path(name)

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """What can be measured of it, by id."""
        return metrics_of(entry for entry in self.outline if entry.label in self.targets)

    @cached_property
    def columns(self) -> dict[str, Metric]:
        """The same by the table's column."""
        return {metric.column: metric for metric in self.metrics.values()}

    @cached_property
    def _settings(self) -> dict[str, Any]:
        experiment = self.record.get("experiment")
        return dict(_leaves(experiment)) if isinstance(experiment, dict) else {}


def read_run(name: str, record: Any) -> Run:
    """A run from its record, which may be any JSON.

    Raises:
        UserError: it names no targets, so it is no run's.
    """
    targets = record.get("targets") if isinstance(record, dict) else None
    if not isinstance(targets, dict) or not all(isinstance(key, str) for key in targets.values()):
        raise UserError(f"'{name}' is no run: its record names no targets")
    try:
        entries = outline(record)
    except (UserError, TypeError, ValueError, KeyError) as error:
        return Run(
            name, record, (), f"run '{name}': no result has a column, its outline is damaged ({error})"
        )
    usable = tuple(entry for entry in entries if _is_outline(entry) and is_plain(entry))
    left_out = len(entries) - len(usable)
    trouble = f"run '{name}': {left_out} targets have no column, their labels or titles are no plain words"
    return Run(name, record, usable, trouble if left_out else None)


def steps_of(run: Run) -> dict[str, str]:
    """Keys by label; of a record that lists no steps, those of its targets."""
    listed = run.record.get("steps")
    steps = listed if isinstance(listed, dict) else run.targets
    return {str(label): str(key) for label, key in steps.items()}


def _is_outline(entry: Outline) -> bool:
    """Whether the parts have the types that they are declared with: a record is JSON, which may hold anything."""
    return (
        all(isinstance(part, str) for part in (entry.name, entry.title))
        and entry.kind in get_args(Kind)
        and (entry.role is None or entry.role in ROLES)
        and (isinstance(entry.split, str) if entry.kind in ("greedy", "samples") else entry.split is None)
    )


def column_name(setting: str) -> str:
    """A setting's column: none of the table's own, and none that reads like a metric's."""
    taken = setting in (*OWN_COLUMNS, *_OWN_FIELDS) or "/" in setting
    return f"experiment.{setting}" if taken else setting


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A nested mapping as dotted names and values."""
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    """A setting as a table shows it: a number, or text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    if isinstance(value, list):
        return ", ".join(str(_plain(item)) for item in value)
    return "" if value is None or value == {} else str(value)
