"""Each key once, whoever computes it; what fails stops its own branch only; who dies is replaced."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.engine import toy
from tests.engine.test_crashes import alive, wait_for
from tests.engine.test_store import Events
from tests.engine.toy import executions, number, resuming, slow, total, value
from w2s_core.engine import Handle, Outcome, Store, collect, locks, plan, run_graph
from w2s_core.engine.gc import restore
from w2s_core.engine.planning import Estimates, distinct
from w2s_core.engine.session import gc_lock
from w2s_core.engine.walk import urgencies

Kit = tuple[Store, Path, Events]


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Store(tmp_path / "store"), tmp_path / "log.txt", Events()


def run(kit: Kit, targets: dict[str, Handle], workers: int = 1) -> Outcome:
    store, log, events = kit
    return run_graph(targets, store, workers=workers, runtime={"log": str(log)}, display=events)


def diamond() -> dict[str, Handle]:
    leaves = [number(n=i) for i in range(6)]
    middle = [total(parts=leaves[i : i + 3], seed=i) for i in range(4)]
    return {
        "all": total(parts=middle),
        "half": total(parts=middle[:2], scale=0.5),
        "same": total(parts=middle),
    }


@pytest.mark.parametrize("workers", [1, 3])
def test_every_key_of_the_union_is_computed_once(kit: Kit, workers: int) -> None:
    store, log, events = kit
    outcome = run(kit, diamond(), workers)
    assert outcome.complete
    assert len(outcome.done) == 12 == len(executions(log)) == len(events.of("finished"))
    assert outcome.done == set(store.keys())
    assert value(store.path(diamond()["all"].key)) == 3 + 6 + 9 + 12


def test_workers_give_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for workers in (1, 3):
        store = Store(tmp_path / f"store{workers}")
        run_graph(diamond(), store, workers=workers)
        files.append({key: store.manifest(key)["files"] for key in sorted(store.keys())})
    assert files[0] == files[1]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_branch_that_stops_or_fails_leaves_the_others(kit: Kit, workers: int) -> None:
    store, log, events = kit
    source, fine = number(n=1), total(parts=[number(n=2)])
    failed, stopped, misused = toy.broken(of=source), toy.empty(of=source), toy.misused()
    below = [total(parts=[failed]), total(parts=[stopped, source]), total(parts=[misused])]
    targets = {"fine": fine, "far": total(parts=[below[1]])} | {f"b{i}": one for i, one in enumerate(below)}
    outcome = run(kit, targets, workers)
    assert not outcome.complete
    assert outcome.done == {source.key, number(n=2).key, fine.key}
    assert outcome.failed.keys() == {failed.key}
    log_file = store.log_path(failed.key)
    assert outcome.failed[failed.key] == f"ZeroDivisionError: by design (traceback in {log_file})"
    assert "in broken\n" in log_file.read_text()
    assert outcome.stopped[stopped.key] == "nothing was left of 12 questions"
    assert outcome.stopped[misused.key] == "the folder models/x has no tokenizer"
    reason = f"needs {stopped.label}: nothing was left of 12 questions"
    assert outcome.stopped[below[1].key] == outcome.stopped[targets["far"].key] == reason
    assert outcome.stopped[below[0].key].startswith(f"needs {failed.label}: ZeroDivisionError")
    assert len(outcome.stopped) == 6
    assert all("\n" not in event["reason"] for event in events.of("stopped") + events.of("failed"))
    assert executions(log).count("number1") == 1


def test_a_step_that_failed_is_tried_again_by_the_next_command(kit: Kit) -> None:
    store, _, _ = kit
    broken = toy.broken(of=number(n=1))
    for _ in range(2):
        assert broken.key in run(kit, {"it": broken}).failed
    assert list((store.root / "tmp").iterdir()) == []


RACE = """
import sys
from tests.engine.toy import slow
from w2s_core.engine import Store, make_display, run_graph
root, log, seconds = sys.argv[1:]
targets = {"it": slow(seconds=float(seconds))}
outcome = run_graph(targets, Store(root), runtime={"log": log}, display=make_display())
print(outcome.complete)
"""


def racer(root: Path, log: Path, seconds: float = 0.6) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", RACE, str(root), str(log), str(seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_commands_want_one_step_and_compute_it_once(kit: Kit) -> None:
    store, log, _ = kit
    # The step lasts longer than a busy machine needs to start the other two.
    racers = [racer(store.root, log, seconds=2.5) for _ in range(3)]
    said = [process.communicate(timeout=20) for process in racers]
    assert [out for out, _ in said] == ["True\n"] * 3
    assert executions(log) == ["slow"]
    owner = int(log.read_text().split()[1])
    waited = [error for _, error in said if f"waiting for pid {owner} on host {os.uname().nodename}" in error]
    assert len(waited) == 2


def test_a_result_that_came_while_we_took_the_lock_is_not_made_again(kit: Kit, monkeypatch: Any) -> None:
    store, log, events = kit
    try_lock = locks.try_lock

    def just_too_late(path: Path, **options: Any) -> locks.Lock | None:
        if path == store.lock_path(number(n=1).key):
            monkeypatch.undo()
            run_graph({"it": number(n=1)}, Store(store.root), runtime={"log": str(log)})
        return try_lock(path, **options)

    monkeypatch.setattr(locks, "try_lock", just_too_late)
    assert run(kit, {"it": number(n=1)}).complete
    assert executions(log) == ["number1"]
    assert len(events.of("found")) == 1


def test_the_step_of_a_dead_command_is_taken_over_within_a_second(kit: Kit) -> None:
    store, log, _ = kit
    first = racer(store.root, log)
    wait_for(lambda: executions(log) == ["slow"])
    second = racer(store.root, log)
    time.sleep(0.3)
    first.send_signal(signal.SIGKILL)
    start = time.monotonic()
    wait_for(lambda: executions(log) == ["slow", "slow"])
    assert time.monotonic() - start < 1.0
    assert second.communicate(timeout=10)[0] == "True\n"
    first.communicate()


def test_progress_can_be_seen_from_another_process(kit: Kit) -> None:
    store, log, events = kit
    other = racer(store.root, log)
    wait_for(lambda: executions(log) == ["slow"])
    run(kit, {"it": slow(seconds=0.6)})
    other.communicate(timeout=10)
    told = events.of("waiting")
    assert told[0]["pid"] == other.pid
    assert any((event["progress"] or {}).get("unit") == "naps" for event in told)
    assert events.of("found")


def test_a_worker_that_dies_is_replaced(kit: Kit) -> None:
    store, log, events = kit
    outcome = run(kit, {"a": resuming(), "b": slow(of=resuming()), "c": slow(seconds=1.0)}, workers=2)
    assert outcome.complete
    assert value(store.path(resuming().key)) == 42
    assert executions(log).count("resuming") == 2
    [death] = events.of("worker died")
    assert death["key"] == resuming().key
    assert death["manner"] == "killed by SIGKILL, perhaps for lack of memory"


def test_a_step_that_kills_its_workers_fails_in_the_end(kit: Kit) -> None:
    _, _, events = kit
    outcome = run(kit, {"a": toy.deadly(), "b": number(n=1)}, workers=2)
    assert outcome.done == {number(n=1).key}
    assert "its process died 3 times (killed by SIGKILL" in outcome.failed[toy.deadly().key]
    assert len(events.of("worker died")) == 3


DRIVER = """
import sys
from tests.engine.toy import slow
from w2s_core.engine import Store, run_graph
targets = {str(i): slow(seconds=30.0, name=f"slow{i}") for i in range(2)}
run_graph(targets, Store(sys.argv[1]), workers=2, runtime={"log": sys.argv[2]})
"""


def test_workers_end_with_a_killed_driver_and_hold_nothing(kit: Kit) -> None:
    store, log, _ = kit
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(store.root), str(log)])
    wait_for(lambda: len(executions(log)) == 2)
    pids = [int(line.split()[1]) for line in log.read_text().splitlines()]
    assert all(alive(pid) for pid in pids)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids), timeout_s=2)

    def clean() -> bool:
        collect(store)
        return not any(list((store.root / name).iterdir()) for name in ("tmp", "locks", "sessions", "work"))

    wait_for(clean, timeout_s=2)  # a process's main thread can be gone a moment before its last thread


def test_gc_leaves_a_running_command_alone(kit: Kit) -> None:
    store, log, _ = kit
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER.replace("30.0", "1.0"), str(store.root), str(log)]
    )
    wait_for(lambda: len(executions(log)) == 2)
    while driver.poll() is None:
        collect(store)
    assert driver.returncode == 0
    assert executions(log) in (["slow0", "slow1"], ["slow1", "slow0"])


def test_a_command_waits_while_gc_deletes(kit: Kit) -> None:
    store, log, _ = kit
    with locks.wait_lock(gc_lock(store)):
        command = racer(store.root, log)
        time.sleep(0.5)
        assert list((store.root / "sessions").iterdir()) == []
        assert executions(log) == []
    assert command.communicate(timeout=10)[0] == "True\n"


def test_workers_refuse_what_is_no_json(kit: Kit) -> None:
    store, _, _ = kit
    with pytest.raises(TypeError, match=r"runtime\.model is of type object"):
        run_graph(diamond(), store, workers=2, runtime={"model": object()})


def test_what_steps_print_in_workers_does_not_reach_the_terminal(
    kit: Kit, capfd: pytest.CaptureFixture[str]
) -> None:
    run(kit, diamond(), workers=2)
    assert capfd.readouterr() == ("", "")
    assert list((kit[0].root / "logs").iterdir()) == []


def test_the_plan_tells_what_will_happen(kit: Kit) -> None:
    store, _, _ = kit
    middle = total(parts=[number(n=1)])
    run(kit, {"it": middle})
    store.quarantine(number(n=1).key)
    target = total(parts=[middle], seed=1)
    planned = {one.handle.key: one for one in plan({"it": target}, store)}
    assert [one.state for one in planned.values()] == ["not needed", "cached", "missing"]
    assert planned[target.key].expected_s is not None
    assert slow().key not in planned
    assert plan([slow()], store)[0].expected_s is None
    outcome = run(kit, {"it": target})
    assert (outcome.done, outcome.cached) == ({target.key}, {middle.key})


def test_durations_are_remembered_by_shape(kit: Kit) -> None:
    store, _, _ = kit
    run(kit, {"a": slow(seconds=0.02), "b": slow(seconds=0.2)})
    with (store.root / "history.jsonl").open("a") as history:
        history.write('{"torn": ')
    estimates = Estimates(store)
    short, long = (estimates.seconds(slow(seconds=seconds)) for seconds in (0.02, 0.2))
    other = estimates.seconds(slow(seconds=7.0))
    assert short is not None
    assert long is not None
    assert other is not None
    assert short < 0.1 < long
    assert short < other < long
    assert estimates.size(slow(seconds=0.02)) == sum(
        path.stat().st_size for path in store.folder(slow(seconds=0.02).key).iterdir()
    )


def test_the_longest_chain_goes_first(kit: Kit) -> None:
    store, log, _ = kit
    run(kit, {"a": slow(seconds=0.02, name="warm"), "b": number(n=99)})
    chain = slow(of=slow(seconds=0.01, name="head"), seconds=0.01, name="tail")
    targets = {"quick": number(n=1), "chain": chain}
    urgency = urgencies(distinct(targets.values()), Estimates(store))
    assert urgency[chain.inputs["of"].key] > urgency[chain.key] > urgency[number(n=1).key]
    log.unlink()
    run(kit, targets)
    assert executions(log) == ["head", "tail", "number1"]


def test_runtime_is_in_no_key(kit: Kit) -> None:
    store, log, _ = kit
    for device in ("cpu", "gpu"):
        run_graph({"it": number(n=1)}, store, runtime={"log": str(log), "device": device})
    assert executions(log) == ["number1"]


def test_a_worker_notices_that_the_code_is_not_the_drivers(tmp_path: Path) -> None:
    """The driver's module is edited after its import: neither it nor its workers may compute under the old key."""
    module = tmp_path / "edited_step.py"
    module.write_text(
        "from w2s_core.engine import step\n"
        "@step(version=1)\n"
        "def edited(ctx, *, n: int):\n"
        "    return {'n': n}\n"
    )
    script = (
        "import sys, edited_step\n"
        "from pathlib import Path\n"
        "from w2s_core.engine import Store, run_graph\n"
        "targets = {str(i): edited_step.edited(n=i) for i in range(2)}\n"
        "[handle.key for handle in targets.values()]\n"
        "path = Path(edited_step.__file__)\n"
        "path.write_text(path.read_text().replace(\"{'n': n}\", \"{'n': -n}\"))\n"
        "run_graph(targets, Store(sys.argv[1]), workers=2)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "UserError: the code of step edited changed since this command started: start it again" in done.stderr
    )
    assert list(Store(tmp_path / "store").keys()) == []


