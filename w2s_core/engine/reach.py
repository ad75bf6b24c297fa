"""The code that a step reaches, as a graph of definitions, and digests of it by content.

A piece is one definition at the top of a module (with the statements that it stands for), or a whole module. It
points at the pieces that it uses by name, in its own module or through imports, at any remove. A digest is of the
texts of the pieces that are reached and of how they point at each other; in which module a piece stands is not in
it. So a module that is moved, renamed or made a package changes no digest, and another definition under the same
imported name does.
"""

import ast
import copy
import hashlib
import inspect
import json
import sysconfig
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from w2s_core.engine.syntax import (
    Imported,
    Source,
    describe,
    dotted_name,
    global_names,
    imported,
    imports_in,
    is_for_types,
    module_file,
    parse,
    read_source,
    source_files,
    top_file,
    without_docstring,
)
from w2s_core.errors import UserError
from w2s_core.plugins import Registry

Ref = tuple[str, str]  # a module and a name in it; the name is WHOLE for the module itself
WHOLE = ""
STEP = "<step>"
UNKEYED_MODULE = "unkeyed module"

NEVER_KEYED = (__package__, UserError.__module__, Registry.__module__)
"""The engine stores results and decides none, error classes end steps, and the registries of plug-ins only find them;
none is in a key unless declared."""

_INSTALLED = frozenset(Path(path) for path in sysconfig.get_paths().values())


@dataclass(frozen=True)
class Piece:
    """A piece's text, and what it points at: other pieces, or words for what lies outside (`numpy:array`)."""

    text: str
    edges: tuple[tuple[str, Ref | str], ...]


