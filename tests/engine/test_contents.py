"""Equal work is done once, whatever its keys: steps of equal contents are linked, and results extend each other."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.engine.harness import Fault, die, in_child
from tests.engine.test_ray_task import Node
from tests.engine.test_store import Events, corrupt
from tests.engine.toy import draws, executions, floats, number, slow, total, value
from w2s_core.engine import Handle, Store, collect, explain, forecast, locks, plan, restore, run_graph
from w2s_core.engine.contents import content_of, names_of, worth_s

THREE, ALSO_THREE = number(n=3), number(n=2, plus=1)
FIRST, TWIN = total(parts=[THREE], scale=4.0), total(parts=[ALSO_THREE], scale=4.0)


def run(store: Store, *targets: Handle, workers: int = 1, **runtime: Any) -> Events:
    events = Events()
    named = {str(place): target for place, target in enumerate(targets)}
    runtime = {"log": str(store.root.parent / "log.txt"), "device": "cpu", **runtime}
    outcome = run_graph(named, store, workers=workers, runtime=runtime, display=events)
    assert outcome.complete, outcome
    return events


def log(store: Store) -> list[str]:
    return executions(store.root.parent / "log.txt")


def inode(store: Store, key: str) -> int:
    return (store.folder(key) / "value.txt").stat().st_ino


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store, key: str) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in store.folder(key).iterdir() if path.name != "manifest.json"
    }


def test_a_step_of_equal_contents_is_linked_with_a_manifest_of_its_own(store: Store, tmp_path: Path) -> None:
    run(store, FIRST)
    (event,) = [event for event in run(store, TWIN).of("finished") if event["key"] == TWIN.key]
    assert log(store) == ["number3", "total", "number2"]
    assert event["same_as"] == FIRST.key
    first, twin = (store.manifest(handle.key) for handle in (FIRST, TWIN))
    assert twin["spec"]["inputs"] == {"parts": [ALSO_THREE.key]}
    assert (twin["files"], twin["summary"]) == (first["files"], first["summary"])
    assert twin["reused"]["same_content_as"] == FIRST.key
    assert worth_s(twin) >= first["duration_s"]
    assert inode(store, FIRST.key) == inode(store, TWIN.key)
    straight = Store(tmp_path / "straight")
    run(straight, TWIN)
    assert files(straight, TWIN.key) == files(store, TWIN.key)
    assert list(store.verify()) == []
    said = str(explain(TWIN, store))
    assert f"same content as {FIRST.key[:12]}, computed {first['started']}" in said


def test_a_third_twin_names_the_result_that_was_computed(store: Store) -> None:
    third = total(parts=[number(n=1, plus=2)], scale=4.0)
    run(store, FIRST)
    run(store, TWIN)
    run(store, third)
    assert store.manifest(third.key)["reused"]["same_content_as"] == FIRST.key
    assert log(store).count("total") == 1


def test_another_parameter_or_another_content_is_no_twin(store: Store) -> None:
    run(store, FIRST)
    run(store, total(parts=[ALSO_THREE], scale=5.0), total(parts=[number(n=4)], scale=4.0))
    assert log(store).count("total") == 3


def test_a_twin_is_whole_by_itself_after_gc_took_the_other(store: Store) -> None:
    run(store, FIRST)
    run(store, TWIN)
    store.refs.write("keep", {"it": TWIN.key})
    collect(store)
    collect(store, empty_trash=True)
    assert not store.has(FIRST.key)
    assert list(store.verify()) == []
    assert value(store.path(TWIN.key)) == 12
    run(store, total(parts=[number(n=0, plus=3)], scale=4.0))
    assert log(store).count("total") == 1, "the twin that is left is found"


def test_gc_forgets_names_only_when_their_results_are_gone_for_good(store: Store) -> None:
    run(store, FIRST)
    names = set(store.contents.paths())
    collect(store)
    assert set(store.contents.paths()) == names
    restore(store)
    assert store.has(FIRST.key)
    collect(store)
    collect(store, empty_trash=True)
    assert set(store.contents.paths()) == set()


@pytest.mark.parametrize("damage", ["byte", "gone", "folder", "link", "manifest"])
def test_a_damaged_twin_is_set_aside_and_the_step_computed(store: Store, damage: str) -> None:
    run(store, FIRST)
    file = store.folder(FIRST.key) / ("manifest.json" if damage == "manifest" else "value.txt")
    if damage in ("byte", "manifest"):
        corrupt(file)
    else:
        file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "link":
        file.symlink_to("/etc/hostname")
    events = run(Store(store.root), TWIN)
    assert [event["key"] for event in events.of("corrupt")] == [FIRST.key]
    assert log(store).count("total") == 2
    assert value(store.path(TWIN.key)) == 12
    assert not store.has(FIRST.key)
    assert len(list((store.root / "quarantine").iterdir())) == 1
    assert list(store.verify()) == []


def test_damage_after_the_twin_was_checked_in_this_process_is_found_too(store: Store) -> None:
    run(store, FIRST)
    store.path(FIRST.key)
    corrupt(store.folder(FIRST.key) / "value.txt")
    run(store, TWIN)
    assert value(store.path(TWIN.key)) == 12


@pytest.mark.parametrize("damage", ["text", "folder", "pipe", "shard", "gone", "foreign"])
def test_names_are_never_the_truth(store: Store, damage: str) -> None:
    run(store, FIRST)
    path = store.root / "contents" / (name := store.manifest(FIRST.key)["contents"]["name"])[:2] / name
    text = path.read_text()
    path.unlink()
    if damage == "text":
        path.write_bytes(b'\xff{"torn\n"' + b"0" * 64)
    elif damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "shard":
        path.parent.rmdir()
        path.parent.write_text("")
    elif damage == "foreign":
        path.write_text(f'"{THREE.key}"\n"{"0" * 64}"\n')
    run(store, TWIN)
    assert value(store.path(TWIN.key)) == 12
    assert log(store).count("total") == 2
    if damage in ("text", "gone", "foreign"):
        path.write_text("")
        assert list(store.verify()) == []
        assert text.strip() in path.read_text(), "verify finds the names in the manifests"


def test_where_the_file_system_has_no_links_files_are_copied(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    run(store, FIRST)
    monkeypatch.setattr(os, "link", refuse)
    run(store, TWIN)
    assert log(store).count("total") == 1
    assert inode(store, FIRST.key) != inode(store, TWIN.key)
    assert list(store.verify()) == []


@pytest.mark.parametrize("of_gpu", [True, False])
def test_machines_round_otherwise_so_what_they_trained_is_no_twin(
    store: Store, of_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of steps that compute in floating point alone: a filter's result is the same everywhere."""

    def step(of: Handle) -> Handle:
        return floats(of=of) if of_gpu else total(parts=[of], scale=4.0)

    run(store, step(THREE))
    monkeypatch.setattr("w2s_core.engine.contents.machine_name", lambda device: f"another {device}")
    run(store, step(ALSO_THREE))
    run(store, step(number(n=1, plus=2)))
    assert len([name for name in log(store) if name in ("floats", "total")]) == 1 + of_gpu


