"""Accept stored results of a step after an edit, take that back, and tell which results stand by an acceptance."""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from w2s_core.engine import accepted
from w2s_core.engine.accepted import Acceptance
from w2s_core.engine.canonical import Json
from w2s_core.engine.spec import is_earlier_format, spec_inputs
from w2s_core.engine.step import StepDefinition
from w2s_core.engine.store import Store
from w2s_core.errors import UserError


@dataclass
class Earlier:
    """The stored results of a step that were made under one other fingerprint: how many, and the latest one's spec."""

    fingerprint: str
    count: int = 0
    last: str = ""
    spec: Json = None


def earlier_results(store: Store, definition: StepDefinition) -> list[Earlier]:
    """The results that an acceptance could be about, by fingerprint, the latest first."""
    groups: dict[str, Earlier] = {}
    todays = (definition.fingerprint, definition.code_fingerprint)
    for manifest in _manifests(store, definition.name):
        spec = manifest["spec"]
        if spec["version"] != definition.version or spec["fingerprint"] in todays:
            continue
        group = groups.setdefault(spec["fingerprint"], Earlier(spec["fingerprint"]))
        group.count += 1
        if manifest["started"] > group.last:
            group.last, group.spec = manifest["started"], spec
    return sorted(groups.values(), key=lambda group: group.last, reverse=True)


def accept(store: Store, definition: StepDefinition, reason: str, source: str | None = None) -> Acceptance:
    """Declare that the stored results of a step stand under today's code: those of the latest other code, or of the
    code that made the result `source` (a key or its beginning).

    Raises:
        UserError: no reason, or nothing to accept.
    """
    if not reason.strip():
        raise UserError(f"the reason is empty: say why the stored results of step {definition.name} stand")
    store.use_acceptances()
    earlier = _choose(store, definition, source)
    acceptance = Acceptance(
        step=definition.name,
        old=earlier.fingerprint,
        new=definition.code_fingerprint,
        reason=" ".join(reason.split()),
        when=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        parts=_differing(earlier.spec, definition.sources),
    )
    accepted.write(store.root, acceptance)
    store.read_acceptances()
    return acceptance


def undo(store: Store, step: str, fingerprint: str | None = None) -> list[Acceptance]:
    """Take back the acceptance of a step that is for the code with that fingerprint; where there is none, all of it.

    Raises:
        UserError: the step has none.
    """
    acceptances = [entry for entry in store.read_acceptances() if entry.step == step]
    if not acceptances:
        raise UserError(f"nothing to take back: no acceptance of step {step} is in {store.root}")
    withdrawn = [entry for entry in acceptances if entry.new == fingerprint] or acceptances
    for acceptance in withdrawn:
        accepted.remove(store.root, acceptance)
    store.read_acceptances()
    return withdrawn


def acceptances_used(store: Store, keys: Iterable[str]) -> list[Acceptance]:
    """The acceptances by which results stand that these keys name or were made from, the latest of each kind.

    A table prints them beneath it, since such results were made by other code than today's. A result that was made
    after the acceptance, by the accepted code itself, does not stand by it.
    """
    latest = {(entry.step, entry.old): entry for entry in accepted.read_all(store.root)}
    used: dict[tuple[str, str], Acceptance] = {}
    visited: set[str] = set()
    queue = list(keys) if latest else []
    while queue:
        key = queue.pop()
        manifest = None if key in visited else store.peek(key)
        visited.add(key)
        if manifest is None:
            continue
        spec = manifest["spec"]
        queue += spec_inputs(spec)
        entry = latest.get((spec["step"], spec["fingerprint"]))
        if entry and spec.get("code_fingerprint") != entry.new:
            used[entry.step, entry.old] = entry
    return sorted(used.values(), key=lambda entry: (entry.when, entry.step))


def _choose(store: Store, definition: StepDefinition, source: str | None) -> Earlier:
    groups = earlier_results(store, definition)
    if source is not None:
        spec = store.read_manifest(store.find(source))["spec"]
        if spec["step"] != definition.name:
            raise UserError(f"the result {source} is of step {spec['step']}, not of {definition.name}")
        groups = [group for group in groups if group.fingerprint == spec["fingerprint"]]
    if groups:
        return groups[0]
    versions = {manifest["spec"]["version"] for manifest in _manifests(store, definition.name)}
    if versions and definition.version not in versions:
        raise UserError(
            f"nothing to accept: stored results of step {definition.name} are of version "
            f"{', '.join(map(str, sorted(versions)))}, it is at {definition.version} now, and another version makes "
            "every result anew"
        )
    raise UserError(
        f"nothing to accept: {store.root} has no result of step {definition.name} made by other code than today's"
    )


def _manifests(store: Store, step: str) -> Iterator[dict[str, Json]]:
    for manifest in map(store.peek, store.keys()):
        if manifest is not None and manifest["spec"]["step"] == step:
            yield manifest


def _differing(old: Json, new: Json) -> dict[str, list[str | None]]:
    """The parts of code and the libraries that differ: {part: [old digest or version, new]}; none where the old
    result was made by an earlier key format, whose digests are of another kind.
    """
    if is_earlier_format(old):
        return {}
    before, after = (
        {"its own code": side["function"], **side["code"], **side["libraries"]} for side in (old, new)
    )
    return {
        name: [before.get(name), after.get(name)]
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }
