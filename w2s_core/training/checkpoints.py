"""Checkpoints of a training: one safetensors file and one JSON file, complete or absent.

Transformers would write optimiser, scheduler and random state with torch.save, which pickles. Here they are tensors in
state.safetensors and plain values in trainer_state.json and checkpoint.json; the latter also holds digests of all of
them, and of what was being trained. A checkpoint is written beside its place and renamed into it.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor

from w2s_core.engine import disk

TENSORS, STATE, RECORD = "state.safetensors", "trainer_state.json", "checkpoint.json"


def save(trainer: Any, folder: Path) -> None:
    """Write folder/checkpoint-<step> from a trainer between two steps, then remove the older ones.

    Of several processes all have to call it: each holds parts of what the first one writes.
    """
    optimizer = trainer.optimizer.state_dict()
    tensors = {f"weight.{name}": gathered(weight) for name, weight in _trained(trainer.model).items()}
    for index, moments in optimizer["state"].items():
        tensors |= {
            f"optimizer.{index}.{name}": gathered(torch.as_tensor(value)) for name, value in moments.items()
        }
    tensors |= _random_states(trainer.accelerator)
    if not trainer.accelerator.is_main_process:
        return
    target = folder / f"checkpoint-{trainer.state.global_step}"
    fresh = target.with_name(f"{target.name}.writing")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, fresh / TENSORS)
    trainer.state.save_to_json(str(fresh / STATE))
    step = trainer.state.global_step
    record = {
        "request": trainer.request,
        "steps": trainer.plan.steps,
        "past": trainer.plan.past(step),
        "tensors": disk.sha256_file(fresh / TENSORS),
        "state": disk.sha256_file(fresh / STATE),
        "groups": optimizer["param_groups"],
        "scheduler": trainer.lr_scheduler.state_dict(),
        "record": trainer.record.state(),
    }
    (fresh / RECORD).write_text(json.dumps(record | {"digest": _digest(record)}))
    for path in (*fresh.iterdir(), fresh):
        disk.fsync(path)
    fresh.rename(target)
    disk.fsync(folder)
    for old in folder.glob("checkpoint-*"):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)


def latest(folder: Path, request: str) -> tuple[Path, dict[str, Any]] | None:
    """The newest whole checkpoint of this very request, with its record; torn or foreign ones are passed over."""
    candidates = []
    for path in folder.glob("checkpoint-*"):
        with suppress(ValueError):  # one that is being written
            if record := read(path, request):
                candidates.append((step_of(path), path, record["record"]))
    if not candidates:
        return None
    _, newest, log = max(candidates, key=lambda candidate: candidate[0])
    return newest, log


def step_of(path: Path) -> int:
    """The step that a checkpoint is named after. Raises ValueError for one that is being written."""
    return int(path.name.removeprefix("checkpoint-"))


def read(path: Path, request: str) -> dict[str, Any] | None:
    """The record of a checkpoint; None where it is torn, damaged or of another request."""
    with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
        record: dict[str, Any] = json.loads((path / RECORD).read_text())
        if record.pop("digest") == _digest(record) and record["request"] == request:
            files = {
                name: disk.sha256_file(path / file) for name, file in (("tensors", TENSORS), ("state", STATE))
            }
            return record if files.items() <= record.items() else None
    return None


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def load_weights(trainer: Any, path: Path) -> None:
    """Give the adapter the values that it had at the checkpoint."""
    tensors = load_file(path / TENSORS)
    with torch.no_grad():
        for name, weight in _trained(trainer.model).items():
            weight.copy_(_placed_like(weight, tensors[f"weight.{name}"]))


def load_optimizer(trainer: Any, path: Path) -> None:
    """Give the optimiser its moments, and the schedule its place."""
    record = json.loads((path / RECORD).read_text())
    weights = [weight for group in trainer.optimizer.param_groups for weight in group["params"]]
    moments: dict[int, dict[str, Any]] = {}
    for name, tensor in load_file(path / TENSORS).items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            weight = weights[int(index)]
            placed = _placed_like(weight, tensor) if tensor.shape == weight.shape else tensor
            moments.setdefault(int(index), {})[key] = placed
    trainer.optimizer.load_state_dict({"state": moments, "param_groups": record["groups"]})
    trainer.lr_scheduler.load_state_dict(record["scheduler"])


def load_random_state(path: Path, process: int) -> None:
    """Restore torch's generators. A base with dropout of its own draws from them; adapters' dropout does not.

    A process that was not there when the checkpoint was written takes the first one's state.
    """
    tensors = load_file(path / TENSORS)
    for device, set_state in (("cpu", torch.set_rng_state), ("cuda", torch.cuda.set_rng_state)):
        states = tensors.get(f"random.{device}")
        if states is not None and (device == "cpu" or torch.cuda.is_available()):
            # A copy: set_rng_state reads from the start of a tensor's storage, whatever the tensor's own.
            set_state(states[process if process < len(states) else 0].clone())


def gathered(tensor: Any) -> torch.Tensor:
    """A tensor's values on the CPU, put together if it is spread over processes; then all of them have to ask."""
    detached = tensor.detach()
    return (detached.full_tensor() if isinstance(detached, DTensor) else detached).cpu()


def _placed_like(weight: Any, values: torch.Tensor) -> torch.Tensor:
    """The values where a weight's are: on its device, and spread over processes as it is."""
    values = values.to(weight.device, weight.dtype)
    if isinstance(weight, DTensor):
        return distribute_tensor(values, weight.device_mesh, weight.placements)
    return values


def _random_states(accelerator: Any) -> dict[str, torch.Tensor]:
    """The states of all processes' generators, (processes, bytes) for each kind of device."""
    states = {"random.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return {
        name: accelerator.gather(state[None].to(accelerator.device)).cpu() for name, state in states.items()
    }


def _trained(model: Any) -> dict[str, Any]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
