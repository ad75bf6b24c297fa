"""Seeds and questions crossed: the variance against a mixed-model identity, the bootstrap against the variance."""

import math
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from w2s_core.errors import UserError
from w2s_core.statistics import (
    Spread,
    bootstrap_mean,
    crossed_bootstrap,
    crossed_variance,
    minimum_detectable_effect,
    recovery,
    score,
)
from w2s_core.statistics.crossed import CrossedTables, _multinomial, cluster_index

Table = npt.NDArray[np.float64]


def mean_squares(table: Table) -> tuple[float, float, float]:
    """Seeds, questions, residual of the two-way analysis of variance, written out."""
    s, q = table.shape
    grand, by_seed, by_question = table.mean(), table.mean(axis=1), table.mean(axis=0)
    of_seeds = q * ((by_seed - grand) ** 2).sum() / (s - 1)
    of_questions = s * ((by_question - grand) ** 2).sum() / (q - 1)
    rest = table - by_seed[:, None] - by_question[None, :] + grand
    return of_seeds, of_questions, (rest**2).sum() / ((s - 1) * (q - 1))


@given(st.integers(2, 5), st.integers(3, 12), st.integers(0, 2**32 - 1))
def test_variance_is_that_of_the_two_way_analysis_of_variance(seeds: int, n: int, seed: int) -> None:
    table = np.random.default_rng(seed).random((seeds, n))
    of_seeds, of_questions, residual = mean_squares(table)
    spread = crossed_variance(table, None)
    beyond = max(0.0, of_questions - residual)
    assert [v for v, _ in spread.parts] == pytest.approx(
        [of_seeds / table.size, beyond / table.size], abs=1e-12
    )
    assert [df for _, df in spread.parts] == [seeds - 1, n - 1]
    assert spread.least[0] == pytest.approx(of_questions / table.size)
    assert spread.reach() >= Spread((spread.least,)).reach() - 1e-12, "never shorter than questions alone"


def exact_parts(table: list[list[int]]) -> list[Fraction]:
    """The parts of seeds and of questions, and the least, in fractions."""
    s, q = len(table), len(table[0])
    size = s * q
    grand = Fraction(sum(map(sum, table)), size)
    by_seed = [Fraction(sum(row), q) for row in table]
    by_question = [Fraction(sum(column), s) for column in zip(*table, strict=True)]
    of_seeds = q * sum((mean - grand) ** 2 for mean in by_seed) / (s - 1)
    of_questions = s * sum((mean - grand) ** 2 for mean in by_question) / (q - 1)
    rest = sum(
        (value - of_row - of_column + grand) ** 2
        for row, of_row in zip(table, by_seed, strict=True)
        for value, of_column in zip(row, by_question, strict=True)
    ) / ((s - 1) * (q - 1))
    return [of_seeds / size, max(Fraction(0), of_questions - rest) / size, of_questions / size]


@st.composite
def balanced(draw: st.DrawFn) -> list[list[int]]:
    """Tables of 0 and 1; of half of them each row is the one before, moved on, so that sums agree where they can."""
    seeds, n = draw(st.integers(2, 5)), draw(st.integers(2, 9))
    first = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    if draw(st.booleans()):
        return [first[i % n :] + first[: i % n] for i in range(seeds)]
    return [first, *(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)) for _ in range(seeds - 1))]


@given(balanced())
@example([[1, 0, 1], [1, 1, 0], [0, 1, 1]])
@settings(max_examples=300)
def test_a_part_is_zero_exactly_where_it_is_in_fractions(table: list[list[int]]) -> None:
    spread = crossed_variance(np.array(table, dtype=np.float64), None)
    for got, exact in zip([*(v for v, _ in spread.parts), spread.least[0]], exact_parts(table), strict=True):
        assert got == pytest.approx(float(exact), rel=1e-9)
        assert (got == 0) is (exact == 0), (got, exact)


def test_what_varies_by_rounding_alone_is_not_certain() -> None:
    """Two of three right, in each seed and for each question: Wilson's interval of three answers, and not one point."""
    table = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    estimate = score(table)
    assert (estimate.low, estimate.high) == pytest.approx(
        stats.binomtest(2, 3).proportion_ci(method="wilson")
    )
    assert (score(table[:, ::-1]).low, score(table[::-1]).low) == pytest.approx((estimate.low, estimate.low))


