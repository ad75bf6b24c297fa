#!/usr/bin/env bash
# Guess:     `maj@n` of LightEval's own MATH tasks (`math:algebra` and its six sisters) votes over the final answers of
#            four responses and compares the commonest with the gold answer.
# Behaviour: it votes over the whole texts and compares the commonest with the whole gold solution, letter by letter. Four
#            responses that end in the right \boxed{42} score 0, and so does one wrong beside three right; only the gold
#            solution itself scores 1. The tasks hand `normalize_pred` and `normalize_gold` to the metric, which sets any
#            name that it is given; the one it reads is `normalize`. Under that name the same responses score 1.
# Version:   lighteval 0.13.0 (transformers 5.24.0, torch 2.13.0)
# Source:    lighteval/tasks/tasks/math.py: sample_params of each task; lighteval/metrics/utils/metric_utils.py:
#            Metric.__call__ sets each name by setattr; lighteval/metrics/metrics_sample.py: SamplingMetric.preprocess and
#            MajAtN.compute read `self.normalize`, which stays None.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lighteval==0.13.0 transformers==5.24.0 torch==2.13.0 datasets==5.2.0 inspect_ai==0.3.285 numpy==2.4.6
cd "$folder"
HF_HUB_OFFLINE=1 HF_HOME="$folder/cache" "$folder/venv/bin/python" -I -W ignore - <<'PY'
import logging
import sys
from importlib.metadata import version

logging.disable(logging.WARNING)
from lighteval.metrics.metrics import Metrics
from lighteval.metrics.normalizations import math_normalizer
from lighteval.models.model_output import ModelResponse
from lighteval.tasks.tasks import math as tasks

SOLUTION = "We add the two numbers: $40 + 2 = \\boxed{42}$."
RIGHT = [
    "Forty and two make \\boxed{42}",
    "It is $\\boxed{42}$.",
    "Hence the sum is \\boxed{42}.",
    "So $x = \\boxed{42}$",
]
RESPONSES = {
    "four right answers": RIGHT,
    "three right, one wrong": [*RIGHT[:3], "So $x = \\boxed{41}$"],
    "the gold solution four times": [SOLUTION] * 4,
}


def score(metric: object, responses: list[str]) -> float:
    """The metric's score of four responses to a question, as the task asks it."""
    doc = tasks.math_prompt({"problem": "What is 40 + 2?", "solution": SOLUTION})
    return float(metric.sample_level_fn.compute(doc, ModelResponse(text=responses)))


shipped = [task for task in tasks.TASKS_TABLE if task.name.startswith("math:")]
read = Metrics.maj_at_n(sample_params={"n": 4, "strip_strings": True, "normalize": math_normalizer})
print("lighteval", version("lighteval"), "tasks:", ", ".join(task.name for task in shipped))
scores = {}
for name, responses in RESPONSES.items():
    scores[name] = {score(metric, responses) for task in shipped for metric in task.metrics}
    print(f"{name}: {scores[name]} in the tasks, {score(read, responses)} under the name that is read")
expected = {"four right answers": {0.0}, "three right, one wrong": {0.0}, "the gold solution four times": {1.0}}
if scores != expected or not shipped:
    sys.exit("CHANGED: the tasks vote over answers")
if {score(read, responses) for responses in RESPONSES.values()} != {1.0}:
    sys.exit("CHANGED: `normalize` is not what is read")
print("as stated: whole texts are voted on, and right answers score 0")
PY
