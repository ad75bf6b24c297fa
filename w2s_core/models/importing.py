"""A GGUF file or a Hugging Face folder as a base model: safetensors, and a tokenizer that was checked.

A GGUF names how its tokenizer splits text ("tokenizer.ggml.pre") and does not hold the rule. transformers knows some of
the names and ignores others, so that "smollm" would lose its split into single digits: names that neither it nor this
module knows are refused.

Nor does transformers read all that a GGUF says of attention (5.19.0, integrations/ggml.py): scaled rotary frequencies,
a sliding window of a Llama and soft caps are dropped without a word. What can be put back is, the rest is refused.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from w2s_core.errors import UserError
from w2s_core.files import new_folder
from w2s_core.load_errors import reason
from w2s_core.models.base_files import base_ref
from w2s_core.models.tokenizer import check_round_trip

Precision = Literal["float32", "bfloat16"]
DIGITS_FIRST = ("smollm", "starcoder", "refact", "command-r")
"""Names whose rule is llama.cpp's "single digits, then GPT-2's expression" (llama-vocab.cpp)."""
AS_GPT_2 = ("gpt-2",)
DIGITS = tuple("0123456789")
CONTROL = 3
"""The type of special tokens in tokenizer.ggml.token_type."""
LLAMA_3_SCALING = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""Of all models of Llama 3.1 to 3.3; their files hold the resulting divisors of the frequencies only."""
SOFT_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")


def import_model(source: Path, out: Path, precision: Precision) -> str:
    """Write a base model to `out`, which is there whole or not at all, and return its name by content.

    Raises:
        UserError: `out` is there, the source cannot be read, or its tokenizer or head would not be what it says.
    """
    with new_folder(out) as folder:
        if source.is_dir():
            _import_folder(source, folder, precision)
        else:
            _import_gguf(source, folder, precision)
        return base_ref(folder)


def _import_folder(source: Path, out: Path, precision: Precision) -> None:
    from w2s_core.models import folder_tokenizer

    if not (source / "config.json").is_file():
        raise UserError(f"{source}: neither a GGUF file nor a model folder, config.json is missing")
    tokenizer = folder_tokenizer(source)
    check_round_trip(str(source), tokenizer, ())
    _save(source, _load(source, precision), tokenizer, out)


def _import_gguf(source: Path, out: Path, precision: Precision) -> None:
    stated = read_gguf(source)
    tokenizer = gguf_tokenizer(source, stated)
    from transformers import GgufConfig

    model = _load(
        source.parent, precision, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True)
    )
    rows = model.get_input_embeddings().weight.shape[0]
    if rows < len(stated.tokens):
        raise UserError(f"{source}: {len(stated.tokens)} tokens, and embeddings of {rows}")
    _rotate_as_stated(source, stated, model)
    _attend_as_stated(source, stated, model.config)
    for config in (model.config, model.generation_config):
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    _save(source, model, tokenizer, out)


def _load(folder: Path, precision: Precision, **options: Any) -> Any:
    """The model of a folder, or of a GGUF in it, with all its weights."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    place = folder / options.get("gguf_file", "")
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, precision), output_loading_info=True, **options
        )
    except Exception as error:  # noqa: BLE001 - from gguf, json, safetensors and torch alike
        raise UserError(f"{place}: the model cannot be loaded: {reason(error)}") from None
    if missing := sorted(info["missing_keys"]):
        raise UserError(f"{place}: it lacks {len(missing)} tensors, {missing[0]} among them")
    with torch.device("meta"):
        built = dict(AutoModelForCausalLM.from_config(model.config).named_parameters())
    for name, weight in model.named_parameters():
        if weight.shape != built[name].shape:  # from a GGUF, transformers 5.19.0 takes them in any shape
            of_config = tuple(built[name].shape)
            raise UserError(
                f"{place}: {name} is {tuple(weight.shape)}, where its configuration has {of_config}"
            )
        if not bool(torch.isfinite(weight).all()):
            raise UserError(f"{place}: {name} holds numbers that are not finite")
    head = model.get_output_embeddings().weight
    if not bool(head.any(dim=1).any()):
        raise UserError(f"{place}: its head is all zeros: the quantisation lost it")
    return model


