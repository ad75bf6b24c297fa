"""What `w2s doctor` says of a base model: whether a run could load it, from files and headers; no tensor is read."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from w2s_core.cli.render import size
from w2s_core.doctor import memory
from w2s_core.doctor.machine import Asked, Check, free_disk, one_line
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.load_errors import hub_reason
from w2s_core.models.base_files import check_files
from w2s_core.tasks import Problem

ALIKE = ("llama", "mistral", "gemma", "gemma2", "qwen2", "qwen3")
"""Kinds of models whose layers all hold the same tensors."""


@dataclass(frozen=True)
class Model:
    """What is known of the base model that a field of the experiment names.

    `shape` is None where its memory cannot be estimated, and `why` gives the reason. `folder`: its files,
    if all are here. `layers`: names of modules that have weights, as far as they are known.
    """

    field: str
    shape: memory.Shape | None = None
    parameters: int = 0
    why: str = "its config is not here"
    folder: Path | None = None
    layers: frozenset[str] = frozenset()


def model_checks(field: str, model: str, *, code: bool = False) -> tuple[Model, list[Check]]:
    """What is known of the model that a field names, and the lines about it. code: its own code may be run."""
    nothing = Model(field)
    if Path(model).is_absolute():
        return folder_checks(field, Path(model), f"hf download ORG/MODEL --local-dir {quote(model)}", code)
    from w2s_core.runs import resolve_base

    try:
        ref, name = resolve_base(model)
    except UserError as error:
        return nothing, [Check("missing", field, str(error), f"{field}=org/model@commit", needed=True)]
    revision = ref.rpartition("@")[2]
    command = f"hf download {quote(name)} --revision {quote(revision)}"
    try:
        folder = _cached(name, revision)
    except ValueError as error:  # the hub's client: no possible name
        return nothing, [
            Check("missing", field, f"{name}: {one_line(error)}", f"{field}=org/model@commit", needed=True)
        ]
    if folder is not None and any(folder.glob("*.safetensors")):
        return folder_checks(field, folder, command, code)
    described = _from_config(field, folder) if folder else nothing
    guess = f", about {size(described.parameters * memory.HALF)}" if described.parameters else ""
    return described, [fetch_check(field, name, revision, guess, command)]


def _cached(name: str, revision: str) -> Path | None:
    """The folder of the hub's cache that holds this revision, as far as it was fetched."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(path).parent if isinstance(path, str) else None


def _from_config(field: str, folder: Path) -> Model:
    """What a config alone tells."""
    if not (folder / "config.json").is_file():
        return Model(field)
    try:
        shape = memory.Shape.of(memory.read_config(folder), folder / "config.json")
        return Model(field, shape, memory.count_parameters(folder))
    except UserError as error:
        return Model(field, why=str(error))


def folder_checks(field: str, folder: Path, command: str, code: bool) -> tuple[Model, list[Check]]:
    """Config, weights and tokenizer of a folder, each as `w2s run` wants it; `command` would fetch them."""
    if not code and needs_code(folder):
        detail = f"{folder}: it needs Python code of its own, which is not run: read that code first"
        return Model(field, why="it needs its own code"), [
            Check("missing", field, detail, "trust_remote_code=true", needed=True)
        ]
    try:
        if not any(folder.glob("*.safetensors")):
            _load_tokenizer(folder)  # says what is missing, before it loads anything
        config = memory.read_config(folder)
        check_files(folder, code=code)
        weights = memory.read_weights(folder, config)
        _check_tensors(folder, config, weights)
    except UserError as error:
        return _from_config(field, folder), [Check("missing", field, str(error), command, needed=True)]
    layers = frozenset(name.split(".")[-2] for name in weights.names if "." in name)
    try:
        shape = memory.Shape.of(config, folder / "config.json")
        model = Model(field, shape, weights.parameters, folder=folder, layers=layers)
    except UserError as error:
        model = Model(field, why=str(error), folder=folder, layers=layers)
    detail = f"{folder}: {_count(weights.parameters)} parameters, {size(weights.size)} of safetensors"
    return model, [Check("ok", field, detail), _tokenizer_check(field, folder, model.shape, command)]


def needs_code(folder: Path) -> bool:
    """Whether config.json names code of the checkpoint for a kind of model that transformers has not."""
    try:
        config = memory.read_config(folder)
    except UserError:
        return False
    if not config.get("auto_map"):
        return False
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return config.get("model_type") not in CONFIG_MAPPING_NAMES


def _check_tensors(folder: Path, config: Mapping[str, Any], weights: memory.Weights) -> None:
    """Raise UserError where a layer lacks a tensor that another has, in the families whose layers are all alike."""
    if config.get("model_type") not in ALIKE:
        return
    parts = {name.partition(f"layers.{layer}.")[2] for name in weights.names for layer in _layer_of(name)}
    layers = range(int(config.get("num_hidden_layers") or 0))
    expected = [f"model.layers.{layer}.{part}" for layer in layers for part in sorted(parts)]
    if absent := [name for name in (*expected, "model.embed_tokens.weight") if name not in weights.names]:
        raise UserError(f"{folder}: the checkpoint lacks {len(absent)} tensors, {absent[0]} among them")


