"""How often intervals hold the truth: every kind that a table, `compare`, `diagnose` or the dashboard prints.

python benchmarks/coverage.py      about 15 minutes of one core; prints a table and writes benchmarks/coverage.txt

Laboratories are drawn from a model that the statistics do not know: every question and template has its own
difficulty, every method its own taste for templates, every run its own luck; methods and seeds share the questions.
From the draws a group of runs is made in memory, and the functions that tables call measure it. The truth is that over
all seeds and questions, by direct counting in half a million draws of the same model.
"""

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import numpy as np
import numpy.typing as npt
from scipy import stats

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from w2s_analysis.parts.accuracy import group_recovery  # noqa: E402
from w2s_analysis.parts.levels import level_scores  # noqa: E402
from w2s_analysis.parts.rules import ONE_SEED  # noqa: E402
from w2s_analysis.reading.contrasts import between_groups, difference, precision_gain  # noqa: E402
from w2s_analysis.reading.groups import Group, Member, accuracy_bounds, accuracy_estimate  # noqa: E402
from w2s_analysis.reading.labels import label_quality_over_seeds  # noqa: E402
from w2s_analysis.reading.results import Graded, Pairs, Questions, Results, Vote  # noqa: E402
from w2s_analysis.weak_to_strong import diagnose_measures as measures  # noqa: E402
from w2s_analysis.weak_to_strong.calibration import SHOWN, atoms_of, change_of, interval_of, votes_of  # noqa: E402
from w2s_analysis.weak_to_strong.labels import quality_of_set  # noqa: E402
from w2s_analysis.weak_to_strong.stage_two import side_right  # noqa: E402
from w2s_analysis.weak_to_strong.weak_choice import properties  # noqa: E402
from w2s_core.answers.verdicts import VERDICTS  # noqa: E402
from w2s_core.recipes.recipe import Outline, Role  # noqa: E402
from w2s_core.rows import write_rows  # noqa: E402
from w2s_core.statistics import (  # noqa: E402
    Bounds,
    Estimate,
    calibration_changes,
    calibration_intervals,
    crossed_bootstrap,
    keep_above,
    paired_difference,
    score,
)
from w2s_core.statistics.crossed import CrossedTables  # noqa: E402

TABLE: Final = Path(__file__).with_suffix(".txt")
SEEDS: Final = (1, 3, 5)
NOISE: Final = (0.0, 1.0, 2.5, 5.0)
"""Standard deviation of a run's luck, in points of accuracy at 50 %."""

DRAWS: Final = 500
"""Of a bootstrap, where tables take 2,000: a quarter of the time, and ends as far apart on average."""

LOWEST, HIGHEST = 0.93, 0.98
"""Of the coverage of 95 % intervals with 3 or 5 seeds, what is asked."""

ROUND: Final = 10

SIZES: Final = ((250, 80), (500, 370))
"""Questions and templates of a laboratory; half of them have each."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Classes = npt.NDArray[np.int8]
Mask = npt.NDArray[np.bool_]

ABILITY: Final = {"weak_floor": -0.6, "hybrid_ft_1": 0.4, "dpo": 0.55, "ceiling": 2.2}
OF_TEMPLATE, OF_QUESTION, OF_TASTE = 0.7, 0.5, 0.3
_VARIANCE = 1 + OF_TEMPLATE**2 + OF_QUESTION**2 + 2 * OF_TASTE**2
_SLOPE = float(stats.norm.pdf(0)) / math.sqrt(_VARIANCE)
WRONG: Final = 6
"""Wrong answers that there are to a question; 0 is the right one, 1 the wrong one that lies near."""
SAMPLES: Final = 10
SILENT: Final = 0.06
"""The share of responses that are not graded, where bounds are measured."""


# The model


@dataclass(frozen=True)
class Lab:
    """The runs of three weak models that were drawn, on the same questions.

    Attributes:
        templates, levels: one a question; levels are 1 to 5.
        answers: by weak model and method, the class of each greedy answer, shape [seeds, questions].
        samples: the same of sampled answers, shape [seeds, questions, samples].
        silent: which responses were not graded, shape [seeds, questions], for the methods that are bounded.
        lengths: by method, tokens of its responses.
        near: votes that are calibrated but for a number that the accuracy lies below the confidence: `confidence` and
            `right`.
    """

    templates: Ints
    levels: Ints
    answers: Mapping[tuple[str, str], Classes]
    samples: Mapping[tuple[str, str], Classes]
    silent: Mapping[str, Mask]
    lengths: Mapping[str, Floats]
    near: Mapping[tuple[str, float], Floats]


WEAK: Final = ("a", "b", "c")


class Drawing:
    """One laboratory's questions, and draws of answers to them."""

    def __init__(self, rng: np.random.Generator, seeds: int, noise: float, size: tuple[int, int]) -> None:
        n, count = size
        self.rng, self.seeds, self.n, self.count = rng, seeds, n, count
        weights = rng.dirichlet(np.full(count, 2.0))
        self.templates = np.concatenate([np.arange(count), rng.choice(count, n - count, p=weights)])
        ease = rng.normal(0, OF_TEMPLATE, count)
        cuts = stats.norm.ppf([0.2, 0.4, 0.6, 0.8]) * OF_TEMPLATE
        self.levels = 5 - np.searchsorted(cuts, ease)[self.templates]
        self.ease = ease[self.templates] + rng.normal(0, OF_QUESTION, n)
        self.near = rng.beta(1.2, 2.0, n)
        self.luck = noise / 100 / _SLOPE
        self.common = rng.normal(0, 1, (seeds, 1))

    def latent(self, ability: float) -> Floats:
        """Of one method: half of a run's luck is the seed's, which all methods share."""
        taste = self.rng.normal(0, OF_TASTE, self.count) + self.rng.normal(
            0, OF_TASTE, (self.seeds, self.count)
        )
        luck = (self.common + self.rng.normal(0, 1, (self.seeds, 1))) * self.luck / math.sqrt(2)
        return np.asarray(ability + self.ease + taste[:, self.templates] + luck)

    def answers(self, latent: Floats, draws: int = 0) -> Classes:
        """Classes of answers, shape [seeds, questions] or [seeds, questions, draws]."""
        shape = (self.seeds, self.n, draws) if draws else (self.seeds, self.n)
        near = self.near[:, None] if draws else self.near
        wrong = np.where(self.rng.random(shape) < near, 1, self.rng.integers(2, WRONG + 1, shape))
        right = self.rng.normal(0, 1, shape) < (latent[..., None] if draws else latent)
        return np.where(right, 0, wrong).astype(np.int8)


