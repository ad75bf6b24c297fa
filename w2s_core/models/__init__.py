"""Model artifacts: what a trained model is on disk, and how it is loaded.

An artifact is a folder with model.json, such as {"base": "sha256:...", "adapters": ["adapters/0"]}, and one
PEFT LoRA save per adapter; "prompt" says how the model is asked, where that is not the plain form. Where all weights
were trained, "weights" names the folder inside that holds them, an ordinary checkpoint. Loading it is: these weights or
the base, then each adapter merged in turn. A base is named by its content (`base_ref`) or by its pinned place on a hub
("hub:<id>@<commit>"); where it lies on this machine is no part of it. Only safetensors are read. Code of a checkpoint
is run only where the experiment said `trust_remote_code: true`; the base's name then says so too ("sha256+code:",
"hub+code:").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.engine import Handle, disk
from w2s_core.errors import UserError
from w2s_core.files import read_json_object
from w2s_core.load_errors import reason
from w2s_core.models.base_files import base_ref as base_ref
from w2s_core.models.base_files import check_base, check_code, check_config, check_tokenizer_class, is_plain
from w2s_core.models.chat import encoder_of as encoder_of
from w2s_core.models.machine import Threads
from w2s_core.models.resident import kept_model
from w2s_core.models.tokenizer import as_its_file_says
from w2s_core.models.tokenizer import check_round_trip as check_round_trip

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""A GPU that torch can use shows as one of these; where none is, importing torch to ask would cost seconds."""


ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def base_of(model: Handle) -> Handle:
    """What a planned model was trained from, at any remove."""
    while isinstance(parent := model.inputs.get("model"), Handle):
        model = parent
    return model


def runs_code(ref: str) -> bool:
    """Whether a base's name says that code of its checkpoint may be run."""
    return ref.partition(":")[0].endswith("+code")


def resolve_device(device: str) -> str:
    """What `device` ("auto", "cpu", "cuda") means here. Where no GPU's driver is, torch is not imported."""
    if device != "auto":
        return device
    if not any(Path(driver).exists() for driver in GPU_DRIVERS):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Located:
    """Where an artifact's parts lie: its weights (a folder, or a hub id with its revision) and its adapters, in order.

    code: whether code of the checkpoint may be run.
    """

    source: str
    revision: str | None
    adapters: tuple[Path, ...]
    code: bool = False


def locate(model_dir: str | Path, bases: Mapping[str, str | Path]) -> Located:
    """The parts of an artifact, for an engine that loads them itself. Raises UserError as `load_model`."""
    folder = Path(model_dir)
    artifact = _artifact(folder)
    source, revision = _source(artifact["base"], bases)
    if artifact["weights"]:
        source, revision = str(folder / artifact["weights"]), None
    adapters = tuple(folder / name for name in artifact["adapters"])
    return Located(source, revision, adapters, runs_code(artifact["base"]))


def read_prompt(model_dir: str | Path) -> dict[str, str] | None:
    """How an artifact's model is asked, for `encoder_of`."""
    prompt: dict[str, str] | None = _artifact(Path(model_dir))["prompt"]
    return prompt


def load_tokenizer(model_dir: str | Path, bases: Mapping[str, str | Path]) -> Any:
    """The tokenizer of an artifact's base. Raises UserError if there is none, or if it has no EOS token."""
    ref = _artifact(Path(model_dir))["base"]
    return _tokenizer(*_source(ref, bases), code=runs_code(ref))


def folder_tokenizer(folder: Path) -> Any:
    """The tokenizer of a local base. Raises UserError as `load_tokenizer`."""
    return _tokenizer(str(folder), None)


