"""Pretraining documents: several questions and answers of one author, as a few-shot prompt would show them."""

import random
from collections.abc import Iterator, Sequence

from w2s_core.lab.authors import AuthorKind, draw_author
from w2s_core.lab.domains import DOMAINS
from w2s_core.prompting import few_shot_prefix


def documents(
    seed: str,
    task: str,
    kinds: Sequence[AuthorKind],
    traits: dict[str, float],
    levels: dict[int, float],
    questions: int,
) -> Iterator[str]:
    """Endless documents of `questions` questions each, of skeletons that no split of the task holds.

    The same seed gives the same documents on every machine. `traits` maps a trait to its weight (1.0 where it is not
    named), `levels` a level to its weight.
    """
    rng = random.Random(f"corpus-{seed}")
    domain = DOMAINS[task]
    streams = {level: domain.draw(rng, level, "pretrain") for level in sorted(levels)}
    weights = [levels[level] for level in sorted(levels)]
    while True:
        author = draw_author(rng, kinds, traits, domain.traits)
        chosen = rng.choices(sorted(levels), weights, k=questions)
        problems = [next(streams[level]) for level in chosen]
        yield few_shot_prefix(
            [
                (domain.tell(rng, problem), domain.write(problem, author.draw_traits(rng)))
                for problem in problems
            ]
        )