def draw(rng: np.random.Generator, seeds: int, noise: float, size: tuple[int, int]) -> Lab:
    """One laboratory."""
    drawing = Drawing(rng, seeds, noise, size)
    answers: dict[tuple[str, str], Classes] = {}
    samples: dict[tuple[str, str], Classes] = {}
    ceiling = drawing.answers(drawing.latent(ABILITY["ceiling"]))
    for shift, weak in zip((0.0, 0.1, 0.25), WEAK, strict=True):
        for method in ("weak_floor", "hybrid_ft_1", "dpo"):
            latent = drawing.latent(ABILITY[method] + shift)
            answers[weak, method] = drawing.answers(latent)
            if weak == "a" and method != "weak_floor":
                samples[weak, method] = drawing.answers(latent, SAMPLES)
        answers[weak, "ceiling"] = ceiling
        answers[weak, "weak_0"] = drawing.answers(drawing.latent(ABILITY["weak_floor"] + shift))
        answers[weak, "icl_0"] = drawing.answers(drawing.latent(-0.1))
    shape = (seeds, drawing.n)
    silent = {name: rng.random(shape) < SILENT for name in ("orpo", "kept_1")}
    lengths = {name: rng.lognormal(4 + 0.02 * i, 0.4, shape) for i, name in enumerate(("hybrid_ft_1", "dpo"))}
    return Lab(drawing.templates, drawing.levels, answers, samples, silent, lengths, near_votes(drawing))


OFF: Final = (0.0, 0.03)


def near_votes(drawing: Drawing) -> dict[tuple[str, float], Floats]:
    """Votes whose accuracy lies below their confidence by a known number, whatever question, template and seed."""
    rng, votes = drawing.rng, {}
    of_seed = drawing.luck * _SLOPE / float(stats.norm.pdf(0))  # of a whole variance of 1
    rest = math.sqrt(1 - 0.3 - of_seed**2)
    question = math.sqrt(0.3) * rng.normal(0, 1, drawing.n)
    for off in OFF:
        sure = 1 / (1 + np.exp(-(1 + drawing.ease + drawing.luck * drawing.common)))
        confidence = np.clip(rng.binomial(SAMPLES, sure), 1, SAMPLES) / SAMPLES
        luck = question + of_seed * rng.normal(0, 1, (drawing.seeds, 1)) + rest * rng.normal(0, 1, sure.shape)
        votes["confidence", off] = confidence
        votes["right", off] = (stats.norm.cdf(luck) < confidence - off).astype(np.float64)
    return votes


# A group of runs in memory


class Memory:
    """Results in memory in place of a store's."""

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self.memo: dict[Any, Any] = {}

    def has(self, key: str) -> bool:
        """Whether there is such a result."""
        return key in self.results

    def graded(self, key: str) -> Graded:
        """A graded set."""
        return cast(Graded, self.results[key])

    def pairs(self, key: str, sides: Mapping[str, str | None]) -> Pairs:
        """The pairs of Stage II."""
        del sides
        return cast(Pairs, self.results[key])


_RIGHT, _WRONG, _SILENT = (VERDICTS.index(name) for name in ("right", "wrong", "undecided"))
_ROLES: Final[dict[str, Role]] = {
    "weak_floor": "floor", "hybrid_ft_1": "variant", "dpo": "method", "orpo": "method", "ceiling": "ceiling",
}  # fmt: skip
OUTLINE: Final = [
    *(Outline("greedy", name, name, role, "test") for name, role in _ROLES.items()),
    *(Outline("samples", name, name, _ROLES[name], "test") for name in ("hybrid_ft_1", "dpo", "orpo")),
    *(Outline("labels", name, name) for name in ("weak_0", "icl_0", "agreed_1", "kept_1")),
]


