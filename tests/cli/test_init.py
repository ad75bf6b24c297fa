"""`w2s init`: the examples of an installation in a folder of the user's, whole or not at all."""

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny import REPOSITORY
from w2s_core.cli import examples
from w2s_core.cli.main import w2s
from w2s_core.errors import UserError
from w2s_core.experiment import load_experiment
from w2s_sweeps.study_file import load_study


def committed(*patterns: str) -> set[str]:
    """The files of these patterns that git tracks, relative to the repository."""
    if shutil.which("git") is None or not (REPOSITORY / ".git").exists():
        pytest.skip("needs git and a clone: what is tracked is asked of it")
    command = ["git", "ls-files", "--", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_checkout_writes_what_it_tracks(tmp_path: Path) -> None:
    lab = tmp_path / "deep" / "lab"
    printed = CliRunner().invoke(w2s, ["init", str(lab)])
    assert printed.exit_code == 0, printed.output
    tracked = committed("experiments", "sweeps/*.yaml", "analysis/*.ipynb")
    assert len(tracked) > 90
    assert tracked <= written(lab)
    assert not [file for file in written(lab) if file.endswith(".py")]
    for file in tracked:
        assert (lab / file).read_bytes() == (REPOSITORY / file).read_bytes()
    assert {path.name for path in lab.parent.iterdir()} == {"lab"}  # no scratch folder stays


def test_the_written_experiments_and_studies_are_read_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CliRunner().invoke(w2s, ["init", str(tmp_path / "lab")])
    monkeypatch.chdir(tmp_path / "lab")
    assert load_experiment(Path("experiments/mini/paper.yaml"), ()).name == "mini-paper"
    studies = sorted(Path("sweeps").glob("mini_*.yaml"))
    assert len(studies) >= 5
    for file in studies:
        assert load_study(file)


def test_what_lies_there_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(w2s, ["init", "."]).exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mine.txt", "experiments", "sweeps", "analysis"}
    again = CliRunner().invoke(w2s, ["init", "."])
    assert isinstance(again.exception, UserError)
    assert str(again.exception) == "experiments: there is something of that name already: name a new folder"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "analysis").symlink_to(tmp_path / "nowhere")
    refused = CliRunner().invoke(w2s, ["init", "other"])
    assert str(refused.exception).startswith("other/analysis: there is something of that name already")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["analysis"]
    for name in ("mine.txt", "/proc/lab"):
        assert "cannot be written: " in str(CliRunner().invoke(w2s, ["init", name]).exception)


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(examples.shutil, "copyfile", full)
    done = CliRunner().invoke(w2s, ["init", str(tmp_path / "lab")])
    assert isinstance(done.exception, UserError)
    assert (
        str(done.exception) == f"{tmp_path / 'lab/experiments'}: cannot be written: No space left on device"
    )
    assert not list((tmp_path / "lab").iterdir())


def test_an_installation_without_examples_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "PACKAGE", tmp_path / "site" / "w2s_core")
    with pytest.raises(
        UserError, match="holds no examples: .*w2s_core/examples is missing; install the wheel anew"
    ):
        examples.examples()
    bundle = tmp_path / "site" / "w2s_core" / "examples"
    for name in examples.FOLDERS:
        (bundle / name).mkdir(parents=True)
    assert examples.examples() == bundle
