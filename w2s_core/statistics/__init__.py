"""Intervals and tests for scores of questions, over seeds and clusters of questions. Pure: numpy and scipy only.

One table of scores is an array of shape [seeds, questions], the same questions in every row. Scores are 0 or 1, or
shares in between (pass@k). Everything is deterministic: resampling takes its seed as an argument.
"""

from w2s_core.statistics.calibration import (
    MEASURES,
    AtomAccuracy,
    Atoms,
    Brier,
    RiskCoverage,
    ThresholdResult,
    atom_accuracy,
    auroc,
    brier,
    calibration_atoms,
    calibration_changes,
    calibration_intervals,
    choose_threshold,
    expected_calibration_error,
    keep_above,
    risk_coverage,
)
from w2s_core.statistics.crossed import crossed_bootstrap, crossed_variance
from w2s_core.statistics.estimates import Bounds, Estimate, Spread, minimum_detectable_effect, quantile_t
from w2s_core.statistics.multiple import holm
from w2s_core.statistics.paired import mcnemar_exact, paired_difference, paired_permutation, same_ids
from w2s_core.statistics.partial import bounded_recovery, bounded_score, end_level, imbens_manski
from w2s_core.statistics.recovery import Recovery, recovery
from w2s_core.statistics.scores import bootstrap_mean, mean_and_se, score, wilson

__all__ = [
    "MEASURES",
    "AtomAccuracy",
    "Atoms",
    "Bounds",
    "Brier",
    "Estimate",
    "Recovery",
    "RiskCoverage",
    "Spread",
    "ThresholdResult",
    "atom_accuracy",
    "auroc",
    "bootstrap_mean",
    "bounded_recovery",
    "bounded_score",
    "brier",
    "calibration_atoms",
    "calibration_changes",
    "calibration_intervals",
    "choose_threshold",
    "crossed_bootstrap",
    "crossed_variance",
    "end_level",
    "expected_calibration_error",
    "holm",
    "imbens_manski",
    "keep_above",
    "mcnemar_exact",
    "mean_and_se",
    "minimum_detectable_effect",
    "paired_difference",
    "paired_permutation",
    "quantile_t",
    "recovery",
    "risk_coverage",
    "same_ids",
    "score",
    "wilson",
]
