"""The artifact that most tests train."""

from pathlib import Path

import pytest

from tests.training.tiny import make_artifact, make_base


@pytest.fixture(autouse=True)
def no_precision_of_another_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each training sets accelerate's precision for itself; a test that only prepares one would take the last one's."""
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    """A model artifact and its bases."""
    root = tmp_path_factory.mktemp("start")
    return make_artifact(root / "model", make_base(root / "base"))
