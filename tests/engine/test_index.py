"""The index: what it says is what the files say, whatever befell it or them; commands are right without it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine.test_damage import OF_JSON, TARGETS, run
from w2s_core.cli.inspection import render_runs
from w2s_core.engine import Store, collect, index
from w2s_core.errors import UserError

RECORD = {"task": "toy", "seed": 1, "started": "2026-01-01T00:00:00+00:00", "bases": {"weak": "a"}}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with a finished run, a result that nothing names, and an index of all that."""
    monkeypatch.setattr(index, "_SETTLED_S", -3600.0)  # else nothing that a test has just written is noted
    store_root = tmp_path / "store"
    assert run(store_root, tmp_path / "log.txt").complete
    targets = {label: handle.key for label, handle in TARGETS.items()}
    Store(store_root).refs.write("run", RECORD | {"targets": targets})
    assert collect(Store(store_root), dry_run=True).objects == []
    return store_root


def reads(root: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Store], object]) -> list[str]:
    """The refs and manifests that a command reads."""
    store, names = Store(root), []
    read_ref, read_manifest = store.refs._read, store._manifest_bytes
    monkeypatch.setattr(store.refs, "_read", lambda name: (names.append(name), read_ref(name))[1])
    monkeypatch.setattr(store, "_manifest_bytes", lambda key: (names.append(key), read_manifest(key))[1])
    command(store)
    return names


def test_what_has_not_changed_is_not_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dry = lambda store: collect(store, dry_run=True)  # noqa: E731
    assert reads(root, monkeypatch, dry) == []
    assert reads(root, monkeypatch, render_runs) == []
    (root / "index.json").unlink()
    assert sorted(reads(root, monkeypatch, dry)) == sorted([*Store(root).keys(), "run.json"])


@pytest.mark.parametrize("state", list(OF_JSON))
def test_a_damaged_index_is_made_anew(root: Path, state: str) -> None:
    text = render_runs(Store(root))
    OF_JSON[state](root / "index.json")
    assert collect(Store(root)).objects == []
    assert render_runs(Store(root)) == text
    if state not in (
        "a folder",
        "a full folder",
    ):  # in whose place nothing can be written, and nothing need be
        assert (root / "index.json").read_text().startswith(index.FORMAT)


def test_a_flipped_byte_is_seen(root: Path) -> None:
    """Any place in it: a wrong input would let `gc` remove what is needed."""
    data = bytearray((root / "index.json").read_bytes())
    for place in range(0, len(data), 97):
        damaged = data.copy()
        damaged[place] ^= 1
        (root / "index.json").write_bytes(damaged)
        assert collect(Store(root), dry_run=True).objects == []


def test_a_ref_that_changed_is_read_again(root: Path) -> None:
    """Replaced or written in place, to the same length, with its time of change put back."""
    path = root / "refs" / "run.json"
    status, text = path.stat(), path.read_text()
    changed = text.replace('"seed": 1', '"seed": 7')
    path.write_text(changed)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert " 7 " in render_runs(Store(root)).splitlines()[-1]
    (root / "new").write_text(text)
    (root / "new").replace(path)
    assert " 1 " in render_runs(Store(root)).splitlines()[-1]
    path.write_text("[" + text[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(UserError, match="nothing was removed"):
        collect(Store(root))


def test_a_ref_behind_a_link_is_always_read(root: Path) -> None:
    """The link stays as it is while the file behind it changes."""
    path = root / "refs" / "run.json"
    path.rename(root / "elsewhere")
    path.symlink_to(root / "elsewhere")
    assert collect(Store(root)).objects == []
    record = json.loads((root / "elsewhere").read_text())
    (root / "elsewhere").write_text(json.dumps({**record, "seed": 7}))
    assert " 7 " in render_runs(Store(root)).splitlines()[-1]


def test_a_ref_that_has_just_been_written_is_not_noted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change again within one tick of the file system's clock."""
    monkeypatch.undo()
    path = root / "refs" / "run.json"
    path.write_text(path.read_text())
    names = reads(root, monkeypatch, render_runs)
    assert names == ["run.json"]
    assert reads(root, monkeypatch, render_runs) == ["run.json"]


def test_inputs_outlive_their_manifests(root: Path) -> None:
    """A result whose manifest is lost keeps what it was made from, though no graph says that any more."""
    shutil.rmtree(root / "graphs")
    record = json.loads((root / "refs" / "run.json").read_text())
    for key in record["targets"].values():
        (Store(root).folder(key) / "manifest.json").write_text("x")
    assert collect(Store(root)).objects == []


def test_a_folder_that_cannot_be_listed_stops_gc(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir
    (root / "refs" / "study").mkdir()

    def refuse(path: str) -> object:
        if str(path).endswith("refs/study"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="refs/study.*cannot be listed"):
        collect(Store(root))
    assert render_runs(Store(root)).splitlines()[-1].startswith("run ")
