"""Why a step has the key it has, and why two keys differ, followed through the inputs to the first cause."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from w2s_core.engine.accepted import Acceptance, read_all
from w2s_core.engine.canonical import Json, canonical
from w2s_core.engine.spec import is_earlier_format
from w2s_core.engine.step import Handle, topological
from w2s_core.engine.store import Store
from w2s_core.errors import UserError

Spec = Mapping[str, Json]
Kind = Literal["step", "version", "parameter", "code", "library", "input", "format"]
_DEFAULT = "(default)"
EARLIER_FORMAT = "made by an earlier key format, whose code digests cannot be compared with today's"


@dataclass(frozen=True)
class Change:
    """One cause of a difference. `path` leads from the step asked about through its inputs to where the
    cause is.
    """

    path: tuple[str, ...]
    kind: Kind
    name: str
    before: Json
    after: Json

    def __str__(self) -> str:
        """One line: `via responses: sample | parameter seed: 0 -> 1`."""
        way = f"via {' > '.join(self.path)} | " if self.path else ""
        if self.kind == "format":
            return f"{way}step {self.name} was {EARLIER_FORMAT}"
        if self.kind == "code":
            return f"{way}the code of {self.name} changed ({str(self.before)[:8]} -> {str(self.after)[:8]})"
        return f"{way}{self.kind} {self.name}: {_short(self.before)} -> {_short(self.after)}"


@dataclass(frozen=True)
class Explanation:
    """A step's key parts, whether its result exists, and how it differs from another one.

    `other` is the key compared with: the one asked for, or, for a step without result, the most alike
    stored one. `changes` reads from the other to this one.
    """

    spec: Spec
    manifest: Mapping[str, Json] | None
    other: str | None = None
    changes: list[Change] = field(default_factory=list)
    acceptance: Acceptance | None = None

    def __str__(self) -> str:
        """The explanation for people, several lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        spec = self.spec
        yield f"{spec['step']} version {spec['version']}, key {spec['key']}"
        yield from (f"  parameter {name} = {_short(value)}" for name, value in sorted(spec["params"].items()))
        yield from (f"  input {name} = {_short(value)}" for name, value in sorted(spec["inputs"].items()))
        if is_earlier_format(spec):
            yield f"  {EARLIER_FORMAT}"
        else:
            yield f"  all code {spec['all_code'][:12]}, of it:"
        yield f"  own code {spec['function'][:12]}"
        yield from (f"  code {name} {value[:12]}" for name, value in sorted(spec["code"].items()))
        yield from (f"  library {name} {value}" for name, value in sorted(spec["libraries"].items()))
        if self.acceptance:
            yield str(self.acceptance)
        if self.manifest:
            manifest = self.manifest
            yield f"hit: made {manifest['started']} on {manifest['host']} in {manifest['duration_s']:.1f} s"
            summary = manifest["summary"]
            if isinstance(summary, dict) and (extends := summary.get("extends")):
                yield f"extends {extends['key'][:12]} from {extends['steps']} to {extends['to']} steps"
        else:
            yield "miss: no result has this key"
        if self.other:
            yield f"against {self.other[:12]}:" if self.changes else f"the same key as {self.other[:12]}"
            yield from (f"  {change}" for change in self.changes)


def explain(explained: Handle | str, store: Store, other: Handle | str | None = None) -> Explanation:
    """Explain a handle or the key of a stored result, against another one where given.

    Raises:
        UserError: a key that the store does not have.
    """
    specs = _Specs(store)
    spec = specs.of(explained)
    manifest = specs.manifest(spec["key"])
    if other is not None:
        against: Spec | None = specs.of(other)
    else:
        against = None if manifest else _nearest(spec, specs, store)
    acceptance = _acceptance(spec, explained, store)
    if against is None:
        return Explanation(spec, manifest, acceptance=acceptance)
    return Explanation(spec, manifest, against["key"], compare(against, spec, specs.known), acceptance)


def _acceptance(spec: Spec, explained: Handle | str, store: Store) -> Acceptance | None:
    """The acceptance that a key stands by: the one for today's code where a handle is explained, else the latest."""
    entries = [
        entry
        for entry in read_all(store.root)
        if (entry.step, entry.old) == (spec["step"], spec["fingerprint"])
        and (isinstance(explained, str) or entry.new == spec["code_fingerprint"])
    ]
    return entries[-1] if entries else None


