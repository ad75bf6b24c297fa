"""Results are written once, whole, and checked when they are read."""

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.engine import toy
from tests.engine.toy import executions, number, total, value, writes
from w2s_core.engine import CorruptObjectError, Handle, Store, collect, disk, locks, run_graph
from w2s_core.errors import UserError


class Events:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def begin(self, planned: Any, workers: int) -> None:
        pass

    def event(self, event: dict[str, Any]) -> None:
        self.seen.append(event)

    def end(self, outcome: Any) -> None:
        pass

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.seen if event["event"] == kind]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


def compute(handle: Handle, store: Store, log: Path, events: Events | None = None) -> Any:
    return run_graph({"it": handle}, store, runtime={"log": str(log)}, display=events)


def test_a_result_and_its_manifest(store: Store, log: Path) -> None:
    target = total(parts=[number(n=2), number(n=3)], scale=2.0)
    outcome = compute(target, store, log)
    assert value(store.path(target.key)) == 10
    manifest = store.manifest(target.key)
    assert manifest["summary"] == {"value": 10}
    assert manifest["spec"]["inputs"] == {"parts": [number(n=2).key, number(n=3).key]}
    assert manifest["spec"]["params"] == {"scale": 2.0}
    assert manifest["spec"]["libraries"].keys() == {"pyarrow"}
    assert manifest["files"]["value.txt"]["bytes"] == 2
    assert manifest["duration_s"] >= 0
    known = Path("/proc/cpuinfo")
    assert manifest["processor"] in (known.read_text() if known.exists() else platform.machine())
    assert outcome.done == {target.key, number(n=2).key, number(n=3).key}
    assert outcome.complete
    assert list(store.verify()) == []


def test_what_exists_is_not_computed_again(store: Store, log: Path) -> None:
    target = total(parts=[number(n=2)])
    compute(target, store, log)
    outcome = compute(target, Store(store.root), log)
    assert executions(log) == ["number2", "total"]
    assert (outcome.done, outcome.cached) == (set(), {target.key, number(n=2).key})


