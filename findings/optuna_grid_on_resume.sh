#!/usr/bin/env bash
# Guess:     GridSampler remembers which points of the grid the study has: a study that is stopped and taken up again runs
#            the rest, and a study whose grid gets one more value runs the new points only.
# Behaviour: (1) The study holds the number of the point in a shuffled list, not the point. Taken up with another seed, the
#                numbers mean other points: some are run twice, others never, and the sampler calls the grid exhausted.
#                (The seed of the sampler is the usual "seed of the repetition", so this is easily done.)
#            (2) One more value makes a new grid of which nothing is done: all old points run again.
#                The same values in another order do so too.
#            (3) A failed trial has used up its point. The grid is "exhausted" with points that have no result.
#            (4) seed=None is seed 0, not a random order.
# Version:   optuna 5.0.0
# Source:    optuna/samplers/_grid.py: GridSampler.__init__ (shuffle, "seed or 0"), before_trial (grid_id),
#            _get_unvisited_grid_ids (is_finished), _same_search_space.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optuna==5.0.0
cd "$folder"
"$folder/venv/bin/python" -I - <<'PY'
import logging
import sys
from importlib.metadata import version

import optuna
from optuna.samplers import GridSampler

logging.disable(logging.CRITICAL)
GRID = {"rank": [4, 8], "rate": [1, 2, 3]}


def objective(trial):
    return 10 * trial.suggest_int("rank", 4, 8) + trial.suggest_int("rate", 1, 4)


def points(study, states=None):
    return [(t.params["rank"], t.params["rate"]) for t in study.get_trials(states=states)]


def taken_up(first, second, trials=None):
    """Runs a study with one sampler (so many trials, or all), then with another until that one stops."""
    study = optuna.create_study(storage="sqlite:///study.db", sampler=first)
    study.optimize(objective, n_trials=trials)
    begun = len(study.trials)
    again = optuna.load_study(study_name=study.study_name, storage="sqlite:///study.db", sampler=second)
    again.optimize(objective)
    return again, begun


print("optuna", version("optuna"))
study, _ = taken_up(GridSampler(GRID, seed=1), GridSampler(GRID, seed=1), trials=3)
same_seed = len(set(points(study)))
study, _ = taken_up(GridSampler(GRID, seed=1), GridSampler(GRID, seed=2), trials=3)
ran, other_seed = len(study.trials), len(set(points(study)))
exhausted = study.sampler.is_exhausted(study)
print(f"stopped after 3 of 6, same seed: {same_seed} points covered")
print(f"stopped after 3 of 6, other seed: {ran} trials, {other_seed} points covered, exhausted: {exhausted}")
as_stated = same_seed == 6 and ran == 6 and other_seed < 6 and exhausted

study, begun = taken_up(GridSampler(GRID), GridSampler(GRID | {"rate": [1, 2, 3, 4]}))
repeated = len(study.trials) - len(set(points(study)))
print(f"one more value: {begun} trials, then {len(study.trials) - begun}, of which {repeated} repeat a point")
as_stated &= (begun, len(study.trials), repeated) == (6, 14, 6)
study, begun = taken_up(GridSampler(GRID), GridSampler(GRID | {"rate": [3, 2, 1]}))
print(f"values in another order: {begun} trials, then {len(study.trials) - begun} more")
as_stated &= (begun, len(study.trials)) == (6, 12)


def fails_twice(trial):
    value = objective(trial)
    if trial.number < 2:
        raise OSError("the machine was taken away")
    return value


study = optuna.create_study(sampler=GridSampler(GRID))
study.optimize(fails_twice, catch=(OSError,))
results = len(set(points(study, (optuna.trial.TrialState.COMPLETE,))))
exhausted = study.sampler.is_exhausted(study)
print(f"two trials fail: {len(study.trials)} trials, {results} of 6 points have a result, exhausted: {exhausted}")
as_stated &= len(study.trials) == 6 and results == 4 and exhausted

orders = []
for seed in (None, None, 0):
    study = optuna.create_study(sampler=GridSampler(GRID, seed=seed))
    study.optimize(objective)
    orders.append(points(study))
print(f"order of seed=None, seed=None and seed=0 is one: {orders[0] == orders[1] == orders[2]}")
as_stated &= orders[0] == orders[1] == orders[2]
if not as_stated:
    sys.exit("CHANGED: GridSampler does not do what the header says")
print("as stated: a grid is known by its list and its seed, not by its points")
PY
