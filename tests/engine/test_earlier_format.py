"""Results that were made when keys held the names of modules: they stay readable, and `explain` tells what they are."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.engine.toy import number, total
from w2s_core.cli import inspection
from w2s_core.engine import Handle, Store, collect, explain, plan, run_graph
from w2s_core.engine.accepting import accept, undo
from w2s_core.engine.canonical import digest
from w2s_core.engine.spec import key_of
from w2s_core.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def aged(store: Store, handle: Handle) -> str:
    """Put a result in the place of one that an earlier version of the program would have written. Its key."""
    run_graph({"it": handle}, store)
    source = store.folder(handle.key)
    manifest = json.loads((source / "manifest.json").read_text())
    spec = manifest["spec"]
    del manifest["digest"], spec["all_code"], spec["code_fingerprint"]
    parts = {"function": "a" * 64, "code": {"w2s_core.rows": "b" * 64}, "libraries": spec["libraries"]}
    spec |= parts | {"fingerprint": digest(parts)}
    spec["key"] = manifest["key"] = key = key_of(spec)
    manifest["digest"] = digest(manifest)
    store.folder(key).parent.mkdir(exist_ok=True)
    source.rename(store.folder(key))
    (store.folder(key) / "manifest.json").write_text(json.dumps(manifest))
    return key


def test_they_are_whole_and_kept(store: Store) -> None:
    key = aged(store, number(n=1))
    store.refs.write("run", {"targets": {"it": key}})
    assert list(store.verify()) == []
    assert store.manifest(key)["summary"] == {"value": 1}
    assert collect(store).objects == []
    assert [step.state for step in plan([number(n=1)], store)] == ["missing"]


def test_explain_says_what_they_are(store: Store) -> None:
    key = aged(store, number(n=1))
    said = "made by an earlier key format, whose code digests cannot be compared with today's"
    assert said in str(explain(key, store))
    [change] = explain(number(n=1), store).changes
    assert str(change) == f"step number was {said}"
    changes = explain(number(n=2), store, other=key).changes
    assert [(change.kind, change.name) for change in changes] == [("parameter", "n"), ("format", "number")]
    run_graph({"it": total(parts=[number(n=1)])}, store)
    assert "earlier key format" not in str(explain(total(parts=[number(n=1)]), store))


def test_they_can_be_accepted(store: Store) -> None:
    key = aged(store, number(n=1))
    try:
        assert accept(store, number, "the code is the same, the format is new").parts == {}
        assert number(n=1).key == key
        assert [step.state for step in plan([number(n=1)], store)] == ["cached"]
        assert "the format is new" in str(explain(number(n=1), store))
    finally:
        undo(store, "number")
    assert number(n=1).key != key


def test_a_step_that_was_never_computed_is_told_apart(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planned anew, the run has other keys: because of the format, and not because somebody edited code."""
    monkeypatch.setattr("w2s_core.runs.build_graph", lambda experiment: SimpleNamespace(targets={}))
    monkeypatch.setattr(inspection, "label_steps", lambda targets: {})
    monkeypatch.setattr("w2s_core.experiment.read_recorded", lambda record: None)
    for computed, cause in (
        (aged(store, number(n=1)), "an earlier key format"),
        ("1" * 64, "data, a model, code or a library is not as it was"),
    ):
        store.refs.write("run", {"targets": {}, "steps": {"a": computed, "b": "0" * 64}})
        with pytest.raises(
            UserError, match=rf"b of run run \(key 000000000000\) was never computed, .*{cause}"
        ):
            inspection.render_explanation(store, "run", "b", None)
