"""Questions that stand twice: within a file, and across training and evaluation files. Pure.

A duplicate is exact (the same characters) or normalised (the same but for case, spacing and punctuation, see
`question_text`); every exact duplicate is a normalised one too.
"""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, starmap
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from w2s_core.data.question_text import normalise_question

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Repeat:
    """A row whose question stood before, exactly or normalised, first in row number `row` of all."""

    kind: Literal["exact", "normalised"]
    row: int


class DuplicateFinder:
    """Takes the questions of any number of files, one after another, and then counts; holds 16 bytes a row.

    These are hashes of 64 bits: of a million questions, two have one by chance in one of 30 million cases.
    """

    def __init__(self) -> None:
        self._hashes = {"exact": array("q"), "normalised": array("q")}
        self._ends = [0]

    def add(self, question: str) -> None:
        """Take the next row's question."""
        self._hashes["exact"].append(hash(question))
        self._hashes["normalised"].append(hash(normalise_question(question)))

    def end_file(self) -> None:
        """The rows that follow are of the next file."""
        self._ends.append(len(self._hashes["exact"]))

    def counts(self) -> Counter[str]:
        """Rows whose question is new, an exact repeat of an earlier row's, or a normalised one alone."""
        exact, normalised = (self._is_repeat(kind) for kind in self._hashes)
        repeats = {"exact": int(exact.sum()), "normalised": int((normalised & ~exact).sum())}
        return Counter({"new": int((~normalised).sum()), **repeats})

    def repeats(self) -> Iterator[tuple[int, Repeat]]:
        """Each row that repeats an earlier one, by its number, in order."""
        exact, normalised = self._first_rows["exact"], self._first_rows["normalised"]
        for row in np.flatnonzero(self._is_repeat("normalised")).tolist():
            if exact[row] < row:
                yield row, Repeat("exact", int(exact[row]))
            else:
                yield row, Repeat("normalised", int(normalised[row]))

    def within(self, file: int) -> dict[str, int]:
        """The rows of a file, and how many of them repeat an earlier row of the same file."""
        rows = self._ends[file + 1] - self._ends[file]
        return {"rows": rows} | {kind: rows - len(np.unique(self._of(kind, file))) for kind in self._hashes}

    def across(self) -> list[dict[str, Any]]:
        """For each ordered pair of files, how many rows of the first have a question that stands in the second."""
        return list(starmap(self._pair, permutations(range(len(self._ends) - 1), 2)))

    def _pair(self, file: int, other: int) -> dict[str, Any]:
        counts = {
            kind: int(np.isin(self._of(kind, file), self._of(kind, other)).sum()) for kind in self._hashes
        }
        return {"rows_of": file, "standing_in": other, **counts}

    def _of(self, kind: str, file: int) -> Ints:
        return np.frombuffer(self._hashes[kind], np.int64)[self._ends[file] : self._ends[file + 1]]

    def _is_repeat(self, kind: str) -> npt.NDArray[np.bool_]:
        first = self._first_rows[kind]
        return np.asarray(first < np.arange(len(first)))

    @cached_property
    def _first_rows(self) -> dict[str, Ints]:
        """For each row the first with the same question."""
        rows = {}
        for kind, hashes in self._hashes.items():
            _, first, same = np.unique(
                np.frombuffer(hashes, np.int64), return_index=True, return_inverse=True
            )
            rows[kind] = first[same]
        return rows