@dataclass
class Maker:
    """Makes groups of a laboratory's runs."""

    lab: Lab
    folder: Path
    results: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        self.ids = [f"q{i:04d}" for i in range(len(self.lab.templates))]
        self.questions = Questions(self.ids)

    def group(self, weak: str) -> Group:
        """The runs of a weak model, one a seed."""
        seeds = next(iter(self.lab.answers.values())).shape[0]
        members = [
            Member(f"{weak}{seed}", seed, (), dict(self._targets(weak, seed)), ()) for seed in range(seeds)
        ]
        n = float(len(self.ids))
        return Group(
            weak, "weak_to_strong", weak, {"weak": weak, "strong": "s"}, "mini", members, "test", OUTLINE,
            {"train_2": n}, {}, cast(Results, self.results),
        )  # fmt: skip

    def _targets(self, weak: str, seed: int) -> Iterator[tuple[str, str]]:
        lab, answers = self.lab, self.lab.answers
        for method in ABILITY:
            yield self._put(weak, seed, f"greedy/test/{method}", answers[weak, method][seed])
        for name in ("weak_0", "icl_0"):
            yield self._put(weak, seed, f"labels/{name}", answers[weak, name][seed])
        agreed = np.flatnonzero(answers[weak, "weak_0"][seed] == answers[weak, "icl_0"][seed])
        yield self._put(weak, seed, "labels/agreed_1", answers[weak, "weak_0"][seed][agreed], rows=agreed)
        if weak != WEAK[0]:
            return
        yield self._put(
            weak, seed, "greedy/test/orpo", answers[weak, "dpo"][seed], silent=lab.silent["orpo"][seed]
        )
        silent = lab.silent["kept_1"][seed][agreed]
        yield self._put(
            weak, seed, "labels/kept_1", answers[weak, "weak_0"][seed][agreed], rows=agreed, silent=silent
        )
        for (_, method), drawn in lab.samples.items():
            yield self._put(weak, seed, f"samples/test/{method}", drawn[seed])
        drawn = lab.samples[weak, "dpo"][seed]
        silent = np.broadcast_to(lab.silent["orpo"][seed][:, None], drawn.shape)
        yield self._put(weak, seed, "samples/test/orpo", drawn, silent=silent)
        yield self._pairs(seed)

    def _put(
        self,
        weak: str,
        seed: int,
        label: str,
        classes: Classes,
        *,
        rows: Ints | None = None,
        silent: Mask | None = None,
    ) -> tuple[str, str]:
        """Keep a graded set; `rows` are the questions that it has."""
        n = len(classes)
        questions = self.questions if rows is None else Questions([self.ids[i] for i in rows])
        at = np.arange(n) if rows is None else rows
        verdicts = np.where(classes == 0, _RIGHT, _WRONG)
        if silent is not None:
            verdicts = np.where(silent, _SILENT, verdicts)
        per_row = 1 if classes.ndim == 1 else classes.shape[1]
        key = f"{weak}{seed}/{label}"
        flat = verdicts.ravel().astype(np.int8)
        graded = Graded(
            questions, np.arange(n + 1, dtype=np.int64) * per_row, flat, np.zeros(n * per_row, dtype=bool),
            self.folder / key.replace("/", "-"),
        )  # fmt: skip
        # What is read when it is asked for lies ready.
        vars(graded).update(
            levels=self.lab.levels[at].tolist(), templates=[f"t{t}" for t in self.lab.templates[at].tolist()]
        )
        if per_row > 1:
            confidence, right = vote(classes)
            vars(graded)["vote"] = Vote(confidence, right, np.zeros(n, dtype=bool))
        self.results.results[key] = graded
        return label, key

    def _pairs(self, seed: int) -> tuple[str, str]:
        """A pair for each question whose vote is sure of a side."""
        confidence, right = vote(self.lab.samples[WEAK[0], "hybrid_ft_1"][seed])
        sure = np.flatnonzero(confidence >= 0.6)
        ids = [self.ids[i] for i in sure]
        pairs = Pairs(
            ids,
            ["weak_chosen"] * len(ids),
            {"chosen": right[sure], "rejected": None},
            self.folder,
            {"chosen": np.zeros(len(ids), dtype=bool)},
        )
        lengths = [np.round(self.lab.lengths[name][seed][sure]) for name in ("dpo", "hybrid_ft_1")]
        vars(pairs)["words"] = dict(zip(("chosen", "rejected"), lengths, strict=True))
        self.results.results[f"pairs{seed}"] = pairs
        return "pairs", f"pairs{seed}"

    def write(self, group: Group) -> None:
        """Write what `diagnose` reads from files: answers, lengths, levels."""
        levels = self.lab.levels.tolist()
        for member in group.members:
            for name in ("weak_0", "icl_0"):
                answers = self.lab.answers[WEAK[0], name][member.seed].tolist()
                columns = zip(self.ids, answers, levels, strict=True)
                rows = [
                    {"id": q, "answers": [str(a)], "verdicts": ["wrong" if a else "right"], "level": level}
                    for q, a, level in columns
                ]
                write_rows(group.graded(f"labels/{name}", member.name).path, rows)
            for name in ("dpo", "hybrid_ft_1"):
                lengths = zip(self.ids, self.lab.lengths[name][member.seed].round().tolist(), strict=True)
                path = group.graded(f"greedy/test/{name}", member.name).path
                write_rows(path, [{"id": q, "tokens": [int(length)]} for q, length in lengths])


