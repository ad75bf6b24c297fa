"""Tiny random models of several architectures, and a tokenizer with one token a character."""

import copy
import string
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

PAD, EOS = 0, 1
WINDOW = 9
ARCHITECTURES = {
    "llama": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 4}),
    "llama-grouped": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 2}),
    "mistral-sliding": (
        MistralForCausalLM,
        MistralConfig,
        {"num_key_value_heads": 2, "sliding_window": WINDOW},
    ),
    "qwen2-mixed": (
        Qwen2ForCausalLM,
        Qwen2Config,
        {
            "num_key_value_heads": 1,
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 1,
        },
    ),
    "gemma2-mixed": (
        Gemma2ForCausalLM,
        Gemma2Config,
        {
            "num_key_value_heads": 2,
            "head_dim": 8,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 3.0,
            "tie_word_embeddings": False,
        },
    ),
}


def make_tokenizer() -> Any:
    words = ["<pad>", "<eos>", "Question", "Answer", *string.ascii_lowercase, *string.digits, *" \n:.#"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"Question|Answer|.|\n"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>")


def make_model(architecture: str, vocabulary: int, seed: int = 0) -> Any:
    cls, config, options = ARCHITECTURES[architecture]
    torch.manual_seed(seed)
    return cls(
        config(
            vocab_size=vocabulary,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=512,
            initializer_range=0.25,  # large, so that no two tokens are near-ties
            bos_token_id=None,
            eos_token_id=EOS,
            pad_token_id=PAD,
            **options,
        )
    ).eval()


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return make_tokenizer()


@pytest.fixture(scope="session")
def model_of(tokenizer: Any) -> Callable[[str], Any]:
    """A fresh copy of the random model of an architecture, so that no test sees what another did to it."""
    made: dict[str, Any] = {}

    def of(architecture: str) -> Any:
        if architecture not in made:
            made[architecture] = make_model(architecture, len(tokenizer))
        return copy.deepcopy(made[architecture])

    return of
