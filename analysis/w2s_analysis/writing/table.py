"""A table as data, and its forms: for a terminal, Markdown, LaTeX and CSV, all from the same cells."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isinf, isnan, nan
from pathlib import Path
from typing import Any, TypeGuard

from w2s_core.statistics import Bounds, Estimate

WIDTH = 100
MISSING = "missing"
MARK = "†"
"""Of a cell with bounds that a note tells."""
LEAST_GAP = 0.005
"""Bounds that lie no further apart than this share are not shown."""


@dataclass(frozen=True)
class Cell:
    """A cell: what is shown, and the number behind it (nan for words).

    `bounds` are those that responses which were not graded leave, in the cell's unit; None where they are narrow.
    `remark` is what the note beneath the table says of them.
    """

    text: str
    value: float = nan
    low: float = nan
    high: float = nan
    bounds: Bounds | None = None
    remark: str = ""


EMPTY = Cell("")
_BOUNDS_NOTE = (
    f"{MARK} Not all responses were graded: some were unparsed, timed out, undecided, or truncated and not right. They "
    "count as wrong. From the least to the most that they leave open, and an interval that holds the truth with 95 % "
    f"whatever they are (Imbens and Manski 2004), where that is more than {100 * LEAST_GAP:g} points: "
)
_REMARKS = 40
"""Cells that the note names; the CSV has all."""


@dataclass
class Table:
    """Columns by heading, rows of cells (a missing name is an empty cell), and notes below.

    `spans` names the columns whose CSV has the interval's ends too; `left` those of words, set to the left. Tables of
    one `name` go into one CSV file, told apart by what they are `of` (a weak model, say). Long lists may be
    `csv_only`.
    """

    title: str
    columns: list[str]
    rows: list[dict[str, Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    spans: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    name: str = ""
    of: str = ""
    csv_only: bool = False

    def is_left(self, name: str) -> bool:
        """Whether a column is set to the left: the first, and those of words."""
        return name == self.columns[0] or name in self.left

    def texts(self) -> list[list[str]]:
        """The cells as shown, row by row."""
        return [[row.get(name, EMPTY).text for name in self.columns] for row in self.rows]

    def bounded(self) -> set[str]:
        """The columns of which any cell shows bounds."""
        return {name for row in self.rows for name in self.columns if row.get(name, EMPTY).bounds is not None}

    def explained(self) -> list[str]:
        """The notes, after what is said of marked cells, if there are any."""
        remarks = self._remarks()
        if not remarks:
            return self.notes
        more = f"; and {len(remarks) - _REMARKS} more (CSV)" if len(remarks) > _REMARKS else ""
        return [f"{_BOUNDS_NOTE}{'; '.join(remarks[:_REMARKS])}{more}.", *self.notes]

    def _remarks(self) -> list[str]:
        marked = [
            (i, name)
            for i, row in enumerate(self.rows)
            for name in self.columns
            if row.get(name, EMPTY).remark
        ]
        row_names = self._row_names() if marked else []
        # The column is named where several have marks.
        several = len({name for _, name in marked}) > 1
        return [
            f"{', '.join([*row_names[i], *([name] if several else [])])}: {self.rows[i][name].remark}"
            for i, name in marked
        ]

    def _row_names(self) -> list[tuple[str, ...]]:
        """What tells each row from the others: its first cells, as few as do; a blank first one is that above."""
        firsts: list[str] = []
        for text in (row.get(self.columns[0], EMPTY).text for row in self.rows):
            firsts.append(text or (firsts[-1] if firsts else ""))
        names = [(first, *texts[1:]) for first, texts in zip(firsts, self.texts(), strict=True)]
        for length in range(1, len(self.columns) + 1):
            if len({name[:length] for name in names}) == len(names):
                return [name[:length] for name in names]
        return [name[:1] for name in names]


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


def with_bounds(cell: Cell, bounds: Bounds | None) -> Cell:
    """A share in per cent, marked where its bounds lie far apart: `71.2† [67.0, 75.1]`."""
    if not is_wide(bounds):
        return cell
    lower, upper, low, high = (f"{100 * share:.1f}" for share in _parts(bounds))
    interval = "" if isnan(bounds.low) else f" [{low}, {high}]"
    return _marked(cell, _in_points(bounds), f"{lower}–{upper}{interval}")


def with_bounds_of_difference(cell: Cell, bounds: Bounds | None) -> Cell:
    """A difference in points, marked where its bounds lie far apart: `+5.2† [+3.1, +7.4]`."""
    if not is_wide(bounds):
        return cell
    lower, upper, low, high = (_signed(100 * share) for share in _parts(bounds))
    interval = "" if isnan(bounds.low) else f" [{low}, {high}]"
    return _marked(cell, _in_points(bounds), f"{lower} to {upper}{interval}")


def with_bounds_unmarked(cell: Cell, bounds: Bounds | None) -> Cell:
    """A share in per cent whose bounds stand in the CSV alone."""
    return replace(cell, bounds=_in_points(bounds)) if is_wide(bounds) else cell


def _marked(cell: Cell, bounds: Bounds, remark: str) -> Cell:
    value, space, interval = cell.text.partition(" ")
    return replace(cell, text=f"{value}{MARK}{space}{interval}", bounds=bounds, remark=remark)


def is_wide(bounds: Bounds | None) -> TypeGuard[Bounds]:
    """Whether bounds lie so far apart that they are shown."""
    return (
        bounds is not None and bounds.gap > LEAST_GAP + 1e-9
    )  # one of 200 responses is half a point exactly


def _in_points(bounds: Bounds) -> Bounds:
    return Bounds(*(100 * share for share in _parts(bounds)))


def _parts(bounds: Bounds) -> tuple[float, float, float, float]:
    return bounds.lower, bounds.upper, bounds.low, bounds.high


def share_cell(estimate: Estimate | None, *, signed: bool = False) -> Cell:
    """A measure with its interval to three places: `0.642 [0.580, 0.699]`."""
    if estimate is None:
        return words(MISSING)
    if isnan(estimate.value):
        return Cell("–")
    form = "+.3f" if signed else ".3f"
    value, low, high = (
        format(round(bound, 3) + 0.0, form) for bound in (estimate.value, estimate.low, estimate.high)
    )
    ends = "" if isnan(estimate.low) else f" [{low}, {high}]"
    return Cell(value + ends, estimate.value, estimate.low, estimate.high)


def percent_interval(estimate: Estimate) -> Cell:
    """A share with its interval, in per cent: `87.3 [84.1, 90.0]`; marked where its bounds lie far apart."""
    return with_bounds(_interval(estimate, 100, 1), estimate.bounds)


def ratio_interval(estimate: Estimate) -> Cell:
    """A ratio with its interval: `0.85 [0.80, 0.90]`; marked where its bounds lie far apart."""
    cell, bounds = _interval(estimate, 1, 2), estimate.bounds
    if not is_wide(bounds):
        return cell
    if isinf(bounds.gap):
        return _marked(cell, bounds, "any value, since the gap may not be resolved")
    lower, upper, low, high = (f"{ratio:.2f}" for ratio in _parts(bounds))
    return _marked(cell, bounds, f"{lower} to {upper} [{low}, {high}]")


def points_interval(effect: Estimate | None) -> Cell:
    """A difference of shares in points, with its sign: `+5.2 [+3.1, +7.4]`; marked where its bounds lie far apart."""
    if effect is None or isnan(effect.value):
        return Cell("–")
    value, low, high = (100 * share for share in (effect.value, effect.low, effect.high))
    ends = "" if isnan(low) else f" [{_signed(low)}, {_signed(high)}]"
    return with_bounds_of_difference(Cell(_signed(value) + ends, value, low, high), effect.bounds)


def _signed(points: float) -> str:
    """`+5.2`; never `-0.0`."""
    return f"{round(points, 1) + 0.0:+.1f}"


def probability(effect: Estimate | None) -> Cell:
    """The p of an effect."""
    return p_value(effect.p if effect is not None else nan)


def p_value(p: float) -> Cell:
    """A p."""
    return Cell("–") if isnan(p) else Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)


def _interval(estimate: Estimate, factor: float, digits: int) -> Cell:
    if isnan(estimate.value):
        return Cell("–")
    value, low, high = (factor * bound for bound in (estimate.value, estimate.low, estimate.high))
    ends = "" if isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return Cell(f"{value:.{digits}f}{ends}", value, low, high)


def to_terminal(table: Table, width: int = WIDTH) -> str:
    """The table as plain text. Notes are wrapped at `width`; a table that needs more is not cut, but longer."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=max(width, _needed(table)), color_system=None, highlight=False)
    grid = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="", title_style="")
    for name in table.columns:
        grid.add_column(name, justify="left" if table.is_left(name) else "right", no_wrap=True)
    for cells in table.texts():
        grid.add_row(*(Text(cell) for cell in cells))
    console.print(Text(table.title))
    console.print(Text("─" * min(width, max(len(table.title), 60))))
    console.print(grid)
    for note in table.explained():
        console.print(Text(note), width=width)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _needed(table: Table) -> int:
    columns = zip(table.columns, *table.texts(), strict=True)
    return sum(max(map(len, cells)) + 2 for cells in columns)


