"""The same call of a step gives the same handle, and no other call does; so a sweep of thousands of trials is planned
in seconds.
"""

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.test_keys import anything, values
from tests.engine.toy import number, total
from w2s_core.engine import Handle, Store, plan
from w2s_core.errors import UserError


def test_the_same_arguments_give_the_same_handle() -> None:
    first = anything(value={"rate": 0.1, "methods": ["dpo"]}, other=None)
    again = anything(value={"rate": 0.1, "methods": ["dpo"]}, other=None)
    assert again is first
    assert anything(value=first) is anything(value=again)


@settings(max_examples=200)
@given(st.lists(values, min_size=2, max_size=4))
def test_a_handle_that_is_shared_has_the_key_of_one_that_is_not(items: list[Any]) -> None:
    """Several calls stay alive side by side, so that a wrong match among them would show."""
    shared = [anything(value=item, other=i % 2) for i, item in enumerate(items)]
    alone = [anything._make({"value": item, "other": i % 2}) for i, item in enumerate(items)]
    assert [one.key for one in shared] == [one.key for one in alone]
    above = [anything(value=one) for one in shared]
    assert [one.key for one in above] == [anything._make({"value": one}).key for one in alone]


def test_numbers_that_compare_alike_are_not_the_same_call() -> None:
    alive = [anything(value=value) for value in (0, 0.0, -0.0, False, 1, 1.0, True, "1", [1], [1.0], [True])]
    assert len({one.key for one in alive}) == len(alive)


def test_a_handle_and_a_number_are_not_the_same_call() -> None:
    held = number(n=1)
    by_handle, by_number = anything(value=held), anything(value=id(held))
    assert by_handle.inputs == {"value": held}
    assert by_number.params == {"value": id(held)}


def test_unkeyed_arguments_keep_their_own_handles() -> None:
    one, other = (total(parts=[number(n=1)], speed=speed) for speed in (1, 9))
    assert (one.unkeyed, other.unkeyed) == ({"speed": 1}, {"speed": 9})


def test_a_list_that_the_caller_changes_is_another_call() -> None:
    items = [1]
    before = anything(value=items)
    items.append(2)
    assert anything(value=items).params["value"] == [1, 2]
    assert before.params["value"] == [1]


def test_handles_are_forgotten_once_nobody_holds_them() -> None:
    for i in range(50):
        anything(value=anything(value=f"passing {i}"))
    gc.collect()
    remembered: list[Handle] = list(anything._made.values())
    assert not any(str(one.params.get("value")).startswith("passing") for one in remembered)


@pytest.mark.parametrize("_", range(2))
def test_a_wrong_call_is_refused_each_time(_: int) -> None:
    with pytest.raises(TypeError, match="unknown: n"):
        anything(n=1)
    with pytest.raises(UserError, match="a finite number is needed"):
        anything(value=[float("nan")])


TRIALS, CALLS = 10_000, 90
MANY = f"""
import sys
from pathlib import Path
from tests.engine.test_same_calls import trial
from w2s_core.engine import Store, plan
store = Store(sys.argv[1])
targets = {{f"{{i}}": trial(i) for i in range({TRIALS})}}
planned = plan(targets, store)
status = Path("/proc/self/status").read_text().splitlines()  # getrusage would count the test's process too
print(len(planned), next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1e3)
"""


def trial(i: int) -> Handle:
    """A recipe of 90 calls, the last 5 of which are this trial's own."""
    settings = {"learning_rate": 1e-3, "max_steps": 100, "batch_size": 16, "scheduler": "cosine"}
    handle = anything(value="base")
    for depth in range(1, CALLS):
        own = {"trial": i} if depth >= CALLS - 5 else {}
        handle = anything(value=handle, other=settings | {"depth": depth} | own)
    return handle


def test_a_trial_of_the_large_plan_has_as_many_steps_as_it_says(tmp_path: Path) -> None:
    planned = plan([trial(0), trial(1)], Store(tmp_path / "store"))
    assert len(planned) == CALLS + 5


@pytest.mark.slow
def test_ten_thousand_trials_are_planned_within_a_gigabyte(tmp_path: Path) -> None:
    """How long it takes is measured by `benchmarks/sweep.py`."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    steps, megabytes = map(float, done.stdout.split())
    assert steps == CALLS - 5 + 5 * TRIALS
    assert megabytes < 1000
