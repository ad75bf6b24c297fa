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
import sys
import sysconfig
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from w2s_core.engine import syntax
from w2s_core.engine.digest_cache import DigestCache, Digests, sha
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
ALL = "<all>"

NEVER_KEYED = (__package__, UserError.__module__, Registry.__module__)
"""The engine stores results and decides none, error classes end steps, and the registries of plug-ins only find them;
none is in a key unless declared."""

_INSTALLED = frozenset(Path(path) for path in sysconfig.get_paths().values())
_MAKERS = (Path(__file__), Path(syntax.__file__))
"""The code that makes the digests: kept ones hold until it changes."""


@dataclass(frozen=True)
class Piece:
    """A piece's text, and what it points at: other pieces, or words for what lies outside (`numpy:array`)."""

    text: str
    edges: tuple[tuple[str, Ref | str], ...]


class Pieces:
    """The pieces of the project's and the user's own modules, each read once. Steps of the same tops share them.

    Args:
        tops: top packages and modules that are own.
        root: the folder that they lie in. Its other top modules are own too, unless packages are installed there.
        apart: a module that no import finds under its name, and its file: a script's, say.
    """

    def __init__(self, tops: frozenset[str], root: Path, apart: tuple[str, Path] | None) -> None:
        self._own = dict.fromkeys(tops, True)
        self._root = None if root in _INSTALLED else root
        self._apart = apart
        self._pieces: dict[Ref, Piece] = {}
        self._files: dict[str, tuple[Path, bytes] | None] = {}
        place = json.dumps([sorted(tops), str(root), str(apart)])
        made_by = [sys.version, *NEVER_KEYED, *(path.read_text(encoding="utf-8") for path in _MAKERS)]
        self._cache = DigestCache(place, sha(*made_by))

    def digests(self, step: str) -> dict[str, str] | None:
        """A step's digests that were kept, if all that was looked at then is the same today."""
        return self._digests.get(step)

    def keep(self, step: str, digests: dict[str, str]) -> None:
        """Keep a step's digests. They count as made from all that was looked at for any step."""
        self._digests[step] = digests
        modules = {name: self._stamp(name) for name in self._files}
        tops = {top: "own" if own else "" for top, own in self._own.items()}
        self._cache.write(Digests(modules, tops, self._digests))

    @cached_property
    def _digests(self) -> dict[str, dict[str, str]]:
        kept = self._cache.read()
        if all(self._is_own(top) == bool(own) for top, own in kept.tops.items()) and all(
            self._stamp(name) == stamp for name, stamp in kept.modules.items()
        ):
            return kept.steps
        self._files.clear()  # what was looked at then need not be looked at now
        return {}

    def _stamp(self, module: str) -> str:
        """A digest of a module's source, and of whether it is a package; empty where there is none."""
        file = self.file(module)
        if file is None:
            return ""
        path, text = file
        return hashlib.sha256(f"{path.name == '__init__.py'} ".encode() + text).hexdigest()

    def piece(self, ref: Ref) -> Piece:
        """The piece of that name in a module."""
        if ref not in self._pieces:
            self._pieces[ref] = self._read(*ref)
        return self._pieces[ref]

    def step_piece(self, module: str, node: ast.FunctionDef) -> Piece:
        """The piece of a step's function."""
        source = self.source(module)
        assert source is not None
        return self._make(source, node, frozenset(global_names(node)) - {node.name})

    def file(self, module: str) -> tuple[Path, bytes] | None:
        """A module's source file and what it holds, read once; None where it has none."""
        if module not in self._files:
            path = self._apart[1] if self._apart and module == self._apart[0] else module_file(module)
            self._files[module] = (path, path.read_bytes()) if path else None
        return self._files[module]

    def is_outdated(self, module: str) -> bool:
        """Whether a module was read and has been edited since."""
        file = self._files.get(module)
        return file is not None and file[0].read_bytes() != file[1]

    def source(self, module: str) -> Source | None:
        """A module's source; None where it has none."""
        file = self.file(module)
        return read_source(module, *file) if file else None

    def re_exports(self, module: str) -> list[Ref | str] | None:
        """What a module hands on that does nothing else, such as a package's `__init__`; None for another."""
        source = self.source(module)
        assert source is not None
        for statement in without_docstring(source.tree.body):
            if not (_is_all(statement) or self._is_dropped(statement, source.package)):
                return None
        return [self._resolve(entry) for entry in imports_in(source.tree, source.package)]

    def _read(self, module: str, name: str) -> Piece:
        source = self.source(module)
        assert source is not None
        if name == WHOLE:
            return self._make(source, source.tree, frozenset())
        return self._make(source, source.definitions[name], source.names_in(name) - {name})

    def _make(self, source: Source, node: Any, names: frozenset[str]) -> Piece:
        """The piece of these statements. `names` are those of its module that it uses."""
        edges: list[tuple[str, Ref | str]] = []
        modules: list[tuple[str, Ref]] = []
        for entry in self._bindings(source, node, names):
            target = self._resolve(entry)
            if isinstance(target, tuple) and target[1] == WHOLE:
                modules.append((entry.bound, target))
            else:
                edges.append((entry.bound, target))
        # A module's own name is no part of the text: the first that is used is "module 0", and so on
        bound = {name for name, _ in modules}
        used = [name for name in _dotted_names(node) if name in bound] if bound else []
        aliases = {name: f"module {number}" for number, name in enumerate(dict.fromkeys(used))}
        edges += [(aliases.get(name, "unused"), target) for name, target in modules]
        edges += [
            (name, (source.name, name))
            for name in names & source.definitions.keys()
            if not isinstance(source.definitions[name], Imported)
        ]
        text = sha(describe(node, lambda part: self._is_dropped(part, source.package), aliases))
        return Piece(text, tuple(sorted(edges, key=lambda edge: edge[0])))

    def _bindings(self, source: Source, node: Any, names: frozenset[str]) -> Iterator[Imported]:
        """The imports that a piece uses: those in its own text that are not foreign, and those of its module."""
        for entry in imports_in(node, source.package):
            if self._is_own(entry.module):
                yield entry
        for meaning in source.definitions.values():
            if isinstance(meaning, Imported) and (
                meaning.bound.split(".")[0] in names or meaning.bound == "*"
            ):
                yield meaning  # any name may come from a star

    def _resolve(self, entry: Imported) -> Ref | str:
        """What an import stands for: the piece that defines it, or a word for what lies outside."""
        module, name = entry.module, entry.name
        visited: set[Imported] = set()
        while self._is_own(module) and (source := self.source(module)):
            meaning = source.definitions.get(name) if name else None
            if (
                isinstance(meaning, Imported) and meaning not in visited
            ):  # handed on: go to where it is defined
                visited.add(meaning)
                module, name = meaning.module, meaning.name
            elif meaning is not None and not isinstance(meaning, Imported):
                return module, str(name)
            elif name and self.file(f"{module}.{name}"):
                module, name = f"{module}.{name}", None
            else:  # the module itself, or a name that it makes when it is asked (`__getattr__`, `*`)
                return module, WHOLE
        return f"{module}:{name or ''}"

    def _is_dropped(self, node: Any, package: str) -> bool:
        """Whether a statement is left out of the text: imports that count by their content, or that only a type
        checker sees.
        """
        if isinstance(node, ast.Import | ast.ImportFrom):
            return all(self._is_own(entry.module) for entry in imported(node, package))
        return isinstance(node, ast.stmt) and is_for_types(node)

    def _is_own(self, module: str) -> bool:
        top = module.split(".")[0]
        if top not in self._own:
            path = top_file(top) if self._root else None
            self._own[top] = path is not None and _root(path) == self._root
        return self._own[top]


