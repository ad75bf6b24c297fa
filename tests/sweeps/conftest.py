"""Study files over the tiny lab, and studies whose cells are not computed but looked up in a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_experiment

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
