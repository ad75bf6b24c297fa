"""An overview of a study: one row a setting, and a list of all runs."""

from collections.abc import Callable, Collection

from w2s_analysis.parts.accuracy import accuracy_of
from w2s_analysis.reading.groups import Group, accuracy_estimate
from w2s_analysis.reading.recipes import model_heading
from w2s_analysis.reading.study import Study, setting_of
from w2s_analysis.writing.notes import ONE_SEED, intervals_over, questions_of, run_list, smallest_change
from w2s_analysis.writing.table import Cell, Table, words

Cells = dict[str, Cell]


def role_cells(group: Group) -> Cells:
    """Accuracy of floor, what the recipe proposes, and ceiling."""
    return {
        group.short_title(method): accuracy_of(group, method)
        for method in group.with_role("floor", "method", "ceiling")
    }


def settings_tables(
    study: Study, cells_of: Callable[[Group], Cells] = role_cells, plain: Collection[str] = ()
) -> list[Table]:
    """Accuracy of every setting, and the runs with what was typed for them.

    Args:
        cells_of: the results that a setting's row has, by column.
        plain: of these columns, those without an interval.
    """
    return [_settings(study, cells_of, plain), _runs(study)]


def _settings(study: Study, cells_of: Callable[[Group], Cells], plain: Collection[str]) -> Table:
    bases = {group.subject: group for group in study.bases}
    subject = model_heading(study.groups[0].lead)
    taken = (subject, "setting", "split", "seeds")  # a recipe may call one of its models so too
    cells = [
        {f"{name}, accuracy" if name in taken else name: cell for name, cell in cells_of(group).items()}
        for group in study.groups
    ]
    results = list(dict.fromkeys(column for row in cells for column, cell in row.items() if cell.text))
    table = Table(
        "Every setting: accuracy, per cent",
        [subject, "setting", "split", *results, "seeds"],
        left=("setting", "split"),
        name="settings",
    )
    table.spans = tuple(column for column in results if column not in plain)
    for group, row in zip(study.groups, cells, strict=True):
        base = bases.get(group.subject)
        table.rows.append(
            {
                subject: words(group.subject),
                "setting": words(setting_of(group, base) if base is not None else group.name),
                "split": words(group.split),
                **row,
                "seeds": words(str(len(group.seeds))),
            }
        )
    numbers = [len(group.seeds) for group in study.groups]
    scope = intervals_over(max(numbers))
    scope += f", of one seed over questions only ({ONE_SEED})" if min(numbers) < 2 <= max(numbers) else ""
    counted = dict.fromkeys(questions_of(group) for group in study.groups if group.ids)
    references = ((group, group.reference) for group in study.groups)
    shares = [accuracy_estimate(group, method) for group, method in references if method is not None]
    table.notes = [
        (
            f"n = {' or '.join(counted)}; {scope}. base setting: the one "
            "that the others vary. A setting that is not judged on test is judged on dev."
        ),
        smallest_change("A share above", shares),
        *run_list(study.groups),
        "Every run with its command: runs.csv.",
    ]
    return table


def _runs(study: Study) -> Table:
    subject = model_heading(study.groups[0].lead)
    columns = ["run", subject, "seed", "setting", "computed", "command"]
    table = Table("Runs", columns, left=tuple(columns[1:]), name="runs", csv_only=True)
    for group in study.groups:
        for member in group.members:
            done = sum(group.results.has(key) for key in member.targets.values())
            for i, run in enumerate(member.runs):
                table.rows.append(
                    {
                        "run": words(run),
                        subject: words(group.subject),
                        "seed": Cell(str(member.seed), member.seed),
                        "setting": words(group.name),
                        "computed": words(f"{done} of {len(member.targets)} targets"),
                        "command": words(
                            member.commands[min(i, len(member.commands) - 1)] if member.commands else ""
                        ),
                    }
                )
    return table
