"""The responses that a sampling has drawn so far, on disk: after a kill it goes on from there.

One JSON line a batch, flushed to the disk: [[prompt, number, text, tokens, finish], ...], where `prompt` is a prompt's
place in the sampling and `number` that of the response among its n. A line that a kill tore is left out, and so is all
behind it.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from w2s_core.sampling.interface import Generation

_FINISHES = ("eos", "stop", "length")
Place = tuple[int, int]


class Unfinished:
    """The file of one sampling; None keeps nothing. The caller gives each sampling a file of its own."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> dict[Place, Generation]:
        """The responses drawn so far."""
        responses: dict[Place, Generation] = {}
        size = 0
        if self._path is None or not self._path.is_file():
            return responses
        with self._path.open("rb") as file:
            for line in file:
                batch = _batch(line)
                if batch is None:
                    break
                responses |= batch
                size += len(line)
        os.truncate(self._path, size)  # later batches are appended behind complete lines
        return responses

    def add(self, batch: Mapping[Place, Generation]) -> None:
        """Append a batch."""
        if self._path is None:
            return
        rows = [
            [*place, response.text, response.tokens, response.finish] for place, response in batch.items()
        ]
        with self._path.open("a", encoding="ascii") as file:
            file.write(json.dumps(rows) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _batch(line: bytes) -> dict[Place, Generation] | None:
    """The responses of a whole line; None for any other."""
    try:
        rows = json.loads(line)
        if not line.endswith(b"\n"):
            return None
        return {_place(prompt, number): _generation(*response) for prompt, number, *response in rows}
    except (ValueError, TypeError):
        return None


def _place(prompt: Any, number: Any) -> Place:
    if not (isinstance(prompt, int) and isinstance(number, int)):
        raise ValueError("not a place")
    return prompt, number


def _generation(text: Any, tokens: Any, finish: Any) -> Generation:
    if not (isinstance(text, str) and isinstance(tokens, int) and finish in _FINISHES):
        raise ValueError("not a response")
    return Generation(text, tokens, finish)
