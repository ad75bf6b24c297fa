"""What a model really takes: tiny random models, and the peak of what torch allocates while they train."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from w2s_core.models import base_ref
from w2s_core.training import TrainSettings, core

SIZES: dict[str, Any] = {
    "vocab_size": 1200,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"tie_word_embeddings": False},
    "mistral": {"tie_word_embeddings": True, "head_dim": 24},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": False, "head_dim": 32},
    "gemma": {"head_dim": 32, "num_key_value_heads": 1},
    "gemma2": {"head_dim": 32, "sliding_window": 64},
}


def make_base(folder: Path, family: str = "llama", **changes: Any) -> Path:
    """A random model of a family, with a tokenizer of words, saved as transformers saves it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **(SIZES | FAMILIES[family] | changes))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {str(number): 3 + number for number in range(100)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)
    return folder


def trainer_of(
    base: Path,
    work: Path,
    method: str,
    rows: int,
    words: int,
    *,
    like_a_gpu: bool,
    rank: int = 8,
    change: Any = MappingProxyType({}),
) -> Any:
    """The project's own trainer, ready for one step of `rows` rows or pairs, and the tokens of a side.

    like_a_gpu: bfloat16 weights, autocast and gradient checkpointing, as on a GPU, but computed here.
    """
    (work / "model").mkdir(parents=True)
    ref = base_ref(base)
    (work / "model" / "model.json").write_text(json.dumps({"base": ref, "adapters": []}))
    text = " ".join(str(number % 100) for number in range(words))
    sides = {"response": text} if method == "sft" else {"chosen": text, "rejected": text}
    data = [{"id": str(number), "question": "1 2", **sides} for number in range(rows)]
    plain: dict[str, Any] = {
        "method": method,
        "learning_rate": 1e-3,
        "batch_size": rows,
        "max_steps": 1,
        "lora_r": rank,
        "precision": "bfloat16" if like_a_gpu else "float32",
    }
    settings = TrainSettings(**plain | change)
    with core.quiet():
        if not like_a_gpu:
            ready = core.prepare(
                work / "model", data, settings, core.Site({ref: base}, work / "out", work / "w")
            )
            return ready.trainer, ready.examples[0].longest
        arguments = core._arguments
        core._arguments = lambda *a: arguments(*a) | {"gradient_checkpointing": True}
        try:
            ready = core.prepare(
                work / "model", data, settings, core.Site({ref: base}, work / "out", work / "w")
            )
        finally:
            core._arguments = arguments
        return ready.trainer, ready.examples[0].longest


def peak_of_training(trainer: Any, trace: Path) -> int:
    """The most bytes that torch holds at once during the training, over what it held at the start."""
    with core.quiet():
        return peak(trainer.train, trace)[0]


def peak(work: Callable[[], Any], trace: Path) -> tuple[int, Any]:
    """The most bytes that torch holds at once while `work` works, over what it held at the start; and its result."""
    gc.collect()  # an earlier trainer that is freed while this one works would count as memory given back
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        result = work()
    profile.export_chrome_trace(str(trace))
    live = most = 0
    for event in json.loads(trace.read_text())["traceEvents"]:
        if event.get("name") == "[memory]":
            live += event["args"]["Bytes"]
            most = max(most, live)
    return most, result
