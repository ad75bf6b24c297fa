"""Figures are drawn again when what they show may have changed, and only then, whatever befell what is kept of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.analysis.synthetic import TinyStore, add_run
from tests.engine.test_damage import OF_JSON
from w2s_analysis.parts.general import GENERAL
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.study import make_study
from w2s_analysis.report import write_report
from w2s_analysis.writing import drawn as module
from w2s_analysis.writing.drawn import NAME, source_of


@pytest.fixture
def renderings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are rendered, in place of rendering them."""
    names: list[str] = []

    def render(_: Figure, path: Path, **__: object) -> None:
        names.append(path.name)
        path.write_text(f"rendering {len(names)}")

    monkeypatch.setattr(Figure, "savefig", render)
    return names


@pytest.fixture
def reported(store: TinyStore, renderings: list[str], tmp_path: Path) -> TinyStore:
    """A store with a run of which a report was written."""
    add_run(store, "a", n=60)
    report(store, tmp_path / "out", "a")
    assert renderings == ["levels.png", "levels.svg"]
    renderings.clear()
    return store


def report(store: TinyStore, out: Path, *names: str) -> None:
    levels = next(part for part in GENERAL.parts if part.name == "levels")
    write_report(make_study(load_frames(store, names)), out, (levels,))


def test_a_report_of_runs_that_are_as_they_were_draws_nothing(
    reported: TinyStore, renderings: list[str], tmp_path: Path
) -> None:
    reported.refs.records["a"] |= {"started": "2031-01-01T00:00:00+00:00", "command": ["w2s", "run", "again"]}
    report(reported, tmp_path / "out", "a")
    assert not renderings
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"levels.md", "levels.png", "levels.svg"}


CHANGES: dict[str, Callable[[TinyStore, Path, pytest.MonkeyPatch], object]] = {
    "a file is gone": lambda store, out, patch: (out / "levels.svg").unlink(),
    "a file was edited": lambda store, out, patch: (out / "levels.png").write_text("another picture"),
    "a result came": lambda store, out, patch: store.put("a-more", "grades.parquet", [{}]),
    "a setting is another": lambda store, out, patch: store.refs.records["a"]["experiment"].update(seed=7),
    "the program is another": lambda store, out, patch: patch.setattr(
        module, "_program", lambda: ["another"]
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_is_drawn_draws_it_again(
    reported: TinyStore,
    renderings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    reported.refs.records["a"]["steps"]["sft:more"] = "a-more"
    report(reported, tmp_path / "out", "a")
    renderings.clear()
    CHANGES[change](reported, tmp_path / "out", monkeypatch)
    report(reported, tmp_path / "out", "a")
    assert renderings == ["levels.png", "levels.svg"]


def test_another_folder_and_other_runs_have_figures_of_their_own(
    reported: TinyStore, renderings: list[str], tmp_path: Path
) -> None:
    report(reported, tmp_path / "other", "a")
    assert len(renderings) == 2
    add_run(reported, "b", n=60, seed=1)
    report(reported, tmp_path / "out", "a", "b")
    assert len(renderings) == 4
    report(reported, tmp_path / "other", "a")
    assert len(renderings) == 4, "each folder is known by itself"


@pytest.mark.parametrize("state", OF_JSON)
def test_what_is_kept_may_be_in_any_state(
    reported: TinyStore, renderings: list[str], tmp_path: Path, state: str
) -> None:
    OF_JSON[state](reported.root / NAME)
    report(reported, tmp_path / "out", "a")
    assert renderings == ["levels.png", "levels.svg"]


def test_figures_of_a_recipe_of_ones_own_are_drawn_each_time(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(store, "a", n=60)
    study = make_study(load_frames(store, ["a"]))
    assert source_of(study)
    monkeypatch.setattr(type(study), "recipe", "of_my_own")
    assert source_of(study) is None
