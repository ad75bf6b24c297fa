"""Names that lead out of a folder, or that a terminal would act on: each command refuses them in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.engine import Store
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
    store = Store(tmp_path / "inner" / "store")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="cannot name a run: use letters, digits") as caught:
        store.refs.write(name, {"run": name})
    assert str(caught.value).isprintable()
    assert sorted(tmp_path.rglob("*")) == before
    for command in ("show", "tables"):
        assert "no run is named" in refusal("--store", store.root, command, name)
    assert refusal("--store", store.root, "tables", "--study", name)


def test_a_run_is_named_before_anything_is_computed_or_written_outside(tmp_path: Path) -> None:
    store, config = tmp_path / "inner" / "store", write_experiment(tmp_path)
    message = refusal("--store", store, "run", config, "--device", "cpu", "--name", "../out")
    assert "'../out' cannot name a run" in message
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.yaml"}
