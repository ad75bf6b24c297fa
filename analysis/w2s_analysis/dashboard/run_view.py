"""The tab of one run: what its record says, its steps, and why each has its key."""

from typing import Any, Final

import panel as pn
import panel_material_ui as pmui
from pydantic import ValidationError

from w2s_analysis.dashboard.answers_view import AnswersView
from w2s_analysis.dashboard.catalogue import Catalogue, Snapshot
from w2s_analysis.dashboard.links import Links
from w2s_analysis.dashboard.look import TABLE_CSS, as_text, facts, html, text, trouble
from w2s_analysis.dashboard.run import Run, steps_of
from w2s_core.cli.inspection import render_explanation
from w2s_core.cli.render import seconds, when
from w2s_core.engine import CorruptObjectError, Store
from w2s_core.errors import UserError
from w2s_core.plugins import RECIPES

UNKNOWN: Final = "–"


class RunView:
    """A run's command, settings and steps. A click on a step explains its key, against another run's where chosen."""

    def __init__(self, catalogue: Catalogue, links: Links) -> None:
        self._catalogue, self._links = catalogue, links
        self.run = self._chooser("Run")
        self.against = self._chooser("Explain against (optional)")
        self._body = pn.Column(sizing_mode="stretch_width")
        self._explained = html("")
        self.result = pmui.Select(label="Responses of", options={"–": ""}, width=420, size="small")
        self.answers = AnswersView(catalogue.store)
        self._answers = pn.Column(self.answers.layout(), visible=False, sizing_mode="stretch_width")
        self._step: str | None = None
        self._steps: Any = None
        self.run.param.watch(lambda _: self._show(), "value")
        self.against.param.watch(lambda _: self._explain(), "value")
        self.result.param.watch(lambda _: self._show_answers(), "value")
        self.refresh(catalogue.snapshot)
        self._show()

    @staticmethod
    def _chooser(label: str) -> Any:
        return pmui.AutocompleteInput(
            label=label, min_characters=0, restrict=True, size="small", width=320, search_strategy="includes",
            case_sensitive=False,
        )  # fmt: skip

    def layout(self) -> Any:
        """The tab's content."""
        return pn.Column(self.run, self._body, sizing_mode="stretch_width", margin=(12, 0))

    def refresh(self, snapshot: Snapshot) -> None:
        """Offer the runs that there are now, and show the steps that finished meanwhile."""
        names = list(snapshot.runs)
        for chooser in (self.run, self.against):
            if chooser.options != names:
                chooser.options = names
        if self._steps is not None and self.run.value in snapshot.runs:
            frame = steps_frame(self._catalogue.store, snapshot.runs[self.run.value])
            if not frame.equals(self._steps.value):
                self._steps.value = frame

    def show(self, name: str) -> None:
        """Show a run, or that there is none of that name."""
        if name in self._catalogue.snapshot.runs:
            self.run.value = name
        else:
            self._body[:] = [html(trouble(f"there is no run '{name}' here: choose another above"))]

    def _show(self) -> None:
        run = self._catalogue.snapshot.runs.get(self.run.value or "")
        self._step, self._explained.object = None, ""
        if run is None:
            self._body[:] = [html("<p class='quiet'>Choose a run here, or click its name in the table.</p>")]
            return
        self._steps = self._table(steps_frame(self._catalogue.store, run))
        self._body[:] = [
            html(self._facts(run)),
            html("<p><b>Steps</b> <span class='quiet'>– click one to see what decides its key</span></p>"),
            self._steps,
            self.against,
            self._explained,
            self.result,
            self._answers,
        ]
        present = self._catalogue.snapshot.present
        graded = {m.full_title: run.targets[m.target] for m in run.metrics.values()}
        self.result.options = {"–": ""} | {title: key for title, key in graded.items() if key in present}
        self.result.value = ""

    def _show_answers(self) -> None:
        self._answers.visible = bool(self.result.value)
        if self.result.value:
            self.answers.open(self.result.value)

    def _facts(self, run: Run) -> str:
        record = run.record
        command = record.get("command")
        words = " ".join(map(str, command)) if isinstance(command, list) else UNKNOWN
        rows = [
            ("run", text(run.name)),
            ("recipe", _recipe(run)),
            ("base models", text(_counts(run.bases))),
            ("started", text(_when(record.get("started")))),
            ("results", text(self._catalogue.snapshot.state(run.name))),
            ("command", f"<code>{text(words)}</code>"),
            ("questions", text(_counts(record.get("questions")))),
        ]
        if links := self._links.of_run(run):
            rows.append(("beside", ", ".join(links)))
        settings = [(name, text(value)) for name, value in run.fields.items()]
        return (
            facts(rows) + f"<details><summary>{len(settings)} settings</summary>{facts(settings)}</details>"
        )

    def _table(self, frame: Any) -> Any:
        table = pn.widgets.Tabulator(
            frame,
            formatters=as_text(frame.columns, clickable="step"),
            editors=dict.fromkeys(frame.columns),  # else the Tab key stops at each cell
            header_filters={
                "step": {"type": "input", "func": "like", "placeholder": "contains"},
                "state": {"type": "list", "func": "=", "values": ["computed", "missing"], "clearable": True},
            },
            text_align={"took": "right"},
            show_index=False,
            disabled=True,
            selectable=False,
            pagination="local",
            page_size=15,
            layout="fit_data",
            hidden_columns=["seconds"],
            stylesheets=[TABLE_CSS],
            sizing_mode="stretch_width",
            configuration={"columnDefaults": {"maxWidth": 380}},
        )  # fmt: skip
        table.on_click(self._clicked, column="step")
        return table

    def _clicked(self, event: Any) -> None:
        self._step = self._steps.value["step"].iloc[event.row]
        self._explain()

    def _explain(self) -> None:
        if self._step is None or not self.run.value:
            return
        try:
            explanation = self._explanation(self.run.value, self._step)
            self._explained.object = f"<pre>{text(explanation)}</pre>"
        except (UserError, KeyError) as error:
            self._explained.object = trouble(error)

    def _explanation(self, name: str, step: str) -> str:
        """Why a step has its key.

        Raises:
            UserError: it was never computed, and cannot be planned anew to tell.
        """
        try:
            return render_explanation(self._catalogue.store, name, step, self.against.value or None)
        except ValidationError:
            raise UserError(
                f"step '{step}' was never computed, and the settings in its run's record are not those that its recipe "
                "takes today: what decides its key cannot be told"
            ) from None


def steps_frame(store: Store, run: Run) -> Any:
    """A row a step of a run: step, state, took, seconds, made, key. The dearest first, then what is missing."""
    import pandas as pd

    rows = [_step_row(store, label, key) for label, key in steps_of(run).items()]
    frame = pd.DataFrame(rows, columns=["step", "state", "took", "seconds", "made", "key"])
    return frame.sort_values(["seconds", "step"], ascending=[False, True], ignore_index=True)


def _step_row(store: Store, label: str, key: str) -> tuple[str, str, str, float, str, str]:
    try:
        manifest = store.manifest(key)
    except (KeyError, CorruptObjectError):
        return label, "missing", "", -1.0, "", key[:12]
    duration = float(manifest["duration_s"])
    return label, "computed", seconds(duration), duration, _when(manifest["started"]), key[:12]


def _recipe(run: Run) -> str:
    """The recipe's name as HTML, with a hint where its code is not known here."""
    if _is_known(run.recipe):
        return text(run.recipe)
    hint = "is not installed here, and no --import named it: this is what the run's record says"
    return f"{text(run.recipe)} <span class='quiet'>{hint}</span>"


def _is_known(recipe: str) -> bool:
    try:
        return recipe in RECIPES.origins()
    except UserError:  # two packages have a recipe of one name
        return False


def _counts(record: Any) -> str:
    """`train_1 1000, test 500`."""
    if not isinstance(record, dict) or not record:
        return UNKNOWN
    return ", ".join(f"{name} {value}" for name, value in record.items())


def _when(moment: Any) -> str:
    try:
        return when(str(moment))
    except ValueError:
        return UNKNOWN
