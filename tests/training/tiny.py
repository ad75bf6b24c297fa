"""A tiny random Llama with a word-level tokenizer, as a base folder and as a model artifact; rows to train it on."""

import random
from pathlib import Path
from typing import Any

from w2s_core.models import base_ref
from w2s_core.rows import write_json

TEXT = "Question Answer : Tom has finds loses apples how many now ? + = #### . 0 1 2 3 4 5 6 7 8 9"
WORDS = TEXT.split()


def make_tokenizer(bos: bool, pad: bool = True) -> Any:
    """A word-level tokenizer; with `bos` its own post-processor puts BOS before a text."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {word: i for i, word in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", "\n", *WORDS])}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[ ]+"), "removed"),
            pre_tokenizers.Split(Regex(r"[:?.\n]"), "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    )
    if bos:
        core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"} | (
        {"pad_token": "<pad>"} if pad else {}
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, **special)


def make_base(folder: Path, bos: bool = False, pad: bool = True, seed: int = 0, **config: Any) -> Path:
    """Save a random Llama of some 20 thousand parameters, with its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape: dict[str, Any] = {
        "vocab_size": len(WORDS) + 5,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.2,
    }
    LlamaForCausalLM(LlamaConfig(**shape | config)).save_pretrained(folder)
    make_tokenizer(bos, pad).save_pretrained(folder)
    return folder


def make_artifact(folder: Path, base: Path) -> tuple[Path, dict[str, Path]]:
    """A model artifact without adapters on a base, and where the base lies."""
    folder.mkdir(parents=True)
    ref = base_ref(base)
    write_json(folder / "model.json", {"base": ref, "adapters": []})
    return folder, {ref: base}


def sums(count: int, seed: int = 0) -> list[dict[str, str]]:
    """SFT rows: little sums of one to three numbers, so that lengths differ."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        terms = [draw.randint(0, 3) for _ in range(draw.randint(1, 3))]
        asked = " ".join(f"finds {term} ." for term in terms)
        answer = f"{' + '.join(map(str, terms))} = {sum(terms)} #### {sum(terms)}"
        rows.append({"id": f"q{number}", "question": f"Tom {asked} how many ?", "response": answer})
    return rows


def pairs(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Preference rows: the sum, and something else."""
    return [
        {
            "id": row["id"],
            "question": row["question"],
            "chosen": row["response"],
            "rejected": "Tom has 9 #### 9",
        }
        for row in sums(count, seed)
    ]


def rows_for(method: str, count: int) -> list[dict[str, str]]:
    """Rows of the kind that a method reads."""
    return sums(count) if method == "sft" else pairs(count)
