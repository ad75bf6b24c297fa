"""The notebooks run from end to end on a store, and are committed without outputs."""

import json
from pathlib import Path

import pytest

from benchmarks.tables import make_store
from tests.analysis.synthetic import TinyStore
from w2s_analysis.notebook import part_named
from w2s_analysis.notebooks import notebooks, run_notebook
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.study import make_study
from w2s_core.errors import UserError

NAMES = ("calibration", "sweeps", "tables")


def test_the_notebooks_are_committed_without_outputs() -> None:
    assert [path.stem for path in notebooks()] == list(NAMES)
    for path in notebooks():
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs")
            assert cell.get("execution_count") is None


def test_an_unknown_part_is_named(one_run: TinyStore) -> None:
    with pytest.raises(UserError, match="no part 'stage9'; it has: stage1, stage2"):
        part_named(make_study(load_frames(one_run, ["solo"])), "stage9")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks") / "store"
    make_store(folder, seeds=1, grid={"consistency": (0.5, 1.0), "keep": (0.6,), "flip": (0.8,)})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_into_html(
    name: str, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbclient", reason="the tools of notebooks are not installed")
    monkeypatch.setenv("W2S_STORE", str(store))
    path = next(path for path in notebooks() if path.stem == name)
    page = run_notebook(path, tmp_path).read_text()
    headings = {"tables": "Accuracy on test", "sweeps": "stage1.consistency", "calibration": "Calibration"}
    assert headings[name] in page
    assert "data:image/svg+xml" in page
    assert "Traceback" not in page


@pytest.mark.slow
def test_a_failing_cell_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="the tools of notebooks are not installed")
    broken = json.loads(notebooks()[0].read_text())
    broken["cells"] = [dict(broken["cells"][1], source="1 / 0")]
    path = tmp_path / "broken.ipynb"
    path.write_text(json.dumps(broken))
    with pytest.raises(UserError, match=r"broken.ipynb: a cell failed: ZeroDivisionError"):
        run_notebook(path, tmp_path)
