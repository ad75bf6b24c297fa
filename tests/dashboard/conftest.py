"""One small store for the tests that only read it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dashboard.stores import add_run
from w2s_core.engine import Store


def fill(store: Store) -> Store:
    """Six runs: three seeds with one and with two weak models, the latest first in the table."""
    for i, (weak, seed) in enumerate((w, s) for w in ("llama", "mistral") for s in (0, 1, 2)):
        settings = {"weak": f"/bases/{weak}", "stage1": {"consistency": 0.5 + 0.1 * i}}
        add_run(
            store,
            f"{weak}-{seed}",
            settings=settings,
            seed=seed,
            minute=i,
            study="ablation" if i < 3 else None,
        )
    return store


@pytest.fixture(scope="session")
def shown_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    return fill(Store(tmp_path_factory.mktemp("dashboard") / "store"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")
