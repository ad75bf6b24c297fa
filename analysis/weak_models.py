"""The choice of the weak model: PGR of each method by weak model, and what of a weak model goes with a better student.

Measured of a weak model, on train_2: precision of its labels, of what agreement keeps and how much that is; error
overlap with the strong model (the share of its wrong labels where the strong model's few-shot answer is wrong too);
on the evaluation split: its accuracy. The gain is M_plus minus the strong model's zero-shot accuracy.
"""

from collections.abc import Sequence
from itertools import permutations
from math import factorial, isnan, nan

import numpy as np
from numpy.typing import NDArray

from analysis.contrasts import difference
from analysis.groups import Group, accuracy_estimate
from analysis.labels import label_quality_over_seeds, label_tables, ratio_estimate, runs_with_sets
from analysis.methods import method_name
from analysis.notes import footer, smallest_effect
from analysis.stage_two import METHODS
from analysis.study import Study
from analysis.table import MISSING, Cell, Table, percent_interval, points_interval, ratio_interval, words
from analysis.tables import accuracy_of, group_recovery
from w2s_core.statistics import Estimate, Recovery, score

Floats = NDArray[np.float64]
NOT_RESOLVED = "gap not resolved"
ALPHA = 0.05


def weak_model_tables(study: Study) -> list[Table]:
    """PGR by weak model, their measured properties, and the rank correlations of these with the strong model's gain."""
    judged = [group for group in study.bases if group.planned()]
    if not judged:
        return []
    return [pgr_table(judged), *_property_tables(judged)]


def pgr_methods(groups: Sequence[Group]) -> list[str]:
    """The methods of the grid, as far as any group has them."""
    last = max(group.iterations for group in groups)
    wanted = ["full_weak_ft", "weak_icl", f"weak_ft_{last}", f"icl_ft_{last}", f"hybrid_ft_{last}", *METHODS]
    planned = {method for group in groups for method in group.planned()}
    return [method for method in wanted if method in planned]


def pgr_table(groups: Sequence[Group]) -> Table:
    """PGR with intervals; where the ceiling does not clear the floor there is none, and the table says so."""
    methods = pgr_methods(groups)
    names = {method: method_name(method, groups[0].m_plus) for method in methods}
    spans = ("floor", "ceiling", "gap, points", *names.values())
    table = Table(
        f"PGR by weak model, on {groups[0].split}", ["weak model", *spans], spans=spans, name="weak_models"
    )
    for group in groups:
        row = {
            "weak model": words(group.name),
            "floor": accuracy_of(group, "weak_floor"),
            "ceiling": accuracy_of(group, "ceiling"),
            "gap, points": points_interval(difference([group], "ceiling", "weak_floor")),
        }
        table.rows.append(row | {names[m]: _pgr_cell(group_recovery(group, m)) for m in methods})
    gaps = [difference([group], "ceiling", "weak_floor") for group in groups]
    table.notes = [
        (
            "Floor and ceiling in per cent. PGR = (x - floor) / (ceiling - floor), with Fieller's interval. "
            f"“{NOT_RESOLVED}”: the interval of the gap includes 0, or comes near it."
        ),
        *footer(groups, smallest_effect("A gap", gaps)),
    ]
    return table


def _pgr_cell(found: Recovery | None) -> Cell:
    if found is None:
        return words(MISSING)
    return ratio_interval(found.ratio) if found.resolved else words(NOT_RESOLVED)


def properties(group: Group) -> dict[str, Estimate]:
    """What is measured of a weak model, by name; what is missing stands out."""
    found = {"accuracy": accuracy_estimate(group, "weak_floor")}
    for name, one in (("label precision", "weak_0"), ("agreement precision", "agreed_1")):
        quality = label_quality_over_seeds(group, one)
        found[name] = quality.precision if quality else None
    found["disagreement"] = _disagreement(group)
    found["error overlap"] = error_overlap(group)
    return {name: one for name, one in found.items() if one is not None and not isnan(one.value)}


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


