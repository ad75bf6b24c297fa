"""The parts of a report hold what a plain count of the results gives, and say what is missing."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.synthetic import SETS, TRUTH, TinyStore, add_run
from tests.oracle_evaluation import accuracy, by_level
from w2s_analysis.parts.levels import hardest_answer, level_tables
from w2s_analysis.reading.frame import GRADES, load_frames
from w2s_analysis.reading.groups import Group, make_groups
from w2s_analysis.reading.study import Study, make_study
from w2s_analysis.weak_to_strong.labels import quality_of_set
from w2s_analysis.weak_to_strong.report import PARTS
from w2s_analysis.weak_to_strong.selection import selection_tables
from w2s_analysis.weak_to_strong.stage_two import stage_two_tables
from w2s_analysis.weak_to_strong.thresholds import series_of, threshold_tables
from w2s_analysis.weak_to_strong.weak_choice import choice_figure, error_overlap, weak_choice_tables
from w2s_analysis.weak_to_strong.weak_models import weak_model_tables
from w2s_analysis.writing.figures import label_lines, new_figure
from w2s_analysis.writing.table import Cell, Table
from w2s_core.rows import read_rows, write_rows
from w2s_core.statistics import Estimate, Spread

LEVELS = ["L1", "L2", "L3", "L4", "L5", "L6"]


def study_of(store: TinyStore) -> Study:
    return make_study(load_frames(store, list(store.refs.names())))


def group_of(store: TinyStore, *runs: str) -> Group:
    return make_groups(load_frames(store, runs or list(store.refs.names())))[0]


def rows_of(table: Table) -> dict[str, dict[str, Cell]]:
    return {row[table.columns[0]].text: row for row in table.rows}


def grades(store: TinyStore, name: str) -> list[dict[str, Any]]:
    return read_rows(store.path(name) / GRADES)


def test_gains_are_the_paired_differences_of_the_methods(study: TinyStore) -> None:
    group = group_of(study, "llama-0", "llama-1", "llama-2")
    rows = rows_of(stage_two_tables(group)[0])

    def mean(method: str) -> float:
        return float(np.mean([accuracy(grades(study, f"llama-{s}-greedy-test-{method}")) for s in (0, 1, 2)]))

    for method, name in (("dpo", "M_plus + DPO"), ("orpo", "M_plus + ORPO")):
        cell = rows[name]["gain over M_plus"]
        assert cell.value == pytest.approx(100 * (mean(method) - mean("hybrid_ft_2")))
        assert cell.low < cell.value < cell.high
    assert rows["M_plus + ORPO"]["gain over M_plus"].high < 0, "its true loss is 15 points"
    assert rows["M_plus + ORPO"]["p"].value < 0.05 < rows["M_plus + DPO"]["p"].value


def test_levels_are_those_of_the_grades_and_the_differences_are_theirs(one_run: TinyStore) -> None:
    first, second = level_tables(group_of(one_run))
    rows = rows_of(first)
    levels = {m: by_level(grades(one_run, f"solo-greedy-test-{m}")) for m in ("orpo", "ceiling")}
    for i, name in enumerate(LEVELS, start=1):
        assert rows["M_plus + ORPO"][name].value == pytest.approx(100 * levels["orpo"][i])
        gap = rows_of(second)[str(i)]["M_plus + ORPO minus ceiling"]
        assert gap.value == pytest.approx(100 * (levels["orpo"][i] - levels["ceiling"][i]))
    assert [rows["questions"][name].value for name in LEVELS] == [40] * 6


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, low, high, Spread(((0.01, 10.0),)), 100, 1, 100)


def test_passing_the_ceiling_is_judged_by_the_interval_on_the_hardest_level(one_run: TinyStore) -> None:
    group = group_of(one_run)
    easy = estimate(-0.5, -0.6, -0.4)
    gaps: dict[str, dict[Any, Estimate | None]] = {
        "hybrid_ft_2": {1: easy, 6: estimate(0.1, 0.05, 0.2)},
        "dpo": {1: easy, 6: estimate(0.0, -0.1, 0.1)},
        "orpo": {1: easy, 6: estimate(-0.1, -0.2, -0.05)},
    }
    sentence = hardest_answer(group, gaps)
    assert "hardest level (6)" in sentence
    assert "M_plus passes it (+10.0" in sentence
    assert "DPO not resolved (+0.0" in sentence
    assert "ORPO does not pass it (-10.0" in sentence


def test_agreed_and_dropped_make_up_all_labels(study: TinyStore) -> None:
    group = group_of(study, "llama-0", "llama-1", "llama-2")
    for number in (1, 2):
        side = quality_of_set(group, f"weak_{number - 1}")
        kept = quality_of_set(group, f"agreed_{number}")
        rest = quality_of_set(group, f"dropped_{number}")
        assert side is not None
        assert kept is not None
        assert rest is not None
        assert kept.coverage + rest.coverage == pytest.approx(side.coverage)
    for seed in (0, 1, 2):
        kept_ids = {row["id"] for row in grades(study, f"llama-{seed}-agreed_1")}
        others = [row for row in grades(study, f"llama-{seed}-weak_0") if row["id"] not in kept_ids]
        alone = quality_of_set(group_of(study, f"llama-{seed}"), "dropped_1")
        assert alone is not None
        assert alone.precision.value == pytest.approx(accuracy(others))
        assert alone.rows == len(others)


def test_labels_name_the_templates_of_their_questions(one_run: TinyStore) -> None:
    group = group_of(one_run)
    rows = read_rows(group.graded("labels/weak_0", group.having("labels/weak_0")[0]).path)
    templates = {row["template"] for row in rows}
    for table in selection_tables(group):
        if "Labels" in table.title:
            assert any(
                f" questions of train_2 in {len(templates)} templates; seeds" in note for note in table.notes
            )


def test_shares_by_level_add_up_and_weigh_to_the_precision(one_run: TinyStore) -> None:
    quality = quality_of_set(group_of(one_run), "agreed_1")
    assert quality is not None
    assert sum(share for share, _ in quality.by_level.values()) == pytest.approx(1)
    weighed = sum(share * right for share, right in quality.by_level.values())
    assert weighed == pytest.approx(quality.precision.value)


def test_controls_stand_beside_icl_ft(study: TinyStore) -> None:
    tables = {
        table.name: table for table in selection_tables(group_of(study, "llama-0", "llama-1", "llama-2"))
    }
    rows = rows_of(tables["selection_controls"])
    assert list(rows) == ["icl-ft 1", "control: gold", "control: all ICL", "control: random"]
    for row in list(rows.values())[1:]:
        expected = rows["icl-ft 1"]["accuracy"].value - row["accuracy"].value
        assert row["icl-ft 1 minus it"].value == pytest.approx(expected)


def test_an_empty_set_and_sets_all_right_or_all_wrong_have_rows(store: TinyStore) -> None:
    add_run(store, "a", n=60, sets=SETS | {"agreed_1": (0.0, 0.5), "weak_0": (1.0, 0.0), "icl_0": (1.0, 1.0)})
    rows = rows_of(selection_tables(group_of(store))[0])
    assert rows["agreed 1"]["precision"].text == "–"
    assert rows["agreed 1"]["rows"].value == 0
    assert rows["D_weak"]["precision"].value == 0
    assert 0 < rows["D_weak"]["precision"].high < 20
    assert rows["D_icl"]["precision"].value == 100
    assert 80 < rows["D_icl"]["precision"].low < 100


def with_threshold(store: TinyStore, weak: str, seed: int, value: float, **more: Any) -> None:
    settings = {"stage1": {"iterations": 2, "consistency": value}}
    add_run(store, f"{weak}-{seed}-{value}", weak=weak, seed=seed, n=60, settings=settings, **more)


def test_a_series_is_of_runs_that_differ_in_the_threshold_alone(store: TinyStore) -> None:
    for weak in ("llama", "mistral"):
        for value in (0.5, 0.75, 1.0):
            with_threshold(store, weak, 0, value, sets=SETS | {"agreed_1": (1.4 - value, value - 0.1)})
    add_run(
        store, "other", weak="llama", seed=0, n=60, settings={"stage1": {"iterations": 3, "consistency": 0.9}}
    )
    series = series_of(study_of(store), "stage1.consistency")
    assert [(part.weak, part.values) for part in series] == [
        ("llama", [0.5, 0.75, 1.0]),
        ("mistral", [0.5, 0.75, 1.0]),
    ]
    table = threshold_tables(study_of(store))[0]
    precision = [row["precision 1"].value for row in table.rows]
    coverage = [row["coverage 1"].value for row in table.rows]
    assert precision == sorted(precision)
    assert coverage == sorted(coverage, reverse=True)
    kept = grades(store, "llama-0-0.5-agreed_1")
    assert precision[0] == pytest.approx(100 * accuracy(kept))
    assert coverage[0] == pytest.approx(100 * len(kept) / 60)


def test_a_threshold_that_no_runs_vary_is_missing_with_the_command_that_would_fill_it(
    one_run: TinyStore,
) -> None:
    table = threshold_tables(study_of(one_run))[0]
    assert table.rows[0]["stage1.consistency"].text == "missing"
    assert any("stage1.consistency=0.5" in note for note in table.notes)


def test_pgr_grid_says_where_the_gap_is_not_resolved(store: TinyStore) -> None:
    add_run(store, "a", weak="good", truth=TRUTH)
    add_run(store, "b", weak="equal", truth=TRUTH | {"weak_floor": 0.95})
    rows = rows_of(weak_model_tables(study_of(store))[0])
    assert rows["equal"]["M_plus + DPO"].text == "gap not resolved"
    assert not math.isnan(rows["good"]["M_plus + DPO"].value)


def test_error_overlap_is_the_share_of_shared_errors(one_run: TinyStore) -> None:
    weak, icl = (
        {r["id"]: r["verdicts"][0] for r in grades(one_run, f"solo-{s}")} for s in ("weak_0", "icl_0")
    )
    wrong = [name for name, verdict in weak.items() if verdict != "right"]
    overlap = error_overlap(group_of(one_run))
    assert overlap is not None
    assert overlap.value == pytest.approx(np.mean([icl[name] != "right" for name in wrong]))


def test_three_weak_models_are_said_to_be_too_few(study: TinyStore) -> None:
    table = weak_choice_tables(study_of(study))[-1]
    assert [row["weak models"].text for row in table.rows] == ["3"] * len(table.rows)
    assert "n is too small" in table.notes[0]
    assert all(row["p"].value >= 1 / 3 for row in table.rows if not math.isnan(row["p"].value))


def test_the_property_that_the_gain_follows_is_ranked_highest(store: TinyStore) -> None:
    """Six weak models of two bases: the gain is planted to rise with their accuracy, and with nothing else."""
    for i in range(6):
        truth = TRUTH | {"weak_floor": 0.1 + 0.1 * i, "hybrid_ft_2": 0.5 + 0.08 * i}
        settings = {"weak_sft": {"max_steps": 100 * (i // 2)}}
        add_run(store, f"r{i}", weak="ab"[i % 2], truth=truth, settings=settings)
    study = study_of(store)
    properties, correlation = weak_choice_tables(study)
    assert [row["weak model"].text for row in properties.rows[:2]] == [
        "a, weak_sft.max_steps=0",
        "a, weak_sft.max_steps=100",
    ]
    row = rows_of(correlation)["accuracy"]
    assert row["Spearman's rho"].text == "+1.00"
    assert row["p"].value == pytest.approx(2 / math.factorial(6))
    assert row["weak models"].text == "6"
    assert any("6 weak models as independent; they come from 2 bases" in note for note in correlation.notes)
    figure = next(part for part in PARTS if part.name == "weak_choice").figure(study)
    assert figure is not None
    titles = {panel.get_xlabel(): panel.get_title() for panel in figure.axes}
    assert titles["accuracy, %"] == "6 weak models, rho = +1.00"


def test_no_panel_of_weak_models_has_one_point_and_an_undefined_rho_is_said(store: TinyStore) -> None:
    add_run(store, "r0", weak="a")
    assert choice_figure(study_of(store).bases) is None, "one weak model shows nothing"
    without = {name: kept for name, kept in SETS.items() if name != "weak_0"}
    add_run(store, "r1", weak="b", sets=without)
    for run in ("r0", "r1"):  # two weak models of one accuracy
        rows = [{**row, "verdicts": ["right"]} for row in grades(store, "r0-greedy-test-weak_floor")]
        write_rows(store.path(f"{run}-greedy-test-weak_floor") / GRADES, rows)
    figure = choice_figure(study_of(store).bases)
    assert figure is not None
    titles = {panel.get_xlabel(): panel.get_title() for panel in figure.axes}
    assert titles["accuracy, %"] == "2 weak models, rho not known"
    assert "label precision, %" not in titles, "known of one weak model alone"


@pytest.mark.parametrize(("panels", "across", "lines"), [(1, 1, 1), (4, 4, 1), (5, 3, 2), (11, 4, 3)])
def test_many_panels_stand_in_lines_with_one_scale(panels: int, across: int, lines: int) -> None:
    figure, axes = new_figure(panels, (1.0, 0.5))
    assert axes.shape == (2, panels)
    assert len(figure.axes) == len(set(axes.flat)) == 2 * panels
    label_lines(axes[0], "height")
    assert [i for i, panel in enumerate(axes[0]) if panel.get_ylabel()] == [across * i for i in range(lines)]
    axes[0][-1].set_ylim(0, 7)
    assert all(panel.get_ylim() == (0, 7) for panel in axes[0])
    assert axes[1][0].get_ylim() != (0, 7)
    figure.draw_without_rendering()
    boxes = [panel.get_position() for panel in axes.flat]
    columns = [(axes[0][i].get_position(), axes[1][i].get_position()) for i in range(panels)]
    assert all(upper.y0 > lower.y1 and upper.x0 == pytest.approx(lower.x0) for upper, lower in columns)
    assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_every_part_stands_without_results(store: TinyStore, part: Any) -> None:
    """A run of which nothing is computed yet: each part says so, or has no table; none fails."""
    add_run(store, "a", n=12)
    for key in store.refs.records["a"]["targets"].values():
        for file in store.path(key).iterdir():
            file.unlink()
        store.path(key).rmdir()
    study = study_of(store)
    tables = part.tables(study)
    assert part.figure(study) is None
    assert all(table.notes for table in tables if not table.csv_only)


def test_grades_without_levels_or_templates_have_no_level_tables(store: TinyStore) -> None:
    add_run(store, "a", n=60)
    for key in store.refs.records["a"]["targets"].values():
        path: Path = store.path(key) / GRADES
        if path.exists():
            write_rows(path, [row | {"level": None, "template": None} for row in read_rows(path)])
    study = study_of(store)
    by_name = {part.name: part for part in PARTS}
    assert by_name["levels"].tables(study) == []
    assert by_name["levels"].figure(study) is None
    table = by_name["stage1"].tables(study)[0]
    assert "n = 60 test questions; seeds 0" in "\n".join(table.notes)
    assert not [name for name in table.columns if name.startswith("L")]
