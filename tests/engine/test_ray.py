"""Steps as Ray tasks: the same bytes, each key once, whatever is killed. Each test starts a cluster of its own."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.engine import toy
from tests.engine.test_crashes import alive, wait_for
from tests.engine.test_scheduler import Kit, diamond
from tests.engine.test_store import Events
from tests.engine.toy import executions, number, resuming, slow, total, trains, value
from w2s_core.engine import Handle, Outcome, Store, collect, locks, run_graph
from w2s_core.errors import UserError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'w2s[ray]'"
    ),
]
SOON_S = 30.0


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Store(tmp_path / "store"), tmp_path / "log.txt", Events()


def run(kit: Kit, targets: dict[str, Handle], workers: int = 2, **options: Any) -> Outcome:
    store, log, events = kit
    runtime = {"log": str(log)}
    options = {"runtime": runtime, "display": events, "executor": "ray", "workers": workers} | options
    return run_graph(targets, store, **options)


def pids(log: Path) -> dict[str, int]:
    """The last process of each step by name."""
    return {line.split()[0]: int(line.split()[1]) for line in log.read_text().splitlines()}


def test_one_worker_four_workers_and_ray_give_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for name, options in {"1": {"workers": 1}, "4": {"workers": 4}, "ray": {"executor": "ray"}}.items():
        store = Store(tmp_path / name)
        assert run_graph(diamond(), store, **options).complete  # type: ignore[arg-type]
        assert list(store.verify()) == []
        files.append({key: store.manifest(key)["files"] for key in sorted(store.keys())})
    assert len(files[0]) == 12
    assert files[0] == files[1] == files[2]


def test_each_key_once_and_a_branch_that_ends_leaves_the_others(kit: Kit, tmp_path: Path) -> None:
    """The outcome is what it is inline, and a second run computes nothing."""
    store, log, events = kit
    source = number(n=1)
    ended = {"failed": toy.broken(of=source), "stopped": toy.empty(of=source), "misused": toy.misused()}
    below = {f"below {name}": total(parts=[one]) for name, one in ended.items()}
    targets = {**diamond(), **ended, **below, "slow": slow(seconds=1.5)}
    outcome = run(kit, targets)
    inline = run_graph(targets, Store(tmp_path / "inline"))
    assert outcome.done == inline.done == set(store.keys())
    assert outcome.stopped.keys() == inline.stopped.keys()
    assert outcome.failed.keys() == inline.failed.keys() == {ended["failed"].key}
    assert f"(traceback in {store.log_path(ended['failed'].key)})" in outcome.failed[ended["failed"].key]
    assert len(executions(log)) == len(set(store.keys()))
    for key in outcome.done:
        told = [event["event"] for event in events.seen if event.get("key") == key]
        assert (told[0], told[-1]) == ("started", "finished")
    assert any(event["unit"] == "naps" for event in events.of("progress"))
    again = run(kit, diamond())
    assert (again.done, again.complete) == (set(), True)


@pytest.mark.parametrize(
    ("blow", "manner"),
    [(signal.SIGKILL, "killed or crashed"), (signal.SIGTERM, "its node was stopped")],
)
def test_a_killed_worker_costs_its_step_only(kit: Kit, blow: int, manner: str) -> None:
    """A blow from outside in the middle of a step; and a step that dies by itself and goes on from its checkpoint."""
    store, log, events = kit
    victim = slow(seconds=3.0, name="victim")

    def kill() -> None:
        wait_for(lambda: "victim" in executions(log), timeout_s=SOON_S)
        os.kill(pids(log)["victim"], blow)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = run(kit, {"a": total(parts=[victim]), "b": slow(of=resuming(), seconds=0.1), **diamond()})
    killer.join()
    assert outcome.complete
    assert value(store.path(resuming().key)) == 42
    counts = {name: executions(log).count(name) for name in set(executions(log))}
    assert (counts["victim"], counts["resuming"], counts["slow"], counts["number3"]) == (2, 2, 1, 1)
    deaths = events.of("worker died")
    assert {event["key"]: event["manner"] for event in deaths} == {
        victim.key: manner,
        resuming().key: "killed or crashed",
    }
    assert all(event["pid"] for event in deaths)


def test_a_step_that_kills_its_workers_fails_in_the_end(kit: Kit) -> None:
    _, _, events = kit
    outcome = run(kit, {"a": toy.deadly(), "b": number(n=1)})
    assert outcome.done == {number(n=1).key}
    assert outcome.failed == {toy.deadly().key: "its process died 3 times (killed or crashed)"}
    assert len(events.of("worker died")) == 3


DRIVER = """
import sys
from tests.engine.toy import slow
from w2s_core.engine import Store, make_display, run_graph
first = slow(seconds=0.1, name="first")
seconds = float(sys.argv[3])
naps = 10 if seconds < 60 else 1500  # an interrupt is seen between two naps
targets = {str(i): slow(of=first, seconds=seconds, name=f"long{i}", naps=naps) for i in range(2)}
outcome = run_graph(targets, Store(sys.argv[1]), executor="ray", workers=2, address=(sys.argv[4:] or [None])[0],
                    runtime={"log": sys.argv[2]}, display=make_display())
