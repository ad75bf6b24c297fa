"""What an experiment is: one YAML file, read strictly, with errors that name the file, the line and the field."""

import difflib
import json
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from w2s_core.errors import UserError

MAX_CONFIG_BYTES = 1_000_000
Place = tuple[str | int, ...]
"""Where a field stands: ("stage1", "consistency")."""


class Section(BaseModel):
    """A part of an experiment. Unknown fields are errors: a mistyped threshold must not pass as its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TaskConfig(Section):
    """Which questions: a task's name and that task's own options."""

    name: str
    options: dict[str, Any] = {}


class Training(Section):
    """One fine-tuning recipe (LoRA on the attention and MLP projections; paper, appendix A)."""

    learning_rate: float = Field(gt=0)
    batch_size: int = Field(default=32, ge=1, description="examples a step")
    epochs: float | None = Field(default=None, gt=0, description="passes over the set; or give max_steps")
    max_steps: int | None = Field(default=None, ge=1, description="optimiser steps; or give epochs")
    lora_r: int = Field(default=32, ge=1)
    lora_alpha: int = Field(default=64, ge=1)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.0, ge=0)
    max_length: int = Field(default=1024, ge=1, description="tokens; longer examples are dropped and counted")

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if (self.epochs is None) == (self.max_steps is None):
            raise ValueError("give exactly one of epochs and max_steps")
        return self


class Preference(Training):
    """A Stage II recipe. `beta` is DPO's beta, or ORPO's weight of the odds-ratio term (its lambda)."""

    beta: float = Field(default=0.1, gt=0)


class StageOne(Section):
    """Stage I: iterations of agreement and fine-tuning (paper, section 3.1)."""

    iterations: int = Field(default=2, ge=1)
    samples: int = Field(
        default=1, ge=1, description="answers a side and question; 1 = greedy, as in the paper"
    )
    consistency: float = Field(default=1.0, ge=0, le=1, description="least share of agreeing pairs")
    temperature: float = Field(default=1.0, gt=0, description="used where samples > 1")


class StageTwo(Section):
    """Stage II: contrastive pairs by the model's own confidence, then preference training (paper, section 3.2)."""

    methods: tuple[Literal["dpo", "orpo"], ...] = ("dpo", "orpo")
    samples: int = Field(default=10, ge=2, description="solutions sampled a question")
    temperature: float = Field(default=1.0, gt=0)
    keep: float = Field(default=0.6, ge=0, le=1, description="least confidence of the majority answer")
    flip: float = Field(default=0.8, ge=0, le=1, description="least confidence to overrule the weak answer")
    per_question: int = Field(default=1, ge=1, description="pairs a question, at most")
    dpo: Preference
    orpo: Preference


class Evaluation(Section):
    """Which splits are graded, and with how many samples pass@k is estimated."""

    splits: tuple[Literal["dev", "test"], ...] = ("test",)
    samples: int = Field(
        default=10, ge=0, description="samples a question for pass@k; 0 = greedy accuracy only"
    )
    temperature: float = Field(default=1.0, gt=0)


class Experiment(Section):
    """Everything that decides a run's result."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    task: TaskConfig
    weak: str = Field(description="folder of the weak base model (relative to this file), or hub id@revision")
    strong: str = Field(description="folder of the strong base model, or hub id@revision")
    seed: int = Field(default=0, ge=0)
    shots: int = Field(default=4, ge=1, description="demonstrations in the strong model's prompt")
    max_new_tokens: int = Field(default=512, ge=1, description="longest response, in tokens")
    weak_sft: Training
    sft: Training
    stage1: StageOne = StageOne()
    stage2: StageTwo
    evaluation: Evaluation = Evaluation()
    controls: bool = Field(default=False, description="add the comparisons at matched steps")
    duplicates: Literal["report", "drop", "refuse"] = "report"

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits that change with any field."""
        from w2s_core.engine.canonical import digest

        return digest(self.model_dump(mode="json"))[:10]

    @property
    def run_name(self) -> str:
        """The default name of this experiment's run."""
        return f"{self.name}-{self.digest}"


