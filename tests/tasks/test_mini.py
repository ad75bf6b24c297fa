"""The mini task: right answers, honest levels, splits that share no skeleton, the same data everywhere."""

import hashlib
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.reader import answer
from w2s_core.errors import UserError
from w2s_core.tasks import Problem, load_task
from w2s_core.tasks.mini import BUCKETS, DEFAULT_LEVELS, DEFAULT_SIZES, LEVELS, draw_stories, split_of
from w2s_core.tasks.stories import (
    KINDS,
    OutOfRange,
    Story,
    arithmetic,
    checked_arithmetic,
    draw_story,
    solve,
    tell,
)

SMALL = {"train_1": 60, "train_2": 60, "dev": 40, "test": 40}


def digest(problems: list[Problem]) -> str:
    return hashlib.sha256(repr(problems).encode()).hexdigest()


def bare(question: str) -> str:
    """The question's skeleton as a reader sees it: people and things by order of appearance, numbers kept."""
    names: dict[str, str] = {}
    things = re.findall(r"How many (\w+)", question)
    text = question.replace(things[0], "things")
    text = re.sub(r"\b(She|He|she|he)\b", "they", re.sub(r"\b(her|him)\b", "them", text))
    skip = {"How", "Then", "they"}
    return re.sub(
        r"\b[A-Z][a-z]+\b", lambda m: m[0] if m[0] in skip else names.setdefault(m[0], f"P{len(names)}"), text
    )


@given(level=st.sampled_from(LEVELS), seed=st.integers(0, 10**9))
def test_text_and_solution_agree(level: int, seed: int) -> None:
    rng = random.Random(seed)
    story = draw_story(rng, level)
    text = tell(rng, story)
    value, steps = solve(story)
    assert answer(text) == value
    assert len(steps) == story.level == level
    for step in steps:
        left, sign, right, result = re.fullmatch(r"(\d+) ([-+*/]) (\d+) = (\d+)\.", step).groups()  # type: ignore[union-attr]
        assert {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}.get(
            sign, int(left) / int(right)
        ) == int(result)


def test_every_kind_of_clause_occurs_and_only_from_its_level() -> None:
    rng = random.Random(3)
    seen: Counter[str] = Counter()
    for level in LEVELS:
        for _ in range(400):
            for clause in draw_story(rng, level).clauses:
                seen[clause.kind] += 1
                assert KINDS[clause.kind].from_level <= level
    assert set(seen) == set(KINDS)


def test_reader_notices_a_wrong_answer() -> None:
    question = (
        "Ann had 3 boxes of 4 pens. Bob had 6 pens. She lent 5 to Leo. How many pens did they have together?"
    )
    assert answer(question) == 13
    assert answer(question.replace("together", "then").replace("did they", "did Ann")) == 7


def test_checked_arithmetic_refuses_fractions_and_range() -> None:
    assert arithmetic(7, "/", 2) == 3
    for left, sign, right in [(7, "/", 2), (3, "-", 3), (60, "+", 2), (9, "*", 9)]:
        with pytest.raises(OutOfRange):
            checked_arithmetic(left, sign, right)


def test_problem_fields() -> None:
    task = load_task("mini", SMALL)
    assert task.answer_rule == "gsm8k"
    for problem in task.load("dev"):
        assert problem.solution.endswith(f"\n#### {problem.gold}")
        assert problem.solution.count("=") == problem.level
        assert answer(problem.question) == int(problem.gold)
        assert not re.search(r"\d", problem.template)


def test_default_sizes_levels_and_unique_ids() -> None:
    task = load_task("mini")
    ids = set()
    for split, size in DEFAULT_SIZES.items():
        problems = task.load(split)
        assert len(problems) == size
        levels = Counter(p.level for p in problems)
        whole = sum(DEFAULT_LEVELS.values())
        for level, weight in DEFAULT_LEVELS.items():
            assert abs(levels[level] - size * weight / whole) < 1
        ids |= {p.id for p in problems}
    assert len(ids) == sum(DEFAULT_SIZES.values())


