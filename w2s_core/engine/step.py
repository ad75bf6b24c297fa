"""Steps and handles: calling a step computes nothing and returns a handle, whose key names the result for
ever.

key = sha256 of the canonical JSON of
    {step, version, params, inputs, fingerprint}
where `params` leaves out what equals the function's default and what the step declares unkeyed, `inputs`
holds the keys of the handles passed in, and `fingerprint` is a digest of code and library versions
(`fingerprint.py`).
"""

import functools
import inspect
import marshal
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from w2s_core.engine.canonical import Json, canonical, digest, normalise
from w2s_core.engine.fingerprint import confirm_loaded, library_version, note_sources
from w2s_core.engine.reach import STEP, Reach
from w2s_core.engine.syntax import module_file
from w2s_core.errors import UserError

Structure = (
    Any  # a handle (or a key, or a Path), or a list or a dict of them, with None where nothing was given
)

Call = tuple[bytes, tuple[int, ...]]

_registry: dict[str, "StepDefinition"] = {}


class KindOf(str):
    """Names the parameter whose input a result is of the same kind as."""


def step(
    *,
    version: int,
    code: Sequence[str] = (),
    libraries: Sequence[str] = (),
    unkeyed: Sequence[str] = (),
    same_code: Mapping[str, str] | None = None,
    cpus: int = 1,
    gpu: bool = False,
    gives: str | None = None,
    takes: Mapping[str, Sequence[str]] | None = None,
) -> Callable[[Callable[..., Any]], "StepDefinition"]:
    """Declare a function `(ctx, *, ...) -> JSON summary` as a step.

    Args:
        version: raise it to make every result of the step anew.
        code: dotted names of modules or packages that decide the result, all that is in them. A package covers all
            its modules. What the function uses by name counts anyhow, through imports and at any remove.
        libraries: distributions whose version decides the result ("torch").
        unkeyed: parameters that do not decide the result, such as where a file lies; and dotted names of modules or
            packages whose code does not, such as those that only report.
        same_code: {new digest: old digest}. The author declares that the code with the new digest (`explain` shows it
            as "all code") gives the same results, so that keys made before the edit stay valid. Any further edit has
            another digest and ends that.
        cpus: how many it uses. A cluster's scheduler reserves them; no key has them in it.
        gpu: whether it uses one GPU where the run's device is one; likewise.
        gives: the kind of artefact that the result is ("responses"), in no key. `Handle.kind` tells it. A filter,
            whose result is of the kind of its input, says `KindOf("its parameter")`.
        takes: the kinds that a parameter allows, by its name, in no key: {"weak": ("responses",)}. Such a parameter
            must be given handles (or None where that is its default). A handle whose step declares no kind passes.

    Raises:
        ValueError: the name is taken by another function, the signature is not of that form, `cpus` is below 1, or
            `takes` names what is no parameter or an unkeyed one.
    """
    if cpus < 1:
        raise ValueError(f"cpus must be at least 1, not {cpus}")

    def define(function: Callable[..., Any]) -> StepDefinition:
        definition = StepDefinition(
            function, version, tuple(code), tuple(libraries), frozenset(unkeyed), dict(same_code or {})
        )
        definition.cpus, definition.gpu = cpus, gpu
        definition.declare_kinds(gives, takes or {})
        _register(definition)
        functools.update_wrapper(definition, function)
        return definition

    return define


