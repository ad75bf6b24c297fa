"""Train an adapter on top of a model, or all of its weights, and write the model that results (paper, section 3)."""

import hashlib
import json
import logging
import math
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_core.engine import disk
from w2s_core.engine.processor import processor_name
from w2s_core.errors import UserError
from w2s_core.models import encoder_of, load_model, read_prompt
from w2s_core.models.machine import Threads
from w2s_core.rows import read_json, write_json
from w2s_core.training import environment
from w2s_core.training.examples import BatchPlan, Example, encode_rows, plan_batches
from w2s_core.training.settings import TrainSettings

if TYPE_CHECKING:
    from w2s_core.training.watch import Progress, Record

WEIGHTS = "weights"
"""The folder of an artifact in which all weights lie, where these were trained."""

CHECKPOINT_S = 45.0
"""Seconds between checkpoints: what a kill may cost."""


@dataclass(frozen=True)
class Site:
    """Where a training runs; rounding apart, none of it changes the result.

    Attributes:
        bases: where the base models lie, by reference.
        out: an empty folder for the result.
        work: a folder for checkpoints. An interrupted training that is started again with the same `work` goes on
            from the last one and, on a CPU, ends with the same bytes.
        device: "cpu", or "cuda", where activations are computed again on the way back (gradient checkpointing).
        micro_batch: rows in memory at once; their gradients are added up to a batch.
        checkpoint_s: seconds between checkpoints.
        threads: of torch, on a CPU; None leaves them as they are.
        kept: gives this training's folder, by a name, for what others start from or use again (`Context.kept`); None
            keeps nothing. Other keys' folders of that name lie beside it. Not used by several processes.
        warn: takes a line to the user.
    """

    bases: Mapping[str, str | Path]
    out: Path
    work: Path
    device: str = "cpu"
    micro_batch: int | None = None
    checkpoint_s: float = CHECKPOINT_S
    threads: Threads | None = None
    kept: Callable[[str], Path] | None = None
    warn: Callable[[str], None] = print


def train(
    model_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    settings: TrainSettings,
    site: Site,
    progress: "Progress | None" = None,
) -> dict[str, Any]:
    """Train on `rows`, starting from a model artifact, and write a new artifact into `site.out`.

    The start is the model with all its adapters merged, which is also DPO's reference. The artifact is model.json,
    training.json, and adapters/<i>/ (copies of the start's, and the new one as the last); where all weights are
    trained, they are in weights/, and there is no adapter.

    Several processes that accelerate launched (see `launch.py`) share the work where all of them call it with the same
    arguments; the first writes.

    Args:
        model_dir: a model artifact (see `w2s_core.models`).
        rows: {"id", "question", "response"} for SFT, {"id", "question", "chosen", "rejected"} for others.
        settings: all that decides the result.
        site: where it runs.
        progress: called as progress(done, total, unit="steps", note="loss 0.123").

    Returns:
        The summary: method, steps, rows, dropped_long, batch_size, tokens (read, padding not counted), seconds,
        loss_first and loss_last (means over a log entry), precision, quantization, processes, and mean completion
        lengths in tokens; and "extends": {"key", "steps", "from_step", "to"}, where it started from another's state.

    Raises:
        StopBranch: there are no rows.
        UserError: no row fits, a model that cannot be trained, a loss that is not finite, or a first loss of DPO that
            shows another reference than the start.
    """
    environment.set_precision(settings.precision)
    with quiet():
        ready = prepare(model_dir, rows, settings, site, progress)
        record = _run(ready.trainer, site, ready.plan.batch)
        trained = {
            "method": settings.method,
            "steps": ready.plan.steps,
            "tokens": sum(ready.examples[i].tokens for i in ready.plan.order),
        }
        _save(ready.trainer, model_dir, site.out, trained | {"log": record.log})
    return trained | {
        # In the summary and not in a file: the same training has the same files every time.
        "seconds": round(record.seconds, 3),
        "rows": len(rows),
        "dropped_long": ready.dropped,
        "batch_size": ready.plan.batch,
        "precision": settings.precision,
        "quantization": settings.quantization,
        "gradient_checkpointing": site.device != "cpu",
        "processes": ready.trainer.accelerator.num_processes,
        "loss_first": record.log[0]["loss"],
        "loss_last": record.log[-1]["loss"],
        **_mean_lengths(ready.examples),
        **({"extends": record.origin | {"to": ready.plan.steps}} if record.origin else {}),
    }


@dataclass(frozen=True)
class Prepared:
    """All that stands before the first step: TRL's trainer, the rows as tokens, their order, how many were too long."""

    trainer: Any
    examples: list[Example]
    plan: BatchPlan
    dropped: int


