"""From an experiment to its graph, and from a finished graph to the record of a run."""

import datetime
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.data.splits import Splits, gold_rows, load_splits, question_rows, rows_digest
from w2s_core.engine import Executor, Handle, Outcome, Store, make_display, run_graph
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment, Split
from w2s_core.models import base_ref, resolve_device
from w2s_core.models.base_files import NO_TEMPLATE, has_chat_template
from w2s_core.models.machine import choose_threads
from w2s_core.plugins import RECIPES, loaded_imports
from w2s_core.recipes.recipe import Given, Outline, Recipe, outline_entry
from w2s_core.recipes.record import model_name
from w2s_core.sampling.generation_config import read_settings
from w2s_core.step_labels import label_steps
from w2s_core.steps.common import rule_key
from w2s_core.steps.data import base_model, gold, questions
from w2s_core.tasks import load_task

STEPS_MODULE = "w2s_core.steps"
_HUB_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]*/)?[A-Za-z0-9_][\w.-]*", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9_][\w./-]*", re.ASCII)


@dataclass(frozen=True)
class Machine:
    """Where and how wide steps are computed. Nothing of it changes a result, so nothing of it is in a key.

    Attributes:
        workers: processes side by side; None: one, or with Ray all CPUs.
        address: a Ray cluster to join; None starts one on this machine.
        micro_batch: rows of a training batch in memory at once.
        accelerate: a config of accelerate's, over whose processes trainings run.
        tensor_parallel: GPUs that vLLM spreads a model over.
        gpu_memory: share of each GPU's memory that vLLM may take.
        threads: of each process on a CPU; None: one for small bases, the worker's share of the cores for large ones.
    """

    workers: int | None = None
    executor: Executor = "local"
    address: str | None = None
    device: str = "auto"
    micro_batch: int | None = None
    accelerate: Path | None = None
    tensor_parallel: int | None = None
    gpu_memory: float | None = None
    threads: int | None = None

    def checked(self) -> "Machine":
        """The same.

        Raises:
            UserError: an accelerate config that cannot be used: on this machine and device, or together with Ray; or
                threads with Ray.
        """
        if self.threads is not None and self.executor == "ray":
            raise UserError(
                "--threads: a Ray task has the one CPU that its step reserves: not with --executor ray"
            )
        if self.accelerate is not None:
            from w2s_core.training.accelerate_config import check_device, read_accelerate_config

            if self.executor == "ray":
                raise UserError(
                    "--accelerate starts the processes of a training itself: not with --executor ray"
                )
            config = read_accelerate_config(self.accelerate)
            check_device(self.accelerate, config, resolve_device(self.device))
        return self

    @property
    def apart(self) -> bool:
        """Whether steps are computed in other processes than the one that plans them."""
        return self.executor == "ray" or (self.workers or 1) > 1

    @property
    def runtime(self) -> dict[str, Any]:
        """What steps find in `ctx.runtime`, besides where the base models lie: device, threads, and what was given."""
        options = {
            "micro_batch": self.micro_batch,
            "tensor_parallel": self.tensor_parallel,
            "gpu_memory": self.gpu_memory,
            "accelerate": str(self.accelerate.resolve()) if self.accelerate else None,
        }
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if self.executor == "local":
            given["threads"] = list(choose_threads(self.threads, self.workers or 1))
        return {"device": self.device, **given}


@dataclass(frozen=True)
class Graph:
    """What a run computes: its targets by label, and what the steps need to know that is in no key.

    Attributes:
        targets: handles by label.
        outline: what each target is, in the order in which the recipe lists them.
        bases: where each base model lies, by its content's name.
        models: the names of the base models by the field that names them.
    """

    experiment: Experiment
    targets: dict[str, Handle]
    outline: tuple[Outline, ...]
    bases: dict[str, str]
    splits: Splits
    models: dict[str, str]


def build_graph(experiment: Experiment, device: str = "auto") -> Graph:
    """Plan an experiment: read its questions, name its models, and call the recipe. Computes no step.

    `device`: where it will be computed, which settles its precision where that is `auto`.

    Raises:
        UserError: a task, split, model folder or recipe that cannot be used.
    """
    return GraphBuilder(device).build(experiment)


