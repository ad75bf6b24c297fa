r"""Which answers are the same: how often the grader is right, beside math-verify, and how fast it is.

`python -m benchmarks.equality [--against TREE] [--reference FOLDER]`. Three parts:

* the table of `tests/answers/triples.py`: answers beside gold answers, most of them made to mislead a grader;
* gold answers of MATH, each against itself in 12 respellings (`respellings`), and against 50 others;
* answers a second on the exact path, side by side with another tree of this project (`--against`).

The gold answers are read from the folder W2S_REFERENCE, by default shared/reference beside the repository. Only counts
of them are written. `--show` lists on stderr what was graded wrongly.
"""

import argparse
import gzip
import json
import logging
import os
import platform
import random
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from math_verify import parse, verify

from benchmarks.respellings import crude, respellings
from tests.answers.triples import KNOWN_FAULTS, Triple, triples
from w2s_core.answers.grading import Grader
from w2s_core.engine.processor import processor_name

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = Path(os.environ.get("W2S_REFERENCE") or ROOT.parent / "shared" / "reference")
FILES = ("math_test", "math_filter_mistral_7b_iter1")
OTHERS = 50
TURNS = 5
TABLE = Path(__file__).with_suffix(".txt")
SPEED = """
from benchmarks.grader import exact, make, rate
pairs = make(20_000)
exact(pairs[:2000])
print(rate(exact, pairs))
"""

Lines = list[str]


def graded(rule: str, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The verdicts of this tree's grader."""
    with Grader(rule) as grader:
        return [str(verdict) for verdict in grader.grade(pairs)]


def by_math_verify(answer: str, gold: str) -> bool:
    """math-verify's own verdict, with the time limits that it sets by default."""
    return bool(verify(*(parse(f"${text}$") for text in (gold, answer))))


def table_part(show: bool) -> Lines:
    """The triples by kind: how many each grader has right, and how it errs."""
    by_rule: dict[str, list[Triple]] = defaultdict(list)
    for triple in triples():
        by_rule[triple.rule].append(triple)
    errors: dict[str, Counter[tuple[str, bool]]] = {"w2s": Counter(), "math-verify": Counter()}
    for rule, rows in by_rule.items():
        verdicts = graded(rule, [(row.answer, row.gold) for row in rows])
        for row, verdict in zip(rows, verdicts, strict=True):
            if verdict != ("right" if row.same else "wrong"):
                errors["w2s"][row.kind, row.same] += 1
                if show:
                    print(f"{row.answer!r} : {row.gold!r} is {verdict}", file=sys.stderr)
            if by_math_verify(row.answer, row.gold) != row.same:
                errors["math-verify"][row.kind, row.same] += 1
    total = Counter(triple.kind for triple in triples())
    wrong = f"{'false =':>9}{'false ≠':>9}"
    head = f"{'kind':<14}{'triples':>8}{'w2s':>9}{wrong}{'math-verify':>13}{wrong}"
    rows = [_table_row(kind, count, [kind], errors) for kind, count in total.items()]
    return [
        "Triples (answer, gold, same or not) that are graded right; false = merges two answers, false ≠ parts one",
        head,
        *rows,
        _table_row("all", sum(total.values()), list(total), errors),
        *(f"known fault: {fault}" for fault in KNOWN_FAULTS.values()),
    ]


def _table_row(name: str, count: int, kinds: list[str], errors: dict[str, Counter[tuple[str, bool]]]) -> str:
    cells = ""
    for counts, width in zip(errors.values(), (9, 13), strict=True):
        merged, parted = (sum(counts[kind, same] for kind in kinds) for same in (False, True))
        cells += f"{1 - (merged + parted) / count:>{width}.1%}{merged:>9}{parted:>9}"
    return f"{name:<14}{count:>8}{cells}"


def reference_part(folder: Path, show: bool) -> Lines:
    """Gold answers against themselves, written otherwise, and against others."""
    title = "Gold answers of MATH against themselves in 12 respellings each, and against 50 others each"
    if not (folder / f"{FILES[0]}.jsonl.gz").is_file():
        return [f"{title}: skipped, the reference files are not here (--reference or W2S_REFERENCE)"]
    own = f"{'golds':>7}{'respelled':>11}{'same':>8}{'different':>11}{'undecided':>11}"
    head = f"{'file':<30}{own}{'others':>9}{'false =':>9}"
    return [title, head, *(_reference_row(folder, name, show) for name in FILES)]


def _reference_row(folder: Path, name: str, show: bool) -> str:
    golds = list(dict.fromkeys(_golds(folder / f"{name}.jsonl.gz")))
    own = [(other, gold) for gold in golds for other in respellings(gold)]
    verdicts = graded("math", own)
    counts = Counter(verdicts)
    others = list(_others(golds))
    merged = [
        pair for pair, verdict in zip(others, graded("math", others), strict=True) if verdict == "right"
    ]
    if show:
        apart = [pair for pair, verdict in zip(own, verdicts, strict=True) if verdict != "right"]
        print(*map(repr, [*apart, *merged]), sep="\n", file=sys.stderr)
    different = counts["wrong"] + counts["unparsed"]
    undecided = counts["undecided"] + counts["timed_out"]
    return (
        f"{name:<30}{len(golds):>7}{len(own):>11}{counts['right'] / len(own):>8.2%}{different:>11}{undecided:>11}"
        f"{len(others):>9}{len(merged):>9}"
    )


def _golds(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for line in stream:
            if gold := json.loads(line)["gold"]:
                yield gold


def _others(golds: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each gold beside others that say something else, drawn at random."""
    chance = random.Random(0)
    for gold in golds:
        apart = [other for other in golds if crude(other) != crude(gold)]
        yield from ((other, gold) for other in chance.sample(apart, min(OTHERS, len(apart))))


def speed_part(against: Path | None) -> Lines:
    """Answers a CPU second in each tree, which take turns; every turn is a process of its own."""
    trees = {"this tree": ROOT} | ({"the other tree": against} if against else {})
    rates: dict[str, list[float]] = {name: [] for name in trees}
    for _ in range(TURNS):
        for name, tree in trees.items():
            rates[name].append(_rate_in(tree))
    lines = [
        f"Answers/s on the exact path (extract, canonical form, compare), {TURNS} turns of 20,000, one core",
        f"{'tree':<30}{'median':>10}{'lowest':>10}{'highest':>10}",
    ]
    for name, some in rates.items():
        lines.append(f"{name:<30}{statistics.median(some):>10,.0f}{min(some):>10,.0f}{max(some):>10,.0f}")
    if against is None:
        lines.append("no other tree beside it: give one with --against")
    return lines


def _rate_in(tree: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SPEED],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def report(parts: Iterable[Lines]) -> str:
    """The parts as one text, with what they were measured on."""
    machine = [
        f"{processor_name()}, one core",
        f"Python {platform.python_version()}, math-verify {version('math-verify')}, sympy {version('sympy')}",
    ]
    return "\n\n".join("\n".join(lines) for lines in [machine, *parts]) + "\n"


def main() -> None:
    """Measure, print the tables, and write them beside this file."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--against", type=Path, help="another tree of this project, for the speed")
    options.add_argument("--reference", type=Path, default=REFERENCE, help="folder of the released files")
    options.add_argument("--show", action="store_true", help="list on stderr what was graded wrongly")
    chosen = options.parse_args()
    logging.disable(logging.CRITICAL)
    text = report(
        [
            table_part(chosen.show),
            reference_part(chosen.reference, chosen.show),
            speed_part(chosen.against.resolve() if chosen.against else None),
        ]
    )
    TABLE.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
