"""A table as data, and its forms: for a terminal, Markdown and CSV, all from the same cells."""

import csv
import io
from dataclasses import dataclass, field
from math import isnan, nan
from pathlib import Path

from w2s_core.statistics import Estimate

WIDTH = 100
MISSING = "missing"


@dataclass(frozen=True)
class Cell:
    """A cell: what is shown, and the number behind it (nan for words)."""

    text: str
    value: float = nan
    low: float = nan
    high: float = nan


EMPTY = Cell("")


@dataclass
class Table:
    """Columns by heading, rows of cells (a missing name is an empty cell), and notes below.

    `spans` names the columns whose CSV has the interval's ends too; `left` those of words, set to the left.
    """

    title: str
    columns: list[str]
    rows: list[dict[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spans: tuple[str, ...] = ()
    left: tuple[str, ...] = ()

    def is_left(self, name: str) -> bool:
        """Whether a column is set to the left: the first, and those of words."""
        return name == self.columns[0] or name in self.left

    def texts(self) -> list[list[str]]:
        """The cells as shown, row by row."""
        return [[row.get(name, EMPTY).text for name in self.columns] for row in self.rows]


def words(text: str) -> Cell:
    """A cell of words."""
    return Cell(text)


def count(number: float) -> Cell:
    """A whole number, or a mean of whole numbers over seeds."""
    if isnan(number):
        return Cell("–")
    return Cell(f"{number:,.0f}" if number == round(number) else f"{number:,.1f}", number)


def percent(share: float, digits: int = 1) -> Cell:
    """A share as per cent, without its sign."""
    return Cell("–") if isnan(share) else Cell(f"{100 * share:.{digits}f}", 100 * share)


def percent_interval(estimate: Estimate) -> Cell:
    """A share with its interval, in per cent: `87.3 [84.1, 90.0]`."""
    return _interval(estimate, 100, 1)


def ratio_interval(estimate: Estimate) -> Cell:
    """A ratio with its interval: `0.85 [0.80, 0.90]`."""
    return _interval(estimate, 1, 2)


def _interval(estimate: Estimate, factor: float, digits: int) -> Cell:
    if isnan(estimate.value):
        return Cell("–")
    value, low, high = (factor * one for one in (estimate.value, estimate.low, estimate.high))
    ends = "" if isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return Cell(f"{value:.{digits}f}{ends}", value, low, high)


def to_terminal(table: Table, width: int = WIDTH) -> str:
    """The table as plain text. Notes are wrapped at `width`; a table that needs more is not cut, but longer."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=max(width, _needed(table)), color_system=None, highlight=False)
    shown = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="", title_style="")
    for name in table.columns:
        shown.add_column(name, justify="left" if table.is_left(name) else "right", no_wrap=True)
    for cells in table.texts():
        shown.add_row(*(Text(cell) for cell in cells))
    console.print(Text(table.title))
    console.print(Text("─" * min(width, max(len(table.title), 60))))
    console.print(shown)
    for note in table.notes:
        console.print(Text(note), width=width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _needed(table: Table) -> int:
    columns = zip(table.columns, *table.texts(), strict=True)
    return sum(max(map(len, cells)) + 2 for cells in columns)


def to_markdown(table: Table) -> str:
    """The table as Markdown, title and notes around it."""
    lines = [f"### {table.title}", ""]
    lines.append("| " + " | ".join(map(_escape, table.columns)) + " |")
    lines.append("|" + "|".join("---" if table.is_left(name) else "---:" for name in table.columns) + "|")
    lines += ["| " + " | ".join(map(_escape, cells)) + " |" for cells in table.texts()]
    lines += ["", *(f"{_escape(note)}  " for note in table.notes)]
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("_", "\\_").replace("<", "&lt;")


def to_csv(table: Table) -> str:
    """The table as CSV, numbers in full: an interval takes three columns, `x`, `x low`, `x high`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([part for name in table.columns for part in _headings(table, name)])
    for row in table.rows:
        writer.writerow(
            [part for name in table.columns for part in _fields(table, name, row.get(name, EMPTY))]
        )
    return out.getvalue()


def _headings(table: Table, name: str) -> list[str]:
    return [name, f"{name} low", f"{name} high"] if name in table.spans else [name]


def _fields(table: Table, name: str, cell: Cell) -> list[str]:
    first = cell.text if isnan(cell.value) else _number(cell.value)
    if name not in table.spans:
        return [first]
    return [first, *("" if isnan(end) else _number(end) for end in (cell.low, cell.high))]


def _number(value: float) -> str:
    return (
        format(round(value, 6), "g") if value == round(value) and abs(value) < 1e6 else format(value, ".6g")
    )


def save_table(table: Table, folder: Path, name: str) -> list[Path]:
    """Write `name.md` and `name.csv` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.md", folder / f"{name}.csv"]
    paths[0].write_text(to_markdown(table), encoding="utf-8")
    paths[1].write_text(to_csv(table), encoding="utf-8")
    return paths
