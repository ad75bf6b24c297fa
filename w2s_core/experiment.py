"""What an experiment is: one YAML file, read strictly, with errors that name the file, the line and the field."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from w2s_core.errors import UserError
from w2s_core.strict_yaml import Lines, Loader, Place, Section, read_yaml, set_field, validate
from w2s_core.training.settings import Hyperparameters, Positive
from w2s_core.versions import bitsandbytes_version, vllm_version

Split = Literal["dev", "test"]
"""A split that models are judged on."""
MODELS = ("weak", "strong")
"""The fields that name base models."""


class TaskConfig(Section):
    """Which questions: a task's name and that task's own options."""

    name: str
    options: dict[str, Any] = Field(default={}, description="the task's own")


class Training(Hyperparameters):
    """One fine-tuning recipe."""

    load_in_4bit: bool = Field(default=False, description="QLoRA: frozen weights in 4 bits while training")


class Preference(Training):
    """A Stage II recipe. `beta` is DPO's beta, or ORPO's weight of the odds-ratio term (its lambda)."""

    beta: Positive = 0.1


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

    splits: tuple[Split, ...] = ("test",)
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
    trust_remote_code: bool = Field(default=False, description="run Python code that a checkpoint brings")
    seed: int = Field(default=0, ge=0)
    shots: int = Field(default=4, ge=1, description="demonstrations in the strong model's prompt")
    max_new_tokens: int = Field(default=512, ge=1, description="longest response, in tokens")
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers", description="what samples; vLLM draws other samples"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of weights and arithmetic; auto = bfloat16 on a GPU, else float32"
    )
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
    def sampling_engine(self) -> str:
        """The engine as steps name it: vLLM with its version, which decides its samples.

        Raises:
            UserError: vLLM is asked for and not installed.
        """
        if self.engine == "transformers":
            return self.engine
        return f"{self.engine} {vllm_version()}"

    def on(self, device: str) -> "Experiment":
        """The same with its precision settled for "cpu" or "cuda": what `auto` means there changes results."""
        if self.precision != "auto":
            return self
        return self.model_copy(update={"precision": "float32" if device == "cpu" else "bfloat16"})

    def training(self, chosen: Training) -> dict[str, Any]:
        """The settings of one of its trainings as steps take them (`w2s_core.training.settings`).

        Raises:
            UserError: 4-bit weights are asked for and bitsandbytes is not installed.
        """
        settings = chosen.model_dump(exclude={"load_in_4bit"})
        quantization = f"nf4, bitsandbytes {bitsandbytes_version()}" if chosen.load_in_4bit else None
        return settings | {"precision": self.precision, "quantization": quantization}

    @property
    def run_name(self) -> str:
        """The default name of this experiment's run."""
        return f"{self.name}-{self.digest}"


def load_experiment(path: Path, overrides: tuple[str, ...] = (), data: Path | None = None) -> Experiment:
    """Read an experiment and apply `key=value` overrides (dotted keys, YAML values).

    `data` is a folder of local JSONL that takes the place of the task's hub data set.

    Model folders are made absolute: those in the file are relative to it, those in overrides to where one stands.

    Raises:
        UserError: the file cannot be read, or a field is unknown, missing, or of the wrong type or range.
    """
    tree, lines = read_yaml(path, "an experiment")
    folders = dict.fromkeys(MODELS, path.parent)
    for override in overrides:
        place = _override(tree, override)
        lines[place] = 0
        if place[0] in MODELS:
            folders[str(place[0])] = Path.cwd()
    if data is not None:
        _use_local_data(tree, data)
    return build_experiment(tree, path, lines, folders)


def _use_local_data(tree: dict[str, Any], data: Path) -> None:
    """Read the task's splits from a folder; the commit of a hub data set then says nothing any more."""
    if not data.is_dir():
        raise UserError(f"--data {data}: there is no such folder")
    set_field(tree, "task.options.data", str(data.resolve()))
    tree["task"]["options"].pop("revision", None)


def build_experiment(
    tree: dict[str, Any], path: Path, lines: Lines, folders: Mapping[str, Path]
) -> Experiment:
    """An experiment from plain data; `folders` tells what its model folders (`MODELS`) are relative to."""
    experiment = validate(Experiment, tree, path, lines)
    located = {name: locate_model(getattr(experiment, name), folders[name]) for name in MODELS}
    return experiment.model_copy(update=located)


def _override(tree: dict[str, Any], override: str) -> Place:
    """Apply `a.b=value` to the tree; the value is read as YAML, so that 3, 0.5, true and [dpo] have their types."""
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise UserError(f"override '{override}': write field=value, for example stage1.iterations=1")
    try:
        return set_field(tree, name, yaml.load(value, Loader=Loader))
    except yaml.YAMLError:
        raise UserError(f"override '{override}': '{value}' is not a YAML value") from None
    except UserError as error:
        raise UserError(f"override {error}") from None


def locate_model(model: str, folder: Path) -> str:
    """An absolute path where `model` is a folder (or is written as one), else the hub id as it stands."""
    if model.startswith("/"):
        return os.path.normpath(model)
    path = Path(model).expanduser()
    written_as_path = model.startswith((".", "/", "~"))
    if written_as_path or (folder / path).is_dir():
        return str((folder / path).resolve())
    return model
