"""Questions with their responses: both sides stand beside what was planted, in the terminal and on the page."""

import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.dashboard.stores import add_run
from tests.dashboard.test_views import html_of, page_of
from w2s_analysis.reading.answers import ALONE, CHANGED, Answers
from w2s_core.cli.main import w2s
from w2s_core.engine import Context, Handle, Store, run_graph, step
from w2s_core.errors import UserError
from w2s_core.rows import write_rows

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\n#### 8"


@step(version=1)
def asked(ctx: Context, *, n: int) -> dict[str, Any]:
    rows = [{"id": f"q{i:05d}", "question": f"What is <b>{i}</b> plus 1?"} for i in range(n)]
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}


@step(version=1)
def keyed(ctx: Context, *, n: int) -> dict[str, Any]:
    rows = [{"id": f"q{i:05d}", "gold": str(i + 1)} for i in range(n)]
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}


@step(version=1)
def drawn(ctx: Context, *, questions: Path, n: int, wrong: int) -> dict[str, Any]:
    """Every `wrong`-th response is wrong, and hostile."""
    texts = [[HOSTILE if i % wrong == 0 else f"I say {i + 1}."] for i in range(n)]
    rows = [{"id": f"q{i:05d}", "responses": text} for i, text in enumerate(texts)]
    return {"rows": write_rows(ctx.out / "rows.parquet", rows)}


@step(version=1)
def marked(ctx: Context, *, responses: Path, gold: Path, n: int, wrong: int) -> dict[str, Any]:
    rows = [
        {
            "id": f"q{i:05d}",
            "level": i % 3 + 1,
            "template": None,
            "answers": ["8" if i % wrong == 0 else str(i + 1)],
            "verdicts": ["wrong" if i % wrong == 0 else "right"],
        }
        for i in range(n)
    ]
    return {"questions": write_rows(ctx.out / "grades.parquet", rows)}


def graded(n: int, wrong: int) -> Handle:
    responses = drawn(questions=asked(n=n), n=n, wrong=wrong)
    return marked(responses=responses, gold=keyed(n=n), n=n, wrong=wrong)


def fill(store: Store, n: int = 24) -> Store:
    for name, wrong in (("one", 2), ("two", 3)):
        targets = {"greedy/test/dpo": graded(n, wrong)}
        run_graph(targets, store)
        add_run(store, name, targets=targets)
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return fill(Store(tmp_path_factory.mktemp("answers") / "store"))


def keys_of(store: Store) -> list[str]:
    return [store.refs.read(name)["targets"]["greedy/test/dpo"] for name in ("one", "two")]


def test_sides_levels_and_verdicts_select_what_was_planted(store: Store) -> None:
    answers = Answers(store, keys_of(store))
    only_b = [f"q{i:05d}" for i in range(24) if i % 2 == 0 and i % 3 != 0]
    only_a = [f"q{i:05d}" for i in range(24) if i % 2 != 0 and i % 3 == 0]
    assert answers.select("only B") == only_b
    assert answers.select(CHANGED) == sorted(only_a + only_b)
    assert answers.select("neither") == [f"q{i:05d}" for i in range(0, 24, 6)]
    assert answers.select(level="2", verdict="wrong") == [f"q{i:05d}" for i in range(1, 24, 3) if i % 2 == 0]
    assert Answers(store, keys_of(store)[1:]).select(ALONE[2]) == [f"q{i:05d}" for i in range(0, 24, 3)]
    [shown] = answers.read(["q00003"])
    assert (shown.question, shown.gold, shown.side) == ("What is <b>3</b> plus 1?", "4", "only A")
    (a,), (b,) = shown.responses
    assert (a.text, a.answer, a.verdict) == ("I say 4.", "4", "right")
    assert (b.text, b.answer, b.verdict) == (HOSTILE, "8", "wrong")


def test_what_is_not_in_the_store_any_more_is_said(tmp_path: Path) -> None:
    store = fill(Store(tmp_path / "store"), 3)
    key = keys_of(store)[0]
    responses = store.manifest(key)["spec"]["inputs"]["responses"]  # type: ignore[call-overload, index]
    store.folder(str(responses)).rename(tmp_path / "gone")
    [shown] = Answers(store, [key]).read(["q00001"])
    assert shown.question is None
    assert shown.responses[0][0].text is None
    assert shown.responses[0][0].answer == "2"


def call(store: Store, *arguments: str) -> str:
    done = CliRunner().invoke(w2s, ["--store", str(store.root), "compare", *arguments])
    if isinstance(done.exception, UserError):
        return str(done.exception)
    assert done.exception is None, done.exception
    return done.output


def test_compare_shows_both_responses_in_the_terminal(store: Store) -> None:
    text = call(store, "one", "two", "--answers", "only A", "--level", "1")
    assert text.splitlines()[:8] == [
        "q00003 · level 1 · only A",
        "    What is <b>3</b> plus 1?",
        "  gold answer: 4",
        "  one:greedy/test/dpo: right, answer 4",
        "    I say 4.",
        "  two:greedy/test/dpo: wrong, answer 8",
        "    <img src=x onerror=alert(1)>\\x1b[31m",
        "    #### 8",
    ]
    assert text.endswith("4 of 24 questions; page 1 of 1\n")
    alone = call(store, "one", "--answers", "any", "--page", "3")
    assert "q00020" in alone
    assert "q00019" not in alone
    assert "two:" not in alone


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one"], "compare needs two runs; of one, --answers any shows its responses"),
        (["one", "two", "--answers", "mine"], "--answers 'mine': there is changed sides, only B, only A"),
        (["one", "two", "--answers", "any", "--level", "9"], "--level '9': there is any, 1, 2, 3"),
        (["one", "two", "--answers", "any", "--page", "4"], "--page '4': there is 1, 2, 3"),
    ],
)
def test_filters_that_there_are_not_are_one_line(store: Store, arguments: list[str], told: str) -> None:
    assert call(store, *arguments).startswith(told)


def test_the_page_shows_both_responses_escaped_and_by_pages(store: Store) -> None:
    pair = page_of(store, {"a": "one", "b": "two"}).pair
    shown = html_of(pair.layout())
    assert "<img" not in shown
    assert "What is &lt;b&gt;2&lt;/b&gt; plus 1?" in shown
    assert shown.count("<article") == 10
    assert "12 of 24 questions" in shown
    pair.answers.page.value = 1
    assert html_of(pair.layout()).count("<article") == 2
    pair.answers.side.value = "neither"
    assert "4 of 24 questions" in html_of(pair.layout())
    run = page_of(store, {"run": "one"}).run
    run.result.value = run.result.options["accuracy, test: M_plus + DPO"]
    assert "I say 2." in html_of(run.layout())


def test_thousands_of_questions_are_shown_within_a_second(tmp_path: Path) -> None:
    store = fill(Store(tmp_path / "store"), 5000)
    began = time.perf_counter()
    answers = Answers(store, keys_of(store))
    assert len(answers.read(answers.select(CHANGED)[:10])) == 10
    assert time.perf_counter() - began < 1.0