def to_markdown(table: Table) -> str:
    """The table as Markdown, title and notes around it."""
    lines = [f"### {escape_prose(table.title)}", ""]
    lines.append("| " + " | ".join(map(escape, table.columns)) + " |")
    lines.append("|" + "|".join("---" if table.is_left(name) else "---:" for name in table.columns) + "|")
    lines += ["| " + " | ".join(map(escape, cells)) + " |" for cells in table.texts()]
    lines += ["", *(f"{escape(note)}  " for note in table.explained())]
    return "\n".join(lines) + "\n"


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""Line breaks, of which LaTeX would make a paragraph and Markdown the end of a table, and other control characters."""
_MARKDOWN = re.compile(r"[\\|_*`~]|\](?=[(\[:])")
"""A bracket is a mark in a link only, and intervals are written with it."""


def escape(text: str) -> str:
    """Text for Markdown on one line, all characters that it would read as marks escaped."""
    text = _CONTROL.sub(" ", text).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKDOWN.sub(r"\\\g<0>", text)


def escape_prose(text: str) -> str:
    """`escape` for headings and sentences, where an underscore within a word is no mark, nor is "<" before a space."""
    return re.sub(r"(?<=\w)\\_(?=\w)", "_", escape(text)).replace("&lt; ", "< ")


def to_csv(*tables: Table) -> str:
    """Tables as one CSV, numbers in full: an interval takes three columns, `x`, `x low`, `x high`.

    The columns of several tables are put together; what each is `of` stands in a first column, if any is of something.
    A column of which any cell shows bounds has four more: `x worst`, `x best`, `x bounds low`, `x bounds high`.
    """
    columns = list(dict.fromkeys(name for table in tables for name in table.columns))
    spans = {name for table in tables for name in table.spans}
    bounded = {name for table in tables for name in table.bounded()}
    named = any(table.of for table in tables)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    headings = [part for name in columns for part in _headings(name, name in spans, name in bounded)]
    writer.writerow(map(plain, ["of"] * named + headings))
    for table in tables:
        for row in table.rows:
            cells = [_fields(row.get(name, EMPTY), name in spans, name in bounded) for name in columns]
            writer.writerow(map(plain, [table.of] * named + [part for fields in cells for part in fields]))
    return out.getvalue()


_FORMULA = re.compile(r"\s*[=+\-@]")


def plain(text: str) -> str:
    """Text that a spreadsheet does not compute: what begins as a formula does gets an apostrophe; a number does not."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]inf")


