"""Python sources as trees: what each name at the top of a module stands for, which names a piece of code uses, and
a text of a piece that comments, formatting and docstrings do not move.

Nothing is imported: sources are parsed only.
"""

import ast
import importlib.util
import symtable
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

_DOCUMENTED = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Statements = ast.AST | list[ast.AST]


@dataclass(frozen=True)
class Imported:
    """One name that an import statement binds: a module (`name` is None), or a name out of a module."""

    bound: str
    module: str
    name: str | None

    def __str__(self) -> str:
        return f"{self.module}:{self.name or ''}"


@dataclass
class Source:
    """A parsed module. `definitions`: what each name at its top stands for, statements or an import."""

    name: str
    package: str
    tree: ast.Module
    definitions: dict[str, Any] = field(default_factory=dict)
    _names: dict[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def names_in(self, name: str) -> frozenset[str]:
        """The global names that a definition uses."""
        if name not in self._names:
            self._names[name] = frozenset(global_names(self.definitions[name]))
        return self._names[name]


@cache
def read_source(name: str, path: Path, text: bytes) -> Source:
    """A module's source, parsed once. `text` is what the file at `path` holds."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(text, str(path))
    return Source(name, package, tree, _definitions(tree, package))


def source_files(name: str) -> dict[str, Path]:
    """The source files of a module or package, by dotted name, in order.

    Raises:
        ValueError: there is no such module: a step's `code` names it wrongly.
    """
    top, *rest = name.split(".")
    origin = top_file(top)
    if origin is None:
        raise ValueError(f"a step's code names the module '{name}', which has no source file")
    place = origin.parent.joinpath(*rest) if origin.name == "__init__.py" else origin
    if rest and place.with_suffix(".py").is_file():
        return {name: place.with_suffix(".py")}
    if place.is_file() and not rest:
        return {name: place}
    if not (place / "__init__.py").is_file():
        raise ValueError(f"a step's code names the module '{name}', which does not exist")
    return {_dotted(name, place, path): path for path in sorted(place.rglob("*.py"))}


def module_file(name: str) -> Path | None:
    """The one file of a module, or a package's `__init__`; None for what is no module."""
    top, *rest = name.split(".")
    origin = top_file(top)
    if origin is None or (rest and origin.name != "__init__.py"):
        return None
    place = origin.parent.joinpath(*rest) if rest else origin
    candidates = [place.with_suffix(".py"), place / "__init__.py"] if rest else [place]
    return next((path for path in candidates if path.is_file()), None)


def top_file(top: str) -> Path | None:
    """The source file of a top module or package; None for one without, such as a built-in."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # `__main__` has no spec
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    return Path(spec.origin)


def describe(
    node: Any, drops: Callable[[Any], bool] = lambda node: False, modules: Mapping[str, str] | None = None
) -> str:
    """A syntax tree as text, without docstrings, positions and empty fields (which differ between Python
    versions).

    Args:
        node: a tree, a list of trees, or a value in a tree.
        drops: tells the statements that are left out.
        modules: what stands in the text for a name, or a dotted name, that is bound to a module.
    """
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, list):
        items = [item for item in node if not (isinstance(item, ast.stmt) and drops(item))]
        return f"[{','.join([describe(item, drops, modules) for item in items])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if modules and (alias := modules.get(dotted_name(node))):
        return alias
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, _DOCUMENTED):
            value = without_docstring(value)
        if value is not None and value != []:
            fields.append(f"{name}={describe(value, drops, modules)}")
    return f"{type(node).__name__}({','.join(fields)})"


def dotted_name(node: ast.AST) -> str:
    """`a.b.c` of such an expression; empty for any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted_name(node.value)):
        return f"{base}.{node.attr}"
    return ""


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a body but its docstring."""
    first = body[0] if body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:]
    return body


def imports_in(node: Statements, package: str) -> Iterator[Imported]:
    """What the import statements bind that stand in a piece of code at any depth, in order."""
    queue = [*node] if isinstance(node, list) else [node]
    for part in queue:
        if isinstance(part, ast.Import | ast.ImportFrom):
            yield from imported(part, package)
        elif not isinstance(part, ast.expr) and not is_for_types(part):  # no expression holds a statement
            queue += ast.iter_child_nodes(part)


def is_for_types(node: ast.AST) -> bool:
    """Whether only a type checker executes a statement."""
    return isinstance(node, ast.If) and dotted_name(node.test).endswith("TYPE_CHECKING") and not node.orelse


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[Imported]:
    """The names that an import statement binds; relative module names are made absolute."""
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield Imported(alias.asname or alias.name, _absolute(node, package), alias.name)
        else:  # `import a.b` binds `a`, and the code says `a.b`
            yield Imported(alias.asname or alias.name, alias.name, None)


def global_names(node: Any) -> set[str]:
    """The global names that a piece of code uses; a local variable of the same name as a global is not it."""
    if isinstance(node, list):
        return {name for item in node for name in global_names(item)}
    if not isinstance(node, ast.AST):
        return set()
    plain = _SameScopes().visit(ast.parse(ast.unparse(node)))
    top = symtable.symtable(ast.unparse(plain), "a piece", "exec")
    names = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    scopes = [*top.get_children()]
    while scopes:
        scope = scopes.pop()
        names |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        scopes += scope.get_children()
    return names


class _SameScopes(ast.NodeTransformer):
    """Writes code so that every version of Python sees the names in it that 3.11 sees.

    From 3.12 on (PEP 709) a comprehension's variables count as names of what surrounds it; a generator's do not. From
    3.14 on (PEP 649) the annotation of a local variable uses no names; the same expression by itself does.
    """

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.AST:
        return ast.GeneratorExp(self.visit(node.elt), [self.visit(part) for part in node.generators])

    visit_SetComp = visit_ListComp  # noqa: N815

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        pair = ast.Tuple([self.visit(node.key), self.visit(node.value)], ast.Load())
        return ast.GeneratorExp(pair, [self.visit(part) for part in node.generators])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> list[ast.stmt]:
        self.generic_visit(node)
        return [node, ast.Expr(node.annotation)]


def _definitions(tree: ast.Module, package: str) -> dict[str, Any]:
    """What each name at the top of a module stands for: statements, or an import."""
    definitions: dict[str, Any] = {}
    for node in tree.body:
        for name, meaning in _bound(node, package):
            before = definitions.get(name)
            if (
                isinstance(node, ast.AugAssign) and before is not None
            ):  # `KINDS += (...)` adds to what it stands for
                meaning = [*(before if isinstance(before, list) else [before]), meaning]
            definitions[name] = meaning
    return definitions


def _bound(node: ast.stmt, package: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, node
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for entry in imported(node, package):
            yield f"* of {entry.module}" if entry.bound == "*" else entry.bound, entry
    else:  # an assignment, or a block such as try or if: each name bound in it stands for the whole statement
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id, node
            elif isinstance(part, ast.FunctionDef | ast.ClassDef):
                yield part.name, node
            elif isinstance(part, ast.alias):
                yield part.asname or part.name.split(".")[0], node


def _dotted(package: str, folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    base = package.split(".")
    base = base[: len(base) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])
