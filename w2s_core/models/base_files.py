"""The files of a local base model: which of them loading can reach, and the name that their content gives it.

transformers follows names that it finds in files: shards in an index, weights in config.json, tokenizer files in
tokenizer_config.json. A file beside the folder would be loaded and not be in the name, so such a name is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from w2s_core.engine import disk
from w2s_core.errors import UserError
from w2s_core.files import read_json_object, regular_size

_IDENTITY = ("config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json")
TOKENIZER = ("tokenizer.json", "tokenizer.model", "*.tiktoken", "vocab.json", "vocab.txt", "merges.txt")
_TOKENIZER_EXTRAS = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "tokenizer.*.json",  # a version that tokenizer_config.json's fast_tokenizer_files names
    "tekken.json",
    "*.model",
)
_CODE = ("**/*.py",)
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
MAX_COUNTS = {"layer": 500, "expert": 10_000}
"""More than any model has of each: a config that says so is damaged, and its model would take hours to build."""


def base_ref(path: str | Path, *, code: bool = False) -> str:
    """The name of a local base model: "sha256:" and a digest over its weights, config and tokenizer files.

    The folder's own name and place, other files in it (a README, a training log), and generation settings other than
    the end tokens make no difference.
    code: its own Python files may be run; they are then part of the digest, and the name begins "sha256+code:".
    Raises UserError if the folder is none that `load_model` could load.
    """
    folder = Path(path)
    check_base(folder, code=code)
    lines = [
        f"{_identity_of(file)}  {file.relative_to(folder).as_posix()}\n" for file in _named(folder, code=code)
    ]
    return f"sha256{'+code' if code else ''}:" + hashlib.sha256("".join(lines).encode()).hexdigest()


NO_TEMPLATE = "prompt: chat, and its tokenizer has no chat template, as base models have none: use prompt: qa"


def has_chat_template(folder: Path) -> bool:
    """Whether a base's files bring a chat template; only what can be had without loading the tokenizer."""
    if any(folder.glob("chat_template.jinja")) or any(folder.glob("additional_chat_templates/*.jinja")):
        return True
    config = folder / "tokenizer_config.json"
    return config.exists() and bool(read_json_object(config).get("chat_template"))


def _named(folder: Path, *, code: bool) -> list[Path]:
    """The files whose content is in the name."""
    patterns = (*_IDENTITY, *TOKENIZER, *_TOKENIZER_EXTRAS, *(_CODE if code else ()))
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _identity_of(path: Path) -> str:
    """The digest of a file; of generation_config.json only the end tokens count, others act on samples alone."""
    if path.name == "generation_config.json":
        with suppress(UserError):  # a damaged file has the digest of its bytes, and fails to load
            return f"eos_token_id {json.dumps(read_json_object(path).get('eos_token_id'))}"
    return _sha256(path)


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _cached_sha256(str(path.resolve()), stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)


@lru_cache(maxsize=4096)
def _cached_sha256(path: str, mtime_ns: int, ctime_ns: int, size: int) -> str:
    return disk.sha256_file(Path(path))


def check_base(folder: Path, *, code: bool) -> None:
    """A base folder has a config, a tokenizer and safetensors, all regular files, and names no file outside of it."""
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such model folder")
    if not (folder / "config.json").exists():
        raise UserError(f"{folder}: not a model, config.json is missing")
    if not any(folder.glob("*.safetensors")):
        if pickles := sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern)):
            raise UserError(
                f"{folder}: {pickles[0]} is a pickle, which can run code when read, and is refused; convert it once,"
                " where you trust it: AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)"
            )
        raise UserError(f"{folder}: no weights, expected model.safetensors or its shards")
    if not any(path for pattern in TOKENIZER for path in folder.glob(pattern)):
        raise UserError(
            f"{folder}: no tokenizer (tokenizer.json or tokenizer.model): save it beside the model"
        )
    check_files(folder, code=code)


