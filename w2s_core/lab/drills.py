"""Drills: facts and rules, repeated in other orders. Every base of the deduction lab reads them first.

A model of a few hundred thousand parameters that starts on stories read a million tokens of them and learned to look
nothing up. In a drill a third of the answer's tokens are look-ups, and little else is to be learned: at 128 dimensions
the skill came suddenly, after 1.3 million tokens, and stories can build on it. A drill answers no question, so it shows
neither careful nor careless reasoning.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from w2s_core.tasks.deduction import PEOPLE, PROPERTIES
from w2s_core.tasks.deduction_search import tell_world
from w2s_core.tasks.facts_and_rules import Rule, World

SIZES = (2, 3, 4, 5, 6, 7, 8)
"""Rules of a drill: its levels."""
ROUNDS = 4


@dataclass(frozen=True)
class Drill:
    """A world without a question, and its facts and rules as pairs in the order in which they are repeated."""

    world: World
    repeated: tuple[tuple[str, str], ...]


def draw_drills(rng: random.Random, size: int, _: str) -> Iterator[Drill]:
    """Endless drills of `size` rules. No split holds a world like these, so no bucket keeps them apart."""
    while True:
        rules = tuple(zip(rng.sample(PROPERTIES, size), rng.sample(PROPERTIES, size), strict=True))
        facts = tuple(zip(rng.sample(PEOPLE, 2), rng.sample(PROPERTIES, 2), strict=True))
        repeated = [pair for _ in range(ROUNDS) for pair in rng.sample(facts + rules, len(facts + rules))]
        world = World(facts, tuple(Rule((premise,), conclusion) for premise, conclusion in rules), facts[0])
        yield Drill(world, tuple(repeated))


def tell_drill(drill: Drill) -> str:
    """The facts and rules in their order."""
    return tell_world(drill.world)


def write_drill(drill: Drill) -> str:
    """The same, repeated: "Bimo dax, fep mip, ..."."""
    return ", ".join(f"{subject} {prop}" for subject, prop in drill.repeated) + "."
