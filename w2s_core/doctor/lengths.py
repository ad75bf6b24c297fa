"""How long the rows of a task are in a model's tokens: what its memory is sized by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.prompting import QA, QUESTION, completion
from w2s_core.tasks import Problem

CANDIDATES = 64
"""Texts of most characters that are tokenised: the one of most tokens is among them, or close to one of them."""
SPECIAL = 2
"""BOS and EOS."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of a task's longest prompt, and of its longest row: a prompt and its gold solution."""

    prompt: int
    row: int


def longest(
    folder: Path, problems: Iterable[Problem], prompt: Mapping[str, str] | None = None
) -> Lengths | None:
    """The longest prompt and row of these problems; None where there are none, or no tokenizer.json to read.

    prompt: as `Experiment.prompt_of` gives it.
    """
    # The file's own library: it needs no import of transformers, which takes seconds.
    from tokenizers import Tokenizer

    listed = list(problems)
    prompts = [prompt_text(problem.question, prompt) for problem in listed]
    rows = [text + completion(problem.solution) for text, problem in zip(prompts, listed, strict=True)]
    try:
        around = template_tokens(folder, prompt)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return Lengths(around + _most(tokenizer, prompts), around + _most(tokenizer, rows)) if rows else None
    except Exception:  # noqa: BLE001 - the library raises plain Exception; the line on the tokenizer says what is wrong
        return None


def prompt_text(question: str, prompt: Mapping[str, str] | None) -> str:
    """The texts of a prompt, without what a chat's template puts around them."""
    words = dict(prompt or {})
    user = words.get("user", QUESTION if words.get("form") == "chat" else QA)
    before = f"{words['system']}\n\n" if "system" in words else ""
    return before + user.replace(QUESTION, question)


def template_tokens(folder: Path, prompt: Mapping[str, str] | None) -> int:
    """Tokens that stand around the texts of a question and its answer: BOS and EOS, or those of a chat's template."""
    words = {name: text for name, text in (prompt or {}).items() if name != "user"}
    if words.get("form") != "chat":
        return SPECIAL
    from w2s_core.models import encoder_of, folder_tokenizer

    tokenizer = folder_tokenizer(folder)
    encoder, text = encoder_of(tokenizer, words), "7"
    texts = (words.get("system", ""), text, text)
    own = sum(len(tokenizer(part, add_special_tokens=False).input_ids) for part in texts)
    return len(encoder.prompt(text)) + len(encoder.completion(text)) - own


def _most(tokenizer: Any, texts: list[str]) -> int:
    candidates = sorted(texts, key=len)[-CANDIDATES:]
    return max(len(encoding.ids) for encoding in tokenizer.encode_batch(candidates))
