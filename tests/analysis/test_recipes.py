"""Runs of any recipe have a report: what it says comes from their records, and never from another recipe."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.synthetic import TinyStore, add_run, grades, rng_of
from tests.dashboard import stores
from w2s_analysis.parts.compare import compare_runs, find_compared
from w2s_analysis.parts.general import GENERAL
from w2s_analysis.parts.part import Part, Report, each_setting
from w2s_analysis.reading.frame import load_frames
from w2s_analysis.reading.groups import Group, make_groups
from w2s_analysis.reading.recipes import _look_up
from w2s_analysis.reading.study import make_study, open_frames
from w2s_analysis.report import render_run, save_report, write_reports
from w2s_analysis.writing.notes import missing_notes
from w2s_analysis.writing.table import Cell, Table
from w2s_core.engine import Store, accepted
from w2s_core.engine.accepted import Acceptance
from w2s_core.errors import UserError
from w2s_core.experiment import Experiment
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Given, Outline, Recipe, Targets, outline_entry
from w2s_core.recipes.record import outline
from w2s_core.rows import read_rows

ROOT = Path(__file__).resolve().parents[2]
NAME = "rejection"
OUTLINE = [
    Outline("greedy", "before", "base model", "floor", "test"),
    Outline("greedy", "round_2", "after round 2", "variant", "test"),
    Outline("greedy", "final", "after round 3 = final", "method", "test"),
    Outline("greedy", "on_gold", "trained on gold", "ceiling", "test"),
    Outline("labels", "right_ones", "votes, first round"),
    Outline("data", "counts", "votes by question"),
]
ACCURACY = {"before": 0.3, "round_2": 0.5, "final": 0.6, "on_gold": 0.9}


class Fields(Experiment):
    base: str
    rounds: int = 3


def _build(experiment: Fields, given: Given, targets: Targets) -> None:
    raise AssertionError("a report plans nothing")


def _rounds(group: Group) -> list[Table]:
    rows = [{"rounds": Cell(str(group.settings["rounds"]))}]
    return [Table("Rounds", ["rounds"], rows, name="rounds", of=group.name), Table("Nothing", ["none"])]


OWN = Report(GENERAL.parts, one_run=(*GENERAL.one_run, Part("rounds", "Rounds", each_setting(_rounds))))
RECIPE = Recipe(NAME, "a recipe of a user", Fields, ("base",), ("train_2",), _build, lambda fields: "final")


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The recipe is there, as it is after `--import`."""
    monkeypatch.setitem(RECIPES._registered, NAME, (RECIPE, "a test"))
    _look_up.cache_clear()
    yield
    _look_up.cache_clear()


def add(
    store: TinyStore,
    name: str,
    *,
    seed: int = 0,
    missing: tuple[str, ...] = (),
    accuracy: Mapping[str, float] = ACCURACY,
    **fields: Any,
) -> None:
    """A run of the recipe, as `w2s_core.runs.record` writes it."""
    outline = [entry for entry in OUTLINE if entry.kind != "greedy" or entry.name in accuracy]
    targets = {}
    for entry in outline:
        targets[entry.label] = key = f"{name}-{entry.name}" + "-samples" * (entry.kind == "samples")
        if entry.kind != "data" and entry.label not in missing:
            share = accuracy.get(entry.name, 0.8)
            store.put(key, "grades.parquet", grades(entry.split or "train_2", 60, share, rng_of(key)))
    store.refs.records[name] = {
        "run": name,
        "recipe": NAME,
        "bases": {"base": "llama"},
        "models": {"base": "sha256:1"},
        "task": "mini",
        "seed": seed,
        "targets": dict(sorted(targets.items())),
        "outline": [outline_entry(entry) for entry in outline],
        "steps": targets | {"sft:final": f"{name}-sft-final"},
        "questions": {"train_2": 60, "test": 60},
        "experiment": {
            "name": "x", "recipe": NAME, "task": {"name": "mini"}, "base": "/bases/llama", "seed": seed, **fields,
        },
        "command": ["w2s", "--import", "mine.py", "run", f"{name}.yaml"],
        "started": "2026-11-29T07:00:00+00:00",
    }  # fmt: skip


def share_right(store: TinyStore, key: str) -> float:
    rows = read_rows(store.path(key) / "grades.parquet")
    return sum(row["verdicts"][0] == "right" for row in rows) / len(rows)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("registered")