def _save(source: Path, model: Any, tokenizer: Any, out: Path) -> None:
    try:
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{source}: the model cannot be saved: {reason(error)}") from None


@dataclass(frozen=True)
class Stated:
    """What a GGUF says of its tokenizer and its attention."""

    fields: Mapping[str, Any]
    tokens: list[str]
    rope_divisors: list[float] | None = None
    """Of rotary frequencies, as Llama 3.1 has them (rope_freqs.weight)."""
    long_rope: bool = False
    """It holds two tables of divisors, for short contexts and for long ones."""

    def of_model(self, name: str, default: Any = None) -> Any:
        """A field under the name of the architecture."""
        return self.fields.get(f"{self.fields['general.architecture']}.{name}", default)

    def number(self, path: Path, name: str, default: float | None = None) -> Any:
        """The same of a number. Raises UserError where it is none."""
        value = self.of_model(name, default)
        if value is not None and not isinstance(value, int | float):
            raise UserError(f"{path}: {name} is {value!r:.40}, and should be a number")
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """A field under tokenizer.ggml."""
        return self.fields.get(f"tokenizer.ggml.{name}", default)


def read_gguf(path: Path) -> Stated:
    """The fields of a GGUF file. Raises UserError for what is none, or of an architecture that cannot be read."""
    if importlib.util.find_spec("gguf") is None:
        raise UserError("reading a GGUF needs the package gguf: pip install 'w2s[gguf]'")
    from gguf import GGUFReader
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    except Exception as error:  # noqa: BLE001 - numpy's and struct's errors on what is no GGUF
        raise UserError(f"{path}: not a whole GGUF file: {reason(error)}") from None
    kind = fields.get("general.architecture")
    if kind not in GGUF_SUPPORTED_ARCHITECTURES:
        raise UserError(f"{path}: a GGUF of the architecture {kind!r}, which transformers cannot read")
    divisors = tensors.get("rope_freqs.weight")
    return Stated(
        fields,
        fields.get("tokenizer.ggml.tokens") or [],
        rope_divisors=None if divisors is None else divisors.reshape(-1).tolist(),
        long_rope="rope_factors_long.weight" in tensors,
    )


def _rotate_as_stated(path: Path, stated: Stated, model: Any) -> None:
    """Put back Llama 3.1's rotary frequencies.

    Raises:
        UserError: the model would rotate otherwise than the file says.
    """
    import torch

    if stated.rope_divisors:
        factor = max(stated.rope_divisors)
        model.config.rope_parameters |= {"rope_type": "llama3", "factor": factor, **LLAMA_3_SCALING}
    scaling = "longrope" if stated.long_rope else stated.of_model("rope.scaling.type", "none")
    agree = scaling == "none"
    for rotary in [module for module in model.modules() if hasattr(module, "inv_freq")]:
        frequencies = type(rotary)(config=model.config).inv_freq.double()
        expected = _frequencies(path, stated, len(frequencies))
        agree &= len(expected) == len(frequencies) and torch.allclose(
            frequencies, expected, rtol=1e-4, atol=0.0
        )
    if not agree:
        raise UserError(
            f"{path}: its rotary frequencies (scaling {scaling!r}) would be lost, since transformers "
            "does not read all of them from a GGUF: take the model's Hugging Face folder"
        )