def _property_tables(groups: Sequence[Group]) -> list[Table]:
    measured = {group.name: properties(group) for group in groups}
    gains = {group.name: difference([group], group.m_plus, "zero_shot") for group in groups}
    names = list(dict.fromkeys(name for found in measured.values() for name in found))
    gain = "gain of M_plus over zero-shot, points"
    table = Table(
        f"Weak models measured, per cent, and the strong model's gain on {groups[0].split}",
        ["weak model", *names, gain],
        spans=(*names, gain),
        name="weak_models_properties",
    )
    for group in groups:
        cells = {name: percent_interval(one) for name, one in measured[group.name].items()}
        missing = {name: words(MISSING) for name in names if name not in cells}
        row = {"weak model": words(group.name), **cells, **missing}
        table.rows.append(row | {gain: points_interval(gains[group.name])})
    table.notes = [
        (
            "disagreement: questions of train_2 that the first agreement drops. error overlap: of the weak "
            "model's wrong labels, those where the strong model's few-shot answer is wrong too."
        ),
        *footer(groups, smallest_effect("A gain", gains.values())),
    ]
    values = {
        name: [
            (found[name].value, effect.value)
            for weak, found in measured.items()
            if name in found and (effect := gains[weak])
        ]
        for name in names
    }
    return [table, _correlation_table(values, groups)]


def _correlation_table(values: dict[str, list[tuple[float, float]]], groups: Sequence[Group]) -> Table:
    table = Table(
        "Rank correlation of the weak models' properties with the strong model's gain",
        ["property", "Spearman's rho", "p", "weak models"],
        name="weak_models_correlation",
    )
    sizes = [len(pairs) for pairs in values.values()]
    for name, pairs in values.items():
        rho, p = spearman([x for x, _ in pairs], [y for _, y in pairs])
        cells = (
            Cell("–") if isnan(one) else Cell(text.format(one), one)
            for one, text in ((rho, "{:+.2f}"), (p, "{:.3f}"))
        )
        table.rows.append(
            {
                "property": words(name),
                **dict(zip(table.columns[1:3], cells, strict=True)),
                "weak models": words(str(len(pairs))),
            }
        )
    table.notes = [_power_note(min(sizes, default=0)), *footer(groups)]
    return table


def _power_note(n: int) -> str:
    """Whether so many weak models can show anything at all."""
    if n < 2:
        return "Two weak models at least are needed for a rank correlation; more for one that means anything."
    least = min(1.0, 2 / factorial(n))
    said = f"n = {n} weak models: the smallest p that any ranking could give is {least:.3g}"
    too_few = ", so n is too small for a claim (five weak models are needed)" if least > ALPHA else ""
    return f"{said}{too_few}. p: exact, over all rankings (drawn for more than 8 weak models); each of several tests."


def spearman(x: Sequence[float], y: Sequence[float], draws: int = 20_000) -> tuple[float, float]:
    """Spearman's rank correlation (ties have their mean rank) and its two-sided permutation p.

    All rankings are counted for up to 8 pairs, else `draws` are drawn with a fixed seed. (nan, nan) where it is not
    defined: fewer than two pairs, or all equal on one side.
    """
    if len(x) < 2:
        return nan, nan
    first, second = (mean_ranks(side) - (len(x) + 1) / 2 for side in (x, y))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    if scale == 0:
        return nan, nan
    rho = float(first @ second) / scale
    if len(x) <= 8:
        drawn = np.array(list(permutations(second.tolist())), dtype=np.float64)
        hits, total = np.abs(drawn @ first) / scale >= abs(rho) - 1e-9, len(drawn)
        return rho, float(hits.sum()) / total
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.permutation(second) for _ in range(draws)])
    hits = np.abs(drawn @ first) / scale >= abs(rho) - 1e-9
    return rho, float(hits.sum() + 1) / (draws + 1)


def mean_ranks(values: Sequence[float]) -> Floats:
    """Ranks from 1; values that tie share the mean of their ranks."""
    listed = np.asarray(values, dtype=np.float64)
    below = (listed[:, None] > listed).sum(axis=1)
    return below + ((listed[:, None] == listed).sum(axis=1) + 1) / 2
