"""Calibration tables hold what a plain count of the votes gives, and say what is missing; gold chooses nothing."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.analysis.synthetic import TinyStore, add_run, grades, rng_of
from w2s_analysis.reading.frame import GRADES, load_frames
from w2s_analysis.reading.groups import Group, make_groups
from w2s_analysis.reading.results import read_graded
from w2s_analysis.report import save_report
from w2s_analysis.weak_to_strong.calibration import (
    TARGETS,
    calibration_tables,
    interval_of,
    threshold_table,
    vote_labels,
    votes_of,
)
from w2s_analysis.weak_to_strong.calibration_figure import calibration_figure
from w2s_analysis.writing.figures import save_figure
from w2s_analysis.writing.table import Cell, Table
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.rows import read_rows, write_rows
from w2s_core.selection import majority

Rows = list[dict[str, Any]]
M_PLUS_TEST = "samples/test/hybrid_ft_2"
METHODS = ("hybrid_ft_2", "dpo", "orpo")


def add_voting_run(store: TinyStore, name: str, *, seed: int = 0, n: int = 120, weak: str = "llama") -> None:
    """A run with samples of test, and the vote of M_plus on train_2."""
    add_run(store, name, seed=seed, n=n, weak=weak)
    rows = grades("train_2", n, 0.6, rng_of(name, "vote"), samples=10)
    record = store.refs.records[name]
    record["command"] += ["--name", name, "--out", "reports"]
    record["targets"]["vote"] = store.put(f"{name}-vote", GRADES, rows)


def add_samples(store: TinyStore, name: str, label: str, rows: Rows) -> None:
    key = f"{name}-{label.replace('/', '-')}"
    if store.has(key):
        write_rows(store.path(key) / GRADES, rows)
    else:
        store.put(key, GRADES, rows)
    store.refs.records[name]["targets"][label] = key


@pytest.fixture(scope="module")
def voting(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    store = TinyStore(tmp_path_factory.mktemp("voting"))
    for seed in (0, 1, 2):
        add_voting_run(store, f"llama-{seed}", seed=seed)
    return store


def group_of(store: TinyStore) -> Group:
    return make_groups(load_frames(store, list(store.refs.names())))[0]


def named(group: Group) -> dict[str, Table]:
    return {table.name: table for table in calibration_tables(group)}


def by_first(table: Table) -> dict[str, dict[str, Cell]]:
    return {row[table.columns[0]].text.strip(): row for row in table.rows}


def rows_of(store: TinyStore, name: str, label: str) -> Rows:
    return read_rows(store.path(store.refs.records[name]["targets"][label]) / GRADES)


def vote_by_hand(row: dict[str, Any]) -> tuple[float, bool]:
    """Confidence and rightness of a row's vote by the rule of Stage II, right answers being one class."""
    names: dict[str, int] = {}
    classes: list[int | None] = []
    for answer, verdict in zip(row["answers"], row["verdicts"], strict=True):
        text = "right" if verdict == "right" else answer
        silent = answer is None or verdict == "unparsed"
        classes.append(None if silent else names.setdefault(f"{verdict == 'right'}{text}", len(names)))
    best, share = majority(classes)
    return share, best is not None and best == names.get("Trueright")


ANSWERS = st.sampled_from(
    [
        ("7", "right"),
        ("7.0", "right"),
        ("8", "wrong"),
        ("9", "wrong"),
        (None, "unparsed"),
        ("?", "unparsed"),
        ("x", "timed_out"),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(ANSWERS, min_size=1, max_size=7), min_size=1, max_size=6))
def test_the_vote_is_that_of_stage_two(tmp_path: Path, drawn: list[list[tuple[str | None, str]]]) -> None:
    rows = [
        {"id": f"q{i}", "answers": [a for a, _ in row], "verdicts": [v for _, v in row]}
        for i, row in enumerate(drawn)
    ]
    write_rows(tmp_path / GRADES, rows)
    vote = read_graded(tmp_path).vote
    expected = [vote_by_hand(row) for row in rows]
    assert vote.share.tolist() == pytest.approx([share for share, _ in expected])
    assert vote.right.tolist() == [right for _, right in expected]
    assert not (vote.right & vote.empty).any()