def test_nothing_above_a_result_is_needed(store: Store, log: Path) -> None:
    middle = total(parts=[number(n=2)])
    compute(middle, store, log)
    store.refs.write("keep", {"middle": middle.key})
    (store.folder(number(n=2).key)).rename(store.root / "tmp" / "away")
    compute(total(parts=[middle], scale=2.0), store, log)
    assert executions(log) == ["number2", "total", "total"]


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "one bit": lambda folder: corrupt(folder / "value.txt"),
    "longer": lambda folder: (folder / "value.txt").write_text("7777"),
    "missing": lambda folder: (folder / "value.txt").unlink(),
    "foreign file": lambda folder: (folder / "more.txt").write_text("x"),
    "manifest torn": lambda folder: (folder / "manifest.json").write_text('{"format": 1, "ke'),
    "manifest edited": lambda folder: (folder / "manifest.json").write_text(
        (folder / "manifest.json").read_text().replace('"value": 7', '"value": 8')
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("where", ["target", "input"])
def test_damage_is_quarantined_and_made_anew(store: Store, log: Path, damage: Any, where: str) -> None:
    first, target = number(n=7), total(parts=[number(n=7)])
    compute(target, store, log)
    damaged = target if where == "target" else first
    damage(store.folder(damaged.key))
    fresh = Store(store.root)
    assert [problem.name for problem in fresh.verify()] == [damaged.key]
    events = Events()
    wanted = target if where == "target" else total(parts=[first], seed=1)
    outcome = compute(wanted, fresh, log, events)
    assert outcome.complete
    assert value(fresh.path(wanted.key)) == 7
    assert [event["key"] for event in events.of("corrupt")] == [damaged.key]
    kept = list((store.root / "quarantine").iterdir())
    assert [path.name.split(".")[0] for path in kept] == [damaged.key]
    assert executions(log).count("total" if where == "target" else "number7") == 2
    assert list(fresh.verify()) == []


def test_a_reader_learns_of_damage(store: Store, log: Path) -> None:
    compute(number(n=7), store, log)
    corrupt(store.folder(number(n=7).key) / "value.txt")
    with pytest.raises(
        CorruptObjectError, match=r"is damaged \(value.txt has other bytes than were written\); it was"
    ):
        Store(store.root).path(number(n=7).key)
    assert not store.has(number(n=7).key)
    with pytest.raises(KeyError):
        store.path(number(n=7).key)


def test_a_remade_result_is_checked_again(store: Store, log: Path) -> None:
    compute(number(n=7), store, log)
    reader = Store(store.root)
    reader.path(number(n=7).key)
    reader.quarantine(number(n=7).key)
    compute(number(n=7), store, log)
    corrupt(store.folder(number(n=7).key) / "value.txt")
    with pytest.raises(CorruptObjectError):
        reader.path(number(n=7).key)


def test_what_another_process_made_anew_is_not_quarantined(store: Store, log: Path, monkeypatch: Any) -> None:
    """A reader finds damage; before it gets the lock, another has moved the damage away and made the result anew."""
    key = number(n=7).key
    compute(number(n=7), store, log)
    corrupt(store.folder(key) / "value.txt")
    check = Store.check

    def slow_check(reader: Store, asked: str) -> str | None:
        found = check(reader, asked)
        other = Store(store.root)
        if found:
            other.quarantine(key)
            monkeypatch.undo()
            compute(number(n=7), other, log)
        return found

    monkeypatch.setattr(Store, "check", slow_check)
    with pytest.raises(CorruptObjectError, match=r"than were written\); the command of its run"):
        Store(store.root).path(key)
    assert value(Store(store.root).path(key)) == 7
    assert len(list((store.root / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("name", ["model.bin", "a/optimizer.pt", "x.PKL", "y.pickle", "z.npy", "w.ckpt"])
def test_files_that_are_unpickled_are_refused(store: Store, log: Path, name: str) -> None:
    outcome = compute(writes(name=name), store, log)
    assert not store.has(writes(name=name).key)
    assert "read by unpickling" in outcome.failed[writes(name=name).key]
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["README.md", "deep/er/model.safetensors", "tokenizer.model", "a.jsonl"])
def test_other_files_are_kept(store: Store, log: Path, name: str) -> None:
    assert compute(writes(name=name), store, log).complete
    assert (store.path(writes(name=name).key) / name).read_text() == "x"


def test_a_step_cannot_write_the_manifest(store: Store, log: Path) -> None:
    outcome = compute(writes(name="manifest.json"), store, log)
    assert "store's own" in outcome.failed[writes(name="manifest.json").key]


def test_links_are_refused(store: Store, tmp_path: Path) -> None:
    out = store.begin(number(n=1).key)
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="link, which is not a plain file"):
        store.commit(number(n=1), out, {}, 0.0, 0.0)


@pytest.mark.parametrize(("kind", "said"), [("nan", "loss is nan"), ("path", "where is of type PosixPath")])
def test_a_summary_must_be_json(store: Store, log: Path, kind: str, said: str) -> None:
    outcome = compute(toy.summarises(kind=kind), store, log)
    assert said in {**outcome.failed, **outcome.stopped}[toy.summarises(kind=kind).key]


def test_refs(store: Store) -> None:
    store.refs.write("mini/paper", {"targets": {"a": "0" * 64}})
    store.refs.write("mini/other", {"it": "1" * 64})
    assert store.refs.read("mini/paper") == {"targets": {"a": "0" * 64}}
    assert list(store.refs.names()) == ["mini/other", "mini/paper"]
    assert list(store.refs.names("mini/p")) == ["mini/paper"]
    store.refs.write("mini/other", {"it": "2" * 64})
    assert store.refs.read("mini/other") == {"it": "2" * 64}
    with pytest.raises(
        UserError, match="nothing is named 'mini/papr' in the store; did you mean 'mini/paper'"
    ):
        store.refs.read("mini/papr")
    store.refs.delete("mini/other")
    assert list(store.refs.names()) == ["mini/paper"]
    (store.root / "refs" / "mini" / "paper.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        store.refs.read("mini/paper")
    assert [problem.name for problem in store.verify()] == ["refs/mini/paper.json"]


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "/x", "a//b", "a/../b", ".hidden", "a\nb", "a b", "x" * 201]
)
def test_names_that_are_no_names(store: Store, name: str) -> None:
    with pytest.raises(UserError, match="cannot name a run"):
        store.refs.write(name, {})


def test_folders_that_are_no_stores(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        Store(tmp_path / "file")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("")
    with pytest.raises(UserError, match="folder of other files"):
        Store(tmp_path / "home")
    old = Store(tmp_path / "old").root / "STORE.json"
    old.write_text(json.dumps({"format": 99}))
    with pytest.raises(UserError, match="has format 99; this version reads format 1"):
        Store(tmp_path / "old")


def test_an_interrupted_beginning_of_a_store_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "store" / "objects").mkdir(parents=True)
    assert Store(tmp_path / "store").root.joinpath("STORE.json").exists()


def test_find_by_the_beginning_of_a_key(store: Store, log: Path) -> None:
    compute(number(n=1), store, log)
    assert store.find(number(n=1).key[:8]) == number(n=1).key
    with pytest.raises(UserError, match="0 results have a key that starts with"):
        store.find("0" * 20)


# gc


def test_gc_keeps_what_refs_reach_and_no_more(store: Store, log: Path) -> None:
    kept, loose = total(parts=[number(n=1), number(n=2)]), total(parts=[number(n=2), number(n=3)])
    compute(kept, store, log)
    compute(loose, store, log)
    store.refs.write("run", {"deep": [{"down": kept.key}]})
    before = set(store.keys())
    assert collect(store, dry_run=True).counts()["objects"] == 2
    assert set(store.keys()) == before
    freed = collect(store).counts()
    assert set(store.keys()) == before - {loose.key, number(n=3).key}
    assert freed["objects"] == 2
    assert freed["bytes"] > 0
    assert collect(store).counts() == {"objects": 0, "leftovers": 0, "bytes": 0}
    assert list(store.verify()) == []


def test_gc_keeps_what_an_unfinished_run_will_need(store: Store, log: Path) -> None:
    broken = toy.broken(of=total(parts=[number(n=1)]))
    store.refs.write("run", {"targets": {"it": broken.key}})
    compute(broken, store, log)
    assert collect(store).counts()["objects"] == 0
    assert store.has(total(parts=[number(n=1)]).key)
    store.refs.delete("run")
    collect(store)
    assert list(store.keys()) == []
    assert list((store.root / "graphs").iterdir()) == []


def test_gc_removes_what_dead_processes_left(store: Store, log: Path) -> None:
    compute(number(n=1), store, log)
    store.refs.write("run", {"it": number(n=1).key})
    dead = number(n=2).key
    for path in (
        f"tmp/{dead}.aa/half.txt",
        f"work/{dead}/scratch/x.txt",
        "sessions/1.aa/graph",
        f"locks/{dead}.lock",
    ):
        (store.root / path).parent.mkdir(parents=True, exist_ok=True)
        (store.root / path).write_text("x")
    (store.root / "tmp" / "young.json.ab").write_text("a ref in the making")
    old = store.root / "tmp" / "old.json.ab"
    old.write_text("")
    os.utime(old, (0, 0))
    collect(store)
    assert [path.name for path in (store.root / "tmp").iterdir()] == ["young.json.ab"]
    for name in ("work", "sessions", "locks"):
        assert list((store.root / name).iterdir()) == []


def test_gc_keeps_the_inputs_of_a_step_that_is_locked(store: Store, log: Path) -> None:
    broken = toy.broken(of=number(n=1))
    compute(broken, store, log)
    with locks.wait_lock(store.lock_path(broken.key)):
        assert collect(store).counts()["objects"] == 0
    assert collect(store).counts()["objects"] == 1


def test_gc_refuses_to_guess(store: Store) -> None:
    store.refs.write("run", {})
    (store.root / "refs" / "run.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        collect(store)


def test_what_is_set_aside_within_a_second_has_names_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "fsync", lambda _: None)
    monkeypatch.setattr(disk, "time_name", lambda: "20260131T235959")
    (tmp_path / "aside").mkdir()
    for _ in range(2_000):
        (tmp_path / "file").touch()
        disk.set_aside(tmp_path / "file", tmp_path / "aside")
    assert len(list((tmp_path / "aside").iterdir())) == 2_000
