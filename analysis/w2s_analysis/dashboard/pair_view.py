"""The tab that compares two runs on the same questions."""

from typing import Any, Final

import panel as pn
import panel_material_ui as pmui

from w2s_analysis.dashboard.answers_view import AnswersView
from w2s_analysis.dashboard.catalogue import Catalogue, Snapshot
from w2s_analysis.dashboard.columns import ACCURACY, PASS, Metric, in_order
from w2s_analysis.dashboard.look import (
    LEAST_P,
    bounds,
    html,
    numbers,
    percent,
    points,
    probability,
    text,
    trouble,
)
from w2s_analysis.dashboard.plots import levels_plot
from w2s_analysis.reading.pair import SIDES, Pair, Part, compare_pair
from w2s_analysis.writing.notes import ONE_SEED
from w2s_analysis.writing.table import MARK, is_wide
from w2s_core.errors import UserError
from w2s_core.statistics import Bounds

_EXPLAINED: Final = f"""The same questions were put to A and B, so the difference is taken question by question. Its
interval resamples questions, those that share a template together; p is that of a permutation of A and B within them.
{ONE_SEED.capitalize()}: they speak of these questions, not of other seeds. For a claim, compare groups of seeds
(<code>w2s tables</code>)."""


class PairView:
    """Choose two runs and a result of each; shows their paired comparison."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self.runs = [self._run_chooser(side) for side in "AB"]
        self.results = [
            pmui.Select(label=f"Result of {side}", sizing_mode="stretch_width", size="small") for side in "AB"
        ]
        self.answers = AnswersView(catalogue.store)
        self._body = pn.Column(sizing_mode="stretch_width")
        self._setting = False
        for i in (0, 1):
            self.runs[i].param.watch(lambda _, i=i: self._offer(i), "value")
            self.results[i].param.watch(lambda _, i=i: self._result_chosen(i), "value")
        self.refresh(catalogue.snapshot)
        self._show()

    @staticmethod
    def _run_chooser(side: str) -> Any:
        return pmui.AutocompleteInput(
            label=f"Run {side}", sizing_mode="stretch_width", min_characters=0, restrict=True, size="small",
            search_strategy="includes", case_sensitive=False,
        )  # fmt: skip

    def layout(self) -> Any:
        """The tab's content."""
        chooser = pn.FlexBox(
            *(
                pn.Column(self.runs[i], self.results[i], min_width=280, styles={"flex": "1 1 320px"})
                for i in (0, 1)
            ),
            sizing_mode="stretch_width",
        )
        return pn.Column(chooser, self._body, sizing_mode="stretch_width", margin=(12, 0))

    def refresh(self, snapshot: Snapshot) -> None:
        """Offer the runs that there are now."""
        names = list(snapshot.runs)
        for chooser in self.runs:
            if chooser.options != names:
                chooser.options = names

    def show(self, a: str, b: str, result_a: str | None = None, result_b: str | None = None) -> None:
        """Compare two runs, each on its first method unless results are named; what there is not is said."""
        self._setting = True
        missing = []
        for i, (run, result) in enumerate(((a, result_a), (b, result_b))):
            if run not in self._catalogue.snapshot.runs:
                missing.append(f"there is no run '{run}' here")
                continue
            self.runs[i].value = run
            self._offer(i)
            if result in self.results[i].options.values():
                self.results[i].value = result
            elif result is not None:
                missing.append(f"run '{run}' has no result '{result}'")
        self._setting = False
        if missing:
            self._body[:] = [html(trouble(f"{'; '.join(missing)}: choose another above"))]
        else:
            self._show()

    def chosen(self) -> tuple[str | None, ...]:
        """Run A, run B, result of A, result of B."""
        return (*(run.value for run in self.runs), *(result.value for result in self.results))

    def _offer(self, i: int) -> None:
        """The results that the chosen run has; the one chosen before, if it has that too."""
        metrics = self._compared_metrics(i)
        before, self._setting = self._setting, True
        chosen = self.results[i].value
        self.results[i].options = {metric.full_title: metric.id for metric in metrics}
        if metrics:
            ids = [metric.id for metric in metrics]
            self.results[i].value = chosen if chosen in ids else _first_choice(metrics)
        self._setting = before
        self._show()

    def _compared_metrics(self, i: int) -> list[Metric]:
        """What the run chosen on a side can be compared by."""
        run = self._catalogue.snapshot.runs.get(self.runs[i].value or "")
        if run is None:
            return []
        return [
            metric for metric in in_order([(run.recipe, run.metrics.values())]).values() if metric.compared
        ]

    def _result_chosen(self, i: int) -> None:
        """B follows A, so that choosing a method takes one click; A stays when B is changed."""
        if self._setting:
            return
        if i == 0:
            # By column, not by id: under one name, two recipes may mean two models.
            columns = {metric.column: metric.id for metric in self._compared_metrics(1)}
            chosen = [metric for metric in self._compared_metrics(0) if metric.id == self.results[0].value]
            if chosen and chosen[0].column in columns:
                self._setting = True
                self.results[1].value = columns[chosen[0].column]
                self._setting = False
        self._show()

    def _show(self) -> None:
        if self._setting:
            return
        run_a, run_b, of_a, of_b = self.chosen()
        if not (run_a and run_b and of_a and of_b):
            self._body[:] = [html("<p class='quiet'>Choose two runs here, or select two in the table.</p>")]
            return
        try:
            self._body[:] = self._compared(run_a, run_b, of_a, of_b)
        except UserError as error:
            self._body[:] = [html(trouble(error))]

    def _compared(self, run_a: str, run_b: str, of_a: str, of_b: str) -> list[Any]:
        runs = self._catalogue.snapshot.runs
        metrics = runs[run_a].metrics[of_a], runs[run_b].metrics[of_b]
        keys = runs[run_a].targets[metrics[0].target], runs[run_b].targets[metrics[1].target]
        if metrics[0].measure != metrics[1].measure:
            raise UserError(
                f"{metrics[0].full_title} and {metrics[1].full_title} measure different things: "
                f"choose two accuracies, or two {PASS}"
            )
        if keys[0] == keys[1]:
            return [
                html("<p>A and B are one and the same stored result: there is no difference to test.</p>")
            ]
        names = f"{run_a}, {metrics[0].full_title}", f"{run_b}, {metrics[1].full_title}"
        self.answers.open(*keys)
        pair = compare_pair(self._catalogue.store, *keys, measure=metrics[0].measure, names=names)
        return [
            html(_headline(pair.whole, names)),
            pn.pane.Bokeh(levels_plot(pair), sizing_mode="stretch_width"),
            html(_by_level(pair)),
            html(f"<p class='quiet'>{_EXPLAINED}</p>"),
            html("<p><b>Questions and responses</b></p>"),
            self.answers.layout(),
        ]


