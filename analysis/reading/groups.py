"""Runs that differ in nothing but their seed are one group."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from analysis.reading.frame import Frames, flat
from analysis.reading.group import PASS_K, Group, Member, accuracy_estimate, names_of, once, shared
from analysis.reading.typed import written
from w2s_core.errors import UserError

__all__ = [
    "PASS_K",
    "Group",
    "Member",
    "accuracy_estimate",
    "by_weak",
    "default_split",
    "differing_fields",
    "make_groups",
    "names_of",
    "once",
    "shared",
    "written_value",
]

MODELS: Final = ("weak", "strong")
TAUGHT: Final = "weak_sft."
WEAK_MODELS: Final = 12
"""How many weak models a report tells apart: each has tables and panels of its own."""
WHICH_RESULTS: Final = {
    "name",
    "seed",
    "controls",
    "stage2.methods",
    "evaluation.splits",
    "evaluation.samples",
}
"""Fields that decide which results a run has, and none of what they are: runs that differ in these alone are one
experiment, and their results are put together.
"""


def make_groups(
    frames: Frames, split: str | None = None, repeated: Literal["refuse", "latest"] = "refuse"
) -> list[Group]:
    """The groups of a frame, in order of their weak models' first appearance.

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
    groups = _tell_weak_models_apart(groups)
    _name(groups)
    return groups


def default_split(frames: Frames) -> str:
    """Test where any run is judged on it, or else dev."""
    labels = {label for record in frames.records.values() for label in record["targets"]}
    return (
        "dev"
        if not any("/test/" in one for one in labels) and any("/dev/" in one for one in labels)
        else "test"
    )


def _identity(record: Mapping[str, Any]) -> str:
    names = [record.get("weak"), record.get("strong"), record.get("task")]
    return json.dumps([*names, _models(record), _settings(record)], sort_keys=True)


def _models(record: Mapping[str, Any]) -> dict[str, str]:
    """The content of the weak and the strong model; empty where the record tells only where they lay.

    Older records name the contents among their steps, without saying which is which.
    """
    models = record.get("models")
    if isinstance(models, dict):
        return {str(side): str(content) for side, content in models.items()}
    bases = sorted(label for label in record.get("steps") or {} if label.startswith("base_model:"))
    return dict.fromkeys(MODELS, " ".join(bases)) if bases else {}


def _settings(record: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment, flat. A model of known content goes by its name: folders differ from machine to machine."""
    found = {k: v for k, v in flat(_complete(record.get("experiment", {}))).items() if k not in WHICH_RESULTS}
    return found | {side: record.get(side) for side in MODELS if side in found and _models(record)}


def _complete(experiment: Any) -> Any:
    """With the fields that came after the run: their defaults are what was done before there was a choice."""
    from pydantic import ValidationError

    from w2s_core.experiment import Experiment

    try:
        return Experiment.model_validate_json(json.dumps(experiment)).model_dump(mode="json")
    except ValidationError:  # a record of other fields than today's says what it can
        return experiment


def _make(frames: Frames, names: list[str], split: str, repeated: str) -> Group:
    records = {name: frames.records[name] for name in names}
    by_seed: dict[int, list[str]] = {}
    for name, record in records.items():
        by_seed.setdefault(int(record.get("seed", 0)), []).append(name)
    members = [_member(records, by_seed[seed], seed, repeated) for seed in sorted(by_seed)]
    first = records[names[0]]
    return Group(
        name=str(first.get("weak", "?")),
        weak=str(first.get("weak", "?")),
        base=str(first.get("weak", "?")),
        strong=str(first.get("strong", "?")),
        task=str(first.get("task", "?")),
        members=members,
        split=split,
        train_2=float(first.get("questions", {}).get("train_2", "nan")),
        settings=_settings(first),
        results=frames.results,
    )


def _member(records: Mapping[str, Any], names: list[str], seed: int, repeated: str) -> Member:
    kept = names
    if repeated == "latest":
        kept = _newest(records, names)
    targets: dict[str, str] = {}
    for name in kept:
        for label, key in records[name]["targets"].items():
            if targets.setdefault(label, key) != key:
                shown = ", ".join(kept[:3])
                raise UserError(
                    f"runs {shown} are one experiment with one seed ({seed}), but their results differ (code, models "
                    "or data changed between them); name one of them"
                )
    commands = (written(records[name].get("command", [])) for name in kept)
    return Member("+".join(kept), seed, tuple(kept), targets, tuple(one for one in commands if one))


def _newest(records: Mapping[str, Any], names: list[str]) -> list[str]:
    """The last-started run, and those whose results go together with it."""
    ordered = sorted(names, key=lambda name: (str(records[name].get("started", "")), name), reverse=True)
    kept: list[str] = []
    targets: dict[str, str] = {}
    for name in ordered:
        ours = records[name]["targets"]
        if all(targets.get(label, key) == key for label, key in ours.items()):
            targets |= ours
            kept.append(name)
    return sorted(kept)


def _tell_weak_models_apart(groups: list[Group]) -> list[Group]:
    """A weak model is a base and how it was taught: where one base was taught in several ways, its name says which.

    Many ways are a search for one of them, and stay settings of the base. Returns the groups, those of one base in
    order of how it was taught.
    """
    told: list[tuple[Group, str]] = []
    for rivals in _by(groups, lambda group: group.weak).values():
        ways = [name for name in differing_fields(rivals) if name.startswith(TAUGHT)]
        ordered = sorted(rivals, key=partial(_taught, ways))
        told += [(group, _qualified(group.weak, group, ways)) for group in ordered]
    names = {name for _, name in told}
    if names == {group.weak for group in groups} or len(names) > WEAK_MODELS:
        return groups
    for group, name in told:
        group.weak = name
    return [group for group, _ in told]


def _taught(ways: Iterable[str], group: Group) -> list[tuple[bool, Any]]:
    """Puts numbers in order, then words."""
    values = (group.settings.get(name) for name in ways)
    return [(False, one) if isinstance(one, int | float) else (True, str(one)) for one in values]


def _qualified(name: str, group: Group, fields: Iterable[str]) -> str:
    return ", ".join([name, *(f"{field}={written_value(group.settings.get(field))}" for field in fields)])


def _name(groups: list[Group]) -> None:
    """Tell groups of one weak model apart by the settings in which they differ."""
    for rivals in _by(groups, lambda group: group.weak).values():
        if len(rivals) > 1:
            differing = differing_fields(rivals)
            for group in rivals:
                group.name = _qualified(group.weak, group, differing)
            if len({group.name for group in rivals}) < len(rivals):  # one name, two contents
                for number, group in enumerate(rivals, 1):
                    group.name = f"{group.name} ({number})"


def differing_fields(groups: Iterable[Group]) -> list[str]:
    """The fields in which some groups differ, in order."""
    groups = list(groups)
    names = sorted({name for one in groups for name in one.settings})
    return [name for name in names if len({repr(one.settings.get(name)) for one in groups}) > 1]


def written_value(value: Any) -> str:
    """A setting as people write it; of a model's folder the last two names, since the rest is of one machine."""
    if isinstance(value, str) and Path(value).is_absolute():
        return "/".join(Path(value).parts[-2:])
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written_value, value)) + "]"
    return str(value)


def _by(groups: Iterable[Group], key: Callable[[Group], str]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(key(group), []).append(group)
    return found


def by_weak(groups: Iterable[Group]) -> Iterator[tuple[str, list[Group]]]:
    """The groups of each weak model."""
    yield from _by(groups, lambda group: group.weak).items()