def _layer_of(name: str) -> list[int]:
    """The number of the layer that a tensor belongs to, in a list; none for the others."""
    match = re.match(r"model\.layers\.(\d+)\.", name)
    return [int(match[1])] if match else []


def _tokenizer_check(field: str, folder: Path, shape: memory.Shape | None, command: str) -> Check:
    """A tokenizer whose EOS has an embedding."""
    topic = f"{field} tokenizer"
    try:
        eos = _named_eos(folder)
        if eos is None:
            tokenizer = _load_tokenizer(folder)
            eos = tokenizer.eos_token, tokenizer.eos_token_id
    except UserError as error:
        return Check("missing", topic, str(error), command, needed=True)
    token, number = eos
    if shape is not None and number >= shape.vocabulary:
        detail = f"EOS {token} has the number {number}, but the model only {shape.vocabulary} embeddings"
        mend = f"set eos_token in {folder / 'tokenizer_config.json'}"
        return Check("missing", topic, detail, mend, needed=True)
    return Check("ok", topic, f"EOS {token} ({number})")


def prompt_check(
    field: str, experiment: Experiment, folder: Path, problems: Mapping[str, Sequence[Problem]]
) -> Check:
    """The first prompt as text and ids, after the tokenizer gave a page of the task back."""
    from w2s_core.models import check_round_trip, encoder_of
    from w2s_core.preflight import task_page

    topic = f"{field} prompt"
    try:
        tokenizer = _load_tokenizer(folder)
        prompt = experiment.prompt_of(field)
        check_round_trip(str(folder), tokenizer, task_page(problems, prompt))
        encoder = encoder_of(tokenizer, prompt)
    except UserError as error:
        return Check("missing", topic, str(error), needed=True)
    ids = encoder.prompt(next(rows[0].question for rows in problems.values() if rows))
    text = json.dumps(tokenizer.decode(ids, clean_up_tokenization_spaces=False), ensure_ascii=False)
    return Check("ok", topic, f"{text} = {' '.join(map(str, ids))}")


def _named_eos(folder: Path) -> tuple[str, int] | None:
    """EOS and its number, where tokenizer.json and the configs beside it say so plainly; None where only the
    tokenizer's own class can tell, which takes seconds to import.
    """
    try:
        named: Any = None
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            if (folder / name).is_file():
                named = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token") or named
        token = named.get("content") if isinstance(named, Mapping) else named
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        numbers = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or []}
        number = numbers.get(token, content["model"]["vocab"].get(token))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (token, number) if isinstance(token, str) and isinstance(number, int) else None


def _load_tokenizer(folder: Path) -> Any:
    """The tokenizer as a run loads it, without the digest of the weights that a run takes first."""
    from w2s_core.models import load_tokenizer

    with tempfile.TemporaryDirectory() as model_dir:
        (Path(model_dir) / "model.json").write_text(json.dumps({"base": "looked at", "adapters": []}))
        return load_tokenizer(model_dir, {"looked at": folder})


def _count(parameters: int) -> str:
    """Parameters for people: 230 k, 6.74 B."""
    for unit, factor in (("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if parameters >= factor:
            return f"{parameters / factor:.3g} {unit}"
    return str(parameters)


def fetch_check(field: str, name: str, revision: str, guess: str, command: str) -> Check:
    """The line about a hub model that is not in the cache; `guess` says how large its weights are thought to be."""
    from huggingface_hub import HfApi, constants, get_token, is_offline_mode
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    place = f"{name}@{revision[:12]} not in the cache"
    if is_offline_mode():
        detail = f"{place}; HF_HUB_OFFLINE is set, so a run cannot fetch it; else it would be fetched{guess}"
        return Check("unknown", field, detail, f"HF_HUB_OFFLINE=0 {command}")
    request = Asked(lambda: HfApi().model_info(name, revision=revision, files_metadata=True, timeout=2))
    try:
        info = request.answer()
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        detail = f"{name}@{revision[:12]}: {hub_reason(error) or one_line(error)}"
        mend = "" if isinstance(error, RevisionNotFoundError) else "hf auth login"
        return Check("missing", field, detail, mend, needed=True)
    except Exception as error:  # noqa: BLE001 - what the hub's client raises where it cannot be reached
        return Check(
            "unknown", field, f"{place}; offline ({one_line(error)}); would be fetched{guess}", command
        )
    files = info.siblings or []
    weights_size = sum(file.size or 0 for file in files if file.rfilename.endswith(".safetensors"))
    if not weights_size:
        return Check("missing", field, f"{name}: the hub has no safetensors of it", "", needed=True)
    if info.gated and not get_token():
        return Check("missing", field, f"{name} is gated and there is no token", "hf auth login", needed=True)
    free = free_disk(Path(constants.HF_HUB_CACHE))
    if free is not None and weights_size > free:
        detail = f"{place}; {size(weights_size)} would be fetched, {size(free)} are free"
        return Check("missing", field, detail, "export HF_HUB_CACHE=DIR", needed=True)
    return Check("ok", field, f"{place}; would be fetched: {size(weights_size)}", command)
