"""What responses that were not graded leave open: which responses they are, and how tables and `w2s compare` say so."""

import csv
import io
from math import nan
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.planted import N, group_of, plant, row
from tests.analysis.synthetic import TinyStore
from w2s_analysis.parts.accuracy import accuracy_table
from w2s_analysis.parts.compare import compare_runs
from w2s_analysis.parts.levels import level_tables
from w2s_analysis.reading.frame import load_frames, read_grades
from w2s_analysis.reading.groups import PASS_K, accuracy_bounds, make_groups
from w2s_analysis.reading.pair import compare_pair
from w2s_analysis.writing.notes import ONE_SEED
from w2s_analysis.writing.table import (
    MARK,
    Cell,
    Table,
    is_wide,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    with_bounds,
    words,
)
from w2s_core.rows import read_rows, write_rows
from w2s_core.statistics import Bounds, score

Rows = list[dict[str, Any]]


def rewrite(store: TinyStore, key: str, verdicts: dict[int, str], finishes: dict[int, str]) -> None:
    """Give some questions of a greedy result another verdict or finish."""
    path = store.path(key) / "grades.parquet"
    rows = read_rows(path)
    for i, verdict in verdicts.items():
        rows[i]["verdicts"] = [verdict]
    for i, finish in finishes.items():
        rows[i]["finish"] = [finish]
    write_rows(path, rows)


def share(rows: Rows, *verdicts: str) -> float:
    return sum(graded["verdicts"][0] in verdicts for graded in rows) / len(rows)


@pytest.fixture
def open_run(store: TinyStore) -> TinyStore:
    """A healthy run whose floor has four undecided, four unparsed, and two timed-out responses among the wrong ones."""
    name = plant(store)
    rows = read_rows(store.path(f"{name}-weak_floor") / "grades.parquet")
    wrong = [i for i, graded in enumerate(rows) if graded["verdicts"] == ["wrong"]]
    verdicts = ["undecided"] * 4 + ["unparsed"] * 4 + ["timed_out"] * 2
    rewrite(store, f"{name}-weak_floor", dict(zip(wrong, verdicts, strict=False)), {wrong[4]: "length"})
    return store


@pytest.mark.parametrize(
    ("verdict", "finish", "expected"),
    [
        ("right", "eos", 0), ("right", "length", 0), ("wrong", "eos", 0), ("wrong", "length", 1),
        ("unparsed", "eos", 1), ("unparsed", "length", 1), ("timed_out", "eos", 1), ("undecided", "length", 1),
    ],
)  # fmt: skip
def test_a_response_is_ungraded_once_or_not_at_all(
    tmp_path: Path, verdict: str, finish: str, expected: int
) -> None:
    other = {"verdicts": ["wrong", verdict, "right"], "finish": ["eos", finish, "length"]}
    write_rows(tmp_path / "grades.parquet", [row(0, ["a", "b", "c"], [False] * 3) | other])
    assert read_grades(tmp_path)["ungraded"].tolist() == [expected]


def test_where_no_finish_was_kept_the_verdict_decides(tmp_path: Path) -> None:
    graded = [{"id": str(i), "verdicts": [verdict]} for i, verdict in enumerate(["unparsed", "wrong"])]
    write_rows(tmp_path / "grades.parquet", graded)
    assert read_grades(tmp_path)["ungraded"].tolist() == [1, 0]


def test_the_bounds_of_an_accuracy_are_counted_by_hand(open_run: TinyStore) -> None:
    group = group_of(open_run, "healthy")
    rows = read_rows(open_run.path("healthy-weak_floor") / "grades.parquet")
    bounds = accuracy_bounds(group, "weak_floor")
    assert bounds is not None
    assert bounds.lower == pytest.approx(share(rows, "right"))
    assert bounds.gap == pytest.approx(10 / N)
    worst, best = (
        [float(graded["verdicts"][0] in counted) for graded in rows]
        for counted in (["right"], ["right", "undecided", "unparsed", "timed_out"])
    )
    # 2.5 points at a standard error of 2.3: c is nearly that of one side.
    assert score(worst, level=0.95).low < bounds.low < score(worst, level=0.9).low + 1e-9
    assert score(best, level=0.9).high - 1e-9 < bounds.high < score(best, level=0.95).high
    assert accuracy_bounds(group, "dpo") is None


