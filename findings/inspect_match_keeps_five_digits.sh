#!/usr/bin/env bash
# Guess:     `match(numeric=True)`, which Inspect's example of GSM8K grades by, counts a response as right where its number
#            is the target.
# Behaviour: both numbers are written with five significant digits and compared as texts. Whole numbers of six digits or
#            more that differ in the later ones are equal: of responses that are all wrong by one, all count as right.
#            And a number is found only as a word of its own: of "so x=42." nothing is read, of "Step 3: x=42." the 3, and
#            42%, 42km and \boxed{42} are no numbers either; all of these count as wrong.
# Version:   inspect_ai 0.3.285
# Source:    inspect_ai/scorer/_common.py: normalize_number, whose `precision` is 5 and is set by no caller; match_str
#            splits the response at blanks, and _parse_number takes or leaves each part whole.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet inspect_ai==0.3.285
cd "$folder"
"$folder/venv/bin/python" -I -W ignore - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import CORRECT, Target, match
from inspect_ai.solver import TaskState

OFF_BY_ONE = {"123456": "123457", "1000000": "1000001", "2500000": "2,499,999", "87654321": "87654322"}
IN_A_WORD = ["so x=42.", "Step 3: x=42.", "a share of 42%", "a way of 42km", "The answer is \\boxed{42}"]
AS_WORDS = ["The answer is 42.", "42 dollars", "**42**", "it costs $42", "(42)"]


def judged(responses: list[tuple[str, str]]) -> tuple[float, list[str]]:
    """The share of responses that count as right, by target and text, and the answers that were read."""
    scorer, scores = match(numeric=True), []
    for number, (target, text) in enumerate(responses):
        state = TaskState(model="mockllm/model", sample_id=number, epoch=1, input="a question", messages=[])
        state.output = ModelOutput.from_content("mockllm/model", text)
        scores.append(asyncio.run(scorer(state, Target(target))))
    return sum(score.value == CORRECT for score in scores) / len(scores), [str(score.answer) for score in scores]


print("inspect_ai", version("inspect_ai"))
cases = {
    "off by one": [(target, f"The answer is {number}.") for target, number in OFF_BY_ONE.items()],
    "42 within a word": [("42", text) for text in IN_A_WORD],
    "42 as a word": [("42", text) for text in AS_WORDS],
}
accuracies = {}
for name, responses in cases.items():
    accuracies[name], answers = judged(responses)
    print(f"{name}: accuracy {accuracies[name]:.2f}; read: {', '.join(map(repr, answers))}")
if accuracies != {"off by one": 1.0, "42 within a word": 0.0, "42 as a word": 1.0}:
    sys.exit("CHANGED: numbers are compared, or found, otherwise")
print("as stated: five digits are compared, and numbers are found as whole words alone")
PY
