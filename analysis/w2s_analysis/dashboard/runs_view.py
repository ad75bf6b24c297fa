"""The tab of runs: which columns, the table, and what is selected in it."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Final

import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import HTMLTemplateFormatter

from w2s_analysis.dashboard.catalogue import Catalogue, Snapshot
from w2s_analysis.dashboard.columns import Metric
from w2s_analysis.dashboard.frame import (
    BESIDE,
    all_fields,
    default_fields,
    group_values,
    header_filter,
    runs_frame,
)
from w2s_analysis.dashboard.look import CHOOSER, TABLE_CSS, as_text, by_title, html, text
from w2s_analysis.dashboard.run import OWN_COLUMNS
from w2s_analysis.writing.notes import ONE_SEED

NO_GROUP: Final = "–"
GROUP: Final = "\u200b"
"""Ends the name of the column that groups are made of: like the field's own to the eye."""
ROW_PX: Final = 42
_VALUE: Final = """
<% if (value !== null && value === value) { var [low, high, remark] = obj["BESIDE"][NUMBER]; %><%= value.toFixed(1) %><%
 if (remark) { %><span title="<%- remark %>">†</span><% } %><span class="ci"><%
 if (low !== null) { %><%= low.toFixed(1) %> – <%= high.toFixed(1) %><% } %></span><% } %>
"""