def test_strata_are_variances_within_each_and_their_degrees_of_freedom_add_up() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.random((3, 10)) + shift + 0.3 * np.arange(10) for shift in (0.0, 5.0)]
    spread = crossed_variance(np.concatenate(parts), None, strata=[0, 0, 0, 1, 1, 1])
    expected = sum(mean_squares(part)[0] / part.size for part in parts) / 4
    assert spread.parts[0] == (pytest.approx(expected), 4.0)
    of_questions = np.concatenate(parts).mean(axis=0).var(ddof=1) / 10
    residual = sum(mean_squares(part)[2] / part.size for part in parts) / 4
    assert spread.parts[1] == (pytest.approx(of_questions - residual), 9.0)
    assert spread.least == (pytest.approx(of_questions), 9.0)
    with pytest.raises(UserError, match="same number"):
        crossed_variance(np.concatenate(parts), None, strata=[0, 0, 0, 0, 1, 1])
    with pytest.raises(UserError, match="same number"):
        crossed_variance(np.empty((0, 10)), None, strata=[])


def test_p_and_interval_agree_and_p_is_the_t_tests_for_one_seed() -> None:
    differences = np.random.default_rng(3).normal(0.3, 1, (1, 50))
    spread = crossed_variance(differences, None)
    assert spread.p(differences.mean()) == pytest.approx(
        stats.ttest_1samp(differences[0], 0).pvalue, rel=1e-6
    )
    two = crossed_variance(np.random.default_rng(4).normal(0, 1, (3, 50)), None)
    assert two.p(two.reach(0.95)) == pytest.approx(0.05, rel=1e-6)
    assert two.p(0.0) == pytest.approx(1.0)


def test_where_nothing_varies_a_difference_is_certain_and_where_nothing_is_known_there_is_no_reach() -> None:
    constant = Spread(((0.0, 9.0),))
    assert (constant.p(0.0), constant.p(0.1)) == (1.0, 0.0)
    assert math.isnan(constant.p(math.nan))
    assert math.isnan(Spread().reach())
    assert math.isnan(Spread().p(0.0))
    assert math.isnan(Spread().variance)
    assert crossed_variance(np.empty((2, 0)), None) == crossed_variance(np.empty((0, 2)), None) == Spread()


def test_minimum_detectable_effect_gives_the_power_that_it_promises() -> None:
    effect = minimum_detectable_effect(1.0)
    assert effect == pytest.approx(1.959964 + 0.841621, abs=1e-5)
    assert 1 - stats.norm.cdf(1.959964 - effect) == pytest.approx(0.8, abs=1e-4)
    assert minimum_detectable_effect(1.0, df=4) > effect
    assert math.isnan(minimum_detectable_effect(math.nan))
    assert math.isnan(minimum_detectable_effect(1.0, df=0))
    assert Spread(((4.0, math.inf),)).detectable() == pytest.approx(2 * effect)
    strict = minimum_detectable_effect(2.0, df=1, alpha=0.01, power=0.9)
    assert strict == pytest.approx(2 * (stats.t.ppf(0.995, 1) + stats.t.ppf(0.9, 1)))


def test_bootstrap_of_one_seed_is_scipys_percentile_interval_but_for_the_small_sample_factor() -> None:
    scores = (np.random.default_rng(0).random(400) < 0.3).astype(float)
    found = bootstrap_mean(scores, draws=4000)
    theirs = stats.bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1)
    )
    ends = theirs.confidence_interval
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high), abs=0.006)


def test_deterministic_by_seed_and_blind_to_the_order_of_questions_in_its_estimate() -> None:
    table = np.random.default_rng(5).random((3, 40))
    assert bootstrap_mean(table, seed=7) == bootstrap_mean(table, seed=7)
    assert bootstrap_mean(table, seed=7).low != bootstrap_mean(table, seed=8).low
    assert bootstrap_mean(table[:, ::-1]).se == pytest.approx(bootstrap_mean(table).se)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_interval_holds_its_value(seeds: int, n: int, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 2, (2, seeds, n))
    found = crossed_bootstrap(table, lambda m: m[..., 1] - m[..., 0], draws=200)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(table[1].mean() - table[0].mean())


def test_no_difference_anywhere_is_no_certainty() -> None:
    same = np.ones((2, 1, 50))
    found = crossed_bootstrap(same, lambda m: m[..., 1] - m[..., 0])
    assert found.value == 0
    assert found.low == -found.high
    assert found.high == pytest.approx(stats.binomtest(0, 50).proportion_ci(method="wilson").high)
    assert found.p == 1.0


