"""The history of durations stays small, tells the same after it was trimmed, and survives a kill."""

import json
import shutil
import signal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.harness import Fault, die, in_child
from tests.engine.toy import number, slow
from w2s_core.engine import Handle, Store, planning
from w2s_core.engine.planning import Estimates, remember
from w2s_core.steps import base_model, questions, sample, sft

HANDLES: list[Handle] = [*(number(n=n) for n in range(4)), *(slow(seconds=s) for s in (0.1, 0.2))]
BYTES_A_LINE = 120


def lines(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store.root / "history.jsonl").read_text().splitlines()]


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(done=st.lists(st.tuples(st.sampled_from(HANDLES), st.integers(1, 99)), min_size=130, max_size=260))
def test_estimates_are_the_same_after_trimming(
    done: list[tuple[Handle, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for 260 lines; at most 6 shapes with 20 records are looked at."""
    whole, trimmed = Store(tmp_path / "whole"), Store(tmp_path / "trimmed")
    for store, limit in ((whole, 1_000_000), (trimmed, 260 * BYTES_A_LINE)):
        monkeypatch.setattr(planning, "HISTORY_BYTES", limit)
        for _ in range(3):
            for handle, amount in done:
                remember(store, handle, float(amount), amount)
    assert len(lines(trimmed)) < len(lines(whole)) == 3 * len(done)
    for handle in HANDLES:
        assert Estimates(trimmed).seconds(handle) == Estimates(whole).seconds(handle)
        assert Estimates(trimmed).size(handle) == Estimates(whole).size(handle)
    shutil.rmtree(whole.root)
    shutil.rmtree(trimmed.root)


def test_the_history_never_grows_past_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where every step has a shape of its own; the newest stay."""
    monkeypatch.setattr(planning, "HISTORY_BYTES", 5_000)
    store = Store(tmp_path / "store")
    for n in range(200):
        remember(store, number(n=n), float(n), n)
        assert (store.root / "history.jsonl").stat().st_size <= 5_000
    kept = [record["bytes"] for record in lines(store)]
    assert kept == list(range(200 - len(kept), 200))
    assert len(kept) >= 2_500 // BYTES_A_LINE


def test_killed_while_it_is_trimmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each touch of a file: the newest records are there, without a gap, in the old file or in the new one."""
    monkeypatch.setattr(planning, "HISTORY_BYTES", 2_000)
    before, after = 18, 8
    sizes = set()
    for n in count(1):
        store = Store(tmp_path / f"store{n}")
        for i in range(before):
            remember(store, number(n=i), float(i), i)
        assert len(lines(store)) == before

        def work(store: Store = store, n: int = n) -> None:
            Fault(store.root, n, die).arm()
            for i in range(before, before + after):
                remember(store, number(n=i), float(i), i)

        code = in_child(work)
        kept = [record["bytes"] for record in lines(store)]
        assert kept == list(range(kept[0], kept[-1] + 1))
        assert kept[-1] >= before - 1
        sizes.add(len(kept))
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert n > after
    assert min(sizes) < before < max(sizes)


def test_a_step_of_another_base_model_tells_nothing(tmp_path: Path) -> None:
    """A training of a small model is no measure for a large one; another training of the small model is."""
    store = Store(tmp_path)

    rows = questions(source={}, split="train_1", digest="0")

    def trained(model: Handle, steps: int) -> Handle:
        answers = sample(model=model, questions=rows, max_new_tokens=8)
        return sft(model=model, questions=rows, responses=answers, settings={"max_steps": steps}, seed=0)

    small, large = base_model(ref="sha256:small"), base_model(ref="sha256:large")
    remember(store, trained(small, 10), 3.0, 1_000)
    estimates = Estimates(store)
    assert estimates.seconds(trained(small, 10)) == estimates.seconds(trained(small, 20)) == 3.0
    assert estimates.seconds(trained(trained(small, 10), 20)) == 3.0, "the base is the first of the chain"
    assert estimates.seconds(trained(large, 10)) is estimates.size(trained(large, 10)) is None


def test_records_of_before_still_count(tmp_path: Path) -> None:
    handle = number(n=1)
    line = {"step": "number", "shape": planning.shape(handle), "seconds": 2.0, "bytes": 9}
    (Store(tmp_path).root / "history.jsonl").write_text(json.dumps(line) + "\n")
    assert Estimates(Store(tmp_path)).seconds(handle) == 2.0
    assert Estimates(Store(tmp_path)).seconds(number(n=2)) is None
