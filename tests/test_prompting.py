"""Prompts, and how special tokens come about, on tokenizers of the families that differ in it."""

import string
import subprocess
import sys
from typing import Any

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from w2s_core.errors import UserError
from w2s_core.prompting import STOP, completion, encode_completion, encode_prompt, few_shot_prefix, zero_shot

CORPUS = [zero_shot("How many are 12 and 30?") + completion("12 + 30 = 42\n#### 42"), "Tom has 5 apples."] * 5


def byte_level(*, bos: bool = False, eos: bool = False) -> Any:
    """Like GPT-2, Llama 3 and Qwen: a space belongs to the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [AddedToken(text, special=True) for text in ("<s>", "</s>")]
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    if bos or eos:
        template = f"{'<s> ' if bos else ''}$A{' </s>' if eos else ''}"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


def sentencepiece_like() -> Any:
    """Like Llama 2 and Mistral: every text gets a word boundary before it, BOS stands first."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\u2581", "merged_with_next")  # no token crosses words
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [AddedToken(text, special=True) for text in ("<s>", "</s>", "<unk>")]
    alphabet = list(string.printable)
    tokenizer.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=200, special_tokens=special, initial_alphabet=alphabet)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


FAMILIES = {
    "byte-level": byte_level,
    "byte-level with BOS": lambda: byte_level(bos=True),
    "byte-level that closes each text": lambda: byte_level(bos=True, eos=True),
    "sentencepiece-like": sentencepiece_like,
}


@pytest.fixture(params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]()


def test_texts() -> None:
    assert zero_shot("Why?") == "Question: Why?\nAnswer:"
    assert completion("  Because.\n") == " Because."
    shown = few_shot_prefix([("a", "1"), ("b", " 2 ")])
    assert shown + zero_shot("c") == (
        "Question: a\nAnswer: 1\n\nQuestion: b\nAnswer: 2\n\nQuestion: c\nAnswer:"
    )
    assert few_shot_prefix([]) == ""
    assert STOP[0] in shown, "a model that goes on as the demonstrations do is stopped"


def test_bos_once_and_only_where_the_tokenizer_adds_it(tokenizer: Any) -> None:
    ids = encode_prompt(tokenizer, CORPUS[0])
    adds = tokenizer("x").input_ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == int(adds)
    assert (ids[0] == tokenizer.bos_token_id) == adds
    assert tokenizer.eos_token_id not in ids


def test_completion_is_closed_once_and_not_opened(tokenizer: Any) -> None:
    ids = encode_completion(tokenizer, "12 + 30 = 42\n#### 42")
    assert ids.index(tokenizer.eos_token_id) == len(ids) - 1
    assert tokenizer.bos_token_id not in ids


def test_prompt_and_completion_join_as_the_whole_text(tokenizer: Any) -> None:
    """What is trained on is what the tokenizer makes of the whole, where it keeps the space with the next word."""
    prompt, response = zero_shot("How many are 12 and 30?"), "12 + 30 = 42\n#### 42"
    joined = encode_prompt(tokenizer, prompt) + encode_completion(tokenizer, response)
    assert joined == [*encode_prompt(tokenizer, prompt + completion(response)), tokenizer.eos_token_id]
    assert tokenizer.decode(joined, skip_special_tokens=True) == prompt + completion(response)


def test_prefix_and_prompt_join_as_the_whole_text(tokenizer: Any) -> None:
    prefix = few_shot_prefix([("Tom has 5 apples.", "12"), ("How?", "30")])
    whole = encode_prompt(tokenizer, prefix + zero_shot("Why?"))
    assert tokenizer.decode(whole, skip_special_tokens=True) == prefix + zero_shot("Why?")
    assert whole[: len(encode_prompt(tokenizer, prefix)) - 1] == encode_prompt(tokenizer, prefix)[:-1]


def test_special_tokens_in_a_text_stay_text(tokenizer: Any) -> None:
    """A question or a response that spells "</s>" out neither opens nor ends anything."""
    assert tokenizer.eos_token_id not in encode_prompt(tokenizer, zero_shot("a </s> b"))
    ids = encode_completion(tokenizer, "a </s> b <s>")
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.bos_token_id not in ids


def test_tokenizer_without_eos_is_refused() -> None:
    tokenizer = byte_level()
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no EOS token"):
        encode_completion(tokenizer, "42")


def test_imports_no_torch() -> None:
    code = "import sys, w2s_core.prompting, w2s_core.sampling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