def vote(classes: Classes) -> tuple[Floats, Mask]:
    """The share of the commonest answer (the first drawn of equals), and whether it is right."""
    counts = (classes[..., None] == np.arange(WRONG + 1)).sum(axis=-2)
    votes = np.take_along_axis(counts, classes, axis=-1)
    first = votes.argmax(axis=-1)[..., None]
    share, won = (np.take_along_axis(values, first, axis=-1)[..., 0] for values in (votes, classes))
    return share / classes.shape[-1], won == 0


# What is measured, and the truth of it


@dataclass(frozen=True)
class Measured:
    """A laboratory's groups, and what only some kinds need."""

    groups: Sequence[Group]
    lab: Lab

    @property
    def group(self) -> Group:
        """The first weak model's."""
        return self.groups[0]


Interval = Estimate | Bounds | None
Truth = float | tuple[float, float]
"""Of an interval between bounds: the truth where all that was not graded is wrong, and where all is right."""


@dataclass(frozen=True)
class Kind:
    """A kind of interval.

    Attributes:
        title: what it is of.
        estimate: what a table calls.
        truth: of the whole population, all seeds and questions.
        one_run: whether it is printed of single runs only.
    """

    title: str
    estimate: Callable[[Measured], Interval]
    truth: Callable[[Lab], Truth]
    one_run: bool = False


def _right(method: str, weak: str = "a") -> Callable[[Lab], Floats]:
    return lambda lab: np.asarray(lab.answers[weak, method] == 0, dtype=np.float64)


def _mean_gap(second: str, first: str, weak: Sequence[str] = ("a",)) -> Callable[[Lab], float]:
    return lambda lab: float(
        np.mean([_right(second, w)(lab).mean() - _right(first, w)(lab).mean() for w in weak])
    )


def _agreed(lab: Lab, weak: str = "a") -> Mask:
    return np.asarray(lab.answers[weak, "weak_0"] == lab.answers[weak, "icl_0"])


def _precision(lab: Lab, weak: str = "a") -> float:
    return float(_right("weak_0", weak)(lab)[_agreed(lab, weak)].mean())


def _pass(lab: Lab, method: str) -> Mask:
    return np.asarray((lab.samples["a", method] == 0).any(axis=-1))


def _votes(lab: Lab, method: str, chosen: Mask | None = None) -> tuple[Floats, Mask]:
    confidence, right = vote(lab.samples["a", method])
    if chosen is None:
        return confidence.ravel(), right.ravel()
    return confidence[:, chosen].ravel(), right[:, chosen].ravel()


def calibration_truth(name: str, n: int, confidence: Floats, right: Mask) -> float:
    """A measure of calibration by its definition, of `n` answers that are as the population's."""
    values, at = np.unique(np.round(confidence, 9), return_inverse=True)
    sizes = np.bincount(at) / len(at)
    hits = np.bincount(at, weights=right) / len(at)
    shares, mean = hits / sizes, float(right.mean())
    match name:
        case "accuracy":
            return mean
        case "overconfidence":
            return float(confidence.mean()) - mean
        case "ece":
            return float((sizes * np.abs(shares - values)).sum())
        case "brier":
            return float(((confidence - right) ** 2).mean())
        case "reliability":
            return float((sizes * (shares - values) ** 2).sum())
        case "resolution":
            return float((sizes * (shares - mean) ** 2).sum())
        case "uncertainty":
            return mean * (1 - mean)
        case "auroc":
            return _auroc(confidence, right)
    # Risk over coverage, answer by answer of the `n`, those of an atom in random order.
    risks = _expected_risk(shares[::-1], sizes[::-1], n)
    best = np.maximum(0, np.arange(1, n + 1) - n * mean) / np.arange(1, n + 1)
    return float(risks.mean() - (best.mean() if name == "excess_aurc" else 0.0))


def _auroc(confidence: Floats, right: Mask) -> float:
    ranks = stats.rankdata(confidence)
    hits = int(right.sum())
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * (len(right) - hits)))


def _expected_risk(shares: Floats, sizes: Floats, n: int) -> Floats:
    wrong = np.concatenate([[0], np.cumsum(sizes * (1 - shares))])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    coverage = np.arange(1, n + 1) / n
    return np.asarray(np.interp(coverage, ends, wrong) / coverage)


def _easy_gap(lab: Lab) -> float:
    kept, right = _agreed(lab), _right("weak_0")(lab)
    easy = np.broadcast_to(lab.levels < 3, kept.shape)
    return float(right[kept & easy].mean() - right[kept & ~easy].mean())


