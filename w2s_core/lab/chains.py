"""Chains: the smallest deductions, for the first steps of pretraining.

In a full story nearly every property stands somewhere, and a model of a few hundred thousand parameters reads a
million tokens of them without learning to look anything up. Where one person has one property and few rules lead on
from it, it learns to within a few hundred steps, and goes on to stories from there.
"""

import random
from collections.abc import Iterator

from w2s_core.tasks.deduction import PEOPLE, PROPERTIES
from w2s_core.tasks.facts_and_rules import Rule, World

LENGTHS = (1, 2, 3)


def draw_chains(rng: random.Random, length: int, _: str) -> Iterator[World]:
    """Endless chains of `length` rules from the person's one property; a third each is true, false and unknown.

    No split of the task holds a story like these, so no bucket is needed to keep them apart.
    """
    while True:
        *chain, other, strange = rng.sample(PROPERTIES, length + 3)
        who, neighbour = rng.sample(PEOPLE, 2)
        answer = rng.choice(("true", "false", "unknown"))
        rules = [Rule((chain[i],), chain[i + 1], answer != "false" or i < length - 1) for i in range(length)]
        facts = [(who, chain[0]), (neighbour, other)]
        rng.shuffle(rules)
        rng.shuffle(facts)
        yield World(tuple(facts), tuple(rules), (who, strange if answer == "unknown" else chain[-1]))
