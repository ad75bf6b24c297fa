"""Canonical JSON: one byte string for one value, on every machine. Keys and digests stand on it."""

import hashlib
import json
import math
from typing import Any

from w2s_core.errors import UserError

Json = Any  # None, bool, int, float, str, or lists and string-keyed dicts of these

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def normalise(value: Any, where: str) -> Json:
    """A copy of `value` made of JSON types only: tuples become lists, enums of strings or numbers their
    values.

    Raises:
        UserError: NaN or an infinity, which JSON cannot hold and no two of which compare alike.
        TypeError: anything else that is no JSON, such as a Path, or a dict whose keys are not strings.
    """
    kind = type(value)
    if value is None or kind is str or kind is int or kind is bool:
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{where} is {float(value)}: a finite number is needed")
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, list | tuple):
        return [normalise(item, where) for item in value]
    if isinstance(value, dict):
        return {_name(key, where): normalise(item, f"{where}.{key}") for key, item in value.items()}
    raise TypeError(f"{where} is of type {kind.__name__}, which is not JSON")


def _name(key: Any, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(
            f"{where} has the key {key!r}: JSON names are strings, and 1 and '1' must not become one"
        )
    return str.__str__(key)


def canonical(value: Json) -> bytes:
    """The canonical bytes of a normalised value: sorted names, no spaces, ASCII only.

    `canonical({"b": 1, "a": [1.0]})` is `b'{"a":[1.0],"b":1}'`. 1, 1.0 and true differ: a miss is better than
    a wrong hit.
    """
    return _ENCODER.encode(value).encode("ascii")


def digest(value: Json) -> str:
    """The sha256 of `canonical(value)`, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()
