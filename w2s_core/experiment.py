"""What an experiment is: one YAML file, read strictly, with errors that name the file, the line and the field."""

import json
import operator
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PrivateAttr, ValidationError, model_validator

from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES, RULES, TASKS
from w2s_core.prompting import QA, QUESTION
from w2s_core.sampling.generation_config import Setting, Shipped
from w2s_core.sampling.limits import faults
from w2s_core.strict_yaml import (
    Lines,
    Loader,
    Misplaced,
    Place,
    Section,
    field_position,
    read_yaml,
    set_field,
    validate,
)
from w2s_core.tasks import load_task
from w2s_core.training.settings import FOUR_BITS, CpoLoss, DpoLoss, Hyperparameters, Positive, check_loss
from w2s_core.versions import bitsandbytes_version, vllm_version

MAX_SAMPLES = 100_000
"""Responses a question: beyond it a setting is a slip, and no machine holds them."""
MAX_PROMPT = 10_000
"""Characters of a prompt's own texts."""
Split = Literal["dev", "test"]
"""A split that models are judged on."""


class TaskConfig(Section):
    """Which questions: a task's name and that task's own options."""

    name: str = Field(description="`w2s tasks` lists them")
    options: dict[str, Any] = Field(default={}, description="the task's own")


class Training(Hyperparameters):
    """One fine-tuning recipe."""

    load_in_4bit: bool = Field(default=False, description="QLoRA: frozen weights in 4 bits while training")

    @model_validator(mode="after")
    def _frozen_where_in_4_bits(self) -> "Training":
        if self.load_in_4bit and (self.tuning == "full" or self.lora_dora):
            raise Misplaced(("load_in_4bit",), FOUR_BITS)
        return self


class Preference(Training):
    """A Stage II recipe. `beta` is DPO's beta, or ORPO's weight of the odds-ratio term (its lambda)."""

    beta: Positive = Field(default=0.1, description="DPO's beta, or ORPO's weight of the odds-ratio term")


class Dpo(Preference):
    """DPO, or a loss that TRL puts in its place."""

    loss: DpoLoss = Field(default="sigmoid", exclude_if="sigmoid".__eq__, description="by TRL's name")
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        exclude_if=operator.not_,
        description="labels taken to be wrong; for robust and exo_pair [share]",
    )

    @model_validator(mode="after")
    def _smoothing_of_its_loss(self) -> "Dpo":
        check_loss("dpo", self.loss, self.label_smoothing)
        return self


class Cpo(Preference):
    """CPO (2401.08417): a loss of two responses without a reference, and the likelihood of the chosen one."""

    loss: CpoLoss = Field(default="sigmoid", exclude_if="sigmoid".__eq__, description="by TRL's name")
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        exclude_if=operator.not_,
        description="labels taken to be wrong; for sigmoid [share]",
    )
    nll_weight: float = Field(
        default=1.0, ge=0, exclude_if=(1.0).__eq__, description="of the chosen response's likelihood"
    )

    @model_validator(mode="after")
    def _smoothing_of_its_loss(self) -> "Cpo":
        check_loss("cpo", self.loss, self.label_smoothing)
        return self


class Simpo(Preference):
    """SimPO (2405.14734, eq. 6): mean log-probabilities that differ by a margin; defaults as its authors recommend."""

    beta: Positive = Field(default=2.0, description="scale of the difference")
    gamma: float = Field(default=1.0, ge=0, exclude_if=(1.0).__eq__, description="the margin")


class Evaluation(Section):
    """Which splits are graded, and with how many samples pass@k is estimated."""

    splits: tuple[Split, ...] = Field(default=("test",), description="splits on which models are graded")
    samples: int = Field(
        default=10,
        ge=0,
        le=MAX_SAMPLES,
        description="samples for pass@k; 0 = greedy accuracy only [responses a question]",
    )
    temperature: float = Field(default=1.0, gt=0, description="of those samples")


