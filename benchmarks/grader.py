"""Answers that are graded in a second, on the exact path and by math-verify (`python -m benchmarks.grader`).

The responses are made here: short calculations as models write them for GSM8K, with the answer as a whole number, a
price, a decimal, a fraction or a number with a unit, two in three of them right. An answer counts as graded when it is
extracted, brought to its canonical form, and compared with the gold answer. Both ways take turns on the same responses,
so that whatever else the machine does falls on both; figures are medians, of the process's CPU time on one core.
"""

import logging
import platform
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from math_verify import parse, verify

from w2s_core.answers.comparing import compare
from w2s_core.answers.extract import extract
from w2s_core.answers.grading import Grader
from w2s_core.answers.reading import canonical
from w2s_core.engine.processor import processor_name

RESPONSES = 20_000
HARD = 200
"""Responses of each turn that math-verify grades."""
TURNS = 7
TABLE = Path(__file__).with_suffix(".txt")

Pairs = list[tuple[str, str]]


def make(count: int, seed: int = 0) -> Pairs:
    """Responses with their gold answers."""
    chance = random.Random(seed)
    names = ("Natalia", "Weng", "Ken", "Alexis", "Tina")
    things = ("apples", "dollars", "hours", "clips", "miles")
    made = []
    for _ in range(count):
        text, total = [], chance.randint(1, 90)
        for _ in range(chance.randint(2, 5)):
            more = chance.randint(2, 400)
            text.append(
                f"{chance.choice(names)} adds {more} {chance.choice(things)}, "
                f"so there are {total} + {more} = <<{total}+{more}={total + more}>>{total + more} in all."
            )
            total += more
        said = total if chance.random() < 2 / 3 else total + chance.choice((-10, 1, 7))
        text.append(f"#### {_written(said, chance)}")
        if chance.random() < 0.2:
            text.append("\nQuestion: How many are there now?\nAnswer: 12\n#### 12")
        made.append(("\n".join(text), f"{total:,}"))
    return made


def _written(number: int, chance: random.Random) -> str:
    plain = [f"{number}"] * 6  # the commonest by far
    return chance.choice(
        [*plain, f"{number:,}", f"${number}", f"{number}.00", f"{2 * number}/2", f"{number} apples"]
    )


def exact(pairs: Pairs) -> list[bool]:
    """The answers' functions, one by one."""
    said = []
    for response, gold in pairs:
        answer = extract(response, "gsm8k")
        same = answer is not None and compare(canonical(answer, "gsm8k"), canonical(gold, "gsm8k"))
        said.append(same is True)
    return said


def graded(pairs: Pairs) -> list[bool]:
    """A new grader, as the step `grade` uses it; it remembers the forms of answers that come again."""
    with Grader("gsm8k") as grader:
        verdicts = grader.grade((extract(response, "gsm8k"), gold) for response, gold in pairs)
    return [verdict == "right" for verdict in verdicts]


def math_verify(pairs: Pairs) -> list[bool]:
    """math-verify on the same answers, without the time limits that it sets by signals."""
    said = []
    for response, gold in pairs:
        answer = extract(response, "gsm8k") or ""
        read = [parse(f"${text.strip('$')}$", parsing_timeout=None) for text in (gold, answer)]
        said.append(verify(read[0], read[1], timeout_seconds=None))
    return said


def rate(way: Callable[[Pairs], list[bool]], pairs: Pairs) -> float:
    """Answers a CPU second."""
    start = time.process_time()
    way(pairs)
    return len(pairs) / (time.process_time() - start)


def table(rates: dict[str, list[float]], agreeing: float) -> str:
    """The figures with what they were taken on."""
    middle = {name: statistics.median(some) for name, some in rates.items()}
    slowest = middle["math-verify"]
    lines = [
        f"{processor_name()}, one core",
        f"Python {platform.python_version()}, math-verify {version('math-verify')}, sympy {version('sympy')}",
        f"{RESPONSES} responses a turn ({HARD} for math-verify), {TURNS} turns, medians (lowest to highest)",
        "",
        f"{'way':<32}{'answers/s':>10}{'lowest':>10}{'highest':>10}{'ratio':>8}",
    ]
    for name, some in rates.items():
        ratio = middle[name] / slowest
        lines.append(f"{name:<32}{middle[name]:>10,.0f}{min(some):>10,.0f}{max(some):>10,.0f}{ratio:>8,.0f}")
    return "\n".join(
        [*lines, "", f"verdicts on which the exact path and math-verify agree: {agreeing:.1%}", ""]
    )


def main() -> None:
    """Measure, print the table, and keep it beside this file."""
    logging.disable(logging.CRITICAL)
    pairs = make(RESPONSES)
    agreeing = statistics.mean(
        a == b for a, b in zip(exact(pairs[:1000]), math_verify(pairs[:1000]), strict=True)
    )
    ways = {
        "extract, canonical, compare": exact,
        "the same through Grader": graded,
        "math-verify": math_verify,
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS):
        few = pairs[turn * HARD : (turn + 1) * HARD]
        for name, way in ways.items():
            rates[name].append(rate(way, few if name == "math-verify" else pairs))
    text = table(rates, agreeing)
    TABLE.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
