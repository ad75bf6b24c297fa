"""What responses that were not graded leave open of differences, PGR, label precision: counted by hand, and shown."""

from itertools import product
from math import inf, isinf

import numpy as np
import pytest

from tests.analysis.planted import N, group_of, plant
from tests.analysis.synthetic import TinyStore
from w2s_analysis.parts.accuracy import PGR, accuracy_table, group_recovery
from w2s_analysis.parts.rules import Limit
from w2s_analysis.reading.contrasts import between_groups, difference, precision_gain
from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.labels import label_quality_over_seeds
from w2s_analysis.weak_to_strong import diagnose_measures
from w2s_analysis.weak_to_strong.diagnose_measures import chosen_wrong
from w2s_analysis.weak_to_strong.findings import findings
from w2s_analysis.weak_to_strong.findings_page import as_json, findings_table, page
from w2s_analysis.weak_to_strong.selection import label_table
from w2s_analysis.writing.table import MARK, Cell, ratio_interval, to_markdown
from w2s_core.rows import read_rows, write_rows
from w2s_core.statistics import Bounds, Estimate, Spread, bounded_recovery


def leave_open(store: TinyStore, key: str, number: int, verdict: str = "undecided") -> None:
    """Give the first wrong responses of a result another verdict."""
    path = store.path(key) / "grades.parquet"
    rows = read_rows(path)
    for graded in [graded for graded in rows if graded["verdicts"][0] == "wrong"][:number]:
        graded["verdicts"] = [verdict]
    write_rows(path, rows)


def share(store: TinyStore, key: str, *verdicts: str) -> float:
    rows = read_rows(store.path(key) / "grades.parquet")
    return float(np.mean([graded["verdicts"][0] in verdicts for graded in rows]))


@pytest.fixture
def group(store: TinyStore) -> Group:
    """A healthy run: 12 of DPO's responses, 8 of the floor's, 10 labels agreed, 6 chosen sides were not graded."""
    name = plant(store)
    leave_open(store, f"{name}-dpo", 12)
    leave_open(store, f"{name}-weak_floor", 8, "unparsed")
    leave_open(store, f"{name}-agreed_1", 2)
    leave_open(store, f"{name}-agreed_2", 6, "timed_out")
    leave_open(store, f"{name}-pairs-chosen", 6)
    return group_of(store, name)


def test_a_difference_is_bounded_by_both_sides(group: Group) -> None:
    effect = difference([group], "dpo", "weak_floor")
    assert effect is not None
    assert effect.bounds is not None
    assert effect.bounds.lower == pytest.approx(effect.value - 8 / N)
    assert effect.bounds.upper == pytest.approx(effect.value + 12 / N)
    assert effect.bounds.low < min(effect.bounds.lower, effect.low)
    assert effect.bounds.high > max(effect.bounds.upper, effect.high)
    graded = difference([group], "hybrid_ft_2", "hybrid_ft_1")
    assert graded is not None
    assert graded.bounds is None


def test_a_difference_between_two_subjects_is_bounded_too(store: TinyStore, group: Group) -> None:
    plant(store, "other")
    effect = between_groups(group, group_of(store, "other"), "dpo")
    assert effect is not None
    assert effect.bounds is not None
    assert (effect.bounds.lower, effect.bounds.upper) == pytest.approx((effect.value, effect.value + 12 / N))


def test_pgr_lies_between_the_extremes_of_all_cases(group: Group) -> None:
    pgr = group_recovery(group, "dpo")
    assert pgr is not None
    assert pgr.ratio.bounds is not None
    floors, systems = (
        [table(name).mean() for table in (group.table, group.best_table)] for name in ("weak_floor", "dpo")
    )
    ceiling = group.table("ceiling").mean()
    ratios = [(system - floor) / (ceiling - floor) for floor, system in product(floors, systems)]
    bounds = pgr.ratio.bounds
    assert (bounds.lower, bounds.upper) == pytest.approx((min(ratios), max(ratios)))
    assert bounds.low < bounds.lower < bounds.upper < bounds.high
    assert bounds.low < pgr.ratio.low


