#!/usr/bin/env bash
# Guess:     Dataset.to_json writes numbers that read back as they were, as Python's json, to_csv and to_parquet do.
# Behaviour: Numbers are written with ten digits after the point, in lists too. A probability below 5e-11 becomes 0.0, and
#            its logarithm minus infinity; a response's likelihood is of that size after some twenty tokens. Likelihoods
#            that differ become equal, so a choice by the highest is another. No warning. Integers are kept.
#            double_precision=15 (handed on to pandas) moves the limit to 5e-16 and is the most that can be asked for;
#            rows written with json.dumps, or Parquet, keep every digit.
# Version:   datasets 5.2.0, pandas 3.1.1
# Source:    datasets/io/json.py, JsonDatasetWriter._batch_json calls pandas' DataFrame.to_json, whose double_precision is 10.
#            The page of Dataset.to_json names pandas for the options it hands on, and not this default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pandas==3.1.1
cd "$folder"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1
"$folder/venv/bin/python" -I - <<'PY'
import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import datasets
from datasets import Dataset

datasets.disable_progress_bars()
# A response's likelihood: the product of its tokens' probabilities.
likelihoods = [math.prod([0.3] * 20), math.prod([0.31] * 20), math.prod([0.9] * 20)]
rows = Dataset.from_dict({"likelihood": likelihoods, "by_number": [[p, 1 / 3] for p in likelihoods]})
rows.to_json("rows.jsonl")
rows.to_json("fifteen.jsonl", double_precision=15)
rows.to_csv("rows.csv")
rows.to_parquet("rows.parquet")
Path("dumps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(name):
    kind = {"jsonl": "json"}.get(name.rpartition(".")[2], name.rpartition(".")[2])
    return list(datasets.load_dataset(kind, data_files=name, split="train")["likelihood"])


print("datasets", version("datasets"), "pandas", version("pandas"))
print(f"{'in memory':<15}", likelihoods)
back = {name: read(name) for name in ("rows.jsonl", "fifteen.jsonl", "rows.csv", "rows.parquet", "dumps.jsonl")}
for name, values in back.items():
    print(f"{name:<15}", values)
print(Path("rows.jsonl").read_text().splitlines()[0])
kept = {name for name, values in back.items() if values == likelihoods}
if kept != {"rows.csv", "rows.parquet", "dumps.jsonl"} or back["rows.jsonl"][:2] != [0.0, 1e-10]:
    sys.exit("CHANGED: to_json keeps other digits now")
print("as stated: ten digits after the point, where CSV, Parquet and json.dumps keep all")
PY
