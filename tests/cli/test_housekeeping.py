"""Runs are listed, filtered, tagged, renamed and deleted from the command line; nothing of them is lost by it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.engine.test_damage import TARGETS, run
from w2s_core.cli.main import w2s
from w2s_core.cli.run_list import RunFilter, list_runs, right_share
from w2s_core.engine import Store, collect
from w2s_core.errors import UserError

Call = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Three runs on one finished graph; the record of the last names a result that is not there."""
    assert run(tmp_path / "store", tmp_path / "log.txt").complete
    store = Store(tmp_path / "store")
    keys = {label: handle.key for label, handle in TARGETS.items()}
    for seed, name in enumerate(("a", "b", "c/d")):
        targets = keys | ({"greedy/test/x": "0" * 64} if name == "c/d" else {})
        experiment = {"seed": seed, "weak": "/models/llama", "stage1": {"consistency": 0.5 * seed}}
        store.refs.write(
            name,
            {"run": name, "task": "toy", "seed": seed, "started": f"2026-01-0{3 - seed}T00:00:00+00:00"}
            | {"bases": {"weak": "llama"}, "targets": targets, "experiment": experiment, "command": ["w2s"]}
            | {"questions": {"test": 4}, "duplicates": {"found": 0, "dropped": 0}},
        )
    return store


@pytest.fixture
def call(store: Store) -> Call:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(w2s, ["--store", str(store.root), *words], catch_exceptions=True)

    return invoke


def listed(call: Call, *options: str) -> list[str]:
    return [row["run"] for row in json.loads(call("runs", "--json", *options).stdout)]


def refusal(result: Result) -> str:
    assert isinstance(result.exception, UserError)
    return str(result.exception)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["a", "b", "c/d"]),
        (("--sort", "started"), ["c/d", "b", "a"]),
        (("--sort", "seed", "--reverse"), ["c/d", "b", "a"]),
        (("--unfinished",), ["c/d"]),
        (("--where", "seed=1"), ["b"]),
        (("--where", "stage1.consistency=0.5"), ["b"]),
        (("--where", "weak=llama", "--where", "seed=0"), ["a"]),
        (("--where", "weak=/models/llama"), ["a", "b", "c/d"]),
        (("--where", "recipe=weak_to_strong", "--where", "seed=7"), []),
    ],
)
def test_filters_and_order(call: Call, options: tuple[str, ...], names: list[str]) -> None:
    assert listed(call, *options) == names


def test_json_says_what_the_table_says(call: Call) -> None:
    rows = {row["run"]: row for row in json.loads(call("runs", "--json").stdout)}
    assert rows["a"] | {"started": ""} == {
        "run": "a",
        "recipe": "weak_to_strong",
        "task": "toy",
        "models": {"weak": "llama"},
        "seed": 0,
        "study": None,
        "tags": [],
        "note": "",
        "done": len(TARGETS),
        "targets": len(TARGETS),
        "accuracy": {},
        "complete": True,
        "started": "",
    }
    assert rows["c/d"]["done"] + 1 == rows["c/d"]["targets"]
    assert f"{len(TARGETS)} of {len(TARGETS) + 1} targets" in call("runs").stdout


