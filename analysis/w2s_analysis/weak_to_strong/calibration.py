"""Is the strong model's vote a calibrated confidence, before and after Stage II?

Stage II takes the share of the majority among k samples for a confidence (section 3.2), and the paper leaves open
whether it is one. Here the vote of M_plus on train_2, which chooses the pairs, and the votes of M_plus, DPO and ORPO
on the split are held against gold. Gold is read for this only: no vote here chooses what is trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from w2s_analysis.parts.accuracy import title
from w2s_analysis.reading.groups import Group, shared
from w2s_analysis.reading.results import Graded, Ints, number_clusters
from w2s_analysis.weak_to_strong.titles import METHODS, m_plus, short_names
from w2s_analysis.writing.notes import (
    in_templates,
    intervals_over,
    missing_notes,
    run_notes,
    seeds_there,
    smallest_change,
    smallest_effect,
    to_compute,
)
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    count,
    percent,
    percent_interval,
    share_cell,
    words,
)
from w2s_core.errors import UserError
from w2s_core.statistics import (
    AtomAccuracy,
    Estimate,
    RiskCoverage,
    atom_accuracy,
    calibration_changes,
    calibration_intervals,
    choose_threshold,
    keep_above,
    risk_coverage,
    same_ids,
)

Floats = npt.NDArray[np.float64]
VOTE: Final = "vote"
SHOWN: Final = {
    "accuracy": "accuracy of the vote",
    "overconfidence": "mean confidence - accuracy",
    "ece": "ECE",
    "brier": "Brier",
    "reliability": "Brier, reliability",
    "resolution": "Brier, resolution",
    "uncertainty": "Brier, uncertainty",
    "auroc": "AUROC",
    "aurc": "AURC",
    "excess_aurc": "AURC above an oracle's",
}
BY_LEVEL: Final = ("accuracy", "overconfidence", "ece", "auroc", "excess_aurc")
TARGETS: Final = (0.7, 0.8, 0.9)
"""Precisions that a threshold is to reach."""

VOTING: Final = (
    "The vote is the commonest of a question's sampled answers (the first drawn of equals), its confidence their "
    "share; right answers count as one, wrong ones by their text. A majority without an answer is not right. Seeds "
    "are pooled."
)
MEANING: Final = (
    "ECE and reliability cannot be negative, so chance alone makes them positive; the lower ends of their intervals "
    "take that off, and mean confidence - accuracy has no such bias. Brier = reliability - resolution + uncertainty. "
    "AUROC: how often a right vote is surer than a wrong one. AURC: mean risk over coverage."
)
ON_TRAIN_2: Final = (
    "M_plus was fine-tuned on answers to a part of train_2: its vote there, which chooses the pairs of Stage II, may "
    "be surer than on new questions."
)
RULE: Final = (
    "The threshold keeps the most answers whose precision on dev has its interval's lower end at the wanted one or "
    "above: coverage is what labels are short of. It is chosen over all confidences, so only test judges it."
)


@dataclass(frozen=True, eq=False)
class Votes:
    """Votes of a model on some questions, over seeds.

    Attributes:
        ids: of the questions, in order.
        confidence, right: shape [seeds, questions].
        levels, clusters: one a question; None where there is none.
        empty: how many votes have no answer, as the share of all.
        members: the names of the runs, one a seed.
    """

    ids: list[str]
    confidence: Floats
    right: Floats
    levels: list[Any]
    clusters: Ints | None
    empty: float
    members: tuple[str, ...]

    def at_level(self, level: Any) -> "Votes":
        """The votes on the questions of a level."""
        at = [i for i, other in enumerate(self.levels) if other == level]
        ids, levels = [self.ids[i] for i in at], [self.levels[i] for i in at]
        clusters = number_clusters(self.clusters[at].tolist()) if self.clusters is not None else None
        return replace(
            self,
            ids=ids,
            confidence=self.confidence[:, at],
            right=self.right[:, at],
            levels=levels,
            clusters=clusters,
        )


def votes_of(group: Group, label: str, members: Sequence[str] | None = None) -> Votes | None:
    """The votes of a target over the seeds that have it (or these members); None where none has it.

    Raises:
        UserError: seeds with other questions.
    """
    names = tuple(group.having(label) if members is None else members)
    if not names:
        return None
    return shared(group, [label], ("votes", names), lambda: _read(group, label, names))


def _read(group: Group, label: str, names: tuple[str, ...]) -> Votes:
    graded = [group.graded(label, name) for name in names]
    orders = [_order(part) for part in graded]
    ids = [[part.questions.ids[i] for i in order] for part, order in zip(graded, orders, strict=True)]
    for other, name in zip(ids[1:], names[1:], strict=True):
        _check_same(ids[0], other, (f"{label} of {names[0]}", f"{label} of {name}"))
    votes = [part.vote for part in graded]
    confidence = np.stack([part.share[order] for part, order in zip(votes, orders, strict=True)])
    right = np.stack([part.right[order] for part, order in zip(votes, orders, strict=True)]).astype(
        np.float64
    )
    levels, templates = ([values[i] for i in orders[0]] for values in (graded[0].levels, graded[0].templates))
    empty = float(np.mean([part.empty for part in votes])) if right.size else 0.0
    return Votes(ids[0], confidence, right, levels, number_clusters(templates), empty, names)


def _order(graded: Graded) -> npt.NDArray[np.int64]:
    order = graded.questions.order
    return np.arange(len(graded.questions.ids)) if order is None else order


def _check_same(first: list[str], second: list[str], names: tuple[str, str]) -> None:
    if first != second:
        same_ids(set(first), set(second), names)
        raise UserError(f"{names[1]}: a question stands twice")


def vote_labels(group: Group) -> dict[str, str]:
    """The targets that are votes and planned, with what tables call them: on train_2, then each model on the split."""
    on_train_2 = {VOTE: "M_plus, train_2"} if VOTE in group.labels else {}
    planned = group.planned("samples")
    names = short_names(group)
    return on_train_2 | {
        f"samples/{group.split}/{method}": f"{names[method]}, {group.split}"
        for method in names
        if method in planned
    }


def atoms_of(group: Group, label: str) -> list[AtomAccuracy]:
    """Accuracy by confidence; empty where the votes are missing."""
    votes = votes_of(group, label)
    if votes is None:
        return []
    arguments = votes.confidence, votes.right, votes.clusters
    return shared(group, [label], ("atoms", votes.members), lambda: atom_accuracy(*arguments))


def curve_of(group: Group, label: str) -> RiskCoverage | None:
    """Risk over coverage of all seeds' votes; None where they are missing."""
    votes = votes_of(group, label)
    return risk_coverage(votes.confidence, votes.right) if votes is not None else None


