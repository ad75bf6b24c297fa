"""What code and which library versions decide a step's result, as digests that comments and formatting do
not move.

Nothing is imported to find out: sources are parsed, and versions come from the installed packages' metadata.
"""

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import symtable
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from w2s_core.errors import UserError

_DOCUMENTED = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_confirmed: dict[str, dict[str, str]] = {}


@cache
def module_digests(name: str) -> dict[str, str]:
    """Digests of a module, or of every module in a package, by dotted name; read once in the life of a
    process.
    """
    return _read_digests(name)


@cache
def library_version(name: str) -> str:
    """The installed version of a distribution ("torch" -> "2.13.0").

    Raises:
        UserError: it is not installed, so the step could not run either.
    """
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise UserError(f"the library '{name}' is needed and not installed") from None


@cache
def function_digest(function: Callable[..., Any]) -> str:
    """The digest of a function with all that it uses from its own module: helpers, constants, imported names.

    Decorators are left out: what a step's decorator says is in the key by itself.
    """
    parts = {name: describe(meaning) for name, meaning in _own_code(function).items()}
    return _sha("\n".join(f"{name}={parts[name]}" for name in sorted(parts)))


def confirm_loaded(names: tuple[str, ...]) -> None:
    """Import the modules that a key names and check that their sources are still those that the key was
    made from.

    Afterwards the process holds that code, and later edits on disk cannot reach a result under the old key.

    Raises:
        UserError: a source was edited between planning and running.
    """
    for name in names:
        if name in _confirmed:
            continue
        for module in module_digests(name):
            _import_if_possible(module)
        if _read_digests(name) != module_digests(name):
            raise UserError(f"the code of {name} changed since this command started: start it again")
        _confirmed[name] = module_digests(name)


def describe(node: Any) -> str:
    """A syntax tree as text, without docstrings, positions and empty fields (which differ between Python
    versions).
    """
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, list):
        return f"[{','.join(describe(item) for item in node)}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, _DOCUMENTED):
            value = _without_docstring(value)
        if value is not None and value != []:
            fields.append(f"{name}={describe(value)}")
    return f"{type(node).__name__}({','.join(fields)})"


def undeclared_imports(declared: tuple[str, ...], used: Callable[..., Any]) -> set[str]:
    """Modules of the same top packages that the declared code imports, at any remove and depth, yet does
    not declare.

    `used` is the step's function: what it and its helpers import inside their bodies counts too. A test can hold
    this equal to the modules that are known not to decide a result, since a wrong hit is worse than a miss.
    """
    tops = {name.split(".")[0] for name in (*declared, used.__module__)}
    covered = {module for name in declared for module in source_files(name)}
    found: set[str] = set()
    own = [node for node in _own_code(used).values() if isinstance(node, ast.AST)]
    imported = [name for node in own for name in _imports(node, used.__module__.rpartition(".")[0])]
    queue = [*covered, *(name for name in imported if name.split(".")[0] in tops)]
    while queue:
        name = queue.pop()
        if name in found or (path := _module_path(name)) is None:
            continue
        found.add(name)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        queue += [other for other in _imports(_parse(path), package) if other.split(".")[0] in tops]
    return found - covered


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _module_path(name: str) -> Path | None:
    """The one file of a module, or a package's `__init__`; None for what is no module (an imported
    function, say).
    """
    try:
        return source_files(name)[name]
    except ValueError:
        return None


def source_files(name: str) -> dict[str, Path]:
    """The source files of a module or package, by dotted name, in order.

    Raises:
        ValueError: there is no such module: a step's `code` names it wrongly.
    """
    top, *rest = name.split(".")
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None or found.origin in ("built-in", "frozen"):
        raise ValueError(f"a step's code names the module '{name}', which has no source file")
    origin = Path(found.origin)
    place = origin.parent.joinpath(*rest) if origin.name == "__init__.py" else origin
    if rest and place.with_suffix(".py").is_file():
        return {name: place.with_suffix(".py")}
    if place.is_file() and not rest:
        return {name: place}
    if not (place / "__init__.py").is_file():
        raise ValueError(f"a step's code names the module '{name}', which does not exist")
    return {_dotted(name, place, path): path for path in sorted(place.rglob("*.py"))}


def _dotted(package: str, folder: Path, path: Path) -> str:
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _read_digests(name: str) -> dict[str, str]:
    return {module: _sha(describe(_parse(path))) for module, path in source_files(name).items()}


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:]
    return body


def _own_code(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's tree, under the name "", and what it uses of its own module by name, at any remove."""
    defined = _definitions(_parse(Path(inspect.getfile(function))))
    node = _definition_of(function, defined)
    node.decorator_list = []
    parts: dict[str, Any] = {"": node}
    queue = [*_names(node)]
    while queue:
        name = queue.pop()
        if name in defined and name not in parts and name != node.name:
            parts[name] = defined[name]
            queue += _names(defined[name])
    return parts


def _definition_of(function: Callable[..., Any], defined: dict[str, Any]) -> ast.FunctionDef:
    node = defined.get(function.__qualname__)
    if not isinstance(node, ast.FunctionDef):  # nested in another function or a class
        node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(node, ast.FunctionDef):
        raise ValueError(f"the step {function.__qualname__} is not a plain function")
    return node


def _definitions(tree: ast.Module) -> dict[str, Any]:
    """What each name at the top of a module stands for: a statement, or (module, name) of an import."""
    found: dict[str, Any] = {}
    for node in tree.body:
        for name, meaning in _bound(node):
            found[name] = [found[name], meaning] if isinstance(node, ast.AugAssign) else meaning
    return found


def _bound(node: ast.stmt) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, node
    elif isinstance(node, ast.Import):
        yield from ((alias.asname or alias.name.split(".")[0], alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{'.' * node.level}{node.module or ''}:{alias.name}"
    else:  # an assignment, or a block such as try or if: each name bound in it stands for the whole statement
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                yield part.id, node
            elif isinstance(part, ast.FunctionDef | ast.ClassDef):
                yield part.name, node
            elif isinstance(part, ast.alias):
                yield part.asname or part.name.split(".")[0], node


def _names(node: Any) -> set[str]:
    """The global names that a piece of code uses; a local variable of the same name as a global is not it."""
    if isinstance(node, list):
        return {name for item in node for name in _names(item)}
    if not isinstance(node, ast.AST):
        return set()
    top = symtable.symtable(ast.unparse(node), "a piece", "exec")
    found = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inner = [*top.get_children()]
    while inner:
        scope = inner.pop()
        found |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        inner += scope.get_children()
    return found


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    base = package.split(".")
    base = base[: len(base) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def _import_if_possible(module: str) -> None:
    with suppress(
        ImportError
    ):  # an optional part whose library is absent; a step that needs it says so itself
        importlib.import_module(module)
