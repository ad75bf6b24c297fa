"""Take secrets out of what is recorded, printed or mirrored: by a name, a shape, or the environment."""

import os
import re
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import unquote

REDACTED = "[redacted]"

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_SECRET_WORDS = frozenset(
    {"apikey", "authorization", "bearer", "cookie", "credential", "credentials", "passphrase", "passwd"}
    | {"password", "pwd", "secret", "secrets", "signature"}
)
_SECRET_PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("account", "key"), ("auth", "key")}
)
_SHAPES = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}"
    r"|\bwandb_v1_[A-Za-z0-9_-]{16,}"
    r"|\bsk-[A-Za-z0-9_-]{20,}"
    r"|\bgh[oprsu]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    r"|(?<=://)[^/\s:@]*:[^\s'\"]+(?=@)"  # to the last @: passwords may hold one, and slashes
    r"|(?<=://):?[^/\s:@'\"]{20,}(?=@)"  # a token in the place of the user
)
# A value ends where the query of an address begins, whose fields are looked at by themselves.
_ASSIGNMENT = re.compile(r"([\w.-]+)(\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;&?'\"]*[^\s,;&?'\":])")
# A field of a query goes on to the next one; what a sentence puts after an address is none of it.
_QUERY_FIELD = re.compile(r"(?<=[?&])([\w.-]+)=([^&\s]*[^&\s:,.;'\")\]])")


def redact(value: Any) -> Any:
    """A copy of a JSON value with `REDACTED` for whatever looks like a secret."""
    return _redact(value, _environment_secrets())


def redact_text(text: str) -> str:
    """The same for a line of text: an error message, a command."""
    return _redact_text(text, _environment_secrets())


def command_line() -> list[str]:
    """The command that this process was started with, as records and reports keep it."""
    before = ["", *sys.argv[1:]]
    return ["w2s", *(_redact_argument(text, last) for last, text in pairwise(before))]


def _redact_argument(text: str, last: str) -> str:
    """Who has the address of a webhook may post to it: the option's value is a secret, whatever it looks like."""
    if last == "--notify":
        return REDACTED
    return f"--notify={REDACTED}" if text.startswith("--notify=") else redact_text(text)


def _redact(value: Any, known: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): REDACTED if _hides(str(name), inner) else _redact(inner, known)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact(inner, known) for inner in value]
    return _redact_text(value, known) if isinstance(value, str) else value


def _redact_text(text: str, known: list[str]) -> str:
    for secret in known:
        text = text.replace(secret, REDACTED)
    text = _QUERY_FIELD.sub(_clean_field, _SHAPES.sub(REDACTED, text))
    return _ASSIGNMENT.sub(lambda m: f"{m[1]}{m[2]}{REDACTED}" if _hides(m[1], m[3]) else m[0], text)


def _clean_field(field: re.Match[str]) -> str:
    """A field of an address's query; its value may be encoded, and hold assignments of its own (libpq's `options`)."""
    name, value = field.groups()
    decoded = unquote(value)
    hides = name.lower() == "pass" or _hides(name, decoded) or _redact_text(decoded, []) != decoded
    return f"{name}={REDACTED}" if hides else field[0]


def _hides(name: str, value: Any) -> bool:
    """Whether a field of that name holds a secret. `max_new_tokens: 128` does not, `hf_token: abc` does."""
    if value is None or value == "" or isinstance(value, bool | Mapping):
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if _SECRET_WORDS & set(words) or _SECRET_PAIRS & set(pairwise(words)):
        return True
    if any(word.endswith(("password", "passwd")) for word in words):  # libpq's sslpassword, PGPASSWORD
        return True
    if {"max", "tokens"} <= set(words):  # a limit, whatever a sentence says after its name
        return False
    return bool({"token", "tokens"} & set(words)) and not _is_count(value)


def _is_count(value: Any) -> bool:
    """Whether a value is a number or several, as text or not: tokens that are counted, not kept."""
    if isinstance(value, list | tuple):
        return all(_is_count(inner) for inner in value)
    return isinstance(value, int | float) or bool(re.fullmatch(r"[+-]?[\d._]+(e[+-]?\d+)?", str(value)))


def _environment_secrets() -> list[str]:
    """Values of environment variables that are secrets by their names. Short ones would match by chance; a place in
    the file system, such as that of PWD or of a file of tokens, is no secret.
    """
    secrets = {
        value
        for name, value in os.environ.items()
        if len(value) >= 8
        and _hides(name, value)
        and name not in ("PWD", "OLDPWD")
        and not os.path.exists(value)  # noqa: PTH110 - Path.exists raises where a value is too long for a name
    }
    # Longest first: one secret may be a part of another.
    return sorted(secrets, key=len, reverse=True)
