#!/usr/bin/env bash
# Guess:     A JSON string stays a string: answers written with to_json come back from load_dataset("json", ...) as they were.
# Behaviour: When all strings of a column look like ISO dates, the column becomes a timestamp. Answers "2020-01-05" come back
#            as datetime objects, and written once more they are the numbers 1578182400000. One other answer in the file
#            ("never") keeps the whole column as strings: the type of a row depends on the rest of the file, so a split, a
#            filter or a shard changes it. "10:30:00" and "2020" stay strings.
#            Asking for strings by features comes too late: the text is then that of a timestamp, "2020-01-05 00:00:00".
# Version:   datasets 5.2.0, pyarrow 26.0.1
# Source:    datasets/packaged_modules/json/json.py: pyarrow.json.read_json without a schema, whose type inference does this.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" -I - <<'PY'
import itertools
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
from datasets import Dataset, Features, Value, load_dataset

datasets.disable_progress_bars()
numbers = itertools.count()


def round_trip(answers, features=None):
    path = f"answers{next(numbers)}.jsonl"
    Dataset.from_dict({"answer": answers}).to_json(path)
    data = load_dataset("json", data_files=path, split="train", features=features)
    data.to_json("again.jsonl")
    return str(data.features["answer"]), data["answer"][:], Path("again.jsonl").read_text().splitlines()


print("datasets", version("datasets"), "pyarrow", version("pyarrow"))
CASES = {
    "two dates": (["2020-01-05", "2021-03-04"], None),
    "a date and a word": (["2020-01-05", "never"], None),
    "times of day": (["10:30:00", "11:30:00"], None),
    "years": (["2020", "2021"], None),
    "two dates, as strings": (["2020-01-05", "2021-03-04"], Features({"answer": Value("string")})),
}
kept = {}
for name, (answers, features) in CASES.items():
    kind, read, written = round_trip(answers, features)
    kept[name] = read == answers
    print(f"{name:<23} {answers} -> {kind}, written again: {written}")
if [name for name, same in kept.items() if not same] != ["two dates", "two dates, as strings"]:
    sys.exit("CHANGED: other columns, or none, are read as something else now")
print("as stated: a column of dates alone is no text any more")
PY
