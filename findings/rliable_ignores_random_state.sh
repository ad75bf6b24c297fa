#!/usr/bin/env bash
# Guess:     get_interval_estimates(..., random_state=RandomState(7)) gives the same interval each time, as its docstring
#            promises.
# Behaviour: random_state is handed to the parent class and then not used: the bootstrap draws from NumPy's global
#            generator. Intervals differ from call to call with one random_state, are equal after numpy.random.seed (no
#            random_state needed), and two algorithms with the same scores get different intervals in one call.
#            And with a single run the interval has width zero, without a warning: it reads as certainty.
# Version:   rliable 1.2.0, arch 7.2.0, numpy 2.4.6, pandas 2.3.3 (with pandas 3 this arch does not import)
# Source:    rliable/library.py: StratifiedBootstrap.update_indices, StratifiedIndependentBootstrap._get_indices
#            (np.random.choice).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet rliable==1.2.0 arch==7.2.0 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1
cd "$folder"
export MPLBACKEND=Agg MPLCONFIGDIR="$folder"
"$folder/venv/bin/python" -I -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from rliable import library, metrics

SCORES = np.random.RandomState(0).uniform(0.3, 0.9, size=(5, 6))  # 5 runs, 6 tasks


def interval(scores, **options):
    _, intervals = library.get_interval_estimates(
        scores, lambda runs: np.array([metrics.aggregate_iqm(runs)]), reps=500, **options
    )
    return {name: tuple(np.round(ends.ravel(), 4).tolist()) for name, ends in intervals.items()}


print("rliable", version("rliable"), "arch", version("arch"))
fixed = [interval({"a": SCORES}, random_state=np.random.RandomState(7))["a"] for _ in range(3)]
print("three calls, random_state=RandomState(7):", fixed)
seeded = []
for _ in range(2):
    np.random.seed(7)
    seeded.append(interval({"a": SCORES})["a"])
print("two calls after numpy.random.seed(7):    ", seeded)
twins = interval({"a": SCORES, "b": SCORES.copy()}, random_state=np.random.RandomState(7))
print("two algorithms with the same scores:     ", twins)
single = interval({"a": SCORES[:1]})["a"]
print("one run:                                 ", single)
if not (len(set(fixed)) > 1 and seeded[0] == seeded[1] and twins["a"] != twins["b"] and single[0] == single[1]):
    sys.exit("CHANGED: random_state is used now, or the width of a single run is not zero")
print("as stated: random_state has no effect, and one run gives an interval of width zero")
PY
