"""The responses behind one graded set or two, question by question: what was asked, written, extracted and decided."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from w2s_analysis.reading.pair import SIDES, level_rank
from w2s_analysis.reading.results import GRADES, ROWS, read_parquet
from w2s_core.answers.verdicts import RIGHT
from w2s_core.engine import CorruptObjectError, Store
from w2s_core.errors import UserError

ANY: Final = "any"
CHANGED: Final = "changed sides"
CHOICES: Final = (CHANGED, SIDES[2], SIDES[1], SIDES[0], SIDES[3], ANY)
"""What questions of two sets can be filtered by; of one set, `right`, `wrong` and `ANY`."""
ALONE: Final = (ANY, "right", "not right")


@dataclass(frozen=True)
class Response:
    """A response; `text` is None where the responses are not in the store any more, `verdict` where none was graded."""

    text: str | None
    answer: str | None
    verdict: str | None


@dataclass(frozen=True)
class Answered:
    """A question with the responses of each set; `question` and `gold` are None where the store has them no more."""

    id: str
    level: Any
    side: str
    question: str | None
    gold: str | None
    responses: tuple[tuple[Response, ...], ...]


class Answers:
    """The questions that one graded set, or both of two, were graded on. Texts are read when a question is shown.

    A set of responses that was not graded has no verdicts, answers and levels.

    Raises:
        UserError: a result that is not computed or cannot be read, or two without a question in common.
    """

    def __init__(self, store: Store, keys: Sequence[str], names: Sequence[str] = ("A", "B")) -> None:
        self._store, self._keys = store, keys
        self._grades = [self._read_grades(key, name) for key, name in zip(keys, names, strict=False)]
        self.ids = [name for name in self._grades[0] if all(name in grades for grades in self._grades)]
        if not self.ids:
            raise UserError(f"{' and '.join(names[: len(keys)])} have no question in common")

    @cached_property
    def levels(self) -> list[str]:
        """All levels, as they are written, in order."""
        distinct = dict.fromkeys(self._first(name)["level"] for name in self.ids)
        return [str(level) for level in sorted(distinct, key=level_rank)]

    @cached_property
    def verdicts(self) -> list[str]:
        """All verdicts that any response has."""
        return sorted({verdict for name in self.ids for verdict in self._verdicts(name)})

    def select(self, side: str = ANY, level: str = ANY, verdict: str = ANY) -> list[str]:
        """The ids of the questions on a side (`CHOICES`, `ALONE`), of a level, and with a response of a verdict."""
        return [
            name
            for name in self.ids
            if (side in (ANY, self.side(name)) or (side == CHANGED and self.side(name) in SIDES[1:3]))
            and level in (ANY, str(self._first(name)["level"]))
            and (verdict == ANY or verdict in self._verdicts(name))
        ]

    def side(self, name: str) -> str:
        """Which of `SIDES` a question is on, by the share of right responses; of one set, one of `ALONE`."""
        shares = [_share(grades[name]["verdicts"]) for grades in self._grades]
        if len(shares) == 1:
            return ALONE[1] if shares[0] > 0 else ALONE[2]
        a, b = shares
        return SIDES[1] if a > b else SIDES[2] if b > a else SIDES[0] if a > 0 else SIDES[3]

    def read(self, names: Sequence[str]) -> list[Answered]:
        """Some questions with all that is known of them."""
        return [
            Answered(
                name,
                self._first(name)["level"],
                self.side(name),
                self._asked.get(name),
                self._gold.get(name),
                tuple(
                    _responses(grades[name], texts.get(name))
                    for grades, texts in zip(self._grades, self._texts, strict=True)
                ),
            )
            for name in names
        ]

    def _first(self, name: str) -> Mapping[str, Any]:
        return self._grades[0][name]

    def _verdicts(self, name: str) -> set[str]:
        return {verdict for grades in self._grades for verdict in grades[name]["verdicts"]}

    def _read_grades(self, key: str, name: str) -> dict[str, dict[str, Any]]:
        if not self._store.has(key):
            raise UserError(f"{name}: the result {key[:12]} is not computed yet")
        folder = self._store.path(key)
        if not (folder / GRADES).exists():
            drawn = self._column(key, "responses") if (folder / ROWS).exists() else {}
            if not drawn:
                raise UserError(f"{name}: it holds neither grades nor responses")
            return {
                row: {"level": None, "answers": [], "verdicts": [None] * len(texts)}
                for row, texts in drawn.items()
            }
        columns = ("id", "level", "answers", "verdicts")
        table = read_parquet(folder / GRADES, columns)
        return {row["id"]: dict.fromkeys(columns) | row for row in table.to_pylist()}

    @cached_property
    def _texts(self) -> list[dict[str, Any]]:
        """By set: a question's response, or its responses."""
        return [
            self._column(self._input(key, "responses") or key, self._column_of(key)) for key in self._keys
        ]

    @cached_property
    def _gold(self) -> dict[str, Any]:
        return self._column(self._input(self._keys[0], "gold"), "gold")

    @cached_property
    def _asked(self) -> dict[str, Any]:
        """The questions of the first step above the responses that has them."""
        for key in self._above(self._keys[0]):
            if asked := self._column(self._input(key, "questions"), "question"):
                return asked
        return {}

    def _above(self, key: str) -> Iterator[str]:
        """A result and all that went into it, nearest first."""
        queue, seen = [key], {key}
        for current in queue:
            yield current
            fresh = [above for above in _leaves(self._spec(current).get("inputs")) if above not in seen]
            seen.update(fresh)
            queue += fresh

    def _column_of(self, key: str) -> str:
        params = self._spec(key).get("params") or {}
        return str(params.get("column", "responses"))

    def _input(self, key: str, name: str) -> str | None:
        above = (self._spec(key).get("inputs") or {}).get(name)
        return above if isinstance(above, str) else None

    def _spec(self, key: str) -> Mapping[str, Any]:
        try:
            spec = self._store.manifest(key).get("spec")
        except (KeyError, CorruptObjectError):
            return {}
        return spec if isinstance(spec, dict) else {}

    def _column(self, key: str | None, name: str) -> dict[str, Any]:
        """A column of a result by id; empty where the result, or the column, is not in the store."""
        try:
            table = read_parquet(self._store.path(key) / ROWS, ("id", name)) if key else None
        except (KeyError, CorruptObjectError):
            return {}
        if table is None or name not in table.column_names:
            return {}
        return dict(zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True))


def _responses(row: Mapping[str, Any], texts: str | Sequence[str] | None) -> tuple[Response, ...]:
    """The responses to one question; a set of labels has one text a question."""
    listed: Sequence[str | None] = [texts] if isinstance(texts, str) else texts or []
    answers, verdicts = row["answers"] or [], row["verdicts"]
    padded = [[*part, *[None] * (len(verdicts) - len(part))] for part in (listed, answers)]
    return tuple(Response(*parts) for parts in zip(*padded, verdicts, strict=False))


def _share(verdicts: Sequence[str | None]) -> float:
    return verdicts.count(RIGHT) / len(verdicts) if verdicts else 0.0


def _leaves(inputs: Any) -> Iterator[str]:
    """All keys in the inputs of a step."""
    if isinstance(inputs, str):
        yield inputs
    elif isinstance(inputs, list | dict):
        for part in inputs.values() if isinstance(inputs, dict) else inputs:
            yield from _leaves(part)