def interval_of(group: Group, label: str, name: str) -> Estimate | None:
    """A calibration measure with its interval; None where the votes are missing."""
    votes = votes_of(group, label)
    if votes is None:
        return None
    arguments = votes.confidence, votes.right, votes.clusters
    topic = ("intervals", votes.members)
    return shared(group, [label], topic, lambda: calibration_intervals(SHOWN, *arguments))[name]


def change_of(group: Group, before: str, after: str, name: str) -> Estimate | None:
    """How much a measure grows between two targets on the same questions, over the seeds that have both."""
    members = group.having(before, after)
    first, second = (votes_of(group, label, members) for label in (before, after))
    if first is None or second is None:
        return None
    _check_same(first.ids, second.ids, (f"{before} of {members[0]}", f"{after} of {members[0]}"))
    systems = (first.confidence, first.right), (second.confidence, second.right)
    topic = ("changes", first.members)
    changes = shared(
        group, [before, after], topic, lambda: calibration_changes(SHOWN, *systems, first.clusters)
    )
    return changes[name]


# Tables


def calibration_tables(group: Group) -> list[Table]:
    """Measures, accuracy by confidence, measures by level, and a threshold; none where no vote is planned."""
    if not vote_labels(group):
        return []
    tables = (measure_table(group), atom_table(group), level_table(group), threshold_table(group))
    return [table for table in tables if table.rows]