def test_measures_are_those_of_votes_counted_by_hand(voting: TinyStore) -> None:
    table = by_first(named(group_of(voting))["calibration"])
    for label, head in (("vote", "M_plus, train_2"), ("samples/test/dpo", "DPO, test")):
        votes = [vote_by_hand(row) for seed in (0, 1, 2) for row in rows_of(voting, f"llama-{seed}", label)]
        gaps = 0.0
        for value in {share for share, _ in votes}:
            at_value = [right for share, right in votes if share == value]
            gaps += len(at_value) / len(votes) * abs(sum(at_value) / len(at_value) - value)
        wins = [(a > b) + 0.5 * (a == b) for a, right in votes if right for b, other in votes if not other]
        confidence, right = np.array([share for share, _ in votes]), np.array([hit for _, hit in votes])
        expected = {
            "accuracy of the vote": right.mean(),
            "mean confidence - accuracy": confidence.mean() - right.mean(),
            "ECE": gaps,
            "Brier": ((confidence - right) ** 2).mean(),
            "AUROC": np.mean(wins),
        }
        for measure, value in expected.items():
            cell = table[measure][head]
            assert cell.value == pytest.approx(value), measure
            assert cell.low < cell.value < cell.high
        parts = ("reliability", "resolution", "uncertainty")
        reliability, resolution, uncertainty = (table[f"Brier, {name}"][head].value for name in parts)
        assert table["Brier"][head].value == pytest.approx(reliability - resolution + uncertainty)


def test_changes_are_the_differences_of_the_columns(voting: TinyStore) -> None:
    for measure, row in by_first(named(group_of(voting))["calibration"]).items():
        if measure == "votes without an answer":
            continue
        for method in ("DPO", "ORPO"):
            change = row[f"{method} minus M_plus"]
            assert change.value == pytest.approx(row[f"{method}, test"].value - row["M_plus, test"].value)
            assert change.low <= change.value <= change.high
            assert change.text.startswith(("+", "-"))


def test_a_method_that_answers_as_m_plus_changes_nothing(store: TinyStore) -> None:
    add_voting_run(store, "a")
    add_samples(store, "a", "samples/test/dpo", rows_of(store, "a", M_PLUS_TEST))
    row = by_first(named(group_of(store))["calibration"])["ECE"]
    assert row["DPO minus M_plus"].value == 0
    assert row["ORPO minus M_plus"].value != 0


def test_atoms_count_every_vote_of_every_seed(voting: TinyStore) -> None:
    group = group_of(voting)
    table = named(group)["calibration_atoms"]
    assert [row["confidence"].value for row in table.rows] == sorted(
        {row["confidence"].value for row in table.rows}
    )
    for label, head in vote_labels(group).items():
        votes = [vote_by_hand(row) for seed in (0, 1, 2) for row in rows_of(voting, f"llama-{seed}", label)]
        for row in table.rows:
            at_value = [right for share, right in votes if share == pytest.approx(row["confidence"].value)]
            if not at_value:
                assert f"{head}: votes" not in row
                continue
            assert row[f"{head}: votes"].value == len(at_value)
            cell = row[f"{head}: right, %"]
            assert cell.value == pytest.approx(100 * sum(at_value) / len(at_value))
            assert 0 <= cell.low <= cell.value <= cell.high <= 100


def test_levels_share_out_the_questions_and_weigh_to_the_accuracy(voting: TinyStore) -> None:
    group = group_of(voting)
    rows = named(group)["calibration_levels"].rows
    for label, head in vote_labels(group).items():
        by_level = [row for row in rows if row["vote"].text == head]
        assert [row["level"].text for row in by_level] == list("123456")
        assert sum(row["questions"].value for row in by_level) == 120
        weighed = sum(row["questions"].value * row["accuracy of the vote"].value for row in by_level) / 120
        overall = interval_of(group, label, "accuracy")
        assert overall is not None
        assert weighed == pytest.approx(overall.value)
    (note,) = [note for note in named(group)["calibration_levels"].notes if "must lie" in note]
    assert note.startswith("The gap between mean confidence and accuracy on one level must lie ")


def test_votes_on_a_level_keep_their_templates(voting: TinyStore) -> None:
    group = group_of(voting)
    votes = votes_of(group, "vote")
    assert votes is not None
    level = votes.at_level(3)
    assert votes.clusters is not None
    assert level.clusters is not None
    assert level.ids == [entry for i, entry in enumerate(votes.ids) if votes.levels[i] == 3]
    clusters = [entry for i, entry in enumerate(votes.clusters) if votes.levels[i] == 3]
    assert level.clusters.tolist() == [list(dict.fromkeys(clusters)).index(entry) for entry in clusters]


def sure(split: str, n: int, accuracy: float, rng: np.random.Generator) -> Rows:
    """Nine of ten samples agree on every question, whether it is right or not."""
    rows = []
    for i, hit in enumerate((rng.random(n) < accuracy).tolist()):
        answers, verdicts = ("7", "right") if hit else ("8", "wrong")
        row = {
            "id": f"{split}-{i:05d}",
            "level": 1 + i % 6,
            "template": f"t{i // 2}",
            "tokens": [],
            "finish": [],
        }
        rows.append(row | {"answers": [answers] * 9 + ["0"], "verdicts": [verdicts] * 9 + ["wrong"]})
    return rows