def load_model(
    model_dir: str | Path,
    bases: Mapping[str, str | Path],
    device: str = "cpu",
    precision: str = "float32",
    quantization: str | None = None,
    threads: Threads | None = None,
) -> tuple[Any, Any]:
    """An artifact's model, all adapters merged, in evaluation mode on `device`, and its tokenizer.

    bases: where each base that an artifact may name lies (a folder, or a hub id). precision: the type of the weights
    and of the merging. quantization: None, or "nf4..." for weights of 4 bits, to which adapters are merged by making
    them whole and rounding again. threads: what this process goes on with where the device is a CPU. Raises UserError,
    one line, for everything that is wrong with the files.
    """
    import torch

    # torch's default, unless the environment or an earlier user of this process changed it: products in TF32 differ.
    torch.set_float32_matmul_precision("highest")
    folder = Path(model_dir)
    artifact = _artifact(folder)
    source, revision = _source(artifact["base"], bases)
    code = runs_code(artifact["base"])
    tokenizer = _tokenizer(source, revision, code=code)
    ref = artifact["base"]
    if artifact["weights"]:
        source, revision = str(folder / artifact["weights"]), None
        ref = base_ref(source)
    place = _Place(ref, source, revision, precision, device if quantization else None, threads)
    adapters = [folder / name for name in artifact["adapters"]]
    if code or quantization or torch.distributed.is_initialized():
        model = place.load()
        for adapter in adapters if _has_weights() else ():
            model = _merged(model, adapter)
    else:
        model = place.assembled(adapters)
    _check_vocabulary(source, model.config, tokenizer)
    return (model if quantization else model.to(device)).eval(), tokenizer


@dataclass(frozen=True)
class _Place:
    """A base that is to be loaded, and how."""

    ref: str
    source: str
    revision: str | None
    precision: str
    quantized_on: str | None
    threads: Threads | None

    def load(self) -> Any:
        """The base, from its files."""
        loading = _loading(self.precision, self.quantized_on)
        return self._threaded(_base(self.source, self.revision, loading, code=runs_code(self.ref)))

    def assembled(self, adapters: Sequence[Path]) -> Any:
        """The base with these adapters merged, each on what the one before it gave; kept ones are not loaded again."""
        name = (self.ref, self.source, self.precision, *map(_digest, adapters))
        if not adapters:
            return self._threaded(kept_model(name, self.load))
        return self._threaded(kept_model(name, lambda: _merged(self.assembled(adapters[:-1]), adapters[-1])))

    def _threaded(self, model: Any) -> Any:
        import torch

        if self.threads:
            torch.set_num_threads(self.threads.of(model.num_parameters()))
        return model


def _digest(adapter: Path) -> str:
    """A name for an adapter by its content."""
    return "".join(disk.sha256_file(adapter / name) for name in ADAPTER_FILES if (adapter / name).is_file())


def _has_weights() -> bool:
    """Whether this process reads weights: of those that will share shards, only the first does, and hands them out."""
    import torch
    from transformers.distributed.fsdp import is_fsdp_enabled

    return not is_fsdp_enabled() or torch.distributed.get_rank() == 0


def open_base(ref: str, bases: Mapping[str, str | Path]) -> tuple[Any, Any]:
    """A base's config and tokenizer, after the checks that read no tensor: it may be loaded, and its tensors are there.

    Of a hub model the small files are fetched, and its weights only asked for. Raises UserError as `load_model`.
    """
    source, revision = _source(ref, bases)
    code, local = runs_code(ref), Path(source).is_dir()
    if not local:
        _check_hub_weights(source, revision)
    tokenizer = _tokenizer(source, revision, code=code)
    if local:
        config = _base(source, revision, {"device_map": "meta"}, code=code).config
    else:
        config = _config(source, revision, code=code)
    _check_vocabulary(source, config, tokenizer)
    return config, tokenizer


