"""Names, order and choice of columns, and the frame behind the table."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.dashboard.catalogue import Catalogue, Run
from analysis.dashboard.columns import colour, default_metrics, differing, in_order, metrics_of, title
from analysis.dashboard.frame import default_fields, header_filter, runs_frame, settings
from analysis.writing.figures import COLOURS
from tests.dashboard.stores import add_run
from w2s_core.engine import Store

TARGETS = (
    "greedy/test/hybrid_ft_1", "greedy/test/hybrid_ft_2", "greedy/dev/hybrid_ft_1", "samples/test/dpo",
    "greedy/test/dpo", "labels/agreed_1", "labels/agreed_10", "labels/agreed_9", "labels/pairs_chosen", "pairs", "vote",
)  # fmt: skip


def test_a_targets_label_tells_its_columns() -> None:
    found = metrics_of(TARGETS)
    assert found["accuracy/test/m_plus"].target == "greedy/test/hybrid_ft_2"
    assert found["accuracy/dev/m_plus"].target == "greedy/dev/hybrid_ft_1"
    assert found["pass@10/test/dpo"].target == "samples/test/dpo"
    assert found["precision/agreed_last"].target == "labels/agreed_10"  # by number, not by letters
    assert "precision/pairs_chosen" in found
    assert "coverage/pairs_chosen" not in found
    assert not any("vote" in name for name in found)


def test_columns_stand_in_the_order_of_the_paper() -> None:
    ordered = in_order(metrics_of(TARGETS))
    assert ordered[:4] == [
        "accuracy/test/hybrid_ft_1",
        "accuracy/test/hybrid_ft_2",
        "accuracy/test/m_plus",
        "accuracy/test/dpo",
    ]
    assert ordered[4] == "accuracy/dev/hybrid_ft_1"
    assert ordered.index("pass@10/test/dpo") < ordered.index("precision/agreed_9")
    assert ordered.index("precision/agreed_9") < ordered.index("precision/agreed_10")
    assert title("accuracy/test/m_plus") == "accuracy, test: M_plus"
    assert title("precision/agreed_last") == "precision: last agreed"


@given(st.sets(st.sampled_from(TARGETS)))
def test_ordering_loses_and_doubles_no_column(targets: set[str]) -> None:
    found = metrics_of(targets)
    assert sorted(in_order(found)) == sorted(found)
    assert len({title(metric) for metric in found}) == len(found)


def test_the_first_columns_are_on_the_split_that_most_runs_have() -> None:
    searched = metrics_of(["greedy/dev/dpo"])
    final = metrics_of(["greedy/dev/dpo", "greedy/test/dpo"])
    assert default_metrics([searched, searched, final]) == ["accuracy/dev/dpo"]
    assert default_metrics([final, final]) == ["accuracy/test/dpo"]
    assert default_metrics([]) == []


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), min_size=1, max_size=5))
def test_the_shown_settings_tell_runs_apart_and_no_other_does(fields: list[dict[str, int]]) -> None:
    names = differing(fields)
    for name in names:
        assert len({one.get(name) for one in fields}) > 1
    for name in set("abc") - set(names):
        assert len({one.get(name) for one in fields}) == 1


def test_methods_have_the_colours_of_the_figures() -> None:
    assert colour("accuracy/test/dpo") == COLOURS["dpo"]
    assert colour("accuracy/test/m_plus") == colour("pass@10/dev/hybrid_ft_1") == COLOURS["hybrid"]
    assert colour("accuracy/test/weak_floor") == COLOURS["floor"]
    assert colour("accuracy/test/weak_icl") != COLOURS["floor"]


def test_the_frame_shows_settings_that_differ(shown_store: Store) -> None:
    catalogue = Catalogue(shown_store)
    catalogue.update()
    fields = default_fields(catalogue.snapshot)
    assert set(fields) == {"seed", "weak", "stage1.consistency", "study"}
    frame = runs_frame(catalogue.snapshot, fields, ["accuracy/test/dpo", "coverage/agreed_last"])
    assert frame["run"].tolist()[0] == "mistral-2"
    assert frame["weak"].tolist() == ["mistral"] * 3 + ["llama"] * 3
    assert frame["seed"].tolist() == [2, 1, 0, 2, 1, 0]
    assert (frame["accuracy/test/dpo|low"] < frame["accuracy/test/dpo"]).all()
    assert (frame["accuracy/test/dpo"] < frame["accuracy/test/dpo|high"]).all()
    assert frame["coverage/agreed_last|low"].isna().all()
    assert header_filter(frame, "weak")["type"] == header_filter(frame, "seed")["type"] == "list"
    assert header_filter(frame, "run")["type"] == "input"
    assert header_filter(frame, "accuracy/test/dpo", metric=True)["func"] == ">="


def _run(weak: str, **fields: Any) -> Run:
    return Run(weak, {"experiment": {"weak": weak, **fields}, "weak": weak.rsplit("/", 1)[-1], "targets": {}})


def test_values_that_could_be_html_are_not_listed(shown_store: Store) -> None:
    catalogue = Catalogue(shown_store)
    frame = runs_frame(catalogue.snapshot, ["weak"], [])
    frame.loc[0, "weak"] = "<b>"
    assert header_filter(frame, "weak")["type"] == "input"


def test_no_setting_takes_the_place_of_another_column() -> None:
    fields = _run("/a", run="x", state="y", **{"accuracy/test/dpo": 3}).fields
    assert {"experiment.run", "experiment.state", "experiment.accuracy/test/dpo"} <= fields.keys()
    assert not {"run", "state", "accuracy/test/dpo"} & fields.keys()


def test_labels_that_could_be_code_make_no_column() -> None:
    assert metrics_of(["greedy/test/x'];alert(1)//", "labels/<b>", "greedy/test/%>", "greedy//dpo"]) == {}


def test_models_of_one_name_in_two_folders_are_told_apart() -> None:
    assert [one["weak"] for one in settings([_run("/a/llama"), _run("/b/qwen")])] == ["llama", "qwen"]
    assert [one["weak"] for one in settings([_run("/a/llama"), _run("/b/llama")])] == ["/a/llama", "/b/llama"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "true"), (None, ""), (["dpo", "orpo"], "dpo, orpo"), (0.5, 0.5), ({}, ""), ("x", "x")],
)
def test_settings_are_shown_as_text_or_number(value: Any, shown: Any) -> None:
    assert _run("/a", field=value).fields["field"] == shown


def test_a_record_without_an_experiment_is_shown_too(store: Store) -> None:
    add_run(store, "one")
    record = store.refs.read("one")
    store.refs.write("bare", {"targets": record["targets"], "started": "never"})
    catalogue = Catalogue(store)
    catalogue.update()
    frame = runs_frame(catalogue.snapshot, default_fields(catalogue.snapshot), ["coverage/agreed_last"])
    row = frame.set_index("run").loc["bare"]
    assert row["started"] == ""
    assert row["coverage/agreed_last"] != row["coverage/agreed_last"]  # the size of train_2 is not recorded