def _headings(name: str, spans: bool, bounded: bool) -> list[str]:
    ends = ("low", "high") if spans else ()
    bounds = ("worst", "best", "bounds low", "bounds high") if bounded else ()
    return [name, *(f"{name} {part}" for part in (*ends, *bounds))]


def _fields(cell: Cell, spans: bool, bounded: bool) -> list[str]:
    first = cell.text if isnan(cell.value) else _number(cell.value)
    ends = (cell.low, cell.high) if spans else ()
    known = cell.bounds or Bounds(nan, nan, nan, nan)
    bounds = (known.lower, known.upper, known.low, known.high) if bounded else ()
    return [first, *("" if isnan(number) else _number(number) for number in (*ends, *bounds))]


def _number(value: float) -> str:
    # An end of an interval may be infinite, which has no round number.
    return (
        format(round(value, 6), "g") if abs(value) < 1e6 and value == round(value) else format(value, ".6g")
    )


def to_document(table: Table) -> dict[str, Any]:
    """The table as plain data for JSON.

    Returns:
        name, of, title, columns, notes; rows: a value by column, which is the number in full where there is one, else
        the words, and None where nothing stands. In columns with intervals or bounds a number is an object: value; low,
        high; and, where it is marked, what responses that were not graded leave open: worst, best, bounds_low,
        bounds_high.
    """
    objects = {*table.spans, *table.bounded()}
    rows = [
        {name: _plain(row.get(name, EMPTY), name in objects, name in table.spans) for name in table.columns}
        for row in table.rows
    ]
    head = {"name": table.name, "of": table.of, "title": table.title, "columns": table.columns}
    return {**head, "rows": rows, "notes": table.explained()}


