"""A store with two finished tiny runs."""

from pathlib import Path

import pytest

import w2s
from tests.tiny import write_experiment


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished tiny run, `first`, and another, `second`, that differs in DPO alone."""
    folder = tmp_path_factory.mktemp("library")
    config = write_experiment(folder)
    lab = w2s.Lab(folder / "store")
    lab.run(config, name="first", workers=2)
    lab.run(config, {"stage2.dpo.beta": 0.2}, name="second")
    return folder


@pytest.fixture
def lab(folder: Path) -> w2s.Lab:
    return w2s.Lab(folder / "store")
