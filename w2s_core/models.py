"""Model artifacts: what a trained model is on disk, and how it is loaded.

An artifact is a folder with model.json, such as {"base": "sha256:...", "adapters": ["adapters/0"]}, and one
PEFT LoRA save per adapter. Loading it is: the base, then each adapter merged in turn. A base is named by
its content (`base_ref`) or by its pinned place on a hub ("hub:<id>@<commit>"); where it lies on this
machine is no part of it. Only safetensors are read, and no code of a checkpoint is ever run.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""A GPU that torch can use shows as one of these; where none is, importing torch to ask would cost seconds."""
_IDENTITY = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "*.tiktoken", "vocab.json", "vocab.txt", "merges.txt")
_TOKENIZER_EXTRAS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def base_ref(path: str | Path) -> str:
    """The name of a local base model: "sha256:" and a digest over its weights, config and tokenizer files.

    The folder's own name and place, and other files in it (a README, a training log), make no difference.
    Raises UserError if the folder is none that `load_model` could load.
    """
    folder = Path(path)
    _check_base(folder)
    names = {one for pattern in (*_IDENTITY, *_TOKENIZER, *_TOKENIZER_EXTRAS) for one in folder.glob(pattern)}
    lines = [f"{_sha256(one)}  {one.name}\n" for one in sorted(names)]
    return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()


def resolve_device(wanted: str) -> str:
    """What `wanted` ("auto", "cpu", "cuda") means here. Where no GPU's driver is, torch is not imported to ask."""
    if wanted != "auto":
        return wanted
    if not any(Path(one).exists() for one in GPU_DRIVERS):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Located:
    """Where an artifact's parts lie: its base (a folder, or a hub id with its revision) and its adapters, in order."""

    source: str
    revision: str | None
    adapters: tuple[Path, ...]


def locate(model_dir: str | Path, bases: Mapping[str, str | Path]) -> Located:
    """The parts of an artifact, for an engine that loads them itself. Raises UserError as `load_model`."""
    folder = Path(model_dir)
    artifact = _artifact(folder)
    source, revision = _source(artifact["base"], bases)
    return Located(source, revision, tuple(folder / name for name in artifact["adapters"]))


def load_tokenizer(model_dir: str | Path, bases: Mapping[str, str | Path]) -> Any:
    """The tokenizer of an artifact's base. Raises UserError if there is none, or if it has no EOS token."""
    source, revision = _source(_artifact(Path(model_dir))["base"], bases)
    return _tokenizer(source, revision)


def load_model(
    model_dir: str | Path,
    bases: Mapping[str, str | Path],
    device: str = "cpu",
    precision: str = "float32",
    quantization: str | None = None,
) -> tuple[Any, Any]:
    """An artifact's model, all adapters merged, in evaluation mode on `device`, and its tokenizer.

    bases: where each base that an artifact may name lies (a folder, or a hub id). precision: the type of the weights
    and of the merging. quantization: None, or "nf4..." for weights of 4 bits, to which adapters are merged by making
    them whole and rounding again. Raises UserError, one line, for everything that is wrong with the files.
    """
    folder = Path(model_dir)
    artifact = _artifact(folder)
    source, revision = _source(artifact["base"], bases)
    tokenizer = _tokenizer(source, revision)
    model = _base(source, revision, precision, device if quantization else None)
    for name in artifact["adapters"] if _has_weights() else ():
        model = _merged(model, folder / name)
    return (model if quantization else model.to(device)).eval(), tokenizer


def _has_weights() -> bool:
    """Whether this process reads weights: of those that will share shards, only the first does, and hands them out."""
    import torch
    from transformers.distributed.fsdp import is_fsdp_enabled

    return not is_fsdp_enabled() or torch.distributed.get_rank() == 0


def _artifact(folder: Path) -> dict[str, Any]:
    """The checked content of model.json."""
    path = folder / "model.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such model folder")
    if not path.is_file():
        raise UserError(f"{folder}: not a model artifact, model.json is missing")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    adapters = content.get("adapters") if isinstance(content, dict) else None
    if not isinstance(adapters, list) or not isinstance(content.get("base"), str):
        raise UserError(f'{path}: expected {{"base": "<ref>", "adapters": ["<folder>", ...]}}')
    return {"base": content["base"], "adapters": adapters}


