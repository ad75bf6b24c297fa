"""The tokenizer of a base as its tokenizer.json has it, and the check that it loses no text."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from w2s_core.errors import UserError

FIXED_PAGE = ("0123456789", "3 12 4.5", "#### 42", "42\n\n12\n7")
"""Digits and newlines as answers hold them."""
_EXCERPT = 24


def as_its_file_says(tokenizer: Any, source: str, revision: str | None) -> Any:
    """The tokenizer with the parts of tokenizer.json, where there is such a file.

    transformers keeps a file's normalizer, pre-tokenizer and decoder under few class names (Qwen2Tokenizer,
    PreTrainedTokenizerFast) and else puts the class's own in their place: a byte-level file under LlamaTokenizerFast
    would lose every space. The class still says which special tokens there are where the configs do not.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.utils import cached_file

    file = cached_file(
        source, "tokenizer.json", revision=revision, _raise_exceptions_for_missing_entries=False
    )
    if file is None or type(tokenizer) is PreTrainedTokenizerFast:
        return tokenizer
    stated = PreTrainedTokenizerFast.from_pretrained(source, revision=revision)
    for name in ("bos_token", "eos_token"):
        # a token that a config sets to null is none; one that no config names is the class's
        if name not in stated.init_kwargs and getattr(tokenizer, name) in stated.get_vocab():
            setattr(stated, name, getattr(tokenizer, name))
    return stated


def check_round_trip(source: str, tokenizer: Any, texts: Iterable[str]) -> None:
    """Encode and decode texts of a task, digits, newlines and the special tokens.

    Raises:
        UserError: what does not come back, with its ids.
    """
    for text in (*texts, *FIXED_PAGE):
        wanted, decoded = (
            _comparable(text),
            _comparable(tokenizer.decode(_ids(tokenizer, text), **_AS_RESPONSE)),
        )
        if wanted != decoded:
            pairs = enumerate(zip(wanted, decoded, strict=False))
            at = max(0, next((i for i, (a, b) in pairs if a != b), min(len(wanted), len(decoded))) - 1)
            lost, back = (part[at : at + _EXCERPT] for part in (wanted, decoded))
            raise UserError(
                f"{source}: its tokenizer loses text: {lost!r} comes back as {back!r} (ids "
                f"{_ids(tokenizer, lost)}): take the tokenizer.json that the model was trained with, or a model "
                "whose vocabulary has the task's words"
            )
    for name in ("bos_token", "eos_token"):
        token, number = getattr(tokenizer, name), getattr(tokenizer, f"{name}_id")
        if token is None:
            continue
        ids = list(tokenizer(token, add_special_tokens=False).input_ids)
        if ids != [number] or tokenizer.decode(ids, **_AS_RESPONSE):
            raise UserError(
                f"{source}: its tokenizer reads the {name} {token!r} as the ids {ids}, and not as the special token "
                f"{number}: set it as special under added_tokens in tokenizer.json"
            )


_AS_RESPONSE = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
"""How engines decode."""


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids)


def _comparable(text: str) -> str:
    """Up to Unicode's equivalent characters, which many tokenizers replace, and the spaces around a text."""
    return unicodedata.normalize("NFKC", text).strip()
