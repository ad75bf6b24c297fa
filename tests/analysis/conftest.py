"""Stores of synthetic runs, made once."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from tests.analysis.synthetic import TRUTH, TinyStore, add_run


@pytest.fixture(scope="session")
def one_run(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    store = TinyStore(tmp_path_factory.mktemp("one"))
    add_run(store, "solo", seed=4)
    return store


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    """Three weak models with three seeds; a better weak model gives a better M_plus; Stage II gains nothing."""
    store = TinyStore(tmp_path_factory.mktemp("study"))
    shifts = {"qwen2": -0.08, "llama": 0.0, "mistral": 0.08}
    for weak, shift in shifts.items():
        truth = {
            method: value + shift * (method not in ("ceiling", "zero_shot", "weak_icl"))
            for method, value in TRUTH.items()
        }
        truth |= {
            "orpo": truth["hybrid_ft_2"] - 0.15,
            "icl_all": 0.70,
            "random_subset": 0.60,
            "gold_on_agreed": 0.80,
        }
        for seed in (0, 1, 2):
            add_run(store, f"{weak}-{seed}", weak=weak, seed=seed, truth=truth)
    return store


@pytest.fixture
def store(tmp_path: Path) -> TinyStore:
    return TinyStore(tmp_path)


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are laid out but not rendered, which takes most of a report's time; their files are there, empty."""
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).touch())
