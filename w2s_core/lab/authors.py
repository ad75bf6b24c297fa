"""Authors of the pretraining texts: how careful they are, and in which ways they err.

A base model that has read many authors can solve the problems, but asked zero-shot it answers like a mixture of them.
Demonstrations tell it which author to be, and fine-tuning on right answers draws out the careful one: the latent
ability that weak-to-strong training is to elicit. Errors are traits, not noise: an author who has one makes it
wherever it applies (with a probability of the author's kind), so that it can be recognised from context. Which traits
there are is for the domain to say (`domains.py`).
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class AuthorKind:
    """A share of the authors.

    Attributes:
        share: weight among the kinds.
        trait: probability that an author of this kind has a trait (scaled by the recipe's weight of the trait).
        applies: probability that a trait shows where it could.
    """

    share: float
    trait: float
    applies: float


@dataclass(frozen=True)
class Author:
    """One author: the author's traits, and how often they show."""

    traits: frozenset[str]
    applies: float

    def draw_traits(self, rng: random.Random) -> frozenset[str]:
        """The traits that show in the next solution."""
        return frozenset(name for name in sorted(self.traits) if rng.random() < self.applies)


def draw_author(
    rng: random.Random, kinds: Sequence[AuthorKind], weights: dict[str, float], traits: Iterable[str]
) -> Author:
    """An author of a random kind, with each of the domain's traits independently."""
    kind = rng.choices(kinds, [kind.share for kind in kinds])[0]
    had = [name for name in traits if rng.random() < kind.trait * weights.get(name, 1.0)]
    return Author(frozenset(had), kind.applies)
