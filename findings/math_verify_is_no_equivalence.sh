#!/usr/bin/env bash
# Guess:     verify(gold, answer) is true when the two are equal as exact expressions (decimals: to six places), so
#            "verified equal" can be used to vote: it groups answers into classes.
# Behaviour: (1) Exact fractions with large parts verify as equal though they are not: the difference is evaluated with
#                chop=True, and every factor below about 1e-17 counts as zero first, whatever it is multiplied with. The
#                birthday probabilities of 22 and of 23 people are "equal" (0.524 and 0.493), (5/6)^30 written as
#                5^30/6^30 is equal to a fifth of itself, and the charge of an electron to its mass.
#            (2) The relation is not transitive: 50\% verifies with 0.5 and with 50, 0.5 and 50 do not verify.
#            (3) The order of a pair counts or not, by its size: (2,3) is read as an interval and verifies with the set
#                {2,3} in both directions; (3,2) is a point and verifies with that set in one direction only.
# Version:   math-verify 0.9.0, latex2sympy2_extended 1.11.0, sympy 1.14.0
# Source:    math_verify/grader.py: sympy_numeric_eq ("evalf(chop=True, ...) == 0"), sympy_expr_eq and verify.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "math-verify[antlr4-13-2]==0.9.0" latex2sympy2_extended==1.11.0 sympy==1.14.0
cd "$folder"
"$folder/venv/bin/python" -I - <<'PY'
import logging
import sys
from importlib.metadata import version

from math_verify import parse, verify

logging.disable(logging.CRITICAL)
UNEQUAL = [
    # gold, answer, what they are, ratio
    (r"\frac{365!}{342! \cdot 365^{23}}", r"\frac{365!}{343! \cdot 365^{22}}", "birthdays of 23 and 22 people", 0.94),
    (r"\frac{5^{30}}{6^{30}}", r"\frac{5^{29}}{6^{30}}", "no six in 30 throws, and a fifth of it", 5),
    (r"\frac{1}{6^{25}}", r"\frac{1}{6^{24}}", "25 and 24 sixes in a row", 1 / 6),
    (r"1.6 \times 10^{-19}", r"9.1 \times 10^{-31}", "charge and mass of an electron", 1.8e11),
]
# gold, answer, verdict seen
OTHERS = [
    (r"50\%", "0.5", True),
    (r"50\%", "50", True),
    ("0.5", "50", False),
    ("(2,3)", r"\{2,3\}", True),
    (r"\{2,3\}", "(2,3)", True),
    ("(3,2)", r"\{2,3\}", False),
    (r"\{2,3\}", "(3,2)", True),
    # Not everything small is equal: the same ratio at larger parts is told apart.
    (r"\frac{1}{6^{10}}", r"\frac{1}{6^{9}}", False),
]


def equal(gold, answer):
    return bool(verify(parse(f"${gold}$"), parse(f"${answer}$")))


print("math-verify", version("math-verify"), "sympy", version("sympy"))
changed = 0
for gold, answer, name, ratio in UNEQUAL:
    verdict = equal(gold, answer)
    changed += verdict is not True
    print(f"{verdict!s:<6}{gold}  |  {answer}   ({name}; ratio {ratio:.3g})")
for gold, answer, expected in OTHERS:
    verdict = equal(gold, answer)
    changed += verdict is not expected
    print(f"{verdict!s:<6}{gold}  |  {answer}")
if changed:
    sys.exit(f"CHANGED: {changed} verdicts are not those of the header")
print("as stated: unequal numbers verify, and the relation is neither symmetric nor transitive")
PY