def compare(before: Spec, after: Spec, known: Callable[[str], Spec | None]) -> list[Change]:
    """What differs between two specs; differing inputs are followed as far as `known` finds their specs."""
    changes: list[Change] = []
    visited: set[tuple[str, str]] = set()
    stack: list[tuple[tuple[str, ...], Spec, Spec]] = [((), before, after)]
    while stack:
        path, old, new = stack.pop()
        if old["key"] == new["key"] or (old["key"], new["key"]) in visited:
            continue
        visited.add((old["key"], new["key"]))
        if old["step"] != new["step"]:
            changes.append(Change(path, "step", "", old["step"], new["step"]))
            continue
        changes += _own_changes(path, old, new)
        for name, was, now in _pairs(old["inputs"], new["inputs"]):
            old_spec, new_spec = (known(key) if isinstance(key, str) else None for key in (was, now))
            if old_spec and new_spec:
                stack.append(((*path, f"{name}: {new_spec['step']}"), old_spec, new_spec))
            else:
                changes.append(Change(path, "input", name, was, now))
    return changes


def _own_changes(path: tuple[str, ...], old: Spec, new: Spec) -> Iterator[Change]:
    if old["version"] != new["version"]:
        yield Change(path, "version", "", old["version"], new["version"])
    yield from _differing(path, "parameter", old["params"], new["params"], _DEFAULT)
    if old["fingerprint"] == new["fingerprint"]:  # the same code, or one that was accepted for the other
        return
    yield from _differing(path, "library", old["libraries"], new["libraries"])
    if is_earlier_format(old) or is_earlier_format(new):
        yield Change(path, "format", new["step"], old["fingerprint"], new["fingerprint"])
    elif old["all_code"] != new["all_code"]:
        yield from _code_changes(path, old, new)


def _code_changes(path: tuple[str, ...], old: Spec, new: Spec) -> Iterator[Change]:
    """The parts of the code that differ. A module that was only renamed is none."""
    before, after = ({f"step {new['step']}": spec["function"], **spec["code"]} for spec in (old, new))
    moved = {before[name] for name in before.keys() - after.keys()}
    moved &= {after[name] for name in after.keys() - before.keys()}
    changes = [
        change
        for change in _differing(path, "code", before, after)
        if moved.isdisjoint((change.before, change.after))
    ]
    # Where only the wires between the same parts differ, all of the code is named
    yield from changes or [Change(path, "code", f"step {new['step']}", old["all_code"], new["all_code"])]


def _differing(
    path: tuple[str, ...], kind: Kind, old: Spec, new: Spec, missing: Json = None
) -> Iterator[Change]:
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name, missing), new.get(name, missing)
        if canonical(was) != canonical(now):
            yield Change(path, kind, name, was, now)


def _pairs(old: Json, new: Json, name: str = "") -> Iterator[tuple[str, Json, Json]]:
    """Differing inputs by argument name ("weak", or "parts.2" in a list), as keys; None where one side has
    none.
    """
    if isinstance(old, list) and isinstance(new, list):
        old, new = ({str(i): item for i, item in enumerate(side)} for side in (old, new))
    if isinstance(old, dict) and isinstance(new, dict):
        for part in sorted(old.keys() | new.keys()):
            yield from _pairs(old.get(part), new.get(part), f"{name}.{part}".strip("."))
    elif old != new:
        yield name, old, new


class _Specs:
    """Specs by key, from the handles at hand and the store's manifests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._handles: dict[str, Handle] = {}

    def of(self, explained: Handle | str) -> Spec:
        if isinstance(explained, Handle):
            self._handles |= {handle.key: handle for handle in topological([explained])}
            return explained.describe()
        spec = self.known(explained)
        if spec is None:
            raise UserError(f"the store has no readable result {explained}")
        return spec

    def known(self, key: str) -> Spec | None:
        if key in self._handles:
            return self._handles[key].describe()
        manifest = self.manifest(key)
        return manifest["spec"] if manifest else None

    def manifest(self, key: str) -> Mapping[str, Json] | None:
        return self._store.peek(key)


def _nearest(spec: Spec, specs: _Specs, store: Store) -> Spec | None:
    """The stored result of the same step that differs least, the latest among equals."""
    best: tuple[int, str] | None = None
    nearest = None
    for key in sorted(store.keys()):
        manifest = specs.manifest(key)
        if manifest is None or manifest["spec"]["step"] != spec["step"]:
            continue
        rank = (-_distance(manifest["spec"], spec), manifest["started"])
        if best is None or rank > best:
            best, nearest = rank, manifest["spec"]
    return nearest


def _distance(old: Spec, new: Spec) -> int:
    return len(list(_own_changes((), old, new))) + len(list(_pairs(old["inputs"], new["inputs"])))


def _short(value: Json) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_short(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_short(item)}' for name, item in sorted(value.items()))}}}"
    is_key = isinstance(value, str) and len(value) == 64
    return value[:12] if is_key else str(value)
