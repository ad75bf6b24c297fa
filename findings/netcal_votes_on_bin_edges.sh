#!/usr/bin/env bash
# Guess:     confidences that are shares of ten votes (0, 0.1, ..., 1) have a bin each of ten bins of equal width (1.0 beside
#            0.9), and their calibration error does not hang on whether they are stored as float32 or as float64.
# Behaviour: each share lies on an edge of the bins, and rounding decides its side. As float64, 0.3 and 0.6 fall into the
#            bins of 0.2 and 0.5: their errors cancel, the ECE is too low, and two bins stay empty. As float32, netcal
#            counts by one rule and averages by another: 0.7 is counted with 0.6 and 0.9 with 0.8, but averaged in the
#            bins above. So some errors are weighted twice and others not at all, and the ECE is above the exact sum over
#            the shares, which no grouping can exceed. The same votes give 0.034 and 0.049; exact is 0.039. With 15 bins
#            both types are right. scikit-learn's reliability curve of these votes has 10 points in one type and 8 in
#            the other.
# Version:   netcal 1.3.6, scikit-learn 1.9.1, numpy 1.26.4
# Source:    netcal/metrics/Miscalibration.py: binning (counts by numpy.histogramdd, means by scipy's
#            binned_statistic_dd, which takes what is near an edge as on it; numpy.linspace's third edge is above 0.3);
#            sklearn/calibration.py: calibration_curve (searchsorted).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3.11}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet netcal==1.3.6 scikit-learn==1.9.1 numpy==1.26.4 scipy==1.17.1 torch==2.13.0
cd "$folder"
export MPLBACKEND=Agg MPLCONFIGDIR="$folder"
"$folder/venv/bin/python" -I -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from netcal.metrics import ECE
from sklearn.calibration import calibration_curve

SHARES = np.repeat(np.arange(11) / 10, 40)  # 440 questions, 40 of each share of votes
RIGHT = (np.random.default_rng(0).random(len(SHARES)) < SHARES).astype(int)  # calibrated

print("netcal", version("netcal"), "scikit-learn", version("scikit-learn"), "numpy", version("numpy"))
exact = sum(abs(RIGHT[SHARES == share].mean() - share) / 11 for share in np.unique(SHARES))
print(f"exact, by share: {exact:.4f}")
errors, points = {}, {}
for kind in (np.float64, np.float32):
    votes = SHARES.astype(kind)
    errors[kind] = {bins: float(ECE(bins=bins).measure(votes, RIGHT)) for bins in (10, 15)}
    points[kind] = calibration_curve(RIGHT, votes, n_bins=10)[1].round(2).tolist()
    by_bins = ", ".join(f"{bins} bins {error:.4f}" for bins, error in errors[kind].items())
    print(f"{kind.__name__}: ECE {by_bins}; points of the curve {points[kind]}")
as_stated = (
    errors[np.float64][10] < 0.95 * exact < 1.05 * exact < errors[np.float32][10]
    and all(abs(error[15] - exact) < 1e-6 for error in errors.values())
    and len(points[np.float64]) != len(points[np.float32])
)
if not as_stated:
    sys.exit("CHANGED: shares of votes now have a bin each, whatever their type")
print("as stated: ECE in ten bins is too low as float64 and too high as float32")
PY