def _hard_over_easy(lab: Lab) -> float:
    kept, easy = _agreed(lab), lab.levels < 3
    return float(kept[:, ~easy].mean() / kept[:, easy].mean())


def _shared(lab: Lab) -> float:
    first, second = (lab.answers["a", name] for name in ("weak_0", "icl_0"))
    wrong = (first > 0) & (second > 0)
    chance = same = 0.0
    for level in np.unique(lab.levels):
        at = wrong & (lab.levels == level)
        shares = [np.bincount(side[at], minlength=WRONG + 1) / at.sum() for side in (first, second)]
        chance += float(shares[0] @ shares[1]) * at.sum()
        same += float((first[at] == second[at]).sum())
    return (same - chance) / float(wrong.sum())


def _overlap(lab: Lab) -> float:
    return float((lab.answers["a", "icl_0"] > 0)[lab.answers["a", "weak_0"] > 0].mean())


def _sure(lab: Lab, threshold: float) -> Mask:
    confidence, right = _votes(lab, "hybrid_ft_1")
    return right[confidence >= threshold - 1e-9]


def _atom(lab: Lab, value: float) -> float:
    confidence, right = _votes(lab, "hybrid_ft_1")
    return float(right[np.isclose(confidence, value)].mean())


_VOTES: Final = "samples/test/hybrid_ft_1"
_VOTES_AFTER: Final = "samples/test/dpo"


def _pgr(measured: Measured) -> Estimate | None:
    pgr = group_recovery(measured.group, "hybrid_ft_1")
    return pgr.ratio if pgr is not None and pgr.resolved else None


def _atom_estimate(measured: Measured, value: float) -> Estimate | None:
    atoms = atoms_of(measured.group, _VOTES)
    return next((atom.accuracy for atom in atoms if math.isclose(atom.confidence, value)), None)


def _kept(measured: Measured, threshold: float) -> Estimate | None:
    votes = votes_of(measured.group, _VOTES)
    return keep_above(votes.confidence, votes.right, threshold, votes.clusters).precision if votes else None


def _compared(measured: Measured) -> Estimate | None:
    """As `w2s compare` does: one run of each."""
    group = measured.group
    first, second = (
        dict(zip(group.ids, group.table(m)[0].tolist(), strict=True)) for m in ("hybrid_ft_1", "dpo")
    )
    clusters = group.clusters
    return paired_difference(
        first, second, dict(zip(group.ids, clusters.tolist(), strict=True)) if clusters is not None else None
    )


def _level_measure(measured: Measured, name: str) -> Estimate | None:
    votes = votes_of(measured.group, _VOTES)
    if votes is None:
        return None
    part = votes.at_level(4)
    return calibration_intervals([name], part.confidence, part.right, part.clusters)[name]


def _ends(worst: Floats | Mask, best: Floats | Mask) -> tuple[float, float]:
    return float(worst.mean()), float(best.mean())


def _orpo(lab: Lab) -> tuple[Mask, Mask]:
    right, silent = lab.answers["a", "dpo"] == 0, lab.silent["orpo"]
    return right & ~silent, right | silent


def kinds() -> Iterator[Kind]:
    """All kinds, in the order of the output."""
    yield Kind(
        "accuracy", lambda m: accuracy_estimate(m.group, "dpo"), lambda lab: float(_right("dpo")(lab).mean())
    )
    yield Kind(
        "accuracy near 1", lambda m: accuracy_estimate(m.group, "ceiling"),
        lambda lab: float(_right("ceiling")(lab).mean()),
    )  # fmt: skip
    yield Kind(
        "accuracy on the hardest level", lambda m: level_scores(m.group, "dpo").get(5),
        lambda lab: float(_right("dpo")(lab)[:, lab.levels == 5].mean()),
    )  # fmt: skip
    yield Kind(
        "pass@10", lambda m: score(m.group.table("dpo", k=10), m.group.clusters),
        lambda lab: float(_pass(lab, "dpo").mean()),
    )  # fmt: skip
    yield from _differences()
    yield Kind(
        "PGR",
        _pgr,
        lambda lab: _mean_gap("hybrid_ft_1", "weak_floor")(lab) / _mean_gap("ceiling", "weak_floor")(lab),
    )
    yield from _label_kinds()
    yield from _calibration_kinds()
    yield from _signatures()
    yield from _bounded_kinds()


def _differences() -> Iterator[Kind]:
    pair = ("dpo", "hybrid_ft_1")
    yield Kind("difference", lambda m: difference([m.group], *pair), _mean_gap(*pair))
    yield Kind("difference, `compare` of two runs", _compared, _mean_gap(*pair), one_run=True)
    yield Kind(
        "difference from the ceiling",
        lambda m: difference([m.group], "dpo", "ceiling"),
        _mean_gap("dpo", "ceiling"),
    )
    yield Kind(
        "the same on the hardest level",
        lambda m: difference([m.group], "dpo", "ceiling", chosen=m.lab.levels == 5),
        lambda lab: float((_right("dpo")(lab) - _right("ceiling")(lab))[:, lab.levels == 5].mean()),
    )
    yield Kind("difference, 3 weak models", lambda m: difference(m.groups, *pair), _mean_gap(*pair, WEAK))
    yield Kind(
        "the same from the ceiling", lambda m: difference(m.groups, "dpo", "ceiling"),
        _mean_gap("dpo", "ceiling", WEAK),
    )  # fmt: skip
    yield Kind(
        "difference between weak models", lambda m: between_groups(m.groups[2], m.groups[0], "dpo"),
        lambda lab: float(_right("dpo", "c")(lab).mean() - _right("dpo", "a")(lab).mean()),
    )  # fmt: skip
    yield Kind(
        "difference of pass@10", lambda m: difference([m.group], *pair, k=10),
        lambda lab: float(_pass(lab, "dpo").mean() - _pass(lab, "hybrid_ft_1").mean()),
    )  # fmt: skip


