"""Two systems on the same questions: the difference is taken question by question."""

from collections.abc import Hashable, Mapping, Sequence, Set

import numpy as np
import numpy.typing as npt

from w2s_core.errors import UserError
from w2s_core.statistics.crossed import DRAWS, crossed_bootstrap
from w2s_core.statistics.estimates import LEVEL, Estimate

EXACT_UP_TO = 16
"""Questions that differ, up to which all sign patterns are counted instead of drawn."""


def same_ids(first: Set[str], second: Set[str], names: tuple[str, str] = ("A", "B")) -> list[str]:
    """The common ids, sorted. A pair of systems that answered other questions cannot be compared.

    Raises:
        UserError: the sets differ; the message names some ids that only one has.
    """
    if first == second:
        return sorted(first)
    parts = []
    for name, only in zip(names, (first - second, second - first), strict=True):
        if only:
            examples = ", ".join(sorted(only)[:3])
            parts.append(f"{len(only)} only in {name} ({examples}{', ...' if len(only) > 3 else ''})")
    raise UserError(f"{names[0]} and {names[1]} were graded on different questions: {'; '.join(parts)}")


def paired_difference(
    first: Mapping[str, float],
    second: Mapping[str, float],
    clusters: Mapping[str, Hashable] | None = None,
    *,
    names: tuple[str, str] = ("A", "B"),
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """Mean of `second - first` over questions, with a bootstrap interval over questions or clusters.

    Args:
        first, second: score by question id.
        clusters: cluster by question id.

    Raises:
        UserError: the two have different ids.
    """
    ids = same_ids(first.keys(), second.keys(), names)
    tables = np.array([[[scores[name] for name in ids]] for scores in (first, second)], dtype=np.float64)
    labels = [clusters[name] for name in ids] if clusters is not None else None
    return crossed_bootstrap(
        tables.reshape(2, 1, len(ids)),
        lambda m: m[..., 1] - m[..., 0],
        clusters=labels,
        level=level,
        draws=draws,
        seed=seed,
    )


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p from the two discordant counts; 1 where there are none.

    Each discordant question is a fair coin under the null hypothesis; p doubles the smaller binomial tail.
    """
    if only_first < 0 or only_second < 0:
        raise UserError(f"McNemar: {only_first} and {only_second} are no counts")
    n = only_first + only_second
    tail = ways = 1  # C(n, 0); each next binomial comes from the one before
    for i in range(min(only_first, only_second)):
        ways = ways * (n - i) // (i + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**n))


def paired_permutation(
    differences: npt.ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> float:
    """Two-sided p of "the mean difference is 0" when the two systems of a question (or cluster) may be swapped.

    All sign patterns are counted where at most 16 questions or clusters differ; else `draws` patterns are drawn, and
    p = (hits + 1) / (draws + 1), which is never 0. Works for shares (pass@k) as for yes or no.
    """
    from w2s_core.statistics.crossed import cluster_index

    values = np.asarray(differences, dtype=np.float64)
    labels = cluster_index(clusters, values.size)
    units = np.bincount(labels, weights=values)
    units = units[np.abs(units) > 1e-12]
    observed = abs(units.sum()) - 1e-9
    if units.size <= EXACT_UP_TO:
        patterns = np.arange(2**units.size)[:, None] >> np.arange(units.size) & 1
        return float((np.abs((2 * patterns - 1) @ units) >= observed).mean())
    rng = np.random.default_rng(seed)
    hits = 0
    for start in range(0, draws, 1000):  # in blocks: the signs of 10,000 draws at once would fill the memory
        signs = rng.integers(0, 2, size=(min(1000, draws - start), units.size)) * 2 - 1
        hits += int((np.abs(signs @ units) >= observed).sum())
    return (hits + 1) / (draws + 1)
