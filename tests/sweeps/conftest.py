"""Study files over the tiny lab, and studies whose cells are not computed but looked up in a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.sweeps import plain_recipe as plain_recipe  # registers the recipe
from tests.tiny import write_experiment, write_plain

Writer = Callable[..., Path]


@pytest.fixture
def write_study(tmp_path: Path) -> Writer:
    """Write an experiment and a study over it; changes are the study's fields. Returns the study's path."""

    def write(experiment: dict[str, Any] | None = None, **changes: Any) -> Path:
        write_experiment(tmp_path, **({"evaluation": {"samples": 0}} | (experiment or {})))
        fields = {
            "name": "tiny-study",
            "base": "tiny.yaml",
            "space": {"stage2.keep": [0.0, 0.3], "stage2.methods": [["dpo"], ["orpo"]]},
        }
        path = tmp_path / "study.yaml"
        path.write_text(json.dumps(fields | changes, indent=1))
        return path

    return write


@pytest.fixture
def write_plain_study(tmp_path: Path) -> Writer:
    """The same over an experiment of the recipe `plain`, which has one model and no field of the other's methods."""

    def write(experiment: dict[str, Any] | None = None, **changes: Any) -> Path:
        write_plain(tmp_path, **(experiment or {}))
        space = {"rounds": [1, 2], "sft.learning_rate": [1e-3, 3e-3]}
        fields = {"name": "plain-study", "base": "plain.yaml", "space": space}
        path = tmp_path / "plain_study.yaml"
        path.write_text(json.dumps(fields | changes, indent=1))
        return path

    return write
