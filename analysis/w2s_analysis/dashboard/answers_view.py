"""What was asked and answered: questions with the responses of one result, or of two side by side, page by page."""

from collections.abc import Sequence
from typing import Any, Final

import panel as pn
import panel_material_ui as pmui

from w2s_analysis.dashboard.look import html, text, trouble
from w2s_analysis.reading.answers import ALONE, ANY, CHOICES, Answered, Answers, Response
from w2s_core.engine import Store
from w2s_core.errors import UserError

PAGE_SIZE: Final = 10


class AnswersView:
    """Filters, pages and the questions themselves. `open` chooses the results."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._answers: Answers | None = None
        self._selected: list[str] = []
        self._setting = False
        self.side, self.level, self.verdict = (
            pmui.Select(label=label, options=[ANY], value=ANY, width=170, size="small", margin=(8, 10))
            for label in ("Right in", "Level", "Verdict")
        )
        self.page = pmui.Pagination(count=1, value=0, margin=(8, 10))
        self._count, self._body = html(""), html("")
        for chooser in (self.side, self.level, self.verdict):
            chooser.param.watch(lambda _: self._select(), "value")
        self.page.param.watch(lambda _: self._draw(), "value")

    def layout(self) -> Any:
        """Filters above, questions below."""
        filters = pn.FlexBox(self.side, self.level, self.verdict, self._count, align_items="center")
        return pn.Column(filters, self._body, self.page, sizing_mode="stretch_width")

    def open(self, *keys: str) -> None:
        """Show the responses of a result, or of two on the questions that both have."""
        try:
            self._answers = Answers(self._store, keys)
        except (UserError, KeyError) as error:
            self._answers, self._body.object = None, trouble(error)
            return
        self._setting = True
        sides = CHOICES if len(keys) == 2 else ALONE
        self._offer(self.side, sides)
        self._offer(self.level, [ANY, *self._answers.levels])
        self._offer(self.verdict, [ANY, *self._answers.verdicts])
        self._setting = False
        self._select()

    def _offer(self, chooser: Any, options: Sequence[str]) -> None:
        """Options, with the chosen one kept where it is still among them."""
        kept = chooser.value in options and chooser.options != [ANY]
        chooser.options = list(options)
        chooser.value = chooser.value if kept else options[0]

    def _select(self) -> None:
        if self._setting or self._answers is None:
            return
        self._selected = self._answers.select(self.side.value, self.level.value, self.verdict.value)
        words = f"{len(self._selected):,} of {len(self._answers.ids):,} questions"
        self._count.object = f"<span class='quiet' data-part='count'>{words}</span>"
        self._setting = True
        self.page.param.update(count=max(1, -(-len(self._selected) // PAGE_SIZE)), value=0)
        self._setting = False
        self._draw()

    def _draw(self) -> None:
        if self._setting or self._answers is None:
            return
        first = self.page.value * PAGE_SIZE
        try:
            shown = self._answers.read(self._selected[first : first + PAGE_SIZE])
        except UserError as error:
            self._body.object = trouble(error)
            return
        self._body.object = "".join(map(_question, shown)) or "<p class='quiet'>No question is left.</p>"


def _question(asked: Answered) -> str:
    level = "" if asked.level is None else f" · level {text(asked.level)}"
    gold = "" if asked.gold is None else f"<p>gold answer <code>{text(asked.gold)}</code></p>"
    question = "the question is not in the store" if asked.question is None else asked.question
    names = ("",) if len(asked.responses) == 1 else ("A", "B")
    sides = "".join(
        f"<div class='side'>{''.join(_response(name, response) for response in responses)}</div>"
        for name, responses in zip(names, asked.responses, strict=True)
    )
    return (
        f"<article class='question'><p class='quiet'>{text(asked.id)}{level} · {text(asked.side)}</p>"
        f"<pre class='scrolls' tabindex='0'>{text(question)}</pre>{gold}<div class='sides'>{sides}</div></article>"
    )


def _response(name: str, response: Response) -> str:
    answer = "no answer found" if response.answer is None else f"answer <code>{text(response.answer)}</code>"
    written = "the response is not in the store" if response.text is None else response.text
    return (
        f"<p><b>{name}</b> <span class='{'right' if response.verdict == 'right' else 'trouble'}'>"
        f"{text(response.verdict)}</span>, {answer}</p><pre class='scrolls' tabindex='0'>{text(written)}</pre>"
    )