def _first_choice(metrics: list[Metric]) -> str:
    """The accuracy of the first method, or else the first result of all."""
    methods = [m for m in metrics if m.kind == ACCURACY and m.role == "method" and m.prominent]
    return (methods or metrics)[0].id


def _headline(part: Part, names: tuple[str, str]) -> str:
    d = part.difference
    clusters = f", {d.clusters:,} templates" if d.clusters not in (0, d.n) else ""
    detectable = d.spread.detectable() if d.spread.known else float("nan")
    return (
        f"<p class='quiet'>A: {text(names[0])} ({percent(part.mean_a)} %)<br>"
        f"B: {text(names[1])} ({percent(part.mean_b)} %)</p>"
        f"<p><span class='big' data-part='difference'>B − A = {points(d.value, d.low, d.high)}</span> points, "
        f"p {'' if part.p < LEAST_P else '= '}<span data-part='p'>{probability(part.p)}</span>, "
        f"n = <span data-part='n'>{d.n:,}</span> questions{clusters}</p>"
        f"{_left_open(part)}<p>{_sides(part)}; exact McNemar p {probability(part.mcnemar)}. A true difference of "
        f"{percent(detectable)} points would be found with chance 0.8.</p>"
    )


def _left_open(part: Part) -> str:
    """What responses that were not graded leave open, if that is much."""
    if not is_wide(part.bounds):
        return ""
    shares = [
        f"{side} {bounds(limits)} %"
        for side, limits in (("A", part.bounds_a), ("B", part.bounds_b))
        if limits is not None
    ]
    return (
        f"<p data-part='open'>Not all responses were graded (unparsed, timed out, undecided, or truncated and not "
        f"right). With these all wrong to all right: {', '.join(shares)}; B − A {_span(part.bounds)} "
        f"points, by the interval of Imbens and Manski (2004).</p>"
    )


def _sides(part: Part) -> str:
    return ", ".join(f"{side}: {part.sides[side]:,}" for side in SIDES)


def _by_level(pair: Pair) -> str:
    if not pair.levels:
        return ""
    header = ["level", "n", "A, %", "B, %", "B − A, points", "p", "p (Holm)", "only A", "only B"]
    rows = [
        [
            str(part.level),
            f"{part.difference.n:,}",
            percent(part.mean_a),
            percent(part.mean_b),
            points(part.difference.value, part.difference.low, part.difference.high)
            + (MARK if is_wide(part.bounds) else ""),
            probability(part.p),
            probability(pair.adjusted[part.level]),
            str(part.sides["only A"]),
            str(part.sides["only B"]),
        ]
        for part in pair.levels
    ]
    open_ = {part.level: part.bounds for part in pair.levels if is_wide(part.bounds)}
    remarks = "; ".join(f"level {level}: {_span(limits)}" for level, limits in open_.items())
    note = f"<p class='quiet'>{MARK} By what the responses are that were not graded: {text(remarks)}.</p>"
    return numbers(header, rows) + (note if open_ else "")


def _span(limits: Bounds) -> str:
    """A difference from its worst case to its best, with the interval."""
    return f"{100 * limits.lower:+.1f} to {points(limits.upper, limits.low, limits.high)}"
