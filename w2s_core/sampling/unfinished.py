"""What a sampling has made so far, on disk: after a kill it goes on there.

One JSON line a batch, flushed to the disk: [first response's place, [[text, tokens, finish], ...]]. Places follow the
order in which the engine decodes. A line that a kill tore is left out, and so is all behind it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from w2s_core.sampling import Generation

_FINISHES = ("eos", "stop", "length")


class Unfinished:
    """The file of one sampling; None keeps nothing. The caller gives each sampling a file of its own."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self, most: int) -> list[Generation]:
        """The responses made so far, at most `most`: a file that holds more is of something else, and is not used."""
        made: list[Generation] = []
        whole = 0
        if self._path is None or not self._path.is_file():
            return made
        with self._path.open("rb") as file:
            for line in file:
                batch = _batch(line, len(made))
                if batch is None:
                    break
                made += batch
                whole += len(line)
        if len(made) > most:
            made, whole = [], 0
        os.truncate(self._path, whole)  # what follows is appended to whole lines
        return made

    def add(self, first: int, batch: Sequence[Generation]) -> None:
        """Append a batch, whose first response stands at place `first`."""
        if self._path is None:
            return
        line = json.dumps([first, [[one.text, one.tokens, one.finish] for one in batch]]) + "\n"
        with self._path.open("a", encoding="ascii") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _batch(line: bytes, expected: int) -> list[Generation] | None:
    """The responses of a whole line at the expected place; None for any other."""
    try:
        first, made = json.loads(line)
        if not line.endswith(b"\n") or first != expected:
            return None
        return [_generation(*one) for one in made]
    except (ValueError, TypeError):
        return None


def _generation(text: Any, tokens: Any, finish: Any) -> Generation:
    if not (isinstance(text, str) and isinstance(tokens, int) and finish in _FINISHES):
        raise ValueError("not a response")
    return Generation(text, tokens, finish)
