"""How the page looks: styles, escaped pieces of HTML, and numbers as words."""

import re
from collections.abc import Iterable
from html import escape
from math import isnan
from typing import Any, Final

from w2s_analysis.dashboard.columns import Metric
from w2s_core.statistics import Bounds

ACCENT: Final = "#1F4E79"
DOT: Final = "#2B86D0"
"""Of plots with one colour: seen on a light and on a dark page."""
_SHAPES: Final = {"typography": {"fontSize": 13}, "shape": {"borderRadius": 4}}
THEME: Final = {
    "light": {"palette": {"primary": {"main": ACCENT}}, **_SHAPES},
    "dark": {"palette": {"primary": {"main": "#3F87C2"}}, **_SHAPES},
}
_INK: Final = "var(--panel-on-background-color, #1c2126)"
"""The page's text colour: Panel sets it anew when the page is made dark or light, and all others are mixed with it."""
QUIET: Final = f"color-mix(in srgb, {_INK} 72%, transparent)"
FAINT: Final = f"color-mix(in srgb, {_INK} 22%, transparent)"
BAD, GOOD, LINK = (f"color-mix(in srgb, {shade} 65%, {_INK})" for shade in ("#d0402b", "#1fa36b", "#2b86d0"))
CHOOSER: Final[Any] = {"searchable": True, "dropdown_height": 360, "sizing_mode": "stretch_width"}
"""What all choosers of several things share."""


def _coloured(css: str) -> str:
    """Styles with the colours that they name."""
    shades = {"QUIET": QUIET, "FAINT": FAINT, "BAD": BAD, "GOOD": GOOD, "LINK": LINK}
    return re.sub("|".join(shades), lambda match: shades[match[0]], css)


TABLE_CSS: Final = _coloured("""
:host .tabulator, :host .tabulator .tabulator-header, :host .tabulator-row { font-size: 13px; }
:host .tabulator-row .tabulator-cell:has(input[type=checkbox]) { text-overflow: clip; }
.tabulator .tabulator-header .tabulator-col { vertical-align: bottom; }
.tabulator .tabulator-header .tabulator-col .tabulator-col-title { white-space: normal; font-weight: 600; }
.tabulator .tabulator-header input { font-size: 12px; padding: 2px 4px; border: 1px solid FAINT; border-radius: 3px; }
.tabulator-row .tabulator-cell { padding: 5px 8px; }
.tabulator-row .tabulator-cell .ci { display: block; font-size: 11px; color: QUIET; line-height: 1.2; }
.tabulator-row .tabulator-cell .open { all: unset; color: LINK; cursor: pointer; text-decoration: underline; }
.tabulator-row .tabulator-cell .open:focus-visible { outline: 2px solid LINK; outline-offset: 1px; }
.tabulator-row.tabulator-group { font-size: 13px; padding: 5px 8px; }
""")
HTML_CSS: Final = _coloured("""
:host { font-size: 14px; line-height: 1.5; }
table.facts { border-collapse: collapse; font-size: 13px; }
table.facts th, table.facts td { text-align: left; padding: 3px 16px 3px 0; vertical-align: top; }
table.facts th { font-weight: 600; white-space: nowrap; }
table.facts td { overflow-wrap: anywhere; }
table.numbers { border-collapse: collapse; font-size: 13px; }
table.numbers th, table.numbers td { text-align: right; padding: 4px 14px; border-bottom: 1px solid FAINT; }
table.numbers th { font-weight: 600; }
table.numbers th:first-child, table.numbers td:first-child { text-align: left; padding-left: 0; }
a { color: LINK; } :focus-visible { outline: 2px solid LINK; outline-offset: 2px; }
.quiet { color: QUIET; } .scroll { overflow-x: auto; }
.big { font-size: 22px; font-weight: 600; }
.trouble { color: BAD; } .right { color: GOOD; }
.question { border-top: 1px solid FAINT; padding: 6px 0; } .question p { margin: 4px 0; }
.sides { display: flex; gap: 20px; } .side { flex: 1 1 0; min-width: 0; }
.mark { margin-right: 14px; white-space: nowrap; }
.mark i { display: inline-block; width: 18px; height: 4px; margin-right: 5px; vertical-align: middle; }
pre.scrolls { max-height: 260px; overflow-y: auto; border-left: 3px solid FAINT; padding-left: 8px; }
pre { font-size: 12px; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
""")


LEAST_P: Final = 0.001


def html(content: str) -> Any:
    """A pane of HTML; what stands in it is escaped by its maker."""
    import panel as pn

    return pn.pane.HTML(content, sizing_mode="stretch_width", stylesheets=[HTML_CSS], margin=(2, 10))


def as_text(columns: Iterable[str], clickable: str | None = None) -> dict[str, Any]:
    """Formatters that show cells as text and never as HTML; one column may be of buttons that look like links.

    A Bokeh model belongs to one page: each table needs formatters of its own.
    """
    from bokeh.models.widgets.tables import HTMLTemplateFormatter

    formatters = {name: HTMLTemplateFormatter(template="<%- value %>") for name in columns}
    if clickable is not None:
        formatters[clickable] = HTMLTemplateFormatter(
            template='<button type="button" class="open"><%- value %></button>'
        )
    return formatters


def by_title(metrics: Iterable[Metric]) -> dict[str, str]:
    """Columns by their titles, as choosers take them; these show text and never HTML."""
    return {metric.full_title: metric.column for metric in metrics}


def text(value: Any) -> str:
    """A value as HTML text: records and model outputs are untrusted."""
    return escape(str(value))


def link(address: str, words: str) -> str:
    """A link that opens beside the page."""
    return f'<a href="{escape(address)}" target="_blank" rel="noopener">{text(words)}</a>'


def trouble(error: Exception | str) -> str:
    """A line that says what is wrong."""
    return f'<p class="trouble">{text(error)}</p>'


def facts(rows: list[tuple[str, str]]) -> str:
    """Names and values, the values HTML already."""
    inner = "".join(f"<tr><th>{text(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table class="facts">{inner}</table></div>'


def numbers(header: list[str], rows: list[list[str]]) -> str:
    """A small table; the cells are text."""
    head = "".join(f"<th>{text(name)}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="numbers"><tr>{head}</tr>{body}</table></div>'


def percent(value: float) -> str:
    """A share as per cent."""
    return "–" if isnan(value) else f"{100 * value:.1f}"


def bounds(limits: Bounds) -> str:
    """From the worst case of a share to its best, in per cent, with the interval."""
    interval = "" if isnan(limits.low) else f" [{percent(limits.low)}, {percent(limits.high)}]"
    return f"{percent(limits.lower)}–{percent(limits.upper)}{interval}"


def points(value: float, low: float, high: float) -> str:
    """A difference of shares in percentage points, with its interval."""
    if isnan(value):
        return "–"
    span = "" if isnan(low) else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * value:+.1f}{span}"


def probability(p: float) -> str:
    """A p value."""
    if isnan(p):
        return "–"
    return f"< {LEAST_P}" if p < LEAST_P else f"{p:.3f}"
