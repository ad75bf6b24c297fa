"""Where the final answer stands in a response, rule by rule, and that no text is too odd or too long for it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.answers.characters import clean
from w2s_core.answers.extract import RULES, extract
from w2s_core.answers.grading import Grader
from w2s_core.errors import UserError

NEXT = "\nQuestion: What is 1 + 1?\nAnswer: 2\n#### 2\nThe answer is: 2\nThe answer is: (C)"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("It is 2 + 3 = <<2+3=5>>5.\n#### 5", "5"),
        ("#### 5 apples", "5 apples"),
        ("#### $5.00", "$5.00"),
        ("####5", "5"),
        ("#### 5\nSo there are 5.", "5"),
        ("####\n5\n6", "5"),
        ("#### 4\nNo, wait.\n#### 5", "5"),
        ("##### 5", "5"),
        ("#### -1,234.50  ", "-1,234.50"),
        ("#### 9, 16", "9, 16"),
        ("#### 5" + NEXT, "5"),
        ("#### 5\n\nQuestion 2: and now?\n#### 6", "5"),
        ("#### 5\n   Question\n#### 6", "5"),
        ("The word Question is harmless.\n#### 5", "5"),
        ("\nQuestions follow.\n#### 5", "5"),
        ("", None),
        ("5", None),
        ("The answer is 5", None),
        ("### 5", None),
        ("####", None),
        ("#### ", None),
        ("#### \n \n", None),
        ("#### $", None),
        ("#### .", None),
        ("####" + NEXT, None),
        ("\nQuestion: no answer of its own\n#### 5", "5"),
        ("Question asks for the sum.\n2+3=5\n#### 5", "5"),
        ("#### 5\n\nQ: What is 1 + 1?\n#### 2", "5"),
        ("#### 5\n\nProblem: What is 1 + 1?\n#### 2", "5"),
        ("#### 5\n\n**Problem 2.** What is 1 + 1?\n#### 2", "5"),
        ("Q: What is 2 + 3?\n\nProblem: add.\n#### 5", "5"),
        ("#### 4\nProblem: I took the wrong sum.\n#### 5", "5"),
        ("#### 5<|im_end|>", "5"),
        ("#### 5<|im_end|>\n<|im_start|>user", "5"),
        ("#### 5</s>", "5"),
        ("#### 5<｜end▁of▁sentence｜>", "5"),
        ("#### 5\u200b", "5"),
        ("\u2060#\u200b### 5", "5"),
        ("#### 5\u2028Then some prose.", "5"),
        ("#### 5\x85Then some prose.", "5"),
        ("#### 5\r\nThen some prose.", "5"),
        ("#### r<s and s>t", "r<s and s>t"),
        ("#### " + "9" * 20_000, None),
        ("#### " + "9" * 400, "9" * 400),
    ],
)
def test_gsm8k_takes_the_line_of_the_last_marker(response, answer):
    assert extract(response, "gsm8k") == answer


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("The answer is: 5", "5"),
        ("The answer is 5", "5"),
        ("the answer is: 5", "5"),
        ("The final answer is: 5", "5"),
        ("The answer is: 4. No: The answer is: 5", "5"),
        (r"The answer is: $\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{4} is wrong. The answer is: 5", "5"),
        (r"so \boxed{5}.", "5"),
        (r"so \boxed {5}.", "5"),
        (r"\boxed{\frac{1}{\sqrt{2}}} is it", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed{4}, no: \boxed{5}", "5"),
        (r"\boxed{5}, no: \boxed{6", "5"),
        (r"\boxed{\text{B}}", r"\text{B}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{3}, \boxed{5}, \boxed{7}", "3, 5, 7"),
        (r"$\boxed{3}$ and $\boxed{5}$.", "3, 5"),
        (r"$x = \boxed{3}$ \text{ or } \boxed{5}", "3, 5"),
        (r"either \boxed{3}\text{ or }\boxed{5}", "3, 5"),
        ("\\boxed{3}\n\n\\boxed{3}", "3"),
        (r"\boxed{3} \boxed{5}", "5"),
        (r"\boxed{3}, hence \boxed{5}", "5"),
        (r"\boxed{4 + \boxed{5}}", r"4 + \boxed{5}"),
        (r"The answer is: $\boxed{3}$, $\boxed{5}$", "3, 5"),
        ("The question is hard.\nQuestion: again.\nThe answer is: 5", "5"),
        ("\\boxed{5}\n\nProblem: more.\n\\boxed{6}", "5"),
        ("The answer is: 5<|endoftext|>The answer is: 6", "5"),
        ("<s>Add.<|im_end|>\nThe answer is: 5</s>The answer is: 6", "5"),
        ("The answer is: 5" + NEXT, "5"),
        ("The answer isn't known", None),
        ("#### 5", None),
        (r"\boxed{}", None),
        (r"\boxed{ }", None),
        (r"\boxed{5", None),
        ("The answer is: ", None),
        ("The answer is: $$", None),
    ],
)
def test_math_takes_what_follows_the_phrase_else_the_last_box(response, answer):
    assert extract(response, "math") == answer


@pytest.mark.parametrize(
    ("response", "letters"),
    [
        ("The answer is: B", "B"),
        ("The answer is (B).", "B"),
        ("The answer is: B. Because it is so.", "B"),
        ("The answer is: b", "B"),
        (r"The answer is: \boxed{\text{B}}", "B"),
        (r"\boxed{B}", "B"),
        ("The answer is: (A) and (C)", "AC"),
        ("The answer is: C, A", "AC"),
        ("The answer is: A & B; D", "ABD"),
        ("The answer is: A, A", "A"),
        ("The answer is: A. No. The answer is: B", "B"),
        ("The answer is: A" + NEXT, "A"),
        ("ANSWER: **A**", "A"),
        ("Answer: A.", "A"),
        ("THE ANSWER IS (C)", "C"),
        ("The answer is B because a car moves.", "B"),
        ("The answer is B, because a car moves.", "B"),
        ("The answer is B - a car.", "B"),
        ("The answer is “B”.", "B"),
        ("The answer is ‘B’", "B"),
        ("The answer is 「B」", "B"),
        ("The answer is \uff22", "B"),
        ("The answer is \uff08\uff22\uff09\uff0e", "B"),
        ("The answer is B<|im_end|>", "B"),
        ("The answer is B\u200b", "B"),
        (r"\boxed{\text{A}, \text{C}}", "AC"),
        (r"The answer is: $\textbf{(A)}$ and $\textbf{(D)}$", "AD"),
        ("The answer is A, C because both hold.", "AC"),
        ("Question: which?\nThe answer is: A", "A"),
        ("The answer is: A\n\nQ: and now?\nThe answer is: B", "A"),
        ("B" + NEXT, "B"),
        ("The answer is A car", None),
        ("The answer is: Berlin", None),
        ("The answer is: 5", None),
        ("", None),
    ],
)
def test_choice_takes_letters(response, letters):
    found = extract(response, "choice")
    assert (found is None) is (letters is None)
    with Grader("choice") as grader:
        assert found is None or grader.same(found, letters) is True


def test_an_unknown_rule_is_one_clear_line():
    words = r"unknown answer rule 'gsm9k'; did you mean 'gsm8k'\? known: choice, gsm8k, math, reasoning_gym "
    with pytest.raises(UserError, match=words) as told:
        extract("#### 5", "gsm9k")
    assert "\n" not in str(told.value)


# pieces that the rules look for, so that random texts reach them
MARKERS = ["####", "#### ", "\nQuestion:", "Question", "The answer is", "\\boxed{", "\\frac", "\\text{"]
PIECES = st.sampled_from([*MARKERS, *"{}$%\n =,./-−½٣1xA()²\x00\ud800", "000", ",000"])
TEXTS = st.text() | st.lists(PIECES | st.characters(), max_size=40).map("".join)


@pytest.mark.parametrize("nothing", ["\x1f", "\xa0", "\u3000", "$\xa0$", "\\(\x1c\\)", "**\u2009**."])
@pytest.mark.parametrize(
    ("rule", "marker"), [("gsm8k", "#### "), ("math", "The answer is: "), ("choice", "#### ")]
)
def test_white_space_of_any_kind_is_no_answer(rule, marker, nothing):
    assert extract(f"2 + 3 = 5\n{marker}{nothing}", rule) is None


@given(TEXTS, st.sampled_from(RULES))
def test_any_text_has_an_answer_that_can_be_read_or_none(text, rule):
    answer = extract(text, rule)
    if answer is not None:
        assert answer.strip()
        assert rule == "choice" or "boxed" in text or answer in clean(text)


@given(TEXTS, st.sampled_from(RULES))
def test_what_a_model_asks_itself_changes_no_answer(text, rule):
    answer = extract(text, rule)
    assert answer is None or extract(text + NEXT, rule) == answer


@given(TEXTS)
def test_cleaning_a_clean_text_changes_nothing(text):
    assert clean(clean(text)) == clean(text)


@given(st.text(alphabet="0123456789abc .,", max_size=30), st.integers(-(10**9), 10**9))
def test_the_last_marker_counts(text, number):
    assert extract(f"{text}\n#### {number}", "gsm8k") == str(number)
    assert extract(f"{text}\nThe answer is: {number}", "math") == str(number)
    assert extract(rf"{text} \boxed{{{number}}}", "math") == str(number)


@given(
    st.recursive(st.text(alphabet="x1+ ", min_size=1), lambda inner: inner.map(lambda text: f"a{{{text}}}b"))
)
def test_a_box_holds_balanced_braces_of_any_depth(inside):
    if inside.strip():
        assert extract(rf"\boxed{{{inside}}} }}", "math") == inside.strip()


HOSTILE = [
    "{",
    "}",
    "9",
    " ",
    "\\",
    "\\boxed{",
    "\\boxed ",
    "####",
    "#### 9",
    "Question",
    "\nQuestio",
    "The answer is",
]
HOSTILE += [",000", "9,", "9.", "9 ", "A ", "\\frac", "\\text{", "9\\text{", "½", "=", "x=", "$", "(", "-"]
LINES = ["\n", "\n ", " \n", "\r\n", "\x0b\n"]


def seconds_for(text: str, rule: str, times: int = 1) -> float:
    """CPU seconds that looking for an answer takes, the least of some times."""
    took = []
    for _ in range(times):
        start = time.process_time()
        extract(text, rule)
        took.append(time.process_time() - start)
    return min(took)


@pytest.mark.parametrize("behind", ["", " #", "####", "#\r", "Question: And then?"])
def test_a_number_below_its_marker_ends_as_one_beside_it(behind):
    assert extract(f"####\n5{behind}", "gsm8k") == extract(f"#### 5{behind}", "gsm8k") == "5"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("piece", HOSTILE)
def test_a_million_hostile_characters_take_no_time(piece, rule):
    """Some tenths of a second at the most; what is quadratic takes hours."""
    marker = "#### " if rule == "gsm8k" else "The answer is: "
    full, readable = 10**6 // len(piece), 480 // len(piece)
    for text in (marker + piece * full, marker + piece * readable + "!"):
        assert seconds_for(text, rule) < 5


@pytest.mark.parametrize("line", LINES)
def test_four_times_the_empty_lines_take_four_times_as_long(line):
    few, many = (seconds_for(line * count + "#### 5", "gsm8k", times=3) for count in (4_000, 16_000))
    assert many < 9 * few + 0.001
