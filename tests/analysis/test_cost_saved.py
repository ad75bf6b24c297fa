"""The cost table tells apart what equal keys, equal contents and earlier responses saved."""

from types import SimpleNamespace
from typing import Any

from w2s_analysis.parts.cost import cost_tables

SPEC = {"step": "sample"}
MANIFESTS = {
    "whole": {"spec": SPEC, "duration_s": 10.0, "summary": {"tokens": 100}},
    "twin": {
        "spec": SPEC,
        "duration_s": 0.5,
        "summary": {"tokens": 100},
        "reused": {"same_content_as": "whole", "computed": "2026-11-29", "saved_s": 10.0},
    },
    "longer": {
        "spec": SPEC,
        "duration_s": 6.0,
        "summary": {"tokens": 250},
        "reused": {"extends": {"whole": "from 4 to 10"}, "saved_s": 4.0},
    },
}


def study(*runs: tuple[str, ...]) -> Any:
    """Runs that need the steps with these keys."""
    records = {
        str(number): {"steps": {f"sample:{key}": key for key in keys}} for number, keys in enumerate(runs)
    }
    results = SimpleNamespace(has=MANIFESTS.__contains__, manifest=MANIFESTS.__getitem__)
    return SimpleNamespace(frames=SimpleNamespace(records=records, results=results), groups=[])


def test_what_each_way_saved() -> None:
    """Alone, the first run takes 10 s, the second 10 + 10.5, the third 10 s: 40.5, where 16.5 were spent."""
    (table,) = cost_tables(study(("whole",), ("whole", "twin"), ("longer",)))
    row = table.rows[0]
    assert [row[name].text for name in ("seconds", "without sharing, seconds")] == ["16.5", "40.5"]
    assert any(
        "saved, seconds: 10.0 by steps that several runs share, 10.0 by steps that were given the same contents"
        in note
        and "4.0 by responses that were drawn before" in note
        for note in table.notes
    )


def test_nothing_is_said_where_keys_alone_saved() -> None:
    (table,) = cost_tables(study(("whole",), ("whole",)))
    assert not [note for note in table.notes if note.startswith("saved")]
