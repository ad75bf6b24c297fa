"""`w2s compare`: two runs, or two methods of one, question by question."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from w2s_analysis.reading.pair import SIDES, Pair, Part, changed_sides, compare_pair
from w2s_analysis.reading.results import GRADES, Results, read_parquet
from w2s_analysis.reading.titles import distinct, outline_of, without_alias
from w2s_analysis.writing.notes import ONE_SEED, accepted_note
from w2s_analysis.writing.table import (
    Cell,
    Table,
    escape_prose,
    p_value,
    percent,
    points_interval,
    save_tables,
    to_terminal,
    with_bounds,
    with_bounds_of_difference,
    words,
)
from w2s_core.engine import Store
from w2s_core.errors import UserError
from w2s_core.recipes.recipe import Outline
from w2s_core.recipes.record import read_record

SHOWN_CHANGES: Final = 10
# Each side is one run, so one seed, also where the two are of different models or settings.
_SCOPE: Final = (
    f"{ONE_SEED.capitalize()}. p and intervals are over questions alone, of one seed of A and one of B."
)
GREEDY: Final = "greedy/"
_ONE_RESULT: Final = "one result"
ONLY_A, ONLY_B = SIDES[1], SIDES[2]


@dataclass(frozen=True)
class Compared:
    """One result of each side.

    Attributes:
        name: what tables call it.
        proposed: whether it is of a model that the recipe of A proposes.
    """

    name: str
    label_a: str
    label_b: str
    key_a: str
    key_b: str
    proposed: bool = False

    @property
    def same(self) -> bool:
        """Whether both sides are one stored object."""
        return self.key_a == self.key_b


def find_compared(
    store: Store, run_a: str, run_b: str, target_a: str | None, target_b: str | None
) -> list[Compared]:
    """What there is to compare, in the order of A's recipe: each greedy result that both runs have.

    Args:
        target_a, target_b: compare just these; one alone stands for both sides.

    Raises:
        UserError: a run has no such result, or the two share none.
    """
    records = [read_record(store.refs, run) for run in (run_a, run_b)]
    a, b = (record["targets"] for record in records)
    outlines = [{entry.label: entry for entry in outline_of([record])} for record in records]
    if target_a or target_b:
        of_a, of_b = target_a or target_b or "", target_b or target_a or ""
        label_a, label_b = find_target(a, of_a, run_a), find_target(b, of_b, run_b)
        name = _names(outlines[0]).get(label_a, label_a)
        if label_a != label_b:
            name = f"{name} → {_names(outlines[1]).get(label_b, label_b)}"
        return [Compared(name, label_a, label_b, a[label_a], b[label_b])]
    names = _names(outlines[0])
    for split in ("test", "dev"):
        shared = [
            Compared(names[label], label, label, a[label], b[label], entry.role == "method")
            for label, entry in outlines[0].items()
            if (entry.kind, entry.split) == ("greedy", split) and label in b
        ]
        ready = [result for result in shared if store.has(result.key_a) and store.has(result.key_b)]
        if ready:
            return ready
    raise UserError(f"runs '{run_a}' and '{run_b}' have no greedy result in common; name two with --target")


def find_target(targets: Mapping[str, str], wanted: str, run: str) -> str:
    """A target by its label, or by its end: `ceiling` is `greedy/test/ceiling`, or that on dev where test has none.

    Raises:
        UserError: there is none, with the nearest, or all.
    """
    for label in (wanted, f"{GREEDY}test/{wanted}", f"{GREEDY}dev/{wanted}"):
        if label in targets:
            return label
    from difflib import get_close_matches

    graded = [label for label in targets if label.startswith((GREEDY, "samples/", "labels/"))]
    by_end = {label.rpartition("/")[2]: label for label in reversed(graded)}
    close = get_close_matches(wanted.rpartition("/")[2], by_end, 1)
    hint = f"did you mean {by_end[close[0]]}?" if close else f"there are: {', '.join(sorted(graded))}"
    raise UserError(f"run '{run}' has no result '{wanted}'; {hint}")


def _names(outline: Mapping[str, Outline]) -> dict[str, str]:
    """What tables call the greedy results of a run by label: models by their titles, with the split."""
    titles = {
        label: f"{without_alias(entry.title)} ({entry.split})"
        for label, entry in outline.items()
        if entry.kind == "greedy"
    }
    return distinct(titles)


def overview(pairs: Mapping[str, Pair], names: tuple[str, str], same: Collection[str] = ()) -> Table:
    """A row a result that both have: shares, their difference with its interval, p, and the changed questions.

    Args:
        same: the results of which A's and B's are one stored object: they differ in nothing, without an interval.
    """
    table = Table(
        f"{names[1]} against {names[0]}: right answers, per cent",
        ["result", "A", "B", "B - A, points", "p", "p, McNemar", "only A", "only B", "n"],
        spans=("B - A, points",),
        name="compare",
    )
    for name, pair in pairs.items():
        untested = {"B - A, points": words(_ONE_RESULT), "p": words("–"), "p, McNemar": words("–")}
        cells = _cells(pair.whole) | (untested if name in same else {})
        table.rows.append({"result": words(name), **cells})
    table.notes = [f"A: {names[0]}. B: {names[1]}."]
    if same:
        table.notes.append(
            f"{_ONE_RESULT}: A's and B's are one stored object; there is no difference to test."
        )
    if len(same) == len(pairs):
        return table
    table.notes += [_method_note(next(iter(pairs.values()))), _SCOPE]
    if len(pairs) > 1:
        table.notes.append("p is of each row by itself: of many rows, one in twenty is below 0.05 by chance.")
    return table


def by_level(name: str, pair: Pair) -> Table:
    """The same by level, with p adjusted for the number of levels."""
    table = Table(
        f"{name} by level",
        ["level", "A", "B", "B - A, points", "p", "p, Holm", "only A", "only B", "n"],
        spans=("B - A, points",),
        name="compare_levels",
        of=name,
    )
    for part in pair.levels:
        adjusted = {"p, Holm": p_value(pair.adjusted[part.level])}
        table.rows.append({"level": words(str(part.level)), **_cells(part), **adjusted})
    table.notes = [_SCOPE]
    return table


def _cells(part: Part) -> dict[str, Cell]:
    return {
        "A": with_bounds(percent(part.mean_a), part.bounds_a),
        "B": with_bounds(percent(part.mean_b), part.bounds_b),
        "B - A, points": with_bounds_of_difference(points_interval(part.difference), part.bounds),
        "p": p_value(part.p),
        "p, McNemar": p_value(part.mcnemar),
        "only A": _whole(part.sides[ONLY_A]),
        "only B": _whole(part.sides[ONLY_B]),
        "n": _whole(sum(part.sides.values())),
    }


def _whole(number: int) -> Cell:
    return Cell(f"{number:,}", number)


def _method_note(pair: Pair) -> str:
    clustered = {template for template in pair.columns["template"].tolist() if template is not None}
    within = f", clustered by template ({len(clustered)})" if clustered else ""
    return (
        f"Paired by question{within}: 95 % bootstrap interval; p of a permutation of A and B within "
        f"{'templates' if clustered else 'questions'}; McNemar's exact p takes the questions as independent."
    )


def changes(store: Store, result: Compared, pair: Pair) -> Table:
    """The questions that changed sides, those that only B has right first, with both answers."""
    answers = [_answers(store, key) for key in (result.key_a, result.key_b)]
    table = Table(
        f"{result.name}: questions that changed sides",
        ["question", "level", "right in", "answer of A", "answer of B"],
        left=("right in", "answer of A", "answer of B"),
        name="compare_changes",
        of=result.name,
    )
    sides = changed_sides(pair.columns)
    rows = list(zip(pair.columns["id"], pair.columns["level"], sides, strict=True))
    for side in (ONLY_B, ONLY_A):
        for name, level, side_of_row in rows:
            if side_of_row == side:
                of_a, of_b = (words(_short(by_question.get(name))) for by_question in answers)
                cells = (
                    words(str(name)),
                    words("–" if level is None else str(level)),
                    words(side[-1]),
                    of_a,
                    of_b,
                )
                table.rows.append(dict(zip(table.columns, cells, strict=True)))
    return table


def _answers(store: Store, key: str) -> dict[str, Any]:
    """The first answer to each question."""
    table = read_parquet(store.path(key) / GRADES, ["id", "answers"])
    ids, answers = (table[name].to_pylist() for name in ("id", "answers"))
    return {name: drawn[0] if drawn else None for name, drawn in zip(ids, answers, strict=True)}


def _short(answer: Any) -> str:
    text = "none found" if answer is None else " ".join(str(answer).split())
    return text if len(text) <= 24 else f"{text[:23]}…"


def compare_results(
    store: Store, results: Sequence[Compared], runs: tuple[str, str], *, common: bool = False
) -> dict[str, Pair]:
    """The comparisons of some results by name. Raises UserError as `compare_pair`."""
    return {
        result.name: compare_pair(
            store,
            result.key_a,
            result.key_b,
            common=common,
            names=(f"{runs[0]}:{result.label_a}", f"{runs[1]}:{result.label_b}"),
        )
        for result in results
    }


def compare_tables(
    store: Store,
    runs: tuple[str, str],
    targets: tuple[str | None, str | None] = (None, None),
    *,
    common: bool = False,
) -> list[Table]:
    """The tables of a comparison: all results, then of one of them levels and the questions that changed sides.

    Raises:
        UserError: as `find_compared`; or results on different questions, unless `common`.
    """
    results = find_compared(store, *runs, *targets)
    pairs = compare_results(store, results, runs, common=common)
    whole = overview(pairs, runs, [result.name for result in results if result.same])
    whole.notes += accepted_note(
        Results(store).acceptances(key for result in results for key in (result.key_a, result.key_b))
    )
    tables = [whole]
    if differing := [result for result in results if not result.same]:
        last = detailed(differing)
        tables += [by_level(last.name, pairs[last.name]), changes(store, last, pairs[last.name])]
    return [table for table in tables if table.rows]


def compare_runs(
    store: Store,
    runs: tuple[str, str],
    targets: tuple[str | None, str | None] = (None, None),
    *,
    common: bool = False,
    out: Path | None = None,
) -> str:
    """Compare two runs and return what to print; with `out`, the tables are saved there too.

    Raises:
        UserError: as `compare_tables`.
    """
    tables = compare_tables(store, runs, targets, common=common)
    saved = ""
    if out is not None:
        try:
            paths = save_tables(
                tables, out, "compare", f"# {escape_prose(f'{runs[1]} against {runs[0]}')}\n", ""
            )
        except OSError as error:
            raise UserError(f"{out}: cannot write the comparison: {error.strerror}") from None
        saved = "\nsaved:\n" + "\n".join(f"  {path}" for path in paths)
    return "\n".join(to_terminal(_trimmed(table, out)) for table in tables) + saved


def detailed(results: Sequence[Compared]) -> Compared:
    """The last of the models that the recipe proposes; not the ceiling, nor a control."""
    return ([result for result in results if result.proposed] or list(results))[-1]


def _trimmed(table: Table, out: Path | None) -> Table:
    """What a terminal shows of a long list."""
    if table.name != "compare_changes" or len(table.rows) <= 2 * SHOWN_CHANGES:
        return table
    from dataclasses import replace

    by_side = {side: [row for row in table.rows if row["right in"].text == side] for side in ("B", "A")}
    rows = [row for part in by_side.values() for row in part[:SHOWN_CHANGES]]
    where = "compare_changes.csv" if out else "all with --out DIR"
    return replace(table, rows=rows, notes=[f"{len(rows)} of {len(table.rows)} shown ({where})."])
