"""The wheel alone: built as pip builds it, put into a folder of its own, used from an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.foreign import METHOD, TASK
from tests.tiny import REPOSITORY

pytestmark = pytest.mark.slow

CONFIG = {
    "name": "mine",
    "recipe": "shortest",
    "task": {"name": "sums"},
    "model": "lab/experiments/mini/bases/llama",
    "prompt": {"user": "How many: {question}\nAnswer:"},
    "tuning": {"learning_rate": 3e-3, "max_steps": 2, "batch_size": 4},
    "max_new_tokens": 16,
    "evaluation": {"samples": 0},
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tracked files, as a release is."""
    source, out = tmp_path_factory.mktemp("source") / "w2s", tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for file in listed.stdout.splitlines():
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, source / file)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, source]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    return next(out.glob("w2s-*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, which come before the checkout's on the path that `w2s` gets."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def w2s(site: Path, folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "w2s", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_no_import_name_is_a_common_word(site: Path) -> None:
    names = {path.name for path in site.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"w2s", "w2s_core", "w2s_analysis", "w2s_sweeps"}


def test_a_wheel_holds_every_module_and_example(site: Path) -> None:
    for folder in ("w2s", "w2s_core", "analysis/w2s_analysis", "sweeps/w2s_sweeps"):
        package = REPOSITORY / folder
        for module in package.rglob("*.py"):
            assert (site / package.name / module.relative_to(package)).is_file(), module
    listed = ["git", "ls-files", "experiments", "sweeps/*.yaml", "analysis/*.ipynb"]
    tracked = subprocess.run(
        listed, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    bundle = site / "w2s_core" / "examples"
    assert {str(file.relative_to(bundle)) for file in bundle.rglob("*") if file.is_file()} == set(tracked)


def test_a_strangers_recipe_task_and_prompt_run_with_it(site: Path, tmp_path: Path) -> None:
    where = "import w2s_core, w2s_analysis, w2s_sweeps; print(w2s_core.__file__, w2s_sweeps.__file__)"
    places = subprocess.run(
        [sys.executable, "-c", where],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert places.count(str(site)) == 2, places
    assert "w2s run experiments/mini/paper.yaml" in w2s(site, tmp_path, "init", "lab")
    (tmp_path / "my_method.py").write_text(METHOD)
    (tmp_path / "my_task.py").write_text(TASK.replace("total:", "Answer:"))  # words that the base knows
    (tmp_path / "mine.yaml").write_text(json.dumps(CONFIG))
    modules = ("--import", "my_method.py", "--import", "my_task.py")
    printed = w2s(site, tmp_path, *modules, "run", "mine.yaml", "--name", "mine")
    assert "the tuned model" in printed
    assert "mine" in w2s(site, tmp_path, *modules, "runs")
    assert "322 distinct steps" in w2s(
        site, tmp_path / "lab", "sweep", "sweeps/mini_threshold.yaml", "--dry-run"
    )
