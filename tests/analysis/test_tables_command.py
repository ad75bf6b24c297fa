"""`w2s tables` as a user calls it, on a store that the recipe planned."""

import csv
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.tables import STUDY, make_store
from w2s_analysis.commands import tables
from w2s_core.engine import Store
from w2s_core.errors import UserError

GRID = {"consistency": (0.5, 1.0), "keep": (0.6,), "flip": (0.8,)}


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three weak models, one seed, two thresholds; the final cells are judged on test."""
    store: Store = make_store(tmp_path_factory.mktemp("planned") / "store", seeds=1, grid=GRID)
    return store


def call(store: Store, *arguments: str) -> str:
    """What `w2s tables` prints; the command that was typed is part of every table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["w2s", "tables", "--study", STUDY])
        done = CliRunner().invoke(tables, arguments, obj=store.root, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def report(planned: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What is printed, and the folder of the files."""
    out = tmp_path_factory.mktemp("report") / "one"
    return call(planned, "--study", STUDY, "--out", str(out)), out


def test_all_parts_are_saved_and_named(report: tuple[str, Path]) -> None:
    text, out = report
    files = {path.name for path in out.iterdir()}
    parts = (
        "stage1",
        "stage2",
        "levels",
        "selection",
        "thresholds",
        "weak_models",
        "weak_choice",
        "cost",
        "settings",
    )
    for part in (*parts, "findings"):
        assert {f"{part}.md", f"{part}.tex"} <= files
        assert str(out / f"{part}.md") in text
    figures = {f"{name}.{end}" for name in ("stage1", "levels", "thresholds") for end in ("png", "svg")}
    assert figures <= files
    assert "runs.csv" in files


@pytest.mark.slow
def test_every_file_is_the_same_each_time_and_names_no_place_of_this_machine(
    report: tuple[str, Path], planned: Store, tmp_path: Path
) -> None:
    call(planned, "--study", STUDY, "--out", str(tmp_path / "two"))
    first = {path.name: path.read_bytes() for path in report[1].iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    for name, content in first.items():
        if not name.endswith(".png"):
            text = content.decode()
            places = (planned.root, report[1], Path.home(), Path.cwd())
            assert not [place for place in places if str(place) in text], name


def test_beneath_each_table_stand_its_runs_and_the_command_that_makes_it(report: tuple[str, Path]) -> None:
    for path in report[1].glob("*.md"):
        text = path.read_text()
        tables_in = len(re.findall(r"^### ", text, re.MULTILINE))
        if path.name == "findings.md":  # a table a finding, on the same runs
            assert text.count(f"made by: w2s tables --study {STUDY}") == 1
            assert text.count("Runs and commands: beneath the first table.") == tables_in - 1
        else:
            assert text.count(f"made by: w2s tables --study {STUDY}") == tables_in, path.name
            assert text.count("run: ") + text.count("runs: ") >= tables_in, path.name
        assert "nan" not in re.findall(r"\bnan\b", text), path.name


@pytest.mark.slow
def test_runs_can_be_named_with_and_without_the_word(planned: Store, tmp_path: Path) -> None:
    names = [name for name in planned.refs.names() if name.endswith("1-0.6-0.8")]
    assert len(names) == 3
    call(planned, *names, "--out", str(tmp_path / "plain"))
    call(planned, "--runs", *names, "--out", str(tmp_path / "named"))
    for path in (tmp_path / "plain").iterdir():
        assert path.read_bytes() == (tmp_path / "named" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--study", "absent"], "no run belongs to a study 'absent'; there are: thousand"),
        (["--study", STUDY, "thousand-llama-0-1-0.6-0.8"], "either --study or runs"),
        (["--runs"], "at least one run"),
        (["nothing"], "no run is named 'nothing'"),
    ],
)
def test_mistakes_are_one_line(planned: Store, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(tables, arguments, obj=planned.root, catch_exceptions=False)


def test_cost_counts_every_step_of_every_run_against_the_distinct_ones(
    report: tuple[str, Path], planned: Store
) -> None:
    listed = (report[1] / "cost.csv").read_text().splitlines()
    rows = {row["steps"]: row for row in csv.DictReader(listed)}
    steps = [planned.refs.read(name)["steps"].values() for name in planned.refs.names()]
    distinct = {key for keys in steps for key in keys}
    assert float(rows["all"]["distinct"]) == len(distinct) == len(list(planned.keys()))
    assert float(rows["all"]["used by runs"]) == sum(len(set(keys)) for keys in steps)
    seconds = sum(float(planned.manifest(key)["duration_s"]) for key in distinct)
    assert float(rows["all"]["seconds"]) == pytest.approx(seconds, rel=1e-3)
    parts = [float(row["seconds"]) for name, row in rows.items() if name != "all"]
    assert sum(parts) == pytest.approx(seconds, rel=1e-3)
