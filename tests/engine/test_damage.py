"""A store damaged between commands, in one place: told in one line, set aside, computed again; the rest works.

The places are all files and folders of a store; the states, what a crash of the disk, a sync tool, a file browser or a
person can leave there.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engine.test_scheduler import diamond
from tests.engine.test_store import Events
from tests.engine.toy import executions, number, value
from w2s_core.engine import Outcome, Store, collect, gc, locks, plan, restore, run_graph
from w2s_core.engine.session import Session, is_live
from w2s_core.errors import UserError

Damage = Callable[[Path], object]
TARGETS = diamond()
TARGET = TARGETS["all"].key
WHOLE = {handle.key for handle in TARGETS.values()}


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def nest(folder: Path, depth: int) -> None:
    """Folders in folders, deeper than any path can name in the end: made from within."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def replaced(by: Damage) -> Damage:
    def damage(path: Path) -> None:
        remove(path)
        by(path)

    return damage


def as_text(text: str) -> Damage:
    return replaced(lambda path: path.write_text(text))


IN_ITS_PLACE: dict[str, Damage] = {
    "missing": remove,
    "a folder": replaced(Path.mkdir),
    "a full folder": replaced(lambda path: (path.mkdir(), (path / "x").write_text("x"))),
    "a link to nothing": replaced(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced(lambda path: path.symlink_to(path.name)),
    "a pipe": replaced(os.mkfifo),
    "an empty file": replaced(Path.touch),
    "a text": as_text("x"),
}
OF_JSON: dict[str, Damage] = IN_ITS_PLACE | {
    "cut off": lambda path: path.write_text(path.read_text()[:-20]),
    "null": as_text("null"),
    "a list": as_text("[]"),
    "an empty object": as_text("{}"),
    "deep brackets": as_text("[" * 100_000),
    "no text": replaced(lambda path: path.write_bytes(b"\xff\xfe\x00")),
}


def cases(place: str, states: dict[str, Damage]) -> list[object]:
    return [
        pytest.param(place, damage, id=f"{place.split('/')[-1]}: {state}") for state, damage in states.items()
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run of twelve steps."""
    root = tmp_path_factory.mktemp("finished") / "store"
    store = Store(root)
    assert run_graph(TARGETS, store).complete
    store.refs.write("run", {"targets": {label: handle.key for label, handle in TARGETS.items()}})
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it, to be damaged."""
    yield Path(shutil.copytree(finished, tmp_path / "store"))
    # Python's own rmtree calls itself for each folder, and ends with a RecursionError in the deepest.
    subprocess.run(["rm", "-rf", tmp_path / "store"], check=True)


def run(root: Path, log: Path) -> Outcome:
    return run_graph(TARGETS, Store(root), runtime={"log": str(log)}, display=Events())


def object_folder(root: Path, key: str = TARGET) -> Path:
    return root / "objects" / key[:2] / key


def assert_healed(root: Path, tmp_path: Path, *, steps: int) -> None:
    """The same command computes what was damaged, and that alone; a second one, nothing; the store is whole."""
    log = tmp_path / "log.txt"
    outcome = run(root, log)
    assert outcome.complete
    assert len(executions(log)) == steps
    assert not run(root, log).done
    assert len(executions(log)) == steps
    assert value(Store(root).path(TARGET)) == 30
    assert [str(problem) for problem in Store(root).verify()] == []


MANIFESTS = cases("manifest.json", OF_JSON)
DATA = cases("value.txt", IN_ITS_PLACE | {"other bytes": as_text("31"), "a file more": as_text("30\n")})


@pytest.mark.parametrize(("name", "damage"), [*MANIFESTS, *DATA])
def test_a_file_of_a_result(root: Path, tmp_path: Path, name: str, damage: Damage) -> None:
    damage(object_folder(root) / name)
    assert_healed(root, tmp_path, steps=1)


@pytest.mark.parametrize(("name", "damage"), [*MANIFESTS, *DATA])
def test_quick_verification_sees_all_but_other_bytes_of_the_same_length(
    root: Path, name: str, damage: Damage, request: pytest.FixtureRequest
) -> None:
    assert list(Store(root).verify(quick=True)) == []
    damage(object_folder(root) / name)
    names = [problem.name for problem in Store(root).verify(quick=True)]
    assert names == ([] if request.node.callspec.id == "value.txt: other bytes" else [TARGET])


def test_quick_verification_sees_every_changed_byte_of_a_manifest(root: Path) -> None:
    path = object_folder(root) / "manifest.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        if not whole[place : place + 1].isspace():
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            assert Store(root).check(TARGET, quick=True), place


@pytest.mark.parametrize(
    "damage",
    [
        *(pytest.param(damage, id=state) for state, damage in IN_ITS_PLACE.items()),
        pytest.param(lambda path: (path / "stray.txt").write_text("x"), id="a stray file in it"),
        pytest.param(lambda path: nest(path, 30), id="deep folders in it"),
        pytest.param(lambda path: nest(path, 3000), id="folders of absurd depth in it"),
    ],
)
def test_the_folder_of_a_result(root: Path, tmp_path: Path, damage: Damage) -> None:
    damage(object_folder(root))
    assert_healed(root, tmp_path, steps=1)


@pytest.mark.parametrize(
    "damage",
    [pytest.param(damage, id=state) for state, damage in IN_ITS_PLACE.items() if state != "a full folder"],
)
def test_the_folder_above_a_result(root: Path, tmp_path: Path, damage: Damage) -> None:
    """Whatever other results lie in it too."""
    with_it = [path.name for path in object_folder(root).parent.iterdir()]
    damage(object_folder(root).parent)
    assert_healed(root, tmp_path, steps=len([key for key in with_it if key in WHOLE]))


@pytest.mark.parametrize("state", ["a text", "a link to nothing", "missing", "a full folder"])
def test_an_input_of_a_step_that_is_computed_again(root: Path, tmp_path: Path, state: str) -> None:
    """The step and the damaged input, nothing else."""
    remove(object_folder(root))
    parent = next(TARGETS["all"].parents())
    IN_ITS_PLACE[state](object_folder(root, parent.key))
    assert_healed(root, tmp_path, steps=2)


@pytest.mark.parametrize(("name", "damage"), cases("STORE.json", OF_JSON))
def test_the_stores_own_mark(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, damage: Damage
) -> None:
    damage(root / name)
    if damage is OF_JSON["an empty object"]:  # another program's format, as far as anyone can tell
        with pytest.raises(UserError, match="has format None"):
            Store(root)
        return
    Store(root)
    told = capfd.readouterr().err
    assert told.count("\n") == (damage is not remove)
    assert "Traceback" not in told
    assert json.loads((root / "STORE.json").read_text()) == {"format": 1}
    assert_healed(root, tmp_path, steps=0)


@pytest.mark.parametrize(
    "name", ["tmp", "work", "locks", "graphs", "sessions", "quarantine", "logs", "trash"]
)
@pytest.mark.parametrize("state", ["missing", "a text", "a link to nothing"])
def test_a_folder_of_the_store(root: Path, tmp_path: Path, name: str, state: str) -> None:
    """Git and rsync leave empty folders out; a step that must be computed needs all of them."""
    IN_ITS_PLACE[state](root / name)
    remove(object_folder(root))
    assert_healed(root, tmp_path, steps=1)
    assert collect(Store(root)).objects == []


@pytest.mark.parametrize("name", ["objects", "refs"])
def test_all_results_or_all_refs_gone(root: Path, tmp_path: Path, name: str) -> None:
    remove(root / name)
    assert_healed(root, tmp_path, steps=12 if name == "objects" else 0)


@pytest.mark.parametrize("state", ["missing", "a file"])
def test_gc_removes_nothing_after_the_folder_of_refs_was_lost(root: Path, tmp_path: Path, state: str) -> None:
    shutil.move(root / "refs", tmp_path / "refs")
    if state == "a file":
        (root / "refs").touch()
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"nothing was removed: .*refs was missing.* delete .*refs-lost\.txt"
        ):
            collect(Store(root))
    (root / "refs").rmdir()
    shutil.move(tmp_path / "refs", root / "refs")
    (root / "refs-lost.txt").unlink()
    assert collect(Store(root)).objects == []


@pytest.mark.parametrize("state", ["missing", *(state for state in OF_JSON if state != "missing")])
def test_history(root: Path, tmp_path: Path, state: str) -> None:
    """A decoration: without it, estimates are missing, no command is."""
    OF_JSON[state](root / "history.jsonl")
    Store(root)
    assert len(plan(TARGETS, Store(root))) == 12
    remove(object_folder(root))
    assert_healed(root, tmp_path, steps=1)


@pytest.mark.parametrize(
    "record",
    [None, [], 1, {"step": "number"}, {"step": [], "shape": {}, "seconds": "1", "bytes": None}],
    ids=repr,
)
def test_a_line_of_history(root: Path, record: object) -> None:
    with (root / "history.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    expected = [step.expected_s for step in plan(TARGETS, Store(root))]
    assert all(isinstance(seconds, float) for seconds in expected)


@pytest.mark.parametrize("state", ["a folder", "a full folder", "a text", "an empty file"])
@pytest.mark.parametrize(
    "place", ["locks/{key}.lock", "logs/{key}.txt", "work/{key}", "work/{key}/progress.json"]
)
def test_what_belongs_to_a_step(root: Path, tmp_path: Path, place: str, state: str) -> None:
    path = root / place.format(key=TARGET)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    IN_ITS_PLACE[state](path)
    remove(object_folder(root))
    assert_healed(root, tmp_path, steps=1)


STRAYS = [
    "objects/.DS_Store",
    "objects/00/.nfs000000000000000100000001",
    "sessions/.keep",
    "sessions/folder/x",
    "refs/.DS_Store",
    "graphs/.keep",
    "locks/.keep",
    "work/.keep",
    "tmp/.keep",
    "quarantine/.keep",
    "trash/.keep",
    "logs/.keep",
    ".keep",
]


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_file(root: Path, tmp_path: Path, name: str) -> None:
    """It stops nothing, it is not touched, and where results lie, `verify` names it."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    remove(object_folder(root))
    assert run(root, tmp_path / "log.txt").complete
    assert [problem.name for problem in Store(root).verify()] == (
        [name] if name.startswith("objects") else []
    )
    assert collect(Store(root)).objects == []
    assert path.exists() or name == "sessions/folder/x"


# gc: what is not needed is known, or nothing is removed

UNREADABLE = {state: damage for state, damage in OF_JSON.items() if state not in ("missing", "an empty file")}


@pytest.mark.parametrize("state", [*UNREADABLE, "an empty file"])
def test_gc_removes_nothing_where_a_ref_is_not_understood(
    root: Path, capfd: pytest.CaptureFixture[str], state: str
) -> None:
    OF_JSON[state](root / "refs" / "run.json")
    store = Store(root)
    for dry_run in (True, False):
        with pytest.raises(UserError, match=r"nothing was removed, .*refs/run\.json"):
            collect(store, dry_run=dry_run)
    assert len(list(store.keys())) == 12
    assert list(store.refs.readable()) == []
    assert "run.json is left out: " in capfd.readouterr().err


def test_gc_keeps_what_a_file_of_another_name_under_refs_names(root: Path) -> None:
    """A record that somebody renamed, or an editor's copy of it."""
    (root / "refs" / "run.json").rename(root / "refs" / "run.json~")
    assert collect(Store(root)).objects == []
    (root / "refs" / "run.json~").rename(root / "refs" / "a run.json")
    with pytest.raises(UserError, match="'a run' cannot name a run: rename the file"):
        collect(Store(root))


@pytest.mark.parametrize("state", list(UNREADABLE))
def test_gc_and_a_damaged_graph(root: Path, state: str) -> None:
    """It matters only where a run is unfinished: what that run needs may stand in this graph alone."""
    (graph,) = (root / "graphs").iterdir()
    OF_JSON[state](graph)
    store = Store(root)
    missing = object_folder(root)
    shutil.move(missing, root / "away")
    if state != "an empty object":
        with pytest.raises(UserError, match="nothing was removed: 1 results of unfinished runs are missing"):
            collect(store)
        assert len(list(store.keys())) == 11
    shutil.move(root / "away", missing)
    assert collect(store).objects == []
    assert not graph.exists()


def test_gc_removes_nothing_while_the_graph_of_a_running_command_is_unreadable(root: Path) -> None:
    store = Store(root)
    with Session.open(store, [number(n=99)]) as session:
        (session.folder / "graph").write_text("")
        with pytest.raises(UserError, match="nothing was removed: .*graph cannot be read"):
            collect(store)
    collect(store)


def test_gc_takes_a_command_that_ends_while_its_graph_is_read_as_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    session = Session.open(store, [number(n=99)])
    asked: list[bool] = []

    def ends_after_the_question(folder: Path) -> bool:
        asked.append(is_live(folder))
        if len(asked) == 1:
            session.close()
        return asked[-1]

    monkeypatch.setattr(gc, "is_live", ends_after_the_question)
    assert collect(store).objects == []
    assert asked == [True, False]


def test_trash_brings_results_back_and_is_emptied_after_a_week(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    files = {key: store.manifest(key)["files"] for key in list(store.keys())}
    store.refs.delete("run")
    garbage = collect(store)
    assert set(garbage.objects) == set(files)
    assert dict(garbage.steps) == {"number": 6, "total": 6}
    assert list(store.keys()) == []
    assert restore(store) == (12, 0)
    assert {key: store.manifest(key)["files"] for key in list(store.keys())} == files
    assert list(store.verify()) == []
    collect(store)
    assert run(root, tmp_path / "log.txt").complete
    assert restore(store) == (0, 0)  # all of them were computed again
    (*_, trash) = sorted((root / "trash").iterdir())
    store.refs.write("run", {"targets": {"it": TARGET}})
    collect(store)
    assert trash.exists()
    trash.rename(root / "trash" / "20200101T000000.00000000")
    size = collect(store, dry_run=True).emptied
    assert (root / "trash" / "20200101T000000.00000000").exists()
    assert size == 0
    assert collect(store).emptied > 0
    assert not (root / "trash" / "20200101T000000.00000000").exists()
    assert collect(store, empty_trash=True).objects == []
    assert list((root / "trash").iterdir()) == []


def test_a_lock_that_is_held_is_not_set_aside(root: Path) -> None:
    path = root / "locks" / "x.lock"
    with locks.wait_lock(path):
        assert locks.is_held(path)
        assert locks.try_lock(path) is None
    assert not locks.is_held(root / "STORE.json" / "x.lock")
