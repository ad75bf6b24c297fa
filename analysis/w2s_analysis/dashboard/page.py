"""The comparison page: one session's tabs over the server's one catalogue."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui

from w2s_analysis.dashboard.curves_view import CurvesView
from w2s_analysis.dashboard.keyboard import OpenByKey
from w2s_analysis.dashboard.links import Shared
from w2s_analysis.dashboard.look import THEME, html, text
from w2s_analysis.dashboard.pair_view import PairView
from w2s_analysis.dashboard.plot_view import PlotView
from w2s_analysis.dashboard.run_view import RunView
from w2s_analysis.dashboard.runs_view import RunsView

POLL_MS: Final = 1000
RUNS, PLOT, PAIR, RUN, CURVES = range(5)
_NAMES: Final = ("a", "b", "of_a", "of_b")


class Page:
    """The page of one browser tab. `query` is its address's: `run=NAME`, or `a=RUN&b=RUN` with `of_a`, `of_b`."""

    def __init__(self, shared: Shared, query: Mapping[str, str] | None = None) -> None:
        self._catalogue, self._links, self._place = shared.catalogue, shared.links, shared.place
        self._version = self._catalogue.snapshot.version
        self.runs = RunsView(self._catalogue, self.open_run, self.compare)
        self.pair = PairView(self._catalogue)
        self.run = RunView(self._catalogue, self._links)
        self.plot = PlotView(self._catalogue, self.runs.rows)
        self.curves = CurvesView(self._catalogue)
        self._state = html("")
        views: dict[str, Any] = {
            "Runs": self.runs,
            "Plot": self.plot,
            "Compare two": self.pair,
            "One run": self.run,
            "Training": self.curves,
        }
        self._layouts = [view.layout() for view in views.values()]
        # A browser builds a tab when it is opened. Panel's own way (dynamic=True) loses what changes meanwhile.
        self._holders = [pn.Column(sizing_mode="stretch_width") for _ in views]
        self.tabs = pmui.Tabs(*zip(views, self._holders, strict=True), sizing_mode="stretch_width")
        self.tabs.param.watch(lambda _: self._tab_changed(), "active")
        self._write_state()
        self._fill_tab()
        self._follow(query or {})

    def layout(self) -> Any:
        """The page for a browser."""
        study = self._catalogue.study
        name = f"Runs of study {study}" if study else "Runs"
        beside = " · ".join(self._links.of_page(study))
        intro = (
            f"Store {text(self._place)}. Each row is a run: the settings that differ between runs, and its results in "
            "per cent with 95 % intervals over questions. Sort by a header, filter below it. "
        )
        return pmui.Page(
            title=f"w2s · {name}",
            main=[
                pn.Column(
                    OpenByKey(height=0, margin=0),
                    html(f"<span class='quiet'>{intro}</span>{beside}"),
                    self._state,
                    self.tabs,
                    sizing_mode="stretch_width",
                    margin=(8, 16),
                )
            ],
            theme_config=THEME,
            theme_toggle=True,
            sidebar_variant="temporary",
            busy_indicator=None,
        )

    def poll(self) -> None:
        """Show what is new in the store; does nothing where nothing is."""
        snapshot = self._catalogue.snapshot
        if snapshot.version == self._version:
            return
        self._version = snapshot.version
        for view in (self.runs, self.plot, self.pair, self.run, self.curves):
            view.refresh(snapshot)
        self._write_state()
        if self.tabs.active == PLOT:
            self.plot.draw()

    def open_run(self, name: str) -> None:
        """Show a run's tab."""
        self.run.show(name)
        self.tabs.active = RUN

    def compare(self, a: str, b: str, of_a: str | None = None, of_b: str | None = None) -> None:
        """Show the comparison of two runs."""
        self.pair.show(a, b, of_a, of_b)
        self.tabs.active = PAIR

    def query(self) -> dict[str, str]:
        """The address's query for what is shown now, so that it can be kept and sent."""
        if self.tabs.active == RUN and self.run.run.value:
            return {"run": self.run.run.value}
        if self.tabs.active == PAIR and all(self.pair.chosen()):
            return {name: str(value) for name, value in zip(_NAMES, self.pair.chosen(), strict=True)}
        return {}

    def _follow(self, query: Mapping[str, str]) -> None:
        if query.get("run"):
            self.open_run(query["run"])
        elif query.get("a") and query.get("b"):
            self.compare(query["a"], query["b"], query.get("of_a"), query.get("of_b"))

    def _fill_tab(self) -> None:
        active = self.tabs.active
        if not self._holders[active]:
            self._holders[active].append(self._layouts[active])

    def _tab_changed(self) -> None:
        self._fill_tab()
        if self.tabs.active == PLOT:
            self.plot.draw()
        elif self.tabs.active == CURVES:
            self.curves.show(self.runs.selected_names() or [self.run.run.value] * bool(self.run.run.value))

    def _write_state(self) -> None:
        snapshot = self._catalogue.snapshot
        parts = [f"{len(snapshot.runs):,} runs"]
        if snapshot.unread:
            parts.append(f"{snapshot.unread:,} results still to read")
        if snapshot.troubles:
            first = next(iter(snapshot.troubles.values()))
            more = f" (and {len(snapshot.troubles) - 1} more)" if len(snapshot.troubles) > 1 else ""
            parts.append(f"<span class='trouble'>{text(first)}{more}</span>")
        if self._catalogue.trouble:
            parts.append(f"<span class='trouble'>{text(self._catalogue.trouble)}</span>")
        self._state.object = " · ".join(parts)


def make_page(shared: Shared) -> Any:
    """The page for a new session, with its polling."""
    shared.catalogue.give_way()
    location = pn.state.location
    query = dict(location.query_params) if location else {}
    page = Page(shared, {name: str(value) for name, value in query.items()})

    def poll() -> None:
        page.poll()
        if location is not None and location.query_params != page.query():
            location.search = f"?{urlencode(page.query())}" if page.query() else ""

    pn.state.add_periodic_callback(poll, period=POLL_MS)
    return page.layout()
