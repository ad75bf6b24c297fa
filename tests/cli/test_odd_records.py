"""A run's record whose fields hold anything that JSON can: each command answers, or says in one line what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_core.recipes.record import read_record
from w2s_core.runs import build_graph, record

VALUES: list[Any] = [None, True, 7, 0.5, "text", [], ["text"], [7], [{}], {}, {"a": 1}, {"a": "b"}, {"a": {}}]
COMMANDS = [
    ("show", "odd"),
    ("show", "odd", "--json"),
    ("explain", "odd", "sft:weak_floor"),
    ("responses", "odd", "dpo", "--out", "OUT/r.jsonl"),
    ("export-adapter", "odd", "dpo", "OUT/adapter"),
    ("compare", "odd", "odd"),
    ("diagnose", "odd"),
    ("tables", "odd", "--out", "OUT"),
]


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The record of a run of which nothing is computed."""
    folder = tmp_path_factory.mktemp("odd")
    graph = build_graph(load_experiment(write_experiment(folder)), "cpu")
    return dict(json.loads(json.dumps(record(graph, "odd", ["w2s", "run"]))))


def answers(store: Path, content: Any, command: tuple[str, ...]) -> str | None:
    """The line of an error, or None; an error of any other kind is raised."""
    (store / "refs" / "odd.json").write_text(json.dumps(content))
    words = [word.replace("OUT", str(store.parent / "out")) for word in command]
    done = CliRunner().invoke(w2s, ["--store", str(store), *words])
    if done.exception is None or isinstance(done.exception, SystemExit):
        return None
    if not isinstance(done.exception, UserError):
        raise done.exception
    assert "\n" not in str(done.exception)
    return str(done.exception)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    Store(tmp_path / "store").refs.write("odd", {})
    return tmp_path / "store"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_field_may_hold_anything_or_be_missing(
    planned: dict[str, Any], store: Path, command: tuple[str, ...]
) -> None:
    assert answers(store, planned, ("show", "odd")) is None
    for field in planned:
        answers(store, {name: value for name, value in planned.items() if name != field}, command)
    # One field of each type that a record has; the test below goes through all of them.
    for field in ("targets", "steps", "outline", "experiment", "seed", "command", "started"):
        for value in VALUES:
            answers(store, planned | {field: value}, command)


def test_a_damaged_field_is_named_with_what_is_right(planned: dict[str, Any], store: Path) -> None:
    refs = Store(store).refs
    right = {
        "targets": dict, "steps": dict, "bases": dict, "models": dict, "experiment": dict, "questions": dict,
        "duplicates": dict, "command": list, "outline": list, "run": str, "recipe": str, "task": str,
        "started": str, "seed": int,
    }  # fmt: skip
    assert right.keys() <= planned.keys()
    for field, kind in right.items():
        for value in VALUES:
            if isinstance(value, kind) and not isinstance(value, bool):
                continue
            (store / "refs" / "odd.json").write_text(json.dumps(planned | {field: value}))
            with pytest.raises(UserError, match="'odd' is (no run|damaged)") as caught:
                read_record(refs, "odd")
            if field != "targets":
                assert f"its field '{field}' is not a" in str(caught.value)
                assert "writes it anew with --name odd" in str(caught.value)


def test_a_target_that_is_listed_and_missing_is_named(planned: dict[str, Any], store: Path) -> None:
    rest = dict(planned["targets"])
    del rest["greedy/test/dpo"]
    expected = "its outline lists 'greedy/test/dpo', which is none of its targets"
    assert expected in (answers(store, planned | {"targets": rest}, ("show", "odd")) or "")


def test_an_older_record_reads_as_before(planned: dict[str, Any], store: Path) -> None:
    old = {"targets": planned["targets"], "experiment": planned["experiment"]}
    (store / "refs" / "odd.json").write_text(json.dumps(old))
    read = read_record(Store(store).refs, "odd")
    assert old.items() <= read.items()
    assert (read["steps"], read["duplicates"], read["command"]) == ({}, {"found": 0, "dropped": 0}, [])