class Prompt(Section):
    """How a model is asked: `qa`, plain text; `chat`, by the tokenizer's own chat template; or with these fields."""

    form: Literal["qa", "chat"] = Field(
        default="qa", description="plain text, or the tokenizer's chat template"
    )
    system: str = Field(default="", max_length=MAX_PROMPT, description="text before all else")
    user: str = Field(
        default="",
        max_length=MAX_PROMPT,
        description="a question's text, with {question} in its place; by default Question: and Answer:, or in a chat "
        "the question alone",
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return {"form": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _checked(self) -> "Prompt":
        if self.user and self.user.count(QUESTION) != 1:
            raise Misplaced(("user",), f"should hold {QUESTION} once, where the question stands")
        if self.form == "qa" and self.user != self.user.rstrip():
            raise Misplaced(
                ("user",), "should not end in a space or a new line: an answer brings its own space"
            )
        return self

    @property
    def asked(self) -> dict[str, str] | None:
        """What changes the prompt, as a base's artifact and keys hold it; None is the plain form."""
        plain = QA if self.form == "qa" else QUESTION
        fields = {"form": self.form, "system": self.system.strip(), "user": self.user}
        defaults = {"form": "qa", "system": "", "user": plain}
        changed = {name: value for name, value in fields.items() if value and value != defaults[name]}
        return changed or None


class Experiment(Section):
    """Everything that decides a run's result: what every recipe has. A recipe adds its own fields in a subclass."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="of its runs: a run is called this and a digest of the fields, unless --name says otherwise",
    )
    recipe: str = Field(default="weak_to_strong", description="the method; `w2s recipes` lists them")
    task: TaskConfig = Field(description="which questions")
    trust_remote_code: bool = Field(default=False, description="run Python code that a checkpoint brings")
    # the libraries that train seed NumPy's generator with it, which takes 32 bits
    seed: int = Field(
        default=0, ge=0, le=2**32 - 1, description="of trainings, samples and chosen demonstrations"
    )
    max_new_tokens: int = Field(
        default=512,
        ge=1,
        le=10**6,
        description="longest response; one that ends there counts as truncated [tokens]",
    )
    engine: Literal["transformers", "vllm"] = Field(
        default="transformers", description="what samples; vLLM draws other samples"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="of weights and arithmetic; auto = bfloat16 on a GPU, else float32"
    )
    # left out of records and digests where it is empty, so that these are as before there was the field
    generation_config: tuple[Setting, ...] = Field(
        default=(),
        exclude_if=operator.not_,
        description="settings of each base's generation_config.json that sampling applies; end tokens always count",
    )
    prompt: Prompt = Field(
        default=Prompt(),
        exclude_if=Prompt().__eq__,
        description="how models are asked: qa, chat, or {form, system, user}",
    )
    prompts: dict[str, Prompt] = Field(
        default={}, exclude_if=operator.not_, description="the same for single base models, by their field"
    )
    demonstrations: Literal["turns", "text"] = Field(
        default="turns",
        exclude_if="turns".__eq__,
        description="in a chat: as earlier turns, or as text in the question",
    )
    evaluation: Evaluation = Field(default=Evaluation(), description="what is graded")
    duplicates: Literal["report", "drop", "refuse"] = Field(
        default="report",
        description="questions that stand in two splits: drop takes the copy out of the training data, refuse stops",
    )
    _shipped: Shipped = PrivateAttr(default={})

    @property
    def shipped(self) -> Shipped:
        """The values of the settings that `generation_config` names, by the name of the base; empty until planned."""
        return self._shipped

    def with_shipped(self, shipped: Shipped) -> "Experiment":
        """The same with the settings that its bases ship."""
        settled = self.model_copy()
        settled._shipped = shipped
        return settled

    def prompt_of(self, field: str) -> dict[str, str] | None:
        """How the base model that a field names is asked, as steps take it."""
        return self.prompts.get(field, self.prompt).asked

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
            UserError: 4-bit weights are asked for and bitsandbytes is not installed; or all weights are to be trained
                of a model with code of its own, which the files that result would not hold.
        """
        if self.trust_remote_code and chosen.tuning == "full":
            raise UserError("tuning: full goes without trust_remote_code: train an adapter, tuning: lora")
        settings = chosen.model_dump(mode="json", exclude={"load_in_4bit"})
        quantization = f"nf4, bitsandbytes {bitsandbytes_version()}" if chosen.load_in_4bit else None
        return settings | {"precision": self.precision, "quantization": quantization}

    @property
    def run_name(self) -> str:
        """The default name of this experiment's run."""
        return f"{self.name}-{self.digest}"


DATA = "task.options.data"
"""The one path of an experiment that is no base model."""


def sets(field: str, path: str) -> bool:
    """Whether giving `field` a value gives one to the field `path`: it is that field, or a section around it."""
    return f"{path}.".startswith(f"{field}.")


def load_experiment(path: Path, overrides: tuple[str, ...] = (), data: Path | None = None) -> Experiment:
    """Read an experiment and apply `key=value` overrides (dotted keys, YAML values).

    `data` is a folder of local JSONL that takes the place of the task's hub data set.

    Paths (base models, and the option `data` of a task) are made absolute: those in the file are relative to it, those
    in overrides to where one stands.

    Raises:
        UserError: the file cannot be read, or a field is unknown, missing, or of the wrong type or range.
    """
    tree, lines = read_yaml(path, "an experiment")
    folders: dict[str, Path] = defaultdict(lambda: path.parent)
    for override in overrides:
        place = _override(tree, override)
        lines[place] = 0
        field = ".".join(map(str, place))
        folders |= {name: Path.cwd() for name in (field, DATA) if sets(field, name)}
    if data is not None:
        _use_local_data(tree, data)
    return build_experiment(tree, path, lines, folders)


def _use_local_data(tree: dict[str, Any], data: Path) -> None:
    """Read the task's splits from a folder; what names a data set of the hub then says nothing any more."""
    if not data.is_dir():
        raise UserError(f"--data {data}: there is no such folder")
    set_field(tree, "task.options.data", str(data.resolve()))
    for name in ("id", "revision", "config"):
        tree["task"]["options"].pop(name, None)


def build_experiment(
    tree: dict[str, Any],
    path: Path,
    lines: Lines,
    folders: Mapping[str, Path],
    known_task: TaskConfig | None = None,
) -> Experiment:
    """An experiment from plain data, as the recipe that it names has it; `folders` tells what the path of each
    base model, and of the task's data, is relative to, by field. `known_task` was tried before, and is not again.

    Raises:
        UserError: as `load_experiment`, or a setting of sampling that its engine cannot take.
    """
    recipe = recipe_of(tree, path, lines)
    experiment: Experiment = validate(recipe.fields, tree, path, lines)
    for place, words in faults(experiment.engine, experiment):
        raise UserError(f"{field_position(path, lines, place)} {words}")
    for name in experiment.prompts:
        if name not in recipe.models:
            where = field_position(path, lines, ("prompts", name))
            raise UserError(f"{where} names no base model of the recipe: {', '.join(recipe.models)}")
    task = locate_data(experiment.task, folders[DATA])
    if task != known_task:
        _check_task(task, path, lines)
    located = {name: locate_model(getattr(experiment, name), folders[name]) for name in recipe.models}
    return experiment.model_copy(update={**located, "task": task})


def _check_task(task: TaskConfig, path: Path, lines: Lines) -> None:
    """Refuse a task, an option of it, or an answer rule that cannot be had, with the line of its field."""
    place: Place = ("task", "name")
    try:
        TASKS.get(task.name)
        place = ("task", "options")
        rule = load_task(task.name, task.options).answer_rule
        place = ("task", "name")
        if not RULES.is_builtin(rule):
            RULES.get(rule)
    except UserError as error:
        named = [(*place, name) for name in task.options if f"option '{name}'" in str(error)]
        where = field_position(path, lines, named[0] if named else place)
        raise UserError(f"{where}: {error}") from None


def recipe_of(tree: Mapping[str, Any], path: Path, lines: Lines) -> Any:
    """The recipe that an experiment names; by default the first.

    Raises:
        UserError: there is no recipe of that name.
    """
    name = tree.get("recipe", Experiment.model_fields["recipe"].default)
    try:
        return RECIPES.get(str(name))
    except UserError as error:
        line = lines.get(("recipe",))
        raise UserError(f"{path}{f':{line}' if line else ''}: recipe: {error}") from None


def read_recorded(record: Mapping[str, Any]) -> Experiment:
    """The experiment that a run's record keeps. Raises UserError where its recipe cannot be had any more, or has other
    fields today.
    """
    tree = record["experiment"]
    fields: type[Experiment] = recipe_of(tree, Path(f"record of run {record['run']}"), {}).fields
    try:
        return fields.model_validate_json(json.dumps(tree))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(
            f"record of run {record['run']}: not an experiment of its recipe as that is today: "
            f"field '{place}': {first['msg']}"
        ) from None


def _override(tree: dict[str, Any], override: str) -> Place:
    """Apply `a.b=value` to the tree."""
    name, value = parse_override(override)
    try:
        return set_field(tree, name, value)
    except UserError as error:
        raise UserError(f"override {error}") from None


def parse_override(override: str) -> tuple[str, Any]:
    """`a.b=value`: the field, and the value read as YAML, so that 3, 0.5, true and [dpo] have their types."""
    name, equals, value = override.partition("=")
    if not equals or not name:
        raise UserError(f"override '{override}': write field=value, for example evaluation.samples=0")
    try:
        return name, yaml.load(value, Loader=Loader)
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "nested too deeply"
        raise UserError(
            f"override '{override[:80]}': '{value[:80]}' is not a YAML value ({problem})"
        ) from None
    except UserError as error:
        raise UserError(f"override {error}") from None


def locate_data(task: TaskConfig, folder: Path) -> TaskConfig:
    """The task with its option `data` as an absolute path; a relative one is relative to `folder`."""
    data = task.options.get("data")
    if not isinstance(data, str) or not data:
        return task
    absolute = str((folder / Path(data).expanduser()).resolve())
    return task.model_copy(update={"options": task.options | {"data": absolute}})


def locate_model(model: str, folder: Path) -> str:
    """An absolute path where `model` is a folder (or is written as one), else the hub id as it stands."""
    if model.startswith("/"):
        return os.path.normpath(model)
    path = Path(model).expanduser()
    written_as_path = model.startswith((".", "/", "~"))
    if written_as_path or (folder / path).is_dir():
        return str((folder / path).resolve())
    return model