def _source(ref: str, bases: Mapping[str, str | Path]) -> tuple[str, str | None]:
    """Where a base lies, and its revision if that is a hub. A local folder must still hold what its name
    says.
    """
    if ref not in bases:
        known = ", ".join(sorted(bases)) or "none"
        raise UserError(f"base model {ref} is not among the models of this experiment (known: {known})")
    place = str(bases[ref])
    if ref.startswith("hub:") and not Path(place).is_dir():
        return place, ref.rpartition("@")[2] if "@" in ref else None
    if ref.startswith("sha256:") and base_ref(place) != ref:
        raise UserError(f"{place}: the base model changed since the experiment named it {ref[:19]}...")
    _check_base(Path(place))
    return place, None


def _check_base(folder: Path) -> None:
    """A base folder has a config, a tokenizer and safetensors."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such model folder")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder}: not a model, config.json is missing")
    if not any(folder.glob("*.safetensors")):
        if pickles := sorted(one.name for pattern in _PICKLES for one in folder.glob(pattern)):
            raise UserError(
                f"{folder}: {pickles[0]} is a pickle, which can run code when read, and is refused; convert it once,"
                " where you trust it: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)"
            )
        raise UserError(f"{folder}: no weights, expected model.safetensors or its shards")
    if not any(one for pattern in _TOKENIZER for one in folder.glob(pattern)):
        raise UserError(
            f"{folder}: no tokenizer (tokenizer.json or tokenizer.model): save it beside the model"
        )


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _cached_sha256(str(path.resolve()), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _cached_sha256(path: str, mtime_ns: int, size: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tokenizer(source: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # AutoTokenizer gives some families (Qwen2) their own pre-tokenizer, whatever tokenizer.json says.
    own = PreTrainedTokenizerFast if _stands_by_itself(Path(source)) else AutoTokenizer
    try:
        tokenizer = own.from_pretrained(source, revision=revision, trust_remote_code=False)
    except Exception as error:  # noqa: BLE001 - from json, tokenizers, sentencepiece and the hub client alike
        raise UserError(f"{source}: its tokenizer cannot be loaded: {_one_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"{source}: the tokenizer has no EOS token: set eos_token in its tokenizer_config.json"
        )
    return tokenizer


def _stands_by_itself(folder: Path) -> bool:
    """Whether a local tokenizer.json is all there is to the tokenizer: its config names no family's class."""
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return False
    named = config.get("tokenizer_class") if isinstance(config, dict) else None
    return named in ("TokenizersBackend", "PreTrainedTokenizerFast") and (folder / "tokenizer.json").is_file()


def _base(source: str, revision: str | None, precision: str, quantized_on: str | None) -> Any:
    """The base's model; with `quantized_on` in 4 bits on that device."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the run has its own display
    dtype = getattr(torch, precision)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            **(_four_bits(dtype, quantized_on) if quantized_on else {}),
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 - from json, safetensors, torch and the hub client alike
        raise UserError(f"{source}: the model cannot be loaded: {_one_line(error)}") from None
    if missing := sorted(info["missing_keys"]):
        raise UserError(f"{source}: the checkpoint lacks {len(missing)} tensors, {missing[0]} among them")
    return model


def _merged(model: Any, adapter: Path) -> Any:
    """The model with a LoRA adapter's product added to its weights."""
    from peft import PeftModel

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (adapter / name).is_file():
            raise UserError(f"{adapter}: not an adapter, {name} is missing")
    try:
        return PeftModel.from_pretrained(model, str(adapter), use_safetensors=True).merge_and_unload(
            safe_merge=True
        )
    except Exception as error:  # noqa: BLE001 - from json, safetensors, torch and peft alike
        raise UserError(f"{adapter}: the adapter cannot be merged: {_one_line(error)}") from None


def _four_bits(dtype: Any, device: str) -> dict[str, Any]:
    """Arguments that load weights as 4-bit normal floats, their scales quantised too (2305.14314, section 3)."""
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": device}}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."
