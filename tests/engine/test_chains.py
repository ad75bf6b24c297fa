"""Steps that differ in their size alone go in order; those of one base go in turn; what they keep."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_store import Events
from tests.engine.toy import counted, executions, number
from w2s_core.engine import Context, Handle, Store, run_graph
from w2s_core.engine.chains import base_of, before
from w2s_core.engine.gc import collect
from w2s_core.engine.planning import distinct


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def lengths(*values: int, **more: Any) -> dict[str, Handle]:
    return {f"to{value}: it": counted(of=number(n=1), to=value, **more) for value in values}


@pytest.mark.parametrize("workers", [1, 3])
def test_the_shorter_goes_first_whatever_the_order_of_the_runs(
    store: Store, tmp_path: Path, workers: int
) -> None:
    log = tmp_path / "log"
    outcome = run_graph(lengths(300, 75, 150), store, workers=workers, runtime={"log": str(log)})
    assert outcome.complete
    assert executions(log) == ["number1", "counted0-75", "counted75-150", "counted150-300"]


def test_a_longer_one_does_not_need_the_shorter(store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    targets = {
        "short": counted(of=number(n=1), to=5, fails=True),
        "long": counted(of=number(n=1), to=9, fails=True),
    }
    outcome = run_graph(targets, store, runtime={"log": str(log)})
    assert executions(log) == ["number1", "counted0-5", "counted0-9"]
    assert {*outcome.stopped} == {handle.key for handle in targets.values()}
    again = lengths(5, 9, seed=1)
    run_graph(again, store, runtime={"log": str(log)})
    (store.folder(again["to5: it"].key)).rename(tmp_path / "gone")
    run_graph({"longest": counted(of=number(n=1), to=11, seed=1)}, store, runtime={"log": str(log)})
    assert executions(log)[-1] == "counted9-11"


def test_only_what_differs_in_its_length_is_a_chain() -> None:
    one, two, other = (counted(of=number(n=n), to=to) for n, to in ((1, 5), (1, 9), (2, 7)))
    seeded = counted(of=number(n=1), to=7, seed=1)
    assert before(distinct([two, one, other, seeded])) == {two.key: one.key}


def test_steps_of_one_base_go_in_turn(store: Store) -> None:
    """Without a preference the keys decide, whose order is random: some of the 21 would mix."""
    targets = {
        f"{seed} {n}": counted(of=number(n=n), to=seed, seed=seed) for n in (1, 2, 3) for seed in range(1, 8)
    }
    events = Events()
    run_graph(targets, store, display=events)
    handles = {handle.key: handle for handle in targets.values()}
    order = [base_of(handles[key]) for event in events.of("started") if (key := event["key"]) in handles]
    assert len({*order}) == 3
    assert sum(before != after for before, after in pairwise(order)) == 2


def test_gc_takes_what_was_kept_with_its_result(store: Store) -> None:
    targets = lengths(5, 9)
    run_graph(targets, store)
    short, long = targets.values()
    kept = {path.parent.name: path for path in store.root.glob("kept/*/*/*/count")}
    assert kept.keys() == {short.key, long.key}
    store.refs.write("run", {"targets": {"it": long.key}})
    assert kept[short.key].parent in collect(store, dry_run=True).leftovers
    assert kept[short.key].exists()
    collect(store)
    assert not kept[short.key].exists()
    assert kept[long.key].exists()
    assert not store.has(short.key)


def test_a_warning_of_a_step_reaches_the_display(store: Store) -> None:
    events = Events()
    targets = lengths(5)
    run_graph(targets, store, display=events)
    label = targets["to5: it"].label
    assert [event["message"] for event in events.of("warning")] == [f"warning: {label}: from 0"]


def test_explain_names_what_was_extended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from w2s_core.engine.explain import explain

    handle = counted(of=number(n=1), to=5)
    plain: Any = counted.function

    def extending(ctx: Context, **named: Any) -> Any:
        ctx.taken["ab" * 32] = 2 / 3, "from 3 to 5 steps"
        return plain(ctx, **named)

    run_graph({"base": number(n=1)}, store)
    monkeypatch.setattr(counted, "function", extending)
    monkeypatch.setattr(type(counted), "confirm_code", lambda definition: None)
    run_graph({"it": handle}, store)
    assert "extends abababababab from 3 to 5 steps" in str(explain(handle, store))