print(outcome.interrupted, outcome.complete, len(outcome.done))
"""


def driver(kit: Kit, seconds: float, *address: str) -> "subprocess.Popen[str]":
    store, log, _ = kit
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(store.root), str(log), str(seconds), *address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def both_run(log: Path) -> bool:
    return {"long0", "long1"} <= set(executions(log))


def assert_goes_on(kit: Kit, seconds: float) -> None:
    """The same graph, inline: the dead driver's tasks end by themselves, and what was finished stays."""
    store, log, _ = kit
    orphans = [pid for name, pid in pids(log).items() if name.startswith("long")]
    wait_for(lambda: not any(alive(pid) for pid in orphans), timeout_s=SOON_S)
    held = (store.root / "locks").glob
    wait_for(lambda: not any(locks.is_held(path) for path in held("*.lock")), timeout_s=SOON_S)
    log.write_text("")
    first = slow(seconds=0.1, name="first")
    targets = {str(i): slow(of=first, seconds=seconds, name=f"long{i}") for i in range(2)}
    outcome = run(kit, targets, executor="local")
    assert outcome.complete
    assert sorted(executions(log)) == ["long0", "long1"]
    collect(store)
    assert not any(list((store.root / name).iterdir()) for name in ("tmp", "locks", "sessions", "work"))


def test_a_killed_driver_leaves_no_task_behind(kit: Kit) -> None:
    process = driver(kit, 5.0)
    wait_for(lambda: both_run(kit[1]), timeout_s=SOON_S)
    process.kill()
    process.wait()
    assert_goes_on(kit, 5.0)


