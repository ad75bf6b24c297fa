"""The artifact that most tests train."""

from pathlib import Path

import pytest

from tests.training.tiny import make_artifact, make_base


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A model artifact and its bases."""
    root = tmp_path_factory.mktemp("start")
    return make_artifact(root / "model", make_base(root / "base"))
