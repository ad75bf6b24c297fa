"""Runs that differ in nothing but their seed are one group."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from w2s_analysis.reading.frame import Frames, flat
from w2s_analysis.reading.group import (
    PASS_K,
    Group,
    Member,
    accuracy_bounds,
    accuracy_estimate,
    names_of,
    once,
    planned_methods,
    shared,
)
from w2s_analysis.reading.recipes import find_recipe
from w2s_analysis.reading.titles import outline_of
from w2s_analysis.reading.typed import written
from w2s_core.errors import UserError
from w2s_core.recipes.record import model_contents, model_names, recipe_name

__all__ = [
    "PASS_K",
    "Group",
    "Member",
    "accuracy_bounds",
    "accuracy_estimate",
    "by_subject",
    "default_split",
    "differing_fields",
    "make_groups",
    "names_of",
    "once",
    "planned_methods",
    "shared",
    "written_value",
]

MAX_SUBJECTS: Final = 12
"""How many subjects a report tells apart by how they were prepared: each has tables and panels of its own."""
OUTPUT_FIELDS: Final = {"name", "seed", "evaluation.splits", "evaluation.samples"}
"""Fields that decide which results a run has, and none of what they are, in any recipe; a recipe may have more. Runs
that differ in these alone are one experiment, and their results are put together.
"""


def make_groups(
    frames: Frames, split: str | None = None, repeated: Literal["refuse", "latest"] = "refuse"
) -> list[Group]:
    """The groups of a frame, in order of their subjects' first appearance.

    Args:
        split: which questions; test, or else dev, where none is given.
        repeated: what to do with two runs of one experiment and seed whose results are not the same ones: refuse
            them, or take the one that was started last.

    Raises:
        UserError: two such runs.
    """
    chosen = split or default_split(frames)
    together: dict[str, list[str]] = {}
    for name, record in frames.records.items():
        together.setdefault(_identity(record), []).append(name)
    groups = [_make(frames, names, chosen, repeated) for names in together.values()]
    groups = _tell_subjects_apart(groups)
    _name(groups)
    return groups


def default_split(frames: Frames) -> str:
    """Test where any run is judged on it, or else dev."""
    labels = {label for record in frames.records.values() for label in record["targets"]}
    on_test, on_dev = (any(f"/{split}/" in label for label in labels) for split in ("test", "dev"))
    return "dev" if on_dev and not on_test else "test"


def _identity(record: Mapping[str, Any]) -> str:
    contents, settings = model_contents(record), _settings(record)
    for field in contents:  # where a model lies, and what its folder is called, is of one machine
        settings.pop(field, None)
    models = contents or [model_names(record), _contents(record)]
    return json.dumps([recipe_name(record), models, record.get("task"), settings], sort_keys=True)


def _contents(record: Mapping[str, Any]) -> dict[str, str]:
    """The content of each base model; empty where the record tells only where they lay.

    Older records name the contents among their steps, without saying which is which.
    """
    if contents := model_contents(record):
        return contents
    bases = sorted(label for label in record.get("steps") or {} if label.startswith("base_model:"))
    return dict.fromkeys(model_names(record), " ".join(bases)) if bases else {}


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment, flat. A model of known content goes by its name: folders differ from machine to machine."""
    recipe = find_recipe(recipe_name(record))
    outputs = OUTPUT_FIELDS.union(recipe.outputs if recipe is not None else ())
    settings = {field: value for field, value in flat(_complete(record)).items() if field not in outputs}
    names = model_names(record) if _contents(record) else {}
    return settings | {field: name for field, name in names.items() if field in settings}


def _complete(record: Mapping[str, Any]) -> Any:
    """The experiment with the fields that came after the run.

    Their defaults are what was done before there was a choice.
    """
    experiment, recipe = record.get("experiment", {}), find_recipe(recipe_name(record))
    if recipe is None:
        return experiment
    try:
        return recipe.fields.model_validate_json(json.dumps(experiment)).model_dump(mode="json")
    except ValidationError:  # a record of other fields than today's: it stands as it was written
        return experiment


def _make(frames: Frames, names: list[str], split: str, repeated: str) -> Group:
    records = {name: frames.records[name] for name in names}
    by_seed: dict[int, list[str]] = {}
    for name, record in records.items():
        by_seed.setdefault(int(record.get("seed", 0)), []).append(name)
    members = [_member(records, by_seed[seed], seed, repeated) for seed in sorted(by_seed)]
    first = records[names[0]]
    models = model_names(first)
    base = next(iter(models.values()), "?")
    return Group(
        name=base,
        recipe=recipe_name(first),
        subject=base,
        models=models,
        task=str(first.get("task", "?")),
        members=members,
        split=split,
        outline=outline_of(records[name] for member in members for name in member.runs),
        sizes={part: float(number) for part, number in first.get("questions", {}).items()},
        settings=_settings(first),
        results=frames.results,
    )