def test_empty_and_single_and_malformed_tables() -> None:
    minus: Callable[[Table], Table] = lambda m: m[..., 1] - m[..., 0]  # noqa: E731
    assert math.isnan(crossed_bootstrap(np.empty((2, 1, 0)), minus).value)
    single = crossed_bootstrap([[[0.0]], [[1.0]]], minus)
    assert single.value == 1
    assert math.isnan(single.low)
    assert math.isnan(single.p)
    with pytest.raises(UserError, match="shape"):
        crossed_bootstrap(np.ones((2, 5)), minus)
    with pytest.raises(UserError, match="3 labels"):
        crossed_bootstrap(np.ones((2, 1, 5)), minus, clusters=[1, 2, 3])


def first_mean(means: Table) -> Table:
    return means[..., 0]


@pytest.mark.parametrize(
    ("tables", "clusters", "strata", "counts"),
    [
        (np.empty((2, 3, 0)), None, None, (0, 3, 0)),
        (np.full((1, 2, 4), np.nan), [0, 0, 1, 1], None, (4, 2, 2)),
        ([[[0.0]]], None, None, (1, 1, 1)),
        ([[[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]]], ["t"] * 3, None, (3, 2, 1)),
        (np.ones((1, 2, 6)), [0, 0, 1, 1, 2, 2], None, (6, 2, 3)),
        (np.eye(4)[None], None, "abab", (4, 2, 4)),
    ],
    ids=["nothing", "not finite", "one question", "one cluster", "all alike", "strata"],
)
def test_estimates_count_questions_seeds_and_clusters(
    tables: npt.ArrayLike, clusters: list[int] | None, strata: str | None, counts: tuple[int, int, int]
) -> None:
    found = crossed_bootstrap(tables, first_mean, clusters=clusters, strata=strata)
    assert (found.n, found.seeds, found.clusters) == counts
    whole = np.asarray(tables)
    assert found.value == pytest.approx(whole.mean() if whole.size else math.nan, nan_ok=True)


def test_seeds_are_resampled_within_their_strata() -> None:
    """The same resamples, written out: a mean over strata of the mean over the seeds that are drawn in each."""
    table, clusters = np.random.default_rng(0).random((4, 7)), [0, 0, 0, 1, 1, 2, 2]
    found = crossed_bootstrap(
        table[None], first_mean, clusters=clusters, strata="abab", level=0.8, draws=50, seed=7
    )
    of_clusters, of_a, of_b = (
        np.random.default_rng([7, stream]).multinomial(size, np.full(size, 1 / size), size=50)
        for stream, size in enumerate((3, 2, 2))
    )
    values = []
    for draw in range(50):
        questions = [q for q in range(7) for _ in range(of_clusters[draw][clusters[q]])]
        times = (of_a[draw][0], of_b[draw][0], of_a[draw][1], of_b[draw][1])
        values.append(sum(times[s] * table[s, questions].mean() for s in range(4)) / 4)
    low, high = np.quantile(values, [0.1, 0.9])
    spread = crossed_variance(table, clusters, "abab")
    factor = spread.reach(0.8) / (np.std(values) * stats.norm.ppf(0.9))
    assert found.se == pytest.approx(spread.se)
    assert found.low == pytest.approx(table.mean() - factor * (table.mean() - low))
    assert found.high == pytest.approx(table.mean() + factor * (high - table.mean()))


@pytest.mark.parametrize(
    "labels",
    [["b", "a", "b"], "bab", np.array(["b", "a", "b"]), np.array([5, 3, 5], np.int32), (2.5, None, 2.5)],
)
def test_clusters_are_numbered_as_they_appear(labels: Sequence[Hashable]) -> None:
    numbers = cluster_index(labels, 3)
    assert (numbers.tolist(), numbers.dtype) == ([0, 1, 0], np.int64)
    with pytest.raises(UserError, match="^3 labels for 4 questions or seeds$"):
        cluster_index(labels, 4)


def test_clusters_that_are_numbered_already_are_taken_as_they_are() -> None:
    numbers = np.array([1, 0, 1], dtype=np.int64)
    assert cluster_index(numbers, 3) is numbers
    assert cluster_index(None, 3).tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="^3 labels for 2 questions or seeds$"):
        cluster_index(numbers, 2)


def test_weights_that_tables_share_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        _multinomial(3, 5, 0, 0)[0, 0] = 1.0


