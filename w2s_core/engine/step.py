"""Steps and handles: calling a step computes nothing and returns a handle, whose key names the result for
ever.

key = sha256 of the canonical JSON of
    {step, version, params, inputs, fingerprint}
where `params` leaves out what equals the function's default and what the step declares unkeyed, `inputs`
holds the keys of the handles passed in, and `fingerprint` is a digest of code and library versions
(`fingerprint.py`).
"""

import difflib
import functools
import marshal
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from w2s_core.engine import accepted
from w2s_core.engine.canonical import Json, canonical, digest, normalise
from w2s_core.engine.fingerprint import confirm_loaded, library_version
from w2s_core.engine.reach import STEP, Reach
from w2s_core.engine.signature import parameters, source_stamp
from w2s_core.engine.spec import Structure, leaves, map_leaves
from w2s_core.engine.syntax import module_file
from w2s_core.errors import UserError

Order = Callable[[dict[str, Json]], tuple[dict[str, Json], float] | None]
Call = tuple[tuple[str, ...], bytes, tuple[int, ...]]

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
            its modules but those that `unkeyed` names. What the function uses by name counts anyhow, through imports
            and at any remove.
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


def extending(*names: str) -> "Callable[[StepDefinition], StepDefinition]":
    """Declare above `step` which parameters say how much a result holds, and decide no part of it.

    The function finds the results that differ in nothing else in `ctx.earlier`, and may take over what they hold.

    Raises:
        ValueError: a name is no keyed parameter.
    """

    def declare(definition: StepDefinition) -> StepDefinition:
        definition.declare_extending(names)
        return definition

    return declare