def test_a_vote_surer_than_right_shows_as_such(store: TinyStore) -> None:
    for seed in range(4):
        add_voting_run(store, f"a{seed}", seed=seed)
        add_samples(store, f"a{seed}", M_PLUS_TEST, sure("test", 120, 0.6, rng_of("sure", seed)))
    table = by_first(named(group_of(store))["calibration"])
    head = "M_plus, test"
    accuracy = table["accuracy of the vote"][head].value
    assert table["mean confidence - accuracy"][head].value == pytest.approx(0.9 - accuracy)
    assert table["mean confidence - accuracy"][head].low > 0.1
    assert table["ECE"][head].value == pytest.approx(0.9 - accuracy), "a single atom"
    assert table["AUROC"][head].value == 0.5
    assert table["Brier, resolution"][head].value == pytest.approx(0)


def test_order_of_the_rows_of_a_result_does_not_matter(voting: TinyStore, store: TinyStore) -> None:
    for seed in (0, 1, 2):
        add_voting_run(store, f"llama-{seed}", seed=seed)
        turned = rows_of(store, f"llama-{seed}", "samples/test/dpo")[::-1]
        if seed == 1:
            add_samples(store, f"llama-{seed}", "samples/test/dpo", turned)
    tables, expected = named(group_of(store)), named(group_of(voting))
    assert tables["calibration"].texts() == expected["calibration"].texts()
    assert tables["calibration_levels"].texts() == expected["calibration_levels"].texts()


# Thresholds


def with_dev(store: TinyStore, name: str, seed: int = 0) -> None:
    """Dev and test alike: the higher the share of the majority, the likelier it is right."""
    add_voting_run(store, name, seed=seed, n=600)
    for split in ("dev", "test"):
        for method in METHODS:
            rows = grades(split, 600, 0.75, rng_of(name, split, method), samples=10)
            add_samples(store, name, f"samples/{split}/{method}", rows)


def test_threshold_is_chosen_on_dev_and_judged_on_test(store: TinyStore) -> None:
    with_dev(store, "a")
    chosen = threshold_table(group_of(store))
    row = next(row for row in chosen.rows if row["precision wanted, %"].value == pytest.approx(80))
    at = row["confidence at least"].value
    for split in ("dev", "test"):
        votes = [vote_by_hand(row) for row in rows_of(store, "a", f"samples/{split}/hybrid_ft_2")]
        kept = [right for share, right in votes if share >= at - 1e-9]
        assert row[f"{split}: kept, %"].value == pytest.approx(100 * len(kept) / len(votes))
        assert row[f"{split}: right, %"].value == pytest.approx(100 * sum(kept) / len(kept))
    assert row["dev: right, %"].low >= 80
    assert any(note.startswith("The share right must lie") for note in chosen.notes)
    for method in METHODS:  # another test set changes what test says, and nothing that was chosen
        add_samples(store, "a", f"samples/test/{method}", grades("test", 600, 0.2, rng_of("other"), 10))
    again = threshold_table(group_of(store))
    dev = [name for name in chosen.columns if not name.startswith("test")]
    first, second = ([[repr(r.get(c)) for c in dev] for r in table.rows] for table in (chosen, again))
    assert first == second
    assert again.rows[0]["test: right, %"].value < row["test: right, %"].value


def test_a_precision_that_no_threshold_reaches_is_said(store: TinyStore) -> None:
    with_dev(store, "a")
    add_samples(store, "a", "samples/dev/dpo", sure("dev", 120, 0.5, rng_of("sure")))
    rows = [row for row in threshold_table(group_of(store)).rows if "DPO" in row["vote"].text]
    assert [row["confidence at least"].text for row in rows] == ["none reaches it"] * len(TARGETS)


def test_without_samples_of_dev_the_command_that_makes_them_is_shown(voting: TinyStore) -> None:
    table = named(group_of(voting))["calibration_threshold"]
    assert table.rows[0]["vote"].text == "missing"
    assert table.notes[0].startswith("No dev samples in these runs. To compute some: w2s run ")
    assert "--name" not in table.notes[0], "a run of that name is there"
    typed = shlex.split(table.notes[0].partition("some: ")[2])
    experiment = load_experiment(Path(typed[2]), tuple(typed[3:]))
    assert experiment.evaluation.splits == ("dev", "test")
    assert experiment.evaluation.samples >= 2


# What is missing or wrong


def test_runs_without_votes_have_no_part(store: TinyStore) -> None:
    add_run(store, "a", n=12, truth={"weak_floor": 0.3, "hybrid_ft_2": 0.5})
    store.refs.records["a"]["targets"].pop(M_PLUS_TEST)
    group = group_of(store)
    assert calibration_tables(group) == []
    assert calibration_figure([group]) is None


