"""Which questions count as the same."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.data.leaks import DuplicateFinder, normalise_question


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many eggs?", "how  many\teggs"),
        ("Tom's 3 well-known cats; $5 each.", "Toms 3 well known cats: $ 5 each!!!"),
        ("It costs $1,500.", "it costs 1500"),
        ("“Fancy” quotes – and dashes", '"Fancy" quotes and dashes'),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("soft\u00adhyphen and zero\u200bwidth", "softhyphen and zerowidth"),
        ("STRASSE", "straße"),
        ("What is $x+1$?", "What is x + 1"),
    ],
)
def test_the_same_question(one: str, other: str) -> None:
    assert normalise_question(one) == normalise_question(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Take 1.5 apples", "Take 15 apples"),
        ("Points (1,2)", "Points (12)"),
        ("What is 3 - 2?", "What is 3 + 2?"),
        ("What is -3?", "What is 3?"),
        ("It is .5", "It is 5"),
        ("कि", "का"),
        ("Is x < 3?", "Is x > 3?"),
        ("20% of 5", "20 of 5"),
        ("1/2", "1 2"),
        ("?", "!"),
        ("Alice has 3", "Bob has 3"),
    ],
)
def test_different_questions(one: str, other: str) -> None:
    assert normalise_question(one) != normalise_question(other)


@given(st.text())
def test_case_and_spacing_never_matter_and_twice_is_once(text: str) -> None:
    found = normalise_question(text)
    assert normalise_question(found) == found
    assert normalise_question("  " + " \n ".join(text.split()) + " ") == found


QUESTIONS = st.lists(
    st.lists(st.sampled_from(["a", "A", "a.", "b", "B!", "c"]), max_size=6), min_size=1, max_size=4
)


@given(QUESTIONS)
def test_counts_equal_a_plain_recount(files: list[list[str]]) -> None:
    finder = DuplicateFinder()
    said = [
        finder.add(number, str(i), text) for number, texts in enumerate(files) for i, text in enumerate(texts)
    ]
    everything = [text for texts in files for text in texts]
    exact_repeats = len(everything) - len(set(everything))
    assert Counter(r.kind for r in said if r)["exact"] == exact_repeats
    assert sum(r is None for r in said) == len({normalise_question(text) for text in everything})
    for number, texts in enumerate(files):
        assert finder.within(number)["exact"] == len(texts) - len(set(texts))
    for pair in finder.across(len(files)):
        other = set(files[pair["standing_in"]])
        assert pair["exact"] == sum(text in other for text in files[pair["rows_of"]])
        assert pair["normalised"] >= pair["exact"]


def test_the_first_row_is_named() -> None:
    finder = DuplicateFinder()
    assert finder.add(0, "x", "One") is None
    assert finder.add(1, "y", "one!") is not None
    repeat = finder.add(2, "z", "one!")
    assert repeat is not None
    assert (repeat.kind, repeat.file, repeat.id) == ("exact", 1, "y")


def test_long_and_odd_texts_take_linear_time() -> None:
    for text in ("1," * 200_000, "-" * 500_000, "1." * 200_000, "'" * 500_000, "a\u0301" * 100_000):
        normalise_question(text)
    letters = random.Random(0).choices("ab1,.- ", k=300_000)
    normalise_question("".join(letters))