def _plain(cell: Cell, is_object: bool, spans: bool) -> Any:
    if isnan(cell.value):
        return None if cell.text in ("", "–") else cell.text
    number = int(cell.value) if float(cell.value).is_integer() else cell.value
    if not is_object:
        return number
    interval = {"low": cell.low, "high": cell.high} if spans else {}
    bounds = (
        dict(zip(("worst", "best", "bounds_low", "bounds_high"), _parts(cell.bounds), strict=True))
        if cell.bounds
        else {}
    )
    return {"value": number, **interval, **bounds}


def to_latex(table: Table) -> str:
    """The table as LaTeX for the package booktabs, its title as caption and its notes below."""
    shape = "".join("l" if table.is_left(name) else "r" for name in table.columns)
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{tex(table.title)}}}",
        rf"\begin{{tabular}}{{{shape}}}",
        r"\toprule",
        _tex_row(table.columns),
        r"\midrule",
        *map(_tex_row, table.texts()),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if table.explained():
        notes = r" \\ ".join(map(tex, table.explained()))
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize\raggedright {notes}}}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _tex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(tex, cells)) + r" \\"
    return "{}" + row if row.startswith("[") else row  # a bracket after \\ would be read as its argument


_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "–": "--",
        "−": "$-$",
        "·": r"\textperiodcentered{}",
        "†": r"\textdagger{}",
        "≥": r"$\geq$",
        "≤": r"$\leq$",
        "“": "``",
        "”": "''",
        "’": "'",
        **{mark: f"\\{mark}" for mark in "&%$#_"},
    }
)


def tex(text: str) -> str:
    """Text for LaTeX, all characters that it would read as commands escaped."""
    return _CONTROL.sub(" ", text).translate(_TEX)


def save_tables(
    tables: Sequence[Table], folder: Path, name: str, before: str = "", after: str = ""
) -> list[Path]:
    """Write tables into a folder: `name.md` and `name.tex` with all, a CSV file for those of each name.

    Args:
        before, after: Markdown around the tables (a heading, figures).
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [table for table in tables if not table.csv_only]
    texts = {
        f"{name}.md": "\n".join(filter(None, [before, *map(to_markdown, written), after])),
        f"{name}.tex": "\n".join(map(to_latex, written)),
    }
    for stem in dict.fromkeys(table.name or name for table in tables):
        texts[f"{stem}.csv"] = to_csv(*(table for table in tables if (table.name or name) == stem))
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    return [folder / file for file in texts]