def _label_kinds() -> Iterator[Kind]:
    def quality(name: str) -> Callable[[Measured], Interval]:
        def estimate(m: Measured) -> Interval:
            measured = quality_of_set(m.group, name)
            return measured.precision if measured else None

        return estimate

    yield Kind(
        "label precision, weak side", quality("weak_0"), lambda lab: float(_right("weak_0")(lab).mean())
    )
    yield Kind("label precision, agreed", quality("agreed_1"), _precision)
    yield Kind(
        "label precision, dropped",
        quality("dropped_1"),
        lambda lab: float(_right("weak_0")(lab)[~_agreed(lab)].mean()),
    )
    yield Kind(
        "gain in precision", lambda m: precision_gain([m.group], "agreed_1", "weak_0"),
        lambda lab: _precision(lab) - float(_right("weak_0")(lab).mean()),
    )  # fmt: skip
    yield Kind(
        "gain in precision, 3 weak models", lambda m: precision_gain(m.groups, "agreed_1", "weak_0"),
        lambda lab: float(np.mean([_precision(lab, w) - _right("weak_0", w)(lab).mean() for w in WEAK])),
    )  # fmt: skip
    yield Kind(
        "disagreement",
        lambda m: properties(m.group).get("disagreement"),
        lambda lab: float(1 - _agreed(lab).mean()),
    )
    yield Kind("error overlap", lambda m: properties(m.group).get("error overlap"), _overlap)
    yield Kind(
        "chosen sides that are right",
        lambda m: side_right(m.group, "chosen"),
        lambda lab: float(_sure(lab, 0.6).mean()),
    )


def _calibration_kinds() -> Iterator[Kind]:
    def truth(name: str, lab: Lab, seeds: int = 3) -> float:
        return calibration_truth(name, 375 * seeds, *_votes(lab, "hybrid_ft_1"))

    def level_truth(name: str, lab: Lab) -> float:
        return calibration_truth(name, 200, *_votes(lab, "hybrid_ft_1", lab.levels == 4))

    def change(name: str, lab: Lab) -> float:
        after, before = (calibration_truth(name, 1000, *_votes(lab, m)) for m in ("dpo", "hybrid_ft_1"))
        return after - before

    for name, heading in SHOWN.items():
        yield Kind(
            f"vote: {heading}", lambda m, name=name: interval_of(m.group, _VOTES, name), partial(truth, name)
        )
    for name in ("overconfidence", "ece", "auroc", "excess_aurc"):
        yield Kind(
            f"on one level: {SHOWN[name]}", partial(_level_measure, name=name), partial(level_truth, name)
        )
    for name, heading in SHOWN.items():
        yield Kind(
            f"change: {heading}", lambda m, name=name: change_of(m.group, _VOTES, _VOTES_AFTER, name),
            partial(change, name),
        )  # fmt: skip
    yield from _near_kinds()
    for value in (0.5, 1.0):
        yield Kind(
            f"right at confidence {value:g}",
            partial(_atom_estimate, value=value),
            partial(_atom, value=value),
        )
    yield Kind(
        "right above a threshold", partial(_kept, threshold=0.7), lambda lab: float(_sure(lab, 0.7).mean())
    )


def _near_kinds() -> Iterator[Kind]:
    """Where chance adds most to a distance from calibration."""

    def estimate(m: Measured, name: str, off: float) -> Estimate:
        votes = m.lab.near
        clusters = m.group.clusters
        return calibration_intervals([name], votes["confidence", off], votes["right", off], clusters)[name]

    def change(m: Measured, name: str) -> Estimate:
        before, after = ((m.lab.near["confidence", off], m.lab.near["right", off]) for off in reversed(OFF))
        return calibration_changes([name], before, after, m.group.clusters)[name]

    for name, heading, power in (("ece", "ECE", 1), ("reliability", "Brier, reliability", 2)):
        for off in OFF:
            title = f"{heading}, accuracy {100 * off:g} points below" if off else f"{heading}, calibrated"
            yield Kind(title, partial(estimate, name=name, off=off), partial(_known, off**power))
        yield Kind(
            f"change of {heading} to calibrated",
            partial(change, name=name),
            partial(_known, -(OFF[1] ** power)),
        )


def _known(truth: float, lab: Lab) -> float:
    del lab
    return truth


