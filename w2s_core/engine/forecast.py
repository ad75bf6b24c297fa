"""Which missing steps of a plan need not be computed whole, as far as the contents of stored results tell."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from w2s_core.engine.canonical import digest
from w2s_core.engine.contents import content_of, names_of, without
from w2s_core.engine.planning import Planned
from w2s_core.engine.spec import map_leaves
from w2s_core.engine.step import Handle
from w2s_core.engine.store import Store


@dataclass
class Forecast:
    """Missing steps, by key: `twins` have the content of another step, whose key is named; `extended` take parts of
    results that are stored, or that the same plan computes.
    """

    missing: int = 0
    twins: dict[str, str] = field(default_factory=dict)
    extended: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        """`12 of 40 steps to compute are likely of the same content as others; 4 extend others`; empty for none."""
        parts = [f"{len(self.twins)} are likely of the same content as others"] * bool(self.twins)
        parts += [f"{len(self.extended)} extend what others hold"] * bool(self.extended)
        return f"of the {self.missing} steps to compute, {' and '.join(parts)}" if parts else ""


def forecast(planned: Iterable[Planned], store: Store, device: str) -> Forecast:
    """Look ahead over a plan, inputs first. The contents of what is not computed yet stand under its key: of two such
    steps the second is the twin where they are given the same.
    """
    ahead = _Ahead(store, {"device": device})
    for step in planned:
        if step.state == "missing":
            ahead.add(step.handle)
    return ahead.forecast


class _Ahead:
    def __init__(self, store: Store, runtime: dict[str, str]) -> None:
        self.forecast = Forecast()
        self._store, self._runtime = store, runtime
        self._contents: dict[str, str] = {}
        self._leaders: dict[str, str] = {}
        self._streams: Counter[str] = Counter()

    def add(self, handle: Handle) -> None:
        """The next missing step."""
        self.forecast.missing += 1
        key = handle.key
        self._contents[key] = key
        # What is given nothing but results that are new in every respect cannot be known under another key.
        if all(self._content_of(parent.key) == parent.key for parent in handle.parents()):
            self._count_stream(handle)
            return
        names = names_of(handle, self._content_of, self._runtime)
        twin = self._leaders.setdefault(names.content, self._stored(names.content) or key)
        if twin != key:
            self.forecast.twins[key] = twin
            self._contents[key] = self._content_of(twin)
        elif names.stream and self._stored(names.stream):
            self.forecast.extended.add(key)
        else:
            self._count_stream(handle)

    def _stored(self, name: str) -> str | None:
        """The key of a stored result with that name."""
        return next((key for key in self._store.contents.keys(name) if self._store.has(key)), None)

    def _content_of(self, key: str) -> str:
        if key not in self._contents:
            manifest = self._store.peek(key)
            self._contents[key] = content_of(manifest) if manifest else key
        return self._contents[key]

    def _count_stream(self, handle: Handle) -> None:
        """Note a step that extends what an earlier one of the plan will hold."""
        extends = handle.definition.extends
        if not extends:
            return
        inputs = {
            name: map_leaves(value, lambda parent: self._content_of(parent.key))
            for name, value in handle.inputs.items()
        }
        stream = digest([handle.name, inputs, without(handle.params, extends)])
        self._streams[stream] += 1
        if self._streams[stream] > 1:
            self.forecast.extended.add(handle.key)