class StepDefinition:
    """A step: its function and what makes up its identity. Call it with keyword arguments to get a handle."""

    def __init__(
        self,
        function: Callable[..., Any],
        version: int,
        code: tuple[str, ...],
        libraries: tuple[str, ...],
        unkeyed: frozenset[str],
        same_code: dict[str, str],
    ) -> None:
        self.function = function
        self.name = function.__name__
        self.version = version
        self.code = code
        self.libraries = libraries
        self._same_code = same_code
        self.cpus, self.gpu = 1, False
        self.gives: str | None = None
        self.takes: dict[str, tuple[str, ...]] = {}
        self._defaults, self._required = _parameters(function)
        self._source_stamp = _stamp(function)
        self._made: weakref.WeakValueDictionary[Call, Handle] = weakref.WeakValueDictionary()
        self.unkeyed = unkeyed & self._names
        self.unkeyed_code = tuple(sorted(unkeyed - self._names))
        if unknown := [name for name in self.unkeyed_code if module_file(name) is None]:
            raise ValueError(f"step {self.name}: unkeyed names no parameter or module: {', '.join(unknown)}")

    def declare_kinds(self, gives: str | None, takes: Mapping[str, Sequence[str]]) -> None:
        """Say which kind of artefact the step gives, and which kinds its parameters take."""
        if unknown := takes.keys() - (self._names - self.unkeyed):
            raise ValueError(
                f"step {self.name}: takes names no keyed parameter: {', '.join(sorted(unknown))}"
            )
        self.gives = gives
        self.takes = {name: tuple(kinds) for name, kinds in takes.items()}

    def needs(self, *, gpu: bool) -> tuple[float, float]:
        """The CPUs and GPUs that the step takes, in a run with GPUs or without."""
        return self.cpus, int(self.gpu and gpu)

    def __call__(self, **arguments: Any) -> "Handle":
        """A handle of this step with these arguments: handles become inputs, all else must be JSON
        parameters.

        The same arguments give the same handle while it is in use: the trials of a sweep call for the same steps
        thousands of times.
        """
        call = _call(arguments)
        if call is None:
            return self._make(arguments)
        made = self._made.get(call)
        if made is None:
            made = self._made[call] = self._make(arguments)
        return made

    def _make(self, arguments: Mapping[str, Any]) -> "Handle":
        if not self._required <= arguments.keys() or not arguments.keys() <= self._names:
            raise TypeError(self._misfit(arguments))
        for name, kinds in self.takes.items():
            self._check_kind(name, kinds, arguments.get(name))
        params, unkeyed, inputs = {}, {}, {}
        for name, value in arguments.items():
            if _holds_handles(value):
                if name in self.unkeyed:
                    raise TypeError(f"step {self.name}: the unkeyed parameter {name} cannot be an input")
                inputs[name] = value
                continue
            value = normalise(value, f"step {self.name}: {name}")
            if name in self.unkeyed:
                unkeyed[name] = value
            elif name in self._required or canonical(value) != self._defaults[name]:
                params[name] = value
        return Handle(self, params, unkeyed, inputs)

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        return self._required | self._defaults.keys()

    @functools.cached_property
    def sources(self) -> dict[str, Json]:
        """What the fingerprint is made of: {"all_code": digest, "libraries": {name: version}}; and for people, by
        which part of the code changed can be told: {"function": digest, "code": {module: digest}}.
        """
        if _stamp(self.function) != self._source_stamp:
            raise UserError(
                f"the code of step {self.name} changed since this command started: start it again"
            )
        parts = dict(self._reach.by_module)
        note_sources(self._reach.files)
        return {
            "all_code": self._reach.digest,
            "function": parts.pop(STEP),
            "code": parts,
            "libraries": {name: library_version(name) for name in self.libraries},
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """The digest of the code and the library versions, read once in the life of a process."""
        code = self.sources["all_code"]
        return digest({"code": self._same_code.get(code, code), "libraries": self.sources["libraries"]})

    def confirm_code(self) -> None:
        """Load the code that the key stands on and check that it is what the key was made from (see
        `confirm_loaded`).
        """
        _ = self.fingerprint
        confirm_loaded(self._reach.files)

    @functools.cached_property
    def _reach(self) -> Reach:
        return Reach(self.function, self.code, self.unkeyed_code)

    def _check_kind(self, name: str, kinds: tuple[str, ...], value: Any) -> None:
        """Refuse what cannot be an input of these kinds, leaf by leaf."""
        where, allowed = f"step {self.name}: '{name}' takes", " or ".join(kinds)
        if value is None and name in self._required:
            raise UserError(f"{where} {allowed}, and got none")
        for leaf in _leaves(value):
            if not isinstance(leaf, Handle):
                raise UserError(f"{where} {allowed} from a step, not the plain value {leaf!r:.60}")
            if leaf.kind not in (None, *kinds):
                raise UserError(f"{where} {allowed}, not {leaf.kind} (from step {leaf.title})")

    def _misfit(self, arguments: Mapping[str, Any]) -> str:
        missing = ", ".join(sorted(self._required - arguments.keys()))
        unknown = ", ".join(sorted(arguments.keys() - self._names))
        said = [f"missing: {missing}"] * bool(missing) + [f"unknown: {unknown}"] * bool(unknown)
        return f"step {self.name} called with wrong arguments ({'; '.join(said)})"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Handle:
    """A promise of a step's result. `params` are those in the key; `inputs` has the structure of the
    arguments.

    Two handles are equal when their keys are.
    """

    definition: StepDefinition
    params: dict[str, Json]
    unkeyed: dict[str, Json]
    inputs: dict[str, Structure]
    _key: list[str] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The step's name."""
        return self.definition.name

    @property
    def key(self) -> str:
        """The sha256 that names the result, in hexadecimal. Raises UserError when a named library is
        missing.
        """
        if not self._key:
            for handle in topological([self], known=lambda one: bool(one._key)):
                if not handle._key:
                    handle._key.append(digest(handle._identity()))
        return self._key[0]

    @property
    def kind(self) -> str | None:
        """The kind of artefact that the result is; None where its step does not declare it."""
        gives = self.definition.gives
        if isinstance(gives, KindOf):
            source = self.inputs.get(gives)
            return source.kind if isinstance(source, Handle) else None
        return gives

    @property
    def title(self) -> str:
        """The step with its short parameters, for messages: `sft(side=weak, seed=0)`. Needs no key."""
        settings = [
            f"{name}={value}" for name, value in self.params.items() if isinstance(value, str | int | float)
        ]
        settings = [text for text in settings if len(text) <= 24][:4]
        return f"{self.name}({', '.join(settings)})"

    @property
    def label(self) -> str:
        """A short name for people: `sft(side=weak, seed=0) 3fa9c1d2`."""
        return f"{self.title} {self.key[:8]}"

    def parents(self) -> Iterator["Handle"]:
        """The handles among the inputs, each argument's in turn."""
        for value in self.inputs.values():
            yield from _leaves(value)

    def spec(self) -> dict[str, Json]:
        """The handle as JSON: enough to make it again (`from_specs`) and to recompute its key by hand."""
        return {"key": self.key, **self._identity(), "unkeyed": self.unkeyed}

    def describe(self) -> dict[str, Json]:
        """`spec` with what its fingerprint is made of: this is what a manifest keeps and `explain`
        compares.
        """
        return {**self.spec(), **self.definition.sources}

    @staticmethod
    def from_specs(specs: Iterable[Mapping[str, Json]]) -> dict[str, "Handle"]:
        """Handles by key from specs in topological order, their steps found by name among the imported ones.

        Raises:
            UserError: a step's code or libraries are not those that the spec was made with.
        """
        made: dict[str, Handle] = {}
        for spec in specs:
            definition = find_step(spec["step"])
            inputs = {name: _map(value, made.__getitem__) for name, value in spec["inputs"].items()}
            handle = Handle(definition, dict(spec["params"]), dict(spec["unkeyed"]), inputs)
            if handle.key != spec["key"]:
                raise UserError(
                    f"the code of step {spec['step']} changed since this command started: start it again"
                )
            made[handle.key] = handle
        return made

    def arguments(self, resolve: Callable[["Handle"], Any]) -> dict[str, Any]:
        """The keyword arguments for the step's function, each input replaced by `resolve(handle)`."""
        inputs = {name: _map(value, resolve) for name, value in self.inputs.items()}
        return {**self.params, **self.unkeyed, **inputs}

    def _identity(self) -> dict[str, Json]:
        return {
            "step": self.definition.name,
            "version": self.definition.version,
            "params": self.params,
            "inputs": {name: _map(value, lambda parent: parent.key) for name, value in self.inputs.items()},
            "fingerprint": self.definition.fingerprint,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


IDENTITY = ("step", "version", "params", "inputs", "fingerprint")


def key_of(spec: Mapping[str, Json]) -> str:
    """The key that a spec's own parts give; differs from `spec["key"]` only if the spec was altered."""
    return digest({name: spec[name] for name in IDENTITY})


def spec_inputs(spec: Mapping[str, Json]) -> list[str]:
    """The keys of a spec's inputs, in order of its arguments."""
    return [key for value in spec["inputs"].values() for key in _leaves(value)]


def topological(
    targets: Iterable[Handle], known: Callable[[Handle], bool] = lambda handle: False
) -> list[Handle]:
    """All handles that the targets stand on, and the targets, inputs first; by identity, without recursion.

    What lies behind handles that are `known` is left out.
    """
    seen: set[int] = set()
    ordered: list[Handle] = []
    stack = [(handle, False) for handle in reversed(list(targets))]
    while stack:
        handle, expanded = stack.pop()
        if expanded:
            ordered.append(handle)
        elif id(handle) not in seen:
            seen.add(id(handle))
            stack.append((handle, True))
            if not known(handle):
                stack.extend((parent, False) for parent in handle.parents() if id(parent) not in seen)
    return ordered


def find_step(name: str) -> StepDefinition:
    """The step of that name among the imported modules. Raises UserError if none has it."""
    if name not in _registry:
        raise UserError(f"no step is named '{name}' in this version of the program")
    return _registry[name]


def _register(definition: StepDefinition) -> None:
    known = _registry.get(definition.name)
    new = definition.function
    if known and (known.function.__module__, known.function.__qualname__) != (
        new.__module__,
        new.__qualname__,
    ):
        raise ValueError(
            f"two steps are named '{definition.name}': in {known.function.__module__} and {new.__module__}"
        )
    _registry[definition.name] = definition


def _parameters(function: Callable[..., Any]) -> tuple[dict[str, bytes], frozenset[str]]:
    """Defaults by name as canonical bytes, and the names that have none."""
    first, *others = inspect.signature(function).parameters.values()
    if first.name != "ctx" or any(other.kind is not other.KEYWORD_ONLY for other in others):
        raise ValueError(f"step {function.__qualname__}: the signature must be (ctx, *, name, ...)")
    where = f"step {function.__qualname__}: the default of"
    defaults = {
        other.name: canonical(normalise(other.default, f"{where} {other.name}"))
        for other in others
        if other.default is not other.empty
    }
    return defaults, frozenset(other.name for other in others if other.default is other.empty)


def _stamp(function: Callable[..., Any]) -> tuple[int, int]:
    """Time and size of the source file. Taken when the step is defined, which is when the file was just
    loaded.
    """
    found = Path(inspect.getfile(function)).stat()
    return found.st_mtime_ns, found.st_size


def _call(arguments: Mapping[str, Any]) -> Call | None:
    """What a call of a step is known by: its plain arguments as bytes that tell 1, 1.0, True and -0.0 apart, and the
    identities of its handles, which live as long as the handle that was made of them does. None: always made anew.
    """
    plain: dict[str, Any] = {}
    held: dict[str, int] = {}
    for name, value in arguments.items():
        if type(value) is Handle:
            held[name] = id(value)
        else:
            plain[name] = value
    try:
        return marshal.dumps((plain, tuple(held)), 2), tuple(
            held.values()
        )  # version 2: equal values, equal bytes
    except ValueError:  # lists of handles, or what is no JSON
        return None


def _holds_handles(value: Any) -> bool:
    if isinstance(value, Handle):
        return True
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return False
    held = [_holds_handles(item) for item in value if item is not None]
    if any(held) and not all(held):
        raise TypeError("an argument mixes handles and plain values: pass them as two arguments")
    return any(held)


def _leaves(value: Structure) -> Iterator[Any]:
    """The handles (or keys) in a structure."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif value is not None:
        yield value


def _map(value: Structure, change: Callable[[Any], Any]) -> Structure:
    """The same structure with each leaf changed."""
    if isinstance(value, dict):
        return {name: _map(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map(item, change) for item in value]
    return None if value is None else change(value)
