"""Grading: which answers are right, and which of several answers are the same.

Numbers and texts are compared here at once (`answer_forms.compare`). Algebra goes to math-verify in processes of its
own (`grading_pool`), started when the first such pair turns up. A pair may use `timeout_s` seconds of CPU time for
each of its parts; then the kernel ends the process, and the pair is undecided. Only CPU time counts, so that a loaded
machine cannot turn a slow answer into a timeout, nor a timeout into a wrong answer.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import combinations
from types import TracebackType
from typing import Literal, Self

from w2s_core.answers.extract import Verdict, check_rule
from w2s_core.answers.forms import canonical, compare, is_exact, normalise
from w2s_core.answers.pool import Pair, Pool
from w2s_core.errors import UserError

MEMO_LIMIT = 1_000_000
"""Pairs that a grader remembers."""


class Grader:
    """Grades answers by one rule; a context manager, since it may start processes. Not for several threads at once.

    Args:
        rule: an answer rule of `w2s_core.answers.extract`.
        match: "value" (equal as numbers, or as algebra) or "string" (normalised strings identical, as the released
            outputs were graded).
        timeout_s: CPU seconds for one part of a pair of algebra: reading one side, or comparing them.
        workers: processes for algebra.
        wall_s: wall seconds after which a process counts as stuck and is replaced; far above `timeout_s`, because
            it must never decide anything on a machine that is merely busy.

    Raises:
        UserError: unknown rule or match.
    """

    def __init__(
        self,
        rule: str,
        match: Literal["value", "string"] = "value",
        timeout_s: float = 5.0,
        workers: int = 1,
        wall_s: float | None = None,
    ) -> None:
        check_rule(rule)
        if match not in ("value", "string"):
            raise UserError(f"unknown match '{match}'; known: value, string")
        self.rule = rule
        self.match = match
        self.undecided = 0
        self._by_value = match == "value" and rule != "choice"  # two letters are the same or not
        self._key = canonical if match == "value" else partial(normalise, released=True)
        self._pool = Pool(workers, timeout_s, wall_s or 60 + 30 * timeout_s)
        self._memo: dict[Pair, bool | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, if any were started."""
        self._pool.close()

    def grade(self, pairs: Sequence[tuple[str | None, str]]) -> list[Verdict]:
        """One verdict for each (answer, gold answer); None, or an answer with nothing readable, is unparsed."""
        keys = [(self._readable(answer), self._key(gold, self.rule)) for answer, gold in pairs]
        said = self._compare_all(
            [(answer, gold) for answer, gold in keys if answer is not None and answer != gold]
        )
        return [self._verdict(answer, gold, said) for answer, gold in keys]

    def same(self, one: str | None, other: str | None) -> bool | None:
        """Whether two answers are the same; None where that could not be decided. No answer is the same as none."""
        left, right = self._readable(one), self._readable(other)
        if left is None or right is None:
            return False
        return left == right or self._compare_all([(left, right)])[_ordered(left, right)]

    def classes(self, answers: Sequence[str | None]) -> list[int | None]:
        """A class for each answer, numbered by first appearance; None where there is no answer.

        Two answers are in one class if a chain of same answers links them, so the order of the answers cannot change
        who stands with whom. Meant for the answers to one question: algebra is compared pair by pair.
        """
        return self.classes_each([answers])[0]

    def classes_each(self, groups: Sequence[Sequence[str | None]]) -> list[list[int | None]]:
        """`classes` for each of many groups; quicker than one by one where there are several worker processes."""
        keyed = [[self._readable(answer) for answer in group] for group in groups]
        doubtful = [_doubtful_pairs(keys) if self._by_value else [] for keys in keyed]
        said = self._compare_all(pair for pairs in doubtful for pair in pairs)
        return [
            _numbered(keys, [pair for pair in pairs if said[_ordered(*pair)]])
            for keys, pairs in zip(keyed, doubtful, strict=True)
        ]

    def _readable(self, answer: str | None) -> str | None:
        return None if answer is None else self._key(answer, self.rule) or None

    def _verdict(self, answer: str | None, gold: str, said: dict[Pair, bool | None]) -> Verdict:
        if answer is None:
            return Verdict.UNPARSED
        same = answer == gold or said[_ordered(answer, gold)]
        if same is None:
            return Verdict.TIMED_OUT
        return Verdict.RIGHT if same else Verdict.WRONG

    def _compare_all(self, pairs: Iterable[Pair]) -> dict[Pair, bool | None]:
        """Decide pairs of keys that differ; the answer's keys are ordered pairs."""
        said: dict[Pair, bool | None] = {}
        hard: dict[Pair, None] = {}
        for one, other in pairs:
            pair = _ordered(one, other)
            if pair in said or pair in hard:
                continue
            quick = compare(one, other) if self._by_value else False
            if quick is not None:
                said[pair] = quick
            elif pair in self._memo:
                said[pair] = self._memo[pair]
            else:
                hard[pair] = None
        if hard:
            said |= self._decide(list(hard))
        return said

    def _decide(self, hard: list[Pair]) -> dict[Pair, bool | None]:
        decided = self._pool.decide(hard)
        self.undecided += sum(verdict is None for verdict in decided.values())
        if len(self._memo) + len(decided) > MEMO_LIMIT:
            self._memo.clear()
        self._memo |= decided
        return decided


def _ordered(one: str, other: str) -> Pair:
    return (one, other) if one <= other else (other, one)


def _doubtful_pairs(keys: Sequence[str | None]) -> list[Pair]:
    """The pairs of distinct keys that are not two exact numbers."""
    distinct = {key: is_exact(key) for key in dict.fromkeys(keys) if key is not None}
    if all(distinct.values()):
        return []
    return [(a, b) for a, b in combinations(distinct, 2) if not (distinct[a] and distinct[b])]


def _numbered(keys: Sequence[str | None], same: Iterable[Pair]) -> list[int | None]:
    """Classes by first appearance, where `same` links keys."""
    leader: dict[str, str] = {}

    def find(key: str) -> str:
        while leader.get(key, key) != key:
            key = leader[key]
        return key

    for one, other in same:
        leader[find(one)] = find(other)
    numbers: dict[str, int] = {}
    return [None if key is None else numbers.setdefault(find(key), len(numbers)) for key in keys]
