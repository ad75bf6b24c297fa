"""Rules of the house that no other tool keeps: what an import may cost, how long a file may be, who imports TRL."""

import ast
import json
import re
import statistics
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
PURE = ["answers.grading", "prompting", "selection", "statistics"]
PLANNING = [
    "", "cli.main", "engine", "errors", "experiment", "recipes.self_training", "recipes.weak_to_strong", "rows",
    "steps", "tasks", "tracking",
]  # fmt: skip


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
    for room in ("w2s", "w2s_core", "analysis/w2s_analysis", "sweeps/w2s_sweeps"):
        yield from sorted((ROOT / room).rglob("*.py"))


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
    graph = grimp.build_graph("w2s", "w2s_core", "w2s_analysis", "w2s_sweeps")
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    while leaves := {name for name, below in imported.items() if not below & imported.keys()}:
        imported = {name: below for name, below in imported.items() if name not in leaves}
    while roots := imported.keys() - {name for below in imported.values() for name in below}:
        imported = {name: below for name, below in imported.items() if name not in roots}
    assert not sorted(imported), "these modules import each other, or stand between two circles"


@pytest.mark.parametrize(("room", "most"), [("w2s_core", 15), ("analysis/w2s_analysis", 6)])
def test_a_room_has_few_flat_files(room: str, most: int) -> None:
    assert len(list((ROOT / room).glob("*.py"))) <= most


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                yield f"{path.relative_to(ROOT)}:{node.name}", node


def lines_of(function: ast.FunctionDef) -> int:
    """Lines without the docstring."""
    first = function.body[0]
    total = (function.end_lineno or 0) - function.lineno + 1
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        total -= (first.end_lineno or 0) - first.lineno + 1
    return total


def test_functions_are_short_and_take_few_parameters() -> None:
    """What a method's class or a step's context brings along is no parameter."""
    lengths = {name: lines_of(function) for name, function in functions()}
    assert statistics.median(lengths.values()) <= 7
    long = [name for name, length in lengths.items() if length > 50]
    assert len(long) <= 0.005 * len(lengths), long
    wide = [
        name
        for name, function in functions()
        if len([a for a in arguments_of(function) if a.arg not in ("self", "cls", "ctx")]) > 9
    ]
    assert not wide


def arguments_of(function: ast.FunctionDef) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


VAGUE = {"found", "made", "mine", "one", "ours", "said", "theirs", "told"}


def test_names_say_what_they_stand_for() -> None:
    """A reader meets `interval`, `responses`, `trial`; words like `one` and `found` say nothing about what is bound."""
    names = [name.strip("_") for path in sources() for name in bound_names(ast.parse(path.read_text()))]
    vague = [name for name in names if name in VAGUE]
    assert len(vague) < 0.01 * len(names)


def bound_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg


METHOD_WORDS = ("hybrid_ft", "weak_floor", "stage1", "stage2")


def test_only_a_method_and_its_part_of_analysis_name_it() -> None:
    """The harness serves any recipe: what it knows of one by name would be wrong of another."""
    own = (ROOT / "w2s_core/recipes/weak_to_strong.py", ROOT / "analysis/w2s_analysis/weak_to_strong")
    knowing = {
        str(path.relative_to(ROOT))
        for path in sources()
        if not any(path == place or place in path.parents for place in own)
        and any(word in path.read_text() for word in METHOD_WORDS)
    }
    assert not knowing


def test_the_core_names_neither_analysis_nor_sweeps() -> None:
    """Not in strings either: their commands and reports come in by entry points."""
    naming = re.compile(r"\b(w2s_analysis|w2s_sweeps)[.:/]\w")
    core = (path for path in sources() if path.is_relative_to(ROOT / "w2s_core"))
    allowed = ROOT / "w2s_core/recipes"  # a recipe says which part of analysis reports on it
    assert not [
        str(path.relative_to(ROOT))
        for path in core
        if allowed not in path.parents and naming.search(path.read_text())
    ]