@pytest.mark.parametrize("number_of_signal", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_by_a_signal(kit: Kit, number_of_signal: int) -> None:
    store, log, _ = kit
    process = driver(
        kit, 300.0
    )  # far longer than a busy machine takes to end a driver that does not wait for it
    wait_for(lambda: both_run(log), timeout_s=SOON_S)
    process.send_signal(number_of_signal)
    out, said = process.communicate(timeout=100)
    assert out.split() == ["True", "False", "1"]
    assert "interrupted; the same command goes on where it stopped" in said.splitlines()
    assert "Traceback" not in said
    assert list((store.root / "tmp").iterdir()) == []
    assert list((store.root / "sessions").iterdir()) == []
    assert not any(alive(pid) for pid in pids(log).values())


def test_a_command_with_ray_and_one_without_share_a_store(kit: Kit) -> None:
    store, log, _ = kit
    targets = {str(i): slow(seconds=0.4, name=f"shared{i}") for i in range(12)}
    outcomes = {}

    def inline() -> None:
        wait_for(lambda: bool(executions(log)), timeout_s=SOON_S)
        outcomes["inline"] = run_graph(targets, Store(store.root), runtime={"log": str(log)})

    other = threading.Thread(target=inline)
    other.start()
    outcomes["ray"] = run(kit, targets)
    other.join()
    assert all(outcome.complete for outcome in outcomes.values())
    assert sorted(executions(log)) == sorted(f"shared{i}" for i in range(12))
    assert len(set(pids(log).values())) > 1, "both should have had a part in it"
    assert os.getpid() in pids(log).values()


@contextmanager
def cluster(*cpus: int) -> Iterator[Any]:
    """A cluster of several nodes on this machine; its first node, where drivers live, computes nothing."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        made.workers = [made.add_node(num_cpus=count) for count in cpus]
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def test_a_node_that_is_lost_costs_its_steps_only(kit: Kit) -> None:
    """Two nodes with a step each; one is removed, and its step is computed by the other."""
    store, log, _ = kit
    with cluster(1, 1) as nodes:
        process = driver(kit, 4.0, nodes.address)
        wait_for(lambda: both_run(log), timeout_s=SOON_S)
        before = pids(log)
        nodes.remove_node(nodes.workers[0], allow_graceful=False)
        out, said = process.communicate(timeout=2 * SOON_S)
        assert out.split() == ["False", "True", "3"], said
    counts = [executions(log).count(name) for name in ("first", "long0", "long1")]
    assert sorted(counts) == [1, 1, 2]
    assert counts[0] == 1
    [lost] = [name for name in ("long0", "long1") if executions(log).count(name) == 2]
    assert "died" in said
    assert f"{before[lost]} died" in said
    assert list(store.verify()) == []


def test_a_driver_killed_on_a_cluster_that_lives_on(kit: Kit) -> None:
    with cluster(2) as nodes:
        process = driver(kit, 5.0, nodes.address)
        wait_for(lambda: both_run(kit[1]), timeout_s=SOON_S)
        process.kill()
        process.wait()
        assert_goes_on(kit, 5.0)


def test_steps_get_the_gpu_that_they_declare(kit: Kit, tmp_path: Path) -> None:
    """A cluster that says it has one GPU: steps that use it take turns, the others run beside them."""
    import ray

    spans = tmp_path / "spans.txt"
    targets: dict[str, Handle] = {f"gpu{i}": trains(n=i) for i in range(3)}
    targets |= {f"cpu{i}": slow(seconds=0.6, name=f"cpu{i}") for i in range(2)}
    ray.init("local", num_cpus=3, num_gpus=1, include_dashboard=False, log_to_driver=False)
    try:
        for device in ("cuda", "auto"):
            spans.unlink(missing_ok=True)
            store = Store(tmp_path / device)
            runtime = {"spans": str(spans), "device": device}
            events = Events()
            assert run_graph(targets, store, executor="ray", runtime=runtime, display=events).complete
            told = [line.split() for line in spans.read_text().splitlines()]
            assert {visible for visible, _, _ in told} == {"0"}
            times = sorted((float(start), float(end)) for _, start, end in told)
            assert all(end <= start for (_, end), (start, _) in pairwise(times))
            told_of = [(event["event"], event.get("key")) for event in events.seen]
            last = max(told_of.index(("finished", trains(n=i).key)) for i in range(3))
            assert all(told_of.index(("started", targets[f"cpu{i}"].key)) < last for i in range(2))
        assert ray.is_initialized(), "who joined a cluster leaves it"
    finally:
        ray.shutdown()


def test_what_no_node_can_have_is_refused(kit: Kit) -> None:
    with pytest.raises(UserError, match="no node of the Ray cluster has the 2 CPU that broad needs"):
        run(kit, {"it": toy.broad(n=1)}, workers=1)
    with pytest.raises(UserError, match="has the 1 CPU and 1 GPU that trains needs; see --device"):
        run(kit, {"it": trains(n=1), "fine": number(n=1)}, workers=1, runtime={"device": "cuda"})
    assert run(kit, {"it": trains(n=1, seconds=0.1)}, workers=1, runtime={"device": "cpu"}).complete


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("auto", "cannot join the Ray cluster 'auto': Could not find any running Ray instance"),
        ("127.0.0.1:1", "cannot reach a Ray cluster at 127.0.0.1:1"),
        ("nonsense", "cannot join the Ray cluster 'nonsense'"),
        ("ray://127.0.0.1:10001", "start the command on a node of the cluster"),
    ],
)
def test_a_wrong_address_is_one_line(kit: Kit, address: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        run(kit, {"it": number(n=1)}, address=address)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_started_when_nothing_is_missing(kit: Kit) -> None:
    with suppress(FileNotFoundError):
        run(kit, {"it": number(n=1)}, executor="local", workers=1)
    assert run(kit, {"it": number(n=1)}, address="127.0.0.1:1").complete


def test_a_head_that_is_gone_ends_the_run_in_a_line(kit: Kit) -> None:
    """Its cluster is killed in the middle of the steps: what is finished stays, and the same command goes on."""
    store, log, _ = kit
    with cluster(2) as nodes:
        process = driver(kit, 60.0, nodes.address)
        wait_for(lambda: both_run(log), timeout_s=4 * SOON_S)  # Ray starts processes that read all modules
        for node in (nodes.head_node, *nodes.workers):
            node.kill_all_processes(check_alive=False, allow_graceful=False)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1, said[-2000:]
    lines = said.strip().splitlines()
    assert "the Ray cluster ended" in lines[-1], said[-2000:]
    assert "the same command goes on" in lines[-1]
    assert "".join(lines).count("Traceback") == 1, "of the script, which has no command line around it"
    assert list(store.verify()) == []
    assert_goes_on(kit, 1.0)
