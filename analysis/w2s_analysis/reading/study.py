"""Which runs a report is made of, and which of their settings it shows in detail."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from w2s_analysis.reading.frame import Frames, StoreLike, load_frames
from w2s_analysis.reading.groups import (
    Group,
    by_subject,
    default_split,
    differing_fields,
    make_groups,
    written_value,
)
from w2s_analysis.reading.recipes import find_recipe, model_heading
from w2s_analysis.reading.results import Results
from w2s_core.engine import disk
from w2s_core.errors import UserError
from w2s_core.recipes.record import model_contents, model_names, recipe_name

SHOWN_GROUPS = 12
"""So many settings have tables of their own; of more, those of the base setting."""


@dataclass(frozen=True, eq=False)
class Study:
    """The runs of a report.

    Attributes:
        frames: the runs, with their records and results.
        groups: every setting, on the split of the detailed tables where it is judged on it, else on dev.
        detailed: the settings whose tables are shown in full.
        bases: one setting a subject, for what compares subjects.
        further: a sentence on the settings that have no tables of their own; empty if there are none.
        left_out: a sentence on runs that stand in no table at all; empty if there are none.
        command: how the report is made again, as one types it; may be empty.
    """

    frames: Frames
    groups: list[Group]
    detailed: list[Group]
    bases: list[Group]
    further: str = ""
    left_out: str = ""
    command: str = ""

    @property
    def recipe(self) -> str:
        """The recipe of all runs."""
        return self.groups[0].recipe

    @property
    def runs(self) -> list[str]:
        """The names of all runs."""
        return [run for group in self.groups for run in group.all_runs]


def open_frames(store: StoreLike, names: Sequence[str] = (), study: str | None = None) -> Frames:
    """The runs of these names, or of a study; or all runs of the store, if they share task and companion models.

    Raises:
        UserError: a name that is no run, a study without runs, or runs that do not belong in one table.
    """
    if names:
        return load_frames(store, names)
    records = dict(_runs(store))
    if not records:
        raise UserError("the store holds no run yet; start one with: w2s run EXPERIMENT.yaml")
    if study is not None:
        chosen = {name: record for name, record in records.items() if record.get("study") == study}
        if not chosen:
            known = sorted({str(record["study"]) for record in records.values() if record.get("study")})
            listed = f"; there are: {', '.join(known)}" if known else "; no run belongs to a study"
            raise UserError(f"no run belongs to a study '{study}'{listed}")
        return Frames(chosen, Results(store))
    _check_one_kind(records)
    return Frames(records, Results(store))


def _check_one_kind(records: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises UserError where runs of one recipe differ in task or companion models: which are meant is not said."""
    kinds: dict[str, Counter[str]] = {}
    fields: dict[str, None] = {}
    for record in records.values():
        others = companions(record)
        fields |= dict.fromkeys(model_heading(field) for field in others)
        name = " with ".join([str(record.get("task", "?")), *others.values()])
        kinds.setdefault(recipe_name(record), Counter())[name] += 1
    if all(len(counts) == 1 for counts in kinds.values()):
        return
    listed = "; ".join(
        f"{name} ({n} runs)" for counts in kinds.values() for name, n in sorted(counts.items())
    )
    raise UserError(
        f"the store's runs do not share {' and '.join(['task', *fields])}: {listed}. Say which: --study NAME, or "
        "--runs RUN ..."
    )


def _runs(store: StoreLike) -> Iterable[tuple[str, dict[str, Any]]]:
    for name, record in store.refs.readable():
        if isinstance(record.get("targets"), dict) and "task" in record:
            yield name, record
        else:
            disk.warn(f"'{name}' is left out: its record is not that of a run")


def companions(record: Mapping[str, Any]) -> dict[str, str]:
    """A run's base models by field without the first, which is what a study compares."""
    return dict(list(model_names(record).items())[1:])


def _companions_by_run(frames: Frames) -> dict[str, dict[str, str]]:
    """The companions of each run. A model that bears several names, as a folder that was moved, goes by the first."""
    names: dict[tuple[str, str], str] = {}
    return {
        run: {
            field: names.setdefault((field, model_contents(record).get(field, name)), name)
            for field, name in companions(record).items()
        }
        for run, record in frames.records.items()
    }


def by_recipe(frames: Frames) -> dict[str, Frames]:
    """The runs of each recipe, in order of first appearance: no table mixes them."""
    names: dict[str, list[str]] = {}
    for name, record in frames.records.items():
        names.setdefault(recipe_name(record), []).append(name)
    return {recipe: frames.only(part) for recipe, part in names.items()}


