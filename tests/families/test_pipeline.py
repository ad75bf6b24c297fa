"""The whole method on every family's format: as a user runs it, from sharded checkpoints to the table."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.families.checkpoints import FAMILIES, write_checkpoint
from tests.tiny import write_experiment
from w2s_core.cli.main import w2s
from w2s_core.engine import Store

STEPS = 150
TASK = {"name": "mini", "options": {"train_1": 8, "train_2": 120, "dev": 4, "test": 6, "levels": [1]}}
AGREEING = {"iterations": 1, "samples": 4, "consistency": 0.05}
"""Models that know next to nothing agree on some of 120 questions when one pair of answers in twenty is enough."""
PAIRS = {name: name for name in FAMILIES} | {"llama-2": "qwen-3"}
"""The strong model's family by the weak one's; one pair mixes tokenizers."""


CASES = [("qa", name) for name in PAIRS] + [
    ("chat", name) for name in PAIRS if FAMILIES[name].chat and FAMILIES[PAIRS[name]].chat
]


@pytest.mark.slow
@pytest.mark.parametrize(("prompt", "weak"), CASES)
def test_the_method_runs_on_every_family(prompt: str, weak: str, tmp_path: Path) -> None:
    chat = prompt == "chat"
    bases = {
        "weak": write_checkpoint(weak, tmp_path / "weak", seed=1, steps=STEPS, chat=chat),
        "strong": write_checkpoint(PAIRS[weak], tmp_path / "strong", seed=2, steps=STEPS, chat=chat),
    }
    folders = {side: str(folder) for side, folder in bases.items()}
    path = write_experiment(tmp_path, task=TASK, stage1=AGREEING, prompt=prompt, **folders)
    arguments = ["--store", str(tmp_path / "store"), "run", str(path), "--name", "one", "--device", "cpu"]
    done = CliRunner().invoke(w2s, [*arguments, "--out", str(tmp_path / "out")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    store = Store(tmp_path / "store")
    targets = store.refs.read("one")["targets"]
    for label in ("greedy/test/weak_floor", "greedy/test/hybrid_ft_1", "greedy/test/ceiling"):
        assert store.has(targets[label]), f"{label} is missing: {done.output}"
    manifests = [store.manifest(key) for key in sorted(store.keys())]
    assert [manifest["spec"]["step"] for manifest in manifests].count("sft") >= 3
    finishes = [manifest["summary"] for manifest in manifests if manifest["spec"]["step"] == "sample"]
    assert any(summary["truncated"] < summary["responses"] for summary in finishes), (
        "responses end by themselves"
    )
    assert json.loads((bases["strong"] / "model.safetensors.index.json").read_text())["weight_map"]
