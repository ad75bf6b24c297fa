"""The choice of the weak model: what is measured of it, and which of that goes with a better student.

Measured on train_2: the precision of its labels, and of what agreement keeps; the share that agreement drops
(disagreement); error overlap with the strong model (the share of its wrong labels where the strong model's few-shot
answer is wrong too). On the evaluation split: its accuracy. The gain is M_plus minus the strong model's zero-shot
accuracy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from math import factorial, isnan, nan
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from w2s_analysis.reading.contrasts import difference
from w2s_analysis.reading.groups import Group, accuracy_estimate, once
from w2s_analysis.reading.labels import label_tables, ratio_estimate, runs_with_sets
from w2s_analysis.reading.study import Study
from w2s_analysis.weak_to_strong.labels import quality_of_set
from w2s_analysis.weak_to_strong.looks import COLOURS
from w2s_analysis.weak_to_strong.titles import m_plus
from w2s_analysis.writing.figures import MARKS, add_grid, arms, assigned, label_lines, new_figure, style
from w2s_analysis.writing.notes import footer, smallest_effect
from w2s_analysis.writing.table import MISSING, Cell, Table, p_value, percent_interval, points_interval, words
from w2s_core.statistics import Estimate, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ALPHA = 0.05
EXACT, DRAWS = 8, 20_000
"""Up to so many weak models all rankings are counted; for more, so many are drawn."""


@dataclass(frozen=True)
class Measured:
    """A weak model: what is measured of it, by name, and the strong model's gain; what is missing is None or absent."""

    group: Group
    properties: Mapping[str, Estimate]
    gain: Estimate | None


def measured(groups: Sequence[Group]) -> list[Measured]:
    """The weak models of some groups, those that were judged."""
    return [Measured(group, properties(group), gain_of(group)) for group in groups if group.planned()]


def property_names(models: Sequence[Measured]) -> list[str]:
    """The properties that any of them has, in order."""
    return list(dict.fromkeys(name for model in models for name in model.properties))


def ranked(models: Sequence[Measured], name: str) -> tuple[int, float, float]:
    """How many weak models have a property and a gain; Spearman's correlation of the two, and its p."""
    pairs = [
        (model.properties[name].value, model.gain.value)
        for model in models
        if name in model.properties and model.gain
    ]
    rho, p = spearman([x for x, _ in pairs], [y for _, y in pairs])
    return len(pairs), rho, p


def weak_choice_tables(study: Study) -> list[Table]:
    """The weak models' measured properties, and the rank correlations of these with the strong model's gain."""
    models = measured(study.bases)
    return [_property_table(models), _correlation_table(models)] if models else []


@once
def gain_of(group: Group) -> Estimate | None:
    """What M_plus gains over the strong model's zero-shot accuracy."""
    return difference([group], m_plus(group), "zero_shot")


@once
def properties(group: Group) -> dict[str, Estimate]:
    """What is measured of a weak model, by name; what is missing stands out."""
    estimates = {"accuracy": accuracy_estimate(group, "weak_floor")}
    for name, labels in (("label precision", "weak_0"), ("agreement precision", "agreed_1")):
        quality = quality_of_set(group, labels)
        estimates[name] = quality.precision if quality else None
    estimates["disagreement"] = _disagreement(group)
    estimates["error overlap"] = error_overlap(group)
    return {name: known for name, known in estimates.items() if known is not None and not isnan(known.value)}


def error_overlap(group: Group) -> Estimate | None:
    """Of the questions of train_2 that the weak label gets wrong, the share where D_icl is wrong too."""
    members = runs_with_sets(group, "weak_0", "icl_0")
    if not members:
        return None
    tables = label_tables(group, ["weak_0", "icl_0"], members)
    both = tables.kept["weak_0"] * tables.kept["icl_0"]
    weak_wrong = both * (1 - tables.right["weak_0"])
    return ratio_estimate(weak_wrong * (1 - tables.right["icl_0"]), weak_wrong, tables.clusters)


def _disagreement(group: Group) -> Estimate | None:
    """The share of train_2 that the first agreement drops."""
    members = runs_with_sets(group, "weak_0", "agreed_1")
    if not members:
        return None
    tables = label_tables(group, ["weak_0", "agreed_1"], members)
    return score(tables.kept["weak_0"] * (1 - tables.kept["agreed_1"]), tables.clusters)


def _property_table(models: Sequence[Measured]) -> Table:
    groups, names = [model.group for model in models], property_names(models)
    gain = "gain of M_plus over zero-shot, points"
    table = Table(
        f"Weak models measured, per cent, and the strong model's gain on {groups[0].split}",
        ["weak model", *names, gain],
        spans=(*names, gain),
        name="weak_choice",
    )
    for model in models:
        cells = {
            name: percent_interval(model.properties[name]) if name in model.properties else words(MISSING)
            for name in names
        }
        table.rows.append({"weak model": words(model.group.name), **cells, gain: points_interval(model.gain)})
    table.notes = [
        (
            "disagreement: questions of train_2 that the first agreement drops. error overlap: of the weak "
            "model's wrong labels, those where the strong model's few-shot answer is wrong too."
        ),
        *footer(groups, smallest_effect("A gain", [model.gain for model in models])),
    ]
    return table


