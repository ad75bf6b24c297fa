"""What the tabs are made of, without a browser: runs of recipes that are not installed, and hostile records."""

import hashlib
from html import escape
from typing import Any

import pytest

from tests.dashboard.stores import add_foreign_run, add_run
from w2s_analysis.dashboard.catalogue import Catalogue
from w2s_analysis.dashboard.links import Links, Shared
from w2s_analysis.dashboard.page import Page
from w2s_core.engine import Store
from w2s_core.rows import write_json

ATTACK = "<img src=x onerror=alert(1)>"


def page_of(store: Store, query: dict[str, str] | None = None) -> Page:
    catalogue = Catalogue(store)
    catalogue.update()
    return Page(Shared(catalogue, Links(), "store"), query)


def html_of(item: Any) -> str:
    """All HTML in a layout."""
    if hasattr(item, "objects"):
        return "".join(html_of(part) for part in item.objects)
    value = getattr(item, "object", "")
    return value if isinstance(value, str) else ""


@pytest.fixture
def mixed(store: Store) -> Store:
    """A run of each of two recipes; both have a target named dpo."""
    add_run(store, "ours")
    add_foreign_run(store, "foreign", minute=1)
    return store


def test_the_page_of_a_run_whose_recipe_is_not_installed_shows_its_record(mixed: Store) -> None:
    shown = html_of(page_of(mixed, {"run": "foreign"}).run.layout())
    assert "distil <span class='quiet'>is not installed here, and no --import named it" in shown
    assert "<th>base models</th><td>model qwen</td>" in shown
    assert "<th>rounds</th><td>2</td>" in shown
    assert "seed=0" in shown
    assert "is not installed" not in html_of(page_of(mixed, {"run": "ours"}).run.layout())


def explained(store: Store, run: str, step: str) -> str:
    """What a click on a step shows."""
    view = page_of(store, {"run": run}).run
    view._step = step
    view._explain()
    shown: str = view._explained.object
    return shown


def add_step(store: Store, run: str, step: str) -> None:
    """Let a run's record name a step that was never computed."""
    record = store.refs.read(run)
    store.refs.write(run, {**record, "steps": {**record["steps"], step: "0" * 64}})


def test_a_computed_step_is_explained_whatever_its_recipe(mixed: Store) -> None:
    assert "greedy/test/dpo of run foreign: in the store" in explained(mixed, "foreign", "greedy/test/dpo")


@pytest.mark.parametrize("run", ["foreign", "ours"])
def test_a_step_that_cannot_be_planned_anew_costs_one_line(mixed: Store, run: str) -> None:
    """One run's recipe is not installed; the record of the other has fewer fields than its recipe."""
    add_step(mixed, run, "sft:next")
    shown = explained(mixed, run, "sft:next")
    assert shown.startswith('<p class="trouble">')
    assert "\n" not in shown
    assert "Error" not in shown


def test_b_follows_a_to_the_same_model_and_not_to_another_of_its_name(mixed: Store) -> None:
    add_run(mixed, "other", minute=2)
    pair = page_of(mixed, {"a": "ours", "b": "other"}).pair
    assert pair.chosen() == ("ours", "other", "accuracy/test/M_plus", "accuracy/test/M_plus")
    pair.results[0].value = "accuracy/test/dpo"
    assert pair.chosen()[2:] == ("accuracy/test/dpo", "accuracy/test/dpo")
    pair = page_of(mixed, {"a": "ours", "b": "foreign"}).pair
    assert pair.chosen()[2:] == ("accuracy/test/M_plus", "accuracy/test/last round")
    pair.results[0].value = "accuracy/test/dpo"
    assert pair.chosen()[2:] == ("accuracy/test/dpo", "accuracy/test/last round")
    shown = html_of(pair.layout())
    assert "A: ours, accuracy, test: M_plus + DPO" in shown
    assert "B: foreign, accuracy, test: last round" in shown


def test_a_link_to_what_there_is_not_says_so(mixed: Store) -> None:
    query = {"a": "ours", "b": "foreign", "of_a": "accuracy/test/dpo", "of_b": "accuracy/test/<b>"}
    pair = page_of(mixed, query).pair
    shown = html_of(pair.layout())
    assert "run &#x27;foreign&#x27; has no result &#x27;accuracy/test/&lt;b&gt;&#x27;" in shown
    assert "B − A" not in shown
    pair.results[1].value = "accuracy/test/dpo"
    assert "B − A" in html_of(pair.layout())
    gone = html_of(page_of(mixed, {"a": "ours", "b": "gone"}).pair.layout())
    assert "there is no run &#x27;gone&#x27; here" in gone
    assert "there is no run &#x27;gone&#x27; here" in html_of(page_of(mixed, {"run": "gone"}).run.layout())


