"""What responses that were not graded leave open, on the dashboard: in the runs table and beneath a comparison."""

from pathlib import Path

import pytest

from tests.analysis.synthetic import TinyStore
from tests.dashboard.stores import add_run
from w2s_analysis.dashboard.catalogue import Catalogue
from w2s_analysis.dashboard.frame import BESIDE, runs_frame
from w2s_analysis.dashboard.measures import measure
from w2s_analysis.dashboard.pair_view import PairView
from w2s_analysis.dashboard.runs_view import RunsView
from w2s_analysis.reading.pair import compare_pair
from w2s_core.engine import Store
from w2s_core.rows import read_rows, write_rows

FLOOR, DPO = "accuracy/test/weak floor", "accuracy/test/M_plus + DPO"
PRECISION = "precision/last agreed"


@pytest.fixture
def catalogue(store: Store) -> Catalogue:
    for seed in (0, 1):
        add_run(store, f"run-{seed}", seed=seed)
    filled = Catalogue(store)
    filled.update()
    return filled


def share_of(store: Store, run: str, method: str, *verdicts: str) -> float:
    rows = read_rows(store.path(store.refs.read(run)["targets"][f"greedy/test/{method}"]) / "grades.parquet")
    return sum(row["verdicts"][0] in verdicts for row in rows) / len(rows)


def test_the_bounds_are_counted_by_hand_and_only_models_have_them(store: Store, catalogue: Catalogue) -> None:
    bounds = catalogue.snapshot.bounds("run-0", FLOOR)
    assert bounds is not None
    assert bounds.lower == pytest.approx(share_of(store, "run-0", "weak_floor", "right"))
    assert bounds.upper == pytest.approx(share_of(store, "run-0", "weak_floor", "right", "unparsed"))
    assert bounds.low < bounds.lower < bounds.upper < bounds.high
    assert catalogue.snapshot.bounds("run-0", PRECISION) is None
    assert catalogue.snapshot.bounds("run-0", "accuracy/test/unknown") is None


def test_the_runs_table_marks_the_value_and_says_the_bounds_on_hovering(catalogue: Catalogue) -> None:
    frame = runs_frame(catalogue.snapshot, [], [FLOOR, PRECISION])
    bounds = catalogue.snapshot.bounds("run-0", FLOOR)
    assert bounds is not None
    (low, high, remark), precision = frame.set_index("run")[BESIDE]["run-0"]
    assert (low, high) == tuple(round(end, 1) for end in catalogue.snapshot.value("run-0", FLOOR)[1:])
    assert f"{100 * bounds.lower:.1f}–{100 * bounds.upper:.1f} [{100 * bounds.low:.1f}" in remark
    assert precision[2] is None
    view = RunsView(catalogue, lambda run: None, lambda a, b: None)
    assert view.table.hidden_columns == [BESIDE]
    place = view.metrics.value.index(FLOOR)
    assert f'obj["{BESIDE}"][{place}]' in view.table.formatters[FLOOR].template
    assert view.table.value.set_index("run")[BESIDE]["run-0"][place][2] == remark


def test_a_comparison_says_what_is_open_and_that_it_is_of_one_seed(
    catalogue: Catalogue, store: Store
) -> None:
    view = PairView(catalogue)
    view.show("run-0", "run-1", "accuracy/test/weak_floor", "accuracy/test/weak_floor")
    texts = " ".join(str(item.object) for item in view._body if hasattr(item, "object"))
    keys = (store.refs.read(run)["targets"]["greedy/test/weak_floor"] for run in ("run-0", "run-1"))
    whole = compare_pair(store, *keys).whole
    assert whole.bounds is not None
    assert f"B − A {100 * whole.bounds.lower:+.1f} to {100 * whole.bounds.upper:+.1f}" in texts
    assert "One seed: these models only" in texts


def test_undecided_responses_are_counted_and_where_all_were_graded_there_are_no_bounds(
    tmp_path: Path,
) -> None:
    def measured(name: str, ungraded: int) -> dict[str, list[float | None]]:
        verdicts = ["undecided"] * ungraded + ["wrong"] * (100 - ungraded) + ["right"] * 100
        rows = [
            {"id": str(i), "verdicts": [verdict], "finish": ["eos"], "tokens": [1]}
            for i, verdict in enumerate(verdicts)
        ]
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "grades.parquet", rows)
        return measure(TinyStore(tmp_path), name)  # type: ignore[arg-type]

    assert "share_bounds" not in measured("none", 0)
    assert measured("one", 1)["share_bounds"][:2] == pytest.approx([0.5, 0.505])


def test_a_level_whose_difference_is_left_open_is_marked_with_one_footnote() -> None:
    from w2s_analysis.dashboard.pair_view import _by_level
    from w2s_analysis.reading.pair import SIDES, Pair, Part
    from w2s_core.statistics import Bounds, Estimate, Spread

    def part(level: int, bounds: Bounds | None) -> Part:
        effect = Estimate(0.1, 0.0, 0.2, Spread(), 50, 1, 50)
        return Part(level, 0.4, 0.5, effect, 0.1, dict.fromkeys(SIDES, 1), 0.5, bounds=bounds)

    parts = (part(3, Bounds(0.05, 0.15, -0.02, 0.22)), part(4, None))
    shown = _by_level(Pair(parts[0], parts, {3: 0.2, 4: 0.2}, None))  # type: ignore[arg-type]
    assert shown.count("†") == 2, "one cell, one footnote"
    assert "level 3: +5.0 to +15.0 [-2.0, +22.0]." in shown
    assert "†" not in _by_level(Pair(parts[1], parts[1:], {4: 0.2}, None))  # type: ignore[arg-type]