def _artifact(folder: Path) -> dict[str, Any]:
    """The checked content of model.json."""
    path = folder / "model.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such model folder")
    if not path.is_file():
        raise UserError(f"{folder}: not a model artifact, model.json is missing")
    content = read_json_object(path)
    base, adapters, prompt = content.get("base"), content.get("adapters"), content.get("prompt")
    weights = content.get("weights")
    listed = isinstance(adapters, list) and all(map(_is_inside, [*adapters, *([weights] if weights else [])]))
    if not (listed and isinstance(base, str) and isinstance(prompt, dict | None)):
        raise UserError(f'{path}: expected {{"base": "<ref>", "adapters": ["<folder inside>", ...]}}')
    return {"base": base, "weights": weights, "adapters": adapters, "prompt": prompt}


def _is_inside(name: Any) -> bool:
    """Whether it is the name of a folder inside an artifact: "adapters/0"."""
    return isinstance(name, str) and all(map(is_plain, name.split("/")))


def _source(ref: str, bases: Mapping[str, str | Path]) -> tuple[str, str | None]:
    """Where a base lies, and its revision on a hub. The digest of a local folder is checked against its name."""
    if ref not in bases:
        known = ", ".join(sorted(bases)) or "none"
        raise UserError(f"base model {ref} is not among the models of this experiment (known: {known})")
    place = str(bases[ref])
    if ref.startswith(("hub:", "hub+code:")) and not Path(place).is_absolute():
        if Path(place).is_dir():
            raise UserError(
                f"{place}: the folder of that name where you stand would be loaded in place of the hub's model: "
                "start elsewhere, or rename it"
            )
        return place, ref.rpartition("@")[2] if "@" in ref else None
    if not ref.startswith(("sha256:", "sha256+code:")):
        check_base(Path(place), code=runs_code(ref))
    elif base_ref(place, code=runs_code(ref)) != ref:  # which checks it too
        raise UserError(f"{place}: the base model changed since the experiment named it {ref[:19]}...")
    return place, None


def _tokenizer(source: str, revision: str | None, *, code: bool = False) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    _check_configs(source, revision, code=code)
    # AutoTokenizer gives some families (Qwen2) their own pre-tokenizer, whatever tokenizer.json says.
    tokenizer_class = PreTrainedTokenizerFast if _stands_by_itself(Path(source)) else AutoTokenizer
    try:
        tokenizer = tokenizer_class.from_pretrained(source, revision=revision, trust_remote_code=code)
        if not code:
            tokenizer = as_its_file_says(tokenizer, source, revision)
    except Exception as error:  # noqa: BLE001 - from json, tokenizers, sentencepiece and the hub client alike
        raise UserError(f"{source}: its tokenizer cannot be loaded: {reason(error)}") from None
    if revision is None:
        check_tokenizer_class(Path(source), tokenizer)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"{source}: the tokenizer has no EOS token: set eos_token in its tokenizer_config.json"
        )
    return tokenizer


def _check_configs(source: str, revision: str | None, *, code: bool) -> None:
    """Look at a base's configs as they stand, before transformers builds anything of them or follows a name in them."""
    from transformers import PretrainedConfig
    from transformers.models.auto.tokenization_auto import get_tokenizer_config
    from transformers.utils import find_adapter_config_file

    try:
        config = PretrainedConfig.get_config_dict(source, revision=revision)[0]
        adapter = find_adapter_config_file(source, revision=revision)
        of_tokenizer = get_tokenizer_config(source, revision=revision) if code else {}
    except Exception as error:  # noqa: BLE001 - from json, transformers and the hub client alike
        raise UserError(f"{source}: its config cannot be loaded: {reason(error)}") from None
    if adapter is not None:
        raise UserError(
            f"{source}: an adapter, whose base model no revision pins: merge it, and name the result"
        )
    check_config(source, config, code=code)
    if code:
        check_code(source, of_tokenizer)