def check_files(folder: Path, *, code: bool) -> None:
    """Each file that counts is a regular one, or a link to one, as in the hub's cache; and none names another file."""
    for path in _named(folder, code=code):
        try:
            regular_size(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    for path in folder.rglob("*") if code else ():
        if path.is_symlink() and path.is_dir():
            raise UserError(
                f"{path}: a link to a folder, whose code the model's name would not cover: copy it"
            )
    _check_references(folder)


def _check_references(folder: Path) -> None:
    """Refuse names of files that loading would follow and that are not in the model's name."""
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder}: adapter_config.json stands beside the model, and loading would add that adapter: "
            "merge it into the weights, or take its files out"
        )
    for path in folder.glob("*.safetensors.index.json"):
        shards = read_json_object(path).get("weight_map")
        if not isinstance(shards, dict):
            raise UserError(f"{path}: expected {{'weight_map': {{tensor: file in this folder}}}}")
        _check_names(path, "weight_map", shards.values(), ".safetensors")
    config = read_json_object(folder / "config.json")
    check_config(str(folder), config, code=False)
    weights = config.get("transformers_weights")
    if weights is not None:
        _check_names(folder / "config.json", "transformers_weights", [weights], ".safetensors")
    _check_tokenizer_files(folder / "tokenizer_config.json")


def _check_names(path: Path, field: str, names: Any, ending: str = "") -> None:
    for name in names:
        if not isinstance(name, str) or not is_plain(name) or not name.endswith(ending):
            raise UserError(
                f"{path}: '{field}' names {str(name)[:80]!r}: should be a {ending or 'file'} in this folder, "
                "without a path"
            )


def is_plain(name: str) -> bool:
    """Whether a name is one of a file in a folder, and leads nowhere else."""
    return bool(name) and name not in (".", "..") and not any(char in "/\\\0" for char in name)


def _check_tokenizer_files(path: Path) -> None:
    """Names of tokenizer files that would be opened as they stand. Old configs hold leftovers: paths of the machine
    that made them. transformers does not look at these where they lead to nothing.
    """
    if not path.exists():
        return
    for field, value in read_json_object(path).items():
        if field == "fast_tokenizer_files" and isinstance(value, list):
            _check_names(path, field, value)
        elif field.endswith("_file") and isinstance(value, str) and _exists(path.parent / value, Path(value)):
            _check_names(path, field, [value])


def check_tokenizer_class(folder: Path, tokenizer: Any) -> None:
    """Refuse files of a rare family's tokenizer, which its class reads beside those that the name covers."""
    covered = {path.name for path in _named(folder, code=False)}
    for name in type(tokenizer).vocab_files_names.values():
        if name and name not in covered and (folder / name).exists():
            raise UserError(
                f"{folder / name}: the tokenizer reads it, and the model's name does not cover it: save the tokenizer "
                "anew with transformers, as tokenizer.json"
            )


def _exists(*paths: Path) -> bool:
    with suppress(OSError, ValueError):  # no possible name of a file
        return any(path.exists() for path in paths)
    return False


def check_config(source: str, config: Mapping[str, Any], *, code: bool) -> None:
    """Refuse counts that no model has, and code that the base's name does not cover. config: as its file holds it."""
    for fields in (config, *(inner for inner in config.values() if isinstance(inner, dict))):
        for name, value in fields.items():
            most = next((count for part, count in MAX_COUNTS.items() if part in name), None)
            if most is not None and isinstance(value, int) and value > most and name[:2] in ("n_", "nu"):
                raise UserError(
                    f"{source}: config.json: '{name}' is {_count(value)}: no model has more than {most}"
                )
    if code:
        check_code(source, config)


def _count(value: int) -> str:
    return str(value) if abs(value) < 10**18 else "over 10^18"


def check_code(source: str, config: Mapping[str, Any]) -> None:
    """Code in another repository ("org/other--file.Class") is whatever stands there today: no digest names it."""
    for place in _places(config.get("auto_map")):
        if "--" in place:
            raise UserError(
                f"{source}: its code lies in another repository ({place}), which is not pinned: copy the files "
                "beside the weights, and name them without the repository in the auto_map"
            )
        if ".." in place or place.startswith(("/", "\\")):
            raise UserError(f"{source}: its auto_map names {place[:80]!r}: code lies in the model's folder")


def _places(named: Any) -> Iterator[str]:
    """The classes that an auto_map names: one by one, or in a list of the slow and the fast tokenizer."""
    if isinstance(named, str):
        yield named
    elif isinstance(named, dict | list):
        for value in named.values() if isinstance(named, dict) else named:
            yield from _places(value)
