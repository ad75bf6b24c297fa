"""Change one place of a module at a time, run its fast tests, and list the changes that no test notices.

    python tests/mutation/mutate.py w2s_core/selection.py tests/selection --out survivors.md

Each mutant lives in a forked process: libraries are loaded once, and the changed module takes its name's place by an
import hook, so that the tree on disk stays as it is. Messages of errors, docstrings and descriptions are left alone.
"""

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.And: ast.Or, ast.Or: ast.And, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.FloorDiv: ast.Div,
}  # fmt: skip
PROSE = {"description", "summary"}
"""Keywords whose values are told to people."""


@dataclass(frozen=True)
class Mutant:
    """One change: the line it is in, what it does, and the module's source with it."""

    line: int
    what: str
    source: str


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a module, in order of its lines."""
    tree = ast.parse(path.read_text())
    seen = {ast.unparse(tree)}
    found = []
    for change in _changes(tree):
        line, what, apply = change
        with apply():
            source = ast.unparse(ast.fix_missing_locations(tree))
        if source not in seen:
            seen.add(source)
            found.append(Mutant(line, what, source))
    yield from sorted(found, key=lambda mutant: mutant.line)


Change = tuple[int, str, Callable[[], Any]]


def _changes(tree: ast.Module) -> Iterator[Change]:
    for node, names in _code(tree):
        if isinstance(node, ast.Constant):
            yield from _constant(node)
        elif isinstance(node, ast.Compare):
            yield from (_item(node.ops, i, op, node) for i, op in enumerate(node.ops) if type(op) in SWAPS)
        elif isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
            yield _attribute(node, "op", SWAPS[type(node.op)](), type(node.op).__name__)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
            yield _attribute(node, "op", ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not(), "sign")
        elif isinstance(node, ast.Call):
            yield from _dropped_keywords(node)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
            yield from (
                _attribute(node, "id", other, f"{node.id} -> {other}")
                for other in _neighbours(node.id, names)
            )
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            negated = ast.UnaryOp(ast.Not(), node.test)
            yield _attribute(node, "test", negated, "condition negated")
        if isinstance(node, ast.Return) and node.value is not None:
            yield _attribute(node, "value", ast.Constant(None), "returns None")


def _neighbours(name: str, names: list[str]) -> list[str]:
    """The two names that are bound before and after this one in the same function."""
    at = names.index(name)
    return list(dict.fromkeys(other for other in (*names[max(0, at - 1) : at], *names[at + 1 : at + 2])))


def _code(tree: ast.Module) -> Iterator[tuple[ast.AST, list[str]]]:
    """Nodes that decide something, each with the local names of the function around it."""
    queue: list[tuple[ast.AST, list[str]]] = [(node, []) for node in tree.body]
    while queue:
        node, names = queue.pop(0)
        if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.AnnAssign | ast.ClassDef):
            queue += [(child, names) for child in _values(node)]
            continue
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            names = _bound(node)
        yield node, names
        queue += [(child, names) for child in _children(node)]


def _values(node: ast.AST) -> list[ast.AST]:
    """What of an import, an error, an annotation or a class is code: values and bodies, no annotations or messages."""
    if isinstance(node, ast.AnnAssign):
        return [node.value] if node.value else []
    return _without_docstring(node.body) if isinstance(node, ast.ClassDef) else []


def _children(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.FunctionDef):
        defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
        return [*defaults, *_without_docstring(node.body)]
    if isinstance(node, ast.keyword) and node.arg in PROSE:
        return []
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return []  # a docstring of a constant
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Name)
    ):
        return [node.slice] if node.value.id[:1].islower() and node.value.id not in ("dict", "list") else []
    return list(ast.iter_child_nodes(node))


def _without_docstring(body: list[ast.stmt]) -> list[ast.AST]:
    first = body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return list(body[1:] if documented else body)


def _bound(function: ast.FunctionDef | ast.Lambda) -> list[str]:
    arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    stored = [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return list(dict.fromkeys([*arguments, *stored]))


def _constant(node: ast.Constant) -> Iterator[Change]:
    value = node.value
    if isinstance(value, bool):
        yield _attribute(node, "value", not value, f"{value} -> {not value}")
    elif isinstance(value, int | float):
        yield _attribute(node, "value", value + 1, f"{value} -> {value + 1}")
    elif isinstance(value, str):
        yield _attribute(node, "value", value + "x", f"'{value}' -> '{value}x'")


def _dropped_keywords(node: ast.Call) -> Iterator[Change]:
    for keyword in list(node.keywords):
        if keyword.arg not in PROSE:
            yield node.lineno, f"keyword {keyword.arg or '**'} dropped", lambda k=keyword: _dropped(node, k)


@contextlib.contextmanager
def _dropped(node: ast.Call, keyword: ast.keyword) -> Iterator[None]:
    kept = node.keywords
    node.keywords = [k for k in kept if k is not keyword]
    yield
    node.keywords = kept


def _item(ops: list[ast.cmpop], at: int, op: ast.cmpop, node: ast.Compare) -> Change:
    @contextlib.contextmanager
    def apply() -> Iterator[None]:
        ops[at] = SWAPS[type(op)]()
        yield
        ops[at] = op

    return node.lineno, f"{type(op).__name__} swapped", apply


def _attribute(node: Any, name: str, value: Any, what: str) -> Change:
    @contextlib.contextmanager
    def apply() -> Iterator[None]:
        before = copy.copy(getattr(node, name)) if not isinstance(value, ast.UnaryOp) else getattr(node, name)
        setattr(node, name, value)
        yield
        setattr(node, name, before)

    return node.lineno, what, apply


class Hook(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module another source."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        """The changed module's spec, with the file that it stands for."""
        if fullname != self.name:
            return None
        spec = importlib.util.spec_from_file_location(fullname, self.path, loader=self)
        if spec is not None and self.path.name == "__init__.py":
            spec.submodule_search_locations = [str(self.path.parent)]
        return spec

    def exec_module(self, module: Any) -> None:
        """Run the changed source."""
        exec(compile(self.source, str(self.path), "exec"), module.__dict__)  # noqa: S102 - our own code, changed


def survives(path: Path, mutant: Mutant, tests: list[str]) -> bool:
    """Whether the tests pass with the mutant in place. A mutant that hangs is noticed."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        sys.meta_path.insert(0, Hook(dotted, path, mutant.source))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"]
        os._exit(int(pytest.main([*options, *tests])) != 0)
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    """Print each survivor as it is seen, and the counts at the end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--lines", help="only these, as 10-40")
    parser.add_argument("--every", type=int, default=1, help="only every Nth change")
    arguments = parser.parse_args()
    for library in ("pytest", "numpy", "scipy.stats", "pydantic", "yaml", "pyarrow.parquet", "hypothesis"):
        importlib.import_module(library)
    path = arguments.module.resolve()
    first, _, last = (arguments.lines or "1-1000000").partition("-")
    every = [m for m in mutants(path) if int(first) <= m.line <= int(last)][:: arguments.every]
    if not survives(path, Mutant(0, "", path.read_text()), arguments.tests):
        sys.exit("the tests fail without any change")
    alive = 0
    for mutant in every:
        if survives(path, mutant, arguments.tests):
            alive += 1
            print(f"{arguments.module}:{mutant.line}: {mutant.what}", flush=True)
    print(f"{arguments.module}: {len(every)} mutants, {alive} survive", flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
