"""What the runs cost, from the manifests of their steps, and what they would have cost without sharing steps."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from w2s_analysis.parts.accuracy import share_of
from w2s_analysis.reading.frame import Frames
from w2s_analysis.reading.study import Study
from w2s_analysis.writing.notes import run_list
from w2s_analysis.writing.table import Cell, Table, count, percent, words
from w2s_core.engine.contents import worth_s

CHEAP = "others"
STEPS = ("sample", "sft", "prefer", "grade")
"""The steps that have a row of their own: those that load a model, and grading."""


@dataclass
class Kind:
    """The steps of a kind over some runs.

    Attributes:
        used: how often a run needs one of them, over all runs.
        distinct: how many there are; `done` of them are in the store.
        seconds, tokens: of those in the store, each once; `*_alone` as often as a run needs them.
        linked, extended: seconds that results of equal content, and parts of earlier results, saved.
        processors: how many of those in the store each kind of processor computed, where that was recorded.
    """

    used: int = 0
    distinct: int = 0
    done: int = 0
    seconds: float = 0.0
    tokens: int = 0
    seconds_alone: float = 0.0
    tokens_alone: int = 0
    linked: float = 0.0
    extended: float = 0.0
    processors: Counter[str] = field(default_factory=Counter)

    def add(self, uses: int, manifest: Mapping[str, Any] | None) -> None:
        """Count a step that so many runs need."""
        self.used, self.distinct = self.used + uses, self.distinct + 1
        if manifest is None:
            return
        seconds = float(manifest["duration_s"])
        tokens = int(manifest.get("summary", {}).get("tokens", 0))
        self.done += 1
        self.seconds, self.tokens = self.seconds + seconds, self.tokens + tokens
        self.seconds_alone += uses * worth_s(manifest)
        self.tokens_alone += uses * tokens
        if "same_content_as" in (reused := manifest.get("reused") or {}):
            self.linked += reused["saved_s"]
        elif reused:
            self.extended += reused["saved_s"]
        if name := manifest.get("processor"):
            self.processors[str(name)] += 1


def count_steps(frames: Frames) -> dict[str, Kind]:
    """The steps of some runs, by kind, and `all`."""
    uses: Counter[str] = Counter()
    names: dict[str, str] = {}
    for record in frames.records.values():
        steps = record.get("steps") or {}
        uses.update(set(steps.values()))
        names |= {key: label for label, key in steps.items()}
    kinds = {name: Kind() for name in (*STEPS, CHEAP, "all")}
    for key, used in uses.items():
        manifest = frames.results.manifest(key) if frames.results.has(key) else None
        step = str(manifest["spec"]["step"]) if manifest is not None else step_of_label(names[key])
        for name in (step if step in STEPS else CHEAP, "all"):
            kinds[name].add(used, manifest)
    return kinds


def step_of_label(label: str) -> str:
    """The kind of a step that is not computed yet, by its label in the run's record: that of a target is a grade, but
    for results of other kinds, whose labels have one part.
    """
    first, colon, _ = label.partition(":")
    if colon:
        return first
    return "grade" if "/" in label else CHEAP


def cost_tables(study: Study) -> list[Table]:
    """Steps, seconds and tokens by kind of step, with and without sharing; none where no run records its steps."""
    kinds = count_steps(study.frames)
    if not kinds["all"].used:
        return []
    table = Table(
        f"Cost of {len(study.frames.records)} runs, each distinct step once; without sharing, every run its own",
        [
            "steps",
            "distinct",
            "computed",
            "seconds",
            "tokens",
            "used by runs",
            "without sharing, seconds",
            "saved, %",
        ],
        name="cost",
    )
    table.rows = [_row(name, kind) for name, kind in kinds.items() if kind.used]
    whole = kinds["all"]
    table.notes = [
        (
            f"{whole.used:,} steps of single runs are {whole.distinct:,} distinct ones; the other "
            f"{whole.used - whole.distinct:,} "
            "were cache hits: a run found its step made, or being made, by another."
        ),
        (
            "seconds: of the process that computed the step, on whatever machine did; tokens: trained on (sft, "
            "prefer) or drawn (sample). A step that was computed again after `gc` counts once."
        ),
    ]
    by_key = whole.seconds_alone - whole.seconds - whole.linked - whole.extended
    if whole.linked or whole.extended:
        table.notes.append(
            f"saved, seconds: {by_key:,.1f} by steps that several runs share, {whole.linked:,.1f} by steps that were "
            f"given the same contents as another, {whole.extended:,.1f} by responses that were drawn before."
        )
    if missing := whole.distinct - whole.done:
        table.notes.append(
            f"{missing:,} distinct steps are not in the store; their seconds and tokens are not known."
        )
    if whole.processors:
        listed = ", ".join(f"{name} ({n:,} steps)" for name, n in whole.processors.most_common())
        table.notes.append(f"processor: {listed}.")
    table.notes += run_list(study.groups)
    return [table]


def _row(name: str, kind: Kind) -> dict[str, Cell]:
    return {
        "steps": words(name),
        "distinct": count(kind.distinct),
        "computed": count(kind.done),
        "seconds": count(round(kind.seconds, 1)),
        "tokens": count(kind.tokens) if kind.tokens else words("–"),
        "used by runs": count(kind.used),
        "without sharing, seconds": count(round(kind.seconds_alone, 1)),
        "saved, %": percent(share_of(kind.seconds_alone - kind.seconds, kind.seconds_alone)),
    }
