"""A report is made again when anything that it is made from may have changed, and only then, whatever befell what is
kept of it.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.analysis.synthetic import TinyStore, add_run
from tests.engine.test_damage import OF_JSON
from w2s_analysis.parts.general import GENERAL, LEVELS
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.study import make_study
from w2s_analysis.report import save_report, write_report
from w2s_analysis.writing import written as module
from w2s_analysis.writing.written import NAME, source_of


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
    store.refs.records["a"]["steps"]["sft:more"] = "a-more"
    report(store, tmp_path / "out", "a")
    assert renderings == ["levels.png", "levels.svg"]
    renderings.clear()
    return store


def report(store: TinyStore, out: Path, *names: str) -> str:
    return write_report(make_study(load_frames(store, names)), out, (LEVELS,))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_report_of_runs_that_are_as_they_were_is_left_as_it_is(
    reported: TinyStore, renderings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    before, expected = content(out), report(reported, fresh, "a").replace("fresh", "out")
    renderings.clear()
    reported.refs.records["a"]["started"] = "2031-01-01T00:00:00+00:00"
    with monkeypatch.context() as patch:
        patch.setattr("w2s_analysis.report._write", lambda *_: pytest.fail("made again"))
        assert report(reported, out, "a") == expected
    assert not renderings
    assert content(out) == before
    assert before.keys() >= {"levels.md", "levels.tex", "levels.csv", "levels.png", "levels.svg"}


def again(store: TinyStore) -> None:
    """Compute a result once more: its folder is put into place as a whole."""
    key = next(iter(store.refs.records["a"]["targets"].values()))
    shutil.copytree(store.path(key), store.root / "copy")
    shutil.rmtree(store.path(key))
    (store.root / "copy").rename(store.path(key))


def damage(store: TinyStore) -> None:
    """Change a byte of a result in place."""
    with (store.path(next(iter(store.refs.records["a"]["targets"].values()))) / "grades.parquet").open(
        "r+b"
    ) as file:
        file.seek(200)
        byte = file.read(1)
        file.seek(200)
        file.write(bytes([byte[0] ^ 1]))


CHANGES: dict[str, Callable[[TinyStore, Path, pytest.MonkeyPatch], object]] = {
    "a figure is gone": lambda store, out, patch: (out / "levels.svg").unlink(),
    "a figure was edited": lambda store, out, patch: (out / "levels.png").write_text("another picture"),
    "a table is gone": lambda store, out, patch: (out / "levels.csv").unlink(),
    "a table was edited": lambda store, out, patch: (out / "levels.md").write_text("shorter"),
    "a result came": lambda store, out, patch: store.put("a-more", "grades.parquet", [{}]),
    "a result was computed again": lambda store, out, patch: again(store),
    "a setting is another": lambda store, out, patch: store.refs.records["a"]["experiment"].update(seed=7),
    "it was typed otherwise": lambda store, out, patch: store.refs.records["a"].update(command=["w2s", "y"]),
    "an acceptance was declared": lambda store, out, patch: patch.setattr(
        "w2s_core.engine.acceptances_used", lambda store, keys: [Accepted()]
    ),
    "the program is another": lambda store, out, patch: patch.setattr(
        module, "_program", lambda: ["another"]
    ),
}


class Accepted:
    """An acceptance, as far as reports show it."""

    step = "sft"

    def __str__(self) -> str:
        return "accepted on Monday"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_it_is_made_from_makes_it_again(
    reported: TinyStore,
    renderings: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    CHANGES[change](reported, tmp_path / "out", monkeypatch)
    report(reported, tmp_path / "out", "a")
    assert renderings == ["levels.png", "levels.svg"]
    report(reported, tmp_path / "out", "a")
    assert len(renderings) == 2, "and is then left as it is"


def test_a_result_that_is_damaged_in_place_is_read_again(
    reported: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(reported)
    monkeypatch.setattr("w2s_analysis.report._write", lambda *_: ("made again", []))
    assert report(reported, tmp_path / "out", "a") == "made again"


def test_a_report_in_a_folder_that_one_may_not_enter_hinders_no_other(
    reported: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exists(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", exists)
    assert "levels.md" in report(reported, tmp_path / "other", "a")


def test_another_folder_other_parts_and_other_runs_are_other_reports(
    reported: TinyStore, renderings: list[str], tmp_path: Path
) -> None:
    report(reported, tmp_path / "other", "a")
    assert len(renderings) == 2
    add_run(reported, "b", n=60, seed=1)
    report(reported, tmp_path / "out", "a", "b")
    assert len(renderings) == 4
    report(reported, tmp_path / "other", "a")
    assert len(renderings) == 4, "each folder is known by itself"
    write_report(make_study(load_frames(reported, ["a"])), tmp_path / "other", GENERAL.one_run)
    report(reported, tmp_path / "other", "a")
    assert len(renderings) > 4, "the folder holds another report by now"


def test_a_report_is_named_as_it_was_typed_now(
    reported: TinyStore, renderings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "  out/levels.md" in report(reported, Path("out"), "a")
    assert f"  {tmp_path}/out/levels.md" in report(reported, tmp_path / "out", "a")
    first = save_report(reported, ["a"], Path("out"), ["w2s", "tables", "a"])
    second = save_report(reported, ["a"], Path("out"), ["w2s", "tables", "--runs", "a"])
    assert first == second
    pages = [path.read_text() for path in Path("out").glob("*.md") if path.name != "levels.md"]
    assert pages
    assert all("made by: w2s tables --runs a" in page for page in pages)


@pytest.mark.parametrize("state", OF_JSON)
def test_what_is_kept_may_be_in_any_state(
    reported: TinyStore, renderings: list[str], tmp_path: Path, state: str
) -> None:
    OF_JSON[state](reported.root / NAME)
    report(reported, tmp_path / "out", "a")
    assert renderings == ["levels.png", "levels.svg"]


def test_reports_of_a_recipe_of_ones_own_are_made_each_time(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(store, "a", n=60)
    study = make_study(load_frames(store, ["a"]))
    assert source_of(study, [])
    monkeypatch.setattr(type(study), "recipe", "of_my_own")
    assert source_of(study, []) is None
