"""Why a key is what it is: every kind of change is named, at the step where it began."""

from pathlib import Path
from typing import Any

import pytest

from tests.engine.toy import number, slow, total
from w2s_core.engine import Change, Handle, Store, explain, run_graph
from w2s_core.engine.explain import compare
from w2s_core.errors import UserError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def tower(n: int = 1, seed: int = 0, depth: int = 3) -> Handle:
    handle = total(parts=[number(n=n), number(n=50)], seed=seed)
    for _ in range(depth):
        handle = slow(of=handle, seconds=0.0)
    return handle


def test_a_hit_and_its_parts(store: Store) -> None:
    target = total(parts=[number(n=1)], scale=2.0)
    run_graph({"it": target}, store)
    for asked in (target, target.key):
        said = str(explain(asked, store))
        assert f"total version 1, key {target.key}" in said
        assert "parameter scale = 2.0" in said
        assert f"input parts = [{number(n=1).key[:12]}]" in said
        assert "code w2s_core.rows " in said
        assert "library pyarrow " in said
        assert "hit: made " in said
        assert "against" not in said


def test_a_miss_is_held_against_the_most_alike_result(store: Store) -> None:
    run_graph({"far": total(parts=[number(n=9)], scale=3.0), "near": total(parts=[number(n=1)])}, store)
    found = explain(total(parts=[number(n=1)], seed=4), store)
    assert found.manifest is None
    assert found.other == total(parts=[number(n=1)]).key
    assert found.changes == [Change((), "parameter", "seed", "(default)", 4)]
    assert "miss: no result has this key" in str(found)
    assert "parameter seed: (default) -> 4" in str(found)
    assert explain(slow(), store).other is None


def test_the_first_cause_is_found_through_the_inputs(store: Store) -> None:
    run_graph({"old": tower(n=1)}, store)
    run_graph({"new": tower(n=2)}, store)
    for one, other in (
        (tower(n=2), tower(n=1)),
        (tower(n=2).key, tower(n=1).key),
        (tower(n=2), tower(n=1).key),
    ):
        [change] = explain(one, store, other=other).changes
        assert change == Change(("of: slow",) * 2 + ("of: total", "parts.0: number"), "parameter", "n", 1, 2)
        assert str(change) == "via of: slow > of: slow > of: total > parts.0: number | parameter n: 1 -> 2"


def test_all_causes_are_named(store: Store) -> None:
    old = total(parts=[number(n=1)], seed=1)
    new = total(parts=[number(n=2), number(n=3)], scale=2.0, extra=number(n=4))
    changes = explain(new, store, other=old).changes
    assert {(change.kind, change.name) for change in changes} == {
        ("parameter", "seed"),
        ("parameter", "scale"),
        ("parameter", "n"),
        ("input", "parts.1"),
        ("input", "extra"),
    }


def spec(**parts: Any) -> dict[str, Any]:
    plain = {
        "step": "sft",
        "version": 1,
        "params": {},
        "inputs": {},
        "function": "f" * 64,
        "code": {},
        "libraries": {},
    }
    identity = str(sorted(map(str, parts.items())))
    return {**plain, "key": identity, "all_code": identity, "fingerprint": identity, **parts}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"version": 1, "fingerprint": ""}, {"version": 2, "fingerprint": ""}, "version : 1 -> 2"),
        (
            {"function": "a" * 64},
            {"function": "b" * 64},
            "the code of step sft changed (aaaaaaaa -> bbbbbbbb)",
        ),
        (
            {"code": {"m.x": "1" * 64}},
            {"code": {"m.x": "2" * 64}},
            "the code of m.x changed (11111111 -> 22222222)",
        ),
        (
            {"code": {"m.x": "1" * 64}, "all_code": "a" * 64},
            {"code": {"m.y": "1" * 64}, "all_code": "b" * 64},
            "the code of step sft changed (aaaaaaaa -> bbbbbbbb)",
        ),
        (
            {"code": {"m.x": "1" * 64, "m.z": "3" * 64}},
            {"code": {"m.y": "1" * 64, "m.z": "4" * 64}},
            "the code of m.z changed (33333333 -> 44444444)",
        ),
        (
            {"code": {"m.x": "1" * 64}, "fingerprint": "f", "params": {"n": 1}},
            {"code": {"m.x": "2" * 64}, "fingerprint": "f", "params": {"n": 2}},
            "parameter n: 1 -> 2",
        ),
        (
            {"libraries": {"trl": "1.15"}, "all_code": ""},
            {"libraries": {"trl": "1.16"}, "all_code": ""},
            "library trl: 1.15 -> 1.16",
        ),
        (
            {"libraries": {}, "all_code": ""},
            {"libraries": {"trl": "1.16"}, "all_code": ""},
            "library trl: None -> 1.16",
        ),
        ({"step": "sft"}, {"step": "prefer"}, "step : sft -> prefer"),
        (
            {"inputs": {"a": "1" * 64}, "fingerprint": ""},
            {"inputs": {"a": "2" * 64}, "fingerprint": ""},
            f"input a: {'1' * 12} -> {'2' * 12}",
        ),
        (
            {"params": {"lr": 1}, "fingerprint": ""},
            {"params": {"lr": 1.0}, "fingerprint": ""},
            "parameter lr: 1 -> 1.0",
        ),
    ],
)
def test_each_kind_of_change(old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    assert [str(change) for change in compare(spec(**old), spec(**new), lambda key: None)] == [said]


def test_a_wide_graph_is_compared_once_a_pair(store: Store) -> None:
    """Thirty doublings: 2^30 paths lead to one cause, which is named once."""
    old, new = number(n=1), number(n=2)
    for _ in range(30):
        old, new = (total(parts=[one, one]) for one in (old, new))
    assert len(explain(new, store, other=old).changes) == 1


def test_unknown_keys(store: Store) -> None:
    with pytest.raises(UserError, match="no readable result 0000"):
        explain("0" * 64, store)
    same = number(n=1)
    assert f"the same key as {same.key[:12]}" in str(explain(same, store, other=number(n=1)))
