"""How authors of arithmetic stories err: each trait solves some kinds of clause in its own way."""

from collections.abc import Callable, Set

from w2s_core.tasks.stories import Clause, Story, arithmetic, solve, write_solution

Rule = Callable[..., int]

TRAITS: dict[str, dict[str, Rule]] = {
    "lending_is_gain": {"lend": lambda do, v, a: do(v, "+", a)},
    "one_box_only": {
        "packed": lambda do, v, a, b: b,
        "buy": lambda do, v, a, b: do(v, "+", b),
    },
    "one_friend_only": {
        "gifts": lambda do, v, a, b: do(v, "+", b),
        "share": lambda do, v, a, b: do(v, "-", b),
    },
    "multiply_is_add": {
        "double": lambda do, v: do(v, "+", 2),
        "triple": lambda do, v: do(v, "+", 3),
        "times": lambda do, v, a: do(v, "+", a),
    },
    "half_is_two": {"halve": lambda do, v: do(v, "-", 2)},
    "other_person_skipped": {
        "total": lambda do, v, a: v,
        "more": lambda do, v, a: v,
    },
    "aside_added": {},
    "carry_dropped": {},
}
"""Trait -> the kinds of clause that it solves in its own way. The last two do not belong to a kind of clause."""


def write_story(story: Story, traits: Set[str]) -> str:
    """The story's solution by an author who shows these traits; its final answer follows from its steps."""
    habits = {kind: rule for name in sorted(traits) for kind, rule in TRAITS[name].items()}
    if story.aside is not None and "aside_added" in traits:
        habits.setdefault("now", _adding(story.aside))
    calculate = _without_carry if "carry_dropped" in traits else _not_below_zero
    return write_solution(*solve(story, calculate, habits))


def touches(trait: str, story: Story) -> bool:
    """Whether the trait changes the way in which this story is solved (carrying aside: that depends on the numbers)."""
    if trait == "aside_added":
        return story.aside is not None and story.end == Clause("now")
    return any(clause.kind in TRAITS[trait] for clause in story.clauses)


def _adding(aside: int) -> Rule:
    return lambda do, v: do(v, "+", aside)


def _not_below_zero(left: int, sign: str, right: int) -> int:
    """Right arithmetic; an author whose earlier step went wrong may get below zero, and writes 0 there."""
    return max(0, arithmetic(left, sign, right))


def _without_carry(left: int, sign: str, right: int) -> int:
    """As above, but tens that should be carried (or borrowed) in a sum or difference are forgotten."""
    if sign == "+" and left % 10 + right % 10 >= 10:
        return left + right - 10
    if sign == "-" and left % 10 < right % 10 and left >= right:
        return left - right + 10
    return _not_below_zero(left, sign, right)