def _signatures() -> Iterator[Kind]:
    def lengths(lab: Lab) -> float:
        return float(lab.lengths["dpo"].mean() / lab.lengths["hybrid_ft_1"].mean())

    measured: tuple[tuple[str, Callable[[Group], Estimate | None], Callable[[Lab], float]], ...] = (
        ("agreement", measures.agreement, lambda lab: float(_agreed(lab).mean())),
        ("precision, easy minus hard", measures.purity_gap, _easy_gap),
        ("kept, hard over easy", measures.hard_over_easy, _hard_over_easy),
        ("shared errors", measures.shared_errors, _shared),
        ("length of the pairs' sides", measures.pair_lengths, lengths),
        ("length of responses", lambda group: measures.response_lengths(group, "dpo"), lengths),
    )
    for title, function, truth in measured:
        estimate = partial(_of_group, function)
        yield Kind(f"diagnose: {title}", estimate, truth, one_run=True)


def _of_group(function: Callable[[Group], Estimate | None], measured: Measured) -> Estimate | None:
    return function(measured.group)


def _bounded_kinds() -> Iterator[Kind]:
    def passed(lab: Lab) -> tuple[Mask, Mask]:
        right, silent = _pass(lab, "dpo"), lab.silent["orpo"]
        return right & ~silent, right | silent

    def plus(lab: Lab) -> float:
        return float(_right("hybrid_ft_1")(lab).mean())

    def recovered(lab: Lab) -> tuple[float, float]:
        floor, ceiling = (float(_right(name)(lab).mean()) for name in ("weak_floor", "ceiling"))
        low, high = ((end - floor) / (ceiling - floor) for end in _ends(*_orpo(lab)))
        return low, high

    def kept(lab: Lab) -> tuple[float, float]:
        right, silent, agreed = _right("weak_0")(lab) > 0, lab.silent["kept_1"], _agreed(lab)
        return _ends((right & ~silent)[agreed], (right | silent)[agreed])

    def gap(lab: Lab) -> tuple[float, float]:
        low, high = (end - plus(lab) for end in _ends(*_orpo(lab)))
        return low, high

    def gained(lab: Lab) -> tuple[float, float]:
        low, high = (end - float(_right("weak_0")(lab).mean()) for end in kept(lab))
        return low, high

    def of(estimate: Callable[[Group], Estimate | None]) -> Callable[[Measured], Bounds | None]:
        def bounds(m: Measured) -> Bounds | None:
            measured = estimate(m.group)
            return measured.bounds if measured is not None else None

        return bounds

    yield Kind(
        "bounds: accuracy", of(lambda group: accuracy_estimate(group, "orpo")), lambda lab: _ends(*_orpo(lab))
    )
    yield Kind(
        "bounds: pass@10", lambda m: accuracy_bounds(m.group, "orpo", 10), lambda lab: _ends(*passed(lab))
    )
    yield Kind("bounds: difference", of(lambda group: difference([group], "orpo", "hybrid_ft_1")), gap)
    yield Kind("bounds: PGR", of(_recovered), recovered)
    yield Kind("bounds: label precision", of(_kept_precision), kept)
    yield Kind(
        "bounds: gain in precision", of(lambda group: precision_gain([group], "kept_1", "weak_0")), gained
    )


def _recovered(group: Group) -> Estimate | None:
    pgr = group_recovery(group, "orpo")
    return pgr.ratio if pgr is not None else None


def _kept_precision(group: Group) -> Estimate | None:
    quality = label_quality_over_seeds(group, "kept_1")
    return quality.precision if quality is not None else None


# Simulation


def population(noise: float, labs: int = 300) -> Lab:
    """Half a million draws, as one laboratory: every seed's luck counts as often as it occurs."""
    rng = np.random.default_rng([7, int(10 * noise)])
    drawn = [draw(rng, 5, noise, SIZES[i % 2]) for i in range(labs)]

    def joined(name: str) -> dict[Any, Any]:
        parts = [getattr(lab, name) for lab in drawn]
        return {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}

    levels = np.concatenate([lab.levels for lab in drawn])
    return Lab(
        levels, levels, *(joined(name) for name in ("answers", "samples", "silent", "lengths", "near"))
    )


def truths(noise: float, labs: int = 300) -> dict[str, Truth]:
    """The truth of every kind."""
    everything = population(noise, labs)
    return {kind.title: kind.truth(everything) for kind in kinds()}


Cell = tuple[int, float]
Counts = dict[str, npt.NDArray[np.int64]]
"""By kind: intervals that hold the truth (of two ends: the one, the other), and intervals."""


def simulate(seeds: int, noise: float, worlds: int, known: Mapping[str, Truth], start: int = 0) -> Counts:
    """How often intervals hold the truth, in laboratories of one kind."""
    chosen = [
        kind for kind in kinds() if kind.title in known and seeds <= (1 if kind.one_run else max(SEEDS))
    ]
    counts = {kind.title: np.zeros(3, dtype=np.int64) for kind in chosen}
    fewer = {"draws": DRAWS}
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(crossed_bootstrap.__kwdefaults__, fewer),
        mock.patch.dict(CrossedTables.__init__.__kwdefaults__, fewer),
    ):
        for i in range(start, start + worlds):
            rng = np.random.default_rng([seeds, int(10 * noise), i])
            maker = Maker(draw(rng, seeds, noise, SIZES[i % 2]), Path(folder))
            measured = Measured([maker.group(weak) for weak in WEAK], maker.lab)
            if any(kind.one_run for kind in chosen):
                maker.write(measured.group)
            for kind in chosen:
                counts[kind.title] += held(kind.estimate(measured), known[kind.title])
    return counts