def measure_table(group: Group) -> Table:
    """Every measure of every vote, and what Stage II changes: paired, over the same questions and seeds."""
    labels = vote_labels(group)
    before = f"samples/{group.split}/{m_plus(group)}"
    after = [label for label in labels if label.rsplit("/", 1)[-1] in METHODS and before in labels]
    heads = {label: _heading(group, label) for label in labels}
    changes = {label: f"{labels[label].split(',')[0]} minus M_plus" for label in after}
    columns = [*heads.values(), *changes.values()]
    table = Table(
        title(group, "Calibration of the vote"),
        ["measure", *columns],
        spans=tuple(columns),
        name="calibration",
        of=group.name,
    )
    for name, heading in SHOWN.items():
        row = {"measure": words(heading)}
        signed = name == "overconfidence"
        row |= {heads[label]: share_cell(interval_of(group, label, name), signed=signed) for label in labels}
        by_label = {label: change_of(group, before, label, name) for label in after}
        row |= {changes[label]: share_cell(by_label[label], signed=True) for label in after}
        table.rows.append(row)
    answers = {heads[label]: _empty_cell(group, label) for label in labels}
    table.rows.append({"measure": words("votes without an answer"), **answers})
    effects = [change_of(group, before, label, "ece") for label in after]
    table.notes = [VOTING, MEANING, *([ON_TRAIN_2] if VOTE in labels else [])]
    table.notes += _notes(group, smallest_effect("A change of ECE", effects))
    return table


def atom_table(group: Group) -> Table:
    """How many votes have each confidence, over all seeds, and how many of them are right."""
    labels = vote_labels(group)
    heads = {label: _heading(group, label) for label in labels}
    by_label = {label: {atom.confidence: atom for atom in atoms_of(group, label)} for label in labels}
    columns = [f"{heads[label]}: {column}" for label in labels for column in ("votes", "right, %")]
    table = Table(
        title(group, "Calibration: accuracy of the vote by its confidence"),
        ["confidence", *columns],
        spans=tuple(columns[1::2]),
        name="calibration_atoms",
        of=group.name,
    )
    for value in sorted({value for atoms in by_label.values() for value in atoms}):
        row = {"confidence": Cell(f"{value:.3g}", value)}
        for label, atoms in by_label.items():
            if value in atoms:
                row[f"{heads[label]}: votes"] = count(atoms[value].n)
                row[f"{heads[label]}: right, %"] = percent_interval(atoms[value].accuracy)
        table.rows.append(row)
    shares = [atom.accuracy for atoms in by_label.values() for atom in atoms.values()]
    smallest = smallest_change("The share right of an atom", shares)
    table.notes = ["A calibrated vote is right as often as it is sure.", *_notes(group, smallest)]
    return table


def level_table(group: Group) -> Table:
    """The measures of each vote by level; no rows without levels."""
    table = Table(
        title(group, "Calibration of the vote by level"),
        ["vote", "level", "questions", *(SHOWN[name] for name in BY_LEVEL)],
        spans=tuple(SHOWN[name] for name in BY_LEVEL),
        name="calibration_levels",
        of=group.name,
    )
    gaps: dict[tuple[str, Any], Estimate | None] = {}
    for label in vote_labels(group):
        votes = votes_of(group, label)
        ranked = sorted({x for x in votes.levels if x is not None}, key=_rank) if votes is not None else []
        for level in ranked:
            row = {"vote": words(_heading(group, label)), "level": words(str(level))}
            cells, gaps[label, level] = _level_cells(group, label, level)
            table.rows.append(row | cells)
    table.notes = [
        MEANING,
        *_notes(
            group, smallest_change("The gap between mean confidence and accuracy on one level", gaps.values())
        ),
    ]
    return table


def _rank(level: Any) -> tuple[bool, Any]:
    return isinstance(level, str), level


