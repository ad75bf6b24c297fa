"""What makes the trials of a study comparable, and the refusal to mix trials that are not."""

from typing import Any

from sweeps.cells import PlannedCell
from sweeps.study_file import LoadedStudy, Range
from w2s_core.cli.render import fields
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.runs import resolve_base

Definition = dict[str, str]
"""Everything that trials of one study have in common, flat: {"base.sft.learning_rate": "0.001", ...}."""

OWN = ("name", "seed", "evaluation.splits")
"""Fields of an experiment that the sweep sets itself."""


def define(loaded: LoadedStudy, example: PlannedCell) -> Definition:
    """The definition of a study as it is now; `example` is any of its cells, whose code and fields it reads."""
    study = loaded.study
    base = loaded.base.model_dump(mode="json") | {"precision": example.runs[0].graph.experiment.precision}
    code = loaded.base.trust_remote_code
    named = [name for name in ("weak", "strong") if name not in study.space]
    base |= {name: resolve_base(base[name], code=code)[0] for name in named}
    found = {f"base.{name}": _text(value) for name, value in fields(base) if not _varies(name, study.space)}
    found = {name: value for name, value in found.items() if name.removeprefix("base.") not in OWN}
    found["objectives"] = ", ".join(f"{one.direction} {one.metric}" for one in study.objectives)
    found["seeds"] = _text(list(study.seeds))
    found["sampler"] = study.sampler.name
    found["pruner"] = _text(study.pruner.model_dump() if study.pruner else None)
    if study.sampler.name != "grid":
        found |= {"sampler.batch": _text(study.sampler.batch), "sampler.seed": _text(study.sampler.seed)}
    for field, values in study.space.items():
        found[f"space.{field}"] = _kind(values) if study.sampler.name == "grid" else _text(_plain(values))
    handles = topological(handle for run in example.runs for handle in run.graph.targets.values())
    found |= {f"code of step {one.name}": one.definition.fingerprint[:12] for one in handles}
    return found


def check(name: str, before: Definition, now: Definition) -> None:
    """Raise UserError, with what differs, where new trials could not be compared with those of the study."""
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        said = "; ".join(
            f"{key}: {before.get(key, 'not there')} before, {now.get(key, 'not there')} now"
            for key in changed[:4]
        )
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"study '{name}' exists with another definition, and its trials could not be compared with new ones: "
            f"{said}{more}. Give the study another name: what is computed already is used again"
        )


def _varies(field: str, space: dict[str, Any]) -> bool:
    return any(field == one or field.startswith(f"{one}.") or one.startswith(f"{field}.") for one in space)


def _kind(values: list[Any] | Range) -> str:
    """On a grid values may come and go, their kind may not: a number cannot be compared with a name."""
    listed = [values.low, values.high] if isinstance(values, Range) else values
    return "numbers" if all(type(one) in (int, float) for one in listed) else "values"


def _plain(values: list[Any] | Range) -> Any:
    return values.model_dump() if isinstance(values, Range) else values


def _text(value: Any) -> str:
    return str(value)
