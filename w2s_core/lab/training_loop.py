"""The pretraining loop: deterministic, checkpointed, resumable to the same result."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from w2s_core.errors import UserError
from w2s_core.lab.bases import Base, Recipe
from w2s_core.lab.batches import batches
from w2s_core.rows import read_json, write_json

SECONDS_BETWEEN_CHECKPOINTS = 60.0

Progress = Callable[[int, int, float], None]
"""progress(steps done, steps in all, loss)"""


def build_model(base: Base, vocabulary: int, context: int, eos: int, pad: int) -> Any:
    """A randomly initialised model of the base's architecture."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        base.architecture,
        vocab_size=vocabulary,
        hidden_size=base.hidden,
        num_hidden_layers=base.layers,
        num_attention_heads=base.heads,
        num_key_value_heads=base.key_value_heads,
        intermediate_size=base.intermediate,
        max_position_embeddings=context,
        tie_word_embeddings=base.tied,
        initializer_range=base.initial,
        rope_parameters={"rope_type": "default", "rope_theta": base.rope_theta},
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    torch.manual_seed(base.seed)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def weighted_loss(logits: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy of the next token, weighted. Shapes: [batch, length, vocabulary], [batch, length] twice."""
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    counted = weights[:, 1:].flatten()
    return (losses * counted).sum() / counted.sum()


def rate(base: Base, step: int) -> float:
    """Learning rate at a step (from 0): linear warm-up, then cosine to zero."""
    warm = max(1, round(base.warmup * base.steps))
    if step < warm:
        return base.learning_rate * (step + 1) / warm
    return base.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, base.steps - warm)))


def choose_device(name: str) -> torch.device:
    """`auto`: the GPU where there is one. Raises UserError for a GPU that is not there."""
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise UserError(
            "--device cuda: PyTorch sees no CUDA GPU here; --device cpu, or auto, works without one"
        )
    return torch.device("cuda" if name != "cpu" and has_gpu else "cpu")


def device_name(device: torch.device) -> str:
    """What the record calls it: "cpu", or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def pretrain(
    recipe: Recipe,
    name: str,
    tokenizer: Any,
    work: Path,
    progress: Progress,
    device: torch.device,
    readers: int,
) -> tuple[Any, dict[str, Any]]:
    """Pretrain one base. Returns the model (float32, on the CPU) and the record {step, tokens, seconds, loss, losses}.

    A checkpoint is kept in `work`, about once a minute; a call after a kill or Ctrl-C goes on from it and ends with
    the same weights as an uninterrupted one, since every step draws its own documents by its number.
    """
    base = recipe.bases[name]
    torch.set_num_threads(base.threads)
    model = build_model(base, len(tokenizer), recipe.context, tokenizer.eos_token_id, tokenizer.pad_token_id)
    model.to(device).train()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=base.learning_rate, betas=(0.9, 0.95), weight_decay=base.weight_decay
    )
    state: dict[str, Any] = {"step": 0, "tokens": 0, "seconds": 0.0, "losses": []}
    if (work / "checkpoint").is_dir():
        state = _restore(work / "checkpoint", model, optimiser)
    started = saved = time.monotonic()
    spent = state["seconds"]
    for ids, weights in batches(recipe, name, state["step"], readers):
        loss = _update(model, optimiser, base, state["step"], ids.to(device), weights.to(device))
        state = _advanced(state, int((weights > 0).sum()), loss, spent + time.monotonic() - started)
        progress(state["step"], base.steps, loss)
        if time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS:
            _save(work, model, optimiser, state)
            saved = time.monotonic()
    if device.type == "cuda":
        state["device"] = device_name(device)
    tail = state["losses"][-50:]
    record = {**state, "loss": sum(tail) / len(tail), "losses": state["losses"][:: max(1, base.steps // 50)]}
    return model.cpu(), record


def _advanced(state: dict[str, Any], tokens: int, loss: float, seconds: float) -> dict[str, Any]:
    return {
        "step": state["step"] + 1,
        "tokens": state["tokens"] + tokens,
        "seconds": seconds,
        "losses": [*state["losses"], round(loss, 4)],
    }


def _update(model: Any, optimiser: Any, base: Base, step: int, ids: Tensor, weights: Tensor) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate(base, step)
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=base.precision == "bfloat16"):
        logits = model(input_ids=ids, use_cache=False).logits
    loss = weighted_loss(logits, ids, weights)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def _save(work: Path, model: Any, optimiser: Any, state: dict[str, Any]) -> None:
    """Write weights, optimiser moments and counters beside the old checkpoint, then take its place."""
    fresh, final = work / "checkpoint.new", work / "checkpoint"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    tensors = {f"weight.{name}": value.detach().clone() for name, value in model.named_parameters()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"moment.{index}.{key}": value.clone() for key, value in moments.items()}
    save_file(tensors, fresh / "state.safetensors")
    write_json(fresh / "counters.json", state)
    shutil.rmtree(final, ignore_errors=True)
    fresh.rename(final)


def _restore(folder: Path, model: Any, optimiser: Any) -> dict[str, Any]:
    tensors = load_file(folder / "state.safetensors")
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(tensors[f"weight.{name}"])
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "moment":
            index, _, moment = rest.partition(".")
            moments.setdefault(int(index), {})[moment] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    counters: dict[str, Any] = read_json(folder / "counters.json")
    return counters
