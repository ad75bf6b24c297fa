"""Change one place of a module at a time, run its fast tests, and list the changes that no test notices.

    python tests/mutation/mutate.py w2s_core/selection.py tests/selection

Each mutant lives in a forked process, and the tree on disk stays as it is. A change within a function is put into the
function as it was loaded, after the tests are collected, and the tests that call this function run, the shortest first.
For a change outside functions all the tests run afresh: the changed module takes its name's place by an import hook.
Messages of errors, docstrings and descriptions are left alone.
"""

import argparse
import ast
import contextlib
import copy
import functools
import gc
import importlib.abc
import importlib.util
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 120
SURVIVES, NOTICED, AT_IMPORT_ONLY = range(3)
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly")
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
    """One change: the line it is in, what it does, the module's source with it, and the function around it, or ""."""

    line: int
    what: str
    source: str
    function: str


def mutants(path: Path) -> Iterator[Mutant]:
    """Every mutant of a module, in order of its lines."""
    tree = ast.parse(path.read_text())
    functions = list(_functions(tree.body))
    seen = {ast.unparse(tree)}
    found = []
    for change in _changes(tree):
        line, what, apply = change
        with apply():
            source = ast.unparse(ast.fix_missing_locations(tree))
        if source not in seen:
            seen.add(source)
            around = (name for name, node in functions if node.lineno <= line <= (node.end_lineno or 0))
            found.append(Mutant(line, what, source, next(around, "")))
    yield from sorted(found, key=lambda mutant: mutant.line)


def _functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and methods of its classes by their qualified names; none within another."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")


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
    """Whether all the tests pass with the mutant in place from its import on."""

    def run() -> int:
        sys.meta_path.insert(0, Hook(_dotted(path), path, mutant.source))
        import pytest

        return int(pytest.main([*OPTIONS, *tests], plugins=[Profile()]))

    return _forked(run, TIMEOUT_S) == SURVIVES


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _forked(run: Callable[[], int], limit_s: float) -> int:
    """What `run` returns in a silent process of its own; `NOTICED` for one that fails or hangs."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        result = NOTICED
        try:
            result = run()
        finally:
            os._exit(result)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return NOTICED


class Profile:
    """Hypothesis without chance: the same examples for each mutant, and none made smaller once one fails."""

    def pytest_sessionstart(self) -> None:
        """After `conftest.py`, which loads a profile of its own."""
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=[HealthCheck.too_slow],
        )
        settings.load_profile("mutation")


class Loop(Profile):
    """Runs the collected tests once for each mutant within a function, and writes which survive.

    A mutant that cannot be put in place (`AT_IMPORT_ONLY`) is written too, without a run.
    """

    def __init__(self, path: Path, every: list[Mutant], result: Path) -> None:
        self.path, self.every, self.result = path, every, result

    def pytest_runtestloop(self, session: Any) -> bool:
        """In place of pytest's own loop."""
        importlib.import_module(_dotted(self.path))
        functions = [o for o in gc.get_objects() if isinstance(o, FunctionType)]
        self.functions = {f.__qualname__: f for f in functions if f.__code__.co_filename == str(self.path)}
        self.caches = [o for o in gc.get_objects() if isinstance(o, functools._lru_cache_wrapper)]
        gc.freeze()
        if _forked(lambda: self._trace(session), 1800):
            return False
        traced = json.loads(self.result.read_text())
        states = []
        for mutant in self.every:
            tests = [i for i, (_, called) in enumerate(traced) if mutant.function in called]
            tests.sort(key=lambda i: traced[i][0])
            limit = 10 + 5 * sum(traced[i][0] for i in tests)
            states.append(_forked(lambda m=mutant, t=tests: self._run(session, m, t), limit))
            if len(states) % 50 == 0:
                print(f"# {len(states)} of {len(self.every)}", file=sys.stderr, flush=True)
            if states[-1] == SURVIVES:
                print(f"{self.path.name}:{mutant.line}: {mutant.what}", file=sys.stderr, flush=True)
        self.result.write_text(json.dumps(states))
        return True

    def _trace(self, session: Any) -> int:
        """Write of each test how long it takes and which functions of the module it calls."""
        traced = []
        for item in session.items:
            called: set[str] = set()

            def note(frame: FrameType, event: str, arg: object, called: set[str] = called) -> None:
                if frame.f_code.co_filename == str(self.path):
                    called.add(frame.f_code.co_qualname)

            self._clear()
            start = time.monotonic()
            sys.settrace(note)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            sys.settrace(None)
            traced.append((time.monotonic() - start, sorted(called)))
        self.result.write_text(json.dumps(traced))
        return int(session.testsfailed)

    def _run(self, session: Any, mutant: Mutant, tests: list[int]) -> int:
        if not self._put(mutant):
            return AT_IMPORT_ONLY
        self._clear()
        for i in tests:
            session.items[i].config.hook.pytest_runtest_protocol(item=session.items[i], nextitem=None)
            if session.testsfailed:
                return NOTICED
        return SURVIVES

    def _put(self, mutant: Mutant) -> bool:
        """Whether the mutant's function could take the place of the loaded one."""
        gc.disable()  # so that what the changed source makes stays among the new objects
        exec(compile(mutant.source, "<mutant>", "exec"), {"__name__": _dotted(self.path)})  # noqa: S102
        made = [
            o for o in gc.get_objects() if isinstance(o, FunctionType) and o.__qualname__ == mutant.function
        ]
        gc.enable()
        new = [f for f in made if f.__code__.co_filename == "<mutant>"]
        old = self.functions.get(mutant.function)
        if old is None or len(new) != 1 or old.__code__.co_freevars != new[0].__code__.co_freevars:
            return False
        old.__code__ = new[0].__code__
        old.__defaults__, old.__kwdefaults__ = new[0].__defaults__, new[0].__kwdefaults__
        return True

    def _clear(self) -> None:
        for cache in self.caches:
            if cache.__module__.startswith(("w2s_core", "tests")):
                cache.cache_clear()


