"""The statistics against slow and obvious loops, second libraries, and definitions solved by root finding."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import brentq

from w2s_core.errors import UserError
from w2s_core.statistics import (
    Estimate,
    Recovery,
    Spread,
    crossed_bootstrap,
    crossed_variance,
    holm,
    mcnemar_exact,
    paired_difference,
    paired_permutation,
    recovery,
    same_ids,
    score,
    wilson,
)
from w2s_core.statistics.recovery import _end, _unresolved

Table = npt.NDArray[np.float64]
seeds_of_rng = st.integers(0, 2**32 - 1)


def minus(means: Table) -> Table:
    return np.asarray(means[..., 1] - means[..., 0])


def ends(found: Estimate) -> tuple[float, float]:
    return found.low, found.high


# --- variance of a mean over seeds and clusters ---


def slow_parts(table: Table, clusters: Sequence[int]) -> tuple[float, float, float]:
    """Variances of the mean from sums of squares, cell by cell: clusters alone, seeds, clusters beyond the residual.

    Clusters alone: the sandwich of a regression on a constant. A cell is the sum of one seed's deviations over one
    cluster; a main effect is the mean of its cells.
    """
    seeds, n = table.shape
    names = sorted(set(clusters))
    groups, grand = len(names), table.mean()
    cell = [
        [sum(table[s, q] - grand for q in range(n) if clusters[q] == g) for g in names] for s in range(seeds)
    ]
    of_cluster = [sum(cell[s][g] for s in range(seeds)) / seeds for g in range(groups)]
    of_seed = [sum(cell[s]) / groups for s in range(seeds)]
    alone = groups / (groups - 1) * sum(one**2 for one in of_cluster) / n**2
    if seeds == 1:
        return alone, 0.0, alone
    among_seeds = sum((one * groups / n) ** 2 for one in of_seed) / (seeds - 1) / seeds
    squares = sum((cell[s][g] - of_seed[s] - of_cluster[g]) ** 2 for s in range(seeds) for g in range(groups))
    residual = groups / n**2 * squares / ((seeds - 1) * (groups - 1)) / seeds
    return alone, among_seeds, max(0.0, alone - residual)


def slow_reach(table: Table, clusters: Sequence[int], level: float = 0.95) -> float:
    seeds, groups = len(table), len(set(clusters))
    alone, among_seeds, beyond = slow_parts(table, clusters)
    t_groups = stats.t.ppf(0.5 + level / 2, groups - 1)
    if seeds == 1:
        return float(t_groups * math.sqrt(alone))
    t_seeds = stats.t.ppf(0.5 + level / 2, seeds - 1)
    return math.sqrt(max(alone * t_groups**2, among_seeds * t_seeds**2 + beyond * t_groups**2))


def random_clusters(rng: np.random.Generator, n: int) -> list[int]:
    """Of unequal size, two at least."""
    return [0, 1, *rng.integers(0, max(2, n // 2), n - 2).tolist()]


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(3, 14), seeds_of_rng)
def test_variance_with_uneven_clusters_is_that_of_slow_sums(seeds: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table, clusters = rng.random((seeds, n)), random_clusters(rng, n)
    spread = crossed_variance(table, clusters)
    alone, among_seeds, beyond = slow_parts(table, clusters)
    expected = [alone] if seeds == 1 else [among_seeds, beyond]
    assert [variance for variance, _ in spread.parts] == pytest.approx(expected, abs=1e-12)
    assert spread.reach() == pytest.approx(slow_reach(table, clusters), rel=1e-6)


# --- the crossed bootstrap ---

DRAWS = 60


def slow_bootstrap(
    tables: Table, statistic: Callable[[Table], Table], clusters: Sequence[int], seed: int
) -> tuple[float, float]:
    """The same resamples, written out: seeds and clusters repeated as often as drawn, questions put side by side."""
    systems, seeds, n = tables.shape
    names = list(dict.fromkeys(clusters))
    drawn = [
        np.random.default_rng([seed, stream]).multinomial(size, np.full(size, 1 / size), size=DRAWS)
        for stream, size in enumerate((len(names), seeds))
    ]
    values = []
    for of_clusters, of_seeds in zip(*drawn, strict=True):
        picked: list[list[float]] = [[] for _ in range(systems)]
        for s, times in enumerate(of_seeds):
            for _ in range(times):
                for name, copies in zip(names, of_clusters, strict=True):
                    for _ in range(copies):
                        questions = [q for q in range(n) if clusters[q] == name]
                        for m in range(systems):
                            picked[m] += [tables[m, s, q] for q in questions]
        values.append(float(statistic(np.array([np.mean(one) for one in picked]))))
    means = tables.mean(axis=(1, 2))
    value = float(statistic(means))
    step = np.eye(systems) * 1e-6
    slopes = [float(statistic(means + one) - statistic(means - one)) / 2e-6 for one in step]
    reach = slow_reach(np.tensordot(slopes, tables, axes=1), clusters)
    factor = reach / (np.std(values) * stats.norm.ppf(0.975))
    low, high = np.percentile(values, [2.5, 97.5])
    return value - max(factor * (value - low), reach / 2), value + max(factor * (high - value), reach / 2)


@settings(max_examples=12)
@given(st.integers(1, 4), st.integers(6, 12), seeds_of_rng, st.sampled_from(["mean", "paired", "lone"]))
def test_bootstrap_is_the_double_loop_over_the_same_resamples(
    seeds: int, n: int, seed: int, kind: str
) -> None:
    rng, paired = np.random.default_rng(seed), kind != "mean"
    tables, clusters = rng.random((2 if paired else 1, seeds, n)), random_clusters(rng, n)
    if kind == "lone":  # one question differs, in one seed: most draws have it not at all
        tables[:] = 0.0
        tables[seed % 2, 0, 0] = 1.0
    statistic: Callable[[Table], Table] = minus if paired else (lambda means: means[..., 0])
    found = crossed_bootstrap(tables, statistic, clusters=clusters, draws=DRAWS, seed=7)
    assert ends(found) == pytest.approx(slow_bootstrap(tables, statistic, clusters, 7), rel=1e-4, abs=1e-6)


# --- one share ---


@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_inverts_the_score_test(n: int, data: st.DataObject, level: float) -> None:
    """Its ends are the shares whose own standard error puts the observed share just at the edge."""
    right = data.draw(st.integers(0, n))
    z, share = stats.norm.ppf(0.5 + level / 2), right / n
    low, high = ends(wilson(right, n, level))

    def edge(p: float) -> float:
        return (share - p) ** 2 - z * z * p * (1 - p) / n

    assert low == pytest.approx(brentq(edge, 0, share * (1 - 1e-9)) if right else 0, abs=1e-9)
    assert high == pytest.approx(brentq(edge, share + (1 - share) * 1e-9, 1) if right < n else 1, abs=1e-9)


@given(st.integers(1, 4), seeds_of_rng)
def test_score_inverts_the_test_with_the_error_of_clusters_and_seeds(seeds: int, seed: int) -> None:
    """At an end p of the interval, the error is that of the slow sums scaled from the observed share to p."""
    rng = np.random.default_rng(seed)
    table, clusters = (rng.random((seeds, 40)) < 0.8).astype(float), random_clusters(rng, 40)
    found, reach = score(table, clusters), slow_reach(table, clusters)
    assume(reach > 0)
    for p in ends(found):
        scaled = reach * math.sqrt(p * (1 - p) / (found.value * (1 - found.value)))
        assert abs(found.value - p) == pytest.approx(scaled, rel=1e-6)


# --- two systems ---


@given(st.integers(0, 6), st.integers(0, 6))
def test_mcnemar_counts_all_ways_the_coins_can_fall(b: int, c: int) -> None:
    n = b + c
    falls = [sum(one) for one in itertools.product([0, 1], repeat=n)]
    as_far = sum(abs(2 * heads - n) >= abs(b - c) for heads in falls)
    assert mcnemar_exact(b, c) == pytest.approx(as_far / 2**n)


score_values = st.sampled_from([0.0, 0.1, 0.5, 1.0])
pairs = st.lists(st.tuples(score_values, score_values, st.integers(0, 5)), min_size=1, max_size=12)


@settings(max_examples=60)
@given(pairs)
def test_permutation_swaps_the_systems_of_whole_clusters_in_every_way(
    table: list[tuple[float, float, int]],
) -> None:
    names = sorted({cluster for _, _, cluster in table})

    def gap(swapped: set[int]) -> float:
        first = [b if cluster in swapped else a for a, b, cluster in table]
        second = [a if cluster in swapped else b for a, b, cluster in table]
        return abs(sum(second) - sum(first))

    all_swaps = [
        {name for name, swap in zip(names, pattern, strict=True) if swap}
        for pattern in itertools.product([False, True], repeat=len(names))
    ]
    expected = sum(gap(one) >= gap(set()) - 1e-9 for one in all_swaps) / len(all_swaps)
    found = paired_permutation([b - a for a, b, _ in table], [cluster for _, _, cluster in table])
    assert found == pytest.approx(expected)


def test_permutation_is_scipys() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 11, 10) / 10, rng.integers(0, 11, 10) / 10
    theirs = stats.permutation_test(
        (first, second),
        lambda a, b, axis: (b - a).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert paired_permutation(second - first) == pytest.approx(theirs.pvalue)


def test_drawn_permutation_is_near_the_exact_p_of_unequal_differences() -> None:
    """25 differences in tenths: the exact distribution of their signed sum, by convolution."""
    tenths = np.random.default_rng(6).integers(1, 11, 25) * np.repeat([1, -1], [17, 8])
    ways = {0: 1}
    for one in tenths.tolist():
        grown: dict[int, int] = {}
        for total, count in ways.items():
            for moved in (total + one, total - one):
                grown[moved] = grown.get(moved, 0) + count
        ways = grown
    far = sum(count for total, count in ways.items() if abs(total) >= abs(int(tenths.sum())))
    exact = far / 2**25
    error = math.sqrt(exact * (1 - exact) / 10_000)
    assert paired_permutation(tenths / 10) == pytest.approx(exact, abs=4 * error)


def test_paired_difference_of_one_seed_has_the_error_and_p_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(8)
    first, second = rng.random(60), rng.random(60) + 0.1
    ids = [f"test-{i:05}" for i in range(60)]
    found = paired_difference(dict(zip(ids, first, strict=True)), dict(zip(ids, second, strict=True)))
    theirs = stats.ttest_rel(second, first)
    assert found.se == pytest.approx((second - first).std(ddof=1) / math.sqrt(60))
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-5)
    interval = theirs.confidence_interval()
    assert ends(found) == pytest.approx(
        (interval.low, interval.high), abs=0.1 * (interval.high - interval.low)
    )


@given(st.sets(st.text("ab", max_size=3)), st.sets(st.text("ab", max_size=3)))
def test_unequal_sets_of_ids_are_one_line_and_equal_ones_come_sorted(
    first: set[str], second: set[str]
) -> None:
    if first == second:
        assert same_ids(first, second) == sorted(first)
        return
    with pytest.raises(UserError) as error:
        same_ids(first, second)
    message = str(error.value)
    assert "\n" not in message
    for name, only in (("A", first - second), ("B", second - first)):
        assert (f"{len(only)} only in {name}" in message) == bool(only)


def test_no_questions_one_question_and_labels_that_do_not_fit() -> None:
    nobody = paired_difference({}, {})
    assert math.isnan(nobody.value)
    assert math.isnan(nobody.p)
    lone = paired_difference({"q": 0.0}, {"q": 1.0})
    assert (lone.value, lone.n) == (1.0, 1)
    assert math.isnan(lone.low)
    for wrong in (lambda: score([1.0, 0.0], ["t"]), lambda: paired_permutation([1.0, 0.0], ["t"])):
        with pytest.raises(UserError, match="1 labels for 2"):
            wrong()


# --- performance gap recovered ---


def three_systems(rng: np.random.Generator, seeds: int, n: int) -> list[Table]:
    """Floor, system and ceiling, right on much the same questions."""
    question = rng.normal(0, 1, n)
    cuts = (0.9, -0.2, -1.6)
    return [(question + rng.normal(0, 1, (seeds, n)) > cut).astype(float) for cut in cuts]


def test_pgr_of_one_seed_is_fiellers_formula_with_clustered_covariances() -> None:
    rng = np.random.default_rng(10)
    floor, system, ceiling = three_systems(rng, 1, 150)
    clusters = random_clusters(rng, 150)
    y, x = (system - floor)[0], (ceiling - floor)[0]
    groups = len(set(clusters))
    sums = np.zeros((2, groups))
    for q, name in enumerate(sorted(set(clusters)).index(c) for c in clusters):
        sums[:, name] += (y[q] - y.mean(), x[q] - x.mean())
    (of_y, both), (_, of_x) = groups / (groups - 1) * sums @ sums.T / 150**2
    t2 = stats.t.ppf(0.975, groups - 1) ** 2
    roots = np.roots(
        [x.mean() ** 2 - t2 * of_x, -2 * (x.mean() * y.mean() - t2 * both), y.mean() ** 2 - t2 * of_y]
    )
    found = recovery(floor, system, ceiling, clusters)
    assert ends(found.ratio) == pytest.approx((min(roots), max(roots)), abs=1e-8)


def test_at_the_ends_of_its_interval_the_t_test_gives_5_per_cent() -> None:
    floor, system, ceiling = (one[0] for one in three_systems(np.random.default_rng(11), 1, 200))
    found = recovery(floor, system, ceiling).ratio
    for end in ends(found):
        rest = (system - floor) - end * (ceiling - floor)
        assert stats.ttest_1samp(rest, 0).pvalue == pytest.approx(0.05, abs=1e-6)
    linear = (system - floor) - found.value * (ceiling - floor)
    assert found.se == pytest.approx(stats.sem(linear) / (ceiling - floor).mean())
    wider = recovery(floor, system, ceiling, level=0.99).ratio
    assert wider.low < found.low < found.high < wider.high


@settings(max_examples=15)
@given(st.integers(2, 5), seeds_of_rng)
def test_pgr_over_seeds_inverts_the_test_of_slow_sums(seeds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    floor, system, ceiling = three_systems(rng, seeds, 60)
    clusters = [q // 2 for q in range(60)]
    found = recovery(floor, system, ceiling, clusters)
    assume(found.resolved)

    def edge(r: float) -> float:
        rest = (system - floor) - r * (ceiling - floor)
        return abs(float(rest.mean())) - slow_reach(rest, clusters)

    assert found.ratio.low < found.ratio.value < found.ratio.high
    for end in ends(found.ratio):
        nudge = 1e-4 * (end - found.ratio.value)
        assert edge(end - nudge) < 0 < edge(end + nudge)


@settings(max_examples=25)
@given(st.integers(1, 4), seeds_of_rng)
def test_pgr_turns_with_right_and_wrong(seeds: int, seed: int) -> None:
    """With wrong for right, ceiling and floor change places: the way that is left instead of the way gone."""
    floor, system, ceiling = three_systems(np.random.default_rng(seed), seeds, 80)
    gone, left = recovery(floor, system, ceiling), recovery(1 - ceiling, 1 - system, 1 - floor)
    assume(gone.resolved and left.resolved)
    assert left.ratio.value == pytest.approx(1 - gone.ratio.value)
    assert ends(left.ratio) == pytest.approx((1 - gone.ratio.high, 1 - gone.ratio.low), abs=1e-8)


def refused(found: Recovery, why: str) -> bool:
    values = (found.ratio.value, *ends(found.ratio))
    return not found.resolved and all(map(math.isnan, values)) and why in found.reason


def test_pgr_is_refused_without_a_gap_that_clears_0() -> None:
    rng = np.random.default_rng(12)
    floor, system, ceiling = three_systems(rng, 3, 200)
    assert recovery(floor, system, ceiling).resolved
    assert recovery(floor, system, ceiling).reason == ""
    assert refused(recovery(floor, system, floor), "does not exclude 0")
    assert refused(recovery(ceiling, system, floor), "does not exclude 0"), "a ceiling below the floor"
    assert recovery([], [], []).reason == "gap not resolved: too few questions"
    assert refused(recovery([], [], []), "too few")
    assert refused(recovery(floor, system, ceiling, ["t"] * 200), "too few"), "one template"


def test_pgr_of_three_seeds_that_disagree_is_refused_though_their_gap_excludes_0() -> None:
    """The gap's skewed interval does, and 3 standard errors too; but Fieller's set would reach without end."""
    nothing = np.zeros((3, 1000))
    ceiling = np.array([[1.0] * right + [0.0] * (1000 - right) for right in (400, 400, 850)])
    found = recovery(nothing, nothing, ceiling)
    assert found.gap.low > 0
    assert found.gap.value > 3 * found.gap.se
    assert refused(found, "comes near 0")


def test_a_gap_that_just_touches_0_or_3_standard_errors_is_not_resolved() -> None:
    errors = Spread(((0.25**2, math.inf),))
    measured = "gap not resolved: ceiling - floor = "
    for gap, problem in (
        (Estimate(0.7, 0.0, 1.4, errors, 9, 1, 9), "70.0 [0.0, 140.0], which does not exclude 0"),
        (Estimate(0.7, -0.5, 1.4, errors, 9, 1, 9), "70.0 [-50.0, 140.0], which does not exclude 0"),
        (Estimate(0.75, 0.5, 1.4, errors, 9, 1, 9), "75.0 [50.0, 140.0], which comes near 0"),
    ):
        assert _unresolved(gap, 0.95) == measured + problem
    assert _unresolved(Estimate(0.76, 0.1, 1.4, errors, 9, 1, 9), 0.95) == ""


@pytest.mark.parametrize("edge", [0.02, 3.7, 1e6])
@pytest.mark.parametrize("sign", [1, -1])
def test_an_end_is_where_rejection_begins(edge: float, sign: int) -> None:
    end = _end(lambda ratio: sign * ratio > edge, -0.5 * sign, 0.1 * sign)
    assert end == pytest.approx(sign * edge)
    assert _end(lambda ratio: False, 0.5, 1e-12 * sign) == sign * math.inf


def test_the_gap_has_the_bootstrap_of_ceiling_less_floor() -> None:
    floor, system, ceiling = three_systems(np.random.default_rng(14), 2, 60)
    clusters = [q // 2 for q in range(60)]
    gap = recovery(floor, system, ceiling, clusters, level=0.8, draws=100, seed=3).gap
    assert gap == crossed_bootstrap([floor, ceiling], minus, clusters=clusters, level=0.8, draws=100, seed=3)


def test_where_each_question_recovers_the_same_share_its_ratio_is_not_certain() -> None:
    floor, _, ceiling = three_systems(np.random.default_rng(13), 2, 200)
    for value in (0.0, 0.3, 1.0):  # the floor, a system whose sums leave some rounding, the ceiling
        found = recovery(floor, floor + value * (ceiling - floor), ceiling)
        unseen = stats.binomtest(0, 200).proportion_ci(method="wilson").high
        assert found.ratio.value == pytest.approx(value)
        assert found.ratio.high - value == pytest.approx(unseen / found.gap.value)
        assert value - found.ratio.low == pytest.approx(unseen / found.gap.value)


# --- several claims ---


@settings(max_examples=60)
@given(st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.02, 0.05, 0.3, 1.0]), max_size=7))
def test_holm_is_the_closed_test_of_bonferroni_over_all_intersections(p_values: list[float]) -> None:
    """A claim stands where every set of claims that holds it is rejected; ties included."""
    claims = range(len(p_values))
    sets = [one for size in range(1, len(p_values) + 1) for one in itertools.combinations(claims, size)]
    adjusted = holm(dict(enumerate(p_values)))
    for claim in claims:
        expected = max(
            min(1.0, len(one) * min(p_values[other] for other in one)) for one in sets if claim in one
        )
        assert adjusted[claim] == pytest.approx(expected)
