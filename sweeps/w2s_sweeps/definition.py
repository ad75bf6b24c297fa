"""What makes the trials of a study comparable, and the refusal to mix trials that are not."""

from typing import Any

from w2s_core.cli.render import fields
from w2s_core.engine.step import topological
from w2s_core.errors import UserError
from w2s_core.runs import resolve_base
from w2s_sweeps.cells import PlannedCell
from w2s_sweeps.study_file import LoadedStudy, Range

Definition = dict[str, str]
"""Everything that trials of one study have in common, flat: {"base.sft.learning_rate": "0.001", ...}."""

OWN = ("name", "seed", "evaluation.splits")
"""Fields of an experiment that the sweep sets itself."""


def define(loaded: LoadedStudy, example: PlannedCell) -> Definition:
    """The definition of a study as it is now; `example` is any of its cells, whose code and fields it reads.

    The recipe is one of the base's fields.
    """
    study = loaded.study
    base = loaded.base.model_dump(mode="json") | {"precision": example.runs[0].graph.experiment.precision}
    code = loaded.base.trust_remote_code
    fixed_models = [name for name in loaded.recipe.models if name not in study.space]
    base |= {name: resolve_base(base[name], code=code)[0] for name in fixed_models}
    definition = {
        f"base.{name}": str(value)
        for name, value in fields(base)
        if name not in OWN and not _varies(name, study.space)
    }
    definition["objectives"] = ", ".join(f"{goal.direction} {goal.metric}" for goal in study.objectives)
    definition["seeds"] = str(list(study.seeds))
    definition["sampler"] = study.sampler.name
    definition["pruner"] = str(study.pruner.model_dump() if study.pruner else None)
    if study.sampler.name != "grid":
        definition |= {
            "sampler.batch": str(study.sampler.batch),
            "sampler.seed": str(study.sampler.seed),
        }
    for field, values in study.space.items():
        definition[f"space.{field}"] = _kind(values) if study.sampler.name == "grid" else str(_plain(values))
    handles = topological(handle for run in example.runs for handle in run.graph.targets.values())
    return definition | {f"code of step {h.name}": h.definition.fingerprint[:12] for h in handles}


def check(name: str, before: Definition, now: Definition) -> None:
    """Raise UserError, with what differs, where new trials could not be compared with those of the study."""
    changed = [key for key in sorted(before.keys() | now.keys()) if before.get(key) != now.get(key)]
    if changed:
        listed = "; ".join(
            f"{key}: {before.get(key, 'not there')} before, {now.get(key, 'not there')} now"
            for key in changed[:4]
        )
        more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"study '{name}' exists with another definition, and its trials could not be compared with new ones: "
            f"{listed}{more}. Give the study another name: what is computed already is used again"
        )


def _varies(field: str, space: dict[str, Any]) -> bool:
    return any(
        field == axis or field.startswith(f"{axis}.") or axis.startswith(f"{field}.") for axis in space
    )


def _kind(values: list[Any] | Range) -> str:
    """On a grid values may come and go, their kind may not: a number cannot be compared with a name."""
    listed = [values.low, values.high] if isinstance(values, Range) else values
    return "numbers" if all(type(value) in (int, float) for value in listed) else "values"


def _plain(values: list[Any] | Range) -> Any:
    return values.model_dump() if isinstance(values, Range) else values
