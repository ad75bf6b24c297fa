"""The deduction task against a reader of its own: texts are parsed, and entailment is decided by truth tables."""

import hashlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_core.errors import UserError
from w2s_core.tasks import Problem, load_task
from w2s_core.tasks.deduction import (
    ANSWERS,
    BUCKETS,
    LEVELS,
    PEOPLE,
    PROPERTIES,
    Rule,
    World,
    build,
    draw_plan,
    name_all,
    solve,
    split_of,
    tell,
)

SMALL = {"train_1": 90, "train_2": 90, "dev": 90, "test": 90}
FACT = re.compile(r"([A-Z]\w+) is (\w+)\.")
RULE = re.compile(r"If someone is (\w+)(?: and (\w+))?, they are (not )?(\w+)\.")
ASKED = re.compile(r"Is it true that (\w+) is (\w+)\? Answer true, false or unknown\.$")
STEP = re.compile(r"(\w+) is (\w+)(?: and (\w+))?, so \1 is (not )?(\w+)\.")


@dataclass(frozen=True)
class Read:
    """A story as its text tells it; a rule is (body, head, whether positive)."""

    facts: frozenset[tuple[str, str]]
    rules: tuple[tuple[frozenset[str], str, bool], ...]
    person: str
    asked: str

    def of(self, person: str) -> set[str]:
        return {one for who, one in self.facts if who == person}


def read(question: str) -> Read:
    asked = ASKED.search(question)
    assert asked, question
    rules = [
        (frozenset(filter(None, one.groups()[:2])), one[4], one[3] is None) for one in RULE.finditer(question)
    ]
    told = ASKED.sub("", RULE.sub("", question))
    facts = FACT.findall(told)
    assert not FACT.sub("", told).strip(), "every sentence is a fact, a rule or the question"
    return Read(frozenset(facts), tuple(rules), asked[1], asked[2])


@lru_cache
def problems(split: str) -> tuple[Problem, ...]:
    return tuple(load_task("deduction", SMALL).load(split))


def by_truth_table(story: Read, person: str) -> str:
    """Try every assignment of the person's atoms: rules speak of one person at a time, so no other atom matters."""
    atoms = sorted({one for body, head, _ in story.rules for one in (*body, head)} | story.of(person))
    rows = np.arange(2 ** len(atoms), dtype=np.uint32)
    holds = {atom: (rows >> i & 1).astype(bool) for i, atom in enumerate(atoms)}
    models = np.ones(len(rows), dtype=bool)
    for atom in story.of(person):
        models &= holds[atom]
    for body, head, positive in story.rules:
        together = np.logical_and.reduce([holds[one] for one in body])
        models &= ~together | (holds[head] == positive)
    assert models.any(), "the story contradicts itself"
    values = set(holds[story.asked][models].tolist())
    return {(True,): "true", (False,): "false"}.get(tuple(values), "unknown")


def by_satisfiability(story: Read, person: str) -> str:
    """The same by sympy's solver, for stories whose tables are too large."""
    from sympy import And, Implies, Not, Symbol
    from sympy.logic.inference import satisfiable

    told = And(
        *(Symbol(one) for one in story.of(person)),
        *(
            Implies(And(*map(Symbol, body)), Symbol(head) if positive else Not(Symbol(head)))
            for body, head, positive in story.rules
        ),
    )
    assert satisfiable(told), "the story contradicts itself"
    can_be, can_fail = (
        satisfiable(And(told, one)) for one in (Symbol(story.asked), Not(Symbol(story.asked)))
    )
    return "unknown" if can_be and can_fail else "true" if can_be else "false"


def test_answers_are_what_every_truth_table_entails() -> None:
    tried: Counter[str] = Counter()
    for one in problems("train_1"):
        if one.level > 2:
            continue
        story = read(one.question)
        assert by_truth_table(story, story.person) == by_satisfiability(story, story.person) == one.gold
        tried[one.gold] += 1
    assert min(tried[answer] for answer in ANSWERS) >= 10


def test_answers_of_deep_stories_are_entailed_and_nobody_contradicts_himself() -> None:
    for one in problems("test"):
        story = read(one.question)
        assert by_satisfiability(story, story.person) == one.gold
        for other in {who for who, _ in story.facts} - {story.person}:
            by_satisfiability(story, other)  # asserts that the other people's facts are consistent


def test_nothing_follows_from_a_negation_and_one_premise_of_two_is_not_enough() -> None:
    rules = (Rule(("a",), "b", positive=False), Rule(("b",), "c"), Rule(("a", "d"), "e"))
    for asked, answer, steps in (
        ("b", "false", 1),
        ("c", "unknown", 1),
        ("e", "unknown", 1),
        ("a", "true", 0),
    ):
        found = solve(World((("X", "a"), ("Y", "d")), rules, ("X", asked)))
        assert (found[0], len(found[1])) == (answer, steps)


