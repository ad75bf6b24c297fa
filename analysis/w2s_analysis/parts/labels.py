"""Sets of labels that a recipe trains on or could have: how many there are, and how often they are right."""

from w2s_analysis.parts.accuracy import title
from w2s_analysis.reading.groups import Group
from w2s_analysis.reading.labels import label_quality_over_seeds
from w2s_analysis.writing.notes import intervals_over, missing_notes, run_notes, smallest_change
from w2s_analysis.writing.table import MISSING, Cell, Table, count, percent_interval, words


def labelled_set_tables(group: Group) -> list[Table]:
    """Precision of every labelled set of training questions; none where the recipe grades no labels."""
    names = group.sets()
    if not names:
        return []
    table = Table(
        title(group, "Labels of training questions, per cent"),
        ["set", "precision", "rows", "unparsed"],
        spans=("precision",),
        name="labels",
        of=group.name,
    )
    qualities = {name: label_quality_over_seeds(group, name) for name in names}
    for name, quality in qualities.items():
        row: dict[str, Cell] = {"precision": words(MISSING)}
        if quality is not None:
            row = {
                "precision": percent_interval(quality.precision),
                "rows": count(quality.rows),
                "unparsed": count(quality.unparsed),
            }
        table.rows.append({"set": words(group.set_title(name)), **row})
    precisions = [quality.precision for quality in qualities.values() if quality is not None]
    table.notes = [
        "A question's label is its first response. Rows and unparsed labels are means over seeds.",
        f"seeds {', '.join(map(str, group.seeds))}; {intervals_over(len(group.seeds))}.",
        *filter(None, [smallest_change("The precision of a set", precisions)]),
        *missing_notes([group], lambda label: label.startswith("labels/")),
        *run_notes([group]),
    ]
    return [table]
