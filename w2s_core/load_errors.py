"""Why a model could not be loaded, in words that say what to do; the hub's client names addresses instead."""

from collections.abc import Iterator

LONGEST = 300


def reason(error: Exception) -> str:
    """One line about an error of transformers, the hub's client, json, safetensors or torch."""
    for one in _chain(error):
        if (known := hub_reason(one)) is not None:
            return known
    if "trust_remote_code" in str(error):
        return (
            "it needs Python code of its own, which is not run: read that code, and where you trust it set "
            "trust_remote_code: true in the experiment"
        )
    return shortened(error)


def hub_reason(error: BaseException) -> str | None:
    """What the hub's refusal means; None for any other error."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return (
            "the hub has it for those who accepted its terms: accept them on its page, then `hf auth login`"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return "the hub has no such revision of it: copy the commit from its page"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub shows no such model: a slip in the name, or a private one, for which `hf auth login`"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "it is not in the cache, and HF_HUB_OFFLINE is set, so it cannot be fetched"
    if isinstance(error, errors.LocalEntryNotFoundError):
        return "it is not in the cache, and the hub cannot be reached"
    if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "requests"):  # as its version has it
        return f"the hub cannot be reached ({shortened(error)})"
    return None


def shortened(error: BaseException) -> str:
    """An error as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from or while handling."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