def _frequencies(path: Path, stated: Stated, count: int) -> Any:
    """The rotary frequencies of a GGUF without named scaling; `count` of them where it does not state how many."""
    import torch

    width = stated.number(path, "rope.dimension_count", 2 * count)
    exponents = -torch.arange(0, width, 2, dtype=torch.float64) / width
    divisors = torch.tensor(stated.rope_divisors or [1.0] * len(exponents), dtype=torch.float64)
    if len(divisors) != len(exponents):
        raise UserError(
            f"{path}: {len(divisors)} divisors (rope_freqs.weight) of {len(exponents)} rotary frequencies"
        )
    return stated.number(path, "rope.freq_base", 10_000.0) ** exponents / divisors


def _attend_as_stated(path: Path, stated: Stated, config: Any) -> None:
    """End contexts where a window that is not in the model begins to matter; compare soft caps."""
    window = stated.number(path, "attention.sliding_window")
    if window and getattr(config, "sliding_window", None) != window:
        config.max_position_embeddings = min(config.max_position_embeddings, window)
    for name in SOFT_CAPS:
        cap, read = stated.number(path, name), getattr(config, name, None)
        if cap is not None and cap != read:
            raise UserError(
                f"{path}: {name} is {cap} in the file, and {read} in the model that transformers reads"
            )


def gguf_tokenizer(path: Path, stated: Stated) -> Any:
    """The tokenizer of a GGUF, split as the file says, and checked against it.

    Raises:
        UserError: it splits text in a way that is not known here, or gives other ids than the file.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    try:
        architecture, parts, config = get_gguf_tokenizer(str(path))
        backend, _ = convert_gguf_tokenizer(architecture, parts)
    except Exception as error:  # noqa: BLE001 - from transformers' conversion, on fields that are missing or wrong
        raise UserError(f"{path}: its tokenizer cannot be built: {reason(error)}") from None
    _split_as_stated(path, stated, backend)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **config)
    _open_with_bos(stated, tokenizer)
    _check_ids(path, stated, tokenizer)
    check_round_trip(str(path), tokenizer, ())
    return tokenizer


def _split_as_stated(path: Path, stated: Stated, backend: Any) -> None:
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    if stated.get("model") != "gpt2":  # of SentencePiece's kind: the vocabulary is the whole rule
        return
    name = stated.get("pre")
    if name in DIGITS_FIRST:
        digits = pre_tokenizers.Digits(individual_digits=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif name not in (*AS_GPT_2, *GGUF_PRE_TOKENIZER_SPLITS):
        raise UserError(
            f"{path}: it splits text by the rule {name!r} (tokenizer.ggml.pre), which is not known here: take the "
            "model's Hugging Face folder, whose tokenizer.json holds the rule"
        )


def _open_with_bos(stated: Stated, tokenizer: Any) -> None:
    """Put BOS before a text where the file says so; without a word, llama.cpp does for SentencePiece and Llama 3."""
    from tokenizers.processors import TemplateProcessing

    assumed = stated.get("model") == "llama" or stated.get("pre") in ("llama3", "llama-v3", "llama-bpe")
    if stated.get("add_bos_token", assumed) and (bos := tokenizer.bos_token):
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, tokenizer.bos_token_id)]
        )


def _check_ids(path: Path, stated: Stated, tokenizer: Any) -> None:
    """Special tokens and digits have the file's ids."""
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id != stated.get("eos_token_id"):
        raise UserError(
            f"{path}: EOS is {stated.get('eos_token_id')} in the file, {tokenizer.eos_token_id} here"
        )
    boundary = tokenizer.get_vocab().get("\u2581", -1)  # that SentencePiece sets before a text
    types = stated.get("token_type") or [1] * len(stated.tokens)
    for number, (token, kind) in enumerate(zip(stated.tokens, types, strict=False)):
        if kind != CONTROL and token not in DIGITS:
            continue
        ids = tokenizer(token, add_special_tokens=False).input_ids
        if (ids[1:] if ids[:1] == [boundary] else ids) != [number]:
            sort = "special token" if kind == CONTROL else "digit"
            raise UserError(f"{path}: its {sort} {token!r} has the id {number} in the file, and here {ids}")
