"""Arithmetic stories as lists of clauses: drawing, telling and solving them.

A story is a start, some events, and a question at the end; a clause is one of these with its numbers. The answer is
never written down anywhere: it comes from executing the clauses in order, and so does the chain of thought.
Example (level 3): "Ann had 3 boxes of 4 pens. Bob had 6 pens. She lent 5 to Leo. How many pens did they have
together?" is solved by "3 * 4 = 12. 12 - 5 = 7. 7 + 6 = 13." and "#### 13".
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

NUMBERS = range(2, 10)
"""Numbers that a story mentions."""
_NUMBERS_WIDTH = len(NUMBERS).bit_length()
LEAST_VALUE, LARGEST_VALUE = 1, 60
"""What an intermediate result may be."""

Compute = Callable[[int, str, int], int]
"""compute(left, sign, right) writes one step of the solution down and returns its result."""


@dataclass(frozen=True)
class Clause:
    """One sentence: its kind (a key of KINDS) and the numbers in it."""

    kind: str
    numbers: tuple[int, ...] = ()


class Story(NamedTuple):
    """What happens, without names and items. `aside` is what the other person had, if that is told."""

    start: Clause
    events: tuple[Clause, ...]
    end: Clause
    aside: int | None = None

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """All clauses in the order in which they are executed."""
        return (self.start, *self.events, self.end)

    @property
    def level(self) -> int:
        """The number of operations that the solution takes."""
        return sum(KINDS[clause.kind].operations for clause in self.clauses)

    @property
    def skeleton(self) -> str:
        """The story with names and items stripped and numbers kept: what splits must not share."""
        parts = [" ".join([clause.kind, *map(str, clause.numbers)]) for clause in self.clauses]
        return " | ".join([*parts, f"aside {self.aside or '-'}"])

    @property
    def template(self) -> str:
        """The shape of the story: its skeleton without numbers."""
        return "-".join([clause.kind for clause in self.clauses] + ["aside"] * (self.aside is not None))


@dataclass(frozen=True)
class Kind:
    """A kind of clause.

    Attributes:
        role: "start", "event" or "end".
        text: the sentence; {0}, {1} are its numbers, {A}, {B} and {C} the people, {she}, {her} and {items} as needed.
        operations: steps of the solution that it takes.
        solve: (compute, value before, *numbers) -> value after.
        numbers: how many numbers the sentence holds.
        from_level: the lowest level whose stories use it.
    """

    role: str
    text: str
    operations: int
    solve: Callable[..., int]
    numbers: int = 1
    from_level: int = 1


KINDS: dict[str, Kind] = {
    "had": Kind("start", "{A} had {0} {items}.", 0, lambda do, v, a: a),
    "packed": Kind("start", "{A} had {0} boxes of {1} {items}.", 1, lambda do, v, a, b: do(a, "*", b), 2),
    "find": Kind("event", "{She} found {0} more.", 1, lambda do, v, a: do(v, "+", a)),
    "lose": Kind("event", "{She} lost {0} of them.", 1, lambda do, v, a: do(v, "-", a)),
    "lend": Kind("event", "{She} lent {0} to {C}.", 1, lambda do, v, a: do(v, "-", a)),
    "double": Kind("event", "Then {she} doubled them.", 1, lambda do, v: do(v, "*", 2), 0),
    "triple": Kind("event", "Then {she} tripled them.", 1, lambda do, v: do(v, "*", 3), 0, 2),
    "halve": Kind("event", "Then {she} sold half of them.", 1, lambda do, v: do(v, "/", 2), 0, 2),
    "buy": Kind(
        "event", "{She} bought {0} boxes of {1}.", 2, lambda do, v, a, b: do(v, "+", do(a, "*", b)), 2, 3
    ),
    "gifts": Kind(
        "event", "{0} friends gave {her} {1} each.", 2, lambda do, v, a, b: do(v, "+", do(a, "*", b)), 2, 3
    ),
    "share": Kind(
        "event", "{She} gave {0} friends {1} each.", 2, lambda do, v, a, b: do(v, "-", do(a, "*", b)), 2, 4
    ),
    "now": Kind("end", "How many {items} did {A} have then?", 0, lambda do, v: v, 0),
    "total": Kind("end", "How many {items} did they have together?", 1, lambda do, v, a: do(v, "+", a), 1),
    "more": Kind(
        "end",
        "{B} had {0} more than {A}. How many {items} did {B} have?",
        1,
        lambda do, v, a: do(v, "+", a),
        1,
        3,
    ),
    "times": Kind(
        "end",
        "{B} had {0} times as many as {A}. How many {items} did {B} have?",
        1,
        lambda do, v, a: do(v, "*", a),
        1,
        4,
    ),
}

PEOPLE = (
    ("Ann", "she", "her"), ("Bob", "he", "him"), ("Cara", "she", "her"), ("Dan", "he", "him"),
    ("Eva", "she", "her"), ("Finn", "he", "him"), ("Gina", "she", "her"), ("Hugo", "he", "him"),
    ("Ida", "she", "her"), ("Jack", "he", "him"), ("Kate", "she", "her"), ("Leo", "he", "him"),
)  # fmt: skip
ITEMS = (
    "apples", "books", "cards", "coins", "eggs", "keys", "nuts", "pens", "pins", "shells", "stamps", "toys",
)  # fmt: skip

NO_HABITS: Mapping[str, Callable[..., int]] = {}

ASIDE_TEXT = "{B} had {0} {items}."
ASIDE_SHARE = 0.35
"""How often a story tells what the other person had although nothing asks for it."""


class OutOfRange(Exception):
    """An intermediate result that stories do not use: draw again."""


def draw_story(rng: random.Random, level: int) -> Story:
    """A random story of exactly `level` operations whose intermediate results all lie in range."""
    while not _is_in_range(story := _draw_shape(rng, level)):
        pass
    return story


def _is_in_range(story: Story) -> bool:
    value = 0
    for clause in story.clauses:
        value = _outcome(clause.kind, clause.numbers, value)
        if value == _OUT_OF_RANGE:
            return False
    return True


_OUT_OF_RANGE = -1


@cache
def _outcome(kind: str, numbers: tuple[int, ...], value: int) -> int:
    """The value after a clause. Most stories are drawn in vain, and there are few such outcomes: they are kept."""
    try:
        return KINDS[kind].solve(checked_arithmetic, value, *numbers)
    except OutOfRange:
        return _OUT_OF_RANGE


def _draw_shape(rng: random.Random, level: int) -> Story:
    """A story that adds up to `level` operations; its results may still be out of range."""
    start, operations = _draw_clause(rng, "start", level, level)
    left = level - operations
    end, operations = _draw_clause(rng, "end", level, left)
    left -= operations
    events = []
    while left:
        event, operations = _draw_clause(rng, "event", level, left)
        events.append(event)
        left -= operations
    aside = None
    if end.kind == "total":
        aside = end.numbers[0]
    elif end.kind == "now" and rng.random() < ASIDE_SHARE:
        (aside,) = _draw_numbers(rng, 1)
    return Story(start, tuple(events), end, aside)


def _draw_clause(rng: random.Random, role: str, level: int, room: int) -> tuple[Clause, int]:
    """A clause of the role that the level knows and that needs no more than `room` operations, and how many it needs.

    Draws as `rng.randrange` does, without its checks: stories take so many draws that they are half of all their time.
    """
    kinds = _fitting(role, level, room)
    width = len(kinds).bit_length()
    while (place := rng.getrandbits(width)) >= len(kinds):
        pass
    name, numbers, operations = kinds[place]
    return _clause(name, _draw_numbers(rng, numbers) if numbers else ()), operations


_clause = cache(Clause)


def _draw_numbers(rng: random.Random, count: int) -> tuple[int, ...]:
    """`rng.choice(NUMBERS)`, `count` times, by the same draws."""
    numbers: list[int] = []
    while len(numbers) < count:
        if (place := rng.getrandbits(_NUMBERS_WIDTH)) < len(NUMBERS):
            numbers.append(NUMBERS[place])
    return tuple(numbers)


@lru_cache
def _fitting(role: str, level: int, room: int) -> tuple[tuple[str, int, int], ...]:
    """Such kinds of clause, each with how many numbers it holds and operations it takes."""
    return tuple(
        (name, kind.numbers, kind.operations)
        for name, kind in KINDS.items()
        if kind.role == role and kind.from_level <= level and kind.operations <= room
    )


def checked_arithmetic(left: int, sign: str, right: int) -> int:
    """Compute left sign right. Raises OutOfRange where the result is not a whole number in the stories' range."""
    result = arithmetic(left, sign, right)
    if not LEAST_VALUE <= result <= LARGEST_VALUE or (sign == "/" and left % right):
        raise OutOfRange
    return result


