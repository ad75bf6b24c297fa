"""Settings of a base's generation_config.json, which an experiment may have sampling apply. Imports no engine.

They are read when a run is planned, and stand with their values in the parameters of `sample`. So they are in the keys
of the responses that they change, and not in the base's name, on which trainings stand too.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from w2s_core.engine import Handle
from w2s_core.errors import UserError
from w2s_core.files import read_json_object
from w2s_core.load_errors import reason
from w2s_core.models import base_of
from w2s_core.sampling.interface import SamplingParams

Setting = Literal["repetition_penalty", "top_k", "top_p", "min_p"]
Shipped = Mapping[str, Mapping[str, float]]
"""The settings of each base, by its name for keys."""
FILE = "generation_config.json"
_PLAIN = SamplingParams(1)


def read_settings(ref: str, source: str, names: Sequence[Setting]) -> dict[str, float]:
    """The values of these settings in a base's file, without those that change nothing.

    ref: the base's name for keys; source: where it lies, a folder or a hub id.

    Raises:
        UserError: there is no such file, it cannot be read, or a value makes no sense.
    """
    path = Path(source) / FILE if Path(source).is_dir() else _fetched(source, ref.rpartition("@")[2])
    content = _content(path)
    values = {name: content[name] for name in names if content.get(name) is not None}
    for name, value in values.items():
        if type(value) not in (int, float):
            raise UserError(f"{path}: {name} must be a number, not {json.dumps(value)[:80]}")
    try:
        SamplingParams(1, **values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return {name: value for name, value in values.items() if value != getattr(_PLAIN, name)}


def applied(model: Handle, shipped: Shipped, *, greedy: bool) -> dict[str, float]:
    """The settings that responses of a planned model follow: those of its base. Greedy ones follow the penalty alone.

    Raises:
        UserError: the model stands on no base whose settings were read.
    """
    ref = str(base_of(model).params.get("ref"))
    if ref not in shipped:
        raise UserError(
            f"generation_config: {model.title} stands on none of the experiment's base models, so its settings are "
            "not known: leave generation_config out"
        )
    return {name: value for name, value in shipped[ref].items() if name == "repetition_penalty" or not greedy}


def _content(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(_missing(str(path.parent)))
    return read_json_object(path)


def _missing(source: str) -> str:
    return (
        f"{source}: it has no {FILE}, whose settings the experiment's generation_config asks for: save one beside the "
        "model ({} for none), or leave generation_config out"
    )


def _fetched(name: str, revision: str) -> Path:
    """The file of a hub model, from the hub or its cache."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        return Path(hf_hub_download(name, FILE, revision=revision))
    except RemoteEntryNotFoundError:
        raise UserError(_missing(f"{name}@{revision}")) from None
    except Exception as error:  # noqa: BLE001 - from the hub's client
        raise UserError(f"{name}@{revision}: its {FILE}: {reason(error)}") from None