def add_training(store: Store, run: str, step: str, log: list[dict[str, float]]) -> None:
    """Give a run a training whose log is known; the key is made up, since nothing reads more of it."""
    key = hashlib.sha256(f"{run} {step}".encode()).hexdigest()
    store.folder(key).mkdir(parents=True)
    write_json(store.folder(key) / "training.json", {"log": log})
    record = store.refs.read(run)
    store.refs.write(run, {**record, "steps": {**record["steps"], step: key}})


def test_training_curves_of_several_runs_are_drawn_over_each_other(mixed: Store) -> None:
    both = [{"step": 1, "loss": 2.0, "grad_norm": 1.5}, {"step": 10, "loss": 1.0, "grad_norm": 0.5}]
    add_training(mixed, "ours", "sft:dpo", both)
    margins = [{"step": 1, "loss": 0.7, "rewards/margins": 0.1, "lengths/chosen": 9, "lengths/rejected": 12}]
    add_training(mixed, "foreign", "prefer:dpo", margins)
    page = page_of(mixed)
    page.curves.show(["ours", "foreign"])
    assert page.curves.steps.value == ["sft:dpo", "prefer:dpo"]
    plots = {pane.object.title.text: pane.object for (pane,) in page.curves._body[1]}
    assert list(plots) == ["loss", "reward margin", "length of completions, tokens", "gradient norm"]
    lines = [line.data_source.data for line in plots["loss"].renderers if hasattr(line.glyph, "line_dash")]
    drawn = {data["label"][0]: list(zip(data["step"], data["value"], strict=True)) for data in lines}
    assert drawn == {"ours · sft:dpo": [(1, 2.0), (10, 1.0)], "foreign · prefer:dpo": [(1, 0.7)]}
    page.curves.steps.value = ["prefer:dpo"]
    assert "ours" not in html_of(page.curves._body)


def test_a_training_whose_log_is_damaged_is_one_line(mixed: Store) -> None:
    add_training(mixed, "ours", "sft:dpo", ["<b>", {"step": "1"}])  # type: ignore[list-item]
    add_training(mixed, "foreign", "sft:b", [{"step": 1, "loss": 2.0}])
    page = page_of(mixed)
    page.curves.show(["ours", "foreign"])
    assert "holds no log of a training" in html_of(page.curves.layout())
    assert len(page.curves._body[1]) == 1, "the other one is drawn"


def test_the_columns_of_the_table_are_called_by_the_outlines(mixed: Store) -> None:
    table = page_of(mixed).runs.table
    titles = [table.titles[name] for name in table.value.columns if name in table.titles]
    assert titles[:4] == ["recipe", "base, zero-shot", "base, few-shot", "last round"]
    assert "M_plus + DPO" in titles
    assert set(table.groups) == {"accuracy, test", "precision", "coverage"}
    assert table.header_tooltips["accuracy/test/preferred"].startswith(
        "accuracy, test: preferred (method), %"
    )


def test_the_plot_shows_the_methods_of_all_recipes_at_first(mixed: Store) -> None:
    page = page_of(mixed)
    methods = ["preferred", "last round", "M_plus", "M_plus + DPO"]
    assert set(page.plot.metrics.value) == {f"accuracy/test/{title}" for title in methods}
    page.plot.draw()
    assert len(page.plot._body) == 2


def test_titles_are_escaped_or_make_no_column(store: Store) -> None:
    add_foreign_run(store, "foreign")
    record = store.refs.read("foreign")
    record["outline"][0]["title"] = ATTACK
    record["outline"][1]["title"] = 'Tom & "Jerry"\'s'
    record |= {"recipe": ATTACK, "bases": {ATTACK: ATTACK}, "questions": {ATTACK: 1}}
    store.refs.write("foreign", record)
    page = page_of(store, {"run": "foreign"})
    table = page.runs.table
    assert table.titles['accuracy/test/Tom & "Jerry"\'s'] == "Tom &amp; &quot;Jerry&quot;&#x27;s"
    assert table.header_tooltips['accuracy/test/Tom & "Jerry"\'s'].startswith("accuracy, test: Tom &amp; ")
    assert not any("Jerry" in formatter.template for formatter in table.formatters.values()), (
        "templates are code"
    )
    assert not any("img" in column for column in table.value.columns)
    shown = html_of(page.run.layout()) + html_of(page.layout().main)
    assert "<img" not in shown
    assert escape(ATTACK) in shown
    assert "1 targets have no column" in page._state.object
