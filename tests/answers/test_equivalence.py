"""Equality as an equivalence, over answers of every form: reflexive, symmetric, transitive; classes hold together."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_core.answers.extract import RULES
from w2s_core.answers.grading import Grader

GRADERS = {rule: Grader(rule) for rule in RULES}


@pytest.fixture(scope="module", autouse=True)
def _graders_end() -> Iterator[None]:
    yield
    for grader in GRADERS.values():
        grader.close()


# Few values, so that equal ones meet; each in several spellings.
WHOLE = st.integers(-3, 3)
NUMBERS = st.one_of(
    WHOLE.map(str),
    WHOLE.map(lambda n: f"{n}.0"),
    WHOLE.map(lambda n: rf"\frac{{{2 * n}}}{{2}}"),
    WHOLE.map(lambda n: f"{n}/2"),
    st.sampled_from(["0.5", "1,000", "1000", r"10^{3}", "0,100"]),
)
FORMULAS = st.sampled_from(
    [
        r"\sqrt{2}",
        r"\frac{2}{\sqrt{2}}",
        r"2^{1/2}",
        "x+1",
        "1+x",
        "x-1",
        r"\pi",
        r"2\pi/2",
        r"10^{-20}\pi",
        r"2\pi\cdot10^{-20}",
    ]
)
UNITS = st.sampled_from(
    ["m", "cm", r"\text{ m}", "hours", "minutes", "apples", "oranges", "%", "a.m.", "p.m.", "million", "foo"]
)
QUANTITIES = st.builds(
    lambda number, unit: f"{number} {unit}", WHOLE.map(str) | st.sampled_from(["100", "300"]), UNITS
)
LEAVES = NUMBERS | FORMULAS | QUANTITIES
BRACKETS = st.sampled_from(
    ["()", "[]", "[)", "(]", (r"\{", r"\}"), ("", ""), ("{", "}"), (r"\left(", r"\right)")]
)
LISTS = st.builds(
    lambda brackets, comma, items: f"{brackets[0]}{comma.join(items)}{brackets[1]}",
    BRACKETS,
    st.sampled_from([",", ", ", r" \text{ and } "]),
    st.lists(NUMBERS | FORMULAS, min_size=1, max_size=3),
)
MATRICES = st.builds(
    lambda kind, items, tail: rf"\begin{{{kind}}}{' & '.join(items)}{tail}\end{{{kind}}}",
    st.sampled_from(["pmatrix", "bmatrix", "vmatrix"]),
    st.lists(NUMBERS, min_size=1, max_size=2),
    st.sampled_from(["", r"\\"]),
)
RELATIONS = st.builds(
    lambda name, sign, value: f"{name} {sign} {value}",
    st.sampled_from(["x", "y", "2x", "(p,q)"]),
    st.sampled_from(["=", ">=", r"\geq", "<", r"\ne", "!="]),
    NUMBERS | st.sampled_from(["(1,2)", r"\sqrt{2}"]),
)
NAMED = st.lists(
    st.builds(lambda name, n: f"{name}={n}", st.sampled_from("xy"), WHOLE), min_size=2, max_size=2
).map(", ".join)
TEXTS = st.sampled_from(
    [
        "yes",
        r"\text{Yes}",
        "no",
        r"\emptyset",
        r"\varnothing",
        r"\{\}",
        "A",
        r"\text{(A)}",
        "5:40",
        "52_8",
        "ABC",
        "1/0",
    ]
)
ANSWERS = st.one_of(LEAVES, LISTS, MATRICES, RELATIONS, NAMED, TEXTS)
# What states its form: brackets, a unit or none that could be meant, no names. Lists without brackets, numbers beside
# units, and `x = 5` leave it open, so that they are the same as answers which differ from each other.
DEFINITE = st.one_of(
    QUANTITIES.filter(lambda text: "million" not in text),
    LISTS.filter(lambda text: text.startswith(("(", "[", r"\{")) and "," in text and ",0" not in text),
    MATRICES,
    FORMULAS,
)
MANY = settings(max_examples=200, deadline=None)


@MANY
@given(ANSWERS, st.sampled_from(RULES))
def test_an_answer_is_itself(answer, rule):
    grader = GRADERS[rule]
    assert grader.same(answer, answer) is True
    assert str(grader.grade([(answer, answer)])[0]) == "right"


@MANY
@given(ANSWERS, ANSWERS, st.sampled_from(RULES))
def test_it_does_not_matter_which_answer_comes_first(one, other, rule):
    grader = GRADERS[rule]
    assert grader.same(one, other) is grader.same(other, one)
    assert len(set(grader.grade([(one, other), (other, one)]))) == 1


@MANY
@given(DEFINITE, DEFINITE, DEFINITE)
def test_answers_that_state_their_form_are_the_same_in_chains_too(first, second, third):
    same = GRADERS["math"].same
    assert not (same(first, second) and same(second, third)) or same(first, third)


@MANY
@given(st.lists(ANSWERS, max_size=7), st.sampled_from(["math", "gsm8k"]), st.randoms())
def test_a_class_never_holds_two_answers_that_grade_tells_apart(answers, rule, random):
    grader = GRADERS[rule]
    classes = grader.classes(answers)
    for (one, left), (other, right) in itertools.combinations(zip(answers, classes, strict=True), 2):
        if left == right:
            assert grader.same(one, other) is True
            assert str(grader.grade([(one, other)])[0]) == "right"
    order = list(range(len(answers)))
    random.shuffle(order)
    shuffled = dict(zip(order, grader.classes([answers[i] for i in order]), strict=True))
    assert len({(classes[i], shuffled[i]) for i in order}) == len(set(classes)) == len(set(shuffled.values()))


@MANY
@given(st.lists(DEFINITE, max_size=6))
def test_answers_that_state_their_form_share_a_class_wherever_they_are_the_same(answers):
    grader = GRADERS["math"]
    classes = grader.classes(answers)
    for (one, left), (other, right) in itertools.combinations(zip(answers, classes, strict=True), 2):
        assert (left == right) is grader.same(one, other)


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        (["(2,3)", "(3,2)", "2,3"], [0, 1, 0]),
        (["(2,3)", "(3,2)", "2,3", "3,2"], [0, 1, 2, 2]),
        (["5 m", "5 cm", "5", "500 cm"], [0, 1, 2, 0]),
        (["5 m", "5", "5.0"], [0, 0, 0]),
        (["x = 5", "5", "y = 5"], [0, 1, 2]),
        (["x = 5", "5"], [0, 0]),
        (["100,200", "100200", "100, 200"], [0, 0, 1]),
        (["10 a.m.", "10 p.m.", "10"], [0, 1, 2]),
        ([r"\frac{9^{20}}{10^{20}}", r"\frac{9^{19}}{10^{20}}", "0"], [0, 1, 2]),
        ([r"\{2,3\}", "3, 2", "2, 3"], [0, 0, 0]),
        ([r"\{2,3\}", "3, 2", "2, 3", "(2,3)"], [0, 1, 1, 2]),
    ],
)
def test_classes_of_answers_that_leave_their_form_open(answers, classes):
    with Grader("math") as grader:
        assert grader.classes(answers) == classes
