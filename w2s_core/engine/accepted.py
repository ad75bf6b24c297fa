"""Acceptances: the user's word that stored results of a step stand after an edit of its code.

A fingerprint covers all code that a step reaches, so an edit that changes no result changes it too. An acceptance maps
the new fingerprint to the old one: while it is in force, the step's keys are made with the old fingerprint. Any further
edit has another fingerprint, which the acceptance does not name.

accepted/<step>/<new fingerprint>.json     in the store, one file each, replaced as a whole
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from w2s_core.engine import disk
from w2s_core.errors import UserError

FOLDER = "accepted"
Table = Mapping[str, Mapping[str, str]]  # by step: new fingerprint -> old fingerprint


@dataclass(frozen=True)
class Acceptance:
    """Results of a step made under the fingerprint `old` stand for code with the fingerprint `new`.

    `parts` are the digests by part of the code, for people: {part: [old, new]}, those that differ. `when` is in UTC.
    """

    step: str
    old: str
    new: str
    reason: str
    when: str
    parts: dict[str, list[str | None]]

    def __str__(self) -> str:
        """One line: `accepted on 2026-11-29: only renamed (1a2b3c4d -> 5e6f7a8b)`."""
        return f"accepted on {self.when[:10]}: {self.reason} ({self.old[:8]} -> {self.new[:8]})"


def write(root: Path, acceptance: Acceptance) -> None:
    """Record an acceptance in a store; it takes the place of an earlier one for the same new code."""
    path = _path(root, acceptance)
    with disk.full_is_user_error(root, "recording the acceptance"):
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.replace_durably(path, json.dumps(asdict(acceptance), indent=1) + "\n", root / "tmp")


def remove(root: Path, acceptance: Acceptance) -> None:
    """Take an acceptance back."""
    path = _path(root, acceptance)
    path.unlink(missing_ok=True)
    disk.fsync(path.parent)


def read_all(root: Path) -> list[Acceptance]:
    """The acceptances of a store, the earliest first. Raises UserError for a file that is none."""
    acceptances = [_read(path) for path in (root / FOLDER).glob("*/*.json")]
    return sorted(acceptances, key=lambda acceptance: (acceptance.when, acceptance.step))


def table(acceptances: Iterable[Acceptance]) -> dict[str, dict[str, str]]:
    """Which fingerprint stands for which, by step."""
    mapping: dict[str, dict[str, str]] = {}
    for acceptance in acceptances:
        mapping.setdefault(acceptance.step, {})[acceptance.new] = acceptance.old
    return mapping


class _InForce:
    """The table that keys are made with in this process. Tables are numbered, so that a handle can keep a key for
    each: a process that opens several stores goes back and forth between theirs.
    """

    def __init__(self) -> None:
        self.tables: list[Table] = [{}]
        self.number = 0
        self.pins = 0


_in_force = _InForce()


def use(mapping: Table) -> None:
    """Make keys with this table from now on, unless a run is going on (`pinned`)."""
    if _in_force.pins:
        return
    if mapping not in _in_force.tables:
        _in_force.tables.append(mapping)
    _in_force.number = _in_force.tables.index(mapping)


@contextmanager
def pinned(mapping: Table) -> Iterator[None]:
    """Inside, keys are made with this table, whatever stores are opened meanwhile: a run's keys must not move."""
    use(mapping)
    _in_force.pins += 1
    try:
        yield
    finally:
        _in_force.pins -= 1


def number() -> int:
    """The number of the table in force; equal numbers, equal keys."""
    return _in_force.number


def in_force() -> Table:
    """The table in force: what worker processes are told."""
    return _in_force.tables[_in_force.number]


def standing(step: str, fingerprint: str) -> str:
    """The fingerprint that keys of a step are made with: the old one where an acceptance names it."""
    return in_force().get(step, {}).get(fingerprint, fingerprint)


def _path(root: Path, acceptance: Acceptance) -> Path:
    return root / FOLDER / acceptance.step / f"{acceptance.new}.json"


def _read(path: Path) -> Acceptance:
    try:
        return Acceptance(**disk.read_object(path))
    except (ValueError, TypeError):
        raise UserError(
            f"the acceptance {path} cannot be read: delete it, and accept the step again"
        ) from None