def load_experiment(path: Path, overrides: tuple[str, ...] = ()) -> Experiment:
    """Read an experiment and apply `key=value` overrides (dotted keys, YAML values).

    Model folders are made absolute: those in the file are relative to it, those in overrides to where one stands.

    Raises:
        UserError: the file cannot be read, or a field is unknown, missing, or of the wrong type or range.
    """
    text = _read(path)
    tree, lines = _parse(path, text)
    origin: dict[Place, Path] = {(): path.parent, ("weak",): path.parent, ("strong",): path.parent}
    for override in overrides:
        keys = _override(tree, override)
        lines[keys] = 0
        origin[keys] = Path.cwd()
    try:
        experiment = Experiment.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        raise UserError(_explain(path, lines, error.errors()[0])) from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    return experiment.model_copy(
        update={
            "weak": _locate(experiment.weak, origin[("weak",)]),
            "strong": _locate(experiment.strong, origin[("strong",)]),
        }
    )


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UserError(f"{path}: larger than {MAX_CONFIG_BYTES:,} bytes; this is no experiment file")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot read the experiment: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def _parse(path: Path, text: str) -> tuple[dict[str, Any], dict[Place, int]]:
    """The YAML as plain data, and the line of each field. Anchors are refused: they can expand without bound."""
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise UserError(f"{path}: YAML aliases (*name) are not supported; write the value out")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise UserError(
            f"{where}: not valid YAML: {getattr(error, 'problem', None) or 'unreadable'}"
        ) from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply") from None
    if not isinstance(tree, dict) or root is None:
        raise UserError(f"{path}: an experiment is a mapping of fields (name:, task:, weak:, strong: ...)")
    lines: dict[Place, int] = {}
    _mark_lines(path, root, (), lines)
    return tree, lines


def _mark_lines(path: Path, node: yaml.Node, place: Place, lines: dict[Place, int]) -> None:
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise UserError(f"{path}:{key.start_mark.line + 1}: field '{key.value}' is given twice")
            seen.add(key.value)
            _mark_lines(path, value, (*place, key.value), lines)
            lines[(*place, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _mark_lines(path, value, (*place, index), lines)


def _override(tree: dict[str, Any], override: str) -> Place:
    """Apply `a.b=value` to the tree; the value is read as YAML, so that 3, 0.5, true and [dpo] have their types."""
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise UserError(f"override '{override}': write field=value, for example stage1.iterations=1")
    *parents, last = name.split(".")
    branch = tree
    for parent in parents:
        child = branch.setdefault(parent, {})
        if not isinstance(child, dict):
            raise UserError(f"override '{override}': '{parent}' is not a section")
        branch = child
    try:
        branch[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"override '{override}': '{value}' is not a YAML value") from None
    return (*parents, last)


def _explain(path: Path, lines: dict[Place, int], error: ErrorDetails) -> str:
    """One line for pydantic's first complaint: file, line, field, what is wrong, what would be right."""
    place: Place = error["loc"]
    field = ".".join(str(part) for part in place) or "experiment"
    line = lines.get(place) if place in lines else _nearest(lines, place)
    where = f"{path}:{line}" if line else (f"{path} with override {field}" if line == 0 else str(path))
    if error["type"] == "extra_forbidden":
        known = _fields_at(place[:-1])
        close = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
        return f"{where}: unknown field '{field}'; {hint}"
    if error["type"] == "missing":
        return f"{where}: field '{field}' is missing"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "should be")
    given = f" (given: {str(error['input'])[:80]!r})" if not isinstance(error["input"], dict) else ""
    return f"{where}: field '{field}': {message}{given}"


def _nearest(lines: dict[Place, int], place: Place) -> int | None:
    while place:
        place = place[:-1]
        if place in lines:
            return lines[place]
    return None


def _fields_at(place: Place) -> list[str]:
    """The field names of the section that stands at `place`."""
    section: Any = Experiment
    for part in place:
        field = section.model_fields.get(part) if isinstance(part, str) else None
        section = field.annotation if field else None
        if not (isinstance(section, type) and issubclass(section, Section)):
            return []
    return sorted(section.model_fields)


def _locate(model: str, folder: Path) -> str:
    """An absolute path where `model` is a folder (or is written as one), else the hub id as it stands."""
    path = Path(model).expanduser()
    written_as_path = model.startswith((".", "/", "~"))
    if written_as_path or (folder / path).is_dir():
        return str((folder / path).resolve())
    return model
