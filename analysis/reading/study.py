"""Which runs a report is made of, and which of their settings it shows in detail."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from analysis.reading.frame import Frames, StoreLike, load_frames
from analysis.reading.groups import (
    Group,
    by_weak,
    default_split,
    differing_fields,
    make_groups,
    written_value,
)
from analysis.reading.results import Results
from w2s_core.errors import UserError

SHOWN_GROUPS = 12
"""So many settings have tables of their own; of more, those of the base setting."""


@dataclass(frozen=True, eq=False)
class Study:
    """The runs of a report.

    Attributes:
        frames: the runs, with their records and results.
        groups: every setting, on the split of the detailed tables where it is judged on it, else on dev.
        detailed: the settings whose tables are shown in full.
        bases: one setting a weak model, for what compares weak models.
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
    def runs(self) -> list[str]:
        """The names of all runs."""
        return [run for group in self.groups for run in group.all_runs]


def open_frames(store: StoreLike, names: Sequence[str] = (), study: str | None = None) -> Frames:
    """The runs of these names, or of a study; or all runs of the store, if they share task and strong model.

    Raises:
        UserError: a name that is no run, a study without runs, or runs that do not belong in one table.
    """
    if names:
        return load_frames(store, names)
    records = dict(_runs(store))
    if not records:
        raise UserError("the store holds no run yet; start one with: w2s run EXPERIMENT.yaml")
    if study is not None:
        ours = {name: record for name, record in records.items() if record.get("study") == study}
        if not ours:
            known = sorted({str(one["study"]) for one in records.values() if one.get("study")})
            has = f"; there are: {', '.join(known)}" if known else "; no run belongs to a study"
            raise UserError(f"no run belongs to a study '{study}'{has}")
        return Frames(ours, Results(store))
    kinds = Counter((str(one.get("task", "?")), str(one.get("strong", "?"))) for one in records.values())
    if len(kinds) > 1:
        listed = "; ".join(f"{task} with {strong} ({n} runs)" for (task, strong), n in sorted(kinds.items()))
        raise UserError(
            f"the store's runs do not share task and strong model: {listed}. Say which: --study NAME, or --runs RUN ..."
        )
    return Frames(records, Results(store))


def _runs(store: StoreLike) -> Iterable[tuple[str, dict[str, Any]]]:
    for name in store.refs.names():
        record = store.refs.read(name)
        if isinstance(record, dict) and isinstance(record.get("targets"), dict):
            yield name, record


def by_strong(frames: Frames) -> dict[str, Frames]:
    """The runs of each strong model, in order of first appearance: no table but the grid over all mixes them."""
    names: dict[str, list[str]] = {}
    for name, record in frames.records.items():
        names.setdefault(str(record.get("strong", "?")), []).append(name)
    return {strong: frames.only(ours) for strong, ours in names.items()}


def make_study(frames: Frames, command: str = "", *, named: bool = True) -> Study:
    """Group the runs, and choose what is shown in detail.

    Args:
        named: the runs were named one by one; then two that contradict each other are refused. Else the newer counts.

    Raises:
        UserError: runs of several tasks or strong models, or that contradict each other.
    """
    one_of("task", frames)
    one_of("strong", frames)
    split = default_split(frames)
    groups = make_groups(frames, split, "refuse" if named else "latest")
    judged = [group for group in groups if group.planned() or group.planned("samples")] or groups
    bases = [_base(ours, groups) for _, ours in by_weak(judged)]
    detailed = judged if len(judged) <= SHOWN_GROUPS else bases
    groups = [group if group in judged else group.on("dev") for group in groups]
    further = _further(groups, detailed, bases)
    if len(detailed) == len(bases):  # then the weak model says it all
        for group in bases:
            group.name = group.weak
    return Study(frames, groups, detailed, bases, further, _left_out(frames, groups), command)


def one_of(what: Literal["task", "strong"], frames: Frames) -> None:
    """Raises UserError where runs have several tasks, or strong models: no table can mix them."""
    found = sorted({str(record.get(what, "?")) for record in frames.records.values()})
    if len(found) > 1:
        name = {"task": "tasks", "strong": "strong models"}[what]
        raise UserError(f"these runs have several {name} ({', '.join(found)}), which no table can mix")


def _base(rivals: list[Group], everyone: list[Group]) -> Group:
    """The setting of a weak model that the others vary: in each field the commonest value, else the paper's own."""
    if len(rivals) == 1:
        return rivals[0]
    preferred = {name: _preferred(name, everyone) for name in differing_fields(rivals)}
    return max(rivals, key=lambda one: sum(repr(one.settings.get(k)) == v for k, v in preferred.items()))


def _preferred(name: str, groups: Iterable[Group]) -> str:
    counts = Counter(repr(group.settings.get(name)) for group in groups)
    paper = repr(papers_value(name))
    return max(sorted(counts), key=lambda value: (counts[value], value == paper))


def papers_value(name: str) -> Any:
    """The value of a field that the paper has, where it is our default; None for others."""
    from w2s_core.experiment import StageOne, StageTwo

    stage, _, field_name = name.partition(".")
    section: Any = {"stage1": StageOne, "stage2": StageTwo}.get(stage)
    found = section.model_fields.get(field_name) if section else None
    return found.default if found is not None and not found.is_required() else None


def _further(groups: list[Group], detailed: list[Group], bases: list[Group]) -> str:
    rest = len(groups) - len(detailed)
    if not rest:
        return ""
    fields = [name for name in differing_fields(groups) if name != "weak"]
    values = dict.fromkeys(
        ", ".join(f"{name}={written_value(base.settings.get(name))}" for name in fields) for base in bases
    )
    shown = f" Shown here: {'; '.join(values)}." if len(detailed) == len(bases) else ""
    return f"{rest} further setting{'s' * (rest > 1)}: see settings.md.{shown}"


def _left_out(frames: Frames, groups: list[Group]) -> str:
    kept = {run for group in groups for run in group.all_runs}
    older = [name for name in frames.records if name not in kept]
    if not older:
        return ""
    more = f" and {len(older) - 5} more" if len(older) > 5 else ""
    why = "a newer run of the same experiment and seed has other results"
    return f"Left out, since {why}: {', '.join(older[:5])}{more}."


def setting_of(group: Group, base: Group) -> str:
    """In what a group differs from another, as people write it; `base setting` where in nothing."""
    names = [name for name in differing_fields([group, base]) if name != "weak"]
    return ", ".join(f"{name}={written_value(group.settings.get(name))}" for name in names) or "base setting"


def model_name(value: Any) -> str:
    """The last part of a model's name or folder."""
    return PurePath(str(value)).name
