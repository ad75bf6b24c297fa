"""Tiny random checkpoints in the formats of the real families: their config classes, tokenizers and shards.

Tokenizers are trained here on the laptop lab's own texts, with what the families' hub repositories have: word
boundaries or bytes, BOS put in front or not, a pad token or none, a chat template or none.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    Gemma2Config,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from tests.families.templates import CHATML, GEMMA, INST, LLAMA_3, THINKING

VOCABULARY = 600
BOUNDARY = "\u2581"
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


@dataclass(frozen=True)
class Family:
    """What tells one family's checkpoints from another's."""

    config: type
    options: dict[str, Any]
    tokenizer: Callable[[], Any]
    tokenizer_class: str
    bos: bool
    pad: bool
    chat: str | None


@lru_cache(maxsize=1)
def texts() -> tuple[str, ...]:
    """Questions and solutions of the laptop lab, as they stand in prompts."""
    from w2s_core.tasks import load_task

    task = load_task("mini", {"train_1": 60, "train_2": 1, "dev": 1, "test": 1, "levels": [1, 2]})
    return tuple(f"Question: {one.question}\nAnswer: {one.solution}\n\n" for one in task.load("train_1"))


def _sentencepiece(prefix_space: bool, bos: str, eos: str, pad: str | None) -> Any:
    """BPE over word boundaries with bytes for what is unknown, as Llama 2, Mistral and Gemma have it."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    steps = [normalizers.Replace(" ", BOUNDARY)]
    steps = [normalizers.Prepend(BOUNDARY), *steps] if prefix_space else steps
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BOUNDARY, " "), decoders.ByteFallback(), decoders.Fuse()]
        + ([decoders.Strip(" ", 1, 0)] if prefix_space else [])
    )
    # Gemma's class adds <mask> behind the embeddings where the vocabulary lacks it; the released one has it.
    gemma = [pad, "<mask>", "<start_of_turn>", "<end_of_turn>"] if pad else []
    special = ["<unk>", bos, eos, *gemma, *_BYTES]
    words = (word for text in texts() for word in text.replace(" ", f" {BOUNDARY}").split(" "))
    _train(tokenizer, special, words, VOCABULARY)
    tokenizer.post_processor = _with_bos(tokenizer, bos)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, unk_token="<unk>", pad_token=pad
    )