def test_a_cpu_and_a_gpu_and_two_kinds_of_gpu_are_different_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from w2s_core.engine import processor

    def names(*models: str) -> set[str]:
        shutil.rmtree(tmp_path, ignore_errors=True)
        for place, model in enumerate(models):
            (tmp_path / str(place)).mkdir(parents=True)
            (tmp_path / str(place) / "information").write_text(f"Model: \t\t {model}\nIRQ: 7\n")
        processor._gpu_names.cache_clear()
        return {processor.machine_name(device) for device in ("cpu", "cuda")}

    monkeypatch.setattr(processor, "GPUS", tmp_path)
    cpu = processor.processor_name()
    assert names("NVIDIA H200", "NVIDIA H200") == {cpu, f"{cpu} + NVIDIA H200"}
    assert names("NVIDIA A100") == {cpu, f"{cpu} + NVIDIA A100"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    mixed = names("NVIDIA A100", "NVIDIA H200")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert mixed & names("NVIDIA A100", "NVIDIA H200") == {cpu}
    processor._gpu_names.cache_clear()


def test_another_version_of_a_library_is_another_content(monkeypatch: pytest.MonkeyPatch) -> None:
    def name() -> str:
        return names_of(FIRST, lambda key: "content", {}).content

    before = name()
    assert before == names_of(TWIN, lambda key: "content", {}).content
    monkeypatch.setitem(FIRST.definition.__dict__, "code_fingerprint", "of another version of pyarrow")
    assert name() != before


def twins_of_slow(amount: int) -> list[Handle]:
    return [slow(of=number(n=3 - i, plus=i), seconds=0.6) for i in range(amount)]


def test_workers_never_compute_twins_side_by_side(store: Store) -> None:
    twins = twins_of_slow(4)
    run(store, *twins, *[slow(name=f"other{i}") for i in range(2)], workers=3)
    assert sorted(log(store)) == ["number0", "number1", "number2", "number3", "other0", "other1", "slow"]
    assert len({inode(store, twin.key) for twin in twins}) == 1
    assert list(store.verify()) == []


def test_a_ray_task_whose_twin_is_being_computed_says_held_and_links_it_afterwards(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for handle in (THREE, ALSO_THREE, FIRST):
        assert node.run(handle)["event"] == "finished"
    manifest = node.store.manifest(THREE.key)
    names = names_of(TWIN, lambda key: content_of(manifest), {})
    with locks.wait_lock(node.store.work_lock(names.work)):
        assert node.run(TWIN)["lock"] == str(node.store.work_lock(names.work))
    assert node.run(TWIN)["same_as"] == FIRST.key
    assert executions(node.log).count("total") == 1


def killed_at_every_touch(
    tmp_path: Path, before: list[Handle], target: Handle, check: Callable[[Store], None]
) -> int:
    """Kill a run at each touch of a file; afterwards the same command finishes, and `check` holds."""
    prepared = Store(tmp_path / "prepared" / "store")
    run(prepared, *before, *target.parents())
    for n in count(1):
        folder = tmp_path / str(n)
        shutil.copytree(prepared.root.parent, folder)
        root = folder / "store"

        def work(root: Path = root, n: int = n) -> None:
            fresh = Store(root)
            Fault(root, n, die).arm()
            run(fresh, target)

        code = in_child(work)
        store = Store(root)
        assert list(store.verify()) == []
        run(store, target)
        check(store)
        assert list(store.verify()) == []
        shutil.rmtree(folder)
        if code == 0:
            return n
        assert code == -signal.SIGKILL
    raise AssertionError


def test_killed_between_the_lookup_and_the_link(tmp_path: Path) -> None:
    def check(store: Store) -> None:
        assert value(store.path(TWIN.key)) == 12
        assert log(store).count("total") == 1

    assert killed_at_every_touch(tmp_path, [FIRST], TWIN, check) > 30


@pytest.mark.slow
def test_killed_while_a_result_is_extended(tmp_path: Path) -> None:
    def check(store: Store) -> None:
        assert (store.path(five.key) / "value.txt").read_text() == "0 3 6 9 12"
        assert not {"draw0", "draw1"} & set(log(store)[4:])

    two, five = (draws(of=THREE, n=n) for n in (2, 5))
    assert killed_at_every_touch(tmp_path, [two], five, check) > 30


# Extending


def test_only_what_no_result_of_the_stream_holds_is_computed(store: Store, tmp_path: Path) -> None:
    run(store, draws(of=THREE, n=2))
    run(store, draws(of=ALSO_THREE, n=5))
    run(store, draws(of=THREE, n=3))
    assert [name for name in log(store) if "draw" in name] == [f"draw{i}" for i in range(5)]
    straight = Store(tmp_path / "straight" / "store")
    run(straight, draws(of=ALSO_THREE, n=5))
    assert files(straight, draws(of=ALSO_THREE, n=5).key) == files(store, draws(of=ALSO_THREE, n=5).key)
    reused = store.manifest(draws(of=ALSO_THREE, n=5).key)["reused"]
    assert reused["extends"] == {draws(of=THREE, n=2).key: "from 2 to 5"}
    said = str(explain(draws(of=ALSO_THREE, n=5), store))
    assert f"extends {draws(of=THREE, n=2).key[:12]} from 2 to 5" in said


def test_what_decides_a_draw_is_never_taken_from_another_stream(store: Store) -> None:
    run(store, draws(of=THREE, n=2))
    run(store, draws(of=number(n=4), n=2), draws(of=THREE, n=2, seconds=0.001))
    assert [name for name in log(store) if "draw" in name] == ["draw0", "draw1"] * 3


def test_a_damaged_result_is_not_extended(store: Store) -> None:
    run(store, draws(of=THREE, n=2))
    corrupt(store.folder(draws(of=THREE, n=2).key) / "value.txt")
    events = run(Store(store.root), draws(of=THREE, n=3))
    assert [event["key"] for event in events.of("corrupt")] == [draws(of=THREE, n=2).key]
    assert (store.path(draws(of=THREE, n=3).key) / "value.txt").read_text() == "0 3 6"


def test_a_result_without_its_inputs_is_not_extended(store: Store) -> None:
    """What it holds cannot be understood without them."""
    plus = number(n=9)
    run(store, draws(of=THREE, n=2, plus=plus))
    shutil.rmtree(store.folder(plus.key))
    run(store, draws(of=THREE, n=3))
    assert [name for name in log(store) if "draw" in name] == ["draw0", "draw1"] + [
        f"draw{i}" for i in range(3)
    ]


def test_workers_draw_nothing_twice(store: Store) -> None:
    run(store, *[draws(of=THREE, n=n, seconds=0.1) for n in (2, 4, 6)], workers=3)
    assert sorted(name for name in log(store) if "draw" in name) == [f"draw{i}" for i in range(6)]


# What a plan says


def test_a_plan_knows_twins_and_what_is_extended(store: Store) -> None:
    run(store, FIRST, draws(of=THREE, n=2), ALSO_THREE)
    above = total(parts=[TWIN], seed=1)
    targets = [above, total(parts=[FIRST], seed=1), draws(of=ALSO_THREE, n=4), total(parts=[number(n=7)])]
    planned = plan(targets, store)
    ahead = forecast(planned, store, "cpu")
    assert ahead.twins == {TWIN.key: FIRST.key, targets[1].key: above.key}
    assert ahead.extended == {draws(of=ALSO_THREE, n=4).key}
    assert ahead.missing == 6
    assert "of the 6 steps to compute, 2 are likely of the same content as others and 1 extend" in str(ahead)
    before = len(log(store))
    run(store, *targets)
    assert (
        log(store)[before:] == ["number7", "total", "total", "draw2", "draw3"]
        or len(log(store)) - before == 5
    )


def test_a_plan_of_an_empty_store_knows_what_its_own_steps_extend(store: Store) -> None:
    planned = plan([draws(of=THREE, n=n) for n in (2, 4, 6)], store)
    assert len(forecast(planned, store, "cpu").extended) == 2
    assert str(forecast(plan([FIRST], store), store, "cpu")) == ""
