"""The grid over weak and strong models: each cell is its own pair's, and single reports stand beside it."""

import csv
from pathlib import Path

import pytest

from tests.analysis.synthetic import TRUTH, TinyStore, add_run
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.study import by_companions, make_study
from w2s_analysis.report import write_reports
from w2s_analysis.weak_to_strong.capability_gap import gap_tables
from w2s_analysis.weak_to_strong.weak_models import NOT_RESOLVED
from w2s_core.errors import UserError

CEILINGS = {"big": 0.95, "small": 0.85, "tiny": 0.30}
"""The last one's ceiling is its weak models' floor: no gap is there to recover."""


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """Two weak and three strong models; one of the six pairs was not run."""
    store = TinyStore(tmp_path_factory.mktemp("grid"))
    for strong, ceiling in CEILINGS.items():
        for weak in ("llama", "qwen2"):
            if (strong, weak) == ("small", "qwen2"):
                continue
            for seed in (0, 1, 2):
                name = f"{strong}-{weak}-{seed}"
                add_run(store, name, weak=weak, seed=seed, truth=TRUTH | {"ceiling": ceiling})
                store.refs.records[name]["strong"] = strong
    return store


def accuracy(store: TinyStore, strong: str, method: str) -> float:
    """The mean over seeds and questions, from the rows themselves."""
    from w2s_core.rows import read_rows

    scores = [
        row["verdicts"][0] == "right"
        for seed in (0, 1, 2)
        for row in read_rows(store.path(f"{strong}-llama-{seed}-greedy-test-{method}") / "grades.parquet")
    ]
    return sum(scores) / len(scores)


def test_cells_are_the_pairs_own_and_strong_models_stand_by_their_ceilings(grid: TinyStore) -> None:
    frames = load_frames(grid, list(grid.refs.names()))
    studies = [make_study(part) for _, part in by_companions(frames)]
    m_plus, *_, pairs = gap_tables(studies)
    assert m_plus.columns == ["weak model", "tiny", "small", "big"]
    llama, qwen2 = m_plus.rows
    assert qwen2["small"].text == "missing"
    assert llama["tiny"].text == NOT_RESOLVED
    for strong in ("small", "big"):
        floor, student, ceiling = (
            accuracy(grid, strong, name) for name in ("weak_floor", "hybrid_ft_2", "ceiling")
        )
        assert llama[strong].value == pytest.approx((student - floor) / (ceiling - floor))
        assert llama[strong].low < llama[strong].value < llama[strong].high
    assert [(row["weak model"].text, row["strong model"].text) for row in pairs.rows] == [
        ("llama", "tiny"), ("llama", "small"), ("llama", "big"), ("qwen2", "tiny"), ("qwen2", "big"),
    ]  # fmt: skip


@pytest.mark.slow
def test_every_strong_model_has_its_folder_and_the_grid_stands_above(grid: TinyStore, tmp_path: Path) -> None:
    frames = load_frames(grid, list(grid.refs.names()))
    text = write_reports(frames, tmp_path / "one", "w2s tables")
    assert "PGR of M_plus on test, by strong model" in text
    for strong in CEILINGS:
        assert (tmp_path / "one" / f"strong={strong}" / "stage1.md").is_file()
    with (tmp_path / "one" / "capability_gap_m_plus.csv").open() as file:
        assert next(csv.reader(file))[:2] == ["weak model", "tiny"]
    write_reports(frames, tmp_path / "two", "w2s tables")
    for path in sorted((tmp_path / "one").glob("capability_gap*")):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    "hostile", ["../../out", *(pytest.param(name, marks=pytest.mark.slow) for name in ("..", "/abs"))]
)
@pytest.mark.usefixtures("unrendered")
def test_a_strong_models_name_cannot_leave_the_folder(grid: TinyStore, tmp_path: Path, hostile: str) -> None:
    names = ["big-llama-0", "small-llama-0"]
    frames = load_frames(grid, names)
    records = {name: dict(record) for name, record in frames.records.items()}
    records["big-llama-0"]["strong"] = hostile
    write_reports(type(frames)(records, frames.results), tmp_path / "in" / "deep")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"deep"}


def test_tasks_are_not_mixed(grid: TinyStore, tmp_path: Path) -> None:
    frames = load_frames(grid, ["big-llama-0", "small-llama-0"])
    records = {name: dict(record) for name, record in frames.records.items()}
    records["big-llama-0"]["task"] = "gsm8k"
    with pytest.raises(UserError, match=r"several tasks \(gsm8k, mini\)"):
        write_reports(type(frames)(records, frames.results), tmp_path)