class Reach:
    """What a step's function and its declared modules reach. Foreign libraries count by the names imported.

    Args:
        function: the step's function.
        declared: modules and packages that count whole.
        unkeyed: modules and packages that decide nothing: of them only the imported name counts.
    """

    def __init__(self, function: Callable[..., Any], declared: Iterable[str], unkeyed: Iterable[str]) -> None:
        self._function = function
        self._path = Path(inspect.getfile(function))
        self.declared = {module: path for name in declared for module, path in source_files(name).items()}
        self._unkeyed = (*NEVER_KEYED, *unkeyed)
        tops = (function.__module__, __name__, *self.declared)
        self._tops = {name.split(".")[0]: True for name in tops}
        self._pieces: dict[Ref, Piece] = {}

    @cached_property
    def digest(self) -> str:
        """The digest of all code that decides the step's result. Whose it is, and in which order, is not in it."""
        modules = sorted(self._graph((name, WHOLE)) for name in self.declared if not self._re_exports(name))
        return _sha(json.dumps([self._graph((self._function.__module__, STEP)), modules]))

    @cached_property
    def by_module(self) -> dict[str, str]:
        """Digests of what is reached by module, for people; the step's own module is under STEP."""
        _ = self.digest
        texts: dict[str, list[str]] = defaultdict(list)
        for module, name in self._pieces:
            if module not in self.declared or name == WHOLE:
                texts[module].append(self._pieces[module, name].text)
        own = texts.pop(self._function.__module__, [])
        return {STEP: _sha(*sorted(own))} | {name: _sha(*sorted(texts[name])) for name in sorted(texts)}

    @cached_property
    def files(self) -> dict[str, Path]:
        """The source files of all modules that are reached, but the step's own."""
        _ = self.digest
        reached = {module for module, _ in self._pieces} - {self._function.__module__}
        return {name: path for name in sorted(reached) if (path := module_file(name))}

    def _graph(self, root: Ref) -> str:
        """The digest of all that a piece reaches. Pieces are numbered in the order in which they are found, so
        that recursion between them is no matter.
        """
        numbers = {root: 0}
        lines = []
        for ref in (queue := [root]):
            piece = self._piece(ref)
            targets: list[tuple[str, str | int]] = []
            for label, target in piece.edges:
                if isinstance(target, tuple) and target not in numbers:
                    numbers[target] = len(numbers)
                    queue.append(target)
                targets.append((label, target if isinstance(target, str) else numbers[target]))
            lines.append([piece.text, targets])
        return _sha(json.dumps(lines))

    def _piece(self, ref: Ref) -> Piece:
        if ref not in self._pieces:
            self._pieces[ref] = self._read_piece(*ref)
        return self._pieces[ref]

    def _read_piece(self, module: str, name: str) -> Piece:
        source = self._source(module)
        assert source is not None
        if name == WHOLE:
            return self._make_piece(source, source.tree, frozenset())
        if name == STEP:
            node = self._step_node(source)
            return self._make_piece(source, node, frozenset(global_names(node)) - {node.name})
        return self._make_piece(source, source.definitions[name], source.names_in(name) - {name})

    def _make_piece(self, source: Source, node: Any, names: frozenset[str]) -> Piece:
        """The piece of these statements. `names` are those of its module that it uses."""
        edges: list[tuple[str, Ref | str]] = []
        modules: dict[str, Ref | str] = {}
        for entry in self._bindings(source, node, names):
            target = self._resolve(entry)
            if target == UNKEYED_MODULE or (isinstance(target, tuple) and target[1] == WHOLE):
                modules[entry.bound] = target
            else:
                edges.append((entry.bound, target))
        used = [name for name in _dotted_names(node) if name in modules]
        aliases = {name: f"module {number}" for number, name in enumerate(dict.fromkeys(used))}
        edges += [(aliases.get(name, "unused"), target) for name, target in modules.items()]
        edges += [
            (name, (source.name, name))
            for name in names & source.definitions.keys()
            if not isinstance(source.definitions[name], Imported)
        ]
        text = _sha(describe(node, lambda part: self._dropped(part, source.package), aliases))
        return Piece(text, tuple(sorted(edges, key=lambda edge: edge[0])))

    def _bindings(self, source: Source, node: Any, names: frozenset[str]) -> Iterator[Imported]:
        """The imports that a piece uses: those in its own text that are not foreign, and those of its module."""
        nodes = [part for part in (node if isinstance(node, list) else [node]) if isinstance(part, ast.AST)]
        for part in nodes:
            for entry in imports_in(part, source.package):
                if self._is_own(entry.module):
                    yield entry
        for meaning in source.definitions.values():
            if isinstance(meaning, Imported) and meaning.bound.split(".")[0] in names:
                yield meaning

    def _resolve(self, entry: Imported) -> Ref | str:
        """What an import stands for: a piece, or a word for what lies outside or decides nothing."""
        module, name = entry.module, entry.name
        visited: set[Imported] = set()
        while self._is_own(module):
            if self._is_unkeyed(full := module if name is None else f"{module}.{name}"):
                return UNKEYED_MODULE if module_file(full) else f"unkeyed:{name}"
            source = self._source(module)
            if source is None:
                break
            meaning = source.definitions.get(name) if name else None
            if (
                isinstance(meaning, Imported) and meaning not in visited
            ):  # handed on: go to where it is defined
                visited.add(meaning)
                module, name = meaning.module, meaning.name
            elif meaning is not None and not isinstance(meaning, Imported):
                return module, str(name)
            elif name and module_file(f"{module}.{name}"):
                module, name = f"{module}.{name}", None
            else:  # the module itself, or a name that it makes when it is asked (`__getattr__`, `*`)
                return module, WHOLE
        return f"{module}:{name or ''}"

    def _re_exports(self, module: str) -> bool:
        """Whether a module does nothing but hand on names of declared modules: it decides nothing itself."""
        source = self._source(module)
        assert source is not None
        rest = [part for part in without_docstring(source.tree.body) if not _is_all(part)]
        targets = [self._resolve(entry) for entry in imports_in(source.tree, source.package)]
        covered = all(isinstance(target, tuple) and target[0] in self.declared for target in targets)
        return covered and all(self._dropped(part, source.package) for part in rest)

    def _dropped(self, node: Any, package: str) -> bool:
        """Whether a statement is left out of the text: imports that count by their content, or that only a type
        checker sees.
        """
        if isinstance(node, ast.Import | ast.ImportFrom):
            return all(self._is_own(entry.module) for entry in imported(node, package))
        return isinstance(node, ast.stmt) and is_for_types(node)

    def _source(self, module: str) -> Source | None:
        path = self._path if module == self._function.__module__ else module_file(module)
        return read_source(module, path) if path else None

    def _is_unkeyed(self, name: str) -> bool:
        if any(_covers(module, name) for module in self.declared):
            return False
        return any(_covers(module, name) for module in self._unkeyed)

    def _is_own(self, module: str) -> bool:
        """Whether a module is of the project or of the user: of a top package named by the step, or a file beside
        the step's own that is not installed.
        """
        top = module.split(".")[0]
        if top not in self._tops:
            path = top_file(top)
            self._tops[top] = path is not None and _root(path) == self._root and self._root not in _INSTALLED
        return self._tops[top]

    @cached_property
    def _root(self) -> Path:
        depth = self._function.__module__.count(".") + (self._path.name == "__init__.py")
        return self._path.resolve().parents[depth]

    def _step_node(self, source: Source) -> ast.FunctionDef:
        """The function without its decorators: what they say is in the key by itself."""
        node = source.definitions.get(self._function.__qualname__)
        if not isinstance(node, ast.FunctionDef):  # nested in another function or a class
            node = ast.parse(textwrap.dedent(inspect.getsource(self._function))).body[0]
        if not isinstance(node, ast.FunctionDef):
            raise ValueError(f"the step {self._function.__qualname__} is not a plain function")
        node = copy.copy(node)
        node.decorator_list = []
        return node


def tree_digest(path: Path) -> str:
    """The digest of a file's code, which comments and formatting do not move."""
    return _sha(describe(parse(path)))


def _covers(module: str, name: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _root(path: Path) -> Path:
    """The folder that a top module or package was found in."""
    path = path.resolve()
    return path.parent.parent if path.name == "__init__.py" else path.parent


def _dotted_names(node: Any) -> Iterator[str]:
    for item in node if isinstance(node, list) else [node]:
        if isinstance(item, ast.AST):
            yield from filter(None, (dotted_name(part) for part in ast.walk(item)))


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and [dotted_name(target) for target in node.targets] == ["__all__"]


def _sha(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode("utf-8", "backslashreplace")).hexdigest()