def test_accuracy_and_gap_recovered_are_those_of_its_own_floor_and_ceiling(
    store: TinyStore, tmp_path: Path
) -> None:
    add(store, "a")
    printed = save_report(store, ["a"], tmp_path / "out", ["w2s"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "accuracy.csv", "accuracy.md", "accuracy.tex", "labels.csv", "labels.md", "labels.tex",
    ]  # fmt: skip
    rows = rows_of(tmp_path / "out" / "accuracy.csv")
    assert [row["method"] for row in rows] == [entry.title for entry in OUTLINE[:4]]
    floor, middle, ceiling = (share_right(store, f"a-{name}") for name in ("before", "round_2", "on_gold"))
    assert float(rows[1]["PGR"]) == pytest.approx((middle - floor) / (ceiling - floor), rel=1e-4)
    assert rows[0]["PGR"] == rows[3]["PGR"] == ""
    [labels] = rows_of(tmp_path / "out" / "labels.csv")
    assert labels["set"] == "votes, first round"
    assert float(labels["precision"]) == pytest.approx(100 * share_right(store, "a-right_ones"), rel=1e-4)
    assert labels["rows"] == "60"
    assert "base llama" in printed
    assert "A difference from after round 3 must be about" in " ".join(printed.split())
    assert render_run(store, "a") in printed


@pytest.mark.usefixtures("registered")
def test_too_few_samples_for_pass_at_10_are_no_gap(
    store: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny store holds one sample a question; where it holds none, a command can fill the gap."""
    drawn = Outline("samples", "final", "after round 3 = final", "method", "test")
    monkeypatch.setitem(globals(), "OUTLINE", [*OUTLINE, drawn])
    for run, missing, cell in (("few", (), "–"), ("none", (drawn.label,), "missing")):
        add(store, run, missing=missing)
        save_report(store, [run], tmp_path / run, ["w2s"])
        rows = rows_of(tmp_path / run / "accuracy.csv")
        assert {row["pass@10"] for row in rows if row["method"] == drawn.title} == {cell}


@pytest.mark.usefixtures("registered")
def test_a_report_of_several_runs_has_the_general_parts_and_no_empty_table(
    store: TinyStore, tmp_path: Path
) -> None:
    for rounds in (2, 3):
        for seed in (0, 1):
            add(store, f"r{rounds}-{seed}", seed=seed, rounds=rounds)
    out = tmp_path / "out"
    printed = save_report(store, sorted(store.refs.names()), out, ["w2s"])
    parts = {"accuracy", "levels", "labels", "cost", "settings"}
    assert {path.stem for path in out.glob("*.md")} == parts
    for path in out.glob("*.csv"):
        assert rows_of(path), path.name
    texts = [path.read_text().lower() for path in out.glob("*.md")]
    for word in ("weak", "strong", "m_plus", "stage", "finding", "paper"):
        assert not any(word in text for text in texts), word
    assert [row["base model"] for row in rows_of(out / "settings.csv")] == ["llama"] * 2
    assert [row["setting"] for row in rows_of(out / "settings.csv")] == ["rounds=2", "base setting"]
    levels = rows_of(out / "levels.csv")
    assert [row["method"] for row in levels[:4]] == [
        "base model", "after round 3 = final", "trained on gold", "questions",
    ]  # fmt: skip
    assert "No findings" not in printed


@pytest.mark.usefixtures("registered")
def test_without_floor_or_ceiling_there_is_no_gap_to_recover(store: TinyStore, tmp_path: Path) -> None:
    add(store, "a", accuracy={"before": 0.3, "final": 0.6})
    save_report(store, ["a"], tmp_path, ["w2s"])
    assert "PGR" not in (tmp_path / "accuracy.md").read_text()


@pytest.mark.usefixtures("registered")
def test_runs_of_two_recipes_are_reported_apart(store: TinyStore, tmp_path: Path) -> None:
    add(store, "mine")
    add_run(store, "theirs", n=60)
    frames = open_frames(store)
    assert len(make_groups(frames)) == 2
    with pytest.raises(UserError, match=r"several recipes \(rejection, weak_to_strong\)"):
        make_study(frames)
    out = tmp_path / "out"
    printed = write_reports(frames, out, "w2s tables")
    assert sorted(path.name for path in out.iterdir()) == [f"recipe={NAME}", "recipe=weak_to_strong"]
    own, other = ((out / f"recipe={name}") for name in (NAME, "weak_to_strong"))
    assert not (own / "stage1.md").exists()
    assert {row["run"] for row in rows_of(own / "runs.csv")} == {"mine"}
    assert {row["run"] for row in rows_of(other / "runs.csv")} == {"theirs"}
    assert f"every table of recipe {NAME}" in printed


def test_a_recipe_that_is_not_there_has_the_general_parts_and_a_line(
    store: TinyStore, tmp_path: Path
) -> None:
    add(store, "a")
    add(store, "b", seed=1)
    line = f"theirs cannot be had: unknown recipe '{NAME}'"
    assert render_run(store, "a").count(line) == 1
    printed = save_report(store, ["a", "b"], tmp_path, ["w2s"])
    assert line in printed
    assert line in (tmp_path / "accuracy.md").read_text().replace("\\", "")
    rows = rows_of(tmp_path / "accuracy.csv")
    assert [row["method"] for row in rows] == [entry.title for entry in OUTLINE[:4]]
    assert make_groups(load_frames(store, ["a", "b"]))[0].seeds == [0, 1]


def test_a_record_of_today_gives_the_bytes_of_one_that_kept_labels_alone(
    one_run: TinyStore, tmp_path: Path
) -> None:
    save_report(one_run, ["solo"], tmp_path / "before", ["w2s"])
    record = one_run.refs.records["solo"]
    bases = {field: record[field] for field in ("strong", "weak")}  # sorted, as the JSON of a record is
    entries = [outline_entry(entry) for entry in outline(record)]
    today = {key: value for key, value in record.items() if key not in bases}
    today |= {"recipe": "weak_to_strong", "bases": bases, "outline": json.loads(json.dumps(entries))}
    newer = TinyStore(one_run.root)
    newer.refs.records["solo"] = today
    save_report(newer, ["solo"], tmp_path / "now", ["w2s"])
    for path in (tmp_path / "before").iterdir():
        assert path.read_bytes() == (tmp_path / "now" / path.name).read_bytes(), path.name


@pytest.mark.usefixtures("registered")
def test_a_missing_result_names_the_command_of_the_run_that_is_to_have_it(store: TinyStore) -> None:
    """Two runs with one seed share their results; only the second one plans the last model."""
    add(store, "first", accuracy={"before": 0.3})
    add(store, "second", missing=("greedy/test/final",))
    records = store.refs.records
    records["second"]["targets"] |= records["first"]["targets"]
    records["second"]["experiment"] = records["first"]["experiment"]
    [group] = make_groups(load_frames(store, ["first", "second"]))
    assert group.all_runs == ["first", "second"]
    [note] = missing_notes([group], lambda label: label.startswith("greedy"))
    assert note == (
        "Missing: greedy/test/final of first+second. To compute it: w2s --import mine.py run second.yaml"
    )


def test_a_comparison_calls_models_as_their_recipe_does_and_details_what_it_proposes(
    store: TinyStore,
) -> None:
    for name in ("a", "b"):
        add(store, name)
    results = find_compared(store, "a", "b", None, None)  # type: ignore[arg-type]
    assert [(result.name, result.proposed) for result in results] == [
        ("base model (test)", False),
        ("after round 2 (test)", False),
        ("after round 3 (test)", True),
        ("trained on gold (test)", False),
    ]


@pytest.mark.usefixtures("registered")
def test_two_models_of_one_title_are_told_apart_by_their_names(store: TinyStore, tmp_path: Path) -> None:
    add(store, "a")
    for entry in store.refs.records["a"]["outline"]:
        entry["title"] = "a model"
    save_report(store, ["a"], tmp_path / "out", ["w2s"])
    rows = rows_of(tmp_path / "out" / "accuracy.csv")
    assert [row["method"] for row in rows] == [f"a model ({name})" for name in ACCURACY]
    results = find_compared(store, "a", "a", None, None)  # type: ignore[arg-type]
    assert len({result.name for result in results}) == len(ACCURACY)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("no_such_module:REPORT", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("w2s_analysis.parts.general:ACCURACY", r"is no w2s_analysis\.parts\.part\.Report"),
        ("w2s_analysis.parts.general:NONE", r"is no w2s_analysis\.parts\.part\.Report"),
    ],
)
def test_a_report_that_cannot_be_had_is_one_line(
    store: TinyStore, monkeypatch: pytest.MonkeyPatch, registered: None, place: str, message: str
) -> None:
    monkeypatch.setitem(RECIPES._registered, NAME, (replace(RECIPE, report=place), "a test"))
    add(store, "a")
    with pytest.raises(UserError, match=rf"^the report of recipe 'rejection' \({place}\).*{message}$"):
        render_run(store, "a")


def test_a_report_of_its_own_adds_its_parts_and_columns(
    store: TinyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registered: None
) -> None:
    monkeypatch.setitem(RECIPES._registered, NAME, (replace(RECIPE, report=f"{__name__}:OWN"), "a test"))
    add(store, "a")
    save_report(store, ["a"], tmp_path / "out", ["w2s"])
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {
        "accuracy.csv",
        "labels.csv",
        "rounds.csv",
    }
    assert rows_of(tmp_path / "out" / "rounds.csv") == [{"of": "llama", "rounds": "3"}]


def test_no_general_part_of_analysis_knows_a_recipe() -> None:
    words = ("hybrid_ft", "weak_floor", "stage1", "stage2", "dpo", "m_plus", "weak_sft")
    own = ROOT / "analysis" / "w2s_analysis" / "weak_to_strong"
    for path in (ROOT / "analysis").rglob("*.py"):
        if own not in path.parents and path.parent.name != "dashboard":
            assert not [word for word in words if word in path.read_text().lower()], path


def test_beneath_tables_of_accepted_results_a_line_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    stores.add_run(store, "a")
    assert "accept" not in render_run(store, "a")
    key = store.refs.read("a")["targets"]["greedy/test/weak_floor"]
    acceptance = Acceptance(
        "shown_grades",
        store.manifest(key)["spec"]["fingerprint"],
        "f" * 64,
        "only renamed",
        "2026-11-29T10:00:00",
        {},
    )
    accepted.write(store.root, acceptance)
    line = f"Results stand by `w2s accept`: shown_grades, {acceptance}."
    text = " ".join(render_run(store, "a").split())
    assert text.count(line) == text.count("run: a") > 1
    compared = " ".join(compare_runs(store, ("a", "a")).split())
    assert compared.count(line) == 1
    accepted.remove(store.root, acceptance)
    assert "accept" not in render_run(store, "a")