def test_events_are_json(kit: Kit) -> None:
    run(kit, {"a": slow(seconds=0.02), "b": toy.broken(of=number(n=1))})
    seen: list[dict[str, Any]] = json.loads(json.dumps(kit[2].seen))
    assert {"started", "progress", "finished", "failed"} <= {event["event"] for event in seen}


def test_earlier_runs_go_first(kit: Kit) -> None:
    _, log, _ = kit
    chains = {}
    for run_number in range(3):
        link = slow(seconds=0.0, name=f"a{run_number}")
        chains[f"run {run_number}: start"] = link
        chains[f"run {run_number}: end"] = slow(of=link, seconds=0.0, name=f"b{run_number}")
    run(kit, chains)
    assert executions(log) == ["a0", "b0", "a1", "b1", "a2", "b2"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_a_step_swallows_stops_the_run_after_it(kit: Kit, sent: signal.Signals) -> None:
    store, log, _ = kit
    swallowing = toy.deaf(signal_number=int(sent))
    after = total(parts=[swallowing])
    before = signal.getsignal(signal.SIGINT)
    outcome = run(kit, {"it": after})
    assert outcome.interrupted
    assert executions(log) == ["deaf"]
    assert value(store.path(swallowing.key)) == 1
    assert signal.getsignal(signal.SIGINT) == before
    assert run(kit, {"it": after}).complete
    assert executions(log) == ["deaf", "total"]


LIMITED = """
import sys
from tests.engine import toy
from w2s_core.engine import Store, run_graph
from w2s_core.engine.executors import workers
from w2s_core.errors import UserError
workers.START_LIMIT_S, workers.SILENCE_LIMIT_S = 2.0, 2.0
sys.executable = sys.argv[3]
targets = {str(i): eval(sys.argv[2]) for i in range(2)}
try:
    print(run_graph(targets, Store(sys.argv[1]), workers=2, imports=IMPORTS).complete)
except UserError as error:
    print(error)
"""


def limited(
    store: Store, kibibytes: int | str, step: str, imports: str = "{}", python: Path = Path(sys.executable)
) -> str:
    """What a driver with two workers says whose address space has this limit, with short times to wait.

    `python` is what its workers run in.
    """
    script = LIMITED.replace("IMPORTS", imports)
    return subprocess.check_output(
        [
            *("bash", "-c", f'ulimit -v {kibibytes}; exec "$@"', "-"),
            *(sys.executable, "-c", script, str(store.root), step, str(python)),
        ],
        text=True,
        timeout=60,
    )


def test_workers_without_room_for_their_imports_are_named_with_their_last_words(
    kit: Kit, tmp_path: Path
) -> None:
    """Their limit on address space lets Python start, and no more."""
    small = tmp_path / "python"
    small.write_text(f'#!/bin/sh\nulimit -v 32000; exec {sys.executable} "$@"\n')
    small.chmod(0o755)
    said = limited(kit[0], "unlimited", "toy.number(n=i)", python=small)
    assert re.fullmatch(r"a worker process ended at once \(exit status \d+\): \S.*\S \(see .*\)\n", said)
    assert re.search("MemoryError|failed to map segment|new thread", said)


def test_a_worker_that_does_not_get_ready_is_named(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "waits.py").write_text("import time\nprint('waiting', flush=True)\ntime.sleep(60)\n")
    said = limited(
        kit[0], "unlimited", "toy.number(n=i)", f"{{'modules': ['waits'], 'paths': ['{tmp_path}']}}"
    )
    assert re.fullmatch(r"worker process \d+ did not get ready within 2 s: waiting \(see .*\)\n", said)


def test_a_worker_that_is_stuck_without_address_space_is_named(kit: Kit) -> None:
    said = limited(kit[0], 500_000, "toy.holds(fills=True, depth=60 + i)")
    assert "is stuck: its limit on address space (ulimit -v) is used up" in said
    assert said.count("\n") == 1


def test_a_silent_worker_is_not_taken_for_dead(kit: Kit) -> None:
    """No thread of it gets its turn for longer than a driver waits, with a limit that leaves room and without one."""
    assert limited(kit[0], 500_000, "toy.holds(fills=False, depth=23 + i)") == "True\n"


def test_a_clock_that_is_set_back_changes_no_duration_and_empties_no_trash(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is a day before the last."""
    store, _, events = kit
    days, real = count(), time.time
    monkeypatch.setattr(time, "time", lambda: real() - next(days) * 86400)
    assert run(kit, {"it": slow(of=number(n=1), seconds=0.1)}).complete
    assert all(0 <= store.manifest(key)["duration_s"] < 10 for key in list(store.keys()))
    assert all(0 <= event["seconds"] < 10 for event in events.of("finished"))
    assert 0 < (Estimates(store).seconds(slow(seconds=0.1)) or 0) < 10
    (store.root / "tmp" / "unfinished").write_text("x")
    assert len(collect(store).objects) == 2
    collect(store)
    assert (store.root / "tmp" / "unfinished").exists(), "it may be another process's"
    assert restore(store) == (2, 0)
    assert list(store.verify()) == []
