"""Optuna's samplers and pruners, made so that neither the number of workers nor an interruption changes a choice."""

from typing import TYPE_CHECKING

from w2s_core.engine.canonical import digest
from w2s_sweeps.study_file import Sampler, Study

if TYPE_CHECKING:
    import optuna


def make_sampler(settings: Sampler, asked: int) -> "optuna.samplers.BaseSampler":
    """The sampler for one more trial, seeded by its number: what a process drew before cannot change what it draws."""
    from optuna.samplers import NSGAIISampler, QMCSampler, TPESampler

    if settings.name == "qmc":  # its sequence is one: the place in it is kept in the storage
        return QMCSampler(seed=settings.seed, scramble=True, warn_asynchronous_seeding=False)
    seed = int(digest([settings.seed, asked])[:8], 16)
    if settings.name == "nsga2":
        return NSGAIISampler(seed=seed)
    return TPESampler(seed=seed, multivariate=True, constant_liar=True)


def make_pruner(study: Study) -> "optuna.pruners.BasePruner":
    """The pruner that a study names, or one that never prunes."""
    from optuna.pruners import MedianPruner, NopPruner, PercentilePruner

    if study.pruner is None:
        return NopPruner()
    if study.pruner.name == "median":
        return MedianPruner(n_startup_trials=study.pruner.startup_trials)
    return PercentilePruner(study.pruner.percentile, n_startup_trials=study.pruner.startup_trials)
