"""What a user does on the page, in a real browser: sort, filter, group, select, compare; nothing comes from outside."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.test_answers import fill as fill_with_responses
from tests.dashboard.conftest import fill
from tests.dashboard.stores import add_foreign_run, add_run, targets_of
from tests.dashboard.test_command import fill_beside, started
from tests.dashboard.test_views import add_training
from w2s_core.engine import Store
from w2s_core.rows import read_rows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WAIT_MS = 30_000
FOCUSED = """() => {
    let element = document.activeElement;
    while (element.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
    const labels = (element.getAttribute("aria-labelledby") ?? "").split(" ");
    const named = element.labels?.[0] ?? element.getRootNode().getElementById(labels[0]);
    return (named ?? element).textContent.trim() || element.getAttribute("aria-label") || element.tagName;
}"""
"""What the element that has the focus is called."""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page whose requests to anywhere but 127.0.0.1 are blocked and counted, and whose errors are kept."""

    def __init__(self, browser: Any, width: int = 1280) -> None:
        self.outside: list[str] = []
        self.errors: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.page.set_default_timeout(WAIT_MS)
        self.page.route(re.compile(".*"), self._route)
        self.page.on("websocket", lambda socket: self._note(socket.url))
        self.page.on("pageerror", self._error)
        self.page.on("console", self._console)

    def _local(self, url: str) -> bool:
        return re.match(r"(http|ws)://127\.0\.0\.1:\d+/|data:|blob:", url) is not None

    def _note(self, url: str) -> None:
        if not self._local(url):
            self.outside.append(url)

    def _route(self, route: Any) -> None:
        self._note(route.request.url)
        (route.continue_ if self._local(route.request.url) else route.abort)()

    def _error(self, error: Any) -> None:
        # Panel scrolls a table back one frame after it was replaced, and trips over its absence; nothing is lost.
        if "rowManager" not in str(error):
            self.errors.append(f"{error}\n{error.stack}")

    def _console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, address: str) -> "Visit":
        self.page.goto(address)
        self.page.wait_for_selector(".tabulator-row")
        return self

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def names(self) -> list[str]:
        shown: list[str] = self.page.locator(".tabulator-row .open").all_inner_texts()
        return shown

    def wait_names(self, expected: list[str]) -> None:
        wait(lambda: self.names() == expected, lambda: f"{self.names()} instead of {expected}")

    def address(self) -> str:
        """Read in the page: `page.url` is set by events, which playwright handles at its next call only."""
        address: str = self.page.evaluate("window.location.href")
        return address

    def reach(self, name: str, key: str = "Tab", most: int = 80) -> None:
        """Press a key until what has the focus is called so."""
        stops = []
        for _ in range(most):
            self.page.keyboard.press(key)
            stops.append(self.page.evaluate(FOCUSED))
            if stops[-1] == name:
                return
        raise AssertionError(f"the {key} key does not reach {name!r}, but {stops}")

    def heading(self, title: str) -> Any:
        """The lowest header cell of a column."""
        cells = self.page.locator(".tabulator-col", has=self.page.locator(f"text='{title}'"))
        return cells.last

    def difference(self) -> str:
        """What the comparison shows in large letters, once it is to be seen."""
        headline = self.page.locator("[data-part=difference]:visible")
        wait(
            lambda: headline.count() == 1 and "B − A" in headline.inner_text(),
            lambda: "no comparison is shown",
        )
        text: str = headline.inner_text()
        return text

    def filter(self, title: str, words: str) -> None:
        """Type into the filter of a column."""
        field = self.heading(title).locator("input")
        field.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(words)

    def select(self, name: str) -> None:
        row = self.page.locator(".tabulator-row", has=self.page.locator(f"text='{name}'"))
        row.locator("input[type=checkbox]").click()


