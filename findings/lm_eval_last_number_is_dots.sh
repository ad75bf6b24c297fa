#!/usr/bin/env bash
# Guess:     GSM8K's `flexible-extract` takes the last number of a response, so a response that says 42 and goes on
#            without another number is right.
# Behaviour: two or more dots, commas or dollar signs are a number to it. "The answer is 42. I hope this helps..." answers
#            "...", and 42 between lines of "$$", as models set display mathematics, answers "$$": both count as wrong,
#            and nothing says that no digit was there. "42.00" is wrong too, since texts are compared. The pattern stands
#            in 47 files of tasks of the package (mgsm, afrimgsm, gsm_plus and others).
# Version:   lm_eval 0.4.13
# Source:    lm_eval/tasks/gsm8k/gsm8k.yaml: filter_list, flexible-extract, whose first alternative asks for two
#            characters of [$0-9.,] and for no digit among them; lm_eval/filters/extraction.py: RegexFilter (the last
#            match). Filters and metric are built here from the package's own file; its data set is not needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lm_eval==0.4.13 datasets==5.2.0 evaluate==0.4.6 numpy==2.4.6 scikit-learn==1.9.1
cd "$folder"
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" -I -W ignore - <<'PY'
import sys
from importlib.metadata import version
from importlib.resources import files

import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import exact_match_fn
from lm_eval.filters import build_filter_ensemble

GOLD = "40 + 2 = 42\n#### 42"
RESPONSES = {
    "The answer is 42.": True,
    "The answer is $42.": True,
    "Hence $$40 + 2 = 42$$": True,
    "The answer is 42. I hope this helps...": False,
    "The total is\n$$\n42\n$$": False,
    "The answer is 42.00.": False,
}
FOLDER = files("lm_eval").joinpath("tasks")
TASK = yaml.safe_load(FOLDER.joinpath("gsm8k/gsm8k.yaml").read_text())
(METRIC,) = TASK["metric_list"]
OPTIONS = {name: METRIC[name] for name in ("regexes_to_ignore", "ignore_case", "ignore_punctuation")}
(FILTERS,) = (entry["filter"] for entry in TASK["filter_list"] if entry["name"] == "flexible-extract")


def judged(response: str) -> tuple[str, bool]:
    """What the filters take from a response, and whether it counts as right."""
    instance = Instance("generate_until", {}, (), 0)
    instance.resps = [response]
    steps = [[step["function"], {name: step[name] for name in step if name != "function"}] for step in FILTERS]
    build_filter_ensemble("flexible", steps).apply([instance])
    answer = instance.filtered_resps["flexible"]
    return answer, bool(exact_match_fn(predictions=[answer], references=[GOLD], **OPTIONS)["exact_match"])


print("lm_eval", version("lm_eval"))
pattern = FILTERS[0]["regex_pattern"]
alike = sum(pattern in path.read_text() for path in FOLDER.rglob("*yaml") if path.is_file())
print(f"{pattern} stands in {alike} files")
verdicts = {}
for response in RESPONSES:
    answer, verdicts[response] = judged(response)
    print(f"{response!r} -> {answer!r}, {'right' if verdicts[response] else 'wrong'}")
if verdicts != RESPONSES:
    sys.exit("CHANGED: what has no digit is no number any more")
print("as stated: dots and dollar signs are taken for the last number, and the response counts as wrong")
PY