def held(interval: Interval, truth: Truth) -> tuple[int, int, int]:
    """Whether an interval holds the truth, at either end of what is bounded, and whether there is one."""
    if interval is None or math.isnan(interval.low):
        return 0, 0, 0
    ends = truth if isinstance(truth, tuple) else (truth, truth)
    first, second = (int(interval.low <= end <= interval.high) for end in ends)
    return first, second, 1


# The table


def table(cells: Mapping[Cell, Counts]) -> list[str]:
    """Coverage in per cent of each kind, a column for each number of seeds and each luck."""
    columns = [(seeds, noise) for seeds in SEEDS for noise in NOISE]
    lines = [
        " " * 43 + "".join(f"{f'{seeds} seed' + 's' * (seeds > 1):>{6 * len(NOISE)}}" for seeds in SEEDS),
        f"{'luck of a run, points':43}" + "".join(f"{noise:6g}" for _, noise in columns),
    ]
    for kind in kinds():
        shares = [covered(cells[cell].get(kind.title)) for cell in columns]
        lines.append(
            f"{kind.title:43}" + "".join("     –" if math.isnan(x) else f"{100 * x:6.1f}" for x in shares)
        )
    return lines


def covered(counts: npt.NDArray[np.int64] | None) -> float:
    """The share of intervals that hold the truth; of two ends, the less covered one. nan without intervals."""
    return float(counts[:2].min() / counts[2]) if counts is not None and counts[2] else math.nan


def outside(cells: Mapping[Cell, Counts]) -> Iterator[str]:
    """Kinds whose coverage with 3 or 5 seeds, over all sizes of luck, lies outside what is asked."""
    for kind in kinds():
        for seeds in SEEDS[1:]:
            parts = [
                counts[kind.title] for (n, _), counts in cells.items() if n == seeds and kind.title in counts
            ]
            share = covered(np.sum(parts, axis=0)) if parts else math.nan
            if share < LOWEST or share > HIGHEST:
                yield f"  {kind.title}, {seeds} seeds: {100 * share:.1f} % over all sizes of luck"


def report(cells: Mapping[Cell, Counts], worlds: int) -> str:
    """The table with what it is of."""
    error = 100 * math.sqrt(0.95 * 0.05 / worlds)
    first = [
        "How often 95 % intervals hold the truth over all seeds and questions, per cent",
        f"{worlds} laboratories a column ({' or '.join(f'{n} questions in {t} templates' for n, t in SIZES)});",
        f"simulation error: {error:.1f} points a number, {error / math.sqrt(len(NOISE)):.1f} over a line's four",
        "",
    ]
    beyond = list(outside(cells))
    last = [
        "",
        "With one seed an interval is over questions only: it holds where runs have no luck, and misses the truth over",
        f"seeds where they have, so tables and verdicts are marked “{ONE_SEED}”.",
        "`compare` and `diagnose` are of single runs.",
        f"Outside {100 * LOWEST:.0f} to {100 * HIGHEST:.0f} % with 3 or 5 seeds:{'' if beyond else ' none'}",
        *beyond,
    ]
    return "\n".join([*first, *table(cells), *last]) + "\n"


def _some(task: tuple[Cell, int, dict[str, Truth]]) -> Counts:
    """A round of one column."""
    cell, start, known = task
    return simulate(*cell, ROUND, known, start)


def run(worlds: int, processes: int) -> Iterator[tuple[int, dict[Cell, Counts]]]:
    """Laboratories of each column so far, and their counts, after each round over all columns."""
    columns = [(seeds, noise) for seeds in SEEDS for noise in NOISE]
    sums: dict[Cell, Counts] = {}
    with ProcessPoolExecutor(processes) as pool:
        known = dict(zip(NOISE, pool.map(truths, NOISE), strict=True))
        for start in range(0, worlds, ROUND):
            tasks = [(cell, start, known[cell[1]]) for cell in columns]
            for cell, counts in zip(columns, pool.map(_some, tasks), strict=True):
                before = sums.setdefault(cell, dict.fromkeys(counts, np.zeros(3, dtype=np.int64)))
                sums[cell] = {title: before[title] + counts[title] for title in counts}
            yield start + ROUND, sums


def main() -> None:
    """Simulate, print the table, and write it beside this file, after each round."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--worlds", type=int, default=200, help="laboratories of each column")
    options.add_argument("--processes", type=int, default=1)
    chosen = options.parse_args()
    text = ""
    for worlds, cells in run(chosen.worlds, chosen.processes):
        text = report(cells, worlds)
        TABLE.write_text(text, encoding="utf-8")
    print(text, end="")


if __name__ == "__main__":
    main()