def wait(happened: Callable[[], bool], message: Callable[[], str], seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, message()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, dict[str, str]]]:
    """Six runs, and others whose records try to be a script; with a study and curves beside them."""
    store = fill(Store(tmp_path_factory.mktemp("browser") / "store"))
    fill_beside(store)
    with started(store.root) as (_, addresses):
        yield store, addresses


@pytest.fixture
def visit(browser: Any, served: tuple[Store, dict[str, str]]) -> Iterator[Visit]:
    visit = Visit(browser)
    yield visit.open(served[1]["runs"])
    visit.page.close()
    assert visit.outside == []
    assert visit.errors == []


RUNS = [f"{weak}-{seed}" for weak in ("mistral", "llama") for seed in (2, 1, 0)]


def accuracy(store: Store, run: str, label: str) -> float:
    rows = read_rows(store.path(store.refs.read(run)["targets"][label]) / "grades.parquet")
    return sum(row["verdicts"][0] == "right" for row in rows) / len(rows)


def test_sorting_by_a_result(visit: Visit, served: tuple[Store, dict[str, str]]) -> None:
    visit.wait_names(RUNS)
    visit.heading("M_plus + DPO").locator(".tabulator-col-title").last.click()
    by_value = sorted(RUNS, key=lambda run: accuracy(served[0], run, "greedy/test/dpo"))
    values = [accuracy(served[0], run, "greedy/test/dpo") for run in by_value]
    wait(
        lambda: (
            [round(accuracy(served[0], run, "greedy/test/dpo"), 9) for run in visit.names()]
            == [round(value, 9) for value in values]
        ),
        lambda: f"{visit.names()}",
    )


def test_filters_of_words_numbers_and_lists(visit: Visit, served: tuple[Store, dict[str, str]]) -> None:
    visit.filter("run", "llama")
    visit.wait_names(RUNS[3:])
    best = max(RUNS[3:], key=lambda run: accuracy(served[0], run, "greedy/test/dpo"))
    least = 100 * accuracy(served[0], best, "greedy/test/dpo") - 0.01
    visit.filter("M_plus + DPO", f"{least:.2f}")
    wait(lambda: best in visit.names() and len(visit.names()) < 3, lambda: f"{visit.names()}, not {best}")
    visit.filter("M_plus + DPO", "")
    visit.wait_names(RUNS[3:])
    visit.tab("Plot")
    visit.page.wait_for_selector("canvas")


def test_filtering_by_one_of_the_values(visit: Visit) -> None:
    visit.heading("seed").locator("input").click()
    visit.page.locator(".tabulator-edit-list-item", has_text=re.compile("^1$")).click()
    visit.wait_names(["mistral-1", "llama-1"])


def test_choosing_columns(visit: Visit) -> None:
    assert visit.heading("weak-ft 1").count() == 0
    visit.page.get_by_role("button", name="Columns").click()
    visit.page.get_by_role("combobox").nth(2).click()
    visit.page.get_by_text("precision: agreed 1", exact=True).click()
    visit.page.keyboard.press("Escape")
    wait(lambda: visit.heading("agreed 1").count() == 1, lambda: "no new column")


def test_a_run_is_opened_by_keyboard(visit: Visit) -> None:
    visit.reach("llama-1")
    visit.page.keyboard.press("Enter")
    wait(lambda: "run=llama-1" in visit.address(), visit.address)


def test_two_runs_are_compared_by_keyboard(visit: Visit) -> None:
    for name in ("mistral-0", "llama-2"):
        visit.reach(name)
        visit.page.keyboard.press("Shift+Tab")
        visit.page.keyboard.press("Space")
    wait(lambda: visit.page.get_by_role("button", name="Compare", exact=True).is_enabled(), lambda: "not two")
    visit.reach("Compare")
    visit.page.keyboard.press("Enter")
    assert "B − A" in visit.difference()