class GraphBuilder:
    """Plans many experiments for one kind of device, reading each split and each model folder once."""

    def __init__(self, device: str = "auto") -> None:
        self._device = resolve_device(device)
        self._data: dict[str, _Data] = {}
        self._bases: dict[tuple[str, bool], tuple[str, str]] = {}

    def build(self, experiment: Experiment, judged_on: tuple[Split, ...] | None = None) -> Graph:
        """Plan one experiment, see `build_graph`. `judged_on`: grade on these of its evaluation splits only."""
        experiment = experiment.on(self._device)
        data = self._read(experiment)
        if judged_on not in (None, experiment.evaluation.splits):
            judged = experiment.evaluation.model_copy(update={"splits": judged_on})
            experiment = experiment.model_copy(update={"evaluation": judged})
        recipe: Recipe[Any] = RECIPES.get(experiment.recipe)
        bases = {
            field: (
                *self._base(getattr(experiment, field), experiment.trust_remote_code),
                experiment.prompt_of(field),
            )
            for field in recipe.models
        }
        for field, (_, source, prompt) in bases.items():
            _check_prompt(field, source, prompt)
        if names := experiment.generation_config:
            shipped = {ref: read_settings(ref, source, names) for ref, source, _ in bases.values()}
            experiment = experiment.with_shipped(shipped)
        handles = {field: base_model(ref=ref, prompt=prompt) for field, (ref, _, prompt) in bases.items()}
        targets = recipe.targets(experiment, Given(data.questions, data.gold, handles, data.answer_rule))
        return Graph(
            experiment,
            {label: target.handle for label, target in targets.items()},
            tuple(targets.values()),
            {ref: source for ref, source, _ in bases.values()},
            data.splits,
            {field: ref for field, (ref, _, _) in bases.items()},
        )

    def _read(self, experiment: Experiment) -> "_Data":
        source: dict[str, Any] = {
            "task": experiment.task.name,
            "options": experiment.task.options,
            "duplicates": experiment.duplicates,
            "names": [*RECIPES.get(experiment.recipe).splits, *experiment.evaluation.splits],
        }
        known = json.dumps(source, sort_keys=True)
        if known not in self._data:
            self._data[known] = _read_data(source)
        return self._data[known]

    def _base(self, model: str, code: bool) -> tuple[str, str]:
        if (model, code) not in self._bases:
            self._bases[model, code] = resolve_base(model, code=code)
        return self._bases[model, code]


def _check_prompt(field: str, source: str, prompt: Mapping[str, str] | None) -> None:
    """Refuse a chat with a folder that has no template when it is planned; of a hub's model `run` sees it first."""
    if (prompt or {}).get("form") == "chat" and Path(source).is_dir() and not has_chat_template(Path(source)):
        raise UserError(f"{field}: {source}: {NO_TEMPLATE}")


@dataclass(frozen=True)
class _Data:
    """The splits of a task, and the handles of their questions and gold answers."""

    splits: Splits
    questions: dict[str, Handle]
    gold: dict[str, Handle]
    answer_rule: str


def _read_data(source: dict[str, Any]) -> _Data:
    splits = load_splits(**source)
    question_digests = {name: rows_digest(question_rows(rows)) for name, rows in splits.problems.items()}
    gold_digests = {name: rows_digest(gold_rows(rows)) for name, rows in splits.problems.items()}
    return _Data(
        splits,
        {
            name: questions(source=source, split=name, digest=digest)
            for name, digest in question_digests.items()
        },
        {name: gold(source=source, split=name, digest=digest) for name, digest in gold_digests.items()},
        rule_key(load_task(source["task"], source["options"]).answer_rule),
    )


def resolve_base(model: str, *, code: bool = False) -> tuple[str, str]:
    """A base model's name for keys, and where to load it from.

    A folder is named by its content. A hub id needs a revision (`org/model@commit`): without one, the same key could
    stand for other weights tomorrow. code: code of the checkpoint may be run; the name then says so.
    """
    if Path(model).is_absolute():
        return base_ref(model, code=code), model
    name, _, revision = model.partition("@")
    if not _HUB_ID.fullmatch(name) or not _REVISION.fullmatch(revision) or ".." in model:
        raise UserError(
            f"model '{model}': neither a folder nor a hub id with its revision; write org/model@commit for a hub model"
        )
    return f"hub{'+code' if code else ''}:{name}@{revision}", name


def run_experiment(
    graph: Graph,
    store: Store,
    machine: Machine,
    *,
    name: str,
    command: list[str],
    watch: Callable[[dict[str, Any]], None] | None = None,
) -> Outcome:
    """Record the run, then compute what is missing. The record comes first: gc keeps what an unfinished run made.
    `watch` gets the events that the display shows.
    """
    store.refs.write(name, record(graph, name, command))
    return run_graph(
        graph.targets,
        store,
        workers=machine.workers,
        runtime={"bases": graph.bases, **machine.runtime},
        display=make_display(labels=label_steps(graph.targets), watch=watch),
        executor=machine.executor,
        address=machine.address,
        imports=loaded_imports(),
    )


def record(graph: Graph, name: str, command: list[str]) -> dict[str, Any]:
    """The run's own record: the truth that tables and trackers read. Whether it is complete is derived, not stored."""
    experiment = graph.experiment
    return {
        "run": name,
        "recipe": experiment.recipe,
        "experiment": experiment.model_dump(mode="json"),
        "bases": {field: model_name(getattr(experiment, field)) for field in graph.models},
        "models": graph.models,
        "task": experiment.task.name,
        "seed": experiment.seed,
        "targets": {label: handle.key for label, handle in graph.targets.items()},
        "outline": [outline_entry(target) for target in graph.outline],
        "steps": {label: key for key, label in label_steps(graph.targets).items()},
        "questions": {split: len(problems) for split, problems in graph.splits.problems.items()},
        "duplicates": {"found": len(graph.splits.duplicates), "dropped": graph.splits.dropped},
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
