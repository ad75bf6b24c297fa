"""What `w2s run`, `w2s show` and `w2s tables` print and save."""

from collections.abc import Sequence
from pathlib import Path

from analysis.frame import Frames, StoreLike, load_frames
from analysis.groups import Group
from analysis.table import Table, save_table, to_terminal
from analysis.tables import all_tables

TABLE_NAMES = ("accuracy", "labels", "pairs")


def render_run(store: StoreLike, name: str) -> str:
    """The tables of one run as text, as far as it is computed. Saves nothing."""
    return _shown(all_tables(load_frames(store, [name])))


def save_report(store: StoreLike, names: Sequence[str], out: Path, command: Sequence[str] = ()) -> str:
    """Save tables (Markdown and CSV), figure (PNG and SVG) and, for several runs, the findings; return what to print.

    Raises:
        UserError: a name that is no run, runs that cannot be compared, or a folder that cannot be written.
    """
    frames = load_frames(store, names)
    tables = all_tables(frames)
    saved = _save(frames, tables, out, command)
    listed = "\n".join(f"  {path}" for path in saved)
    return f"{_shown(tables)}\nsaved:\n{listed}"


def _shown(tables: Sequence[tuple[Group, Sequence[Table]]]) -> str:
    return "\n".join(to_terminal(table) for _, shown in tables for table in shown if table.rows)


def _save(
    frames: Frames, tables: Sequence[tuple[Group, Sequence[Table]]], out: Path, command: Sequence[str]
) -> list[Path]:
    saved = []
    for i, (_, made) in enumerate(tables):
        for name, table in zip(TABLE_NAMES, made, strict=True):
            if table.rows:
                saved += save_table(table, out, name if len(tables) == 1 else f"{name}-{i + 1}")
    return saved