def _correlation_table(models: Sequence[Measured]) -> Table:
    table = Table(
        "Rank correlation of the weak models' properties with the strong model's gain",
        ["property", "Spearman's rho", "p", "weak models"],
        name="weak_choice_correlation",
    )
    sizes = []
    for name in property_names(models):
        size, rho, p = ranked(models, name)
        sizes.append(size)
        table.rows.append(
            {
                "property": words(name),
                "Spearman's rho": Cell("–") if isnan(rho) else Cell(f"{rho:+.2f}", rho),
                "p": p_value(p),
                "weak models": words(str(size)),
            }
        )
    groups = [model.group for model in models]
    table.notes = [_power_note(min(sizes, default=0)), *_base_note(groups), *footer(groups)]
    return table


def _base_note(groups: Sequence[Group]) -> list[str]:
    """That p takes weak models as drawn one by one, where some share a base."""
    bases = {group.base for group in groups}
    if len(bases) == len(groups):
        return []
    return [
        f"p takes the {len(groups)} weak models as independent; they come from {len(bases)} bases, so it is too small."
    ]


def _power_note(n: int) -> str:
    """Whether so many weak models can show anything at all."""
    if n < 2:
        return "Two weak models at least are needed for a rank correlation; more for one that means anything."
    if n > EXACT:
        return f"n = {n} weak models. p: over {DRAWS:,} rankings drawn at random; each of several tests."
    least = min(1.0, 2 / factorial(n))
    sentence = f"n = {n} weak models: the smallest p that any ranking could give is {least:.3g}"
    too_few = ", so n is too small for a claim (five weak models are needed)" if least > ALPHA else ""
    return f"{sentence}{too_few}. p: exact, over all rankings; each of several tests."


def spearman(x: Sequence[float], y: Sequence[float], draws: int = DRAWS) -> tuple[float, float]:
    """Spearman's rank correlation (ties have their mean rank) and its two-sided permutation p.

    All rankings are counted for up to 8 pairs, else `draws` are drawn with a fixed seed. (nan, nan) where it is not
    defined: fewer than two pairs, or all equal on one side.
    """
    if len(x) < 2:
        return nan, nan
    first, second = (_ranks(side) - (len(x) + 1) / 2 for side in (x, y))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    if scale == 0:
        return nan, nan
    rho = float(first @ second)
    if len(x) <= EXACT:
        sizes = np.abs(np.array(list(permutations(second))) @ first)
        return rho / scale, float(np.mean(sizes >= abs(rho) * (1 - 1e-12)))
    from scipy.stats import permutation_test  # imported in a second, and few studies have so many models

    # Its two-sided p doubles the smaller tail; with ties the tails differ, so both are counted here by size.
    test = permutation_test(
        (second,),
        lambda ranking, axis: np.abs(ranking @ first),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=draws,
        alternative="greater",
        rng=np.random.default_rng(0),
    )
    return rho / scale, float(test.pvalue)


def _ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    column = np.asarray(values, dtype=np.float64)
    below, equal = column[:, None] > column, column[:, None] == column
    return np.asarray(below.sum(axis=1) + (equal.sum(axis=1) + 1) / 2)


_FAINT: Final = "#9FD8C6"
"""Of the bars: the colour of M+, lightened, since bars of many models cross."""


def choice_figure(groups: Sequence[Group]) -> "Figure | None":
    """A panel a property: the gain of M_plus over zero-shot, a point a weak model.

    None where no property is known of two models: a panel of one point shows nothing.
    """
    models = [model for model in measured(groups) if model.gain and not isnan(model.gain.value)]
    names = [name for name in property_names(models) if ranked(models, name)[0] > 1]
    if not names:
        return None
    marks = assigned([model.group.base for model in models], MARKS)
    with style():
        figure, panels = new_figure(len(names))
        for panel, name in zip(panels[0], names, strict=True):
            for model in models:
                if model.gain and name in model.properties:
                    _draw_model(panel, model.properties[name], model.gain, marks[model.group.base])
            size, rho, _ = ranked(models, name)
            correlation = "rho not known" if isnan(rho) else f"rho = {rho:+.2f}"
            panel.set_title(f"{size} weak models, {correlation}", fontsize=8, pad=4)
            panel.set_xlabel(f"{name}, %", labelpad=2)
            add_grid(panel)
        label_lines(panels[0], "gain over zero-shot, points")
        for base, mark in marks.items():
            panels[0][0].plot(
                [], [], color=COLOURS["hybrid"], marker=mark, linestyle="none", label=f"weak: {base}"
            )
        figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7.5)
    return figure


def _draw_model(panel: "Axes", measured_as: Estimate, gain: Estimate, mark: str) -> None:
    across, up = (([100 * arm] for arm in arms(estimate)) for estimate in (measured_as, gain))
    panel.errorbar(
        [100 * measured_as.value], [100 * gain.value], xerr=[*across], yerr=[*up], color=COLOURS["hybrid"],
        marker=mark, markersize=4, ecolor=_FAINT, elinewidth=0.7, linestyle="none", zorder=3,
    )  # fmt: skip
