"""Every command on a store that is damaged in one place, and on a disk that refuses one: a line each, no traceback.

`tests/engine/test_damage.py` goes through the states of each file; here, commands meet one of each kind.
"""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import write_experiment
from w2s_core.cli.main import main
from w2s_core.engine import Store

pytestmark = pytest.mark.slow

W2s = Callable[..., tuple[int, str, str]]
COMMANDS: dict[str, tuple[str, ...]] = {
    "plan": ("plan", "tiny.yaml"),
    "runs": ("runs",),
    "show": ("show", "first"),
    "tables": ("tables", "--out", "tables"),
    "explain": ("explain", "first", "sft:weak_floor"),
    "compare": ("compare", "first", "second"),
    "diagnose": ("diagnose", "first"),
    "verify": ("verify",),
    "gc": ("gc", "--dry-run"),
    "run": ("run", "tiny.yaml", "--name", "first"),
}


@pytest.fixture
def w2s(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> W2s:
    """The command line within this process: its status and what it wrote on stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["w2s", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return int(end.value.code or 0), out, err

    return call


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished tiny runs in its store."""
    folder = tmp_path_factory.mktemp("lab")
    config = write_experiment(folder)
    for arguments in (["--name", "first"], ["--name", "second", "stage1.iterations=2"]):
        code = os.spawnv(
            os.P_WAIT,
            sys.executable,
            [
                sys.executable,
                "-m",
                "w2s_core.cli",
                "--store",
                str(folder / ".w2s"),
                "run",
                str(config),
                *arguments,
            ],
        )
        assert code == 0
    return folder


@pytest.fixture
def lab(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the current folder too."""
    shutil.copytree(finished, tmp_path / "lab", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "lab")
    return tmp_path / "lab"


def target(lab: Path, label: str = "greedy/test/dpo") -> Path:
    store = Store(lab / ".w2s")
    return store.folder(store.refs.read("first")["targets"][label])


def empty_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def as_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a result's manifest is missing": lambda lab: (target(lab) / "manifest.json").unlink(),
    "a result's manifest is cut off": lambda lab: (target(lab) / "manifest.json").write_text('{"spec": '),
    "a result's file has other bytes": lambda lab: (target(lab) / "grades.parquet").write_bytes(b"PAR1"),
    "a result's file is a link to nothing": lambda lab: (
        (target(lab) / "grades.parquet").unlink(),
        (target(lab) / "grades.parquet").symlink_to("nowhere"),
    ),
    "a result is a file": lambda lab: as_file(target(lab)),
    "another run's record is a list": lambda lab: (lab / ".w2s/refs/second.json").write_text("[]"),
    "another run's record is of another shape": lambda lab: (lab / ".w2s/refs/second.json").write_text(
        json.dumps({"targets": {"x": "0" * 64}})
    ),
    "another run's record is a folder": lambda lab: (
        (lab / ".w2s/refs/second.json").unlink(),
        (lab / ".w2s/refs/second.json").mkdir(),
    ),
    "a record has a name that is none": lambda lab: (lab / ".w2s/refs/second.json").rename(
        lab / ".w2s/refs/the second.json"
    ),
    "a stray file lies under objects": lambda lab: empty_file(lab / ".w2s/objects/.DS_Store"),
    "a stray file lies under sessions": lambda lab: empty_file(lab / ".w2s/sessions/.keep"),
    "history is null": lambda lab: (lab / ".w2s/history.jsonl").write_text("null\n"),
    "a graph is damaged": lambda lab: next((lab / ".w2s/graphs").iterdir()).write_text("{"),
    "empty folders are missing": lambda lab: [
        shutil.rmtree(lab / ".w2s" / name) for name in ("tmp", "locks", "sessions", "quarantine", "work")
    ],
    "STORE.json is cut off": lambda lab: (lab / ".w2s/STORE.json").write_text('{"for'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=list(DAMAGE))
def test_every_command_goes_on_and_a_run_heals(lab: Path, w2s: W2s, damage: Callable[[Path], object]) -> None:
    damage(lab)
    for name, arguments in COMMANDS.items():
        status, _, err = w2s(*arguments)
        # A command that reads the damaged result itself ends with that line, and leaves it set aside.
        is_told = "second" in err or "is damaged" in err
        problems = {1} if name == "verify" else set()
        assert status in {0, *problems, *({2} if is_told else ())}, (name, err)
    assert w2s("runs")[1].count("first") == 1
    assert w2s("run", "tiny.yaml", "--name", "first")[0] == 0
    status, out, _ = w2s("show", "first")
    assert (status, " missing " in out) == (0, False)


PLACES = ["refs/*", "locks/*", "graphs/*", "sessions/*", "tmp/*", "work/*", "objects/*", "STORE.json"]


@pytest.mark.parametrize(
    "code", [errno.EIO, errno.EACCES, errno.EROFS], ids=lambda code: errno.errorcode[code]
)
@pytest.mark.parametrize("place", PLACES)
def test_a_disk_that_refuses_one_place_is_one_line(
    lab: Path, w2s: W2s, monkeypatch: pytest.MonkeyPatch, place: str, code: int
) -> None:
    """Whatever would be created there. Afterwards the same command goes on."""
    shutil.rmtree(target(lab))
    if place == "STORE.json":
        (lab / ".w2s/STORE.json").unlink()
    real_open, real_mkdir, real_rename = os.open, os.mkdir, os.rename

    def refuse(path: object) -> None:
        if isinstance(path, str | Path) and Path(path).match(f"{lab}/.w2s/{place}"):
            raise OSError(code, os.strerror(code), str(path))

    def refusing_open(path: str, flags: int, *rest: object, **options: object) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return real_open(path, flags, *rest, **options)  # type: ignore[arg-type]

    def refusing_mkdir(path: str, *rest: object, **options: object) -> None:
        refuse(path)
        real_mkdir(path, *rest, **options)  # type: ignore[arg-type]

    def refusing_rename(source: str, to: str, **options: object) -> None:
        refuse(to)
        real_rename(source, to, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refusing_open)
        patch.setattr(os, "mkdir", refusing_mkdir)
        patch.setattr(os, "rename", refusing_rename)
        patch.setattr(os, "replace", refusing_rename)
        status, _, err = w2s("run", "tiny.yaml", "--name", "first")
    lines = [line for line in err.splitlines() if line.startswith("w2s: ")]
    if status:
        assert os.strerror(code) in err or "cannot be written" in err
        assert len(lines) <= 2
    assert w2s("run", "tiny.yaml", "--name", "first")[0] == 0
    assert w2s("verify")[0] == 0
