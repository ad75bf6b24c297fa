"""Rules of the house that no other tool keeps: what an import may cost, how long a file may be, who imports TRL."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"accelerate", "datasets", "pandas", "peft", "torch", "transformers", "trl"}
# matplotlib and scipy are no part of a pure room either; pyarrow and sympy come in when they are first used.
SLOW_TO_LOAD = HEAVY | {"matplotlib", "math_verify", "pyarrow", "scipy", "sympy", "trackio", "wandb"}
PURE = ["answers", "prompting", "selection", "statistics"]
PLANNING = ["", "cli", "engine", "errors", "experiment", "recipes", "rows", "steps", "tasks", "tracking"]


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running `code`."""
    report = "print('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    script = f"import json, sys\n{code}\n{report}"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", [*PLANNING, *PURE])
def test_planning_and_pure_rooms_load_nothing_heavy(name: str) -> None:
    found = loaded_by(f"import w2s_core{name and '.'}{name}")
    assert "w2s_core" in found
    assert not found & HEAVY


def test_help_loads_nothing_slow() -> None:
    found = loaded_by(
        "from w2s_core.cli.main import main\nsys.argv = ['w2s', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n"
        "    assert not end.code, end.code"
    )
    assert not found & SLOW_TO_LOAD


def sources() -> Iterator[Path]:
    for room in ("w2s_core", "analysis", "sweeps"):
        yield from sorted((ROOT / room).rglob("*.py"))


def test_files_are_short_enough_to_read() -> None:
    too_long = {str(path.relative_to(ROOT)) for path in sources() if len(path.read_text().splitlines()) > 400}
    assert not too_long


def test_every_package_of_the_tree_is_installed_by_the_build() -> None:
    """A build finds packages by their __init__.py: a folder of sources without one would be left out."""
    folders = {path.parent for path in sources()}
    assert not {str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()}


def test_the_experimental_part_of_trl_is_imported_in_one_place() -> None:
    """It may change with any release of TRL: then one file has to follow."""
    users = {str(path.relative_to(ROOT)) for path in sources() if any(map(is_experimental, imports(path)))}
    assert len(users) == 1, users


def is_experimental(module: str) -> bool:
    return module.startswith("trl.experimental")


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count: a circle that is hidden there is still one to whoever reads the code."""
    graph = grimp.build_graph("w2s_core", "analysis", "sweeps")
    after = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    circles = []
    while leaves := {name for name, imported in after.items() if not imported & after.keys()}:
        after = {name: imported for name, imported in after.items() if name not in leaves}
    while starts := after.keys() - {name for imported in after.values() for name in imported}:
        after = {name: imported for name, imported in after.items() if name not in starts}
    circles = sorted(after)
    assert not circles, "these modules import each other, or stand between circles"