_pieces = cache(Pieces)


class Reach:
    """What a step's function and its declared modules reach. Foreign libraries count by the names imported.

    Args:
        function: the step's function.
        declared: modules and packages that count whole, but for what `unkeyed` names in them.
        unkeyed: modules and packages that decide nothing: of them only the imported name counts.
    """

    def __init__(self, function: Callable[..., Any], declared: Iterable[str], unkeyed: Iterable[str]) -> None:
        self._function, self._module = function, function.__module__
        excluded = {module for name in unkeyed for module in source_files(name)}
        self.declared = sorted({module for name in declared for module in source_files(name)} - excluded)
        self._unkeyed = (*NEVER_KEYED, *unkeyed)
        path = Path(inspect.getfile(function))
        tops = frozenset(name.split(".")[0] for name in (self._module, __name__, *self.declared))
        importable = module_file(self._module)
        apart = None if importable and importable.samefile(path) else (self._module, path)
        place = tops, _folder(path, self._module), apart
        if _pieces(*place).is_outdated(self._module):
            _pieces.cache_clear()
        self._shared = _pieces(*place)
        self._reached: dict[Ref, str] = {}

    @property
    def digest(self) -> str:
        """The digest of all code that decides the step's result. Whose it is, and in which order, is not in it."""
        return self._digests[ALL]

    @property
    def by_module(self) -> dict[str, str]:
        """Digests of what is reached by module, for people; the step's own module is under STEP."""
        return {name: digest for name, digest in self._digests.items() if digest and name != ALL}

    @property
    def files(self) -> dict[str, tuple[Path, bytes]]:
        """The source files of all modules that are reached, but the step's own, and what they hold."""
        modules = self._digests.keys() - {ALL, STEP}
        return {name: file for name in sorted(modules) if (file := self._shared.file(name))}

    @cached_property
    def _digests(self) -> dict[str, str]:
        """`digest` under ALL, and by module; empty for a module that is declared and was reached in parts only."""
        step = json.dumps([self._module, self._function.__qualname__, self.declared, self._unkeyed])
        digests = self._shared.digests(step)
        if digests is None:
            digests = self._made_digests()
            if (
                self._is_at_top()
            ):  # else its line in the file, or what was executed, decides which text is its own
                self._shared.keep(step, digests)
        return digests

    def _made_digests(self) -> dict[str, str]:
        modules = [self._graph((name, WHOLE)) for name in self.declared if not self._hands_on(name)]
        digest = sha(json.dumps([self._graph((self._module, STEP)), sorted(modules)]))
        texts: dict[str, list[str]] = defaultdict(list)
        for (module, name), text in self._reached.items():
            if module not in self.declared or name == WHOLE:
                texts[module].append(text)
        own = texts.pop(self._module, [])
        reached = dict.fromkeys(sorted({module for module, _ in self._reached} - {self._module}), "")
        by_module = {name: sha(*sorted(texts[name])) for name in sorted(texts)}
        return {ALL: digest, STEP: sha(*sorted(own))} | reached | by_module

    def _graph(self, root: Ref) -> str:
        """The digest of all that a piece reaches. Pieces are numbered in the order in which they are found, so
        that recursion between them is no matter.
        """
        numbers = {root: 0}
        lines = []
        for ref in (queue := [root]):
            piece = self._piece(ref)
            self._reached[ref] = piece.text
            targets: list[tuple[str, str | int]] = []
            for label, target in piece.edges:
                if isinstance(target, tuple) and self._is_unkeyed(target[0]):
                    target = f"unkeyed:{target[1]}"
                if isinstance(target, tuple) and target not in numbers:
                    numbers[target] = len(numbers)
                    queue.append(target)
                targets.append((label, target if isinstance(target, str) else numbers[target]))
            lines.append([piece.text, targets])
        return sha(json.dumps(lines))

    def _piece(self, ref: Ref) -> Piece:
        if ref == (self._module, STEP):
            return self._step_piece
        return self._shared.piece(ref)

    @cached_property
    def _step_piece(self) -> Piece:
        """The function without its decorators: what they say is in the key by itself."""
        node = self._definition()
        if not isinstance(node, ast.FunctionDef):  # nested in another function or a class
            node = ast.parse(textwrap.dedent(inspect.getsource(self._function))).body[0]
        if not isinstance(node, ast.FunctionDef):
            raise ValueError(f"the step {self._function.__qualname__} is not a plain function")
        node = copy.copy(node)
        node.decorator_list = []
        return self._shared.step_piece(self._module, node)

    def _definition(self) -> Any:
        """What stands under the function's name at the top of its module."""
        source = self._shared.source(self._module)
        return source.definitions.get(self._function.__qualname__) if source else None

    def _is_at_top(self) -> bool:
        return isinstance(self._definition(), ast.FunctionDef)

    def _hands_on(self, module: str) -> bool:
        """Whether a declared module only hands on names of declared modules, so that it decides nothing itself."""
        targets = self._shared.re_exports(module)
        return targets is not None and all(
            isinstance(target, tuple) and target[0] in self.declared for target in targets
        )

    def _is_unkeyed(self, module: str) -> bool:
        if module in self.declared:
            return False
        return any(module == name or module.startswith(f"{name}.") for name in self._unkeyed)


def _folder(path: Path, module: str) -> Path:
    """The folder that a module, or its top package, lies in."""
    depth = module.count(".") + (path.name == "__init__.py")
    return path.resolve().parents[depth]


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
