#!/usr/bin/env bash
# Guess:     Data sets of two seeds are two draws: seed 100 to train on, seed 101 to test on.
# Behaviour: Item i is drawn from seed + i, so the data set of seed 101 is that of seed 100 moved by one: of 50 questions 49
#            are the same. A test set of a neighbouring seed is the training set. The composite data set hands the shift on.
#            Splits are to be slices of one data set, or seeds further apart than the data sets are long.
# Version:   reasoning-gym 0.1.25
# Source:    __getitem__ of most data sets, for example reasoning_gym/arithmetic/chain_sum.py: Random(self.seed + idx).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet reasoning-gym==0.1.25
cd "$folder"
"$folder/venv/bin/python" -I - <<'PY'
import sys
from importlib.metadata import version

import reasoning_gym
from reasoning_gym.composite import DatasetSpec

SIZE = 50


def questions(name, seed, **options):
    return [item["question"] for item in reasoning_gym.create_dataset(name, seed=seed, size=SIZE, **options)]


print("reasoning-gym", version("reasoning-gym"))
as_stated = True
for name in ("basic_arithmetic", "chain_sum", "leg_counting", "simple_equations"):
    first, next_seed, far_seed = (questions(name, seed) for seed in (100, 101, 100 + SIZE))
    shared, shared_far = (len(set(first) & set(other)) for other in (next_seed, far_seed))
    moved = first[1:] == next_seed[:-1]
    print(f"{name:<18} seeds 100 and 101 share {shared} of {SIZE} questions (moved by one: {moved}); 100 and 150: {shared_far}")
    as_stated &= moved and shared >= SIZE - 1 and shared_far < 10

parts = [DatasetSpec(name=name, weight=1, config={}) for name in ("leg_counting", "chain_sum")]
first, next_seed = (questions("composite", seed, datasets=parts) for seed in (100, 101))
shared = len(set(first) & set(next_seed))
print(f"composite          seeds 100 and 101 share {shared} of {SIZE} questions")
as_stated &= shared > 10
if not as_stated:
    sys.exit("CHANGED: neighbouring seeds no longer share their questions as the header says")
print("as stated: the data set of the next seed is this one moved by one item")
PY
