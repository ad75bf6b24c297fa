"""Domains of a lab's texts: a generated task's problems, their wording, and the errors that authors make."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from w2s_core.lab import drills, story_traits
from w2s_core.tasks import deduction, deduction_search, mini, stories

Problem = Any
"""A story or a world, as the task's own functions take it."""


@dataclass(frozen=True)
class Domain:
    """A generated task as pretraining sees it.

    Attributes:
        traits: the ways to err, in the order in which authors draw them.
        levels: those that can be drawn.
        draw: endless problems of one level, of skeletons in a bucket.
        tell: the question's text.
        write: the solution of an author who shows some traits.
        texts: words and signs that questions and solutions are made of, braces around what is filled in.
        names: words that are filled in.
    """

    traits: tuple[str, ...]
    levels: tuple[int, ...]
    draw: Callable[[random.Random, int, str], Iterator[Problem]]
    tell: Callable[[random.Random, Problem], str]
    write: Callable[[Problem, frozenset[str]], str]
    texts: tuple[str, ...]
    names: frozenset[str]


DOMAINS = {
    "mini": Domain(
        traits=tuple(story_traits.TRAITS),
        levels=mini.LEVELS,
        draw=mini.draw_stories,
        tell=stories.tell,
        write=story_traits.write_story,
        texts=(*(kind.text for kind in stories.KINDS.values()), stories.ASIDE_TEXT),
        names=frozenset(
            {word for person in stories.PEOPLE for word in (*person, person[1].capitalize())}
            | set(stories.ITEMS)
        ),
    ),
    "deduction": Domain(
        traits=deduction_search.FAULTS,
        levels=deduction.LEVELS,
        draw=deduction.draw_worlds,
        tell=lambda _, world: deduction_search.tell_brief(world),
        write=deduction_search.write_search,
        texts=("Every {} and {} not {}.", "Nothing else follows.", *deduction.ANSWERS),
        names=frozenset({*deduction.PEOPLE, *deduction.PROPERTIES}),
    ),
}
"""By the name of the task. Deductions are read and written in the brief wording."""

DOMAINS["drills"] = replace(
    DOMAINS["deduction"],
    traits=(),
    levels=drills.SIZES,
    draw=drills.draw_drills,
    tell=lambda _, drill: drills.tell_drill(drill),
    write=lambda drill, _: drills.write_drill(drill),
)