@settings(max_examples=15, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 10**6), min_size=5, max_size=5),
    levels=st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4, unique=True),
    size=st.integers(5, 40),
)
def test_splits_share_no_skeleton_whatever_seed_and_size(
    seeds: list[int], levels: list[int], size: int
) -> None:
    """Even where each split is drawn with a seed of its own; the skeleton is taken from the text, not from our code."""
    seen: dict[str, str] = {}
    for split, seed in zip(DEFAULT_SIZES, seeds, strict=True):
        options = {"levels": levels, "seed": seed, split: size}
        problems = load_task("mini", options).load(split)
        skeletons = {bare(p.question) for p in problems}
        assert len(skeletons) == len(problems) == size, "no two problems of a split share a skeleton"
        for skeleton in skeletons:
            assert seen.setdefault(skeleton, split) == split


def test_pretraining_stories_lie_in_their_own_bucket() -> None:
    splits = load_task("mini", SMALL)
    taken = {bare(p.question) for split in SMALL for p in splits.load(split)}
    rng = random.Random(0)
    for level in (1, 2, 3):
        stream = draw_stories(rng, level, "pretrain")
        stories: list[Story] = [next(stream) for _ in range(400)]
        assert not taken & {bare(tell(rng, story)) for story in stories}


def test_buckets_are_filled_by_their_shares() -> None:
    assert sum(BUCKETS.values()) == 100
    counts = Counter(split_of(f"skeleton {i}") for i in range(5000))
    for split, share in BUCKETS.items():
        assert abs(counts[split] / 50 - share) < 3


def test_same_options_same_data_in_another_process() -> None:
    script = (
        "import hashlib; from w2s_core.tasks import load_task; "
        "problems = load_task('mini', {'train_1': 60, 'seed': 5}).load('train_1'); "
        "print(hashlib.sha256(repr(problems).encode()).hexdigest())"
    )
    ours = digest(load_task("mini", {"train_1": 60, "seed": 5}).load("train_1"))
    for salt in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": salt, "PATH": ""},
        )
        assert run.stdout.strip() == ours


def test_seed_changes_the_problems() -> None:
    one, other = (load_task("mini", {**SMALL, "seed": seed}).load("dev") for seed in (0, 1))
    assert not {p.question for p in one} & {p.question for p in other}


def test_levels_as_list_and_as_json_mapping() -> None:
    listed = load_task("mini", {**SMALL, "levels": [2, 5]}).load("dev")
    assert Counter(p.level for p in listed) == {2: 20, 5: 20}
    weighted = load_task("mini", {**SMALL, "levels": {"2": 3, "5": 1}}).load("dev")
    assert Counter(p.level for p in weighted) == {2: 30, 5: 10}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"trian_1": 5}, "did you mean 'train_1'?"),
        ({"train_1": 0}, "whole number of at least 1"),
        ({"train_1": 2.5}, "whole number"),
        ({"dev": True}, "whole number"),
        ({"seed": -1}, "'seed'"),
        ({"levels": []}, "is empty"),
        ({"levels": [9]}, "levels from 1 to 7"),
        ({"levels": [2, 2]}, "distinct levels"),
        ({"levels": {"2": -1}}, "above 0"),
        ({"levels": "all"}, "must be a list"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, object], wanted: str) -> None:
    with pytest.raises(UserError, match=re.escape(wanted)) as caught:
        load_task("mini", options)
    assert "\n" not in str(caught.value)


def test_unknown_task_and_split() -> None:
    with pytest.raises(UserError, match="did you mean 'mini'"):
        load_task("mimi", {})
    with pytest.raises(UserError, match="did you mean 'train_1'"):
        load_task("mini", {}).load("train1")


def test_exhausted_level_is_a_clear_error() -> None:
    with pytest.raises(UserError, match=r"level 1 has only about \d+ distinct .* 'dev', 2000 are wanted"):
        load_task("mini", {"levels": [1], "dev": 2000}).load("dev")


def test_tasks_import_no_torch() -> None:
    script = (
        "import sys, w2s_core.tasks.mini; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
