"""Every command on a recipe that is not weak-to-strong: what is printed is true of it, and of no other."""

import json
import re
from pathlib import Path

import pytest

from tests.tiny import BASES, write_experiment
from tests.typed import typed

OTHER = re.compile(
    r"hybrid|M_plus|M\\_plus|weak[ _]floor|D_weak|Stage I|stage1|stage2|\bDPO\b|\bORPO\b|weak ICL|weak model"
)
"""Words of weak-to-strong reasoning."""
TUNING = {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4}
FIELDS = {
    "recipe": "self_training",
    "name": "own",
    "task": {
        "name": "mini",
        "options": {"train_1": 12, "train_2": 12, "dev": 4, "test": 6, "levels": [1, 2]},
    },
    "model": str(BASES / "strong"),
    "max_new_tokens": 48,
    "sft": TUNING,
    "samples": 4,
    "confidence": 0.25,
    "evaluation": {"samples": 2},
}


def w2s(*arguments: object, folder: Path, status: int = 0) -> str:
    """What a command prints, both streams; it runs in `folder`, with the store there."""
    done = typed("--store", folder / "store", *arguments, folder=folder)
    assert done.returncode == status, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def write(folder: Path, **changes: object) -> Path:
    path = folder / "own.yaml"
    path.write_text(json.dumps(FIELDS | changes))
    return path


def study(folder: Path) -> Path:
    path = folder / "study.yaml"
    fields = {
        "name": "own-study",
        "base": "own.yaml",
        "space": {"confidence": [0.25, 0.5]},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "fixed": {"evaluation.samples": 0},
    }
    path.write_text(json.dumps(fields))
    return path


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs."""
    folder = tmp_path_factory.mktemp("self_training")
    write(folder)
    printed = w2s("run", "own.yaml", "--name", "first", folder=folder)
    assert "majority-vote distillation" in printed
    assert not OTHER.search(printed), OTHER.search(printed)
    w2s("run", "own.yaml", "seed=1", "--name", "second", folder=folder)
    return folder


def test_a_report_of_one_run_has_its_models_and_no_empty_table(lab: Path) -> None:
    files = [path for path in (lab / "out" / "first").rglob("*") if path.is_file()]
    assert files
    assert all(path.stat().st_size for path in files)
    text = "\n".join(path.read_text() for path in files if path.suffix == ".md")
    for title in (
        "gold FT on train\\_1",
        "rejection-sampling FT",
        "control: first samples",
        "gold FT on train\\_2",
    ):
        assert title in text
    assert not OTHER.search(text), OTHER.search(text)


def test_plan_runs_show_explain_doctor(lab: Path) -> None:
    plan = w2s("plan", "own.yaml", folder=lab)
    assert "40 steps: 40 cached" in plan
    assert "self_training" in w2s("runs", folder=lab)
    shown = w2s("show", "first", folder=lab)
    assert "confidence = 0.25" in shown
    explained = w2s("explain", "first", "keep_majority:labels/majority", folder=lab)
    assert "parameter confidence = 0.25" in explained
    against = w2s("explain", "second", "greedy/test/majority", "--against", "first", folder=lab)
    assert "parameter seed: 0 -> 1" in against
    doctor = w2s("doctor", "own.yaml", folder=lab)
    assert "model" in doctor
    for printed in (plan, shown, explained, against, doctor):
        assert not OTHER.search(printed), OTHER.search(printed)


def test_tables_compare_diagnose(lab: Path) -> None:
    printed = w2s("tables", "first", "second", "--out", "tables", folder=lab)
    compared = w2s("compare", "first", "second", folder=lab)
    compared += w2s("compare", "first", "first", "--target", "majority", "--against", "rejection", folder=lab)
    diagnosed = w2s("diagnose", "first", folder=lab)
    written = "\n".join(path.read_text() for path in (lab / "tables").rglob("*.md"))
    assert "majority-vote distillation" in written
    for text in (printed, compared, diagnosed, written):
        assert not OTHER.search(text), OTHER.search(text)


@pytest.mark.slow
def test_two_recipes_in_one_store_are_never_one_experiment(lab: Path, tmp_path: Path) -> None:
    other = write_experiment(tmp_path, evaluation={"samples": 2})
    w2s("run", other, "--name", "other", folder=lab)
    w2s("tables", "first", "other", "--out", "both", folder=lab)
    reports = {path.relative_to(lab / "both").parts[0] for path in (lab / "both").rglob("*.md")}
    assert len(reports) >= 2, reports
    for path in (lab / "both").rglob("*.md"):
        text = path.read_text()
        assert not ("majority-vote distillation" in text and "weak floor" in text), path


def test_sweep_trial_and_wandb_sweep(lab: Path) -> None:
    swept = w2s("sweep", study(lab), folder=lab)
    assert "2 trials" in swept or "2/2 trials" in swept
    trial = w2s("trial", "study.yaml", "confidence=0.5", folder=lab)
    assert re.search(r"accuracy [\d.]+", trial)
    wandb = w2s("wandb-sweep", "study.yaml", folder=lab)
    assert "confidence" in wandb
    tables = w2s("tables", "--study", "own-study", "--out", "study", folder=lab)
    for printed in (swept, trial, wandb, tables):
        assert not OTHER.search(printed), OTHER.search(printed)


def test_recipes_lists_it_with_its_fields(lab: Path) -> None:
    listed = w2s("recipes", folder=lab)
    assert re.search(r"self_training .*built in", listed)
    fields = w2s("recipes", "self_training", folder=lab)
    assert "confidence" in fields
    assert "least share of the commonest answer" in fields


def test_verify_and_gc_keep_its_results(lab: Path) -> None:
    assert '"problems": 0' in w2s("verify", folder=lab)
    assert "own.yaml" in w2s("show", "first", folder=lab)
    w2s("gc", folder=lab)
    assert "40 steps: 40 cached" in w2s("plan", "own.yaml", folder=lab)
