"""The mini task: generated arithmetic stories, small enough for models that a laptop can pretrain.

Splits are disjoint on the skeleton (the story without names and items, numbers kept): a hash of the skeleton assigns
it to one split, whatever the seed and the sizes. The lab's bases are pretrained on the bucket of the split `pretrain`,
which the recipe warm_up trains other bases on.
"""

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from w2s_core.errors import UserError
from w2s_core.tasks import Problem, unknown
from w2s_core.tasks.generated import apportion, read_options
from w2s_core.tasks.stories import Story, draw_story, solve, tell, write_solution

LEVELS = tuple(range(1, 8))
DEFAULT_LEVELS = {1: 1.0, 2: 2.0, 3: 3.0, 4: 3.0, 5: 3.0, 6: 3.0}
DEFAULT_SIZES = {"train_1": 1000, "train_2": 1000, "dev": 500, "test": 500, "pretrain": 1000}
BUCKETS = {"pretrain": 40, "train_1": 20, "train_2": 20, "dev": 10, "test": 10}
"""Shares of all skeletons, in per cent."""

_PATIENCE = 1000
"""Draws without a new skeleton after which a level counts as exhausted."""


def split_of(skeleton: str) -> str:
    """The only split that may hold this skeleton."""
    bucket = int.from_bytes(hashlib.sha256(skeleton.encode()).digest()[:8], "big") % 100
    for name, share in BUCKETS.items():
        bucket -= share
        if bucket < 0:
            return name
    raise AssertionError("the shares of BUCKETS add up to 100")


def draw_stories(rng: random.Random, level: int, split: str) -> Iterator[Story]:
    """Endless stories of one level whose skeletons belong to `split`; skeletons may come again."""
    while True:
        story = draw_story(rng, level)
        if split_of(story.skeleton) == split:
            yield story


@dataclass(frozen=True)
class MiniTask:
    """Stories of `levels` operations. The same options give the same problems on every machine.

    Attributes:
        sizes: problems a split.
        levels: level -> weight; the weights are shares once they are divided by their sum.
        seed: draws other stories, names and items, from the same buckets.
    """

    sizes: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_SIZES))
    levels: Mapping[int, float] = field(default_factory=lambda: dict(DEFAULT_LEVELS))
    seed: int = 0
    name: str = "mini"
    answer_rule: str = "gsm8k"
    splits: tuple[str, ...] = tuple(DEFAULT_SIZES)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> "MiniTask":
        """The task as an experiment sets it up.

        Options:
            train_1 (int >= 1; 1000): size of the split [questions]
            train_2 (int >= 1; 1000): size of the split [questions]
            dev (int >= 1; 500): size of the split [questions]
            test (int >= 1; 500): size of the split [questions]
            pretrain (int >= 1; 1000): size of the split that warm-ups read [questions]
            levels (list of int from 1 to 7, or level: weight; {1: 1, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3}): operations of a
                story, in equal shares or by weight
            seed (int >= 0; 0): draws other stories, names and items
        """
        settings = read_options("mini", options, DEFAULT_SIZES, DEFAULT_LEVELS, LEVELS)
        return cls(settings.sizes, settings.levels, settings.seed)

    def load(self, split: str) -> list[Problem]:
        """The problems of one split, in an order that mixes the levels.

        Raises:
            UserError: unknown split, or a level that has not enough distinct skeletons for the split's size.
        """
        if split not in self.sizes:
            raise UserError(f"task 'mini': {unknown('split', split, list(self.splits))}")
        rng = random.Random(f"mini-{self.seed}-{split}")
        stories = [
            story
            for level, count in apportion(self.sizes[split], self.levels).items()
            for story in self._distinct(rng, level, split, count)
        ]
        rng.shuffle(stories)
        return [_problem(f"{split}-{i:05d}", story, tell(rng, story)) for i, story in enumerate(stories)]

    def _distinct(self, rng: random.Random, level: int, split: str, count: int) -> list[Story]:
        """`count` stories of one level, no two with the same skeleton."""
        stories: dict[str, Story] = {}
        misses = 0
        for story in draw_stories(rng, level, split):
            if len(stories) == count:
                break
            skeleton = story.skeleton
            misses = misses + 1 if skeleton in stories else 0
            stories.setdefault(skeleton, story)
            if misses > _PATIENCE:
                raise UserError(
                    f"task 'mini': level {level} has only about {len(stories)} distinct skeletons for split '{split}', "
                    f"{count} are wanted: lower {split}, or give level {level} a smaller weight in levels"
                )
        return list(stories.values())


def _problem(name: str, story: Story, question: str) -> Problem:
    answer, steps = solve(story)
    return Problem(name, question, str(answer), write_solution(answer, steps), story.level, story.template)
