"""What `w2s run`, `w2s show` and `w2s tables` print and save."""

import re
from collections.abc import Sequence
from pathlib import Path

from analysis.figures import save_figure
from analysis.findings_page import save_findings
from analysis.frame import StoreLike, load_frames
from analysis.groups import Group
from analysis.table import Table, save_table, to_terminal
from analysis.tables import all_tables
from w2s_core.errors import UserError

TABLE_NAMES = ("accuracy", "labels", "pairs")


def render_run(store: StoreLike, name: str) -> str:
    """The tables of one run as text, as far as it is computed. Saves nothing."""
    return _shown(all_tables(load_frames(store, [name])))


def save_report(store: StoreLike, names: Sequence[str], out: Path, command: Sequence[str] = ()) -> str:
    """Save tables (Markdown and CSV), the figure (PNG and SVG) and, for several runs, the findings (Markdown and JSON).

    Returns what to print: the tables, and where everything lies.

    Raises:
        UserError: a name that is no run, runs that cannot be aligned, or a folder that cannot be written.
    """
    tables = all_tables(load_frames(store, names))
    groups = [group for group, _ in tables]
    try:
        saved = _save_tables(tables, out)
        saved += save_figure(groups, out) if any(group.ids for group in groups) else []
        said, more = _findings(groups, out, " ".join(command)) if len(names) > 1 else ("", [])
    except OSError as error:
        raise UserError(f"{out}: cannot write the report: {error.strerror}") from None
    listed = "\n".join(f"  {path}" for path in [*saved, *more])
    return f"{_shown(tables)}\n{said}saved:\n{listed}"


def _shown(tables: Sequence[tuple[Group, Sequence[Table]]]) -> str:
    return "\n".join(to_terminal(table) for _, shown in tables for table in shown if table.rows)


def _save_tables(tables: Sequence[tuple[Group, Sequence[Table]]], out: Path) -> list[Path]:
    saved = []
    for i, (group, made) in enumerate(tables):
        suffix = f"-{i + 1}-{_slug(group.name)}" if len(tables) > 1 else ""
        for name, table in zip(TABLE_NAMES, made, strict=True):
            if table.rows:
                saved += save_table(table, out, name + suffix)
    return saved


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]


def _findings(groups: Sequence[Group], out: Path, command: str) -> tuple[str, list[Path]]:
    """The findings where the runs allow them; else why they do not, since tables stand without them too."""
    try:
        shown, paths = save_findings(groups, out, command)
    except UserError as error:
        return f"No findings: {error}\n\n", []
    return f"{shown}\n", paths