def by_companions(frames: Frames) -> list[tuple[dict[str, str], Frames]]:
    """The runs of each choice of companion models, in order of first appearance: no table but a grid mixes them."""
    names: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for name, models in _companions_by_run(frames).items():
        names.setdefault(tuple(models.items()), []).append(name)
    return [(dict(models), frames.only(part)) for models, part in names.items()]


def make_study(frames: Frames, command: str = "", *, named: bool = True) -> Study:
    """Group the runs, and choose what is shown in detail.

    Args:
        named: the runs were named one by one; then two that contradict each other are refused. Else the newer counts.

    Raises:
        UserError: runs of several recipes, tasks or companion models, or that contradict each other.
    """
    check_mixable(frames)
    split = default_split(frames)
    groups = make_groups(frames, split, "refuse" if named else "latest")
    judged = [group for group in groups if group.planned() or group.planned("samples")] or groups
    bases = [_base(rivals, groups) for _, rivals in by_subject(judged)]
    detailed = judged if len(judged) <= SHOWN_GROUPS else bases
    groups = [group if group in judged else group.on("dev") for group in groups]
    further = _further(groups, detailed, bases)
    if len(detailed) == len(bases):  # then the subject's name tells all of them apart
        for group in bases:
            group.name = group.subject
    return Study(frames, groups, detailed, bases, further, _left_out(frames, groups), command)


def check_mixable(frames: Frames) -> None:
    """Raises UserError where runs have several recipes, tasks or companion models: no table can mix them."""
    records = list(frames.records.values())
    _refuse_several("recipes", map(recipe_name, records))
    check_one_task(frames)
    by_run = _companions_by_run(frames).values()
    for field in dict.fromkeys(field for models in by_run for field in models):
        _refuse_several(f"{model_heading(field)}s", (models.get(field, "?") for models in by_run))


def check_one_task(frames: Frames) -> None:
    """Raises UserError where runs have several tasks: no table and no grid can mix them."""
    _refuse_several("tasks", (str(record.get("task", "?")) for record in frames.records.values()))


def _refuse_several(kind: str, names: Iterable[str]) -> None:
    distinct = sorted(set(names))
    if len(distinct) > 1:
        raise UserError(f"these runs have several {kind} ({', '.join(distinct)}), which no table can mix")


def _base(rivals: list[Group], groups: list[Group]) -> Group:
    """The setting of a subject that the others vary: in each field the commonest value, else the recipe's default."""
    if len(rivals) == 1:
        return rivals[0]
    preferred = {name: _preferred(name, groups) for name in differing_fields(rivals)}
    return max(
        rivals,
        key=lambda group: sum(repr(group.settings.get(name)) == value for name, value in preferred.items()),
    )


def _preferred(name: str, groups: Sequence[Group]) -> str:
    counts = Counter(repr(group.settings.get(name)) for group in groups)
    default = repr(default_value(groups[0].recipe, name))
    return max(sorted(counts), key=lambda value: (counts[value], value == default))


def default_value(recipe_name: str, name: str) -> Any:
    """The default that a recipe has for a field with a dotted name; None where it has none."""
    recipe = find_recipe(recipe_name)
    section: Any = recipe.fields if recipe is not None else None
    *sections, last = name.split(".")
    for part in sections:
        section = getattr(_field(section, part), "annotation", None)
    field = _field(section, last)
    return None if field is None or field.is_required() else field.default


def _field(section: Any, name: str) -> Any:
    return getattr(section, "model_fields", {}).get(name)


def _further(groups: list[Group], detailed: list[Group], bases: list[Group]) -> str:
    rest = len(groups) - len(detailed)
    if not rest:
        return ""
    fields = [name for name in differing_fields(groups) if name != groups[0].lead]
    values = dict.fromkeys(
        ", ".join(f"{name}={written_value(base.settings.get(name))}" for name in fields) for base in bases
    )
    chosen = f" Shown here: {'; '.join(values)}." if len(detailed) == len(bases) else ""
    return f"{rest} further setting{'s' * (rest > 1)}: see settings.md.{chosen}"


def _left_out(frames: Frames, groups: list[Group]) -> str:
    reported = {run for group in groups for run in group.all_runs}
    older = [name for name in frames.records if name not in reported]
    if not older:
        return ""
    more = f" and {len(older) - 5} more" if len(older) > 5 else ""
    why = "a newer run of the same experiment and seed has other results"
    return f"Left out, since {why}: {', '.join(older[:5])}{more}."


def setting_of(group: Group, base: Group) -> str:
    """In what a group differs from another, as people write it; `base setting` where in nothing."""
    names = [name for name in differing_fields([group, base]) if name != group.lead]
    return ", ".join(f"{name}={written_value(group.settings.get(name))}" for name in names) or "base setting"