def prepare(
    model_dir: Path,
    rows: Sequence[Mapping[str, Any]],
    settings: TrainSettings,
    site: Site,
    progress: "Progress | None" = None,
) -> Prepared:
    """Load the model, encode the rows and build the trainer; as `train` has them."""
    from transformers import PrinterCallback

    from w2s_core.training import forks, trainers
    from w2s_core.training.watch import Record, Watch

    model, tokenizer = load_model(
        model_dir,
        site.bases,
        device=_load_on(site.device, settings),
        precision="float32" if settings.tuning == "full" else settings.precision,
        quantization=settings.quantization,
        threads=site.threads,
    )
    if settings.tuning == "full":
        _own(model)
    else:
        _check_targets(model, settings.lora_targets)
    limit = min(settings.max_length, getattr(model.config, "max_position_embeddings", settings.max_length))
    encoder = encoder_of(tokenizer, read_prompt(model_dir))
    examples, dropped = encode_rows(encoder, rows, settings.method, limit)
    order = plan_batches([example.longest for example in examples], settings)
    record = Record()
    arguments = _arguments(settings, order, site)
    watch = Watch(record, examples, order, site.checkpoint_s, progress)
    trainer = trainers.build(model, tokenizer, examples, order, settings, arguments, [watch])
    trainer.remove_callback(PrinterCallback)
    trainer.record, trainer.request = record, _request(settings, examples, order, model_dir)
    keep = site.kept if _processes() == 1 else None
    if keep and settings.is_open_ended:
        trainer.kept = keep(f"states of {trainer.request} {_manner(trainer)}")
        trainer.kept_at = watch.kept_at = forks.kept_at(order.full_steps)
    if settings.method == "dpo":
        start = _digest([_start(model_dir), settings.precision, settings.quantization])
        trainer.precompute_reference(
            watch.on_reference,
            lambda rows: keep(f"reference {start} {rows} {_manner(trainer)}") if keep else None,
        )
    return Prepared(trainer, examples, order, dropped)


def _load_on(device: str, settings: TrainSettings) -> str:
    """Where to load: of several processes accelerate places the model, and shards what is too large for one device.

    4-bit weights have to be loaded where they stay.
    """
    if _processes() == 1 or device == "cpu":
        return device
    return f"{device}:{os.environ['LOCAL_RANK']}" if settings.quantization else "cpu"


def _processes() -> int:
    """How many accelerate launched; it says so in the environment of each."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _run(trainer: Any, site: Site, batch: int) -> "Record":
    """Train, from the last checkpoint on if there is one, or from another training's kept state."""
    import torch

    from w2s_core.training import checkpoints, forks

    record: Record = trainer.record
    origin = forks.fork(trainer, site.work, site.warn) if trainer.kept else None
    checkpoint = checkpoints.latest(site.work, trainer.request)
    if checkpoint:
        record.restore(checkpoint[1], origin)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint[0]) if checkpoint else None)
    except torch.OutOfMemoryError:
        at_once = trainer.args.per_device_train_batch_size
        raise UserError(
            f"training: out of memory with {at_once} of a batch's {batch} rows at once; set a smaller --micro-batch,"
            " which changes nothing but rounding, or a smaller max_length"
        ) from None
    return record


def _manner(trainer: Any) -> str:
    """What rounding follows: the kind of processor or device, torch's threads and products there, the rows at once."""
    import torch

    from w2s_core.models.products import by_onednn

    if trainer.args.use_cpu:
        products = ", oneDNN" if by_onednn(trainer.model) else ""
        where = f"{processor_name()}, {torch.get_num_threads()} threads{products}"
    else:
        where = torch.cuda.get_device_name()
    return f"{where}, {trainer.args.per_device_train_batch_size} rows at once"


def _arguments(settings: TrainSettings, order: BatchPlan, site: Site) -> dict[str, Any]:
    """The settings as TRL's arguments. Logging and saving are off: `Watch` decides about both.

    Sharded weights are gathered by hooks, which the older, reentrant kind of checkpointing passes by.
    """
    gpu, micro_batch = site.device != "cpu", site.micro_batch
    processes = _processes()
    share = math.ceil(order.batch / processes)
    at_once = share if micro_batch is None else min(micro_batch, share)
    if at_once < 1 or (processes == 1 and order.batch % at_once):
        raise UserError(f"--micro-batch {at_once} does not divide the batch of {order.batch} rows")
    warmup = settings.warmup_steps
    scheduler = "constant_with_warmup" if settings.scheduler == "constant" and warmup else settings.scheduler
    return {
        "output_dir": str(site.work),
        "max_steps": order.steps,
        "per_device_train_batch_size": at_once,
        "gradient_accumulation_steps": math.ceil(order.batch / (at_once * processes)),
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": scheduler,
        "warmup_steps": math.ceil(settings.warmup_ratio * order.steps) if warmup is None else warmup,
        "optim": settings.optimizer,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "use_cpu": not gpu,
        "bf16": settings.precision == "bfloat16",
        "gradient_checkpointing": gpu,
        "ddp_find_unused_parameters": False,  # all adapters are in every loss
        "dataloader_pin_memory": gpu,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "logging_nan_inf_filter": False,  # it would replace a NaN by a mean, and go on
        "save_strategy": "no",
        "push_to_hub": False,
    } | ({"gradient_checkpointing_kwargs": {"use_reentrant": False}} if gpu and processes > 1 else {})


