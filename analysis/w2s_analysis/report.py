"""What `w2s run`, `w2s show` and `w2s tables` print and save.

A report is a list of parts; each part makes tables and figures of a study, and is saved under its own name. A recipe
may bring a report of its own, with what only it has (`w2s_analysis.parts.part.Report`); others have the general parts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from w2s_analysis.parts.general import GENERAL
from w2s_analysis.parts.part import Part, Report, load_report
from w2s_analysis.reading.frame import Frames, StoreLike, load_frames
from w2s_analysis.reading.recipes import model_heading, why_missing
from w2s_analysis.reading.study import Study, by_companions, by_recipe, check_one_task, make_study
from w2s_analysis.reading.typed import written
from w2s_analysis.writing.figures import save_figure
from w2s_analysis.writing.notes import footer
from w2s_analysis.writing.table import (
    MISSING,
    Cell,
    Table,
    escape,
    escape_prose,
    save_tables,
    to_document,
    to_terminal,
    words,
)
from w2s_analysis.writing.written import WrittenReports, source_of
from w2s_core.errors import UserError

MANY_MISSING: Final = 3
"""More rows than that without a number are put together on a terminal."""


def report_of(study: Study) -> Report:
    """The report of a study's recipe; that of any recipe where it brings none, or is not there."""
    return load_report(study.recipe) or GENERAL


def render_run(store: StoreLike, name: str) -> str:
    """The tables of one run as text, as far as it is computed. Saves nothing."""
    study = make_study(load_frames(store, [name]))
    tables = [table for part in report_of(study).one_run for table in part.tables(study)]
    study.frames.results.columns.save()
    return _terminal(tables) + _remark(study)


def save_report(store: StoreLike, names: Sequence[str], out: Path, command: Sequence[str] = ()) -> str:
    """Save the report of some runs, see `write_report`: all parts for several runs, its own for one."""
    study = make_study(load_frames(store, names), written(command))
    report = report_of(study)
    return write_report(study, out, report.parts if len(names) > 1 else report.one_run)


def write_reports(frames: Frames, out: Path, command: str = "", *, named: bool = True) -> str:
    """Save the report of some runs; of several recipes, or companion models, one of each in its own folder, and a
    recipe's grid over its companion models.

    Args:
        named: as in `make_study`.

    Returns what to print.

    Raises:
        UserError: as `make_study` and `write_report`; or runs of one recipe on several tasks.
    """
    by_name = by_recipe(frames)
    if len(by_name) == 1:
        return _write_recipe(frames, out, command, named)
    folders = {recipe: out / _folder({"recipe": recipe}) for recipe in by_name}
    texts = [_write_recipe(part, folders[recipe], command, named) for recipe, part in by_name.items()]
    listed = [f"  {folder}/  every table of recipe {recipe}" for recipe, folder in folders.items()]
    return "\n".join([*texts, *listed])


def report_documents(frames: Frames, *, named: bool = True) -> Iterator[dict[str, Any]]:
    """The tables of `write_reports` as plain data, a report for each recipe and choice of companion models.

    Args:
        named: as in `make_study`.

    Yields:
        recipe, models (the companions by field), runs, left_out (a sentence on runs in no table); parts: name, title,
        tables (see `to_document`).

    Raises:
        UserError: as `write_reports`.
    """
    for recipe, of_recipe in by_recipe(frames).items():
        check_one_task(of_recipe)
        for models, part_of_runs in by_companions(of_recipe):
            study = make_study(part_of_runs, named=named)
            parts = [
                {"name": part.name, "title": part.title, "tables": [to_document(table) for table in tables]}
                for part in report_of(study).parts
                for tables in [[table for table in part.tables(study) if table.rows]]
                if tables
            ]
            study.frames.results.columns.save()
            head = {"recipe": recipe, "models": models, "runs": study.runs, "left_out": study.left_out}
            yield {**head, "parts": parts}


def _write_recipe(frames: Frames, out: Path, command: str, named: bool) -> str:
    """The reports of one recipe."""
    check_one_task(frames)
    studies = [(models, make_study(part, command, named=named)) for models, part in by_companions(frames)]
    if len(studies) == 1:
        return write_report(studies[0][1], out)
    text = ""
    grid = report_of(studies[0][1]).grid
    if grid is not None:
        try:
            text = grid([study for _, study in studies], out)
        except OSError as error:
            raise UserError(f"{out}: cannot write the report: {error.strerror}") from None
    for models, study in studies:
        write_report(study, out / _folder(models))
    listed = "\n".join(
        f"  {out / _folder(models)}/  every table of {_listed(models)}" for models, _ in studies
    )
    return f"{text}\n{listed}\n"


