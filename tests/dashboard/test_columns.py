"""Which columns runs have, what they are called, their order, and which are shown at first."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dashboard.stores import FOREIGN_OUTLINE
from w2s_analysis.dashboard.columns import Metric, colours, default_columns, in_order, metrics_of
from w2s_core.plugins import RECIPES
from w2s_core.recipes.recipe import Outline

LABELS = (
    "greedy/test/hybrid_ft_1", "greedy/test/hybrid_ft_2", "greedy/dev/hybrid_ft_1", "samples/test/dpo",
    "greedy/test/dpo", "labels/agreed_1", "labels/agreed_10", "labels/agreed_9", "labels/pairs_chosen", "pairs", "vote",
)  # fmt: skip


def outline_of(labels: Iterable[str]) -> list[Outline]:
    entries: list[Outline] = RECIPES.get("weak_to_strong").old_outline(list(labels))
    return entries


def ordered(*outlines: Iterable[Outline]) -> dict[str, Metric]:
    return in_order(("any", metrics_of(outline).values()) for outline in outlines)


def first_columns(*outlines: Iterable[Outline]) -> list[str]:
    return default_columns(ordered(*outlines), [metrics_of(outline).values() for outline in outlines])


def test_each_target_has_the_columns_of_its_kind() -> None:
    metrics = metrics_of(outline_of(LABELS))
    assert metrics["accuracy/test/dpo"].full_title == "accuracy, test: M_plus + DPO"
    assert metrics["pass@10/test/dpo"].target == "samples/test/dpo"
    assert metrics["precision/pairs_chosen"].target == metrics["coverage/pairs_chosen"].target
    assert not any("vote" in name for name in metrics)


def test_what_a_title_says_after_an_equals_sign_is_a_second_column() -> None:
    long, short = (metrics_of(outline_of(labels)) for labels in (LABELS, ["greedy/test/hybrid_ft_1"]))
    assert long["accuracy/test/M_plus"].target == "greedy/test/hybrid_ft_2"
    assert long["accuracy/test/hybrid_ft_2"].title == "hybrid-ft 2"
    assert short["accuracy/test/M_plus"].target == "greedy/test/hybrid_ft_1"
    assert long["accuracy/test/M_plus"].column == short["accuracy/test/M_plus"].column


def test_the_last_of_a_numbered_series_is_a_second_column() -> None:
    metrics = metrics_of(outline_of(LABELS))
    assert metrics["precision/last agreed"].target == "labels/agreed_10"  # by number, not by letters
    assert metrics_of(FOREIGN_OUTLINE)["accuracy/test/last round"].target == "greedy/test/round_2"
    # A number that the name does not have is part of the title.
    assert list(metrics_of([Outline("greedy", "teacher", "Llama 3", "method", "test")])) == [
        "accuracy/test/teacher"
    ]


def test_a_second_column_never_takes_the_place_of_another_target() -> None:
    entries = [
        Outline("greedy", "last", "round 1 = best", "method", "test"),
        Outline("greedy", "best", "best of all", "method", "test"),
    ]
    metrics = metrics_of(entries)
    assert {name: metric.target for name, metric in metrics.items()} == {
        "accuracy/test/last": "greedy/test/last",
        "accuracy/test/best": "greedy/test/best",
    }


def test_two_targets_of_one_title_are_told_apart_by_name() -> None:
    entries = [Outline("greedy", name, "tuned", "method", "test") for name in ("a", "b")]
    assert [metric.title for metric in metrics_of(entries).values()] == ["tuned (a)", "tuned (b)"]


def test_what_two_recipes_call_alike_shares_a_column_and_one_name_with_two_titles_does_not() -> None:
    first = [
        Outline("greedy", name, title, "method", "test") for name, title in (("a", "same"), ("b", "one"))
    ]
    second = [
        Outline("greedy", name, title, "method", "test") for name, title in (("a", "same"), ("b", "two"))
    ]
    columns = in_order([("x", metrics_of(first).values()), ("y", metrics_of(second).values())])
    assert list(columns) == ["accuracy/test/same", "accuracy/test/one", "accuracy/test/two"]


def test_columns_stand_in_the_order_of_the_recipe() -> None:
    columns = list(ordered(outline_of(LABELS)))
    assert columns[:4] == [
        f"accuracy/test/{title}" for title in ("hybrid-ft 1", "hybrid-ft 2", "M_plus", "M_plus + DPO")
    ]
    assert columns[4] == "accuracy/dev/hybrid-ft 1"
    assert columns.index("pass@10/test/M_plus + DPO") < columns.index("precision/agreed 9")
    assert columns.index("precision/agreed 9") < columns.index("precision/agreed 10")


def test_runs_of_one_and_of_three_iterations_have_one_order() -> None:
    names = ["weak_floor", "hybrid_ft_1", "hybrid_ft_2", "hybrid_ft_3", "dpo"]
    long = outline_of(f"greedy/test/{name}" for name in names)
    short = outline_of(f"greedy/test/{name}" for name in ("weak_floor", "hybrid_ft_1", "dpo"))
    titles = ["weak floor", "hybrid-ft 1", "hybrid-ft 2", "hybrid-ft 3", "M_plus", "M_plus + DPO"]
    expected = [f"accuracy/test/{title}" for title in titles]
    assert list(ordered(short, long)) == list(ordered(long, short)) == expected


def test_recipes_stand_side_by_side_whichever_run_is_the_latest() -> None:
    runs = [("b", metrics_of(FOREIGN_OUTLINE).values()), ("a", metrics_of(outline_of(LABELS)).values())]
    columns = list(in_order(runs))
    assert columns == list(in_order(reversed(runs)))
    assert columns[3:6] == [
        "accuracy/test/M_plus + DPO",
        "accuracy/test/base, zero-shot",
        "accuracy/test/base, few-shot",
    ]


@given(st.lists(st.sets(st.sampled_from(LABELS)), max_size=3))
def test_ordering_loses_and_doubles_no_column(runs: Sequence[set[str]]) -> None:
    outlines = [outline_of(labels) for labels in runs]
    columns = ordered(*outlines)
    assert set(columns) == {m.column for outline in outlines for m in metrics_of(outline).values()}
    assert len({metric.full_title for metric in columns.values()}) == len(columns)


def test_floor_baselines_methods_and_ceiling_are_shown_at_first_and_the_last_sets() -> None:
    labels = [
        *LABELS,
        *(f"greedy/test/{name}" for name in ("weak_floor", "weak_icl", "weak_ft_1", "ceiling", "icl_all")),
    ]
    titles = ["weak floor", "weak ICL", "M_plus", "M_plus + DPO", "strong ceiling"]
    sets = ["precision/last agreed", "coverage/last agreed"]
    assert first_columns(outline_of(labels)) == [*(f"accuracy/test/{title}" for title in titles), *sets]
    titles = ["base, zero-shot", "base, few-shot", "last round", "preferred"]
    sets = ["precision/majority votes", "coverage/majority votes"]
    assert first_columns(FOREIGN_OUTLINE) == [*(f"accuracy/test/{title}" for title in titles), *sets]


def test_the_first_columns_are_on_the_split_that_most_runs_have() -> None:
    searched = outline_of(["greedy/dev/dpo"])
    final = outline_of(["greedy/dev/dpo", "greedy/test/dpo"])
    assert first_columns(searched, searched, final) == ["accuracy/dev/M_plus + DPO"]
    assert first_columns(final, final) == ["accuracy/test/M_plus + DPO"]
    assert first_columns() == []


def test_a_model_has_one_colour_and_the_bounds_have_none_of_a_model() -> None:
    columns = ordered(outline_of([*LABELS, "greedy/test/weak_floor", "greedy/test/ceiling"]), FOREIGN_OUTLINE)
    shades = colours(columns)
    assert shades["accuracy/test/M_plus + DPO"] == shades["pass@10/test/M_plus + DPO"]
    bounds = {shades["accuracy/test/weak floor"], shades["accuracy/test/strong ceiling"]}
    methods = [
        shades[name] for name, metric in columns.items() if metric.role == "method" and metric.prominent
        and metric.kind == "accuracy"
    ]  # fmt: skip
    assert len(set(methods)) == len(methods) == 4
    assert len(bounds) == 2
    assert not bounds & set(methods)


HARMLESS = Outline("greedy", "dpo", "tuned", "method", "test")


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x'];alert(1)//"}, {"name": "<b>"}, {"name": "%>"}, {"name": ""}, {"split": "a b"},
        {"title": "<img src=x>"}, {"title": "<%= 1 %>"}, {"title": "${x}"}, {"title": "a\nb"}, {"title": "\\"},
        {"title": ""}, {"title": "x" * 121}, {"title": "a|low"}, {"title": "\u202eabc"},
    ],
)  # fmt: skip
def test_labels_and_titles_that_could_be_code_make_no_column(change: dict[str, str]) -> None:
    assert metrics_of([replace(HARMLESS, **change)]) == {}  # type: ignore[arg-type]
    assert len(metrics_of([HARMLESS])) == 1
