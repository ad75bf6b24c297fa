"""Two thresholds that keep the same questions: the second run trains nothing, and has what it would have alone."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.engine import Store

STAGE_1 = {"iterations": 1, "samples": 2}
TASK = {"name": "mini", "options": {"train_1": 24, "train_2": 30, "dev": 4, "test": 4, "levels": [1]}}
LOW, HIGHER, ONE_PAIR_IN_FOUR = 0.1, 0.2, 0.25


def call(root: Path, *arguments: str) -> str:
    done = CliRunner().invoke(w2s, ["--store", str(root), *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def files(store: Store, run: str) -> dict[str, Any]:
    targets: dict[str, str] = store.refs.read(run)["targets"]
    return {label: store.manifest(key)["files"] for label, key in targets.items()}


def linked(store: Store, run: str, step: str) -> tuple[int, int]:
    """How many steps of a kind the run has that only it needs, and how many of those are linked."""
    manifests = [store.manifest(key) for key in set(store.refs.read(run)["steps"].values())]
    own = [manifest for manifest in manifests if manifest["spec"]["step"] == step]
    return len(own), sum("same_content_as" in manifest.get("reused", {}) for manifest in own)


@pytest.mark.slow
def test_runs_whose_thresholds_keep_the_same_questions(tmp_path: Path) -> None:
    assert HIGHER < ONE_PAIR_IN_FOUR, "the shares of agreeing pairs are 0, 1/4, 2/4, ..."
    paths = {}
    for name, consistency in (("low", LOW), ("higher", HIGHER)):
        (tmp_path / name).mkdir()
        paths[name] = write_experiment(
            tmp_path / name,
            task=TASK,
            stage1=STAGE_1 | {"consistency": consistency},
            weak_sft={"learning_rate": 3e-3, "max_steps": 20, "batch_size": 8},
        )
    together, alone = tmp_path / "together", tmp_path / "alone"
    call(together, "run", str(paths["low"]), "--name", "low", "--device", "cpu", "--workers", "1")
    assert "a twin" not in call(together, "plan", str(paths["higher"]), "--device", "cpu")
    # The agreed set itself is computed: that it equals the other's shows then, and all behind it is linked.
    call(together, "run", str(paths["higher"]), "--name", "higher", "--device", "cpu", "--workers", "2")
    call(alone, "run", str(paths["higher"]), "--name", "higher", "--device", "cpu", "--workers", "1")
    assert files(Store(together), "higher") == files(Store(alone), "higher")
    assert linked(Store(together), "higher", "sft")[1] >= 3
    assert linked(Store(together), "higher", "prefer") == (2, 2)
    assert linked(Store(alone), "higher", "prefer") == (2, 0)
    assert list(Store(together).verify()) == []
    said = call(together, "explain", "higher", "prefer:dpo")
    assert "same content as" in said
