"""How often the 95 % intervals that the tables print hold the truth, on simulated runs whose truth is known.

A world is drawn anew each time: new questions in new templates, new seeds. A run answers a question right where its
ability, plus luck of the template, of the question, of the seed, and of method x template, adds up to more than 0. So
methods that are compared are right on much the same questions, and the true accuracy is a normal integral.

The allowance is of the simulation alone: 2.6 standard errors of a share of so many worlds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from w2s_core.statistics import (
    Estimate,
    bootstrap_mean,
    crossed_bootstrap,
    crossed_variance,
    minimum_detectable_effect,
    recovery,
    score,
    wilson,
)

pytestmark = pytest.mark.slow

Table = npt.NDArray[np.float64]
WORLDS = 1000
LOW, HIGH = 0.93, 0.97


@dataclass(frozen=True)
class World:
    """The lab's shape: questions in templates, every seed and method on the same questions.

    Attributes:
        abilities: of floor, system and ceiling, in standard deviations of one answer's own luck.
        even: templates of equal size; else sizes as unequal as a Dirichlet draw makes them, each at least 1.
        of_seeds: the standard deviation of a training seed's luck, drawn for each method.
    """

    abilities: tuple[float, float, float] = (-0.6, 0.3, 1.8)
    seeds: int = 1
    n: int = 300
    templates: int = 60
    even: bool = True
    of_seeds: float = 0.15
    of_templates: float = 0.7
    of_questions: float = 0.5
    of_tastes: float = 0.3  # method x template, and method x template x seed

    def layout(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        if self.even:
            return np.arange(self.n) % self.templates
        weights = rng.dirichlet(np.ones(self.templates))
        more = rng.choice(self.templates, self.n - self.templates, p=weights)
        return np.concatenate([np.arange(self.templates), more])

    def draw(self, rng: np.random.Generator, labels: npt.NDArray[np.int64]) -> tuple[Table, Table]:
        """Scores [methods, seeds, questions] and true accuracies [methods].

        With one seed the truth is that of this very training run: its interval speaks of no other.
        """
        shape = (len(self.abilities), self.seeds, self.n)
        template = rng.normal(0, self.of_templates, self.templates)[labels]
        taste = rng.normal(0, self.of_tastes, (3, 1, self.templates))
        taste_of_run = rng.normal(0, self.of_tastes, (3, self.seeds, self.templates))
        luck = rng.normal(0, self.of_seeds, (3, self.seeds, 1))
        question = rng.normal(0, self.of_questions, self.n)
        abilities = np.array(self.abilities)
        latent = abilities[:, None, None] + template + question + (taste + taste_of_run)[..., labels] + luck
        scores = (latent + rng.normal(0, 1, shape) > 0).astype(float)
        variance = 1 + self.of_templates**2 + self.of_questions**2 + 2 * self.of_tastes**2
        if self.seeds == 1:
            truth = stats.norm.cdf((abilities + luck[:, 0, 0]) / math.sqrt(variance))
        else:
            truth = stats.norm.cdf(abilities / math.sqrt(variance + self.of_seeds**2))
        return scores, truth


@dataclass
class Tally:
    """How often intervals held the truth, by what they are of."""

    hits: dict[str, int] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, found: Estimate, truth: float) -> None:
        self.tries[name] = self.tries.get(name, 0) + 1
        self.hits[name] = self.hits.get(name, 0) + (found.low <= truth <= found.high)

    def check(self, name: str, low: float, high: float) -> None:
        share, tries = self.hits[name] / self.tries[name], self.tries[name]
        print(f"    {name:10s} {100 * share:5.1f} % of {tries}")
        below, above = (2.6 * math.sqrt(p * (1 - p) / tries) for p in (low, min(high, 0.999)))
        assert low - below <= share <= high + above, (name, share, tries)


def simulate(world: World, worlds: int = WORLDS, seed: int = 0) -> Tally:
    """Coverage of every kind of interval; PGR counts where its gap is resolved."""
    rng, tally = np.random.default_rng(seed), Tally()
    for _ in range(worlds):
        labels = world.layout(rng)
        scores, truth = world.draw(rng, labels)
        clusters = labels.tolist()
        tally.add("score", score(scores[1], clusters), truth[1])
        tally.add("bootstrap", bootstrap_mean(scores[1], clusters, draws=500), truth[1])
        tally.add("difference", difference(scores[0], scores[1], clusters), truth[1] - truth[0])
        pgr = recovery(*scores, clusters, draws=500)
        if pgr.resolved:
            tally.add("pgr", pgr.ratio, (truth[1] - truth[0]) / (truth[2] - truth[0]))
    print(f"\n{world}")
    return tally


def difference(first: Table, second: Table, clusters: list[int]) -> Estimate:
    minus: Callable[[Table], Table] = lambda means: means[..., 1] - means[..., 0]  # noqa: E731
    return crossed_bootstrap(np.stack([first, second]), minus, clusters=clusters, draws=500)


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(World(), id="one seed"),
        pytest.param(World(even=False), id="one seed, uneven templates"),
        pytest.param(World(n=50, templates=10), id="one seed, one level of ten templates"),
        pytest.param(World(abilities=(0.3, 0.4, 1.8)), id="one seed, small difference"),
        pytest.param(World(seeds=5), id="five seeds"),
        pytest.param(World(seeds=5, of_seeds=0.4), id="five seeds that differ much"),
        pytest.param(World(seeds=5, even=False), id="five seeds, uneven templates"),
        pytest.param(World(seeds=5, n=50, templates=10), id="five seeds, one level of ten templates"),
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(world: World) -> None:
    tally = simulate(world)
    for name in ("score", "bootstrap", "difference", "pgr"):
        tally.check(name, LOW, HIGH)


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(World(abilities=(-0.2, 0.1, 0.25)), id="one seed, gap of 13 points"),
        pytest.param(World(abilities=(-0.2, 0.1, 0.5)), id="one seed, gap of 20 points"),
        pytest.param(World(abilities=(-0.2, 0.1, 0.5), seeds=5), id="five seeds, gap of 20 points"),
    ],
)
def test_pgr_covers_where_the_gap_is_narrow(world: World) -> None:
    """Where a percentile bootstrap of the ratio covers 88 to 92 %: its draws do not know that the gap may be near 0."""
    simulate(world).check("pgr", LOW, HIGH)


@pytest.mark.parametrize("of_seeds", [0.0, 0.15])
def test_three_seeds_cover_more_than_they_say(of_seeds: float) -> None:
    """Two degrees of freedom: 98 % instead of 95 where seeds differ little, never less."""
    tally = simulate(World(seeds=3, of_seeds=of_seeds))
    for name in ("score", "bootstrap", "difference", "pgr"):
        tally.check(name, 0.95, 0.99)


def test_near_100_per_cent_a_score_covers_and_its_bootstrap_does_not() -> None:
    """96 % right, one seed. No draw has what the sample lacks, so the bootstrap's interval lies too high."""
    tally = simulate(World(abilities=(1.5, 2.6, 3.2)))
    for name in ("score", "difference", "pgr"):
        tally.check(name, LOW, HIGH)
    tally.check("bootstrap", 0.89, 0.93)