def test_the_level_is_the_depth_of_the_proof() -> None:
    for one in problems("dev"):
        story = read(one.question)
        known, depth = story.of(story.person), 0
        while True:
            heads = {(head, positive) for body, head, positive in story.rules if body <= known}
            depth += 1
            if story.asked in {head for head, _ in heads} or {h for h, ok in heads if ok} <= known:
                break
            known |= {head for head, positive in heads if positive}
        if one.gold != "unknown":
            assert depth == one.level


def test_solutions_apply_told_rules_to_what_is_known_and_end_in_the_answer() -> None:
    for one in problems("train_2"):
        story = read(one.question)
        reasoning, _, last = one.solution.rpartition("\n")
        assert last == f"#### {one.gold}"
        known, shown = story.of(story.person), set[str]()
        steps = list(STEP.finditer(reasoning))
        for step in steps:
            body = frozenset(filter(None, (step[2], step[3])))
            positive = step[4] is None
            assert step[1] == story.person
            assert body <= known, "a step uses only what is known by then"
            assert (body, step[5], positive) in story.rules
            if step[5] == story.asked:
                shown.add("true" if positive else "false")
            if positive:
                known.add(step[5])
        assert shown == {one.gold} - {"unknown"}
        if one.gold == "unknown":
            assert all(head in known for body, head, _ in story.rules if body <= known), "nothing is left out"
            assert f"nothing says whether {story.person} is {story.asked}." in reasoning
        else:
            used = {word for step in steps for word in (step[2], step[3])}
            assert all(step[5] in used for step in steps[:-1]), "no step that the proof does not need"


def test_answers_are_balanced_at_each_level_and_overall() -> None:
    for split in SMALL:
        cells = Counter((one.level, one.gold) for one in problems(split))
        assert cells == {(level, answer): 5 for level in LEVELS for answer in ANSWERS}
    odd = Counter(
        (one.level, one.gold) for one in load_task("deduction", {"dev": 100, "levels": [2, 5]}).load("dev")
    )
    assert max(odd.values()) - min(odd.values()) <= 1
    assert odd.total() == 100


def test_counts_and_lengths_say_nothing_about_the_answer() -> None:
    """A story and the one with another answer, drawn from one state of the generator, have the same counts."""
    for level in LEVELS:
        for seed in range(20):
            shapes = set()
            for answer in ANSWERS:
                rng = random.Random(f"{level}-{seed}")
                world = name_all(rng, build(draw_plan(rng, level, answer)))
                story = read(tell(world))
                people = Counter(who for who, _ in story.facts)
                sizes = sorted(len(body) for body, _, _ in story.rules)
                words = {one for body, head, _ in story.rules for one in (*body, head)}
                shapes.add((people[story.person], tuple(sorted(people.values())), tuple(sizes), len(words)))
            assert len(shapes) == 1


def test_word_cues_do_no_better_than_guessing() -> None:
    """Words and what stands beside them, with the asked person and property marked. Guessing gives 1/3."""
    sizes = {"train_1": 1200, "test": 600}
    told = {split: load_task("deduction", sizes).load(split) for split in sizes}
    seen, unseen = ([(_marked(one.question), one.gold) for one in told[split]] for split in sizes)
    assert all(0.24 < share < 0.42 for share in _right_by_cues(seen, unseen))  # 1/3 -+ 4.5 standard errors
    cued, cued_unseen = ([(f"{text} {gold[0]}", gold) for text, gold in rows] for rows in (seen, unseen))
    assert min(_right_by_cues(cued, cued_unseen)) > 0.5, "a cue, if there were one, would be found"