class RunsView:
    """The table of runs. `on_open` is called with a run whose name was clicked, `on_compare` with two selected ones."""

    def __init__(
        self,
        catalogue: Catalogue,
        on_open: Callable[[str], None],
        on_compare: Callable[[str, str], None],
    ) -> None:
        self._catalogue, self._on_open, self._on_compare = catalogue, on_open, on_compare
        self._chosen = {"fields": False, "metrics": False}
        self._setting = False
        self.fields = pmui.MultiChoice(label="Settings shown", **CHOOSER)
        self.metrics = pmui.MultiChoice(label="Results shown", **CHOOSER)
        self.group = pmui.Select(
            label="Group by", options=[NO_GROUP], width=220, size="small", margin=(8, 10)
        )
        self.compare = pmui.Button(label="Compare", disabled=True, variant="contained", margin=(8, 10))
        self.selected = html("")
        self._holder = pn.Column(sizing_mode="stretch_width")
        self.table: Any = None
        self._columns: tuple[Any, ...] = ()
        for name in ("fields", "metrics"):
            getattr(self, name).param.watch(lambda _, name=name: self._choose(name), "value")
        self.group.param.watch(lambda _: self._draw(), "value")
        self.compare.on_click(lambda _: self._compare())
        self.refresh(catalogue.snapshot)

    def layout(self) -> Any:
        """The tab's content."""
        columns = pn.Column(self.fields, self.metrics, sizing_mode="stretch_width", visible=False)
        choose = pmui.Toggle(label="Columns", variant="outlined", size="small", margin=(8, 10))
        choose.param.watch(lambda event: columns.param.update(visible=event.new), "value")
        bar = pn.FlexBox(
            self.group,
            choose,
            self.compare,
            pn.Column(self.selected, styles={"flex": "1 1 260px"}, align="center"),
            align_items="center",
            sizing_mode="stretch_width",
        )
        return pn.Column(bar, columns, self._holder, sizing_mode="stretch_width", margin=(8, 0))

    def refresh(self, snapshot: Snapshot) -> None:
        """Show a new state of the store: options, columns unless the user chose them, and rows."""
        fields = all_fields(snapshot)
        defaults = {"fields": default_fields(snapshot), "metrics": snapshot.default_columns}
        options: dict[str, Any] = {"fields": fields, "metrics": by_title(snapshot.columns.values())}
        offered = {"fields": set(fields), "metrics": set(snapshot.columns)}
        self._setting = True
        for name in ("fields", "metrics"):
            widget = getattr(self, name)
            chosen = [column for column in widget.value if column in offered[name]]
            if widget.options != options[name]:
                widget.options = options[name]
            columns = chosen if self._chosen[name] else defaults[name]
            if widget.value != columns:
                widget.value = columns
        groups = [NO_GROUP, *fields]
        if self.group.options != groups:
            self.group.options = groups
        self._setting = False
        self._draw()

    def rows(self) -> list[str]:
        """The runs in the table as it is shown: filtered and sorted."""
        return [] if self.table is None else self.table.current_view["run"].tolist()

    def _choose(self, name: str) -> None:
        if not self._setting:
            self._chosen[name] = True
            self._draw()

    def _draw(self) -> None:
        """New rows into the same table where the columns are the same, so that filters and order stay."""
        if self._setting:
            return
        group = None if self.group.value == NO_GROUP else self.group.value
        extra = [group] if group and group not in self.fields.value else []
        snapshot = self._catalogue.snapshot
        frame = runs_frame(snapshot, [*self.fields.value, *extra], self.metrics.value)
        if group:
            # Tabulator shows names and values of groups as HTML.
            column = f"{escape(group)}{GROUP}"
            frame[column] = [escape(value) for value in group_values(snapshot, group)]
            extra, group = [*extra, column], column
        columns = (*frame.columns, group, *(str(kind) for kind in frame.dtypes))
        if self.table is None or columns != self._columns:
            self._columns = columns
            selected = self.selected_names()
            self.table = self._make(frame, group, extra)
            self._holder[:] = [self.table]
            self._select(selected)
        elif not frame.equals(self.table.value):
            selected = self.selected_names()
            self.table.value = frame
            self._select(selected)

    def _make(self, frame: Any, group: str | None, extra: list[str]) -> Any:
        metrics = {column: self._catalogue.snapshot.columns[column] for column in self.metrics.value}
        hidden = [*extra, BESIDE]
        visible = [name for name in frame.columns if name not in hidden]
        fields = [name for name in visible if name not in (*OWN_COLUMNS, *metrics)]
        widths = {
            **_widths(frame, ["run", *fields]),
            "started": 128,
            "state": 92,
            **dict.fromkeys(metrics, 92),
        }
        headings: dict[str, list[str]] = {}
        for column, metric in metrics.items():
            headings.setdefault(escape(metric.heading), []).append(column)
        formatters = as_text(visible, clickable="run")
        formatters |= {
            column: HTMLTemplateFormatter(template=_value_template(number))
            for number, column in enumerate(metrics)
        }
        table = pn.widgets.Tabulator(
            frame,
            formatters=formatters,
            editors=dict.fromkeys(frame.columns),  # else the Tab key stops at each cell
            titles={name: _title(name) for name in fields}
            | {name: escape(metrics[name].title) for name in metrics},
            groups=headings,
            groupby=[group] if group else [],
            hidden_columns=hidden,
            header_filters={name: header_filter(frame, name, result=name in metrics) for name in visible},
            header_tooltips={column: _tooltip(metric) for column, metric in metrics.items()},
            text_align=dict.fromkeys(metrics, "right"),
            widths=widths,
            frozen_columns=["run"],
            selectable="checkbox",
            show_index=False,
            disabled=True,
            pagination="local",
            page_size=15,
            row_height=ROW_PX,
            layout="fit_columns",  # all have a width: nothing is measured, which took the browser 0.2 s
            sizing_mode="stretch_width",
            stylesheets=[TABLE_CSS],
            configuration={"columnDefaults": {"headerWordWrap": True, "maxWidth": 260}},
        )
        table.param.watch(lambda _: self._show_selected(), "selection")
        table.on_click(self._clicked, column="run")
        return table

    def _clicked(self, event: Any) -> None:
        self._on_open(self.table.value["run"].iloc[event.row])

    def selected_names(self) -> list[str]:
        """The runs that are ticked."""
        if self.table is None:
            return []
        names = self.table.value["run"].tolist()
        return [names[i] for i in self.table.selection if i < len(names)]

    def _select(self, names: list[str]) -> None:
        """Select runs by name: their rows may have moved."""
        order = self.table.value["run"].tolist()
        places = [order.index(name) for name in names if name in order]
        if self.table.selection != places:
            self.table.selection = places
        self._show_selected()

    def _show_selected(self) -> None:
        names = self.selected_names()
        self.compare.disabled = len(names) != 2
        hint = "Select two runs to compare them question by question; click a name to see where its results come from."
        self.selected.object = hint if len(names) != 2 else f"{text(names[0])} and {text(names[1])}"

    def _compare(self) -> None:
        names = self.selected_names()
        if len(names) == 2:
            self._on_compare(*names)


def _value_template(number: int) -> str:
    """The template of the cells of a result, the `number`th of those shown."""
    return _VALUE.replace("BESIDE", BESIDE).replace("NUMBER", str(number))


def _tooltip(metric: Metric) -> str:
    """Tabulator shows it as HTML."""
    role = f" ({metric.role})" if metric.role else ""
    return escape(f"{metric.full_title}{role}, %, with its 95 % interval over questions ({ONE_SEED})")


def _title(field: str) -> str:
    """A setting's name, which may break after each dot; the table shows it as HTML."""
    return escape(field).replace(".", ".<wbr>")


def _widths(frame: Any, fields: Sequence[str]) -> dict[str, int]:
    """As wide as the longest value or part of the name, in pixels."""
    longest = {
        name: max([len(part) + 2 for part in name.split(".")] + [len(str(value)) for value in frame[name]])
        for name in fields
    }
    return {name: min(240, max(72, 24 + 7 * size)) for name, size in longest.items()}