def test_variance_is_the_known_one_of_a_balanced_design_on_average() -> None:
    rng = np.random.default_rng(0)
    seeds, groups, size, worlds = 4, 12, 3, 1500
    of_seed, of_cluster, of_both, of_rest = 0.3, 1.0, 0.4, 0.8
    labels = (np.arange(groups * size) % groups).tolist()
    found, means = [], []
    for _ in range(worlds):
        table = (
            rng.normal(0, of_seed, (seeds, 1))
            + rng.normal(0, of_cluster, groups)[labels]
            + rng.normal(0, of_both, (seeds, groups))[:, labels]
            + rng.normal(0, of_rest, (seeds, groups * size))
        )
        found.append(crossed_variance(table, labels).variance)
        means.append(table.mean())
    known = of_seed**2 / seeds + of_cluster**2 / groups
    known += of_both**2 / (seeds * groups) + of_rest**2 / (seeds * groups * size)
    assert np.mean(found) == pytest.approx(known, abs=5 * stats.sem(found))
    assert np.var(means) == pytest.approx(known, rel=5 * math.sqrt(2 / worlds)), "the formula itself"


@pytest.mark.parametrize("df", [9, 59, 299])
def test_detectable_effect_has_its_power_in_the_noncentral_t(df: int) -> None:
    effect, cut = minimum_detectable_effect(1.0, df), stats.t.ppf(0.975, df)
    power = stats.nct.sf(cut, df, effect) + stats.nct.cdf(-cut, df, effect)
    assert power == pytest.approx(0.8, abs=0.015)


def test_wilson_covers_by_exact_enumeration() -> None:
    """The mean coverage over shares; that of a single share swings, but not far below 95 %."""
    n = 50
    found = [wilson(right, n) for right in range(n + 1)]
    coverages = []
    for p in np.linspace(0.05, 0.95, 181):
        chances = stats.binom.pmf(np.arange(n + 1), n, p)
        coverages.append(sum(c for c, one in zip(chances, found, strict=True) if one.low <= p <= one.high))
    assert np.mean(coverages) == pytest.approx(0.95, abs=0.005)
    assert min(coverages) > 0.92