def main() -> None:
    """Print each survivor as it is seen, and the counts at the end."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--lines", help="only these, as 10-40,52")
    parser.add_argument("--every", type=int, default=1, help="only every Nth change")
    arguments = parser.parse_args()
    for library in ("pytest", "numpy", "scipy.stats", "pydantic", "yaml", "pyarrow.parquet", "hypothesis"):
        importlib.import_module(library)
    path = arguments.module.resolve()
    ranges = [part.partition("-") for part in (arguments.lines or "1-1000000").split(",")]
    chosen = [(int(first), int(last or first)) for first, _, last in ranges]
    every = [m for m in mutants(path) if any(first <= m.line <= last for first, last in chosen)]
    every = every[:: arguments.every]
    within = [m for m in every if m.function]
    states = _states(path, within, arguments.tests)
    alive = states.count(SURVIVES)
    afresh = [m for m, state in zip(within, states, strict=True) if state == AT_IMPORT_ONLY]
    for mutant in [*(m for m in every if not m.function), *afresh]:
        if survives(path, mutant, arguments.tests):
            alive += 1
            print(f"{path.name}:{mutant.line}: {mutant.what}", flush=True)
    print(f"{arguments.module}: {len(every)} mutants, {alive} survive", flush=True)


def _states(path: Path, within: list[Mutant], tests: list[str]) -> list[int]:
    """What became of the mutants within functions, in a process that has collected the tests."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "states.json"
        child = os.fork()
        if child == 0:
            import pytest

            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os._exit(int(pytest.main([*OPTIONS, "-s", *tests], plugins=[Loop(path, within, result)])))
        if os.waitpid(child, 0)[1]:
            sys.exit("the tests fail without any change")
        states: list[int] = json.loads(result.read_text())
        return states


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
