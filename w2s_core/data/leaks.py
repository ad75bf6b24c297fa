"""Questions that stand twice: within a file, and across training and evaluation files. Pure.

A duplicate is exact (the same characters) or normalised (the same but for case, spacing and punctuation, see
`question_text`); every exact duplicate is a normalised one too.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal

from w2s_core.data.question_text import normalise_question


@dataclass(frozen=True)
class Repeat:
    """A row whose question stood before, exactly or normalised, in file number `file` under the id `id`."""

    kind: Literal["exact", "normalised"]
    file: int
    id: str


@dataclass(slots=True)
class _Seen:
    """A question: where it stood first, and in how many rows of each file it stands, if in more than that one."""

    file: int
    id: str
    repeated: Counter[int] | None = None

    def rows(self, file: int) -> int:
        """In how many rows of a file it stands."""
        return int(file == self.file) if self.repeated is None else self.repeated[file]


class DuplicateFinder:
    """Takes the questions of any number of files, one at a time; holds digests, not texts."""

    def __init__(self) -> None:
        self._exact: dict[bytes, _Seen] = {}
        self._normalised: dict[bytes, _Seen] = {}

    def add(self, file: int, name: str, question: str) -> Repeat | None:
        """Take row `name` of file number `file`; the row that it repeats, exactly if there is one, or None."""
        exact = _note(self._exact, question, file, name)
        normalised = _note(self._normalised, normalise_question(question), file, name)
        if exact:
            return Repeat("exact", exact.file, exact.id)
        return Repeat("normalised", normalised.file, normalised.id) if normalised else None

    def within(self, file: int) -> dict[str, int]:
        """Rows of the file that repeat an earlier row of the same file."""
        return {
            kind: sum(max(0, seen.rows(file) - 1) for seen in table.values())
            for kind, table in self._tables()
        }

    def across(self, files: int) -> list[dict[str, Any]]:
        """For each ordered pair of files, how many rows of the one have a question that stands in the other."""
        found = []
        for one, other in permutations(range(files), 2):
            counts = {
                kind: sum(seen.rows(one) for seen in table.values() if seen.repeated and seen.rows(other))
                for kind, table in self._tables()
            }
            found.append({"rows_of": one, "standing_in": other, **counts})
        return found

    def _tables(self) -> list[tuple[str, dict[bytes, _Seen]]]:
        return [("exact", self._exact), ("normalised", self._normalised)]


def _note(table: dict[bytes, _Seen], text: str, file: int, name: str) -> _Seen | None:
    """Count a text; where it stood first, or None if it is new."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    seen = table.get(digest)
    if seen is None:
        table[digest] = _Seen(file, name)
        return None
    if seen.repeated is None:
        seen.repeated = Counter({seen.file: 1})
    seen.repeated[file] += 1
    return seen