def _folder(parts: Mapping[str, str]) -> str:
    """A folder's name from names that may hold anything."""
    return ",".join(f"{field}={re.sub(r'[^A-Za-z0-9_.+-]', '_', name)}" for field, name in parts.items())


def _listed(models: Mapping[str, str]) -> str:
    return ", ".join(f"{model_heading(field)} {name}" for field, name in models.items())


def write_report(study: Study, out: Path, parts: Sequence[Part] = ()) -> str:
    """Save the tables of each part (Markdown, LaTeX, CSV), its figure (PNG, SVG), and the findings of several runs. A
    report that lies there already, made from the same, is left as it is.

    Args:
        parts: those of the recipe's report that are saved; by default all.

    Returns what to print: the tables of the first part and the findings (of one run, all tables), and where everything
    lies.

    Raises:
        UserError: runs that cannot be aligned, or a folder that cannot be written.
    """
    report = report_of(study)
    chosen = parts or report.parts
    source = source_of(study, [str(out), *(part.name for part in chosen)])
    reports = WrittenReports(study.frames.results.store.root)
    if source is not None and (text := reports.text(out, source)) is not None:
        return text
    try:
        text, paths = _write(study, out, report, chosen)
    except OSError as error:
        raise UserError(f"{out}: cannot write the report: {error.strerror}") from None
    study.frames.results.columns.save()
    if source is not None:
        reports.put(out, source, text, paths)
    return text


def _write(study: Study, out: Path, report: Report, parts: Sequence[Part]) -> tuple[str, list[Path]]:
    """See `write_report`; what to print, and all files."""
    printed: list[Table] = []
    saved: list[Path] = []
    for part in parts:
        tables = [table for table in part.tables(study) if table.rows]
        printed += tables if part is report.parts[0] or len(study.runs) == 1 else []
        saved += _save_part(part, tables, study, out)
    text, paths = _findings(report, study, out) if len(study.runs) > 1 else ("", [])
    saved += paths
    listed = "\n".join(f"  {path}" for path in saved)
    return f"{_terminal(printed)}{_remark(study)}\n{text}saved:\n{listed}", saved


def _terminal(tables: Sequence[Table]) -> str:
    """Tables for a terminal; rows of nothing but missing results are put together, and tables of such rows left out."""
    shown = [table for table in tables if not all(map(_is_missing, table.rows))]
    return "\n".join(to_terminal(_shortened(table)) for table in shown or tables[:1] if table.rows)


def _is_missing(row: Mapping[str, Cell]) -> bool:
    """Whether a row has no number behind its name."""
    texts = {cell.text for cell in list(row.values())[1:]}
    return MISSING in texts and texts <= {MISSING, "–", ""}


def _shortened(table: Table) -> Table:
    """The missing rows of a table as one, where they are many. Its notes name what is missing."""
    missing = [row for row in table.rows if _is_missing(row)]
    if len(missing) <= MANY_MISSING:
        return table
    first, *others = (row[table.columns[0]].text for row in missing)
    together = {**missing[0], table.columns[0]: words(f"{first} and {len(others)} more")}
    rows = [row for row in table.rows if row not in missing]
    return replace(table, rows=[*rows, together])


def _remark(study: Study) -> str:
    """That the report lacks what only the recipe could add, where that is so."""
    reason = why_missing(study.recipe)
    return f"\n{reason}\n" if reason else ""


def _save_part(part: Part, tables: Sequence[Table], study: Study, out: Path) -> list[Path]:
    figure = part.figure(study)
    drawn = save_figure(figure, out, part.name) if figure is not None else []
    if not tables:
        return drawn
    made_by = [f"made by: {study.command}"] if study.command else []
    noted = [replace(table, notes=[*table.notes, *made_by]) for table in tables]
    below = _figure_below(part, study) if drawn else ""
    sentences = [
        f"# {part.title}",
        study.further if part.of_some else "",
        study.left_out,
        why_missing(study.recipe),
    ]
    above = "\n\n".join(map(escape, filter(None, sentences))) + "\n"
    return [*save_tables(noted, out, part.name, above, below), *drawn]


def _figure_below(part: Part, study: Study) -> str:
    """The figure in Markdown with what stands beneath it, as beneath a table."""
    notes = [part.caption, *footer(part.drawn(study))]
    return f"![{escape_prose(part.title)}]({part.name}.png)\n\n{escape(' '.join(notes))}\n"


def _findings(report: Report, study: Study, out: Path) -> tuple[str, list[Path]]:
    """The findings where the runs allow them; else why they do not, since tables stand without them too."""
    if report.findings is None:
        return "", []
    try:
        text, paths = report.findings.save(study.bases, out, study.command)
    except UserError as error:
        return f"No findings: {error}\n\n", []
    return f"{text}\n", paths