def _member(records: Mapping[str, Any], names: list[str], seed: int, repeated: str) -> Member:
    chosen = _newest(records, names) if repeated == "latest" else names
    commands = {name: written(records[name].get("command", [])) for name in chosen}
    targets: dict[str, str] = {}
    command_for: dict[str, str] = {}
    for name in chosen:
        for label, key in records[name]["targets"].items():
            command_for.setdefault(label, commands[name])
            if targets.setdefault(label, key) != key:
                raise UserError(
                    f"runs {', '.join(chosen[:3])} are one experiment with one seed ({seed}), but their results differ "
                    "(code, models or data changed between them); name one of them"
                )
    typed = tuple(command for command in commands.values() if command)
    return Member("+".join(chosen), seed, tuple(chosen), targets, typed, command_for)


def _newest(records: Mapping[str, Any], names: list[str]) -> list[str]:
    """The last-started run, and those whose results go together with it."""
    newest_first = sorted(names, key=lambda name: (str(records[name].get("started", "")), name), reverse=True)
    chosen: list[str] = []
    targets: dict[str, str] = {}
    for name in newest_first:
        own = records[name]["targets"]
        if all(targets.get(label, key) == key for label, key in own.items()):
            targets |= own
            chosen.append(name)
    return sorted(chosen)


def _tell_subjects_apart(groups: list[Group]) -> list[Group]:
    """A subject is a base model and how it was prepared: settings whose field begins with the model's own (`weak_...`
    of `weak`). Where one base was prepared in several ways, its name says which.

    Many ways are a search for one of them, and stay settings of the base. Returns the groups, those of one base in
    order of how it was prepared.
    """
    subjects: list[tuple[Group, str]] = []
    for rivals in _by(groups, lambda group: group.base).values():
        fields = [field for field in differing_fields(rivals) if field.startswith(f"{rivals[0].lead}_")]
        ordered = sorted(rivals, key=partial(_values, fields))
        subjects += [(group, _qualified(group.base, group, fields)) for group in ordered]
    names = {name for _, name in subjects}
    if names == {group.base for group in groups} or len(names) > MAX_SUBJECTS:
        return groups
    for group, name in subjects:
        group.subject = name
    return [group for group, _ in subjects]


def _values(fields: Sequence[str], group: Group) -> list[tuple[bool, Any]]:
    """The values of some settings as a sort key: numbers in order, then words."""
    values = (group.settings.get(field) for field in fields)
    return [(False, value) if isinstance(value, int | float) else (True, str(value)) for value in values]


def _qualified(name: str, group: Group, fields: Iterable[str]) -> str:
    return ", ".join([name, *(f"{field}={written_value(group.settings.get(field))}" for field in fields)])


def _name(groups: list[Group]) -> None:
    """Tell groups of one subject apart by the settings in which they differ."""
    for rivals in _by(groups, lambda group: group.subject).values():
        if len(rivals) > 1:
            differing = differing_fields(rivals)
            for group in rivals:
                group.name = _qualified(group.subject, group, differing)
            if len({group.name for group in rivals}) < len(rivals):  # one name, two contents
                for number, group in enumerate(rivals, 1):
                    group.name = f"{group.name} ({number})"


def differing_fields(groups: Iterable[Group]) -> list[str]:
    """The fields in which some groups differ, in order."""
    groups = list(groups)
    names = sorted({name for group in groups for name in group.settings})
    return [name for name in names if len({repr(group.settings.get(name)) for group in groups}) > 1]


def written_value(value: Any) -> str:
    """A setting as people write it; of a model's folder the last two names, since the rest is of one machine."""
    if isinstance(value, str) and Path(value).is_absolute():
        return "/".join(Path(value).parts[-2:])
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written_value, value)) + "]"
    return str(value)


def _by(groups: Iterable[Group], key: Callable[[Group], str]) -> dict[str, list[Group]]:
    parts: dict[str, list[Group]] = {}
    for group in groups:
        parts.setdefault(key(group), []).append(group)
    return parts


def by_subject(groups: Iterable[Group]) -> Iterator[tuple[str, list[Group]]]:
    """The groups of each subject."""
    yield from _by(groups, lambda group: group.subject).items()
