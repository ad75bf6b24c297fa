"""Steps of the user's own: where worker processes and Ray tasks find them, and what they say where they cannot."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.toy import number
from w2s_core.engine.executors.imports import import_all, job_imports
from w2s_core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys
from w2s_core.engine import Store, run_graph, step
from w2s_core.errors import UserError
from tests.engine.toy import number

@step(version=1)
def scripted(ctx, *, n: int, of=None):
    return {"n": n}

try:
    targets = {str(n): scripted(n=n, of=number(n=n)) for n in range(2)}
    outcome = run_graph(targets, Store(sys.argv[1]), workers=int(sys.argv[2]), executor=sys.argv[3])
    print(len(outcome.done))
except UserError as error:
    print(f"UserError: {error}")
"""

# The recipe asks a registry that the plug-in `registers` fills; the step's own module does not import it
REGISTRY = "rules = {}\n"
REGISTERS = "from registry import rules\nrules['double'] = lambda n: 2 * n\n"
STEPS = """
from w2s_core.engine import step
from registry import rules

@step(version=1)
def plugged(ctx, *, n: int):
    return {"n": rules["double"](n)}
"""
DRIVER = """
import sys
sys.path.insert(0, sys.argv[2])
import registers
from steps_of_mine import plugged
from w2s_core.engine import Store, run_graph
sys.path.remove(sys.argv[2])
store = Store(sys.argv[1])
targets = {str(n): plugged(n=n) for n in range(2)}
imports = {"modules": ["registers"], "paths": [sys.argv[2]]}
outcome = run_graph(targets, store, workers=2, imports=imports)
print(outcome.failed, [store.manifest(one.key)["summary"]["n"] for one in targets.values()])
"""


def python(script: str, *arguments: object, cwd: Path) -> str:
    """What a script prints that is run in a folder."""
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(("workers", "executor", "refused"), [(1, "local", False), (2, "local", True)])
def test_a_step_of_a_script_is_refused_before_the_first_step(
    tmp_path: Path, workers: int, executor: str, refused: bool
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    printed = python("script.py", tmp_path / "store", workers, executor, cwd=tmp_path)
    if refused:
        assert printed == (
            "UserError: step scripted is defined in the script that was started (__main__), which other processes "
            "cannot import: move it to a module, or run without --workers and --executor ray\n"
        )
        assert not list((tmp_path / "store" / "objects").rglob("manifest.json"))
    else:
        assert printed == "4\n"


def test_workers_import_the_plug_ins_that_the_user_named(tmp_path: Path) -> None:
    plug_ins = tmp_path / "plug ins"
    plug_ins.mkdir()
    for name, text in {"registry": REGISTRY, "registers": REGISTERS, "steps_of_mine": STEPS}.items():
        (plug_ins / f"{name}.py").write_text(text)
    (tmp_path / "driver.py").write_text(DRIVER)
    assert python("driver.py", tmp_path / "store", plug_ins, cwd=tmp_path) == "{} [0, 2]\n"


def test_a_job_names_plug_ins_first_and_each_module_once() -> None:
    job = job_imports(
        [number(n=1), number(n=2)], {"modules": ["b", "a", "tests.engine.toy"], "paths": ["/x"]}
    )
    assert job == {"modules": ["b", "a", "tests.engine.toy"], "paths": ["/x"]}
    assert job_imports([number(n=1)], {}) == {"modules": ["tests.engine.toy"], "paths": []}


def test_a_module_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(UserError, match="cannot import no_such_plug_in"):
        import_all({"modules": ["no_such_plug_in"], "paths": []})