def _check_targets(model: Any, targets: Sequence[str]) -> None:
    """An adapter on only some of the layers would be a silent change of the method.

    The output layer can have none: TRL multiplies by its weights itself, and would pass an adapter by.
    """
    from torch.nn import Linear

    output = model.get_output_embeddings()
    layers = {
        name.rpartition(".")[2]: None
        for name, module in model.named_modules()
        if isinstance(module, Linear) and module is not output
    }
    if missing := [name for name in targets if name not in layers]:
        raise UserError(
            f"a {model.config.model_type} model has no layers named {', '.join(missing)}, which adapters are trained"
            f" on: lora_targets can name {', '.join(layers) or 'none of its layers'}"
        )


def _own(model: Any) -> None:
    """Make all weights trainable, with storage of their own: that of loaded ones is what other steps start from."""
    for weight in model.parameters():
        weight.data = weight.data.clone()
        weight.requires_grad_(True)  # merging an adapter left them frozen


def _request(settings: TrainSettings, examples: Sequence[Example], order: BatchPlan, model_dir: Path) -> str:
    """A digest of what is trained, from what, on what: a checkpoint of anything else is of no use.

    Where the first steps are the same however many follow, the number is no part of it.
    """
    chosen, rows = settings.model_dump(), [(row.prompt, row.completions) for row in examples]
    if settings.is_open_ended:
        return _digest([chosen | {"epochs": None, "max_steps": None}, _start(model_dir), rows])
    return _digest([chosen, _start(model_dir), order.order, rows])


def _start(model_dir: Path) -> dict[str, str]:
    """The files of the model that training starts from."""
    return {
        str(path.relative_to(model_dir)): disk.sha256_file(path) for path in sorted(model_dir.rglob("*.*"))
    }


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _save(trainer: Any, model_dir: Path, out: Path, trained: dict[str, Any]) -> None:
    """Write the artifact: the new adapter with copies of what it stands on, or all weights; and how it was trained.

    The parts of sharded weights come from all processes, so all of them call it; the first writes.
    """
    from peft import get_peft_model_state_dict

    from w2s_core.training.checkpoints import gathered

    model = trainer.model
    full = trainer.start_config is not None
    state = model.state_dict() if full else get_peft_model_state_dict(model, save_embedding_layers=False)
    weights = {name: gathered(tensor).contiguous() for name, tensor in sorted(state.items())}
    if not trainer.accelerator.is_main_process:
        return
    start = read_json(model_dir / "model.json")
    if full:
        _save_checkpoint(trainer, weights, out / WEIGHTS)
        start |= {"weights": WEIGHTS, "adapters": []}
    else:
        names = [f"adapters/{index}" for index in range(len(start["adapters"]) + 1)]
        kept = [start["weights"]] if "weights" in start else []
        for source, name in zip([*kept, *start["adapters"]], [*kept, *names], strict=False):
            shutil.copytree(model_dir / source, out / name)
        _save_adapter(model, weights, out / names[-1])
        start |= {"adapters": names}
    write_json(out / "training.json", trained)
    write_json(out / "model.json", start)


def _save_checkpoint(trainer: Any, weights: dict[str, Any], folder: Path) -> None:
    """Write all weights as a folder that transformers and vLLM load, with the start's config and tokenizer.

    TRL sets a token for padding in the config, and an embedding of that number would be trained no further.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.config, model.generation_config.pad_token_id = (
        trainer.start_config,
        trainer.start_config.pad_token_id,
    )
    model.save_pretrained(folder, state_dict=weights)
    trainer.processing_class.save_pretrained(folder)


def _save_adapter(model: Any, weights: dict[str, Any], new: Path) -> None:
    from safetensors.torch import save_file

    new.mkdir(parents=True)
    save_file(weights, new / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(new))
    written = read_json(new / "adapter_config.json")
    # A set has no order, and a path is no part of a result: both would make equal adapters differ in bytes.
    written |= {"target_modules": sorted(written["target_modules"]), "base_model_name_or_path": None}
    write_json(new / "adapter_config.json", written)


def _mean_lengths(examples: Sequence[Example]) -> dict[str, float]:
    """Mean tokens of a completion by side: a preference for length shows here first."""
    sides = ("completion",) if len(examples[0].completions) == 1 else ("chosen", "rejected")
    return {
        f"{name}_tokens": round(sum(len(row.completions[side]) for row in examples) / len(examples), 2)
        for side, name in enumerate(sides)
    }


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, hints or warnings of the libraries on the terminal: it belongs to the run's own display."""
    from transformers.utils import logging as hf_logging

    before = {name: logging.getLogger(name).level for name in ("trl", "peft", "accelerate", "datasets")}
    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    for name in before:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(verbosity)
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
