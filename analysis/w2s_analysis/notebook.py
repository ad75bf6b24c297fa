"""What the notebooks call: open the runs that the environment names, and show a part of the report.

W2S_STORE is the store (.w2s), W2S_STUDY a study; without one, all runs of the store.
"""

import importlib
import io
import os
from typing import Any

from w2s_analysis.parts.part import Part
from w2s_analysis.reading.frame import StoreLike
from w2s_analysis.reading.study import Study, make_study, open_frames
from w2s_analysis.report import report_of
from w2s_analysis.writing.figures import style
from w2s_analysis.writing.table import to_markdown
from w2s_core.errors import UserError


def open_study(store: StoreLike | None = None) -> Study:
    """The runs to show.

    Raises:
        UserError: there are none, or they do not belong together.
    """
    from w2s_core.engine import Store

    opened = store or Store(os.environ.get("W2S_STORE", ".w2s"))
    return make_study(open_frames(opened, study=os.environ.get("W2S_STUDY") or None), named=False)


def part_named(study: Study, name: str) -> Part:
    """A part of a study's report. Raises UserError where there is none of that name."""
    parts = {part.name: part for part in report_of(study).parts}
    if name not in parts:
        raise UserError(f"the report has no part '{name}'; it has: {', '.join(parts)}")
    return parts[name]


def show(study: Study, name: str) -> None:
    """Display the tables and the figure of a part, by its name."""
    part = part_named(study, name)
    _show_markdown("\n".join(to_markdown(table) for table in part.tables(study) if not table.csv_only))
    figure = part.figure(study)
    if figure is not None:
        _show_figure(figure, part.title)


def show_findings(study: Study) -> None:
    """Display the page of findings.

    Raises:
        UserError: the recipe's report has none.
    """
    findings = report_of(study).findings
    if findings is None:
        raise UserError(f"the report of recipe '{study.recipe}' has no findings")
    _show_markdown(findings.page(study.bases))


def _show_markdown(text: str) -> None:
    tools = _display()
    tools.display(tools.Markdown(text))


def _show_figure(figure: Any, title: str) -> None:
    drawn = io.BytesIO()
    with style():
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    tools = _display()
    tools.display(tools.SVG(drawn.getvalue()), metadata={"image/svg+xml": {"alt": title}})


def _display() -> Any:
    """IPython's ways to show things: it is there wherever a notebook runs."""
    return importlib.import_module("IPython.display")
