"""Stage II of one experiment over its seeds: what DPO and ORPO gain over M_plus, and the pairs they learned from."""

from math import nan

import numpy as np
import numpy.typing as npt

from w2s_analysis.parts.accuracy import SAMPLED, accuracy_of, named_method, title
from w2s_analysis.reading.contrasts import difference
from w2s_analysis.reading.groups import PASS_K, Group
from w2s_analysis.reading.labels import ratio_estimate
from w2s_analysis.reading.results import Pairs
from w2s_analysis.weak_to_strong.published import add_columns
from w2s_analysis.weak_to_strong.titles import m_plus, stage_two
from w2s_analysis.writing.notes import (
    footer,
    intervals_over,
    missing_notes,
    run_notes,
    samples_note,
    smallest_change,
    smallest_effect,
)
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    count,
    percent_interval,
    points_interval,
    probability,
    words,
)
from w2s_core.statistics import Estimate

Floats = npt.NDArray[np.float64]
KINDS = {"all": None, "weak side chosen": "weak_chosen", "weak side rejected": "weak_rejected"}


def stage_two_tables(group: Group) -> list[Table]:
    """Gains and pairs; none for runs that stop after Stage I."""
    return [table for table in (gain_table(group), pair_table(group)) if table.rows]


def gain_table(group: Group) -> Table:
    """Accuracy after Stage II, and the paired gain over M_plus, greedily and in pass@10."""
    gain, sampled = "gain over M_plus", f"gain, {SAMPLED}"
    table = Table(
        title(group, f"Stage II on {group.split}, per cent and points"),
        ["method", "accuracy", gain, "p", sampled],
        spans=("accuracy", gain, sampled),
        name="stage2",
        of=group.name,
    )
    methods, start = stage_two(group), m_plus(group)
    if not methods:
        return table
    effects = {method: difference([group], method, start) for method in methods}
    table.rows.append({"method": words(named_method(group, start)), "accuracy": accuracy_of(group, start)})
    for method, effect in effects.items():
        table.rows.append(
            {
                "method": words(named_method(group, method)),
                "accuracy": accuracy_of(group, method),
                gain: points_interval(effect),
                "p": probability(effect),
                sampled: points_interval(difference([group], method, start, k=PASS_K)),
            }
        )
    add_columns(table, group, [start, *methods], {"paper": False})
    table.notes.append("p of one paired test, not corrected; findings.md corrects over all claims.")
    table.notes += samples_note(group)
    table.notes += footer(
        [group], smallest_effect(f"A gain over {group.short_title(start)}", effects.values())
    )
    return table


def pair_table(group: Group) -> Table:
    """The pairs by the side of the weak response: how many, how often each side is right, and how long it is."""
    columns = ["pairs", "number", "chosen right, %", "rejected right, %", "chosen, words", "rejected, words"]
    table = Table(
        title(group, "Pairs for Stage II"),
        columns,
        spans=tuple(columns[2:4]),
        name="stage2_pairs",
        of=group.name,
    )
    if "pairs" not in group.labels:
        return table
    members = group.having("pairs")
    if not members:
        table.rows.append({"pairs": words("all"), "number": words(MISSING)})
        table.notes = footer([group])
        return table
    pairs = [group.pairs(name) for name in members]
    clusters = _clusters(group, members)
    table.rows = [_pair_row(name, kind, pairs, clusters) for name, kind in KINDS.items()]
    ids = {name for part in pairs for name in part.ids}
    grouped = f" in {len({clusters.get(name, name) for name in ids})} templates" if clusters else ""
    table.notes = [
        (
            f"n = {len(ids)} questions of train_2{grouped}; seeds {', '.join(map(str, group.seeds))}; "
            f"means over seeds; {intervals_over(len(members))}."
        ),
        *filter(None, [smallest_change("How often the chosen side is right", [side_right(group, "chosen")])]),
        *missing_notes([group], lambda label: "pairs" in label),
        *run_notes([group]),
    ]
    return table


def _clusters(group: Group, members: list[str]) -> dict[str, str]:
    """The template of each question of train_2 that has a pair, where it is known."""
    templates: dict[str, str] = {}
    for name in group.having("labels/pairs_chosen"):
        if name in members:
            graded = group.graded("labels/pairs_chosen", name)
            rows = zip(graded.questions.ids, graded.templates, strict=True)
            templates |= {question: template for question, template in rows if template is not None}
    return templates


def _pair_row(name: str, kind: str | None, pairs: list[Pairs], clusters: dict[str, str]) -> dict[str, Cell]:
    masks = [np.array([kind in (None, pair_kind) for pair_kind in part.kinds], dtype=bool) for part in pairs]
    row = {"pairs": words(name), "number": count(sum(int(mask.sum()) for mask in masks) / len(pairs))}
    for side in ("chosen", "rejected"):
        lengths = np.concatenate([part.words[side][mask] for part, mask in zip(pairs, masks, strict=True)])
        row[f"{side}, words"] = count(round(float(lengths.mean()), 1) if lengths.size else nan)
        estimate = _side_right(side, pairs, masks, clusters)
        row[f"{side} right, %"] = percent_interval(estimate) if estimate else words("–")
    return row


def side_right(group: Group, side: str) -> Estimate | None:
    """How often a side of the pairs, `chosen` or `rejected`, is right; None where no graded pair is there."""
    members = group.having("pairs")
    pairs = [group.pairs(name) for name in members]
    masks = [np.ones(len(part.ids), dtype=bool) for part in pairs]
    return _side_right(side, pairs, masks, _clusters(group, members))


def _side_right(
    side: str, pairs: list[Pairs], masks: list[npt.NDArray[np.bool_]], clusters: dict[str, str]
) -> Estimate | None:
    """How often a side of the pairs is right, over the seeds that are graded."""
    graded = [(part, mask) for part, mask in zip(pairs, masks, strict=True) if part.right[side] is not None]
    ids = sorted({name for part, mask in graded for name in np.array(part.ids, dtype=object)[mask]})
    if not ids:
        return None
    index = {name: i for i, name in enumerate(ids)}
    whole, right, best = np.zeros((3, len(graded), len(ids)))
    for row, (sides, mask) in enumerate(graded):
        at = [index[name] for name, chosen in zip(sides.ids, mask, strict=True) if chosen]
        np.add.at(whole[row], at, 1.0)
        hits = np.asarray(sides.right[side], dtype=np.float64)
        np.add.at(right[row], at, hits[mask])
        np.add.at(best[row], at, (hits + sides.open[side])[mask])
    labels = [clusters.get(name, f"#{name}") for name in ids] if clusters else None
    return ratio_estimate(right, whole, labels, best=best)
