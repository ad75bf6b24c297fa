"""Names that lead out of a folder, or that a terminal would act on: refused in one line by every command that takes one."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.errors import UserError

NAMES = [
    "../out",
    "a/../../b",
    "..",
    "/tmp/x",
    "a\nb",
    "a\x1b[2J",
    "a\\b",
    "=cmd|' /C calc'!A0",
    "x" * 300,
    "a/",
]


def refusal(*arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        CliRunner().invoke(w2s, [str(argument) for argument in arguments], catch_exceptions=False)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_runs(tmp_path: Path, name: str) -> None:
    store = tmp_path / "inner" / "store"
    config = write_experiment(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    message = refusal("--store", store, "run", config, "--device", "cpu", "--name", name)
    assert "cannot name a run: use letters, digits" in message
    assert not [
        path for path in tmp_path.rglob("*") if path not in before and not path.is_relative_to(store.parent)
    ]
    assert not list((store / "refs").rglob("*.json"))
    for command in ("show", "tables"):
        assert "no run is named" in refusal("--store", store, command, name)
    assert refusal("--store", store, "tables", "--study", name)
