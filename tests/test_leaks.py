"""Which questions count as the same."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.data.leaks import DuplicateFinder, Repeat
from w2s_core.data.question_text import normalise_question

ONE_QUESTION = [
    ("How many eggs?", "how  many\teggs"),
    ("Tom's 3 well-known cats; $5 each.", "Toms 3 well known cats: $ 5 each!!!"),
    ("It costs $1,500.", "it costs 1500"),
    ("“Fancy” quotes – and dashes", '"Fancy" quotes and dashes'),
    ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
    ("１２．５ ＋ ３％", "12.5 + 3%"),
    ("soft\u00adhyphen and zero\u200bwidth", "softhyphen and zerowidth"),
    ("STRASSE", "straße"),
    ("ﬁsh", "fish"),
    ("What is $x+1$?", "What is x + 1"),
    ("Tom’s, “5” eggs", 'Tom\'s "5" eggs'),
    ("x²", "x^2"),
    ("x^{2}", "x^2"),
    ("10⁻³", "10^{-3}"),
    ("10^-3", "10^(-3)"),
    ("2ⁿ⁺¹", "2^{n+1}"),
    ("x₂", "x_2"),
    ("a_{n+1}", "aₙ₊₁"),
    ("2½ cups", "2 1/2 cups"),
    ("½ cup", "1/2 cup"),
    ("1⁄2", "1/2"),
    ("3 – 2", "3 - 2"),
    ("3−2", "3 - 2"),
    ("pages 3–5", "pages 3-5"),
    ("He ran—and ran", "He ran, and ran"),
    ("He had apples — 3 of them", "He had apples, 3 of them"),
    ("He had apples -- 3 of them", "He had apples, 3 of them"),
    ("3 × 4", "3 * 4"),
    ("3⋅4", "3 * 4"),
    ("6 ÷ 2", "6/2"),
    ("x ≤ 5", "x <= 5"),
    ("x≥5", "x ≥ 5"),
    ("5 °C", "5°C"),
    ("20℃", "20 °C"),
    ("9 ㎡", "9 m²"),
    ("the 1ˢᵗ day", "the 1st day"),
    ("Brand™ cats", "brand cats"),
    ("(Tom) has 5 eggs (brown)", "Tom has 5 eggs, brown"),
    ("What is 5!?", "What is 5! ?"),
    ("He won 5! He is glad.", "He won 5. He is glad."),
    ("a 3-year-old", "a 3 year old"),
    ("At 3:30 sharp", "At 3 : 30 sharp"),
    ("Answer: 5", "Answer 5"),
    ("the _big_ dog", "the big dog"),
    ("Fill in: ____ eggs", "Fill in eggs"),
    ("2((3+4))", "2((3 + 4))"),
]
SEVERAL_QUESTIONS = [
    ("Take 1.5 apples", "Take 15 apples"),
    ("Take 1.5 apples", "Take 1 5 apples"),
    ("1·5", "15"),
    ("Points (1,2)", "Points (12)"),
    ("What is 3 - 2?", "What is 3 + 2?"),
    ("What is -3?", "What is 3?"),
    ("What is −3?", "What is 3?"),
    ("What is –3?", "What is 3?"),
    ("It is .5", "It is 5"),
    ("कि", "का"),
    ("Is x < 3?", "Is x > 3?"),
    ("Is x ≤ 3?", "Is x < 3?"),
    ("Is x ≤ 3?", "Is x 3?"),
    ("Is x ≠ 3?", "Is x = 3?"),
    ("Is x != 3?", "Is x = 3?"),
    ("20% of 5", "20 of 5"),
    ("20‰ of 5", "20 of 5"),
    ("20% of 5", "20‰ of 5"),
    ("1/2", "1 2"),
    ("?", "!"),
    ("Alice has 3", "Bob has 3"),
    ("What is 5²?", "What is 52?"),
    ("What is 5²?", "What is 5 2?"),
    ("10⁶", "106"),
    ("10⁻⁶", "10⁶"),
    ("2ⁿ⁺¹", "2ⁿ+1"),
    ("e^{2x}", "e^2x"),
    ("x²3", "x^23"),
    ("x₂", "x2"),
    ("x_2", "x 2"),
    ("52₈", "528"),
    ("52_8", "52 8"),
    ("log₂8", "log 28"),
    ("2½ cups", "21/2 cups"),
    ("2½", "2 12"),
    ("1⁄2", "12"),
    ("3 – 2", "3 2"),
    ("3–2", "32"),
    ("3 — 2", "3 2"),
    ("3 − 2", "3 2"),
    ("3--2", "3 2"),
    ("3 - -2", "3 - 2"),
    ("x - y", "x y"),
    ("x – y", "x y"),
    ("3 ± 2", "3 2"),
    ("3 ± 2", "3 + 2"),
    ("3 × 2", "3 2"),
    ("3⋅2", "3 2"),
    ("3·2", "32"),
    ("6 ÷ 2", "6 2"),
    ("6∕2", "62"),
    ("ratio 3:2", "ratio 32"),
    ("ratio 3:2", "ratio 3 2"),
    ("ratio 3∶2", "ratio 3 2"),
    ("5°", "5"),
    ("5º", "50"),
    ("€5", "£5"),
    ("€5", "5"),
    ("5¢", "5"),
    ("√2", "2"),
    ("①0", "10"),
    ("1②", "12"),
    ("9 ㎡", "9 m2"),
    ("(3+4)*2", "3+4*2"),
    ("2(3+4)", "2 3+4"),
    ("What is 5!?", "What is 5?"),
    ("5! + 3", "5 + 3"),
    ("5'6 tall", "56 tall"),
    ("f'(x) at 3", "f(x) at 3"),
    ("f′(x)", "f(x)"),
    ("٣٫٥", "٣٥"),
]


@pytest.mark.parametrize(("first", "second"), ONE_QUESTION)
def test_the_same_question(first: str, second: str) -> None:
    assert normalise_question(first) == normalise_question(second)


@pytest.mark.parametrize(("first", "second"), SEVERAL_QUESTIONS)
def test_different_questions(first: str, second: str) -> None:
    assert normalise_question(first) != normalise_question(second)


@pytest.mark.parametrize("text", [text for pair in ONE_QUESTION + SEVERAL_QUESTIONS for text in pair])
def test_the_normal_form_is_its_own(text: str) -> None:
    form = normalise_question(text)
    assert normalise_question(form) == form


SIGNS = st.sampled_from(
    [*"ax12.,:;!?'\"-_()[]{}^*/+=<>%$ ", *"²³⁻⁺ⁿ₁₂½¼⁄–—−×÷·≤≠√°€①㎡٫′’\u0338\u200b", "ab", "--"]
)


@given(st.one_of(st.text(), st.lists(SIGNS, max_size=12).map("".join)))
def test_spacing_never_matters_and_twice_is_once(text: str) -> None:
    form = normalise_question(text)
    assert normalise_question(form) == form
    assert normalise_question("  " + " \n ".join(text.split()) + " ") == form


@given(st.lists(st.sampled_from(["eggs", "Tom", "has", "12", "3.5", "and"]), min_size=1), st.data())
def test_case_and_punctuation_at_words_never_matter(words: list[str], data: st.DataObject) -> None:
    """Prose as questions have it: any punctuation that is no sign, between any words."""
    marks = st.sampled_from([" ", ", ", "; ", "? ", " “", "” ", " (", ") ", " – and ", "… "])
    text = words[0]
    plain = words[0]
    for word in words[1:]:
        mark = data.draw(marks)
        text += mark + (word.upper() if data.draw(st.booleans()) else word)
        plain += (" and " if "–" in mark else " ") + word
    assert normalise_question(text) == normalise_question(plain)


QUESTIONS = st.lists(
    st.lists(st.sampled_from(["a", "A", "a.", "b", "B!", "c"]), max_size=6), min_size=1, max_size=4
)


@given(QUESTIONS)
def test_counts_equal_a_plain_recount(files: list[list[str]]) -> None:
    finder = DuplicateFinder()
    for texts in files:
        for text in texts:
            finder.add(text)
        finder.end_file()
    everything = [text for texts in files for text in texts]
    counts = finder.counts()
    assert counts.total() == len(everything)
    assert counts["exact"] == len(everything) - len(set(everything))
    normalised = [normalise_question(text) for text in everything]
    assert counts["new"] == len(set(normalised))
    for number, texts in enumerate(files):
        assert finder.within(number)["rows"] == len(texts)
        assert finder.within(number)["exact"] == len(texts) - len(set(texts))
    for pair in finder.across():
        other = set(files[pair["standing_in"]])
        assert pair["exact"] == sum(text in other for text in files[pair["rows_of"]])
        assert pair["normalised"] >= pair["exact"]
    for row, repeat in finder.repeats():
        texts = everything if repeat.kind == "exact" else normalised
        assert repeat.row == texts.index(texts[row]) < row
        assert (repeat.kind == "exact") == (everything[row] in everything[:row])


def test_the_first_row_is_named() -> None:
    finder = DuplicateFinder()
    for text in ("One", "one!", "one!"):
        finder.add(text)
        finder.end_file()
    assert dict(finder.repeats()) == {1: Repeat("normalised", 0), 2: Repeat("exact", 1)}


def test_long_and_odd_texts_take_linear_time() -> None:
    for text in ("1," * 200_000, "-" * 500_000, "1." * 200_000, "'" * 500_000, "a\u0301" * 100_000):
        normalise_question(text)
    letters = random.Random(0).choices("ab1,.- ()!_'²½–", k=300_000)
    normalise_question("".join(letters))