def test_the_table_marks_the_accuracy_and_says_its_bounds_beneath_and_in_the_csv(open_run: TinyStore) -> None:
    group = group_of(open_run, "healthy")
    bounds, table = accuracy_bounds(group, "weak_floor"), accuracy_table(group)
    assert bounds is not None
    said = (
        f"{100 * bounds.lower:.1f}–{100 * bounds.upper:.1f} [{100 * bounds.low:.1f}, {100 * bounds.high:.1f}]"
    )
    marked = [cell["accuracy"].text for cell in table.rows if MARK in cell["accuracy"].text]
    assert marked == [f"{100 * bounds.lower:.1f}{MARK} {table.rows[0]['accuracy'].text.partition(' ')[2]}"]
    for text in (to_markdown(table), to_latex(table), " ".join(to_terminal(table).split())):
        assert f"weak floor, accuracy: {said}" in text.replace("--", "–")
    first, second = list(csv.DictReader(io.StringIO(to_csv(table))))[:2]
    assert float(first["accuracy worst"]) == pytest.approx(100 * bounds.lower, abs=1e-3)
    assert float(first["accuracy best"]) == pytest.approx(100 * bounds.upper, abs=1e-3)
    assert float(first["accuracy bounds low"]) == pytest.approx(100 * bounds.low, abs=1e-3)
    assert float(first["accuracy bounds high"]) == pytest.approx(100 * bounds.high, abs=1e-3)
    assert second["accuracy best"] == ""
    assert "4 unparsed, 2 timed out, 1 truncated, 4 undecided" in to_markdown(table)


def test_levels_have_bounds_of_their_own(open_run: TinyStore) -> None:
    group = group_of(open_run, "healthy")
    rows = read_rows(open_run.path("healthy-weak_floor") / "grades.parquet")
    table = level_tables(group)[0]
    accuracy_row = accuracy_table(group).rows[0]
    for level in range(1, 7):
        at = [graded for graded in rows if graded["level"] == level]
        worst, best = share(at, "right"), share(at, "right", "undecided", "unparsed", "timed_out")
        cell = table.rows[0][f"L{level}"]
        if best == worst:
            assert cell.bounds is None
            continue
        assert cell.bounds is not None
        assert (cell.bounds.lower, cell.bounds.upper) == pytest.approx((100 * worst, 100 * best))
        assert MARK in cell.text
        assert accuracy_row[f"L{level}"].bounds is not None
        assert MARK not in accuracy_row[f"L{level}"].text
    assert any(table.rows[0][f"L{level}"].bounds for level in range(1, 7))


def test_pass_at_10_is_bounded_by_the_samples_that_were_not_graded(
    one_run: TinyStore, store: TinyStore
) -> None:
    """With 10 samples it is whether any of them is right; two questions have none right and one or more unparsed."""
    rows = read_rows(one_run.path("solo-samples-test-hybrid_ft_2") / "grades.parquet")
    for i in (0, 7):
        rows[i]["verdicts"] = ["wrong"] * 9 + ["unparsed"]
    record = one_run.refs.records["solo"]
    key = store.put("sampled", "grades.parquet", rows)
    store.refs.records["solo"] = record | {"targets": {"samples/test/hybrid_ft_2": key}}
    [group] = make_groups(load_frames(store, ["solo"]))
    bounds = accuracy_bounds(group, "hybrid_ft_2", PASS_K)
    assert bounds is not None
    lower, upper = (
        sum(any(verdict in counted for verdict in graded["verdicts"]) for graded in rows) / len(rows)
        for counted in (("right",), ("right", "unparsed"))
    )
    assert (bounds.lower, bounds.upper) == pytest.approx((lower, upper))
    assert bounds.gap >= 2 / len(rows) - 1e-12