def _right_by_cues(seen: list[tuple[str, str]], unseen: list[tuple[str, str]]) -> list[float]:
    """Accuracy of two classifiers on counts of words, pairs and triples."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import RidgeClassifier
    from sklearn.naive_bayes import MultinomialNB

    counts = CountVectorizer(ngram_range=(1, 3), token_pattern=r"\S+", min_df=3)
    rows = counts.fit_transform([text for text, _ in seen])
    new = counts.transform([text for text, _ in unseen])
    answers, wanted = ([gold for _, gold in part] for part in (seen, unseen))
    return [
        float((model.fit(rows, answers).predict(new) == np.array(wanted)).mean())
        for model in (MultinomialNB(), RidgeClassifier(alpha=10.0))
    ]


def _marked(question: str) -> str:
    story = read(question)
    marks = {story.person: "ASKED", story.asked: "WANTED"}
    marks |= dict.fromkeys({who for who, _ in story.facts} - {story.person}, "other")
    words = re.findall(r"\w+|[.,?]", question)
    return " ".join(marks.get(word, word) for word in words)


def shape(story: Read) -> str:
    """The story without names and order, by refining colours until they stay: equal for all that are isomorphic."""
    words = {one for body, head, _ in story.rules for one in (*body, head)} | {one for _, one in story.facts}
    colour = {word: str(word == story.asked) for word in words}
    people = {who: str(who == story.person) for who, _ in story.facts}
    for _ in range(12):
        fresh = {}
        for word in words:
            near = [f"who {people[who]}" for who, one in story.facts if one == word]
            for body, head, positive in story.rules:
                if word in body or word == head:
                    ends = f"{sorted(colour[one] for one in body)} {colour[head]} {positive}"
                    near.append(f"{'body' if word in body else 'head'} {ends}")
            fresh[word] = _short(colour[word], *sorted(near))
        people = {who: _short(people[who], *sorted(colour[one] for one in story.of(who))) for who in people}
        colour = fresh
    return _short(*sorted(colour.values()), *sorted(people.values()))


def _short(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def test_stories_of_one_shape_have_one_template_and_one_split() -> None:
    """Also where two plans that differ tell the same story: then it would stand in two splits."""
    template_of: dict[str, str] = {}
    met: Counter[str] = Counter()
    rng = random.Random(7)
    for i in range(1500):
        plan = draw_plan(rng, 1 if i < 1200 else 2, ANSWERS[i % 3])
        story = read(tell(name_all(rng, build(plan))))
        form = shape(story)
        assert template_of.setdefault(form, plan.skeleton) == plan.skeleton
        met[form] += 1
    assert sum(count > 1 for count in met.values()) > 150, "shapes did come again"
    assert len(set(template_of.values())) == len(template_of), "and each template is one shape"


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(LEVELS), st.sampled_from(ANSWERS), st.integers(0, 10**6))
def test_names_and_order_leave_the_template_alone(level: int, answer: str, seed: int) -> None:
    rng = random.Random(seed)
    world = build(draw_plan(rng, level, answer))
    one, other = (read(tell(name_all(random.Random(salt), world))) for salt in (seed, seed + 1))
    assert shape(one) == shape(other)
    assert {one.person, *(who for who, _ in one.facts)} <= set(PEOPLE)
    assert one.asked in PROPERTIES


def test_splits_share_no_template_and_no_question() -> None:
    for one, other in combinations(SMALL, 2):
        for field in ("template", "question"):
            assert not {getattr(p, field) for p in problems(one)} & {
                getattr(p, field) for p in problems(other)
            }
    for split in SMALL:
        assert {split_of(one.template) for one in problems(split)} == {split}
        assert len({one.question for one in problems(split)}) == SMALL[split]
        assert len({one.template for one in problems(split)}) > SMALL[split] / 2
    assert sum(BUCKETS.values()) == 100


def test_same_options_same_problems_in_another_process() -> None:
    script = (
        "import hashlib; from w2s_core.tasks import load_task;"
        "text = repr(load_task('deduction', {'dev': 60, 'seed': 3}).load('dev'));"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": salt},
        ).stdout
        for salt in ("1", "2")
    }
    assert len(said) == 1


def test_another_seed_gives_other_questions_from_the_same_bucket() -> None:
    one, other = (load_task("deduction", {"dev": 60, "seed": seed}).load("dev") for seed in (0, 1))
    assert not {p.question for p in one} & {p.question for p in other}
    assert {split_of(p.template) for p in (*one, *other)} == {"dev"}


def test_levels_as_list_and_as_json_mapping() -> None:
    listed = load_task("deduction", {"dev": 40, "levels": [2, 5]}).load("dev")
    assert Counter(p.level for p in listed) == {2: 20, 5: 20}
    weighted = load_task("deduction", {"dev": 40, "levels": {"2": 3, "5": 1}}).load("dev")
    assert Counter(p.level for p in weighted) == {2: 30, 5: 10}


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"trian_1": 5}, "did you mean 'train_1'?"),
        ({"train_1": 0}, "whole number of at least 1"),
        ({"train_1": 2.5}, "whole number"),
        ({"dev": True}, "whole number"),
        ({"seed": -1}, "'seed'"),
        ({"levels": []}, "is empty; give at least one level"),
        ({"levels": [7]}, "levels from 1 to 6"),
        ({"levels": [2, 2]}, "distinct levels"),
        ({"levels": {"2": -1}}, "above 0"),
        ({"levels": {2: float("nan")}}, "above 0"),
        ({"levels": "all"}, "must be a list"),
    ],
)
def test_bad_options_are_one_clear_line(options: dict[str, object], wanted: str) -> None:
    with pytest.raises(UserError, match=re.escape(wanted)) as caught:
        load_task("deduction", options)
    assert "\n" not in str(caught.value)


def test_an_unknown_split_is_one_clear_line() -> None:
    with pytest.raises(UserError, match="did you mean 'train_1'"):
        load_task("deduction").load("train1")


def test_answers_in_words_are_read_and_compared() -> None:
    from w2s_core.answers.extract import Verdict, extract
    from w2s_core.answers.grading import Grader

    written = ["so it is.\n#### true", "#### **True**.", "#### False", "#### unknown\nQuestion: what", "true"]
    answers = [extract(one, "gsm8k") for one in written]
    with Grader("gsm8k") as grader:
        assert grader.grade([(one, "true") for one in answers]) == [
            Verdict.RIGHT,
            Verdict.RIGHT,
            Verdict.WRONG,
            Verdict.WRONG,
            Verdict.UNPARSED,
        ]
        assert grader.classes(["true", "True.", "unknown", "false", None]) == [0, 0, 1, 2, None]