class StepDefinition:
    """A step: its function and what makes up its identity. Call it with keyword arguments to get a handle.

    Two attributes, set where the step is defined, tell the scheduler what goes well together (`chains.py`). loads: the
    input whose model the step loads; one process takes steps of the same base in turn. order: gives of the parameters
    what is left without the one that says how much the result holds, and a number, or None where results of other sizes
    are of no use; of steps that differ in it alone the one with the lower number goes first, since the next can start
    from it or be cut from it.
    """

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
        self.extends: tuple[str, ...] = ()
        self.loads: str | None = None
        self.order: Order | None = None
        self.gives: str | None = None
        self.takes: dict[str, tuple[str, ...]] = {}
        self._defaults, self._required = parameters(function)
        self._source_stamp = source_stamp(function)
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

    def declare_extending(self, names: tuple[str, ...]) -> None:
        """Say which parameters decide how much a result holds."""
        if unknown := set(names) - (self._names - self.unkeyed):
            raise ValueError(f"step {self.name}: no keyed parameter to extend: {', '.join(sorted(unknown))}")
        self.extends = names

    def needs(self, *, gpu: bool) -> tuple[float, float]:
        """The CPUs and GPUs that the step takes, in a run with GPUs or without."""
        return self.cpus, int(self.gpu and gpu)

    def __call__(self, **arguments: Any) -> "Handle":
        """A handle of this step with these arguments: handles become inputs, all else must be JSON parameters.

        The same arguments give the same handle while it is in use: the trials of a sweep call for the same steps
        thousands of times.
        """
        call = _call(arguments)
        if call is None:
            return self._make(arguments)
        handle = self._made.get(call)
        if handle is None:
            handle = self._made[call] = self._make(arguments)
        return handle

    def _make(self, arguments: Mapping[str, Any]) -> "Handle":
        if not self._required <= arguments.keys() or not arguments.keys() <= self._names:
            raise TypeError(self._misfit(arguments))
        for name, kinds in self.takes.items():
            value = arguments.get(name)
            if type(value) is not Handle or value.kind not in kinds:  # most are plainly right
                self._check_kind(name, kinds, value)
        params, unkeyed, inputs = {}, {}, {}
        for name, value in arguments.items():
            if type(value) is Handle or _holds_handles(value):
                if name in self.unkeyed:
                    raise TypeError(f"step {self.name}: the unkeyed parameter {name} cannot be an input")
                inputs[name] = value
                continue
            value = normalise(value, f"step {self.name}: {name}")
            if name in self.unkeyed:
                unkeyed[name] = value
            elif name in self._required or not _same_json(value, self._defaults[name]):
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
        if source_stamp(self.function) != self._source_stamp:
            raise UserError(
                f"the code of step {self.name} changed since this command started: start it again"
            )
        parts = self._reach.by_module
        return {
            "all_code": self._reach.digest,
            "function": parts.pop(STEP),
            "code": parts,
            "libraries": {name: library_version(name) for name in self.libraries},
        }

    @property
    def fingerprint(self) -> str:
        """What keys are made with: `code_fingerprint`, or the one that an acceptance in force puts in its place."""
        return accepted.standing(self.name, self.code_fingerprint)

    @functools.cached_property
    def code_fingerprint(self) -> str:
        """The digest of today's code and library versions, read once in the life of a process."""
        code = self.sources["all_code"]
        return digest({"code": self._same_code.get(code, code), "libraries": self.sources["libraries"]})

    def confirm_code(self) -> None:
        """Load the code that the key stands on, and check that it is what the key was made from."""
        _ = self.code_fingerprint
        confirm_loaded(self._reach.files)

    @functools.cached_property
    def _reach(self) -> Reach:
        return Reach(self.function, self.code, self.unkeyed_code)

    def _check_kind(self, name: str, kinds: tuple[str, ...], value: Any) -> None:
        """Refuse what cannot be an input of these kinds, leaf by leaf."""
        where, allowed = f"step {self.name}: '{name}' takes", " or ".join(kinds)
        if value is None and name in self._required:
            raise UserError(f"{where} {allowed}, and got none")
        for leaf in leaves(value):
            if not isinstance(leaf, Handle):
                raise UserError(f"{where} {allowed} from a step, not the plain value {leaf!r:.60}")
            if leaf.kind not in (None, *kinds):
                raise UserError(f"{where} {allowed}, not {leaf.kind} (from step {leaf.title})")

    def _misfit(self, arguments: Mapping[str, Any]) -> str:
        missing = ", ".join(sorted(self._required - arguments.keys()))
        unknown = ", ".join(sorted(arguments.keys() - self._names))
        problems = [f"missing: {missing}"] * bool(missing) + [f"unknown: {unknown}"] * bool(unknown)
        return f"step {self.name} called with wrong arguments ({'; '.join(problems)})"


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Handle:
    """A promise of a step's result. `params` are those in the key; `inputs` has the structure of the arguments.

    Two handles are equal when their keys are.
    """

    definition: StepDefinition
    params: dict[str, Json]
    unkeyed: dict[str, Json]
    inputs: dict[str, Structure]
    _keys: dict[int, str] = field(
        default_factory=dict, repr=False
    )  # by the number of the acceptances in force

    @property
    def name(self) -> str:
        """The step's name."""
        return self.definition.name

    @property
    def key(self) -> str:
        """The sha256 that names the result, in hexadecimal. Raises UserError when a named library is missing."""
        number = accepted.number()
        key = self._keys.get(number)
        if key is None:
            # Inputs first, so that a long chain of steps does not recurse. Planning asks in that order already.
            ready = all(number in parent._keys for parent in self.parents())
            unnamed = [self] if ready else topological([self], known=lambda handle: number in handle._keys)
            for handle in unnamed:
                if number not in handle._keys:
                    handle._keys[number] = digest(handle._identity())
            key = self._keys[number]
        return key

    @property
    def kind(self) -> str | None:
        """The kind of artefact that the result is; None where its step does not declare it."""
        gives = self.definition.gives
        if isinstance(gives, KindOf):
            source = self.inputs.get(gives)
            return source.kind if isinstance(source, Handle) else None
        return gives

    @property
    def stream(self) -> tuple[str, float] | None:
        """A name for the result whatever its size, and its place among those of that name, as its step declares."""
        placed = self.definition.order(self.params) if self.definition.order else None
        if placed is None:
            return None
        rest, place = placed
        return digest({**self._identity(), "params": rest}), place

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
            if type(value) is Handle:
                yield value
            else:
                yield from leaves(value)

    def spec(self) -> dict[str, Json]:
        """The handle as JSON: enough to make it again (`from_specs`) and to recompute its key by hand."""
        return {"key": self.key, **self._identity(), "unkeyed": self.unkeyed}

    def describe(self) -> dict[str, Json]:
        """`spec` with what its fingerprint is made of: this is what a manifest keeps and `explain` compares."""
        definition = self.definition
        return {**self.spec(), **definition.sources, "code_fingerprint": definition.code_fingerprint}

    @staticmethod
    def from_specs(specs: Iterable[Mapping[str, Json]]) -> dict[str, "Handle"]:
        """Handles by key from specs in topological order, their steps found by name among the imported ones.

        Raises:
            UserError: a step's code or libraries are not those that the spec was made with.
        """
        handles: dict[str, Handle] = {}
        for spec in specs:
            definition = find_step(spec["step"])
            inputs = {name: map_leaves(value, handles.__getitem__) for name, value in spec["inputs"].items()}
            handle = Handle(definition, dict(spec["params"]), dict(spec["unkeyed"]), inputs)
            if handle.key != spec["key"]:
                raise UserError(
                    f"the code of step {spec['step']} changed since this command started: start it again"
                )
            handles[handle.key] = handle
        return handles

    def arguments(self, resolve: Callable[["Handle"], Any]) -> dict[str, Any]:
        """The keyword arguments for the step's function, each input replaced by `resolve(handle)`."""
        inputs = {name: map_leaves(value, resolve) for name, value in self.inputs.items()}
        return {**self.params, **self.unkeyed, **inputs}

    def _identity(self) -> dict[str, Json]:
        return {
            "step": self.definition.name,
            "version": self.definition.version,
            "params": self.params,
            "inputs": {
                name: map_leaves(value, lambda parent: parent.key) for name, value in self.inputs.items()
            },
            "fingerprint": self.definition.fingerprint,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def topological(
    targets: Iterable[Handle], known: Callable[[Handle], bool] = lambda handle: False
) -> list[Handle]:
    """All handles that the targets stand on, and the targets, inputs first; by identity, without recursion.

    What lies behind handles that are `known` is left out.
    """
    visited: set[int] = set()
    ordered: list[Handle] = []
    stack = [(handle, False) for handle in reversed(list(targets))]
    while stack:
        handle, expanded = stack.pop()
        if expanded:
            ordered.append(handle)
        elif id(handle) not in visited:
            visited.add(id(handle))
            stack.append((handle, True))
            if not known(handle):
                stack.extend((parent, False) for parent in handle.parents() if id(parent) not in visited)
    return ordered


def find_step(name: str) -> StepDefinition:
    """The step of that name among the imported modules. Raises UserError if none has it."""
    if name not in _registry:
        near = difflib.get_close_matches(name, _registry, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UserError(f"no step is named '{name}' in this version of the program{hint}")
    return _registry[name]


def is_registered(name: str) -> bool:
    """Whether a step of that name is among the imported modules."""
    return name in _registry


def modules_of_steps() -> list[str]:
    """The module of each step among the imported ones."""
    return [definition.function.__module__ for definition in _registry.values()]


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


def _call(arguments: Mapping[str, Any]) -> Call | None:
    """What a call of a step is known by: its plain arguments as bytes that tell 1, 1.0, True and -0.0 apart, and the
    identities of its handles, which live as long as the handle that was made of them does. None: always made anew.
    """
    values = arguments.values()
    plain = [... if type(value) is Handle else value for value in values]  # no JSON is `...`
    held = [id(value) for value in values if type(value) is Handle]
    try:  # version 2 of the format: equal values, equal bytes
        return tuple(arguments), marshal.dumps(plain, 2), tuple(held)
    except ValueError:  # lists of handles, or what is no JSON
        return None


def _same_json(value: Json, other: Json) -> bool:
    """Whether two normalised values have the same canonical JSON; most are plain, and need not be written out."""
    if type(value) is not type(other):  # 1, 1.0 and true differ
        return False
    if isinstance(value, float):
        return repr(value) == repr(other)  # 0.0 and -0.0 differ
    if isinstance(value, list | dict):
        return canonical(value) == canonical(other)
    return bool(value == other)


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
