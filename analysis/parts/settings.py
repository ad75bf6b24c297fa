"""An overview of a study: one row a setting, and a list of all runs."""

from analysis.parts.accuracy import accuracy_of
from analysis.reading.groups import Group, accuracy_estimate
from analysis.reading.labels import label_quality_over_seeds
from analysis.reading.study import Study, setting_of
from analysis.writing.notes import questions_of, run_notes, smallest_change
from analysis.writing.table import EMPTY, Cell, Table, percent, percent_interval, words
from w2s_core.statistics import Estimate

METHODS = {"weak floor": "weak_floor", "M_plus": "", "DPO": "dpo", "ORPO": "orpo", "ceiling": "ceiling"}


def settings_tables(study: Study) -> list[Table]:
    """Accuracy of every setting, and the runs with what was typed for them."""
    return [_settings(study), _runs(study)]


def _settings(study: Study) -> Table:
    bases = {group.weak: group for group in study.bases}
    columns = ["weak model", "setting", "split", *METHODS, "agreed, precision", "agreed, coverage", "seeds"]
    table = Table("Every setting: accuracy, per cent", columns, left=("setting", "split"), name="settings")
    table.spans = (*METHODS, "agreed, precision")
    for group in study.groups:
        cells = {
            name: accuracy_of(group, method or group.m_plus)
            for name, method in METHODS.items()
            if (method or group.m_plus) in group.planned()
        }
        quality = label_quality_over_seeds(group, f"agreed_{group.iterations}")
        table.rows.append(
            {
                "weak model": words(group.weak),
                "setting": words(setting_of(group, bases[group.weak]) if group.weak in bases else group.name),
                "split": words(group.split),
                **cells,
                "agreed, precision": percent_interval(quality.precision) if quality else EMPTY,
                "agreed, coverage": percent(quality.coverage) if quality else EMPTY,
                "seeds": words(str(len(group.seeds))),
            }
        )
    asked = dict.fromkeys(questions_of(group) for group in study.groups if group.ids)
    table.notes = [
        (
            f"n = {' or '.join(asked)}; intervals 95 %, over questions and seeds. base setting: the one "
            "that the others vary. A setting that is not judged on test is judged on dev."
        ),
        smallest_change("A share above", [one for group in study.groups if (one := _final(group))]),
        *run_notes(study.groups)[:1],
        "Every run with its command: runs.csv.",
    ]
    return table


def _final(group: Group) -> Estimate | None:
    return accuracy_estimate(group, group.m_plus)


def _runs(study: Study) -> Table:
    columns = ["run", "weak model", "seed", "setting", "computed", "command"]
    table = Table("Runs", columns, left=tuple(columns[1:]), name="runs", csv_only=True)
    for group in study.groups:
        for member in group.members:
            done = sum(group.results.has(key) for key in member.targets.values())
            for i, run in enumerate(member.runs):
                table.rows.append(
                    {
                        "run": words(run),
                        "weak model": words(group.weak),
                        "seed": Cell(str(member.seed), member.seed),
                        "setting": words(group.name),
                        "computed": words(f"{done} of {len(member.targets)} targets"),
                        "command": words(
                            member.commands[min(i, len(member.commands) - 1)] if member.commands else ""
                        ),
                    }
                )
    return table