def test_where_all_is_graded_or_nearly_tables_are_what_they_were(store: TinyStore) -> None:
    """One of 400 responses is a quarter of a point: too little to show."""
    group = group_of(store, plant(store))
    before = [render(table) for table in (accuracy_table(group), *level_tables(group))]
    assert not any(MARK in text or "worst" in text for text in before)
    rows = read_rows(store.path("healthy-dpo") / "grades.parquet")
    wrong = next(i for i, graded in enumerate(rows) if graded["verdicts"] == ["wrong"])
    rewrite(store, "healthy-dpo", {wrong: "undecided"}, {})
    again = accuracy_table(group_of(store, "healthy"))
    assert "accuracy worst" not in to_csv(again)
    assert [cells[:2] for cells in again.texts()] == [cells[:2] for cells in accuracy_table(group).texts()]


def render(table: Table) -> str:
    return to_terminal(table) + to_markdown(table) + to_latex(table) + to_csv(table)


def test_half_a_point_is_narrow_and_more_is_not() -> None:
    assert not is_wide(Bounds(100 / 200, 101 / 200, 0, 1))
    assert is_wide(Bounds(100 / 200, 101.01 / 200, 0, 1))
    assert not is_wide(None)
    assert not is_wide(Bounds(nan, nan, nan, nan)), "no questions"


def test_a_remark_names_its_row_by_as_many_cells_as_tell_it_apart() -> None:
    def row(finding: str, claim: str, remark: str) -> dict[str, Cell]:
        return {"": words(finding), "claim": words(claim), "effect": Cell("+1.0†", 1.0, remark=remark)}

    rows = [row("F3", "weak-ft", "a"), row("", "icl-ft", "b"), row("F4", "hybrid-ft", "")]
    [note] = Table("findings", ["", "claim", "effect"], rows).explained()
    assert note.endswith("F3, weak-ft: a; F3, icl-ft: b.")
    [note] = Table("findings", ["", "claim", "effect"], rows[::2]).explained()
    assert note.endswith("F3: a.")


def test_a_long_list_of_remarks_is_cut_and_refers_to_the_csv() -> None:
    wide = with_bounds(Cell("40.0", 40), Bounds(0.4, 0.5, 0.35, 0.55))
    table = Table("t", ["run", "accuracy"], [{"run": Cell(f"r{i}"), "accuracy": wide} for i in range(45)])
    [note] = table.explained()
    assert note.count("40.0–50.0 [35.0, 55.0]") == 40
    assert note.endswith("; and 5 more (CSV).")


def test_compare_bounds_both_shares_and_their_difference_and_says_one_seed(open_run: TinyStore) -> None:
    plant(open_run, "other")
    text = " ".join(compare_runs(open_run, ("healthy", "other")).split())  # type: ignore[arg-type]
    whole = compare_pair(open_run, "healthy-weak_floor", "other-weak_floor").whole  # type: ignore[arg-type]
    assert whole.bounds is not None
    assert whole.bounds_b is None
    # B has no ungraded response: B - A is highest where A's are wrong.
    assert whole.bounds.upper == pytest.approx(whole.difference.value)
    assert whole.bounds.gap == pytest.approx(10 / N)
    assert whole.bounds.low < whole.bounds.lower
    assert whole.bounds.high > whole.bounds.upper
    assert f"{100 * whole.bounds.lower:+.1f} to {100 * whole.bounds.upper + 0.0:+.1f}" in text
    assert f"{ONE_SEED.capitalize()}." in text


def test_compare_of_graded_runs_has_no_marks_and_says_one_seed_beneath_both_tables(store: TinyStore) -> None:
    for name in ("", "other"):
        plant(store, name)
    text = compare_runs(store, ("healthy", "other"))  # type: ignore[arg-type]
    assert MARK not in text
    assert text.count(ONE_SEED.capitalize()) == 2