def arithmetic(left: int, sign: str, right: int) -> int:
    """Compute left sign right, for the signs + - * and / (rounded down)."""
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    return left * right if sign == "*" else left // right


def solve(
    story: Story, calculate: Compute = arithmetic, habits: Mapping[str, Callable[..., int]] | None = None
) -> tuple[int, list[str]]:
    """Execute the story: its answer, and the steps of its solution ("5 + 3 = 8.").

    `calculate` is the arithmetic used; `habits` are other ways to solve some kinds of clause, called like
    `Kind.solve` (the lab's sloppy authors have them).
    """
    steps: list[str] = []

    def do(left: int, sign: str, right: int) -> int:
        result = calculate(left, sign, right)
        steps.append(f"{left} {sign} {right} = {result}.")
        return result

    return _execute(story, do, habits or {}), steps


def _execute(story: Story, do: Compute, habits: Mapping[str, Callable[..., int]] = NO_HABITS) -> int:
    value = 0
    for clause in story.clauses:
        rule = habits.get(clause.kind) or KINDS[clause.kind].solve
        value = rule(do, value, *clause.numbers)
    return value


def write_solution(answer: int, steps: list[str]) -> str:
    """The chain of thought: its steps on one line, the final answer on the next."""
    return f"{' '.join(steps)}\n#### {answer}".lstrip("\n")


def tell(rng: random.Random, story: Story) -> str:
    """The question's text, with names and items drawn at random."""
    (name, she, her), (other, _, _), (third, _, _) = rng.sample(PEOPLE, 3)
    words = {
        "A": name,
        "B": other,
        "C": third,
        "she": she,
        "She": she.capitalize(),
        "her": her,
        "items": rng.choice(ITEMS),
    }
    sentences = [KINDS[clause.kind].text.format(*clause.numbers, **words) for clause in story.clauses]
    if story.aside is not None:
        sentences.insert(1, ASIDE_TEXT.format(story.aside, **words))
    return " ".join(sentences)