def test_where_the_gap_may_not_be_resolved_pgr_has_no_bounds() -> None:
    rng = np.random.default_rng(0)
    luck = rng.random(300)
    floor, system, ceiling = ((luck < level).astype(float) for level in (0.3, 0.5, 0.6))
    open_floor = np.maximum(floor, rng.random(300) < 0.5)
    bounds = bounded_recovery([floor, system, ceiling], [open_floor, system, ceiling])
    assert bounds == Bounds(-inf, inf, -inf, inf)
    cell = ratio_interval(Estimate(0.5, 0.4, 0.6, Spread(), 300, 1, 300, bounds=bounds))
    assert cell.text == f"0.50{MARK} [0.40, 0.60]"
    assert cell.remark == "any value, since the gap may not be resolved"
    assert cell.bounds is not None
    assert isinf(cell.bounds.gap)


def test_label_precision_counts_an_undecided_label_as_neither(store: TinyStore, group: Group) -> None:
    quality = label_quality_over_seeds(group, "agreed_2")
    assert quality is not None
    bounds = quality.precision.bounds
    assert bounds is not None
    key = "healthy-agreed_2"
    assert bounds.lower == pytest.approx(share(store, key, "right"))
    assert bounds.upper == pytest.approx(share(store, key, "right", "timed_out"))
    assert bounds.gap > 0
    weak = label_quality_over_seeds(group, "weak_0")
    assert weak is not None
    assert weak.precision.bounds is None
    gain = precision_gain([group], "agreed_2", "weak_0")
    assert gain is not None
    assert gain.bounds is not None
    assert (gain.bounds.lower, gain.bounds.gap) == pytest.approx((gain.value, bounds.gap))
    reverse = precision_gain([group], "weak_0", "agreed_2")
    assert reverse is not None
    assert reverse.bounds is not None
    assert (reverse.bounds.upper, reverse.bounds.gap) == pytest.approx((reverse.value, bounds.gap))


def test_the_chosen_sides_of_pairs_are_bounded_and_so_are_those_that_are_wrong(
    store: TinyStore, group: Group
) -> None:
    wrong = chosen_wrong(group)
    assert wrong is not None
    assert wrong.bounds is not None
    assert wrong.bounds.upper == pytest.approx(1 - share(store, "healthy-pairs-chosen", "right"))
    assert wrong.bounds.lower == pytest.approx(share(store, "healthy-pairs-chosen", "wrong"))
    assert wrong.bounds.low < wrong.bounds.lower < wrong.bounds.upper < wrong.bounds.high


def test_tables_mark_pgr_precision_and_effects_with_one_footnote(group: Group) -> None:
    rows = {row["method"].text: row for row in accuracy_table(group).rows}
    assert all(MARK in row[PGR].text for row in rows.values() if PGR in row and "[" in row[PGR].text)
    text = to_markdown(label_table(group))
    assert text.count("Not all responses were graded") == 1
    assert text.count(MARK) == 1 + sum(MARK in row["precision"].text for row in label_table(group).rows) > 1
    tested = findings([group])
    marked = [row for row in findings_table(tested).rows if MARK in row["effect"].text]
    assert any(row["claim"].text.endswith("DPO minus hybrid-ft 2") for row in marked)
    whole = page([group], tested, [])
    assert "F6, M_plus + DPO minus hybrid-ft 2: +3.5 to +6.5 [" in whole.replace("\\", "")
    [claim] = [
        c
        for f in as_json([group], tested, [], "")["findings"]
        for c in f["claims"]
        if c["name"].endswith("DPO minus hybrid-ft 2")
    ]
    assert claim["effect"]["bounds"]["upper"] - claim["effect"]["bounds"]["lower"] == pytest.approx(12 / N)


def test_the_evidence_of_a_signature_says_what_is_open(group: Group) -> None:
    wrong = diagnose_measures.chosen_wrong(group)
    assert wrong is not None
    assert wrong.bounds is not None
    evidence = Limit(0.25, "percent").interval(wrong)
    assert f"({100 * wrong.bounds.lower:.1f} to {100 * wrong.bounds.upper:.1f} [" in evidence
    graded = Limit(0.1).interval(Estimate(0.2, 0.1, 0.3, Spread(), 100, 1, 100))
    assert graded == "+20.0 [+10.0, +30.0] points"


def test_a_narrow_gap_is_not_shown() -> None:
    narrow = Estimate(0.5, 0.4, 0.6, Spread(), 300, 1, 300, bounds=Bounds(0.5, 0.505, 0.4, 0.6))
    assert ratio_interval(narrow) == Cell("0.50 [0.40, 0.60]", 0.5, 0.4, 0.6)
