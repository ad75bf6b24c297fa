"""A laptop lab for tests: the mini task with few questions, and random models that run in a second."""

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
BASES = REPOSITORY / "experiments" / "mini" / "bases"


def write_experiment(folder: Path, **changes: object) -> Path:
    """An experiment on few questions with the shipped bases and very short trainings."""
    tuning = {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4}
    fields: dict[str, object] = {
        "name": "tiny",
        "task": {
            "name": "mini",
            "options": {"train_1": 8, "train_2": 12, "dev": 4, "test": 6, "levels": [1, 2]},
        },
        "weak": str(BASES / "llama"),
        "strong": str(BASES / "strong"),
        "shots": 2,
        "max_new_tokens": 48,
        "weak_sft": tuning,
        "sft": tuning,
        "stage1": {"iterations": 1},
        "stage2": {"samples": 4, "keep": 0.0, "flip": 0.0, "dpo": tuning, "orpo": tuning},
        "evaluation": {"samples": 2},
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(fields | changes))  # JSON is YAML, and writes no aliases
    return path


def write_plain(folder: Path, **changes: object) -> Path:
    """The same of the recipe `plain`, which has one model and no field of the other's methods."""
    fields: dict[str, object] = {
        "name": "plain",
        "recipe": "plain",
        "task": {"name": "mini", "options": {"train_2": 12, "dev": 4, "test": 6, "levels": [1, 2]}},
        "model": str(BASES / "llama"),
        "sft": {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4},
        "max_new_tokens": 48,
        "evaluation": {"samples": 0},
    }
    path = folder / "plain.yaml"
    path.write_text(json.dumps(fields | changes))
    return path