def test_accuracy_is_a_column_and_an_order(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    label = next(iter(TARGETS))
    summary = {"questions": 4, "graded": 4, "right": 3, "wrong": 1}
    monkeypatch.setattr(store, "peek", lambda key: {"summary": summary} if store.has(key) else None)
    rows = list_runs(store, RunFilter(accuracy=(label, "greedy/test/x"), sort="greedy/test/x"))
    assert [row.accuracy for row in rows] == [{label: 0.75, "greedy/test/x": None}] * 3


@pytest.mark.parametrize(
    ("manifest", "share"),
    [
        (None, None),
        ({"summary": {"rows": 3}}, None),
        ({"summary": {"graded": 0}}, None),
        ({"summary": {"graded": 10, "right": 5, "undecided": 1}}, 0.5),
        ({"summary": {"graded": 3, "wrong": 3}}, 0.0),
        ({"summary": {"graded": "3", "right": 3}}, None),
    ],
)
def test_accuracy_by_manifest(manifest: dict[str, Any] | None, share: float | None) -> None:
    assert right_share(manifest) == share


def test_tags_and_note_stay_when_a_run_is_recorded_again(call: Call, store: Store) -> None:
    call("tag", "a", "good", "seed:0")
    call("note", "a", "two\nlines")
    store.refs.write("a", {**store.refs.read("b"), "run": "a"})
    assert listed(call, "--tag", "good", "--tag", "seed:0") == ["a"]
    assert "note: two lines" in call("show", "a").stdout
    call("tag", "a", "good", "--remove")
    assert listed(call, "--tag", "good") == []
    assert listed(call, "--tag", "seed:0") == ["a"]
    call("note", "a", "")
    assert "no note" in call("note", "a").stdout


def test_rename_keeps_the_results_and_takes_no_name_that_is_taken(call: Call, store: Store) -> None:
    record = store.refs.read("a")
    assert "'b' is the name of another run" in refusal(call("rename", "a", "b"))
    assert store.refs.read("a") == record
    call("rename", "a", "new/name")
    assert listed(call) == ["b", "c/d", "new/name"]
    assert store.refs.read("new/name") == {**record, "run": "new/name"}
    assert collect(Store(store.root), dry_run=True).objects == []


def test_runs_of_a_study_keep_their_names(call: Call, store: Store) -> None:
    store.refs.write("a", {**store.refs.read("a"), "study": "grid"})
    assert "of the study grid" in refusal(call("rename", "a", "other"))
    assert listed(call, "--study", "grid") == ["a"]


def test_a_deleted_run_and_its_results_come_back(call: Call, store: Store) -> None:
    keys = sorted(store.keys())
    records = {name: store.refs.read(name) for name in ("a", "b", "c/d")}
    call("delete", "a", "b", "c/d")
    assert listed(call) == []
    gone = json.loads(call("gc").stdout)
    assert gone["objects"] == len(keys)
    store.refs.write("b", {**records["b"], "seed": 9})  # made again meanwhile: it stays
    back = json.loads(call("gc", "--restore").stdout)
    assert back == {"restored": len(keys), "runs": 2}
    assert sorted(Store(store.root).keys()) == keys
    assert {name: store.refs.read(name) for name in ("a", "c/d")} == {n: records[n] for n in ("a", "c/d")}
    assert store.refs.read("b")["seed"] == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tag", "a", "two words"), "cannot be a tag"),
        (("tag", "a", "x\x1b[31m"), "cannot be a tag"),
        (("tag", "a", "x" * 41), "cannot be a tag"),
        (("tag", "a", "never", "--remove"), "has no tag 'never'; it has: none"),
        (("tag", "nothing", "x"), "no run is named 'nothing'"),
        (("rename", "a", "../a"), "cannot name a run"),
        (("delete", "a", "nothing"), "no run is named 'nothing'"),
        (("runs", "--sort", "size"), "cannot be sorted by 'size'"),
        (("runs", "--where", "seed"), "write field=value"),
        (("runs", "--where", "sed=1"), "has a field or target 'sed'"),
        (("runs", "--accuracy", "greedy/dev/x"), "has a field or target 'greedy/dev/x'"),
        (("runs", "--watch", "--json"), "not with --json"),
    ],
)
def test_bad_input_is_a_line_and_changes_nothing(
    call: Call, store: Store, words: tuple[str, ...], message: str
) -> None:
    before = {path: path.read_bytes() for path in sorted((store.root / "refs").rglob("*.json"))}
    assert message in refusal(call(*words))
    assert {path: path.read_bytes() for path in sorted((store.root / "refs").rglob("*.json"))} == before
