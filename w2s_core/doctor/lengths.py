"""How long the rows of a task are in a model's tokens: what its memory is sized by."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_core.preflight import prompt_text, template_tokens
from w2s_core.prompting import completion
from w2s_core.tasks import Problem

CANDIDATES = 64
"""Texts of most characters that are tokenised: the one of most tokens is among them, or close to one of them."""


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


def _most(tokenizer: Any, texts: list[str]) -> int:
    candidates = sorted(texts, key=len)[-CANDIDATES:]
    return max(len(encoding.ids) for encoding in tokenizer.encode_batch(candidates))