def _level_cells(group: Group, label: str, level: Any) -> tuple[dict[str, Cell], Estimate | None]:
    """A level's row, and its mean confidence - accuracy."""
    votes = votes_of(group, label)
    if votes is None:
        return {}, None

    def make() -> tuple[dict[str, Cell], Estimate]:
        selected = votes.at_level(level)
        measures = calibration_intervals(BY_LEVEL, selected.confidence, selected.right, selected.clusters)
        cells = {
            SHOWN[name]: share_cell(estimate, signed=name == "overconfidence")
            for name, estimate in measures.items()
        }
        return {"questions": count(selected.right.shape[1]), **cells}, measures["overconfidence"]

    return shared(group, [label], ("by level", level, votes.members), make)


def threshold_table(group: Group) -> Table:
    """The confidence from which to keep answers: chosen on dev, judged on test."""
    table = Table(
        title(group, "Calibration: a threshold for keeping answers, chosen on dev"),
        [
            "vote",
            "precision wanted, %",
            "confidence at least",
            "dev: kept, %",
            "dev: right, %",
            "test: kept, %",
            "test: right, %",
        ],
        spans=("dev: right, %", "test: right, %"),
        name="calibration_threshold",
        of=group.name,
    )
    having = [name for name in (m_plus(group), *METHODS) if group.having(f"samples/dev/{name}")]
    results = [_threshold_row(group, method, target) for method in having for target in TARGETS]
    table.rows = [row for row, _ in results]
    if not table.rows:
        table.rows = [{"vote": words(MISSING)}]
        table.notes = [f"No dev samples in these runs. {_to_make_dev(group)}", *run_notes([group])]
        return table
    table.notes = [RULE, *_notes(group, smallest_change("The share right", [share for _, share in results]))]
    return table


def _threshold_row(group: Group, method: str, target: float) -> tuple[dict[str, Cell], Estimate | None]:
    """A row, and the share right on test."""
    row = {"vote": words(group.title(method)), "precision wanted, %": percent(target, 0)}
    dev, test = (votes_of(group, f"samples/{split}/{method}") for split in ("dev", "test"))
    if dev is None:
        return row | {"confidence at least": words(MISSING)}, None
    chosen = choose_threshold(dev.confidence, dev.right, target, dev.clusters)
    if chosen is None:
        return row | {"confidence at least": words("none reaches it")}, None
    row["confidence at least"] = Cell(f"{chosen.threshold:.3g}", chosen.threshold)
    row |= {"dev: kept, %": percent(chosen.coverage), "dev: right, %": percent_interval(chosen.precision)}
    if test is None:
        return row | {"test: right, %": words(MISSING)}, None
    kept = keep_above(test.confidence, test.right, chosen.threshold, test.clusters)
    row |= {"test: kept, %": percent(kept.coverage), "test: right, %": percent_interval(kept.precision)}
    return row, kept.precision


def _to_make_dev(group: Group) -> str:
    """How to have samples of dev computed, as a command where one run was typed."""
    samples = group.planned("samples")
    fields = "'evaluation.splits=[dev,test]'" + ("" if samples else " evaluation.samples=10")
    command = to_compute([group], fields)
    return f"To compute some: {command}" if command else f"To compute some, set {fields} in the experiment."


def _empty_cell(group: Group, label: str) -> Cell:
    votes = votes_of(group, label)
    return words(MISSING) if votes is None else Cell(f"{votes.empty:.3f}", votes.empty)


def _heading(group: Group, label: str) -> str:
    """What a vote is called, with the number of its seeds where some lack it."""
    name, members = vote_labels(group)[label], group.having(label)
    return name + seeds_there(len(members), len(group.runs))


def _notes(group: Group, smallest: str = "") -> list[str]:
    labels = vote_labels(group)
    asked: dict[str, None] = {}
    for label in labels:
        votes = votes_of(group, label)
        if votes is not None:
            split = "train_2" if label == VOTE else group.split
            asked[f"{votes.right.shape[1]:,} {split} questions{in_templates(votes.clusters)}"] = None
    seeds = ", ".join(map(str, group.seeds))
    first = f"n = {' and '.join(asked)}; seeds {seeds}; {intervals_over(len(group.seeds))}." if asked else ""
    rest = missing_notes([group], lambda label: label in labels)
    return [note for note in (first, smallest) if note] + rest + run_notes([group])