def _bytes(special: list[str], bos: str | None, eos: str, pad: str | None, *, digits: bool = False) -> Any:
    """BPE over bytes, as Llama 3 and Qwen have it; with `digits` as SmolLM2 has it."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        if digits
        else [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    if not digits:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    _train(tokenizer, [], texts(), VOCABULARY, pre_tokenizers.ByteLevel.alphabet())
    tokenizer.add_special_tokens([AddedToken(one, special=True, normalized=False) for one in special])
    if bos:
        tokenizer.post_processor = _with_bos(tokenizer, bos)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=pad)


def _train(tokenizer: Any, special: list[str], words: Iterable[str], size: int, alphabet: Any = ()) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(words, trainer)


def _with_bos(tokenizer: Any, bos: str) -> Any:
    return processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )


_LLAMA_3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
_QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
FAMILIES = {
    "llama-2": Family(
        LlamaConfig, {"num_key_value_heads": 4}, lambda: _sentencepiece(True, "<s>", "</s>", None),
        "LlamaTokenizer", bos=True, pad=False, chat=INST,
    ),
    "llama-3": Family(
        LlamaConfig, {"num_key_value_heads": 2, "rope_theta": 500_000.0},
        lambda: _bytes(_LLAMA_3, "<|begin_of_text|>", "<|end_of_text|>", None),
        "PreTrainedTokenizerFast", bos=True, pad=False, chat=LLAMA_3,
    ),
    "gemma": Family(
        GemmaConfig, {"num_key_value_heads": 1, "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh"},
        lambda: _sentencepiece(False, "<bos>", "<eos>", "<pad>"),
        "GemmaTokenizer", bos=True, pad=True, chat=None,
    ),
    "gemma-2": Family(
        Gemma2Config, {"num_key_value_heads": 2, "head_dim": 16, "sliding_window": 64},
        lambda: _sentencepiece(False, "<bos>", "<eos>", "<pad>"),
        "GemmaTokenizer", bos=True, pad=True, chat=GEMMA,
    ),
    "mistral": Family(
        MistralConfig, {"num_key_value_heads": 2, "sliding_window": 64},
        lambda: _sentencepiece(True, "<s>", "</s>", None),
        "LlamaTokenizer", bos=True, pad=False, chat=INST,
    ),
    "qwen-2": Family(
        Qwen2Config, {"num_key_value_heads": 2, "tie_word_embeddings": True},
        lambda: _bytes(_QWEN, None, "<|endoftext|>", "<|endoftext|>"),
        "Qwen2Tokenizer", bos=False, pad=True, chat=CHATML,
    ),
    "qwen-3": Family(
        Qwen3Config, {"num_key_value_heads": 2, "head_dim": 16},
        lambda: _bytes(_QWEN, None, "<|im_end|>", "<|endoftext|>"),
        "Qwen2Tokenizer", bos=False, pad=True, chat=THINKING,
    ),
    "smollm2": Family(
        LlamaConfig, {"num_key_value_heads": 2, "tie_word_embeddings": True},
        lambda: _bytes(_QWEN, None, "<|im_end|>", "<|im_end|>", digits=True),
        "GPT2Tokenizer", bos=False, pad=True, chat=CHATML,
    ),
}  # fmt: skip


def write_checkpoint(name: str, folder: Path, seed: int = 0, steps: int = 0, *, chat: bool = False) -> Path:
    """A family's checkpoint as a hub repository has it: sharded safetensors, config and tokenizer files.

    Random, or pretrained for some steps on `texts`, so that it answers in the task's form at times; with `chat` on the
    same as conversations.
    """
    from transformers import AutoModelForCausalLM

    family = FAMILIES[name]
    tokenizer = family.tokenizer()
    tokenizer.chat_template = family.chat
    torch.manual_seed(seed)
    config = family.config(
        **SIZE, **family.options, vocab_size=len(tokenizer), max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.05 if steps else 0.2,  # large, so that no two tokens of a random model are near-ties
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config)
    if steps:
        _pretrain(model, tokenizer, _conversations(tokenizer) if chat else _documents(tokenizer), steps)
    model.save_pretrained(folder, max_shard_size="40KB")
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text()) | {"tokenizer_class": family.tokenizer_class}
    if family.tokenizer_class in ("LlamaTokenizer", "GemmaTokenizer"):
        fields |= {"add_bos_token": True, "add_eos_token": False, "legacy": False}
    path.write_text(json.dumps(fields))
    return folder


def _documents(tokenizer: Any) -> list[list[int]]:
    return [[*tokenizer(text.rstrip()).input_ids, tokenizer.eos_token_id] for text in texts()]


def _conversations(tokenizer: Any) -> list[list[int]]:
    parts = [text.removeprefix("Question: ").rstrip().partition("\nAnswer: ") for text in texts()]
    return [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
            return_dict=False,
        )
        for question, _, answer in parts
    ]


def _pretrain(model: Any, tokenizer: Any, ids: list[list[int]], steps: int) -> None:
    """The plain loop: whole texts with their special tokens, one batch of 16 after the other."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for step in range(steps):
        batch = [ids[(16 * step + i) % len(ids)] for i in range(16)]
        width = max(map(len, batch))
        tokens = torch.tensor([one + [tokenizer.eos_token_id] * (width - len(one)) for one in batch])
        real = torch.tensor([[1] * len(one) + [0] * (width - len(one)) for one in batch])
        labels = tokens.masked_fill(real == 0, -100)
        model(input_ids=tokens, attention_mask=real, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