def test_what_is_not_computed_is_missing_with_its_command(store: TinyStore) -> None:
    add_voting_run(store, "a")
    store.refs.records["a"]["targets"] |= {"vote": "none", "samples/test/orpo": "neither"}
    table = named(group_of(store))["calibration"]
    row = by_first(table)["ECE"]
    assert row["M_plus, train_2"].text == row["ORPO, test"].text == row["ORPO minus M_plus"].text == "missing"
    assert row["DPO minus M_plus"].text != "missing"
    missing = next(note for note in table.notes if note.startswith("Missing: "))
    assert "samples/test/orpo of a" in missing
    assert "vote of a" in missing
    assert "To compute it: w2s run experiments/mini/paper.yaml seed=0" in missing


def test_a_seed_that_is_missing_is_counted_in_the_heading(store: TinyStore) -> None:
    for seed in (0, 1):
        add_voting_run(store, f"a{seed}", seed=seed)
    store.refs.records["a1"]["targets"]["samples/test/dpo"] = "none"
    row = by_first(named(group_of(store))["calibration"])["Brier"]
    assert "DPO, test (1/2 seeds)" in row
    alone, both = (votes_of(group_of(store), M_PLUS_TEST, names) for names in (["a0"], None))
    assert alone is not None
    assert both is not None
    assert (alone.right.shape, both.right.shape) == ((1, 120), (2, 120))
    brier = ((alone.confidence - alone.right) ** 2).mean()
    assert row["DPO minus M_plus"].value == pytest.approx(row["DPO, test (1/2 seeds)"].value - brier)


def test_seeds_on_other_questions_are_refused(store: TinyStore) -> None:
    for seed in (0, 1):
        add_voting_run(store, f"a{seed}", seed=seed)
    add_samples(store, "a1", "vote", grades("train_2", 100, 0.6, rng_of("short"), 10))
    with pytest.raises(UserError, match="vote of a0 and vote of a1 were graded on different questions"):
        calibration_tables(group_of(store))


def test_grades_without_answers_are_refused(store: TinyStore) -> None:
    add_voting_run(store, "a", n=12)
    rows = [{"id": row["id"], "verdicts": row["verdicts"]} for row in rows_of(store, "a", "vote")]
    add_samples(store, "a", "vote", rows)
    with pytest.raises(UserError, match=r"grades.parquet has no column 'answers'; no vote"):
        calibration_tables(group_of(store))


# Figure and files


def test_the_figure_has_a_column_a_weak_model_and_the_same_bytes_each_time(
    voting: TinyStore, tmp_path: Path
) -> None:
    saved = []
    for i in range(2):
        figure = calibration_figure([group_of(voting)])
        assert figure is not None
        assert len(figure.axes) == 3
        assert figure.get_figwidth() < 3.5, "a column of a page"
        saved.append([path.read_bytes() for path in save_figure(figure, tmp_path / str(i), "calibration")])
    assert saved[0] == saved[1]


def test_no_curve_is_cut_off_by_a_lower_one_beside_it(store: TinyStore) -> None:
    for weak, accuracy in (("good", 0.95), ("bad", 0.4)):
        add_run(store, weak, weak=weak, truth={"hybrid_ft_2": accuracy})
    figure = calibration_figure(make_groups(load_frames(store, ["good", "bad"])))
    assert figure is not None
    risks = figure.axes[-2:]
    highest = [max(line.get_ydata().max() for line in panel.get_lines()) for panel in risks]
    assert highest[1] > 2 * highest[0]
    assert all(panel.get_ylim()[0] == 0 and panel.get_ylim()[1] > max(highest) for panel in risks)


def test_the_figure_draws_the_numbers_of_the_table(voting: TinyStore) -> None:
    group = group_of(voting)
    figure = calibration_figure([group])
    assert figure is not None
    reliability, shares, risk = figure.axes
    heights = [bar.get_height() for bars in shares.containers for bar in bars]
    assert sum(heights) == pytest.approx(100 * len(vote_labels(group)))
    drawn = {line.get_label(): line for line in risk.get_lines()}
    accuracy = interval_of(group, "samples/test/dpo", "accuracy")
    assert accuracy is not None
    assert drawn["DPO"].get_ydata()[-1] == pytest.approx(100 * (1 - accuracy.value))
    assert {"M+, train_2", "M+", "DPO", "ORPO"} == drawn.keys() - {"calibrated"}
    assert len(reliability.containers) == 4


@pytest.mark.slow
def test_the_report_of_several_runs_saves_the_part(voting: TinyStore, tmp_path: Path) -> None:
    save_report(voting, list(voting.refs.names()), tmp_path)
    names = {path.name for path in tmp_path.iterdir() if path.name.startswith("calibration")}
    more = {f"calibration_{part}.csv" for part in ("atoms", "levels", "threshold")}
    assert names == {f"calibration.{end}" for end in ("md", "tex", "csv", "png", "svg")} | more
    assert "No dev samples in these runs" in (tmp_path / "calibration.md").read_text()
