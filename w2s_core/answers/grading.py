"""Grading: which answers are right, and which of several answers are the same.

Numbers, texts and structures are compared here at once (`comparing`). Formulas go to algebra in processes of its own
(`pool`), started when the first such pair turns up. A pair may use `timeout_s` seconds of CPU time for each of its
parts; then the kernel ends the process, and the pair has timed out. So has a pair that is beyond the bounds of `cost`,
or needs more memory than a process may have (`child`): it is not decided within the limits. Only CPU time counts,
so that a loaded machine cannot turn a slow answer into a timeout, nor a timeout into a wrong answer.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, combinations
from types import TracebackType
from typing import Literal, Self, TypeVar

from w2s_core.answers import comparing, released
from w2s_core.answers.comparing import Decide, LeafPair
from w2s_core.answers.extract import Verdict, check_rule
from w2s_core.answers.forms import Answer
from w2s_core.answers.pool import Decision, Pool
from w2s_core.answers.reading import SCORED, canonical
from w2s_core.errors import UserError

MEMO_LIMIT = 1_000_000
"""Pairs of formulas that a grader remembers; and answers, of which it remembers a tenth as many."""

_SCORES: dict[Decision, Verdict] = {
    True: Verdict.RIGHT,
    False: Verdict.WRONG,
    "undecided": Verdict.UNDECIDED,
    None: Verdict.TIMED_OUT,
}
Key = Answer | str
"""An answer's form, or its normalised string where strings are compared."""
T = TypeVar("T", bound=Hashable)


class Grader:
    """Grades answers by one rule; a context manager, since it may start processes. Not for several threads at once.

    Args:
        rule: an answer rule of `w2s_core.answers.extract`.
        match: "value" (equal as numbers, or as algebra) or "string" (normalised strings identical, as the released
            outputs were graded; see `released`).
        timeout_s: CPU seconds for one part of a pair of formulas: reading one side, or comparing them. A row takes
            three times as much at most, and a formula whose reading does not end within it is not read again.
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
        timeout_s: float = 2.0,
        workers: int = 1,
        wall_s: float | None = None,
    ) -> None:
        check_rule(rule)
        if match not in ("value", "string"):
            raise UserError(f"unknown match '{match}'; known: value, string")
        self.rule = rule
        self.match = match
        self.undecided = 0
        self._pool = Pool(workers, timeout_s, wall_s or 300 + 30 * timeout_s)
        self._scorers = Pool(workers, timeout_s, wall_s or 300 + 30 * timeout_s, "scorer")
        self._scored: dict[tuple[str, str], Decision] = {}
        self._keys: dict[str, Key | None] = {}
        self._decided: dict[LeafPair, Decision] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, if any were started."""
        self._pool.close()
        self._scorers.close()

    def grade(self, pairs: Iterable[tuple[str | None, str]]) -> list[Verdict]:
        """One verdict for each (answer, gold answer); None, or an answer with nothing readable, is unparsed.

        Under the rule `reasoning_gym` the second of a pair is the entry that the answer is scored by.
        """
        if self.rule == SCORED:
            return self._score(list(pairs))
        keys = [(self._key(answer), self._key(gold)) for answer, gold in pairs]
        quick = [None if answer is None else self._quick(answer, gold) for answer, gold in keys]
        doubtful = [pair for pair, result in zip(keys, quick, strict=True) if pair[0] and result is None]
        self._settle(
            lambda decide: [comparing.alike(*pair, decide) for pair in doubtful]  # type: ignore[arg-type]
        )
        return [
            self._verdict(answer, gold, result) for (answer, gold), result in zip(keys, quick, strict=True)
        ]

    def _score(self, pairs: list[tuple[str | None, str]]) -> list[Verdict]:
        if len(self._scored) > MEMO_LIMIT // 10:
            self._scored.clear()
        asked = dict.fromkeys((answer, entry) for answer, entry in pairs if answer is not None)
        if new := [pair for pair in asked if pair not in self._scored]:
            self._scored |= self._scorers.decide(new)
        return [
            Verdict.UNPARSED if answer is None else _SCORES[self._scored[answer, entry]]
            for answer, entry in pairs
        ]

    def same(self, first: str | None, second: str | None) -> bool | None:
        """Whether two answers are the same; None where that could not be decided. No answer is the same as none.

        Symmetric. It is transitive too among answers that state their form; `5`, which leaves its unit open, is the
        same as `5 m` and as `5 cm`. `classes` keeps such answers apart.
        """
        left, right = self._key(first), self._key(second)
        if left is None or right is None:
            return False
        result = self._quick(left, right)
        if result is not None or isinstance(left, str) or isinstance(right, str):
            return result
        self._settle(lambda decide: [comparing.alike(left, right, decide)])
        return comparing.alike(left, right, self._known)

    def classes(self, answers: Sequence[str | None]) -> list[int | None]:
        """A class for each answer, numbered by first appearance; None where there is no answer.

        Any two answers of a class are the same by `same` and `grade`, and the order of the answers cannot change who
        stands with whom. An answer that leaves its form open (`5` beside `5 cm`, `2, 3` beside `(2,3)`) joins the
        others where it is the same as each of them; beside `5 m` and `5 cm`, it is a class of its own.
        """
        return self.classes_each([answers])[0]

    def classes_each(self, groups: Sequence[Sequence[str | None]]) -> list[list[int | None]]:
        """`classes` for each of many groups; quicker than one by one where there are several worker processes."""
        keyed = [[self._key(answer) for answer in group] for group in groups]
        distinct = [list(dict.fromkeys(key for key in keys if key is not None)) for keys in keyed]
        mixed = [answers for answers in map(_answers, distinct) if answers]
        self._settle(lambda decide: [_tables(answers, decide) for answers in mixed])
        return [_numbered(keys, self._parted(known)) for keys, known in zip(keyed, distinct, strict=True)]

    def _key(self, answer: str | None) -> Key | None:
        if answer is None:
            return None
        if answer in self._keys:
            return self._keys[answer]
        if self.match == "value":
            key: Key | None = canonical(answer, self.rule)
        else:
            key = released.normalise(answer, self.rule) or None
        if len(self._keys) >= MEMO_LIMIT // 10:
            self._keys.clear()
        self._keys[answer] = key
        return key

    def _quick(self, first: Key, second: Key | None) -> bool | None:
        """Whether two keys are the same as far as that needs no process."""
        if first == second:
            return True
        if not (isinstance(first, Answer) and isinstance(second, Answer)):
            return False
        if first.is_number and second.is_number:
            return (
                False
                if len(first.readings) == len(second.readings) == 1
                else comparing.alike(first, second, self._known)
            )
        return comparing.alike(first, second, self._known)

    def _verdict(self, answer: Key | None, gold: Key | None, quick: bool | None) -> Verdict:
        if answer is None:
            return Verdict.UNPARSED
        if quick is None and isinstance(answer, Answer) and isinstance(gold, Answer):
            quick = comparing.alike(answer, gold, self._known)
            if quick is None:
                return Verdict.TIMED_OUT if self._is_late(answer, gold) else Verdict.UNDECIDED
        return Verdict.RIGHT if quick else Verdict.WRONG

    def _is_late(self, answer: Answer, gold: Answer) -> bool:
        """Whether a pair of formulas, of those that two answers hang on, ran into its limits."""
        pairs: set[LeafPair] = set()

        def note(pair: LeafPair) -> bool | None:
            pairs.add(pair)
            return self._known(pair)

        comparing.alike(answer, gold, note)
        return any(self._decided.get(pair) is None for pair in pairs)

    # Formulas --------------------------------------------------------------------------------------------------------

    def _known(self, pair: LeafPair) -> bool | None:
        decision = self._decided.get(pair)
        return decision if isinstance(decision, bool) else None

    def _settle(self, compare: Callable[[Decide], object]) -> None:
        """Decide the pairs of formulas that a comparison asks for and that are not known."""
        unknown_pairs: dict[LeafPair, None] = {}

        def decide(pair: LeafPair) -> bool | None:
            if pair not in self._decided:
                unknown_pairs[pair] = None
            return self._known(pair)

        compare(decide)
        if not unknown_pairs:
            return
        decided = self._pool.decide(list(unknown_pairs))
        self.undecided += sum(not isinstance(decision, bool) for decision in decided.values())
        if len(self._decided) + len(decided) > MEMO_LIMIT:
            self._decided.clear()
        self._decided |= decided

    def _parted(self, keys: Sequence[Key]) -> list[list[Key]]:
        answers = _answers(keys)
        if not answers:
            return [[key] for key in keys]
        same, alike = _tables(answers, self._known)
        groups = _cliques(range(len(answers)), lambda first, second: (first, second) in same)
        # an answer that is alike some of a group and not the rest stays apart from it, and joins no other instead
        joined = _cliques(
            [tuple(group) for group in groups],
            lambda first, second: any(_pair(i, j) in alike for i in first for j in second),
        )
        parts = [[i for group in together for i in group] for together in joined]
        whole = [all(_pair(i, j) in alike for i, j in combinations(part, 2)) for part in parts]
        final_parts = [
            [part] if is_whole else [list(group) for group in together]
            for part, is_whole, together in zip(parts, whole, joined, strict=True)
        ]
        return [[answers[i] for i in part] for part in chain.from_iterable(final_parts)]


