"""Answers that are dear to read or to compare, made at random from a fixed seed (`nasty_answers`).

`python -m tests.answers.nasty COUNT [CPU_SECONDS]` grades so many of them, each against itself, against an earlier one
and against 5, and writes as JSON what came of it and what it took.
"""

import json
import random
import resource
import sys
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Any

from w2s_core.answers.extract import extract
from w2s_core.answers.grading import Grader

DIGITS = "0123456789", "٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९", "⁰¹²³⁴⁵⁶⁷⁸⁹"
SCRIPTS = "abxyzπ", "абвгд", "αβγδ", "甲乙丙", "אבג", "\u200b\u202e\ufeff", "½¾⅓", "𝟏𝟐𝐱", "é̀̂"
WORDS = (
    "zero one seven twelve twenty ninety hundred thousand million billion trillion and half third dozen minus plus "
    "times point over squared per cent metres cm apples a.m. of the less than"
)
FUNCTIONS = ("sin", "cos", "tan", "log", "ln", "exp", "arctan", "sinh")
BRACKETS = [
    ("{", "}"), ("(", ")"), ("[", ")"), ("|", "|"), (r"\sqrt{", "}"), (r"\frac{1}{1+", "}"), (r"\{1,", r"\}"),
    ("-", ""), ("x^{", "}"), (r"\text{", "}"), (r"\boxed{", "}"), (r"\sin(", ")"), ("2^-", ""),
]  # fmt: skip
SIGNS = "+-*/^!_=<>≤≠|,;:()[]{}\\$%&~'\""


def nasty_answers(seed: int = 0) -> Iterator[str]:
    """Answers without end, each kind in turn; a series, which costs seconds, only in every tenth turn."""
    for place in count():
        chance = random.Random(f"{seed} {place}")
        turn, kind = divmod(place, len(KINDS) + 1)
        yield KINDS[kind](chance) if kind < len(KINDS) else (tower if turn % 10 else series)(chance)


def tower(chance: random.Random) -> str:
    """Powers of powers."""
    text = str(chance.randint(2, 99))
    for _ in range(chance.randint(1, 8)):
        text = f"{chance.randint(2, 99)}^{{{text}}}"
    return chance.choice([text, f"{text}-1", f"-{text}", f"\\frac{{1}}{{{text}}}", f"\\sqrt{{{text}+1}}"])


def factorials(chance: random.Random) -> str:
    """Factorials of factorials, and binomials of large numbers."""
    number = 10 ** chance.randint(0, 12) + chance.randint(0, 9)
    if chance.random() < 0.4:
        return rf"\binom{{{number}}}{{{chance.randint(1, number)}}}"
    return "(" * 20 + f"{number}" + ")!" * chance.randint(1, 20) if chance.random() < 0.5 else f"({number})!"


def nested(chance: random.Random) -> str:
    """Brackets, fractions and roots inside each other, closed or not."""
    depth = chance.randint(5, 250)
    opening, closing = chance.choice(BRACKETS)
    return opening * depth + "x" + closing * (depth - chance.choice([0, 0, 1]))


def polynomial(chance: random.Random) -> str:
    """Powers of sums with many letters and large exponents."""
    letters = chance.sample("abcdkmnpqrtuvwxyz", chance.randint(1, 6))
    terms = [f"{chance.randint(1, 9)}{letter}^{{{chance.randint(1, 40)}}}" for letter in letters]
    return f"({'+'.join(terms)})^{{{10 ** chance.randint(1, 9)}}}"


def series(chance: random.Random) -> str:
    """Sums, products, integrals and limits."""
    most = chance.choice(["n", r"\infty", str(10 ** chance.randint(1, 9))])
    body = chance.choice([r"\frac{1}{k^3+1}", "k!", r"\sin(k^2)", "k^{k}", "2^{-k}"])
    return chance.choice(
        [
            rf"\sum_{{k=1}}^{{{most}}} {body}",
            rf"\prod_{{k=1}}^{{{most}}} {body}",
            rf"\int_0^{{{chance.randint(1, 99)}}} {body.replace('k', 'x')} dx",
            rf"\lim_{{k\to\infty}} {body}",
        ]
    )


def transcendental(chance: random.Random) -> str:
    """Functions of functions of large and small numbers."""
    text = f"{chance.randint(1, 9)}^{{{chance.randint(1, 3000)}}}"
    for _ in range(chance.randint(1, 9)):
        text = f"\\{chance.choice(FUNCTIONS)}({text}{chance.choice(['', '+1', '+x', '/7'])})"
    return chance.choice([text, rf"\lfloor {text} \rfloor", f"\\sqrt[{chance.randint(2, 99)}]{{{text}}}"])


def long_number(chance: random.Random) -> str:
    """Hundreds of digits, with separators, exponents and other scripts' digits."""
    digits = chance.choice(DIGITS)
    text = "".join(chance.choices(digits, k=chance.randint(50, 480)))
    return chance.choice([text, f"0.{text}", f"{text[:90]}/{text[90:]}", ",".join(text), f"{text[:40]}e999"])


def words(chance: random.Random) -> str:
    """Number words, scales and units."""
    phrase = " ".join(chance.choices(WORDS.split(), k=chance.randint(1, 40)))
    return f"{chance.randint(0, 99)} {phrase}" if chance.random() < 0.5 else phrase


def mixed(chance: random.Random) -> str:
    """Signs, letters and digits of several scripts."""
    signs = SIGNS + "".join(chance.sample(SCRIPTS, 3)) + chance.choice(DIGITS)
    return "".join(chance.choices(signs, k=chance.randint(1, 300)))


def items(chance: random.Random) -> str:
    """Lists, sets and matrices of formulas."""
    cells = [
        f"{chance.randint(1, 9)}^{{{chance.randint(1, 9)}}}x+{place}"
        for place in range(chance.randint(2, 40))
    ]
    joined = ", ".join(cells)
    return chance.choice(
        [joined, rf"\{{{joined}\}}", rf"\begin{{pmatrix}}{' & '.join(cells)}\end{{pmatrix}}", f"x = {joined}"]
    )


def long_line(chance: random.Random) -> str:
    """A line of up to a megabyte."""
    unit = chance.choice(["9", "(", r"\frac", "1,", "x+", "a ", "$", "{}", "#", "\u0661", r"\boxed{"])
    return unit * (chance.randint(500, 1_000_000) // len(unit))


KINDS: list[Callable[[random.Random], str]] = [
    tower, factorials, nested, polynomial, transcendental, long_number, words, mixed, items, long_line,
]  # fmt: skip


def graded(rows: int, timeout_s: float) -> dict[str, Any]:
    """Verdicts in their order, and of the grader's processes the largest memory and the processor seconds in all."""
    answers = list(islice(nasty_answers(), rows))
    for answer in answers:
        extract(rf"#### {answer} The answer is {answer}", "math")
    verdicts: list[str] = []
    with Grader("math", timeout_s=timeout_s) as grader:
        for place in range(0, rows, 50):
            pairs = [
                (answer, gold)
                for i, answer in enumerate(answers[place : place + 50], start=place)
                for gold in (answer, answers[max(0, i - 11 * (i % 7))], "5")
            ]
            verdicts += map(str, grader.grade(pairs))
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"verdicts": verdicts, "mb": usage.ru_maxrss / 1024, "cpu_s": usage.ru_utime + usage.ru_stime}


if __name__ == "__main__":
    print(json.dumps(graded(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 2.0)))
