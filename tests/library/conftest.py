"""A finished tiny run that the library and the commands which take things out of a store are tried on."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import w2s
from tests.tiny import write_experiment
from w2s_core.cli.main import w2s as command

Typed = Callable[..., Result]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_store: Path) -> Path:
    """A folder with a finished tiny run, `first`, and another, `second`, that differs in DPO alone."""
    folder = tmp_path_factory.mktemp("library")
    shutil.copytree(tiny_store, folder / "store")
    config = write_experiment(folder)
    lab = w2s.Lab(folder / "store")
    lab.run(config, name="first")
    lab.run(config, {"stage2.dpo.beta": 0.2}, name="second")
    return folder


@pytest.fixture
def lab(folder: Path) -> w2s.Lab:
    return w2s.Lab(folder / "store")


@pytest.fixture
def typed(folder: Path) -> Typed:
    """Calls a command on the folder's store."""

    def invoke(*words: str) -> Result:
        return CliRunner().invoke(command, ["--store", str(folder / "store"), *words])

    return invoke