def test_rounding_is_no_variation() -> None:
    tables = np.stack([np.full((1, 30), 0.1 + 0.2), np.full((1, 30), 0.3)])
    tables[:, 0, 0] = 0.5
    found = crossed_bootstrap(tables, lambda means: means[..., 1] - means[..., 0])
    assert found.se == bootstrap_mean(np.full(30, 0.1)).se == 0
    assert bootstrap_mean([0.0, 0.5, 1.0]).se == pytest.approx(stats.sem([0.0, 0.5, 1.0]))
    assert found.high == pytest.approx(stats.binomtest(0, 30).proportion_ci(method="wilson").high)


def test_draws_without_the_statistic_are_left_out() -> None:
    """A ratio whose denominator some resamples lack: the interval is that of the others."""
    tables = np.zeros((2, 1, 12))
    tables[:, 0, 0], tables[1, 0, 1] = 1.0, 1.0

    def ratio(means: Table) -> Table:
        whole = np.where(means[..., 1] > 0, means[..., 1], np.nan)
        return np.asarray(means[..., 0] / whole)

    found = crossed_bootstrap(tables, ratio, draws=300)
    counts = np.random.default_rng([0, 0]).multinomial(12, np.full(12, 1 / 12), size=300)
    shares = [first / (first + second) for first, second, *_ in counts.tolist() if first + second]
    assert 200 < len(shares) < 300
    low, high = np.quantile(shares, [0.025, 0.975])
    reach = found.spread.reach()
    factor = reach / (np.std(shares) * stats.norm.ppf(0.975))
    assert found.low == pytest.approx(0.5 - max(factor * (0.5 - low), reach / 2))
    assert found.high == pytest.approx(0.5 + max(factor * (high - 0.5), reach / 2))


def test_draws_that_all_agree_are_not_stretched() -> None:
    scores = np.array([0.0] * 39 + [1.0])
    found = bootstrap_mean(scores, draws=1, seed=7)
    weights = np.random.default_rng([7, 0]).multinomial(40, np.full(40, 1 / 40), size=1)[0]
    drawn, reach = weights[-1] / 40, found.spread.reach()
    assert drawn - scores.mean() > reach / 2
    assert (found.low, found.high) == pytest.approx((scores.mean() - reach / 2, drawn))


def test_tables_may_be_resampled_once_for_several_statistics() -> None:
    tables = np.random.default_rng(0).random((2, 3, 20))
    assert CrossedTables(tables).estimate(first_mean) == crossed_bootstrap(tables, first_mean, seed=0)


def test_pgr_by_hand() -> None:
    floor = np.array([[1.0] * 20 + [0.0] * 80])
    system = np.array([[1.0] * 50 + [0.0] * 50])
    ceiling = np.array([[1.0] * 80 + [0.0] * 20])
    found = recovery(floor, system, ceiling)
    assert found.resolved
    assert found.ratio.value == pytest.approx(0.5)
    assert found.gap.value == pytest.approx(0.6)
    assert found.ratio.low < 0.5 < found.ratio.high
    assert found == recovery(floor == 1, system == 1, ceiling == 1, seed=0), "yes or no may be booleans"


def test_pgr_of_floor_and_ceiling_themselves() -> None:
    rng = np.random.default_rng(0)
    floor, ceiling = (rng.random((2, 3, 200)) < np.array([0.2, 0.9])[:, None, None]).astype(float)
    assert recovery(floor, floor, ceiling).ratio.value == 0
    assert recovery(floor, ceiling, ceiling).ratio.value == 1


def fieller(floor: Table, system: Table, ceiling: Table) -> tuple[float, float]:
    """Fieller's interval of the ratio of two paired means, an independent construction."""
    n = floor.size
    y, x = system - floor, ceiling - floor
    cov = np.cov(y, x) / n
    t2 = stats.t.ppf(0.975, n - 1) ** 2
    a = x.mean() ** 2 - t2 * cov[1, 1]
    b = y.mean() * x.mean() - t2 * cov[0, 1]
    c = y.mean() ** 2 - t2 * cov[0, 0]
    root = math.sqrt(b * b - a * c)
    return (b - root) / a, (b + root) / a


def test_pgr_interval_is_near_fiellers() -> None:
    rng = np.random.default_rng(2)
    ability = rng.normal(0, 1, 500)
    floor, system, ceiling = (
        (ability + rng.normal(0, 1, 500) > cut).astype(float) for cut in (0.7, -0.5, -1.5)
    )
    found = recovery(floor, system, ceiling, draws=8000).ratio
    assert (found.low, found.high) == pytest.approx(fieller(floor, system, ceiling), abs=0.01)