def _check_vocabulary(source: str, config: Any, tokenizer: Any) -> None:
    """Each token has an embedding: else a batch that holds it fails in the middle of a training."""
    token, number = max(tokenizer.get_vocab().items(), key=lambda entry: int(entry[1]))
    rows = config.get_text_config().vocab_size
    if number >= rows:
        raise UserError(
            f"{source}: the tokenizer's token {token[:40]!r} has the number {number}, and the model only {rows} "
            f"embeddings (0 to {rows - 1}): save the model after resize_token_embeddings, or its own tokenizer"
        )


def _stands_by_itself(folder: Path) -> bool:
    """Whether a local tokenizer.json is all there is to the tokenizer: its config names no family's class."""
    try:
        named = read_json_object(folder / "tokenizer_config.json").get("tokenizer_class")
    except UserError:
        return False
    return named in ("TokenizersBackend", "PreTrainedTokenizerFast") and (folder / "tokenizer.json").is_file()


def _config(source: str, revision: str | None, *, code: bool = False) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=code)
    except Exception as error:  # noqa: BLE001 - from json, transformers and the hub client alike
        raise UserError(f"{source}: its config cannot be loaded: {reason(error)}") from None


def _check_hub_weights(source: str, revision: str | None) -> None:
    """The hub, or its cache, has safetensors of a model. It is asked once: its client would try for minutes."""
    from huggingface_hub import HfApi, is_offline_mode, try_to_load_from_cache

    names = ("model.safetensors", "model.safetensors.index.json")
    if any(isinstance(try_to_load_from_cache(source, name, revision=revision), str) for name in names):
        return
    if is_offline_mode():
        raise UserError(f"{source}@{revision}: not in the cache, and HF_HUB_OFFLINE is set, so not to be had")
    try:
        files = HfApi().model_info(source, revision=revision, timeout=10).siblings or []
    except Exception as error:  # noqa: BLE001 - from the hub's client
        raise UserError(f"{source}@{revision}: {reason(error)}") from None
    if not any(file.rfilename.endswith(".safetensors") for file in files):
        raise UserError(
            f"{source}: the hub has no safetensors of it, and pickles, which can run code when read, are refused; "
            "convert it once, where you trust it, and name the folder"
        )


def _no_report_of_missing(record: Any) -> bool:
    """Whether a line of transformers' log is to be shown: not its table of tensors that a checkpoint lacks."""
    return not all(part in record.getMessage() for part in ("LOAD REPORT", "MISSING"))


def _loading(precision: str, quantized_on: str | None) -> dict[str, Any]:
    """How weights are loaded; with `quantized_on`, in 4 bits on that device.

    4-bit normal floats, their scales quantised too (2305.14314, section 3).
    """
    import torch

    dtype = getattr(torch, precision)
    if quantized_on is None:
        return {"dtype": dtype}
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"dtype": dtype, "quantization_config": config, "device_map": {"": quantized_on}}


def _base(source: str, revision: str | None, loading: Mapping[str, Any], *, code: bool = False) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the run has its own display
    logging.get_logger("transformers.modeling_utils").addFilter(_no_report_of_missing)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            **loading,
            use_safetensors=True,
            trust_remote_code=code,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except Exception as error:  # noqa: BLE001 - from json, safetensors, torch and the hub client alike
        raise UserError(f"{source}: the model cannot be loaded: {reason(error)}") from None
    if missing := sorted(info["missing_keys"]):
        raise UserError(f"{source}: the checkpoint lacks {len(missing)} tensors, {missing[0]} among them")
    return model


def _merged(model: Any, adapter: Path) -> Any:
    """The model with a LoRA adapter's product added to its weights."""
    from peft import PeftModel

    for name in ADAPTER_FILES:
        if not (adapter / name).is_file():
            raise UserError(f"{adapter}: not an adapter, {name} is missing")
    try:
        return PeftModel.from_pretrained(model, str(adapter), use_safetensors=True).merge_and_unload(
            safe_merge=True
        )
    except Exception as error:  # noqa: BLE001 - from json, safetensors, torch and peft alike
        raise UserError(f"{adapter}: the adapter cannot be merged: {reason(error)}") from None
