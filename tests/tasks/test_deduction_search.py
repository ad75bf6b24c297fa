"""The brief wording: a search that finds what brute force finds, and faults that show where they should."""

import random
import re
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_core.answers.extract import extract
from w2s_core.errors import UserError
from w2s_core.tasks import load_task
from w2s_core.tasks.deduction import ANSWERS, LEVELS, build, draw_plan, name_all, solve
from w2s_core.tasks.deduction_search import FAULTS, search, tell_brief, write_search
from w2s_core.tasks.facts_and_rules import Rule, World

BRIEF_RULE = re.compile(r"Every (\w+)(?: and (\w+))? (not )?(\w+)\.")
BRIEF_FACT = re.compile(r"([A-Z]\w+) (\w+)\.")
BRIEF_ASKED = re.compile(r"(\w+) (\w+)\?$")
SENTENCE = re.compile(r"([A-Z]\w+) ([a-z]+)((?: (?:and [a-z]+ )?(?:not )?[a-z]+)*)\.")
seeds = st.integers(0, 10**9)


def draw(seed: int, level: int, answer: str) -> World:
    rng = random.Random(seed)
    return name_all(rng, build(draw_plan(rng, level, answer)))


def closure(question: str) -> str:
    """The answer by brute force from the question's text alone: apply every rule until nothing changes."""
    asked = BRIEF_ASKED.search(question)
    assert asked
    told = BRIEF_RULE.sub("", question)
    known = {what for who, what in BRIEF_FACT.findall(told) if who == asked[1]}
    denied: set[str] = set()
    while True:
        before = len(known) + len(denied)
        for first, second, negated, head in BRIEF_RULE.findall(question):
            if {first, second or first} <= known:
                (denied if negated else known).add(head)
        if len(known) + len(denied) == before:
            break
    return "true" if asked[2] in known else "false" if asked[2] in denied else "unknown"


@given(seeds, st.sampled_from(LEVELS), st.sampled_from(ANSWERS))
def test_the_search_without_faults_ends_in_what_brute_force_finds(seed: int, level: int, answer: str) -> None:
    world = draw(seed, level, answer)
    solution = write_search(world)
    assert extract(solution, "gsm8k") == closure(tell_brief(world)) == solve(world)[0] == answer


@given(seeds, st.sampled_from(LEVELS), st.sampled_from(ANSWERS))
def test_each_step_of_the_search_follows_from_what_stands_before_it(
    seed: int, level: int, answer: str
) -> None:
    world = draw(seed, level, answer)
    person, asked = world.asked
    known = {what for who, what in world.facts if who == person}
    told = [what for who, what in world.facts if who == person]
    _, chains = search(world)
    applied: list[Rule] = []
    for start, path in chains:
        here = start
        assert here in known
        for rule in path:
            assert here in rule.body
            assert known.issuperset(rule.body)
            assert rule in world.rules
            known.add(rule.head)
            applied.append(rule)
            here = rule.head
    assert len(applied) == len(set(applied)), "no rule twice"
    if answer == "unknown":
        assert [start for start in dict.fromkeys(start for start, _ in chains) if start in told] == told
        assert all(rule in applied for rule in world.rules if known.issuperset(rule.body)), (
            "nothing is left out"
        )
    else:
        assert applied[-1].head == asked, "it ends once the question is decided"


@settings(max_examples=200)
@given(seeds, st.sampled_from(LEVELS), st.sampled_from(ANSWERS), st.sets(st.sampled_from(FAULTS)))
def test_a_faulty_search_is_still_well_formed(seed: int, level: int, answer: str, faults: set[str]) -> None:
    world = draw(seed, level, answer)
    reasoning, _, last = write_search(world, faults).rpartition("\n")
    given = last.removeprefix("#### ")
    assert given in ANSWERS
    told = reasoning.removesuffix("Nothing else follows.").strip()
    sentences = SENTENCE.findall(told)
    assert " ".join(f"{who} {start}{links}." for who, start, links in sentences) == told
    assert {who for who, _, _ in sentences} == {world.asked[0]}
    if "unknown_is_false" in faults:
        assert given != "unknown"
    if "negation_dropped" in faults:
        assert " not " not in told


BIMO = (("Bimo", "dax"), ("Cael", "kiv"))
TWO = Rule(("dax", "kiv"), "fep")


@pytest.mark.parametrize(
    ("fault", "world", "right", "wrong"),
    [
        (
            "negation_dropped",
            World(BIMO, (Rule(("dax",), "fep", positive=False),), ("Bimo", "fep")),
            "Bimo dax not fep.\n#### false",
            "Bimo dax fep.\n#### true",
        ),
        (
            "second_premise_ignored",
            World(BIMO, (TWO,), ("Bimo", "fep")),
            "Bimo dax. Nothing else follows.\n#### unknown",
            "Bimo dax fep.\n#### true",
        ),
        (
            "others_counted",
            World(BIMO, (TWO,), ("Bimo", "fep")),
            "Bimo dax. Nothing else follows.\n#### unknown",
            "Bimo dax and kiv fep.\n#### true",
        ),
        (
            "first_fact_only",
            World((("Bimo", "mip"), ("Bimo", "dax")), (Rule(("dax",), "fep"),), ("Bimo", "fep")),
            "Bimo mip. Bimo dax fep.\n#### true",
            "Bimo mip. Nothing else follows.\n#### unknown",
        ),
        (
            "two_rules_only",
            World(BIMO, (Rule(("b",), "c"), Rule(("dax",), "a"), Rule(("a",), "b")), ("Bimo", "c")),
            "Bimo dax a b c.\n#### true",
            "Bimo dax a b. Nothing else follows.\n#### unknown",
        ),
        (
            "unknown_is_false",
            World(BIMO, (TWO,), ("Bimo", "fep")),
            "Bimo dax. Nothing else follows.\n#### unknown",
            "Bimo dax. Nothing else follows.\n#### false",
        ),
    ],
    ids=FAULTS,
)
def test_each_fault_by_hand(fault: str, world: World, right: str, wrong: str) -> None:
    assert write_search(world) == right
    assert write_search(world, {fault}) == wrong


def test_of_two_rules_the_first_told_is_followed_to_its_end_and_the_other_then() -> None:
    rules = (Rule(("dax",), "a"), Rule(("a",), "b"), Rule(("dax",), "c"))
    world = World(BIMO, rules, ("Bimo", "c"))
    assert write_search(world) == "Bimo dax a b. Bimo dax c.\n#### true"


def test_every_fault_costs_right_answers() -> None:
    worlds = [draw(i, 3, ANSWERS[i % 3]) for i in range(150)]
    for fault in FAULTS:
        right = Counter(search(world, {fault})[0] == solve(world)[0] for world in worlds)
        assert 0.2 < right[True] / right.total() < 0.8, fault


def test_the_brief_task_has_the_balance_and_the_disjoint_splits_of_the_full_one() -> None:
    sizes = {"train_1": 60, "train_2": 60, "dev": 60, "test": 60}
    task = load_task("deduction", {**sizes, "wording": "brief", "levels": [1, 4]})
    told = {split: task.load(split) for split in sizes}
    for one, other in combinations(told.values(), 2):
        assert not {p.template for p in one} & {p.template for p in other}
    for problems in told.values():
        assert Counter((p.level, p.gold) for p in problems) == {(n, a): 10 for n in (1, 4) for a in ANSWERS}
        assert all(closure(p.question) == p.gold == extract(p.solution, "gsm8k") for p in problems)


def test_an_unknown_wording_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="unknown wording 'breif'; did you mean 'brief'"):
        load_task("deduction", {"wording": "breif"})
