"""The responses that a sampling has drawn so far, on disk: after a kill it goes on from there.

One JSON line a batch, flushed to the disk: [first response's place, [[text, tokens, finish], ...]]. Places follow the
order in which the engine decodes. A line that a kill tore is left out, and so is all behind it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from w2s_core.sampling.interface import Generation

_FINISHES = ("eos", "stop", "length")


class Unfinished:
    """The file of one sampling; None keeps nothing. The caller gives each sampling a file of its own."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self, most: int) -> list[Generation]:
        """The responses drawn so far, at most `most`: a file that holds more is of something else, and is not used."""
        responses: list[Generation] = []
        size = 0
        if self._path is None or not self._path.is_file():
            return responses
        with self._path.open("rb") as file:
            for line in file:
                batch = _batch(line, len(responses))
                if batch is None:
                    break
                responses += batch
                size += len(line)
        if len(responses) > most:
            responses, size = [], 0
        os.truncate(self._path, size)  # later batches are appended behind complete lines
        return responses

    def add(self, first: int, batch: Sequence[Generation]) -> None:
        """Append a batch, whose first response stands at place `first`."""
        if self._path is None:
            return
        line = (
            json.dumps([first, [[response.text, response.tokens, response.finish] for response in batch]])
            + "\n"
        )
        with self._path.open("a", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _batch(line: bytes, expected: int) -> list[Generation] | None:
    """The responses of a whole line at the expected place; None for any other."""
    try:
        first, responses = json.loads(line)
        if not line.endswith(b"\n") or first != expected:
            return None
        return [_generation(*response) for response in responses]
    except (ValueError, TypeError):
        return None


def _generation(text: Any, tokens: Any, finish: Any) -> Generation:
    if not (isinstance(text, str) and isinstance(tokens, int) and finish in _FINISHES):
        raise ValueError("not a response")
    return Generation(text, tokens, finish)