def test_columns_are_chosen_by_keyboard(visit: Visit) -> None:
    visit.reach("Columns")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("text=Results shown")
    visit.reach("Results shown")
    visit.page.keyboard.press("Enter")
    visit.page.get_by_role("menuitem", name="precision: agreed 1").wait_for()
    visit.reach("precision: agreed 1", key="ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.page.keyboard.press("Escape")
    wait(lambda: visit.heading("agreed 1").count() == 1, lambda: "no new column")


def test_rows_are_grouped_by_keyboard(visit: Visit) -> None:
    visit.reach("Group by")
    visit.page.keyboard.press("Space")
    visit.page.get_by_role("menuitem", name="weak", exact=True).wait_for()
    visit.reach("weak", key="ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".tabulator-group")


def test_grouping_by_a_setting(visit: Visit) -> None:
    visit.page.get_by_label("Group by").click()
    visit.page.get_by_role("menuitem", name="weak", exact=True).click()
    visit.page.wait_for_selector(".tabulator-group")
    groups = visit.page.locator(".tabulator-group").all_inner_texts()
    assert len(groups) == 2
    assert "mistral" in groups[0]
    assert "llama" in groups[1]


def test_comparing_two_selected_runs(visit: Visit, served: tuple[Store, dict[str, str]]) -> None:
    store = served[0]
    visit.select("llama-0")
    visit.select("mistral-1")
    visit.page.get_by_role("button", name="Compare", exact=True).click()
    shown = visit.difference()
    label = "greedy/test/hybrid_ft_2"
    a, b = (accuracy(store, run, label) for run in ("llama-0", "mistral-1"))
    match = re.match(r"B − A = ([+-][\d.]+) \[([+-][\d.]+), ([+-][\d.]+)\]", shown)
    assert match, shown
    # The page says which of the two is A.
    first = visit.page.get_by_label("Run A").input_value()
    expected = 100 * (b - a) if first == "llama-0" else 100 * (a - b)
    assert float(match[1]) == pytest.approx(expected, abs=0.05)
    assert float(match[2]) <= float(match[1]) <= float(match[3])
    assert visit.page.locator("[data-part=n]").inner_text() == "60"
    wait(lambda: "of_a=" in visit.address(), visit.address)


def test_a_comparison_can_be_sent_by_its_address(browser: Any, served: tuple[Store, dict[str, str]]) -> None:
    there = Visit(browser)
    there.page.goto(
        served[1]["runs"] + "?a=llama-0&b=llama-1&of_a=accuracy/test/dpo&of_b=accuracy/test/weak_floor"
    )
    shown = there.difference()
    expected = accuracy(served[0], "llama-1", "greedy/test/weak_floor") - accuracy(
        served[0], "llama-0", "greedy/test/dpo"
    )
    assert f"{100 * expected:+.1f}" in shown
    assert (there.outside, there.errors) == ([], [])
    there.page.close()


def test_provenance_of_a_run_and_of_a_step(visit: Visit, served: tuple[Store, dict[str, str]]) -> None:
    visit.page.locator(".open", has_text="llama-1").first.click()
    visit.page.wait_for_selector("text=w2s run experiments/mini/paper.yaml seed=1")
    visit.page.locator(".tabulator:visible .open", has_text="greedy/test/dpo").click()
    key = served[0].refs.read("llama-1")["targets"]["greedy/test/dpo"]
    visit.page.wait_for_selector(f"text=key {key}")
    visit.page.wait_for_selector("text=hit: made")
    links = visit.page.locator("a[target=_blank]:visible").evaluate_all("all => all.map(one => one.href)")
    assert any(
        link.startswith(served[1]["Trackio"].split("?")[0]) and "runs=llama-1" in link for link in links
    )
    wait(lambda: visit.address().endswith("?run=llama-1"), visit.address)


def test_new_runs_appear_and_the_selection_stays(browser: Any, tmp_path: Path) -> None:
    store = fill(Store(tmp_path / "store"))
    with started(store.root) as (_, addresses):
        visit = Visit(browser).open(addresses["runs"])
        visit.select("llama-0")
        visit.select("mistral-1")
        visit.page.wait_for_selector("text=llama-0 and mistral-1")
        add_run(store, "newest", seed=7, minute=30, targets=targets_of("newest"))
        visit.wait_names(["newest", *RUNS])
        visit.page.wait_for_selector("text=llama-0 and mistral-1")
        visit.filter("run", "mistral")
        visit.wait_names(RUNS[:3])
        add_run(store, "another", seed=8, minute=31, targets=targets_of("another"))
        visit.page.wait_for_selector("text=8 runs")
        time.sleep(1)
        assert visit.names() == RUNS[:3]
        assert (visit.outside, visit.errors) == ([], [])
        visit.page.close()


def test_runs_of_two_recipes_stand_side_by_side(browser: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add_run(store, "ours", targets=targets_of("ours"))
    add_foreign_run(store, "foreign", minute=1)
    with started(store.root) as (_, addresses):
        visit = Visit(browser).open(addresses["runs"])
        for title in ("recipe", "M_plus + DPO", "preferred", "last round", "majority votes"):
            wait(
                lambda title=title: visit.heading(title).count() == 1,
                lambda title=title: f"no column {title}",
            )
        visit.page.get_by_label("Group by").click()
        visit.page.get_by_role("menuitem", name="seed", exact=True).click()
        visit.page.wait_for_selector(".tabulator-group")
        groups = visit.page.locator(".tabulator-group").all_inner_texts()
        assert sorted(group.partition("(")[0].partition(": ")[2].strip() for group in groups) == [
            "0 · distil",
            "0 · weak_to_strong",
        ]
        visit.select("ours")
        visit.select("foreign")
        visit.page.get_by_role("button", name="Compare", exact=True).click()
        shown = visit.difference()
        a, b = (
            accuracy(store, "ours", "greedy/test/hybrid_ft_2"),
            accuracy(store, "foreign", "greedy/test/round_2"),
        )
        assert f"{100 * abs(b - a):.1f}" in shown
        visit.page.goto(addresses["runs"] + "?run=foreign")
        visit.page.wait_for_selector("text=is not installed here")
        visit.page.wait_for_selector("text=model qwen")
        assert (visit.outside, visit.errors) == ([], [])
        visit.page.close()


def test_records_cannot_put_scripts_on_the_page(browser: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    attack = "<img src=x onerror=\"document.title='taken'\">"
    for i in (0, 1):
        settings = {"weak": f"/bases/{attack}{i}", attack: i}
        add_run(store, f"run-{i}", settings=settings, minute=i, study=attack, targets=targets_of(f"{i}"))
    record = store.refs.read("run-0")
    hostile = {"command": [attack], "steps": {attack: "0" * 64}, "recipe": attack}
    code = "x']; document.title='taken'; //"
    key = next(iter(record["targets"].values()))
    first, second, *others = record["outline"]
    first["title"], second["title"] = attack, f"\"]; document.title='taken'; // {code}"
    others.append({**others[0], "name": code})
    targets = {**record["targets"], f"greedy/test/{code}": key}
    store.refs.write("run-0", {**record, **hostile, "targets": targets, "outline": [first, second, *others]})

    def untouched() -> None:
        assert visit.page.locator("img[src=x]").count() == 0
        assert visit.page.title() != "taken"

    with started(store.root) as (_, addresses):
        visit = Visit(browser).open(addresses["runs"])
        assert visit.page.locator(".tabulator-row", has_text="onerror").count() == 2
        assert visit.page.locator(".tabulator-col", has_text="document.title").count() > 0
        assert "2 targets have no column" in visit.page.locator(".trouble").inner_text()
        untouched()
        visit.page.get_by_label("Group by").click()
        visit.page.get_by_role("menuitem", name=re.compile("^weak$")).click()
        visit.page.wait_for_selector(".tabulator-group:has-text('onerror')")
        untouched()
        visit.tab("Plot")
        visit.page.wait_for_selector("canvas")
        visit.page.goto(addresses["runs"] + "?run=run-0")
        visit.page.wait_for_selector(".tabulator-row:has-text('onerror')")
        visit.page.locator(".tabulator:visible .open").first.click()
        time.sleep(1)
        untouched()
        visit.page.close()


_BACKGROUND = "getComputedStyle(document.documentElement).getPropertyValue('--panel-background-color')"


def contrast(page: Any, selector: str) -> float:
    """Of a text's colour with the page behind it, by the definition of WCAG 2."""
    shown = page.locator(f"{selector}:visible").first.evaluate(
        """element => {
            const canvas = document.createElement("canvas").getContext("2d");
            const behind = BACKGROUND;
            const pixel = shades => {
                for (const shade of shades) { canvas.fillStyle = shade; canvas.fillRect(0, 0, 1, 1); }
                return Array.from(canvas.getImageData(0, 0, 1, 1).data).slice(0, 3);
            };
            return [pixel([behind]), pixel([behind, getComputedStyle(element).color])];
        }""".replace("BACKGROUND", _BACKGROUND)
    )

    def luminance(parts: list[int]) -> float:
        linear = [
            (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (p / 255 for p in parts)
        ]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(luminance, shown))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_responses_stand_side_by_side_and_curves_over_each_other(
    browser: Any, tmp_path: Path, dark: bool
) -> None:
    store = fill_with_responses(Store(tmp_path / "store"))
    for run in ("one", "two"):
        add_training(store, run, "sft:dpo", [{"step": step, "loss": 1 / step} for step in (1, 10, 20)])
    with started(store.root) as (_, addresses):
        visit = Visit(browser)
        page = visit.page
        page.goto(addresses["runs"] + "?a=one&b=two")
        visit.difference()
        if dark:
            page.get_by_label("Toggle theme").click()
            page.wait_for_function(f"{_BACKGROUND} === '#121212'")
        wait(lambda: page.locator("article").count() == 10, lambda: "no questions")
        first = page.locator("article").first
        assert "What is <b>2</b> plus 1?" in first.inner_text()
        assert "I say 3." in first.inner_text()
        left, right = (side.bounding_box() for side in first.locator(".side").all())
        assert left["x"] + left["width"] <= right["x"]
        page.get_by_label("Right in").click()
        page.get_by_role("menuitem", name="neither").wait_for()
        for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
            page.keyboard.press(key)
        page.wait_for_selector("text=4 of 24 questions")
        assert page.locator("img[src=x]").count() == 0
        for selector in (".quiet", "article .trouble", "article pre"):
            assert contrast(page, selector) >= 4.5, selector
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.goto(addresses["runs"] + "?run=one")
        page.wait_for_selector("text=w2s run experiments/mini/paper.yaml")
        visit.tab("Training")
        page.wait_for_selector("text=one · sft:dpo")
        page.wait_for_selector("canvas:visible")
        assert (visit.outside, visit.errors) == ([], [])
        page.close()


def test_a_narrow_window_scrolls_only_inside_the_table(
    browser: Any, served: tuple[Store, dict[str, str]]
) -> None:
    visit = Visit(browser, width=420).open(served[1]["runs"])
    for tab in ("Runs", "Compare two", "One run", "Training", "Plot"):
        visit.tab(tab)
        time.sleep(0.5)
        width = visit.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 420, f"{tab} is {width} px wide"
    assert (visit.outside, visit.errors) == ([], [])
    visit.page.close()


@pytest.mark.parametrize("name", ["Optuna", "Trackio"])
def test_the_dashboards_beside_it_fetch_nothing_from_outside(
    browser: Any, served: tuple[Store, dict[str, str]], name: str
) -> None:
    visit = Visit(browser)
    visit.page.goto(served[1][name])
    visit.page.wait_for_selector({"Optuna": "text=ablation", "Trackio": "text=loss"}[name])
    time.sleep(1)
    assert visit.outside == []
    visit.page.close()
