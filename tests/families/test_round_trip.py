"""A tokenizer that loses text is found before the first step, and a tokenizer.json counts more than a class's name."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders

from tests.families.checkpoints import FAMILIES, texts
from w2s_core.errors import UserError
from w2s_core.models import check_round_trip
from w2s_core.models.tokenizer import as_its_file_says

NAMES = (
    "LlamaTokenizerFast",
    "LlamaTokenizer",
    "GemmaTokenizer",
    "GPT2Tokenizer",
    "Qwen2Tokenizer",
    "TokenizersBackend",
)


def saved(folder: Path, family: str, name: str, **fields: Any) -> Path:
    """A family's tokenizer under a class's name, beside a config of the family."""
    FAMILIES[family].tokenizer().save_pretrained(folder)
    FAMILIES[family].config().save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": name} | fields))
    return folder


def loaded(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return as_its_file_says(AutoTokenizer.from_pretrained(folder), str(folder), None)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("family", ["llama-2", "llama-3", "gemma", "smollm2"])
def test_the_file_counts_and_not_the_class(tmp_path: Path, family: str, name: str) -> None:
    folder = saved(tmp_path, family, name)
    tokenizer, stated = loaded(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in (*texts()[:3], "a\n\n12  and 345"):
        assert (
            tokenizer(text, add_special_tokens=False).input_ids
            == stated.encode(text, add_special_tokens=False).ids
        )
    check_round_trip("base", tokenizer, texts()[:3])


def test_special_tokens_that_only_the_class_names_are_kept(tmp_path: Path) -> None:
    folder = saved(tmp_path, "llama-2", "LlamaTokenizer")
    path = folder / "tokenizer_config.json"
    fields = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: fields[name] for name in fields if name not in ("bos_token", "eos_token")})
    )
    assert (loaded(folder).bos_token, loaded(folder).eos_token) == ("<s>", "</s>")
    path.write_text(json.dumps(fields | {"bos_token": None}))
    assert loaded(folder).bos_token is None


def test_text_that_does_not_come_back_is_named_with_its_ids() -> None:
    tokenizer = FAMILIES["llama-3"].tokenizer()
    check_round_trip("base", tokenizer, texts()[:2])
    tokenizer.backend_tokenizer.decoder = decoders.Fuse()  # the bytes' stand-ins are not turned back
    with pytest.raises(
        UserError, match=r"base: its tokenizer loses text: .* comes back as .* \(ids \[\d+"
    ) as caught:
        check_round_trip("base", tokenizer, texts()[:2])
    assert "\n" not in str(caught.value)


def test_a_special_token_that_is_plain_text_is_refused() -> None:
    tokenizer = FAMILIES["qwen-2"].tokenizer()
    tokenizer._special_tokens_map["eos_token"] = "#"  # a character of the vocabulary, not marked as special
    with pytest.raises(UserError, match="reads the eos_token '#' as the ids"):
        check_round_trip("base", tokenizer, ())
