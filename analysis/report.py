"""What `w2s run`, `w2s show` and `w2s tables` print and save.

A report is a list of parts; each part makes tables and figures of a study, and is saved under its own name. To add a
part, add it to `PARTS`.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.parts.accuracy import accuracy_table
from analysis.parts.cost import cost_tables
from analysis.parts.levels import level_figure, level_tables
from analysis.parts.settings import settings_tables
from analysis.reading.frame import Frames, StoreLike, load_frames
from analysis.reading.groups import Group
from analysis.reading.study import Study, by_strong, make_study, one_of
from analysis.reading.typed import written
from analysis.weak_to_strong.calibration import calibration_tables
from analysis.weak_to_strong.calibration_figure import calibration_figure
from analysis.weak_to_strong.capability_gap import save_gap
from analysis.weak_to_strong.findings_page import save_findings
from analysis.weak_to_strong.selection import selection_figure, selection_tables
from analysis.weak_to_strong.stage_one import stage_one_figure
from analysis.weak_to_strong.stage_two import stage_two_tables
from analysis.weak_to_strong.thresholds import figure_groups, threshold_figure, threshold_tables
from analysis.weak_to_strong.weak_choice import choice_figure, weak_choice_tables
from analysis.weak_to_strong.weak_models import pgr_figure, weak_model_tables
from analysis.writing.figures import save_figure
from analysis.writing.notes import footer
from analysis.writing.table import Table, escape, save_tables, to_terminal
from w2s_core.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Part:
    """A part of a report: the name of its files, its title, its tables, and its figure with a caption.

    `drawn`: the settings that the figure shows. `of_some`: its tables are of the settings that are shown in detail,
    which may not be all.
    """

    name: str
    title: str
    tables: Callable[[Study], list[Table]]
    figure: "Callable[[Study], Figure | None]" = lambda study: None
    caption: str = ""
    drawn: Callable[[Study], list[Group]] = lambda study: study.bases
    of_some: bool = False


def _each(make: Callable[[Group], list[Table]]) -> Callable[[Study], list[Table]]:
    """Tables of every setting that is shown in detail."""
    return lambda study: [table for group in study.detailed for table in make(group)]


def _stage_one(study: Study) -> "Figure | None":
    drawn = [group for group in study.bases if group.ids]
    return stage_one_figure(drawn) if drawn else None


STAGE_ONE = Part(
    "stage1",
    "Stage I: accuracy of every method",
    _each(lambda group: [accuracy_table(group)]),
    _stage_one,
    "Accuracy over the iterations of Stage I, and after Stage II; bars and bands are 95 % intervals.",
    of_some=True,
)
SELECTION = Part(
    "selection",
    "Where the labels come from",
    _each(selection_tables),
    lambda study: selection_figure(study.bases),
    "Precision of each labelled set against its coverage; the number is the iteration, 0 are D_weak and D_icl.",
    of_some=True,
)
STAGE_TWO = Part(
    "stage2", "Stage II: gains over M_plus, and the pairs", _each(stage_two_tables), of_some=True
)
PARTS = (
    STAGE_ONE,
    STAGE_TWO,
    Part(
        "levels",
        "Accuracy by difficulty",
        _each(level_tables),
        lambda study: level_figure(study.bases),
        "Accuracy by level; bars are 95 % intervals.",
        of_some=True,
    ),
    SELECTION,
    Part(
        "thresholds",
        "Thresholds as selection rules",
        threshold_tables,
        threshold_figure,
        "What each threshold buys; bars are 95 % intervals.",
        figure_groups,
    ),
    Part(
        "calibration",
        "Calibration of the vote",
        _each(calibration_tables),
        lambda study: calibration_figure(study.bases),
        "Above: how often votes of each confidence are right, with 95 % intervals, and how many votes have it. "
        "Below: how many of the surest votes are wrong, over the share of votes that is kept. Dashed: on train_2.",
        of_some=True,
    ),
    Part(
        "weak_models",
        "Weak models and the capability gap",
        weak_model_tables,
        lambda study: pgr_figure(study.bases),
        "Performance gap recovered, 0 = weak floor, 1 = strong ceiling; bars are 95 % intervals.",
    ),
    Part(
        "weak_choice",
        "The choice of the weak model",
        weak_choice_tables,
        lambda study: choice_figure(study.bases),
        "What M_plus gains over the strong model's zero-shot accuracy, over what is measured of the weak model; "
        "bars are 95 % intervals.",
    ),
    Part("cost", "Cost, and what sharing steps saves", cost_tables),
    Part("settings", "Settings and runs", settings_tables),
)
ONE_RUN = (STAGE_ONE, STAGE_TWO, SELECTION)
"""The parts that one run has; the others compare runs."""


def render_run(store: StoreLike, name: str) -> str:
    """The tables of one run as text, as far as it is computed. Saves nothing."""
    study = make_study(load_frames(store, [name]))
    return _terminal([table for part in ONE_RUN for table in part.tables(study)])


def save_report(store: StoreLike, names: Sequence[str], out: Path, command: Sequence[str] = ()) -> str:
    """Save the report of some runs, see `write_report`: all parts for several runs, its own for one."""
    study = make_study(load_frames(store, names), written(command))
    return write_report(study, out, PARTS if len(names) > 1 else ONE_RUN)


def write_reports(frames: Frames, out: Path, command: str = "", *, named: bool = True) -> str:
    """Save the report of some runs; with several strong models one of each in its own folder, and the grid over all.

    Args:
        named: as in `make_study`.

    Returns what to print.

    Raises:
        UserError: as `make_study` and `write_report`; or runs of several tasks.
    """
    one_of("task", frames)
    found = by_strong(frames)
    studies = {strong: make_study(ours, command, named=named) for strong, ours in found.items()}
    if len(studies) == 1:
        return write_report(studies.popitem()[1], out)
    folders = {strong: out / f"strong={re.sub(r'[^A-Za-z0-9_.+-]', '_', strong)}" for strong in studies}
    try:
        grid = save_gap(list(studies.values()), out)
    except OSError as error:
        raise UserError(f"{out}: cannot write the report: {error.strerror}") from None
    for strong, study in studies.items():
        write_report(study, folders[strong])
    listed = "\n".join(
        f"  {folder}/  every table of strong model {strong}" for strong, folder in folders.items()
    )
    return f"{grid}\n{listed}\n"


def write_report(study: Study, out: Path, parts: Sequence[Part] = PARTS) -> str:
    """Save the tables of each part (Markdown, LaTeX, CSV), its figure (PNG, SVG), and the findings of several runs.

    Returns what to print: the tables of Stage I and the findings (of one run, all tables), and where everything lies.

    Raises:
        UserError: runs that cannot be aligned, or a folder that cannot be written.
    """
    printed: list[Table] = []
    saved: list[Path] = []
    try:
        for part in parts:
            tables = part.tables(study)
            printed += tables if part is STAGE_ONE or len(study.runs) == 1 else []
            saved += _save_part(part, tables, study, out)
        said, more = _findings(study, out) if len(study.runs) > 1 else ("", [])
    except OSError as error:
        raise UserError(f"{out}: cannot write the report: {error.strerror}") from None
    listed = "\n".join(f"  {path}" for path in [*saved, *more])
    return f"{_terminal(printed)}\n{said}saved:\n{listed}"


def _terminal(tables: Sequence[Table]) -> str:
    return "\n".join(to_terminal(table) for table in tables if table.rows)


def _save_part(part: Part, tables: Sequence[Table], study: Study, out: Path) -> list[Path]:
    figure = part.figure(study)
    drawn = save_figure(figure, out, part.name) if figure is not None else []
    if not tables:
        return drawn
    made_by = [f"made by: {study.command}"] if study.command else []
    noted = [replace(table, notes=[*table.notes, *made_by]) for table in tables]
    below = _figure_below(part, study) if drawn else ""
    sentences = [f"# {part.title}", study.further if part.of_some else "", study.left_out]
    above = "\n\n".join(map(escape, filter(None, sentences))) + "\n"
    return [*save_tables(noted, out, part.name, above, below), *drawn]


def _figure_below(part: Part, study: Study) -> str:
    """The figure in Markdown with what stands beneath it, as beneath a table."""
    notes = [part.caption, *footer(part.drawn(study))]
    return f"![{part.title}]({part.name}.png)\n\n{escape(' '.join(notes))}\n"


def _findings(study: Study, out: Path) -> tuple[str, list[Path]]:
    """The findings where the runs allow them; else why they do not, since tables stand without them too."""
    try:
        shown, paths = save_findings(study.bases, out, study.command)
    except UserError as error:
        return f"No findings: {error}\n\n", []
    return f"{shown}\n", paths
