"""`w2s compare` as a user calls it, against counting by hand."""

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from tests.dashboard.stores import add_run, shown_grades, targets_of
from w2s_analysis.parts.compare import find_compared
from w2s_core.cli.main import w2s
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.rows import read_rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two runs on the same questions, one of whose DPO is better; and one on fewer questions."""
    filled = Store(tmp_path_factory.mktemp("compare") / "store")
    add_run(filled, "plain", seed=0)
    add_run(filled, "better", seed=1)
    fewer = targets_of("fewer")
    fewer["greedy/test/dpo"] = shown_grades(run="fewer", split="test", n=60, accuracy=0.8, share=0.7)
    add_run(filled, "fewer", seed=2, targets=fewer)
    return filled


def call(store: Store, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(w2s, ["--store", str(store.root), "compare", *arguments])
    if isinstance(done.exception, UserError):
        return 2, str(done.exception)
    assert done.exception is None, done.exception
    return done.exit_code, done.output


def graded(store: Store, run: str, label: str) -> dict[str, dict[str, object]]:
    rows = read_rows(store.path(store.refs.read(run)["targets"][label]) / "grades.parquet")
    return {row["id"]: row for row in rows}


def is_right(row: dict[str, object]) -> bool:
    verdicts = row["verdicts"]
    assert isinstance(verdicts, list)
    return bool(verdicts[0] == "right")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_common_result_is_counted_as_by_hand(store: Store, tmp_path: Path) -> None:
    status, text = call(store, "plain", "better", "--out", str(tmp_path))
    assert status == 0
    rows = rows_of(tmp_path / "compare.csv")
    methods = ["weak_floor", "weak_icl", "hybrid_ft_1", "hybrid_ft_2", "dpo"]
    assert len(rows) == len(methods)
    for row, method in zip(rows, methods, strict=True):
        a, b = (graded(store, run, f"greedy/test/{method}") for run in ("plain", "better"))
        only_a = sum(is_right(a[question]) and not is_right(b[question]) for question in a)
        only_b = sum(is_right(b[question]) and not is_right(a[question]) for question in a)
        assert (int(row["only A"]), int(row["only B"]), int(row["n"])) == (only_a, only_b, len(a))
        assert float(row["B - A, points"]) == pytest.approx(100 * (only_b - only_a) / len(a), abs=1e-3)
        exact = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
        assert float(row["p, McNemar"]) == pytest.approx(exact, abs=1e-4)
    assert "M_plus + DPO (test) by level" in text
    levels = rows_of(tmp_path / "compare_levels.csv")
    assert sum(int(row["n"]) for row in levels) == 60
    assert sum(int(row["only B"]) for row in levels) == int(rows[-1]["only B"])


def test_the_changed_questions_are_listed_with_both_answers(store: Store, tmp_path: Path) -> None:
    call(store, "plain", "better", "--target", "dpo", "--out", str(tmp_path))
    a, b = (graded(store, run, "greedy/test/dpo") for run in ("plain", "better"))
    expected = {
        question: "B" if is_right(b[question]) else "A"
        for question in a
        if is_right(a[question]) != is_right(b[question])
    }
    listed = {row["question"]: row for row in rows_of(tmp_path / "compare_changes.csv")}
    assert {name: row["right in"] for name, row in listed.items()} == expected
    for name, row in listed.items():
        right, wrong = (
            ("answer of B", "answer of A") if expected[name] == "B" else ("answer of A", "answer of B")
        )
        assert row[right] == "7"
        assert row[wrong] in ("8", "none found")


def test_one_stored_result_on_both_sides_has_no_interval(store: Store, tmp_path: Path) -> None:
    _, text = call(store, "plain", "plain", "--target", "greedy/test/dpo")
    assert "A's and B's are one stored object" in text
    assert "+0.0" not in text
    assert "bootstrap" not in text
    assert "changed sides" not in text
    half = targets_of("better")
    half["greedy/test/dpo"] = targets_of("plain")["greedy/test/dpo"]
    add_run(store, "half", seed=3, targets=half)
    call(store, "plain", "half", "--out", str(tmp_path))
    rows = {row["result"]: row["B - A, points"] for row in rows_of(tmp_path / "compare.csv")}
    assert [name for name, cell in rows.items() if cell == "one result"] == ["M_plus + DPO (test)"]
    levels = rows_of(tmp_path / "compare_levels.csv")
    assert {row["of"] for row in levels} == {"hybrid-ft 2 (test)"}, "details are of a result that differs"


def test_two_methods_of_one_run(store: Store) -> None:
    _, text = call(store, "plain", "plain", "--target", "weak_floor", "--against", "dpo")
    assert "weak floor (test) → M_plus + DPO (test)" in text


def test_other_questions_are_refused_unless_the_common_ones_are_asked_for(store: Store) -> None:
    status, text = call(store, "plain", "fewer", "--target", "dpo")
    assert status != 0
    assert "graded on different questions" in text
    assert "\n" not in text
    status, text = call(store, "plain", "fewer", "--target", "dpo", "--common")
    assert status == 0
    assert str(len(graded(store, "fewer", "greedy/test/dpo"))) in text.splitlines()[3]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("dppo", "run 'plain' has no result 'dppo'; did you mean greedy/test/dpo?"),
        ("x", "there are: greedy/test/dpo"),
    ],
)
def test_an_unknown_result_is_one_line(store: Store, asked: str, told: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        find_compared(store, "plain", "better", asked, None)
    assert told in str(caught.value)


def test_the_same_comparison_gives_the_same_bytes(store: Store, tmp_path: Path) -> None:
    for name in ("one", "two"):
        call(store, "plain", "better", "--out", str(tmp_path / name))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