def test_pgr_is_refused_where_the_gap_is_not_resolved() -> None:
    rng = np.random.default_rng(0)
    floor, system, ceiling = (rng.random((3, 1, 100)) < 0.5).astype(float)
    found = recovery(floor, system, ceiling)
    assert not found.resolved
    assert math.isnan(found.ratio.value)
    assert "does not exclude 0" in found.reason
    nobody = recovery(np.zeros(1), np.zeros(1), np.ones(1))
    assert not nobody.resolved
    assert "too few" in nobody.reason
    near = recovery(np.repeat([1.0, 0.0], [40, 60]), np.ones(100), np.repeat([1.0, 0.0], [46, 54]))
    assert not near.resolved
    assert "comes near 0" in near.reason
    with pytest.raises(UserError, match="shapes"):
        recovery(np.ones(3), np.ones(4), np.ones(3))


class World:
    """Runs with known truth: an answer is right where ability plus the question's and the seed's luck pass 0."""

    def __init__(self, seed: int, *, seeds: int, n: int, spread: float, clusters: int | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.seeds, self.n, self.spread = seeds, n, spread
        self.labels = None if clusters is None else (np.arange(n) % clusters).tolist()

    def truth(self, ability: float) -> float:
        return float(stats.norm.cdf(ability / math.sqrt(2 + self.spread**2)))

    def draw(self, *abilities: float) -> Table:
        k = len(abilities)
        question = self.rng.normal(0, 1, self.n)
        if self.labels is not None:
            question = self.rng.normal(0, 1, max(self.labels) + 1)[self.labels]
        luck = self.rng.normal(0, self.spread, (k, self.seeds, 1)) + self.rng.normal(
            0, 1, (k, self.seeds, self.n)
        )
        return (np.array(abilities)[:, None, None] + question + luck > 0).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "n", "spread", "clusters"),
    [(1, 200, 0.0, None), (1, 300, 0.0, 100), (3, 200, 0.2, None), (5, 200, 0.1, None), (5, 200, 0.4, None)],
)
def test_intervals_cover_the_truth(seeds: int, n: int, spread: float, clusters: int | None) -> None:
    """95 % intervals of accuracy, of its bootstrap, of a paired difference and of PGR cover 93 to 97 % of the time."""
    world = World(0, seeds=seeds, n=n, spread=spread, clusters=clusters)
    low, middle, high = -0.5, 0.8, 1.8
    truths = [world.truth(one) for one in (low, middle, high)]
    gain, ratio = truths[1] - truths[0], (truths[1] - truths[0]) / (truths[2] - truths[0])
    hits = {"score": 0, "bootstrap": 0, "difference": 0, "pgr": 0}
    worlds, resolved = 1500, 0
    for _ in range(worlds):
        tables = world.draw(low, middle, high)
        one = score(tables[1], world.labels)
        hits["score"] += one.low <= truths[1] <= one.high
        two = bootstrap_mean(tables[1], world.labels, draws=500)
        hits["bootstrap"] += two.low <= truths[1] <= two.high
        three = crossed_bootstrap(
            tables[:2], lambda m: m[..., 1] - m[..., 0], clusters=world.labels, draws=500
        )
        hits["difference"] += three.low <= gain <= three.high
        four = recovery(*tables, world.labels, draws=500)
        resolved += four.resolved
        hits["pgr"] += four.resolved and four.ratio.low <= ratio <= four.ratio.high
    assert resolved > 0.9 * worlds
    rates = {name: found / (resolved if name == "pgr" else worlds) for name, found in hits.items()}
    allowance = 0.008  # chance of the simulation itself: 1.5 standard errors
    for name, rate in rates.items():
        assert 0.93 - allowance <= rate <= 0.97 + allowance, (name, rates)


@pytest.mark.slow
def test_three_seeds_that_do_not_differ_cost_width_not_coverage() -> None:
    world = World(1, seeds=3, n=200, spread=0.0)
    truth = world.truth(0.8) - world.truth(-0.5)
    hits = 0
    for _ in range(1000):
        found = crossed_bootstrap(world.draw(-0.5, 0.8), lambda m: m[..., 1] - m[..., 0], draws=400)
        hits += found.low <= truth <= found.high
    assert 0.95 <= hits / 1000 <= 1.0
