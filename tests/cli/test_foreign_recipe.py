"""A stranger's method, task and answer rule, end to end, with every command that the core has itself.

No package that writes reports is installed here: the core does without.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.foreign import TASK, write_method
from tests.metadata import declared, environment, write_metadata
from w2s_core.engine import Store

pytestmark = pytest.mark.slow


def w2s(folder: Path, *arguments: object, status: int = 0) -> str:
    """The command line in a folder, with the method imported; what it printed on both streams."""
    command = [sys.executable, "-P", "-m", "w2s_core.cli", "--import", "my_method", *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder / "installed"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def counted(printed: str) -> dict[str, Any]:
    """The line of JSON that `gc` and `verify` print beside their words."""
    (line,) = (line for line in printed.splitlines() if line.startswith("{"))
    counts: dict[str, Any] = json.loads(line)
    return counts


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stranger's folder with a finished run, called `first`, in its store."""
    folder = tmp_path_factory.mktemp("stranger")
    commands = {"w2s.commands": declared()["w2s.commands"]}
    write_metadata(folder / "installed", "w2s", commands)
    write_method(folder)
    # "total" is no word of the lab's bases, whose tokenizer would be refused as one that loses text.
    (folder / "my_task.py").write_text(TASK.replace("total:", "together:"))
    planned = w2s(folder, "plan", "my.yaml")
    assert "13 steps: 13 missing" in planned
    assert "done: 13 computed" in w2s(folder, "run", "my.yaml", "--name", "first")
    return folder


@pytest.fixture
def copy(lab: Path, tmp_path: Path) -> Path:
    """The folder again, for a test that changes it."""
    return Path(shutil.copytree(lab, tmp_path / "copy"))


def recorded(folder: Path, run: str) -> dict[str, dict[str, str]]:
    record: dict[str, dict[str, str]] = Store(folder / ".w2s").refs.read(run)
    return record


def test_a_second_run_answers_from_the_store(lab: Path) -> None:
    assert "13 steps: 13 cached" in w2s(lab, "plan", "my.yaml")


def test_show_prints_the_fields_of_this_method_only(lab: Path) -> None:
    shown = w2s(lab, "show", "first")
    assert "  recipe = shortest\n" in shown
    assert "  draws.number = 2\n" in shown
    assert "stage" not in shown
    assert "weak" not in shown
    assert "greedy/test/tuned  computed" in shown


def test_runs_names_the_recipe_and_the_base_models_by_field(lab: Path) -> None:
    header, line = w2s(lab, "runs").splitlines()
    assert header.split() == ["run", "started", "recipe", "task", "base", "models", "seed", "state"]
    assert line.startswith("first")
    assert line.endswith("shortest  mini  model llama  0     complete")


def test_explain_of_a_computed_step_needs_no_plug_in(lab: Path) -> None:
    explained = w2s(lab, "explain", "first", "sft:tuned")
    assert explained.startswith("sft:tuned of run first: in the store\n")


def test_explain_plans_a_missing_step_with_the_recipe_of_the_record(copy: Path) -> None:
    key = recorded(copy, "first")["steps"]["greedy/test/tuned"]
    shutil.rmtree(Store(copy / ".w2s").path(key))
    explained = w2s(copy, "explain", "first", "greedy/test/tuned")
    assert explained.startswith("greedy/test/tuned of run first: not computed\n")
    assert "changed" not in explained
    method = copy / "my_method.py"
    method.write_text(method.read_text().replace("key=len", "key=hash"))
    line = w2s(copy, "explain", "first", "greedy/test/tuned", status=2)
    assert line.startswith(
        f"w2s: greedy/test/tuned of run first (key {key[:12]}) was never computed, and planned now"
    )
    assert "it has the key " in line
    assert line.count("\n") == 1


def test_a_changed_step_of_the_strangers_is_computed_anew(copy: Path) -> None:
    method = copy / "my_method.py"
    method.write_text(method.read_text().replace("key=len", "key=hash"))
    states = w2s(copy, "plan", "my.yaml")
    assert "8 cached, 5 missing" in states
    moved = method.read_text().replace("key=hash", "key=len").replace("# ", "#  ")
    (copy / "moved_method.py").write_text(moved)
    method.write_text("import moved_method\n")
    assert "13 steps: 13 cached" in w2s(copy, "plan", "my.yaml")


def test_gc_keeps_what_a_run_of_the_strangers_points_at(copy: Path) -> None:
    assert counted(w2s(copy, "gc"))["objects"] == 0
    assert counted(w2s(copy, "verify")) == {"objects": 13, "problems": 0}
    (record,) = (copy / ".w2s").rglob("first.json")
    record.unlink()
    assert counted(w2s(copy, "gc"))["objects"] == 13


def test_workers_import_the_method_the_task_and_the_rule(copy: Path) -> None:
    imports = ("--import", "my_task.py")
    arguments = ("task.name=sums", "task.options.below=30", "--name", "second", "--workers", 2)
    (copy / "my.yaml").write_text(
        json.dumps(json.loads((copy / "my.yaml").read_text()) | {"task": {"name": "sums", "options": {}}})
    )
    assert "done: " in w2s(copy, *imports, "run", "my.yaml", *arguments)
    key = recorded(copy, "second")["targets"]["greedy/test/tuned"]
    spec = Store(copy / ".w2s").manifest(key)["spec"]
    assert spec["params"]["rule"].startswith("total ")
    task = copy / "my_task.py"
    task.write_text(task.read_text().replace('rpartition("together:")', 'rpartition("more:")'))
    planned = w2s(copy, *imports, "plan", "my.yaml", *arguments[:2])
    missing = [line.split()[0] for line in planned.splitlines() if " missing " in line]
    assert sorted(missing) == ["greedy/test/base", "greedy/test/tuned", "labels/chosen"]


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'w2s[ray]'"
)
def test_ray_tasks_import_the_method_the_task_and_the_rule(copy: Path, tmp_path: Path) -> None:
    """The same keys and bytes as the driver's own process computes."""
    (copy / "my.yaml").write_text(
        json.dumps(json.loads((copy / "my.yaml").read_text()) | {"task": {"name": "sums", "options": {}}})
    )
    arguments = ("--import", "my_task.py", "run", "my.yaml", "task.options.below=30", "--name", "sums")
    files = []
    for name, executor in {"inline": (), "ray": ("--executor", "ray", "--workers", 2)}.items():
        store = tmp_path / name
        assert "done: 13 computed" in w2s(copy, "--store", store, *arguments, *executor)
        files.append({key: Store(store).manifest(key)["files"] for key in sorted(Store(store).keys())})
    assert len(files[0]) == 13
    assert files[0] == files[1]


def test_a_run_whose_recipe_is_not_imported_is_still_shown(copy: Path) -> None:
    (copy / "my_method.py").write_text("")
    assert "  draws.number = 2\n" in w2s(copy, "show", "first")
    assert "shortest" in w2s(copy, "runs")
    line = w2s(copy, "plan", "my.yaml", status=2)
    assert "unknown recipe 'shortest'" in line