def _answers(keys: Sequence[Key]) -> list[Answer]:
    """The keys, if more than their being equal tells which are the same; none for strings and plain numbers."""
    answers = [key for key in keys if isinstance(key, Answer)]
    plain = all(answer.is_number and len(answer.readings) == 1 for answer in answers)
    return [] if len(answers) < 2 or plain else answers


def _tables(answers: Sequence[Answer], decide: Decide) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The places of pairs that are the same as they stand, and of those that are alike."""
    pairs = list(combinations(range(len(answers)), 2))
    same = {(i, j) for i, j in pairs if comparing.same(answers[i], answers[j], decide)}
    return same, same | {(i, j) for i, j in pairs if comparing.alike(answers[i], answers[j], decide)}


def _pair(first: int, second: int) -> tuple[int, int]:
    return (first, second) if first < second else (second, first)


def _cliques(members: Iterable[T], linked: Callable[[T, T], bool]) -> list[list[T]]:
    """Members parted so that all of a part are linked, in an order that only hangs on the members' own.

    A connected part in which all are linked stays one. In any other part, those stay together that are linked to the
    same members: no chain of links puts two together that are not linked themselves.
    """
    listed = list(members)
    neighbours: dict[T, set[T]] = {member: {member} for member in listed}
    for first, second in combinations(listed, 2):
        if linked(first, second):
            neighbours[first].add(second)
            neighbours[second].add(first)
    parts: dict[frozenset[T], list[T]] = {}
    for member in listed:
        # in a part where all are linked, everyone has the same neighbours: the whole part
        parts.setdefault(frozenset(neighbours[member]), []).append(member)
    return list(parts.values())


def _numbered(keys: Sequence[Key | None], parts: Iterable[Sequence[Key]]) -> list[int | None]:
    """Numbers of the parts that the keys are in, by first appearance."""
    part_of = {key: place for place, part in enumerate(parts) for key in part}
    numbers: dict[int, int] = {}
    return [None if key is None else numbers.setdefault(part_of[key], len(numbers)) for key in keys]
